#include "sim/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <vector>

#include "sim/error.h"

namespace cdisim {

namespace {

struct Unit {
  const char* name;
  double factor;
};

// Spellings are SimGrid's where SimGrid has them; "b" is bit and "B" byte everywhere.
constexpr std::array kTime{Unit{"s", 1},  Unit{"ms", 1e-3}, Unit{"us", 1e-6}, Unit{"ns", 1e-9},
                           Unit{"m", 60}, Unit{"min", 60},  Unit{"h", 3600},  Unit{"d", 86400}};
constexpr std::array kData{
    Unit{"B", 1},          Unit{"kB", 1e3},          Unit{"MB", 1e6},  Unit{"GB", 1e9}, Unit{"KiB", 1024.},
    Unit{"MiB", 1048576.}, Unit{"GiB", 1073741824.}, Unit{"b", 0.125}, Unit{"kb", 125}, Unit{"Mb", 125e3}};
constexpr std::array kBandwidth{
    Unit{"bps", 0.125},   Unit{"kbps", 125},       Unit{"Mbps", 125e3},       Unit{"Gbps", 125e6},
    Unit{"Bps", 1},       Unit{"kBps", 1e3},       Unit{"MBps", 1e6},         Unit{"GBps", 1e9},
    Unit{"KiBps", 1024.}, Unit{"MiBps", 1048576.}, Unit{"GiBps", 1073741824.}};
constexpr std::array kSpeed{Unit{"f", 1},    Unit{"kf", 1e3},  Unit{"Mf", 1e6},
                            Unit{"Gf", 1e9}, Unit{"Tf", 1e12}, Unit{"Pf", 1e15}};
constexpr std::array kPower{Unit{"W", 1}, Unit{"mW", 1e-3}, Unit{"kW", 1e3}};
constexpr std::array kEnergy{Unit{"J", 1}, Unit{"mJ", 1e-3}, Unit{"kJ", 1e3}, Unit{"Wh", 3600},
                             Unit{"kWh", 3.6e6}};
constexpr std::array kFrequency{Unit{"Hz", 1}, Unit{"kHz", 1e3}, Unit{"MHz", 1e6}, Unit{"GHz", 1e9}};

std::span<const Unit> units(Dimension dimension) {
  switch (dimension) {
    case Dimension::kTime:
      return kTime;
    case Dimension::kData:
      return kData;
    case Dimension::kBandwidth:
      return kBandwidth;
    case Dimension::kSpeed:
      return kSpeed;
    case Dimension::kPower:
      return kPower;
    case Dimension::kEnergy:
      return kEnergy;
    case Dimension::kFrequency:
      return kFrequency;
  }
  return {};
}

// The units that format_quantity() chooses from, ascending.
std::span<const Unit> printed_units(Dimension dimension) {
  static constexpr std::array time{kTime[3], kTime[2], kTime[1], kTime[0]};
  static constexpr std::array data{kData[0], kData[1], kData[2], kData[3]};
  static constexpr std::array bandwidth{kBandwidth[0], kBandwidth[1], kBandwidth[2], kBandwidth[3]};
  static constexpr std::array power{kPower[1], kPower[0], kPower[2]};
  static constexpr std::array energy{kEnergy[1], kEnergy[0], kEnergy[2]};
  switch (dimension) {
    case Dimension::kTime:
      return time;
    case Dimension::kData:
      return data;
    case Dimension::kBandwidth:
      return bandwidth;
    case Dimension::kSpeed:
      return kSpeed;
    case Dimension::kPower:
      return power;
    case Dimension::kEnergy:
      return energy;
    case Dimension::kFrequency:
      return kFrequency;
  }
  return {};
}

}  // namespace

double parse_quantity(std::string_view text, Dimension dimension, std::string_view place) {
  const char* const end = text.data() + text.size();
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  if (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);

  std::vector<std::string> names;
  for (const Unit& u : units(dimension)) names.emplace_back(u.name);
  if (error != std::errc{}) {
    throw InputError(place,
                     fmt::format("\"{}\" is no number with a unit{}", text, valid_choices(unit, names)));
  }
  if (!std::isfinite(number) || number < 0) {
    throw InputError(place, fmt::format("\"{}\" must be finite and not negative", text));
  }
  for (const Unit& u : units(dimension)) {
    if (unit != u.name) continue;
    // Infinite beyond, or more than SimGrid's shares and dates can bear.
    constexpr double kLargest = 1e18;
    if (number * u.factor > kLargest) throw InputError(place, fmt::format("\"{}\" is too large", text));
    return number * u.factor;
  }
  throw InputError(place, fmt::format("\"{}\" has {}{}", text,
                                      unit.empty() ? "no unit" : fmt::format("the unknown unit \"{}\"", unit),
                                      valid_choices(unit, names)));
}

std::string format_quantity(double value, Dimension dimension) {
  const std::span<const Unit> choices = printed_units(dimension);
  if (value == 0) return fmt::format("0{}", choices.front().name);
  Unit best = choices.front();
  for (const Unit& u : choices) {
    if (std::abs(value) >= u.factor * (1 - 1e-12)) best = u;
  }
  return fmt::format("{:.4g}{}", value / best.factor, best.name);
}

}  // namespace cdisim
