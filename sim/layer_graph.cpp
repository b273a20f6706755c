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
  if (shape.size() != 1 && shape.size() != 3) json.fail("must be [elements] or [channels, height, width]");
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
std::int64_t window_count(std::int64_t extent, int kernel, int stride, int before, int after, bool round_up) {
  const std::int64_t room = extent + before + after - kernel + (round_up ? stride - 1 : 0);
  if (room < 0) return 0;
  std::int64_t count = room / stride + 1;
  if (round_up && (count - 1) * stride >= extent + before) --count;
  return count;
}

class LayerReader {
 public:
  LayerReader(const JsonReader& json, const std::vector<const Shape*>& inputs, double bytes_per_element,
              const std::string& precision)
      : json_(json), inputs_(inputs), in_(*inputs.front()) {
    layer_.kind = static_cast<LayerKind>(json_.at("kind").choice(layer_kind_names()));
    if (const auto output = json_.find("output")) stated_shape_ = read_shape(*output);
    check_input_count();
    read_kind();

    const double outputs = shape_elements(layer_.output_shape);
    layer_.work_flop = 2 * layer_.macs + elementwise_flop_;
    layer_.weight_bytes = weights_ * bytes_per_element;
    layer_.output_bytes = outputs * bytes_per_element;
    check_stated(json_, "macs", layer_.macs, "multiply-adds (1 MAC = 2 flop)");
    check_stated(json_, "work_flop", layer_.work_flop, "flop (1 MAC = 2 flop, plus element-wise operations)");
    const std::string unit = fmt::format("bytes ({} has {} per element)", precision, bytes_per_element);
    check_stated(json_, "weight_bytes", layer_.weight_bytes, unit);
    check_stated(json_, "output_bytes", layer_.output_bytes, unit);
    json_.done();
  }

  Layer take() { return std::move(layer_); }

 private:
  const JsonReader& json_;
  const std::vector<const Shape*>& inputs_;
  const Shape& in_;  ///< of the first input
  Shape stated_shape_;
  Layer layer_;
  double elementwise_flop_ = 0;
  double weights_ = 0;  ///< count, biases included

  void check_input_count() const {
    const bool joins = layer_.kind == LayerKind::kAdd || layer_.kind == LayerKind::kConcat;
    if (joins ? inputs_.size() < 2 : inputs_.size() != 1) {
      json_.at("inputs").fail(fmt::format("{} reads {}", layer_kind_name(layer_.kind),
                                          joins ? "two tensors or more" : "exactly one tensor"));
    }
  }

