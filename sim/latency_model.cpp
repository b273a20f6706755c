#include "sim/latency_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <filesystem>
#include <system_error>

#include "sim/error.h"
#include "sim/hardware.h"

namespace cdisim {

namespace {

constexpr double kLongest_s = 1e9;  ///< bound of every time that is read; keeps sums finite

// {"value": 0.2, "source": "..."}: a number without a source is refused.
double read_sourced(const JsonReader& json, double low, double high) {
  json.at("source").text();
  return json.at("value").number(low, high);
}

/// Seconds per unit of the times in the same object.
double read_unit(const JsonReader& json) {
  static const std::vector<std::string> names{"s", "ms", "us"};
  static constexpr std::array kSeconds{1.0, 1e-3, 1e-6};
  return kSeconds[json.at("unit").choice(names)];
}

// A member's key that must be one of `choices`; the result is its index.
std::size_t key_choice(const std::string& key, const JsonReader& value,
                       const std::vector<std::string>& choices) {
  const auto found = std::ranges::find(choices, key);
  if (found == choices.end()) {
    throw InputError(value.place(), fmt::format("\"{}\" is unknown{}", key, valid_choices(key, choices)));
  }
  return static_cast<std::size_t>(found - choices.begin());
}

Roofline read_roofline(const JsonReader& json) {
  Roofline roofline;
  if (const auto efficiency = json.find("efficiency")) {
    constexpr double kSmallest = 1e-9;
    const auto dense = {WorkKind::kConvFirst, WorkKind::kConv1x1, WorkKind::kConv3x3, WorkKind::kConvStrided,
                        WorkKind::kConvLarge};
    // From the general to the special: the later ones win.
    if (const auto other = efficiency->find("other"))
      roofline.efficiency.fill(read_sourced(*other, kSmallest, 1));
    if (const auto conv = efficiency->find("conv")) {
      const double value = read_sourced(*conv, kSmallest, 1);
      for (const WorkKind kind : dense) roofline.efficiency[static_cast<std::size_t>(kind)] = value;
    }
    std::vector<std::string> kinds = work_kind_names();
    kinds.insert(kinds.end(), {"conv", "other"});
    for (const auto& [key, value] : efficiency->members()) {
      const std::size_t kind = key_choice(key, value, kinds);
      if (kind < kWorkKinds) roofline.efficiency[kind] = read_sourced(value, kSmallest, 1);
    }
  }
  if (const auto bandwidth = json.find("memory_bandwidth_bytes_per_s")) {
    roofline.memory_bandwidth_bytes_per_s = read_sourced(*bandwidth, 1, 1e18);
  }
  if (const auto overhead = json.find("layer_overhead_s")) {
    roofline.layer_overhead_s = roofline.operator_overhead_s = read_sourced(*overhead, 0, kLongest_s);
  }
  return roofline;
}

// Coefficients may be negative: fits are.
Regression read_regression(const JsonReader& json, double unit_s) {
  Regression regression;
  for (const auto& [key, value] : json.at("terms").members()) {
    const auto kind = static_cast<LayerKind>(key_choice(key, value, layer_kind_names()));
    const auto coefficient = [&term = value, unit_s](const char* name) {
      const auto number = term.find(name);
      return number ? number->number(-kLongest_s, kLongest_s) * unit_s : 0;
    };
    regression.terms[kind] = {coefficient("constant"), coefficient("input_elements"),
                              coefficient("output_elements"), coefficient("filter_elements")};
    value.done();
  }
  if (regression.terms.empty()) json.at("terms").fail("must not be empty");
  return regression;
}

Profile read_profile(const JsonReader& json, double unit_s) {
  Profile profile;
  if (const auto model = json.find("model")) profile.model = model->text();
  for (const auto& [key, value] : json.at("layers").members()) {
    profile.layer_s[key] = value.number(0, kLongest_s) * unit_s;
  }
  if (const auto parts = json.find("parts")) {
    for (const auto& [key, value] : parts->members()) {
      const auto whole = profile.layer_s.find(key);
      if (whole == profile.layer_s.end()) value.fail("a layer without a time of its own in \"layers\"");
      auto& points = profile.part_s[key];
      points.emplace_back(0, 0);
      for (const JsonReader& point : value.elements()) {
        const std::vector<JsonReader> pair = point.elements();
        if (pair.size() != 2) point.fail("must be [share of the outputs, time]");
        const double share = pair[0].number(0, 1);
        if (share <= points.back().first || share >= 1) {
          pair[0].fail("must be above the share before it, 0 at first, and below 1");
        }
        points.emplace_back(share, pair[1].number(0, kLongest_s) * unit_s);
      }
      points.emplace_back(1, whole->second);
    }
  }
  if (const auto parts = json.find("part_padding"))
    profile.padded_parts = parts->choice({"none", "all_sides"}) == 1;
  if (const auto otherwise = json.find("otherwise")) {
    profile.otherwise = read_regression(*otherwise, read_unit(*otherwise));
    otherwise->done();
  }
  return profile;
}

DeviceLatency read_device(const JsonReader& json) {
  DeviceLatency device;
  json.at("source").text();
  const std::size_t kind = json.at("kind").choice({"roofline", "regression", "profile"});
  if (kind == 0) {
    device.layers = read_roofline(json);
  } else {
    const double unit_s = read_unit(json);
    if (kind == 1) {
      device.layers = read_regression(json, unit_s);
    } else {
      device.layers = read_profile(json, unit_s);
    }
    if (const auto run = json.find("run")) {
      device.run_constant_s = run->at("constant").number(0, kLongest_s) * unit_s;
      device.run_per_weight_byte_s = run->at("per_weight_byte").number(0, kLongest_s) * unit_s;
      run->done();
    }
  }
  json.done();
  return device;
}

// ---- seconds of one layer ----

double regression_s(const RegressionTerm& term, const Layer& layer, const LayerCosts& costs,
                    int output_channels) {
  const double filter_elements =
      1.0 * layer.kernel[0] / layer.stride[0] * layer.kernel[1] / layer.stride[1] * output_channels;
  return std::max(0.0, term.constant_s + term.per_input_element_s * costs.input_elements +
                           term.per_output_element_s * costs.output_elements +
                           term.per_filter_element_s * filter_elements);
}

// What a runtime computes of a part when it pads it on all sides: see Profile.
double padded_elements(const LayerGraph& graph, LayerId id, const Region& part) {
  const Layer& layer = graph.layer(id);
  if ((layer.kind != LayerKind::kConv && layer.kind != LayerKind::kDepthwiseConv) || part.size() != 3)
    return elements(part);
  const Region read = input_region(graph, id, part, 0);
  double out = part[0].size();
  for (std::size_t d = 1; d < 3; ++d) out *= (read[d].size() + layer.stride[d - 1] - 1) / layer.stride[d - 1];
  return out;
}

// Of a share of a measured layer's outputs.
double profile_s(const Profile& profile, const std::string& layer, double layer_s, double share) {
  const auto parts = profile.part_s.find(layer);
  if (parts == profile.part_s.end()) return layer_s * share;
  const auto& points = parts->second;
  const auto above = std::ranges::find_if(points, [&](const auto& point) { return point.first >= share; });
  if (above == points.begin()) return 0;
  const auto below = above - 1;
  return std::lerp(below->second, above->second, (share - below->first) / (above->first - below->first));
}

}  // namespace

LatencyModel LatencyModel::roofline(const std::filesystem::path& hardware_file) {
  namespace fs = std::filesystem;
  const fs::path calibration_file = hardware_file.parent_path() / "calibration.json";
  LatencyModel model;
  model.name_ = "roofline";
  model.file_ = hardware_file.string();
  // Reading both takes some 10 ms, which a process that runs many experiments, or is forked for each, does
  // once.
  struct Read {
    fs::path file;
    std::array<fs::file_time_type, 2> written;
    std::shared_ptr<Catalogue> catalogue;
  };
  static Read last;
  std::error_code error;
  const Read now{fs::absolute(hardware_file, error).lexically_normal(),
                 {fs::last_write_time(hardware_file, error), fs::last_write_time(calibration_file, error)},
                 nullptr};
  if (last.catalogue == nullptr || now.file != last.file || now.written != last.written) {
    last = now;
    last.catalogue =
        std::make_shared<Catalogue>(load_hardware(hardware_file), Calibration::load(calibration_file));
  }
  model.catalogue_ = last.catalogue;
  return model;
}

LatencyModel LatencyModel::load(const std::filesystem::path& path) {
  return parse(read_json_file(path), path.string());
}

LatencyModel LatencyModel::parse(const Json& json, const std::string& file) {
  const JsonReader reader(json, file);
  LatencyModel model;
  model.file_ = file;
  reader.at("schema").integer(1, 1);
  model.name_ = reader.at("name").text();
  const JsonReader devices = reader.at("devices");
  for (const auto& [type, device] : devices.members()) model.devices_[type] = read_device(device);
  if (model.devices_.empty()) devices.fail("must not be empty");
  reader.done();
  return model;
}

const DeviceLatency& LatencyModel::device(const Host& host) const {
  static const DeviceLatency speed_alone{};  // a roofline of efficiency 1
  if (host.device_type.empty()) return speed_alone;
  std::vector<std::string> known;
  if (catalogue_) {
    // Planning asks for every layer: what was made before comes first, it is a few entries.
    const auto made = catalogue_->profiles.find(host.device_type);
    if (made != catalogue_->profiles.end()) {
      const auto entry = made->second.find(host.profile);
      if (entry != made->second.end()) return entry->second;
    }
    const auto type = catalogue_->devices.find(host.device_type);
    if (type != catalogue_->devices.end()) {
      const std::string place = fmt::format("host \"{}\"", host.name);
      const DeviceProfile profile =
          catalogue_->calibration.find(type->second, parse_profile_query(host.profile, place), place);
      const double speed_ratio = profile.speed_flop_per_s / type->second.speed_flop_per_s();
      return catalogue_->profiles[host.device_type][host.profile] = {profile.roofline, speed_ratio, 0, 0};
    }
    for (const auto& [name, unused] : catalogue_->devices) known.push_back(name);
  } else {
    const auto found = devices_.find(host.device_type);
    if (found != devices_.end()) return found->second;
    for (const auto& [type, unused] : devices_) known.push_back(type);
  }
  throw InputError(file_,
                   fmt::format("latency model \"{}\" has no device \"{}\", the type of host \"{}\"{}", name_,
                               host.device_type, host.name, valid_choices(host.device_type, known)));
}

double LatencyModel::layer_s(const LayerGraph& graph, LayerId id, const Host& host, int batch,
                             const Region* part) const {
  assert(batch >= 1);
  const DeviceLatency& entry = device(host);
  const LayerCosts costs = part == nullptr ? graph.costs(id) : part_costs(graph, id, *part);
  if (const auto* roofline = std::get_if<Roofline>(&entry.layers)) {
    return roofline->layer_s(graph, id, costs,
                             entry.speed_per_host_speed * host.power_states[0].speed_flop_per_s, batch);
  }
  const Layer& layer = graph.layer(id);
  const auto refuse = [&](const std::string& what) {
    throw InputError(file_,
                     fmt::format("latency model \"{}\", device \"{}\": {}", name_, host.device_type, what));
  };
  const auto* regression = std::get_if<Regression>(&entry.layers);
  if (const auto* profile = std::get_if<Profile>(&entry.layers)) {
    if (!profile->model.empty() && profile->model != graph.name()) {
      refuse(fmt::format("its layer times are those of \"{}\", not of \"{}\"", profile->model, graph.name()));
    }
    const auto measured = profile->layer_s.find(layer.name);
    if (measured != profile->layer_s.end()) {
      const double outputs = part != nullptr && profile->padded_parts ? padded_elements(graph, id, *part)
                                                                      : costs.output_elements;
      return batch * profile_s(*profile, layer.name, measured->second, outputs / graph.output_elements(id));
    }
    if (!profile->otherwise) {
      std::vector<std::string> known;
      for (const auto& [name, unused] : profile->layer_s) known.push_back(name);
      std::ranges::sort(known);
      refuse(fmt::format("no time for layer \"{}\" of \"{}\"{}", layer.name, graph.name(),
                         valid_choices(layer.name, known)));
    }
    regression = &*profile->otherwise;
  }
  const auto term = regression->terms.find(layer.kind);
  if (term == regression->terms.end()) {
    std::vector<std::string> known;
    for (const auto& [kind, unused] : regression->terms) known.emplace_back(layer_kind_name(kind));
    refuse(fmt::format("no term for {}, the kind of layer \"{}\" of \"{}\"{}", layer_kind_name(layer.kind),
                       layer.name, graph.name(), valid_choices(layer_kind_name(layer.kind), known)));
  }
  return batch * regression_s(term->second, layer, costs,
                              part == nullptr ? layer.output_shape[0] : part->front().size());
}

double LatencyModel::piece_s(const LayerGraph& graph, std::span<const LayerId> layers, const Host& host,
                             int batch, const Parts& parts) const {
  if (layers.empty()) return 0;
  const DeviceLatency& entry = device(host);
  const auto* roofline = std::get_if<Roofline>(&entry.layers);
  const double speed = entry.speed_per_host_speed * host.power_states[0].speed_flop_per_s;
  double weight_bytes = 0, layers_s = 0;
  for (const LayerId id : layers) {
    const auto part = parts.find(id);
    const Region* region = part == parts.end() ? nullptr : &part->second;
    if (roofline == nullptr) {
      layers_s += layer_s(graph, id, host, batch, region);
      weight_bytes +=
          region == nullptr ? graph.layer(id).weight_bytes : part_costs(graph, id, *region).weight_bytes;
      continue;
    }
    const LayerCosts costs = region == nullptr ? graph.costs(id) : part_costs(graph, id, *region);
    layers_s += roofline->layer_s(graph, id, costs, speed, batch);
    weight_bytes += costs.weight_bytes;
  }
  if (roofline != nullptr) return roofline->run_s(graph, weight_bytes) + layers_s;
  return entry.run_constant_s + entry.run_per_weight_byte_s * weight_bytes + layers_s;
}

}  // namespace cdisim
