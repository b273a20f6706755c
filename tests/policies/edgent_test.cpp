#include <doctest/doctest.h>

#include <cmath>

#include "policies/shared/chain.h"
#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

// What the paper's optimiser believed: Fig. 3's times on the device, Table II's on the edge, tensors of 8
// bytes per element (Fig. 3), an input of 24,876 B (inferred from Fig. 7's predicted curve), no way back for
// the result.
Scene paper(double kbps, double deadline_ms) {
  Scene s = scene("platforms/pi3_lan_desktop.xml", "workloads/branchy_alexnet.json");
  s.source = "pi3";
  s.model = LatencyModel::load(kRoot + "/platforms/latency/edgent_prediction.json");
  s.wire = {.input_bytes = 24876, .bytes_per_element = 8, .result_bytes = 0};
  s.deadline_s = deadline_ms * 1e-3;
  s.bandwidth_bytes_per_s = {kbps * 125};
  return s;
}

const Observation kObservation{Observation::Kind::kBandwidth, 0, {}, {}, {}};

BandwidthTrace steady(double kbps, int samples) {
  BandwidthTrace trace;
  for (int i = 0; i < samples; ++i) {
    trace.start_s.push_back(i);
    trace.bandwidth_bytes_per_s.push_back(kbps * 125);
  }
  trace.length_s = samples;
  return trace;
}

}  // namespace

TEST_CASE("edgent: selections of Fig. 6, deadline 1000 ms") {
  // Source: Li, Zhou, Chen, MECOMM 2018 (arXiv 1806.07840v2), Fig. 6: exit and partition point, read in the
  // vector drawing; Fig. 7: predicted latency, likewise (+- 3 ms), where it follows from one input size (see
  // below).
  struct Point {
    double kbps;
    int exit, p;
    double predicted_ms;  // 0: not compared
  };
  // Not compared: 200 to 500 kbit/s, where Fig. 7 (671, 476, 310, 260 ms) fits no single input size.
  const Point points[] = {{50, 1, 1, 2283.2},   {60, 1, 1, 2283.2},   {70, 1, 1, 2283.2},
                          {80, 1, 1, 2283.2},   {90, 1, 13, 2217.9},  {100, 1, 13, 1996.7},
                          {200, 1, 13, 0},      {300, 5, 23, 0},      {400, 5, 23, 0},
                          {500, 5, 23, 0},      {1000, 5, 23, 206.3}, {1200, 5, 23, 173.1},
                          {1500, 5, 17, 996.6}, {2000, 5, 16, 993.9}};
  for (const Point& point : points) {
    CAPTURE(point.kbps);
    Scene s = paper(point.kbps, 1000);
    const Plan plan = plan_of(s, "edgent");
    CHECK(plan.decision.at("exit") == point.exit);
    CHECK(plan.exit == point.exit - 1);
    CHECK(plan.decision.at("partition_point") == point.p);
    const double predicted_s = plan.decision.at("predicted_latency_s");
    CHECK(predicted_s == doctest::Approx(estimate(s.problem(), plan).latency_s).epsilon(1e-12));
    if (point.predicted_ms > 0) CHECK(predicted_s * 1e3 == doctest::Approx(point.predicted_ms).epsilon(0.01));
  }
}

TEST_CASE("edgent: selections of Fig. 8, 500 kbit/s") {
  // Source: as above, Fig. 8; exit and partition point.
  for (const double deadline_ms : {100, 200, 300, 350, 400, 450, 500, 600, 700, 800, 900, 1000}) {
    CAPTURE(deadline_ms);
    Scene s = paper(500, deadline_ms);
    const Plan plan = plan_of(s, "edgent");
    const bool deepest = deadline_ms >= 450;
    CHECK(plan.decision.at("exit") == (deepest ? 5 : 1));
    CHECK(plan.decision.at("partition_point") == (deepest ? 23 : 13));
  }
}

