// boomerang: the most accurate exit that is in time, and where to cut it, by search or by what was learned.
//
// As in Edgent, layers before partition point p run on the EDGE host, layers from p on on the device (the
// source); p counts from 1: p = 1 is the device alone. Each request is decided when it arrives, from the
// bandwidth B of the route to the edge host as last observed and the deadline.
//
// Version "regression" predicts
//
//     A(i, p, B) = computation of exit i on both hosts + routes' latencies + bytes / B
//
// from the latency model, and takes the (i, p) of greatest reward: the most accurate exit that is in time, at
// its fastest p; where none is in time, the least accurate at its fastest.
//
// Version "drl" has no predictions: it learned from rewards which (i, p) to take. The paper's agent is a deep
// network; here the default is tabular Q-learning, which needs nothing but 0.2 s at the start of a run.
// State: the buckets of bandwidth and deadline, `buckets` of equal ratio from low to high each; what lies
// outside counts as the nearest. Actions: of each exit the partitions of which no other computes and sends
// less. Each of `episodes` requests has a bandwidth and a deadline drawn log-uniformly within the ranges,
// tries an action, each equally likely (Q-learning need not follow what it learns), and earns the exit's
// accuracy if it was in time, else loses as much; of equals the sooner earns more (see
// policies/shared/edge_offload.h). A request's decision does not change the next one's situation, so Q is the
// mean reward (discount 0, rate 1/n). With `network` a network that was trained beforehand decides instead
// (see policy rl).
//
//     parameter      | type      | default      | meaning
//     ---------------|-----------|--------------|---------------------------------------------------------
//     version        | string    | "regression" | "regression" or "drl"
//     server         | string    | ""           | edge host; empty: of the reachable ones of tier edge the
//                    |           |              | fastest for the whole deepest exit
//     network        | string    | ""           | drl: a trained network, as of policy rl; empty: learn at
//                    |           |              | the start
//     buckets        | integer   | 48           | drl: of bandwidths, and of deadlines, 1 to 256
//     episodes       | integer   | 1000000      | drl: requests to learn from, from 1
//     bandwidth_low  | bandwidth | "20kbps"     | drl: bandwidths to learn for (assumed; Edgent's are 50
//     bandwidth_high | bandwidth | "2Mbps"      |      kbit/s to 2 Mbit/s)
//     deadline_low   | time      | "100ms"      | drl: deadlines to learn for (assumed; Edgent's are 100 ms
//     deadline_high  | time      | "3s"         |      to 1 s)
//
//     {"name": "boomerang", "version": "drl", "episodes": 200000}
//
// Plan's decision, for the latest request: exit (from 1), partition_point (p); without a network also
// predicted_latency_s (A when the decision last changed; version drl was not told).
//
// Source: L. Zeng, E. Li, Z. Zhou, X. Chen, "Boomerang: On-Demand Cooperative Deep Neural Network Inference
// for Edge Intelligence on the Industrial Internet of Things", IEEE Network 33(5), 2019, as its abstract and
// the survey describe it. The paper's network, states and rewards were not available; the above is our
// reading.

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "policies/shared/edge_offload.h"
#include "policies/shared/hosts.h"
#include "policies/shared/offload_agent.h"
#include "policies/shared/q_learning.h"
#include "sim/policy.h"
#include "sim/random.h"

namespace cdisim {
namespace {

// A positive quantity in buckets of equal ratio.
class Buckets {
 public:
  Buckets(const Parameters& parameters, const std::string& quantity)
      : low_(parameters.number(quantity + "_low")),
        high_(parameters.number(quantity + "_high")),
        n_(parameters.integer("buckets")) {
    if (low_ <= 0) parameters.fail(quantity + "_low", "must be positive");
    if (high_ <= low_) parameters.fail(quantity + "_high", "must lie above " + quantity + "_low");
  }

  int of(double value) const {
    const double share = std::log(std::clamp(value, low_, high_) / low_) / std::log(high_ / low_);
    return std::min(static_cast<int>(share * n_), n_ - 1);
  }
  double draw(Random& random) const { return low_ * std::pow(high_ / low_, random.uniform()); }

 private:
  double low_, high_;
  int n_;
};

class Boomerang : public Policy {
 public:
  explicit Boomerang(const Parameters& parameters)
      : parameters_(parameters),
        bandwidths_(checked(parameters), "bandwidth"),
        deadlines_(parameters, "deadline") {
    if (learns() && !parameters.string("network").empty())
      agent_.emplace(TrainedNetwork::load(parameters, "network"));
  }

