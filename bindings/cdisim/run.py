"""Running experiments."""

import contextlib
import json
import os
import selectors
import sys
from typing import Any, Callable, Optional, Union

import cdisim.experiment as experiment_module
from cdisim import server
from cdisim.errors import InputError, SimulationError
from cdisim.policy import PythonPolicy, python_policy, registered_policies
from cdisim.result import Result

Experiment = Union[str, "os.PathLike[str]", dict[str, Any]]


def run(experiment: Experiment, *, policy=None, vary: Optional[dict[str, list]] = None, seed: Optional[int] = None,
        jobs: Optional[int] = None, progress: Union[bool, Callable[[int, int], None]] = False, requests: bool = True) -> Result:
    """Runs an experiment in processes of its own and returns its Result.

    experiment: path or name of an experiment file, or a dict with the same keys; files that a dict names are found by
        their name, or from the current folder.
    policy: what runs in place of the experiment's policies: a label of one of these, the name of a policy, a dict as
        in the experiment's "policies", a Python policy (see cdisim.policy), or a list of such.
    vary: {JSON pointer of a value of the experiment: list of values}, whose combinations run in place of the
        experiment's sweeps; its published figures are left out.
    seed: replaces the experiment's, a whole number of at least 0.
    jobs: simulations at a time, by default one a core.
    progress: True shows a line on standard error; a function is called with how many simulations of how many are done.
    requests: whether Result.requests() will be wanted; False saves the memory.
    Raises InputError where the input is wrong (when only some runs fail, their entries in Result.runs have an
    "error"), SimulationError where the program fails or dies, and whatever a Python policy raises. Ctrl-C ends it.
    """
    if isinstance(experiment, experiment_module.Experiment):  # it knows its folder and what was made in Python
        return experiment.run(policy=policy, vary=vary, seed=seed, jobs=jobs, progress=progress, requests=requests)
    request = _request(experiment, seed, jobs, bool(progress), requests)
    python = {made.name: made for made in registered_policies()}
    if policy is not None:
        request["policies"] = [_entry(given, python) for given in (policy if isinstance(policy, list) else [policy])]
    if vary is not None:
        request["vary"] = vary
    request["external"] = [made.facts() for made in python.values()]
    show = progress if callable(progress) else show_progress
    with contextlib.ExitStack() as stack:
        connection, desk = server.start_run(json.dumps(request).encode())
        stack.callback(connection.close)
        stack.callback(desk.close)
        selector = stack.enter_context(selectors.DefaultSelector())

        def answered() -> Optional[Result]:
            for message in _received(connection):
                answer = json.loads(message)
                if "progress" in answer:
                    show(*answer["progress"])
                elif "error" in answer:
                    raise (InputError if answer["input"] else SimulationError)(answer["error"])
                else:
                    return Result(answer["results"], answer["requests"] if requests else None)
            return None

        selector.register(connection, selectors.EVENT_READ, answered)
        if python:
            from cdisim.decisions import Decisions  # needs the extension module, which other runs do without
            Decisions(request, python, desk, selector, stack)
        while True:
            for key, _ in selector.select():
                result = key.data()
                if result is not None:
                    return result


def _request(experiment: Experiment, seed, jobs, progress: bool, requests: bool) -> dict[str, Any]:
    """The request as serve_command.cpp describes it."""
    if not isinstance(experiment, dict):
        experiment = os.fspath(experiment)
    request = {"experiment": experiment, "folder": os.getcwd(), "progress": progress, "requests": requests}
    if "CDISIM_PATH" in os.environ:
        request["path"] = os.environ["CDISIM_PATH"]
    if seed is not None:
        request["seed"] = _whole("seed", seed, 0, 2**63 - 1)
    if jobs is not None:
        request["jobs"] = _whole("jobs", jobs, 1, 1024)
    return request


def _entry(given: Any, python: dict[str, PythonPolicy]) -> Any:
    """What stands for a policy in the experiment; one of Python's is added to `python`."""
    if isinstance(given, (str, dict)):
        return given
    made = python_policy(given)
    if made is not python.get(made.name):
        if made.name in python:
            raise InputError(f"two policies are named {made.name!r}")
        python[made.name] = made
    return made.name


def _whole(name: str, value: Any, low: int, high: int) -> int:
    try:
        number = value.__index__()  # NumPy's integers too
    except AttributeError:
        number = low - 1
    if not low <= number <= high:
        raise InputError(f"{name}: {value!r} is no whole number from {low} to {high}")
    return number


def _received(connection: server.Connection) -> list[bytes]:
    try:
        return connection.receive()
    except (EOFError, ConnectionError):
        raise SimulationError("the cdisim program has ended") from None


def show_progress(done: int, total: int, what: str = "") -> None:
    print(f"\rcdisim: {done}/{total}{what}", end="\n" if done == total else "", file=sys.stderr, flush=True)
