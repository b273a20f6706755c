"""ONNX import, by pencil: PYTHONPATH=bindings /usr/bin/python3 tests/bindings/test_onnx_import.py

The models are those of tests/fixtures/onnx/make.py. With CDISIM_PROGRAM set, the program's loader reads each result
too and must find the parameters that are counted here.
"""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from cdisim import onnx_import

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "onnx"
SCRIPT = ROOT / "bindings" / "cdisim" / "onnx_import.py"


def setUpModule():
    if onnx_import.onnx is None:
        raise unittest.SkipTest(f"test_onnx_import: {sys.executable} has no package onnx")


def imported(name, **options):
    """The graph, its layers by name, and what stderr got."""
    notes = io.StringIO()
    with contextlib.redirect_stderr(notes):
        graph = onnx_import.import_onnx(FIXTURES / f"{name}.onnx", **options)
    return graph, {layer["name"]: layer for layer in graph["layers"]}, notes.getvalue()


class LayersTest(unittest.TestCase):
    def assert_layer(self, layers, name, kind, inputs, output, **attributes):
        expected = {"name": name, "kind": kind, "inputs": inputs, "output": output, **attributes}
        self.assertEqual(layers[name], expected)

    def test_cnn(self):
        graph, layers, notes = imported("cnn")
        self.assertEqual(notes, "")
        self.assertEqual({k: graph[k] for k in ("schema", "name", "source", "precision", "input")},
                         {"schema": 1, "name": "cnn", "source": "imported from cnn.onnx (producer cdisim 1, opset 13)",
                          "precision": "fp32", "input": {"shape": [3, 32, 32]}})
        # (32 + 2 - 3) / 2 + 1 = 16
        self.assert_layer(layers, "Conv_0", "conv", ["input"], [8, 16, 16], kernel=[3, 3], stride=[2, 2],
                          padding=[1, 1, 1, 1])
        self.assert_layer(layers, "BatchNormalization_0", "batch_norm", ["Conv_0"], [8, 16, 16], statistics=True)
        self.assert_layer(layers, "Relu_0", "relu", ["BatchNormalization_0"], [8, 16, 16])
        # SAME: 8 windows of 3 at a stride of 2 cover 7 * 2 + 3 = 17 of 16: one more, at the end.
        self.assert_layer(layers, "Conv_1", "depthwise_conv", ["Relu_0"], [8, 8, 8], kernel=[3, 3], stride=[2, 2],
                          padding=[0, 0, 1, 1], bias=False)
        self.assert_layer(layers, "Clip_0", "elementwise", ["Conv_1"], [8, 8, 8], function="clip")
        self.assert_layer(layers, "Conv_2", "conv", ["Clip_0"], [8, 8, 8], kernel=[3, 3], padding=[2, 2, 2, 2],
                          dilation=[2, 2], groups=2)
        self.assert_layer(layers, "Add_0", "add", ["Conv_2", "Clip_0"], [8, 8, 8])
        # (8 - 3) / 2 + 1 = 3.5: rounded up, the last window starts at 6 < 8
        self.assert_layer(layers, "MaxPool_0", "max_pool", ["Add_0"], [8, 4, 4], kernel=[3, 3], stride=[2, 2],
                          ceil=True)
        self.assert_layer(layers, "Resize_0", "upsample", ["MaxPool_0"], [8, 8, 8], scale=[2, 2], mode="nearest")
        self.assert_layer(layers, "Concat_0", "concat", ["Resize_0", "Add_0"], [16, 8, 8])
        self.assert_layer(layers, "ConvTranspose_0", "conv_transpose", ["Concat_0"], [4, 16, 16], kernel=[2, 2],
                          stride=[2, 2])
        self.assert_layer(layers, "LRN_0", "lrn", ["ConvTranspose_0"], [4, 16, 16], local_size=5)
        self.assert_layer(layers, "AveragePool_0", "avg_pool", ["LRN_0"], [4, 8, 8], kernel=[2, 2], stride=[2, 2])
        self.assert_layer(layers, "GlobalAveragePool_0", "avg_pool", ["AveragePool_0"], [4, 1, 1], kernel=[8, 8])
        self.assert_layer(layers, "Flatten_0", "flatten", ["GlobalAveragePool_0"], [4])
        self.assert_layer(layers, "Gemm_0", "fc", ["Flatten_0"], [10])
        self.assert_layer(layers, "Softmax_0", "softmax", ["Gemm_0"], [10])
        self.assertEqual(len(layers), 17)

    def test_batch_is_removed(self):
        fixed = imported("cnn")[0]["layers"]
        for name, batch in (("cnn_symbolic", None), ("cnn_symbolic", 4), ("cnn_batch_8", None), ("cnn_batch_8", 2)):
            graph, _, notes = imported(name, batch=batch)
            self.assertEqual(graph["layers"], fixed, (name, batch))
            self.assertEqual("batch" in notes, (name, batch) == ("cnn_batch_8", None))
        for name in ("transformer", "lstm", "reshape_chain", "several_inputs", "conv_1d", "quantised"):
            self.assertEqual(imported(name, batch=6)[0], imported(name)[0], name)

    def test_transformer(self):
        _, layers, notes = imported("transformer")
        self.assertEqual(notes, "")
        self.assert_layer(layers, "Gather_0", "embedding", ["input"], [6, 16], vocabulary=50)
        # positions: 6 * 16 learned numbers
        self.assert_layer(layers, "Add_0", "affine", ["Gather_0"], [6, 16], factors=0, summands=96)
        # layer norm in pieces: mean, difference, square, mean, epsilon, root, quotient, scale, shift
        self.assert_layer(layers, "ReduceMean_0", "reduce", ["Add_0"], [6, 1])
        self.assert_layer(layers, "Sub_0", "add", ["Add_0", "ReduceMean_0"], [6, 16])
        self.assert_layer(layers, "Div_0", "mul", ["Sub_0", "Sqrt_0"], [6, 16])
        self.assert_layer(layers, "Mul_0", "affine", ["Div_0"], [6, 16], factors=16, summands=0)
        # the bias is merged; heads of 16 / 4 features
        self.assert_layer(layers, "MatMul_0", "fc", ["Add_2"], [6, 16])
        self.assert_layer(layers, "Reshape_0", "reshape", ["MatMul_0"], [6, 4, 4])
        self.assert_layer(layers, "Transpose_1", "data_movement", ["Reshape_1"], [4, 4, 6], operator="Transpose")
        self.assert_layer(layers, "MatMul_3", "matmul", ["Transpose_0", "Transpose_1"], [4, 6, 6])
        self.assert_layer(layers, "Softmax_0", "softmax", ["Div_1"], [4, 6, 6])
        self.assert_layer(layers, "MatMul_4", "matmul", ["Softmax_0", "Transpose_2"], [4, 6, 4])
        self.assert_layer(layers, "Reshape_3", "reshape", ["Transpose_3"], [6, 16])
        self.assert_layer(layers, "Erf_0", "elementwise", ["Div_3"], [6, 32], function="erf")
        self.assert_layer(layers, "Mul_2", "mul", ["MatMul_6", "Add_11"], [6, 32])

    def test_layer_norm(self):
        # Tokens of 8 features: three dimensions would be read as channels first.
        _, layers, _ = imported("layer_norm")
        self.assert_layer(layers, "x_as_20x8", "reshape", ["input"], [20, 8])
        self.assert_layer(layers, "LayerNormalization_0", "layer_norm", ["x_as_20x8"], [20, 8])

    def test_recurrent(self):
        # Moving the batch is nothing for one input; both directions' 5 stand side by side.
        graph, layers, _ = imported("lstm")
        self.assertEqual(graph["input"]["shape"], [7, 3])
        self.assert_layer(layers, "LSTM_0", "lstm", ["input"], [7, 10], hidden=5, directions=2)
        self.assert_layer(layers, "LSTM_0_2", "data_movement", ["LSTM_0"], [2, 5], operator="CellState")
        self.assert_layer(layers, "MatMul_0", "fc", ["LSTM_0"], [7, 4], bias=False)
        self.assert_layer(layers, "outputs", "data_movement", ["LSTM_0_2", "MatMul_0"], [38], operator="Concat")
        # [seq, batch, in] with numbers: the operator says where the batch is.
        graph, layers, _ = imported("gru")
        self.assertEqual(graph["input"]["shape"], [7, 3])
        self.assert_layer(layers, "GRU_0", "gru", ["input"], [7, 5], hidden=5, bias=False)
        self.assert_layer(layers, "GRU_0_last", "slice", ["GRU_0"], [1, 5], start=[6, 0])

    def test_computed_shapes(self):
        # tail = [3, 4, 5] / [1, 2, 1] = [3, 2, 5], so [2, 3, 2, 5]; ones made to measure are no weights
        graph, layers, _ = imported("reshape_chain")
        self.assertEqual([(layer["kind"], layer["output"]) for layer in graph["layers"]],
                         [("flatten", [60]), ("relu", [60]), ("reshape", [2, 3, 2, 5]),
                          ("elementwise", [2, 3, 2, 5]), ("slice", [1, 3, 2, 5])])
        self.assertEqual(layers["Slice_1"]["start"], [1, 0, 0, 0])

    def test_several_inputs_and_outputs(self):
        # 3 * 8 * 8 + 6 = 198; "unused" counts for nothing, although its shape is not known
        graph, layers, _ = imported("several_inputs")
        self.assertEqual(graph["input"]["shape"], [198])
        self.assert_layer(layers, "image", "data_movement", ["input"], [3, 8, 8], operator="Input")
        self.assert_layer(layers, "features", "data_movement", ["input"], [6], operator="Input")
        self.assert_layer(layers, "Gemm_0", "fc", ["features"], [4], bias=False)
        self.assert_layer(layers, "GlobalMaxPool_0", "max_pool", ["image"], [3, 1, 1], kernel=[8, 8])
        self.assert_layer(layers, "Concat_0", "concat", ["Gemm_0", "Squeeze_0"], [7])
        self.assert_layer(layers, "Split_0", "slice", ["Concat_0"], [3])
        self.assert_layer(layers, "Split_0_2", "slice", ["Concat_0"], [4], start=[3])
        self.assert_layer(layers, "outputs", "data_movement", ["Sigmoid_0", "Tanh_0"], [7], operator="Concat")

    def test_unknown_operators(self):
        # Foo's shape is in the file, Bar's nowhere
        _, layers, notes = imported("unknown")
        self.assert_layer(layers, "Foo_0", "data_movement", ["Relu_0"], [2, 4, 4], operator="Foo", weights=20)
        self.assert_layer(layers, "Bar_0", "data_movement", ["Foo_0"], [2, 4, 4], operator="Bar")
        self.assert_layer(layers, "ArgMax_0", "data_movement", ["Bar_0"], [4, 4], operator="ArgMax")
        self.assertEqual(notes.splitlines()[-1],
                         "cdisim: note: counted as data movement: ArgMax (1), Bar (1), Foo (1)")

    def test_one_and_three_axes(self):
        # (100 + 4 - 5) / 2 + 1 = 50; images of one row
        _, layers, _ = imported("conv_1d")
        self.assert_layer(layers, "Conv_0", "conv", ["x_as_2x1x100"], [4, 1, 50], kernel=[1, 5], stride=[1, 2],
                          padding=[0, 2, 0, 2])
        self.assert_layer(layers, "MaxPool_0", "max_pool", ["Relu_0"], [4, 1, 25], kernel=[1, 2], stride=[1, 2])
        self.assert_layer(layers, "Transpose_0", "data_movement", ["MaxPool_0_as_4x25"], [25, 4],
                          operator="Transpose")
        self.assert_layer(layers, "MatMul_0", "fc", ["Transpose_0"], [25, 3], bias=False)
        # 2 channels * 27 taps = 54 numbers per voxel, of 4 * 6 * 6 voxels
        _, layers, _ = imported("conv_3d")
        self.assert_layer(layers, "Conv_0_unfold", "data_movement", ["input"], [54, 4, 36], operator="Im2Col")
        self.assert_layer(layers, "Conv_0", "conv", ["Conv_0_unfold"], [4, 4, 36], kernel=[1, 1])

    def test_quantised(self):
        graph, layers, _ = imported("quantised")
        self.assertEqual(graph["precision"], "int8")
        self.assertEqual(imported("quantised", precision="fp16")[0]["precision"], "fp16")
        self.assert_layer(layers, "QuantizeLinear_0", "data_movement", ["input"], [3, 8, 8],
                          operator="QuantizeLinear")
        self.assert_layer(layers, "QLinearConv_0", "conv", ["QuantizeLinear_0"], [4, 8, 8], kernel=[3, 3],
                          padding=[1, 1, 1, 1])
        self.assert_layer(layers, "Conv_0", "conv", ["DequantizeLinear_0"], [2, 8, 8], kernel=[1, 1], bias=False)

    def test_control_flow(self):
        _, layers, notes = imported("if_constant")  # the feature dimension is 4: the first branch
        self.assertEqual(list(layers), ["then_out", "Tanh_0"])
        self.assertEqual(notes, "")
        _, layers, notes = imported("if_data")
        self.assert_layer(layers, "If_0", "data_movement", ["Cast_0", "input"], [4], operator="If")
        self.assertIn("counted as data movement: If (1)", notes)

    def test_input_shapes(self):
        # 1, 3, 10, 12 -> 2, 8, 10
        _, layers, _ = imported("dynamic", input_shapes={"x": (1, 3, 10, 12)})
        self.assertEqual(layers["Conv_0"]["output"], [2, 8, 10])
        with self.assertRaisesRegex(onnx_import.OnnxError, 'no input "y"; its inputs: x'):
            imported("dynamic", input_shapes={"y": (1, 3, 10, 12)})
        with self.assertRaisesRegex(onnx_import.OnnxError, "not 2 dimensions"):
            imported("dynamic", input_shapes={"x": (1, 3)})


