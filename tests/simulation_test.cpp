// The simulation against pencil and paper. Every case runs twice, in the engine's two halves and with
// everything in SimGrid's solver, each in a child process of its own (SimGrid has one engine per process);
// both must agree.
#include "sim/simulation.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>

#include "sim/error.h"
#include "sim/metrics.h"
#include "sim/sweep.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

const std::string kFixtures = std::string(CDISIM_SOURCE_DIR) + "/tests/fixtures/";

// ---- layer graphs: every convolution has 1 Gflop ----

// 5e8 multiply-adds without bias: 100 * 50 * 50 outputs of 10 * 10 * 20 inputs each, or the other way round.
const std::string kToWide =
    R"("kind": "conv", "kernel": [10, 10], "padding": [5, 5, 4, 4], "bias": false, "output": [100, 50, 50])";
const std::string kToNarrow =
    R"("kind": "conv", "kernel": [10, 10], "padding": [5, 5, 4, 4], "bias": false, "output": [20, 50, 50])";

LayerGraph graph_of(const std::string& layers) {
  const std::string text = R"({"schema": 1, "name": "g", "source": "test", "precision": "fp32",
                               "input": {"shape": [20, 50, 50]}, "layers": [)" +
                           layers + "]}";
  return LayerGraph::parse(parse_json(text, "g.json"), "g.json");
}

// One layer: 200 kB -> 1 Gflop -> 1 MB.
LayerGraph one_layer() {
  return graph_of(R"({"name": "a", "inputs": ["input"], )" + kToWide + "}");
}

// Two layers: 200 kB -> 1 Gflop -> 1 MB -> 1 Gflop -> 200 kB.
LayerGraph two_layers() {
  return graph_of(R"({"name": "a", "inputs": ["input"], )" + kToWide +
                  R"(}, {"name": "b", "inputs": ["a"], )" + kToNarrow + "}");
}

// stem (1 MB out), then left and right (200 kB each), then join: 50000 additions.
LayerGraph fork_join() {
  return graph_of(R"({"name": "stem", "inputs": ["input"], )" + kToWide +
                  R"(}, {"name": "left", "inputs": ["stem"], )" + kToNarrow +
                  R"(}, {"name": "right", "inputs": ["stem"], )" + kToNarrow +
                  R"(}, {"name": "join", "kind": "add", "inputs": ["left", "right"]})");
}

// ---- platforms ----

Platform pencil() {
  return Platform::load(kFixtures + "pencil.xml");
}
constexpr HostId kDevice = 0, kServer = 1;  // 1 Gf and 10 Gf
constexpr LinkId kNet = 0;                  // 1 MB/s, 10 ms

Platform star() {
  return Platform::load(kFixtures + "star.xml");
}
constexpr HostId kEdge = 0, kD0 = 1, kD1 = 2;  // two cores of 10 Gf; 1 Gf each
constexpr LinkId kL0 = 0;                      // 1 MB/s, 1 ms; behind it the backbone of 10 MB/s, 5 ms

// One host, without any link.
Platform lone(const std::string& attributes, const std::string& properties = "") {
  return Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full"><host id="host" )" +
                             attributes + R"(><prop id="tier" value="device"/>)" + properties +
                             "</host></zone></platform>",
                         "lone.xml");
}

// ---- one run ----

Plan plan_of(std::vector<Piece> pieces, std::vector<EdgeTransform> transforms = {}) {
  Plan plan;
  plan.pieces = std::move(pieces);
  plan.transforms = std::move(transforms);
  return plan;
}

// The same plan for every request of a source.
class Fixed : public Policy {
 public:
  explicit Fixed(const std::map<HostId, Plan>& plans) : plans_(plans) {}
  Plan plan(const Problem& problem) override { return plans_.at(problem.source); }

 private:
  const std::map<HostId, Plan>& plans_;
};

struct Case {
  Platform platform;
  LayerGraph graph;
  std::map<HostId, Plan> plans;  // by source
  LatencyModel model = {};       // hosts are known by their speed alone
  PolicyFacts facts = {};
  MakePolicy make_policy = {};  // empty: Fixed
  RunSpec spec = {};

  // One source unless more are added; one request after another, one request in all.
  Case(Platform p, LayerGraph g, HostId source, Plan plan) : platform(std::move(p)), graph(std::move(g)) {
    facts.name = "fixed";
    spec.deadline_s = std::numeric_limits<double>::infinity();
    spec.requests = 1;
    spec.wire.result_bytes = 0;
    spec.record_intervals = true;
    add_source(source, std::move(plan));
  }
  void add_source(HostId source, Plan plan) {
    spec.sources.push_back(source);
    plans[source] = std::move(plan);
  }
  void batch(int size) {
    spec.arrivals.kind = Arrivals::Kind::kBatch;
    spec.arrivals.size = size;
    spec.requests.reset();
  }
  void arrive(std::vector<double> dates) {
    spec.arrivals.kind = Arrivals::Kind::kTrace;
    spec.arrivals.dates_s = std::move(dates);
    spec.requests.reset();
  }
  void periodic(double period_s, double horizon_s) {
    spec.arrivals.kind = Arrivals::Kind::kPeriodic;
    spec.arrivals.period_s = period_s;
    spec.requests.reset();
    spec.horizon_s = horizon_s;
  }
};

// A trace on its way through a pipe.
Json to_json(const Trace& trace) {
  Json out = {{"measured_from", trace.measured_from_s}, {"end", trace.end_s}, {"replans", trace.replans}};
  out["requests"] = out["intervals"] = out["hosts"] = Json::array();
  for (const RequestRecord& r : trace.requests) {
    out["requests"].push_back({r.source, r.exit, r.failures, static_cast<int>(r.state), r.arrival_s, r.end_s,
                               r.compute_s, r.transfer_s, r.queue_s,
                               r.accuracy ? Json(*r.accuracy) : Json()});
  }
  for (const Interval& i : trace.intervals) {
    out["intervals"].push_back(
        {static_cast<int>(i.kind), i.resource, i.request, i.piece, i.start_s, i.end_s});
  }
  for (const HostMeter& h : trace.hosts)
    out["hosts"].push_back(
        {h.energy_j, h.radio_energy_j, h.busy_s, h.battery_j, h.emptied_s, h.flight_energy_j});
  out["link_bytes"] = trace.link_bytes;
  out["uploads"] = trace.uploads;
  out["evictions"] = trace.evictions;
  out["last_upload_s"] = trace.last_upload_s.value_or(-1);
  for (const auto& [host, bytes] : trace.weight_memory_bytes) out["weights"].push_back({host, bytes});
  return out;
}

Trace from_json(const Json& json) {
  Trace out;
  out.measured_from_s = json["measured_from"];
  out.end_s = json["end"];
  out.replans = json["replans"];
  for (const Json& r : json["requests"]) {
    out.requests.push_back(
        {r[0], r[1], r[2], {}, static_cast<RequestState>(r[3].get<int>()), r[4], r[5], r[6], r[7], r[8]});
    if (!r[9].is_null()) out.requests.back().accuracy = r[9].get<double>();
  }
  for (const Json& i : json["intervals"]) {
    out.intervals.push_back({static_cast<Interval::Kind>(i[0].get<int>()), i[1], i[2], i[3], i[4], i[5]});
  }
  for (const Json& h : json["hosts"]) out.hosts.push_back({h[0], h[1], h[2], h[3], h[4], h[5]});
  out.link_bytes = json["link_bytes"].get<std::vector<double>>();
  out.uploads = json["uploads"];
  out.evictions = json["evictions"];
  out.last_upload_s = json["last_upload_s"].get<double>();
  if (json.contains("weights")) {
    for (const Json& w : json["weights"]) out.weight_memory_bytes[w[0]] = w[1];
  }
  return out;
}

Trace run_once(Case& c) {
  c.spec.platform = &c.platform;
  c.spec.graph = &c.graph;
  c.spec.latency_model = c.spec.estimator = &c.model;
  c.spec.estimator_wire = c.spec.wire;
  const MakePolicy make = c.make_policy ? c.make_policy : [&c] { return std::make_unique<Fixed>(c.plans); };
  return from_json(run_in_child([&] { return to_json(simulate(c.spec, c.facts, make)); }));
}

bool near(double a, double b) {
  return std::abs(a - b) <= std::max(1e-9, 1e-9 * std::abs(b));
}

// At most max(1e-9, 1e-9 relative): x is near(x) of it.
doctest::Approx exactly(double value) {
  return doctest::Approx(value).epsilon(5e-10);
}

// What differs between the two halves of the engine and the solver alone; empty where all agrees.
std::string difference(const Trace& a, const Trace& b) {
  if (a.requests.size() != b.requests.size()) return "number of requests";
  for (std::size_t i = 0; i < a.requests.size(); ++i) {
    const RequestRecord &x = a.requests[i], &y = b.requests[i];
    const std::string who = "request " + std::to_string(i);
    if (x.source != y.source || x.exit != y.exit || x.failures != y.failures || x.state != y.state)
      return who;
    if (!near(x.arrival_s, y.arrival_s)) return who + ": arrival";
    if (!near(x.end_s, y.end_s))
      return who + ": end " + std::to_string(x.end_s) + " and " + std::to_string(y.end_s);
    if (!near(x.compute_s, y.compute_s)) return who + ": compute";
    if (!near(x.transfer_s, y.transfer_s)) return who + ": transfer";
    if (!near(x.queue_s, y.queue_s)) return who + ": queue";
  }
  for (std::size_t i = 0; i < a.hosts.size(); ++i) {
    const HostMeter &x = a.hosts[i], &y = b.hosts[i];
    if (!near(x.energy_j, y.energy_j)) return "energy of host " + std::to_string(i);
    if (!near(x.radio_energy_j, y.radio_energy_j)) return "radio of host " + std::to_string(i);
    if (!near(x.flight_energy_j, y.flight_energy_j)) return "flight energy of host " + std::to_string(i);
    if (!near(x.busy_s, y.busy_s)) return "busy time of host " + std::to_string(i);
    // Infinite ones are equal.
    if (x.battery_j != y.battery_j && !near(x.battery_j, y.battery_j))
      return "battery of host " + std::to_string(i);
    if (x.emptied_s != y.emptied_s && !near(x.emptied_s, y.emptied_s))
      return "end of the battery of host " + std::to_string(i);
  }
  for (std::size_t i = 0; i < a.link_bytes.size(); ++i) {
    if (!near(a.link_bytes[i], b.link_bytes[i])) return "bytes of link " + std::to_string(i);
  }
  if (!near(a.end_s, b.end_s) || !near(a.measured_from_s, b.measured_from_s)) return "end";
  if (a.replans != b.replans) return "replans";
  if (a.uploads != b.uploads || a.evictions != b.evictions) return "weights";
  if (a.intervals.size() != b.intervals.size()) return "number of intervals";
  return "";
}

// Runs both; their parts add up, they agree.
Trace run(Case c) {
  c.spec.engine.full_solver = true;
  const Trace full = run_once(c);
  c.spec.engine.full_solver = false;
  Trace halves = run_once(c);
  CHECK(difference(halves, full) == "");
  for (const RequestRecord& r : halves.requests) {
    if (r.state != RequestState::kCompleted) continue;
    CHECK(r.compute_s + r.transfer_s + r.queue_s == exactly(r.end_s - r.arrival_s));
  }
  return halves;
}

double latency(const Trace& trace, std::size_t request = 0) {
  REQUIRE(request < trace.requests.size());
  REQUIRE(trace.requests[request].state == RequestState::kCompleted);
  return trace.requests[request].end_s - trace.requests[request].arrival_s;
}

int count(const Trace& trace, RequestState state) {
  int n = 0;
  for (const RequestRecord& r : trace.requests) n += r.state == state;
  return n;
}

// Layer a on the device, b on the server.
Plan split_plan(std::vector<EdgeTransform> transforms = {}) {
  return plan_of({{{0}, kDevice}, {{1}, kServer}}, std::move(transforms));
}
Case split() {
  return Case(pencil(), two_layers(), kDevice, split_plan());
}
// Both layers on the server.
Case offloaded() {
  return Case(pencil(), two_layers(), kDevice, plan_of({{{0, 1}, kServer}}));
}

}  // namespace

// ---- one request ----

TEST_CASE("simulation: the pencil case") {
  // 1 Gflop at 1 Gf, 1 MB at 1 MB/s after 10 ms, 1 Gflop at 10 Gf: 1 + 0.01 + 1 + 0.1 = 2.11 s. The result's
  // way back has neither bytes nor latency here.
  const Platform platform = Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
      <host id="device" speed="1Gf"><prop id="tier" value="device"/></host>
      <host id="server" speed="10Gf"><prop id="tier" value="edge"/></host>
      <link id="net" bandwidth="8Mbps" latency="10ms"/><link id="back" bandwidth="8Mbps" latency="0s"/>
      <route src="device" dst="server" symmetrical="NO"><link_ctn id="net"/></route>
      <route src="server" dst="device" symmetrical="NO"><link_ctn id="back"/></route></zone></platform>)",
                                            "pencil_one_way.xml");
  Case c(platform, two_layers(), kDevice, split_plan());
  Trace t = run(c);
  REQUIRE(t.requests.size() == 1);
  CHECK(std::abs(latency(t) - 2.11) < 1e-9);
  CHECK(t.requests[0].compute_s == exactly(1.1));
  CHECK(t.requests[0].transfer_s == exactly(1.01));
  CHECK(t.requests[0].queue_s == 0);
  CHECK(t.end_s == exactly(2.11));

  // SimGrid's TCP model, without cross-traffic: latency 13.01 fold, 97 % of the bandwidth:
  // 1 + 0.1301 + 1 / 0.97 + 0.1 = 2.261 s.
  c.spec.engine.network = NetworkModel::kLv08;
  t = run(c);
  CHECK(latency(t) == doctest::Approx(1.1 + 0.1301 + 1 / 0.97).epsilon(1e-6));
}

TEST_CASE("simulation: the result returns to the source") {
  // pencil.xml: the way back costs its latency, and the bytes of the result: 2.11 + 0.01, + 200 kB at 1 MB/s.
  Case c = split();
  Trace t = run(c);
  CHECK(latency(t) == exactly(2.12));
  CHECK(t.requests[0].transfer_s == exactly(1.02));
  CHECK(t.link_bytes[kNet] == exactly(1e6));
  c.spec.wire.result_bytes.reset();
  t = run(c);
  CHECK(latency(t) == exactly(2.32));
  CHECK(t.link_bytes[kNet] == exactly(1.2e6));
  c.spec.wire = {300e3, 1.0, 0.0};  // 250 kB between the layers; the input stays on the device
  CHECK(latency(run(c)) == exactly(1 + 0.26 + 0.1 + 0.01));
}

TEST_CASE("simulation: everything here, everything there") {
  // Two layers on the device: 2 s. On the server: 0.01 + 0.2, 0.2 s, 0.01.
  Trace t = run(Case(pencil(), two_layers(), kDevice, plan_of({{{0, 1}, kDevice}})));
  CHECK(latency(t) == exactly(2));
  CHECK(t.link_bytes[kNet] == 0);
  t = run(offloaded());
  CHECK(latency(t) == exactly(0.42));
  CHECK(t.requests[0].transfer_s == exactly(0.22));
  // Two pieces on one host are computed one after the other, with nothing sent in between.
  t = run(Case(pencil(), two_layers(), kDevice, plan_of({{{0}, kDevice}, {{1}, kDevice}})));
  CHECK(latency(t) == exactly(2));
  // There and back: 0.01 + 0.2, 0.1, 0.01 + 1, 1.
  t = run(Case(pencil(), two_layers(), kDevice, plan_of({{{0}, kServer}, {{1}, kDevice}})));
  CHECK(latency(t) == exactly(2.32));
}

