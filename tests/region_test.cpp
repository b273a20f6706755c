// Parts of layers: pencil cases of what each kind reads, and a numerical proof: random graphs are executed
// whole and in pieces that see nothing but what the plan's edges bring them.
#include "sim/region.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "sim/error.h"
#include "sim/plan.h"
#include "sim/platform.h"
#include "sim/random.h"

using namespace cdisim;

namespace {

LayerGraph graph_of(const Shape& input, const std::string& layers) {
  const Json json{{"schema", 1},
                  {"name", "g"},
                  {"source", "test"},
                  {"precision", "fp32"},
                  {"input", {{"shape", input}}},
                  {"layers", parse_json("[" + layers + "]", "l")}};
  return LayerGraph::parse(json, "g.json");
}

// What one layer that reads the input needs of it.
Region needs(const Shape& input, const std::string& layer, const Region& output) {
  return input_region(graph_of(input, R"({"name": "l", "inputs": ["input"], )" + layer + "}"), 0, output, 0);
}

// ---- a reference executor: what a layer's definition says, in double precision ----

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Tensor {
  Shape shape;
  std::vector<double> values;  // row-major
  explicit Tensor(Shape s = {}, double value = kNan)
      : shape(std::move(s)), values(static_cast<std::size_t>(shape_elements(shape)), value) {}
  std::size_t at(const std::vector<int>& index) const {
    std::size_t flat = 0;
    for (std::size_t d = 0; d < shape.size(); ++d)
      flat = flat * static_cast<std::size_t>(shape[d]) + static_cast<std::size_t>(index[d]);
    return flat;
  }
  double& operator[](const std::vector<int>& index) { return values[at(index)]; }
  double operator[](const std::vector<int>& index) const { return values[at(index)]; }
};

template <class Visit>
void for_each_index(const Region& region, const Visit& visit) {
  if (empty(region)) return;
  std::vector<int> index;
  for (const Range& r : region) index.push_back(r.begin);
  for (;;) {
    visit(index);
    std::size_t d = region.size();
    while (d > 0 && ++index[d - 1] == region[d - 1].end) {
      index[d - 1] = region[d - 1].begin;
      --d;
    }
    if (d == 0) return;
  }
}

// The n-th weight of a layer: any fixed number that is not 0.
double weight(LayerId layer, std::int64_t n) {
  return 0.25 + std::fmod(0.6180339887498949 * static_cast<double>(n + 1) + 0.31 * layer, 1.0);
}

double convolution(const Layer& l, LayerId id, const Tensor& in, const std::vector<int>& o) {
  const bool transposed = l.kind == LayerKind::kConvTranspose;
  const int per_group = in.shape[0] / l.groups;
  const int group = o[0] / (l.output_shape[0] / l.groups);
  double sum = weight(id, o[0]);
  for (int c = 0; c < per_group; ++c) {
    for (int ky = 0; ky < l.kernel[0]; ++ky) {
      for (int kx = 0; kx < l.kernel[1]; ++kx) {
        std::array<int, 2> at{};
        bool inside = true;
        const std::array<int, 2> k{ky, kx};
        for (std::size_t a = 0; a < 2; ++a) {
          const int out = o[a + 1], before = l.padding[a];
          if (transposed) {
            const int reached = out + before - k[a] * l.dilation[a];
            inside = inside && reached >= 0 && reached % l.stride[a] == 0;
            at[a] = reached / l.stride[a];
          } else {
            at[a] = out * l.stride[a] - before + k[a] * l.dilation[a];
          }
          inside = inside && at[a] >= 0 && at[a] < in.shape[a + 1];
        }
        if (!inside) continue;
        const int filter = ((o[0] * per_group + c) * l.kernel[0] + ky) * l.kernel[1] + kx;
        sum += weight(id, 100 + filter) * in[{group * per_group + c, at[0], at[1]}];
      }
    }
  }
  return sum;
}

double pool(const Layer& l, const Tensor& in, const std::vector<int>& o) {
  double most = -std::numeric_limits<double>::infinity(), sum = 0, n = 0;
  for (int y = o[1] * l.stride[0] - l.padding[0]; y < o[1] * l.stride[0] - l.padding[0] + l.kernel[0]; ++y) {
    for (int x = o[2] * l.stride[1] - l.padding[1]; x < o[2] * l.stride[1] - l.padding[1] + l.kernel[1];
         ++x) {
      if (y < 0 || x < 0 || y >= in.shape[1] || x >= in.shape[2]) continue;
      const double v = in[{o[0], y, x}];
      if (v > most || std::isnan(v)) most = v;
      sum += v;
      ++n;
    }
  }
  if (n == 0) return 0;
  return l.kind == LayerKind::kMaxPool ? most : sum / n;
}

double upsampled(const Layer& l, const Tensor& in, const std::vector<int>& o) {
  std::array<int, 2> low{}, high{};
  std::array<double, 2> rest{};
  for (std::size_t a = 0; a < 2; ++a) {
    const int scale = l.output_shape[a + 1] / in.shape[a + 1];
    if (!l.linear) {
      low[a] = high[a] = o[a + 1] / scale;
      continue;
    }
    const double at = std::max(0.0, (o[a + 1] + 0.5) / scale - 0.5);  // half a pixel from the corner
    low[a] = static_cast<int>(at);
    high[a] = std::min(low[a] + 1, in.shape[a + 1] - 1);
    rest[a] = at - low[a];
  }
  if (!l.linear) return in[{o[0], low[0], low[1]}];
  const auto row = [&](int y) {
    return (1 - rest[1]) * in[{o[0], y, low[1]}] + rest[1] * in[{o[0], y, high[1]}];
  };
  return (1 - rest[0]) * row(low[0]) + rest[0] * row(high[0]);
}

std::vector<int> broadcast_index(const Tensor& in, const std::vector<int>& o) {
  std::vector<int> index(o.end() - static_cast<std::ptrdiff_t>(in.shape.size()), o.end());
  for (std::size_t d = 0; d < index.size(); ++d) index[d] = in.shape[d] == 1 ? 0 : index[d];
  return index;
}

double attention(const Layer& l, const std::vector<const Tensor*>& in, const std::vector<int>& o) {
  const Tensor &queries = *in[0], &keys = *in[1], &values = *in[2];
  const int features = l.output_shape[1] / l.groups;
  const int head = o[1] / features, key_head = head / (l.groups / (keys.shape[1] / features));
  double sum = 0, weights = 0;
  for (int t = 0; t < keys.shape[0]; ++t) {
    double score = 0;
    for (int f = 0; f < features; ++f)
      score += queries[{o[0], head * features + f}] * keys[{t, key_head * features + f}];
    const double e = std::exp(std::min(score * 1e-3, 20.0));
    weights += e;
    sum += e * values[{t, key_head * features + o[1] % features}];
  }
  return sum / weights;
}

// One element of a layer's output.
double element(const LayerGraph& graph, LayerId id, const std::vector<const Tensor*>& in,
               const std::vector<int>& o) {
  const Layer& l = graph.layer(id);
  const Tensor& first = *in.front();
  const auto all = [&](const auto& term) {
    double sum = 0;
    std::int64_t n = 0;
    for (const double v : first.values) sum += term(v, n++);
    return sum;
  };
  switch (l.kind) {
    case LayerKind::kConv:
    case LayerKind::kDepthwiseConv:
    case LayerKind::kConvTranspose:
      return convolution(l, id, first, o);
    case LayerKind::kMaxPool:
    case LayerKind::kAvgPool:
      return pool(l, first, o);
    case LayerKind::kFc: {
      double sum = weight(id, o.back());
      if (first.shape.size() != 2) {
        return sum + all([&](double v, std::int64_t n) { return v * weight(id, 100 + 37 * n + o.back()); });
      }
      for (int f = 0; f < first.shape[1]; ++f) sum += weight(id, 100 + 37 * f + o[1]) * first[{o[0], f}];
      return sum;
    }
    case LayerKind::kLayerNorm: {
      double sum = 0;
      for (int f = 0; f < first.shape[1]; ++f) sum += first[{o[0], f}];
      return first[o] - sum / first.shape[1];
    }
    case LayerKind::kSoftmax:
    case LayerKind::kDataMovement:
      return (o[0] + 1) * all([](double v, std::int64_t) { return v; });
    case LayerKind::kReduce: {
      Region window;
      for (std::size_t d = 0; d < o.size(); ++d)
        window.push_back(l.output_shape[d] == first.shape[d] ? Range{o[d], o[d] + 1}
                                                             : Range{0, first.shape[d]});
      double sum = 0;
      for_each_index(window, [&](const std::vector<int>& i) { sum += first[i]; });
      return sum;
    }
    case LayerKind::kMatmul: {
      double sum = 0;
      for (int k = 0; k < first.shape.back(); ++k) sum += first[{o[0], k}] * (*in[1])[{k, o[1]}];
      return sum;
    }
    case LayerKind::kAttention:
      return attention(l, in, o);
    case LayerKind::kRelu:
      return first[o] < 0 ? 0 : first[o];
    case LayerKind::kBatchNorm:
    case LayerKind::kAffine:
      return first[o] * weight(id, o[0]) + weight(id, 50 + o[0]);
    case LayerKind::kDropout:
      return first[o];
    case LayerKind::kLrn: {
      double sum = 0;
      const int from = o[0] - (l.local_size - 1) / 2;
      for (int c = std::max(0, from); c < std::min(first.shape[0], from + l.local_size); ++c)
        sum += first[{c, o[1], o[2]}] * first[{c, o[1], o[2]}];
      return first[o] / (1 + 1e-3 * sum);
    }
    case LayerKind::kElementwise:
    case LayerKind::kAdd:
    case LayerKind::kMul: {
      double out = l.kind == LayerKind::kMul ? 1 : 0;
      for (const Tensor* tensor : in) {
        const double v = (*tensor)[broadcast_index(*tensor, o)];
        out = l.kind == LayerKind::kMul ? out * v : out + v;
      }
      return out;
    }
    case LayerKind::kConcat: {
      std::vector<int> index = o;
      auto& along = index[static_cast<std::size_t>(l.axis)];
      std::size_t i = 0;
      while (along >= in[i]->shape[static_cast<std::size_t>(l.axis)])
        along -= in[i++]->shape[static_cast<std::size_t>(l.axis)];
      return (*in[i])[index];
    }
    case LayerKind::kFlatten:
    case LayerKind::kReshape:
      return first.values[Tensor(l.output_shape).at(o)];
    case LayerKind::kSlice: {
      std::vector<int> index = o;
      for (std::size_t d = 0; d < o.size(); ++d) index[d] = l.start[d] + o[d] * l.step[d];
      return first[index];
    }
    case LayerKind::kUpsample:
      return upsampled(l, first, o);
    case LayerKind::kEmbedding:
      return weight(
          id, static_cast<std::int64_t>(std::fmod(first.values[static_cast<std::size_t>(o[0])], 7)) + o[1]);
    default:
      return all([](double v, std::int64_t) { return v; });
  }
}

std::vector<const Tensor*> inputs_of(const LayerGraph& graph, LayerId id, const Tensor& input,
                                     const std::vector<Tensor>& tensors) {
  std::vector<const Tensor*> in;
  for (const LayerId i : graph.layer(id).inputs)
    in.push_back(i == kInput ? &input : &tensors[static_cast<std::size_t>(i)]);
  return in;
}

void execute(const LayerGraph& graph, LayerId id, const Region& part, const std::vector<const Tensor*>& in,
             Tensor& out) {
  for_each_index(part, [&](const std::vector<int>& o) { out[o] = element(graph, id, in, o); });
}

std::vector<Tensor> no_tensors(const LayerGraph& graph) {
  std::vector<Tensor> out;
  for (const Layer& layer : graph.layers()) out.emplace_back(layer.output_shape);
  return out;
}

Tensor random_input(const LayerGraph& graph, Random& random) {
  Tensor input(graph.input_shape());
  for (double& v : input.values) v = 2 * random.uniform() - 1;
  return input;
}

// ---- random graphs ----

// Images through every kind of layer with a window or a join, sometimes tokens at the end, then a head.
LayerGraph random_images(Random& random) {
  const auto between = [&](int low, int high) { return low + random.below(high - low + 1); };
  Shape first{between(1, 4), between(5, 10), between(5, 10)};
  std::vector<std::pair<std::string, Shape>> images{{"input", first}};
  std::vector<Json> layers;
  const auto add = [&](Json layer, const std::vector<std::string>& inputs) -> std::optional<Shape> {
    layer["name"] = fmt::format("l{}", layers.size());
    layer["inputs"] = inputs;
    layers.push_back(layer);
    // The loader knows the shapes; what it refuses (a window larger than its image) is left out.
    try {
      std::vector<std::string> exits;
      Json exit_list = Json::array();
      for (const Json& l : layers) {
        bool read = false;
        for (const Json& other : layers) {
          for (const Json& input : other["inputs"]) read = read || input == l["name"];
        }
        if (!read) exits.push_back(l["name"]);
      }
      Json all = layers;
      if (exits.size() > 1) {
        for (const std::string& name : exits)
          all.push_back({{"name", "to_" + name},
                         {"kind", "data_movement"},
                         {"operator", "x"},
                         {"inputs", {name}},
                         {"output", {1}}});
        Json join{{"name", "top"}, {"kind", "concat"}, {"inputs", Json::array()}};
        for (const std::string& name : exits) join["inputs"].push_back("to_" + name);
        all.push_back(join);
      }
      const Json json{{"schema", 1},
                      {"name", "g"},
                      {"source", "test"},
                      {"precision", "fp32"},
                      {"input", {{"shape", first}}},
                      {"layers", all}};
      const LayerGraph graph = LayerGraph::parse(json, "g.json");
      return graph.layer(graph.find(layer["name"].get<std::string>())).output_shape;
    } catch (const InputError&) {
      layers.pop_back();
      return std::nullopt;
    }
  };
  const auto padding = [&](int most) {
    return Json{between(0, most), between(0, most), between(0, most), between(0, most)};
  };
  const int n = between(3, 8);
  for (int tries = 0; static_cast<int>(layers.size()) < n && tries < 60; ++tries) {
    const auto [name, shape] =
        images[static_cast<std::size_t>(random.below(3) == 0 ? random.below(static_cast<int>(images.size()))
                                                             : static_cast<int>(images.size()) - 1)];
    Json layer;
    std::vector<std::string> inputs{name};
    switch (random.below(16)) {
      case 0:
      case 1:
      case 2: {
        const int groups = random.below(3) == 0 && shape[0] % 2 == 0 ? 2 : 1;
        layer = {{"kind", "conv"},
                 {"kernel", {between(1, 4), between(1, 4)}},
                 {"stride", {between(1, 3), between(1, 2)}},
                 {"padding", padding(2)},
                 {"dilation", {between(1, 2), between(1, 2)}},
                 {"groups", groups}};
        const Json& l = layer;
        const auto extent = [&](std::size_t a) {
          const int reach = l["dilation"][a].get<int>() * (l["kernel"][a].get<int>() - 1) + 1;
          return (shape[a + 1] + l["padding"][a].get<int>() + l["padding"][a + 2].get<int>() - reach) /
                     l["stride"][a].get<int>() +
                 1;
        };
        layer["output"] = {groups * between(1, 3), extent(0), extent(1)};
        break;
      }
      case 3: {
        const int k = between(1, 3);
        layer = {{"kind", "depthwise_conv"}, {"kernel", {k, k}}, {"padding", padding(1)}};
        const auto& p = layer["padding"];
        layer["output"] = {shape[0] * between(1, 2), shape[1] + p[0].get<int>() + p[2].get<int>() - k + 1,
                           shape[2] + p[1].get<int>() + p[3].get<int>() - k + 1};
        break;
      }
      case 4: {
        const int groups = random.below(2) == 0 && shape[0] % 2 == 0 ? 2 : 1;
        layer = {{"kind", "conv_transpose"},
                 {"kernel", {between(1, 4), between(1, 3)}},
                 {"stride", {between(1, 3), between(1, 2)}},
                 {"padding", padding(1)},
                 {"dilation", {between(1, 2), 1}},
                 {"groups", groups}};
        const Json& l = layer;
        const auto extent = [&](std::size_t a) {
          const int reach = l["dilation"][a].get<int>() * (l["kernel"][a].get<int>() - 1) + 1;
          return (shape[a + 1] - 1) * l["stride"][a].get<int>() + reach - l["padding"][a].get<int>() -
                 l["padding"][a + 2].get<int>();
        };
        layer["output"] = {groups * between(1, 2), extent(0), extent(1)};
        break;
      }
      case 5:
      case 6:
        layer = {{"kind", random.below(2) == 0 ? "max_pool" : "avg_pool"},
                 {"kernel", {between(1, 3), between(1, 3)}},
                 {"stride", {between(1, 3), between(1, 3)}},
                 {"ceil", random.below(2) == 0}};
        if (layer["kernel"][0] > 1 && layer["kernel"][1] > 1) layer["padding"] = padding(1);
        break;
      case 7:
        layer = {{"kind", "upsample"},
                 {"scale", {between(1, 3), between(1, 2)}},
                 {"mode", random.below(2) == 0 ? "nearest" : "linear"}};
        break;
      case 8:
        layer = {{"kind", "lrn"}, {"local_size", between(1, 5)}};
        break;
      case 9:
        layer = {{"kind", std::vector<std::string>{"relu", "batch_norm", "affine",
                                                   "dropout"}[static_cast<std::size_t>(random.below(4))]}};
        break;
      case 10:
      case 11:
      case 12:  // joins, with whatever earlier image fits
        layer = {{"kind", std::vector<std::string>{"add", "mul", "elementwise", "concat",
                                                   "concat"}[static_cast<std::size_t>(random.below(5))]}};
        if (layer["kind"] == "elementwise") layer["function"] = "f";
        if (layer["kind"] == "concat") layer["axis"] = random.below(3);
        inputs.push_back(
            images[static_cast<std::size_t>(random.below(static_cast<int>(images.size())))].first);
        break;
      case 13: {
        const Json start{random.below(shape[0]), random.below(2), random.below(2)},
            step{1, between(1, 2), between(1, 2)};
        const auto length = [&](std::size_t d) {
          return 1 + (shape[d] - 1 - start[d].get<int>()) / step[d].get<int>();
        };
        if (start[1] >= shape[1] || start[2] >= shape[2]) continue;
        layer = {{"kind", "slice"},
                 {"start", start},
                 {"step", step},
                 {"output", {length(0), length(1), length(2)}}};
        break;
      }
      case 14: {
        Shape out = shape;
        out[static_cast<std::size_t>(random.below(3))] = 1;
        layer = {{"kind", "reduce"}, {"output", out}};
        break;
      }
      default:  // rows and columns regrouped
        layer = {{"kind", "reshape"},
                 {"output", random.below(2) == 0 ? Shape{shape[0], shape[2], shape[1]}
                                                 : Shape{shape[1], shape[0], shape[2]}}};
    }
    const std::optional<Shape> out = add(layer, inputs);
    if (!out) continue;
    if (shape_elements(*out) > 1500) {
      layers.pop_back();
      continue;
    }
    images.emplace_back(layers.back()["name"], *out);
  }
  // What nobody reads yet becomes one vector, or tokens.
  std::vector<std::string> loose;
  for (std::size_t i = 1; i < images.size(); ++i) {
    bool read = false;
    for (const Json& layer : layers) {
      for (const Json& input : layer["inputs"]) read = read || input == images[i].first;
    }
    if (!read) loose.push_back(images[i].first);
  }
  std::vector<std::string> vectors;
  const auto push = [&](Json layer, const std::vector<std::string>& inputs) {
    layer["name"] = fmt::format("l{}", layers.size());
    layer["inputs"] = inputs;
    layers.push_back(layer);
    return layer["name"].get<std::string>();
  };
  for (const std::string& name : loose) {
    if (random.below(2) == 0) {
      vectors.push_back(push({{"kind", "flatten"}}, {name}));
      continue;
    }
    Shape shape;
    for (const auto& [other, s] : images) shape = other == name ? s : shape;
    std::string t = push({{"kind", "reshape"}, {"output", {shape[0], shape[1] * shape[2]}}}, {name});
    t = push({{"kind", "fc"}, {"output", {shape[0], 8}}}, {t});
    t = push({{"kind", "layer_norm"}}, {t});
    const std::string k = push({{"kind", "fc"}, {"output", {shape[0], 4}}}, {t});
    const std::string v = push({{"kind", "fc"}, {"output", {shape[0], 4}}}, {t});
    t = push({{"kind", "attention"}, {"heads", 4}, {"key_value_heads", 2}}, {t, k, v});
    if (shape[0] == 8) t = push({{"kind", "matmul"}}, {t, t});
    if (random.below(3) == 0) t = push({{"kind", "softmax"}}, {t});
    vectors.push_back(push({{"kind", "flatten"}}, {t}));
  }
  if (vectors.size() > 1) push({{"kind", "concat"}}, vectors);
  const std::string hidden = push({{"kind", "fc"}, {"output", {between(2, 9)}}}, {layers.back()["name"]});
  push({{"kind", "relu"}}, {hidden});
  return LayerGraph::parse({{"schema", 1},
                            {"name", "g"},
                            {"source", "test"},
                            {"precision", "fp32"},
                            {"input", {{"shape", first}}},
                            {"layers", layers}},
                           "g.json");
}

// Random tiles of a tensor: slabs of one dimension in random shares, or a grid of two.
std::vector<Region> random_tiles(const Shape& shape, int n, Random& random) {
  const auto cut = [&](std::size_t dimension) {
    std::vector<double> shares;
    for (int i = 0; i < n; ++i) shares.push_back(random.uniform() + 0.05);
    return split(shape[dimension], shares);
  };
  const auto dimension = static_cast<std::size_t>(random.below(static_cast<int>(shape.size())));
  const auto second = static_cast<std::size_t>(random.below(static_cast<int>(shape.size())));
  std::vector<Region> out;
  for (const Range& range : cut(dimension)) {
    const Region tile = slab(shape, dimension, range);
    if (second == dimension || random.below(2) == 0) {
      out.push_back(tile);
      continue;
    }
    for (const Range& across : cut(second)) {
      out.push_back(tile);
      out.back()[second] = across;
    }
  }
  std::erase_if(out, [](const Region& tile) { return empty(tile); });
  return out;
}

// Runs of layers one after another, each whole on one host, layer by layer in parts, or in fused tiles.
Plan random_plan(const LayerGraph& graph, int hosts, Random& random) {
  Plan plan;
  for (LayerId from = 0; from < graph.size();) {
    const LayerId to = std::min(graph.size(), from + 1 + random.below(5));
    std::vector<LayerId> layers;
    for (LayerId id = from; id < to; ++id) layers.push_back(id);
    const int n = 1 + random.below(4);
    switch (random.below(4)) {
      case 0:
        plan.pieces.push_back({layers, random.below(hosts)});
        break;
      case 1:
        for (const LayerId id : layers) {
          for (const Region& tile : random_tiles(graph.layer(id).output_shape, n, random))
            plan.pieces.push_back({{id}, random.below(hosts), {{id, tile}}});
        }
        break;
      default: {
        std::vector<Parts> outputs;
        for (const LayerId id : layers) {
          const auto readers = graph.consumers(id);
          if (!readers.empty() && readers.back() < to) continue;  // read within alone
          const std::vector<Region> tiles = random_tiles(graph.layer(id).output_shape, n, random);
          if (outputs.size() < tiles.size()) outputs.resize(tiles.size());
          for (std::size_t t = 0; t < tiles.size(); ++t) outputs[t][id] = tiles[t];
        }
        for (const Parts& tile : outputs)
          plan.pieces.push_back(fused_piece(graph, layers, tile, random.below(hosts)));
      }
    }
    from = to;
  }
  return plan;
}

Platform three_hosts() {
  return Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
      <host id="a" speed="1Gf"><prop id="tier" value="device"/></host>
      <host id="b" speed="1Gf"><prop id="tier" value="edge"/></host>
      <host id="c" speed="1Gf"><prop id="tier" value="edge"/></host>
      <link id="l" bandwidth="8Mbps" latency="1ms"/>
      <route src="a" dst="b"><link_ctn id="l"/></route><route src="a" dst="c"><link_ctn id="l"/></route>
      <route src="b" dst="c"><link_ctn id="l"/></route></zone></platform>)",
                         "p.xml");
}

