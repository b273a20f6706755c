#include <doctest/doctest.h>

#include <chrono>
#include <cmath>
#include <numeric>

#include "tests/policies/random_scene.h"

using namespace cdisim;

namespace {

Observation at(double date_s, Observation::Kind kind = Observation::Kind::kBandwidth) {
  return {kind, date_s, {}, {}, {}};
}

// fc_1, fc_2 and fc_3 of 1, 1 and 0.5 Mflop, and an exit of 0.1 Mflop behind fc_1, on the pencil platform: a
// device of 10 Mflop/s, a server of 10 Gflop/s, one link of 20 kB/s for both ways, 10 ms; results need no
// bytes. Layers in ms on the device 100, 10 (the exit's head), 100, 50, on the server 0.1, 0.01, 0.1, 0.05.
// fc_1 gives 500 elements: 2000 B take 100 ms, 8 bits each 25 ms and 1500 flop, 0.15 ms on the device and
// 0.00015 on the server.
const char* const kEarlyChain = R"({
  "schema": 1, "name": "early_chain", "source": "test", "precision": "fp32", "input": {"shape": [1000]},
  "layers": [
    {"name": "fc_1", "kind": "fc", "inputs": ["input"], "output": [500], "bias": false},
    {"name": "fc_2", "kind": "fc", "inputs": ["fc_1"], "output": [1000], "bias": false},
    {"name": "fc_3", "kind": "fc", "inputs": ["fc_2"], "output": [250], "bias": false},
    {"name": "head", "kind": "fc", "inputs": ["fc_1"], "output": [100], "bias": false}],
  "exits": [
    {"name": "early", "layer": "head", "accuracy": 0.6, "accuracy_source": "test"},
    {"name": "full", "layer": "fc_3", "accuracy": 0.75, "accuracy_source": "test"}],
  "thresholds": [
    {"threshold": 0.5, "rates": [0.6, 0.4], "accuracies": [0.8, 0.5], "source": "test"},
    {"threshold": 0.9, "rates": [0.2, 0.8], "accuracies": [0.9, 0.71], "source": "test"}]})";

Scene early_chain() {
  Scene s = pencil_scene();
  s.graph = LayerGraph::parse(parse_json(kEarlyChain, "early_chain"), "early_chain");
  s.platform.edit_host(s.host("device")).power_states[0].speed_flop_per_s = 1e7;
  s.bandwidth_bytes_per_s = {2e4};
  s.wire.result_bytes = 0;
  return s;
}

// ---- brute force, from what estimate() and the plan say ----

struct Costs {
  double latency_s = 0, energy_j = 0, device_s = 0, link_s = 0, server_s = 0, accuracy = 0;
  double target(const std::string& name) const {
    if (name == "latency") return latency_s;
    if (name == "throughput") return std::max({device_s, link_s, server_s});
    if (name == "server") return server_s;
    return name == "energy" ? energy_j : -accuracy;
  }
};

Costs costs_of(const Problem& problem, const Plan& plan) {
  Costs out;
  const Estimate mean = estimate(problem, plan);
  out.latency_s = mean.latency_s;
  out.energy_j = mean.energy_j;
  std::vector<double> rates = plan.exit_rates;
  if (rates.empty()) {
    rates.assign(static_cast<std::size_t>(plan.exit) + 1, 0);
    rates.back() = 1;
  }
  const auto seconds_of = [&](double flop, HostId host) {
    return flop / problem.state(host).speed_flop_per_s;
  };
  for (int e = 0; e <= plan.exit; ++e) {
    const double rate = rates[static_cast<std::size_t>(e)];
    if (rate == 0) continue;
    out.accuracy += rate * plan.exit_accuracies.at(static_cast<std::size_t>(e));
    const Plan stopped = stopped_at(problem.graph, plan, e);
    const auto host_of = [&](int end) {
      return end == kSourceEnd ? problem.source : stopped.pieces[static_cast<std::size_t>(end)].host;
    };
    const auto busy = [&](HostId host) -> double& {
      return host == problem.source ? out.device_s : out.server_s;
    };
    for (const Piece& piece : stopped.pieces)
      busy(piece.host) += rate * problem.compute_s(piece.layers, piece.host) * problem.slowdown(piece.host);
    for (const PlanEdge& edge : plan_edges(problem.graph, problem.wire, stopped)) {
      const HostId from = host_of(edge.from), to = host_of(edge.to);
      if (from == to) continue;
      out.link_s += rate * (problem.transfer_s(edge.bytes, from, to) - problem.transfer_s(0, from, to));
      busy(from) += rate * seconds_of(edge.transform.encode_flop, from);
      busy(to) += rate * seconds_of(edge.transform.decode_flop, to);
    }
  }
  return out;
}

