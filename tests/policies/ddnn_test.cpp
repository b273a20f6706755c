#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>

#include "sim/experiment.h"
#include "sim/random.h"
#include "sim/sweep.h"
#include "tests/policies/scene.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

Scene cameras(const std::string& model) {
  Scene s = scene("platforms/ddnn.xml", "workloads/" + model + ".json");
  s.source = "aggregator";
  s.wire.result_bytes = 0;
  add_cameras(s);
  return s;
}

HostId host_of(const Scene& s, const Plan& plan, const std::string& layer) {
  for (const Piece& piece : plan.pieces) {
    if (std::ranges::find(piece.layers, s.graph.find(layer)) != piece.layers.end()) return piece.host;
  }
  return -1;
}

Plan with_threshold(Scene& s, double threshold) {
  return plan_of(s, "ddnn", {{"threshold", threshold}});
}

}  // namespace

TEST_CASE("ddnn: equation 1 to the byte") {
  // c = 4 * 3 + (1 - l) * 4 * 16 * 16 / 8 = 12 + (1 - l) * 128.
  Scene s = cameras("ddnn_max");
  for (const Threshold& threshold : s.graph.thresholds()) {
    CAPTURE(threshold.value);
    const Plan plan = with_threshold(s, threshold.value);
    CHECK(plan.decision.at("device_bytes") ==
          doctest::Approx(12 + (1 - threshold.rates[0]) * 128).epsilon(1e-12));
    CHECK(plan.decision.at("threshold") == threshold.value);
    CHECK(plan.exit_rates == threshold.rates);
  }
  // What Table II prints.
  for (const auto& [threshold, printed] :
       {std::pair(0.1, 140), std::pair(0.3, 139), std::pair(0.5, 138), std::pair(0.6, 136),
        std::pair(0.8, 62), std::pair(0.9, 34), std::pair(1.0, 12)}) {
    CHECK(std::lround(with_threshold(s, threshold).decision.at("device_bytes")) == printed);
  }
  // The baseline sends the raw images: 32 * 32 * 3 B from each camera.
  const Plan raw = plan_of(s, "cloud_only");
  for (int i = 1; i <= 6; ++i) {
    const HostId camera = s.host(fmt::format("camera_{}", i));
    CHECK(host_of(s, raw, fmt::format("camera_{}", i)) == camera);
    CHECK(host_of(s, raw, fmt::format("conv_{}", i)) == s.host("cloud"));
  }
  double bytes = 0;
  for (const PlanEdge& edge : plan_edges(s.graph, s.wire, raw)) bytes += edge.bytes;
  CHECK(bytes == 6 * 3072);
}

TEST_CASE("ddnn: devices compute their parts, the source aggregates, the cloud decides what is left") {
  Scene s = cameras("ddnn_max");
  const Plan plan = with_threshold(s, 0.8);
  for (int i = 1; i <= 6; ++i) {
    const HostId camera = s.host(fmt::format("camera_{}", i));
    for (const char* layer : {"camera", "conv", "pool", "bn", "sign", "scores"})
      CHECK(host_of(s, plan, fmt::format("{}_{}", layer, i)) == camera);
  }
  CHECK(host_of(s, plan, "local_max") == s.host("aggregator"));
  CHECK(host_of(s, plan, "local") == s.host("aggregator"));
  CHECK(host_of(s, plan, "cloud_concat") == s.host("cloud"));
  CHECK(host_of(s, plan, "cloud") == s.host("cloud"));
  // All at one exit: no rates, and without the local exit nobody computes scores.
  const Plan cloud = plan_of(s, "ddnn", {{"exit", 2}});
  CHECK(cloud.exit_rates.empty());
  CHECK(host_of(s, cloud, "scores_1") == -1);
  CHECK(cloud.decision.at("device_bytes") == 128);
  const Plan local = plan_of(s, "ddnn", {{"exit", 1}});
  CHECK(host_of(s, local, "cloud") == -1);
  CHECK(local.decision.at("device_bytes") == 12);

  // A model that was made for one device: the first exit on it, the middle ones on the edge.
  Scene branchy = scene("platforms/cloud_edge_device.xml", "workloads/branchy_alexnet.json");
  for (const Host& host : branchy.platform.hosts()) {
    if (host.tier == Tier::kDevice) branchy.source = host.name;
  }
  const Plan one = plan_of(branchy, "ddnn", {{"exit", 1}});
  CHECK(one.pieces.size() == 1);
  CHECK(one.pieces[0].host == branchy.host(branchy.source));
  const Plan last = plan_of(branchy, "ddnn", {{"exit", 5}});
  CHECK(branchy.platform.host(last.pieces.back().host).tier == Tier::kCloud);
}

