#include "sim/hardware.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "sim/error.h"
#include "sim/json_reader.h"
#include "sim/layer_graph.h"

namespace cdisim {

namespace {

constexpr double kSmallest = 1e-12,
                 kLargest = 1e24;  ///< a slip of the pen lies outside, real devices well inside

Measured read_measured(const JsonReader& reader, double low, double high) {
  const Measured measured{reader.at("value").number(low, high), reader.at("source").text()};
  reader.done();
  return measured;
}

std::optional<Measured> find_measured(const JsonReader& reader, const char* key, double low) {
  const auto found = reader.find(key);
  return found ? std::optional(read_measured(*found, low, kLargest)) : std::nullopt;
}

std::map<std::string, Measured> read_efficiency(const JsonReader& reader) {
  std::vector<std::string> kinds{"other"};
  for (int kind = 0; kind < kLayerKinds; ++kind)
    kinds.emplace_back(layer_kind_name(static_cast<LayerKind>(kind)));
  reader.at("other");
  std::map<std::string, Measured> efficiency;
  for (const auto& [kind, value] : reader.members()) {
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
      throw InputError(reader.place(),
                       fmt::format("unknown layer kind \"{}\"{}", kind, valid_choices(kind, kinds)));
    }
    efficiency[kind] = read_measured(value, kSmallest, 1);
  }
  return efficiency;
}

DeviceType read_device(const JsonReader& reader) {
  DeviceType device;
  device.title = reader.at("title").string();
  device.peak_flop_per_s = read_measured(reader.at("peak_flop_per_s"), kSmallest, kLargest);
  device.memory_bytes = find_measured(reader, "memory_bytes", kSmallest);
  device.memory_bandwidth_bytes_per_s = find_measured(reader, "memory_bandwidth_bytes_per_s", kSmallest);
  device.efficiency = read_efficiency(reader.at("efficiency"));
  device.layer_overhead_s = find_measured(reader, "layer_overhead_s", 0);
  if (const auto power = reader.find("power_w")) {
    device.idle_w = find_measured(*power, "idle", 0);
    device.busy_w = find_measured(*power, "busy", 0);
    power->done();
  }
  reader.done();
  return device;
}

}  // namespace

std::map<std::string, DeviceType> load_hardware(const std::filesystem::path& path) {
  const Json json = read_json_file(path);
  const JsonReader reader(json, path.string());
  reader.at("schema").integer(1, 1);
  std::map<std::string, DeviceType> devices;
  for (const auto& [name, device] : reader.at("devices").members())
    devices.emplace(name, read_device(device));
  reader.done();
  return devices;
}

}  // namespace cdisim
