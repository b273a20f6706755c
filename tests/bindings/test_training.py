"""experiments/rl: models of Stable-Baselines3, exported, act as the library says; training learns; the notebook runs.

Needs the packages of experiments/rl/requirements.txt; without them, runs in a virtual environment of its own.
"""

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

try:
    import gymnasium
    import stable_baselines3
except ImportError:
    import extras

    lines = (ROOT / "experiments" / "rl" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    extras.go_on_with("venv-rl", *(line for line in lines if not line.startswith("#")), without_cuda=True)

import numpy

import export_sb3
import train
from test_notebooks import NOTEBOOKS, execute

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


class ExportTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        class Env(gymnasium.Env):
            observation_space = gymnasium.spaces.Box(0, 1, (2,), numpy.float32)
            action_space = gymnasium.spaces.Discrete(3)

            def reset(self, *, seed=None, options=None):
                super().reset(seed=seed)
                return self.observation_space.sample(), {}

            def step(self, action):
                return self.observation_space.sample(), float(action == 1), True, False, {}

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
            for x in numpy.random.default_rng(1).random((50, 2), dtype=numpy.float32):
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


class TrainTest(unittest.TestCase):
    def test_learns_in_seconds(self):
        """Fewer steps than the bundled networks had, so that the test takes seconds: better than random, on seeds that
        training never draws."""
        task = train.TASKS["boomerang"]
        model, facts = train.train(task, "PPO", 12_000, 1)
        network = json.loads(export_sb3.text(export_sb3.export(model, {"name": "quick", **facts})))
        rows = train.evaluate(task, {"quick": network}, range(1, 3))
        best_static = next(mean for name, mean in rows.items() if name.startswith("best static"))
        self.assertGreater(rows["quick"], rows["random"])
        self.assertLessEqual(rows["quick"], rows["each request alone"])
        self.assertLessEqual(best_static, rows["each request alone"])

    def test_the_same_seed_trains_the_same(self):
        def trained(algorithm, seed):
            model, facts = train.train(train.TASKS["task_stream"], algorithm, 2_000, seed)
            return export_sb3.text(export_sb3.export(model, {"name": "short", **facts}))

        for algorithm in ("DQN", "PPO"):
            self.assertEqual(trained(algorithm, 1), trained(algorithm, 1))
            self.assertNotEqual(trained(algorithm, 1), trained(algorithm, 2))

    def test_the_bundled_networks_are_of_these_tasks(self):
        for name, task in train.TASKS.items():
            for algorithm in ("DQN", "PPO"):
                path = ROOT / "experiments" / "rl" / f"{name}_{algorithm.lower()}.json"
                network = json.loads(path.read_text(encoding="utf-8"))
                env = train.environment(task)
                facts = env.facts()
                env.close()
                self.assertEqual({key: network[key] for key in ("environment", "model", "observation", "actions")},
                                 {key: facts[key] for key in ("environment", "model", "observation", "actions")})
                self.assertEqual(network["training"]["algorithm"], algorithm)
                self.assertEqual(network["training"]["experiment"], task["experiment"])

    def test_the_program_acts_as_the_network(self):
        """Policy rl in a run decides as the environment's observations and the file say."""
        for name, task in train.TASKS.items():
            path = ROOT / "experiments" / "rl" / f"{name}_dqn.json"
            env = train.environment(task)
            rewards, _ = train.play(env, 11, train.network_action(json.loads(path.read_text(encoding="utf-8"))))
            experiment = train.cdisim.Experiment.load(task["experiment"])
            experiment.update(seed=11, repetitions=1)
            experiment.pop("published", None)
            rows = experiment.run(policy={"name": "rl", "network": str(path)}).requests()
            deadline_s = {"boomerang": 2.3, "task_stream": 0.3}[name]
            accuracies = {exit: action.accuracy for action in env.actions for exit in (action.exit + 1,)}
            for row in rows:
                if row["state"] == "in_flight":
                    continue
                in_time = row["state"] == "completed" and row["latency_s"] <= deadline_s
                self.assertEqual(rewards[row["request"]] > 0, in_time, row)
                if in_time:
                    self.assertAlmostEqual(rewards[row["request"]], accuracies[row["exit"]], delta=0.0044, msg=row)
            env.close()


class NotebookTest(unittest.TestCase):
    def test_every_cell(self):
        for path in NOTEBOOKS:
            if path.stem == "5_train_a_policy":
                done = execute(path)
                self.assertEqual(done.returncode, 0, done.stderr)
                return
        self.fail("no notebook trains a policy")


if __name__ == "__main__":
    unittest.main()
