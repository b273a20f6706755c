// The search against Edgent's, what is learned against the search, and both on traces of other seeds against
// random, every static choice and the clairvoyant optimum.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "policies/shared/chain.h"
#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "sim/experiment.h"
#include "sim/random.h"
#include "tests/policies/scene.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

// As in experiments/boomerang.json.
Scene testbed(double kbps, double deadline_ms) {
  Scene s = scene("platforms/pi3_lan_desktop.xml", "workloads/branchy_alexnet.json");
  s.source = "pi3";
  s.model = LatencyModel::load(kRoot + "/platforms/latency/edgent_execution.json");
  s.wire = {.input_bytes = 14500, .bytes_per_element = 8, .result_bytes = 0};
  s.deadline_s = deadline_ms * 1e-3;
  s.bandwidth_bytes_per_s = {kbps * 125};
  return s;
}

using Decision = std::pair<int, int>;  // exit, partition point
Decision decision(const Plan& plan) {
  return {static_cast<int>(plan.decision.at("exit")), static_cast<int>(plan.decision.at("partition_point"))};
}

// What one policy decides for requests that arrive one after another.
class Decider {
 public:
  Decider(Scene& s, const Json& parameters) : s_(s), policy_(policy_of("boomerang", parameters)) {
    last_ = decision(policy_->plan(s.problem()));
  }
  Decision at(double kbps, double deadline_s) {
    s_.bandwidth_bytes_per_s = {kbps * 125};
    s_.deadline_s = deadline_s;
    const Observation arrival{Observation::Kind::kArrival, 0, {}, {}, {}};
    if (const std::optional<Plan> plan = policy_->replan(s_.problem(), arrival)) last_ = decision(*plan);
    return last_;
  }

 private:
  Scene& s_;
  std::unique_ptr<Policy> policy_;
  Decision last_;
};

// Share of requests, drawn over all bandwidths and deadlines that are learned for, decided alike.
double agreement(const Json& learned, std::uint64_t seed) {
  Scene a = testbed(500, 1000), b = testbed(500, 1000);
  a.seed = seed;
  Json parameters = learned;
  parameters["version"] = "drl";
  Decider learner(a, parameters), searcher(b, {{"version", "regression"}});
  Random random(77);
  int alike = 0;
  constexpr int kRequests = 4000;
  for (int i = 0; i < kRequests; ++i) {
    const double kbps = 20 * std::pow(100, random.uniform()),
                 deadline_s = 0.1 * std::pow(30, random.uniform());
    if (learner.at(kbps, deadline_s) == searcher.at(kbps, deadline_s)) ++alike;
  }
  return static_cast<double>(alike) / kRequests;
}

// The date at which a transfer ends that has the link to itself.
double transferred(const BandwidthTrace& trace, double date_s, double bytes) {
  while (bytes > 0) {
    const double rate = trace.at(date_s), until_s = trace.next_change(date_s);
    if (bytes <= rate * (until_s - date_s)) return date_s + bytes / rate;
    bytes -= rate * (until_s - date_s);
    date_s = until_s;
  }
  return date_s;
}

