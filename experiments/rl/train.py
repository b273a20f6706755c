#!/usr/bin/env python3
"""Trains the networks of experiments/rl with Stable-Baselines3, and compares them with what else could decide.

    train.py boomerang|task_stream DQN|PPO [--steps N] [--seed S] [--output FILE]
    train.py boomerang|task_stream --evaluate NETWORK.json...

Training prints the mean reward of the last episodes, writes the network for policy `rl` (or `boomerang`,
`task_stream_inference`) to FILE, by default experiments/rl/TASK_ALGORITHM.json, and evaluates it. Evaluation is on
seeds that training never draws: the mean reward of a request of the networks, of random actions, of the best static
action, and of the best decision for each request alone. Needs the packages of experiments/rl/requirements.txt.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import numpy

import cdisim
from cdisim import environments
from export_sb3 import export, text

HERE = pathlib.Path(__file__).resolve().parent

TASKS = {
    # Requests do not meet: what one earns depends on its own action alone, gamma = 0.
    "boomerang": {
        "environment": environments.EdgeOffloadEnv,
        "experiment": "boomerang_traces",
        "observation": [{"feature": "uplink_bandwidth", "scale": "log", "low": "20kbps", "high": "2Mbps"},
                        {"feature": "deadline", "scale": "log", "low": "100ms", "high": "3s"}],
        "vary": {"/deadline": ["300ms", "600ms", "1200ms", "2300ms"]},
        "gamma": 0.0,
    },
    "task_stream": {
        "environment": environments.TaskStreamEnv,
        "experiment": "task_stream_traces",
        "observation": [{"feature": "uplink_bandwidth", "scale": "log", "low": "200kbps", "high": "20Mbps"},
                        {"feature": "deadline", "scale": "log", "low": "10ms", "high": "1s"},
                        {"feature": "arrival_gap", "scale": "log", "low": "10ms", "high": "1s"},
                        {"feature": "link_backlog", "scale": "log", "low": "1ms", "high": "10s"},
                        {"feature": "server_backlog", "scale": "log", "low": "1ms", "high": "10s"},
                        {"feature": "device_backlog", "scale": "log", "low": "1ms", "high": "10s"}],
        "vary": {"/deadline": ["50ms", "300ms"],
                 "/arrivals": [{"kind": "poisson", "rate_per_s": rate} for rate in (4, 8, 16, 40)]},
        "gamma": 0.9,
    },
}


def environment(task, **options):
    """The task's environment, at the experiment's own values unless `vary` says otherwise."""
    experiment = options.pop("experiment", task["experiment"])
    return task["environment"](experiment, observation=task["observation"], **options)


def train(task, algorithm, steps, seed):
    """A model of Stable-Baselines3, and the facts of its environment."""
    import stable_baselines3
    import torch
    from stable_baselines3.common.monitor import Monitor

    torch.set_num_threads(1)  # small networks gain nothing, and the sums' order is the same everywhere

    env = environment(task, vary=task["vary"])
    # Assumed, the same for both tasks; the rest are the library's defaults.
    common = {"gamma": task["gamma"], "seed": seed, "device": "cpu", "learning_rate": 1e-3,
              "policy_kwargs": {"net_arch": [32, 32]}}
    if algorithm == "DQN":
        model = stable_baselines3.DQN("MlpPolicy", Monitor(env), buffer_size=50_000, learning_starts=1000,
                                      exploration_fraction=0.5, target_update_interval=500, **common)
    else:
        model = stable_baselines3.PPO("MlpPolicy", Monitor(env), n_steps=1024, batch_size=128, ent_coef=0.01, **common)
    model.learn(steps, callback=_progress(steps))
    facts = env.facts()
    env.close()
    return model, facts


def _progress(steps):
    """A line on standard error for each tenth of the steps."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Progress(BaseCallback):
        next = 0

        def _on_step(self):
            if self.num_timesteps >= self.next and self.model.ep_info_buffer:
                mean = numpy.mean([episode["r"] / episode["l"] for episode in self.model.ep_info_buffer])
                print(f"{self.num_timesteps:>9} of {steps} steps: reward of a request {mean:.4f}", file=sys.stderr)
                self.next = self.num_timesteps + steps // 10
            return True

    return Progress()


