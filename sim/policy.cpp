#include "sim/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "sim/error.h"
#include "sim/external_policy.h"

namespace cdisim {

// ---- what a policy may see ----

std::vector<HostId> Problem::reachable() const {
  std::vector<HostId> out = platform.neighbours(source);
  out.insert(std::lower_bound(out.begin(), out.end(), source), source);
  return out;
}

std::vector<HostId> Problem::reachable(Tier tier) const {
  std::vector<HostId> out = reachable();
  std::erase_if(out, [&](HostId host) { return platform.host(host).tier != tier; });
  return out;
}

double Problem::compute_s(std::span<const LayerId> layers, HostId host) const {
  return layers.empty() ? 0 : latency_model.piece_s(graph, layers, platform.host(host));
}

double Problem::compute_s(const Piece& piece) const {
  return latency_model.piece_s(graph, piece.layers, platform.host(piece.host), 1, piece.parts);
}

double Problem::transfer_s(double bytes, HostId from, HostId to) const {
  if (from == to) return 0;
  const Route* route = platform.route(from, to);
  if (route == nullptr) return std::numeric_limits<double>::infinity();
  return route->latency_s + bytes / route->bytes_per_s(bandwidth_bytes_per_s);
}

bool Problem::holds(HostId host, LayerId layer) const {
  if (loaded.empty() || loaded[static_cast<std::size_t>(host)].empty()) return true;
  return loaded[static_cast<std::size_t>(host)][static_cast<std::size_t>(layer)];
}

const PowerState& Problem::state(HostId host) const {
  const Host& h = platform.host(host);
  const int state = power_state.empty() ? h.power_state : power_state[static_cast<std::size_t>(host)];
  return h.power_states[static_cast<std::size_t>(state)];
}

double Problem::slowdown(HostId host) const {
  return platform.host(host).power_states[0].speed_flop_per_s / state(host).speed_flop_per_s;
}

double Problem::flight_power_w(HostId host) const {
  return flight_w.empty() ? platform.host(host).flight_w : flight_w[static_cast<std::size_t>(host)];
}

namespace {

// What one edge of a plan takes when it has its links to itself, seconds.
struct EdgeTimes {
  double encode_s = 0, transfer_s = 0, decode_s = 0;
  double data_s = 0;  // the part of the transfer in which bytes flow
  double total_s() const { return encode_s + transfer_s + decode_s; }
};

EdgeTimes edge_times(const Problem& problem, const PlanEdge& edge, HostId from, HostId to) {
  if (from == to) return {};
  const auto coding_s = [&](double flop, HostId host) { return flop / problem.state(host).speed_flop_per_s; };
  const Route* route = problem.platform.route(from, to);
  const double transfer_s = problem.transfer_s(edge.bytes, from, to);
  return {coding_s(edge.transform.encode_flop, from), transfer_s, coding_s(edge.transform.decode_flop, to),
          route == nullptr ? 0 : transfer_s - route->latency_s};
}

// Of a plan all of whose requests stop at its exit; pieces without layers take no time.
Estimate estimate_exit(const Problem& problem, const Plan& plan) {
  const std::vector<PlanEdge> edges = plan_edges(problem.graph, problem.wire, plan);
  const auto host_of = [&](int end) {
    return end == kSourceEnd ? problem.source : plan.pieces[static_cast<std::size_t>(end)].host;
  };
  std::vector<EdgeTimes> times;
  for (const PlanEdge& edge : edges)
    times.push_back(edge_times(problem, edge, host_of(edge.from), host_of(edge.to)));

  // List scheduling: of the pieces whose inputs are known, the one that is ready first runs first.
  constexpr double kForever = std::numeric_limits<double>::infinity();
  const std::size_t n = plan.pieces.size();
  std::vector<double> ends(n), compute_s(n), ready_s(n, 0);
  std::vector<int> waits_for(n, 0);
  // What each end decides: the edges that it sends, and those that wait for its exit.
  std::vector<std::vector<std::size_t>> edges_of(n);
  std::vector<double> sent_s(edges.size(), 0);
  std::vector<int> senders(edges.size(), 0);
  std::set<std::pair<double, std::size_t>> known;  // (ready, piece)
  std::map<HostId, double> free_at;
  const auto arrive = [&](std::size_t e) {
    if (edges[e].to == kSourceEnd) return;
    const auto to = static_cast<std::size_t>(edges[e].to);
    ready_s[to] = std::max(ready_s[to], sent_s[e] + times[e].total_s());
    if (--waits_for[to] == 0) known.emplace(ready_s[to], to);
  };
  for (std::size_t e = 0; e < edges.size(); ++e) {
    if (edges[e].to != kSourceEnd) ++waits_for[static_cast<std::size_t>(edges[e].to)];
    std::vector<int> decide = edges[e].after;
    if (edges[e].from != kSourceEnd) decide.push_back(edges[e].from);
    for (const int piece : decide) edges_of[static_cast<std::size_t>(piece)].push_back(e);
    senders[e] = static_cast<int>(decide.size());
  }
  for (std::size_t p = 0; p < n; ++p) {
    if (waits_for[p] == 0) known.emplace(0, p);
  }
  for (std::size_t e = 0; e < edges.size(); ++e) {
    if (senders[e] == 0) arrive(e);
  }
  std::size_t planned = 0;
  for (; !known.empty(); ++planned) {
    const auto [ready, next] = *known.begin();
    known.erase(known.begin());
    if (ready == kForever) break;
    const Piece& piece = plan.pieces[next];
    if (piece.layers.empty()) {
      ends[next] = ready;  // a relay
    } else {
      compute_s[next] = problem.compute_s(piece) * problem.slowdown(piece.host) / piece.share.value_or(1);
      ends[next] = free_at[piece.host] = std::max(ready, free_at[piece.host]) + compute_s[next];
    }
    for (const std::size_t e : edges_of[next]) {
      sent_s[e] = std::max(sent_s[e], ends[next]);
      if (--senders[e] == 0) arrive(e);
    }
  }
  if (planned < n) return {kForever, kForever, kForever};  // no route

  Estimate out;
  const Host& source = problem.platform.host(problem.source);
  const PowerState& power = problem.state(problem.source);
  const Radio& radio = source.radio;
  const auto busy_above_idle_w = [&](double share) {
    return power.epsilon_w + share * (power.all_cores_w - power.epsilon_w) / source.cores - power.idle_w;
  };
  const double busy_w = busy_above_idle_w(1);
  const auto price_usd_per_s = [&](HostId host) { return problem.platform.host(host).price_usd_per_s; };
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    if (plan.pieces[p].host == problem.source)
      out.energy_j += compute_s[p] * busy_above_idle_w(plan.pieces[p].share.value_or(1));
    out.cost_usd += compute_s[p] * price_usd_per_s(plan.pieces[p].host);
  }
  for (std::size_t e = 0; e < edges.size(); ++e) {
    if (edges[e].to == kSourceEnd)
      out.latency_s =
          std::max(out.latency_s, ends[static_cast<std::size_t>(edges[e].from)] + times[e].total_s());
    const HostId from = host_of(edges[e].from), to = host_of(edges[e].to);
    if (from == to) continue;
    out.cost_usd += times[e].encode_s * price_usd_per_s(from) + times[e].decode_s * price_usd_per_s(to) +
                    edges[e].bytes * problem.platform.price_usd_per_byte(*problem.platform.route(from, to));
    if (from == problem.source) {
      out.energy_j += times[e].encode_s * busy_w + times[e].data_s * (radio.tx_w - radio.idle_w) +
                      edges[e].bytes * radio.tx_j_per_byte;
    }
    if (to == problem.source) {
      out.energy_j += times[e].decode_s * busy_w + times[e].data_s * (radio.rx_w - radio.idle_w) +
                      edges[e].bytes * radio.rx_j_per_byte;
    }
  }
  return out;
}

}  // namespace