// Runs the plan, every piece with tensors that hold nothing (NaN) but what it computes and what it reads of
// others. Returns the number of elements that differ from those of the whole graph, and the bytes that must
// travel, found element by element: by (to, from), 4 bytes each.
struct Outcome {
  int wrong = 0;
  std::map<std::pair<int, int>, double> bytes;
};

Outcome run_in_pieces(const LayerGraph& graph, const Plan& plan, const Tensor& input,
                      const std::vector<Tensor>& right) {
  Outcome out;
  std::vector<Tensor> computed = no_tensors(graph);  // by anybody so far
  // Who computes each element, in the order of the pieces.
  std::vector<std::vector<std::vector<int>>> owners;
  for (const Layer& layer : graph.layers())
    owners.emplace_back(static_cast<std::size_t>(shape_elements(layer.output_shape)));
  const auto part_of = [&](const Piece& piece, LayerId id) {
    const auto part = piece.parts.find(id);
    return part == piece.parts.end() ? whole(graph.layer(id).output_shape) : part->second;
  };
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    for (const LayerId id : plan.pieces[p].layers) {
      for_each_index(part_of(plan.pieces[p], id), [&](const std::vector<int>& o) {
        const auto i = static_cast<std::size_t>(id);
        owners[i][computed[i].at(o)].push_back(static_cast<int>(p));
      });
    }
  }
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    const Piece& piece = plan.pieces[p];
    Tensor own_input(graph.input_shape());
    std::vector<Tensor> own = no_tensors(graph);
    std::set<std::pair<LayerId, std::size_t>> received;
    for (const LayerId id : piece.layers) {
      for (std::size_t i = 0; i < graph.layer(id).inputs.size(); ++i) {
        const LayerId read = graph.layer(id).inputs[i];
        const Region region = piece.parts.contains(id) ? input_region(graph, id, piece.parts.at(id), i)
                                                       : whole(graph.tensor_shape(read));
        Tensor& into = read == kInput ? own_input : own[static_cast<std::size_t>(read)];
        const Tensor& from = read == kInput ? input : computed[static_cast<std::size_t>(read)];
        for_each_index(region, [&](const std::vector<int>& o) {
          const std::size_t at = into.at(o);
          int giver = kSourceEnd;
          if (read != kInput) {
            const std::vector<int>& givers = owners[static_cast<std::size_t>(read)][at];
            if (std::ranges::count(givers, static_cast<int>(p)) > 0) return;
            REQUIRE(!givers.empty());
            const auto near = std::ranges::find_if(
                givers, [&](int g) { return plan.pieces[static_cast<std::size_t>(g)].host == piece.host; });
            giver = near == givers.end() ? givers.front() : *near;
          }
          if (!received.emplace(read, at).second) return;
          into.values[at] = from.values[at];
          out.bytes[{static_cast<int>(p), giver}] += 4;
        });
      }
    }
    for (const LayerId id : piece.layers) {
      const auto l = static_cast<std::size_t>(id);
      const Region part = part_of(piece, id);
      execute(graph, id, part, inputs_of(graph, id, own_input, own), own[l]);
      for_each_index(part, [&](const std::vector<int>& o) {
        if (own[l][o] != right[l][o]) ++out.wrong;  // NaN differs from everything
        computed[l][o] = own[l][o];
      });
    }
  }
  const std::vector<std::vector<int>>& results = owners.back();
  for (const std::vector<int>& givers : results) out.bytes[{kSourceEnd, givers.at(0)}] += 4;
  return out;
}

}  // namespace

