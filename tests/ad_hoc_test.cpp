#include "sim/ad_hoc.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "sim/engine.h"
#include "sim/error.h"
#include "sim/random.h"
#include "sim/sweep.h"
#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

struct Pair {
  int a, b;
  double mbps;
};

// Hosts "h0".., a link "ab" of 1 ms between the hosts of each pair. Radio: 1 W, sending 3 W and 1e-6 J a
// byte, receiving 2 W and 5e-7 J a byte.
Platform mesh(int n_hosts, const std::vector<Pair>& pairs) {
  std::string hosts, links, routes;
  for (int i = 0; i < n_hosts; ++i)
    hosts += fmt::format(
        "<host id='h{}' speed='1Gf'><prop id='tier' value='{}'/><prop id='wattage_radio' value='1:3:2'/>"
        "<prop id='joule_per_byte_radio' value='1e-6:5e-7'/></host>",
        i, i == n_hosts - 1 ? "edge" : "uav");
  for (const Pair& pair : pairs) {
    links += fmt::format("<link id='{}{}' bandwidth='{}Mbps' latency='1ms'/>", pair.a, pair.b, pair.mbps);
    routes += fmt::format("<route src='h{0}' dst='h{1}'><link_ctn id='{0}{1}'/></route>", pair.a, pair.b);
  }
  return Platform::parse(
      "<platform version='4.1'><zone id='z' routing='Full'>" + hosts + links + routes + "</zone></platform>",
      "mesh.xml");
}

struct Network {
  Platform platform;
  std::vector<double> bandwidth = {};
  std::vector<char> link_on = {}, host_on = {};
  AdHocRoutes routes;

  explicit Network(Platform of)
      : platform(std::move(of)),
        bandwidth(bandwidths(platform)),
        link_on(bandwidth.size(), 1),
        host_on(static_cast<std::size_t>(platform.host_count()), 1),
        routes(platform, bandwidth, link_on, host_on) {}
  static std::vector<double> bandwidths(const Platform& p) {
    std::vector<double> out;
    for (const Link& link : p.links()) out.push_back(link.bandwidth_bytes_per_s);
    return out;
  }
};

using Relays = std::vector<HostId>;

double ett(const Route& route, const std::vector<double>& bandwidth) {
  double sum = 0;
  for (const LinkId link : route.links) sum += 1 / bandwidth[static_cast<std::size_t>(link)];
  return sum;
}

}  // namespace

TEST_CASE("ad hoc: the path of least expected transmission time") {
  // 0 - 1 - 2 at 1 and 2 MB/s: 1.5 us a byte; 0 - 2 at 0.5 MB/s: 2 us.
  Network n(mesh(3, {{0, 1, 8}, {1, 2, 16}, {0, 2, 4}}));
  const Route* relayed = n.routes.route(0, 2);
  CHECK(relayed->relays == Relays{1});
  CHECK(relayed->links == std::vector<LinkId>{0, 1});
  CHECK(relayed->latency_s == doctest::Approx(2e-3));
  CHECK(relayed->bytes_per_s(n.bandwidth) == 1e6);
  CHECK(n.routes.route(2, 0)->links == std::vector<LinkId>{1, 0});
  CHECK(n.routes.route(0, 0)->links.empty());

  // 0 - 2 at 0.8 MB/s: 1.25 us. Nobody has said so yet; a route once given stays what it was.
  n.bandwidth[2] = 8e5;
  CHECK(n.routes.route(0, 2) == relayed);
  n.routes.forget();
  CHECK(n.routes.route(0, 2) == n.platform.route(0, 2));
  n.bandwidth[2] = 1e6 / 1.6;
  n.routes.forget();
  CHECK(n.routes.route(0, 2) == relayed);

  SUBCASE("of equal ones that of fewest hops") {
    n.bandwidth = {1e6, 1e6, 5e5};
    n.routes.forget();
    CHECK(n.routes.route(0, 2)->relays.empty());
  }
  SUBCASE("around links and relays that are off") {
    n.link_on[1] = 0;
    n.routes.forget();
    CHECK(n.routes.route(0, 2)->relays.empty());
    n.link_on[1] = 1;
    n.host_on[1] = 0;
    n.routes.forget();
    CHECK(n.routes.route(0, 2)->relays.empty());
  }
  SUBCASE("where there is no other way, over what is off") {
    n.link_on = {0, 1, 0};
    n.routes.forget();
    CHECK(n.routes.route(0, 2) == relayed);
    n.link_on = {0, 0, 0};  // one broken link rather than two
    n.routes.forget();
    CHECK(n.routes.route(0, 2)->relays.empty());
  }
}

