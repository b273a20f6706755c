#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "sim/sweep.h"
#include "tests/policies/row_scene.h"

using namespace cdisim;

namespace {

// All ways to give `parts` equal parts to n devices, each none or at least `least` of the whole.
void for_each_grid(int parts, std::size_t n, double least, std::vector<double>& shares,
                   const std::function<void()>& visit) {
  const auto give = [&](const auto& self, std::size_t i, int left) -> void {
    for (int p = i + 1 == n ? left : 0; p <= left; ++p) {
      shares[i] = 1.0 * p / parts;
      if (p > 0 && shares[i] < least - 1e-12) continue;
      if (i + 1 == n) {
        visit();
      } else {
        self(self, i + 1, left - p);
      }
    }
  };
  shares.assign(n, 0);
  give(give, 0, parts);
}

// The best that shares on a grid do, of all devices and aggregators, every layer in step: the least energy in
// time, or, where nothing is, the least latency.
struct Best {
  InStep value;
  bool in_time = false;
};
Best best_on_grid(const Problem& problem, const RowLayers& rows, const std::vector<HostId>& hosts, int parts,
                  double least) {
  Best best{{std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()}, false};
  std::vector<double> shares;
  for_each_grid(parts, hosts.size(), least, shares, [&] {
    for (const HostId aggregator : hosts) {
      const Plan plan = row_plan(problem.graph, 0, rows, every_stage(rows), {hosts, shares, aggregator});
      const InStep value = in_step(problem, rows, every_stage(rows), plan);
      const bool in_time = value.latency_s <= problem.deadline_s * (1 + 1e-9);
      const bool better = in_time != best.in_time ? in_time
                          : in_time               ? value.energy_j < best.value.energy_j
                                                  : value.latency_s < best.value.latency_s;
      if (better) best = {value, in_time};
    }
  });
  return best;
}

// Two hosts of 1000 flop/s, the helper at three times the power, over 4000 byte/s; one convolution of 1 x 1
// over 10 rows: 100 multiply-adds, 0.2 s on either; 400 byte of input, nothing returns.
Scene two_hosts(const std::string& layers) {
  Scene s{Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
    <host id="device" speed="1000f"><prop id="tier" value="device"/><prop id="wattage_per_state" value="1:2"/></host>
    <host id="helper" speed="1000f"><prop id="tier" value="device"/><prop id="wattage_per_state" value="1:4"/></host>
    <link id="l" bandwidth="4000Bps" latency="0s" sharing_policy="SPLITDUPLEX"/>
    <route src="device" dst="helper"><link_ctn id="l" direction="UP"/></route></zone></platform>)",
                          "p.xml"),
          LayerGraph::parse({{"schema", 1},
                             {"name", "g"},
                             {"source", "test"},
                             {"precision", "fp32"},
                             {"input", {{"shape", {1, 10, 10}}}},
                             {"layers", parse_json(layers, "layers")}},
                            "g")};
  s.wire.result_bytes = 0;
  return s;
}
const char* const kPoint =
    R"([{"name": "a", "kind": "conv", "inputs": ["input"], "kernel": [1, 1],
     "output": [1, 10, 10], "bias": false}])";
// 10 rows, pooled to 5: 1800, 100 and 450 flop, 2.35 s on either host. The pool's windows lie across any
// boundary, the last convolution reads a row of 20 byte beyond it, of 5.
const char* const kHalving = R"([
    {"name": "a", "kind": "conv", "inputs": ["input"], "kernel": [3, 3], "padding": [1, 1, 1, 1],
     "output": [1, 10, 10], "bias": false},
    {"name": "b", "kind": "max_pool", "inputs": ["a"], "kernel": [2, 2], "stride": [2, 2]},
    {"name": "c", "kind": "conv", "inputs": ["b"], "kernel": [3, 3], "padding": [1, 1, 1, 1],
     "output": [1, 5, 5], "bias": false}])";

}  // namespace

