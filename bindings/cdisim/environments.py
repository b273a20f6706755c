"""Environments of Gymnasium: an agent decides where each request of an experiment is computed.

    import gymnasium
    import cdisim.environments
    env = gymnasium.make("cdisim/EdgeOffload-v0", experiment="boomerang_traces")

Importing this module registers cdisim/EdgeOffload-v0 and cdisim/TaskStream-v0. The simulation is that of cdisim.run(),
in a process of its own, which waits for each action. What an agent sees, may do and earns is defined once for these
environments, for what learns in C++ and for the policy `rl`: policies/shared/edge_offload.h.
"""

import collections
import json
import math
import pathlib
import select
import socket
import tempfile
from typing import Any, Optional, Sequence, Union

import gymnasium
import numpy

from cdisim import _core
from cdisim import server as server_module
from cdisim.errors import InputError, SimulationError
from cdisim.experiment import Experiment
from cdisim.result import Result
from cdisim.run import _request

#: Features that suit any experiment; narrower ranges are easier to learn from.
BANDWIDTH = {"feature": "uplink_bandwidth", "scale": "log", "low": "10kbps", "high": "1Gbps"}
DEADLINE = {"feature": "deadline", "scale": "log", "low": "1ms", "high": "100s"}
DEVICE_QUEUE = {"feature": "device_queue", "scale": "linear", "low": 0, "high": 10}
SERVER_QUEUE = {"feature": "server_queue", "scale": "linear", "low": 0, "high": 10}
SINCE_CHANGE = {"feature": "since_change", "scale": "log", "low": "1ms", "high": "100s"}
ARRIVAL_GAP = {"feature": "arrival_gap", "scale": "log", "low": "1ms", "high": "100s"}
BACKLOGS = tuple({"feature": f"{of}_backlog", "scale": "log", "low": "1ms", "high": "100s"}
                 for of in ("link", "server", "device"))

#: Seeds of runs below this one are never drawn: they are for evaluation.
HELD_OUT_SEEDS = 2**20

_AGENT = "agent"
_KEPT = _core.plan_answer(None)
_FACTS = [{"name": _AGENT, "watches_arrivals": True}]


