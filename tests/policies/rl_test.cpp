// A network computed by hand, its scaling, and every error of its file; the actions and rewards of
// EdgeOffload-v0.

#include <doctest/doctest.h>

#include "policies/shared/chain.h"
#include "policies/shared/edge_offload.h"
#include "policies/shared/trained_network.h"
#include "tests/policies/scene.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

// chain3 on the pencil platform: all of it on the device (p = 1), two layers on the server (p = 3), all on
// it.
//
//     x_1 = ln(B / 1 Mbit/s) / ln 16 of 1 to 16 Mbit/s, x_2 = device's queue / 4 of 0 to 4
//     h_1 = max(0, 2 x_1 - 1), h_2 = max(0, 1 - 4 x_2)
//     y = (h_2, 3 h_1 + 0.1, h_1 + 0.6)
Json network() {
  return Json::parse(R"({
    "schema": 1, "name": "hand", "environment": "EdgeOffload-v0", "model": "chain3",
    "training": {"algorithm": "by hand", "seed": 0, "library": "none", "experiment": "none"},
    "observation": [
      {"feature": "uplink_bandwidth", "scale": "log", "low": "1Mbps", "high": "16Mbps"},
      {"feature": "device_queue", "scale": "linear", "low": 0, "high": 4}],
    "actions": [
      {"exit": 1, "partition_point": 1}, {"exit": 1, "partition_point": 3}, {"exit": 1, "partition_point": 4}],
    "output": "logits", "activation": "relu",
    "layers": [
      {"weights": [[2, 0], [0, -4]], "bias": [-1, 1]},
      {"weights": [[0, 1], [3, 0], [1, 0]], "bias": [0, 0.1, 0.6]}]
  })");
}

TrainedNetwork read(const Json& json) {
  return TrainedNetwork::read(JsonReader(json, "n.json"));
}

std::string error_with(const std::string& pointer, const Json& value) {
  Json json = network();
  json[Json::json_pointer(pointer)] = value;
  return input_error([&] { read(json); });
}

Observation arrival(double date_s, int device_queue) {
  return {
      Observation::Kind::kArrival, date_s, [=](HostId host) { return host == 0 ? device_queue : 0; }, {}, {}};
}

}  // namespace

TEST_CASE("rl: a network computed by hand") {
  const TrainedNetwork net = read(network());
  const auto outputs = [&](double mbps, double queue) {
    return net.outputs({.uplink_bandwidth = mbps * 125000, .device_queue = queue});
  };
  const auto check = [](const std::vector<double>& found, const std::vector<double>& wanted) {
    REQUIRE(found.size() == wanted.size());
    for (std::size_t i = 0; i < found.size(); ++i)
      CHECK(found[i] == doctest::Approx(wanted[i]).epsilon(1e-12));
  };
  // 8 Mbit/s: x_1 = 3/4, h_1 = 0.5; an empty queue: h_2 = 1.
  check(outputs(8, 0), {1, 1.6, 1.1});
  // 4 Mbit/s: x_1 = 1/2, h_1 = 0.
  check(outputs(4, 0), {1, 0.1, 0.6});
  // One in the queue: x_2 = 1/4, h_2 = 0.
  check(outputs(4, 1), {0, 0.1, 0.6});
  // Outside the range: as at its ends, x_1 = 0 and 1.
  check(outputs(0.5, 9), {0, 0.1, 0.6});
  check(outputs(1000, 9), {0, 3.1, 1.6});
  CHECK(net.act({.uplink_bandwidth = 1e6}) == 1);
  CHECK(net.act({.uplink_bandwidth = 5e5}) == 0);

  Json tanh = network();
  tanh["activation"] = "tanh";
  // 8 Mbit/s, two in the queue: h_1 = tanh(0.5), h_2 = tanh(-1).
  check(read(tanh).outputs({.uplink_bandwidth = 1e6, .device_queue = 2}),
        {std::tanh(-1.0), 3 * std::tanh(0.5) + 0.1, std::tanh(0.5) + 0.6});
}

TEST_CASE("rl: of equal numbers the first action") {
  Json json = network();
  json["layers"][1] = {{"weights", {{0, 0}, {0, 0}, {0, 0}}}, {"bias", {1, 2, 2}}};
  CHECK(read(json).act({.uplink_bandwidth = 1e6}) == 1);
}

