#include <doctest/doctest.h>

#include "policies/shared/hosts.h"
#include "tests/policies/random_scene.h"

using namespace cdisim;

namespace {

// A device of 11 Mflop/s, an uplink of 20 kB/s, results that need no bytes. Latency by k:
//   0: 10 ms + 4000 B / 20 kB/s = 210; 2.5 Mflop on the server 0.25; result 10:        220.25 ms
//   1: 90.909 on the device; 10 + 2000 / 20 = 110; 1.5 Mflop 0.15; result 10:          211.06 ms
//   2: 181.818; 10 + 4000 / 20 = 210; 0.5 Mflop 0.05; result 10:                       401.87 ms
//   3: 227.27 ms
// Energy above idle, computing 3 - 1 W, sending 1.1 - 0.1 W and 1e-6 J per byte:
//   0: 0.2 s * 1 W + 0.004 J = 0.204 J;  1: 0.1818 + 0.1 + 0.002 = 0.2838 J;  3: 0.4545 J
Scene slow_device() {
  Scene s = pencil_scene();
  Host& device = s.platform.edit_host(s.host("device"));
  device.power_states[0].speed_flop_per_s = 1.1e7;
  device.radio.tx_w = 1.1;
  s.bandwidth_bytes_per_s = {2e4};
  s.wire.result_bytes = 0;
  return s;
}

// Gives the host another power state, as an experiment's `load` does, and puts it there.
void change_state(Scene& s, const std::string& host, double speed_share, double computing_w) {
  Host& edited = s.platform.edit_host(s.host(host));
  PowerState state = edited.power_states[0];
  state.speed_flop_per_s *= speed_share;
  state.epsilon_w = state.all_cores_w = state.idle_w + computing_w;
  edited.power_states.push_back(state);
  edited.power_state = static_cast<int>(edited.power_states.size()) - 1;
}

}  // namespace

TEST_CASE("neurosurgeon: minimises latency or the device's energy") {
  Scene s = slow_device();
  const Plan fastest = plan_of(s, "neurosurgeon");
  CHECK(fastest.decision.at("partition_point") == 1);
  REQUIRE(fastest.pieces.size() == 2);
  CHECK(fastest.pieces[0].host == s.host("device"));
  CHECK(fastest.pieces[0].layers == std::vector<LayerId>{0});
  CHECK(estimate(s.problem(), fastest).latency_s == doctest::Approx(0.12015 + 1 / 11.0));
  const Plan thriftiest = plan_of(s, "neurosurgeon", {{"objective", "energy"}});
  CHECK(thriftiest.decision.at("partition_point") == 0);
  CHECK(estimate(s.problem(), thriftiest).energy_j == doctest::Approx(0.204));
}

TEST_CASE("neurosurgeon: a given partition point is kept") {
  Scene s = slow_device();
  for (int k = 0; k <= 3; ++k) {
    const Plan plan = plan_of(s, "neurosurgeon", {{"partition_point", k}});
    CHECK(plan.decision.at("partition_point") == k);
    CHECK(plan == [&] {
      Plan expected = chain_plan(s.graph, 0, k, s.host("device"), s.host("server"));
      expected.decision["partition_point"] = k;
      return expected;
    }());
  }
  CHECK(input_error([&] {
          plan_of(s, "neurosurgeon", {{"partition_point", 4}});
        }).starts_with("p.json: /partition_point: 4: \"chain3\" has 3 layers"));
  CHECK(input_error([&] {
          plan_of(s, "neurosurgeon", {{"partition_point", -2}});
        }).starts_with("p.json: /partition_point: -2"));
}

TEST_CASE("neurosurgeon: follows the bandwidth") {
  Scene s = slow_device();
  const std::unique_ptr<Policy> policy = policy_of("neurosurgeon");
  const Observation observation{Observation::Kind::kBandwidth, 1, {}, {}, {}};
  CHECK(policy->plan(s.problem()).decision.at("partition_point") == 1);
  CHECK_FALSE(policy->replan(s.problem(), observation));  // nothing has changed
  s.bandwidth_bytes_per_s = {2.001e4};
  CHECK_FALSE(policy->replan(s.problem(), observation));  // not enough to matter
  s.bandwidth_bytes_per_s = {1e6};                        // k = 0 takes 10 + 4 + 0.25 + 10 ms
  const std::optional<Plan> plan = policy->replan(s.problem(), observation);
  REQUIRE(plan);
  CHECK(plan->decision.at("partition_point") == 0);
  CHECK(*plan == plan_of(s, "neurosurgeon"));
}

