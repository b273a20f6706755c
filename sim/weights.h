#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "sim/layer_graph.h"
#include "sim/platform.h"

namespace cdisim {

/// Which layers' weights lie on the hosts that do not start with all of them, and which go when the memory
/// that is left for weights runs short: those that were used longest ago, but none that a computation uses.
/// A layer without weights lies everywhere.
class WeightStore {
 public:
  /// @param at_start  the hosts that do not start with every layer, with those that they start with
  WeightStore(const LayerGraph& graph, const Platform& platform,
              const std::map<HostId, std::vector<LayerId>>& at_start);

  /// Whether the host started with less than everything.
  bool tracks(HostId host) const { return !loaded_[static_cast<std::size_t>(host)].empty(); }
  /// (n_hosts) of (n_layers); empty for a host that holds everything.
  const std::vector<std::vector<bool>>& loaded() const { return loaded_; }
  /// Those of the layers that the host lacks, in their order.
  std::vector<LayerId> missing(HostId host, std::span<const LayerId> layers) const;

  /// Bytes of the host's memory that tensors take from now on, at least.
  void set_aside(HostId host, double bytes);
  /// Whether the layers' weights fit into the memory beside those tensors when all others have gone.
  bool has_room(HostId host, std::span<const LayerId> layers) const;
  /// Loads layers, and evicts others for them. @returns false, and changes nothing, while the memory is too
  /// small for them beside what is in use.
  bool load(HostId host, std::span<const LayerId> layers);
  /// A computation on the host begins or ends to use the layers, which it holds.
  void use(HostId host, std::span<const LayerId> layers);
  void release(HostId host, std::span<const LayerId> layers);
  /// The host lost what it held.
  void clear(HostId host);

  int evictions() const { return evictions_; }  ///< layers that had to go
  /// The most that the host held at once, with the tensors set aside.
  double peak_bytes(HostId host) const;

 private:
  struct Held {
    double bytes = 0, peak_bytes = 0, aside_bytes = 0;
    std::vector<int> users;             // (n_layers)
    std::vector<std::int64_t> used_at;  // (n_layers) number of the use
  };
  const LayerGraph& graph_;
  const Platform& platform_;
  std::vector<std::vector<bool>> loaded_;
  std::vector<Held> held_;  // (n_hosts)
  std::int64_t uses_ = 0;
  int evictions_ = 0;
};

}  // namespace cdisim
