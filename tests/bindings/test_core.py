"""cdisim._core: the types that policies see."""

import json
import math
import pathlib
import re
import unittest

import cdisim
from cdisim import _core

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"


def pencil():
    """The fixtures chain3 and pencil with the source "device"."""
    platform = cdisim.Platform.load(FIXTURES / "pencil.xml")
    return cdisim.Problem(cdisim.LayerGraph.load(FIXTURES / "chain3.json"), platform, cdisim.LatencyModel.roofline(),
                          platform.find_host("device"), deadline_s=1)


class CoreTest(unittest.TestCase):
    def test_graph(self):
        path = cdisim.find_resource("model", "alexnet")
        graph = cdisim.LayerGraph.load(path)
        written = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        self.assertEqual([layer.name for layer in graph.layers()], [layer["name"] for layer in written["layers"]])
        self.assertEqual(graph.layer(0).kind, written["layers"][0]["kind"])
        self.assertEqual(graph.find("nothing"), -1)
        self.assertEqual(graph.consumers(cdisim.kInput), (0,))
        self.assertEqual(cdisim.LayerGraph.parse(graph.to_json()).text(), graph.text())
        self.assertEqual(sum(graph.costs(i).weight_bytes for i in range(graph.size())), graph.weight_bytes())
        for wrong in (-2, graph.size()):
            for call in (graph.layer, graph.costs, graph.consumers, graph.tensor_shape, graph.exit_layers):
                with self.assertRaises(IndexError):
                    call(wrong)

    def test_platform(self):
        platform = cdisim.Platform.load(FIXTURES / "pencil.xml")
        self.assertEqual(platform.name(), "pencil")
        self.assertEqual([host.name for host in platform.hosts()], platform.host_names())
        device = platform.find_host("device")
        self.assertEqual(platform.host(device).tier, "device")
        route = platform.route(device, platform.neighbours(device)[0])
        self.assertEqual(route.latency_s, sum(platform.link(i).latency_s for i in route.links))
        self.assertEqual(platform.host(device).battery_j, math.inf)
        with self.assertRaises(IndexError):
            platform.host(99)

    def test_input_errors_have_the_program_s_text(self):
        with self.assertRaisesRegex(cdisim.InputError, "missing.json: no such file"):
            cdisim.LayerGraph.load("missing.json")
        with self.assertRaisesRegex(cdisim.InputError, 'is no model.*did you mean "alexnet"'):
            cdisim.find_resource("model", "alexnt")
        with self.assertRaisesRegex(cdisim.InputError, "is no tier; valid: device, edge, cloud, uav"):
            pencil().reachable("fog")

    def test_problem(self):
        problem = pencil()
        graph, platform = problem.graph, problem.platform
        others = [host for host in problem.reachable() if host != problem.source]
        layers = graph.exit_layers(0)
        there = others[0]
        route = platform.route(problem.source, there)
        self.assertEqual(problem.transfer_s(1e6, problem.source, there),
                         route.latency_s + 1e6 / platform.bottleneck_bytes_per_s(route))
        alone = cdisim.chain_plan(graph, 0, len(layers), problem.source, there)
        self.assertEqual(cdisim.estimate(problem, alone).latency_s, problem.compute_s(layers, problem.source))
        self.assertEqual(problem.compute_s(cdisim.Piece(layers, there)), problem.compute_s(layers, there))
        # Offloaded, the input goes there and the result comes back.
        edges = cdisim.plan_edges(graph, problem.wire, cdisim.chain_plan(graph, 0, 0, problem.source, there))
        self.assertEqual([(edge.from_piece, edge.to) for edge in edges],
                         [(cdisim.kSourceEnd, 0), (0, cdisim.kSourceEnd)])
        self.assertEqual(edges[0].bytes, graph.input_bytes())

    def test_plans_are_values(self):
        plan = cdisim.Plan([cdisim.Piece([0, 1], 0), cdisim.Piece([2], 1, share=0.5)], decision={"k": 2})
        self.assertEqual(plan, cdisim.Plan(list(plan.pieces), decision=dict(plan.decision)))
        self.assertNotEqual(plan, cdisim.Plan(list(plan.pieces)))
        # Nobody changes a copy and believes to have changed the plan.
        for change in (lambda: plan.pieces.append(0), lambda: plan.decision.update(k=3),
                       lambda: setattr(plan.pieces[0], "host", 1)):
            with self.assertRaises((AttributeError, TypeError)):
                change()
        plan.decision = {"k": 3}
        self.assertEqual(plan.decision["k"], 3)
        self.assertIn('"k":3.0', repr(plan))

    def test_check_plan(self):
        problem = pencil()
        for pieces, text in (([cdisim.Piece([0], 0)], "is computed 0 times"), ([cdisim.Piece([0, 1, 2], 99)], "host number 99"),
                             ([cdisim.Piece([99], 0)], "layer number 99")):
            with self.assertRaisesRegex(cdisim.InputError, "^mine: the plan cannot run: .*" + text):
                cdisim.check_plan(problem.graph, problem.platform, problem.source, problem.wire, cdisim.Plan(pieces), "mine")

    def test_regions(self):
        shape = [8, 16, 16]
        top, bottom = cdisim.split_rows(shape, 2)
        self.assertEqual(top, [cdisim.Range(0, 8), cdisim.Range(0, 8), cdisim.Range(0, 16)])
        self.assertEqual(cdisim.elements(cdisim.hull(top, bottom)), 8 * 16 * 16)
        self.assertEqual(cdisim.subtract(cdisim.whole(shape), [(0, 8), (0, 8), (0, 16)]), [bottom])

    def test_docstrings_are_the_headers(self):
        header = (ROOT / "sim" / "policy.h").read_text(encoding="utf-8")
        for thing, lines in ((cdisim.Problem.transfer_s, 1), (cdisim.chain_plan, 2)):
            said = thing.__doc__.split("\n\n", 1)[1].strip().splitlines()
            self.assertEqual(len(said), lines)
            for line in said:
                self.assertIn("/// " + line, header)
        for cls in (cdisim.Plan, cdisim.Piece, cdisim.Layer, cdisim.LayerGraph, cdisim.Platform, cdisim.LatencyModel,
                    cdisim.Problem, cdisim.Observation, cdisim.Estimate, cdisim.Stealing):
            self.assertTrue(cls.__doc__, cls)

    def test_stubs_have_all_names(self):
        stub = (ROOT / "bindings" / "cdisim" / "_core.pyi").read_text(encoding="utf-8")
        for name, thing in vars(_core).items():
            if name.startswith("__"):
                continue
            self.assertRegex(stub, rf"(?m)^(class|def) {name}\b|^{name}:")
            if not isinstance(thing, type):
                continue
            body = re.search(rf"(?ms)^class {name}\b.*?(?=^\S|\Z)", stub).group()
            for member in vars(thing):
                if not member.startswith("_"):
                    self.assertRegex(body, rf"def {member}\b", name)


if __name__ == "__main__":
    unittest.main()
