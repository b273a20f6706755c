#include "policies/shared/matching.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace cdisim {

Matching deferred_acceptance(const std::vector<std::vector<double>>& agent_costs,
                             const std::vector<std::vector<double>>& place_costs,
                             std::span<const int> quotas) {
  const std::size_t n = agent_costs.size();
  std::vector<std::vector<std::size_t>> order(n);  // of each agent, the places by its cost
  for (std::size_t a = 0; a < n; ++a) {
    order[a].resize(quotas.size());
    std::iota(order[a].begin(), order[a].end(), 0);
    std::ranges::stable_sort(order[a], {}, [&](std::size_t place) { return agent_costs[a][place]; });
    std::erase_if(order[a], [&](std::size_t place) { return std::isinf(agent_costs[a][place]); });
  }
  Matching matching(n, kUnmatched);
  std::vector<std::vector<std::size_t>> kept(quotas.size());  // by cost to the place
  std::vector<std::size_t> next(n, 0);
  std::vector<std::size_t> open(n);
  std::iota(open.rbegin(), open.rend(), 0);
  while (!open.empty()) {
    const std::size_t agent = open.back();
    open.pop_back();
    if (next[agent] == order[agent].size()) continue;
    const std::size_t place = order[agent][next[agent]++];
    std::vector<std::size_t>& here = kept[place];
    here.push_back(agent);
    std::ranges::sort(here, {}, [&](std::size_t a) { return std::pair(place_costs[a][place], a); });
    matching[agent] = static_cast<int>(place);
    if (here.size() <= static_cast<std::size_t>(quotas[place])) continue;
    matching[here.back()] = kUnmatched;
    open.push_back(here.back());
    here.pop_back();
  }
  return matching;
}

int exchange(Matching& matching, std::span<const int> quotas,
             const std::function<double(const Matching&)>& total_cost) {
  constexpr double kLeastGain = 1e-12;  // of the total; below it is rounding
  double total = total_cost(matching);
  const auto helps = [&] {
    const double now = total_cost(matching);
    if (!(now < total * (1 - kLeastGain))) return false;
    total = now;
    return true;
  };
  const auto has_room = [&](int place) {
    return place == kUnmatched ||
           std::ranges::count(matching, place) < quotas[static_cast<std::size_t>(place)];
  };
  const auto swap_once = [&] {
    for (std::size_t a = 0; a < matching.size(); ++a) {
      for (int place = kUnmatched; place < static_cast<int>(quotas.size()); ++place) {
        if (place == matching[a] || !has_room(place)) continue;
        const int before = std::exchange(matching[a], place);
        if (helps()) return true;
        matching[a] = before;
      }
      for (std::size_t b = a + 1; b < matching.size(); ++b) {
        if (matching[a] == matching[b]) continue;
        std::swap(matching[a], matching[b]);
        if (helps()) return true;
        std::swap(matching[a], matching[b]);
      }
    }
    return false;
  };
  int swaps = 0;
  while (swap_once()) ++swaps;
  return swaps;
}

}  // namespace cdisim
