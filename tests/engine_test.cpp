// The engine's two halves: each against a pencil, and both against each other on random platforms.
#include "sim/engine.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "sim/json_reader.h"
#include "sim/random.h"
#include "sim/sweep.h"

using namespace cdisim;

namespace {

// What one request does, step after step.
struct Step {
  bool is_transfer = false;
  HostId host = 0;  // computation: where; transfer: from
  HostId to = 0;
  std::vector<double> seconds;  // by batch size
  double bytes = 0;
  int user = -1;  // computation: on whose share
};
struct Job {
  double arrival_s = 0;
  std::vector<int> steps;  // into Scenario::steps, so that equal work can share a batch
};
struct Grant {
  double date_s = 0;
  HostId host = 0;
  int user = 0;
  double share = 0;
};
struct Scenario {
  Platform platform;
  std::vector<Step> steps;
  std::vector<Job> jobs;
  std::vector<Change> changes;
  std::vector<Grant> grants = {};
};

// Runs a scenario in a child: per request and step {failed, started, ended}, and the hosts' meters.
Json play(const Scenario& s, EngineOptions options) {
  return run_in_child([&] {
    Json done = Json::array();
    Engine* engine = nullptr;
    const auto start = [&](Tag tag) {
      const Job& job = s.jobs[tag.request];
      if (tag.step >= job.steps.size()) return;
      const Step& step = s.steps[static_cast<std::size_t>(job.steps[tag.step])];
      if (step.is_transfer) {
        engine->transfer(*s.platform.route(step.host, step.to), step.host, step.to, step.bytes, tag);
      } else if (step.user >= 0) {
        engine->compute_reserved(step.host, step.seconds, tag, step.user);
      } else {
        engine->compute(step.host, step.seconds, tag);
      }
    };
    const auto end = [&](const Completion& c) {
      done.push_back({c.tag.request, c.tag.step, c.failed, c.started_s, c.ended_s});
      if (!c.failed) start({c.tag.request, c.tag.step + 1});
    };
    Engine e(s.platform, options,
             {.timer =
                  [&](Tag tag) {
                    if (tag.request < s.jobs.size()) return start(tag);
                    const Grant& grant = s.grants[tag.request - s.jobs.size()];
                    engine->reserve(grant.host, grant.user, grant.share);
                  },
              .computed = end,
              .transferred = end,
              .changed = [](const Change&) {}});
    engine = &e;
    for (std::size_t i = 0; i < s.grants.size(); ++i) {
      const Grant& grant = s.grants[i];
      if (grant.date_s == 0) e.reserve(grant.host, grant.user, grant.share);
      if (grant.date_s > 0) e.at(grant.date_s, {s.jobs.size() + i, 0});
    }
    for (std::size_t i = 0; i < s.jobs.size(); ++i) e.at(s.jobs[i].arrival_s, {i, 0});
    for (const Change& change : s.changes) e.apply_at(change);
    e.run();
    Json out = {{"done", done}, {"order", done}, {"end", e.now()}};
    std::sort(out["done"].begin(), out["done"].end());
    for (HostId h = 0; h < s.platform.host_count(); ++h) {
      const HostMeter& meter = e.meter(h);
      out["energy"].push_back(meter.energy_j);
      out["battery"].push_back(meter.battery_j);
      out["emptied"].push_back(meter.emptied_s);
      out["radio"].push_back(meter.radio_energy_j);
      out["busy"].push_back(meter.busy_s);
      if (options.host_energy) out["plugin"].push_back(e.plugin_energy_j(h));
    }
    for (LinkId l = 0; l < s.platform.link_count(); ++l) out["bytes"].push_back(e.link_bytes(l));
    return out;
  });
}

double ended(const Json& played, std::size_t request, std::size_t step) {
  for (const Json& row : played["done"]) {
    if (row[0] == request && row[1] == step) return row[4].get<double>();
  }
  return -1;
}

// n senders "s0".. to "sink": `links` of each route by name, all 10 Mbit/s unless named otherwise in
// `special`.
Platform senders(const std::vector<std::vector<std::string>>& routes,
                 const std::map<std::string, std::string>& special) {
  std::string hosts, links, route_text;
  std::map<std::string, bool> made;
  for (std::size_t i = 0; i < routes.size(); ++i) {
    hosts += fmt::format("<host id='s{}' speed='1Gf'><prop id='tier' value='device'/></host>", i);
    route_text += fmt::format("<route src='s{}' dst='sink'>", i);
    for (const std::string& link : routes[i]) {
      const auto found = special.find(link);
      if (!made[link])
        links += fmt::format("<link id='{}' bandwidth='{}' latency='1ms'/>", link,
                             found == special.end() ? "10MBps" : found->second);
      made[link] = true;
      route_text += fmt::format("<link_ctn id='{}'/>", link);
    }
    route_text += "</route>";
  }
  hosts += "<host id='sink' speed='1Gf'><prop id='tier' value='edge'/></host>";
  return Platform::parse("<platform version='4.1'><zone id='z' routing='Full'>" + hosts + links + route_text +
                             "</zone></platform>",
                         "test");
}

Scenario all_send(Platform platform, int n, double bytes) {
  Scenario s{std::move(platform), {}, {}, {}};
  for (int i = 0; i < n; ++i) {
    s.steps.push_back({true, i, s.platform.find_host("sink"), {}, bytes});
    s.jobs.push_back({0, {i}});
  }
  return s;
}

Scenario random_scenario(std::uint64_t seed, bool failures) {
  Random random(seed);
  const int n_hosts = 2 + random.below(4), n_links = 1 + random.below(5);
  std::string xml = "<platform version='4.1'><zone id='z' routing='Full'>";
  for (int h = 0; h < n_hosts; ++h) {
    static const char* disciplines[] = {"fifo", "fifo", "batch", "shared"};
    const std::string discipline = disciplines[random.below(4)];
    xml += fmt::format(
        "<host id='h{}' speed='1Gf,{}Mf' core='{}'><prop id='tier' value='device'/><prop id='discipline' "
        "value='{}'/>",
        h, 300 + random.below(1500), 1 + random.below(3), discipline);
    if (discipline == "batch")
      xml += fmt::format("<prop id='max_batch' value='{}'/><prop id='max_wait' value='{}ms'/>",
                         1 + random.below(3), random.below(200));
    xml += "<prop id='wattage_per_state' value='10:12:20,5:6:9'/><prop id='wattage_off' value='1'/>";
    if (random.below(2) == 0) xml += "<prop id='wattage_radio' value='0.5:2:1'/>";
    xml += "</host>";
  }
  for (int l = 0; l < n_links; ++l) {
    xml += fmt::format("<link id='l{}' bandwidth='{}kBps' latency='{}ms' sharing_policy='{}'/>", l,
                       50 + random.below(500), 1 + random.below(30),
                       random.below(4) == 0 ? "FATPIPE" : "SHARED");
  }
  for (int a = 0; a < n_hosts; ++a) {
    for (int b = a + 1; b < n_hosts; ++b) {
      xml += fmt::format("<route src='h{}' dst='h{}'>", a, b);
      const int first = random.below(n_links), count = 1 + random.below(std::min(3, n_links));
      for (int k = 0; k < count; ++k) xml += fmt::format("<link_ctn id='l{}'/>", (first + k) % n_links);
      xml += "</route>";
    }
  }
  Scenario s{Platform::parse(xml + "</zone></platform>", fmt::format("random {}", seed)), {}, {}, {}};
  for (int i = 0; i < 12; ++i) {
    const HostId from = random.below(n_hosts);
    if (random.below(2) == 0) {
      const double t = 0.01 + 0.3 * random.uniform();
      s.steps.push_back({false, from, 0, {t, 1.5 * t, 1.9 * t}, 0});
    } else {
      s.steps.push_back({true,
                         from,
                         (from + 1 + random.below(n_hosts - 1)) % n_hosts,
                         {},
                         std::floor(1e5 * random.uniform())});
    }
  }
  for (int i = 0; i < 40; ++i) {
    Job job;
    // Every third request starts together with the one before it.
    job.arrival_s = i % 3 == 2 ? s.jobs.back().arrival_s : 4 * random.uniform();
    for (int k = 1 + random.below(5); k > 0; --k) job.steps.push_back(random.below(12));
    s.jobs.push_back(job);
  }
  for (int i = 0; i < 8; ++i) {
    const double date = 6 * random.uniform();
    if (random.below(2) == 0) {
      s.changes.push_back(
          {date, Change::Kind::kBandwidth, random.below(n_links), 1e4 + 5e5 * random.uniform()});
    } else {
      s.changes.push_back(
          {date, Change::Kind::kPowerState, random.below(n_hosts), static_cast<double>(random.below(2))});
    }
  }
  for (int i = 0; failures && i < 4; ++i) {
    const bool link = random.below(2) == 0;
    const auto kind = link ? Change::Kind::kLinkState : Change::Kind::kHostState;
    const int target = random.below(link ? n_links : n_hosts);
    const double date = 5 * random.uniform();
    s.changes.push_back({date, kind, target, 0});
    s.changes.push_back({date + 0.5 * random.uniform(), kind, target, 1});
  }
  return s;
}

// The first host is shared out to two users, whose shares change.
void share_out(Scenario& s, std::uint64_t seed) {
  Random random(seed);
  for (std::size_t i = 0; i < s.steps.size(); ++i) {
    if (!s.steps[i].is_transfer && i % 2 == 0) s.steps[i].host = 0;
    if (!s.steps[i].is_transfer && s.steps[i].host == 0) s.steps[i].user = random.below(2);
  }
  for (const double date : {0.0, 1.5, 3.0}) {
    const double first = 0.1 + 0.8 * random.uniform();
    s.grants.push_back({date, 0, 0, first});
    s.grants.push_back({date, 0, 1, 1 - first});
  }
}

// Every activity of one run has its like in the other, within max(1e-9 s, 1e-9 relative).
void check_agreement(const Json& a, const Json& b) {
  REQUIRE(a["done"].size() == b["done"].size());
  for (std::size_t i = 0; i < a["done"].size(); ++i) {
    const Json& x = a["done"][i];
    const Json& y = b["done"][i];
    CAPTURE(x.dump());
    CAPTURE(y.dump());
    REQUIRE(x[0] == y[0]);
    REQUIRE(x[1] == y[1]);
    REQUIRE(x[2] == y[2]);
    for (const int k : {3, 4}) {
      const double p = x[k].get<double>(), q = y[k].get<double>();
      REQUIRE(std::abs(p - q) <= std::max(1e-9, 1e-9 * std::abs(p)));
    }
  }
  for (const char* key : {"energy", "radio", "busy", "bytes"}) {
    for (std::size_t i = 0; i < a[key].size(); ++i)
      CHECK(a[key][i].get<double>() == doctest::Approx(b[key][i].get<double>()).epsilon(1e-8));
  }
}

}  // namespace

