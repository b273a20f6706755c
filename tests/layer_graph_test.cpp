#include "sim/layer_graph.h"

#include <doctest/doctest.h>

#include <string>

#include "sim/error.h"

using namespace cdisim;

namespace {

const std::string kFixtures = CDISIM_SOURCE_DIR "/tests/fixtures/";

// A graph around `layers` (and `more` members); errors name the file "g".
LayerGraph graph(const std::string& layers, const std::string& input = "[2, 4, 4]",
                 const std::string& more = "", const std::string& precision = "fp32") {
  const std::string text = R"({"schema": 1, "name": "g", "source": "test", "precision": ")" + precision +
                           R"(", "input": {"shape": )" + input + R"(}, "layers": [)" + layers + "]" + more +
                           "}";
  return LayerGraph::parse(parse_json(text, "g"), "g");
}

// The only layer, reading the input.
std::string one(const std::string& keys) {
  return R"({"name": "a", "inputs": ["input"], )" + keys + "}";
}

std::string relu(const std::string& name, const std::string& input) {
  return R"({"name": ")" + name + R"(", "kind": "relu", "inputs": [")" + input + R"("]})";
}

std::string error_of(const std::string& layers, const std::string& input = "[2, 4, 4]",
                     const std::string& more = "", const std::string& precision = "fp32") {
  try {
    graph(layers, input, more, precision);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("layer graph: the chain of fc layers has its pencil costs") {
  const LayerGraph g = LayerGraph::load(kFixtures + "chain3.json");
  REQUIRE(g.size() == 3);
  CHECK(g.name() == "chain3");
  CHECK(g.input_bytes() == 4000);  // 1000 elements * 4 byte
  // fc_1: 1000 * 500 = 500,000 MACs; twice that in flop, no bias; as many weights of 4 byte.
  CHECK(g.layer(0).macs == 500e3);
  CHECK(g.layer(0).work_flop == 1e6);
  CHECK(g.layer(0).weight_bytes == 2e6);
  CHECK(g.layer(0).output_bytes == 2000);
  // fc_2: 500 * 1000; fc_3: 1000 * 250.
  CHECK(g.layer(1).work_flop == 1e6);
  CHECK(g.layer(2).work_flop == 500e3);
  CHECK(g.macs() == 1.25e6);
  CHECK(g.parameters() == 1.25e6);
  CHECK(g.weight_bytes() == 5e6);
  CHECK(g.exits().size() == 1);
  CHECK(g.exits()[0].name == "output");
  CHECK(g.exits()[0].layer == 2);
  CHECK_FALSE(g.exits()[0].accuracy.has_value());
}

TEST_CASE("layer graph: the diamond's consumers, exits and costs") {
  const LayerGraph g = LayerGraph::load(kFixtures + "diamond.json");
  const LayerId stem = g.find("stem"), left = g.find("left"), join = g.find("join"), head = g.find("head");
  CHECK(g.find("stern") == -1);
  CHECK(g.layer(stem).inputs == std::vector<LayerId>{kInput});
  CHECK(std::vector<LayerId>(g.consumers(kInput).begin(), g.consumers(kInput).end()) ==
        std::vector<LayerId>{stem});
  CHECK(std::vector<LayerId>(g.consumers(stem).begin(), g.consumers(stem).end()) ==
        std::vector<LayerId>{left, g.find("right"), g.find("early_head")});
  CHECK(g.consumers(head).empty());
  // left: 4 x 4 x 4 outputs * 3 * 3 * 4 = 2304 MACs; 2 * 2304 + 64 for the bias = 4672 flop; 4 * 36 + 4 = 148
  // weights.
  CHECK(g.layer(left).macs == 2304);
  CHECK(g.layer(left).work_flop == 4672);
  CHECK(g.layer(left).weight_bytes == 592);
  CHECK(g.layer(left).output_bytes == 256);
  // join adds two tensors of 64 elements: 64 flop, and reads 128 elements.
  CHECK(g.layer(join).work_flop == 64);
  CHECK(g.input_elements(join) == 128);
  CHECK(g.output_elements(join) == 64);
  CHECK(g.input_shape(left) == Shape{4, 4, 4});
  CHECK(g.input_shape(stem) == Shape{2, 4, 4});
  // The early exit has stem and early_head; the full one all but early_head.
  REQUIRE(g.exits().size() == 2);
  CHECK(g.exits()[0].accuracy == 0.7);
  CHECK(std::vector<LayerId>(g.exit_layers(0).begin(), g.exit_layers(0).end()) ==
        std::vector<LayerId>{stem, g.find("early_head")});
  CHECK(g.exit_layers(1).size() == 5);
  // The full model: 128 + 2304 + 256 + 640 MACs.
  CHECK(g.macs() == 3328);
  // All layers: 12 + 148 + 20 + 650 + 650.
  CHECK(g.parameters() == 1480);
}

TEST_CASE("layer graph: each kind's costs follow from the shapes") {
  const auto layer = [](const std::string& keys, const std::string& input = "[2, 4, 4]") {
    return graph(one(keys), input).layer(0);
  };
  SUBCASE("conv in groups, strided and padded") {
    // (5 + 0 + 1 - 3) / 2 + 1 = 2 rows (rounded down), (5 + 2 + 0 - 3) / 2 + 1 = 3 columns.
    const Layer conv = layer(R"("kind": "conv", "kernel": [3, 3], "stride": [2, 2], "padding": [0, 2, 1, 0],
                                "groups": 2, "output": [6, 2, 3])",
                             "[4, 5, 5]");
    // 36 outputs * 9 * 4 / 2 = 648 MACs; 6 * 18 weights + 6 biases = 114.
    CHECK(conv.macs == 648);
    CHECK(conv.work_flop == 2 * 648 + 36);
    CHECK(conv.weight_bytes == 114 * 4);
    CHECK(conv.groups == 2);
  }
  SUBCASE("depthwise_conv") {
    // One filter of 3 x 3 per channel: 2 * 2 * 2 outputs * 9 = 72 MACs; 18 weights, no biases.
    const Layer conv =
        layer(R"("kind": "depthwise_conv", "kernel": [3, 3], "bias": false, "output": [2, 2, 2])");
    CHECK(conv.macs == 72);
    CHECK(conv.work_flop == 144);
    CHECK(conv.weight_bytes == 72);
    CHECK(conv.groups == 2);
  }
  SUBCASE("fc flattens what it reads and adds a bias") {
    const Layer fc = layer(R"("kind": "fc", "output": [10])");
    CHECK(fc.macs == 320);
    CHECK(fc.work_flop == 650);
    CHECK(fc.weight_bytes == 330 * 4);
  }
  SUBCASE("pools do kernel-area operations per output") {
    const Layer pool = layer(R"("kind": "max_pool", "kernel": [2, 2], "stride": [2, 2])");
    CHECK(pool.output_shape == Shape{2, 2, 2});
    CHECK(pool.work_flop == 8 * 4);
    CHECK(pool.macs == 0);
    CHECK(layer(R"("kind": "avg_pool", "kernel": [4, 4])").work_flop == 2 * 16);
  }
  SUBCASE("element-wise kinds, 32 elements") {
    CHECK(layer(R"("kind": "relu")").work_flop == 32);
    CHECK(layer(R"("kind": "lrn", "local_size": 5)").work_flop == 32 * 13);
    CHECK(layer(R"("kind": "batch_norm")").work_flop == 64);
    CHECK(layer(R"("kind": "batch_norm")").weight_bytes == 2 * 2 * 4);  // scale and shift of 2 channels
    CHECK(layer(R"("kind": "softmax")").work_flop == 96);
    CHECK(layer(R"("kind": "dropout")").work_flop == 0);
    CHECK(layer(R"("kind": "flatten")").output_shape == Shape{32});
  }
  SUBCASE("concat joins channels, add keeps them") {
    const std::string ends = relu("a", "input") + "," + relu("b", "input") + "," + relu("c", "input") + ",";
    const LayerGraph concat = graph(ends + R"({"name": "d", "kind": "concat", "inputs": ["a", "b", "c"]})");
    CHECK(concat.layer(3).output_shape == Shape{6, 4, 4});
    CHECK(concat.layer(3).work_flop == 0);
    const LayerGraph add = graph(ends + R"({"name": "d", "kind": "add", "inputs": ["a", "b", "c"]})");
    CHECK(add.layer(3).work_flop == 2 * 32);  // two additions per element
  }
}

TEST_CASE("layer graph: pools round down, and with ceil up") {
  const auto pooled = [](int extent, const std::string& keys) {
    return graph(one(R"("kind": "max_pool", )" + keys), "[1, " + std::to_string(extent) + ", 9]")
        .layer(0)
        .output_shape[1];
  };
  const std::string k3s2 = R"("kernel": [3, 3], "stride": [2, 2])";
  CHECK(pooled(32, k3s2) == 15);                        // (32 - 3) / 2 = 14.5, down, + 1
  CHECK(pooled(32, k3s2 + R"(, "ceil": true)") == 16);  // up
  CHECK(pooled(55, k3s2 + R"(, "ceil": true)") == 27);  // (55 - 3) / 2 = 26: nothing to round
  CHECK(pooled(2, k3s2 + R"(, "ceil": true)") == 1);    // (2 - 3) / 2 = -0.5, up to 0, + 1
  // (4 + 2 - 2) / 3 = 1.33, up to 2, + 1 = 3 windows; the third would start at row 6 of 1 + 4, so it does not
  // count.
  CHECK(pooled(4, R"("kernel": [2, 2], "stride": [3, 3], "padding": [1, 1, 1, 1], "ceil": true)") == 2);
}

TEST_CASE("layer graph: precision sets the bytes and leaves the work") {
  const std::string fc = one(R"("kind": "fc", "output": [10], "bias": false)");
  const auto layer = [&](const char* precision) { return graph(fc, "[100]", "", precision).layer(0); };
  CHECK(layer("fp32").weight_bytes == 4000);
  CHECK(layer("fp16").weight_bytes == 2000);
  CHECK(layer("int8").weight_bytes == 1000);  // bytes, not bits
  CHECK(layer("int8").output_bytes == 10);
  CHECK(layer("int8").work_flop == layer("fp32").work_flop);
  CHECK(graph(fc, "[100]", "", "fp16").parameters() == 1000);
}

TEST_CASE("layer graph: file order stays where it is topological, and is repaired where it is not") {
  const auto names = [](const LayerGraph& g) {
    std::string out;
    for (const Layer& layer : g.layers()) out += layer.name;
    return out;
  };
  const std::string join = R"({"name": "j", "kind": "add", "inputs": ["b", "c"]})";
  CHECK(names(graph(relu("c", "input") + "," + relu("a", "input") + "," + relu("b", "a") + "," + join)) ==
        "cabj");
  CHECK(names(graph(join + "," + relu("b", "a") + "," + relu("c", "input") + "," + relu("a", "input"))) ==
        "abcj");
}

TEST_CASE("layer graph: stated costs must be those of the shapes") {
  const std::string fc = R"("kind": "fc", "output": [10], )";  // 320 MACs, 650 flop, 330 weights, 10 outputs
  CHECK(error_of(one(fc + R"("macs": 320, "work_flop": 650, "weight_bytes": 1320, "output_bytes": 40)")) ==
        "no error");
  // Flop where MACs belong and the other way round; bits and counts where bytes belong.
  CHECK(error_of(one(fc + R"("macs": 640)")) ==
        "g: /layers/0/macs: 640: the shapes give 320 multiply-adds (1 MAC = 2 flop)");
  CHECK(
      error_of(one(fc + R"("work_flop": 320)")) ==
      "g: /layers/0/work_flop: 320: the shapes give 650 flop (1 MAC = 2 flop, plus element-wise operations)");
  CHECK(error_of(one(fc + R"("output_bytes": 320)")) ==
        "g: /layers/0/output_bytes: 320: the shapes give 40 bytes (fp32 has 4 per element)");
  CHECK(error_of(one(fc + R"("weight_bytes": 330)")) ==
        "g: /layers/0/weight_bytes: 330: the shapes give 1320 bytes (fp32 has 4 per element)");
  CHECK(error_of(one(R"("kind": "conv", "kernel": [3, 3], "output": [6, 4, 4])")) ==
        "g: /layers/0/output: [6,4,4]: the inputs give [6, 2, 2]");
}

TEST_CASE("layer graph: bad layers are refused at their place") {
  CHECK(error_of("") == "g: /layers: []: must not be empty");
  CHECK(
      error_of(one(R"("kind": "cnv")")).starts_with("g: /layers/0/kind: \"cnv\" is unknown; valid: conv, "));
  CHECK(error_of(one(R"("kind": "conv", "kernel": [0, 1], "output": [1, 4, 4])")) ==
        "g: /layers/0/kernel/0: 0: must lie within [1, 1000000]");
  CHECK(error_of(one(R"("kind": "conv", "kernel": [3], "output": [1, 4, 4])")) ==
        "g: /layers/0/kernel: [3]: must be an array of 2 whole numbers");
  CHECK(error_of(one(R"("kind": "conv", "kernel": [5, 3], "output": [1, 4, 4])")) ==
        "g: /layers/0/kernel: [5,3]: is larger than the padded input of 4 by 4");
  CHECK(error_of(one(R"("kind": "conv", "kernel": [3, 3])")) == "g: /layers/0: \"output\" is missing");
  CHECK(error_of(one(R"("kind": "max_pool")")) == "g: /layers/0: \"kernel\" is missing");
  CHECK(error_of(one(R"("kind": "conv", "kernel": [1, 1], "groups": 3, "output": [6, 4, 4])")) ==
        "g: /layers/0/groups: 3: 3 groups do not divide 2 channels in and 6 out");
  CHECK(error_of(one(R"("kind": "depthwise_conv", "kernel": [1, 1], "output": [3, 4, 4])")) ==
        "g: /layers/0/output: [3,4,4]: 2 groups do not divide 2 channels in and 3 out");
  CHECK(error_of(one(R"("kind": "max_pool", "kernel": [1, 1])"), "[32]") ==
        "g: /layers/0/inputs: [\"input\"]: max_pool reads an image, not [32]");
  CHECK(error_of(one(R"("kind": "add")")) ==
        "g: /layers/0/inputs: [\"input\"]: add reads two tensors or more");
  CHECK(error_of(R"({"name": "a", "kind": "relu", "inputs": ["input", "input"]})") ==
        "g: /layers/0/inputs: [\"input\",\"input\"]: relu reads exactly one tensor");
  CHECK(error_of(R"({"name": "a", "kind": "relu", "inputs": []})") ==
        "g: /layers/0/inputs: []: must not be empty");
  CHECK(error_of(one(R"("kind": "relu", "kernal": [1, 1])"))
            .starts_with("g: /layers/0: unknown key \"kernal\"; valid: inputs, kind, "));
  CHECK(error_of(relu("a", "input") + "," + one(R"("kind": "fc", "output": [4])")) ==
        "g: /layers/1/name: \"a\": two layers have that name");
  CHECK(error_of(relu("input", "input")) == "g: /layers/0/name: \"input\": is the name of the model's input");
  CHECK(error_of(relu("conv_1", "input") + "," + relu("b", "conv_l")) ==
        "g: /layers/1/inputs/0: no layer \"conv_l\"; valid: conv_1, b, input; did you mean \"conv_1\"?");

  const std::string pool = R"({"name": "p", "kind": "max_pool", "kernel": [2, 2], "inputs": ["input"]},)";
  CHECK(error_of(pool + R"({"name": "j", "kind": "add", "inputs": ["input", "p"]})") ==
        "g: /layers/1/inputs: [\"input\",\"p\"]: add cannot join [2, 4, 4] and [2, 3, 3]");
  CHECK(error_of(pool + R"({"name": "j", "kind": "concat", "inputs": ["p", "input"]})") ==
        "g: /layers/1/inputs: [\"p\",\"input\"]: concat cannot join [2, 3, 3] and [2, 4, 4]");
}

namespace {

// The only layer of a graph, its keys and what it reads.
Layer layer_of(const std::string& keys, const std::string& input = "[2, 4, 4]",
               const std::string& precision = "fp32") {
  return graph(one(keys), input, "", precision).layer(0);
}

// A layer that reads several tensors: `shapes` are those of the model's input, cut out of it by slices.
std::string slices(const std::vector<std::string>& shapes) {
  std::string text;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    text += R"({"name": "i)" + std::to_string(i) + R"(", "kind": "slice", "inputs": ["input"], "output": )" +
            shapes[i] + "},";
  }
  return text;
}

std::string reads(const std::string& inputs, const std::string& keys) {
  return R"({"name": "z", "inputs": )" + inputs + ", " + keys + "}";
}

}  // namespace

