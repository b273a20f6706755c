#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/core/core.h"
#include "sim/external_policy.h"

namespace cdisim::python {

/// A Problem with all that it refers to.
struct OwnedProblem {
  std::shared_ptr<const LayerGraph> graph;
  std::shared_ptr<const Platform> platform;
  std::shared_ptr<const LatencyModel> latency_model;
  WireFormat wire;
  HostId source = 0;
  double deadline_s = 0;
  ProblemState now;
  std::vector<BandwidthTrace> history;
  std::vector<HostId> sources;
  std::vector<double> survival;
  std::vector<std::pair<LinkId, BandwidthTrace>> future;

  Problem view() const {
    return {.graph = *graph,
            .platform = *platform,
            .latency_model = *latency_model,
            .wire = wire,
            .source = source,
            .deadline_s = deadline_s,
            .bandwidth_bytes_per_s = now.bandwidth_bytes_per_s,
            .history = history,
            .seed = now.seed,
            .loaded = now.loaded,
            .power_state = now.power_state,
            .sources = sources,
            .arrivals_s = now.arrivals_s,
            .battery_j = now.battery_j,
            .survival = survival,
            .flight_w = now.flight_w,
            .future = future};
  }
  HostId host(HostId id) const { return static_cast<HostId>(checked(id, platform->host_count())); }
};

struct OwnedObservation {
  std::string kind;
  std::shared_ptr<const OwnedProblem> problem;
};

}  // namespace cdisim::python
