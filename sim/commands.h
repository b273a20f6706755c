#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sim/calibration.h"
#include "sim/platform_generator.h"

namespace cdisim {

/// Options of `cdisim EXPERIMENT`.
struct RunOptions {
  std::string experiment;       ///< path or name
  std::filesystem::path out;    ///< folder for results.json and requests.csv; empty: none
  std::filesystem::path trace;  ///< Chrome trace-event file; empty: none
  std::optional<std::uint64_t> seed;
  int jobs = 1;
  bool json = false;
  bool quiet = false;
};

/// Options of `cdisim latency`.
struct LatencyOptions {
  std::string model, device;
  ProfileQuery query;
  int batch = 1;
  bool layers = false;  ///< one line a layer
  bool all = false;     ///< every model, or this one, on every device
  bool json = false;
};

/// Options of `cdisim calibrate`.
struct CalibrateOptions {
  std::filesystem::path measured;  ///< measured latencies; empty: the bundled ones
  std::filesystem::path out;       ///< calibration to write; empty: none
  std::filesystem::path left_out;  ///< table of measured and predicted latencies to write; empty: none
  bool fast = false;               ///< no cross-validation
  bool report = false;             ///< only the errors of the calibration in use
  bool json = false, quiet = false;
};

// Each command returns the program's exit code and throws InputError for the user's mistakes.

/// Runs an experiment: 0, or 2 / 1 where some run failed for its input / otherwise (the other runs are
/// reported).
int run_command(const RunOptions& options);

/// Runs experiments and sets their published figures beside the simulated ones; 1 when a figure left its
/// recorded status or a run failed. A folder stands for its experiments.
int check_command(const std::vector<std::string>& paths, int jobs, bool json, bool quiet);

/// Lists policies, models, devices, platforms or experiments.
int list_command(const std::string& kind, bool json);

/// Tells what is known of anything that has a name.
int describe_command(const std::string& name);

/// Tells how long a model takes on a device.
int latency_command(const LatencyOptions& options);

/// Fits the device profiles to measured latencies and prints the errors of leave-one-out.
int calibrate_command(const CalibrateOptions& options);

/// Writes a platform, to standard output where `out` is empty.
int platform_command(const PlatformOptions& options, const std::filesystem::path& out);

/// Checks a platform, layer graph, latency model, device catalogue or experiment file.
int validate_command(const std::vector<std::string>& paths);

/// Runs experiments for another program, which holds the other end of the socket on standard input, until
/// that end is closed: see serve_command.cpp.
int serve_command();

}  // namespace cdisim
