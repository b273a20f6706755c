#include "sim/stealing.h"

#include <algorithm>

namespace cdisim {

void StealQueues::push(HostId owner, const Task& task) {
  std::deque<Task>& queue = queues_[owner];
  if (queue.empty()) turns_.push_back(owner);
  queue.push_back(task);
}

std::optional<StealQueues::Task> StealQueues::take(HostId worker,
                                                   const std::function<bool(const Task&)>& may) {
  const auto has = [&](HostId owner) { return may(queues_[owner].front()); };
  auto owner = std::ranges::find(turns_, worker);
  const bool own = owner != turns_.end() && has(worker);
  if (!own) owner = std::ranges::find_if(turns_, has);
  if (owner == turns_.end()) return std::nullopt;
  std::deque<Task>& queue = queues_[*owner];
  const Task task = queue.front();
  queue.pop_front();
  // The victim's next turn comes after all others'; one who works on its own keeps its place.
  const HostId victim = *owner;
  if (!own || queue.empty()) turns_.erase(owner);
  if (!own && !queue.empty()) turns_.push_back(victim);
  return task;
}

}  // namespace cdisim