// The mean accuracy in time of the best decisions that know the whole trace. The dynamic program over the
// requests, whose state would be what of earlier ones is still on the way: as deadline < period nothing is of
// those in time, and some decision always is (checked), so the best of each request is best for all.
double clairvoyant(const RunSetup& setup) {
  const RunSpec& spec = setup.spec;
  const std::vector<double> bandwidth{1};
  const Problem problem{.graph = *setup.graph,
                        .platform = setup.platform,
                        .latency_model = *setup.latency_model,
                        .wire = spec.wire,
                        .source = spec.sources[0],
                        .deadline_s = spec.deadline_s,
                        .bandwidth_bytes_per_s = bandwidth,
                        .history = {}};
  REQUIRE(spec.deadline_s < spec.arrivals.period_s);
  REQUIRE(spec.bandwidth_traces.size() == 1);
  const BandwidthTrace& trace = spec.bandwidth_traces[0].second;
  const HostId edge = setup.platform.find_host("desktop");
  double sum = 0;
  int requests = 0;
  for (double date_s = 0; date_s + spec.deadline_s <= *spec.horizon_s; date_s += spec.arrivals.period_s) {
    double best = 0;
    for (int exit = 0; exit <= deepest_exit(problem); ++exit) {
      const std::span<const LayerId> layers = setup.graph->exit_layers(exit);
      const std::vector<double> crossing = crossing_bytes(problem, exit);
      const double accuracy = *setup.graph->exits()[static_cast<std::size_t>(exit)].accuracy;
      for (std::size_t k = 0; k <= layers.size(); ++k) {
        double end_s = date_s;
        if (k > 0) {
          end_s =
              transferred(trace, end_s, input_bytes(problem)) + problem.compute_s(layers.subspan(0, k), edge);
          end_s = transferred(trace, end_s, k < layers.size() ? crossing[k] : result_bytes(problem, exit));
        }
        end_s += problem.compute_s(layers.subspan(k), problem.source);
        if (end_s - date_s <= spec.deadline_s) best = std::max(best, accuracy);
      }
    }
    CHECK(best > 0);
    sum += best;
    ++requests;
  }
  return sum / requests;
}

}  // namespace

TEST_CASE("boomerang: the search is Edgent's") {
  int in_time = 0;
  for (const double kbps : {30, 60, 120, 250, 500, 1000, 2000}) {
    for (const double deadline_ms : {50, 100, 300, 500, 1000, 2290, 2400, 3000}) {
      CAPTURE(kbps);
      CAPTURE(deadline_ms);
      Scene s = testbed(kbps, deadline_ms);
      const Plan found = plan_of(s, "boomerang", {{"version", "regression"}});
      const double latency_s = estimate(s.problem(), found).latency_s;
      CHECK(found.decision.at("predicted_latency_s") == doctest::Approx(latency_s).epsilon(1e-9));
      CHECK(decision(found) == decision(plan_of(s, "edgent", {{"search", "argmin"}})));
      if (latency_s <= s.deadline_s) ++in_time;
    }
  }
  CHECK(in_time > 25);
  CHECK(in_time < 56);
}

TEST_CASE("boomerang: what is learned converges to the search") {
  const auto begun = std::chrono::steady_clock::now();
  Scene s = testbed(500, 1000);
  plan_of(s, "boomerang", {{"version", "drl"}});
  const double took_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  const double few = agreement({{"episodes", 20000}}, 1), some = agreement(Json::object(), 1),
               coarse = agreement({{"buckets", 8}}, 1);
  MESSAGE(
      fmt::format("decided as the search does: {:.1f} % of requests after 20,000 episodes, {:.1f} % after "
                  "1,000,000, which take {:.2f} s; {:.1f} % with 8 x 8 buckets",
                  100 * few, 100 * some, took_s, 100 * coarse));
  CHECK(some >= 0.95);
  CHECK(some > few);
  CHECK(some > coarse);
  for (const std::uint64_t seed : {2, 3}) CHECK(agreement(Json::object(), seed) >= 0.95);
}

TEST_CASE("boomerang: the same seed learns the same") {
  const auto decisions = [](std::uint64_t seed) {
    Scene s = testbed(500, 1000);
    s.seed = seed;
    Decider decider(s, {{"version", "drl"}, {"episodes", 20000}});
    std::vector<Decision> out;
    for (double kbps = 20; kbps < 2000; kbps *= 1.1) {
      for (double deadline_s = 0.1; deadline_s < 3; deadline_s *= 1.2)
        out.push_back(decider.at(kbps, deadline_s));
    }
    return out;
  };
  CHECK(decisions(1) == decisions(1));
  CHECK(decisions(1) != decisions(2));
}

