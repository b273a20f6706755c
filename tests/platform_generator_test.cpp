#include "sim/platform_generator.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "sim/error.h"
#include "sim/json_reader.h"
#include "sim/platform.h"

using namespace cdisim;
namespace fs = std::filesystem;

namespace {

const fs::path kPlatforms = fs::path(CDISIM_SOURCE_DIR) / "platforms";

const std::map<std::string, DeviceType>& hardware() {
  static const auto devices = load_hardware(kPlatforms / "hardware.json");
  return devices;
}
const std::map<std::string, Network>& networks() {
  static const auto all = load_networks(kPlatforms / "networks.json");
  return all;
}

Platform generate(const PlatformOptions& options) {
  return Platform::parse(generate_platform(options, hardware(), networks()), options.name + ".xml");
}

std::string error_of(const PlatformOptions& options) {
  try {
    generate_platform(options, hardware(), networks());
  } catch (const InputError& e) {
    return e.what();
  }
  return "no error";
}

// "access_0 backbone_0_up", the links from one host to another; "none" where there is no route.
std::string way(const Platform& platform, const std::string& from, const std::string& to) {
  const Route* route = platform.route(platform.find_host(from), platform.find_host(to));
  if (!route) return "none";
  std::string text;
  for (const LinkId id : route->links) text += (text.empty() ? "" : " ") + platform.link(id).name;
  return text;
}

}  // namespace

TEST_CASE("platform generator: cloud, edge and devices on Wi-Fi") {
  const Platform p = generate({.devices = 5, .edges = 2, .clouds = 1});
  CHECK(p.host_count() == 5 + 2 + 1);
  // One medium a site; each site has a line to the cloud of two halves.
  CHECK(p.link_count() == 2 + 2 * 2);
  // Device i at site i % 2, both ways over the same medium
  CHECK(way(p, "device_3", "edge_1") == "access_1");
  CHECK(way(p, "edge_1", "device_3") == "access_1");
  CHECK(way(p, "device_4", "edge_0") == "access_0");
  CHECK(way(p, "device_4", "edge_1") == "none");
  CHECK(way(p, "device_4", "device_0") == "none");
  CHECK(way(p, "device_3", "cloud_0") == "access_1 backbone_1_up");
  CHECK(way(p, "cloud_0", "device_3") == "backbone_1_down access_1");
  CHECK(way(p, "edge_0", "cloud_0") == "backbone_0_up");
  CHECK(way(p, "cloud_0", "edge_0") == "backbone_0_down");
  // 72.2 Mbit/s x 0.6 = 43.32 Mbit/s = 5.415 MB/s; half of 3.7 ms, and with the WAN half of 42 ms
  const Route& there = *p.route(p.find_host("device_0"), p.find_host("cloud_0"));
  CHECK(p.bottleneck_bytes_per_s(there) == doctest::Approx(5.415e6).epsilon(1e-9));
  CHECK(there.latency_s == doctest::Approx(0.021).epsilon(1e-9));
  CHECK(p.route(p.find_host("device_0"), p.find_host("edge_0"))->latency_s ==
        doctest::Approx(1.85e-3).epsilon(1e-9));
  const Host& device = p.host(p.find_host("device_0"));
  CHECK(device.tier == Tier::kDevice);
  CHECK(device.device_type == "raspberry_pi_4b");
  CHECK(device.radio.tx_w == doctest::Approx(1.295));
  CHECK(p.host(p.find_host("edge_1")).tier == Tier::kEdge);
  CHECK_FALSE(p.host(p.find_host("edge_1")).has_radio);
  CHECK(p.host(p.find_host("cloud_0")).tier == Tier::kCloud);
  CHECK(p.host(p.find_host("cloud_0")).price_usd_per_s == doctest::Approx(3.06 / 3600));
}

