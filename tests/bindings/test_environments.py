"""cdisim's environments of Gymnasium, against closed forms and against the program.

Needs gymnasium; without it, runs in a virtual environment of its own.
"""

import json
import pathlib
import unittest
import warnings

try:
    import gymnasium
except ImportError:
    import extras

    extras.go_on_with("venv-gymnasium", "gymnasium")

import numpy
from gymnasium.utils.env_checker import check_env

import cdisim
from cdisim import environments

ROOT = pathlib.Path(__file__).resolve().parents[2]
EDGENT = json.loads((ROOT / "experiments" / "edgent.json").read_text(encoding="utf-8"))


def experiment(**keys):
    """Edgent's testbed at 1 Mbit/s: 14,500 B of input, 14.7 ms for the deepest exit on the edge."""
    document = {key: EDGENT[key] for key in ("schema", "name", "title", "platform", "model", "latency_model", "wire",
                                             "sources")}
    return {**document, "links": {"lan": {"bandwidth": "1Mbps"}}, "arrivals": {"kind": "periodic", "period": "500ms"},
            "requests": 4, "deadline": "200ms", **keys}


def action_of(env, exit, layers_on_server):
    return [(a.exit, a.layers_on_server) for a in env.unwrapped.actions].index((exit, layers_on_server))


def play(env, act, **reset):
    """(rewards, last info, whether it was terminated)"""
    observation, _ = env.reset(**reset)
    rewards = []
    while True:
        observation, reward, terminated, truncated, info = env.step(act(observation))
        rewards.append(reward)
        if terminated or truncated:
            return rewards, info, terminated


