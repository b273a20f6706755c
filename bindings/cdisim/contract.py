"""What every policy owes to everybody, checked for one in Python as tests/policies/contract_test.cpp does in C++."""

import pathlib
from typing import Any, Iterable, Optional

from cdisim import _core
from cdisim.errors import InputError
from cdisim.policy import python_policy


def check_policy(policy: Any, *, platforms: Optional[Iterable[Any]] = None, models: Optional[Iterable[Any]] = None,
                 **parameters: Any) -> int:
    """Makes plans for the first device of each platform, where it has one, and each model (paths; by default all bundled platforms and the models
    lenet, alexnet and resnet18) and returns how many. A policy may raise InputError that names the platform's file.

    parameters: of the policy, in SI units; defaults must be numbers or texts where they are left out.
    Raises AssertionError where two objects of the policy make different plans of the same problem, or none makes any
    plan; InputError where a plan cannot run (see check_plan).
    """
    made = python_policy(policy)
    values = {p.name: p.standard for p in made.parameters}
    values.update(parameters)
    if platforms is None:
        platforms = _core.list_resources("platform")
    if models is None:
        models = [_core.find_resource("model", name) for name in ("lenet", "alexnet", "resnet18")]
    graphs = [_core.LayerGraph.load(model) for model in models]
    latency_model = _core.LatencyModel.roofline()
    plans = 0
    for path in platforms:
        platform = _core.Platform.load(pathlib.Path(path))
        device = next((i for i, host in enumerate(platform.hosts()) if host.tier == "device"), None)
        if device is None:
            continue
        for graph in graphs:
            try:
                for host in platform.hosts():
                    latency_model.layer_s(graph, 0, host)
            except InputError:
                continue  # a host that only its testbed's own latency model knows
            problem = _core.Problem(graph, platform, latency_model, device, deadline_s=1, seed=7)
            try:
                plan = made.make(**values).plan(problem)
            except InputError as error:
                assert platform.file() in str(error), f"{error}: does not name {platform.file()}"
                continue
            _core.check_plan(graph, platform, device, problem.wire, plan, f"policy {made.name}")
            again = made.make(**values).plan(problem)
            assert plan == again, f"{made.name} on {platform.name()}: {plan} and {again}"
            plans += 1
    assert plans > 0, f"{made.name} makes no plan"
    return plans
