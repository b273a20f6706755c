// ddnn: end devices that share one inference, with exits at the local aggregator, the edge and the cloud.
//
// Every device computes its part of the model on what its own sensor sees: all layers that depend on no other
// device. The aggregator, which is the source, gathers the devices' class scores and runs what else the first
// exit needs. A request whose normalised entropy, - sum of p_c log p_c / log(number of classes), is at most
// the threshold T stops there; otherwise each device sends its tensor on to the host of the next exit. Exits
// between the first and the last run on a host of tier edge (of the cloud, where there is none), the last on
// one of tier cloud (of the edge, where there is none): the reachable ones of least estimated latency. A
// device sends, per request,
//
//     c = 4 |C| + (1 - l) f o / 8   bytes,
//
// l being the share that stops locally, |C| classes, f filters of o bits each; here that follows from the
// layer graph. Without sensors the source is the only device and the aggregator; a model with one exit has
// nothing but the devices' parts and the cloud's.
//
// Where each part runs is thus fixed; the policy decides the threshold, from those that the model states
// with their exit rates and accuracies: `threshold`, or of those whose accuracy, sum over the exits of rate
// times accuracy, is at least `accuracy` the one whose devices send the fewest bytes, or, where there is
// none, the most accurate one. Equal ones: the fewest bytes, then the lowest. Without thresholds all requests
// stop at `exit`, or as the exits' own rates say.
//
// Devices that are off are left out, of new requests and of those that they lost and that the experiment's
// on_failure lets try again: what joins the devices' tensors takes those that are there.
//
//     parameter | type    | default | meaning
//     ----------|---------|---------|------------------------------------------------------------------------
//     threshold | number  | -1      | the model's threshold of this value; -1: by `accuracy`
//     accuracy  | number  | 1       | least accuracy of which the fewest bytes are taken, 0 to 1
//     exit      | integer | 0       | exit at which all requests stop, counted from 1; 0: by the threshold
//
//     {"name": "ddnn", "threshold": 0.8}
//
// Plan's decision: device_bytes (c, the mean over the devices); where thresholds decide also threshold and
// accuracy.
//
// Source: S. Teerapittayanon, B. McDanel, H. T. Kung, "Distributed Deep Neural Networks over the Cloud, the
// Edge and End Devices", ICDCS 2017, doi 10.1109/ICDCS.2017.226, sections III and IV, equation 1.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "policies/shared/failures.h"
#include "policies/shared/hosts.h"
#include "sim/error.h"

namespace cdisim {
namespace {

// The devices whose sensors a layer depends on, by LayerId.
std::vector<std::set<HostId>> devices_of_layers(const Problem& problem) {
  std::vector<std::set<HostId>> out(static_cast<std::size_t>(problem.graph.size()));
  for (LayerId id = 0; id < problem.graph.size(); ++id) {
    std::set<HostId>& devices = out[static_cast<std::size_t>(id)];
    const auto sensor = problem.wire.sensors.find(id);
    if (sensor != problem.wire.sensors.end()) devices.insert(sensor->second);
    for (const LayerId input : problem.graph.layer(id).inputs) {
      if (input == kInput) continue;
      const std::set<HostId>& more = out[static_cast<std::size_t>(input)];
      devices.insert(more.begin(), more.end());
    }
  }
  return out;
}

class Ddnn : public Policy {
 public:
  explicit Ddnn(const Parameters& parameters) : parameters_(parameters) {
    const double threshold = parameters.number("threshold"), accuracy = parameters.number("accuracy");
    if (threshold != -1 && !(threshold >= 0 && threshold <= 1))
      parameters.fail("threshold", "valid: 0 to 1, or -1");
    if (!(accuracy >= 0 && accuracy <= 1)) parameters.fail("accuracy", "valid: 0 to 1");
  }

