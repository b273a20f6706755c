// ould: the layers of all sources' CNNs on the UAVs of a swarm, by an integer programme; OULD-MP looks ahead.
//
// A unit is a layer with weights and what follows it up to the next; longer models are joined to `units`
// units by least work. Each unit of each source's request goes to one UAV so that the sum of the latencies is
// least. With a_uji = 1 where unit j of source u's request is on UAV i,
//
//     min  sum_u [ T_ui(K_0) + sum_j sum_i a_uji c_ji + sum_j sum_ik a_u(j-1)i a_ujk T_ik(K_j) + T_iu(R) ]
//     s.t. sum_i a_uji = 1,   sum_uj a_uji m_j <= M_i,   sum_uj a_uji w_j <= W,   sum_uj a_uji e_ji <= E_i
//
// c_ji computing, T_ik(K) = latency + K / rho_ik the transfer of what a unit reads (K_0 the image, R the
// result), 0 within a UAV; memory, multiplications and energy are limited for one request of every source, of
// which each takes memory of its own: m_j its weights, M_i the memory but for the largest input and
// output of a layer. E_i is `energy_per_host`, and no more than the battery holds. Where not all requests
// fit, as few as possible are turned away. The product of two binaries is a flow, see
// policies/shared/joint_placement.h.
//
// OULD (horizon 0) takes the rates as last observed and decides anew whenever one of them has changed.
// OULD-MP decides once a horizon, for the mean latency over it: 1 / rho_ik is averaged over dates `step`
// apart. Its rates are known ahead where `prediction` is "known"; by "trend" each link's rate goes on to
// change as it has during the last horizon, by the same factor in the same time. A link that is out of range
// (at most 1 bit/s) at one of the dates is not used. A UAV that goes off or comes back is reason to decide
// anew for both. Predicted is estimate() for a source without others.
//
// Restricted by `placement` it gives heuristics that follow links: requests in the order of their sources,
// unit after unit where the one before is while the limits last, else "nearest", over the fastest link, or
// "roomiest", where most memory is left. Which ones the paper compares with is not known.
//
//     parameter       | type    | default   | meaning
//     ----------------|---------|-----------|----------------------------------------------------------
//     horizon         | time    | "0s"      | OULD-MP: for how long one decision is made; 0: OULD
//     step            | time    | "1s"      | OULD-MP: between the dates that are averaged
//     prediction      | string  | "known"   | OULD-MP: "known" or "trend"
//     placement       | string  | "optimal" | "optimal", "nearest" or "roomiest"
//     units           | integer | 20        | most units of the model, from 1
//     macs_per_host   | number  | 0         | W, multiplications on one UAV; 0: any
//     energy_per_host | number  | 0         | J on one UAV, above idle; 0: as much as its battery holds
//
//     {"name": "ould", "horizon": "10s", "prediction": "trend"}
//
// Plan's decision: units, hosts (that compute for this source), served (1, or 0: turned away), turned_away
// (of all sources), predicted_latency_s (of this source), objective_s (sum over those served), programme (1:
// Cbc was asked, 0: bounds were enough), proven (0: best known after 1000 nodes of its search tree, or a
// heuristic's).
//
// Source: M. Jouhari, A. Al-Ali, E. Baccour, A. Mohamed, A. Erbad, M. Guizani, M. Hamdi, "Distributed CNN
// Inference on Resource-Constrained UAVs for Surveillance Systems: Design and Optimization", IEEE IoT Journal
// 9(2), 2022, doi 10.1109/JIOT.2021.3079164, arXiv 2105.11013 (by its abstract, and by the programme of the
// same family in Disabato et al.; the paper itself was not at hand: limits, turning away, the trend and the
// heuristics are a reconstruction).

#include <cmath>
#include <deque>
#include <optional>
#include <utility>

#include "policies/shared/joint_placement.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

constexpr double kSameDate_s = 1e-9;

class Ould : public Policy {
 public:
  explicit Ould(const Parameters& parameters)
      : horizon_s_(parameters.number("horizon")),
        step_s_(parameters.number("step")),
        known_(parameters.string("prediction") == "known"),
        placement_(parameters.string("placement")),
        units_(most_units(parameters)),
        limits_(host_limits(parameters)) {
    if (!(step_s_ > 0)) parameters.fail("step", "valid: above 0");
    if (horizon_s_ > 0 && horizon_s_ < step_s_) parameters.fail("horizon", "valid: 0, or at least a step");
  }

