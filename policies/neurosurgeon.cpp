// neurosurgeon: where to cut a chain between the device and a server.
//
// Takes the layers of the deepest exit in topological order and tries every partition point k, 0 to N: layers
// before k on the source, layers from k on on the server; k = N is the device alone, k = 0 the server alone.
// With TM, TC the times of the two pieces, s how many times slower than idle the server is under the load
// that others put on it (1 / (1 - load)), D_k the bytes that cross, B the uplink's bandwidth, both as last
// observed, E the energy of computing and of the radio that the source draws above its idle power,
//
//     objective latency:  k* = argmin_k  TM(1..k) + D_k / B + s TC(k+1..N) + return of the result
//     objective energy:   k* = argmin_k  E(1..k) + E(sending D_k, receiving the result)
//
// The smallest k of equals; of several servers the best, the first of equals. Decides anew whenever the
// measured bandwidth of a route to a server, or the speed that load or power states leave to a server or the
// source, has changed. On a DAG every tensor that leaves the first k layers crosses once. Memory is not
// looked at.
//
//     parameter       | type    | default   | meaning
//     ----------------|---------|-----------|-------------------------------------------------------
//     objective       | string  | "latency" | "latency" or "energy", what k minimises
//     server          | string  | ""        | host of the rest; empty: the best of tier cloud or edge
//     partition_point | integer | -1        | layers on the source; -1: decide
//
//     {"name": "neurosurgeon", "objective": "energy"}
//
// Plan's decision: partition_point, k.
//
// Source: Y. Kang, J. Hauswald, C. Gao, A. Rovinski, T. Mudge, J. Mars, L. Tang, "Neurosurgeon: Collaborative
// Intelligence Between the Cloud and Mobile Edge", ASPLOS 2017, doi 10.1145/3037697.3037698, Algorithm 1 (its
// form as remembered and as later papers restate it; the paper itself was not at hand).

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "policies/shared/chain.h"
#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

class Neurosurgeon : public Policy {
 public:
  explicit Neurosurgeon(const Parameters& parameters)
      : parameters_(parameters),
        objective_(parameters.string("objective") == "energy" ? &Estimate::energy_j : &Estimate::latency_s) {
    if (parameters.integer("partition_point") < -1)
      parameters.fail("partition_point", "valid: -1 (decide), 0, 1, ...");
  }

  Plan plan(const Problem& problem) override {
    servers_ = server_candidates(problem, parameters_, {Tier::kCloud, Tier::kEdge});
    seen_ = observe(problem);
    best_ = decide(problem);
    return chain(problem);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& /*observation*/) override {
    std::vector<double> now = observe(problem);
    if (now == seen_) return std::nullopt;
    seen_ = std::move(now);
    const Cut before = std::exchange(best_, decide(problem));
    if (best_.k == before.k && best_.server == before.server) return std::nullopt;
    return chain(problem);
  }

 private:
  struct Cut {
    HostId server = 0;
    int k = 0;
  };

  // All that a decision takes from the state of network and hosts.
  std::vector<double> observe(const Problem& problem) const {
    std::vector<double> out = server_bandwidths(problem, servers_);
    for (const HostId server : servers_) out.push_back(problem.slowdown(server));
    out.push_back(problem.slowdown(problem.source));
    out.push_back(computing_power_w(problem));
    return out;
  }

  Cut decide(const Problem& problem) const {
    const int exit = deepest_exit(problem);
    const int n = static_cast<int>(problem.graph.exit_layers(exit).size());
    const int fixed = parameters_.integer("partition_point");
    if (fixed > n) {
      parameters_.fail("partition_point", fmt::format("\"{}\" has {} layers; valid: -1 (decide), 0 to {}",
                                                      problem.graph.name(), n, n));
    }
    Cut best{servers_.front(), fixed};
    double least = std::numeric_limits<double>::infinity();
    for (const HostId server : servers_) {
      const std::vector<Estimate> costs = chain_costs(problem, exit, problem.source, server);
      const auto k = fixed >= 0 ? costs.begin() + fixed : std::ranges::min_element(costs, {}, objective_);
      if ((*k).*objective_ < least) {
        least = (*k).*objective_;
        best = {server, static_cast<int>(k - costs.begin())};
      }
    }
    return best;
  }

  Plan chain(const Problem& problem) const {
    Plan plan = chain_plan(problem.graph, deepest_exit(problem), best_.k, problem.source, best_.server);
    plan.decision["partition_point"] = best_.k;
    return plan;
  }

  Parameters parameters_;
  double Estimate::*objective_;
  std::vector<HostId> servers_;
  std::vector<double> seen_;
  Cut best_;
};

const bool registered = register_policy(
    {.name = "neurosurgeon",
     .title = "best cut of a chain between the device and a server",
     .source = "Kang et al., Neurosurgeon, ASPLOS 2017",
     .about =
         "Of all partition points of the deepest exit, the one with the least latency, or with the least "
         "energy "
         "of the source: layers before it run on the source, the others on a server. Decided anew when the "
         "bandwidth or the load of a host changes.",
     .parameters = {{.name = "objective",
                     .type = "string",
                     .standard = "latency",
                     .about = "what the partition point minimises",
                     .choices = {"latency", "energy"}},
                    {.name = "server",
                     .type = "string",
                     .standard = "",
                     .about = "host of the rest; empty: the best reachable one of tier cloud or edge"},
                    {.name = "partition_point",
                     .type = "integer",
                     .standard = -1,
                     .about = "layers on the source; -1: decide"}},
     .watches_bandwidth = true,
     .watches_load = true},
    make<Neurosurgeon>);

}  // namespace
}  // namespace cdisim
