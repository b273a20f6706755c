#include "sim/latency_model.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "sim/calibration.h"
#include "sim/error.h"
#include "sim/hardware.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

const std::string kRoot = CDISIM_SOURCE_DIR;

Host host(const std::string& type, double speed_flop_per_s = 1e9) {
  Host out;
  out.name = "h";
  out.device_type = type;
  out.power_states = {{speed_flop_per_s, 0, 0, 0}};
  return out;
}

// A model "m" whose one device type "d" is `entry`; errors name the file "l".
LatencyModel model(const std::string& entry) {
  const std::string text = R"({"schema": 1, "name": "m", "devices": {"d": )" + entry + "}}";
  return LatencyModel::parse(parse_json(text, "l"), "l");
}

std::string model_error(const std::string& entry) {
  return error_of([&] { model(entry); });
}

LayerGraph fixture(const std::string& name) {
  return LayerGraph::load(kRoot + "/tests/fixtures/" + name);
}

// One conv of the input [2, 8, 8]: kernel 4 x 2, stride 2 x 1, 3 channels out: [3, 3, 7].
LayerGraph strided_conv() {
  return LayerGraph::parse(parse_json(R"({"schema": 1, "name": "g", "source": "test", "precision": "fp32",
    "input": {"shape": [2, 8, 8]}, "layers": [{"name": "c", "kind": "conv", "inputs": ["input"],
    "kernel": [4, 2], "stride": [2, 1], "output": [3, 3, 7]}]})",
                                      "g"),
                           "g");
}

}  // namespace

TEST_CASE("latency model: a host without device type is a roofline of its own speed") {
  const LayerGraph g = fixture("chain3.json");
  const LatencyModel m = model(R"({"kind": "roofline", "source": "test"})");
  // fc_1: 1 Mflop (500,000 MACs) at 1 Gflop/s; a mix-up of MAC and flop would give 0.5 ms.
  CHECK(m.layer_s(g, 0, host("")) == doctest::Approx(1e-3).epsilon(1e-12));
  CHECK(m.layer_s(g, 0, host(""), 8) == doctest::Approx(8e-3).epsilon(1e-12));
  CHECK(m.piece_s(g, g.exit_layers(0), host("")) == doctest::Approx(2.5e-3).epsilon(1e-12));
  CHECK(m.piece_s(g, {}, host("")) == 0);
}

TEST_CASE("latency model: roofline takes the slower of compute and memory") {
  const LayerGraph g = fixture("chain3.json");
  const LatencyModel m = model(R"({"kind": "roofline", "source": "test",
    "efficiency": {"fc": {"value": 0.25, "source": "test"}},
    "memory_bandwidth_bytes_per_s": {"value": 1e9, "source": "test"},
    "layer_overhead_s": {"value": 1e-5, "source": "test"}})");
  // fc_1 at 1 Gflop/s: 1e6 / (1e9 * 0.25) = 4 ms; memory (2e6 + 4000 + 2000) / 1e9 = 2.006 ms. Compute: 4.01
  // ms.
  CHECK(m.layer_s(g, 0, host("d")) == doctest::Approx(4.01e-3).epsilon(1e-12));
  // At 100 Gflop/s compute takes 0.04 ms, so memory decides: 2.006 + 0.01 ms; bits for bytes would give 16
  // ms.
  CHECK(m.layer_s(g, 0, host("d", 1e11)) == doctest::Approx(2.016e-3).epsilon(1e-12));
  // A batch of 10 reads its weights once: (2e6 + 10 * 6000) / 1e9 = 2.06 ms against 0.4 ms; overhead once.
  CHECK(m.layer_s(g, 0, host("d", 1e11), 10) == doctest::Approx(2.07e-3).epsilon(1e-12));
  // A batch of 100: 4 ms of compute against (2e6 + 600,000) / 1e9 = 2.6 ms.
  CHECK(m.layer_s(g, 0, host("d", 1e11), 100) == doctest::Approx(4.01e-3).epsilon(1e-12));
}

TEST_CASE("latency model: efficiencies by kind, others by \"other\"") {
  const LayerGraph g = fixture("diamond.json");
  const LatencyModel m = model(R"({"kind": "roofline", "source": "test", "efficiency": {
    "conv": {"value": 0.5, "source": "test"}, "other": {"value": 0.1, "source": "test"}}})");
  // At 1 kflop/s: stem 320 flop / 500, join 64 flop / 100.
  CHECK(m.layer_s(g, g.find("stem"), host("d", 1e3)) == doctest::Approx(0.64).epsilon(1e-12));
  CHECK(m.layer_s(g, g.find("join"), host("d", 1e3)) == doctest::Approx(0.64).epsilon(1e-12));
}

