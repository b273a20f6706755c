#include <doctest/doctest.h>

#include <chrono>

#include "tests/policies/random_scene.h"

using namespace cdisim;

namespace {

struct Stages {
  double device_s = 0, link_s = 0, cloud_s = 0, latency_s = 0;
  double longest_s() const { return std::max({device_s, link_s, cloud_s}); }
  double sum_s() const { return device_s + link_s + cloud_s + latency_s; }
};

// The stages of any plan with at most one piece on the source and one elsewhere, from what the plan says.
Stages stages_of(const Problem& problem, const Plan& plan) {
  Stages out;
  HostId server = problem.source;
  for (const Piece& piece : plan.pieces) {
    const Host& host = problem.platform.host(piece.host);
    const double slowdown = host.power_states[0].speed_flop_per_s /
                            host.power_states[static_cast<std::size_t>(host.power_state)].speed_flop_per_s;
    const double seconds = problem.compute_s(piece.layers, piece.host) * slowdown;
    (piece.host == problem.source ? out.device_s : out.cloud_s) += seconds;
    if (piece.host != problem.source) server = piece.host;
  }
  if (server == problem.source) return out;
  const auto host_of = [&](int end) {
    return end == kSourceEnd ? problem.source : plan.pieces[static_cast<std::size_t>(end)].host;
  };
  const double up_s = problem.transfer_s(0, problem.source, server),
               back_s = problem.transfer_s(0, server, problem.source);
  for (const PlanEdge& edge : plan_edges(problem.graph, problem.wire, plan)) {
    const HostId from = host_of(edge.from), to = host_of(edge.to);
    if (from != to) out.link_s += problem.transfer_s(edge.bytes, from, to) - (from == server ? back_s : up_s);
  }
  out.latency_s = up_s + back_s;
  return out;
}

Plan plan_of_cut(const Problem& problem, const Cut& cut, HostId server) {
  Plan plan;
  plan.exit = static_cast<int>(problem.graph.exits().size()) - 1;
  if (!cut.first.empty()) plan.pieces.push_back({cut.first, problem.source});
  if (!cut.second.empty()) plan.pieces.push_back({cut.second, server});
  return plan;
}

// A device of 11 Mflop/s, a server of 10 Gflop/s and one link of 20 kB/s for both ways, 10 ms; no result.
// Stages in ms and sums, by layers on the device:
//   0:                  4000 B: 200       server 0.25    sum 200.25 + 20 latency
//   1:  90.909          2000 B: 100       0.15           191.06 + 20
//   2: 181.818          4000 B: 200       0.05           381.87 + 20
//   3: 227.273                                           227.27
Scene slow_device() {
  Scene s = pencil_scene();
  s.platform.edit_host(s.host("device")).power_states[0].speed_flop_per_s = 1.1e7;
  s.bandwidth_bytes_per_s = {2e4};
  s.wire.result_bytes = 0;
  return s;
}

Observation at(double date_s, Observation::Kind kind = Observation::Kind::kBandwidth) {
  return {kind, date_s, {}, {}, {}};
}

}  // namespace

TEST_CASE("dads: with pencil and paper") {
  Scene s = slow_device();
  Plan plan = plan_of(s, "dads");
  CHECK(plan.decision.at("partition_point") == 1);
  CHECK(plan.decision.at("heavy") == 0);
  CHECK(plan.decision.at("device_s") == doctest::Approx(1 / 11.0));
  CHECK(plan.decision.at("link_s") == doctest::Approx(0.1));
  CHECK(plan.decision.at("cloud_s") == doctest::Approx(0.15e-3));
  CHECK(plan.decision.at("sustainable_rate_per_s") == doctest::Approx(10));
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(0.12 + 1 / 11.0 + 0.15e-3));

  // At 8 kB/s: 520 + 0.25, 361.06, 702 against 227.27 ms of the device alone; the least longest stages are
  // 500, 250, 500 and 227.27 ms.
  s.bandwidth_bytes_per_s = {8e3};
  CHECK(plan_of(s, "dads").decision.at("partition_point") == 3);
  CHECK(plan_of(s, "dads", {{"mode", "heavy"}}).decision.at("partition_point") == 3);

  // At 11 kB/s: 383.6, 293 and 227.27 ms in sum; 363.6, 181.8, 363.6 and 227.27 ms at the longest.
  s.bandwidth_bytes_per_s = {1.1e4};
  CHECK(plan_of(s, "dads").decision.at("partition_point") == 3);
  plan = plan_of(s, "dads", {{"mode", "heavy"}});
  CHECK(plan.decision.at("partition_point") == 1);
  CHECK(plan.decision.at("heavy") == 1);
}