TEST_CASE("ddnn: the threshold for an accuracy, or for the bytes") {
  Scene s = cameras("ddnn_max");
  // The most accurate, 97 %: 0.8, as the paper chose.
  CHECK(plan_of(s, "ddnn").decision.at("threshold") == 0.8);
  CHECK(plan_of(s, "ddnn").decision.at("accuracy") == doctest::Approx(0.97));
  const auto chosen = [&](double accuracy) {
    return plan_of(s, "ddnn", {{"accuracy", accuracy}}).decision.at("threshold");
  };
  CHECK(chosen(0.97) == 0.8);
  CHECK(chosen(0.96) == 0.9);  // 34 B
  CHECK(chosen(0.93) == 0.9);
  CHECK(chosen(0.92) == 1);  // 12 B
  CHECK(chosen(0) == 1);
}

TEST_CASE("ddnn: the choice is the best of all thresholds, on random tables") {
  Random random(91);
  Scene s = cameras("ddnn_max");
  const Json graph = s.graph.to_json();
  for (int trial = 0; trial < 100; ++trial) {
    CAPTURE(trial);
    Json changed = graph;
    changed["thresholds"] = Json::array();
    const int n = 1 + random.below(8);
    for (int t = 0; t < n; ++t) {
      const double leave = random.below(5) / 4.0, accuracy = 0.5 + random.below(6) / 12.0;
      changed["thresholds"].push_back({{"threshold", (t + 1.0) / n},
                                       {"rates", {leave, 1 - leave}},
                                       {"accuracies", {accuracy, accuracy}},
                                       {"source", "test"}});
    }
    s.graph = LayerGraph::parse(changed, "g");
    const double least = 0.5 + random.below(7) / 12.0;
    const Plan plan = plan_of(s, "ddnn", {{"accuracy", least}});
    // Fewest bytes of the accurate enough, else the most accurate.
    double best_bytes = 1e9, best_accuracy = 0;
    for (const Threshold& t : s.graph.thresholds()) best_accuracy = std::max(best_accuracy, t.accuracies[0]);
    for (const Threshold& t : s.graph.thresholds()) {
      if (t.accuracies[0] >= std::min(least, best_accuracy) - 1e-12)
        best_bytes = std::min(best_bytes, 12 + (1 - t.rates[0]) * 128);
    }
    CHECK(plan.decision.at("device_bytes") == doctest::Approx(best_bytes).epsilon(1e-12));
    CHECK(plan.decision.at("accuracy") >= std::min(least, best_accuracy) - 1e-12);
  }
}