Estimate estimate(const Problem& problem, const Plan& plan) {
  if (plan.exit_rates.empty()) return estimate_exit(problem, plan);
  Estimate mean;
  for (int exit = 0; exit <= plan.exit; ++exit) {
    const double rate = plan.exit_rates[static_cast<std::size_t>(exit)];
    if (rate == 0) continue;
    const Estimate one = estimate_exit(problem, stopped_at(problem.graph, plan, exit));
    mean.latency_s += rate * one.latency_s;
    mean.energy_j += rate * one.energy_j;
    mean.cost_usd += rate * one.cost_usd;
  }
  return mean;
}

Plan chain_plan(const LayerGraph& graph, int exit, int k, HostId first, HostId second) {
  const std::span<const LayerId> layers = graph.exit_layers(exit);
  const auto n = static_cast<std::size_t>(k);
  Plan plan;
  plan.exit = exit;
  if (first == second) {
    plan.pieces.push_back({{layers.begin(), layers.end()}, first});
    return plan;
  }
  if (k > 0) plan.pieces.push_back({{layers.begin(), layers.begin() + k}, first});
  if (n < layers.size()) plan.pieces.push_back({{layers.begin() + k, layers.end()}, second});
  return plan;
}

// ---- parameters ----

Parameters::Parameters(const PolicyFacts& facts, const JsonReader& given)
    : values_(Json::object()), file_(given.file()), place_(given.place()) {
  if (place_ == given.file()) place_ += ": ";  // a JSON pointer follows
  std::vector<std::string> names;
  for (const ParameterFacts& p : facts.parameters) names.push_back(p.name);
  for (const auto& [key, value] : given.members()) {
    if (key != "name" && std::find(names.begin(), names.end(), key) == names.end()) {
      throw InputError(given.place(), fmt::format("policy \"{}\" has no parameter \"{}\"{}", facts.name, key,
                                                  valid_choices(key, names)));
    }
  }
  for (const ParameterFacts& p : facts.parameters) {
    const JsonReader value = given.has(p.name)
                                 ? given.at(p.name)
                                 : JsonReader(p.standard, given.file(), given.pointer() + "/" + p.name);
    if (p.type == "integer") {
      si_[p.name] = static_cast<double>(value.integer(-1000000000, 1000000000));
    } else if (p.type == "number") {
      si_[p.name] = value.number(-1e300, 1e300);
    } else if (p.type == "time") {
      si_[p.name] = value.quantity(Dimension::kTime);
    } else if (p.type == "power") {
      si_[p.name] = value.quantity(Dimension::kPower);
    } else if (p.type == "bandwidth") {
      si_[p.name] = value.quantity(Dimension::kBandwidth);
    } else if (!p.choices.empty()) {
      value.choice(p.choices);
    } else {
      value.string();
    }
    values_[p.name] = value.json();
  }
}

