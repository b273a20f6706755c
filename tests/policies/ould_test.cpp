// OULD against a pencil and against brute force over the placements of all requests.

#include <doctest/doctest.h>

#include <limits>
#include <map>

#include "policies/shared/blocks.h"
#include "sim/random.h"
#include "tests/policies/swarm_scene.h"

using namespace cdisim;

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kAnywhere_bytes = 1e9;

struct Limits {
  double macs = 0, energy_j = 0;
};

struct Best {
  std::size_t away = 0;
  double sum_s = kNever;
};

// All placements of the stages of all sources' requests, by estimate(); budgets counted anew.
Best brute_force(const Problem& problem, const Limits& limits) {
  const BlockTree chain = block_chain(problem, 20);
  const int n = problem.platform.host_count();
  std::vector<std::vector<HostId>> ways{{}};
  std::vector<HostId> at(chain.blocks.size(), 0);
  for (std::size_t b = 0; b < at.size();) {
    if (b == 0) ways.push_back(at);
    if (++at[b] < n) {
      b = 0;
    } else {
      at[b++] = 0;
    }
  }
  std::vector<std::vector<double>> latency_s;  // by source, way
  for (const HostId source : problem.sources) {
    Problem own = problem;
    own.source = source;
    std::vector<double>& row = latency_s.emplace_back();
    for (const auto& way : ways)
      row.push_back(way.empty() ? 0 : estimate(own, block_plan(chain, way)).latency_s);
  }
  Best best{problem.sources.size() + 1, kNever};
  std::vector<std::size_t> chosen(problem.sources.size(), 0);
  const auto count = [&] {
    std::vector<double> bytes(static_cast<std::size_t>(n), kStageWork_bytes), macs(bytes.size(), 0),
        joule = macs;
    double sum = 0;
    std::size_t away = 0;
    for (std::size_t u = 0; u < chosen.size(); ++u) {
      const std::vector<HostId>& way = ways[chosen[u]];
      sum += latency_s[u][chosen[u]];
      away += way.empty() ? 1 : 0;
      for (std::size_t b = 0; b < way.size(); ++b) {
        const auto host = static_cast<std::size_t>(way[b]);
        const PowerState& power = problem.platform.host(way[b]).power_states.front();
        for (const LayerId id : chain.blocks[b].layers) {
          const Layer& layer = problem.graph.layer(id);
          bytes[host] += layer.weight_bytes;
          macs[host] += layer.macs;
          joule[host] += (power.all_cores_w - power.idle_w) * layer.work_flop / power.speed_flop_per_s;
        }
      }
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] > *problem.platform.host(static_cast<HostId>(i)).memory_bytes) return;
      if (limits.macs > 0 && macs[i] > limits.macs) return;
      if (limits.energy_j > 0 && joule[i] > limits.energy_j) return;
    }
    if (away < best.away || (away == best.away && sum < best.sum_s)) best = {away, sum};
  };
  const auto place = [&](const auto& self, std::size_t u) -> void {
    if (u == chosen.size()) return count();
    for (chosen[u] = 0; chosen[u] < ways.size(); ++chosen[u]) self(self, u + 1);
  };
  place(place, 0);
  return best;
}

// No room on uav_0, so that all runs on uav_1, at 1 MB/s, or on uav_2, at 0.5 MB/s; both have 100 Mflop/s.
Scene two_ways() {
  return swarm_scene(swarm_xml(
      3, [](int i) { return swarm_host(1e8, i == 0 ? 1 : kAnywhere_bytes); },
      [](int i, int k) { return i == 0 && k == 1 ? 1e6
                                : i == 0         ? 5e5
                                                 : 1e6; }));
}
constexpr double kWork_s = (19280128 + 7231616 + 6272 + 65792) / 1e8;
HostId server(const Plan& plan) {
  return plan.pieces.front().host;
}

Observation at(double date_s) {
  Observation out;
  out.kind = Observation::Kind::kBandwidth;
  out.date_s = date_s;
  return out;
}

}  // namespace

