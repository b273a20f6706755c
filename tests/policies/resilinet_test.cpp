// resilinet: what it decides otherwise than deepfogguard. What both share is tested there.

#include <doctest/doctest.h>

#include "tests/policies/guarded_scene.h"

using namespace cdisim;

namespace {

Plan planned(Scene& s, const std::vector<double>& survival) {
  const Problem problem = guarded_problem(s, survival);
  Plan plan = policy_of("resilinet", {{"sections", kHealthSections}})->plan(problem);
  check_plan(s.graph, s.platform, problem.source, s.wire, plan, "resilinet");
  return plan;
}

}  // namespace

TEST_CASE("resilinet: hyperconnections send on failure only, and are a detour") {
  Scene s = health_scene("health_switch");
  // 92 B to the edge, 1000 B each from edge, fog 2 and fog 1.
  CHECK(planned(s, {}).decision.at("bytes") == doctest::Approx(92 + 3 * 1000));
  for (const char* skip : {"skip_iot_f2", "skip_e_f1", "skip_f2_c"}) {
    const Plan plan = planned(s, {});
    const auto piece = std::ranges::find_if(
        plan.pieces, [&](const Piece& p) { return p.layers == std::vector<LayerId>{s.graph.find(skip)}; });
    REQUIRE(piece != plan.pieces.end());
    CHECK(s.platform.host(piece->host).name == (std::string(skip) == "skip_iot_f2" ? "iot"
                                                : std::string(skip) == "skip_e_f1" ? "edge"
                                                                                   : "fog_2"));
  }
  // Without fog 2 the edge's 1000 B go to fog 1, and nothing to nor from fog 2.
  std::vector<double> survival = survival_of(s, {{"fog_2", 0}});
  CHECK(planned(s, survival).decision.at("bytes") == doctest::Approx(92 + 2 * 1000));
  // Without the edge the sensor's 250 numbers go to fog 2.
  survival = survival_of(s, {{"edge", 0}});
  CHECK(planned(s, survival).decision.at("bytes") == doctest::Approx(3 * 1000 + 92 - 92));

  // deepFogGuard's joins wait for both, so with nothing failed ResiliNet is no later; without fog 2 both take
  // the edge's path of 8 ms to fog 1 instead of 3 + 5 ms: the same way, less the time of fog 2's two layers.
  const double healthy_s = planned(s, {}).decision.at("answer_latency_s");
  survival = survival_of(s, {{"fog_2", 0}});
  const double detour_s = planned(s, survival).decision.at("answer_latency_s");
  CHECK(detour_s < healthy_s);
  // With a detour of 50 ms it is that much later, but only then.
  s.platform.set_latency(s.platform.find_links("edge_fog_1").front(), 0.050, "test");
  CHECK(planned(s, {}).decision.at("answer_latency_s") == doctest::Approx(healthy_s).epsilon(1e-12));
  CHECK(planned(s, survival).decision.at("answer_latency_s") ==
        doctest::Approx(detour_s + 0.042).epsilon(1e-9));
}

TEST_CASE("resilinet: bytes are those of deepfogguard less what is not needed") {
  // Each hyperconnection of the health chain carries 1000 B (from the sensor, too: its layer is there)
  // exactly when the host that it skips has failed and both its ends work: p = (1 - s_skipped) s_sender
  // s_receiver, given that a result comes. By all patterns:
  Scene s = health_scene("health_switch");
  const double e = 0.78, f2 = 0.8, f1 = 0.85;
  double bytes = 0;
  for (int pattern = 0; pattern < 8; ++pattern) {
    const bool edge = (pattern & 1) != 0, fog_2 = (pattern & 2) != 0, fog_1 = (pattern & 4) != 0;
    if ((!edge && !fog_2) || (!fog_2 && !fog_1)) continue;  // no path
    const double p = (edge ? e : 1 - e) * (fog_2 ? f2 : 1 - f2) * (fog_1 ? f1 : 1 - f1);
    bytes += p * ((edge ? 92 : 0)       // sensor to edge
                  + (fog_2 ? 1000 : 0)  // edge, or the sensor, to fog 2
                  + (fog_1 ? 1000 : 0)  // fog 2, or the edge, to fog 1
                  + 1000);              // fog 1, or fog 2, to the cloud
  }
  CHECK(planned(s, survival_of(s, {{"edge", e}, {"fog_2", f2}, {"fog_1", f1}})).decision.at("bytes") ==
        doctest::Approx(bytes).epsilon(1e-12));
}