TEST_CASE("region: algebra of boxes") {
  const Region a{{0, 4}, {0, 4}}, b{{1, 3}, {2, 6}};
  CHECK(elements(a) == 16);
  CHECK(intersect(a, b) == Region{{1, 3}, {2, 4}});
  CHECK(hull(a, b) == Region{{0, 4}, {0, 6}});
  CHECK(hull(Region{{2, 2}, {0, 4}}, b) == b);
  CHECK(overlap(a, b));
  CHECK(!overlap(a, Region{{4, 5}, {0, 4}}));
  CHECK(contains(a, Region{{0, 4}, {3, 4}}));
  CHECK(!contains(a, b));
  CHECK(empty(intersect(a, Region{{5, 6}, {0, 1}})));
  // Rows 0 and 3 whole, of rows 1 and 2 the columns before b: 4 + 4 + 2 * 2 = 16 - 4.
  const std::vector<Region> rest = subtract(a, b);
  CHECK(rest == std::vector<Region>{{{0, 1}, {0, 4}}, {{3, 4}, {0, 4}}, {{1, 3}, {0, 2}}});
  CHECK(subtract(a, a).empty());
  CHECK(subtract(a, Region{{7, 9}, {0, 4}}) == std::vector<Region>{a});
  CHECK(covers(std::vector<Region>{{{0, 2}, {0, 4}}, {{1, 4}, {0, 4}}}, a));
  CHECK(!covers(std::vector<Region>{{{0, 2}, {0, 4}}, {{3, 4}, {0, 4}}}, a));
  CHECK(covers({}, Region{{1, 1}}));
  // Boxes that nobody chose: what is left of one and what was taken never overlap, and add up.
  Random random(3);
  const auto box = [&] {
    Region out;
    for (int d = 0; d < 3; ++d) {
      const int begin = random.below(6);
      out.push_back({begin, begin + random.below(5)});
    }
    return out;
  };
  for (int i = 0; i < 1000; ++i) {
    const Region x = box(), y = box();
    double sum = empty(intersect(x, y)) ? 0 : elements(intersect(x, y));
    for (const Region& r : subtract(x, y)) {
      CHECK(!overlap(r, y));
      CHECK(contains(x, r));
      sum += elements(r);
    }
    CHECK(sum == elements(x));
  }
}