TEST_CASE("latency model: a host runs its device's usual profile, or the one it names") {
  const std::string hardware = kRoot + "/platforms/hardware.json";
  const LatencyModel m = LatencyModel::roofline(hardware);
  const LayerGraph g = LayerGraph::load(kRoot + "/workloads/vgg16.json");
  const LayerId conv = g.find("conv3_2");
  const auto devices = load_hardware(hardware);
  const DeviceType& jetson = devices.at("jetson_tx2");
  const Calibration calibration = Calibration::load(kRoot + "/platforms/calibration.json");
  const DeviceProfile usual = calibration.find(jetson, {}, "test");

  Host h = host("jetson_tx2", jetson.speed_flop_per_s());
  const double layer_s = m.layer_s(g, conv, h);
  CHECK(m.name() == "roofline");
  CHECK(layer_s == doctest::Approx(usual.roofline.layer_s(g, conv, usual.speed_flop_per_s)).epsilon(1e-12));
  const LayerId piece[] = {conv};
  CHECK(m.piece_s(g, piece, h) == doctest::Approx(layer_s + usual.roofline.run_overhead_s).epsilon(1e-12));
  // A host of half the catalogue's speed computes twice as long; this layer is bound by arithmetic.
  const Host slow = host("jetson_tx2", jetson.speed_flop_per_s() / 2);
  const double overhead_s = usual.roofline.layer_overhead_s;
  CHECK(m.layer_s(g, conv, slow) == doctest::Approx(2 * (layer_s - overhead_s) + overhead_s).epsilon(1e-12));

  h.profile = "gpu/fp32/TensorRT";
  const DeviceProfile named = calibration.find(jetson, {"gpu", "fp32", "TensorRT", 0}, "test");
  CHECK(named.precision == "fp32");
  CHECK(m.layer_s(g, conv, h) ==
        doctest::Approx(named.roofline.layer_s(g, conv, named.speed_flop_per_s)).epsilon(1e-12));
  CHECK(m.layer_s(g, conv, h) > layer_s);  // fp32 has half the peak

  h.profile = "npu";
  CHECK(error_of([&] { m.layer_s(g, conv, h); }) ==
        "host \"h\": device \"jetson_tx2\" has no processor \"npu\"; valid: cpu, gpu; did you mean \"cpu\"?");
  CHECK(error_of([&] { m.layer_s(g, conv, host("jetson_tx3")); })
            .starts_with(hardware +
                         ": latency model \"roofline\" has no device \"jetson_tx3\", the type of host "
                         "\"h\"; valid: "));
}

TEST_CASE("latency model: a regression counts elements") {
  const LayerGraph g = strided_conv();
  const auto conv = [&](const std::string& terms) {
    return model(R"({"kind": "regression", "source": "test", "unit": "ms", "terms": {"conv": )" + terms +
                 "}}");
  };
  // Input 2 * 8 * 8 = 128, output 3 * 3 * 7 = 63, filters 4 / 2 * 2 / 1 * 3 = 12 elements: 5 + 128 + 630 +
  // 1200 ms.
  const LatencyModel m =
      conv(R"({"constant": 5, "input_elements": 1, "output_elements": 10, "filter_elements": 100})");
  CHECK(m.layer_s(g, 0, host("d")) == doctest::Approx(1.963).epsilon(1e-12));
  CHECK(m.layer_s(g, 0, host("d"), 3) == doctest::Approx(3 * 1.963).epsilon(1e-12));
  // 128 - 200 ms would be less than nothing.
  CHECK(conv(R"({"constant": -200, "input_elements": 1})").layer_s(g, 0, host("d")) == 0);
}