struct Option {
  std::vector<double> rates, accuracies;
};

// The thresholds, and nobody leaving early where that is none of them.
std::vector<Option> options_of(const LayerGraph& graph) {
  std::vector<Option> out;
  for (const Threshold& threshold : graph.thresholds())
    out.push_back({threshold.rates, threshold.accuracies});
  if (std::ranges::any_of(out, [](const Option& option) { return option.rates.back() == 1; })) return out;
  Option never{std::vector<double>(graph.exits().size(), 0), std::vector<double>(graph.exits().size(), 0)};
  never.rates.back() = 1;
  never.accuracies.back() = *graph.exits().back().accuracy;
  out.push_back(never);
  return out;
}

// Every plan of one server, of one option of the exits: all partition points, as it is and quantised.
std::vector<Plan> plans_of(const Problem& problem, const Option& option, HostId server, int bits) {
  const LayerGraph& graph = problem.graph;
  Plan whole;
  whole.exit = static_cast<int>(option.rates.size()) - 1;
  while (option.rates[static_cast<std::size_t>(whole.exit)] == 0) --whole.exit;
  const auto n = static_cast<std::ptrdiff_t>(whole.exit) + 1;
  whole.exit_rates = {option.rates.begin(), option.rates.begin() + n};
  whole.exit_accuracies = {option.accuracies.begin(), option.accuracies.begin() + n};
  // What each exit needs besides those before it.
  std::vector<LayerId> order;
  for (int e = 0; e <= whole.exit; ++e) {
    if (option.rates[static_cast<std::size_t>(e)] == 0) continue;
    for (const LayerId id : plan_layers(graph, whole, e)) {
      if (std::ranges::find(order, id) == order.end()) order.push_back(id);
    }
  }
  const double wire_bits = 8 * problem.wire.bytes_per_element.value_or(graph.bytes_per_element());
  std::vector<Plan> out;
  for (std::size_t k = 0; k <= order.size(); ++k) {
    std::vector<LayerId> first(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k)),
        rest(order.begin() + static_cast<std::ptrdiff_t>(k), order.end());
    std::ranges::sort(first);
    std::ranges::sort(rest);
    Plan plan = whole;
    if (!first.empty()) plan.pieces.push_back({first, problem.source});
    if (!rest.empty()) plan.pieces.push_back({rest, server});
    if (bits > 0 && bits < wire_bits && plan.pieces.size() == 2) {
      double elements = 0;
      for (const LayerId id : first) {
        const auto& consumers = graph.consumers(id);
        const bool crosses = std::ranges::any_of(
            consumers, [&](LayerId reader) { return std::ranges::binary_search(rest, reader); });
        if (crosses) elements += graph.output_elements(id);
      }
      if (elements > 0) plan.transforms = {{0, 1, {bits / wire_bits, 3 * elements, 3 * elements}}};
    }
    out.push_back(plan);
  }
  return out;
}

std::vector<Costs> all_costs(const Scene& s, const Problem& problem) {
  std::vector<Costs> out;
  for (const char* server : {"edge", "cloud"}) {
    for (const Option& option : options_of(s.graph)) {
      for (const int bits : {0, 8, 3}) {
        for (const Plan& plan : plans_of(problem, option, s.host(server), bits))
          out.push_back(costs_of(problem, plan));
      }
    }
  }
  return out;
}

