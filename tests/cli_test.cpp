// The real program, run as people run it. What it must refuse, and how, stands in the tables at the end.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/support.h"

using namespace cdisim;

namespace {

using Arguments = std::vector<std::string>;
using Keys = std::set<std::string>;

#if defined(CDISIM_SANITIZE) || !defined(NDEBUG)
constexpr double kSlowdown = 15;
#else
constexpr double kSlowdown = 1;
#endif
constexpr std::size_t kWidth = 100;

Keys keys(const Json& object) {
  Keys out;
  for (const auto& [key, value] : object.items()) out.insert(key);
  return out;
}

std::size_t columns(const std::string& line) {
  return static_cast<std::size_t>(
      std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

void check_width(const std::string& text) {
  for (const std::string& line : split_lines(text)) {
    INFO(line);
    CHECK(columns(line) <= kWidth);
  }
}

// A run that must succeed in silence on stderr; its stdout.
std::string succeed(const Arguments& arguments, const fs::path& folder = kSources,
                    const std::string& cdisim_path = "") {
  const Finished done = run_cdisim(arguments, folder, cdisim_path);
  std::string shown;
  for (const std::string& a : arguments) shown += a + " ";
  INFO(shown);
  CHECK(done.code == 0);
  CHECK(done.err == "");
  return done.out;
}

Json succeed_json(Arguments arguments, const fs::path& folder = kSources, const std::string& path = "") {
  arguments.emplace_back("--json");
  return parse_json(succeed(arguments, folder, path), "stdout");
}

std::vector<std::string> bundled(const std::string& folder, const std::string& extension) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(kSources / folder)) {
    if (entry.path().extension() == extension) out.push_back(entry.path().string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// Cells of a line as in RFC 4180: quotes around a cell that holds a comma.
std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (quoted && line[i] == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      out.back() += line[++i];
    } else if (line[i] == '"') {
      quoted = !quoted;
    } else if (line[i] == ',' && !quoted) {
      out.emplace_back();
    } else {
      out.back() += line[i];
    }
  }
  return out;
}

using Row = std::map<std::string, std::string>;

std::vector<Row> read_csv(const fs::path& path) {
  const std::vector<std::string> lines = split_lines(slurp(path));
  REQUIRE(!lines.empty());
  const std::vector<std::string> head = cells(lines.front());
  std::vector<Row> rows;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::vector<std::string> row = cells(lines[i]);
    INFO(lines[i]);
    REQUIRE(row.size() == head.size());
    rows.emplace_back();
    for (std::size_t c = 0; c < head.size(); ++c) rows.back()[head[c]] = row[c];
  }
  return rows;
}

// requests.csv beside results.json, without warm-up: a row for each request, whose times add up.
void check_requests(const std::vector<Row>& rows, const Json& results) {
  std::map<std::string, std::map<std::string, int>> states;  // by run
  for (const Row& row : rows) {
    INFO("run ", row.at("run"), " request ", row.at("request"));
    CHECK(row.at("policy") == results["runs"][std::stoul(row.at("run"))]["policy"].get<std::string>());
    ++states[row.at("run")][row.at("state")];
    if (row.at("state") == "in_flight") {
      for (const char* unknown : {"end_s", "latency_s", "compute_s", "transfer_s", "queue_s"}) {
        CHECK(row.at(unknown) == "");
      }
      continue;
    }
    const auto number = [&](const char* column) { return std::stod(row.at(column)); };
    CHECK(std::abs(number("latency_s") - (number("end_s") - number("arrival_s"))) < 1e-9);
    if (row.at("state") != "completed") continue;
    CHECK(std::abs(number("latency_s") - (number("compute_s") + number("transfer_s") + number("queue_s"))) <
          1e-9);
  }
  for (std::size_t run = 0; run < results["runs"].size(); ++run) {
    const Json& requests = results["runs"][run]["metrics"]["requests"];
    std::map<std::string, int>& found = states[std::to_string(run)];
    CHECK(found["completed"] == requests["completed"]);
    CHECK(found["lost"] == requests["lost"]);
    CHECK(found["in_flight"] == requests["in_flight"]);
  }
}

// Three clients and a link that is away for 10 ms: requests complete, get lost and are still under way at the
// end.
const std::string kEventful = R"({
  "/requests": null,
  "/horizon_s": 1,
  "/arrivals": {"kind": "closed_loop", "clients": 3, "think": "1ms"},
  "/changes": [{"at": "10ms", "link": "net", "state": "off"}, {"at": "20ms", "link": "net", "state": "on"}]
})";

}  // namespace

// ---- what works ----

TEST_CASE("cli: help and version go to stdout") {
  const std::string help = succeed({"--help"});
  for (const std::string word : {"EXPERIMENT", "--out", "--seed", "--jobs", "--json", "--trace", "--quiet",
                                 "check", "list", "describe", "validate"}) {
    INFO(word);
    CHECK(help.find(word) != help.npos);
  }
  const std::string version = succeed({"--version"});
  CHECK(version.starts_with("cdisim "));
  CHECK(split_lines(version).size() == 1);
  for (const char* command : {"check", "list", "describe", "validate"}) {
    CHECK(succeed({command, "--help"}).find("Usage:") != std::string::npos);
  }
}

TEST_CASE("cli: an experiment is found by path and by name and in CDISIM_PATH") {
  const TempFolder folder;
  const std::string by_path =
      succeed({(kSources / "experiments" / "edgent_dynamic.json").string(), "--json"}, folder.path());
  CHECK(succeed({"edgent_dynamic", "--json"}, folder.path()) == by_path);

  folder.write("data/platforms/mine.xml", slurp(kFixtures / "pencil.xml"));
  folder.write("data/workloads/own.json", slurp(kFixtures / "chain3.json"));
  folder.write(
      "data/experiments/ours.json",
      patched(kFixtures / "pencil_run.json", R"({"/name": "ours", "/platform": "mine", "/model": "own"})"));
  const std::string path = "/nowhere:" + (folder / "data").string();
  CHECK(succeed_json({"ours"}, "/", path)["experiment"] == "ours");
  CHECK(succeed({"list", "platforms"}, "/", path).find("mine") != std::string::npos);
  CHECK(run_cdisim({"ours"}, "/").code == 2);
}

TEST_CASE("cli: results.json has the keys of its contract") {
  const TempFolder folder;
  write_pencil_run(
      folder, R"({"/sweeps": [{"vary": {"/links/net/bandwidth": ["8Mbps", "80Mbps"]}}], "/repetitions": 2})");
  const std::string text = succeed({"e.json", "--json"}, folder.path());
  const Json results = parse_json(text, "stdout");
  CHECK(keys(results) == Keys{"schema", "experiment", "version", "seed", "runs", "figures"});
  CHECK(results["schema"] == 1);
  CHECK(results["experiment"] == "pencil_run");
  CHECK(results["seed"] == 1);
  CHECK(succeed({"--version"}) == "cdisim " + results["version"].get<std::string>() + "\n");
  REQUIRE(results["runs"].size() == 4);  // two policies at two bandwidths
  for (const Json& run : results["runs"]) {
    CHECK(keys(run) == Keys{"policy", "params", "point", "plan", "metrics"});
    CHECK(keys(run["point"]) == Keys{"/links/net/bandwidth"});
    CHECK(keys(run["plan"]) == Keys{"exit", "pieces", "decision"});
    const Json& metrics = run["metrics"];
    CHECK(keys(metrics) == Keys{"requests", "latency_s", "compute_s", "transfer_s", "queue_s",
                                "throughput_per_s", "deadline_miss_ratio", "accuracy", "accuracy_in_time",
                                "energy_j", "busy_s", "bytes", "memory_bytes", "cost_usd", "replans",
                                "failures", "exits", "weights", "phases"});
    CHECK(keys(metrics["requests"]) == Keys{"arrived", "completed", "lost", "in_flight"});
    CHECK(keys(metrics["latency_s"]) == Keys{"mean", "ci95", "p50", "p95", "p99", "max"});
    CHECK(keys(metrics["energy_j"]) == Keys{"total", "per_host", "radio"});
    CHECK(keys(metrics["busy_s"]) == Keys{"per_host"});
    CHECK(keys(metrics["bytes"]) == Keys{"total", "per_link"});
    CHECK(keys(metrics["memory_bytes"]) == Keys{"per_host"});
  }
  // 2.5 Mflop at 1 Gflop/s; with the link ten times faster 4 kB + 1 kB take 0.5 instead of 5 ms.
  CHECK(results["runs"][0]["metrics"]["latency_s"]["mean"].get<double>() == doctest::Approx(2.5e-3));
  const auto transfer_s = [&](std::size_t run) {
    return results["runs"][run]["metrics"]["transfer_s"].get<double>();
  };
  CHECK(transfer_s(1) - transfer_s(3) == doctest::Approx(4.5e-3));

  const Finished out = run_cdisim({"e.json", "--out", "results/nested", "--quiet"}, folder.path());
  CHECK(out.code == 0);
  CHECK(slurp(folder / "results/nested/results.json") == text);
}

