#include "sim/plan.h"

#include <doctest/doctest.h>

#include <chrono>
#include <limits>
#include <string>

#include "sim/error.h"
#include "sim/policy.h"

using namespace cdisim;

namespace {

const std::string kFixtures = std::string(CDISIM_SOURCE_DIR) + "/tests/fixtures/";

const LayerGraph& chain3() {
  static const LayerGraph graph = LayerGraph::load(kFixtures + "chain3.json");
  return graph;
}

// Layers: stem 0, left 1, right 2, join 3, head 4, early_head 5. Exits: early (0), full (1).
const LayerGraph& diamond() {
  static const LayerGraph graph = LayerGraph::load(kFixtures + "diamond.json");
  return graph;
}

// Two layers read the input, a third one the input and both of them.
LayerGraph two_readers() {
  return LayerGraph::parse(
      parse_json(R"({"schema": 1, "name": "two_readers", "source": "test", "precision": "fp32",
      "input": {"shape": [10]},
      "layers": [{"name": "a", "kind": "relu", "inputs": ["input"]}, {"name": "b", "kind": "relu", "inputs": ["input"]},
                 {"name": "c", "kind": "concat", "inputs": ["a", "b", "input", "a"]}]})",
                 "two_readers.json"),
      "two_readers.json");
}

const Platform& pencil() {
  static const Platform platform = Platform::load(kFixtures + "pencil.xml");
  return platform;
}

constexpr HostId kDevice = 0, kServer = 1;
constexpr auto kNone = std::nullopt;  // in a WireFormat {input_bytes, bytes_per_element, result_bytes}

Plan plan_of(std::vector<Piece> pieces, int exit = 0, std::vector<EdgeTransform> transforms = {}) {
  Plan plan;
  plan.pieces = std::move(pieces);
  plan.exit = exit;
  plan.transforms = std::move(transforms);
  return plan;
}

struct Expected {
  int from, to;
  double bytes;
};

bool equal(const std::vector<PlanEdge>& edges, const std::vector<Expected>& expected) {
  return std::equal(edges.begin(), edges.end(), expected.begin(), expected.end(),
                    [](const PlanEdge& a, const Expected& b) {
                      return a.from == b.from && a.to == b.to && a.bytes == b.bytes;
                    });
}