TEST_CASE("ad hoc: a medium that both hops take counts twice") {
  const Platform p = Platform::parse(
      R"(<platform version='4.1'><zone id='z' routing='Full'>
      <host id='a' speed='1Gf'><prop id='tier' value='uav'/></host>
      <host id='b' speed='1Gf'><prop id='tier' value='uav'/></host>
      <host id='c' speed='1Gf'><prop id='tier' value='uav'/></host>
      <link id='air' bandwidth='8Mbps' latency='1ms'/><link id='ab' bandwidth='80Mbps' latency='1ms'/>
      <link id='bc' bandwidth='80Mbps' latency='1ms'/>
      <route src='a' dst='b'><link_ctn id='air'/><link_ctn id='ab'/></route>
      <route src='b' dst='c'><link_ctn id='air'/><link_ctn id='bc'/></route></zone></platform>)",
      "p.xml");
  Network n(p);
  const Route* route = n.routes.route(0, 2);
  REQUIRE(route != nullptr);
  CHECK(route->links.size() == 4);
  CHECK(route->bytes_per_s(n.bandwidth) == 5e5);
  // Alone on timers, and in SimGrid's solver: 4 ms and 1 MB at 0.5 MB/s.
  for (const bool full : {false, true}) {
    const Json ended = run_in_child([&] {
      double at = 0;
      Engine e(n.platform, {.full_solver = full},
               {.timer = [](Tag) {},
                .computed = [](const Completion&) {},
                .transferred = [&](const Completion& c) { at = c.ended_s; },
                .changed = [](const Change&) {}});
      e.transfer(*route, 0, 2, 1e6, {});
      e.run();
      return Json(at);
    });
    CHECK(ended.get<double>() == doctest::Approx(2.004).epsilon(1e-9));
  }
}

TEST_CASE("ad hoc: no path at all") {
  Network n(mesh(4, {{0, 1, 8}, {2, 3, 8}}));
  CHECK(n.routes.route(0, 3) == nullptr);
  Platform view = n.platform;
  view.route_by([&](HostId from, HostId to) { return n.routes.route(from, to); });
  CHECK(view.neighbours(0) == std::vector<HostId>{1});
  CHECK(view.route(0, 0)->links.empty());
}

TEST_CASE("ad hoc: as good as the best of all paths, on random meshes") {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    const int hosts = 3 + random.below(4);
    std::vector<Pair> pairs;
    for (int a = 0; a < hosts; ++a) {
      for (int b = a + 1; b < hosts; ++b) {
        if (b == a + 1 || random.below(2) == 0) pairs.push_back({a, b, 1.0 + random.below(50)});
      }
    }
    Network n(mesh(hosts, pairs));
    for (std::size_t i = 0; i < n.bandwidth.size(); ++i) n.bandwidth[i] *= 0.1 + random.uniform();
    for (HostId from = 0; from < hosts; ++from) {
      // Every simple path from here.
      std::vector<double> best(static_cast<std::size_t>(hosts), std::numeric_limits<double>::infinity());
      std::vector<bool> seen(static_cast<std::size_t>(hosts), false);
      const std::function<void(HostId, double)> walk = [&](HostId here, double cost) {
        best[static_cast<std::size_t>(here)] = std::min(best[static_cast<std::size_t>(here)], cost);
        seen[static_cast<std::size_t>(here)] = true;
        for (const HostId next : n.platform.neighbours(here)) {
          if (!seen[static_cast<std::size_t>(next)])
            walk(next, cost + ett(*n.platform.route(here, next), n.bandwidth));
        }
        seen[static_cast<std::size_t>(here)] = false;
      };
      walk(from, 0);
      for (HostId to = 0; to < hosts; ++to)
        CHECK(ett(*n.routes.route(from, to), n.bandwidth) ==
              doctest::Approx(best[static_cast<std::size_t>(to)]).epsilon(1e-12));
    }
  }
}

TEST_CASE("ad hoc: relays draw power for receiving and sending, and a transfer fails with them") {
  // 1 MB at 1 MB/s over two hops of 1 ms: from 0.002 to 1.002 s.
  Network n(mesh(3, {{0, 1, 8}, {1, 2, 16}}));
  const Route* route = n.routes.route(0, 2);
  struct Ended {
    double at_s;
    bool failed;
    std::vector<double> radio_j;
  };
  const auto send = [&](bool full, std::vector<Change> changes) {
    const Json json = run_in_child([&] {
      Json out;
      Engine e(n.platform, {.full_solver = full},
               {.timer = [](Tag) {},
                .computed = [](const Completion&) {},
                .transferred =
                    [&](const Completion& c) {
                      CHECK(c.route == route);
                      out = {{"at", c.ended_s}, {"failed", c.failed}};
                    },
                .changed = [](const Change&) {}});
      for (const Change& change : changes) e.apply_at(change);
      e.transfer(*route, 0, 2, 1e6, {});
      e.run();
      for (HostId h = 0; h < 3; ++h) out["radio"].push_back(e.meter(h).radio_energy_j);
      return out;
    });
    return Ended{json["at"], json["failed"], json["radio"].get<std::vector<double>>()};
  };
  for (const bool full : {false, true}) {
    CAPTURE(full);
    const Ended whole = send(full, {});
    CHECK_FALSE(whole.failed);
    CHECK(whole.at_s == doctest::Approx(1.002).epsilon(1e-9));
    // Idle for 2 ms at 1 W; then a second of sending, of both, of receiving; 1e-6 and 5e-7 J a byte.
    CHECK(whole.radio_j[0] == doctest::Approx(0.002 + 3 + 1).epsilon(1e-9));
    CHECK(whole.radio_j[1] == doctest::Approx(0.002 + 3 + 2 + 1 + 0.5).epsilon(1e-9));
    CHECK(whole.radio_j[2] == doctest::Approx(0.002 + 2 + 0.5).epsilon(1e-9));

    const Ended lost = send(full, {{0.5, Change::Kind::kHostState, 1, 0}});
    CHECK(lost.failed);
    CHECK(lost.at_s == doctest::Approx(0.5));
    CHECK(lost.radio_j[0] == doctest::Approx(0.002 + 3 * 0.498).epsilon(1e-9));
    CHECK(send(full, {{0.5, Change::Kind::kLinkState, 1, 0}}).failed);
  }
}

