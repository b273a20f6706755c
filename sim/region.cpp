#include "sim/region.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <numeric>

namespace cdisim {

// ---- algebra ----

Region whole(const Shape& shape) {
  Region region;
  for (const int extent : shape) region.push_back({0, extent});
  return region;
}

bool empty(const Region& region) {
  return std::ranges::any_of(region, [](const Range& r) { return r.begin >= r.end; });
}

double elements(const Region& region) {
  double product = 1;
  for (const Range& r : region) product *= std::max(0, r.size());
  return product;
}

bool contains(const Region& outer, const Region& inner) {
  return std::ranges::equal(
      outer, inner, [](const Range& o, const Range& i) { return o.begin <= i.begin && i.end <= o.end; });
}

bool overlap(const Region& a, const Region& b) {
  return std::ranges::equal(a, b, [](const Range& x, const Range& y) {
    return std::max(x.begin, y.begin) < std::min(x.end, y.end);
  });
}

Region intersect(const Region& a, const Region& b) {
  Region out = a;
  for (std::size_t d = 0; d < out.size(); ++d)
    out[d] = {std::max(a[d].begin, b[d].begin), std::min(a[d].end, b[d].end)};
  return out;
}

Region hull(const Region& a, const Region& b) {
  if (empty(a)) return b;
  if (empty(b)) return a;
  Region out = a;
  for (std::size_t d = 0; d < out.size(); ++d)
    out[d] = {std::min(a[d].begin, b[d].begin), std::max(a[d].end, b[d].end)};
  return out;
}

std::vector<Region> subtract(const Region& a, const Region& b) {
  if (empty(a)) return {};
  if (!overlap(a, b)) return {a};
  // One dimension after another: what lies before and behind b is cut off, the middle goes on.
  std::vector<Region> out;
  Region middle = a;
  for (std::size_t d = 0; d < a.size(); ++d) {
    const Range cut{std::max(a[d].begin, b[d].begin), std::min(a[d].end, b[d].end)};
    for (const Range rest : {Range{a[d].begin, cut.begin}, Range{cut.end, a[d].end}}) {
      if (rest.size() == 0) continue;
      out.push_back(middle);
      out.back()[d] = rest;
    }
    middle[d] = cut;
  }
  return out;
}

std::vector<Region> subtract(const std::vector<Region>& boxes, const Region& b) {
  std::vector<Region> out;
  for (const Region& box : boxes) {
    for (Region& rest : subtract(box, b)) out.push_back(std::move(rest));
  }
  return out;
}

bool covers(std::span<const Region> boxes, const Region& region) {
  std::vector<Region> rest;
  if (!empty(region)) rest.push_back(region);
  for (const Region& box : boxes) rest = subtract(rest, box);
  return rest.empty();
}

// ---- cutting ----

std::vector<Range> split(int extent, std::span<const double> shares) {
  constexpr double kLastDigits = 1e-9;  // of an index: what a solver leaves of 1/4 rounds as 1/4 does
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  assert(sum > 0);
  std::vector<Range> out;
  double up_to = 0;
  for (const double share : shares) {
    up_to += share;
    const int begin = out.empty() ? 0 : out.back().end;
    const auto end = static_cast<int>(std::lround(extent * up_to / sum + kLastDigits));
    out.push_back({begin, std::max(begin, end)});
  }
  return out;
}

Region slab(const Shape& shape, std::size_t dimension, Range range) {
  Region out = whole(shape);
  out[dimension] = range;
  return out;
}

std::vector<Region> split_rows(const Shape& shape, int n) {
  const std::size_t rows = shape.size() == 3 ? 1 : 0;
  const std::vector<double> equal(static_cast<std::size_t>(std::min(n, shape[rows])), 1);
  std::vector<Region> out;
  for (const Range range : split(shape[rows], equal)) out.push_back(slab(shape, rows, range));
  return out;
}

// ---- what parts of layers need ----

namespace {

Range clamped(std::int64_t begin, std::int64_t end, int extent) {
  return {static_cast<int>(std::clamp<std::int64_t>(begin, 0, extent)),
          static_cast<int>(std::clamp<std::int64_t>(end, 0, extent))};
}

// Rows or columns (axis 0 or 1) under the windows of a convolution or pool.
Range under_windows(const Layer& layer, std::size_t axis, Range out, int extent) {
  const std::int64_t stride = layer.stride[axis], before = layer.padding[axis];
  const std::int64_t reach = std::int64_t{layer.dilation[axis]} * (layer.kernel[axis] - 1) + 1;
  return clamped(out.begin * stride - before, (out.end - 1) * stride - before + reach, extent);
}

// Rows or columns whose windows, `stride` apart in the output, reach the range.
Range under_transposed(const Layer& layer, std::size_t axis, Range out, int extent) {
  const std::int64_t stride = layer.stride[axis], before = layer.padding[axis];
  const std::int64_t reach = std::int64_t{layer.dilation[axis]} * (layer.kernel[axis] - 1);
  const std::int64_t first = std::max<std::int64_t>(0, out.begin + before - reach);
  return clamped((first + stride - 1) / stride, (out.end - 1 + before) / stride + 1, extent);
}

// Channels of the groups that a range of output channels belongs to.
Range of_groups(Range out, int outputs_per_group, int inputs_per_group) {
  return {out.begin / outputs_per_group * inputs_per_group,
          ((out.end - 1) / outputs_per_group + 1) * inputs_per_group};
}

Region of_convolution(const Layer& layer, const Region& output, const Shape& in) {
  const bool transposed = layer.kind == LayerKind::kConvTranspose;
  Region out{of_groups(output[0], layer.output_shape[0] / layer.groups, in[0] / layer.groups)};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    out.push_back(
        (transposed ? under_transposed : under_windows)(layer, axis, output[axis + 1], in[axis + 1]));
  }
  return out;
}

// NumPy's rule, aligned at the last dimension: a dimension of one is read for every index.
Region of_broadcast(const Region& output, const Shape& in) {
  Region out = whole(in);
  for (std::size_t d = 0; d < in.size(); ++d) {
    if (in[d] != 1) out[d] = output[output.size() - in.size() + d];
  }
  return out;
}

Region of_matmul(const Region& output, const Shape& in, std::size_t input) {
  Region leading(output.begin(), output.end() - 2);
  Region out = of_broadcast(leading, Shape(in.begin(), in.end() - 2));
  const Range rows = input == 0 ? output[output.size() - 2] : Range{0, in[in.size() - 2]};
  const Range columns = input == 0 ? Range{0, in.back()} : output.back();
  out.insert(out.end(), {rows, columns});
  return out;
}

// Queries of the same tokens and heads, keys and values of all tokens; heads may share those.
Region of_attention(const LayerGraph& graph, const Layer& layer, const Region& output, std::size_t input) {
  const int features = layer.output_shape[1] / layer.groups;
  const Range heads{output[1].begin / features, (output[1].end - 1) / features + 1};
  if (input == 0) return {output[0], {heads.begin * features, heads.end * features}};
  const Shape& keys = graph.tensor_shape(layer.inputs[input]);
  const int sharing = layer.groups / (keys[1] / features);
  return {{0, keys[0]}, {heads.begin / sharing * features, ((heads.end - 1) / sharing + 1) * features}};
}

// Dimensions fall into groups of as many elements on both sides; within a group the indices in row-major
// order from the first to the last of the region.
Region of_reshape(const Region& output, const Shape& out_shape, const Shape& in) {
  Region out = whole(in);
  std::size_t i = 0, o = 0;
  while (i < in.size() || o < out_shape.size()) {
    const std::size_t first_i = i, first_o = o;
    double in_elements = 1, out_elements = 1;
    do {
      if (o == out_shape.size() || (i < in.size() && in_elements <= out_elements)) {
        in_elements *= in[i++];
      } else {
        out_elements *= out_shape[o++];
      }
    } while (in_elements != out_elements);
    std::int64_t first = 0, last = 0;
    for (std::size_t d = first_o; d < o; ++d) {
      first = first * out_shape[d] + output[d].begin;
      last = last * out_shape[d] + output[d].end - 1;
    }
    // From the outermost dimension in: behind the first in which the ends differ, all of the others.
    auto inner = static_cast<std::int64_t>(in_elements);
    for (std::size_t d = first_i; d < i; ++d) {
      inner /= in[d];
      out[d] = {static_cast<int>(first / inner), static_cast<int>(last / inner) + 1};
      if (out[d].size() > 1) break;
      first %= inner;
      last %= inner;
    }
  }
  return out;
}

Region of_slice(const Layer& layer, const Region& output) {
  Region out = output;
  for (std::size_t d = 0; d < out.size(); ++d) {
    out[d] = {layer.start[d] + output[d].begin * layer.step[d],
              layer.start[d] + (output[d].end - 1) * layer.step[d] + 1};
  }
  return out;
}

// Nearest: the pixel under each; linear: whatever convention an operator follows, the neighbours of that.
Region of_upsample(const Layer& layer, const Region& output, const Shape& in) {
  Region out = output;
  const int around = layer.linear ? 1 : 0;
  for (std::size_t d = 1; d < 3; ++d) {
    const int scale = layer.output_shape[d] / in[d];
    out[d] = clamped(output[d].begin / scale - around, (output[d].end - 1) / scale + 1 + around, in[d]);
  }
  return out;
}

}  // namespace

