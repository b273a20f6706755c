#include "sim/network.h"

#include <fmt/format.h>

#include "sim/error.h"
#include "sim/json_reader.h"

namespace cdisim {

namespace {

constexpr double kSmallest = 1e-15, kLargest = 1e6;  ///< of W, J/byte and USD

Measured read_quantity(const JsonReader& reader, Dimension dimension) {
  const JsonReader value = reader.at("value");
  const Measured measured{value.quantity(dimension), reader.at("source").text()};
  // SimGrid starves routes without latency beside others, see platform.h.
  if (!(measured.value > 0)) value.fail("must be positive");
  reader.done();
  return measured;
}

std::optional<Measured> find_number(const JsonReader& reader, const char* key, double low, double high) {
  const auto found = reader.find(key);
  if (!found) return std::nullopt;
  const Measured measured{found->at("value").number(low, high), found->at("source").text()};
  found->done();
  return measured;
}

Network read_network(const JsonReader& reader, const std::string& name) {
  Network network;
  network.name = name;
  network.title = reader.at("title").text();
  network.kind = static_cast<NetworkKind>(reader.at("kind").choice(network_kind_names()));
  network.down_bytes_per_s = read_quantity(reader.at("down"), Dimension::kBandwidth);
  network.up_bytes_per_s = read_quantity(reader.at("up"), Dimension::kBandwidth);
  network.tcp_share = find_number(reader, "tcp_share", kSmallest, 1);
  network.round_trip_s = read_quantity(reader.at("round_trip"), Dimension::kTime);
  if (const auto radio = reader.find("radio")) {
    network.radio = RadioPower{.tx_w = find_number(*radio, "tx_w", 0, kLargest),
                               .rx_w = find_number(*radio, "rx_w", 0, kLargest),
                               .tx_j_per_byte = find_number(*radio, "tx_j_per_byte", 0, kLargest),
                               .rx_j_per_byte = find_number(*radio, "rx_j_per_byte", 0, kLargest)};
    radio->done();
  }
  network.price_usd_per_gb = find_number(reader, "price_usd_per_gb", 0, kLargest);
  reader.done();
  return network;
}

}  // namespace

const std::vector<std::string>& network_kind_names() {
  static const std::vector<std::string> names{"cellular", "wifi", "ethernet", "wan"};
  return names;
}

std::map<std::string, Network> load_networks(const std::filesystem::path& path) {
  const Json json = read_json_file(path);
  const JsonReader reader(json, path.string());
  reader.at("schema").integer(1, 1);
  std::map<std::string, Network> networks;
  for (const auto& [name, network] : reader.at("networks").members())
    networks.emplace(name, read_network(network, name));
  reader.done();
  return networks;
}

const Network& find_network(const std::map<std::string, Network>& networks, const std::string& name,
                            const std::string& place) {
  static const std::map<std::string, std::string> kShort{
      {"5g", "5g_mid_band"}, {"wifi", "802.11n"}, {"ethernet", "ethernet_1g"}, {"wan", "wan_far"}};
  const auto alias = kShort.find(name);
  const auto found = networks.find(alias == kShort.end() ? name : alias->second);
  if (found != networks.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [known, network] : networks) names.push_back(known);
  for (const auto& [known, network] : kShort) names.push_back(known);
  throw InputError(place, fmt::format("\"{}\" is no network{}", name, valid_choices(name, names)));
}

}  // namespace cdisim
