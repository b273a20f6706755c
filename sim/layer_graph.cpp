#include "sim/layer_graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/depth_first_search.hpp>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>

#include "sim/error.h"

namespace cdisim {

namespace {

constexpr int kLargestDimension = 1'000'000;
constexpr double kMostElements = 1e12;
constexpr std::size_t kMostDimensions = 6;

// The keys of a layer in the order in which text() writes them; the kinds' own stand between the two rows.
constexpr std::array kLayerKeys{
    "name", "kind", "inputs",
    // of the kinds
    "kernel", "stride", "padding", "dilation", "output_padding", "groups", "bias", "ceil", "local_size",
    "heads", "key_value_heads", "cached_tokens", "vocabulary", "hidden", "directions", "function",
    "flop_per_element", "affine", "statistics", "scale_factor", "factors", "summands", "axis", "start",
    "step", "scale", "mode", "operator", "weights", "absent", "output_bits",
    // what follows
    "output", "macs", "work_flop", "weight_bytes", "output_bytes", "state_bytes"};
// Those that follow from the others or from the graph, and are no attributes.
constexpr std::array kComputedKeys{"name",      "kind",         "inputs",       "output",     "macs",
                                   "work_flop", "weight_bytes", "output_bytes", "state_bytes"};
constexpr const char* kOnlyExit = "output";  ///< the exit of a file that names none
constexpr std::array kExitKeys{"name", "layer",       "absent",          "accuracy", "accuracy_source",
                               "rate", "rate_source", "accuracy_without"};
constexpr std::array kThresholdKeys{"threshold", "rates", "accuracies", "source"};

struct Precision {
  const char* name;
  double bytes_per_element;
};
constexpr std::array kPrecisions{Precision{"fp64", 8},  Precision{"fp32", 4},  Precision{"fp16", 2},
                                 Precision{"bf16", 2},  Precision{"int16", 2}, Precision{"int8", 1},
                                 Precision{"int4", 0.5}};

// ---- reading small things ----

// "" where the shape is usable.
std::string shape_problem(const Shape& shape) {
  if (std::ranges::any_of(shape, [](int d) { return d < 1 || d > kLargestDimension; })) {
    return fmt::format("[{}] has a dimension outside [1, {}]", fmt::join(shape, ", "), kLargestDimension);
  }
  if (shape_elements(shape) > kMostElements) {
    return fmt::format("[{}] has more than {:.0e} elements", fmt::join(shape, ", "), kMostElements);
  }
  return "";
}

Shape read_shape(const JsonReader& json) {
  Shape shape;
  for (const JsonReader& dimension : json.elements()) {
    shape.push_back(static_cast<int>(dimension.integer(1, kLargestDimension)));
  }
  if (shape.empty() || shape.size() > kMostDimensions) {
    json.fail(fmt::format("must have 1 to {} dimensions", kMostDimensions));
  }
  if (const std::string problem = shape_problem(shape); !problem.empty()) json.fail(problem);
  return shape;
}

// The array `key` of n whole numbers from `low` on; `absent` where there is none.
template <std::size_t n>
std::array<int, n> read_integers(const JsonReader& layer, const std::string& key, int low,
                                 const std::array<int, n>& absent) {
  const auto json = layer.find(key);
  if (!json) return absent;
  const auto elements = json->elements();
  if (elements.size() != n) json->fail(fmt::format("must be an array of {} whole numbers", n));
  std::array<int, n> out{};
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<int>(elements[i].integer(low, kLargestDimension));
  return out;
}

bool read_flag(const JsonReader& layer, const std::string& key, bool absent) {
  const auto json = layer.find(key);
  return json ? json->boolean() : absent;
}

// A stated cost is a second opinion: it must be the one that follows from the shapes.
void check_stated(const JsonReader& layer, const std::string& key, double computed, const std::string& unit) {
  const auto json = layer.find(key);
  if (!json) return;
  const double stated = json->number(0, 1e300);
  if (std::abs(stated - computed) > 1e-12 * computed) {
    json->fail(fmt::format("the shapes give {} {}", computed, unit));
  }
}

// ---- shapes and costs of one layer ----

// Windows of a convolution or pool along one axis; rounding up counts a last, partly covered window if it
// starts inside the tensor or its leading padding.
std::int64_t window_count(std::int64_t extent, std::int64_t kernel, int stride, int before, int after,
                          bool round_up) {
  const std::int64_t room = extent + before + after - kernel + (round_up ? stride - 1 : 0);
  if (room < 0) return 0;
  std::int64_t count = room / stride + 1;
  if (round_up && (count - 1) * stride >= extent + before) --count;
  return count;
}

// NumPy's rule: shapes are aligned at their last dimension; a dimension of one stretches. None where they do
// not fit.
std::optional<Shape> broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (std::size_t i = 1; i <= out.size(); ++i) {
    const int in_a = i <= a.size() ? a[a.size() - i] : 1;
    const int in_b = i <= b.size() ? b[b.size() - i] : 1;
    if (in_a != in_b && in_a != 1 && in_b != 1) return std::nullopt;
    out[out.size() - i] = in_a == 1 ? in_b : in_a;
  }
  return out;
}

// A reduction leaves a one in place of each dimension that it sums over, or drops it.
bool is_reduction(const Shape& in, const Shape& out) {
  if (out == Shape{1}) return true;
  if (out.size() == in.size()) {
    return std::ranges::equal(in, out, [](int before, int after) { return after == before || after == 1; });
  }
  std::size_t kept = 0;
  for (const int dimension : in) kept += kept < out.size() && out[kept] == dimension;
  return kept == out.size();
}

// A dimension of a computed shape; set_shape() refuses what is out of range.
int dimension(double extent) {
  return static_cast<int>(std::min<double>(extent, INT32_MAX));
}

class LayerReader {
 public:
  LayerReader(const JsonReader& json, const std::vector<const Shape*>& inputs, double bytes_per_element,
              const std::string& precision)
      : json_(json), inputs_(inputs), in_(*inputs.front()), bytes_per_element_(bytes_per_element) {
    layer_.kind = static_cast<LayerKind>(json_.at("kind").choice(layer_kind_names()));
    if (const auto output = json_.find("output")) stated_shape_ = read_shape(*output);
    check_input_count();
    read_kind();
    if (joins() && json_.has("absent"))
      layer_.absent = static_cast<Absent>(json_.at("absent").choice({"refuse", "skip", "switch"}));

    layer_.work_flop = 2 * layer_.macs + elementwise_flop_;
    layer_.weight_bytes = weights_ * bytes_per_element;
    const double output_bits = json_.has("output_bits")
                                   ? static_cast<double>(json_.at("output_bits").integer(1, 64))
                                   : 8 * bytes_per_element;
    layer_.output_bytes = outputs() * output_bits / 8;
    check_stated(json_, "macs", layer_.macs, "multiply-adds (1 MAC = 2 flop)");
    check_stated(json_, "work_flop", layer_.work_flop, "flop (1 MAC = 2 flop, plus element-wise operations)");
    const std::string unit = fmt::format("bytes ({} has {} per element)", precision, bytes_per_element);
    check_stated(json_, "weight_bytes", layer_.weight_bytes, unit);
    check_stated(json_, "output_bytes", layer_.output_bytes,
                 json_.has("output_bits") ? fmt::format("bytes ({} bits per element)", output_bits) : unit);
    check_stated(json_, "state_bytes", layer_.state_bytes, unit);
    json_.done();
  }

