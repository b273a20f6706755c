#include "sim/commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <sstream>
#include <system_error>

#include "sim/error.h"
#include "sim/experiment.h"
#include "sim/hardware.h"
#include "sim/report.h"
#include "sim/resources.h"
#include "sim/sweep.h"
#include "sim/units.h"

namespace cdisim {

namespace fs = std::filesystem;

namespace {

// Flushed at once, so that a full disk does not look like success.
void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw std::system_error(errno, std::generic_category(), "standard output");
  }
}
void print(const Json& json) {
  print(json.dump(2) + "\n");
}

// Failed runs, one line each, and the exit code that they make.
int report_failures(const Experiment& experiment, const SweepResults& results) {
  int code = 0;
  for (const RunFailure& failure : results.failures) {
    const Run& run = experiment.runs()[failure.run];
    fmt::print(stderr, "cdisim: error: {}: policy {} at {}: {}\n", experiment.name(), run.policy,
               run.point.dump(), failure.message);
    if (!failure.input_error) code = 1;
  }
  return code == 0 && !results.failures.empty() ? 2 : code;
}

std::map<std::string, DeviceType> devices() {
  const std::vector<fs::path> files = list_resources(Resource::kHardware);
  return files.empty() ? std::map<std::string, DeviceType>{} : load_hardware(files.front());
}

std::string rate(double flop_per_s) {
  return fmt::format("{:.4g} Gflop/s", flop_per_s / 1e9);
}

std::string table_or_json(const Json& list, bool json,
                          const std::vector<std::pair<std::string, std::string>>& columns) {
  if (json) return list.dump(2) + "\n";
  std::vector<std::string> head;
  for (const auto& [key, title] : columns) head.push_back(title);
  std::vector<std::vector<std::string>> rows;
  for (const Json& item : list) {
    rows.emplace_back();
    for (const auto& [key, title] : columns) {
      const Json& value = item[key];
      rows.back().push_back(value.is_string()   ? value.get<std::string>()
                            : value.is_number() ? fmt::format("{:.6g}", value.get<double>())
                                                : "-");
    }
  }
  return format_table(head, rows);
}

// Wraps prose to the terminal.
std::string wrapped(const std::string& text, const std::string& indent, std::size_t width = kTerminalWidth) {
  std::string out, line = indent;
  std::size_t from = 0;
  while (from < text.size()) {
    const std::size_t blank = std::min(text.find(' ', from), text.size());
    const std::string word = text.substr(from, blank - from);
    if (line.size() > indent.size() && line.size() + 1 + word.size() > width) {
      out += line + "\n";
      line = indent;
    }
    line += (line.size() > indent.size() ? " " : "") + word;
    from = blank + 1;
  }
  return out + line + "\n";
}

// Throws where `path` cannot be written; writes nothing.
void require_writable(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) throw InputError(path.string(), "cannot be written: it is a folder");
  fs::path folder = fs::absolute(path).parent_path();
  while (!fs::exists(folder, error) && folder.has_relative_path()) folder = folder.parent_path();
  if (!fs::is_directory(folder, error) || access(folder.c_str(), W_OK) != 0) {
    throw InputError(path.string(),
                     fmt::format("cannot be written: {} is no folder to write into", folder.string()));
  }
}

bool describe_policy(const std::string& name) {
  for (const PolicyFacts* p : registered_policies()) {
    if (p->name != name) continue;
    print(fmt::format("policy {}: {}\n", p->name, p->title));
    if (!p->about.empty()) print(wrapped(p->about, "  "));
    if (!p->source.empty()) print(wrapped("Source: " + p->source, "  "));
    // The meaning takes what the other columns leave, on as many lines as it needs.
    constexpr std::size_t kMeaningWidth = 56;
    std::vector<std::vector<std::string>> rows;
    for (const ParameterFacts& parameter : p->parameters) {
      std::string about = parameter.about;
      if (!parameter.choices.empty()) about += fmt::format(" ({})", fmt::join(parameter.choices, ", "));
      std::istringstream lines(wrapped(about, "", kMeaningWidth));
      std::vector<std::string> cells{parameter.name, parameter.type, parameter.standard.dump()};
      for (std::string line; std::getline(lines, line); cells.assign(3, "")) {
        rows.push_back(cells);
        rows.back().push_back(line);
      }
    }
    if (!rows.empty()) print("\n" + format_table({"parameter", "type", "default", "meaning"}, rows));
    return true;
  }
  return false;
}

