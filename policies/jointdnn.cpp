// jointdnn: for every layer, the device or the cloud, with as many changes of side as pay.
//
// Takes the layers of the deepest exit in topological order. A placement is a path through a graph of two
// nodes a layer, on the device (the source) and on the server; consecutive layers on one side are computed
// as one piece. With TM, TC what a layer takes on the device and on the server, RM, RC what a piece pays
// before its first layer, U and D the transfers up and down of a tensor, and PM, PU, PD the powers that the
// device draws above its idle power for computing, sending and receiving,
//
//     T = sum of TM, TC over the layers + RM, RC over the pieces + U over the changes device -> server
//         + D over the changes server -> device
//     E = PM * (its TM and RM) + PU * (its U) + PD * (its D) + joule per byte sent and received
//
// where the input starts on the device and the result returns to it; waiting costs nothing. Objective latency
// is the shortest path by T, objective energy the shortest one by E; where both sides are equal a layer stays
// on the side of the one before, the first on the device.
//
// With bounds it is the shortest path among those that keep them:
//
//     objective latency:  E <= energy_bound,  time on the server <= server_bound
//     objective energy:   T <= the experiment's deadline,  time on the server <= server_bound
//
// The search is exact; it drops what is dominated in the objective and in all that is bounded (the paper
// writes an integer programme over the same graph instead). Without bounds ResNet-152 takes less than a
// millisecond, with one on E or T up to half a second; with two at once the worst case of 320 took 76 s.
//
// Where nothing keeps them, what bounds it is minimised in place of the objective (E, or T), within
// server_bound.
//
// On a DAG the path remembers for each tensor that is still to be read which side has it, as the paper's two
// extra chains do for the input of a residual block; a tensor travels once to each piece of the other side
// that reads it. T then is an upper bound: the simulation lets branches overlap. The paper measures every
// group of consecutive layers, as the latency of a group is less than the sum of its layers; here that is
// what the latency model has it, RM and RC. Of several servers the best, the first of equals. Decides anew
// whenever the measured bandwidth of a route to a server has changed. Memory is not looked at. Inference
// only: the paper's training, a chain of 2n layers whose second half returns weights, is left out, as
// requests here are inferences. A batch is one input.
//
//     parameter    | type   | default   | meaning
//     -------------|--------|-----------|--------------------------------------------------------------
//     objective    | string | "latency" | "latency" or "energy", what the path minimises
//     server       | string | ""        | the cloud; empty: the best reachable one of tier cloud or edge
//     energy_bound | number | 0         | objective latency: J that the device may spend a request; 0: any
//     server_bound | time   | "0s"      | computing on the server that a request may cause; 0s: any
//
//     {"name": "jointdnn", "objective": "energy", "server_bound": "20ms"}
//
// Plan's decision: device_layers, switches (changes of side), predicted_latency_s (T), predicted_energy_j
// (E), improvement (1 - T or E over that of the better of device and server alone), keeps_bounds (1 or 0).
//
// Source: A. E. Eshratifar, M. S. Abrishami, M. Pedram, "JointDNN: An Efficient Training and Inference Engine
// for Intelligent Mobile Cloud Computing Services", IEEE TMC 20(2), 2021, arXiv 1801.08618v1, section 2.

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "policies/shared/hosts.h"
#include "policies/shared/placement.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

class JointDnn : public Policy {
 public:
  explicit JointDnn(const Parameters& parameters)
      : parameters_(parameters),
        by_energy_(parameters.string("objective") == "energy"),
        objective_(by_energy_ ? &PlacementCost::energy_j : &PlacementCost::latency_s) {
    for (const char* name : {"energy_bound", "server_bound"}) {
      if (parameters.number(name) < 0) parameters.fail(name, "valid: 0 (any) or above");
    }
    if (by_energy_ && parameters.number("energy_bound") > 0)
      parameters.fail("energy_bound", "bounds objective latency only; objective energy minimises it");
  }

  Plan plan(const Problem& problem) override {
    servers_ = server_candidates(problem, parameters_, {Tier::kCloud, Tier::kEdge});
    seen_bytes_per_s_ = server_bandwidths(problem, servers_);
    best_ = decide(problem);
    return plan_of(problem);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& /*observation*/) override {
    std::vector<double> now = server_bandwidths(problem, servers_);
    if (now == seen_bytes_per_s_) return std::nullopt;
    seen_bytes_per_s_ = std::move(now);
    const Decision before = std::exchange(best_, decide(problem));
    if (best_.server == before.server && best_.placement.on_server == before.placement.on_server)
      return std::nullopt;
    return plan_of(problem);
  }

