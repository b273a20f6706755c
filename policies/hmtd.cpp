// hmtd: hierarchical task distribution of a UAV: lower layers and an early exit on board, higher layers at
// the edge.
//
// A plan has a lower part e, whose layers run on the UAV (the source), a probability P with which a request
// is offloaded, and a quality q at which its tensors then travel to the MEC server:
//
// - P = 0: the UAV alone, down to exit e, which may be the deepest;
// - 0 < P < 1: every request goes through exit e on the UAV, and a share P of them on to the server, which
//   runs the higher layers: those of the deepest exit that exit e does not need;
// - P = 1: no early exit; the UAV runs what exit e and the deepest exit share, or nothing (lower_part 0):
//   then frames travel.
//
// It minimises over e, P and q
//
//     cost = w D + (1 - w) (E_comp + E_radio + P_fly D)
//     subject to (1 - P) err_e + P (err_N + loss_q) <= bound
//
// with D the latency, s, E_comp and E_radio what the UAV draws for a request above its idle power, J, P_fly
// what keeps it in the air, W; err_e and err_N the errors of exit e and of the deepest one (1 - accuracy),
// loss_q what quality q adds to the latter. D and E are estimate()'s, with the bandwidths as last observed,
// and linear in P: for given e and q the best P is 1 or the smallest that meets the bound,
//
//     P = (err_e - bound) / (err_e - err_N - loss_q),
//
// so that all cases are compared. Where nothing meets the bound, what errs least is taken, of equals the
// cheapest. Bounds of 1 need no accuracies. The decision is made anew when the bandwidths to the server and
// back, the power of flight or the speeds of the two hosts have changed: as the UAV moves. While the server
// cannot be reached the UAV works alone, and so it does for a request that a failure lost.
//
// Restricted by `mode` it is the paper's baselines: "uav_only" (P = 0) and "mec_only" (frames, P = 1).
//
//     parameter | type    | default | meaning
//     ----------|---------|---------|-----------------------------------------------------------------
//     weight    | number  | 0.5     | w, of delay (1/s) against energy (1/J), 0 to 1
//     max_error | number  | 1       | bound on the error rate, 0 to 1
//     qualities | string  | "1:0"   | "ratio:loss ...": bytes on the wire in shares of those without
//               |         |         | compression, in (0, 1], and what that adds to the error, 0 to 1
//     mode      | string  | "hmtd"  | "hmtd", "uav_only" or "mec_only"
//     server    | string  | ""      | the MEC server; empty: of the reachable hosts of tier edge the
//               |         |         | fastest for the whole deepest exit
//
//     {"name": "hmtd", "max_error": 0.24, "qualities": "1:0 0.5:0.005"}
//
// Plan's decision: exit (the deepest that requests reach, from 1), lower_part (e, from 1; 0: frames travel),
// offload_probability (P), quality (ratio; 1 where nothing is offloaded), cost, error (0 without accuracies)
// and feasible (1 where the bound is met) of when it was made.
//
// Source: B. Yang, X. Cao, C. Yuen, L. Qian, "Offloading Optimization in Edge Computing for
// Deep-Learning-Enabled Target Tracking by Internet of UAVs", IEEE IoT Journal 8(12), 2021, arXiv 2008.08001,
// by its abstract; the cost and the constraint are a reconstruction, as the paper itself was not to be had.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <tuple>

#include "policies/shared/hosts.h"
#include "sim/error.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

constexpr int kFrames = -1;  // no lower part

struct Quality {
  double ratio = 1, loss = 0;
};

struct Choice {
  int lower = kFrames;  // exit e
  double offload = 0;   // P
  Quality quality;
  bool operator==(const Choice& other) const {
    return lower == other.lower && offload == other.offload && quality.ratio == other.quality.ratio;
  }
};

struct Candidate {
  Choice choice;
  Plan plan;
  double cost = 0, error = 0;
  bool feasible = false;
};

std::vector<Quality> read_qualities(const Parameters& parameters) {
  const std::string text = parameters.string("qualities");
  std::vector<Quality> out;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at != end;) {
    if (*at == ' ') {
      ++at;
      continue;
    }
    Quality quality;
    const auto ratio = std::from_chars(at, end, quality.ratio);
    const bool colon = ratio.ec == std::errc{} && ratio.ptr != end && *ratio.ptr == ':';
    const auto loss = std::from_chars(colon ? ratio.ptr + 1 : end, end, quality.loss);
    const bool valid = colon && loss.ec == std::errc{} && (loss.ptr == end || *loss.ptr == ' ') &&
                       quality.ratio > 0 && quality.ratio <= 1 && quality.loss >= 0 && quality.loss <= 1;
    if (!valid) parameters.fail("qualities", "valid: pairs \"ratio:loss\", as in \"1:0 0.5:0.005\"");
    out.push_back(quality);
    at = loss.ptr;
  }
  if (out.empty()) parameters.fail("qualities", "holds no quality");
  return out;
}

