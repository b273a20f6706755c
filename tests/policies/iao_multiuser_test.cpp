#include <doctest/doctest.h>

#include <cmath>

#include "tests/policies/random_scene.h"

using namespace cdisim;

namespace {

// Devices a, b, ... of these speeds, each with a link of its own of 1 MB/s and 10 ms, and a server of
// 10 Gflop/s.
Scene users_scene(const std::vector<double>& speeds,
                  const std::string& graph = "tests/fixtures/chain3.json") {
  std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">
    <host id="server" speed="10Gf"><prop id="tier" value="edge"/></host>)";
  std::string routes;
  for (std::size_t i = 0; i < speeds.size(); ++i) {
    const char name = static_cast<char>('a' + i);
    xml +=
        fmt::format(R"(<host id="{}" speed="{}f"><prop id="tier" value="device"/></host>)", name, speeds[i]);
    routes += fmt::format(R"(<route src="{0}" dst="server"><link_ctn id="net_{0}"/></route>)", name);
  }
  for (std::size_t i = 0; i < speeds.size(); ++i)
    xml += fmt::format(R"(<link id="net_{}" bandwidth="1MBps" latency="10ms"/>)", static_cast<char>('a' + i));
  Scene s{Platform::parse(xml + routes + "</zone></platform>", "p.xml"),
          LayerGraph::load(kRoot + "/" + graph)};
  s.source = "a";
  return s;
}

std::vector<HostId> devices(const Scene& s) {
  std::vector<HostId> out;
  for (HostId id = 0; id < s.platform.host_count(); ++id) {
    if (s.platform.host(id).tier == Tier::kDevice) out.push_back(id);
  }
  return out;
}

// The plans of all sources, checked, and that they are one solution.
std::vector<Plan> plans_of(Scene& s, const Json& parameters) {
  const std::vector<HostId> sources = devices(s);
  std::vector<Plan> out;
  double shares = 0;
  for (const HostId source : sources) {
    Problem problem = s.problem();
    problem.source = source;
    problem.sources = sources;
    out.push_back(policy_of("iao_multiuser", parameters)->plan(problem));
    check_plan(s.graph, s.platform, source, s.wire, out.back(), "iao_multiuser");
    for (const Piece& piece : out.back().pieces) shares += piece.share.value_or(0);
    CHECK(out.back().decision.at("largest_latency_s") == out.front().decision.at("largest_latency_s"));
  }
  CHECK(shares <= s.platform.host(s.host("server")).cores + 1e-9);
  return out;
}

double latency_s(Scene& s, HostId source, const Plan& plan) {
  Problem problem = s.problem();
  problem.source = source;
  return estimate(problem, plan).latency_s;
}

double largest_s(Scene& s, const std::vector<Plan>& plans) {
  double out = 0;
  const std::vector<HostId> sources = devices(s);
  for (std::size_t i = 0; i < plans.size(); ++i) out = std::max(out, latency_s(s, sources[i], plans[i]));
  return out;
}

// (n_sources) of (units + 1): the least latency of every source with so many units, by trying all cuts.
std::vector<std::vector<double>> tables(Scene& s, int units) {
  std::vector<std::vector<double>> out;
  const HostId server = s.host("server");
  const int exit = static_cast<int>(s.graph.exits().size()) - 1;
  const int n = static_cast<int>(s.graph.exit_layers(exit).size()), cores = s.platform.host(server).cores;
  for (const HostId source : devices(s)) {
    out.emplace_back();
    for (int f = 0; f <= units; ++f) {
      double least = latency_s(s, source, chain_plan(s.graph, exit, n, source, server));
      for (int k = 0; k < n && f > 0; ++k) {
        Plan plan = chain_plan(s.graph, exit, k, source, server);
        for (Piece& piece : plan.pieces) {
          if (piece.host == server) piece.share = std::min(1.0, static_cast<double>(f) * cores / units);
        }
        least = std::min(least, latency_s(s, source, plan));
      }
      out.back().push_back(least);
    }
  }
  return out;
}

double best_of_all(const std::vector<std::vector<double>>& tables, std::size_t from, int units) {
  if (from == tables.size()) return 0;
  double best = std::numeric_limits<double>::infinity();
  for (int f = 0; f <= units; ++f)
    best = std::min(
        best, std::max(tables[from][static_cast<std::size_t>(f)], best_of_all(tables, from + 1, units - f)));
  return best;
}

// The least T for which the fewest units that keep everybody within T are there, by bisection.
double bisected(const std::vector<std::vector<double>>& tables, int units) {
  const auto enough = [&](double limit) {
    int needed = 0;
    for (const std::vector<double>& table : tables) {
      const auto f = std::ranges::find_if(table, [&](double s) { return s <= limit; });
      if (f == table.end()) return false;
      needed += static_cast<int>(f - table.begin());
    }
    return needed <= units;
  };
  double low = 0, high = 0;
  for (const std::vector<double>& table : tables) high = std::max(high, table.front());
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (enough(middle) ? high : low) = middle;
  }
  return high;
}

