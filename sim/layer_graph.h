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
  kConvTranspose,
  kFc,
  kMatmul,
  kAttention,
  kEmbedding,
  kRnn,
  kGru,
  kLstm,
  kMaxPool,
  kAvgPool,
  kReduce,
  kRelu,
  kElementwise,
  kLrn,
  kBatchNorm,
  kAffine,
  kLayerNorm,
  kDropout,
  kSoftmax,
  kAdd,
  kMul,
  kConcat,
  kFlatten,
  kReshape,
  kSlice,
  kUpsample,
  kDataMovement,
};
inline constexpr int kLayerKinds = 29;
/// The names in the enum's order: the choices for JsonReader::choice().
const std::vector<std::string>& layer_kind_names();
std::string_view layer_kind_name(LayerKind kind);
/// Whether layers of this kind slide windows over an image: convolutions and pools.
bool has_windows(LayerKind kind);

/// [elements], [tokens, features], [channels, height, width], or up to six dimensions; never a batch
/// dimension. Each within 1 to 10^6, their product at most 10^12.
using Shape = std::vector<int>;
double shape_elements(const Shape& shape);

/// What a layer that joins tensors does when some of them are missing, because the host that computes them
/// has failed: it cannot run ("refuse"), it joins those that are there ("skip": a missing summand is zero),
/// or it reads nothing but the first that is there ("switch": the others are sent only where that one is
/// missing).
enum class Absent { kRefuse, kSkip, kSwitch };

/// One layer. What it costs follows from its kind and shapes, in doubles and for one input (batch of 1):
///
///     kind              macs                                              element-wise operations, flop
///     conv              outputs * kernel area * channels in / groups      1 per output (the bias)
///     depthwise_conv    outputs * kernel area                             1 per output (the bias)
///     conv_transpose    inputs * kernel area * channels out / groups      1 per output (the bias)
///     fc                inputs * features out                             1 per output (the bias)
///     matmul            outputs * k, of [.., m, k] by [.., k, n]          0
///     attention         2 * tokens * attended * features                  3 * heads * tokens * attended
///     embedding         0                                                 0
///     rnn, gru, lstm    tokens * directions * gates * hidden              tokens * directions * hidden
///                         * (features + hidden), gates 1, 3, 4              * (3, 14, 17)
///     max_pool,avg_pool 0                                                 kernel area per output
///     reduce            0                                                 1 per element read
///     relu              0                                                 1 per element
///     elementwise       0                                                 flop_per_element per output
///     lrn               0                                                 2 * local_size + 3 per element
///     batch_norm        0                                                 2 per element (scale, shift)
///     affine            0                                                 1 per element for factors,
///                                                                           1 for summands
///     layer_norm        0                                                 7 per element; 4 without bias
///                                                                           (RMS norm)
///     softmax           0                                                 3 per element
///     add, mul          0                                                 inputs - 1 per output
///     upsample          0                                                 7 per output if linear, else 0
///     concat, flatten, reshape, slice, data_movement, dropout: 0          0 (no arithmetic at inference)
///
/// work_flop = 2 * macs + element-wise operations; a conv or fc without bias has none of the latter. lrn
/// squares and sums local_size neighbours (2 * local_size - 1), then scales, adds, raises to a power and
/// divides (4); softmax takes the exponential, sums and divides. A recurrent unit adds two biases and applies
/// a function to each gate (3 per gate, 1 without bias), a gru and an lstm mix state and gates in 5 more.
/// Weights are the filters and one bias per output channel; an fc reads a tensor of two dimensions token by
/// token, any other whole; recurrent layers have two biases per gate; an embedding is a table of vocabulary
/// by features; batch_norm has a scale and a shift per channel (`affine`), where a file counts them also mean
/// and variance per channel (`statistics`) and one number (`scale_factor`, Caffe); affine has as many learned
/// numbers as it states; layer_norm one factor and one summand per channel (three dimensions) or feature
/// (else).
struct Layer {
  std::string name;
  LayerKind kind = LayerKind::kRelu;
  std::vector<LayerId> inputs;             ///< producers, kInput for the model's input
  Shape output_shape;                      ///< without the batch dimension
  std::array<int, 2> kernel{1, 1};         ///< height, width
  std::array<int, 2> stride{1, 1};         ///< height, width
  std::array<int, 4> padding{0, 0, 0, 0};  ///< top, left, bottom, right
  std::array<int, 2> dilation{1, 1};       ///< height, width
  int groups = 1;                          ///< of channels; heads of an attention
  int axis = 0;                            ///< of a concat
  int local_size = 1;                      ///< of an lrn, channels
  bool linear = false;                     ///< an upsample's mode; else nearest
  std::vector<int> start, step;            ///< of a slice, one number per dimension
  Absent absent = Absent::kRefuse;         ///< of a join: what it does without some of its inputs
  int steps = 1;            ///< parts that must run one after another: the tokens of a recurrent layer
  double macs = 0;          ///< multiply-adds for one input; 1 MAC = 2 flop
  double work_flop = 0;     ///< operations for one input: 2 per MAC, plus element-wise ones
  double weight_bytes = 0;  ///< weights and biases at the graph's precision
  double output_bytes = 0;  ///< output tensor of one input at its own output_bits or the graph's precision
  double state_bytes = 0;   ///< kept between calls for one input: keys and values in an attention's cache
};
/// Whether each element of the output follows from the same element of the only input.
bool is_elementwise(const Layer& layer);

