#include "sim/calibration_fit.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/error.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

using Models = std::map<std::string, LayerGraph>;
using Devices = std::map<std::string, DeviceType>;

Models models(const std::vector<std::string>& names) {
  Models out;
  for (const std::string& name : names) {
    LayerGraph graph = LayerGraph::load(kSources / "workloads" / (name + ".json"));
    out.emplace(graph.name(), std::move(graph));
  }
  return out;
}

const std::vector<std::string> kModels{"alexnet",      "vgg16",     "resnet18",     "resnet50",
                                       "mobilenet_v1", "googlenet", "densenet121",  "squeezenet_v1_0",
                                       "mobilenet_v2", "vgg11",     "inception_v3", "shufflenet_v2"};

// A device of one GPU and one CPU.
DeviceType device(const std::string& name, double gpu_flop_per_s, double bandwidth_bytes_per_s) {
  DeviceType out;
  out.name = name;
  out.memory_bandwidth_bytes_per_s = Measured{bandwidth_bytes_per_s, "test"};
  Processor gpu, cpu;
  gpu.device_class = DeviceClass::kDesktopGpu;
  gpu.peak_flop_per_s = {{"fp32", {gpu_flop_per_s, "test"}}, {"fp16", {2 * gpu_flop_per_s, "test"}}};
  cpu.device_class = DeviceClass::kDesktopCpu;
  cpu.cores = 8;
  cpu.peak_flop_per_s = {{"fp32", {gpu_flop_per_s / 10, "test"}}};
  out.processors = {{"gpu", gpu}, {"cpu", cpu}};
  out.default_processor = "gpu";
  out.default_precision = "fp32";
  return out;
}

Devices devices() {
  Devices out;
  for (const auto& [name, speed, bandwidth] : {std::tuple{"a", 5e12, 200e9}, std::tuple{"b", 10e12, 500e9},
                                               std::tuple{"c", 14e12, 900e9}, std::tuple{"d", 2e12, 80e9}}) {
    out.emplace(name, device(name, speed, bandwidth));
  }
  return out;
}

// What all GPUs of the test really do; factors from what the fit starts from: 0.7 to 1.6.
struct Truth {
  double conv_first = 0.05, conv_1x1 = 0.3, conv_3x3 = 0.4, conv_strided = 0.16, conv_large = 0.15,
         depthwise = 0.04, fc = 0.25, memory = 0.7;
  double layer_s = 25e-6, operator_s = 15e-6, run_s = 150e-6;
};

// The latency by the formula of Roofline's documentation, written once more.
double true_latency_s(const Truth& truth, const LayerGraph& graph, double speed, double bandwidth,
                      double bytes_per_element, int batch) {
  double seconds = truth.run_s;
  for (const LayerId id : graph.exit_layers(static_cast<int>(graph.exits().size()) - 1)) {
    const WorkKind kind = work_kind(graph, id);
    if (kind == WorkKind::kElementwise) continue;
    const std::map<WorkKind, double> efficiency{{WorkKind::kConvFirst, truth.conv_first},
                                                {WorkKind::kConv1x1, truth.conv_1x1},
                                                {WorkKind::kMatrix, truth.conv_1x1},
                                                {WorkKind::kConv3x3, truth.conv_3x3},
                                                {WorkKind::kConvStrided, truth.conv_strided},
                                                {WorkKind::kConvLarge, truth.conv_large},
                                                {WorkKind::kDepthwiseConv, truth.depthwise},
                                                {WorkKind::kOperator, truth.depthwise},
                                                {WorkKind::kFc, truth.fc},
                                                {WorkKind::kRecurrent, truth.fc}};
    const double arithmetic_s = batch * graph.layer(id).work_flop / (speed * efficiency.at(kind));
    const double memory_s = graph.traffic_bytes(id, batch) * (bytes_per_element / graph.bytes_per_element()) /
                            (bandwidth * truth.memory);
    seconds += std::max(arithmetic_s, memory_s) +
               graph.layer(id).steps * (kind == WorkKind::kOperator ? truth.operator_s : truth.layer_s);
  }
  return seconds;
}

