#include "policies/shared/hosts.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/error.h"

namespace cdisim {

namespace {

std::vector<HostId> candidates(const Problem& problem, const std::vector<Tier>& tiers, bool with_source) {
  std::vector<HostId> out = problem.reachable();
  std::erase_if(out, [&](HostId host) {
    const bool wanted =
        tiers.empty() || std::ranges::find(tiers, problem.platform.host(host).tier) != tiers.end();
    return !wanted || (host == problem.source && !with_source);
  });
  if (!out.empty()) return out;
  std::string tier_names;
  for (const Tier tier : tiers) {
    tier_names += fmt::format("{}{}", tier_names.empty() ? " of tier " : " or ", tier_name(tier));
  }
  throw InputError(problem.platform.file(),
                   fmt::format("no {}host{} with a route from and to \"{}\"", with_source ? "" : "other ",
                               tier_names, problem.platform.host(problem.source).name));
}

}  // namespace

std::vector<HostId> sources_of(const Problem& problem) {
  if (problem.sources.empty()) return {problem.source};
  return {problem.sources.begin(), problem.sources.end()};
}

std::vector<HostId> hosts_of_tiers(const Problem& problem, const std::vector<Tier>& tiers) {
  return candidates(problem, tiers, true);
}

std::vector<HostId> servers_of_tiers(const Problem& problem, const std::vector<Tier>& tiers) {
  return candidates(problem, tiers, false);
}

HostId named_host(const Problem& problem, const Parameters& parameters, const std::string& name,
                  const std::vector<HostId>& valid) {
  const std::string given = parameters.string(name);
  std::vector<std::string> names;
  for (const HostId host : valid) {
    names.push_back(problem.platform.host(host).name);
    if (names.back() == given) return host;
  }
  parameters.fail(name, fmt::format("no such host with a route from and to \"{}\" in {}{}",
                                    problem.platform.host(problem.source).name, problem.platform.file(),
                                    valid_choices(given, names)));
}

std::vector<HostId> server_candidates(const Problem& problem, const Parameters& parameters,
                                      const std::vector<Tier>& tiers) {
  if (parameters.string("server").empty()) return servers_of_tiers(problem, tiers);
  return {named_host(problem, parameters, "server", servers_of_tiers(problem))};
}

Plan whole_plan(const LayerGraph& graph, int exit, HostId host) {
  return chain_plan(graph, exit, 0, host, host);
}

Plan whole_plan(const Problem& problem, int exit, HostId host) {
  Plan plan = whole_plan(problem.graph, exit, host);
  for (const auto& [layer, sensor] : problem.wire.sensors) {
    if (std::erase(plan.pieces.front().layers, layer) > 0) plan.pieces.push_back({{layer}, sensor});
  }
  std::erase_if(plan.pieces, [](const Piece& piece) { return piece.layers.empty(); });
  return plan;
}

HostId fastest_host(const Problem& problem, int exit, const std::vector<HostId>& hosts) {
  const auto latency_s = [&](HostId host) {
    return estimate(problem, whole_plan(problem, exit, host)).latency_s;
  };
  return *std::ranges::min_element(hosts, {}, latency_s);
}

ParameterFacts exit_parameter() {
  return {.name = "exit",
          .type = "integer",
          .standard = 0,
          .about = "exit at which inference stops, counted from 1; 0: the deepest"};
}

int chosen_exit(const Problem& problem, const Parameters& parameters) {
  const int exit = parameters.integer("exit"), exits = deepest_exit(problem) + 1;
  if (exit < 0 || exit > exits) {
    parameters.fail("exit", fmt::format("\"{}\" has {} exits; valid: 0 (the deepest) to {}",
                                        problem.graph.name(), exits, exits));
  }
  return exit == 0 ? exits - 1 : exit - 1;
}

bool linked(const Problem& problem, HostId a, HostId b) {
  return a == b || (problem.platform.route(a, b) != nullptr && problem.platform.route(b, a) != nullptr);
}

std::vector<std::pair<LinkId, double>> links_between(const Problem& problem, HostId from, HostId to) {
  std::vector<std::pair<LinkId, double>> out;
  if (from == to) return out;
  const Route& route = *problem.platform.route(from, to);
  for (std::size_t i = 0; i < route.links.size(); ++i) {
    if (std::ranges::find(out, route.links[i], &std::pair<LinkId, double>::first) != out.end()) continue;
    out.emplace_back(route.links[i], route.weights.empty() ? 1 : route.weights[i]);
  }
  return out;
}

bool is_reachable(const Problem& problem, const Observation& observation, HostId host) {
  // Observations of other things may leave both out.
  const auto is_on = [](std::span<const char> states, int id) {
    return states.empty() || states[static_cast<std::size_t>(id)] != 0;
  };
  const auto open = [&](HostId from, HostId to) {
    return std::ranges::all_of(problem.platform.route(from, to)->links,
                               [&](LinkId link) { return is_on(observation.link_on, link); });
  };
  return is_on(observation.host_on, host) && open(problem.source, host) && open(host, problem.source);
}

double bottleneck_bytes_per_s(const Problem& problem, HostId from, HostId to) {
  return problem.platform.route(from, to)->bytes_per_s(problem.bandwidth_bytes_per_s);
}

std::vector<double> server_bandwidths(const Problem& problem, const std::vector<HostId>& servers) {
  std::vector<double> out;
  for (const HostId server : servers) {
    out.push_back(bottleneck_bytes_per_s(problem, problem.source, server));
    out.push_back(bottleneck_bytes_per_s(problem, server, problem.source));
  }
  return out;
}

}  // namespace cdisim
