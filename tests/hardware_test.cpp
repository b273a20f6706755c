#include "sim/hardware.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "sim/error.h"
#include "sim/platform.h"

using namespace cdisim;
namespace fs = std::filesystem;

namespace {

const fs::path kSource = CDISIM_SOURCE_DIR;

std::map<std::string, DeviceType> load(const std::string& json) {
  const fs::path file = fs::temp_directory_path() / ("cdisim_hardware_" + std::to_string(getpid()) + ".json");
  std::ofstream(file) << json;
  try {
    auto devices = load_hardware(file);
    fs::remove(file);
    return devices;
  } catch (...) {
    fs::remove(file);
    throw;
  }
}

std::string error_of(const std::string& json) {
  try {
    load(json);
  } catch (const InputError& e) {
    return e.what();
  }
  return "no error";
}

std::string number(double value) {
  return R"({"value": )" + std::to_string(value) + R"(, "source": "s"})";
}

// One device with the processors `processors` and the rest of its keys.
std::string device(const std::string& processors,
                   const std::string& usual = R"("default": {"processor": "cpu", "precision": "fp32"})",
                   const std::string& rest = "") {
  return R"({"schema": 2, "devices": {"d": {"title": "D", )" + usual + R"(, "processors": {)" + processors +
         "}" + rest + "}}}";
}

std::string cpu(const std::string& rest = R"("peak_flop_per_s": {"fp32": {"value": 1e9, "source": "s"}})") {
  return R"("cpu": {"title": "C", "class": "mobile_cpu", "cores": 4, )" + rest + "}";
}

const std::string kPeak = R"("peak_flop_per_s": {"fp32": {"value": 1e9, "source": "s"}})";

}  // namespace

TEST_CASE("hardware: the bundled catalogue is complete") {
  const auto devices = load_hardware(kSource / "platforms/hardware.json");
  // 20 rows of Table 2, as printed.
  const std::map<std::string, std::string> table_2{{"v100", "V100"},
                                                   {"a100", "A100"},
                                                   {"rtx_3090", "RTX 3090"},
                                                   {"titan_rtx", "Titan RTX"},
                                                   {"rtx_3080", "RTX 3080"},
                                                   {"rtx_2080_ti", "RTX 2080 Ti"},
                                                   {"jetson_agx_xavier", "Jetson AGX Xavier"},
                                                   {"jetson_xavier_nx", "Jetson Xavier NX"},
                                                   {"jetson_tx2_4gb", "Jetson TX2 4GB"},
                                                   {"jetson_tx2", "Jetson TX2"},
                                                   {"jetson_tx2i", "Jetson TX2i"},
                                                   {"jetson_tx1", "Jetson TX1"},
                                                   {"jetson_nano", "Jetson Nano"},
                                                   {"edge_tpu", "Edge TPU"},
                                                   {"raspberry_pi_4b", "Raspberry Pi-4B"},
                                                   {"honor_magic3", "HONOR Magic3"},
                                                   {"iphone_13", "iPhone 13"},
                                                   {"huawei_mate40", "HUAWEI Mate40"},
                                                   {"google_pixel6", "Google Pixel6"},
                                                   {"google_glass_ee2", "Google Glass EE2"}};
  int rows = 0;
  for (const auto& [name, type] : devices) {
    INFO(name);
    CHECK(type.name == name);
    CHECK(type.table_2_row.empty() == type.table_2_note.empty());
    if (!type.same_chip_as.empty()) {
      // Both have what was measured: a processor of the same kind.
      const DeviceType& twin = devices.at(type.same_chip_as);
      CHECK(twin.same_chip_as.empty());
      CHECK(twin.processors.contains(type.default_processor));
      CHECK(twin.processors.at(type.default_processor).device_class == type.processor().device_class);
    }
    if (!type.table_2_row.empty()) {
      REQUIRE(table_2.contains(name));
      CHECK(type.table_2_row == table_2.at(name));
      ++rows;
    }
    CHECK(type.speed_flop_per_s() > 0);
    REQUIRE(type.processor().idle_w.has_value());
    REQUIRE(type.processor().busy_w.has_value());
    CHECK(type.processor().idle_w->value < type.processor().busy_w->value);
  }
  CHECK(rows == 20);
  CHECK(devices.size() >= 75);
}

