// edgent: which exit, and where to cut it, so that the answer is as accurate as the deadline allows.
//
// Layers before partition point p run on the EDGE host, layers from p on on the device (the source), the
// other way round than in Neurosurgeon; p counts from 1: p = 1 is the device alone, p = N + 1 the edge alone.
// The prediction
//
//     A(i, p) = sum_{j < p} ES_j + sum_{k >= p} ED_k + Input / B + D_{p-1} / B
//
// has ES, ED the times of exit i's layers on edge and device, D the bytes of a tensor, B the bandwidth as
// last observed; p = 1 sends nothing. The route's latency is added to every transfer, what a run costs before
// its first layer (loading the model) is part of the latency model, and the result's way back from the edge
// costs what the wire format says: result_bytes 0 drops it, as the paper does.
//
// Mode "static" goes through the exits from the deepest to the first and takes the first one with an
// acceptable p:
// - search "largest_device_share": the smallest p with A(i, p) <= deadline, which is what the paper's
//   Figs. 6 and 8 show. Without a deadline it is the device alone.
// - search "argmin": the p of least A(i, p), if that is <= deadline: Algorithm 1 as it is written.
//
// Where no exit is in time, exit 1 at its fastest p: Fig. 6 shows this up to 100 kbit/s; Algorithm 1 has no
// answer. Decided once.
//
// Mode "dynamic" follows the later paper, as remembered of it (nobody has checked it against the paper).
// Beforehand each bandwidth trace of the experiment's history is cut into windows of `window` samples (the
// trace's steps; a rest is left out), each a point (mean, standard deviation). Sorted by their means they are
// cut into `states` groups of equal number; a state is the average of its group. Without a history the states
// are 1/4, 1/2, 1, 2 and 4 times the present bandwidth. Each state has its configuration, the (i, p) of
// greatest reward
//
//     exp(accuracy of exit i, 0 to 1) + 1 / A(i, p) if A(i, p) <= deadline, else 0
//
// where B is the state's mean on every link of the routes to the server and back; where nothing is in time,
// exit 1 at its fastest p. The first plan is that of the state whose mean is nearest to the present
// bandwidth, the smallest on the route to the server. After that the bandwidth is watched by a Bayesian
// change-point detector; when it believes in a change, the state nearest in (mean, standard deviation) to the
// samples since then decides (nearest in mean, while there is one sample); otherwise the plan stays.
//
//     parameter | type    | default                | meaning
//     ----------|---------|------------------------|---------------------------------------------------
//     mode      | string  | "static"               | "static" or "dynamic"
//     search    | string  | "largest_device_share" | static: "largest_device_share" or "argmin"
//     server    | string  | ""                     | edge host; empty: of the reachable ones of tier
//               |         |                        | edge the fastest for the whole deepest exit
//     states    | integer | 8                      | dynamic: bandwidth states, 1 to 1000
//     window    | integer | 10                     | dynamic: samples that make one point, from 1
//     hazard    | number  | 100                    | dynamic: expected samples between two changes, > 1
//     threshold | number  | 0.5                    | dynamic: least probability of a change, in (0, 1)
//
//     {"name": "edgent", "mode": "dynamic", "states": 4}
//
// Plan's decision: exit (from 1), partition_point (p), predicted_latency_s (A; in mode dynamic at the state's
// bandwidth).
//
// Source: E. Li, Z. Zhou, X. Chen, "Edge Intelligence: On-Demand Deep Learning Model Co-Inference with
// Device-Edge Synergy", MECOMM 2018, arXiv 1806.07840, Algorithm 1 and Figs. 6 and 8; E. Li, L. Zeng, Z.
// Zhou, X. Chen, "Edge AI: On-Demand Accelerating Deep Neural Network Inference via Edge Computing", IEEE TWC
// 19(1), 2020, arXiv 1910.05316.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "policies/shared/chain.h"
#include "policies/shared/change_point.h"
#include "policies/shared/edge_offload.h"
#include "policies/shared/hosts.h"
#include "sim/error.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

struct Configuration {
  int exit = 0;
  int layers_on_edge = 0;  // p - 1
  double latency_s = 0;    // predicted
};

// A level of bandwidth, byte/s.
struct Level {
  double mean = 0, stddev = 0;
};

struct State {
  Level level;
  Configuration best;
};

