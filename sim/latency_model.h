#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "sim/calibration.h"
#include "sim/layer_graph.h"
#include "sim/platform.h"
#include "sim/region.h"
#include "sim/roofline.h"

namespace cdisim {

/// A paper's formulas: per layer kind a constant and coefficients of what the layer handles, in elements.
/// seconds = constant + a * input_elements + b * output_elements + c * filter_elements, at least 0, where
/// filter_elements = kernel h / stride h * kernel w / stride w * output channels.
struct RegressionTerm {
  double constant_s = 0;
  double per_input_element_s = 0;
  double per_output_element_s = 0;
  double per_filter_element_s = 0;
};
struct Regression {
  std::map<LayerKind, RegressionTerm> terms;
};

/// A table of measured layer times by layer name; layers that were not measured follow `otherwise`.
struct Profile {
  std::string model;  ///< the layer graph whose names these are; empty: any
  std::unordered_map<std::string, double> layer_s;
  /// The runtime pads a part of a convolution itself and crops the result: it computes as many rows and
  /// columns as it reads, over the stride.
  bool padded_parts = false;
  /// Of layers of which parts were measured, too: (share of the outputs, s), ascending from (0, 0) to (1,
  /// layer_s).
  std::unordered_map<std::string, std::vector<std::pair<double, double>>> part_s;
  std::optional<Regression> otherwise;
};

/// What one device type needs for one layer, and what it pays before its first layer of each request (a
/// runtime that loads the model every time): run = run_constant_s + run_per_weight_byte_s * weight bytes; a
/// roofline has its own.
struct DeviceLatency {
  std::variant<Roofline, Regression, Profile> layers;
  double speed_per_host_speed =
      1;  ///< of a roofline: what its efficiencies are shares of, over the host's speed
  double run_constant_s = 0;
  double run_per_weight_byte_s = 0;
};

/// Seconds that layers take on hosts. A model maps device types to one of three kinds: roofline, regression,
/// profile. A host without a device type counts as a roofline of its own speed with efficiency 1.
class LatencyModel {
 public:
  /// "roofline": the device profiles of the calibration that lies beside the catalogue (calibration.json). A
  /// host runs its device type's usual profile, or the one that its property `profile` names; a host faster
  /// or slower than the catalogue's computes in proportion.
  /// @throws InputError naming file, JSON pointer and value; also when a number has no source.
  static LatencyModel roofline(const std::filesystem::path& hardware_file);
  /// Reads a latency model file: {"schema": 1, "name": ..., "devices": {device type: entry}}. Every entry
  /// states its "source" and one of three kinds; "unit" ("s", "ms" or "us") holds for the times of its
  /// object:
  ///
  ///     {"kind": "regression", "source": "Table II", "unit": "ms", "terms": {
  ///        "conv": {"constant": 0.189, "input_elements": 6.03e-5, "filter_elements": 1.24e-4},
  ///        "fc": {"constant": 0.164, "input_elements": 1.07e-4, "output_elements": -1.83e-4}}}
  ///     {"kind": "profile", "source": "Fig. 3", "model": "alexnet", "unit": "ms",
  ///      "layers": {"conv_1": 52.02, "fc_6": 418}, "parts": {"fc_6": [[0.25, 71], [0.5, 159]]},
  ///      "otherwise": {"unit": "ms", "terms": {"conv": {"constant": 5}}}}
  ///     {"kind": "roofline", "source": "measured", "efficiency": {
  ///        "conv": {"value": 0.2, "source": "Table 3"}, "other": {"value": 0.1, "source": "assumed"}},
  ///      "memory_bandwidth_bytes_per_s": {"value": 4e9, "source": "data sheet"},
  ///      "layer_overhead_s": {"value": 1e-5, "source": "assumed"}}
  ///
  /// Efficiencies are those of a kind of work (conv_1x1, depthwise_conv, ...: see WorkKind), of all dense
  /// convolutions
  /// ("conv") or of the rest ("other"). "parts" (optional) are measured times of shares of a layer's outputs
  /// between 0 and 1, ascending, where they are not in proportion;
  /// "part_padding" may be "all_sides" instead of "none": see Profile. A regression or profile may add "run":
  /// {"constant": 842.136, "per_weight_byte": 4.49e-6}, in its unit.
  /// @throws InputError naming file, JSON pointer and value.
  static LatencyModel load(const std::filesystem::path& path);
  static LatencyModel parse(const Json& json, const std::string& file);

  const std::string& name() const { return name_; }

  /// Seconds of one layer for a batch of requests in the host's power state 0. Regressions and profiles were
  /// fitted for one request: a batch of n costs n times as much. A layer that computes only a `part` of its
  /// output takes what part_costs() says: a roofline its work and traffic and all of the overhead, a
  /// regression the part's elements, a profile the part's share of the outputs of the measured time, or,
  /// where parts were measured, what lies on the line between the two nearest.
  /// @throws InputError when the model has no entry for the host's device type or for the layer.
  double layer_s(const LayerGraph& graph, LayerId layer, const Host& host, int batch = 1,
                 const Region* part = nullptr) const;
  /// Seconds of a piece: run overhead for its weights (once a batch), then its layers one after another, of
  /// those in `parts` only a part. An empty piece takes none.
  double piece_s(const LayerGraph& graph, std::span<const LayerId> layers, const Host& host, int batch = 1,
                 const Parts& parts = {}) const;

 private:
  std::string name_, file_;
  std::map<std::string, DeviceLatency> devices_;
  /// Of the roofline: profiles are made when a host first asks for them.
  struct Catalogue {
    std::map<std::string, DeviceType> devices;
    Calibration calibration;
    std::map<std::string, std::map<std::string, DeviceLatency>> profiles;  ///< by device type and profile
  };
  std::shared_ptr<Catalogue> catalogue_;
  const DeviceLatency& device(const Host& host) const;
};

}  // namespace cdisim