TEST_CASE("engine: a transfer alone takes latency + bytes / bandwidth in both halves") {
  // 1 MB over 10 MB/s with 1 ms: 0.001 + 0.1 = 0.101 s.
  const Scenario s = all_send(senders({{"own"}}, {}), 1, 1e6);
  CHECK(ended(play(s, {}), 0, 0) == doctest::Approx(0.101).epsilon(1e-12));
  CHECK(ended(play(s, {.full_solver = true}), 0, 0) == doctest::Approx(0.101).epsilon(1e-9));
}

TEST_CASE("engine: payloads are not rounded to whole bytes") {
  // 1000.75 B over 6250 B/s with 1 ms: 0.001 + 0.16012 = 0.16112 s.
  const Scenario s = all_send(senders({{"own"}}, {{"own", "6250Bps"}}), 1, 1000.75);
  CHECK(ended(play(s, {}), 0, 0) == doctest::Approx(0.16112).epsilon(1e-12));
  CHECK(ended(play(s, {.full_solver = true}), 0, 0) == doctest::Approx(0.16112).epsilon(1e-9));
}

TEST_CASE("engine: two transfers that start together share a link equally") {
  // Two flows of 1 MB on one link of 10 MB/s and 1 ms: both get 5 MB/s, 0.001 + 0.2 = 0.201 s.
  const Scenario s = all_send(senders({{"shared"}, {"shared"}}, {}), 2, 1e6);
  for (const bool full : {false, true}) {
    const Json played = play(s, {.full_solver = full});
    CHECK(ended(played, 0, 0) == doctest::Approx(0.201).epsilon(1e-9));
    CHECK(ended(played, 1, 0) == doctest::Approx(0.201).epsilon(1e-9));
  }
}