std::string refusal(const LayerGraph& graph, const Plan& plan, const Platform& platform = pencil(),
                    HostId source = kDevice) {
  try {
    check_plan(graph, platform, source, {}, plan, "policy p");
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

const std::string kRefused = "policy p: the plan cannot run: ";

}  // namespace

TEST_CASE("plan: the edges of a chain") {
  // input 1000 * 4 B, fc_1 500 * 4 B, fc_2 1000 * 4 B, fc_3 250 * 4 B
  CHECK(equal(plan_edges(chain3(), {}, plan_of({{{0, 1, 2}, kDevice}})), {{-1, 0, 4000}, {0, -1, 1000}}));
  CHECK(equal(plan_edges(chain3(), {}, plan_of({{{0}, kDevice}, {{1, 2}, kServer}})),
              {{-1, 0, 4000}, {0, 1, 2000}, {1, -1, 1000}}));
  CHECK(equal(plan_edges(chain3(), {}, plan_of({{{0}, kDevice}, {{1}, kServer}, {{2}, kDevice}})),
              {{-1, 0, 4000}, {0, 1, 2000}, {1, 2, 4000}, {2, -1, 1000}}));
  // The order in which the pieces stand does not matter: the result comes last, the others by (to, from).
  CHECK(equal(plan_edges(chain3(), {}, plan_of({{{1, 2}, kServer}, {{0}, kDevice}})),
              {{1, 0, 2000}, {-1, 1, 4000}, {0, -1, 1000}}));
}

TEST_CASE("plan: the edges of a DAG") {
  // Of stem's 4 * 4 * 4 * 4 B = 256 B both branches read the same; in one piece they travel once, in two
  // twice.
  CHECK(equal(plan_edges(diamond(), {}, plan_of({{{0}, kDevice}, {{1, 2}, kServer}, {{3, 4}, kDevice}}, 1)),
              {{-1, 0, 128}, {0, 1, 256}, {1, 2, 512}, {2, -1, 40}}));
  CHECK(equal(plan_edges(diamond(), {},
                         plan_of({{{0}, kDevice}, {{1}, kServer}, {{2}, kServer}, {{3, 4}, kDevice}}, 1)),
              {{-1, 0, 128}, {0, 1, 256}, {0, 2, 256}, {1, 3, 256}, {2, 3, 256}, {3, -1, 40}}));
  // left and join on the server: they need stem and right.
  CHECK(equal(plan_edges(diamond(), {}, plan_of({{{0, 2}, kDevice}, {{1, 3, 4}, kServer}}, 1)),
              {{-1, 0, 128}, {0, 1, 512}, {1, -1, 40}}));
  // The early exit needs stem and its own head only.
  CHECK(equal(plan_edges(diamond(), {}, plan_of({{{0}, kDevice}, {{5}, kServer}}, 0)),
              {{-1, 0, 128}, {0, 1, 256}, {1, -1, 40}}));
}

TEST_CASE("plan: the input goes to each piece that reads it, once") {
  const LayerGraph graph = two_readers();  // input, a and b: 40 B each, c: 160 B
  CHECK(equal(plan_edges(graph, {}, plan_of({{{0, 1, 2}, kServer}})), {{-1, 0, 40}, {0, -1, 160}}));
  CHECK(equal(plan_edges(graph, {}, plan_of({{{0}, kDevice}, {{1}, kServer}, {{2}, kServer}})),
              {{-1, 0, 40}, {-1, 1, 40}, {-1, 2, 40}, {0, 2, 40}, {1, 2, 40}, {2, -1, 160}}));
}

TEST_CASE("plan: wire format") {
  const Plan plan = plan_of({{{0}, kDevice}, {{1, 2}, kServer}});
  // 8 B for each of 500 and 250 elements; the input keeps the graph's precision.
  CHECK(equal(plan_edges(chain3(), {kNone, 8, kNone}, plan), {{-1, 0, 4000}, {0, 1, 4000}, {1, -1, 2000}}));
  CHECK(equal(plan_edges(chain3(), {77, kNone, kNone}, plan), {{-1, 0, 77}, {0, 1, 2000}, {1, -1, 1000}}));
  CHECK(equal(plan_edges(chain3(), {kNone, kNone, 0}, plan), {{-1, 0, 4000}, {0, 1, 2000}, {1, -1, 0}}));
  CHECK(equal(plan_edges(chain3(), {1, 0.5, 2}, plan), {{-1, 0, 1}, {0, 1, 250}, {1, -1, 2}}));
  CHECK(tensor_bytes(chain3(), {}, 1) == 4000);
  CHECK(tensor_bytes(chain3(), {kNone, 1, kNone}, 1) == 1000);
  CHECK(tensor_bytes(chain3(), {1, kNone, 2}, 2) == 1000);
}

TEST_CASE("plan: transforms change the bytes of their edge") {
  Plan plan =
      plan_of({{{0}, kDevice}, {{1, 2}, kServer}}, 0,
              {{0, 1, {.ratio = 0.25, .encode_flop = 10, .decode_flop = 20}}, {1, kSourceEnd, {.ratio = 2}}});
  const auto edges = plan_edges(chain3(), {}, plan);
  CHECK(equal(edges, {{-1, 0, 4000}, {0, 1, 500}, {1, -1, 2000}}));
  CHECK(edges[0].transform.ratio == 1);
  CHECK(edges[1].transform.ratio == 0.25);
  CHECK(edges[1].transform.encode_flop == 10);
  CHECK(edges[1].transform.decode_flop == 20);
  // With a wire format the ratio applies to its bytes; on the input's edge too.
  plan.transforms = {{kSourceEnd, 0, {.ratio = 0.5}}, {0, 1, {.ratio = 0.5}}};
  CHECK(equal(plan_edges(chain3(), {100, 1, kNone}, plan), {{-1, 0, 50}, {0, 1, 250}, {1, -1, 250}}));
}

TEST_CASE("plan: memory is all weights of a host and its largest input and output") {
  // chain3: weights 2e6, 2e6, 1e6; input + output 6000, 6000, 5000.
  CHECK(plan_memory_bytes(chain3(), plan_of({{{0, 1, 2}, kDevice}})) ==
        std::map<HostId, double>{{kDevice, 5006000}});
  CHECK(plan_memory_bytes(chain3(), plan_of({{{0}, kDevice}, {{1, 2}, kServer}})) ==
        std::map<HostId, double>{{kDevice, 2006000}, {kServer, 3006000}});
  // Pieces of one host: weights add up, of the activations the largest counts.
  CHECK(plan_memory_bytes(chain3(), plan_of({{{0}, kDevice}, {{1}, kServer}, {{2}, kDevice}})) ==
        std::map<HostId, double>{{kDevice, 3006000}, {kServer, 2006000}});
  // diamond: join reads left and right: 3 * 256; stem 128 + 256, head 256 + 40. Weights: stem 48, head 2600.
  CHECK(plan_memory_bytes(diamond(), plan_of({{{0}, kDevice}, {{1, 2}, kServer}, {{3, 4}, kDevice}}, 1)) ==
        std::map<HostId, double>{{kDevice, 48 + 2600 + 768}, {kServer, 592 + 80 + 512}});
}

TEST_CASE("plan: good plans are accepted") {
  CHECK(refusal(chain3(), plan_of({{{0, 1, 2}, kDevice}})) == "accepted");
  CHECK(refusal(chain3(), plan_of({{{0, 1, 2}, kServer}})) == "accepted");
  CHECK(refusal(chain3(), plan_of({{{1, 2}, kServer}, {{0}, kDevice}})) == "accepted");
  CHECK(refusal(chain3(), plan_of({{{0}, kDevice}, {{1}, kServer}, {{2}, kDevice}})) == "accepted");
  CHECK(refusal(diamond(), plan_of({{{0}, kDevice}, {{1, 2}, kServer}, {{3, 4}, kDevice}}, 1)) == "accepted");
  CHECK(refusal(diamond(), plan_of({{{0, 5}, kDevice}}, 0)) == "accepted");
  CHECK(refusal(chain3(), plan_of({{{0, 1, 2}, kServer}}, 0,
                                  {{-1, 0, {.ratio = 3}}, {0, -1, {.ratio = 0.1}}})) == "accepted");
  // Turns its requests away.
  CHECK(refusal(chain3(), plan_of({})) == "accepted");
}

TEST_CASE("plan: bad plans are refused, with the reason") {
  CHECK(refusal(chain3(), plan_of({{{0, 1, 2}, kDevice}}, 1)) == kRefused + "exit 1 of 1");
  CHECK(refusal(chain3(), plan_of({{{0, 1, 2}, kDevice}}, -1)) == kRefused + "exit -1 of 1");
  CHECK(refusal(chain3(), plan_of({{{0, 1, 2}, 2}})) == kRefused + "host number 2");
  CHECK(refusal(chain3(), plan_of({{{0, 1, 2}, -1}})) == kRefused + "host number -1");
  CHECK(refusal(chain3(), plan_of({{{0, 1, 2}, kDevice}, {{}, kServer}})) ==
        kRefused + "a piece has no layers");
  CHECK(refusal(chain3(), plan_of({{{1, 0, 2}, kDevice}})) ==
        kRefused + "the layers of a piece are out of order");
  CHECK(refusal(chain3(), plan_of({{{0, 1, 3}, kDevice}})) == kRefused + "layer number 3");
  CHECK(refusal(chain3(), plan_of({{{-1, 0, 1}, kDevice}})) == kRefused + "layer number -1");
  // Missing, twice in two pieces, twice in one, and one that the exit does not need.
  CHECK(refusal(chain3(), plan_of({{{1, 2}, kDevice}})) ==
        kRefused + "layer \"fc_1\" is computed 0 times, not 1");
  CHECK(refusal(chain3(), plan_of({{{0, 2}, kDevice}})) ==
        kRefused + "layer \"fc_2\" is computed 0 times, not 1");
  CHECK(refusal(chain3(), plan_of({{{0, 1}, kDevice}, {{1, 2}, kServer}})) ==
        kRefused + "layer \"fc_2\" is computed 2 times, not 1");
  CHECK(refusal(chain3(), plan_of({{{0, 1, 1, 2}, kDevice}})) ==
        kRefused + "layer \"fc_2\" is computed 2 times, not 1");
  CHECK(refusal(diamond(), plan_of({{{0, 1, 5}, kDevice}}, 0)) ==
        kRefused + "layer \"left\" is computed 1 times, not 0");
  // Piece 0 (stem, join) waits for piece 1 (left, right), which waits for stem.
  CHECK(refusal(diamond(), plan_of({{{0, 3}, kDevice}, {{1, 2}, kServer}, {{4}, kDevice}}, 1)) ==
        kRefused + "its pieces wait for each other in a circle");
  CHECK(refusal(chain3(), plan_of({{{0, 2}, kDevice}, {{1}, kServer}})) ==
        kRefused + "its pieces wait for each other in a circle");
}

TEST_CASE("plan: transforms must stand on edges that exist and make sense") {
  const std::vector<Piece> pieces{{{0}, kDevice}, {{1, 2}, kServer}};
  CHECK(refusal(chain3(), plan_of({}, 0, {{-1, 0, {}}})) ==
        kRefused + "a transform stands on the edge -1 -> 0, which does not exist");
  CHECK(refusal(chain3(), plan_of(pieces, 0, {{1, 0, {}}})) ==
        kRefused + "a transform stands on the edge 1 -> 0, which does not exist");
  CHECK(refusal(chain3(), plan_of(pieces, 0, {{0, kSourceEnd, {}}})) ==
        kRefused + "a transform stands on the edge 0 -> -1, which does not exist");
  CHECK(refusal(chain3(), plan_of(pieces, 0, {{5, 7, {}}})) ==
        kRefused + "a transform stands on the edge 5 -> 7, which does not exist");
  const std::string bad = kRefused + "a transform has a ratio or work that is not positive";
  CHECK(refusal(chain3(), plan_of(pieces, 0, {{0, 1, {.ratio = 0}}})) == bad);
  CHECK(refusal(chain3(), plan_of(pieces, 0, {{0, 1, {.ratio = -1}}})) == bad);
  CHECK(refusal(chain3(), plan_of(pieces, 0, {{0, 1, {.encode_flop = -1}}})) == bad);
  CHECK(refusal(chain3(), plan_of(pieces, 0, {{0, 1, {.decode_flop = -1}}})) == bad);
}

TEST_CASE("plan: numbers of transforms are finite, and an edge has one transform") {
  const std::vector<Piece> pieces{{{0}, kDevice}, {{1, 2}, kServer}};
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               infinity = std::numeric_limits<double>::infinity();
  for (const Transform& transform :
       {Transform{nan, 0, 0}, Transform{infinity, 0, 0}, Transform{1, nan, 0}, Transform{1, infinity, 0},
        Transform{1, 0, nan}, Transform{1, 0, infinity}}) {
    CAPTURE(transform.ratio);
    CAPTURE(transform.encode_flop);
    CAPTURE(transform.decode_flop);
    CHECK(refusal(chain3(), plan_of(pieces, 0, {{0, 1, transform}})).starts_with(kRefused + "a transform"));
  }
  // Of two the ratios would multiply, while the work of the last one alone would count.
  CHECK(refusal(chain3(), plan_of(pieces, 0, {{0, 1, {.ratio = 0.5}}, {0, 1, {.ratio = 0.5}}}))
            .starts_with(kRefused));
}

TEST_CASE("plan: hosts need routes where tensors travel") {
  // star.xml has routes between the edge server and each device, none among devices.
  const Platform star = Platform::load(kFixtures + "star.xml");
  const HostId edge = star.find_host("edge"), d0 = star.find_host("d0"), d1 = star.find_host("d1");
  CHECK(refusal(chain3(), plan_of({{{0}, d0}, {{1, 2}, edge}}), star, d0) == "accepted");
  const std::string none = kRefused + star.file() + " has no route from \"d0\" to \"d1\"";
  CHECK(refusal(chain3(), plan_of({{{0}, d0}, {{1, 2}, d1}}), star, d0) == none);
  CHECK(refusal(chain3(), plan_of({{{0, 1, 2}, d1}}), star, d0) == none);  // the input
  CHECK(refusal(chain3(), plan_of({{{0}, edge}, {{1, 2}, d0}}), star, d1) ==
        kRefused + star.file() + " has no route from \"d0\" to \"d1\"");  // the result
}

TEST_CASE("plan: hosts need the memory") {
  Platform platform = pencil();
  const Plan split = plan_of({{{0}, kDevice}, {{1}, kServer}, {{2}, kDevice}});
  platform.edit_host(kDevice).memory_bytes = 3006000;  // exactly what it takes
  CHECK(refusal(chain3(), split, platform) == "accepted");
  platform.edit_host(kDevice).memory_bytes = 3005999;
  CHECK(refusal(chain3(), split, platform).starts_with(kRefused + "\"device\" would hold 3.006MB of its "));
  platform.edit_host(kDevice).memory_bytes = 1000;
  CHECK(refusal(chain3(), split, platform) == kRefused + "\"device\" would hold 3.006MB of its 1kB");
  platform.edit_host(kDevice).memory_bytes.reset();  // not stated: not checked
  CHECK(refusal(chain3(), split, platform) == "accepted");
}

TEST_CASE("plan: exit rates") {
  // Both exits of the diamond; the early head (5) reads the stem (0).
  Plan plan = plan_of({{{0, 5}, kDevice}, {{1, 2, 3, 4}, kServer}}, 1);
  plan.exit_rates = {0.25, 0.75};
  CHECK(refusal(diamond(), plan) == "accepted");
  CHECK(plan_layers(diamond(), plan, 0) == std::vector<LayerId>{0, 5});
  CHECK(plan_layers(diamond(), plan, 1) == std::vector<LayerId>{0, 1, 2, 3, 4, 5});
  const Plan early = stopped_at(diamond(), plan, 0);
  CHECK(early.exit == 0);
  CHECK(early.pieces[1].layers.empty());
  // The input, 2 * 4 * 4 * 4 B, and 10 * 4 B of result; nothing goes to the server.
  CHECK(equal(plan_edges(diamond(), {}, early), {{-1, 0, 128}, {0, -1, 40}}));

  // In a piece of its own the early head must let a request pass before the stem's output leaves.
  Plan apart = plan_of({{{0}, kDevice}, {{5}, kDevice}, {{1, 2, 3, 4}, kServer}}, 1);
  apart.exit_rates = plan.exit_rates;
  for (const PlanEdge& edge : plan_edges(diamond(), {}, apart)) {
    CHECK(edge.after == (edge.to == 2 ? std::vector<int>{1} : std::vector<int>{}));
  }

  plan.exit_rates = {0.25, 0.5};
  CHECK(refusal(diamond(), plan) == kRefused + "its exit rates are not 2 shares that sum to 1");
  plan.exit_rates = {1};
  CHECK(refusal(diamond(), plan) == kRefused + "its exit rates are not 2 shares that sum to 1");
  // Nobody stops at the early exit: where it is computed all pass it, else it is not in use.
  apart.exit_rates = {0, 1};
  CHECK(refusal(diamond(), apart) == "accepted");
  CHECK(plan_layers(diamond(), apart, 1) == std::vector<LayerId>{0, 1, 2, 3, 4, 5});
  for (const PlanEdge& edge : plan_edges(diamond(), {}, apart)) {
    CHECK(edge.after == (edge.to == 2 ? std::vector<int>{1} : std::vector<int>{}));
  }
  apart.pieces.erase(apart.pieces.begin() + 1);
  CHECK(refusal(diamond(), apart) == "accepted");
  CHECK(plan_layers(diamond(), apart, 1) == std::vector<LayerId>{0, 1, 2, 3, 4});
}

TEST_CASE("plan: exit accuracies") {
  Plan plan = plan_of({{{0, 5}, kDevice}, {{1, 2, 3, 4}, kServer}}, 1);
  plan.exit_rates = {0.25, 0.75};
  plan.exit_accuracies = {0.9, 0.8};
  CHECK(refusal(diamond(), plan) == "accepted");
  CHECK(stopped_at(diamond(), plan, 0).exit_accuracies == std::vector<double>{0.9});
  for (const std::vector<double>& wrong : {std::vector<double>{0.9}, {0.9, 1.1}}) {
    plan.exit_accuracies = wrong;
    CHECK(refusal(diamond(), plan) == kRefused + "its exit accuracies are not 2 shares");
  }
}

TEST_CASE("plan: layers that read a sensor run where it is, and their input does not travel") {
  // a and b read the input; c joins them and the input itself, which comes from the source: 10 * 4 B each.
  const LayerGraph graph = two_readers();
  const WireFormat wire{.sensors = {{0, kDevice}, {1, kServer}}};
  const Plan plan = plan_of({{{0}, kDevice}, {{1}, kServer}, {{2}, kServer}});
  CHECK(equal(plan_edges(graph, wire, plan), {{-1, 2, 40}, {0, 2, 40}, {1, 2, 40}, {2, -1, 160}}));
  CHECK_NOTHROW(check_plan(graph, pencil(), kDevice, wire, plan, "policy p"));
  const Plan elsewhere = plan_of({{{0, 1}, kDevice}, {{2}, kServer}});
  try {
    check_plan(graph, pencil(), kDevice, wire, elsewhere, "policy p");
    FAIL("the plan was accepted");
  } catch (const InputError& error) {
    CHECK(error.what() == kRefused + "layer \"b\" reads a sensor of \"server\" and cannot run on \"device\"");
  }
}

TEST_CASE("plan: what survives a failure") {
  // stem 0 -> left 1, right 2 -> join 3, which is told what to do without one of them.
  const auto graph = [](const std::string& absent) {
    Json json = diamond().to_json();
    json["layers"][3]["absent"] = absent;
    return LayerGraph::parse(json, "diamond.json");
  };
  const Plan plan = plan_of({{{0, 2}, kDevice}, {{1}, kServer}, {{3, 4}, kDevice}}, 1);
  const std::vector<bool> no_server{true, false};
  const std::vector<bool> all{true, true}, none{false, false};
  // Without left nothing behind it runs, and no result returns.
  const LayerGraph refuse = graph("refuse");
  CHECK(surviving(refuse, plan, no_server).pieces[2].layers.empty());
  CHECK(equal(plan_edges(refuse, {}, surviving(refuse, plan, no_server)), {{-1, 0, 128}}));
  CHECK(computed_layers(refuse, surviving(refuse, plan, no_server)) ==
        std::vector<bool>{true, false, true, false, false, false});
  // join takes right alone: 4 * 4 * 4 * 4 B.
  const LayerGraph skip = graph("skip");
  CHECK(computed_layers(skip, surviving(skip, plan, no_server)) ==
        std::vector<bool>{true, false, true, true, true, false});
  CHECK(equal(plan_edges(skip, {}, surviving(skip, plan, no_server)),
              {{-1, 0, 128}, {0, 2, 256}, {2, -1, 40}}));
  CHECK(equal(plan_edges(skip, {}, surviving(skip, plan, all)),
              {{-1, 0, 128}, {0, 1, 256}, {0, 2, 256}, {1, 2, 256}, {2, -1, 40}}));
  // A switch reads left, its first input; right only where left is missing.
  const LayerGraph switched = graph("switch");
  CHECK(equal(plan_edges(switched, {}, surviving(switched, plan, all)),
              {{-1, 0, 128}, {0, 1, 256}, {1, 2, 256}, {2, -1, 40}}));
  CHECK(equal(plan_edges(switched, {}, surviving(switched, plan, no_server)),
              {{-1, 0, 128}, {0, 2, 256}, {2, -1, 40}}));
  // Where both are missing nothing can be joined.
  CHECK(plan_edges(skip, {}, surviving(skip, plan, none)).empty());
}

TEST_CASE("plan: shares of processors") {
  Plan plan = plan_of({{{0}, kDevice}, {{1}, kServer}, {{2}, kServer}});
  plan.pieces[1].share = plan.pieces[2].share = 1;
  CHECK(refusal(chain3(), plan) == "accepted");
  plan.pieces[2].share = 0.5;
  CHECK(refusal(chain3(), plan) == kRefused + "its pieces on \"server\" have different shares");
  for (const double share : {0.0, -0.5, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    plan.pieces[1].share = plan.pieces[2].share = share;
    CHECK(refusal(chain3(), plan).starts_with(kRefused + "a share of "));
  }
}

TEST_CASE("plan: uploads") {
  Plan plan = plan_of({{{0}, kDevice}, {{1, 2}, kServer}});
  plan.uploads = {{{1}, kServer}, {{2}, kServer}};
  CHECK(refusal(chain3(), plan) == "accepted");
  plan.uploads[1].layers = {3};
  CHECK(refusal(chain3(), plan) == kRefused + "the layers of an upload are none, or out of order");
  plan.uploads[1].layers = {2, 1};
  CHECK(refusal(chain3(), plan) == kRefused + "the layers of an upload are none, or out of order");
  plan.uploads = {{{1}, kDevice}};
  CHECK(refusal(chain3(), plan) == kRefused + "an upload to host number 0");
  plan.uploads.clear();
  plan.fallbacks = {plan_of({{{0, 1, 2}, kDevice}})};
  plan.fallbacks[0].uploads = {{{1}, kServer}};
  CHECK(refusal(chain3(), plan) == kRefused + "a fallback has uploads");
}

TEST_CASE("plan: what only joins read that do without it may be left out") {
  // stem 0 -> left 1, right 2 -> join 3 -> head 4.
  const auto refusal_with = [](const std::string& absent, const Plan& plan) {
    Json json = diamond().to_json();
    json["layers"][3]["absent"] = absent;
    return refusal(LayerGraph::parse(json, "diamond.json"), plan);
  };
  const Plan without_left = plan_of({{{0, 2, 3, 4}, kDevice}}, 1);
  CHECK(refusal_with("skip", without_left) == "accepted");
  CHECK(refusal_with("switch", without_left) == "accepted");
  CHECK(refusal_with("refuse", without_left) == kRefused + "layer \"left\" is computed 0 times, not 1");
  // Something must be joined, what is computed needs its inputs, and the exit is needed in any case.
  CHECK(refusal_with("skip", plan_of({{{0, 3, 4}, kDevice}}, 1)) ==
        kRefused + "layer \"left\" is computed 0 times, not 1");
  CHECK(refusal_with("skip", plan_of({{{2, 3, 4}, kDevice}}, 1)) ==
        kRefused + "layer \"stem\" is computed 0 times, not 1");
  CHECK(refusal_with("skip", plan_of({{{0, 1, 2, 3}, kDevice}}, 1)) ==
        kRefused + "layer \"head\" is computed 0 times, not 1");
  // An early exit that requests take is needed, too.
  Plan early = without_left;
  early.exit_rates = {0.5, 0.5};
  CHECK(refusal_with("skip", early) == kRefused + "layer \"early_head\" is computed 0 times, not 1");
}

TEST_CASE("plan: fallbacks are plans, without fallbacks") {
  Plan plan = plan_of({{{0}, kDevice}, {{1, 2}, kServer}});
  plan.fallbacks = {plan_of({{{0, 1, 2}, kDevice}})};
  CHECK(refusal(chain3(), plan) == "accepted");
  plan.fallbacks[0].pieces[0].layers = {0, 1};
  CHECK(refusal(chain3(), plan) ==
        "policy p, fallback: the plan cannot run: layer \"fc_3\" is computed 0 times, not 1");
  plan.fallbacks[0] = plan_of({{{0, 1, 2}, kDevice}});
  plan.fallbacks[0].fallbacks = {plan_of({{{0, 1, 2}, kServer}})};
  CHECK(refusal(chain3(), plan) == kRefused + "a fallback has fallbacks of its own");
}

// ---- data partition ----

namespace {

// Two convolutions of 3 x 3 with padding: input [2, 6, 4] -> a [4, 6, 4] -> b [4, 6, 4]; 4 B an element.
const LayerGraph& two_convs() {
  static const LayerGraph graph = LayerGraph::parse(
      parse_json(R"({"schema": 1, "name": "two_convs", "source": "test", "precision": "fp32",
      "input": {"shape": [2, 6, 4]}, "layers": [
      {"name": "a", "kind": "conv", "inputs": ["input"], "kernel": [3, 3], "padding": [1, 1, 1, 1], "output": [4, 6, 4]},
      {"name": "b", "kind": "conv", "inputs": ["a"], "kernel": [3, 3], "padding": [1, 1, 1, 1], "output": [4, 6, 4]}]})",
                 "two_convs.json"),
      "two_convs.json");
  return graph;
}

// Rows of a or b.
Region rows(int begin, int end) {
  return {{0, 4}, {begin, end}, {0, 4}};
}

// Each layer's upper rows on the device, the lower ones on the server.
Plan halves() {
  return plan_of({{{0}, kDevice, {{0, rows(0, 3)}}},
                  {{0}, kServer, {{0, rows(3, 6)}}},
                  {{1}, kDevice, {{1, rows(0, 3)}}},
                  {{1}, kServer, {{1, rows(3, 6)}}}});
}

// The same in one go: each computes the row of a that it needs of the other.
Plan fused_halves() {
  const std::vector<LayerId> both{0, 1};
  return plan_of({fused_piece(two_convs(), both, {{1, rows(0, 3)}}, kDevice),
                  fused_piece(two_convs(), both, {{1, rows(3, 6)}}, kServer)});
}

}  // namespace

