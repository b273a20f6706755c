// The fixture: tests/fixtures/calibrated. Every class has these efficiencies and overheads:
//   conv_first 0.1, conv_1x1 0.5, conv_3x3 0.8, conv_strided 0.4, conv_large 0.25, depthwise_conv 0.1, fc
//   0.2, memory 0.5; layer 10 us, operator 20 us, run 100 us.
// In mobile_cpu "ncnn/fp32" costs conv_1x1 2, fc 4, memory 3, layer_overhead 5 times as much, and the CPU of
// "phone" conv_1x1 0.5, memory 2, run_overhead 10 times.
#include "sim/calibration.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "sim/error.h"
#include "sim/latency_model.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

const fs::path kCalibrated = kFixtures / "calibrated";

std::map<std::string, DeviceType> devices() {
  return load_hardware(kCalibrated / "hardware.json");
}

Calibration calibration(const std::string& patch = "{}") {
  return Calibration::parse(parse_json(patched(kCalibrated / "calibration.json", patch), "c"), "c");
}

DeviceProfile profile_of(const std::string& device, const ProfileQuery& query,
                         const std::string& patch = "{}") {
  return calibration(patch).find(devices().at(device), query, "here");
}

std::string find_error(const std::string& device, const ProfileQuery& query) {
  return error_of([&] { profile_of(device, query); });
}

std::string parse_error(const std::string& patch) {
  return error_of([&] { calibration(patch); });
}

auto near(double value) {
  return doctest::Approx(value).epsilon(1e-12);
}

double efficiency(const DeviceProfile& profile, WorkKind kind) {
  return profile.roofline.efficiency[static_cast<std::size_t>(kind)];
}

}  // namespace

TEST_CASE("calibration: a profile is class, runtime, device and its own slowdown") {
  const DeviceProfile p = profile_of("phone", {});
  CHECK(p.device == "phone");
  CHECK(p.runtime == "ncnn 1.0 (plain)");
  CHECK(p.threads == 4);
  CHECK(p.models == 3);
  CHECK(p.speed_flop_per_s == near(100e9));
  CHECK(p.busy_w == 5.0);
  CHECK(p.idle_w == 1.0);
  // Times of one operation at the peak, class * runtime * device * slowdown 4:
  // conv_1x1 2 * 2 * 0.5 * 4 = 8; conv_first 10 * 4 = 40; conv_3x3 1.25 * 4 = 5; conv_strided 2.5 * 4 = 10;
  // conv_large 4 * 4 = 16; depthwise_conv 10 * 4 = 40; fc 5 * 4 * 4 = 80.
  CHECK(efficiency(p, WorkKind::kConv1x1) == near(1.0 / 8));
  CHECK(efficiency(p, WorkKind::kConvFirst) == near(1.0 / 40));
  CHECK(efficiency(p, WorkKind::kConv3x3) == near(1.0 / 5));
  CHECK(efficiency(p, WorkKind::kConvStrided) == near(1.0 / 10));
  CHECK(efficiency(p, WorkKind::kConvLarge) == near(1.0 / 16));
  CHECK(efficiency(p, WorkKind::kDepthwiseConv) == near(1.0 / 40));
  CHECK(efficiency(p, WorkKind::kFc) == near(1.0 / 80));
  // What is not measured counts as the most similar that is.
  CHECK(efficiency(p, WorkKind::kMatrix) == efficiency(p, WorkKind::kConv1x1));
  CHECK(efficiency(p, WorkKind::kRecurrent) == efficiency(p, WorkKind::kFc));
  CHECK(efficiency(p, WorkKind::kOperator) == efficiency(p, WorkKind::kDepthwiseConv));
  // A byte: 2 * 3 * 2 * 4^0.5 = 24 times what the memory's 24 GB/s would take: 1 GB/s.
  CHECK(p.roofline.memory_bandwidth_bytes_per_s == near(1e9));
  // Overheads do not follow the slowdown: 10 us * 5, 20 us, 100 us * 10.
  CHECK(p.roofline.layer_overhead_s == near(50e-6));
  CHECK(p.roofline.operator_overhead_s == near(20e-6));
  CHECK(p.roofline.run_overhead_s == near(1e-3));
  CHECK(p.roofline.bytes_per_element == 4);
  CHECK(p.roofline.fused);
  CHECK(p.roofline.weight_link_bytes_per_s == 0);
  CHECK(p.title() == "cpu, fp32, ncnn 1.0 (plain), 4 threads");
  CHECK(p.basis == ProfileBasis::kMeasured);
  CHECK(p.basis_text() == "measured with 3 models");
}

