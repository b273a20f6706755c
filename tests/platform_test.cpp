#include "sim/platform.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <string>

#include "sim/error.h"

using namespace cdisim;

namespace {

const std::filesystem::path kSource = CDISIM_SOURCE_DIR;

std::string zone(const std::string& body) {
  return "<platform version=\"4.1\">\n<zone id=\"z\" routing=\"Full\">\n" + body + "\n</zone></platform>";
}

// Line 3 of the file that zone() makes.
std::string host(const std::string& id, const std::string& attributes = "speed=\"1Gf\"",
                 const std::string& props = "") {
  return fmt::format("<host id=\"{}\" {}><prop id=\"tier\" value=\"edge\"/>{}</host>", id, attributes, props);
}

std::string prop(const std::string& id, const std::string& value) {
  return fmt::format("<prop id=\"{}\" value=\"{}\"/>", id, value);
}

const std::string kHosts = host("a") + host("b");
const std::string kLink = R"(<link id="l" bandwidth="8Mbps" latency="1ms"/>)";
const std::string kDuplex = R"(<link id="l" bandwidth="8Mbps" latency="1ms" sharing_policy="SPLITDUPLEX"/>)";
const std::string kRoute = R"(<route src="a" dst="b"><link_ctn id="l"/></route>)";

std::string error_of(const std::string& xml) {
  try {
    Platform::parse(xml, "p.xml");
  } catch (const InputError& e) {
    return e.what();
  }
  return "no error";
}

std::vector<std::string> names(const Platform& platform, const char* from, const char* to) {
  std::vector<std::string> out;
  for (const LinkId id : platform.route(platform.find_host(from), platform.find_host(to))->links) {
    out.push_back(platform.link(id).name);
  }
  return out;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("platform: the pencil fixture") {
  const Platform platform = Platform::load(kSource / "tests/fixtures/pencil.xml");
  CHECK(platform.name() == "pencil");
  REQUIRE(platform.host_count() == 2);
  const Host& device = platform.host(platform.find_host("device"));
  CHECK(device.tier == Tier::kDevice);
  CHECK(tier_name(device.tier) == "device");
  CHECK(device.cores == 1);
  CHECK(device.memory_bytes == 1e9);
  REQUIRE(device.power_states.size() == 1);
  CHECK(device.power_states[0].speed_flop_per_s == 1e9);
  CHECK(device.power_states[0].idle_w == 1);
  CHECK(device.power_states[0].epsilon_w == 1);  // "idle:allcores": the line starts at idle
  CHECK(device.power_states[0].all_cores_w == 3);
  CHECK(device.off_w == 0.5);
  CHECK(device.has_radio);
  CHECK(device.radio.idle_w == 0.1);
  CHECK(device.radio.tx_w == 2);
  CHECK(device.radio.rx_w == 1);
  CHECK(device.radio.tx_j_per_byte == 1e-6);
  CHECK(device.radio.rx_j_per_byte == 5e-7);
  const Host& server = platform.host(platform.find_host("server"));
  CHECK_FALSE(server.has_radio);
  CHECK(server.price_usd_per_s == doctest::Approx(0.001).epsilon(1e-15));  // 3.6 / 3600

  const Route* route = platform.route(platform.find_host("server"), platform.find_host("device"));
  REQUIRE(route != nullptr);
  CHECK(route->latency_s == doctest::Approx(0.01).epsilon(1e-15));
  CHECK(platform.bottleneck_bytes_per_s(*route) == 1e6);  // 8e6 bit/s / 8
  CHECK(platform.link(0).price_usd_per_byte == doctest::Approx(1e-9).epsilon(1e-15));

  const Route* home = platform.route(0, 0);
  REQUIRE(home != nullptr);
  CHECK(home->links.empty());
  CHECK(std::isinf(platform.bottleneck_bytes_per_s(*home)));
}

TEST_CASE("platform: the star fixture, with one split duplex link") {
  const Platform platform = Platform::load(kSource / "tests/fixtures/star.xml");
  CHECK(platform.host_names() == Names{"edge", "d0", "d1", "d2"});
  CHECK(platform.host(0).cores == 2);
  CHECK(platform.link_names() == Names{"l0", "l1", "l2", "backbone"});
  CHECK(platform.link_count() == 5);
  CHECK(platform.find_links("l2").size() == 2);
  CHECK(platform.link(platform.find_links("l2_DOWN").at(0)).name == "l2_DOWN");
  CHECK(platform.find_links("l9").empty());
  CHECK(platform.find_host("d9") == -1);
  CHECK(names(platform, "d0", "edge") == Names{"l0", "backbone"});
  CHECK(names(platform, "edge", "d0") == Names{"backbone", "l0"});
  CHECK(names(platform, "d2", "edge") == Names{"l2_UP", "backbone"});
  CHECK(names(platform, "edge", "d2") == Names{"backbone", "l2_DOWN"});
  CHECK(platform.route(platform.find_host("d0"), platform.find_host("d1")) == nullptr);
  // 3 ms + 5 ms
  CHECK(platform.route(3, 0)->latency_s == doctest::Approx(0.008).epsilon(1e-15));
}

TEST_CASE("platform: everything a host may state") {
  const Platform platform = Platform::parse(
      zone(host("a", R"(speed="2Gf, 1Gf" core="4" pstate="1")",
                prop("wattage_per_state", "10:20:50, 5:10:20") + prop("discipline", "batch") +
                    prop("max_batch", "8") + prop("max_wait", "5ms") + prop("device_type", "t"))),
      "p.xml");
  const Host& a = platform.host(0);
  REQUIRE(a.power_states.size() == 2);
  CHECK(a.power_state == 1);
  CHECK(a.power_states[1].speed_flop_per_s == 1e9);
  CHECK(a.power_states[0].epsilon_w == 20);
  CHECK(a.power_states[1].all_cores_w == 20);
  CHECK(a.discipline == Discipline::kBatch);
  CHECK(a.max_batch == 8);
  CHECK(a.max_wait_s == doctest::Approx(0.005).epsilon(1e-15));
  CHECK(a.device_type == "t");
}

TEST_CASE("platform: an experiment changes a link") {
  Platform platform = Platform::load(kSource / "tests/fixtures/star.xml");
  const LinkId backbone = platform.find_links("backbone").at(0);
  platform.set_latency(backbone, 0.01, "e.json: /links/backbone");
  CHECK(platform.route(1, 0)->latency_s == doctest::Approx(0.011).epsilon(1e-15));  // 1 ms + 10 ms
  platform.set_bandwidth(backbone, 5e5);
  CHECK(platform.bottleneck_bytes_per_s(*platform.route(1, 0)) == 5e5);

  // The route of d0 loses its latency, those of d1 and d2 keep theirs: all three share the backbone.
  platform.set_latency(backbone, 0, "e.json: /links/backbone");
  std::string message;
  try {
    platform.set_latency(platform.find_links("l0").at(0), 0, "e.json: /links/l0");
  } catch (const InputError& e) {
    message = e.what();
  }
  CHECK(message ==
        "e.json: /links/l0: shared link \"backbone\" carries routes without latency (\"edge\" -> \"d0\") and "
        "with some "
        "(\"edge\" -> \"d1\"): under SimGrid's CM02 the former would starve; give all of them a latency or "
        "none");
}

TEST_CASE("platform: what is valid though unusual") {
  CHECK(error_of(zone(host("alone"))) == "no error");  // one host needs no route
  CHECK(error_of("<?xml version=\"1.0\"?>\n<!DOCTYPE platform SYSTEM \"x\">\n<!-- c -->" +
                 zone(kHosts + kLink + kRoute)) == "no error");
  // A fatpipe shares nothing, so nothing can starve on it.
  const std::string fat = R"(<link id="f" bandwidth="1Gbps" latency="0s" sharing_policy="FATPIPE"/>)";
  CHECK(error_of(
            zone(kHosts + host("c") + fat + kLink + R"(<route src="a" dst="b"><link_ctn id="f"/></route>)" +
                 R"(<route src="a" dst="c"><link_ctn id="l"/><link_ctn id="f"/></route>)")) == "no error");
}

TEST_CASE("platform: mistakes name file, line, value and valid choices") {
  struct Bad {
    std::string xml, fragment;
  };
  const auto link = [](const std::string& attributes) {
    return zone(kHosts + "\n<link id=\"l\" " + attributes + "/>" + kRoute);
  };
  const auto route = [](const std::string& text) { return zone(kHosts + "\n" + kLink + "\n" + text); };
  const auto property = [](const std::string& id, const std::string& value) {
    return zone(host("a", "speed=\"2Gf,1Gf\"", prop(id, value)));
  };
  const std::string deep = [] {
    std::string text;
    for (int i = 0; i < 100000; ++i) text += "<zone>";
    for (int i = 0; i < 100000; ++i) text += "</zone>";
    return text;
  }();
  const Bad table[] = {
      // ---- the document ----
      {"", "p.xml: the file is empty"},
      {std::string("\x7f"
                   "ELF\0\1\2",
                   7),
       "p.xml: holds binary data, not XML"},
      {"hello", "stray text \"hello\""},
      {"<platform version=\"4.1\">\n<zone", "p.xml: line 2: not XML"},
      {deep, "unknown element <zone>; valid: platform"},
      {zone("<zone id=\"y\" routing=\"Full\">" + deep + "</zone>"),
       "unknown element <zone>; valid: host, link, route"},
      {"<!-- nothing -->", "<platform> is missing"},
      {"<platform version=\"4.1\"/>", "line 1: <zone> is missing"},
      {"<platform version=\"4\"><zone id=\"z\" routing=\"Full\"/></platform>",
       "version: \"4\" is unknown; valid: 4.1"},
      {"<platform><zone id=\"z\" routing=\"Full\"/></platform>",
       "attribute \"version\" of <platform> is missing"},
      {zone("") + zone(""), "there is one <platform> only"},
      {"<platform version=\"4.1\"><zone id=\"z\" routing=\"Full\"/>\n<zone id=\"y\" "
       "routing=\"Full\"/></platform>",
       "line 2: there is one <zone> only"},
      {"<platform version=\"4.1\"><zone id=\"z\" routing=\"Floyd\"/></platform>",
       "routing: \"Floyd\" is unknown; valid: Full"},
      {"<platform version=\"4.1\"><zone routing=\"Full\"/></platform>", "\"id\" of <zone> is missing"},
      {zone(""), "line 2: there is no <host>"},
      {zone("<hst id=\"a\"/>"),
       "p.xml: line 3: unknown element <hst>; valid: host, link, route; did you mean \"host\"?"},
      {zone("text"), "stray text \"text\""},
      // ---- hosts ----
      {zone("<host id=\"a\" speed=\"1Gf\"/>"),
       "host \"a\" has no property \"tier\"; valid: device, edge, cloud, uav"},
      {zone("<host speed=\"1Gf\"/>"), "line 3: attribute \"id\" of <host> is missing or empty"},
      {zone("<host id=\"\" speed=\"1Gf\"/>"), "\"id\" of <host> is missing or empty"},
      {zone(host("a", "")), "\"speed\" of <host> is missing"},
      {zone(host("a", "speed=\"1\"")), "line 3: speed: \"1\" has no unit; valid: f"},
      {zone(host("a", "speed=\"1Mbps\"")), "unknown unit \"Mbps\""},
      {zone(host("a", "speed=\"0Gf\"")), "\"0Gf\" must be positive"},
      {zone(host("a", "speed=\"1e300Pf\"")), "\"1e300Pf\" is too large"},
      {zone(host("a", "speed=\"1Gf,\"")), "speed: \"\" is no number"},
      {zone(host("a", "speed=\"1Gf\" core=\"0\"")), "core: \"0\" must be a whole number within [1, 1000000]"},
      {zone(host("a", "speed=\"1Gf\" core=\"1.5\"")), "core: \"1.5\" must be a whole number"},
      {zone(host("a", "speed=\"1Gf\" pstate=\"1\"")), "pstate: \"1\" must be a whole number within [0, 0]"},
      {zone(host("a", "speed=\"1Gf\" cores=\"2\"")),
       "unknown attribute \"cores\" of <host>; valid: id, speed, core, pstate; did you mean \"core\"?"},
      {zone(host("a", "speed=\"1Gf\" speed=\"2Gf\"")), "attribute \"speed\" stands twice"},
      {zone(host("a") + "\n" + host("a")), "line 4: host \"a\" stands twice"},
      {zone(host("a", "speed=\"1Gf\"", "<disk id=\"d\"/>")), "unknown element <disk>; valid: prop"},
      {property("tier", "edge"), "property \"tier\" stands twice"},
      {property("wattage_per_stat", "1"), "unknown property \"wattage_per_stat\" of <host>"},
      {property("wattage_per_stat", "1"), "did you mean \"wattage_per_state\"?"},
      {property("memory", "1"), "line 3: memory: \"1\" has no unit"},
      {property("memory", "0B"), "must be positive"},
      {property("memory", ""), "attribute \"value\" of <prop> is missing or empty"},
      {property("wattage_per_state", "1:2"), "\"1:2\" lists 1 states, the host's speed has 2"},
      {property("wattage_per_state", "1:2,3"), "\"3\" must have the form idle:epsilon:allcores"},
      {property("wattage_per_state", "1:2,1:2:3:4"), "\"1:2:3:4\" must have the form"},
      {property("wattage_per_state", "1:2,1W:2W"), "\"1W\" must be a plain number"},
      {property("wattage_off", "-1"), "wattage_off: \"-1\" must be a plain number, not negative"},
      {property("wattage_off", "nan"), "must be a plain number"},
      {property("wattage_radio", "1:2"), "\"1:2\" must have the form idle:tx:rx"},
      {property("joule_per_byte_radio", "1"), "must have the form tx:rx"},
      {property("price_per_hour", "3 USD"), "must be a plain number"},
      {property("battery", "9"), "line 3: battery: \"9\" has no unit; valid: J, mJ, kJ, Wh, kWh"},
      {property("battery", "0Wh"), "must be positive"},
      {property("wattage_flight", "100W"), "must be a plain number"},
      {property("discipline", "fifi"),
       "discipline: \"fifi\" is unknown; valid: fifo, batch, shared; did you mean \"fifo\"?"},
      {property("max_batch", "2"), "max_batch: is for discipline \"batch\" only"},
      {zone(host("a", "speed=\"1Gf\"", prop("discipline", "batch") + prop("max_batch", "0"))),
       "max_batch: \"0\" must be"},
      {zone("<host id=\"a\" speed=\"1Gf\"><prop id=\"tier\" value=\"fog\"/></host>"),
       "tier: \"fog\" is unknown"},
      {zone(kHosts + kLink), "host \"a\" has no route"},
      {zone(kHosts + "\n" + host("c") + "\n" + kLink + kRoute), "line 4: host \"c\" has no route"},
      // ---- links ----
      {link("bandwidth=\"-8Mbps\" latency=\"1ms\""),
       "line 4: bandwidth: \"-8Mbps\" must be finite and not negative"},
      {link("bandwidth=\"0Mbps\" latency=\"1ms\""), "\"0Mbps\" must be positive"},
      {link("bandwidth=\"8\" latency=\"1ms\""), "\"8\" has no unit"},
      {link("bandwidth=\"8Mb\" latency=\"1ms\""), "unknown unit \"Mb\"; valid: bps"},
      {link("bandwidth=\"8Mbps\""), "\"latency\" of <link> is missing"},
      {link("bandwidth=\"8Mbps\" latency=\"-1ms\""), "latency: \"-1ms\" must be finite and not negative"},
      {link("bandwidth=\"8Mbps\" latency=\"1\""), "latency: \"1\" has no unit"},
      {link("bandwidth=\"8Mbps\" latency=\"1ms\" sharing_policy=\"FAT\""),
       "valid: SHARED, FATPIPE, SPLITDUPLEX"},
      {zone(kHosts + kLink + "\n" + kLink + kRoute), "line 4: link \"l\" stands twice"},
      {zone(kHosts + kDuplex + "\n<link id=\"l_UP\" bandwidth=\"1Mbps\" latency=\"1ms\"/>"),
       "line 4: link \"l_UP\" stands twice"},
      {zone(kHosts + "<link id=\"l_UP\" bandwidth=\"1Mbps\" latency=\"1ms\"/>\n" + kDuplex),
       "line 4: link \"l_UP\" stands twice"},
      {zone("<link id=\"l\" bandwidth=\"1Mbps\" latency=\"1ms\"><prop id=\"price\" value=\"1\"/></link>"),
       "unknown property \"price\" of <link>; valid: price_per_gb"},
      // ---- routes ----
      {route(R"(<route src="a" dst="x"><link_ctn id="l"/></route>)"),
       "line 5: dst: \"x\" is no host; valid: a, b"},
      {route(R"(<route src="a" dst="b"><link_ctn id="k"/></route>)"),
       "line 5: id: \"k\" is no link; valid: l"},
      {route(R"(<route src="a" dst="a"><link_ctn id="l"/></route>)"), "route from host \"a\" to itself"},
      {route(R"(<route src="a" dst="b"/>)"), "line 5: route without links"},
      {route(R"(<route src="a"><link_ctn id="l"/></route>)"), "\"dst\" of <route> is missing"},
      {route(kRoute + "\n" + kRoute), "line 6: route \"a\" -> \"b\" stands twice"},
      {route(kRoute + "\n" + R"(<route src="b" dst="a"><link_ctn id="l"/></route>)"),
       "line 6: route \"b\" -> \"a\" stands twice"},
      {route(R"(<route src="a" dst="b" symmetrical="NO"><link_ctn id="l"/></route>)"),
       "route \"a\" -> \"b\" has no way back, so results could not return"},
      {route(R"(<route src="a" dst="b" symmetrical="no"><link_ctn id="l"/></route>)"),
       "symmetrical: \"no\" is unknown; valid: YES, NO"},
      {route(R"(<route src="a" dst="b"><link_ctn id="l" direction="UP"/></route>)"),
       "link \"l\" has no direction"},
      {zone(kHosts + kDuplex + kRoute), "SPLITDUPLEX link \"l\" needs a direction; valid: UP, DOWN"},
      {zone(kHosts + kDuplex + R"(<route src="a" dst="b"><link_ctn id="l_UP"/></route>)"),
       "\"l_UP\" is no link; valid: l"},
      {zone(kHosts + kDuplex + R"(<route src="a" dst="b"><link_ctn id="l" direction="up"/></route>)"),
       "direction: \"up\" is unknown"},
      {route(kRoute + host("c")), "<host> stands after a <route>"},
      {route(R"(<route src="a" dst="b"><link id="l"/></route>)"), "unknown element <link>; valid: link_ctn"},
      {zone(
           kHosts + host("c") + kLink + "\n" + R"(<link id="z" bandwidth="1Mbps" latency="0s"/>)" +
           R"(<route src="a" dst="b"><link_ctn id="z"/></route><route src="a" dst="c"><link_ctn id="z"/><link_ctn id="l"/></route>)"),
       "line 4: shared link \"z\" carries routes without latency (\"a\" -> \"b\") and with some (\"a\" -> "
       "\"c\")"},
  };
  for (const Bad& bad : table) {
    INFO(bad.xml.substr(0, 600));
    const std::string message = error_of(bad.xml);
    INFO(message);
    CHECK(message.find("p.xml: ") == 0);
    CHECK(message.find(bad.fragment) != message.npos);
  }
}

TEST_CASE("platform: Wi-Fi zones") {
  Platform platform = Platform::load(kSource / "tests/fixtures/wifi.xml");
  const auto route = [&](const char* from, const char* to) -> const Route& {
    return *platform.route(platform.find_host(from), platform.find_host(to));
  };
  const auto rate = [&](const char* from, const char* to) {
    return platform.bottleneck_bytes_per_s(route(from, to));
  };
  const LinkId air = platform.find_links("air").front();
  CHECK(platform.link(air).sharing == Sharing::kWifi);
  CHECK(platform.link(air).rates_bytes_per_s == std::vector<double>{1e7, 2.5e6});
  CHECK(platform.link(air).bandwidth_bytes_per_s == 1e7);
  CHECK(platform.host(platform.find_host("slow")).wifi_rate == 1);
  // Between stations by the access point: 1 / (1 / 10 + 1 / 2.5) = 2 MB/s.
  CHECK(names(platform, "fast", "slow") == Names{"air", "air"});
  CHECK(route("fast", "slow").weights == std::vector<double>{5, 5});
  CHECK(rate("fast", "slow") == 2e6);
  CHECK(rate("fast", "other") == 5e6);
  // Out and in at the station's rate.
  CHECK(names(platform, "slow", "edge") == Names{"air", "uplink"});
  CHECK(names(platform, "edge", "slow") == Names{"uplink", "air"});
  CHECK(rate("slow", "edge") == 2.5e6);
  CHECK(rate("edge", "slow") == 2.5e6);
  CHECK(route("fast", "cloud").weights.empty());
  CHECK(names(platform, "cloud", "fast") == Names{"backbone", "uplink", "air"});
  CHECK(rate("cloud", "fast") == 1e6);
  // From medium to medium: the slower of slow's 2.5 and desk's 2 MB/s.
  CHECK(names(platform, "slow", "desk") == Names{"air", "bridge_UP", "office_air"});
  CHECK(names(platform, "desk", "slow") == Names{"office_air", "bridge_DOWN", "air"});
  CHECK(rate("slow", "desk") == 2e6);
  CHECK(platform.route(platform.find_host("desk"), platform.find_host("edge")) == nullptr);
  // All rates in proportion.
  platform.set_bandwidth(air, 2e7);
  CHECK(platform.link(air).rates_bytes_per_s == std::vector<double>{2e7, 5e6});
  CHECK(rate("fast", "slow") == 4e6);
}

namespace {

std::string wifi(const std::string& contents, const std::string& rest = "") {
  return zone("<zone id=\"w\" routing=\"Wifi\"><prop id=\"access_point\" value=\"ap\"/><router id=\"ap\"/>" +
              contents + "</zone>\n<zone id=\"f\" routing=\"Full\">" + host("c") +
              "</zone>\n<link id=\"l\" bandwidth=\"8Mbps\" latency=\"0s\"/>\n" + rest);
}
const std::string kAir = R"(<link id="air" bandwidth="8Mbps,4Mbps" sharing_policy="WIFI"/>)";
const std::string kOut =
    R"(<zoneRoute src="w" dst="f" gw_src="ap" gw_dst="c"><link_ctn id="l"/></zoneRoute>)";

}  // namespace

TEST_CASE("platform: what is refused of zones") {
  CHECK(error_of(wifi(kHosts + kAir, kOut)) == "no error");
  const auto refused = [](const std::string& xml, const std::string& fragment) {
    const std::string message = error_of(xml);
    INFO(message);
    CHECK(message.find(fragment) != message.npos);
  };
  refused(wifi(kHosts, kOut), "line 3: a Wi-Fi zone has one <link>, its medium");
  refused(wifi(kHosts + kAir + kLink, kOut), "has sharing_policy=\"WIFI\"");
  refused(wifi(kHosts + kAir + R"(<link id="b" bandwidth="8Mbps" sharing_policy="WIFI"/>)", kOut),
          "a Wi-Fi zone has one <link>");
  refused(zone(kHosts + kAir), "is the one link of a zone of routing \"Wifi\"");
  refused(wifi(kHosts + R"(<link id="air" bandwidth="8Mbps,0Mbps" sharing_policy="WIFI"/>)", kOut),
          "bandwidth: \"0Mbps\" must be positive");
  refused(wifi(kHosts + R"(<link id="air" bandwidth="8Mbps" latency="1ms" sharing_policy="WIFI"/>)", kOut),
          "a WIFI link's latency is a <prop>");
  refused(wifi(host("a", "speed=\"1Gf\"", prop("wifi_rate", "2")) + kAir, kOut),
          "host \"a\" has wifi_rate 2, link \"air\" has 2 rates");
  refused(zone(host("a", "speed=\"1Gf\"", prop("wifi_rate", "0"))),
          "wifi_rate: is for hosts of a zone of routing \"Wifi\"");
  refused(wifi(kAir, kOut), "zone \"w\" has no <host>");
  refused(wifi(kHosts + kAir), "host \"c\" has no route");
  refused(wifi(kHosts + kAir,
               R"(<zoneRoute src="w" dst="f" gw_src="a" gw_dst="c"><link_ctn id="l"/></zoneRoute>)"),
          "gw_src: \"a\" is unknown; valid: ap");
  refused(wifi(kHosts + kAir,
               R"(<zoneRoute src="w" dst="x" gw_src="ap" gw_dst="c"><link_ctn id="l"/></zoneRoute>)"),
          "dst: \"x\" is unknown; valid: w, f");
  refused(wifi(kHosts + kAir,
               R"(<zoneRoute src="w" dst="w" gw_src="ap" gw_dst="ap"><link_ctn id="l"/></zoneRoute>)"),
          "leads from a zone to another");
  refused(wifi(kHosts + kAir,
               R"(<zoneRoute src="w" dst="f" gw_src="ap" gw_dst="c"><link_ctn id="air"/></zoneRoute>)"),
          "the routes of its zone take it by themselves");
  refused(wifi(kHosts + kAir, kOut + kOut), "stands twice");
  refused(zone("<zone id=\"f\" routing=\"Full\">" + host("a") + "</zone><zone id=\"g\" routing=\"Full\">" +
               host("b") + kLink + kRoute + "</zone>"),
          "src: \"a\" is a host of another zone");
  refused(zone("<zone id=\"f\" routing=\"Full\">" + host("a") + "</zone>" + host("b")),
          "unknown element <host>; valid: zone, link, zoneRoute");
  refused(zone("<zone id=\"f\" routing=\"Dijkstra\">" + host("a") + "</zone>"),
          "routing: \"Dijkstra\" is unknown; valid: Full, Wifi");
  // A station's way to another has no latency, that to the wired zone has: CM02 would starve one.
  const std::string slow_out =
      R"(<link id="m" bandwidth="8Mbps" latency="1ms"/><zoneRoute src="w" dst="f" gw_src="ap" gw_dst="c"><link_ctn id="m"/></zoneRoute>)";
  refused(wifi(kHosts + kAir, slow_out), "shared link \"air\" carries routes without latency");
  CHECK(
      error_of(wifi(
          kHosts +
              R"(<link id="air" bandwidth="8Mbps" sharing_policy="WIFI"><prop id="latency" value="2ms"/></link>)",
          slow_out)) == "no error");
}

TEST_CASE("platform: 10,000 devices around one edge") {
  constexpr int kDevices = 10000;
  std::string body = host("edge");
  for (int i = 0; i < kDevices; ++i) {
    body +=
        host(fmt::format("d{}", i)) + fmt::format(R"(<link id="l{}" bandwidth="8Mbps" latency="1ms"/>)", i);
  }
  for (int i = 0; i < kDevices; ++i) {
    body += fmt::format(R"(<route src="d{0}" dst="edge"><link_ctn id="l{0}"/></route>)", i) + "\n";
  }
  const Platform platform = Platform::parse(zone(body), "p.xml");
  CHECK(platform.host_count() == kDevices + 1);
  CHECK(names(platform, "edge", "d9999") == Names{"l9999"});
}