std::string Parameters::string(const std::string& name) const {
  return values_.at(name).get<std::string>();
}
double Parameters::number(const std::string& name) const {
  return si_.at(name);
}
int Parameters::integer(const std::string& name) const {
  return static_cast<int>(si_.at(name));
}
void Parameters::fail(const std::string& name, const std::string& message) const {
  throw InputError(place(name), fmt::format("{}: {}", values_.at(name).dump(), message));
}

// ---- registry ----

namespace {

struct Registration {
  PolicyFacts facts;
  PolicyFactory factory;
};

// A function's static: policies register during static initialisation, in no particular order.
std::map<std::string, Registration>& registry() {
  static std::map<std::string, Registration> policies;
  return policies;
}

}  // namespace

bool register_policy(PolicyFacts facts, PolicyFactory factory) {
  const std::string name = facts.name;
  if (!registry().emplace(name, Registration{std::move(facts), std::move(factory)}).second) {
    throw std::logic_error("two policies are named " + name);
  }
  return true;
}

void unregister_policy(const std::string& name) {
  registry().erase(name);
}

std::vector<const PolicyFacts*> registered_policies() {
  std::vector<const PolicyFacts*> out;
  for (const auto& [name, registration] : registry()) out.push_back(&registration.facts);
  return out;
}

const PolicyFacts& policy_facts(const std::string& name, const std::string& place) {
  const auto found = registry().find(name);
  if (found == registry().end()) {
    std::vector<std::string> names;
    for (const auto& [key, registration] : registry()) names.push_back(key);
    throw InputError(place, fmt::format("\"{}\" is no policy{}", name, valid_choices(name, names)));
  }
  return found->second.facts;
}

std::unique_ptr<Policy> make_policy(const PolicyFacts& facts, const Parameters& parameters) {
  return registry().at(facts.name).factory(parameters);
}

}  // namespace cdisim
