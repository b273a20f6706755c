#include <doctest/doctest.h>

#include <cmath>

#include "policies/shared/blocks.h"
#include "sim/random.h"
#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

// The paper's example: links of 2e6 byte/s, on which 28,000 and 40,000 byte take the 14 and 20 ms of Fig. 2b.
Scene cifar10() {
  Scene s{Platform::load(kRoot + "/platforms/pi4_cluster.xml"),
          LayerGraph::load(kRoot + "/workloads/goel_cifar10.json"),
          LatencyModel::load(kRoot + "/platforms/latency/goel_cifar10.json")};
  s.source = "pi_1";
  s.problem();
  for (double& bandwidth : s.bandwidth_bytes_per_s) bandwidth = 2e6;
  return s;
}

// max a_j and b of a partition, from scratch.
struct Load {
  double busiest_s = 0, cut_s = 0;
};

Load load_of(const Problem& problem, const BlockTree& tree, const std::vector<HostId>& hosts) {
  Load load;
  std::map<HostId, double> busy;
  for (std::size_t b = 0; b < hosts.size(); ++b) {
    double rate = 0;
    for (std::size_t e = 0; e < tree.rates.size(); ++e) rate += tree.blocks[b].needed_for[e] * tree.rates[e];
    busy[hosts[b]] += rate * problem.compute_s(tree.blocks[b].layers, hosts[b]);
    load.busiest_s = std::max(load.busiest_s, busy[hosts[b]]);
    const int reads = tree.blocks[b].reads;
    if (reads < 0) continue;
    load.cut_s +=
        rate * problem.transfer_s(tree.blocks[b].bytes, hosts[static_cast<std::size_t>(reads)], hosts[b]);
  }
  return load;
}

double throughput(const Load& load, double frames, double devices) {
  return frames / ((frames + devices - 1) * load.busiest_s + frames * load.cut_s);
}

// Of all partitions, or the contiguous ones from the source on.
double best_throughput(const Problem& problem, const BlockTree& tree, const std::vector<HostId>& devices,
                       double frames, bool contiguous) {
  double best = 0;
  std::vector<std::size_t> at(tree.blocks.size(), 0);
  for (;;) {
    bool valid = true;
    for (std::size_t b = 1; contiguous && b < at.size(); ++b) {
      valid = valid && (at[b] == at[b - 1] || at[b] == at[b - 1] + 1);
    }
    if (valid) {
      std::vector<HostId> hosts;
      for (const std::size_t d : at) hosts.push_back(devices[d]);
      best = std::max(best,
                      throughput(load_of(problem, tree, hosts), frames, static_cast<double>(devices.size())));
    }
    std::size_t b = 0;
    while (b < at.size() && ++at[b] == devices.size()) at[b++] = 0;
    if (b == at.size()) return best;
  }
}

}  // namespace

TEST_CASE("goel_pipeline_hdnn: the loads that the paper prints of its two partitions") {
  Scene s = cifar10();
  const Problem problem = s.problem();
  const BlockTree tree = block_tree(problem, 10);
  // Blocks: root, d2, d1, d3, d4, d5. Fig. 2d: root | d2, d4 | d1, d3, d5: 38 ms, 0.6 * 36 + 0.2 * 30 = 27.6,
  // 0.2 * (31 + 37 + 32) = 20; cut 14 for every frame that leaves the root and 0.2 * 20 for d5.
  const Load d = load_of(problem, tree, {0, 1, 2, 2, 1, 2});
  CHECK(d.busiest_s == doctest::Approx(0.038));
  CHECK(d.cut_s == doctest::Approx(0.018));
  // Fig. 2c: root, d4 | d1, d5 | d2, d3: 44 ms; cut 14 + 0.4 * 20.
  const Load c = load_of(problem, tree, {0, 2, 1, 2, 0, 1});
  CHECK(c.busiest_s == doctest::Approx(0.044));
  CHECK(c.cut_s == doctest::Approx(0.022));
}

TEST_CASE("goel_pipeline_hdnn: the best partition of the paper's example") {
  // d2 with both of its children: a = 38, 33.6, 14 ms and b = 14 ms; T = 1000 / (1002 * 0.038 + 14) = 19.2.
  Scene s = cifar10();
  const Plan plan = plan_of(s, "goel_pipeline_hdnn", {{"devices", 3}});
  CHECK(plan.decision.at("busiest_s") == doctest::Approx(0.038));
  CHECK(plan.decision.at("cut_s") == doctest::Approx(0.014));
  CHECK(plan.decision.at("predicted_throughput_per_s") == doctest::Approx(1000 / (1002 * 0.038 + 14)));
  // One device: 38 + 0.6 * 36 + 0.2 * (31 + 37 + 30 + 32) = 85.6 ms.
  const Plan one = plan_of(s, "goel_pipeline_hdnn", {{"devices", 1}});
  CHECK(one.decision.at("busiest_s") == doctest::Approx(0.0856));
  CHECK(one.pieces.size() == 1);
}

