#include "sim/published.h"

#include <doctest/doctest.h>

#include <string>

#include "sim/error.h"

using namespace cdisim;

namespace {

// Runs as in results.json, two policies at two bandwidths.
const Json kRuns = Json::parse(R"([
  {"policy": "edgent", "point": {"/links/lan/bandwidth": "50kbps", "/deadline": "1s"}, "plan": {"exit": 1},
   "metrics": {"latency_s": {"mean": 0.9, "ci95": null}}},
  {"policy": "edgent", "point": {"/links/lan/bandwidth": "1000kbps", "/deadline": "1s"}, "plan": {"exit": 5},
   "metrics": {"latency_s": {"mean": 0.5, "ci95": null}}},
  {"policy": "edge_only", "point": {"/links/lan/bandwidth": "50kbps", "/deadline": "1s"}, "plan": {"exit": 5},
   "metrics": {"latency_s": {"mean": 2.4, "ci95": null}}},
  {"policy": "edge_only", "point": {"/links/lan/bandwidth": "1000kbps", "/deadline": "1s"}, "error": "died"}
])");

std::vector<PublishedFigure> read(const Json& json) {
  return read_published(JsonReader(json, "e.json", "/published"));
}

Json compared(const Json& figure) {
  return compare_published(read(Json::array({figure})), kRuns, "edgent", "edgent_fig7");
}

// The one figure that the entry with these members makes, beside the runs.
Json one(const Json& members) {
  Json figure = {{"id", "f"},
                 {"source", "Fig. 7"},
                 {"policy", "edgent"},
                 {"metric", "/metrics/latency_s/mean"},
                 {"point", {{"/links/lan/bandwidth", "50kbps"}}}};
  figure.update(members);
  for (auto member = figure.begin(); member != figure.end();) {
    member = member->is_null() ? figure.erase(member) : std::next(member);
  }
  const Json out = compared(figure);
  REQUIRE(out.size() == 1);
  return out[0];
}

