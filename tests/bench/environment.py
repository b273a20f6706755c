"""Steps and resets of cdisim's environments of Gymnasium: environment.py, with a Python that has gymnasium.

The caller and its simulation share one core, as in training on a cluster; actions alternate, so that each step sends
another plan.
"""

import json
import os
import pathlib
import time

from cdisim import environments

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS, RESETS = 20_000, 50


def main():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # the fork server's processes inherit it
    document = json.loads((ROOT / "experiments" / "task_stream_inference.json").read_text(encoding="utf-8"))
    document.update(requests=STEPS + 1, arrivals={"kind": "poisson", "rate_per_s": 20},
                    links={"lan": {"bandwidth": "10Mbps"}})
    for environment in (environments.EdgeOffloadEnv, environments.TaskStreamEnv):
        env = environment(document)
        whole = [number for number, action in enumerate(env.actions) if action.device_s == 0]
        env.reset(seed=1)
        start = time.perf_counter()
        for step in range(STEPS):
            env.step(whole[step % 2])
        rate = STEPS / (time.perf_counter() - start)
        resets = []
        for seed in range(RESETS):
            start = time.perf_counter()
            env.reset(seed=seed)
            resets.append(time.perf_counter() - start)
        env.close()
        print(f"{environment.name}: {rate:,.0f} steps a second (bar: 5,000), reset {1e3 * sorted(resets)[RESETS // 2]:.1f} ms "
              f"in the median, {1e3 * max(resets):.1f} ms at most (bar: 20)")


if __name__ == "__main__":
    main()
