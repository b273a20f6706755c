// The bundled models: what their publications say of them.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sim/layer_graph.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

const std::string kWorkloads = CDISIM_SOURCE_DIR "/workloads/";

LayerGraph workload(const std::string& name) {
  return LayerGraph::load(kWorkloads + name + ".json");
}

// What others count. `macs` within 2 %, from `counter`; parameters to the unit.
struct Counted {
  std::string name;
  double parameters;
  double macs;
  std::string counter;
};

constexpr const char* kTorchvision = "torchvision's model documentation, GFLOPS";
constexpr const char* kNetscope = "github.com/jolibrain/dd_performances";
constexpr const char* kDarknet = "pjreddie.com/darknet/yolov2, operations / 2";
constexpr const char* kLi = "Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017, Table 1";
constexpr const char* kHe = "He et al., Soft Filter Pruning, IJCAI 2018, Table 1";
constexpr const char* kThop = "github.com/Lyken17/pytorch-OpCounter, batch of 32";
constexpr const char* kPencil = "pencil";

const Counted kCounted[] = {
    // 288,000 + 1,600,000 + 400,000 + 5,000
    {"lenet", 431080, 2293000, kPencil},
    {"alexnet", 60965224, 727e6, "github.com/albanie/convnet-burden"},
    {"googlenet", 6998552, 1.5826e9, kNetscope},
    {"vgg16", 138357544, 15.47e9, "github.com/huggingface/pytorch-image-models"},
    {"vgg19", 143667240, 19.63e9, "github.com/huggingface/pytorch-image-models"},
    {"resnet50", 25610269, 3.8580e9, kNetscope},
    {"resnet101", 44654608, 7.5702e9, kNetscope},
    {"resnet152", 60344387, 11.2825e9, kNetscope},
    {"mobilenet_v1", 4209088, 0.5687e9, kNetscope},
    // mobilenet_v1's, 1,000 of the classifier's bias, 4 * 10,944 + 27 of 27 normalisations of 10,944 channels
    {"mobilenet_v1_caffe", 4253891, 0.5687e9, kNetscope},
    {"mobilenet_v2", 3504872, 0.3e9, kTorchvision},
    // 59 words * 128 numbers * 128 filters * (1 + 3 + 5), fc 384 * 10
    {"textcnn", 151690, 8703744, kPencil},
    // 17.0 G operations at 640 x 640
    {"yolov5s", 7266973, 17.0e9 / 2 * 480 / 640, "github.com/ultralytics/yolov5"},
    {"acoustic_model", 34678784, 0.035e9, "github.com/HewlettPackard/dlcookbook-dlbs"},
    // 512 * (160 + 512) per gate; 100 steps in two directions
    {"rnn", 345088, 344064, kPencil},
    {"gru", 1035264, 3 * 344064, kPencil},
    {"lstm", 1380352, 4 * 344064, kPencil},
    {"birnn", 690176, 2.21e9 / 32, kThop},
    {"bigru", 2070528, 6.65e9 / 32, kThop},
    {"bilstm", 2760704, 8.86e9 / 32, kThop},

    {"resnet18", 11689512, 1.81e9, kTorchvision},
    {"resnet34", 21797672, 3.66e9, kTorchvision},
    {"resnet50_v1_5", 25557032, 4.09e9, kTorchvision},
    {"resnet20", 269722, 40.6e6, kHe},
    {"resnet32", 464154, 68.9e6, kHe},
    {"resnet56", 853018, 125e6, kLi},
    {"resnet110", 1727962, 253e6, kLi},
    {"vgg16_cifar", 14728266, 313e6, kLi},
    {"vgg11", 132863336, 7.61e9, kTorchvision},
    {"squeezenet_v1_0", 1248424, 0.82e9, kTorchvision},
    {"squeezenet_v1_1", 1235496, 0.35e9, kTorchvision},
    {"inception_v3", 23834568, 5.71e9, kTorchvision},
    {"densenet121", 7978856, 2.83e9, kTorchvision},
    {"shufflenet_v2", 2278604, 146e6, "Ma et al., ECCV 2018, Table 8"},
    {"efficientnet_b0", 5288548, 0.39e9, kTorchvision},
    {"vit_b16", 86567656, 17.56e9, kTorchvision},
    {"yolov2", 50983561, 62.94e9 / 2, kDarknet},
    {"tiny_yolov2", 15867885, 6.97e9 / 2, kDarknet},
    {"overfeat", 145920872, 2810e6, "Sermanet et al., ICLR 2014: connections"},
    // 32^2 * (75 * 192 + 192 * 160 + 160 * 96) + 16^2 * (2400 * 192 + 2 * 192^2)
    // + 8^2 * (1728 * 192 + 192^2 + 192 * 10) = 61,931,520 + 136,839,168 + 23,715,840
    {"nin", 966986, 222486528, kPencil},
    // Down: 16 * (128^2 * 3 * 64 + 64^2 * 64 * 128 + 32^2 * 128 * 256 + 16^2 * 256 * 512
    //   + (8^2 + 4^2 + 2^2 + 1) * 512^2)
    // Up: 16 * (512^2 + (2^2 + 4^2 + 8^2) * 1024 * 512 + 16^2 * 1024 * 256 + 32^2 * 512 * 128
    //   + 64^2 * 256 * 64 + 128^2 * 128 * 3)
    {"pix2pix", 54413955, 2017460224.0 + 4030726144.0, kPencil},
    // 28^2 * 25 * 6 + 10^2 * 150 * 16 + 400 * 120 + 120 * 84 + 84 * 10
    {"lenet5", 61706, 416520, kPencil},
    // 142^2 * 32 * 11^2 * 3 + 63^2 * 16 * 9^2 * 32 + 55^2 * 16 * 9^2 * 16 + 25^2 * 16 * 7^2 * 16
    //   + 21^2 * 16 * 5^2 * 16 + 7056 * 4096 + 4096 * 4030
    // filters of 32 * 364 and 16 * 2593; of 48400, 10000 and 7056 outputs, each with its own 1297, 785 and
    // 401
    {"deepface", 118923774, 517624448, kPencil},
    // 54^2 * 64 * 11^2 * 3 + 27^2 * 256 * 5^2 * 64 + 3 * 13^2 * 256 * 3^2 * 256
    //   + 9216 * 4096 + 4096 * 4096 + 4096 * 1000
    // filters of 64 * 364, 256 * 1601 and 3 * 256 * 2305
    {"vgg_f", 60834536, 724005632, kPencil},
    // 548 * (2146 * 2048 + 5 * 2048^2 + 2048 * 2146)
    {"kaldi_asr", 29775970, 16309321728, kPencil},
    // 28 * (300 * 300 + 300 * tags)
    {"senna_pos", 103845, 2898000, kPencil},
    {"senna_chk", 103845, 2898000, kPencil},
    {"senna_ner", 95417, 2662800, kPencil},
};