class EnvironmentTest(unittest.TestCase):
    def test_the_library_s_checker_finds_nothing(self):
        for name in ("EdgeOffload-v0", "TaskStream-v0"):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                env = gymnasium.make(f"cdisim/{name}")
                check_env(env.unwrapped)
                env.close()

    def test_rewards_are_those_of_the_simulation(self):
        env = environments.EdgeOffloadEnv(experiment())
        edge, device = action_of(env, 4, 22), action_of(env, 0, 0)
        # Accuracies 0.747, 0.75575, ... 0.782 differ by 0.00875 at least: a bonus of 0.004375. The edge answers after
        # 0.116 + 0.0147 = 0.1307 s; the device takes 2.28 s, and is late at 0.2 s, before the next request.
        actions = iter((edge, device, edge, edge))
        rewards, info, terminated = play(env, lambda _: next(actions))
        in_time = 0.782 + 0.004375 / 1.1307
        numpy.testing.assert_allclose(rewards, [in_time, -0.747, in_time, in_time], rtol=1e-9)
        self.assertTrue(terminated)
        self.assertEqual(info["metrics"]["requests"]["completed"], 4)
        env.close()

    def test_observations(self):
        features = [{"feature": "uplink_bandwidth", "scale": "log", "low": "100kbps", "high": "10Mbps"},
                    {"feature": "deadline", "scale": "linear", "low": "0s", "high": "800ms"},
                    {"feature": "arrival_gap", "scale": "linear", "low": "0s", "high": "1s"},
                    {"feature": "device_queue", "scale": "linear", "low": 0, "high": 4},
                    {"feature": "device_backlog", "scale": "linear", "low": "0s", "high": "10s"}]
        env = environments.TaskStreamEnv(experiment(), observation=features)
        device = action_of(env, 0, 0)
        first, info = env.reset(seed=1)
        # 1 Mbit/s is half way from 100 kbit/s to 10 Mbit/s, 200 ms a quarter of 800 ms.
        numpy.testing.assert_allclose(first, [0.5, 0.25, 0, 0, 0], atol=1e-7)
        self.assertEqual(info["date_s"], 0)
        second, *_ = env.step(device)
        device_s = env.actions[device].device_s
        numpy.testing.assert_allclose(second, [0.5, 0.25, 0.5, 0.25, (device_s - 0.5) / 10], rtol=1e-6)
        third, *_ = env.step(device)
        numpy.testing.assert_allclose(third, [0.5, 0.25, 0.5, 0.5, (2 * device_s - 1) / 10], rtol=1e-6)
        env.close()

    def test_a_backlog_of_the_link(self):
        features = [{"feature": f"{of}_backlog", "scale": "linear", "low": "0s", "high": "1s"}
                    for of in ("link", "server")]
        env = environments.TaskStreamEnv(experiment(arrivals={"kind": "periodic", "period": "50ms"}),
                                         observation=features)
        env.reset(seed=1)
        edge = action_of(env, 4, 22)
        # An upload takes 116 ms: of it 66 ms are left after 50 ms, then 132 ms. The edge is predicted to end 14.7 ms
        # after each upload.
        seen, *_ = env.step(edge)
        numpy.testing.assert_allclose(seen, [0.066, 0.066 + 0.0147], rtol=1e-6)
        seen, *_ = env.step(edge)
        numpy.testing.assert_allclose(seen, [0.132, 0.132 + 0.0147], rtol=1e-6)
        env.close()

    def test_a_stream_earns_when_requests_end(self):
        env = environments.TaskStreamEnv(experiment(arrivals={"kind": "periodic", "period": "100ms"}, requests=3,
                                                    deadline="1s"))
        edge = action_of(env, 4, 22)
        rewards, info, _ = play(env, lambda _: edge, seed=1)
        # Uploads of 116 ms meet: the first one ends after 132 ms, as the second begins at 100 ms and halves the rate
        # for the last 16 ms' worth. So nothing has ended at 100 ms, one at 200 ms, and the rest in the last step.
        numpy.testing.assert_allclose(rewards, [0, 0.782, 2 * 0.782])
        self.assertEqual([o["request"] for o in info["outcomes"]], [1, 2])
        env.close()

    def test_the_horizon_truncates(self):
        document = experiment(horizon_s=1.2)
        del document["requests"]
        env = environments.EdgeOffloadEnv(document)
        rewards, info, terminated = play(env, lambda _: action_of(env, 4, 22), seed=1)
        self.assertFalse(terminated)
        self.assertEqual(len(rewards), 3)  # at 0, 0.5 and 1 s
        env.close()

    def test_random_actions_are_worth_what_the_program_says(self):
        env = environments.TaskStreamEnv("task_stream_inference")
        generator = numpy.random.default_rng(1)
        for seed in (3, 4):
            rewards, info, _ = play(env, lambda _: int(generator.integers(env.action_space.n)), options={"seed": seed})
            # accuracy_in_time is the mean over the requests of what the environment sums up.
            self.assertAlmostEqual(sum(rewards) / 200, info["metrics"]["accuracy_in_time"], places=12)
        env.close()

    def test_a_constant_action_is_the_program_s_policy(self):
        env = environments.TaskStreamEnv("task_stream_traces")
        edge = action_of(env, 4, 22)
        _, info, _ = play(env, lambda _: edge, options={"seed": 7})
        document = cdisim.Experiment.load("task_stream_traces")
        document.update(repetitions=1, seed=7)
        document.pop("published", None)
        result = document.run(policy={"name": "edge_only", "exit": 5})
        for name in ("accuracy_in_time", "latency_s", "requests", "energy_j"):
            self.assertEqual(info["metrics"][name], result.metrics[name])
        env.close()

    def test_seeds(self):
        env = environments.EdgeOffloadEnv("boomerang_traces", vary={"/deadline": ["1s", "2s"]})
        runs = [[env.reset(seed=5)[1], env.reset()[1]] for _ in range(2)]
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0][0]["seed"], runs[0][1]["seed"])
        self.assertGreaterEqual(min(info["seed"] for info in runs[0]), environments.HELD_OUT_SEEDS)
        self.assertEqual(len({env.reset()[1]["point"]["/deadline"] for _ in range(20)}), 2)
        self.assertEqual(env.reset(options={"seed": 401})[1]["seed"], 401)
        env.close()

    def test_several_at_a_time(self):
        for mode in ("sync", "async"):
            envs = gymnasium.make_vec("cdisim/TaskStream-v0", num_envs=3, vectorization_mode=mode)
            observations, _ = envs.reset(seed=1)
            self.assertEqual(observations.shape, (3, 7))
            self.assertFalse((observations[0] == observations[1]).all())  # seeds of their own
            for _ in range(50):
                observations, rewards, *_ = envs.step(envs.action_space.sample())
            self.assertTrue(envs.observation_space.contains(observations))
            envs.close()

    def test_mistakes(self):
        for options, text in (({"observation": [{"feature": "colour"}]}, "/observation|colour"),
                              ({"server": "moon"}, '"moon" is no reachable host of tier edge'),
                              ({"vary": {"/deadline": []}}, "without values")):
            with self.assertRaisesRegex(cdisim.InputError, text):
                environments.EdgeOffloadEnv(experiment(), **options)
        with self.assertRaisesRegex(cdisim.InputError, "no experiment"):
            environments.EdgeOffloadEnv("no_such_thing")
        with self.assertRaisesRegex(cdisim.InputError, "sources: 15 of them"):
            environments.EdgeOffloadEnv("iao_multiuser")
        env = environments.EdgeOffloadEnv(experiment(requests=1))
        env.reset(seed=1)
        for action in (-1, env.action_space.n):
            with self.assertRaisesRegex(IndexError, f"{action} is none of 0 to"):
                env.step(action)
        env.reset(seed=1)
        env.step(0)
        with self.assertRaises(gymnasium.error.ResetNeeded):
            env.step(0)
        env.close()

    def test_nothing_is_left(self):
        def held():
            return len(list(pathlib.Path("/proc/self/fd").iterdir()))

        env = environments.EdgeOffloadEnv(experiment())
        env.reset(seed=1)
        before = held()
        for seed in range(20):  # in the middle of episodes
            env.reset(seed=seed)
            env.step(0)
        self.assertEqual(held(), before)
        env.close()
        self.assertEqual(held(), before - 2)


if __name__ == "__main__":
    unittest.main()