TEST_CASE("ad hoc: requests go around a link that breaks, and policies see the routes of now") {
  // h0 asks, h2 computes: 0 - 2 direct at 8 MB/s, over h1 at 1 MB/s. 400 kB up, 1 s of computation, 1 byte
  // back.
  const std::string layers = R"({"schema": 1, "name": "g", "source": "test", "precision": "fp32",
      "input": {"shape": [20, 50, 50]}, "layers": [{"name": "a", "inputs": ["input"], "kind": "conv",
      "kernel": [10, 10], "padding": [5, 5, 4, 4], "bias": false, "output": [100, 50, 50]}]})";
  Scene s{mesh(3, {{0, 1, 8}, {1, 2, 8}, {0, 2, 64}}), LayerGraph::parse(parse_json(layers, "g"), "g")};
  s.source = "h0";
  s.wire.input_bytes = 400e3;
  s.wire.result_bytes = 1;
  RunSpec spec = spec_of(s);
  spec.ad_hoc = true;
  spec.arrivals.kind = Arrivals::Kind::kPeriodic;
  spec.arrivals.period_s = 2;
  spec.requests = 3;
  spec.retries = 1;
  spec.retry_wait_s = 0.1;
  // The direct link is off from 2.04 to 3.9 s: the second request has sent 0.039 s of its input by then.
  const LinkId direct = s.platform.find_links("02").front();
  spec.changes = {{2.04, Change::Kind::kLinkState, direct, 0}, {3.9, Change::Kind::kLinkState, direct, 1}};

  class Watcher : public Policy {
   public:
    explicit Watcher(Json& seen) : seen_(seen) {}
    Plan plan(const Problem& problem) override {
      see(problem);
      return chain_plan(problem.graph, 0, 0, 0, 2);
    }
    std::optional<Plan> replan(const Problem& problem, const Observation&) override {
      see(problem);
      return std::nullopt;
    }

   private:
    void see(const Problem& problem) { seen_.push_back(problem.transfer_s(1e6, 0, 2)); }
    Json& seen_;
  };
  const Json out = run_in_child([&] {
    Json json = {{"seen", Json::array()}};
    PolicyFacts facts;
    facts.name = "watcher";
    facts.watches_platform = true;
    const Trace t = simulate(spec, facts, [&] { return std::make_unique<Watcher>(json["seen"]); });
    for (const RequestRecord& r : t.requests)
      json["latency"].push_back(r.state == RequestState::kCompleted ? r.end_s - r.arrival_s : -1);
    json["bytes"] = t.link_bytes;
    return json;
  });
  // Direct: 1 ms + 0.05 s, 1 s, 1 ms and 1 byte. Lost at 0.04, again at 0.14 by the relay: 2 ms + 0.4 s.
  const double direct_s = 0.001 + 0.05 + 1 + 0.001 + 1 / 8e6;
  const double relayed_s = 0.04 + 0.1 + 0.002 + 0.4 + 1 + 0.002 + 1 / 1e6;
  REQUIRE(out["latency"].size() == 3);
  CHECK(out["latency"][0].get<double>() == doctest::Approx(direct_s).epsilon(1e-9));
  CHECK(out["latency"][1].get<double>() == doctest::Approx(relayed_s).epsilon(1e-9));
  CHECK(out["latency"][2].get<double>() == doctest::Approx(direct_s).epsilon(1e-9));
  CHECK(out["bytes"] == Json({400001.0, 400001.0, 800002.0}));
  REQUIRE(out["seen"].size() == 3);  // at the start, and as the link goes off and on
  CHECK(out["seen"][0].get<double>() == doctest::Approx(0.001 + 0.125));
  CHECK(out["seen"][1].get<double>() == doctest::Approx(0.002 + 1));
  CHECK(out["seen"][2] == out["seen"][0]);
}
