#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "sim/arrivals.h"
#include "sim/bandwidth_trace.h"
#include "sim/engine.h"
#include "sim/latency_model.h"
#include "sim/layer_graph.h"
#include "sim/plan.h"
#include "sim/platform.h"
#include "sim/policy.h"
#include "sim/trace.h"

namespace cdisim {

/// One repetition of one run. Everything it points to is constant and outlives it.
struct RunSpec {
  const Platform* platform = nullptr;
  const LayerGraph* graph = nullptr;
  const LatencyModel* latency_model = nullptr;  ///< what happens
  WireFormat wire;
  const LatencyModel* estimator = nullptr;  ///< what the policy believes
  WireFormat estimator_wire;
  std::vector<HostId> sources;
  double deadline_s = 0;  ///< infinite: none
  Arrivals arrivals;
  bool ad_hoc = false;              ///< transfers take AdHocRoutes over the platform's
  double warmup_s = 0;              ///< requests that arrive before it and energy until then do not count
  std::optional<double> horizon_s;  ///< the run ends here, whatever is in flight
  std::optional<std::int64_t> requests;  ///< or when this many, over all sources, have ended
  std::vector<Change> changes;
  std::vector<std::pair<LinkId, BandwidthTrace>> bandwidth_traces;
  std::size_t radio_traces = 0;         ///< how many of these, the last ones, follow from mobility
  std::vector<BandwidthTrace> history;  ///< what policies may learn from beforehand
  int retries =
      0;  ///< times that a request that a failure lost starts again, where its plan has no fallbacks
  double retry_wait_s = 0;
  /// The hosts that do not start with all weights, with those that they start with. No source is among them.
  std::map<HostId, std::vector<LayerId>> weights_at_start;
  std::vector<double> survival;          ///< (n_hosts) probability that a host works, drawn for each try of a
                                         ///< request; empty: all do
  std::optional<double> guess_accuracy;  ///< what a lost request counts as in the accuracy; none: not at all
  double observe_every_s = 1;            ///< how often bandwidth is measured for policies that watch it
  double observe_delay_s = 0;            ///< how old what policies see of links, hosts and queues is
  std::uint64_t seed = 1;
  EngineOptions engine;
  bool record_intervals = false;
  std::vector<double>
      phases_s;  ///< ascending: requests that arrive from each to the next are also counted apart
};

using MakePolicy = std::function<std::unique_ptr<Policy>()>;

/// Runs the requests of `spec` in SimGrid, with a policy of its own for each source. `facts` says what the
/// policy watches. Call it once per process: SimGrid has one engine.
/// @throws InputError from the policy or check_plan(), when plans grant more of a host than it has, and when
/// a closed loop makes no progress in time.
Trace simulate(const RunSpec& spec, const PolicyFacts& facts, const MakePolicy& make_policy);

}  // namespace cdisim
