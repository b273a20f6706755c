#pragma once

#include <limits>
#include <utility>
#include <vector>

namespace cdisim {

/// min sum_j cost_j x_j  subject to  lower_i <= sum_j a_ij x_j <= upper_i  and  lower_j <= x_j <= upper_j,
/// some x_j integer. In any unit.
struct LinearProgram {
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();

  struct Variable {
    double cost = 0;
    double lower = 0;
    double upper = kInfinity;
    bool integer = false;
  };
  struct Row {
    std::vector<std::pair<int, double>> terms;  ///< (variable, coefficient); of one variable they add up
    double lower = -kInfinity;
    double upper = kInfinity;
  };

  std::vector<Variable> variables;
  std::vector<Row> rows;
  double cutoff = kInfinity;  ///< solutions that cost more are none
  int most_nodes = 0;         ///< of the search tree of an integer programme; 0: any number

  /// @returns the variable's index.
  int add(const Variable& variable) {
    variables.push_back(variable);
    return static_cast<int>(variables.size()) - 1;
  }
};

struct LinearSolution {
  enum class Status { kOptimal, kInfeasible, kUnbounded, kStopped };  ///< stopped: after most_nodes
  Status status = Status::kInfeasible;
  double objective = 0;        ///< optimal, or stopped with values
  std::vector<double> values;  ///< (n_variables), optimal, or the best that was found; of integers rounded
};

/// An optimal solution, by COIN-OR's simplex (Clp) and branch and cut (Cbc), to their tolerances: rows to
/// 1e-6, integers to 1e-6, the objective of an integer programme to 1e-9 of itself. One thread, no time
/// limit, prints nothing: the same programme has the same solution.
/// @throws std::runtime_error when the solver gives up, which is a programmer's mistake (numbers of too
/// different a size).
LinearSolution minimise(const LinearProgram& program);

}  // namespace cdisim