TEST_CASE("calibration: how terms follow a slowdown") {
  for (const CostTerm term :
       {CostTerm::kConvFirst, CostTerm::kConv1x1, CostTerm::kDepthwiseConv, CostTerm::kFc}) {
    CHECK(slowdown_exponent(term) == 1);
  }
  CHECK(slowdown_exponent(CostTerm::kMemory) == 0.5);
  for (const CostTerm term :
       {CostTerm::kLayerOverhead, CostTerm::kOperatorOverhead, CostTerm::kRunOverhead}) {
    CHECK(slowdown_exponent(term) == 0);
  }
  REQUIRE(cost_term_names().size() == kCostTerms);
  CHECK(cost_term_names()[static_cast<std::size_t>(CostTerm::kMemory)] == "memory");
  CHECK(cost_term_names()[static_cast<std::size_t>(CostTerm::kRunOverhead)] == "run_overhead");
  // Terms of arithmetic have the names of their kinds of work.
  for (std::size_t term = 0; term < static_cast<std::size_t>(CostTerm::kMemory); ++term) {
    const auto kind = std::ranges::find(work_kind_names(), cost_term_names()[term]);
    REQUIRE(kind != work_kind_names().end());
    CHECK(arithmetic_term(static_cast<WorkKind>(kind - work_kind_names().begin())) ==
          static_cast<CostTerm>(term));
  }
}

TEST_CASE("calibration: which profile answers") {
  struct Answer {
    ProfileQuery query;  // processor, precision, runtime, threads
    const char *precision, *runtime;
    int threads;
  };
  for (const Answer& a : std::vector<Answer>{
           // The usual precision before more models (int8 has 20), most of the cores before more models (one
           // thread has 9), high confidence.
           {{}, "fp32", "ncnn 1.0 (plain)", 4},
           {{"cpu", "", "", 0}, "fp32", "ncnn 1.0 (plain)", 4},
           {{"", "", "", 1}, "fp32", "ncnn 1.0 (plain)", 1},
           {{"", "int8", "", 0}, "int8", "TFLite CPU", 4},
           // A runtime's whole name goes before its family; capitals do not matter.
           {{"", "", "tflite", 0}, "fp32", "TFLite", 0},
           {{"", "", "TFLITE CPU", 0}, "fp32", "TFLite CPU", 4},
           {{"", "", "NCNN", 0}, "fp32", "ncnn 1.0 (plain)", 4},
           {{"", "int8", "tflite", 0}, "int8", "TFLite CPU", 4},
           {{"cpu", "fp32", "ncnn", 1}, "fp32", "ncnn 1.0 (plain)", 1},
           // The only one measured on the processor, though fp16 would be usual there.
           {{"gpu", "", "", 0}, "fp32", "TFLite GPU delegate", 0},
           {{"npu", "", "", 0}, "fp16", "Core ML", 0}}) {
    INFO(a.query.processor, "/", a.query.precision, "/", a.query.runtime, "/", a.query.threads);
    const DeviceProfile p = profile_of("phone", a.query);
    CHECK(p.precision == a.precision);
    CHECK(p.runtime == a.runtime);
    CHECK(p.threads == a.threads);
    CHECK(p.basis == ProfileBasis::kMeasured);
    CHECK(p.measured_on == "phone");
  }
  // Without the certain profiles of many threads, the doubtful one of all threads goes before one thread; of
  // several alike the one with more models.
  const std::string no_four = R"({"/profiles/0/threads": 1, "/profiles/2/threads": 1})";
  CHECK(profile_of("phone", {}, no_four).runtime == "TFLite");
  CHECK(profile_of("phone", {}, R"({"/profiles/2/models": 4})").runtime == "TFLite CPU");
  CHECK(profile_of("phone", {}, R"({"/profiles/0/confidence": "medium"})").runtime == "TFLite CPU");
  // The usual precision goes before more models at another floating point.
  CHECK(profile_of("phone", {}, R"({"/profiles/2/precision": "tf32", "/profiles/2/models": 40})").precision ==
        "fp32");
  // Integers do not stand for floating point where another floating point is measured.
  CHECK(profile_of("phone", {},
                   R"({"/profiles/0/precision": "int8", "/profiles/1/precision": "int8",
                 "/profiles/2/precision": "int8", "/profiles/3/precision": "bf16"})")
            .precision == "bf16");
}

