#!/usr/bin/env python3
"""Writes the layer graphs of this folder and those of tests/fixtures/.

    python3 workloads/generate.py           writes every file
    python3 workloads/generate.py --check   writes nothing; exits 1 when a file differs from its definition here

Each function below defines one model. Adding one: write a function that returns a Graph, name it in FILES.
The costs written beside each layer are computed here and again by sim/layer_graph.cpp, which refuses a file
where the two disagree; the rules stand in sim/layer_graph.h.
"""

import json
import math
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BYTES_PER_ELEMENT = {"fp32": 4}


class Graph:
    """Builds a layer graph. Every layer method appends one layer and returns its name; a layer reads the one
    before it, unless `of` names another (or several, for add)."""

    def __init__(self, name, source, input_shape, precision="fp32"):
        self.name, self.source, self.precision = name, source, precision
        self.shapes = {"input": list(input_shape)}
        self.last = "input"
        self.layers, self.exits = [], []

    def conv(self, name, channels, kernel, stride=1, padding=0, groups=1, bias=True, of=None):
        in_channels, height, width = self.shapes[of or self.last]
        output = [channels, *((n + 2 * padding - kernel) // stride + 1 for n in (height, width))]
        keys = self._window(kernel, stride, padding)
        if groups != 1:
            keys["groups"] = groups
        per_output = kernel * kernel * in_channels // groups
        return self._weighted(name, "conv", of, keys, output, math.prod(output) * per_output,
                              channels * per_output, bias)

    def fc(self, name, outputs, bias=True, of=None):
        macs = math.prod(self.shapes[of or self.last]) * outputs
        return self._weighted(name, "fc", of, {}, [outputs], macs, macs, bias)

    def max_pool(self, name, kernel, stride, ceil=False, of=None):
        channels, height, width = self.shapes[of or self.last]
        up = stride - 1 if ceil else 0
        output = [channels, *((n - kernel + up) // stride + 1 for n in (height, width))]
        keys = self._window(kernel, stride, 0)
        if ceil:
            keys["ceil"] = True
        return self._add(name, "max_pool", of, keys, output, flop=math.prod(output) * kernel * kernel)

    def relu(self, name, of=None):
        return self._elementwise(name, "relu", of, 1)

    def lrn(self, name, local_size, of=None):
        return self._elementwise(name, "lrn", of, 2 * local_size + 3, {"local_size": local_size})

    def dropout(self, name, of=None):
        return self._elementwise(name, "dropout", of, 0)

    def softmax(self, name, of=None):
        return self._elementwise(name, "softmax", of, 3)

    def add(self, name, of):
        return self._elementwise(name, "add", of, len(of) - 1)

    def exit(self, name, layer, accuracy, accuracy_source):
        self.exits.append({"name": name, "layer": layer, "accuracy": accuracy, "accuracy_source": accuracy_source})

    def text(self):
        """The file: one layer per line."""
        head = {"schema": 1, "name": self.name, "source": self.source, "precision": self.precision,
                "input": {"shape": self.shapes["input"]}}
        members = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        for key, rows in (("layers", self.layers), ("exits", self.exits)):
            if rows:
                lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
                members.append(f'  "{key}": [\n{lines}\n  ]')
        return "{\n" + ",\n".join(members) + "\n}\n"

    @staticmethod
    def _window(kernel, stride, padding):
        keys = {"kernel": [kernel] * 2}
        if stride != 1:
            keys["stride"] = [stride] * 2
        if padding:
            keys["padding"] = [padding] * 4
        return keys

    def _weighted(self, name, kind, of, keys, output, macs, weights, bias):
        if not bias:
            keys["bias"] = False
        return self._add(name, kind, of, keys, output, macs, math.prod(output) if bias else 0,
                         weights + (output[0] if bias else 0))

    def _elementwise(self, name, kind, of, flop_per_element, keys=None):
        first = of[0] if isinstance(of, list) else of or self.last
        shape = self.shapes[first]
        return self._add(name, kind, of, keys or {}, shape, flop=math.prod(shape) * flop_per_element)

    def _add(self, name, kind, of, keys, output, macs=0, flop=0, weights=0):
        size = BYTES_PER_ELEMENT[self.precision]
        inputs = of if isinstance(of, list) else [of or self.last]
        self.layers.append({
            "name": name, "kind": kind, "inputs": inputs, **keys, "output": output, "macs": macs,
            "work_flop": 2 * macs + flop, "weight_bytes": weights * size, "output_bytes": math.prod(output) * size})
        self.shapes[name] = output
        self.last = name
        return name


def alexnet():
    g = Graph("alexnet", "BVLC AlexNet (Caffe's models/bvlc_alexnet/deploy.prototxt; convolutions 2, 4 and 5 in two "
              "groups, as in Krizhevsky et al., NIPS 2012): 60,965,224 parameters, 724,406,816 MACs", [3, 227, 227])
    g.conv("conv1", 96, 11, stride=4)
    g.relu("relu1")
    g.lrn("norm1", 5)
    g.max_pool("pool1", 3, 2, ceil=True)
    g.conv("conv2", 256, 5, padding=2, groups=2)
    g.relu("relu2")
    g.lrn("norm2", 5)
    g.max_pool("pool2", 3, 2, ceil=True)
    g.conv("conv3", 384, 3, padding=1)
    g.relu("relu3")
    g.conv("conv4", 384, 3, padding=1, groups=2)
    g.relu("relu4")
    g.conv("conv5", 256, 3, padding=1, groups=2)
    g.relu("relu5")
    g.max_pool("pool5", 3, 2, ceil=True)
    g.fc("fc6", 4096)
    g.relu("relu6")
    g.dropout("drop6")
    g.fc("fc7", 4096)
    g.relu("relu7")
    g.dropout("drop7")
    g.fc("fc8", 1000)
    g.softmax("prob")
    return g


def branchy_alexnet():
    g = Graph("branchy_alexnet",
              "Main branch: BranchyNet's AlexNet for CIFAR-10 (github.com/kunglab/branchynet, "
              "networks/alex_cifar10.py; 544,074 parameters). Exits: Li, Zhou, Chen, MECOMM 2018 (arXiv 1806.07840v2), whose Fig. 4 draws only "
              "the conv and fc layers of five exits with 12, 16, 19, 20 and 22 layers; the rest of the four side "
              "branches is our reconstruction from these counts", [3, 32, 32])

    def pool(name, of=None):
        g.max_pool(name, 3, 2, ceil=True, of=of)

    g.conv("conv_1", 32, 5, padding=2)
    g.relu("relu_1")
    pool("pool_1")
    g.lrn("lrn_1", 3)
    g.conv("conv_2", 64, 5, padding=2)
    g.relu("relu_2")
    pool("pool_2")
    g.lrn("lrn_2", 3)
    g.conv("conv_3", 96, 3, padding=1)
    g.relu("relu_3")
    g.conv("conv_4", 96, 3, padding=1)
    g.relu("relu_4")
    g.conv("conv_5", 64, 3, padding=1)
    g.relu("relu_5")
    pool("pool_3")
    g.fc("fc_1", 256)
    g.relu("relu_6")
    g.dropout("dropout_1")
    g.fc("fc_2", 128)
    g.relu("relu_7")
    g.dropout("dropout_2")
    g.fc("fc_3", 10)

    def branch(exit_name, tap, first_kernel, first_channels):
        """conv, relu, pool, lrn, conv, relu, pool, fc from `tap` on."""
        g.conv(f"{exit_name}_conv_1", first_channels, first_kernel, padding=first_kernel // 2, of=tap)
        g.relu(f"{exit_name}_relu_1")
        pool(f"{exit_name}_pool_1")
        g.lrn(f"{exit_name}_lrn_1", 3)
        g.conv(f"{exit_name}_conv_2", 96, 3, padding=1)
        g.relu(f"{exit_name}_relu_2")
        pool(f"{exit_name}_pool_2")
        g.fc(f"{exit_name}_fc_1", 10)

    branch("exit1", "lrn_1", first_kernel=5, first_channels=64)
    branch("exit2", "lrn_2", first_kernel=3, first_channels=96)
    pool("exit3_pool_0", of="relu_3")
    branch("exit3", "exit3_pool_0", first_kernel=3, first_channels=96)
    pool("exit4_pool_0", of="relu_4")
    g.conv("exit4_conv_1", 96, 3, padding=1)
    g.relu("exit4_relu_1")
    pool("exit4_pool_1")
    g.fc("exit4_fc_1", 128)
    g.relu("exit4_relu_2")
    g.dropout("exit4_dropout_1")
    g.fc("exit4_fc_2", 10)

    read = "Li, Zhou, Chen, MECOMM 2018, read in Fig. 9"
    first, last = 0.747, 0.782
    for number in range(1, 6):
        layer = "fc_3" if number == 5 else "exit4_fc_2" if number == 4 else f"exit{number}_fc_1"
        source = read if number in (1, 5) else "assumed: not published, linear between exit_1 and exit_5"
        g.exit(f"exit_{number}", layer, round(first + (last - first) * (number - 1) / 4, 5), source)
    return g


def chain3():
    g = Graph("chain3", "fixture for pencil and paper: three fc layers of 1, 1 and 0.5 Mflop", [1000])
    g.fc("fc_1", 500, bias=False)
    g.fc("fc_2", 1000, bias=False)
    g.fc("fc_3", 250, bias=False)
    return g


def diamond():
    g = Graph("diamond", "fixture for pencil and paper: two convolutions of one tensor, added; an early exit",
              [2, 4, 4])
    g.conv("stem", 4, 1)
    g.conv("left", 4, 3, padding=1, of="stem")
    g.conv("right", 4, 1, of="stem")
    g.add("join", ["left", "right"])
    g.fc("head", 10)
    g.fc("early_head", 10, of="stem")
    g.exit("early", "early_head", 0.7, "assumed (fixture)")
    g.exit("full", "head", 0.8, "assumed (fixture)")
    return g


FILES = {
    "workloads/alexnet.json": alexnet,
    "workloads/branchy_alexnet.json": branchy_alexnet,
    "tests/fixtures/chain3.json": chain3,
    "tests/fixtures/diamond.json": diamond,
}


def main(arguments):
    if arguments not in ([], ["--check"]):
        sys.exit(f"usage: {sys.argv[0]} [--check]")
    differing = []
    for name, model in FILES.items():
        path, text = ROOT / name, model().text()
        if not arguments:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            differing.append(name)
    if differing:
        sys.exit(f"{', '.join(differing)}: not what workloads/generate.py writes; run it without --check")


if __name__ == "__main__":
    main(sys.argv[1:])
