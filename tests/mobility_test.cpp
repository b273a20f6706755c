#include "sim/mobility.h"

#include <cmath>
#include <numbers>

#include "sim/experiment.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

bool at(const Position& p, double x, double y, double z) {
  return distance_m(p, {x, y, z}) < 1e-9;
}

// The metrics of pencil_run with one request, its device at the origin and its server 100 m to the east.
Json metrics(const std::string& patch) {
  const TempFolder folder;
  write_pencil_run(folder, R"({"/requests": 1, "/policies": [{"name": "edge_only"}],
      "/mobility": {"step": "2s", "length": "60s", "hosts": {"device": {"position": [0, 0, 0]},
                                                            "server": {"position": [100, 0, 0]}}}})");
  folder.write("e.json", patched(folder / "e.json", patch));
  const Finished done = run_cdisim({"e.json", "--json"}, folder.path());
  REQUIRE_MESSAGE(done.code == 0, done.err);
  return parse_json(done.out, "out")["runs"][0]["metrics"];
}

std::string refusal(const std::string& patch) {
  const TempFolder folder;
  write_pencil_run(folder, patch);
  return run_cdisim({"validate", "e.json"}, folder.path()).err;
}

// The device goes round the origin in 8 s on a circle of 50 m, as seen from the server at (100, 0): D^2 =
// 12500 - 10000 cos(angle). Steps of 2 s have their middle at 45, 135, 225 and 315 degrees. Loss is D^2, SNR
// 1e6 / D^2: -84 dBm sent against a noise of -174 dBm/Hz over 1 kHz, -144 dBm.
const std::string kCircle = R"("/mobility/hosts/device": {"circle": {"centre": [0, 0], "radius": 50,
                                "speed": 39.269908169872416, "height": 0}})";
const std::string kRadio = R"("from": "device", "to": "server", "path_loss": "log_distance", "exponent": 2,
                               "loss_1m_db": 0, "width": "1kHz", "tx_dbm": -84)";
const double kNear = 125 * std::log2(1 + 1e6 / (12500 - 10000 / std::numbers::sqrt2));
const double kFar = 125 * std::log2(1 + 1e6 / (12500 + 10000 / std::numbers::sqrt2));

}  // namespace

TEST_CASE("mobility: waypoints") {
  const Motion motion{.waypoints = {{2, {0, 0, 100}}, {12, {30, 40, 100}}, {22, {30, 40, 50}}}, .circle = {}};
  CHECK(at(motion.at(0), 0, 0, 100));
  CHECK(at(motion.at(7), 15, 20, 100));
  CHECK(at(motion.at(17), 30, 40, 75));
  CHECK(at(motion.at(99), 30, 40, 50));
  // 50 m in 10 s; what goes straight down has no horizontal speed.
  CHECK(motion.speed_m_per_s(1) == 0);
  CHECK(motion.speed_m_per_s(2) == doctest::Approx(5));
  CHECK(motion.speed_m_per_s(12) == 0);
  CHECK(motion.next_speed_change(0) == 2);
  CHECK(motion.next_speed_change(2) == 12);
  CHECK(std::isinf(motion.next_speed_change(22)));
  CHECK(!motion.stands_still());
  CHECK(Motion{.waypoints = {{0, {}}}, .circle = {}}.stands_still());
}

TEST_CASE("mobility: a circle") {
  Motion motion;
  motion.circle = {.centre = {10, 20, 30}, .radius_m = 50, .m_per_s = 10};
  const double quarter_s = std::numbers::pi / 2 * 50 / 10;
  CHECK(at(motion.at(0), 60, 20, 30));
  CHECK(at(motion.at(quarter_s), 10, 70, 30));
  CHECK(at(motion.at(4 * quarter_s), 60, 20, 30));
  motion.circle->start_degrees = 180;
  motion.circle->m_per_s = -10;
  CHECK(at(motion.at(quarter_s), 10, 70, 30));
  CHECK(motion.speed_m_per_s(3) == 10);
  CHECK(std::isinf(motion.next_speed_change(0)));
}

