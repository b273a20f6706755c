#pragma once

#include <span>
#include <vector>

#include "sim/policy.h"

namespace cdisim {

/// What every partition of an exit into two pieces costs: element k is estimate() of
/// chain_plan(graph, exit, k, first, second), the first k layers on `first` and the rest on `second`; k = 0
/// .. N. O(N + edges) for all of them together, where the graph may be any DAG:
///
///     latency(k) = max(arrival of the input + first(k) + crossing(k) / B, arrival of the input) + second(k)
///     + result
///
/// the second arrival only where a layer after the cut reads the input too; crossing(k) counts each tensor
/// that leaves the prefix once. B, the route's latency and the energies are those of Problem and Platform.
/// `first` and `second` differ, and both have routes from and to the source and each other.
std::vector<Estimate> chain_costs(const Problem& problem, int exit, HostId first, HostId second);

/// The k of least latency, the first of equals.
int fastest_cut(std::span<const Estimate> costs);

}  // namespace cdisim
