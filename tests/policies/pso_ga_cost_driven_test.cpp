#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "policies/shared/schedule.h"
#include "sim/units.h"
#include "tests/policies/random_scene.h"

using namespace cdisim;

namespace {

const std::string kName = "pso_ga_cost_driven";

// Two layers of 0.5 Mflop, 1000 B between them; input 4000 B, result 400 B. Device, edge and cloud at 0.5, 1
// and 5 Mflop/s; 1 kB/s between device and edge, 2 kB/s between them and the cloud. A second costs nothing, 1
// and 20 USD; a byte 1e-3 USD between device and edge, else 2e-3.
Scene hourglass() {
  const Json graph = {
      {"schema", 1},
      {"name", "hourglass"},
      {"source", "test"},
      {"precision", "fp32"},
      {"input", {{"shape", {1000}}}},
      {"layers",
       {{{"name", "in"}, {"kind", "fc"}, {"inputs", {"input"}}, {"output", {250}}, {"bias", false}},
        {{"name", "out"}, {"kind", "fc"}, {"inputs", {"in"}}, {"output", {1000}}, {"bias", false}}}}};
  Scene s{Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
    <host id="device" speed="500kf"><prop id="tier" value="device"/></host>
    <host id="edge" speed="1Mf"><prop id="tier" value="edge"/><prop id="price_per_hour" value="3600"/></host>
    <host id="cloud" speed="5Mf"><prop id="tier" value="cloud"/><prop id="price_per_hour" value="72000"/></host>
    <link id="de" bandwidth="1kBps" latency="0s"><prop id="price_per_gb" value="1e6"/></link>
    <link id="dc" bandwidth="2kBps" latency="0s"><prop id="price_per_gb" value="2e6"/></link>
    <link id="ec" bandwidth="2kBps" latency="0s"><prop id="price_per_gb" value="2e6"/></link>
    <route src="device" dst="edge"><link_ctn id="de"/></route>
    <route src="device" dst="cloud"><link_ctn id="dc"/></route>
    <route src="edge" dst="cloud"><link_ctn id="ec"/></route>
    </zone></platform>)",
                          "p.xml"),
          LayerGraph::parse(graph, "g")};
  s.wire.result_bytes = 400;
  return s;
}

bool agree(double a, double b) {
  return std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)) + 1e-15;
}

}  // namespace

// A layer takes 1 s on the device, 0.5 s on the edge, 0.1 s in the cloud; the input 4 s and 4 USD to the
// edge, 2 s and 8 USD to the cloud. By hosts of (in, out):
//   device, device   2 s                                      0
//   device, edge     1 + 1 + 0.5 + 0.4 = 2.9 s                1 + 0.5 + 0.4 = 1.9
//   device, cloud    1 + 0.5 + 0.1 + 0.2 = 1.8 s              2 + 2 + 0.8 = 4.8
//   edge, ...        4 s and more
//   cloud, device    2 + 0.1 + 0.5 + 1 = 3.6 s
//   cloud, cloud     2 + 0.2 + 0.2 = 2.4 s                    8 + 4 + 0.8 = 12.8
TEST_CASE("pso_ga_cost_driven: closed form of an hourglass") {
  Scene s = hourglass();
  Plan plan = plan_of(s, kName);
  CHECK(plan.decision.at("predicted_cost_usd") == 0);
  CHECK(plan.decision.at("device_share") == 1);
  CHECK(plan.decision.at("iterations") == 0);  // nothing is cheaper than a device that costs nothing
  s.deadline_s = 1.9;
  for (const char* search : {"pso_ga", "ga", "pso", "greedy"}) {
    for (const char* start : {"seeded", "random"}) {
      CAPTURE(search);
      plan = plan_of(s, kName, {{"search", search}, {"start", start}, {"iterations", 20}});
      CHECK(plan.decision.at("predicted_latency_s") == doctest::Approx(1.8));
      CHECK(plan.decision.at("predicted_cost_usd") == doctest::Approx(4.8));
      CHECK(plan.decision.at("in_time") == 1);
      CHECK(plan.decision.at("hosts") == 2);
      CHECK(plan.decision.at("device_share") == 0.5);
    }
  }
  // Nothing takes less than 1.8 s.
  s.deadline_s = 1.7;
  plan = plan_of(s, kName);
  CHECK(plan.decision.at("predicted_latency_s") == doctest::Approx(1.8));
  CHECK(plan.decision.at("in_time") == 0);
}