// What would be measured on the GPUs: every model on every device, at fp32 in batches of 1 and 16.
std::vector<MeasuredLatency> measurements(const Models& graphs, const Devices& types) {
  const Truth truth;
  std::vector<MeasuredLatency> rows;
  for (const auto& [name, type] : types) {
    for (const auto& [model, graph] : graphs) {
      for (const int batch : {1, 16}) {
        MeasuredLatency row;
        row.device = name;
        row.processor = "gpu";
        row.precision = "fp32";
        row.runtime = "Runtime 1";
        row.model = model;
        row.batch = batch;
        row.latency_s = true_latency_s(truth, graph, *type.processors.at("gpu").peak("fp32"),
                                       type.memory_bandwidth_bytes_per_s->value, 4, batch);
        row.source = "test";
        row.line = static_cast<int>(rows.size()) + 2;
        rows.push_back(row);
      }
    }
  }
  return rows;
}

CalibrationResult fit(const std::vector<MeasuredLatency>& rows, const Devices& types, const Models& graphs,
                      bool cross_validate) {
  return calibrate(rows, "m.csv", types, graphs, {.cross_validate = cross_validate, .progress = {}});
}

double predicted_s(const Calibration& calibration, const DeviceType& type, const LayerGraph& graph,
                   int batch) {
  const DeviceProfile profile = calibration.find(type, {}, "test");
  const auto layers = graph.exit_layers(static_cast<int>(graph.exits().size()) - 1);
  double seconds = profile.roofline.run_s(graph, layers);
  for (const LayerId id : layers)
    seconds += profile.roofline.layer_s(graph, id, profile.speed_flop_per_s, batch);
  return seconds;
}

std::string error_of(const std::vector<MeasuredLatency>& rows, const Devices& types, const Models& graphs) {
  try {
    fit(rows, types, graphs, false);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

// The left-out prediction of one model's batch on one device.
double left_out_s(const CalibrationResult& result, const std::string& type, const std::string& model,
                  int batch) {
  for (const LeftOut& l : result.left_out) {
    if (l.row->device == type && l.row->model == model && l.row->batch == batch) return l.predicted_s;
  }
  FAIL("was not left out");
  return 0;
}

// Where two documents differ by more than `tolerance`, relative; "" where nowhere.
std::string difference(const Json& a, const Json& b, double tolerance, const std::string& at = "") {
  if (a.is_number() && b.is_number()) {
    const double x = a.get<double>(), y = b.get<double>();
    return std::abs(x - y) <= tolerance * std::max(std::abs(x), std::abs(y)) ? "" : at;
  }
  if (a.type() != b.type() || a.size() != b.size()) return at + " (another form)";
  if (!a.is_structured()) return a == b ? "" : at;
  if (a.is_array()) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      const std::string inside = difference(a[i], b[i], tolerance, at + "/" + std::to_string(i));
      if (!inside.empty()) return inside;
    }
    return "";
  }
  for (const auto& [key, value] : a.items()) {
    if (!b.contains(key)) return at + "/" + key + " (missing)";
    const std::string inside = difference(value, b[key], tolerance, at + "/" + key);
    if (!inside.empty()) return inside;
  }
  return "";
}

}  // namespace

