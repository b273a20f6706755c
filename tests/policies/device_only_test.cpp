#include <doctest/doctest.h>

#include "tests/policies/scene.h"

using namespace cdisim;

TEST_CASE("device_only: all layers of the chosen exit on the source") {
  Scene s = scene("tests/fixtures/pencil.xml", "tests/fixtures/diamond.json");
  const Plan deepest = plan_of(s, "device_only");
  REQUIRE(deepest.pieces.size() == 1);
  CHECK(deepest.exit == 1);
  CHECK(deepest.pieces[0].host == s.host("device"));
  CHECK(deepest.pieces[0].layers.size() == 5);
  // stem 320 + early_head 1290 flop at 1 Gflop/s; nothing travels.
  const Plan early = plan_of(s, "device_only", {{"exit", 1}});
  CHECK(early.exit == 0);
  CHECK(estimate(s.problem(), early).latency_s == doctest::Approx(1.61e-6));
  CHECK(plan_of(s, "device_only", {{"exit", 2}}) == deepest);
}

TEST_CASE("device_only: an exit that does not exist is refused") {
  Scene s = pencil_scene();
  CHECK(input_error([&] {
          plan_of(s, "device_only", {{"exit", 2}});
        }) == "p.json: /exit: 2: \"chain3\" has 1 exits; valid: 0 (the deepest) to 1");
  CHECK(input_error([&] { plan_of(s, "device_only", {{"exit", -1}}); }).starts_with("p.json: /exit: -1"));
  CHECK(input_error([&] { plan_of(s, "device_only", {{"exit", "one"}}); }).starts_with("p.json: /exit"));
}
