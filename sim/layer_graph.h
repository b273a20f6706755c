#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/json_reader.h"

namespace cdisim {

/// Index of a layer; layers are numbered in topological order. kInput stands for the model's input tensor.
using LayerId = int;
inline constexpr LayerId kInput = -1;

/// Spelled in JSON as the enumerator without its k, in snake case: "conv", "max_pool", ...
enum class LayerKind {
  kConv,
  kDepthwiseConv,
  kFc,
  kMaxPool,
  kAvgPool,
  kRelu,
  kLrn,
  kBatchNorm,
  kDropout,
  kSoftmax,
  kAdd,
  kConcat,
  kFlatten,
};
inline constexpr int kLayerKinds = 13;
/// The names in the enum's order: the choices for JsonReader::choice().
const std::vector<std::string>& layer_kind_names();
std::string_view layer_kind_name(LayerKind kind);

/// Channels, height, width for images; one number for vectors. Each within 1 to 10^6, their product at most
/// 10^12.
using Shape = std::vector<int>;
double shape_elements(const Shape& shape);

/// One layer. What it costs follows from its kind and shapes, in doubles and for one input (batch of 1):
///
///     kind                      macs                                          element-wise operations, flop
///     conv                      outputs * kernel area * channels in / groups  1 per output (the bias)
///     depthwise_conv            outputs * kernel area                         1 per output (the bias)
///     fc                        inputs * outputs                              1 per output (the bias)
///     max_pool, avg_pool        0                                             kernel area per output
///     relu                      0                                             1 per element
///     lrn                       0                                             2 * local_size + 3 per element
///     batch_norm                0                                             2 per element (scale, shift)
///     softmax                   0                                             3 per element
///     add                       0                                             inputs - 1 per element
///     concat, flatten, dropout  0                                             0 (no arithmetic at inference)
///
/// work_flop = 2 * macs + element-wise operations; a conv or fc without bias has none of the latter. lrn
/// squares and sums local_size neighbours (2 * local_size - 1), then scales, adds, raises to a power and
/// divides (4); softmax takes the exponential, sums and divides. Weights are the filters and one bias per
/// output channel; batch_norm has a scale and a shift per channel.
struct Layer {
  std::string name;
  LayerKind kind = LayerKind::kRelu;
  std::vector<LayerId> inputs;             ///< producers, kInput for the model's input
  Shape output_shape;                      ///< without the batch dimension
  std::array<int, 2> kernel{1, 1};         ///< height, width
  std::array<int, 2> stride{1, 1};         ///< height, width
  std::array<int, 4> padding{0, 0, 0, 0};  ///< top, left, bottom, right
  int groups = 1;
  double macs = 0;          ///< multiply-adds for one input; 1 MAC = 2 flop
  double work_flop = 0;     ///< operations for one input: 2 per MAC, plus element-wise ones
  double weight_bytes = 0;  ///< weights and biases at the graph's precision
  double output_bytes = 0;  ///< output tensor of one input at the graph's precision
};

/// Where inference may stop: the sub-graph of `layer` and all its ancestors.
struct Exit {
  std::string name;
  LayerId layer = 0;
  std::optional<double> accuracy;  ///< top-1, 0 to 1; none where nobody published it
};

/// A DNN as a DAG of layers, constant once loaded.
class LayerGraph {
 public:
  /// Reads and validates a layer graph file. Shapes, macs, work, weight and output bytes are recomputed and
  /// must agree with what the file states; the graph must be acyclic, every layer must lead to an exit.
  ///
  ///     {"schema": 1, "name": "tiny", "source": "assumed", "precision": "fp32",
  ///      "input": {"shape": [3, 32, 32]},
  ///      "layers": [
  ///        {"name": "conv_1", "kind": "conv", "inputs": ["input"], "kernel": [5, 5],
  ///         "padding": [2, 2, 2, 2], "output": [32, 32, 32]},
  ///        {"name": "pool_1", "kind": "max_pool", "inputs": ["conv_1"], "kernel": [3, 3],
  ///         "stride": [2, 2], "ceil": true},
  ///        {"name": "fc_1", "kind": "fc", "inputs": ["pool_1"], "output": [10]}],
  ///      "exits": [{"name": "exit_1", "layer": "fc_1", "accuracy": 0.78, "accuracy_source": "Fig. 9"}]}
  ///
  /// Keys by kind: conv, depthwise_conv and the pools have kernel, stride ([1, 1]) and padding (zeros: top,
  /// left, bottom, right); conv has groups (1); conv, depthwise_conv and fc have bias (true) and must state
  /// their output; pools have ceil (false): the last, partly covered window counts too, as in Caffe and
  /// Chainer, when it starts inside the tensor or its leading padding; lrn has local_size. Optional
  /// everywhere else: output, and macs, work_flop, weight_bytes, output_bytes. Layers keep the file's order
  /// where that is topological. Without "exits" the only layer that nobody reads is the one exit, "output".
  /// Exits stand in order of their number of layers.
  /// @throws InputError naming file, JSON pointer and value.
  static LayerGraph load(const std::filesystem::path& path);
  static LayerGraph parse(const Json& json, const std::string& file);

  const std::string& name() const { return name_; }
  const std::string& source() const { return source_; }
  const std::string& precision() const { return precision_; }
  double bytes_per_element() const { return bytes_per_element_; }
  const Shape& input_shape() const { return input_shape_; }
  double input_bytes() const { return shape_elements(input_shape_) * bytes_per_element_; }

  int size() const { return static_cast<int>(layers_.size()); }
  const Layer& layer(LayerId id) const { return layers_[static_cast<std::size_t>(id)]; }
  std::span<const Layer> layers() const { return layers_; }
  /// The layers that read `id`'s output, ascending, each once; `id` may be kInput.
  std::span<const LayerId> consumers(LayerId id) const;
  /// @returns -1 where no layer has that name.
  LayerId find(std::string_view name) const;

  /// Exits in order of depth; the last is the full model.
  std::span<const Exit> exits() const { return exits_; }
  /// The layers that exit `exit` (0 .. exits().size()-1) needs, ascending, which is a topological order.
  std::span<const LayerId> exit_layers(int exit) const;

  /// Elements that the layer reads (sum over its inputs) and writes, for one input.
  double input_elements(LayerId id) const;
  double output_elements(LayerId id) const { return shape_elements(layer(id).output_shape); }
  const Shape& input_shape(LayerId id) const;  ///< of the first input

  double parameters() const;    ///< weights and biases of all layers, count
  double macs() const;          ///< of the full model (last exit)
  double weight_bytes() const;  ///< of all layers

 private:
  void read_exits(const JsonReader& reader);
  void add_exit(Exit exit);  ///< and finds its layers

  std::string name_, source_, precision_;
  double bytes_per_element_ = 4;
  Shape input_shape_;
  std::vector<Layer> layers_;
  std::vector<Exit> exits_;
  std::vector<std::vector<LayerId>> exit_layers_;
  std::vector<std::vector<LayerId>> consumers_;  ///< [0] of the input, [id + 1] of layer id
};

}  // namespace cdisim