TEST_CASE("rl: the policy decides for each arrival, and tells only what changes") {
  TempFolder folder;
  folder.write("hand.json", network().dump());
  Scene s = pencil_scene();
  const auto policy = policy_of("rl", {{"network", (folder / "hand.json").string()}});
  const Plan first = policy->plan(s.problem());  // 8 Mbit/s
  CHECK(first.decision.at("exit") == 1);
  CHECK(first.decision.at("partition_point") == 3);
  REQUIRE(first.pieces.size() == 2);
  CHECK(first.pieces[0].host == s.host("server"));
  CHECK(first.pieces[0].layers.size() == 2);
  CHECK_FALSE(policy->replan(s.problem(), arrival(1, 0)));
  s.bandwidth_bytes_per_s = {5e5};
  CHECK(policy->replan(s.problem(), arrival(2, 0)).value().decision.at("partition_point") == 1);
  CHECK_FALSE(policy->replan(s.problem(), arrival(3, 0)));
  CHECK(policy->replan(s.problem(), arrival(4, 1)).value().decision.at("partition_point") == 4);
}

TEST_CASE("rl: what is observed") {
  Scene s = pencil_scene();
  s.deadline_s = 0.5;
  const HostId server = s.host("server");
  OffloadWatcher watcher;
  OffloadObservation seen = watcher.start(s.problem(), server);
  CHECK(seen.uplink_bandwidth == 1e6);
  CHECK(seen.deadline == 0.5);
  CHECK(seen.since_change == 0);
  seen = watcher.observe(s.problem(), server, arrival(3, 2));
  CHECK(seen.since_change == 3);
  CHECK(seen.device_queue == 2);
  CHECK(seen.server_queue == 0);
  s.bandwidth_bytes_per_s = {2e6};
  CHECK(watcher.observe(s.problem(), server, arrival(4, 0)).since_change == 0);
  CHECK(watcher.observe(s.problem(), server, arrival(6.5, 0)).since_change == 2.5);
  // ln(2 / 0.5) / ln(8 / 0.5) = 1/2; no deadline is as the highest.
  const auto feature = [](const char* json) {
    const Json read = Json::parse(json);
    return OffloadFeature::read(JsonReader(read, "f.json"));
  };
  CHECK(feature(R"({"feature": "since_change", "scale": "log", "low": "500ms", "high": "8s"})")
            .scaled({.since_change = 2}) == doctest::Approx(0.5));
  CHECK(feature(R"({"feature": "deadline", "scale": "log", "low": "1s", "high": "8s"})")
            .scaled({.deadline = std::numeric_limits<double>::infinity()}) == 1);
  CHECK(feature(R"({"feature": "server_queue", "scale": "linear", "low": 1, "high": 5})")
            .scaled({.server_queue = 2}) == 0.25);
}

TEST_CASE("edge_offload: backlogs of what was decided, and the gap between requests") {
  Scene s = pencil_scene();
  const HostId server = s.host("server");
  OffloadWatcher watcher;
  watcher.start(s.problem(), server);
  const auto at = [&](double date_s) { return watcher.observe(s.problem(), server, arrival(date_s, 0)); };
  // 1 MB/s. At 0: 3 s of the link, then 2 s of the server, then 1 s of the device: until 3, 5 and 6.
  const OffloadAction both{.layers_on_server = 1, .bytes = 3e6, .server_s = 2, .device_s = 1};
  const OffloadAction device{.device_s = 4};
  OffloadObservation seen = at(0);
  CHECK(seen.arrival_gap == 0);
  CHECK(seen.link_backlog == 0);
  watcher.decided(both);
  seen = at(1);
  CHECK(seen.link_backlog == doctest::Approx(2));
  CHECK(seen.server_backlog == doctest::Approx(4));
  CHECK(seen.device_backlog == doctest::Approx(5));
  CHECK(seen.arrival_gap == doctest::Approx(1));
  // The device has to wait for what it expects first: until 6 + 4.
  watcher.decided(device);
  s.bandwidth_bytes_per_s = {5e5};
  // Until 2 another 1 MB was sent; the last one takes 2 s at half the rate. Gaps 1 and 1; at 5: (1 + 1 + 3)
  // / 3.
  seen = at(2);
  CHECK(seen.link_backlog == doctest::Approx(2));
  CHECK(seen.device_backlog == doctest::Approx(8));
  seen = at(5);
  CHECK(seen.link_backlog == 0);
  CHECK(seen.server_backlog == 0);
  CHECK(seen.arrival_gap == doctest::Approx(5.0 / 3));
  CHECK(seen.device_backlog == doctest::Approx(5));
}