  void need_image() const {
    if (in_.size() != 3) {
      json_.at("inputs").fail(
          fmt::format("{} reads an image, not [{}]", layer_kind_name(layer_.kind), in_[0]));
    }
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

  // Kernel, stride and padding, and from them the output's height and width.
  void read_window(int channels, bool round_up) {
    json_.at("kernel");
    layer_.kernel = read_integers<2>(json_, "kernel", 1, layer_.kernel);
    layer_.stride = read_integers<2>(json_, "stride", 1, layer_.stride);
    layer_.padding = read_integers<4>(json_, "padding", 0, layer_.padding);
    const auto& [top, left, bottom, right] = layer_.padding;
    const auto height = window_count(in_[1], layer_.kernel[0], layer_.stride[0], top, bottom, round_up);
    const auto width = window_count(in_[2], layer_.kernel[1], layer_.stride[1], left, right, round_up);
    if (height < 1 || width < 1) {
      json_.at("kernel").fail(fmt::format("is larger than the padded input of {} by {}", in_[1], in_[2]));
    }
    set_shape({channels, static_cast<int>(height), static_cast<int>(width)});
  }

  void add_bias(double output_channels) {
    if (!read_flag(json_, "bias", true)) return;
    weights_ += output_channels;
    elementwise_flop_ = shape_elements(layer_.output_shape);
  }

  void read_conv() {
    need_image();
    const bool depthwise = layer_.kind == LayerKind::kDepthwiseConv;
    if (stated_shape_.empty()) json_.at("output");
    const int channels = stated_shape_[0];
    layer_.groups = depthwise ? in_[0] : 1;
    if (const auto groups = depthwise ? std::nullopt : json_.find("groups")) {
      layer_.groups = static_cast<int>(groups->integer(1, kLargestDimension));
    }
    if (in_[0] % layer_.groups != 0 || channels % layer_.groups != 0) {
      json_.at(depthwise ? "output" : "groups")
          .fail(fmt::format("{} groups do not divide {} channels in and {} out", layer_.groups, in_[0],
                            channels));
    }
    read_window(channels, false);
    const double per_output = 1.0 * layer_.kernel[0] * layer_.kernel[1] * (in_[0] / layer_.groups);
    layer_.macs = shape_elements(layer_.output_shape) * per_output;
    weights_ = channels * per_output;
    add_bias(channels);
  }

  void read_kind() {
    const double elements = shape_elements(in_);
    switch (layer_.kind) {
      case LayerKind::kConv:
      case LayerKind::kDepthwiseConv:
        read_conv();
        break;
      case LayerKind::kFc:
        if (stated_shape_.empty()) json_.at("output");
        set_shape({stated_shape_[0]});
        layer_.macs = weights_ = elements * stated_shape_[0];
        add_bias(stated_shape_[0]);
        break;
      case LayerKind::kMaxPool:
      case LayerKind::kAvgPool:
        need_image();
        read_window(in_[0], read_flag(json_, "ceil", false));
        elementwise_flop_ = shape_elements(layer_.output_shape) * layer_.kernel[0] * layer_.kernel[1];
        break;
      case LayerKind::kRelu:
        set_shape(in_);
        elementwise_flop_ = elements;
        break;
      case LayerKind::kLrn:
        set_shape(in_);
        elementwise_flop_ = elements * (2.0 * json_.at("local_size").integer(1, kLargestDimension) + 3);
        break;
      case LayerKind::kBatchNorm:
        set_shape(in_);
        elementwise_flop_ = 2 * elements;
        weights_ = 2.0 * in_[0];
        break;
      case LayerKind::kSoftmax:
        set_shape(in_);
        elementwise_flop_ = 3 * elements;
        break;
      case LayerKind::kDropout:
        set_shape(in_);
        break;
      case LayerKind::kFlatten:
        if (elements > kLargestDimension) {
          json_.at("inputs").fail(fmt::format("flattens to more than {} elements", kLargestDimension));
        }
        set_shape({static_cast<int>(elements)});
        break;
      case LayerKind::kAdd:
        check_equal_shapes(0);
        set_shape(in_);
        elementwise_flop_ = elements * static_cast<double>(inputs_.size() - 1);
        break;
      case LayerKind::kConcat: {
        check_equal_shapes(1);
        std::int64_t channels = 0;
        for (const Shape* shape : inputs_) channels += (*shape)[0];
        Shape joined = in_;
        joined[0] = static_cast<int>(std::min<std::int64_t>(channels, INT32_MAX));
        set_shape(std::move(joined));
        break;
      }
    }
  }

  // The inputs of add agree in all dimensions (from 0), those of concat behind the channels (from 1).
  void check_equal_shapes(std::ptrdiff_t from) const {
    for (const Shape* shape : inputs_) {
      if (shape->size() != in_.size() ||
          !std::equal(shape->begin() + from, shape->end(), in_.begin() + from)) {
        json_.at("inputs").fail(fmt::format("{} cannot join [{}] and [{}]", layer_kind_name(layer_.kind),
                                            fmt::join(in_, ", "), fmt::join(*shape, ", ")));
      }
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

}  // namespace

const std::vector<std::string>& layer_kind_names() {
  static const std::vector<std::string> names{
      "conv",       "depthwise_conv", "fc",      "max_pool", "avg_pool", "relu",   "lrn",
      "batch_norm", "dropout",        "softmax", "add",      "concat",   "flatten"};
  return names;
}

std::string_view layer_kind_name(LayerKind kind) {
  return layer_kind_names()[static_cast<std::size_t>(kind)];
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
  }

  graph.read_exits(reader);
  reader.done();
  return graph;
}

void LayerGraph::read_exits(const JsonReader& reader) {
  const auto exits = reader.find("exits");
  if (exits) {
    std::vector<std::string> names;
    for (const Layer& l : layers_) names.push_back(l.name);
    for (const JsonReader& entry : exits->elements()) {
      Exit exit;
      exit.name = entry.at("name").text();
      exit.layer = static_cast<LayerId>(entry.at("layer").choice(names));
      if (const auto accuracy = entry.find("accuracy")) {
        exit.accuracy = accuracy->number(0, 1);
        entry.at("accuracy_source").text();
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
    add_exit({"output", find(sinks.front()), {}});
  }

  std::set<LayerId> used;
  for (const auto& ids : exit_layers_) used.insert(ids.begin(), ids.end());
  for (LayerId id = 0; id < size(); ++id) {
    if (!used.contains(id)) {
      throw InputError(reader.at("layers").place(), fmt::format("\"{}\" leads to no exit", layer(id).name));
    }
  }
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

}  // namespace cdisim
