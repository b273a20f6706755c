#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/json_reader.h"
#include "sim/policy.h"

namespace cdisim {

// Exit and partition point between the source and one server as two problems of reinforcement learning. This
// file is their definition, for what learns in C++, for trained networks and for the Gymnasium environments
// of the Python package alike.
//
// - A step is a request. The agent sees an OffloadObservation when it arrives and answers with an
//   OffloadAction.
// - EdgeOffload-v0 earns offload_reward() of the request's latency, infinite where it is lost. Requests are
//   judged one by one: the best return is that of the best action in each step, as long as requests do not
//   meet at link or hosts.
// - TaskStream-v0 earns stream_reward(). Requests may meet: what one takes, the next ones lack.
// - An episode ends with the run's last request (terminated) or its horizon (truncated).

/// What an agent sees when a request arrives.
struct OffloadObservation {
  double uplink_bandwidth = 0;  ///< byte/s, the smallest on the route from the source to the server
  double deadline = 0;          ///< s, infinite: none
  double device_queue = 0;      ///< computations waiting or running on the source, as last observed
  double server_queue = 0;      ///< the same on the server
  double since_change = 0;  ///< s since uplink_bandwidth was last seen to change, at first since the start
  double arrival_gap = 0;   ///< s, mean so far, newer gaps weighing more (1/5); 0 at the first arrival
  /// s until link, server and source will have done what earlier decisions gave them, as predicted, were each
  /// to serve one request after another.
  double link_backlog = 0, server_backlog = 0, device_backlog = 0;
};

/// One number that a learner takes from an observation, 0 to 1:
///
///     x = (f(v) - f(low)) / (f(high) - f(low)), at least 0 and at most 1,      f(v) = v or ln v
///
/// of the observation's member v of that name.
struct OffloadFeature {
  double OffloadObservation::*member = nullptr;
  bool logarithmic = false;
  double low = 0, high = 1;  ///< in the member's unit

  double scaled(const OffloadObservation& observation) const;

  /// {"feature": "uplink_bandwidth", "scale": "log", "low": "50kbps", "high": "2Mbps"}. @throws InputError:
  /// unknown feature or scale, high not above low, a logarithm from 0.
  static OffloadFeature read(const JsonReader& reader);
};

/// The first layers of an exit on the server, as in Edgent, and what that costs while the server's link is
/// otherwise idle.
struct OffloadAction {
  int exit = 0;
  int layers_on_server = 0;  ///< partition point - 1
  double accuracy = 0;  ///< of the exit; where the model has an exit of unknown accuracy (i + 1) / n_exits
  double fixed_s = 0;   ///< computation, and the latencies of the routes
  double bytes = 0;     ///< on both ways, the larger flow where two come at once
  double server_s = 0, device_s = 0;  ///< the computation

  double latency_s(double bytes_per_s) const { return fixed_s + bytes / bytes_per_s; }
};

/// Of every exit the partitions of which none has less or equal of both `fixed_s` and `bytes` (the first of
/// equals), by exit and partition point: for every bandwidth, the fastest is among them.
std::vector<OffloadAction> offload_actions(const Problem& problem, HostId server);

/// One exit and partition.
OffloadAction offload_action(const Problem& problem, HostId server, int exit, int layers_on_server);

/// Makes the observations of one source's run.
class OffloadWatcher {
 public:
  /// At the start: date 0, empty queues.
  OffloadObservation start(const Problem& problem, HostId server);
  OffloadObservation observe(const Problem& problem, HostId server, const Observation& observation);
  /// What becomes of the request that arrived at the last observation.
  void decided(const OffloadAction& action);

 private:
  double now_s_ = 0;
  double bandwidth_ = 0, changed_s_ = 0;
  int arrivals_ = 0;
  double gap_s_ = 0;
  double link_bytes_ = 0;  // still to be sent
  double server_free_s_ = 0, device_free_s_ = 0;
};

/// Bandwidths of all links, (n_links), were the routes to the server and back to give `bytes_per_s`.
std::vector<double> bandwidths_with(const Problem& problem, HostId server, double bytes_per_s);

/// The reward of a request that took `latency_s` and stopped at the action's exit: what was accurate is
/// earned in time and lost when late or lost (an infinite latency); of equals the sooner earns more.
///
///     (latency <= deadline ? accuracy : -accuracy) + bonus / (1 + latency)
///
/// `bonus` is half the least difference between two accuracies (offload_bonus), so that it never outweighs
/// one.
double offload_reward(const OffloadAction& action, double latency_s, double deadline_s, double bonus);
double offload_bonus(std::span<const OffloadAction> actions);

/// The exit's accuracy in time, else nothing.
double stream_reward(const OffloadAction& action, double latency_s, double deadline_s);

/// The action of greatest reward at a bandwidth: the most accurate exit in time, at its fastest partition;
/// where none is in time, the least accurate one at its fastest.
int most_rewarding(std::span<const OffloadAction> actions, double bytes_per_s, double deadline_s);

/// The plan, with the decision's keys exit (from 1) and partition_point (from 1).
Plan offload_plan(const Problem& problem, HostId server, int exit, int layers_on_server);

}  // namespace cdisim
