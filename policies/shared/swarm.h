#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

namespace cdisim {

/// How good a vector of genes is; less is better, and no violation comes before any value.
struct Fitness {
  double violation = 0;  ///< by how much constraints are missed, 0: not at all; never NaN
  double value = 0;      ///< the objective; never NaN

  auto operator<=>(const Fitness&) const = default;
};

/// Minimise fitness(genes), gene i being one of 0 .. choices[i] - 1. All searches below are deterministic,
/// and the best that they ever met is what they find.
struct GeneSearch {
  std::vector<int> choices;  ///< (n_genes), each from 1
  std::function<Fitness(std::span<const int>)> fitness;
  std::vector<std::vector<int>> first;  ///< members of the first population; the others are random
  int population = 100;                 ///< from 2, and at least those
  int iterations = 1000;                ///< from 0: the first population alone
  Fitness floor = {0, -std::numeric_limits<double>::infinity()};  ///< what reaches it ends the search
  std::uint64_t seed = 1;
};

struct Found {
  std::vector<int> genes;
  Fitness fitness;
  int iterations = 0;  ///< that were run
};

/// What changes from the first iteration to the last, linearly.
struct Ramp {
  double first = 0, last = 0;
};

/// Self-adaptive discrete particle swarm whose updates are those of a genetic algorithm. Per iteration and
/// particle
///
///     X = crossover(crossover(mutate(X; w), best of the particle; c1), best of the swarm; c2)
///
/// mutate: with probability w one random gene takes another random value; crossover: with probability c a
/// random segment is copied. Far from the best of the swarm w is large (explore), near it small:
///
///     w = w_max - (w_max - w_min) exp(d / (d - 1.01)),   d = share of genes that differ from it
///
/// The best ones are updated after each iteration.
///
/// Source: B. Lin et al., "Cost-Driven Off-Loading for DNN-Based Applications Over Cloud, Edge, and End
/// Devices", IEEE TII 16(8), 2020. From the abstract and the successor's code; w's formula, its limits and
/// the ramps are reconstructed.
struct PsoGa {
  double w_max = 0.9, w_min = 0.4;
  Ramp c1 = {0.9, 0.2}, c2 = {0.4, 0.9};
};
Found pso_ga(const GeneSearch& search, const PsoGa& parameters = {});

/// Particle swarm over real positions, gene i being the integer part of coordinate i:
///
///     v = w v + c1 r1 (best of the particle - x) + c2 r2 (best of the swarm - x),   x = x + v
///
/// w falls from w_max to w_min, |v| is at most half of the choices, x stays within them, r1 and r2 are random
/// in [0, 1) for each coordinate.
///
/// Source: Y. Shi, R. Eberhart, "A modified particle swarm optimizer", CEC 1998.
struct Pso {
  double w_max = 0.9, w_min = 0.4;
  double c1 = 2, c2 = 2;
};
Found pso(const GeneSearch& search, const Pso& parameters = {});

/// Genetic algorithm. The best of a population stays; the others are children: of two parents, each the
/// better of two random ones, a two-point crossover with probability `crossover`, else a copy of the first;
/// then with probability `mutation` one random gene takes another random value.
///
/// Source: D. E. Goldberg, "Genetic Algorithms in Search, Optimization and Machine Learning", 1989;
/// probabilities assumed.
struct Genetic {
  double crossover = 0.8, mutation = 0.1;
};
Found genetic(const GeneSearch& search, const Genetic& parameters = {});

}  // namespace cdisim