// Random layers with two or three exits and up to three thresholds, at some of which some exits let all pass.
Json random_exits(Random& random) {
  Json graph = random_graph(random, random.below(3) == 0);
  const Json two = graph["exits"];
  const auto heads = static_cast<int>(graph["layers"].size()) - 2;
  const Json head{{"name", "middle_head"},
                  {"kind", "fc"},
                  {"inputs", {graph["layers"][static_cast<std::size_t>(random.below(heads))]["name"]}},
                  {"output", {10}}};
  const Json middle{{"name", "middle"}, {"layer", "middle_head"}};
  if (random.below(3) > 0) {
    graph["layers"].push_back(head);
    graph["exits"] = {two[0], middle, two[1]};
    // Exits stand in the order of their number of layers.
    if (input_error([&] { LayerGraph::parse(graph, "g"); }) != "no error")
      graph["exits"] = {middle, two[0], two[1]};
  }
  for (Json& exit : graph["exits"]) {
    exit["accuracy"] = 0.5 + 0.5 * random.uniform();
    exit["accuracy_source"] = "test";
  }
  const std::size_t n = graph["exits"].size();
  for (int t = random.below(4); t > 0; --t) {
    std::vector<double> rates, accuracies;
    for (std::size_t e = 0; e < n; ++e) {
      rates.push_back(random.below(4) == 0 ? 0 : random.uniform());
      accuracies.push_back(random.uniform());
    }
    rates[static_cast<std::size_t>(random.below(static_cast<int>(n)))] += 0.1;
    const double sum = std::accumulate(rates.begin(), rates.end(), 0.0);
    for (double& rate : rates) rate /= sum;
    graph["thresholds"].push_back(
        {{"threshold", 0.9 - 0.2 * t}, {"rates", rates}, {"accuracies", accuracies}, {"source", "test"}});
  }
  return graph;
}

Scene random_scene_with_exits(Random& random) {
  Scene s = random_scene(random, false);
  s.graph = LayerGraph::parse(random_exits(random), "g");
  return s;
}

}  // namespace

