#include "sim/platform.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <pugixml.hpp>

#include "sim/error.h"
#include "sim/json_reader.h"
#include "sim/units.h"

namespace cdisim {

namespace {

using Names = std::vector<std::string>;

const Names kTiers{"device", "edge", "cloud", "uav"};
const Names kDisciplines{"fifo", "batch", "shared"};
const Names kHostProperties{
    "tier",           "device_type",       "profile",     "memory",         "discipline",
    "max_batch",      "max_wait",          "wattage_off", "wattage_radio",  "joule_per_byte_radio",
    "price_per_hour", "wattage_per_state", "battery",     "wattage_flight", "wifi_rate"};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    std::string_view part = text.substr(0, end);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    parts.push_back(part);
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// The offset of the first byte that is no UTF-8; pugixml takes any, results.json does not.
std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const std::size_t length = first < 0x80   ? 1
                               : first < 0xc2 ? 0
                               : first < 0xe0 ? 2
                               : first < 0xf0 ? 3
                               : first < 0xf5 ? 4
                                              : 0;
    if (length == 0 || i + length > text.size()) return i;
    unsigned code = length == 1 ? first : first & (0xffu >> (length + 1));
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return i;
      code = code << 6 | (next & 0x3fu);
    }
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    if (surrogate || code > 0x10ffff || (length == 3 && code < 0x800) || (length == 4 && code < 0x10000))
      return i;
    i += length;
  }
  return std::nullopt;
}

double parse_number(std::string_view text, std::string_view place) {
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || rest != text.data() + text.size() || !std::isfinite(number) || number < 0) {
    throw InputError(place, fmt::format("\"{}\" must be a plain number, not negative", text));
  }
  return number;
}

int parse_integer(std::string_view text, int low, int high, std::string_view place) {
  int number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || rest != text.data() + text.size() || number < low || number > high) {
    throw InputError(place, fmt::format("\"{}\" must be a whole number within [{}, {}]", text, low, high));
  }
  return number;
}

double parse_positive(std::string_view text, Dimension dimension, std::string_view place) {
  const double value = parse_quantity(text, dimension, place);
  if (value <= 0 || !std::isfinite(value)) {
    throw InputError(place, fmt::format("\"{}\" must be positive and finite", text));
  }
  return value;
}

// "1:2:3" with as many numbers as `form`, which is also how the error spells it: "idle:tx:rx".
std::vector<double> parse_numbers(std::string_view text, std::string_view form, std::string_view place) {
  std::vector<double> numbers;
  for (const std::string_view part : split(text, ':')) numbers.push_back(parse_number(part, place));
  if (numbers.size() != split(form, ':').size()) {
    throw InputError(place, fmt::format("\"{}\" must have the form {}", text, form));
  }
  return numbers;
}

std::size_t parse_choice(std::string_view text, const Names& valid, std::string_view place) {
  const auto found = std::find(valid.begin(), valid.end(), text);
  if (found == valid.end()) {
    throw InputError(place, fmt::format("\"{}\" is unknown{}", text, valid_choices(text, valid)));
  }
  return static_cast<std::size_t>(found - valid.begin());
}

}  // namespace

std::string_view tier_name(Tier tier) {
  // No static object: policies ask while they register, before this file's statics exist.
  switch (tier) {
    case Tier::kDevice:
      return "device";
    case Tier::kEdge:
      return "edge";
    case Tier::kCloud:
      return "cloud";
    case Tier::kUav:
      return "uav";
  }
  return "";
}

Tier tier_of(const std::string& name, const std::string& place) {
  const auto found = std::ranges::find(kTiers, name);
  if (found == kTiers.end())
    throw InputError(place, fmt::format("\"{}\" is no tier{}", name, valid_choices(name, kTiers)));
  return static_cast<Tier>(found - kTiers.begin());
}

