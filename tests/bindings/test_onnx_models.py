"""ONNX import of real networks: the backend test models of PyPI's package onnx, true shapes with made-up weights.

Run: PYTHONPATH=bindings python3 tests/bindings/test_onnx_models.py. CDISIM_BUILD names the build folder that gets a
virtual environment, venv-onnx (default: build/ of the source tree); skipped where PyPI cannot be reached. With
CDISIM_PROGRAM set, the program must count the same.
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "bindings" / "cdisim" / "onnx_import.py"
VENV = pathlib.Path(os.environ.get("CDISIM_BUILD", ROOT / "build")) / "venv-onnx"
PYTHON = VENV / "bin" / "python"

# What the files store, without the importer: small weights as they are, others as outputs of ConstantOfShape.
STORED = """
import math, pathlib, sys, onnx
from onnx import numpy_helper
for path in pathlib.Path(onnx.__file__).parent.glob("backend/test/data/light/light_*.onnx"):
    graph = onnx.load(path).graph
    shapes = {i.name: numpy_helper.to_array(i).tolist() for i in graph.initializer if i.name.endswith("__SHAPE")}
    filled = [n for n in graph.node if n.op_type == "ConstantOfShape"]
    read = {name for n in graph.node for name in n.input}
    small = sum(math.prod(i.dims) for i in graph.initializer
                if i.data_type == onnx.TensorProto.FLOAT and i.name in read)
    print(path, small + sum(math.prod(shapes[n.input[0]]) for n in filled))