TEST_CASE("layer graph: there are as many names as kinds") {
  REQUIRE(layer_kind_names().size() == kLayerKinds);
  CHECK(layer_kind_name(LayerKind::kConv) == "conv");
  CHECK(layer_kind_name(LayerKind::kConvTranspose) == "conv_transpose");
  CHECK(layer_kind_name(LayerKind::kReduce) == "reduce");
  CHECK(layer_kind_name(LayerKind::kLayerNorm) == "layer_norm");
  CHECK(layer_kind_name(LayerKind::kDataMovement) == "data_movement");
}

TEST_CASE("layer graph: dilation spreads the kernel and leaves its area") {
  // 3 x 3 with gaps of one covers 5 x 5: (9 - 5) / 1 + 1 = 5; 25 outputs * 9 * 1 MACs, 9 weights and a bias.
  const Layer conv =
      layer_of(R"("kind": "conv", "kernel": [3, 3], "dilation": [2, 2], "output": [1, 5, 5])", "[1, 9, 9]");
  CHECK(conv.macs == 225);
  CHECK(conv.weight_bytes == 40);
  CHECK(conv.dilation == std::array<int, 2>{2, 2});
}

TEST_CASE("layer graph: conv_transpose spreads each input over a kernel") {
  // (4 - 1) * 2 - 2 + 3 + 1 = 8 rows; 32 inputs * 9 * 6 / 2 = 864 MACs; 2 * 6 / 2 * 9 weights + 6 biases =
  // 60; 6 * 8 * 8 = 384 outputs with a bias each.
  const std::string keys = R"("kind": "conv_transpose", "kernel": [3, 3], "stride": [2, 2], "groups": 2,
                              "padding": [1, 1, 1, 1], "output_padding": [1, 1], "output": )";
  const Layer up = layer_of(keys + "[6, 8, 8]");
  CHECK(up.macs == 864);
  CHECK(up.work_flop == 2 * 864 + 384);
  CHECK(up.weight_bytes == 60 * 4);
  CHECK(error_of(one(keys + "[6, 9, 9]")) == "g: /layers/0/output: [6,9,9]: the inputs give [6, 8, 8]");
  CHECK(error_of(one(keys + "[5, 8, 8]")) ==
        "g: /layers/0/groups: 2: 2 groups do not divide 2 channels in and 5 out");
  CHECK(error_of(one(R"("kind": "conv_transpose", "kernel": [1, 1], "output_padding": [1, 0],
                        "output": [2, 5, 4])")) ==
        "g: /layers/0/output_padding: [1,0]: must be smaller than the stride or the dilation");
  CHECK(error_of(one(R"("kind": "conv_transpose", "kernel": [1, 1], "padding": [2, 0, 2, 0],
                        "output": [2, 4, 4])")) ==
        "g: /layers/0/padding: [2,0,2,0]: leaves nothing of the output of axis 0");
  CHECK(error_of(one(R"("kind": "conv_transpose", "kernel": [1, 1])")) ==
        "g: /layers/0: \"output\" is missing");
}

TEST_CASE("layer graph: fc reads two dimensions token by token") {
  // 5 tokens * 8 * 10 = 400 MACs, 50 biases added; weights 8 * 10 + 10 once for all tokens.
  const Layer fc = layer_of(R"("kind": "fc", "output": [5, 10])", "[5, 8]");
  CHECK(fc.output_shape == Shape{5, 10});
  CHECK(fc.macs == 400);
  CHECK(fc.work_flop == 850);
  CHECK(fc.weight_bytes == 90 * 4);
  CHECK(error_of(one(R"("kind": "fc", "output": [10])"), "[5, 8]") ==
        "g: /layers/0/output: [10]: the inputs give [5, 10]");
  CHECK(error_of(one(R"("kind": "fc", "output": [5, 10])"), "[40]") ==
        "g: /layers/0/output: [5,10]: the inputs give [5]");
}

TEST_CASE("layer graph: matmul") {
  // [3, 2, 4] by [1, 4, 5]: the leading dimensions broadcast to 3; 3 * 2 * 5 outputs * 4 = 120 MACs.
  const auto of = [](const std::string& left, const std::string& right, const std::string& keys = "") {
    return slices({left, right}) + reads(R"(["i0", "i1"])", R"("kind": "matmul")" + keys);
  };
  const LayerGraph g = graph(of("[3, 2, 4]", "[1, 4, 5]"), "[3, 5, 5]");
  CHECK(g.layer(2).output_shape == Shape{3, 2, 5});
  CHECK(g.layer(2).macs == 120);
  CHECK(g.layer(2).work_flop == 240);
  CHECK(g.layer(2).weight_bytes == 0);
  CHECK(graph(of("[2, 4]", "[4, 5]"), "[5, 5]").layer(2).output_shape == Shape{2, 5});
  CHECK(error_of(of("[3, 2, 4]", "[1, 5, 4]"), "[3, 5, 5]") ==
        "g: /layers/2/inputs: [\"i0\",\"i1\"]: matmul cannot multiply [3, 2, 4] by [1, 5, 4]");
  CHECK(error_of(of("[3, 2, 4]", "[2, 4, 2]"), "[3, 5, 5]") ==
        "g: /layers/2/inputs: [\"i0\",\"i1\"]: matmul cannot multiply [3, 2, 4] by [2, 4, 2]");
  CHECK(error_of(of("[4]", "[4]"), "[5]") ==
        "g: /layers/2/inputs: [\"i0\",\"i1\"]: matmul cannot multiply [4] by [4]");
  CHECK(error_of(one(R"("kind": "matmul")")) ==
        "g: /layers/0/inputs: [\"input\"]: matmul reads exactly two tensors");
}

TEST_CASE("layer graph: attention, with grouped heads and a cache") {
  const auto of = [](const std::string& keys, const std::string& key_shape = "[3, 4]",
                     const std::string& value_shape = "[3, 4]") {
    return slices({"[2, 8]", key_shape, value_shape}) +
           reads(R"(["i0", "i1", "i2"])", R"("kind": "attention", )" + keys);
  };
  // 2 tokens of 8 features in 4 heads of 2; 2 key heads: keys have 4 features. 3 keys + 7 cached = 10
  // attended: 2 * 2 * 10 * 8 = 320 MACs; softmax 3 * 4 * 2 * 10 = 240; cache 2 * 10 * 4 elements.
  const LayerGraph g = graph(of(R"("heads": 4, "key_value_heads": 2, "cached_tokens": 7)"), "[3, 8]");
  CHECK(g.layer(3).output_shape == Shape{2, 8});
  CHECK(g.layer(3).macs == 320);
  CHECK(g.layer(3).work_flop == 640 + 240);
  CHECK(g.layer(3).state_bytes == 80 * 4);
  CHECK(g.state_bytes() == 320);
  CHECK(g.layer(3).groups == 4);
  CHECK(graph(of(R"("heads": 4, "key_value_heads": 2, "cached_tokens": 7)"), "[3, 8]", "", "fp16")
            .state_bytes() == 160);
  // Without a cache 3 are attended, and nothing is kept; an empty cache keeps this call's keys and values.
  const Layer none = graph(of(R"("heads": 4, "key_value_heads": 2)"), "[3, 8]").layer(3);
  CHECK(none.macs == 2 * 2 * 3 * 8);
  CHECK(none.state_bytes == 0);
  CHECK(graph(of(R"("heads": 4, "key_value_heads": 2, "cached_tokens": 0)"), "[3, 8]").state_bytes() ==
        2 * 3 * 4 * 4);
  const std::string at = "g: /layers/3/inputs: [\"i0\",\"i1\",\"i2\"]: attention ";
  CHECK(error_of(of(R"("heads": 3)"), "[3, 8]") == "g: /layers/3/heads: 3: does not divide 8 features");
  CHECK(error_of(of(R"("heads": 4, "key_value_heads": 3)"), "[3, 8]") ==
        "g: /layers/3/key_value_heads: 3: does not divide 4 heads");
  CHECK(error_of(of(R"("heads": 4)"), "[3, 8]") == at + "with 4 of 4 heads needs keys of 8 features, not 4");
  CHECK(error_of(of(R"("heads": 4)", "[3, 4]", "[2, 4]"), "[3, 8]") ==
        at + "reads keys [3, 4] and values [2, 4], which differ");
  CHECK(error_of(of(R"("key_value_heads": 4)"), "[3, 8]") == "g: /layers/3: \"heads\" is missing");
  CHECK(error_of(of(R"("heads": 4, "key_value_heads": 2, "cached_tokens": -1)"), "[3, 8]") ==
        "g: /layers/3/cached_tokens: -1: must lie within [0, 1000000]");
  CHECK(
      error_of(of(R"("heads": 4, "key_value_heads": 2, "cached_tokens": 7, "state_bytes": 160)"), "[3, 8]") ==
      "g: /layers/3/state_bytes: 160: the shapes give 320 bytes (fp32 has 4 per element)");
  CHECK(error_of(one(R"("kind": "attention", "heads": 1)")) ==
        "g: /layers/0/inputs: [\"input\"]: attention reads exactly three tensors: queries, keys and values");
  CHECK(error_of(reads(R"(["input", "input", "input"])", R"("kind": "attention", "heads": 1)")) ==
        "g: /layers/0/inputs: [\"input\",\"input\",\"input\"]: attention reads three tensors of two "
        "dimensions, not "
        "[2, 4, 4]");
}

TEST_CASE("layer graph: embedding is a table") {
  const Layer table = layer_of(R"("kind": "embedding", "vocabulary": 100, "output": [5, 8])", "[5]");
  CHECK(table.macs == 0);
  CHECK(table.work_flop == 0);
  CHECK(table.weight_bytes == 800 * 4);
  CHECK(table.output_bytes == 40 * 4);
  CHECK(error_of(one(R"("kind": "embedding", "vocabulary": 100, "output": [4, 8])"), "[5]") ==
        "g: /layers/0/output: [4,8]: the inputs give [5, 8]");
  CHECK(error_of(one(R"("kind": "embedding", "output": [5, 8])"), "[5]") ==
        "g: /layers/0: \"vocabulary\" is missing");
  CHECK(error_of(one(R"("kind": "embedding", "vocabulary": 100, "output": [5, 8])"), "[5, 1]") ==
        "g: /layers/0/inputs: [\"input\"]: embedding reads [tokens], not [5, 1]");
}

TEST_CASE("layer graph: recurrent layers") {
  // 10 tokens of 3 features, hidden 4, both directions: 10 * 2 * gates * 4 * (3 + 4) = 560 MACs per gate;
  // 2 * 4 * (3 + 4 + 2 biases) = 72 weights per gate; 10 * 2 * 4 = 80 units of 3, 14 and 17 operations.
  const auto check = [](const std::string& kind, double gates, double flop) {
    const Layer layer = layer_of(R"("kind": ")" + kind + R"(", "hidden": 4, "directions": 2)", "[10, 3]");
    CHECK(layer.output_shape == Shape{10, 8});
    CHECK(layer.macs == 560 * gates);
    CHECK(layer.work_flop == 1120 * gates + 80 * flop);
    CHECK(layer.weight_bytes == 72 * gates * 4);
    CHECK(layer.steps == 10);
  };
  check("rnn", 1, 3);
  check("gru", 3, 14);
  check("lstm", 4, 17);
  // Without bias: 2 * 4 fewer weights and 2 fewer additions per gate; one direction.
  const Layer plain = layer_of(R"("kind": "gru", "hidden": 4, "bias": false)", "[10, 3]");
  CHECK(plain.weight_bytes == 3 * 4 * 7 * 4);
  CHECK(plain.work_flop == 2 * 840 + 40 * 8);
  CHECK(error_of(one(R"("kind": "rnn")"), "[10, 3]") == "g: /layers/0: \"hidden\" is missing");
  CHECK(error_of(one(R"("kind": "rnn", "hidden": 4, "directions": 3)"), "[10, 3]") ==
        "g: /layers/0/directions: 3: must lie within [1, 2]");
  CHECK(error_of(one(R"("kind": "lstm", "hidden": 4)"), "[10]") ==
        "g: /layers/0/inputs: [\"input\"]: lstm reads [tokens, features], not [10]");
  CHECK(error_of(one(R"("kind": "rnn", "hidden": 4, "output": [10, 5])"), "[10, 3]") ==
        "g: /layers/0/output: [10,5]: the inputs give [10, 4]");
}

TEST_CASE("layer graph: reduce keeps some dimensions and reads all elements") {
  const auto reduced = [](const std::string& output) {
    return error_of(one(R"("kind": "reduce", "output": )" + output), "[2, 3, 4]");
  };
  CHECK(layer_of(R"("kind": "reduce", "output": [2])").work_flop == 32);
  for (const char* output : {"[2, 3, 1]", "[2, 1, 1]", "[1, 1, 1]", "[2, 4]", "[3]", "[1]"}) {
    CHECK(reduced(output) == "no error");
  }
  for (const char* output : {"[2, 3, 2]", "[4, 2]", "[5]", "[1, 2, 3, 4]"}) {
    CHECK(reduced(output).ends_with("is no reduction of [2, 3, 4]"));
  }
  CHECK(error_of(one(R"("kind": "reduce")")) == "g: /layers/0: \"output\" is missing");
}

TEST_CASE("layer graph: element-wise functions and norms, 32 elements") {
  CHECK(layer_of(R"("kind": "elementwise", "function": "tanh")").work_flop == 32);
  CHECK(layer_of(R"("kind": "elementwise", "function": "silu", "flop_per_element": 4)").work_flop == 128);
  CHECK(layer_of(R"("kind": "elementwise", "function": "cast", "flop_per_element": 0.5)").work_flop == 16);
  CHECK(error_of(one(R"("kind": "elementwise")")) == "g: /layers/0: \"function\" is missing");
  CHECK(error_of(one(R"("kind": "elementwise", "function": "x", "flop_per_element": -1)")) ==
        "g: /layers/0/flop_per_element: -1: must lie within [0, 1000000]");

  // Scale and shift of 2 channels, mean and variance, one number.
  CHECK(layer_of(R"("kind": "batch_norm", "statistics": true)").weight_bytes == 8 * 4);
  CHECK(layer_of(R"("kind": "batch_norm", "affine": false, "statistics": true, "scale_factor": true)")
            .weight_bytes == 5 * 4);
  CHECK(layer_of(R"("kind": "batch_norm", "affine": false)").work_flop == 64);

  CHECK(layer_of(R"("kind": "affine")").weight_bytes == 4 * 4);  // a factor and a summand per channel
  CHECK(layer_of(R"("kind": "affine")").work_flop == 64);
  CHECK(layer_of(R"("kind": "affine", "factors": 0, "summands": 32)").weight_bytes == 32 * 4);
  CHECK(layer_of(R"("kind": "affine", "factors": 0, "summands": 32)").work_flop == 32);
  CHECK(error_of(one(R"("kind": "affine", "factors": 3)")) ==
        "g: /layers/0/factors: 3: does not divide 32 elements");

  // Per channel of an image, per feature of tokens.
  CHECK(layer_of(R"("kind": "layer_norm")").weight_bytes == 4 * 4);
  CHECK(layer_of(R"("kind": "layer_norm")").work_flop == 7 * 32);
  const Layer rms = layer_of(R"("kind": "layer_norm", "bias": false)", "[4, 8]");
  CHECK(rms.weight_bytes == 8 * 4);
  CHECK(rms.work_flop == 4 * 32);
}

TEST_CASE("layer graph: add, mul and elementwise broadcast as NumPy does") {
  const auto of = [](const std::string& kind, const std::vector<std::string>& shapes) {
    return slices(shapes) + reads(shapes.size() == 2 ? R"(["i0", "i1"])" : R"(["i0", "i1", "i2"])",
                                  R"("kind": ")" + kind + "\"");
  };
  // [2, 1, 1] * [2, 4, 4]: 32 products.
  const LayerGraph scaled = graph(of("mul", {"[2, 1, 1]", "[2, 4, 4]"}));
  CHECK(scaled.layer(2).output_shape == Shape{2, 4, 4});
  CHECK(scaled.layer(2).work_flop == 32);
  CHECK(scaled.input_elements(2) == 34);
  // Both stretch: [2, 1, 4] + [1, 4, 1] + [2, 4, 4] is [2, 4, 4], two sums each.
  const Layer sum = graph(of("add", {"[2, 1, 4]", "[1, 4, 1]", "[2, 4, 4]"})).layer(3);
  CHECK(sum.output_shape == Shape{2, 4, 4});
  CHECK(sum.work_flop == 64);
  // Fewer dimensions align at the end: [2, 4, 3] * [3].
  const std::string features = R"({"name": "f", "kind": "reduce", "inputs": ["input"], "output": [3]},)" +
                               reads(R"(["input", "f"])", R"("kind": "mul")");
  CHECK(graph(features, "[2, 4, 3]").layer(1).output_shape == Shape{2, 4, 3});
  const std::string maximum = slices({"[2, 1, 1]", "[2, 4, 4]"}) +
                              reads(R"(["i0", "i1"])", R"("kind": "elementwise", "function": "max")");
  CHECK(graph(maximum).layer(2).work_flop == 32);
  CHECK(error_of(of("mul", {"[2, 3, 3]", "[2, 4, 4]"})) ==
        "g: /layers/2/inputs: [\"i0\",\"i1\"]: mul cannot join [2, 3, 3] and [2, 4, 4]");
  CHECK(error_of(one(R"("kind": "mul")")) ==
        "g: /layers/0/inputs: [\"input\"]: mul reads two tensors or more");
}