/// Walks one XML document; every check that SimGrid would answer with an abort is made here.
class PlatformReader {
 public:
  PlatformReader(std::string_view xml, const std::string& file) : file_(file) {
    platform_.file_ = file;
    platform_.name_ = std::filesystem::path(file).stem().string();
    for (std::size_t i = 0; i < xml.size(); ++i) {
      if (xml[i] == '\n') newlines_.push_back(i);
    }
    if (xml.empty()) throw InputError(file_, "the file is empty");
    if (xml.find('\0') != xml.npos) throw InputError(file_, "holds binary data, not XML");
    if (const auto at = find_invalid_utf8(xml)) {
      throw InputError(line(static_cast<std::ptrdiff_t>(*at)), "holds a byte that is no UTF-8");
    }
    // A fragment, because otherwise text beside the root element would be dropped in silence.
    const auto result = document_.load_buffer(
        xml.data(), xml.size(), pugi::parse_default | pugi::parse_fragment | pugi::parse_trim_pcdata,
        pugi::encoding_utf8);
    if (!result) {
      throw InputError(line(result.offset), fmt::format("not XML ({})", result.description()));
    }
  }

  Platform read() {
    const pugi::xml_node root = only_element(document_, "platform", file_);
    check_attributes(root, {"version"});
    parse_choice(required(root, "version"), {"4.1"}, place(root, "version"));
    const pugi::xml_node zone = only_element(root, "zone", place(root));
    check_attributes(zone, {"id", "routing"});
    required(zone, "id");
    parse_choice(required(zone, "routing"), {"Full"}, place(zone, "routing"));
    if (zone.child("zone")) {
      read_contents(zone, {"zone", "link", "zoneRoute"});
    } else {
      zones_.push_back({.node = zone});
      read_contents(zone, {"host", "link", "route"});
    }
    check_whole(zone);
    return std::move(platform_);
  }

 private:
  // ---- places and errors ----
  std::string line(std::ptrdiff_t offset) const {
    const auto newline = std::lower_bound(newlines_.begin(), newlines_.end(),
                                          static_cast<std::size_t>(std::max<std::ptrdiff_t>(offset, 0)));
    return fmt::format("{}: line {}", file_, newline - newlines_.begin() + 1);
  }
  std::string place(const pugi::xml_node& node) const { return line(node.offset_debug()); }
  std::string place(const pugi::xml_node& node, std::string_view attribute) const {
    return fmt::format("{}: {}", place(node), attribute);
  }
  [[noreturn]] void fail(const pugi::xml_node& node, const std::string& message) const {
    throw InputError(place(node), message);
  }

  // ---- elements, attributes, properties ----
  std::vector<pugi::xml_node> elements(const pugi::xml_node& parent, const Names& known) const {
    std::vector<pugi::xml_node> found;
    for (const pugi::xml_node child : parent.children()) {
      if (child.type() != pugi::node_element)
        fail(child, fmt::format("stray text \"{:.40}\"", child.value()));
      const std::string_view name = child.name();
      if (std::find(known.begin(), known.end(), name) == known.end()) {
        fail(child, fmt::format("unknown element <{}>{}", name, valid_choices(name, known)));
      }
      found.push_back(child);
    }
    return found;
  }

  pugi::xml_node only_element(const pugi::xml_node& parent, const std::string& name,
                              const std::string& where) const {
    const auto found = elements(parent, {name});
    if (found.empty()) throw InputError(where, fmt::format("<{}> is missing", name));
    if (found.size() > 1) fail(found[1], fmt::format("there is one <{}> only", name));
    return found.front();
  }

  void check_attributes(const pugi::xml_node& node, const Names& known) const {
    for (const pugi::xml_attribute attribute : node.attributes()) {
      const std::string_view name = attribute.name();
      if (std::find(known.begin(), known.end(), name) == known.end()) {
        fail(node, fmt::format("unknown attribute \"{}\" of <{}>{}", name, node.name(),
                               valid_choices(name, known)));
      }
      if (attribute != node.attribute(attribute.name())) {
        fail(node, fmt::format("attribute \"{}\" stands twice", name));
      }
    }
  }

  std::string_view required(const pugi::xml_node& node, const char* attribute) const {
    const std::string_view value = node.attribute(attribute).value();
    if (value.empty())
      fail(node, fmt::format("attribute \"{}\" of <{}> is missing or empty", attribute, node.name()));
    return value;
  }

  struct Property {
    std::string_view value;
    std::string place;
  };
  using Properties = std::map<std::string_view, Property>;

  // `others`: the elements that may stand beside the properties.
  Properties read_properties(const pugi::xml_node& parent, const Names& known, Names others = {}) const {
    Properties properties;
    others.emplace_back("prop");
    for (const pugi::xml_node node : elements(parent, others)) {
      if (std::string_view(node.name()) != "prop") continue;
      check_attributes(node, {"id", "value"});
      const std::string_view id = required(node, "id");
      if (std::find(known.begin(), known.end(), id) == known.end()) {
        fail(node,
             fmt::format("unknown property \"{}\" of <{}>{}", id, parent.name(), valid_choices(id, known)));
      }
      if (!properties.try_emplace(id, Property{required(node, "value"), place(node, id)}).second) {
        fail(node, fmt::format("property \"{}\" stands twice", id));
      }
    }
    return properties;
  }

