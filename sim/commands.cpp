#include "sim/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "sim/console.h"
#include "sim/error.h"
#include "sim/experiment.h"
#include "sim/hardware.h"
#include "sim/measured_latency.h"
#include "sim/network.h"
#include "sim/report.h"
#include "sim/resources.h"
#include "sim/sweep.h"
#include "sim/uav_models.h"

namespace cdisim {

namespace fs = std::filesystem;

namespace {

// Failed runs, one line each, and the exit code that they make.
int report_failures(const Experiment& experiment, const SweepResults& results) {
  int code = 0;
  for (const RunFailure& failure : results.failures) {
    fmt::print(stderr, "cdisim: error: {}\n", failure_text(experiment, failure));
    if (!failure.input_error) code = 1;
  }
  return code == 0 && !results.failures.empty() ? 2 : code;
}

}  // namespace

int run_command(const RunOptions& options) {
  const fs::path file = find_resource(Resource::kExperiment, options.experiment, "", "experiment");
  const Experiment experiment = Experiment::load(file, options.seed);
  // Better known now than after hours of simulation.
  if (!options.out.empty()) require_writable(options.out / "results.json");
  if (!options.trace.empty()) require_writable(options.trace);
  SweepResults results;
  {
    ProgressBar bar(experiment.name(), options.quiet);
    results = run_sweep(experiment, {.jobs = options.jobs,
                                     .requests = !options.out.empty(),
                                     .chrome_trace = !options.trace.empty(),
                                     .progress = [&bar](int done, int total) { bar.update(done, total); }});
  }
  // Nothing to report but the errors.
  const bool all_failed = std::all_of(results.runs.begin(), results.runs.end(),
                                      [](const Json& run) { return run.contains("error"); });
  if (all_failed) return report_failures(experiment, results);
  const Json json = results_json(experiment, results);
  if (!options.out.empty()) {
    write_file(options.out / "results.json", json.dump(2) + "\n");
    write_file(options.out / "requests.csv", results.requests_csv);
  }
  if (!options.trace.empty())
    write_file(options.trace, Json{{"traceEvents", results.trace_events}}.dump() + "\n");
  if (options.json) {
    print(json);
  } else if (!options.quiet) {
    print(report_text(experiment.title(), json));
  }
  return report_failures(experiment, results);
}

int check_command(const std::vector<std::string>& paths, int jobs, bool json, bool quiet) {
  std::vector<fs::path> files;
  for (const std::string& path : paths) {
    if (!fs::is_directory(path)) {
      files.push_back(find_resource(Resource::kExperiment, path, "", "check"));
      continue;
    }
    std::vector<fs::path> inside;
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().extension() == ".json") inside.push_back(entry.path().lexically_normal());
    }
    if (inside.empty()) throw InputError(path, "holds no experiment");
    std::sort(inside.begin(), inside.end());
    files.insert(files.end(), inside.begin(), inside.end());
  }

  Json figures = Json::array();
  int code = 0;
  for (const fs::path& file : files) {
    const Experiment experiment = Experiment::load(file, std::nullopt);
    ProgressBar bar(experiment.name(), quiet);
    const SweepResults results = run_sweep(
        experiment, {.jobs = jobs, .progress = [&bar](int done, int total) { bar.update(done, total); }});
    if (report_failures(experiment, results) != 0) code = 1;
    const Json compared = results_json(experiment, results)["figures"];
    for (const Json& figure : compared) figures.push_back(figure);
  }
  std::int64_t reproduced = 0, checked = 0;
  for (const Json& figure : figures) {
    reproduced += figure["status"] == "reproduced" ? 1 : 0;
    checked += figure["status"] != "unchecked" ? 1 : 0;
    if (figure["status"] != figure["expected"]) code = 1;
  }
  if (json) {
    print(Json{{"figures", figures}, {"reproduced", reproduced}, {"total", checked}});
  } else {
    if (!quiet) print(figures_text(figures));
    print(figures_summary(figures));
  }
  return code;
}

int validate_command(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    std::string what;
    if (path.empty()) throw InputError("validate", "\"\": no such file");
    if (fs::path(path).extension() == ".csv") {
      what = fmt::format("measured latencies, {} rows", load_measured_latencies(path).size());
    } else if (fs::path(path).extension() == ".xml") {
      const Platform platform = Platform::load(path);
      what = fmt::format("platform, {} hosts, {} links", platform.host_count(), platform.link_count());
    } else {
      const Json json = read_json_file(path);
      const JsonReader top(json, path);
      if (top.has("policies")) {
        what = fmt::format("experiment, {} runs", Experiment::load(path, std::nullopt).runs().size());
      } else if (top.has("layers")) {
        what = fmt::format("layer graph, {} layers", LayerGraph::load(path).size());
      } else if (top.has("classes")) {
        what = fmt::format("calibration, {} profiles", Calibration::load(path).profiles().size());
      } else if (top.has("networks")) {
        what = fmt::format("network catalogue, {} networks", load_networks(path).size());
      } else if (top.has("rotary_wings")) {
        what = fmt::format("UAV models, {} environments", load_uav_models(path).environments.size());
      } else if (top.has("devices") && top.has("name")) {
        what = fmt::format("latency model {}", LatencyModel::load(path).name());
      } else if (top.has("devices")) {
        what = fmt::format("device catalogue, {} devices", load_hardware(path).size());
      } else {
        throw InputError(
            path,
            "is no experiment (\"policies\"), layer graph (\"layers\"), latency model or device "
            "catalogue (\"devices\"), network catalogue (\"networks\"), UAV models (\"rotary_wings\") or "
            "calibration (\"classes\")");
      }
    }
    print(fmt::format("{}: valid: {}\n", path, what));
  }
  return 0;
}

}  // namespace cdisim
