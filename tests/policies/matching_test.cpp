#include "policies/shared/matching.h"

#include <doctest/doctest.h>

#include <limits>

#include "sim/random.h"

using namespace cdisim;

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

std::vector<std::vector<double>> random_costs(std::size_t agents, std::size_t places, Random& random) {
  std::vector<std::vector<double>> costs(agents, std::vector<double>(places));
  for (auto& row : costs) {
    for (double& cost : row) cost = random.uniform();
  }
  return costs;
}

// Agents that share a place slow each other down: own cost times the number of them.
double congested(const std::vector<std::vector<double>>& costs, const Matching& matching) {
  double total = 0;
  for (std::size_t a = 0; a < matching.size(); ++a) {
    if (matching[a] == kUnmatched) {
      total += 1.5;
    } else {
      total += costs[a][static_cast<std::size_t>(matching[a])] *
               static_cast<double>(std::ranges::count(matching, matching[a]));
    }
  }
  return total;
}

}  // namespace

TEST_CASE("matching: deferred acceptance by hand") {
  // Both prefer place 0, which prefers agent 1: agent 0 is refused and goes to place 1.
  const std::vector<int> one_each{1, 1};
  CHECK(deferred_acceptance({{1, 2}, {1, 2}}, {{2, 1}, {1, 1}}, one_each) == Matching{1, 0});
  // A place of quota 2 takes both; of none, nobody.
  CHECK(deferred_acceptance({{1, 2}, {1, 2}}, {{2, 1}, {1, 1}}, std::vector<int>{2, 1}) == Matching{0, 0});
  CHECK(deferred_acceptance({{1, 2}, {1, 2}}, {{2, 1}, {1, 1}}, std::vector<int>{0, 1}) ==
        Matching{1, kUnmatched});
  // Of equals the lower index; better nowhere than at an infinite cost.
  CHECK(deferred_acceptance({{1, 1}, {1, 1}}, {{1, 1}, {1, 1}}, one_each) == Matching{0, 1});
  CHECK(deferred_acceptance({{1, kNever}, {1, kNever}}, {{1, 1}, {1, 1}}, one_each) ==
        Matching{0, kUnmatched});
}

TEST_CASE("matching: deferred acceptance leaves no blocking pair") {
  Random random(1);
  for (int i = 0; i < 150; ++i) {
    const auto agents = static_cast<std::size_t>(1 + random.below(7)),
               places = static_cast<std::size_t>(1 + random.below(4));
    const auto mine = random_costs(agents, places, random), theirs = random_costs(agents, places, random);
    std::vector<int> quotas;
    for (std::size_t p = 0; p < places; ++p) quotas.push_back(random.below(4));
    const Matching matching = deferred_acceptance(mine, theirs, quotas);
    for (std::size_t p = 0; p < places; ++p) {
      CHECK(std::ranges::count(matching, static_cast<int>(p)) <= quotas[p]);
      for (std::size_t a = 0; a < agents; ++a) {
        // Agent and place would both rather have each other than what they have.
        const bool wants =
            matching[a] == kUnmatched || mine[a][p] < mine[a][static_cast<std::size_t>(matching[a])];
        bool wanted = std::ranges::count(matching, static_cast<int>(p)) < quotas[p];
        for (std::size_t b = 0; b < agents; ++b)
          wanted = wanted || (matching[b] == static_cast<int>(p) && theirs[a][p] < theirs[b][p]);
        CHECK(!(wants && wanted));
      }
    }
  }
}

TEST_CASE("matching: swaps end where no swap helps") {
  Random random(2);
  double worst = 0, sum = 0;
  constexpr int kInstances = 150;
  for (int i = 0; i < kInstances; ++i) {
    const auto agents = static_cast<std::size_t>(2 + random.below(5)), places = std::size_t{3};
    const auto costs = random_costs(agents, places, random);
    const std::vector<int> quotas{1 + random.below(3), 1 + random.below(3), 1 + random.below(3)};
    const auto total = [&](const Matching& matching) { return congested(costs, matching); };
    Matching matching = deferred_acceptance(costs, costs, quotas);
    const double before = total(matching);
    const int swaps = exchange(matching, quotas, total);
    const double reached = total(matching);
    CHECK((swaps == 0 ? reached == before : reached < before));
    const auto allowed = [&](const Matching& m) {
      for (std::size_t p = 0; p < places; ++p) {
        if (std::ranges::count(m, static_cast<int>(p)) > quotas[p]) return false;
      }
      return true;
    };
    CHECK(allowed(matching));
    // Every matching: those that differ by one move or one swap are no better; the best of all is the
    // optimum.
    double best = kNever;
    Matching other(agents, kUnmatched);
    for (;;) {
      if (allowed(other)) {
        best = std::min(best, total(other));
        std::vector<std::size_t> differ;
        for (std::size_t a = 0; a < agents; ++a) {
          if (other[a] != matching[a]) differ.push_back(a);
        }
        const bool swapped = differ.size() == 2 && other[differ[0]] == matching[differ[1]] &&
                             other[differ[1]] == matching[differ[0]];
        if (differ.size() == 1 || swapped) CHECK(total(other) >= reached * (1 - 1e-9));
      }
      std::size_t a = 0;
      while (a < agents && ++other[a] == static_cast<int>(places)) other[a++] = kUnmatched;
      if (a == agents) break;
    }
    const double gap = reached / best - 1;
    worst = std::max(worst, gap);
    sum += gap;
  }
  MESSAGE("cost above the best matching: mean " << 100 * sum / kInstances << " %, at most " << 100 * worst
                                                << " %");
  CHECK(sum / kInstances < 0.05);
}
