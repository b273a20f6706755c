#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <map>
#include <set>

#include "sim/random.h"
#include "sim/region.h"
#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

struct Machine {
  std::string name;
  double speed_flop_per_s = 0;
  double memory_bytes = 0;  // 0: any
};

// All linked with all others, 1 ms; `rate(i, j)` in byte/s.
template <class Rate>
Platform mesh(const std::vector<Machine>& machines, const Rate& rate) {
  std::string hosts, links, routes;
  for (std::size_t i = 0; i < machines.size(); ++i) {
    const Machine& m = machines[i];
    hosts += fmt::format(R"(<host id="{}" speed="{}f"><prop id="tier" value="device"/>)", m.name,
                         m.speed_flop_per_s);
    if (m.memory_bytes > 0) hosts += fmt::format(R"(<prop id="memory" value="{}B"/>)", m.memory_bytes);
    hosts += "</host>";
    for (std::size_t j = 0; j < i; ++j) {
      links += fmt::format(R"(<link id="l{}_{}" bandwidth="{}Bps" latency="1ms"/>)", i, j, rate(i, j));
      routes += fmt::format(R"(<route src="{}" dst="{}"><link_ctn id="l{}_{}"/></route>)", m.name,
                            machines[j].name, i, j);
    }
  }
  return Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">)" + hosts + links + routes +
                             "</zone></platform>",
                         "p.xml");
}

// Convolutions of 3 x 3 on 4 x 4 numbers, a ReLU after the first, and a fully connected layer of ten.
LayerGraph convolutions(const std::vector<int>& maps) {
  Json layers = Json::array();
  std::string before = "input";
  for (std::size_t i = 0; i < maps.size(); ++i) {
    const std::string name = fmt::format("conv{}", i + 1);
    layers.push_back({{"name", name},
                      {"kind", "conv"},
                      {"inputs", {before}},
                      {"kernel", {3, 3}},
                      {"padding", {1, 1, 1, 1}},
                      {"output", {maps[i], 4, 4}}});
    before = name;
    if (i > 0) continue;
    layers.push_back({{"name", "relu1"}, {"kind", "relu"}, {"inputs", {name}}});
    before = "relu1";
  }
  layers.push_back({{"name", "fc"}, {"kind", "fc"}, {"inputs", {before}}, {"output", {10}}});
  return LayerGraph::parse({{"schema", 1},
                            {"name", "convolutions"},
                            {"source", "test"},
                            {"precision", "fp32"},
                            {"input", {{"shape", {1, 4, 4}}}},
                            {"layers", layers}},
                           "g");
}

// Camera 1 Mflop/s, fast 4, slow 2; 1 MB/s. conv1 with its ReLU: 1280 flop, conv2: 9344, fc: 2570.
Scene pencil(double fast_memory = 0, double slow_memory = 0) {
  Scene s{mesh({{"camera", 1e6}, {"fast", 4e6, fast_memory}, {"slow", 2e6, slow_memory}},
               [](std::size_t, std::size_t) { return 1e6; }),
          convolutions({4, 8})};
  s.source = "camera";
  return s;
}

// Maps of a layer that each host computes: those of one channel range a piece.
std::map<std::string, int> maps_of(const Scene& s, const Plan& plan, const std::string& layer) {
  std::map<std::string, int> out;
  const LayerId id = s.graph.find(layer);
  for (const Piece& piece : plan.pieces) {
    if (!std::ranges::binary_search(piece.layers, id)) continue;
    const auto part = piece.parts.find(id);
    const Region region = part == piece.parts.end() ? whole(s.graph.layer(id).output_shape) : part->second;
    out[s.platform.host(piece.host).name] += region[0].size();
  }
  return out;
}

using Maps = std::map<std::string, int>;

// Channels of each layer of maps that each host computes, and those that it computes or receives, from the
// pieces alone.
struct Known {
  std::map<std::pair<HostId, LayerId>, std::set<int>> computed, held;
};