Scene random_users(Random& random) {
  std::vector<double> speeds;
  const int n = 2 + random.below(3);
  for (int i = 0; i < n; ++i) speeds.push_back(std::pow(10, 4 + 2 * random.uniform()));
  Scene s = users_scene(speeds);
  s.graph = LayerGraph::parse(random_graph(random, random.below(4) > 0), "g");
  Host& server = s.platform.edit_host(s.host("server"));
  server.power_states[0].speed_flop_per_s = std::pow(10, 5 + 2 * random.uniform());
  server.cores = 1 + random.below(2);
  s.problem();
  for (double& bandwidth : s.bandwidth_bytes_per_s) bandwidth = std::pow(10, 4 + 2 * random.uniform());
  return s;
}

Observation bandwidth_seen() {
  return {Observation::Kind::kBandwidth, 1, {}, {}, {}};
}

}  // namespace

TEST_CASE("iao_multiuser: with pencil and paper") {
  // chain3, 2.5 Mflop: devices of 10 and 20 Mflop/s take 250 and 125 ms, or all on the server, 14 ms up,
  // 0.25 ms * 4 / f, 11 ms back. A server of 10 Mflop/s: 250 ms * 4 / f; the cuts
  // after fc_1 and fc_2 have 100 ms (50) there, 12 ms up, 150 ms * 4 / f; 200 ms (100), 14 ms, 50 ms * 4 / f;
  // 11 ms back.
  Scene s = users_scene({1e7, 2e7});
  s.platform.edit_host(s.host("server")).power_states[0].speed_flop_per_s = 1e7;
  // a with 4 units: 0 layers 275, 1: 273, 2: 275, 3: 250. Nobody is helped.
  std::vector<Plan> plans = plans_of(s, {{"units", 4}});
  CHECK(plans[0].decision.at("largest_latency_s") == doctest::Approx(0.25));
  CHECK(plans[0].decision.at("partition_point") == 3);
  CHECK(plans[0].decision.at("exchanges") == 0);
  CHECK_FALSE(plans[0].pieces[0].share);

  // At 40 Mflop/s a has, with f of 4 units, 25 + 250 / f (0 layers), 123 + 150 / f, 225 + 50 / f, 250 ms:
  // 250, 150, 108.3, 87.5 for 1 to 4; b is done in 125 without any (with 2: 150, 148, 150). Two units each:
  // 150 and 125. b gives one: 108.3 and 125, and a cannot do with 2 again.
  s.platform.edit_host(s.host("server")).power_states[0].speed_flop_per_s = 4e7;
  plans = plans_of(s, {{"units", 4}});
  CHECK(plans[0].decision.at("largest_latency_s") == doctest::Approx(0.125));
  CHECK(plans[0].decision.at("units") == 3);
  CHECK(plans[0].decision.at("partition_point") == 0);
  CHECK(plans[0].decision.at("exchanges") == 1);
  REQUIRE(plans[0].pieces[0].share);
  CHECK(*plans[0].pieces[0].share == doctest::Approx(0.75));
  CHECK(plans[1].decision.at("units") == 1);
  CHECK(plans[1].decision.at("partition_point") == 3);

  plans = plans_of(s, {{"units", 4}, {"allocation", "equal"}});
  CHECK(plans[0].decision.at("largest_latency_s") == doctest::Approx(0.15));
  CHECK(plans[1].decision.at("partition_point") == 3);
  plans = plans_of(s, {{"units", 4}, {"allocation", "edge_only"}});
  CHECK(plans[0].decision.at("largest_latency_s") == doctest::Approx(0.15));
  CHECK(plans[1].decision.at("partition_point") == 0);
  CHECK(*plans[1].pieces[0].share == doctest::Approx(0.5));

  // What equal units leave over goes to the first sources.
  plans = plans_of(s, {{"units", 5}, {"allocation", "equal"}});
  CHECK(plans[0].decision.at("units") == 3);
  CHECK(plans[1].decision.at("units") == 2);
}