TEST_CASE("mobility: random waypoints") {
  const RandomWaypoint random{
      .low = {-100, 0, 80}, .high = {100, 50, 80}, .slowest_m_per_s = 5, .fastest_m_per_s = 15, .pause_s = 2};
  const Motion motion = random_waypoint(random, 600, 7);
  CHECK(motion.waypoints.size() > 20);
  CHECK(motion.waypoints.back().at_s >= 600);
  for (std::size_t i = 0; i < motion.waypoints.size(); ++i) {
    const Position& p = motion.waypoints[i].position;
    CHECK((p.x >= -100 && p.x <= 100 && p.y >= 0 && p.y <= 50 && p.z == 80));
    if (i + 1 == motion.waypoints.size()) break;
    // Pauses and legs alternate.
    const double speed = motion.speed_m_per_s(motion.waypoints[i].at_s);
    if (i % 2 == 0) {
      CHECK(motion.waypoints[i + 1].at_s - motion.waypoints[i].at_s == doctest::Approx(2));
      CHECK(speed == 0);
    } else {
      CHECK((speed > 5 - 1e-9 && speed < 15 + 1e-9));
    }
  }
  CHECK(at(random_waypoint(random, 600, 7).at(321), motion.at(321).x, motion.at(321).y, 80));
  CHECK(distance_m(random_waypoint(random, 600, 8).at(321), motion.at(321)) > 1);
}

TEST_CASE("mobility: a trace file") {
  const TempFolder folder;
  folder.write("t.txt", "# time x y z\n100 0 0 10\n\n110, 50, 0, 10  # east\n");
  const std::vector<Waypoint> waypoints = load_waypoints(folder / "t.txt");
  REQUIRE(waypoints.size() == 2);
  CHECK(waypoints[0].at_s == 0);
  CHECK(waypoints[1].at_s == 10);
  CHECK(at(waypoints[1].position, 50, 0, 10));
  const auto error = [&](const std::string& text) {
    folder.write("t.txt", text);
    return error_of([&] { load_waypoints(folder / "t.txt"); });
  };
  CHECK(error("0 1 2\n").find("t.txt: line 1: 3 columns; valid: four") != std::string::npos);
  CHECK(error("0 1 2 3\n0 1 2 3\n").find("t.txt: line 2: time 0 does not come after") != std::string::npos);
  CHECK(error("0 1 2 x\n").find("\"x\" is no number") != std::string::npos);
  CHECK(error("# nothing\n").find("holds no row") != std::string::npos);
}

TEST_CASE("mobility: the bandwidth of a link follows a circle") {
  // 4 kB go up from 0.01 s: near for 1.99 s, then far. 2.5 Mflop at 10 Gflop/s. The 1 kB that return do so
  // far until 6 s, then near.
  const double up_s = 2 + (4000 - 1.99 * kNear) / kFar;
  const double down_s = up_s + 0.25e-3 + 0.01;
  REQUIRE((up_s > 4 && down_s < 6));
  const double end_s = 6 + (1000 - (6 - down_s) * kFar) / kNear;
  const Json m = metrics("{" + kCircle + R"(, "/links": {"net": {"radio": {)" + kRadio + "}}}}");
  CHECK(m["latency_s"]["mean"].get<double>() == doctest::Approx(end_s).epsilon(1e-9));
}

TEST_CASE("mobility: a link out of range is off") {
  // Near 22.7 dB, far 17.1 dB: off from 2 to 6 s. 1 kB up and 1 kB down take more than 2 s; what is lost at 2
  // starts again at 6.5.
  const Json m = metrics("{" + kCircle + R"(, "/wire": {"input_bytes": 1000},
      "/on_failure": {"retries": 1, "wait": "4.5s"},
      "/links": {"net": {"radio": {"min_snr_db": 20, )" +
                         kRadio + "}}}}");
  CHECK(m["requests"]["completed"] == 1);
  CHECK(m["failures"] == 1);
  CHECK(m["latency_s"]["mean"].get<double>() ==
        doctest::Approx(6.5 + 2 * (0.01 + 1000 / kNear) + 0.25e-3).epsilon(1e-9));
}

TEST_CASE("mobility: what flies draws power by its speed, from its battery") {
  // East at 10 m/s for 10 s, then it hovers. The device: 2.5 ms at 3 W, else 1 W, radio 0.1 W.
  const RotaryWing wing =
      load_uav_models(kSources / "platforms/uav_models.json").rotary_wings.at("rotary_wing");
  const std::string moves = R"({"/requests": null, "/horizon_s": 15, "/arrivals/think": "100s",
      "/policies": [{"name": "device_only"}],
      "/mobility/hosts/device": {"flight": "rotary_wing", "waypoints": [
          {"at": "0s", "x": 0, "y": 0, "z": 50}, {"at": "10s", "x": 100, "y": 0, "z": 50}]})";
  Json m = metrics(moves + "}");
  const double flight_j = 10 * wing.power_w(10) + 5 * wing.power_w(0);
  CHECK(m["energy_j"]["flight"]["device"].get<double>() == doctest::Approx(flight_j).epsilon(1e-9));
  CHECK(m["energy_j"]["per_host"]["device"].get<double>() ==
        doctest::Approx(flight_j + 15 * 1.1 + 2.5e-3 * 2).epsilon(1e-9));
  CHECK(!m["energy_j"]["flight"].contains("server"));
  // A battery that lasts for 2 s of hovering.
  const double in_flight_j = 10 * (wing.power_w(10) + 1.1) + 2.5e-3 * 2, hover_w = wing.power_w(0) + 1.1;
  m = metrics(moves +
              fmt::format(R"(, "/hosts": {{"device": {{"battery": "{}J"}}}}}})", in_flight_j + 2 * hover_w));
  CHECK(m["emptied_s"]["per_host"]["device"].get<double>() == doctest::Approx(12).epsilon(1e-9));
  CHECK(m["battery_j"]["per_host"]["device"] == 0);
}

TEST_CASE("mobility: hosts of a tier, and files, by experiment") {
  const TempFolder folder;
  folder.write("t.txt", "0 7 0 0\n");
  write_pencil_run(folder, R"({"/mobility": {"length": "10s", "hosts": {
      "server": {"trace": "t.txt"},
      "tier:device": {"random_waypoint": {"area": [0, 0, 9, 9], "speed": [1, 2], "height": 3}}}}})");
  CHECK(run_cdisim({"validate", "e.json"}, folder.path()).code == 0);
  CHECK(run_cdisim({"e.json"}, folder.path()).code == 0);
}

