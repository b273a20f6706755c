#include "sim/bandwidth_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "sim/error.h"
#include "sim/random.h"
#include "sim/units.h"

namespace cdisim {

namespace {

const std::vector<std::string> kTimeUnits{"s", "ms"};
const std::vector<std::string> kBandwidthUnits{"Mbps", "kbps", "bps", "MBps"};

double covered(double bytes_per_s) {
  return bytes_per_s == 0 ? kOutOfRange_bytes_per_s : bytes_per_s;
}

// Every search goes through this one definition of when step `i` of cycle `cycle` begins, so that at() and
// next_change() round alike and cannot disagree.
double date(const BandwidthTrace& trace, double cycle, std::size_t i) {
  return cycle * trace.length_s + trace.start_s[i];
}

struct Step {
  double cycle = 0;
  std::size_t i = 0;
};

// The last step whose date is at most `time_s`.
Step locate(const BandwidthTrace& trace, double time_s) {
  Step step;
  if (trace.repeat && time_s > 0) {
    step.cycle = std::floor(time_s / trace.length_s);
    // The quotient may round across a cycle's beginning.
    while (date(trace, step.cycle, 0) > time_s) --step.cycle;
    while (date(trace, step.cycle + 1, 0) <= time_s) ++step.cycle;
  }
  std::size_t low = 0, high = trace.start_s.size();
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    (date(trace, step.cycle, middle) <= time_s ? low : high) = middle;
  }
  step.i = low;
  return step;
}

// After so many cycles the dates within one begin to coincide as doubles: the trace then stands still.
bool beyond_reach(const BandwidthTrace& trace, double time_s) {
  constexpr double kMostCycles = 0x1p40;
  return trace.repeat && !(time_s < kMostCycles * trace.length_s);
}

double parse_column(std::string_view text, std::string_view place) {
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || rest != text.data() + text.size() || !std::isfinite(number)) {
    throw InputError(place, fmt::format("\"{}\" is no number", text));
  }
  return number;
}

// One `unit` in SI. `name` is what the experiment calls it.
double unit_factor(const std::string& unit, const std::vector<std::string>& known, Dimension dimension,
                   const std::string& file, const char* name) {
  if (unit.empty()) throw InputError(file, fmt::format("{} is missing{}", name, valid_choices(unit, known)));
  if (std::find(known.begin(), known.end(), unit) == known.end()) {
    throw InputError(file, fmt::format("{} \"{}\" is unknown{}", name, unit, valid_choices(unit, known)));
  }
  return parse_quantity("1" + unit, dimension, file);
}

BandwidthTrace parse_columns(std::string_view text, const std::string& file, double seconds,
                             double bytes_per_s) {
  constexpr std::string_view kBlanks = " \t\r,";
  BandwidthTrace trace;
  double first = 0;
  for (int line = 1; !text.empty(); ++line) {
    const std::string place = fmt::format("{}: line {}", file, line);
    const auto end = text.find('\n');
    std::string_view row = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    row = row.substr(0, row.find('#'));

    std::vector<std::string_view> columns;
    for (auto from = row.find_first_not_of(kBlanks); from != row.npos;
         from = row.find_first_not_of(kBlanks)) {
      row.remove_prefix(from);
      columns.push_back(row.substr(0, row.find_first_of(kBlanks)));
      row.remove_prefix(columns.back().size());
    }
    if (columns.empty()) continue;
    if (columns.size() != 2) {
      throw InputError(place, fmt::format("{} columns; valid: two, time and bandwidth", columns.size()));
    }
    const double time = parse_column(columns[0], place);
    const double bandwidth = parse_column(columns[1], place);
    if (bandwidth < 0) throw InputError(place, fmt::format("bandwidth {} is negative", columns[1]));
    if (trace.start_s.empty()) first = time;  // logs carry time stamps
    const double start_s = (time - first) * seconds;
    if (!trace.start_s.empty() && start_s <= trace.start_s.back()) {
      throw InputError(place, fmt::format("time {} does not come after the one before it", columns[0]));
    }
    trace.start_s.push_back(start_s);
    trace.bandwidth_bytes_per_s.push_back(covered(bandwidth * bytes_per_s));
  }
  if (trace.start_s.size() < 2)
    throw InputError(file, "a trace needs two rows: the last one lasts as long as the one before");
  trace.length_s = 2 * trace.start_s.back() - trace.start_s[trace.start_s.size() - 2];
  return trace;
}

BandwidthTrace parse_durations(std::string_view text, const std::string& file) {
  constexpr double kLargest = 1e12;
  const Json json = parse_json(text, file);
  BandwidthTrace trace;
  double elapsed_ms = 0;  // summed in the file's unit, where it is exact
  for (const JsonReader& row : JsonReader(json, file).elements()) {
    const JsonReader duration = row.at("duration_ms");
    const double duration_ms = duration.number(0, kLargest);
    if (duration_ms == 0) duration.fail("must be positive");
    trace.start_s.push_back(elapsed_ms * 1e-3);
    elapsed_ms += duration_ms;
    trace.bandwidth_bytes_per_s.push_back(covered(row.at("bandwidth_kbps").number(0, kLargest) * 125));
    if (const auto latency = row.find("latency_ms")) latency->number(0, kLargest);
    row.done();
  }
  if (trace.start_s.empty()) throw InputError(file, "the trace is empty");
  trace.length_s = elapsed_ms * 1e-3;
  return trace;
}

double positive(const JsonReader& reader, Dimension dimension) {
  const double value = reader.quantity(dimension);
  if (value <= 0 || !std::isfinite(value)) reader.fail("must be positive and finite");
  return value;
}

