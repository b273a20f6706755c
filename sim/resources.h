#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace cdisim {

/// Kinds of files that are found by name, each in a folder of its own under a root.
enum class Resource {
  kExperiment,      ///< experiments/NAME.json
  kPlatform,        ///< platforms/NAME.xml
  kModel,           ///< workloads/NAME.json
  kLatencyModel,    ///< platforms/latency/NAME.json
  kHardware,        ///< platforms/hardware.json
  kNetworks,        ///< platforms/networks.json
  kUavModels,       ///< platforms/uav_models.json
  kTrainedNetwork,  ///< experiments/rl/NAME.json
};

/// Finds a file by name: beside the experiment (`beside`, its folder, and the root that folder stands in),
/// then in the roots of CDISIM_PATH (colon-separated), then in the installed share directory or the source
/// tree of the program. A name with a slash or an extension is taken as a path beside the experiment, or from
/// the current folder.
/// @throws InputError at `place` with the names that exist.
std::filesystem::path find_resource(Resource kind, const std::string& name,
                                    const std::filesystem::path& beside, const std::string& place,
                                    const std::vector<std::string>& built_in = {});

/// All files of a kind that can be found from the current folder, by name; where two roots have one, the
/// first.
std::vector<std::filesystem::path> list_resources(Resource kind);

/// The program in whose place files are found, where another one runs: a Python interpreter.
void set_program(const std::filesystem::path& program);

/// Program version.
std::string version();

}  // namespace cdisim
