#include <doctest/doctest.h>

#include <cmath>

#include "policies/shared/placement.h"
#include "tests/policies/random_scene.h"

using namespace cdisim;

namespace {

// A Problem's `loaded` where one host holds some layers only and the others all.
struct Loaded {
  std::vector<std::vector<bool>> layers;
  Loaded(const Scene& s, const std::string& host)
      : layers(static_cast<std::size_t>(s.platform.host_count())) {
    std::vector<bool>& held = layers[static_cast<std::size_t>(s.host(host))];
    for (const Layer& layer : s.graph.layers()) held.push_back(layer.weight_bytes == 0);
  }
  void load(const Upload& upload) {
    for (const LayerId id : upload.layers)
      layers[static_cast<std::size_t>(upload.host)][static_cast<std::size_t>(id)] = true;
  }
  Problem problem(Scene& s) const {
    Problem out = s.problem();
    out.loaded = layers;
    return out;
  }
};

Observation seen(Observation::Kind kind) {
  return {kind, 1, {}, {}, {}};
}

// chain3 with these times on the device, s, and 1 ms a layer on the server; 1 MB/s and 10 ms. Uploads: 2, 2
// and 1 s. Transfers: the input 14 ms, fc_1 12 ms, fc_2 14 ms, the result 11 ms.
Scene timed_scene(double fc_1_s, double fc_2_s, double fc_3_s) {
  Scene s = pencil_scene();
  const auto profile = [](double a, double b, double c) {
    return Json{{"kind", "profile"},
                {"source", "test"},
                {"unit", "s"},
                {"layers", {{"fc_1", a}, {"fc_2", b}, {"fc_3", c}}}};
  };
  s.model = LatencyModel::parse(
      {{"schema", 1},
       {"name", "timed"},
       {"devices", {{"slow", profile(fc_1_s, fc_2_s, fc_3_s)}, {"fast", profile(1e-3, 1e-3, 1e-3)}}}},
      "l");
  s.platform.edit_host(s.host("device")).device_type = "slow";
  s.platform.edit_host(s.host("server")).device_type = "fast";
  return s;
}

// The layers of each partition, first to last.
std::vector<std::vector<LayerId>> partitions(const Plan& plan) {
  std::vector<std::vector<LayerId>> out;
  for (const Upload& upload : plan.uploads) out.push_back(upload.layers);
  return out;
}

using Partitions = std::vector<std::vector<LayerId>>;

}  // namespace

TEST_CASE("ionn: partitions with pencil and paper") {
  // Of the device alone, fc_1, fc_1 and fc_2, or all on the server, each with w of its upload:
  //     4.2, 1.227 + 2 w, 0.230 + 4 w, 0.028 + 5 w s
  // w = 1: fc_1; 0.5: fc_1 (2.227, 2.230, 2.528); 0.25: fc_1 and fc_2 (1.727, 1.230, 1.278); 0.125: all.
  Scene s = timed_scene(3, 1, 0.2);
  const Loaded none(s, "server");
  const std::unique_ptr<Policy> policy = policy_of("ionn");
  const Plan plan = policy->plan(none.problem(s));
  CHECK(partitions(plan) == Partitions{{0}, {1}, {2}});
  CHECK(plan.decision.at("partitions") == 3);
  CHECK(plan.decision.at("arrived") == 0);
  CHECK(plan.decision.at("server_layers") == 0);
  CHECK(plan.decision.at("partition_2_layers") == 1);
  CHECK(plan.decision.at("partition_3_bytes") == 1e6);
  CHECK(plan.pieces.size() == 1);

  // w = 1, 0.1, 0.01: fc_1, then all.
  CHECK(partitions(policy_of("ionn", {{"K", 0.1}})->plan(none.problem(s))) == Partitions{{0}, {1, 2}});

  // With 0.012 s for fc_3 on the device: 0.042 + 4 w against 0.028 + 5 w; all on the server from w = 0.014
  // on.
  s = timed_scene(3, 1, 0.012);
  CHECK(partitions(policy_of("ionn", {{"K", 0.1}})->plan(none.problem(s))) == Partitions{{0}, {1}, {2}});
  // 0.5^6 = 0.0156, no longer 0.0078: fc_3 stays on the device.
  CHECK(partitions(policy_of("ionn")->plan(none.problem(s))) == Partitions{{0}, {1}});
  CHECK(partitions(policy_of("ionn", {{"floor", 0.0075}})->plan(none.problem(s))) ==
        Partitions{{0}, {1}, {2}});

  // The whole in one go, and free where everything is there.
  CHECK(partitions(policy_of("ionn", {{"mode", "all_at_once"}})->plan(none.problem(s))) ==
        Partitions{{0, 1, 2}});
  const Plan optimum = policy_of("ionn")->plan(s.problem());
  CHECK(optimum.uploads.empty());
  CHECK(optimum.decision.at("server_layers") == 3);
  CHECK(estimate(s.problem(), optimum).latency_s == doctest::Approx(0.028));
}

