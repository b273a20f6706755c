#include "sim/radio.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace cdisim {

namespace {

constexpr double kLight_m_per_s = 299792458;

double decibel(double ratio) {
  return 10 * std::log10(ratio);
}

double free_space_db(double carrier_hz, double distance_m) {
  return 2 * decibel(4 * std::numbers::pi * carrier_hz * distance_m / kLight_m_per_s);
}

double frequency(const JsonReader& reader) {
  const double hertz = reader.quantity(Dimension::kFrequency);
  if (hertz == 0) reader.fail("must be positive");
  return hertz;
}

}  // namespace

double RadioChannel::loss_db(const Position& a, const Position& b) const {
  const double distance = std::max(1.0, distance_m(a, b));
  switch (path_loss) {
    case PathLoss::kFreeSpace:
      break;
    case PathLoss::kLogDistance:
      return loss_1m_db.value_or(free_space_db(carrier_hz, 1)) + exponent * decibel(distance);
    case PathLoss::kAirToGround: {
      const double elevation = std::atan2(std::abs(b.z - a.z), std::hypot(b.x - a.x, b.y - a.y));
      return free_space_db(carrier_hz, distance) + environment.excess_db(elevation * 180 / std::numbers::pi);
    }
  }
  return free_space_db(carrier_hz, distance);
}

double RadioChannel::snr_db(const Position& a, const Position& b) const {
  return tx_dbm - loss_db(a, b) - (noise_dbm_per_hz + decibel(width_hz));
}

double RadioChannel::bandwidth_bytes_per_s(const Position& a, const Position& b) const {
  return width_hz * std::log2(1 + std::pow(10, snr_db(a, b) / 10)) / 8;
}

RadioChannel read_radio(const JsonReader& reader, const UavModels& models) {
  constexpr double kLargest_db = 300;
  RadioChannel channel;
  const auto number = [&](const char* key, double& into) {
    if (const auto value = reader.find(key)) into = value->number(-kLargest_db, kLargest_db);
  };
  if (const auto loss = reader.find("path_loss")) {
    channel.path_loss =
        static_cast<RadioChannel::PathLoss>(loss->choice({"free_space", "log_distance", "air_to_ground"}));
  }
  if (channel.path_loss == RadioChannel::PathLoss::kLogDistance) {
    channel.exponent = reader.at("exponent").number(0, 10);
    if (const auto loss = reader.find("loss_1m_db")) channel.loss_1m_db = loss->number(0, kLargest_db);
  }
  if (channel.path_loss == RadioChannel::PathLoss::kAirToGround) {
    std::vector<std::string> names;
    for (const auto& [name, environment] : models.environments) names.push_back(name);
    channel.environment = models.environments.at(names[reader.at("environment").choice(names)]);
  }
  if (const auto carrier = reader.find("carrier")) channel.carrier_hz = frequency(*carrier);
  if (const auto width = reader.find("width")) channel.width_hz = frequency(*width);
  number("tx_dbm", channel.tx_dbm);
  number("noise_dbm_per_hz", channel.noise_dbm_per_hz);
  if (const auto least = reader.find("min_snr_db"))
    channel.min_snr_db = least->number(-kLargest_db, kLargest_db);
  reader.done();
  return channel;
}

RadioTrace radio_trace(const RadioChannel& channel, const Motion& from, const Motion& to, double step_s,
                       double length_s) {
  RadioTrace out;
  BandwidthTrace& trace = out.bandwidth;
  trace.length_s = length_s;
  trace.repeat = false;
  const bool still = from.stands_still() && to.stands_still();
  // Without the margin a rounded quotient could add a last step that lasts no time.
  const double steps = still ? 1 : std::max(1.0, std::ceil(length_s / step_s - 1e-9));
  bool was_on = true;
  for (double step = 0; step < steps; ++step) {
    const double begins_s = step * step_s, middle_s = begins_s + step_s / 2;
    const Position a = from.at(middle_s), b = to.at(middle_s);
    const bool on = !channel.min_snr_db || channel.snr_db(a, b) >= *channel.min_snr_db;
    if (on != was_on) out.states.emplace_back(begins_s, on);
    was_on = on;
    const double bandwidth =
        on ? std::max(kOutOfRange_bytes_per_s, channel.bandwidth_bytes_per_s(a, b)) : kOutOfRange_bytes_per_s;
    if (!trace.start_s.empty() && trace.bandwidth_bytes_per_s.back() == bandwidth) continue;
    trace.start_s.push_back(begins_s);
    trace.bandwidth_bytes_per_s.push_back(bandwidth);
  }
  return out;
}

}  // namespace cdisim
