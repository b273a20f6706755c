// DistInference's greedy (a reconstruction) step by step, and how far from the optimum it stays.

#include <doctest/doctest.h>

#include <map>

#include "sim/random.h"
#include "tests/policies/swarm_scene.h"

using namespace cdisim;

namespace {

// uav_0 to uav_1 1 MB/s, to uav_2 0.5 MB/s; 100 Mflop/s, uav_2 1 Gflop/s.
Scene three() {
  return swarm_scene(swarm_xml(
      3, [](int i) { return swarm_host(i == 2 ? 1e9 : 1e8, 1e9); },
      [](int i, int k) { return i == 0 && k == 1 ? 1e6 : 5e5; }));
}

std::vector<HostId> hosts_of(const Plan& plan) {
  std::vector<HostId> out;
  for (const Piece& piece : plan.pieces) out.push_back(piece.host);
  return out;
}

Json ten_million(const std::string& placement = "greedy") {
  return {{"macs_per_host", 1e7}, {"placement", placement}};
}

}  // namespace

TEST_CASE("distinference: stays where the data is while the budgets last") {
  Scene s = three();
  CHECK(hosts_of(plan_of(s, "distinference")) == std::vector<HostId>{0});
  // 10 M multiplications are enough for the first stage (9.6 M), not for the second (3.6 M) as well. That
  // goes to uav_2: 2 ms + 50,176 B at 0.5 MB/s + 7.2 Mflop at 1 Gflop/s = 110 ms, where uav_1 takes 52 + 72 =
  // 125. The third stays there.
  const Plan plan = plan_of(s, "distinference", ten_million());
  CHECK(hosts_of(plan) == std::vector<HostId>{0, 2});
  CHECK(plan.pieces[0].layers.size() == 1);
  const double expected =
      0.19280128 + (0.002 + 50176 / 5e5) + (7231616 + 6272 + 65792) / 1e9 + (0.002 + 1024 / 5e5);
  CHECK(plan.decision.at("predicted_latency_s") == doctest::Approx(expected));
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(expected));
  CHECK(hosts_of(plan_of(s, "distinference", ten_million("nearest"))) == std::vector<HostId>{0, 1});
  // The optimum has the third at home again: 512 B travel back instead of 1,024.
  CHECK(hosts_of(plan_of(s, "distinference", ten_million("optimal"))) == std::vector<HostId>{0, 2, 0});
}

TEST_CASE("distinference: requests reserve, in the order of their sources; the last is turned away") {
  // uav_0 and uav_1 do the first stage themselves, uav_2 both second ones: 2 x 3.65 M. Then no UAV has 9.6 M
  // left for uav_2's own request.
  Scene s = three();
  Problem problem = s.problem();
  const std::vector<HostId> sources{0, 1, 2};
  problem.sources = sources;
  const std::map<HostId, std::vector<HostId>> expected{{0, {0, 2}}, {1, {1, 2}}, {2, {}}};
  for (const HostId source : sources) {
    problem.source = source;
    const Plan plan = policy_of("distinference", ten_million())->plan(problem);
    check_plan(s.graph, s.platform, source, s.wire, plan, "test");
    CHECK(hosts_of(plan) == expected.at(source));
    CHECK(plan.decision.at("turned_away") == 1);
    CHECK(plan.decision.at("served") == (source == 2 ? 0 : 1));
    // Wherever the first two leave their first stages, no third one fits.
    CHECK(policy_of("distinference", ten_million("random"))->plan(problem).decision.at("turned_away") == 1);
  }
}