TEST_CASE("calibration: one and more models, threads and no runtime in words") {
  const DeviceProfile p = profile_of("phone", {"", "", "ncnn", 1}, R"({"/profiles/1/models": 1})");
  CHECK(p.title() == "cpu, fp32, ncnn 1.0 (plain), 1 thread");
  CHECK(p.basis_text() == "measured with 1 model");
  CHECK(profile_of("phone", {"gpu", "", "", 0}).title() == "gpu, fp32, TFLite GPU delegate");
  CHECK(profile_of("laptop", {}).title() == "cpu, fp32, any runtime");
}

TEST_CASE("calibration: a device that is measured otherwise keeps its own factors") {
  // fp32 with a runtime and threads that were not measured on it: class * runtime * device, slowdown 1.
  const DeviceProfile p = profile_of("phone", {"", "", "NCNN 2.0", 2});
  CHECK(p.basis == ProfileBasis::kDeviceMeasured);
  CHECK(p.runtime == "ncnn 2.0");
  CHECK(p.threads == 2);
  CHECK(p.models == 0);
  CHECK(p.speed_flop_per_s == near(100e9 * std::pow(0.5, 0.6)));
  CHECK(efficiency(p, WorkKind::kConv1x1) == near(1 / (2 * 2 * 0.5)));
  CHECK(efficiency(p, WorkKind::kFc) == near(1.0 / 20));
  CHECK(p.roofline.memory_bandwidth_bytes_per_s == near(24e9 / (2 * 3 * 2)));
  CHECK(p.roofline.run_overhead_s == near(1e-3));
  CHECK(p.basis_text() == "not measured: expected from the device's other profiles and its class");
  // A precision that was not: no runtime is meant, and "ncnn/fp32" does not stand for int8.
  const DeviceProfile half = profile_of("phone", {"gpu", "fp16", "", 0});
  CHECK(half.basis == ProfileBasis::kDeviceMeasured);
  CHECK(half.precision == "fp16");
  CHECK(half.runtime == "");
  CHECK(half.speed_flop_per_s == near(400e9));
  CHECK(half.roofline.bytes_per_element == 2);
  CHECK(efficiency(half, WorkKind::kConv1x1) == near(1 / (2 * 3.0)));
  CHECK(efficiency(profile_of("phone", {"cpu", "int8", "ncnn", 4}), WorkKind::kFc) == near(0.2));
}

TEST_CASE("calibration: a device of which nothing is measured has the efficiencies of its class") {
  const DeviceProfile p = profile_of("laptop", {});
  CHECK(p.basis == ProfileBasis::kClass);
  CHECK(p.models == 0);
  CHECK(p.measured_on == "");
  CHECK(p.device_class == DeviceClass::kMobileCpu);
  CHECK(p.speed_flop_per_s == near(50e9));
  CHECK(efficiency(p, WorkKind::kConv1x1) == near(0.5));
  CHECK(efficiency(p, WorkKind::kConvFirst) == near(0.1));
  CHECK(p.roofline.memory_bandwidth_bytes_per_s == near(10e9));  // half of 20 GB/s
  CHECK(p.roofline.layer_overhead_s == near(10e-6));
  CHECK(p.roofline.run_overhead_s == near(100e-6));
  CHECK(p.basis_text() == "not measured: efficiencies of its class, mobile_cpu");
  CHECK_FALSE(p.busy_w.has_value());
  // A runtime bends the class: fc 0.2 / 4, memory 10 GB/s / 3.
  const DeviceProfile ncnn = profile_of("laptop", {"", "", "ncnn", 0});
  CHECK(ncnn.basis == ProfileBasis::kClass);
  CHECK(efficiency(ncnn, WorkKind::kFc) == near(0.05));
  CHECK(ncnn.roofline.memory_bandwidth_bytes_per_s == near(10e9 / 3));
  // Memory that nobody states never limits; the default precision has its matrix units' peak.
  const DeviceProfile card = profile_of("card", {});
  CHECK(card.basis == ProfileBasis::kClass);
  CHECK(card.precision == "fp16");
  CHECK(card.speed_flop_per_s == near(80e12));
  CHECK(card.roofline.memory_bandwidth_bytes_per_s == 0);
}