TEST_CASE("simulation: what the policy believes is not what happens") {
  // The estimator's wire format does not reach the links.
  Case c = split();
  c.spec.platform = &c.platform;
  c.spec.graph = &c.graph;
  c.spec.latency_model = c.spec.estimator = &c.model;
  c.spec.estimator_wire = {1.0, 1.0, 1.0};
  const Trace t = from_json(run_in_child(
      [&] { return to_json(simulate(c.spec, c.facts, [&c] { return std::make_unique<Fixed>(c.plans); })); }));
  CHECK(latency(t) == exactly(2.12));
}

TEST_CASE("simulation: transforms") {
  // Half the bytes for 0.5 Gflop on the device and 1 Gflop on the server; the result a quarter of 200 kB, for
  // 0.2 Gflop on the server and 0.1 on the device: 1 + 0.5, 0.01 + 0.5, 0.1 + 0.1 + 0.02, 0.01 + 0.05, 0.1.
  const EdgeTransform forth{0, 1, {.ratio = 0.5, .encode_flop = 5e8, .decode_flop = 1e9}};
  const EdgeTransform back{1, kSourceEnd, {.ratio = 0.25, .encode_flop = 2e8, .decode_flop = 1e8}};
  Case c(pencil(), two_layers(), kDevice, split_plan({forth, back}));
  c.spec.wire.result_bytes.reset();
  Trace t = run(c);
  CHECK(latency(t) == exactly(1.5 + 0.51 + 0.22 + 0.06 + 0.1));
  CHECK(t.requests[0].compute_s == exactly(1.82));
  CHECK(t.requests[0].transfer_s == exactly(0.57));
  CHECK(t.link_bytes[kNet] == exactly(550e3));
  CHECK(t.hosts[kDevice].busy_s == exactly(1.6));
  CHECK(t.hosts[kServer].busy_s == exactly(0.22));

  // On the input: 0.1, 0.01 + 0.1, 0.05 + 0.2, 0.01.
  c = Case(pencil(), two_layers(), kDevice,
           plan_of({{{0, 1}, kServer}},
                   {{kSourceEnd, 0, {.ratio = 0.5, .encode_flop = 1e8, .decode_flop = 5e8}}}));
  CHECK(latency(run(c)) == exactly(0.1 + 0.11 + 0.25 + 0.01));

  // Between pieces of one host nothing is coded.
  c = Case(pencil(), two_layers(), kDevice, plan_of({{{0}, kDevice}, {{1}, kDevice}}, {forth}));
  CHECK(latency(run(c)) == exactly(2));
}

TEST_CASE("simulation: a DAG takes its longest path") {
  // d0 computes stem, left and join, the edge server right. right's way: stem 1, 1 MB 0.006 + 1, 0.1, 200 kB
  // 0.006 + 0.2, join 5e-5. left is done after 2.
  const Plan plan = plan_of({{{0}, kD0}, {{1}, kD0}, {{2}, kEdge}, {{3}, kD0}});
  Case c(star(), fork_join(), kD0, plan);
  Trace t = run(c);
  CHECK(latency(t) == exactly(2.31205));
  CHECK(t.requests[0].compute_s == exactly(1.10005));
  CHECK(t.requests[0].transfer_s == exactly(1.212));
  CHECK(t.requests[0].queue_s == 0);
  CHECK(t.hosts[kD0].busy_s == exactly(2.00005));  // left too, though not on the critical path

  // With 10 MB/s right is back after 1 + 0.106 + 0.1 + 0.026 = 1.232, and left decides.
  c.platform.set_bandwidth(kL0, 10e6);
  t = run(c);
  CHECK(latency(t) == exactly(2.00005));
  CHECK(t.requests[0].compute_s == exactly(2.00005));
  CHECK(t.requests[0].transfer_s == 0);
  CHECK(t.requests[0].queue_s == 0);

  // Both branches on d0: right waits for left.
  c.plans[kD0] = plan_of({{{0}, kD0}, {{1}, kD0}, {{2}, kD0}, {{3}, kD0}});
  t = run(c);
  CHECK(latency(t) == exactly(3.00005));
  CHECK(t.requests[0].compute_s == exactly(2.00005));
  CHECK(t.requests[0].queue_s == exactly(1));

  // Both on the edge server, which has two cores. Its inputs travel as one tensor for each piece: two flows
  // of 1 MB share 10 MB/s and take 0.006 + 0.2; both results 0.006 + 0.04. Then join.
  c.plans[kD0] = plan_of({{{0}, kD0}, {{1}, kEdge}, {{2}, kEdge}, {{3}, kD0}});
  t = run(c);
  CHECK(latency(t) == exactly(1 + 0.206 + 0.1 + 0.046 + 5e-5));
  CHECK(t.requests[0].queue_s == 0);
}

// ---- queues ----

TEST_CASE("simulation: one core serves one request at a time") {
  Case c(pencil(), two_layers(), kDevice, plan_of({{{0, 1}, kDevice}}));
  c.batch(3);
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(latency(t, i) == exactly(2.0 * static_cast<double>(i + 1)));
    CHECK(t.requests[i].compute_s == exactly(2));
    CHECK(t.requests[i].queue_s == exactly(2.0 * static_cast<double>(i)));
  }
  CHECK(t.end_s == exactly(6));
  CHECK(t.hosts[kDevice].busy_s == exactly(6));
}

TEST_CASE("simulation: two cores serve two") {
  Case c(star(), two_layers(), kEdge, plan_of({{{0, 1}, kEdge}}));
  c.batch(2);
  Trace t = run(c);
  CHECK(latency(t, 0) == exactly(0.2));
  CHECK(latency(t, 1) == exactly(0.2));
  CHECK(t.requests[1].queue_s == 0);
  CHECK(t.hosts[kEdge].busy_s == exactly(0.2));
  c.batch(3);
  t = run(c);
  CHECK(latency(t, 2) == exactly(0.4));
  CHECK(t.requests[2].queue_s == exactly(0.2));
}

TEST_CASE("simulation: requests share a link") {
  // Two inputs of 200 kB at once, 0.5 MB/s each: 0.01 + 0.4. Then the server: 0.2 and 0.4; 0.01 back.
  Case c = offloaded();
  c.batch(2);
  Trace t = run(c);
  CHECK(latency(t, 0) == exactly(0.62));
  CHECK(latency(t, 1) == exactly(0.82));
  CHECK(t.requests[1].queue_s == exactly(0.2));
  CHECK(t.requests[1].transfer_s == exactly(0.42));

  // The second one comes at 0.11: the first is alone until the second's latency has passed at 0.12 and then
  // has 90 kB left, done at 0.30. The second has 110 kB left then, done at 0.41; the server is free at 0.5.
  c.arrive({0, 0.11});
  t = run(c);
  CHECK(latency(t, 0) == exactly(0.30 + 0.2 + 0.01));
  CHECK(t.requests[1].transfer_s == exactly(0.41 - 0.11 + 0.01));
  CHECK(t.requests[1].queue_s == exactly(0.5 - 0.41));
  CHECK(t.requests[1].end_s == exactly(0.71));
}

TEST_CASE("simulation: batches") {
  // n requests take 0.05 + 0.1 n s. At most 4, the first waits at most 50 ms.
  const LatencyModel model = LatencyModel::parse(
      parse_json(R"({"schema": 1, "name": "gpu", "devices": {"gpu": {"kind": "roofline", "source": "assumed",
                     "layer_overhead_s": {"value": 0.05, "source": "assumed"}}}})",
                 "gpu.json"),
      "gpu.json");
  const Platform gpu =
      lone("speed=\"10Gf\"", R"(<prop id="device_type" value="gpu"/><prop id="discipline" value="batch"/>
      <prop id="max_batch" value="4"/><prop id="max_wait" value="50ms"/>)");
  Case c(gpu, one_layer(), 0, plan_of({{{0}, 0}}));
  c.model = model;

  SUBCASE("one waits in vain") {
    const Trace t = run(c);
    CHECK(latency(t) == exactly(0.05 + 0.15));
    CHECK(t.requests[0].queue_s == exactly(0.05));
    CHECK(t.requests[0].compute_s == exactly(0.15));
  }
  SUBCASE("who comes within the wait goes along") {
    // Starts at 0.05 with three: ends at 0.05 + 0.35. The fourth, at 0.06, waits until 0.40: 0.15 alone.
    c.arrive({0, 0.02, 0.04, 0.06});
    const Trace t = run(c);
    for (const std::size_t i : {0u, 1u, 2u}) {
      CHECK(t.requests[i].end_s == exactly(0.40));
      CHECK(t.requests[i].compute_s == exactly(0.35));
      CHECK(t.requests[i].queue_s == exactly(0.05 - t.requests[i].arrival_s));
    }
    CHECK(t.requests[3].end_s == exactly(0.55));
    CHECK(t.requests[3].queue_s == exactly(0.34));
    CHECK(t.hosts[0].busy_s == exactly(0.5));
  }
  SUBCASE("a full batch starts at once") {
    // Four start at 0 and take 0.45; two at 0.45, whose wait is over: 0.25.
    c.arrive({0, 0, 0, 0, 0.01, 0.02});
    const Trace t = run(c);
    for (const std::size_t i : {0u, 1u, 2u, 3u}) {
      CHECK(t.requests[i].end_s == exactly(0.45));
      CHECK(t.requests[i].queue_s == 0);
    }
    CHECK(t.requests[4].end_s == exactly(0.70));
    CHECK(t.requests[5].end_s == exactly(0.70));
    CHECK(t.requests[5].queue_s == exactly(0.43));
  }
  SUBCASE("a batch fills up while it waits") {
    c.arrive({0, 0.01, 0.02, 0.03});
    const Trace t = run(c);
    for (std::size_t i = 0; i < 4; ++i) CHECK(t.requests[i].end_s == exactly(0.03 + 0.45));
  }
  SUBCASE("different work makes different batches") {
    // Two pieces: a of both at 0.05, 0.25 s; b of both is ready at 0.30, waits 0.05, takes 0.25.
    c.graph = two_layers();
    c.plans[0] = plan_of({{{0}, 0}, {{1}, 0}});
    c.batch(2);
    const Trace t = run(c);
    for (std::size_t i = 0; i < 2; ++i) {
      CHECK(latency(t, i) == exactly(0.6));
      CHECK(t.requests[i].queue_s == exactly(0.1));
    }
    // 0 and 0.31: the first is at b (0.20 to 0.25 waiting, until 0.40) when the second's a comes and waits
    // until 0.40, past its own 0.36: 0.55; its b waits until 0.60.
    c.arrive({0, 0.31});
    const Trace u = run(c);
    CHECK(u.requests[0].end_s == exactly(0.40));
    CHECK(u.requests[1].end_s == exactly(0.75));
    CHECK(u.requests[1].queue_s == exactly(0.09 + 0.05));
  }
  SUBCASE("lost together") {
    c.batch(3);
    c.spec.changes = {{0.1, Change::Kind::kHostState, 0, 0}};
    const Trace t = run(c);
    CHECK(count(t, RequestState::kLost) == 3);
    for (const RequestRecord& r : t.requests) CHECK(r.end_s == exactly(0.1));
  }
}

TEST_CASE("simulation: a shared processor") {
  // Two equal jobs of 0.1 s share one core: 0.2 s each, none waits.
  const std::string shared = R"(<prop id="discipline" value="shared"/>)";
  Case c(lone("speed=\"10Gf\"", shared), one_layer(), 0, plan_of({{{0}, 0}}));
  c.batch(2);
  Trace t = run(c);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(latency(t, i) == exactly(0.2));
    CHECK(t.requests[i].queue_s == 0);
    CHECK(t.requests[i].compute_s == exactly(0.2));
  }
  CHECK(t.hosts[0].busy_s == exactly(0.2));
  // The second comes at 0.05: 0.05 of the first is left, which takes 0.1; then 0.05 of the second.
  c.arrive({0, 0.05});
  t = run(c);
  CHECK(t.requests[0].end_s == exactly(0.15));
  CHECK(t.requests[1].end_s == exactly(0.2));
  // One job uses one of two cores; three share two: 0.15 s.
  c = Case(lone("speed=\"10Gf\" core=\"2\"", shared), one_layer(), 0, plan_of({{{0}, 0}}));
  CHECK(latency(run(c)) == exactly(0.1));
  c.batch(3);
  t = run(c);
  for (std::size_t i = 0; i < 3; ++i) CHECK(latency(t, i) == exactly(0.15));
}

// ---- arrivals ----

TEST_CASE("simulation: closed loop") {
  // Two clients on a device that takes 2 s, half a second of thought: A 0-2, B 0-4, A 2.5-6, B 4.5-8.
  Case c(pencil(), two_layers(), kDevice, plan_of({{{0, 1}, kDevice}}));
  c.spec.arrivals.clients = 2;
  c.spec.arrivals.think_s = 0.5;
  c.spec.requests = 4;
  Trace t = run(c);
  REQUIRE(t.requests.size() == 4);
  const std::vector<double> arrivals{0, 0, 2.5, 4.5}, ends{2, 4, 6, 8};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(t.requests[i].arrival_s == exactly(arrivals[i]));
    CHECK(t.requests[i].end_s == exactly(ends[i]));
  }
  CHECK(t.end_s == exactly(8));
  // Until a horizon instead: at 5 the third is under way and the fourth waits.
  c.spec.requests.reset();
  c.spec.horizon_s = 5;
  t = run(c);
  CHECK(t.requests.size() == 4);
  CHECK(count(t, RequestState::kCompleted) == 2);
  CHECK(count(t, RequestState::kInFlight) == 2);
  CHECK(t.end_s == exactly(5));
}

TEST_CASE("simulation: a closed loop whose requests take no time is an input error") {
  const LayerGraph nothing = graph_of(R"({"name": "a", "kind": "dropout", "inputs": ["input"]})");
  Case c(pencil(), nothing, kDevice, plan_of({{{0}, kDevice}}));
  c.spec.requests.reset();
  c.spec.horizon_s = 1;
  CHECK_THROWS_AS(run_once(c), InputError);
  // With a number of requests, or in an open loop, it is none.
  c.spec.horizon_s.reset();
  c.spec.requests = 5;
  const Trace t = run(c);
  CHECK(count(t, RequestState::kCompleted) == 5);
  CHECK(t.end_s == 0);
}