Known known_of(const LayerGraph& graph, const Plan& plan) {
  Known known;
  const auto add = [](std::set<int>& to, Range range) {
    for (int map = range.begin; map < range.end; ++map) to.insert(map);
  };
  for (const Piece& piece : plan.pieces) {
    for (const LayerId id : piece.layers) {
      const auto part = piece.parts.find(id);
      const Region region = part == piece.parts.end() ? whole(graph.layer(id).output_shape) : part->second;
      if (region.size() == 3) {
        add(known.computed[{piece.host, id}], region[0]);
        add(known.held[{piece.host, id}], region[0]);
      }
      for (std::size_t i = 0; i < graph.layer(id).inputs.size(); ++i) {
        const LayerId input = graph.layer(id).inputs[i];
        if (input == kInput || graph.layer(input).output_shape.size() != 3) continue;
        add(known.held[{piece.host, input}], input_region(graph, id, region, i)[0]);
      }
    }
  }
  return known;
}

// The largest share of a layer's maps of a host but the source.
double largest(const LayerGraph& graph, HostId source,
               const std::map<std::pair<HostId, LayerId>, std::set<int>>& known) {
  double share = 0;
  for (const auto& [where, maps] : known) {
    if (where.first == source) continue;
    share =
        std::max(share, 1.0 * static_cast<double>(maps.size()) / graph.layer(where.second).output_shape[0]);
  }
  return share;
}

}  // namespace

TEST_CASE("distprivacy: the plan and its times by hand") {
  Scene s = pencil();
  const Plan plan = plan_of(s, "distprivacy", {{"largest_share", 0.5}});
  CHECK(maps_of(s, plan, "conv1") == Maps{{"camera", 4}});
  CHECK(maps_of(s, plan, "conv2") == Maps{{"fast", 4}, {"slow", 4}});
  CHECK(maps_of(s, plan, "fc") == Maps{{"fast", 10}});
  // The sum of the groups: 1.28 ms on the camera; 256 B to both, slow computes 4672 flop: 0.256 + 2.336;
  // 4 maps of 64 B to fast, 0.256 + 0.6425; the result's 40 B.
  CHECK(plan.decision.at("objective_s") == doctest::Approx(1.28e-3 + 2.592e-3 + 0.8985e-3 + 0.04e-3));
  // With 1 ms a transfer: 1.28 + 1.256 + 2.336 + 1.256 + 0.6425 + 1.04.
  CHECK(plan.decision.at("predicted_latency_s") == doctest::Approx(7.8105e-3));
  CHECK(plan.decision.at("shared_bytes") == doctest::Approx(256 + 256 + 256 + 40));
  CHECK(plan.decision.at("participants") == 3);
  CHECK(plan.decision.at("computed_share") == 0.5);
  CHECK(plan.decision.at("held_share") == 1);  // both received all of conv1
  CHECK(plan.decision.at("rejected") == 0);
}

TEST_CASE("distprivacy: the source has no limit and takes what is left") {
  Scene s = pencil();
  const Plan quarter = plan_of(s, "distprivacy", {{"largest_share", 0.25}});
  CHECK(maps_of(s, quarter, "conv2") == Maps{{"fast", 2}, {"slow", 2}, {"camera", 4}});
  // 0.12 * 8 = 0.96: no map.
  const Plan none = plan_of(s, "distprivacy", {{"largest_share", 0.12}});
  CHECK(maps_of(s, none, "conv2") == Maps{{"camera", 8}});
  // No privacy: fast has the rest, in one piece.
  const Plan all = plan_of(s, "distprivacy", {{"largest_share", 1}});
  CHECK(maps_of(s, all, "conv2") == Maps{{"fast", 8}});
  CHECK(all.pieces.size() == 2);
  CHECK(all.decision.at("objective_s") == doctest::Approx(1.28e-3 + 2.592e-3 + 0.6425e-3 + 0.04e-3));
}

