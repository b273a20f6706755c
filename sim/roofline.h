#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "sim/layer_graph.h"

namespace cdisim {

/// Kinds of work that reach different shares of a processor's peak. Spelled in JSON as the enumerator without
/// its k, in snake case: "conv_1x1", ...
enum class WorkKind {
  kConvFirst,      ///< convolution of at most 4 channels: an image
  kConv1x1,        ///< a matrix product
  kConv3x3,        ///< 3 x 3 with stride 1, where runtimes save multiplications (Winograd)
  kConvStrided,    ///< other windows of at most 9 elements, grouped ones included; transposed convolutions
  kConvLarge,      ///< windows of more than 9 elements
  kDepthwiseConv,  ///< little work per byte
  kFc,             ///< a matrix by a vector
  kMatrix,         ///< fc of several tokens, matmul, attention
  kRecurrent,      ///< a matrix by a vector, step after step
  kOperator,  ///< pools, concatenations, normalisations, copies: arithmetic that is small beside the bytes it
              ///< moves
  kElementwise,  ///< relu, batch_norm, ...: what runtimes fuse into the layer before
};
inline constexpr int kWorkKinds = 11;
const std::vector<std::string>& work_kind_names();
WorkKind work_kind(const LayerGraph& graph, LayerId layer);

/// Seconds of layers on a processor whose every constant is known:
///
///     layer = max(batch * work_flop / (speed * efficiency), traffic / memory bandwidth) + steps * overhead
///     run   = run overhead + weights beyond the cache / link + sum of layers
///
/// traffic = LayerGraph::traffic_bytes at the roofline's precision. Element-wise layers take no time where
/// they are fused, and no overhead at all.
struct Roofline {
  /// Share of the speed by WorkKind; all 1 by default. Above 1 where runtimes do fewer multiplications than
  /// the layer's definition has.
  std::array<double, kWorkKinds> efficiency = [] {
    std::array<double, kWorkKinds> ones{};
    ones.fill(1);
    return ones;
  }();
  double memory_bandwidth_bytes_per_s = 0;  ///< that is reached; 0: memory never limits
  double layer_overhead_s = 0;              ///< before each layer with weights or matrix products
  double operator_overhead_s = 0;           ///< before each operator
  double run_overhead_s = 0;                ///< before the first layer of a run
  double bytes_per_element = 0;             ///< of weights and tensors where it is not the graph's: 0
  bool fused = false;                       ///< element-wise layers are free
  double weight_cache_bytes = 0;            ///< on-chip
  double weight_link_bytes_per_s = 0;       ///< 0: weights never move

  /// @param speed_flop_per_s of which efficiency is a share.
  double layer_s(const LayerGraph& graph, LayerId layer, double speed_flop_per_s, int batch = 1) const {
    return layer_s(graph, layer, graph.costs(layer), speed_flop_per_s, batch);
  }
  /// Of a part of the layer that takes `costs`; it pays the whole overhead.
  double layer_s(const LayerGraph& graph, LayerId layer, const LayerCosts& costs, double speed_flop_per_s,
                 int batch) const;
  /// What a run of these layers costs beyond the sum of the layers.
  double run_s(const LayerGraph& graph, std::span<const LayerId> layers) const;
  /// Of a run that needs so many of the graph's weights.
  double run_s(const LayerGraph& graph, double weight_bytes) const;
};

}  // namespace cdisim