TEST_CASE("layer graph: concat, reshape, slice, upsample and data movement") {
  const auto joined = [](const std::string& axis) {
    return slices({"[2, 1, 4]", "[2, 3, 4]"}) +
           reads(R"(["i0", "i1"])", R"("kind": "concat", "axis": )" + axis);
  };
  CHECK(graph(joined("1")).layer(2).output_shape == Shape{2, 4, 4});
  CHECK(error_of(joined("0")) ==
        "g: /layers/2/inputs: [\"i0\",\"i1\"]: concat cannot join [2, 1, 4] and [2, 3, 4]");
  CHECK(error_of(joined("3")) == "g: /layers/2/axis: 3: must lie within [0, 2]");

  CHECK(layer_of(R"("kind": "reshape", "output": [16, 2])").output_shape == Shape{16, 2});
  CHECK(layer_of(R"("kind": "reshape", "output": [16, 2])").work_flop == 0);
  CHECK(error_of(one(R"("kind": "reshape", "output": [16, 3])")) ==
        "g: /layers/0/output: [16,3]: the input has 32 elements");

  // Rows 1 and 3 of 4: start 1, step 2, two of them; a third would be row 5.
  const auto rows = [](const std::string& more) {
    return error_of(one(R"("kind": "slice", "start": [0, 1, 0], "step": [1, 2, 1], "output": )" + more));
  };
  CHECK(rows("[2, 2, 4]") == "no error");
  CHECK(rows("[2, 3, 4]") == "g: /layers/0/output: [2,3,4]: does not lie within [2, 4, 4]");
  CHECK(rows("[2, 2]") == "g: /layers/0/output: [2,2]: does not lie within [2, 4, 4]");
  CHECK(error_of(one(R"("kind": "slice", "start": [1], "output": [2, 2, 4])")) ==
        "g: /layers/0/start: [1]: must have a whole number for each of 3 dimensions");
  CHECK(error_of(one(R"("kind": "slice", "step": [1, 0, 1], "output": [2, 2, 4])")) ==
        "g: /layers/0/step/1: 0: must lie within [1, 1000000]");

  const Layer nearest = layer_of(R"("kind": "upsample", "scale": [2, 3], "mode": "nearest")");
  CHECK(nearest.output_shape == Shape{2, 8, 12});
  CHECK(nearest.work_flop == 0);
  CHECK(layer_of(R"("kind": "upsample", "scale": [2, 3], "mode": "linear")").work_flop == 7 * 192);
  CHECK(error_of(one(R"("kind": "upsample")")) == "g: /layers/0: \"scale\" is missing");
  CHECK(error_of(one(R"("kind": "upsample", "scale": [2, 2], "mode": "cubic")"))
            .starts_with("g: /layers/0/mode: \"cubic\" is unknown; valid: nearest, linear"));
  CHECK(error_of(one(R"("kind": "upsample", "scale": [2, 1000000])")) ==
        "g: /layers/0: the output [2, 8, 4000000] has a dimension outside [1, 1000000]");

  const Layer moved =
      layer_of(R"("kind": "data_movement", "operator": "pad", "weights": 7, "output": [3, 4, 4])");
  CHECK(moved.work_flop == 0);
  CHECK(moved.weight_bytes == 28);
  CHECK(error_of(one(R"("kind": "data_movement", "output": [3, 4, 4])")) ==
        "g: /layers/0: \"operator\" is missing");
  CHECK(error_of(one(R"("kind": "data_movement", "operator": "pad")")) ==
        "g: /layers/0: \"output\" is missing");
}

