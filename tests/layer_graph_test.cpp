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
  CHECK(error_of(relu("a", "input"), "[2, 4]") ==
        "g: /input/shape: [2,4]: must be [elements] or [channels, height, width]");
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