TEST_CASE("coedge: two devices with pencil and paper") {
  // T = 0.1 x + max(0.2 (1 - x), 0.2 x), x the helper's share; E = 0.2 (1 - x) + 0.6 x, which falls with less
  // x. In 0.16 s: 0.2 - 0.1 x <= 0.16, x = 0.4, E = 0.12 + 0.24.
  Scene s = two_hosts(kPoint);
  s.deadline_s = 0.16;
  const Plan plan = plan_of(s, "coedge");
  CHECK(plan.decision.at("share_device") == doctest::Approx(0.6));
  CHECK(plan.decision.at("share_helper") == doctest::Approx(0.4));
  CHECK(plan.decision.at("predicted_latency_s") == doctest::Approx(0.16));
  CHECK(plan.decision.at("predicted_energy_j") == doctest::Approx(0.36));
  CHECK(plan.decision.at("in_time") == 1);
  CHECK(plan.decision.at("devices") == 2);
  REQUIRE(plan.pieces.size() == 2);
  CHECK(plan.pieces[1].parts.at(0) == Region{{0, 1}, {6, 10}, {0, 10}});
  // The device does not wait for the helper's rows: 0.12 s, as the helper, 0.04 + 0.08.
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(0.12));
  // With time enough the device alone, 0.2 J.
  s.deadline_s = 0.2;
  const Plan alone = plan_of(s, "coedge");
  CHECK(alone.decision.at("devices") == 1);
  CHECK(alone.decision.at("predicted_energy_j") == doctest::Approx(0.2));
  CHECK(alone.pieces.front().parts.empty());
  // A deadline that nothing keeps: least latency, where 0.2 - 0.1 x = 0.3 x.
  s.deadline_s = 0.1;
  const Plan late = plan_of(s, "coedge");
  CHECK(late.decision.at("in_time") == 0);
  CHECK(late.decision.at("share_helper") == doctest::Approx(0.5));
  CHECK(late.decision.at("predicted_latency_s") == doctest::Approx(0.15));
}

TEST_CASE("coedge: the simulation takes what the programme says where nobody waits") {
  // Without the input T = 0.2 max(1 - x, x).
  Scene s = two_hosts(kPoint);
  s.wire.input_bytes = 0;
  s.deadline_s = 0.12;
  const Plan plan = plan_of(s, "coedge");
  CHECK(plan.decision.at("predicted_latency_s") == doctest::Approx(0.12));
  CHECK(plan.decision.at("predicted_energy_j") == doctest::Approx(0.36));
  RunSpec spec = spec_of(s);
  spec.requests = 1;
  const Json simulated = run_in_child([&] {
    const Trace trace = simulate_plan(spec, plan);
    const RequestRecord& request = trace.requests.at(0);
    const double idle_j = 2 * trace.end_s;
    return Json{request.end_s - request.arrival_s,
                trace.hosts[0].energy_j + trace.hosts[1].energy_j - idle_j};
  });
  CHECK(simulated[0].get<double>() == doctest::Approx(0.12));
  // 0.12 s at 1 W above idle and 0.08 s at 3 W.
  CHECK(simulated[1].get<double>() == doctest::Approx(0.36));
}