int count(const LayerGraph& graph, LayerKind kind) {
  return static_cast<int>(std::ranges::count(graph.layers(), kind, &Layer::kind));
}

}  // namespace

TEST_CASE("workloads: the files are what generate.py writes") {
  CHECK(std::system(("python3 \"" + kWorkloads + "generate.py\" --check").c_str()) == 0);
}

TEST_CASE("workloads: AlexNet has BVLC's parameters and MACs") {
  const LayerGraph g = LayerGraph::load(kWorkloads + "alexnet.json");
  CHECK(g.parameters() == 60965224);
  CHECK(g.macs() == 724406816);  // convolutions 665,784,864 + fc 58,621,952
  CHECK(g.weight_bytes() == 243860896);
  CHECK(g.size() == 23);
  CHECK(g.layer(g.find("pool5")).output_shape == Shape{256, 6, 6});
  CHECK(g.layer(g.find("conv2")).macs == 223948800);  // 256 * 27 * 27 * 5 * 5 * 96 / 2
}

TEST_CASE("workloads: AlexNet in two towers is AlexNet in groups") {
  const LayerGraph towers = LayerGraph::load(kWorkloads + "alexnet_towers.json");
  const LayerGraph groups = LayerGraph::load(kWorkloads + "alexnet.json");
  CHECK(towers.parameters() == groups.parameters());
  CHECK(towers.macs() == groups.macs());
  CHECK(towers.consumers(kInput).size() == 2);
  CHECK(towers.consumers(towers.find("concat2")).size() == 2);
  CHECK(towers.layer(towers.find("concat5")).output_shape == Shape{256, 6, 6});
}

