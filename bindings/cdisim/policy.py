"""Policies in Python: a function or a class, run by cdisim.run() beside those in C++.

    @cdisim.policy(title="what the link allows", watches_bandwidth=True)
    def by_bandwidth(problem, limit_bytes_per_s=1e6):
        edge = problem.reachable("edge")[0]
        fast = problem.bandwidth_bytes_per_s[0] > limit_bytes_per_s
        layers = problem.graph.exit_layers(0)
        return cdisim.Plan([cdisim.Piece(layers, edge if fast else problem.source)])

    cdisim.run("edgent", policy=["edgent", by_bandwidth])
"""

import copy
import inspect
from dataclasses import dataclass, field
from typing import Any, Callable, Optional, Sequence, Union

_TYPES = {int: "integer", float: "number", str: "string"}
_FLAGS = ("watches_arrivals", "watches_bandwidth", "watches_platform", "watches_load", "watches_weights",
          "knows_arrivals", "knows_mobility")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a policy, as ParameterFacts in C++. Quantities ("10ms") arrive in SI units."""

    name: str
    type: str  #: "string", "number", "integer", "time", "power", "bandwidth"
    standard: Any  #: default value
    about: str = ""
    choices: Sequence[str] = ()  #: of a string

    def facts(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "standard": self.standard, "about": self.about,
                "choices": list(self.choices)}


class Policy:
    """What a class of policies may derive from; one that has its methods will do.

    Each source of each run has an object of its own, made with the parameters as keywords.
    """

    def plan(self, problem):
        """Decides for the requests of problem.source: returns a Plan, or raises InputError when the platform lacks
        what the policy needs. The problem is that of this call: what it says of the present changes with the next."""
        raise NotImplementedError

    def replan(self, problem, observation):
        """Called for what the policy watches; returns a Plan, or None to keep the present one."""
        return None


@dataclass(frozen=True)
class PythonPolicy:
    """A policy with its facts, as PolicyFacts in C++."""

    name: str
    make: Callable[..., Any] = field(repr=False)  #: called with the parameters as keywords, returns a Policy
    title: str = ""
    source: str = ""
    about: str = ""
    parameters: Sequence[Parameter] = ()
    flags: Sequence[str] = ()

    def facts(self) -> dict[str, Any]:
        return {"name": self.name, "title": self.title, "source": self.source, "about": self.about,
                "parameters": [p.facts() for p in self.parameters], **{flag: True for flag in self.flags}}


class _FunctionPolicy(Policy):
    """A function decides anew whenever it is asked."""

    def __init__(self, function: Callable, watches: bool, parameters: dict[str, Any]):
        self._function, self._watches, self._parameters = function, watches, parameters

    def plan(self, problem):
        return self.replan(problem, None)

    def replan(self, problem, observation):
        if self._watches:
            return self._function(problem, observation, **self._parameters)
        return self._function(problem, **self._parameters)


_registered: dict[str, PythonPolicy] = {}


def registered_policies() -> list[PythonPolicy]:
    """The policies that @cdisim.policy has registered, by name."""
    return [_registered[name] for name in sorted(_registered)]


def policy(made: Union[Callable, type, None] = None, *, name: Optional[str] = None, title: str = "", source: str = "",
           about: Optional[str] = None, parameters: Optional[Sequence[Parameter]] = None,
           watches_arrivals: bool = False, watches_bandwidth: bool = False, watches_platform: bool = False,
           watches_load: bool = False, watches_weights: bool = False, knows_arrivals: bool = False,
           knows_mobility: bool = False):
    """Registers a function or class as a policy, whose name may then stand in an experiment's "policies".

    A function gets the problem, the observation if it has a parameter of that name (None at first), and the policy's
    parameters; what it watches calls it again. A class is made with the parameters and has plan() and replan().
    name: by default that of the function or class. about: by default its docstring.
    parameters: by default those of the function, or of the class's constructor, that have a default value.
    Registering a name again replaces the former policy.
    """
    given = locals()
    flags = tuple(flag for flag in _FLAGS if given[flag])

    def register(thing):
        registered = _make(thing, name, title, source, about, parameters, flags)
        _registered[registered.name] = registered
        thing.__cdisim_policy__ = registered
        return thing

    return register if made is None else register(made)


def python_policy(thing: Any) -> PythonPolicy:
    """The policy that a function, class or object is; attributes such as `watches_bandwidth = True` say what an
    unregistered one watches. An object is copied for each source. Raises TypeError where it is no policy."""
    if isinstance(thing, PythonPolicy):
        return thing
    registered = vars(thing).get("__cdisim_policy__") if hasattr(thing, "__dict__") else None
    return registered or _make(thing, None, "", "", None, None, tuple(f for f in _FLAGS if getattr(thing, f, False)))


def _make(thing: Any, name, title, source, about, parameters, flags) -> PythonPolicy:
    kind = thing if inspect.isclass(thing) or inspect.isfunction(thing) else type(thing)
    if inspect.isclass(thing) and callable(getattr(thing, "plan", None)):
        make, signature = thing, inspect.signature(thing)
    elif callable(getattr(thing, "plan", None)):
        def make(**_):
            return copy.deepcopy(thing)
        signature = inspect.Signature()
    elif callable(thing) and not inspect.isclass(thing):
        signature = inspect.signature(thing)
        watches = "observation" in signature.parameters

        def make(**values):
            return _FunctionPolicy(thing, watches, values)
    else:
        raise TypeError(f"{thing!r} is no policy: it is no function and has no method plan()")
    if parameters is None:
        parameters = [_parameter(p) for p in signature.parameters.values()
                      if p.default is not inspect.Parameter.empty and p.name != "observation"]
    about = inspect.getdoc(thing) if about is None else about
    return PythonPolicy(name or getattr(thing, "__name__", kind.__name__).strip("<>"), make, title, source,
                        about or "", tuple(parameters), flags)


def _parameter(parameter: inspect.Parameter) -> Parameter:
    kind = _TYPES.get(type(parameter.default))
    if kind is None:
        raise TypeError(f"parameter {parameter.name!r}: its default {parameter.default!r} is no number and no text; "
                        "state the policy's parameters")
    return Parameter(parameter.name, kind, parameter.default)
