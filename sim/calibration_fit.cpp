#include "sim/calibration_fit.h"

#include <fmt/format.h>

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "sim/error.h"
#include "sim/report.h"

namespace cdisim {

namespace {

// Spread of the measurements around the model, and of the parameters around their guesses, in logarithms.
// Assumed: set by hand after trials on the same measurements, which moved the median error of leave-one-out
// by less than two points.
constexpr double kNoise = 0.2, kHuber = 2;
constexpr double kClassSpread = 1, kRuntimeSpread = 0.7, kDeviceSpread = 0.5;
constexpr double kRuntimeScaleSpread = 0.6, kDeviceScaleSpread = 0.4, kProfileScaleSpread = 0.4;

constexpr double square(double x) {
  return x * x;
}

// Where the fit starts from: arithmetic and depthwise efficiency, share of the memory bandwidth, seconds per
// layer.
struct Guess {
  double efficiency, depthwise, memory, overhead_s;
};
constexpr std::array<Guess, kDeviceClasses> kGuesses{{
    {0.20, 0.05, 0.6, 2e-5},  // desktop_gpu
    {0.25, 0.05, 0.5, 5e-5},  // embedded_gpu
    {0.15, 0.03, 0.4, 1e-4},  // mobile_gpu
    {0.40, 0.10, 0.4, 1e-5},  // desktop_cpu
    {0.35, 0.10, 0.4, 2e-5},  // mobile_cpu
    {0.15, 0.05, 0.5, 3e-5},  // npu
}};

using Terms = std::array<double, kCostTerms>;

Terms log_guess(DeviceClass device_class) {
  const Guess& guess = kGuesses[static_cast<std::size_t>(device_class)];
  Terms log_cost{};
  log_cost.fill(-std::log(guess.efficiency));
  const auto at = [&log_cost](CostTerm term) -> double& { return log_cost[static_cast<std::size_t>(term)]; };
  at(CostTerm::kConvFirst) = -std::log(guess.efficiency / 3);
  at(CostTerm::kConv3x3) = -std::log(guess.efficiency * 1.5);
  at(CostTerm::kDepthwiseConv) = -std::log(guess.depthwise);
  at(CostTerm::kMemory) = -std::log(guess.memory);
  at(CostTerm::kLayerOverhead) = at(CostTerm::kOperatorOverhead) = std::log(guess.overhead_s);
  at(CostTerm::kRunOverhead) = std::log(10 * guess.overhead_s);
  return log_cost;
}

const Terms& slowdown_exponents() {
  static const Terms exponents = [] {
    Terms out{};
    for (std::size_t i = 0; i < kCostTerms; ++i) out[i] = slowdown_exponent(static_cast<CostTerm>(i));
    return out;
  }();
  return exponents;
}

// One layer of a row: what it takes at an efficiency of 1.
struct Work {
  std::size_t term;
  double arithmetic_s, memory_s;
};

// A measured row, ready to be predicted.
struct Row {
  const MeasuredLatency* measured = nullptr;
  std::vector<Work> works;
  double layers = 0, operators = 0;  ///< that pay an overhead
  double fixed_s = 0;                ///< weights that stream in
  double log_s = 0;
  int runtime = 0, device = 0, profile = 0;
  std::string profile_key, model;
};

Row make_row(const MeasuredLatency& measured, const DeviceType& device, const Processor& processor,
             const LayerGraph& graph) {
  Row row;
  row.measured = &measured;
  row.log_s = std::log(measured.latency_s);
  row.model = measured.model;
  row.profile_key = fmt::format("{}/{}/{}/{}/{}", measured.device, measured.processor, measured.precision,
                                measured.runtime, measured.threads);
  // Precision, fusing and the weight link are those of the profile that the calibration will assemble.
  Roofline roofline;
  roofline.bytes_per_element = precision_bytes(measured.precision);
  roofline.fused = true;
  if (processor.weight_cache_bytes) roofline.weight_cache_bytes = processor.weight_cache_bytes->value;
  if (processor.weight_link_bytes_per_s)
    roofline.weight_link_bytes_per_s = processor.weight_link_bytes_per_s->value;
  const int last = static_cast<int>(graph.exits().size()) - 1;
  row.fixed_s = roofline.run_s(graph, graph.exit_layers(last));

  const double speed = thread_speed(*processor.peak(measured.precision), measured.threads, processor);
  const double bandwidth = device.memory_bandwidth(processor);
  const double scale = roofline.bytes_per_element / graph.bytes_per_element();
  for (const LayerId id : graph.exit_layers(last)) {
    const WorkKind kind = work_kind(graph, id);
    if (kind == WorkKind::kElementwise) continue;
    (kind == WorkKind::kOperator ? row.operators : row.layers) += graph.layer(id).steps;
    row.works.push_back({static_cast<std::size_t>(arithmetic_term(kind)),
                         measured.batch * graph.layer(id).work_flop / speed,
                         bandwidth > 0 ? scale * graph.traffic_bytes(id, measured.batch) / bandwidth : 0});
  }
  return row;
}

// Logarithms of all factors of one class.
struct LogFactors {
  Terms cost{};                        ///< deviation from the guess
  std::vector<Terms> runtime, device;  ///< ratios
  std::vector<double> runtime_scale, device_scale, profile_scale;

