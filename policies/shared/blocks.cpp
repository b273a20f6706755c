#include "policies/shared/blocks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "policies/shared/chain.h"
#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"

namespace cdisim {

namespace {

// The exits in use: all, where their rates make 1.
std::vector<double> stated_rates(const LayerGraph& graph) {
  std::vector<double> rates;
  for (const Exit& exit : graph.exits()) rates.push_back(exit.rate.value_or(0));
  if (std::abs(std::accumulate(rates.begin(), rates.end(), 0.0) - 1) < 1e-9) return rates;
  return {};
}

// What an exit has besides the layers of the deepest one, and the place in those where it leaves.
struct Head {
  std::vector<LayerId> layers;  // ascending; empty: the exit's layer is one of the deepest exit's
  int leaves = 0;               // after so many layers of the deepest exit
};

// Nothing where it hangs from more than one tensor.
std::optional<Head> head_of(const LayerGraph& graph, int exit, std::span<const LayerId> trunk,
                            const Crossings& crossing) {
  Head head;
  const std::span<const LayerId> all = graph.exit_layers(exit);
  std::ranges::set_difference(all, trunk, std::back_inserter(head.layers));
  LayerId from = graph.exits()[static_cast<std::size_t>(exit)].layer;
  if (!head.layers.empty()) {
    std::vector<LayerId> read;
    for (const LayerId id : head.layers) {
      for (const LayerId input : graph.layer(id).inputs) {
        if (std::ranges::binary_search(head.layers, input)) continue;
        if (std::ranges::find(read, input) == read.end()) read.push_back(input);
      }
    }
    if (read.size() != 1) return std::nullopt;
    from = read.front();
  }
  const auto found = std::ranges::lower_bound(trunk, from);
  if (found == trunk.end() || *found != from) return std::nullopt;
  head.leaves = static_cast<int>(found - trunk.begin()) + 1;
  const auto k = static_cast<std::size_t>(head.leaves);
  const bool alone = head.leaves == static_cast<int>(trunk.size()) ||
                     (crossing.tensors[k] == 1 && head.leaves >= crossing.input_until);
  if (!alone || all.size() != k + head.layers.size()) return std::nullopt;
  return head;
}

struct Segment {
  int begin = 0;       // in the deepest exit's layers
  bool fixed = false;  // an exit leaves before it: it is not joined with what comes before
  double work_flop = 0;
  bool has_weights = false;
};

}  // namespace

int BlockTree::first_exit(int block) const {
  const std::vector<char>& needed = blocks[static_cast<std::size_t>(block)].needed_for;
  return static_cast<int>(std::ranges::find(needed, 1) - needed.begin());
}

namespace {

// `rates`: of the exits, empty: the deepest alone.
BlockTree tree_of(const Problem& problem, int most, std::vector<double> rates) {
  const LayerGraph& graph = problem.graph;
  const int deepest = deepest_exit(problem);
  const std::span<const LayerId> trunk = graph.exit_layers(deepest);
  const Crossings crossing = crossings(problem, trunk);

  BlockTree tree;
  tree.rates = std::move(rates);
  std::vector<Head> heads;
  std::vector<char> taken(static_cast<std::size_t>(graph.size()), 0);  // by an earlier exit's own layers
  for (int exit = 0; exit < deepest && !tree.rates.empty(); ++exit) {
    const std::optional<Head> head = head_of(graph, exit, trunk, crossing);
    if (!head) {
      tree.rates.clear();
      break;
    }
    heads.push_back(*head);
    for (const LayerId id : head->layers) {
      if (std::exchange(taken[static_cast<std::size_t>(id)], 1) != 0) tree.rates.clear();
    }
  }
  if (tree.rates.empty()) {
    heads.clear();
    tree.rates.assign(static_cast<std::size_t>(deepest) + 1, 0);
    tree.rates.back() = 1;
  }

  // The deepest exit's layers, cut before layers with weights where one tensor crosses.
  std::vector<Segment> segments;
  for (int k = 0; k < static_cast<int>(trunk.size()); ++k) {
    const auto at = static_cast<std::size_t>(k);
    const Layer& layer = graph.layer(trunk[at]);
    const bool fixed = std::ranges::find(heads, k, &Head::leaves) != heads.end();
    const bool alone = k > 0 && k >= crossing.input_until && crossing.tensors[at] == 1;
    const bool begins = alone && layer.weight_bytes > 0 && segments.back().has_weights;
    if (k == 0 || fixed || begins) segments.push_back({k, fixed});
    segments.back().work_flop += layer.work_flop;
    segments.back().has_weights = segments.back().has_weights || layer.weight_bytes > 0;
  }
  while (static_cast<int>(segments.size()) > most) {
    std::size_t best = 0;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 1; i < segments.size(); ++i) {
      const double sum = segments[i - 1].work_flop + segments[i].work_flop;
      if (segments[i].fixed || sum >= least) continue;
      least = sum;
      best = i;
    }
    if (best == 0) break;
    segments[best - 1].work_flop = least;
    segments.erase(segments.begin() + static_cast<std::ptrdiff_t>(best));
  }