TEST_CASE("edgent: layers before the partition point are on the edge") {
  Scene s = paper(1500, 1000);
  const Plan plan = plan_of(s, "edgent");  // p = 17
  REQUIRE(plan.pieces.size() == 2);
  CHECK(plan.pieces[0].host == s.host("desktop"));
  CHECK(plan.pieces[0].layers.size() == 16);
  CHECK(plan.pieces[1].host == s.host("pi3"));
  CHECK(s.graph.layer(plan.pieces[1].layers.front()).name == "relu_6");
}

TEST_CASE("edgent: Algorithm 1 as written takes the fastest partition of the deepest exit in time") {
  for (const double kbps : {300, 1000, 1500, 2000}) {
    CAPTURE(kbps);
    Scene s = paper(kbps, 1000);
    const Plan plan = plan_of(s, "edgent", {{"search", "argmin"}});
    CHECK(plan.decision.at("exit") == 5);
    CHECK(plan.decision.at("partition_point") == 23);
  }
  // 24,876 B at 50 kbit/s take 3980 ms, at 80 kbit/s 2488: nothing is in time, and exit 1 is fastest on the
  // device.
  Scene s = paper(50, 1000);
  const Plan plan = plan_of(s, "edgent", {{"search", "argmin"}});
  CHECK(plan.decision.at("exit") == 1);
  CHECK(plan.decision.at("partition_point") == 1);
}

TEST_CASE("edgent: pencil case") {
  // chain3, p by layers on the server (10 Gflop/s, 8 Mbit/s, 10 ms) before the device (1 Gflop/s):
  //   p = 1: 2.5 ms; p = 2: 14 + 0.1 + 12 + 1.5 = 27.6; p = 3: 14 + 0.2 + 14 + 0.5 = 28.7; p = 4: 14 + 0.25 +
  //   11 = 25.25
  Scene s = pencil_scene();
  const auto p = [&](const Json& parameters) {
    return plan_of(s, "edgent", parameters).decision.at("partition_point");
  };
  CHECK(p({{"search", "argmin"}}) == 1);
  s.platform.edit_host(s.host("device")).power_states[0].speed_flop_per_s = 1e8;
  //   p = 1: 25; p = 2: 26.1 + 15 = 41.1; p = 3: 28.2 + 5 = 33.2; p = 4: 25.25
  CHECK(p({{"search", "argmin"}}) == 1);
  s.platform.edit_host(s.host("device")).power_states[0].speed_flop_per_s = 9e7;
  //   p = 1: 27.78; p = 3: 28.2 + 5.56 = 33.76; p = 4: 25.25
  CHECK(p({{"search", "argmin"}}) == 4);
  CHECK(p(Json::object()) == 1);  // no deadline
  s.deadline_s = 26e-3;
  CHECK(p(Json::object()) == 4);
  s.deadline_s = 1e-3;  // nothing is in time: the fastest
  CHECK(p(Json::object()) == 4);
}

TEST_CASE("edgent: static plans stay") {
  Scene s = paper(1000, 1000);
  const std::unique_ptr<Policy> policy = policy_of("edgent");
  policy->plan(s.problem());
  s.bandwidth_bytes_per_s = {1e3};
  CHECK_FALSE(policy->replan(s.problem(), kObservation));
}