  LogFactors(std::size_t runtimes, std::size_t devices, std::size_t profiles)
      : runtime(runtimes),
        device(devices),
        runtime_scale(runtimes),
        device_scale(devices),
        profile_scale(profiles) {}

  double scale(const Row& row) const {
    return runtime_scale[static_cast<std::size_t>(row.runtime)] +
           device_scale[static_cast<std::size_t>(row.device)] +
           profile_scale[static_cast<std::size_t>(row.profile)];
  }
  // All that acts on one term of a row.
  double factor(const Row& row, std::size_t term) const {
    return cost[term] + runtime[static_cast<std::size_t>(row.runtime)][term] +
           device[static_cast<std::size_t>(row.device)][term] + slowdown_exponents()[term] * scale(row);
  }
};

// this + step * (to - this), parameter by parameter.
LogFactors between(const LogFactors& from, const LogFactors& to, double step) {
  LogFactors out = from;
  const auto mix = [step](double& a, double b) { a += step * (b - a); };
  const auto mix_all = [&mix](auto& a, const auto& b) {
    for (std::size_t i = 0; i < a.size(); ++i) mix(a[i], b[i]);
  };
  mix_all(out.cost, to.cost);
  for (std::size_t i = 0; i < out.runtime.size(); ++i) mix_all(out.runtime[i], to.runtime[i]);
  for (std::size_t i = 0; i < out.device.size(); ++i) mix_all(out.device[i], to.device[i]);
  mix_all(out.runtime_scale, to.runtime_scale);
  mix_all(out.device_scale, to.device_scale);
  mix_all(out.profile_scale, to.profile_scale);
  return out;
}

double penalty(const LogFactors& p) {
  double sum = 0;
  const auto add = [&sum](const auto& values, double spread) {
    for (const double v : values) sum += square(v / spread) / 2;
  };
  add(p.cost, kClassSpread);
  for (const Terms& terms : p.runtime) add(terms, kRuntimeSpread);
  for (const Terms& terms : p.device) add(terms, kDeviceSpread);
  add(p.runtime_scale, kRuntimeScaleSpread);
  add(p.device_scale, kDeviceScaleSpread);
  add(p.profile_scale, kProfileScaleSpread);
  return sum;
}

// The rows of one class and the fit to any part of them.
class ClassFit {
 public:
  ClassFit(DeviceClass device_class, std::vector<Row> rows)
      : guess_(log_guess(device_class)), rows_(std::move(rows)) {
    for (Row& row : rows_) {
      const MeasuredLatency& m = *row.measured;
      row.runtime = index(runtimes_, runtime_family(m.runtime) + "/" + m.precision);
      row.device = index(devices_, m.device + "/" + m.processor);
      row.profile = index(profiles_, row.profile_key);
    }
  }

