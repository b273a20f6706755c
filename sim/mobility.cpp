#include "sim/mobility.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numbers>
#include <sstream>

#include "sim/error.h"
#include "sim/random.h"

namespace cdisim {

namespace {

constexpr double kLargest_m = 1e9;

double radians(double degrees) {
  return degrees * std::numbers::pi / 180;
}

double horizontal_m(const Position& a, const Position& b) {
  return std::hypot(b.x - a.x, b.y - a.y);
}

double uniform(Random& random, double low, double high) {
  return low + (high - low) * random.uniform();
}

double metres(const JsonReader& reader) {
  return reader.number(-kLargest_m, kLargest_m);
}

// [x, y] with the height given apart, or [x, y, z].
std::vector<double> read_numbers(const JsonReader& reader, std::size_t n) {
  std::vector<double> numbers;
  for (const JsonReader& element : reader.elements()) numbers.push_back(metres(element));
  if (numbers.size() != n) reader.fail(fmt::format("must have {} numbers", n));
  return numbers;
}

Circle read_circle(const JsonReader& reader) {
  const std::vector<double> centre = read_numbers(reader.at("centre"), 2);
  Circle circle{.centre = {centre[0], centre[1], metres(reader.at("height"))},
                .radius_m = reader.at("radius").number(1e-3, kLargest_m),
                .m_per_s = reader.at("speed").number(-1e6, 1e6)};
  if (const auto start = reader.find("start_degrees")) circle.start_degrees = start->number(-360, 360);
  reader.done();
  return circle;
}

RandomWaypoint read_random_waypoint(const JsonReader& reader) {
  const std::vector<double> area = read_numbers(reader.at("area"), 4);
  const JsonReader speed = reader.at("speed");
  const std::vector<double> speeds = read_numbers(speed, 2);
  if (!(area[0] <= area[2] && area[1] <= area[3]))
    reader.at("area").fail("must be [low x, low y, high x, high y]");
  if (!(0 < speeds[0] && speeds[0] <= speeds[1])) speed.fail("must be [slowest, fastest], both positive");
  const double height = metres(reader.at("height"));
  RandomWaypoint random{.low = {area[0], area[1], height},
                        .high = {area[2], area[3], height},
                        .slowest_m_per_s = speeds[0],
                        .fastest_m_per_s = speeds[1]};
  if (const auto pause = reader.find("pause")) random.pause_s = pause->quantity(Dimension::kTime);
  if (horizontal_m(random.low, random.high) == 0 && random.pause_s == 0)
    reader.fail("stays at one place without a pause");
  reader.done();
  return random;
}

std::vector<Waypoint> read_waypoints(const JsonReader& reader) {
  std::vector<Waypoint> waypoints;
  for (const JsonReader& entry : reader.elements()) {
    waypoints.push_back({entry.at("at").quantity(Dimension::kTime),
                         {metres(entry.at("x")), metres(entry.at("y")), metres(entry.at("z"))}});
    entry.done();
    if (waypoints.size() > 1 && waypoints.back().at_s <= waypoints[waypoints.size() - 2].at_s)
      entry.at("at").fail("does not come after the waypoint before it");
  }
  if (waypoints.empty()) reader.fail("holds no waypoint");
  return waypoints;
}

Motion read_motion(const JsonReader& reader, double length_s, const std::filesystem::path& folder,
                   std::uint64_t seed) {
  constexpr const char* kKinds[] = {"position", "waypoints", "circle", "random_waypoint", "trace"};
  if (std::ranges::count_if(kKinds, [&](const char* kind) { return reader.has(kind); }) != 1)
    reader.fail("gives one of \"position\", \"waypoints\", \"circle\", \"random_waypoint\", \"trace\"");
  Motion motion;
  if (const auto position = reader.find("position")) {
    const std::vector<double> at = read_numbers(*position, 3);
    motion.waypoints = {{0, {at[0], at[1], at[2]}}};
  }
  if (const auto waypoints = reader.find("waypoints")) motion.waypoints = read_waypoints(*waypoints);
  if (const auto circle = reader.find("circle")) motion.circle = read_circle(*circle);
  if (const auto random = reader.find("random_waypoint"))
    motion = random_waypoint(read_random_waypoint(*random), length_s, seed);
  if (const auto trace = reader.find("trace")) {
    if (!std::filesystem::exists(folder / trace->string())) trace->fail("no such file");
    motion.waypoints = load_waypoints(folder / trace->string());
  }
  return motion;
}

}  // namespace

double distance_m(const Position& a, const Position& b) {
  return std::hypot(b.x - a.x, b.y - a.y, b.z - a.z);
}

Position Motion::at(double date_s) const {
  if (circle) {
    const double angle = radians(circle->start_degrees) + circle->m_per_s * date_s / circle->radius_m;
    return {circle->centre.x + circle->radius_m * std::cos(angle),
            circle->centre.y + circle->radius_m * std::sin(angle), circle->centre.z};
  }
  const auto after = std::ranges::upper_bound(waypoints, date_s, {}, &Waypoint::at_s);
  if (after == waypoints.begin()) return waypoints.front().position;
  if (after == waypoints.end()) return waypoints.back().position;
  const Waypoint &from = *(after - 1), &to = *after;
  const double share = (date_s - from.at_s) / (to.at_s - from.at_s);
  return {std::lerp(from.position.x, to.position.x, share), std::lerp(from.position.y, to.position.y, share),
          std::lerp(from.position.z, to.position.z, share)};
}

double Motion::speed_m_per_s(double date_s) const {
  if (circle) return std::abs(circle->m_per_s);
  const auto after = std::ranges::upper_bound(waypoints, date_s, {}, &Waypoint::at_s);
  if (after == waypoints.begin() || after == waypoints.end()) return 0;
  const Waypoint &from = *(after - 1), &to = *after;
  return horizontal_m(from.position, to.position) / (to.at_s - from.at_s);
}

double Motion::next_speed_change(double date_s) const {
  const auto after = std::ranges::upper_bound(waypoints, date_s, {}, &Waypoint::at_s);
  return circle || after == waypoints.end() ? std::numeric_limits<double>::infinity() : after->at_s;
}

Motion random_waypoint(const RandomWaypoint& random, double length_s, std::uint64_t seed) {
  Random draws(seed);
  const auto place = [&]() -> Position {
    return {uniform(draws, random.low.x, random.high.x), uniform(draws, random.low.y, random.high.y),
            random.low.z};
  };
  Motion motion;
  motion.waypoints = {{0, place()}};
  while (motion.waypoints.back().at_s < length_s) {
    const Waypoint here = motion.waypoints.back();
    const double leaves_s = here.at_s + random.pause_s;
    if (random.pause_s > 0) motion.waypoints.push_back({leaves_s, here.position});
    const Position next = place();
    const double speed = uniform(draws, random.slowest_m_per_s, random.fastest_m_per_s);
    const double takes_s = horizontal_m(here.position, next) / speed;
    if (takes_s > 0) motion.waypoints.push_back({leaves_s + takes_s, next});
  }
  return motion;
}

std::vector<Waypoint> load_waypoints(const std::filesystem::path& path) {
  std::istringstream lines(read_text_file(path));
  std::vector<Waypoint> waypoints;
  double first_s = 0;
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const std::string place = fmt::format("{}: line {}", path.string(), number);
    line.resize(std::min(line.size(), line.find('#')));
    std::ranges::replace(line, ',', ' ');
    std::istringstream words(line);
    std::vector<double> row;
    for (std::string word; words >> word;) {
      double value = 0;
      const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), value);
      if (error != std::errc{} || rest != word.data() + word.size() || !(std::abs(value) <= kLargest_m))
        throw InputError(place, fmt::format("\"{}\" is no number within [-1e9, 1e9]", word));
      row.push_back(value);
    }
    if (row.empty()) continue;
    if (row.size() != 4)
      throw InputError(place, fmt::format("{} columns; valid: four, time (s), x, y and z (m)", row.size()));
    if (waypoints.empty()) first_s = row[0];
    waypoints.push_back({row[0] - first_s, {row[1], row[2], row[3]}});
    if (waypoints.size() > 1 && waypoints.back().at_s <= waypoints[waypoints.size() - 2].at_s)
      throw InputError(place, fmt::format("time {} does not come after the one before it", row[0]));
  }
  if (waypoints.empty()) throw InputError(path.string(), "holds no row");
  return waypoints;
}

