// Offline against brute force over all decisions and against the simulation; online and greedy against it.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <functional>

#include "sim/random.h"
#include "sim/simulation.h"
#include "sim/sweep.h"
#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

const std::string kName = "task_stream_inference";

// What an exit and a partition point ask of link, edge host and device.
struct Demand {
  double upload_s = 0, edge_s = 0, download_s = 0, device_s = 0;
  double accuracy = 0;
};

// Two exits of two and three layers: body_1 -> head_1 (early) and body_1 -> body_2 -> head_2 (full). Every
// tensor between layers has 4 elements.
struct Case {
  std::vector<double> device_ms, edge_ms;  // body_1, head_1, body_2, head_2
  double input_bytes = 0, bytes_per_element = 0;
  double early = 0.5, full = 0.9;
  double deadline_s = 0;
  std::vector<double> arrivals_s;

  // 1 kB/s, no latency: a byte takes a millisecond.
  Scene scene() const {
    const char* layers[] = {"body_1", "head_1", "body_2", "head_2"};
    const auto times = [&](const std::vector<double>& ms) {
      Json out = {{"kind", "profile"}, {"source", "test"}, {"unit", "ms"}, {"layers", Json::object()}};
      for (std::size_t i = 0; i < 4; ++i) out["layers"][layers[i]] = ms[i];
      return out;
    };
    const Json graph = {
        {"schema", 1},
        {"name", "stream"},
        {"source", "test"},
        {"precision", "fp32"},
        {"input", {{"shape", {4}}}},
        {"layers",
         {{{"name", "body_1"}, {"kind", "relu"}, {"inputs", {"input"}}},
          {{"name", "head_1"}, {"kind", "relu"}, {"inputs", {"body_1"}}},
          {{"name", "body_2"}, {"kind", "relu"}, {"inputs", {"body_1"}}},
          {{"name", "head_2"}, {"kind", "relu"}, {"inputs", {"body_2"}}}}},
        {"exits",
         {{{"name", "early"}, {"layer", "head_1"}, {"accuracy", early}, {"accuracy_source", "test"}},
          {{"name", "full"}, {"layer", "head_2"}, {"accuracy", full}, {"accuracy_source", "test"}}}}};
    const Json model = {{"schema", 1},
                        {"name", "stream"},
                        {"devices", {{"slow", times(device_ms)}, {"fast", times(edge_ms)}}}};
    Scene s{Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
              <host id="device" speed="1Gf"><prop id="tier" value="device"/><prop id="device_type" value="slow"/></host>
              <host id="edge" speed="1Gf"><prop id="tier" value="edge"/><prop id="device_type" value="fast"/></host>
              <link id="net" bandwidth="1kBps" latency="0s"/>
              <route src="device" dst="edge"><link_ctn id="net"/></route></zone></platform>)",
                            "p.xml"),
            LayerGraph::parse(graph, "g"), LatencyModel::parse(model, "l")};
    s.wire = {.input_bytes = input_bytes, .bytes_per_element = bytes_per_element, .result_bytes = 0};
    s.deadline_s = deadline_s;
    return s;
  }

  std::vector<Demand> demands() const {
    std::vector<Demand> out;
    for (const auto& [path, accuracy] : {std::pair(std::vector<std::size_t>{0, 1}, early),
                                         std::pair(std::vector<std::size_t>{0, 2, 3}, full)}) {
      for (std::size_t k = 0; k <= path.size(); ++k) {
        Demand d{.accuracy = accuracy};
        if (k > 0) d.upload_s = input_bytes * 1e-3;
        if (k > 0 && k < path.size()) d.download_s = 4 * bytes_per_element * 1e-3;
        for (std::size_t i = 0; i < path.size(); ++i) {
          (i < k ? d.edge_s : d.device_s) += (i < k ? edge_ms : device_ms)[path[i]] * 1e-3;
        }
        out.push_back(d);
      }
    }
    return out;
  }
};

