"""experiments/rl/export_sb3.py: small DQN and PPO models, exported, act as Stable-Baselines3 says.

Run: python3 tests/bindings/test_export_sb3.py, with a Python that has stable_baselines3; skipped by name where it lacks
it. With CDISIM_PROGRAM set, the program must run the exported network.
"""

import importlib.util
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "experiments" / "rl"))
import export_sb3

FACTS = {
    "name": "small",
    "environment": "EdgeOffload-v0",
    "model": "branchy_alexnet",
    "experiment": "none",
    "observation": [{"feature": "uplink_bandwidth", "scale": "log", "low": "20kbps", "high": "2Mbps"},
                    {"feature": "deadline", "scale": "log", "low": "100ms", "high": "3s"}],
    "actions": [{"exit": 1, "partition_point": 1}, {"exit": 5, "partition_point": 1},
                {"exit": 5, "partition_point": 23}],
}


def run(network, x):
    """What a network file says, written another way."""
    for i, layer in enumerate(network["layers"]):
        x = [sum(w * v for w, v in zip(row, x)) + b for row, b in zip(layer["weights"], layer["bias"])]
        if i + 1 < len(network["layers"]):
            x = [max(v, 0) if network["activation"] == "relu" else math.tanh(v) for v in x]
    return x


@unittest.skipUnless(importlib.util.find_spec("stable_baselines3"), "needs PyPI's stable_baselines3, which is not installed")
class ExportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        import gymnasium
        import numpy
        import stable_baselines3

        class Env(gymnasium.Env):
            observation_space = gymnasium.spaces.Box(0, 1, (2,), numpy.float32)
            action_space = gymnasium.spaces.Discrete(3)

            def reset(self, *, seed=None, options=None):
                super().reset(seed=seed)
                return self.observation_space.sample(), {}

            def step(self, action):
                return self.observation_space.sample(), float(action == 1), True, False, {}

        cls.numpy = numpy
        cls.models = {
            "DQN": stable_baselines3.DQN("MlpPolicy", Env(), seed=3, policy_kwargs={"net_arch": [5, 4]}, device="cpu"),
            "PPO": stable_baselines3.PPO("MlpPolicy", Env(), seed=3, policy_kwargs={"net_arch": [6]}, device="cpu"),
        }

    def test_acts_as_the_library(self):
        for name, model in self.models.items():
            network = json.loads(export_sb3.text(export_sb3.export(model, FACTS)))
            self.assertEqual(network["activation"], {"DQN": "relu", "PPO": "tanh"}[name])
            self.assertEqual(network["output"], {"DQN": "action_values", "PPO": "logits"}[name])
            self.assertEqual(network["training"]["algorithm"], name)
            self.assertEqual(network["training"]["seed"], 3)
            checked = 0
            for x in self.numpy.random.default_rng(1).random((50, 2), dtype=self.numpy.float32):
                outputs = sorted(run(network, x.tolist()))
                if outputs[-1] - outputs[-2] < 1e-4:
                    continue  # the file's six decimals
                chosen = run(network, x.tolist()).index(outputs[-1])
                self.assertEqual(chosen, int(model.predict(x, deterministic=True)[0]))
                checked += 1
            self.assertGreater(checked, 0)

    def test_refuses_what_does_not_fit(self):
        model = self.models["DQN"]
        for facts, message in ((FACTS | {"actions": FACTS["actions"][:2]}, "2 actions; the network has 3"),
                               (FACTS | {"observation": []}, "0 observation; the network has 2"),
                               ({"name": "small"}, "facts lack"), (FACTS | {"colour": 1}, "colour")):
            with self.assertRaisesRegex(ValueError, message):
                export_sb3.export(model, facts)
        with self.assertRaisesRegex(ValueError, "a model of dict; valid: DQN, PPO"):
            export_sb3.export({}, FACTS)

    def test_the_command_writes_what_the_program_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            self.models["PPO"].save(folder / "model.zip")
            (folder / "facts.json").write_text(json.dumps(FACTS), encoding="utf-8")
            subprocess.run([sys.executable, export_sb3.__file__, "PPO", folder / "model.zip", folder / "facts.json",
                            folder / "network.json"], check=True)
            program = os.environ.get("CDISIM_PROGRAM")
            if program is None:
                return
            experiment = json.loads((ROOT / "experiments" / "boomerang.json").read_text(encoding="utf-8"))
            experiment["policies"] = [{"name": "rl", "network": str(folder / "network.json")}]
            experiment["published"] = []
            del experiment["sweeps"]
            (folder / "experiment.json").write_text(json.dumps(experiment), encoding="utf-8")
            done = subprocess.run([program, folder / "experiment.json", "--json"], capture_output=True, text=True,
                                  cwd=ROOT)
            self.assertEqual(done.returncode, 0, done.stderr)
            plan = json.loads(done.stdout)["runs"][0]["plan"]["decision"]
            outputs = run(json.loads((folder / "network.json").read_text(encoding="utf-8")),
                          [math.log(1000 / 20) / math.log(100), math.log(10) / math.log(30)])
            chosen = FACTS["actions"][outputs.index(max(outputs))]
            self.assertEqual({key: plan[key] for key in chosen}, chosen)


if __name__ == "__main__":
    unittest.main()
