// `cdisim latency`, `cdisim calibrate` and `cdisim platform`, run as people run them.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "tests/support.h"

using namespace cdisim;

namespace {

using Arguments = std::vector<std::string>;
using Keys = std::set<std::string>;

Keys keys(const Json& object) {
  Keys out;
  for (const auto& [key, value] : object.items()) out.insert(key);
  return out;
}

std::string joined(const Arguments& arguments) {
  std::string out;
  for (const std::string& a : arguments) out += "\"" + a + "\" ";
  return out;
}

// A run that must succeed in silence on stderr; its stdout.
std::string succeed(const Arguments& arguments, const fs::path& folder = kSources,
                    const std::string& cdisim_path = kSources) {
  const Finished done = run_cdisim(arguments, folder, cdisim_path);
  INFO(joined(arguments));
  CHECK(done.code == 0);
  CHECK(done.err == "");
  return done.out;
}

Json succeed_json(Arguments arguments, const fs::path& folder = kSources,
                  const std::string& path = kSources) {
  arguments.emplace_back("--json");
  return parse_json(succeed(arguments, folder, path), "stdout");
}

// Exit code 2, one line on stderr that holds the fragments, and nothing else.
void refuse(const Arguments& arguments, const std::vector<std::string>& fragments,
            const fs::path& folder = kSources, const std::string& cdisim_path = kSources) {
  const Finished done = run_cdisim(arguments, folder, cdisim_path);
  INFO(joined(arguments), "stderr: ", done.err);
  CHECK(done.code == 2);
  CHECK(done.out == "");
  CHECK(done.err.starts_with("cdisim: error: "));
  CHECK(std::ranges::count(done.err, '\n') == 1);
  for (const std::string& fragment : fragments) {
    INFO(fragment);
    CHECK(done.err.find(fragment) != done.err.npos);
  }
}

void check_width(const std::string& text) {
  for (const std::string& line : split_lines(text)) {
    INFO(line);
    CHECK(std::ranges::count_if(line, [](char c) { return (c & 0xc0) != 0x80; }) <= 100);
  }
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

// A CDISIM_PATH whose devices and calibration are the fixture's.
std::string fixture_path(const TempFolder& folder, const std::string& patch = "{}") {
  folder.write("platforms/hardware.json", slurp(kFixtures / "calibrated" / "hardware.json"));
  folder.write("platforms/calibration.json", patched(kFixtures / "calibrated" / "calibration.json", patch));
  folder.write("workloads/chain3.json", slurp(kFixtures / "chain3.json"));
  return folder.path().string();
}

const std::string kMeasuredHeader =
    "device,processor,threads,precision,runtime,model,batch,latency_ms,confidence,source,note\n";

}  // namespace

TEST_CASE("cli latency: the fixture by pencil") {
  const TempFolder folder;
  const std::string path = fixture_path(folder);
  // phone's CPU: fc at 1 / 80 of 100 Gflop/s, 1 GB/s, 50 us a layer, 1 ms a run (see calibration_test.cpp).
  // fc_1: 0.8 ms against 2.006 MB: 2.006 ms; fc_2 the same; fc_3: 0.4 ms against 1.005 MB: 1.005 ms. With
  // overheads 1 + 2.056 + 2.056 + 1.055 = 6.167 ms; at 5 W 30.835 mJ.
  const Json out = succeed_json({"latency", "chain3", "phone"}, folder.path(), path);
  CHECK(out["latency_s"].get<double>() == doctest::Approx(6.167e-3).epsilon(1e-9));
  CHECK(out["run_overhead_s"].get<double>() == doctest::Approx(1e-3).epsilon(1e-9));
  CHECK(out["energy_j"].get<double>() == doctest::Approx(30.835e-3).epsilon(1e-9));
  CHECK(out["throughput_per_s"].get<double>() == doctest::Approx(1 / 6.167e-3).epsilon(1e-9));
  REQUIRE(out["layers"].size() == 3);
  CHECK(out["layers"][2]["latency_s"].get<double>() == doctest::Approx(1.055e-3).epsilon(1e-9));
  CHECK(out["layers"][2]["macs"] == 250'000);
  // A batch of 4: 3.2 ms of arithmetic against (2 MB + 4 * 6 kB) 2.024 ms; twice; 1.6 ms against 1.02 ms.
  const Json four = succeed_json({"latency", "chain3", "phone", "--batch", "4"}, folder.path(), path);
  CHECK(four["batch"] == 4);
  CHECK(four["latency_s"].get<double>() == doctest::Approx(1e-3 + 8e-3 + 150e-6).epsilon(1e-9));
  CHECK(four["throughput_per_s"].get<double>() == doctest::Approx(4 / 9.15e-3).epsilon(1e-9));
  // Without a known power there is no energy, without comparisons no error.
  const Json unknown = succeed_json({"latency", "chain3", "laptop"}, folder.path(), path);
  CHECK(unknown["energy_j"].is_null());
  CHECK(unknown["expected_error"].is_null());
  CHECK(unknown["profile"]["runtime"].is_null());
  CHECK(unknown["profile"]["threads"].is_null());
  const std::string text = succeed({"latency", "chain3", "laptop"}, folder.path(), path);
  CHECK_FALSE(holds(text, "energy"));
  CHECK_FALSE(holds(text, "error to expect"));
  CHECK(holds(text, "not measured: efficiencies of its class, mobile_cpu"));
}

TEST_CASE("cli latency: the keys of the JSON, and layers that add up") {
  const Json out = succeed_json({"latency", "vgg16", "raspberry_pi_4b"});
  CHECK(keys(out) == Keys{"model", "device", "batch", "latency_s", "throughput_per_s", "energy_j",
                          "run_overhead_s", "profile", "expected_error", "layers"});
  CHECK(keys(out["profile"]) ==
        Keys{"processor", "precision", "runtime", "threads", "class", "basis", "models"});
  CHECK(keys(out["expected_error"]) == Keys{"count", "median", "p90"});
  CHECK(out["model"] == "vgg16");
  CHECK(out["device"] == "raspberry_pi_4b");
  CHECK(out["batch"] == 1);
  CHECK(out["profile"]["processor"] == "cpu");
  CHECK(out["profile"]["precision"] == "fp32");
  CHECK(out["profile"]["class"] == "mobile_cpu");
  double sum_s = out["run_overhead_s"];
  for (const Json& layer : out["layers"]) {
    CHECK(keys(layer) == Keys{"name", "kind", "macs", "latency_s"});
    CHECK(layer["latency_s"].get<double>() >= 0);
    sum_s += layer["latency_s"].get<double>();
  }
  CHECK(out["latency_s"].get<double>() == doctest::Approx(sum_s).epsilon(1e-9));
  CHECK(out["energy_j"].get<double>() > 0);
  // Names as people write them.
  CHECK(succeed_json({"latency", "VGG-16", "Raspberry Pi-4B"}) == out);
  CHECK(succeed_json({"latency", (kSources / "workloads/vgg16.json").string(), "raspberry_pi_4b"}) == out);
  CHECK(succeed_json({"latency", "vgg16", "raspberry_pi_4b"}, "/") == out);
}

TEST_CASE("cli latency: the options choose the profile") {
  const auto profile = [](Arguments more) {
    Arguments arguments{"latency", "resnet50", "jetson_agx_xavier"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return succeed_json(arguments);
  };
  CHECK(profile({})["profile"]["processor"] == "gpu");
  CHECK(profile({"--processor", "cpu"})["profile"]["processor"] == "cpu");
  CHECK(profile({"--processor", "cpu"})["profile"]["class"] == "mobile_cpu");
  CHECK(profile({"--precision", "fp32"})["profile"]["precision"] == "fp32");
  CHECK(profile({"--processor", "cpu", "--threads", "1"})["profile"]["threads"] == 1);
  const std::string runtime = profile({"--runtime", "tensorrt"})["profile"]["runtime"];
  CHECK(runtime.starts_with("TensorRT"));
  CHECK(profile({"--batch", "32"})["batch"] == 32);
  CHECK(profile({"--batch", "32"})["latency_s"] > profile({})["latency_s"]);
  CHECK(profile({"--processor", "cpu", "--threads", "1"})["latency_s"] >
        profile({"--processor", "cpu", "--threads", "8"})["latency_s"]);
}

TEST_CASE("cli latency: tables") {
  const std::string text = succeed({"latency", "vgg16", "raspberry_pi_4b"});
  check_width(text);
  for (const std::string part : {"vgg16 on raspberry_pi_4b: ", "profile: cpu, fp32, ", "energy: ", " W\n",
                                 "error to expect: ", "for a batch of 1"}) {
    INFO(part);
    CHECK(holds(text, part));
  }
  CHECK_FALSE(holds(text, "conv1_1"));
  const std::string layers = succeed({"latency", "vgg16", "raspberry_pi_4b", "--layers"});
  check_width(layers);
  CHECK(layers.starts_with(text));
  const Json json = succeed_json({"latency", "vgg16", "raspberry_pi_4b"});
  for (const Json& layer : json["layers"]) CHECK(holds(layers, layer["name"].get<std::string>()));
  CHECK(holds(layers, "(run)"));
  for (const std::string device : {"honor_magic3", "edge_tpu", "jetson_tx2_4gb", "google_glass_ee2"}) {
    check_width(succeed({"latency", "eng acoustic model", device}));
  }
}

TEST_CASE("cli latency: everything on everything") {
  const Json models = succeed_json({"list", "models"}), devices = succeed_json({"list", "devices"});
  const Json all = succeed_json({"latency", "--all"});
  REQUIRE(all.size() == models.size() * devices.size());
  std::set<std::pair<std::string, std::string>> pairs;
  for (const Json& entry : all) {
    CHECK_FALSE(entry.contains("layers"));
    const double seconds = entry["latency_s"];
    INFO(entry["model"].get<std::string>(), " on ", entry["device"].get<std::string>());
    CHECK(std::isfinite(seconds));
    CHECK(seconds > 0);
    pairs.emplace(entry["model"], entry["device"]);
  }
  CHECK(pairs.size() == all.size());
  // One of them is what the command says of it alone.
  const Json one = succeed_json({"latency", "vgg16", "v100"});
  const auto same = std::ranges::find_if(
      all, [](const Json& entry) { return entry["model"] == "vgg16" && entry["device"] == "v100"; });
  REQUIRE(same != all.end());
  CHECK((*same)["latency_s"] == one["latency_s"]);

  const Json row = succeed_json({"latency", "vgg16", "--all", "--batch", "2", "--layers"});
  CHECK(row.size() == devices.size());
  CHECK(row[0]["batch"] == 2);
  CHECK(row[0].contains("layers"));

  const std::string table = succeed({"latency", "--all"});
  check_width(table);
  for (const Json& device : devices) {
    CHECK(holds(table, device["name"].get<std::string>()));
  }
  for (const Json& model : models) {
    INFO(model["name"].get<std::string>());
    CHECK(holds(table, model["name"].get<std::string>()));
  }
  // Asked for a processor, the devices that have it.
  const Json npus = succeed_json({"latency", "mobilenet_v1", "--all", "--processor", "npu"});
  CHECK(!npus.empty());
  CHECK(npus.size() < devices.size());
  for (const Json& entry : npus) CHECK(entry["profile"]["class"] == "npu");
}

TEST_CASE("cli latency: what is refused") {
  refuse({"latency"}, {"latency: ", "model and a device", "--all"});
  refuse({"latency", "vgg16"}, {"model and a device"});
  refuse({"latency", "vgg61", "v100"}, {"\"vgg61\" is no model", "did you mean"});
  refuse({"latency", "vgg16", "v10"}, {"no device \"v10\"", "did you mean \"v100\"?"});
  refuse({"latency", "vgg16", "v100", "--all"}, {"--all takes no device"});
  refuse({"latency", "vgg16", "v100", "--processor", "gpuu"}, {"\"gpuu\"", "did you mean \"gpu\"?"});
  refuse({"latency", "vgg16", "v100", "--precision", "fp12"}, {"\"fp12\"", "valid: "});
  refuse({"latency", "vgg16", "edge_tpu", "--precision", "fp32"}, {"edge_tpu", "\"fp32\"", "int8"});
  refuse({"latency", "vgg16", "v100", "--runtime", "TensorTR"},
         {"\"TensorTR\"", "did you mean \"TensorRT\"?"});
  refuse({"latency", "vgg16", "v100", "--batch", "0"}, {"--batch"});
  refuse({"latency", "vgg16", "v100", "--batch", "1.5"}, {"--batch"});
  refuse({"latency", "vgg16", "v100", "--batch", "1000001"}, {"--batch"});
  refuse({"latency", "vgg16", "v100", "--threads", "0"}, {"--threads"});
  refuse({"latency", "vgg16", "v100", "--jobs", "1"}, {"--jobs"});
  refuse({"latency", "vgg16", "v100", "resnet50"}, {"resnet50"});
  refuse({"latency", "none.json", "v100"}, {"none.json", "no such file"});
  refuse({"latency", (kSources / "README.md").string(), "v100"}, {"README.md"});
  refuse({"latency", "--all", "--processor", "tpu"}, {"latency: "});
}

TEST_CASE("cli latency: --all says which option no device can meet") {
  refuse({"latency", "--all", "--runtime", "TensorTR"}, {"runtime \"TensorTR\" is not calibrated"});
  refuse({"latency", "--all", "--processor", "gpu", "--runtime", "TensorTR"},
         {"runtime \"TensorTR\" is not calibrated"});
  refuse({"latency", "--all", "--precision", "fp32", "--runtime", "TensorTR"},
         {"runtime \"TensorTR\" is not calibrated"});
}

TEST_CASE("cli calibrate: the report of the calibration in use") {
  const std::string text = succeed({"calibrate", "--report"});
  check_width(text);
  for (const std::string part :
       {"CPU and GPU, batch 1", "desktop_gpu", "mobile_cpu", "npu", "repeats", "%"}) {
    INFO(part);
    CHECK(holds(text, part));
  }
  // The figures are the file's.
  const Json errors = read_json_file(kSources / "platforms/calibration.json")["errors"]["over_all"];
  const Json& first = errors["cpu_gpu/measured/batch_1"];
  char median[16];
  std::snprintf(median, sizeof median, "%.1f%%", 100 * first["median"].get<double>());
  std::string line;
  for (const std::string& l : split_lines(text)) {
    if (l.starts_with("CPU and GPU, batch 1")) line = l;
  }
  CHECK(holds(line, median));
  CHECK(holds(line, std::to_string(first["count"].get<int>())));
}

TEST_CASE("cli calibrate: a report of errors that are no errors is refused") {
  const TempFolder folder;
  CHECK(succeed({"calibrate", "--report"}, folder.path(), fixture_path(folder)) ==
        "this calibration was written without cross-validation\n");
  for (const std::string errors : {"{}", "5", R"({"over_all": {}})", R"({"over_all": 1, "devices": {}})",
                                   R"({"over_all": {"low_confidence": {}}, "devices": {}})"}) {
    refuse({"calibrate", "--report"}, {"calibration.json: /errors"}, folder.path(),
           fixture_path(folder, R"({"/errors": )" + errors + "}"));
  }
}

TEST_CASE("cli calibrate: a fast fit is written, valid and the bundled one's") {
  const TempFolder folder;
  const std::string shown = succeed({"calibrate", "--fast", "-o", "new.json"}, folder.path());
  CHECK(shown == "this calibration was written without cross-validation\n");
  const std::string valid = succeed({"validate", "new.json"}, folder.path());
  CHECK(valid.starts_with("new.json: valid: calibration, "));
  const Json written = read_json_file(folder / "new.json");
  CHECK(keys(written) == Keys{"schema", "source", "classes", "profiles"});
  CHECK(written["profiles"].size() ==
        read_json_file(kSources / "platforms/calibration.json")["profiles"].size());
  // The same again, to the letter; as JSON the same document.
  CHECK(succeed({"calibrate", "--fast", "--quiet", "-o", "again.json"}, folder.path()) == "");
  CHECK(slurp(folder / "again.json") == slurp(folder / "new.json"));
  CHECK(succeed_json({"calibrate", "--fast"}, folder.path()) == written);
}

TEST_CASE("cli calibrate: measurements of one's own, with cross-validation") {
  const TempFolder folder;
  const std::string path = fixture_path(folder);
  folder.write("m.csv", kMeasuredHeader +
                            "phone,cpu,4,fp32,\"ncnn, tuned\",chain3,1,6,high,mine,\n"
                            "phone,cpu,4,fp32,\"ncnn, tuned\",chain3,4,9,high,mine,\n"
                            "laptop,cpu,,fp32,ncnn,chain3,1,20,low,mine,\n");
  const std::string text =
      succeed({"calibrate", "m.csv", "-o", "c.json", "--left-out", "l.csv"}, folder.path(), path);
  check_width(text);
  CHECK(succeed({"validate", "c.json", "m.csv"}, folder.path(), path) ==
        "c.json: valid: calibration, 1 profiles\nm.csv: valid: measured latencies, 3 rows\n");
  const Json written = read_json_file(folder / "c.json");
  CHECK(keys(written) == Keys{"schema", "source", "classes", "profiles", "errors"});
  CHECK(written["profiles"][0]["runtime"] == "ncnn, tuned");
  CHECK(written["errors"]["over_all"]["low_confidence"]["count"] == 1);
  // One model only: nothing of its profile can be left out.
  CHECK(split_lines(slurp(folder / "l.csv")) ==
        std::vector<std::string>{"device,processor,threads,precision,runtime,model,batch,measured_ms,"
                                 "predicted_ms,relative_error"});
}

TEST_CASE("cli calibrate: what is left out is a table that says what it means") {
  const TempFolder folder;
  const std::string path = fixture_path(folder);
  folder.write("workloads/other.json", patched(kFixtures / "chain3.json", R"({"/name": "other"})"));
  folder.write("m.csv", kMeasuredHeader +
                            "phone,cpu,4,fp32,\"ncnn, \"\"tuned\"\"\",chain3,1,6,high,mine,\n"
                            "phone,cpu,4,fp32,\"ncnn, \"\"tuned\"\"\",other,1,8,high,mine,\n");
  succeed({"calibrate", "m.csv", "--quiet", "--left-out", "l.csv"}, folder.path(), path);
  const std::vector<std::string> lines = split_lines(slurp(folder / "l.csv"));
  REQUIRE(lines.size() == 3);
  for (std::size_t i = 1; i < 3; ++i) {
    INFO(lines[i]);
    const std::string begin = R"(phone,cpu,4,fp32,"ncnn, ""tuned""",)";
    REQUIRE(lines[i].starts_with(begin));
    char model[32];
    int batch = 0;
    double measured = 0, predicted = 0, error = 0;
    REQUIRE(std::sscanf(lines[i].c_str() + begin.size(), "%31[^,],%d,%lf,%lf,%lf", model, &batch, &measured,
                        &predicted, &error) == 5);
    CHECK(batch == 1);
    CHECK(measured == (std::string(model) == "other" ? 8 : 6));
    CHECK(error == doctest::Approx(predicted / measured - 1).epsilon(0.01));
  }
}

TEST_CASE("cli calibrate: bad measurements are refused and nothing is written") {
  const TempFolder folder;
  const std::string path = fixture_path(folder);
  const std::string good = "phone,cpu,4,fp32,ncnn,chain3,1,6,high,mine,\n";
  struct Bad {
    std::string text;
    std::vector<std::string> fragments;
  };
  for (const Bad& bad : std::vector<Bad>{
           {"device,model\n", {"m.csv: line 1: ", "header"}},
           {"", {"m.csv: ", "empty"}},
           {kMeasuredHeader + good + "phone,cpu,4,fp32,ncnn,chain3,1,fast,high,mine,\n",
            {"m.csv: line 3, latency_ms: \"fast\""}},
           {kMeasuredHeader + good + "phone,cpu,4,fp32,ncnn,chain3,1,6,high,,\n", {"line 3, source"}},
           {kMeasuredHeader + good + "phne,cpu,4,fp32,ncnn,chain3,1,6,high,mine,\n",
            {"m.csv: line 3: no device \"phne\"", "did you mean \"phone\"?"}},
           {kMeasuredHeader + good + "card,cpu,4,fp32,ncnn,chain3,1,6,high,mine,\n",
            {"m.csv: line 3: card has no processor \"cpu\"", "gpu"}},
           {kMeasuredHeader + good + "phone,npu,,fp64,ncnn,chain3,1,6,high,mine,\n",
            {"m.csv: line 3: ", "\"fp64\""}},
           {kMeasuredHeader + good + "phone,cpu,4,fp32,ncnn,chain4,1,6,high,mine,\n",
            {"m.csv: line 3: no model \"chain4\"", "did you mean \"chain3\"?"}},
           {kMeasuredHeader + good + "\"phone\n", {"m.csv: line 3: a quote is never closed"}}}) {
    folder.write("m.csv", bad.text);
    for (const bool fast : {true, false}) {
      Arguments arguments{"calibrate", "m.csv", "-o", "out.json"};
      for (const char* more :
           fast ? std::vector<const char*>{"--fast"} : std::vector<const char*>{"--left-out", "out.csv"})
        arguments.emplace_back(more);
      refuse(arguments, bad.fragments, folder.path(), path);
    }
    CHECK_FALSE(fs::exists(folder / "out.json"));
    CHECK_FALSE(fs::exists(folder / "out.csv"));
  }
  refuse({"calibrate", "none.csv"}, {"none.csv", "no such file"}, folder.path(), path);
  folder.write("m.csv", kMeasuredHeader + good);
  refuse({"calibrate", "m.csv", "--fast", "-o", "m.csv/out.json"}, {"m.csv/out.json", "written"},
         folder.path(), path);
  refuse({"calibrate", "--fast", "--left-out", "l.csv"}, {"--fast leaves nothing out"});
  folder.write("m.csv", kMeasuredHeader);
  refuse({"calibrate", "m.csv"}, {"m.csv: holds no row"}, folder.path(), path);
  refuse({"calibrate", "-o", ""}, {"--out"});
  refuse({"calibrate", "--left-out", ""}, {"--left-out"});
  refuse({"calibrate", "a.csv", "b.csv"}, {"b.csv"});
  refuse({"calibrate", "--fats"}, {"--fats"});
}

TEST_CASE("cli calibrate: a table without rows calibrates nothing") {
  const TempFolder folder;
  const std::string path = fixture_path(folder);
  folder.write("m.csv", kMeasuredHeader);
  refuse({"calibrate", "m.csv", "--fast", "-o", "out.json"}, {"m.csv: ", "no row"}, folder.path(), path);
  CHECK_FALSE(fs::exists(folder / "out.json"));
}

TEST_CASE("cli platform: a testbed that is valid") {
  const TempFolder folder;
  CHECK(succeed(
            {"platform", "--devices", "5", "--edges", "2", "--uavs", "2", "--access", "wifi", "-o", "p.xml"},
            folder.path()) == "");
  // 5 devices, 2 edges, 1 cloud and 2 UAVs.
  CHECK(succeed({"validate", "p.xml"}, folder.path()).starts_with("p.xml: valid: platform, 10 hosts, "));
  CHECK(succeed({"platform", "--devices", "5", "--edges", "2", "--uavs", "2"}, folder.path()) ==
        slurp(folder / "p.xml"));
  CHECK(succeed({"platform", "--devices", "1", "--edges", "0", "--clouds", "1", "--device", "jetson_nano",
                 "-o", "q.xml"},
                folder.path()) == "");
  CHECK(succeed({"validate", "q.xml"}, folder.path()).starts_with("q.xml: valid: platform, 2 hosts, "));
  CHECK(holds(slurp(folder / "q.xml"), "jetson_nano"));
}

TEST_CASE("cli platform: what is refused") {
  const TempFolder folder;
  struct Bad {
    Arguments options;
    std::vector<std::string> fragments;
  };
  for (const Bad& bad :
       std::vector<Bad>{{{"--devices", "-1"}, {"--devices", "-1"}},
                        {{"--devices", "many"}, {"--devices", "many"}},
                        {{"--devices", "1.5"}, {"--devices"}},
                        {{"--devices", "100000000"}, {"--devices"}},
                        {{"--edges", "-1"}, {"--edges", "-1"}},
                        {{"--devices", "0", "--edges", "0", "--clouds", "0"}, {"--devices"}},
                        {{"--access", "wfi"}, {"--access", "\"wfi\"", "did you mean \"wifi\"?"}},
                        {{"--backbone", "wann"}, {"--backbone", "\"wann\""}},
                        {{"--device", "raspberry_pi_4c"}, {"--device", "did you mean \"raspberry_pi_4b\"?"}},
                        {{"--edge-device", "x"}, {"--edge-device", "\"x\""}},
                        {{"--cloud-device", "x"}, {"--cloud-device", "\"x\""}},
                        {{"--uavs", "1", "--uav-device", "x"}, {"--uav-device", "\"x\""}},
                        {{"--sites", "2"}, {"--sites"}},
                        {{"5"}, {"5"}}}) {
    Arguments arguments{"platform"};
    arguments.insert(arguments.end(), bad.options.begin(), bad.options.end());
    arguments.insert(arguments.end(), {"-o", "out.xml"});
    refuse(arguments, bad.fragments, folder.path());
    CHECK_FALSE(fs::exists(folder / "out.xml"));
  }
  refuse({"platform", "-o", ""}, {"--out"});
  folder.write("file", "a regular file\n");
  refuse({"platform", "-o", "file/p.xml"}, {"file/p.xml", "written"}, folder.path());
}