TEST_CASE("distprivacy: where received maps count, convolutions stay on the source up to the split point") {
  Scene s = pencil();
  const Plan alone = plan_of(s, "distprivacy", {{"counts", "held"}});
  CHECK(alone.pieces.size() == 1);
  CHECK(alone.pieces.front().host == s.host("camera"));
  CHECK(alone.decision.at("held_share") == 0);
  // From conv2 on there is no limit, but it reads conv1; the fully connected layer may leave.
  const Plan split = plan_of(s, "distprivacy", {{"counts", "held"}, {"split_point", "conv2"}});
  CHECK(maps_of(s, split, "conv2") == Maps{{"camera", 8}});
  CHECK(maps_of(s, split, "fc") == Maps{{"fast", 10}});
  // Where computed maps count, fast may have all of them.
  const Plan computed = plan_of(s, "distprivacy", {{"split_point", "conv2"}});
  CHECK(maps_of(s, computed, "conv2") == Maps{{"fast", 8}});
}

TEST_CASE("distprivacy: memory and multiplications limit what a host takes") {
  // conv2: 148 B of weights a map, 256 B read, 64 B written a map: 3 maps need 892 B, 4 need 1104.
  Scene s = pencil(900);
  const Plan little = plan_of(s, "distprivacy", {{"largest_share", 1}});
  CHECK(maps_of(s, little, "conv2") == Maps{{"fast", 3}, {"slow", 5}});
  CHECK(maps_of(s, little, "fc") == Maps{{"slow", 10}});  // 5160 B of weights
  // 576 multiplications a map of conv2, 576 of conv1, 1280 of fc.
  Scene any = pencil();
  const Plan macs = plan_of(any, "distprivacy", {{"largest_share", 1}, {"macs_per_host", 4 * 576}});
  CHECK(maps_of(any, macs, "conv2") == Maps{{"fast", 4}, {"slow", 4}});
  CHECK(maps_of(any, macs, "fc") == Maps{{"camera", 10}});
}

TEST_CASE("distprivacy: the requests of several sources share what hosts have") {
  // 6464 multiplications a request, 3 * 2304 on all hosts: the second request is rejected.
  Scene s = pencil();
  const std::vector<HostId> sources{s.host("camera"), s.host("slow")};
  const Json limits{{"largest_share", 1}, {"macs_per_host", 4 * 576}};
  const auto plan_for = [&](const std::string& source, const Json& parameters) {
    s.source = source;
    Problem problem = s.problem();
    problem.sources = sources;
    Plan plan = policy_of("distprivacy", parameters)->plan(problem);
    check_plan(s.graph, s.platform, problem.source, s.wire, plan, "test");
    return plan;
  };
  const Plan first = plan_for("camera", limits), second = plan_for("slow", limits);
  CHECK(maps_of(s, first, "conv2") == Maps{{"fast", 4}, {"slow", 4}});
  CHECK(first.decision.at("rejected") == 1);
  CHECK(second.decision.at("rejected") == 1);
  CHECK(second.pieces.size() == 1);
  CHECK(second.pieces.front().host == s.host("slow"));
  Json best = limits;
  best["method"] = "optimal";
  CHECK(plan_for("slow", best).decision.at("rejected") == 1);
  // Twice as many are enough for both.
  const Json more{{"largest_share", 1}, {"macs_per_host", 8 * 576}};
  CHECK(plan_for("slow", more).decision.at("rejected") == 0);
  CHECK(maps_of(s, plan_for("camera", more), "conv2") == Maps{{"fast", 8}});
  CHECK(maps_of(s, plan_for("slow", more), "conv1") == Maps{{"slow", 4}});

  // Memory too: all of the model are 6504 B of weights (160, 1184, 5160) and at most 768 B of numbers
  // (conv2).
  const auto rejected = [&](double fast_bytes) {
    s.platform.edit_host(s.host("camera")).memory_bytes = 1000;
    s.platform.edit_host(s.host("slow")).memory_bytes = 7300;
    s.platform.edit_host(s.host("fast")).memory_bytes = fast_bytes;
    return plan_for("slow", {{"largest_share", 1}}).decision.at("rejected");
  };
  // The first on fast, but for conv1: 1184 + 5160 + 768 = 7112; the second on slow.
  CHECK(rejected(7200) == 0);
  // 3 maps on fast, 5 and the fully connected layer on slow (6476): 1 map fits there, 1 on the camera.
  CHECK(rejected(900) == 1);
}

