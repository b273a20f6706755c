#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "sim/random.h"
#include "sim/sweep.h"
#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

LayerGraph graph_of(const Shape& input, const std::string& layers) {
  return LayerGraph::parse({{"schema", 1},
                            {"name", "g"},
                            {"source", "test"},
                            {"precision", "fp32"},
                            {"input", {{"shape", input}}},
                            {"layers", parse_json("[" + layers + "]", "l")}},
                           "g.json");
}

std::string conv(const std::string& name, const std::string& of, int channels, int edge) {
  return fmt::format(
      R"({{"name": "{}", "kind": "conv", "inputs": ["{}"], "kernel": [3, 3], "padding": [1, 1, 1, 1],
          "output": [{}, {}, {}]}})",
      name, of, channels, edge, edge);
}

// Devices of these speeds and a gateway, which all hear each other.
Platform devices(const std::vector<double>& speeds, const std::string& bandwidth = "8Mbps") {
  std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">)";
  std::vector<std::string> names;
  for (const double speed : speeds) {
    names.push_back(fmt::format("device_{}", names.size()));
    xml += fmt::format(R"(<host id="{}" speed="{}f"><prop id="tier" value="device"/></host>)", names.back(),
                       speed);
  }
  names.emplace_back("gateway");
  xml += R"(<host id="gateway" speed="1Gf"><prop id="tier" value="edge"/></host>)";
  xml += fmt::format(R"(<link id="wifi" bandwidth="{}" latency="10ms"/>)", bandwidth);
  for (std::size_t a = 0; a < names.size(); ++a) {
    for (std::size_t b = a + 1; b < names.size(); ++b) {
      xml += fmt::format(R"(<route src="{}" dst="{}"><link_ctn id="wifi"/></route>)", names[a], names[b]);
    }
  }
  return Platform::parse(xml + "</zone></platform>", "devices.xml");
}

Scene scene_of(Platform platform, LayerGraph graph) {
  Scene s{std::move(platform), std::move(graph)};
  s.source = "device_0";
  return s;
}

// A convolution of 8 rows, a pool of 4 and 10 neurons; the third device is as fast as the others together.
Scene small() {
  return scene_of(devices({1e9, 1e9, 2e9}),
                  graph_of({1, 8, 8}, conv("conv1", "input", 2, 8) +
                                          R"(, {"name": "relu1", "kind": "relu", "inputs": ["conv1"]},
      {"name": "pool1", "kind": "max_pool", "inputs": ["relu1"], "kernel": [2, 2], "stride": [2, 2]},
      {"name": "fc1", "kind": "fc", "inputs": ["pool1"], "output": [10]})"));
}

// The first and last index of `dimension` of the parts of a layer, by piece.
std::vector<Range> ranges(const Plan& plan, LayerId layer, std::size_t dimension) {
  std::vector<Range> out;
  for (const Piece& piece : plan.pieces) {
    if (!piece.layers.empty() && piece.parts.contains(layer)) out.push_back(piece.parts.at(layer)[dimension]);
  }
  return out;
}

}  // namespace

TEST_CASE("modnn: strips and neurons by speed, gathered after each layer") {
  Scene s = small();
  const Plan plan = plan_of(s, "modnn");
  // Shares 1 : 1 : 2. 10 neurons end at 2.5, 5 and 10.
  CHECK(ranges(plan, 0, 1) == std::vector<Range>{{0, 2}, {2, 4}, {4, 8}});
  CHECK(ranges(plan, 1, 1) == ranges(plan, 0, 1));
  CHECK(ranges(plan, 2, 1) == std::vector<Range>{{0, 1}, {1, 2}, {2, 4}});
  CHECK(ranges(plan, 3, 0) == std::vector<Range>{{0, 3}, {3, 5}, {5, 10}});
  REQUIRE(plan.pieces.size() == 12);
  for (const std::size_t gather : {3U, 7U, 11U}) {
    CHECK(plan.pieces[gather].layers.empty());
    CHECK(plan.pieces[gather].host == s.host("device_0"));
  }
  CHECK(plan.pieces[3].relays == std::vector<LayerId>{1});
  CHECK(plan.decision.at("workers") == 3);
  CHECK(plan.decision.at("layers") == 3);
  // Of the input the second device reads rows 1 to 4, the third 3 to 7: 4 and 5 of 32 byte. They return 2 and
  // 4 rows of 64 byte and get as many for the pool, return 1 and 2 of 32, get all 128 byte for the neurons
  // and return 2 and 5 numbers of 4 byte.
  CHECK(plan.decision.at("moved_bytes") == 288 + 2 * 384 + 96 + 256 + 28);
  // Equal devices get equal shares, whatever their speed; 10 neurons end at 3.33, 6.67 and 10.
  const Plan equal = plan_of(s, "modnn", {{"shares", "equal"}});
  CHECK(ranges(equal, 3, 0) == std::vector<Range>{{0, 3}, {3, 7}, {7, 10}});
}

