#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <ctime>
#include <limits>

#include "policies/shared/blocks.h"
#include "sim/random.h"
#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

// A complete mesh of a camera or two, which compute nothing, and units of random speeds and memories.
Scene random_mesh(Random& random, const std::string& model, int cameras, int units, bool scarce) {
  std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">)";
  std::vector<std::string> names;
  for (int i = 0; i < cameras + units; ++i) {
    names.push_back(i < cameras ? fmt::format("camera_{}", i) : fmt::format("unit_{}", i - cameras));
    const double memory = i < cameras ? 1 : scarce ? 1e6 * (0.5 + 6 * random.uniform()) : 1e9;
    xml += fmt::format(R"(<host id="{}" speed="{}Mf" core="1"><prop id="tier" value="{}"/>)"
                       R"(<prop id="memory" value="{}B"/></host>)",
                       names.back(), 50 + 500 * random.uniform(), i < cameras ? "device" : "edge",
                       static_cast<long>(memory));
  }
  std::string routes;
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (std::size_t j = i + 1; j < names.size(); ++j) {
      xml += fmt::format(R"(<link id="l{}_{}" bandwidth="{}Bps" latency="{}s"/>)", i, j,
                         1e6 * (0.1 + random.uniform()), 0.001 + 0.01 * random.uniform());
      routes += fmt::format(R"(<route src="{}" dst="{}"><link_ctn id="l{}_{}"/></route>)", names[i], names[j],
                            i, j);
    }
  }
  Scene s{Platform::parse(xml + routes + "</zone></platform>", "mesh.xml"),
          LayerGraph::load(kRoot + "/workloads/" + model + ".json")};
  s.source = "camera_0";
  return s;
}

bool is_valid(const Scene& s, const Problem& problem, const BlockTree& tree,
              const std::vector<std::vector<HostId>>& placed, int most) {
  std::map<HostId, int> count;
  std::map<HostId, double> weights, work;
  for (const auto& hosts : placed) {
    for (std::size_t b = 0; b < hosts.size(); ++b) {
      ++count[hosts[b]];
      double own = 0;
      for (const LayerId id : tree.blocks[b].layers) own += s.graph.layer(id).weight_bytes;
      Plan plan;
      plan.pieces.push_back({tree.blocks[b].layers, hosts[b]});
      weights[hosts[b]] += own;
      work[hosts[b]] = std::max(work[hosts[b]], plan_memory_bytes(s.graph, plan).at(hosts[b]) - own);
    }
  }
  for (const auto& [host, n] : count) {
    if (most > 0 && n > most) return false;
    if (weights[host] + work[host] > problem.platform.host(host).memory_bytes.value_or(1e30)) return false;
  }
  return true;
}

// The least sum of estimate() over all placements of all sources; infinite where none is valid.
double brute_force(Scene& s, const std::vector<HostId>& sources, int most) {
  const Problem problem = s.problem();
  const BlockTree tree = block_tree(problem, 10);
  const auto cameras = static_cast<HostId>(sources.size());
  std::vector<std::vector<HostId>> placed(sources.size(), std::vector<HostId>(tree.blocks.size(), cameras));
  std::map<std::pair<std::size_t, std::vector<HostId>>, double> latency;
  double best = std::numeric_limits<double>::infinity();
  for (;;) {
    if (is_valid(s, problem, tree, placed, most)) {
      double sum = 0;
      for (std::size_t u = 0; u < sources.size(); ++u) {
        const auto [entry, is_new] = latency.try_emplace({u, placed[u]}, 0);
        if (is_new) {
          Problem own = problem;
          own.source = sources[u];
          entry->second = estimate(own, block_plan(tree, placed[u])).latency_s;
        }
        sum += entry->second;
      }
      best = std::min(best, sum);
    }
    std::size_t u = 0, b = 0;
    while (u < placed.size() && ++placed[u][b] == s.platform.host_count()) {
      placed[u][b] = cameras;
      if (++b == placed[u].size()) {
        b = 0;
        ++u;
      }
    }
    if (u == placed.size()) return best;
  }
}