TEST_CASE("coedge: the programme against all shares of whole rows, two devices and 100 random models") {
  Random random(21);
  constexpr int kRows = 41;  // of every layer: an odd image is not halved
  int in_time = 0, shared = 0, late = 0;
  double mean_gap = 0, largest_gap = 0;
  for (int round = 0; round < 100; ++round) {
    CAPTURE(round);
    Scene s = row_scene(random, 2, kRows, round % 2 == 0);
    const RowLayers rows = row_layers(s.graph, 0);
    const std::vector<HostId> hosts = row_hosts(s.problem(), 0, "test");
    // A deadline between what is quickest and what is most frugal, or before.
    s.deadline_s = 0;
    const Best quickest = best_on_grid(s.problem(), rows, hosts, kRows, 0);
    s.deadline_s = std::numeric_limits<double>::infinity();
    const Best frugal = best_on_grid(s.problem(), rows, hosts, kRows, 0);
    s.deadline_s = quickest.value.latency_s +
                   (random.uniform() - 0.1) * (frugal.value.latency_s - quickest.value.latency_s + 1e-6);
    const Plan plan = plan_of(s, "coedge");
    const Best grid = best_on_grid(s.problem(), rows, hosts, kRows, plan.decision.at("least_share"));
    const double energy_j = plan.decision.at("predicted_energy_j");
    const double latency_s = plan.decision.at("predicted_latency_s");
    double gap = 0;
    if (grid.in_time) {
      ++in_time;
      shared += plan.decision.at("devices") == 2 ? 1 : 0;
      CHECK(plan.decision.at("in_time") == 1);
      CHECK(energy_j <= grid.value.energy_j * (1 + 1e-6));
      gap = grid.value.energy_j / energy_j - 1;
    } else if (plan.decision.at("in_time") == 0) {
      ++late;
      CHECK(latency_s <= grid.value.latency_s * (1 + 1e-6));
      gap = grid.value.latency_s / latency_s - 1;
    }
    mean_gap += gap / 100;
    largest_gap = std::max(largest_gap, gap);
  }
  MESSAGE("coedge: " << in_time << " in time, " << shared << " of them by both, " << late
                     << " late; whole rows are " << 100 * mean_gap
                     << " % above the programme in the mean, at most " << 100 * largest_gap << " %");
  CHECK(shared > 20);
  CHECK(late > 5);
  CHECK(mean_gap < 0.02);
}

TEST_CASE("coedge: leaving devices out one by one against all sets of three devices") {
  Random random(22);
  constexpr int kRows = 15;
  int in_time = 0, worse = 0, missed = 0;
  double mean_gap = 0, largest_gap = 0;
  for (int round = 0; round < 100; ++round) {
    CAPTURE(round);
    Scene s = row_scene(random, 3, kRows, round % 2 == 0);
    const RowLayers rows = row_layers(s.graph, 0);
    const std::vector<HostId> hosts = row_hosts(s.problem(), 0, "test");
    s.deadline_s = 0;
    const double quickest_s = plan_of(s, "coedge").decision.at("predicted_latency_s");
    s.deadline_s = quickest_s * (1 + random.uniform());
    const Plan plan = plan_of(s, "coedge");
    const Best grid = best_on_grid(s.problem(), rows, hosts, kRows, plan.decision.at("least_share"));
    if (!grid.in_time) continue;
    if (plan.decision.at("in_time") == 0) {
      ++missed;
      continue;
    }
    ++in_time;
    const double gap = std::max(0.0, plan.decision.at("predicted_energy_j") / grid.value.energy_j - 1);
    worse += gap > 1e-6 ? 1 : 0;
    mean_gap += gap;
    largest_gap = std::max(largest_gap, gap);
  }
  MESSAGE("coedge: in " << in_time << " of 100 random models in time, " << missed
                        << " more could be; above the best shares of whole rows of all sets in " << worse
                        << ", by " << 100 * mean_gap / in_time << " % in the mean of all, at most "
                        << 100 * largest_gap << " %");
  CHECK(in_time > 40);
  CHECK(missed <= 1);
  CHECK(mean_gap / in_time < 0.02);
}

TEST_CASE("coedge: what the programme says against the rounded rows, in step and by estimate()") {
  Random random(23);
  double mean_step = 0, largest_step = 0, mean_estimate = 0;
  int several = 0;
  for (int round = 0; round < 100; ++round) {
    Scene s = row_scene(random, 3, 48, round % 2 == 0);
    const RowLayers rows = row_layers(s.graph, 0);
    s.deadline_s = 0;  // the quickest
    const Plan plan = plan_of(s, "coedge");
    const double predicted_s = plan.decision.at("predicted_latency_s");
    if (plan.decision.at("devices") == 1) {
      CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(predicted_s));
      continue;
    }
    ++several;
    const double step_s = in_step(s.problem(), rows, every_stage(rows), plan).latency_s;
    const double estimate_s = estimate(s.problem(), plan).latency_s;
    CHECK(estimate_s <= step_s * (1 + 1e-9));
    mean_step += std::abs(step_s / predicted_s - 1);
    largest_step = std::max(largest_step, std::abs(step_s / predicted_s - 1));
    mean_estimate += estimate_s / predicted_s - 1;
  }
  MESSAGE("coedge: of " << several << " shared models whole rows are " << 100 * mean_step / several
                        << " % off the programme in the mean, at most " << 100 * largest_step
                        << " %; nobody waiting for all, by estimate(), " << 100 * mean_estimate / several
                        << " %");
  CHECK(several > 30);
  CHECK(mean_step / several < 0.05);
}

