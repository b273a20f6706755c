#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "sim/calibration.h"
#include "sim/hardware.h"
#include "sim/layer_graph.h"

namespace cdisim {

/// The file of the device catalogue that can be found from the current folder, what it holds, and the
/// calibration beside it. @throws InputError where there is none.
std::filesystem::path hardware_file();
std::map<std::string, DeviceType> device_catalogue();
Calibration calibration();

/// The device or model of that name. Names are also understood as people write them: "Raspberry Pi-4B" is
/// raspberry_pi_4b, "VGG-16" is vgg16, and the survey's names are known. A model may be a path.
/// @throws InputError at `place` with the names that exist.
const DeviceType& find_device(const std::map<std::string, DeviceType>& devices, const std::string& name,
                              const std::string& place);
LayerGraph find_model(const std::string& name, const std::string& place);

/// All bundled layer graphs, by name.
std::vector<LayerGraph> all_models();

/// Letters and digits of a name in lower case; "+" as "plus".
std::string plain_name(const std::string& name);

}  // namespace cdisim
