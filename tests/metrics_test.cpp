#include "sim/metrics.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

using namespace cdisim;

namespace {

const std::string kFixtures = std::string(CDISIM_SOURCE_DIR) + "/tests/fixtures/";
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr HostId kDevice = 0, kServer = 1;

// diamond's exits: early with accuracy 0.7, full with 0.8.
constexpr int kEarly = 0, kFull = 1;

struct Scene {
  Platform platform = Platform::load(kFixtures + "pencil.xml");
  LayerGraph graph = LayerGraph::load(kFixtures + "diamond.json");
  RunSpec spec;
  Trace trace;

  Scene() {
    spec.platform = &platform;
    spec.graph = &graph;
    spec.deadline_s = kInfinity;
    trace.hosts.resize(2);
    trace.link_bytes.resize(1);
  }
  Scene(const Scene&) = delete;

  void completed(double arrival_s, double compute_s, double transfer_s, double queue_s, int exit = kFull) {
    trace.requests.push_back({.source = 0,
                              .exit = exit,
                              .accuracy = graph.exits()[static_cast<std::size_t>(exit)].accuracy,
                              .state = RequestState::kCompleted,
                              .arrival_s = arrival_s,
                              .end_s = arrival_s + compute_s + transfer_s + queue_s,
                              .compute_s = compute_s,
                              .transfer_s = transfer_s,
                              .queue_s = queue_s});
  }
  void unfinished(double arrival_s, RequestState state) {
    trace.requests.push_back({.source = 0,
                              .exit = kFull,
                              .state = state,
                              .arrival_s = arrival_s,
                              .end_s = state == RequestState::kLost ? arrival_s + 100 : 0,
                              .compute_s = 50,
                              .transfer_s = 50,
                              .queue_s = 0});
  }
  Json summary() { return summarise(spec, trace); }
  Json metrics() { return aggregate({summary()}); }
};

// One repetition whose completed requests took these times, all of them computing.
Json repetition(const std::vector<double>& latencies, double end_s = 10) {
  Scene scene;
  scene.trace.end_s = end_s;
  for (const double latency : latencies) scene.completed(0, latency, 0, 0);
  return scene.summary();
}

doctest::Approx near(double value) {
  return doctest::Approx(value).epsilon(1e-12).scale(0);
}

}  // namespace

TEST_CASE("metrics: latency and its parts") {
  Scene scene;
  scene.trace.end_s = 8;
  scene.completed(0, 1, 0.5, 0.25);  // 1.75
  scene.completed(1, 2, 0.5, 0);     // 2.5
  scene.completed(2, 3, 1.5, 0.25);  // 4.75
  const Json m = scene.metrics();
  CHECK(m["latency_s"]["mean"] == near(9.0 / 3));
  CHECK(m["compute_s"] == near(2));
  CHECK(m["transfer_s"] == near(2.5 / 3));
  CHECK(m["queue_s"] == near(0.5 / 3));
  CHECK(m["latency_s"]["p50"] == near(2.5));
  CHECK(m["latency_s"]["max"] == near(4.75));
  CHECK(m["latency_s"]["ci95"].is_null());  // one repetition has no spread
  CHECK(m["throughput_per_s"] == near(3.0 / 8));
  CHECK(m["requests"] == Json({{"arrived", 3}, {"completed", 3}, {"lost", 0}, {"in_flight", 0}}));
  CHECK(m["deadline_miss_ratio"] == 0);
}

TEST_CASE("metrics: percentiles are the nearest rank") {
  // Rank ceil(p / 100 * n): of 1 to 20 the 10th, 19th and 20th.
  std::vector<double> latencies;
  for (int i = 20; i >= 1; --i) latencies.push_back(i);
  Json l = aggregate({repetition(latencies)})["latency_s"];
  CHECK(l["p50"] == 10);
  CHECK(l["p95"] == 19);
  CHECK(l["p99"] == 20);
  CHECK(l["max"] == 20);
  // Of 1 to 200: 100, 190, 198, 200.
  latencies.clear();
  for (int i = 1; i <= 200; ++i) latencies.push_back(i);
  l = aggregate({repetition(latencies)})["latency_s"];
  CHECK(l["p50"] == 100);
  CHECK(l["p95"] == 190);
  CHECK(l["p99"] == 198);
  CHECK(l["max"] == 200);
  l = aggregate({repetition({3})})["latency_s"];
  CHECK(l["p50"] == 3);
  CHECK(l["p95"] == 3);
  CHECK(l["p99"] == 3);
  l = aggregate({repetition({4, 3})})["latency_s"];
  CHECK(l["p50"] == 3);
  // Over all completed requests of all repetitions: 1, 2, 3, 100.
  l = aggregate({repetition({100, 1}), repetition({3, 2})})["latency_s"];
  CHECK(l["p50"] == 2);
  CHECK(l["p95"] == 100);
}