  std::span<const Row> rows() const { return rows_; }
  const Terms& guess() const { return guess_; }
  const std::vector<std::string>& runtimes() const { return runtimes_; }
  const std::vector<std::string>& devices() const { return devices_; }
  const std::vector<std::string>& profiles() const { return profiles_; }
  LogFactors start() const { return LogFactors(runtimes_.size(), devices_.size(), profiles_.size()); }

  // The most likely parameters for the rows `chosen`.
  LogFactors fit(const std::vector<std::size_t>& chosen, LogFactors from) const {
    constexpr int kMostSteps = 40;
    double objective = loss(chosen, from) + penalty(from);
    for (int i = 0; i < kMostSteps; ++i) {
      const LogFactors target = gauss_newton(chosen, from);
      bool improved = false;
      for (double step = 1; step > 1e-3 && !improved; step /= 2) {
        LogFactors next = between(from, target, step);
        const double value = loss(chosen, next) + penalty(next);
        if (value < objective) {
          improved = objective - value > 1e-7 * objective;
          objective = value;
          from = std::move(next);
          if (!improved) return from;
        }
      }
      if (!improved) break;
    }
    return from;
  }

  double predicted_log_s(const Row& row, const LogFactors& p) const {
    Terms shares{};
    return predict(row, p, shares);
  }

 private:
  Terms guess_;
  std::vector<Row> rows_;
  std::vector<std::string> runtimes_, devices_, profiles_;

  static int index(std::vector<std::string>& names, const std::string& name) {
    const auto found = std::ranges::find(names, name);
    if (found == names.end()) names.push_back(name);
    return static_cast<int>(std::ranges::find(names, name) - names.begin());
  }

  // Logarithm of the predicted seconds, and what share of them each term has.
  double predict(const Row& row, const LogFactors& p, Terms& shares) const {
    Terms factor{};
    for (std::size_t t = 0; t < kCostTerms; ++t) factor[t] = std::exp(guess_[t] + p.factor(row, t));
    shares.fill(0);
    constexpr auto kMemoryTerm = static_cast<std::size_t>(CostTerm::kMemory);
    for (const Work& work : row.works) {
      const double arithmetic_s = work.arithmetic_s * factor[work.term];
      const double memory_s = work.memory_s * factor[kMemoryTerm];
      shares[arithmetic_s >= memory_s ? work.term : kMemoryTerm] += std::max(arithmetic_s, memory_s);
    }
    const auto overhead = [&](CostTerm term, double count) {
      shares[static_cast<std::size_t>(term)] = count * factor[static_cast<std::size_t>(term)];
    };
    overhead(CostTerm::kLayerOverhead, row.layers);
    overhead(CostTerm::kOperatorOverhead, row.operators);
    overhead(CostTerm::kRunOverhead, 1);
    double seconds = row.fixed_s;
    for (const double share : shares) seconds += share;
    for (double& share : shares) share /= seconds;
    return std::log(seconds);
  }

  double loss(const std::vector<std::size_t>& chosen, const LogFactors& p) const {
    double sum = 0;
    for (const std::size_t i : chosen) {
      const double r = std::abs(rows_[i].log_s - predicted_log_s(rows_[i], p)) / kNoise;
      sum += r < kHuber ? r * r / 2 : kHuber * r - kHuber * kHuber / 2;
    }
    return sum;
  }

