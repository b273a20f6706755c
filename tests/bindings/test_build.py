"""Graphs, platforms and experiments made in Python, against the program, which reads what they write."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import cdisim
from cdisim import files
from cdisim.program import program

ROOT = pathlib.Path(__file__).resolve().parents[2]


def validate(paths):
    """What the program says of files."""
    done = subprocess.run([program(), "validate", *map(str, paths)], capture_output=True, text=True, check=False)
    return done.stdout.replace(str(paths[0].parent), "") + done.stderr


def describe(path):
    done = subprocess.run([program(), "describe", path.stem], capture_output=True, text=True, check=True, cwd="/",
                          env={**os.environ, "CDISIM_PATH": str(path.parents[1])})
    return done.stdout.replace(str(path.parent), "")


class FilesTest(unittest.TestCase):
    """Load, then save: the program reads the same."""

    def round_trip(self, kind, of):
        folder, extension = files.KINDS[kind]
        originals = sorted((ROOT / folder).glob(f"*{extension}"))
        originals = [p for p in originals if p.suffix == ".xml" or "policies" in p.read_text() or "layers" in p.read_text()]
        self.assertTrue(originals)
        with tempfile.TemporaryDirectory() as name:
            out = pathlib.Path(name) / folder
            out.mkdir()
            for path in originals:
                of.load(path).save(out / path.name)
            copies = [out / path.name for path in originals]
            if kind != "experiment":  # those name files beside them
                self.assertEqual(validate(copies), validate(originals))
                self.assertEqual(describe(copies[0]), describe(originals[0]))
            yield from zip(originals, copies)

    def test_every_bundled_model(self):
        for original, copy in self.round_trip("model", cdisim.LayerGraphBuilder):
            self.assertEqual(json.loads(copy.read_text()), json.loads(original.read_text()), copy.name)

    def test_every_bundled_platform(self):
        for original, copy in self.round_trip("platform", cdisim.PlatformBuilder):
            self.assertEqual(ElementTree.canonicalize(copy.read_text(), with_comments=True, strip_text=True),
                             ElementTree.canonicalize(original.read_text(), with_comments=True, strip_text=True))

    def test_every_bundled_experiment(self):
        for original, copy in self.round_trip("experiment", cdisim.Experiment):
            self.assertEqual(list(json.loads(copy.read_text()).items()), list(json.loads(original.read_text()).items()))


class LayerGraphBuilderTest(unittest.TestCase):
    def test_every_layer_of_the_bundled_models_by_its_method(self):
        kinds = set()
        for path in sorted((ROOT / "workloads").glob("*.json")):
            document = json.loads(path.read_text(encoding="utf-8"))
            graph = cdisim.LayerGraphBuilder(document["name"], source=document["source"],
                                             input=document["input"]["shape"], precision=document["precision"])
            for layer in document["layers"]:
                keys = {key: value for key, value in layer.items() if key not in ("name", "kind", "inputs")}
                self.assertEqual(getattr(graph, f"add_{layer['kind']}")(layer["name"], layer["inputs"], **keys),
                                 layer["name"])
                kinds.add(layer["kind"])
            for stop in document.get("exits", []):
                graph.add_exit(**stop)
            for threshold in document.get("thresholds", []):
                graph.add_threshold(**threshold)
            document.pop("table_1", None)
            self.assertEqual(graph.to_json(), document, path.name)
        self.assertGreaterEqual(len(kinds), 20)

    def test_only_what_the_file_needs(self):
        graph = cdisim.LayerGraphBuilder("tiny", source="assumed", input=[3, 32, 32])
        graph.add_conv("conv_1", kernel=5, padding=2, output=[32, 32, 32])
        graph.add_max_pool("pool_1", kernel=3, stride=2, ceil=True)
        graph.add_fc("fc_1", output=[10])
        self.assertEqual(graph.document["layers"][0], {"name": "conv_1", "kind": "conv", "inputs": ["input"], "kernel":
                                                       [5, 5], "padding": [2, 2, 2, 2], "output": [32, 32, 32]})
        self.assertEqual(graph.document["layers"][2]["inputs"], ["pool_1"])
        graph.check()
        graph.add_relu("relu_1", "fc_2")
        with self.assertRaisesRegex(cdisim.InputError, r'^tiny.json.*no layer "fc_2"'):
            graph.check()

    def test_names_that_do_not_exist(self):
        with self.assertRaisesRegex(cdisim.InputError, '"alexnt" is no model; did you mean "alexnet"'):
            cdisim.LayerGraphBuilder.load("alexnt")
        with self.assertRaisesRegex(cdisim.InputError, "no such file"):
            cdisim.PlatformBuilder.load("nowhere/platform.xml")
        with tempfile.TemporaryDirectory() as name:
            broken = pathlib.Path(name) / "broken.xml"
            broken.write_text("<platform>")
            with self.assertRaisesRegex(cdisim.InputError, "broken.xml"):
                cdisim.PlatformBuilder.load(broken)


def testbed():
    platform = cdisim.PlatformBuilder("testbed", about="Assumed.")
    platform.add_host("pi", tier="device", speed=38.4e9, device_type="raspberry_pi_3b", memory="1GiB",
                      wattage_per_state="3.1:4")
    platform.add_link("lan", bandwidth=125e3, latency=0.001)  # 1 Mbit/s
    platform.add_host("desktop", tier="edge", speed="435.2Gf", device_type="intel_i7_6700", wattage_per_state="30:95")
    platform.add_route("pi", "desktop", "lan")
    return platform


class PlatformBuilderTest(unittest.TestCase):
    def test_hosts_links_and_routes(self):
        platform = testbed()
        platform.check()
        self.assertEqual(platform.host_names(), ["pi", "desktop"])
        self.assertEqual(platform.link_names(), ["lan"])
        root = ElementTree.fromstring(platform.text())
        self.assertEqual([child.tag for child in root[0]], ["host", "host", "link", "route"])
        self.assertEqual(root.find(".//link").attrib, {"id": "lan", "bandwidth": "125000.0Bps", "latency": "0.001s"})
        platform.add_route("pi", "laptop", "lan")
        with self.assertRaisesRegex(cdisim.InputError, r"^testbed.xml.*laptop"):
            platform.check()

    def test_wifi(self):  # that of README.md
        platform = cdisim.PlatformBuilder("world")
        platform.add_wifi("home", link="air", bandwidth=["54Mbps", "11Mbps"], latency="2ms", access_point="router")
        platform.add_host("camera", tier="device", speed="1Gf", wifi_rate=1, zone="home")
        platform.add_zone("wired")
        platform.add_host("server", tier="edge", speed="1Tf", zone="wired")
        platform.add_link("cable", bandwidth="1Gbps", latency="1ms")
        platform.add_zone_route("home", "wired", "cable", gw_src="router", gw_dst="server")
        platform.check()

    def test_duplex_links(self):
        platform = testbed()
        platform.add_host("laptop", tier="device", speed="1Gf")
        platform.add_link("port", bandwidth="1Gbps", latency="1ms", sharing_policy="SPLITDUPLEX")
        platform.add_route("laptop", "desktop", [("port", "UP")])
        platform.add_route("laptop", "pi", ["lan", ("port", "DOWN")], symmetrical=False)
        platform.add_route("pi", "laptop", ["lan"], symmetrical=False)
        platform.check()


class ExperimentTest(unittest.TestCase):
    def made(self):
        graph = cdisim.LayerGraphBuilder("one_fc", source="assumed", input=[1000])
        graph.add_fc("fc_1", output=[1])
        experiment = cdisim.Experiment(name="mine", title="Mine", platform=testbed(), model=graph, sources="pi",
                                       requests=1, wire={"input_bytes": 1000, "result_bytes": 0})
        experiment.add_policy("edge_only")
        experiment.add_sweep({"/links/lan/bandwidth": ["1Mbps", "2Mbps"]})
        return experiment

    def test_made_in_python(self):
        experiment = self.made()
        experiment.check()
        result = experiment.run()
        # 1000 B at 1 and 2 Mbit/s, and 1 ms of latency each way: 10 and 6 ms.
        self.assertAlmostEqual(result.find("edge_only", bandwidth="1Mbps")["metrics"]["transfer_s"], 0.010, places=9)
        self.assertAlmostEqual(result.find("edge_only", bandwidth="2Mbps")["metrics"]["transfer_s"], 0.006, places=9)

    def test_saved_with_its_files(self):
        with tempfile.TemporaryDirectory() as name:
            path = pathlib.Path(name) / "mine.json"
            self.made().save(path)
            self.assertEqual(sorted(p.name for p in path.parent.iterdir()), ["mine.json", "one_fc.json", "testbed.xml"])
            self.assertEqual(cdisim.Experiment.load(path).run().document, self.made().run().document)

    def test_a_model_of_the_same_name(self):
        experiment = self.made()
        experiment["model"].document["name"] = "mine"
        self.assertEqual(experiment.run().document, self.made().run().document)

    def test_mistakes_stand_where_they_are(self):
        experiment = self.made()
        experiment["deadlin"] = "1s"
        with self.assertRaisesRegex(cdisim.InputError, "^mine.json.*deadlin"):
            experiment.run()

    def test_bundled(self):
        experiment = cdisim.Experiment.load("dads_controller")  # names a trace beside it
        self.assertEqual(experiment.run(jobs=1).document, cdisim.run("dads_controller").document)


if __name__ == "__main__":
    unittest.main()
