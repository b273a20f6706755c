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
    "tier",           "device_type",       "profile",     "memory",        "discipline",
    "max_batch",      "max_wait",          "wattage_off", "wattage_radio", "joule_per_byte_radio",
    "price_per_hour", "wattage_per_state", "battery",     "wattage_flight"};

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

    bool routes_begun = false;
    for (const pugi::xml_node node : elements(zone, {"host", "link", "route"})) {
      const std::string_view kind = node.name();
      if (kind == "route") {
        routes_begun = true;
        read_route(node);
        continue;
      }
      // SimGrid's own reader stops here.
      if (routes_begun)
        fail(node, fmt::format("<{}> stands after a <route>; hosts and links come first", kind));
      if (kind == "host") {
        read_host(node);
      } else {
        read_link(node);
      }
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

  Properties read_properties(const pugi::xml_node& parent, const Names& known) const {
    Properties properties;
    for (const pugi::xml_node node : elements(parent, {"prop"})) {
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
    read_discipline(properties, host);
    read_power(properties, host);
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
    link.bandwidth_bytes_per_s =
        parse_positive(required(node, "bandwidth"), Dimension::kBandwidth, place(node, "bandwidth"));
    link.latency_s = parse_quantity(required(node, "latency"), Dimension::kTime, place(node, "latency"));
    if (!std::isfinite(link.latency_s)) fail(node, "the latency must be finite");
    bool split_duplex = false;
    if (node.attribute("sharing_policy")) {
      const auto policy = parse_choice(required(node, "sharing_policy"), {"SHARED", "FATPIPE", "SPLITDUPLEX"},
                                       place(node, "sharing_policy"));
      if (policy == 1) link.sharing = Sharing::kFatpipe;
      split_duplex = policy == 2;
    }
    const Properties properties = read_properties(node, {"price_per_gb"});
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

  void read_route(const pugi::xml_node& node) {
    check_attributes(node, {"src", "dst", "symmetrical"});
    const HostId from = route_end(node, "src"), to = route_end(node, "dst");
    if (from == to) fail(node, fmt::format("route from host \"{}\" to itself", platform_.host(from).name));
    std::vector<LinkId> there, back;
    for (const pugi::xml_node link : elements(node, {"link_ctn"})) {
      const auto [forth, reverse] = route_link(link);
      there.push_back(forth);
      back.push_back(reverse);
    }
    if (there.empty()) fail(node, "route without links; it needs at least one <link_ctn>");
    std::reverse(back.begin(), back.end());

    platform_.routes_.resize(platform_.hosts_.size());
    add_route(node, from, to, std::move(there));
    bool symmetrical = true;
    if (node.attribute("symmetrical")) {
      symmetrical =
          parse_choice(required(node, "symmetrical"), {"YES", "NO"}, place(node, "symmetrical")) == 0;
    }
    if (symmetrical) {
      add_route(node, to, from, std::move(back));
    } else {
      one_way_.push_back({node, from, to});
    }
  }

  void add_route(const pugi::xml_node& node, HostId from, HostId to, std::vector<LinkId> links) {
    const double latency_s = platform_.sum_latency_s(links);
    const bool added = platform_.routes_[static_cast<std::size_t>(from)]
                           .try_emplace(to, Route{std::move(links), latency_s})
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
  const auto& routes = routes_[static_cast<std::size_t>(from)];
  const auto found = routes.find(to);
  return found == routes.end() ? nullptr : &found->second;
}

std::vector<HostId> Platform::neighbours(HostId host) const {
  std::vector<HostId> out;
  for (const auto& [to, route_there] : routes_[static_cast<std::size_t>(host)]) {
    if (route(to, host) != nullptr) out.push_back(to);
  }
  std::sort(out.begin(), out.end());
  return out;
}

double Platform::bottleneck_bytes_per_s(const Route& route) const {
  double least = std::numeric_limits<double>::infinity();
  for (const LinkId id : route.links) least = std::min(least, link(id).bandwidth_bytes_per_s);
  return least;
}

double Platform::price_usd_per_byte(const Route& route) const {
  double sum = 0;
  for (const LinkId id : route.links) sum += link(id).price_usd_per_byte;
  return sum;
}

void Platform::set_bandwidth(LinkId link, double bytes_per_s) {
  links_[static_cast<std::size_t>(link)].bandwidth_bytes_per_s = bytes_per_s;
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