TEST_CASE("spinn: with pencil and paper") {
  Scene s = early_chain();
  // Of threshold 0.9, accuracy 0.2 * 0.9 + 0.8 * 0.71 = 0.748, all of fc_1 and quantised:
  //   at the exit 100 + 0.15 + 10 + 25 + 0.00015 + 0.01 + 10 = 145.16015 ms, at the end 0.15 more;
  //   0.2 * 145.16015 + 0.8 * 145.31015 = 145.28015 ms. With the exit on the device, 0.2 * 110 + 0.8 *
  //   155.30015 = 146.24012 ms; nobody leaving early, 145.30015 ms.
  Plan plan = plan_of(s, "spinn");
  CHECK(plan.decision.at("threshold") == 0.9);
  CHECK(plan.decision.at("partition_point") == 1);
  CHECK(plan.decision.at("bits") == 8);
  CHECK(plan.decision.at("local_share") == 0);
  CHECK(plan.decision.at("latency_s") == doctest::Approx(0.14528015));
  CHECK(plan.decision.at("accuracy") == doctest::Approx(0.748));
  // The uplink has 25 ms, the device 100.15, the server 0.01015 and 0.16015.
  CHECK(plan.decision.at("throughput_per_s") == doctest::Approx(1 / 0.10015));
  CHECK(plan.decision.at("server_s") == doctest::Approx(0.2 * 0.01015e-3 + 0.8 * 0.16015e-3));
  // Computing draws 3 - 1 W, sending 2 - 0.1 W and 1e-6 J/B.
  CHECK(plan.decision.at("energy_j") == doctest::Approx(2 * 0.10015 + 1.9 * 0.025 + 500e-6));
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(0.14528015));

  // Where any accuracy will do, 6 of 10 leave on the device: 0.6 * 110 + 0.4 * 155.30015 = 128.12006 ms.
  plan = plan_of(s, "spinn", {{"max_accuracy_loss", 1}});
  CHECK(plan.decision.at("threshold") == 0.5);
  CHECK(plan.decision.at("partition_point") == 2);
  CHECK(plan.decision.at("local_share") == 0.6);
  CHECK(plan.decision.at("latency_s") == doctest::Approx(0.12812006));
  REQUIRE(plan.pieces.size() == 2);
  CHECK(plan.pieces[0].layers == std::vector<LayerId>{0, 3});
  CHECK(plan.exit_rates == std::vector<double>{0.6, 0.4});
  CHECK(plan.exit_accuracies == std::vector<double>{0.8, 0.5});
  // A request that is lost takes the device's exit, which is right with 0.6 of all inputs.
  REQUIRE(plan.fallbacks.size() == 1);
  CHECK(plan.fallbacks[0].exit == 0);
  CHECK(plan.fallbacks[0].exit_rates.empty());
  CHECK(plan.fallbacks[0].exit_accuracies == std::vector<double>{0.6});
  REQUIRE(plan.fallbacks[0].pieces.size() == 1);
  CHECK(plan.fallbacks[0].pieces[0].host == s.host("device"));
  CHECK(plan.fallbacks[0].pieces[0].layers == std::vector<LayerId>{0, 3});

  // Uncompressed, 0.2 * 110 + 0.8 * 230.15 = 206.12 ms with the exit on the device, against 220.13 with it on
  // the server, 220.23 of the server alone and 0.2 * 110 + 0.8 * 260 = 230 of the device alone.
  plan = plan_of(s, "spinn", {{"bits", "0"}});
  CHECK(plan.decision.at("partition_point") == 2);
  CHECK(plan.decision.at("latency_s") == doctest::Approx(0.20612));
  CHECK(plan.transforms.empty());
}

TEST_CASE("spinn: hard constraints first, then the targets in their order") {
  Scene s = early_chain();
  const auto decision = [&](Json parameters) { return plan_of(s, "spinn", parameters).decision; };
  // Nothing on the server: the device alone, 230 ms at 0.9, 0.6 * 110 + 0.4 * 260 = 170 at 0.5.
  CHECK(decision({{"targets", "server,latency"}}).at("latency_s") == doctest::Approx(0.230));
  CHECK(decision({{"targets", "server,latency"}, {"max_accuracy_loss", 1}}).at("latency_s") ==
        doctest::Approx(0.170));
  // Of those within 5 % of 145.28015 ms the most accurate is 0.75, nobody leaving early; of any accuracy,
  // those within 5 % of 128.12 ms all have threshold 0.5; within 20 %, 0.75 again.
  CHECK(decision({{"targets", "latency,accuracy"}}).at("threshold") == 1);
  CHECK(decision({{"targets", "latency,accuracy"}, {"max_accuracy_loss", 1}}).at("threshold") == 0.5);
  CHECK(decision({{"targets", "latency,accuracy"}, {"max_accuracy_loss", 1}, {"tolerance", 0.2}})
            .at("threshold") == 1);
  // 0.6 * 0.8 + 0.4 * 0.5 = 0.68 is not accurate enough.
  CHECK(decision({{"max_accuracy_loss", 1}, {"min_accuracy", 0.7}}).at("threshold") == 0.9);
  // The experiment's deadline, or one's own, binds the accurate ones.
  s.deadline_s = 0.13;
  const Json accurate{{"targets", "accuracy,latency"}, {"max_accuracy_loss", 1}, {"tolerance", 0}};
  CHECK(decision(accurate).at("threshold") == 0.5);
  Json with_time = accurate;
  with_time["max_latency"] = "1s";
  CHECK(decision(with_time).at("threshold") == 1);
  // 0.1 s is out of reach. Threshold 0.5 exceeds it by 28.1 % and has 0.32 wrong answers, 23.1 % more than
  // the 0.26 allowed; threshold 0.9 exceeds it by 45.3 %. With 0.31 allowed it is 28.1 + 3.2 %.
  s.deadline_s = 0.1;
  CHECK(decision(Json::object()).at("threshold") == 0.9);
  CHECK(decision({{"max_accuracy_loss", 0.06}}).at("threshold") == 0.5);
  // Ten requests a second leave the device 100 ms: only the server alone; the link then has 200 ms, too long,
  // so the least excess is the cut behind fc_1 with 100.15.
  s.deadline_s = std::numeric_limits<double>::infinity();
  CHECK(decision({{"min_throughput", 10}}).at("partition_point") == 1);
  CHECK(decision({{"max_server", "0.1us"}}).at("partition_point") == 4);
  // 2 W * 110 ms + 0.4 * (2 * 0.15 ms + 1.9 W * 25 ms + 500e-6 J) = 0.23932 J, all others above 0.24.
  CHECK(decision({{"targets", "accuracy"}, {"max_energy", 0.24}, {"max_accuracy_loss", 1}}).at("energy_j") ==
        doctest::Approx(0.23932));
}