TEST_CASE("goel_pipeline_hdnn: as good as brute force on 100 random hierarchies and chains") {
  Random random(5);
  int chains = 0;
  for (int round = 0; round < 100; ++round) {
    CAPTURE(round);
    const bool tree_of_exits = round % 2 == 0;
    Json layers = Json::object();
    for (const char* name : {"root", "d1", "d2", "d3", "d4", "d5", "conv1", "conv2", "fc3", "fc4", "fc5"}) {
      layers[name] = 1 + 50 * random.uniform();
    }
    const Json model = {{"schema", 1},
                        {"name", "random"},
                        {"devices",
                         {{"raspberry_pi_4b",
                           {{"kind", "profile"},
                            {"source", "test"},
                            {"unit", "ms"},
                            {"layers", layers},
                            {"otherwise",
                             {{"unit", "ms"},
                              {"terms",
                               {{"avg_pool", {{"constant", 0}}},
                                {"max_pool", {{"constant", 0}}},
                                {"relu", {{"constant", 0}}},
                                {"softmax", {{"constant", 0}}}}}}}}}}}};
    Scene s = cifar10();
    s.graph =
        LayerGraph::load(kRoot + "/workloads/" + (tree_of_exits ? "goel_cifar10" : "disabato_cnn") + ".json");
    s.model = LatencyModel::parse(model, "l");
    for (double& bandwidth : s.bandwidth_bytes_per_s) bandwidth = 1e6 * (1 + 99 * random.uniform());
    const Problem problem = s.problem();
    const int n = 1 + random.below(4), frames = 1 + random.below(50);
    const bool contiguous = random.below(2) == 0;
    const BlockTree tree = block_tree(problem, 10);
    const Plan plan =
        plan_of(s, "goel_pipeline_hdnn",
                {{"devices", n}, {"frames", frames}, {"partition", contiguous ? "contiguous" : "any"}});
    std::vector<HostId> devices;
    for (HostId host = 0; host < n; ++host) devices.push_back(host);
    CHECK(plan.decision.at("predicted_throughput_per_s") ==
          doctest::Approx(best_throughput(problem, tree, devices, frames, contiguous)));
    chains += plan.decision.at("dnns") == 5 ? 1 : 0;
  }
  CHECK(chains == 50);
}

TEST_CASE("goel_pipeline_hdnn: each request takes one path, drawn by the rates") {
  Scene s = cifar10();
  const auto policy = policy_of("goel_pipeline_hdnn", {{"devices", 3}});
  policy->plan(s.problem());
  std::map<int, int> taken;
  for (int i = 0; i < 5000; ++i) {
    const std::optional<Plan> path = policy->replan(s.problem(), {});
    REQUIRE(path);
    CHECK(path->exit_rates.empty());
    if (++taken[path->exit] == 1) check_plan(s.graph, s.platform, 0, s.wire, *path, "test");
  }
  // 0.2 each; three standard deviations of 5000 draws are 0.017.
  for (int exit = 0; exit < 5; ++exit) CHECK(std::abs(taken[exit] / 5000.0 - 0.2) < 0.017);
}

TEST_CASE(
    "goel_pipeline_hdnn: a chain keeps its plan; a bandwidth that moves the partition makes a new one") {
  Scene s = cifar10();
  s.graph = LayerGraph::load(kRoot + "/workloads/goel_caltech256.json");
  s.model = LatencyModel::load(kRoot + "/platforms/latency/goel_caltech256.json");
  const auto policy = policy_of("goel_pipeline_hdnn");
  CHECK(policy->plan(s.problem()).pieces.size() == 3);
  CHECK(!policy->replan(s.problem(), {}));
  Observation seen;
  seen.kind = Observation::Kind::kBandwidth;
  CHECK(!policy->replan(s.problem(), seen));
  // 50 kB at 1 kB/s take 50 s: one device alone.
  for (double& bandwidth : s.bandwidth_bytes_per_s) bandwidth = 1e3;
  const std::optional<Plan> alone = policy->replan(s.problem(), seen);
  REQUIRE(alone);
  CHECK(alone->pieces.size() == 1);
}

TEST_CASE("goel_pipeline_hdnn: errors") {
  Scene s = cifar10();
  CHECK(input_error([&] {
          plan_of(s, "goel_pipeline_hdnn", {{"devices", 5}});
        }).find("pi4_cluster.xml") != std::string::npos);
  CHECK(input_error([] {
          policy_of("goel_pipeline_hdnn", {{"devices", -1}});
        }).find("/devices") != std::string::npos);
  CHECK(input_error([] {
          policy_of("goel_pipeline_hdnn", {{"frames", 0}});
        }).find("/frames") != std::string::npos);
  CHECK(input_error([] {
          policy_of("goel_pipeline_hdnn", {{"blocks", 21}});
        }).find("/blocks") != std::string::npos);
  for (HostId host = 0; host < 4; ++host) s.platform.edit_host(host).memory_bytes = 10;
  CHECK(input_error([&] { plan_of(s, "goel_pipeline_hdnn"); }).find("memories") != std::string::npos);
}