TEST_CASE("calibration: a device with the same chip borrows what was measured, at its own peaks") {
  const DeviceProfile p = profile_of("sister", {});
  CHECK(p.device == "sister");
  CHECK(p.measured_on == "phone");
  CHECK(p.basis == ProfileBasis::kMeasured);
  CHECK(p.basis_text() == "measured with 3 models on phone, the same chip");
  // The phone's factors: conv_1x1 1 / 8, memory / 24 of 48 GB/s; 4 of 8 cores of 200 Gflop/s.
  CHECK(efficiency(p, WorkKind::kConv1x1) == near(1.0 / 8));
  CHECK(p.roofline.memory_bandwidth_bytes_per_s == near(2e9));
  CHECK(p.speed_flop_per_s == near(200e9 * std::pow(0.5, 0.6)));
  CHECK(profile_of("sister", {"", "", "ncnn 3", 0}).basis_text() ==
        "not measured: expected from the device's other profiles on phone, the same chip and its class");
  // Where the device itself is measured, its own measurement stands, whatever the sister has.
  const DeviceProfile own = profile_of("sister", {}, R"({"/profiles/3/device": "sister"})");
  CHECK(own.measured_on == "sister");
  CHECK(own.runtime == "TFLite");
  CHECK(own.basis_text() == "measured with 1 model");
}

TEST_CASE("calibration: a measured profile is one even where its class has no factors of the device") {
  const DeviceProfile p = profile_of("phone", {}, R"({"/classes/mobile_cpu/devices/phone~1cpu": null})");
  CHECK(p.basis == ProfileBasis::kMeasured);
  CHECK(p.basis_text() == "measured with 3 models");
  CHECK(efficiency(p, WorkKind::kConv1x1) == near(1.0 / 16));  // 2 * 2 * 4, without the device's 0.5
}

TEST_CASE("calibration: a sister's profile at a precision that the device lacks does not count") {
  // The phone's engine is measured at fp16; the sister's computes integers only.
  const DeviceProfile p = profile_of("sister", {"npu", "", "", 0});
  CHECK(p.precision == "int8");
  CHECK(p.speed_flop_per_s == near(4e12));
  CHECK(p.basis == ProfileBasis::kDeviceMeasured);
  CHECK(profile_of("sister", {"npu", "int8", "", 0}).speed_flop_per_s == near(4e12));
}

TEST_CASE("calibration: the usual precision of a processor that is not the usual one") {
  // Nothing is measured, so it shows: fp16 of a GPU, int8 of an NPU, but only where it has such units.
  const std::string none = R"({"/profiles": []})";
  CHECK(profile_of("phone", {"cpu", "", "", 0}, none).precision == "fp32");
  CHECK(profile_of("phone", {"gpu", "", "", 0}, none).precision == "fp16");
  CHECK(profile_of("phone", {"npu", "", "", 0}, none).precision == "fp16");  // it has no int8
  CHECK(profile_of("phone", {"npu", "", "", 0}, none).roofline.bytes_per_element == 2);
  CHECK(profile_of("sister", {"npu", "", "", 0}, none).precision == "int8");
  const DeviceProfile npu = profile_of("phone", {"npu", "", "", 0});
  CHECK(npu.roofline.weight_cache_bytes == 1e6);
  CHECK(npu.roofline.weight_link_bytes_per_s == 1e9);
}

