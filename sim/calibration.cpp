#include "sim/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <set>
#include <tuple>

#include "sim/error.h"

namespace cdisim {

namespace {

constexpr double kSmallest = 1e-12, kLargest = 1e12;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

CostFactors read_slowdowns(const JsonReader& json) {
  CostFactors factors{};
  for (int term = 0; term < kCostTerms; ++term) {
    const auto i = static_cast<std::size_t>(term);
    factors[i] = json.at(cost_term_names()[i]).number(kSmallest, kLargest);
  }
  json.done();
  return factors;
}

// A class states efficiencies and seconds, which people can judge; inside both are times.
CostFactors read_class_cost(const JsonReader& json) {
  CostFactors cost{};
  const JsonReader efficiency = json.at("efficiency"), overhead = json.at("overhead_s");
  for (std::size_t i = 0; i < kCostTerms; ++i) {
    const std::string& name = cost_term_names()[i];
    cost[i] = i <= static_cast<std::size_t>(CostTerm::kMemory) ? 1 / efficiency.at(name).number(1e-6, 100)
                                                               : overhead.at(name).number(0, 1000);
  }
  efficiency.done();
  overhead.done();
  return cost;
}

ErrorStatistics read_errors(const JsonReader& json) {
  const ErrorStatistics errors{static_cast<int>(json.at("count").integer(1, 1'000'000)),
                               json.at("median").number(0, kLargest), json.at("p90").number(0, kLargest)};
  json.done();
  return errors;
}

// A rate of its own, not that of a wider precision.
bool states(const Processor& processor, const std::string& precision) {
  return processor.peak_flop_per_s.contains(precision) ||
         processor.peak_flop_per_s.contains(precision + "_tensor") ||
         processor.peak_op_per_s.contains(precision) ||
         processor.peak_op_per_s.contains(precision + "_tensor");
}

std::string usual_precision(const DeviceType& device, const std::string& name, const Processor& processor) {
  if (name == device.default_processor) return device.default_precision;
  if (name == "npu" && states(processor, "int8")) return "int8";
  if (name != "cpu" && states(processor, "fp16")) return "fp16";
  return processor.peak("fp32") ? "fp32" : processor.peak("fp16") ? "fp16" : "int8";
}

}  // namespace

const std::vector<std::string>& cost_term_names() {
  static const std::vector<std::string> names{
      "conv_first", "conv_1x1", "conv_3x3",       "conv_strided",      "conv_large",  "depthwise_conv",
      "fc",         "memory",   "layer_overhead", "operator_overhead", "run_overhead"};
  return names;
}

CostTerm arithmetic_term(WorkKind kind) {
  switch (kind) {
    case WorkKind::kConvFirst:
      return CostTerm::kConvFirst;
    case WorkKind::kConv1x1:
    case WorkKind::kMatrix:
      return CostTerm::kConv1x1;
    case WorkKind::kConv3x3:
      return CostTerm::kConv3x3;
    case WorkKind::kConvStrided:
      return CostTerm::kConvStrided;
    case WorkKind::kConvLarge:
      return CostTerm::kConvLarge;
    case WorkKind::kFc:
    case WorkKind::kRecurrent:
      return CostTerm::kFc;
    case WorkKind::kDepthwiseConv:
    case WorkKind::kOperator:
    case WorkKind::kElementwise:
      return CostTerm::kDepthwiseConv;
  }
  return CostTerm::kConv1x1;
}

double slowdown_exponent(CostTerm term) {
  if (term < CostTerm::kMemory) return 1;
  return term == CostTerm::kMemory ? 0.5 : 0;
}

double thread_speed(double peak_flop_per_s, int threads, const Processor& processor) {
  if (threads == 0 || threads >= processor.cores) return peak_flop_per_s;
  return peak_flop_per_s * std::pow(1.0 * threads / processor.cores, 0.6);
}

double precision_bytes(std::string_view precision) {
  if (precision == "fp64") return 8;
  if (precision == "fp16" || precision == "bf16") return 2;
  if (precision == "int8") return 1;
  if (precision == "int4") return 0.5;
  return 4;  // fp32, tf32
}

std::string short_precision(std::string_view precision) {
  static const std::map<std::string, std::string, std::less<>> names{
      {"float64", "fp64"},   {"double", "fp64"},  {"float32", "fp32"},  {"float", "fp32"},
      {"single", "fp32"},    {"float16", "fp16"}, {"half", "fp16"},     {"amp-fp16", "fp16"},
      {"fp16-auto", "fp16"}, {"amp", "fp16"},     {"bfloat16", "bf16"}, {"tfloat32", "tf32"},
      {"uint8", "int8"}};
  const auto found = names.find(lower(precision));
  return found == names.end() ? lower(precision) : found->second;
}

std::string runtime_family(std::string_view runtime) {
  return std::string(runtime.substr(0, runtime.find_first_of(" +/")));
}

ProfileQuery parse_profile_query(std::string_view text, const std::string& place) {
  std::vector<std::string> parts;
  for (std::size_t from = 0; from <= text.size() && !text.empty();) {
    const std::size_t slash = std::min(text.find('/', from), text.size());
    parts.emplace_back(text.substr(from, slash - from));
    from = slash + 1;
  }
  ProfileQuery query;
  // A runtime's own name may hold a slash, "Caffe/cuDNN", but is no number.
  if (parts.size() > 3 && parts.back().find_first_not_of("0123456789") == std::string::npos &&
      !parts.back().empty()) {
    const std::string& last = parts.back();
    const auto [end, error] = std::from_chars(last.data(), last.data() + last.size(), query.threads);
    if (error != std::errc() || query.threads < 1 || query.threads > 4096) {
      throw InputError(place, fmt::format("\"{}\": threads must be 1 to 4096", text));
    }
    parts.pop_back();
  }
  if (std::ranges::any_of(parts, &std::string::empty)) {
    throw InputError(
        place, fmt::format("\"{}\": must be processor/precision/runtime/threads, as far as wanted", text));
  }
  if (!parts.empty()) query.processor = parts[0];
  if (parts.size() > 1) query.precision = parts[1];
  for (std::size_t i = 2; i < parts.size(); ++i) query.runtime += (i > 2 ? "/" : "") + parts[i];
  return query;
}

std::string error_key(ProfileBasis basis, int batch) {
  const char* names[] = {"measured", "device_measured", "class"};
  return std::string(names[static_cast<std::size_t>(basis)]) + (batch == 1 ? "/batch_1" : "/larger_batches");
}

Json to_json(const ErrorStatistics& errors) {
  return {{"count", errors.count}, {"median", errors.median}, {"p90", errors.p90}};
}

std::string DeviceProfile::title() const {
  std::string out =
      fmt::format("{}, {}, {}", processor, precision, runtime.empty() ? "any runtime" : runtime);
  if (threads > 0) out += fmt::format(", {} thread{}", threads, threads == 1 ? "" : "s");
  return out;
}

std::string DeviceProfile::basis_text() const {
  const std::string unknown =
      runtime.empty() || runtime_known
          ? ""
          : fmt::format("; {} is not measured at {}", runtime_family(runtime), precision);
  if (basis == ProfileBasis::kClass) {
    return fmt::format("not measured: efficiencies of its class, {}{}",
                       device_class_names()[static_cast<std::size_t>(device_class)], unknown);
  }
  const std::string by = measured_on == device ? "" : fmt::format(" on {}, the same chip", measured_on);
  if (basis == ProfileBasis::kMeasured) {
    return fmt::format("measured with {} model{}{}", models, models == 1 ? "" : "s", by);
  }
  return fmt::format("not measured: expected from the device's other profiles{} and its class{}", by,
                     unknown);
}

Calibration Calibration::load(const std::filesystem::path& path) {
  return parse(read_json_file(path), path.string());
}

Calibration Calibration::parse(const Json& json, const std::string& file) {
  Calibration calibration;
  calibration.file_ = file;
  calibration.json_ = json;
  const JsonReader reader(json, file);
  reader.at("schema").integer(1, 1);
  reader.at("source").text();
  if (const auto errors = reader.find("errors")) {  // of the whole, for the report
    for (const char* part : {"over_all", "devices"}) {
      for (const auto& [key, value] : errors->at(part).members()) read_errors(value);
    }
    errors->done();
  }
  const JsonReader classes = reader.at("classes");
  for (std::size_t c = 0; c < kDeviceClasses; ++c) {
    const JsonReader entry = classes.at(device_class_names()[c]);
    Class& target = calibration.classes_[c];
    target.cost = read_class_cost(entry);
    for (const auto& [key, value] : entry.at("runtimes").members())
      target.runtimes[key] = read_slowdowns(value);
    for (const auto& [key, value] : entry.at("devices").members())
      target.devices[key] = read_slowdowns(value);
    if (const auto errors = entry.find("errors")) {
      for (const auto& [key, value] : errors->members()) target.errors[key] = read_errors(value);
    }
    entry.done();
  }
  classes.done();
  for (const JsonReader& entry : reader.at("profiles").elements()) {
    Profile profile;
    profile.device = entry.at("device").text();
    profile.processor = entry.at("processor").text();
    profile.precision = entry.at("precision").text();
    profile.runtime = entry.at("runtime").text();
    profile.threads = static_cast<int>(entry.at("threads").integer(0, 4096));
    profile.slowdown = entry.at("slowdown").number(kSmallest, kLargest);
    profile.models = static_cast<int>(entry.at("models").integer(1, 1'000'000));
    profile.measurements = static_cast<int>(entry.at("measurements").integer(1, 1'000'000));
    profile.sure = entry.at("confidence").choice({"high", "medium"}) == 0;
    if (const auto errors = entry.find("errors")) profile.errors = read_errors(*errors);
    entry.done();
    calibration.profiles_.push_back(std::move(profile));
  }
  reader.done();
  return calibration;
}

DeviceProfile Calibration::assemble(const DeviceType& device, const Processor& processor,
                                    const Profile& profile, const std::string& measured_on) const {
  DeviceProfile out;
  out.device = device.name;
  out.processor = profile.processor;
  out.precision = profile.precision;
  out.runtime = profile.runtime;
  out.threads = profile.threads;
  out.device_class = processor.device_class;
  out.models = profile.models;
  out.measured_on = measured_on;
  out.idle_w = processor.idle_w ? std::optional(processor.idle_w->value) : std::nullopt;
  out.busy_w = processor.busy_w ? std::optional(processor.busy_w->value) : std::nullopt;
  out.speed_flop_per_s = thread_speed(*processor.peak(profile.precision), profile.threads, processor);

  const Class& cls = classes_[static_cast<std::size_t>(processor.device_class)];
  CostFactors time = cls.cost;
  const auto multiply = [&time](const std::map<std::string, CostFactors>& factors, const std::string& key) {
    const auto found = factors.find(key);
    for (std::size_t i = 0; found != factors.end() && i < kCostTerms; ++i) time[i] *= found->second[i];
    return found != factors.end();
  };
  out.runtime_known = multiply(cls.runtimes, runtime_family(profile.runtime) + "/" + profile.precision);
  const bool known = multiply(cls.devices, measured_on + "/" + profile.processor);
  out.basis = profile.models > 0 ? ProfileBasis::kMeasured
              : known            ? ProfileBasis::kDeviceMeasured
                                 : ProfileBasis::kClass;
  if (out.basis == ProfileBasis::kClass) out.measured_on.clear();
  for (std::size_t i = 0; i < kCostTerms; ++i) {
    time[i] *= std::pow(profile.slowdown, slowdown_exponent(static_cast<CostTerm>(i)));
  }

  Roofline& roofline = out.roofline;
  for (std::size_t kind = 0; kind < kWorkKinds; ++kind) {
    roofline.efficiency[kind] =
        1 / time[static_cast<std::size_t>(arithmetic_term(static_cast<WorkKind>(kind)))];
  }
  const auto term = [&time](CostTerm t) { return time[static_cast<std::size_t>(t)]; };
  roofline.memory_bandwidth_bytes_per_s = device.memory_bandwidth(processor) / term(CostTerm::kMemory);
  roofline.layer_overhead_s = term(CostTerm::kLayerOverhead);
  roofline.operator_overhead_s = term(CostTerm::kOperatorOverhead);
  roofline.run_overhead_s = term(CostTerm::kRunOverhead);
  roofline.bytes_per_element = precision_bytes(profile.precision);
  roofline.fused = true;
  if (processor.weight_cache_bytes) roofline.weight_cache_bytes = processor.weight_cache_bytes->value;
  if (processor.weight_link_bytes_per_s)
    roofline.weight_link_bytes_per_s = processor.weight_link_bytes_per_s->value;
  return out;
}

DeviceProfile Calibration::find(const DeviceType& device, const ProfileQuery& query,
                                const std::string& place) const {
  const std::string name = query.processor.empty() ? device.default_processor : query.processor;
  const auto found = device.processors.find(name);
  if (found == device.processors.end()) {
    std::vector<std::string> names;
    for (const auto& [key, unused] : device.processors) names.push_back(key);
    throw InputError(place, fmt::format("device \"{}\" has no processor \"{}\"{}", device.name, name,
                                        valid_choices(name, names)));
  }
  const Processor& processor = found->second;
  const std::string usual = usual_precision(device, name, processor);
  const std::string precision = query.precision.empty() ? usual : short_precision(query.precision);
  if (!processor.peak(precision)) {
    std::set<std::string> stated;
    for (const char* p : {"fp64", "fp32", "tf32", "fp16", "bf16", "int8", "int4"}) {
      if (processor.peak(p)) stated.insert(p);
    }
    throw InputError(place,
                     fmt::format("the {} of \"{}\" cannot run at \"{}\"{}", name, device.name, precision,
                                 valid_choices(precision, std::vector(stated.begin(), stated.end()))));
  }

  if (query.threads != 0 && name != "cpu") {
    throw InputError(place,
                     fmt::format("the {} of \"{}\" has no threads to choose; a cpu has", name, device.name));
  }
  if (query.threads > processor.cores) {
    throw InputError(place, fmt::format("{} threads: the cpu of \"{}\" has {} cores", query.threads,
                                        device.name, processor.cores));
  }

  // The device itself, or the one with the same chip that was measured in its place.
  const auto is_measured = [&](const std::string& key) {
    return std::ranges::any_of(profiles_,
                               [&](const Profile& p) { return p.device == key && p.processor == name; });
  };
  const bool twin =
      !is_measured(device.name) && !device.same_chip_as.empty() && is_measured(device.same_chip_as);
  const std::string& measured_on = twin ? device.same_chip_as : device.name;

  const std::string runtime = lower(query.runtime);
  const auto fits = [&](const Profile& p, bool whole_name) {
    return p.device == measured_on && p.processor == name && processor.peak(p.precision) &&
           (query.precision.empty() || p.precision == precision) &&
           (query.threads == 0 || p.threads == query.threads) &&
           (runtime.empty() || lower(p.runtime) == runtime ||
            (!whole_name && lower(runtime_family(p.runtime)) == runtime));
  };
  const auto rank = [&](const Profile& p) {
    // Floating point stands for floating point rather than integers do, many threads for a device in use.
    const bool similar = p.precision.starts_with("int") == usual.starts_with("int");
    const bool parallel = p.threads == 0 || 2 * p.threads >= processor.cores;
    const DeviceProfile made = assemble(device, processor, p, measured_on);
    const double matrix_flop_per_s =
        made.speed_flop_per_s * made.roofline.efficiency[static_cast<std::size_t>(WorkKind::kConv1x1)];
    return std::tuple(p.precision == usual, similar, parallel, p.sure, p.models, p.measurements,
                      matrix_flop_per_s);
  };
  const Profile* best = nullptr;
  for (const bool whole_name : {true, false}) {
    for (const Profile& p : profiles_) {
      if (fits(p, whole_name) && (best == nullptr || rank(p) > rank(*best))) best = &p;
    }
    if (best != nullptr) break;
  }
  if (best != nullptr) return assemble(device, processor, *best, measured_on);

  Profile expected;
  expected.device = device.name;
  expected.processor = name;
  expected.precision = precision;
  expected.threads = query.threads;
  if (!runtime.empty()) {
    // Any runtime of which somebody measured some version on this class.
    std::set<std::string> known;
    for (const auto& [key, unused] : classes_[static_cast<std::size_t>(processor.device_class)].runtimes) {
      known.insert(key.substr(0, key.rfind('/')));
    }
    const std::string own = runtime_family(query.runtime);
    for (const std::string& family : known) {
      if (lower(family) == lower(own)) expected.runtime = family + query.runtime.substr(own.size());
    }
    if (expected.runtime.empty()) {
      throw InputError(place,
                       fmt::format("runtime \"{}\" is not calibrated{}", query.runtime,
                                   valid_choices(query.runtime, std::vector(known.begin(), known.end()))));
    }
  }
  return assemble(device, processor, expected, measured_on);
}

std::optional<ErrorStatistics> Calibration::expected_error(const DeviceProfile& profile, int batch) const {
  const Class& cls = classes_[static_cast<std::size_t>(profile.device_class)];
  // What one model alone has set, nothing has compared with another.
  const ProfileBasis basis = profile.basis == ProfileBasis::kMeasured && profile.models < 2
                                 ? ProfileBasis::kDeviceMeasured
                                 : profile.basis;
  for (const std::string& key : {error_key(basis, batch), error_key(basis, 1)}) {
    const auto found = cls.errors.find(key);
    if (found != cls.errors.end()) return found->second;
  }
  return std::nullopt;
}

}  // namespace cdisim