TEST_CASE("ionn: the energy graph") {
  // Idle 1.1 W with the radio, computing 2 W and sending 1.9 W above it, 1e-6 J a byte sent, receiving 0.9 W
  // and 5e-7 J a byte. fc_1 at the server with its weights: 2 s * (1.1 + 1.9) W + 2 J = 8 J, and about
  // 0.05 J for its tensors, against 3 s * 3.1 W = 9.3 J; with the weights of fc_2, 8 J more against 3.1 J.
  Scene s = timed_scene(3, 1, 0.2);
  const Loaded none(s, "server");
  const Json energy = {{"objective", "energy"}, {"floor", 1}};
  CHECK(partitions(policy_of("ionn", energy)->plan(none.problem(s))) == Partitions{{0}});
  s = timed_scene(2.55, 1, 0.2);  // 7.905 J; the latency is still better: 2.027 against 2.55 s
  CHECK(partitions(policy_of("ionn", energy)->plan(none.problem(s))) == Partitions{});
  CHECK(partitions(policy_of("ionn", {{"floor", 1}})->plan(none.problem(s))) == Partitions{{0}});
}

TEST_CASE("ionn: a query runs on the server what has arrived") {
  Scene s = timed_scene(3, 1, 0.2);
  Loaded held(s, "server");
  const std::unique_ptr<Policy> policy = policy_of("ionn");
  const Plan first = policy->plan(held.problem(s));
  CHECK_FALSE(policy->replan(held.problem(s), seen(Observation::Kind::kWeights)));
  CHECK_FALSE(policy->replan(held.problem(s), seen(Observation::Kind::kBandwidth)));

  held.load(first.uploads[1]);  // out of order: it does not help yet
  CHECK_FALSE(policy->replan(held.problem(s), seen(Observation::Kind::kWeights)));
  held.load(first.uploads[0]);
  std::optional<Plan> plan = policy->replan(held.problem(s), seen(Observation::Kind::kWeights));
  REQUIRE(plan);
  CHECK(plan->decision.at("arrived") == 2);
  REQUIRE(plan->pieces.size() == 2);
  CHECK(plan->pieces[0].layers == std::vector<LayerId>{0, 1});
  CHECK(plan->pieces[0].host == s.host("server"));
  CHECK(partitions(*plan) == Partitions{{2}});
  CHECK_FALSE(policy->replan(held.problem(s), seen(Observation::Kind::kWeights)));

  // What is there costs nothing more: at 0.1 MB/s fc_3 alone is left, 0.2 s against 10 s of upload.
  s.bandwidth_bytes_per_s = {1e5};
  plan = policy->replan(held.problem(s), seen(Observation::Kind::kBandwidth));
  REQUIRE(plan);
  CHECK(plan->decision.at("server_layers") == 2);
  CHECK(plan->decision.at("partition_1_layers") == 2);
  CHECK(partitions(*plan) == Partitions{{2}});  // from 0.2 / 10 on, at 0.0156
  CHECK_FALSE(policy->replan(held.problem(s), seen(Observation::Kind::kBandwidth)));
}

