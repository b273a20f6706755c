#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <set>

#include "policies/shared/placement.h"
#include "sim/random.h"
#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

// The policy's T and E and the server's seconds of one placement, term by term from the definition; layers,
// transfers and powers asked of the problem one at a time.
PlacementCost cost_of(const Problem& problem, int exit, HostId server, unsigned on_server) {
  const std::span<const LayerId> layers = problem.graph.exit_layers(exit);
  const Host& source = problem.platform.host(problem.source);
  const PowerState& power = source.power_states[static_cast<std::size_t>(source.power_state)];
  const double busy_w = power.epsilon_w + (power.all_cores_w - power.epsilon_w) / source.cores - power.idle_w;
  const auto side = [&](std::size_t i) { return (on_server >> i & 1U) != 0; };
  PlacementCost cost;
  const auto move = [&](double bytes, bool up) {
    const HostId from = up ? problem.source : server, to = up ? server : problem.source;
    const double transfer_s = problem.transfer_s(bytes, from, to);
    const double data_s = transfer_s - problem.transfer_s(0, from, to);
    const Radio& radio = source.radio;
    cost.latency_s += transfer_s;
    cost.energy_j += up ? data_s * (radio.tx_w - radio.idle_w) + bytes * radio.tx_j_per_byte
                        : data_s * (radio.rx_w - radio.idle_w) + bytes * radio.rx_j_per_byte;
  };
  for (std::size_t begin = 0, end = 0; begin < layers.size(); begin = end) {
    while (end < layers.size() && side(end) == side(begin)) ++end;
    const std::span<const LayerId> piece = layers.subspan(begin, end - begin);
    const HostId host = side(begin) ? server : problem.source;
    const Host& h = problem.platform.host(host);
    const double compute_s = problem.compute_s(piece, host) * h.power_states[0].speed_flop_per_s /
                             h.power_states[static_cast<std::size_t>(h.power_state)].speed_flop_per_s;
    cost.latency_s += compute_s;
    (side(begin) ? cost.server_s : cost.energy_j) += side(begin) ? compute_s : compute_s * busy_w;
    std::set<LayerId> read;
    for (const LayerId layer : piece) {
      for (const LayerId input : problem.graph.layer(layer).inputs) read.insert(input);
    }
    for (const LayerId tensor : read) {
      if (tensor == kInput) {
        if (side(begin)) move(problem.wire.input_bytes.value_or(problem.graph.input_bytes()), true);
        continue;
      }
      const auto i = static_cast<std::size_t>(std::ranges::find(layers, tensor) - layers.begin());
      if (side(i) != side(begin)) move(tensor_bytes(problem.graph, problem.wire, tensor), side(begin));
    }
  }
  if (side(layers.size() - 1)) {
    move(problem.wire.result_bytes.value_or(tensor_bytes(problem.graph, problem.wire, layers.back())), false);
  }
  return cost;
}

// Fully connected layers, or convolutions and sums with skips over random earlier tensors: up to 11 layers.
Json random_graph(Random& random, bool chain) {
  const int n = 1 + random.below(10);
  std::vector<std::string> loose;
  Json layers = Json::array();
  const auto add = [&](Json layer, const std::vector<std::string>& inputs) {
    layer["name"] = fmt::format("l{}", layers.size());
    layer["inputs"] = inputs;
    for (const std::string& input : inputs) std::erase(loose, input);
    loose.push_back(layer["name"]);
    layers.push_back(layer);
  };
  for (int i = 0; i < n; ++i) {
    if (chain) {
      add({{"kind", "fc"}, {"output", {1 + random.below(300)}}},
          {i == 0 ? "input" : fmt::format("l{}", i - 1)});
      continue;
    }
    const auto tensor = [&] {
      const int t = random.below(i + 1);
      return t == 0 ? std::string("input") : fmt::format("l{}", t - 1);
    };
    const std::string a = i > 0 && random.below(2) == 0 ? fmt::format("l{}", i - 1) : tensor(), b = tensor();
    if (a != b && random.below(3) == 0) {
      add({{"kind", "add"}}, {a, b});
    } else {
      const int kernel = 1 + 2 * random.below(3);
      const int p = kernel / 2;
      add({{"kind", "conv"}, {"kernel", {kernel, kernel}}, {"padding", {p, p, p, p}}, {"output", {2, 4, 4}}},
          {a});
    }
  }
  if (loose.size() > 1) add({{"kind", "concat"}}, std::vector<std::string>(loose));
  return {{"schema", 1},
          {"name", "random"},
          {"source", "test"},
          {"precision", "fp32"},
          {"input", {{"shape", chain ? Json{200} : Json{2, 4, 4}}}},
          {"layers", layers}};
}

