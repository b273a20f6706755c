#include <doctest/doctest.h>

#include <functional>
#include <limits>

#include "sim/metrics.h"
#include "sim/random.h"
#include "sim/sweep.h"
#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

// Weights of 10,240 outputs of 7680 inputs.
constexpr double kKnee = 4.0 * 10240 * 7680;

Scene robots(const std::string& model) {
  Scene s{Platform::load(kRoot + "/platforms/hadidi_robots.xml"),
          LayerGraph::load(kRoot + "/workloads/" + model + ".json"),
          LatencyModel::load(kRoot + "/platforms/latency/hadidi_" +
                             (model == "vgg16" ? "vgg16" : "two_stream") + ".json")};
  s.source = "robot_1";
  return s;
}
Scene two_stream() {
  return robots("hadidi_two_stream");
}

Json robots_of(int n, const std::string& tasks = "") {
  return {{"robots", n}, {"max_weight_bytes", kKnee}, {"tasks", tasks}};
}

// "robot_2: spatial_input spatial_relu4": host, first and last layer of each piece.
std::vector<std::string> shown(const Scene& s, const Plan& plan) {
  std::vector<std::string> out;
  for (const Piece& piece : plan.pieces) {
    out.push_back(s.platform.host(piece.host).name + ": " + s.graph.layer(piece.layers.front()).name + " " +
                  s.graph.layer(piece.layers.back()).name);
  }
  return out;
}

// Seconds of a message, by the paper.
double message_s(double bytes) {
  return 0.0002 * bytes / 1000 + 0.002;
}

}  // namespace

TEST_CASE("hadidi_collab_robots: 5 robots, a task each, as in the authors' code") {
  Scene s = two_stream();
  const Plan plan = plan_of(s, "hadidi_collab_robots", robots_of(5));
  CHECK(shown(s, plan) == std::vector<std::string>{"robot_2: spatial_input spatial_relu4",
                                                   "robot_3: temporal_input temporal_relu4",
                                                   "robot_4: features relu1", "robot_5: fc2 prob"});
  // fc2 and fc3 on robot_5, which receives 8192 numbers.
  CHECK(plan.decision.at("busiest_s") ==
        doctest::Approx(0.418 * 8192 / 7680 + 0.00425 + message_s(4.0 * 8192)));
  CHECK(plan.decision.at("predicted_throughput_per_s") == doctest::Approx(1 / plan.decision.at("busiest_s")));
}

TEST_CASE("hadidi_collab_robots: 8 robots split the layers of 8192, 10 copy the streams") {
  Scene s = two_stream();
  const Plan eight = plan_of(s, "hadidi_collab_robots", robots_of(8));
  CHECK(shown(s, eight) == std::vector<std::string>{"robot_2: spatial_input spatial_relu4",
                                                    "robot_3: temporal_input temporal_relu4",
                                                    "robot_4: features relu1", "robot_5: features relu1",
                                                    "robot_6: fc2 relu2", "robot_7: fc2 relu2",
                                                    "robot_8: fc3 prob"});
  CHECK(eight.pieces[4].parts.at(s.graph.find("fc2")) == Region{{0, 4096}});
  CHECK(eight.pieces[5].parts.at(s.graph.find("relu2")) == Region{{4096, 8192}});
  // The temporal stream, behind a message of 23 channels of 12 x 16.
  CHECK(eight.decision.at("busiest_s") == doctest::Approx(0.199 + message_s(4.0 * 23 * 192)));
  CHECK(eight.decision.at("tasks") == 5);
  CHECK(eight.decision.at("parts") == 2);

  // Two copies of each stream; then a half of fc2 is the slowest, measured at 159 ms for 7680 inputs.
  const Plan ten = plan_of(s, "hadidi_collab_robots", robots_of(10));
  CHECK(ten.decision.at("copies") == 2);
  CHECK(ten.decision.at("busiest_s") == doctest::Approx(0.159 * 8192 / 7680 + message_s(4.0 * 8192)));

  // A third of each, 2731 outputs: on the line from 71 ms for 2048 to 159 ms for 4096.
  const Plan twelve = plan_of(s, "hadidi_collab_robots", robots_of(12));
  CHECK(twelve.decision.at("parts") == 3);
  CHECK(twelve.decision.at("robots") == 11);
  CHECK(twelve.decision.at("busiest_s") ==
        doctest::Approx((0.071 + 0.088 * (2731 - 2048) / 2048) * 8192 / 7680 + message_s(4.0 * 8192)));
}