TEST_CASE("edgent dynamic: without a history the states are multiples of the present bandwidth") {
  Scene s = paper(240, 1000);
  const std::unique_ptr<Policy> policy = policy_of("edgent", {{"mode", "dynamic"}});
  // Expected: the configuration of greatest exp(accuracy) + 1 / latency at that bandwidth.
  const auto expected = [](double kbps) {
    Scene at = paper(kbps, 1000);
    double most = 0;
    std::map<std::string, double> decision;
    for (int exit = 0; exit < 5; ++exit) {
      const std::vector<Estimate> costs = chain_costs(at.problem(), exit, at.host("desktop"), at.host("pi3"));
      for (std::size_t k = 0; k < costs.size(); ++k) {
        const double latency_s = costs[k].latency_s;
        const double reward =
            std::exp(*at.graph.exits()[static_cast<std::size_t>(exit)].accuracy) + 1 / latency_s;
        if (latency_s > at.deadline_s || reward <= most) continue;
        most = reward;
        decision = {{"exit", exit + 1},
                    {"partition_point", static_cast<double>(k) + 1},
                    {"predicted_latency_s", latency_s}};
      }
    }
    return decision;
  };
  CHECK(policy->plan(s.problem()).decision == expected(240));
  for (int i = 0; i < 20; ++i) CHECK_FALSE(policy->replan(s.problem(), kObservation));
  // 65 kbit/s is nearest to a quarter: there nothing is in time, so exit 1 at its fastest, on the device.
  s.bandwidth_bytes_per_s = {65 * 125.0};
  std::optional<Plan> plan = policy->replan(s.problem(), kObservation);
  REQUIRE(plan);
  CHECK(plan->decision.at("exit") == 1);
  CHECK(plan->decision.at("partition_point") == 1);
  for (int i = 0; i < 20; ++i) CHECK_FALSE(policy->replan(s.problem(), kObservation));
  // 900 kbit/s is nearest to four times: the plan is the one for 960.
  s.bandwidth_bytes_per_s = {900 * 125.0};
  plan = policy->replan(s.problem(), kObservation);
  REQUIRE(plan);
  CHECK(plan->decision == expected(960));
}

TEST_CASE("edgent dynamic: states come from the history") {
  Scene s = paper(60, 1000);
  s.history = {steady(2000, 25), steady(50, 25)};
  const Json parameters = {{"mode", "dynamic"}, {"states", 2}, {"window", 10}};
  const std::unique_ptr<Policy> policy = policy_of("edgent", parameters);
  // Four windows, two at each level. At 50 kbit/s nothing is in time: exit 1 on the device alone.
  Plan plan = policy->plan(s.problem());
  CHECK(plan.decision.at("partition_point") == 1);
  CHECK(plan.decision.at("exit") == 1);
  // 1100 kbit/s is nearer to 2000 than to 50: the prediction is that of 2000.
  s.bandwidth_bytes_per_s = {1100 * 125.0};
  plan = plan_of(s, "edgent", parameters);
  Scene fast = paper(2000, 1000);
  fast.history = {steady(2000, 5)};  // shorter than a window: one point
  CHECK(plan.decision == plan_of(fast, "edgent", parameters).decision);
  CHECK(plan.decision.at("partition_point") > 1);
  // One state only: the mean of both levels, 1025 kbit/s.
  const Json one = {{"mode", "dynamic"}, {"states", 1}};
  Scene middle = paper(1025, 1000);
  middle.history = {steady(1025, 10)};
  CHECK(plan_of(s, "edgent", one).decision.at("predicted_latency_s") ==
        doctest::Approx(plan_of(middle, "edgent", one).decision.at("predicted_latency_s")).epsilon(1e-12));
}

TEST_CASE("edgent dynamic: needs accuracies; parameters within their ranges") {
  Scene s = pencil_scene();
  CHECK(input_error([&] {
          plan_of(s, "edgent", {{"mode", "dynamic"}});
        }).find("exit \"output\" has no accuracy") != std::string::npos);
  for (const auto& [name, value] : std::vector<std::pair<std::string, Json>>{{"states", 0},
                                                                             {"states", 1001},
                                                                             {"window", 0},
                                                                             {"hazard", 1},
                                                                             {"threshold", 0},
                                                                             {"threshold", 1}}) {
    CAPTURE(name);
    const std::string error = input_error([&] { policy_of("edgent", {{name, value}}); });
    CHECK(error.starts_with("p.json: /" + name + ": " + value.dump() + ": valid: "));
  }
}

TEST_CASE("edgent: the fastest edge host, or the one that is named") {
  Scene s = pencil_scene();
  CHECK(input_error([&] { plan_of(s, "edgent", {{"server", "device"}}); }).ends_with("valid: server"));
  s.platform.edit_host(s.host("server")).tier = Tier::kCloud;
  CHECK(input_error([&] {
          plan_of(s, "edgent");
        }).ends_with("pencil.xml: no other host of tier edge with a route from and to \"device\""));
  CHECK_NOTHROW(plan_of(s, "edgent", {{"server", "server"}}));
}
