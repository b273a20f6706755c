#include "sim/catalogue.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "sim/error.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

// Table 1 of the survey: name there, and ours.
const std::vector<std::pair<std::string, std::string>> kTable1{{"LeNet", "lenet"},
                                                               {"AlexNet", "alexnet"},
                                                               {"GoogleNet", "googlenet"},
                                                               {"VGG-16", "vgg16"},
                                                               {"VGG-19", "vgg19"},
                                                               {"ResNet50", "resnet50"},
                                                               {"ResNet101", "resnet101"},
                                                               {"ResNet152", "resnet152"},
                                                               {"MobileNetV1", "mobilenet_v1"},
                                                               {"MobileNetV2", "mobilenet_v2"},
                                                               {"TextCNN", "textcnn"},
                                                               {"YOLOV5s", "yolov5s"},
                                                               {"Eng Acoustic Model", "acoustic_model"},
                                                               {"RNNCell", "rnn"},
                                                               {"BiRNN", "birnn"},
                                                               {"GRUCell", "gru"},
                                                               {"BiGRU", "bigru"},
                                                               {"LSTMCell", "lstm"},
                                                               {"BiLSTM", "bilstm"}};

// Table 2 of the survey.
const std::vector<std::pair<std::string, std::string>> kTable2{{"V100", "v100"},
                                                               {"A100", "a100"},
                                                               {"RTX 3090", "rtx_3090"},
                                                               {"Titan RTX", "titan_rtx"},
                                                               {"RTX 3080", "rtx_3080"},
                                                               {"RTX 2080 Ti", "rtx_2080_ti"},
                                                               {"Jetson AGX Xavier", "jetson_agx_xavier"},
                                                               {"Jetson Xavier NX", "jetson_xavier_nx"},
                                                               {"Jetson TX2 4GB", "jetson_tx2_4gb"},
                                                               {"Jetson TX2", "jetson_tx2"},
                                                               {"Jetson TX2i", "jetson_tx2i"},
                                                               {"Jetson TX1", "jetson_tx1"},
                                                               {"Jetson Nano", "jetson_nano"},
                                                               {"Edge TPU", "edge_tpu"},
                                                               {"Raspberry Pi-4B", "raspberry_pi_4b"},
                                                               {"HONOR Magic3", "honor_magic3"},
                                                               {"iPhone 13", "iphone_13"},
                                                               {"HUAWEI Mate40", "huawei_mate40"},
                                                               {"Google Pixel6", "google_pixel6"},
                                                               {"Google Glass EE2", "google_glass_ee2"}};

// The files of this source tree, from wherever the test runs.
void use_sources() {
  fs::current_path(kSources);
  setenv("CDISIM_PATH", kSources.c_str(), 1);
}

double latency_s(const LayerGraph& graph, const DeviceProfile& profile, int batch = 1) {
  const auto layers = graph.exit_layers(static_cast<int>(graph.exits().size()) - 1);
  double seconds = profile.roofline.run_s(graph, layers);
  for (const LayerId id : layers)
    seconds += profile.roofline.layer_s(graph, id, profile.speed_flop_per_s, batch);
  return seconds;
}

// A calibration in which nothing is measured: efficiencies of the classes alone.
Calibration classes_alone() {
  return Calibration::parse(
      parse_json(patched(kSources / "platforms/calibration.json", R"({"/profiles": []})"), "c"), "c");
}

}  // namespace

TEST_CASE("catalogue: names are letters and digits") {
  CHECK(plain_name("Raspberry Pi-4B") == "raspberrypi4b");
  CHECK(plain_name("raspberry_pi_3b_plus") == plain_name("Raspberry Pi 3B+"));
  CHECK(plain_name("VGG-16") == "vgg16");
  CHECK(plain_name("") == "");
  CHECK(plain_name(" -_./") == "");
  CHECK(plain_name("\xc3\xa9t\xc3\xa9 1") == "t1");  // bytes beyond ASCII are no letters
}

TEST_CASE("catalogue: every model of the survey's Table 1 is found by the name there") {
  use_sources();
  REQUIRE(kTable1.size() == 19);
  for (const auto& [printed, ours] : kTable1) {
    INFO(printed);
    const LayerGraph graph = find_model(printed, "here");
    CHECK(graph.name() == ours);
    REQUIRE(graph.table_1().has_value());
    CHECK(graph.table_1()->row == printed);
    CHECK(find_model(ours, "here").name() == ours);
  }
}

TEST_CASE("catalogue: every device of the survey's Table 2 is found by the name there") {
  use_sources();
  REQUIRE(kTable2.size() == 20);
  const auto devices = device_catalogue();
  for (const auto& [printed, ours] : kTable2) {
    INFO(printed);
    CHECK(find_device(devices, printed, "here").name == ours);
    CHECK(find_device(devices, ours, "here").name == ours);
  }
}