  Layer take() { return std::move(layer_); }

 private:
  const JsonReader& json_;
  const std::vector<const Shape*>& inputs_;
  const Shape& in_;  ///< of the first input
  double bytes_per_element_;
  Shape stated_shape_;
  Layer layer_;
  double elementwise_flop_ = 0;
  double weights_ = 0;  ///< count, biases included

  std::string_view kind_name() const { return layer_kind_name(layer_.kind); }
  double outputs() const { return shape_elements(layer_.output_shape); }
  bool joins() const {
    return layer_.kind == LayerKind::kAdd || layer_.kind == LayerKind::kMul ||
           layer_.kind == LayerKind::kConcat || layer_.kind == LayerKind::kElementwise;
  }

  [[noreturn]] void fail_inputs(const std::string& message) const {
    json_.at("inputs").fail(fmt::format("{} {}", kind_name(), message));
  }

  void check_input_count() const {
    switch (layer_.kind) {
      case LayerKind::kAdd:
      case LayerKind::kMul:
      case LayerKind::kConcat:
        if (inputs_.size() < 2) fail_inputs("reads two tensors or more");
        break;
      case LayerKind::kMatmul:
        if (inputs_.size() != 2) fail_inputs("reads exactly two tensors");
        break;
      case LayerKind::kAttention:
        if (inputs_.size() != 3) fail_inputs("reads exactly three tensors: queries, keys and values");
        break;
      case LayerKind::kElementwise:
      case LayerKind::kDataMovement:
        break;
      default:
        if (inputs_.size() != 1) fail_inputs("reads exactly one tensor");
    }
  }

  // Of the first input; `what` names the shape in words.
  void need_rank(std::size_t rank, const std::string& what) const {
    if (in_.size() != rank) fail_inputs(fmt::format("reads {}, not [{}]", what, fmt::join(in_, ", ")));
  }
  void need_image() const { need_rank(3, "an image"); }
  void need_tokens() const { need_rank(2, "[tokens, features]"); }

  const Shape& stated_shape() const {
    json_.at("output");
    return stated_shape_;
  }

  int count(const std::string& key, int low = 1) const {
    return static_cast<int>(json_.at(key).integer(low, kLargestDimension));
  }
  int count_or(const std::string& key, int absent, int low = 1) const {
    return json_.has(key) ? count(key, low) : absent;
  }

  void set_shape(Shape shape) {
    if (const std::string problem = shape_problem(shape); !problem.empty()) {
      throw InputError(json_.place(), fmt::format("the output {}", problem));
    }
    if (!stated_shape_.empty() && stated_shape_ != shape) {
      json_.at("output").fail(fmt::format("the inputs give [{}]", fmt::join(shape, ", ")));
    }
    layer_.output_shape = std::move(shape);
  }

  // The output has the first input's shape, and `flop` operations for each of its elements.
  void keep_shape(double flop) {
    set_shape(in_);
    elementwise_flop_ = flop * shape_elements(in_);
  }

  void read_window_keys() {
    json_.at("kernel");
    layer_.kernel = read_integers<2>(json_, "kernel", 1, layer_.kernel);
    layer_.stride = read_integers<2>(json_, "stride", 1, layer_.stride);
    layer_.padding = read_integers<4>(json_, "padding", 0, layer_.padding);
  }

  // A dilated kernel has gaps: the extent that it covers.
  std::int64_t kernel_extent(std::size_t axis) const {
    return std::int64_t{layer_.dilation[axis]} * (layer_.kernel[axis] - 1) + 1;
  }
  double kernel_area() const { return 1.0 * layer_.kernel[0] * layer_.kernel[1]; }