TEST_CASE("calibration fit: what a known truth generated is found again") {
  const Models graphs = models(kModels);
  const Devices types = devices();
  const std::vector<MeasuredLatency> rows = measurements(graphs, types);
  REQUIRE(rows.size() == 4 * 12 * 2);
  const CalibrationResult result = fit(rows, types, graphs, true);
  const Calibration calibration = Calibration::parse(result.json, "fit");

  // The rows agree to the last digit with one set of efficiencies, so what is left is the pull of the
  // guesses.
  std::vector<double> errors;
  for (const MeasuredLatency& row : rows) {
    const double s = predicted_s(calibration, types.at(row.device), graphs.at(row.model), row.batch);
    errors.push_back(std::abs(s / row.latency_s - 1));
  }
  std::ranges::sort(errors);
  CHECK(errors[errors.size() / 2] < 0.01);
  CHECK(errors.back() < 0.03);

  // Left out, a model or a device is predicted nearly as well: there is nothing special about any.
  const Json& over_all = result.json["errors"]["over_all"];
  for (const std::string key : {"cpu_gpu/measured/batch_1", "cpu_gpu/measured/larger_batches"}) {
    INFO(key);
    CHECK(over_all[key]["count"] == 48);
    CHECK(over_all[key]["median"].get<double>() < 0.02);
    CHECK(over_all[key]["p90"].get<double>() < 0.10);
  }
  CHECK(over_all["cpu_gpu/class/batch_1"]["count"] == 48);
  CHECK(over_all["cpu_gpu/class/batch_1"]["median"].get<double>() < 0.03);
  CHECK_FALSE(over_all.contains("repeats"));
  CHECK_FALSE(over_all.contains("low_confidence"));
  CHECK(result.left_out.size() == rows.size());
  for (const LeftOut& l : result.left_out) CHECK(l.device_class == DeviceClass::kDesktopGpu);

  // What many rows depend on is found itself: within a tenth.
  const Json& gpu = result.json["classes"]["desktop_gpu"];
  for (const Calibration::Profile& p : calibration.profiles()) {
    CHECK(p.models == 12);
    CHECK(p.measurements == 24);
    CHECK(p.sure);
    CHECK(p.slowdown == doctest::Approx(1).epsilon(0.1));
    const DeviceProfile profile = calibration.find(types.at(p.device), {}, "test");
    CHECK(profile.roofline.efficiency[static_cast<std::size_t>(WorkKind::kConv3x3)] ==
          doctest::Approx(Truth{}.conv_3x3).epsilon(0.1));
    CHECK(profile.roofline.efficiency[static_cast<std::size_t>(WorkKind::kConv1x1)] ==
          doctest::Approx(Truth{}.conv_1x1).epsilon(0.1));
  }
  CHECK(gpu["runtimes"].size() == 1);
  CHECK(gpu["runtimes"].contains("Runtime/fp32"));
  CHECK(gpu["devices"].size() == 4);
}

TEST_CASE("calibration fit: a runtime twice as slow is told from the others, where it was never measured") {
  const Models graphs = models({"alexnet", "vgg16", "resnet18", "resnet50", "googlenet", "squeezenet_v1_0"});
  const Devices types = devices();
  // "Slow" takes twice as long for everything, on three of the four devices.
  std::vector<MeasuredLatency> rows = measurements(graphs, types);
  std::vector<MeasuredLatency> slow;
  for (MeasuredLatency row : rows) {
    if (row.device == "d") continue;
    row.runtime = "Slow";
    row.latency_s *= 2;
    slow.push_back(row);
  }
  rows.insert(rows.end(), slow.begin(), slow.end());
  const Calibration calibration = Calibration::parse(fit(rows, types, graphs, false).json, "fit");
  const DeviceProfile expected = calibration.find(types.at("d"), {"", "", "slow", 0}, "test");
  CHECK(expected.basis == ProfileBasis::kDeviceMeasured);
  const DeviceProfile known = calibration.find(types.at("d"), {}, "test");
  CHECK(known.basis == ProfileBasis::kMeasured);
  for (const std::string name : {"vgg16", "resnet50"}) {
    const LayerGraph& graph = graphs.at(name);
    double slow_s = 0, known_s = 0;
    for (const LayerId id : graph.exit_layers(0)) {
      slow_s += expected.roofline.layer_s(graph, id, expected.speed_flop_per_s);
      known_s += known.roofline.layer_s(graph, id, known.speed_flop_per_s);
    }
    INFO(name);
    CHECK(slow_s / known_s == doctest::Approx(2).epsilon(0.15));
  }
}