TEST_CASE("region: cuts") {
  CHECK(split(10, std::vector<double>{1, 1}) == std::vector<Range>{{0, 5}, {5, 10}});
  CHECK(split(10, std::vector<double>{3, 1}) == std::vector<Range>{{0, 8}, {8, 10}});  // 7.5 rounds up
  CHECK(split(10, std::vector<double>{0.75 * (1 - 1e-12), 0.25}) == std::vector<Range>{{0, 8}, {8, 10}});
  CHECK(split(2, std::vector<double>{8, 1, 1}) == std::vector<Range>{{0, 2}, {2, 2}, {2, 2}});
  CHECK(split_rows({8, 5, 4}, 2) == std::vector<Region>{{{0, 8}, {0, 3}, {0, 4}}, {{0, 8}, {3, 5}, {0, 4}}});
  CHECK(split_rows({3, 8}, 7).size() == 3);  // tokens
}

TEST_CASE("region: what each kind of layer reads") {
  // Rows 2..3 with a window of 3, stride 2 and padding 1: from 2 * 2 - 1 to 3 * 2 - 1 + 2.
  const std::string conv =
      R"("kind": "conv", "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1, 1, 1], "output": [8, 8, 8])";
  CHECK(needs({4, 16, 16}, conv, {{0, 8}, {2, 4}, {0, 8}}) == Region{{0, 4}, {3, 8}, {0, 16}});
  CHECK(needs({4, 16, 16}, conv, {{5, 6}, {0, 1}, {7, 8}}) == Region{{0, 4}, {0, 2}, {13, 16}});
  CHECK(needs({4, 16, 16}, conv, {{5, 5}, {0, 1}, {7, 8}}) == Region(3));
  // Dilated by 2 a window of 3 reaches over 5 rows.
  CHECK(needs({1, 16, 16}, R"("kind": "conv", "kernel": [3, 1], "dilation": [2, 1], "output": [1, 12, 16])",
              {{0, 1}, {4, 6}, {0, 16}}) == Region{{0, 1}, {4, 10}, {0, 16}});
  // Two groups of 3 channels in and 2 out: outputs 1 and 2 are of both.
  const std::string grouped = R"("kind": "conv", "kernel": [1, 1], "groups": 2, "output": [4, 2, 2])";
  CHECK(needs({6, 2, 2}, grouped, {{0, 2}, {0, 2}, {0, 2}}) == Region{{0, 3}, {0, 2}, {0, 2}});
  CHECK(needs({6, 2, 2}, grouped, {{1, 3}, {0, 2}, {0, 2}}) == Region{{0, 6}, {0, 2}, {0, 2}});
  // Two outputs per channel.
  CHECK(needs({3, 2, 2}, R"("kind": "depthwise_conv", "kernel": [1, 1], "output": [6, 2, 2])",
              {{3, 5}, {0, 1}, {0, 2}}) == Region{{1, 3}, {0, 1}, {0, 2}});
  // Row i reaches outputs 2 i - 1 .. 2 i + 1: output 2 is of row 1 alone, 3 of rows 1 and 2.
  const std::string transposed =
      R"("kind": "conv_transpose", "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1, 1, 1], "output": [1, 7, 7])";
  CHECK(needs({1, 4, 4}, transposed, {{0, 1}, {2, 3}, {3, 4}}) == Region{{0, 1}, {1, 2}, {1, 3}});
  // With a stride of 3 and a window of 1 nothing reaches output 1.
  CHECK(empty(needs({1, 4, 4},
                    R"("kind": "conv_transpose", "kernel": [1, 1], "stride": [3, 3], "output": [1, 10, 10])",
                    {{0, 1}, {1, 2}, {0, 10}})));
  // The last window of a ceiling pool is cut off: rows 4 and 5 of 5.
  CHECK(needs({2, 5, 5}, R"("kind": "max_pool", "kernel": [2, 2], "stride": [2, 2], "ceil": true)",
              {{1, 2}, {2, 3}, {0, 3}}) == Region{{1, 2}, {4, 5}, {0, 5}});
  CHECK(needs({2, 3, 3}, R"("kind": "fc", "output": [8])", {{2, 3}}) == Region{{0, 2}, {0, 3}, {0, 3}});
  CHECK(needs({5, 3}, R"("kind": "fc", "output": [5, 8])", {{2, 3}, {0, 1}}) == Region{{2, 3}, {0, 3}});
  CHECK(needs({5, 3}, R"("kind": "layer_norm")", {{2, 3}, {0, 1}}) == Region{{2, 3}, {0, 3}});
  CHECK(needs({5, 3}, R"("kind": "softmax")", {{2, 3}, {0, 1}}) == Region{{0, 5}, {0, 3}});
  for (const char* kind : {"relu", "batch_norm", "affine", "dropout"}) {
    CHECK(needs({4, 3, 3}, fmt::format(R"("kind": "{}")", kind), {{1, 2}, {0, 2}, {2, 3}}) ==
          Region{{1, 2}, {0, 2}, {2, 3}});
  }
  CHECK(needs({9, 2, 2}, R"("kind": "lrn", "local_size": 5)", {{0, 4}, {0, 1}, {0, 2}}) ==
        Region{{0, 6}, {0, 1}, {0, 2}});
  CHECK(needs({4, 3, 2}, R"("kind": "flatten")", {{7, 10}}) == Region{{1, 2}, {0, 2}, {0, 2}});
  CHECK(needs({4, 3, 2}, R"("kind": "flatten")", {{5, 7}}) == Region{{0, 2}, {0, 3}, {0, 2}});
  CHECK(needs({4, 3, 2}, R"("kind": "flatten")", {{9, 10}}) == Region{{1, 2}, {1, 2}, {1, 2}});
  // Channels stay what they are; of rows and columns the indices 2 and 3 are row 1.
  CHECK(needs({4, 3, 2}, R"("kind": "reshape", "output": [4, 6])", {{1, 3}, {2, 4}}) ==
        Region{{1, 3}, {1, 2}, {0, 2}});
  CHECK(needs({9, 9}, R"("kind": "slice", "start": [1, 2], "step": [2, 1], "output": [4, 3])",
              {{1, 3}, {0, 2}}) == Region{{3, 6}, {2, 4}});
  const std::string upsample = R"("kind": "upsample", "scale": [2, 3], "mode": )";
  CHECK(needs({1, 4, 4}, upsample + R"("nearest")", {{0, 1}, {3, 6}, {5, 6}}) ==
        Region{{0, 1}, {1, 3}, {1, 2}});
  CHECK(needs({1, 4, 4}, upsample + R"("linear")", {{0, 1}, {3, 6}, {5, 6}}) ==
        Region{{0, 1}, {0, 4}, {0, 3}});
  CHECK(needs({6, 7, 7}, R"("kind": "reduce", "output": [6, 1, 1])", {{2, 3}, {0, 1}, {0, 1}}) ==
        Region{{2, 3}, {0, 7}, {0, 7}});
  CHECK(needs({6, 7, 7}, R"("kind": "reduce", "output": [6])", {{2, 3}}) == Region{{0, 6}, {0, 7}, {0, 7}});
  CHECK(needs({9}, R"("kind": "embedding", "vocabulary": 50, "output": [9, 4])", {{2, 3}, {0, 1}}) ==
        Region{{2, 3}});
  CHECK(needs({9, 4}, R"("kind": "lstm", "hidden": 5)", {{2, 3}, {0, 1}}) == Region{{0, 9}, {0, 4}});
  CHECK(needs({9, 4}, R"("kind": "data_movement", "operator": "x", "output": [4, 9])", {{2, 3}, {0, 1}}) ==
        Region{{0, 9}, {0, 4}});
}