  // The output's height and width from those of the windows.
  void set_window_shape(int channels, bool round_up) {
    const auto& [top, left, bottom, right] = layer_.padding;
    const auto height = window_count(in_[1], kernel_extent(0), layer_.stride[0], top, bottom, round_up);
    const auto width = window_count(in_[2], kernel_extent(1), layer_.stride[1], left, right, round_up);
    if (height < 1 || width < 1) {
      json_.at("kernel").fail(fmt::format("is larger than the padded input of {} by {}", in_[1], in_[2]));
    }
    set_shape({channels, static_cast<int>(height), static_cast<int>(width)});
  }

  // Each input pixel adds a kernel's worth of outputs, `stride` apart; padding cuts the margin off.
  void set_transposed_shape(int channels) {
    const auto extra = read_integers<2>(json_, "output_padding", 0, {0, 0});
    Shape shape{channels, 0, 0};
    for (std::size_t axis = 0; axis < 2; ++axis) {
      if (extra[axis] >= std::max(layer_.stride[axis], layer_.dilation[axis])) {
        json_.at("output_padding").fail("must be smaller than the stride or the dilation");
      }
      const std::int64_t extent = std::int64_t{in_[axis + 1] - 1} * layer_.stride[axis] +
                                  kernel_extent(axis) + extra[axis] - layer_.padding[axis] -
                                  layer_.padding[axis + 2];
      if (extent < 1) json_.at("padding").fail(fmt::format("leaves nothing of the output of axis {}", axis));
      shape[axis + 1] = dimension(static_cast<double>(extent));
    }
    set_shape(std::move(shape));
  }

  void add_bias(double output_channels) {
    if (!read_flag(json_, "bias", true)) return;
    weights_ += output_channels;
    elementwise_flop_ = outputs();
  }

  void read_convolution() {
    need_image();
    const bool depthwise = layer_.kind == LayerKind::kDepthwiseConv;
    const int channels = stated_shape()[0];
    layer_.groups = depthwise ? in_[0] : count_or("groups", 1);
    if (in_[0] % layer_.groups != 0 || channels % layer_.groups != 0) {
      json_.at(depthwise ? "output" : "groups")
          .fail(fmt::format("{} groups do not divide {} channels in and {} out", layer_.groups, in_[0],
                            channels));
    }
    read_window_keys();
    layer_.dilation = read_integers<2>(json_, "dilation", 1, layer_.dilation);
    if (layer_.kind == LayerKind::kConvTranspose) {
      set_transposed_shape(channels);
      layer_.macs = shape_elements(in_) * kernel_area() * (channels / layer_.groups);
    } else {
      set_window_shape(channels, false);
      layer_.macs = outputs() * kernel_area() * (in_[0] / layer_.groups);
    }
    weights_ = 1.0 * channels * kernel_area() * (in_[0] / layer_.groups);
    add_bias(channels);
  }

  void read_fc() {
    const bool tokens = in_.size() == 2;
    const int features = tokens ? stated_shape().back() : stated_shape()[0];
    set_shape(tokens ? Shape{in_[0], features} : Shape{features});
    layer_.macs = shape_elements(in_) * features;
    weights_ = layer_.macs / (tokens ? in_[0] : 1);
    add_bias(features);
  }

  void read_matmul() {
    const Shape& left = in_;
    const Shape& right = *inputs_[1];
    std::optional<Shape> shape;
    if (left.size() > 1 && right.size() > 1 && left.back() == right[right.size() - 2]) {
      shape = broadcast({left.begin(), left.end() - 2}, {right.begin(), right.end() - 2});
    }
    if (!shape) {
      fail_inputs(fmt::format("cannot multiply [{}] by [{}]", fmt::join(left, ", "), fmt::join(right, ", ")));
    }
    shape->insert(shape->end(), {left[left.size() - 2], right.back()});
    set_shape(std::move(*shape));
    layer_.macs = outputs() * left.back();
  }

  void read_attention() {
    for (const Shape* shape : inputs_) {
      if (shape->size() != 2) {
        fail_inputs(fmt::format("reads three tensors of two dimensions, not [{}]", fmt::join(*shape, ", ")));
      }
    }
    const Shape& keys = *inputs_[1];
    if (keys != *inputs_[2]) {
      fail_inputs(fmt::format("reads keys [{}] and values [{}], which differ", fmt::join(keys, ", "),
                              fmt::join(*inputs_[2], ", ")));
    }
    const int heads = layer_.groups = count("heads"), key_heads = count_or("key_value_heads", heads);
    if (in_[1] % heads != 0) json_.at("heads").fail(fmt::format("does not divide {} features", in_[1]));
    if (heads % key_heads != 0) {
      json_.at("key_value_heads").fail(fmt::format("does not divide {} heads", heads));
    }
    if (const int features = in_[1] / heads * key_heads; keys[1] != features) {
      fail_inputs(fmt::format("with {} of {} heads needs keys of {} features, not {}", key_heads, heads,
                              features, keys[1]));
    }
    const double attended = keys[0] + 1.0 * count_or("cached_tokens", 0, 0);
    keep_shape(0);
    layer_.macs = 2.0 * in_[0] * attended * in_[1];
    elementwise_flop_ = 3.0 * heads * in_[0] * attended;
    if (json_.has("cached_tokens")) layer_.state_bytes = 2 * attended * keys[1] * bytes_per_element_;
  }

  void read_recurrent(double gates, double mixing_flop) {
    need_tokens();
    const double hidden = count("hidden");
    const double directions =
        json_.has("directions") ? static_cast<double>(json_.at("directions").integer(1, 2)) : 1;
    const bool bias = read_flag(json_, "bias", true);
    const double rows = directions * gates * hidden;
    set_shape({in_[0], dimension(directions * hidden)});
    layer_.steps = in_[0];
    layer_.macs = in_[0] * rows * (in_[1] + hidden);
    elementwise_flop_ = in_[0] * directions * hidden * (gates * (bias ? 3 : 1) + mixing_flop);
    weights_ = rows * (in_[1] + hidden) + (bias ? 2 * rows : 0);
  }