TEST_CASE("layer graph: traffic of a batch") {
  const auto traffic = [](const std::string& keys, const std::string& input, int batch) {
    return graph(one(keys), input).traffic_bytes(0, batch);
  };
  // fc: 330 weights once, 32 inputs and 10 outputs for each of 3.
  CHECK(traffic(R"("kind": "fc", "output": [10])", "[2, 4, 4]", 3) == (330 + 3 * 42) * 4);
  // rnn: 1 * 4 * (3 + 4 + 2) = 36 weights for each of 10 steps; 30 in, 40 out.
  CHECK(traffic(R"("kind": "rnn", "hidden": 4)", "[10, 3]", 2) == (360 + 2 * 70) * 4);
  // embedding: 5 rows of 8 per input, but never more than the table of 100 rows; 5 in, 40 out.
  const std::string table = R"("kind": "embedding", "vocabulary": 100, "output": [5, 8])";
  CHECK(traffic(table, "[5]", 1) == (40 + 45) * 4);
  CHECK(traffic(table, "[5]", 30) == (800 + 30 * 45) * 4);
  CHECK(traffic(R"("kind": "relu")", "[8]", 1) == 64);
  for (const char* keys :
       {R"("kind": "flatten")", R"("kind": "dropout")", R"("kind": "reshape", "output": [32])"}) {
    CHECK(traffic(keys, "[2, 4, 4]", 2) == 0);
  }
  // attention: no weights; queries 16, keys and values 12 each, output 16, cache 2 * 10 * 4, per input.
  const LayerGraph g =
      graph(slices({"[2, 8]", "[3, 4]"}) + reads(R"(["i0", "i1", "i1"])", R"("kind": "attention", "heads": 4,
            "key_value_heads": 2, "cached_tokens": 7)"),
            "[3, 8]");
  CHECK(g.traffic_bytes(2) == (16 + 24 + 16 + 80) * 4);
  CHECK(g.traffic_bytes(2, 2) == 2 * g.traffic_bytes(2));
}