TEST_CASE("dads: DSL is the best of all cuts") {
  Random random(41);
  int dags = 0;
  for (int trial = 0; trial < 200; ++trial) {
    CAPTURE(trial);
    Scene s = random_scene(random, trial % 4 == 0);
    const Problem problem = s.problem();
    const Plan plan = plan_of(s, "dads", {{"mode", "light"}});
    double least = std::numeric_limits<double>::infinity();
    for (const char* server : {"edge", "cloud"}) {
      for_each_cut(s.graph, s.graph.exit_layers(1), [&](const Cut& cut) {
        least = std::min(least, stages_of(problem, plan_of_cut(problem, cut, s.host(server))).sum_s());
      });
    }
    const Stages stages = stages_of(problem, plan);
    CHECK(stages.sum_s() == doctest::Approx(least).epsilon(1e-9));
    CHECK(plan.decision.at("device_s") == doctest::Approx(stages.device_s).epsilon(1e-9));
    CHECK(plan.decision.at("link_s") == doctest::Approx(stages.link_s).epsilon(1e-9));
    CHECK(plan.decision.at("cloud_s") == doctest::Approx(stages.cloud_s).epsilon(1e-9));
    if (trial % 4 != 0) ++dags;
  }
  CHECK(dags >= 100);
}

TEST_CASE("dads: DSH is within 3 times the best of all cuts, and no worse than DSL") {
  Random random(42);
  double worst = 1, sum = 0;
  int trials = 0, exact = 0;
  for (; trials < 200; ++trials) {
    CAPTURE(trials);
    Scene s = random_scene(random, trials % 4 == 0);
    const Problem problem = s.problem();
    const double longest_s = stages_of(problem, plan_of(s, "dads", {{"mode", "heavy"}})).longest_s();
    const double light_s = stages_of(problem, plan_of(s, "dads", {{"mode", "light"}})).longest_s();
    double least = std::numeric_limits<double>::infinity();
    for (const char* server : {"edge", "cloud"}) {
      for_each_cut(s.graph, s.graph.exit_layers(1), [&](const Cut& cut) {
        least = std::min(least, stages_of(problem, plan_of_cut(problem, cut, s.host(server))).longest_s());
      });
    }
    CHECK(longest_s >= least * (1 - 1e-9));
    CHECK(longest_s <= 3 * least);
    CHECK(longest_s <= light_s * (1 + 1e-9));
    worst = std::max(worst, longest_s / least);
    sum += longest_s / least;
    if (longest_s <= least * (1 + 1e-9)) ++exact;
  }
  MESSAGE("longest stage over the optimum's: mean ", sum / trials, ", worst ", worst, ", exact in ", exact,
          " of ", trials);
}

