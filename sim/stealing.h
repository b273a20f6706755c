#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>

#include "sim/platform.h"

namespace cdisim {

/// The queues of pieces that may be stolen, and the turns of their owners.
class StealQueues {
 public:
  struct Task {
    std::uint64_t attempt = 0;
    int index = 0;  ///< of its activity
    double since_s = 0;
  };

  void push(HostId owner, const Task& task);
  /// Takes the first task of the worker's own queue, else of the owner whose turn it is, of those whose first
  /// task `may` be taken by the worker.
  std::optional<Task> take(HostId worker, const std::function<bool(const Task&)>& may);

 private:
  std::map<HostId, std::deque<Task>> queues_;
  std::deque<HostId> turns_;  // the owners that have tasks
};

}  // namespace cdisim
