#include "sim/random.h"

#include <doctest/doctest.h>

#include <array>
#include <set>

using namespace cdisim;

TEST_CASE("random: the generator is the standard's mt19937_64, hence the same everywhere") {
  // The C++ standard, [rand.predef]: the 10000th number of a default-constructed (seed 5489) mt19937_64 is
  // 9981545732273789042. uniform() keeps its upper 53 bits.
  Random random(5489);
  for (int i = 1; i < 10000; ++i) random.uniform();
  CHECK(random.uniform() == static_cast<double>(9981545732273789042u >> 11) / 9007199254740992.0);

  // 14514284786278117030 is the first number of that seed.
  const double first = static_cast<double>(14514284786278117030u >> 11) / 9007199254740992.0;
  CHECK(Random(5489).uniform() == first);
  CHECK(Random(5489).below(1000) == static_cast<int>(first * 1000));
  CHECK(Random(5489).exponential(2.5) == -2.5 * std::log1p(-first));
}

TEST_CASE("random: uniform and below are even, exponential has its mean") {
  constexpr int kDraws = 100000;
  Random random(1);
  std::array<int, 10> tenths{}, digits{};
  double sum = 0, gaps = 0;
  int long_gaps = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform();
    REQUIRE(u >= 0);
    REQUIRE(u < 1);
    ++tenths[static_cast<std::size_t>(u * 10)];
    sum += u;
    const int digit = random.below(10);
    REQUIRE(digit >= 0);
    REQUIRE(digit < 10);
    ++digits[static_cast<std::size_t>(digit)];
    const double gap = random.exponential(3);
    REQUIRE(gap >= 0);
    gaps += gap;
    long_gaps += gap > 3;
  }
  // Standard deviations: of a count sqrt(1e5 * 0.1 * 0.9) = 95, of the mean 0.29 / sqrt(1e5) = 0.0009, of the
  // mean gap 3 / sqrt(1e5) = 0.0095, of the share of long gaps 0.0015. Five of each are allowed.
  for (const int n : tenths) CHECK(std::abs(n - kDraws / 10) < 475);
  for (const int n : digits) CHECK(std::abs(n - kDraws / 10) < 475);
  CHECK(std::abs(sum / kDraws - 0.5) < 0.0046);
  CHECK(std::abs(gaps / kDraws - 3) < 0.048);
  CHECK(std::abs(1.0 * long_gaps / kDraws - std::exp(-1)) < 0.0076);
  for (int i = 0; i < 100; ++i) CHECK(random.below(1) == 0);
}

TEST_CASE("random: derive_seed is splitmix64") {
  // Stream k is number k of the sequence that splitmix64 makes of the seed; the published first five of
  // 1234567.
  const std::array<std::uint64_t, 5> published{6457827717110365317u, 3203168211198807973u,
                                               9817491932198370423u, 4593380528125082431u,
                                               16408922859458223821u};
  for (std::uint64_t k = 0; k < published.size(); ++k)
    CHECK(derive_seed(1234567, Stream::kArrivals, k) == published[k]);
}

TEST_CASE("random: streams and neighbouring seeds are distinct") {
  std::set<std::uint64_t> seeds;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    for (std::uint64_t stream = 0; stream < 100; ++stream)
      seeds.insert(derive_seed(seed, Stream::kPolicy, stream));
  }
  CHECK(seeds.size() == 10000);

  // Numbers drawn in step from two streams do not follow each other: correlation within 5 / sqrt(n).
  constexpr int kDraws = 10000;
  Random a(derive_seed(1, Stream::kArrivals, 0)), b(derive_seed(1, Stream::kPolicy, 0));
  double products = 0;
  for (int i = 0; i < kDraws; ++i) products += (a.uniform() - 0.5) * (b.uniform() - 0.5);
  CHECK(std::abs(products / kDraws * 12) < 0.05);
}
