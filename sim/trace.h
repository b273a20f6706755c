#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sim/engine.h"
#include "sim/json_reader.h"
#include "sim/plan.h"
#include "sim/platform.h"

namespace cdisim {

enum class RequestState : std::uint8_t { kInFlight, kCompleted, kLost };

/// One request. Its latency is compute + transfer + queue along its critical path: the chain of activities
/// each of which was the last that the next one waited for.
struct RequestRecord {
  int source = 0;  ///< index into RunSpec::sources
  int exit = 0;
  int failures = 0;  ///< times that a failure of a host or link lost it
  std::optional<double> accuracy =
      {};  ///< of its exit, with what its plan computed; none: nobody published it
  RequestState state = RequestState::kInFlight;
  double arrival_s = 0;
  double end_s = 0;
  double compute_s = 0, transfer_s = 0, queue_s = 0;
};

inline constexpr std::uint64_t kNoRequest = std::numeric_limits<std::uint64_t>::max();

/// What a resource did for a request. A transfer has one interval on each link of its route.
struct Interval {
  enum class Kind : std::uint8_t { kCompute, kTransfer, kWait };
  Kind kind = Kind::kCompute;
  int resource = 0;           ///< HostId for computing and waiting, LinkId for transfers
  std::uint64_t request = 0;  ///< kNoRequest: weights on their way
  int piece = 0;              ///< of the plan; kSourceEnd for what belongs to no piece
  double start_s = 0, end_s = 0;
};

/// Everything that happened in one repetition of a run.
struct Trace {
  std::vector<RequestRecord> requests;  ///< by request number, which is the order of arrival
  std::vector<Interval> intervals;      ///< only where they were asked for
  double measured_from_s = 0;           ///< end of the warm-up
  double end_s = 0;
  std::vector<HostMeter> hosts;                  ///< (n_hosts) from measured_from_s to end_s
  std::vector<double> link_bytes;                ///< (n_links) likewise
  std::vector<Plan> plans;                       ///< (n_sources) the last plan of each
  std::map<HostId, double> weight_memory_bytes;  ///< the most that hosts without all weights held
  int uploads = 0;                               ///< weights that arrived
  double upload_bytes = 0;
  int evictions = 0;                         ///< layers whose weights had to go
  std::optional<double> last_upload_s = {};  ///< arrival of the last ones
  int replans = 0;                           ///< plans that replaced an earlier one
};

/// Appends a run to a Chrome trace-event document (opens in Perfetto): process `run` named `title`, a row for
/// each host, queue of a host and link that did anything, more ("link lan #2") where it did several things at
/// once. Times in microseconds.
void append_chrome_trace(Json& events, const Trace& trace, const Platform& platform, int run,
                         const std::string& title);

}  // namespace cdisim