TEST_CASE("ould: optimal on 120 random swarms, by brute force over estimate()") {
  Random random(1);
  int programmes = 0, away = 0;
  for (int round = 0; round < 120; ++round) {
    CAPTURE(round);
    Scene s = swarm_scene(swarm_xml(
        3,
        [&](int) {
          return swarm_host(5e7 + 5e8 * random.uniform(), kStageWork_bytes + 1e6 * random.uniform(),
                            2 + 8 * random.uniform());
        },
        [&](int, int) { return 1e6 * (0.1 + random.uniform()); }));
    Limits limits;
    if (random.below(2) == 0) limits.macs = 1e7 * (1 + random.uniform());
    if (random.below(2) == 0) limits.energy_j = 0.2 + random.uniform();
    Problem problem = s.problem();
    const std::vector<HostId> sources{0, 1};
    problem.sources = sources;
    const Best best = brute_force(problem, limits);
    double sum = 0;
    for (const HostId source : sources) {
      problem.source = source;
      const Plan plan =
          policy_of("ould", {{"macs_per_host", limits.macs}, {"energy_per_host", limits.energy_j}})
              ->plan(problem);
      check_plan(s.graph, s.platform, source, s.wire, plan, "test");
      CHECK(plan.decision.at("turned_away") == static_cast<double>(best.away));
      CHECK(plan.decision.at("objective_s") == doctest::Approx(best.sum_s).epsilon(1e-7));
      CHECK(plan.decision.at("proven") == 1);
      CHECK(plan.decision.at("served") == (plan.pieces.empty() ? 0 : 1));
      programmes += plan.decision.at("programme") == 1 ? 1 : 0;
      if (plan.pieces.empty()) continue;
      CHECK(plan.decision.at("predicted_latency_s") ==
            doctest::Approx(estimate(problem, plan).latency_s).epsilon(1e-9));
      sum += estimate(problem, plan).latency_s;
    }
    CHECK(sum == doctest::Approx(best.sum_s).epsilon(1e-7));
    away += best.away > 0 ? 1 : 0;
  }
  CHECK(programmes > 0);
  CHECK(away > 0);
  MESSAGE("120 swarms, " << away << " with requests turned away, " << programmes
                         << " programmes for 240 plans");
}

TEST_CASE("ould: looks a horizon ahead where the rates are known") {
  // The link to uav_1 falls to a tenth after 5 s: over 10 s a byte takes (1 + 10) / 2 us there, 2 us to
  // uav_2.
  Scene s = two_ways();
  const LinkId near = s.platform.route(0, 1)->links.front();
  const std::vector<std::pair<LinkId, BandwidthTrace>> future{
      {near, {.start_s = {0, 5}, .bandwidth_bytes_per_s = {1e6, 1e5}, .length_s = 5, .repeat = false}}};
  Problem problem = s.problem();
  problem.future = future;
  const Plan now = policy_of("ould")->plan(problem);
  CHECK(server(now) == 1);
  CHECK(now.decision.at("predicted_latency_s") == doctest::Approx(0.004 + (602112 + 1024) * 1e-6 + kWork_s));
  const Plan ahead = policy_of("ould", {{"horizon", "10s"}})->plan(problem);
  CHECK(server(ahead) == 2);
  CHECK(ahead.decision.at("predicted_latency_s") ==
        doctest::Approx(0.004 + (602112 + 1024) * 2e-6 + kWork_s));
  // Over 6 s it is (5 + 10) / 6 us, 5 of the 6 dates being before the fall; over 5 s it is 1 us.
  CHECK(server(policy_of("ould", {{"horizon", "6s"}})->plan(problem)) == 2);
  CHECK(server(policy_of("ould", {{"horizon", "5s"}})->plan(problem)) == 1);
  // Out of range at one of the dates: no mean helps.
  std::vector<std::pair<LinkId, BandwidthTrace>> lost = future;
  lost.front().second.bandwidth_bytes_per_s = {1e9, 0.125};
  problem.future = lost;
  CHECK(server(policy_of("ould", {{"horizon", "6s"}})->plan(problem)) == 2);
}

TEST_CASE("ould: continues the trend where nothing is known ahead") {
  // uav_1's rate falls from 1 MB/s to 0.6 within a horizon of 10 s, and so on by 0.6 in 10 s: the mean of
  // 0.6^(-t / 10) over ten dates is 1.304, 2.17 us a byte against 2 to uav_2. Not so where it rises to 0.6.
  Scene s = two_ways();
  const LinkId near = s.platform.route(0, 1)->links.front();
  const std::vector<std::pair<LinkId, BandwidthTrace>> future{
      {near, {.start_s = {0}, .bandwidth_bytes_per_s = {1e9}, .length_s = 1, .repeat = false}}};
  for (const double before : {1e6, 5.5e5}) {
    s.problem();
    s.bandwidth_bytes_per_s[static_cast<std::size_t>(near)] = before;
    Problem problem = s.problem();
    problem.future = future;
    const auto policy = policy_of("ould", {{"horizon", "10s"}, {"prediction", "trend"}});
    CHECK(server(policy->plan(problem)) == 1);
    s.bandwidth_bytes_per_s[static_cast<std::size_t>(near)] = 6e5;
    CHECK(!policy->replan(problem, at(9)));
    const std::optional<Plan> plan = policy->replan(problem, at(10));
    CHECK(plan.has_value() == (before > 6e5));
    if (!plan) continue;
    CHECK(server(*plan) == 2);
  }
}

