// spinn: partition point, confidence threshold and compression of a model with exits, for ordered targets.
//
// All layers before the partition point run on the source, the rest on a server. The layers stand in the
// order of the exits that need them: those of the first exit, then what the second needs besides, ... so that
// the head of an exit follows what it reads. At threshold T the share r_e(T) of the requests stops at exit e
// (the model's `thresholds`; where none of them lets all pass, there is also T = 1, at which nobody leaves
// early). An exit before the partition point answers on the device and nothing is sent; the others answer on
// the server. What crosses may be quantised to b bits: b / (bits on the wire) of the bytes, for `coding_flop`
// an element at either end. Nobody published what that costs in accuracy: nothing, assumed. The input
// goes as it is.
//
// Every (server, T, partition point k, b) is tried. With n_e layers up to exit e, of which min(k, n_e) run on
// the device, TD and TS the times of the two pieces (the hosts' present load in them), B the bandwidth as
// last observed, D the bytes that cross,
//
//     latency    = sum_e r_e (TD_e + [k < n_e] (code + D / B + TS_e + result / B + the route's latencies))
//     device_s   = sum_e r_e (TD_e + [k < n_e] code),   server_s = sum_e r_e [k < n_e] (TS_e + decode)
//     throughput = 1 / max(device_s, seconds in which bytes flow, server_s), all three at work at once
//     energy     = of the source above its idle power, for computing, coding and its radio
//     accuracy   = sum_e r_e A_e(T)
//
// latency and energy are estimate()'s, input that the server reads besides included. Hard constraints first;
// where nothing keeps them all, what exceeds them least (sum of the relative excesses, accuracy's of wrong
// answers). Then the targets in
// their order: of each, what is within `tolerance` of the best goes on to the next; of the last the best, the
// first of equals.
//
// When a link or the server fails, a request that it loses starts again on the device alone, with the exits
// that the plan has there (the deepest takes who would have gone on; the whole model, where it has none): the
// paper answers at once with the most confident of the local exits, which costs no time. Until the route is
// back, requests run on the device alone, decided anew. The accuracy of those that must stop at exit L is
// what is left of A_L, its accuracy over all inputs: (A_L - max(R, A_L S)) / (1 - S), S the share that has
// left before it and R that of right answers among all; exit L is assumed to answer those at least as well as
// the exits that let them go, and as well as it answers anybody.
//
// Decided anew when a route, a bandwidth or a load has changed, the latter two by more than `hysteresis`. The
// equations are a reconstruction from the paper's abstract and introduction; the rest was not at hand. Memory
// is not looked at.
//
//     parameter         | type    | default   | meaning
//     ------------------|---------|-----------|------------------------------------------------------------
//     targets           | string  | "latency" | in order: of "latency", "throughput", "server", "energy",
//                       |         |           | "accuracy", separated by commas
//     tolerance         | number  | 0.05      | how much worse than the best still counts as good, relative
//     max_accuracy_loss | number  | 0.01      | below the most accurate threshold, 0 to 1; 1: any
//     min_accuracy      | number  | 0         | 0: any
//     max_latency       | time    | "0s"      | 0: the experiment's deadline
//     min_throughput    | number  | 0         | requests a second; 0: any
//     max_server        | time    | "0s"      | on the server, for a request; 0: any
//     max_energy        | number  | 0         | J, of the source for a request; 0: any
//     bits              | string  | "0,8"     | of an element that crosses, separated by commas; 0: as it is
//     coding_flop       | number  | 3         | an element, at either end: shift, scale, round (assumed)
//     hysteresis        | number  | 0.05      | relative change that is overlooked
//     server            | string  | ""        | host of the rest; empty: the best of tier cloud or edge
//     threshold         | number  | -1        | one of the model's; -1: decide
//     partition_point   | integer | -1        | layers on the source; -1: decide
//
//     {"name": "spinn", "targets": "server,latency", "max_accuracy_loss": 0.02}
//
// Plan's decision: partition_point (k), threshold (T), bits (b, 0: as it is), local_share (of the requests
// that the device answers), and as predicted latency_s, throughput_per_s, server_s, energy_j and, where the
// model states it, accuracy.
//
// Source: S. Laskaridis, S. I. Venieris, M. Almeida, I. Leontiadis, N. D. Lane, "SPINN: Synergistic
// Progressive Inference of Neural Networks over Device and Cloud", MobiCom 2020, doi 10.1145/3372224.3419194,
// abstract and introduction.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <sstream>
#include <utility>

