// HMTD against a pencil and against brute force over lower parts, qualities and a grid of probabilities.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "tests/policies/random_scene.h"
#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

// 1 Mflop on a UAV of 10 Mflop/s, an exit of 10 kflop (error 0.3), 1.5 Mflop more (error 0.1). Between the
// two 2 kB, back 1 kB; a frame has 500 kB. The server has 10 Gflop/s behind 1 MB/s and 10 ms.
LayerGraph two_exits() {
  return LayerGraph::parse(
      parse_json(R"({"schema": 1, "name": "two_exits", "source": "test", "precision": "fp32",
      "input": {"shape": [1000]}, "layers": [
        {"name": "fc_1", "kind": "fc", "inputs": ["input"], "bias": false, "output": [500]},
        {"name": "head", "kind": "fc", "inputs": ["fc_1"], "bias": false, "output": [10]},
        {"name": "fc_2", "kind": "fc", "inputs": ["fc_1"], "bias": false, "output": [1000]},
        {"name": "fc_3", "kind": "fc", "inputs": ["fc_2"], "bias": false, "output": [250]}],
      "exits": [{"name": "early", "layer": "head", "accuracy": 0.7, "accuracy_source": "test"},
                {"name": "full", "layer": "fc_3", "accuracy": 0.9, "accuracy_source": "test"}]})",
                 "g"),
      "g");
}

// Above its idle power the UAV draws 2 W for computing, 1.9 W and 1 uJ/B for sending, 0.9 W and 0.5 uJ/B for
// receiving.
Scene pencil() {
  Scene s{Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
    <host id="device" speed="10Mf"><prop id="tier" value="uav"/><prop id="wattage_per_state" value="1:3"/>
      <prop id="wattage_radio" value="0.1:2:1"/><prop id="joule_per_byte_radio" value="1e-6:5e-7"/>
      <prop id="wattage_flight" value="10"/></host>
    <host id="mec" speed="10Gf"><prop id="tier" value="edge"/></host>
    <link id="air" bandwidth="1MBps" latency="10ms"/>
    <route src="device" dst="mec"><link_ctn id="air"/></route></zone></platform>)",
                          "p.xml"),
          two_exits()};
  s.wire.input_bytes = 500e3;
  return s;
}

double decision(const Plan& plan, const std::string& key) {
  return plan.decision.at(key);
}

doctest::Approx about(double value) {
  return doctest::Approx(value).epsilon(1e-9);
}

struct Quality {
  double ratio, loss;
};

// A plan written out by hand: whatever the exit at `lower` shares with the last one, or nothing, stays on the
// source.
Plan by_hand(const Problem& problem, HostId server, bool frames, double offload, const Quality& quality) {
  const LayerGraph& graph = problem.graph;
  const int last = static_cast<int>(graph.exits().size()) - 1;
  Plan plan;
  plan.exit = last;
  Piece here{{}, problem.source}, there{{}, server};
  const auto early = graph.exit_layers(0);
  for (LayerId id = 0; id < graph.size(); ++id) {
    const bool shared = !frames && std::ranges::count(early, id) > 0;
    if (std::ranges::count(graph.exit_layers(last), id) > 0) {
      (shared ? here : there).layers.push_back(id);
    } else if (shared && offload < 1) {
      here.layers.push_back(id);
    }
  }
  if (!here.layers.empty()) plan.pieces.push_back(here);
  plan.pieces.push_back(there);
  if (offload < 1) plan.exit_rates = {1 - offload, offload};
  for (const PlanEdge& edge : plan_edges(graph, problem.wire, plan)) {
    if (edge.to >= 0 && plan.pieces[static_cast<std::size_t>(edge.to)].host == server && quality.ratio < 1)
      plan.transforms.push_back({edge.from, edge.to, {.ratio = quality.ratio}});
  }
  return plan;
}

struct Best {
  double cost = std::numeric_limits<double>::infinity(), error = 1;
};

}  // namespace