TEST_CASE("edge_offload: what an action asks of server and device") {
  Scene s = pencil_scene();
  const HostId server = s.host("server");
  for (const OffloadAction& action : offload_actions(s.problem(), server)) {
    const OffloadAction again = offload_action(s.problem(), server, action.exit, action.layers_on_server);
    CHECK(again.fixed_s == doctest::Approx(action.fixed_s));
    CHECK(again.bytes == doctest::Approx(action.bytes));
    CHECK(again.server_s + again.device_s <= again.fixed_s * (1 + 1e-12));
    CHECK((again.server_s > 0) == (action.layers_on_server > 0));
    CHECK((again.device_s > 0) == (action.layers_on_server < 3));
  }
  CHECK(stream_reward({.accuracy = 0.7}, 1, 2) == 0.7);
  CHECK(stream_reward({.accuracy = 0.7}, 3, 2) == 0);
  CHECK(stream_reward({.accuracy = 0.7}, std::numeric_limits<double>::infinity(),
                      std::numeric_limits<double>::infinity()) == 0);
}

TEST_CASE("rl: errors of a file say where, and what is valid") {
  const auto starts = [](const std::string& error, const std::string& with) {
    CAPTURE(error);
    CHECK(error.starts_with(with));
  };
  starts(error_with("/environment", "EdgeOffload-v9"), "n.json: /environment: \"EdgeOffload-v9\"");
  starts(error_with("/training/seed", -1), "n.json: /training/seed: ");
  starts(error_with("/training/algorithm", ""), "n.json: /training/algorithm: ");
  starts(error_with("/training/colour", 1), "n.json: /training: ");
  starts(error_with("/observation", Json::array()), "n.json: /observation: ");
  starts(error_with("/observation/0/feature", "bandwidth"), "n.json: /observation/0/feature: \"bandwidth\"");
  CHECK(error_with("/observation/0/feature", "bandwidth").find("uplink_bandwidth, deadline") !=
        std::string::npos);
  starts(error_with("/observation/0/scale", "cubic"), "n.json: /observation/0/scale: ");
  starts(error_with("/observation/0/low", 1), "n.json: /observation/0/low: ");
  starts(error_with("/observation/0/high", "1Mbps"), "n.json: /observation/0/high: ");
  Json zero = network();
  zero["observation"][1]["scale"] = "log";
  starts(input_error([&] { read(zero); }), "n.json: /observation/1/low: ");
  starts(error_with("/actions/1/exit", 0), "n.json: /actions/1/exit: ");
  starts(error_with("/output", "probabilities"), "n.json: /output: ");
  starts(error_with("/activation", "gelu"), "n.json: /activation: ");
  starts(error_with("/layers/0/weights/1", Json::array({1, 2, 3})),
         "n.json: /layers/0/weights/1: has 3 numbers; valid: 2, one for each feature");
  starts(error_with("/layers/1/weights/0", Json::array({1})),
         "n.json: /layers/1/weights/0: has 1 numbers; valid: 2, one for each output of the layer before");
  starts(error_with("/layers/0/bias", Json::array({1})), "n.json: /layers/0/bias: has 1 numbers; valid: 2");
  starts(error_with("/layers/1/weights", Json::parse("[[1, 2]]")),
         "n.json: /layers/1/weights: has 1 rows; valid: 3, one for each action");
  starts(error_with("/layers/0/weights/0/0", "x"), "n.json: /layers/0/weights/0/0: ");
  starts(error_with("/layers/0/colour", 1), "n.json: /layers/0: ");
  starts(error_with("/colour", 1), "n.json: ");
}