TEST_CASE("boomerang: on the grid of the experiment, learned as searched") {
  const Finished done = run_cdisim({"experiments/boomerang.json", "--json"});
  REQUIRE(done.code == 0);
  std::map<std::string, std::map<std::string, Json>> plans;  // by policy and point
  const Json results = parse_json(done.out, "out");
  for (const Json& run : results["runs"])
    plans[run["policy"]][run["point"].dump()] = {run["plan"]["exit"],
                                                 run["plan"]["decision"].value("partition_point", 0.0)};
  int alike = 0;
  for (const auto& [point, plan] : plans["searched"]) alike += plan == plans["learned"][point] ? 1 : 0;
  const auto points = static_cast<int>(plans["searched"].size());
  MESSAGE(fmt::format("{} of {} points alike", alike, points));
  CHECK(points == 36);
  CHECK(alike >= 0.95 * points);
}

TEST_CASE(
    "boomerang: traces that nobody learned from, against random, the best static choice and the clairvoyant "
    "optimum") {
  const Finished done = run_cdisim({"experiments/boomerang_traces.json", "--json"});
  REQUIRE(done.code == 0);
  const Json results = parse_json(done.out, "out");
  std::map<std::string, double> worth;
  double best_static = 0;
  for (const Json& run : results["runs"]) {
    const std::string policy = run["policy"];
    worth[policy] = run["metrics"]["accuracy_in_time"];
    if (policy.starts_with("device_") || policy.starts_with("edge_"))
      best_static = std::max(best_static, worth[policy]);
  }
  const Experiment experiment = Experiment::load(kRoot + "/experiments/boomerang_traces.json", std::nullopt);
  double optimum = 0;
  for (int r = 0; r < experiment.repetitions(); ++r)
    optimum += clairvoyant(*experiment.setup(experiment.runs()[0], r)) / experiment.repetitions();
  MESSAGE(fmt::format(
      "accuracy in time, and below the clairvoyant {:.4f}: learned {:.4f} ({:.4f}), dqn {:.4f} ({:.4f}), ppo "
      "{:.4f} ({:.4f}), searched {:.4f} ({:.4f}); best static {:.4f}, random {:.4f}",
      optimum, worth["learned"], optimum - worth["learned"], worth["dqn"], optimum - worth["dqn"],
      worth["ppo"], optimum - worth["ppo"], worth["searched"], optimum - worth["searched"], best_static,
      worth["random"]));
  for (const char* policy : {"learned", "dqn", "ppo", "searched"}) {
    CAPTURE(policy);
    CHECK(worth[policy] > worth["random"]);
    CHECK(worth[policy] > best_static);
    CHECK(worth[policy] <= optimum);
  }
}

TEST_CASE("boomerang: a network in place of the table") {
  Scene s = testbed(500, 1000);
  CHECK(decision(plan_of(s, "boomerang", {{"version", "drl"}, {"network", "boomerang_dqn"}})) ==
        decision(plan_of(s, "rl")));
  CHECK_FALSE(plan_of(s, "boomerang", {{"version", "drl"}, {"network", "boomerang_dqn"}})
                  .decision.contains("predicted_latency_s"));
}

TEST_CASE("boomerang: errors") {
  const auto error = [](const char* name, const Json& value) {
    return input_error([&] { policy_of("boomerang", {{name, value}}); });
  };
  CHECK(error("buckets", 0).starts_with("p.json: /buckets: 0: valid: 1 to 256"));
  CHECK(error("episodes", 0).starts_with("p.json: /episodes: 0: valid: from 1"));
  CHECK(error("bandwidth_low", "3Mbps").starts_with("p.json: /bandwidth_high: "));
  CHECK(error("bandwidth_low", "0bps").starts_with("p.json: /bandwidth_low: "));
  CHECK(error("deadline_high", "50ms").starts_with("p.json: /deadline_high: "));
  CHECK(input_error([] {
          policy_of("boomerang", {{"version", "drl"}, {"network", "none"}});
        }).starts_with("p.json: /network: "));
  Scene s = scene("platforms/pi3_uplink_cloud.xml", "workloads/alexnet.json");
  s.source = "pi3";
  CHECK(input_error([&] { plan_of(s, "boomerang"); }).find("tier edge") != std::string::npos);
}
