// What a policy believes against what happens: on an idle platform, with the same latency model on both
// sides, the closed form of a chain plan is the simulation.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "sim/metrics.h"
#include "sim/simulation.h"
#include "sim/sweep.h"
#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

std::vector<std::string> json_or_xml(const std::string& folder, const std::string& extension) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot + "/" + folder)) {
    if (entry.path().extension() == extension) out.push_back(folder + "/" + entry.path().filename().string());
  }
  std::ranges::sort(out);
  return out;
}

// A plan as one chain: each piece receives from one other, or the source, and sends to one. Other plans may
// make two transfers share a link, which the closed form leaves out; with exit rates it is a mean.
bool is_chain(const LayerGraph& graph, const WireFormat& wire, const Plan& plan) {
  if (!plan.exit_rates.empty()) return false;
  std::set<int> senders, receivers;
  for (const PlanEdge& edge : plan_edges(graph, wire, plan)) {
    if (!senders.insert(edge.from).second || !receivers.insert(edge.to).second) return false;
  }
  return true;
}

// The plan for each exit at which requests may stop: (nearly) all of them do. Which one a single request
// draws is otherwise left to chance, and the closed form is the mean.
std::vector<Plan> by_exit(const Plan& plan) {
  if (plan.exit_rates.empty()) return {plan};
  std::vector<Plan> out;
  for (std::size_t exit = 0; exit < plan.exit_rates.size(); ++exit) {
    if (plan.exit_rates[exit] == 0) continue;
    Plan& one = out.emplace_back(plan);
    for (double& rate : one.exit_rates) rate = rate > 0 ? 1e-15 : 0;
    one.exit_rates[exit] = 1;
  }
  return out;
}

// One request on the idle platform: latency, what the source drew above its idle power, and what hosts and
// links charged.
Estimate simulated(const Scene& scene, const Plan& plan, bool full_solver) {
  RunSpec spec = spec_of(scene);
  spec.requests = 1;
  spec.engine.full_solver = full_solver;
  const Json json = run_in_child([&]() -> Json {
    const Trace trace = simulate_plan(spec, plan);
    const HostMeter& meter = trace.hosts[static_cast<std::size_t>(spec.sources[0])];
    const RequestRecord& request = trace.requests.at(0);
    const bool completed = request.state == RequestState::kCompleted;
    return {completed, request.end_s - request.arrival_s, meter.energy_j + meter.radio_energy_j, trace.end_s,
            summarise(spec, trace)["cost_usd"]};
  });
  REQUIRE(json[0].get<bool>());
  const Host& source = scene.platform.host(spec.sources[0]);
  const double idle_w =
      source.power_states[static_cast<std::size_t>(source.power_state)].idle_w + source.radio.idle_w;
  return {json[1].get<double>(), json[2].get<double>() - idle_w * json[3].get<double>(),
          json[4].get<double>()};
}

// `floor_j`: rounding of the total that the idle energy was taken from.
bool agree(const Estimate& a, const Estimate& b, double floor_j) {
  return std::abs(a.latency_s - b.latency_s) <= 1e-6 * b.latency_s &&
         std::abs(a.energy_j - b.energy_j) <= 1e-6 * std::abs(b.energy_j) + floor_j &&
         std::abs(a.cost_usd - b.cost_usd) <= 1e-6 * b.cost_usd;
}

}  // namespace

TEST_CASE("policies: the closed form of a chain plan is the simulation, on every bundled platform") {
  const LatencyModel model = LatencyModel::roofline(kRoot + "/platforms/hardware.json");
  std::vector<LayerGraph> graphs;
  for (const std::string& file : json_or_xml("workloads", ".json"))
    graphs.push_back(LayerGraph::load(kRoot + "/" + file));
  std::vector<std::string> files = json_or_xml("platforms", ".xml");
  files.insert(files.end(), {"tests/fixtures/pencil.xml", "tests/fixtures/star.xml"});
  std::vector<Scene> scenes;
  for (const std::string& file : files)
    scenes.push_back({Platform::load(kRoot + "/" + file), graphs.front(), model});

  std::size_t policy = 0;
  for (const PolicyFacts* facts : registered_policies()) {
    CAPTURE(facts->name);
    ++policy;
    int planned = 0;
    std::size_t platform = 0;
    for (Scene& s : scenes) {
      CAPTURE(s.platform.file());
      ++platform;
      // One source stands for all of its tier.
      const auto device = std::ranges::find(s.platform.hosts(), Tier::kDevice, &Host::tier);
      if (device == s.platform.hosts().end()) continue;
      s.source = device->name;
      for (std::size_t g = 0; g < graphs.size(); ++g) {
        const LayerGraph& graph = graphs[g];
        CAPTURE(graph.name());
        if (planned > 0 && !is_drawn(policy, platform, g)) continue;
        if (!every_host_holds(s.platform, graph)) continue;  // a policy need not know that
        s.graph = graph;
        Plan plan;
        try {
          plan = policy_of(facts->name)->plan(s.problem());
        } catch (const InputError&) {
          continue;  // the platform lacks what the policy needs
        }
        ++planned;
        if (!is_chain(s.graph, s.wire, plan)) continue;
        for (const Plan& one : by_exit(plan)) {
          const Estimate believed = estimate(s.problem(), one);
          const Estimate found = simulated(s, one, false);
          CAPTURE(believed.latency_s);
          CAPTURE(found.latency_s);
          CAPTURE(believed.energy_j);
          CAPTURE(found.energy_j);
          CAPTURE(believed.cost_usd);
          CAPTURE(found.cost_usd);
          CHECK(agree(believed, found, 1e-9));
        }
      }
    }
    CHECK(planned > 0);
  }
}

