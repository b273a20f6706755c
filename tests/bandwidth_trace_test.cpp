#include "sim/bandwidth_trace.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <string>

#include "sim/error.h"

using namespace cdisim;
namespace fs = std::filesystem;

namespace {

const fs::path kFixtures = fs::path(CDISIM_SOURCE_DIR) / "tests/fixtures";

BandwidthTrace read(const std::string& json, std::uint64_t seed = 1) {
  const Json parsed = parse_json(json, "e.json");
  return read_bandwidth_trace(JsonReader(parsed, "e.json", "/trace"), kFixtures, seed);
}

void check_error(const std::string& fragment, const std::function<void()>& action) {
  std::string message = "no error";
  try {
    action();
  } catch (const InputError& e) {
    message = e.what();
  }
  INFO(message);
  CHECK(message.find(fragment) != message.npos);
}

}  // namespace

TEST_CASE("bandwidth_trace: columns with time stamps, comments and either separator") {
  const BandwidthTrace trace = load_bandwidth_trace(kFixtures / "trace_columns.txt", "ms", "kbps");
  CHECK(trace.start_s == std::vector<double>{0, 0.5, 1.5});
  // 8000 kbit/s = 1e6 byte/s; no coverage becomes 1 bit/s
  CHECK(trace.bandwidth_bytes_per_s == std::vector<double>{1e6, 5e5, 0.125});
  CHECK(trace.length_s == 2.5);  // the last value lasts 1 s, as the one before it
}

TEST_CASE("bandwidth_trace: a list of durations") {
  const BandwidthTrace trace = load_bandwidth_trace(kFixtures / "trace_durations.json", "", "");
  CHECK(trace.start_s == std::vector<double>{0, 0.5, 1.5});
  CHECK(trace.bandwidth_bytes_per_s == std::vector<double>{1e6, 5e5, 0.125});
  CHECK(trace.length_s == 1.75);
  // (0.5 x 1e6 + 1 x 5e5 + 0.25 x 0.125) / 1.75
  CHECK(trace.mean_bytes_per_s() == doctest::Approx(1000000.03125 / 1.75).epsilon(1e-15));
}

TEST_CASE("bandwidth_trace: a step holds until the next one starts") {
  BandwidthTrace trace{{0, 1, 3}, {10, 20, 30}, 4, true};
  CHECK(trace.at(-1) == 10);
  CHECK(trace.at(0) == 10);
  CHECK(trace.at(std::nextafter(1, 0)) == 10);
  CHECK(trace.at(1) == 20);
  CHECK(trace.at(3.5) == 30);
  CHECK(trace.at(4) == 10);  // from the beginning
  CHECK(trace.at(9) == 20);  // 9 = 2 x 4 + 1
  CHECK(trace.next_change(0) == 1);
  CHECK(trace.next_change(1) == 3);
  CHECK(trace.next_change(3) == 4);
  CHECK(trace.next_change(4) == 5);
  CHECK(trace.mean_bytes_per_s() == doctest::Approx((10 * 1 + 20 * 2 + 30 * 1) / 4.0).epsilon(1e-15));

  trace.repeat = false;
  CHECK(trace.at(100) == 30);
  CHECK(trace.next_change(1) == 3);
  CHECK(std::isinf(trace.next_change(3)));
  CHECK(std::isinf(BandwidthTrace{{0}, {10}, 1, true}.next_change(5)));
}

TEST_CASE("bandwidth_trace: at() and next_change() agree exactly after many repeats") {
  // Lengths that no double holds, so that a remainder of the date would round across the steps.
  const BandwidthTrace trace{{0, 0.1, 0.3, 0.6}, {1, 2, 3, 4}, 0.7, true};
  for (const double begin : {0.0, 1e3, 1e6, 1e9}) {
    double now = begin;
    for (int i = 0; i < 4000; ++i) {
      const double next = trace.next_change(now);
      REQUIRE(next > now);
      const double before = trace.at(now), after = trace.at(next);
      REQUIRE(after == (before == 4 ? 1 : before + 1));  // no step is skipped or seen twice
      REQUIRE(trace.at(std::nextafter(next, 0)) == before);
      now = next;
    }
    // 4000 changes are 1000 lengths
    CHECK(now - begin == doctest::Approx(700).epsilon(1e-3));
  }
  // Far beyond where dates can tell the steps apart both still answer.
  CHECK(trace.next_change(1e300) > 1e300);
  CHECK(trace.at(1e300) == 4);
}

TEST_CASE("bandwidth_trace: a Markov-modulated bandwidth") {
  const MarkovBandwidth markov{.bandwidth_bytes_per_s = {1e6, 2e6, 4e6},
                               .mean_dwell_s = 5,
                               .jitter = 0.1,
                               .period_s = 0.5,
                               .length_s = 20000};
  const BandwidthTrace trace = generate_bandwidth_trace(markov, 7);
  REQUIRE(trace.start_s.size() == 40000);  // 20000 / 0.5
  CHECK(trace.bandwidth_bytes_per_s == generate_bandwidth_trace(markov, 7).bandwidth_bytes_per_s);
  CHECK(trace.bandwidth_bytes_per_s != generate_bandwidth_trace(markov, 8).bandwidth_bytes_per_s);
  int changes = 0, last = -1;
  for (const double bandwidth : trace.bandwidth_bytes_per_s) {
    int state = -1;
    for (int i = 0; i < 3; ++i) {
      if (std::abs(bandwidth / markov.bandwidth_bytes_per_s[static_cast<std::size_t>(i)] - 1) <= 0.1)
        state = i;
    }
    REQUIRE(state >= 0);
    if (last >= 0 && state != last) ++changes;
    last = state;
  }
  // Each state a third of the time: (1 + 2 + 4) / 3 MB/s. With 4000 sojourns of 5 s the mean's standard error
  // is about sd / mean x sqrt(2 / 4000) = 0.53 x 0.022 = 1.2 %.
  CHECK(trace.mean_bytes_per_s() == doctest::Approx(7e6 / 3).epsilon(0.05));
  // The state at the samples is a Markov chain that differs from one sample to the next with probability
  // 2/3 x (1 - exp(-3/2 x 0.5 / 5)) = 0.0929 (each of three states left at rate 1/5): 3715 of 39999, standard
  // deviation 58.
  CHECK(changes == doctest::Approx(3715).epsilon(0.1));
}