std::string error_of(const Json& members) {
  try {
    one(members);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("published: relative") {
  // Simulated 0.9 s. Against 1 s it is 10 % short.
  const Json f = one({{"value", 1.0}, {"tolerance", 0.11}});
  CHECK(f["system"] == "edgent");
  CHECK(f["experiment"] == "edgent_fig7");
  CHECK(f["id"] == "f");
  CHECK(f["metric"] == "/metrics/latency_s/mean");
  CHECK(f["compare"] == "relative");
  CHECK(f["published"] == 1.0);
  CHECK(f["simulated"] == 0.9);
  CHECK(f["relative_error"].get<double>() == doctest::Approx(-0.1));
  CHECK(f["tolerance"] == 0.11);
  CHECK(f["status"] == "reproduced");
  CHECK(f["expected"] == "reproduced");
  CHECK(f["reason"] == "");
  CHECK(f["source"] == "Fig. 7");
  CHECK(f["unit"] == "");
  CHECK_FALSE(f.contains("than"));

  CHECK(one({{"value", 1.0}, {"tolerance", 0.09}})["status"] == "deviates");
  CHECK(one({{"value", 0.9}, {"tolerance", 0}})["status"] == "reproduced");
  // The tolerance is a share of the published number: 0.9 lies 12.5 % above 0.8.
  CHECK(one({{"value", 0.8}, {"tolerance", 0.12}})["status"] == "deviates");
  CHECK(one({{"value", 0.8}, {"tolerance", 0.13}})["status"] == "reproduced");
  CHECK(one({{"value", 0.8}, {"tolerance", 0.13}})["relative_error"].get<double>() == doctest::Approx(0.125));
}

TEST_CASE("published: units") {
  // Both sides of the report are in the unit.
  const Json ms = one({{"value", 890.0}, {"unit", "ms"}, {"tolerance", 0.02}});
  CHECK(ms["simulated"].get<double>() == doctest::Approx(900));
  CHECK(ms["published"] == 890.0);
  CHECK(ms["unit"] == "ms");
  CHECK(ms["status"] == "reproduced");
  CHECK(ms["relative_error"].get<double>() == doctest::Approx(10.0 / 890));
  CHECK(one({{"value", 900000}, {"unit", "us"}, {"tolerance", 1e-9}})["status"] == "reproduced");
  CHECK(one({{"value", 90}, {"unit", "%"}, {"tolerance", 1e-9}})["status"] == "reproduced");
  CHECK(one({{"value", 900}, {"unit", "s"}, {"tolerance", 0.02}})["status"] == "deviates");
}

TEST_CASE("published: equal") {
  const Json exit = {{"metric", "/plan/exit"}, {"compare", "equal"}};
  Json members = exit;
  members["value"] = 1;
  CHECK(one(members)["status"] == "reproduced");
  CHECK(one(members)["simulated"] == 1);
  CHECK(one(members)["relative_error"].is_null());
  CHECK(one(members)["tolerance"] == 0);
  members["value"] = 2;
  CHECK(one(members)["status"] == "deviates");
  members["tolerance"] = 0.5;  // has none
  CHECK(error_of(members).starts_with("e.json: /published/0: unknown key \"tolerance\""));
}

TEST_CASE("published: range") {
  const auto status = [](double low, double high, double tolerance) {
    return one({{"compare", "range"}, {"value", {low, high}}, {"tolerance", tolerance}})["status"];
  };
  CHECK(status(0.8, 1, 0) == "reproduced");
  CHECK(status(0.9, 0.9, 0) == "reproduced");
  CHECK(status(0.91, 1, 0) == "deviates");
  CHECK(status(0.91, 1, 0.02) == "reproduced");  // from 0.8918
  CHECK(status(0.5, 0.89, 0) == "deviates");
  CHECK(status(0.5, 0.89, 0.02) == "reproduced");  // to 0.9078
  CHECK(one({{"compare", "range"}, {"value", {0, 1000}}, {"unit", "ms"}, {"tolerance", 0}})["published"] ==
        Json({0, 1000}));
}

TEST_CASE("published: at least") {
  const auto status = [](double value, double tolerance) {
    return one({{"compare", "at_least"}, {"value", value}, {"tolerance", tolerance}})["status"];
  };
  CHECK(status(0.9, 0) == "reproduced");
  CHECK(status(0.1, 0) == "reproduced");
  CHECK(status(1, 0.09) == "deviates");  // from 0.91
  CHECK(status(1, 0.11) == "reproduced");
}

TEST_CASE("published: order") {
  const Json than = {{"policy", "edge_only"},
                     {"metric", "/metrics/latency_s/mean"},
                     {"point", {{"/links/lan/bandwidth", "50kbps"}}}};
  Json f =
      one({{"compare", "order"}, {"value", "faster than the edge alone"}, {"than", than}, {"unit", "ms"}});
  CHECK(f["status"] == "reproduced");  // 0.9 < 2.4
  CHECK(f["simulated"].get<double>() == doctest::Approx(900));
  CHECK(f["than"].get<double>() == doctest::Approx(2400));
  CHECK(f["published"] == "faster than the edge alone");

  // 2.4 < 0.9 does not hold, nor does 0.9 < 0.9.
  f = one({{"compare", "order"},
           {"value", "slower"},
           {"policy", "edge_only"},
           {"than",
            {{"policy", "edgent"},
             {"metric", "/metrics/latency_s/mean"},
             {"point", {{"/links/lan/bandwidth", "50kbps"}}}}}});
  CHECK(f["status"] == "deviates");
  Json self = than;
  self["policy"] = "edgent";
  CHECK(one({{"compare", "order"}, {"value", "itself"}, {"than", self}})["status"] == "deviates");
  // Nothing to compare with.
  self["policy"] = "nobody";
  f = one({{"compare", "order"}, {"value", "nobody"}, {"than", self}});
  CHECK(f["status"] == "deviates");
  CHECK(f["than"].is_null());
}

TEST_CASE("published: a curve is one figure a point, in the order of its numbers") {
  const Json curve = {{"id", "fig7"},
                      {"source", "Fig. 7"},
                      {"policy", "edgent"},
                      {"metric", "/metrics/latency_s/mean"},
                      {"point", {{"/deadline", "1s"}}},
                      {"over", "/links/lan/bandwidth"},
                      {"values", {{"1000kbps", 520}, {"50kbps", 600}, {"200kbps", 700}}},
                      {"unit", "ms"},
                      {"tolerance", 0.05},
                      {"deviates", {{"50kbps", "their input was larger"}}}};
  const Json out = compared(curve);
  REQUIRE(out.size() == 3);
  CHECK(out[0]["id"] == "fig7@50kbps");
  CHECK(out[0]["status"] == "deviates");
  CHECK(out[0]["expected"] == "deviates");
  CHECK(out[0]["reason"] == "their input was larger");
  CHECK(out[1]["id"] == "fig7@200kbps");  // no run has this bandwidth
  CHECK(out[1]["simulated"].is_null());
  CHECK(out[1]["status"] == "deviates");
  CHECK(out[1]["expected"] == "reproduced");
  CHECK(out[2]["id"] == "fig7@1000kbps");
  CHECK(out[2]["simulated"].get<double>() == doctest::Approx(500));
  CHECK(out[2]["status"] == "reproduced");
  CHECK(out[2]["reason"] == "");

  // An ordering over a curve follows the point on both sides.
  const auto figures =
      read(Json::array({{{"id", "order"},
                         {"source", "text"},
                         {"compare", "order"},
                         {"policy", "edgent"},
                         {"metric", "/metrics/latency_s/mean"},
                         {"than", {{"policy", "edge_only"}, {"metric", "/metrics/latency_s/mean"}}},
                         {"over", "/links/lan/bandwidth"},
                         {"values", {{"50kbps", "faster"}}}}}));
  REQUIRE(figures.size() == 1);
  CHECK(figures[0].than.point == Json({{"/links/lan/bandwidth", "50kbps"}}));
  CHECK(compare_published(figures, kRuns, "s", "e")[0]["status"] == "reproduced");
}

TEST_CASE("published: a speed-up over a baseline") {
  // 2.4 s of the edge alone over 0.9 s of edgent: 2.67.
  const Json baseline = {{"policy", "edge_only"},
                         {"metric", "/metrics/latency_s/mean"},
                         {"point", {{"/links/lan/bandwidth", "50kbps"}}}};
  const Json edgent = {{"policy", "edgent"},
                       {"metric", "/metrics/latency_s/mean"},
                       {"point", {{"/links/lan/bandwidth", "50kbps"}}}};
  Json f = baseline;
  f.update({{"divided_by", edgent}, {"value", 2.7}, {"tolerance", 0.02}});
  f = one(f);
  CHECK(f["simulated"].get<double>() == doctest::Approx(2.4 / 0.9));
  CHECK(f["status"] == "reproduced");
  // The baseline may stand at another point, or be a value that is not there.
  Json other = edgent;
  other["point"] = {{"/links/lan/bandwidth", "1000kbps"}};
  f = one({{"divided_by", other}, {"value", 1.8}, {"tolerance", 0}});
  CHECK(f["simulated"].get<double>() == doctest::Approx(0.9 / 0.5));
  f = one({{"divided_by", {{"policy", "edgent"}, {"metric", "/no/such"}}}, {"value", 1}, {"tolerance", 1}});
  CHECK(f["simulated"].is_null());
  CHECK(f["status"] == "deviates");
  CHECK(error_of({{"divided_by", edgent}, {"value", 1}, {"tolerance", 0}, {"unit", "ms"}})
            .find("makes a ratio, which has no unit") != std::string::npos);

  // Over a curve both runs are those of the point, unless the baseline's is given.
  const Json curve = {{"id", "c"},
                      {"source", "t"},
                      {"policy", "edgent"},
                      {"metric", "/metrics/latency_s/mean"},
                      {"divided_by", {{"policy", "edgent"}, {"metric", "/metrics/latency_s/mean"}}},
                      {"over", "/links/lan/bandwidth"},
                      {"values", {{"50kbps", 1}, {"1000kbps", 1}}},
                      {"tolerance", 0}};
  for (const Json& point : compare_published(read(Json::array({curve})), kRuns, "s", "e"))
    CHECK(point["status"] == "reproduced");
  Json against_one = curve;
  against_one["divided_by"] = edgent;
  CHECK(compare_published(read(Json::array({against_one})), kRuns, "s", "e")[1]["simulated"].get<double>() ==
        doctest::Approx(0.5 / 0.9));
}

TEST_CASE("published: a curve's points name the numbers of a sweep") {
  const Json runs = Json::parse(R"([{"policy": "p", "point": {"/n": 2}, "metrics": {"x": 1}},
                                    {"policy": "p", "point": {"/n": 10}, "metrics": {"x": 5}}])");
  const auto figures = read(Json::parse(R"([{"id": "c", "source": "t", "policy": "p", "metric": "/metrics/x",
      "over": "/n", "values": {"10": 5, "2": 1}, "tolerance": 0}])"));
  const Json out = compare_published(figures, runs, "s", "e");
  REQUIRE(out.size() == 2);
  CHECK(out[0]["id"] == "c@2");
  CHECK(out[0]["status"] == "reproduced");
  CHECK(out[1]["id"] == "c@10");
  CHECK(out[1]["status"] == "reproduced");
}

