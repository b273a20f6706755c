#include "sim/network.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "sim/error.h"
#include "sim/resources.h"

using namespace cdisim;
namespace fs = std::filesystem;

namespace {

const fs::path kSource = CDISIM_SOURCE_DIR;

std::string error_of(const std::string& json) {
  const fs::path file = fs::temp_directory_path() / ("cdisim_network_" + std::to_string(getpid()) + ".json");
  std::ofstream(file) << json;
  std::string message = "no error";
  try {
    load_networks(file);
  } catch (const InputError& e) {
    message = e.what();
  }
  fs::remove(file);
  return message;
}

std::string network(const std::string& rest, const std::string& kind = "wifi") {
  return R"({"schema": 1, "networks": {"n": {"title": "N", "kind": ")" + kind + "\", " + rest + "}}}";
}

const std::string kDown = R"("down": {"value": "8Mbps", "source": "s"})";
const std::string kUp = R"("up": {"value": "4Mbps", "source": "s"})";
const std::string kRoundTrip = R"("round_trip": {"value": "20ms", "source": "s"})";
const std::string kAll = kDown + ", " + kUp + ", " + kRoundTrip;

}  // namespace

TEST_CASE("network: the bundled catalogue, in SI units") {
  const auto networks = load_networks(find_resource(Resource::kNetworks, "networks", kSource, "test"));
  // 13.76 Mbit/s / 8 = 1.72 MB/s down, 5.85 / 8 = 0.73125 MB/s up; a rate of TCP already
  const Network& lte = networks.at("4g");
  CHECK(lte.kind == NetworkKind::kCellular);
  CHECK(lte.tcp_down_bytes_per_s() == doctest::Approx(1.72e6));
  CHECK(lte.tcp_up_bytes_per_s() == doctest::Approx(0.73125e6));
  CHECK(lte.latency_s() == doctest::Approx(19.9e-3 / 2));
  // 72.2 Mbit/s of link rate x 0.6 / 8 = 5.415 MB/s of TCP
  const Network& wifi = networks.at("802.11n");
  CHECK(wifi.down_bytes_per_s.value == doctest::Approx(72.2e6 / 8));
  CHECK(wifi.tcp_up_bytes_per_s() == doctest::Approx(5.415e6));
  // The linear model for an upload at 5.85 Mbit/s: 1288.04 + 438.39 x 5.85 = 3852.62 mW
  CHECK(lte.radio->tx_w->value + lte.radio->tx_j_per_byte->value * lte.up_bytes_per_s.value ==
        doctest::Approx(3.85262).epsilon(1e-5));
  for (const auto& [name, entry] : networks) {
    INFO(name);
    CHECK(entry.name == name);
    CHECK(entry.tcp_down_bytes_per_s() >= entry.tcp_up_bytes_per_s());
    CHECK(entry.round_trip_s.value < 1);
  }
  for (const char* name : {"3g", "4g", "5g", "5g_mmwave", "wifi", "802.11b", "802.11g", "802.11n", "802.11ac",
                           "802.11ax", "ethernet", "ethernet_100m", "ethernet_10g", "wan", "wan_near"}) {
    CHECK_NOTHROW(find_network(networks, name, "test"));
  }
  CHECK(find_network(networks, "wifi", "test").name == "802.11n");
  CHECK(find_network(networks, "5g", "test").name == "5g_mid_band");
  std::string message;
  try {
    find_network(networks, "wify", "--access");
  } catch (const InputError& e) {
    message = e.what();
  }
  CHECK(message.find("--access: \"wify\" is no network") != message.npos);
  CHECK(message.find("did you mean \"wifi\"?") != message.npos);
}

TEST_CASE("network: the catalogue is listed as its own kind") {
  for (const Resource kind : {Resource::kHardware, Resource::kNetworks}) {
    for (const fs::path& path : list_resources(kind))
      CHECK(path.stem() == (kind == Resource::kHardware ? "hardware" : "networks"));
  }
}

TEST_CASE("network: mistakes are refused with their place") {
  CHECK(error_of(network(kAll)) == "no error");
  struct Bad {
    std::string json, fragment;
  };
  const Bad table[] = {
      {R"({"networks": {}})", "\"schema\" is missing"},
      {R"({"schema": 2, "networks": {}})", "/schema: 2"},
      {R"({"schema": 1, "networks": {}, "x": 1})", "unknown key \"x\""},
      {network(kAll, "wify"), "/networks/n/kind: \"wify\""},
      {network(kDown + ", " + kRoundTrip), "/networks/n: \"up\" is missing"},
      {network(kDown + ", " + kUp), "\"round_trip\" is missing"},
      {network(R"("down": {"value": "8Mbps"}, )" + kUp + ", " + kRoundTrip),
       "/networks/n/down: \"source\" is missing"},
      {network(R"("down": {"value": 8, "source": "s"}, )" + kUp + ", " + kRoundTrip), "/down/value: 8"},
      {network(R"("down": {"value": "8", "source": "s"}, )" + kUp + ", " + kRoundTrip), "has no unit"},
      {network(R"("down": {"value": "8ms", "source": "s"}, )" + kUp + ", " + kRoundTrip),
       "unknown unit \"ms\""},
      {network(R"("down": {"value": "0bps", "source": "s"}, )" + kUp + ", " + kRoundTrip),
       "must be positive"},
      {network(kDown + ", " + kUp + R"(, "round_trip": {"value": "0s", "source": "s"})"), "must be positive"},
      {network(kAll + R"(, "tcp_share": {"value": 1.5, "source": "s"})"), "/tcp_share/value: 1.5"},
      {network(kAll + R"(, "tcp_share": 0.6)"), "must be an object"},
      {network(kAll + R"(, "radio": {"tx_w": {"value": -1, "source": "s"}})"), "/radio/tx_w/value: -1"},
      {network(kAll + R"(, "radio": {"tx": {"value": 1, "source": "s"}})"), "unknown key \"tx\""},
      {network(kAll + R"(, "price": 1)"), "unknown key \"price\""},
  };
  for (const Bad& bad : table) {
    INFO(bad.json);
    const std::string message = error_of(bad.json);
    INFO(message);
    CHECK(message.find(bad.fragment) != message.npos);
  }
}
