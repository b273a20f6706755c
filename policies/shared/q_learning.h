#pragma once

#include <cstdint>
#include <vector>

#include "sim/random.h"

namespace cdisim {

/// Tabular Q-learning. States and actions are numbers from 0 on; how a situation becomes a state is the
/// caller's. After action a in state s gave reward r and led to state s',
///
///     Q(s, a) += alpha (r + discount max_a' Q(s', a') - Q(s, a)),      alpha = n(s, a)^-decay
///
/// where n counts the updates of Q(s, a), this one included: with a decay in (0.5, 1] and every action tried
/// for ever, Q converges to the optimum. It starts at 0. Of equal actions the first counts as best.
/// Deterministic: the same seed and calls give the same table.
///
/// Source: C. J. C. H. Watkins, P. Dayan, "Q-learning", Machine Learning 8, 1992.
class QLearning {
 public:
  struct Options {
    double discount = 0.9;  ///< [0, 1]
    double decay = 0.6;     ///< of the learning rate; 0: each update forgets all before it
  };

  /// `n_states`, `n_actions` > 0.
  QLearning(int n_states, int n_actions, const Options& options, std::uint64_t seed);

  /// The action of greatest Q.
  int best(int state) const;
  /// With probability `exploration` a random action, each equally likely, else the best.
  int explore(int state, double exploration);

  /// `next_state`: kEnd where nothing follows.
  void update(int state, int action, double reward, int next_state);
  static constexpr int kEnd = -1;

  double value(int state, int action) const { return cells_[index(state, action)].value; }

 private:
  struct Cell {
    double value = 0;
    int updates = 0;
  };

  std::size_t index(int state, int action) const {
    return static_cast<std::size_t>(state) * static_cast<std::size_t>(n_actions_) +
           static_cast<std::size_t>(action);
  }

  int n_actions_;
  Options options_;
  std::vector<Cell> cells_;  // (n_states, n_actions)
  Random random_;
};

}  // namespace cdisim