"""


def googlenet_macs():
    """Szegedy et al. 2015, Table 1, million multiply-adds per stage; 118 for the first, which the table gives as 34:
    64 * 147 * 112^2. Where Caffe rounds pools up, the file does not: maps of 55, 27, 13, 6 for 56, 28, 14, 7."""
    stages = {(112, 112): 118, (55, 56): 360, (27, 28): 128 + 304, (13, 14): 73 + 88 + 100 + 119 + 170,
              (6, 7): 54 + 71, (1, 1): 1}
    return 1e6 * sum(macs * (here / there) ** 2 for (here, there), macs in stages.items())


def shufflenet():
    """Parameters and MACs. Zhang et al. 2018, groups of 4, with 136, 272, 544 channels and, unlike the paper's, as
    many in the bottleneck: its MFLOPs do not apply. The first unit of a stage halves the map and adds its input."""
    parameters, macs, inputs, size = 24 * 27 + 24 + 4 * 24, 24 * 27 * 112**2, 24, 56

    def layer(filters, channels, kernel, side):
        nonlocal parameters, macs
        parameters += filters * channels * kernel + 4 * filters  # and batch norm
        macs += filters * channels * kernel * side**2

    for width, units in ((136, 4), (272, 8), (544, 4)):
        for unit in range(units):
            first = unit == 0
            filters = width - inputs if first else width
            layer(filters, (inputs if first else width) // 4, 1, size)
            size //= 2 if first else 1
            layer(filters, 1, 9, size)
            layer(filters, filters // 4, 1, size)
        inputs = width
    return parameters + 544 * 1000 + 1000, macs + 544 * 1000


# (parameters, whose count that is or how it comes about; MACs, likewise). Files with batch norm store its statistics
# too, 2 per normalised channel, and those of Caffe 2 more, where Scale repeats scale and shift as Mul and Add.
EXPECTED = {
    # Caffe's model zoo: 60,965,224. Its 724 M are for 227 pixels; at 224, maps of 54 (conv 1), 26 and 12:
    # 96*363*54^2 + 256*1200*26^2 + (384*2304 + 384*1728 + 256*1728)*12^2 + 9216*4096 + 4096*4096 + 4096*1000
    "bvlc_alexnet": (60_965_224, 654_560_384),
    # torchvision: 7,978,856 and 2.83 G; 41,824 normalised channels
    "densenet121": (7_978_856 + 4 * 41_824, 2.83e9),
    # Caffe's bvlc_googlenet: 6,998,552
    "inception_v1": (6_998_552, googlenet_macs()),
    # Hu et al. 2018, Table 2, BN-Inception: 2.03 G; 11.3 M parameters is what its ports report
    "inception_v2": (11.3e6, 2.03e9),
    # torchvision: 25,557,032 and 4.09 G (striding in the 3x3 layers); 26,560 normalised channels
    "resnet50": (25_557_032 + 2 * 26_560, 4.09e9),
    "shufflenet": shufflenet(),
    # torchvision, squeezenet1_1: 1,235,496 and 0.35 G (to two digits; 0.349)
    "squeezenet": (1_235_496, 0.349e9),
    # torchvision: 143,667,240 and 19.63 G
    "vgg19": (143_667_240, 19.63e9),
    # Zeiler and Fergus 2014 with 512 filters in layers 3 to 5, as the file has it: maps of 109, 25, 12, 12, 12
    "zfnet512": (96 * 147 + 256 * 2400 + 512 * 2304 + 2 * 512 * 4608 + 18432 * 4096 + 4096 * 1024 + 1024 * 1000
                 + 96 + 256 + 3 * 512 + 4096 + 1024 + 1000,
                 96 * 147 * 109**2 + 256 * 2400 * 25**2 + (512 * 2304 + 2 * 512 * 4608) * 12**2 + 18432 * 4096
                 + 4096 * 1024 + 1024 * 1000),
}


def setUpModule():
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", "import onnx"], capture_output=True,
                                             check=False).returncode:
        for command in ([sys.executable, "-m", "venv", VENV],
                        [PYTHON, "-m", "pip", "install", "--quiet", "--timeout", "20", "--retries", "1", "onnx"]):
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode:
                said = (result.stderr or result.stdout).strip().splitlines()
                raise unittest.SkipTest(f"test_onnx_models: {command[2]} failed: {said[-1] if said else ''}")


def macs_of(graph):
    """Multiply-adds of the layers that these networks are made of."""
    total, shapes = 0, {"input": graph["input"]["shape"]}
    for layer in graph["layers"]:
        shapes[layer["name"]] = layer["output"]
        inputs, outputs = shapes[layer["inputs"][0]], math.prod(layer["output"])
        if layer["kind"] in ("conv", "depthwise_conv"):
            groups = inputs[0] if layer["kind"] == "depthwise_conv" else layer.get("groups", 1)
            total += outputs * math.prod(layer["kernel"]) * inputs[0] // groups
        elif layer["kind"] == "fc":
            total += math.prod(inputs) * outputs
    return total


def parameters_of(graph):
    """Weights and biases of those layers."""
    total, shapes = 0, {"input": graph["input"]["shape"]}
    for layer in graph["layers"]:
        shapes[layer["name"]] = layer["output"]
        inputs, channels = shapes[layer["inputs"][0]], layer["output"][0]
        if layer["kind"] in ("conv", "depthwise_conv"):
            groups = inputs[0] if layer["kind"] == "depthwise_conv" else layer.get("groups", 1)
            total += channels * (math.prod(layer["kernel"]) * inputs[0] // groups + layer.get("bias", True))
        elif layer["kind"] == "fc":
            total += channels * (math.prod(inputs) + layer.get("bias", True))
        elif layer["kind"] == "batch_norm":
            total += 4 * channels
        elif layer["kind"] == "affine":
            total += layer["factors"] + layer["summands"]
    return total


class ModelsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        listed = subprocess.run([PYTHON, "-c", STORED], capture_output=True, text=True, check=True).stdout
        cls.stored = {}
        for line in listed.splitlines():
            path, _, count = line.rpartition(" ")
            cls.stored[pathlib.Path(path).stem.removeprefix("light_")] = (path, int(count))

    def test_all_models_are_there(self):
        self.assertEqual(set(self.stored), set(EXPECTED))

    def test_counts(self):
        for name, (path, stored) in self.stored.items():
            with self.subTest(name):
                result = subprocess.run([PYTHON, SCRIPT, path], capture_output=True, text=True, check=False)
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                graph = json.loads(result.stdout)
                parameters, macs = EXPECTED[name]
                self.assertEqual(parameters_of(graph), stored)
                self.assertAlmostEqual(stored / parameters, 1, delta=0.02)
                self.assertAlmostEqual(macs_of(graph) / macs, 1, delta=0.02)
                if isinstance(parameters, int):
                    self.assertEqual(stored, parameters)
                if isinstance(macs, int):
                    self.assertEqual(macs_of(graph), macs)

    def test_program_counts_the_same(self):
        program = os.environ.get("CDISIM_PROGRAM")
        if not program:
            self.skipTest("CDISIM_PROGRAM is not set")
        for name, (path, stored) in self.stored.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                out = pathlib.Path(folder) / "out.json"
                result = subprocess.run([program, "import", path, "-o", out, "--json"], capture_output=True, text=True,
                                        env={**os.environ, "CDISIM_PYTHON": str(PYTHON)}, check=False)
                self.assertEqual(result.returncode, 0, result.stderr)
                summary = json.loads(result.stdout)
                graph = json.loads(out.read_text(encoding="utf-8"))
                self.assertEqual((summary["parameters"], summary["macs"]), (stored, macs_of(graph)))


if __name__ == "__main__":
    unittest.main()
