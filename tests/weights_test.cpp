#include "sim/weights.h"

#include <doctest/doctest.h>

#include <string>

using namespace cdisim;

namespace {

const std::string kFixtures = std::string(CDISIM_SOURCE_DIR) + "/tests/fixtures/";
constexpr HostId kDevice = 0, kServer = 1;
using Layers = std::vector<LayerId>;

// fc_1 1000 x 500, fc_2 500 x 1000, fc_3 1000 x 250, without biases: 2, 2 and 1 MB.
struct Scene {
  LayerGraph graph = LayerGraph::load(kFixtures + "chain3.json");
  Platform platform = Platform::load(kFixtures + "pencil.xml");

  WeightStore store(double memory_bytes, Layers at_start = {}) {
    platform.edit_host(kServer).memory_bytes = memory_bytes;
    return WeightStore(graph, platform, {{kServer, at_start}});
  }
};

}  // namespace

TEST_CASE("weights: hosts hold all, or what they start with") {
  Scene s;
  WeightStore store = s.store(10e6, {1});
  CHECK(!store.tracks(kDevice));
  CHECK(store.missing(kDevice, Layers{0, 1, 2}).empty());
  CHECK(store.tracks(kServer));
  CHECK(store.missing(kServer, Layers{0, 1, 2}) == Layers{0, 2});
  CHECK(store.load(kServer, Layers{0, 1}));
  CHECK(store.missing(kServer, Layers{0, 1, 2}) == Layers{2});
  CHECK(store.peak_bytes(kServer) == 4e6);
  CHECK(store.loaded()[kServer] == std::vector<bool>{true, true, false});
  CHECK(store.evictions() == 0);
  store.clear(kServer);
  CHECK(store.missing(kServer, Layers{0, 1, 2}) == Layers{0, 1, 2});
  CHECK(store.peak_bytes(kServer) == 4e6);
}

TEST_CASE("weights: a layer without weights lies everywhere") {
  Scene s;
  s.graph = LayerGraph::load(kFixtures + "diamond.json");
  WeightStore store = s.store(10e6);
  const LayerId join = s.graph.find("join");
  REQUIRE(s.graph.layer(join).weight_bytes == 0);
  CHECK(store.missing(kServer, Layers{join}).empty());
}

TEST_CASE("weights: what was used longest ago goes, and nothing that is in use") {
  Scene s;
  // 4.1 MB hold the first two; the third needs 1 + 4 - 4.1 MB = 0.9 MB: one of them goes.
  WeightStore store = s.store(4.1e6, {0});
  CHECK(store.load(kServer, Layers{1}));
  store.use(kServer, Layers{0});
  store.release(kServer, Layers{0});
  CHECK(store.load(kServer, Layers{2}));
  CHECK(store.missing(kServer, Layers{0, 1, 2}) == Layers{1});
  CHECK(store.evictions() == 1);
  // Now 0 and 2 lie there, 3 MB. While 0 computes, 1 finds no room: 2 + 2 MB are too much beside
  // 0.2 MB of tensors.
  store.set_aside(kServer, 0.2e6);
  store.set_aside(kServer, 0.1e6);
  store.use(kServer, Layers{0});
  CHECK(!store.load(kServer, Layers{1}));
  CHECK(store.missing(kServer, Layers{0, 1, 2}) == Layers{1});
  store.release(kServer, Layers{0});
  // 2 went unused for longer than 0, but 1 MB less is not enough: both go.
  CHECK(store.load(kServer, Layers{1}));
  CHECK(store.missing(kServer, Layers{0, 1, 2}) == Layers{0, 2});
  CHECK(store.evictions() == 3);
  CHECK(store.peak_bytes(kServer) == 4e6 + 0.2e6);
  CHECK(store.has_room(kServer, Layers{0}));
  CHECK(!store.has_room(kServer, Layers{0, 1}));  // 4 and 0.2 MB
  // More than the memory is never loaded.
  CHECK(!store.load(kServer, Layers{0, 1, 2}));
  // Layers that are asked for do not make room for each other.
  CHECK(!store.load(kServer, Layers{0, 1}));
  CHECK(store.missing(kServer, Layers{0, 1, 2}) == Layers{0, 2});
}