  // Where the linearised problem has its minimum. With derivatives J, prior variances V and weights W it lies
  // at V J' (J V J' + W^-1)^-1 (residuals + J parameters): as many unknowns as rows, not as parameters.
  LogFactors gauss_newton(const std::vector<std::size_t>& chosen, const LogFactors& p) const {
    const auto n = static_cast<Eigen::Index>(chosen.size());
    std::vector<Terms> shares(chosen.size());
    std::vector<double> slope(chosen.size());  // of the scales
    Eigen::MatrixXd covariance(n, n);
    Eigen::VectorXd target(n);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const Row& row = rows_[chosen[i]];
      const double residual = row.log_s - predict(row, p, shares[i]);
      double linear = 0;
      for (std::size_t t = 0; t < kCostTerms; ++t) {
        slope[i] += shares[i][t] * slowdown_exponents()[t];
        linear += shares[i][t] * p.factor(row, t);
      }
      target(static_cast<Eigen::Index>(i)) = residual + linear;
      for (std::size_t j = 0; j <= i; ++j) {
        const Row& other = rows_[chosen[j]];
        const bool runtime = row.runtime == other.runtime, device = row.device == other.device;
        double product = 0;
        for (std::size_t t = 0; t < kCostTerms; ++t) product += shares[i][t] * shares[j][t];
        const double ratios = square(kClassSpread) + (runtime ? square(kRuntimeSpread) : 0) +
                              (device ? square(kDeviceSpread) : 0);
        const double scales = (runtime ? square(kRuntimeScaleSpread) : 0) +
                              (device ? square(kDeviceScaleSpread) : 0) +
                              (row.profile == other.profile ? square(kProfileScaleSpread) : 0);
        covariance(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)) =
            product * ratios + slope[i] * slope[j] * scales;
      }
      const double r = std::abs(residual) / kNoise;
      const double weight = r < kHuber ? 1 : kHuber / r;
      covariance(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(i)) += square(kNoise) / weight;
    }
    const Eigen::VectorXd alpha = covariance.selfadjointView<Eigen::Lower>().llt().solve(target);

    LogFactors out = start();
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const Row& row = rows_[chosen[i]];
      const double a = alpha(static_cast<Eigen::Index>(i));
      Terms& runtime = out.runtime[static_cast<std::size_t>(row.runtime)];
      Terms& device = out.device[static_cast<std::size_t>(row.device)];
      for (std::size_t t = 0; t < kCostTerms; ++t) {
        out.cost[t] += square(kClassSpread) * shares[i][t] * a;
        runtime[t] += square(kRuntimeSpread) * shares[i][t] * a;
        device[t] += square(kDeviceSpread) * shares[i][t] * a;
      }
      out.runtime_scale[static_cast<std::size_t>(row.runtime)] += square(kRuntimeScaleSpread) * slope[i] * a;
      out.device_scale[static_cast<std::size_t>(row.device)] += square(kDeviceScaleSpread) * slope[i] * a;
      out.profile_scale[static_cast<std::size_t>(row.profile)] += square(kProfileScaleSpread) * slope[i] * a;
    }
    return out;
  }
};

// ---- errors ----

double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

// Enough digits to judge, few enough to read.
double rounded(double value) {
  return std::stod(fmt::format("{:.5g}", value));
}

using Errors = std::map<std::string, std::vector<double>>;

Json errors_json(Errors& errors) {
  Json out = Json::object();
  for (auto& [key, values] : errors) {
    std::ranges::sort(values);
    out[key] = to_json(ErrorStatistics{static_cast<int>(values.size()), rounded(quantile(values, 0.5)),
                                       rounded(quantile(values, 0.9))});
  }
  return out;
}

// What may be left out together: name of the errors, the rows of each part.
struct Fold {
  ProfileBasis basis;
  std::vector<std::size_t> left_out;
};