TEST_CASE("published: unchecked figures are only shown") {
  const Json out = compared({{"id", "u"},
                             {"source", "abstract"},
                             {"value", "50 to 60 % less"},
                             {"unchecked", "a band restated by others"}});
  REQUIRE(out.size() == 1);
  CHECK(out[0]["status"] == "unchecked");
  CHECK(out[0]["expected"] == "unchecked");
  CHECK(out[0]["reason"] == "a band restated by others");
  CHECK(out[0]["simulated"].is_null());
  CHECK(out[0]["published"] == "50 to 60 % less");
}

TEST_CASE("published: a figure that is known to deviate") {
  const Json members = {{"value", 5.0}, {"tolerance", 0.1}, {"deviates", "their clock ran slow"}};
  Json f = one(members);
  CHECK(f["status"] == "deviates");
  CHECK(f["expected"] == "deviates");
  CHECK(f["reason"] == "their clock ran slow");
  // It has come to hold: status and expectation differ, which `cdisim check` reports.
  f = one({{"value", 0.9}, {"tolerance", 0.1}, {"deviates", "their clock ran slow"}});
  CHECK(f["status"] == "reproduced");
  CHECK(f["expected"] == "deviates");
}

TEST_CASE("published: a selector must name one run and one number") {
  const auto none = [](const Json& members) {
    const Json f = one(members);
    return f["status"] == "deviates" && f["simulated"].is_null() && f["relative_error"].is_null() &&
           f["reason"] == "the simulation gave no value";
  };
  const Json value = {{"value", 1}, {"tolerance", 10}};
  const auto with = [&](const Json& members) {
    Json out = value;
    out.update(members);
    return out;
  };
  CHECK(none(with({{"policy", "nobody"}})));
  CHECK(none(with({{"point", {{"/links/lan/bandwidth", "60kbps"}}}})));
  CHECK(none(with({{"point", {{"/links/wan/bandwidth", "50kbps"}}}})));
  CHECK(none(with({{"point", nullptr}})));                     // two runs
  CHECK(none(with({{"metric", "/metrics/latency_s/p50"}})));   // not there
  CHECK(none(with({{"metric", "/metrics/latency_s/ci95"}})));  // null
  CHECK(none(with({{"metric", "/metrics/latency_s"}})));       // no number
  CHECK(
      none(with({{"policy", "edge_only"}, {"point", {{"/links/lan/bandwidth", "1000kbps"}}}})));  // it failed

  CHECK(matching_runs({.policy = "edgent", .point = Json::object(), .metric = ""}, kRuns) ==
        std::vector<std::size_t>{0, 1});
  CHECK(matching_runs({.policy = "edge_only",
                       .point = {{"/deadline", "1s"}, {"/links/lan/bandwidth", "1000kbps"}},
                       .metric = ""},
                      kRuns) == std::vector<std::size_t>{3});
}