Region input_region(const LayerGraph& graph, LayerId id, const Region& output, std::size_t input) {
  const Layer& layer = graph.layer(id);
  const Shape& in = graph.tensor_shape(layer.inputs[input]);
  if (empty(output)) return Region(in.size());
  switch (layer.kind) {
    case LayerKind::kConv:
    case LayerKind::kDepthwiseConv:
    case LayerKind::kConvTranspose:
      return of_convolution(layer, output, in);
    case LayerKind::kMaxPool:
    case LayerKind::kAvgPool:
      return {output[0], under_windows(layer, 0, output[1], in[1]),
              under_windows(layer, 1, output[2], in[2])};
    case LayerKind::kFc:
      return in.size() == 2 ? Region{output[0], {0, in[1]}} : whole(in);
    case LayerKind::kLayerNorm:  // [tokens, features] token by token
      return in.size() == 2 ? Region{output[0], {0, in[1]}} : whole(in);
    case LayerKind::kEmbedding:
      return {output[0]};
    case LayerKind::kMatmul:
      return of_matmul(output, in, input);
    case LayerKind::kAttention:
      return of_attention(graph, layer, output, input);
    case LayerKind::kLrn: {
      Region out = output;
      const int size = layer.local_size;
      out[0] = clamped(output[0].begin - (size - 1) / 2, std::int64_t{output[0].end} + size / 2, in[0]);
      return out;
    }
    case LayerKind::kReduce: {
      if (in.size() != output.size()) return whole(in);
      Region out = whole(in);
      for (std::size_t d = 0; d < in.size(); ++d) {
        if (layer.output_shape[d] == in[d]) out[d] = output[d];
      }
      return out;
    }
    case LayerKind::kRelu:
    case LayerKind::kBatchNorm:
    case LayerKind::kAffine:
    case LayerKind::kDropout:
    case LayerKind::kElementwise:
    case LayerKind::kAdd:
    case LayerKind::kMul:
      return of_broadcast(output, in);
    case LayerKind::kConcat: {
      const auto axis = static_cast<std::size_t>(layer.axis);
      int before = 0;
      for (std::size_t i = 0; i < input; ++i) before += graph.tensor_shape(layer.inputs[i])[axis];
      Region out = output;
      out[axis] = clamped(output[axis].begin - before, output[axis].end - before, in[axis]);
      return out;
    }
    case LayerKind::kFlatten:
    case LayerKind::kReshape:
      return of_reshape(output, layer.output_shape, in);
    case LayerKind::kSlice:
      return of_slice(layer, output);
    case LayerKind::kUpsample:
      return of_upsample(layer, output, in);
    case LayerKind::kRnn:
    case LayerKind::kGru:
    case LayerKind::kLstm:
    case LayerKind::kSoftmax:  // along a dimension that the graph does not name
    case LayerKind::kDataMovement:
      return whole(in);
  }
  return whole(in);
}