  void read_batch_norm() {
    keep_shape(2);
    const double channels = in_[0];
    if (read_flag(json_, "affine", true)) weights_ += 2 * channels;
    if (read_flag(json_, "statistics", false)) weights_ += 2 * channels;
    if (read_flag(json_, "scale_factor", false)) weights_ += 1;
  }

  void read_affine() {
    keep_shape(0);
    const double elements = outputs();
    for (const char* key : {"factors", "summands"}) {
      const int learned = count_or(key, in_[0], 0);
      if (learned == 0) continue;
      if (std::fmod(elements, learned) != 0) {
        json_.at(key).fail(fmt::format("does not divide {} elements", elements));
      }
      weights_ += learned;
      elementwise_flop_ += elements;
    }
  }

  // The broadcast shape of all inputs.
  Shape joined_shape() const {
    Shape joined = in_;
    for (const Shape* shape : inputs_) {
      const auto next = broadcast(joined, *shape);
      if (!next) {
        fail_inputs(
            fmt::format("cannot join [{}] and [{}]", fmt::join(joined, ", "), fmt::join(*shape, ", ")));
      }
      joined = *next;
    }
    return joined;
  }

  void read_concat() {
    const auto last_axis = static_cast<std::int64_t>(in_.size()) - 1;
    layer_.axis = static_cast<int>(json_.has("axis") ? json_.at("axis").integer(0, last_axis) : 0);
    const auto axis = static_cast<std::size_t>(layer_.axis);
    Shape joined = in_;
    double extent = 0;
    for (const Shape* shape : inputs_) {
      // All but the axis must agree.
      Shape other = *shape;
      if (other.size() == in_.size()) other[axis] = in_[axis];
      if (other != in_) {
        fail_inputs(fmt::format("cannot join [{}] and [{}]", fmt::join(in_, ", "), fmt::join(*shape, ", ")));
      }
      extent += (*shape)[axis];
    }
    joined[axis] = dimension(extent);
    set_shape(std::move(joined));
  }

  // One whole number per dimension of the input.
  std::vector<int> per_dimension(const std::string& key, int low, int absent) const {
    std::vector<int> numbers(in_.size(), absent);
    const auto json = json_.find(key);
    if (!json) return numbers;
    const auto elements = json->elements();
    if (elements.size() != in_.size()) {
      json->fail(fmt::format("must have a whole number for each of {} dimensions", in_.size()));
    }
    for (std::size_t i = 0; i < in_.size(); ++i)
      numbers[i] = static_cast<int>(elements[i].integer(low, kLargestDimension));
    return numbers;
  }

  void read_slice() {
    const Shape& out = stated_shape();
    layer_.start = per_dimension("start", 0, 0);
    layer_.step = per_dimension("step", 1, 1);
    bool inside = out.size() == in_.size();
    for (std::size_t i = 0; inside && i < in_.size(); ++i)
      inside = layer_.start[i] + std::int64_t{out[i] - 1} * layer_.step[i] < in_[i];
    if (!inside) json_.at("output").fail(fmt::format("does not lie within [{}]", fmt::join(in_, ", ")));
    set_shape(out);
  }

  void read_upsample() {
    need_image();
    json_.at("scale");
    const auto scale = read_integers<2>(json_, "scale", 1, {1, 1});
    const auto mode = json_.find("mode");
    layer_.linear = mode && mode->choice({"nearest", "linear"}) == 1;
    set_shape({in_[0], dimension(1.0 * in_[1] * scale[0]), dimension(1.0 * in_[2] * scale[1])});
    elementwise_flop_ = layer_.linear ? 7 * outputs() : 0;
  }