TEST_CASE("mobility: what is refused") {
  const auto refused = [](const std::string& patch, const std::string& message) {
    CAPTURE(patch);
    const std::string error = refusal(patch);
    CAPTURE(error);
    CHECK(error.find(message) != std::string::npos);
  };
  const auto moves = [](const std::string& entry) {
    return R"({"/mobility": {"length": "10s", "hosts": {)" + entry + "}}}";
  };
  refused(R"({"/mobility": {"hosts": {}}})", "/mobility: {\"hosts\":{}}");
  refused(R"({"/mobility": {"hosts": {}}})", "needs a \"length\"");
  refused(R"({"/mobility": {"length": "10s", "step": "0s", "hosts": {}}})", "must be positive");
  refused(moves(R"("devise": {"position": [0, 0, 0]})"), "did you mean \"device\"?");
  refused(moves(R"("tier:cloud": {"position": [0, 0, 0]})"), "has no host of that tier");
  refused(moves(R"("device": {})"), "gives one of \"position\"");
  refused(moves(R"("device": {"position": [0, 0]})"), "must have 3 numbers");
  refused(moves(R"("device": {"position": [0, 0, 0], "flight": "rotary"})"), "valid: rotary_wing");
  refused(moves(R"("device": {"waypoints": []})"), "holds no waypoint");
  refused(
      moves(
          R"("device": {"waypoints": [{"at": "1s", "x": 0, "y": 0, "z": 0}, {"at": "1s", "x": 0, "y": 0, "z": 0}]})"),
      "/mobility/hosts/device/waypoints/1/at");
  refused(moves(R"("device": {"trace": "none.txt"})"), "no such file");
  refused(moves(R"("device": {"random_waypoint": {"area": [0, 0, 1, 1], "speed": [0, 2], "height": 3}})"),
          "both positive");
  refused(moves(R"("device": {"random_waypoint": {"area": [0, 0, 0, 0], "speed": [1, 2], "height": 3}})"),
          "without a pause");
  const std::string both = R"("device": {"position": [0, 0, 0]}, "server": {"position": [1, 0, 0]})";
  const auto radio = [&](const std::string& hosts, const std::string& keys) {
    return R"({"/mobility": {"length": "10s", "hosts": {)" + hosts + R"(}}, "/links": {"net": {"radio": {)" +
           keys + "}}}}";
  };
  refused(radio(R"("device": {"position": [0, 0, 0]})", R"("from": "device", "to": "server")"),
          "does not say where this host is");
  refused(radio(both,
                R"("from": "device", "to": "server", "path_loss": "air_to_ground", "environment": "rural")"),
          "valid: dense_urban, high_rise, suburban, urban");
  refused(radio(both, R"("from": "device", "to": "server", "carrier": "2G")"), "valid: Hz, kHz, MHz, GHz");
  refused(radio(both, R"("from": "device", "to": "server", "exponent": 3)"), "unknown key \"exponent\"");
  refused(R"({"/links": {"net": {"radio": {"from": "device", "to": "server"}}}})",
          "does not say where this host is");
}