TEST_CASE("cli: load, failures by chance, sensors") {
  const TempFolder folder;
  const auto metrics = [&](const std::string& patch, std::size_t run = 0) {
    write_pencil_run(folder, patch);
    return succeed_json({"e.json", "--json"}, folder.path())["runs"][run]["metrics"];
  };
  // 2.5 Mflop at 1 Gflop/s, of which others take 0.75; from 5 ms on half: requests of 10, 5, 5 and 5 ms.
  CHECK(metrics(R"({"/hosts": {"device": {"load": 0.75}}})")["latency_s"]["mean"].get<double>() ==
        doctest::Approx(10e-3));
  const Json later = metrics(R"({"/hosts": {"device": {"load": [{"at": "5ms", "load": 0.5}]}}})");
  CHECK(later["latency_s"]["mean"].get<double>() == doctest::Approx((2.5 + 2.5 + 5 + 5) / 4 * 1e-3));
  // A host that never works: every request is lost, and whoever guesses is right in one of ten.
  const Json lost = metrics(R"({"/hosts": {"device": {"survival": 0}},
                                "/on_failure": {"guess_accuracy": 0.1}, "/arrivals/think": "1s"})");
  CHECK(lost["requests"] == Json({{"arrived", 4}, {"completed", 0}, {"lost", 4}, {"in_flight", 0}}));
  CHECK(lost["accuracy"].get<double>() == doctest::Approx(0.1));
  // 4 kB to the server, then its weights, 5 MB at 1 MB/s after 10 ms, 2.5 Mflop and 1 kB back.
  const Json cold = metrics(R"({"/hosts": {"server": {"weights": "none"}}, "/phases": ["0s", "1s"],
                                "/policies": [{"name": "edge_only"}]})");
  CHECK(cold["phases"][0]["completed"] == 1);
  CHECK(cold["phases"][0]["latency_s"].get<double>() ==
        doctest::Approx(0.014 + 5.01 + 0.25e-3 + 0.011).epsilon(1e-9));
  CHECK(cold["phases"][1]["completed"] == 3);
  CHECK(cold["weights"]["bytes"] == 5e6);
  // The server's own sensor: no input travels, only the 1 kB result.
  const Json seen = metrics(R"({"/sensors": {"fc_1": "server"}, "/policies": [{"name": "edge_only"}]})");
  CHECK(seen["bytes"]["total"] == 4 * 1000);
}

TEST_CASE("cli: requests.csv has a row a request whose times add up") {
  const TempFolder folder;
  const auto results_of = [&](const std::string& experiment) {
    succeed({experiment, "--out", "out"}, folder.path());
    Keys files;
    for (const auto& entry : fs::directory_iterator(folder / "out")) files.insert(entry.path().filename());
    CHECK(files == Keys{"results.json", "requests.csv"});
    return read_json_file(folder / "out/results.json");
  };

  write_pencil_run(folder, R"({"/arrivals/clients": 2})");
  Json results = results_of("e.json");
  std::vector<Row> rows = read_csv(folder / "out/requests.csv");
  CHECK(rows.size() == 8);  // four of each policy
  check_requests(rows, results);

  write_pencil_run(folder, kEventful);
  results = results_of("e.json");
  check_requests(read_csv(folder / "out/requests.csv"), results);

  write_pencil_run(folder, R"({"/policies/0/label": "device, \"alone\""})");
  results = results_of("e.json");
  check_requests(read_csv(folder / "out/requests.csv"), results);

  // Repetitions, changing bandwidth, changing plans; the rows hold the warm-up too, the metrics do not.
  results = results_of((kSources / "experiments/edgent_dynamic.json").string());
  rows = read_csv(folder / "out/requests.csv");
  std::erase_if(rows, [](const Row& row) { return std::stod(row.at("arrival_s")) < 10; });
  check_requests(rows, results);
}

TEST_CASE("cli: arrived is completed and lost and in flight") {
  const TempFolder folder;
  write_pencil_run(folder, kEventful);
  int lost = 0, in_flight = 0;
  for (const Json& results : {succeed_json({"e.json"}, folder.path()), succeed_json({"edgent_dynamic"}),
                              succeed_json({"edgent"})}) {
    for (const Json& run : results["runs"]) {
      const Json& requests = run["metrics"]["requests"];
      const auto count = [&](const char* key) { return requests[key].get<int>(); };
      CHECK(count("arrived") == count("completed") + count("lost") + count("in_flight"));
      CHECK(count("completed") > 0);
      lost += count("lost");
      in_flight += count("in_flight");
    }
  }
  CHECK(lost > 0);
  CHECK(in_flight > 0);
}

TEST_CASE("cli: no request is forgotten, whatever fails") {
  // One every 20 ms until 2 s: 100 requests. On the server each sends 4 kB from 10 to 14 ms after its arrival
  // and computes until 14.25 ms. The device draws 1 W at least, its battery lasts for less than 1 s. The
  // server's weights take 5.01 s to arrive.
  const std::string run =
      R"("/requests": null, "/horizon_s": 2, "/arrivals": {"kind": "periodic", "period": "20ms"})";
  const std::string tries = R"(, "/on_failure": {"retries": 2, "wait": "5ms"})";
  const std::map<std::string, std::string> failures{
      {"link off in mid-transfer",
       R"(, "/changes": [{"at": "12ms", "link": "net", "state": "off"}, {"at": "1s", "link": "net", "state": "on"}])"},
      {"host off while it computes",
       R"(, "/changes": [{"at": "14.1ms", "host": "server", "state": "off"}, {"at": "1s", "host": "server", "state": "on"}])"},
      {"battery", R"(, "/hosts": {"device": {"battery": "1J"}})"},
      {"memory", R"(, "/hosts": {"server": {"weights": "none", "memory": "5.01MB"}})"}};
  const TempFolder folder;
  for (const auto& [failure, patch] : failures) {
    for (const bool again : {false, true}) {
      INFO(failure, again ? ", tried again" : "");
      write_pencil_run(folder, "{" + run + patch + (again ? tries : "") + "}");
      const Json results = succeed_json({"e.json"}, folder.path());
      int unhappy = 0;
      for (const Json& entry : results["runs"]) {
        const Json& requests = entry["metrics"]["requests"];
        const auto count = [&](const char* key) { return requests[key].get<int>(); };
        CHECK(count("completed") + count("lost") + count("in_flight") == 100);
        unhappy += count("lost") + count("in_flight");
      }
      CHECK(unhappy > 20);  // for a link or a host: those of about 1 s, on the server
    }
  }
}