TEST_CASE("layer graph: what the survey's table prints") {
  const auto row = [](const std::string& members) {
    return R"(, "table_1": {"row": "A", "parameters": 345.5)" + members + "}";
  };
  const LayerGraph g = graph(relu("a", "input"), "[1]", row(R"(, "size_mb": 1.5, "gflops": 2, "note": "n")"));
  REQUIRE(g.table_1().has_value());
  CHECK(g.table_1()->row == "A");
  CHECK(g.table_1()->parameters == 345.5);
  CHECK(g.table_1()->size_mb == 1.5);
  CHECK(g.table_1()->gflops == 2);
  CHECK(g.table_1()->note == "n");
  CHECK_FALSE(graph(relu("a", "input"), "[1]").table_1().has_value());
  CHECK(error_of(relu("a", "input"), "[1]", row(R"(, "gflops": 2)")) ==
        "g: /table_1: \"size_mb\" is missing");
  CHECK(error_of(relu("a", "input"), "[1]", row(R"(, "size_mb": 1, "gflops": 2, "mb": 2)"))
            .starts_with("g: /table_1: unknown key \"mb\""));
}

TEST_CASE("layer graph: what is written is read again as the same graph") {
  // A layer before what it reads, defaults spelt out, a name to escape, half-byte elements, no output.
  const LayerGraph g =
      graph(reads(R"(["a\"\u00e9"])", R"("kind": "fc", "output": [3], "bias": true)") + "," +
                R"({"name": "a\"\u00e9", "kind": "max_pool", "inputs": ["input"], "kernel": [2, 2],
                                     "stride": [1, 1]})",
            "[1, 4, 4]",
            R"(, "exits": [{"name": "x", "layer": "z", "accuracy": 0.5, "accuracy_source": "s"}])", "int4");
  const LayerGraph again = LayerGraph::parse(g.to_json(), "g");
  CHECK(again.to_json() == g.to_json());
  CHECK(again.layer(0).name == "a\"\u00e9");
  CHECK(again.layer(0).kernel == std::array<int, 2>{2, 2});
  CHECK(again.layer(1).weight_bytes == 15);  // (9 * 3 + 3) / 2
  CHECK(again.layer(1).output_bytes == 1.5);
  CHECK(again.exits()[0].accuracy == 0.5);
  CHECK(again.exits()[0].accuracy_source == "s");
  CHECK(LayerGraph::parse(parse_json(g.text(), "g"), "g").text() == g.text());
  // One layer per line, and every line.
  CHECK(
      g.text() ==
      "{\n  \"schema\": 1,\n  \"name\": \"g\",\n  \"source\": \"test\",\n  \"precision\": \"int4\",\n"
      "  \"input\": {\"shape\": [1, 4, 4]},\n  \"layers\": [\n"
      "    {\"name\": \"a\\\"\\u00e9\", \"kind\": \"max_pool\", \"inputs\": [\"input\"], \"kernel\": [2, 2], "
      "\"stride\": [1, 1], \"output\": [1, 3, 3], \"macs\": 0, \"work_flop\": 36, \"weight_bytes\": 0, "
      "\"output_bytes\": 4.5},\n"
      "    {\"name\": \"z\", \"kind\": \"fc\", \"inputs\": [\"a\\\"\\u00e9\"], \"bias\": true, \"output\": "
      "[3], "
      "\"macs\": 27, \"work_flop\": 57, \"weight_bytes\": 15, \"output_bytes\": 1.5}\n  ],\n"
      "  \"exits\": [\n    {\"name\": \"x\", \"layer\": \"z\", \"accuracy\": 0.5, \"accuracy_source\": "
      "\"s\"}\n"
      "  ]\n}\n");
  // Every kind's own keys survive: a layer whose attributes got lost would cost something else.
  for (const char* keys :
       {R"("kind": "upsample", "scale": [2, 3], "mode": "linear")",
        R"("kind": "elementwise", "function": "f", "flop_per_element": 2.5)",
        R"("kind": "slice", "start": [1, 0, 0], "step": [1, 3, 1], "output": [1, 2, 4])",
        R"("kind": "affine", "factors": 1, "summands": 0)",
        R"("kind": "conv_transpose", "kernel": [3, 3], "stride": [2, 2], "dilation": [2, 2],
                              "output_padding": [1, 1], "bias": false, "output": [2, 12, 12])"}) {
    const LayerGraph before = graph(one(keys));
    const LayerGraph after = LayerGraph::parse(parse_json(before.text(), "g"), "g");
    CHECK(after.to_json() == before.to_json());
    CHECK(after.to_json()["layers"][0].size() == before.to_json()["layers"][0].size());
  }
}

