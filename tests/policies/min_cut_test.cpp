#include "policies/shared/min_cut.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/policies/random_scene.h"

using namespace cdisim;

namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

CutCosts costs_of(const LayerGraph& graph, double first, double second, double crossing) {
  const auto n = static_cast<std::size_t>(graph.size());
  CutCosts costs;
  costs.first.assign(n, first);
  costs.second.assign(n, second);
  costs.crossing.assign(n, crossing);
  return costs;
}

CutCosts random_costs(const LayerGraph& graph, Random& random) {
  CutCosts costs = costs_of(graph, 0, 0, 0);
  // From microseconds to hours: nothing may be lost in rounding.
  const auto draw = [&] { return random.below(5) == 0 ? 0 : std::pow(10, random.uniform() * 9 - 6); };
  for (std::vector<double>* side : {&costs.first, &costs.second, &costs.crossing}) {
    for (double& cost : *side) cost = draw();
  }
  costs.input_crossing = draw();
  if (random.below(2) == 0) costs.first_used = draw();
  if (random.below(2) == 0) costs.second_used = draw();
  if (random.below(4) == 0) costs.first[static_cast<std::size_t>(random.below(graph.size()))] = kInfinite;
  return costs;
}

// That the parts of a cut belong together.
void check_sides(const LayerGraph& graph, std::span<const LayerId> layers, const Cut& cut) {
  std::vector<char> second(static_cast<std::size_t>(graph.size()), 0);
  for (const LayerId id : cut.second) second[static_cast<std::size_t>(id)] = 1;
  const Cut expected = cut_of(graph, layers, second);
  CHECK(cut.first == expected.first);
  CHECK(cut.second == expected.second);
  CHECK(cut.crossing == expected.crossing);
}

}  // namespace

// chain3: 4 places for the cut. Input 5; layers 1, 10, 10 on the first side, 2, 2, 2 on the second; outputs
// 1, 9, 9. k = 0: 5 + 6 = 11;  k = 1: 1 + 1 + 4 = 6;  k = 2: 11 + 9 + 2 = 22;  k = 3: 21.
TEST_CASE("min_cut: a chain, with pencil and paper") {
  const LayerGraph graph = LayerGraph::load(kRoot + "/tests/fixtures/chain3.json");
  CutCosts costs;
  costs.first = {1, 10, 10};
  costs.second = {2, 2, 2};
  costs.crossing = {1, 9, 9};
  costs.input_crossing = 5;
  MinCut min_cut(graph, graph.exit_layers(0));
  Cut cut = min_cut.least(costs);
  CHECK(cut.first == std::vector<LayerId>{0});
  CHECK(cut.second == std::vector<LayerId>{1, 2});
  CHECK(cut.crossing == std::vector<LayerId>{0});
  CHECK(MinCut::cost(costs, cut) == 6);

  // The first side costs 6 once it is used at all: 11 without it.
  costs.first_used = 6;
  cut = min_cut.least(costs);
  CHECK(cut.first.empty());
  CHECK(cut.crossing == std::vector<LayerId>{kInput});
  CHECK(MinCut::cost(costs, cut) == 11);

  // The second side costs 20 once it is used: 21 + 6 without it, 31 and 32 with it.
  costs.second_used = 20;
  cut = min_cut.least(costs);
  CHECK(cut.second.empty());
  CHECK(cut.crossing.empty());
  CHECK(MinCut::cost(costs, cut) == 27);

  // A layer that only the second side can compute: 11 + 20 and 6 + 6 + 20 are left. A later one that only the
  // first side can: nothing is.
  costs.first[1] = kInfinite;
  CHECK(MinCut::cost(costs, min_cut.least(costs)) == 31);
  costs.second[2] = kInfinite;
  CHECK(MinCut::cost(costs, min_cut.least(costs)) == kInfinite);
}

// Of equal cuts the smallest first side; zero costs are no special case.
TEST_CASE("min_cut: ties") {
  const LayerGraph graph = LayerGraph::load(kRoot + "/tests/fixtures/diamond.json");
  MinCut min_cut(graph, graph.exit_layers(0));
  CHECK(min_cut.least(costs_of(graph, 0, 0, 0)).first.empty());
  CHECK(min_cut.least(costs_of(graph, 1, 1, 0)).first.empty());
  CHECK(min_cut.least(costs_of(graph, 1, 2, 5)).second.empty());
}

TEST_CASE("min_cut: a tensor with several readers is paid once, and nothing comes back") {
  Random random(7);
  int several_tensors = 0;
  for (int trial = 0; trial < 300; ++trial) {
    CAPTURE(trial);
    const LayerGraph graph = LayerGraph::parse(random_graph(random, false), "g");
    const auto layers = graph.exit_layers(1);
    MinCut min_cut(graph, layers);
    for (int again = 0; again < 3; ++again) {  // the same network serves for many costs
      const CutCosts costs = random_costs(graph, random);
      const Cut cut = min_cut.least(costs);
      double least = kInfinite;
      for_each_cut(graph, layers,
                   [&](const Cut& candidate) { least = std::min(least, MinCut::cost(costs, candidate)); });
      CHECK(MinCut::cost(costs, cut) <= least * (1 + 1e-9));
      if (cut.crossing.size() > 1) ++several_tensors;
      check_sides(graph, layers, cut);
    }
  }
  CHECK(several_tensors > 100);  // that the cases are hard enough
}

// The layers that one cut leaves behind it are cut again; what others made crosses from the first side.
TEST_CASE("min_cut: part of a graph, as for a third tier") {
  Random random(8);
  for (int trial = 0; trial < 100; ++trial) {
    CAPTURE(trial);
    const LayerGraph graph = LayerGraph::parse(random_graph(random, false), "g");
    const CutCosts costs = random_costs(graph, random);
    const Cut whole = MinCut(graph, graph.exit_layers(1)).least(costs);
    const CutCosts further = random_costs(graph, random);
    const Cut cut = MinCut(graph, whole.second).least(further);
    CHECK(cut.first.size() + cut.second.size() == whole.second.size());
    double least = kInfinite;
    for_each_cut(graph, whole.second,
                 [&](const Cut& candidate) { least = std::min(least, MinCut::cost(further, candidate)); });
    if (least < kInfinite) CHECK(MinCut::cost(further, cut) == doctest::Approx(least).epsilon(1e-9));
    check_sides(graph, whole.second, cut);
  }
}
