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
  CHECK(files == 57);
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