  Plan plan(const Problem& problem) override { return decide(problem, {}); }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    remember(problem, observation.date_s);
    const bool due = horizon_s_ > 0 ? observation.date_s >= decided_s_ + horizon_s_ - kSameDate_s
                                    : observed_rates(problem, observation) != rates_.front();
    if (!due && observed_hosts(problem, observation) == host_on_) return std::nullopt;
    const std::vector<std::size_t> before = mine_;
    Plan plan = decide(problem, observation);
    if (mine_ == before) return std::nullopt;
    return plan;
  }

 private:
  Plan decide(const Problem& problem, const Observation& observation) {
    decided_s_ = observation.date_s;
    host_on_ = observed_hosts(problem, observation);
    if (seen_.empty()) remember(problem, decided_s_);
    rates_ = rates(problem, observation);
    const SharedHosts shared = shared_hosts(problem, units_, limits_, rates_, host_on_);
    const Placed placed = placement_ == "optimal"   ? best_placement(shared.joint)
                          : placement_ == "nearest" ? placement_in_order(shared.joint, NextHost::kNearest)
                                                    : placement_in_order(shared.joint, NextHost::kRoomiest);
    mine_ = placed.hosts[own_request(problem, shared)];
    Plan plan = plan_of(problem, shared, placed);
    plan.decision["programme"] = placed.programme ? 1 : 0;
    plan.decision["proven"] = placement_ == "optimal" && placed.proven ? 1 : 0;
    return plan;
  }

  // The trend takes the last horizon.
  void remember(const Problem& problem, double date_s) {
    if (horizon_s_ == 0 || known_) return;
    const std::span<const double> now = problem.bandwidth_bytes_per_s;
    if (!seen_.empty() && seen_.back().first == date_s) seen_.pop_back();
    seen_.emplace_back(date_s, std::vector<double>(now.begin(), now.end()));
    while (seen_.size() > 1 && seen_[1].first <= date_s - horizon_s_ + kSameDate_s) seen_.pop_front();
  }

  LinkRates rates(const Problem& problem, const Observation& observation) const {
    std::vector<double> now = observed_rates(problem, observation);
    if (horizon_s_ == 0) return {now};
    // A link that is off now is expected to stay off, unless it is known what it will give: then nothing is
    // seen of a failure.
    LinkRates out;
    for (int step = 0; (step + 0.5) * step_s_ < horizon_s_; ++step) {
      const double ahead_s = (step + 0.5) * step_s_;
      std::vector<double>& at_date = out.emplace_back(now);
      for (const auto& [link, trace] : problem.future) {
        const auto l = static_cast<std::size_t>(link);
        at_date[l] = known_ ? trace.at(observation.date_s + ahead_s) : continued(l, at_date[l], ahead_s);
      }
    }
    return out;
  }

  double continued(std::size_t link, double now, double ahead_s) const {
    const auto& [since_s, rates] = seen_.front();
    const double passed_s = seen_.back().first - since_s;
    if (passed_s <= 0 || now <= kOutOfRange_bytes_per_s || rates[link] <= kOutOfRange_bytes_per_s) return now;
    return now * std::pow(now / rates[link], ahead_s / passed_s);
  }

  double horizon_s_, step_s_;
  bool known_;
  std::string placement_;
  int units_;
  HostLimits limits_;
  double decided_s_ = 0;
  std::vector<char> host_on_;
  LinkRates rates_;
  std::vector<std::size_t> mine_;
  std::deque<std::pair<double, std::vector<double>>> seen_;  // dates and rates of the last horizon
};

std::vector<ParameterFacts> parameters() {
  std::vector<ParameterFacts> out = {
      {.name = "horizon",
       .type = "time",
       .standard = "0s",
       .about = "OULD-MP: for how long one decision is made; 0: OULD"},
      {.name = "step",
       .type = "time",
       .standard = "1s",
       .about = "OULD-MP: between the dates that are averaged"},
      {.name = "prediction",
       .type = "string",
       .standard = "known",
       .about = "OULD-MP: rates known ahead, or continued by their trend",
       .choices = {"known", "trend"}},
      {.name = "placement",
       .type = "string",
       .standard = "optimal",
       .about =
           "optimal, or a heuristic: what does not fit goes over the fastest link, or where most memory is "
           "left",
       .choices = {"optimal", "nearest", "roomiest"}}};
  for (ParameterFacts& facts : shared_hosts_parameters(20)) out.push_back(std::move(facts));
  return out;
}

const bool registered = register_policy(
    {.name = "ould",
     .title = "layers of CNNs on the UAVs of a swarm that moves, by an integer programme",
     .source = "Jouhari et al., OULD, IEEE IoT Journal 9(2), 2022",
     .about =
         "Places each layer of each source's request on a UAV so that the sum of the latencies is least, "
         "under "
         "limits of memory, multiplications and energy; as few requests as possible are turned away. With "
         "a horizon (OULD-MP) for the rates that links will have while the UAVs move.",
     .parameters = parameters(),
     .watches_bandwidth = true,
     .watches_platform = true,
     .knows_mobility = true},
    make<Ould>);

}  // namespace
}  // namespace cdisim
