#include "policies/shared/row_shares.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/policies/row_scene.h"

using namespace cdisim;

namespace {

std::vector<std::string> names(const LayerGraph& graph, const std::vector<LayerId>& layers) {
  std::vector<std::string> out;
  for (const LayerId id : layers) out.push_back(graph.layer(id).name);
  return out;
}

std::vector<double> random_shares(Random& random, std::size_t n, double least) {
  std::vector<double> shares(n);
  double sum = 0;
  for (double& share : shares) sum += share = random.uniform();
  for (double& share : shares) share = least + (1 - least * static_cast<double>(n)) * share / sum;
  return shares;
}

// Pieces of rows by device; the stage of a piece of row_plan() with every stage a block.
std::size_t stage_of(const RowLayers& rows, const Piece& piece) {
  std::size_t stage = 0;
  while (stage < rows.stages.size() && std::ranges::count(rows.stages[stage], piece.layers.front()) == 0)
    ++stage;
  return stage;
}

}  // namespace

TEST_CASE("row_shares: the stages of AlexNet, its halos and the least share") {
  const LayerGraph graph = LayerGraph::load(kRoot + "/workloads/alexnet.json");
  const RowLayers rows = row_layers(graph, 0);
  // Windows beyond one's own rows: all convolutions but the first, which reads the input, and all pools.
  const std::vector<std::vector<std::string>> stages{
      {"conv1", "relu1", "norm1"}, {"pool1"},          {"conv2", "relu2", "norm2"}, {"pool2"},
      {"conv3", "relu3"},          {"conv4", "relu4"}, {"conv5", "relu5"},          {"pool5"}};
  REQUIRE(rows.stages.size() == stages.size());
  for (std::size_t s = 0; s < stages.size(); ++s) CHECK(names(graph, rows.stages[s]) == stages[s]);
  CHECK(names(graph, rows.tail) ==
        std::vector<std::string>{"fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8", "prob"});
  // conv2: 5 x 5 with padding 2.
  const Halo conv2 = halo(graph, graph.find("conv2"), 0), widest = widest_halo(graph, graph.find("conv2"), 0);
  CHECK(conv2.above == 2);
  CHECK(conv2.below == 2);
  CHECK(widest.above == 2);
  CHECK(widest.below == 2);
  // pool1: 55 rows to 27, windows of 3 every 2. Before row 13 the boundary is at 13 * 55 / 27 = 26.48; row 13
  // reads 26 to 28, row 12 reads 24 to 26.
  const Halo pool1 = halo(graph, graph.find("pool1"), 0);
  CHECK(pool1.above == doctest::Approx(13.0 * 55 / 27 - 26));
  CHECK(pool1.below == doctest::Approx(27 - 13.0 * 55 / 27));
  // pool5: 13 rows to 6. The boundary before row b lies anywhere from (b - 1/2) 13 / 6 to (b + 1/2) 13 / 6:
  // for b = 5 at rows 10 to 12, whole; row 5 begins at 10, two above 12, row 4 ends at 11, one below 10.
  const Halo pool5 = widest_halo(graph, graph.find("pool5"), 0);
  CHECK(pool5.above == 2);
  CHECK(pool5.below == 2);  // b = 1: rows 1 to 3, row 0 ends at 3
  CHECK(least_share(graph, rows) == doctest::Approx(2.0 / 13));
}

TEST_CASE("row_shares: what must have all rows is the tail") {
  const auto tail_of = [](const std::string& model) {
    const LayerGraph graph = LayerGraph::load(kRoot + "/workloads/" + model + ".json");
    return names(graph, row_layers(graph, static_cast<int>(graph.exits().size()) - 1).tail).front();
  };
  CHECK(tail_of("resnet18") == "avgpool");
  CHECK(tail_of("vgg16") == "fc6");
  const LayerGraph lstm = LayerGraph::load(kRoot + "/workloads/lstm.json");
  CHECK(row_layers(lstm, 0).stages.empty());
}

TEST_CASE("row_shares: in single stages nothing is computed twice and nobody waits for another's rows") {
  Random random(3);
  int halos = 0;
  for (int round = 0; round < 100; ++round) {
    CAPTURE(round);
    Scene s = row_scene(random, 2 + random.below(4), 8 + random.below(17), round % 2 == 0);
    const Problem problem = s.problem();
    const RowLayers rows = row_layers(s.graph, 0);
    if (rows.stages.empty()) continue;
    RowShares shares{row_hosts(problem, 0, "test"), {}, problem.source};
    shares.shares = random_shares(random, shares.hosts.size(), 0);
    const Plan plan = row_plan(s.graph, 0, rows, every_stage(rows), shares);
    check_plan(s.graph, s.platform, problem.source, s.wire, plan, "test");
    std::map<LayerId, double> computed;
    for (const Piece& piece : plan.pieces) {
      for (const auto& [id, part] : piece.parts) computed[id] += elements(part);
    }
    for (const auto& [id, sum] : computed) CHECK(sum == s.graph.output_elements(id));
    for (const PlanEdge& edge : plan_edges(s.graph, s.wire, plan)) {
      if (edge.from == kSourceEnd || edge.to == kSourceEnd) continue;
      const Piece& from = plan.pieces[static_cast<std::size_t>(edge.from)];
      const Piece& to = plan.pieces[static_cast<std::size_t>(edge.to)];
      CHECK(stage_of(rows, from) < stage_of(rows, to));
      halos += from.host != to.host && stage_of(rows, to) < rows.stages.size() ? 1 : 0;
    }
  }
  CHECK(halos > 100);
}