TEST_CASE("plan: parts of layers exchange what they lack") {
  // Rows 0..3 of the input, 2 * 4 * 4 elements, and rows 2..5. Of a, with 16 elements in a row, each half of
  // b reads three rows of its own host and one of the other.
  CHECK(equal(plan_edges(two_convs(), {}, halves()), {{-1, 0, 128},
                                                      {-1, 1, 128},
                                                      {0, 2, 192},
                                                      {1, 2, 64},
                                                      {0, 3, 64},
                                                      {1, 3, 192},
                                                      {2, -1, 192},
                                                      {3, -1, 192}}));
  CHECK(refusal(two_convs(), halves()) == "accepted");
  // On the wire: of 600 B of input 32 of 48 elements, of 96 B of result a half, 1 B for any other element.
  CHECK(equal(plan_edges(two_convs(), {600, 1, 96}, halves()), {{-1, 0, 400},
                                                                {-1, 1, 400},
                                                                {0, 2, 48},
                                                                {1, 2, 16},
                                                                {0, 3, 16},
                                                                {1, 3, 48},
                                                                {2, -1, 48},
                                                                {3, -1, 48}}));
  // Fused, rows 0..3 of a need rows 0..4 of the input: nothing but that and the result travels.
  const Plan fused = fused_halves();
  CHECK(fused.pieces[0].parts == Parts{{0, rows(0, 4)}, {1, rows(0, 3)}});
  CHECK(fused.pieces[1].parts == Parts{{0, rows(2, 6)}, {1, rows(3, 6)}});
  CHECK(equal(plan_edges(two_convs(), {}, fused), {{-1, 0, 160}, {-1, 1, 160}, {0, -1, 192}, {1, -1, 192}}));
  CHECK(refusal(two_convs(), fused) == "accepted");
  // A transform stands on an edge of parts as on any other.
  Plan halved = halves();
  halved.transforms = {{1, 2, {.ratio = 0.5}}};
  CHECK(refusal(two_convs(), halved) == "accepted");
  CHECK(plan_edges(two_convs(), {}, halved)[3].bytes == 32);
}