TEST_CASE("calibration: what cannot be asked is refused with what can") {
  CHECK(find_error("phone", {"gpuu", "", "", 0}) ==
        "here: device \"phone\" has no processor \"gpuu\"; valid: cpu, gpu, npu; did you mean \"gpu\"?");
  CHECK(find_error("card", {"cpu", "", "", 0})
            .starts_with("here: device \"card\" has no processor \"cpu\"; valid: gpu"));
  CHECK(find_error("phone", {"cpu", "fp12", "", 0})
            .starts_with("here: the cpu of \"phone\" cannot run at \"fp12\"; valid: "));
  CHECK(find_error("phone", {"cpu", "fp64", "", 0})
            .starts_with("here: the cpu of \"phone\" cannot run at \"fp64\"; valid: "));
  CHECK(find_error("sister", {"npu", "fp16", "", 0})
            .starts_with("here: the npu of \"sister\" cannot run at \"fp16\"; valid: int4, int8"));
  // Only runtimes of the calibration are known; a version of a known one is not asked for.
  const std::string error = find_error("phone", {"", "", "nccn", 0});
  CHECK(error.starts_with("here: runtime \"nccn\" is not calibrated; valid: "));
  CHECK(error.ends_with("did you mean \"ncnn\"?"));
  CHECK(find_error("laptop", {"", "", "TensorRT 8", 0})
            .starts_with("here: runtime \"TensorRT 8\" is not calibrated; valid: "));
}

TEST_CASE("calibration: threads are fewer than cores") {
  Processor p;
  p.cores = 4;
  CHECK(thread_speed(100, 0, p) == 100);
  CHECK(thread_speed(100, 4, p) == 100);
  CHECK(thread_speed(100, 8, p) == 100);
  CHECK(thread_speed(100, 1, p) == near(100 * std::pow(0.25, 0.6)));
  CHECK(thread_speed(100, 2, p) == near(100 * std::pow(0.5, 0.6)));
  p.cores = 1;
  CHECK(thread_speed(100, 1, p) == 100);
}

TEST_CASE("calibration: bytes of a precision and the family of a runtime") {
  for (const auto& [precision, bytes] : std::map<std::string, double>{
           {"fp64", 8}, {"fp32", 4}, {"tf32", 4}, {"fp16", 2}, {"bf16", 2}, {"int8", 1}, {"int4", 0.5}}) {
    INFO(precision);
    CHECK(precision_bytes(precision) == bytes);
  }
  CHECK(runtime_family("PyTorch 2.4 dynamo") == "PyTorch");
  CHECK(runtime_family("Caffe+cuDNN") == "Caffe");
  CHECK(runtime_family("Caffe/cuDNN") == "Caffe");
  CHECK(runtime_family("ncnn-cpu") == "ncnn-cpu");
  CHECK(runtime_family("") == "");
}

TEST_CASE("calibration: a profile as text") {
  const auto parse = [](const std::string& text) { return parse_profile_query(text, "p"); };
  const auto equal = [&](const std::string& text, const ProfileQuery& expected) {
    INFO(text);
    const ProfileQuery query = parse(text);
    CHECK(query.processor == expected.processor);
    CHECK(query.precision == expected.precision);
    CHECK(query.runtime == expected.runtime);
    CHECK(query.threads == expected.threads);
  };
  equal("", {});
  equal("gpu", {"gpu", "", "", 0});
  equal("gpu/fp16", {"gpu", "fp16", "", 0});
  equal("gpu/fp16/TensorRT", {"gpu", "fp16", "TensorRT", 0});
  equal("cpu/fp32/ncnn-cpu/4", {"cpu", "fp32", "ncnn-cpu", 4});
  equal("gpu/fp32/Caffe/cuDNN", {"gpu", "fp32", "Caffe/cuDNN", 0});
  equal("gpu/fp32/Caffe/cuDNN/2", {"gpu", "fp32", "Caffe/cuDNN", 2});
  equal("cpu/fp32/TFLite 2.4 XNNPACK/1", {"cpu", "fp32", "TFLite 2.4 XNNPACK", 1});
  for (const std::string text : {"/", "gpu/", "/fp16", "gpu//TensorRT", "gpu/fp16/", "gpu/fp16//4"}) {
    INFO(text);
    CHECK(error_of([&] { parse(text); }) ==
          "p: \"" + text + "\": must be processor/precision/runtime/threads, as far as wanted");
  }
}

