#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "sim/json_reader.h"

namespace cdisim {

/// What a link gives while it is out of range, for who looks at nothing but bandwidths: 1 bit/s.
inline constexpr double kOutOfRange_bytes_per_s = 0.125;

/// Bandwidth as a step function of time: `bandwidth_bytes_per_s[i]` holds from `start_s[i]` until the next
/// start, the last one until `length_s`. After that it starts again from the beginning where `repeat`, else
/// the last value stays.
struct BandwidthTrace {
  std::vector<double> start_s;                ///< (n), ascending, the first is 0
  std::vector<double> bandwidth_bytes_per_s;  ///< (n), positive
  double length_s = 0;
  bool repeat = true;

  double at(double time_s) const;
  /// The first date after `time_s` at which the value may change; infinite where it never does.
  double next_change(double time_s) const;
  /// Mean over one length, weighted by time.
  double mean_bytes_per_s() const;
};

/// Reads a trace as the field publishes them:
/// - two columns of text, time and bandwidth, blank- or comma-separated, `#` starts a comment. `time_unit` is
/// "s" or
///   "ms", `bandwidth_unit` "Mbps", "kbps", "bps" or "MBps". The first time counts as 0, so time stamps will
///   do; the last value lasts as long as the one before it.
/// - a JSON array of {"duration_ms", "bandwidth_kbps", "latency_ms"} (the 4G logs of Ghent as video-streaming
///   simulators keep them); the latency is not used, the units are left empty.
/// Zero bandwidth (no coverage) becomes 1 bit/s: a transfer then waits.
/// @throws InputError naming file, line or pointer, and value.
BandwidthTrace load_bandwidth_trace(const std::filesystem::path& path, const std::string& time_unit,
                                    const std::string& bandwidth_unit);

/// A Markov-modulated bandwidth: in state i the bandwidth is drawn every `period_s` uniformly within
/// +- jitter of bandwidth_bytes_per_s[i]; a state lasts an exponential time of mean `mean_dwell_s`, then the
/// next one is one of the others, all equally likely, as the first is of all. A change shows in the next
/// sample. Same seed, same trace.
struct MarkovBandwidth {
  std::vector<double> bandwidth_bytes_per_s;  ///< (n_states)
  double mean_dwell_s = 10;
  double jitter = 0;    ///< [0, 1)
  double period_s = 1;  ///< sampling period
  double length_s = 300;
};
BandwidthTrace generate_bandwidth_trace(const MarkovBandwidth& markov, std::uint64_t seed);

/// The `bandwidth_trace` value of an experiment: {"file": ..., "time_unit", "bandwidth_unit", "scale",
/// "repeat"} or {"markov": {"states": ["1Mbps", ...], "mean_dwell": "10s", "jitter": 0.1, "period": "1s",
/// "length": "300s"}, "scale", "repeat"}. Files resolve beside `folder`.
BandwidthTrace read_bandwidth_trace(const JsonReader& reader, const std::filesystem::path& folder,
                                    std::uint64_t seed);

}  // namespace cdisim
