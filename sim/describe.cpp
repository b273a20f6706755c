#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "sim/catalogue.h"
#include "sim/commands.h"
#include "sim/console.h"
#include "sim/error.h"
#include "sim/experiment.h"
#include "sim/policy.h"
#include "sim/resources.h"
#include "sim/units.h"

namespace cdisim {

namespace fs = std::filesystem;

namespace {

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

std::string millions(double count) {
  return count < 1e9 ? fmt::format("{:.4g} M", count / 1e6) : fmt::format("{:.4g} G", count / 1e9);
}

std::string megabytes(double bytes) {
  return fmt::format("{:.4g}", bytes / (1 << 20));
}

std::string window(const Layer& layer) {
  if (layer.kernel == std::array<int, 2>{1, 1} && layer.stride == std::array<int, 2>{1, 1}) return "-";
  return fmt::format("{}/{}", fmt::join(layer.kernel, "x"), layer.stride[0]);
}

bool describe_model(const std::string& name) {
  const LayerGraph graph = find_model(name, "describe");
  print(wrapped(fmt::format("model {}: {} layers, {:.0f} parameters, {:.0f} MACs, {} of weights ({})",
                            graph.name(), graph.size(), graph.parameters(), graph.macs(),
                            format_quantity(graph.weight_bytes(), Dimension::kData), graph.precision()),
                ""));
  print(wrapped("Source: " + graph.source(), "  "));
  if (const auto& row = graph.table_1()) {
    print(wrapped(fmt::format("Table 1 of the survey, {}: {:.0f} parameters, {:g} MB, {:g} GFLOPs. {}",
                              row->row, row->parameters, row->size_mb, row->gflops, row->note),
                  "  "));
  }
  std::vector<std::vector<std::string>> rows;
  for (std::size_t e = 0; e < graph.exits().size(); ++e) {
    const Exit& exit = graph.exits()[e];
    rows.push_back({exit.name, fmt::format("{}", graph.exit_layers(static_cast<int>(e)).size()),
                    exit.accuracy ? fmt::format("{:.1f}%", 100 * *exit.accuracy) : "-"});
  }
  print("\n" + format_table({"exit", "layers", "accuracy"}, rows));
  rows.clear();
  double output_bytes = 0;
  for (const Layer& layer : graph.layers()) {
    rows.push_back({layer.name, std::string(layer_kind_name(layer.kind)), window(layer),
                    fmt::format("{}", fmt::join(layer.output_shape, "x")), fmt::format("{:.0f}", layer.macs),
                    fmt::format("{:.0f}", layer.weight_bytes), fmt::format("{:.0f}", layer.output_bytes)});
    output_bytes += layer.output_bytes;
  }
  rows.push_back({"total", fmt::format("{} layers", graph.size()), "", "",
                  fmt::format("{:.0f}", graph.macs()), fmt::format("{:.0f}", graph.weight_bytes()),
                  fmt::format("{:.0f}", output_bytes)});
  print("\n" +
        format_table({"layer", "kind", "window", "output", "MACs", "weight bytes", "output bytes"}, rows));
  if (graph.state_bytes() > 0)
    print(fmt::format("state kept between calls: {:.0f} byte\n", graph.state_bytes()));
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
  const auto bandwidth = [](double bytes_per_s) {
    return format_quantity(bytes_per_s, Dimension::kBandwidth);
  };
  constexpr const char* kSharing[] = {"shared", "fatpipe", "Wi-Fi"};
  for (const Link& link : platform.links()) {
    const std::vector<double>& rates = link.rates_bytes_per_s;
    rows.push_back({link.name,
                    rates.size() < 2 ? bandwidth(link.bandwidth_bytes_per_s)
                                     : bandwidth(rates.front()) + ".." + bandwidth(rates.back()),
                    format_quantity(link.latency_s, Dimension::kTime),
                    kSharing[static_cast<std::size_t>(link.sharing)],
                    fmt::format("{:.3g}", link.price_usd_per_byte * 1e9)});
  }
  print("\n" + format_table({"link", "bandwidth", "latency", "sharing", "USD/GB"}, rows));
  return true;
}

void describe_processor(const std::string& key, const Processor& processor) {
  const auto line = [](const std::string& what, const std::optional<Measured>& m) {
    if (m) print(fmt::format("    {} {:.6g}\n{}", what, m->value, wrapped(m->source, "        ")));
  };
  print(fmt::format("\n  {}: {} ({})\n", key, processor.title,
                    device_class_names()[static_cast<std::size_t>(processor.device_class)]));
  for (const auto& [precision, peak] : processor.peak_flop_per_s) line(precision + " peak, flop/s:", peak);
  for (const auto& [precision, peak] : processor.peak_op_per_s) line(precision + " peak, op/s:", peak);
  line("memory bandwidth, byte/s:", processor.memory_bandwidth_bytes_per_s);
  line("weights held on the chip, byte:", processor.weight_cache_bytes);
  line("link of the other weights, byte/s:", processor.weight_link_bytes_per_s);
  line("idle, W:", processor.idle_w);
  line("busy, W:", processor.busy_w);
}

bool describe_device(const DeviceType& device) {
  print(fmt::format("device {}: {}\n", device.name, device.title));
  if (!device.table_2_row.empty()) {
    print(
        wrapped(fmt::format("Table 2 of the survey, {}: {}", device.table_2_row, device.table_2_note), "  "));
  }
  const auto line = [](const char* what, const std::optional<Measured>& m) {
    if (m) print(fmt::format("  {} {:.6g}\n{}", what, m->value, wrapped(m->source, "      ")));
  };
  line("memory, byte:", device.memory_bytes);
  line("memory bandwidth, byte/s:", device.memory_bandwidth_bytes_per_s);
  line("price, USD/h:", device.price_usd_per_hour);
  for (const auto& [key, processor] : device.processors) describe_processor(key, processor);

  const Calibration known = calibration();
  const DeviceProfile usual = known.find(device, {}, "describe");
  print("\n" + wrapped(fmt::format("Usual profile: {}; {}", usual.title(), usual.basis_text()), ""));
  std::vector<std::vector<std::string>> rows;
  for (const Calibration::Profile& p : known.profiles()) {
    if (p.device != device.name && p.device != device.same_chip_as) continue;
    rows.push_back({p.processor, p.precision, p.runtime, p.threads == 0 ? "-" : std::to_string(p.threads),
                    std::to_string(p.models), std::to_string(p.measurements),
                    p.errors ? fmt::format("{:.0f}%", 100 * p.errors->median) : "-",
                    p.errors ? fmt::format("{:.0f}%", 100 * p.errors->p90) : "-"});
  }
  if (!rows.empty()) {
    print("\nMeasured profiles, with the leave-one-out errors of their latencies:\n" +
          format_table({"processor", "precision", "runtime", "threads", "models", "rows", "median", "90%"},
                       rows));
  }
  return true;
}

bool describe_experiment(const fs::path& path) {
  const Experiment experiment = Experiment::load(path, std::nullopt);
  print(wrapped(fmt::format("experiment {}: {}", experiment.name(), experiment.title()), ""));
  print(fmt::format("  {} runs, {} repetitions each, {} published figures\n  {}\n", experiment.runs().size(),
                    experiment.repetitions(), experiment.published().size(), path.string()));
  return true;
}

// The models of the survey's Table 1 stand beside what the table prints.
void list_models(bool json) {
  Json list = Json::array();
  std::vector<std::vector<std::string>> rows;
  std::string notes;
  for (const LayerGraph& graph : all_models()) {
    Json item{{"name", graph.name()},          {"layers", graph.size()},
              {"exits", graph.exits().size()}, {"parameters", graph.parameters()},
              {"macs", graph.macs()},          {"weight_bytes", graph.weight_bytes()}};
    rows.push_back({graph.name(), std::to_string(graph.size()), fmt::format("{:.0f}", graph.parameters()),
                    millions(graph.macs()), megabytes(graph.weight_bytes())});
    if (const auto& row = graph.table_1()) {
      item["table_1"] = {{"row", row->row},
                         {"parameters", row->parameters},
                         {"size_mb", row->size_mb},
                         {"gflops", row->gflops},
                         {"note", row->note}};
      rows.back().insert(rows.back().end(),
                         {fmt::format("{:.0f}", row->parameters), fmt::format("{:g}", row->size_mb),
                          fmt::format("{:g}", row->gflops)});
      notes += wrapped(fmt::format("{}: {}", graph.name(), row->note), "  ");
    } else {
      rows.back().insert(rows.back().end(), {"", "", ""});
    }
    list.push_back(std::move(item));
  }
  if (json) return print(list);
  print(
      format_table({"model", "layers", "parameters", "MACs", "MB", "Table 1: count", "MB", "GFLOPs"}, rows));
  print("\nMB: 2^20 byte of weights. What Table 1 means, and where it differs:\n" + notes);
}

void list_devices(bool json) {
  Json list = Json::array();
  std::vector<std::vector<std::string>> rows;
  const Calibration known = calibration();
  for (const auto& [name, device] : device_catalogue()) {
    const DeviceProfile usual = known.find(device, {}, "list");
    std::vector<std::string> processors;
    for (const auto& [key, unused] : device.processors) processors.push_back(key);
    list.push_back({{"name", name},
                    {"title", device.title},
                    {"processors", processors},
                    {"default_processor", device.default_processor},
                    {"default_precision", device.default_precision},
                    {"peak_flop_per_s", device.speed_flop_per_s()},
                    {"memory_bytes", device.memory_bytes ? Json(device.memory_bytes->value) : Json()},
                    {"table_2", device.table_2_row.empty() ? Json() : Json(device.table_2_row)},
                    {"calibration", usual.basis_text()}});
    const bool whole = device.default_precision.starts_with("int");
    rows.push_back(
        {name, fmt::format("{}", fmt::join(processors, ",")), device.default_precision,
         fmt::format("{:.4g} {}", device.speed_flop_per_s() / 1e9, whole ? "Gop/s" : "Gflop/s"),
         device.memory_bytes ? format_quantity(device.memory_bytes->value, Dimension::kData) : "-",
         device.table_2_row,
         usual.basis == ProfileBasis::kMeasured ? fmt::format("{} models", usual.models) : "inherited"});
  }
  if (json) return print(list);
  print(format_table({"device", "processors", "usual", "peak", "memory", "Table 2", "measured"}, rows));
}

const std::vector<std::string> kListKinds{"policies", "models", "devices", "platforms", "experiments"};

}  // namespace

int list_command(const std::string& kind, bool json) {
  Json list = Json::array();
  if (kind == "policies") {
    for (const PolicyFacts* p : registered_policies())
      list.push_back({{"name", p->name}, {"title", p->title}, {"source", p->source}});
    print(table_or_json(list, json, {{"name", "policy"}, {"title", "decides"}}));
  } else if (kind == "models") {
    list_models(json);
  } else if (kind == "devices") {
    list_devices(json);
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
  each(Resource::kModel, [&](const fs::path& path) { return describe_model(path.string()); });
  each(Resource::kPlatform, describe_platform);
  each(Resource::kExperiment, describe_experiment);
  const std::map<std::string, DeviceType> devices = device_catalogue();
  for (const auto& [key, device] : devices) {
    names.push_back(key);
    if (key == name) found = describe_device(device) || found;
  }
  // Names as people write them: "Raspberry Pi-4B", "VGG-16", a file.
  if (!found) {
    for (const auto& attempt : {+[](const std::string& n) {
                                  return describe_device(find_device(device_catalogue(), n, "describe"));
                                },
                                +[](const std::string& n) { return describe_model(n); }}) {
      try {
        found = attempt(name);
      } catch (const InputError&) {
        continue;  // the error below names everything that could be meant
      }
      if (found) break;
    }
  }
  if (!found)
    throw InputError("describe", fmt::format("nothing is named \"{}\"{}", name, valid_choices(name, names)));
  return 0;
}

}  // namespace cdisim