TEST_CASE("cli: the trace names a row for each host and link that did something") {
  const TempFolder folder;
  write_pencil_run(folder, R"({"/arrivals/clients": 3})");
  succeed({"e.json", "--trace", "traces/t.json", "--out", "out"}, folder.path());
  const Json trace = read_json_file(folder / "traces/t.json"),
             results = read_json_file(folder / "out/results.json");
  CHECK(keys(trace) == Keys{"traceEvents"});

  using Place = std::pair<int, int>;  // process and thread
  std::map<Place, std::string> names;
  std::map<int, std::string> processes;
  std::set<Place> used;
  std::map<std::string, int> slices;  // by category
  std::map<Place, double> ends;       // of the last slice of each row, us
  for (const Json& event : trace["traceEvents"]) {
    const std::string kind = event["ph"];
    const int process = event["pid"];
    if (kind == "M" && event["name"] == "process_name") {
      CHECK(processes.emplace(process, event["args"]["name"]).second);
    } else if (kind == "M" && event["name"] == "thread_name") {
      CHECK(names.emplace(Place{process, event["tid"]}, event["args"]["name"]).second);
    } else if (kind == "X") {
      const Place place{process, event["tid"]};
      ++slices[event["cat"].get<std::string>()];
      used.insert(place);
      CHECK(event["dur"].get<double>() > 0);
      CHECK(event["ts"].get<double>() >= ends[place] - 1e-6);  // slices of a row do not overlap
      ends[place] = event["ts"].get<double>() + event["dur"].get<double>();
    } else {
      CHECK(kind == "M");
    }
  }
  CHECK(slices["compute"] == 8);   // four requests on the device, four on the server
  CHECK(slices["transfer"] == 8);  // four uploads, four downloads
  CHECK(slices["wait"] > 0);
  CHECK(processes.size() == results["runs"].size());

  std::set<Place> named;
  std::set<std::pair<int, std::string>> rows;
  for (const auto& [place, name] : names) {
    named.insert(place);
    CHECK(rows.emplace(place.first, name).second);
  }
  CHECK(named == used);
  for (std::size_t run = 0; run < results["runs"].size(); ++run) {
    for (const Json& piece : results["runs"][run]["plan"]["pieces"]) {
      CHECK(rows.contains({static_cast<int>(run), "host " + piece["host"].get<std::string>()}));
    }
    for (const auto& [link, bytes] : results["runs"][run]["metrics"]["bytes"]["per_link"].items()) {
      CHECK(rows.contains({static_cast<int>(run), "link " + link}));
    }
  }
}

TEST_CASE("cli: quiet prints nothing and a pipe gets no progress") {
  const TempFolder folder;
  write_pencil_run(folder);
  CHECK(succeed({"e.json", "--quiet"}, folder.path()) == "");
  CHECK(succeed({"e.json"}, folder.path()).find("edge_only") != std::string::npos);
  CHECK(split_lines(succeed({"check", "e.json", "--quiet"}, folder.path())).size() == 1);
}

TEST_CASE("cli: the seed decides and nothing else does") {
  const TempFolder folder;
  write_pencil_run(folder, R"({"/policies": [{"name": "edge_only"}],
                               "/arrivals": {"kind": "poisson", "rate_per_s": 50}, "/requests": 50})");
  const Json first = succeed_json({"e.json", "--seed", "7"}, folder.path()),
             again = succeed_json({"e.json", "--seed", "7"}, folder.path()),
             other = succeed_json({"e.json", "--seed", "8"}, folder.path());
  CHECK(first == again);
  CHECK(first["seed"] == 7);
  CHECK(other["seed"] == 8);
  CHECK(first["runs"][0]["metrics"]["latency_s"]["mean"] != other["runs"][0]["metrics"]["latency_s"]["mean"]);
}

TEST_CASE("cli: the same bytes whatever the number of jobs") {
  for (const std::string experiment : {"edgent", "edgent_dynamic"}) {
    const TempFolder folder;
    const auto files = [&](const std::string& jobs) {
      const fs::path out = folder / ("out" + jobs);
      succeed({"experiments/" + experiment + ".json", "--jobs", jobs, "--out", out.string(), "--quiet"});
      return slurp(out / "results.json") + slurp(out / "requests.csv");
    };
    const std::string alone = files("1");
    CHECK(alone.size() > 10000);
    for (const std::string jobs : {"2", "5", "1"}) {
      INFO(experiment, " with jobs ", jobs);
      const bool same = files(jobs) == alone;  // megabytes, which CHECK would print
      CHECK(same);
    }
  }
  const TempFolder folder;
  write_pencil_run(folder, kEventful);
  for (const std::string jobs : {"1", "2"}) {
    succeed({"e.json", "--jobs", jobs, "--trace", "trace" + jobs}, folder.path());
  }
  CHECK(slurp(folder / "trace1") == slurp(folder / "trace2"));
}

TEST_CASE("cli: every table fits the terminal") {
#ifdef CDISIM_SANITIZE  // which takes ten times as long and prints the same tables
  const std::vector<std::string> experiments{"experiments/edgent.json", "experiments/deepthings.json"};
#else
  const std::vector<std::string> experiments = bundled("experiments", ".json");
#endif
  Arguments check{"check"};
  for (const std::string& experiment : experiments) {
    INFO(experiment);
    check_width(run_cdisim({experiment}).out);
    check.push_back(experiment);
  }
  check_width(run_cdisim(check).out);
}

TEST_CASE("cli: lists and descriptions") {
  for (const std::string kind : {"policies", "models", "devices", "platforms", "experiments"}) {
    const Json list = succeed_json({"list", kind});
    const std::string table = succeed({"list", kind});
    check_width(table);
    REQUIRE(list.is_array());
    CHECK(!list.empty());
    // Head and rule; what stands behind an empty line is notes.
    const std::vector<std::string> lines = split_lines(table.substr(0, table.find("\n\n")));
    CHECK(lines.size() == list.size() + 2);
    for (const Json& item : list) {
      const std::string name = item.at("name");
      INFO(kind, " ", name);
      if (kind == "models") {
        for (const char* key : {"parameters", "macs", "weight_bytes"}) CHECK(item.at(key).get<double>() > 0);
      }
      CHECK(table.find(name) != table.npos);
      const std::string described = succeed({"describe", name});
      CHECK(described.find(name) != described.npos);
      check_width(described);
    }
  }
}

TEST_CASE("cli: every bundled file is valid") {
  Arguments arguments{"validate"};
  for (const auto& [folder, extension] :
       {std::pair{"experiments", ".json"}, std::pair{"platforms", ".json"}, std::pair{"platforms", ".xml"},
        std::pair{"platforms/latency", ".json"}, std::pair{"workloads", ".json"}}) {
    for (const std::string& file : bundled(folder, extension)) arguments.push_back(file);
  }
  const std::vector<std::string> lines = split_lines(succeed(arguments));
  REQUIRE(lines.size() == arguments.size() - 1);
  for (std::size_t i = 0; i < lines.size(); ++i) CHECK(lines[i].starts_with(arguments[i + 1] + ": valid: "));
}