  static const Property* find(const Properties& properties, std::string_view id) {
    const auto found = properties.find(id);
    return found == properties.end() ? nullptr : &found->second;
  }

  // ---- zones ----
  struct Zone {
    pugi::xml_node node;
    bool wifi = false;
    std::vector<HostId> hosts = {};
    std::string_view access_point = {};  // Wi-Fi: the name of a router
    LinkId air = -1;
  };

  void read_contents(const pugi::xml_node& zone, const Names& known) {
    bool routes_begun = false;
    for (const pugi::xml_node node : elements(zone, known)) {
      const std::string_view kind = node.name();
      const bool is_route = kind == "route" || kind == "zoneRoute";
      // SimGrid's own reader stops here.
      if (routes_begun && !is_route)
        fail(node, fmt::format("<{}> stands after a <route>; hosts and links come first", kind));
      routes_begun = routes_begun || is_route;
      if (kind == "zone") read_zone(node);
      if (kind == "host") read_host(node);
      if (kind == "link") read_link(node);
      if (kind == "route") read_route(node);
      if (kind == "zoneRoute") read_zone_route(node);
    }
  }

  void read_zone(const pugi::xml_node& node) {
    check_attributes(node, {"id", "routing"});
    const std::string_view name = required(node, "id");
    if (find_zone(name) != nullptr) fail(node, fmt::format("zone \"{}\" stands twice", name));
    const bool wifi = parse_choice(required(node, "routing"), {"Full", "Wifi"}, place(node, "routing")) == 1;
    zones_.push_back({.node = node, .wifi = wifi});
    if (wifi) {
      read_wifi_zone(node);
    } else {
      read_contents(node, {"host", "link", "route"});
    }
    if (zones_.back().hosts.empty()) fail(node, fmt::format("zone \"{}\" has no <host>", name));
  }

  // One medium: the way from a station to another leads through the access point and takes it twice.
  void read_wifi_zone(const pugi::xml_node& node) {
    const Properties properties = read_properties(node, {"access_point"}, {"router", "host", "link"});
    Names routers;
    for (const pugi::xml_node child : node.children()) {
      const std::string_view kind = child.name();
      if (kind == "host") read_host(child);
      if (kind == "link") read_link(child);
      if (kind != "router") continue;
      check_attributes(child, {"id"});
      elements(child, {});
      routers.emplace_back(required(child, "id"));
    }
    Zone& zone = zones_.back();
    if (zone.air < 0) fail(node, "a Wi-Fi zone has one <link>, its medium");
    // A host as access point would have one rate for all stations.
    if (const Property* p = find(properties, "access_point")) {
      parse_choice(p->value, routers, p->place);
      zone.access_point = p->value;
    }
    const auto levels = static_cast<int>(platform_.link(zone.air).rates_bytes_per_s.size());
    for (const HostId id : zone.hosts) {
      const Host& host = platform_.host(id);
      if (host.wifi_rate >= levels)
        fail(host_nodes_[static_cast<std::size_t>(id)],
             fmt::format("host \"{}\" has wifi_rate {}, link \"{}\" has {} rates, the first is 0", host.name,
                         host.wifi_rate, platform_.link(zone.air).name, levels));
    }
    platform_.routes_.resize(platform_.hosts_.size());
    for (const HostId from : zone.hosts) {
      for (const HostId to : zone.hosts) {
        if (from != to) add_route(node, from, to, {zone.air, zone.air});
      }
    }
  }

  const Zone* find_zone(std::string_view name) const {
    for (const Zone& zone : zones_) {
      if (name == zone.node.attribute("id").value()) return &zone;
    }
    return nullptr;
  }

  // The links between a host and its zone's gateway; empty where the host is the gateway.
  std::vector<LinkId> way(const Zone& zone, HostId host, std::string_view gateway, bool out) const {
    if (zone.wifi) return {zone.air};
    if (platform_.host(host).name == gateway) return {};
    const HostId other = platform_.find_host(gateway);
    const Route* route = out ? platform_.route(host, other) : platform_.route(other, host);
    if (route == nullptr)
      fail(host_nodes_[static_cast<std::size_t>(host)],
           fmt::format("host \"{}\" has no route to and from \"{}\", the gateway of its zone",
                       platform_.host(host).name, gateway));
    return route->links;
  }