 private:
  struct Decision {
    HostId server = 0;
    Placement placement;
    bool keeps_bounds = true;
    double alone = 0;  // objective of the better side alone
  };

  Decision decide(const Problem& problem) const {
    PlacementBounds bounds;
    (by_energy_ ? bounds.latency_s : bounds.energy_j) =
        by_energy_ ? problem.deadline_s : bound("energy_bound");
    bounds.server_s = bound("server_bound");
    PlacementBounds server_only;
    server_only.server_s = bounds.server_s;
    const PlacementGraph::Objective bounded =
        by_energy_ ? &PlacementCost::latency_s : &PlacementCost::energy_j;

    std::optional<Decision> best;
    double alone = std::numeric_limits<double>::infinity();
    for (const HostId server : servers_) {
      const PlacementGraph graph(problem, deepest_exit(problem), server, objective_);
      for (const bool on_server : {false, true})
        alone = std::min(alone, graph.whole(on_server).cost.*objective_);
      Decision here{server, {}, true, 0};
      if (std::optional<Placement> placement = graph.best(objective_, bounds)) {
        here.placement = std::move(*placement);
      } else {  // the device alone keeps server_bound
        here.placement = *graph.best(bounded, server_only);
        here.keeps_bounds = false;
      }
      if (!best || better(here, *best)) best = std::move(here);
    }
    best->alone = alone;
    return *best;
  }

  bool better(const Decision& a, const Decision& b) const {
    if (a.keeps_bounds != b.keeps_bounds) return a.keeps_bounds;
    const auto by = a.keeps_bounds == by_energy_ ? &PlacementCost::energy_j : &PlacementCost::latency_s;
    return a.placement.cost.*by < b.placement.cost.*by;
  }

  double bound(const char* name) const {
    const double value = parameters_.number(name);
    return value > 0 ? value : std::numeric_limits<double>::infinity();
  }

  Plan plan_of(const Problem& problem) const {
    const Placement& placement = best_.placement;
    Plan plan = placement_plan(problem, deepest_exit(problem), best_.server, placement.on_server);
    plan.decision = {{"device_layers", static_cast<double>(std::ranges::count(placement.on_server, 0))},
                     {"switches", static_cast<double>(plan.pieces.size() - 1)},
                     {"predicted_latency_s", placement.cost.latency_s},
                     {"predicted_energy_j", placement.cost.energy_j},
                     {"improvement", best_.alone > 0 ? 1 - placement.cost.*objective_ / best_.alone : 0},
                     {"keeps_bounds", best_.keeps_bounds ? 1 : 0}};
    return plan;
  }

  Parameters parameters_;
  bool by_energy_;
  PlacementGraph::Objective objective_;
  std::vector<HostId> servers_;
  std::vector<double> seen_bytes_per_s_;
  Decision best_;
};

const bool registered = register_policy(
    {.name = "jointdnn",
     .title = "each layer on the device or in the cloud, by shortest path",
     .source = "Eshratifar et al., JointDNN, IEEE TMC 2021 (arXiv 1801.08618)",
     .about =
         "Places every layer of the deepest exit on the source or on a server, back and forth where that "
         "pays, as the shortest path by latency or by the source's energy; under an energy bound, a deadline "
         "(objective energy) or a bound on the server's work as the constrained shortest path. Decided anew "
         "when the bandwidth changes.",
     .parameters = {{.name = "objective",
                     .type = "string",
                     .standard = "latency",
                     .about = "what the path minimises",
                     .choices = {"latency", "energy"}},
                    {.name = "server",
                     .type = "string",
                     .standard = "",
                     .about = "the cloud; empty: the best reachable host of tier cloud or edge"},
                    {.name = "energy_bound",
                     .type = "number",
                     .standard = 0,
                     .about = "objective latency: J that the source may spend a request; 0: any"},
                    {.name = "server_bound",
                     .type = "time",
                     .standard = "0s",
                     .about = "computing on the server that a request may cause; 0s: any"}},
     .watches_bandwidth = true},
    make<JointDnn>);

}  // namespace
}  // namespace cdisim