TEST_CASE("workloads: branchy AlexNet has Edgent's five exits") {
  const LayerGraph g = LayerGraph::load(kWorkloads + "branchy_alexnet.json");
  REQUIRE(g.exits().size() == 5);
  const std::size_t layers[] = {12, 16, 19, 20, 22};
  for (int exit = 0; exit < 5; ++exit) CHECK(g.exit_layers(exit).size() == layers[exit]);
  CHECK(g.exits()[0].accuracy == 0.747);
  CHECK(g.exits()[4].accuracy == 0.782);
  CHECK(g.layer(g.exits()[4].layer).name == "fc_3");

  // The main branch stands first and holds 544,074 parameters of 4 byte.
  double main_bytes = 0;
  for (const LayerId id : g.exit_layers(4)) main_bytes += g.layer(id).weight_bytes;
  CHECK(g.exit_layers(4).back() == 21);
  CHECK(main_bytes == 544074 * 4);
  // conv 2,457,600 + 13,107,200 + 3,538,944 + 5,308,416 + 3,538,944, fc 262,144 + 32,768 + 1,280 MACs.
  CHECK(g.macs() == 28247296);
  CHECK(g.layer(g.find("pool_1")).output_shape == Shape{32, 16, 16});
  CHECK(g.layer(g.find("pool_3")).output_shape == Shape{64, 4, 4});
  // An exit's layers are the main branch up to its tap, then its own.
  CHECK(g.exit_layers(0)[3] == g.find("lrn_1"));
  CHECK(g.exit_layers(0)[4] == g.find("exit1_conv_1"));
  CHECK(g.layer(g.find("exit1_conv_1")).macs == g.layer(g.find("conv_2")).macs);
}

TEST_CASE("workloads: exits of PORTEND's models") {
  const LayerGraph g = workload("efficientnet_b0_exits");
  // EfficientNet-B0's and the classifiers of 40, 80, 112 and 192 channels.
  CHECK(g.parameters() == 5288548 + (40 + 80 + 112 + 192 + 4) * 1000);
  REQUIRE(g.exits().size() == 5);
  CHECK(g.exits()[0].accuracy == 6981 / 25000.0);
  // Entropy below 0.3: 1569 leave at exit 4, 1217 of them right; 9803 and 7420 at exit 5, were it the first.
  const Threshold& t = g.thresholds()[3];
  CHECK(t.value == 0.7);
  CHECK(t.rates[0] == 1569 / 25000.0);
  CHECK(t.rates[1] == (9803 - 1569) / 25000.0);
  CHECK(t.accuracies[0] == doctest::Approx(1217 / 1569.0).epsilon(1e-5));
  // 1217 is more than 1569 * 7420 / 9803.
  CHECK(t.accuracies[1] == doctest::Approx((7420 - 1217) / (9803 - 1569.0)).epsilon(1e-5));
  // 15734 and 12253 at exit 6; 9803 * 12253 / 15734 = 7634 is more than 7420.
  CHECK(t.accuracies[2] == doctest::Approx(12253.0 / 15734).epsilon(1e-5));
  for (const char* name : {"efficientnet_b0_exits", "resnet110_exits"}) {
    CAPTURE(name);
    const LayerGraph model = workload(name);
    double before = 0;
    for (const Threshold& threshold : model.thresholds()) {
      double accuracy = 0;
      for (std::size_t e = 0; e < threshold.rates.size(); ++e)
        accuracy += threshold.rates[e] * threshold.accuracies[e];
      // No better than the last exit alone; on the whole the stricter the better.
      CHECK(accuracy <= *model.exits().back().accuracy + 1e-6);
      CHECK(accuracy >= before - 1e-3);
      before = accuracy;
    }
    CHECK(model.thresholds().back().rates.back() == 1);
  }
}

TEST_CASE("workloads: every file is read, and written back byte for byte") {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(kWorkloads)) {
    if (entry.path().extension() != ".json") continue;
    CAPTURE(entry.path());
    const LayerGraph g = LayerGraph::load(entry.path());
    CHECK(g.name() == entry.path().stem());
    CHECK(g.text() == slurp(entry.path()));
    CHECK(g.to_json() == read_json_file(entry.path()));
    ++files;
  }
  CHECK(files > 50);
}

