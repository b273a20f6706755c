#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sim/policy.h"

namespace cdisim {

/// The experiment's sources, `problem.source` among them; that one alone where the problem names none.
std::vector<HostId> sources_of(const Problem& problem);

/// The reachable hosts of these tiers, ascending, the source among them where it is of one.
/// @throws InputError naming the platform file, the tiers and the source when there is none.
std::vector<HostId> hosts_of_tiers(const Problem& problem, const std::vector<Tier>& tiers);

/// The reachable hosts of these tiers (of all, where none is given) but the source, ascending.
/// @throws InputError as hosts_of_tiers().
std::vector<HostId> servers_of_tiers(const Problem& problem, const std::vector<Tier>& tiers = {});

/// The host that the string parameter `name` names. @throws InputError unless it is one of `valid`, which it
/// lists.
HostId named_host(const Problem& problem, const Parameters& parameters, const std::string& name,
                  const std::vector<HostId>& valid);

/// Where a parameter "server" says the rest goes: the host it names, any but the source, else all of `tiers`.
/// @throws InputError where there is none.
std::vector<HostId> server_candidates(const Problem& problem, const Parameters& parameters,
                                      const std::vector<Tier>& tiers);

/// All layers of an exit on one host.
Plan whole_plan(const LayerGraph& graph, int exit, HostId host);
/// The same, but for the layers that read a sensor: they are where it is.
Plan whole_plan(const Problem& problem, int exit, HostId host);

/// Of `hosts`, the one with the least estimated latency for the whole of `exit`; the lowest id where several
/// tie.
HostId fastest_host(const Problem& problem, int exit, const std::vector<HostId>& hosts);

/// The parameter "exit": 0 for the deepest, else counted from 1.
ParameterFacts exit_parameter();
/// Its value as an index into LayerGraph::exits(). @throws InputError for an exit that the graph does not
/// have.
int chosen_exit(const Problem& problem, const Parameters& parameters);

inline int deepest_exit(const Problem& problem) {
  return static_cast<int>(problem.graph.exits().size()) - 1;
}

/// Whether two hosts are one, or have routes both ways.
bool linked(const Problem& problem, HostId a, HostId b);

/// The links of the route between two hosts, each once, with what a byte takes of it, byte (Route::weights);
/// none from a host to itself.
std::vector<std::pair<LinkId, double>> links_between(const Problem& problem, HostId from, HostId to);

/// Whether a host and all links of the routes from the source to it and back are on, as last observed.
bool is_reachable(const Problem& problem, const Observation& observation, HostId host);

/// What the route gives at the bandwidths believed (Route::bytes_per_s), byte/s; infinite from a host to
/// itself.
double bottleneck_bytes_per_s(const Problem& problem, HostId from, HostId to);

/// (2 n_servers) bottleneck_bytes_per_s from the source to each server and back: all that a decision between
/// source and servers takes from the network's state.
std::vector<double> server_bandwidths(const Problem& problem, const std::vector<HostId>& servers);

}  // namespace cdisim