  struct Gateway {
    const Zone* zone;
    std::string_view name;
  };

  Gateway read_gateway(const pugi::xml_node& node, const char* zone_attribute, const char* attribute) const {
    Names names, gateways;
    for (const Zone& zone : zones_) names.emplace_back(zone.node.attribute("id").value());
    const Zone& zone =
        zones_[parse_choice(required(node, zone_attribute), names, place(node, zone_attribute))];
    if (!zone.wifi) {
      for (const HostId id : zone.hosts) gateways.push_back(platform_.host(id).name);
    } else if (!zone.access_point.empty()) {
      gateways.emplace_back(zone.access_point);
    }
    const std::string_view name = required(node, attribute);
    parse_choice(name, gateways, place(node, attribute));
    return {&zone, name};
  }

  void read_zone_route(const pugi::xml_node& node) {
    check_attributes(node, {"src", "dst", "gw_src", "gw_dst", "symmetrical"});
    const Gateway from = read_gateway(node, "src", "gw_src"), to = read_gateway(node, "dst", "gw_dst");
    if (from.zone == to.zone) fail(node, "a <zoneRoute> leads from a zone to another");
    const auto [there, back] = read_route_links(node);
    const bool symmetrical = read_symmetrical(node);
    const auto join = [&](const Gateway& a, HostId host_a, const std::vector<LinkId>& between,
                          const Gateway& b, HostId host_b) {
      std::vector<LinkId> links = way(*a.zone, host_a, a.name, true);
      const std::vector<LinkId> last = way(*b.zone, host_b, b.name, false);
      links.insert(links.end(), between.begin(), between.end());
      links.insert(links.end(), last.begin(), last.end());
      add_route(node, host_a, host_b, std::move(links));
    };
    platform_.routes_.resize(platform_.hosts_.size());
    for (const HostId a : from.zone->hosts) {
      for (const HostId b : to.zone->hosts) {
        join(from, a, there, to, b);
        if (symmetrical) {
          join(to, b, back, from, a);
        } else {
          one_way_.push_back({node, a, b});
        }
      }
    }
  }

  // ---- hosts ----
  void read_host(const pugi::xml_node& node) {
    check_attributes(node, {"id", "speed", "core", "pstate"});
    Host host;
    host.name = required(node, "id");
    if (!platform_.host_ids_.emplace(host.name, platform_.host_count()).second) {
      fail(node, fmt::format("host \"{}\" stands twice", host.name));
    }
    for (const std::string_view speed : split(required(node, "speed"), ',')) {
      host.power_states.push_back(
          {.speed_flop_per_s = parse_positive(speed, Dimension::kSpeed, place(node, "speed"))});
    }
    constexpr int kMostCores = 1'000'000;
    if (node.attribute("core"))
      host.cores = parse_integer(required(node, "core"), 1, kMostCores, place(node, "core"));
    if (node.attribute("pstate")) {
      host.power_state = parse_integer(required(node, "pstate"), 0,
                                       static_cast<int>(host.power_states.size()) - 1, place(node, "pstate"));
    }

    const Properties properties = read_properties(node, kHostProperties);
    const Property* tier = find(properties, "tier");
    if (!tier)
      fail(node, fmt::format("host \"{}\" has no property \"tier\"{}", host.name, valid_choices("", kTiers)));
    host.tier = static_cast<Tier>(parse_choice(tier->value, kTiers, tier->place));
    if (const auto* p = find(properties, "device_type")) host.device_type = p->value;
    if (const auto* p = find(properties, "profile")) host.profile = p->value;
    if (const auto* p = find(properties, "memory")) {
      host.memory_bytes = parse_positive(p->value, Dimension::kData, p->place);
    }
    if (const auto* p = find(properties, "price_per_hour"))
      host.price_usd_per_s = parse_number(p->value, p->place) / 3600;
    if (const auto* p = find(properties, "wifi_rate")) {
      if (!zones_.back().wifi) throw InputError(p->place, "is for hosts of a zone of routing \"Wifi\"");
      host.wifi_rate = parse_integer(p->value, 0, std::numeric_limits<int>::max(), p->place);
    }
    read_discipline(properties, host);
    read_power(properties, host);
    zones_.back().hosts.push_back(platform_.host_count());
    platform_.hosts_.push_back(std::move(host));
    host_nodes_.push_back(node);
  }