TEST_CASE("platform generator: cellular and wired devices have links of their own") {
  const Platform p =
      generate({.devices = 2, .edges = 0, .clouds = 2, .cloud_device = "a100", .access = "4g"});
  // up and down for each device, one line of two halves for the one site
  CHECK(p.link_count() == 2 * 2 + 2);
  CHECK(way(p, "device_1", "cloud_1") == "access_1_up backbone_0_up");
  CHECK(way(p, "cloud_0", "device_1") == "backbone_0_down access_1_down");
  CHECK(p.link(p.find_links("access_1_up")[0]).bandwidth_bytes_per_s == doctest::Approx(5.85e6 / 8));
  CHECK(p.link(p.find_links("access_1_down")[0]).bandwidth_bytes_per_s == doctest::Approx(13.76e6 / 8));
  // 438.39 nJ/bit x 8 over the constant 1.28804 W
  CHECK(p.host(0).radio.tx_j_per_byte == doctest::Approx(3.50712e-6));
  CHECK(p.host(0).radio.tx_w == doctest::Approx(1.28804));
  CHECK(p.host(p.find_host("cloud_1")).device_type == "a100");
  // Through a switch: up one's own link and down the other's; 1 Gbit/s x 0.949 / 8
  const Platform wired = generate({.devices = 3, .edges = 0, .clouds = 0, .access = "ethernet"});
  CHECK(way(wired, "device_2", "device_0") == "access_2_up access_0_down");
  CHECK(way(wired, "device_0", "device_2") == "access_0_up access_2_down");
  CHECK(wired.link(0).bandwidth_bytes_per_s == doctest::Approx(0.949 * 125e6));
  CHECK_FALSE(wired.host(0).has_radio);
  // Wi-Fi whose rates differ by direction: a shared medium for each
  const Platform uneven = generate({.devices = 2, .edges = 1, .clouds = 0, .access = "wifi_jointdnn"});
  CHECK(uneven.link_count() == 2);
  CHECK(way(uneven, "device_1", "edge_0") == "access_0_up");
  CHECK(way(uneven, "edge_0", "device_1") == "access_0_down");
}

TEST_CASE("platform generator: UAVs reach each other and their base station") {
  const Platform p = generate({.devices = 0, .edges = 2, .clouds = 1, .uavs = 4});
  CHECK(way(p, "uav_0", "uav_3") == "air_0");
  CHECK(way(p, "uav_3", "uav_0") == "air_0");
  CHECK(way(p, "uav_3", "edge_1") == "ground_1");
  CHECK(way(p, "uav_2", "cloud_0") == "ground_0 backbone_0_up");
  CHECK(p.host(0).tier == Tier::kUav);
  const Platform alone = generate({.devices = 0, .edges = 0, .clouds = 0, .uavs = 3});
  CHECK(alone.link_count() == 1);
  CHECK(alone.neighbours(0) == std::vector<HostId>{1, 2});
}

TEST_CASE("platform generator: every network and device can be asked for") {
  for (const auto& [name, network] : networks()) {
    if (network.kind == NetworkKind::kWan) continue;
    INFO(name);
    for (const auto& [edges, clouds] : {std::pair{2, 1}, {0, 1}, {1, 0}, {0, 0}}) {
      const Platform p = generate({.devices = 3, .edges = edges, .clouds = clouds, .access = name});
      for (HostId from = 0; from < p.host_count(); ++from) {
        for (const HostId to : p.neighbours(from)) CHECK(p.route(from, to)->latency_s > 0);
      }
    }
  }
  for (const auto& [name, type] : hardware()) {
    INFO(name);
    const Platform p = generate({.device = name});
    CHECK(p.host(0).power_states[0].speed_flop_per_s ==
          doctest::Approx(type.speed_flop_per_s()).epsilon(1e-12));
    if (type.memory_bytes) CHECK(*p.host(0).memory_bytes == type.memory_bytes->value);
  }
}

