#include "sim/platform_generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/error.h"

namespace cdisim {

namespace {

constexpr int kMostHosts = 100'000;
constexpr int kMostMeshed = 1'000;  ///< hosts that all reach each other: their routes grow with the square

// All options, for checks and for what the file says of its origin.
struct NamedOption {
  const char* flag;
  std::string PlatformOptions::*value;
};
struct CountOption {
  const char* flag;
  int PlatformOptions::*value;
};
constexpr CountOption kCounts[] = {{"--devices", &PlatformOptions::devices},
                                   {"--edges", &PlatformOptions::edges},
                                   {"--clouds", &PlatformOptions::clouds},
                                   {"--uavs", &PlatformOptions::uavs}};
constexpr NamedOption kNames[] = {{"--name", &PlatformOptions::name},
                                  {"--device", &PlatformOptions::device},
                                  {"--edge-device", &PlatformOptions::edge_device},
                                  {"--cloud-device", &PlatformOptions::cloud_device},
                                  {"--uav-device", &PlatformOptions::uav_device},
                                  {"--access", &PlatformOptions::access},
                                  {"--backbone", &PlatformOptions::backbone},
                                  {"--air-to-ground", &PlatformOptions::air_to_ground},
                                  {"--air", &PlatformOptions::air}};

const DeviceType& find_device(const std::map<std::string, DeviceType>& devices, const std::string& name,
                              const char* flag) {
  const auto found = devices.find(name);
  if (found != devices.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [known, device] : devices) names.push_back(known);
  throw InputError(flag, fmt::format("\"{}\" is no device{}", name, valid_choices(name, names)));
}

// Comments hold no two hyphens in a row, attributes no markup.
std::string comment_text(std::string text) {
  for (std::size_t at = 0; (at = text.find("--", at)) != text.npos;) text.replace(at, 2, "- -");
  return text;
}

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += c;
    }
  }
  return out;
}

// Exact, unlike format_quantity(): what is loaded must equal the catalogue.
std::string speed_text(double flop_per_s) {
  const bool tera = flop_per_s >= 1e12;
  return fmt::format("{:.15g}{}", flop_per_s / (tera ? 1e12 : 1e9), tera ? "Tf" : "Gf");
}
std::string memory_text(double bytes) {
  const double gib = bytes / 1073741824.0, mib = bytes / 1048576.0;
  if (gib >= 1 && gib == std::floor(gib)) return fmt::format("{}GiB", gib);
  if (mib == std::floor(mib)) return fmt::format("{}MiB", mib);
  return fmt::format("{:.15g}B", bytes);
}
std::string rate_text(double bytes_per_s) {
  return fmt::format("{:.12g}Mbps", bytes_per_s * 8 / 1e6);
}
std::string latency_text(double seconds) {
  return fmt::format("{:.12g}ms", seconds * 1e3);
}

/// Writes the file from top to bottom: hosts, links, routes.
class PlatformWriter {
 public:
  PlatformWriter(const PlatformOptions& options, const std::map<std::string, DeviceType>& devices,
                 const std::map<std::string, Network>& networks)
      : options_(options), devices_(devices), networks_(networks), sites_(std::max(options.edges, 1)) {
    check();
  }

  std::string write() {
    head();
    hosts();
    links();
    routes();
    line("  </zone>\n</platform>");
    return std::move(out_);
  }

 private:
  // ---- what is asked for ----
  void check() const {
    long total = 0;
    for (const CountOption& count : kCounts) {
      const int value = options_.*count.value;
      if (value < 0 || value > kMostHosts) {
        throw InputError(count.flag, fmt::format("{}: must lie within [0, {}]", value, kMostHosts));
      }
      total += value;
    }
    const int sources = options_.devices + options_.uavs;
    if (sources == 0) throw InputError("--devices", "0: there must be a device or a UAV");
    if (total < 2) throw InputError("--devices", "1: one host alone reaches nothing");
    if (options_.clouds == 0 && options_.edges > std::max(options_.devices, options_.uavs)) {
      throw InputError("--edges", fmt::format("{}: without a cloud, edges beyond the number of devices "
                                              "and of UAVs reach nothing",
                                              options_.edges));
    }
    if (!has_servers() && options_.devices > 0 && options_.uavs > 0) {
      throw InputError("--uavs", "without edges and clouds nothing joins UAVs and devices");
    }
    if (mesh() && options_.devices > kMostMeshed) {
      throw InputError("--devices", fmt::format("{}: at most {} hosts may all reach each other",
                                                options_.devices, kMostMeshed));
    }
    if (options_.uavs > kMostMeshed) {
      throw InputError(
          "--uavs", fmt::format("{}: at most {} hosts may all reach each other", options_.uavs, kMostMeshed));
    }
    for (const auto& [network, flag] :
         {std::pair{&access(), "--access"}, {&air_to_ground(), "--air-to-ground"}}) {
      if (network->kind == NetworkKind::kWan) {
        throw InputError(flag,
                         fmt::format("\"{}\" is a WAN, which only joins sites and clouds", network->name));
      }
    }
    if (air().kind != NetworkKind::kWifi) {
      throw InputError("--air", fmt::format("\"{}\" is no shared medium", air().name));
    }
    if (backbone().kind == NetworkKind::kWifi) {
      throw InputError("--backbone", fmt::format("\"{}\" is a shared medium, no line", backbone().name));
    }
  }

