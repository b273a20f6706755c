"""Layer graphs made in Python, saved to the files that the program reads."""

import json
import pathlib
from typing import Any, Optional, Sequence, Union

from cdisim import files

Names = Union[str, Sequence[str]]
Pair = Union[int, Sequence[int]]


class LayerGraphBuilder:
    """A layer graph file in the making.

        graph = cdisim.LayerGraphBuilder("tiny", source="assumed", input=[3, 32, 32])
        graph.add_conv("conv_1", kernel=5, padding=2, output=[32, 32, 32])
        graph.add_max_pool("pool_1", kernel=3, stride=2, ceil=True)
        graph.add_fc("fc_1", output=[10])
        graph.save("tiny.json")

    Each kind of layer has a method with the keys of sim/layer_graph.h; it returns the layer's name. A layer reads
    the one added before it, the first one "input", unless `inputs` names others. Only outputs that the file must state
    are arguments; the program computes all other shapes and the costs, and checks what further keys state of them
    (output, macs, work_flop, weight_bytes, output_bytes, state_bytes, output_bits). A number for kernel, stride,
    dilation or padding counts for all directions.
    """

    def __init__(self, name: str, *, source: str, input: Sequence[int], precision: str = "fp32"):
        """input: shape without the batch. precision: "fp64", "fp32", "fp16", "bf16", "int16", "int8" or "int4"."""
        self.document: dict[str, Any] = {"schema": 1, "name": name, "source": source, "precision": precision,
                                         "input": {"shape": list(input)}, "layers": []}

    def __repr__(self) -> str:
        return f"<cdisim.LayerGraphBuilder {self.name}: {len(self.document['layers'])} layers>"

    @property
    def name(self) -> str:
        return self.document["name"]

    # ---- files ----

    @classmethod
    def load(cls, name: files.Path) -> "LayerGraphBuilder":
        """That of a file, or of a bundled model. Raises InputError where there is none."""
        return cls.from_json(files.read_json(files.find("model", name)))

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "LayerGraphBuilder":
        """That of a dict of the same form as a file, or of cdisim.LayerGraph.to_json()."""
        graph = cls.__new__(cls)
        graph.document = document
        return graph

    @classmethod
    def from_onnx(cls, path: files.Path, **options: Any) -> "LayerGraphBuilder":
        """That of an ONNX file; options as of cdisim.onnx_import.import_onnx(). Needs the package onnx."""
        from cdisim.onnx_import import import_onnx

        return cls.from_json(import_onnx(path, **options))

    def to_json(self) -> dict[str, Any]:
        return self.document

    def text(self) -> str:
        """The file's text, one layer per line."""
        return "{\n" + ",\n".join(f"  {json.dumps(key)}: {_member(value)}"
                                  for key, value in self.document.items()) + "\n}\n"

    def save(self, path: files.Path) -> None:
        pathlib.Path(path).write_text(self.text(), encoding="utf-8")

    def check(self) -> None:
        """Raises InputError with what the program says where the graph is wrong."""
        files.check_text(self.text(), f"{self.name}.json")

    def build(self):
        """The cdisim.LayerGraph, as policies see it. Raises InputError where the graph is wrong."""
        from cdisim import _core

        return _core.LayerGraph.parse(self.document, f"{self.name}.json")

    def plot(self, **options: Any):
        """See cdisim.plot.plot_graph()."""
        from cdisim import plot

        return plot.plot_graph(self, **options)

    # ---- layers ----

    def add(self, kind: str, name: str, inputs: Optional[Names] = None, **keys: Any) -> str:
        """Adds a layer of any kind with its keys as they stand in the file; those that are None are left out."""
        layers = self.document["layers"]
        if inputs is None:
            inputs = layers[-1]["name"] if layers else "input"
        layer = {"name": name, "kind": kind, "inputs": [inputs] if isinstance(inputs, str) else list(inputs)}
        layer.update({key: _plain(value) for key, value in keys.items() if value is not None})
        layers.append(layer)
        return name

    def _convolution(self, kind, name, inputs, kernel, output, stride, padding, dilation, bias, keys) -> str:
        return self.add(kind, name, inputs, kernel=_all(kernel, 2), stride=_all(stride, 2), padding=_all(padding, 4),
                        dilation=_all(dilation, 2), bias=bias, output=output, **keys)

    def add_conv(self, name: str, inputs: Optional[Names] = None, *, kernel: Pair, output: Sequence[int],
                 stride: Optional[Pair] = None, padding: Optional[Pair] = None, dilation: Optional[Pair] = None,
                 groups: Optional[int] = None, bias: Optional[bool] = None, **keys: Any) -> str:
        """output: [channels, height, width]. padding: top, left, bottom, right."""
        return self._convolution("conv", name, inputs, kernel, output, stride, padding, dilation, bias,
                                 {"groups": groups, **keys})

    def add_depthwise_conv(self, name: str, inputs: Optional[Names] = None, *, kernel: Pair, output: Sequence[int],
                           stride: Optional[Pair] = None, padding: Optional[Pair] = None,
                           dilation: Optional[Pair] = None, bias: Optional[bool] = None, **keys: Any) -> str:
        return self._convolution("depthwise_conv", name, inputs, kernel, output, stride, padding, dilation, bias, keys)

    def add_conv_transpose(self, name: str, inputs: Optional[Names] = None, *, kernel: Pair, output: Sequence[int],
                           stride: Optional[Pair] = None, padding: Optional[Pair] = None,
                           dilation: Optional[Pair] = None, output_padding: Optional[Pair] = None,
                           groups: Optional[int] = None, bias: Optional[bool] = None, **keys: Any) -> str:
        return self._convolution("conv_transpose", name, inputs, kernel, output, stride, padding, dilation, bias,
                                 {"output_padding": _all(output_padding, 2), "groups": groups, **keys})

    def add_fc(self, name: str, inputs: Optional[Names] = None, *, output: Sequence[int],
               bias: Optional[bool] = None, **keys: Any) -> str:
        return self.add("fc", name, inputs, bias=bias, output=output, **keys)

    def add_matmul(self, name: str, inputs: Names, **keys: Any) -> str:
        """inputs: two, [.., m, k] by [.., k, n]."""
        return self.add("matmul", name, inputs, **keys)

    def add_attention(self, name: str, inputs: Names, *, heads: int, key_value_heads: Optional[int] = None,
                      cached_tokens: Optional[int] = None, **keys: Any) -> str:
        """inputs: queries, keys and values."""
        return self.add("attention", name, inputs, heads=heads, key_value_heads=key_value_heads,
                        cached_tokens=cached_tokens, **keys)

    def add_embedding(self, name: str, inputs: Optional[Names] = None, *, vocabulary: int, output: Sequence[int],
                      **keys: Any) -> str:
        return self.add("embedding", name, inputs, vocabulary=vocabulary, output=output, **keys)

    def _recurrent(self, kind, name, inputs, hidden, directions, bias, keys) -> str:
        return self.add(kind, name, inputs, hidden=hidden, directions=directions, bias=bias, **keys)

    def add_rnn(self, name: str, inputs: Optional[Names] = None, *, hidden: int, directions: Optional[int] = None,
                bias: Optional[bool] = None, **keys: Any) -> str:
        return self._recurrent("rnn", name, inputs, hidden, directions, bias, keys)

    def add_gru(self, name: str, inputs: Optional[Names] = None, *, hidden: int, directions: Optional[int] = None,
                bias: Optional[bool] = None, **keys: Any) -> str:
        return self._recurrent("gru", name, inputs, hidden, directions, bias, keys)

    def add_lstm(self, name: str, inputs: Optional[Names] = None, *, hidden: int, directions: Optional[int] = None,
                 bias: Optional[bool] = None, **keys: Any) -> str:
        return self._recurrent("lstm", name, inputs, hidden, directions, bias, keys)

    def _pool(self, kind, name, inputs, kernel, stride, padding, ceil, keys) -> str:
        return self.add(kind, name, inputs, kernel=_all(kernel, 2), stride=_all(stride, 2), padding=_all(padding, 4),
                        ceil=ceil, **keys)

    def add_max_pool(self, name: str, inputs: Optional[Names] = None, *, kernel: Pair, stride: Optional[Pair] = None,
                     padding: Optional[Pair] = None, ceil: Optional[bool] = None, **keys: Any) -> str:
        """ceil: the last, partly covered window counts too."""
        return self._pool("max_pool", name, inputs, kernel, stride, padding, ceil, keys)

    def add_avg_pool(self, name: str, inputs: Optional[Names] = None, *, kernel: Pair, stride: Optional[Pair] = None,
                     padding: Optional[Pair] = None, ceil: Optional[bool] = None, **keys: Any) -> str:
        return self._pool("avg_pool", name, inputs, kernel, stride, padding, ceil, keys)

    def add_reduce(self, name: str, inputs: Optional[Names] = None, *, output: Sequence[int], **keys: Any) -> str:
        return self.add("reduce", name, inputs, output=output, **keys)

    def add_relu(self, name: str, inputs: Optional[Names] = None, **keys: Any) -> str:
        return self.add("relu", name, inputs, **keys)

    def add_elementwise(self, name: str, inputs: Optional[Names] = None, *, function: str,
                        flop_per_element: Optional[float] = None, absent: Optional[str] = None, **keys: Any) -> str:
        """function: a name. absent: "refuse", "skip" or "switch", as of all joins."""
        return self.add("elementwise", name, inputs, function=function, flop_per_element=flop_per_element,
                        absent=absent, **keys)

    def add_lrn(self, name: str, inputs: Optional[Names] = None, *, local_size: int, **keys: Any) -> str:
        return self.add("lrn", name, inputs, local_size=local_size, **keys)

    def add_batch_norm(self, name: str, inputs: Optional[Names] = None, *, affine: Optional[bool] = None,
                       statistics: Optional[bool] = None, scale_factor: Optional[bool] = None, **keys: Any) -> str:
        return self.add("batch_norm", name, inputs, affine=affine, statistics=statistics, scale_factor=scale_factor,
                        **keys)

    def add_affine(self, name: str, inputs: Optional[Names] = None, *, factors: Optional[int] = None,
                   summands: Optional[int] = None, **keys: Any) -> str:
        """factors, summands: how many of each are learned; default: the channels."""
        return self.add("affine", name, inputs, factors=factors, summands=summands, **keys)

    def add_layer_norm(self, name: str, inputs: Optional[Names] = None, *, bias: Optional[bool] = None,
                       **keys: Any) -> str:
        return self.add("layer_norm", name, inputs, bias=bias, **keys)

    def add_dropout(self, name: str, inputs: Optional[Names] = None, **keys: Any) -> str:
        return self.add("dropout", name, inputs, **keys)

    def add_softmax(self, name: str, inputs: Optional[Names] = None, **keys: Any) -> str:
        return self.add("softmax", name, inputs, **keys)

    def add_add(self, name: str, inputs: Names, *, absent: Optional[str] = None, **keys: Any) -> str:
        return self.add("add", name, inputs, absent=absent, **keys)

    def add_mul(self, name: str, inputs: Names, *, absent: Optional[str] = None, **keys: Any) -> str:
        return self.add("mul", name, inputs, absent=absent, **keys)

    def add_concat(self, name: str, inputs: Names, *, axis: Optional[int] = None, absent: Optional[str] = None,
                   **keys: Any) -> str:
        return self.add("concat", name, inputs, axis=axis, absent=absent, **keys)

    def add_flatten(self, name: str, inputs: Optional[Names] = None, **keys: Any) -> str:
        return self.add("flatten", name, inputs, **keys)

    def add_reshape(self, name: str, inputs: Optional[Names] = None, *, output: Sequence[int], **keys: Any) -> str:
        return self.add("reshape", name, inputs, output=output, **keys)

    def add_slice(self, name: str, inputs: Optional[Names] = None, *, output: Sequence[int],
                  start: Optional[Sequence[int]] = None, step: Optional[Sequence[int]] = None, **keys: Any) -> str:
        """start, step: one number per dimension."""
        return self.add("slice", name, inputs, start=start, step=step, output=output, **keys)

    def add_upsample(self, name: str, inputs: Optional[Names] = None, *, scale: Pair, mode: Optional[str] = None,
                     **keys: Any) -> str:
        """mode: "nearest" or "linear"."""
        return self.add("upsample", name, inputs, scale=_all(scale, 2), mode=mode, **keys)

    def add_data_movement(self, name: str, inputs: Optional[Names] = None, *, operator: str, output: Sequence[int],
                          weights: Optional[int] = None, **keys: Any) -> str:
        """operator: a name, of one that computes nothing or is unknown. weights: a count."""
        return self.add("data_movement", name, inputs, operator=operator, weights=weights, output=output, **keys)

    # ---- exits ----

    def add_exit(self, name: str, layer: Optional[str] = None, *, accuracy: Optional[float] = None,
                 accuracy_source: Optional[str] = None, rate: Optional[float] = None,
                 rate_source: Optional[str] = None,
                 accuracy_without: Optional[Sequence[dict[str, Any]]] = None) -> None:
        """Where inference may stop, by default behind the last layer; in order of their number of layers.

        accuracy, rate: 0 to 1, each with its source. accuracy_without: [{"absent": layers, "accuracy": 0 to 1}].
        """
        values = {"name": name, "layer": layer or self.document["layers"][-1]["name"], "accuracy": accuracy,
                  "accuracy_source": accuracy_source, "rate": rate, "rate_source": rate_source,
                  "accuracy_without": accuracy_without}
        self.document.setdefault("exits", []).append(
            {key: _plain(value) for key, value in values.items() if value is not None})

    def add_threshold(self, threshold: float, *, rates: Sequence[float], accuracies: Sequence[float],
                      source: str) -> None:
        """What the exits do at a confidence threshold, ascending: one rate and one accuracy per exit."""
        self.document.setdefault("thresholds", []).append(
            {"threshold": threshold, "rates": list(rates), "accuracies": list(accuracies), "source": source})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _all(value: Optional[Pair], n: int) -> Optional[list[int]]:
    """One number for all directions."""
    if value is None:
        return None
    return [value] * n if isinstance(value, int) else list(value)


def _member(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in value) + "\n  ]"
    return json.dumps(value, ensure_ascii=False)