TEST_CASE("distinference: memory and energy are reserved like multiplications") {
  // Room for one first stage; then for the second and the third.
  Scene s = swarm_scene(swarm_xml(
      2, [](int) { return swarm_host(1e8, kStageWork_bytes + 4.3e5); }, [](int, int) { return 1e6; }));
  CHECK(hosts_of(plan_of(s, "distinference")) == std::vector<HostId>{0, 1});
  // 0.19 s, then 0.073 s at 1 W above idle.
  Scene e = three();
  CHECK(hosts_of(plan_of(e, "distinference", {{"energy_per_host", 0.2}})) == std::vector<HostId>{0, 2});
  Problem problem = e.problem();
  const std::vector<double> battery_j{0.2, 1e9, 1e9};
  problem.battery_j = battery_j;
  CHECK(hosts_of(policy_of("distinference")->plan(problem)) == std::vector<HostId>{0, 2});
}

TEST_CASE("distinference: a residual block is a unit") {
  // ResNet-50: three layers with weights before the 16 blocks, of some 10 each, and the classifier. VGG-16: a
  // unit for each layer with weights.
  Scene s = three();
  s.graph = LayerGraph::load(kRoot + "/workloads/resnet50.json");
  CHECK(plan_of(s, "distinference").decision.at("units") == 20);
  s.graph = LayerGraph::load(kRoot + "/workloads/vgg16.json");
  CHECK(plan_of(s, "distinference").decision.at("units") == 16);
  CHECK(plan_of(s, "distinference", {{"units", 5}}).decision.at("units") == 5);
}

TEST_CASE("distinference: keeps its plan until rates or hosts change it") {
  Scene s = three();
  const Problem problem = s.problem();
  const auto policy = policy_of("distinference", ten_million());
  policy->plan(problem);
  CHECK(!policy->replan(problem, {}));
  s.bandwidth_bytes_per_s[static_cast<std::size_t>(s.platform.route(0, 2)->links.front())] = 1e5;
  const std::optional<Plan> second = policy->replan(problem, {});
  REQUIRE(second);
  CHECK(hosts_of(*second) == std::vector<HostId>{0, 1});
  const std::vector<char> on{1, 0, 1};
  Observation off;
  off.host_on = on;
  const std::optional<Plan> third = policy->replan(problem, off);
  REQUIRE(third);
  CHECK(hosts_of(*third) == std::vector<HostId>{0, 2});
}

TEST_CASE("distinference: how far from the optimum") {
  Scene s{Platform::load(kRoot + "/platforms/uav_mesh.xml"),
          LayerGraph::load(kRoot + "/workloads/vgg16.json"),
          LatencyModel::roofline(kRoot + "/platforms/hardware.json")};
  s.source = "uav_0";
  s.wire.input_bytes = 150528;
  s.problem();
  Random random(3);
  const std::vector<HostId> sources{0, 1, 2, 3};
  std::map<std::string, double> sums;
  for (int round = 0; round < 5; ++round) {
    for (double& rate : s.bandwidth_bytes_per_s) rate = 1e6 * (2 + 10 * random.uniform());
    Problem problem = s.problem();
    problem.sources = sources;
    for (const char* placement : {"optimal", "greedy", "nearest", "random"}) {
      const Plan plan =
          policy_of("distinference", {{"placement", placement}, {"macs_per_host", 4e10}})->plan(problem);
      CHECK(plan.decision.at("turned_away") == 0);
      sums[placement] += plan.decision.at("objective_s");
    }
  }
  for (const std::string placement : {"greedy", "nearest", "random"}) {
    CHECK(sums[placement] >= sums["optimal"] * (1 - 1e-9));
    MESSAGE("4 requests for VGG-16 on 8 UAVs, 5 swarms: "
            << placement << " " << 100 * (sums[placement] / sums["optimal"] - 1) << " % above the optimum");
  }
  CHECK(sums["greedy"] < sums["random"]);
}

TEST_CASE("distinference: errors") {
  CHECK(input_error([] { policy_of("distinference", {{"units", 0}}); }).find("/units") != std::string::npos);
  CHECK(input_error([] {
          policy_of("distinference", {{"macs_per_host", -1}});
        }).find("/macs_per_host") != std::string::npos);
}