TEST_CASE("neurosurgeon: moves layers to the device while the server is loaded") {
  // With the server s times slower k = 1 takes 210.91 + 0.15 s ms, k = 0 220 + 0.25 s, the device alone
  // 227.27: k = 1 is the best up to s = 109, which is 1 / (1 - load) at a load of 0.9908.
  Scene s = slow_device();
  const std::unique_ptr<Policy> policy = policy_of("neurosurgeon");
  const Observation observation{Observation::Kind::kLoad, 1, {}, {}, {}};
  CHECK(policy->plan(s.problem()).decision.at("partition_point") == 1);
  change_state(s, "server", 1 - 0.99, 0);
  CHECK_FALSE(policy->replan(s.problem(), observation));
  change_state(s, "server", 1 - 0.992, 0);
  const std::optional<Plan> loaded = policy->replan(s.problem(), observation);
  REQUIRE(loaded);
  CHECK(loaded->decision.at("partition_point") == 3);
  CHECK(*loaded == plan_of(s, "neurosurgeon"));
  CHECK_FALSE(policy->replan(s.problem(), observation));
  s.platform.edit_host(s.host("server")).power_state = 0;
  const std::optional<Plan> idle = policy->replan(s.problem(), observation);
  REQUIRE(idle);
  CHECK(idle->decision.at("partition_point") == 1);
}

TEST_CASE("neurosurgeon: follows the speed and the power of the device") {
  const Observation observation{Observation::Kind::kLoad, 1, {}, {}, {}};
  {
    // At half its speed: k = 1 takes 181.82 + 120.15 ms, k = 0 220.25.
    Scene s = slow_device();
    const std::unique_ptr<Policy> policy = policy_of("neurosurgeon");
    CHECK(policy->plan(s.problem()).decision.at("partition_point") == 1);
    change_state(s, "device", 0.5, 2);
    const std::optional<Plan> plan = policy->replan(s.problem(), observation);
    REQUIRE(plan);
    CHECK(plan->decision.at("partition_point") == 0);
  }
  {
    // At 0.5 W above idle instead of 2 the device alone takes 0.2273 s * 0.5 W = 0.1136 J, k = 0 0.204 J; k =
    // 1 0.0455 + 0.1 + 0.002 J.
    Scene s = slow_device();
    const std::unique_ptr<Policy> policy = policy_of("neurosurgeon", {{"objective", "energy"}});
    CHECK(policy->plan(s.problem()).decision.at("partition_point") == 0);
    change_state(s, "device", 1, 0.5);
    const std::optional<Plan> plan = policy->replan(s.problem(), observation);
    REQUIRE(plan);
    CHECK(plan->decision.at("partition_point") == 3);
  }
}

TEST_CASE("neurosurgeon: equals brute force over servers and partition points of random graphs") {
  Random random(20170408);
  int within = 0;
  for (int i = 0; i < 200; ++i) {
    CAPTURE(i);
    Scene s = random_scene(random, i % 2 == 0);
    if (i % 4 < 2) {  // known by speed alone, near each other: many cuts lie within the graph
      for (HostId id = 0; id < s.platform.host_count(); ++id) {
        Host& host = s.platform.edit_host(id);
        host.device_type.clear();
        host.power_state = 0;
        host.power_states[0].speed_flop_per_s =
            (host.tier == Tier::kDevice ? 1e6 : 1e7) * (1 + random.uniform());
      }
      for (LinkId id = 0; id < s.platform.link_count(); ++id) s.platform.set_latency(id, 1e-6, "test");
      s.wire.input_bytes = 5000;
    }
    const HostId device = s.host("device");
    const int exit = deepest_exit(s.problem()), n = static_cast<int>(s.graph.exit_layers(exit).size());
    double latency_s = std::numeric_limits<double>::infinity(), energy_j = latency_s;
    for (const char* server : {"edge", "cloud"}) {
      for (int k = 0; k <= n; ++k) {
        const Estimate e = estimate(s.problem(), chain_plan(s.graph, exit, k, device, s.host(server)));
        latency_s = std::min(latency_s, e.latency_s);
        energy_j = std::min(energy_j, e.energy_j);
      }
    }
    const Plan fastest = plan_of(s, "neurosurgeon");
    CHECK(estimate(s.problem(), fastest).latency_s == doctest::Approx(latency_s).epsilon(1e-9));
    const Plan thriftiest = plan_of(s, "neurosurgeon", {{"objective", "energy"}});
    CHECK(estimate(s.problem(), thriftiest).energy_j == doctest::Approx(energy_j).epsilon(1e-9));
    within += fastest.pieces.size() == 2;
  }
  CHECK(within > 20);  // the cases are no mere choice between device and server
}

TEST_CASE("neurosurgeon: the better of edge and cloud, or the one that is named") {
  Scene s = scene("platforms/pi3_wifi_cloud.xml", "workloads/alexnet.json");
  s.source = "pi3";
  s.model = LatencyModel::roofline(kRoot + "/platforms/hardware.json");
  const auto latency_s = [&](const Json& parameters) {
    return estimate(s.problem(), plan_of(s, "neurosurgeon", parameters)).latency_s;
  };
  const double edge_s = latency_s({{"server", "edge"}}), cloud_s = latency_s({{"server", "cloud"}});
  CHECK(latency_s(Json::object()) == std::min(edge_s, cloud_s));
  CHECK(input_error([&] { latency_s({{"server", "pi3"}}); }).ends_with("valid: edge, cloud"));
  for (const char* name : {"edge", "cloud"}) s.platform.edit_host(s.host(name)).tier = Tier::kDevice;
  CHECK(input_error([&] { latency_s(Json::object()); })
            .ends_with(
                "pi3_wifi_cloud.xml: no other host of tier cloud or edge with a route from and to \"pi3\""));
}
