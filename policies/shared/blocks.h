#pragma once

#include <vector>

#include "sim/policy.h"

namespace cdisim {

/// Layers that a policy moves as one: a layer with weights and what follows it up to the next one, branches
/// that join again kept together. Each block reads one tensor.
struct Block {
  std::vector<LayerId> layers;   ///< ascending
  int reads = -1;                ///< the block whose last layer it reads; -1: the model's input
  double bytes = 0;              ///< of what it reads, on the wire
  std::vector<char> needed_for;  ///< (n_exits in use) whether that exit needs it
};

/// A model as a tree of blocks.
struct BlockTree {
  std::vector<Block> blocks;         ///< by the first exit that needs them, then topological
  std::vector<double> rates;         ///< (exit + 1) share of the inputs that stop at each exit, summing to 1
  std::vector<int> last;             ///< (exit + 1) block at whose end the exit's result is
  std::vector<double> result_bytes;  ///< (exit + 1) on the wire

  int exit() const { return static_cast<int>(rates.size()) - 1; }
  /// The first exit that needs a block.
  int first_exit(int block) const;
};

/// The tree of all exits where each states its rate and together they make 1, else of the deepest exit alone;
/// so too where an exit's own layers hang from more than one tensor. Of the deepest exit's blocks those of
/// least work_flop are joined with a neighbour until there are no more than `most` (from 1), but never across
/// the place where an exit leaves.
BlockTree block_tree(const Problem& problem, int most);

/// The same of the deepest exit alone: a chain.
BlockTree block_chain(const Problem& problem, int most);

/// The plan that has each block on a host: runs of consecutive blocks on one host are pieces.
Plan block_plan(const BlockTree& tree, const std::vector<HostId>& hosts);

}  // namespace cdisim