TEST_CASE("plan: what several pieces compute comes from the same host, else from the first, once") {
  const Piece upper{{0}, kDevice, {{0, rows(0, 4)}}}, lower{{0}, kServer, {{0, rows(2, 6)}}};
  // b reads all of a. On the server it has rows 2..5 there; on the device rows 0..3.
  CHECK(equal(plan_edges(two_convs(), {}, plan_of({upper, lower, {{1}, kServer}})),
              {{-1, 0, 160}, {-1, 1, 160}, {0, 2, 128}, {1, 2, 256}, {2, -1, 384}}));
  CHECK(equal(plan_edges(two_convs(), {}, plan_of({upper, lower, {{1}, kDevice}})),
              {{-1, 0, 160}, {-1, 1, 160}, {0, 2, 256}, {1, 2, 128}, {2, -1, 384}}));
  // Both on the server, for one on the device: the first gives what it has.
  const Piece upper_there{{0}, kServer, {{0, rows(0, 4)}}};
  CHECK(equal(plan_edges(two_convs(), {}, plan_of({lower, upper_there, {{1}, kDevice}})),
              {{-1, 0, 160}, {-1, 1, 160}, {0, 2, 256}, {1, 2, 128}, {2, -1, 384}}));
  // Channels: each half reads all of the input, b all channels of a.
  const Region first{{0, 2}, {0, 6}, {0, 4}}, second{{2, 4}, {0, 6}, {0, 4}};
  const Plan channels =
      plan_of({{{0}, kDevice, {{0, first}}}, {{0}, kServer, {{0, second}}}, {{1}, kServer}});
  CHECK(equal(plan_edges(two_convs(), {}, channels),
              {{-1, 0, 192}, {-1, 1, 192}, {0, 2, 192}, {1, 2, 192}, {2, -1, 384}}));
  CHECK(refusal(two_convs(), channels) == "accepted");
}