// Speeds, rates and powers such that every side pays now and then; one model in two pays before each piece.
Scene random_scene(Random& random, bool chain) {
  const auto between = [&](double low, double high) {
    return low * std::exp(random.uniform() * std::log(high / low));
  };
  std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">)";
  for (const char* name : {"device", "cloud"}) {
    const double speed = between(1e6, 1e8);
    xml += fmt::format(
        R"(<host id="{0}" speed="{1}f,{2}f" pstate="{3}" core="{4}"><prop id="tier" value="{0}"/>)", name,
        speed, speed / 2, random.below(2), 1 + random.below(2));
    if (random.below(2) == 0) xml += fmt::format(R"(<prop id="device_type" value="{}"/>)", name);
    xml += fmt::format(R"(<prop id="wattage_per_state" value="1:1.5:{0},1:1.2:{0}"/>)", between(2, 20));
    xml += fmt::format(R"(<prop id="wattage_radio" value="0.1:{}:{}"/>)", between(0.1, 2), between(0.1, 2));
    xml += fmt::format(R"(<prop id="joule_per_byte_radio" value="{}:{}"/></host>)", between(1e-8, 1e-5),
                       between(1e-8, 1e-5));
  }
  const double latency_s = random.below(2) == 0 ? 0 : between(1e-6, 1e-3);
  for (const char* name : {"up", "down"}) {
    xml +=
        fmt::format(R"(<link id="{}" bandwidth="{}Bps" latency="{}s"/>)", name, between(1e5, 1e8), latency_s);
  }
  xml +=
      R"(<route src="device" dst="cloud" symmetrical="NO"><link_ctn id="up"/></route>)"
      R"(<route src="cloud" dst="device" symmetrical="NO"><link_ctn id="down"/></route></zone></platform>)";

  const auto device = [&] {
    Json terms;
    for (const char* kind : {"conv", "fc", "add", "concat"}) {
      terms[kind] = {{"constant", between(1e-3, 1)}, {"output_elements", between(1e-5, 1e-2)}};
    }
    return Json{{"kind", "regression"},
                {"source", "test"},
                {"unit", "ms"},
                {"run", {{"constant", between(1e-3, 1)}, {"per_weight_byte", between(1e-9, 1e-5)}}},
                {"terms", terms}};
  };
  Scene s{Platform::parse(xml, "p.xml"), LayerGraph::parse(random_graph(random, chain), "g"),
          LatencyModel::parse(
              {{"schema", 1}, {"name", "random"}, {"devices", {{"device", device()}, {"cloud", device()}}}},
              "l")};
  if (random.below(2) == 0) s.wire.input_bytes = between(10, 10000);
  if (random.below(2) == 0) s.wire.bytes_per_element = between(0.5, 8);
  if (random.below(2) == 0) s.wire.result_bytes = random.below(100);
  return s;
}

bool agree(double a, double b) {
  return std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)) + 1e-15;
}

// Two layers of 0.2 Mflop on a device of 0.2 Mflop/s and a cloud of 2 Mflop/s; 4000 B input, 400 B between
// them, 4000 B result, 1 kB/s up, 10 kB/s down, no latency. Computing costs 2 W above idle, sending 1 W,
// receiving 0.5 W.
Scene hourglass() {
  const Json graph = {
      {"schema", 1},
      {"name", "hourglass"},
      {"source", "test"},
      {"precision", "fp32"},
      {"input", {{"shape", {1000}}}},
      {"layers",
       {{{"name", "in"}, {"kind", "fc"}, {"inputs", {"input"}}, {"output", {100}}, {"bias", false}},
        {{"name", "out"}, {"kind", "fc"}, {"inputs", {"in"}}, {"output", {1000}}, {"bias", false}}}}};
  Scene s{Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
    <host id="device" speed="200kf"><prop id="tier" value="device"/>
      <prop id="wattage_per_state" value="1:3"/><prop id="wattage_radio" value="0:1:0.5"/></host>
    <host id="server" speed="2Mf"><prop id="tier" value="cloud"/></host>
    <link id="up" bandwidth="1kBps" latency="0s"/><link id="down" bandwidth="10kBps" latency="0s"/>
    <route src="device" dst="server" symmetrical="NO"><link_ctn id="up"/></route>
    <route src="server" dst="device" symmetrical="NO"><link_ctn id="down"/></route>
    </zone></platform>)",
                          "p.xml"),
          LayerGraph::parse(graph, "g")};
  return s;
}

}  // namespace

