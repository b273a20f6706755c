#include "sim/uav_models.h"

#include <cmath>
#include <limits>

#include "tests/support.h"

using namespace cdisim;

namespace {

UavModels bundled() {
  return load_uav_models(kSources / "platforms/uav_models.json");
}

}  // namespace

TEST_CASE("uav models: a rotary wing's power against values worked out apart") {
  const RotaryWing wing = bundled().rotary_wings.at("rotary_wing");
  // Hovering: 79.8563 + 88.6279.
  CHECK(wing.power_w(0) == doctest::Approx(168.4842).epsilon(1e-12));
  // At 10 m/s: 79.8563 (1 + 300 / 14400) + 88.6279 sqrt(sqrt(1 + 1e4 / (4 * 263.7627)) - 100 / 32.4818)
  //   + 0.5 * 0.6 * 1.225 * 0.05 * 0.503 * 1000 = 81.52 + 35.27 + 9.24.
  CHECK(wing.power_w(10) == doctest::Approx(126.03).epsilon(1e-4));
  CHECK(wing.power_w(5) == doctest::Approx(143.61).epsilon(1e-4));
  CHECK(wing.power_w(20) == doctest::Approx(178.30).epsilon(1e-4));
  CHECK(wing.power_w(30) == doctest::Approx(356.28).epsilon(1e-4));
  // A UAV spends least at about 10.2 m/s.
  CHECK(wing.power_w(10.21) < wing.power_w(9.5));
  CHECK(wing.power_w(10.21) < wing.power_w(11));
}

TEST_CASE("uav models: lines of sight against values worked out apart") {
  const UavModels models = bundled();
  const auto sight = [&](const char* environment, double height, double distance) {
    const double degrees = std::atan(height / distance) * 180 / std::acos(-1.0);
    return models.environments.at(environment).line_of_sight(degrees);
  };
  // Urban at 45 degrees: 1 / (1 + 9.61 exp(-0.16 * 35.39)).
  CHECK(sight("urban", 100, 100) == doctest::Approx(0.9677).epsilon(1e-4));
  CHECK(sight("dense_urban", 100, 100) == doctest::Approx(0.7558).epsilon(1e-4));
  CHECK(sight("high_rise", 100, 100) == doctest::Approx(0.1321).epsilon(1e-3));
  CHECK(sight("suburban", 100, 500) == doctest::Approx(0.7649).epsilon(1e-4));
  CHECK(sight("urban", 100, 500) == doctest::Approx(0.1202).epsilon(1e-3));
  // The mean of 1 dB and 20 dB.
  const Environment urban{.a = 9.61, .b = 0.16, .los_db = 1, .nlos_db = 20};
  CHECK(urban.excess_db(9.61) == doctest::Approx((1 + 9.61 * 20) / 10.61).epsilon(1e-12));
}

TEST_CASE("uav models: what the file must hold") {
  const TempFolder folder;
  const auto error = [&](const std::string& patch) {
    folder.write("m.json", patched(kSources / "platforms/uav_models.json", patch));
    return error_of([&] { load_uav_models(folder / "m.json"); });
  };
  CHECK(error("{}") == "no error");
  CHECK(error(R"({"/rotary_wings/rotary_wing/blade_w/source": null})").find("\"source\" is missing") !=
        std::string::npos);
  CHECK(error(R"({"/rotary_wings/rotary_wing/disc_m2": null})").find("\"disc_m2\" is missing") !=
        std::string::npos);
  CHECK(error(R"({"/environments/urban/b/value": -1})").find("/environments/urban/b/value: -1") !=
        std::string::npos);
  CHECK(error(R"({"/environments/urban/c": 1})").find("unknown key \"c\"") != std::string::npos);
}
