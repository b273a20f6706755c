"""Figures: what is drawn, in the axes' units."""

import json
import tempfile
import unittest

import cdisim

try:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from cdisim import plot
except ImportError:
    matplotlib = None


def run(policy, point, latency_s, **energy):
    metrics = {"latency_s": {"mean": latency_s, "p95": latency_s, "ci95": None}, "compute_s": latency_s / 2,
               "transfer_s": latency_s / 4, "queue_s": latency_s / 4,
               "energy_j": {"total": sum(energy.values()), "per_host": energy}}
    return {"policy": policy, "point": point, "metrics": metrics}


def figure(name, published, simulated, status="reproduced", unit="ms"):
    return {"id": name, "published": published, "simulated": simulated, "status": status, "unit": unit,
            "tolerance": 0.1, "metric": "/metrics/latency_s/mean", "experiment": "e"}


SWEEP = {"experiment": "e", "runs": [run(policy, {"/links/lan/bandwidth": b, "/deadline": "100ms"}, y, pi=y)
                                     for policy, ys in (("a", (0.05, 0.2, 0.1)), ("b", (0.4, 0.3, 0.5)))
                                     for b, y in zip(("1Mbps", "500kbps", "2Mbps"), ys)],
         "figures": [figure("f@1Mbps", 50, 55), figure("f@500kbps", 100, 90, "deviates"), figure("g", 10, 20),
                     figure("words", "a claim", None, "unchecked")]}
BARS = {"experiment": "e", "runs": [run("a", {}, 0.2, pi=1, edge=2), run("b", {}, 0.4, pi=3)], "figures": []}


def lines(ax):
    """{label: [(x, y)]} of the lines with error bars."""
    return {c.get_label(): [tuple(map(float, p)) for p in c.lines[0].get_xydata()] for c in ax.containers
            if hasattr(c, "lines")}


def bars(ax):
    """{label: [(left or bottom, length)]}"""
    return {c.get_label(): [(p.get_y(), p.get_height()) for p in c] for c in ax.containers if hasattr(c, "patches")}