  bool has_servers() const { return options_.edges > 0 || options_.clouds > 0; }
  bool mesh() const { return !has_servers() && options_.devices > 0; }
  const Network& access() const { return find_network(networks_, options_.access, "--access"); }
  const Network& backbone() const { return find_network(networks_, options_.backbone, "--backbone"); }
  const Network& air() const { return find_network(networks_, options_.air, "--air"); }
  const Network& air_to_ground() const {
    return find_network(networks_, options_.air_to_ground, "--air-to-ground");
  }

  // ---- text ----
  void line(std::string_view text) {
    out_ += text;
    out_ += '\n';
  }

  // Words in lines of at most 110 columns.
  void wrap(std::string_view text, const std::string& indent) {
    std::size_t column = 0;
    while (!text.empty()) {
      const auto end = text.find(' ');
      const std::string_view word = text.substr(0, end);
      text.remove_prefix(end == text.npos ? text.size() : end + 1);
      if (column != 0 && column + 1 + word.size() > 110) {
        out_ += '\n';
        column = 0;
      }
      if (column == 0) {
        out_ += indent;
        column = indent.size();
      } else {
        out_ += ' ';
        ++column;
      }
      out_ += word;
      column += word.size();
    }
    out_ += '\n';
  }

  void source(std::string_view what, const Measured& measured) {
    wrap(comment_text(fmt::format("{}: {}.", what, measured.source)), "       ");
  }

  void describe(const Network& network, std::string_view use) {
    wrap(comment_text(fmt::format("{}: {} ({} in networks.json). Latency: half of the round trip of {}.", use,
                                  network.title, network.name, latency_text(network.round_trip_s.value))),
         "     ");
    const std::string down = rate_text(network.down_bytes_per_s.value),
                      up = rate_text(network.up_bytes_per_s.value);
    if (down == up && network.down_bytes_per_s.source == network.up_bytes_per_s.source) {
      source(down + " each way", network.up_bytes_per_s);
    } else {
      source(down + " down", network.down_bytes_per_s);
      source(up + " up", network.up_bytes_per_s);
    }
    if (network.tcp_share) {
      source(fmt::format("TCP's share {:.4g}", network.tcp_share->value), *network.tcp_share);
    }
    source("Round trip", network.round_trip_s);
  }

  // Without the hyphens of the command line, which a comment may not hold.
  std::string origin() const {
    const PlatformOptions usual;
    std::string text;
    for (const CountOption& count : kCounts)
      text += fmt::format(", {} {}", count.flag + 2, options_.*count.value);
    for (const NamedOption& option : kNames) {
      if (options_.*option.value != usual.*option.value)
        text += fmt::format(", {} {}", option.flag + 2, options_.*option.value);
    }
    return text.substr(2) + ".";
  }

  void head() {
    line("<?xml version=\"1.0\"?>");
    line("<!DOCTYPE platform SYSTEM \"https://simgrid.org/simgrid.dtd\">");
    line("<!-- Nobody's testbed: written by `cdisim platform` with the options");
    wrap(comment_text(origin()), "       ");
    wrap(
        "Speeds, memories, powers and prices of hosts are those of hardware.json, powers of radios and what "
        "stands here of links those of networks.json, with their sources. Every machine is timed as a whole, "
        "hence one core each.",
        "     ");
    if (options_.devices > 0) describe(access(), "Access of devices");
    if (options_.uavs > 0 && has_servers()) describe(air_to_ground(), "UAV to ground");
    if (options_.uavs > 1) describe(air(), "UAV to UAV");
    if (options_.clouds > 0) describe(backbone(), "Site to cloud");
    out_.pop_back();
    line(" -->");
    line("<platform version=\"4.1\">");
    line(fmt::format("  <zone id=\"{}\" routing=\"Full\">", escape(options_.name)));
  }

