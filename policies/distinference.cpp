// distinference: each request's layers on the UAVs of a swarm, one request after another, online.
//
// A unit is a layer with weights and what follows it up to the next; what a residual block's shortcut spans
// stays together. The requests of one period, one of every source, are served in the order of the sources.
// Unit after unit stays on the UAV that has what it reads (of the first: the source) while that one's memory,
// multiplications and energy last; else it goes, of the UAVs where they do, to the one with the least
//
//     T_ik(K) + c_jk,    and the result's way back for the last unit,
//
// T_ik(K) = latency + K / rate the transfer of what unit j reads, c_jk computing it on k. What a request
// takes is reserved: memory for its weights, beside which each UAV keeps room for the largest input and
// output of a layer; of multiplications each UAV has `macs_per_host` in a period, of energy `energy_per_host`
// and no more than its battery holds. A request for a unit of which no UAV has room is turned away, and what
// it has reserved is free again. All this starts anew whenever a rate has changed, or a UAV goes off or comes
// back. Every source has a policy object of its own; all see the same, and each returns its source's part.
// Predicted is estimate() for a source without others.
//
// Only the abstract was at hand: it has the problem, NP-hard, and an online heuristic that picks the
// placement of least latency among the UAVs that are available, not its steps. THE GREEDY ABOVE IS A
// RECONSTRUCTION. `placement` also gives what to compare it with: "optimal", the fewest requests turned away
// and the least sum of latencies (policies/shared/joint_placement.h); "nearest", over the fastest link;
// "random", a UAV with room drawn for every unit, the same whatever the seed.
//
//     parameter       | type    | default  | meaning
//     ----------------|---------|----------|---------------------------------------------------------
//     placement       | string  | "greedy" | "greedy", "optimal", "nearest" or "random"
//     units           | integer | 50       | most units of the model, from 1
//     macs_per_host   | number  | 0        | multiplications on one UAV in a period; 0: any
//     energy_per_host | number  | 0        | J on one UAV, above idle; 0: as much as its battery holds
//
//     {"name": "distinference", "macs_per_host": 2e10}
//
// Plan's decision: units, hosts (that compute for this source), served (1, or 0: turned away), turned_away
// (of all sources), predicted_latency_s (of this source), objective_s (sum over those served).
//
// Source: M. Dhuheir, E. Baccour, A. Erbad, S. Sabeeh, M. Hamdi, "Efficient Real-Time Image Recognition Using
// Collaborative Swarm of UAVs and Convolutional Networks", IWCMC 2021, doi 10.1109/IWCMC51323.2021.9498967,
// arXiv 2107.04648.

#include <map>
#include <optional>
#include <utility>

#include "policies/shared/joint_placement.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

class Distinference : public Policy {
 public:
  explicit Distinference(const Parameters& parameters)
      : placement_(parameters.string("placement")),
        units_(most_units(parameters)),
        limits_(host_limits(parameters)) {}

  Plan plan(const Problem& problem) override { return decide(problem, {}); }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    if (observed_rates(problem, observation) == rates_ && observed_hosts(problem, observation) == host_on_)
      return std::nullopt;
    const std::vector<std::size_t> before = mine_;
    Plan plan = decide(problem, observation);
    if (mine_ == before) return std::nullopt;
    return plan;
  }

 private:
  Plan decide(const Problem& problem, const Observation& observation) {
    host_on_ = observed_hosts(problem, observation);
    rates_ = observed_rates(problem, observation);
    const SharedHosts shared = shared_hosts(problem, units_, limits_, {rates_}, host_on_);
    const Placed placed = place(shared.joint);
    mine_ = placed.hosts[own_request(problem, shared)];
    return plan_of(problem, shared, placed);
  }

  Placed place(const JointPlacement& joint) const {
    if (placement_ == "optimal") return best_placement(joint);
    static const std::map<std::string, NextHost> kNext{
        {"greedy", NextHost::kFastest}, {"nearest", NextHost::kNearest}, {"random", NextHost::kRandom}};
    return placement_in_order(joint, kNext.at(placement_));
  }

  std::string placement_;
  int units_;
  HostLimits limits_;
  std::vector<char> host_on_;
  std::vector<double> rates_;
  std::vector<std::size_t> mine_;
};

std::vector<ParameterFacts> parameters() {
  std::vector<ParameterFacts> out = {
      {.name = "placement",
       .type = "string",
       .standard = "greedy",
       .about =
           "greedy, the optimum, or a baseline: what does not fit goes over the fastest link; every unit "
           "anywhere",
       .choices = {"greedy", "optimal", "nearest", "random"}}};
  for (ParameterFacts& facts : shared_hosts_parameters(50)) out.push_back(std::move(facts));
  return out;
}

const bool registered = register_policy(
    {.name = "distinference",
     .title = "layers on the UAVs of a swarm, one request after another, within budgets",
     .source = "Dhuheir et al., DistInference, IWCMC 2021",
     .about = "Requests are served in the order of their sources: each layer, or residual block, stays where "
              "its input is "
              "while memory, multiplications and energy last, else goes to the UAV of least transfer and "
              "computing "
              "time; what it takes is reserved. A request that finds no room is turned away. The greedy is a "
              "reconstruction.",
     .parameters = parameters(),
     .watches_bandwidth = true,
     .watches_platform = true},
    make<Distinference>);

}  // namespace
}  // namespace cdisim