  void read_kind() {
    const double elements = shape_elements(in_);
    switch (layer_.kind) {
      case LayerKind::kConv:
      case LayerKind::kDepthwiseConv:
      case LayerKind::kConvTranspose:
        read_convolution();
        break;
      case LayerKind::kFc:
        read_fc();
        break;
      case LayerKind::kMatmul:
        read_matmul();
        break;
      case LayerKind::kAttention:
        read_attention();
        break;
      case LayerKind::kEmbedding:
        need_rank(1, "[tokens]");
        set_shape({in_[0], stated_shape().back()});
        weights_ = 1.0 * count("vocabulary") * layer_.output_shape[1];
        break;
      case LayerKind::kRnn:
        read_recurrent(1, 0);
        break;
      case LayerKind::kGru:
        read_recurrent(3, 5);
        break;
      case LayerKind::kLstm:
        read_recurrent(4, 5);
        break;
      case LayerKind::kMaxPool:
      case LayerKind::kAvgPool:
        need_image();
        read_window_keys();
        set_window_shape(in_[0], read_flag(json_, "ceil", false));
        elementwise_flop_ = outputs() * kernel_area();
        break;
      case LayerKind::kReduce:
        if (!is_reduction(in_, stated_shape())) {
          json_.at("output").fail(fmt::format("is no reduction of [{}]", fmt::join(in_, ", ")));
        }
        set_shape(stated_shape_);
        elementwise_flop_ = elements;
        break;
      case LayerKind::kRelu:
        keep_shape(1);
        break;
      case LayerKind::kElementwise: {
        json_.at("function").text();
        const auto flop = json_.find("flop_per_element");
        set_shape(joined_shape());
        elementwise_flop_ = outputs() * (flop ? flop->number(0, kLargestDimension) : 1);
        break;
      }
      case LayerKind::kLrn:
        layer_.local_size = count("local_size");
        keep_shape(2.0 * layer_.local_size + 3);
        break;
      case LayerKind::kBatchNorm:
        read_batch_norm();
        break;
      case LayerKind::kAffine:
        read_affine();
        break;
      case LayerKind::kLayerNorm: {
        const bool bias = read_flag(json_, "bias", true);
        keep_shape(bias ? 7 : 4);
        weights_ = (bias ? 2.0 : 1.0) * (in_.size() == 3 ? in_[0] : in_.back());
        break;
      }
      case LayerKind::kDropout:
        keep_shape(0);
        break;
      case LayerKind::kSoftmax:
        keep_shape(3);
        break;
      case LayerKind::kAdd:
      case LayerKind::kMul:
        set_shape(joined_shape());
        elementwise_flop_ = outputs() * static_cast<double>(inputs_.size() - 1);
        break;
      case LayerKind::kConcat:
        read_concat();
        break;
      case LayerKind::kFlatten:
        if (elements > kLargestDimension) {
          json_.at("inputs").fail(fmt::format("flattens to more than {} elements", kLargestDimension));
        }
        set_shape({static_cast<int>(elements)});
        break;
      case LayerKind::kReshape:
        if (shape_elements(stated_shape()) != elements) {
          json_.at("output").fail(fmt::format("the input has {} elements", elements));
        }
        set_shape(stated_shape_);
        break;
      case LayerKind::kSlice:
        read_slice();
        break;
      case LayerKind::kUpsample:
        read_upsample();
        break;
      case LayerKind::kDataMovement:
        json_.at("operator").text();
        if (const auto weights = json_.find("weights")) {
          weights_ = static_cast<double>(weights->integer(0, static_cast<std::int64_t>(kMostElements)));
        }
        set_shape(stated_shape());
        break;
    }
  }
};

// ---- order of layers ----

using ReadsGraph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS>;

// Depth-first search from each layer to what it reads. A layer is finished after all that it reads, so the
// order of finishing is topological, and it is the file's order where that is.
struct OrderVisitor : boost::default_dfs_visitor {
  std::vector<std::size_t>& order;
  std::vector<std::size_t>& path;  ///< the layers between the root of the search and the current one

  OrderVisitor(std::vector<std::size_t>& order_of_layers, std::vector<std::size_t>& current_path)
      : order(order_of_layers), path(current_path) {}

  void discover_vertex(std::size_t layer, const ReadsGraph&) { path.push_back(layer); }
  void finish_vertex(std::size_t layer, const ReadsGraph&) {
    path.pop_back();
    order.push_back(layer);
  }
  void back_edge(const ReadsGraph::edge_descriptor& edge, const ReadsGraph&) {
    path.erase(path.begin(), std::ranges::find(path, edge.m_target));
    throw std::domain_error("cycle");
  }
};

std::vector<std::size_t> topological_order(const std::vector<std::vector<LayerId>>& reads,
                                           const std::vector<std::string>& names, const JsonReader& layers) {
  ReadsGraph graph(reads.size());
  for (std::size_t i = 0; i < reads.size(); ++i) {
    for (const LayerId input : reads[i]) {
      if (input != kInput) boost::add_edge(i, static_cast<std::size_t>(input), graph);
    }
  }
  std::vector<std::size_t> order, path;
  try {
    boost::depth_first_search(graph, boost::visitor(OrderVisitor(order, path)));
  } catch (const std::domain_error&) {
    std::string cycle;
    for (const std::size_t i : path) cycle += fmt::format("\"{}\" reads ", names[i]);
    throw InputError(layers.place(),
                     fmt::format("the layers form a cycle: {}\"{}\"", cycle, names[path.front()]));
  }
  return order;
}

// ---- writing ----

// Whole numbers without a fraction, as people write them.
Json json_number(double value) {
  constexpr double kLargestExact = 9007199254740992;  // 2^53
  if (value == std::floor(value) && std::abs(value) < kLargestExact) return static_cast<std::int64_t>(value);
  return value;
}

std::string scalar_text(const Json& value) {
  return value.dump(-1, ' ', true);
}

// One line with a space behind each comma and colon; members of `keys` in their order.
template <typename Keys>
std::string line_text(const Json& value, const Keys& keys) {
  std::vector<std::string> parts;
  if (value.is_array()) {
    for (const Json& element : value) parts.push_back(line_text(element, keys));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
  if (!value.is_object()) return scalar_text(value);
  for (const char* key : keys) {
    const auto member = value.find(key);
    if (member != value.end()) {
      parts.push_back(fmt::format("{}: {}", scalar_text(key), line_text(*member, keys)));
    }
  }
  return fmt::format("{{{}}}", fmt::join(parts, ", "));
}

template <typename Keys>
std::string rows_text(const std::string& key, const Json& rows, const Keys& keys) {
  std::vector<std::string> lines;
  for (const Json& row : rows) lines.push_back("    " + line_text(row, keys));
  return fmt::format("  \"{}\": [\n{}\n  ]", key, fmt::join(lines, ",\n"));
}

TableRow read_table_row(const JsonReader& json) {
  constexpr double kMost = 1e15;
  TableRow row;
  row.row = json.at("row").text();
  row.parameters = json.at("parameters").number(0, kMost);
  row.size_mb = json.at("size_mb").number(0, kMost);
  row.gflops = json.at("gflops").number(0, kMost);
  if (const auto note = json.find("note")) row.note = note->string();
  json.done();
  return row;
}

}  // namespace

const std::vector<std::string>& layer_kind_names() {
  static const std::vector<std::string> names{"conv",
                                              "depthwise_conv",
                                              "conv_transpose",
                                              "fc",
                                              "matmul",
                                              "attention",
                                              "embedding",
                                              "rnn",
                                              "gru",
                                              "lstm",
                                              "max_pool",
                                              "avg_pool",
                                              "reduce",
                                              "relu",
                                              "elementwise",
                                              "lrn",
                                              "batch_norm",
                                              "affine",
                                              "layer_norm",
                                              "dropout",
                                              "softmax",
                                              "add",
                                              "mul",
                                              "concat",
                                              "flatten",
                                              "reshape",
                                              "slice",
                                              "upsample",
                                              "data_movement"};
  return names;
}

std::string_view layer_kind_name(LayerKind kind) {
  return layer_kind_names()[static_cast<std::size_t>(kind)];
}

bool has_windows(LayerKind kind) {
  switch (kind) {
    case LayerKind::kConv:
    case LayerKind::kDepthwiseConv:
    case LayerKind::kConvTranspose:
    case LayerKind::kMaxPool:
    case LayerKind::kAvgPool:
      return true;
    default:
      return false;
  }
}

bool is_elementwise(const Layer& layer) {
  switch (layer.kind) {
    case LayerKind::kRelu:
    case LayerKind::kElementwise:
    case LayerKind::kBatchNorm:
    case LayerKind::kAffine:
    case LayerKind::kDropout:
      return layer.inputs.size() == 1;
    default:
      return false;
  }
}

double shape_elements(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), 1.0, std::multiplies<>());
}