TEST_CASE("layer graph: no attribute is lost in writing") {
  // text() writes a fixed list of keys; to_json() has all.
  const LayerGraph g = graph(one(R"("kind": "max_pool", "kernel": [2, 2], "stride": [2, 2], "ceil": true)"));
  CHECK(parse_json(g.text(), "g") == g.to_json());
}

TEST_CASE("layer graph: cycles are named layer by layer") {
  // a reads c, c reads b, b reads a; d only looks on.
  const std::string text =
      relu("a", "c") + "," + relu("b", "a") + "," + relu("c", "b") + "," + relu("d", "c");
  CHECK(error_of(text) == "g: /layers: the layers form a cycle: \"a\" reads \"c\" reads \"b\" reads \"a\"");
  CHECK(error_of(relu("a", "a")) == "g: /layers: the layers form a cycle: \"a\" reads \"a\"");
}

TEST_CASE("layer graph: numbers that would overflow are refused") {
  CHECK(error_of(relu("a", "input"), "[1000001]") ==
        "g: /input/shape/0: 1000001: must lie within [1, 1000000]");
  CHECK(error_of(relu("a", "input"), "[0]") == "g: /input/shape/0: 0: must lie within [1, 1000000]");
  CHECK(error_of(relu("a", "input"), "[2, 4]") == "no error");
  CHECK(error_of(relu("a", "input"), "[]") == "g: /input/shape: []: must have 1 to 6 dimensions");
  CHECK(error_of(relu("a", "input"), "[1, 1, 1, 1, 1, 1]") == "no error");
  CHECK(error_of(relu("a", "input"), "[1, 1, 1, 1, 1, 1, 1]") ==
        "g: /input/shape: [1,1,1,1,1,1,1]: must have 1 to 6 dimensions");
  CHECK(error_of(relu("a", "input"), "[1000000, 1000000, 2]") ==
        "g: /input/shape: [1000000,1000000,2]: [1000000, 1000000, 2] has more than 1e+12 elements");
  CHECK(error_of(one(R"("kind": "flatten")"), "[1000, 1000, 2]") ==
        "g: /layers/0/inputs: [\"input\"]: flattens to more than 1000000 elements");
  CHECK(error_of(one(R"("kind": "max_pool", "kernel": [1, 1], "padding": [1000000, 0, 1000000, 0])")) ==
        "g: /layers/0: the output [2, 2000004, 4] has a dimension outside [1, 1000000]");
  CHECK(error_of(one(R"("kind": "lrn", "local_size": 1e99)")) ==
        "g: /layers/0/local_size: 1e+99: must be a whole number");
}

