#pragma once

#include <string>
#include <string_view>

namespace cdisim {

/// What a quantity measures. Inside cdisim every quantity is a double in the SI unit named here.
enum class Dimension {
  kTime,       ///< s
  kData,       ///< byte
  kBandwidth,  ///< byte/s
  kSpeed,      ///< flop/s
  kPower,      ///< W
  kEnergy,     ///< J
  kFrequency,  ///< Hz
};

/// Parses what people write in JSON and XML: "8Mbps", "10ms", "2.5W", "1GiB", "38.4Gf". The unit is required
/// and case matters: "Mbps" is 10^6 bit/s and "MBps" 10^6 byte/s, as in SimGrid. A space may stand before the
/// unit.
/// @param text   the number and its unit
/// @param place  named in the error
/// @throws InputError when the number is not finite, negative, or the unit is not one of `dimension`'s.
double parse_quantity(std::string_view text, Dimension dimension, std::string_view place);

/// The number as people write it, with the prefix that keeps it between 1 and 1000: 6.25e4 byte/s ->
/// "500kbps".
std::string format_quantity(double value, Dimension dimension);

}  // namespace cdisim