TEST_CASE("spinn: the best of all partition points, thresholds and compressions") {
  Random random(51);
  const std::vector<std::string> names{"latency", "throughput", "server", "energy", "accuracy"};
  int constrained = 0, infeasible = 0, left_early = 0, quantised = 0;
  for (int trial = 0; trial < 300; ++trial) {
    CAPTURE(trial);
    Scene s = random_scene_with_exits(random);
    const Problem problem = s.problem();
    const std::vector<Costs> all = all_costs(s, problem);
    double most_accurate = 0, least_latency_s = std::numeric_limits<double>::infinity();
    for (const Costs& costs : all) {
      most_accurate = std::max(most_accurate, costs.accuracy);
      least_latency_s = std::min(least_latency_s, costs.latency_s);
    }
    const std::string first = names[static_cast<std::size_t>(random.below(5))],
                      second = names[static_cast<std::size_t>(random.below(5))];
    const double loss = random.below(2) == 0 ? 1 : 0.3 * random.uniform();
    const double max_latency_s = random.below(2) == 0 ? 0 : least_latency_s * (0.9 + random.uniform());
    const Json parameters{{"targets", first + "," + second},
                          {"bits", "0,8,3"},
                          {"max_accuracy_loss", loss},
                          {"max_latency", fmt::format("{}s", max_latency_s)}};
    const Plan plan = plan_of(s, "spinn", parameters);
    const Costs chosen = costs_of(problem, plan);

    const auto excess = [&](const Costs& costs) {
      double sum = 0;
      const double bound = 1 - most_accurate + loss;
      if (1 - costs.accuracy > bound * (1 + 1e-9)) sum += (1 - costs.accuracy) / bound - 1;
      if (max_latency_s > 0 && costs.latency_s > max_latency_s * (1 + 1e-9))
        sum += costs.latency_s / max_latency_s - 1;
      return sum;
    };
    const auto least = [](const std::vector<Costs>& costs, const auto& value) {
      double out = std::numeric_limits<double>::infinity();
      for (const Costs& c : costs) out = std::min(out, value(c));
      return out;
    };
    std::vector<Costs> left = all;
    const double least_excess = least(left, excess);
    CHECK(excess(chosen) == doctest::Approx(least_excess).epsilon(1e-9));
    std::erase_if(left, [&](const Costs& c) { return excess(c) > least_excess + 1e-9; });
    const auto by_first = [&](const Costs& c) { return c.target(first); };
    const auto by_second = [&](const Costs& c) { return c.target(second); };
    const double best = least(left, by_first), bound = best + 0.05 * std::abs(best);
    CHECK(chosen.target(first) <= bound + 1e-9 * std::abs(bound));
    std::erase_if(left, [&](const Costs& c) { return by_first(c) > bound + 1e-9 * std::abs(bound); });
    CHECK(chosen.target(second) == doctest::Approx(least(left, by_second)).epsilon(1e-9));

    CHECK(plan.decision.at("latency_s") == doctest::Approx(chosen.latency_s).epsilon(1e-9));
    CHECK(plan.decision.at("energy_j") == doctest::Approx(chosen.energy_j).epsilon(1e-9));
    CHECK(plan.decision.at("server_s") == doctest::Approx(chosen.server_s).epsilon(1e-9));
    CHECK(plan.decision.at("throughput_per_s") ==
          doctest::Approx(1 / chosen.target("throughput")).epsilon(1e-9));
    CHECK(plan.decision.at("accuracy") == doctest::Approx(chosen.accuracy).epsilon(1e-9));
    if (loss < 1 || max_latency_s > 0) ++constrained;
    if (least_excess > 0) ++infeasible;
    if (!plan.exit_rates.empty()) ++left_early;
    if (!plan.transforms.empty()) ++quantised;
  }
  MESSAGE("of 300, ", constrained, " constrained, ", infeasible, " infeasible, ", left_early,
          " with early exits, ", quantised, " quantised");
  CHECK(constrained >= 100);
  CHECK(infeasible >= 5);
  CHECK(left_early >= 50);
  CHECK(quantised >= 5);
}