TEST_CASE("layer graph: exits") {
  const std::string layers = relu("a", "input") + "," + relu("b", "a") + "," + relu("c", "a");
  const auto exits = [](const std::string& list) { return R"(, "exits": [)" + list + "]"; };
  CHECK(error_of(layers) == "g: \"exits\" is missing, and nobody reads b, c");
  CHECK(error_of(layers, "[1]", exits("")) == "g: /exits: []: must not be empty");
  CHECK(error_of(layers, "[1]", exits(R"({"name": "x", "layer": "b"})")) ==
        "g: /layers: \"c\" leads to no exit");
  CHECK(error_of(layers, "[1]", exits(R"({"name": "x", "layer": "b"}, {"name": "y", "layer": "c"})")) ==
        "no error");
  CHECK(error_of(layers, "[1]", exits(R"({"name": "x", "layer": "b"}, {"name": "y", "layer": "a"})")) ==
        "g: /exits/1: exit \"y\" has 1 layers, the one before it 2; the deepest comes last");
  CHECK(error_of(layers, "[1]", exits(R"({"name": "x", "layer": "b"}, {"name": "x", "layer": "c"})")) ==
        "g: /exits/1/name: \"x\": two exits have that name");
  CHECK(error_of(layers, "[1]", exits(R"({"name": "x", "layer": "b"}, {"name": "y", "layer": "b"})")) ==
        "g: /exits/1/layer: \"b\": two exits leave that layer");
  CHECK(error_of(layers, "[1]", exits(R"({"name": "x", "layer": "e"})"))
            .starts_with("g: /exits/0/layer: \"e\" is unknown; valid: a, b, c"));
  CHECK(error_of(layers, "[1]", exits(R"({"name": "x", "layer": "b", "accuracy": 0.5})")) ==
        "g: /exits/0: \"accuracy_source\" is missing");
  CHECK(error_of(layers, "[1]",
                 exits(R"({"name": "x", "layer": "b", "accuracy": 78.2, "accuracy_source": "s"})")) ==
        "g: /exits/0/accuracy: 78.2: must lie within [0, 1]");
}

