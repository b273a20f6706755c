#include "policies/shared/linear_program.h"

#include <doctest/doctest.h>

#include <cmath>

#include "sim/random.h"

using namespace cdisim;
using Status = LinearSolution::Status;

TEST_CASE("linear programme: a small one with a known corner") {
  // max 3x + 2y, x + y <= 4, x + 3y <= 6, x <= 3: at x = 3, y = 1 it is 11; x + y binds.
  LinearProgram p;
  const int x = p.add({-3, 0, 3, false}), y = p.add({-2});
  p.rows = {{{{x, 1}, {y, 1}}, -LinearProgram::kInfinity, 4},
            {{{x, 1}, {y, 3}}, -LinearProgram::kInfinity, 6}};
  const LinearSolution s = minimise(p);
  REQUIRE(s.status == Status::kOptimal);
  CHECK(s.objective == doctest::Approx(-11));
  CHECK(s.values[0] == doctest::Approx(3));
  CHECK(s.values[1] == doctest::Approx(1));
}

TEST_CASE("linear programme: equalities, lower bounds, coefficients of one variable add up") {
  // min x + y, (1 + 1) x + y = 7, y >= 3, x >= 1: y = 3 leaves x = 2, 5 together; y = 5, x = 1 would be 6.
  LinearProgram p;
  const int x = p.add({1, 1}), y = p.add({1, 3});
  p.rows = {{{{x, 1}, {x, 1}, {y, 1}}, 7, 7}};
  const LinearSolution s = minimise(p);
  REQUIRE(s.status == Status::kOptimal);
  CHECK(s.objective == doctest::Approx(5));
}

TEST_CASE("linear programme: integers") {
  // max 5x + 4y, 6x + 4y <= 24, x + 2y <= 6: the relaxation is 21 at (3, 1.5), the best integers (4, 0): 20.
  LinearProgram p;
  const int x = p.add({-5, 0, 10, true}), y = p.add({-4, 0, 10, true});
  p.rows = {{{{x, 6}, {y, 4}}, -LinearProgram::kInfinity, 24},
            {{{x, 1}, {y, 2}}, -LinearProgram::kInfinity, 6}};
  const LinearSolution s = minimise(p);
  REQUIRE(s.status == Status::kOptimal);
  CHECK(s.objective == -20);
  CHECK(s.values == std::vector<double>{4, 0});
}

TEST_CASE("linear programme: a cutoff, and a limit of the search tree") {
  // The knapsack above, whose best is -20: up to -19 there is that one, up to -20.5 none.
  LinearProgram p;
  const int x = p.add({-5, 0, 10, true}), y = p.add({-4, 0, 10, true});
  p.rows = {{{{x, 6}, {y, 4}}, -LinearProgram::kInfinity, 24},
            {{{x, 1}, {y, 2}}, -LinearProgram::kInfinity, 6}};
  p.cutoff = -19;
  CHECK(minimise(p).objective == -20);
  p.cutoff = -20.5;
  CHECK(minimise(p).status == Status::kInfeasible);

  // Market split: equalities that no bound prunes. A few nodes find nothing, all of them prove it.
  Random random(5);
  LinearProgram q;
  for (int j = 0; j < 20; ++j) q.add({1, 0, 1, true});
  for (int i = 0; i < 3; ++i) {
    LinearProgram::Row row;
    double sum = 0;
    for (int j = 0; j < 20; ++j) {
      row.terms.emplace_back(j, random.below(100));
      sum += row.terms.back().second;
    }
    row.lower = row.upper = std::floor(sum / 2);
    q.rows.push_back(std::move(row));
  }
  q.most_nodes = 5;
  const LinearSolution s = minimise(q);
  CHECK(s.status == Status::kStopped);
  CHECK(s.values.empty());
}

TEST_CASE("linear programme: infeasible and unbounded, with and without integers") {
  for (const bool integer : {false, true}) {
    CAPTURE(integer);
    LinearProgram p;
    const int x = p.add({1, 0, 1, integer}), y = p.add({1, 0, 1, integer});
    p.rows = {{{{x, 1}, {y, 1}}, 3, LinearProgram::kInfinity}};
    CHECK(minimise(p).status == Status::kInfeasible);

    LinearProgram q;
    const int z = q.add({-1, 0, LinearProgram::kInfinity, integer}), w = q.add({0, 0, 5, integer});
    q.rows = {{{{z, -1}, {w, 1}}, -LinearProgram::kInfinity, 2}};
    CHECK(minimise(q).status == Status::kUnbounded);
  }
  // No whole number between 0.4 and 0.6, though the relaxation has one.
  LinearProgram p;
  const int x = p.add({1, 0, 1, true});
  p.rows = {{{{x, 1}}, 0.4, 0.6}};
  CHECK(minimise(p).status == Status::kInfeasible);
}

TEST_CASE("linear programme: 100 random knapsacks are brute force's, and the same each time") {
  Random random(11);
  for (int round = 0; round < 100; ++round) {
    CAPTURE(round);
    LinearProgram p;
    LinearProgram::Row weight, count;
    const int n = 2 + random.below(7);
    std::vector<double> w, v;
    for (int j = 0; j < n; ++j) {
      w.push_back(1 + random.below(20));
      v.push_back(random.uniform() * 10 - 2);
      const int x = p.add({-v.back(), 0, 1, true});
      weight.terms.emplace_back(x, w.back());
      count.terms.emplace_back(x, 1);
    }
    weight.upper = 5.0 * n;
    count.lower = 1;
    p.rows = {weight, count};
    double best = LinearProgram::kInfinity;
    for (int set = 1; set < 1 << n; ++set) {
      double cost = 0, sum = 0;
      for (int j = 0; j < n; ++j) {
        if ((set >> j & 1) == 0) continue;
        cost -= v[static_cast<std::size_t>(j)];
        sum += w[static_cast<std::size_t>(j)];
      }
      if (sum <= weight.upper) best = std::min(best, cost);
    }
    const LinearSolution s = minimise(p);
    if (best == LinearProgram::kInfinity) {
      CHECK(s.status == Status::kInfeasible);
      continue;
    }
    REQUIRE(s.status == Status::kOptimal);
    CHECK(s.objective == doctest::Approx(best));
    CHECK(minimise(p).values == s.values);
  }
}