TEST_CASE("modnn: the date of a layer's result") {
  // 64 outputs of 19 flop at 1216 flop/s: half a second for each half. At 1000 byte/s the other device gets
  // rows 3 to 7, 160 byte, at 0.17; computes until 0.67, returns 128 byte until 0.808.
  Scene s = scene_of(devices({1216, 1216}, "8kbps"), graph_of({1, 8, 8}, conv("conv1", "input", 1, 8)));
  const Plan plan = plan_of(s, "modnn");
  RunSpec spec = spec_of(s);
  spec.requests = 1;
  const Json end_s = run_in_child([&] { return Json(simulate_plan(spec, plan).requests.at(0).end_s); });
  CHECK(end_s.get<double>() == doctest::Approx(0.808).epsilon(1e-9));
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(0.808).epsilon(1e-9));
}

TEST_CASE("modnn: halos between neighbours, or by way of the owner") {
  Scene s = small();
  const Plan halo = plan_of(s, "modnn", {{"exchange", "halo"}});
  // As above for the input; the pool's rows lie where they are read. For the neurons the devices lack 32 +
  // 64, 32 + 64 and 32 + 32 byte; two return 8 and 20.
  CHECK(halo.pieces.size() == 9);
  CHECK(halo.decision.at("moved_bytes") == 288 + 96 + 96 + 64 + 28);

  // Two convolutions on two devices: the input to the gateway, 256 byte, from there 5 of 8 rows to each; each
  // lacks one row of 32 byte, which goes to the gateway and from there; the output to the gateway and back.
  Scene two = scene_of(devices({1e9, 1e9}), graph_of({1, 8, 8}, conv("conv1", "input", 1, 8) + ", " +
                                                                    conv("conv2", "conv1", 1, 8)));
  const Json by_gateway{{"exchange", "halo_by_owner"}, {"owner", "gateway"}, {"owner_works", "no"}};
  const Plan plan = plan_of(two, "modnn", by_gateway);
  CHECK(plan.decision.at("moved_bytes") == 256 + 320 + 2 * 64 + 2 * 256);
  REQUIRE(plan.pieces.size() == 8);
  CHECK(plan.pieces[0].relays == std::vector<LayerId>{kInput});
  CHECK(plan.pieces[3].parts.at(0) == Region{{0, 1}, {4, 5}, {0, 8}});
  CHECK(plan.pieces[4].parts.at(0) == Region{{0, 1}, {3, 4}, {0, 8}});
  CHECK(plan.pieces[7].relays == std::vector<LayerId>{1});
  // With the neurons behind it, the pool's output goes to the gateway whole: 256 + 12 rows of the input,
  // 128 + 3 * 128, and 2 * 40 for the result.
  CHECK(plan_of(s, "modnn", by_gateway).decision.at("moved_bytes") == 256 + 384 + 512 + 80);
}