TEST_CASE("plan: parts that go by way of a host") {
  const auto relay = [](LayerId tensor, Region part) {
    return Piece{{}, kDevice, {{tensor, std::move(part)}}, {}, {tensor}};
  };
  // The rows of a that each half of b lacks pass the device; the others lie where they are read, though each
  // half computes one that is passed on.
  Plan plan = halves();
  plan.pieces.insert(plan.pieces.begin() + 2, {relay(0, rows(3, 4)), relay(0, rows(2, 3))});
  CHECK(equal(plan_edges(two_convs(), {}, plan), {{-1, 0, 128},
                                                  {-1, 1, 128},
                                                  {1, 2, 64},
                                                  {0, 3, 64},
                                                  {0, 4, 192},
                                                  {2, 4, 64},
                                                  {1, 5, 192},
                                                  {3, 5, 64},
                                                  {4, -1, 192},
                                                  {5, -1, 192}}));
  CHECK(refusal(two_convs(), plan) == "accepted");
  CHECK(plan_memory_bytes(two_convs(), plan_of({relay(0, rows(2, 3))})) ==
        std::map<HostId, double>{{kDevice, 64}});
  // What an earlier exit does not need goes with its part.
  for (const Piece& piece : stopped_at(two_convs(), plan, 0).pieces) CHECK(!piece.parts.empty());
  plan.pieces[3] = {{}, kDevice, {}, {}, {0}};
  CHECK(refusal(two_convs(), plan) == kRefused + "a tensor is relayed twice");
  plan.pieces[3] = relay(kInput, {{0, 2}, {3, 4}, {0, 4}});
  CHECK(refusal(two_convs(), plan) ==
        kRefused + "a piece has a part of layer number -1, which it does not compute");
}