TEST_CASE("distprivacy: a request that is rejected where its source cannot serve it is an error") {
  Scene s = pencil(900, 900);
  s.platform.edit_host(s.host("camera")).memory_bytes = 2000;
  const std::string error = input_error([&] { plan_of(s, "distprivacy"); });
  CHECK(error.starts_with("p.xml"));
  CHECK(error.find("the hosts run out") != std::string::npos);
}

TEST_CASE("distprivacy: nobody but the source has more of a layer than the limit, or the image") {
  // Chains, LRN (which reads neighbouring maps), joins, depthwise convolutions, concatenations.
  for (const char* model : {"lenet5", "vgg16_cifar", "alexnet", "resnet20", "mobilenet_v1", "squeezenet_v1_1",
                            "shufflenet_v2", "googlenet"}) {
    CAPTURE(model);
    Scene s = scene("platforms/distprivacy.xml", fmt::format("workloads/{}.json", model));
    s.model = LatencyModel::roofline(kRoot + "/platforms/hardware.json");
    s.source = "camera_0";
    const HostId source = s.host(s.source);
    for (const double share : {0.5, 0.25, 0.1}) {
      for (const char* counts : {"computed", "held"}) {
        CAPTURE(share);
        CAPTURE(counts);
        const Plan plan = plan_of(s, "distprivacy", {{"largest_share", share}, {"counts", counts}});
        const Known known = known_of(s.graph, plan);
        const double computed = largest(s.graph, source, known.computed),
                     held = largest(s.graph, source, known.held);
        CHECK(computed <= share);
        if (counts == std::string("held")) CHECK(held <= share);
        CHECK(plan.decision.at("computed_share") == doctest::Approx(computed));
        CHECK(plan.decision.at("held_share") == doctest::Approx(held));
        for (const PlanEdge& edge : plan_edges(s.graph, s.wire, plan)) {
          if (edge.from == kSourceEnd) CHECK(plan.pieces[static_cast<std::size_t>(edge.to)].host == source);
        }
      }
    }
  }
}

TEST_CASE("distprivacy: what each device receives is what it lacks") {
  // VGG-16: every host that computes maps of a layer receives, of each map before, all that it has not
  // computed.
  Scene s = scene("platforms/distprivacy.xml", "workloads/vgg16_cifar.json");
  s.model = LatencyModel::roofline(kRoot + "/platforms/hardware.json");
  s.source = "camera_0";
  const Plan plan = plan_of(s, "distprivacy", {{"largest_share", 0.25}});
  const Known known = known_of(s.graph, plan);
  std::map<int, double> received;  // by piece
  for (const PlanEdge& edge : plan_edges(s.graph, s.wire, plan)) {
    if (edge.from == kSourceEnd || edge.to == kSourceEnd) continue;
    const HostId from = plan.pieces[static_cast<std::size_t>(edge.from)].host;
    if (from != plan.pieces[static_cast<std::size_t>(edge.to)].host) received[edge.to] += edge.bytes;
  }
  int checked = 0;
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    const LayerId input = s.graph.layer(plan.pieces[p].layers.front()).inputs.front();
    if (input == kInput || s.graph.layer(input).output_shape.size() != 3) continue;
    const int maps = s.graph.layer(input).output_shape[0];
    const auto own = known.computed.find({plan.pieces[p].host, input});
    const int lacks = maps - (own == known.computed.end() ? 0 : static_cast<int>(own->second.size()));
    CHECK(received[static_cast<int>(p)] == doctest::Approx(s.graph.layer(input).output_bytes * lacks / maps));
    ++checked;
  }
  CHECK(checked > 40);
}

