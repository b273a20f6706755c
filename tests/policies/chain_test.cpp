// estimate() against pencil and paper; chain_costs() against estimate() of every partition of random graphs.

#include "policies/shared/chain.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "sim/random.h"
#include "tests/policies/scene.h"

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

// Convolutions, joins and element-wise layers over random earlier tensors; an early exit on a random one.
Json random_graph(Random& random, bool chain) {
  const int n = 1 + random.below(12);
  std::vector<std::string> names{"input"};
  std::vector<int> channels{1 + random.below(4)};
  std::vector<int> readers{0};
  Json layers = Json::array();
  const auto add = [&](Json layer, const std::vector<int>& inputs, int out_channels) {
    layer["name"] = fmt::format("l{}", names.size());
    layer["inputs"] = Json::array();
    for (const int input : inputs) {
      layer["inputs"].push_back(names[static_cast<std::size_t>(input)]);
      ++readers[static_cast<std::size_t>(input)];
    }
    layers.push_back(layer);
    names.push_back(layer["name"]);
    channels.push_back(out_channels);
    readers.push_back(0);
  };
  for (int i = 0; i < n; ++i) {
    const int last = static_cast<int>(names.size()) - 1;
    const int a = chain ? last : random.below(last + 1), b = chain ? last : random.below(last + 1);
    const int in = channels[static_cast<std::size_t>(a)];
    switch (random.below(a == b ? 3 : 4)) {
      case 0: {
        const int out = 1 + random.below(6);
        add({{"kind", "conv"}, {"kernel", {3, 3}}, {"padding", {1, 1, 1, 1}}, {"output", {out, 4, 4}}}, {a},
            out);
        break;
      }
      case 1:
        add({{"kind", "relu"}}, {a}, in);
        break;
      case 2:
        add({{"kind", "max_pool"}, {"kernel", {3, 3}}, {"padding", {1, 1, 1, 1}}}, {a}, in);
        break;
      default:
        add({{"kind", "concat"}}, {a, b}, in + channels[static_cast<std::size_t>(b)]);
    }
  }
  // What nobody reads is gathered; the heads are exits.
  std::vector<int> loose;
  int gathered = 0;
  for (std::size_t i = 1; i < names.size(); ++i) {
    if (readers[i] > 0) continue;
    loose.push_back(static_cast<int>(i));
    gathered += channels[i];
  }
  const int early = random.below(static_cast<int>(names.size()));
  if (loose.size() > 1) add({{"kind", "concat"}}, loose, gathered);
  const int top = loose.size() > 1 ? static_cast<int>(names.size()) - 1 : loose.front();
  add({{"kind", "fc"}, {"output", {10}}}, {early}, 0);
  add({{"kind", "fc"}, {"output", {10}}}, {top}, 0);
  const std::string early_exit = names[names.size() - 2], full_exit = names.back();
  return {{"schema", 1},
          {"name", "random"},
          {"source", "test"},
          {"precision", random.below(2) == 0 ? "fp32" : "int8"},
          {"input", {{"shape", {channels[0], 4, 4}}}},
          {"layers", layers},
          {"exits", {{{"name", "early"}, {"layer", early_exit}}, {{"name", "full"}, {"layer", full_exit}}}}};
}

std::string random_platform(Random& random) {
  std::string out = R"(<platform version="4.1"><zone id="z" routing="Full">)";
  for (const char* name : {"device", "edge", "cloud"}) {
    const double speed = 1e6 * (1 + 999 * random.uniform());
    out += fmt::format(R"(<host id="{}" speed="{}f,{}f" pstate="{}" core="{}"><prop id="tier" value="{}"/>)",
                       name, speed, speed * (0.2 + random.uniform()), random.below(2), 1 + random.below(4),
                       name);
    if (random.below(4) > 0) out += fmt::format(R"(<prop id="device_type" value="t{}"/>)", random.below(3));
    out += fmt::format(R"(<prop id="wattage_per_state" value="1:1.5:{0},1:1.2:{0}"/>)",
                       2 + 8 * random.uniform());
    out += fmt::format(
        R"(<prop id="wattage_radio" value="{}:{}:{}"/><prop id="joule_per_byte_radio" value="{}:{}"/></host>)",
        random.uniform(), 1 + random.uniform(), 1 + random.uniform(), 1e-5 * random.uniform(),
        1e-5 * random.uniform());
  }
  for (const char* name : {"de", "ed", "dc", "cd", "ec", "ce"}) {
    out += fmt::format(R"(<link id="{}" bandwidth="{}Bps" latency="{}s"/>)", name,
                       1e3 * (1 + 999 * random.uniform()), 1e-4 + 0.05 * random.uniform());
  }
  const auto route = [&](const char* from, const char* to, const char* links) {
    out += fmt::format(R"(<route src="{}" dst="{}" symmetrical="NO">{}</route>)", from, to, links);
  };
  route("device", "edge", R"(<link_ctn id="de"/>)");
  route("edge", "device", R"(<link_ctn id="ed"/>)");
  route("device", "cloud", R"(<link_ctn id="de"/><link_ctn id="dc"/>)");
  route("cloud", "device", R"(<link_ctn id="cd"/><link_ctn id="ed"/>)");
  route("edge", "cloud", R"(<link_ctn id="ec"/>)");
  route("cloud", "edge", R"(<link_ctn id="ce"/>)");
  return out + "</zone></platform>";
}

// One device type of each kind; two of them pay before their first layer.
Json random_model(Random& random) {
  const auto terms = [&] {
    Json out;
    for (const char* kind : {"conv", "relu", "max_pool", "concat", "fc"}) {
      out[kind] = {{"constant", random.uniform()},
                   {"input_elements", 0.01 * random.uniform()},
                   {"filter_elements", 0.01}};
    }
    return out;
  };
  const Json run = {{"constant", 1000 * random.uniform()}, {"per_weight_byte", 0.01 * random.uniform()}};
  const auto sourced = [](double value) { return Json{{"value", value}, {"source", "test"}}; };
  return {{"schema", 1},
          {"name", "random"},
          {"devices",
           {{"t0",
             {{"kind", "regression"}, {"source", "test"}, {"unit", "ms"}, {"run", run}, {"terms", terms()}}},
            {"t1",
             {{"kind", "profile"},
              {"source", "test"},
              {"unit", "ms"},
              {"run", run},
              {"layers", {{"l1", 7.5}, {"l3", 0}}},
              {"otherwise", {{"unit", "us"}, {"terms", terms()}}}}},
            {"t2",
             {{"kind", "roofline"},
              {"source", "test"},
              {"efficiency", {{"other", sourced(0.1 + 0.9 * random.uniform())}}},
              {"memory_bandwidth_bytes_per_s", sourced(1e7)},
              {"layer_overhead_s", sourced(1e-3 * random.uniform())}}}}}};
}

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
    Scene s{Platform::parse(random_platform(random), "p.xml"),
            LayerGraph::parse(random_graph(random, i % 3 == 0), "g"),
            LatencyModel::parse(random_model(random), "l")};
    if (random.below(2) == 0) s.wire.input_bytes = 5000 * random.uniform();
    if (random.below(2) == 0) s.wire.bytes_per_element = 8 * random.uniform();
    if (random.below(2) == 0) s.wire.result_bytes = random.below(100);
    s.problem();
    for (double& bandwidth : s.bandwidth_bytes_per_s) bandwidth *= 0.5 + random.uniform();

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
