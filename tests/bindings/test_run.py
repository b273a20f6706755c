"""The Python package, against the program: python3 -m unittest with bindings/ on the path."""

import copy
import json
import pathlib
import unittest

import cdisim

ROOT = pathlib.Path(__file__).resolve().parents[2]


class RunTest(unittest.TestCase):
    def test_bundled_experiment_by_name_and_path(self):
        by_name = cdisim.run("edgent", jobs=1)
        by_path = cdisim.run(ROOT / "experiments" / "edgent.json")
        self.assertEqual(by_name.document, by_path.document)
        self.assertEqual(by_name.find("edgent", bandwidth="1500kbps")["plan"]["decision"]["partition_point"], 17)
        self.assertTrue(by_name.figures)

    def test_dict(self):
        document = json.loads((ROOT / "experiments" / "edgent.json").read_text(encoding="utf-8"))
        for key in ("sweeps", "published"):
            del document[key]
        document["links"] = {"lan": {"bandwidth": "1Mbps"}}
        result = cdisim.run(document)
        # 14,500 B at 1 Mbit/s and 14.7 ms on the desktop: 0.116 + 0.0147 s.
        self.assertAlmostEqual(result.find("edge_only")["metrics"]["latency_s"]["mean"], 0.1307, places=9)

    def test_mistakes_are_input_errors(self):
        with self.assertRaisesRegex(cdisim.InputError, 'did you mean "edgent"'):
            cdisim.run("edgnt")
        document = json.loads((ROOT / "experiments" / "edgent.json").read_text(encoding="utf-8"))
        broken = copy.deepcopy(document)
        broken["deadlin"] = "1s"
        with self.assertRaisesRegex(cdisim.InputError, "unknown key"):
            cdisim.run(broken)
        with self.assertRaises(KeyError):
            cdisim.run("edgent").find("edgent")


if __name__ == "__main__":
    unittest.main()