TEST_CASE("ddnn: an edge tier is one more exit") {
  // Two sensors; exits after a join on the source, after one more layer on the edge, and in the cloud.
  const Json graph = parse_json(R"({"schema": 1, "name": "g", "source": "test", "precision": "fp32",
    "input": {"shape": [100]}, "layers": [
      {"name": "a", "kind": "fc", "inputs": ["input"], "output": [50]},
      {"name": "b", "kind": "fc", "inputs": ["input"], "output": [50]},
      {"name": "scores_a", "kind": "fc", "inputs": ["a"], "output": [10]},
      {"name": "scores_b", "kind": "fc", "inputs": ["b"], "output": [10]},
      {"name": "local", "kind": "add", "inputs": ["scores_a", "scores_b"], "absent": "skip"},
      {"name": "joined", "kind": "concat", "inputs": ["a", "b"], "absent": "skip"},
      {"name": "deeper", "kind": "fc", "inputs": ["joined"], "output": [40]},
      {"name": "edge", "kind": "fc", "inputs": ["deeper"], "output": [10]},
      {"name": "deepest", "kind": "fc", "inputs": ["deeper"], "output": [30]},
      {"name": "cloud", "kind": "fc", "inputs": ["deepest"], "output": [10]}],
    "exits": [{"name": "local", "layer": "local"}, {"name": "edge", "layer": "edge"},
              {"name": "cloud", "layer": "cloud"}],
    "thresholds": [{"threshold": 0.5, "rates": [0.5, 0.3, 0.2], "accuracies": [0.9, 0.9, 0.9], "source": "t"}]})",
                                "g.json");
  std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">)";
  for (const auto& [name, tier] :
       {std::pair("s", "device"), std::pair("t", "device"), std::pair("gateway", "device"),
        std::pair("edge", "edge"), std::pair("cloud", "cloud")})
    xml += fmt::format(R"(<host id="{}" speed="1Gf"><prop id="tier" value="{}"/></host>)", name, tier);
  const std::vector<std::string> hosts{"s", "t", "gateway", "edge", "cloud"};
  std::string routes;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    for (std::size_t j = i + 1; j < hosts.size(); ++j) {
      xml += fmt::format(R"(<link id="{0}_{1}" bandwidth="1MBps" latency="1ms"/>)", hosts[i], hosts[j]);
      routes +=
          fmt::format(R"(<route src="{0}" dst="{1}"><link_ctn id="{0}_{1}"/></route>)", hosts[i], hosts[j]);
    }
  }
  Scene s{Platform::parse(xml + routes + "</zone></platform>", "p.xml"), LayerGraph::parse(graph, "g")};
  s.source = "gateway";
  s.wire.sensors = {{s.graph.find("a"), s.host("s")}, {s.graph.find("b"), s.host("t")}};
  const Plan plan = plan_of(s, "ddnn");
  for (const auto& [layer, host] : std::map<std::string, std::string>{{"a", "s"},
                                                                      {"scores_b", "t"},
                                                                      {"local", "gateway"},
                                                                      {"joined", "edge"},
                                                                      {"edge", "edge"},
                                                                      {"deepest", "cloud"}}) {
    CAPTURE(layer);
    CHECK(host_of(s, plan, layer) == s.host(host));
  }
  // 40 B of scores always, 200 B of the tensor when the first exit lets pass.
  CHECK(plan.decision.at("device_bytes") == doctest::Approx(40 + 0.5 * 200));
}

TEST_CASE("ddnn: a device that is off is left out, and its accuracy is that of the rest") {
  Scene s = cameras("ddnn_failing");
  const std::unique_ptr<Policy> policy = policy_of("ddnn", {{"exit", 2}});
  const Plan whole = policy->plan(s.problem());
  std::vector<char> on(static_cast<std::size_t>(s.platform.host_count()), 1), links(20, 1);
  const auto seen = [&] {
    return policy->replan(s.problem(), {Observation::Kind::kPlatform, 1, {}, on, links});
  };
  CHECK_FALSE(seen());
  on[static_cast<std::size_t>(s.host("camera_5"))] = 0;
  std::optional<Plan> plan = seen();
  REQUIRE(plan);
  check_plan(s.graph, s.platform, s.host("aggregator"), s.wire, *plan, "ddnn");
  CHECK(host_of(s, *plan, "sign_5") == -1);
  CHECK(s.graph.exits()[1].accuracy_with(computed_layers(s.graph, *plan)) == 0.96);
  CHECK_FALSE(seen());
  // No camera at all: nothing can be planned, requests are lost.
  for (int i = 1; i <= 6; ++i) on[static_cast<std::size_t>(s.host(fmt::format("camera_{}", i)))] = 0;
  plan = seen();
  REQUIRE(plan);
  CHECK(*plan == whole);
}

