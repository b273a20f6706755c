#include "policies/shared/q_learning.h"

#include <cmath>

namespace cdisim {

QLearning::QLearning(int n_states, int n_actions, const Options& options, std::uint64_t seed)
    : n_actions_(n_actions),
      options_(options),
      cells_(static_cast<std::size_t>(n_states) * static_cast<std::size_t>(n_actions)),
      random_(seed) {}

int QLearning::best(int state) const {
  int best = 0;
  for (int action = 1; action < n_actions_; ++action) {
    if (value(state, action) > value(state, best)) best = action;
  }
  return best;
}

int QLearning::explore(int state, double exploration) {
  return random_.uniform() < exploration ? random_.below(n_actions_) : best(state);
}

void QLearning::update(int state, int action, double reward, int next_state) {
  const double next = next_state == kEnd ? 0 : value(next_state, best(next_state));
  Cell& cell = cells_[index(state, action)];
  cell.value += std::pow(++cell.updates, -options_.decay) * (reward + options_.discount * next - cell.value);
}

}  // namespace cdisim