// The stages again, written another way: in small steps from event to event, with queues.
double worth(const Case& stream, const std::vector<const Demand*>& chosen) {
  struct Job {
    double stages_s[4];  // link, edge, link, device
    int stage = -1;      // not yet there
    int ticket = 0;      // order in the queue of a host
  };
  std::vector<Job> jobs;
  for (const Demand* d : chosen)
    jobs.push_back({{d->upload_s, d->edge_s, d->download_s, d->device_s}, -1, 0});
  double now = 0, total = 0;
  int tickets = 0;
  const auto enter = [&](std::size_t j) {
    Job& job = jobs[j];
    do ++job.stage;
    while (job.stage < 4 && job.stages_s[job.stage] == 0);
    job.ticket = ++tickets;
    if (job.stage == 4 && now - stream.arrivals_s[j] <= stream.deadline_s) total += chosen[j]->accuracy;
  };
  const auto is_served = [&](const Job& job) {
    return std::ranges::none_of(
        jobs, [&](const Job& other) { return other.stage == job.stage && other.ticket < job.ticket; });
  };
  for (;;) {
    const auto on_link =
        std::ranges::count_if(jobs, [](const Job& job) { return job.stage == 0 || job.stage == 2; });
    std::vector<double> rates;
    double step = std::numeric_limits<double>::infinity();
    std::size_t next = jobs.size();
    for (std::size_t j = 0; j < jobs.size(); ++j) {
      const Job& job = jobs[j];
      const bool link = job.stage == 0 || job.stage == 2, host = job.stage == 1 || job.stage == 3;
      rates.push_back(link ? 1 / static_cast<double>(on_link) : host && is_served(job) ? 1 : 0);
      double left = std::numeric_limits<double>::infinity();
      if (job.stage < 0) left = stream.arrivals_s[j] - now;
      if (rates[j] > 0) left = job.stages_s[job.stage] / rates[j];
      if (left < step) {
        step = left;
        next = j;
      }
    }
    if (next == jobs.size()) return total;
    now += step;
    for (std::size_t j = 0; j < jobs.size(); ++j) {
      if (rates[j] > 0) jobs[j].stages_s[jobs[j].stage] -= step * rates[j];
    }
    if (jobs[next].stage < 0) now = stream.arrivals_s[next];
    enter(next);
  }
}

double brute_force(const Case& stream, bool partitions = true) {
  std::vector<Demand> demands = stream.demands();
  if (!partitions) std::erase_if(demands, [](const Demand& d) { return d.download_s > 0; });
  std::vector<const Demand*> chosen(stream.arrivals_s.size());
  double best = 0;
  const std::function<void(std::size_t)> choose = [&](std::size_t n) {
    if (n == chosen.size()) {
      best = std::max(best, worth(stream, chosen));
      return;
    }
    for (const Demand& d : demands) {
      chosen[n] = &d;
      choose(n + 1);
    }
  };
  choose(0);
  return best;
}

double predicted(const Case& stream) {
  Scene s = stream.scene();
  Problem problem = s.problem();
  problem.arrivals_s = stream.arrivals_s;
  return policy_of(kName)->plan(problem).decision.at("predicted_accuracy") *
         static_cast<double>(stream.arrivals_s.size());
}

// Sum of the accuracies of the requests in time.
double simulated(const RunSpec& spec, const std::string& policy, const Json& parameters) {
  return run_in_child([&]() -> Json {
           const Trace trace =
               simulate(spec, policy_facts(policy, "test"), [&] { return policy_of(policy, parameters); });
           double sum = 0;
           for (const RequestRecord& request : trace.requests) {
             if (request.end_s - request.arrival_s <= spec.deadline_s) sum += *request.accuracy;
           }
           return sum;
         })
      .get<double>();
}

double simulated(const Case& stream, const std::string& mode) {
  const Scene s = stream.scene();
  RunSpec spec = spec_of(s);
  spec.arrivals.kind = Arrivals::Kind::kTrace;
  spec.arrivals.dates_s = stream.arrivals_s;
  spec.requests = static_cast<std::int64_t>(stream.arrivals_s.size());
  return simulated(spec, kName, {{"mode", mode}});
}

// `partitions`: tensors between layers are small and the device is as fast as the edge, so that partitions
// pay.
Case random_stream(Random& random, int requests, bool partitions) {
  Case out;
  for (int i = 0; i < 4; ++i) {
    out.device_ms.push_back(partitions ? 5 + 30 * random.uniform() : 10 + 60 * random.uniform());
    out.edge_ms.push_back(5 + 30 * random.uniform());
  }
  out.input_bytes = partitions ? 5 + 20 * random.uniform() : 20 + 60 * random.uniform();
  out.bytes_per_element = partitions ? 3 * random.uniform() : 1000;
  out.early = 0.5 + 0.2 * random.uniform();
  out.full = out.early + 0.3 * random.uniform();
  out.deadline_s = (partitions ? 0.04 : 0.08) + (partitions ? 0.06 : 0.15) * random.uniform();
  double date = 0;
  for (int i = 0; i < requests; ++i)
    out.arrivals_s.push_back(date += random.exponential(partitions ? 0.02 : 0.06));
  return out;
}