TEST_CASE("simulation: batch, periodic and trace arrivals") {
  Case c(star(), two_layers(), kD0, plan_of({{{0, 1}, kEdge}}));
  c.add_source(kD1, plan_of({{{0, 1}, kD1}}));
  c.batch(2);
  Trace t = run(c);
  REQUIRE(t.requests.size() == 4);  // of each source
  for (const RequestRecord& r : t.requests) CHECK(r.arrival_s == 0);

  // Periodic with stagger: d0 at 0, 3, 6; d1 at 1.5, 4.5. On d1 each takes 2 s.
  c.periodic(3, 7);
  c.spec.arrivals.stagger = true;
  t = run(c);
  REQUIRE(t.requests.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(t.requests[i].arrival_s == exactly(1.5 * static_cast<double>(i)));
    CHECK(t.requests[i].source == static_cast<int>(i % 2));
  }
  CHECK(latency(t, 3) == exactly(2));
  CHECK(count(t, RequestState::kCompleted) == 5);
  CHECK(t.end_s == exactly(7));

  // A trace ends with its last result; the same dates at each source.
  c.arrive({0.5, 4});
  c.spec.horizon_s.reset();
  t = run(c);
  REQUIRE(t.requests.size() == 4);
  CHECK(t.requests[0].arrival_s == 0.5);
  CHECK(t.requests[2].arrival_s == 4);
  CHECK(t.end_s == exactly(6));
  // Dates at and after the horizon do not arrive.
  c.spec.horizon_s = 4;
  CHECK(run(c).requests.size() == 2);
}

TEST_CASE("simulation: Poisson arrivals follow the seed") {
  Case c(pencil(), one_layer(), kServer, plan_of({{{0}, kServer}}));
  c.spec.arrivals.kind = Arrivals::Kind::kPoisson;
  c.spec.arrivals.period_s = 0.2;
  c.spec.requests = 50;
  c.spec.seed = 3;
  const Trace t = run(c);
  REQUIRE(t.requests.size() >= 50);
  ArrivalDates dates(c.spec.arrivals, 0, 1, 3);
  double free_s = 0;
  for (std::size_t i = 0; i < 50; ++i) {
    CHECK(t.requests[i].arrival_s == exactly(*dates.next()));
    // Served in order, 0.1 s each.
    free_s = std::max(free_s, t.requests[i].arrival_s) + 0.1;
    CHECK(t.requests[i].end_s == exactly(free_s));
  }
  CHECK(count(t, RequestState::kCompleted) == 50);
  c.spec.seed = 4;
  CHECK(run_once(c).requests[0].arrival_s != t.requests[0].arrival_s);
}

TEST_CASE("simulation: the random numbers of a policy are not those of the arrivals") {
  class Seeded : public Policy {
   public:
    explicit Seeded(std::uint64_t& seed) : seed_(seed) {}
    Plan plan(const Problem& problem) override {
      seed_ = problem.seed;
      return split_plan();
    }

   private:
    std::uint64_t& seed_;
  };
  Case c = split();
  c.spec.arrivals.kind = Arrivals::Kind::kPoisson;
  c.spec.platform = &c.platform;
  c.spec.graph = &c.graph;
  c.spec.latency_model = c.spec.estimator = &c.model;
  const Json dates = run_in_child([&]() -> Json {
    std::uint64_t seed = 0;
    const Trace trace = simulate(c.spec, c.facts, [&seed] { return std::make_unique<Seeded>(seed); });
    return {trace.requests[0].arrival_s, Random(seed).exponential(c.spec.arrivals.period_s)};
  });
  CHECK(dates[0] != dates[1]);
}

TEST_CASE("simulation: warm-up, horizon, in flight") {
  // 2 s on the device every 4 s from 0. Measured from 4 to 9: busy 4-6 and 8-9, the third still under way.
  Case c(pencil(), two_layers(), kDevice, plan_of({{{0, 1}, kDevice}}));
  c.periodic(4, 9);
  c.spec.warmup_s = 4;
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 3);
  CHECK(t.measured_from_s == exactly(4));
  CHECK(t.end_s == exactly(9));
  CHECK(t.requests[2].state == RequestState::kInFlight);
  CHECK(t.hosts[kDevice].busy_s == exactly(3));
  CHECK(t.hosts[kDevice].energy_j == exactly(3 * 3 + 2 * 1));
  CHECK(t.hosts[kDevice].radio_energy_j == exactly(0.1 * 5));
  CHECK(t.hosts[kServer].energy_j == exactly(10 * 5));
  c.spec.platform = &c.platform;
  c.spec.graph = &c.graph;
  const Json m = aggregate({summarise(c.spec, t)});
  CHECK(m["requests"] == Json({{"arrived", 2}, {"completed", 1}, {"lost", 0}, {"in_flight", 1}}));
  CHECK(m["throughput_per_s"].get<double>() == exactly(1.0 / 5));

  // A run that ends before its warm-up measures nothing.
  Case brief = split();
  brief.spec.warmup_s = 10;
  const Trace nothing = run(brief);
  CHECK(nothing.measured_from_s == nothing.end_s);
  CHECK(nothing.hosts[kDevice].energy_j == 0);
  CHECK(nothing.link_bytes[kNet] == 0);

  // A horizon may lie beyond the last request: the platform idles.
  Case late(pencil(), two_layers(), kDevice, plan_of({{{0, 1}, kDevice}}));
  late.batch(1);
  late.spec.horizon_s = 10;
  CHECK(run(late).hosts[kDevice].energy_j == exactly(2 * 3 + 8 * 1));
}

TEST_CASE("simulation: what ends on the horizon, or as its host or link goes off, has ended") {
  // 2 s on the device from 0, 4 and 8; all dates are exact in binary.
  Case c(pencil(), two_layers(), kDevice, plan_of({{{0, 1}, kDevice}}));
  c.periodic(4, 10);
  CHECK(count(run(c), RequestState::kCompleted) == 3);
  c.periodic(4, 11);
  c.spec.changes = {{6, Change::Kind::kHostState, kDevice, 0}, {7, Change::Kind::kHostState, kDevice, 1}};
  CHECK(count(run(c), RequestState::kCompleted) == 3);
  // 1 Gflop, then 2^20 B at 2^20 B/s after 2^-7 s: the transfer ends as the link goes off.
  Case t(pencil(), two_layers(), kDevice, split_plan());
  t.platform.set_bandwidth(kNet, 1 << 20);
  t.platform.set_latency(kNet, 0x1p-7, "test");
  t.spec.wire.bytes_per_element = (1 << 20) / 250e3;
  t.spec.requests.reset();
  t.batch(1);
  t.spec.horizon_s = 3;
  t.spec.changes = {{2 + 0x1p-7, Change::Kind::kLinkState, kNet, 0},
                    {2.0625, Change::Kind::kLinkState, kNet, 1}};
  CHECK(latency(run(t)) == exactly(2 + 0x1p-7 + 0.1 + 0x1p-7));
  // Two that share it, 2^18 B each, end together after 2^-7 + 1/2 s. Then 0.2 s each on the server.
  t.plans[kDevice] = plan_of({{{0, 1}, kServer}});
  t.spec.wire.input_bytes = 1 << 18;
  t.batch(2);
  t.spec.changes = {{0.5 + 0x1p-7, Change::Kind::kLinkState, kNet, 0},
                    {0.5625, Change::Kind::kLinkState, kNet, 1}};
  const Trace both = run(t);
  CHECK(latency(both, 0) == exactly(0.5 + 0x1p-7 + 0.2 + 0x1p-7));
  CHECK(latency(both, 1) == exactly(0.5 + 0x1p-7 + 0.4 + 0x1p-7));
}

TEST_CASE("simulation: many short steps in a row do not drift") {
  // 20000 requests of 10 us, one after another: the last ends at 0.2 s in both halves.
  Case c(lone("speed=\"100Tf\""), one_layer(), 0, plan_of({{{0}, 0}}));
  c.spec.requests = 20000;
  c.spec.record_intervals = false;
  const Trace t = run(c);
  CHECK(t.end_s == exactly(0.2));
}

// ---- changes ----

TEST_CASE("simulation: a link fails in mid-transfer") {
  // The transfer, under way from 1 to 2.01, is lost at 1.5. The client asks again 1 s later: 2.5 + 2.12.
  Case c = split();
  c.spec.requests = 2;
  c.spec.changes = {{1.5, Change::Kind::kLinkState, kNet, 0}, {2, Change::Kind::kLinkState, kNet, 1}};
  Trace t = run(c);
  REQUIRE(t.requests.size() == 2);
  CHECK(t.requests[0].state == RequestState::kLost);
  CHECK(t.requests[0].end_s == exactly(1.5));
  CHECK(t.requests[0].compute_s == exactly(1));
  CHECK(t.requests[0].transfer_s == exactly(0.5));
  CHECK(t.requests[1].arrival_s == exactly(2.5));
  CHECK(t.requests[1].end_s == exactly(4.62));
  CHECK(t.link_bytes[kNet] == exactly(1e6));  // what was lost has not crossed

  // Who thinks asks again after that.
  c.spec.arrivals.think_s = 0.25;
  t = run(c);
  CHECK(t.requests[1].arrival_s == exactly(1.75));
  CHECK(t.requests[1].end_s == exactly(1.75 + 2.12));

  // Off until 5: the transfers of 2.5 + 1 and 4.5 + 1 find it off, or not.
  c.spec.arrivals.think_s = 0;
  c.spec.requests = 3;
  c.spec.changes[1].date_s = 5;
  t = run(c);
  REQUIRE(t.requests.size() == 3);
  CHECK(t.requests[1].state == RequestState::kLost);
  CHECK(t.requests[1].end_s == exactly(3.5));
  CHECK(t.requests[1].transfer_s == exactly(0));
  CHECK(t.requests[2].arrival_s == exactly(4.5));
  CHECK(latency(t, 2) == exactly(2.12));
}

TEST_CASE("simulation: a link that fails concerns the branch that uses it") {
  // right's tensor (1 to 2.006 s) is lost at 1.5, while left goes on until 2; asked again at 2.5.
  Case c(star(), fork_join(), kD0, plan_of({{{0}, kD0}, {{1}, kD0}, {{2}, kEdge}, {{3}, kD0}}));
  c.spec.requests = 2;
  c.spec.changes = {{1.5, Change::Kind::kLinkState, kL0, 0}, {2.4, Change::Kind::kLinkState, kL0, 1}};
  const Trace t = run(c);
  CHECK(t.requests[0].state == RequestState::kLost);
  CHECK(t.requests[0].end_s == exactly(1.5));
  CHECK(t.requests[1].arrival_s == exactly(2.5));
  CHECK(latency(t, 1) == exactly(2.31205));
  CHECK(t.hosts[kD0].busy_s == exactly(2 + 2.00005));
}

TEST_CASE("simulation: two transfers fail together") {
  Case c = offloaded();
  c.batch(2);
  c.spec.changes = {{0.1, Change::Kind::kLinkState, kNet, 0}};
  const Trace t = run(c);
  CHECK(count(t, RequestState::kLost) == 2);
  CHECK(t.end_s == exactly(0.1));
  CHECK(t.link_bytes[kNet] == 0);
}

TEST_CASE("simulation: a host fails while it computes") {
  // The server works on it from 2.01 to 2.11 and goes off at 2.05.
  Case c = split();
  c.spec.requests = 2;
  c.spec.changes = {{2.05, Change::Kind::kHostState, kServer, 0}, {4, Change::Kind::kHostState, kServer, 1}};
  Trace t = run(c);
  CHECK(t.requests[0].state == RequestState::kLost);
  CHECK(t.requests[0].end_s == exactly(2.05));
  CHECK(t.requests[0].compute_s == exactly(1.04));
  CHECK(t.requests[1].arrival_s == exactly(3.05));  // its tensor leaves at 4.05
  CHECK(latency(t, 1) == exactly(2.12));
  CHECK(t.hosts[kServer].busy_s == exactly(0.04 + 0.1));

  // Off at 1.5, while the tensor is on its way there.
  c.spec.changes[0].date_s = 1.5;
  t = run(c);
  CHECK(t.requests[0].end_s == exactly(1.5));
  CHECK(t.requests[1].arrival_s == exactly(2.5));
  CHECK(t.requests[1].state == RequestState::kLost);  // leaves at 3.5, the server is still off
  CHECK(t.requests[1].end_s == exactly(3.5));

  // The source itself: what arrives while it is off is lost at once, and so on until 2.5.
  c.spec.changes = {{0.5, Change::Kind::kHostState, kDevice, 0}, {2, Change::Kind::kHostState, kDevice, 1}};
  c.spec.requests = 3;
  t = run(c);
  REQUIRE(t.requests.size() == 3);
  CHECK(t.requests[0].end_s == exactly(0.5));
  CHECK(t.requests[1].arrival_s == exactly(1.5));
  CHECK(t.requests[1].end_s == exactly(1.5));
  CHECK(t.requests[2].arrival_s == exactly(2.5));
  CHECK(latency(t, 2) == exactly(2.12));
  // Off it draws 0.5 W: 0.5 s busy, 1.5 s off, 0.5 s idle, 1 s busy, 1.12 s idle.
  CHECK(t.hosts[kDevice].energy_j == exactly(0.5 * 3 + 1.5 * 0.5 + 0.5 * 1 + 1 * 3 + 1.12 * 1));
}

TEST_CASE("simulation: a host that fails loses its queue, and serves again") {
  // Three on the device at once, off from 3 to 3.5: the first is done, the second and third are lost. Two
  // more arrive at 4.
  Case c(pencil(), two_layers(), kDevice, plan_of({{{0, 1}, kDevice}}));
  c.arrive({0, 0, 0, 4, 4});
  c.spec.changes = {{3, Change::Kind::kHostState, kDevice, 0}, {3.5, Change::Kind::kHostState, kDevice, 1}};
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 5);
  CHECK(latency(t, 0) == exactly(2));
  for (const std::size_t i : {1u, 2u}) {
    CHECK(t.requests[i].state == RequestState::kLost);
    CHECK(t.requests[i].end_s == exactly(3));
  }
  CHECK(latency(t, 3) == exactly(2));
  CHECK(latency(t, 4) == exactly(4));
  CHECK(t.hosts[kDevice].busy_s == exactly(3 + 4));
  // The second had waited for 2 s and computed for 1 s, the third waited for 3 s.
  CHECK(t.requests[1].queue_s == exactly(2));
  CHECK(t.requests[1].compute_s == exactly(1));
  CHECK(t.requests[2].queue_s == exactly(3));
  CHECK(t.requests[2].compute_s == exactly(0));
  double computed = 0;
  for (const Interval& i : t.intervals) {
    if (i.kind == Interval::Kind::kCompute) computed += i.end_s - i.start_s;
  }
  CHECK(computed == exactly(7));
}

TEST_CASE("simulation: a shared processor and a batch in waiting fail") {
  Case c(lone("speed=\"10Gf\"", R"(<prop id="discipline" value="shared"/>)"), one_layer(), 0,
         plan_of({{{0}, 0}}));
  c.arrive({0, 0, 1, 1});
  c.spec.changes = {{0.125, Change::Kind::kHostState, 0, 0}, {0.5, Change::Kind::kHostState, 0, 1}};
  Trace t = run(c);
  for (const std::size_t i : {0u, 1u}) {
    CHECK(t.requests[i].state == RequestState::kLost);
    CHECK(t.requests[i].end_s == exactly(0.125));
  }
  CHECK(latency(t, 2) == exactly(0.2));
  CHECK(latency(t, 3) == exactly(0.2));
  CHECK(t.hosts[0].busy_s == exactly(0.125 + 0.2));

  // Two wait for a third, at most 2 s; the host goes off after 1 s. Those of 3 wait 2 s and take 0.2 s.
  c.platform = lone("speed=\"10Gf\"", R"(<prop id="discipline" value="batch"/><prop id="max_batch" value="3"/>
      <prop id="max_wait" value="2s"/>)");
  c.arrive({0, 0.5, 3, 3});
  c.spec.changes = {{1, Change::Kind::kHostState, 0, 0}, {1.5, Change::Kind::kHostState, 0, 1}};
  t = run(c);
  for (const std::size_t i : {0u, 1u}) {
    CHECK(t.requests[i].state == RequestState::kLost);
    CHECK(t.requests[i].end_s == exactly(1));
    CHECK(t.requests[i].compute_s == exactly(0));
  }
  CHECK(latency(t, 2) == exactly(2.2));
  CHECK(latency(t, 3) == exactly(2.2));
}