#include "policies/shared/chain.h"
#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "sim/error.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

// What the exits do at one threshold.
struct ExitUse {
  double threshold = 1;
  std::vector<double> rates;       // (n_exits in use + those before them), the last above 0
  std::vector<double> accuracies;  // as many, or none
  std::vector<LayerId> order;      // of the layers, by the exits that need them
  std::vector<int> needs;          // (as rates) how many of the order an exit needs; 0 where nobody leaves

  int exit() const { return static_cast<int>(rates.size()) - 1; }
  std::optional<double> accuracy() const {
    if (accuracies.empty()) return std::nullopt;
    return std::inner_product(rates.begin(), rates.end(), accuracies.begin(), 0.0);
  }
};

ExitUse exit_use(const LayerGraph& graph, double threshold, std::vector<double> rates,
                 std::vector<double> accuracies) {
  while (rates.back() == 0) rates.pop_back();
  if (!accuracies.empty()) accuracies.resize(rates.size());
  ExitUse out{threshold, std::move(rates), std::move(accuracies), {}, {}};
  std::vector<char> placed(static_cast<std::size_t>(graph.size()), 0);
  for (int e = 0; e <= out.exit(); ++e) {
    const bool used = out.rates[static_cast<std::size_t>(e)] > 0;
    for (const LayerId id : used ? graph.exit_layers(e) : std::span<const LayerId>()) {
      if (std::exchange(placed[static_cast<std::size_t>(id)], 1) == 0) out.order.push_back(id);
    }
    out.needs.push_back(used ? static_cast<int>(out.order.size()) : 0);
  }
  return out;
}

// By ascending threshold.
std::vector<ExitUse> exit_uses(const LayerGraph& graph) {
  std::vector<ExitUse> out;
  bool pass = false;
  for (const Threshold& threshold : graph.thresholds()) {
    out.push_back(exit_use(graph, threshold.value, threshold.rates, threshold.accuracies));
    pass = pass || threshold.rates.back() == 1;
  }
  const Exit& last = graph.exits().back();
  if (pass || (!out.empty() && !last.accuracy)) return out;
  std::vector<double> rates(graph.exits().size(), 0);
  rates.back() = 1;
  std::vector<double> accuracies;
  if (last.accuracy) accuracies.assign(rates.size(), *last.accuracy);
  out.push_back(exit_use(graph, 1, std::move(rates), std::move(accuracies)));
  return out;
}

// What an exit use does where nothing can go on from its exit `last`.
ExitUse up_to(const LayerGraph& graph, const ExitUse& use, int last) {
  const auto l = static_cast<std::size_t>(last);
  std::vector<double> rates(use.rates.begin(), use.rates.begin() + last);
  const double gone = std::accumulate(rates.begin(), rates.end(), 0.0);
  rates.push_back(1 - gone);
  std::vector<double> accuracies = use.accuracies;
  const std::optional<double>& of_all = graph.exits()[l].accuracy;
  if (!accuracies.empty() && of_all) {
    const double right = std::inner_product(rates.begin(), rates.end() - 1, accuracies.begin(), 0.0);
    accuracies[l] = std::clamp((*of_all - std::max(right, *of_all * gone)) / (1 - gone), 0.0, 1.0);
  }
  return exit_use(graph, use.threshold, std::move(rates), std::move(accuracies));
}

// The deepest exit in use among the first k layers; -1: none.
int last_exit_before(const ExitUse& use, int k) {
  int last = -1;
  for (int e = 0; e <= use.exit(); ++e) {
    const int needs = use.needs[static_cast<std::size_t>(e)];
    if (needs > 0 && needs <= k) last = e;
  }
  return last;
}

// Expected, of one request.
struct Costs {
  double latency_s = 0, energy_j = 0;
  double device_s = 0, link_s = 0, server_s = 0;
  double period_s() const { return std::max({device_s, link_s, server_s}); }
};

struct Compression {
  int bits = 0;            // 0: none
  double ratio = 1;        // of the bytes
  double coding_flop = 0;  // an element
};

