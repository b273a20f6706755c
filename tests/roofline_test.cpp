#include "sim/roofline.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sim/layer_graph.h"

using namespace cdisim;

namespace {

// A graph around `layers` that reads one tensor.
LayerGraph graph(const std::string& layers, const std::string& input, const std::string& precision = "fp32") {
  const std::string text = R"({"schema": 1, "name": "g", "source": "test", "precision": ")" + precision +
                           R"(", "input": {"shape": )" + input + R"(}, "layers": [)" + layers + "]}";
  return LayerGraph::parse(parse_json(text, "g"), "g");
}

// The only layer, reading the input.
LayerGraph one(const std::string& keys, const std::string& input, const std::string& precision = "fp32") {
  return graph(R"({"name": "a", "inputs": ["input"], )" + keys + "}", input, precision);
}

LayerGraph fc_graph(const std::string& precision = "fp32") {
  return one(R"("kind": "fc", "bias": false, "output": [500])", "[1000]", precision);
}

std::string kind_of(const std::string& keys, const std::string& input = "[8, 16, 16]") {
  return work_kind_names()[static_cast<std::size_t>(work_kind(one(keys, input), 0))];
}

std::string kind_of_last(const LayerGraph& g) {
  return work_kind_names()[static_cast<std::size_t>(work_kind(g, g.size() - 1))];
}

auto near(double value) {
  return doctest::Approx(value).epsilon(1e-12);
}

}  // namespace

TEST_CASE("roofline: what kind of work a convolution is") {
  const std::string same3 = R"("kind": "conv", "kernel": [3, 3], "padding": [1, 1, 1, 1], )";
  const std::string out = R"("output": [8, 16, 16])";
  CHECK(kind_of(same3 + out) == "conv_3x3");
  CHECK(kind_of(R"("kind": "conv", "kernel": [1, 1], )" + out) == "conv_1x1");
  CHECK(kind_of(R"("kind": "conv", "kernel": [1, 1], "stride": [2, 2], "output": [8, 8, 8])") == "conv_1x1");
  CHECK(kind_of(R"("kind": "conv", "kernel": [1, 1], "groups": 2, )" + out) == "conv_1x1");
  CHECK(kind_of(same3 + R"("stride": [2, 2], "output": [8, 8, 8])") == "conv_strided");
  CHECK(kind_of(same3 + R"("stride": [1, 2], "output": [8, 16, 8])") == "conv_strided");
  CHECK(kind_of(same3 + R"("groups": 2, )" + out) == "conv_strided");
  CHECK(kind_of(R"("kind": "conv", "kernel": [3, 3], "padding": [2, 2, 2, 2], "dilation": [2, 2], )" + out) ==
        "conv_strided");
  // Up to 9 elements, but not 3 by 3: 1 x 3 = 3, 1 x 9 = 9; more than 9: 2 x 5 = 10, 5 x 5 = 25.
  CHECK(kind_of(R"("kind": "conv", "kernel": [1, 3], "output": [8, 16, 14])") == "conv_strided");
  CHECK(kind_of(R"("kind": "conv", "kernel": [1, 9], "output": [8, 16, 8])") == "conv_strided");
  CHECK(kind_of(R"("kind": "conv", "kernel": [2, 5], "output": [8, 15, 12])") == "conv_large");
  CHECK(kind_of(R"("kind": "conv", "kernel": [5, 5], "output": [8, 12, 12])") == "conv_large");
  // Four channels are an image, whatever the window; five are none.
  for (const std::string channels : {"1", "3", "4"}) {
    const std::string image = std::string("[") + channels + ", 16, 16]";
    INFO(image);
    CHECK(kind_of(same3 + out, image) == "conv_first");
    CHECK(kind_of(R"("kind": "conv", "kernel": [1, 1], )" + out, image) == "conv_first");
    CHECK(kind_of(R"("kind": "conv", "kernel": [7, 7], "stride": [2, 2], "output": [8, 5, 5])", image) ==
          "conv_first");
  }
  CHECK(kind_of(same3 + out, "[5, 16, 16]") == "conv_3x3");
  CHECK(kind_of(R"("kind": "depthwise_conv", "kernel": [3, 3], "padding": [1, 1, 1, 1], )" + out) ==
        "depthwise_conv");
  CHECK(kind_of(R"("kind": "conv_transpose", "kernel": [2, 2], "stride": [2, 2], "output": [8, 32, 32])") ==
        "conv_strided");
}