TEST_CASE("engine: a transfer that meets another in mid-flight slows down from then on") {
  // The first has 0.05 s at 10 MB/s when the second begins to flow at 0.051 s + 1 ms: 0.5 MB + 1 ms * 10 MB/s
  // are through at 0.052 s, 0.49 MB are left for both at 5 MB/s: 0.098 s more, end at 0.150 s. Then the
  // second has 1 - 0.49 = 0.51 MB left at 10 MB/s: 0.150 + 0.051 = 0.201 s.
  Scenario s = all_send(senders({{"shared"}, {"shared"}}, {}), 2, 1e6);
  s.jobs[1].arrival_s = 0.051;
  for (const bool full : {false, true}) {
    const Json played = play(s, {.full_solver = full});
    CHECK(ended(played, 0, 0) == doctest::Approx(0.150).epsilon(1e-9));
    CHECK(ended(played, 1, 0) == doctest::Approx(0.201).epsilon(1e-9));
  }
}

TEST_CASE("engine: no transfer exceeds its own link (SimGrid's lazy solver would let it)") {
  // Two senders over [backbone 10 MB/s 1 ms, own 1 MB/s 1 ms], 1 MB each at t = 0: their own links limit
  // both, 0.002 + 1 = 1.002 s. Left to itself, SimGrid 3.32 ends one of them at 0.113 s.
  const std::map<std::string, std::string> slow{{"own0", "1MBps"}, {"own1", "1MBps"}};
  for (const bool full : {false, true}) {
    for (const bool backbone_first : {false, true}) {
      std::vector<std::vector<std::string>> routes{{"own0", "backbone"}, {"own1", "backbone"}};
      if (backbone_first)
        for (auto& route : routes) std::reverse(route.begin(), route.end());
      const Json played = play(all_send(senders(routes, slow), 2, 1e6), {.full_solver = full});
      CHECK(ended(played, 0, 0) == doctest::Approx(1.002).epsilon(1e-9));
      CHECK(ended(played, 1, 0) == doctest::Approx(1.002).epsilon(1e-9));
    }
  }
}