// For every partition point, 0 to the number of layers of the use.
std::vector<Costs> costs_of(const Problem& problem, const ExitUse& use, HostId server,
                            const Compression& compression) {
  const std::size_t n = use.order.size();
  const PieceTimes on_device = piece_times(problem, use.order, problem.source),
                   on_server = piece_times(problem, use.order, server);
  // Of the first k layers.
  std::vector<double> device_s(n + 1, 0), server_s(n + 1, 0);
  for (std::size_t k = 0; k < n; ++k) {
    device_s[k + 1] = device_s[k] + on_device.layer_s[k] + (k == 0 ? on_device.run_s : 0);
    server_s[k + 1] = server_s[k] + on_server.layer_s[k];
  }
  const Hop up(problem, problem.source, server), back(problem, server, problem.source);
  const double up_bytes_per_s = bottleneck_bytes_per_s(problem, problem.source, server),
               back_bytes_per_s = bottleneck_bytes_per_s(problem, server, problem.source);
  const double input = input_bytes(problem), busy_w = computing_power_w(problem);
  const int first_exit_needs = *std::ranges::find_if(use.needs, [](int needs) { return needs > 0; });
  const Crossings whole = crossings(problem, use.order);

  std::vector<Costs> costs(n + 1);
  for (int e = 0; e <= use.exit(); ++e) {
    const double rate = use.rates[static_cast<std::size_t>(e)];
    if (rate == 0) continue;
    const auto needs = static_cast<std::size_t>(use.needs[static_cast<std::size_t>(e)]);
    const Crossings own = crossings(problem, std::span(use.order).first(needs));
    const double result = result_bytes(problem, e);
    for (std::size_t k = 0; k <= n; ++k) {
      Costs one;
      one.device_s = device_s[std::min(k, needs)];
      one.latency_s = one.device_s;
      if (k < needs) {
        double ready_s = 0;
        if (own.tensors[k] > 0) {
          // The work of coding belongs to the plan's edge: it is that of the deepest exit.
          const double coding_flop = compression.coding_flop * whole.elements[k];
          const double encode_s = coding_flop / problem.state(problem.source).speed_flop_per_s,
                       decode_s = coding_flop / problem.state(server).speed_flop_per_s;
          const double bytes = own.bytes[k] * compression.ratio;
          const Estimate sent = up.cost(bytes);
          ready_s = one.device_s + encode_s + sent.latency_s + decode_s;
          one.energy_j += sent.energy_j;
          one.link_s += bytes / up_bytes_per_s;
          one.device_s += encode_s;
          one.server_s += decode_s;
        }
        if (static_cast<int>(k) < own.input_until) {
          // Not before the exits on the device have let the request pass.
          const bool gated = first_exit_needs <= static_cast<int>(k);
          const Estimate sent = up.cost(input);
          ready_s = std::max(ready_s, (gated ? device_s[k] : 0) + sent.latency_s);
          one.energy_j += sent.energy_j;
          one.link_s += input / up_bytes_per_s;
        }
        const double rest_s = on_server.run_s + server_s[needs] - server_s[k];
        const Estimate returned = back.cost(result);
        one.latency_s = ready_s + rest_s + returned.latency_s;
        one.energy_j += returned.energy_j;
        one.link_s += result / back_bytes_per_s;
        one.server_s += rest_s;
      }
      one.energy_j += one.device_s * busy_w;
      costs[k].latency_s += rate * one.latency_s;
      costs[k].energy_j += rate * one.energy_j;
      costs[k].device_s += rate * one.device_s;
      costs[k].link_s += rate * one.link_s;
      costs[k].server_s += rate * one.server_s;
    }
  }
  return costs;
}

struct Decision {
  HostId server = 0;
  const ExitUse* use = nullptr;
  int k = 0;
  Compression compression;
  Costs costs;

  bool on_device_alone() const { return k == static_cast<int>(use->order.size()); }
  bool operator==(const Decision& other) const {
    return server == other.server && use == other.use && k == other.k &&
           compression.bits == other.compression.bits;
  }
};

// The smaller, the better.
const std::map<std::string, double (*)(const Decision&)> kTargets{
    {"latency", [](const Decision& d) { return d.costs.latency_s; }},
    {"throughput", [](const Decision& d) { return d.costs.period_s(); }},
    {"server", [](const Decision& d) { return d.costs.server_s; }},
    {"energy", [](const Decision& d) { return d.costs.energy_j; }},
    {"accuracy", [](const Decision& d) { return -d.use->accuracy().value_or(0); }},
};

