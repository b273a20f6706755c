#include "policies/shared/offload_agent.h"

#include <utility>

namespace cdisim {

Plan OffloadAgent::plan(const Problem& problem, HostId server) {
  server_ = server;
  actions_ = network_.actions(problem, server);
  taken_ = network_.act(watcher_.start(problem, server));
  return current(problem);
}

std::optional<Plan> OffloadAgent::replan(const Problem& problem, const Observation& observation) {
  const int before = std::exchange(taken_, network_.act(watcher_.observe(problem, server_, observation)));
  watcher_.decided(actions_[static_cast<std::size_t>(taken_)]);
  if (taken_ == before) return std::nullopt;
  return current(problem);
}

Plan OffloadAgent::current(const Problem& problem) const {
  const OffloadAction& action = actions_[static_cast<std::size_t>(taken_)];
  return offload_plan(problem, server_, action.exit, action.layers_on_server);
}

}  // namespace cdisim
