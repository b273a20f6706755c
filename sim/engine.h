#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "sim/platform.h"

namespace cdisim {

/// Who waits for an event. Events of equal date are handled by ascending request, then step, whichever half
/// of the engine produced them: identical devices that start together keep their order.
struct Tag {
  std::uint64_t request = 0;
  std::uint32_t step = 0;
};

/// A computation or transfer has ended, or failed because its host or a link on its route went off.
struct Completion {
  Tag tag;
  bool failed = false;
  double queued_s = 0;   ///< date of the call
  double started_s = 0;  ///< date at which a core began (computations), else queued_s
  double ended_s = 0;
  const Route* route = nullptr;  ///< that a transfer took
};

/// A change of the platform in the course of a run.
struct Change {
  enum class Kind { kBandwidth, kLinkState, kHostState, kPowerState, kFlightPower };
  double date_s = 0;
  Kind kind = Kind::kBandwidth;
  int target = 0;    ///< LinkId or HostId
  double value = 0;  ///< byte/s; 0 off, 1 on; index of the power state; W
  int trace = -1;    ///< the bandwidth trace that this is a step of, for the caller to know again
};

enum class NetworkModel {
  kCm02,  ///< latency + bytes / bandwidth, no cross-traffic, no TCP window: what papers compute
  kLv08,  ///< SimGrid's TCP model with its correction factors; every transfer goes through the solver
};

struct EngineOptions {
  NetworkModel network = NetworkModel::kCm02;
  bool full_solver = false;  ///< every computation and transfer as a SimGrid activity
  bool host_energy = false;  ///< load SimGrid's host energy plugin too (full solver only)
};

/// What a host did from the last reset_meters() on, and its battery now.
struct HostMeter {
  double energy_j = 0;  ///< of the processor, from the power states
  double radio_energy_j = 0;
  double busy_s = 0;                                           ///< time with at least one busy core
  double battery_j = std::numeric_limits<double>::infinity();  ///< charge left; infinite: has no battery
  double emptied_s = std::numeric_limits<double>::infinity();  ///< date at which it went empty, if it did
  double flight_energy_j = 0;
};

/// Processors, links and time. Two halves serve them: what shares nothing has a closed form and runs on
/// timers (a computation on a first-come-first-served core, a transfer alone on its links); what shares
/// becomes a SimGrid activity. Both read one event queue, driven by SimGrid's clock. One engine per process,
/// as in SimGrid.
///
/// A host with a battery draws all its energy from it, what its radio takes per byte as a transfer ends. At
/// the date at which the charge is used up the host goes off, as by a kHostState change, and stays off. The
/// relays of a route receive and send as its ends do, and a transfer fails with them.
class Engine {
 public:
  struct Handlers {
    std::function<void(Tag)> timer;
    std::function<void(const Completion&)> computed;
    std::function<void(const Completion&)> transferred;
    std::function<void(const Change&)> changed;  ///< after the change took effect
  };

  Engine(const Platform& platform, const EngineOptions& options, Handlers handlers);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Date of the event that is being handled, s.
  double now() const;
  /// Calls `timer` at `date_s` (not before now).
  void at(double date_s, Tag tag);
  void apply_at(const Change& change);

  /// Puts a computation into the host's queue. `seconds[n - 1]` is what a batch of n takes in power state 0;
  /// fifo and shared hosts use the first. Computations with the same span may share a batch; the span must
  /// outlive the run.
  void compute(HostId host, std::span<const double> seconds, Tag tag);
  /// Grants `user` a share, within (0, 1], of one of the host's cores from now on; what it computes there is
  /// re-timed. The caller sees to it that the shares of a host do not exceed its cores, and that a host with
  /// shares does nothing else.
  void reserve(HostId host, int user, double share);
  /// As compute(), on the user's share: seconds[0] / share, after what it has put there before.
  void compute_reserved(HostId host, std::span<const double> seconds, Tag tag, int user);
  /// Sends bytes along the (non-empty) route; the route must outlive the run.
  void transfer(const Route& route, HostId from, HostId to, double bytes, Tag tag);

  double bandwidth_bytes_per_s(LinkId link) const;
  bool link_on(LinkId link) const;
  bool host_on(HostId host) const;
  /// Computations waiting or running on the host.
  int queue_length(HostId host) const;

  /// Brings a host's meters to now. Energy and busy time are integrated exactly between state changes.
  const HostMeter& meter(HostId host);
  /// Bytes that finished crossing the link.
  double link_bytes(LinkId link) const;
  void reset_meters();
  /// Consumption by SimGrid's host energy plugin since the start, J. Needs options.host_energy.
  double plugin_energy_j(HostId host) const;

  /// Handles events until none is left or stop() was called.
  void run();
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cdisim
