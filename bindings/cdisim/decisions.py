"""Answers the simulations that ask for the plans of Python policies, in the thread that called run()."""

import contextlib
import json
import selectors
import socket
from typing import Any, Optional

from cdisim import _core
from cdisim.errors import InputError
from cdisim.policy import PythonPolicy
from cdisim.server import Connection

_KEPT = _core.plan_answer(None)


class Decisions:
    """Those of one run: the policies that Python has, and the experiment as far as it concerns them.

    desk: where simulations hand in their connections. selector calls back what has come; stack closes at the end.
    """

    def __init__(self, request: dict[str, Any], policies: dict[str, PythonPolicy], desk: socket.socket,
                 selector: selectors.BaseSelector, stack: contextlib.ExitStack):
        self._request, self._policies = request, policies
        self._desk, self._selector, self._stack = desk, selector, stack
        self._experiment: Optional[_core.AskingExperiment] = None
        selector.register(desk, selectors.EVENT_READ, self._accept)

    def simulation(self, announced: bytes) -> tuple[_core.Simulation, PythonPolicy]:
        """The simulation that another process has announced, and the policy that it asks."""
        if self._experiment is None:
            request = self._request
            self._experiment = _core.AskingExperiment(
                json.dumps(request["experiment"]), json.dumps(request.get("policies")), request.get("seed"),
                json.dumps(request["external"]))
        simulation = self._experiment.simulation(announced.decode())
        return simulation, self._policies[simulation.policy]

    def _accept(self) -> None:
        _, fds, _, _ = socket.recv_fds(self._desk, 1, 1)
        if not fds:
            self._selector.unregister(self._desk)
            return
        connection = Connection(socket.socket(fileno=fds[0]))
        self._stack.callback(connection.close)
        asking = Asking(self, connection)

        def asked() -> None:
            if not asking.answer():
                self._selector.unregister(connection)
                connection.close()

        self._selector.register(connection, selectors.EVENT_READ, asked)


class Asking:
    """One simulation's connection: the first message announces it, each other one asks for a plan."""

    def __init__(self, decisions: Decisions, connection: Connection):
        self._decisions, self._connection = decisions, connection
        self._simulation: Optional[_core.Simulation] = None
        self._objects: dict[int, Any] = {}  # the policy's, by source

    def answer(self) -> bool:
        """Answers what has come; returns False at the end."""
        try:
            messages = self._connection.receive()
        except (EOFError, ConnectionError):
            return False
        for message in messages:
            if self._simulation is None:
                self._simulation, self._policy = self._decisions.simulation(message)
                continue
            decided = self._decide(message)
            try:
                self._connection.send(decided)
            except ConnectionError:  # it has died: the program says so
                return False
        return True

    def _decide(self, message: bytes) -> bytes:
        source, problem, observation = self._simulation.question(message)
        try:
            if observation is None:
                self._objects[source] = self._policy.make(**self._simulation.parameters)
                plan = self._objects[source].plan(problem)
            else:
                plan = self._objects[source].replan(problem, observation)
                if plan is None:
                    return _KEPT
        except InputError as error:
            return _core.error_answer(str(error))
        if not isinstance(plan, _core.Plan):
            return _core.error_answer(f"policy {self._policy.name}: gives {plan!r}, which is no Plan")
        return _core.plan_answer(plan)