TEST_CASE("region: what joins read of each input") {
  const LayerGraph graph = graph_of({4, 6, 6}, R"(
      {"name": "a", "kind": "relu", "inputs": ["input"]},
      {"name": "one", "kind": "reduce", "inputs": ["input"], "output": [4, 1, 1]},
      {"name": "mul", "kind": "mul", "inputs": ["a", "one"]},
      {"name": "cat", "kind": "concat", "inputs": ["a", "mul", "a"]},
      {"name": "q", "kind": "reshape", "inputs": ["cat"], "output": [12, 36]},
      {"name": "k", "kind": "fc", "inputs": ["q"], "output": [12, 18]},
      {"name": "att", "kind": "attention", "inputs": ["q", "k", "k"], "heads": 4, "key_value_heads": 2},
      {"name": "t", "kind": "reshape", "inputs": ["q"], "output": [36, 12]},
      {"name": "mat", "kind": "matmul", "inputs": ["att", "t"]})");
  const auto reads = [&](const char* layer, const Region& output, std::size_t input) {
    return input_region(graph, graph.find(layer), output, input);
  };
  CHECK(reads("mul", {{1, 2}, {2, 4}, {0, 6}}, 0) == Region{{1, 2}, {2, 4}, {0, 6}});
  CHECK(reads("mul", {{1, 2}, {2, 4}, {0, 6}}, 1) == Region{{1, 2}, {0, 1}, {0, 1}});
  // Channels 3..5 of the concatenation: the last of a, two of mul, none of the second a.
  CHECK(reads("cat", {{3, 6}, {2, 4}, {0, 6}}, 0) == Region{{3, 4}, {2, 4}, {0, 6}});
  CHECK(reads("cat", {{3, 6}, {2, 4}, {0, 6}}, 1) == Region{{0, 2}, {2, 4}, {0, 6}});
  CHECK(empty(reads("cat", {{3, 6}, {2, 4}, {0, 6}}, 2)));
  // Heads of 9 features: features 10..20 are of heads 1 and 2, which read keys of heads 0 and 1.
  CHECK(reads("att", {{2, 5}, {10, 20}}, 0) == Region{{2, 5}, {9, 27}});
  CHECK(reads("att", {{2, 5}, {10, 20}}, 1) == Region{{0, 12}, {0, 18}});
  CHECK(reads("att", {{2, 5}, {10, 18}}, 2) == Region{{0, 12}, {0, 9}});
  CHECK(reads("mat", {{2, 5}, {1, 3}}, 0) == Region{{2, 5}, {0, 36}});
  CHECK(reads("mat", {{2, 5}, {1, 3}}, 1) == Region{{0, 36}, {1, 3}});
}