TEST_CASE("hmtd: by pencil") {
  Scene s = pencil();
  // Early on the UAV: 0.101 s, error 0.3. The rest elsewhere, for those that need it: 12 ms up, 0.15 ms, 11
  // ms back. All on the UAV: 0.25 s. A frame takes 0.51 s.
  Plan plan = plan_of(s, "hmtd", {{"weight", 1}, {"max_error", 0.3}});
  CHECK(plan.exit == 0);
  CHECK(decision(plan, "offload_probability") == 0);
  CHECK(decision(plan, "cost") == about(0.101));
  CHECK(plan.fallbacks.empty());
  // A bound of 0.2 needs every other request: (0.3 - 0.2) / (0.3 - 0.1).
  plan = plan_of(s, "hmtd", {{"weight", 1}, {"max_error", 0.2}});
  CHECK(plan.exit == 1);
  REQUIRE(plan.exit_rates.size() == 2);
  CHECK(plan.exit_rates[1] == about(0.5));
  CHECK(decision(plan, "lower_part") == 1);
  CHECK(decision(plan, "error") == about(0.2));
  CHECK(decision(plan, "cost") == about(0.101 + 0.5 * 0.02315));
  // Alone, for what a failure lost, the UAV does its best.
  REQUIRE(plan.fallbacks.size() == 1);
  CHECK(plan.fallbacks[0].exit == 1);
  // Energy: 0.202 J of computing, every other request 2 ms * 1.9 W + 2 mJ + 1 ms * 0.9 W + 0.5 mJ of radio,
  // and 10 W of flight all the time.
  plan = plan_of(s, "hmtd", {{"weight", 0}, {"max_error", 0.2}});
  CHECK(decision(plan, "cost") == about(0.202 + 0.5 * 7.2e-3 + 10 * (0.101 + 0.5 * 0.02315)));
  // At the full model's error all are offloaded, without the exit.
  plan = plan_of(s, "hmtd", {{"weight", 1}, {"max_error", 0.1}});
  CHECK(plan.exit_rates.empty());
  CHECK(decision(plan, "cost") == about(0.1 + 0.02315));
  // Below it nothing helps: what errs least, of these the fastest.
  plan = plan_of(s, "hmtd", {{"weight", 1}, {"max_error", 0.05}});
  CHECK(decision(plan, "feasible") == 0);
  CHECK(decision(plan, "cost") == about(0.1 + 0.02315));
  // The baselines.
  plan = plan_of(s, "hmtd", {{"weight", 1}, {"max_error", 0.2}, {"mode", "uav_only"}});
  CHECK(decision(plan, "cost") == about(0.25));
  plan = plan_of(s, "hmtd", {{"weight", 1}, {"max_error", 0.2}, {"mode", "mec_only"}});
  CHECK(decision(plan, "cost") == about(0.51 + 0.25e-3 + 0.011));
  CHECK(decision(plan, "lower_part") == 0);
}

TEST_CASE("hmtd: quality, and what it does as the UAV moves") {
  Scene s = pencil();
  const Json parameters{{"weight", 1}, {"max_error", 0.2}, {"qualities", "1:0 0.5:0.05"}};
  // At half the bytes 0.1 / (0.3 - 0.15) = 2/3 must go: 0.101 + 2/3 * 0.02215 is more than 0.101 + 1/2 *
  // 0.02315.
  CHECK(decision(plan_of(s, "hmtd", parameters), "quality") == 1);
  // At 10 kB/s it is 2/3 * (0.11 + 0.00015 + 0.11) against 1/2 * (0.21 + 0.00015 + 0.11); the UAV alone takes
  // 0.25.
  const auto policy = policy_of("hmtd", parameters);
  policy->plan(s.problem());
  std::vector<char> host_on(2, 1), link_on(1, 1);
  const auto replan = [&] {
    return policy->replan(s.problem(), {Observation::Kind::kBandwidth, 1, {}, host_on, link_on});
  };
  CHECK(!replan());
  s.bandwidth_bytes_per_s = {1e4};
  std::optional<Plan> plan = replan();
  REQUIRE(plan);
  CHECK(decision(*plan, "quality") == 0.5);
  CHECK(plan->exit_rates[1] == about(2. / 3));
  CHECK(decision(*plan, "cost") == about(0.101 + 2. / 3 * 0.22015));
  // The share that goes on is right in 85 of 100 cases.
  REQUIRE(plan->exit_accuracies.size() == 2);
  CHECK(plan->exit_accuracies[0] == about(0.7));
  CHECK(plan->exit_accuracies[1] == about(0.85));
  CHECK(!replan());
  // Hardly other: the same decision.
  s.bandwidth_bytes_per_s = {1.01e4};
  CHECK(!replan());
  // Out of range: alone, all of it, as the bound demands; back again.
  s.bandwidth_bytes_per_s = {0.125};
  link_on = {0};
  plan = replan();
  REQUIRE(plan);
  CHECK(plan->exit == 1);
  CHECK(decision(*plan, "cost") == about(0.25));
  link_on = {1};
  s.bandwidth_bytes_per_s = {1e6};
  plan = replan();
  REQUIRE(plan);
  CHECK(decision(*plan, "offload_probability") == about(0.5));
}