TEST_CASE("pso_ga_cost_driven: parameters are checked") {
  const auto message = [](const char* name, const Json& value) {
    return input_error([&] { policy_of(kName, {{name, value}}); });
  };
  CHECK(message("population", 1).starts_with("p.json: /population: 1: valid: from 2"));
  CHECK(message("iterations", -1).starts_with("p.json: /iterations: -1"));
  CHECK(message("w_max", 1.5).starts_with("p.json: /w_max: 1.5: valid: 0 to 1"));
  CHECK(message("c2_last", -0.1).starts_with("p.json: /c2_last: -0.1"));
}

TEST_CASE("pso_ga_cost_driven: hosts that cannot reach each other") {
  // A star: edge and cloud only talk to the device.
  Scene s = hourglass();
  s.platform = Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
    <host id="device" speed="500kf"><prop id="tier" value="device"/><prop id="price_per_hour" value="1"/></host>
    <host id="edge" speed="1Mf"><prop id="tier" value="edge"/></host>
    <host id="cloud" speed="5Mf"><prop id="tier" value="cloud"/></host>
    <link id="l" bandwidth="1MBps" latency="0s"/>
    <route src="device" dst="edge"><link_ctn id="l"/></route>
    <route src="device" dst="cloud"><link_ctn id="l"/></route>
    </zone></platform>)",
                               "p.xml");
  s.bandwidth_bytes_per_s.clear();
  for (const char* search : {"pso_ga", "ga", "pso", "greedy", "heft"}) {
    CAPTURE(search);
    for (const double deadline_s : {0.0, 0.5, std::numeric_limits<double>::infinity()}) {
      s.deadline_s = deadline_s;
      plan_of(s, kName, {{"search", search}, {"start", "random"}, {"population", 2}, {"iterations", 0}});
    }
  }
}