TEST_CASE("region: what parts cost") {
  const LayerGraph graph = graph_of({4, 8, 8}, R"(
      {"name": "conv", "kind": "conv", "inputs": ["input"], "kernel": [3, 3], "padding": [1, 1, 1, 1], "output": [16, 8, 8]},
      {"name": "gap", "kind": "reduce", "inputs": ["conv"], "output": [16, 1, 1]},
      {"name": "fc", "kind": "fc", "inputs": ["gap"], "output": [10]})");
  // Rows 0..1 of all channels: a quarter of the work, three rows of input, every weight.
  LayerCosts costs = part_costs(graph, 0, {{0, 16}, {0, 2}, {0, 8}});
  CHECK(costs.work_flop == graph.layer(0).work_flop / 4);
  CHECK(costs.input_elements == 4 * 3 * 8);
  CHECK(costs.output_elements == 16 * 2 * 8);
  CHECK(costs.weight_bytes == (16 * 4 * 9 + 16) * 4);
  CHECK(graph.traffic_bytes(0, costs, 1) == (16 * 4 * 9 + 16 + 4 * 3 * 8 + 16 * 2 * 8) * 4);
  CHECK(graph.traffic_bytes(0, costs, 2) == (16 * 4 * 9 + 16 + 2 * (4 * 3 * 8 + 16 * 2 * 8)) * 4);
  // Four channels: a quarter of the weights too, all of the input.
  costs = part_costs(graph, 0, {{4, 8}, {0, 8}, {0, 8}});
  CHECK(costs.work_flop == graph.layer(0).work_flop / 4);
  CHECK(costs.weight_bytes == (4 * 4 * 9 + 4) * 4);
  CHECK(costs.input_elements == 4 * 8 * 8);
  // A reduction works on what it reads.
  CHECK(part_costs(graph, 1, {{0, 4}, {0, 1}, {0, 1}}).work_flop == 4 * 64);
  // Half of the features: half of the rows of the matrix.
  costs = part_costs(graph, 2, {{5, 10}});
  CHECK(costs.work_flop == 2 * 16 * 5 + 5);
  CHECK(costs.weight_bytes == (16 * 5 + 5) * 4);
  // All of it is what the graph says.
  costs = part_costs(graph, 0, whole({16, 8, 8}));
  CHECK(costs.work_flop == graph.costs(0).work_flop);
  CHECK(costs.input_elements == graph.costs(0).input_elements);
}

