"""ONNX files as layer graphs: python3 -m cdisim.onnx_import model.onnx -o model.json (`cdisim import` runs it).

Shapes come from ONNX's shape inference, node by node, with constants folded on the way, so that computed Reshape
targets are known. The batch dimension is followed through the graph and removed: a layer graph holds one input's
share. Operators that the layer graph has no kind for become data_movement layers and are listed on stderr.

Besides the standard library only onnx (1.12 or newer) and numpy are needed.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # Run as a file, its folder would come first: cdisim/platform.py is not Python's platform.
    sys.path = [entry for entry in sys.path if os.path.abspath(entry or ".") != os.path.dirname(os.path.abspath(__file__))]

import argparse
import collections
import dataclasses
import json
import math
import pathlib
import re
import stat
import tempfile
import warnings
from typing import Any, Callable, Iterable, Optional, Sequence

__all__ = ["OnnxError", "import_onnx"]

NEEDS_ONNX = "needs the Python package onnx (apt-get install python3-onnx, or pip install onnx)"
REEXECUTED = "CDISIM_ONNX_REEXECUTED"

try:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper, shape_inference
except Exception as problem:  # also a protobuf that does not fit, which raises TypeError
    onnx, onnx_problem = None, problem

LARGEST_FILE = 2 << 30  # byte, protobuf's own limit
LARGEST_JSON = 64 << 20  # byte, the loader's limit
LARGEST_DIMENSION = 1_000_000
MOST_DIMENSIONS = 6
LARGEST_FOLDED = 65_536  # elements: constants above it have a shape, but no values

Shape = tuple[int, ...]


class OnnxError(ValueError):
    """The file cannot be imported; the text says why, without the file's name."""


# ---- tensors and nodes ----


@dataclasses.dataclass
class Tensor:
    """A tensor of the ONNX graph, and the layer that gives one input's share of it."""

    name: str
    shape: Shape  # with the batch dimension
    dtype: int  # TensorProto.DataType
    const: bool = False
    array: Any = None  # numpy array of a small constant
    root: Optional[str] = None  # stored constant that this one was made from; none where it follows from shapes
    stored: int = 0  # DataType of that initializer
    batch: Optional[int] = None  # axis that holds the batch, alone or times something else
    layer: Optional[str] = None
    held: Shape = ()  # the layer's output; same elements as the share, and maybe ones more

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_weight(self) -> bool:
        return self.const and self.root is not None and self.dtype in WEIGHT_TYPES


@dataclasses.dataclass
class Node:
    """An operator with its tensors; None stands for an optional one that is left out or that nobody reads."""

    op: str
    name: str
    attributes: dict[str, Any]
    ins: list[Optional[Tensor]]
    outs: list[Optional[Tensor]]
    opset: int

    @property
    def out(self) -> Tensor:
        return next(t for t in self.outs if t is not None)

    def get(self, name: str, absent: Any = None) -> Any:
        return self.attributes.get(name, absent)

    def input(self, index: int) -> Optional[Tensor]:
        return self.ins[index] if index < len(self.ins) else None

    def active(self) -> list[Tensor]:
        return [t for t in self.ins if t is not None and not t.const]

    def values(self, index: int, attribute: str = "") -> Optional[list]:
        """A parameter that newer opsets have as input, older ones as attribute; None where absent or unknown."""
        if attribute in self.attributes:
            return list(self.attributes[attribute])
        tensor = self.input(index)
        return None if tensor is None or tensor.array is None else tensor.array.ravel().tolist()

    def known(self, index: int) -> bool:
        """Whether input `index` is left out or a constant with known values."""
        tensor = self.input(index)
        return tensor is None or tensor.array is not None


def text(shape: Iterable) -> str:
    return "[" + ", ".join(str(d) for d in shape) + "]"


def broadcast(*shapes: Sequence[int]) -> Optional[Shape]:
    """NumPy's common shape; None where there is none."""
    out: list[int] = [1] * max(len(s) for s in shapes)
    for shape in shapes:
        for i, d in enumerate(reversed(shape), start=1):
            if out[-i] != d and 1 not in (out[-i], d):
                return None
            out[-i] = max(out[-i], d)
    return tuple(out)