TEST_CASE("metrics: confidence interval of the mean over repetitions") {
  // Repetitions' means 1 and 3: s = sqrt(2), half-width t * s / sqrt(2) = t. Student's t with one degree of
  // freedom is Cauchy: its 97.5 % quantile is tan(pi * 0.475) = 12.706.
  Json l = aggregate({repetition({0.5, 1.5}), repetition({3})})["latency_s"];
  CHECK(l["mean"] == near(2));
  CHECK(l["ci95"] == near(std::tan(std::acos(-1) * 0.475)));

  // Means 1, 2, 6: mean 3, s^2 = (4 + 1 + 9) / 2 = 7. Two degrees of freedom have the closed form
  // t = (2p - 1) * sqrt(2 / (4 p (1 - p))) = 0.95 * sqrt(2 / (4 * 0.975 * 0.025)) = 4.302653.
  const double t = 0.95 * std::sqrt(2 / (4 * 0.975 * 0.025));
  l = aggregate({repetition({1}), repetition({2, 2, 2}), repetition({6})})["latency_s"];
  CHECK(l["mean"] == near(3));  // of the means: three requests of 2 s do not count thrice
  CHECK(l["ci95"] == near(t * std::sqrt(7.0 / 3)));

  // No spread, no width; one repetition with results, none.
  CHECK(aggregate({repetition({2}), repetition({2})})["latency_s"]["ci95"] == 0);
  CHECK(aggregate({repetition({2}), repetition({})})["latency_s"]["ci95"].is_null());
  CHECK(aggregate({repetition({2}), repetition({})})["latency_s"]["mean"] == near(2));
}

TEST_CASE("metrics: the parts are means of the repetitions' means, as the latency is") {
  Scene a, b;
  a.trace.end_s = b.trace.end_s = 10;
  a.completed(0, 1, 0.5, 0.5);                          // 2
  for (int i = 0; i < 3; ++i) b.completed(0, 3, 2, 1);  // 6
  const Json m = aggregate({a.summary(), b.summary()});
  CHECK(m["latency_s"]["mean"] == near(4));
  CHECK(m["compute_s"] == near(2));
  CHECK(m["transfer_s"] == near(1.25));
  CHECK(m["queue_s"] == near(0.75));
  CHECK(m["throughput_per_s"] == near((0.1 + 0.3) / 2));
}

TEST_CASE("metrics: null where nothing completed") {
  Scene scene;
  scene.trace.end_s = 4;
  scene.unfinished(0, RequestState::kLost);
  scene.unfinished(1, RequestState::kInFlight);
  scene.unfinished(2, RequestState::kInFlight);
  const Json m = scene.metrics();
  CHECK(m["requests"] == Json({{"arrived", 3}, {"completed", 0}, {"lost", 1}, {"in_flight", 2}}));
  for (const char* key : {"mean", "ci95", "p50", "p95", "p99", "max"}) {
    CAPTURE(key);
    CHECK(m["latency_s"][key].is_null());
  }
  for (const char* key : {"compute_s", "transfer_s", "queue_s", "deadline_miss_ratio", "accuracy"}) {
    CAPTURE(key);
    CHECK(m[key].is_null());
  }
  CHECK(m["throughput_per_s"] == 0);

  // No time was measured: no throughput either.
  scene.trace.end_s = scene.trace.measured_from_s = 4;
  CHECK(scene.metrics()["throughput_per_s"].is_null());
}

TEST_CASE("metrics: what is lost or in flight counts as such only") {
  Scene scene;
  scene.trace.end_s = 10;
  scene.completed(0, 1, 0, 0);
  scene.unfinished(0, RequestState::kLost);
  scene.unfinished(0, RequestState::kInFlight);
  scene.completed(0, 3, 0, 0);
  const Json m = scene.metrics();
  CHECK(m["requests"] == Json({{"arrived", 4}, {"completed", 2}, {"lost", 1}, {"in_flight", 1}}));
  CHECK(m["latency_s"]["mean"] == near(2));
  CHECK(m["latency_s"]["max"] == near(3));
  CHECK(m["compute_s"] == near(2));
  CHECK(m["throughput_per_s"] == near(0.2));
}