TEST_CASE("layer graph: a layer whose output has bits of its own") {
  // Eight signs in one byte, and three numbers of 32 bits, in a network of 4 bytes an element.
  const std::string layers =
      R"({"name": "s", "kind": "elementwise", "function": "sign", "inputs": ["input"], "output_bits": 1},
         {"name": "f", "kind": "fc", "inputs": ["s"], "output": [3], "output_bits": 32})";
  const LayerGraph g = graph(layers, "[8]");
  CHECK(g.layer(0).output_bytes == 1);
  CHECK(g.layer(1).output_bytes == 12);
  CHECK(g.layer(1).weight_bytes == (8 * 3 + 3) * 4);  // weights stay as precise as the graph
  CHECK(g.traffic_bytes(1) == 27 * 4 + 1 + 12);
  CHECK(LayerGraph::parse(g.to_json(), "g").layer(0).output_bytes == 1);
  CHECK(error_of(R"({"name": "s", "kind": "relu", "inputs": ["input"], "output_bits": 0})", "[8]")
            .starts_with("g: /layers/0/output_bits: 0"));
  CHECK(error_of(R"({"name": "s", "kind": "relu", "inputs": ["input"], "output_bits": 1, "output_bytes": 8})",
                 "[8]")
            .ends_with("the shapes give 1 bytes (1 bits per element)"));
}

TEST_CASE("layer graph: accuracy while layers are missing, and what exits do at thresholds") {
  // a and b feed c, which adds what is there.
  const std::string layers = relu("a", "input") + "," + relu("b", "input") + "," +
                             R"({"name": "c", "kind": "add", "inputs": ["a", "b"], "absent": "skip"})";
  const auto with = [](const std::string& rows, const std::string& more = "") {
    return R"(, "exits": [{"name": "x", "layer": "c", "accuracy": 0.9, "accuracy_source": "s",
              "accuracy_without": [)" +
           rows + "]}]" + more;
  };
  const std::string rows = R"({"absent": ["a"], "accuracy": 0.6}, {"absent": ["b", "a"], "accuracy": 0.1})";
  const LayerGraph g = graph(layers, "[1]", with(rows));
  CHECK(g.layer(2).absent == Absent::kSkip);
  CHECK(g.layer(0).absent == Absent::kRefuse);
  const Exit& exit = g.exits()[0];
  CHECK(exit.accuracy_with({true, true, true}) == 0.9);
  CHECK(exit.accuracy_with({false, true, true}) == 0.6);
  CHECK(exit.accuracy_with({false, false, false}) == 0.1);
  CHECK(exit.accuracy_with({true, false, true}) == std::nullopt);  // no row says it
  CHECK(
      error_of(layers, "[1]", with(R"({"absent": ["a"], "accuracy": 0.6}, {"absent": ["a"], "accuracy": 0})"))
          .find("stands twice") != std::string::npos);
  CHECK(error_of(layers, "[1]", with(R"({"absent": ["d"], "accuracy": 0.6})"))
            .starts_with("g: /exits/0/accuracy_without/0/absent/0: \"d\" is unknown"));
  CHECK(error_of(R"({"name": "r", "kind": "relu", "inputs": ["input"], "absent": "skip"})").find("absent") !=
        std::string::npos);

  const auto thresholds = [&](const std::string& list) {
    return with(rows, R"(, "thresholds": [)" + list + "]");
  };
  const std::string low = R"({"threshold": 0.5, "rates": [1], "accuracies": [0.8], "source": "t"})";
  const LayerGraph t = graph(layers, "[1]", thresholds(low));
  REQUIRE(t.thresholds().size() == 1);
  CHECK(t.thresholds()[0].value == 0.5);
  CHECK(t.thresholds()[0].accuracies == std::vector<double>{0.8});
  CHECK(error_of(layers, "[1]", thresholds(low + "," + low)) ==
        "g: /thresholds/1/threshold: 0.5: does not ascend");
  CHECK(error_of(layers, "[1]",
                 thresholds(R"({"threshold": 0.5, "rates": [0.5], "accuracies": [0.8], "source": "t"})"))
            .find("sum to 0.5, not to 1") != std::string::npos);
  CHECK(error_of(layers, "[1]",
                 thresholds(R"({"threshold": 0.5, "rates": [0.5, 0.5], "accuracies": [0.8], "source": "t"})"))
            .find("has 2 values for 1 exits") != std::string::npos);
  // What is written is read again as the same.
  CHECK(LayerGraph::parse(parse_json(t.text(), "g"), "g").text() == t.text());
  CHECK(parse_json(t.text(), "g") == t.to_json());
}

TEST_CASE("layer graph: the head of the file") {
  const auto error = [](const std::string& text) {
    try {
      LayerGraph::parse(parse_json(text, "g"), "g");
    } catch (const InputError& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(error("[]") == "g: []: must be an object");
  CHECK(error(R"({"schema": 2})") == "g: /schema: 2: must lie within [1, 1]");
  CHECK(error(R"({"schema": 1, "name": "g", "source": ""})") == "g: /source: \"\": must not be empty");
  CHECK(error_of(relu("a", "input"), "[1]", "", "fp33")
            .starts_with("g: /precision: \"fp33\" is unknown; valid: fp64, "));
  CHECK(error_of(relu("a", "input"), "[1]", R"(, "exit": [])").ends_with("did you mean \"exits\"?"));
  CHECK_THROWS_WITH_AS(LayerGraph::load(kFixtures + "none.json"),
                       (kFixtures + "none.json: no such file").c_str(), InputError);
}