  // ---- hosts ----
  void property(std::string_view id, std::string_view value) {
    fmt::format_to(std::back_inserter(out_), "      <prop id=\"{}\" value=\"{}\"/>\n", id, escape(value));
  }

  void host(std::string_view tier, int number, const DeviceType& type, const Network* radio_network) {
    fmt::format_to(std::back_inserter(out_), "    <host id=\"{}_{}\" speed=\"{}\" core=\"1\">\n", tier,
                   number, speed_text(type.speed_flop_per_s()));
    property("tier", tier);
    property("device_type", type.name);
    if (type.memory_bytes) property("memory", memory_text(type.memory_bytes->value));
    const Processor& processor = type.processor();
    if (processor.idle_w && processor.busy_w) {
      property("wattage_per_state",
               fmt::format("{:.12g}:{:.12g}", processor.idle_w->value, processor.busy_w->value));
      property("wattage_off", "0");
    }
    if (radio_network && radio_network->radio) {
      const RadioPower& radio = *radio_network->radio;
      const auto value = [](const std::optional<Measured>& m) { return m ? m->value : 0; };
      // Idle: assumed to be in the host's idle power.
      if (radio.tx_w || radio.rx_w) {
        property("wattage_radio", fmt::format("0:{:.12g}:{:.12g}", value(radio.tx_w), value(radio.rx_w)));
      }
      if (radio.tx_j_per_byte || radio.rx_j_per_byte) {
        property("joule_per_byte_radio",
                 fmt::format("{:.12g}:{:.12g}", value(radio.tx_j_per_byte), value(radio.rx_j_per_byte)));
      }
    }
    if (type.price_usd_per_hour)
      property("price_per_hour", fmt::format("{:.12g}", type.price_usd_per_hour->value));
    line("    </host>");
  }

  void hosts() {
    // Types are looked up only where there is such a host.
    if (options_.devices > 0) {
      const DeviceType& type = find_device(devices_, options_.device, "--device");
      for (int i = 0; i < options_.devices; ++i) host("device", i, type, &access());
    }
    if (options_.uavs > 0) {
      const DeviceType& type = find_device(devices_, options_.uav_device, "--uav-device");
      for (int i = 0; i < options_.uavs; ++i) host("uav", i, type, has_servers() ? &air_to_ground() : &air());
    }
    if (options_.edges > 0) {
      const DeviceType& type = find_device(devices_, options_.edge_device, "--edge-device");
      for (int i = 0; i < options_.edges; ++i) host("edge", i, type, nullptr);
    }
    if (options_.clouds > 0) {
      const DeviceType& type = find_device(devices_, options_.cloud_device, "--cloud-device");
      for (int i = 0; i < options_.clouds; ++i) host("cloud", i, type, nullptr);
    }
  }

  // ---- links: "name" for both ways, or "name_up" and "name_down" ----
  static bool one_medium(const Network& network) {
    return network.kind == NetworkKind::kWifi &&
           network.up_bytes_per_s.value == network.down_bytes_per_s.value;
  }

  void link(std::string_view name, double bytes_per_s, double latency_s, const Measured* price = nullptr) {
    fmt::format_to(std::back_inserter(out_),
                   "    <link id=\"{}\" bandwidth=\"{}\" latency=\"{}\" sharing_policy=\"SHARED\"", name,
                   rate_text(bytes_per_s), latency_text(latency_s));
    if (price && price->value > 0) {
      line(">");
      property("price_per_gb", fmt::format("{:.12g}", price->value));
      line("    </link>");
    } else {
      line("/>");
    }
  }

  void links(std::string_view prefix, int count, const Network& network) {
    const Measured* price = network.price_usd_per_gb ? &*network.price_usd_per_gb : nullptr;
    for (int i = 0; i < count; ++i) {
      const std::string name = fmt::format("{}_{}", prefix, i);
      if (one_medium(network)) {
        link(name, network.tcp_up_bytes_per_s(), network.latency_s(), price);
      } else {
        link(name + "_up", network.tcp_up_bytes_per_s(), network.latency_s());
        link(name + "_down", network.tcp_down_bytes_per_s(), network.latency_s(), price);
      }
    }
  }

