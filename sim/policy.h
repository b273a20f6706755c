#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sim/bandwidth_trace.h"
#include "sim/json_reader.h"
#include "sim/latency_model.h"
#include "sim/layer_graph.h"
#include "sim/plan.h"
#include "sim/platform.h"

namespace cdisim {

/// What a policy may see when it decides for one source. The latency model and wire format are the
/// experiment's `estimator`: what the policy believes, which may differ from what will happen.
struct Problem {
  const LayerGraph& graph;
  const Platform& platform;
  const LatencyModel& latency_model;
  const WireFormat& wire;
  HostId source = 0;
  double deadline_s = 0;                          ///< infinite where the experiment states none
  std::span<const double> bandwidth_bytes_per_s;  ///< (n_links) as last observed
  std::span<const BandwidthTrace> history;        ///< traces that were recorded before the run, may be empty
  std::uint64_t seed = 1;
  /// (n_hosts) of (n_layers) which weights lie there; empty for a host that holds all, or altogether where
  /// all do.
  std::span<const std::vector<bool>> loaded = {};
  std::span<const int> power_state = {};  ///< (n_hosts) as last observed; empty: those at the start
  std::span<const HostId> sources = {};  ///< of the experiment, `source` among them; each has a policy object
  std::span<const double> arrivals_s = {};  ///< of this source, ascending, where the policy knows_arrivals
  std::span<const double> battery_j = {};   ///< (n_hosts) left now, infinite where there is none; empty: full
  std::span<const double> survival = {};    ///< (n_hosts) probability that a host works, for each try of a
                                            ///< request; empty: all do
  std::span<const double> flight_w = {};    ///< (n_hosts) as last observed; empty: that at the start
  /// Where the policy knows_mobility: what the bandwidths of the links that follow from mobility will be, at
  /// least 1 bit/s while one is out of range; dates count from the start of the run.
  std::span<const std::pair<LinkId, BandwidthTrace>> future = {};

  /// Hosts of a tier that the source can reach and hear from, ascending; the source itself is among them.
  std::vector<HostId> reachable(Tier tier) const;
  std::vector<HostId> reachable() const;
  /// Seconds in the host's power state 0.
  double compute_s(std::span<const LayerId> layers, HostId host) const;
  double compute_s(const Piece& piece) const;
  /// Whether the weights of a layer lie on a host.
  bool holds(HostId host, LayerId layer) const;
  /// The power state that the host was last seen in, and how much slower than in state 0 it then computes.
  const PowerState& state(HostId host) const;
  double slowdown(HostId host) const;
  /// What keeps the host in the air, W.
  double flight_power_w(HostId host) const;
  /// Latency of the route + bytes / what it gives at the bandwidths believed (Route::bytes_per_s); 0 from a
  /// host to itself.
  double transfer_s(double bytes, HostId from, HostId to) const;
};

/// What a plan costs on an otherwise idle platform.
struct Estimate {
  double latency_s = 0;
  double energy_j = 0;  ///< that the source draws above its idle power, for computing and for its radio
  double cost_usd = 0;  ///< prices of the hosts while they compute, and of the links by byte
};

/// Closed form: every piece starts when its last input has arrived and its host is free (pieces of one host
/// run one after another, in the order in which they become ready); edges of one plan do not slow each other
/// down, hosts of discipline batch do not wait for others, all weights lie where they are needed, and nobody
/// steals: pieces are computed by their host. A host
/// of several cores that computes two pieces at once costs less than here, where it computes one after
/// another. With exit rates, the mean over the exits.
Estimate estimate(const Problem& problem, const Plan& plan);

/// The chain plan that has the first `k` layers of the exit on `first` and the rest on `second`. k = 0 or
/// all: one piece.
Plan chain_plan(const LayerGraph& graph, int exit, int k, HostId first, HostId second);

/// How a request of the source ended.
struct Outcome {
  int request = 0;       ///< the source's, from 0 in the order in which they arrived
  double latency_s = 0;  ///< infinite where it was lost
};

/// Something that a policy asked to be told (PolicyFacts::watches).
struct Observation {
  enum class Kind { kArrival, kBandwidth, kPlatform, kLoad, kWeights };
  Kind kind = Kind::kArrival;
  double date_s = 0;
  std::function<int(HostId)> queue_length;  ///< computations waiting or running on a host, as last observed
  std::span<const char> host_on;            ///< (n_hosts)
  std::span<const char> link_on;            ///< (n_links)
  /// Where the policy watches arrivals: of the requests that ended since the last observation.
  std::span<const Outcome> outcomes = {};
};

/// A rule that makes plans. Policies are deterministic: the same problem, seed and observations give the same
/// plans.
class Policy {
 public:
  virtual ~Policy() = default;