  Plan plan(const Problem& problem) override {
    server_ =
        fastest_host(problem, deepest_exit(problem), server_candidates(problem, parameters_, {Tier::kEdge}));
    if (agent_) return agent_->plan(problem, server_);
    actions_ = offload_actions(problem, server_);
    if (learns()) learn(problem);
    taken_ = decide(problem);
    return current(problem);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    if (agent_) return agent_->replan(problem, observation);
    const int before = std::exchange(taken_, decide(problem));
    if (taken_ == before) return std::nullopt;
    return current(problem);
  }

 private:
  bool learns() const { return parameters_.string("version") == "drl"; }

  static const Parameters& checked(const Parameters& parameters) {
    const int buckets = parameters.integer("buckets");
    if (buckets < 1 || buckets > 256) parameters.fail("buckets", "valid: 1 to 256");
    if (parameters.integer("episodes") < 1) parameters.fail("episodes", "valid: from 1");
    return parameters;
  }

  int state(double bytes_per_s, double deadline_s) const {
    return bandwidths_.of(bytes_per_s) * parameters_.integer("buckets") + deadlines_.of(deadline_s);
  }

  void learn(const Problem& problem) {
    const int buckets = parameters_.integer("buckets"), episodes = parameters_.integer("episodes");
    table_.emplace(buckets * buckets, static_cast<int>(actions_.size()),
                   QLearning::Options{.discount = 0, .decay = 1}, problem.seed);
    const double bonus = offload_bonus(actions_);
    Random random(derive_seed(problem.seed, Stream::kPolicy, 0));
    for (int e = 0; e < episodes; ++e) {
      const double bytes_per_s = bandwidths_.draw(random), deadline_s = deadlines_.draw(random);
      const int seen = state(bytes_per_s, deadline_s);
      const int taken = table_->explore(seen, 1);
      const OffloadAction& action = actions_[static_cast<std::size_t>(taken)];
      table_->update(seen, taken, offload_reward(action, action.latency_s(bytes_per_s), deadline_s, bonus),
                     QLearning::kEnd);
    }
  }

  int decide(const Problem& problem) const {
    const double bytes_per_s = bottleneck_bytes_per_s(problem, problem.source, server_);
    return table_ ? table_->best(state(bytes_per_s, problem.deadline_s))
                  : most_rewarding(actions_, bytes_per_s, problem.deadline_s);
  }

  Plan current(const Problem& problem) const {
    const OffloadAction& action = actions_[static_cast<std::size_t>(taken_)];
    Plan plan = offload_plan(problem, server_, action.exit, action.layers_on_server);
    plan.decision["predicted_latency_s"] =
        action.latency_s(bottleneck_bytes_per_s(problem, problem.source, server_));
    return plan;
  }

  Parameters parameters_;
  Buckets bandwidths_, deadlines_;
  HostId server_ = 0;
  std::vector<OffloadAction> actions_;
  std::optional<QLearning> table_;
  std::optional<OffloadAgent> agent_;
  int taken_ = 0;
};

const bool registered = register_policy(
    {.name = "boomerang",
     .title = "most accurate exit in time, searched or learned",
     .source = "Zeng et al., Boomerang, IEEE Network 2019",
     .about = "For each request the exit and the partition point between an edge host and the source that "
              "give the "
              "most accurate answer in time: searched in predicted latencies, or learned from rewards by "
              "Q-learning over bandwidths and deadlines, or by a network trained beforehand.",
     .parameters = {{.name = "version",
                     .type = "string",
                     .standard = "regression",
                     .about = "search in predictions, or what was learned",
                     .choices = {"regression", "drl"}},
                    {.name = "server",
                     .type = "string",
                     .standard = "",
                     .about = "edge host; empty: the fastest reachable one of tier edge"},
                    {.name = "network",
                     .type = "string",
                     .standard = "",
                     .about = "drl: trained network as of policy rl; empty: learn at the start"},
                    {.name = "buckets",
                     .type = "integer",
                     .standard = 48,
                     .about = "drl: of bandwidths, and of deadlines"},
                    {.name = "episodes",
                     .type = "integer",
                     .standard = 1000000,
                     .about = "drl: requests to learn from before the run"},
                    {.name = "bandwidth_low",
                     .type = "bandwidth",
                     .standard = "20kbps",
                     .about = "drl: least bandwidth to learn for"},
                    {.name = "bandwidth_high",
                     .type = "bandwidth",
                     .standard = "2Mbps",
                     .about = "drl: greatest bandwidth to learn for"},
                    {.name = "deadline_low",
                     .type = "time",
                     .standard = "100ms",
                     .about = "drl: least deadline to learn for"},
                    {.name = "deadline_high",
                     .type = "time",
                     .standard = "3s",
                     .about = "drl: greatest deadline to learn for"}},
     .watches_arrivals = true},
    make<Boomerang>);

}  // namespace
}  // namespace cdisim