std::vector<Fold> folds(const ClassFit& fit) {
  std::map<std::tuple<int, std::string, std::string>, std::vector<std::size_t>> parts;
  std::map<std::string, std::set<std::string>> models;
  for (const Row& row : fit.rows()) models[row.profile_key].insert(row.model);
  for (std::size_t i = 0; i < fit.rows().size(); ++i) {
    const Row& row = fit.rows()[i];
    if (models[row.profile_key].size() > 1) parts[{0, row.profile_key, row.model}].push_back(i);
    parts[{1, row.profile_key, ""}].push_back(i);
    parts[{2, fit.devices()[static_cast<std::size_t>(row.device)], ""}].push_back(i);
  }
  std::vector<Fold> out;
  for (auto& [key, rows] : parts)
    out.push_back({static_cast<ProfileBasis>(std::get<0>(key)), std::move(rows)});
  return out;
}

// ---- the file ----

Json slowdowns_json(const Terms& ratios, double scale) {
  Json out = Json::object();
  for (std::size_t t = 0; t < kCostTerms; ++t) {
    out[cost_term_names()[t]] = rounded(std::exp(ratios[t] + slowdown_exponents()[t] * scale));
  }
  return out;
}

Json class_json(const ClassFit& fit, const LogFactors& p) {
  Json out{{"efficiency", Json::object()},
           {"overhead_s", Json::object()},
           {"runtimes", Json::object()},
           {"devices", Json::object()}};
  for (std::size_t t = 0; t < kCostTerms; ++t) {
    const double log_cost = fit.guess()[t] + p.cost[t];
    const bool overhead = t > static_cast<std::size_t>(CostTerm::kMemory);
    out[overhead ? "overhead_s" : "efficiency"][cost_term_names()[t]] =
        rounded(std::exp(overhead ? log_cost : -log_cost));
  }
  for (std::size_t i = 0; i < fit.runtimes().size(); ++i) {
    out["runtimes"][fit.runtimes()[i]] = slowdowns_json(p.runtime[i], p.runtime_scale[i]);
  }
  for (std::size_t i = 0; i < fit.devices().size(); ++i) {
    out["devices"][fit.devices()[i]] = slowdowns_json(p.device[i], p.device_scale[i]);
  }
  return out;
}

void add_profiles(const ClassFit& fit, const LogFactors& p, Errors& errors, Json& profiles) {
  const Json own = errors_json(errors);
  for (std::size_t i = 0; i < fit.profiles().size(); ++i) {
    std::set<std::string> models;
    int measurements = 0;
    const MeasuredLatency* any = nullptr;
    bool sure = false;
    for (const Row& row : fit.rows()) {
      if (row.profile != static_cast<int>(i)) continue;
      models.insert(row.model);
      ++measurements;
      sure = sure || row.measured->confidence == Confidence::kHigh;
      any = row.measured;
    }
    Json profile{{"device", any->device},
                 {"processor", any->processor},
                 {"precision", any->precision},
                 {"runtime", any->runtime},
                 {"threads", any->threads},
                 {"slowdown", rounded(std::exp(p.profile_scale[i]))},
                 {"models", models.size()},
                 {"measurements", measurements},
                 {"confidence", sure ? "high" : "medium"}};
    if (own.contains(fit.profiles()[i])) profile["errors"] = own[fit.profiles()[i]];
    profiles.push_back(std::move(profile));
  }
}

// How far apart two measurements of one and the same thing are.
void add_repeats(std::span<const MeasuredLatency> rows, Errors& errors) {
  std::map<std::tuple<std::string, std::string, int, std::string, std::string, std::string, int>,
           std::vector<double>>
      same;
  for (const MeasuredLatency& r : rows) {
    same[{r.device, r.processor, r.threads, r.precision, r.runtime, r.model, r.batch}].push_back(r.latency_s);
  }
  for (const auto& [key, seconds] : same) {
    for (std::size_t i = 0; i < seconds.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        errors["repeats"].push_back(std::max(seconds[i], seconds[j]) / std::min(seconds[i], seconds[j]) - 1);
      }
    }
  }
}

}  // namespace