TEST_CASE("modnn: the data that DeepThings' baseline communicates with one and two devices") {
  // Fig. 12 there, read in the vector drawing: 9.87 and 10.92 MiB (+-0.05), by way of the gateway, which
  // keeps the output (the result's 38 x 38 x 256 numbers do not return).
  Scene s = scene_of(devices({1e9, 1e9}), LayerGraph::load(kRoot + "/workloads/yolov2_first16.json"));
  s.wire.result_bytes = 0;
  for (const auto& [workers, mebibytes] : {std::pair{1, 9.87}, {2, 10.92}}) {
    const Plan plan = plan_of(
        s, "modnn",
        {{"exchange", "halo_by_owner"}, {"owner", "gateway"}, {"owner_works", "no"}, {"workers", workers}});
    CHECK(plan.decision.at("layers") == 16);
    CHECK(std::abs(plan.decision.at("moved_bytes") / 1048576 - mebibytes) < 0.05);
  }
}

TEST_CASE("modnn: the cells of a grid") {
  Scene s = scene_of(devices({1e9, 1e9, 1e9, 3e9}), small().graph);
  const Plan plan = plan_of(s, "modnn", {{"partition", "grid"}});
  // Rows 2 : 4, columns 1 : 1 and 1 : 3, of 8 x 8.
  CHECK(ranges(plan, 0, 1) == std::vector<Range>{{0, 3}, {0, 3}, {3, 8}, {3, 8}});
  CHECK(ranges(plan, 0, 2) == std::vector<Range>{{0, 4}, {4, 8}, {0, 2}, {2, 8}});
  CHECK(ranges(plan, 3, 0).size() == 4);
  // Three workers make one row of cells, and a wide image is cut into columns either way.
  CHECK(ranges(plan_of(s, "modnn", {{"partition", "grid"}, {"workers", 3}}), 0, 2) ==
        std::vector<Range>{{0, 3}, {3, 5}, {5, 8}});
  Scene wide = scene_of(
      devices({1e9, 1e9}),
      graph_of({1, 2, 8}, R"({"name": "p", "kind": "max_pool", "inputs": ["input"], "kernel": [1, 1]})"));
  CHECK(ranges(plan_of(wide, "modnn"), 0, 2) == std::vector<Range>{{0, 4}, {4, 8}});
}

TEST_CASE("modnn: what one host computes alone") {
  Scene s = small();
  // Only the convolution is divided: the owner does the rest in one piece.
  const Plan one = plan_of(s, "modnn", {{"layers", 1}});
  REQUIRE(one.pieces.size() == 5);
  CHECK(one.pieces[4].layers == std::vector<LayerId>{2, 3});
  CHECK(one.pieces[4].host == s.host("device_0"));
  // One worker: nothing is divided, nor does anything go to and fro.
  CHECK(plan_of(s, "modnn", {{"workers", 1}}).pieces.size() == 1);
  const Plan beside = plan_of(s, "modnn", {{"workers", 1}, {"owner_works", "no"}});
  REQUIRE(beside.pieces.size() == 1);
  CHECK(beside.pieces[0].host == s.host("device_1"));
  // The source is the first to work for another owner.
  const Plan gateway = plan_of(s, "modnn", {{"workers", 1}, {"owner_works", "no"}, {"owner", "gateway"}});
  REQUIRE(gateway.pieces.size() == 3);
  CHECK(gateway.pieces[1].host == s.host("device_0"));
  CHECK(gateway.pieces[2].host == s.host("gateway"));
}

TEST_CASE("modnn: layers that read sensors stay there") {
  Scene s = scene("platforms/ddnn.xml", "workloads/ddnn_max.json");
  s.source = "camera_1";
  add_cameras(s);
  const Plan plan = plan_of(s, "modnn", {{"owner", "aggregator"}, {"owner_works", "no"}});
  CHECK(plan.decision.at("layers") > 0);
  for (const Piece& piece : plan.pieces) {
    for (const LayerId id : piece.layers) {
      const auto sensor = s.wire.sensors.find(id);
      if (sensor != s.wire.sensors.end()) CHECK(piece.host == sensor->second);
    }
    // Nobody needs the input but by the sensors.
    CHECK(std::ranges::count(piece.relays, kInput) == 0);
  }
}

