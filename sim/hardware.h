#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cdisim {

/// A number of the device catalogue and where it comes from.
struct Measured {
  double value = 0;
  /// Paper and table, data sheet or arithmetic; begins with "assumed" where nobody states it.
  std::string source;
};

/// Kinds of processors that behave alike; each has its own calibration.
enum class DeviceClass {
  kDesktopGpu,   ///< discrete cards, of desktops and servers
  kEmbeddedGpu,  ///< NVIDIA's modules with shared memory
  kMobileGpu,    ///< of phones, boards and laptops
  kDesktopCpu,   ///< x86, of desktops, laptops and servers
  kMobileCpu,    ///< ARM, of phones and boards
  kNpu,          ///< inference accelerators: neural engines, DSPs, sticks
};
inline constexpr int kDeviceClasses = 6;
/// Spelled in JSON as the enumerator without its k, in snake case: "desktop_gpu", ...
const std::vector<std::string>& device_class_names();

/// One unit of a device that runs networks by itself: "cpu", "gpu" or "npu".
struct Processor {
  std::string title;  ///< "4 x Cortex-A72, 1.5 GHz"
  DeviceClass device_class = DeviceClass::kDesktopCpu;
  int cores = 1;  ///< of a CPU: how many threads are worth having; 1 for all others
  /// By precision: "fp64", "fp32", "tf32", "fp16", "bf16", each also with "_tensor" for the rate of matrix
  /// units. One multiply-add is two operations; dense, all cores.
  std::map<std::string, Measured> peak_flop_per_s;
  /// The same for integers: "int8", "int8_tensor", "int4", "int4_tensor".
  std::map<std::string, Measured> peak_op_per_s;
  std::optional<Measured> memory_bandwidth_bytes_per_s;  ///< where it differs from the device's
  std::optional<Measured> weight_cache_bytes;       ///< on-chip; heavier networks stream their weights ...
  std::optional<Measured> weight_link_bytes_per_s;  ///< ... over this link at every run
  std::optional<Measured> idle_w;                   ///< of the whole device while it does nothing
  std::optional<Measured> busy_w;                   ///< of the whole device while this processor computes

  /// Operations per second at a precision ("fp16"): the matrix units' rate where it is stated, else the plain
  /// rate, else that of the nearest wider precision that the processor has (int4, int8, fp16, tf32, fp32,
  /// fp64; bf16 widens to tf32), else (an integer unit asked for floating point) nothing.
  std::optional<double> peak(std::string_view precision) const;
};

/// One entry of the device catalogue. What nobody states is left empty.
struct DeviceType {
  std::string name;   ///< its key
  std::string title;  ///< "Raspberry Pi 4 Model B"
  /// Its row in the survey's Table 2: the name there, and what the printed performance means. Both empty if
  /// it is not in it.
  std::string table_2_row, table_2_note;
  /// A device with the same chip, or a sister of it, whose measured latencies stand for this one's, scaled by
  /// the peaks.
  std::string same_chip_as;
  std::optional<Measured> memory_bytes;
  std::optional<Measured> memory_bandwidth_bytes_per_s;
  std::optional<Measured> price_usd_per_hour;   ///< of renting one
  std::map<std::string, Processor> processors;  ///< by "cpu", "gpu", "npu"; at least one
  std::string default_processor;
  std::string default_precision;  ///< what it usually runs at: "fp32", "fp16", "int8"

  /// Operations per second of the default processor at its default precision: the speed of its host.
  double speed_flop_per_s() const;
  const Processor& processor() const { return processors.at(default_processor); }
  /// Of a processor, or of the device where the processor states none; 0 if nobody does.
  double memory_bandwidth(const Processor& processor) const;
};

/// Reads a device catalogue (platforms/hardware.json) by device type.
///
///     {"schema": 2, "devices": {"raspberry_pi_4b": {
///        "title": "Raspberry Pi 4 Model B", "table_2": {"row": "Raspberry Pi-4B", "note": "a Linpack-like
///        figure"}, "memory_bytes": {"value": 4294967296, "source": "..."}, "memory_bandwidth_bytes_per_s":
///        {"value": 4e9, "source": "..."}, "default": {"processor": "cpu", "precision": "fp32"},
///        "processors": {"cpu": {"title": "4 x Cortex-A72, 1.5 GHz", "class": "mobile_cpu", "cores": 4,
///           "peak_flop_per_s": {"fp32": {"value": 48e9, "source": "..."}},
///           "power_w": {"idle": {"value": 2.7, "source": "..."}, "busy": {"value": 6.4, "source":
///           "..."}}}}}}}
///
/// @throws InputError naming file, JSON pointer and value: a value without its source, out of range, an
/// unknown key, a precision in the wrong one of peak_flop_per_s and peak_op_per_s, a device without
/// processors, a processor without a peak or of another's class, cores of anything but a CPU, a weight cache
/// without its link, a default that is not stated, idle above busy power, a same_chip_as that is no other
/// device.
std::map<std::string, DeviceType> load_hardware(const std::filesystem::path& path);

}  // namespace cdisim