TEST_CASE("catalogue: names as people write them") {
  use_sources();
  for (const auto& [written, ours] : std::map<std::string, std::string>{{"VGG-16", "vgg16"},
                                                                        {"vgg_16", "vgg16"},
                                                                        {"VGG 16", "vgg16"},
                                                                        {"resnet-50", "resnet50"},
                                                                        {"MobileNet-V2", "mobilenet_v2"},
                                                                        {"Tiny YOLOv2", "tiny_yolov2"},
                                                                        {"ResNet50 v1_5", "resnet50_v1_5"},
                                                                        {"LeNet-5", "lenet5"}}) {
    INFO(written);
    CHECK(find_model(written, "here").name() == ours);
  }
  CHECK(find_model((kFixtures / "chain3.json").string(), "here").name() == "chain3");

  const auto devices = device_catalogue();
  for (const auto& [written, ours] :
       std::map<std::string, std::string>{{"raspberry pi 4b", "raspberry_pi_4b"},
                                          {"Raspberry-Pi-3B+", "raspberry_pi_3b_plus"},
                                          {"JETSON TX2", "jetson_tx2"},
                                          {"GTX 1080 Ti", "gtx_1080_ti"},
                                          {"Intel i7-6700", "intel_i7_6700"}}) {
    INFO(written);
    CHECK(find_device(devices, written, "here").name == ours);
  }
  for (const auto& [name, device] : devices) {
    INFO(device.title);
    CHECK(find_device(devices, device.title, "here").title == device.title);
  }
}

TEST_CASE("catalogue: one name never stands for two") {
  use_sources();
  std::map<std::string, std::string> names;
  const auto only = [&](const std::string& name, const std::string& owner) {
    const auto [entry, is_new] = names.emplace(plain_name(name), owner);
    INFO(name, " of ", owner, " and ", entry->second);
    CHECK((is_new || entry->second == owner));
  };
  for (const auto& [key, device] : device_catalogue()) {
    only(key, key);
    if (!device.table_2_row.empty()) only(device.table_2_row, key);
  }
  for (const LayerGraph& graph : all_models()) {
    only(graph.name(), graph.name());
    if (graph.table_1()) only(graph.table_1()->row, graph.name());
  }
}

TEST_CASE("catalogue: unknown names are one error with the nearest") {
  use_sources();
  const auto devices = device_catalogue();
  const auto device_error = [&](const std::string& name) {
    return error_of([&] { find_device(devices, name, "here"); });
  };
  CHECK(device_error("raspberry_pi_4c").starts_with("here: no device \"raspberry_pi_4c\"; valid: "));
  CHECK(device_error("raspberry_pi_4c").ends_with("; did you mean \"raspberry_pi_4b\"?"));
  CHECK(device_error("jetson_tx3").find("did you mean \"jetson_tx") != std::string::npos);
  CHECK(device_error("").starts_with("here: no device \"\"; valid: "));
  CHECK(device_error("---").starts_with("here: no device \"---\"; valid: "));

  const auto model_error = [&](const std::string& name) {
    return error_of([&] { find_model(name, "here"); });
  };
  CHECK(model_error("vgg61").starts_with("here: \"vgg61\" is no model; valid: "));
  CHECK(model_error("vgg61").find("did you mean \"vgg1") != std::string::npos);
  CHECK(model_error("resnett50").ends_with("; did you mean \"resnet50\"?"));
  CHECK(model_error("").starts_with("here: \"\""));
  CHECK(model_error("-").starts_with("here: \"-\" is no model; valid: "));
  CHECK(model_error("nowhere/vgg16") == "here: \"nowhere/vgg16\": no such file");
  CHECK(model_error("vgg16.json") == "here: \"vgg16.json\": no such file");
}

TEST_CASE("catalogue: a folder of one's own goes before the bundled files") {
  const TempFolder folder;
  folder.write("workloads/own_net.json", slurp(kFixtures / "chain3.json"));
  folder.write("platforms/hardware.json", slurp(kFixtures / "calibrated" / "hardware.json"));
  folder.write("platforms/calibration.json", slurp(kFixtures / "calibrated" / "calibration.json"));
  use_sources();
  const auto check_own = [&] {
    CHECK(device_catalogue().size() == 4);
    CHECK(calibration().profiles().size() == 7);
    CHECK(find_model("own_net", "here").name() == "chain3");
    CHECK(find_model("Own-Net", "here").name() == "chain3");
    CHECK(find_model("vgg16", "here").name() == "vgg16");
    CHECK(find_model("VGG-16", "here").name() == "vgg16");
  };
  SUBCASE("by CDISIM_PATH") {
    fs::current_path("/");
    setenv("CDISIM_PATH", (folder.path().string() + ":" + kSources.string()).c_str(), 1);
    check_own();
  }
  SUBCASE("by the current folder") {
    fs::current_path(folder.path());
    check_own();
    // A catalogue without its calibration is said to be so, by its place.
    fs::remove(folder / "platforms/calibration.json");
    CHECK(error_of([] { calibration(); }).find("platforms/calibration.json: ") != std::string::npos);
  }
  use_sources();
}