TEST_CASE("latency model: a profile, its rest and the run overhead") {
  const LayerGraph g = fixture("chain3.json");
  const LatencyModel m = model(R"({"kind": "profile", "source": "test", "model": "chain3", "unit": "ms",
    "layers": {"fc_1": 7}, "run": {"constant": 100, "per_weight_byte": 1e-5},
    "otherwise": {"unit": "us", "terms": {"fc": {"input_elements": 2}}}})");
  CHECK(m.layer_s(g, 0, host("d")) == doctest::Approx(7e-3).epsilon(1e-12));
  CHECK(m.layer_s(g, 1, host("d")) == doctest::Approx(1e-3).epsilon(1e-12));  // 500 inputs * 2 us
  // The run loads the piece's weights: 2 MB + 2 MB at 1e-5 ms are 40 ms. Two requests: layers twice, run
  // once.
  const LayerId piece[] = {0, 1};
  CHECK(m.piece_s(g, piece, host("d")) == doctest::Approx(0.140 + 0.008).epsilon(1e-12));
  CHECK(m.piece_s(g, piece, host("d"), 2) == doctest::Approx(0.140 + 0.016).epsilon(1e-12));

  CHECK(error_of([&] { m.layer_s(fixture("diamond.json"), 0, host("d")); }) ==
        "l: latency model \"m\", device \"d\": its layer times are those of \"chain3\", not of \"diamond\"");
}

TEST_CASE("latency model: what it does not know is named when it is asked") {
  const LayerGraph chain = fixture("chain3.json"), diamond = fixture("diamond.json");
  const LatencyModel fc_only =
      model(R"({"kind": "regression", "source": "test", "unit": "s", "terms": {"fc": {"constant": 1}}})");
  CHECK(error_of([&] { fc_only.layer_s(diamond, diamond.find("join"), host("d")); }) ==
        "l: latency model \"m\", device \"d\": no term for add, the kind of layer \"join\" of \"diamond\"; "
        "valid: fc");
  const LatencyModel table =
      model(R"({"kind": "profile", "source": "test", "unit": "s", "layers": {"fc_1": 1, "f": 2}})");
  CHECK(error_of([&] { table.layer_s(chain, 1, host("d")); }) ==
        "l: latency model \"m\", device \"d\": no time for layer \"fc_2\" of \"chain3\"; valid: f, fc_1; "
        "did you mean \"fc_1\"?");
}

TEST_CASE("latency model: bad files are refused at their place") {
  const std::string regression = R"({"kind": "regression", "source": "s", "unit": "ms", "terms": )";
  CHECK(model_error(R"({"kind": "roofline"})") == "l: /devices/d: \"source\" is missing");
  CHECK(model_error(R"({"kind": "roofline", "source": ""})") ==
        "l: /devices/d/source: \"\": must not be empty");
  CHECK(model_error(R"({"kind": "rooftop", "source": "s"})") ==
        "l: /devices/d/kind: \"rooftop\" is unknown; valid: roofline, regression, profile");
  CHECK(model_error(R"({"kind": "regression", "source": "s", "terms": {}})") ==
        "l: /devices/d: \"unit\" is missing");
  CHECK(model_error(R"({"kind": "regression", "source": "s", "unit": "min", "terms": {}})")
            .starts_with("l: /devices/d/unit: \"min\" is unknown; valid: s, ms, us"));
  CHECK(model_error(regression + "{}}") == "l: /devices/d/terms: {}: must not be empty");
  CHECK(model_error(regression + R"({"cnv": {}}})")
            .starts_with("l: /devices/d/terms/cnv: \"cnv\" is unknown; valid: conv"));
  CHECK(model_error(regression + R"({"conv": {"inputs": 1}}})")
            .starts_with("l: /devices/d/terms/conv: unknown key \"inputs\"; valid: constant, "));
  CHECK(model_error(regression +
                    R"({"fc": {"constant": 1}}, "run": {"constant": -1, "per_weight_byte": 0}})") ==
        "l: /devices/d/run/constant: -1: must lie within [0, 1000000000]");
  CHECK(model_error(R"({"kind": "profile", "source": "s", "unit": "ms", "layers": {"a": "1ms"}})") ==
        "l: /devices/d/layers/a: \"1ms\": must be a number");
  const std::string parts =
      R"({"kind": "profile", "source": "s", "unit": "ms", "layers": {"a": 1}, "parts": )";
  CHECK(model_error(parts + R"({"b": []}})") ==
        "l: /devices/d/parts/b: []: a layer without a time of its own in \"layers\"");
  CHECK(model_error(parts + R"({"a": [[0.5]]}})") ==
        "l: /devices/d/parts/a/0: [0.5]: must be [share of the outputs, time]");
  CHECK(model_error(parts + R"({"a": [[0.5, 1], [0.5, 2]]}})") ==
        "l: /devices/d/parts/a/1/0: 0.5: must be above the share before it, 0 at first, and below 1");
  CHECK(model_error(R"({"kind": "roofline", "source": "s", "efficiency": {"conv": {"value": 0.5}}})") ==
        "l: /devices/d/efficiency/conv: \"source\" is missing");
  CHECK(model_error(
            R"({"kind": "roofline", "source": "s", "efficiency": {"conv": {"value": 20, "source": "s"}}})") ==
        "l: /devices/d/efficiency/conv/value: 20: must lie within [1e-09, 1]");
  CHECK(
      model_error(R"({"kind": "roofline", "source": "s", "layer_overhead_ms": {"value": 1, "source": "s"}})")
          .ends_with("did you mean \"layer_overhead_s\"?"));
  CHECK(error_of([] {
          LatencyModel::parse(parse_json(R"({"schema": 1, "name": "m", "devices": {}})", "l"), "l");
        }) == "l: /devices: {}: must not be empty");
}