TEST_CASE("simulation: a fallback takes over what a failure lost") {
  // The server dies at 2.05 while it computes; it began at 1 + 0.01 + 1 = 2.01. The device starts again, at
  // once and with both layers: 2.05 + 2. After the server's return all is as before: 1 + 1.01 + 0.1 and 0.01
  // back.
  Plan plan = plan_of({{{0}, kDevice}, {{1}, kServer}});
  plan.fallbacks = {plan_of({{{0, 1}, kDevice}})};
  Case c(pencil(), two_layers(), kDevice, plan);
  c.arrive({0, 10});
  c.spec.changes = {{2.05, Change::Kind::kHostState, kServer, 0}, {5, Change::Kind::kHostState, kServer, 1}};
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 2);
  CHECK(t.requests[0].state == RequestState::kCompleted);
  CHECK(latency(t, 0) == exactly(4.05));
  CHECK(t.requests[0].failures == 1);
  // Until 2.05: 1 s on the device, 1.01 s of transfer, 0.04 s on the server; then 2 s on the device.
  CHECK(t.requests[0].compute_s == exactly(1 + 0.04 + 2));
  CHECK(t.requests[0].transfer_s == exactly(1.01));
  CHECK(latency(t, 1) == exactly(2.12));
  CHECK(t.requests[1].failures == 0);
}

TEST_CASE("simulation: of several fallbacks the first whose hosts are on, and none of its own") {
  Plan plan = plan_of({{{0}, kDevice}, {{1}, kServer}});
  // The first needs the server, too, which is off.
  plan.fallbacks = {plan_of({{{0, 1}, kServer}}), plan_of({{{0, 1}, kDevice}})};
  Case c(pencil(), two_layers(), kDevice, plan);
  c.spec.changes = {{2.05, Change::Kind::kHostState, kServer, 0}};
  CHECK(latency(run(c), 0) == exactly(4.05));
  // The device fails during the fallback, from 3 to 3.5: a fallback has no fallback, so the request is lost
  // at 3.
  c.spec.changes.push_back({3, Change::Kind::kHostState, kDevice, 0});
  c.spec.changes.push_back({3.5, Change::Kind::kHostState, kDevice, 1});
  const Trace t = run(c);
  CHECK(t.requests[0].state == RequestState::kLost);
  CHECK(t.requests[0].end_s == exactly(3));
  CHECK(t.requests[0].failures == 2);
}

TEST_CASE("simulation: a plan without pieces turns its requests away") {
  Case c(pencil(), two_layers(), kDevice, plan_of({}));
  c.spec.retries = 1;
  c.spec.retry_wait_s = 2;
  const Trace t = run(c);
  CHECK(t.requests[0].state == RequestState::kLost);
  CHECK(t.requests[0].end_s == exactly(2));
  CHECK(t.requests[0].failures == 2);
  CHECK(t.hosts[kDevice].busy_s == 0);
  CHECK(t.hosts[kServer].busy_s == 0);
}

TEST_CASE("simulation: a lost request tries again, as often as it may") {
  // The link is off from 1.5 to 3. Lost at 1.5, tries at 1.5 + 2 = 3.5: 3.5 + 1 + 1.01 + 0.1 + 0.01.
  Case c(pencil(), two_layers(), kDevice, plan_of({{{0}, kDevice}, {{1}, kServer}}));
  c.spec.changes = {{1.5, Change::Kind::kLinkState, kNet, 0}, {3, Change::Kind::kLinkState, kNet, 1}};
  c.spec.retries = 1;
  c.spec.retry_wait_s = 2;
  Trace t = run(c);
  CHECK(t.requests[0].state == RequestState::kCompleted);
  CHECK(latency(t, 0) == exactly(5.62));
  CHECK(t.requests[0].queue_s == exactly(2));
  // Off again at 5, in the second transfer (4.5 to 5.51): no try is left.
  c.spec.changes.push_back({5, Change::Kind::kLinkState, kNet, 0});
  t = run(c);
  CHECK(t.requests[0].state == RequestState::kLost);
  CHECK(t.requests[0].end_s == exactly(5));
  CHECK(t.requests[0].failures == 2);
}

// The trunk a, b and an exit behind a: each convolution has 1 Gflop.
LayerGraph early_exit() {
  const std::string text = R"({"schema": 1, "name": "g", "source": "test", "precision": "fp32",
    "input": {"shape": [20, 50, 50]}, "layers": [
      {"name": "a", "inputs": ["input"], )" +
                           kToWide + R"(}, {"name": "b", "inputs": ["a"], )" + kToNarrow +
                           R"(}, {"name": "e", "inputs": ["a"], )" + kToNarrow + R"(}],
    "exits": [{"name": "early", "layer": "e"}, {"name": "full", "layer": "b"}]})";
  return LayerGraph::parse(parse_json(text, "g.json"), "g.json");
}

TEST_CASE("simulation: requests stop at exits by chance, and what lies behind an exit waits for it") {
  const LayerGraph graph = early_exit();
  const LayerId a = graph.find("a"), b = graph.find("b"), e = graph.find("e");
  Plan plan = plan_of({{{a}, kDevice}, {{b}, kServer}, {{e}, kDevice}});
  plan.exit = 1;
  plan.exit_rates = {1, 0};
  Case c(pencil(), graph, kDevice, plan);
  // All stop early: a and e on the device.
  CHECK(latency(run(c), 0) == exactly(2));
  CHECK(run(c).requests[0].exit == 0);
  // All pass: e, too, is computed, and only then 1 MB leaves: 2 + 1.01 + 0.1 + 0.01.
  c.plans[kDevice].exit_rates = {0.5, 0.5};
  c.spec.requests = 400;
  const Trace t = run(c);
  int early = 0;
  for (std::size_t i = 0; i < t.requests.size(); ++i) {
    early += t.requests[i].exit == 0;
    CHECK(latency(t, i) == exactly(t.requests[i].exit == 0 ? 2 : 3.12));
  }
  // 400 draws of one half: 200 with a standard deviation of 10.
  CHECK(early > 150);
  CHECK(early < 250);
  // What a policy is told to expect: half of 2 s and half of 3.12 s.
  std::vector<double> bandwidths{1e6};
  const Problem problem{c.graph, c.platform, c.model, c.spec.wire, kDevice, 1e9, bandwidths, {}, 1};
  CHECK(estimate(problem, c.plans[kDevice]).latency_s == exactly(2.56));
  // An exit at which nobody stops is passed, 3.12 s as above, or left out: 1 + 1.01 + 0.1 + 0.01.
  c.plans[kDevice].exit_rates = {0, 1};
  c.spec.requests = 1;
  CHECK(latency(run(c), 0) == exactly(3.12));
  c.plans[kDevice].pieces.pop_back();
  CHECK(latency(run(c), 0) == exactly(2.12));
}

// Two sensors' layers a and b, 1 Gflop and 1 MB out each, and their sum c: 250000 additions.
LayerGraph two_sensors(const std::string& absent) {
  const std::string text = R"({"schema": 1, "name": "g", "source": "test", "precision": "fp32",
    "input": {"shape": [20, 50, 50]}, "layers": [
      {"name": "a", "inputs": ["input"], )" +
                           kToWide + R"(}, {"name": "b", "inputs": ["input"], )" + kToWide +
                           R"(}, {"name": "c", "kind": "add", "inputs": ["a", "b"], "absent": ")" + absent +
                           R"("}],
    "exits": [{"name": "x", "layer": "c", "accuracy": 0.9, "accuracy_source": "s",
               "accuracy_without": [{"absent": ["a"], "accuracy": 0.6}, {"absent": ["b"], "accuracy": 0.5}]}]})";
  return LayerGraph::parse(parse_json(text, "g.json"), "g.json");
}

// The sensors on d0 and d1, the sum on the edge server.
Case sensors(const std::string& absent) {
  Case c(star(), two_sensors(absent), kD0, plan_of({{{0}, kD0}, {{1}, kD1}, {{2}, kEdge}}));
  c.spec.wire.sensors = {{0, kD0}, {1, kD1}};
  return c;
}

TEST_CASE("simulation: several sensors feed one inference") {
  // Each device computes 1 s on what its own sensor saw; then 1 MB at 1 MB/s: after 6 ms from d0, 7 ms from
  // d1. The sum of 250000 elements takes 25 us at 10 Gf, the empty result 6 ms.
  const Trace t = run(sensors("refuse"));
  CHECK(latency(t) == exactly(1 + 0.007 + 1 + 25e-6 + 0.006));
  CHECK(t.link_bytes[0] == exactly(1e6));
  CHECK(t.link_bytes[1] == exactly(1e6));
  CHECK(*t.requests[0].accuracy == exactly(0.9));
}

TEST_CASE("simulation: hosts that never work leave a smaller network, or a lost request") {
  // Without d1 the sum has one summand and does nothing: 1 + 1.006 + 0.006.
  Case c = sensors("skip");
  c.spec.survival = {1, 1, 0, 1};
  const Trace t = run(c);
  CHECK(latency(t) == exactly(1 + 1.006 + 25e-6 + 0.006));
  CHECK(*t.requests[0].accuracy == exactly(0.5));
  CHECK(t.link_bytes[1] == 0);
  // A join that needs both: lost at once, and as often as it may try.
  Case needs_both = sensors("refuse");
  needs_both.spec.survival = c.spec.survival;
  needs_both.spec.retries = 2;
  needs_both.spec.retry_wait_s = 0.5;
  const Trace lost = run(needs_both);
  CHECK(lost.requests[0].state == RequestState::kLost);
  CHECK(lost.requests[0].failures == 3);
  CHECK(lost.requests[0].end_s == exactly(1));
}

TEST_CASE("simulation: hosts that work by chance") {
  // d0 works for 0.8, d1 for 0.5 of the tries. Of 400 requests 0.4 are complete, 0.4 lack b, 0.1 lack a and
  // 0.1 get nothing: 160, 160, 40, 40 with standard deviations below 10.
  Case c = sensors("skip");
  c.spec.survival = {1, 0.8, 0.5, 1};
  c.spec.requests = 400;
  const Trace t = run(c);
  std::map<double, int> seen;
  for (const RequestRecord& r : t.requests) ++seen[r.state == RequestState::kLost ? 0 : *r.accuracy];
  REQUIRE(seen.size() == 4);
  CHECK(std::abs(seen[0.9] - 160) < 40);
  CHECK(std::abs(seen[0.5] - 160) < 40);
  CHECK(std::abs(seen[0.6] - 40) < 25);
  CHECK(std::abs(seen[0] - 40) < 25);
  CHECK(count(t, RequestState::kCompleted) + count(t, RequestState::kLost) == 400);
  // A second try saves nine of ten: 0.01 of 400 stay lost.
  c.spec.retries = 1;
  const Trace tried = run(c);
  CHECK(count(tried, RequestState::kLost) < 12);
  CHECK(count(tried, RequestState::kCompleted) + count(tried, RequestState::kLost) == 400);
  // The seed decides.
  CHECK(difference(t, [&] {
          c.spec.retries = 0;
          return run(c);
        }()) == "");
  c.spec.seed = 2;
  CHECK(difference(t, [&] {
          c.spec.retries = 0;
          return run(c);
        }()) != "");
}

TEST_CASE("simulation: a plan's own exit accuracies") {
  const LayerGraph graph = early_exit();
  const LayerId a = graph.find("a"), b = graph.find("b"), e = graph.find("e");
  Plan plan = plan_of({{{a, b, e}, kDevice}});
  plan.exit = 1;
  plan.exit_rates = {0.5, 0.5};
  plan.exit_accuracies = {0.7, 0.8};
  Case c(pencil(), graph, kDevice, plan);
  c.spec.requests = 50;
  for (const RequestRecord& r : run(c).requests) CHECK(r.accuracy == (r.exit == 0 ? 0.7 : 0.8));
}

TEST_CASE("simulation: the exits that are drawn do not depend on the plan") {
  // The same requests stop early whether the server is used or not.
  const LayerGraph graph = early_exit();
  const LayerId a = graph.find("a"), b = graph.find("b"), e = graph.find("e");
  Plan apart = plan_of({{{a, e}, kDevice}, {{b}, kServer}}), alone = plan_of({{{a, b, e}, kDevice}});
  apart.exit = alone.exit = 1;
  apart.exit_rates = alone.exit_rates = {0.3, 0.7};
  Case c(pencil(), graph, kDevice, apart), d(pencil(), graph, kDevice, alone);
  c.spec.requests = d.spec.requests = 50;
  const Trace first = run(c), second = run(d);
  for (std::size_t i = 0; i < 50; ++i) CHECK(first.requests[i].exit == second.requests[i].exit);
}

TEST_CASE("simulation: what arrives is completed, lost or in flight") {
  // Every 0.5 s one; the device takes 1 s, so request i leaves it at i + 1 and is back at i + 2.12. The link
  // is off from 3.5 to 3.75, which costs request 2. At 7.9 requests 6 to 15 are under way or waiting.
  Case c = split();
  c.periodic(0.5, 7.9);
  c.spec.changes = {{3.5, Change::Kind::kLinkState, kNet, 0}, {3.75, Change::Kind::kLinkState, kNet, 1}};
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 16);
  for (std::size_t i = 0; i < 16; ++i) {
    CAPTURE(i);
    const auto expected = i == 2  ? RequestState::kLost
                          : i < 6 ? RequestState::kCompleted
                                  : RequestState::kInFlight;
    CHECK(t.requests[i].state == expected);
    if (expected == RequestState::kCompleted)
      CHECK(t.requests[i].end_s == exactly(static_cast<double>(i) + 2.12));
  }
  c.spec.platform = &c.platform;
  c.spec.graph = &c.graph;
  CHECK(aggregate({summarise(c.spec, t)})["requests"] ==
        Json({{"arrived", 16}, {"completed", 5}, {"lost", 1}, {"in_flight", 10}}));
}

TEST_CASE("simulation: the bandwidth changes in mid-transfer") {
  // Half of the 1 MB has crossed at 1.51; the other half at 0.5 MB/s takes 1 s, until 2.51.
  Case c = split();
  c.spec.changes = {{1.51, Change::Kind::kBandwidth, kNet, 0.5e6}};
  CHECK(latency(run(c)) == exactly(2.51 + 0.1 + 0.01));
  // Before the data flow: 1.01 + 0.5.
  c.spec.changes = {{1.005, Change::Kind::kBandwidth, kNet, 2e6}};
  CHECK(latency(run(c)) == exactly(1.51 + 0.1 + 0.01));
  // Twice: 0.25 MB until 1.26, 0.25 at 0.25 MB/s until 2.26, the rest at 1 MB/s until 2.76.
  c.spec.changes = {{1.26, Change::Kind::kBandwidth, kNet, 0.25e6},
                    {2.26, Change::Kind::kBandwidth, kNet, 1e6}};
  CHECK(latency(run(c)) == exactly(2.76 + 0.1 + 0.01));
  // After the end it changes nothing.
  c.spec.changes = {{2.05, Change::Kind::kBandwidth, kNet, 0.5e6}};
  CHECK(latency(run(c)) == exactly(2.12));
  // Two transfers: 100 kB each until 0.21, then 1 MB/s each: 0.31. Then 0.2 s each on the server.
  c = offloaded();
  c.batch(2);
  c.spec.changes = {{0.21, Change::Kind::kBandwidth, kNet, 2e6}};
  const Trace t = run(c);
  CHECK(latency(t, 0) == exactly(0.31 + 0.2 + 0.01));
  CHECK(latency(t, 1) == exactly(0.31 + 0.4 + 0.01));
}