MarkovBandwidth read_markov(const JsonReader& reader) {
  MarkovBandwidth markov;
  const JsonReader states = reader.at("states");
  for (const JsonReader& state : states.elements()) {
    markov.bandwidth_bytes_per_s.push_back(positive(state, Dimension::kBandwidth));
  }
  if (markov.bandwidth_bytes_per_s.empty()) states.fail("needs at least one bandwidth");
  if (const auto r = reader.find("mean_dwell")) markov.mean_dwell_s = positive(*r, Dimension::kTime);
  if (const auto r = reader.find("jitter")) {
    markov.jitter = r->number(0, 1);
    if (markov.jitter == 1) r->fail("must lie within [0, 1)");
  }
  if (const auto r = reader.find("period")) markov.period_s = positive(*r, Dimension::kTime);
  if (const auto r = reader.find("length")) markov.length_s = positive(*r, Dimension::kTime);
  reader.done();

  constexpr double kMostSamples = 1e7;
  if (markov.mean_dwell_s < markov.period_s) reader.fail("mean_dwell must not be shorter than period");
  if (markov.length_s < markov.period_s) reader.fail("length must not be shorter than period");
  if (markov.length_s / markov.period_s > kMostSamples) reader.fail("length is more than 10,000,000 periods");
  return markov;
}

}  // namespace

double BandwidthTrace::at(double time_s) const {
  if (beyond_reach(*this, time_s)) return bandwidth_bytes_per_s.back();
  return bandwidth_bytes_per_s[locate(*this, time_s).i];
}

double BandwidthTrace::next_change(double time_s) const {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  if (start_s.size() < 2 || beyond_reach(*this, time_s)) return kNever;
  const Step step = locate(*this, time_s);
  if (step.i + 1 < start_s.size()) return date(*this, step.cycle, step.i + 1);
  return repeat ? date(*this, step.cycle + 1, 0) : kNever;
}

double BandwidthTrace::mean_bytes_per_s() const {
  double bytes = 0;
  for (std::size_t i = 0; i < start_s.size(); ++i) {
    const double end_s = i + 1 < start_s.size() ? start_s[i + 1] : length_s;
    bytes += bandwidth_bytes_per_s[i] * (end_s - start_s[i]);
  }
  return bytes / length_s;
}

BandwidthTrace load_bandwidth_trace(const std::filesystem::path& path, const std::string& time_unit,
                                    const std::string& bandwidth_unit) {
  const std::string text = read_text_file(path), file = path.string();
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin != text.npos && text[begin] == '[') {
    if (!(time_unit.empty() || time_unit == "ms") || !(bandwidth_unit.empty() || bandwidth_unit == "kbps")) {
      throw InputError(file, fmt::format("states its own units, ms and kbps; \"{}\" and \"{}\" were given",
                                         time_unit, bandwidth_unit));
    }
    return parse_durations(text, file);
  }
  const double seconds = unit_factor(time_unit, kTimeUnits, Dimension::kTime, file, "time_unit");
  const double bytes_per_s =
      unit_factor(bandwidth_unit, kBandwidthUnits, Dimension::kBandwidth, file, "bandwidth_unit");
  return parse_columns(text, file, seconds, bytes_per_s);
}

BandwidthTrace generate_bandwidth_trace(const MarkovBandwidth& markov, std::uint64_t seed) {
  Random random(seed);
  const int n_states = static_cast<int>(markov.bandwidth_bytes_per_s.size());
  int state = random.below(n_states);
  double leaves_s = random.exponential(markov.mean_dwell_s);
  BandwidthTrace trace;
  trace.length_s = markov.length_s;
  // Without the margin a rounded quotient could add a last sample that lasts no time.
  const double samples = std::ceil(markov.length_s / markov.period_s - 1e-9);
  for (double sample = 0; sample < samples; ++sample) {
    const double now_s = sample * markov.period_s;
    while (leaves_s <= now_s) {
      if (n_states > 1) state = (state + 1 + random.below(n_states - 1)) % n_states;
      leaves_s += random.exponential(markov.mean_dwell_s);
    }
    const double spread = markov.jitter * (2 * random.uniform() - 1);
    trace.start_s.push_back(now_s);
    trace.bandwidth_bytes_per_s.push_back(markov.bandwidth_bytes_per_s[static_cast<std::size_t>(state)] *
                                          (1 + spread));
  }
  return trace;
}

BandwidthTrace read_bandwidth_trace(const JsonReader& reader, const std::filesystem::path& folder,
                                    std::uint64_t seed) {
  const auto file = reader.find("file"), markov = reader.find("markov");
  if (file.has_value() == markov.has_value()) reader.fail("must have either \"file\" or \"markov\"");
  BandwidthTrace trace;
  if (file) {
    if (!std::filesystem::exists(folder / file->string())) file->fail("no such file");
    const auto time_unit = reader.find("time_unit"), bandwidth_unit = reader.find("bandwidth_unit");
    trace = load_bandwidth_trace(
        folder / file->string(), time_unit ? kTimeUnits[time_unit->choice(kTimeUnits)] : "",
        bandwidth_unit ? kBandwidthUnits[bandwidth_unit->choice(kBandwidthUnits)] : "");
  } else {
    trace = generate_bandwidth_trace(read_markov(*markov), seed);
  }
  if (const auto scale = reader.find("scale")) {
    const double factor = scale->number(0, 1e12);
    if (factor == 0) scale->fail("must be positive");
    for (double& bandwidth : trace.bandwidth_bytes_per_s) bandwidth *= factor;
  }
  if (const auto repeat = reader.find("repeat")) trace.repeat = repeat->boolean();
  reader.done();
  return trace;
}

}  // namespace cdisim