TEST_CASE("dads: the load chooses between the two") {
  Scene s = slow_device();
  s.bandwidth_bytes_per_s = {1.1e4};  // DSL 227.27 ms, 4.4 frames a second; DSH 181.8 ms, 5.5
  const auto heavy = [&](double rate) { return plan_of(s, "dads", {{"rate", rate}}).decision.at("heavy"); };
  CHECK(heavy(4.3) == 0);
  CHECK(heavy(4.4) == 0);  // as fast as the device
  CHECK(heavy(4.5) == 1);
  CHECK(heavy(100) == 1);  // too much for both: the frames queue

  // Observed: light until there are two arrivals; then 5 a second; then nobody comes for 10 s.
  const std::unique_ptr<Policy> policy = policy_of("dads");
  CHECK(policy->plan(s.problem()).decision.at("heavy") == 0);
  CHECK_FALSE(policy->replan(s.problem(), at(0)));
  for (const double date : {0.0, 0.2, 0.4})
    CHECK_FALSE(policy->replan(s.problem(), at(date, Observation::Kind::kArrival)));
  std::optional<Plan> plan = policy->replan(s.problem(), at(0.5));
  REQUIRE(plan);
  CHECK(plan->decision.at("heavy") == 1);
  CHECK(*plan == plan_of(s, "dads", {{"mode", "heavy"}}));
  plan = policy->replan(s.problem(), at(10));
  REQUIRE(plan);
  CHECK(plan->decision.at("heavy") == 0);
  // Frames that come at once are more than any cut can serve.
  for (int i = 0; i < 11; ++i) CHECK_FALSE(policy->replan(s.problem(), at(11, Observation::Kind::kArrival)));
  CHECK(policy->replan(s.problem(), at(11)));
}

TEST_CASE("dads: follows the bandwidth, once a period, and keeps what need not change") {
  Scene s = slow_device();
  const std::unique_ptr<Policy> policy = policy_of("dads", {{"period", "2s"}});
  CHECK(policy->plan(s.problem()).decision.at("partition_point") == 1);
  CHECK_FALSE(policy->replan(s.problem(), at(0)));  // nothing has changed
  s.bandwidth_bytes_per_s = {2.001e4};
  CHECK_FALSE(policy->replan(s.problem(), at(2)));  // not enough to matter
  s.bandwidth_bytes_per_s = {8e3};
  CHECK_FALSE(policy->replan(s.problem(), at(3)));  // too soon
  const std::optional<Plan> plan = policy->replan(s.problem(), at(4));
  REQUIRE(plan);
  CHECK(plan->decision.at("partition_point") == 3);
  CHECK(*plan == plan_of(s, "dads"));
}

TEST_CASE("dads: wrong parameters") {
  CHECK(input_error([] { policy_of("dads", {{"rate", -1}}); }).starts_with("p.json: /rate: -1"));
  CHECK(input_error([] { policy_of("dads", {{"window", 0}}); }).starts_with("p.json: /window: 0"));
  CHECK(input_error([] { policy_of("dads", {{"grid", 2}}); }).starts_with("p.json: /grid: 2"));
  CHECK(input_error([] { policy_of("dads", {{"shrink", 1}}); }).starts_with("p.json: /shrink: 1"));
  CHECK(input_error([] { policy_of("dads", {{"epsilon", -1}}); }).starts_with("p.json: /epsilon: -1"));
}

// For information: the program's policies are built with optimisation, this test is not.
TEST_CASE("dads: time to plan") {
  const auto seconds = [](const std::function<void()>& f) {
    const auto start = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  for (const char* model : {"tiny_yolov2_288", "resnet18", "resnet152", "densenet121"}) {
    Scene s = scene("platforms/pi3_wifi_cloud.xml", fmt::format("workloads/{}.json", model));
    s.source = "pi3";
    s.model = LatencyModel::roofline(kRoot + "/platforms/hardware.json");
    for (const char* mode : {"light", "heavy"}) {
      const Json parameters = {{"mode", mode}, {"server", "edge"}};
      const std::unique_ptr<Policy> policy = policy_of("dads", parameters);
      const double first_s = seconds([&] { policy->plan(s.problem()); });
      double again_s = 0;
      constexpr int kTimes = 5;
      for (int i = 0; i < kTimes; ++i) {
        s.bandwidth_bytes_per_s[0] *= 1.1;
        again_s += seconds([&] { policy->replan(s.problem(), at(i)); }) / kTimes;
      }
      MESSAGE(fmt::format("{} ({} layers), {}: plan {:.2f} ms, replan {:.2f} ms", model, s.graph.size(), mode,
                          1e3 * first_s, 1e3 * again_s));
    }
  }
}
