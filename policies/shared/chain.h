#pragma once

#include <span>
#include <vector>

#include "sim/policy.h"

namespace cdisim {

/// What the first k of some layers, in topological order, send to the rest, for every k.
struct Crossings {
  std::vector<double> bytes;     ///< (n_layers + 1) on the wire, each tensor once
  std::vector<double> elements;  ///< (n_layers + 1)
  std::vector<int> tensors;      ///< (n_layers + 1)
  int input_until = 0;           ///< the rest reads the model's input where k is below this
};
Crossings crossings(const Problem& problem, std::span<const LayerId> layers);

/// What every partition of an exit into two pieces costs: element k, 0 to the number of layers N, is
/// estimate() of chain_plan(graph, exit, k, first, second), the first k layers on `first` and the rest on
/// `second`. All of them together take O(N + edges), and the graph may be any DAG:
///
///     latency(k) = max(T_input(first) + C_first(k) + T(crossing(k)), T_input(second))
///                + C_second(k) + T_result
///
/// T transfer and C compute times, s; T_input(second) counts only where a layer after the cut reads the
/// input; crossing(k), byte, has each tensor that leaves the prefix once. Precondition: `first` and `second`
/// differ, and there are routes between both and the source.
std::vector<Estimate> chain_costs(const Problem& problem, int exit, HostId first, HostId second);

/// Byte on the wire from the first k layers of an exit to the rest: element k, 0 to the number of layers N.
/// Each tensor once, the model's input not counted.
std::vector<double> crossing_bytes(const Problem& problem, int exit);

/// The k of least latency, the first of equals.
int fastest_cut(std::span<const Estimate> costs);

}  // namespace cdisim
