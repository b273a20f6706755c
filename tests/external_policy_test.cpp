#include "sim/external_policy.h"

#include <doctest/doctest.h>

#include <limits>

#include "sim/experiment.h"
#include "tests/policies/scene.h"

using namespace cdisim;

TEST_CASE("external policies: a plan is the same behind the wire") {
  Plan whole;
  whole.pieces = {{{0, 1, 2}, 0}};
  const Plan plan{
      .pieces =
          {{.layers = {0, 1}, .host = 2, .parts = {{1, {{0, 4}, {2, 8}}}}, .share = 0.25, .relays = {kInput}},
           {.layers = {2}, .host = 0}},
      .exit = 1,
      .exit_rates = {0.25, 0.75},
      .exit_accuracies = {0.5, 0.875},
      .transforms = {{.from = 0,
                      .to = 1,
                      .transform = {.ratio = 0.5, .encode_flop = 1e6, .decode_flop = 2e6}}},
      .stealing =
          Stealing{
              .pieces = {1}, .workers = {0, 1}, .poll_s = 0.5, .store = 1, .alone = {{1, {{2, {{0, 3}}}}}}},
      .uploads = {{.layers = {0}, .host = 1}},
      .decision = {{"partition_point", 2}},
      .fallbacks = {whole}};
  const Plan again = plan_from_json(Json::from_cbor(Json::to_cbor(plan_to_json(plan))));
  CHECK(plan_to_json(again) == plan_to_json(plan));
  CHECK(again.pieces[0].parts == plan.pieces[0].parts);
  CHECK(again.pieces[0].share == plan.pieces[0].share);
  CHECK(again.pieces[0].relays == plan.pieces[0].relays);
  CHECK(!again.pieces[1].share);
  CHECK(again.transforms[0].transform.decode_flop == 2e6);
  CHECK(again.stealing->store == 1);
  CHECK(again.stealing->alone == plan.stealing->alone);
  CHECK(again.uploads[0].host == 1);
  CHECK(again.decision == plan.decision);
  CHECK(again.fallbacks[0].pieces[0].layers == std::vector<LayerId>{0, 1, 2});
}

TEST_CASE("external policies: only what has changed is sent") {
  ProblemState now;
  now.seed = std::numeric_limits<std::uint64_t>::max();
  now.bandwidth_bytes_per_s = {0.1, 1e9};
  now.battery_j = {std::numeric_limits<double>::infinity(), 3};
  now.loaded = {{}, {true, false}};
  now.host_on = {1, 0};
  ProblemState seen;
  const auto send = [&] {
    const Json sent = changes(now, seen);
    cdisim::apply(Json::from_cbor(Json::to_cbor(sent)), seen);
    CHECK(changes(now, seen).empty());
    return sent;
  };
  CHECK(send().size() == 5);
  CHECK(seen.battery_j == now.battery_j);
  CHECK(seen.loaded == now.loaded);
  now.date_s = 2;
  CHECK(send() == Json{{"date_s", 2.0}});
}

TEST_CASE("external policies: facts are checked") {
  const auto error = [](const Json& facts) {
    return input_error([&] { read_policy_facts(JsonReader(facts, "policy")); });
  };
  const PolicyFacts facts = read_policy_facts(
      JsonReader(Json{{"name", "mine"},
                      {"watches_load", true},
                      {"parameters", {{{"name", "patience"}, {"type", "time"}, {"standard", "1s"}}}}},
                 "policy"));
  CHECK(facts.name == "mine");
  CHECK(facts.watches_load);
  CHECK(!facts.watches_bandwidth);
  CHECK(facts.parameters.at(0).standard == "1s");
  CHECK(error({{"name", "mine"}, {"watches", true}}).find("unknown key") != std::string::npos);
  CHECK(error({{"name", "edgent"}}).find("cdisim has a policy of this name") != std::string::npos);
  CHECK(error({{"name", "mine"}, {"parameters", {{{"name", "a"}, {"type", "float"}, {"standard", 1}}}}})
            .find("\"float\"") != std::string::npos);
}

TEST_CASE("external policies: replacing the policies of an experiment") {
  const Json whole = parse_json(R"({
    "policies": [{"name": "edgent", "mode": "dynamic"}, {"name": "random", "label": "dice"}],
    "sweeps": [{"vary": {"/deadline": ["1s"]}}, {"vary": {"/deadline": ["2s"]}, "policies": ["dice"]}],
    "published": [{"id": "a", "policy": "edgent"}, {"id": "b", "policy": "edgent", "than": {"policy": "dice"}},
                  {"id": "c", "policy": "edgent", "divided_by": {"policy": "dice"}}, {"id": "d", "unchecked": "?"}]})",
                                "test");
  const auto ids = [](const Json& document) {
    std::string out;
    for (const Json& figure : document["published"]) out += figure["id"].get<std::string>();
    return out;
  };
  Json document = whole;
  replace_policies(document, Json::array({"edgent"}));
  CHECK(document["policies"] == Json::array({whole["policies"][0]}));  // with its parameters
  CHECK(document["sweeps"].size() == 1);                               // nobody is left of the other
  CHECK(ids(document) == "ad");

  document = whole;
  replace_policies(document, Json::array({"dice", "edgent"}));
  CHECK(document["policies"] == Json::array({whole["policies"][1], whole["policies"][0]}));
  CHECK(document["sweeps"] == whole["sweeps"]);
  CHECK(ids(document) == "abcd");

  document = whole;
  replace_policies(document, Json::array({"dice", Json{{"name", "mine"}, {"label", "x"}}}));
  CHECK(document["policies"][1] == Json{{"name", "mine"}, {"label", "x"}});
  CHECK(document["sweeps"][1]["policies"] == Json::array({"dice", "x"}));  // what is new runs everywhere
  CHECK(ids(document) == "d");
}