TEST_CASE("simulation: bandwidth traces") {
  // As above: half the bandwidth from 1.51 on.
  Case c = split();
  c.spec.bandwidth_traces = {
      {kNet, {.start_s = {0, 1.51}, .bandwidth_bytes_per_s = {1e6, 0.5e6}, .length_s = 2, .repeat = false}}};
  CHECK(latency(run(c)) == exactly(2.62));
  // 1 MB/s in even seconds, half of it in odd ones. From 1.01: 0.495 MB until 2, 0.505 MB until 2.505.
  c.spec.bandwidth_traces = {
      {kNet, {.start_s = {0, 1}, .bandwidth_bytes_per_s = {1e6, 0.5e6}, .length_s = 2, .repeat = true}}};
  CHECK(latency(run(c)) == exactly(2.505 + 0.1 + 0.01));
  // The trace's first value counts from the start, not the platform's.
  c.spec.bandwidth_traces = {
      {kNet, {.start_s = {0}, .bandwidth_bytes_per_s = {4e6}, .length_s = 1, .repeat = true}}};
  CHECK(latency(run(c)) == exactly(1 + 0.01 + 0.25 + 0.1 + 0.01));
}

TEST_CASE("simulation: the power state changes in mid-computation") {
  // 1 Gflop at 2 Gf; half of it is done at 0.25, the rest takes 0.5 s at 1 Gf. 3 W, then 1.5 W.
  const std::string watts = R"(<prop id="wattage_per_state" value="1:3,0.5:1.5"/>)";
  Case c(lone("speed=\"2Gf,1Gf\"", watts), one_layer(), 0, plan_of({{{0}, 0}}));
  c.spec.changes = {{0.25, Change::Kind::kPowerState, 0, 1}};
  Trace t = run(c);
  CHECK(latency(t) == exactly(0.75));
  CHECK(t.hosts[0].energy_j == exactly(0.25 * 3 + 0.5 * 1.5));
  // Back again at 0.5: a quarter is left, 0.125 s.
  c.spec.changes.push_back({0.5, Change::Kind::kPowerState, 0, 0});
  CHECK(latency(run(c)) == exactly(0.625));
  // While nothing runs: idle at 1 W and 0.5 W; the second request takes 1 s.
  c.arrive({0, 2});
  c.spec.changes = {{1, Change::Kind::kPowerState, 0, 1}};
  t = run(c);
  CHECK(latency(t, 1) == exactly(1));
  CHECK(t.hosts[0].energy_j == exactly(0.5 * 3 + 0.5 * 1 + 1 * 0.5 + 1 * 1.5));
  // From the start in state 1.
  c = Case(lone("speed=\"2Gf,1Gf\" pstate=\"1\"", watts), one_layer(), 0, plan_of({{{0}, 0}}));
  CHECK(latency(run(c)) == exactly(1));
  // Shared: two jobs, a quarter of each is done at 0.25; 1.5 Gflop at 1 Gf.
  c = Case(lone("speed=\"2Gf,1Gf\"", watts + R"(<prop id="discipline" value="shared"/>)"), one_layer(), 0,
           plan_of({{{0}, 0}}));
  c.batch(2);
  c.spec.changes = {{0.25, Change::Kind::kPowerState, 0, 1}};
  t = run(c);
  CHECK(latency(t, 0) == exactly(1.75));
  CHECK(latency(t, 1) == exactly(1.75));
}

// ---- batteries ----

TEST_CASE("simulation: a battery runs empty in the middle of a computation") {
  // pencil.xml's device: idle 1 W, busy 3 W, radio 0.1 W. The first request computes for 2 s (6.2 J), then
  // nothing until 3 (1.1 J): 7.3 J. The second draws 3.1 W: 9.005 J are used up 1.705 / 3.1 = 0.55 s into it.
  Case c(pencil(), two_layers(), kDevice, plan_of({{{0, 1}, kDevice}}));
  c.platform.edit_host(kDevice).battery_j = 9.005;
  c.arrive({0, 3, 3.2, 5});
  // That something switches it on again changes nothing.
  c.spec.changes = {{4, Change::Kind::kHostState, kDevice, 1}};
  Trace t = run(c);
  CHECK(t.hosts[kDevice].emptied_s == exactly(3.55));
  CHECK(t.hosts[kDevice].battery_j == 0);
  CHECK(t.hosts[kDevice].energy_j + t.hosts[kDevice].radio_energy_j == exactly(9.005));
  CHECK(t.hosts[kDevice].energy_j == exactly(9.005 - 3.55 * 0.1));
  CHECK(std::isinf(t.hosts[kServer].battery_j));
  CHECK(latency(t, 0) == exactly(2));
  for (const std::size_t i : {1u, 2u, 3u}) CHECK(t.requests[i].state == RequestState::kLost);
  CHECK(t.requests[1].end_s == exactly(3.55));
  CHECK(t.requests[1].compute_s == exactly(0.55));
  CHECK(t.requests[2].end_s == exactly(3.55));  // it waited
  CHECK(t.requests[3].end_s == exactly(5));

  // Off it draws 0.5 W. Off from 1 to 2 it has used 3.1 + 0.5 J by then and 1.1 more by 3; the second request
  // ends it after 4.305 / 3.1 s.
  c.arrive({0, 3});
  c.spec.changes = {{1, Change::Kind::kHostState, kDevice, 0}, {2, Change::Kind::kHostState, kDevice, 1}};
  c.spec.horizon_s = 10;
  t = run(c);
  CHECK(t.hosts[kDevice].emptied_s == exactly(3 + 4.305 / 3.1));
  CHECK(t.requests[1].state == RequestState::kLost);

  // With more charge it goes on: 2 * 6.2 + 1.1 J have been used when the second request ends. A warm-up
  // begins the meters anew, not the battery.
  c.platform.edit_host(kDevice).battery_j = 20;
  c.spec.changes.clear();
  c.spec.horizon_s = 5;
  c.spec.warmup_s = 3;
  t = run(c);
  CHECK(std::isinf(t.hosts[kDevice].emptied_s));
  CHECK(t.hosts[kDevice].battery_j == exactly(20 - 13.5));
  CHECK(t.hosts[kDevice].energy_j == exactly(6));
}

TEST_CASE("simulation: what a radio takes per byte empties a battery too") {
  // The device computes 1 s (3.1 J), waits 0.01 s (1.1 W) and sends 1 MB from 1.01 to 2.01 at 3 W: 6.111 J.
  // As the transfer ends, 1 J more for its bytes. Of 6.5 J that takes what is left: the tensor has arrived,
  // the device is off, and so is the result's way back.
  Case c = split();
  c.spec.requests = 1;
  c.platform.edit_host(kDevice).battery_j = 6.5;
  Trace t = run(c);
  CHECK(t.hosts[kDevice].emptied_s == exactly(2.01));
  CHECK(t.hosts[kDevice].radio_energy_j + t.hosts[kDevice].energy_j == exactly(6.5));
  CHECK(t.hosts[kDevice].energy_j == exactly(3 + 1.01));
  CHECK(t.link_bytes[kNet] == exactly(1e6));
  CHECK(count(t, RequestState::kLost) == 1);
  CHECK(t.requests[0].end_s == exactly(2.11));
  // 5 J are gone while it sends: 1.889 J after 1.01 s, at 3 W.
  c.platform.edit_host(kDevice).battery_j = 5;
  t = run(c);
  CHECK(t.hosts[kDevice].emptied_s == exactly(1.01 + (5 - 3.111) / 3));
  CHECK(t.requests[0].end_s == exactly(1.01 + (5 - 3.111) / 3));
  CHECK(t.link_bytes[kNet] == 0);
}

TEST_CASE(
    "simulation: a server's battery runs empty: fallbacks, retries, and what arrives is accounted for") {
  // The server idles at 10 W and is busy at 50 W for 0.1 s of each second, from 2.01 + i on: 20.1 J by 2.01,
  // then 14 J a second. 40.1 J: 34.1 by 3.01, 5 J at 50 W by 3.11, 1 J at 10 W more: empty at 3.21.
  Plan plan = split_plan();
  plan.fallbacks = {plan_of({{{0, 1}, kDevice}})};
  Case c(pencil(), two_layers(), kDevice, plan);
  c.platform.edit_host(kServer).battery_j = 40.1;
  c.arrive({0, 1, 2, 3});
  Trace t = run(c);
  CHECK(t.hosts[kServer].emptied_s == exactly(3.21));
  // The third is on the link from 3.01 on: fails at 3.21, starts again on the device behind the fourth's
  // first layer, 3 to 4; that one then finds the server off at 4 and waits for the third, 4 to 6.
  CHECK(latency(t, 0) == exactly(2.12));
  CHECK(latency(t, 1) == exactly(2.12));
  CHECK(latency(t, 2) == exactly(6 - 2));
  CHECK(latency(t, 3) == exactly(8 - 3));
  CHECK(t.requests[2].failures == 1);

  // Every 2 s one, without fallbacks: by 2.11 the server has used 25.1 J, the rest lasts until 3.61. The
  // second is on the link then, and again on the device from 5 to 6, behind the third: lost at 6. The third
  // fails at 5 and is lost at 7, behind the second; the fourth is on the device from 7 on.
  c.plans[kDevice].fallbacks.clear();
  c.spec.retries = 1;
  c.spec.retry_wait_s = 0.5;
  c.periodic(2, 7.9);
  t = run(c);
  REQUIRE(t.requests.size() == 4);
  CHECK(latency(t, 0) == exactly(2.12));
  CHECK(t.requests[1].end_s == exactly(6));
  CHECK(t.requests[2].end_s == exactly(7));
  c.spec.platform = &c.platform;
  c.spec.graph = &c.graph;
  const Json m = aggregate({summarise(c.spec, t)});
  CHECK(m["requests"] == Json({{"arrived", 4}, {"completed", 1}, {"lost", 2}, {"in_flight", 1}}));
  CHECK(m["battery_j"]["per_host"] == Json({{"server", 0.0}}));
  CHECK(m["emptied_s"]["per_host"]["server"].get<double>() == exactly(3.61));
}

TEST_CASE("simulation: what keeps a host in the air is metered apart and drawn from its battery") {
  // 96.9 W until 2, then 18.9. Computing until 2 draws 3.1 W, 1.1 W after that: 200 J, then 20 W for 15 s.
  Case c(pencil(), two_layers(), kDevice, plan_of({{{0, 1}, kDevice}}));
  c.platform.edit_host(kDevice).flight_w = 96.9;
  c.platform.edit_host(kDevice).battery_j = 500;
  c.arrive({0});
  c.spec.horizon_s = 30;
  c.spec.changes = {{2, Change::Kind::kFlightPower, kDevice, 18.9}};
  Trace t = run(c);
  CHECK(t.hosts[kDevice].emptied_s == exactly(17));
  CHECK(t.hosts[kDevice].flight_energy_j == exactly(2 * 96.9 + 15 * 18.9));
  CHECK(t.hosts[kDevice].energy_j == exactly(2 * 3 + 15));
  CHECK(t.hosts[kServer].flight_energy_j == 0);
  c.spec.platform = &c.platform;
  c.spec.graph = &c.graph;
  const Json m = aggregate({summarise(c.spec, t)});
  CHECK(m["energy_j"]["per_host"]["device"].get<double>() == exactly(500));
  CHECK(m["energy_j"]["flight"] == Json({{"device", t.hosts[kDevice].flight_energy_j}}));
  // On the ground it is off.
  c.platform.edit_host(kDevice).battery_j = std::numeric_limits<double>::infinity();
  c.spec.changes = {{2, Change::Kind::kHostState, kDevice, 0}, {20, Change::Kind::kHostState, kDevice, 1}};
  CHECK(run(c).hosts[kDevice].flight_energy_j == exactly(12 * 96.9));
}

TEST_CASE("simulation: policies see what flying takes, and only some how hosts will move") {
  // It goes away where it knows that the link, which has 1 MB/s now, will have 2 MB/s from 0.001 on.
  class Seer : public Policy {
   public:
    Plan plan(const Problem& problem) override {
      const bool fast = !problem.future.empty() && problem.future.back().first == kNet &&
                        problem.future.back().second.at(1) == 2e6 && problem.future.size() == 1;
      return plan_of({{{0, 1}, fast ? kServer : kDevice}});
    }
    std::optional<Plan> replan(const Problem& problem, const Observation&) override {
      if (problem.flight_power_w(kDevice) != 7) throw std::logic_error("another power");
      return std::nullopt;
    }
  };
  Case c(pencil(), two_layers(), kDevice, plan_of({}));
  c.make_policy = [] { return std::make_unique<Seer>(); };
  c.facts.watches_arrivals = true;
  c.arrive({1});
  c.spec.changes = {{0.5, Change::Kind::kFlightPower, kDevice, 7}};
  c.spec.bandwidth_traces = {
      {kNet, {.start_s = {0, 0.001}, .bandwidth_bytes_per_s = {1e6, 2e6}, .length_s = 1, .repeat = false}}};
  c.spec.radio_traces = 1;
  CHECK(latency(run(c)) == exactly(2));
  c.facts.knows_mobility = true;
  CHECK(latency(run(c)) == exactly(0.01 + 0.1 + 0.2 + 0.01));
  // A trace that follows from no motion is nothing that one could know.
  c.spec.radio_traces = 0;
  CHECK(latency(run(c)) == exactly(2));
}

TEST_CASE("simulation: policies see batteries, and the host that one switches off") {
  // Away while the server is on. The first request goes there: 0.21 s at 10 W, 0.2 s at 50 W; at 1 the policy
  // sees 100 - 12.1 - 5.9 J. The second takes 8 J beyond the 10 W: empty after 7.4 s; then the device serves.
  class Careful : public Policy {
   public:
    Plan plan(const Problem& problem) override {
      must(problem.battery_j[kServer] == 100 && std::isinf(problem.battery_j[kDevice]));
      return plan_of({{{0, 1}, kServer}});
    }
    std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
      if (observation.kind == Observation::Kind::kArrival) {
        if (observation.date_s == 1) must(near(problem.battery_j[kServer], 100 - 12.1 - 5.9));
        return std::nullopt;
      }
      must(near(observation.date_s, 8.4) && problem.battery_j[kServer] == 0);
      must(observation.host_on[kServer] == 0);
      return plan_of({{{0, 1}, kDevice}});
    }

   private:
    // In a child nobody counts what is checked; an exception comes back.
    static void must(bool holds) {
      if (!holds) throw std::logic_error("the policy saw something else");
    }
  };
  Case c(pencil(), two_layers(), kDevice, plan_of({}));
  c.platform.edit_host(kServer).battery_j = 100;
  c.make_policy = [] { return std::make_unique<Careful>(); };
  c.facts.watches_arrivals = c.facts.watches_platform = true;
  c.arrive({0, 1, 20});
  const Trace t = run(c);
  CHECK(latency(t, 0) == exactly(0.42));
  CHECK(latency(t, 1) == exactly(0.42));
  CHECK(latency(t, 2) == exactly(2));
  CHECK(t.replans == 1);
}