// Edgent's testbed as in experiments/task_stream_inference.json, on a link of 10 Mbit/s.
Scene testbed() {
  Scene s = scene("platforms/pi3_lan_desktop.xml", "workloads/branchy_alexnet.json");
  s.source = "pi3";
  s.model = LatencyModel::load(kRoot + "/platforms/latency/edgent_execution.json");
  s.wire = {.input_bytes = 14500, .bytes_per_element = 8, .result_bytes = 0};
  s.deadline_s = 0.05;
  for (const LinkId link : s.platform.find_links("lan")) s.platform.set_bandwidth(link, 10e6 / 8);
  return s;
}

Observation arrival(double date_s) {
  return {Observation::Kind::kArrival, date_s, [](HostId) { return 0; }, {}, {}};
}

}  // namespace

TEST_CASE("task_stream_inference: three requests by hand") {
  // Upload 40 ms; the edge takes 10 ms for the early exit and 30 for the full one, the device 50 and 90.
  // Deadline 100 ms, arrivals at 0, 10 and 20 ms.
  // - Alone each would go to the edge: full after 70 ms.
  // - Two uploads: 10 ms alone, then each at half speed: the first, 30 ms left, ends at 70, the second, 10
  // left,
  //   at 80. Full at 100 (in time), then the second has until 110: early at 110. All of them go to the edge:
  //   at 20 they have 25, 35 and 40 ms left and end at 95, 115 and 120: early 105 is too late for the first.
  // - So one is for the device, full: 90 ms, and two for the edge: 0.9 + 0.9 + 0.5. Better: first and third
  // on
  //   the edge: 20 ms alone, 20 left of the first: 60; the third has 20 left: 80. Full at 90 and, from there,
  //   at 120 = 20 + 100: all three full.
  const Case stream{.device_ms = {40, 10, 40, 10},
                    .edge_ms = {5, 5, 15, 10},
                    .input_bytes = 40,
                    .bytes_per_element = 1000,
                    .deadline_s = 0.1 + 1e-9,
                    .arrivals_s = {0, 0.01, 0.02}};
  CHECK(predicted(stream) == doctest::Approx(2.7).epsilon(1e-12));
  CHECK(simulated(stream, "offline") == doctest::Approx(2.7).epsilon(1e-12));
  // Greedy: the first to the edge, full at 70 ms. The second would end there at 130 (full) or 110 (early), on
  // the device at 100: full on the device. The third would be done on the edge at 90 + 30 = 120.
  CHECK(simulated(stream, "greedy") == doctest::Approx(2.7).epsilon(1e-12));
}

TEST_CASE("task_stream_inference: what greedy does not see coming") {
  // The device is of no use; the edge takes 5 ms for the early exit and 20 for the full one. Deadline 70 ms.
  // Two uploads of 40 ms, at 0 and 20 ms: 20 ms alone, then shared, they end at 60 and 80 ms. Full the first
  // would end at 80, early both are in time, at 65 and 85. Greedy sees 60 for the first, which is full and
  // late then; the second sees 80 + 20 > 90 and is early, at 85.
  const Case stream{.device_ms = {500, 500, 500, 500},
                    .edge_ms = {2, 3, 8, 10},
                    .input_bytes = 40,
                    .bytes_per_element = 1000,
                    .deadline_s = 0.07,
                    .arrivals_s = {0, 0.02}};
  CHECK(brute_force(stream) == doctest::Approx(1.0));
  CHECK(simulated(stream, "offline") == doctest::Approx(1.0));
  CHECK(simulated(stream, "greedy") == doctest::Approx(0.5));
}

TEST_CASE("task_stream_inference: offline is brute force, and what happens") {
  Random random(49);
  for (int i = 0; i < 120; ++i) {
    CAPTURE(i);
    const Case stream = random_stream(random, i % 60 == 0 ? 5 : i % 3 == 0 ? 4 : 3, false);
    const double best = brute_force(stream);
    CHECK(predicted(stream) == doctest::Approx(best).epsilon(1e-9));
    if (i % 3 == 0) CHECK(simulated(stream, "offline") == doctest::Approx(best).epsilon(1e-9));
  }
}