TEST_CASE("engine: no transfer exceeds a link where nobody has a link of its own") {
  // Three senders, each over two of three links of 1, 2 and 4 MB/s: a+b, b+c, c+a, 1 MB each at t = 0.
  // Max-min fair: a (1 MB/s) is shared by the first and third: 0.5 each; b (2 MB/s) leaves 1.5 to the second
  // (c leaves 3.5). The second ends at 0.002 + 1/1.5 = 0.668667 s; a still limits the others: 0.002 + 1/0.5
  // = 2.002 s.
  const std::map<std::string, std::string> speeds{{"a", "1MBps"}, {"b", "2MBps"}, {"c", "4MBps"}};
  for (const bool full : {false, true}) {
    for (int turn = 0; turn < 2; ++turn) {
      std::vector<std::vector<std::string>> routes{{"a", "b"}, {"b", "c"}, {"c", "a"}};
      if (turn == 1)
        for (auto& route : routes) std::reverse(route.begin(), route.end());
      const Json played = play(all_send(senders(routes, speeds), 3, 1e6), {.full_solver = full});
      CHECK(ended(played, 0, 0) == doctest::Approx(2.002).epsilon(1e-9));
      CHECK(ended(played, 1, 0) == doctest::Approx(0.002 + 1 / 1.5).epsilon(1e-9));
      CHECK(ended(played, 2, 0) == doctest::Approx(2.002).epsilon(1e-9));
    }
  }
}

