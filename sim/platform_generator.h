#pragma once

#include <map>
#include <string>

#include "sim/hardware.h"
#include "sim/network.h"

namespace cdisim {

/// What a generated testbed holds. Names of devices and networks are those of the two catalogues.
struct PlatformOptions {
  std::string name = "generated";  ///< of the zone
  int devices = 1, edges = 1, clouds = 1, uavs = 0;
  std::string device = "raspberry_pi_4b", edge_device = "intel_i7_6700", cloud_device = "v100",
              uav_device = "jetson_tx2";
  std::string access = "wifi";                  ///< device to edge; also "4g", "5g", "ethernet", ...
  std::string backbone = "wan_far";             ///< site to cloud
  std::string air_to_ground = "air_to_ground";  ///< UAV to edge
  std::string air = "air_to_air";               ///< UAV to UAV
};

/// Writes a platform file (see Platform::load). Hosts are device_0, edge_0, cloud_0, uav_0, ...; each is
/// timed as a whole, hence one core.
///
/// Every edge is a site with its own access network and its own line to the clouds; without edges there is
/// one site that holds devices only. Device i and UAV i belong to site i % edges. A device has links of its
/// own (access_I_up, access_I_down) or shares the medium of its site (access_S) where the network is Wi-Fi;
/// so do UAVs (ground_...). Routes: device and UAV to the edge of their site and to every cloud, edge to
/// every cloud, UAV to UAV over one shared medium; without edges and clouds, device to device: once over the
/// shared medium, or up one link and down the other. Every link has half of its network's round trip as
/// latency, TCP's share of its rate as bandwidth, so every route has a positive latency.
///
/// @throws InputError at the option ("--devices"): a number out of range, a host that nothing would reach, a
/// name that is not in the catalogue, a network of the wrong kind.
std::string generate_platform(const PlatformOptions& options,
                              const std::map<std::string, DeviceType>& devices,
                              const std::map<std::string, Network>& networks);

}  // namespace cdisim