class OffloadEnv(gymnasium.Env):
    """What both environments have in common: see EdgeOffloadEnv and TaskStreamEnv."""

    metadata = {"render_modes": []}
    name = ""
    observation: Sequence[dict[str, Any]] = ()  #: features by default

    def __init__(self, experiment: Union[str, pathlib.Path, dict[str, Any], Experiment], *,
                 observation: Optional[Sequence[dict[str, Any]]] = None,
                 vary: Optional[dict[str, Sequence[Any]]] = None, server: Optional[str] = None,
                 render_mode: Optional[str] = None):
        self.render_mode = render_mode
        if not isinstance(experiment, Experiment):
            experiment = Experiment(experiment) if isinstance(experiment, dict) else Experiment.load(experiment)
        experiment = _with(experiment, policies=[{"name": _AGENT}], repetitions=1)
        experiment.pop("published", None)
        experiment.pop("sweeps", None)
        self._document = experiment
        self._vary = {pointer: list(values) for pointer, values in (vary or {}).items()}
        if not all(self._vary.values()):
            raise InputError("vary: has a list without values")
        self.observation = tuple(self.observation if observation is None else observation)
        self._experiments: dict[str, _core.AskingExperiment] = {}
        self._connection: Optional[server_module.Connection] = None
        self._asking: Optional[server_module.Connection] = None
        self._folder = tempfile.TemporaryDirectory()
        try:
            self._prepare(experiment, server)
        except BaseException:
            self._folder.cleanup()
            raise

    def _prepare(self, experiment: Experiment, server: Optional[str]) -> None:
        """What is the same in each episode."""
        self._path = str(experiment.write_in(pathlib.Path(self._folder.name)))
        point = {pointer: values[0] for pointer, values in self._vary.items()}
        problems = self._simulation(point, {"policy": _AGENT, "point": point, "repetition": 0}).problems
        if len(problems) != 1:
            raise InputError(f"sources: {len(problems)} of them; valid: one, for which the agent decides")
        self._process = _core.EdgeOffload(problems[0], server, list(self.observation))
        self.server = problems[0].platform.host(self._process.server).name  #: on which actions compute
        #: Exit and partition of each action's number (OffloadAction).
        self.actions = self._process.actions
        self._model = problems[0].graph.name()
        self._bonus = _core.offload_bonus(list(self.actions))
        self._answers = [_core.plan_answer(self._process.plan(problems[0], action))
                         for action in range(len(self.actions))]
        self.observation_space = gymnasium.spaces.Box(0, 1, (len(self.observation),), numpy.float32)
        self.action_space = gymnasium.spaces.Discrete(len(self.actions))

    # ---- an episode ----

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict[str, Any]] = None):
        super().reset(seed=seed)
        self._end()
        run_seed = (options or {}).get("seed")
        if run_seed is None:
            run_seed = int(self.np_random.integers(HELD_OUT_SEEDS, 2**31))
        point = {pointer: values[self.np_random.integers(len(values))] for pointer, values in self._vary.items()}
        keys = {**self._document, **{pointer[1:]: value for pointer, value in point.items()}}
        self._horizon_s, self._requests = keys.get("horizon_s", math.inf), keys.get("requests")
        request = _request(self._path, run_seed, 1, False, True)
        request["vary"] = {pointer: [value] for pointer, value in point.items()}
        request["external"] = _FACTS
        self._connection, desk = server_module.start_run(json.dumps(request).encode())
        with desk:
            self._asking = self._meet(desk)
        self._messages: collections.deque[bytes] = collections.deque()
        self._run = self._simulation(point, json.loads(self._next()))
        self._process = _core.EdgeOffload(self._run.problems[0], self.server, list(self.observation))
        self._pending: dict[int, tuple[int, float]] = {}  # action and arrival of requests that have no outcome yet
        self._count = 0
        if not self._ask():  # for a plan before anything arrives
            raise SimulationError("the simulation ended before it began")
        self._process.observe(self._problem, None)
        self._asking.send(self._answers[0])
        self._taken = 0
        if not self._ask():
            self._result()
            raise InputError("arrivals: no request arrives")
        return self._see(), {"seed": run_seed, "point": point, "date_s": self._seen.date_s}

    def step(self, action):
        if self._asking is None:
            raise gymnasium.error.ResetNeeded("the episode has ended: call reset()")
        action = int(action)
        self._process.decided(action)
        self._pending[self._count] = action, self._seen.date_s
        self._count += 1
        self._asking.send(_KEPT if action == self._taken else self._answers[action])
        self._taken = action
        if self._ask():
            observation = self._see()
            outcomes = self._settle(self._seen.date_s, dict(self._seen.outcomes))
            return observation, _sum(outcomes), False, False, {"date_s": self._seen.date_s, "outcomes": outcomes}
        result = self._result()
        ended = {row["request"]: (math.inf if row["state"] == "lost" else row["latency_s"])
                 for row in result.requests() if row["state"] != "in_flight"}
        outcomes = self._settle(self._horizon_s, ended)
        info = {"outcomes": outcomes, "metrics": result.metrics}
        complete = self._horizon_s == math.inf or (not self._pending and self._count == self._requests)
        return self._observation, _sum(outcomes), complete, not complete, info

    def close(self):
        self._end()
        self._folder.cleanup()
        super().close()

    def reward(self, action: _core.OffloadAction, latency_s: float, deadline_s: float) -> float:
        """Of a request, infinite latency: it was lost or is late."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """What a file of a trained network says of the environment that it was trained on
        (policies/shared/trained_network.h)."""
        return {"environment": self.name, "model": self._model, "experiment": self._document.get("name", ""),
                "observation": list(self.observation),
                "actions": [{"exit": action.exit + 1, "partition_point": action.layers_on_server + 1}
                            for action in self.actions]}

    # ---- the simulation ----

    def _simulation(self, point: dict[str, Any], announced: dict[str, Any]) -> _core.Simulation:
        """What seeds do not change is read once."""
        key = json.dumps(point)
        if key not in self._experiments:
            vary = {pointer: [value] for pointer, value in point.items()}
            try:
                self._experiments[key] = _core.AskingExperiment(json.dumps(self._path), "null", json.dumps(vary), None,
                                                                json.dumps(_FACTS))
            except InputError as error:
                raise InputError(self._without_folder(str(error))) from None
        return self._experiments[key].simulation(json.dumps(announced))

    def _meet(self, desk: socket.socket) -> server_module.Connection:
        """The simulation's connection, once it has started."""
        ready, _, _ = select.select([desk, self._connection], [], [])
        fds = socket.recv_fds(desk, 1, 1)[1] if desk in ready else []
        if not fds:
            self._result()
            raise SimulationError("the run has ended without a simulation")
        return server_module.Connection(socket.socket(fileno=fds[0]))

    def _next(self) -> bytes:
        """The simulation's next message; raises EOFError at its end."""
        while not self._messages:
            self._messages.extend(self._asking.receive())
        return self._messages.popleft()

    def _ask(self) -> bool:
        """Waits for the next question; False at the end."""
        try:
            _, self._problem, self._seen = self._run.question(self._next())
        except (EOFError, ConnectionError):
            return False
        return True

    def _see(self) -> numpy.ndarray:
        self._observation = numpy.array(self._process.observe(self._problem, self._seen), numpy.float32)
        return self._observation

    def _settle(self, date_s: float, ended: dict[int, float]) -> list[dict[str, Any]]:
        """What became of the requests that ended, or whose deadline has passed."""
        deadline_s = self._problem.deadline_s
        outcomes = []
        for number, (action, arrival_s) in list(self._pending.items()):
            latency_s = ended.get(number)
            if latency_s is None and date_s - arrival_s <= deadline_s:
                continue
            if latency_s is None or latency_s > deadline_s:
                latency_s = math.inf
            del self._pending[number]
            outcomes.append({"request": number, "action": action, "latency_s": latency_s,
                             "reward": self.reward(self.actions[action], latency_s, deadline_s)})
        return outcomes

    def _result(self) -> Result:
        """Of the run, which has ended."""
        try:
            answer = json.loads(self._connection.receive_one())
        except (EOFError, ConnectionError):
            raise SimulationError("the cdisim program has ended") from None
        finally:
            self._end()
        if "error" in answer:
            raise (InputError if answer["input"] else SimulationError)(self._without_folder(answer["error"]))
        return Result(answer["results"], answer["requests"])

    def _without_folder(self, text: str) -> str:
        return text.replace(f"{self._folder.name}/", "")

    def _end(self) -> None:
        for connection in (self._asking, self._connection):
            if connection is not None:
                connection.close()
        self._asking = self._connection = None