TEST_CASE("workloads: parameters to the unit, MACs as others count them") {
  for (const Counted& counted : kCounted) {
    CAPTURE(counted.name);
    CAPTURE(counted.counter);
    const LayerGraph g = workload(counted.name);
    CHECK(g.parameters() == counted.parameters);
    CHECK(g.macs() == doctest::Approx(counted.macs).epsilon(0.02));
    if (counted.counter == kPencil) CHECK(g.macs() == counted.macs);
  }
}

TEST_CASE("workloads: the nineteen rows of the survey's Table 1") {
  std::set<std::string> rows;
  for (const auto& entry : fs::directory_iterator(kWorkloads)) {
    if (entry.path().extension() != ".json") continue;
    const LayerGraph g = LayerGraph::load(entry.path());
    if (!g.table_1()) continue;
    CAPTURE(g.name());
    rows.insert(g.table_1()->row);
    CHECK_FALSE(g.table_1()->note.empty());
    const bool recurrent = g.layer(0).kind == LayerKind::kRnn || g.layer(0).kind == LayerKind::kGru ||
                           g.layer(0).kind == LayerKind::kLstm;
    // Recurrent rows are printed in millions with two decimals, the others to the unit.
    CHECK(std::abs(g.parameters() - g.table_1()->parameters) <= (recurrent ? 5000 : 0));
    // The size is that of fp32 in 2^20 byte, from the printed parameters, to the printed digits.
    CHECK(g.table_1()->parameters * 4 / 1048576 == doctest::Approx(g.table_1()->size_mb).epsilon(0.05));
    // The printed gflops are MACs of one input; operations of LeNet; MACs of a batch of 32 where recurrent,
    // for cells to one digit.
    const double gflops = g.macs() * (recurrent ? 32 : g.name() == "lenet" ? 2 : 1) / 1e9;
    CHECK(gflops ==
          doctest::Approx(g.table_1()->gflops).epsilon(recurrent && g.layer(0).steps == 1 ? 0.15 : 0.09));
  }
  CHECK(rows == std::set<std::string>{"LeNet", "AlexNet", "GoogleNet", "VGG-16", "VGG-19", "ResNet50",
                                      "ResNet101", "ResNet152", "MobileNetV1", "MobileNetV2", "TextCNN",
                                      "YOLOV5s", "Eng Acoustic Model", "RNNCell", "BiRNN", "GRUCell", "BiGRU",
                                      "LSTMCell", "BiLSTM"});
}

TEST_CASE("workloads: the branches of the graphs") {
  struct Branches {
    std::string name;
    int adds, concats;
  };
  // Adds: one per residual block. Concats: one per inception or fire module, dense layer or shuffle unit;
  // Inception v3 has two more in each of its last two modules; YOLOv5s has 8 CSP blocks, focus, pyramid
  // pooling, four in the neck and one of the boxes.
  for (const Branches& b : std::vector<Branches>{{"googlenet", 0, 9},        {"inception_v3", 0, 11 + 2 * 2},
                                                 {"squeezenet_v1_0", 0, 8},  {"squeezenet_v1_1", 0, 8},
                                                 {"densenet121", 0, 58},     {"shufflenet_v2", 0, 16},
                                                 {"yolov2", 0, 1},           {"yolov5s", 1 + 3 + 3, 15},
                                                 {"textcnn", 0, 1},          {"resnet18", 8, 0},
                                                 {"resnet34", 16, 0},        {"resnet50", 16, 0},
                                                 {"resnet50_v1_5", 16, 0},   {"resnet101", 33, 0},
                                                 {"resnet152", 50, 0},       {"resnet20", 9, 0},
                                                 {"resnet32", 15, 0},        {"resnet56", 27, 0},
                                                 {"resnet110", 54, 0},       {"mobilenet_v1", 0, 0},
                                                 {"mobilenet_v2", 10, 0},    {"efficientnet_b0", 9, 0},
                                                 {"vit_b16", 24, 0},         {"tinyllama_prefill", 44, 0},
                                                 {"tinyllama_decode", 44, 0}}) {
    CAPTURE(b.name);
    const LayerGraph g = workload(b.name);
    CHECK(count(g, LayerKind::kAdd) == b.adds);
    CHECK(count(g, LayerKind::kConcat) == b.concats);
  }
  const LayerGraph yolo = workload("yolov5s");
  CHECK(count(yolo, LayerKind::kSlice) == 4);
  CHECK(count(yolo, LayerKind::kUpsample) == 2);
  CHECK(yolo.consumers(kInput).size() == 4);
  // 3 boxes in 80 x 60, 40 x 30 and 20 x 15 cells.
  CHECK(yolo.layer(yolo.exits()[0].layer).output_shape == Shape{18900, 85});
  CHECK(count(workload("efficientnet_b0"), LayerKind::kMul) == 16);
}

