#pragma once

#include <memory>
#include <span>
#include <vector>

#include "sim/layer_graph.h"

namespace cdisim {

/// What the layers of a graph cost on either side of a cut, and what their tensors cost where they cross from
/// the first side to the second. In any unit (s, J, a weighted sum); from 0 on, infinite where forbidden.
struct CutCosts {
  std::vector<double> first;     ///< (graph.size()) of a layer on the first side
  std::vector<double> second;    ///< (graph.size()) of a layer on the second side
  std::vector<double> crossing;  ///< (graph.size()) of a layer's output, once, however many layers read it
  double input_crossing = 0;     ///< of the model's input, once
  double first_used = 0;         ///< once, where at least one layer is on the first side
  double second_used = 0;        ///< once, where at least one layer is on the second side
};

/// Layers in two parts. No layer of the first reads from the second.
struct Cut {
  std::vector<LayerId> first, second;  ///< ascending
  std::vector<LayerId> crossing;       ///< layers whose outputs cross, ascending; kInput comes first
};

/// The exact minimum cut of a DAG of layers between two sides, such as a device and a server:
///
///     min over V1, V2   sum_{V1} first_v + sum_{V2} second_v + sum_{v in X} crossing_v
///                       + [V1 not empty] first_used + [V2 not empty] second_used
///
/// where V1, V2 part the layers and X holds what V2 reads and V1, or the outside, makes. The model's input
/// and whatever layers outside `layers` make are on the first side. The way back is closed: an edge from V2
/// to V1 costs infinitely much. Of equal cuts the one with the smallest V1; equal up to 1e-12 of the arcs'
/// costs.
///
/// A flow network with a vertex for each layer: source -> v costs second_v, v -> sink first_v, v -> u
/// crossing_v, u -> v is infinite; a tensor with several readers has a vertex of its own, behind which all
/// arcs are infinite, so that it is paid once. Capacities are doubles: an augmenting path brings one of its
/// arcs to exactly 0, so rounding ends neither too early nor never, and costs no more than the sums' last
/// digits.
///
/// For more than two tiers, cut again: the layers of `second` between the next two.
///
/// Source: the network of C. Hu, W. Bao, D. Wang, F. Liu, "Dynamic Adaptive DNN Surgery for Inference
/// Acceleration on the Edge", INFOCOM 2019, with the input pinned and the way back closed; maximum flow: Y.
/// Boykov, V. Kolmogorov, "An Experimental Comparison of Min-Cut/Max-Flow Algorithms", PAMI 2004
/// (Boost.Graph).
class MinCut {
 public:
  /// @param layers of the graph, ascending. The graph must outlive the cut.
  MinCut(const LayerGraph& graph, std::span<const LayerId> layers);
  MinCut(MinCut&&) noexcept;
  MinCut& operator=(MinCut&&) noexcept;
  ~MinCut();

  /// May be asked again and again, with other costs. @returns a cut of infinite cost where there is no other.
  Cut least(const CutCosts& costs);

  /// The sum above for a given cut.
  static double cost(const CutCosts& costs, const Cut& cut);

 private:
  struct Network;
  std::unique_ptr<Network> network_;
};

}  // namespace cdisim