TEST_CASE("ionn: branches between two layers on every path make one block") {
  Scene s = scene("tests/fixtures/pencil.xml", "tests/fixtures/diamond.json");
  s.platform.edit_host(s.host("device")).power_states[0].speed_flop_per_s = 1e3;
  const Loaded none(s, "server");
  // The blocks stem, {left, right, join} and head; everything is worth its bytes.
  const std::vector<LayerId> whole{0, 1, 2, 3, 4};
  CHECK(partitions(policy_of("ionn")->plan(none.problem(s))) == Partitions{whole});
  // At 100 B/s and 1 kflop/s, uploads and device: stem 0.48 and 0.32 s, the branches 6.72 and 5.312 s, head
  // 26 and 1.29 s; tensors take 1.28 (input), 2.56, 2.56 and 0.4 s, and 10 ms. With w of the uploads the
  // device alone takes 6.922 s, the first two blocks 5.15 + 7.2 w, all 1.7 + 33.2 w, the branches alone
  // 6.75 + 6.72 w.
  // w = 0.125: two blocks 6.05, all 5.85 - so all at once; with K = 0.2 at w = 0.2: 6.59 against 8.34.
  s.bandwidth_bytes_per_s = {100};
  CHECK(partitions(policy_of("ionn")->plan(none.problem(s))) == Partitions{whole});
  CHECK(partitions(policy_of("ionn", {{"K", 0.2}})->plan(none.problem(s))) == Partitions{{0, 1, 2, 3}, {4}});
}

