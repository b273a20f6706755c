#include <doctest/doctest.h>

#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

// Two edge servers, near and slow, far and fast; a third, as good as the first, comes after them; the
// device does not reach the last.
constexpr const char* kThreeEdges = R"(<platform version="4.1"><zone id="z" routing="Full">
  <host id="device" speed="1Gf"><prop id="tier" value="device"/></host>
  <host id="near" speed="1Gf"><prop id="tier" value="edge"/></host>
  <host id="far" speed="100Gf"><prop id="tier" value="edge"/></host>
  <host id="twin" speed="1Gf"><prop id="tier" value="edge"/></host>
  <host id="island" speed="1000Gf"><prop id="tier" value="edge"/></host>
  <link id="l_near" bandwidth="8Mbps" latency="1ms"/>
  <link id="l_far" bandwidth="8Mbps" latency="2ms"/>
  <link id="l_twin" bandwidth="8Mbps" latency="1ms"/>
  <route src="device" dst="near"><link_ctn id="l_near"/></route>
  <route src="device" dst="far"><link_ctn id="l_far"/></route>
  <route src="device" dst="twin"><link_ctn id="l_twin"/></route>
  <route src="near" dst="island"><link_ctn id="l_twin"/></route>
</zone></platform>)";

Scene three_edges() {
  Scene s = pencil_scene();
  s.platform = Platform::parse(kThreeEdges, "edges.xml");
  return s;
}

}  // namespace

TEST_CASE("edge_only: the edge host of least latency computes everything") {
  // 2.5 Mflop take 2.5 ms on near, 0.025 ms on far; the routes add 2 * 1 ms and 2 * 2 ms, the bytes 5 ms to
  // both.
  Scene s = three_edges();
  Plan plan = plan_of(s, "edge_only");
  REQUIRE(plan.pieces.size() == 1);
  CHECK(s.platform.host(plan.pieces[0].host).name == "far");
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(9.025e-3));
  // Half the bandwidth on the far route costs 5 ms: near, and not its twin.
  s.bandwidth_bytes_per_s[static_cast<std::size_t>(s.platform.find_links("l_far")[0])] = 5e5;
  plan = plan_of(s, "edge_only");
  CHECK(s.platform.host(plan.pieces[0].host).name == "near");
  CHECK(s.platform.host(plan_of(s, "edge_only", {{"host", "twin"}}).pieces[0].host).name == "twin");
}

TEST_CASE("edge_only: the chosen exit") {
  Scene s = scene("tests/fixtures/pencil.xml", "tests/fixtures/diamond.json");
  CHECK(plan_of(s, "edge_only").exit == 1);
  CHECK(plan_of(s, "edge_only", {{"exit", 1}}).exit == 0);
}

TEST_CASE("edge_only: hosts that do not do are refused") {
  Scene s = three_edges();
  CHECK(input_error([&] {
          plan_of(s, "edge_only", {{"host", "fat"}});
        }) ==
        "p.json: /host: \"fat\": no such host with a route from and to \"device\" in edges.xml; valid: near, "
        "far, "
        "twin; did you mean \"far\"?");
  CHECK(input_error([&] {
          plan_of(s, "edge_only", {{"host", "island"}});
        }).starts_with("p.json: /host: \"island\""));
  CHECK(input_error([&] {
          plan_of(s, "edge_only", {{"host", "device"}});
        }).starts_with("p.json: /host: \"device\""));
  for (const char* name : {"near", "far", "twin"}) s.platform.edit_host(s.host(name)).tier = Tier::kUav;
  CHECK(input_error([&] { plan_of(s, "edge_only"); }) ==
        "edges.xml: no host of tier edge with a route from and to \"device\"");
}