TEST_CASE("workloads: Inception for 21,841 classes has the sizes and layers that IONN prints") {
  // Jeong et al., SoCC 2018, Fig. 7, inset table: MB of 2^20 B and layers of what is uploaded for K = 0.5, in
  // the order of the layers. Their 1.7 MB of modules 5a and 5b reads 16.9 here, by the shapes.
  const LayerGraph g = workload("inception_21k");
  CHECK(g.parameters() == 33641638);
  LayerId next = 0;
  for (const auto& [layers, mb] : std::vector<std::pair<int, double>>{
           {76, 5.5}, {23, 3.3}, {124, 11.9}, {23, 5.4}, {63, 16.9}, {1, 85.4}}) {
    CAPTURE(mb);
    double bytes = 0;
    for (int i = 0; i < layers; ++i) bytes += g.layer(next++).weight_bytes;
    CHECK(std::abs(bytes / 1048576 - mb) < 0.07);
  }
  CHECK(next == g.size() - 1);  // and the softmax
}

TEST_CASE("workloads: BranchyNet's networks") {
  const LayerGraph lenet = workload("branchy_lenet");
  // 30 x 30 -> 15 -> 8 (rounded up): 10 * 64; 17 -> 9, 11 -> 6: 20 * 36.
  CHECK(lenet.layer(lenet.find("branch_fc")).macs == 640 * 10);
  CHECK(lenet.layer(lenet.find("fc1")).macs == 720 * 84);
  CHECK(lenet.exits().size() == 2);

  const LayerGraph alexnet = workload("branchynet_alexnet");
  CHECK(alexnet.layer(alexnet.find("branch1_conv_1")).macs == 1179648);  // 8 * 8 * 32 * 9 * 64
  CHECK(alexnet.layer(alexnet.find("branch1_conv_2")).macs == 589824);
  CHECK(alexnet.layer(alexnet.find("branch1_fc")).macs == 5120);
  CHECK(alexnet.layer(alexnet.find("branch2_conv")).macs == 442368);  // 4 * 4 * 32 * 9 * 96
  CHECK(alexnet.layer(alexnet.find("branch2_fc")).macs == 1280);
  // The main branch is the one of Edgent's graph: 28,247,296 MACs.
  CHECK(alexnet.macs() == workload("branchy_alexnet").macs());
}

TEST_CASE("workloads: YOLOv2's variants have the tensors of the papers that use them") {
  // DeepThings runs the first 16 layers of YOLOv2 at 608 x 608: 12 convolutions and 4 pools.
  const LayerGraph whole = workload("yolov2"), first = workload("yolov2_first16");
  CHECK(count(first, LayerKind::kConv) == 12);
  CHECK(count(first, LayerKind::kMaxPool) == 4);
  CHECK(first.layer(first.size() - 1).output_shape == Shape{256, 38, 38});
  for (LayerId id = 0; id < first.size(); ++id) {
    CHECK(first.layer(id).name == whole.layer(id).name);
    CHECK(first.layer(id).work_flop == whole.layer(id).work_flop);
  }
  // DADS's Tiny YOLOv2 at 288 x 288: bytes of its tensors.
  const LayerGraph tiny = workload("tiny_yolov2_288");
  CHECK(tiny.input_bytes() == 995328);
  for (const auto& [name, bytes] : std::map<std::string, double>{
           {"conv1", 5308416}, {"max1", 1327104}, {"conv5", 331776}, {"max6", 165888}, {"conv9", 40500}}) {
    CAPTURE(name);
    CHECK(tiny.layer(tiny.find(name)).output_bytes == bytes);
  }
}

