#pragma once

#include <cmath>
#include <cstdint>
#include <random>

namespace cdisim {

/// The one generator. std::mt19937_64 is the same everywhere; the standard's distributions are not, hence
/// these.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1.0p-53; }
  /// Uniform integer in [0, n), n > 0.
  int below(int n) { return static_cast<int>(uniform() * n); }
  /// Exponential with the given mean.
  double exponential(double mean) { return -mean * std::log1p(-uniform()); }

 private:
  std::mt19937_64 engine_;
};

/// What a stream of random numbers is for. Streams of different purposes never share numbers.
enum class Stream : std::uint64_t {
  kArrivals,
  kPolicy,
  kBandwidthTrace,
  kHistory,
  kExits,
  kFailures,
  kMobility
};

/// A seed for the stream of one purpose and number (source, link, ...) derived from the run's seed by
/// splitmix64.
inline std::uint64_t derive_seed(std::uint64_t seed, Stream purpose, std::uint64_t number) {
  const std::uint64_t stream = (static_cast<std::uint64_t>(purpose) << 48) + number;
  std::uint64_t z = seed + 0x9e3779b97f4a7c15u * (stream + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace cdisim
