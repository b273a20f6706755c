"""cdisim.sweep(), against the program: python3 -m unittest with the package on the path."""

import concurrent.futures
import copy
import json
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

import cdisim

try:
    import pandas
except ImportError:
    pandas = None
try:
    import distributed
except ImportError:
    distributed = None

sweep_module = sys.modules["cdisim.sweep"]  # cdisim.sweep is the function
ROOT = pathlib.Path(__file__).resolve().parents[2]
EDGENT = json.loads((ROOT / "experiments" / "edgent.json").read_text(encoding="utf-8"))
BANDWIDTH = "/links/lan/bandwidth"


def document():
    out = copy.deepcopy(EDGENT)
    out["policies"] = [{"name": "edge_only"}, {"name": "device_only"}]
    return out


def latency(sweep, index, policy="edge_only"):
    return sweep.points[index]["result"].find(policy)["metrics"]["latency_s"]["mean"]


class SweepTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name) / "sweep.jsonl"

    def test_grid(self):
        grid = {BANDWIDTH: ["1Mbps", "2Mbps"], "/deadline": ["100ms", "1s", "2s"]}
        result = cdisim.sweep(document(), grid, progress=False)
        self.assertEqual(len(result), 6)
        self.assertEqual([entry["point"] for entry in result][:2],
                         [{BANDWIDTH: "1Mbps", "/deadline": "100ms"}, {BANDWIDTH: "1Mbps", "/deadline": "1s"}])
        # 14,500 B at 1 and 2 Mbit/s, and 14.7 ms on the desktop.
        self.assertAlmostEqual(latency(result, 0), 0.1307, places=9)
        self.assertAlmostEqual(latency(result, 3), 0.0727, places=9)
        self.assertEqual(result.failures, [])
        self.assertEqual(result.points[0]["result"].figures, [])

    def test_list_of_points_and_a_path(self):
        result = cdisim.sweep(ROOT / "experiments" / "edgent.json", [{BANDWIDTH: "1Mbps"}], policy="edge_only",
                              progress=False)
        self.assertAlmostEqual(latency(result, 0), 0.1307, places=9)

    def test_a_point_that_fails_costs_that_point(self):
        result = cdisim.sweep(document(), {BANDWIDTH: ["1Mbps", "fast"]}, progress=False)
        self.assertEqual([entry["point"] for entry in result.failures], [{BANDWIDTH: "fast"}])
        self.assertIn("fast", result.failures[0]["error"])
        self.assertAlmostEqual(latency(result, 0), 0.1307, places=9)

    def test_mistakes_are_input_errors(self):
        for grid in ({BANDWIDTH: "1Mbps"}, {BANDWIDTH: []}, {BANDWIDTH: [1, 1]}, [{BANDWIDTH: 1}, {BANDWIDTH: 1}]):
            with self.assertRaisesRegex(cdisim.InputError, "grid"):
                cdisim.sweep(document(), grid, progress=False)
        result = cdisim.sweep(document(), {"/title": ["a"]}, progress=False)
        self.assertIn("cannot be swept", result.failures[0]["error"])

    def count_runs(self):
        ran = []
        whole = sweep_module.run_point

        def counted(experiment, point, policy, seed):
            ran.append(point)
            return whole(experiment, point, policy, seed)
        patch = unittest.mock.patch.object(sweep_module, "run_point", counted)
        patch.start()
        self.addCleanup(patch.stop)
        return ran

    def test_resumes(self):
        ran = self.count_runs()
        grid = {BANDWIDTH: ["1Mbps", "2Mbps", "fast"]}
        first = cdisim.sweep(document(), grid, out=self.out, progress=False)
        self.assertEqual(len(ran), 3)
        # A writer that was stopped in the middle of its last line; the failed point runs again, too.
        with open(self.out, "a", encoding="utf-8") as file:
            file.write('{"point": {"/links/lan/ba')
        ran.clear()
        again = cdisim.sweep(document(), {BANDWIDTH: ["4Mbps", "2Mbps", "1Mbps", "fast"]}, out=self.out, progress=False)
        self.assertEqual(sorted(point[BANDWIDTH] for point in ran), ["4Mbps", "fast"])
        self.assertEqual(latency(again, 2), latency(first, 0))
        self.assertEqual(again.points[1]["result"].document, first.points[1]["result"].document)
        lines = self.out.read_text(encoding="utf-8").splitlines()
        self.assertEqual([set(json.loads(line)) for line in lines[:2]], [{"sweep"}, {"point", "document"}])

    def test_the_file_of_another_sweep(self):
        cdisim.sweep(document(), {BANDWIDTH: ["1Mbps"]}, out=self.out, progress=False)
        before = self.out.read_bytes()
        with self.assertRaisesRegex(cdisim.InputError, "another sweep"):
            cdisim.sweep(document(), {BANDWIDTH: ["1Mbps"]}, out=self.out, seed=7, progress=False)
        self.assertEqual(self.out.read_bytes(), before)
        for text in ("no sweep\n", '{"precious": 1}'):  # the second as json.dump() writes it, without an end of line
            self.out.write_text(text, encoding="utf-8")
            with self.assertRaisesRegex(cdisim.InputError, ":1: no line of a sweep"):
                cdisim.sweep(document(), {BANDWIDTH: ["1Mbps"]}, out=self.out, progress=False)
            self.assertEqual(self.out.read_text(encoding="utf-8"), text)

    def test_what_names_a_sweep(self):
        class Here(cdisim.Policy):
            def __init__(self, limit=1.0):
                pass

        def name(policy, experiment="edgent"):
            return sweep_module._identity(experiment, policy, None)
        self.assertEqual(name(Here), name(Here))
        self.assertNotEqual(name(Here), name("edge_only"))
        self.assertNotEqual(name(None), name(None, document()))
        with self.assertRaisesRegex(cdisim.InputError, "edgnt"):
            cdisim.sweep("edgnt", {BANDWIDTH: ["1Mbps"]}, out=self.out, progress=False)

    def test_experiments_made_in_python(self):
        experiment = cdisim.Experiment.load("edgent")
        experiment["policies"] = [{"name": "edge_only"}]
        experiment["platform"] = cdisim.PlatformBuilder.load("pi3_lan_desktop")
        result = cdisim.sweep(experiment, {BANDWIDTH: ["1Mbps"]}, out=self.out, progress=False)
        self.assertAlmostEqual(latency(result, 0), 0.1307, places=9)

    def test_executors(self):
        with concurrent.futures.ProcessPoolExecutor(2) as executor:
            result = cdisim.sweep(document(), {BANDWIDTH: ["1Mbps", "2Mbps"]}, executor=executor, progress=False)
        self.assertAlmostEqual(latency(result, 1), 0.0727, places=9)

    @unittest.skipIf(distributed is None, "Dask distributed is not installed")
    def test_dask(self):
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            with distributed.Client(cluster) as client:
                result = cdisim.sweep(document(), {BANDWIDTH: ["1Mbps", "2Mbps"]}, executor=client.get_executor(),
                                      progress=False)
        self.assertAlmostEqual(latency(result, 1), 0.0727, places=9)

    @unittest.skipIf(pandas is None, "pandas is not installed")
    def test_data_frame(self):
        frame = cdisim.sweep(document(), {BANDWIDTH: ["1Mbps", "fast"]}, progress=False).to_pandas()
        self.assertEqual(list(frame["policy"])[:2], ["edge_only", "device_only"])
        self.assertEqual(list(frame["bandwidth"]), ["1Mbps", "1Mbps", "fast"])
        self.assertIn("fast", frame["error"].iloc[2])


if __name__ == "__main__":
    unittest.main()