TEST_CASE("cli: check compares published figures and counts them") {
#ifdef CDISIM_SANITIZE  // all of them are run one by one by the golden tests
  const Json checked = succeed_json({"check", "experiments/edgent.json", "experiments/deepthings.json"});
#else
  const Json checked = succeed_json({"check", "experiments/"});
#endif
  CHECK(keys(checked) == Keys{"figures", "reproduced", "total"});
  int reproduced = 0, deviates = 0;
  for (const Json& figure : checked["figures"]) {
    INFO(figure.dump());
    for (const char* key : {"system", "experiment", "id", "metric", "compare", "published", "simulated",
                            "relative_error", "tolerance", "status", "reason", "source"}) {
      CHECK(figure.contains(key));
    }
    CHECK(Keys{"relative", "equal", "range", "at_least", "order"}.contains(figure["compare"]));
    CHECK(figure["source"] != "");
    const std::string status = figure["status"];
    reproduced += status == "reproduced" ? 1 : 0;
    deviates += status == "deviates" ? 1 : 0;
    if (status == "unchecked") {
      CHECK(figure["simulated"].is_null());
    } else {
      CHECK(figure["simulated"].is_number());
    }
    if (status != "reproduced") CHECK(figure["reason"] != "");
  }
  CHECK(checked["reproduced"] == reproduced);
  CHECK(checked["total"] == reproduced + deviates);
  CHECK(reproduced > 0);
}

TEST_CASE("cli: check fails when a figure leaves its recorded status") {
  const TempFolder folder;
  // 2.5 Mflop at 1 Gflop/s: 2.5 ms.
  Json figure = {{"id", "latency"}, {"source", "fixture"}, {"policy", "device_only"},
                 {"unit", "ms"},    {"tolerance", 0.01},   {"metric", "/metrics/latency_s/mean"}};
  const auto code = [&](double value, bool deviates) {
    figure["value"] = value;
    figure.erase("deviates");
    if (deviates) figure["deviates"] = "a known reason";
    write_pencil_run(folder, "{\"/published\": [" + figure.dump() + "]}");
    const Finished done = run_cdisim({"check", "e.json"}, folder.path());
    CHECK(done.err == "");
    CHECK((done.out.find("(!)") != done.out.npos) == (done.code == 1));
    const Finished json = run_cdisim({"check", "e.json", "--json"}, folder.path());
    CHECK(json.code == done.code);
    const bool holds = parse_json(json.out, "stdout")["figures"][0]["status"] == "reproduced";
    CHECK(holds == (value == 2.5));
    return done.code;
  };
  CHECK(code(2.5, false) == 0);
  CHECK(code(5, true) == 0);
  CHECK(code(5, false) == 1);
  CHECK(code(2.5, true) == 1);
}

TEST_CASE("cli: a point that fails costs only itself") {
  const TempFolder folder;
  // chain3 holds 5 MB of weights.
  write_pencil_run(folder, R"({"/sweeps": [{"vary": {"/hosts/server/memory": ["1GB", "1MB", "2GB"]}}]})");
  const Finished done = run_cdisim({"e.json", "--out", "out"}, folder.path());
  CHECK(done.code == 2);
  const std::vector<std::string> errors = split_lines(done.err);
  REQUIRE(errors.size() == 1);
  for (const std::string fragment :
       {"cdisim: error: ", "pencil_run", "edge_only", "/hosts/server/memory", "\"1MB\"", "5.006MB"}) {
    INFO(errors[0]);
    CHECK(errors[0].find(fragment) != std::string::npos);
  }
  CHECK(done.out.find("failed") != std::string::npos);
  check_width(done.out);
  const Json runs = read_json_file(folder / "out/results.json")["runs"];
  REQUIRE(runs.size() == 6);
  for (const Json& run : runs) {
    const bool failed = run["policy"] == "edge_only" && run["point"]["/hosts/server/memory"] == "1MB";
    CHECK(run.contains("metrics") == !failed);
    CHECK(run.contains("error") == failed);
  }
}

TEST_CASE("cli: a simulation that is killed costs only its point") {
  const TempFolder folder;
  write_pencil_run(folder, R"({"/policies": [{"name": "device_only"}],
                               "/sweeps": [{"vary": {"/requests": [4, 1000000000, 5]}}]})");
  Running running({"e.json", "--json", "--jobs", "1"}, folder.path());
  const std::string children =
      "/proc/" + std::to_string(running.pid()) + "/task/" + std::to_string(running.pid()) + "/children";
  // The child that is still the same one after half a second simulates 10^9 requests.
  std::string victim;
  int polls = 0;
  for (int since = 0; since < 50;) {
    REQUIRE(++polls < 3000);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const std::string now = slurp(children);
    since = !now.empty() && now == victim ? since + 1 : 0;
    victim = now;
  }
  kill(std::stoi(victim), SIGKILL);
  const Finished done = running.wait();
  CHECK(done.code == 1);
  const std::vector<std::string> errors = split_lines(done.err);
  REQUIRE(errors.size() == 1);
  for (const std::string fragment :
       {"cdisim: error: ", "pencil_run", "device_only", "{\"/requests\":1000000000}", "signal 9"}) {
    INFO(errors[0]);
    CHECK(errors[0].find(fragment) != std::string::npos);
  }
  const Json runs = parse_json(done.out, "stdout")["runs"];
  REQUIRE(runs.size() == 3);
  CHECK(runs[0]["metrics"]["requests"]["completed"] == 4);
  CHECK(runs[1].contains("error"));
  CHECK(runs[2]["metrics"]["requests"]["completed"] == 5);
}

TEST_CASE("cli: output that cannot be written is no success") {
  if (!fs::exists("/dev/full")) return;
  const TempFolder folder;
  write_pencil_run(folder);
  for (const Arguments& arguments : {Arguments{"e.json"}, Arguments{"e.json", "--json"},
                                     Arguments{"list", "policies"}, Arguments{"check", "e.json"}}) {
    INFO(arguments.front());
    const Finished done = Running(arguments, folder.path(), "", "/dev/full").wait();
    CHECK(done.code == 1);
    CHECK(split_lines(done.err).size() == 1);
  }
}

// ---- what is refused ----

namespace {

// Exit code 2, one line that holds the fragments, and nothing else: at once. `what` names the case.
void check_refused(const std::string& what, const Arguments& arguments, const fs::path& folder,
                   const std::vector<std::string>& fragments) {
  INFO(what);
  Finished done;
  // A busy machine may need a second try.
  for (int tries = 0; tries < 3; ++tries) {
    fs::remove_all(folder / "out");
    done = run_cdisim(arguments, folder);
    if (done.wall_s < kSlowdown) break;
  }
  INFO("stderr: ", done.err);
  std::string problems;
  const auto expect = [&](bool holds, const std::string& problem) {
    if (!holds) problems += "\n  " + problem;
  };
  expect(done.wall_s < kSlowdown, "took " + std::to_string(done.wall_s) + " s");
  expect(done.code == 2, "exit code " + std::to_string(done.code));
  expect(done.out.empty(), "stdout: " + done.out);
  expect(std::count(done.err.begin(), done.err.end(), '\n') == 1 && done.err.ends_with("\n"), "not one line");
  expect(done.err.starts_with("cdisim: error: "), "does not start with cdisim: error: ");
  for (const char* inside :
       {"CRITICAL", "simgrid", "xbt", "./src/", "json.exception", "terminate", "std::"}) {
    expect(done.err.find(inside) == std::string::npos, std::string("says ") + inside);
  }
  for (const std::string& fragment : fragments) {
    expect(done.err.find(fragment) != std::string::npos, "does not say " + fragment);
  }
  expect(!fs::exists(folder / "out"), "wrote under --out");
  CHECK(problems == "");
}

struct BadExperiment {
  const char* name;
  const char* patch;  ///< {JSON pointer: value} on the fixture; null removes
  std::vector<std::string> fragments;
};

void check_refused(const std::vector<BadExperiment>& table) {
  const TempFolder folder;
  for (const BadExperiment& bad : table) {
    write_pencil_run(folder, bad.patch);
    check_refused(bad.name, {"e.json", "--out", "out"}, folder.path(), bad.fragments);
  }
}

void check_refused_file(const std::string& name, const std::string& text,
                        const std::vector<std::string>& fragments) {
  const TempFolder folder;
  folder.write(name, text);
  const bool experiment = name == "e.json";
  check_refused(name + " of " + std::to_string(text.size()) + " bytes",
                experiment ? Arguments{name, "--out", "out"} : Arguments{"validate", name}, folder.path(),
                fragments);
}

}  // namespace