CalibrationResult calibrate(std::span<const MeasuredLatency> measured, const std::string& rows_file,
                            const std::map<std::string, DeviceType>& devices,
                            const std::map<std::string, LayerGraph>& models,
                            const CalibrationOptions& options) {
  // Rows by class, in the file's order; those of low confidence apart.
  std::array<std::vector<Row>, kDeviceClasses> rows, doubtful;
  for (const MeasuredLatency& m : measured) {
    const auto fail = [&](const std::string& what, const std::string& given, const auto& valid) {
      std::vector<std::string> names;
      for (const auto& [key, unused] : valid) names.push_back(key);
      throw InputError(fmt::format("{}: line {}", rows_file, m.line),
                       fmt::format("{} \"{}\"{}", what, given, valid_choices(given, names)));
    };
    const auto device = devices.find(m.device);
    if (device == devices.end()) fail("no device", m.device, devices);
    const auto processor = device->second.processors.find(m.processor);
    if (processor == device->second.processors.end()) {
      fail(m.device + " has no processor", m.processor, device->second.processors);
    }
    const Processor& p = processor->second;
    if (!p.peak(m.precision)) {
      std::map<std::string, Measured> peaks = p.peak_flop_per_s;
      peaks.insert(p.peak_op_per_s.begin(), p.peak_op_per_s.end());
      fail(fmt::format("the {} of {} has no peak at", m.processor, m.device), m.precision, peaks);
    }
    const auto model = models.find(m.model);
    if (model == models.end()) fail("no model", m.model, models);
    auto& target = m.confidence == Confidence::kLow ? doubtful : rows;
    target[static_cast<std::size_t>(p.device_class)].push_back(make_row(m, device->second, p, model->second));
  }

  std::vector<ClassFit> fits;
  std::vector<std::vector<Fold>> class_folds;
  int total = 0, done = 0;
  for (std::size_t c = 0; c < kDeviceClasses; ++c) {
    fits.emplace_back(static_cast<DeviceClass>(c), std::move(rows[c]));
    class_folds.push_back(options.cross_validate ? folds(fits.back()) : std::vector<Fold>{});
    total += static_cast<int>(class_folds.back().size());
  }

  CalibrationResult result;
  Errors over_all, by_device;
  Json classes = Json::object(), profiles = Json::array();
  for (std::size_t c = 0; c < kDeviceClasses; ++c) {
    const ClassFit& fit = fits[c];
    std::vector<std::size_t> all(fit.rows().size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    const LogFactors best = fit.fit(all, fit.start());

    Errors by_basis, by_profile;
    const bool pooled = static_cast<DeviceClass>(c) != DeviceClass::kNpu;
    for (const Fold& fold : class_folds[c]) {
      std::vector<std::size_t> kept;
      std::ranges::set_difference(all, fold.left_out, std::back_inserter(kept));
      const LogFactors without = fit.fit(kept, best);
      for (const std::size_t i : fold.left_out) {
        const Row& row = fit.rows()[i];
        const double predicted_s = std::exp(fit.predicted_log_s(row, without));
        const double error = std::abs(predicted_s / row.measured->latency_s - 1);
        const std::string key = error_key(fold.basis, row.measured->batch);
        by_basis[key].push_back(error);
        over_all[(pooled ? "cpu_gpu/" : "npu/") + key].push_back(error);
        if (fold.basis != ProfileBasis::kMeasured) continue;
        by_profile[row.profile_key].push_back(error);
        by_device[row.measured->device + "/" + row.measured->processor].push_back(error);
        result.left_out.push_back({row.measured, static_cast<DeviceClass>(c), predicted_s});
      }
      if (options.progress) options.progress(++done, total);
    }
    // Low confidence: predicted from everything else that is known of runtime and device.
    const auto position = [](const std::vector<std::string>& names, const std::string& name) {
      return static_cast<int>(std::ranges::find(names, name) - names.begin());
    };
    for (Row& row : doubtful[c]) {
      if (!options.cross_validate) continue;
      // One more of each stands for what was never measured: no deviation.
      LogFactors p = best;
      p.runtime.emplace_back();
      p.device.emplace_back();
      p.runtime_scale.push_back(0);
      p.device_scale.push_back(0);
      p.profile_scale.push_back(0);
      row.runtime =
          position(fit.runtimes(), runtime_family(row.measured->runtime) + "/" + row.measured->precision);
      row.device = position(fit.devices(), row.measured->device + "/" + row.measured->processor);
      row.profile = position(fit.profiles(), row.profile_key);
      const double predicted_s = std::exp(fit.predicted_log_s(row, p));
      over_all["low_confidence"].push_back(std::abs(predicted_s / row.measured->latency_s - 1));
    }
    Json json = class_json(fit, best);
    if (!by_basis.empty()) json["errors"] = errors_json(by_basis);
    classes[device_class_names()[c]] = std::move(json);
    add_profiles(fit, best, by_profile, profiles);
  }
  add_repeats(measured, over_all);

  result.json = {
      {"schema", 1},
      {"source", fmt::format("cdisim calibrate: fitted to {} measured latencies, each with its source",
                             measured.size())},
      {"classes", classes},
      {"profiles", profiles}};
  if (options.cross_validate) {
    result.json["errors"] = {{"over_all", errors_json(over_all)}, {"devices", errors_json(by_device)}};
  }
  return result;
}

namespace {

// "0.103" of an error that was measured, as percents; "-" where there is none.
std::vector<std::string> error_cells(const Json& errors, const std::string& key) {
  if (!errors.contains(key)) return {"-", "-", "-"};
  const Json& e = errors[key];
  return {fmt::format("{}", e["count"].get<int>()), fmt::format("{:.1f}%", 100 * e["median"].get<double>()),
          fmt::format("{:.1f}%", 100 * e["p90"].get<double>())};
}

}  // namespace

std::string calibration_text(const Json& calibration) {
  if (!calibration.contains("errors")) return "this calibration was written without cross-validation\n";
  const Json& over_all = calibration["errors"]["over_all"];
  const auto row = [](std::string title, const std::vector<std::vector<std::string>>& cells) {
    std::vector<std::string> out{std::move(title)};
    for (const auto& part : cells) out.insert(out.end(), part.begin(), part.end());
    return out;
  };
  std::vector<std::vector<std::string>> rows;
  const std::pair<const char*, const char*> lines[] = {
      {"CPU and GPU, batch 1", "cpu_gpu/measured/batch_1"},
      {"CPU and GPU, larger batches", "cpu_gpu/measured/larger_batches"},
      {"NPU, batch 1", "npu/measured/batch_1"},
      {"a profile left out whole: CPU and GPU, batch 1", "cpu_gpu/device_measured/batch_1"},
      {"a device left out whole: CPU and GPU, batch 1", "cpu_gpu/class/batch_1"},
      {"rows of low confidence, never fitted", "low_confidence"},
      {"repeats of one measurement, against each other", "repeats"}};
  for (const auto& [title, key] : lines) rows.push_back(row(title, {error_cells(over_all, key)}));
  std::string out = format_table({"relative error, leave-one-out", "rows", "median", "90%"}, rows);

  rows.clear();
  for (const auto& [name, entry] : calibration["classes"].items()) {
    const Json errors = entry.value("errors", Json::object());
    rows.push_back(
        row(name, {error_cells(errors, "measured/batch_1"), error_cells(errors, "measured/larger_batches")}));
  }
  out += "\n" + format_table({"class", "batch 1", "median", "90%", "larger", "median", "90%"}, rows);

  rows.clear();
  for (const auto& [name, errors] : calibration["errors"]["devices"].items()) {
    rows.push_back(row(name, {error_cells({{"device", errors}}, "device")}));
  }
  return out + "\n" + format_table({"device, all batches", "rows", "median", "90%"}, rows);
}

}  // namespace cdisim
