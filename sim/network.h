#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sim/hardware.h"

namespace cdisim {

/// How hosts share a network.
enum class NetworkKind {
  kCellular,  ///< each host has its own rate up and down
  kWifi,      ///< all hosts of an access point share one medium, both ways where up equals down
  kEthernet,  ///< each host has its own full-duplex link
  kWan,       ///< from a site to the cloud
};
/// Spelled in JSON as the enumerator without its k: "cellular", ...
const std::vector<std::string>& network_kind_names();

/// Power of a host's radio on a network, as in a platform's `wattage_radio` and `joule_per_byte_radio`.
struct RadioPower {
  std::optional<Measured> tx_w, rx_w;                    ///< while it sends, while it receives
  std::optional<Measured> tx_j_per_byte, rx_j_per_byte;  ///< beyond that, by volume
};

/// One entry of the network catalogue. Rates in byte/s.
struct Network {
  std::string name;   ///< its key
  std::string title;  ///< "Wi-Fi 4 (802.11n), one stream, 20 MHz"
  NetworkKind kind = NetworkKind::kCellular;
  Measured down_bytes_per_s, up_bytes_per_s;
  /// Share of these rates that TCP reaches; 1 where they are rates of TCP already.
  std::optional<Measured> tcp_share;
  /// Host to the other end of this network (what stands behind the base station, access point or switch; for
  /// a WAN its other site) and back.
  Measured round_trip_s;
  std::optional<RadioPower> radio;
  std::optional<Measured> price_usd_per_gb;  ///< of what comes down, per 10^9 bytes

  double share() const { return tcp_share ? tcp_share->value : 1; }
  double tcp_down_bytes_per_s() const { return down_bytes_per_s.value * share(); }
  double tcp_up_bytes_per_s() const { return up_bytes_per_s.value * share(); }
  double latency_s() const { return round_trip_s.value / 2; }
};

/// Reads a network catalogue (platforms/networks.json) by name.
///
///     {"schema": 1, "networks": {"802.11n": {
///        "title": "Wi-Fi 4 (802.11n), one stream, 20 MHz", "kind": "wifi",
///        "down": {"value": "72.2Mbps", "source": "..."}, "up": {"value": "72.2Mbps", "source": "..."},
///        "tcp_share": {"value": 0.6, "source": "..."}, "round_trip": {"value": "3.7ms", "source": "..."},
///        "radio": {"tx_w": {"value": 1.295, "source": "..."}, "rx_j_per_byte": {"value": 1e-6, "source":
///        "..."}}, "price_usd_per_gb": {"value": 0.09, "source": "..."}}}}
///
/// @throws InputError naming file, JSON pointer and value: a value without its source, without unit, not
/// positive, an unknown key or kind, a share above 1.
std::map<std::string, Network> load_networks(const std::filesystem::path& path);

/// The network of that name, or of a short one: "3g", "4g", "5g" (mid band), "wifi" (802.11n), "ethernet" (1
/// Gbit/s), "wan" (far). @throws InputError at `place` with the names that exist.
const Network& find_network(const std::map<std::string, Network>& networks, const std::string& name,
                            const std::string& place);

}  // namespace cdisim
