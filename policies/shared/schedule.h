#pragma once

#include <span>
#include <utility>
#include <vector>

#include "policies/shared/pieces.h"
#include "sim/policy.h"

namespace cdisim {

/// `layers` (ascending) in groups that are placed together: a layer that works on its input in place (relu,
/// batch_norm, affine, dropout, softmax, element-wise, flatten, reshape) goes with the layer whose output it
/// reads, where it is the only reader. Each group ascending, groups in order of their first layers.
std::vector<std::vector<LayerId>> fused_layers(const LayerGraph& graph, std::span<const LayerId> layers);

/// What a placement of an exit's layers on any number of hosts takes, at the speed that a search needs: some
/// microseconds for a hundred layers. Layers are placed in units, of which all but the first layer read
/// nothing but the one before: fused_layers(), or single layers. Keeps what the problem says when it is made.
class Schedule {
 public:
  /// @param hosts  candidates, the source among them; placements name them by their index in `hosts`
  Schedule(const Problem& problem, int exit, std::vector<HostId> hosts,
           std::vector<std::vector<LayerId>> units);

  /// The pieces of a placement, in units: see Grouping.
  /// @param placement  (units()) host of each
  Plan plan(std::span<const int> placement, Grouping grouping);

  struct Cost {
    double latency_s = 0;
    double cost_usd = 0;
  };
  /// estimate() of plan(placement, grouping); both infinite where a route is missing.
  Cost cost(std::span<const int> placement, Grouping grouping);

  // For rules that place unit by unit. Hosts are indices.
  int units() const { return static_cast<int>(units_.size()); }
  int hosts() const { return static_cast<int>(hosts_.size()); }
  int source() const { return source_; }
  std::span<const LayerId> layers_of(int unit) const { return units_[at(unit)]; }
  /// Seconds in a piece, and what they cost; what a piece takes before its first layer is not among them.
  double unit_s(int unit, int host) const { return unit_s_[at(unit) * hosts_.size() + at(host)]; }
  double usd_per_s(int host) const { return usd_per_s_[at(host)]; }
  /// The tensors that a unit reads: numbers of units, units() for the model's input.
  std::span<const int> tensors(int unit) const { return tensors_[at(unit)]; }
  std::span<const int> readers(int tensor) const { return readers_[at(tensor)]; }
  /// Bytes on the wire of a tensor; of the last unit's, on the way back to the source.
  double bytes(int tensor) const { return bytes_[at(tensor)]; }
  double transfer_s(double bytes, int from, int to) const { return hop(from, to).seconds(bytes); }
  double transfer_usd(double bytes, int from, int to) const { return bytes * hop(from, to).usd_per_byte; }

 private:
  struct Link {
    double latency_s = 0, s_per_byte = 0, usd_per_byte = 0;
    double seconds(double bytes) const { return latency_s + bytes * s_per_byte; }
  };
  struct Edge {
    int from = 0, to = 0;
    double bytes = 0;
    int next_in = -1, next_out = -1;  // of the same receiver, of the same sender
  };
  // A piece while it is scheduled; the last one stands for the source with the model's input.
  struct Node {
    int host = 0;
    double compute_s = 0, ready_s = 0;
    int waits_for = 0, first_in = -1, first_out = -1;
  };
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  const Link& hop(int from, int to) const { return links_[at(from) * hosts_.size() + at(to)]; }
  void make_edges(int pieces);
  void send(int from, int to, double bytes);

  const LayerGraph* graph_;
  int exit_;
  std::vector<HostId> hosts_;
  int source_ = 0;
  std::vector<std::vector<LayerId>> units_;
  std::vector<std::vector<int>> tensors_, readers_;  // (units), (units + 1)
  std::vector<double> bytes_;                        // (units + 1)
  std::vector<double> unit_s_;                       // (units, hosts)
  std::vector<double> run_s_, usd_per_s_;            // (hosts)
  std::vector<Link> links_;                          // (hosts, hosts)
  Grouper grouper_;

  // Of one call.
  std::vector<Node> nodes_;
  std::vector<Edge> edges_;
  std::vector<double> free_at_;                // (hosts)
  std::vector<std::pair<double, int>> ready_;  // heap: date, piece
};

}  // namespace cdisim