TEST_CASE("ionn: shortest paths are the best of all placements of blocks") {
  Random random(71);
  int compared = 0, several = 0;
  for (int trial = 0; trial < 200; ++trial) {
    CAPTURE(trial);
    Scene s = random_scene(random, trial % 2 == 0);
    // Every third with the random model, the others with times that uploads are worth.
    if (trial % 3 > 0) {
      Json slow, fast;
      for (const Layer& layer : s.graph.layers()) {
        slow[layer.name] = std::pow(10, 3 * random.uniform() - 2);
        fast[layer.name] = std::pow(10, 3 * random.uniform() - 5);
      }
      const auto profile = [](const Json& layers) {
        return Json{{"kind", "profile"}, {"source", "test"}, {"unit", "s"}, {"layers", layers}};
      };
      s.model = LatencyModel::parse({{"schema", 1},
                                     {"name", "random"},
                                     {"devices", {{"slow", profile(slow)}, {"fast", profile(fast)}}}},
                                    "l");
      s.platform.edit_host(s.host("device")).device_type = "slow";
      s.platform.edit_host(s.host("edge")).device_type = "fast";
      const double bytes_per_s = std::pow(10, 2 + 2 * random.uniform());
      for (double& bandwidth : s.bandwidth_bytes_per_s) bandwidth = bytes_per_s * (0.5 + random.uniform());
    }
    const bool energy = random.below(2) == 0;
    const double k = 0.1 + 0.8 * random.uniform();
    const Loaded none(s, "edge");
    const Problem problem = none.problem(s);
    const HostId server = s.host("edge");
    const std::span<const LayerId> layers = s.graph.exit_layers(1);

    // The blocks end at the layers without which the input does not reach the exit.
    std::vector<std::size_t> ends;
    for (std::size_t without = 0; without < layers.size(); ++without) {
      std::vector<bool> reached(static_cast<std::size_t>(s.graph.size()), false);
      for (const LayerId id : layers) {
        for (const LayerId input : s.graph.layer(id).inputs) {
          if (id != layers[without] && (input == kInput || reached[static_cast<std::size_t>(input)]))
            reached[static_cast<std::size_t>(id)] = true;
        }
      }
      if (!reached[static_cast<std::size_t>(layers.back())]) ends.push_back(without + 1);
    }

    // Every placement of the blocks: what a query costs, and the bytes that it asks for.
    struct Candidate {
      std::vector<char> on_server;
      double cost = 0, upload = 0;
    };
    std::vector<Candidate> candidates;
    const Host& source = s.platform.host(problem.source);
    const double idle_w = problem.state(problem.source).idle_w + source.radio.idle_w;
    const double upload_s = problem.transfer_s(1e6, problem.source, server) -
                            problem.transfer_s(0, problem.source, server);  // of 1 MB
    for (unsigned bits = 0; bits < 1U << ends.size(); ++bits) {
      Candidate candidate;
      double bytes = 0;
      for (std::size_t b = 0; b < ends.size(); ++b) {
        const bool on_server = ((bits >> b) & 1U) != 0;
        for (std::size_t i = b == 0 ? 0 : ends[b - 1]; i < ends[b]; ++i) {
          candidate.on_server.push_back(on_server ? 1 : 0);
          if (on_server) bytes += s.graph.layer(layers[i]).weight_bytes;
        }
      }
      const Estimate query = estimate(problem, placement_plan(problem, 1, server, candidate.on_server));
      candidate.cost = energy ? idle_w * query.latency_s + query.energy_j : query.latency_s;
      candidate.upload = upload_s * bytes / 1e6;
      if (energy)
        candidate.upload = candidate.upload * (idle_w + source.radio.tx_w - source.radio.idle_w) +
                           bytes * source.radio.tx_j_per_byte;
      candidates.push_back(candidate);
    }
    const auto best = [&](double share) {
      const auto cost = [&](const Candidate& c) { return c.cost + share * c.upload; };
      return *std::ranges::min_element(candidates, {}, cost);
    };
    const auto clear = [&](double share) {
      const Candidate first = best(share);
      const double limit = (first.cost + share * first.upload) * (1 + 1e-9);
      return std::ranges::count_if(
                 candidates, [&](const Candidate& c) { return c.cost + share * c.upload <= limit; }) == 1;
    };

    const Json parameters = {{"K", k}, {"objective", energy ? "energy" : "latency"}, {"server", "edge"}};
    Json free = parameters;
    free["mode"] = "all_at_once";
    const Plan optimum = policy_of("ionn", free)->plan(s.problem());
    const Estimate query = estimate(problem, optimum);
    CHECK((energy ? idle_w * query.latency_s + query.energy_j : query.latency_s) ==
          doctest::Approx(best(0).cost).epsilon(1e-9));

    Partitions expected;
    std::vector<char> chosen(layers.size(), 0);
    bool all_clear = true;
    for (int n = 0; std::pow(k, n) >= 0.01; ++n) {
      const double share = std::pow(k, n);
      all_clear = all_clear && clear(share);
      std::vector<LayerId> next;
      const Candidate now = best(share);
      for (std::size_t i = 0; i < layers.size(); ++i) {
        if (now.on_server[i] == 0 || chosen[i] != 0) continue;
        chosen[i] = 1;
        next.push_back(layers[i]);
      }
      if (!next.empty()) expected.push_back(next);
    }
    if (!all_clear) continue;  // equal placements, of layers that take no time
    const Plan plan = policy_of("ionn", parameters)->plan(problem);
    Partitions found = partitions(plan);
    // What needs no weights has arrived before it is sent.
    const auto arrived = static_cast<std::ptrdiff_t>(plan.decision.at("arrived"));
    REQUIRE(static_cast<std::size_t>(arrived) <= expected.size());
    expected.erase(expected.begin(), expected.begin() + arrived);
    CHECK(found == expected);
    ++compared;
    several += expected.size() > 1;
  }
  MESSAGE(compared, " of 200 compared, ", several, " with several partitions");
  CHECK(compared >= 100);
  CHECK(several >= 20);
}