Mobility read_mobility(const JsonReader& reader, const Platform& platform, const UavModels& models,
                       std::optional<double> horizon_s, const std::filesystem::path& folder,
                       std::uint64_t seed) {
  constexpr double kMostSteps = 1e6;
  Mobility mobility;
  if (const auto step = reader.find("step")) mobility.step_s = step->quantity(Dimension::kTime);
  if (const auto length = reader.find("length")) {
    mobility.length_s = length->quantity(Dimension::kTime);
  } else if (horizon_s) {
    mobility.length_s = *horizon_s;
  } else {
    reader.fail("needs a \"length\" where the experiment has no \"horizon_s\"");
  }
  if (!(mobility.step_s > 0 && mobility.length_s / mobility.step_s <= kMostSteps))
    reader.fail("\"step\" must be positive, and \"length\" at most 1,000,000 steps");

  const JsonReader hosts = reader.at("hosts");
  const auto move = [&](HostId id, const JsonReader& entry) {
    mobility.motions[id] = read_motion(entry, mobility.length_s, folder,
                                       derive_seed(seed, Stream::kMobility, static_cast<std::uint64_t>(id)));
    if (const auto flight = entry.find("flight")) {
      std::vector<std::string> names;
      for (const auto& [name, wing] : models.rotary_wings) names.push_back(name);
      mobility.wings[id] = models.rotary_wings.at(names[flight->choice(names)]);
    }
    entry.done();
  };
  for (const auto& [name, entry] : hosts.members()) {
    if (name.starts_with("tier:")) {
      bool found = false;
      for (HostId id = 0; id < platform.host_count(); ++id) {
        const Host& host = platform.host(id);
        if (tier_name(host.tier) != name.substr(5)) continue;
        found = true;
        if (!hosts.has(host.name)) move(id, entry);
      }
      if (!found) entry.fail(fmt::format("{} has no host of that tier", platform.file()));
      continue;
    }
    const HostId id = platform.find_host(name);
    if (id < 0)
      throw InputError(entry.place(), fmt::format("\"{}\" is no host of {}{}", name, platform.file(),
                                                  valid_choices(name, platform.host_names())));
    move(id, entry);
  }
  reader.done();
  return mobility;
}

}  // namespace cdisim