  void read_discipline(const Properties& properties, Host& host) const {
    if (const auto* p = find(properties, "discipline")) {
      host.discipline = static_cast<Discipline>(parse_choice(p->value, kDisciplines, p->place));
    }
    const auto* max_batch = find(properties, "max_batch");
    const auto* max_wait = find(properties, "max_wait");
    for (const Property* p : {max_batch, max_wait}) {
      if (p && host.discipline != Discipline::kBatch)
        throw InputError(p->place, "is for discipline \"batch\" only");
    }
    if (max_batch) host.max_batch = parse_integer(max_batch->value, 1, 1'000'000, max_batch->place);
    if (max_wait) host.max_wait_s = parse_quantity(max_wait->value, Dimension::kTime, max_wait->place);
  }

  void read_power(const Properties& properties, Host& host) const {
    if (const auto* p = find(properties, "wattage_per_state")) {
      const auto states = split(p->value, ',');
      if (states.size() != host.power_states.size()) {
        throw InputError(p->place, fmt::format("\"{}\" lists {} states, the host's speed has {}", p->value,
                                               states.size(), host.power_states.size()));
      }
      for (std::size_t i = 0; i < states.size(); ++i) {
        // As in SimGrid's host energy plugin: without an epsilon of its own the line starts at idle.
        const bool short_form = std::count(states[i].begin(), states[i].end(), ':') == 1;
        const auto watts =
            parse_numbers(states[i], short_form ? "idle:allcores" : "idle:epsilon:allcores", p->place);
        PowerState& state = host.power_states[i];
        state.idle_w = watts.front();
        state.epsilon_w = short_form ? watts.front() : watts[1];
        state.all_cores_w = watts.back();
      }
    }
    if (const auto* p = find(properties, "wattage_off")) host.off_w = parse_number(p->value, p->place);
    if (const auto* p = find(properties, "wattage_radio")) {
      const auto watts = parse_numbers(p->value, "idle:tx:rx", p->place);
      host.radio.idle_w = watts[0];
      host.radio.tx_w = watts[1];
      host.radio.rx_w = watts[2];
      host.has_radio = true;
    }
    if (const auto* p = find(properties, "joule_per_byte_radio")) {
      const auto joules = parse_numbers(p->value, "tx:rx", p->place);
      host.radio.tx_j_per_byte = joules[0];
      host.radio.rx_j_per_byte = joules[1];
      host.has_radio = true;
    }
    if (const auto* p = find(properties, "wattage_flight")) host.flight_w = parse_number(p->value, p->place);
    if (const auto* p = find(properties, "battery"))
      host.battery_j = parse_positive(p->value, Dimension::kEnergy, p->place);
  }

