// Q-learning against tables worked out with a pencil.

#include "policies/shared/q_learning.h"

#include <doctest/doctest.h>

using namespace cdisim;

TEST_CASE("q_learning: one update after another") {
  // Rate 1 / n: the first update is taken whole, the second half, the third a third.
  QLearning q(2, 2, {.discount = 0.5, .decay = 1}, 1);
  q.update(1, 0, 4, QLearning::kEnd);
  CHECK(q.value(1, 0) == 4);
  q.update(1, 0, 2, QLearning::kEnd);
  CHECK(q.value(1, 0) == 3);
  // 1 + 0.5 * 3; then a half of 0 + 0.5 * 3 more.
  q.update(0, 1, 1, 1);
  CHECK(q.value(0, 1) == 2.5);
  q.update(0, 1, 0, 1);
  CHECK(q.value(0, 1) == 2);
  CHECK(q.value(0, 0) == 0);
  CHECK(q.best(0) == 1);
  CHECK(q.best(1) == 0);
}

TEST_CASE("q_learning: the first of equal actions is the best") {
  QLearning q(1, 3, {}, 1);
  CHECK(q.best(0) == 0);
  q.update(0, 0, -1, QLearning::kEnd);
  CHECK(q.best(0) == 1);
}

TEST_CASE("q_learning: finds the optimum of a small decision process") {
  // State 0: action 0 earns 1 and stays; action 1 earns nothing and leads to state 1. State 1: both earn 3
  // and lead back. Staying is worth 1 / (1 - 0.9) = 10; going Q0 = 0.9 (3 + 0.9 Q0): Q0 = 2.7 / 0.19 = 14.21,
  // and staying once before 1 + 0.9 * 14.21 = 13.79. State 1: 3 + 0.9 * 14.21 = 15.79.
  const auto learned = [](std::uint64_t seed) {
    QLearning q(2, 2, {.discount = 0.9, .decay = 0.6}, seed);
    int state = 0;
    for (int i = 0; i < 200000; ++i) {
      const int action = q.explore(state, 0.3);
      const int next = state == 0 ? action : 0;
      q.update(state, action, state == 1 ? 3 : action == 0 ? 1 : 0, next);
      state = next;
    }
    return q;
  };
  const QLearning q = learned(1);
  CHECK(q.value(0, 1) == doctest::Approx(2.7 / 0.19).epsilon(0.02));
  CHECK(q.value(0, 0) == doctest::Approx(1 + 0.9 * 2.7 / 0.19).epsilon(0.02));
  CHECK(q.value(1, 0) == doctest::Approx(3 + 0.9 * 2.7 / 0.19).epsilon(0.02));
  CHECK(q.best(0) == 1);
  CHECK(learned(1).value(0, 0) == q.value(0, 0));
  CHECK(learned(2).value(0, 0) != q.value(0, 0));
}

TEST_CASE("q_learning: exploration") {
  QLearning q(1, 4, {}, 3);
  q.update(0, 2, 1, QLearning::kEnd);
  int counts[4] = {};
  for (int i = 0; i < 4000; ++i) ++counts[q.explore(0, 0.4)];
  // 0.6 + 0.1 for the best, 0.1 for each of the others.
  CHECK(counts[2] > 2650);
  CHECK(counts[2] < 2950);
  for (const int other : {0, 1, 3}) CHECK(counts[other] > 300);
  for (int i = 0; i < 100; ++i) CHECK(q.explore(0, 0) == 2);
}
