#include "sim/roofline.h"

#include <algorithm>

namespace cdisim {

namespace {

WorkKind conv_kind(const LayerGraph& graph, LayerId id) {
  const Layer& layer = graph.layer(id);
  const int window = layer.kernel[0] * layer.kernel[1];
  if (graph.input_shape(id)[0] <= 4) return WorkKind::kConvFirst;
  if (window == 1) return WorkKind::kConv1x1;
  if (window > 9) return WorkKind::kConvLarge;
  const std::array<int, 2> ones{1, 1}, threes{3, 3};
  const bool winograd =
      layer.kernel == threes && layer.stride == ones && layer.dilation == ones && layer.groups == 1;
  return winograd ? WorkKind::kConv3x3 : WorkKind::kConvStrided;
}

}  // namespace

const std::vector<std::string>& work_kind_names() {
  static const std::vector<std::string> names{"conv_first", "conv_1x1",       "conv_3x3",   "conv_strided",
                                              "conv_large", "depthwise_conv", "fc",         "matrix",
                                              "recurrent",  "operator",       "elementwise"};
  return names;
}

WorkKind work_kind(const LayerGraph& graph, LayerId id) {
  switch (graph.layer(id).kind) {
    case LayerKind::kConv:
      return conv_kind(graph, id);
    case LayerKind::kDepthwiseConv:
      return WorkKind::kDepthwiseConv;
    case LayerKind::kConvTranspose:
      return WorkKind::kConvStrided;
    case LayerKind::kFc:
      return graph.input_shape(id).size() == 2 && graph.input_shape(id)[0] > 1 ? WorkKind::kMatrix
                                                                               : WorkKind::kFc;
    case LayerKind::kMatmul:
    case LayerKind::kAttention:
      return WorkKind::kMatrix;
    case LayerKind::kRnn:
    case LayerKind::kGru:
    case LayerKind::kLstm:
      return WorkKind::kRecurrent;
    case LayerKind::kRelu:
    case LayerKind::kElementwise:
    case LayerKind::kBatchNorm:
    case LayerKind::kAffine:
    case LayerKind::kDropout:
    case LayerKind::kFlatten:
    case LayerKind::kReshape:
      return WorkKind::kElementwise;
    case LayerKind::kEmbedding:
    case LayerKind::kMaxPool:
    case LayerKind::kAvgPool:
    case LayerKind::kReduce:
    case LayerKind::kLrn:
    case LayerKind::kLayerNorm:
    case LayerKind::kSoftmax:
    case LayerKind::kAdd:
    case LayerKind::kMul:
    case LayerKind::kConcat:
    case LayerKind::kSlice:
    case LayerKind::kUpsample:
    case LayerKind::kDataMovement:
      return WorkKind::kOperator;
  }
  return WorkKind::kOperator;
}

double Roofline::layer_s(const LayerGraph& graph, LayerId id, const LayerCosts& costs,
                         double speed_flop_per_s, int batch) const {
  const WorkKind kind = work_kind(graph, id);
  if (kind == WorkKind::kElementwise && fused) return 0;
  double seconds = batch * costs.work_flop / (speed_flop_per_s * efficiency[static_cast<std::size_t>(kind)]);
  if (memory_bandwidth_bytes_per_s > 0) {
    const double scale = bytes_per_element > 0 ? bytes_per_element / graph.bytes_per_element() : 1;
    seconds = std::max(seconds, scale * graph.traffic_bytes(id, costs, batch) / memory_bandwidth_bytes_per_s);
  }
  if (kind == WorkKind::kElementwise) return seconds;
  return seconds +
         graph.layer(id).steps * (kind == WorkKind::kOperator ? operator_overhead_s : layer_overhead_s);
}

double Roofline::run_s(const LayerGraph& graph, std::span<const LayerId> layers) const {
  double weight_bytes = 0;
  for (const LayerId id : layers) weight_bytes += graph.layer(id).weight_bytes;
  return run_s(graph, weight_bytes);
}

double Roofline::run_s(const LayerGraph& graph, double weight_bytes) const {
  if (weight_link_bytes_per_s == 0) return run_overhead_s;
  if (bytes_per_element > 0) weight_bytes *= bytes_per_element / graph.bytes_per_element();
  return run_overhead_s + std::max(0.0, weight_bytes - weight_cache_bytes) / weight_link_bytes_per_s;
}

}  // namespace cdisim