TEST_CASE("roofline: what kind of work other layers are") {
  CHECK(kind_of(R"("kind": "fc", "output": [10])", "[40]") == "fc");
  CHECK(kind_of(R"("kind": "fc", "output": [10])", "[8, 16, 16]") == "fc");  // of the whole tensor
  CHECK(kind_of(R"("kind": "fc", "output": [5, 10])", "[5, 40]") == "matrix");
  CHECK(kind_of(R"("kind": "fc", "output": [1, 10])", "[1, 40]") == "fc");  // one token: a vector
  const std::string rows =
      R"({"name": "q", "kind": "slice", "inputs": ["input"], "output": [2, 8]},
         {"name": "k", "kind": "slice", "inputs": ["input"], "output": [3, 8]},)";
  CHECK(kind_of_last(graph(rows + R"({"name": "a", "kind": "attention", "inputs": ["q", "k", "k"],
                                      "heads": 4})",
                           "[3, 8]")) == "matrix");
  const std::string factors =
      R"({"name": "l", "kind": "slice", "inputs": ["input"], "output": [2, 4]},
         {"name": "r", "kind": "slice", "inputs": ["input"], "output": [4, 5]},)";
  CHECK(kind_of_last(graph(factors + R"({"name": "m", "kind": "matmul", "inputs": ["l", "r"]})", "[5, 5]")) ==
        "matrix");
  for (const std::string kind : {"rnn", "gru", "lstm"}) {
    CHECK(kind_of(std::string(R"("hidden": 4, "kind": ")") + kind + "\"", "[10, 3]") == "recurrent");
  }
  for (const std::string keys :
       {R"("kind": "max_pool", "kernel": [2, 2], "stride": [2, 2])",
        R"("kind": "avg_pool", "kernel": [2, 2], "stride": [2, 2])", R"("kind": "reduce", "output": [8])",
        R"("kind": "lrn", "local_size": 5)", R"("kind": "layer_norm")", R"("kind": "softmax")",
        R"("kind": "slice", "output": [4, 16, 16])",
        R"("kind": "upsample", "scale": [2, 2], "mode": "nearest")",
        R"("kind": "data_movement", "operator": "pad", "output": [8, 18, 18])"}) {
    INFO(keys);
    CHECK(kind_of(keys) == "operator");
  }
  CHECK(kind_of(R"("kind": "embedding", "vocabulary": 100, "output": [5, 8])", "[5]") == "operator");
  for (const std::string kind : {"add", "mul", "concat"}) {
    INFO(kind);
    CHECK(kind_of_last(graph(R"({"name": "r", "kind": "relu", "inputs": ["input"]},
                                {"name": "a", "inputs": ["input", "r"], "kind": ")" +
                                 std::string(kind) + "\"}",
                             "[8, 16, 16]")) == "operator");
  }
  for (const std::string keys : {R"("kind": "relu")", R"("kind": "elementwise", "function": "tanh")",
                                 R"("kind": "batch_norm")", R"("kind": "affine")", R"("kind": "dropout")",
                                 R"("kind": "flatten")", R"("kind": "reshape", "output": [2048])"}) {
    INFO(keys);
    CHECK(kind_of(keys) == "elementwise");
  }
}

TEST_CASE("roofline: the slower of arithmetic and memory, then the overhead") {
  const LayerGraph g = fc_graph();
  Roofline r;
  // 1000 * 500 MACs are 1 Mflop: 1 ms at 1 Gflop/s. Memory of unknown bandwidth never limits.
  CHECK(r.layer_s(g, 0, 1e9) == near(1e-3));
  // At a quarter of it 4 ms; 2,000,000 + 4000 + 2000 bytes at 1 GB/s take 2.006 ms.
  r.efficiency[static_cast<std::size_t>(WorkKind::kFc)] = 0.25;
  r.memory_bandwidth_bytes_per_s = 1e9;
  CHECK(r.layer_s(g, 0, 1e9) == near(4e-3));
  CHECK(r.layer_s(g, 0, 1e10) == near(2.006e-3));
  // Overheads come on top of either; an operator's is none of a fc's.
  r.layer_overhead_s = 1e-3;
  r.operator_overhead_s = 7;
  CHECK(r.layer_s(g, 0, 1e9) == near(5e-3));
  CHECK(r.layer_s(g, 0, 1e10) == near(3.006e-3));
  // Winograd: an efficiency of 2 halves the time.
  r = {};
  r.efficiency[static_cast<std::size_t>(WorkKind::kFc)] = 2;
  CHECK(r.layer_s(g, 0, 1e9) == near(0.5e-3));
}

TEST_CASE("roofline: a batch reads the weights once and pays one overhead") {
  const LayerGraph g = fc_graph();
  Roofline r;
  r.memory_bandwidth_bytes_per_s = 1e9;
  r.layer_overhead_s = 1e-3;
  // 10 requests at 100 Gflop/s: 0.1 ms of arithmetic; 2,000,000 + 10 * 6000 bytes: 2.06 ms; 1 ms.
  CHECK(r.layer_s(g, 0, 1e11, 10) == near(3.06e-3));
  // 1000 requests: 10 ms against 8 ms.
  CHECK(r.layer_s(g, 0, 1e11, 1000) == near(11e-3));
}