TEST_CASE("workloads: the CNN of Disabato et al. has their multiplications, memory and tensors") {
  const LayerGraph g = workload("disabato_cnn");
  // 10^6 multiplications (they count biases too), 10^3 byte of weights (without biases), 10^3 byte out.
  struct Row {
    std::string layer, out;
    double mega_macs, kilobytes, kilobytes_out;
  };
  for (const Row& row : std::vector<Row>{{"conv1", "pool1", 3.81, 19.2, 50.18},
                                         {"conv2", "pool2", 20.08, 409.6, 12.54},
                                         {"fc3", "fc3", 1.2, 4816.9, 1.54},
                                         {"fc4", "fc4", 0.07, 294.91, 0.77},
                                         {"fc5", "fc5", 0.002, 7.68, 0.04}}) {
    CAPTURE(row.layer);
    const Layer& layer = g.layer(g.find(row.layer));
    const double biases = layer.output_shape[0];
    CHECK(layer.macs + shape_elements(layer.output_shape) * (layer.kind == LayerKind::kConv ? 1 : 0) ==
          doctest::Approx(row.mega_macs * 1e6).epsilon(0.06));
    CHECK(layer.weight_bytes - biases * 4 == doctest::Approx(row.kilobytes * 1e3).epsilon(1e-4));
    CHECK(g.layer(g.find(row.out)).output_bytes == doctest::Approx(row.kilobytes_out * 1e3).epsilon(0.01));
  }
}

TEST_CASE("workloads: NiN for ImageNet") {
  const LayerGraph g = workload("nin_imagenet");
  // 54 x 54: 363 * 96 + 2 * 96 * 96; 27 x 27: 2400 * 256 + 2 * 256 * 256; 13 x 13: 2304 * 384 + 2 * 384 *
  // 384; 6 x 6: 3456 * 1024 + 1024 * 1024 + 1024 * 1000.
  CHECK(g.macs() == 2916.0 * 53280 + 729.0 * 745472 + 169.0 * 1179648 + 36.0 * 5611520);
  // The weights of these and 96 * 3 + 256 * 3 + 384 * 3 + 1024 * 2 + 1000 biases.
  CHECK(g.parameters() == 53280 + 745472 + 1179648 + 5611520 + 5256);
}

TEST_CASE("workloads: TinyLlama's two phases") {
  const LayerGraph prefill = workload("tinyllama_prefill"), decode = workload("tinyllama_decode");
  // Weights of a layer: q and out 2048 * 2048 each, k and v 2048 * 256 each, three of 2048 * 5632 =
  // 44,040,192.
  const double block = 2 * 2048.0 * 2048 + 2 * 2048.0 * 256 + 3 * 2048.0 * 5632, head = 2048.0 * 32000;
  CHECK(block == 44040192);
  for (const LayerGraph* g : {&prefill, &decode}) {
    CHECK(g->parameters() == 1100048384);  // 22 * (block + 2 norms of 2048) + embedding + head + norm
    CHECK(g->parameters() == 22 * (block + 4096) + 2 * head + 2048);
    CHECK(g->weight_bytes() == 2 * 1100048384.0);
    CHECK(g->layer(g->size() - 1).output_shape == Shape{1, 32000});
  }
  // Attention: 2 * tokens * attended * 2048 in each of 22 layers; the head once, for the last token.
  CHECK(prefill.macs() == 22 * (128 * block + 2 * 128 * 128 * 2048.0) + head);
  CHECK(decode.macs() == 22 * (block + 2 * 1 * 129 * 2048.0) + head);
  // Keys and values of 256 features, 2 byte each: 22 * 2 * tokens * 256 * 2.
  CHECK(prefill.state_bytes() == 2883584);
  CHECK(decode.state_bytes() == 2906112);
}