std::vector<std::string> comma_separated(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string item; std::getline(in, item, ',');) out.push_back(item);
  return out;
}

class Spinn : public Policy {
 public:
  explicit Spinn(const Parameters& parameters) : parameters_(parameters) {
    std::vector<std::string> names;
    for (const auto& [name, value] : kTargets) names.push_back(name);
    for (const std::string& name : comma_separated(parameters.string("targets"))) {
      const auto target = kTargets.find(name);
      if (target == kTargets.end()) {
        parameters.fail("targets", fmt::format("\"{}\" is no target{}", name, valid_choices(name, names)));
      }
      targets_.push_back(target->second);
    }
    if (targets_.empty()) parameters.fail("targets", "names no target");
    for (const std::string& bits : comma_separated(parameters.string("bits"))) {
      const bool digits = !bits.empty() && bits.size() < 3 &&
                          std::ranges::all_of(bits, [](char c) { return c >= '0' && c <= '9'; });
      if (!digits || std::stoi(bits) > 32)
        parameters.fail("bits", "valid: 0 (as it is) to 32, separated by commas");
      bits_.push_back(std::stoi(bits));
    }
    if (bits_.empty()) parameters.fail("bits", "names no number of bits");
    for (const char* name : {"tolerance", "min_throughput", "max_energy", "coding_flop", "hysteresis"}) {
      if (!(parameters.number(name) >= 0)) parameters.fail(name, "valid: from 0");
    }
    for (const char* name : {"max_accuracy_loss", "min_accuracy"}) {
      if (!(parameters.number(name) >= 0 && parameters.number(name) <= 1))
        parameters.fail(name, "valid: 0 to 1");
    }
    if (parameters.integer("partition_point") < -1)
      parameters.fail("partition_point", "valid: -1 (decide), 0, 1, ...");
  }

  Plan plan(const Problem& problem) override {
    servers_ = server_candidates(problem, parameters_, {Tier::kCloud, Tier::kEdge});
    uses_ = exit_uses(problem.graph);
    keep_chosen_threshold(problem);
    if (parameters_.number("min_accuracy") > 0 && !uses_.front().accuracy()) {
      parameters_.fail("min_accuracy", fmt::format("\"{}\" states no accuracies", problem.graph.name()));
    }
    seen_ = state_of(problem);
    on_.assign(servers_.size(), 1);
    now_ = decide(problem);
    return plan_of(problem);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    std::vector<char> on;
    for (const HostId server : servers_) on.push_back(is_reachable(problem, observation, server) ? 1 : 0);
    std::vector<double> state = state_of(problem);
    if (on == on_ && !differs(state)) return std::nullopt;
    seen_ = std::move(state);
    on_ = std::move(on);
    const Decision before = std::exchange(now_, decide(problem));
    if (now_ == before) return std::nullopt;
    return plan_of(problem);
  }

 private:
  void keep_chosen_threshold(const Problem& problem) {
    const double threshold = parameters_.number("threshold");
    if (threshold < 0) return;
    std::vector<std::string> valid{"-1 (decide)"};
    for (const ExitUse& use : uses_) valid.push_back(fmt::format("{}", use.threshold));
    std::erase_if(uses_, [&](const ExitUse& use) { return use.threshold != threshold; });
    if (uses_.empty()) {
      parameters_.fail("threshold", fmt::format("no threshold of \"{}\"; valid: {}", problem.graph.name(),
                                                fmt::join(valid, ", ")));
    }
  }

  // All that a decision takes from the network and the hosts.
  std::vector<double> state_of(const Problem& problem) const {
    std::vector<double> out = server_bandwidths(problem, servers_);
    out.push_back(problem.slowdown(problem.source));
    for (const HostId server : servers_) out.push_back(problem.slowdown(server));
    return out;
  }
  bool differs(const std::vector<double>& state) const {
    for (std::size_t i = 0; i < state.size(); ++i) {
      if (std::abs(state[i] - seen_[i]) > parameters_.number("hysteresis") * seen_[i]) return true;
    }
    return false;
  }

