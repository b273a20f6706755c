#include "sim/resources.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <sstream>

#include "sim/error.h"

namespace cdisim {

namespace fs = std::filesystem;

namespace {

struct KindFacts {
  const char* noun;
  const char* folder;
  const char* extension;
  const char* only = nullptr;  ///< the one file of this kind, where there is but one
};

constexpr std::array kKinds{KindFacts{"experiment", "experiments", ".json"},
                            KindFacts{"platform", "platforms", ".xml"},
                            KindFacts{"model", "workloads", ".json"},
                            KindFacts{"latency model", "platforms/latency", ".json"},
                            KindFacts{"device catalogue", "platforms", ".json", "hardware"},
                            KindFacts{"network catalogue", "platforms", ".json", "networks"},
                            KindFacts{"file of UAV models", "platforms", ".json", "uav_models"},
                            KindFacts{"trained network", "experiments/rl", ".json"}};

const KindFacts& facts(Resource kind) {
  return kKinds[static_cast<std::size_t>(kind)];
}

fs::path& this_program() {
  static fs::path program = [] {
    std::error_code error;
    return fs::read_symlink("/proc/self/exe", error);
  }();
  return program;
}

// Folders that hold `experiments/`, `platforms/` and `workloads/`, nearest first.
std::vector<fs::path> roots(const fs::path& beside) {
  std::vector<fs::path> out;
  if (!beside.empty()) out = {beside, beside / ".."};
  if (const char* path = std::getenv("CDISIM_PATH")) {
    std::istringstream parts(path);
    for (std::string part; std::getline(parts, part, ':');) {
      if (!part.empty()) out.emplace_back(part);
    }
  }
  const fs::path& program = this_program();
  if (!program.empty()) {
    out.push_back(program.parent_path() / ".." / "share" /
                  "cdisim");                                    // installed, wherever the prefix was moved
    out.push_back(program.parent_path() / "..");                // build/ of a source tree
    out.push_back(program.parent_path() / ".." / "..");         // build/sanitize/ of one
    out.push_back(program.parent_path() / ".." / ".." / "..");  // its tests
  }
  out.emplace_back(CDISIM_DATA_DIR);
  return out;
}

std::vector<fs::path> files_of(Resource kind, const std::vector<fs::path>& from) {
  std::map<std::string, fs::path> found;
  for (const fs::path& root : from) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(root / facts(kind).folder, error)) {
      const fs::path& path = entry.path();
      if (path.extension() != facts(kind).extension) continue;
      if (facts(kind).only && path.stem() != facts(kind).only) continue;
      found.emplace(path.stem().string(), path.lexically_normal());
    }
  }
  std::vector<fs::path> out;
  for (const auto& [name, path] : found) out.push_back(path);
  return out;
}

}  // namespace

fs::path find_resource(Resource kind, const std::string& name, const fs::path& beside,
                       const std::string& place, const std::vector<std::string>& built_in) {
  std::error_code error;
  const bool is_path = name.find('/') != std::string::npos || fs::path(name).has_extension();
  if (is_path) {
    for (const fs::path& candidate : {beside / name, fs::path(name)}) {
      if (fs::exists(candidate, error)) return candidate.lexically_normal();
    }
    throw InputError(place, fmt::format("\"{}\": no such file", name));
  }
  const std::vector<fs::path> from = roots(beside);
  for (const fs::path& root : from) {
    for (const fs::path& candidate : {root / (name + facts(kind).extension),
                                      root / facts(kind).folder / (name + facts(kind).extension)}) {
      if (fs::exists(candidate, error)) return candidate.lexically_normal();
    }
  }
  std::vector<std::string> names = built_in;
  for (const fs::path& path : files_of(kind, from)) names.push_back(path.stem().string());
  throw InputError(place,
                   fmt::format("\"{}\" is no {}{}", name, facts(kind).noun, valid_choices(name, names)));
}

std::vector<fs::path> list_resources(Resource kind) {
  return files_of(kind, roots(fs::current_path()));
}

void set_program(const fs::path& program) {
  this_program() = program;
}

std::string version() {
  return CDISIM_VERSION;
}

}  // namespace cdisim