def fit(shape: Sequence[int]) -> Shape:
    """The shape in at most six dimensions, at least one; a long vector is cut into rows."""
    dims = list(shape) or [1]
    while len(dims) > MOST_DIMENSIONS:
        dims[:2] = [dims[0] * dims[1]]
    if len(dims) == 1 and dims[0] > LARGEST_DIMENSION:
        rows = next((d for d in range(2, LARGEST_DIMENSION) if dims[0] % d == 0), 1)
        dims = [rows, dims[0] // rows]
        while dims[1] > LARGEST_DIMENSION and len(dims) < MOST_DIMENSIONS:
            rows = next((d for d in range(2, LARGEST_DIMENSION) if dims[-1] % d == 0), 1)
            if rows == 1:
                break
            dims[0], dims[1] = dims[0] * rows, dims[1] // rows
    return tuple(dims)


def windows(extent: int, kernel: int, stride: int, before: int, after: int, ceil: bool) -> int:
    """Windows along one axis, as the layer graph counts them."""
    room = extent + before + after - kernel + (stride - 1 if ceil else 0)
    if room < 0:
        return 0
    count = room // stride + 1
    return count - 1 if ceil and (count - 1) * stride >= extent + before else count


HANDLERS: dict[str, Callable[["Importer", Node], None]] = {}


def handles(*operators: str):
    def register(function):
        for operator in operators:
            HANDLERS[operator] = function
        return function
    return register


# Operators that move data and are known to; not worth a note.
MOVERS = {"Cast", "CastLike", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Transpose", "Pad", "Tile",
          "Expand", "DepthToSpace", "SpaceToDepth", "Gather", "GatherElements", "GatherND", "Slice", "Split", "Resize",
          "Upsample", "Concat", "OneHot", "Trilu"}
# Functions of one or more tensors, element by element.
FUNCTIONS = {"Abs", "Acos", "Acosh", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "Ceil", "Celu", "Clip", "Cos",
             "Cosh", "Elu", "Equal", "Erf", "Exp", "FastGelu", "Floor", "Gelu", "Greater", "GreaterOrEqual",
             "HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean",
             "Min", "Mish", "Mod", "Neg", "Not", "Or", "Pow", "QuickGelu", "Reciprocal", "Round", "Selu", "Shrink",
             "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh",
             "ThresholdedRelu", "Where", "Xor"}
# Of other domains, but with the meaning of the operators above.
CONTRIBUTED = {"Gelu", "FastGelu", "QuickGelu"}
# Whose result is made from all inputs; of the others', the first input holds the data.
JOINERS = {"Add", "Sub", "Mul", "Div", "Pow", "Mod", "Where", "Equal", "Less", "LessOrEqual", "Greater",
           "GreaterOrEqual", "And", "Or", "Xor", "Concat", "Sum", "Max", "Min"}
CONTROL_FLOW = {"If", "Loop", "Scan"}


class Importer:
    """One import: reads the nodes in order, each with its shapes known, and writes layers."""

    def __init__(self, model, batch: Optional[int], input_shapes: dict[str, Shape]):
        self.model = model
        self.opsets = {o.domain if o.domain != "ai.onnx" else "": o.version for o in model.opset_import}
        if "" not in self.opsets:
            self.opsets[""] = 1
        self.tensors: dict[str, Tensor] = {}
        self.layers: list[dict[str, Any]] = []
        self.by_name: dict[str, dict[str, Any]] = {}
        self.names = {"input", "outputs"}
        self.as_read: dict[tuple[str, Shape], str] = {}  # reshapes made for a reader
        self.notes: list[str] = []
        self.symbols: dict[str, int] = {}
        self.batch = 1
        graph = model.graph
        self.results = {o.name for o in graph.output}
        self.declared = {v.name: v.type for v in [*graph.value_info, *graph.output]}
        self.readers = collections.Counter(name for node in self.walk(graph.node) for name in node.input)
        self.add_initializers(graph)
        self.nodes = self.needed_nodes(graph)
        self.sources = self.read_inputs(graph, batch, input_shapes)
        for node in self.nodes:
            self.visit_checked(node)

    # ---- reading the graph ----

    def walk(self, nodes):
        """All nodes, those of subgraphs too."""
        for node in nodes:
            yield node
            for subgraph in subgraphs(node):
                yield from self.walk(subgraph.node)

    def add_initializers(self, graph) -> None:
        for proto in graph.initializer:
            self.tensors[proto.name] = self.constant(proto.name, proto)
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            self.tensors[name] = Tensor(name, tuple(sparse.dims), sparse.values.data_type, const=True, root=name,
                                        stored=sparse.values.data_type)

    def constant(self, name: str, proto) -> Tensor:
        tensor = Tensor(name, tuple(proto.dims), proto.data_type, const=True, root=name, stored=proto.data_type)
        if any(d < 0 for d in tensor.shape):
            raise OnnxError(f'initializer "{name}" has the shape {text(tensor.shape)}')
        if tensor.size <= LARGEST_FOLDED and proto.data_location != TensorProto.EXTERNAL:
            try:
                tensor.array = numpy_helper.to_array(proto)
            except Exception as error:
                if proto.data_type in NUMPY_TYPES:
                    raise OnnxError(f'initializer "{name}" of shape {text(tensor.shape)} is broken: '
                                    f"{one_line(error)}") from None
        return tensor

    def needed_nodes(self, graph) -> list:
        """The nodes that lead to an output, in the file's order."""
        if not graph.node:
            raise OnnxError("holds no nodes")
        needed = set(self.results)
        kept = []
        for node in reversed(graph.node):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(node.input)
                needed.update(free_names(node))
        needed.discard("")
        self.needed = needed
        return kept[::-1]

    def read_inputs(self, graph, batch: Optional[int], given: dict[str, Shape]) -> list[Tensor]:
        inputs = [i for i in graph.input if i.name in self.needed and i.name not in self.tensors]
        unknown = sorted(set(given) - {i.name for i in inputs})
        if unknown:
            raise OnnxError(f'has no input "{unknown[0]}"; its inputs: {", ".join(i.name for i in inputs)}')
        if not inputs:
            raise OnnxError("has no inputs that an output depends on")
        dims = {i.name: self.input_dims(i, given.get(i.name)) for i in inputs}
        recurrent = {node.input[0] for node in graph.node
                     if node.op_type in ("RNN", "GRU", "LSTM") and not attributes_of(node).get("layout")}

        # The first input says which dimension is the batch, and how large it is.
        first = next((i.name for i in inputs if dims[i.name]), None)
        lead = 1 if first in recurrent and len(dims[first]) > 1 else 0
        symbol = dims[first][lead] if first else None
        if batch:
            self.batch = batch
        elif batch is None and isinstance(symbol, int) and len(dims[first]) > 1:
            self.batch = symbol
            if symbol > 1 and first not in given:
                self.notes.append(f'the dimension of {symbol} of "{first}" is taken for the batch '
                                  "(--batch 0: there is none)")
        sources = []
        for value in inputs:
            name, shape = value.name, list(dims[value.name])
            axis = None if batch == 0 else self.batch_axis_of_input(name, shape, symbol, lead, recurrent)
            if axis is not None:
                if isinstance(shape[axis], str) and shape[axis]:
                    self.symbols[shape[axis]] = self.batch
                shape[axis] = self.batch
            shape = [self.symbols.get(d, d) for d in shape]
            if any(not isinstance(d, int) for d in shape):
                example = ",".join(str(d) if isinstance(d, int) else d or "N" for d in shape)
                raise OnnxError(f'input "{name}" has the shape {text(d or "?" for d in dims[name])}: give the sizes '
                                f"with --input-shape {name}={example}")
            tensor = Tensor(name, tuple(shape), value.type.tensor_type.elem_type, batch=axis)
            tensor.layer = f"\0{name}"  # replaced when it is known how many inputs are read
            tensor.held = self.share(tensor)
            self.check_shape(tensor.held, f'input "{name}"')
            self.tensors[name] = tensor
            sources.append(tensor)
        return sources

    def input_dims(self, value, given: Optional[Shape]) -> list:
        """Numbers, names of symbols, or "" where the file says nothing."""
        if not value.type.HasField("tensor_type"):
            raise OnnxError(f'input "{value.name}" is no tensor')
        kind = value.type.tensor_type
        if given is None and not kind.HasField("shape"):
            raise OnnxError(f'input "{value.name}" has no shape: give it with --input-shape {value.name}=...')
        stated = [d.dim_value if d.dim_value > 0 else d.dim_param for d in kind.shape.dim]
        if given is None:
            return stated
        if kind.HasField("shape") and len(given) != len(stated):
            raise OnnxError(f'input "{value.name}" has the shape {text(d or "?" for d in stated)}, '
                            f"not {len(given)} dimensions")
        for symbol, size in zip(stated, given):
            if isinstance(symbol, str) and symbol:
                self.symbols[symbol] = size
        return list(given)

    def batch_axis_of_input(self, name: str, shape: list, symbol, lead: int, recurrent: set[str]) -> Optional[int]:
        if name in recurrent and len(shape) > 1:
            return 1
        if symbol in shape[:2] and isinstance(symbol, str) and symbol:
            return shape.index(symbol)
        if not shape or (len(shape) == 1 and shape[0] not in ("", self.batch)):
            return None
        if isinstance(shape[0], str) or shape[0] in (symbol, self.batch):
            return 0
        return 1 if lead or (len(shape) > 1 and shape[1] == self.batch) else None

    # ---- one node ----

    def visit_checked(self, proto) -> None:
        """visit(), but a node that breaks ONNX's rules is the file's mistake and not one in here."""
        try:
            self.visit(proto)
        except (OnnxError, MemoryError, RecursionError):
            raise
        except Exception:
            outer = [self.tensors[i] for i in free_names(proto) if i in self.tensors]
            ins = [self.tensors.get(i) for i in proto.input]
            try:
                onnx.checker.check_model(self.single_node_model(proto, [t for t in ins if t is not None] + outer))
            except Exception as error:
                raise OnnxError(f'node "{proto.name}" ({proto.op_type}) is broken: {one_line(error)}') from None
            raise

    def visit(self, proto) -> None:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        name = proto.name or next((o for o in proto.output if o), "") or proto.op_type
        attributes = attributes_of(proto)
        ins = []
        for i in proto.input:
            if i and i not in self.tensors:
                raise OnnxError(f'node "{name}" ({proto.op_type}) reads "{i}", which nothing before it gives')
            ins.append(self.tensors[i] if i else None)
        outer = [self.tensors[i] for i in sorted(free_names(proto)) if i in self.tensors]
        node = Node(proto.op_type, name, attributes, ins, [], self.opsets.get(domain, 1))

        if domain == "" and self.fold(node, proto):
            return
        if node.op == "If" and ins[0] is not None and ins[0].array is not None:
            self.inline_branch(node, proto)
            return

        for index, (output, (shape, dtype)) in enumerate(zip(proto.output, self.infer(node, proto, outer))):
            node.outs.append(None)
            if not output:
                continue
            tensor = Tensor(output, shape, dtype)
            self.tensors[output] = tensor
            if self.readers[output] or output in self.results:
                node.outs[index] = tensor
        node.ins += outer
        every = [t for t in node.ins if t is not None]
        if all(t.const for t in every):  # a constant whose values do not matter
            for tensor in node.outs:
                if tensor is not None:
                    tensor.const = True
                    self.inherit(node.op, every, tensor)
            return
        if not any(node.outs):
            return
        for index, tensor in enumerate(node.outs):
            if tensor is not None:
                if 0 in tensor.shape:  # nothing, whatever the data
                    tensor.const, tensor.array = True, np.empty(tensor.shape, NUMPY_TYPES.get(tensor.dtype))
                    node.outs[index] = None
                    continue
                tensor.batch = self.batch_axis(node, tensor, index)
        if not any(node.outs):
            return
        known = domain == "" or node.op in CONTRIBUTED
        handler = HANDLERS.get(node.op) if known else None
        if handler:
            handler(self, node)
        elif known and node.op in FUNCTIONS:
            self.function(node)
        else:
            self.move(node, note=not (known and node.op in MOVERS))
        for tensor in node.outs:  # outputs that the handler did not give: read from the same inputs
            if tensor is not None and tensor.layer is None:
                self.give(node, tensor, "data_movement", [self.read(t) for t in node.active()], self.share(tensor),
                          operator=node.op)

    def fold(self, node: Node, proto) -> bool:
        """Constants and what is computed from shapes and constants alone."""
        if node.op == "Constant":
            tensor = self.constant_node(node, proto)
            tensor.name = proto.output[0]
            self.tensors[tensor.name] = tensor
            return True
        if node.op in ("Shape", "Size") and node.ins and node.ins[0] is not None:
            shape = node.ins[0].shape
            if node.op == "Shape":
                arrays = [np.array(shape, np.int64)[slice(node.get("start", 0), node.get("end"))]]
            else:
                arrays = [np.array(math.prod(shape), np.int64)]
        elif node.op == "Identity" and node.ins and node.ins[0] is not None:
            self.tensors[proto.output[0]] = dataclasses.replace(node.ins[0], name=proto.output[0])
            return True
        elif any(t is not None and t.array is None for t in node.ins):
            return False
        else:
            arrays = evaluate(node, len(proto.output))
            if arrays is None:
                return False
        for output, array in zip(proto.output, arrays):
            array = np.asarray(array)
            dtype = ONNX_TYPES.get(array.dtype.name, TensorProto.FLOAT)
            self.tensors[output] = Tensor(output, array.shape, dtype, const=True, array=array)
            if node.op not in ("Shape", "Size"):
                self.inherit(node.op, [t for t in node.ins if t is not None], self.tensors[output])
        return True

    def inherit(self, op: str, sources: list[Tensor], tensor: Tensor) -> None:
        """A constant is as much of a weight as the data that it was made from."""
        data = sources if op in JOINERS else sources[:1]
        if all(t.root for t in data):
            source = max(data, key=lambda t: t.size, default=None)
            tensor.root, tensor.stored = (source.root, source.stored) if source else (tensor.name, tensor.dtype)
            if op in ("ConstantOfShape", "Range"):
                tensor.root, tensor.stored = tensor.name, tensor.dtype

    def constant_node(self, node: Node, proto) -> Tensor:
        for key, value in node.attributes.items():
            if key == "value":
                return self.constant(proto.output[0], value)
            if key == "sparse_value":
                kind = value.values.data_type
                return Tensor("", tuple(value.dims), kind, const=True, root=proto.output[0], stored=kind)
            if key in ("value_float", "value_floats", "value_int", "value_ints"):
                array = np.array(value, np.float32 if "float" in key else np.int64)
                kind = ONNX_TYPES[array.dtype.name]
                return Tensor("", array.shape, kind, const=True, array=array, root=proto.output[0], stored=kind)
        size = (len(node.get("value_strings", [])),) if "value_strings" in node.attributes else ()
        return Tensor("", size, TensorProto.STRING, const=True)

    def inline_branch(self, node: Node, proto) -> None:
        """An If whose condition is a constant is the branch that it takes."""
        branch = node.get("then_branch" if bool(node.ins[0].array.ravel()[0]) else "else_branch")
        self.add_initializers(branch)
        for outer, result in zip(proto.output, branch.output):
            self.readers[result.name] += self.readers[outer]
            if outer in self.results:
                self.results.add(result.name)
        for inner in branch.node:
            self.visit(inner)
        for outer, result in zip(proto.output, branch.output):
            if result.name not in self.tensors:
                raise OnnxError(f'node "{node.name}" (If): its branch does not give "{result.name}"')
            self.tensors[outer] = dataclasses.replace(self.tensors[result.name], name=outer)

    # ---- shapes ----

    def infer(self, node: Node, proto, outer: list[Tensor]) -> list[tuple[Shape, int]]:
        """Shape and type of each output."""
        if re.fullmatch("(QLinear)?Conv(Integer|Transpose)?|.*Pool", node.op):  # onnx 1.12 would crash on these
            weight = node.input(3 if node.op == "QLinearConv" else 1) if "Conv" in node.op else node.input(0)
            ranks = [len(t.shape) if t else 0 for t in (node.input(0), weight)]
            if min(ranks) < 3 or ranks[0] != ranks[1]:
                raise OnnxError(f'node "{node.name}" ({node.op}) of {self.inputs_text(node)}: ranks do not fit')
        single = self.single_node_model(proto, [t for t in node.ins if t is not None] + outer)
        types = {}
        try:
            inferred = shape_inference.infer_shapes(single, strict_mode=True)
            types = {v.name: v.type for v in [*inferred.graph.output, *inferred.graph.value_info]}
        except Exception as error:
            reason = re.sub(r"^.*?\[\w+Error\]\s*", "", one_line(error))
            raise OnnxError(f'node "{node.name}" ({node.op}) of {self.inputs_text(node)}: {reason}') from None

        out = []
        for index, name in enumerate(proto.output):
            if not name:
                out.append(((), 0))
                continue
            shape, dtype = known_dims(types.get(name))
            declared, declared_dtype = self.declared_dims(name)
            if shape is None:
                shape = declared
            elif declared is not None and len(declared) == len(shape):
                shape = [d if d is not None else other for d, other in zip(shape, declared)]
            if shape is None or None in shape:
                shape = self.guessed_shape(node, proto, index, shape)
            out.append((tuple(shape), dtype or declared_dtype or (node.ins[0].dtype if node.input(0) else 1)))
        return out

    def single_node_model(self, proto, ins: list[Tensor]):
        """A model of this node alone."""
        inputs, initializers = {}, []
        for tensor in ins:
            if tensor.name in inputs:
                continue
            inputs[tensor.name] = helper.make_tensor_value_info(tensor.name, tensor.dtype, tensor.shape)
            if tensor.array is not None and tensor.array.dtype.name in ONNX_TYPES:
                initializers.append(numpy_helper.from_array(np.ascontiguousarray(tensor.array).reshape(tensor.shape),
                                                            tensor.name))
        results = [onnx.ValueInfoProto(name=o) for o in proto.output if o]
        graph = helper.make_graph([proto], "node", list(inputs.values()), results, initializers)
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.opsets.items()]
        if proto.domain not in self.opsets and proto.domain != "ai.onnx":
            opsets.append(helper.make_opsetid(proto.domain, 1))
        single = helper.make_model(graph, opset_imports=opsets)
        single.ir_version = max(self.model.ir_version, 4)
        return single

    def declared_dims(self, name: str) -> tuple[Optional[list], int]:
        """What the file says of a tensor, with the sizes of its symbols filled in."""
        if name not in self.declared:
            return None, 0
        dims, dtype = known_dims(self.declared[name], self.symbols)
        return dims, dtype

    def guessed_shape(self, node: Node, proto, index: int, partial: Optional[list]) -> Shape:
        """Where shape inference has no answer."""
        where = f'node "{node.name}" ({node.op})'
        unread = not self.readers[proto.output[index]] and proto.output[index] not in self.results
        if unread:
            return ()
        if node.op == "NonZero" and node.ins[0] is not None:
            self.notes.append(f"{where}: how many it finds depends on the data; counted as all")
            return (max(1, len(node.ins[0].shape)), node.ins[0].size)
        if node.op == "NonMaxSuppression" and len(node.ins) >= 2 and node.ins[1] is not None:
            scores = node.ins[1].shape
            limit = node.values(2)
            found = math.prod(scores[:2]) * min(scores[2], int(limit[0]) if limit else 0)
            if found:
                self.notes.append(f"{where}: how many it finds depends on the data; counted as {found}")
                return (found, 3)
        if node.op in FUNCTIONS or node.op in ("GroupNormalization", "RMSNormalization"):  # newer than this onnx
            shape = broadcast(*(t.shape for t in node.ins if t is not None and (node.op in FUNCTIONS or not t.const)))
            if shape is not None:
                return shape
        if node.op in CONTROL_FLOW or proto.domain in ("", "ai.onnx") or not node.active():
            known = "" if partial is None else f" {text('?' if d is None else d for d in partial)}"
            raise OnnxError(f'{where}: the shape{known} of its output "{proto.output[index]}" cannot be derived')
        self.notes.append(f"{where}: its output is assumed to have its input's shape")
        return node.active()[0].shape

    def inputs_text(self, node: Node) -> str:
        return ", ".join(text(t.shape) for t in node.ins if t is not None) or "no inputs"

    # ---- the batch dimension ----

    def share(self, tensor: Tensor) -> Shape:
        """The shape of one input's share."""
        return fit(self.without_batch(tensor.shape, tensor.batch))

    def without_batch(self, shape: Shape, axis: Optional[int]) -> list[int]:
        dims = list(shape)
        if axis is not None and axis < len(dims):
            if dims[axis] == self.batch:
                del dims[axis]
            elif dims[axis] % self.batch == 0:
                dims[axis] //= self.batch
        return dims

    def aligned(self, tensor: Tensor, out: Tensor) -> Shape:
        """The shape to read `tensor` with so that it broadcasts against the others that make `out`."""
        if out.batch is None:
            return fit(tensor.shape)
        axis = out.batch - (len(out.shape) - len(tensor.shape))
        if axis < 0:
            return fit(tensor.shape)
        if out.shape[out.batch] == self.batch and tensor.shape[axis] == 1:
            return fit(tensor.shape[:axis] + tensor.shape[axis + 1:])
        return fit(self.without_batch(tensor.shape, axis))

    def batch_axis(self, node: Node, out: Tensor, index: int) -> Optional[int]:
        """Where the batch dimension of a node's output is; None where there is none any more."""
        carriers = [t for t in node.active() if t.batch is not None]
        if not carriers:
            return None
        source = max(carriers, key=lambda t: len(t.shape))
        axis, rank, out_rank = source.batch, len(source.shape), len(out.shape)
        op = node.op
        if op == "Transpose":
            permutation = node.get("perm", list(range(rank))[::-1])
            axis = list(permutation).index(axis)
        elif op in ("Reshape", "Flatten"):
            axis = self.batch_axis_reshaped(source, out)
        elif op == "Squeeze":
            axes = node.values(1, "axes")
            gone = {a % rank for a in axes} if axes else {i for i, d in enumerate(source.shape) if d == 1}
            axis = None if axis in gone else axis - sum(a < axis for a in gone)
        elif op == "Unsqueeze":
            added = {a % out_rank for a in node.values(1, "axes") or []}
            axis = [i for i in range(out_rank) if i not in added][axis]
        elif op.startswith("Reduce") or op in ("ArgMax", "ArgMin"):
            if op.startswith("Reduce"):
                axes = node.values(1, "axes") or range(rank)
            else:
                axes = [node.get("axis", 0)]
            gone = {a % rank for a in axes}
            if axis in gone:
                axis = None
            elif not node.get("keepdims", 1):
                axis -= sum(a < axis for a in gone)
        elif op == "Gather":
            data, indices = node.ins[0], node.ins[1]
            at = node.get("axis", 0) % len(data.shape)
            if indices.batch is not None and (data.const or data.batch is None):
                axis = at + indices.batch
            elif data.batch == at:
                axis = None
            else:
                axis = data.batch + (len(indices.shape) - 1 if data.batch > at else 0)
        elif op in ("RNN", "GRU", "LSTM"):
            axis = 0 if node.get("layout") else (2 if index == 0 else 1)
        elif op in ("MatMul", "MatMulInteger", "QLinearMatMul") or rank < out_rank:
            axis += out_rank - rank
        elif op == "Einsum":
            axis = self.batch_axis_einsum(node, out)
        if axis is None or not 0 <= axis < out_rank or out.shape[axis] % self.batch:
            return 0 if out_rank and out.shape[0] == self.batch > 1 else None
        return axis

    def batch_axis_reshaped(self, source: Tensor, out: Tensor) -> Optional[int]:
        """The axis with as many elements before it, alone if possible, at its old place if possible."""
        before = math.prod(source.shape[:source.batch])
        found = [i for i in range(len(out.shape))
                 if math.prod(out.shape[:i]) == before and out.shape[i] % self.batch == 0]
        alone = [i for i in found if out.shape[i] == self.batch]
        choices = alone or found
        return source.batch if source.batch in choices else choices[0] if choices else None

    def batch_axis_einsum(self, node: Node, out: Tensor) -> Optional[int]:
        terms = einsum_terms(node)
        for term, tensor in zip(terms or [], node.ins):
            if not tensor.const and tensor.batch is not None and tensor.batch < len(term):
                return terms[-1].find(term[tensor.batch])
        return None

    # ---- writing layers ----

    def unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self.names:
            count += 1
            candidate = f"{name}_{count}"
        self.names.add(candidate)
        return candidate

    def check_shape(self, shape: Shape, what: str) -> None:
        if any(not 1 <= d <= LARGEST_DIMENSION for d in shape) or math.prod(shape) > 10**12:
            raise OnnxError(f"{what}: a layer graph cannot hold the shape {text(shape)} (dimensions of 1 to "
                            f"{LARGEST_DIMENSION}, at most 1e12 elements)")

    def emit(self, name: str, kind: str, inputs: list[str], output: Shape, holds: Sequence[Tensor] = (),
             **attributes) -> str:
        """Appends a layer. holds: the constants that are its weights."""
        name = self.unique(clean(name))
        for key in ("operator", "function"):
            if key in attributes:
                attributes[key] = clean(attributes[key])
        self.check_shape(output, f'layer "{name}"')
        layer = {"name": name, "kind": kind, "inputs": inputs, **attributes, "output": list(output)}
        layer["_weights"] = [w for w in holds if w is not None]
        self.layers.append(layer)
        self.by_name[name] = layer
        return name

    def give(self, node: Node, out: Tensor, kind: str, inputs: list[str], output: Shape, **attributes) -> None:
        """Appends the layer that gives `out`."""
        out.layer = self.emit(node.name, kind, inputs, output, **attributes)
        out.held = tuple(output)

    def alias(self, source: Tensor, out: Tensor) -> None:
        out.layer, out.held = source.layer, source.held

    def read(self, tensor: Tensor, shape: Optional[Sequence[int]] = None) -> str:
        """The layer that gives `tensor`, as `shape` (default: as it stands)."""
        if tensor.layer is None:
            raise OnnxError(f'tensor "{tensor.name}" comes from no layer')
        if shape is None or tuple(shape) == tensor.held:
            return tensor.layer
        key = (tensor.layer, tuple(shape))
        if key not in self.as_read:
            if math.prod(shape) != math.prod(tensor.held):
                raise OnnxError(f'tensor "{tensor.name}" of shape {text(tensor.held)} cannot be read as '
                                f"{text(shape)}")
            name = f"{tensor.layer.lstrip(chr(0))}_as_{'x'.join(str(d) for d in shape)}"
            self.as_read[key] = self.emit(name, "flatten" if len(shape) == 1 else "reshape", [tensor.layer], shape)
        return self.as_read[key]

    def move(self, node: Node, note: bool = False, weights: Optional[list[Tensor]] = None) -> None:
        """A data_movement layer for the node's first output. note: nobody knows what the operator does, its
        constants are its weights."""
        if weights is None:
            weights = [t for t in node.ins if t is not None and t.const and t.root] if note else []
        inputs = list(dict.fromkeys(self.read(t) for t in node.active()))
        out = node.out
        attributes: dict[str, Any] = {"operator": node.op}
        if sum(w.size for w in weights):
            attributes["weights"] = sum(w.size for w in weights)
        self.give(node, out, "data_movement", inputs, self.share(out), _operators=[node.op] if note else [],
                  **attributes)
        self.by_name[out.layer]["_weights"] = weights

    def keep(self, node: Node, kind: str, **attributes) -> None:
        """A layer whose output has the shape that its only input is held in."""
        source = node.active()[0]
        self.give(node, node.out, kind, [self.read(source)], source.held, **attributes)

    def function(self, node: Node) -> None:
        """An element-wise function of one or several tensors."""
        self.join(node, "elementwise", function=node.op.lower())

    def join(self, node: Node, kind: str, **attributes) -> None:
        active, out = node.active(), node.out
        held = active[0].held
        if all(t.held == held and t.shape == active[0].shape for t in active) and math.prod(held) == math.prod(
                self.share(out)):
            self.give(node, out, kind, [self.read(t) for t in active], held, **attributes)
            return
        shapes = [self.aligned(t, out) for t in active]
        share = self.share(out)
        joined = broadcast(*shapes)
        unclear = joined is None or any(math.prod(s) != math.prod(t.held) for s, t in zip(shapes, active))
        if unclear or (joined != share and len(active) == 1):
            # A constant stretches the tensor, or the batch cannot be told from the rest.
            moved = self.emit(f"{node.name}_expand", "data_movement", [self.read(t) for t in active], share,
                              operator="Expand")
            self.give(node, out, "elementwise", [moved], share, function=node.op.lower())
            return
        share = joined
        self.give(node, out, kind, [self.read(t, s) for t, s in zip(active, shapes)], share, **attributes)

    # ---- the finished graph ----

    def finish(self) -> tuple[tuple[int, ...], list[dict[str, Any]]]:
        """The input's shape and the layers that lead to an output."""
        ends = [self.tensors[o.name].layer for o in self.model.graph.output
                if o.name in self.tensors and self.tensors[o.name].layer]
        missing = next((o.name for o in self.model.graph.output if o.name not in self.tensors), None)
        if missing is not None:
            raise OnnxError(f'no node gives its output "{missing}"')
        needed = {name for name in ends if not name.startswith("\0")}
        layers = []
        for layer in reversed(self.layers):
            if layer["name"] in needed:
                layers.append(layer)
                needed.update(layer["inputs"])
        layers.reverse()
        if not layers:
            raise OnnxError("holds no layers between its inputs and outputs")

        read = [s for s in self.sources if s.layer in needed]
        if not read:
            raise OnnxError("holds no layer that reads an input")
        renamed = {read[0].layer: "input"}
        shape = read[0].held
        if len(read) > 1:
            shape = fit([sum(math.prod(s.held) for s in read)])
            self.check_shape(shape, "the inputs together")
            first = [{"name": self.unique(clean(s.name)), "kind": "data_movement", "inputs": ["input"],
                      "operator": "Input", "output": list(s.held)} for s in read]
            renamed = {s.layer: layer["name"] for s, layer in zip(read, first)}
            layers = first + layers
        for layer in layers:
            layer["inputs"] = [renamed.get(name, name) for name in layer["inputs"]]

        # One exit: what nobody reads is gathered.
        consumed = {name for layer in layers for name in layer["inputs"]}
        sinks = [layer for layer in layers if layer["name"] not in consumed]
        if len(sinks) > 1:
            total = fit([sum(math.prod(layer["output"]) for layer in sinks)])
            self.check_shape(total, "the outputs together")
            layers.append({"name": "outputs", "kind": "data_movement", "inputs": [s["name"] for s in sinks],
                           "operator": "Concat", "output": list(total)})
        return shape, layers