  std::vector<Compression> compressions(const Problem& problem) const {
    const double wire_bits = 8 * problem.wire.bytes_per_element.value_or(problem.graph.bytes_per_element());
    std::vector<Compression> out;
    for (const int bits : bits_) {
      if (bits == 0) out.push_back({});
      if (bits > 0 && bits < wire_bits)
        out.push_back({bits, bits / wire_bits, parameters_.number("coding_flop")});
    }
    if (out.empty()) out.push_back({});  // nothing that would make it smaller
    return out;
  }

  // Every decision that can run. While no server can be reached, those on the device alone.
  std::vector<Decision> candidates(const Problem& problem) const {
    std::vector<Decision> out;
    const bool reachable = std::ranges::count(on_, 1) > 0;
    for (std::size_t s = 0; s < servers_.size(); ++s) {
      if (reachable && on_[s] == 0) continue;
      for (const ExitUse& use : uses_) {
        const int n = static_cast<int>(use.order.size()), fixed = parameters_.integer("partition_point");
        if (fixed > n) {
          parameters_.fail("partition_point",
                           fmt::format("\"{}\" has {} layers at threshold {}; valid: -1 (decide), 0 to {}",
                                       problem.graph.name(), n, use.threshold, n));
        }
        const int first = reachable ? std::max(fixed, 0) : n, last = reachable && fixed >= 0 ? fixed : n;
        for (const Compression& compression : compressions(problem)) {
          const std::vector<Costs> costs = costs_of(problem, use, servers_[s], compression);
          for (int k = first; k <= last; ++k)
            out.push_back({servers_[s], &use, k, compression, costs[static_cast<std::size_t>(k)]});
        }
      }
    }
    return out;
  }

  Decision decide(const Problem& problem) const {
    std::vector<Decision> left = candidates(problem);
    const auto keep_best = [&](const auto& value, double tolerance) {
      double best = std::numeric_limits<double>::infinity();
      for (const Decision& decision : left) best = std::min(best, value(decision));
      std::erase_if(left, [&](const Decision& decision) {
        return value(decision) > best + tolerance * std::abs(best);
      });
    };
    double most_accurate = 0;
    for (const ExitUse& use : uses_) most_accurate = std::max(most_accurate, use.accuracy().value_or(0));
    keep_best([&](const Decision& decision) { return excess(problem, decision, most_accurate); }, 0);
    for (const auto& target : targets_) {
      keep_best(target, target == targets_.back() ? 0 : parameters_.number("tolerance"));
    }
    return left.front();
  }

  // Sum of the shares by which the hard constraints are exceeded.
  double excess(const Problem& problem, const Decision& decision, double most_accurate) const {
    double sum = 0;
    const auto at_most = [&](double value, double bound) {
      // Equal but for rounding keeps the bound.
      if (value > bound * (1 + 1e-9)) sum += (value - bound) / bound;
    };
    const auto optional_bound = [&](const char* name, double value) {
      if (parameters_.number(name) > 0) at_most(value, parameters_.number(name));
    };
    const Costs& costs = decision.costs;
    const double max_latency_s = parameters_.number("max_latency");
    at_most(costs.latency_s, max_latency_s > 0 ? max_latency_s : problem.deadline_s);
    optional_bound("max_server", costs.server_s);
    optional_bound("max_energy", costs.energy_j);
    if (parameters_.number("min_throughput") > 0)
      at_most(costs.period_s(), 1 / parameters_.number("min_throughput"));
    // Wrong answers, which every threshold has but a perfect one.
    const double wrong = 1 - decision.use->accuracy().value_or(0);
    if (parameters_.number("min_accuracy") > 0) at_most(wrong, 1 - parameters_.number("min_accuracy"));
    at_most(wrong, 1 - most_accurate + parameters_.number("max_accuracy_loss"));
    return sum;
  }

  static Plan pieces_of(const Problem& problem, const ExitUse& use, HostId server, int k) {
    Plan plan;
    plan.exit = use.exit();
    if (use.rates.back() < 1) plan.exit_rates = use.rates;
    plan.exit_accuracies = use.accuracies;
    const auto add = [&](std::vector<LayerId> layers, HostId host) {
      std::ranges::sort(layers);
      if (!layers.empty()) plan.pieces.push_back({std::move(layers), host});
    };
    add({use.order.begin(), use.order.begin() + k}, problem.source);
    add({use.order.begin() + k, use.order.end()}, server);
    return plan;
  }