bool describe_model(const fs::path& path) {
  const LayerGraph graph = LayerGraph::load(path);
  print(fmt::format("model {}: {} layers, {:.0f} parameters, {:.0f} MACs, {} of weights ({})\n", graph.name(),
                    graph.size(), graph.parameters(), graph.macs(),
                    format_quantity(graph.weight_bytes(), Dimension::kData), graph.precision()));
  print(wrapped("Source: " + graph.source(), "  "));
  std::vector<std::vector<std::string>> rows;
  for (std::size_t e = 0; e < graph.exits().size(); ++e) {
    const Exit& exit = graph.exits()[e];
    rows.push_back({exit.name, fmt::format("{}", graph.exit_layers(static_cast<int>(e)).size()),
                    exit.accuracy ? fmt::format("{:.1f}%", 100 * *exit.accuracy) : "-"});
  }
  print("\n" + format_table({"exit", "layers", "accuracy"}, rows));
  rows.clear();
  for (const Layer& layer : graph.layers()) {
    rows.push_back({layer.name, std::string(layer_kind_name(layer.kind)),
                    fmt::format("{}", fmt::join(layer.output_shape, "x")), fmt::format("{:.0f}", layer.macs),
                    fmt::format("{:.0f}", layer.weight_bytes), fmt::format("{:.0f}", layer.output_bytes)});
  }
  print("\n" + format_table({"layer", "kind", "output", "MACs", "weight bytes", "output bytes"}, rows));
  return true;
}

bool describe_platform(const fs::path& path) {
  const Platform platform = Platform::load(path);
  print(fmt::format("platform {} ({})\n\n", platform.name(), platform.file()));
  std::vector<std::vector<std::string>> rows;
  for (const Host& host : platform.hosts()) {
    const PowerState& power = host.power_states.front();
    rows.push_back({host.name, std::string(tier_name(host.tier)),
                    host.device_type.empty() ? "-" : host.device_type, fmt::format("{}", host.cores),
                    rate(power.speed_flop_per_s),
                    host.memory_bytes ? format_quantity(*host.memory_bytes, Dimension::kData) : "-",
                    fmt::format("{:.4g}..{:.4g} W", power.idle_w, power.all_cores_w),
                    fmt::format("{:.3g}", host.price_usd_per_s * 3600)});
  }
  print(format_table({"host", "tier", "device", "cores", "speed", "memory", "power", "USD/h"}, rows));
  rows.clear();
  for (const Link& link : platform.links()) {
    rows.push_back({link.name, format_quantity(link.bandwidth_bytes_per_s, Dimension::kBandwidth),
                    format_quantity(link.latency_s, Dimension::kTime),
                    link.sharing == Sharing::kShared ? "shared" : "fatpipe",
                    fmt::format("{:.3g}", link.price_usd_per_byte * 1e9)});
  }
  print("\n" + format_table({"link", "bandwidth", "latency", "sharing", "USD/GB"}, rows));
  return true;
}

bool describe_device(const std::string& name, const DeviceType& device) {
  print(fmt::format("device {}: {}\n", name, device.title));
  const auto line = [](const char* what, const std::optional<Measured>& m) {
    if (m) print(fmt::format("  {} {:.6g}\n{}", what, m->value, wrapped(m->source, "      ")));
  };
  line("peak, flop/s:", device.peak_flop_per_s);
  line("memory, byte:", device.memory_bytes);
  line("memory bandwidth, byte/s:", device.memory_bandwidth_bytes_per_s);
  for (const auto& [kind, m] : device.efficiency) line(fmt::format("efficiency, {}:", kind).c_str(), m);
  line("overhead per layer, s:", device.layer_overhead_s);
  line("idle, W:", device.idle_w);
  line("busy, W:", device.busy_w);
  return true;
}

bool describe_experiment(const fs::path& path) {
  const Experiment experiment = Experiment::load(path, std::nullopt);
  print(wrapped(fmt::format("experiment {}: {}", experiment.name(), experiment.title()), ""));
  print(fmt::format("  {} runs, {} repetitions each, {} published figures\n  {}\n", experiment.runs().size(),
                    experiment.repetitions(), experiment.published().size(), path.string()));
  return true;
}

const std::vector<std::string> kListKinds{"policies", "models", "devices", "platforms", "experiments"};

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