TEST_CASE("engine: bandwidth up and down in mid-flight") {
  // 1 MB at 10 MB/s from 0.001 s; at 0.051 s half is through. At 1 MB/s the rest takes 0.5 s: end at 0.551 s.
  // At 20 MB/s it takes 0.025 s: end at 0.076 s.
  for (const auto& [bandwidth, expected] : {std::pair{1e6, 0.551}, std::pair{20e6, 0.076}}) {
    Scenario s = all_send(senders({{"own"}}, {}), 1, 1e6);
    s.changes.push_back({0.051, Change::Kind::kBandwidth, 0, bandwidth});
    CHECK(ended(play(s, {}), 0, 0) == doctest::Approx(expected).epsilon(1e-12));
    CHECK(ended(play(s, {.full_solver = true}), 0, 0) == doctest::Approx(expected).epsilon(1e-9));
  }
}

TEST_CASE("engine: identical devices that start together are served in the order of their requests") {
  // 20 equal transfers on links of their own end at the same instant; one core serves them 10 ms each, in
  // order.
  std::vector<std::vector<std::string>> routes;
  for (int i = 0; i < 20; ++i) routes.push_back({fmt::format("own{}", i)});
  Scenario s = all_send(senders(routes, {}), 20, 1e5);
  s.steps.push_back({false, s.platform.find_host("sink"), 0, {0.01}, 0});
  for (Job& job : s.jobs) job.steps.push_back(20);
  for (const bool full : {false, true}) {
    const Json played = play(s, {.full_solver = full});
    // 0.001 + 0.01 s of transfer, then 10 ms each.
    for (std::size_t i = 0; i < 20; ++i)
      CHECK(ended(played, i, 1) == doctest::Approx(0.011 + 0.01 * static_cast<double>(i + 1)).epsilon(1e-9));
  }
}

TEST_CASE("engine: both halves agree on random platforms that share and change") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    const Scenario s = random_scenario(seed, false);
    check_agreement(play(s, {}), play(s, {.full_solver = true}));
  }
}

TEST_CASE("engine: both halves agree on random platforms that fail") {
  for (std::uint64_t seed = 101; seed <= 160; ++seed) {
    CAPTURE(seed);
    const Scenario s = random_scenario(seed, true);
    check_agreement(play(s, {}), play(s, {.full_solver = true}));
  }
}

TEST_CASE("engine: a share of a processor is a slower processor of one's own") {
  // 0.3 s of work on 0.25 of the core end at 1.2 s, a second job at 2.4; another user's on 0.75 at 0.4 s.
  // From 1.8 s on the first has 0.5: 0.15 s of its second job are left, which take 0.3 s.
  Scenario s = all_send(senders({{"own"}}, {}), 1, 0);
  const HostId sink = s.platform.find_host("sink");
  s.steps = {{false, sink, 0, {0.3}, 0, 0}, {false, sink, 0, {0.3}, 0, 1}};
  s.jobs = {{0, {0}}, {0, {0}}, {0, {1}}};
  s.grants = {{0, sink, 0, 0.25}, {0, sink, 1, 0.75}, {1.8, sink, 0, 0.5}};
  for (const bool full : {false, true}) {
    const Json played = play(s, {.full_solver = full});
    CHECK(ended(played, 0, 0) == doctest::Approx(1.2).epsilon(1e-9));
    CHECK(ended(played, 1, 0) == doctest::Approx(2.1).epsilon(1e-9));
    CHECK(ended(played, 2, 0) == doctest::Approx(0.4).epsilon(1e-9));
  }
}

