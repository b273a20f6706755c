#include "policies/shared/swarm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

using namespace cdisim;

namespace {

// Distance from a hidden vector; genes below `bound` in sum are a violation.
GeneSearch hidden(std::vector<int> choices, std::vector<int> target, int bound = 0) {
  GeneSearch search;
  search.choices = std::move(choices);
  search.fitness = [target, bound](std::span<const int> genes) {
    double distance = 0, sum = 0;
    for (std::size_t i = 0; i < genes.size(); ++i) {
      distance += std::abs(genes[i] - target[i]);
      sum += genes[i];
    }
    return Fitness{std::max(0.0, bound - sum), distance};
  };
  search.population = 30;
  search.iterations = 300;
  return search;
}

using Finder = Found (*)(const GeneSearch&);
const std::pair<const char*, Finder> kSearches[] = {{"pso_ga", [](const GeneSearch& s) { return pso_ga(s); }},
                                                    {"pso", [](const GeneSearch& s) { return pso(s); }},
                                                    {"ga", [](const GeneSearch& s) { return genetic(s); }}};

}  // namespace

TEST_CASE("swarm: fitness compares violations first") {
  CHECK(Fitness{0, 9} < Fitness{1, 0});
  CHECK(Fitness{0, 1} < Fitness{0, 2});
  CHECK(Fitness{1, 2} < Fitness{2, 1});
}

TEST_CASE("swarm: a hidden vector is found, genes stay within their choices") {
  for (const auto& [name, find] : kSearches) {
    CAPTURE(name);
    const std::vector<int> choices{4, 1, 7, 2, 5, 3, 9, 4}, target{3, 0, 5, 1, 0, 2, 8, 1};
    GeneSearch search = hidden(choices, target);
    int asked = 0;
    search.fitness = [&, inner = search.fitness](std::span<const int> genes) {
      ++asked;
      for (std::size_t i = 0; i < genes.size(); ++i) {
        REQUIRE(genes[i] >= 0);
        REQUIRE(genes[i] < choices[i]);
      }
      return inner(genes);
    };
    const Found found = find(search);
    CHECK(found.genes == target);
    CHECK(found.fitness == Fitness{0, 0});
    CHECK(found.iterations == 300);
    CHECK(asked <= 30 * 301);
    // The floor ends the search.
    search.floor = {0, 0};
    CHECK(find(search).iterations < 300);
    // With a constraint: the target's sum is 20, so two genes must give one each, or one two.
    const Found bound = find(hidden(choices, target, 22));
    CHECK(bound.fitness == Fitness{0, 2});
  }
}

TEST_CASE("swarm: deterministic by seed, and what is given at first is not lost") {
  for (const auto& [name, find] : kSearches) {
    CAPTURE(name);
    const std::vector<int> choices(40, 12);
    std::vector<int> target;
    for (int i = 0; i < 40; ++i) target.push_back(i % 12);
    GeneSearch search = hidden(choices, target);
    search.iterations = 5;
    const Found a = find(search), b = find(search);
    CHECK(a.genes == b.genes);
    search.seed = 2;
    CHECK(find(search).genes != a.genes);
    std::vector<int> near = target;
    near[7] = 0;
    search.first = {near};
    CHECK(find(search).fitness <= Fitness{0, 7});
    search.iterations = 0;
    CHECK(find(search).genes == near);
    // More than the population holds.
    search.population = 2;
    search.first.assign(5, std::vector<int>(40, 0));
    search.first.push_back(near);
    CHECK(find(search).genes == near);
  }
}

TEST_CASE("swarm: without mutation PSO-GA finds what the first population has, gene by gene") {
  // Only crossovers: no gene takes a value that no particle had.
  GeneSearch search = hidden(std::vector<int>(6, 10), {9, 9, 9, 9, 9, 9});
  search.first = {{0, 1, 2, 0, 1, 2}, {3, 3, 3, 3, 3, 3}};
  search.population = 2;
  PsoGa parameters;
  parameters.w_max = parameters.w_min = 0;
  const Found found = pso_ga(search, parameters);
  CHECK(found.genes == std::vector<int>(6, 3));
}