// ---- energy, cost, intervals ----

TEST_CASE("simulation: energy and cost by arithmetic") {
  // pencil.xml. The device computes 1 s at 3 W, sends for 1 s (data only, not the latency) at 2 W, receives
  // 200 kB for 0.2 s at 1 W, ends at 2.32 s; idle 1 W and 0.1 W. Per byte 1 uJ out and 0.5 uJ in. The server:
  // 0.1 s at 50 W, else 10.
  Case c = split();
  c.spec.wire.result_bytes.reset();
  const Trace t = run(c);
  CHECK(t.hosts[kDevice].energy_j == exactly(1 * 3 + 1.32 * 1));
  CHECK(t.hosts[kDevice].radio_energy_j ==
        exactly(1 * 2 + 0.2 * 1 + (2.32 - 1.2) * 0.1 + 1e6 * 1e-6 + 2e5 * 5e-7));
  CHECK(t.hosts[kServer].energy_j == exactly(0.1 * 50 + 2.22 * 10));
  CHECK(t.hosts[kServer].radio_energy_j == 0);
  CHECK(t.hosts[kServer].busy_s == exactly(0.1));
  c.spec.platform = &c.platform;
  c.spec.graph = &c.graph;
  const Json m = aggregate({summarise(c.spec, t)});
  CHECK(m["cost_usd"].get<double>() == exactly(0.1 * 0.001 + 1.2e6 * 1e-9));
  CHECK(m["energy_j"]["total"].get<double>() == exactly(4.32 + 3.412 + 27.2));
}

TEST_CASE("simulation: energy of cores and of a radio that sends and receives") {
  // Two cores, idle 1 W, from 2 W up to 6 W: one busy core is 4 W. Three jobs of 0.1 s: 0.1 s with two, 0.1 s
  // with one.
  Case c(lone("speed=\"10Gf\" core=\"2\"", R"(<prop id="wattage_per_state" value="1:2:6"/>)"), one_layer(), 0,
         plan_of({{{0}, 0}}));
  c.batch(3);
  c.spec.horizon_s = 1;
  Trace t = run(c);
  CHECK(t.hosts[0].energy_j == exactly(0.1 * 6 + 0.1 * 4 + 0.8 * 1));
  CHECK(t.hosts[0].busy_s == exactly(0.2));

  // A link each way, 1 MB/s without latency. The inputs go up in 0-0.2 and 0.3-0.5, the results of 1 MB come
  // down in 0.3-1.3 and, from 0.6 on, share it: the first has 0.7 MB left, done at 2.0; the second's last 0.3
  // MB at 2.3.
  const Platform duplex = Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
      <host id="device" speed="1Gf"><prop id="tier" value="device"/><prop id="wattage_radio" value="0.1:2:1"/></host>
      <host id="server" speed="10Gf"><prop id="tier" value="edge"/></host>
      <link id="net" bandwidth="8Mbps" latency="0s" sharing_policy="SPLITDUPLEX"/>
      <route src="device" dst="server"><link_ctn id="net" direction="UP"/></route></zone></platform>)",
                                          "duplex.xml");
  Case d(duplex, one_layer(), kDevice, plan_of({{{0}, kServer}}));
  d.spec.wire.result_bytes.reset();
  d.arrive({0, 0.3});
  t = run(d);
  CHECK(latency(t, 0) == exactly(2.0));
  CHECK(latency(t, 1) == exactly(2.0));
  // 0-0.2 sends, 0.2-0.3 idle, 0.3-0.5 both, 0.5-2.3 receives.
  CHECK(t.hosts[kDevice].radio_energy_j == exactly(0.2 * 2 + 0.1 * 0.1 + 0.2 * 3 + 1.8 * 1));
}

TEST_CASE("simulation: intervals add up") {
  // On a chain the intervals of a request are its critical path.
  Case c = offloaded();
  c.batch(3);
  const Trace t = run(c);
  for (std::uint64_t request = 0; request < 3; ++request) {
    std::map<Interval::Kind, double> sums;
    for (const Interval& i : t.intervals) {
      REQUIRE(i.end_s >= i.start_s);
      if (i.request == request) sums[i.kind] += i.end_s - i.start_s;
    }
    CHECK(sums[Interval::Kind::kCompute] == exactly(t.requests[request].compute_s));
    CHECK(sums[Interval::Kind::kTransfer] == exactly(t.requests[request].transfer_s));
    CHECK(sums[Interval::Kind::kWait] == exactly(t.requests[request].queue_s));
  }

  // On a DAG the branch off the critical path has its own: stem, left, right and join on their hosts; two
  // links each way.
  Case dag(star(), fork_join(), kD0, plan_of({{{0}, kD0}, {{1}, kD0}, {{2}, kEdge}, {{3}, kD0}}));
  const Trace u = run(dag);
  std::map<int, double> computed, crossed;
  for (const Interval& i : u.intervals) {
    if (i.kind == Interval::Kind::kCompute) computed[i.resource] += i.end_s - i.start_s;
    if (i.kind == Interval::Kind::kTransfer) crossed[i.resource] += i.end_s - i.start_s;
  }
  CHECK(computed[kD0] == exactly(u.hosts[kD0].busy_s));
  CHECK(computed[kEdge] == exactly(u.hosts[kEdge].busy_s));
  REQUIRE(crossed.size() == 2);
  for (const auto& [link, seconds] : crossed) CHECK(seconds == exactly(1.212));

  // They open in Perfetto: process name, rows of d0, edge and two links (two events each), 4 computations, 4
  // intervals of transfers.
  Json events = Json::array();
  append_chrome_trace(events, u, dag.platform, 0, "dag");
  CHECK(events.size() == 1 + 4 * 2 + 4 + 4);

  dag.spec.record_intervals = false;
  CHECK(run(dag).intervals.empty());
}

// ---- policies that watch ----

namespace {

// Sends everything to the server while the link is on and at least `least` fast, else keeps it.
class Watching : public Policy {
 public:
  explicit Watching(double least) : least_(least) {}
  Plan plan(const Problem& problem) override { return on(problem.bandwidth_bytes_per_s[kNet] >= least_); }
  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    const bool away = problem.bandwidth_bytes_per_s[kNet] >= least_ && observation.link_on[kNet] != 0 &&
                      observation.queue_length(kServer) < 1;
    if (away == away_) return std::nullopt;
    return on(away);
  }

 private:
  Plan on(bool away) {
    away_ = away;
    return plan_of({{{0, 1}, away ? kServer : kDevice}});
  }
  double least_;
  bool away_ = false;
};

Case watching(double least_bytes_per_s = 0) {
  Case c = offloaded();
  c.make_policy = [least_bytes_per_s] { return std::make_unique<Watching>(least_bytes_per_s); };
  return c;
}

}  // namespace

TEST_CASE("simulation: a policy that watches the platform") {
  // Off from 0.1: the first is lost, the second (1.1) stays on the device; on again at 2, the third (3.1)
  // goes away.
  Case c = watching();
  c.facts.watches_platform = true;
  c.spec.requests = 3;
  c.spec.changes = {{0.1, Change::Kind::kLinkState, kNet, 0}, {2, Change::Kind::kLinkState, kNet, 1}};
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 3);
  CHECK(t.requests[0].state == RequestState::kLost);
  CHECK(t.requests[1].arrival_s == exactly(1.1));
  CHECK(latency(t, 1) == exactly(2));  // keeps the plan with which it began
  CHECK(latency(t, 2) == exactly(0.42));
  CHECK(t.replans == 2);
}

TEST_CASE("simulation: what policies see is as old as the observation's delay") {
  // As above, seen 1.5 s later: off at 1.6, on at 3.5. The second (1.1) is sent and lost at once, and so is
  // the third, 1 s after it (2.1 as the source waits 1 s after a loss): no, by then the link is seen off, so
  // it stays on the device from 2.1 to 4.1; the fourth goes away.
  Case c = watching();
  c.facts.watches_platform = true;
  c.spec.requests = 4;
  c.spec.observe_delay_s = 1.5;
  c.spec.changes = {{0.1, Change::Kind::kLinkState, kNet, 0}, {2, Change::Kind::kLinkState, kNet, 1}};
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 4);
  CHECK(t.requests[0].state == RequestState::kLost);
  CHECK(t.requests[1].state == RequestState::kLost);
  CHECK(t.requests[1].arrival_s == exactly(1.1));
  CHECK(t.requests[2].arrival_s == exactly(2.1));
  CHECK(latency(t, 2) == exactly(2));
  CHECK(latency(t, 3) == exactly(0.42));
  CHECK(t.replans == 2);
}

TEST_CASE("simulation: queues are seen with delay") {
  // The server computes from 0.21 to 0.41. Seen 0.5 s late, the request at 0.3 finds it idle and waits there
  // (0.3 + 0.21 = 0.51 is after 0.41, so it does not wait), the one at 0.8 finds it as it was at 0.3: busy.
  Case c = watching();
  c.facts.watches_arrivals = true;
  c.spec.observe_delay_s = 0.5;
  c.arrive({0, 0.3, 0.8});
  const Trace t = run(c);
  CHECK(t.requests[1].compute_s == exactly(0.2));
  CHECK(t.requests[2].compute_s == exactly(2));
}

TEST_CASE("simulation: a policy that watches the load sees the power state") {
  // The device is half as fast from 0.5 on; the policy then goes to the server: 0.42.
  class Loaded : public Policy {
   public:
    Plan plan(const Problem&) override { return plan_of({{{0, 1}, kDevice}}); }
    std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
      CHECK(observation.kind == Observation::Kind::kLoad);
      CHECK(problem.slowdown(kDevice) == exactly(2));
      return plan_of({{{0, 1}, kServer}});
    }
  };
  Case c(pencil(), two_layers(), kDevice, plan_of({}));
  Host& device = c.platform.edit_host(kDevice);
  device.power_states.push_back(device.power_states[0]);
  device.power_states[1].speed_flop_per_s /= 2;
  c.make_policy = [] { return std::make_unique<Loaded>(); };
  c.facts.watches_load = true;
  c.arrive({0, 10});
  c.spec.changes = {{0.5, Change::Kind::kPowerState, kDevice, 1}};
  const Trace t = run(c);
  CHECK(latency(t, 0) == exactly(0.5 + 1.5 * 2));
  CHECK(latency(t, 1) == exactly(0.42));
  CHECK(t.replans == 1);
}

TEST_CASE("simulation: a policy that watches arrivals learns how its requests ended") {
  // The server answers after 0.42 s, the device after 2; each time that the expected outcomes have been seen
  // the other one gets the next request. At 4 both earlier ones have ended, in the order in which they did;
  // the link fails while the third is sent, and the source's fourth finds it lost.
  class Learner : public Policy {
   public:
    Plan plan(const Problem&) override { return plan_of({{{0, 1}, kDevice}}); }
    std::optional<Plan> replan(const Problem&, const Observation& observation) override {
      const double lost = std::numeric_limits<double>::infinity();
      const std::vector<std::vector<std::pair<int, double>>> expected{
          {}, {}, {{1, 0.42}, {0, 2}}, {{2, lost}}, {{3, 0.42}}};
      const auto& wanted = expected.at(arrived_++);
      bool same = observation.outcomes.size() == wanted.size();
      for (std::size_t i = 0; same && i < wanted.size(); ++i) {
        same = observation.outcomes[i].request == wanted[i].first &&
               (observation.outcomes[i].latency_s == wanted[i].second ||
                observation.outcomes[i].latency_s == exactly(wanted[i].second));
      }
      if (!same) throw std::runtime_error("other outcomes at arrival " + std::to_string(arrived_));
      return plan_of({{{0, 1}, arrived_ == 1 ? kDevice : kServer}});
    }

   private:
    std::size_t arrived_ = 0;
  };
  Case c = offloaded();
  c.make_policy = [] { return std::make_unique<Learner>(); };
  c.facts.watches_arrivals = true;
  c.arrive({0, 1, 4, 5, 6});
  c.spec.changes = {{4.1, Change::Kind::kLinkState, kNet, 0}, {4.5, Change::Kind::kLinkState, kNet, 1}};
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 5);
  CHECK(t.requests[2].state == RequestState::kLost);
  CHECK(latency(t, 4) == exactly(0.42));
}

TEST_CASE("simulation: an offline policy knows the arrivals to come") {
  // It goes away where more than two requests will arrive.
  class Offline : public Policy {
   public:
    Plan plan(const Problem& problem) override {
      return plan_of({{{0, 1}, problem.arrivals_s.size() > 2 ? kServer : kDevice}});
    }
  };
  Case c(pencil(), two_layers(), kDevice, plan_of({}));
  c.make_policy = [] { return std::make_unique<Offline>(); };
  c.arrive({0, 10, 20});
  CHECK(latency(run(c), 0) == exactly(2));  // nobody told it
  c.facts.knows_arrivals = true;
  CHECK(latency(run(c), 0) == exactly(0.42));
  c.spec.horizon_s = 15;  // the third comes after the end
  CHECK(latency(run(c), 0) == exactly(2));
}

// ---- weights that come and go: 100 * 10 * 10 * 20 or 20 * 10 * 10 * 100 filters of 4 B, 0.8 MB a layer ----

TEST_CASE("simulation: a piece waits for the weights that its host lacks") {
  // 0.21 s for the input; then 1.6 MB take 1.61 s, 2 Gflop 0.2 s, the empty result 10 ms. The second request
  // finds all there: 0.42 s.
  Case c = offloaded();
  c.spec.weights_at_start[kServer] = {};
  c.spec.requests = 2;
  const Trace t = run(c);
  CHECK(latency(t, 0) == exactly(0.21 + 1.61 + 0.2 + 0.01));
  CHECK(t.requests[0].queue_s == exactly(1.61));
  CHECK(latency(t, 1) == exactly(0.42));
  CHECK(t.uploads == 1);
  CHECK(*t.last_upload_s == exactly(1.82));
  CHECK(t.link_bytes[0] == exactly(2 * 0.2e6 + 1.6e6));
  // Weights and the largest input + output of a layer, 1.2 MB.
  CHECK(t.weight_memory_bytes.at(kServer) == exactly(2.8e6));
  // Half of them is there: 0.81 s.
  c.spec.weights_at_start[kServer] = {1};
  CHECK(latency(run(c), 0) == exactly(0.21 + 0.81 + 0.2 + 0.01));
}

TEST_CASE("simulation: weights arrive while requests run") {
  // On the device until the server has both layers, which a policy sees at 2 * 0.81 = 1.62 s: the first
  // request takes 2 s, the second 0.42 s.
  class Uploading : public Policy {
   public:
    Plan plan(const Problem& problem) override {
      CHECK(!problem.holds(kServer, 0));
      CHECK(problem.holds(kDevice, 0));
      Plan plan = plan_of({{{0, 1}, kDevice}});
      plan.uploads = {{{0}, kServer}, {{1}, kServer}};
      return plan;
    }
    std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
      CHECK(observation.kind == Observation::Kind::kWeights);
      CHECK(problem.holds(kServer, 0));
      if (!problem.holds(kServer, 1)) return std::nullopt;
      return plan_of({{{0, 1}, kServer}});
    }
  };
  Case c = offloaded();
  c.make_policy = [] { return std::make_unique<Uploading>(); };
  c.facts.watches_weights = true;
  c.spec.weights_at_start[kServer] = {};
  c.spec.requests = 2;
  const Trace t = run(c);
  CHECK(latency(t, 0) == exactly(2));
  CHECK(latency(t, 1) == exactly(0.42));
  CHECK(t.uploads == 2);
  CHECK(*t.last_upload_s == exactly(1.62));
  CHECK(t.replans == 1);
  int on_link = 0;
  for (const Interval& i : t.intervals)
    on_link += i.kind == Interval::Kind::kTransfer && i.request == kNoRequest;
  CHECK(on_link == 2);
}