  /// Decides for the requests of problem.source. @throws InputError when the platform lacks what the policy
  /// needs.
  virtual Plan plan(const Problem& problem) = 0;

  /// Called for what the policy watches, with the bandwidths as they are now. Keeps the plan unless
  /// overridden.
  virtual std::optional<Plan> replan(const Problem& /*problem*/, const Observation& /*observation*/) {
    return std::nullopt;
  }
};

struct ParameterFacts {
  std::string name;
  std::string type;  ///< "string", "number", "integer", "time", "power", "bandwidth"
  Json standard;     ///< default value
  std::string about;
  std::vector<std::string> choices = {};  ///< of a string
};

/// The facts that stand beside a policy's registration, for `cdisim list` and `cdisim describe`.
struct PolicyFacts {
  std::string name;
  std::string title;   ///< one line
  std::string source;  ///< paper
  std::string about;   ///< what it decides, a paragraph
  std::vector<ParameterFacts> parameters;
  bool watches_arrivals = false;
  bool watches_bandwidth = false;  ///< every `observe_every` of the experiment
  bool watches_platform = false;   ///< links and hosts that go on or off
  bool watches_load = false;       ///< hosts whose power state, and with it their speed, changes
  bool watches_weights = false;    ///< weights that have arrived on a host
  bool knows_arrivals = false;     ///< an offline algorithm: Problem::arrivals_s is filled in
  bool knows_mobility = false;     ///< knows how hosts will move: Problem::future is filled in
};

/// Values of a policy's parameters: the experiment's, else the defaults. Checked against the facts when
/// built.
class Parameters {
 public:
  /// @throws InputError: unknown parameter (lists them), wrong type, value that is none of the choices.
  Parameters(const PolicyFacts& facts, const JsonReader& given);

  std::string string(const std::string& name) const;
  double number(const std::string& name) const;  ///< also times, powers, bandwidths in SI units
  int integer(const std::string& name) const;
  /// As they stand in results.json: every parameter with its value.
  const Json& json() const { return values_; }
  /// The file in which they stand, and where in it.
  const std::string& file() const { return file_; }
  std::string place(const std::string& name) const { return place_ + "/" + name; }
  /// Throws InputError at the parameter's place.
  [[noreturn]] void fail(const std::string& name, const std::string& message) const;

 private:
  Json values_;
  std::map<std::string, double> si_;
  std::string file_, place_;
};

using PolicyFactory = std::function<std::unique_ptr<Policy>(const Parameters&)>;

/// One line at the end of a policy's file:
///     const bool registered = register_policy({.name = "edgent", ...}, make<Edgent>);
bool register_policy(PolicyFacts facts, PolicyFactory factory);

template <class P>
std::unique_ptr<Policy> make(const Parameters& parameters) {
  return std::make_unique<P>(parameters);
}

/// The facts of all policies, by name.
std::vector<const PolicyFacts*> registered_policies();
/// @throws InputError at `place` for an unknown name, with the valid ones.
const PolicyFacts& policy_facts(const std::string& name, const std::string& place);
std::unique_ptr<Policy> make_policy(const PolicyFacts& facts, const Parameters& parameters);

}  // namespace cdisim