int list_command(const std::string& kind, bool json) {
  Json list = Json::array();
  if (kind == "policies") {
    for (const PolicyFacts* p : registered_policies())
      list.push_back({{"name", p->name}, {"title", p->title}, {"source", p->source}});
    print(table_or_json(list, json, {{"name", "policy"}, {"title", "decides"}}));
  } else if (kind == "models") {
    for (const fs::path& path : list_resources(Resource::kModel)) {
      const LayerGraph graph = LayerGraph::load(path);
      list.push_back({{"name", graph.name()},
                      {"layers", graph.size()},
                      {"exits", graph.exits().size()},
                      {"parameters", graph.parameters()},
                      {"macs", graph.macs()},
                      {"weight_bytes", graph.weight_bytes()}});
    }
    print(table_or_json(list, json,
                        {{"name", "model"},
                         {"layers", "layers"},
                         {"exits", "exits"},
                         {"parameters", "parameters"},
                         {"macs", "MACs"},
                         {"weight_bytes", "weight bytes"}}));
  } else if (kind == "devices") {
    for (const auto& [name, device] : devices()) {
      list.push_back(
          {{"name", name}, {"title", device.title}, {"peak_flop_per_s", device.peak_flop_per_s.value}});
    }
    print(table_or_json(list, json,
                        {{"name", "device"}, {"title", "machine"}, {"peak_flop_per_s", "peak flop/s"}}));
  } else if (kind == "platforms") {
    for (const fs::path& path : list_resources(Resource::kPlatform)) {
      const Platform platform = Platform::load(path);
      list.push_back({{"name", platform.name()},
                      {"hosts", platform.host_count()},
                      {"links", platform.link_count()},
                      {"file", path.string()}});
    }
    print(table_or_json(list, json,
                        {{"name", "platform"}, {"hosts", "hosts"}, {"links", "links"}, {"file", "file"}}));
  } else if (kind == "experiments") {
    for (const fs::path& path : list_resources(Resource::kExperiment)) {
      const Experiment experiment = Experiment::load(path, std::nullopt);
      list.push_back({{"name", path.stem().string()},
                      {"title", experiment.title()},
                      {"runs", experiment.runs().size()},
                      {"file", path.string()}});
    }
    print(table_or_json(list, json, {{"name", "experiment"}, {"runs", "runs"}, {"title", "title"}}));
  } else {
    throw InputError("list", fmt::format("\"{}\" is unknown{}", kind, valid_choices(kind, kListKinds)));
  }
  return 0;
}

int describe_command(const std::string& name) {
  bool found = describe_policy(name);
  std::vector<std::string> names;
  for (const PolicyFacts* p : registered_policies()) names.push_back(p->name);
  const auto each = [&](Resource kind, auto describe) {
    for (const fs::path& path : list_resources(kind)) {
      names.push_back(path.stem().string());
      if (path.stem() == name) found = describe(path) || found;
    }
  };
  each(Resource::kModel, describe_model);
  each(Resource::kPlatform, describe_platform);
  each(Resource::kExperiment, describe_experiment);
  for (const auto& [key, device] : devices()) {
    names.push_back(key);
    if (key == name) found = describe_device(key, device) || found;
  }
  if (!found)
    throw InputError("describe", fmt::format("nothing is named \"{}\"{}", name, valid_choices(name, names)));
  return 0;
}

int validate_command(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    std::string what;
    if (path.empty()) throw InputError("validate", "\"\": no such file");
    if (fs::path(path).extension() == ".xml") {
      const Platform platform = Platform::load(path);
      what = fmt::format("platform, {} hosts, {} links", platform.host_count(), platform.link_count());
    } else {
      const Json json = read_json_file(path);
      const JsonReader top(json, path);
      if (top.has("policies")) {
        what = fmt::format("experiment, {} runs", Experiment::load(path, std::nullopt).runs().size());
      } else if (top.has("layers")) {
        what = fmt::format("layer graph, {} layers", LayerGraph::load(path).size());
      } else if (top.has("devices") && top.has("name")) {
        what = fmt::format("latency model {}", LatencyModel::load(path).name());
      } else if (top.has("devices")) {
        what = fmt::format("device catalogue, {} devices", load_hardware(path).size());
      } else {
        throw InputError(path,
                         "is no experiment (\"policies\"), layer graph (\"layers\"), latency model or device "
                         "catalogue (\"devices\")");
      }
    }
    print(fmt::format("{}: valid: {}\n", path, what));
  }
  return 0;
}

}  // namespace cdisim
