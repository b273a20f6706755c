#pragma once

#include <span>
#include <string>
#include <vector>

#include "sim/policy.h"

namespace cdisim {

/// Layers that several devices compute in rows, each the same share of the rows of every layer.
struct RowLayers {
  /// Within a stage no device reads rows that another computes in it, whatever the shares: devices exchange
  /// rows (halos) between stages alone. A stage reads the model's input and stages before it. In each the
  /// layers ascend.
  std::vector<std::vector<LayerId>> stages;
  /// What follows, ascending: layers that need all rows of something, and all that read from those.
  std::vector<LayerId> tail;

  std::vector<LayerId> layers() const;  ///< of all stages, ascending
};
RowLayers row_layers(const LayerGraph& graph, int exit);
/// Each stage a block of its own, for row_plan().
std::vector<int> every_stage(const RowLayers& rows);

/// Rows of a layer's input that a device needs above and below its own share of them.
struct Halo {
  double above = 0, below = 0;
};
/// Of a boundary in the middle of the layer: 1 and 1 of a 3 x 3 convolution.
Halo halo(const LayerGraph& graph, LayerId layer, std::size_t input);
/// The most that any boundary asks for when rows are whole: see split().
Halo widest_halo(const LayerGraph& graph, LayerId layer, std::size_t input);
/// The share from which on a device has all rows, of every layer, that its neighbours need of it.
double least_share(const LayerGraph& graph, const RowLayers& rows);

/// Tensors that `layers` read of others, ascending, each once; kInput among them.
std::vector<LayerId> read_from_outside(const LayerGraph& graph, std::span<const LayerId> layers);

/// The parameter "devices" of row_hosts(): the source and the next hosts, 0 for all.
ParameterFacts devices_parameter();
/// Its value. @throws InputError below 0.
int chosen_devices(const Parameters& parameters);

/// The source, then the reachable hosts that have routes to and from all before them, in the platform's
/// order; no more than `most` (0: all of them).
/// @throws InputError that names the policy (`who`) and the platform file where there are fewer than `most`.
std::vector<HostId> row_hosts(const Problem& problem, int most, const std::string& who);

/// Devices one below the other, with their shares of the rows, and who computes the tail.
struct RowShares {
  std::vector<HostId> hosts;
  std::vector<double> shares;  ///< (n_hosts) from 0, in any unit
  HostId aggregator = 0;
};
/// Shares in proportion to the speeds of the hosts: one over the time of all rows.
std::vector<double> speed_shares(const Problem& problem, const RowLayers& rows,
                                 std::span<const HostId> hosts);
/// The host of these that has the result earliest at the source, all rows being computed: see tail_s().
HostId fastest_aggregator(const Problem& problem, const RowLayers& rows, RowShares shares, int exit);
/// Seconds from the last rows to the result at the source: rows to the aggregator, tail, result back.
double tail_s(const Problem& problem, const RowLayers& rows, const RowShares& shares, int exit);

/// The plan in blocks of stages, within which halos are computed by each that needs them; `begins` are the
/// first stages of the blocks, ascending from 0. A host that has all rows computes them in one piece, and
/// the tail with them where that is its own.
Plan row_plan(const LayerGraph& graph, int exit, const RowLayers& rows, std::span<const int> begins,
              const RowShares& shares);

/// A transfer between two hosts.
struct Transfer {
  HostId from = 0;
  HostId to = 0;
  double bytes = 0;
};
/// Seconds until the last of transfers that begin together has arrived: of each the latency of its route and
/// what the fullest of its links carries for all of them, over the bandwidth. Between hosts and themselves
/// nothing travels.
double phase_s(const Problem& problem, std::span<const Transfer> transfers);

}  // namespace cdisim