// Each layer has 0.2 Mflop: 1 s on the device, 0.1 s on the server. By placement of (in, out):
//   device, device   2 s                                      4 J
//   device, server   1 + 0.4 up + 0.1 + 0.4 down = 1.9 s      2 + 0.4 + 0.2 = 2.6 J
//   server, device   4 + 0.1 + 0.04 + 1 = 5.14 s              4 + 0.02 + 2 = 6.02 J
//   server, server   4 + 0.2 + 0.4 = 4.6 s                    4 + 0.2 = 4.2 J
TEST_CASE("jointdnn: closed form of an hourglass") {
  Scene s = hourglass();
  const Plan fastest = plan_of(s, "jointdnn");
  REQUIRE(fastest.pieces.size() == 2);
  CHECK(fastest.pieces[1].host == s.host("server"));
  CHECK(fastest.decision.at("device_layers") == 1);
  CHECK(fastest.decision.at("switches") == 1);
  CHECK(fastest.decision.at("predicted_latency_s") == doctest::Approx(1.9));
  CHECK(fastest.decision.at("predicted_energy_j") == doctest::Approx(2.6));
  CHECK(fastest.decision.at("improvement") == doctest::Approx(0.05));
  const Plan thriftiest = plan_of(s, "jointdnn", {{"objective", "energy"}});
  CHECK(thriftiest.pieces.size() == 2);
  CHECK(thriftiest.decision.at("improvement") == doctest::Approx(1 - 2.6 / 4));
}

TEST_CASE("jointdnn: bounds, and what is done where nothing keeps them") {
  Scene s = hourglass();
  // A server that may work for less than 0.1 s a request leaves the device alone.
  Plan plan = plan_of(s, "jointdnn", {{"server_bound", "99ms"}});
  CHECK(plan.decision.at("device_layers") == 2);
  CHECK(plan.decision.at("keeps_bounds") == 1);
  CHECK(plan_of(s, "jointdnn", {{"server_bound", "100ms"}}).decision.at("device_layers") == 1);
  // 2.5 J are too few: the thriftiest plan, which takes 2.6 J.
  plan = plan_of(s, "jointdnn", {{"energy_bound", 2.5}});
  CHECK(plan.decision.at("predicted_energy_j") == doctest::Approx(2.6));
  CHECK(plan.decision.at("keeps_bounds") == 0);
  // A device ten times as fast at 100 W: alone it takes 0.2 s and 20 J; layer `out` on the server 1 s and
  // 10 + 0.6 J, both there 4.6 s and 4.2 J; `in` there and back 4.24 s and 14.02 J.
  Host& device = s.platform.edit_host(s.host("device"));
  device.power_states[0].speed_flop_per_s = 2e6;
  device.power_states[0].epsilon_w = device.power_states[0].all_cores_w = 101;
  CHECK(plan_of(s, "jointdnn").decision.at("device_layers") == 2);
  CHECK(plan_of(s, "jointdnn", {{"energy_bound", 10.7}}).decision.at("predicted_latency_s") ==
        doctest::Approx(1.0));
  CHECK(plan_of(s, "jointdnn", {{"energy_bound", 10.5}}).decision.at("predicted_latency_s") ==
        doctest::Approx(4.6));
  const Json energy = {{"objective", "energy"}};
  CHECK(plan_of(s, "jointdnn", energy).decision.at("predicted_energy_j") == doctest::Approx(4.2));
  s.deadline_s = 2;
  CHECK(plan_of(s, "jointdnn", energy).decision.at("predicted_energy_j") == doctest::Approx(10.6));
  s.deadline_s = 0.1;
  plan = plan_of(s, "jointdnn", energy);
  CHECK(plan.decision.at("predicted_latency_s") == doctest::Approx(0.2));
  CHECK(plan.decision.at("keeps_bounds") == 0);
  CHECK(input_error([&] {
          plan_of(s, "jointdnn", {{"energy_bound", -1}});
        }).starts_with("p.json: /energy_bound: -1"));
  CHECK(input_error([&] {
          plan_of(s, "jointdnn", {{"objective", "energy"}, {"energy_bound", 1}});
        }).starts_with("p.json: /energy_bound: 1: bounds objective latency only"));
}