TEST_CASE("row_shares: from the least share on halos come from neighbours") {
  Random random(4);
  int far_without = 0;
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    Scene s = row_scene(random, 3 + random.below(3), 8 + random.below(17), round % 2 == 0);
    const Problem problem = s.problem();
    const RowLayers rows = row_layers(s.graph, 0);
    if (rows.stages.empty()) continue;
    RowShares shares{row_hosts(problem, 0, "test"), {}, problem.source};
    const auto n = static_cast<double>(shares.hosts.size());
    // Edges between devices that are no neighbours.
    const auto far = [&](double least) {
      shares.shares = random_shares(random, shares.hosts.size(), least);
      const Plan plan = row_plan(s.graph, 0, rows, every_stage(rows), shares);
      int count = 0;
      for (const PlanEdge& edge : plan_edges(s.graph, s.wire, plan)) {
        if (edge.from == kSourceEnd || edge.to == kSourceEnd) continue;
        const Piece& from = plan.pieces[static_cast<std::size_t>(edge.from)];
        const Piece& to = plan.pieces[static_cast<std::size_t>(edge.to)];
        if (stage_of(rows, to) < rows.stages.size()) count += std::abs(from.host - to.host) > 1 ? 1 : 0;
      }
      return count;
    };
    const double least = least_share(s.graph, rows);
    if (least * n <= 1) CHECK(far(least) == 0);
    far_without += far(0) > 0 ? 1 : 0;
  }
  CHECK(far_without > 20);
}

TEST_CASE("row_shares: who has all rows computes them in one piece") {
  Random random(5);
  Scene s = row_scene(random, 3, 12, true);
  s.graph = LayerGraph::load(kRoot + "/workloads/lenet5.json");
  const RowLayers rows = row_layers(s.graph, 0);
  const std::vector<int> begins = every_stage(rows);
  const Plan whole = row_plan(s.graph, 0, rows, begins, {{0, 1, 2}, {0, 1, 0}, 1});
  REQUIRE(whole.pieces.size() == 1);
  CHECK(whole.pieces[0].host == 1);
  CHECK(whole.pieces[0].parts.empty());
  const Plan two = row_plan(s.graph, 0, rows, begins, {{0, 1, 2}, {0, 1, 0}, 2});
  REQUIRE(two.pieces.size() == 2);
  CHECK(two.pieces[0].layers == rows.layers());
  CHECK(two.pieces[1].host == 2);
  CHECK(two.pieces[1].layers == rows.tail);
}

TEST_CASE("row_shares: what crosses a link together shares it") {
  // a and b send 1000 byte each to c: over the link of c, 1000 byte/s, 2 s and their latencies, 0.3 s the
  // larger one.
  Scene s{Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
    <host id="device" speed="1f"><prop id="tier" value="device"/></host><host id="b" speed="1f"><prop id="tier" value="device"/></host><host id="c" speed="1f"><prop id="tier" value="device"/></host>
    <link id="la" bandwidth="1500Bps" latency="0.1s"/><link id="lb" bandwidth="4000Bps" latency="0.2s"/>
    <link id="lc" bandwidth="1000Bps" latency="0.1s"/>
    <route src="device" dst="c"><link_ctn id="la"/><link_ctn id="lc"/></route>
    <route src="b" dst="c"><link_ctn id="lb"/><link_ctn id="lc"/></route>
    </zone></platform>)",
                          "p.xml"),
          LayerGraph::load(kRoot + "/tests/fixtures/chain3.json")};
  const Problem problem = s.problem();
  const std::vector<Transfer> both{{0, 2, 1000}, {1, 2, 1000}, {1, 1, 1e9}};
  CHECK(phase_s(problem, both) == doctest::Approx(2.3));
  CHECK(phase_s(problem, std::span(both).first(1)) == doctest::Approx(1.2));
  CHECK(phase_s(problem, std::span(both).last(1)) == 0);
  // No route from the device to b: it takes part with c alone.
  CHECK(row_hosts(problem, 0, "test") == std::vector<HostId>{0, 2});
  CHECK(input_error([&] { row_hosts(problem, 3, "test"); }).find("p.xml") != std::string::npos);
}
