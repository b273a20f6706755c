#pragma once

#include <array>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "sim/policy.h"

namespace cdisim {

/// What a placement of layers on the source and on a server costs for one request.
struct PlacementCost {
  double latency_s = 0;  ///< all computations and all transfers, one after another
  double energy_j = 0;   ///< that the source draws above its idle power, for computing and for its radio
  double server_s = 0;   ///< computing on the server
};

/// Upper bounds of each; infinite: none.
struct PlacementBounds {
  double latency_s = std::numeric_limits<double>::infinity();
  double energy_j = std::numeric_limits<double>::infinity();
  double server_s = std::numeric_limits<double>::infinity();
};

struct Placement {
  std::vector<char> on_server;  ///< (n_layers), in the order of LayerGraph::exit_layers()
  PlacementCost cost;
};

/// All 2^n placements of an exit's layers on the source and one server, as the paths of a layered graph.
///
/// The layers are taken in topological order; a maximal run of them on one side is a piece. Level i of the
/// graph has a node for each distinct situation after i layers: the side of the last piece and, of each
/// tensor that is still to be read (the input is one), the side that has it and whether the last piece has
/// received it. Two arcs leave a node, layer i on the source or on the server. An arc costs the layer, what a
/// run costs before its first layer where a new piece begins, and the transfer (route latency and bytes) of
/// each tensor that the layer reads, that the other side has computed, and that the piece has not yet
/// received; the last arc the result's way back. On a chain there are two nodes a level and latency_s is
/// estimate() of the plan; on a DAG it is an upper bound, since estimate() lets transfers and the two hosts
/// work at the same time. energy_j is estimate()'s on both.
///
/// A level of more than 20,000 nodes (a dozen tensors in the air) keeps those of least `order`, and those of
/// the two placements on one side.
class PlacementGraph {
 public:
  using Objective = double PlacementCost::*;

  /// Precondition: `server` is not the source, and there are routes from and to it.
  PlacementGraph(const Problem& problem, int exit, HostId server,
                 Objective order = &PlacementCost::latency_s);

  int nodes() const { return static_cast<int>(nodes_.size()); }

  /// Shortest path: the placement of least `objective`. Where both sides are equal a layer stays on the side
  /// of the one before, the first on the source. O(nodes).
  Placement best(Objective objective) const;

  /// Constrained shortest path (NP-hard), exact: the placement of least `objective` among those that keep the
  /// bounds, to 1e-12 of each; nothing where none does. Boost.Graph's r_c_shortest_paths searches in the
  /// order of what each path can come to at least, by the best Lagrange multipliers of the bounds.
  std::optional<Placement> best(Objective objective, const PlacementBounds& bounds) const;

  /// A placement with its cost. Precondition: it was not dropped.
  Placement of(std::vector<char> on_server) const;
  /// All layers on one side.
  Placement whole(bool on_server) const;

 private:
  struct Arc {
    int to = -1;
    PlacementCost cost;
  };
  struct Node {
    std::array<Arc, 2> arcs;  // layer on the source, on the server
  };
  /// What latency_s, energy_j and server_s count.
  using Weights = std::array<double, 3>;
  static Weights only(Objective objective);
  static double weigh(const PlacementCost& cost, const Weights& weights);
  /// Least sum to the end (or the largest one), for each node.
  std::vector<double> to_go(const Weights& weights) const;
  double longest(const Weights& weights) const;
  std::vector<char> shortest(const Weights& weights, const std::vector<double>& to_go) const;

  std::size_t layers_ = 0;
  std::vector<Node> nodes_;  // level after level; the last is the end
};

/// The plan of a placement: its pieces, each a run of layers on one host.
Plan placement_plan(const Problem& problem, int exit, HostId server, std::span<const char> on_server);

}  // namespace cdisim