TEST_CASE("bandwidth_trace: what an experiment writes") {
  const BandwidthTrace file = read(
      R"({"file": "trace_columns.txt", "time_unit": "ms", "bandwidth_unit": "kbps", "scale": 0.5, "repeat": false})");
  CHECK(file.at(0) == 5e5);
  CHECK_FALSE(file.repeat);
  const BandwidthTrace durations = read(R"({"file": "trace_durations.json"})");
  CHECK(durations.repeat);
  const std::string markov =
      R"({"markov": {"states": ["8Mbps", "1MBps"], "mean_dwell": "2s", "period": "1s", "length": "10s"}})";
  const BandwidthTrace generated = read(markov);
  CHECK(generated.start_s.size() == 10);
  CHECK(generated.length_s == 10);
  CHECK(generated.at(3) == 1e6);  // both states are 1e6 byte/s
}

TEST_CASE("bandwidth_trace: mistakes in an experiment name the pointer") {
  struct Bad {
    std::string json, fragment;
  };
  const Bad table[] = {
      {R"({})", "e.json: /trace: {}: must have either \"file\" or \"markov\""},
      {R"({"file": "x", "markov": {}})", "must have either"},
      {R"({"file": "none.txt"})", "/trace/file: \"none.txt\": no such file"},
      {R"({"file": "trace_columns.txt"})", "trace_columns.txt: time_unit is missing; valid: s, ms"},
      {R"({"file": "trace_columns.txt", "time_unit": "ms"})", "bandwidth_unit is missing; valid: Mbps"},
      {R"({"file": "trace_columns.txt", "time_unit": "min"})",
       "/trace/time_unit: \"min\" is unknown; valid: s, ms"},
      {R"({"file": "trace_durations.json", "time_unit": "s"})", "states its own units, ms and kbps"},
      {R"({"file": "trace_durations.json", "scale": 0})", "/trace/scale: 0: must be positive"},
      {R"({"file": "trace_durations.json", "loop": true})", "unknown key \"loop\""},
      {R"({"markov": {"states": []}})", "/trace/markov/states: []: needs at least one"},
      {R"({"markov": {"states": ["0Mbps"]}})", "/trace/markov/states/0: \"0Mbps\": must be positive"},
      {R"({"markov": {"states": ["1Mbps"], "jitter": 1}})", "must lie within [0, 1)"},
      {R"({"markov": {"states": ["1Mbps"], "period": "0s"}})", "must be positive"},
      {R"({"markov": {"states": ["1Mbps"], "mean_dwell": "1ms"}})",
       "mean_dwell must not be shorter than period"},
      {R"({"markov": {"states": ["1Mbps"], "length": "1ms"}})", "length must not be shorter than period"},
      {R"({"markov": {"states": ["1Mbps"], "period": "1us"}})", "more than 10,000,000 periods"},
      {R"({"markov": {"states": ["1Mbps"], "dwell": "1s"}})", "unknown key \"dwell\""},
  };
  for (const Bad& bad : table) {
    INFO(bad.json);
    check_error(bad.fragment, [&] { read(bad.json); });
  }
}

TEST_CASE("bandwidth_trace: mistakes in a file name line or pointer") {
  const fs::path file = fs::temp_directory_path() / ("cdisim_trace_" + std::to_string(getpid()));
  struct Bad {
    std::string text, fragment;
  };
  const Bad table[] = {
      {"0 1\n1 x\n", ": line 2: \"x\" is no number"},
      {"time bandwidth\n0 1\n", ": line 1: \"time\" is no number"},
      {"0 1 2\n", ": line 1: 3 columns; valid: two, time and bandwidth"},
      {"0 1\n\n0 2\n", ": line 3: time 0 does not come after"},
      {"0 1\n1 -2\n", ": line 2: bandwidth -2 is negative"},
      {"0 1\n1 nan\n", "\"nan\" is no number"},
      {"0 1\n", "needs two rows"},
      {"# nothing\n", "needs two rows"},
      {"[]", "the trace is empty"},
      {"[{\"duration_ms\": 0, \"bandwidth_kbps\": 1}]", "/0/duration_ms: 0: must be positive"},
      {"[{\"duration_ms\": 1, \"bandwidth_kbps\": -1}]", "/0/bandwidth_kbps: -1: must lie within"},
      {"[{\"duration_ms\": 1}]", "/0: \"bandwidth_kbps\" is missing"},
      {"[{\"duration_ms\": 1, \"bandwidth_kbps\": 1, \"x\": 1}]", "/0: unknown key \"x\""},
      {"[{\"duration_ms\": 1,]", "not JSON"},
  };
  for (const Bad& bad : table) {
    INFO(bad.text);
    std::ofstream(file) << bad.text;
    const bool is_json = bad.text[0] == '[';
    check_error(bad.fragment, [&] { load_bandwidth_trace(file, is_json ? "" : "s", is_json ? "" : "Mbps"); });
  }
  fs::remove(file);
}