TEST_CASE("published: bad input is named at its place") {
  const auto starts = [](const Json& members, const std::string& with) {
    const std::string error = error_of(members);
    INFO(error);
    return error.starts_with("e.json: /published/0" + with);
  };
  const auto with = [](const Json& members) {
    Json out = {{"value", 1}, {"tolerance", 0.1}};
    out.update(members);
    return out;
  };
  CHECK(error_of(with(Json::object())) == "no error");
  CHECK(starts(with({{"id", nullptr}}), ": \"id\" is missing"));
  CHECK(starts(with({{"source", nullptr}}), ": \"source\" is missing"));
  CHECK(starts(with({{"source", ""}}), "/source: \"\": must"));
  CHECK(starts(with({{"policy", nullptr}}), ": \"policy\" is missing"));
  CHECK(starts(with({{"metric", nullptr}}), ": \"metric\" is missing"));
  CHECK(starts(with({{"metric", "latency"}}), "/metric: \"latency\": must be a JSON pointer"));
  CHECK(starts(with({{"point", {{"deadline", "1s"}}}}),
               "/point: {\"deadline\":\"1s\"}: must be a JSON pointer"));
  CHECK(starts(with({{"unit", "mins"}}), "/unit: \"mins\" is no unit"));
  CHECK(starts(with({{"compare", "relativ"}}), "/compare: \"relativ\" is unknown"));
  CHECK(starts({{"value", 1}}, ": \"tolerance\" is missing"));
  CHECK(starts({{"tolerance", 0.1}}, ": \"value\" is missing"));
  CHECK(starts(with({{"tolerance", -0.1}}), "/tolerance: -0.1: must lie within"));
  CHECK(starts(with({{"value", "1s"}}), "/value: \"1s\": must be a number"));
  CHECK(starts(with({{"compare", "range"}}), "/value: 1: must be an array"));
  CHECK(
      starts(with({{"compare", "range"}, {"value", {1, 2, 3}}}), "/value: [1,2,3]: a range is [low, high]"));
  CHECK(starts(with({{"compare", "range"}, {"value", {1, "2"}}}), "/value/1: \"2\": must be a number"));
  CHECK(starts({{"compare", "order"}, {"value", "less"}}, ": \"than\" is missing"));
  CHECK(starts({{"compare", "order"}, {"value", 1}, {"than", {{"policy", "p"}, {"metric", "/m"}}}},
               "/value: 1: must be a string"));
  CHECK(starts(
      {{"compare", "order"}, {"value", "less"}, {"than", {{"policy", "p"}, {"metric", "/m"}, {"x", 1}}}},
      "/than: unknown key \"x\""));
  CHECK(starts(with({{"unchecked", ""}}), "/unchecked: \"\": must"));
  CHECK(starts(with({{"valeu", 1}}), ": unknown key \"valeu\""));
  CHECK(starts({{"tolerance", 0.1}, {"values", {{"a", 1}}}}, ": \"over\" is missing"));
  CHECK(starts({{"tolerance", 0.1}, {"values", {{"a", 1}}}, {"over", "lan"}},
               "/over: \"lan\": must be a JSON pointer"));
  CHECK(starts({{"tolerance", 0.1}, {"values", {{"a", 1}}}, {"over", "/lan"}, {"deviates", {{"b", "why"}}}},
               "/deviates/b: \"why\": names no value of this curve"));
  CHECK(starts({{"tolerance", 0.1}, {"values", {{"a", "x"}}}, {"over", "/lan"}},
               "/values/a: \"x\": must be a number"));
  CHECK(starts(with({{"metric", "/metrics/~latency"}}),
               "/metric"));  // no JSON pointer: ~ needs 0 or 1 behind it

  const Json figure = {{"id", "f"},      {"source", "s"}, {"policy", "p"},
                       {"metric", "/m"}, {"value", 1},    {"tolerance", 0}};
  try {
    read(Json::array({figure, figure}));
    FAIL("two figures of one id were accepted");
  } catch (const InputError& error) {
    CHECK(std::string(error.what()) == "e.json: /published: two figures have the id \"f\"");
  }
}
