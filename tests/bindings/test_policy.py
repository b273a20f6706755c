"""Policies in Python, run beside those in C++."""

import pathlib
import traceback
import unittest

import cdisim
from cdisim import server
from test_run import children, one_point, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]


def edge_only(problem):
    """Everything on the first edge host."""
    return cdisim.chain_plan(problem.graph, len(problem.graph.exits()) - 1, 0, problem.source,
                             problem.reachable("edge")[0])


class Best:
    """The partition point that estimate() likes best, decided anew whenever the bandwidth is seen to change."""

    watches_bandwidth = True

    def __init__(self, slack=0.0):
        self.slack, self.seen = slack, None

    def plan(self, problem):
        self.seen = problem.bandwidth_bytes_per_s
        others = [host for host in problem.reachable() if host != problem.source]
        if not others:
            raise cdisim.InputError(f"{problem.platform.file()}: nobody to offload to")
        exit = len(problem.graph.exits()) - 1
        layers = problem.graph.exit_layers(exit)
        plans = [cdisim.chain_plan(problem.graph, exit, k, problem.source, others[0]) for k in range(len(layers) + 1)]
        costs = [cdisim.estimate(problem, plan).latency_s for plan in plans]
        k = min(range(len(plans)), key=lambda i: costs[i] + self.slack)
        plan = plans[k]
        plan.decision = {"partition_point": k}
        return plan

    def replan(self, problem, observation):
        assert observation.kind == "bandwidth" and observation.queue_length(problem.source) >= 0
        return None if problem.bandwidth_bytes_per_s == self.seen else self.plan(problem)


def changing(**keys):
    """The link loses nine tenths of its bandwidth at 5 s."""
    document = one_point(arrivals={"kind": "periodic", "period": "1s"}, horizon_s=10, observe_every="1s",
                         changes=[{"at": "4.5s", "link": "lan", "bandwidth": "100kbps"}], **keys)
    document.pop("requests", None)
    return document


class PolicyTest(unittest.TestCase):
    def test_a_function_gives_what_the_policy_in_cpp_gives(self):
        def first_edge(problem):
            return edge_only(problem)

        result = cdisim.run("edgent", policy=["edge_only", first_edge])
        ours = [run for run in result.runs if run["policy"] == "first_edge"]
        theirs = [run for run in result.runs if run["policy"] == "edge_only"]
        self.assertEqual(len(ours), len(theirs))
        self.assertTrue(ours)
        for mine, other in zip(ours, theirs):
            self.assertEqual((mine["point"], mine["metrics"]), (other["point"], other["metrics"]))
        self.assertTrue(result.figures)

    def test_a_class_replans(self):
        result = cdisim.run(changing(), policy=[Best, "device_only"])
        self.assertEqual(result.find("Best")["params"], {"slack": 0.0})
        again = cdisim.run(changing(), policy=[Best, "device_only"], jobs=2)
        self.assertEqual(result.document, again.document)
        latencies = [row["latency_s"] for row in result.requests()
                     if row["policy"] == "Best" and row["state"] == "completed"]
        self.assertGreater(latencies[-1], latencies[0])
        self.assertGreaterEqual(result.find("Best")["metrics"]["replans"], 1)

    def test_parameters(self):
        seen = []

        @cdisim.policy(name="with_parameters", parameters=[
            cdisim.Parameter("patience", "time", "10ms"), cdisim.Parameter("mode", "string", "a", choices=("a", "b")),
            cdisim.Parameter("k", "integer", 1)])
        def policy(problem, patience, mode, k):
            seen.append((patience, mode, k))
            return edge_only(problem)

        document = one_point(policies=[{"name": "with_parameters", "patience": "2s", "label": "x"}])
        result = cdisim.run(document)
        self.assertEqual(result.find("x")["params"], {"patience": "2s", "mode": "a", "k": 1})
        self.assertEqual(seen, [(2.0, "a", 1)])
        for wrong, text in (({"mode": "c"}, "mode"), ({"patience": 2}, "patience"), ({"none": 1}, "has no parameter")):
            with self.assertRaisesRegex(cdisim.InputError, text):
                cdisim.run(one_point(policies=[{"name": "with_parameters", **wrong}]))
        self.assertIn("with_parameters", [made.name for made in cdisim.registered_policies()])

    def test_an_object_is_copied_for_each_source(self):
        best = Best()
        cdisim.run(changing(), policy=best)
        self.assertIsNone(best.seen)

    def test_registered_again(self):
        for host in ("edge", "device"):
            @cdisim.policy(name="again")
            def policy(problem, host=host):
                return edge_only(problem) if host == "edge" else cdisim.chain_plan(
                    problem.graph, 0, 0, problem.source, problem.source)

            self.assertEqual(cdisim.run(one_point(policies=[{"name": "again"}])).runs[0]["params"], {"host": host})

    def test_an_observation_may_be_asked_for(self):
        kinds = []

        def watching(problem, observation):
            kinds.append(observation and (observation.kind, observation.date_s, observation.link_on[0]))
            return edge_only(problem)

        watching.watches_bandwidth = watching.watches_arrivals = True
        cdisim.run(changing(), policy=watching)
        self.assertIsNone(kinds[0])
        self.assertIn(("bandwidth", 5.0, True), kinds)
        self.assertIn(("arrival", 2.0, True), kinds)


