#pragma once

#include <cstddef>
#include <vector>

namespace cdisim {

/// Bayesian online change-point detection of a positive series (a bandwidth): how many samples ago did its
/// level last change?
///
/// The detector works on y = ln(x / first x): a factor counts the same at every level, and the prior needs no
/// unit. Within a run y is normal with unknown mean and precision, whose prior is Normal-Gamma(mean 0, kappa,
/// alpha, beta); the prediction from n samples is Student's t with 2 alpha_n degrees of freedom at mu_n, of
/// squared scale beta_n (kappa_n + 1) / (alpha_n kappa_n). With the constant hazard h = 1 / expected run
/// length, run lengths r that count the newest sample obey
///
///     P(r = n + 1, y) = P(r = n) * p(y | last n samples) * (1 - h),      P(r = 1, y) = p(y | prior) * h
///
/// The 200 most probable run lengths are kept. A change is believed once the probability that the run began
/// later than believed exceeds the threshold; the most probable of the later starts is then believed. (Asking
/// only which run length is the most probable would waver where several starts are about as likely.) In the
/// same way a change that proves to have been an outlier is taken back. Deterministic.
///
/// Source: R. P. Adams, D. J. C. MacKay, "Bayesian Online Changepoint Detection", arXiv 0710.3742, 2007;
/// their r is one less. Updates: K. P. Murphy, "Conjugate Bayesian analysis of the Gaussian distribution",
/// 2007, section 3.
class ChangePointDetector {
 public:
  /// The default expects a spread of about 10 % within a run (beta / alpha = 0.1^2) and levels that differ by
  /// a factor of about e^sqrt(beta / (alpha kappa)) = e. Assumed; all positive.
  struct Prior {
    double kappa = 0.01;
    double alpha = 1;
    double beta = 0.01;
  };

  /// @param expected_run_length  samples, above 1
  /// @param threshold            (0, 1)
  explicit ChangePointDetector(double expected_run_length, double threshold, const Prior& prior);
  explicit ChangePointDetector(double expected_run_length, double threshold = 0.5)
      : ChangePointDetector(expected_run_length, threshold, Prior()) {}

  /// Takes a positive sample. @returns true when the believed start of the run moved: a change was detected,
  /// or one was taken back.
  bool observe(double x);

  /// Samples since the believed change, the newest included; 0 before the first sample.
  std::size_t run_length() const { return samples_ - believed_start_; }
  /// Of the samples since the believed change, in their unit. 0 before the first.
  double mean() const;
  double stddev() const;  ///< divides by their number: 0 for one sample

  /// That the run has this length; 0 for those not kept.
  double probability(std::size_t run_length) const;

 private:
  // The hypothesis that the run began with sample `start`.
  struct Run {
    std::size_t start = 0;
    double probability = 1;
    double mu = 0, kappa = 0, alpha = 0, beta = 0;  // of y, posterior
    double mean = 0, squares = 0;                   // of x: mean, sum of squared deviations
  };

  Run fresh_run(double probability) const;
  static double density(const Run& run, double y);
  void take(Run& run, double x, double y) const;
  void forget_least_probable();
  bool move_belief();
  const Run* believed() const;

  double hazard_;
  double threshold_;
  Prior prior_;
  double first_ = 0;
  std::size_t samples_ = 0;
  std::size_t believed_start_ = 0;
  std::vector<Run> runs_;  // by start, the latest last
};

}  // namespace cdisim