TEST_CASE("engine: both halves agree on shares that change, in other power states and through failures") {
  for (std::uint64_t seed = 301; seed <= 360; ++seed) {
    CAPTURE(seed);
    Scenario s = random_scenario(seed, seed % 2 == 0);
    share_out(s, seed);
    check_agreement(play(s, {}), play(s, {.full_solver = true}));
  }
}

TEST_CASE("engine: both halves agree on random platforms whose batteries run empty") {
  // Idle they draw up to 10.5 W, busy up to 23: between 20 and 100 J last for 1 to 10 s, while requests run
  // until about 6 s.
  int emptied = 0, lost = 0;
  for (std::uint64_t seed = 401; seed <= 460; ++seed) {
    CAPTURE(seed);
    Scenario s = random_scenario(seed, seed % 2 == 0);
    Random random(seed);
    for (HostId h = 0; h < s.platform.host_count(); ++h) {
      Host& host = s.platform.edit_host(h);
      if (random.below(3) > 0) host.battery_j = 20 + 80 * random.uniform();
      host.radio.tx_j_per_byte = host.radio.rx_j_per_byte = 1e-5;
    }
    const Json halves = play(s, {}), full = play(s, {.full_solver = true});
    check_agreement(halves, full);
    for (HostId h = 0; h < s.platform.host_count(); ++h) {
      const auto i = static_cast<std::size_t>(h);
      const double capacity_j = s.platform.host(h).battery_j;
      if (std::isinf(capacity_j)) {
        CHECK(std::isinf(halves["battery"][i].get<double>()));
        continue;
      }
      // Nothing ends a run but the last battery. What was drawn is what was in it.
      CHECK(halves["battery"][i] == 0);
      CHECK(halves["energy"][i].get<double>() + halves["radio"][i].get<double>() ==
            doctest::Approx(capacity_j).epsilon(1e-9));
      CHECK(halves["emptied"][i].get<double>() ==
            doctest::Approx(full["emptied"][i].get<double>()).epsilon(1e-9));
      ++emptied;
    }
    for (const Json& row : halves["done"]) lost += row[2].get<bool>() ? 1 : 0;
  }
  CHECK(emptied > 100);
  CHECK(lost > 100);
}

TEST_CASE("engine: energy equals SimGrid's host energy plugin") {
  for (std::uint64_t seed = 201; seed <= 230; ++seed) {
    CAPTURE(seed);
    Scenario s = random_scenario(seed, seed % 2 == 0);
    if (seed % 3 == 0) share_out(s, seed);
    const Json played = play(s, {.full_solver = true, .host_energy = true});
    for (HostId h = 0; h < s.platform.host_count(); ++h) {
      // The plugin knows no processors shared by more computations than cores and no batches beyond that.
      const auto i = static_cast<std::size_t>(h);
      CHECK(played["energy"][i].get<double>() ==
            doctest::Approx(played["plugin"][i].get<double>()).epsilon(1e-7));
    }
  }
}

TEST_CASE("engine: LV08 slows a transfer by SimGrid's factors") {
  // 13.01 * latency + bytes / (0.97 * bandwidth) = 0.01301 + 0.1 / 0.97 s for 1 MB over 10 MB/s with 1 ms.
  const Scenario s = all_send(senders({{"own"}}, {}), 1, 1e6);
  CHECK(ended(play(s, {.network = NetworkModel::kLv08}), 0, 0) ==
        doctest::Approx(0.01301 + 0.1 / 0.97).epsilon(1e-6));
}

TEST_CASE("engine: LV08 shares by latency and by the packets that bandwidths hold up") {
  // In inverse proportion to the sum over the route's links of latency + 20537 byte / bandwidth: for s0 2 ms
  // + 0.205 + 2.054 ms, for s1 1 ms + 2.054 ms. s1's bytes flow after 13.01 ms, s0's after 26.02 ms.
  const Scenario s = all_send(senders({{"wide", "shared"}, {"shared"}}, {{"wide", "100MBps"}}), 2, 1e6);
  const double s0 = 0.002 + 20537 / 1e8 + 20537 / 1e7, s1 = 0.001 + 20537 / 1e7;
  const double left = 1e6 - 0.97e7 * 0.01301;
  CHECK(ended(play(s, {.network = NetworkModel::kLv08}), 1, 0) ==
        doctest::Approx(0.02602 + left / (0.97e7 * s0 / (s0 + s1))).epsilon(1e-9));
}

