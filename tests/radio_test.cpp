#include "sim/radio.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace cdisim;

namespace {

Motion standing(double x, double y, double z) {
  return {.waypoints = {{0, {x, y, z}}}, .circle = {}};
}

}  // namespace

TEST_CASE("radio: losses and bandwidths against values worked out apart") {
  // 2 GHz, 20 dBm, 10 MHz, -174 dBm/Hz (-104 dBm of noise). Over 100 m of free space 78.47 dB are lost: SNR
  // 45.53 dB, 10e6 * log2(1 + 10^4.553) = 151 Mbit/s.
  RadioChannel channel;
  const Position ground{0, 0, 0};
  CHECK(channel.loss_db(ground, {100, 0, 0}) == doctest::Approx(78.468).epsilon(1e-5));
  CHECK(channel.bandwidth_bytes_per_s(ground, {100, 0, 0}) * 8 == doctest::Approx(151.3e6).epsilon(1e-3));
  // Below 1 m it is no louder.
  CHECK(channel.loss_db(ground, ground) == channel.loss_db(ground, {1, 0, 0}));

  // A UAV 100 m up: urban at 100 m 83.09 dB and 135.9 Mbit/s, at 500 m 110.33 dB and 46.0 Mbit/s.
  channel.path_loss = RadioChannel::PathLoss::kAirToGround;
  channel.environment = {.a = 9.61, .b = 0.16, .los_db = 1, .nlos_db = 20};
  CHECK(channel.loss_db(ground, {100, 0, 100}) == doctest::Approx(83.09).epsilon(1e-4));
  CHECK(channel.bandwidth_bytes_per_s({0, 100, 100}, ground) * 8 == doctest::Approx(135.9e6).epsilon(1e-3));
  CHECK(channel.loss_db(ground, {300, 400, 100}) == doctest::Approx(110.33).epsilon(1e-4));
  CHECK(channel.bandwidth_bytes_per_s(ground, {500, 0, 100}) * 8 == doctest::Approx(46.0e6).epsilon(2e-3));
  channel.environment = {.a = 27.23, .b = 0.08, .los_db = 2.3, .nlos_db = 34};
  CHECK(channel.bandwidth_bytes_per_s(ground, {100, 0, 100}) * 8 == doctest::Approx(43.0e6).epsilon(2e-3));

  // 40 dB at 1 m and an exponent of 3: 100 dB at 100 m.
  channel.path_loss = RadioChannel::PathLoss::kLogDistance;
  channel.exponent = 3;
  channel.loss_1m_db = 40;
  CHECK(channel.loss_db(ground, {100, 0, 0}) == doctest::Approx(100));
  // Without it as in free space at 1 m: 38.46 dB at 2 GHz.
  channel.loss_1m_db.reset();
  CHECK(channel.loss_db(ground, {100, 0, 0}) == doctest::Approx(38.46 + 60).epsilon(1e-4));
}

TEST_CASE("radio: a trace has the bandwidth of the middle of each step") {
  // Away from the other end at 10 m/s for 10 s.
  const RadioChannel channel;
  const Motion moving{.waypoints = {{0, {100, 0, 0}}, {10, {200, 0, 0}}}, .circle = {}};
  const RadioTrace trace = radio_trace(channel, standing(0, 0, 0), moving, 2.5, 20);
  REQUIRE(trace.bandwidth.start_s.size() == 5);  // what stays the same is one step
  CHECK(trace.bandwidth.start_s[4] == 10);
  CHECK(trace.bandwidth.length_s == 20);
  CHECK(!trace.bandwidth.repeat);
  for (const double i : {0., 1., 2., 3.}) {
    CHECK(trace.bandwidth.at(2.5 * i) == channel.bandwidth_bytes_per_s({0, 0, 0}, {112.5 + 25 * i, 0, 0}));
  }
  CHECK(trace.bandwidth.at(1000) == channel.bandwidth_bytes_per_s({0, 0, 0}, {200, 0, 0}));
  CHECK(trace.states.empty());
  // What stands still needs one step.
  CHECK(radio_trace(channel, standing(0, 0, 0), standing(9, 0, 0), 1, 1e5).bandwidth.start_s.size() == 1);
}

TEST_CASE("radio: out of range") {
  // At 150 m the SNR is 42.01 dB.
  RadioChannel channel;
  channel.min_snr_db = channel.snr_db({0, 0, 0}, {150, 0, 0});
  const Motion moving{.waypoints = {{0, {100, 0, 0}}, {10, {200, 0, 0}}, {20, {100, 0, 0}}}, .circle = {}};
  const RadioTrace trace = radio_trace(channel, standing(0, 0, 0), moving, 1, 20);
  // The middle of the sixth second is at 155 m; on the way back that of the sixteenth at 145 m.
  REQUIRE(trace.states.size() == 2);
  CHECK(trace.states[0] == std::pair(5.0, false));
  CHECK(trace.states[1] == std::pair(15.0, true));
  CHECK(trace.bandwidth.at(4.9) > 1e6);
  CHECK(trace.bandwidth.at(7) == 0.125);
  CHECK(trace.bandwidth.at(15) > 1e6);
  // From the start.
  channel.min_snr_db = 100;
  CHECK(radio_trace(channel, standing(0, 0, 0), moving, 1, 20).states == std::vector{std::pair(0.0, false)});
}