TEST_CASE("calibration: what error to expect") {
  const Calibration c = calibration();
  const auto median = [&](const std::string& device, const ProfileQuery& query, int batch) {
    const auto error = c.expected_error(c.find(devices().at(device), query, "here"), batch);
    return error ? error->median : -1;
  };
  CHECK(median("phone", {}, 1) == 0.1);
  CHECK(median("phone", {}, 8) == 0.1);  // no larger batch was compared: that of batch 1
  CHECK(median("phone", {"", "", "ncnn", 2}, 1) == 0.2);
  CHECK(median("phone", {"", "", "ncnn", 2}, 2) == 0.25);
  CHECK(median("laptop", {}, 1) == -1);  // the class was never left out
  CHECK(median("card", {}, 1) == 0.3);
  CHECK(median("card", {}, 64) == 0.4);
  const auto error = c.expected_error(profile_of("card", {}), 64);
  CHECK(error->count == 8);
  CHECK(error->p90 == 1);
  CHECK(to_json(*error).dump() == R"({"count":8,"median":0.4,"p90":1.0})");
}

TEST_CASE("calibration: the list of what was measured") {
  const Calibration c = calibration(R"({"/profiles/1/errors": {"count": 9, "median": 0.25, "p90": 0.5}})");
  REQUIRE(c.profiles().size() == 7);
  CHECK(c.profiles()[1].runtime == "ncnn 1.0 (plain)");
  CHECK(c.profiles()[1].measurements == 9);
  CHECK(c.profiles()[1].errors->p90 == 0.5);
  CHECK_FALSE(c.profiles()[0].errors.has_value());
  CHECK(c.json()["source"] == "fixture for pencil and paper");
}