LayerGraph LayerGraph::load(const std::filesystem::path& path) {
  return parse(read_json_file(path), path.string());
}

LayerGraph LayerGraph::parse(const Json& json, const std::string& file) {
  const JsonReader reader(json, file);
  LayerGraph graph;
  reader.at("schema").integer(1, 1);
  graph.name_ = reader.at("name").text();
  graph.source_ = reader.at("source").text();
  std::vector<std::string> precisions;
  for (const Precision& p : kPrecisions) precisions.emplace_back(p.name);
  const Precision& precision = kPrecisions[reader.at("precision").choice(precisions)];
  graph.precision_ = precision.name;
  graph.bytes_per_element_ = precision.bytes_per_element;
  const JsonReader input = reader.at("input");
  graph.input_shape_ = read_shape(input.at("shape"));
  input.done();
  if (const auto row = reader.find("table_1")) graph.table_1_ = read_table_row(*row);

  // Names first: a layer may stand before what it reads.
  const JsonReader layers = reader.at("layers");
  const std::vector<JsonReader> entries = layers.elements();
  if (entries.empty()) layers.fail("must not be empty");
  std::vector<std::string> names;
  std::map<std::string, LayerId, std::less<>> index{{"input", kInput}};
  for (const JsonReader& entry : entries) {
    names.push_back(entry.at("name").text());
    if (!index.emplace(names.back(), static_cast<LayerId>(names.size()) - 1).second) {
      entry.at("name").fail(names.back() == "input" ? "is the name of the model's input"
                                                    : "two layers have that name");
    }
  }
  const auto find_tensor = [&](const JsonReader& name) {
    const auto found = index.find(name.string());
    if (found != index.end()) return found->second;
    std::vector<std::string> valid = names;
    valid.emplace_back("input");
    throw InputError(name.place(),
                     fmt::format("no layer \"{}\"{}", name.string(), valid_choices(name.string(), valid)));
  };
  std::vector<std::vector<LayerId>> reads(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    for (const JsonReader& name : entries[i].at("inputs").elements()) reads[i].push_back(find_tensor(name));
    if (reads[i].empty()) entries[i].at("inputs").fail("must not be empty");
  }

  const std::vector<std::size_t> order = topological_order(reads, names, layers);
  std::vector<LayerId> id_of(entries.size());
  for (std::size_t id = 0; id < order.size(); ++id) id_of[order[id]] = static_cast<LayerId>(id);
  graph.consumers_.resize(entries.size() + 1);
  for (const std::size_t i : order) {
    std::vector<LayerId> inputs;
    std::vector<const Shape*> shapes;
    for (const LayerId read : reads[i]) {
      inputs.push_back(read == kInput ? kInput : id_of[static_cast<std::size_t>(read)]);
      shapes.push_back(read == kInput ? &graph.input_shape_ : &graph.layer(inputs.back()).output_shape);
      auto& consumers = graph.consumers_[static_cast<std::size_t>(inputs.back() + 1)];
      if (consumers.empty() || consumers.back() != id_of[i]) consumers.push_back(id_of[i]);
    }
    Layer layer = LayerReader(entries[i], shapes, graph.bytes_per_element_, graph.precision_).take();
    layer.name = names[i];
    layer.inputs = std::move(inputs);
    graph.layers_.push_back(std::move(layer));
    Json& attributes = graph.attributes_.emplace_back(entries[i].json());
    for (const char* key : kComputedKeys) attributes.erase(key);
  }

  graph.read_exits(reader);
  graph.read_thresholds(reader);
  reader.done();
  return graph;
}

