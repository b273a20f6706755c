#include "policies/shared/blocks.h"

#include <doctest/doctest.h>

#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

BlockTree tree_of(const std::string& model, int most) {
  Scene s = scene("tests/fixtures/pencil.xml", "workloads/" + model + ".json");
  return block_tree(s.problem(), most);
}

}  // namespace

TEST_CASE("blocks: AlexNet's are its eight layers with weights and what follows each") {
  Scene s = scene("tests/fixtures/pencil.xml", "workloads/alexnet.json");
  const BlockTree tree = block_tree(s.problem(), 10);
  REQUIRE(tree.blocks.size() == 8);
  int block = 0;
  for (const char* name : {"conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"}) {
    CAPTURE(name);
    const Block& here = tree.blocks[static_cast<std::size_t>(block)];
    CHECK(s.graph.layer(here.layers.front()).name == name);
    CHECK(here.reads == block - 1);
    ++block;
  }
  CHECK(tree.blocks[0].bytes == 3 * 227 * 227 * 4);
  CHECK(tree.blocks[1].bytes == 96 * 27 * 27 * 4);  // pool1
  CHECK(tree.rates == std::vector<double>{1});
  CHECK(tree.last == std::vector<int>{7});
}

TEST_CASE("blocks: joined to at most as many as asked for, those of least work first") {
  // fc8 (4.1 M multiplications) and fc7 (16.8 M) go first.
  const BlockTree tree = tree_of("alexnet", 7);
  REQUIRE(tree.blocks.size() == 7);
  CHECK(tree.blocks[6].layers.size() == 5);  // fc7, relu7, drop7, fc8, prob
  CHECK(tree_of("alexnet", 1).blocks.size() == 1);
  CHECK(tree_of("resnet152", 10).blocks.size() == 10);
}

TEST_CASE("blocks: an early exit hangs where it leaves") {
  // conv1, conv2, the exit, conv3, conv4, conv5, fc6, fc7.
  const BlockTree tree = tree_of("disabato_alexnet_exit", 10);
  REQUIRE(tree.blocks.size() == 8);
  CHECK(tree.blocks[2].reads == 1);
  CHECK(tree.blocks[3].reads == 1);
  CHECK(tree.blocks[2].bytes == tree.blocks[3].bytes);
  CHECK(tree.last == std::vector<int>{2, 7});
  CHECK(tree.first_exit(1) == 0);
  CHECK(tree.first_exit(2) == 0);
  CHECK(tree.first_exit(3) == 1);
  // What an exit hangs from stays a block of its own end.
  CHECK(tree_of("disabato_alexnet_exit", 1).blocks.size() == 3);
}

TEST_CASE("blocks: a hierarchy") {
  // root; d2 (exit d2); d1, d3, d4; d5.
  const BlockTree tree = tree_of("goel_cifar10", 10);
  REQUIRE(tree.blocks.size() == 6);
  CHECK(tree.last == std::vector<int>{1, 2, 3, 4, 5});
  std::vector<int> reads;
  for (const Block& block : tree.blocks) reads.push_back(block.reads);
  CHECK(reads == std::vector<int>{-1, 0, 0, 0, 1, 1});
  CHECK(tree.blocks[0].needed_for == std::vector<char>{1, 1, 1, 1, 1});
  CHECK(tree.blocks[1].needed_for == std::vector<char>{1, 0, 0, 1, 1});
  CHECK(tree.blocks[5].needed_for == std::vector<char>{0, 0, 0, 0, 1});
}

TEST_CASE("blocks: the deepest exit alone where the exits state no rates") {
  const BlockTree tree = tree_of("branchy_alexnet", 10);
  CHECK(tree.rates.back() == 1);
  for (const Block& block : tree.blocks) CHECK(block.needed_for.back() == 1);
}
