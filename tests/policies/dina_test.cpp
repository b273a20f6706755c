#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <limits>
#include <set>

#include "tests/policies/random_scene.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

// A device and fog nodes of so many Mflop/s, each with a link of 1 GB/s and 1 us of its own.
Scene device_and_fogs(const std::vector<double>& fog_mflop_per_s, const LayerGraph& graph) {
  std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">
      <host id="device" speed="1Mf"><prop id="tier" value="device"/></host>)";
  for (std::size_t f = 0; f < fog_mflop_per_s.size(); ++f) {
    xml += fmt::format(R"(<host id="fog_{}" speed="{}Mf"><prop id="tier" value="edge"/></host>)", f,
                       fog_mflop_per_s[f]);
    xml += fmt::format(R"(<link id="l{}" bandwidth="1GBps" latency="1us"/>)", f);
  }
  for (std::size_t f = 0; f < fog_mflop_per_s.size(); ++f) {
    xml += fmt::format(R"(<route src="device" dst="fog_{0}"><link_ctn id="l{0}"/></route>)", f);
    for (std::size_t g = f + 1; g < fog_mflop_per_s.size(); ++g) {
      xml += fmt::format(
          R"(<route src="fog_{0}" dst="fog_{1}"><link_ctn id="l{0}"/><link_ctn id="l{1}"/></route>)", f, g);
    }
  }
  return {Platform::parse(xml + "</zone></platform>", "fogs.xml"), graph};
}

// 64,000 outputs of a window of one: 3 flop each, 192 kflop; then their sums, 64 kflop.
LayerGraph wide() {
  return LayerGraph::parse(parse_json(R"({"schema": 1, "name": "wide", "source": "test", "precision": "fp32",
      "input": {"shape": [1, 8, 8]}, "layers": [
      {"name": "conv", "kind": "conv", "inputs": ["input"], "kernel": [1, 1], "output": [1000, 8, 8]},
      {"name": "sum", "kind": "reduce", "inputs": ["conv"], "output": [1000, 1, 1]}]})",
                                      "wide"),
                           "wide");
}

Region rows(int begin, int end) {
  return {{0, 1000}, {begin, end}, {0, 8}};
}

std::set<HostId> hosts_of(const Plan& plan, HostId source) {
  std::set<HostId> out;
  for (const Piece& piece : plan.pieces) out.insert(piece.host);
  out.erase(source);
  return out;
}

}  // namespace

TEST_CASE("dina: two equal hosts share the rows") {
  // 0.096 s each instead of 0.192 s, then 0.064 s. The device, which waits for no input, is done first: its
  // rows go to the fog node in 1 us and 128,000 B / 1 GB/s = 128 us, which takes the rest; 1 us for the
  // result. The other way round the fog node's input, 1.128 us, would come on top. Alone the device takes
  // 0.256 s.
  Scene s = device_and_fogs({1}, wide());
  s.wire.result_bytes = 0;
  const Plan plan = plan_of(s, "dina", {{"pieces", 1}});
  CHECK(plan.decision.at("cut") == 1);
  CHECK(plan.decision.at("tiles") == 2);
  CHECK(plan.decision.at("helpers") == 1);
  CHECK(plan.decision.at("swaps") == 0);
  // Utilities: one over 0.256 s of the device, and over those and 1 us + 256 B / 1 GB/s of the fog node.
  CHECK(plan.decision.at("delay_s") == doctest::Approx(1 / (1 / 0.256 + 1 / (0.256 + 1.256e-6))));
  REQUIRE(plan.pieces.size() == 3);
  CHECK(plan.pieces[0].host == s.host("device"));
  CHECK(plan.pieces[0].parts == Parts{{0, rows(0, 4)}});
  CHECK(plan.pieces[1].host == s.host("fog_0"));
  CHECK(plan.pieces[1].parts == Parts{{0, rows(4, 8)}});
  CHECK(plan.pieces[2].host == s.host("fog_0"));
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(0.16 + 129e-6 + 1e-6).epsilon(1e-9));
}

TEST_CASE("dina: shares follow the utilities") {
  // Speeds 1, 1 and 2 of a sum of 4: rows 2, 2 and 4, the fastest first; it also takes the rest.
  Scene s = device_and_fogs({1, 2}, wide());
  s.wire.result_bytes = 0;
  const Plan plan = plan_of(s, "dina", {{"pieces", 2}});
  REQUIRE(plan.pieces.size() == 4);
  CHECK(plan.pieces[0].host == s.host("fog_1"));
  CHECK(plan.pieces[0].parts.at(0) == rows(0, 4));
  CHECK(plan.pieces[1].parts.at(0) == rows(4, 6));
  CHECK(plan.pieces[2].parts.at(0) == rows(6, 8));
  CHECK(plan.pieces[3].host == s.host("fog_1"));
  CHECK(plan.decision.at("helpers") == 2);
  // A quota of one: with one piece the device and the better node.
  const Plan one = plan_of(s, "dina", {{"pieces", 1}, {"quota", 1}});
  CHECK(one.decision.at("helpers") == 1);
  CHECK(hosts_of(one, s.host("device")) == std::set<HostId>{s.host("fog_1")});
}

