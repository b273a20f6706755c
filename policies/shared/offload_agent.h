#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "policies/shared/edge_offload.h"
#include "policies/shared/trained_network.h"
#include "sim/policy.h"

namespace cdisim {

/// A trained network that decides for one source.
class OffloadAgent {
 public:
  explicit OffloadAgent(TrainedNetwork network) : network_(std::move(network)) {}

  /// At the start of a run. @throws InputError unless the network was trained for the problem's model.
  Plan plan(const Problem& problem, HostId server);
  /// For the request that has arrived.
  std::optional<Plan> replan(const Problem& problem, const Observation& observation);

 private:
  Plan current(const Problem& problem) const;

  TrainedNetwork network_;
  HostId server_ = 0;
  std::vector<OffloadAction> actions_;
  OffloadWatcher watcher_;
  int taken_ = 0;
};

}  // namespace cdisim