TEST_CASE("spinn: predicts what estimate() says, at every partition point") {
  Random random(53);
  int gated = 0;
  for (int trial = 0; trial < 60; ++trial) {
    CAPTURE(trial);
    Scene s = random_scene_with_exits(random);
    const Problem problem = s.problem();
    std::vector<double> thresholds{1};
    for (const Threshold& threshold : s.graph.thresholds()) thresholds.push_back(threshold.value);
    for (const double threshold : thresholds) {
      for (int k = 0; k <= s.graph.size(); ++k) {
        CAPTURE(k);
        const Json parameters{
            {"threshold", threshold}, {"partition_point", k}, {"server", "cloud"}, {"bits", "8"}};
        Plan plan;
        // Not all layers are needed at each threshold; nobody passing may be one of the others.
        if (input_error([&] { plan = plan_of(s, "spinn", parameters); }) != "no error") continue;
        const Costs costs = costs_of(problem, plan);
        CHECK(plan.decision.at("latency_s") == doctest::Approx(costs.latency_s).epsilon(1e-9));
        CHECK(plan.decision.at("energy_j") == doctest::Approx(costs.energy_j).epsilon(1e-9));
        CHECK(plan.decision.at("server_s") == doctest::Approx(costs.server_s).epsilon(1e-9));
        CHECK(1 / plan.decision.at("throughput_per_s") ==
              doctest::Approx(costs.target("throughput")).epsilon(1e-9));
        for (const PlanEdge& edge : plan_edges(s.graph, s.wire, plan)) {
          if (edge.from == kSourceEnd && !edge.after.empty()) ++gated;
        }
      }
    }
  }
  CHECK(gated >= 20);  // inputs for the server that wait for an exit on the device
}

TEST_CASE("spinn: no slower than Neurosurgeon, whose plans are among its own") {
  Random random(52);
  for (int trial = 0; trial < 50; ++trial) {
    CAPTURE(trial);
    Scene s = random_scene_with_exits(random);
    const Problem problem = s.problem();
    CHECK(estimate(problem, plan_of(s, "spinn", {{"max_accuracy_loss", 1}})).latency_s <=
          estimate(problem, plan_of(s, "neurosurgeon")).latency_s * (1 + 1e-9));
  }
}