namespace {

// The mean and largest excess of the plan's latency over that of the best cut of one layer into strips, by
// the closed form, on 100 random sets of devices of up to ten times this speed.
std::pair<double, double> excess(double speed_flop_per_s) {
  Random random(3);
  double sum = 0, worst = 0;
  for (int round = 0; round < 100; ++round) {
    const int rows = 6 + random.below(10), n = 2 + random.below(2);
    std::vector<double> speeds;
    for (int i = 0; i < n; ++i) speeds.push_back(speed_flop_per_s * (1 + 9 * random.uniform()));
    Scene s = scene_of(devices(speeds), graph_of({2, rows, rows}, conv("conv1", "input", 4, rows)));
    const Problem problem = s.problem();
    const double chosen = estimate(problem, plan_of(s, "modnn")).latency_s;
    double best = std::numeric_limits<double>::infinity();
    for (int a = 0; a <= rows; ++a) {
      for (int b = n == 2 ? rows : a; b <= rows; ++b) {
        Plan other;
        const std::vector<Range> cuts{{0, a}, {a, b}, {b, rows}};
        for (int i = 0; i < n; ++i) {
          const Range cut = cuts[static_cast<std::size_t>(i)];
          if (cut.size() > 0) other.pieces.push_back({{0}, i, {{0, slab({4, rows, rows}, 1, cut)}}});
        }
        other.pieces.push_back({{}, 0});
        other.pieces.back().relays = {0};
        best = std::min(best, estimate(problem, other).latency_s);
      }
    }
    CHECK(best <= chosen * (1 + 1e-9));
    // Rounding gives a device up to a row more than its share, with which all would end together. Before it
    // computes, and after, nothing travels for longer than all of the input, or of the output.
    const double flop = s.graph.layer(0).work_flop,
                 shared_s = flop / std::accumulate(speeds.begin(), speeds.end(), 0.0),
                 row_s = flop / rows / std::ranges::min(speeds),
                 messages_s = 2 * 0.01 + (s.graph.input_bytes() + s.graph.layer(0).output_bytes) / 1e6;
    CHECK(chosen <= shared_s + row_s + messages_s);
    CHECK(best >= shared_s * (1 - 1e-9));
    sum += chosen / best - 1;
    worst = std::max(worst, chosen / best - 1);
  }
  return {sum / 100, worst};
}

}  // namespace

TEST_CASE("modnn: shares by speed against the best cut of one layer") {
  // Slow devices compute for seconds; fast ones for as long as messages travel, which the shares leave out.
  const auto [slow_mean, slow_worst] = excess(1e3);
  const auto [fast_mean, fast_worst] = excess(1e5);
  MESSAGE("modnn: above the best cut of a layer by ", 100 * slow_mean, " % in the mean (", 100 * slow_worst,
          " % at most), by ", 100 * fast_mean, " % (", 100 * fast_worst, " %) where messages take as long");
  CHECK(slow_mean < 0.1);
  CHECK(slow_mean < fast_mean);
}

TEST_CASE("modnn: mistakes are refused") {
  Scene s = small();
  CHECK(input_error([&] {
          plan_of(s, "modnn", {{"workers", 4}});
        }) == "devices.xml: modnn: 3 devices can work for the group owner \"device_0\", not 4");
  CHECK(input_error([&] {
          plan_of(s, "modnn", {{"owner", "nobody"}});
        }).find("gateway") != std::string::npos);
  CHECK(input_error([&] { policy_of("modnn", {{"workers", -1}}); }).find("/workers") != std::string::npos);
  CHECK(input_error([&] { policy_of("modnn", {{"layers", -1}}); }).find("/layers") != std::string::npos);
  // A device that nobody else hears works alone, unless the owner does not.
  Scene alone = scene("tests/fixtures/pencil.xml", "tests/fixtures/chain3.json");
  CHECK(plan_of(alone, "modnn").pieces.size() == 1);
  CHECK(input_error([&] {
          plan_of(alone, "modnn", {{"owner_works", "no"}});
        }).find("0 devices") != std::string::npos);
}