TEST_CASE("metrics: requests that arrive during the warm-up do not count") {
  Scene scene;
  scene.spec.warmup_s = 5;
  scene.trace.measured_from_s = 5;
  scene.trace.end_s = 15;
  scene.completed(4.999, 100, 0, 0, kEarly);
  scene.unfinished(3, RequestState::kLost);
  scene.unfinished(3, RequestState::kInFlight);
  scene.completed(5, 2, 0, 0);  // the first that counts
  scene.completed(6, 4, 0, 0);
  const Json m = scene.metrics();
  CHECK(m["requests"] == Json({{"arrived", 2}, {"completed", 2}, {"lost", 0}, {"in_flight", 0}}));
  CHECK(m["latency_s"]["mean"] == near(3));
  CHECK(m["latency_s"]["max"] == near(4));
  CHECK(m["accuracy"] == near(0.8));
  CHECK(m["throughput_per_s"] == near(2.0 / 10));
}

TEST_CASE("metrics: missed deadlines are among the completed") {
  Scene scene;
  scene.spec.deadline_s = 2;
  scene.trace.end_s = 10;
  scene.completed(0, 1, 0, 0);
  scene.completed(0, 2, 0, 0);  // at the deadline is in time
  scene.completed(0, 2, 0.5, 0);
  scene.completed(0, 1, 0, 1.5);
  scene.unfinished(0, RequestState::kLost);
  const Json m = scene.metrics();
  CHECK(m["deadline_miss_ratio"] == near(2.0 / 4));
  CHECK(m["requests"]["completed"] == 4);

  // Over all requests of all repetitions: 2 of 4 and 0 of 1 are 2 of 5.
  Scene other;
  other.trace.end_s = 10;
  other.completed(0, 1, 0, 0);
  CHECK(aggregate({scene.summary(), other.summary()})["deadline_miss_ratio"] == near(2.0 / 5));
}

TEST_CASE("metrics: accuracy is that of the exits taken") {
  Scene scene;
  scene.trace.end_s = 10;
  scene.completed(0, 1, 0, 0, kEarly);
  scene.completed(0, 1, 0, 0, kFull);
  scene.completed(0, 1, 0, 0, kFull);
  CHECK(scene.metrics()["accuracy"] == near((0.7 + 0.8 + 0.8) / 3));

  // chain3's exit has none.
  scene.graph = LayerGraph::load(kFixtures + "chain3.json");
  for (RequestRecord& request : scene.trace.requests) {
    request.exit = 0;
    request.accuracy.reset();
  }
  CHECK(scene.metrics()["accuracy"].is_null());
  CHECK(scene.metrics()["accuracy_in_time"].is_null());
  CHECK(scene.metrics()["requests"]["completed"] == 3);
}

TEST_CASE("metrics: accuracy of what is late, and of what is lost") {
  // In time 0.7; late 0.8; one lost, one in flight, which counts nowhere.
  Scene scene;
  scene.trace.end_s = 10;
  scene.spec.deadline_s = 2;
  scene.completed(0, 1, 0, 0, kEarly);
  scene.completed(0, 3, 0, 0, kFull);
  scene.unfinished(0, RequestState::kLost);
  scene.unfinished(0, RequestState::kInFlight);
  CHECK(scene.metrics()["accuracy"] == near((0.7 + 0.8) / 2));
  CHECK(scene.metrics()["accuracy_in_time"] == near(0.7 / 3));
  // Who gets no answer guesses one class of ten.
  scene.spec.guess_accuracy = 0.1;
  CHECK(scene.metrics()["accuracy"] == near((0.7 + 0.8 + 0.1) / 3));
  CHECK(scene.metrics()["accuracy_in_time"] == near(0.7 / 3));
}

TEST_CASE("metrics: energy, busy time, bytes and cost") {
  Scene a, b;
  a.trace.end_s = b.trace.end_s = 10;
  a.trace.hosts[kDevice] = {.energy_j = 3, .radio_energy_j = 0.5, .busy_s = 1};
  a.trace.hosts[kServer] = {.energy_j = 20, .radio_energy_j = 0, .busy_s = 0.1};
  a.trace.link_bytes[0] = 2e6;
  Json m = a.metrics();
  CHECK(m["energy_j"]["per_host"] == Json({{"device", 3.5}, {"server", 20.0}}));
  CHECK(m["energy_j"]["radio"] == Json({{"device", 0.5}}));
  CHECK(m["energy_j"]["total"] == near(23.5));
  CHECK(m["busy_s"] == Json({{"per_host", {{"device", 1.0}, {"server", 0.1}}}}));
  CHECK(m["bytes"]["per_link"] == Json({{"net", 2e6}}));
  CHECK(m["bytes"]["total"] == near(2e6));
  // The server costs 3.6 USD per hour while busy, the link 1 USD per GB: 0.1 s * 0.001 + 2e6 B * 1e-9.
  CHECK(m["cost_usd"] == near(1e-4 + 2e-3));

  // Means over repetitions, where what is missing counts as 0.
  b.trace.hosts[kDevice] = {.energy_j = 1.5, .radio_energy_j = 0, .busy_s = 0};
  m = aggregate({a.summary(), b.summary()});
  CHECK(m["energy_j"]["per_host"] == Json({{"device", 2.5}, {"server", 10.0}}));
  CHECK(m["energy_j"]["radio"] == Json({{"device", 0.25}}));
  CHECK(m["energy_j"]["total"] == near(12.5));
  CHECK(m["busy_s"]["per_host"] == Json({{"device", 0.5}, {"server", 0.05}}));
  CHECK(m["bytes"]["total"] == near(1e6));
  CHECK(m["cost_usd"] == near((1e-4 + 2e-3) / 2));

  // Nothing drawn, nothing sent.
  Scene none;
  m = none.metrics();
  CHECK(m["energy_j"] == Json({{"total", 0.0}, {"per_host", Json::object()}, {"radio", Json::object()}}));
  CHECK(m["busy_s"] == Json({{"per_host", Json::object()}}));
  CHECK(m["bytes"] == Json({{"total", 0.0}, {"per_link", Json::object()}}));
  CHECK(m["cost_usd"] == 0);
}