class MistakeTest(unittest.TestCase):
    def test_a_bad_plan_names_the_policy(self):
        def half(problem):
            return cdisim.Plan([cdisim.Piece([0], problem.source)])

        with self.assertRaisesRegex(cdisim.InputError, "policy half at .*policy half: the plan cannot run"):
            cdisim.run(one_point(), policy=half)
        # Beside others it costs its own run only.
        result = cdisim.run(one_point(), policy=[half, "device_only"])
        self.assertIn("the plan cannot run", result.find("half")["error"])
        self.assertIn("metrics", result.find("device_only"))

    def test_no_plan(self):
        for nothing in (None, 1):
            def none(problem):
                return nothing

            with self.assertRaisesRegex(cdisim.InputError, "policy none: gives .*, which is no Plan"):
                cdisim.run(one_point(), policy=none)

    def test_an_exception_comes_back_with_its_traceback_and_ends_the_run(self):
        def broken(problem):
            return problem.no_such_attribute

        try:
            cdisim.run("edgent", policy=["edgent", broken])
        except AttributeError:
            self.assertIn("return problem.no_such_attribute", traceback.format_exc())
        else:
            self.fail("no exception")
        self.assertTrue(wait_until(lambda: not children(server.server_pid())))

    def test_an_input_error_is_the_run_s(self):
        def lacking(problem):
            raise cdisim.InputError(f"{problem.platform.file()}: no such host")

        with self.assertRaisesRegex(cdisim.InputError, "policy lacking at .*no such host"):
            cdisim.run(one_point(), policy=lacking)

    def test_what_is_no_policy(self):
        with self.assertRaisesRegex(TypeError, "is no policy"):
            cdisim.run(one_point(), policy=3)
        with self.assertRaisesRegex(TypeError, "state the policy's parameters"):
            cdisim.run(one_point(), policy=lambda problem, hosts=(): None)

        def edgent(problem):
            return edge_only(problem)

        with self.assertRaisesRegex(cdisim.InputError, "cdisim has a policy of this name"):
            cdisim.run(one_point(), policy=edgent)
        with self.assertRaisesRegex(cdisim.InputError, "two policies are named 'edge_only'"):
            cdisim.run(one_point(), policy=[edge_only, type("edge_only", (Best,), {})])


class ContractTest(unittest.TestCase):
    def test_on_every_bundled_platform(self):
        self.assertGreater(cdisim.check_policy(Best), 20)

    def test_can_fail(self):
        count = iter(range(1000))

        def fickle(problem):
            plan = cdisim.chain_plan(problem.graph, 0, 0, problem.source, problem.source)
            plan.decision = {"call": next(count)}
            return plan

        with self.assertRaisesRegex(AssertionError, "fickle on"):
            cdisim.check_policy(fickle)
        with self.assertRaisesRegex(cdisim.InputError, "policy empty: the plan cannot run"):
            def empty(problem):
                return cdisim.Plan([])

            cdisim.check_policy(empty)


if __name__ == "__main__":
    unittest.main()