TEST_CASE("task_stream_inference: offline with partitions, where requests may overtake") {
  Random random(50);
  int worse = 0, partitioned = 0;
  double largest = 0, greedy_gap = 0;
  constexpr int kStreams = 120;
  for (int i = 0; i < kStreams; ++i) {
    CAPTURE(i);
    const Case stream = random_stream(random, i % 3 == 0 ? 4 : 3, true);
    const double best = brute_force(stream), found = predicted(stream);
    CHECK(found <= best + 1e-9);
    partitioned += brute_force(stream, false) < best - 1e-9;
    worse += found < best - 1e-9;
    if (best > 0) largest = std::max(largest, 1 - found / best);
    if (i % 3 != 0) continue;
    CHECK(simulated(stream, "offline") == doctest::Approx(found).epsilon(1e-9));
    if (best > 0) greedy_gap += (1 - simulated(stream, "greedy") / best) / (kStreams / 3);
  }
  MESSAGE(
      fmt::format("offline below brute force in {} of {} streams, by {:.1f} % at most; partitions pay in {}; "
                  "greedy is {:.1f} % below in the mean",
                  worse, kStreams, 100 * largest, partitioned, 100 * greedy_gap));
  CHECK(partitioned > 0);
  CHECK(largest <= 0.1);
}

TEST_CASE("task_stream_inference: few states are quick and no longer exact") {
  Scene s = testbed();
  Random random(51);
  std::vector<double> arrivals_s{0};
  while (arrivals_s.size() < 100) arrivals_s.push_back(arrivals_s.back() + random.exponential(1.0 / 60));
  Problem problem = s.problem();
  problem.arrivals_s = arrivals_s;
  const auto planned = [&](int states) {
    return policy_of(kName, {{"states", states}})->plan(problem).decision;
  };
  CHECK(planned(1).at("states") == 1);
  CHECK(planned(5000).at("states") < 5000);
  CHECK(planned(1).at("predicted_accuracy") < planned(5000).at("predicted_accuracy"));
}

TEST_CASE("task_stream_inference: offline, online, greedy and Edgent on held-out streams") {
  const Scene s = testbed();
  double sums[4] = {};
  for (const std::uint64_t seed : {201, 202, 203}) {
    RunSpec spec = spec_of(s);
    spec.arrivals.kind = Arrivals::Kind::kPoisson;
    spec.arrivals.period_s = 1.0 / 40;
    spec.requests = 200;
    spec.seed = seed;
    const double found[] = {
        simulated(spec, kName, {{"mode", "offline"}}), simulated(spec, kName, {{"mode", "online"}}),
        simulated(spec, kName, {{"mode", "greedy"}}), simulated(spec, "edgent", {{"search", "argmin"}})};
    CHECK(found[0] > found[1]);
    for (int i = 0; i < 4; ++i) sums[i] += found[i] / 600;
  }
  MESSAGE(fmt::format(
      "40 requests a second: accuracy in time {:.4f} offline, {:.4f} online, {:.4f} greedy, {:.4f} "
      "Edgent",
      sums[0], sums[1], sums[2], sums[3]));
  CHECK(sums[1] > sums[2]);
  CHECK(sums[2] > sums[3]);
}

TEST_CASE(
    "task_stream_inference: trained networks against the clairvoyant optimum, at a constant bandwidth") {
  // Streams of seeds that nobody learned from. The networks learned on changing links; "offline" knows the
  // arrivals and is the dynamic program.
  struct Decider {
    const char* label;
    std::string policy;
    Json parameters;
  };
  const auto online = [](const char* network) { return Json{{"mode", "online"}, {"network", network}}; };
  const Decider deciders[] = {
      {"offline", kName, Json{{"mode", "offline"}}},   {"table", kName, online("")},
      {"dqn", kName, online("task_stream_dqn")},       {"ppo", kName, online("task_stream_ppo")},
      {"greedy", kName, Json{{"mode", "greedy"}}},     {"random", "random", Json::object()},
      {"edge_exit_5", "edge_only", Json{{"exit", 5}}}, {"edge_exit_1", "edge_only", Json{{"exit", 1}}}};
  for (const double rate_per_s : {4.0, 8.0}) {
    Scene s = testbed();
    s.deadline_s = 0.3;
    for (const LinkId link : s.platform.find_links("lan")) s.platform.set_bandwidth(link, 1e6 / 8);
    std::map<std::string, double> worth;
    for (const std::uint64_t seed : {201, 202, 203}) {
      RunSpec spec = spec_of(s);
      spec.arrivals.kind = Arrivals::Kind::kPoisson;
      spec.arrivals.period_s = 1 / rate_per_s;
      spec.requests = 200;
      spec.seed = seed;
      for (const Decider& d : deciders) worth[d.label] += simulated(spec, d.policy, d.parameters) / 600;
    }
    std::string text;
    for (const Decider& d : deciders) {
      text += fmt::format("; {} {:.4f} ({:.4f} below)", d.label, worth[d.label],
                          worth["offline"] - worth[d.label]);
    }
    MESSAGE(fmt::format("{} requests a second at 1 Mbit/s: accuracy in time{}", rate_per_s, text));
    for (const char* learned : {"table", "dqn", "ppo"}) {
      CAPTURE(learned);
      CHECK(worth[learned] <= worth["offline"]);
      CHECK(worth[learned] > worth["random"]);
      // At 4 a second uploads of 116 ms seldom meet, and the edge alone is nearly as good.
      if (rate_per_s > 4) CHECK(worth[learned] > std::max(worth["edge_exit_1"], worth["edge_exit_5"]));
    }
  }
}

