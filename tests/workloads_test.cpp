// The bundled models: what their publications say of them.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "sim/layer_graph.h"

using namespace cdisim;

namespace {
const std::string kWorkloads = CDISIM_SOURCE_DIR "/workloads/";
}

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