TEST_CASE("hardware: the bundled numbers follow from their arithmetic") {
  const auto devices = load_hardware(kSource / "platforms/hardware.json");
  const auto near = [](double value) { return doctest::Approx(value).epsilon(1e-9); };
  // 4 cores x 1.2 GHz x 8 flop per cycle
  const DeviceType& pi = devices.at("raspberry_pi_3b");
  CHECK(pi.speed_flop_per_s() == near(4 * 1.2e9 * 8));
  CHECK(pi.memory_bytes->value == 1 << 30);
  CHECK(pi.processor().cores == 4);
  // 1 core x 2.84 GHz x 32 + 3 x 2.42 x 16 + 4 x 1.8 x 8 = 264.64 Gflop/s; fp16 twice, int8 four times that
  const DeviceType& phone = devices.at("honor_magic3");
  CHECK(phone.processors.at("cpu").cores == 8);
  CHECK(*phone.processors.at("cpu").peak("fp32") == near(264.64e9));
  CHECK(*phone.processors.at("cpu").peak("fp16") == near(2 * 264.64e9));
  CHECK(*phone.processors.at("cpu").peak("int8") == near(4 * 264.64e9));
  CHECK(*phone.processors.at("npu").peak("int8") == near(26e12));
  // Printed for the V100: tensor cores. The A100's 78 is without them, like for like it is 312.
  CHECK(*devices.at("v100").processor().peak("fp16") == near(112e12));
  CHECK(devices.at("a100").processor().peak_flop_per_s.at("fp16").value == near(77.97e12));
  CHECK(*devices.at("a100").processor().peak("fp16") == near(312e12));
  // TOPS are no FLOPS: the Edge TPU has 4e12 operations on integers and no floating point.
  const Processor& tpu = devices.at("edge_tpu").processor();
  CHECK(*tpu.peak("int8") == near(4e12));
  CHECK_FALSE(tpu.peak("fp16").has_value());
  CHECK_FALSE(tpu.peak("fp32").has_value());
  CHECK(tpu.weight_cache_bytes->value == 8e6);
  CHECK(tpu.weight_link_bytes_per_s->value == near(0.64e9));
  // 128 cores x 2 x 921.6 MHz, twice that in fp16, which is its default
  CHECK(devices.at("jetson_nano").speed_flop_per_s() == near(128 * 4 * 921.6e6));
  CHECK(devices.at("jetson_nano").memory_bandwidth(devices.at("jetson_nano").processors.at("cpu")) ==
        near(25.6e9));
}

TEST_CASE("hardware: a peak falls back to wider precisions only") {
  const auto devices = load(
      device(R"("gpu": {"title": "G", "class": "desktop_gpu", "peak_flop_per_s": {"fp32": )" + number(1) +
                 R"(, "fp64": )" + number(0.5) + R"(, "tf32_tensor": )" + number(4) +
                 R"(}, "peak_op_per_s": {"int8": )" + number(8) + R"(, "int8_tensor": )" + number(16) +
                 R"(}, "memory_bandwidth_bytes_per_s": )" + number(7) + "}, " +
                 R"("npu": {"title": "N", "class": "npu", "peak_op_per_s": {"int8": )" + number(3) + "}}",
             R"("default": {"processor": "gpu", "precision": "tf32"})",
             R"(, "memory_bandwidth_bytes_per_s": )" + number(5)));
  const DeviceType& type = devices.at("d");
  const Processor& gpu = type.processors.at("gpu");
  CHECK(*gpu.peak("fp64") == 0.5);
  CHECK(*gpu.peak("fp32") == 1);
  CHECK(*gpu.peak("tf32") == 4);   // the matrix units'
  CHECK(*gpu.peak("fp16") == 4);   // tf32 is the nearest wider
  CHECK(*gpu.peak("bf16") == 4);   // likewise
  CHECK(*gpu.peak("int8") == 16);  // matrix units before the plain rate
  CHECK(*gpu.peak("int4") == 16);
  CHECK_FALSE(gpu.peak("fp8").has_value());
  const Processor& npu = type.processors.at("npu");
  CHECK(*npu.peak("int4") == 3);
  CHECK_FALSE(npu.peak("fp16").has_value());
  CHECK(type.speed_flop_per_s() == 4);
  CHECK(type.memory_bandwidth(gpu) == 7);  // its own
  CHECK(type.memory_bandwidth(npu) == 5);  // the device's
  CHECK(type.processor().cores == 1);
}