std::optional<std::size_t> weight_dimension(const LayerGraph& graph, LayerId id) {
  const Layer& layer = graph.layer(id);
  const std::size_t last = layer.output_shape.size() - 1;
  switch (layer.kind) {
    case LayerKind::kConv:
    case LayerKind::kDepthwiseConv:
    case LayerKind::kConvTranspose:
    case LayerKind::kBatchNorm:
      return 0;
    case LayerKind::kFc:
    case LayerKind::kEmbedding:
    case LayerKind::kAttention:
      return last;
    default:
      return std::nullopt;
  }
}

LayerCosts part_costs(const LayerGraph& graph, LayerId id, const Region& output) {
  const Layer& layer = graph.layer(id);
  const LayerCosts all = graph.costs(id);
  LayerCosts part = all;
  part.output_elements = elements(output);
  part.output_bytes = part.output_elements * (layer.output_bytes / all.output_elements);
  part.input_elements = part.input_bytes = 0;
  for (std::size_t i = 0; i < layer.inputs.size(); ++i) {
    const LayerId input = layer.inputs[i];
    const double read = elements(input_region(graph, id, output, i));
    part.input_elements += read;
    part.input_bytes += read * (graph.tensor_bytes(input) / shape_elements(graph.tensor_shape(input)));
  }
  switch (layer.kind) {
    case LayerKind::kReduce:
    case LayerKind::kSoftmax:
    case LayerKind::kLayerNorm:
    case LayerKind::kRnn:
    case LayerKind::kGru:
    case LayerKind::kLstm:
      part.work_flop *= part.input_elements / all.input_elements;
      break;
    default:
      part.work_flop *= part.output_elements / all.output_elements;
  }
  if (const auto dimension = weight_dimension(graph, id)) {
    const double share = 1.0 * output[*dimension].size() / layer.output_shape[*dimension];
    part.weight_bytes *= share;
    part.state_bytes *= share;
  }
  return part;
}

Parts fuse(const LayerGraph& graph, std::span<const LayerId> layers, const Parts& outputs) {
  Parts parts = outputs;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    const auto part = parts.find(*layer);
    if (part == parts.end()) continue;
    if (empty(part->second)) {
      parts.erase(part);
      continue;
    }
    const std::vector<LayerId>& inputs = graph.layer(*layer).inputs;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!std::ranges::binary_search(layers, inputs[i])) continue;
      const Region needed = input_region(graph, *layer, part->second, i);
      const auto [known, is_new] = parts.try_emplace(inputs[i], needed);
      if (!is_new) known->second = hull(known->second, needed);
    }
  }
  return parts;
}

}  // namespace cdisim