TEST_CASE("latency model: Edgent's predictions and executions") {
  const LayerGraph g = LayerGraph::load(kRoot + "/workloads/branchy_alexnet.json");
  const LatencyModel prediction = LatencyModel::load(kRoot + "/platforms/latency/edgent_prediction.json");
  const LatencyModel execution = LatencyModel::load(kRoot + "/platforms/latency/edgent_execution.json");
  const Host pi = host("raspberry_pi_3b"), desktop = host("intel_i7_6700");
  const auto exit_s = [&](const LatencyModel& m, int exit, const Host& h) {
    return m.piece_s(g, g.exit_layers(exit), h);
  };

  SUBCASE("Raspberry Pi 3") {
    // Fig. 3's 22 layers sum to 1542.11 ms; 842.136 + 4.49e-6 * 4 * 544,074 = 851.9076 ms load the model.
    CHECK(exit_s(prediction, 4, pi) == doctest::Approx(1.54211 + 0.8519076).epsilon(1e-6));
    // Exit 1 in ms: Fig. 3's conv_1 .. lrn_1 64.25; convolutions 1329.52 + 35.85; regressions: relu 0.73376
    // of 16,384 elements and 0.58016 of 6144, pool 3.97165 (16,384 to 4096) and 2.524994 (6144 to 1536),
    // lrn 2.714824 of 4096, fc 2.618948 (1536 to 10): 1442.764336. 124,458 parameters load in 842.136
    // + 2.235266.
    CHECK(exit_s(prediction, 0, pi) == doctest::Approx(1.442764336 + 0.844371266).epsilon(1e-6));
    // Fig. 7 has 2283 ms predicted and 2286 ms measured for it.
    CHECK(exit_s(prediction, 0, pi) == doctest::Approx(2.286).epsilon(0.002));
    for (int exit = 0; exit < 5; ++exit) CHECK(exit_s(execution, exit, pi) == exit_s(prediction, exit, pi));
  }
  SUBCASE("desktop") {
    // conv_2: 6.03e-5 * 8192 + 1.24e-4 * 5 * 5 * 64 + 0.189 = 0.8813776 ms, of elements; of bytes it would
    // be 2.4.
    CHECK(prediction.layer_s(g, g.find("conv_2"), desktop) == doctest::Approx(0.8813776e-3).epsilon(1e-9));
    // Table II's terms of the 22 layers sum to 7.0657 ms; Fig. 2's bars to 14.7 ms.
    CHECK(exit_s(prediction, 4, desktop) == doctest::Approx(7.0657e-3).epsilon(1e-6));
    CHECK(exit_s(execution, 4, desktop) == doctest::Approx(14.7e-3).epsilon(1e-8));
    // Execution keeps Table II's shares in every layer, those of the branches included.
    const double factor = exit_s(execution, 4, desktop) / exit_s(prediction, 4, desktop);
    for (LayerId id = 0; id < g.size(); ++id) {
      CHECK(execution.layer_s(g, id, desktop) ==
            doctest::Approx(factor * prediction.layer_s(g, id, desktop)).epsilon(1e-8));
    }
  }
}