TEST_CASE("hadidi_collab_robots: copies take frames by turns") {
  Scene s = two_stream();
  const auto policy = policy_of("hadidi_collab_robots", robots_of(10));
  std::vector<Plan> frames{policy->plan(s.problem())};
  for (int frame = 1; frame < 5; ++frame) {
    const std::optional<Plan> plan = policy->replan(s.problem(), {});
    REQUIRE(plan);
    check_plan(s.graph, s.platform, 0, s.wire, *plan, "test");
    frames.push_back(*plan);
  }
  CHECK(shown(s, frames[0])[0].starts_with("robot_2:"));
  CHECK(shown(s, frames[1])[0].starts_with("robot_3:"));
  CHECK(frames[0] == frames[2]);
  CHECK(frames[1] == frames[3]);
  // Where nothing is copied the plan stays.
  const auto eight = policy_of("hadidi_collab_robots", robots_of(8));
  eight->plan(s.problem());
  CHECK(!eight->replan(s.problem(), {}));
}

TEST_CASE("hadidi_collab_robots: tasks are merged where robots are few") {
  Scene s = two_stream();
  // Three helpers: the streams, 2 x 55 MB, have less memory than any other neighbours.
  CHECK(shown(s, plan_of(s, "hadidi_collab_robots", robots_of(4))) ==
        std::vector<std::string>{"robot_2: spatial_input temporal_relu4", "robot_3: features relu1",
                                 "robot_4: fc2 prob"});
  // Two: the streams and fc1 are 363 MB.
  CHECK(input_error([&] { plan_of(s, "hadidi_collab_robots", robots_of(3)); }).find("hadidi_robots.xml") !=
        std::string::npos);
  // The memory of 1 GiB holds all: the helper's, or the source's own where it is alone.
  CHECK(shown(s, plan_of(s, "hadidi_collab_robots", {{"robots", 2}})) ==
        std::vector<std::string>{"robot_2: spatial_input prob"});
  CHECK(shown(s, plan_of(s, "hadidi_collab_robots", {{"robots", 1}})) ==
        std::vector<std::string>{"robot_1: spatial_input prob"});
}

TEST_CASE("hadidi_collab_robots: a layer that no robot holds is split first") {
  Scene s = robots("vgg16");
  // Tasks: convolutions, fc6 (411 MB), fc7 and fc8; fc6 in two parts needs a fourth helper.
  CHECK(input_error([&] { plan_of(s, "hadidi_collab_robots", robots_of(4)); }).find("memories") !=
        std::string::npos);
  const std::vector<std::string> five{"robot_2: conv1_1 pool5", "robot_3: fc6 drop6", "robot_4: fc6 drop6",
                                      "robot_5: fc7 prob"};
  CHECK(shown(s, plan_of(s, "hadidi_collab_robots", robots_of(5))) == five);
  // Eleven: seven copies of the convolutions, as in the paper.
  const Plan eleven = plan_of(s, "hadidi_collab_robots", robots_of(11));
  CHECK(eleven.decision.at("copies") == 7);
  CHECK(eleven.decision.at("parts") == 2);
  double convolutions_s = 0;
  for (const double ms :
       {247, 1249, 207, 501, 931, 99, 404, 765, 764, 60, 373, 701, 699, 39, 215, 218, 218, 13})
    convolutions_s += ms / 1000;
  CHECK(eleven.decision.at("busiest_s") ==
        doctest::Approx((convolutions_s + message_s(4.0 * 3 * 224 * 224)) / 7));
  // Given tasks are kept. Six helpers and five tasks with fc6 in two; the seventh copies the longest.
  const Plan given = plan_of(s, "hadidi_collab_robots", robots_of(8, "pool1 pool4 pool5 drop6"));
  CHECK(shown(s, given) == std::vector<std::string>{"robot_2: conv1_1 pool1", "robot_3: conv2_1 pool4",
                                                    "robot_5: conv5_1 pool5", "robot_6: fc6 drop6",
                                                    "robot_7: fc6 drop6", "robot_8: fc7 prob"});
  CHECK(given.decision.at("copies") == 2);
}