TEST_CASE("metrics: batteries") {
  // Where no host has one, there is nothing to report.
  Scene mains, a, b;
  CHECK(!mains.metrics().contains("battery_j"));
  CHECK(!mains.metrics().contains("emptied_s"));
  // The charge is a mean over all repetitions, the date over those in which it came to that.
  a.trace.hosts[kDevice].battery_j = 0;
  a.trace.hosts[kDevice].emptied_s = 7;
  b.trace.hosts[kDevice].battery_j = 3;
  const Json m = aggregate({a.summary(), b.summary()});
  CHECK(m["battery_j"] == Json({{"per_host", {{"device", 1.5}}}}));
  CHECK(m["emptied_s"] == Json({{"per_host", {{"device", 7.0}}}}));
  CHECK(b.metrics()["emptied_s"] == Json({{"per_host", Json::object()}}));
}

TEST_CASE("metrics: memory is that of the largest plan on each host, replans are counted") {
  Scene scene;
  Plan early, split;
  // stem and early_head: weights 48 + 2600, largest input + output 128 + 256.
  early.pieces = {{{0, 5}, kDevice}};
  early.exit = kEarly;
  // stem on the device: 48 + 384; the rest on the server: 592 + 80 + 0 + 2600 and join's 3 * 256.
  split.pieces = {{{0}, kDevice}, {{1, 2, 3, 4}, kServer}};
  split.exit = kFull;
  scene.trace.plans = {early, split};
  scene.trace.replans = 3;
  const Json m = scene.metrics();
  CHECK(m["memory_bytes"]["per_host"] == Json({{"device", 3032.0}, {"server", 4040.0}}));
  CHECK(m["replans"] == 3);
  const Json three = scene.summary();
  scene.trace.replans = 0;
  CHECK(aggregate({three, scene.summary()})["replans"] == near(1.5));
}

TEST_CASE("metrics: phases are counted apart, weights on their way too") {
  Scene scene;
  scene.trace.end_s = 10;
  scene.spec.phases_s = {1, 2, 5};
  scene.completed(0.5, 1, 0, 0);  // before the first
  scene.completed(1, 2, 0, 0);
  scene.completed(1.5, 4, 0, 0);
  scene.completed(7, 1, 0, 0);
  scene.trace.uploads = 2;
  scene.trace.upload_bytes = 300;
  scene.trace.evictions = 1;
  scene.trace.last_upload_s = 4;
  const Json m = scene.metrics();
  CHECK(m["phases"] == Json::array({{{"from_s", 1.0}, {"completed", 2}, {"latency_s", 3.0}},
                                    {{"from_s", 2.0}, {"completed", 0}, {"latency_s", nullptr}},
                                    {{"from_s", 5.0}, {"completed", 1}, {"latency_s", 1.0}}}));
  CHECK(m["weights"] == Json({{"uploads", 2.0}, {"bytes", 300.0}, {"evictions", 1.0}, {"complete_s", 4.0}}));
  scene.trace.weight_memory_bytes[kServer] = 77;
  CHECK(scene.metrics()["memory_bytes"]["per_host"] == Json({{"server", 77.0}}));
}

TEST_CASE("metrics: a summary survives CBOR, on which it crosses from child to parent") {
  Scene scene;
  scene.trace.end_s = 10;
  scene.completed(0, 1.0 / 3, 0.1, 0);
  const Json summary = scene.summary();
  CHECK(aggregate({Json::from_cbor(Json::to_cbor(summary))}) == aggregate({summary}));
}