TEST_CASE("calibration fit: what is left out cannot pull its own prediction") {
  const Models graphs = models({"alexnet", "vgg16", "resnet18", "googlenet", "squeezenet_v1_0"});
  const Devices types = devices();
  std::vector<MeasuredLatency> honest;
  for (const MeasuredLatency& row : measurements(graphs, types)) {
    // Of b two models only, so that each of them counts.
    if (row.device != "b" || row.model == "resnet18" || row.model == "vgg16") honest.push_back(row);
  }
  for (const double factor : {3.0, 100.0}) {
    INFO(factor);
    std::vector<MeasuredLatency> wrong = honest;
    for (MeasuredLatency& row : wrong) {
      if (row.device == "b" && row.model == "resnet18") row.latency_s *= factor;
    }
    const CalibrationResult before = fit(honest, types, graphs, true),
                            after = fit(wrong, types, graphs, true);
    // Fitted, they pull: what the calibration says of the model on the device follows them.
    const auto fitted_s = [&](const CalibrationResult& result, int batch) {
      return predicted_s(Calibration::parse(result.json, "fit"), types.at("b"), graphs.at("resnet18"), batch);
    };
    for (const int batch : {1, 16}) {
      INFO(batch);
      CHECK(fitted_s(after, batch) > 1.1 * fitted_s(before, batch));
      // Left out, they do not; and the device's other model, left out, is predicted from them.
      CHECK(left_out_s(after, "b", "resnet18", batch) ==
            doctest::Approx(left_out_s(before, "b", "resnet18", batch)).epsilon(1e-3));
      CHECK(left_out_s(after, "b", "vgg16", batch) > 1.1 * left_out_s(before, "b", "vgg16", batch));
    }
  }
}

TEST_CASE("calibration fit: a profile or a device left out whole cannot pull its own prediction") {
  const Models graphs = models({"alexnet", "vgg16", "resnet18", "googlenet", "squeezenet_v1_0"});
  const Devices types = devices();
  // Only b is measured in batches of 16, so that the errors of larger batches are its own.
  const auto errors = [&](double factor) {
    std::vector<MeasuredLatency> rows;
    for (MeasuredLatency& row : measurements(graphs, types)) {
      if ((row.device == "b") != (row.batch == 16)) continue;
      if (row.device == "b") row.latency_s *= factor;
      rows.push_back(row);
    }
    return fit(rows, types, graphs, true).json["errors"]["over_all"];
  };
  const Json honest = errors(1), wrong = errors(3);
  for (const std::string basis : {"class", "device_measured"}) {
    INFO(basis);
    const std::string key = "cpu_gpu/" + basis + "/larger_batches";
    REQUIRE(honest[key]["count"] == 5);
    const double error = honest[key]["p90"];
    CHECK(error < 0.1);
    // Predictions p stay, measurements m become 3 m: p / (3 m) - 1, where p / m lies within 1 -+ error.
    CHECK(wrong[key]["median"].get<double>() > 1 - (1 + error) / 3);
    CHECK(wrong[key]["median"].get<double>() < 1 - (1 - error) / 3);
  }
}