# Weights that lead to an output, statistics of batch norm included, scales and zero points not; MACs.
COUNTS = {
    # 8*3*9+8, 4*8, 8*9, 8*4*9+8, 16*4*4+4, 4*10+10;
    # 16*16*8*27 + 8*8*8*9 + 8*8*8*36 + 8*8*16*4*4 + 4*10
    "cnn": (224 + 32 + 72 + 296 + 260 + 50, 55296 + 4608 + 18432 + 16384 + 40),
    # table 50*16, positions 6*16, four projections 16*17, two norms 2*16, 16*32+32, 32*16+16;
    # four projections 6*16*16, two products 4*6*6*4, 2 * 6*16*32
    "transformer": (800 + 96 + 4 * 272 + 64 + 544 + 528, 4 * 1536 + 2 * 576 + 2 * 3072),
    # 2 directions * 4 gates * 5 * (3 + 5), two biases each; 10*4; 7 tokens
    "lstm": (320 + 80 + 40, 7 * 320 + 7 * 40),
    "gru": (3 * 5 * 8, 7 * 120),
    "layer_norm": (16, 0),
    "reshape_chain": (0, 0),
    "several_inputs": (24, 24),
    "unknown": (20, 0),
    "conv_1d": (4 * 2 * 5 + 4 + 12, 50 * 4 * 10 + 25 * 12),  # 2000 + 300
    "conv_3d": (4 * 54 + 4, 4 * 54 * 144),
    "quantised": (108 + 4 + 8, 64 * 108 + 64 * 8),
    "if_constant": (0, 0),
}