TEST_CASE("region: fused tiles compute their halos") {
  const LayerGraph graph = graph_of({1, 8, 8}, R"(
      {"name": "a", "kind": "conv", "inputs": ["input"], "kernel": [3, 3], "padding": [1, 1, 1, 1], "output": [2, 8, 8]},
      {"name": "b", "kind": "conv", "inputs": ["a"], "kernel": [3, 3], "padding": [1, 1, 1, 1], "output": [2, 8, 8]},
      {"name": "c", "kind": "max_pool", "inputs": ["b"], "kernel": [2, 2], "stride": [2, 2]},
      {"name": "side", "kind": "relu", "inputs": ["a"]},
      {"name": "d", "kind": "fc", "inputs": ["c"], "output": [3]},
      {"name": "e", "kind": "fc", "inputs": ["side"], "output": [3]},
      {"name": "f", "kind": "add", "inputs": ["d", "e"]})");
  const std::vector<LayerId> layers{0, 1, 2, 3};
  // Rows 0..1 of c are rows 0..3 of b, which read rows 0..4 of a.
  const Region c{{0, 2}, {0, 2}, {0, 4}};
  CHECK(fuse(graph, layers, {{2, c}}) ==
        Parts{{0, {{0, 2}, {0, 5}, {0, 8}}}, {1, {{0, 2}, {0, 4}, {0, 8}}}, {2, c}});
  // The side branch wants rows 5..7 of a: then all of the rows between.
  const Region side{{0, 2}, {5, 8}, {0, 8}};
  CHECK(fuse(graph, layers, {{2, c}, {3, side}}).at(0) == Region{{0, 2}, {0, 8}, {0, 8}});
  CHECK(fused_piece(graph, layers, {{2, c}}, 7).layers == std::vector<LayerId>{0, 1, 2});
}