TEST_CASE("jointdnn: best of all placements of random chains and DAGs, with and without bounds") {
  Random random(20180108);
  int switched_twice = 0, bounded = 0, kept_none = 0, moved_by_bound = 0;
  constexpr PlacementGraph::Objective kLatency = &PlacementCost::latency_s,
                                      kEnergy = &PlacementCost::energy_j;
  for (int i = 0; i < 240; ++i) {
    CAPTURE(i);
    const bool chain = i % 2 == 0;
    Scene s = random_scene(random, chain);
    const Problem problem = s.problem();
    const HostId server = s.host("cloud");
    const std::size_t n = s.graph.exit_layers(0).size();
    REQUIRE(n <= 11);
    std::vector<PlacementCost> all;
    for (unsigned bits = 0; bits < 1U << n; ++bits) all.push_back(cost_of(problem, 0, server, bits));

    const PlacementGraph graph(problem, 0, server);
    for (unsigned bits = 0; bits < all.size(); ++bits) {
      std::vector<char> on_server;
      for (std::size_t l = 0; l < n; ++l) on_server.push_back(static_cast<char>(bits >> l & 1U));
      const PlacementCost cost = graph.of(on_server).cost;
      const bool right = agree(cost.latency_s, all[bits].latency_s) &&
                         agree(cost.energy_j, all[bits].energy_j) && agree(cost.server_s, all[bits].server_s);
      if (!right) FAIL_CHECK("placement ", bits, ": ", cost.latency_s, " s, not ", all[bits].latency_s);
    }
    for (const bool by_energy : {false, true}) {
      CAPTURE(by_energy);
      const auto objective = by_energy ? kEnergy : kLatency;
      const auto other = by_energy ? kLatency : kEnergy;
      const PlacementCost least = *std::ranges::min_element(all, {}, objective);
      const Json parameters = {{"objective", by_energy ? "energy" : "latency"}};
      const Plan plan = plan_of(s, "jointdnn", parameters);
      const double predicted = plan.decision.at(by_energy ? "predicted_energy_j" : "predicted_latency_s");
      CHECK_MESSAGE(agree(predicted, least.*objective), predicted, " ", least.*objective);
      // What the policy believes is what the plan costs.
      const Estimate expected = estimate(problem, plan);
      CHECK(agree(plan.decision.at("predicted_energy_j"), expected.energy_j));
      if (chain) CHECK(agree(plan.decision.at("predicted_latency_s"), expected.latency_s));
      CHECK(expected.latency_s <= plan.decision.at("predicted_latency_s") * (1 + 1e-12));
      switched_twice += plan.pieces.size() > 2;

      // Bounds between the extremes of all placements; in one case of four a bound that nothing keeps.
      const PlacementGraph::Objective criteria[] = {other, &PlacementCost::server_s};
      PlacementBounds bounds;
      double* const limits[] = {by_energy ? &bounds.latency_s : &bounds.energy_j, &bounds.server_s};
      const int which = 1 + random.below(3);
      for (int c = 0; c < 2; ++c) {
        if ((which >> c & 1) == 0) continue;
        double low = std::numeric_limits<double>::infinity(), high = 0;
        for (const PlacementCost& cost : all) {
          low = std::min(low, cost.*criteria[c]);
          high = std::max(high, cost.*criteria[c]);
        }
        const double at_most = std::min(high, least.*criteria[c]);
        *limits[c] = low + (random.uniform() - 0.25 * (c == 0)) * (at_most - low);
      }
      const auto keeps = [&](const PlacementCost& cost) {
        return cost.latency_s <= bounds.latency_s && cost.energy_j <= bounds.energy_j &&
               cost.server_s <= bounds.server_s;
      };
      std::optional<PlacementCost> wanted;
      for (const PlacementCost& cost : all) {
        if (keeps(cost) && (!wanted || cost.*objective < (*wanted).*objective)) wanted = cost;
      }
      const std::optional<Placement> found = graph.best(objective, bounds);
      REQUIRE(found.has_value() == wanted.has_value());
      ++bounded;
      kept_none += !wanted;
      if (!wanted) continue;
      CHECK_MESSAGE(agree(found->cost.*objective, (*wanted).*objective), found->cost.*objective, " ",
                    (*wanted).*objective);
      unsigned bits = 0;
      for (std::size_t l = 0; l < n; ++l) bits |= static_cast<unsigned>(found->on_server[l]) << l;
      CHECK(agree(found->cost.latency_s, all[bits].latency_s));
      CHECK(agree(found->cost.energy_j, all[bits].energy_j));
      CHECK(agree(found->cost.server_s, all[bits].server_s));
      moved_by_bound += found->cost.*objective > least.*objective * (1 + 1e-9);
    }
  }
  // That the cases are hard enough.
  CHECK(switched_twice > 15);
  CHECK(bounded == 480);
  CHECK(kept_none > 20);
  CHECK(moved_by_bound > 100);
}