TEST_CASE("plan: memory of parts") {
  // Weights: a 76 * 4 = 304 B, b 148 * 4 = 592 B; rows need all of them. Largest: four rows of a in, three of
  // b out, 112 * 4 B.
  CHECK(plan_memory_bytes(two_convs(), halves()) ==
        std::map<HostId, double>{{kDevice, 304 + 592 + 448}, {kServer, 304 + 592 + 448}});
  // Channels have their own: 152 B for two; with all of the input 48 elements and 48 out, 384 B.
  const auto part = [](int begin, int end) { return Region{{begin, end}, {0, 6}, {0, 4}}; };
  CHECK(plan_memory_bytes(two_convs(), plan_of({{{0}, kDevice, {{0, part(0, 2)}}}})) ==
        std::map<HostId, double>{{kDevice, 152 + 384}});
  // What two pieces of a host share counts once: channels 0..2 and 1..3, then 0 and 3.
  CHECK(plan_memory_bytes(two_convs(),
                          plan_of({{{0}, kDevice, {{0, part(0, 3)}}}, {{0}, kDevice, {{0, part(1, 4)}}}})) ==
        std::map<HostId, double>{{kDevice, 304 + (48 + 72) * 4}});
  CHECK(plan_memory_bytes(two_convs(),
                          plan_of({{{0}, kDevice, {{0, part(3, 4)}}}, {{0}, kDevice, {{0, part(0, 1)}}}})) ==
        std::map<HostId, double>{{kDevice, 152 + (48 + 24) * 4}});
}