TEST_CASE("task_stream_inference: alone, greedy is Edgent") {
  Scene s = testbed();
  for (const double deadline_s : {0.02, 0.023, 0.0245, 0.05, 1.0, 3.0}) {
    CAPTURE(deadline_s);
    s.deadline_s = deadline_s;
    const Plan greedy = plan_of(s, kName, {{"mode", "greedy"}});
    const Plan edgent = plan_of(s, "edgent", {{"search", "argmin"}});
    CHECK(greedy.decision.at("exit") == edgent.decision.at("exit"));
    CHECK(greedy.decision.at("partition_point") == edgent.decision.at("partition_point"));
  }
}

TEST_CASE("task_stream_inference: a decision for each arrival, told only when it changes") {
  Scene s = testbed();
  const auto policy = policy_of(kName, {{"mode", "greedy"}});
  CHECK(policy->plan(s.problem()).exit == 4);
  // 14500 B at 10 Mbit/s are 11.6 ms, the full exit 14.7 ms: the first ends at 26.3 ms.
  CHECK(!policy->replan(s.problem(), arrival(0)));
  CHECK(!policy->replan(s.problem(), arrival(0.02)));
  // Another at the same date: both uploads end at 43.2 ms, and the full exit of the first of them at 57.9.
  // The second has 12.1 ms left for the edge until its 70.
  int expected = 0;
  for (int exit = 0; exit < 5; ++exit) {
    const double edge_s =
        s.model.piece_s(s.graph, s.graph.exit_layers(exit), s.platform.host(s.host("desktop")), 1);
    if (edge_s <= 0.0121) expected = exit;
  }
  CHECK(expected < 4);
  const std::optional<Plan> third = policy->replan(s.problem(), arrival(0.02));
  REQUIRE(third);
  CHECK(third->exit == expected);
  // Long after the platform is idle again.
  const std::optional<Plan> last = policy->replan(s.problem(), arrival(10));
  REQUIRE(last);
  CHECK(last->exit == 4);
}

TEST_CASE("task_stream_inference: online learns the same from the same seed") {
  Scene s = testbed();
  const auto decisions = [&](std::uint64_t seed) {
    s.seed = seed;
    const auto policy = policy_of(kName, {{"mode", "online"}, {"episodes", 20}});
    std::vector<int> exits{policy->plan(s.problem()).exit};
    for (int i = 0; i < 40; ++i) {
      const std::optional<Plan> plan = policy->replan(s.problem(), arrival(0.011 * i));
      exits.push_back(plan ? plan->exit : exits.back());
    }
    return exits;
  };
  CHECK(decisions(1) == decisions(1));
  CHECK(decisions(1) != decisions(2));
}

TEST_CASE("task_stream_inference: without accuracies all exits count as 1") {
  // The least work is as good as any: an early exit, where Edgent takes the deepest.
  Scene s = scene("platforms/edge_device.xml", "workloads/branchynet_alexnet.json");
  s.model = LatencyModel::roofline(kRoot + "/platforms/hardware.json");
  s.source = s.platform.hosts()[0].name;
  for (const Host& host : s.platform.hosts()) {
    if (host.tier == Tier::kDevice) s.source = host.name;
  }
  s.deadline_s = 100;
  CHECK(plan_of(s, kName).exit == 0);
}

TEST_CASE("task_stream_inference: errors") {
  CHECK(input_error([] { policy_of(kName, {{"episodes", 0}}); }).find("/episodes") != std::string::npos);
  CHECK(input_error([] { policy_of(kName, {{"states", 0}}); }).find("/states") != std::string::npos);
  Scene s = scene("platforms/pi3_uplink_cloud.xml", "workloads/alexnet.json");
  s.source = "pi3";
  CHECK(input_error([&] { plan_of(s, kName); }).find("tier edge") != std::string::npos);
}