  // By exit: the blocks up to where it leaves, then its own.
  const auto trunk_end = [&](std::size_t segment) {
    return segment + 1 < segments.size() ? segments[segment + 1].begin : static_cast<int>(trunk.size());
  };
  std::vector<int> block_of_segment;
  const auto add_trunk = [&](int until) {
    while (block_of_segment.size() < segments.size() && segments[block_of_segment.size()].begin < until) {
      const std::size_t s = block_of_segment.size();
      const auto begin = static_cast<std::size_t>(segments[s].begin),
                 end = static_cast<std::size_t>(trunk_end(s));
      Block block;
      block.layers.assign(trunk.begin() + static_cast<std::ptrdiff_t>(begin),
                          trunk.begin() + static_cast<std::ptrdiff_t>(end));
      block.reads = s == 0 ? -1 : block_of_segment[s - 1];
      block.bytes = s == 0 ? input_bytes(problem) : crossing.bytes[begin];
      for (int exit = 0; exit <= deepest; ++exit) {
        const bool needed =
            exit == deepest ||
            (!heads.empty() && heads[static_cast<std::size_t>(exit)].leaves > segments[s].begin);
        block.needed_for.push_back(needed ? 1 : 0);
      }
      block_of_segment.push_back(static_cast<int>(tree.blocks.size()));
      tree.blocks.push_back(std::move(block));
    }
  };
  for (int exit = 0; exit <= deepest; ++exit) {
    tree.result_bytes.push_back(result_bytes(problem, exit));
    if (exit == deepest || heads.empty()) {
      if (exit == deepest) add_trunk(static_cast<int>(trunk.size()));
      tree.last.push_back(exit == deepest ? block_of_segment.back() : 0);
      continue;
    }
    const Head& head = heads[static_cast<std::size_t>(exit)];
    add_trunk(head.leaves);
    std::size_t tap = 0;
    while (trunk_end(tap) < head.leaves) ++tap;
    if (!head.layers.empty()) {
      Block block{head.layers, block_of_segment[tap], 0, {}};
      block.bytes = tensor_bytes(graph, problem.wire, trunk[static_cast<std::size_t>(head.leaves) - 1]);
      block.needed_for.assign(static_cast<std::size_t>(deepest) + 1, 0);
      block.needed_for[static_cast<std::size_t>(exit)] = 1;
      tree.blocks.push_back(std::move(block));
      tree.last.push_back(static_cast<int>(tree.blocks.size()) - 1);
    } else {
      tree.last.push_back(block_of_segment[tap]);
    }
  }
  return tree;
}

}  // namespace

BlockTree block_tree(const Problem& problem, int most) {
  return tree_of(problem, most, stated_rates(problem.graph));
}

BlockTree block_chain(const Problem& problem, int most) {
  return tree_of(problem, most, {});
}

Plan block_plan(const BlockTree& tree, const std::vector<HostId>& hosts) {
  Plan plan;
  plan.exit = tree.exit();
  for (std::size_t b = 0; b < tree.blocks.size(); ++b) {
    if (b == 0 || hosts[b] != hosts[b - 1]) plan.pieces.push_back({{}, hosts[b]});
    std::vector<LayerId>& layers = plan.pieces.back().layers;
    layers.insert(layers.end(), tree.blocks[b].layers.begin(), tree.blocks[b].layers.end());
  }
  for (Piece& piece : plan.pieces) std::ranges::sort(piece.layers);
  if (tree.rates.back() < 1) plan.exit_rates = tree.rates;
  return plan;
}

}  // namespace cdisim