void LayerGraph::read_exits(const JsonReader& reader) {
  const auto exits = reader.find("exits");
  if (exits) {
    std::vector<std::string> names;
    for (const Layer& l : layers_) names.push_back(l.name);
    double rates = 0;
    for (const JsonReader& entry : exits->elements()) {
      Exit exit;
      exit.name = entry.at("name").text();
      exit.layer = static_cast<LayerId>(entry.at("layer").choice(names));
      if (const auto accuracy = entry.find("accuracy")) {
        exit.accuracy = accuracy->number(0, 1);
        exit.accuracy_source = entry.at("accuracy_source").text();
      }
      if (const auto rate = entry.find("rate")) {
        exit.rate = rate->number(0, 1);
        exit.rate_source = entry.at("rate_source").text();
        rates += *exit.rate;
        if (rates > 1 + 1e-9) rate->fail("the rates sum to more than 1");
      }
      if (const auto rows = entry.find("accuracy_without")) {
        entry.at("accuracy_source").text();
        for (const JsonReader& row : rows->elements()) {
          AccuracyWithout& without = exit.accuracy_without.emplace_back();
          for (const JsonReader& name : row.at("absent").elements())
            without.absent.push_back(static_cast<LayerId>(name.choice(names)));
          std::ranges::sort(without.absent);
          without.accuracy = row.at("accuracy").number(0, 1);
          row.done();
          const auto same = [&](const AccuracyWithout& other) { return other.absent == without.absent; };
          if (std::ranges::count_if(exit.accuracy_without, same) > 1) row.at("absent").fail("stands twice");
        }
      }
      entry.done();
      for (const Exit& other : exits_) {
        if (other.name == exit.name) entry.at("name").fail("two exits have that name");
        if (other.layer == exit.layer) entry.at("layer").fail("two exits leave that layer");
      }
      add_exit(std::move(exit));
      const std::size_t before = exits_.size() < 2 ? 0 : exit_layers_[exits_.size() - 2].size();
      if (exit_layers_.back().size() < before) {
        throw InputError(
            entry.place(),
            fmt::format("exit \"{}\" has {} layers, the one before it {}; the deepest comes last",
                        exits_.back().name, exit_layers_.back().size(), before));
      }
    }
    if (exits_.empty()) exits->fail("must not be empty");
  } else {
    std::vector<std::string> sinks;
    for (LayerId id = 0; id < size(); ++id) {
      if (consumers(id).empty()) sinks.push_back(layer(id).name);
    }
    if (sinks.size() > 1) {
      throw InputError(reader.place(),
                       fmt::format("\"exits\" is missing, and nobody reads {}", fmt::join(sinks, ", ")));
    }
    Exit exit;
    exit.name = kOnlyExit;
    exit.layer = find(sinks.front());
    add_exit(std::move(exit));
  }

  std::set<LayerId> used;
  for (const auto& ids : exit_layers_) used.insert(ids.begin(), ids.end());
  for (LayerId id = 0; id < size(); ++id) {
    if (!used.contains(id)) {
      throw InputError(reader.at("layers").place(), fmt::format("\"{}\" leads to no exit", layer(id).name));
    }
  }
}

void LayerGraph::read_thresholds(const JsonReader& reader) {
  const auto thresholds = reader.find("thresholds");
  if (!thresholds) return;
  for (const JsonReader& entry : thresholds->elements()) {
    Threshold threshold;
    threshold.value = entry.at("threshold").number(0, 1);
    const auto per_exit = [&](const char* key) {
      std::vector<double> values;
      for (const JsonReader& value : entry.at(key).elements()) values.push_back(value.number(0, 1));
      if (values.size() != exits_.size())
        entry.at(key).fail(fmt::format("has {} values for {} exits", values.size(), exits_.size()));
      return values;
    };
    threshold.rates = per_exit("rates");
    threshold.accuracies = per_exit("accuracies");
    threshold.source = entry.at("source").text();
    const double sum = std::accumulate(threshold.rates.begin(), threshold.rates.end(), 0.0);
    if (std::abs(sum - 1) > 1e-9) entry.at("rates").fail(fmt::format("sum to {}, not to 1", sum));
    entry.done();
    if (!thresholds_.empty() && threshold.value <= thresholds_.back().value)
      entry.at("threshold").fail("does not ascend");
    thresholds_.push_back(std::move(threshold));
  }
}

std::optional<double> Exit::accuracy_with(const std::vector<bool>& computed) const {
  if (accuracy_without.empty()) return accuracy;
  std::set<LayerId> absent;
  for (const AccuracyWithout& row : accuracy_without) {
    for (const LayerId id : row.absent) {
      if (!computed[static_cast<std::size_t>(id)]) absent.insert(id);
    }
  }
  if (absent.empty()) return accuracy;
  const auto row = std::ranges::find_if(accuracy_without, [&](const AccuracyWithout& without) {
    return std::ranges::equal(without.absent, absent);
  });
  return row == accuracy_without.end() ? std::nullopt : std::optional(row->accuracy);
}

void LayerGraph::add_exit(Exit exit) {
  // Ancestors come before their descendants, so one sweep from the exit back finds them all.
  std::vector<bool> needed(layers_.size(), false);
  needed[static_cast<std::size_t>(exit.layer)] = true;
  for (LayerId id = exit.layer; id >= 0; --id) {
    if (!needed[static_cast<std::size_t>(id)]) continue;
    for (const LayerId input : layer(id).inputs) {
      if (input != kInput) needed[static_cast<std::size_t>(input)] = true;
    }
  }
  std::vector<LayerId>& ids = exit_layers_.emplace_back();
  for (LayerId id = 0; id < size(); ++id) {
    if (needed[static_cast<std::size_t>(id)]) ids.push_back(id);
  }
  exits_.push_back(std::move(exit));
}

std::span<const LayerId> LayerGraph::consumers(LayerId id) const {
  return consumers_[static_cast<std::size_t>(id + 1)];
}

LayerId LayerGraph::find(std::string_view name) const {
  const auto found = std::ranges::find(layers_, name, &Layer::name);
  return found == layers_.end() ? -1 : static_cast<LayerId>(found - layers_.begin());
}

std::span<const LayerId> LayerGraph::exit_layers(int exit) const {
  return exit_layers_[static_cast<std::size_t>(exit)];
}