  // Which of a network's links a host has: that of its site where they share a medium, else its own.
  int link_number(const Network& network, int host) const {
    return network.kind == NetworkKind::kWifi ? host % sites_ : host;
  }
  int link_count(const Network& network, int hosts) const {
    return network.kind == NetworkKind::kWifi ? std::min(sites_, hosts) : hosts;
  }

  void links() {
    if (options_.devices > 0) links("access", link_count(access(), options_.devices), access());
    if (options_.uavs > 0 && has_servers())
      links("ground", link_count(air_to_ground(), options_.uavs), air_to_ground());
    if (options_.uavs > 1) links("air", 1, air());
    if (options_.clouds > 0) links("backbone", sites_, backbone());
  }

  // ---- routes ----
  std::string link_name(std::string_view prefix, int number, const Network& network, bool up) const {
    return fmt::format("{}_{}{}", prefix, number, one_medium(network) ? "" : up ? "_up" : "_down");
  }
  std::string access_link(int device, bool up) const {
    return link_name("access", link_number(access(), device), access(), up);
  }
  std::string ground_link(int uav, bool up) const {
    return link_name("ground", link_number(air_to_ground(), uav), air_to_ground(), up);
  }
  std::string backbone_link(int site, bool up) const { return link_name("backbone", site, backbone(), up); }

  void one_route(std::string_view from, std::string_view to, const std::vector<std::string>& links,
                 bool both_ways) {
    fmt::format_to(std::back_inserter(out_), "    <route src=\"{}\" dst=\"{}\"{}>", from, to,
                   both_ways ? "" : " symmetrical=\"NO\"");
    for (const std::string& id : links) fmt::format_to(std::back_inserter(out_), "<link_ctn id=\"{}\"/>", id);
    line("</route>");
  }

  // The way back takes the same networks in reverse, so it is written only where its links differ.
  void route(const std::string& from, const std::string& to, const std::vector<std::string>& there,
             const std::vector<std::string>& back) {
    const bool same = std::vector<std::string>(there.rbegin(), there.rend()) == back;
    one_route(from, to, there, same);
    if (!same) one_route(to, from, back, false);
  }

  void routes() {
    for (int i = 0; i < options_.devices; ++i) {
      const std::string device = fmt::format("device_{}", i);
      to_servers(device, i % sites_, access_link(i, true), access_link(i, false));
      for (int k = i + 1; mesh() && k < options_.devices; ++k) {
        peers(device, fmt::format("device_{}", k), access(), {access_link(i, true), access_link(i, false)},
              {access_link(k, true), access_link(k, false)});
      }
    }
    const std::pair air_links{link_name("air", 0, air(), true), link_name("air", 0, air(), false)};
    for (int i = 0; i < options_.uavs; ++i) {
      const std::string uav = fmt::format("uav_{}", i);
      if (has_servers()) to_servers(uav, i % sites_, ground_link(i, true), ground_link(i, false));
      for (int k = i + 1; k < options_.uavs; ++k)
        peers(uav, fmt::format("uav_{}", k), air(), air_links, air_links);
    }
    for (int i = 0; i < options_.edges; ++i) {
      for (int k = 0; k < options_.clouds; ++k) {
        route(fmt::format("edge_{}", i), fmt::format("cloud_{}", k), {backbone_link(i, true)},
              {backbone_link(i, false)});
      }
    }
  }

  void to_servers(const std::string& from, int site, const std::string& up, const std::string& down) {
    if (options_.edges > 0) route(from, fmt::format("edge_{}", site), {up}, {down});
    for (int k = 0; k < options_.clouds; ++k) {
      route(from, fmt::format("cloud_{}", k), {up, backbone_link(site, true)},
            {backbone_link(site, false), down});
    }
  }

  // Straight through the air: a medium is taken once, whichever way it goes; else up and down.
  using UpDown = std::pair<std::string, std::string>;
  void peers(const std::string& a, const std::string& b, const Network& network, const UpDown& of_a,
             const UpDown& of_b) {
    if (one_medium(network)) {
      route(a, b, {of_a.first}, {of_a.first});
    } else {
      route(a, b, {of_a.first, of_b.second}, {of_b.first, of_a.second});
    }
  }

  const PlatformOptions& options_;
  const std::map<std::string, DeviceType>& devices_;
  const std::map<std::string, Network>& networks_;
  int sites_;
  std::string out_;
};

}  // namespace

std::string generate_platform(const PlatformOptions& options,
                              const std::map<std::string, DeviceType>& devices,
                              const std::map<std::string, Network>& networks) {
  return PlatformWriter(options, devices, networks).write();
}

}  // namespace cdisim
