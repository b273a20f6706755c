"""cdisim from Python: experiments, results and policies of your own.

    import cdisim
    result = cdisim.run("edgent")
    result.to_pandas()

Simulations run in processes of the `cdisim` program, never in the caller's. What the C++ headers declare has the same
names here (a member `from`, which Python reserves, is `from_piece`), enumerators are the words that stand in JSON, and
quantities are in SI units.
"""

from cdisim.errors import InputError, SimulationError
from cdisim.experiment import Experiment
from cdisim.graph import LayerGraphBuilder
from cdisim.platform import PlatformBuilder
from cdisim.policy import Parameter, Policy, policy, registered_policies
from cdisim.program import program as _program
from cdisim.result import Result
from cdisim.run import run
from cdisim.sweep import Sweep, sweep

__all__ = ["Experiment", "InputError", "LayerGraphBuilder", "Parameter", "PlatformBuilder", "Policy", "Result",
           "SimulationError", "Sweep", "policy", "registered_policies", "run", "sweep"]

try:
    import cdisim._core as _core
except ModuleNotFoundError as _missing:  # a source tree without the module: run() does without
    if _missing.name != "cdisim._core":
        raise
else:
    from cdisim._core import (BandwidthTrace, EdgeOffload, EdgeTransform, Estimate, Exit, Host, LatencyModel, Layer,
                              LayerCosts, LayerGraph, Link, Observation, OffloadAction, Piece, Plan, PlanEdge, Platform,
                              PowerState, Problem, Radio, Range, Route, Stealing, Threshold, Transform, Upload,
                              WireFormat, chain_plan, check_plan, contains, elements, estimate, find_resource, fuse,
                              hull, input_region, intersect, kInput, kSourceEnd, list_resources, part_costs, plan_edges,
                              plan_memory_bytes, slab, split, split_rows, subtract, tensor_bytes, version, whole)
    from cdisim.contract import check_policy
    from cdisim.plot import plot_graph as _plot_graph

    LayerGraph.plot = _plot_graph
    try:
        _core.set_program(_program())
    except FileNotFoundError:
        pass  # files are found by CDISIM_PATH and path alone; run() says what is missing
    __all__ += ["BandwidthTrace", "EdgeOffload", "EdgeTransform", "Estimate", "Exit", "Host", "LatencyModel", "Layer",
                "LayerCosts", "LayerGraph", "Link", "Observation", "OffloadAction", "Piece", "Plan", "PlanEdge",
                "Platform", "PowerState", "Problem", "Radio", "Range", "Route", "Stealing", "Threshold", "Transform",
                "Upload", "WireFormat", "chain_plan", "check_plan", "check_policy", "contains", "elements", "estimate",
                "find_resource", "fuse", "hull", "input_region", "intersect", "kInput", "kSourceEnd", "list_resources",
                "part_costs", "plan_edges", "plan_memory_bytes", "slab", "split", "split_rows", "subtract",
                "tensor_bytes", "version", "whole"]