TEST_CASE("hardware: bundled platforms agree with the catalogue") {
  const auto devices = load_hardware(kSource / "platforms/hardware.json");
  // What the paper of a testbed measured of its own device, or counts of it.
  const std::set<std::string> measured_powers{
      "jointdnn/tx2_3g",         "jointdnn/tx2_4g",          "jointdnn/tx2_wifi",
      "neurosurgeon/tk1_cpu_3g", "neurosurgeon/tk1_cpu_lte", "neurosurgeon/tk1_cpu_wifi",
      "neurosurgeon/tk1_gpu_3g", "neurosurgeon/tk1_gpu_lte", "neurosurgeon/tk1_gpu_wifi"};
  // The same of all of its hosts.
  const std::set<std::string> own_powers{"hadidi_robots", "pi3_tx2_desktop_wlan", "pi4_cluster"};
  // Hosts of which other software needs some.
  const std::set<std::string> own_memory{"uav_mesh"};
  // Hosts that differ in what they charge, not in what they are.
  const std::set<std::string> own_prices{"pso_ga_cloud_edge_device"};
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(kSource / "platforms")) {
    if (entry.path().extension() != ".xml") continue;
    const Platform platform = Platform::load(entry.path());
    // Their units are what the paper says of them: multiplications a second and memory.
    if (platform.name().starts_with("disabato_mesh")) continue;
    for (const Host& host : platform.hosts()) {
      if (host.device_type.empty()) continue;
      INFO(platform.name(), " ", host.name);
      REQUIRE(devices.contains(host.device_type));
      const DeviceType& type = devices.at(host.device_type);
      const PowerState& state = host.power_states.front();
      // The catalogue's peak is that of the whole machine.
      CHECK(host.cores * state.speed_flop_per_s == doctest::Approx(type.speed_flop_per_s()).epsilon(1e-12));
      if (!own_powers.contains(platform.name()) &&
          !measured_powers.contains(platform.name() + "/" + host.name)) {
        CHECK(state.idle_w == type.processor().idle_w->value);
        CHECK(state.all_cores_w == type.processor().busy_w->value);
      }
      if (!own_memory.contains(platform.name()))
        CHECK(host.memory_bytes.value_or(0) == (type.memory_bytes ? type.memory_bytes->value : 0));
      if (!own_prices.contains(platform.name())) {
        CHECK(host.price_usd_per_s * 3600 ==
              doctest::Approx(type.price_usd_per_hour ? type.price_usd_per_hour->value : 0));
      }
      ++compared;
    }
  }
  // 2 + 3 in the two with a Pi 3, 2 + 2 + 7 in those of devices, edges and clouds, 8 devices, 6 UAVs + 1 edge
  CHECK(compared >= 31);
}