  Plan plan_of(const Problem& problem) const {
    const ExitUse& use = *now_.use;
    Plan plan = pieces_of(problem, use, now_.server, now_.k);
    const Crossings crossing = crossings(problem, use.order);
    if (now_.compression.bits > 0 && crossing.tensors[static_cast<std::size_t>(now_.k)] > 0) {
      const double flop = now_.compression.coding_flop * crossing.elements[static_cast<std::size_t>(now_.k)];
      plan.transforms.push_back({0, 1, {now_.compression.ratio, flop, flop}});
    }
    if (!now_.on_device_alone()) {
      const int last = last_exit_before(use, now_.k);
      const ExitUse local = last < 0 ? use : up_to(problem.graph, use, last);
      plan.fallbacks = {pieces_of(problem, local, now_.server, static_cast<int>(local.order.size()))};
    }
    double local_share = 0;
    for (std::size_t e = 0; e < use.rates.size(); ++e) {
      if (use.needs[e] <= now_.k) local_share += use.rates[e];
    }
    plan.decision = {{"partition_point", now_.k},
                     {"threshold", use.threshold},
                     {"bits", plan.transforms.empty() ? 0 : now_.compression.bits},
                     {"local_share", local_share},
                     {"latency_s", now_.costs.latency_s},
                     {"throughput_per_s", 1 / now_.costs.period_s()},
                     {"server_s", now_.costs.server_s},
                     {"energy_j", now_.costs.energy_j}};
    if (use.accuracy()) plan.decision["accuracy"] = *use.accuracy();
    return plan;
  }

  Parameters parameters_;
  std::vector<double (*)(const Decision&)> targets_;
  std::vector<int> bits_;
  std::vector<HostId> servers_;
  std::vector<ExitUse> uses_;
  std::vector<double> seen_;
  std::vector<char> on_;  // (n_servers) that can be reached
  Decision now_;
};

const bool registered = register_policy(
    {.name = "spinn",
     .title = "partition point, exit threshold and compression together, for ordered targets",
     .source = "Laskaridis et al., SPINN, MobiCom 2020",
     .about =
         "Tries every partition point, confidence threshold and compression of a model with exits between "
         "the "
         "source and a server: hard constraints first, then the targets in their order. Decided anew when "
         "bandwidth, load or the route change; what a failure loses is answered by the exits on the device.",
     .parameters =
         {{.name = "targets",
           .type = "string",
           .standard = "latency",
           .about = "in order: of latency, throughput, server, energy, accuracy, separated by commas"},
          {.name = "tolerance",
           .type = "number",
           .standard = 0.05,
           .about = "how much worse than the best still counts as good, relative"},
          {.name = "max_accuracy_loss",
           .type = "number",
           .standard = 0.01,
           .about = "most that accuracy may be below the most accurate threshold; 1: any"},
          {.name = "min_accuracy", .type = "number", .standard = 0, .about = "least accuracy; 0: any"},
          {.name = "max_latency",
           .type = "time",
           .standard = "0s",
           .about = "expected latency; 0: the experiment's deadline"},
          {.name = "min_throughput",
           .type = "number",
           .standard = 0,
           .about = "requests a second that device, link and server keep up with; 0: any"},
          {.name = "max_server",
           .type = "time",
           .standard = "0s",
           .about = "on the server, for a request; 0: any"},
          {.name = "max_energy",
           .type = "number",
           .standard = 0,
           .about = "J, of the source above its idle power, for a request; 0: any"},
          {.name = "bits",
           .type = "string",
           .standard = "0,8",
           .about = "of an element that crosses, separated by commas; 0: as it is"},
          {.name = "coding_flop",
           .type = "number",
           .standard = 3,
           .about = "to quantise an element, and to undo it"},
          {.name = "hysteresis",
           .type = "number",
           .standard = 0.05,
           .about = "relative change of a bandwidth or load that is overlooked"},
          {.name = "server",
           .type = "string",
           .standard = "",
           .about = "host of the rest; empty: the best reachable one of tier cloud or edge"},
          {.name = "threshold",
           .type = "number",
           .standard = -1,
           .about = "one of the model's confidence thresholds; -1: decide"},
          {.name = "partition_point",
           .type = "integer",
           .standard = -1,
           .about = "layers on the source; -1: decide"}},
     .watches_bandwidth = true,
     .watches_platform = true,
     .watches_load = true},
    make<Spinn>);

}  // namespace
}  // namespace cdisim