double LayerGraph::input_elements(LayerId id) const {
  double elements = 0;
  for (const LayerId input : layer(id).inputs) {
    elements += input == kInput ? shape_elements(input_shape_) : output_elements(input);
  }
  return elements;
}

const Shape& LayerGraph::input_shape(LayerId id) const {
  const LayerId first = layer(id).inputs.front();
  return first == kInput ? input_shape_ : layer(first).output_shape;
}

LayerCosts LayerGraph::costs(LayerId id) const {
  const Layer& l = layer(id);
  double input_bytes = 0;
  for (const LayerId input : l.inputs) input_bytes += tensor_bytes(input);
  return {l.work_flop,         l.weight_bytes, l.state_bytes, input_elements(id),
          output_elements(id), input_bytes,    l.output_bytes};
}

double LayerGraph::traffic_bytes(LayerId id, const LayerCosts& costs, int batch) const {
  const Layer& l = layer(id);
  const double output_bytes = costs.output_bytes;
  double weights = costs.weight_bytes;
  switch (l.kind) {
    case LayerKind::kReshape:
    case LayerKind::kFlatten:
    case LayerKind::kDropout:
      return 0;
    case LayerKind::kEmbedding:
      weights = std::min(weights, batch * output_bytes);  // a row for each output token
      break;
    case LayerKind::kRnn:
    case LayerKind::kGru:
    case LayerKind::kLstm:
      weights *= l.steps;
      break;
    default:
      break;
  }
  return weights + batch * (costs.input_bytes + output_bytes + costs.state_bytes);
}

double LayerGraph::parameters() const {
  return weight_bytes() / bytes_per_element_;
}

double LayerGraph::macs() const {
  double sum = 0;
  for (const LayerId id : exit_layers_.back()) sum += layer(id).macs;
  return sum;
}

double LayerGraph::weight_bytes() const {
  double sum = 0;
  for (const Layer& layer : layers_) sum += layer.weight_bytes;
  return sum;
}

double LayerGraph::state_bytes() const {
  double sum = 0;
  for (const Layer& layer : layers_) sum += layer.state_bytes;
  return sum;
}

Json LayerGraph::to_json() const {
  Json json{{"schema", 1},
            {"name", name_},
            {"source", source_},
            {"precision", precision_},
            {"input", {{"shape", input_shape_}}}};
  if (table_1_) {
    json["table_1"] = {{"row", table_1_->row},
                       {"parameters", json_number(table_1_->parameters)},
                       {"size_mb", json_number(table_1_->size_mb)},
                       {"gflops", json_number(table_1_->gflops)},
                       {"note", table_1_->note}};
  }
  for (LayerId id = 0; id < size(); ++id) {
    const Layer& l = layer(id);
    Json entry = attributes_[static_cast<std::size_t>(id)];
    entry["name"] = l.name;
    entry["kind"] = layer_kind_name(l.kind);
    for (const LayerId input : l.inputs)
      entry["inputs"].push_back(input == kInput ? "input" : layer(input).name);
    entry["output"] = l.output_shape;
    entry["macs"] = json_number(l.macs);
    entry["work_flop"] = json_number(l.work_flop);
    entry["weight_bytes"] = json_number(l.weight_bytes);
    entry["output_bytes"] = json_number(l.output_bytes);
    if (l.state_bytes != 0) entry["state_bytes"] = json_number(l.state_bytes);
    json["layers"].push_back(std::move(entry));
  }
  if (exits_.size() == 1 && exits_[0].name == kOnlyExit && !exits_[0].accuracy && !exits_[0].rate &&
      exits_[0].accuracy_without.empty() && thresholds_.empty())
    return json;
  for (const Exit& exit : exits_) {
    Json entry{{"name", exit.name}, {"layer", layer(exit.layer).name}};
    if (exit.accuracy) {
      entry["accuracy"] = json_number(*exit.accuracy);
      entry["accuracy_source"] = exit.accuracy_source;
    }
    if (exit.rate) {
      entry["rate"] = json_number(*exit.rate);
      entry["rate_source"] = exit.rate_source;
    }
    for (const AccuracyWithout& row : exit.accuracy_without) {
      Json absent = Json::array();
      for (const LayerId id : row.absent) absent.push_back(layer(id).name);
      entry["accuracy_without"].push_back({{"absent", absent}, {"accuracy", json_number(row.accuracy)}});
    }
    json["exits"].push_back(std::move(entry));
  }
  for (const Threshold& threshold : thresholds_) {
    json["thresholds"].push_back({{"threshold", json_number(threshold.value)},
                                  {"rates", threshold.rates},
                                  {"accuracies", threshold.accuracies},
                                  {"source", threshold.source}});
  }
  return json;
}

std::string LayerGraph::text() const {
  const Json json = to_json();
  constexpr std::array kHead{"schema", "name", "source", "precision", "input", "table_1"};
  constexpr std::array kHeadMembers{"shape", "row", "parameters", "size_mb", "gflops", "note"};
  std::vector<std::string> members;
  for (const char* key : kHead) {
    if (json.contains(key))
      members.push_back(fmt::format("  \"{}\": {}", key, line_text(json[key], kHeadMembers)));
  }
  members.push_back(rows_text("layers", json["layers"], kLayerKeys));
  if (json.contains("exits")) members.push_back(rows_text("exits", json["exits"], kExitKeys));
  if (json.contains("thresholds"))
    members.push_back(rows_text("thresholds", json["thresholds"], kThresholdKeys));
  return fmt::format("{{\n{}\n}}\n", fmt::join(members, ",\n"));
}

}  // namespace cdisim
