#pragma once

#include <span>
#include <vector>

#include "sim/policy.h"

namespace cdisim {

/// How the layers that a placement has on one host become pieces. None of them makes pieces wait for each
/// other in a circle, on any DAG and any number of hosts.
enum class Grouping {
  /// A piece is a maximal run of layers on one host, in the order of the layers: one after another.
  kRuns,
  /// Never more pieces than kRuns, so that a tensor rarely travels to two of one host: a layer goes to the
  /// last
  /// piece of its host, unless it reads from a piece that was begun later. Branches may wait for each other.
  kFew,
  /// A piece waits for no more than it must, and a tensor that another host reads ends its piece and leaves
  /// at
  /// once: less latency than kFew where branches run side by side. Stage of a layer: the largest of its
  /// inputs', plus 1 where some other host than the input's reads it; a piece has the layers of one host and
  /// one stage.
  kEager,
};

/// Gathers the nodes of a DAG (layers, or groups of them) into pieces, again and again.
class Grouper {
 public:
  /// @param inputs  (n_nodes) the earlier nodes that each reads
  /// @param hosts   placements name hosts below this
  Grouper(std::vector<std::vector<int>> inputs, int hosts);

  /// @param hosts  (n_nodes) host of each node
  /// @returns the number of pieces; they are numbered by their first nodes
  int group(std::span<const int> hosts, Grouping grouping);
  /// (n_nodes) the piece of each, of the last call.
  std::span<const int> piece_of() const { return piece_of_; }

 private:
  int runs(std::span<const int> hosts);
  int few(std::span<const int> hosts);
  int eager(std::span<const int> hosts);

  std::vector<std::vector<int>> inputs_;
  std::vector<int> piece_of_;
  // Of one call.
  std::vector<int> stage_;       // (n_nodes)
  std::vector<char> leaves_;     // (n_nodes) whether another host reads it
  std::vector<int> last_piece_;  // (hosts)
  struct Entry {
    int piece = 0;
    unsigned date = 0;  // of an earlier call unless it is the present one's
  };
  std::vector<Entry> pieces_;  // (hosts, n_nodes) the piece of a host and a stage
  unsigned date_ = 0;
};

/// The pieces of a placement of layers on hosts.
/// @param layers  of the graph, ascending, with all that they read
/// @param hosts   (n_layers) where each is computed
std::vector<Piece> pieces_of(const LayerGraph& graph, std::span<const LayerId> layers,
                             std::span<const HostId> hosts, Grouping grouping);

/// The layers that each of `layers` reads, as positions in it: each once, without the model's input.
std::vector<std::vector<int>> read_positions(const LayerGraph& graph, std::span<const LayerId> layers);

}  // namespace cdisim