TEST_CASE("plan: bad parts are refused, with the reason") {
  const auto with = [](Region first, Region second) {
    return plan_of(
        {{{0}, kDevice, {{0, std::move(first)}}}, {{0}, kServer, {{0, std::move(second)}}}, {{1}, kServer}});
  };
  for (const Region& bad : {rows(0, 7), rows(-1, 3), rows(3, 3), Region{{0, 4}, {0, 3}}}) {
    CHECK(refusal(two_convs(), with(bad, rows(3, 6))).starts_with(kRefused + "the part [["));
  }
  CHECK(refusal(two_convs(), with(rows(0, 7), rows(3, 6))) ==
        kRefused +
            "the part [[0, 4], [0, 7], [0, 4]] of layer \"a\" is no box within [[0, 4], [0, 6], [0, 4]]");
  CHECK(refusal(two_convs(), plan_of({{{0}, kDevice, {{1, rows(0, 3)}}}, {{1}, kServer}})) ==
        kRefused + "a piece has a part of layer number 1, which it does not compute");
  // A gap that somebody reads, a result that is not whole.
  CHECK(refusal(two_convs(), with(rows(0, 3), rows(4, 6))) ==
        kRefused + "layer \"b\" of piece 2 reads [[0, 4], [3, 4], [0, 4]] of \"a\", which no piece computes");
  CHECK(refusal(two_convs(), plan_of({{{0}, kDevice}, {{1}, kDevice, {{1, rows(0, 3)}}}})) ==
        kRefused + "the source wants [[0, 4], [3, 6], [0, 4]] of \"b\", which no piece computes");
  // Whole beside a part, twice whole, twice in a piece.
  const std::string twice = kRefused + "layer \"a\" is computed 2 times, not 1";
  CHECK(refusal(two_convs(), plan_of({{{0}, kDevice}, {{0}, kServer, {{0, rows(0, 3)}}}, {{1}, kServer}})) ==
        twice);
  CHECK(refusal(two_convs(), plan_of({{{0}, kDevice}, {{0}, kServer}, {{1}, kServer}})) == twice);
  CHECK(refusal(two_convs(), plan_of({{{0, 0}, kDevice, {{0, rows(0, 6)}}}, {{1}, kServer}})) ==
        kRefused + "a piece has a layer twice");
  // In one go on both sides each half waits for the other's rows of a.
  CHECK(refusal(two_convs(), plan_of({{{0, 1}, kDevice, {{0, rows(0, 3)}, {1, rows(0, 3)}}},
                                      {{0, 1}, kServer, {{0, rows(3, 6)}, {1, rows(3, 6)}}}})) ==
        kRefused + "its pieces wait for each other in a circle");
  // A gap that nobody reads is none: rows 0..2 of a window of one with stride 2 are rows 0, 2 and 4 of c.
  const LayerGraph sparse =
      LayerGraph::parse(parse_json(R"({"schema": 1, "name": "sparse", "source": "test", "precision": "fp32",
      "input": {"shape": [4, 6, 4]}, "layers": [{"name": "c", "kind": "relu", "inputs": ["input"]},
      {"name": "d", "kind": "conv", "inputs": ["c"], "kernel": [1, 1], "stride": [2, 2], "output": [4, 3, 2]}]})",
                                   "sparse.json"),
                        "sparse.json");
  const std::vector<LayerId> both{0, 1};
  const Plan tiles = plan_of({fused_piece(sparse, both, {{1, {{0, 4}, {0, 1}, {0, 2}}}}, kDevice),
                              fused_piece(sparse, both, {{1, {{0, 4}, {1, 3}, {0, 2}}}}, kServer)});
  CHECK(tiles.pieces[0].parts.at(0) == Region{{0, 4}, {0, 1}, {0, 3}});
  CHECK(tiles.pieces[1].parts.at(0) == Region{{0, 4}, {2, 5}, {0, 3}});
  CHECK(refusal(sparse, tiles) == "accepted");
  CHECK(computed_layers(sparse, tiles) == std::vector<bool>{true, true});
}