TEST_CASE("platform generator: a thousand devices") {
  const Platform p = generate({.devices = 1000, .edges = 10, .clouds = 1, .access = "4g"});
  CHECK(p.host_count() == 1011);
  CHECK(p.link_count() == 2 * 1000 + 2 * 10);
  CHECK(way(p, "device_999", "cloud_0") == "access_999_up backbone_9_up");
  // 100 devices and the cloud
  CHECK(p.neighbours(p.find_host("edge_9")).size() == 101);
}

TEST_CASE("platform generator: the bundled files are what it writes") {
  const PlatformOptions bundled[] = {
      {.name = "cloud_device", .devices = 1, .edges = 0, .clouds = 1},
      {.name = "edge_device", .devices = 1, .edges = 1, .clouds = 0},
      {.name = "cloud_edge_device", .devices = 4, .edges = 2, .clouds = 1},
      {.name = "device_device", .devices = 8, .edges = 0, .clouds = 0},
      {.name = "uav_swarm", .devices = 0, .edges = 1, .clouds = 0, .uavs = 6},
  };
  for (const PlatformOptions& options : bundled) {
    INFO(options.name);
    CHECK(read_text_file(kPlatforms / (options.name + ".xml")) ==
          generate_platform(options, hardware(), networks()));
  }
}

TEST_CASE("platform generator: what it writes is XML whatever the words") {
  auto devices = hardware();
  auto nets = networks();
  devices.at("v100").memory_bytes.reset();
  nets.at("802.11n").down_bytes_per_s.source = "a -- b --- c <d> & \"e\"";
  const PlatformOptions options{.name = "a<b> & \"c\"--d"};
  const std::string xml = generate_platform(options, devices, nets);
  CHECK_NOTHROW(Platform::parse(xml, "x.xml"));
  // Two hyphens stand in a comment only at its ends.
  for (std::size_t at = 0; (at = xml.find("--", at)) != xml.npos; at += 2) {
    const bool end = xml.compare(at, 3, "-->") == 0, begin = at >= 2 && xml.compare(at - 2, 4, "<!--") == 0,
               zone = xml.rfind("<zone", at) != xml.npos;
    CHECK((begin || end || zone));
  }
}

TEST_CASE("platform generator: what cannot be is refused at its option") {
  struct Bad {
    PlatformOptions options;
    std::string fragment;
  };
  const Bad table[] = {
      {{.devices = -1}, "--devices: -1: must lie within [0, 100000]"},
      {{.devices = 1, .edges = 1'000'000}, "--edges: 1000000"},
      {{.devices = 0, .edges = 1, .clouds = 1}, "--devices: 0: there must be a device or a UAV"},
      {{.devices = 1, .edges = 0, .clouds = 0}, "--devices: 1: one host alone"},
      {{.devices = 2, .edges = 3, .clouds = 0}, "--edges: 3: without a cloud"},
      {{.devices = 2, .edges = 0, .clouds = 0, .uavs = 2}, "--uavs: without edges and clouds"},
      {{.devices = 1001, .edges = 0, .clouds = 0}, "--devices: 1001: at most 1000"},
      {{.devices = 0, .uavs = 1001}, "--uavs: 1001: at most 1000"},
      {{.device = "raspberry_pi_4"}, "did you mean \"raspberry_pi_4b\"?"},
      {{.edge_device = "x"}, "--edge-device: \"x\" is no device"},
      {{.cloud_device = "x"}, "--cloud-device: \"x\""},
      {{.devices = 0, .uavs = 2, .uav_device = "x"}, "--uav-device: \"x\""},
      {{.access = "6g"}, "--access: \"6g\" is no network"},
      {{.access = "wan_far"}, "--access: \"wan_far\" is a WAN"},
      {{.backbone = "wifi"}, "--backbone: \"802.11n\" is a shared medium"},
      {{.air = "4g"}, "--air: \"4g\" is no shared medium"},
  };
  for (const Bad& bad : table) {
    const std::string message = error_of(bad.options);
    INFO(message);
    CHECK(message.find(bad.fragment) != message.npos);
  }
}
