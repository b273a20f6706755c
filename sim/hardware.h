#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace cdisim {

/// A number of the device catalogue and where it comes from.
struct Measured {
  double value = 0;
  std::string
      source;  ///< paper and table, data sheet or arithmetic; begins with "assumed" where nobody states it
};

/// One entry of the device catalogue. What nobody states is left empty.
struct DeviceType {
  std::string title;
  Measured peak_flop_per_s;  ///< of the whole device, fp32; one multiply-add is two operations
  std::optional<Measured> memory_bytes;
  std::optional<Measured> memory_bandwidth_bytes_per_s;
  std::map<std::string, Measured>
      efficiency;  ///< share of the peak, (0, 1], by layer kind; "other": all the rest
  std::optional<Measured> layer_overhead_s;  ///< before each layer
  std::optional<Measured> idle_w;            ///< nothing to do
  std::optional<Measured> busy_w;            ///< all cores computing
};

/// Reads a device catalogue (platforms/hardware.json) by device type.
/// @throws InputError naming file, JSON pointer and value: a value without its source, out of range, an
/// unknown key,
///   a device without peak or without the efficiency of "other".
std::map<std::string, DeviceType> load_hardware(const std::filesystem::path& path);

}  // namespace cdisim
