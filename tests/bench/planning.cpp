// How long planning takes: ResNet-152 between a device, an edge and a cloud (`make bench`).
//
//     build/tests/bench/planning ROOT        ROOT holds platforms/ and workloads/
//
// Every policy plans for device_0 of cloud_edge_device: from nothing ("plan"), once a bandwidth has changed
// ("again"), and where nothing has changed since its last decision ("kept"), which must leave its plan as it
// is. "three tiers" is the minimum cut between device and edge, then between edge and cloud for the layers
// that left the device. "100 UAVs" is distinference's heuristic for a swarm of which each has a request.
// Medians of the rounds of half a second, at least 11. Exit status 1 if a bound is exceeded, or if a policy
// with bounds does not keep its plan.

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <map>

#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "policies/shared/min_cut.h"
#include "sim/error.h"
#include "sim/policy.h"

using namespace cdisim;

namespace {

constexpr double kChain_s = 1e-3;    // a search of all partition points of a chain, at most
constexpr double kMinCut_s = 5e-3;   // a minimum cut, its costs included
constexpr double kSwarm_s = 50e-3;   // requests of 100 UAVs, one after another
constexpr double kKept_s = 0.05e-3;  // to see that nothing has changed
const std::map<std::string, double> kBounds_s{
    {"dads", kMinCut_s}, {"edgent", kChain_s}, {"neurosurgeon", kChain_s}};

constexpr double kRounds_s = 0.5;
constexpr std::size_t kFewestRounds = 11;

// Of the processor's time: what else the machine does is not planning.
double median_s(const std::function<void()>& timed) {
  const auto since_s = [](std::clock_t start) {
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  std::vector<double> rounds;
  const std::clock_t start = std::clock();
  while (rounds.size() < kFewestRounds || since_s(start) < kRounds_s) {
    const std::clock_t round = std::clock();
    timed();
    rounds.push_back(since_s(round));
  }
  const auto middle = rounds.begin() + static_cast<std::ptrdiff_t>(rounds.size() / 2);
  std::ranges::nth_element(rounds, middle);
  return *middle;
}

struct Timing {
  double plan_s = 0, again_s = 0, kept_s = 0;
  bool kept = true;
};

class Bench {
 public:
  /// All of `sources` have requests; the first one plans.
  Bench(const std::string& root, Platform platform, const std::vector<std::string>& sources)
      : platform_(std::move(platform)),
        graph_(LayerGraph::load(root + "/workloads/resnet152.json")),
        model_(LatencyModel::roofline(root + "/platforms/hardware.json")),
        on_(static_cast<std::size_t>(std::max(platform_.host_count(), platform_.link_count())), 1) {
    for (const Link& link : platform_.links()) bandwidth_bytes_per_s_.push_back(link.bandwidth_bytes_per_s);
    for (const std::string& name : sources) sources_.push_back(platform_.find_host(name));
  }

  Problem problem() const {
    return {.graph = graph_,
            .platform = platform_,
            .latency_model = model_,
            .wire = wire_,
            .source = sources_.front(),
            .deadline_s = 1,
            .bandwidth_bytes_per_s = bandwidth_bytes_per_s_,
            .history = {},
            .sources = sources_};
  }

  Timing policy(const PolicyFacts& facts) {
    const auto fresh = [&] {
      return make_policy(facts, Parameters(facts, JsonReader(Json::object(), "bench")));
    };
    Timing out;
    out.plan_s = median_s([&] { fresh()->plan(problem()); });
    const std::unique_ptr<Policy> policy = fresh();
    policy->plan(problem());
    double date_s = 0;
    const auto replan = [&] {
      return policy->replan(problem(),
                            {.kind = Observation::Kind::kBandwidth,
                             .date_s = date_s += 1,
                             .queue_length = [](HostId) { return 0; },
                             .host_on = {on_.data(), static_cast<std::size_t>(platform_.host_count())},
                             .link_on = {on_.data(), static_cast<std::size_t>(platform_.link_count())}});
    };
    out.kept_s = median_s([&] { out.kept = !replan() && out.kept; });
    double& bandwidth = bandwidth_bytes_per_s_[0];
    const double usual = bandwidth;
    out.again_s = median_s([&] {
      bandwidth = bandwidth == usual ? 0.1 * usual : usual;
      replan();
    });
    bandwidth = usual;
    return out;
  }

  // Of the device, the edge and the cloud, as many as are used.
  std::vector<std::vector<LayerId>> three_tiers() const {
    const Problem p = problem();
    const std::span<const LayerId> layers = graph_.exit_layers(deepest_exit(p));
    const HostId hosts[] = {p.source, p.reachable(Tier::kEdge).front(), p.reachable(Tier::kCloud).front()};
    const auto layer_costs = [&](HostId host) {
      const PieceTimes times = piece_times(p, layers, host);
      std::vector<double> out(static_cast<std::size_t>(graph_.size()), 0);
      for (std::size_t i = 0; i < layers.size(); ++i)
        out[static_cast<std::size_t>(layers[i])] = times.layer_s[i];
      return std::pair(out, times.run_s);
    };
    std::vector<std::vector<LayerId>> out;
    std::vector<LayerId> rest(layers.begin(), layers.end());
    auto [here_s, here_run_s] = layer_costs(hosts[0]);
    for (int tier = 0; tier < 2; ++tier) {
      auto [next_s, next_run_s] = layer_costs(hosts[tier + 1]);
      CutCosts costs{.first = here_s, .second = next_s, .crossing = std::vector<double>(here_s.size(), 0)};
      const Hop up(p, hosts[tier], hosts[tier + 1]);
      for (const LayerId id : rest) {
        costs.crossing[static_cast<std::size_t>(id)] = up.cost(tensor_bytes(graph_, wire_, id)).latency_s;
      }
      costs.input_crossing = up.cost(input_bytes(p)).latency_s;
      costs.first_used = here_run_s;
      costs.second_used = next_run_s;
      const Cut cut = MinCut(graph_, rest).least(costs);
      out.push_back(cut.first);
      rest = cut.second;
      here_s = std::move(next_s);
      here_run_s = next_run_s;
    }
    out.push_back(rest);
    return out;
  }

 private:
  Platform platform_;
  LayerGraph graph_;
  LatencyModel model_;
  WireFormat wire_;
  std::vector<double> bandwidth_bytes_per_s_;
  std::vector<char> on_;
  std::vector<HostId> sources_;
};

// A link between any two, requests on all, and room for most of a model on each.
Bench swarm(const std::string& root, int n) {
  std::string xml = R"(<platform version="4.1"><zone id="swarm" routing="Full">)", routes;
  std::vector<std::string> names;
  for (int i = 0; i < n; ++i) {
    names.push_back(fmt::format("uav_{}", i));
    xml +=
        fmt::format(R"(<host id="uav_{}" speed="471.8592Gf"><prop id="tier" value="uav"/>)"
                    R"(<prop id="device_type" value="jetson_nano"/><prop id="memory" value="200MB"/></host>)",
                    i);
    for (int k = 0; k < i; ++k) {
      routes +=
          fmt::format(R"(<route src="uav_{0}" dst="uav_{1}"><link_ctn id="air_{0}_{1}"/></route>)", k, i);
    }
  }
  for (int i = 0; i < n; ++i) {
    for (int k = i + 1; k < n; ++k)
      xml +=
          fmt::format(R"(<link id="air_{}_{}" bandwidth="{}Mbps" latency="2ms"/>)", i, k, 20 + (i + k) % 99);
  }
  return {root, Platform::parse(xml + routes + "</zone></platform>", "swarm.xml"), names};
}

// One line of the table. @returns whether the bounds hold.
bool report(const std::string& name, const Timing& t, double bound_s) {
  const bool bounded = bound_s > 0;
  const auto cell = [&](double s) { return s > 0 ? fmt::format("{:.3f}", s * 1e3) : "-"; };
  const bool holds = !bounded || (std::max(t.plan_s, t.again_s) <= bound_s && t.kept_s <= kKept_s && t.kept);
  fmt::print("{:<20} {:>9} {:>9} {:>8} {:>9}{}\n", name, cell(t.plan_s), cell(t.again_s),
             bounded ? fmt::format("<={:g}", bound_s * 1e3) : "", t.kept ? cell(t.kept_s) : "not kept",
             holds ? "" : "  exceeded");
  return holds;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    fmt::print(stderr, "usage: {} ROOT\n", argv[0]);
    return 2;
  }
  const std::string root = argv[1];
  Bench bench(root, Platform::load(root + "/platforms/cloud_edge_device.xml"), {"device_0"});
  const std::string head = fmt::format("{:<20} {:>9} {:>9} {:>8} {:>9}", "planning, ms", "plan", "again",
                                       "bound", fmt::format("kept<={:g}", kKept_s * 1e3));
  fmt::print("{}\n{}\n", head, std::string(head.size(), '-'));
  bool holds = report("three tiers", {.plan_s = median_s([&] { bench.three_tiers(); })}, kMinCut_s);
  holds =
      report("100 UAVs", swarm(root, 100).policy(policy_facts("distinference", "bench")), kSwarm_s) && holds;
  for (const PolicyFacts* facts : registered_policies()) {
    const auto bound = kBounds_s.find(facts->name);
    try {
      holds =
          report(facts->name, bench.policy(*facts), bound == kBounds_s.end() ? 0 : bound->second) && holds;
    } catch (const InputError& error) {
      fmt::print("{:<20} {}\n", facts->name, error.what());
      holds = holds && bound == kBounds_s.end();
    }
  }
  return holds ? 0 : 1;
} catch (const std::exception& error) {
  fmt::print(stderr, "planning: {}\n", error.what());
  return 1;
}
