// estimate() against pencil and paper; chain_costs() against estimate() of every partition of random graphs.

#include "policies/shared/chain.h"

#include <doctest/doctest.h>

#include "tests/policies/random_scene.h"

using namespace cdisim;

TEST_CASE("estimate: a chain in two pieces") {
  // fc_1, 1 Mflop at 1 Gflop/s: 1 ms. Its 2000 B: 10 ms + 2 ms. 1.5 Mflop at 10 Gflop/s: 0.15 ms. Result,
  // 1000 B: 10 ms + 1 ms. In all 24.15 ms. Energy: 1 ms at 3 - 1 W; sending for 2 ms at 2 - 0.1 W and 2000 *
  // 1e-6 J; receiving for 1 ms at 1 - 0.1 W and 1000 * 5e-7 J: 2 + 3.8 + 2 + 0.9 + 0.5 = 9.2 mJ.
  Scene s = pencil_scene();
  const Plan plan = chain_plan(s.graph, 0, 1, s.host("device"), s.host("server"));
  const Estimate e = estimate(s.problem(), plan);
  CHECK(e.latency_s == doctest::Approx(24.15e-3).epsilon(1e-12));
  CHECK(e.energy_j == doctest::Approx(9.2e-3).epsilon(1e-12));
  // The other way round: input 4000 B, 14 ms; 0.1 ms; 2000 B back, 12 ms; 1.5 ms. The result is where it
  // belongs.
  const Plan back = chain_plan(s.graph, 0, 1, s.host("server"), s.host("device"));
  CHECK(estimate(s.problem(), back).latency_s == doctest::Approx(27.6e-3).epsilon(1e-12));
}

TEST_CASE("estimate: wire format, observed bandwidth and power state") {
  // 500 elements of 8 B and no result, at half the bandwidth: 10 + 8 ms and 10 ms.
  Scene s = pencil_scene();
  s.wire = {.input_bytes = 1, .bytes_per_element = 8, .result_bytes = 0};
  s.bandwidth_bytes_per_s = {5e5};
  const Plan plan = chain_plan(s.graph, 0, 1, s.host("device"), s.host("server"));
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(29.15e-3).epsilon(1e-12));
  // At a quarter of its speed the device takes 4 ms instead of 1.
  Host& device = s.platform.edit_host(s.host("device"));
  device.power_states.push_back(device.power_states[0]);
  device.power_states[1].speed_flop_per_s = 0.25e9;
  device.power_state = 1;
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(32.15e-3).epsilon(1e-12));
}

TEST_CASE("crossing_bytes: of a chain and of a diamond") {
  // fc_1 gives 500 floats, fc_2 1000; neither the input nor the result counts.
  Scene s = pencil_scene();
  CHECK(crossing_bytes(s.problem(), 0) == std::vector<double>{0, 2000, 4000, 0});
  // Stem; then left, and stem for right; then left and right; then join.
  Scene d = scene("tests/fixtures/pencil.xml", "tests/fixtures/diamond.json");
  d.wire.bytes_per_element = 1;
  const std::vector<double> bytes = crossing_bytes(d.problem(), 1);
  const auto elements = [&](const char* name) { return tensor_bytes(d.graph, d.wire, d.graph.find(name)); };
  CHECK(bytes.size() == 6);
  CHECK(bytes[1] == elements("stem"));
  CHECK(bytes[2] == elements("stem") + elements("left"));
  CHECK(bytes[3] == elements("left") + elements("right"));
  CHECK(bytes[4] == elements("join"));
  CHECK(bytes[5] == 0);
}

TEST_CASE("estimate: parallel pieces, on two hosts and on one") {
  // stem 0.32 us on the device; left 0.4672 us on the server, between 256 B there and back, 10.256 ms each;
  // right, on the device, is done long before; join and head 1.354 us.
  Scene s = scene("tests/fixtures/pencil.xml", "tests/fixtures/diamond.json");
  const auto id = [&](const char* name) { return s.graph.find(name); };
  const HostId device = s.host("device"), server = s.host("server");
  Plan plan;
  plan.exit = 1;
  plan.pieces = {{{id("stem")}, device},
                 {{id("left")}, server},
                 {{id("right")}, device},
                 {{id("join"), id("head")}, device}};
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(20.512e-3 + 2.1412e-6).epsilon(1e-12));
  // Both on the server: one after the other, 0.4672 + 0.0576 us; the tensors come twice, at the same time.
  plan.pieces[2].host = server;
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(20.512e-3 + 2.1988e-6).epsilon(1e-12));
}

namespace {

// Relative, except for sums that cancel.
bool agree(double a, double b) {
  return std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)) + 1e-14;
}

}  // namespace

TEST_CASE("chain_costs: equal estimate() for every partition of random chains and DAGs") {
  Random random(20240607);
  int several_tensors = 0, input_read_late = 0, partitions = 0;
  for (int i = 0; i < 300; ++i) {
    CAPTURE(i);
    Scene s = random_scene(random, i % 3 == 0);
    const HostId device = s.host("device"), edge = s.host("edge"), cloud = s.host("cloud");
    for (const auto& [first, second] :
         {std::pair(device, edge), std::pair(edge, device), std::pair(cloud, edge)}) {
      for (int exit = 0; exit < static_cast<int>(s.graph.exits().size()); ++exit) {
        const std::vector<Estimate> costs = chain_costs(s.problem(), exit, first, second);
        REQUIRE(costs.size() == s.graph.exit_layers(exit).size() + 1);
        int fastest = 0;
        double least_s = std::numeric_limits<double>::infinity();
        for (int k = 0; k < static_cast<int>(costs.size()); ++k) {
          CAPTURE(k);
          const Plan plan = chain_plan(s.graph, exit, k, first, second);
          const Estimate expected = estimate(s.problem(), plan);
          const Estimate& cost = costs[static_cast<std::size_t>(k)];
          CHECK_MESSAGE(agree(cost.latency_s, expected.latency_s), cost.latency_s, " ", expected.latency_s);
          CHECK_MESSAGE(agree(cost.energy_j, expected.energy_j), cost.energy_j, " ", expected.energy_j);
          CHECK_MESSAGE(agree(cost.cost_usd, expected.cost_usd), cost.cost_usd, " ", expected.cost_usd);
          if (cost.latency_s < least_s) {
            least_s = cost.latency_s;
            fastest = k;
          }
          ++partitions;
          // That the cases are hard enough: count what makes a prefix differ from a chain's.
          if (plan.pieces.size() == 2) {
            const std::vector<PlanEdge> edges = plan_edges(s.graph, s.wire, plan);
            if (edges.size() == 4) ++input_read_late;
            const LayerId last = plan.pieces[0].layers.back();
            for (const PlanEdge& e : edges) {
              if (e.from == 0 && e.to == 1 && e.bytes != tensor_bytes(s.graph, s.wire, last))
                ++several_tensors;
            }
          }
        }
        CHECK(fastest_cut(costs) == fastest);
      }
    }
  }
  CHECK(partitions > 5000);
  CHECK(several_tensors > 500);
  CHECK(input_read_late > 500);
}
