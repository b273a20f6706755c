// `cdisim calibrate`: fits the device profiles to measured latencies.
#include <fmt/format.h>

#include <algorithm>

#include "sim/calibration_fit.h"
#include "sim/catalogue.h"
#include "sim/commands.h"
#include "sim/console.h"
#include "sim/error.h"
#include "sim/report.h"

namespace cdisim {

namespace fs = std::filesystem;

namespace {

// One entry a line: a file that people can read and compare.
std::string file_text(const Json& calibration) {
  const auto entries = [](const Json& object, const std::string& indent) {
    std::string out;
    for (const auto& [key, value] : object.items()) {
      out += fmt::format("{}\n{}{}: {}", out.empty() ? "" : ",", indent, Json(key).dump(), value.dump());
    }
    return out;
  };
  std::string classes, profiles;
  for (const auto& [name, entry] : calibration["classes"].items()) {
    std::string members;
    for (const auto& [key, value] : entry.items()) {
      members += fmt::format("{}\n      {}: {{{}\n      }}", members.empty() ? "" : ",", Json(key).dump(),
                             entries(value, "        "));
    }
    classes +=
        fmt::format("{}\n    {}: {{{}\n    }}", classes.empty() ? "" : ",", Json(name).dump(), members);
  }
  for (const Json& profile : calibration["profiles"]) {
    profiles += fmt::format("{}\n    {}", profiles.empty() ? "" : ",", profile.dump());
  }
  std::string errors;
  if (calibration.contains("errors")) {
    for (const auto& [key, value] : calibration["errors"].items()) {
      errors += fmt::format("{}\n    {}: {{{}\n    }}", errors.empty() ? "" : ",", Json(key).dump(),
                            entries(value, "      "));
    }
    errors = fmt::format("  \"errors\": {{{}\n  }},\n", errors);
  }
  return fmt::format(
      "{{\n  \"schema\": 1,\n  \"source\": {},\n{}  \"classes\": {{{}\n  }},\n  \"profiles\": [{}\n  ]\n}}\n",
      calibration["source"].dump(), errors, classes, profiles);
}

std::string left_out_csv(const CalibrationResult& result) {
  std::string out =
      "device,processor,threads,precision,runtime,model,batch,measured_ms,predicted_ms,relative_error\n";
  for (const LeftOut& l : result.left_out) {
    const MeasuredLatency& m = *l.row;
    out += fmt::format("{},{},{},{},{},{},{},{:.6g},{:.6g},{:.4f}\n", m.device, m.processor,
                       m.threads == 0 ? "" : std::to_string(m.threads), m.precision, csv_cell(m.runtime),
                       m.model, m.batch, 1000 * m.latency_s, 1000 * l.predicted_s,
                       l.predicted_s / m.latency_s - 1);
  }
  return out;
}

}  // namespace

int calibrate_command(const CalibrateOptions& options) {
  if (options.report) {
    const Json json = calibration().json();
    if (options.json) {
      print(json.value("errors", Json::object()));
    } else {
      print(calibration_text(json));
    }
    return 0;
  }
  if (options.fast && !options.left_out.empty()) {
    throw InputError("calibrate", "--fast leaves nothing out: there is no --left-out to write");
  }
  for (const fs::path* path : {&options.out, &options.left_out}) {
    if (!path->empty()) require_writable(*path);
  }
  const fs::path hardware = hardware_file();
  const fs::path file =
      options.measured.empty() ? hardware.parent_path() / "measured_latency.csv" : options.measured;
  const std::vector<MeasuredLatency> rows = load_measured_latencies(file);
  if (std::ranges::all_of(rows,
                          [](const MeasuredLatency& row) { return row.confidence == Confidence::kLow; })) {
    throw InputError(file.string(), "holds no row of high or medium confidence to fit to");
  }
  const std::map<std::string, DeviceType> devices = load_hardware(hardware);
  std::map<std::string, LayerGraph> models;
  for (LayerGraph& graph : all_models()) models.emplace(graph.name(), std::move(graph));

  CalibrationResult result;
  {
    ProgressBar bar("calibrate", options.quiet);
    result = calibrate(rows, file.string(), devices, models,
                       {.cross_validate = !options.fast,
                        .progress = [&bar](int done, int total) { bar.update(done, total); }});
  }
  Calibration::parse(result.json, "calibration");  // what is written can be read
  if (!options.out.empty()) write_file(options.out, file_text(result.json));
  if (!options.left_out.empty()) write_file(options.left_out, left_out_csv(result));
  if (options.json) {
    print(result.json);
  } else if (!options.quiet) {
    print(calibration_text(result.json));
  }
  return 0;
}

}  // namespace cdisim