class EdgeOffloadEnv(OffloadEnv):
    """cdisim/EdgeOffload-v0: the most accurate exit in time, and where to cut it, for one request after another.

    An episode is a run of an experiment with one source. A step is a request: when it arrives, the agent picks the exit
    at which it stops and the partition point between an edge host and the source, as in Edgent.

    Observation: Box(0, 1, (n_features,), float32), one number a feature, scaled as it says (OffloadFeature):
        {"feature": name, "scale": "linear" or "log", "low": quantity, "high": quantity}
    uplink_bandwidth: that of the route to the edge host; deadline; device_queue, server_queue: computations that wait
    or run; since_change: time since the bandwidth changed; arrival_gap: mean time between requests so far;
    link_backlog, server_backlog, device_backlog: time until they will have done what earlier decisions gave them, as
    predicted.
    By default uplink_bandwidth, deadline, device_queue, server_queue and since_change.

    Action: Discrete(n_actions). `actions` says what each is (OffloadAction: exit from 0, layers_on_server, accuracy):
    of each exit the partitions of which no other computes and sends less.

    Reward: for each request that ended during the step, or whose deadline passed, by the accuracy a of its exit and its
    latency t (s):
        a + bonus / (1 + t) in time, -a where it is late or lost;     bonus: half the least difference of two accuracies
    so that the best return is that of the best action in each step, as long as requests do not meet. Where the deadline
    is no longer than the time between requests, the reward is that of the step's own request. Requests that are still
    under way when the horizon ends the run earn nothing.

    Termination: with the last request of an experiment that states "requests", or whose arrivals end; truncation where
    its "horizon_s" ends the run first.

    Info: "date_s", "outcomes" (request, action, latency_s, reward of each request that earned), at the end "metrics" as
    in results.json; after reset() "seed" and "point" of the run.

    Seeding: reset(seed=) seeds the environment's generator, which draws for each episode a seed of the run (arrivals,
    generated bandwidths) from 2^20 (HELD_OUT_SEEDS) on, and values from `vary`. reset(options={"seed": 401}) runs that
    seed: those below 2^20 are never drawn and thus held out.

    experiment: name, path or dict, as of cdisim.run(); its policies, sweeps and repetitions do not matter.
    observation: features in place of the default ones.
    vary: {JSON pointer: values}, of which each episode has one drawn: {"/deadline": ["1s", "2s"]}.
    server: name of the edge host; by default the fastest.
    Raises InputError where the experiment is wrong.
    """

    name = "EdgeOffload-v0"
    observation = (BANDWIDTH, DEADLINE, DEVICE_QUEUE, SERVER_QUEUE, SINCE_CHANGE)

    def __init__(self, experiment="boomerang_traces", **options):
        super().__init__(experiment, **options)

    def reward(self, action, latency_s, deadline_s):
        return _core.offload_reward(action, latency_s, deadline_s, self._bonus)


class TaskStreamEnv(OffloadEnv):
    """cdisim/TaskStream-v0: exit and partition of each request of a stream, whose requests meet at link and hosts.

    As cdisim/EdgeOffload-v0 but for two things.

    Observation: by default uplink_bandwidth, deadline, server_queue, arrival_gap and the three backlogs.

    Reward: the accuracy of the exit for each request that ended in time during the step, nothing for others. What a
    request takes of link and hosts, later ones lack: rewards come when requests end, up to several steps later.
    """

    name = "TaskStream-v0"
    observation = (BANDWIDTH, DEADLINE, SERVER_QUEUE, ARRIVAL_GAP, *BACKLOGS)

    def __init__(self, experiment="task_stream_traces", **options):
        super().__init__(experiment, **options)

    def reward(self, action, latency_s, deadline_s):
        return _core.stream_reward(action, latency_s, deadline_s)


def _with(experiment: Experiment, **keys: Any) -> Experiment:
    copy = Experiment(dict(experiment), **keys)
    copy.folder = experiment.folder
    return copy


def _sum(outcomes: list[dict[str, Any]]) -> float:
    return float(sum(outcome["reward"] for outcome in outcomes))


for _class in (EdgeOffloadEnv, TaskStreamEnv):
    gymnasium.register(f"cdisim/{_class.name}", entry_point=_class)