TEST_CASE("cli: keys, types and units that are refused") {
  check_refused({
      {"unknown key", R"({"/platfrom": "x"})", {"e.json: ", "\"platfrom\"", "did you mean \"platform\"?"}},
      {"unknown key inside",
       R"({"/arrivals/client": 1})",
       {"e.json: /arrivals: ", "\"client\"", "did you mean \"clients\"?"}},
      {"unknown key of a host",
       R"({"/hosts": {"server": {"memroy": "1GB"}}})",
       {"e.json: /hosts/server: ", "did you mean \"memory\"?"}},
      {"missing key", R"({"/platform": null})", {"e.json: ", "\"platform\" is missing"}},
      {"missing name", R"({"/name": null})", {"e.json: ", "\"name\" is missing"}},
      {"other schema", R"({"/schema": 2})", {"e.json: /schema: 2"}},
      {"string for a number", R"({"/requests": "4"})", {"e.json: /requests: \"4\"", "whole number"}},
      {"fraction for a whole number", R"({"/requests": 4.5})", {"e.json: /requests: 4.5", "whole number"}},
      {"array for a string",
       R"({"/platform": ["pencil.xml"]})",
       {"e.json: /platform: [\"pencil.xml\"]", "must be a string"}},
      {"object for an array",
       R"({"/policies": {"name": "device_only"}})",
       {"e.json: /policies: ", "must be an array"}},
      {"strings for objects",
       R"({"/policies": ["device_only"]})",
       {"e.json: /policies/0: \"device_only\"", "must be an object"}},
      {"unit in lower case",
       R"({"/links/net/bandwidth": "8mbps"})",
       {"e.json: /links/net/bandwidth: ", "\"8mbps\"", "kbps, Mbps", "did you mean \"Mbps\"?"}},
      {"no unit", R"({"/deadline": "10"})", {"e.json: /deadline: ", "\"10\"", "no unit", "s, ms, us"}},
      {"number for a quantity", R"({"/deadline": 10})", {"e.json: /deadline: 10", "unit", "\"10s\""}},
      {"unit of nothing",
       R"({"/deadline": "10 parsecs"})",
       {"e.json: /deadline: ", "\"10 parsecs\"", "s, ms, us"}},
      {"unit of something else",
       R"({"/deadline": "10Mbps"})",
       {"e.json: /deadline: ", "\"10Mbps\"", "s, ms, us"}},
      {"negative time", R"({"/deadline": "-5ms"})", {"e.json: /deadline: ", "\"-5ms\"", "not negative"}},
      {"negative bandwidth",
       R"({"/links/net/bandwidth": "-8Mbps"})",
       {"e.json: /links/net/bandwidth: ", "\"-8Mbps\"", "not negative"}},
      {"zero bandwidth",
       R"({"/links/net/bandwidth": "0Mbps"})",
       {"e.json: /links/net/bandwidth: ", "\"0Mbps\"", "positive"}},
      {"bandwidth beyond SimGrid",
       R"({"/arrivals/clients": 2, "/links/net/bandwidth": "1e300Gbps"})",
       {"e.json: /links/net/bandwidth: ", "\"1e300Gbps\""}},
      {"bandwidth beyond double",
       R"({"/links/net/bandwidth": "1e308Gbps"})",
       {"e.json: /links/net/bandwidth: ", "\"1e308Gbps\""}},
      {"latency beyond double",
       R"({"/links/net/latency": "1e308d"})",
       {"e.json: /links/net/latency: ", "\"1e308d\""}},
      {"negative bytes", R"({"/wire": {"input_bytes": -1}})", {"e.json: /wire/input_bytes: -1"}},
      {"sensor of no layer",
       R"({"/sensors": {"fc_2": "device"}})",
       {"e.json: /sensors/fc_2: ", "no layer of \"chain3\" that reads the input", "fc_1"}},
      {"sensor on no host", R"({"/sensors": {"fc_1": "devise"}})", {"e.json: /sensors/fc_1: ", "device"}},
      {"all of a processor", R"({"/hosts": {"server": {"load": 1}}})", {"e.json: /hosts/server/load: 1"}},
      {"load without a date",
       R"({"/hosts": {"server": {"load": [{"load": 0.5}]}}})",
       {"e.json: /hosts/server/load/0: ", "\"at\" is missing"}},
      {"no probability",
       R"({"/hosts": {"server": {"survival": 1.5}}})",
       {"e.json: /hosts/server/survival: 1.5"}},
      {"weights of no layer",
       R"({"/hosts": {"server": {"weights": ["fc_9"]}}})",
       {"e.json: /hosts/server/weights/0: \"fc_9\"", "fc_1"}},
      {"weights of a source",
       R"({"/hosts": {"device": {"weights": "none"}}})",
       {"e.json: /hosts/device/weights: ", "is a source"}},
      {"weights that do not fit",
       R"({"/hosts": {"server": {"memory": "1kB", "weights": ["fc_1"]}}})",
       {"e.json: /hosts/server/weights: ", "takes 2MB of 1kB"}},
      {"phases out of order", R"({"/phases": ["2s", "1s"]})", {"e.json: /phases/1: \"1s\"", "ahead of it"}},
      {"no charge",
       R"({"/hosts": {"device": {"battery": "0Wh"}}})",
       {"e.json: /hosts/device/battery: \"0Wh\""}},
      {"charge in watts",
       R"({"/hosts": {"device": {"battery": "9W"}}})",
       {"e.json: /hosts/device/battery: ", "kWh"}},
      {"no accuracy",
       R"({"/on_failure": {"guess_accuracy": -0.1}})",
       {"e.json: /on_failure/guess_accuracy: -0.1"}},
      {"name of two lines", R"({"/name": "a\nb"})", {"e.json: /name: "}},
      {"label of two lines", R"({"/policies/0/label": "a\nb"})", {"e.json: /policies/0/label: "}},
  });
}