TEST_CASE("hmtd: the less bandwidth there is, the more stays on the UAV") {
  // Without errors beyond the full model's. At 100 MB/s a frame takes 15 ms and saves all of the 0.25 s; at 1
  // MB/s it takes 0.51 s and what comes out of fc_1 12 ms, which saves 0.15 s; at 10 kB/s that takes 0.31 s
  // with the result.
  Scene s = pencil();
  for (const auto& [bytes_per_s, lower] : {std::pair(1e8, 0.), std::pair(1e6, 1.), std::pair(1e4, 2.)}) {
    s.bandwidth_bytes_per_s = {bytes_per_s};
    CHECK(decision(plan_of(s, "hmtd", {{"weight", 1}, {"max_error", 0.1}}), "lower_part") == lower);
  }
}

TEST_CASE("hmtd: as good as brute force, below its baselines, and cheaper the more it may err") {
  const std::vector<Quality> qualities{{1, 0}, {0.5, 0.01}, {0.2, 0.06}};
  int by_chance = 0, compared = 0, infeasible = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    Scene s = random_scene(random, random.below(2) == 0);
    Json graph = random_graph(random, random.below(2) == 0);
    const double low = 0.5 + 0.3 * random.uniform(), high = low + 0.19 * random.uniform();
    for (const auto& [i, accuracy] : {std::pair(0, low), std::pair(1, high)}) {
      graph["exits"][static_cast<std::size_t>(i)]["accuracy"] = accuracy;
      graph["exits"][static_cast<std::size_t>(i)]["accuracy_source"] = "test";
    }
    s.graph = LayerGraph::parse(graph, "g");
    s.platform.edit_host(s.host("device")).flight_w = 20 * random.uniform();
    if (random.below(3) > 0) {
      // Known by their speeds alone, the UAV slow and frames heavy: else one side nearly always does it all.
      s.model = {};
      for (HostId id = 0; id < s.platform.host_count(); ++id) s.platform.edit_host(id).device_type.clear();
      const double share = std::pow(10, -5 + 2 * random.uniform());
      for (PowerState& state : s.platform.edit_host(s.host("device")).power_states)
        state.speed_flop_per_s *= share;
      s.wire.input_bytes = 1e6 * random.uniform();
    }
    const double weight = random.uniform();
    // The policy takes the exits in the order of their layers.
    const double errors[] = {1 - *s.graph.exits()[0].accuracy, 1 - *s.graph.exits()[1].accuracy};
    const Problem problem = s.problem();
    const HostId server = s.host("edge");
    const auto cost_of = [&](const Plan& plan) {
      const Estimate e = estimate(problem, plan);
      return weight * e.latency_s +
             (1 - weight) * (e.energy_j + problem.flight_power_w(problem.source) * e.latency_s);
    };
    double before = 0;
    for (const double bound : {1., errors[0] + 0.001, 0.4 * errors[0] + 0.6 * errors[1],
                               0.1 * errors[0] + 0.9 * errors[1], errors[1] + 1e-6, errors[1] - 0.001}) {
      CAPTURE(bound);
      Best best;
      const auto consider = [&](const Plan& plan, double error) {
        if (error <= bound + 1e-12) best.cost = std::min(best.cost, cost_of(plan));
        best.error = std::min(best.error, error);
      };
      for (const int exit : {0, 1})
        consider(chain_plan(s.graph, exit, 0, problem.source, problem.source), errors[exit]);
      for (const Quality& q : qualities) {
        consider(by_hand(problem, server, true, 1, q), errors[1] + q.loss);
        for (int step = 1; step <= 20; ++step) {
          const double p = step / 20.;
          consider(by_hand(problem, server, false, p, q), (1 - p) * errors[0] + p * (errors[1] + q.loss));
        }
      }
      const auto made = [&](const char* mode) {
        return plan_of(s, "hmtd",
                       {{"weight", weight},
                        {"max_error", std::min(1.0, bound)},
                        {"qualities", "1:0 0.5:0.01 0.2:0.06"},
                        {"mode", mode}});
      };
      const Plan plan = made("hmtd");
      const double cost = cost_of(plan);
      CHECK(decision(plan, "cost") == doctest::Approx(cost).epsilon(1e-9));
      if (std::isinf(best.cost)) {
        CHECK(decision(plan, "feasible") == 0);
        CHECK(decision(plan, "error") <= best.error + 1e-12);
        ++infeasible;
        continue;
      }
      CHECK(decision(plan, "feasible") == 1);
      CHECK(decision(plan, "error") <= bound + 1e-12);
      CHECK(cost <= best.cost * (1 + 1e-9));
      // The tighter the bound the higher the cost.
      CHECK(cost >= before * (1 - 1e-9));
      before = cost;
      for (const char* mode : {"uav_only", "mec_only"}) {
        const Plan baseline = made(mode);
        if (decision(baseline, "feasible") == 1) CHECK(cost <= cost_of(baseline) * (1 + 1e-9));
      }
      const double p = decision(plan, "offload_probability");
      by_chance += p > 0 && p < 1 ? 1 : 0;
      ++compared;
    }
  }
  MESSAGE(compared << " compared, " << by_chance << " of them offload by chance, " << infeasible
                   << " cannot");
  CHECK(compared > 1000);
  CHECK(by_chance > 20);
}