TEST_CASE("iao_multiuser: the best of all allocations and cuts") {
  Random random(81);
  int better = 0, sooner = 0, exchanges = 0, halved = 0;
  for (int trial = 0; trial < 150; ++trial) {
    CAPTURE(trial);
    Scene s = random_users(random);
    const int users = static_cast<int>(devices(s).size()), units = users + random.below(12);
    const std::vector<std::vector<double>> least = tables(s, units);
    for (const std::vector<double>& table : least)
      CHECK(std::ranges::is_sorted(table, [](double a, double b) { return a > b * (1 + 1e-12); }));
    const double best = best_of_all(least, 0, units);
    CHECK(bisected(least, units) == doctest::Approx(best).epsilon(1e-9));

    const std::vector<Plan> plans = plans_of(s, {{"units", units}});
    CHECK(largest_s(s, plans) == doctest::Approx(best).epsilon(1e-9));
    CHECK(plans[0].decision.at("largest_latency_s") == doctest::Approx(best).epsilon(1e-9));
    // Steps that end at 1 end at the optimum too.
    const std::vector<Plan> steps = plans_of(s, {{"units", units}, {"step", 4}});
    CHECK(largest_s(s, steps) == doctest::Approx(best).epsilon(1e-9));

    const double equal_s = largest_s(s, plans_of(s, {{"units", units}, {"allocation", "equal"}}));
    const double edge_s = largest_s(s, plans_of(s, {{"units", units}, {"allocation", "edge_only"}}));
    double device_s = 0;
    for (const std::vector<double>& table : least) device_s = std::max(device_s, table.front());
    CHECK(best <= equal_s * (1 + 1e-12));
    CHECK(equal_s <= edge_s * (1 + 1e-12));
    CHECK(best <= device_s * (1 + 1e-12));
    better += best < 0.999 * equal_s;
    sooner += steps[0].decision.at("exchanges") < plans[0].decision.at("exchanges");
    exchanges += static_cast<int>(plans[0].decision.at("exchanges"));
    halved += static_cast<int>(steps[0].decision.at("exchanges"));
  }
  MESSAGE("better than equal units in ", better, " of 150; exchanges: ", exchanges, " by 1, ", halved,
          " by 4 and less, fewer in ", sooner);
  CHECK(better >= 30);
}

TEST_CASE("iao_multiuser: larger steps come to the same end in fewer exchanges") {
  Scene s = users_scene({5e6, 2e8, 2e8, 2e8});
  const std::vector<Plan> single = plans_of(s, {{"units", 400}}),
                          large = plans_of(s, {{"units", 400}, {"step", 64}});
  CHECK(single[0].decision.at("largest_latency_s") ==
        doctest::Approx(large[0].decision.at("largest_latency_s")).epsilon(1e-12));
  CHECK(large[0].decision.at("exchanges") < single[0].decision.at("exchanges") / 4);
}

TEST_CASE("iao_multiuser: follows the bandwidths of all sources") {
  Scene s = users_scene({1e7, 2e7});
  s.platform.edit_host(s.host("server")).power_states[0].speed_flop_per_s = 4e7;
  const std::vector<HostId> sources = devices(s);
  Problem problem = s.problem();
  problem.sources = sources;
  const std::unique_ptr<Policy> policy = policy_of("iao_multiuser", {{"units", 4}});
  CHECK(policy->plan(problem).decision.at("units") == 3);
  CHECK_FALSE(policy->replan(problem, bandwidth_seen()));
  s.bandwidth_bytes_per_s = {1e3, 1e6};  // a is cut off: 4 s for its input
  problem.bandwidth_bytes_per_s = s.bandwidth_bytes_per_s;
  std::optional<Plan> plan = policy->replan(problem, bandwidth_seen());
  REQUIRE(plan);
  CHECK(plan->decision.at("partition_point") == 3);
  s.bandwidth_bytes_per_s = {1e3, 1e7};  // the other's counts too
  problem.bandwidth_bytes_per_s = s.bandwidth_bytes_per_s;
  CHECK(policy->replan(problem, bandwidth_seen()));
}

TEST_CASE("iao_multiuser: wrong parameters and platforms") {
  CHECK(input_error([] { policy_of("iao_multiuser", {{"units", 0}}); }).starts_with("p.json: /units: 0"));
  CHECK(input_error([] { policy_of("iao_multiuser", {{"step", 0}}); }).starts_with("p.json: /step: 0"));
  Scene s = users_scene({1e7, 2e7});
  CHECK(input_error([&] {
          plans_of(s, {{"units", 1}, {"allocation", "edge_only"}});
        }).starts_with("p.json: /units: 1"));
  // b reaches no server.
  s.platform = Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
      <host id="server" speed="10Gf"><prop id="tier" value="edge"/></host>
      <host id="a" speed="1Gf"><prop id="tier" value="device"/></host>
      <host id="b" speed="1Gf"><prop id="tier" value="device"/></host>
      <link id="net" bandwidth="1MBps" latency="10ms"/>
      <route src="a" dst="server"><link_ctn id="net"/></route>
      <route src="a" dst="b"><link_ctn id="net"/></route></zone></platform>)",
                               "p.xml");
  s.bandwidth_bytes_per_s.clear();
  CHECK(input_error([&] {
          plans_of(s, Json::object());
        }).starts_with("p.xml: no server that all sources share"));
}