TEST_CASE("roofline: bytes follow the precision") {
  Roofline r;
  r.memory_bandwidth_bytes_per_s = 1e9;
  const double fast = 1e15;
  // 500,000 weights, 1000 in, 500 out: 501,500 elements at 4, 2, 1 and half a byte.
  CHECK(r.layer_s(fc_graph(), 0, fast) == near(2.006e-3));
  CHECK(r.layer_s(fc_graph("fp16"), 0, fast) == near(1.003e-3));
  for (const std::string graph_precision : {"fp32", "fp16", "int8"}) {
    INFO(graph_precision);
    r.bytes_per_element = 4;
    CHECK(r.layer_s(fc_graph(graph_precision), 0, fast) == near(2.006e-3));
    r.bytes_per_element = 2;
    CHECK(r.layer_s(fc_graph(graph_precision), 0, fast) == near(1.003e-3));
    r.bytes_per_element = 1;
    CHECK(r.layer_s(fc_graph(graph_precision), 0, fast) == near(0.5015e-3));
    r.bytes_per_element = 0.5;
    CHECK(r.layer_s(fc_graph(graph_precision), 0, fast) == near(0.25075e-3));
  }
}

TEST_CASE("roofline: a recurrent layer pays its overhead step by step") {
  // 10 tokens of 3 features, 4 hidden: 10 * 4 * 7 = 280 MACs and 10 * 4 * 3 flop: 680 flop.
  const LayerGraph g = one(R"("kind": "rnn", "hidden": 4)", "[10, 3]");
  Roofline r;
  r.layer_overhead_s = 1e-3;
  r.operator_overhead_s = 7;
  CHECK(r.layer_s(g, 0, 680) == near(1 + 10 * 1e-3));
  CHECK(r.layer_s(g, 0, 680, 3) == near(3 + 10 * 1e-3));
  // Weights (4 * 7 + 8 = 36) are read at each step: (360 + 30 + 40) * 4 bytes.
  r.memory_bandwidth_bytes_per_s = 430 * 4;
  CHECK(r.layer_s(g, 0, 1e9) == near(1 + 10 * 1e-3));
}

TEST_CASE("roofline: operators pay their overhead, element-wise layers none, or nothing where fused") {
  const LayerGraph g = graph(R"({"name": "relu", "kind": "relu", "inputs": ["input"]},
                                {"name": "flat", "kind": "flatten", "inputs": ["relu"]},
                                {"name": "soft", "kind": "softmax", "inputs": ["flat"]})",
                             "[2, 4, 4]");
  Roofline r;
  r.layer_overhead_s = 7;
  r.operator_overhead_s = 0.5;
  r.memory_bandwidth_bytes_per_s = 256;
  // 32 elements: softmax 96 flop, relu 32 flop; both move 2 * 32 * 4 = 256 bytes, flatten none.
  CHECK(r.layer_s(g, 2, 96) == near(1.5));
  CHECK(r.layer_s(g, 0, 16) == near(2));
  CHECK(r.layer_s(g, 0, 1e9) == near(1));
  CHECK(r.layer_s(g, 1, 1e9) == 0);
  r.fused = true;
  CHECK(r.layer_s(g, 0, 16) == 0);
  CHECK(r.layer_s(g, 1, 16) == 0);
  CHECK(r.layer_s(g, 2, 96) == near(1.5));
}

TEST_CASE("roofline: a run pays its overhead and the weights that the cache does not hold") {
  const LayerGraph g = LayerGraph::load(CDISIM_SOURCE_DIR "/tests/fixtures/chain3.json");
  const std::vector<LayerId> all{0, 1, 2}, last{2}, none;
  Roofline r;
  r.run_overhead_s = 0.25;
  r.weight_cache_bytes = 1.5e6;
  CHECK(r.run_s(g, all) == 0.25);  // without a link weights never move
  // 2 + 2 + 1 MB of weights, 1.5 MB stay: 3.5 MB at 1 MB/s. The last layer alone fits.
  r.weight_link_bytes_per_s = 1e6;
  CHECK(r.run_s(g, all) == near(0.25 + 3.5));
  CHECK(r.run_s(g, last) == near(0.25));
  CHECK(r.run_s(g, none) == near(0.25));
  // At int8 they are 1.25 MB, which fit; at fp16 2.5 MB, of which 1 MB moves.
  r.bytes_per_element = 1;
  CHECK(r.run_s(g, all) == near(0.25));
  r.bytes_per_element = 2;
  CHECK(r.run_s(g, all) == near(0.25 + 1));
}

TEST_CASE("roofline: the names of the kinds of work") {
  REQUIRE(work_kind_names().size() == kWorkKinds);
  CHECK(work_kind_names()[static_cast<std::size_t>(WorkKind::kDepthwiseConv)] == "depthwise_conv");
  CHECK(work_kind_names()[static_cast<std::size_t>(WorkKind::kElementwise)] == "elementwise");
}