class Hmtd : public Policy {
 public:
  explicit Hmtd(const Parameters& parameters)
      : parameters_(parameters), qualities_(read_qualities(parameters)), mode_(parameters.string("mode")) {
    for (const char* name : {"weight", "max_error"}) {
      if (!(parameters.number(name) >= 0 && parameters.number(name) <= 1))
        parameters.fail(name, "valid: 0 to 1");
    }
    weight_ = parameters.number("weight");
    bound_ = parameters.number("max_error");
  }

  Plan plan(const Problem& problem) override {
    check_accuracies(problem);
    const std::vector<HostId> servers = server_candidates(problem, parameters_, {Tier::kEdge});
    server_ = fastest_host(problem, deepest_exit(problem), servers);
    depends_on_ = state_of(problem, true);
    const Candidate best = search(problem, true);
    choice_ = best.choice;
    return best.plan;
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    const bool reachable = is_reachable(problem, observation, server_);
    const std::vector<double> state = state_of(problem, reachable);
    if (state == depends_on_) return std::nullopt;
    depends_on_ = state;
    const Candidate best = search(problem, reachable);
    if (best.choice == choice_) return std::nullopt;
    choice_ = best.choice;
    return best.plan;
  }

 private:
  // ---- what it depends on ----

  void check_accuracies(const Problem& problem) const {
    if (bound_ >= 1) return;
    for (const Exit& exit : problem.graph.exits()) {
      if (exit.accuracy) continue;
      throw InputError(
          fmt::format("model \"{}\"", problem.graph.name()),
          fmt::format("exit \"{}\" has no accuracy, which policy hmtd needs for a max_error below 1",
                      exit.name));
    }
  }

  std::vector<double> state_of(const Problem& problem, bool reachable) const {
    std::vector<double> state = server_bandwidths(problem, {server_});
    state.insert(state.end(), {problem.flight_power_w(problem.source), problem.slowdown(problem.source),
                               problem.slowdown(server_), reachable ? 1.0 : 0.0});
    return state;
  }

  // ---- candidates ----

  static double error_of(const Problem& problem, int exit) {
    const Exit& e = problem.graph.exits()[static_cast<std::size_t>(exit)];
    return e.accuracy ? 1 - *e.accuracy : 0;
  }

  Candidate rated(const Problem& problem, const Choice& choice, Plan plan, double error) const {
    const Estimate cost = estimate(problem, plan);
    const double energy_j = cost.energy_j + problem.flight_power_w(problem.source) * cost.latency_s;
    Candidate out{choice, std::move(plan), weight_ * cost.latency_s + (1 - weight_) * energy_j, error,
                  error <= bound_ + 1e-12};
    out.plan.decision = {{"exit", out.plan.exit + 1},
                         {"lower_part", choice.lower + 1},
                         {"offload_probability", choice.offload},
                         {"quality", choice.quality.ratio},
                         {"cost", out.cost},
                         {"error", error},
                         {"feasible", out.feasible ? 1 : 0}};
    return out;
  }

  Candidate on_board(const Problem& problem, int exit) const {
    return rated(problem, {.lower = exit, .offload = 0, .quality = {}},
                 whole_plan(problem.graph, exit, problem.source), error_of(problem, exit));
  }

  // What is shared with the lower part on the UAV, the rest of the deepest exit on the server.
  Candidate offloaded(const Problem& problem, const Choice& choice) const {
    const LayerGraph& graph = problem.graph;
    const int deepest = deepest_exit(problem);
    const bool by_chance = choice.offload < 1;
    Piece lower{.layers = {}, .host = problem.source}, higher{.layers = {}, .host = server_};
    const std::span<const LayerId> below =
        choice.lower == kFrames ? std::span<const LayerId>() : graph.exit_layers(choice.lower);
    const std::span<const LayerId> all = graph.exit_layers(deepest);
    std::ranges::set_intersection(all, below, std::back_inserter(lower.layers));
    std::ranges::set_difference(all, below, std::back_inserter(higher.layers));
    // The exit itself goes with the lower part: one run on the UAV.
    if (by_chance) lower.layers.assign(below.begin(), below.end());

    Plan plan;
    plan.exit = deepest;
    for (Piece* piece : {&lower, &higher}) {
      if (!piece->layers.empty()) plan.pieces.push_back(std::move(*piece));
    }
    const double lossy_error = error_of(problem, deepest) + choice.quality.loss;
    const double error = choice.lower == kFrames ? lossy_error
                                                 : (1 - choice.offload) * error_of(problem, choice.lower) +
                                                       choice.offload * lossy_error;
    if (by_chance) {
      plan.exit_rates.assign(static_cast<std::size_t>(deepest) + 1, 0);
      plan.exit_rates[static_cast<std::size_t>(choice.lower)] = 1 - choice.offload;
      plan.exit_rates.back() = choice.offload;
    }
    if (choice.quality.loss > 0 && graph.exits().back().accuracy) {
      for (int exit = 0; exit < deepest; ++exit) plan.exit_accuracies.push_back(1 - error_of(problem, exit));
      plan.exit_accuracies.push_back(std::max(0.0, 1 - lossy_error));
    }
    if (choice.quality.ratio < 1) {
      for (const PlanEdge& edge : plan_edges(graph, problem.wire, plan)) {
        if (edge.to != kSourceEnd && plan.pieces[static_cast<std::size_t>(edge.to)].host == server_)
          plan.transforms.push_back({edge.from, edge.to, {.ratio = choice.quality.ratio}});
      }
    }
    return rated(problem, choice, std::move(plan), error);
  }

