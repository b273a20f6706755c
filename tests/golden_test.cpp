// The results of whole experiments, to the last digit: whatever changes them, on purpose or not, shows up
// here.
//
// tests/golden/NAME.json holds what experiments/NAME.json gives: for each run the values at the columns' JSON
// pointers into its entry in results.json. `make golden` rewrites the files (it sets CDISIM_REWRITE_GOLDEN),
// of one experiment with CDISIM_GOLDEN=NAME; read the difference before it is committed.

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "tests/support.h"

using namespace cdisim;

namespace {

const std::vector<std::string> kColumns{"/policy",
                                        "/point",
                                        "/plan/exit",
                                        "/plan/decision",
                                        "/metrics/requests/completed",
                                        "/metrics/requests/lost",
                                        "/metrics/requests/in_flight",
                                        "/metrics/latency_s/mean",
                                        "/metrics/latency_s/ci95",
                                        "/metrics/latency_s/p95",
                                        "/metrics/compute_s",
                                        "/metrics/transfer_s",
                                        "/metrics/queue_s",
                                        "/metrics/throughput_per_s",
                                        "/metrics/deadline_miss_ratio",
                                        "/metrics/accuracy",
                                        "/metrics/energy_j/total",
                                        "/metrics/bytes/total",
                                        "/metrics/memory_bytes/per_host",
                                        "/metrics/cost_usd",
                                        "/metrics/replans"};

// One run a line, so that a difference reads well.
std::string essentials(const Json& results) {
  const auto lines = [](const Json& list) {
    std::string text = "[";
    for (const Json& item : list) text += (text.size() > 1 ? ",\n    " : "\n    ") + item.dump();
    return text + "\n  ]";
  };
  Json rows = Json::array();
  for (const Json& run : results["runs"]) {
    Json row = Json::array();
    for (const std::string& column : kColumns) row.push_back(run.at(Json::json_pointer(column)));
    rows.push_back(row);
  }
  return "{\n  \"experiment\": " + results["experiment"].dump() + ",\n  \"seed\": " + results["seed"].dump() +
         ",\n  \"columns\": " + lines(kColumns) + ",\n  \"runs\": " + lines(rows) + "\n}\n";
}

void check_golden(const std::string& name) {
  const Finished done = run_cdisim({"experiments/" + name + ".json", "--json"});
  REQUIRE(done.code == 0);
  const std::string found = essentials(parse_json(done.out, name));
  const fs::path file = kSources / "tests" / "golden" / (name + ".json");
  if (std::getenv("CDISIM_REWRITE_GOLDEN") != nullptr) {
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << found;
    return;
  }
  INFO("rewrite ", file.string(), " with `make golden` and read the difference");
  const std::vector<std::string> wanted = split_lines(slurp(file)), lines = split_lines(found);
  REQUIRE(lines.size() == wanted.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    INFO("line ", i + 1);
    CHECK(lines[i] == wanted[i]);
  }
  const bool same = found == slurp(file);
  CHECK(same);
}

}  // namespace

// CTest runs it once for each file, in a process of its own; `make golden` once for all.
TEST_CASE("golden" * doctest::skip()) {
  const char* only = std::getenv("CDISIM_GOLDEN");
  int checked = 0;
  for (const auto& entry : fs::directory_iterator(kSources / "experiments")) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".json" || (only != nullptr && name != only)) continue;
    INFO(name);
    check_golden(name);
    ++checked;
  }
  CHECK(checked > 0);
}
