#include "policies/shared/change_point.h"

#include <doctest/doctest.h>

#include <cmath>
#include <span>
#include <vector>

#include "sim/random.h"

using namespace cdisim;

namespace {

// Samples uniformly within +- 10 % of each level in turn.
std::vector<double> series(const std::vector<double>& levels, int each, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> out;
  for (const double level : levels) {
    for (int i = 0; i < each; ++i) out.push_back(level * (0.9 + 0.2 * random.uniform()));
  }
  return out;
}

// The evidence of samples y under the Normal-Gamma prior with mean 0, in closed form (Murphy 2007,
// section 3.4): ln [ Gamma(a_n) / Gamma(a) * b^a / b_n^a_n * sqrt(k / k_n) * (2 pi)^(-n/2) ].
double log_evidence(std::span<const double> y, double k, double a, double b) {
  const auto n = static_cast<double>(y.size());
  double mean = 0, squares = 0;
  for (const double v : y) mean += v / n;
  for (const double v : y) squares += (v - mean) * (v - mean);
  const double a_n = a + n / 2, k_n = k + n, b_n = b + squares / 2 + k * n * mean * mean / (2 * k_n);
  return std::lgamma(a_n) - std::lgamma(a) + a * std::log(b) - a_n * std::log(b_n) + 0.5 * std::log(k / k_n) -
         n / 2 * std::log(2 * 3.14159265358979323846);
}

}  // namespace

TEST_CASE("change point: run length probabilities equal the sum over all segmentations") {
  // joint(s, t): samples 1 .. t, the last run being s + 1 .. t. All segmentations of the samples before s
  // come together in the total of the joints at s.
  const std::vector<double> x = series({100, 130, 60}, 12, 5);
  constexpr double kHazard = 1 / 25.0;
  const ChangePointDetector::Prior prior{0.05, 1.5, 0.02};
  ChangePointDetector detector(1 / kHazard, 0.5, prior);
  std::vector<double> y, total{1};
  for (std::size_t t = 1; t <= x.size(); ++t) {
    y.push_back(std::log(x[t - 1] / x[0]));
    detector.observe(x[t - 1]);
    std::vector<double> joint;
    double sum = 0;
    for (std::size_t s = 0; s < t; ++s) {
      const double evidence =
          std::exp(log_evidence(std::span(y).subspan(s), prior.kappa, prior.alpha, prior.beta));
      joint.push_back((s == 0 ? 1 : kHazard) * total[s] *
                      std::pow(1 - kHazard, static_cast<double>(t - s - 1)) * evidence);
      sum += joint.back();
    }
    total.push_back(sum);
    for (std::size_t s = 0; s < t; ++s) {
      CAPTURE(t);
      CAPTURE(s);
      CHECK(detector.probability(t - s) == doctest::Approx(joint[s] / sum).epsilon(1e-9));
    }
  }
}

TEST_CASE("change point: finds changes of level within three samples and hardly anything else") {
  int false_alarms = 0, late = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    ChangePointDetector detector(100);
    const std::vector<double> x = series({1000, 500, 2000, 1400}, 100, seed);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const bool changed = detector.observe(x[i]);
      const std::size_t since = i % 100;
      if (changed && (i < 100 || since > 10)) ++false_alarms;
      if (since == 2 && i > 100 && detector.run_length() > 3) ++late;
      if (since != 99) continue;
      // The end of a level: at most a sample off, its mean within 2 %, its spread 20 % / sqrt(12) = 5.8 %.
      const double level = std::vector<double>{1000, 500, 2000, 1400}[i / 100];
      CHECK(std::abs(static_cast<int>(detector.run_length()) - 100) <= 1);
      CHECK(detector.mean() == doctest::Approx(level).epsilon(0.02));
      CHECK(detector.stddev() == doctest::Approx(0.0577 * level).epsilon(0.2));
    }
  }
  CHECK(false_alarms <= 2);  // of 20,000 samples: what was found, a spread that starts out small by chance
  CHECK(late == 0);
}

TEST_CASE("change point: a small outlier is taken back, mean and spread are those of the run") {
  ChangePointDetector detector(100);
  CHECK(detector.run_length() == 0);
  CHECK(detector.mean() == 0);
  CHECK_FALSE(detector.observe(100));
  CHECK(detector.run_length() == 1);
  CHECK(detector.mean() == 100);
  CHECK(detector.stddev() == 0);
  for (int i = 0; i < 20; ++i) CHECK_FALSE(detector.observe(i % 2 == 0 ? 104 : 96));
  // 21 samples: mean 100, 20 deviations of 4.
  CHECK(detector.mean() == doctest::Approx(100));
  CHECK(detector.stddev() == doctest::Approx(4 * std::sqrt(20 / 21.0)));
  // 130 looks like a change until the next sample is as before; 5 is a change indeed.
  CHECK(detector.observe(130));
  CHECK(detector.run_length() == 1);
  CHECK(detector.mean() == 130);
  CHECK(detector.observe(100));
  CHECK(detector.run_length() == 23);
  CHECK(detector.mean() == doctest::Approx((21 * 100 + 130 + 100) / 23.0));
  CHECK(detector.observe(5));
  CHECK(detector.run_length() == 1);
}

TEST_CASE("change point: scale does not matter, nor does the length of the series") {
  ChangePointDetector a(50), b(50);
  const std::vector<double> x = series({3, 7}, 1000, 9);
  for (const double v : x) {
    CHECK(a.observe(v) == b.observe(1024 * v));  // a power of two: the same bits
    CHECK(a.run_length() == b.run_length());
  }
  CHECK(a.run_length() == 1000);
}