TEST_CASE("hardware: mistakes are refused with their place") {
  CHECK(error_of(device(cpu())) == "no error");
  const std::string usual_cpu = R"("default": {"processor": "cpu", "precision": "fp32"})";
  struct Bad {
    std::string json, fragment;
  };
  const Bad table[] = {
      {R"({"devices": {}})", "\"schema\" is missing"},
      {R"({"schema": 1, "devices": {}})", "/schema: 1: must lie within [2, 2]"},
      {R"({"schema": 2, "devices": {}, "x": 1})", "unknown key \"x\""},
      {device(""), "/devices/d/processors: "},
      {R"({"schema": 2, "devices": {"d": {"title": "D"}}})", "\"processors\" is missing"},
      {R"({"schema": 2, "devices": {"d": {"processors": {}}}})", "\"title\" is missing"},
      {device(cpu(R"("peak_flop_per_s": {})")), "/devices/d/processors/cpu: "},
      {device(cpu(R"("peak_flop_per_s": {"fp32": {"value": 1e9}})")),
       "/processors/cpu/peak_flop_per_s/fp32: \"source\" is missing"},
      {device(cpu(R"("peak_flop_per_s": {"fp32": 1e9})")), "must be an object"},
      {device(cpu(R"("peak_flop_per_s": {"fp32": {"value": 1e9, "source": ""}})")),
       "source: \"\": must not be empty"},
      {device(cpu(R"("peak_flop_per_s": {"fp32": {"value": 0, "source": "s"}})")), "must lie within"},
      {device(cpu(R"("peak_flop_per_s": {"fp32": {"value": 1, "source": "s", "unit": "f"}})")),
       "unknown key \"unit\""},
      {device(cpu(R"("peak_flop_per_s": {"int8": {"value": 1, "source": "s"}})")),
       "/cpu/peak_flop_per_s: \"int8\" is no precision of peak_flop_per_s"},
      {device(cpu(kPeak + R"(, "peak_op_per_s": {"fp16": {"value": 1, "source": "s"}})")),
       "/cpu/peak_op_per_s: \"fp16\" is no precision of peak_op_per_s"},
      {device(cpu(R"("peak_flop_per_s": {"fp16_tensr": {"value": 1, "source": "s"}})")),
       "did you mean \"fp16_tensor\"?"},
      {device(cpu(), R"("default": {"processor": "gpu", "precision": "fp32"})"),
       "/default/processor: \"gpu\""},
      {device(cpu(), R"("default": {"processor": "cpu", "precision": "fp16"})"),
       "/default/precision: \"fp16\""},
      {device(cpu(), R"("default": {"processor": "cpu"})"), "\"precision\" is missing"},
      {device(R"("tpu": {})", usual_cpu), "/processors/tpu"},
      {device(R"("cpu": {"title": "C", "class": "npu", "cores": 1, )" + kPeak + "}"), "/cpu/class: \"npu\""},
      {device(R"("cpu": {"title": "C", "class": "mobile_cpus", "cores": 1, )" + kPeak + "}"),
       "did you mean \"mobile_cpu\"?"},
      {device(R"("cpu": {"title": "C", "class": "mobile_cpu", )" + kPeak + "}"), "\"cores\" is missing"},
      {device(R"("gpu": {"title": "G", "class": "mobile_gpu", "cores": 4, )" + kPeak + "}",
              R"("default": {"processor": "gpu", "precision": "fp32"})"),
       "unknown key \"cores\""},
      {device(cpu(kPeak + R"(, "weight_cache_bytes": {"value": 1, "source": "s"})")), "go together"},
      {device(cpu(kPeak + R"(, "power_w": {"max": {"value": 1, "source": "s"}})")), "unknown key \"max\""},
      {device(
           cpu(kPeak +
               R"(, "power_w": {"idle": {"value": 2, "source": "s"}, "busy": {"value": 1, "source": "s"}})")),
       "/cpu/power_w: "},
      {device(cpu(kPeak + R"(, "efficiency": {})")), "unknown key \"efficiency\""},
      {device(cpu(), usual_cpu, R"(, "memory": 1)"), "unknown key \"memory\""},
      {device(cpu(), usual_cpu, R"(, "same_chip_as": "e")"),
       "/devices/d/same_chip_as: \"e\": is no other device"},
      {device(cpu(), usual_cpu, R"(, "same_chip_as": "d")"),
       "/devices/d/same_chip_as: \"d\": is no other device"},
      {device(cpu(), usual_cpu, R"(, "table_2": {"row": "D"})"), "\"note\" is missing"},
      {device(cpu(), usual_cpu, R"(, "price_usd_per_hour": {"value": -1, "source": "s"})"),
       "/price_usd_per_hour/value: -1"},
  };
  for (const Bad& bad : table) {
    INFO(bad.json);
    const std::string message = error_of(bad.json);
    INFO(message);
    CHECK(message.find(bad.fragment) != message.npos);
  }
}