# ---- operators ----


def spatial(node: Node, rank: int, name: str, absent: int) -> list[int]:
    values = list(node.get(name, [])) or [absent] * rank
    if len(values) != rank:
        raise OnnxError(f'node "{node.name}" ({node.op}): {name} {text(values)} does not fit {rank} dimensions')
    return values


def padding_of(node: Node, sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
               dilation: Sequence[int]) -> list[int]:
    """Begins, then ends, with auto_pad resolved."""
    rank, mode = len(sizes), node.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        pads = list(node.get("pads", [])) or [0] * 2 * rank
        if len(pads) != 2 * rank:
            raise OnnxError(f'node "{node.name}" ({node.op}): pads {text(pads)} does not fit {rank} dimensions')
        return pads
    if mode == "VALID":
        return [0] * 2 * rank
    begins, ends = [], []
    for size, k, s, d in zip(sizes, kernel, stride, dilation):
        total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        less, more = total // 2, total - total // 2
        begins.append(less if mode == "SAME_UPPER" else more)
        ends.append(more if mode == "SAME_UPPER" else less)
    return begins + ends


def window_attributes(kernel, stride, pads, dilation=None) -> dict[str, Any]:
    """Layer graph keys, height and width; a single axis lies along the width. Defaults are left out."""
    def two(values, missing):
        return ([missing] if len(values) == 1 else []) + list(values)

    rank = len(kernel)
    attributes = {"kernel": two(kernel, 1)}
    if any(s != 1 for s in stride):
        attributes["stride"] = two(stride, 1)
    if any(pads):
        attributes["padding"] = two(pads[:rank], 0) + two(pads[rank:], 0)
    if dilation is not None and any(d != 1 for d in dilation):
        attributes["dilation"] = two(dilation, 1)
    return attributes


