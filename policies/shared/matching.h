#pragma once

#include <functional>
#include <span>
#include <vector>

namespace cdisim {

/// Many-to-one: the place of each agent, (n_agents); kUnmatched: none.
using Matching = std::vector<int>;
inline constexpr int kUnmatched = -1;

/// Deferred acceptance (Gale and Shapley): every agent proposes to the places in the order of its costs, a
/// place keeps the proposals that cost it least, up to its quota, and refuses the others. The result has no
/// blocking pair. Costs are (n_agents) of (n_places); an agent prefers no place to one of infinite cost. Of
/// equal costs the lower index is preferred.
Matching deferred_acceptance(const std::vector<std::vector<double>>& agent_costs,
                             const std::vector<std::vector<double>>& place_costs,
                             std::span<const int> quotas);

/// Matching with externalities, where a cost depends on who else is where: lets two agents swap their places,
/// or one agent take a free place or none, as long as that lowers `total_cost`. The result is two-sided
/// exchange-stable: no such swap is left. Every swap lowers the total, and there are finitely many matchings:
/// it ends. Each round takes the first swap that helps, by index. Returns the number of swaps.
int exchange(Matching& matching, std::span<const int> quotas,
             const std::function<double(const Matching&)>& total_cost);

}  // namespace cdisim
