#include "sim/hardware.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "sim/error.h"
#include "sim/platform.h"

using namespace cdisim;
namespace fs = std::filesystem;

namespace {

const fs::path kSource = CDISIM_SOURCE_DIR;

std::string error_of(const std::string& json) {
  const fs::path file = fs::temp_directory_path() / ("cdisim_hardware_" + std::to_string(getpid()) + ".json");
  std::ofstream(file) << json;
  std::string message = "no error";
  try {
    load_hardware(file);
  } catch (const InputError& e) {
    message = e.what();
  }
  fs::remove(file);
  return message;
}

std::string device(const std::string& rest) {
  return R"({"schema": 1, "devices": {"d": {"title": "D", )" + rest + "}}}";
}

const std::string kPeak = R"("peak_flop_per_s": {"value": 1e9, "source": "s"})";
const std::string kEfficiency = R"("efficiency": {"other": {"value": 0.5, "source": "s"}})";

}  // namespace

TEST_CASE("hardware: the bundled catalogue is complete and sourced") {
  const auto devices = load_hardware(kSource / "platforms/hardware.json");
  REQUIRE(devices.contains("raspberry_pi_3"));
  const DeviceType& pi = devices.at("raspberry_pi_3");
  // 4 cores x 1.2 GHz x 8 flop per cycle
  CHECK(pi.peak_flop_per_s.value == doctest::Approx(4 * 1.2e9 * 8).epsilon(1e-12));
  CHECK(pi.memory_bytes->value == 1 << 30);
  // ResNet50: 2 x 3.858e9 multiply-adds in 0.726 s, as a share of 38.4e9 flop/s, rounded to three digits
  CHECK(pi.efficiency.at("other").value == doctest::Approx(2 * 3.858e9 / 0.726 / 38.4e9).epsilon(2e-3));
  for (const auto& [name, type] : devices) {
    INFO(name);
    REQUIRE(type.idle_w.has_value());
    REQUIRE(type.busy_w.has_value());
    CHECK(type.idle_w->value < type.busy_w->value);
  }
}

TEST_CASE("hardware: bundled platforms agree with the catalogue") {
  const auto devices = load_hardware(kSource / "platforms/hardware.json");
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(kSource / "platforms")) {
    if (entry.path().extension() != ".xml") continue;
    const Platform platform = Platform::load(entry.path());
    for (const Host& host : platform.hosts()) {
      if (host.device_type.empty()) continue;
      INFO(platform.name(), " ", host.name);
      REQUIRE(devices.contains(host.device_type));
      const DeviceType& type = devices.at(host.device_type);
      const PowerState& state = host.power_states.front();
      // The catalogue's peak is that of the whole machine.
      CHECK(host.cores * state.speed_flop_per_s ==
            doctest::Approx(type.peak_flop_per_s.value).epsilon(1e-12));
      CHECK(state.idle_w == type.idle_w->value);
      CHECK(state.all_cores_w == type.busy_w->value);
      CHECK(host.memory_bytes == type.memory_bytes->value);
      ++compared;
    }
  }
  CHECK(compared >= 5);  // pi3 and desktop, pi3, edge and cloud
}

TEST_CASE("hardware: mistakes are refused with their place") {
  CHECK(error_of(device(kPeak + ", " + kEfficiency)) == "no error");
  struct Bad {
    std::string json, fragment;
  };
  const Bad table[] = {
      {R"({"devices": {}})", "\"schema\" is missing"},
      {R"({"schema": 2, "devices": {}})", "/schema: 2: must lie within [1, 1]"},
      {R"({"schema": 1, "devices": {}, "x": 1})", "unknown key \"x\""},
      {device(kEfficiency), "/devices/d: \"peak_flop_per_s\" is missing"},
      {device(kPeak), "\"efficiency\" is missing"},
      {device(R"("peak_flop_per_s": {"value": 1e9}, )" + kEfficiency),
       "/devices/d/peak_flop_per_s: \"source\" is missing"},
      {device(R"("peak_flop_per_s": 1e9, )" + kEfficiency), "must be an object"},
      {device(R"("peak_flop_per_s": {"value": 1e9, "source": ""}, )" + kEfficiency),
       "source: \"\": must not be empty"},
      {device(R"("peak_flop_per_s": {"value": 0, "source": "s"}, )" + kEfficiency), "must lie within"},
      {device(R"("peak_flop_per_s": {"value": 1, "source": "s", "unit": "f"}, )" + kEfficiency),
       "unknown key \"unit\""},
      {device(kPeak + R"(, "efficiency": {"conv": {"value": 0.5, "source": "s"}})"), "\"other\" is missing"},
      {device(kPeak + R"(, "efficiency": {"other": {"value": 1.5, "source": "s"}})"),
       "/efficiency/other/value: 1.5"},
      {device(kPeak + R"(, "efficiency": {"other": {"value": 0.5, "source": "s"}, "con": {}})"),
       "did you mean \"conv\"?"},
      {device(kPeak + ", " + kEfficiency + R"(, "power_w": {"max": {"value": 1, "source": "s"}})"),
       "unknown key \"max\""},
      {device(kPeak + ", " + kEfficiency + R"(, "memory": 1)"), "unknown key \"memory\""},
  };
  for (const Bad& bad : table) {
    INFO(bad.json);
    const std::string message = error_of(bad.json);
    INFO(message);
    CHECK(message.find(bad.fragment) != message.npos);
  }
}