def image(shape: Sequence[int]) -> Shape:
    """[channels, ...] as [channels, height, width]: one dimension is the width, of three the last two merge."""
    channels, *sizes = shape
    if len(sizes) == 1:
        return (channels, 1, sizes[0])
    return (channels, sizes[0], math.prod(sizes[1:])) if sizes else (channels, 1, 1)


@handles("Conv", "QLinearConv", "ConvInteger", "ConvTranspose")
def convolution(importer: Importer, node: Node) -> None:
    x = node.ins[0]
    w, b = (node.input(3), node.input(8)) if node.op == "QLinearConv" else (node.input(1), node.input(2))
    if node.op == "ConvInteger":
        b = None
    if w is None or not w.const or x.const:
        importer.move(node, note=True)
        return
    out = node.out
    transposed = node.op == "ConvTranspose"
    groups = node.get("group", 1)
    rank = len(x.shape) - 2
    if rank < 1 or len(w.shape) != len(x.shape):
        raise OnnxError(f'node "{node.name}" ({node.op}) of {importer.inputs_text(node)}: ranks do not fit')
    channels, features = x.shape[1], out.shape[1]
    if channels != (w.shape[0] if transposed else w.shape[1] * groups):
        raise OnnxError(f'node "{node.name}" ({node.op}): weights {text(w.shape)} of {groups} group(s) do not fit '
                        f"an input of {channels} channels")
    sizes, kernel = list(x.shape[2:]), list(w.shape[2:])
    stride, dilation = spatial(node, rank, "strides", 1), spatial(node, rank, "dilations", 1)
    bias = b is not None and b.const
    weights = [w, b] if bias else [w]
    attributes: dict[str, Any] = {} if bias else {"bias": False}
    inputs = [importer.read(x, image([channels, *sizes]))]
    extra = [0] * rank
    if transposed:
        begins, ends = [], []
        for i in range(rank):
            full = stride[i] * (sizes[i] - 1) + (kernel[i] - 1) * dilation[i] + 1
            total = full - out.shape[2 + i]
            extra[i] = max(0, -total)
            stated = list(node.get("pads", []))
            fixed = "output_shape" not in node.attributes and node.get("auto_pad", "NOTSET") == "NOTSET"
            if fixed:
                extra[i] = (list(node.get("output_padding", [])) or [0] * rank)[i]
                begins.append(stated[i] if stated else 0)
                ends.append(stated[rank + i] if stated else 0)
            else:
                total = max(0, total)
                less, more = total // 2, total - total // 2
                upper = node.get("auto_pad") == "SAME_UPPER"
                begins.append(less if upper else more)
                ends.append(more if upper else less)
        pads = begins + ends
    else:
        pads = padding_of(node, sizes, kernel, stride, dilation)

    simple = rank <= 2 and min(pads) >= 0 and all(e < max(s, d) or e == 0 for e, s, d in zip(extra, stride, dilation))
    if not simple:
        unfolded_convolution(importer, node, x, out, weights, attributes, groups, transposed)
    else:
        attributes = {**window_attributes(kernel, stride, pads, dilation), **attributes}
        kind = "conv_transpose" if transposed else "conv"
        if groups == channels and groups > 1 and not transposed:
            kind = "depthwise_conv"
        elif groups > 1:
            attributes["groups"] = groups
        if any(extra):
            attributes["output_padding"] = [0] * (2 - rank) + extra
        importer.give(node, out, kind, inputs, image(out.shape[1:]), holds=weights, **attributes)
    if b is not None and not b.const:
        add_tensor(importer, node, out, b)