  // ---- links ----
  void read_link(const pugi::xml_node& node) {
    check_attributes(node, {"id", "bandwidth", "latency", "sharing_policy"});
    Link link;
    link.name = required(node, "id");
    bool split_duplex = false;
    if (node.attribute("sharing_policy")) {
      const auto policy =
          parse_choice(required(node, "sharing_policy"), {"SHARED", "FATPIPE", "SPLITDUPLEX", "WIFI"},
                       place(node, "sharing_policy"));
      if (policy == 1) link.sharing = Sharing::kFatpipe;
      if (policy == 3) link.sharing = Sharing::kWifi;
      split_duplex = policy == 2;
    }
    const bool wifi = link.sharing == Sharing::kWifi;
    if (wifi != (!zones_.empty() && zones_.back().wifi && node.parent() == zones_.back().node))
      fail(node, wifi ? "a WIFI link is the one link of a zone of routing \"Wifi\""
                      : "the link of a zone of routing \"Wifi\" has sharing_policy=\"WIFI\"");
    const std::string_view bandwidth = required(node, "bandwidth");
    for (const std::string_view rate : wifi ? split(bandwidth, ',') : std::vector{bandwidth})
      link.rates_bytes_per_s.push_back(parse_positive(rate, Dimension::kBandwidth, place(node, "bandwidth")));
    link.bandwidth_bytes_per_s = link.rates_bytes_per_s.front();
    if (!wifi) link.rates_bytes_per_s.clear();
    if (!wifi || node.attribute("latency"))
      link.latency_s = parse_quantity(required(node, "latency"), Dimension::kTime, place(node, "latency"));
    if (!std::isfinite(link.latency_s)) fail(node, "the latency must be finite");
    const Properties properties =
        read_properties(node, wifi ? Names{"price_per_gb", "latency"} : Names{"price_per_gb"});
    if (wifi) {
      // SimGrid's own Wi-Fi links have none, and its reader stops here.
      if (link.latency_s != 0) fail(node, "a WIFI link's latency is a <prop>, the attribute is 0");
      if (const auto* p = find(properties, "latency"))
        link.latency_s = parse_positive(p->value, Dimension::kTime, p->place);
      if (zones_.back().air >= 0) fail(node, "a Wi-Fi zone has one <link>, its medium");
      zones_.back().air = platform_.link_count();
    }
    if (const auto* p = find(properties, "price_per_gb"))
      link.price_usd_per_byte = parse_number(p->value, p->place) / 1e9;

    const LinkId id = platform_.link_count();
    declare(node, link.name, split_duplex ? std::vector{id, id + 1} : std::vector{id});
    platform_.link_names_.push_back(link.name);
    if (!split_duplex) {
      platform_.links_.push_back(std::move(link));
    } else {
      for (const char* half : {"_UP", "_DOWN"}) {
        platform_.links_.push_back(link);
        platform_.links_.back().name += half;
        declare(node, platform_.links_.back().name, {platform_.link_count() - 1});
      }
    }
    link_nodes_.resize(platform_.links_.size(), node);
    is_half_.resize(platform_.links_.size(), split_duplex);
  }

  void declare(const pugi::xml_node& node, const std::string& name, std::vector<LinkId> ids) {
    if (!platform_.link_ids_.emplace(name, std::move(ids)).second) {
      fail(node, fmt::format("link \"{}\" stands twice", name));
    }
  }

  // ---- routes ----
  HostId route_end(const pugi::xml_node& node, const char* attribute) const {
    const std::string_view name = required(node, attribute);
    const HostId host = platform_.find_host(name);
    if (host < 0) {
      throw InputError(place(node, attribute),
                       fmt::format("\"{}\" is no host{}", name, valid_choices(name, platform_.host_names())));
    }
    const std::vector<HostId>& here = zones_.back().hosts;
    if (here.empty() || host < here.front())
      throw InputError(place(node, attribute), fmt::format("\"{}\" is a host of another zone", name));
    return host;
  }

  // The link of one <link_ctn> and the one that the way back takes instead.
  std::pair<LinkId, LinkId> route_link(const pugi::xml_node& node) const {
    check_attributes(node, {"id", "direction"});
    elements(node, {});
    const std::string_view name = required(node, "id");
    const auto found = platform_.find_links(name);
    if (found.empty() || (found.size() == 1 && is_half_[static_cast<std::size_t>(found[0])])) {
      throw InputError(place(node, "id"),
                       fmt::format("\"{}\" is no link{}", name, valid_choices(name, platform_.link_names())));
    }
    if (platform_.link(found[0]).sharing == Sharing::kWifi)
      fail(node, fmt::format("WIFI link \"{}\": the routes of its zone take it by themselves", name));
    if (found.size() == 1) {
      if (node.attribute("direction")) {
        fail(node, fmt::format("link \"{}\" has no direction: it is not SPLITDUPLEX", name));
      }
      return {found[0], found[0]};
    }
    const Names directions{"UP", "DOWN"};
    if (!node.attribute("direction")) {
      fail(node,
           fmt::format("SPLITDUPLEX link \"{}\" needs a direction{}", name, valid_choices("", directions)));
    }
    const auto way = parse_choice(required(node, "direction"), directions, place(node, "direction"));
    return {found[way], found[1 - way]};
  }

  // The links there and back.
  std::pair<std::vector<LinkId>, std::vector<LinkId>> read_route_links(const pugi::xml_node& node) const {
    std::vector<LinkId> there, back;
    for (const pugi::xml_node link : elements(node, {"link_ctn"})) {
      const auto [forth, reverse] = route_link(link);
      there.push_back(forth);
      back.push_back(reverse);
    }
    if (there.empty()) fail(node, "route without links; it needs at least one <link_ctn>");
    std::reverse(back.begin(), back.end());
    return {std::move(there), std::move(back)};
  }

