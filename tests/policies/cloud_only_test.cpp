#include <doctest/doctest.h>

#include "tests/policies/scene.h"

using namespace cdisim;

TEST_CASE("cloud_only: the cloud computes everything") {
  Scene s = scene("platforms/pi3_wifi_cloud.xml", "tests/fixtures/chain3.json");
  s.source = "pi3";
  s.model = LatencyModel::roofline(kRoot + "/platforms/hardware.json");
  const Plan plan = plan_of(s, "cloud_only");
  REQUIRE(plan.pieces.size() == 1);
  CHECK(plan.pieces[0].host == s.host("cloud"));
  CHECK(plan.pieces[0].layers.size() == 3);
  CHECK(plan_of(s, "cloud_only", {{"host", "cloud"}}) == plan);
  CHECK(input_error([&] { plan_of(s, "cloud_only", {{"host", "edge"}}); }).ends_with("valid: cloud"));
}

TEST_CASE("cloud_only: a platform without a cloud is refused") {
  Scene s = pencil_scene();
  CHECK(input_error([&] {
          plan_of(s, "cloud_only");
        }).ends_with("pencil.xml: no host of tier cloud with a route from and to \"device\""));
}