  Plan plan(const Problem& problem) override {
    const LayerGraph& graph = problem.graph;
    const int stop = chosen_exit(problem, parameters_);
    const bool all_stop = parameters_.integer("exit") > 0;
    if (all_stop) {
      whole_ = placed(problem, {.used = {stop}});
    } else if (graph.thresholds().empty()) {
      whole_ = placed(problem, published_rates(graph));
    } else {
      whole_ = best_threshold(problem);
    }
    on_.assign(static_cast<std::size_t>(problem.platform.host_count()), true);
    return *whole_;
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    std::vector<bool> works = hosts_on(problem, observation);
    if (works == on_) return std::nullopt;
    on_ = std::move(works);
    // Where nothing is left that gives a result, requests are lost until a host returns.
    std::optional<Plan> left = plan_without(problem.graph, *whole_, on_);
    return left ? left : whole_;
  }

 private:
  struct Exits {
    std::vector<int> used;  // ascending; a threshold's exits are, even where nothing stops
    std::vector<double> rates = {}, accuracies = {};
  };

  static Exits exits_of(const Threshold& threshold) {
    Exits exits{.used = std::vector<int>(threshold.rates.size()),
                .rates = threshold.rates,
                .accuracies = threshold.accuracies};
    std::iota(exits.used.begin(), exits.used.end(), 0);
    return exits;
  }

  static Exits published_rates(const LayerGraph& graph) {
    const int deepest = static_cast<int>(graph.exits().size()) - 1;
    Exits exits{.used = {}};
    double sum = 0;
    for (int exit = 0; exit <= deepest; ++exit) {
      const double rate = graph.exits()[static_cast<std::size_t>(exit)].rate.value_or(0);
      exits.rates.push_back(rate);
      sum += rate;
      if (rate > 0 || exit == deepest) exits.used.push_back(exit);
    }
    exits.rates.back() += std::max(0.0, 1 - sum);
    if (sum == 0) exits.rates.clear();
    return exits;
  }

  // Devices' parts on the devices, the first exit's rest on the source, the others' on edge and cloud.
  static Plan placed(const Problem& problem, const Exits& exits) {
    const LayerGraph& graph = problem.graph;
    const int deepest = deepest_exit(problem);
    Plan plan;
    plan.exit = exits.used.back();
    plan.exit_rates = exits.rates;
    plan.exit_accuracies = exits.accuracies;
    std::set<HostId> all;
    for (const auto& [layer, device] : problem.wire.sensors) all.insert(device);
    // A single device computes nothing for others: but for the sensor's layer it is the aggregator that does.
    std::vector<std::set<HostId>> devices = devices_of_layers(problem);
    for (LayerId id = 0; id < graph.size() && all.size() < 2; ++id) {
      if (!problem.wire.sensors.contains(id)) devices[static_cast<std::size_t>(id)].clear();
    }
    if (all.empty()) all.insert(problem.source);
    std::map<std::pair<int, HostId>, std::size_t> piece_of;  // by exit (-1: devices) and host
    std::map<int, HostId> host_of_exit;
    std::set<LayerId> layers;
    for (const int exit : exits.used)
      layers.insert(graph.exit_layers(exit).begin(), graph.exit_layers(exit).end());
    for (const LayerId id : layers) {
      int exit = -1;
      HostId host = problem.source;
      if (devices[static_cast<std::size_t>(id)].size() == 1) {
        host = *devices[static_cast<std::size_t>(id)].begin();
      } else {
        exit = 0;
        while (!std::ranges::binary_search(graph.exit_layers(exit), id)) ++exit;
        const auto [known, is_new] = host_of_exit.try_emplace(exit, problem.source);
        if (is_new) known->second = exit_host(problem, exit, deepest);
        host = known->second;
      }
      const auto [piece, is_new] = piece_of.try_emplace({exit, host}, plan.pieces.size());
      if (is_new) plan.pieces.push_back({{}, host});
      plan.pieces[piece->second].layers.push_back(id);
    }
    plan.decision["device_bytes"] = bytes_sent(problem, plan, all) / static_cast<double>(all.size());
    return plan;
  }