TEST_CASE("coedge: the threshold of the layer that asks for most, or that of the input") {
  // E = 2.35 (1 - x) + 3 * 2.35 x; T = 2.35 (1 - x) + 0.005 for x <= 1/2. In 2.0025 s: x >= 0.15.
  Scene s = two_hosts(kHalving);
  s.wire.input_bytes = 0;
  s.deadline_s = 0.85 * 2.35 + 0.005;
  // The largest halo, one row of 10.
  const Plan input = plan_of(s, "coedge", {{"threshold", "input"}});
  CHECK(input.decision.at("least_share") == doctest::Approx(0.1));
  CHECK(input.decision.at("share_helper") == doctest::Approx(0.15));
  CHECK(input.decision.at("predicted_energy_j") == doctest::Approx(2.35 * (0.85 + 0.45)));
  // One row of 5: the helper gets more than it need.
  const Plan layers = plan_of(s, "coedge");
  CHECK(layers.decision.at("least_share") == doctest::Approx(0.2));
  CHECK(layers.decision.at("share_helper") == doctest::Approx(0.2));
  CHECK(layers.decision.at("predicted_energy_j") == doctest::Approx(2.35 * (0.8 + 0.6)));
  CHECK(layers.decision.at("predicted_latency_s") == doctest::Approx(0.8 * 2.35 + 0.005));
  CHECK(layers.decision.at("in_time") == 1);
}

TEST_CASE("coedge: devices leave until each has what its neighbours need") {
  Random random(24);
  Scene s = two_hosts(kHalving);
  s.platform = Platform::parse(random_mesh(random, 8), "p.xml");
  for (HostId host = 0; host < 8; ++host) s.platform.edit_host(host).power_states[0].speed_flop_per_s = 1000;
  s.bandwidth_bytes_per_s.clear();
  s.deadline_s = 0;
  // Of eight equal devices five at most can have a fifth of the rows.
  const Plan plan = plan_of(s, "coedge");
  CHECK(plan.decision.at("devices") == 5);
  for (const auto& [key, value] : plan.decision) {
    if (key.starts_with("share_")) CHECK(value == doctest::Approx(0.2).epsilon(1e-5));
  }
  CHECK(plan.decision.at("in_time") == 0);
}

TEST_CASE("coedge: a looser deadline never costs energy, two devices") {
  Random random(25);
  for (int round = 0; round < 10; ++round) {
    CAPTURE(round);
    Scene s = row_scene(random, 2, 24, true);
    double before_j = std::numeric_limits<double>::infinity();
    s.deadline_s = 0;
    const double quickest_s = plan_of(s, "coedge").decision.at("predicted_latency_s");
    for (int step = 0; step < 20; ++step) {
      s.deadline_s = quickest_s * (1 + 0.1 * step);
      const Plan plan = plan_of(s, "coedge");
      CHECK(plan.decision.at("in_time") == 1);
      CHECK(plan.decision.at("predicted_latency_s") <= s.deadline_s * (1 + 1e-6));
      CHECK(plan.decision.at("predicted_energy_j") <= before_j * (1 + 1e-6));
      before_j = plan.decision.at("predicted_energy_j");
    }
  }
}