/// What computing a layer, or a part of its output, takes for one input.
struct LayerCosts {
  double work_flop = 0;
  double weight_bytes = 0;
  double state_bytes = 0;
  double input_elements = 0;   ///< read, over all inputs
  double output_elements = 0;  ///< written
  double input_bytes = 0, output_bytes = 0;
};

/// What Table 1 of the survey prints of a model. Source: the survey's Table 1.
struct TableRow {
  std::string row;        ///< name there
  double parameters = 0;  ///< as printed: 25610269, 0.35e6
  double size_mb = 0;     ///< as printed, 2^20 byte
  double gflops = 0;      ///< as printed; mostly multiply-adds, see note
  std::string note;       ///< what the printed numbers mean where they differ from ours
};

/// Top-1 accuracy of an exit without some layers, 0 to 1.
struct AccuracyWithout {
  std::vector<LayerId> absent;  ///< ascending
  double accuracy = 0;
};

/// Where inference may stop: the sub-graph of `layer` and all its ancestors.
struct Exit {
  std::string name;
  LayerId layer = 0;
  std::optional<double> accuracy;  ///< top-1, 0 to 1; none where nobody published it
  std::optional<double> rate;      ///< share of all inputs that stop here, 0 to 1, where it was published
  std::string accuracy_source;     ///< empty without accuracy
  std::string rate_source;         ///< empty without rate
  /// Accuracy while hosts have failed. A table names the layers that stand for the hosts; its row is that of
  /// those of them that are not computed.
  std::vector<AccuracyWithout> accuracy_without;

  /// Of all layers that `accuracy_without` names, `computed` says which run. @returns none without a row.
  std::optional<double> accuracy_with(const std::vector<bool>& computed) const;
};