TEST_CASE("spinn: a lost request is answered by the exits on the device") {
  Scene s = scene("platforms/a1_uplink_g4dn.xml", "workloads/efficientnet_b0_exits.json");
  s.model = LatencyModel::load(kRoot + "/platforms/latency/portend_efficientnet_b0.json");
  const int behind_exit_5 = s.graph.find("exit5_fc") + 1;
  const Plan plan = plan_of(s, "spinn", {{"threshold", 0.7}, {"partition_point", behind_exit_5}});
  CHECK(plan.decision.at("local_share") == doctest::Approx(9803 / 25000.0));
  REQUIRE(plan.fallbacks.size() == 1);
  const Plan& local = plan.fallbacks[0];
  CHECK(local.exit == 1);
  CHECK(local.exit_rates[0] == doctest::Approx(1569 / 25000.0));
  CHECK(local.exit_rates[1] == doctest::Approx(1 - 1569 / 25000.0));
  // 1217 right answers have left; exit 5 is right with 12104 of all 25000: (12104 - 1217) / (25000 - 1569).
  CHECK(local.exit_accuracies[1] == doctest::Approx(10887 / 23431.0));
  REQUIRE(local.pieces.size() == 1);
  CHECK(local.pieces[0].host == s.host("device"));
  // Before the first exit there is none: the whole model.
  const Plan early = plan_of(s, "spinn", {{"threshold", 0.7}, {"partition_point", 10}});
  CHECK(early.fallbacks.at(0).exit == 4);
  CHECK(early.fallbacks.at(0).exit_accuracies == early.exit_accuracies);
  // The device alone loses nothing.
  CHECK(plan_of(s, "spinn", {{"targets", "server"}}).fallbacks.empty());
}

TEST_CASE("spinn: follows the bandwidth and the load, and keeps what need not change") {
  Scene s = early_chain();
  const std::unique_ptr<Policy> policy = policy_of("spinn");
  CHECK(policy->plan(s.problem()).decision.at("partition_point") == 1);
  CHECK_FALSE(policy->replan(s.problem(), at(0)));  // nothing has changed
  s.bandwidth_bytes_per_s = {1.96e4};
  CHECK_FALSE(policy->replan(s.problem(), at(1)));  // overlooked
  s.bandwidth_bytes_per_s = {1.8e4};
  CHECK_FALSE(policy->replan(s.problem(), at(2)));  // not enough to matter
  s.bandwidth_bytes_per_s = {1e3};                  // 500 ms for the quantised tensor
  std::optional<Plan> plan = policy->replan(s.problem(), at(3));
  REQUIRE(plan);
  CHECK(plan->decision.at("partition_point") == 4);
  CHECK(plan->fallbacks.empty());
  CHECK(*plan == plan_of(s, "spinn"));

  // Others take all but 1/2000 of the server, which then has half of the device's speed: the 0.16 ms of the
  // cut behind fc_1 become 320.
  s.bandwidth_bytes_per_s = {2e4};
  plan = policy->replan(s.problem(), at(4));
  REQUIRE(plan);
  CHECK(plan->decision.at("partition_point") == 1);
  Host& server = s.platform.edit_host(s.host("server"));
  server.power_states.push_back(server.power_states[0]);
  server.power_states[1].speed_flop_per_s /= 2000;
  const std::vector<int> states{0, 1};
  Problem loaded = s.problem();
  loaded.power_state = states;
  plan = policy->replan(loaded, at(5, Observation::Kind::kLoad));
  REQUIRE(plan);
  CHECK(plan->decision.at("partition_point") == 4);
  plan = policy->replan(s.problem(), at(6, Observation::Kind::kLoad));
  REQUIRE(plan);
  CHECK(plan->decision.at("partition_point") == 1);
}

