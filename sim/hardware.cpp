#include "sim/hardware.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/error.h"
#include "sim/json_reader.h"

namespace cdisim {

namespace {

using Names = std::vector<std::string>;

constexpr double kSmallest = 1e-12,
                 kLargest = 1e24;  ///< a slip of the pen lies outside, real devices well inside

const Names& float_precisions() {
  static const Names names{"fp64", "fp32", "tf32", "fp16", "bf16"};
  return names;
}

const Names& integer_precisions() {
  static const Names names{"int8", "int4"};
  return names;
}

// The precision, then all that hold its values without loss, nearest first; empty where it is unknown.
Names ladder(std::string_view precision) {
  const Names all{"int4", "int8", "fp16", "tf32", "fp32", "fp64"};
  if (precision == "bf16") return {"bf16", "tf32", "fp32", "fp64"};
  return {std::find(all.begin(), all.end(), precision), all.end()};
}

Names with_tensor(const Names& precisions) {
  Names out;
  for (const std::string& name : precisions) {
    out.push_back(name);
    out.push_back(name + "_tensor");
  }
  return out;
}

Measured read_measured(const JsonReader& reader, double low) {
  const Measured measured{reader.at("value").number(low, kLargest), reader.at("source").text()};
  reader.done();
  return measured;
}

std::optional<Measured> find_measured(const JsonReader& reader, const char* key, double low = kSmallest) {
  const auto found = reader.find(key);
  return found ? std::optional(read_measured(*found, low)) : std::nullopt;
}

std::map<std::string, Measured> read_peaks(const JsonReader& processor, const char* key,
                                           const Names& precisions) {
  std::map<std::string, Measured> peaks;
  const auto reader = processor.find(key);
  if (!reader) return peaks;
  const Names valid = with_tensor(precisions);
  for (const auto& [precision, peak] : reader->members()) {
    if (std::find(valid.begin(), valid.end(), precision) == valid.end()) {
      throw InputError(reader->place(), fmt::format("\"{}\" is no precision of {}{}", precision, key,
                                                    valid_choices(precision, valid)));
    }
    peaks[precision] = read_measured(peak, kSmallest);
  }
  return peaks;
}

Processor read_processor(const JsonReader& reader, const std::string& name) {
  // The classes that a processor of this name may have.
  static const std::map<std::string, std::vector<DeviceClass>> kClasses{
      {"cpu", {DeviceClass::kDesktopCpu, DeviceClass::kMobileCpu}},
      {"gpu", {DeviceClass::kDesktopGpu, DeviceClass::kEmbeddedGpu, DeviceClass::kMobileGpu}},
      {"npu", {DeviceClass::kNpu}}};
  const auto known = kClasses.find(name);
  if (known == kClasses.end()) reader.fail("a processor is one of cpu, gpu, npu");

  Processor processor;
  processor.title = reader.at("title").text();
  const JsonReader device_class = reader.at("class");
  processor.device_class = static_cast<DeviceClass>(device_class.choice(device_class_names()));
  if (std::find(known->second.begin(), known->second.end(), processor.device_class) == known->second.end()) {
    device_class.fail(fmt::format("is no class of a {}", name));
  }
  if (name == "cpu") processor.cores = static_cast<int>(reader.at("cores").integer(1, 100'000));
  processor.peak_flop_per_s = read_peaks(reader, "peak_flop_per_s", float_precisions());
  processor.peak_op_per_s = read_peaks(reader, "peak_op_per_s", integer_precisions());
  if (processor.peak_flop_per_s.empty() && processor.peak_op_per_s.empty()) {
    reader.fail("has no peak, neither peak_flop_per_s nor peak_op_per_s");
  }
  processor.memory_bandwidth_bytes_per_s = find_measured(reader, "memory_bandwidth_bytes_per_s");
  processor.weight_cache_bytes = find_measured(reader, "weight_cache_bytes");
  processor.weight_link_bytes_per_s = find_measured(reader, "weight_link_bytes_per_s");
  if (processor.weight_cache_bytes.has_value() != processor.weight_link_bytes_per_s.has_value()) {
    reader.fail("weight_cache_bytes and weight_link_bytes_per_s go together");
  }
  if (const auto power = reader.find("power_w")) {
    processor.idle_w = find_measured(*power, "idle", 0);
    processor.busy_w = find_measured(*power, "busy", 0);
    power->done();
    if (processor.idle_w && processor.busy_w && processor.idle_w->value > processor.busy_w->value) {
      power->fail("idle power above busy power");
    }
  }
  reader.done();
  return processor;
}

DeviceType read_device(const JsonReader& reader, const std::string& name) {
  DeviceType device;
  device.name = name;
  device.title = reader.at("title").text();
  if (const auto table_2 = reader.find("table_2")) {
    device.table_2_row = table_2->at("row").text();
    device.table_2_note = table_2->at("note").text();
    table_2->done();
  }
  if (const auto twin = reader.find("same_chip_as")) device.same_chip_as = twin->text();
  device.memory_bytes = find_measured(reader, "memory_bytes");
  device.memory_bandwidth_bytes_per_s = find_measured(reader, "memory_bandwidth_bytes_per_s");
  device.price_usd_per_hour = find_measured(reader, "price_usd_per_hour", 0);

  const JsonReader processors = reader.at("processors");
  Names names;
  for (const auto& [processor, value] : processors.members()) {
    names.push_back(processor);
    device.processors.emplace(processor, read_processor(value, processor));
  }
  if (names.empty()) processors.fail("a device has at least one processor");

  const JsonReader usual = reader.at("default");
  device.default_processor = names[usual.at("processor").choice(names)];
  Names precisions;
  for (const auto* peaks : {&device.processor().peak_flop_per_s, &device.processor().peak_op_per_s}) {
    for (const auto& [precision, peak] : *peaks) {
      const std::string plain = precision.substr(0, precision.find("_tensor"));
      if (precisions.empty() || precisions.back() != plain) precisions.push_back(plain);
    }
  }
  device.default_precision = precisions[usual.at("precision").choice(precisions)];
  usual.done();
  reader.done();
  return device;
}

}  // namespace

const std::vector<std::string>& device_class_names() {
  static const Names names{"desktop_gpu", "embedded_gpu", "mobile_gpu", "desktop_cpu", "mobile_cpu", "npu"};
  static_assert(kDeviceClasses == 6);
  return names;
}

std::optional<double> Processor::peak(std::string_view precision) const {
  for (const std::string& name : ladder(precision)) {
    const bool integer = name.starts_with("int");
    const auto& peaks = integer ? peak_op_per_s : peak_flop_per_s;
    for (const std::string& rate : {name + "_tensor", name}) {
      if (const auto found = peaks.find(rate); found != peaks.end()) return found->second.value;
    }
  }
  return std::nullopt;
}

double DeviceType::speed_flop_per_s() const {
  return processor().peak(default_precision).value();
}

double DeviceType::memory_bandwidth(const Processor& processor) const {
  if (processor.memory_bandwidth_bytes_per_s) return processor.memory_bandwidth_bytes_per_s->value;
  return memory_bandwidth_bytes_per_s ? memory_bandwidth_bytes_per_s->value : 0;
}

std::map<std::string, DeviceType> load_hardware(const std::filesystem::path& path) {
  const Json json = read_json_file(path);
  const JsonReader reader(json, path.string());
  reader.at("schema").integer(2, 2);
  std::map<std::string, DeviceType> devices;
  for (const auto& [name, device] : reader.at("devices").members())
    devices.emplace(name, read_device(device, name));
  reader.done();
  for (const auto& [name, device] : devices) {
    const std::string& twin = device.same_chip_as;
    if (twin.empty() || (twin != name && devices.contains(twin))) continue;
    Names names;
    for (const auto& [other, type] : devices) {
      if (other != name) names.push_back(other);
    }
    reader.at("devices")
        .at(name)
        .at("same_chip_as")
        .fail(fmt::format("is no other device{}", valid_choices(twin, names)));
  }
  return devices;
}

}  // namespace cdisim