class LoaderTest(unittest.TestCase):
    def test_loader_counts_the_same(self):
        program = os.environ.get("CDISIM_PROGRAM")
        if not program:
            self.skipTest("CDISIM_PROGRAM is not set")
        with tempfile.TemporaryDirectory() as folder:
            for name, (parameters, macs) in COUNTS.items():
                out = pathlib.Path(folder) / f"{name}.json"
                result = subprocess.run([program, "import", FIXTURES / f"{name}.onnx", "-o", out, "--json"],
                                        env={**os.environ, "CDISIM_PYTHON": sys.executable}, capture_output=True,
                                        text=True, check=False)
                self.assertEqual(result.returncode, 0, result.stderr)
                summary = json.loads(result.stdout)
                self.assertEqual((summary["parameters"], summary["macs"]), (parameters, macs), name)
                result = subprocess.run([program, "validate", out], capture_output=True, text=True, check=False)
                self.assertEqual(result.returncode, 0, result.stderr)


class CommandTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def command(self, *arguments):
        return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True,
                              check=False)

    def assert_fails(self, path, message, *options):
        """One line that names the file, exit code 2, nothing written."""
        out = self.folder / "out.json"
        result = self.command(path, "-o", out, *options)
        self.assertEqual((result.returncode, result.stdout), (2, ""), result.stderr)
        self.assertRegex(result.stderr, rf"\Acdisim: error: [^\n]*{message}[^\n]*\n\Z")
        self.assertFalse(out.exists())

    def test_output(self):
        out = self.folder / "out.json"
        result = self.command(FIXTURES / "dynamic.onnx", "-o", out, "--name", "tiny", "--precision", "fp16",
                              "--input-shape", "x=2,3,8,8")
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)
        graph = json.loads(out.read_text(encoding="utf-8"))
        self.assertEqual((graph["name"], graph["precision"], graph["layers"][0]["output"]), ("tiny", "fp16", [2, 6, 6]))
        self.assertEqual(json.loads(self.command(FIXTURES / "cnn.onnx").stdout), imported("cnn")[0])
        self.assertEqual([p.name for p in self.folder.iterdir()], ["out.json"])

    def test_files_that_are_no_models(self):
        whole = (FIXTURES / "cnn.onnx").read_bytes()
        for name, content, message in (("empty.onnx", b"", "is empty"),
                                       ("text.onnx", b"not a model\n" * 9, "is no ONNX file"),
                                       ("random.onnx", bytes(i * 37 % 251 for i in range(999)), "is no ONNX file"),
                                       ("cut.onnx", whole[:len(whole) // 2], "is no ONNX file, or is cut off")):
            (self.folder / name).write_bytes(content)
            self.assert_fails(self.folder / name, f"{name}: {message}")
        self.assert_fails(self.folder, "is a folder")
        self.assert_fails(self.folder / "missing.onnx", "no such file")

    def test_every_truncation_is_an_error_or_a_model(self):
        whole = (FIXTURES / "several_inputs.onnx").read_bytes()
        for size in range(0, len(whole), 7):
            path = self.folder / "cut.onnx"
            path.write_bytes(whole[:size])
            with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(onnx_import.OnnxError):
                onnx_import.import_onnx(path)

    def test_models_that_say_too_little(self):
        self.assert_fails(FIXTURES / "shapeless.onnx", 'input "x" has no shape')
        self.assert_fails(FIXTURES / "dynamic.onnx",
                          r"\[batch, 3, height, width\]: give the sizes with --input-shape x=1,3,height,width")
        self.assert_fails(FIXTURES / "no_nodes.onnx", "holds no nodes")
        self.assert_fails(FIXTURES / "misfit.onnx", r'node "Conv_0" \(Conv\): weights \[2, 4, 3, 3\]')

    def test_arguments(self):
        self.assert_fails(FIXTURES / "cnn.onnx", "write NAME=1,3,224,224", "--input-shape", "image")
        self.assert_fails(FIXTURES / "cnn.onnx", "invalid choice", "--precision", "fp8")
        self.assert_fails(FIXTURES / "cnn.onnx", "must be 0 to", "--batch", "-1")
        result = self.command(FIXTURES / "cnn.onnx", "-o", self.folder / "no" / "out.json")
        self.assertEqual(result.returncode, 2)
        self.assertRegex(result.stderr, r"\Acdisim: error: [^\n]*out.json: cannot be written[^\n]*\n\Z")

    def test_python_without_onnx(self):
        # -S and -I hide installed packages; the second try, with the system's interpreter, is switched off.
        result = subprocess.run([sys.executable, "-S", "-I", SCRIPT, FIXTURES / "cnn.onnx"], capture_output=True,
                                text=True, check=False, env={"CDISIM_ONNX_REEXECUTED": "1"})
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertRegex(result.stderr, r"\Acdisim: error: needs the Python package onnx \(apt-get [^\n]*\n\Z")


if __name__ == "__main__":
    unittest.main()
