#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "sim/bandwidth_trace.h"
#include "sim/json_reader.h"
#include "sim/mobility.h"
#include "sim/uav_models.h"

namespace cdisim {

/// A radio channel between two places, whose bandwidth follows from their distance D (at least 1 m):
///
///     loss, dB   free space:     20 log10(4 pi carrier D / c)
///                log-distance:   loss_1m + 10 exponent log10(D)
///                air to ground:  free space + the environment's mean excess at the elevation
///     SNR, dB    tx_dbm - loss - (noise_dbm_per_hz + 10 log10(width))
///     bandwidth  width log2(1 + SNR) / 8, byte/s (Shannon)
struct RadioChannel {
  enum class PathLoss { kFreeSpace, kLogDistance, kAirToGround };
  PathLoss path_loss = PathLoss::kFreeSpace;
  double carrier_hz = 2e9;
  double width_hz = 10e6;
  double tx_dbm = 20;
  double noise_dbm_per_hz = -174;
  double exponent = 2;               ///< log-distance
  std::optional<double> loss_1m_db;  ///< log-distance; default: free space's
  Environment environment;           ///< air to ground
  std::optional<double> min_snr_db;  ///< below it the link is off; default: never

  double loss_db(const Position& a, const Position& b) const;
  double snr_db(const Position& a, const Position& b) const;
  double bandwidth_bytes_per_s(const Position& a, const Position& b) const;
};

/// The `radio` value of a link in an experiment, but for its ends ("from", "to"):
///
///     {"from": "uav_0", "to": "edge", "path_loss": "air_to_ground", "environment": "urban",
///      "carrier": "2GHz", "width": "10MHz", "tx_dbm": 20, "noise_dbm_per_hz": -174, "min_snr_db": 0}
///
/// path_loss "free_space" (default), "log_distance" (with "exponent", "loss_1m_db") or "air_to_ground" (with
/// "environment"). @throws InputError.
RadioChannel read_radio(const JsonReader& reader, const UavModels& models);

/// What a channel gives while its ends move.
struct RadioTrace {
  /// Piecewise constant, that of the middle of each step; 1 bit/s while it is out of range. Does not repeat.
  BandwidthTrace bandwidth;
  std::vector<std::pair<double, bool>> states;  ///< (date, on) of each change; on at first
};
/// @param step_s, length_s  positive
RadioTrace radio_trace(const RadioChannel& channel, const Motion& from, const Motion& to, double step_s,
                       double length_s);

}  // namespace cdisim
