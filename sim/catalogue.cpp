#include "sim/catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "sim/error.h"
#include "sim/resources.h"

namespace cdisim {

namespace fs = std::filesystem;

fs::path hardware_file() {
  const std::vector<fs::path> files = list_resources(Resource::kHardware);
  if (files.empty()) throw InputError("hardware.json", "no device catalogue is found; is CDISIM_PATH right?");
  return files.front();
}

std::map<std::string, DeviceType> device_catalogue() {
  return load_hardware(hardware_file());
}

Calibration calibration() {
  return Calibration::load(hardware_file().parent_path() / "calibration.json");
}

std::string plain_name(const std::string& name) {
  std::string out;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (c == '+') {
      out += "plus";
    }
  }
  return out;
}

const DeviceType& find_device(const std::map<std::string, DeviceType>& devices, const std::string& name,
                              const std::string& place) {
  if (const auto found = devices.find(name); found != devices.end()) return found->second;
  const std::string plain = plain_name(name);
  const DeviceType* similar = nullptr;
  std::vector<std::string> names;
  for (const auto& [key, device] : devices) {
    names.push_back(key);
    for (const std::string* known : {&key, &device.title, &device.table_2_row}) {
      if (!plain.empty() && plain_name(*known) == plain && similar == nullptr) similar = &device;
    }
  }
  if (similar != nullptr) return *similar;
  throw InputError(place, fmt::format("no device \"{}\"{}", name, valid_choices(name, names)));
}

LayerGraph find_model(const std::string& name, const std::string& place) {
  const bool is_path = name.find('/') != std::string::npos || fs::path(name).extension() == ".json";
  if (is_path) return LayerGraph::load(find_resource(Resource::kModel, name, "", place));
  const std::vector<fs::path> files = list_resources(Resource::kModel);
  std::vector<std::string> names;
  for (const fs::path& file : files) {
    if (file.stem() == name) return LayerGraph::load(file);
    names.push_back(file.stem().string());
  }
  const std::string plain = plain_name(name);
  for (const fs::path& file : files) {
    if (!plain.empty() && plain_name(file.stem().string()) == plain) return LayerGraph::load(file);
  }
  for (const fs::path& file : files) {
    LayerGraph graph = LayerGraph::load(file);
    if (!plain.empty() && graph.table_1() && plain_name(graph.table_1()->row) == plain) return graph;
  }
  throw InputError(place, fmt::format("\"{}\" is no model{}", name, valid_choices(name, names)));
}

std::vector<LayerGraph> all_models() {
  std::vector<LayerGraph> graphs;
  for (const fs::path& file : list_resources(Resource::kModel)) graphs.push_back(LayerGraph::load(file));
  return graphs;
}

}  // namespace cdisim