TEST_CASE("region: random graphs in pieces give what they give whole") {
  const Platform platform = three_hosts();
  Random random(11);
  int plans = 0, parts = 0;
  std::map<LayerKind, int> kinds;
  for (int g = 0; g < 230; ++g) {
    CAPTURE(g);
    const LayerGraph graph = random_images(random);
    const Tensor input = random_input(graph, random);
    std::vector<Tensor> right = no_tensors(graph);
    for (LayerId id = 0; id < graph.size(); ++id) {
      const auto l = static_cast<std::size_t>(id);
      execute(graph, id, whole(graph.layer(id).output_shape), inputs_of(graph, id, input, right), right[l]);
      REQUIRE(std::ranges::none_of(right[l].values, [](double v) { return std::isnan(v); }));
    }
    const Plan plan = random_plan(graph, platform.host_count(), random);
    std::set<LayerId> held;
    for (const Piece& piece : plan.pieces) held.insert(piece.layers.begin(), piece.layers.end());
    if (static_cast<int>(held.size()) < graph.size()) continue;  // windows in the padding alone: nobody reads
    CAPTURE(graph.text());
    REQUIRE_NOTHROW(check_plan(graph, platform, 0, {}, plan, "random"));
    const Outcome outcome = run_in_pieces(graph, plan, input, right);
    CHECK(outcome.wrong == 0);
    std::map<std::pair<int, int>, double> bytes;
    for (const PlanEdge& edge : plan_edges(graph, {}, plan)) bytes[{edge.to, edge.from}] += edge.bytes;
    CHECK(bytes == outcome.bytes);
    ++plans;
    for (const Piece& piece : plan.pieces) {
      for (const auto& [layer, part] : piece.parts) {
        ++parts;
        ++kinds[graph.layer(layer).kind];
      }
    }
  }
  MESSAGE(plans << " plans, " << parts << " parts of layers of " << kinds.size() << " kinds");
  CHECK(plans >= 220);
  CHECK(kinds.size() >= 22);
}

TEST_CASE("region: no more than a layer reads") {
  // Without the first or last index of a dimension some output is wrong: the box is the smallest.
  Random random(5);
  int boxes = 0;
  for (int g = 0; g < 60; ++g) {
    const LayerGraph graph = random_images(random);
    for (LayerId id = 0; id < graph.size(); ++id) {
      const Layer& layer = graph.layer(id);
      const bool gaps = layer.dilation != std::array<int, 2>{1, 1} || layer.stride[0] > layer.kernel[0] ||
                        layer.stride[1] > layer.kernel[1] || layer.linear;
      const std::set<LayerKind> doubtful{LayerKind::kFlatten, LayerKind::kReshape, LayerKind::kSoftmax,
                                         LayerKind::kAttention};
      if (gaps || doubtful.contains(layer.kind)) continue;
      const Region part = random_tiles(layer.output_shape, 2, random).front();
      for (std::size_t i = 0; i < layer.inputs.size(); ++i) {
        const Region region = input_region(graph, id, part, i);
        if (empty(region)) continue;
        for (std::size_t d = 0; d < region.size(); ++d) {
          for (const Range cut :
               {Range{region[d].begin, region[d].begin + 1}, Range{region[d].end - 1, region[d].end}}) {
            std::vector<Tensor> tensors;
            for (const LayerId read : layer.inputs) tensors.emplace_back(graph.tensor_shape(read), 1.0);
            Region hole = region;
            hole[d] = cut;
            for_each_index(hole, [&](const std::vector<int>& o) { tensors[i][o] = kNan; });
            std::vector<const Tensor*> in;
            for (const Tensor& t : tensors) in.push_back(&t);
            Tensor out(layer.output_shape);
            execute(graph, id, part, in, out);
            int wrong = 0;
            for_each_index(part, [&](const std::vector<int>& o) { wrong += std::isnan(out[o]); });
            CAPTURE(layer_kind_name(layer.kind));
            CHECK(wrong > 0);
            ++boxes;
          }
        }
      }
    }
  }
  CHECK(boxes > 1000);
}