Level level_of(std::span<const double> samples) {
  Level level;
  const auto n = static_cast<double>(samples.size());
  for (const double x : samples) level.mean += x / n;
  for (const double x : samples) level.stddev += (x - level.mean) * (x - level.mean) / n;
  level.stddev = std::sqrt(level.stddev);
  return level;
}

// Groups of equal number of the sorted windows: deterministic, and dense where the history is.
std::vector<Level> levels_of_history(std::span<const BandwidthTrace> history, int window, int states) {
  std::vector<Level> points;
  for (const BandwidthTrace& trace : history) {
    const std::span<const double> samples = trace.bandwidth_bytes_per_s;
    const std::size_t length = std::min(static_cast<std::size_t>(window), samples.size());
    for (std::size_t i = 0; i + length <= samples.size(); i += length) {
      points.push_back(level_of(samples.subspan(i, length)));
    }
  }
  std::ranges::sort(points, {}, [](const Level& level) { return std::pair(level.mean, level.stddev); });

  const std::size_t groups = std::min(static_cast<std::size_t>(states), points.size());
  std::vector<Level> levels(groups);
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t begin = g * points.size() / groups, end = (g + 1) * points.size() / groups;
    for (std::size_t i = begin; i < end; ++i) {
      levels[g].mean += points[i].mean / static_cast<double>(end - begin);
      levels[g].stddev += points[i].stddev / static_cast<double>(end - begin);
    }
  }
  return levels;
}

Configuration fastest_of_first_exit(const std::vector<Estimate>& costs) {
  const int k = fastest_cut(costs);
  return {0, k, costs[static_cast<std::size_t>(k)].latency_s};
}

Configuration search(const Problem& problem, HostId server, bool argmin) {
  const auto in_time = [&](const Estimate& cost) { return cost.latency_s <= problem.deadline_s; };
  std::vector<Estimate> costs;
  for (int exit = deepest_exit(problem); exit >= 0; --exit) {
    costs = chain_costs(problem, exit, server, problem.source);
    const auto chosen = argmin ? costs.begin() + fastest_cut(costs) : std::ranges::find_if(costs, in_time);
    if (chosen != costs.end() && in_time(*chosen)) {
      return {exit, static_cast<int>(chosen - costs.begin()), chosen->latency_s};
    }
  }
  return fastest_of_first_exit(costs);
}

// What to do while the routes to the server and back give `bytes_per_s`.
Configuration most_rewarding(const Problem& now, HostId server, double bytes_per_s) {
  const std::vector<double> bandwidth = bandwidths_with(now, server, bytes_per_s);
  Problem problem = now;
  problem.bandwidth_bytes_per_s = bandwidth;

  Configuration best;
  double most = 0;
  std::vector<Estimate> costs;
  for (int exit = deepest_exit(problem); exit >= 0; --exit) {
    const double accuracy = *problem.graph.exits()[static_cast<std::size_t>(exit)].accuracy;
    costs = chain_costs(problem, exit, server, problem.source);
    // Within an exit the reward falls with the latency.
    const int k = fastest_cut(costs);
    const double latency_s = costs[static_cast<std::size_t>(k)].latency_s;
    const double reward = latency_s <= problem.deadline_s ? std::exp(accuracy) + 1 / latency_s : 0;
    if (reward > most) {
      most = reward;
      best = {exit, k, latency_s};
    }
  }
  return most > 0 ? best : fastest_of_first_exit(costs);
}

class Edgent : public Policy {
 public:
  explicit Edgent(const Parameters& parameters)
      : parameters_(parameters),
        dynamic_(parameters.string("mode") == "dynamic"),
        detector_(checked(parameters, "hazard", 1, std::numeric_limits<double>::infinity()),
                  checked(parameters, "threshold", 0, 1)) {
    if (parameters.integer("states") < 1 || parameters.integer("states") > 1000) {
      parameters.fail("states", "valid: 1 to 1000");
    }
    if (parameters.integer("window") < 1) parameters.fail("window", "valid: from 1");
  }