TEST_CASE("simulation: a full memory evicts") {
  // The edge server has room for one layer (0.8 MB) and its tensors (1.2 MB). d0 has a computed there, d1 b:
  // each finds the other's weights. d0: 0.2 MB in 0.206 s, 0.8 MB in 0.806 s, 0.1 s, 1 MB back in 1.006 s and
  // 1 s on d0.
  Case c(star(), two_layers(), kD0, plan_of({{{0}, kEdge}, {{1}, kD0}}));
  c.add_source(kD1, plan_of({{{0}, kD1}, {{1}, kEdge}}));
  c.platform.edit_host(kEdge).memory_bytes = 2e6;
  c.spec.weights_at_start[kEdge] = {};
  c.arrive({0, 10});
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 4);
  // At 0, d1 asks for b at 1 + 1.007, when d0 is done with a.
  for (std::size_t i = 0; i < 4; ++i) {
    const double d0 = 0.206 + 0.806 + 0.1 + 1.006 + 1, d1 = 1 + 1.007 + 0.807 + 0.1 + 0.007;
    CHECK(latency(t, i) == exactly(t.requests[i].source == 0 ? d0 : d1));
  }
  CHECK(t.uploads == 4);
  CHECK(t.evictions == 3);
  CHECK(t.weight_memory_bytes.at(kEdge) == exactly(2e6));
}

TEST_CASE("simulation: weights that find no room wait until a computation ends") {
  // Both ask at once; a computes 10 s, from 0.206 + 0.806 = 1.012 on. b arrives at 1.007 + 0.807 = ... later
  // than that, and is loaded at 11.012.
  Case c(star(), two_layers(), kD0, plan_of({{{0}, kEdge}, {{1}, kD0}}));
  c.add_source(kD1, plan_of({{{0}, kD1}, {{1}, kEdge}}));
  c.platform.edit_host(kEdge).memory_bytes = 2e6;
  c.platform.edit_host(kEdge).power_states[0].speed_flop_per_s = 1e8;
  c.spec.weights_at_start[kEdge] = {};
  c.batch(1);
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 2);
  CHECK(latency(t, 0) == exactly(0.206 + 0.806 + 10 + 1.006 + 1));
  CHECK(latency(t, 1) == exactly(11.012 + 10 + 0.007));
}

TEST_CASE("simulation: a host that goes off loses its weights and the pieces that wait for them") {
  // Off from 1 to 1.5 s. The request that waits since 0.21 is lost and tries again at 4; the weights start
  // anew at 1.5 and are there at 3.11. 0.42 s from 4 on.
  Case c = offloaded();
  c.spec.weights_at_start[kServer] = {};
  c.spec.retries = 1;
  c.spec.retry_wait_s = 3;
  c.spec.changes = {{1, Change::Kind::kHostState, kServer, 0}, {1.5, Change::Kind::kHostState, kServer, 1}};
  Trace t = run(c);
  CHECK(t.requests[0].failures == 1);
  CHECK(latency(t) == exactly(4.42));
  CHECK(*t.last_upload_s == exactly(3.11));
  // With a link that stays off the request is lost, and the run ends.
  c.spec.changes = {{1, Change::Kind::kLinkState, kNet, 0}};
  t = run(c);
  CHECK(t.requests.size() == 1);
  CHECK(t.requests[0].state == RequestState::kInFlight);  // its piece waits for weights that never come
  CHECK(t.uploads == 0);
}

TEST_CASE("simulation: weights that could never arrive are refused") {
  const auto refusal = [](Case& c) -> std::string {
    c.spec.engine.full_solver = false;
    try {
      run_once(c);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  };
  // Both layers, 1.6 MB, beside tensors of 1.2 MB for b alone.
  Case large(pencil(), two_layers(), kDevice, split_plan());
  large.spec.weights_at_start[kServer] = {};
  large.plans[kDevice].uploads = {{{0, 1}, kServer}};
  large.platform.edit_host(kServer).memory_bytes = 2.8e6;
  CHECK(refusal(large) == "no error");
  large.platform.edit_host(kServer).memory_bytes = 2.7e6;
  CHECK(refusal(large) == "policy fixed: \"server\" has no room for weights that it is sent");
  // The device knows only the near server, which has the left branch computed on the far one.
  Case far(Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
      <host id="device" speed="1Gf"><prop id="tier" value="device"/></host>
      <host id="near" speed="1Gf"><prop id="tier" value="edge"/></host>
      <host id="far" speed="1Gf"><prop id="tier" value="cloud"/></host>
      <link id="a" bandwidth="8Mbps" latency="10ms"/><link id="b" bandwidth="8Mbps" latency="10ms"/>
      <route src="device" dst="near"><link_ctn id="a"/></route>
      <route src="near" dst="far"><link_ctn id="b"/></route>
      </zone></platform>)",
                           "far.xml"),
           fork_join(), kDevice, plan_of({{{0}, 1}, {{1}, 2}, {{2, 3}, 1}}));
  CHECK(refusal(far) == "no error");
  far.spec.weights_at_start[2] = {};
  CHECK(refusal(far) == "policy fixed: the weights that \"far\" lacks have no route from \"device\"");
}

// ---- shares of a processor ----

TEST_CASE("simulation: sources with shares of a processor do not wait for each other") {
  // 2 Gflop at 10 Gf take 0.2 s, on a half 0.4, on a quarter 0.8. Two requests of each source at once: the
  // second waits for the first. Inputs of 0.2 MB share each source's link: 0.4 s both, and 6 or 7 ms.
  Plan half = plan_of({{{0, 1}, kEdge}}), quarter = half;
  half.pieces[0].share = 0.5;
  quarter.pieces[0].share = 0.25;
  Case c(star(), two_layers(), kD0, half);
  c.add_source(kD1, quarter);
  c.batch(2);
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 4);
  std::map<int, std::vector<double>> ends;
  for (std::size_t i = 0; i < 4; ++i) ends[t.requests[i].source].push_back(latency(t, i));
  CHECK(ends[0][0] == exactly(0.406 + 0.4 + 0.006));
  CHECK(ends[0][1] == exactly(0.406 + 0.8 + 0.006));
  CHECK(ends[1][0] == exactly(0.407 + 0.8 + 0.007));
  CHECK(ends[1][1] == exactly(0.407 + 1.6 + 0.007));
}