def unfolded_convolution(importer: Importer, node: Node, x: Tensor, out: Tensor, weights: list[Tensor],
                         attributes: dict[str, Any], groups: int, transposed: bool) -> None:
    """A convolution of three axes, or one that crops: columns of pixels times a matrix, same MACs and weights."""
    area = math.prod(weights[0].shape[2:])
    channels, features = x.shape[1], out.shape[1]
    if groups > 1:
        attributes["groups"] = groups
    if transposed:
        positions = image(x.shape[1:])[1:]
        columns = importer.emit(node.name, "conv", [importer.read(x, (channels, *positions))],
                                (features * area, *positions), holds=weights[:1], kernel=[1, 1],
                                **{**attributes, "bias": False})
        importer.give(node, out, "data_movement", [columns], importer.share(out), operator="Col2Im")
        if len(weights) > 1:
            importer.give(node, out, "affine", [out.layer], out.held, holds=weights[1:], factors=0,
                          summands=features)
    else:
        positions = image(out.shape[1:])[1:]
        columns = importer.emit(f"{node.name}_unfold", "data_movement", [importer.read(x)],
                                (channels * area, *positions), operator="Im2Col")
        importer.give(node, out, "conv", [columns], (features, *positions), holds=weights, kernel=[1, 1],
                      **attributes)


def add_tensor(importer: Importer, node: Node, out: Tensor, other: Tensor) -> None:
    """Adds an activation to what the node gave so far."""
    share = importer.share(out)
    shape = importer.aligned(other, out)
    if broadcast(share, shape) != share:
        shape = other.held
    importer.give(node, out, "add", [importer.read(out, share), importer.read(other, shape)], share)


def contract(importer: Importer, node: Node, x: Tensor, y: Tensor, b: int, m: int, k: int, n: int,
             vector: bool = False) -> None:
    """[b, m, k] times [b, k, n], one of them constant: fully connected, or grouped where b > 1.

    vector: the tensor has no dimension but k.
    """
    if x.const:
        x, y, m, n = y, x, n, m
    out = node.out
    if b == 1:
        shape, output = ((k,), (n,)) if vector else ((m, k), (m, n))
        importer.give(node, out, "fc", [importer.read(x, shape)], output, holds=[y], bias=False)
    else:
        importer.give(node, out, "conv", [importer.read(x, (b * k, 1, m))], (b * n, 1, m), holds=[y],
                      kernel=[1, 1], groups=b, bias=False)