  Plan plan(const Problem& problem) override {
    const std::vector<HostId> servers = server_candidates(problem, parameters_, {Tier::kEdge});
    server_ = fastest_host(problem, deepest_exit(problem), servers);
    if (!dynamic_)
      return plan_of(problem, search(problem, server_, parameters_.string("search") == "argmin"));

    for (const Exit& exit : problem.graph.exits()) {
      if (exit.accuracy) continue;
      throw InputError(fmt::format("model \"{}\"", problem.graph.name()),
                       fmt::format("exit \"{}\" has no accuracy, which policy edgent weighs in "
                                   "mode dynamic",
                                   exit.name));
    }
    const double now = bottleneck_bytes_per_s(problem, problem.source, server_);
    std::vector<Level> levels =
        levels_of_history(problem.history, parameters_.integer("window"), parameters_.integer("states"));
    if (levels.empty()) {
      for (const double factor : {0.25, 0.5, 1.0, 2.0, 4.0}) levels.push_back({factor * now, 0});
    }
    states_.clear();
    for (const Level& level : levels)
      states_.push_back({level, most_rewarding(problem, server_, level.mean)});
    state_ = nearest({now, 0}, false);
    return plan_of(problem, states_[state_].best);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& /*observation*/) override {
    if (!dynamic_ || !detector_.observe(bottleneck_bytes_per_s(problem, problem.source, server_)))
      return std::nullopt;
    const Configuration& before = states_[state_].best;
    state_ = nearest({detector_.mean(), detector_.stddev()}, detector_.run_length() > 1);
    const Configuration& best = states_[state_].best;
    if (best.exit == before.exit && best.layers_on_edge == before.layers_on_edge) return std::nullopt;
    return plan_of(problem, best);
  }

 private:
  // A number within the open interval (low, high).
  static double checked(const Parameters& parameters, const std::string& name, double low, double high) {
    const double value = parameters.number(name);
    if (!(value > low && value < high)) {
      parameters.fail(name, std::isinf(high) ? fmt::format("valid: above {}", low)
                                             : fmt::format("valid: between {} and {}", low, high));
    }
    return value;
  }

  std::size_t nearest(const Level& level, bool with_stddev) const {
    const auto distance = [&](const State& state) {
      return std::hypot(state.level.mean - level.mean, with_stddev ? state.level.stddev - level.stddev : 0);
    };
    return static_cast<std::size_t>(std::ranges::min_element(states_, {}, distance) - states_.begin());
  }

  Plan plan_of(const Problem& problem, const Configuration& best) const {
    Plan plan = chain_plan(problem.graph, best.exit, best.layers_on_edge, server_, problem.source);
    plan.decision = {{"exit", best.exit + 1},
                     {"partition_point", best.layers_on_edge + 1},
                     {"predicted_latency_s", best.latency_s}};
    return plan;
  }

  Parameters parameters_;
  bool dynamic_;
  HostId server_ = 0;
  std::vector<State> states_;
  std::size_t state_ = 0;
  ChangePointDetector detector_;
};

const bool registered = register_policy(
    {.name = "edgent",
     .title = "deepest exit and partition point that meet the deadline",
     .source = "Li et al., Edgent, MECOMM 2018; dynamic mode: IEEE TWC 2020",
     .about =
         "Picks the deepest exit that can meet the deadline and cuts its chain: layers before the partition "
         "point run on an edge host, the others on the source. In mode dynamic it picks the configuration of "
         "the "
         "nearest of several bandwidth states whenever a change of bandwidth is detected.",
     .parameters = {{.name = "mode",
                     .type = "string",
                     .standard = "static",
                     .about = "decide once, or follow the bandwidth",
                     .choices = {"static", "dynamic"}},
                    {.name = "search",
                     .type = "string",
                     .standard = "largest_device_share",
                     .about =
                         "static: most layers on the device within the deadline, or the fastest partition",
                     .choices = {"largest_device_share", "argmin"}},
                    {.name = "server",
                     .type = "string",
                     .standard = "",
                     .about = "edge host; empty: the fastest reachable one of tier edge"},
                    {.name = "states",
                     .type = "integer",
                     .standard = 8,
                     .about = "dynamic: bandwidth states made of the history"},
                    {.name = "window",
                     .type = "integer",
                     .standard = 10,
                     .about = "dynamic: samples of history that make one point"},
                    {.name = "hazard",
                     .type = "number",
                     .standard = 100,
                     .about = "dynamic: expected samples between two changes of bandwidth"},
                    {.name = "threshold",
                     .type = "number",
                     .standard = 0.5,
                     .about = "dynamic: probability from which a change is believed"}},
     .watches_bandwidth = true},
    make<Edgent>);

}  // namespace
}  // namespace cdisim