  bool fits(const Problem& problem, const Plan& plan) const {
    return std::ranges::all_of(plan_memory_bytes(problem.graph, plan), [&](const auto& held) {
      const auto& memory = problem.platform.host(held.first).memory_bytes;
      return !memory || held.second <= *memory;
    });
  }

  std::vector<Candidate> candidates(const Problem& problem, bool reachable) const {
    const int deepest = deepest_exit(problem);
    std::vector<Candidate> out;
    const auto add = [&](Candidate candidate) {
      if (fits(problem, candidate.plan)) out.push_back(std::move(candidate));
    };
    if (mode_ != "mec_only" || !reachable) {
      for (int exit = 0; exit <= deepest; ++exit) add(on_board(problem, exit));
    }
    if (mode_ == "uav_only" || !reachable) return out;
    for (const Quality& quality : qualities_) {
      add(offloaded(problem, {kFrames, 1, quality}));
      if (mode_ == "mec_only") continue;
      for (int lower = 0; lower < deepest; ++lower) {
        add(offloaded(problem, {lower, 1, quality}));
        const double low = error_of(problem, lower), high = error_of(problem, deepest) + quality.loss;
        const double least = (low - bound_) / (low - high);
        if (low > bound_ && high < bound_ && least < 1) add(offloaded(problem, {lower, least, quality}));
      }
    }
    return out;
  }

  Candidate search(const Problem& problem, bool reachable) const {
    std::vector<Candidate> all = candidates(problem, reachable);
    if (all.empty()) {
      throw InputError(problem.platform.file(),
                       fmt::format("neither \"{}\" nor \"{}\" has the memory for \"{}\"",
                                   problem.platform.host(problem.source).name,
                                   problem.platform.host(server_).name, problem.graph.name()));
    }
    const auto badness = [](const Candidate& c) {
      return std::tuple(!c.feasible, c.feasible ? 0 : c.error, c.cost);
    };
    Candidate best = *std::ranges::min_element(all, {}, badness);
    if (best.choice.offload == 0) return best;
    // What a failure loses the UAV answers alone, as well as it can.
    std::optional<Candidate> alone;
    for (int exit = 0; exit <= deepest_exit(problem); ++exit) {
      Candidate candidate = on_board(problem, exit);
      if (fits(problem, candidate.plan) && (!alone || candidate.error <= alone->error))
        alone = std::move(candidate);
    }
    if (alone) best.plan.fallbacks = {std::move(alone->plan)};
    return best;
  }

  Parameters parameters_;
  std::vector<Quality> qualities_;
  std::string mode_;
  double weight_ = 0.5, bound_ = 1;
  HostId server_ = 0;
  Choice choice_;
  std::vector<double> depends_on_;
};

const bool registered = register_policy(
    {.name = "hmtd",
     .title = "lower layers on the UAV, higher ones at the edge, with a bound on the error",
     .source = "Yang et al., IEEE IoT Journal 8(12), 2021",
     .about = "The lower layers of a model and an early exit run on a UAV, the higher layers on a MEC "
              "server. Whether, "
              "with which probability and at which quality of the data a request is offloaded minimises a "
              "weighted sum "
              "of delay and of the UAV's energy (flight, computing, radio) under a bound on the error rate.",
     .parameters =
         {{.name = "weight",
           .type = "number",
           .standard = 0.5,
           .about = "of the delay, s, against the energy, J; 0 to 1"},
          {.name = "max_error", .type = "number", .standard = 1, .about = "bound on the error rate, 0 to 1"},
          {.name = "qualities",
           .type = "string",
           .standard = "1:0",
           .about = "pairs ratio:loss, share of the bytes that travel and what that adds to the error"},
          {.name = "mode",
           .type = "string",
           .standard = "hmtd",
           .about = "hmtd, or one of its baselines",
           .choices = {"hmtd", "uav_only", "mec_only"}},
          {.name = "server",
           .type = "string",
           .standard = "",
           .about = "the MEC server; empty: the fastest reachable host of tier edge"}},
     .watches_bandwidth = true,
     .watches_platform = true},
    make<Hmtd>);

}  // namespace
}  // namespace cdisim