namespace {

// tests/fixtures/wifi.xml: on "air" fast and other send at 10 MB/s, slow at 2.5 MB/s. With latencies: 2 and
// 5 ms on the media, 3 ms on wired links.
Scenario on_wifi(const std::vector<std::tuple<const char*, const char*, double>>& transfers,
                 bool latencies = false) {
  const std::string file = std::string(CDISIM_SOURCE_DIR) + "/tests/fixtures/wifi.xml";
  std::string xml = read_text_file(file);
  const auto replace = [&](const std::string& a, const std::string& b) {
    for (std::size_t at = 0; (at = xml.find(a, at)) != xml.npos;) xml.replace(at, a.size(), b);
  };
  if (latencies) {
    replace(R"(latency="0s" sharing_policy="WIFI"/>)",
            R"(sharing_policy="WIFI"><prop id="latency" value="2ms"/></link>)");
    replace(R"(sharing_policy="WIFI" latency="0s">)",
            R"(sharing_policy="WIFI"><prop id="latency" value="5ms"/>)");
    replace(R"(latency="0s")", R"(latency="3ms")");
  }
  Scenario s{Platform::parse(xml, file), {}, {}, {}};
  for (const auto& [from, to, bytes] : transfers) {
    s.jobs.push_back({0, {static_cast<int>(s.steps.size())}});
    s.steps.push_back({true, s.platform.find_host(from), s.platform.find_host(to), {}, bytes});
  }
  return s;
}

}  // namespace

TEST_CASE("engine: a Wi-Fi medium's airtime") {
  struct Case {
    std::vector<std::tuple<const char*, const char*, double>> transfers;
    std::vector<double> ends_s;
  };
  const std::vector<Case> cases{
      {{{"fast", "edge", 1e6}}, {0.1}},
      {{{"edge", "slow", 1e6}}, {0.4}},
      // By the access point, so that a byte takes the air twice: 1 / 10 + 1 / 2.5 us.
      {{{"fast", "slow", 1e6}}, {0.5}},
      // Two at once get half each.
      {{{"fast", "edge", 1e6}, {"other", "edge", 1e6}}, {0.2, 0.2}},
      // A slow station slows the fast one down to x / 10 + x / 2.5 = 1: 2 MB/s each. Heusse et al.,
      // "Performance Anomaly of 802.11b", INFOCOM 2003.
      {{{"fast", "edge", 1e6}, {"slow", "edge", 1e6}}, {0.5, 0.5}},
      // What the other leaves: 0.5 MB each until 0.25 s, then the rest at 10 MB/s.
      {{{"fast", "edge", 1e6}, {"slow", "edge", 0.5e6}}, {0.25 + 0.05, 0.25}},
      // The backbone holds the first back at 1 MB/s, a tenth of the air: x (1 / 10 + 1 / 10) = 0.9.
      {{{"fast", "cloud", 1e6}, {"fast", "other", 1e6}}, {1, 1 / 4.5}},
      // desk receives at 2 MB/s on its own medium, which takes 0.2 of fast's: 0.8 * 10 MB/s for the other.
      {{{"fast", "desk", 1e6}, {"other", "edge", 1e5}}, {0.5, 0.0125}},
      // Where slow sends to it the air would be full at 2 MB/s each: three share it at 1 / 0.6 MB/s.
      {{{"slow", "desk", 1e6}, {"fast", "edge", 1e5}, {"other", "edge", 1e5}}, {0.06 + 0.9 / 2, 0.06, 0.06}},
  };
  for (const auto& [transfers, ends_s] : cases) {
    const Scenario s = on_wifi(transfers);
    for (const NetworkModel network : {NetworkModel::kCm02, NetworkModel::kLv08}) {
      // LV08 reaches 97 % of every rate; there is no latency.
      const double factor = network == NetworkModel::kLv08 ? 0.97 : 1;
      for (const bool full : {false, true}) {
        const Json played = play(s, {.network = network, .full_solver = full});
        for (std::size_t i = 0; i < ends_s.size(); ++i) {
          CAPTURE(i);
          CAPTURE(full);
          CHECK(ended(played, i, 0) == doctest::Approx(ends_s[i] / factor).epsilon(1e-9));
        }
      }
    }
  }
  // What stations send to each other crosses the medium twice.
  const Scenario s = on_wifi({{"fast", "slow", 1e6}});
  const std::vector<LinkId> air = s.platform.find_links("air");
  CHECK(play(s, {})["bytes"][static_cast<std::size_t>(air.front())] == 2e6);
  CHECK(ended(play(on_wifi({{"fast", "slow", 1e6}}, true), {}), 0, 0) == doctest::Approx(0.004 + 0.5));
  // And the sender's radio draws 3 W for half a second, else 1 W.
  CHECK(play(s, {})["radio"][static_cast<std::size_t>(s.platform.find_host("fast"))] == doctest::Approx(1.5));
}

