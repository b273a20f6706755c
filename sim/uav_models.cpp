#include "sim/uav_models.h"

#include <cmath>

#include "sim/json_reader.h"

namespace cdisim {

namespace {

double read_sourced(const JsonReader& reader, const char* key) {
  constexpr double kSmallest = 1e-9, kLargest = 1e9;
  const JsonReader entry = reader.at(key);
  const double value = entry.at("value").number(kSmallest, kLargest);
  entry.at("source").text();
  entry.done();
  return value;
}

}  // namespace

double RotaryWing::power_w(double m_per_s) const {
  const double v2 = m_per_s * m_per_s;
  const double x = v2 / (2 * induced_m_per_s * induced_m_per_s);
  // sqrt(1 + x^2) - x without the cancellation.
  const double induced = std::sqrt(1 / (std::sqrt(1 + x * x) + x));
  return blade_w * (1 + 3 * v2 / (tip_m_per_s * tip_m_per_s)) + induced_w * induced +
         0.5 * drag_ratio * air_kg_per_m3 * solidity * disc_m2 * v2 * m_per_s;
}

double Environment::line_of_sight(double elevation_degrees) const {
  return 1 / (1 + a * std::exp(-b * (elevation_degrees - a)));
}

double Environment::excess_db(double elevation_degrees) const {
  const double sight = line_of_sight(elevation_degrees);
  return sight * los_db + (1 - sight) * nlos_db;
}

UavModels load_uav_models(const std::filesystem::path& path) {
  const Json json = read_json_file(path);
  const JsonReader reader(json, path.string());
  reader.at("schema").integer(1, 1);
  UavModels models;
  for (const auto& [name, wing] : reader.at("rotary_wings").members()) {
    models.rotary_wings[name] = {.blade_w = read_sourced(wing, "blade_w"),
                                 .induced_w = read_sourced(wing, "induced_w"),
                                 .tip_m_per_s = read_sourced(wing, "tip_m_per_s"),
                                 .induced_m_per_s = read_sourced(wing, "induced_m_per_s"),
                                 .drag_ratio = read_sourced(wing, "drag_ratio"),
                                 .solidity = read_sourced(wing, "solidity"),
                                 .air_kg_per_m3 = read_sourced(wing, "air_kg_per_m3"),
                                 .disc_m2 = read_sourced(wing, "disc_m2")};
    wing.done();
  }
  for (const auto& [name, environment] : reader.at("environments").members()) {
    models.environments[name] = {.a = read_sourced(environment, "a"),
                                 .b = read_sourced(environment, "b"),
                                 .los_db = read_sourced(environment, "los_db"),
                                 .nlos_db = read_sourced(environment, "nlos_db")};
    environment.done();
  }
  reader.done();
  return models;
}

}  // namespace cdisim
