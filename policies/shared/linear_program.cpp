#include "policies/shared/linear_program.h"

#include <coin/Cbc_C_Interface.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <memory>
#include <stdexcept>

namespace cdisim {

LinearSolution minimise(const LinearProgram& program) {
  using Status = LinearSolution::Status;
  const auto n = program.variables.size();

  std::vector<std::map<int, double>> columns(n);  // by row
  std::vector<double> row_lower, row_upper;
  for (std::size_t i = 0; i < program.rows.size(); ++i) {
    for (const auto& [variable, coefficient] : program.rows[i].terms) {
      columns[static_cast<std::size_t>(variable)][static_cast<int>(i)] += coefficient;
    }
    row_lower.push_back(program.rows[i].lower);
    row_upper.push_back(program.rows[i].upper);
  }
  std::vector<CoinBigIndex> starts{0};
  std::vector<int> indices;
  std::vector<double> coefficients, cost, lower, upper;
  for (std::size_t j = 0; j < n; ++j) {
    for (const auto& [row, coefficient] : columns[j]) {
      indices.push_back(row);
      coefficients.push_back(coefficient);
    }
    starts.push_back(static_cast<CoinBigIndex>(indices.size()));
    cost.push_back(program.variables[j].cost);
    lower.push_back(program.variables[j].lower);
    upper.push_back(program.variables[j].upper);
  }

  const std::unique_ptr<Cbc_Model, decltype(&Cbc_deleteModel)> owner(Cbc_newModel(), &Cbc_deleteModel);
  Cbc_Model* const model = owner.get();
  Cbc_setLogLevel(model, 0);
  Cbc_loadProblem(model, static_cast<int>(n), static_cast<int>(program.rows.size()), starts.data(),
                  indices.data(), coefficients.data(), lower.data(), upper.data(), cost.data(),
                  row_lower.data(), row_upper.data());
  for (std::size_t j = 0; j < n; ++j) {
    if (program.variables[j].integer) Cbc_setInteger(model, static_cast<int>(j));
  }
  Cbc_setAllowableGap(model, 0);
  Cbc_setAllowableFractionGap(model, 1e-9);
  const bool has_cutoff = program.cutoff < LinearProgram::kInfinity;
  if (has_cutoff) Cbc_setCutoff(model, program.cutoff);
  if (program.most_nodes > 0) Cbc_setMaximumNodes(model, program.most_nodes);
  Cbc_solve(model);

  if (Cbc_isContinuousUnbounded(model) != 0) return {Status::kUnbounded, 0, {}};
  if (Cbc_isProvenInfeasible(model) != 0) {
    if (has_cutoff) return {Status::kInfeasible, 0, {}};
    // Cbc also says so of programmes that are unbounded: those have a solution where nothing costs anything.
    LinearProgram free = program;
    for (LinearProgram::Variable& variable : free.variables) variable.cost = 0;
    const bool costs = std::ranges::any_of(cost, [](double c) { return c != 0; });
    if (costs && minimise(free).status == Status::kOptimal) return {Status::kUnbounded, 0, {}};
    return {Status::kInfeasible, 0, {}};
  }
  LinearSolution out{Status::kOptimal, 0, {}};
  if (Cbc_isProvenOptimal(model) == 0) {
    if (Cbc_isNodeLimitReached(model) == 0) throw std::runtime_error("linear programme: Cbc gave up");
    out.status = Status::kStopped;
  }
  const bool found = out.status == Status::kOptimal || Cbc_numberSavedSolutions(model) > 0;
  if (!found) return out;
  const double* values = Cbc_getColSolution(model);
  out.values.assign(values, values + n);
  for (std::size_t j = 0; j < n; ++j) {
    if (program.variables[j].integer) out.values[j] = std::round(out.values[j]);
    out.objective += program.variables[j].cost * out.values[j];
  }
  return out;
}

}  // namespace cdisim