TEST_CASE("calibration fit: rows of low confidence are predicted, never fitted") {
  const Models graphs = models({"alexnet", "vgg16", "resnet18"});
  const Devices types = devices();
  const std::vector<MeasuredLatency> rows = measurements(graphs, types);
  std::vector<MeasuredLatency> more = rows;
  for (const std::string runtime : {"Runtime 1", "Other"}) {
    more.push_back(rows[0]);
    more.back().confidence = Confidence::kLow;
    more.back().runtime = runtime;
    more.back().latency_s *= 50;
  }
  const Json plain = fit(rows, types, graphs, true).json, doubtful = fit(more, types, graphs, true).json;
  CHECK(plain["classes"] == doubtful["classes"]);
  CHECK(plain["profiles"] == doubtful["profiles"]);
  // Half a hundredth of what is claimed is predicted: an error of 0.98.
  const Json& low = doubtful["errors"]["over_all"]["low_confidence"];
  CHECK(low["count"] == 2);
  CHECK(low["median"].get<double>() == doctest::Approx(0.98).epsilon(0.01));
  // Two measurements of the same, one 50 times the other: they differ by 49.
  CHECK(doubtful["errors"]["over_all"]["repeats"] == Json{{"count", 1}, {"median", 49.0}, {"p90", 49.0}});
  // Medium confidence is fitted, and its profile says so.
  std::vector<MeasuredLatency> medium = rows;
  for (MeasuredLatency& row : medium) {
    if (row.device == "a") row.confidence = Confidence::kMedium;
  }
  const Json other = fit(medium, types, graphs, false).json;
  for (const Json& profile : other["profiles"]) {
    CHECK(profile["confidence"] == (profile["device"] == "a" ? "medium" : "high"));
  }
}

TEST_CASE("calibration fit: profiles of one model are not cross-validated with their device") {
  const Models graphs = models({"alexnet", "vgg16"});
  const Devices types = devices();
  std::vector<MeasuredLatency> rows;
  for (const MeasuredLatency& row : measurements(graphs, types)) {
    if (row.device != "a" || row.model == "vgg16") rows.push_back(row);
  }
  const CalibrationResult result = fit(rows, types, graphs, true);
  for (const LeftOut& l : result.left_out) CHECK(l.row->device != "a");
  CHECK(result.json["errors"]["over_all"]["cpu_gpu/measured/batch_1"]["count"] == 6);
  CHECK(result.json["errors"]["over_all"]["cpu_gpu/class/batch_1"]["count"] == 7);
  for (const Json& profile : result.json["profiles"]) {
    CHECK(profile.contains("errors") == (profile["device"] != "a"));
  }
}

TEST_CASE("calibration fit: progress counts every refit") {
  const Models graphs = models({"alexnet", "vgg16"});
  const Devices types = devices();
  std::vector<std::pair<int, int>> calls;
  calibrate(measurements(graphs, types), "m.csv", types, graphs,
            {.progress = [&](int done, int total) { calls.emplace_back(done, total); }});
  // 4 profiles of 2 models, then each of the 4 profiles, then each of the 4 devices: 16.
  REQUIRE(calls.size() == 16);
  for (std::size_t i = 0; i < calls.size(); ++i) CHECK(calls[i] == std::pair(static_cast<int>(i) + 1, 16));
}

TEST_CASE("calibration fit: nothing measured leaves the guesses") {
  const Json json = fit({}, devices(), models({"alexnet"}), true).json;
  const Calibration calibration = Calibration::parse(json, "fit");
  CHECK(calibration.profiles().empty());
  const DeviceProfile profile = calibration.find(devices().at("a"), {}, "test");
  CHECK(profile.basis == ProfileBasis::kClass);
  CHECK(profile.roofline.efficiency[static_cast<std::size_t>(WorkKind::kConv1x1)] ==
        doctest::Approx(0.2).epsilon(1e-4));
}

TEST_CASE("calibration fit: rows of what is unknown are refused at their line") {
  const Models graphs = models({"alexnet", "vgg16"});
  const Devices types = devices();
  const std::vector<MeasuredLatency> good = measurements(graphs, types);
  const auto with = [&](const auto& change) {
    std::vector<MeasuredLatency> rows = good;
    change(rows[2]);  // of line 4
    return error_of(rows, types, graphs);
  };
  CHECK(with([](MeasuredLatency& r) {
          r.device = "e";
        }).starts_with("m.csv: line 4: no device \"e\"; valid: a, b, c, d"));
  CHECK(with([](MeasuredLatency& r) {
          r.processor = "npu";
        }).starts_with("m.csv: line 4: a has no processor \"npu\"; valid: cpu, gpu"));
  CHECK(with([](MeasuredLatency& r) {
          r.precision = "fp64";
        }).starts_with("m.csv: line 4: the gpu of a has no peak at \"fp64\"; valid: "));
  CHECK(with([](MeasuredLatency& r) { r.precision = "FP32"; }).ends_with("did you mean \"fp32\"?"));
  CHECK(with([](MeasuredLatency& r) {
          r.model = "alexnte";
        }).starts_with("m.csv: line 4: no model \"alexnte\"; valid: alexnet, vgg16"));
  // Doubtful rows as well.
  CHECK(with([](MeasuredLatency& r) {
          r.confidence = Confidence::kLow;
          r.model = "vgg61";
        }).starts_with("m.csv: line 4: no model \"vgg61\""));
}