  static HostId exit_host(const Problem& problem, int exit, int deepest) {
    if (exit == 0 && deepest > 0) return problem.source;
    const Tier first = exit == deepest ? Tier::kCloud : Tier::kEdge,
               second = exit == deepest ? Tier::kEdge : Tier::kCloud;
    std::vector<HostId> hosts = servers_of_tiers(problem, {first, second});
    const auto of_first = [&](HostId host) { return problem.platform.host(host).tier == first; };
    if (std::ranges::any_of(hosts, of_first))
      std::erase_if(hosts, [&](HostId host) { return !of_first(host); });
    return fastest_host(problem, exit, hosts);
  }

  // Expected, of one request.
  static double bytes_sent(const Problem& problem, const Plan& plan, const std::set<HostId>& senders) {
    double bytes = 0;
    for (int exit = 0; exit <= plan.exit; ++exit) {
      const double rate =
          plan.exit_rates.empty() ? exit == plan.exit : plan.exit_rates[static_cast<std::size_t>(exit)];
      if (rate == 0) continue;
      const Plan stopped = stopped_at(problem.graph, plan, exit);
      const auto host_of = [&](int end) {
        return end == kSourceEnd ? problem.source : stopped.pieces[static_cast<std::size_t>(end)].host;
      };
      for (const PlanEdge& edge : plan_edges(problem.graph, problem.wire, stopped)) {
        const HostId from = host_of(edge.from);
        if (from != host_of(edge.to) && senders.contains(from)) bytes += rate * edge.bytes;
      }
    }
    return bytes;
  }

  Plan best_threshold(const Problem& problem) const {
    const double value = parameters_.number("threshold"), least = parameters_.number("accuracy");
    std::optional<Plan> best;
    std::vector<std::string> values;
    for (const Threshold& threshold : problem.graph.thresholds()) {
      values.push_back(fmt::format("{}", threshold.value));
      if (value >= 0 && threshold.value != value) continue;
      Plan plan = placed(problem, exits_of(threshold));
      double accuracy = 0;
      for (std::size_t e = 0; e < threshold.rates.size(); ++e)
        accuracy += threshold.rates[e] * threshold.accuracies[e];
      plan.decision["threshold"] = threshold.value;
      plan.decision["accuracy"] = accuracy;
      if (!best || better(plan, *best, least)) best = std::move(plan);
    }
    if (!best) {
      parameters_.fail("threshold", fmt::format("\"{}\" states no such threshold{}", problem.graph.name(),
                                                valid_choices(fmt::format("{}", value), values)));
    }
    return *best;
  }

  // Equal but for rounding is enough.
  static bool better(const Plan& plan, const Plan& than, double least) {
    const double a = plan.decision.at("accuracy"), b = than.decision.at("accuracy");
    const double fewer = than.decision.at("device_bytes") - plan.decision.at("device_bytes");
    const bool enough = a >= least - 1e-12, was_enough = b >= least - 1e-12;
    if (enough != was_enough) return enough;
    if (!enough && std::abs(a - b) > 1e-12) return a > b;
    return fewer > 1e-12;
  }

  Parameters parameters_;
  std::optional<Plan> whole_;
  std::vector<bool> on_;  // (n_hosts)
};

const bool registered = register_policy(
    {.name = "ddnn",
     .title = "devices that share one inference, exits at the aggregator, the edge and the cloud",
     .source = "S. Teerapittayanon, B. McDanel, H. T. Kung, Distributed Deep Neural Networks over the Cloud, "
               "the Edge and End Devices, ICDCS 2017",
     .about = "Runs each device's part of the model on the device, the rest of each exit on the source, the "
              "edge and the cloud, and decides the exits' entropy threshold for an accuracy or for bytes. "
              "Leaves out devices that are off.",
     .parameters = {{.name = "threshold",
                     .type = "number",
                     .standard = -1,
                     .about = "the model's threshold of this value; -1: by the accuracy"},
                    {.name = "accuracy",
                     .type = "number",
                     .standard = 1,
                     .about = "least accuracy of which the fewest bytes are taken"},
                    {.name = "exit",
                     .type = "integer",
                     .standard = 0,
                     .about = "exit at which all requests stop, counted from 1; 0: by the threshold"}},
     .watches_platform = true},
    make<Ddnn>);

}  // namespace
}  // namespace cdisim
