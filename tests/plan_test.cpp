#include "sim/plan.h"

#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "sim/error.h"

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
  CHECK(refusal(chain3(), plan_of({})) == kRefused + "layer \"fc_1\" is computed 0 times, not 1");
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