TEST_CASE("coedge: radios on one medium are on for all of an exchange, as simulated") {
  // Three equal devices, four rows each: rows of 48 byte from each to its neighbours, four in all, share 1000
  // byte/s and take 0.192 s. Each radio sends and receives that long, at 1 W and 0.5 W.
  Scene s = two_hosts(kPoint);
  std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">)";
  for (const char* name : {"device", "b", "c"}) {
    xml += fmt::format(R"(<host id="{}" speed="1000f"><prop id="tier" value="device"/>
      <prop id="wattage_radio" value="0:1:0.5"/></host>)",
                       name);
  }
  s.platform = Platform::parse(xml + R"(<link id="l" bandwidth="1000Bps" latency="0s"/>
    <route src="device" dst="b"><link_ctn id="l"/></route><route src="device" dst="c"><link_ctn id="l"/></route>
    <route src="b" dst="c"><link_ctn id="l"/></route></zone></platform>)",
                               "p.xml");
  s.bandwidth_bytes_per_s.clear();
  s.graph = LayerGraph::parse(parse_json(R"({"schema": 1, "name": "g", "source": "test", "precision": "fp32",
    "input": {"shape": [1, 12, 12]}, "layers": [
    {"name": "a", "kind": "conv", "inputs": ["input"], "kernel": [1, 1], "output": [1, 12, 12]},
    {"name": "b", "kind": "conv", "inputs": ["a"], "kernel": [3, 3], "padding": [1, 1, 1, 1],
     "output": [1, 12, 12]}]})",
                                         "g"),
                              "g");
  s.wire.input_bytes = 0;
  const Plan plan = plan_of(s, "coedge", {{"shares", "equal"}});
  CHECK(plan.decision.at("predicted_energy_j") == doctest::Approx(3 * 0.192 * 1.5));
  RunSpec spec = spec_of(s);
  spec.requests = 1;
  const Json simulated = run_in_child([&] {
    const Trace trace = simulate_plan(spec, plan);
    double radio_j = 0;
    for (const HostMeter& host : trace.hosts) radio_j += host.radio_energy_j;
    return Json{radio_j, trace.requests.at(0).end_s};
  });
  CHECK(simulated[0].get<double>() == doctest::Approx(3 * 0.192 * 1.5));
  CHECK(simulated[1].get<double>() == doctest::Approx(plan.decision.at("predicted_latency_s")));
}

TEST_CASE("coedge: equal shares and shares by speed") {
  Scene s = two_hosts(kPoint);
  s.platform.edit_host(1).power_states[0].speed_flop_per_s = 4000;
  CHECK(plan_of(s, "coedge", {{"shares", "equal"}}).decision.at("share_helper") == doctest::Approx(0.5));
  CHECK(plan_of(s, "coedge", {{"shares", "speed"}}).decision.at("share_helper") == doctest::Approx(0.8));
}

TEST_CASE("coedge: decides anew when a bandwidth changes what is best") {
  Scene s = two_hosts(kPoint);
  s.deadline_s = 0.16;
  const auto policy = policy_of("coedge");
  CHECK(policy->plan(s.problem()).decision.at("devices") == 2);
  CHECK_FALSE(policy->replan(s.problem(), {}));
  // 400 byte at 400 byte/s: 1 s for all rows; the device alone takes 0.2 s, late as everything is.
  for (double& bandwidth : s.bandwidth_bytes_per_s) bandwidth = 400;
  const std::optional<Plan> alone = policy->replan(s.problem(), {});
  REQUIRE(alone);
  CHECK(alone->decision.at("devices") == 1);
  CHECK(alone->decision.at("in_time") == 0);
  for (double& bandwidth : s.bandwidth_bytes_per_s) bandwidth = 399;
  CHECK_FALSE(policy->replan(s.problem(), {}));
}

TEST_CASE("coedge: errors") {
  Scene s = two_hosts(kPoint);
  CHECK(input_error([] { policy_of("coedge", {{"devices", -1}}); }).find("/devices") != std::string::npos);
  CHECK(input_error([&] { plan_of(s, "coedge", {{"devices", 3}}); }).find("p.xml") != std::string::npos);
  for (HostId host = 0; host < 2; ++host) s.platform.edit_host(host).power_states[0].all_cores_w = 1;
  for (HostId host = 0; host < 2; ++host) s.platform.edit_host(host).power_states[0].epsilon_w = 1;
  CHECK(input_error([&] { plan_of(s, "coedge"); }).find("p.xml: coedge: no host states") !=
        std::string::npos);
}
