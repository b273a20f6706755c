// Pieces of placements, and their schedule against check_plan() and estimate() on random graphs and hosts.

#include "policies/shared/pieces.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "policies/shared/schedule.h"
#include "tests/policies/random_scene.h"

using namespace cdisim;

namespace {

std::vector<std::vector<std::string>> names(const LayerGraph& graph, const std::vector<Piece>& pieces) {
  std::vector<std::vector<std::string>> out;
  for (const Piece& piece : pieces) {
    out.emplace_back();
    for (const LayerId layer : piece.layers) out.back().push_back(graph.layer(layer).name);
  }
  return out;
}

using Names = std::vector<std::vector<std::string>>;

bool agree(double a, double b) {
  return std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)) + 1e-14;
}

}  // namespace

TEST_CASE("pieces: a diamond, by grouping") {
  // stem -> left, right -> join -> head, in this order; hosts 0 and 1.
  const LayerGraph graph = LayerGraph::load(kRoot + "/tests/fixtures/diamond.json");
  const auto pieces = [&](std::vector<HostId> hosts, Grouping grouping) {
    return names(graph, pieces_of(graph, graph.exit_layers(1), hosts, grouping));
  };
  for (const Grouping grouping : {Grouping::kRuns, Grouping::kFew, Grouping::kEager})
    CHECK(pieces({0, 0, 0, 0, 0}, grouping) == Names{{"stem", "left", "right", "join", "head"}});
  // left elsewhere. Few: right goes with stem, and left waits for it. Eager: stem's tensor leaves first.
  CHECK(pieces({0, 1, 0, 0, 0}, Grouping::kRuns) == Names{{"stem"}, {"left"}, {"right", "join", "head"}});
  CHECK(pieces({0, 1, 0, 0, 0}, Grouping::kFew) == Names{{"stem", "right"}, {"left"}, {"join", "head"}});
  CHECK(pieces({0, 1, 0, 0, 0}, Grouping::kEager) == Names{{"stem"}, {"left"}, {"right"}, {"join", "head"}});
  // right elsewhere: in runs left cannot be apart from stem.
  CHECK(pieces({0, 0, 1, 0, 0}, Grouping::kRuns) == Names{{"stem", "left"}, {"right"}, {"join", "head"}});
  CHECK(pieces({0, 0, 1, 0, 0}, Grouping::kEager) == Names{{"stem"}, {"left"}, {"right"}, {"join", "head"}});
  // Both elsewhere: one piece, and stem's tensor travels once.
  for (const Grouping grouping : {Grouping::kRuns, Grouping::kFew, Grouping::kEager})
    CHECK(pieces({0, 1, 1, 0, 0}, grouping) == Names{{"stem"}, {"left", "right"}, {"join", "head"}});
  // Two hosts for two branches, a third for the rest.
  CHECK(pieces({2, 0, 1, 2, 2}, Grouping::kFew) == Names{{"stem"}, {"left"}, {"right"}, {"join", "head"}});
}

TEST_CASE("pieces, schedule: never a circle, all layers once, and the schedule is estimate()") {
  Random random(64);
  int eager_more = 0, fewer = 0, more = 0, several_hosts = 0, many_pieces = 0;
  for (int i = 0; i < 400; ++i) {
    CAPTURE(i);
    Scene s = random_scene(random, i % 4 == 0);
    const Problem problem = s.problem();
    const std::vector<HostId> hosts{0, 1, 2};
    const int exit = random.below(2);
    const std::span<const LayerId> layers = s.graph.exit_layers(exit);
    std::vector<std::vector<LayerId>> single;
    for (const LayerId layer : layers) single.push_back({layer});
    for (const bool fused : {false, true}) {
      CAPTURE(fused);
      const auto units = fused ? fused_layers(s.graph, layers) : single;
      Schedule schedule(problem, exit, hosts, units);
      std::vector<int> placement;
      for (std::size_t u = 0; u < units.size(); ++u)
        placement.push_back(u > 0 && random.below(2) == 0 ? placement.back() : random.below(3));
      std::map<Grouping, std::size_t> pieces;
      for (const Grouping grouping : {Grouping::kEager, Grouping::kFew, Grouping::kRuns}) {
        const Schedule::Cost cost = schedule.cost(placement, grouping);
        const Plan plan = schedule.plan(placement, grouping);
        CHECK_NOTHROW(check_plan(s.graph, s.platform, problem.source, s.wire, plan, "pieces"));
        const Estimate expected = estimate(problem, plan);
        CHECK_MESSAGE(agree(cost.latency_s, expected.latency_s), cost.latency_s, " ", expected.latency_s);
        CHECK_MESSAGE(agree(cost.cost_usd, expected.cost_usd), cost.cost_usd, " ", expected.cost_usd);
        pieces[grouping] = plan.pieces.size();
        several_hosts += std::ranges::count(placement, placement[0]) < std::ssize(placement);
        many_pieces += plan.pieces.size() > 3;
      }
      eager_more += pieces[Grouping::kEager] > pieces[Grouping::kFew];
      fewer += pieces[Grouping::kFew] < pieces[Grouping::kRuns];
      more += pieces[Grouping::kFew] > pieces[Grouping::kRuns];
    }
  }
  CHECK(eager_more > 30);
  CHECK(fewer > 30);
  CHECK(more == 0);
  CHECK(several_hosts > 800);
  CHECK(many_pieces > 400);
}

TEST_CASE("schedule: layers that work in place go with the layer before them") {
  const LayerGraph resnet = LayerGraph::load(kRoot + "/workloads/resnet101.json");
  const auto units = fused_layers(resnet, resnet.exit_layers(0));
  // conv1 and 103 more convolutions, 33 sums, two pools, fc1000: with their batch_norm, affine, relu,
  // softmax.
  CHECK(units.size() == 104 + 33 + 2 + 1);
  CHECK(units.front().size() == 4);
  CHECK(units.back().size() == 2);
  // A relu whose input others read too is on its own.
  Json graph = {{"schema", 1},
                {"name", "g"},
                {"source", "test"},
                {"precision", "fp32"},
                {"input", {{"shape", {8}}}},
                {"layers",
                 {{{"name", "a"}, {"kind", "fc"}, {"inputs", {"input"}}, {"output", {8}}},
                  {{"name", "b"}, {"kind", "relu"}, {"inputs", {"a"}}},
                  {{"name", "c"}, {"kind", "add"}, {"inputs", {"a", "b"}}}}}};
  const LayerGraph skip = LayerGraph::parse(graph, "g");
  CHECK(fused_layers(skip, skip.exit_layers(0)).size() == 3);
}