// Against all placements of all layers of small random graphs on three hosts; deadlines between the least
// latency and that of the cheapest placement, in one case of five none.
TEST_CASE("pso_ga_cost_driven: gap to brute force") {
  Random random(1907);
  struct Sum {
    double cost = 0;  // over the optimum's, where both are in time
    int in_time = 0, optimal = 0;
  };
  std::map<std::string, Sum> sums;
  const std::pair<std::string, Json> searches[] = {
      {"pso_ga", {{"search", "pso_ga"}}},
      {"pso_ga, random start", {{"search", "pso_ga"}, {"start", "random"}}},
      {"ga", {{"search", "ga"}}},
      {"ga, random start", {{"search", "ga"}, {"start", "random"}}},
      {"pso", {{"search", "pso"}}},
      {"pso, random start", {{"search", "pso"}, {"start", "random"}}},
      {"greedy", {{"search", "greedy"}}}};
  int cases = 0;
  while (cases < 150) {
    Scene s = random_scene(random, cases % 3 == 0);
    const int exit = static_cast<int>(s.graph.exits().size()) - 1;
    const std::span<const LayerId> layers = s.graph.exit_layers(exit);
    if (layers.size() > 7 || layers.size() < 3) continue;
    // Prices such that hosts and bytes weigh alike.
    for (HostId host = 0; host < 3; ++host)
      s.platform.edit_host(host).price_usd_per_s = 1e-5 * std::exp(4 * random.uniform());
    const Problem problem = s.problem();
    std::vector<std::vector<LayerId>> units;
    for (const LayerId layer : layers) units.push_back({layer});
    Schedule schedule(problem, exit, problem.reachable(), units);
    std::vector<Schedule::Cost> all;
    std::vector<int> placement(layers.size(), 0);
    const auto each = [&](const auto& self, std::size_t i) -> void {
      if (i == placement.size()) {
        for (const Grouping grouping : {Grouping::kEager, Grouping::kFew})
          all.push_back(schedule.cost(placement, grouping));
        return;
      }
      for (placement[i] = 0; placement[i] < 3; ++placement[i]) self(self, i + 1);
    };
    each(each, 0);
    const double least_s = std::ranges::min(all, {}, &Schedule::Cost::latency_s).latency_s;
    const double cheapest_s = std::ranges::min(all, {}, &Schedule::Cost::cost_usd).latency_s;
    if (cheapest_s < 1.05 * least_s) continue;  // the deadline does not matter
    s.deadline_s = cases % 5 == 0 ? std::numeric_limits<double>::infinity()
                                  : least_s + (0.02 + 0.96 * random.uniform()) * (cheapest_s - least_s);
    double optimum = std::numeric_limits<double>::infinity();
    for (const Schedule::Cost& cost : all) {
      if (cost.latency_s <= s.deadline_s) optimum = std::min(optimum, cost.cost_usd);
    }
    REQUIRE(std::isfinite(optimum));
    ++cases;
    for (const auto& [name, parameters] : searches) {
      Json given = parameters;
      given["population"] = 20;
      given["iterations"] = 50;
      const Plan plan = plan_of(s, kName, given);
      // What the policy believes is what the plan costs.
      const Estimate found = estimate(s.problem(), plan);
      CHECK(agree(plan.decision.at("predicted_cost_usd"), found.cost_usd));
      CHECK(agree(plan.decision.at("predicted_latency_s"), found.latency_s));
      if (plan.decision.at("in_time") == 0) continue;
      Sum& sum = sums[name];
      ++sum.in_time;
      CHECK(found.cost_usd >= optimum * (1 - 1e-9));
      sum.cost += found.cost_usd / optimum;
      sum.optimal += found.cost_usd <= optimum * (1 + 1e-9);
    }
  }
  std::map<std::string, double> gap;
  for (const auto& [name, sum] : sums) {
    gap[name] = sum.cost / sum.in_time - 1;
    MESSAGE(name, ": in time in ", sum.in_time, " of ", cases, ", the optimum in ", sum.optimal,
            ", mean gap to it ", 100 * gap[name], " %");
  }
  CHECK(sums["pso_ga"].in_time >= 0.99 * cases);
  CHECK(sums["pso_ga"].in_time >= sums["greedy"].in_time);
  CHECK(gap["pso_ga"] <= gap["greedy"]);
  CHECK(gap["pso_ga"] <= gap["ga"]);
}

TEST_CASE("pso_ga_cost_driven: the experiment's deadlines are multiples of HEFT's latency") {
  const std::string file = kRoot + "/experiments/pso_ga_cost_driven.json";
  const Json experiment = parse_json(read_text_file(file), file);
  const double multiples[] = {1.5, 2, 3, 5, 8};
  for (const Json& sweep : experiment["sweeps"]) {
    const Json& set = sweep["set"];
    Scene s = scene("platforms/pso_ga_cloud_edge_device.xml",
                    "workloads/" + set["/model"].get<std::string>() + ".json");
    CAPTURE(s.graph.name());
    s.model = LatencyModel::load(kRoot + "/platforms/latency/" + set["/latency_model"].get<std::string>() +
                                 ".json");
    s.source = "device_1";
    s.wire.input_bytes = set["/wire"]["input_bytes"].get<double>();
    if (set["/wire"].contains("bytes_per_element"))
      s.wire.bytes_per_element = set["/wire"]["bytes_per_element"].get<double>();
    const double heft_s = plan_of(s, kName, {{"search", "heft"}}).decision.at("predicted_latency_s");
    for (std::size_t i = 0; i < 5; ++i) {
      const std::string deadline = sweep["vary"]["/deadline"][i];
      CHECK(parse_quantity(deadline, Dimension::kTime, file) ==
            doctest::Approx(multiples[i] * heft_s).epsilon(1e-5));
    }
  }
}