TEST_CASE("policies: the closed form of every cut of a chain is the simulation") {
  // pencil.xml has all that draws energy: power states, radio by state and by byte; both halves of the
  // engine.
  Scene s = pencil_scene();
  const HostId device = s.host("device"), server = s.host("server");
  const int layers = s.graph.size();
  const auto check = [&](const Plan& plan) {
    CHECK(agree(estimate(s.problem(), plan), simulated(s, plan, false), 1e-12));
    CHECK(agree(estimate(s.problem(), plan), simulated(s, plan, true), 1e-12));
  };
  for (int k = 0; k <= layers; ++k) {
    CAPTURE(k);
    Plan plan = chain_plan(s.graph, 0, k, device, server);
    check(plan);
    check(chain_plan(s.graph, 0, k, server, device));
    if (plan.pieces.size() < 2) continue;
    plan.transforms = {{0, 1, {.ratio = 0.5, .encode_flop = 3e5, .decode_flop = 7e5}},
                       {1, kSourceEnd, {.ratio = 0.25, .encode_flop = 2e5, .decode_flop = 1e5}}};
    check(plan);
  }
  // On shares of both processors.
  Plan shared = chain_plan(s.graph, 0, 1, device, server);
  shared.pieces[0].share = 0.5;
  shared.pieces[1].share = 0.1;
  check(shared);
  // By hand, k = 1: fc_1's 1 Mflop on the device 1 ms; 2000 B at 1 MB/s 2 + 10 ms; 1.5 Mflop on the server
  // 0.15 ms; 1000 B back 1 + 10 ms. Above idle: 1 ms * (3 - 1) W; 2 ms * (2 - 0.1) W + 2000 B * 1 uJ; 1 ms *
  // (1 - 0.1) W + 1000 B * 0.5 uJ. The server's 0.15 ms cost 0.001 USD a second, the 3000 B 1e-9 USD each.
  const Estimate one = estimate(s.problem(), chain_plan(s.graph, 0, 1, device, server));
  CHECK(one.latency_s == doctest::Approx(0.02415).epsilon(1e-12));
  CHECK(one.energy_j == doctest::Approx(2e-3 + 3.8e-3 + 2e-3 + 0.9e-3 + 0.5e-3).epsilon(1e-12));
  CHECK(one.cost_usd == doctest::Approx(0.15e-3 * 1e-3 + 3000 * 1e-9).epsilon(1e-12));

  // In a slower power state, with two cores and an idle, an epsilon and a full power.
  Host& host = s.platform.edit_host(device);
  host.power_states = {{2e9, 1, 2, 6}, {1e9, 0.5, 1, 3}};
  host.power_state = 1;
  host.cores = 2;
  for (int k = 0; k <= layers; ++k) {
    CAPTURE(k);
    check(chain_plan(s.graph, 0, k, device, server));
    check(chain_plan(s.graph, 0, k, server, device));
  }
}

TEST_CASE("policies: the closed form of pieces side by side is the simulation") {
  // left and right of the diamond on two servers whose links nobody shares: fatpipes.
  Scene s = scene("tests/fixtures/pencil.xml", "tests/fixtures/diamond.json");
  std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">)";
  for (const char* name : {"device", "edge", "cloud"}) {
    xml +=
        fmt::format(R"(<host id="{0}" speed="{1}Mf"><prop id="tier" value="{0}"/>)", name, name[0] - 'a' + 1);
    xml += fmt::format(R"(<prop id="price_per_hour" value="{}"/></host>)", name[0] - 'a' + 2);
  }
  const auto link = [](const char* name, int kilobytes, int milliseconds, int price) {
    return fmt::format(
        R"(<link id="{}" bandwidth="{}kBps" latency="{}ms" sharing_policy="FATPIPE"><prop id="price_per_gb" value="{}"/></link>)",
        name, kilobytes, milliseconds, price);
  };
  xml += link("access", 40, 2, 3) + link("wan", 30, 5, 7);
  xml += R"(<route src="device" dst="edge"><link_ctn id="access"/></route>)"
         R"(<route src="device" dst="cloud"><link_ctn id="access"/><link_ctn id="wan"/></route>)"
         R"(<route src="edge" dst="cloud"><link_ctn id="wan"/></route></zone></platform>)";
  s.platform = Platform::parse(xml, "p.xml");
  const auto id = [&](const char* name) { return s.graph.find(name); };
  const HostId device = s.host("device"), edge = s.host("edge"), cloud = s.host("cloud");
  for (const HostId left : {device, edge, cloud}) {
    for (const HostId right : {device, edge, cloud}) {
      for (const HostId join : {device, edge, cloud}) {
        Plan plan;
        plan.exit = 1;
        plan.pieces = {{{id("stem")}, device},
                       {{id("left")}, left},
                       {{id("right")}, right},
                       {{id("join"), id("head")}, join}};
        CHECK(agree(estimate(s.problem(), plan), simulated(s, plan, false), 1e-12));
        CHECK(agree(estimate(s.problem(), plan), simulated(s, plan, true), 1e-12));
      }
    }
  }
}
