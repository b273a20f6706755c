#pragma once

#include <span>
#include <vector>

#include "sim/policy.h"

namespace cdisim {

/// Seconds of a piece on a host at its present power state: `run_s`, what a run costs before its first layer,
/// plus the sum of `layer_s` over its layers.
struct PieceTimes {
  double run_s = 0;
  std::vector<double> layer_s;  ///< (n_layers), in the order of the layers asked for
};
PieceTimes piece_times(const Problem& problem, std::span<const LayerId> layers, HostId host);

/// What it takes to move bytes from one host to another: seconds, joule that the source's radio draws above
/// its idle power, and the links' price. Precondition: there is a route.
class Hop {
 public:
  Hop(const Problem& problem, HostId from, HostId to);
  Estimate cost(double bytes) const;

 private:
  bool local_ = true;
  double latency_s_ = 0, bandwidth_bytes_per_s_ = 0;
  double power_w_ = 0, j_per_byte_ = 0;  // of the source's radio
  double usd_per_byte_ = 0;
};

/// Power that a host, or the source, draws above its idle power while it computes one piece, W.
double computing_power_w(const Problem& problem, HostId host);
double computing_power_w(const Problem& problem);

/// Bytes on the wire of the model's input, and of an exit's result on its way back to the source.
double input_bytes(const Problem& problem);
double result_bytes(const Problem& problem, int exit);

/// Bytes that a plan moves between hosts, for one request.
double bytes_between_hosts(const Problem& problem, const Plan& plan);

}  // namespace cdisim