TEST_CASE("rl: a network is for its model, and its actions within it") {
  TempFolder folder;
  Scene s = pencil_scene();
  const auto error = [&](const std::string& pointer, const Json& value) {
    Json json = network();
    json[Json::json_pointer(pointer)] = value;
    folder.write("n.json", json.dump());
    return input_error([&] { plan_of(s, "rl", {{"network", (folder / "n.json").string()}}); });
  };
  CHECK(error("/model", "alexnet").find("n.json: /model: \"alexnet\": cannot decide for \"chain3\" on ") !=
        std::string::npos);
  CHECK(error("/actions/1/exit", 2).ends_with("n.json: /actions/1/exit: 2: valid for \"chain3\": 1 to 1"));
  CHECK(error("/actions/2/partition_point", 5)
            .ends_with("n.json: /actions/2/partition_point: 5: valid for \"chain3\": 1 to 4"));
  CHECK(error("/actions/2/partition_point", 4) == "no error");
  CHECK(input_error([] {
          policy_of("rl", {{"network", "boomerung"}});
        }).starts_with("p.json: /network: \"boomerung\" is no "));
  // Beside the experiment, too.
  folder.write("n.json", network().dump());
  const Json beside{{"name", "rl"}, {"network", "n.json"}};
  CHECK(input_error([&] {
          make_policy(
              policy_facts("rl", ""),
              Parameters(policy_facts("rl", ""), JsonReader(beside, (folder / "experiment.json").string())));
        }) == "no error");
  CHECK(input_error([] {
          policy_of("rl", {{"network", "no/such.json"}});
        }).find("no such file") != std::string::npos);
}

TEST_CASE("edge_offload: the fastest partition of every exit is among the actions, at its latency") {
  Scene s = scene("platforms/pi3_lan_desktop.xml", "workloads/branchy_alexnet.json");
  s.source = "pi3";
  s.model = LatencyModel::load(kRoot + "/platforms/latency/edgent_execution.json");
  s.wire = {.input_bytes = 14500, .bytes_per_element = 8, .result_bytes = 0};
  const HostId server = s.host("desktop");
  const std::vector<OffloadAction> actions = offload_actions(s.problem(), server);
  for (double kbps = 1; kbps < 1e7; kbps *= 1.5) {
    CAPTURE(kbps);
    s.bandwidth_bytes_per_s = {kbps * 125};
    for (int exit = 0; exit < 5; ++exit) {
      const std::vector<Estimate> costs = chain_costs(s.problem(), exit, server, s.host("pi3"));
      double fastest_s = std::numeric_limits<double>::infinity();
      for (const OffloadAction& action : actions) {
        if (action.exit != exit) continue;
        const double latency_s = action.latency_s(kbps * 125);
        CHECK(latency_s == doctest::Approx(costs[static_cast<std::size_t>(action.layers_on_server)].latency_s)
                               .epsilon(1e-9));
        fastest_s = std::min(fastest_s, latency_s);
      }
      CHECK(fastest_s ==
            doctest::Approx(costs[static_cast<std::size_t>(fastest_cut(costs))].latency_s).epsilon(1e-9));
    }
  }
}

TEST_CASE("edge_offload: rewards") {
  const OffloadAction early{.exit = 0, .accuracy = 0.7, .fixed_s = 1, .bytes = 0},
      full{.exit = 1, .accuracy = 0.8, .fixed_s = 1, .bytes = 1000};
  const std::vector<OffloadAction> actions{early, full};
  CHECK(offload_bonus(actions) == doctest::Approx(0.05));
  // 0.05 / (1 + 3) more than 0.8 in time, than -0.8 late; a lost request has no such thing.
  const double infinite = std::numeric_limits<double>::infinity();
  CHECK(offload_reward(full, 3, 3, 0.05) == doctest::Approx(0.8125));
  CHECK(offload_reward(full, 3, 2, 0.05) == doctest::Approx(-0.7875));
  CHECK(offload_reward(full, infinite, infinite, 0.05) == -0.8);
  // At 1 kB/s the full exit takes 2 s.
  CHECK(most_rewarding(actions, 1000, 2) == 1);
  CHECK(most_rewarding(actions, 1000, 1.5) == 0);
  CHECK(most_rewarding(actions, 1000, 0.5) == 0);
  CHECK(most_rewarding(actions, 1000, std::numeric_limits<double>::infinity()) == 1);
}
