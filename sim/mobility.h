#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include "sim/json_reader.h"
#include "sim/platform.h"
#include "sim/uav_models.h"

namespace cdisim {

/// A place, m; z is the height above the ground.
struct Position {
  double x = 0, y = 0, z = 0;
};
double distance_m(const Position& a, const Position& b);

struct Waypoint {
  double at_s = 0;
  Position position;
};

/// Round and round at constant speed and height, counter-clockwise for a positive speed.
struct Circle {
  Position centre;  ///< its z is the height
  double radius_m = 0;
  double m_per_s = 0;
  double start_degrees = 0;  ///< where on the circle it is at date 0; 0: at x = centre + radius
};

/// How a host moves: a circle, or straight from waypoint to waypoint (ascending dates), standing still before
/// the first and after the last.
struct Motion {
  std::vector<Waypoint> waypoints;  ///< at least one where there is no circle
  std::optional<Circle> circle;

  bool stands_still() const { return !circle && waypoints.size() == 1; }
  Position at(double date_s) const;
  /// Horizontal speed from this date on, m/s.
  double speed_m_per_s(double date_s) const;
  /// The first date after `date_s` at which the speed may change; infinite where it never does.
  double next_speed_change(double date_s) const;
};

/// Random waypoints: stays `pause_s`, goes straight to the next place at a speed of its own, and so on;
/// places and speeds are uniform in their ranges. Same seed, same motion.
struct RandomWaypoint {
  Position low, high;  ///< corners of the area; their z is the height
  double slowest_m_per_s = 1, fastest_m_per_s = 1;
  double pause_s = 0;
};
Motion random_waypoint(const RandomWaypoint& random, double length_s, std::uint64_t seed);

/// Reads rows of "time x y z" (s and m; blanks or commas between, # begins a comment). The first row's time
/// counts as date 0. @throws InputError naming file and line.
std::vector<Waypoint> load_waypoints(const std::filesystem::path& path);

/// Where the hosts of one run are, as far as the experiment says.
struct Mobility {
  double step_s = 1;    ///< sampling period of what follows from the positions
  double length_s = 0;  ///< what is sampled ends here, and stays as it is then
  std::map<HostId, Motion> motions;
  std::map<HostId, RotaryWing> wings;  ///< of the hosts that fly
};

/// The `mobility` value of an experiment:
///
///     {"step": "1s", "length": "600s",
///      "hosts": {"edge": {"position": [0, 0, 10]},
///                "uav_0": {"waypoints": [{"at": "0s", "x": 0, "y": 0, "z": 100}, ...], "flight":
///                "rotary_wing"}, "uav_1": {"circle": {"centre": [0, 0], "radius": 50, "speed": 10, "height":
///                100}}, "uav_2": {"trace": "flight.txt"}, "tier:uav": {"random_waypoint": {"area": [0, 0,
///                500, 500], "speed": [5, 15], "pause": "2s",
///                                                 "height": 100}}}}
///
/// in m and m/s. "tier:uav" stands for the hosts of that tier without an entry of their own. `flight` names a
/// model of flight power. Without "length" it is `horizon_s`. Files resolve beside `folder`.
/// @throws InputError.
Mobility read_mobility(const JsonReader& reader, const Platform& platform, const UavModels& models,
                       std::optional<double> horizon_s, const std::filesystem::path& folder,
                       std::uint64_t seed);

}  // namespace cdisim