  bool read_symmetrical(const pugi::xml_node& node) const {
    if (!node.attribute("symmetrical")) return true;
    return parse_choice(required(node, "symmetrical"), {"YES", "NO"}, place(node, "symmetrical")) == 0;
  }

  void read_route(const pugi::xml_node& node) {
    check_attributes(node, {"src", "dst", "symmetrical"});
    const HostId from = route_end(node, "src"), to = route_end(node, "dst");
    if (from == to) fail(node, fmt::format("route from host \"{}\" to itself", platform_.host(from).name));
    auto [there, back] = read_route_links(node);
    platform_.routes_.resize(platform_.hosts_.size());
    add_route(node, from, to, std::move(there));
    if (read_symmetrical(node)) {
      add_route(node, to, from, std::move(back));
    } else {
      one_way_.push_back({node, from, to});
    }
  }

  void add_route(const pugi::xml_node& node, HostId from, HostId to, std::vector<LinkId> links) {
    const bool added = platform_.routes_[static_cast<std::size_t>(from)]
                           .try_emplace(to, platform_.make_route(from, to, std::move(links)))
                           .second;
    if (!added)
      fail(node,
           fmt::format("route {} stands twice (a route is symmetrical unless it says NO)", arrow(from, to)));
  }

  std::string arrow(HostId from, HostId to) const {
    return fmt::format("\"{}\" -> \"{}\"", platform_.host(from).name, platform_.host(to).name);
  }

  // ---- what only the whole file shows ----
  void check_whole(const pugi::xml_node& zone) {
    if (platform_.hosts_.empty()) fail(zone, "there is no <host>");
    platform_.routes_.resize(platform_.hosts_.size());
    for (const auto& [node, from, to] : one_way_) {
      if (!platform_.route(to, from)) {
        fail(node, fmt::format("route {} has no way back, so results could not return", arrow(from, to)));
      }
    }
    for (std::size_t i = 0; i < platform_.hosts_.size() && platform_.hosts_.size() > 1; ++i) {
      if (platform_.routes_[i].empty())
        fail(host_nodes_[i], fmt::format("host \"{}\" has no route", platform_.hosts_[i].name));
    }
    if (const auto mixed = platform_.mixed_latencies()) {
      fail(link_nodes_[static_cast<std::size_t>(mixed->first)], mixed->second);
    }
  }

  struct OneWay {
    pugi::xml_node node;
    HostId from, to;
  };

  std::string file_;
  std::vector<std::size_t> newlines_;
  pugi::xml_document document_;
  Platform platform_;
  std::vector<pugi::xml_node> host_nodes_, link_nodes_;  ///< by id
  std::vector<bool> is_half_;                            ///< of a SPLITDUPLEX link, by LinkId
  std::vector<OneWay> one_way_;
  std::vector<Zone> zones_;  ///< those with hosts; the last is being read
};

Platform Platform::load(const std::filesystem::path& path) {
  return parse(read_text_file(path), path.string());
}

Platform Platform::parse(std::string_view xml, const std::string& file) {
  return PlatformReader(xml, file).read();
}

HostId Platform::find_host(std::string_view name) const {
  const auto found = host_ids_.find(std::string(name));
  return found == host_ids_.end() ? -1 : found->second;
}

std::vector<LinkId> Platform::find_links(std::string_view name) const {
  const auto found = link_ids_.find(std::string(name));
  return found == link_ids_.end() ? std::vector<LinkId>{} : found->second;
}

std::vector<std::string> Platform::host_names() const {
  std::vector<std::string> names;
  for (const Host& host : hosts_) names.push_back(host.name);
  return names;
}

std::vector<std::string> Platform::link_names() const {
  return link_names_;
}

const Route* Platform::route(HostId from, HostId to) const {
  static const Route kAtHome;
  if (from == to) return &kAtHome;
  if (routed_) return routed_(from, to);
  const auto& routes = routes_[static_cast<std::size_t>(from)];
  const auto found = routes.find(to);
  return found == routes.end() ? nullptr : &found->second;
}

std::vector<HostId> Platform::neighbours(HostId host) const {
  std::vector<HostId> out;
  for (HostId to = 0; routed_ && to < host_count(); ++to) {
    if (to != host && route(host, to) != nullptr && route(to, host) != nullptr) out.push_back(to);
  }
  if (routed_) return out;
  for (const auto& [to, route_there] : routes_[static_cast<std::size_t>(host)]) {
    if (route(to, host) != nullptr) out.push_back(to);
  }
  std::sort(out.begin(), out.end());
  return out;
}