TEST_CASE("latency model: a part of a layer") {
  const LayerGraph g = strided_conv();  // [2, 8, 8] -> [3, 3, 7], kernel 4 x 2, stride 2 x 1
  // Row 1 of the output, 21 of 63 elements, reads rows 2..5: 2 * 4 * 8 = 64 elements; two channels of it 14.
  const Region row{{0, 3}, {1, 2}, {0, 7}}, two{{1, 3}, {1, 2}, {0, 7}};
  const LatencyModel profile =
      model(R"({"kind": "profile", "source": "test", "unit": "s", "layers": {"c": 0.9}})");
  CHECK(profile.layer_s(g, 0, host("d"), 1, &row) == doctest::Approx(0.3).epsilon(1e-12));
  CHECK(profile.layer_s(g, 0, host("d"), 3, &two) == doctest::Approx(0.6).epsilon(1e-12));
  // A runtime that pads parts itself makes 4 / 2 rows and 8 / 1 columns of them: 3 * 2 * 8 of 63 elements.
  const LatencyModel padded = model(
      R"({"kind": "profile", "source": "test", "unit": "s", "layers": {"c": 0.9}, "part_padding": "all_sides"})");
  CHECK(padded.layer_s(g, 0, host("d"), 1, &row) == doctest::Approx(0.9 * 48 / 63).epsilon(1e-12));
  CHECK(padded.layer_s(g, 0, host("d"), 1) == doctest::Approx(0.9).epsilon(1e-12));
  // Measured: half in 0.1 s, all in 0.9 s. A third is two thirds of the way from nothing to the half: 0.2 /
  // 3; two thirds are a third of the way from there to all: 0.1 + 0.8 / 3.
  const LatencyModel measured = model(R"({"kind": "profile", "source": "test", "unit": "s",
      "layers": {"c": 0.9}, "parts": {"c": [[0.5, 0.1]]}})");
  const Region rows{{0, 3}, {1, 3}, {0, 7}}, none{{0, 3}, {1, 1}, {0, 7}};
  CHECK(measured.layer_s(g, 0, host("d"), 1, &row) == doctest::Approx(0.2 / 3).epsilon(1e-12));
  CHECK(measured.layer_s(g, 0, host("d"), 2, &rows) == doctest::Approx(0.2 + 1.6 / 3).epsilon(1e-12));
  CHECK(measured.layer_s(g, 0, host("d"), 1, &none) == 0);
  CHECK(measured.layer_s(g, 0, host("d")) == 0.9);
  // 1 + 64 * 0.1 + 14 * 0.01 + (4 / 2 * 2 / 1 * 2 channels) * 0.001, and 2 per weight byte before it: of the
  // filters of 2 * 4 * 2 weights and a bias, two of three, 136 B.
  const LatencyModel regression = model(R"({"kind": "regression", "source": "test", "unit": "s",
      "run": {"constant": 5, "per_weight_byte": 2}, "terms": {"conv": {"constant": 1, "input_elements": 0.1,
      "output_elements": 0.01, "filter_elements": 0.001}}})");
  CHECK(regression.layer_s(g, 0, host("d"), 1, &two) == doctest::Approx(7.548).epsilon(1e-12));
  const std::vector<LayerId> layers{0};
  CHECK(regression.piece_s(g, layers, host("d"), 1, {{0, two}}) ==
        doctest::Approx(5 + 2 * 136 + 7.548).epsilon(1e-12));
  CHECK(regression.piece_s(g, layers, host("d"), 1) ==
        doctest::Approx(5 + 2 * 204 + 1 + 12.8 + 0.63 + 0.012).epsilon(1e-12));
  // Work: 14 * (2 * 16 + 1) = 462 flop at 1 Gflop/s; at 1 GB/s the weights, 64 elements in and 14 out, 448 B,
  // come second. The overhead is paid in full.
  const LatencyModel roofline = model(R"({"kind": "roofline", "source": "test",
      "memory_bandwidth_bytes_per_s": {"value": 1e9, "source": "test"}, "layer_overhead_s": {"value": 1, "source": "test"}})");
  CHECK(roofline.layer_s(g, 0, host("d"), 1, &two) == doctest::Approx(1 + 462e-9).epsilon(1e-12));
  CHECK(roofline.layer_s(g, 0, host("d", 1e12), 1, &two) == doctest::Approx(1 + 448e-9).epsilon(1e-12));
}

TEST_CASE("latency model: the catalogue is read again when its files have changed") {
  TempFolder folder;
  for (const char* file : {"hardware.json", "calibration.json"})
    std::filesystem::copy_file(kRoot + "/platforms/" + file, folder / file);
  const LatencyModel before = LatencyModel::roofline(folder / "hardware.json");
  folder.write("hardware.json", "{}");
  CHECK_THROWS_AS(LatencyModel::roofline(folder / "hardware.json"), InputError);
  CHECK(LatencyModel::roofline(kRoot + "/platforms/hardware.json").name() == "roofline");
}
