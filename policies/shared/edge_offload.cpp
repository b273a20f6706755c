#include "policies/shared/edge_offload.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "policies/shared/chain.h"
#include "policies/shared/hosts.h"

namespace cdisim {

OffloadObservation OffloadWatcher::start(const Problem& problem, HostId server) {
  bandwidth_ = bottleneck_bytes_per_s(problem, problem.source, server);
  changed_s_ = 0;
  return {.uplink_bandwidth = bandwidth_, .deadline = problem.deadline_s};
}

OffloadObservation OffloadWatcher::observe(const Problem& problem, HostId server,
                                           const Observation& observation) {
  const double bandwidth = bottleneck_bytes_per_s(problem, problem.source, server);
  if (bandwidth != std::exchange(bandwidth_, bandwidth)) changed_s_ = observation.date_s;
  OffloadObservation out{.uplink_bandwidth = bandwidth,
                         .deadline = problem.deadline_s,
                         .since_change = observation.date_s - changed_s_};
  if (observation.queue_length) {
    out.device_queue = observation.queue_length(problem.source);
    out.server_queue = observation.queue_length(server);
  }
  return out;
}

double OffloadFeature::scaled(const OffloadObservation& observation) const {
  const auto f = [&](double v) { return logarithmic ? std::log(v) : v; };
  const double v = std::clamp(observation.*member, low, high);
  return (f(v) - f(low)) / (f(high) - f(low));
}

OffloadFeature OffloadFeature::read(const JsonReader& reader) {
  struct Known {
    const char* name;
    double OffloadObservation::*member;
    std::optional<Dimension> dimension;
  };
  static const Known known[] = {
      {"uplink_bandwidth", &OffloadObservation::uplink_bandwidth, Dimension::kBandwidth},
      {"deadline", &OffloadObservation::deadline, Dimension::kTime},
      {"device_queue", &OffloadObservation::device_queue, std::nullopt},
      {"server_queue", &OffloadObservation::server_queue, std::nullopt},
      {"since_change", &OffloadObservation::since_change, Dimension::kTime}};
  std::vector<std::string> names;
  for (const Known& one : known) names.emplace_back(one.name);
  const Known& chosen = known[reader.at("feature").choice(names)];
  const auto bound = [&](const char* key) {
    const JsonReader value = reader.at(key);
    return chosen.dimension ? value.quantity(*chosen.dimension) : value.number(0, 1e9);
  };
  OffloadFeature out{.member = chosen.member,
                     .logarithmic = reader.at("scale").choice({"linear", "log"}) == 1,
                     .low = bound("low"),
                     .high = bound("high")};
  if (out.low >= out.high) reader.at("high").fail("must lie above \"low\"");
  if (out.logarithmic && out.low == 0) reader.at("low").fail("must be positive on a logarithmic scale");
  reader.done();
  return out;
}

std::vector<double> bandwidths_with(const Problem& problem, HostId server, double bytes_per_s) {
  std::vector<double> out(problem.bandwidth_bytes_per_s.begin(), problem.bandwidth_bytes_per_s.end());
  for (const auto& [from, to] : {std::pair(problem.source, server), std::pair(server, problem.source)}) {
    const Route& route = *problem.platform.route(from, to);
    for (std::size_t i = 0; i < route.links.size(); ++i) {
      out[static_cast<std::size_t>(route.links[i])] =
          bytes_per_s * (route.weights.empty() ? 1 : route.weights[i]);
    }
  }
  return out;
}

std::vector<OffloadAction> offload_actions(const Problem& problem, HostId server) {
  const std::vector<double> unlimited =
      bandwidths_with(problem, server, std::numeric_limits<double>::infinity());
  const std::vector<double> one = bandwidths_with(problem, server, 1);
  Problem fixed = problem, slow = problem;
  fixed.bandwidth_bytes_per_s = unlimited;
  slow.bandwidth_bytes_per_s = one;
  const std::span<const Exit> exits = problem.graph.exits();
  const bool known = std::ranges::all_of(exits, [](const Exit& exit) { return exit.accuracy.has_value(); });

  std::vector<OffloadAction> out;
  for (int exit = 0; exit <= deepest_exit(problem); ++exit) {
    const std::vector<Estimate> compute = chain_costs(fixed, exit, server, problem.source);
    const std::vector<Estimate> all = chain_costs(slow, exit, server, problem.source);
    std::vector<OffloadAction> of_exit;
    for (std::size_t k = 0; k < all.size(); ++k) {
      of_exit.push_back({.exit = exit,
                         .layers_on_server = static_cast<int>(k),
                         .accuracy = known ? *exits[static_cast<std::size_t>(exit)].accuracy
                                           : (exit + 1.0) / static_cast<double>(exits.size()),
                         .fixed_s = compute[k].latency_s,
                         .bytes = all[k].latency_s - compute[k].latency_s});
    }
    for (const OffloadAction& a : of_exit) {
      const auto beats = [&](const OffloadAction& b) {
        const bool better = b.fixed_s < a.fixed_s || b.bytes < a.bytes;
        return b.fixed_s <= a.fixed_s && b.bytes <= a.bytes &&
               (better || b.layers_on_server < a.layers_on_server);
      };
      if (std::ranges::none_of(of_exit, beats)) out.push_back(a);
    }
  }
  return out;
}

double offload_reward(const OffloadAction& action, double latency_s, double deadline_s, double bonus) {
  const bool in_time = std::isfinite(latency_s) && latency_s <= deadline_s;
  return (in_time ? action.accuracy : -action.accuracy) + bonus / (1 + latency_s);
}

double offload_bonus(std::span<const OffloadAction> actions) {
  std::vector<double> accuracies;
  for (const OffloadAction& action : actions) accuracies.push_back(action.accuracy);
  std::ranges::sort(accuracies);
  double least = 1;
  for (std::size_t i = 1; i < accuracies.size(); ++i) {
    const double difference = accuracies[i] - accuracies[i - 1];
    if (difference > 0) least = std::min(least, difference);
  }
  return least / 2;
}

int most_rewarding(std::span<const OffloadAction> actions, double bytes_per_s, double deadline_s) {
  const double bonus = offload_bonus(actions);
  const auto reward = [&](const OffloadAction& action) {
    return offload_reward(action, action.latency_s(bytes_per_s), deadline_s, bonus);
  };
  return static_cast<int>(std::ranges::max_element(actions, {}, reward) - actions.begin());
}

Plan offload_plan(const Problem& problem, HostId server, int exit, int layers_on_server) {
  Plan plan = chain_plan(problem.graph, exit, layers_on_server, server, problem.source);
  plan.decision = {{"exit", exit + 1}, {"partition_point", layers_on_server + 1}};
  return plan;
}

}  // namespace cdisim