TEST_CASE("plan: what survives of parts") {
  // Without the server's rows of a the device lacks the one row that it reads; fused it lacks nothing, but
  // the result is not whole.
  const std::vector<bool> no_server{true, false};
  const Plan left = surviving(two_convs(), halves(), no_server);
  CHECK(left.pieces[0].layers == std::vector<LayerId>{0});
  CHECK(left.pieces[2].layers.empty());
  CHECK(left.pieces[2].parts.empty());
  CHECK(!computed_layers(two_convs(), left)[1]);
  CHECK(equal(plan_edges(two_convs(), {}, left), {{-1, 0, 128}}));
  const Plan fused = surviving(two_convs(), fused_halves(), no_server);
  CHECK(fused.pieces[0].layers == std::vector<LayerId>{0, 1});
  CHECK(computed_layers(two_convs(), fused) == std::vector<bool>{true, false});
  CHECK(equal(plan_edges(two_convs(), {}, fused), {{-1, 0, 160}}));
  CHECK(computed_layers(two_convs(), halves()) == std::vector<bool>{true, true});

  // stem 0 -> left 1, right 2 -> join 3: without the lower rows of left the join does without it.
  Json json = diamond().to_json();
  json["layers"][3]["absent"] = "skip";
  const LayerGraph skip = LayerGraph::parse(json, "diamond.json");
  const Region upper{{0, 4}, {0, 2}, {0, 4}}, lower{{0, 4}, {2, 4}, {0, 4}};
  const Plan plan = plan_of(
      {{{0, 2}, kDevice}, {{1}, kDevice, {{1, upper}}}, {{1}, kServer, {{1, lower}}}, {{3, 4}, kDevice}}, 1);
  CHECK(computed_layers(skip, surviving(skip, plan, {true, true}))[1]);
  CHECK(computed_layers(skip, surviving(skip, plan, no_server)) ==
        std::vector<bool>{true, false, true, true, true, false});
  // Of stem three rows of 4 * 4 elements for half of left, which runs and is not sent; all of right.
  CHECK(equal(plan_edges(skip, {}, surviving(skip, plan, no_server)),
              {{-1, 0, 128}, {0, 1, 192}, {0, 3, 256}, {3, -1, 40}}));
}

TEST_CASE("plan: an exit in parts lets a request pass when all of it is there") {
  // Features 0..4 of the early head on the device, 5..9 on the server; the full branch waits for both.
  Plan plan = plan_of({{{0}, kDevice},
                       {{5}, kDevice, {{5, {{0, 5}}}}},
                       {{5}, kServer, {{5, {{5, 10}}}}},
                       {{1, 2, 3, 4}, kServer}},
                      1);
  plan.exit_rates = {0.25, 0.75};
  CHECK(refusal(diamond(), plan) == "accepted");
  for (const PlanEdge& edge : plan_edges(diamond(), {}, plan))
    CHECK(edge.after == (edge.to == 3 ? std::vector<int>{1, 2} : std::vector<int>{}));
  const Plan early = stopped_at(diamond(), plan, 0);
  CHECK(equal(plan_edges(diamond(), {}, early),
              {{-1, 0, 128}, {0, 1, 256}, {0, 2, 256}, {1, -1, 20}, {2, -1, 20}}));
  CHECK(stopped_at(diamond(), plan, 0).pieces[3].layers.empty());
  plan.pieces[2].parts[5] = {{6, 10}};
  CHECK(refusal(diamond(), plan) ==
        kRefused + "the source wants [[5, 6]] of \"early_head\", which no piece computes");
}

TEST_CASE("plan: a hundred devices share the rows of VGG16") {
  // Every device has its rows of each layer; the classifier is the first one's.
  constexpr int kDevices = 100;
  std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">)";
  for (int d = 0; d < kDevices; ++d)
    xml +=
        "<host id=\"d" + std::to_string(d) + "\" speed=\"1Gf\"><prop id=\"tier\" value=\"device\"/></host>";
  xml += R"(<link id="air" bandwidth="100Mbps" latency="1ms"/>)";
  for (int d = 0; d < kDevices; ++d) {
    for (int e = d + 1; e < kDevices; ++e)
      xml += "<route src=\"d" + std::to_string(d) + "\" dst=\"d" + std::to_string(e) +
             "\"><link_ctn id=\"air\"/></route>";
  }
  const Platform platform = Platform::parse(xml + "</zone></platform>", "hundred.xml");
  const LayerGraph graph = LayerGraph::load(std::string(CDISIM_SOURCE_DIR) + "/workloads/vgg16.json");
  std::vector<LayerId> features, head;
  for (LayerId id = 0; id < graph.size(); ++id)
    (graph.layer(id).output_shape.size() == 3 ? features : head).push_back(id);
  Plan layerwise, fused;
  for (const LayerId id : features) {
    const std::vector<Region> tiles = split_rows(graph.layer(id).output_shape, kDevices);
    for (std::size_t d = 0; d < tiles.size(); ++d)
      layerwise.pieces.push_back({{id}, static_cast<HostId>(d), {{id, tiles[d]}}});
  }
  layerwise.pieces.push_back({head, 0});
  // Fused up to the first pool, 112 rows; then one goes on.
  const LayerId last = graph.find("pool1");
  std::vector<LayerId> tiled, rest = head;
  for (const LayerId id : features) (id <= last ? tiled : rest).push_back(id);
  std::ranges::sort(rest);
  const std::vector<Region> tiles = split_rows(graph.layer(last).output_shape, kDevices);
  for (std::size_t d = 0; d < tiles.size(); ++d)
    fused.pieces.push_back(fused_piece(graph, tiled, {{last, tiles[d]}}, static_cast<HostId>(d)));
  fused.pieces.push_back({rest, 0});
  for (const Plan* plan : {&layerwise, &fused}) {
    const std::vector<double> bandwidth{12.5e6};
    const LatencyModel model;
    const WireFormat wire;
    const Problem problem{graph, platform, model, wire, 0, 1, bandwidth, {}};
    const auto start = std::chrono::steady_clock::now();
    check_plan(graph, platform, 0, {}, *plan, "rows");
    const std::size_t edges = plan_edges(graph, {}, *plan).size();
    const double latency_s = estimate(problem, *plan).latency_s;
    const double took_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    MESSAGE(plan->pieces.size() << " pieces, " << edges << " edges, " << latency_s
                                << " s: checked and estimated in " << 1000 * took_s << " ms");
    CHECK(took_s < 1);  // 50 ms on an idle machine
  }
}