TEST_CASE("ould: decides anew when a rate has changed, with a horizon only at its end") {
  Scene s = two_ways();
  const auto near = static_cast<std::size_t>(s.platform.route(0, 1)->links.front());
  const Problem problem = s.problem();
  const auto ould = policy_of("ould"), ahead = policy_of("ould", {{"horizon", "10s"}});
  CHECK(server(ould->plan(problem)) == 1);
  CHECK(server(ahead->plan(problem)) == 1);
  CHECK(!ould->replan(problem, at(1)));
  s.bandwidth_bytes_per_s[near] = 4e5;
  const std::optional<Plan> second = ould->replan(problem, at(2));
  REQUIRE(second);
  CHECK(server(*second) == 2);
  CHECK(!ould->replan(problem, at(3)));
  CHECK(!ahead->replan(problem, at(9)));
  const std::optional<Plan> later = ahead->replan(problem, at(10));
  REQUIRE(later);
  CHECK(server(*later) == 2);
  // uav_2 goes off: at once, for both. Then uav_1 as well: turned away.
  std::vector<char> on{1, 1, 0};
  Observation off = at(11);
  off.host_on = on;
  for (const auto* policy : {&ould, &ahead}) {
    const std::optional<Plan> third = (*policy)->replan(problem, off);
    REQUIRE(third);
    CHECK(server(*third) == 1);
  }
  on[1] = 0;
  for (const auto* policy : {&ould, &ahead}) {
    const std::optional<Plan> none = (*policy)->replan(problem, off);
    REQUIRE(none);
    CHECK(none->pieces.empty());
    CHECK(none->decision.at("turned_away") == 1);
  }
}

TEST_CASE("ould: batteries and links that are off are limits") {
  Scene s = two_ways();
  Problem problem = s.problem();
  // The first stage takes 0.19 s at 1 W above idle: 0.1 J do not last on uav_1, and what follows it is not
  // worth another transfer.
  const std::vector<double> battery_j{1e9, 0.1, 1e9};
  problem.battery_j = battery_j;
  const auto policy = policy_of("ould");
  CHECK(server(policy->plan(problem)) == 2);
  problem.battery_j = {};
  std::vector<char> link_on(static_cast<std::size_t>(s.platform.link_count()), 1);
  link_on[static_cast<std::size_t>(s.platform.route(0, 2)->links.front())] = 0;
  Observation off = at(1);
  off.link_on = link_on;
  const std::optional<Plan> plan = policy->replan(problem, off);
  REQUIRE(plan);
  CHECK(server(*plan) == 1);
}

TEST_CASE("ould: its heuristics go over the fastest link, or where most memory is left") {
  // uav_0 has room for the first stage alone; uav_2 has more memory than uav_1, over the slower link.
  Scene s = swarm_scene(swarm_xml(
      3, [](int i) { return swarm_host(1e8, kStageWork_bytes + (i == 0   ? 2e5
                                                                : i == 1 ? 1e6
                                                                         : 2e6)); },
      [](int i, int k) { return i == 0 && k == 1 ? 1e6 : 5e5; }));
  for (const auto& [placement, host] : std::map<std::string, HostId>{{"nearest", 1}, {"roomiest", 2}}) {
    const Plan plan = plan_of(s, "ould", {{"placement", placement}});
    REQUIRE(plan.pieces.size() == 2);
    CHECK(plan.pieces[0].host == 0);
    CHECK(plan.pieces[1].host == host);
    CHECK(plan.decision.at("proven") == 0);
    CHECK(plan.decision.at("predicted_latency_s") ==
          doctest::Approx(estimate(s.problem(), plan).latency_s).epsilon(1e-9));
  }
}

TEST_CASE("ould: plans for the bundled swarm are proven") {
  Scene s{Platform::load(kRoot + "/platforms/uav_mesh.xml"),
          LayerGraph::load(kRoot + "/workloads/vgg16.json"),
          LatencyModel::roofline(kRoot + "/platforms/hardware.json")};
  s.source = "uav_0";
  s.wire.input_bytes = 150528;
  Random random(2);
  s.problem();
  for (double& rate : s.bandwidth_bytes_per_s) rate = 1e6 * (2 + 10 * random.uniform());
  for (int n = 1; n <= 6; ++n) {
    Problem problem = s.problem();
    std::vector<HostId> sources;
    for (HostId id = 0; id < n; ++id) sources.push_back(id);
    problem.sources = sources;
    const Plan plan = policy_of("ould", {{"macs_per_host", 4e10}})->plan(problem);
    CHECK(plan.decision.at("proven") == 1);
    CHECK(plan.decision.at("turned_away") == 0);
  }
}

TEST_CASE("ould: errors") {
  const auto error = [](const Json& parameters) {
    return input_error([&] { policy_of("ould", parameters); });
  };
  CHECK(error({{"units", 0}}).find("/units") != std::string::npos);
  CHECK(error({{"step", "0s"}}).find("/step") != std::string::npos);
  CHECK(error({{"horizon", "500ms"}}).find("/horizon") != std::string::npos);
  CHECK(error({{"macs_per_host", -1}}).find("/macs_per_host") != std::string::npos);
  CHECK(error({{"energy_per_host", -1}}).find("/energy_per_host") != std::string::npos);
}
