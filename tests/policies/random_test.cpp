#include <doctest/doctest.h>

#include <map>

#include "tests/policies/scene.h"

using namespace cdisim;

TEST_CASE("random: every partition point and every other host about equally often") {
  Scene s = scene("tests/fixtures/star.xml", "tests/fixtures/chain3.json");
  s.source = "edge";
  std::map<double, int> cuts;
  std::map<HostId, int> servers;
  constexpr int kDraws = 4000;
  for (s.seed = 1; s.seed <= kDraws; ++s.seed) {
    const Plan plan = plan_of(s, "random");
    const double k = plan.decision.at("partition_point");
    ++cuts[k];
    if (k < 3) ++servers[plan.pieces.back().host];
    if (k > 0) CHECK(plan.pieces.front().host == s.host("edge"));
    CHECK(plan.pieces.front().layers.size() == (k == 0 ? 3 : static_cast<std::size_t>(k)));
  }
  // 4 cuts: 1000 +- 5 * sqrt(4000 * 1/4 * 3/4) = 137. 3 hosts among the 3000 with a server: 1000 +- 5 * 26
  // and the cuts' share.
  CHECK(cuts.size() == 4);
  for (const auto& [k, n] : cuts) CHECK(std::abs(n - 1000) < 137);
  CHECK(servers.size() == 3);
  for (const auto& [host, n] : servers) CHECK(std::abs(n - 1000) < 180);
}

TEST_CASE("random: same seed, same plan; a source without neighbours is refused") {
  Scene s = scene("tests/fixtures/star.xml", "tests/fixtures/chain3.json");
  s.source = "d1";
  CHECK(plan_of(s, "random") == plan_of(s, "random"));
  s.platform = Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
    <host id="d1" speed="1Gf"><prop id="tier" value="device"/></host></zone></platform>)",
                               "alone.xml");
  s.bandwidth_bytes_per_s.clear();
  CHECK(input_error([&] { plan_of(s, "random"); }) ==
        "alone.xml: no other host with a route from and to \"d1\"");
}
