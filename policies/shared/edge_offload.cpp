#include "policies/shared/edge_offload.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "policies/shared/chain.h"
#include "policies/shared/hosts.h"

namespace cdisim {

OffloadObservation OffloadWatcher::start(const Problem& problem, HostId server) {
  *this = {};
  bandwidth_ = bottleneck_bytes_per_s(problem, problem.source, server);
  return {.uplink_bandwidth = bandwidth_, .deadline = problem.deadline_s};
}

OffloadObservation OffloadWatcher::observe(const Problem& problem, HostId server,
                                           const Observation& observation) {
  const double gap_s = observation.date_s - std::exchange(now_s_, observation.date_s);
  link_bytes_ = std::max(0.0, link_bytes_ - gap_s * bandwidth_);
  const double bandwidth = bottleneck_bytes_per_s(problem, problem.source, server);
  if (bandwidth != std::exchange(bandwidth_, bandwidth)) changed_s_ = now_s_;
  if (observation.kind == Observation::Kind::kArrival) {
    if (arrivals_ > 0) gap_s_ += (gap_s - gap_s_) / std::min(arrivals_, 5);
    ++arrivals_;
  }
  OffloadObservation out{.uplink_bandwidth = bandwidth,
                         .deadline = problem.deadline_s,
                         .since_change = now_s_ - changed_s_,
                         .arrival_gap = gap_s_,
                         .link_backlog = link_bytes_ / bandwidth_,
                         .server_backlog = std::max(0.0, server_free_s_ - now_s_),
                         .device_backlog = std::max(0.0, device_free_s_ - now_s_)};
  if (observation.queue_length) {
    out.device_queue = observation.queue_length(problem.source);
    out.server_queue = observation.queue_length(server);
  }
  return out;
}

void OffloadWatcher::decided(const OffloadAction& action) {
  link_bytes_ += action.bytes;
  double ready_s = now_s_ + (action.bytes > 0 ? link_bytes_ / bandwidth_ : 0);
  if (action.layers_on_server > 0)
    ready_s = server_free_s_ = std::max(server_free_s_, ready_s) + action.server_s;
  if (action.device_s > 0) device_free_s_ = std::max(device_free_s_, ready_s) + action.device_s;
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
      {"since_change", &OffloadObservation::since_change, Dimension::kTime},
      {"arrival_gap", &OffloadObservation::arrival_gap, Dimension::kTime},
      {"link_backlog", &OffloadObservation::link_backlog, Dimension::kTime},
      {"server_backlog", &OffloadObservation::server_backlog, Dimension::kTime},
      {"device_backlog", &OffloadObservation::device_backlog, Dimension::kTime}};
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

namespace {

// A problem without its transfers, and one where they take a second for each byte.
struct Extremes {
  Extremes(const Problem& problem, HostId server)
      : unlimited(bandwidths_with(problem, server, std::numeric_limits<double>::infinity())),
        one(bandwidths_with(problem, server, 1)),
        fixed(problem),
        slow(problem) {
    fixed.bandwidth_bytes_per_s = unlimited;
    slow.bandwidth_bytes_per_s = one;
  }
  std::vector<double> unlimited, one;
  Problem fixed, slow;
};

OffloadAction make_action(const Problem& problem, HostId server, int exit, int k, double fixed_s,
                          double slow_s) {
  const std::span<const Exit> exits = problem.graph.exits();
  const bool known = std::ranges::all_of(exits, [](const Exit& e) { return e.accuracy.has_value(); });
  const std::span<const LayerId> layers = problem.graph.exit_layers(exit);
  const auto n = static_cast<std::size_t>(k);
  const auto compute_s = [&](std::span<const LayerId> some, HostId host) {
    return some.empty() ? 0 : problem.compute_s(some, host);
  };
  return {.exit = exit,
          .layers_on_server = k,
          .accuracy = known ? *exits[static_cast<std::size_t>(exit)].accuracy
                            : (exit + 1.0) / static_cast<double>(exits.size()),
          .fixed_s = fixed_s,
          .bytes = slow_s - fixed_s,
          .server_s = compute_s(layers.first(n), server),
          .device_s = compute_s(layers.subspan(n), problem.source)};
}

}  // namespace

OffloadAction offload_action(const Problem& problem, HostId server, int exit, int layers_on_server) {
  const Extremes extremes(problem, server);
  const Plan plan = offload_plan(problem, server, exit, layers_on_server);
  return make_action(problem, server, exit, layers_on_server, estimate(extremes.fixed, plan).latency_s,
                     estimate(extremes.slow, plan).latency_s);
}

std::vector<OffloadAction> offload_actions(const Problem& problem, HostId server) {
  const Extremes extremes(problem, server);
  std::vector<OffloadAction> out;
  for (int exit = 0; exit <= deepest_exit(problem); ++exit) {
    const std::vector<Estimate> fixed = chain_costs(extremes.fixed, exit, server, problem.source);
    const std::vector<Estimate> slow = chain_costs(extremes.slow, exit, server, problem.source);
    const auto bytes = [&](std::size_t k) { return slow[k].latency_s - fixed[k].latency_s; };
    for (std::size_t a = 0; a < fixed.size(); ++a) {
      bool beaten = false;
      for (std::size_t b = 0; b < fixed.size() && !beaten; ++b) {
        const bool better = fixed[b].latency_s < fixed[a].latency_s || bytes(b) < bytes(a);
        beaten = fixed[b].latency_s <= fixed[a].latency_s && bytes(b) <= bytes(a) && (better || b < a);
      }
      if (beaten) continue;
      out.push_back(
          make_action(problem, server, exit, static_cast<int>(a), fixed[a].latency_s, slow[a].latency_s));
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

double stream_reward(const OffloadAction& action, double latency_s, double deadline_s) {
  return std::isfinite(latency_s) && latency_s <= deadline_s ? action.accuracy : 0;
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