TEST_CASE("calibration fit: the same rows give the same file") {
  const Models graphs = models({"alexnet", "vgg16", "resnet18"});
  const Devices types = devices();
  const std::vector<MeasuredLatency> rows = measurements(graphs, types);
  const std::string once = fit(rows, types, graphs, true).json.dump();
  CHECK(fit(rows, types, graphs, true).json.dump() == once);
  CHECK(Calibration::parse(parse_json(once, "fit"), "fit").profiles().size() == 4);
}

TEST_CASE("calibration fit: the report is as wide as a terminal and says where there is none") {
  const Models graphs = models({"alexnet", "vgg16"});
  const Devices types = devices();
  const std::vector<MeasuredLatency> rows = measurements(graphs, types);
  CHECK(calibration_text(fit(rows, types, graphs, false).json) ==
        "this calibration was written without cross-validation\n");
  const std::string text = calibration_text(fit(rows, types, graphs, true).json);
  for (const std::string& line : split_lines(text)) CHECK(line.size() <= 100);
  for (const std::string word : {"CPU and GPU, batch 1", "desktop_gpu", "a/gpu", "d/gpu", "npu"}) {
    INFO(word);
    CHECK(text.find(word) != text.npos);
  }
}

TEST_CASE("calibration fit: the bundled calibration is a fit of the bundled measurements") {
  const Devices types = load_hardware(kSources / "platforms/hardware.json");
  const auto rows = load_measured_latencies(kSources / "platforms/measured_latency.csv");
  std::set<std::string> names;
  for (const MeasuredLatency& row : rows) names.insert(row.model);
  const Models graphs = models(std::vector(names.begin(), names.end()));
  const Json fresh = fit(rows, types, graphs, false).json;
  Json bundled = read_json_file(kSources / "platforms/calibration.json");
  CHECK(bundled["source"] == fresh["source"]);
  // Without cross-validation there are no errors.
  for (auto& [name, entry] : bundled["classes"].items()) entry.erase("errors");
  for (Json& profile : bundled["profiles"]) profile.erase("errors");
  CHECK(difference(bundled["classes"], fresh["classes"], 1e-3) == "");
  CHECK(difference(bundled["profiles"], fresh["profiles"], 1e-3) == "");
  // Every profile is that of a row.
  std::set<std::string> measured;
  for (const MeasuredLatency& row : rows) measured.insert(row.device + "/" + row.processor);
  for (const Json& profile : bundled["profiles"]) {
    CHECK(measured.contains(profile["device"].get<std::string>() + "/" +
                            profile["processor"].get<std::string>()));
  }
}

TEST_CASE("calibration fit: the errors of the bundled calibration are within their limits") {
  const Json errors = read_json_file(kSources / "platforms/calibration.json")["errors"]["over_all"];
  const auto within = [&](const char* key, double median, double p90) {
    INFO(key);
    REQUIRE(errors.contains(key));
    CHECK(errors[key]["count"].get<int>() >= 100);
    CHECK(errors[key]["median"].get<double>() <= median);
    CHECK(errors[key]["p90"].get<double>() <= p90);
  };
  within("cpu_gpu/measured/batch_1", 0.15, 0.50);
  within("cpu_gpu/measured/larger_batches", 0.25, 0.60);
}
