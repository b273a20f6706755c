#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace cdisim {

/// A UAV that hovers, and its power in level flight at V m/s:
///
///     P(V) = blade (1 + 3 V^2 / tip^2) + induced_w sqrt(sqrt(1 + V^4 / (4 v^4)) - V^2 / (2 v^2))
///            + drag_ratio air solidity disc V^3 / 2
///
/// v being induced_m_per_s, the mean velocity of the air through the rotor while hovering.
/// Source: the form of Zeng, Xu, Zhang, "Energy Minimization for Wireless Communication With Rotary-Wing
/// UAV", IEEE TWC 18(4), 2019; the numbers are those of platforms/uav_models.json.
struct RotaryWing {
  double blade_w = 0;          ///< profile power of the blades while hovering
  double induced_w = 0;        ///< induced power while hovering
  double tip_m_per_s = 1;      ///< speed of the blades' tips
  double induced_m_per_s = 1;  ///< v
  double drag_ratio = 0;       ///< of the fuselage
  double solidity = 0;         ///< share of the disc that is blades
  double air_kg_per_m3 = 0;    ///< density
  double disc_m2 = 0;          ///< area swept by the rotor

  double power_w(double m_per_s) const;
};

/// Buildings between a UAV and the ground. Seen from the ground at an elevation of e degrees it is in line of
/// sight with probability 1 / (1 + a exp(-b (e - a))); to the loss in free space come los_db or nlos_db.
/// Source: the form of Al-Hourani, Kandeepan, Lardner, "Optimal LAP Altitude for Maximum Coverage", IEEE WCL
/// 3(6), 2014; the numbers are those of platforms/uav_models.json.
struct Environment {
  double a = 0, b = 0;
  double los_db = 0, nlos_db = 0;

  double line_of_sight(double elevation_degrees) const;  ///< probability
  double excess_db(double elevation_degrees) const;      ///< mean loss beyond free space
};

struct UavModels {
  std::map<std::string, RotaryWing> rotary_wings;
  std::map<std::string, Environment> environments;
};

/// Reads platforms/uav_models.json:
///
///     {"schema": 1,
///      "rotary_wings": {"rotary_wing": {"blade_w": {"value": 79.8563, "source": "..."}, ...}},
///      "environments": {"urban": {"a": {"value": 9.61, "source": "..."}, ...}}}
///
/// @throws InputError naming file, JSON pointer and value: a missing or unknown key, a value without source.
UavModels load_uav_models(const std::filesystem::path& path);

}  // namespace cdisim