TEST_CASE("hmtd: what it refuses") {
  const auto error = [](const Json& parameters) {
    return input_error([&] { policy_of("hmtd", parameters); });
  };
  CHECK(error({{"weight", 1.5}}).find("/weight: 1.5: valid: 0 to 1") != std::string::npos);
  CHECK(error({{"max_error", -1}}).find("/max_error: -1: valid: 0 to 1") != std::string::npos);
  for (const char* text : {"", "1", "1:", "0:0", "2:0", "1:2", "1:0,0.5:0", "a:0"}) {
    CAPTURE(text);
    CHECK(error({{"qualities", text}}).find("/qualities") != std::string::npos);
  }
  // Bounds need accuracies.
  Scene s = pencil_scene();
  CHECK(input_error([&] {
          plan_of(s, "hmtd", {{"max_error", 0.5}});
        }).find("exit \"output\" has no accuracy") != std::string::npos);
  CHECK(plan_of(s, "hmtd").pieces.size() == 1);
  // No memory anywhere.
  s = pencil();
  for (const char* host : {"device", "mec"}) s.platform.edit_host(s.host(host)).memory_bytes = 100;
  CHECK(input_error([&] { plan_of(s, "hmtd"); }) ==
        "p.xml: neither \"device\" nor \"mec\" has the memory for \"two_exits\"");
  // A UAV that holds only the lower layers and the exit (2 MB and 20 kB) offloads what it cannot answer.
  s = pencil();
  s.platform.edit_host(s.host("device")).memory_bytes = 2.1e6;
  const Plan plan = plan_of(s, "hmtd", {{"weight", 1}, {"max_error", 0.2}});
  CHECK(decision(plan, "offload_probability") == about(0.5));
  CHECK(plan.fallbacks[0].exit == 0);
}