namespace {

// Random convolutions on three hosts of random speeds, rates, memories.
struct Case {
  Scene scene;
  Json parameters;
  std::vector<int> maps;  // of the groups, the last of them fully connected
};

Case random_case(Random& random) {
  std::vector<int> maps{1 + random.below(4), 2 + random.below(3), 2 + random.below(3)};
  std::vector<Machine> machines;
  const bool little = random.below(3) == 0;
  for (int i = 0; i < 3; ++i) {
    const double memory = little ? std::floor(2000 + 6000 * random.uniform()) : 0;
    machines.push_back({fmt::format("h{}", i), 1e6 * (1 + 9 * random.uniform()), i == 0 ? 0 : memory});
  }
  Platform platform = mesh(
      machines, [&](std::size_t, std::size_t) { return std::floor(1e5 * std::pow(100, random.uniform())); });
  Case c{{std::move(platform), convolutions(maps)}, Json::object(), maps};
  c.scene.source = "h0";
  const std::vector<double> shares{0.34, 0.5, 0.67, 1};
  c.parameters["largest_share"] = shares[static_cast<std::size_t>(random.below(4))];
  if (random.below(3) == 0)
    c.parameters["macs_per_host"] = std::floor(c.scene.graph.macs() * (0.3 + 0.5 * random.uniform()));
  if (random.below(4) == 0) c.parameters["counts"] = "held";
  c.maps.push_back(1);
  return c;
}

// The paper's objective of maps of each group on each host, from scratch; infinite where a limit is broken.
double objective_s(Case& c, const std::vector<std::vector<int>>& on) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const Problem problem = c.scene.problem();
  const LayerGraph& graph = c.scene.graph;
  const double share = c.parameters["largest_share"];
  const bool held = c.parameters.contains("counts");
  const double most_macs = c.parameters.value("macs_per_host", kNever);
  const std::size_t hosts = 3, groups = c.maps.size();
  const auto rate = [&](std::size_t from, std::size_t to) {
    const Route* route = c.scene.platform.route(static_cast<HostId>(from), static_cast<HostId>(to));
    return problem.bandwidth_bytes_per_s[static_cast<std::size_t>(route->links.front())];
  };
  const auto layers = [&](std::size_t g) {
    return g == 0 ? std::vector<LayerId>{0, 1} : std::vector<LayerId>{static_cast<LayerId>(g) + 1};
  };
  double sum = 0;
  std::vector<double> macs(hosts, 0), weights(hosts, 0), work(hosts, 0);
  for (std::size_t g = 0; g < groups; ++g) {
    double group_s = 0;
    for (std::size_t i = 0; i < hosts; ++i) {
      const int n = on[g][i];
      if (n == 0) continue;
      const bool of_maps = g + 1 < groups;
      if (g == 0 && i != 0) return kNever;
      if (i != 0 && of_maps && n > std::floor(share * c.maps[g] + 1e-6)) return kNever;
      // All of the limited group before arrives.
      if (i != 0 && held && c.maps[g - 1] > std::floor(share * c.maps[g - 1] + 1e-6)) return kNever;
      double seconds = 0;
      for (const LayerId id : layers(g)) {
        const Layer& layer = graph.layer(id);
        const double part = 1.0 * n / c.maps[g];
        seconds += layer.work_flop * part /
                   c.scene.platform.host(static_cast<HostId>(i)).power_states[0].speed_flop_per_s;
        macs[i] += layer.macs * part;
        weights[i] += layer.weight_bytes * part;
        const double in = graph.input_elements(id) * 4 * (layer.kind == LayerKind::kRelu ? part : 1);
        work[i] = std::max(work[i], in + layer.output_bytes * part);
      }
      for (std::size_t k = 0; g > 0 && k < hosts; ++k) {
        if (k != i) seconds += on[g - 1][k] * 64.0 / rate(k, i);
      }
      group_s = std::max(group_s, seconds);
      if (g + 1 == groups && i != 0) sum += 40 / rate(i, 0);
    }
    sum += group_s;
  }
  for (std::size_t i = 0; i < hosts; ++i) {
    const double memory = c.scene.platform.host(static_cast<HostId>(i)).memory_bytes.value_or(kNever);
    if (macs[i] > most_macs * (1 + 1e-9) || weights[i] + work[i] > memory) return kNever;
  }
  return sum;
}

std::vector<std::vector<int>> ways(int maps) {
  std::vector<std::vector<int>> out;
  for (int a = 0; a <= maps; ++a) {
    for (int b = 0; a + b <= maps; ++b) out.push_back({a, b, maps - a - b});
  }
  return out;
}