TEST_CASE("engine: links behind a Wi-Fi medium that changes at the same instant notice") {
  // edge sends 2 MB to the cloud over the backbone, 1 MB/s, from 0.003 s on. At 1.008 s the latencies of two
  // transfers on the air have passed, one of them 1 MB from slow to the cloud, 8 ms. From then on edge has
  // 8 / 11 and slow 3 / 11 of the backbone, until edge's 995 kB have gone; both are done after 3 MB.
  for (const bool slow_last : {true, false}) {
    CAPTURE(slow_last);
    Scenario s = on_wifi({{"edge", "cloud", 2e6}}, true);
    const auto add = [&](double date_s, const char* from, const char* to, double bytes) {
      s.jobs.push_back({date_s, {static_cast<int>(s.steps.size())}});
      s.steps.push_back({true, s.platform.find_host(from), s.platform.find_host(to), {}, bytes});
    };
    add(1, "slow", "cloud", 1e6);
    if (slow_last) {
      add(0.998, "fast", "desk", 1e7);  // 10 ms
    } else {
      add(1.004, "fast", "other", 1e7);  // 4 ms
    }
    const Json played = play(s, {});
    CHECK(ended(played, 0, 0) == doctest::Approx(1.008 + 0.995 * 11 / 8).epsilon(1e-9));
    CHECK(ended(played, 1, 0) == doctest::Approx(3.003).epsilon(1e-9));
  }
}

TEST_CASE("engine: on Wi-Fi timers and SimGrid's solver agree") {
  for (const bool latencies : {false, true}) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
      CAPTURE(latencies);
      CAPTURE(seed);
      Random random(seed);
      Scenario s = on_wifi({}, latencies);
      for (int i = 0; i < 25; ++i) {
        const HostId from = random.below(s.platform.host_count());
        const std::vector<HostId> reached = s.platform.neighbours(from);
        s.steps.push_back({true,
                           from,
                           reached[static_cast<std::size_t>(random.below(static_cast<int>(reached.size())))],
                           {},
                           std::floor(1e5 + 1e6 * random.uniform())});
        s.jobs.push_back({i % 4 == 3 ? s.jobs.back().arrival_s : 3 * random.uniform(), {i}});
      }
      const LinkId air = s.platform.find_links("air").front();
      if (seed % 4 == 0)
        s.changes = {{1, Change::Kind::kLinkState, air, 0}, {1.2, Change::Kind::kLinkState, air, 1}};
      const Json some = play(s, {}), all = play(s, {.full_solver = true});
      REQUIRE(some["done"].size() == all["done"].size());
      for (std::size_t i = 0; i < some["done"].size(); ++i) {
        CHECK(some["done"][i][2] == all["done"][i][2]);
        CHECK(some["done"][i][4].get<double>() ==
              doctest::Approx(all["done"][i][4].get<double>()).epsilon(1e-8));
      }
    }
  }
}