TEST_CASE("dina: not slower than the device or the fog node alone, on random graphs") {
  Random random(4);
  int tiled = 0;
  for (int i = 0; i < 120; ++i) {
    CAPTURE(i);
    // Hosts far apart, or fog nodes nearby.
    Scene s = i % 2 == 0 ? random_scene(random, i % 4 == 0)
                         : device_and_fogs({0.5 + 4 * random.uniform(), 0.5 + 4 * random.uniform()},
                                           LayerGraph::parse(random_graph(random, i % 4 == 1), "g"));
    const Problem problem = s.problem();
    const Plan plan = plan_of(s, "dina");
    const double latency_s = estimate(problem, plan).latency_s;
    CHECK(latency_s <= estimate(problem, plan_of(s, "device_only")).latency_s * (1 + 1e-9));
    CHECK(latency_s <= estimate(problem, plan_of(s, "edge_only")).latency_s * (1 + 1e-9));
    tiled += plan.decision.at("tiles") > 1;
  }
  MESSAGE(tiled << " of 120 in tiles");
  CHECK(tiled > 20);
}

TEST_CASE("dina: users share the fog nodes, each knows all of it") {
  Scene s = scene("platforms/dina.xml", "workloads/vgg16.json");
  s.model = LatencyModel::roofline(kRoot + "/platforms/hardware.json");
  const std::vector<HostId> users{s.host("user_0"), s.host("user_1"), s.host("user_2")};
  std::set<HostId> taken;
  double longest_s = 0;
  for (const HostId user : users) {
    Problem problem = s.problem();
    problem.source = user;
    problem.sources = users;
    const auto start = std::chrono::steady_clock::now();
    const Plan plan = policy_of("dina", {{"pieces", 2}, {"quota", 1}})->plan(problem);
    longest_s =
        std::max(longest_s, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    check_plan(s.graph, s.platform, user, s.wire, plan, "dina");
    CHECK(plan.decision.at("helpers") == 2);
    CHECK(plan.decision.at("tiles") >= 2);
    for (const HostId host : hosts_of(plan, user)) CHECK(taken.insert(host).second);  // nobody else's
  }
  MESSAGE("VGG16, three users, six fog nodes: planned in " << 1000 * longest_s << " ms at most");
}

TEST_CASE("dina: how far its matching is from the best") {
  // Two users with two pieces each, three fog nodes that take two: all 4^4 matchings within the quotas, by
  // the delays of the manual page.
  Random random(11);
  constexpr int kInstances = 200;
  double sum = 0, worst = 0;
  int best = 0;
  for (int i = 0; i < kInstances; ++i) {
    CAPTURE(i);
    std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">)", links;
    for (int u = 0; u < 2; ++u)
      xml += fmt::format(R"(<host id="user_{}" speed="{}Mf"><prop id="tier" value="device"/></host>)", u,
                         1 + 3 * random.uniform());
    for (int f = 0; f < 3; ++f) {
      xml += fmt::format(R"(<host id="fog_{}" speed="{}Mf"><prop id="tier" value="edge"/></host>)", f,
                         1 + 9 * random.uniform());
      for (int u = 0; u < 2; ++u) {
        xml +=
            fmt::format(R"(<link id="l{}{}" bandwidth="{}kBps" latency="1ms"/>)", u, f, 1 + random.below(50));
        links += fmt::format(R"(<route src="user_{0}" dst="fog_{1}"><link_ctn id="l{0}{1}"/></route>)", u, f);
      }
      for (int g = 0; g < f; ++g)
        links += fmt::format(
            R"(<route src="fog_{0}" dst="fog_{1}"><link_ctn id="l0{0}"/><link_ctn id="l0{1}"/></route>)", g,
            f);
    }
    Scene s{Platform::parse(xml + links + "</zone></platform>", "fogs.xml"), wide()};
    s.source = "user_0";
    s.wire.result_bytes = 0;
    const std::vector<HostId> users{s.host("user_0"), s.host("user_1")};
    Problem problem = s.problem();
    problem.sources = users;
    const auto alone_s = [&](HostId host) { return problem.compute_s(std::vector<LayerId>{0, 1}, host); };
    double least_s = std::numeric_limits<double>::infinity();
    for (int code = 0; code < 256; ++code) {
      std::array<int, 4> place{}, load{};  // place 3: none
      for (int piece = 0; piece < 4; ++piece)
        ++load[static_cast<std::size_t>(place[static_cast<std::size_t>(piece)] = code >> 2 * piece & 3)];
      if (std::max({load[0], load[1], load[2]}) > 2) continue;
      double total_s = 0;
      for (std::size_t u = 0; u < 2; ++u) {
        double utility = 1 / alone_s(users[u]);
        for (std::size_t piece = 2 * u; piece < 2 * u + 2; ++piece) {
          if (place[piece] == 3) continue;
          const HostId fog = s.host(fmt::format("fog_{}", place[piece]));
          utility += 1 / (load[static_cast<std::size_t>(place[piece])] * alone_s(fog) +
                          problem.transfer_s(256, users[u], fog));
        }
        total_s += 1 / utility;
      }
      least_s = std::min(least_s, total_s);
    }
    const double found_s =
        policy_of("dina", {{"pieces", 2}, {"quota", 2}})->plan(problem).decision.at("delay_s");
    CHECK(found_s >= least_s * (1 - 1e-9));
    const double gap = found_s / least_s - 1;
    sum += gap;
    worst = std::max(worst, gap);
    best += gap < 1e-9;
  }
  MESSAGE("total delay above the best matching's: mean ", 100 * sum / kInstances, " %, at most ", 100 * worst,
          " %, the best in ", best, " of ", kInstances);
  CHECK(sum / kInstances < 0.1);
}

TEST_CASE("dina: decides anew when a bandwidth changes") {
  Scene s = device_and_fogs({1}, wide());
  s.wire.result_bytes = 0;
  const auto policy = policy_of("dina");
  policy->plan(s.problem());
  CHECK(!policy->replan(s.problem(), Observation()));
  // At 1 kB/s nothing is worth sending.
  s.bandwidth_bytes_per_s = {1000};
  const auto plan = policy->replan(s.problem(), Observation());
  REQUIRE(plan);
  CHECK(hosts_of(*plan, s.host("device")).empty());
  CHECK(!policy->replan(s.problem(), Observation()));
}

TEST_CASE("dina: the matchings of the baselines") {
  Scene s = device_and_fogs({1, 2}, wide());
  for (const char* matching : {"deferred", "greedy", "random"}) {
    CAPTURE(matching);
    const Plan plan = plan_of(s, "dina", {{"matching", matching}});
    CHECK(plan == plan_of(s, "dina", {{"matching", matching}}));
    CHECK(plan.decision.at("swaps") == 0);
    CHECK(plan.decision.at("helpers") >= 1);
  }
}

TEST_CASE("dina: what it refuses") {
  Scene s = device_and_fogs({1}, wide());
  CHECK(input_error([&] { policy_of("dina", {{"pieces", 0}}); }) == "p.json: /pieces: 0: valid: 1 to 100");
  CHECK(input_error([&] {
          policy_of("dina", {{"quota", -1}});
        }) == "p.json: /quota: -1: valid: 0 (an equal share), 1, ...");
  s.platform = Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
      <host id="device" speed="1Mf"><prop id="tier" value="device"/></host></zone></platform>)",
                               "alone.xml");
  s.bandwidth_bytes_per_s.clear();
  CHECK(input_error([&] { plan_of(s, "dina"); }).starts_with("alone.xml"));
}

TEST_CASE("dina: results.json shows the parts of each piece") {
  Json experiment = parse_json(slurp(kSources / "experiments" / "dina.json"), "dina.json");
  experiment.erase("sweeps");
  experiment.erase("published");
  experiment["model"] = "vgg16";
  experiment["requests"] = 3;
  experiment["policies"] = {{{"name", "dina"}}};
  const TempFolder folder;
  folder.write("e.json", experiment.dump());
  const Finished done = run_cdisim({(folder / "e.json").string(), "--json"});
  REQUIRE(done.code == 0);
  const Json pieces = parse_json(done.out, "stdout")["runs"][0]["plan"]["pieces"];
  REQUIRE(pieces.size() == 3);
  // Two tiles of pool4 together have its 14 rows; the rest has whole layers.
  const Json first = pieces[0]["parts"]["pool4"], second = pieces[1]["parts"]["pool4"];
  CHECK(first[0] == Json{0, 512});
  CHECK(first[1][0] == 0);
  CHECK(first[1][1] == second[1][0]);
  CHECK(second[1][1] == 14);
  CHECK(second[2] == Json{0, 14});
  CHECK(!pieces[2].contains("parts"));
}