// AlexNet with the profiles of client and server in the authors' code: plans, cumulative upload times and the
// query's latency that an independent implementation gave, Mbps in the code's 2^20 bit. The code's graph also
// has the time to load a layer, with its upload; K = 0.8 until next to nothing is left of an upload.
TEST_CASE("ionn: AlexNet with the profiles of the authors' code") {
  Json model =
      parse_json(read_text_file(kRoot + "/platforms/latency/ionn_alexnet_code.json"), "ionn_alexnet_code");
  model["devices"]["gtx_1080_ti"]["layers"] = {
      {"conv1", 0.0806976}, {"relu1", 0.0093056}, {"norm1", 0.0293824}, {"pool1", 0.0170752},
      {"conv2", 0.183296},  {"relu2", 0.0070016}, {"norm2", 0.0636672}, {"pool2", 0.0112384},
      {"conv3", 0.107072},  {"relu3", 0.0072832}, {"conv4", 0.0861568}, {"relu4", 0.0070336},
      {"conv5", 0.0687232}, {"relu5", 0.0064896}, {"pool5", 0.0092864}, {"fc6", 0.636442},
      {"relu6", 0.008576},  {"drop6", 0.0011264}, {"fc7", 0.212205},    {"relu7", 0.0078976},
      {"drop7", 0.0011136}, {"fc8", 0.0665408},   {"prob", 0.0110208}};
  struct Step {
    int first, layers;  // all that is on the server
    double upload_s, query_ms;
  };
  const std::map<int, std::vector<Step>> expected{
      {10, {{4, 11, 7.02, 668.7}, {4, 19, 185.94, 331.8}}},
      {20, {{4, 11, 3.51, 547.9}, {4, 19, 92.97, 223.5}}},
      {40, {{0, 8, 0.26, 685.1}, {0, 15, 1.78, 438.5}, {0, 23, 46.51, 120.3}}},
      {80, {{0, 8, 0.13, 609.6}, {0, 15, 0.89, 376.0}, {0, 23, 23.26, 61.0}}},
      {160, {{0, 8, 0.07, 571.9}, {0, 15, 0.45, 344.7}, {0, 23, 11.63, 31.3}}}};
  for (const auto& [mbps, steps] : expected) {
    CAPTURE(mbps);
    Scene s{Platform::parse(R"(<platform version="4.1"><zone id="z" routing="Full">
        <host id="device" speed="1Gf"><prop id="tier" value="device"/>
          <prop id="device_type" value="odroid_xu4"/></host>
        <host id="server" speed="1Gf"><prop id="tier" value="edge"/>
          <prop id="device_type" value="gtx_1080_ti"/></host>
        <link id="net" bandwidth="1Bps" latency="0s"/>
        <route src="device" dst="server"><link_ctn id="net"/></route></zone></platform>)",
                            "p.xml"),
            LayerGraph::load(kRoot + "/workloads/alexnet.json"), LatencyModel::parse(model, "l")};
    const double bytes_per_s = mbps * 1048576.0 / 8;
    s.bandwidth_bytes_per_s = {bytes_per_s};
    Loaded held(s, "server");
    const std::unique_ptr<Policy> policy = policy_of("ionn", {{"K", 0.8}, {"floor", 1e-3}});
    const Plan plan = policy->plan(held.problem(s));
    REQUIRE(plan.uploads.size() == steps.size());
    double bytes = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      CAPTURE(i);
      held.load(plan.uploads[i]);
      bytes += plan.decision.at(fmt::format("partition_{}_bytes", i + 1));
      const std::optional<Plan> now = policy->replan(held.problem(s), seen(Observation::Kind::kWeights));
      REQUIRE(now);
      CHECK(now->decision.at("server_layers") == steps[i].layers);
      const Piece& piece =
          *std::ranges::find(now->pieces, s.host("server"), [](const Piece& p) { return p.host; });
      CHECK(piece.layers.front() == steps[i].first);
      CHECK(std::abs(bytes / bytes_per_s - steps[i].upload_s) < 0.006);
      CHECK(std::abs(1e3 * estimate(s.problem(), *now).latency_s - steps[i].query_ms) < 0.06);
    }
  }
}

TEST_CASE("ionn: wrong parameters") {
  CHECK(input_error([] { policy_of("ionn", {{"K", 0}}); }).starts_with("p.json: /K: 0"));
  CHECK(input_error([] { policy_of("ionn", {{"K", 1}}); }).starts_with("p.json: /K: 1"));
  CHECK(input_error([] { policy_of("ionn", {{"floor", 0}}); }).starts_with("p.json: /floor: 0"));
  CHECK(input_error([] { policy_of("ionn", {{"floor", 1.5}}); }).starts_with("p.json: /floor: 1.5"));
}