/// What the exits do at one confidence threshold, all of them in use. A policy that uses only some lets what
/// would have left at another go on to the next that is in use.
struct Threshold {
  double value = 0;
  std::vector<double> rates;       ///< (n_exits) share of all inputs that stop at each, summing to 1
  std::vector<double> accuracies;  ///< (n_exits) top-1 accuracy of those that do, 0 to 1
  std::string source;
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
  /// Keys by kind: conv, depthwise_conv, conv_transpose and the pools have kernel, stride ([1, 1]) and
  /// padding (zeros: top, left, bottom, right); the convolutions also dilation ([1, 1]) and, but for
  /// depthwise_conv, groups (1); conv_transpose has output_padding ([0, 0]); the convolutions and fc have
  /// bias (true) and must state their output; pools have ceil (false): the last, partly covered window counts
  /// too, as in Caffe and Chainer, when it starts inside the tensor or its leading padding; lrn has
  /// local_size. attention reads queries [tokens, features], keys and values [keys, features of keys]; it has
  /// heads, key_value_heads (heads; features / heads * key_value_heads is the features of keys) and, where it
  /// keeps a cache, cached_tokens before this call: attended = keys + cached_tokens, state_bytes = 2 *
  /// attended * features of keys * precision. embedding reads [tokens] and has vocabulary; rnn, gru, lstm
  /// read [tokens, features], give [tokens, directions * hidden] and have hidden, directions (1) and bias
  /// (true). elementwise has function (a name) and flop_per_element (1), and may read several tensors, which
  /// broadcast. batch_norm has affine (true), statistics (false), scale_factor (false); affine has factors
  /// and summands, how many of each are learned (channels; 0: none); layer_norm has bias (true). add, mul and
  /// the leading dimensions of matmul broadcast as NumPy does; concat has axis (0); slice has start (zeros)
  /// and step (ones), one number per dimension; upsample has scale ([height, width]) and mode ("nearest", or
  /// "linear"); data_movement, which stands for any operator that computes nothing or is unknown, has
  /// operator (a name) and weights (0: a count). embedding, reduce, reshape, slice and data_movement must
  /// state their output, and so may any other kind. Optional everywhere: macs, work_flop, weight_bytes,
  /// output_bytes, state_bytes. "table_1" (optional) is the survey's row: {"row", "parameters", "size_mb",
  /// "gflops", "note"}. Layers keep the file's order where that is topological. Without "exits" the only
  /// layer that nobody reads is the one exit, "output". Exits stand in order of their number of layers; an
  /// exit may state the "rate", with its "rate_source", at which inputs stop there, and "accuracy_without":
  /// [{"absent": ["fog_1"], "accuracy": 0.5}, ...], of the accuracy_source. "thresholds" (optional):
  /// [{"threshold": 0.8, "rates": [0.4, 0.6], "accuracies": [0.9, 0.7], "source": "Table 2"}, ...] says what
  /// the exits do at each confidence threshold. The joins (add, mul, concat, elementwise) have absent
  /// ("refuse"); any layer may have output_bits: those of an element of its output, where they are not the
  /// precision's (1 for a sign, 32 for the scores of a network of 8 bits).
  /// @throws InputError naming file, JSON pointer and value.
  static LayerGraph load(const std::filesystem::path& path);
  static LayerGraph parse(const Json& json, const std::string& file);

  const std::string& name() const { return name_; }
  const std::string& source() const { return source_; }
  const std::string& precision() const { return precision_; }
  const std::optional<TableRow>& table_1() const { return table_1_; }
  /// The graph as a file of the same form, with every cost; load(to_json()) is the same graph.
  Json to_json() const;
  /// That JSON as text, one layer per line.
  std::string text() const;
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
  /// Ascending by value; may be empty.
  std::span<const Threshold> thresholds() const { return thresholds_; }
  /// The layers that exit `exit` (0 .. exits().size()-1) needs, ascending, which is a topological order.
  std::span<const LayerId> exit_layers(int exit) const;

  /// Elements that the layer reads (sum over its inputs) and writes, for one input.
  double input_elements(LayerId id) const;
  double output_elements(LayerId id) const { return shape_elements(layer(id).output_shape); }
  const Shape& input_shape(LayerId id) const;  ///< of the first input
  /// Shape of a layer's output, or of the model's input (kInput).
  const Shape& tensor_shape(LayerId id) const { return id == kInput ? input_shape_ : layer(id).output_shape; }
  double tensor_bytes(LayerId id) const { return id == kInput ? input_bytes() : layer(id).output_bytes; }
  LayerCosts costs(LayerId id) const;
  /// Bytes that the layer moves between memory and processor for a batch of inputs: weights once (an
  /// embedding's only as many rows as it reads, a recurrent layer's once per step), inputs, outputs and state
  /// once per input. reshape, flatten and dropout move nothing: the output is the input.
  double traffic_bytes(LayerId id, int batch = 1) const { return traffic_bytes(id, costs(id), batch); }
  /// The same of a part of the layer that takes `costs`.
  double traffic_bytes(LayerId id, const LayerCosts& costs, int batch) const;

  double parameters() const;    ///< weights and biases of all layers, count
  double macs() const;          ///< of the full model (last exit)
  double weight_bytes() const;  ///< of all layers
  double state_bytes() const;   ///< of all layers, for one input

 private:
  void read_exits(const JsonReader& reader);
  void add_exit(Exit exit);  ///< and finds its layers
  void read_thresholds(const JsonReader& reader);

  std::string name_, source_, precision_;
  double bytes_per_element_ = 4;
  Shape input_shape_;
  std::vector<Layer> layers_;
  std::vector<Json> attributes_;  ///< of each layer, as the file states them: the keys of its kind
  std::vector<Exit> exits_;
  std::vector<Threshold> thresholds_;
  std::optional<TableRow> table_1_;
  std::vector<std::vector<LayerId>> exit_layers_;
  std::vector<std::vector<LayerId>> consumers_;  ///< [0] of the input, [id + 1] of layer id
};

}  // namespace cdisim