TEST_CASE("calibration: bad files are refused at their place") {
  struct Bad {
    const char *patch, *begin;
  };
  for (const Bad& bad : std::vector<Bad>{
           {R"({"/schema": 2})", "c: /schema: 2"},
           {R"({"/source": ""})", "c: /source: \"\""},
           {R"({"/sauce": 1})", "c: unknown key \"sauce\""},
           {R"({"/classes/npu": null})", "c: /classes: \"npu\" is missing"},
           {R"({"/classes/tpu": {}})", "c: /classes: unknown key \"tpu\""},
           {R"({"/classes/npu/efficiency": null})", "c: /classes/npu: \"efficiency\" is missing"},
           {R"({"/classes/npu/efficiency/fc": null})", "c: /classes/npu/efficiency: \"fc\" is missing"},
           {R"({"/classes/npu/efficiency/fc": 0})", "c: /classes/npu/efficiency/fc: 0"},
           {R"({"/classes/npu/efficiency/fc": -1})", "c: /classes/npu/efficiency/fc: -1"},
           {R"({"/classes/npu/efficiency/fc": "1"})", "c: /classes/npu/efficiency/fc: \"1\""},
           {R"({"/classes/npu/efficiency/matrix": 1})", "c: /classes/npu/efficiency: unknown key \"matrix\""},
           {R"({"/classes/npu/efficiency/layer_overhead": 1})",
            "c: /classes/npu/efficiency: unknown key \"layer_overhead\""},
           {R"({"/classes/npu/overhead_s/run_overhead": null})",
            "c: /classes/npu/overhead_s: \"run_overhead\" is missing"},
           {R"({"/classes/npu/overhead_s/run_overhead": -1})", "c: /classes/npu/overhead_s/run_overhead: -1"},
           {R"({"/classes/npu/extra": 1})", "c: /classes/npu: unknown key \"extra\""},
           {R"({"/classes/npu/runtimes": null})", "c: /classes/npu: \"runtimes\" is missing"},
           {R"({"/classes/npu/runtimes/x~1fp16": {}})",
            "c: /classes/npu/runtimes/x~1fp16: \"conv_first\" is missing"},
           {R"({"/classes/npu/devices/phone~1npu/fc": 0})", "c: /classes/npu/devices/phone~1npu/fc: 0"},
           {R"({"/classes/npu/devices/phone~1npu/flops": 1})",
            "c: /classes/npu/devices/phone~1npu: unknown key \"flops\""},
           {R"({"/classes/desktop_gpu/errors/class~1batch_1/count": 0})",
            "c: /classes/desktop_gpu/errors/class~1batch_1/count: 0"},
           {R"({"/classes/desktop_gpu/errors/class~1batch_1/median": -0.1})",
            "c: /classes/desktop_gpu/errors/class~1batch_1/median: -0.1"},
           {R"({"/classes/desktop_gpu/errors/class~1batch_1/p95": 1})",
            "c: /classes/desktop_gpu/errors/class~1batch_1: unknown key \"p95\""},
           {R"({"/profiles": null})", "c: \"profiles\" is missing"},
           {R"({"/profiles/0/device": null})", "c: /profiles/0: \"device\" is missing"},
           {R"({"/profiles/0/slowdown": 0})", "c: /profiles/0/slowdown: 0"},
           {R"({"/profiles/0/slowdown": -2})", "c: /profiles/0/slowdown: -2"},
           {R"({"/profiles/0/threads": -1})", "c: /profiles/0/threads: -1"},
           {R"({"/profiles/0/threads": 1.5})", "c: /profiles/0/threads: 1.5"},
           {R"({"/profiles/0/models": 0})", "c: /profiles/0/models: 0"},
           {R"({"/profiles/0/confidence": "low"})", "c: /profiles/0/confidence: \"low\""},
           {R"({"/profiles/0/slow": 1})", "c: /profiles/0: unknown key \"slow\""},
           {R"({"/profiles/0/errors": {"count": 1, "median": 1}})", "c: /profiles/0/errors: \"p90\""}}) {
    INFO(bad.patch);
    const std::string error = parse_error(bad.patch);
    INFO(error);
    CHECK(error.starts_with(bad.begin));
  }
  const TempFolder folder;
  const std::string file = (folder / "calibration.json").string();
  CHECK(error_of([&] { Calibration::load(file); }).starts_with(file + ": "));
  folder.write("calibration.json", "[]");
  CHECK(error_of([&] { Calibration::load(file); }).starts_with(file + ": "));
  folder.write("calibration.json", slurp(kCalibrated / "calibration.json"));
  CHECK(Calibration::load(file).profiles().size() == 7);
}

TEST_CASE("calibration: errors of the whole are read as strictly as the rest") {
  CHECK(parse_error(R"({"/errors": {"over_all": {}, "devices": {}}})") == "no error");
  CHECK(parse_error(R"({"/errors": {}})").starts_with("c: /errors: \"over_all\" is missing"));
  CHECK(parse_error(R"({"/errors": 5})").starts_with("c: /errors: 5"));
  CHECK(parse_error(R"({"/errors": {"over_all": {"low_confidence": {"count": "x"}}, "devices": {}}})")
            .starts_with("c: /errors/over_all/low_confidence"));
}

TEST_CASE("calibration: a host's profile that is wrong stays wrong however often it is asked") {
  const LatencyModel model = LatencyModel::roofline(kCalibrated / "hardware.json");
  const LayerGraph g = LayerGraph::load(kFixtures / "chain3.json");
  Host host;
  host.name = "h";
  host.device_type = "phone";
  host.power_states = {{100e9, 0, 0, 0}};
  host.profile = "cpu/fp32/nccn";
  const auto error = [&] { return error_of([&] { model.layer_s(g, 0, host); }); };
  CHECK(error().starts_with("host \"h\": runtime \"nccn\" is not calibrated"));
  CHECK(error().starts_with("host \"h\": runtime \"nccn\" is not calibrated"));
  // With a good one: fc_1 of 1 Mflop at 1 / 80 of 100 Gflop/s is 0.8 ms; 2.006 MB at 1 GB/s 2.006 ms; 50 us.
  host.profile = "cpu/fp32/ncnn/4";
  CHECK(model.layer_s(g, 0, host) == near(2.056e-3));
}