double Route::bytes_per_s(std::span<const double> bandwidth) const {
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < links.size(); ++i) {
    const double own = bandwidth[static_cast<std::size_t>(links[i])];
    least = std::min(least, weights.empty() ? own : own / weights[i]);
  }
  return least;
}

Route Platform::make_route(HostId from, HostId to, std::vector<LinkId> links) const {
  Route route;
  route.links = std::move(links);
  route.latency_s = sum_latency_s(route.links);
  const std::size_t n = route.links.size();
  // As SimGrid takes it: the sender's rate on the first link, the receiver's on the last of several.
  std::vector<double> once(n, 1);
  for (std::size_t i = 0; i < n; ++i) {
    const Link& crossed = link(route.links[i]);
    if (crossed.sharing != Sharing::kWifi) continue;
    const int level = host(i == 0 ? from : to).wifi_rate;
    once[i] = crossed.bandwidth_bytes_per_s / crossed.rates_bytes_per_s[static_cast<std::size_t>(level)];
  }
  route.weights = once;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < n; ++k) {
      if (k != i && route.links[k] == route.links[i] && link(route.links[i]).sharing != Sharing::kFatpipe)
        route.weights[i] += once[k];
    }
  }
  if (std::ranges::all_of(route.weights, [](double weight) { return weight == 1; })) route.weights.clear();
  return route;
}

double Platform::bottleneck_bytes_per_s(const Route& route) const {
  std::vector<double> bandwidth;
  for (const Link& each : links_) bandwidth.push_back(each.bandwidth_bytes_per_s);
  return route.bytes_per_s(bandwidth);
}

double Platform::price_usd_per_byte(const Route& route) const {
  double sum = 0;
  for (const LinkId id : route.links) sum += link(id).price_usd_per_byte;
  return sum;
}

void Platform::set_bandwidth(LinkId link, double bytes_per_s) {
  Link& changed = links_[static_cast<std::size_t>(link)];
  for (double& rate : changed.rates_bytes_per_s) rate *= bytes_per_s / changed.bandwidth_bytes_per_s;
  changed.bandwidth_bytes_per_s = bytes_per_s;
}

void Platform::set_latency(LinkId link, double latency_s, std::string_view place) {
  links_[static_cast<std::size_t>(link)].latency_s = latency_s;
  for (auto& routes : routes_) {
    for (auto& [to, route] : routes) route.latency_s = sum_latency_s(route.links);
  }
  if (const auto mixed = mixed_latencies()) throw InputError(place, mixed->second);
}

double Platform::sum_latency_s(const std::vector<LinkId>& links) const {
  double sum_s = 0;
  for (const LinkId id : links) sum_s += link(id).latency_s;
  return sum_s;
}

std::optional<std::pair<LinkId, std::string>> Platform::mixed_latencies() const {
  // The first route (from, to) over each link without latency and with some; the smallest, so that the
  // message does not depend on the order of a hash table.
  constexpr std::pair<HostId, HostId> kNone{std::numeric_limits<HostId>::max(), 0};
  std::vector<std::array<std::pair<HostId, HostId>, 2>> first(links_.size(), {kNone, kNone});
  for (HostId from = 0; from < static_cast<HostId>(routes_.size()); ++from) {
    for (const auto& [to, route] : routes_[static_cast<std::size_t>(from)]) {
      for (const LinkId id : route.links) {
        auto& seen = first[static_cast<std::size_t>(id)][route.latency_s > 0 ? 1 : 0];
        seen = std::min(seen, std::pair(from, to));
      }
    }
  }
  for (LinkId id = 0; id < link_count(); ++id) {
    const auto& [zero, positive] = first[static_cast<std::size_t>(id)];
    if (link(id).sharing == Sharing::kFatpipe || zero == kNone || positive == kNone) continue;
    return std::pair(
        id, fmt::format("shared link \"{}\" carries routes without latency (\"{}\" -> \"{}\") and with "
                        "some (\"{}\" -> \"{}\"): under SimGrid's CM02 the former would starve; give all "
                        "of them a latency or none",
                        link(id).name, host(zero.first).name, host(zero.second).name,
                        host(positive.first).name, host(positive.second).name));
  }
  return std::nullopt;
}

}  // namespace cdisim