TEST_CASE("cli: names that are refused") {
  check_refused({
      {"policy",
       R"({"/policies/0/name": "device_olny"})",
       {"e.json: /policies/0/name: \"device_olny\"", "edge_only", "did you mean \"device_only\"?"}},
      {"policy parameter",
       R"({"/policies/0/exits": 1})",
       {"e.json: /policies/0: ", "\"device_only\"", "\"exits\"", "did you mean \"exit\"?"}},
      {"type of a policy parameter",
       R"({"/policies/0/exit": "last"})",
       {"e.json: /policies/0/exit: \"last\"", "whole number"}},
      {"value of a policy parameter",
       R"({"/policies": [{"name": "device_only", "exit": 7}]})",
       {"e.json: /policies/0/exit: 7", "valid: 0"}},
      {"model",
       R"({"/model": "alexnt"})",
       {"e.json: /model: \"alexnt\"", "branchy_alexnet", "did you mean \"alexnet\"?"}},
      {"platform",
       R"({"/platform": "pi3_lan_desktp"})",
       {"e.json: /platform: \"pi3_lan_desktp\"", "did you mean \"pi3_lan_desktop\"?"}},
      {"file of a platform",
       R"({"/platform": "none.xml"})",
       {"e.json: /platform: \"none.xml\"", "no such file"}},
      {"latency model",
       R"({"/latency_model": "edgent_executoin"})",
       {"e.json: /latency_model: \"edgent_executoin\"", "did you mean \"edgent_execution\"?"}},
      {"misspelt roofline",
       R"({"/latency_model": "roofliine"})",
       {"e.json: /latency_model: \"roofliine\"", "did you mean \"roofline\"?"}},
      {"estimator", R"({"/estimator": {"latency_model": "x"}})", {"e.json: /estimator/latency_model: \"x\""}},
      {"link",
       R"({"/links": {"nets": {"bandwidth": "1Mbps"}}})",
       {"e.json: /links/nets: ", "pencil.xml", "did you mean \"net\"?"}},
      {"host of a change",
       R"({"/changes": [{"at": "1s", "host": "net", "state": "off"}]})",
       {"e.json: /changes/0/host: \"net\"", "valid: device, server"}},
      {"source",
       R"({"/sources": "devic"})",
       {"e.json: /sources: \"devic\"", "valid: device, server", "did you mean \"device\"?"}},
      {"source twice", R"({"/sources": ["device", "device"]})", {"e.json: /sources/1: \"device\"", "twice"}},
      {"no source", R"({"/sources": []})", {"e.json: /sources: []"}},
      {"tier without hosts", R"({"/sources": "tier:uav"})", {"e.json: /sources: \"tier:uav\""}},
      {"no such tier", R"({"/sources": "tier:devices"})", {"e.json: /sources: ", "did you mean \"device\"?"}},
      {"two policies with one label",
       R"({"/policies/1/name": "device_only"})",
       {"e.json: /policies/1: ", "\"device_only\"", "\"label\""}},
      {"no policy", R"({"/policies": []})", {"e.json: /policies: []"}},
      {"arrivals",
       R"({"/arrivals": {"kind": "poison"}})",
       {"e.json: /arrivals/kind: \"poison\"", "did you mean \"poisson\"?"}},
      {"network model", R"({"/network": "LV07"})", {"e.json: /network: \"LV07\"", "CM02, LV08"}},
      {"routing", R"({"/routing": "adhoc"})", {"e.json: /routing: \"adhoc\"", "did you mean \"ad_hoc\"?"}},
      {"tier without a host",
       R"({"/policies": [{"name": "cloud_only"}]})",
       {"pencil.xml", "cloud", "\"device\""}},
  });
}

TEST_CASE("cli: sweeps, ends and figures that are refused") {
  check_refused({
      {"sweep of an unknown key",
       R"({"/sweeps": [{"vary": {"/deadlin": ["1s"]}}]})",
       {"e.json: ", "\"deadlin\"", "did you mean \"deadline\"?"}},
      {"sweep of an unknown link",
       R"({"/sweeps": [{"vary": {"/links/nets/bandwidth": ["1Mbps"]}}]})",
       {"e.json: /links/nets: ", "did you mean \"net\"?"}},
      {"sweep into a string",
       R"({"/sweeps": [{"vary": {"/platform/x": ["1s"]}}]})",
       {"e.json: /sweeps", "\"/platform/x\""}},
      {"sweep into an array's name",
       R"({"/sources": ["device"], "/sweeps": [{"vary": {"/sources/first": ["device"]}}]})",
       {"e.json: /sweeps", "\"/sources/first\""}},
      {"sweep far behind an array",
       R"({"/changes": [], "/sweeps": [{"vary": {"/changes/3000000": [{}]}}]})",
       {"e.json: /sweeps", "/changes/3000000"}},
      {"sweep of no pointer",
       R"({"/sweeps": [{"vary": {"deadline": ["1s"]}}]})",
       {"e.json: /sweeps/0/vary", "\"deadline\"", "\"/deadline\""}},
      {"sweep of the policies",
       R"({"/sweeps": [{"vary": {"/policies/0/exit": [1]}}]})",
       {"e.json: /sweeps/0/vary", "\"/policies/0/exit\""}},
      {"sweep to a wrong unit",
       R"({"/sweeps": [{"vary": {"/deadline": ["1s", "10 parsecs"]}}]})",
       {"e.json: /deadline: ", "\"10 parsecs\""}},
      {"sweep without values",
       R"({"/sweeps": [{"vary": {"/deadline": []}}]})",
       {"e.json: /sweeps/0/vary", "[]"}},
      {"sweep of nothing", R"({"/sweeps": [{"vary": {}}]})", {"e.json: /sweeps/0/vary"}},
      {"no sweep", R"({"/sweeps": []})", {"e.json: /sweeps: []"}},
      {"sweep of no policy",
       R"({"/sweeps": [{"vary": {"/deadline": ["1s"]}, "policies": []}]})",
       {"e.json: /sweeps/0/policies: []"}},
      {"sweep of an unknown policy",
       R"({"/sweeps": [{"vary": {"/deadline": ["1s"]}, "policies": ["edge"]}]})",
       {"e.json: /sweeps/0/policies/0: \"edge\"", "edge_only"}},
      {"no end", R"({"/requests": null})", {"e.json: ", "\"requests\"", "\"horizon_s\""}},
      {"end before the warm-up",
       R"({"/horizon_s": 5, "/warmup_s": 10})",
       {"e.json: /horizon_s: 5", "warmup_s"}},
      {"negative warm-up", R"({"/warmup_s": -1})", {"e.json: /warmup_s: -1"}},
      {"no request", R"({"/requests": 0})", {"e.json: /requests: 0"}},
      {"no repetition", R"({"/repetitions": 0})", {"e.json: /repetitions: 0"}},
      {"negative seed", R"({"/seed": -1})", {"e.json: /seed: -1"}},
      {"figure of no run",
       R"({"/published": [{"id": "a", "source": "s", "metric": "/metrics/latency_s/mean", "policy": "edgy", "value": 1, "tolerance": 0.1}]})",
       {"e.json: /published", "\"a\"", "\"edgy\""}},
      {"figure twice",
       R"({"/published": [{"id": "a", "source": "s", "value": 1, "unchecked": "band"}, {"id": "a", "source": "s", "value": 1, "unchecked": "band"}]})",
       {"e.json: /published", "\"a\""}},
      {"figure of no pointer",
       R"({"/published": [{"id": "a", "source": "s", "metric": "/metrics/~x", "policy": "edge_only", "value": 1, "tolerance": 0.1}]})",
       {"e.json: /published/0/metric: \"/metrics/~x\""}},
      {"figure relative to zero",
       R"({"/published": [{"id": "a", "source": "s", "metric": "/metrics/latency_s/mean", "policy": "edge_only", "value": 0, "tolerance": 0.1}]})",
       {"e.json: /published/0/value: 0"}},
      {"figure without source",
       R"({"/published": [{"id": "a", "source": "", "metric": "/metrics/latency_s/mean", "policy": "edge_only", "value": 1, "tolerance": 0.1}]})",
       {"e.json: /published/0/source"}},
      {"figure in no unit",
       R"({"/published": [{"id": "a", "source": "s", "unit": "mS", "metric": "/metrics/latency_s/mean", "policy": "edge_only", "value": 1, "tolerance": 0.1}]})",
       {"e.json: /published/0/unit: ", "\"mS\"", "did you mean \"ms\"?"}},
  });
}

