// `cdisim latency`: how long a model takes on a device alone.
#include <fmt/format.h>

#include <algorithm>

#include "sim/catalogue.h"
#include "sim/commands.h"
#include "sim/console.h"
#include "sim/error.h"
#include "sim/units.h"

namespace cdisim {

namespace {

struct LayerLatency {
  const Layer* layer;
  double latency_s;
};

struct ModelLatency {
  double run_s = 0, latency_s = 0;
  std::vector<LayerLatency> layers;
};

ModelLatency latency_of(const LayerGraph& graph, const DeviceProfile& profile, int batch) {
  ModelLatency out;
  const auto ids = graph.exit_layers(static_cast<int>(graph.exits().size()) - 1);
  out.run_s = out.latency_s = profile.roofline.run_s(graph, ids);
  for (const LayerId id : ids) {
    out.layers.push_back(
        {&graph.layer(id), profile.roofline.layer_s(graph, id, profile.speed_flop_per_s, batch)});
    out.latency_s += out.layers.back().latency_s;
  }
  return out;
}

Json number_or_null(std::optional<double> value) {
  return value ? Json(*value) : Json();
}

std::optional<double> energy_of(const ModelLatency& latency, const DeviceProfile& profile) {
  return profile.busy_w ? std::optional(*profile.busy_w * latency.latency_s) : std::nullopt;
}

Json latency_json(const LayerGraph& graph, const DeviceProfile& profile, int batch, bool layers,
                  const std::optional<ErrorStatistics>& error) {
  const ModelLatency latency = latency_of(graph, profile, batch);
  Json out{{"model", graph.name()},
           {"device", profile.device},
           {"batch", batch},
           {"latency_s", latency.latency_s},
           {"throughput_per_s", batch / latency.latency_s},
           {"energy_j", number_or_null(energy_of(latency, profile))},
           {"run_overhead_s", latency.run_s},
           {"profile",
            {{"processor", profile.processor},
             {"precision", profile.precision},
             {"runtime", profile.runtime.empty() ? Json() : Json(profile.runtime)},
             {"threads", profile.threads == 0 ? Json() : Json(profile.threads)},
             {"class", device_class_names()[static_cast<std::size_t>(profile.device_class)]},
             {"basis", profile.basis_text()},
             {"models", profile.models}}},
           {"expected_error", error ? to_json(*error) : Json()}};
  if (layers) {
    out["layers"] = Json::array();
    for (const LayerLatency& l : latency.layers) {
      out["layers"].push_back({{"name", l.layer->name},
                               {"kind", layer_kind_name(l.layer->kind)},
                               {"macs", l.layer->macs},
                               {"latency_s", l.latency_s}});
    }
  }
  return out;
}

std::string milliseconds(double seconds) {
  return fmt::format("{:.4g}", seconds * 1000);
}

void print_latency(const LayerGraph& graph, const DeviceProfile& profile, const LatencyOptions& options,
                   const std::optional<ErrorStatistics>& error) {
  const ModelLatency latency = latency_of(graph, profile, options.batch);
  print(fmt::format("{} on {}: {} for a batch of {}, {:.4g} inferences a second\n", graph.name(),
                    profile.device, format_quantity(latency.latency_s, Dimension::kTime), options.batch,
                    options.batch / latency.latency_s));
  print(fmt::format("  profile: {}; {}\n", profile.title(), profile.basis_text()));
  if (const auto energy = energy_of(latency, profile)) {
    print(fmt::format("  energy:  {:.4g} J at {:.4g} W\n", *energy, *profile.busy_w));
  }
  if (error) {
    print(fmt::format(
        "  error to expect: {:.0f}% in the median, {:.0f}% at the 90th percentile ({} comparisons)\n",
        100 * error->median, 100 * error->p90, error->count));
  }
  if (!options.layers) return;
  std::vector<std::vector<std::string>> rows{{"(run)", "", "", milliseconds(latency.run_s)}};
  for (const LayerLatency& l : latency.layers) {
    rows.push_back({l.layer->name, std::string(layer_kind_name(l.layer->kind)),
                    fmt::format("{:.0f}", l.layer->macs), milliseconds(l.latency_s)});
  }
  print("\n" + format_table({"layer", "kind", "MACs", "ms"}, rows));
}

// Models across, as many as fit; devices down.
void print_all(const std::vector<LayerGraph>& models, const std::vector<DeviceProfile>& profiles, int batch) {
  constexpr std::size_t kGap = 2, kNumber = 8;
  std::size_t device_width = 0;
  for (const DeviceProfile& profile : profiles) device_width = std::max(device_width, profile.device.size());
  print(fmt::format("Latency in ms of a batch of {}, each device with its usual profile\n", batch));
  for (std::size_t from = 0, to = 0; from < models.size(); from = to) {
    std::size_t width = device_width;
    const auto column = [&] { return kGap + std::max(kNumber, models[to].name().size()); };
    for (; to < models.size() && (to == from || width + column() <= kTerminalWidth); ++to) width += column();
    std::vector<std::string> head{"device"};
    for (std::size_t m = from; m < to; ++m) head.push_back(models[m].name());
    std::vector<std::vector<std::string>> rows;
    for (const DeviceProfile& profile : profiles) {
      rows.push_back({profile.device});
      for (std::size_t m = from; m < to; ++m) {
        rows.back().push_back(milliseconds(latency_of(models[m], profile, batch).latency_s));
      }
    }
    print("\n" + format_table(head, rows));
  }
}

}  // namespace

int latency_command(const LatencyOptions& options) {
  const std::map<std::string, DeviceType> devices = device_catalogue();
  const Calibration known = calibration();
  if (!options.all) {
    if (options.model.empty() || options.device.empty()) {
      throw InputError("latency", "name a model and a device, or ask for --all");
    }
    const LayerGraph graph = find_model(options.model, "latency");
    const DeviceProfile profile =
        known.find(find_device(devices, options.device, "latency"), options.query, "latency");
    const auto error = known.expected_error(profile, options.batch);
    if (options.json) {
      print(latency_json(graph, profile, options.batch, true, error));
    } else {
      print_latency(graph, profile, options, error);
    }
    return 0;
  }

  if (!options.device.empty()) throw InputError("latency", "--all takes no device: it lists all of them");
  if (options.layers && !options.json) throw InputError("latency", "--all shows --layers only with --json");
  std::vector<LayerGraph> models;
  if (options.model.empty()) {
    models = all_models();
  } else {
    models.push_back(find_model(options.model, "latency"));
  }
  std::vector<DeviceProfile> profiles;
  for (const auto& [name, device] : devices) {
    // Asked for a processor, a precision or threads: the devices that have them.
    const auto& query = options.query;
    const auto processor =
        device.processors.find(query.processor.empty() ? device.default_processor : query.processor);
    if (processor == device.processors.end()) continue;
    if (!query.precision.empty() && !processor->second.peak(short_precision(query.precision))) continue;
    if (query.threads > processor->second.cores || (query.threads != 0 && processor->first != "cpu"))
      continue;
    profiles.push_back(known.find(device, query, "latency"));
  }
  if (profiles.empty())
    throw InputError("latency", "no device has such a processor at such a precision with so many threads");
  if (!options.json) {
    print_all(models, profiles, options.batch);
    return 0;
  }
  Json list = Json::array();
  for (const LayerGraph& graph : models) {
    for (const DeviceProfile& profile : profiles) {
      list.push_back(latency_json(graph, profile, options.batch, options.layers,
                                  known.expected_error(profile, options.batch)));
    }
  }
  print(list);
  return 0;
}

}  // namespace cdisim