TEST_CASE("hadidi_collab_robots: as many frames as the slowest task lets through") {
  Scene s = two_stream();
  RunSpec spec = spec_of(s);
  spec.arrivals.kind = Arrivals::Kind::kClosedLoop;
  spec.arrivals.clients = 16;
  spec.warmup_s = 20;
  spec.horizon_s = 220;
  const Json metrics = run_in_child([&] {
    return aggregate({summarise(spec, simulate(spec, policy_facts("hadidi_collab_robots", "test"), [] {
                                  return policy_of("hadidi_collab_robots", robots_of(10));
                                }))});
  });
  // Messages travel while robots compute: not 1 / (C + T) but 1 / C of a half of fc2; 16 of the frames that
  // arrived are still on their way at the end.
  const double rate = 1 / (0.159 * 8192 / 7680);
  CHECK(metrics["throughput_per_s"].get<double>() == doctest::Approx(rate - 16.0 / 200).epsilon(0.01));
}

TEST_CASE("hadidi_collab_robots: decides anew for the robots that are there and for another bandwidth") {
  Scene s = two_stream();
  const auto policy = policy_of("hadidi_collab_robots", robots_of(0));
  policy->plan(s.problem());
  std::vector<char> on(12, 1);
  Observation seen;
  seen.kind = Observation::Kind::kPlatform;
  seen.host_on = on;
  CHECK(!policy->replan(s.problem(), seen));
  // Without the second robot there is one fewer.
  on[1] = 0;
  const std::optional<Plan> ten = policy->replan(s.problem(), seen);
  REQUIRE(ten);
  CHECK(ten->decision.at("robots") == 10);
  CHECK(shown(s, *ten)[0].starts_with("robot_3:"));
  // Three robots do not hold the model: the assignment stays.
  std::fill(on.begin() + 3, on.end(), 0);
  CHECK(!policy->replan(s.problem(), seen));
  std::fill(on.begin(), on.end(), 1);
  CHECK(policy->replan(s.problem(), seen));
  seen.kind = Observation::Kind::kBandwidth;
  CHECK(!policy->replan(s.problem(), seen));
  s.bandwidth_bytes_per_s.front() /= 1000;
  const std::optional<Plan> slow = policy->replan(s.problem(), seen);
  REQUIRE(slow);
  CHECK(slow->decision.at("busiest_s") > 1);
}

TEST_CASE("hadidi_collab_robots: errors") {
  CHECK(input_error([] {
          policy_of("hadidi_collab_robots", {{"robots", -1}});
        }).find("/robots") != std::string::npos);
  CHECK(input_error([] {
          policy_of("hadidi_collab_robots", {{"max_weight_bytes", -1}});
        }).find("/max_weight_bytes") != std::string::npos);
  Scene s = two_stream();
  CHECK(input_error([&] {
          plan_of(s, "hadidi_collab_robots", {{"tasks", "relu2 relu1"}});
        }).find("\"relu1\" is no layer") != std::string::npos);
  CHECK(input_error([&] {
          plan_of(s, "hadidi_collab_robots", {{"tasks", "relu9"}});
        }).find("/tasks") != std::string::npos);
}