TEST_CASE("cli: platforms that are refused") {
  struct BadPlatform {
    const char *name, *from, *to;
    std::vector<std::string> fragments;
  };
  const std::vector<BadPlatform> table = {
      {"no route",
       "<route src=\"device\" dst=\"server\"><link_ctn id=\"net\"/></route>",
       "",
       {"pencil.xml: line 6: ", "\"device\"", "no route"}},
      {"one-way route",
       "dst=\"server\">",
       "dst=\"server\" symmetrical=\"NO\">",
       {"pencil.xml: line 25: ", "\"device\" -> \"server\"", "no way back"}},
      {"route to nobody",
       "dst=\"server\"",
       "dst=\"sever\"",
       {"pencil.xml: line 25: ", "\"sever\"", "did you mean \"server\"?"}},
      {"host twice", "id=\"server\"", "id=\"device\"", {"pencil.xml: line 14: ", "\"device\"", "twice"}},
      {"zero speed", "\"1Gf\"", "\"0Gf\"", {"pencil.xml: line 6: speed: ", "\"0Gf\"", "positive"}},
      {"negative speed", "\"1Gf\"", "\"-1Gf\"", {"pencil.xml: line 6: speed: ", "\"-1Gf\""}},
      {"speed in flops", "\"1Gf\"", "\"1Gflops\"", {"pencil.xml: line 6: speed: ", "\"1Gflops\"", "Gf"}},
      {"zero bandwidth",
       "\"8Mbps\"",
       "\"0Mbps\"",
       {"pencil.xml: line 21: bandwidth: ", "\"0Mbps\"", "positive"}},
      {"negative bandwidth", "\"8Mbps\"", "\"-8Mbps\"", {"pencil.xml: line 21: bandwidth: ", "\"-8Mbps\""}},
      {"bandwidth beyond SimGrid",
       "\"8Mbps\"",
       "\"1e300Gbps\"",
       {"pencil.xml: line 21: bandwidth: ", "\"1e300Gbps\""}},
      {"negative latency", "\"10ms\"", "\"-10ms\"", {"pencil.xml: line 21: latency: ", "\"-10ms\""}},
      {"no tier",
       "<prop id=\"tier\" value=\"edge\"/>",
       "",
       {"pencil.xml: line 14: ", "\"tier\"", "device, edge, cloud, uav"}},
      {"unknown tier",
       "value=\"edge\"",
       "value=\"Edge\"",
       {"pencil.xml: line 15: ", "\"Edge\"", "did you mean \"edge\"?"}},
      {"unknown attribute",
       "speed=\"1Gf\"",
       "spped=\"1Gf\"",
       {"pencil.xml: line 6: ", "\"spped\"", "did you mean \"speed\"?"}},
      {"unknown element",
       "</zone>",
       "<hosts/></zone>",
       {"pencil.xml: line 26: ", "<hosts>", "did you mean \"host\"?"}},
      {"open end", "</zone>\n</platform>", "", {"pencil.xml: line ", "not XML"}},
      {"name that is no UTF-8", "\"server\"", "\"s\xff\xfe\"", {"pencil.xml: line 14: "}},
      {"no edge host", "value=\"edge\"", "value=\"cloud\"", {"pencil.xml", "tier edge", "\"device\""}},
  };
  const TempFolder folder;
  for (const BadPlatform& bad : table) {
    write_pencil_run(folder, R"({"/policies": [{"name": "edge_only"}]})");
    std::string xml = slurp(kFixtures / "pencil.xml");
    bool found = false;
    for (auto at = xml.find(bad.from); at != xml.npos;
         at = xml.find(bad.from, at + std::string(bad.to).size())) {
      xml.replace(at, std::string(bad.from).size(), bad.to);
      found = true;
      if (bad.name != std::string("name that is no UTF-8")) break;
    }
    REQUIRE(found);
    folder.write("pencil.xml", xml);
    check_refused(bad.name, {"e.json", "--out", "out"}, folder.path(), bad.fragments);
  }
}

TEST_CASE("cli: layer graphs that are refused") {
  const std::vector<BadExperiment> table = {
      {"cycle",
       R"({"/layers/0/inputs": ["fc_3"]})",
       {"chain3.json: /layers: ", "cycle", "\"fc_1\" reads \"fc_3\" reads \"fc_2\" reads \"fc_1\""}},
      {"layer that reads itself",
       R"({"/layers/0/inputs": ["fc_1"]})",
       {"chain3.json: /layers: ", "\"fc_1\" reads \"fc_1\""}},
      {"flop for MACs",
       R"({"/layers/0/macs": 1000000})",
       {"chain3.json: /layers/0/macs: 1000000", "500000", "1 MAC = 2 flop"}},
      {"bits for bytes",
       R"({"/layers/0/output_bytes": 16000})",
       {"chain3.json: /layers/0/output_bytes: 16000", "2000 bytes"}},
      {"unknown input",
       R"({"/layers/1/inputs": ["fc_l"]})",
       {"chain3.json: /layers/1/inputs/0: ", "\"fc_l\"", "did you mean \"fc_1\"?"}},
      {"unknown kind",
       R"({"/layers/0/kind": "fcc"})",
       {"chain3.json: /layers/0/kind: \"fcc\"", "did you mean \"fc\"?"}},
      {"no source", R"({"/source": ""})", {"chain3.json: /source: \"\""}},
      {"unknown key",
       R"({"/layers/0/weigth_bytes": 1})",
       {"chain3.json: /layers/0: ", "did you mean \"weight_bytes\"?"}},
  };
  const TempFolder folder;
  write_pencil_run(folder);
  for (const BadExperiment& bad : table) {
    folder.write("chain3.json", patched(kFixtures / "chain3.json", bad.patch));
    check_refused(bad.name, {"e.json", "--out", "out"}, folder.path(), bad.fragments);
    check_refused(bad.name, {"validate", "chain3.json"}, folder.path(), bad.fragments);
  }
}

TEST_CASE("cli: bandwidth traces and dates of arrival that are refused") {
  struct BadText {
    const char *name, *text;
    std::vector<std::string> fragments;
  };
  const TempFolder folder;
  write_pencil_run(
      folder,
      R"({"/links/net/bandwidth_trace": {"file": "t.txt", "time_unit": "s", "bandwidth_unit": "Mbps"}})");
  for (const BadText& bad : std::vector<BadText>{
           {"words", "one two\n", {"t.txt: line 1: ", "\"one\""}},
           {"control bytes", "1 \x01\x02\x1b[31m\n", {"t.txt: line 1: "}},
           {"one column", "1\n", {"t.txt: line 1: ", "two"}},
           {"three columns", "1 2\n2 3 4\n", {"t.txt: line 2: ", "3 columns"}},
           {"time that goes back", "0 1\n2 1\n1 1\n", {"t.txt: line 3: ", "1"}},
           {"negative bandwidth", "0 1\n1 -1\n", {"t.txt: line 2: ", "-1"}},
           {"one row", "0 1\n", {"t.txt", "two rows"}},
           {"nothing", "", {"t.txt", "empty"}},
           {"broken JSON", "[{", {"t.txt"}},
       }) {
    folder.write("t.txt", bad.text);
    check_refused(bad.name, {"e.json", "--out", "out"}, folder.path(), bad.fragments);
  }
  fs::remove(folder / "t.txt");
  check_refused("no file", {"e.json", "--out", "out"}, folder.path(),
                {"e.json: /links/net/bandwidth_trace/file: \"t.txt\"", "no such file"});

  write_pencil_run(folder, R"({"/arrivals": {"kind": "trace", "file": "a.txt"}})");
  for (const BadText& bad : std::vector<BadText>{
           {"decreasing dates", "0\n2\n1\n", {"a.txt: line 3: ", "1 lies before"}},
           {"words", "0\nlater\n", {"a.txt: line 2: ", "\"later\""}},
           {"negative date", "-1\n", {"a.txt: line 1: ", "\"-1\""}},
           {"infinite date", "inf\n", {"a.txt: line 1: ", "\"inf\""}},
           {"comments only", "# none\n", {"a.txt", "no arrival"}},
           {"nothing", "", {"a.txt", "empty"}},
       }) {
    folder.write("a.txt", bad.text);
    check_refused(bad.name, {"e.json", "--out", "out"}, folder.path(), bad.fragments);
  }
  fs::remove(folder / "a.txt");
  check_refused("no file", {"e.json", "--out", "out"}, folder.path(),
                {"e.json: /arrivals/file: \"a.txt\"", "no such file"});
}