TEST_CASE("jointdnn: up and back again where that pays") {
  // The two layers in the middle are dear to compute between tensors that are cheap to send.
  Scene s = hourglass();
  const Json layer = {{"kind", "fc"}, {"bias", false}};
  Json layers = Json::array();
  for (const auto& [name, input, width] :
       {std::tuple("in", "input", 10), std::tuple("wide", "in", 20000), std::tuple("narrow", "wide", 10),
        std::tuple("out", "narrow", 1000)}) {
    Json next = layer;
    next["name"] = name;
    next["inputs"] = {input};
    next["output"] = {width};
    layers.push_back(next);
  }
  s.graph = LayerGraph::parse({{"schema", 1},
                               {"name", "bow"},
                               {"source", "test"},
                               {"precision", "fp32"},
                               {"input", {{"shape", {1000}}}},
                               {"layers", layers}},
                              "g");
  // in 20 kflop 0.1 s; wide and narrow 400 kflop each, 2 s on the device, 0.2 s on the server; out 20 kflop;
  // 40 B up 0.04 s, 40 B down 0.004 s: 0.1 + 0.04 + 0.4 + 0.004 + 0.1, against 0.4 s for the result.
  const Plan plan = plan_of(s, "jointdnn");
  CHECK(plan.decision.at("switches") == 2);
  CHECK(plan.decision.at("device_layers") == 2);
  CHECK(plan.decision.at("predicted_latency_s") == doctest::Approx(0.644));
  CHECK(estimate(s.problem(), plan).latency_s == doctest::Approx(0.644));
}

TEST_CASE("jointdnn: follows the bandwidth") {
  Scene s = hourglass();
  s.problem();
  const std::unique_ptr<Policy> policy = policy_of("jointdnn");
  const Observation observation{Observation::Kind::kBandwidth, 1, {}, {}, {}};
  CHECK(policy->plan(s.problem()).decision.at("device_layers") == 1);
  CHECK_FALSE(policy->replan(s.problem(), observation));  // nothing has changed
  s.bandwidth_bytes_per_s = {1.01e3, 1e4};
  CHECK_FALSE(policy->replan(s.problem(), observation));  // not enough to matter
  s.bandwidth_bytes_per_s = {1e4, 1e4};                   // all on the server: 0.4 + 0.2 + 0.4 s
  const std::optional<Plan> plan = policy->replan(s.problem(), observation);
  REQUIRE(plan);
  CHECK(plan->decision.at("device_layers") == 0);
  CHECK(*plan == plan_of(s, "jointdnn"));
  s.bandwidth_bytes_per_s = {1e4, 1e2};  // the result's way back, 40 s
  CHECK(policy->replan(s.problem(), observation)->decision.at("device_layers") == 2);
}

TEST_CASE("jointdnn: more tensors in the air than can be told apart") {
  // Thirty tensors that the last layer joins: 2^30 situations, of which the likely ones are kept.
  Json layers = Json::array(), names = Json::array();
  for (int i = 0; i < 30; ++i) {
    names.push_back(fmt::format("l{}", i));
    layers.push_back(
        {{"name", names.back()}, {"kind", "fc"}, {"inputs", {"input"}}, {"output", {1}}, {"bias", false}});
  }
  layers.push_back({{"name", "join"}, {"kind", "concat"}, {"inputs", names}});
  Scene s = hourglass();
  s.graph = LayerGraph::parse({{"schema", 1},
                               {"name", "broom"},
                               {"source", "test"},
                               {"precision", "fp32"},
                               {"input", {{"shape", {1000}}}},
                               {"layers", layers}},
                              "g");
  const PlacementGraph graph(s.problem(), 0, s.host("server"));
  CHECK(graph.nodes() <= 31 * 20000 + 1);
  const double best_s = graph.best(&PlacementCost::latency_s).cost.latency_s;
  // 2 kflop a layer: 0.3 s on the device alone.
  CHECK(best_s <= graph.whole(false).cost.latency_s);
  CHECK(graph.whole(false).cost.latency_s == doctest::Approx(0.3));
  CHECK(plan_of(s, "jointdnn").decision.at("predicted_latency_s") == doctest::Approx(best_s));
}