TEST_CASE("workloads: DDNN's six cameras") {
  const LayerGraph g = workload("ddnn_max");
  const auto of = [&](const std::string& name) -> const Layer& { return g.layer(g.find(name)); };
  // A camera: 4 filters of 3 x 3 x 3 on 32 x 32, scores of 4 x 16 x 16; 3072 B of image, a bit for each of
  // the 4 x 16 x 16 signs, 4 B for each of three classes.
  for (int i = 1; i <= 6; ++i) {
    const std::string n = std::to_string(i);
    CHECK(of("conv_" + n).macs == 110592);
    CHECK(of("scores_" + n).macs == 3072);
    CHECK(of("camera_" + n).output_bytes == 3072);
    CHECK(of("sign_" + n).output_bytes == 128);
    CHECK(of("scores_" + n).output_bytes == 12);
  }
  // The cloud: 16 filters over 24 and over 16 channels of 16 x 16, and three classes of 16 x 16 x 16.
  CHECK(of("cloud_conv_1").macs + of("cloud_conv_2").macs + of("cloud_scores").macs ==
        256 * 16 * (24 + 16) * 9 + 3 * 4096);
  CHECK(of("cloud_concat").output_bytes == 6 * 128);
  CHECK(g.thresholds().size() == 8);
}

TEST_CASE("workloads: the networks of deepFogGuard and ResiliNet") {
  // Multiply-adds by host: 23 * 250; then layers of 250 * 250, two, three and four, and 13 classes.
  for (const char* system : {"vanilla", "skip", "switch"}) {
    const LayerGraph g = workload(std::string("health_") + system);
    CAPTURE(g.name());
    const auto macs = [&](const std::string& host) {
      double sum = 0;
      for (const Layer& layer : g.layers()) sum += layer.name.starts_with(host + "_fc") ? layer.macs : 0;
      return sum;
    };
    CHECK(macs("e") == 5750);
    CHECK(macs("f2") == 125000);
    CHECK(macs("f1") == 187500);
    CHECK(macs("c") == 253250);
    const Absent absent = std::string(system) == "switch" ? Absent::kSwitch : Absent::kSkip;
    for (const Layer& layer : g.layers()) {
      if (layer.kind == LayerKind::kAdd) CHECK(layer.absent == absent);
    }
    // MobileNet: 31 x 31 x 24 from the sensor, x 96 from the edge, 7 x 7 x 384 from the fog.
    const LayerGraph cifar = workload(std::string("mobilenet_") + system);
    CHECK(cifar.layer(cifar.find("conv0_relu")).output_bytes == 92256);
    CHECK(cifar.layer(cifar.find("conv3_pw_relu")).output_bytes == 369024);
    CHECK(cifar.layer(cifar.find("conv8_pw_relu")).output_bytes == 75264);
    CHECK(cifar.layer(cifar.find("conv13_pw_relu")).output_shape[0] == 768);
  }
  const LayerGraph cifar = workload("mobilenet_skip");
  CHECK(cifar.layer(cifar.find("skip_e_c")).output_bytes == 98304);
  CHECK(cifar.layer(cifar.find("skip_iot_f")).output_bytes == 369024);

  // Every pattern of hosts that leaves an answer has an accuracy; all working: 141 and 142 of 145.
  CHECK(*workload("camera_vanilla").exits()[0].accuracy == doctest::Approx(141 / 145.0).epsilon(1e-6));
  CHECK(*workload("camera_failout").exits()[0].accuracy == doctest::Approx(142 / 145.0).epsilon(1e-6));
  for (const char* name : {"camera_vanilla", "camera_skip", "camera_failout"}) {
    const LayerGraph g = workload(name);
    CAPTURE(name);
    const std::vector<std::string> ends{"f1_relu_2", "f2_relu_2", "f3_relu_1", "f4_relu_2",
                                        "e1_relu_1", "e2_relu_1", "e3_relu_1", "e4_relu_1"};
    for (unsigned failed = 0; failed < 256; ++failed) {
      // A host's failure takes its last layer, as surviving() would.
      std::vector<bool> computed(static_cast<std::size_t>(g.size()), false);
      for (LayerId id = 0; id < g.size(); ++id) {
        const Layer& layer = g.layer(id);
        const auto there = [&](LayerId input) {
          return input == kInput || computed[static_cast<std::size_t>(input)];
        };
        bool runs = layer.absent == Absent::kRefuse ? std::ranges::all_of(layer.inputs, there)
                                                    : std::ranges::any_of(layer.inputs, there);
        for (std::size_t i = 0; i < ends.size(); ++i) {
          if (layer.name == ends[i] && (failed >> i & 1U) != 0) runs = false;
        }
        computed[static_cast<std::size_t>(id)] = runs;
      }
      CAPTURE(failed);
      if (computed.back()) CHECK(g.exits()[0].accuracy_with(computed));
    }
  }
}