@unittest.skipIf(matplotlib is None, "python3-matplotlib is not installed")
class PlotTest(unittest.TestCase):
    def setUp(self):
        self.addCleanup(pyplot.close, "all")

    def assertClose(self, got, expected):
        self.assertEqual(len(got), len(expected), got)
        for a, b in zip(got, expected):
            for x, y in zip(a, b):
                self.assertAlmostEqual(x, y)

    def test_latency_over_a_sweep(self):
        ax = plot.plot_latency(SWEEP)
        self.assertEqual(ax.get_ylabel(), "mean latency (ms)")
        self.assertEqual(ax.get_xlabel(), "lan bandwidth (Mbit/s)")
        self.assertClose(lines(ax)["a"], [(0.5, 200), (1, 50), (2, 100)])  # ascending
        self.assertClose(lines(ax)["b"], [(0.5, 300), (1, 400), (2, 500)])
        deadline = next(line for line in ax.lines if line.get_label() == "deadline")
        self.assertAlmostEqual(deadline.get_ydata()[0], 100)
        self.assertEqual(list(lines(plot.plot_latency(SWEEP, policies=["b"]))), ["b"])

    def test_which_runs(self):
        two = {**SWEEP, "runs": SWEEP["runs"] + [run("a", {"/links/lan/bandwidth": "1Mbps", "/deadline": "1s"}, 9)]}
        self.assertEqual(len(lines(plot.plot_latency(two))["a"]), 3)  # the deadline of most points
        self.assertEqual(plot.plot_latency(two).get_title(), "e at deadline 100ms")
        self.assertClose(lines(plot.plot_latency(two, x="deadline", policies=["a"]))["a"], [(0.1, 0.05), (1, 9)])
        with self.assertRaisesRegex(ValueError, "'bandwith' names 0 of the swept values: /links/lan/bandwidth"):
            plot.plot_latency(SWEEP, x="bandwith")
        with self.assertRaisesRegex(ValueError, "no runs of policy 'c'; there are: a, b"):
            plot.plot_latency(SWEEP, policies=["c"])
        failed = {**BARS, "runs": [{"policy": "a", "point": {}, "error": "no edge"}]}
        with self.assertRaisesRegex(ValueError, "no run succeeded"):
            plot.plot_latency(failed)

    def test_words_and_counts_on_the_axis(self):
        words = {**SWEEP, "runs": [run("a", {"/model": m}, 0.1) for m in ("vgg16", "alexnet")]}
        ax = plot.plot_latency(words)
        self.assertEqual([t.get_text() for t in ax.get_xticklabels()], ["vgg16", "alexnet"])
        counts = {**SWEEP, "runs": [run("a", {"/sources": ["u"] * n}, n) for n in (1, 3)]}
        ax = plot.plot_latency(counts)
        self.assertEqual(ax.get_xlabel(), "number of sources")
        self.assertClose(lines(ax)["a"], [(1, 1), (3, 3)])

    def test_bars_without_a_sweep(self):
        parts = bars(plot.plot_latency(BARS))
        self.assertClose(parts["compute"], [(0, 100), (0, 200)])
        self.assertClose(parts["queue"], [(150, 50), (300, 100)])
        hosts = bars(plot.plot_energy(BARS))
        self.assertClose(hosts["pi"], [(0, 1), (0, 3)])
        self.assertClose(hosts["edge"], [(1, 2), (3, 0)])
        self.assertClose(bars(plot.plot_energy(BARS, host="edge"))["edge"], [(0, 2), (0, 0)])

    def test_energy_over_a_sweep(self):
        ax = plot.plot_energy(SWEEP)
        self.assertEqual(ax.get_ylabel(), "energy of all hosts (mJ)")
        self.assertClose(lines(ax)["a"], [(0.5, 200), (1, 50), (2, 100)])

    def test_requests(self):
        row = {"run": 0, "repetition": 0, "policy": "a", "source": "pi", "request": 0, "arrival_s": 1, "end_s": 1.6,
               "latency_s": 0.6, "queue_s": 0.1, "transfer_s": 0.2, "compute_s": 0.3}
        lost = {**row, "arrival_s": 2, "end_s": None, "latency_s": None, "request": 1}
        ax = plot.plot_timeline([row, lost, {**row, "run": 1}, {**row, "repetition": 1}])
        spans = {c.get_label(): [(p.get_x(), p.get_width()) for p in c] for c in ax.containers}
        self.assertClose(spans["queue"], [(1, 0.1)])
        self.assertClose(spans["transfer"], [(1.1, 0.2)])
        self.assertClose(spans["compute"], [(1.3, 0.3)])
        self.assertClose(ax.collections[0].get_offsets().tolist(), [(2, 1)])

    def test_trace(self):
        events = [{"ph": "M", "pid": 0, "tid": 7, "name": "thread_name", "args": {"name": "link lan"}},
                  {"ph": "M", "pid": 0, "tid": 3, "name": "thread_name", "args": {"name": "host pi"}},
                  {"ph": "X", "pid": 0, "tid": 3, "name": "", "ts": 0, "dur": 2000, "args": {"request": 0}},
                  {"ph": "X", "pid": 0, "tid": 7, "name": "", "ts": 2000, "dur": 1000, "args": {"request": 0}}]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"traceEvents": events}, file)
            file.flush()
            ax = plot.plot_timeline(file.name)
        self.assertEqual([t.get_text() for t in ax.get_yticklabels()], ["host pi", "link lan"])
        self.assertClose([(p.get_x(), p.get_width()) for p in ax.patches], [(0, 2), (2, 1)])
        self.assertEqual(ax.get_xlabel(), "time (ms)")
        with self.assertRaisesRegex(ValueError, "no run 4"):
            plot.plot_timeline({"traceEvents": events}, run=4)

    def test_published(self):
        ax = plot.plot_published(SWEEP, "f")
        drawn = {line.get_label(): list(map(tuple, line.get_xydata())) for line in ax.lines}
        self.assertClose(drawn["f, published"], [(0.5, 100), (1, 50)])
        self.assertClose(drawn["f, simulated"], [(0.5, 90), (1, 55)])
        self.assertEqual(ax.get_ylabel(), "mean latency (ms)")
        ratios = {c.get_label(): c.get_offsets().tolist() for c in plot.plot_published(SWEEP).collections}
        self.assertClose(ratios["reproduced"], [(1.1, 0), (2, 1)])
        self.assertClose(ratios["deviates"], [(0.9, 0)])
        with self.assertRaisesRegex(ValueError, "there are: f, g"):
            plot.plot_published(SWEEP, "h")

    def test_graph(self):
        graph = cdisim.LayerGraphBuilder("g", source="assumed", input=[4])
        graph.add_relu("a")
        graph.add_relu("b", "input")
        graph.add_add("c", ["a", "b"])
        graph.add_relu("d")
        ax = graph.plot()
        drawn = {c.get_label(): c.get_offsets().tolist() for c in ax.collections if c.get_label()[0] != "_"}
        self.assertEqual(drawn["relu"], [[-0.5, 1], [0.5, 1], [0, 3]])
        self.assertEqual(drawn["add"], [[0, 2]])
        same = graph.build().plot()  # the C++ type draws itself likewise
        self.assertEqual([c.get_offsets().tolist() for c in same.collections if c.get_label()[0] != "_"],
                         list(drawn.values()))


if __name__ == "__main__":
    unittest.main()