void compare(const std::string& model, int cameras, int units, int rounds, std::uint64_t seed) {
  Random random(seed);
  int none = 0, programmes = 0;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    const int most = random.below(4);
    Scene s = random_mesh(random, model, cameras, units, model == "disabato_cnn" && random.below(2) == 0);
    std::vector<HostId> sources;
    for (HostId u = 0; u < cameras; ++u) sources.push_back(u);
    const double best = brute_force(s, sources, most);
    Problem problem = s.problem();
    problem.sources = sources;
    const Json parameters = {{"layers_per_host", most}};
    if (std::isinf(best)) {
      ++none;
      CHECK(input_error([&] {
              policy_of("disabato_distributed_cnns", parameters)->plan(problem);
            }).starts_with("mesh.xml"));
      continue;
    }
    double sum = 0;
    for (const HostId source : sources) {
      problem.source = source;
      const Plan plan = policy_of("disabato_distributed_cnns", parameters)->plan(problem);
      check_plan(s.graph, s.platform, source, s.wire, plan, "test");
      CHECK(plan.decision.at("objective_s") == doctest::Approx(best).epsilon(1e-7));
      CHECK(plan.decision.at("predicted_latency_s") ==
            doctest::Approx(estimate(problem, plan).latency_s).epsilon(1e-9));
      sum += estimate(problem, plan).latency_s;
      programmes += plan.decision.at("programme") == 1 ? 1 : 0;
    }
    CHECK(sum == doctest::Approx(best).epsilon(1e-7));
  }
  CHECK(programmes > 0);
  MESSAGE(model << ", " << cameras << " source(s), " << units << " units: " << rounds << " instances, "
                << none << " without a placement, integer programmes solved " << programmes);
}

}  // namespace

TEST_CASE("disabato_distributed_cnns: optimal on 100 random meshes, by brute force over estimate()") {
  compare("disabato_cnn", 1, 4, 100, 3);
}

TEST_CASE("disabato_distributed_cnns: optimal for two sources on 20 random meshes") {
  compare("goel_caltech256", 2, 3, 20, 4);
}

TEST_CASE("disabato_distributed_cnns: optimal with an early exit on 40 random meshes") {
  compare("disabato_alexnet_exit", 1, 3, 40, 5);
}

TEST_CASE("disabato_distributed_cnns: one layer a unit on the bundled mesh") {
  Scene s{Platform::load(kRoot + "/platforms/disabato_mesh.xml"),
          LayerGraph::load(kRoot + "/workloads/alexnet.json"),
          LatencyModel::load(kRoot + "/platforms/latency/disabato_alexnet.json")};
  s.source = "camera_0";
  const std::clock_t start = std::clock();
  const Plan plan = plan_of(s, "disabato_distributed_cnns", {{"layers_per_host", 1}});
  MESSAGE("AlexNet on 50 units, one layer each, planned in "
          << static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC << " s of the processor's time");
  CHECK(plan.pieces.size() == 8);
  CHECK(plan.decision.at("hosts") == 8);
  CHECK(plan.decision.at("predicted_latency_s") ==
        doctest::Approx(estimate(s.problem(), plan).latency_s).epsilon(1e-9));
}

TEST_CASE("disabato_distributed_cnns: keeps its plan until a bandwidth changes it") {
  Random random(1);
  Scene s = random_mesh(random, "disabato_cnn", 1, 3, false);
  const auto policy = policy_of("disabato_distributed_cnns");
  const Plan first = policy->plan(s.problem());
  CHECK(first.pieces.size() == 1);
  CHECK(!policy->replan(s.problem(), {}));
  // The camera no longer reaches that unit in reasonable time.
  const HostId unit = first.pieces.front().host;
  s.bandwidth_bytes_per_s[static_cast<std::size_t>(s.platform.route(0, unit)->links.front())] = 1;
  const std::optional<Plan> second = policy->replan(s.problem(), {});
  REQUIRE(second);
  CHECK(second->pieces.front().host != unit);
}

TEST_CASE("disabato_distributed_cnns: errors") {
  CHECK(input_error([] {
          policy_of("disabato_distributed_cnns", {{"blocks", 0}});
        }).find("/blocks") != std::string::npos);
  CHECK(input_error([] {
          policy_of("disabato_distributed_cnns", {{"layers_per_host", -1}});
        }).find("/layers_per_host") != std::string::npos);
  CHECK(input_error([] {
          policy_of("disabato_distributed_cnns", {{"macs_per_host", -1}});
        }).find("/macs_per_host") != std::string::npos);
  // No host may do more than 1000 multiplications.
  Random random(1);
  Scene s = random_mesh(random, "disabato_cnn", 1, 3, false);
  CHECK(input_error([&] {
          plan_of(s, "disabato_distributed_cnns", {{"macs_per_host", 1000}});
        }).starts_with("mesh.xml"));
}