TEST_CASE("ddnn: cameras fail by chance and during the run, no request is forgotten") {
  const Json base = {{"schema", 1},
                     {"name", "test"},
                     {"title", "test"},
                     {"platform", kRoot + "/platforms/ddnn.xml"},
                     {"model", kRoot + "/workloads/ddnn_max.json"},
                     // The hosts are known by their speed: any model will do.
                     {"latency_model", kRoot + "/platforms/latency/edgent_execution.json"},
                     {"wire", {{"result_bytes", 0}}},
                     {"sources", Json::array({"aggregator"})},
                     {"arrivals", {{"kind", "periodic"}, {"period", "100ms"}}},
                     {"requests", 600},
                     {"policies", Json::array({{{"name", "ddnn"}, {"threshold", 0.8}}})}};
  const auto metrics_of = [&](const Json& more) {
    Json experiment = base;
    for (int i = 1; i <= 6; ++i)
      experiment["sensors"][fmt::format("camera_{}", i)] = fmt::format("camera_{}", i);
    experiment.merge_patch(more);
    const TempFolder folder;
    folder.write("test.json", experiment.dump());
    const SweepResults results = run_sweep(Experiment::load(folder / "test.json", std::nullopt), {});
    REQUIRE(results.failures.empty());
    return results.runs.at(0).at("metrics");
  };
  const Json whole = metrics_of(Json::object());
  CHECK(whole["requests"]["completed"] == 600);
  // 104 of 171 stop locally: 365 of 600 with a standard deviation of 12.
  CHECK(std::abs(whole["exits"]["local"].get<double>() - 0.6082) < 3.3 * std::sqrt(0.6082 * 0.3918 / 600));
  // Each camera works for 0.9 of the requests: it sends 0.9 of the bytes, (1 - l) being what was drawn.
  const Json chance = metrics_of(parse_json(R"({"hosts": {"camera_1": {"survival": 0.9}}})", "t"));
  CHECK(chance["requests"]["completed"] == 600);
  CHECK(chance["bytes"]["per_link"]["radio_1"].get<double>() /
            whole["bytes"]["per_link"]["radio_1"].get<double>() ==
        doctest::Approx(0.9).epsilon(0.05));
  CHECK(chance["bytes"]["per_link"]["radio_2"] == whole["bytes"]["per_link"]["radio_2"]);
  // Camera 1 goes off at 20.05 s and comes back at 40.05 s: a third of the time; what it lost starts again.
  const Json changes = parse_json(R"({"changes": [{"at": "20.05s", "host": "camera_1", "state": "off"},
                                                  {"at": "40.05s", "host": "camera_1", "state": "on"}],
                                      "on_failure": {"retries": 1}})",
                                  "t");
  const Json off = metrics_of(changes);
  CHECK(off["requests"]["completed"] == 600);
  CHECK(off["bytes"]["per_link"]["radio_1"].get<double>() /
            whole["bytes"]["per_link"]["radio_1"].get<double>() ==
        doctest::Approx(2 / 3.0).epsilon(0.05));
}

TEST_CASE("ddnn: wrong parameters") {
  Scene s = cameras("ddnn_max");
  CHECK(input_error([] { policy_of("ddnn", {{"threshold", 1.5}}); }).starts_with("p.json: /threshold: 1.5"));
  CHECK(input_error([] { policy_of("ddnn", {{"accuracy", -0.1}}); }).starts_with("p.json: /accuracy: -0.1"));
  CHECK(input_error([&] {
          plan_of(s, "ddnn", {{"threshold", 0.2}});
        }).starts_with("p.json: /threshold: 0.2: \"ddnn_max\" states no such threshold"));
  CHECK(input_error([&] { plan_of(s, "ddnn", {{"exit", 3}}); }).starts_with("p.json: /exit: 3"));
}
