// `cdisim platform`: writes a testbed of any size.
#include "sim/catalogue.h"
#include "sim/commands.h"
#include "sim/console.h"
#include "sim/error.h"
#include "sim/network.h"
#include "sim/report.h"
#include "sim/resources.h"

namespace cdisim {

int platform_command(const PlatformOptions& options, const std::filesystem::path& out) {
  const auto networks = list_resources(Resource::kNetworks);
  if (networks.empty())
    throw InputError("networks.json", "no network catalogue is found; is CDISIM_PATH right?");
  const std::string text = generate_platform(options, device_catalogue(), load_networks(networks.front()));
  if (out.empty()) {
    print(text);
  } else {
    write_file(out, text);
  }
  return 0;
}

}  // namespace cdisim