@handles("MatMul", "MatMulInteger", "QLinearMatMul")
def matrix_product(importer: Importer, node: Node) -> None:
    x, y = node.ins[0], node.ins[3 if node.op == "QLinearMatMul" else 1]
    out = node.out
    if not x.const and not y.const:
        product_of_tensors(importer, node, x, y)
        return
    tensor, weight = (y, x) if x.const else (x, y)
    share = importer.share(tensor)
    k = tensor.shape[-2] if x.const and len(tensor.shape) > 1 else tensor.shape[-1]
    rows = math.prod(share) // k
    if rows * k != math.prod(share):
        importer.move(node, note=True)
        return
    if len(weight.shape) == 1:
        features, stack = 1, 1
    else:
        features = weight.shape[-2] if x.const else weight.shape[-1]
        stack = math.prod(weight.shape[:-2])
    if stack > 1 and rows % stack == 0 and len(share) > 2:
        # Each of a stack of matrices has tensors of its own.
        sizes = (stack, features, k, rows // stack) if x.const else (stack, rows // stack, k, features)
    else:
        features *= stack
        sizes = (1, features, k, rows) if x.const else (1, rows, k, features)
    contract(importer, node, x, y, *sizes, vector=len(share) == 1)
    if math.prod(out.held) != math.prod(importer.share(out)):
        raise OnnxError(f'node "{node.name}" ({node.op}) of {importer.inputs_text(node)}: shapes do not fit')


def product_of_tensors(importer: Importer, node: Node, x: Tensor, y: Tensor) -> None:
    out = node.out
    left, right = list(importer.aligned(x, out)), list(importer.aligned(y, out))
    # The batch is among the rows of x only: y is read whole.
    if out.batch is not None and out.batch >= len(out.shape) - 2:
        right = list(importer.share(y))
    if len(left) == 1:
        left.insert(0, 1)
    if len(right) == 1:
        right.append(1)
    if left[-1] != right[-2] or math.prod(left) != math.prod(x.held) or math.prod(right) != math.prod(y.held):
        raise OnnxError(f'node "{node.name}" ({node.op}) of {importer.inputs_text(node)}: the batch dimension '
                        "cannot be told from the others")
    prefix = broadcast(left[:-2] or [1], right[:-2] or [1])
    if prefix is None:
        raise OnnxError(f'node "{node.name}" ({node.op}) of {importer.inputs_text(node)}: shapes do not fit')
    output = (*(prefix if max(len(left), len(right)) > 2 else ()), left[-2], right[-1])
    importer.give(node, out, "matmul", [importer.read(x, left), importer.read(y, right)], output)


@handles("Gemm")
def gemm(importer: Importer, node: Node) -> None:
    x, y, c = node.ins[0], node.ins[1], node.input(2)
    out = node.out
    if x.const or y.const:
        tensor = y if x.const else x
        share = importer.share(tensor)
        transposed = node.get("transB" if tensor is y else "transA", 0)
        k = tensor.shape[0 if bool(transposed) != (tensor is y) else 1]
        other = (x if x.const else y).shape
        features = math.prod(other) // k
        rows = math.prod(share) // k
        sizes = (1, features, k, rows) if x.const else (1, rows, k, features)
        contract(importer, node, x, y, *sizes, vector=len(share) == 1)
        layer = importer.by_name[out.layer]
        if c is not None and c.const and c.size == features and not x.const:
            del layer["bias"]
            layer["_weights"].append(c)
            return
    else:
        if node.get("transA", 0) or node.get("transB", 0):
            if node.get("transA", 0):
                x = transposed_copy(importer, node, x)
            if node.get("transB", 0):
                y = transposed_copy(importer, node, y)
        product_of_tensors(importer, node, x, y)
    if c is None:
        return
    if c.const:
        affine(importer, node, out, c, "summands")
    else:
        add_tensor(importer, node, out, c)


def transposed_copy(importer: Importer, node: Node, tensor: Tensor) -> Tensor:
    """A transposed matrix; no batch is left in it."""
    shape = tensor.shape[::-1]
    copy = dataclasses.replace(tensor, shape=shape, batch=None if tensor.batch is None else 1 - tensor.batch)
    if len(importer.share(tensor)) > 1:
        copy.layer = importer.emit(f"{node.name}_transpose", "data_movement", [importer.read(tensor)],
                                   importer.share(copy), operator="Transpose")
        copy.held = importer.share(copy)
    return copy


def affine(importer: Importer, node: Node, tensor: Tensor, constant: Tensor, key: str) -> None:
    """Learned factors or summands of a tensor, or a number that nobody learned."""
    out = node.out
    other = {"factors": "summands", "summands": "factors"}[key]
    # What does not repeat over one input's share differs from input to input of a batch: data, not weights.
    if constant.size == 1 or not constant.is_weight or math.prod(tensor.held) % constant.size:
        importer.give(node, out, "elementwise", [importer.read(tensor)], tensor.held, function=node.op.lower())
    else:
        importer.give(node, out, "affine", [importer.read(tensor)], tensor.held, holds=[constant],
                      **{key: constant.size, other: 0})


@handles("Einsum")
def einsum(importer: Importer, node: Node) -> None:
    terms = einsum_terms(node)
    if terms is None or len(node.ins) != 2 or any(len(set(t)) != len(t) for t in terms):
        importer.move(node, note=True)
        return
    x, y = node.ins
    first, second, result = terms
    sizes: dict[str, int] = {}
    for term, tensor in ((second, y), (first, x)):
        sizes.update(zip(term, tensor.shape))
    for term, tensor in ((first, x), (second, y)):
        if not tensor.const and tensor.batch is not None:
            letter = term[tensor.batch]
            sizes[letter] = tensor.shape[tensor.batch] // importer.batch

    def size(letters) -> int:
        return math.prod(sizes[c] for c in letters)

    both, kept = set(first) & set(second), set(result)
    b, k = size(both & kept), size(both - kept)
    m, n = size(set(first) - both), size(set(second) - both)
    if not (set(first) - both) <= kept or not (set(second) - both) <= kept:
        importer.move(node, note=True)
    elif x.const or y.const:
        contract(importer, node, x, y, b, m, k, n)
    else:
        left, right, output = ((m, k), (k, n), (m, n)) if b == 1 else ((b, m, k), (b, k, n), (b, m, n))
        importer.give(node, node.out, "matmul", [importer.read(x, left), importer.read(y, right)], output)


def einsum_terms(node: Node) -> Optional[list[str]]:
    """The letters of each operand and of the result; None for what is not spelled out."""
    equation = node.get("equation", "").replace(" ", "")
    if "..." in equation:
        return None
    operands, arrow, result = equation.partition("->")
    terms = operands.split(",")
    if not arrow:
        counts = collections.Counter("".join(terms))
        result = "".join(sorted(c for c, count in counts.items() if count == 1))
    if len(terms) != len(node.ins) or any(len(t) != len(i.shape) for t, i in zip(terms, node.ins)):
        return None
    return [*terms, result]


@handles("MaxPool", "AveragePool", "LpPool")
def pool(importer: Importer, node: Node) -> None:
    x, out = node.ins[0], node.out
    if node.outs[0] is None:
        importer.move(node, note=True)
        return
    rank = len(x.shape) - 2
    kernel = list(node.get("kernel_shape", []))
    if len(kernel) != rank:
        raise OnnxError(f'node "{node.name}" ({node.op}): kernel_shape {text(kernel)} does not fit {text(x.shape)}')
    stride, dilation = spatial(node, rank, "strides", 1), spatial(node, rank, "dilations", 1)
    pads = padding_of(node, x.shape[2:], kernel, stride, dilation)
    counts = {ceil: [windows(x.shape[2 + i], kernel[i], stride[i], pads[i], pads[rank + i], ceil)
                     for i in range(rank)] for ceil in (False, True)}
    ceil = bool(node.get("ceil_mode", 0)) and counts[True] != counts[False]
    if rank > 2 or any(d != 1 for d in dilation) or min(pads) < 0:
        importer.move(node, note=True)
        return
    if list(out.shape[2:]) != counts[ceil]:
        if not node.get("ceil_mode", 0):
            raise OnnxError(f'node "{node.name}" ({node.op}): windows of {text(counts[False])} do not fit the output '
                            f"{text(out.shape)}")
        # Older shape inference counts windows that start in the trailing padding; no runtime does.
        out.shape = (*out.shape[:2], *counts[True])
    attributes = window_attributes(kernel, stride, pads)
    if ceil:
        attributes["ceil"] = True
    importer.give(node, out, "max_pool" if node.op == "MaxPool" else "avg_pool",
                  [importer.read(x, image(x.shape[1:]))], image(out.shape[1:]), **attributes)


@handles("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(importer: Importer, node: Node) -> None:
    x = node.ins[0]
    channels, height, width = image(x.shape[1:])
    kind = "max_pool" if node.op == "GlobalMaxPool" else "avg_pool"
    importer.give(node, node.out, kind, [importer.read(x, (channels, height, width))], (channels, 1, 1),
                  kernel=[height, width])


@handles("Relu")
def relu(importer: Importer, node: Node) -> None:
    importer.keep(node, "relu")


@handles("PRelu")
def prelu(importer: Importer, node: Node) -> None:
    x, slope = node.ins[0], node.ins[1]
    if slope.const and not x.const:
        importer.give(node, node.out, "affine", [importer.read(x)], x.held, holds=[slope], factors=slope.size,
                      summands=0)
    else:
        importer.function(node)


@handles("LRN")
def lrn(importer: Importer, node: Node) -> None:
    importer.keep(node, "lrn", local_size=node.get("size", 5))


@handles("BatchNormalization")
def batch_normalization(importer: Importer, node: Node) -> None:
    x, parameters = node.ins[0], node.ins[1:5]
    share = image(x.shape[1:]) if len(x.shape) == 3 else importer.share(x)
    if any(p is None or not p.const or p.size != share[0] for p in parameters):
        importer.move(node, note=True)
        return
    importer.give(node, node.outs[0] or node.out, "batch_norm", [importer.read(x, share)], share, holds=parameters,
                  statistics=True)


@handles("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization")
def layer_normalization(importer: Importer, node: Node) -> None:
    x, scale, bias = node.ins[0], node.input(1), node.input(2)
    constants = [t for t in (scale, bias) if t is not None]
    elements = math.prod(importer.share(x))
    if node.op in ("LayerNormalization", "RMSNormalization"):
        axis = node.get("axis", -1) % len(x.shape)
        features = math.prod(x.shape[axis:])
        share = importer.share(x)
        shape: Shape = (features,) if len(share) == 1 else (elements // features, features)
    else:
        features = x.shape[1]
        shape = (features, 1, elements // features)
        if image(x.shape[1:]) == x.held:
            shape = x.held
    if scale is None or any(not t.const for t in constants) or node.outs[0] is None:
        importer.move(node, note=True)
        return
    scales = math.prod(scale.shape)
    attributes: dict[str, Any] = {} if bias is not None else {"bias": False}
    if scales == features:
        importer.give(node, node.outs[0], "layer_norm", [importer.read(x, shape)], shape, holds=constants,
                      **attributes)
    else:  # one factor per group (opset 18)
        importer.give(node, node.outs[0], "affine", [importer.read(x, shape)], shape, holds=constants,
                      factors=scales, summands=scales if bias is not None else 0)


@handles("Softmax", "LogSoftmax", "Hardmax")
def softmax(importer: Importer, node: Node) -> None:
    importer.keep(node, "softmax")


@handles("Dropout")
def dropout(importer: Importer, node: Node) -> None:
    importer.keep(node, "dropout")


@handles("Add", "Sub", "Mul", "Div", "Sum")
def arithmetic(importer: Importer, node: Node) -> None:
    active = node.active()
    constants = [t for t in node.ins if t is not None and t.const]
    out = node.out
    product = node.op in ("Mul", "Div")
    if len(active) > 1:
        importer.join(node, "mul" if product else "add")
        for constant in constants:
            affine(importer, node, out, constant, "summands")
        return
    tensor = active[0]
    if not constants:
        importer.alias(tensor, out)
        return
    constant = max(constants, key=lambda t: t.size)
    if node.op == "Add" and merge_bias(importer, tensor, constant):
        importer.alias(tensor, out)
        return
    if math.prod(importer.share(out)) != math.prod(tensor.held):  # the constant stretches the tensor
        stretched = dataclasses.replace(tensor, shape=out.shape, batch=out.batch, held=importer.share(out))
        stretched.layer = importer.emit(f"{node.name}_expand", "data_movement", [importer.read(tensor)],
                                        stretched.held, operator="Expand")
        tensor = stretched
    affine(importer, node, tensor, constant, "factors" if product else "summands")


def merge_bias(importer: Importer, tensor: Tensor, constant: Tensor) -> bool:
    """A vector added to a matrix product that nobody else reads is the bias of that layer."""
    layer = importer.by_name.get(tensor.layer or "")
    if (layer is None or layer["kind"] != "fc" or layer.get("bias", True) or importer.readers[tensor.name] != 1
            or tensor.name in importer.results or len(layer["_weights"]) != 1):
        return False
    features = layer["output"][-1]
    if constant.size != features or constant.shape[-1] != features or not constant.is_weight:
        return False
    del layer["bias"]
    layer["_weights"].append(constant)
    return True


@handles("Concat")
def concat(importer: Importer, node: Node) -> None:
    out = node.out
    axis = node.get("axis", 1) % len(out.shape)
    tensors = [t for t in node.ins if t is not None]
    constants = [t for t in tensors if t.const]
    if constants or axis == out.batch or len(out.shape) > MOST_DIMENSIONS + 1:
        weights = [t for t in constants if t.is_weight]
        importer.move(node, weights=weights)
        return
    if len(tensors) == 1:
        importer.alias(tensors[0], out)
        return
    shapes = [importer.aligned(t, out) for t in tensors]
    share = importer.share(out)
    if any(math.prod(s) != math.prod(t.held) for s, t in zip(shapes, tensors)):
        importer.move(node)
        return
    alone = out.batch is not None and len(share) < len(out.shape)
    axis -= 1 if alone and out.batch < axis else 0
    if all(t.held == image(s) != s for t, s in zip(tensors, shapes) if len(s) == 2):  # kept as images of one row
        if axis == 0 and len(share) == 2:
            shapes, share = [t.held for t in tensors], image(share)
    importer.give(node, out, "concat", [importer.read(t, s) for t, s in zip(tensors, shapes)], share,
                  **({"axis": axis} if axis else {}))


@handles("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(importer: Importer, node: Node) -> None:
    source, out = node.ins[0], node.out
    share = importer.share(out)
    if math.prod(share) != math.prod(source.held):
        importer.move(node, note=True)
    elif share == source.held:
        importer.alias(source, out)
    else:
        kind = "flatten" if len(share) == 1 else "reshape"
        importer.give(node, out, kind, [importer.read(source)], share)


@handles("Transpose")
def transpose(importer: Importer, node: Node) -> None:
    source, out = node.ins[0], node.out
    rank = len(source.shape)
    permutation = list(node.get("perm", range(rank - 1, -1, -1)))
    alone = source.batch is not None and source.shape[source.batch] == importer.batch
    order = [a for a in permutation if not (alone and a == source.batch) and source.shape[a] != 1]
    if order == sorted(order):  # only the batch and ones move
        importer.alias(source, out)
    else:
        importer.give(node, out, "data_movement", [importer.read(source, importer.share(source))],
                      importer.share(out), operator="Transpose")


@handles("Expand", "Tile")
def expand(importer: Importer, node: Node) -> None:
    if math.prod(importer.share(node.out)) == math.prod(node.ins[0].held):
        importer.alias(node.ins[0], node.out)
    else:
        importer.move(node)


@handles("Slice")
def slice_(importer: Importer, node: Node) -> None:
    source, out = node.ins[0], node.out
    rank = len(source.shape)
    if all(node.known(i) for i in (1, 2, 3, 4)):
        starts, axes = node.values(1, "starts"), node.values(3, "axes")
        steps = node.values(4, "steps")
        start, step = [0] * rank, [1] * rank
        for i, first in enumerate(starts or []):
            axis = axes[i] % rank if axes else i
            size = source.shape[axis]
            start[axis] = min(max(first + size if first < 0 else first, 0), size)
            step[axis] = steps[i] if steps else 1
        if cut(importer, node, source, out, start, step):
            return
    importer.move(node)


@handles("Split")
def split(importer: Importer, node: Node) -> None:
    source = node.ins[0]
    axis = node.get("axis", 0) % len(source.shape)
    sizes = node.values(1, "split")
    if not node.known(1):
        importer.move(node)
        return
    if sizes is None:
        count = len(node.outs)
        part = -(-source.shape[axis] // count)
        sizes = [min(part, source.shape[axis] - i * part) for i in range(count)]
    at = 0
    for out, size in zip(node.outs, sizes):
        start = [at if i == axis else 0 for i in range(len(source.shape))]
        at += size
        if out is not None and not cut(importer, node, source, out, start, [1] * len(start)):
            importer.give(node, out, "data_movement", [importer.read(source)], importer.share(out), operator="Split")


def cut(importer: Importer, node: Node, source: Tensor, out: Tensor, start: list[int], step: list[int]) -> bool:
    """A slice layer; False where a slice cannot say it. start, step: one number per dimension of `source`."""
    if out.shape == source.shape and min(step) > 0:
        importer.alias(source, out)
        return True
    axis = source.batch
    whole = axis is None or (out.shape[axis] == source.shape[axis] and step[axis] == 1)
    if min(step) < 1 or not whole or len(source.shape) > MOST_DIMENSIONS:
        return False
    if axis is not None and source.shape[axis] == importer.batch:
        del start[axis], step[axis]
    read, share = importer.share(source), importer.share(out)
    if len(read) != len(start) or len(share) != len(read):
        return False
    attributes: dict[str, Any] = {}
    if any(start):
        attributes["start"] = start
    if any(s != 1 for s in step):
        attributes["step"] = step
    importer.give(node, out, "slice", [importer.read(source, read)], share, **attributes)
    return True


@handles("Resize", "Upsample")
def resize(importer: Importer, node: Node) -> None:
    source, out = node.ins[0], node.out
    if source.shape == out.shape:
        importer.alias(source, out)
        return
    mode = node.get("mode", "nearest")
    if len(source.shape) in (3, 4) and mode in ("nearest", "linear", "bilinear") and source.batch == 0:
        before, after = image(source.shape[1:]), image(out.shape[1:])
        if before[0] == after[0] and all(b % a == 0 for a, b in zip(before[1:], after[1:])):
            importer.give(node, out, "upsample", [importer.read(source, before)], after,
                          scale=[after[1] // before[1], after[2] // before[2]],
                          mode="nearest" if mode == "nearest" else "linear")
            return
    importer.move(node)


@handles("Gather")
def gather(importer: Importer, node: Node) -> None:
    table, indices = node.ins[0], node.ins[1]
    if node.get("axis", 0) != 0 or len(table.shape) != 2 or not table.is_weight:
        weights = [table] if table.is_weight else []
        importer.move(node, weights=weights)
        return
    tokens = math.prod(importer.share(indices))
    importer.give(node, node.out, "embedding", [importer.read(indices, (tokens,))], (tokens, table.shape[1]),
                  holds=[table], vocabulary=table.shape[0])


@handles("RNN", "GRU", "LSTM")
def recurrent(importer: Importer, node: Node) -> None:
    x, w, r, b = node.ins[0], node.ins[1], node.ins[2], node.input(3)
    if not (w.const and r.const) or (b is not None and not b.const):
        importer.move(node, note=True)
        return
    directions, hidden = w.shape[0], r.shape[-1]
    features = x.shape[-1]
    steps = math.prod(importer.share(x)) // features
    inputs = [importer.read(x, (steps, features))]
    states = [t for t in node.ins[4:] if t is not None and not t.const]
    if states:  # read with the first step
        inputs = [importer.emit(f"{node.name}_state", "data_movement", inputs + [importer.read(t) for t in states],
                                (steps, features), operator="InitialState")]
    kind = node.op.lower()
    attributes: dict[str, Any] = {"hidden": hidden}
    if directions > 1:
        attributes["directions"] = directions
    if b is None:
        attributes["bias"] = False
    peepholes = node.input(7)
    layer = importer.emit(node.name, kind, inputs, (steps, directions * hidden), holds=[w, r, b], **attributes)
    if peepholes is not None:
        importer.notes.append(f'node "{node.name}" (LSTM): {peepholes.size} peephole weights are left out')
    sequence, last, cell = (node.outs + [None] * 3)[:3]
    if sequence is not None:
        sequence.layer, sequence.held = layer, (steps, directions * hidden)
    if last is not None:
        last.layer = importer.emit(f"{node.name}_last", "slice", [layer], (1, directions * hidden),
                                   **({"start": [steps - 1, 0]} if steps > 1 else {}))
        last.held = (1, directions * hidden)
    if cell is not None:
        importer.give(node, cell, "data_movement", [layer], importer.share(cell), operator="CellState")


@handles("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
         "ReduceLogSum", "ReduceLogSumExp")
def reduce(importer: Importer, node: Node) -> None:
    source, out = node.ins[0], node.out
    if source.size == out.size and math.prod(importer.share(out)) == math.prod(source.held):
        importer.alias(source, out)  # over no axes, or over ones
        return
    output = importer.share(out)
    if out.batch is None and source.batch is not None and len(out.shape) == len(source.shape):
        # Over the batch too, which is one here; its place goes, as it does from the source's share.
        output = fit(out.shape[:source.batch] + out.shape[source.batch + 1:])
    importer.give(node, out, "reduce", [importer.read(source, importer.share(source))], output)


@handles("Cast", "CastLike")
def cast(importer: Importer, node: Node) -> None:
    if node.ins[0].dtype == node.out.dtype:
        importer.alias(node.ins[0], node.out)
    else:
        keep_layout(importer, node)


@handles("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
def keep_layout(importer: Importer, node: Node) -> None:
    source = node.ins[0]
    if source.const or node.outs[0] is None:
        importer.move(node)
    else:
        importer.give(node, node.outs[0], "data_movement", [importer.read(source)], source.held, operator=node.op)


@handles("Attention")
def attention(importer: Importer, node: Node) -> None:
    """Opset 23; heads are a dimension of a tensor of four, an attribute otherwise."""
    queries, keys, values = node.ins[:3]
    heads, key_heads = node.get("q_num_heads"), node.get("kv_num_heads")
    if len(queries.shape) == 4:
        heads, key_heads = queries.shape[1], keys.shape[1]
    simple = not any(t.const for t in (queries, keys, values)) and node.input(4) is None and heads
    if not simple or keys.shape != values.shape or node.outs[0] is None:
        importer.move(node, note=True)
        return

    def tokens(tensor: Tensor) -> Shape:
        elements, count = math.prod(importer.share(tensor)), tensor.shape[-2]
        return (count, elements // count)

    key_heads = key_heads or heads
    importer.give(node, node.outs[0], "attention",
                  [importer.read(queries, tokens(queries)), importer.read(keys, tokens(keys)),
                   importer.read(values, tokens(values))], tokens(queries), heads=heads,
                  **({"key_value_heads": key_heads} if key_heads != heads else {}))


# ---- constants ----

if onnx is not None:
    ONNX_TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16,
                  "int64": TensorProto.INT64, "int32": TensorProto.INT32, "int16": TensorProto.INT16,
                  "int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16,
                  "uint32": TensorProto.UINT32, "uint64": TensorProto.UINT64, "bool": TensorProto.BOOL}
    NUMPY_TYPES = {number: name for name, number in ONNX_TYPES.items()}
    PRECISIONS = {TensorProto.FLOAT: "fp32", TensorProto.DOUBLE: "fp64", TensorProto.FLOAT16: "fp16",
                  TensorProto.BFLOAT16: "bf16", TensorProto.INT8: "int8", TensorProto.UINT8: "int8",
                  TensorProto.INT16: "int16", TensorProto.UINT16: "int16"}
    for number_of_type, name_of_type in TensorProto.DataType.items():  # types that newer versions know
        if number_of_type.startswith("FLOAT8"):
            PRECISIONS[name_of_type] = "int8"
        elif number_of_type in ("INT4", "UINT4"):
            PRECISIONS[name_of_type] = "int4"
    WEIGHT_TYPES = set(PRECISIONS)


def evaluate(node: Node, outputs: int) -> Optional[list]:
    """The outputs of an operator on small constants; None for operators that are not needed for shapes."""
    a = [None if t is None else t.array for t in node.ins]
    op, get = node.op, node.get

    def small(count) -> bool:
        return count <= LARGEST_FOLDED

    binary = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Equal": np.equal, "Less": np.less,
              "Greater": np.greater, "LessOrEqual": np.less_equal, "GreaterOrEqual": np.greater_equal,
              "And": np.logical_and, "Or": np.logical_or, "Max": np.maximum, "Min": np.minimum}
    unary = {"Neg": np.negative, "Not": np.logical_not, "Floor": np.floor, "Ceil": np.ceil, "Sqrt": np.sqrt,
             "Abs": np.abs, "Round": np.round}
    reductions = {"ReduceProd": np.prod, "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min}
    try:
        with np.errstate(all="ignore"):
            if op == "ConstantOfShape":
                shape = [int(d) for d in a[0].ravel()]
                value = numpy_helper.to_array(get("value")).ravel()[0] if get("value") else np.float32(0)
                return [np.full(shape, value)] if small(math.prod(shape)) else None
            if op in binary and len(a) == 2:
                shape = broadcast(a[0].shape or (1,), a[1].shape or (1,))
                return [binary[op](*a)] if shape and small(math.prod(shape)) else None
            if op == "Div":
                if np.issubdtype(a[0].dtype, np.integer):
                    return [np.trunc(a[0] / a[1]).astype(a[0].dtype)]
                return [np.divide(*a)]
            if op == "Pow":
                return [np.power(*a).astype(a[0].dtype)]
            if op == "Mod":
                return [np.fmod(*a) if get("fmod") else np.mod(*a)]
            if op in unary:
                return [unary[op](a[0])]
            if op in reductions:
                axes = node.values(1, "axes")
                return [reductions[op](a[0], axis=tuple(axes) if axes else None, keepdims=bool(get("keepdims", 1)))]
            if op == "Cast":
                name = NUMPY_TYPES.get(get("to"))
                return [a[0].astype(name)] if name else None
            if op == "Gather":
                return [np.take(a[0], a[1].astype(np.int64), axis=get("axis", 0))]
            if op == "Concat":
                return [np.concatenate(a, axis=get("axis", 1))]
            if op == "Reshape":
                target = [int(d) for d in node.values(1, "shape")]
                if not get("allowzero"):
                    target = [a[0].shape[i] if d == 0 else d for i, d in enumerate(target)]
                return [a[0].reshape(target)]
            if op == "Unsqueeze":
                axes = node.values(1, "axes")
                rank = a[0].ndim + len(axes)
                added = {axis % rank for axis in axes}
                sizes = iter(a[0].shape)
                return [a[0].reshape([1 if i in added else next(sizes) for i in range(rank)])]
            if op == "Squeeze":
                axes = node.values(1, "axes")
                return [np.squeeze(a[0], axis=tuple(axes) if axes else None)]
            if op == "Transpose":
                return [np.transpose(a[0], get("perm"))]
            if op == "Slice":
                starts, ends = node.values(1, "starts"), node.values(2, "ends")
                axes, steps = node.values(3, "axes"), node.values(4, "steps")
                index = [slice(None)] * a[0].ndim
                for i, (start, end) in enumerate(zip(starts, ends)):
                    step = steps[i] if steps else 1
                    # With a negative step, an end before the first element has no Python spelling but None.
                    at = axes[i] if axes else i
                    last = None if step < 0 and end < -a[0].shape[at] else end
                    index[at] = slice(start, last, step)
                return [a[0][tuple(index)]]
            if op == "Range":
                count = max(0, math.ceil((a[1].item() - a[0].item()) / a[2].item()))
                return [(a[0] + np.arange(count) * a[2]).astype(a[0].dtype)] if small(count) else None
            if op == "Expand":
                shape = broadcast(a[0].shape or (1,), [int(d) for d in a[1].ravel()] or (1,))
                return [np.broadcast_to(a[0], shape)] if shape and small(math.prod(shape)) else None
            if op == "Tile":
                repeats = [int(d) for d in a[1].ravel()]
                return [np.tile(a[0], repeats)] if small(a[0].size * math.prod(repeats)) else None
            if op == "Where":
                return [np.where(*a)]
            if op == "NonZero":
                return [np.array(np.nonzero(a[0]), np.int64)]
            if op == "Split":
                sizes = node.values(1, "split")
                at = np.cumsum(sizes)[:-1] if sizes else outputs
                return np.split(a[0], at, axis=get("axis", 0))
    except Exception:  # a broken constant: shape inference has the better message
        return None
    return None


# ---- small helpers ----


def attributes_of(proto) -> dict[str, Any]:
    """Attributes by name, strings decoded."""
    found = {}
    for attribute in proto.attribute:
        try:
            value = helper.get_attribute_value(attribute)
        except ValueError:
            continue
        if value is None:
            continue
        found[attribute.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return found


def subgraphs(proto) -> list:
    return [g for a in proto.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]


def free_names(proto) -> set[str]:
    """Tensors of the surrounding graph that a node's subgraphs read."""
    names: set[str] = set()
    for graph in subgraphs(proto):
        own = {i.name for i in graph.input} | {i.name for i in graph.initializer}
        used: set[str] = {o.name for o in graph.output}
        for node in graph.node:
            used.update(node.input)
            used |= free_names(node)
            own.update(node.output)
        names |= used - own
    names.discard("")
    return names


def known_dims(kind, symbols: Optional[dict[str, int]] = None) -> tuple[Optional[list], int]:
    """Dimensions, None where unknown, and element type of a TypeProto."""
    if kind is None or not kind.HasField("tensor_type"):
        return None, 0
    tensor = kind.tensor_type
    if not tensor.HasField("shape"):
        return None, tensor.elem_type
    dims = [d.dim_value if d.HasField("dim_value") else (symbols or {}).get(d.dim_param) for d in tensor.shape.dim]
    return dims, tensor.elem_type


def clean(name: str) -> str:
    """A name that a layer graph can hold: not empty, no control characters."""
    return re.sub(r"[\x00-\x1f\x7f]", "_", name) or "unnamed"


def check_text(graph) -> None:
    """Names must be UTF-8; some versions of protobuf hand out bytes where they are not, others raise."""
    names = [i.name for i in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]]
    for value in [*graph.input, *graph.output, *graph.value_info]:
        names += [d.dim_param for d in value.type.tensor_type.shape.dim]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute)]
    if not all(isinstance(name, str) for name in names):
        raise UnicodeError
    for node in graph.node:
        for subgraph in subgraphs(node):
            check_text(subgraph)


def one_line(error: object) -> str:
    words = " ".join(str(error).split())
    return words if len(words) <= 300 else words[:297] + "..."


# ---- files ----


def load_model(path: pathlib.Path):
    """The ModelProto, without external data."""
    try:
        status = path.stat()
    except OSError as error:
        raise OnnxError(os.strerror(error.errno or 0).lower()) from None
    if stat.S_ISDIR(status.st_mode):
        raise OnnxError("is a folder, not an ONNX file")
    if not stat.S_ISREG(status.st_mode):
        raise OnnxError("is no regular file")
    if status.st_size == 0:
        raise OnnxError("is empty")
    if status.st_size >= LARGEST_FILE:
        raise OnnxError("is larger than 2 GiB, the limit of protobuf; export it with external data")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OnnxError(os.strerror(error.errno or 0).lower()) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = onnx.load_model_from_string(data)
    except Exception as error:  # the class depends on protobuf's version
        raise OnnxError(f"is no ONNX file, or is cut off ({one_line(error)})") from None
    if not model.HasField("graph") or not model.opset_import:
        raise OnnxError("is no ONNX file (no graph or no operator set)")
    try:
        check_text(model.graph)
        for text_field in (model.producer_name, model.producer_version, *(o.domain for o in model.opset_import)):
            text_field.encode()
    except (UnicodeError, AttributeError):
        raise OnnxError("holds a name that is not UTF-8") from None
    if len(model.functions):
        try:
            from onnx import inliner
            model = inliner.inline_local_functions(model)
        except ImportError:
            raise OnnxError("defines functions of its own, which needs onnx 1.15 or newer (pip install onnx)") from None
    return model


def import_onnx(path, name: Optional[str] = None, batch: Optional[int] = None,
                input_shapes: Optional[dict[str, Sequence[int]]] = None, precision: Optional[str] = None) -> dict:
    """Returns the layer graph of an ONNX file, for one input, as the dict that its JSON file holds.

    name: default the file's name. batch: size of the batch dimension (default the file's; 1 where it is symbolic),
    0 where there is no such dimension. input_shapes: per input all dimensions, batch included. precision: default
    that of most weights. Costs are left out; the loader computes them. Raises OnnxError; notes go to stderr.
    """
    if onnx is None:
        raise ImportError(f"{NEEDS_ONNX} ({one_line(onnx_problem)})")
    path = pathlib.Path(path)
    model = load_model(path)
    importer = Importer(model, batch, {n: tuple(s) for n, s in (input_shapes or {}).items()})
    shape, layers = importer.finish()
    if precision is None:
        precision = common_precision(layers)

    moved: collections.Counter[str] = collections.Counter()
    holders: dict[str, set[str]] = collections.defaultdict(set)
    sizes: dict[str, int] = {}
    for layer in layers:
        moved.update(layer.pop("_operators", []))
        for weight in layer.pop("_weights", []):
            if weight.root:
                holders[weight.root].add(layer["name"])
                sizes[weight.root] = weight.size
    shared = [f"{root} ({sizes[root]})" for root, names in holders.items() if len(names) > 1 and sizes[root] > 1]
    notes = list(dict.fromkeys(importer.notes))
    if moved:
        notes.append("counted as data movement: " + ", ".join(f"{op} ({n})" for op, n in sorted(moved.items())))
    if shared:
        notes.append("weights of several layers, counted in each: " + ", ".join(shared[:5])
                     + (f" and {len(shared) - 5} more" if len(shared) > 5 else ""))
    for note in notes:
        print(f"cdisim: note: {note}", file=sys.stderr)

    producer = " ".join(p for p in (model.producer_name, model.producer_version) if p) or "unknown"
    return {"schema": 1, "name": clean(name or path.stem),
            "source": clean(f"imported from {path.name} (producer {producer}, opset {importer.opsets['']})"),
            "precision": precision, "input": {"shape": list(shape)}, "layers": layers}


def common_precision(layers: list[dict[str, Any]]) -> str:
    """That of most weights; fp32 where there are none."""
    counts: collections.Counter[str] = collections.Counter()
    for layer in layers:
        for weight in layer.get("_weights", []):
            if weight.stored in PRECISIONS:
                counts[PRECISIONS[weight.stored]] += weight.size
    return counts.most_common(1)[0][0] if counts else "fp32"


def graph_text(graph: dict) -> str:
    """The JSON, one layer per line."""
    head = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in graph.items() if key != "layers"]
    layers = ",\n".join("    " + json.dumps(layer) for layer in graph["layers"])
    return "{\n" + ",\n".join(head) + ',\n  "layers": [\n' + layers + "\n  ]\n}\n"


def write_whole(path: pathlib.Path, content: str) -> None:
    """Writes a file as a whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def parse_input_shapes(texts: Sequence[str]) -> dict[str, Shape]:
    shapes = {}
    for item in texts:
        name, _, sizes = item.rpartition("=")
        if not name or not re.fullmatch(r"[1-9]\d{0,6}(,[1-9]\d{0,6})*", sizes):
            raise OnnxError(f'--input-shape "{item}": write NAME=1,3,224,224')
        shapes[name] = tuple(int(d) for d in sizes.split(","))
    return shapes


def use_system_python() -> None:
    """Runs this file under Debian's interpreter, where python3-onnx is installed; returns if that is no use."""
    system = "/usr/bin/python3"
    tried = os.environ.get(REEXECUTED) or os.path.realpath(sys.executable) == os.path.realpath(system)
    if not tried and os.access(system, os.X_OK):
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONHOME"}
        environment[REEXECUTED] = "1"
        os.execve(system, [system, os.path.abspath(__file__), *sys.argv[1:]], environment)


class OneLineParser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str):
        self.exit(2, f"cdisim: error: {self.prog}: {one_line(message)}\n")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The command; returns the exit code: 0, 1 (a mistake in here), 2 (a mistake in the file or arguments)."""
    parser = OneLineParser(prog="cdisim.onnx_import", description="ONNX file to layer graph JSON.")
    parser.add_argument("model")
    parser.add_argument("-o", "--out", help="file to write; default: standard output")
    parser.add_argument("--name", help="of the layer graph; default: the file's name")
    parser.add_argument("--batch", type=int, help="size of the batch dimension; 0: there is none")
    parser.add_argument("--input-shape", action="append", default=[], metavar="NAME=1,3,224,224")
    parser.add_argument("--precision", choices=["fp64", "fp32", "fp16", "bf16", "int16", "int8", "int4"])
    options = parser.parse_args(arguments)
    place = options.model
    try:
        if onnx is None:
            use_system_python()
            print(f"cdisim: error: {NEEDS_ONNX}", file=sys.stderr)
            return 2
        if options.batch is not None and not 0 <= options.batch <= LARGEST_DIMENSION:
            raise OnnxError(f"--batch {options.batch}: must be 0 to {LARGEST_DIMENSION}")
        graph = import_onnx(options.model, options.name, options.batch, parse_input_shapes(options.input_shape),
                            options.precision)
        content = graph_text(graph)
        if len(content) > LARGEST_JSON:
            raise OnnxError(f"gives {len(content) >> 20} MiB of JSON; at most {LARGEST_JSON >> 20} are read")
        if options.out:
            place = options.out
            write_whole(pathlib.Path(options.out), content)
        else:
            sys.stdout.write(content)
            sys.stdout.flush()
        return 0
    except OnnxError as error:
        print(f"cdisim: error: {place}: {one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cdisim: error: {place}: cannot be written: {os.strerror(error.errno or 0).lower()}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except (MemoryError, RecursionError) as error:
        print(f"cdisim: error: {place}: too large to import ({type(error).__name__})", file=sys.stderr)
        return 2
    except Exception as error:
        print(f"cdisim: error: {place}: import failed: {type(error).__name__}: {one_line(error)}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