TEST_CASE("catalogue: every model of Table 1 on every device of Table 2") {
  use_sources();
  const auto devices = device_catalogue();
  const Calibration known = calibration();
  int combinations = 0;
  for (const auto& [model, unused] : kTable1) {
    const LayerGraph graph = find_model(model, "here");
    for (const auto& [name, unused_too] : kTable2) {
      INFO(model, " on ", name);
      const DeviceProfile profile = known.find(find_device(devices, name, "here"), {}, "here");
      const double seconds = latency_s(graph, profile);
      CHECK(std::isfinite(seconds));
      CHECK(seconds > 0);
      CHECK(seconds < 3600);
      REQUIRE(profile.busy_w.has_value());
      CHECK(*profile.busy_w * seconds > 0);
      // Larger batches take longer, but not longer than one after another.
      const double batch_s = latency_s(graph, profile, 8);
      CHECK(batch_s > seconds);
      CHECK(batch_s <= 8 * seconds * (1 + 1e-12));
      CHECK(profile.device == find_device(devices, name, "here").name);
      ++combinations;
    }
  }
  CHECK(combinations == 380);
}

TEST_CASE("catalogue: what is measured in Table 2 says so, what is not says what stands for it") {
  use_sources();
  const auto devices = device_catalogue();
  const Calibration known = calibration();
  for (const auto& [printed, name] : kTable2) {
    INFO(printed);
    const DeviceProfile profile = known.find(devices.at(name), {}, "here");
    const std::string text = profile.basis_text();
    CHECK(text.starts_with(profile.models > 0 ? "measured with " : "not measured: "));
    CHECK(known.expected_error(profile, 1).has_value());
  }
}

TEST_CASE("catalogue: a processor that is faster in everything is never slower") {
  use_sources();
  const auto devices = device_catalogue();
  const Calibration known = calibration();
  const std::vector<LayerGraph> graphs = [] {
    std::vector<LayerGraph> out;
    for (const auto& [model, unused] : kTable1) out.push_back(find_model(model, "here"));
    return out;
  }();
  for (const auto& [name, device] : devices) {
    for (const auto& [processor, unused] : device.processors) {
      const DeviceProfile slow = known.find(device, {processor, "", "", 0}, "here");
      DeviceProfile fast = slow, wide = slow, both = slow;
      fast.speed_flop_per_s *= 2;
      wide.roofline.memory_bandwidth_bytes_per_s *= 2;
      both.speed_flop_per_s *= 2;
      both.roofline.memory_bandwidth_bytes_per_s *= 2;
      for (const LayerGraph& graph : graphs) {
        const double before = latency_s(graph, slow), after = latency_s(graph, both);
        INFO(graph.name(), " on ", name, ", ", processor);
        CHECK(latency_s(graph, fast) <= before);
        CHECK(latency_s(graph, wide) <= before);
        CHECK(after <= latency_s(graph, fast));
        CHECK(after <= latency_s(graph, wide));
        CHECK(after >= before / 2 * (1 - 1e-12));  // overheads stay
      }
    }
  }
}

TEST_CASE("catalogue: two devices that inherit from one class are ordered by their peaks") {
  use_sources();
  const auto devices = device_catalogue();
  const Calibration known = classes_alone();
  const LayerGraph graph = find_model("VGG-16", "here");
  std::vector<DeviceType> types;
  for (const auto& [name, device] : devices) {
    DeviceType slow = device, fast = device;
    slow.name = "slow";  // no factors of its own
    fast.name = "fast";
    slow.same_chip_as = fast.same_chip_as = "";
    for (auto& [key, processor] : fast.processors) {
      for (auto* peaks : {&processor.peak_flop_per_s, &processor.peak_op_per_s}) {
        for (auto& [precision, peak] : *peaks) peak.value *= 1.5;
      }
    }
    INFO(name);
    const DeviceProfile before = known.find(slow, {}, "here"), after = known.find(fast, {}, "here");
    CHECK(before.basis == ProfileBasis::kClass);
    CHECK(before.roofline.efficiency == after.roofline.efficiency);
    CHECK(latency_s(graph, after) <= latency_s(graph, before));
    // In a large batch of VGG-16 arithmetic decides somewhere.
    CHECK(latency_s(graph, after, 64) < latency_s(graph, before, 64));
  }
}