namespace {

// A chain of one or two convolutions and one to three fully connected layers, whose halves take other than
// half of their time.
Scene random_chain(Random& random) {
  Json layers = Json::array(), times, parts = Json::object();
  std::string last = "input";
  const auto add = [&](Json layer) {
    const std::string name = "l" + std::to_string(layers.size());
    layer["name"] = name;
    layer["inputs"] = {last};
    layers.push_back(layer);
    last = name;
    times[name] = 10 + 90 * random.uniform();
    if (layer["kind"] == "fc")
      parts[name] = {{0.5, times[name].get<double>() * (0.2 + 0.4 * random.uniform())}};
  };
  const int convolutions = 1 + random.below(2), fcs = 1 + random.below(3);
  for (int i = 0; i < convolutions; ++i) {
    add({{"kind", "conv"},
         {"kernel", {3, 3}},
         {"padding", {1, 1, 1, 1}},
         {"output", {10 + random.below(30), 4, 4}}});
  }
  for (int i = 0; i < fcs; ++i) add({{"kind", "fc"}, {"output", {100 + random.below(200)}}});
  Scene s{Platform::load(kRoot + "/platforms/hadidi_robots.xml"),
          LayerGraph::parse({{"schema", 1},
                             {"name", "random"},
                             {"source", "test"},
                             {"precision", "fp32"},
                             {"input", {{"shape", {3, 4, 4}}}},
                             {"layers", layers}},
                            "g"),
          LatencyModel::parse({{"schema", 1},
                               {"name", "random"},
                               {"devices",
                                {{"raspberry_pi_3b",
                                  {{"kind", "profile"},
                                   {"source", "test"},
                                   {"unit", "ms"},
                                   {"layers", times},
                                   {"parts", parts}}}}}},
                              "l")};
  s.source = "robot_1";
  return s;
}

// The least max t of all assignments of a chain to `helpers` robots that hold `max_bytes` of weights each.
double best_time_s(const Problem& problem, int helpers, double max_bytes) {
  const LayerGraph& graph = problem.graph;
  const Host& robot = problem.platform.host(1);
  double best = std::numeric_limits<double>::infinity();
  const std::function<void(LayerId, int, double)> place = [&](LayerId begin, int left, double busiest_s) {
    if (busiest_s >= best) return;
    if (begin == graph.size()) {
      best = busiest_s;
      return;
    }
    double compute_s = 0, bytes = 0;
    const double read_s = message_s(begin == 0 ? graph.input_bytes() : graph.layer(begin - 1).output_bytes);
    for (LayerId end = begin; end < graph.size(); ++end) {
      compute_s += problem.latency_model.layer_s(graph, end, robot);
      bytes += graph.layer(end).weight_bytes;
      for (int n = 1; n <= left; ++n) {
        if (bytes <= max_bytes) place(end + 1, left - n, std::max(busiest_s, (compute_s + read_s) / n));
        const Layer& layer = graph.layer(end);
        if (end > begin || layer.kind != LayerKind::kFc || layer.weight_bytes / n > max_bytes) continue;
        const Region part{{0, (layer.output_shape[0] + n - 1) / n}};
        place(end + 1, left - n,
              std::max(busiest_s, problem.latency_model.layer_s(graph, end, robot, 1, &part) + read_s));
      }
    }
  };
  place(0, helpers, 0);
  return best;
}

}  // namespace

TEST_CASE("hadidi_collab_robots: how far the greedy is from the best assignment") {
  Random random(8);
  int rounds = 0, optimal = 0, refused = 0;
  double sum = 0, largest = 0;
  while (rounds < 200) {
    CAPTURE(rounds);
    Scene s = random_chain(random);
    const int helpers = 1 + random.below(5);
    double most = 0;
    for (const Layer& layer : s.graph.layers()) most = std::max(most, layer.weight_bytes);
    // From the largest layer alone, or half of it, up to everything.
    most *= random.below(4) == 0 ? 0.6 : 1;
    const double max_bytes = most + random.uniform() * std::max(0.0, s.graph.weight_bytes() - most);
    const Problem problem = s.problem();
    const double best = best_time_s(problem, helpers, max_bytes);
    Plan plan;
    try {
      plan = plan_of(s, "hadidi_collab_robots", {{"robots", helpers + 1}, {"max_weight_bytes", max_bytes}});
    } catch (const InputError&) {
      refused += best < std::numeric_limits<double>::infinity() ? 1 : 0;
      continue;
    }
    ++rounds;
    const double gap = plan.decision.at("busiest_s") / best - 1;
    CHECK(gap > -1e-9);
    sum += gap;
    largest = std::max(largest, gap);
    optimal += gap < 1e-9 ? 1 : 0;
  }
  MESSAGE("greedy over the best assignment: "
          << 100 * sum / rounds << " % in the mean, " << 100 * largest << " % at most, " << optimal << " of "
          << rounds << " optimal; it found none where there is one " << refused << " times");
  // Measured: 4.5 %, 91 %, 165 and none.
  CHECK(sum / rounds < 0.05);
  CHECK(largest < 1);
  CHECK(optimal >= 160);
  CHECK(refused == 0);
}