TEST_CASE("simulation: plans may not grant more of a host than it has, nor mix") {
  Plan all = plan_of({{{0, 1}, kServer}});
  all.pieces[0].share = 0.75;
  Case c(star(), two_layers(), kD0, plan_of({{{0, 1}, kEdge}}));
  c.plans[kD0].pieces[0].share = 0.75;
  const auto refusal = [&]() -> std::string {
    try {
      run_once(c);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK(refusal() == "no error");
  c.add_source(kD1, c.plans[kD0]);
  CHECK(refusal() == "no error");  // 1.5 of two cores
  c.add_source(3, c.plans[kD0]);
  CHECK(refusal() == "policy fixed: its plans grant 2.25 of the 2 cores of \"edge\"");
  c.plans[3].pieces[0].share.reset();
  CHECK(refusal() == "policy fixed: its plans use \"edge\" with and without shares");
}

TEST_CASE("simulation: a policy that watches the bandwidth") {
  // 1 MB/s, from 0.7 on 0.1 MB/s, which the policy sees at 1. Every 0.5 s one: those at 0 and 0.5 go away;
  // 0.5 has sent 190 kB by 0.7 and needs 0.1 s more for the rest. The one at 1.2 stays: 2 s.
  Case c = watching(0.5e6);
  c.facts.watches_bandwidth = true;
  c.arrive({0, 0.5, 1.2});
  c.spec.changes = {{0.7, Change::Kind::kBandwidth, kNet, 0.1e6}};
  const Trace t = run(c);
  REQUIRE(t.requests.size() == 3);
  CHECK(latency(t, 0) == exactly(0.42));
  CHECK(latency(t, 1) == exactly(0.01 + 0.19 + 0.1 + 0.2 + 0.01));
  CHECK(latency(t, 2) == exactly(2));
  CHECK(t.replans == 1);
}

TEST_CASE("simulation: a policy that watches arrivals sees the queues") {
  // At 0.3 the server is busy (0.21 to 0.41): the second stays on the device; at 1 it is free.
  Case c = watching();
  c.facts.watches_arrivals = true;
  c.arrive({0, 0.3, 1});
  const Trace t = run(c);
  CHECK(latency(t, 0) == exactly(0.42));
  CHECK(latency(t, 1) == exactly(2));
  CHECK(latency(t, 2) == exactly(0.42));
  CHECK(t.replans == 2);
}

TEST_CASE("simulation: a plan that cannot run is an input error") {
  Case c(pencil(), two_layers(), kDevice, plan_of({{{0}, kDevice}}));
  try {
    run_once(c);
    FAIL("the plan was accepted");
  } catch (const InputError& error) {
    CHECK(std::string(error.what()) ==
          "policy fixed: the plan cannot run: layer \"b\" is computed 0 times, not 1");
  }
  // Also one made in the course of the run.
  class Broken : public Policy {
   public:
    Plan plan(const Problem&) override { return split_plan(); }
    std::optional<Plan> replan(const Problem&, const Observation&) override {
      return plan_of({{{0}, kDevice}});
    }
  };
  c = split();
  c.facts.watches_arrivals = true;
  c.make_policy = [] { return std::make_unique<Broken>(); };
  CHECK_THROWS_AS(run_once(c), InputError);
}

// ---- many at once ----

TEST_CASE("simulation: halves and solver agree where everything happens at once") {
  // Three devices with queues, shared links, failures and changing rates; no closed form, but both must
  // agree.
  Case c(star(), fork_join(), kD0, plan_of({{{0}, kD0}, {{1}, kD0}, {{2}, kEdge}, {{3}, kD0}}));
  const HostId d2 = c.platform.find_host("d2");
  c.add_source(kD1, plan_of({{{0, 1}, kD1}, {{2, 3}, kEdge}}));
  c.add_source(d2, plan_of({{{0, 1, 2, 3}, kEdge}}));
  c.spec.wire.result_bytes.reset();
  c.spec.arrivals.kind = Arrivals::Kind::kPoisson;
  c.spec.arrivals.period_s = 1.5;
  c.spec.requests.reset();
  c.spec.horizon_s = 60;
  c.spec.seed = 11;
  const LinkId backbone = c.platform.find_links("backbone")[0];
  c.spec.changes = {
      {10.3, Change::Kind::kBandwidth, backbone, 1e6}, {20.7, Change::Kind::kLinkState, kL0, 0},
      {22.1, Change::Kind::kLinkState, kL0, 1},        {30.9, Change::Kind::kHostState, kEdge, 0},
      {33.3, Change::Kind::kHostState, kEdge, 1},      {40.2, Change::Kind::kBandwidth, backbone, 5e6}};
  const Trace t = run(c);
  CHECK(t.requests.size() > 60);
  CHECK(count(t, RequestState::kCompleted) > 20);
  CHECK(count(t, RequestState::kLost) > 0);
  CHECK(count(t, RequestState::kInFlight) > 0);
}

// ---- data partition ----

namespace {

// Rows of layer a (100 channels) or b (20) of two_layers().
Region rows(int channels, int begin, int end) {
  return {{0, channels}, {begin, end}, {0, 50}};
}

// Both layers by rows, 0 .. at - 1 on `first`, the others on `second`.
Plan by_rows(int at, HostId first, HostId second) {
  return plan_of({{{0}, first, {{0, rows(100, 0, at)}}},
                  {{0}, second, {{0, rows(100, at, 50)}}},
                  {{1}, first, {{1, rows(20, 0, at)}}},
                  {{1}, second, {{1, rows(20, at, 50)}}}});
}

}  // namespace

TEST_CASE("simulation: two hosts share the rows of two layers and exchange halos") {
  // A window of 10 reads 5 rows before and 4 behind. On the device, upper half: a 0.5 s. On the server: rows
  // 20..49 of the input, 30 * 20 * 50 * 4 B = 120 kB, 0.13 s, then a in 0.05 s: 0.18. Its rows 25..28 of a,
  // 4 * 100 * 50 * 4 B = 80 kB, reach the device at 0.27, before it needs them: b from 0.5 to 1.0. The
  // device's rows 20..24, 100 kB, reach the server at 0.5 + 0.11; b until 0.66. Its half of the result: 0.77.
  Case c(pencil(), two_layers(), kDevice, by_rows(25, kDevice, kServer));
  c.spec.wire.result_bytes.reset();
  Trace t = run(c);
  REQUIRE(t.requests.size() == 1);
  CHECK(latency(t) == exactly(1.0));
  CHECK(t.requests[0].compute_s == exactly(1.0));
  CHECK(t.link_bytes[kNet] == exactly(120e3 + 80e3 + 100e3 + 100e3));
  CHECK(t.hosts[kServer].busy_s == exactly(0.1));
  // A result of 1.2 MB: the server's half is the last to arrive, 0.66 + 0.01 + 0.6. On its path: 0.5 + 0.05 s
  // of computing, 0.11 + 0.61 s of transfers.
  c.spec.wire.result_bytes = 1.2e6;
  t = run(c);
  CHECK(latency(t) == exactly(1.27));
  CHECK(t.requests[0].compute_s == exactly(0.55));
  CHECK(t.requests[0].transfer_s == exactly(0.72));
  // What a policy believes is the same: no two transfers overlap.
  const std::vector<double> bandwidth{1e6};
  CHECK(estimate({c.graph, c.platform, c.model, c.spec.wire, kDevice, 1, bandwidth, {}}, c.plans.at(kDevice))
            .latency_s == exactly(1.27));
}

TEST_CASE("simulation: fused tiles compute their halos") {
  // The device's rows 0..24 of b need rows 0..28 of a: 29/50 + 25/50 s. The server's rows 25..49 need rows
  // 20..49 of a, and those rows 15..49 of the input: 140 kB, 0.15 s; 0.06 + 0.05 s; 100 kB of result, 0.11 s.
  const LayerGraph graph = two_layers();
  const std::vector<LayerId> both{0, 1};
  Case c(pencil(), graph, kDevice,
         plan_of({fused_piece(graph, both, {{1, rows(20, 0, 25)}}, kDevice),
                  fused_piece(graph, both, {{1, rows(20, 25, 50)}}, kServer)}));
  c.spec.wire.result_bytes.reset();
  Trace t = run(c);
  CHECK(latency(t) == exactly(1.08));
  CHECK(t.hosts[kServer].busy_s == exactly(0.11));
  CHECK(t.link_bytes[kNet] == exactly(240e3));
  // Two requests at once: the device is the bottleneck, and each waits for both halves of its result.
  c.batch(2);
  t = run(c);
  CHECK(latency(t, 1) == exactly(2.16));
}

TEST_CASE("simulation: parts of one layer on one host take what they are") {
  // 10 and 40 rows of two layers, all on the device: 0.2 + 0.8 s each.
  Trace t = run(Case(pencil(), two_layers(), kDevice, by_rows(10, kDevice, kDevice)));
  CHECK(latency(t) == exactly(2));
  std::vector<double> took;
  for (const Interval& i : t.intervals) {
    if (i.kind == Interval::Kind::kCompute) took.push_back(i.end_s - i.start_s);
  }
  REQUIRE(took.size() == 4);
  for (std::size_t p = 0; p < 4; ++p) CHECK(took[p] == exactly(p % 2 == 0 ? 0.2 : 0.8));
}

TEST_CASE("simulation: a result in parts that a failure halves is none") {
  // The server goes off while it computes its half of b, from 0.61 on; the device's would have returned
  // at 1.0.
  Case c(pencil(), two_layers(), kDevice, by_rows(25, kDevice, kServer));
  c.spec.changes = {{0.63, Change::Kind::kHostState, kServer, 0}};
  const Trace t = run(c);
  CHECK(t.requests[0].state == RequestState::kLost);
}

TEST_CASE("simulation: a relay gathers parts and passes them on") {
  // Layer a in halves: on the device 0.5 s; on the server 120 kB of input, 0.13 + 0.05 s, its half of 500 kB
  // reaches the device at 0.18 + 0.51 = 0.69. From there all of a, 1 MB, goes to the server, though that has
  // half of it: 1.70. b: 1.80, the result 1.81.
  Plan plan = plan_of({{{0}, kDevice, {{0, rows(100, 0, 25)}}},
                       {{0}, kServer, {{0, rows(100, 25, 50)}}},
                       {{}, kDevice},
                       {{1}, kServer}});
  plan.pieces[2].relays = {0};
  Case c(pencil(), two_layers(), kDevice, plan);
  Trace t = run(c);
  CHECK(latency(t) == exactly(1.81));
  CHECK(t.link_bytes[kNet] == exactly(120e3 + 500e3 + 1e6));
  const std::vector<double> bandwidth{1e6};
  CHECK(estimate({c.graph, c.platform, c.model, c.spec.wire, kDevice, 1, bandwidth, {}}, plan).latency_s ==
        exactly(1.81));
  // The input by way of the server (0.21 s), the output by way of the server: a on the device takes 0.21 + 1,
  // its output reaches the server at 2.22 and returns, no bytes, at 2.23.
  Plan detour = plan_of({{{}, kServer}, {{0}, kDevice}, {{}, kServer}});
  detour.pieces[0].relays = {kInput};
  detour.pieces[2].relays = {0};
  t = run(Case(pencil(), one_layer(), kDevice, detour));
  // 0.21 to the server, 0.21 back, 1 s, 1.01 to the server, 0.01 back.
  CHECK(latency(t) == exactly(2.44));
  CHECK(t.link_bytes[kNet] == exactly(200e3 + 200e3 + 1e6));
  // A relay on a host that is off loses the request.
  Case off(pencil(), one_layer(), kDevice, detour);
  off.spec.changes = {{1.5, Change::Kind::kHostState, kServer, 0}};
  CHECK(run(off).requests[0].state == RequestState::kLost);
}

namespace {

// Layer a in five tiles of ten rows, which read 14, 19, 19, 19 and 15 rows of 4 kB each: 0.2 s each on the
// device, 0.02 s on the server. They wait on the device.
Plan five_tiles(std::vector<HostId> workers, double poll_s = 0) {
  Plan plan;
  for (int i = 0; i < 5; ++i) plan.pieces.push_back({{0}, kDevice, {{0, rows(100, 10 * i, 10 * i + 10)}}});
  plan.stealing = {.pieces = {0, 1, 2, 3, 4}, .workers = std::move(workers), .poll_s = poll_s};
  return plan;
}

// Who computes which piece when, as "host piece start".
std::vector<std::string> computations(const Trace& trace) {
  std::vector<std::string> out;
  for (const Interval& i : trace.intervals) {
    if (i.kind == Interval::Kind::kCompute)
      out.push_back(fmt::format("{} {} {:.3f}", i.resource, i.piece, i.start_s));
  }
  std::ranges::sort(out, {}, [](const std::string& s) { return s.substr(4); });
  return out;
}

}  // namespace

TEST_CASE("simulation: an idle host steals pieces from another's queue") {
  // The device computes tile 0 until 0.2 and tile 3 until 0.4. The server steals tile 1: 76 kB, 0.086 s, and
  // 0.02 s of computing; at 0.106 tile 2, until 0.212; then tile 4: 60 kB, until 0.302.
  Trace t = run(Case(pencil(), one_layer(), kDevice, five_tiles({kDevice, kServer})));
  CHECK(latency(t) == exactly(0.4));
  CHECK(t.link_bytes[kNet] == exactly(76e3 + 76e3 + 60e3));
  CHECK(t.hosts[kDevice].busy_s == exactly(0.4));
  CHECK(t.hosts[kServer].busy_s == exactly(0.06));
  CHECK(computations(t) ==
        std::vector<std::string>{"0 0 0.000", "1 1 0.086", "1 2 0.192", "0 3 0.200", "1 4 0.282"});
  // Of what is on the critical path tile 3 waited 0.2 s in the queue.
  CHECK(t.requests[0].queue_s == exactly(0.2));
  // The server alone, while the owner only hands out: 0.086 + 3 * 0.106 + 0.09 s, and 0.01 for the result.
  t = run(Case(pencil(), one_layer(), kDevice, five_tiles({kServer})));
  CHECK(latency(t) == exactly(0.504));
  CHECK(t.hosts[kDevice].busy_s == 0);
  // Nobody but the owner.
  t = run(Case(pencil(), one_layer(), kDevice, five_tiles({kDevice})));
  CHECK(latency(t) == exactly(1));
  CHECK(t.link_bytes[kNet] == 0);
}

TEST_CASE("simulation: a host that found nothing to steal asks again later") {
  // The server asks at 0, 0.15 and so on; the request comes at 0.1. It steals tile 1 at 0.15, until 0.256,
  // tile 2 until 0.362, and tile 4 until 0.452; the device computes tile 0 and tile 3 until 0.5.
  Case c(pencil(), one_layer(), kDevice, five_tiles({kDevice, kServer}, 0.15));
  c.arrive({0.1, 0.51});
  const Trace t = run(c);
  CHECK(latency(t, 0) == exactly(0.4));
  const std::vector<std::string> all = computations(t);
  REQUIRE(all.size() == 10);
  CHECK(std::vector(all.begin(), all.begin() + 5) ==
        std::vector<std::string>{"0 0 0.100", "1 1 0.236", "0 3 0.300", "1 2 0.342", "1 4 0.432"});
  // It found nothing at 0.452, so asks at 0.602, and steals the second request's tile 1 then.
  CHECK(std::ranges::count(all, "1 1 0.688") == 1);
}

TEST_CASE("simulation: pieces of several owners are stolen by turns") {
  // Two devices of a star, whose cores the plan does not use, each with two tiles of 25 rows; the edge server
  // has two cores: it takes one of each first, then the others.
  const auto plan = [](HostId owner) {
    Plan p = plan_of({{{0}, owner, {{0, rows(100, 0, 25)}}}, {{0}, owner, {{0, rows(100, 25, 50)}}}});
    p.stealing = {.pieces = {0, 1}, .workers = {kEdge}};
    return p;
  };
  Case c(star(), one_layer(), kD0, plan(kD0));
  c.add_source(kD1, plan(kD1));
  c.spec.requests = 2;
  const Trace t = run(c);
  std::vector<std::uint64_t> order;
  for (const Interval& i : t.intervals) {
    if (i.kind == Interval::Kind::kCompute)
      order.push_back(i.request * 10 + static_cast<std::uint64_t>(i.piece));
  }
  // Rows 0..28 and 20..49: 116 and 120 kB over 1 MB/s; the device behind the longer latency comes second.
  CHECK(order == std::vector<std::uint64_t>{0, 10, 1, 11});
}

TEST_CASE("simulation: stolen pieces use what others have computed, or do without") {
  // Tile 0, rows 0..24 of b, needs rows 0..28 of a; tile 1, rows 25..49 of b, reads rows 20..28 of a from it
  // (180 kB) and computes 29..49; alone it computes 20..49.
  const LayerGraph graph = two_layers();
  const std::vector<LayerId> both{0, 1};
  Plan plan = plan_of({fused_piece(graph, both, {{1, rows(20, 0, 25)}}, kDevice),
                       {both, kDevice, {{0, rows(100, 29, 50)}, {1, rows(20, 25, 50)}}}});
  plan.stealing = {
      .pieces = {0, 1}, .workers = {kDevice}, .alone = {{1, fuse(graph, both, {{1, rows(20, 25, 50)}})}}};
  const auto with = [&](std::vector<HostId> workers, std::optional<HostId> store) {
    plan.stealing->workers = std::move(workers);
    plan.stealing->store = store;
    return run(Case(pencil(), graph, kDevice, plan));
  };
  // One after another on the device: 0.58 + 0.5, then 0.42 + 0.5; between them, where there is a store, 0.19
  // s to leave its rows there.
  Trace t = with({kDevice}, {});
  CHECK(latency(t) == exactly(2));
  CHECK(t.link_bytes[kNet] == 0);
  t = with({kDevice}, kServer);
  CHECK(latency(t) == exactly(2.19));
  CHECK(t.link_bytes[kNet] == exactly(180e3));
  // Both at once: the server takes tile 1 at 0 and does without. 140 kB, 0.15 s; 0.06 + 0.05 s; 0.01 s.
  t = with({kDevice, kServer}, {});
  CHECK(latency(t) == exactly(1.08));
  CHECK(t.link_bytes[kNet] == exactly(140e3));
  CHECK(t.hosts[kServer].busy_s == exactly(0.11));
  // The server alone: 132 kB, 0.142 + 0.058 + 0.05 = 0.25 s; 180 kB to the store, 0.19 s; 104 kB, 0.114 s,
  // and 0.042 + 0.05 s; 0.01 s for the result.
  t = with({kServer}, kDevice);
  CHECK(latency(t) == exactly(0.656));
  CHECK(t.link_bytes[kNet] == exactly(132e3 + 180e3 + 104e3));
  // Where tile 1 may not do without, nobody takes it before tile 0 has left its rows: at 1.08 + 0.19 on the
  // server, which reads them there and 104 kB from the device. 0.114 + 0.042 + 0.05 + 0.01 s.
  plan.stealing->alone.clear();
  t = with({kDevice, kServer}, kServer);
  CHECK(computations(t) == std::vector<std::string>{"0 0 0.000", "0 1 1.270"});  // the owner comes first
  // The device fetches nothing, for it computed those rows itself: 1.27 + 0.92.
  CHECK(latency(t) == exactly(2.19));
  t = with({kServer}, {});
  CHECK(latency(t) == exactly(0.25 + 0.114 + 0.092 + 0.01));
}

TEST_CASE("simulation: a host that fails loses what it has stolen, and serves again") {
  Case c(pencil(), one_layer(), kDevice, five_tiles({kDevice, kServer}));
  c.arrive({0, 1});
  c.spec.changes = {{0.09, Change::Kind::kHostState, kServer, 0},
                    {1.1, Change::Kind::kHostState, kServer, 1}};
  const Trace t = run(c);
  // Off while it computes tile 1: the first request is lost, and its other tiles are no longer worked on. Of
  // the second, from 1.0 on, the device computes tile 0 and the server steals from 1.1 on: tile 1 until
  // 1.206, tile 3 until 1.312, tile 4 until 1.402; the device tile 2 from 1.2 until 1.4, and 1.412 arrives.
  CHECK(t.requests[0].state == RequestState::kLost);
  CHECK(latency(t, 1) == exactly(0.412));
  // Lost in mid-transfer: the link fails while the tile is on its way, and the thief is free again.
  Case link(pencil(), one_layer(), kDevice, five_tiles({kDevice, kServer}));
  link.arrive({0, 1});
  link.spec.changes = {{0.05, Change::Kind::kLinkState, kNet, 0}, {0.5, Change::Kind::kLinkState, kNet, 1}};
  const Trace u = run(link);
  CHECK(u.requests[0].state == RequestState::kLost);
  CHECK(latency(u, 1) == exactly(0.4));
  // The thief that then drops all that is left of the lost request ends it: what comes later is not confused
  // with it. The server alone, 0.494 s a request, the second one behind the first: 1.01 to 1.988, and 0.01.
  Case alone(pencil(), one_layer(), kDevice, five_tiles({kServer}));
  alone.arrive({0, 1, 1.01});
  alone.spec.changes = link.spec.changes;
  const Trace v = run(alone);
  CHECK(v.requests[0].state == RequestState::kLost);
  CHECK(latency(v, 1) == exactly(0.504));
  CHECK(latency(v, 2) == exactly(0.988));
  // With a retry the request starts again; nothing of the first try is computed in the second.
  c.spec.retries = 1;
  c.arrive({0});
  const Trace again = run(c);
  CHECK(again.requests[0].failures == 1);
  // Tile 0 of the first try holds the device until 0.2; then five tiles without help.
  CHECK(latency(again) == exactly(0.2 + 5 * 0.2));
}

TEST_CASE("simulation: stealing that cannot work is refused") {
  const auto refusal = [](Plan plan) {
    const Platform platform = pencil();
    const LayerGraph graph = one_layer();
    return error_of([&] { check_plan(graph, platform, kDevice, {}, plan, "policy p"); });
  };
  const auto says = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };
  CHECK(refusal(five_tiles({kDevice, kServer})) == "no error");
  CHECK(says(refusal(five_tiles({})), "nobody takes the pieces that may be stolen"));
  CHECK(says(refusal(five_tiles({7})), "worker host number 7"));
  CHECK(says(refusal(five_tiles({kServer}, -1)), "its workers ask after no proper time"));
  Plan plan = five_tiles({kServer});
  plan.stealing->pieces = {3, 2};
  CHECK(says(refusal(plan), "the pieces that may be stolen are none, or out of order"));
  plan = five_tiles({kServer});
  plan.stealing->alone[0] = {{0, rows(100, 0, 5)}};
  CHECK(says(refusal(plan), "piece 0 alone computes less of layer number 0 than otherwise"));
  plan = five_tiles({kServer});
  plan.pieces[1].share = 0.5;
  CHECK(says(refusal(plan), "have different shares"));
  plan = five_tiles({kServer});
  plan.pieces[0].relays = plan.pieces[1].relays = {0};
  CHECK(says(refusal(plan), "a tensor is relayed twice"));
}

TEST_CASE("simulation: the memory of a worker is that of any piece it may take") {
  // Weights of a: 100 * 20 * 10 * 10 * 4 B = 800 kB, once. A tile of 19 rows of input and 10 of output:
  // 76 + 200 kB. The owner that computes nothing holds nothing.
  const LayerGraph graph = one_layer();
  const auto bytes = plan_memory_bytes(graph, five_tiles({kServer}));
  CHECK(bytes.at(kServer) == exactly(800e3 + 76e3 + 200e3));
  CHECK_FALSE(bytes.contains(kDevice));
  CHECK(plan_memory_bytes(graph, five_tiles({kDevice, kServer})).at(kDevice) == exactly(1076e3));
}