TEST_CASE("cli: files that are not what they should be") {
  constexpr std::size_t kMega = 1'000'000;
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);

  check_refused_file("e.json", "{\"schema\": 1,\n \"name\": }\n",
                     {"e.json: line 2, column 10: ", "not JSON"});
  check_refused_file("e.json", "", {"e.json", "empty"});
  check_refused_file("e.json", bytes, {"e.json: line 1", "not JSON"});
  check_refused_file("e.json", "[]", {"e.json", "object"});
  check_refused_file("e.json", "{\"schema\": 1e999}", {"e.json", "1e999"});
  check_refused_file("e.json", "{\"schema\": 1, \"schema\": 1}", {"e.json", "\"schema\"", "twice"});
  check_refused_file("e.json", "{\"schema\": 1, \"name\": \"\xff\"}", {"e.json: line 1", "UTF-8"});
  check_refused_file("e.json", std::string(kMega, '['), {"e.json", "nested"});
  check_refused_file("e.json", std::string(100 * kMega, '['), {"e.json", "100 MB"});
  check_refused_file("e.json", std::string(60 * kMega, '['), {"e.json", "nested"});
  check_refused_file("e.json", std::string(1000, '\n') + "x", {"e.json: line 1001, column 1: ", "not JSON"});

  check_refused_file("p.xml", "", {"p.xml", "empty"});
  check_refused_file("p.xml", bytes, {"p.xml", "not XML"});
  check_refused_file("p.xml", "plain words", {"p.xml: line 1"});
  check_refused_file("p.xml", "<platform version=\"4.1\">\n<zone id=\"z\" routing=\"Full\">",
                     {"p.xml: line 2", "not XML"});
  check_refused_file("p.xml", std::string(100 * kMega, '<'), {"p.xml", "100 MB"});
  check_refused_file("p.xml", std::string(60 * kMega, '<'), {"p.xml: line 1: ", "not XML"});
  std::string nested;
  for (int i = 0; i < 100'000; ++i) nested += "<a>";
  check_refused_file("p.xml", nested, {"p.xml", "not XML"});

  check_refused_file("other.json", "{\"schema\": 1}",
                     {"other.json", "\"policies\"", "\"layers\"", "\"devices\""});

  // A platform that an experiment names is read as strictly.
  const TempFolder folder;
  write_pencil_run(folder);
  folder.write("pencil.xml", std::string(100 * kMega, '<'));
  check_refused("platform of 100 MB", {"e.json", "--out", "out"}, folder.path(), {"pencil.xml", "100 MB"});
}

TEST_CASE("cli: arguments that are refused") {
  struct BadArguments {
    Arguments arguments;
    std::vector<std::string> fragments;
  };
  const TempFolder folder;
  write_pencil_run(folder);
  folder.write("file", "a regular file\n");
  fs::create_directories(folder / "empty");
  for (const BadArguments& bad : std::vector<BadArguments>{
           {{}, {"no experiment"}},
           {{""}, {"no experiment"}},
           {{"none.json"}, {"none.json", "no such file"}},
           {{"edgnt"}, {"\"edgnt\"", "did you mean \"edgent\"?"}},
           {{"empty"}, {"empty"}},
           {{"/"}, {"/", "not a file"}},
           {{"e.json", "e.json"}, {"e.json", "--help"}},
           {{"e.json", "--jbos", "2"}, {"--jbos", "--help"}},
           {{"e.json", "--jobs", "0"}, {"--jobs", "0", "1 to 1024"}},
           {{"e.json", "--jobs", "-1"}, {"--jobs", "-1", "1 to 1024"}},
           {{"e.json", "--jobs", "many"}, {"--jobs", "many"}},
           {{"e.json", "--jobs"}, {"--jobs"}},
           {{"e.json", "--seed", "-1"}, {"--seed", "-1"}},
           {{"e.json", "--seed=-1"}, {"--seed", "-1"}},
           {{"e.json", "--seed", "1.5"}, {"--seed", "1.5"}},
           {{"e.json", "--seed", "99999999999999999999999"}, {"--seed", "99999999999999999999999"}},
           {{"e.json", "--out", "file/out"}, {"file/out", "written"}},
           {{"e.json", "--out", "file"}, {"file", "written"}},
           {{"e.json", "--out", ""}, {"--out"}},
           {{"e.json", "--trace", "file/trace.json"}, {"file/trace.json", "written"}},
           {{"e.json", "--trace", "empty"}, {"empty", "written"}},
           {{"e.json", "--trace", ""}, {"--trace"}},
           {{"e.json", "--out", "out", "--trace", "file/trace.json"}, {"file/trace.json", "written"}},
           {{"list"}, {"KIND"}},
           {{"list", "model"},
            {"\"model\"", "policies, models, devices, platforms, experiments", "did you mean \"models\"?"}},
           {{"list", "models", "--jason"}, {"--jason"}},
           {{"--json", "list", "models"}, {"--json"}},
           {{"--out", "out", "check", "e.json"}, {"--out"}},
           {{"e.json", "check", "e.json"}, {"check"}},
           {{"list", "models", "describe", "edgent"}, {"describe"}},
           {{"describe"}, {"NAME"}},
           {{"describe", "edgnt"}, {"\"edgnt\"", "did you mean \"edgent\"?"}},
           {{"validate"}, {"FILES"}},
           {{"validate", "none.json"}, {"none.json", "no such file"}},
           {{"validate", "empty"}, {"empty", "not a file"}},
           {{"validate", ""}, {"\"\""}},
           {{"check"}, {"PATHS"}},
           {{"check", "none.json"}, {"none.json", "no such file"}},
           {{"check", "empty"}, {"empty", "no experiment"}},
           {{"check", "e.json", "--jobs", "0"}, {"--jobs", "0"}},
       }) {
    std::string shown;
    for (const std::string& a : bad.arguments) shown += "\"" + a + "\" ";
    check_refused(shown, bad.arguments, folder.path(), bad.fragments);
  }

  // What comes after an input that is wrong is not run either.
  folder.write("bad.json", "{");
  check_refused("a later file", {"check", "e.json", "bad.json"}, folder.path(), {"bad.json"});
}

TEST_CASE("cli: what a Wi-Fi link does not take") {
  const std::string wifi = R"({"/platform": ")" + (kSources / "tests/fixtures/wifi.xml").string() +
                           R"(", "/sources": "fast", "/policies": [{"name": "device_only"}], )";
  const std::string trace = wifi + R"("/links": {"air": {"bandwidth_trace": {"file": "trace.txt"}}}})",
                    radio = wifi + R"("/links": {"air": {"radio": {"from": "fast", "to": "slow"}}}})",
                    change = wifi + R"("/changes": [{"at": "1s", "link": "air", "bandwidth": "1Mbps"}]})",
                    routing = wifi + R"("/routing": "ad_hoc"})";
  check_refused({
      {"a trace", trace.c_str(), {"e.json: /links/air/bandwidth_trace: ", "rates do not change"}},
      {"a radio", radio.c_str(), {"e.json: /links/air/radio: ", "rates do not change"}},
      {"a change", change.c_str(), {"e.json: /changes/0/bandwidth: ", "rates do not change"}},
      {"ad-hoc routing", routing.c_str(), {"e.json: /routing: ", "\"air\" is a Wi-Fi link"}},
  });
}