double least_objective_s(Case& c) {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& second : ways(c.maps[1])) {
    for (const auto& third : ways(c.maps[2])) {
      for (const auto& last : ways(1))
        least = std::min(least, objective_s(c, {{c.maps[0], 0, 0}, second, third, last}));
    }
  }
  return least;
}

}  // namespace

TEST_CASE("distprivacy: the programme is as good as brute force on 120 random cases; the heuristic's gap") {
  Random random(74);
  int infeasible = 0, missed = 0, served = 0;
  double sum = 0, worst = 0;
  for (int round = 0; round < 120; ++round) {
    CAPTURE(round);
    Case c = random_case(random);
    const double least = least_objective_s(c);
    Json optimal = c.parameters;
    optimal["method"] = "optimal";
    const Plan best = policy_of("distprivacy", optimal)->plan(c.scene.problem());
    const Plan heuristic = policy_of("distprivacy", c.parameters)->plan(c.scene.problem());
    if (std::isinf(least)) {
      CHECK(best.decision.at("rejected") == 1);
      CHECK(heuristic.decision.at("rejected") == 1);
      ++infeasible;
      continue;
    }
    REQUIRE(best.decision.at("rejected") == 0);
    CHECK(best.decision.at("objective_s") == doctest::Approx(least).epsilon(1e-6));
    check_plan(c.scene.graph, c.scene.platform, 0, c.scene.wire, best, "test");
    if (heuristic.decision.at("rejected") == 1) {
      ++missed;
      continue;
    }
    check_plan(c.scene.graph, c.scene.platform, 0, c.scene.wire, heuristic, "test");
    const double gap = heuristic.decision.at("objective_s") / least - 1;
    CHECK(gap > -1e-6);
    sum += gap;
    worst = std::max(worst, gap);
    ++served;
  }
  MESSAGE(
      fmt::format("distprivacy: heuristic {:.1f} % above the optimum in the mean, {:.0f} % at worst, of {} "
                  "cases; rejects {} that can be served; {} cannot",
                  100 * sum / served, 100 * worst, served, missed, infeasible));
  CHECK(served >= 100);
  CHECK(infeasible < 30);
}

TEST_CASE("distprivacy: the programme decides anew when a bandwidth has changed, the heuristic does not") {
  Scene s = pencil();
  Observation seen;
  seen.kind = Observation::Kind::kBandwidth;
  const auto heuristic = policy_of("distprivacy"),
             optimal = policy_of("distprivacy", {{"method", "optimal"}});
  heuristic->plan(s.problem());
  // 256 B at 1 kB/s take 0.256 s: the camera alone, 13.194 ms.
  for (double& bandwidth : s.bandwidth_bytes_per_s) bandwidth = 1e3;
  CHECK(optimal->plan(s.problem()).pieces.size() == 1);
  CHECK(!heuristic->replan(s.problem(), seen));
  CHECK(!optimal->replan(s.problem(), seen));
  for (double& bandwidth : s.bandwidth_bytes_per_s) bandwidth = 1e9;
  const std::optional<Plan> fast = optimal->replan(s.problem(), seen);
  REQUIRE(fast);
  CHECK(fast->decision.at("participants") > 1);
}

TEST_CASE("distprivacy: errors") {
  const auto refuse = [](const Json& parameters, const std::string& place) {
    CHECK(input_error([&] { policy_of("distprivacy", parameters); }).find(place) != std::string::npos);
  };
  refuse({{"largest_share", 0}}, "/largest_share");
  refuse({{"largest_share", 1.1}}, "/largest_share");
  refuse({{"macs_per_host", -1}}, "/macs_per_host");
  Scene s = pencil();
  CHECK(input_error([&] {
          plan_of(s, "distprivacy", {{"split_point", "conv9"}});
        }).find("/split_point") != std::string::npos);
  // A residual network is no chain, and LRN reads some maps only.
  for (const char* model : {"resnet20", "alexnet"}) {
    s.graph = LayerGraph::load(kRoot + "/workloads/" + model + ".json");
    CHECK(input_error([&] {
            plan_of(s, "distprivacy", {{"method", "optimal"}});
          }).find("/method") != std::string::npos);
  }
}
