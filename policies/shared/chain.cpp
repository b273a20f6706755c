#include "policies/shared/chain.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "policies/shared/costs.h"

namespace cdisim {

Crossings crossings(const Problem& problem, std::span<const LayerId> layers) {
  // Of each tensor, the input included, the position of its last reader: it crosses every k up to there.
  std::vector<int> read_until(static_cast<std::size_t>(problem.graph.size()) + 1, 0);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    for (const LayerId input : problem.graph.layer(layers[i]).inputs) {
      read_until[static_cast<std::size_t>(input + 1)] = static_cast<int>(i) + 1;
    }
  }
  Crossings out;
  out.input_until = read_until[static_cast<std::size_t>(kInput + 1)];
  // Changes from one k to the next, then their sums.
  out.bytes.assign(layers.size() + 1, 0);
  out.elements.assign(layers.size() + 1, 0);
  out.tensors.assign(layers.size() + 1, 0);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto until = static_cast<std::size_t>(read_until[static_cast<std::size_t>(layers[i] + 1)]);
    if (until == 0) continue;  // an exit itself
    const double bytes = tensor_bytes(problem.graph, problem.wire, layers[i]);
    const double elements = problem.graph.output_elements(layers[i]);
    for (const auto& [k, sign] : {std::pair(i + 1, 1), std::pair(until, -1)}) {
      out.bytes[k] += sign * bytes;
      out.elements[k] += sign * elements;
      out.tensors[k] += sign;
    }
  }
  for (std::size_t k = 1; k <= layers.size(); ++k) {
    out.bytes[k] += out.bytes[k - 1];
    out.elements[k] += out.elements[k - 1];
    out.tensors[k] += out.tensors[k - 1];
  }
  return out;
}

std::vector<Estimate> chain_costs(const Problem& problem, int exit, HostId first, HostId second) {
  assert(first != second);
  const std::span<const LayerId> layers = problem.graph.exit_layers(exit);
  const std::size_t n = layers.size();
  const PieceTimes on_first = piece_times(problem, layers, first),
                   on_second = piece_times(problem, layers, second);
  const Crossings crossing = crossings(problem, layers);
  const Estimate input_to_first = Hop(problem, problem.source, first).cost(input_bytes(problem));
  const Estimate input_to_second = Hop(problem, problem.source, second).cost(input_bytes(problem));
  const Estimate result_of_first = Hop(problem, first, problem.source).cost(result_bytes(problem, exit));
  const Estimate result_of_second = Hop(problem, second, problem.source).cost(result_bytes(problem, exit));
  const Hop across(problem, first, second);

  // Sums of layer times: up to k on the first host, from k on on the second.
  std::vector<double> before_s(n + 1, 0), after_s(n + 1, 0);
  for (std::size_t k = 0; k < n; ++k) before_s[k + 1] = before_s[k] + on_first.layer_s[k];
  for (std::size_t k = n; k > 0; --k) after_s[k - 1] = after_s[k] + on_second.layer_s[k - 1];

  const double busy_w = computing_power_w(problem);
  std::vector<Estimate> costs(n + 1);
  for (std::size_t k = 0; k <= n; ++k) {
    Estimate& cost = costs[k];
    const auto add_piece = [&](HostId host, double seconds) {
      cost.latency_s += seconds;
      if (host == problem.source) cost.energy_j += seconds * busy_w;
      cost.cost_usd += seconds * problem.platform.host(host).price_usd_per_s;
    };
    const auto add_hop = [&](const Estimate& hop) {
      cost.latency_s += hop.latency_s;
      cost.energy_j += hop.energy_j;
      cost.cost_usd += hop.cost_usd;
    };
    if (k > 0) {
      add_hop(input_to_first);
      add_piece(first, on_first.run_s + before_s[k]);
    }
    if (k > 0 && k < n) add_hop(across.cost(crossing.bytes[k]));
    if (k < n) {
      if (static_cast<int>(k) < crossing.input_until) {  // the input comes on its own, at the same time
        cost.latency_s = std::max(cost.latency_s, input_to_second.latency_s);
        cost.energy_j += input_to_second.energy_j;
        cost.cost_usd += input_to_second.cost_usd;
      }
      add_piece(second, on_second.run_s + after_s[k]);
    }
    add_hop(k == n ? result_of_first : result_of_second);
  }
  return costs;
}

std::vector<double> crossing_bytes(const Problem& problem, int exit) {
  return crossings(problem, problem.graph.exit_layers(exit)).bytes;
}

int fastest_cut(std::span<const Estimate> costs) {
  return static_cast<int>(std::ranges::min_element(costs, {}, &Estimate::latency_s) - costs.begin());
}

}  // namespace cdisim