def network_action(network):
    """The greedy action of a network file, as policy `rl` takes it."""
    layers = [(numpy.array(layer["weights"]), numpy.array(layer["bias"])) for layer in network["layers"]]
    between = numpy.tanh if network["activation"] == "tanh" else lambda x: numpy.maximum(x, 0)

    def act(observation):
        x = observation
        for i, (weights, bias) in enumerate(layers):
            x = weights @ x + bias
            if i + 1 < len(layers):
                x = between(x)
        return int(numpy.argmax(x))

    return act


def play(env, seed, act):
    """Rewards of the requests of one run, by number, and the dates of their arrivals."""
    observation, info = env.reset(options={"seed": seed})
    rewards, dates, done = {}, [info["date_s"]], False
    while not done:
        observation, _, terminated, truncated, info = env.step(act(observation))
        rewards.update({outcome["request"]: outcome["reward"] for outcome in info["outcomes"]})
        done = terminated or truncated
        if not done:
            dates.append(info["date_s"])
    return rewards, dates


def alone(task, seed, dates, apart):
    """The best reward that each request could earn, had it link and hosts to itself: from runs of each action in which
    only every `apart`-th request arrives.

    Where the deadline is no longer than the gaps between requests, those in time never meet: dynamic programming over
    the requests then has one state, and this is the clairvoyant optimum. Elsewhere it is a bound that nothing reaches.
    """
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        for first in range(apart):
            file = pathlib.Path(folder) / f"{first}.txt"
            file.write_text("".join(f"{date!r}\n" for date in dates[first::apart]), encoding="utf-8")
            experiment = cdisim.Experiment.load(task["experiment"])
            experiment["arrivals"] = {"kind": "trace", "file": str(file)}
            env = environment(task, experiment=experiment)
            for action in range(env.action_space.n):
                rewards, _ = play(env, seed, lambda _, action=action: action)
                for number, reward in rewards.items():
                    number = first + apart * number
                    best[number] = max(best.get(number, -numpy.inf), reward)
            env.close()
    return best


def evaluate(task, networks, seeds):
    """{what decides: mean reward of a request} over runs of these seeds."""
    env = environment(task)
    random = numpy.random.default_rng(1)
    deciders = {name: network_action(network) for name, network in networks.items()}
    deciders["random"] = lambda _: int(random.integers(env.action_space.n))
    for number, action in enumerate(env.actions):
        deciders[f"exit {action.exit + 1}, partition point {action.layers_on_server + 1}"] = \
            lambda _, number=number: number
    totals, requests = dict.fromkeys(deciders, 0.0), 0
    bound = 0.0
    for seed in seeds:
        for name, act in deciders.items():
            rewards, dates = play(env, seed, act)
            totals[name] += sum(rewards.values())
        requests += len(dates)
        bound += sum(alone(task, seed, dates, apart=4).values())
    env.close()
    means = {name: total / requests for name, total in totals.items()}
    statics = {name: mean for name, mean in means.items() if name.startswith("exit ")}
    best = max(statics, key=statics.get)
    rows = {name: mean for name, mean in means.items() if name not in statics}
    rows[f"best static: {best}"] = statics[best]
    rows["each request alone"] = bound / requests
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("algorithm", nargs="?", choices=("DQN", "PPO"))
    parser.add_argument("--steps", type=int, default=100_000, help="requests to learn from (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of training (default: %(default)s)")
    parser.add_argument("--output", type=pathlib.Path, help="file of the network")
    parser.add_argument("--evaluate", nargs="+", type=pathlib.Path, metavar="NETWORK", help="only evaluates files")
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FIRST", "COUNT"),
                        help="of the evaluation (default: those of the experiment)")
    arguments = parser.parse_args()
    if (arguments.algorithm is None) == (arguments.evaluate is None):
        parser.error("give an algorithm, or --evaluate and files")
    task = TASKS[arguments.task]
    files = arguments.evaluate
    if arguments.algorithm:
        model, facts = train(task, arguments.algorithm, arguments.steps, arguments.seed)
        name = f"{arguments.task}_{arguments.algorithm.lower()}"
        output = arguments.output or HERE / f"{name}.json"
        output.write_text(text(export(model, {"name": output.stem, **facts})), encoding="utf-8")
        files = [output]
    experiment = cdisim.Experiment.load(task["experiment"])
    first, count = arguments.seeds or (experiment["seed"], experiment["repetitions"])
    networks = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    rows = evaluate(task, networks, range(first, first + count))
    optimum = rows["each request alone"]
    for name, mean in sorted(rows.items(), key=lambda row: -row[1]):
        print(f"{mean:9.4f}  {optimum - mean:9.4f} below  {name}")


if __name__ == "__main__":
    main()
