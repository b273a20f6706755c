#include "policies/shared/change_point.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>

namespace cdisim {

namespace {
constexpr std::size_t kMostRuns = 200;
}

ChangePointDetector::ChangePointDetector(double expected_run_length, double threshold, const Prior& prior)
    : hazard_(1 / expected_run_length), threshold_(threshold), prior_(prior) {
  assert(expected_run_length > 1 && threshold > 0 && threshold < 1);
}

ChangePointDetector::Run ChangePointDetector::fresh_run(double probability) const {
  return {samples_, probability, 0, prior_.kappa, prior_.alpha, prior_.beta, 0, 0};
}

double ChangePointDetector::density(const Run& run, double y) {
  const double degrees = 2 * run.alpha;
  const double scale2 = run.beta * (run.kappa + 1) / (run.alpha * run.kappa);
  const double distance2 = (y - run.mu) * (y - run.mu) / scale2;
  return std::exp(std::lgamma((degrees + 1) / 2) - std::lgamma(degrees / 2) -
                  std::log(degrees * std::numbers::pi * scale2) / 2 -
                  (degrees + 1) / 2 * std::log1p(distance2 / degrees));
}

void ChangePointDetector::take(Run& run, double x, double y) const {
  const double off = y - run.mu;
  run.beta += run.kappa * off * off / (2 * (run.kappa + 1));
  run.mu += off / (run.kappa + 1);
  run.kappa += 1;
  run.alpha += 0.5;
  const double before = x - run.mean;
  run.mean += before / static_cast<double>(samples_ - run.start);
  run.squares += before * (x - run.mean);
}

bool ChangePointDetector::observe(double x) {
  assert(x > 0);
  if (samples_ == 0) first_ = x;
  const double y = std::log(x / first_);

  // Either a run goes on, or a new one starts with this sample.
  for (Run& run : runs_) run.probability *= (1 - hazard_) * density(run, y);
  Run fresh = fresh_run(1);
  fresh.probability = (samples_ == 0 ? 1 : hazard_) * density(fresh, y);
  runs_.push_back(fresh);
  double total = 0;
  for (const Run& run : runs_) total += run.probability;
  ++samples_;
  for (Run& run : runs_) {
    run.probability /= total;
    take(run, x, y);
  }
  forget_least_probable();
  return move_belief();
}

void ChangePointDetector::forget_least_probable() {
  if (runs_.size() <= kMostRuns) return;
  // Not the newest, which has had no time to prove itself, and not the one believed in.
  auto least = runs_.end();
  for (auto run = runs_.begin(); run + 1 != runs_.end(); ++run) {
    if (run->start == believed_start_) continue;
    if (least == runs_.end() || run->probability < least->probability) least = run;
  }
  runs_.erase(least);
}

bool ChangePointDetector::move_belief() {
  double earlier = 0, later = 0;
  for (const Run& run : runs_) {
    if (run.start < believed_start_) earlier += run.probability;
    if (run.start > believed_start_) later += run.probability;
  }
  if (earlier <= threshold_ && later <= threshold_) return false;
  const bool forward = later > earlier;
  const Run* best = nullptr;
  for (const Run& run : runs_) {
    if (run.start == believed_start_ || (run.start > believed_start_) != forward) continue;
    if (best == nullptr || run.probability > best->probability) best = &run;
  }
  believed_start_ = best->start;
  return true;
}

const ChangePointDetector::Run* ChangePointDetector::believed() const {
  const auto found = std::ranges::find(runs_, believed_start_, &Run::start);
  return found == runs_.end() ? nullptr : &*found;
}

double ChangePointDetector::mean() const {
  return samples_ == 0 ? 0 : believed()->mean;
}

double ChangePointDetector::stddev() const {
  return samples_ == 0 ? 0 : std::sqrt(believed()->squares / static_cast<double>(run_length()));
}

double ChangePointDetector::probability(std::size_t run_length) const {
  const auto found = std::ranges::find(runs_, samples_ - run_length, &Run::start);
  return found == runs_.end() ? 0 : found->probability;
}

}  // namespace cdisim