TEST_CASE("spinn: the device alone while the route is broken") {
  Scene s = early_chain();
  const std::unique_ptr<Policy> policy = policy_of("spinn", {{"partition_point", 2}, {"threshold", 0.5}});
  CHECK(policy->plan(s.problem()).decision.at("partition_point") == 2);
  const std::vector<char> on{1}, off{0}, both{1, 1}, no_server{1, 0};
  const auto seen = [&](const std::vector<char>& hosts, const std::vector<char>& links) {
    return Observation{Observation::Kind::kPlatform, 1, {}, hosts, links};
  };
  CHECK_FALSE(policy->replan(s.problem(), seen(both, on)));
  std::optional<Plan> plan = policy->replan(s.problem(), seen(both, off));
  REQUIRE(plan);
  CHECK(plan->decision.at("partition_point") == 4);
  CHECK(plan->decision.at("local_share") == 1);
  CHECK(plan->decision.at("latency_s") == doctest::Approx(0.6 * 0.110 + 0.4 * 0.260));
  CHECK(plan->fallbacks.empty());
  CHECK_FALSE(policy->replan(s.problem(), seen(no_server, on)));  // as before
  plan = policy->replan(s.problem(), seen(both, on));
  REQUIRE(plan);
  CHECK(plan->decision.at("partition_point") == 2);
}

TEST_CASE("spinn: models without thresholds, and without accuracies") {
  Scene s = pencil_scene();
  const Plan plan = plan_of(s, "spinn");
  CHECK(plan.decision.at("threshold") == 1);
  CHECK(plan.decision.count("accuracy") == 0);
  CHECK(plan.exit_rates.empty());
  CHECK(plan.exit_accuracies.empty());
  CHECK(input_error([&] {
          plan_of(s, "spinn", {{"min_accuracy", 0.5}});
        }) == "p.json: /min_accuracy: 0.5: \"chain3\" states no accuracies");
  CHECK(input_error([&] {
          plan_of(s, "spinn", {{"threshold", 0.5}});
        }) == "p.json: /threshold: 0.5: no threshold of \"chain3\"; valid: -1 (decide), 1");
  CHECK(input_error([&] {
          plan_of(s, "spinn", {{"partition_point", 4}});
        }).starts_with("p.json: /partition_point: 4: \"chain3\" has 3 layers at threshold 1"));
}

TEST_CASE("spinn: wrong parameters") {
  const auto error = [](const char* name, const Json& value) {
    return input_error([&] { policy_of("spinn", {{name, value}}); });
  };
  CHECK(error("targets", "latency,speed")
            .starts_with("p.json: /targets: \"latency,speed\": \"speed\" is no target"));
  CHECK(error("targets", "").ends_with("names no target"));
  for (const char* bits : {"8,,4", "x", "33", "-1", "1.5", ""}) {
    CAPTURE(bits);
    CHECK(error("bits", bits).starts_with("p.json: /bits: "));
  }
  for (const char* name : {"tolerance", "min_throughput", "max_energy", "coding_flop", "hysteresis",
                           "max_accuracy_loss", "min_accuracy"}) {
    CHECK(error(name, -0.1).starts_with(std::string("p.json: /") + name + ": -0.1"));
  }
  for (const char* name : {"max_accuracy_loss", "min_accuracy"}) {
    CHECK(error(name, 1.1).starts_with(std::string("p.json: /") + name + ": 1.1"));
  }
  CHECK(error("partition_point", -2).starts_with("p.json: /partition_point: -2"));
}

// For information: the program's policies are built with optimisation, this test is not.
TEST_CASE("spinn: time to plan") {
  for (const char* model : {"efficientnet_b0", "resnet110"}) {
    Scene s = scene("platforms/a1_uplink_g4dn.xml", fmt::format("workloads/{}_exits.json", model));
    s.model = LatencyModel::load(fmt::format("{}/platforms/latency/portend_{}.json", kRoot, model));
    const std::unique_ptr<Policy> policy = policy_of("spinn");
    const auto start = std::chrono::steady_clock::now();
    policy->plan(s.problem());
    const std::chrono::duration<double, std::milli> first = std::chrono::steady_clock::now() - start;
    MESSAGE(fmt::format("{} ({} layers, {} thresholds): plan {:.2f} ms", model, s.graph.size(),
                        s.graph.thresholds().size(), first.count()));
  }
}
