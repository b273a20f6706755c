#pragma once

#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cdisim {

using HostId = int;  ///< index into Platform::hosts()
using LinkId = int;  ///< index into Platform::links()

enum class Tier { kDevice, kEdge, kCloud, kUav };  ///< "device", "edge", "cloud", "uav"
std::string_view tier_name(Tier tier);
/// @throws InputError at `place` where there is no such tier.
Tier tier_of(const std::string& name, const std::string& place);

/// How a host's processor serves computations: first come, first served, one per core; the same with equal
/// pieces of work gathered into batches; or all at once, sharing the cores equally.
enum class Discipline { kFifo, kBatch, kShared };

/// One row of SimGrid's speed list and of its `wattage_per_state` property. With load x (busy cores / cores)
/// the host draws idle_w at x = 0, else epsilon_w + x * (all_cores_w - epsilon_w).
struct PowerState {
  double speed_flop_per_s = 0;  ///< of one core
  double idle_w = 0;
  double epsilon_w = 0;
  double all_cores_w = 0;
};

/// Power of a host's radio by state (property `wattage_radio`, "idle:tx:rx") and energy by volume (property
/// `joule_per_byte_radio`, "tx:rx"). While it sends and receives at once it draws tx_w + rx_w.
struct Radio {
  double idle_w = 0, tx_w = 0, rx_w = 0;
  double tx_j_per_byte = 0, rx_j_per_byte = 0;
};

struct Host {
  std::string name;
  Tier tier = Tier::kDevice;
  std::string device_type;  ///< key into hardware.json; empty: known by its speed alone
  std::string profile;      ///< "gpu/fp16/TensorRT": how the device runs networks; empty: as it usually does
  int cores = 1;
  Discipline discipline = Discipline::kFifo;
  int max_batch = 1;      ///< batch: largest number of requests in one batch
  double max_wait_s = 0;  ///< batch: longest time that the first request of a batch waits for others
  std::optional<double> memory_bytes;
  std::vector<PowerState> power_states;  ///< (n_states), never empty
  int power_state = 0;                   ///< at the start; the latency model's times hold in state 0
  double off_w = 0;
  Radio radio;
  bool has_radio = false;
  int wifi_rate = 0;    ///< of a Wi-Fi zone: which of its link's rates the host sends and receives at
  double flight_w = 0;  ///< what keeps it in the air while it is on, at the start (property `wattage_flight`)
  /// Charge at the start; infinite: a host that does not run on a battery.
  double battery_j = std::numeric_limits<double>::infinity();
  double price_usd_per_s = 0;  ///< while at least one core is busy (property `price_per_hour`, USD)
};

/// Fatpipe: every transfer gets the whole bandwidth. Wi-Fi: one medium whose airtime all stations share.
enum class Sharing { kShared, kFatpipe, kWifi };

struct Link {
  std::string name;  ///< the halves of a SPLITDUPLEX link "l" are "l_UP" and "l_DOWN", as in SimGrid
  double bandwidth_bytes_per_s = 0;
  std::vector<double> rates_bytes_per_s;  ///< Wi-Fi: by level, as Host::wifi_rate; the bandwidth is the first
  double latency_s = 0;
  Sharing sharing = Sharing::kShared;
  double price_usd_per_byte = 0;  ///< property `price_per_gb`, USD per 10^9 bytes
};

struct Route {
  std::vector<LinkId> links;  ///< in order of travel
  double latency_s = 0;       ///< sum over the links
  /// (n_links) what a byte takes of each link, byte, over all the times that the route crosses it; empty: 1
  /// each. On a Wi-Fi medium a byte at rate r takes bandwidth / r, and between two stations that of both.
  std::vector<double> weights;

  /// What the route gives to a transfer alone, byte/s: the least of bandwidth / weight; infinite for an empty
  /// one. @param bandwidth  (of all links) byte/s
  double bytes_per_s(std::span<const double> bandwidth) const;

  std::vector<HostId> relays;  ///< hosts on the way that receive it and send it on
};

/// Hosts, links and routes of one testbed, constant once loaded. Knows nothing of SimGrid.
class Platform {
 public:
  /// Reads a SimGrid platform file: one <zone routing="Full"> with <host>, <link>, <route> and <prop> (see
  /// README.md for the properties), or with zones of routing "Full" and "Wifi", joined by <zoneRoute>.
  /// Everything is checked here: names, units, routes, latencies that CM02 cannot mix. @throws InputError
  /// naming file and line.
  static Platform load(const std::filesystem::path& path);
  static Platform parse(std::string_view xml, const std::string& file);

  const std::string& name() const { return name_; }  ///< the file's stem
  const std::string& file() const { return file_; }
  std::span<const Host> hosts() const { return hosts_; }
  std::span<const Link> links() const { return links_; }
  const Host& host(HostId id) const { return hosts_[static_cast<std::size_t>(id)]; }
  const Link& link(LinkId id) const { return links_[static_cast<std::size_t>(id)]; }
  int host_count() const { return static_cast<int>(hosts_.size()); }
  int link_count() const { return static_cast<int>(links_.size()); }

  /// @returns -1 where there is none of that name.
  HostId find_host(std::string_view name) const;
  /// The links of that name: one, or both halves (_UP, _DOWN) of a SPLITDUPLEX link, whose halves also go by
  /// their own names; empty where there is none.
  std::vector<LinkId> find_links(std::string_view name) const;
  std::vector<std::string> host_names() const;
  /// Names as in the file: a SPLITDUPLEX link once, without _UP and _DOWN.
  std::vector<std::string> link_names() const;

  /// The route from one host to another, or nullptr. From a host to itself: an empty route.
  const Route* route(HostId from, HostId to) const;
  /// The other hosts that have a route from and to this one, ascending.
  std::vector<HostId> neighbours(HostId host) const;
  /// From now on route() answers with this. What it points to must outlive the platform.
  void route_by(std::function<const Route*(HostId, HostId)> routes) { routed_ = std::move(routes); }
  /// The route over these links.
  Route make_route(HostId from, HostId to, std::vector<LinkId> links) const;
  /// Route::bytes_per_s() with the links' own bandwidths.
  double bottleneck_bytes_per_s(const Route& route) const;
  /// What a byte costs on a route, USD: the sum over its links.
  double price_usd_per_byte(const Route& route) const;

  /// Copies with one value changed: what an experiment's `links` and `hosts` entries do. The other rates of a
  /// Wi-Fi link change in proportion.
  void set_bandwidth(LinkId link, double bytes_per_s);
  /// @throws InputError (with `place`) when the new latency mixes zero and non-zero routes on a shared link.
  void set_latency(LinkId link, double latency_s, std::string_view place);
  Host& edit_host(HostId id) { return hosts_[static_cast<std::size_t>(id)]; }

 private:
  std::string name_, file_;
  std::vector<Host> hosts_;
  std::vector<Link> links_;
  std::unordered_map<std::string, HostId> host_ids_;
  std::unordered_map<std::string, std::vector<LinkId>> link_ids_;
  std::vector<std::string> link_names_;
  std::vector<std::unordered_map<HostId, Route>> routes_;  ///< [from][to]
  std::function<const Route*(HostId, HostId)> routed_;

  friend class PlatformReader;
  double sum_latency_s(const std::vector<LinkId>& links) const;
  /// A shared link that lies on routes with and without latency, and the sentence that says so.
  std::optional<std::pair<LinkId, std::string>> mixed_latencies() const;
};

}  // namespace cdisim
