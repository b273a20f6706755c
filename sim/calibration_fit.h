#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/calibration.h"
#include "sim/layer_graph.h"
#include "sim/measured_latency.h"

namespace cdisim {

/// A measured latency and what the fit without it (leave-one-out) says.
struct LeftOut {
  const MeasuredLatency* row = nullptr;
  DeviceClass device_class = DeviceClass::kDesktopCpu;
  double predicted_s = 0;
};

struct CalibrationOptions {
  bool cross_validate = true;
  std::function<void(int done, int total)> progress;  ///< refits of the cross-validation
};

struct CalibrationResult {
  Json json;  ///< calibration.json
  std::vector<LeftOut>
      left_out;  ///< all rows of one (profile, model) left out together, profiles of two models or more
};

/// Fits the calibration, one class after another, to the rows of high and medium confidence: the minimum of
///
///     sum over rows of huber((log measured - log predicted) / 0.2) + sum over parameters of (deviation /
///     sd)^2 / 2
///
/// where every parameter is the logarithm of a factor and its deviation counts from a rough guess (class: sd
/// 1), or from 0 (ratios of a runtime 0.7, ratios of a device 0.5; scale of a runtime 0.6, of a device 0.4,
/// of a profile 0.4). So a profile with two measurements moves its scale, and what many profiles of a runtime
/// or a device share moves theirs. Gauss-Newton steps, in the space of the rows.
///
/// The cross-validation leaves out, and refits without, all rows of one (profile, model); then all of one
/// profile; then all of one device's processor. Rows of low confidence are predicted, never fitted.
/// @throws InputError for a row whose device, processor, precision or model is unknown.
CalibrationResult calibrate(std::span<const MeasuredLatency> rows, const std::string& rows_file,
                            const std::map<std::string, DeviceType>& devices,
                            const std::map<std::string, LayerGraph>& models,
                            const CalibrationOptions& options);

/// The errors of a calibration as tables: over all, by class, by device.
std::string calibration_text(const Json& calibration);

}  // namespace cdisim
