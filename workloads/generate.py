#!/usr/bin/env python3
"""Writes the layer graphs of this folder and those of tests/fixtures/.

    python3 workloads/generate.py           writes every file
    python3 workloads/generate.py --check   writes nothing; exits 1 when a file differs from its definition here

Each function below defines one model or one family. Adding one: write a function that returns a Graph, name it in
FILES. The costs written beside each layer are computed here and again by sim/layer_graph.cpp, which refuses a file
where the two disagree; the rules stand in sim/layer_graph.h.
"""

import itertools
import json
import math
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BYTES_PER_ELEMENT = {"fp32": 4, "fp16": 2, "int8": 1}

# Operations per element of functions that are no layer kind of their own.
SIGMOID = 3  # exponential, add, divide
SILU = SIGMOID + 1  # times x
GELU = 8  # by tanh: a polynomial of degree 3 (4), tanh (1), add, two products
ROTARY = 3  # two products and a sum


def pair(value):
    """[height, width] of one number for both, or of two."""
    return list(value) if isinstance(value, (list, tuple)) else [value, value]


def same(kernel):
    """The padding (height, width) with which an odd kernel keeps the size."""
    return tuple(k // 2 for k in pair(kernel))


class Graph:
    """Builds a layer graph. Every layer method appends one layer and returns its name; a layer reads the one
    before it, unless `of` names another (or several, for layers that join). kernel, stride and scale are one number
    or (height, width); padding is one number, (height, width) or (top, left, bottom, right)."""

    def __init__(self, name, source, input_shape, precision="fp32"):
        self.name, self.source, self.precision = name, source, precision
        self.shapes = {"input": list(input_shape)}
        self.last = "input"
        self.layers, self.exits, self.thresholds, self.row = [], [], [], None

    # ---- layers with weights ----

    def conv(self, name, channels, kernel, stride=1, padding=0, groups=1, bias=True, of=None, kind="conv"):
        in_channels = self.shapes[of or self.last][0]
        keys, sizes = self._window(kernel, stride, padding, of)
        if groups != 1 and kind == "conv":
            keys["groups"] = groups
        per_output = math.prod(keys["kernel"]) * in_channels // groups
        output = [channels, *sizes]
        return self._weighted(name, kind, of, keys, output, math.prod(output) * per_output,
                              channels * per_output, channels, bias)

    def depthwise(self, name, kernel, stride=1, padding=0, bias=True, of=None):
        channels = self.shapes[of or self.last][0]
        return self.conv(name, channels, kernel, stride, padding, channels, bias, of, "depthwise_conv")

    def conv_transpose(self, name, channels, kernel, stride=1, padding=0, bias=True, of=None):
        in_channels, *extents = self.shapes[of or self.last]
        keys, _ = self._window(kernel, stride, padding, of)
        pads = keys.get("padding", [0] * 4)
        sizes = [(extent - 1) * keys.get("stride", [1, 1])[axis] + keys["kernel"][axis] - pads[axis] - pads[axis + 2]
                 for axis, extent in enumerate(extents)]
        weights = math.prod(keys["kernel"]) * in_channels * channels
        return self._weighted(name, "conv_transpose", of, keys, [channels, *sizes], math.prod(extents) * weights,
                              weights, channels, bias)

    def fc(self, name, outputs, bias=True, of=None):
        """Of [tokens, features] token by token, of any other shape as a whole."""
        shape = self.shapes[of or self.last]
        tokens = shape[:1] if len(shape) == 2 else []
        macs = math.prod(shape) * outputs
        return self._weighted(name, "fc", of, {}, [*tokens, outputs], macs, macs // math.prod(tokens), outputs, bias)

    def embedding(self, name, vocabulary, features, of=None):
        tokens = self.shapes[of or self.last]
        return self._add(name, "embedding", of, {"vocabulary": vocabulary}, [*tokens, features],
                         weights=vocabulary * features)

    def recurrent(self, name, kind, hidden, directions=1, of=None):
        """rnn, gru or lstm over [tokens, features]."""
        tokens, features = self.shapes[of or self.last]
        gates, flop = {"rnn": (1, 3), "gru": (3, 14), "lstm": (4, 17)}[kind]
        keys = {"hidden": hidden}
        if directions != 1:
            keys["directions"] = directions
        rows = directions * gates * hidden
        return self._add(name, kind, of, keys, [tokens, directions * hidden], tokens * rows * (features + hidden),
                         tokens * directions * hidden * flop, rows * (features + hidden + 2))

    def batch_norm(self, name, affine=True, statistics=False, scale_factor=False, of=None):
        channels = self.shapes[of or self.last][0]
        keys = {} if affine else {"affine": False}
        if statistics:
            keys["statistics"] = True
        if scale_factor:
            keys["scale_factor"] = True
        weights = (2 * affine + 2 * statistics) * channels + scale_factor
        return self._elementwise(name, "batch_norm", of, 2, keys, weights)

    def affine(self, name, factors, summands, of=None):
        return self._elementwise(name, "affine", of, (factors > 0) + (summands > 0),
                                 {"factors": factors, "summands": summands}, factors + summands)

    def layer_norm(self, name, bias=True, of=None):
        shape = self.shapes[of or self.last]
        features = shape[0] if len(shape) == 3 else shape[-1]
        return self._elementwise(name, "layer_norm", of, 7 if bias else 4, {} if bias else {"bias": False},
                                 (2 if bias else 1) * features)

    # ---- layers without ----

    def attention(self, name, queries, keys, values, heads, key_value_heads=None, cached_tokens=None):
        tokens, features = self.shapes[queries]
        attended = self.shapes[keys][0] + (cached_tokens or 0)
        attributes = {"heads": heads}
        if key_value_heads:
            attributes["key_value_heads"] = key_value_heads
        state = 0
        if cached_tokens is not None:
            attributes["cached_tokens"] = cached_tokens
            state = 2 * attended * self.shapes[keys][1]
        return self._add(name, "attention", [queries, keys, values], attributes, [tokens, features],
                         2 * tokens * attended * features, 3 * heads * tokens * attended, state=state)

    def max_pool(self, name, kernel, stride=1, padding=0, ceil=False, of=None):
        return self._pool(name, "max_pool", kernel, stride, padding, ceil, of)

    def avg_pool(self, name, kernel, stride=1, padding=0, ceil=False, of=None):
        return self._pool(name, "avg_pool", kernel, stride, padding, ceil, of)

    def global_avg_pool(self, name, of=None):
        return self.avg_pool(name, self.shapes[of or self.last][1:], of=of)

    def reduce(self, name, output, of=None):
        return self._add(name, "reduce", of, {}, list(output), flop=math.prod(self.shapes[of or self.last]))

    def relu(self, name, of=None):
        return self._elementwise(name, "relu", of, 1)

    def function(self, name, function, flop_per_element=1, of=None, absent=None):
        keys = {"function": function}
        if flop_per_element != 1:
            keys["flop_per_element"] = flop_per_element
        if absent:
            keys["absent"] = absent
        return self._elementwise(name, "elementwise", of, flop_per_element, keys)

    def silu(self, name, of=None):
        return self.function(name, "silu", SILU, of)

    def lrn(self, name, local_size, of=None):
        return self._elementwise(name, "lrn", of, 2 * local_size + 3, {"local_size": local_size})

    def dropout(self, name, of=None):
        return self._elementwise(name, "dropout", of, 0)

    def softmax(self, name, of=None):
        return self._elementwise(name, "softmax", of, 3)

    def add(self, name, of, absent=None):
        """absent: what it does without some of its inputs, "skip" or "switch"; None: it cannot run."""
        return self._elementwise(name, "add", of, len(of) - 1, {"absent": absent} if absent else {})

    def mul(self, name, of):
        """The first factor has the product's shape."""
        return self._elementwise(name, "mul", of, len(of) - 1)

    def concat(self, name, of, axis=0, absent=None):
        output = list(self.shapes[of[0]])
        output[axis] = sum(self.shapes[tensor][axis] for tensor in of)
        keys = {"axis": axis} if axis else {}
        if absent:
            keys["absent"] = absent
        return self._add(name, "concat", of, keys, output)

    def slice(self, name, output, start=None, step=None, of=None):
        keys = {}
        if start:
            keys["start"] = list(start)
        if step:
            keys["step"] = list(step)
        return self._add(name, "slice", of, keys, list(output))

    def upsample(self, name, scale, of=None):
        channels, height, width = self.shapes[of or self.last]
        rows, columns = pair(scale)
        return self._add(name, "upsample", of, {"scale": [rows, columns]}, [channels, height * rows, width * columns])

    def move(self, name, operator, output, weights=0, of=None):
        """An operator that computes nothing."""
        keys = {"operator": operator}
        if weights:
            keys["weights"] = weights
        return self._add(name, "data_movement", of, keys, list(output), weights=weights)

    def output_bits(self, bits):
        """Of the last layer's output, where they are not the precision's: per element."""
        layer = self.layers[-1]
        output = layer["output"]
        after = {key: layer.pop(key) for key in ("output", "macs", "work_flop", "weight_bytes", "output_bytes")}
        size = math.prod(output) * bits / 8
        layer.update({"output_bits": bits, **after, "output_bytes": int(size) if size == int(size) else size})

    # ---- the file ----

    def exit(self, name, layer, accuracy=None, accuracy_source=None, accuracy_without=(), rate=None, rate_source=None):
        """accuracy_without: (names of layers that are not computed, accuracy) pairs, of the accuracy_source; rate:
        share of the inputs that stop here."""
        known = {} if accuracy is None else {"accuracy": accuracy, "accuracy_source": accuracy_source}
        if rate is not None:
            known |= {"rate": rate, "rate_source": rate_source}
        if accuracy_without:
            known["accuracy_without"] = [{"absent": list(absent), "accuracy": value}
                                         for absent, value in accuracy_without]
        self.exits.append({"name": name, "layer": layer, **known})

    def threshold(self, value, rates, accuracies, source):
        """What the exits do at a confidence threshold: shares that stop at each, and their accuracy."""
        self.thresholds.append({"threshold": value, "rates": rates, "accuracies": accuracies, "source": source})

    def table_1(self, row, parameters, size_mb, gflops, note):
        """What the survey's Table 1 prints."""
        self.row = {"row": row, "parameters": parameters, "size_mb": size_mb, "gflops": gflops, "note": note}

    def text(self):
        """The file: one layer per line."""
        head = {"schema": 1, "name": self.name, "source": self.source, "precision": self.precision,
                "input": {"shape": self.shapes["input"]}}
        if self.row:
            head["table_1"] = self.row
        members = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        for key, rows in (("layers", self.layers), ("exits", self.exits), ("thresholds", self.thresholds)):
            if rows:
                lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
                members.append(f'  "{key}": [\n{lines}\n  ]')
        return "{\n" + ",\n".join(members) + "\n}\n"

    def _window(self, kernel, stride, padding, of, ceil=False):
        """The keys of a window, and the height and width of what it gives."""
        kernel, stride = pair(kernel), pair(stride)
        if not isinstance(padding, (list, tuple)):
            padding = [padding] * 4
        if len(padding) == 2:
            padding = [*padding, *padding]
        keys = {"kernel": kernel}
        if stride != [1, 1]:
            keys["stride"] = stride
        if any(padding):
            keys["padding"] = list(padding)
        sizes = []
        for axis, extent in enumerate(self.shapes[of or self.last][1:]):
            room = extent + padding[axis] + padding[axis + 2] - kernel[axis]
            count = (room + (stride[axis] - 1 if ceil else 0)) // stride[axis] + 1
            # A window that would start behind the tensor does not count.
            if ceil and (count - 1) * stride[axis] >= extent + padding[axis]:
                count -= 1
            sizes.append(count)
        return keys, sizes

    def _pool(self, name, kind, kernel, stride, padding, ceil, of):
        keys, sizes = self._window(kernel, stride, padding, of, ceil)
        if ceil:
            keys["ceil"] = True
        output = [self.shapes[of or self.last][0], *sizes]
        return self._add(name, kind, of, keys, output, flop=math.prod(output) * math.prod(keys["kernel"]))

    def _weighted(self, name, kind, of, keys, output, macs, weights, channels, bias):
        if not bias:
            keys["bias"] = False
        return self._add(name, kind, of, keys, output, macs, math.prod(output) if bias else 0,
                         weights + (channels if bias else 0))

    def _elementwise(self, name, kind, of, flop_per_element, keys=None, weights=0):
        first = of[0] if isinstance(of, list) else of or self.last
        shape = self.shapes[first]
        return self._add(name, kind, of, keys or {}, shape, flop=math.prod(shape) * flop_per_element, weights=weights)

    def _add(self, name, kind, of, keys, output, macs=0, flop=0, weights=0, state=0):
        size = BYTES_PER_ELEMENT[self.precision]
        inputs = of if isinstance(of, list) else [of or self.last]
        layer = {"name": name, "kind": kind, "inputs": inputs, **keys, "output": output, "macs": macs,
                 "work_flop": 2 * macs + flop, "weight_bytes": weights * size,
                 "output_bytes": math.prod(output) * size}
        if state:
            layer["state_bytes"] = state * size
        self.layers.append(layer)
        self.shapes[name] = output
        self.last = name
        return name


# ---- the nineteen models of the survey's Table 1 ----

PRINTED_MACS = "The printed gflops are multiply-adds."


def imagenet_classifier(g):
    """Caffe's fc6, fc7, fc8 for 1000 classes, of AlexNet and VGG alike."""
    for number in (6, 7):
        g.fc(f"fc{number}", 4096)
        g.relu(f"relu{number}")
        g.dropout(f"drop{number}")
    g.fc("fc8", 1000)
    g.softmax("prob")


def alexnet_stem(g):
    g.conv("conv1", 96, 11, stride=4)
    g.relu("relu1")
    g.lrn("norm1", 5)
    g.max_pool("pool1", 3, 2, ceil=True)
    g.conv("conv2", 256, 5, padding=2, groups=2)
    g.relu("relu2")
    g.lrn("norm2", 5)
    g.max_pool("pool2", 3, 2, ceil=True)


def alexnet_rest(g):
    g.conv("conv3", 384, 3, padding=1)
    g.relu("relu3")
    g.conv("conv4", 384, 3, padding=1, groups=2)
    g.relu("relu4")
    g.conv("conv5", 256, 3, padding=1, groups=2)
    g.relu("relu5")
    g.max_pool("pool5", 3, 2, ceil=True)


def alexnet():
    g = Graph("alexnet", "BVLC AlexNet (Caffe's models/bvlc_alexnet/deploy.prototxt; convolutions 2, 4 and 5 in two "
              "groups, as in Krizhevsky et al., NIPS 2012): 60,965,224 parameters, 724,406,816 MACs", [3, 227, 227])
    alexnet_stem(g)
    alexnet_rest(g)
    imagenet_classifier(g)
    g.table_1("AlexNet", 60965224, 233, 0.7, PRINTED_MACS)
    return g


def caffenet_convolutions():
    g = Graph("caffenet_convolutions", "CaffeNet without its fully connected layers (Caffe's models/bvlc_reference_"
              "caffenet/deploy.prototxt: AlexNet with pools before the normalisations), what MeDNN distributes", [3, 227, 227])
    for number, window in ((1, dict(channels=96, kernel=11, stride=4)),
                           (2, dict(channels=256, kernel=5, padding=2, groups=2))):
        g.conv(f"conv{number}", **window)
        g.relu(f"relu{number}")
        g.max_pool(f"pool{number}", 3, 2, ceil=True)
        g.lrn(f"norm{number}", 5)
    alexnet_rest(g)
    return g


def alexnet_early_exit():
    g = Graph("alexnet_early_exit", "alexnet with an exit behind pool2, assumed: the mean of each channel and one fully "
              "connected layer", [3, 227, 227])
    alexnet_stem(g)
    alexnet_rest(g)
    imagenet_classifier(g)
    g.avg_pool("early_pool", 13, of="pool2")
    g.fc("early_fc", 1000)
    g.softmax("early_prob")
    assumed = "assumed: of a task with fewer classes than ImageNet, such as following one vehicle"
    g.exit("early", "early_prob", 0.75, assumed)
    g.exit("full", "prob", 0.9, assumed)
    return g


def alexnet_cifar(g):
    """BranchyNet's main branch."""

    def pool(name):
        g.max_pool(name, 3, 2, ceil=True)

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


def branchy_alexnet():
    g = Graph("branchy_alexnet",
              "Main branch: BranchyNet's AlexNet for CIFAR-10 (github.com/kunglab/branchynet, "
              "networks/alex_cifar10.py; 544,074 parameters). Exits: Li, Zhou, Chen, MECOMM 2018 (arXiv 1806.07840v2), whose Fig. 4 draws only "
              "the conv and fc layers of five exits with 12, 16, 19, 20 and 22 layers; the rest of the four side "
              "branches is our reconstruction from these counts", [3, 32, 32])

    def pool(name, of=None):
        g.max_pool(name, 3, 2, ceil=True, of=of)

    alexnet_cifar(g)

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


def lenet():
    g = Graph("lenet", "Caffe's LeNet for MNIST (github.com/BVLC/caffe, examples/mnist/lenet.prototxt): 431,080 "
              "parameters", [1, 28, 28])
    g.table_1("LeNet", 431080, 1.64, 0.005, "The printed gflops are operations, two per multiply-add, as in no other "
              "row.")
    g.conv("conv1", 20, 5)
    g.max_pool("pool1", 2, 2)
    g.conv("conv2", 50, 5)
    g.max_pool("pool2", 2, 2)
    g.fc("ip1", 500)
    g.relu("relu1")
    g.fc("ip2", 10)
    g.softmax("prob")
    return g


def googlenet():
    g = Graph("googlenet", "BVLC GoogLeNet (github.com/BVLC/caffe, models/bvlc_googlenet/deploy.prototxt) without the "
              "auxiliary classifiers of training: 6,998,552 parameters", [3, 224, 224])
    g.table_1("GoogleNet", 6998552, 27, 1.6, PRINTED_MACS)

    def conv(block, name, channels, kernel, of=None, stride=1):
        g.conv(f"{block}/{name}", channels, kernel, stride, same(kernel), of=of)
        return g.relu(f"{block}/relu_{name.replace('_s2', '')}")

    def inception(name, c1, c3_reduce, c3, c5_reduce, c5, pool_channels):
        block, tap = f"inception_{name}", g.last
        ends = [conv(block, "1x1", c1, 1, of=tap)]
        conv(block, "3x3_reduce", c3_reduce, 1, of=tap)
        ends.append(conv(block, "3x3", c3, 3))
        conv(block, "5x5_reduce", c5_reduce, 1, of=tap)
        ends.append(conv(block, "5x5", c5, 5))
        g.max_pool(f"{block}/pool", 3, padding=1, of=tap)
        ends.append(conv(block, "pool_proj", pool_channels, 1))
        g.concat(f"{block}/output", ends)

    conv("conv1", "7x7_s2", 64, 7, stride=2)
    g.max_pool("pool1/3x3_s2", 3, 2, ceil=True)
    g.lrn("pool1/norm1", 5)
    conv("conv2", "3x3_reduce", 64, 1)
    conv("conv2", "3x3", 192, 3)
    g.lrn("conv2/norm2", 5)
    g.max_pool("pool2/3x3_s2", 3, 2, ceil=True)
    inception("3a", 64, 96, 128, 16, 32, 32)
    inception("3b", 128, 128, 192, 32, 96, 64)
    g.max_pool("pool3/3x3_s2", 3, 2, ceil=True)
    inception("4a", 192, 96, 208, 16, 48, 64)
    inception("4b", 160, 112, 224, 24, 64, 64)
    inception("4c", 128, 128, 256, 24, 64, 64)
    inception("4d", 112, 144, 288, 32, 64, 64)
    inception("4e", 256, 160, 320, 32, 128, 128)
    g.max_pool("pool4/3x3_s2", 3, 2, ceil=True)
    inception("5a", 256, 160, 320, 32, 128, 128)
    inception("5b", 384, 192, 384, 48, 128, 128)
    g.avg_pool("pool5/7x7_s1", 7)
    g.dropout("pool5/drop_7x7_s1")
    g.fc("loss3/classifier", 1000)
    g.softmax("prob")
    return g


VGG_CONVS = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg_features(g, depth, normalise=False):
    for stage, (convs, channels) in enumerate(zip(VGG_CONVS[depth], (64, 128, 256, 512, 512)), 1):
        for number in range(1, convs + 1):
            g.conv(f"conv{stage}_{number}", channels, 3, padding=1)
            if normalise:
                g.batch_norm(f"bn{stage}_{number}")
            g.relu(f"relu{stage}_{number}")
        g.max_pool(f"pool{stage}", 2, 2)


def vgg(depth, parameters, row=None):
    g = Graph(f"vgg{depth}", f"VGG with {depth} weighted layers (Simonyan and Zisserman, ICLR 2015, as in Caffe's model "
              f"zoo and torchvision's vgg{depth}): {parameters:,} parameters", [3, 224, 224])
    if row:
        g.table_1(*row, PRINTED_MACS)
    vgg_features(g, depth)
    imagenet_classifier(g)
    return g


def vgg16_cifar():
    g = Graph("vgg16_cifar", "VGG-16 for CIFAR-10 with batch normalisation and one fc layer (github.com/kuangliu/"
              "pytorch-cifar, models/vgg.py): 14,728,266 parameters", [3, 32, 32])
    vgg_features(g, 16, normalise=True)
    g.fc("classifier", 10)
    return g


RESNET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet_msra(depth, row, counted):
    """The Caffe files, in which the 1x1 convolution before the 3x3 has the stride."""
    g = Graph(f"resnet{depth}", f"ResNet-{depth} (github.com/KaimingHe/deep-residual-networks, prototxt/ResNet-{depth}-"
              f"deploy.prototxt; stride in the first 1x1), counting each batch normalisation's mean, variance and scale "
              f"factor: {counted}", [3, 224, 224])
    g.table_1(*row, PRINTED_MACS + " The parameters count the statistics of batch normalisation; gflops of 4.1 for a "
              "ResNet-50 elsewhere belong to the variant with the stride in the 3x3." if depth == 50 else
              PRINTED_MACS + " The parameters count the statistics of batch normalisation.")

    def conv(name, channels, kernel, stride=1, of=None, bias=False):
        g.conv(name, channels, kernel, stride, same(kernel), bias=bias, of=of)
        suffix = name[3:] if name.startswith("res") else f"_{name}"
        g.batch_norm(f"bn{suffix}", affine=False, statistics=True, scale_factor=True)
        return g.affine(f"scale{suffix}", channels, channels)

    def block(name, channels, stride, project):
        tap = g.last
        shortcut = conv(f"{name}_branch1", 4 * channels, 1, stride, tap) if project else tap
        conv(f"{name}_branch2a", channels, 1, stride, tap)
        g.relu(f"{name}_branch2a_relu")
        conv(f"{name}_branch2b", channels, 3)
        g.relu(f"{name}_branch2b_relu")
        g.add(name, [shortcut, conv(f"{name}_branch2c", 4 * channels, 1)])
        g.relu(f"{name}_relu")

    conv("conv1", 64, 7, 2, bias=depth == 50)
    g.relu("conv1_relu")
    g.max_pool("pool1", 3, 2, ceil=True)
    for stage, blocks in enumerate(RESNET_BLOCKS[depth]):
        for number in range(blocks):
            numbered = depth > 50 and blocks > 3 and number > 0
            suffix = f"b{number}" if numbered else "abcdef"[number]
            block(f"res{stage + 2}{suffix}", 64 << stage, 2 if stage and not number else 1, project=number == 0)
    g.avg_pool("pool5", 7)
    g.fc("fc1000", 1000)
    g.softmax("prob")
    return g


def mobilenet_v1():
    g = Graph("mobilenet_v1", "MobileNet 1.0-224 (Howard et al., arXiv 1704.04861, Table 1), weights of convolutions and "
              "fc only: 4,209,088 parameters; batch normalisation folded, its biases left out", [3, 224, 224])
    g.table_1("MobileNetV1", 4209088, 16, 0.569, PRINTED_MACS + " The parameters leave out batch normalisation and the "
              "bias of the classifier; with both they are 4,231,976.")

    def convolution(name, add, *arguments):
        add(name, *arguments, bias=False)
        g.relu(f"{name}_relu")

    convolution("conv1", g.conv, 32, 3, 2, 1)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for number, (channels, stride) in enumerate(blocks, 2):
        convolution(f"conv{number}_dw", g.depthwise, 3, stride, 1)
        convolution(f"conv{number}_pw", g.conv, channels, 1)
    g.global_avg_pool("pool")
    g.fc("fc", 1000, bias=False)
    g.softmax("prob")
    return g


def normalised(g, name, channels, kernel, stride=1, padding=None, groups=1, of=None, act="relu", **batch_norm):
    """A convolution without bias (depthwise where it has no `channels`), batch normalisation, and `act` unless None."""
    padding = same(kernel) if padding is None else padding
    if channels is None:
        g.depthwise(name, kernel, stride, padding, bias=False, of=of)
    else:
        g.conv(name, channels, kernel, stride, padding, groups, bias=False, of=of)
    g.batch_norm(f"{name}_bn", **batch_norm)
    if act == "relu":
        g.relu(f"{name}_relu")
    elif act == "silu":
        g.silu(f"{name}_silu")
    elif act == "leaky_relu":
        g.function(f"{name}_leaky", "leaky_relu", 2)
    return g.last


def squeeze_excite(g, name, reduced):
    """Weighs the channels of the tensor before it by what two convolutions make of their means."""
    tensor, channels = g.last, g.shapes[g.last][0]
    g.reduce(f"{name}_mean", [channels, 1, 1])
    g.conv(f"{name}_reduce", reduced, 1)
    g.silu(f"{name}_silu")
    g.conv(f"{name}_expand", channels, 1)
    g.mul(f"{name}_scale", [tensor, g.function(f"{name}_sigmoid", "sigmoid", SIGMOID)])


def inverted_residual(g, name, channels, stride, expansion, kernel=3, act="relu", squeeze=False):
    """Expand, depthwise, project; the input is added where the shapes allow it."""
    tap, in_channels = g.last, g.shapes[g.last][0]
    if expansion != 1:
        normalised(g, f"{name}_expand", in_channels * expansion, 1, act=act)
    normalised(g, f"{name}_dw", None, kernel, stride, act=act)
    if squeeze:
        squeeze_excite(g, f"{name}_se", in_channels // 4)
    projected = normalised(g, f"{name}_project", channels, 1, act=None)
    if g.shapes[projected] == g.shapes[tap]:
        g.add(f"{name}_add", [tap, projected])


def mobilenet_v2():
    g = Graph("mobilenet_v2", "torchvision mobilenet_v2 (Sandler et al., CVPR 2018, width 1.0), counting scale and shift "
              "of batch normalisation: 3,504,872 parameters", [3, 224, 224])
    g.table_1("MobileNetV2", 3504872, 13, 0.3, PRINTED_MACS)
    normalised(g, "conv0", 32, 3, 2)
    number = 0
    for expansion, channels, blocks, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                                (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for block in range(blocks):
            number += 1
            inverted_residual(g, f"b{number}", channels, stride if block == 0 else 1, expansion)
    normalised(g, "conv_last", 1280, 1)
    g.global_avg_pool("gap")
    g.dropout("dropout")
    g.fc("classifier", 1000)
    return g


def textcnn():
    g = Graph("textcnn", "text_cnn of HPE's Deep Learning Benchmarking Suite (github.com/HewlettPackard/dlcookbook-dlbs, "
              "models/text_cnn; after Kim, EMNLP 2014): 59 words of 128 numbers, 151,690 parameters", [1, 59, 128])
    g.table_1("TextCNN", 151690, 0.6, 0.009, PRINTED_MACS)
    ends = [g.conv(f"conv1/{height}x128", 128, (height, 128), padding=(height // 2, 0), of="input")
            for height in (1, 3, 5)]
    g.concat("conv1/output", ends)
    g.relu("conv1/relu")
    g.max_pool("pool1", (59, 1))
    g.fc("fc", 10)
    g.softmax("prob")
    return g


def yolov5s(name="yolov5s", width=480):
    g = Graph(name, "YOLOv5s 4.0/5.0 (github.com/ultralytics/yolov5, models/yolov5s.yaml), batch normalisation "
              f"folded into biases, 640 x {width}: 7,266,973 parameters", [3, 640, width])
    if width == 480:
        g.table_1("YOLOV5s", 7266973, 27.6, 6.38, PRINTED_MACS + " They fit an input of 640 x 480; the 17.0 G that "
                  "the authors publish are operations at 640 x 640.")

    def conv(name, channels, kernel, stride=1, of=None):
        g.conv(name, channels, kernel, stride, same(kernel), of=of)
        return g.silu(f"{name}.silu")

    def csp(name, channels, blocks, shortcut=True):
        """C3: half the channels go through `blocks` bottlenecks, the other half past them."""
        tap, half = g.last, channels // 2
        inner = conv(f"{name}.cv1", half, 1)
        for number in range(blocks):
            before, block = inner, f"{name}.m{number}"
            conv(f"{block}.cv1", half, 1)
            inner = conv(f"{block}.cv2", half, 3)
            if shortcut:
                inner = g.add(f"{block}.add", [before, inner])
        g.concat(f"{name}.cat", [inner, conv(f"{name}.cv2", half, 1, of=tap)])
        return conv(f"{name}.cv3", channels, 1)

    def detect(number, of):
        """Raw numbers of 3 boxes for each cell, one row of 85 each."""
        name = f"24.detect{number}"
        _, height, width = g.shapes[of]
        g.conv(name, 255, 1, of=of)
        g.move(f"{name}.rows", "transpose", [3 * height * width, 85])
        return g.function(f"{name}.sigmoid", "sigmoid", SIGMOID)

    quarters = [g.slice(f"0.focus_slice{top}{left}", [3, 320, width // 2], [0, top, left], [1, 2, 2], of="input")
                for left in (0, 1) for top in (0, 1)]
    g.concat("0.focus_cat", quarters)
    conv("0.focus_conv", 32, 3)
    conv("1", 64, 3, 2)
    csp("2", 64, 1)
    conv("3", 128, 3, 2)
    p3 = csp("4", 128, 3)
    conv("5", 256, 3, 2)
    p4 = csp("6", 256, 3)
    conv("7", 512, 3, 2)
    pooled = [conv("8.spp.cv1", 256, 1)]
    pooled += [g.max_pool(f"8.spp.pool{k}", k, padding=k // 2, of=pooled[0]) for k in (5, 9, 13)]
    g.concat("8.spp.cat", pooled)
    conv("8.spp.cv2", 512, 1)
    csp("9", 512, 1, shortcut=False)
    # The neck: up to the finest scale and down again.
    up5 = conv("10", 256, 1)
    g.concat("12.cat", [g.upsample("11.up", 2), p4])
    csp("13", 256, 1, shortcut=False)
    up4 = conv("14", 128, 1)
    g.concat("16.cat", [g.upsample("15.up", 2), p3])
    out3 = csp("17", 128, 1, shortcut=False)
    g.concat("19.cat", [conv("18", 128, 3, 2), up4])
    out4 = csp("20", 256, 1, shortcut=False)
    g.concat("22.cat", [conv("21", 256, 3, 2), up5])
    out5 = csp("23", 512, 1, shortcut=False)
    g.concat("24.boxes", [detect(number, of) for number, of in enumerate((out3, out4, out5))])
    return g


def acoustic_model():
    g = Graph("acoustic_model", "English acoustic model of HPE's Deep Learning Benchmarking Suite (github.com/"
              "HewlettPackard/dlcookbook-dlbs, models/acoustic_model): one vector of 540 features, 34,678,784 parameters",
              [540])
    g.table_1("Eng Acoustic Model", 34678784, 132, 0.035, PRINTED_MACS + " The table calls it recurrent; it has fully "
              "connected layers only.")
    for number in range(1, 6):
        g.fc(f"dense{number}", 2048)
        g.relu(f"relu{number}")
    g.fc("dense6", 8192)
    g.softmax("prob")
    return g


def recurrent(kind, bidirectional, row):
    """160 features, 512 hidden units: one step of a cell, or both directions of a sequence of 100."""
    name = f"bi{kind}" if bidirectional else kind
    steps = 100 if bidirectional else 1
    layer = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}[kind]
    what = f"torch.nn.{layer}, bidirectional, 100 steps" if bidirectional else f"torch.nn.{layer}Cell, one step"
    g = Graph(name, f"{what}, 160 features, 512 hidden units (github.com/Lyken17/pytorch-OpCounter, "
              "benchmark/evaluate_rnn_models.py)", [steps, 160])
    g.table_1(*row, "The printed gflops are multiply-adds for a batch of 32; parameters are rounded, and the size follows "
              "from the rounded number.")
    g.recurrent(kind, kind, 512, 2 if bidirectional else 1)
    return g


# ---- further models of the surveyed papers ----

def alexnet_torchvision():
    g = Graph("alexnet_torchvision", "torchvision alexnet (Krizhevsky 2014, one column: no groups, no lrn): 61,100,840 "
              "parameters", [3, 224, 224])
    for number, (channels, kernel, stride, padding) in enumerate(
            [(64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)], 1):
        g.conv(f"conv{number}", channels, kernel, stride, padding)
        g.relu(f"relu{number}")
        if number in (1, 2, 5):
            g.max_pool(f"pool{number}", 3, 2)
    for number, outputs in ((6, 4096), (7, 4096)):
        g.dropout(f"drop{number}")
        g.fc(f"fc{number}", outputs)
        g.relu(f"relu{number}")
    g.fc("fc8", 1000)
    return g


def resnet_torchvision(depth, name, parameters):
    """Stride in the 3x3; two 3x3 per block up to 34 layers, else a bottleneck."""
    g = Graph(name, f"torchvision resnet{depth} (He et al., CVPR 2016; stride in the 3x3 convolution), counting scale "
              f"and shift of batch normalisation: {parameters:,} parameters", [3, 224, 224])
    deep = depth >= 50

    def block(block_name, channels, stride):
        tap = g.last
        if deep:
            normalised(g, f"{block_name}.conv1", channels, 1)
            normalised(g, f"{block_name}.conv2", channels, 3, stride)
            end = normalised(g, f"{block_name}.conv3", 4 * channels, 1, act=None)
        else:
            normalised(g, f"{block_name}.conv1", channels, 3, stride)
            end = normalised(g, f"{block_name}.conv2", channels, 3, act=None)
        shortcut = tap
        if g.shapes[tap] != g.shapes[end]:
            shortcut = normalised(g, f"{block_name}.downsample", g.shapes[end][0], 1, stride, of=tap, act=None)
        g.add(f"{block_name}.add", [end, shortcut])
        g.relu(f"{block_name}.relu")

    normalised(g, "conv1", 64, 7, 2)
    g.max_pool("maxpool", 3, 2, 1)
    for stage, blocks in enumerate(RESNET_BLOCKS[depth]):
        for number in range(blocks):
            block(f"layer{stage + 1}.{number}", 64 << stage, 2 if stage and not number else 1)
    g.global_avg_pool("avgpool")
    g.fc("fc", 1000)
    return g


def cifar_partitions(g, depth):
    """Convolution 1 and the residual blocks of a CIFAR ResNet, up to its average pooling; yields 1, 2, ... after each.
    Shortcuts without parameters: where the size halves, every second pixel and channels of zeros."""
    normalised(g, "conv1", 16, 3)
    partition = 1
    yield partition
    for stage, channels in enumerate((16, 32, 64), 1):
        for number in range((depth - 2) // 6):
            tap, name = g.last, f"layer{stage}.{number}"
            normalised(g, f"{name}.conv1", channels, 3, 2 if stage > 1 and number == 0 else 1)
            end = normalised(g, f"{name}.conv2", channels, 3, act=None)
            shortcut = tap
            if g.shapes[tap] != g.shapes[end]:
                _, height, width = g.shapes[end]
                g.slice(f"{name}.halve", [channels // 2, height, width], step=[1, 2, 2], of=tap)
                shortcut = g.move(f"{name}.pad", "pad", [channels, height, width])
            g.add(f"{name}.add", [end, shortcut])
            g.relu(f"{name}.relu")
            partition += 1
            yield partition


def resnet_cifar(depth, parameters):
    g = Graph(f"resnet{depth}", f"ResNet-{depth} for CIFAR-10 (He et al., CVPR 2016, section 4.2, shortcuts of option A, "
              f"as in github.com/akamaster/pytorch_resnet_cifar10): {parameters:,} parameters with scale and shift of "
              "batch normalisation", [3, 32, 32])
    for _ in cifar_partitions(g, depth):
        pass
    g.global_avg_pool("avgpool")
    g.fc("fc", 10)
    return g


PORTEND = ("Ebrahimi et al., PORTEND, ICPADS 2023 (github.com/MaryamEbr/PORTEND_Performance_Model, "
           "aws_profiling_results/accuracy_exitrate, test set)")


def portend_exits(g, inputs, counts):
    """The exits of a model of PORTEND's, and what they do at each threshold.

    counts: {branch: {T: (inputs that leave there, of these right)}} out of `inputs`, each where that branch is the
    first exit; T bounds the normalised entropy, so the confidence threshold is 1 - T. What several exits do together
    follows from two assumptions, and is no measurement:
    - who is confident at a branch is so at every later one, so N_j - N_(j-1) inputs leave at exit j, as PORTEND's own
      model has it;
    - a later branch answers what an earlier one let go at least as well as that one did, and at least as well as it
      answers all that it lets go itself; of those that leave at exit j, C_j - max(C_(j-1), N_(j-1) C_j / N_j) are then
      right. The exits together are never better than the last one alone."""
    *early, last = counts
    right_of_all = {branch: counts[branch][1.0][1] for branch in counts}
    for branch in counts:
        g.exit(f"exit_{branch}", f"exit{branch}_fc", right_of_all[branch] / inputs,
               f"all inputs stop here: {PORTEND}")
    for entropy in sorted({t for branch in early for t in counts[branch]}, reverse=True):
        rates, accuracies, gone, gone_right = [], [], 0, 0
        for branch in counts:
            # What is still there stops at the last one.
            n, c = (inputs, right_of_all[branch]) if branch == last else counts[branch][entropy]
            left = max(n - gone, 0)
            right = c - max(gone_right, gone * c / n)
            assert left == 0 or 0 <= right <= left, (branch, entropy)
            rates.append(left / inputs)
            accuracies.append(round(right / left, 6) if left else right_of_all[branch] / inputs)
            gone, gone_right = max(n, gone), c
        g.threshold(round(1 - entropy, 6) if entropy < 1 else 0, rates, accuracies,
                    f"normalised entropy below {entropy}; joined from counts of single exits, nested (assumed): "
                    f"{PORTEND}")
    g.threshold(1, [0.0] * len(early) + [1.0], [right_of_all[branch] / inputs for branch in counts],
                f"nobody leaves early: {PORTEND}")


def exit_head(g, branch, classes):
    """Pooling and classifier behind the layer before; what follows reads that layer again."""
    trunk = g.last
    g.global_avg_pool(f"exit{branch}_avgpool")
    g.fc(f"exit{branch}_fc", classes)
    g.last = trunk


def resnet110_exits():
    g = Graph("resnet110_exits", "ResNet-110 for CIFAR-10, see resnet110, with exits behind six of its 55 partitions "
              "and no further than the 40th, where PORTEND's own plan stops; the one behind 20, which is right less often "
              "than the one behind 15, is left out. PORTEND's has convolutions as shortcuts. Exits stand in for SPINN's, whose "
              "rates and accuracies were not at hand", [3, 32, 32])
    counts = {
        5: {0.1: (791, 752), 0.2: (1433, 1306), 0.4: (2976, 2360), 0.6: (4350, 3046), 1.0: (5000, 3260)},
        10: {0.1: (2344, 2259), 0.2: (3001, 2807), 0.4: (4177, 3572), 0.6: (4853, 3870), 1.0: (5000, 3920)},
        15: {0.1: (3001, 2881), 0.2: (3544, 3299), 0.4: (4501, 3882), 0.6: (4938, 4061), 1.0: (5000, 4075)},
        25: {0.1: (4089, 3868), 0.2: (4363, 4038), 0.4: (4868, 4291), 0.6: (4988, 4337), 1.0: (5000, 4340)},
        30: {0.1: (4310, 4048), 0.2: (4553, 4186), 0.4: (4930, 4380), 0.6: (4998, 4403), 1.0: (4999, 4403)},
        40: {1.0: (5000, 4442)},
    }
    for partition in cifar_partitions(g, 110):
        if partition in counts:
            exit_head(g, partition, 10)
        if partition == 40:
            break
    portend_exits(g, 5000, counts)
    return g


def nin():
    g = Graph("nin", "Network in Network for CIFAR-10 (Lin, Chen, Yan, ICLR 2014, the authors' Caffe file): 966,986 "
              "parameters", [3, 32, 32])
    kernels = {"conv1": (192, 5), "cccp1": (160, 1), "cccp2": (96, 1), "conv2": (192, 5), "cccp3": (192, 1),
               "cccp4": (192, 1), "conv3": (192, 3), "cccp5": (192, 1), "cccp6": (10, 1)}
    for name, (channels, kernel) in kernels.items():
        g.conv(name, channels, kernel, padding=kernel // 2)
        g.relu(f"relu_{name}")
        if name == "cccp2":
            g.max_pool("pool1", 3, 2, ceil=True)
            g.dropout("drop1")
        elif name == "cccp4":
            g.avg_pool("pool2", 3, 2, ceil=True)
            g.dropout("drop2")
    g.global_avg_pool("pool3")
    g.softmax("prob")
    return g


def nin_imagenet():
    g = Graph("nin_imagenet", "Network in Network for ImageNet (Caffe's model zoo, NIN ImageNet): 7,595,176 "
              "parameters, 224 x 224", [3, 224, 224])
    stages = ((96, 11, 4, 0, (96, 96)), (256, 5, 1, 2, (256, 256)), (384, 3, 1, 1, (384, 384)),
              (1024, 3, 1, 1, (1024, 1000)))
    for stage, (channels, kernel, stride, padding, mixed) in enumerate(stages, 1):
        g.conv(f"conv{stage}", channels, kernel, stride, padding)
        g.relu(f"relu{stage}")
        for number, mixed_channels in enumerate(mixed, 2 * stage - 1):
            g.conv(f"cccp{number}", mixed_channels, 1)
            g.relu(f"relu_cccp{number}")
        if stage < 4:
            g.max_pool(f"pool{stage}", 3, 2, ceil=True)
    g.global_avg_pool("pool4")
    g.softmax("prob")
    return g


def squeezenet(version):
    g = Graph(f"squeezenet_v{version.replace('.', '_')}", f"torchvision squeezenet{version.replace('.', '_')} (Iandola et "
              "al., arXiv 1602.07360)", [3, 224, 224])
    first, pools_after = {"1.0": ((96, 7), (1, 4, 8)), "1.1": ((64, 3), (1, 3, 5))}[version]

    def conv(name, channels, kernel, stride=1, padding=0, of=None):
        g.conv(name, channels, kernel, stride, padding, of=of)
        return g.relu(f"{name}_relu")

    conv("conv1", *first, 2)
    for number, squeezed in enumerate((None, 16, 16, 32, 32, 48, 48, 64, 64), 1):
        if squeezed:
            tap = conv(f"fire{number}_squeeze", squeezed, 1)
            g.concat(f"fire{number}", [conv(f"fire{number}_expand1x1", 4 * squeezed, 1, of=tap),
                                       conv(f"fire{number}_expand3x3", 4 * squeezed, 3, padding=1, of=tap)])
        if number in pools_after:
            g.max_pool(f"pool{number}", 3, 2, ceil=True)
    g.dropout("drop9")
    conv("conv10", 1000, 1)
    g.global_avg_pool("pool10")
    return g


def inception_v3():
    g = Graph("inception_v3", "torchvision inception_v3 (Szegedy et al., CVPR 2016) without the auxiliary classifier, "
              "counting scale and shift of batch normalisation: 23,834,568 parameters", [3, 299, 299])

    def conv(name, channels, kernel, stride=1, padding=None, of=None):
        return normalised(g, name, channels, kernel, stride, padding, of=of)

    def chain(name, of, *convs):
        """Convolutions of (channels, kernel) or (channels, kernel, stride); a stride comes without padding."""
        for number, (channels, kernel, *rest) in enumerate(convs, 1):
            stride = rest[0] if rest else 1
            conv(f"{name}_{number}", channels, kernel, stride, 0 if stride > 1 else None, of)
            of = None
        return g.last

    def pool_branch(name, of, channels):
        g.avg_pool(f"{name}_pool", 3, padding=1, of=of)
        return conv(f"{name}_branch_pool", channels, 1)

    def block_a(name, pool_channels):
        tap = g.last
        g.concat(name, [chain(f"{name}_1x1", tap, (64, 1)), chain(f"{name}_5x5", tap, (48, 1), (64, 5)),
                        chain(f"{name}_3x3dbl", tap, (64, 1), (96, 3), (96, 3)),
                        pool_branch(name, tap, pool_channels)])

    def block_c(name, c7):
        tap, row, column = g.last, (1, 7), (7, 1)
        g.concat(name, [chain(f"{name}_1x1", tap, (192, 1)),
                        chain(f"{name}_7x7", tap, (c7, 1), (c7, row), (192, column)),
                        chain(f"{name}_7x7dbl", tap, (c7, 1), (c7, column), (c7, row), (c7, column), (192, row)),
                        pool_branch(name, tap, 192)])

    def halve(name, *branches):
        tap = g.last
        ends = [chain(f"{name}_{number}", tap, *convs) for number, convs in enumerate(branches, 1)]
        g.concat(name, [*ends, g.max_pool(f"{name}_pool", 3, 2, of=tap)])

    def fork(name, tap):
        return g.concat(name, [conv(f"{name}_1x3", 384, (1, 3), of=tap), conv(f"{name}_3x1", 384, (3, 1), of=tap)])

    def block_e(name):
        tap = g.last
        g.concat(name, [chain(f"{name}_1x1", tap, (320, 1)),
                        fork(f"{name}_3x3", chain(f"{name}_3x3_in", tap, (384, 1))),
                        fork(f"{name}_3x3dbl", chain(f"{name}_3x3dbl_in", tap, (448, 1), (384, 3))),
                        pool_branch(name, tap, 192)])

    conv("Conv2d_1a", 32, 3, 2, 0)
    conv("Conv2d_2a", 32, 3, 1, 0)
    conv("Conv2d_2b", 64, 3)
    g.max_pool("maxpool1", 3, 2)
    conv("Conv2d_3b", 80, 1)
    conv("Conv2d_4a", 192, 3, 1, 0)
    g.max_pool("maxpool2", 3, 2)
    for name, pool_channels in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        block_a(name, pool_channels)
    halve("Mixed_6a", [(384, 3, 2)], [(64, 1), (96, 3), (96, 3, 2)])
    for name, c7 in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        block_c(name, c7)
    halve("Mixed_7a", [(192, 1), (320, 3, 2)], [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)])
    block_e("Mixed_7b")
    block_e("Mixed_7c")
    g.global_avg_pool("avgpool")
    g.dropout("dropout")
    g.fc("fc", 1000)
    return g


def caffe_normalised(g, name, channels, kernel, stride=1, padding=0, bias=True, of=None):
    """A convolution (depthwise where it has no `channels`), and in layers of their own the statistics, scale and shift of
    batch normalisation, and the ReLU, as Caffe's files have them."""
    if channels is None:
        g.depthwise(name, kernel, stride, padding, bias, of)
    else:
        g.conv(name, channels, kernel, stride, padding, bias=bias, of=of)
    channels = g.shapes[name][0]
    g.batch_norm(f"{name}_bn", affine=False, statistics=True, scale_factor=True)
    g.affine(f"{name}_scale", channels, channels)
    return g.relu(f"{name}_relu")


def mobilenet_v1_caffe():
    g = Graph("mobilenet_v1_caffe", "MobileNet 1.0-224 (github.com/shicai/MobileNet-Caffe, mobilenet_deploy.prototxt) with "
              "the layers of batch normalisation, counting each one's mean, variance and scale factor: 4,253,891 "
              "parameters", [3, 224, 224])
    caffe_normalised(g, "conv1", 32, 3, 2, 1, bias=False)
    names = ["2_1", "2_2", "3_1", "3_2", "4_1", "4_2", *(f"5_{number}" for number in range(1, 7)), "6"]
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for name, (channels, stride) in zip(names, blocks):
        caffe_normalised(g, f"conv{name}_dw", None, 3, stride, 1, bias=False)
        caffe_normalised(g, f"conv{name}_sep", channels, 1, bias=False)
    g.global_avg_pool("pool6")
    g.fc("fc7", 1000)
    g.softmax("prob")
    return g


def inception_21k():
    g = Graph("inception_21k", "Inception with batch normalisation for the 21,841 classes of ImageNet (github.com/"
              "jinevening/IONN-client fe55f01, models/InceptionBN-21K/deploy.prototxt), counting each batch "
              "normalisation's mean, variance and scale factor, and the splits that Caffe adds: 33,641,638 parameters",
              [3, 224, 224])

    def split(name):
        return g.move(f"{name}_split", "Split", g.shapes[g.last])

    def branch(name, of, *convs):
        """Convolutions of (suffix, channels, kernel) or (suffix, channels, kernel, stride)."""
        for suffix, channels, kernel, *stride in convs:
            caffe_normalised(g, f"{name}_{suffix}", channels, kernel, *(stride or [1]), kernel // 2, of=of)
            of = None
        return g.last

    def module(name, one, three, double, pool, projection):
        tap = g.last
        ends = [branch(name, tap, ("1x1", one, 1)),
                branch(name, tap, ("3x3_reduce", three[0], 1), ("3x3", three[1], 3)),
                branch(name, tap, ("double_3x3_reduce", double[0], 1), ("double_3x3_0", double[1], 3),
                       ("double_3x3_1", double[1], 3))]
        pool(f"{name}_pool", 3, padding=1, ceil=True, of=tap)
        g.concat(f"{name}_concat", [*ends, branch(name, None, ("proj", projection, 1))])

    def halving_module(name, three, double):
        tap = g.last
        ends = [branch(name, tap, ("3x3_reduce", three[0], 1), ("3x3", three[1], 3, 2)),
                branch(name, tap, ("double_3x3_reduce", double[0], 1), ("double_3x3_0", double[1], 3),
                       ("double_3x3_1", double[1], 3, 2))]
        g.concat(f"{name}_concat", [*ends, g.max_pool(f"{name}_pool", 3, 2, ceil=True, of=tap)])

    caffe_normalised(g, "conv1", 96, 7, 2, 3)
    g.max_pool("pool1", 3, 2, ceil=True)
    caffe_normalised(g, "conv2red", 128, 1)
    caffe_normalised(g, "conv2", 288, 3, 1, 1)
    g.max_pool("pool2", 3, 2, ceil=True)
    split("pool2")
    module("3a", 96, (96, 96), (96, 144), g.avg_pool, 48)
    split("3a")
    module("3b", 96, (96, 144), (96, 144), g.avg_pool, 96)
    split("3b")
    halving_module("3c", (192, 240), (96, 144))
    split("3c")
    for name, one, three, double in (("4a", 224, (64, 96), (96, 128)), ("4b", 192, (96, 128), (96, 128)),
                                     ("4c", 160, (128, 160), (128, 160)), ("4d", 96, (128, 192), (160, 96))):
        module(name, one, three, double, g.avg_pool, 128)
        split(name)
    halving_module("4e", (128, 192), (192, 256))
    split("4e")
    module("5a", 352, (192, 320), (160, 224), g.avg_pool, 128)
    split("5a")
    module("5b", 352, (192, 320), (192, 224), g.max_pool, 128)
    g.global_avg_pool("global_pool")
    g.fc("fc1", 21841)
    g.softmax("softmax")
    return g


def darknet(g, name, channels, kernel, of=None):
    """Darknet's convolution, whose files hold the statistics of batch normalisation too."""
    return normalised(g, name, channels, kernel, of=of, act="leaky_relu", statistics=True)


# Darknet's numbering: a pair is a convolution of (channels, kernel), None a pool.
YOLOV2_LAYERS = ((32, 3), None, (64, 3), None, (128, 3), (64, 1), (128, 3), None, (256, 3), (128, 1), (256, 3), None,
                 (512, 3), (256, 1), (512, 3), (256, 1), (512, 3), None, (1024, 3), (512, 1), (1024, 3), (512, 1),
                 (1024, 3), (1024, 3), (1024, 3))


def yolov2(name, layers=None, size=608):
    what = f"its first {layers} layers" if layers else "50,983,561 parameters, statistics of batch normalisation counted"
    g = Graph(name, f"YOLOv2 for COCO at {size} x {size} (Redmon and Farhadi, CVPR 2017; Darknet's cfg/yolov2.cfg): {what}",
              [3, size, size])
    for number, layer in enumerate(YOLOV2_LAYERS[:layers]):
        if layer:
            darknet(g, f"conv{number}", *layer)
        else:
            g.max_pool(f"max{number}", 2, 2)
    if layers:
        return g
    deep = g.last
    darknet(g, "conv26", 64, 1, of="conv16_leaky")
    channels, height, width = g.shapes[g.last]
    g.concat("route28", [g.move("reorg27", "reorg", [channels * 4, height // 2, width // 2]), deep])
    darknet(g, "conv29", 1024, 3)
    g.conv("conv30", 425, 1)
    g.function("region31", "sigmoid and softmax", SIGMOID)
    return g


def tiny_yolov2(name, size):
    g = Graph(name, f"Tiny YOLOv2 for VOC at {size} x {size} (Redmon and Farhadi, CVPR 2017; Darknet's cfg/yolov2-tiny-"
              "voc.cfg): 15,867,885 parameters, statistics of batch normalisation counted", [3, size, size])
    for number in range(1, 7):
        darknet(g, f"conv{number}", 8 << number, 3)
        # The last pool moves by one and keeps the size.
        g.max_pool(f"max{number}", 2, *((2,) if number < 6 else (1, (0, 0, 1, 1))))
    darknet(g, "conv7", 1024, 3)
    darknet(g, "conv8", 1024, 3)
    g.conv("conv9", 125, 1)
    g.function("detect", "sigmoid and softmax", SIGMOID)
    return g


def alexnet_towers():
    """AlexNet as two towers, the DAG that the groups of bvlc_alexnet stand for."""
    g = Graph("alexnet_towers", "AlexNet as two towers that meet before conv3 and fc6 (Krizhevsky et al., NIPS 2012, "
              "Fig. 2; sizes of Caffe's models/bvlc_alexnet/deploy.prototxt): 60,965,224 parameters", [3, 227, 227])

    def stage(number, tower, channels, kernel, of, stride=1, padding=0, norm=False, pool=False):
        name = f"{number}_{tower}"
        last = g.relu(f"relu{name}", of=g.conv(f"conv{name}", channels, kernel, stride, padding, of=of))
        if norm:
            last = g.lrn(f"norm{name}", 5, of=last)
        return g.max_pool(f"pool{name}", 3, 2, ceil=True, of=last) if pool else last

    halves = []
    for tower in "ab":
        first = stage(1, tower, 48, 11, "input", stride=4, norm=True, pool=True)
        halves.append(stage(2, tower, 128, 5, first, padding=2, norm=True, pool=True))
    both = g.concat("concat2", halves)
    halves = []
    for tower in "ab":
        third = stage(3, tower, 192, 3, both, padding=1)
        fourth = stage(4, tower, 192, 3, third, padding=1)
        halves.append(stage(5, tower, 128, 3, fourth, padding=1, pool=True))
    g.concat("concat5", halves)
    imagenet_classifier(g)
    return g


def densenet121():
    g = Graph("densenet121", "torchvision densenet121 (Huang et al., CVPR 2017), counting scale and shift of batch "
              "normalisation: 7,978,856 parameters", [3, 224, 224])

    def norm_relu(name, of=None):
        g.batch_norm(f"{name}_norm", of=of)
        g.relu(f"{name}_relu")

    normalised(g, "conv0", 64, 7, 2)
    g.max_pool("pool0", 3, 2, 1)
    for block, layers in enumerate((6, 12, 24, 16), 1):
        for number in range(1, layers + 1):
            tap, name = g.last, f"block{block}_{number}"
            norm_relu(f"{name}_1")
            g.conv(f"{name}_conv1", 128, 1, bias=False)
            norm_relu(f"{name}_2")
            g.concat(name, [tap, g.conv(f"{name}_conv2", 32, 3, padding=1, bias=False)])
        if block < 4:
            norm_relu(f"transition{block}")
            g.conv(f"transition{block}_conv", g.shapes[g.last][0] // 2, 1, bias=False)
            g.avg_pool(f"transition{block}_pool", 2, 2)
    norm_relu("final")
    g.global_avg_pool("avgpool")
    g.fc("classifier", 1000)
    return g


def shufflenet_v2():
    g = Graph("shufflenet_v2", "torchvision shufflenet_v2_x1_0 (Ma et al., ECCV 2018), counting scale and shift of batch "
              "normalisation: 2,278,604 parameters", [3, 224, 224])

    def main_branch(name, half, stride, of):
        normalised(g, f"{name}.conv1", half, 1, of=of)
        normalised(g, f"{name}.dw2", None, 3, stride, act=None)
        return normalised(g, f"{name}.conv3", half, 1)

    def unit(name, channels, stride):
        tap, half = g.last, channels // 2
        if stride == 2:
            normalised(g, f"{name}.side_dw", None, 3, 2, of=tap, act=None)
            side, main = normalised(g, f"{name}.side_conv", half, 1), tap
        else:
            shape = [half, *g.shapes[tap][1:]]
            side = g.slice(f"{name}.keep", shape, of=tap)
            main = g.slice(f"{name}.change", shape, [half, 0, 0], of=tap)
        g.concat(f"{name}.cat", [side, main_branch(name, half, stride, main)])
        g.move(f"{name}.shuffle", "channel_shuffle", g.shapes[g.last])

    normalised(g, "conv1", 24, 3, 2)
    g.max_pool("maxpool", 3, 2, 1)
    for stage, (channels, units) in enumerate(((116, 4), (232, 8), (464, 4)), 2):
        for number in range(units):
            unit(f"stage{stage}.{number}", channels, 1 if number else 2)
    normalised(g, "conv5", 1024, 1)
    g.reduce("mean", [1024])
    g.fc("fc", 1000)
    return g


def efficientnet_partitions(g):
    """EfficientNet-B0 up to its average pooling, in the eight partitions of PORTEND; yields 1, 2, ... after each: the
    stem, the first six stages, the seventh with the last convolution."""
    normalised(g, "stem", 32, 3, 2, act="silu")
    partition = 1
    number = 0
    for expansion, kernel, stride, channels, blocks in ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2),
                                                        (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
                                                        (6, 3, 1, 320, 1)):
        yield partition
        for block in range(blocks):
            number += 1
            inverted_residual(g, f"b{number}", channels, stride if block == 0 else 1, expansion, kernel, "silu",
                              squeeze=True)
        partition += 1
    normalised(g, "head", 1280, 1, act="silu")
    yield partition


def efficientnet_b0():
    g = Graph("efficientnet_b0", "torchvision efficientnet_b0 (Tan and Le, ICML 2019), counting scale and shift of batch "
              "normalisation: 5,288,548 parameters", [3, 224, 224])
    for _ in efficientnet_partitions(g):
        pass
    g.global_avg_pool("avgpool")
    g.dropout("dropout")
    g.fc("classifier", 1000)
    return g


def efficientnet_b0_exits():
    g = Graph("efficientnet_b0_exits", "EfficientNet-B0, see efficientnet_b0, with PORTEND's exits behind its partitions 4 "
              "to 8; the one behind 3, where nearly nobody leaves, is left out. Exits stand in for SPINN's, whose rates and "
              "accuracies were not at hand", [3, 224, 224])
    counts = {
        4: {0.1: (215, 203), 0.2: (671, 586), 0.3: (1569, 1217), 0.4: (3668, 2321), 0.6: (13201, 5268),
            1.0: (25000, 6981)},
        5: {0.1: (2766, 2634), 0.2: (5912, 5074), 0.3: (9803, 7420), 0.4: (14136, 9378), 0.6: (21706, 11614),
            1.0: (25000, 12104)},
        6: {0.1: (6577, 6218), 0.2: (11416, 9794), 0.3: (15734, 12253), 0.4: (19204, 13738), 0.6: (23941, 15050),
            1.0: (25000, 15208)},
        7: {0.1: (13799, 12656), 0.2: (18717, 15607), 0.3: (21458, 16795), 0.4: (23187, 17373), 0.6: (24813, 17758),
            1.0: (25000, 17778)},
        8: {1.0: (25000, 18499)},
    }
    for partition in efficientnet_partitions(g):
        if partition in counts:
            exit_head(g, partition, 1000)
    portend_exits(g, 25000, counts)
    return g


def lenet5():
    g = Graph("lenet5", "LeNet-5 for MNIST as it is commonly built (after LeCun et al., Proc. IEEE 1998; all maps "
              "connected): 61,706 parameters", [1, 28, 28])
    g.conv("conv1", 6, 5, padding=2)
    g.relu("relu1")
    g.max_pool("pool1", 2, 2)
    g.conv("conv2", 16, 5)
    g.relu("relu2")
    g.max_pool("pool2", 2, 2)
    g.fc("fc1", 120)
    g.relu("relu3")
    g.fc("fc2", 84)
    g.relu("relu4")
    g.fc("fc3", 10)
    return g


def locally_connected(g, name, channels, kernel, stride=1):
    """A convolution whose every position has filters of its own: of the windows, copied side by side, each is a
    group."""
    in_channels, *extents = g.shapes[g.last]
    rows, columns = ((extent - kernel) // stride + 1 for extent in extents)
    windows = rows * columns
    g.move(f"{name}.windows", "im2col", [windows * in_channels, kernel, kernel])
    g.conv(name, windows * channels, kernel, groups=windows)
    g.move(f"{name}.map", "transpose", [channels, rows, columns])


def deepface():
    g = Graph("deepface", "DeepFace (Taigman et al., CVPR 2014, Fig. 2; its layers from memory): two convolutions, three "
              "locally connected layers, two fully connected ones, 118,923,774 parameters", [3, 152, 152])
    g.conv("C1", 32, 11)
    g.relu("C1.relu")
    g.max_pool("M2", 3, 2, ceil=True)
    g.conv("C3", 16, 9)
    g.relu("C3.relu")
    for name, kernel, stride in (("L4", 9, 1), ("L5", 7, 2), ("L6", 5, 1)):
        locally_connected(g, name, 16, kernel, stride)
        g.relu(f"{name}.relu")
    g.fc("F7", 4096)
    g.relu("F7.relu")
    g.fc("F8", 4030)
    g.softmax("prob")
    return g


def kaldi_asr():
    g = Graph("kaldi_asr", "Acoustic model of Tonic Suite's ASR (Hauswald et al., DjiNN and Tonic, ISCA 2015: Kaldi, 13 "
              "layers, 30M parameters, 548 feature vectors of 4594 KB in all, hence 2146 features each). Assumed: six "
              "hidden layers of 2048 sigmoids, as many outputs as features; that makes 13 layers and 29.8M parameters",
              [548, 2146])
    for number in range(1, 7):
        g.fc(f"affine{number}", 2048)
        g.function(f"sigmoid{number}", "sigmoid", SIGMOID)
    g.fc("affine7", 2146)
    return g


def senna(task, tags):
    """Of the paper, from memory: words of 50 numbers, two features of 5, windows of 5 words, 300 hidden units."""
    g = Graph(f"senna_{task}", f"SENNA's window network for {task.upper()} (Collobert et al., JMLR 12, 2011), 28 words "
              "(Hauswald et al., DjiNN and Tonic, ISCA 2015). Assumed: windows of 5 words with 60 numbers each, 300 "
              f"hidden units, {tags} tags", [28, 300])
    g.fc("hidden", 300)
    g.function("hardtanh", "hardtanh")
    g.fc("tags", tags)
    return g


def branchy_lenet():
    g = Graph("branchy_lenet", "BranchyNet's LeNet for MNIST with one branch (github.com/kunglab/branchynet, "
              "networks/lenet_mnist.py); no accuracy of single exits is published", [1, 28, 28])

    def pool(name, of=None):
        g.max_pool(name, 2, 2, ceil=True, of=of)
        g.relu(f"{name}_relu")

    g.conv("conv1", 5, 5, padding=3)
    pool("branch_pool1", of="conv1")
    g.conv("branch_conv", 10, 3, padding=1)
    pool("branch_pool2")
    g.fc("branch_fc", 10)
    pool("pool1", of="conv1")
    for number, channels in ((2, 10), (3, 20)):
        g.conv(f"conv{number}", channels, 5, padding=3)
        pool(f"pool{number}")
    g.fc("fc1", 84)
    g.fc("fc2", 10)
    g.exit("branch", "branch_fc")
    g.exit("main", "fc2")
    return g


def branchynet_alexnet():
    g = Graph("branchynet_alexnet", "BranchyNet's AlexNet for CIFAR-10 with its own two branches, as released (github.com/"
              "kunglab/branchynet, networks/alex_cifar10.py: after convolutions 2 and 3; the paper's text says 1 and 2)",
              [3, 32, 32])
    alexnet_cifar(g)

    def pool_norm(name, of=None):
        g.relu(f"{name}_relu", of=of)
        g.max_pool(f"{name}_pool", 3, 2, ceil=True)

    pool_norm("branch1_1", of="conv_2")
    g.lrn("branch1_lrn", 3)
    g.conv("branch1_conv_1", 32, 3, padding=1)
    g.relu("branch1_relu")
    g.conv("branch1_conv_2", 32, 3, padding=1)
    pool_norm("branch1_2")
    g.fc("branch1_fc", 10)
    pool_norm("branch2_1", of="conv_3")
    g.lrn("branch2_lrn", 3)
    g.conv("branch2_conv", 32, 3, padding=1)
    pool_norm("branch2_2")
    g.fc("branch2_fc", 10)
    g.exit("branch_1", "branch1_fc")
    g.exit("branch_2", "branch2_fc")
    g.exit("main", "fc_3")
    return g


def disabato_cnn():
    g = Graph("disabato_cnn", "The five-layer CNN of Disabato, Roveri, Alippi, Distributed deep convolutional neural "
              "networks for the Internet-of-Things, arXiv 1908.01656 (github.com/simdis/distributedCNNs, "
              "samples.py), rebuilt from its layers' multiplications, weights and outputs; pool windows assumed 2 x 2",
              [3, 28, 28])
    for number in (1, 2):
        g.conv(f"conv{number}", 64, 5, padding=2)
        g.relu(f"relu{number}")
        g.max_pool(f"pool{number}", 2, 2)
    for number, outputs in enumerate((384, 192), 3):
        g.fc(f"fc{number}", outputs)
        g.relu(f"relu{number}")
    g.fc("fc5", 10)
    return g


def disabato_alexnet_exit():
    g = Graph("disabato_alexnet_exit", "AlexNet with one early exit of Disabato, Roveri, Alippi, Distributed deep "
              "convolutional neural networks for the Internet-of-Things, arXiv 1908.01656 (github.com/simdis/"
              "distributedCNNs, samples.py): BVLC AlexNet, whose list of layers there ends with fc7, and a classifier "
              "behind conv2, rebuilt from its multiplications and weights", [3, 227, 227])
    alexnet_stem(g)
    trunk = g.last
    g.fc("exit_fc1", 128)
    g.relu("exit_relu1")
    g.fc("exit_fc2", 65)
    g.last = trunk
    alexnet_rest(g)
    for number in (6, 7):
        g.fc(f"fc{number}", 4096)
        g.relu(f"relu{number}")
    rates = "samples.py: 77.2 % of the inputs leave early"
    g.exit("early", "exit_fc2", rate=0.772, rate_source=rates)
    g.exit("full", "relu7", rate=0.228, rate_source=rates)
    return g


GOEL = "Goel, Tung, Hu, Thiruvathukal, Davis, Lu, ASP-DAC 2022"


def goel_cifar10():
    g = Graph("goel_cifar10", f"The hierarchy for CIFAR-10 of {GOEL}, Fig. 2: a root with children d1, d2, d3 and "
              "grandchildren d4, d5. Layers stand in for its small DNNs (assumed), whose times are a latency model's; "
              "over 16 Mbit/s what root and d2 put out takes the times of Fig. 2b", [3, 32, 32])

    def leaf(name, of):
        g.global_avg_pool(f"{name}_pool", of=of)
        g.fc(name, 10)

    g.conv("root", 70, 3, stride=3)
    g.conv("d2", 100, 3, padding=1)
    leaf("d1", "root")
    leaf("d3", "root")
    leaf("d4", "d2")
    leaf("d5", "d2")
    g.softmax("prob")
    for name, layer in (("d2", "d2"), ("d1", "d1"), ("d3", "d3"), ("d4", "d4"), ("d5", "prob")):
        g.exit(name, layer, rate=0.2, rate_source="Fig. 2b: rate of use, less those of the children")
    return g


def goel_caltech256():
    g = Graph("goel_caltech256", f"The hierarchy for CALTECH-256 of {GOEL}, as far as its Table IV tells: a chain of "
              "three stages, whose operations are those that give the largest of a device with 1 to 3 devices. Layers "
              "stand in for its small DNNs (assumed), whose times are a latency model's", [3, 224, 224])
    g.conv("stage1", 64, 16, stride=16)
    g.conv("stage2", 128, 3, stride=2, padding=1)
    g.global_avg_pool("stage3_pool")
    g.fc("stage3", 256)
    return g


HADIDI = ("of Hadidi, Cao, Woodward, Ryoo, Kim, Distributed Perception by Collaborative Robots, IEEE RA-L 3(4), 2018, as in "
          "github.com/parallel-ml/")


def hadidi_two_stream():
    g = Graph("hadidi_two_stream", f"Two-stream action recognition on 16 x 12 frames {HADIDI}fc, siamese_parallel/model.py: "
              "an image and 20 channels of optical flow; the pyramid pools the features of the last 16 frames (1 + 2 + 4 "
              "+ 8 maxima of 256 features of each stream), here those before the request's own are where it runs",
              [23, 12, 16])
    for stream, channels, first in (("spatial", 3, 0), ("temporal", 20, 3)):
        g.slice(f"{stream}_input", [channels, 12, 16], [first, 0, 0], of="input")
        for number, kernel in enumerate((5, 3, 3), 1):
            g.conv(f"{stream}_conv{number}", 256, kernel, padding=kernel // 2)
            g.batch_norm(f"{stream}_bn{number}")
            g.relu(f"{stream}_relu{number}")
        g.fc(f"{stream}_fc4", 256)
        g.batch_norm(f"{stream}_bn4")
        g.relu(f"{stream}_relu4")
    g.concat("features", ["spatial_relu4", "temporal_relu4"])
    g.move("pyramid", "temporal_pyramid", [2 * 15 * 256])
    for number in (1, 2):
        g.fc(f"fc{number}", 8192)
        g.batch_norm(f"bn{number}")
        g.relu(f"relu{number}")
    g.fc("fc3", 51)
    g.batch_norm("bn3")
    g.softmax("prob")
    return g


def hadidi_alexnet():
    g = Graph("hadidi_alexnet", f"AlexNet of one column {HADIDI}asplos2018-workshop, mutiple-devices/alexnet/model.py",
              [3, 224, 224])
    # TensorFlow's padding "same": 7 rows and columns, 3 of them in front.
    for number, (channels, kernel, stride, padding, pool) in enumerate(
            ((48, 11, 4, (3, 3, 4, 4), True), (128, 5, 1, 2, True), (192, 3, 1, 1, False), (192, 3, 1, 1, False),
             (128, 3, 1, 1, True)), 1):
        g.conv(f"conv{number}", channels, kernel, stride, padding)
        g.relu(f"relu{number}")
        if pool:
            g.max_pool(f"pool{number}", 2, 2)
    imagenet_classifier(g)
    return g


def overfeat():
    g = Graph("overfeat", "OverFeat, fast model (Sermanet et al., ICLR 2014, Table 1; 145,920,872 parameters)",
              [3, 231, 231])
    for number, (channels, kernel, stride, padding, pool) in enumerate((
            (96, 11, 4, 0, True), (256, 5, 1, 0, True), (512, 3, 1, 1, False), (1024, 3, 1, 1, False),
            (1024, 3, 1, 1, True)), 1):
        g.conv(f"conv{number}", channels, kernel, stride, padding)
        g.relu(f"relu{number}")
        if pool:
            g.max_pool(f"pool{number}", 2, 2)
    for number, outputs in ((6, 3072), (7, 4096)):
        g.fc(f"fc{number}", outputs)
        g.relu(f"relu{number}")
    g.fc("fc8", 1000)
    g.softmax("prob")
    return g


def pix2pix():
    g = Graph("pix2pix", "pix2pix, U-Net generator for 256 x 256 (Isola et al., CVPR 2017; as github.com/junyanz/"
              "pytorch-CycleGAN-and-pix2pix, unet_256, builds it: 54,413,955 parameters)", [3, 256, 256])
    skips, depths = [], (64, 128, 256, 512, 512, 512, 512, 512)
    for number, channels in enumerate(depths, 1):
        if number > 1:
            g.function(f"down{number}_act", "leaky_relu", 2)
        g.conv(f"down{number}", channels, 4, 2, 1, bias=False)
        if number not in (1, len(depths)):
            g.batch_norm(f"down{number}_bn")
        skips.append(g.last)
    skips.pop()
    for number, channels in zip(range(len(depths) - 1, 0, -1), (512, 512, 512, 512, 256, 128, 64)):
        g.relu(f"up{number + 1}_act")
        g.conv_transpose(f"up{number + 1}", channels, 4, 2, 1, bias=False)
        g.batch_norm(f"up{number + 1}_bn")
        if number in (4, 5, 6):
            g.dropout(f"up{number + 1}_drop")
        g.concat(f"up{number + 1}_skip", [skips.pop(), g.last])
    g.relu("up1_act")
    g.conv_transpose("up1", 3, 4, 2, 1)
    g.function("tanh", "tanh", 3)
    return g


# ---- transformers ----

def attention_block(g, name, normed, features, key_features, bias, rotary=False, **attention):
    """Queries, keys and values of `normed`, attention, and the projection of what it gives."""
    ends = []
    for letter, width in (("q", features), ("k", key_features), ("v", key_features)):
        end = g.fc(f"{name}.{letter}", width, bias=bias, of=normed)
        if rotary and letter != "v":
            end = g.function(f"{name}.{letter}_rotary", "rotary_embedding", ROTARY)
        ends.append(end)
    g.attention(f"{name}.attention", *ends, **attention)
    return g.fc(f"{name}.out", features, bias=bias)


def vit_b16():
    g = Graph("vit_b16", "torchvision vit_b_16 (Dosovitskiy et al., ICLR 2021: ViT-B/16 at 224 x 224): 86,567,656 "
              "parameters", [3, 224, 224])
    features, tokens = 768, 14 * 14 + 1
    g.conv("conv_proj", features, 16, 16)
    g.move("patches", "transpose", [tokens - 1, features])
    g.move("class_token", "prepend", [tokens, features], weights=features)
    g.affine("pos_embedding", 0, tokens * features)
    for number in range(12):
        name, tap = f"layer_{number}", g.last
        projected = attention_block(g, name, g.layer_norm(f"{name}.ln_1"), features, features, bias=True, heads=12)
        tap = g.add(f"{name}.add_1", [projected, tap])
        g.layer_norm(f"{name}.ln_2")
        g.fc(f"{name}.mlp_1", 4 * features)
        g.function(f"{name}.gelu", "gelu", GELU)
        g.add(f"{name}.add_2", [g.fc(f"{name}.mlp_2", features), tap])
    g.layer_norm("ln")
    g.slice("class", [1, features])
    g.fc("head", 1000)
    return g


def tinyllama(phase, tokens, cached_tokens):
    g = Graph(f"tinyllama_{phase}", "TinyLlama 1.1B (Zhang et al., arXiv 2401.02385; github.com/jzhang38/TinyLlama): 22 "
              "layers, 2048 features, 32 heads on 4 key and value heads, 1,100,048,384 parameters. One call: "
              f"{tokens} token{'s' if tokens > 1 else ''} behind {cached_tokens} in the cache, logits of the last; "
              "attention to all of them, no saving by the causal mask", [tokens], "fp16")
    features, key_features, vocabulary = 2048, 256, 32000
    g.embedding("embed", vocabulary, features)
    for number in range(22):
        name, tap = f"layer_{number}", g.last
        normed = g.layer_norm(f"{name}.norm_1", bias=False)
        projected = attention_block(g, name, normed, features, key_features, bias=False, rotary=True, heads=32,
                                    key_value_heads=4, cached_tokens=cached_tokens)
        tap = g.add(f"{name}.add_1", [projected, tap])
        normed = g.layer_norm(f"{name}.norm_2", bias=False)
        g.fc(f"{name}.gate", 5632, bias=False)
        gate = g.silu(f"{name}.silu")
        up = g.fc(f"{name}.up", 5632, bias=False, of=normed)
        g.mul(f"{name}.mul", [gate, up])
        g.add(f"{name}.add_2", [g.fc(f"{name}.down", features, bias=False), tap])
    g.layer_norm("norm", bias=False)
    if tokens > 1:
        g.slice("last", [1, features], [tokens - 1, 0])
    g.fc("head", vocabulary, bias=False)
    return g


# ---- networks that are distributed over a hierarchy of hosts ----

DDNN = ("S. Teerapittayanon, B. McDanel, H. T. Kung, Distributed Deep Neural Networks over the Cloud, the Edge and End "
        "Devices, ICDCS 2017")


def ddnn(name="ddnn_max", pooling="max", local=None, cloud=None, source="", thresholds=()):
    """Six cameras of 32 x 32 x 3 bytes, four binary filters on each. pooling: of the scores at the local aggregator.
    local, cloud: (accuracy, accuracies without cameras by their numbers) of the two exits."""
    cameras = range(1, 7)
    g = Graph(name, f"{DDNN}, configuration (c) with 4 filters; the cloud's layers as released (github.com/kunglab/ddnn, "
              f"elaas/family/multi_input_edge.py), 16 filters assumed; biases assumed absent", [3, 32, 32], "int8")

    def sign(name):
        g.function(name, "sign")
        g.output_bits(1)

    def scores(name, of=None):
        g.fc(name, 3, bias=False, of=of)
        g.output_bits(32)

    for number in cameras:
        g.move(f"camera_{number}", "camera", [3, 32, 32], of="input")
        g.conv(f"conv_{number}", 4, 3, padding=1, bias=False)
        g.max_pool(f"pool_{number}", 3, 2, 1)
        g.batch_norm(f"bn_{number}")
        sign(f"sign_{number}")
        scores(f"scores_{number}")
    gathered = [f"scores_{number}" for number in cameras]
    if pooling == "concat":
        g.concat("local_concat", gathered, absent="skip")
        g.output_bits(32)
        scores("local_scores")
    else:
        g.function(f"local_{pooling}", pooling, {"max": 5, "average": 6}[pooling], gathered, "skip")
        g.output_bits(32)
    g.softmax("local")
    g.output_bits(32)
    g.concat("cloud_concat", [f"sign_{number}" for number in cameras], absent="skip")
    g.output_bits(1)
    for number in (1, 2):
        g.conv(f"cloud_conv_{number}", 16, 3, padding=1, bias=False)
        g.max_pool(f"cloud_pool_{number}", 3, 1, 1)
        g.batch_norm(f"cloud_bn_{number}")
        sign(f"cloud_sign_{number}")
    scores("cloud_scores")
    g.softmax("cloud")
    g.output_bits(32)
    for exit_name, (accuracy, without), layer in (("local", local, "scores"), ("cloud", cloud, "sign")):
        g.exit(exit_name, exit_name, accuracy, source,
               [([f"{layer}_{number}" for number in missing], value) for missing, value in without])
    for threshold, leave, accuracy in thresholds:
        g.threshold(threshold, [float(leave), round(1.0 - leave, 4)], [accuracy, accuracy],
                    f"{DDNN}, {'Table II' if threshold != 0.7 else 'visualize/data/entropy.csv'}; of the accuracy only the "
                    "mean over both exits is published")
    return g


def ddnn_table_2():
    return ddnn(local=(0.92, ()), cloud=(0.96, ()), source=f"{DDNN}, Table II, T = 1 and T = 0.1",
                thresholds=[(0.1, 0, 0.96), (0.3, 0.0058, 0.96), (0.5, 0.0175, 0.96), (0.6, 0.0292, 0.96),
                            (0.7, 0.2281, 0.96), (0.8, 0.6082, 0.97), (0.9, 0.8304, 0.96), (1, 1, 0.92)])


def ddnn_failing():
    return ddnn("ddnn_failing",
                local=(0.97, [([n], a) for n, a in enumerate((0.92, 0.94, 0.97, 0.95, 0.96, 0.94), 1)]),
                cloud=(0.99, [([n], a) for n, a in enumerate((0.98, 0.98, 0.98, 0.97, 0.96, 0.95), 1)]),
                source=f"{DDNN}, Figs. 8 and 10 (visualize/data/add_cam.csv and missing_cam.csv)")


def ddnn_growing():
    """Trained anew with 1 to 6 cameras, the worst ones first: the others are missing from the beginning."""
    def grown(*accuracies):
        return accuracies[5], [(range(n + 1, 7), accuracies[n - 1]) for n in range(1, 6)]
    return ddnn("ddnn_growing", local=grown(0.37, 0.43, 0.75, 0.94, 0.95, 0.97),
                cloud=grown(0.55, 0.77, 0.87, 0.95, 0.97, 0.99),
                source=f"{DDNN}, Fig. 8 (visualize/data/add_cam.csv)")


GUARDS = ("A. Yousefpour et al., Guardians of the Deep Fog: Failure-Resilient DNN Inference from Edge to Cloud, "
          "AIChallengeIoT 2019; code: github.com/anrl-utd/clearShallowAtEase")


class Guarded(Graph):
    """Sections for the hosts of a hierarchy. absent: what a section does without some of its inputs ("skip":
    deepFogGuard, "switch": ResiliNet); None: there are no hyperconnections that skip a host."""

    def __init__(self, name, source, input_shape, absent):
        super().__init__(name, source, input_shape)
        self.absent = absent

    def joined(self, section, below, skips):
        """The input of a section: what comes from the sections below and over hyperconnections. below: names of
        layers; skips: {name: layer that it weighs, or function that adds it}."""
        if self.absent is None:
            skips = {}
        for name, tensor in skips.items():
            if callable(tensor):
                tensor(name)
            else:
                self.function(name, "scale", of=tensor)
        if len(below) + len(skips) == 1:
            self.last = below[0]
        else:
            self.add(f"{section}_input", [*below, *skips], self.absent or "skip")

    def dense(self, section, count, units, of=None):
        for number in range(1, count + 1):
            self.fc(f"{section}_fc_{number}", units, of=of if number == 1 else None)
            self.relu(f"{section}_relu_{number}")
        return self.last


def health(name, absent):
    g = Guarded(name, f"The activity network of {GUARDS}, mlp_*_health.py, first partition: 23 numbers of a mHealth sensor, "
                "1, 2, 3 and 4 layers of 250 on edge, fog 2, fog 1 and cloud, 13 classes", [23], absent)
    edge = g.dense("e", 1, 250, "input")
    g.joined("f2", [edge], {"skip_iot_f2": lambda name: g.fc(name, 250, of="input")})
    fog_2 = g.dense("f2", 2, 250)
    g.joined("f1", [fog_2], {"skip_e_f1": edge})
    fog_1 = g.dense("f1", 3, 250)
    g.joined("c", [fog_1], {"skip_f2_c": fog_2})
    g.dense("c", 4, 250)
    g.fc("c_fc_5", 13)
    g.softmax("prob")
    return g


def mobilenet_cifar(name, absent):
    g = Guarded(name, f"MobileNet v1 (alpha 0.75) for CIFAR-10 of {GUARDS}, cnn_*_MobileNet.py, first partition: 1, 3, 5 and "
                "5 convolution blocks on IoT, edge, fog and cloud", [3, 32, 32], absent)

    def block(number, channels, stride=1):
        padding = 1 if stride == 1 else (0, 0, 1, 1)
        normalised(g, f"conv{number}_dw", None, 3, stride, padding)
        return normalised(g, f"conv{number}_pw", channels * 3 // 4, 1)

    iot = normalised(g, "conv0", 24, 3, 1, (0, 0, 1, 1))
    block(1, 64), block(2, 128)
    edge = block(3, 128)
    g.joined("f", [edge], {"skip_iot_f": lambda name: g.conv(name, 96, 1, bias=False, of=iot)})
    block(4, 256, 2), block(5, 256), block(6, 512, 2), block(7, 512)
    fog = block(8, 512)
    if absent:
        fog = g.move("fog_pad", "pad", [384, 8, 8], of=fog)
    g.joined("c", [fog], {"skip_e_c": lambda name: g.conv(name, 384, 1, 4, bias=False, of=edge)})
    block(9, 512), block(10, 512), block(11, 512), block(12, 1024, 2), block(13, 1024)
    g.global_avg_pool("pool")
    g.fc("fc", 10)
    g.softmax("prob")
    return g


# Of 145 validation samples, how many come out right: by whether the left branch (e1, f3) gives a tensor and by which of
# e2, e3, e4 do, in binary (index 1: e4 alone, 7: all). The left branch alone stands first of its row; nothing at all is a
# guess. The logs multiview-camera/final_logs/baseline.log, fixedguard.log and activeguard2.log at commit a511757.
CAMERA_VANILLA = {False: (None, 115, 127, 131, 107, 120, 131, 135), True: (122, 129, 138, 139, 124, 130, 139, 141)}
# By whether f4 works, too: the tensors of e2, e3 and e4 reach f2 without it.
CAMERA_SKIPS = {(False, False): (None, 92, 119, 134, 106, 121, 134, 138),
                (False, True): (None, 92, 120, 134, 106, 121, 134, 138),
                (True, False): (120, 124, 141, 142, 132, 134, 140, 141),
                (True, True): (120, 124, 141, 142, 132, 134, 140, 141)}
# By whether f1 works, the left branch and f4.
CAMERA_FAILOUT = {(False, False, False): (None, 123, 135, 141, 124, 134, 138, 142),
                  (False, False, True): (None, 123, 135, 141, 124, 134, 138, 142),
                  (False, True, False): (131, 136, 140, 142, 137, 140, 142, 142),
                  (False, True, True): (131, 136, 140, 142, 137, 141, 142, 142),
                  (True, False, False): (None, 123, 135, 141, 124, 134, 138, 142),
                  (True, False, True): (None, 123, 135, 141, 124, 134, 138, 142),
                  (True, True, False): (130, 136, 140, 142, 136, 141, 142, 142),
                  (True, True, True): (130, 137, 140, 142, 138, 141, 142, 142)}
CAMERA_SAMPLES = 145
# The logs guess between persons (45) and cars (98) where the top fog's tensor is zero, whatever skips it.
CAMERA_GUESS = (45 + 98) / 2


def camera_right(training, works):
    """Right answers with the hosts that work, by their names."""
    right = sum(bit for host, bit in (("e2", 4), ("e3", 2), ("e4", 1)) if works[host])
    left = works["f3"] and works["e1"]
    if training == "vanilla":
        return CAMERA_VANILLA[left][right if works["f4"] else 0] if works["f1"] and works["f2"] else None
    if not works["f2"]:
        return None
    if training == "skips":
        return CAMERA_SKIPS[left, works["f4"]][right] if works["f1"] else None
    return CAMERA_FAILOUT[works["f1"], left, works["f4"]][right]


def camera(name, training):
    """Six cameras over four edge and four fog hosts. training: "vanilla", "skips" or "failout" (skips, and hosts that
    fail in training)."""
    absent = None if training == "vanilla" else "skip"
    g = Guarded(name, f"The multi-camera network of an early version (2018) of {GUARDS}, multiview-camera: layers of 32, 3 "
                "classes; cameras that give 8 bits a pixel assumed", [3, 32, 32], absent)
    for number in range(1, 7):
        g.move(f"camera_{number}", "camera", [3 * 32 * 32], of="input")
        g.output_bits(8)
    edges = []
    for number, cameras in enumerate(([1, 2], [3], [4, 5], [6]), 1):
        tensors = [f"camera_{camera}" for camera in cameras]
        of = g.add(f"e{number}_input", tensors) if len(tensors) > 1 else tensors[0]
        edges.append(g.dense(f"e{number}", 1, 32, of))
    fog_3 = g.dense("f3", 1, 32, edges[0])
    g.joined("f4", edges[1:], {})
    fog_4 = g.dense("f4", 2, 32)
    g.joined("f2", [fog_3, fog_4], {f"skip_e{n}_f2": edges[n - 1] for n in (2, 3, 4)})
    fog_2 = g.dense("f2", 2, 32)
    g.joined("f1", [fog_2], {"skip_f4_f1": fog_4, "skip_f3_f1": fog_3})
    fog_1 = g.dense("f1", 2, 32)
    g.joined("c", [fog_1], {"skip_f2_c": fog_2})
    g.dense("c", 3, 32)
    g.fc("c_fc_4", 3)
    g.softmax("prob")

    ends = {"f1": fog_1, "f2": fog_2, "f3": fog_3, "f4": fog_4, **{f"e{n}": edges[n - 1] for n in range(1, 5)}}
    below_first = ("e1", "e2", "e3", "e4", "f3", "f4", "f2", "f1")
    rows = {}
    for alive in itertools.product((True, False), repeat=len(ends)):
        works = dict(zip(ends, alive))
        # What is computed: a host that works still needs an input.
        gives = {host: works[host] for host in ("e1", "e2", "e3", "e4")}
        gives["f3"] = works["f3"] and gives["e1"]
        right = any(gives[host] for host in ("e2", "e3", "e4"))
        gives["f4"] = works["f4"] and right
        gives["f2"] = works["f2"] and (gives["f3"] or gives["f4"] or (right and absent is not None))
        gives["f1"] = works["f1"] and (gives["f2"] or (absent is not None and (gives["f3"] or gives["f4"])))
        if not gives["f1"] and not (gives["f2"] and absent is not None):
            continue  # no answer
        missing = tuple(ends[host] for host in below_first if not gives[host])
        value = camera_right(training, works)
        rows[missing] = round((CAMERA_GUESS if value is None else value) / CAMERA_SAMPLES, 6)
    log = {"vanilla": "baseline", "skips": "fixedguard", "failout": "activeguard2"}[training]
    g.exit("prob", "prob", rows.pop(()), f"{GUARDS}, multiview-camera/final_logs/{log}.log at commit a511757, validation",
           sorted(rows.items()))
    return g


# ---- fixtures ----

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


def vgg_f():
    g = Graph("vgg_f", "VGG-F (CNN-F of Chatfield et al., BMVC 2014, Table 1: five convolutions, lrn and pooling behind the "
              "first two, pooling behind the fifth): 60,834,536 parameters. Pooling 3 x 3 with stride 2, the last, partly "
              "covered window counted, and lrn over 5 channels, from memory", [3, 224, 224])
    g.conv("conv1", 64, 11, stride=4)
    g.relu("relu1")
    g.lrn("norm1", 5)
    g.max_pool("pool1", 3, 2, ceil=True)
    g.conv("conv2", 256, 5, padding=2)
    g.relu("relu2")
    g.lrn("norm2", 5)
    g.max_pool("pool2", 3, 2, ceil=True)
    for number in (3, 4, 5):
        g.conv(f"conv{number}", 256, 3, padding=1)
        g.relu(f"relu{number}")
    g.max_pool("pool5", 3, 2, ceil=True)
    imagenet_classifier(g)
    return g


TABLE_1 = [
    lenet, alexnet, googlenet,
    lambda: vgg(16, 138357544, ("VGG-16", 138357544, 528, 15.5)),
    lambda: vgg(19, 143667240, ("VGG-19", 143667240, 548, 19.6)),
    lambda: resnet_msra(50, ("ResNet50", 25610269, 98, 3.9), "25,610,269 parameters, with a bias in conv1"),
    lambda: resnet_msra(101, ("ResNet101", 44654608, 170, 7.6), "44,654,608 parameters"),
    lambda: resnet_msra(152, ("ResNet152", 60344387, 230, 11.3), "60,344,387 parameters"),
    mobilenet_v1, mobilenet_v2, textcnn, yolov5s, acoustic_model,
    lambda: recurrent("rnn", False, ("RNNCell", 350000, 1.33, 0.01)),
    lambda: recurrent("rnn", True, ("BiRNN", 690000, 2.62, 2.21)),
    lambda: recurrent("gru", False, ("GRUCell", 1040000, 3.95, 0.03)),
    lambda: recurrent("gru", True, ("BiGRU", 2070000, 7.87, 6.65)),
    lambda: recurrent("lstm", False, ("LSTMCell", 1380000, 5.24, 0.04)),
    lambda: recurrent("lstm", True, ("BiLSTM", 2760000, 10.49, 8.86)),
]
OTHERS = [
    alexnet_early_exit, branchy_alexnet, branchynet_alexnet, branchy_lenet, lenet5, disabato_cnn, disabato_alexnet_exit,
    goel_cifar10, goel_caltech256, hadidi_two_stream, hadidi_alexnet, overfeat, pix2pix, nin,
    nin_imagenet,
    lambda: vgg(11, 132863336), vgg16_cifar,
    lambda: resnet_torchvision(18, "resnet18", 11689512),
    lambda: resnet_torchvision(34, "resnet34", 21797672),
    lambda: resnet_torchvision(50, "resnet50_v1_5", 25557032),
    lambda: resnet_torchvision(101, "resnet101_v1_5", 44549160),
    lambda: resnet_torchvision(152, "resnet152_v1_5", 60192808),
    alexnet_torchvision, lambda: yolov5s("yolov5s_640", 640),
    lambda: resnet_cifar(20, 269722), lambda: resnet_cifar(32, 464154),
    lambda: resnet_cifar(56, 853018), lambda: resnet_cifar(110, 1727962),
    lambda: squeezenet("1.0"), lambda: squeezenet("1.1"), inception_v3,
    mobilenet_v1_caffe, inception_21k,
    lambda: yolov2("yolov2"), lambda: yolov2("yolov2_first16", 16),
    lambda: yolov2("yolov2_448", size=448), caffenet_convolutions,
    lambda: tiny_yolov2("tiny_yolov2", 416), lambda: tiny_yolov2("tiny_yolov2_288", 288),
    lambda: tiny_yolov2("tiny_yolov2_224", 224), alexnet_towers,
    densenet121, shufflenet_v2, efficientnet_b0, efficientnet_b0_exits, resnet110_exits, vit_b16,
    vgg_f, deepface, kaldi_asr, lambda: senna("pos", 45), lambda: senna("chk", 45), lambda: senna("ner", 17),
    lambda: tinyllama("prefill", 128, 0), lambda: tinyllama("decode", 1, 128),
    ddnn_table_2, ddnn_failing, ddnn_growing,
    lambda: ddnn("ddnn_average", "average", (0.75, ()), (0.96, ()), f"{DDNN}, Table I, AP-CC"),
    lambda: ddnn("ddnn_concat", "concat", (0.85, ()), (0.94, ()), f"{DDNN}, Table I, CC-CC"),
    *[lambda build=build, name=name, absent=absent: build(f"{name}_{absent or 'vanilla'}", absent)
      for build, name in ((health, "health"), (mobilenet_cifar, "mobilenet")) for absent in (None, "skip", "switch")],
    lambda: camera("camera_vanilla", "vanilla"), lambda: camera("camera_skip", "skips"),
    lambda: camera("camera_failout", "failout"),
]
FIXTURES = [chain3, diamond]


def files():
    """Path from the repository's root: text."""
    texts = {}
    for folder, models in (("workloads", TABLE_1 + OTHERS), ("tests/fixtures", FIXTURES)):
        for model in models:
            graph = model()
            texts[f"{folder}/{graph.name}.json"] = graph.text()
    return texts


def main(arguments):
    if arguments not in ([], ["--check"]):
        sys.exit(f"usage: {sys.argv[0]} [--check]")
    differing = []
    for name, text in files().items():
        path = ROOT / name
        if not arguments:
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            differing.append(name)
    if differing:
        sys.exit(f"{', '.join(differing)}: not what workloads/generate.py writes; run it without --check")


if __name__ == "__main__":
    main(sys.argv[1:])
