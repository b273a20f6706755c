// dads: a DAG cut between the device and a server, for the latency of one frame or, under load, for the rate.
//
// Every layer runs on the source or on the server, and no tensor returns from the server but the result. Of a
// cut, with V_E on the source, V_C on the server and V_S the tensors that V_C reads and V_E, or the input,
// makes:
//
//     T_e = sum of the device's times of V_E,  T_c = sum of the server's times of V_C,
//     T_t = sum over V_S of bytes / B + bytes of the result / B back, where V_C is not empty,
//
// B the bandwidth as last observed. What a run costs before its first layer belongs to T_e and T_c.
//
// Light load (DSL) minimises the latency T_e + T_t + T_c + the route's latency, there and back, if anything
// is on the server: exactly, as a minimum cut. The sum counts every transfer; where the server reads the
// input besides the device's tensors, the input travels meanwhile and the frame is faster than that.
//
// Heavy load (DSH) minimises the longest stage max{T_e, T_t, T_c}, one over which is the rate of device, link
// and server working on different frames at once. That is NP-hard; it cuts for alpha T_e + T_t + gamma T_c on
// a grid of alpha in [0, sum F_e / min F_t] and gamma in [0, sum F_c / min F_t], F the times of all layers
// and tensors, takes the cut of the least longest stage, and looks again with a step K times smaller between
// its neighbours on the grid, until that gains less than epsilon. (alpha, gamma) = (1, 1) is on the grid,
// hence at most 3 times the optimum: the sum of the three is no larger than that of the best cut. The paper's
// grid has steps of 1; where it would have more than `grid` points a side, the points grow geometrically. A
// box with the same cut at its four corners has that cut everywhere (the set where a cut is best is convex),
// so its inside is left out. DSL's cut is among those compared.
//
// Mode "auto" decides anew at every measurement of the bandwidth, but at most once a period: DSL's cut where
// its longest stage is no longer than one over the rate of the arrivals, else DSH's. Where not even that
// keeps up, the paper has the source ask less often; here the source goes on and frames queue
// (sustainable_rate_per_s in the plan's decision says what would do). The rate is a parameter, or that of the
// last `window` arrivals; before there are two, the load counts as light. Cuts are kept while the bandwidths
// stay as they are, plans while the cut does. Memory is not looked at.
//
//     parameter | type    | default | meaning
//     ----------|---------|---------|------------------------------------------------------------------------
//     mode      | string  | "auto"  | "auto", "light" (always DSL) or "heavy" (always DSH)
//     rate      | number  | 0       | auto: arrivals a second; 0: as observed
//     window    | integer | 10      | auto: gaps between arrivals that the observed rate is averaged over
//     period    | time    | "0s"    | least time between two decisions
//     server    | string  | ""      | host of the rest; empty: the best of tier cloud or edge
//     grid      | integer | 20      | DSH: most points a side of the first grid, from 3
//     shrink    | integer | 2       | DSH: K, how much finer the next grid is, from 2
//     epsilon   | number  | 0.001   | DSH: least relative gain of a finer grid that asks for another, from 0
//
//     {"name": "dads", "mode": "auto", "rate": 20, "period": "1s"}
//
// Plan's decision: partition_point (layers on the source), heavy (0: DSL, 1: DSH), device_s, link_s, cloud_s
// (T_e, T_t, T_c), sustainable_rate_per_s (one over the longest).
//
// Source: C. Hu, W. Bao, D. Wang, F. Liu, "Dynamic Adaptive DNN Surgery for Inference Acceleration on the
// Edge", INFOCOM 2019, doi 10.1109/INFOCOM.2019.8737614, DSL, DSH and the DADS controller.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "policies/shared/min_cut.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

// T_e, T_t and T_c of a cut, s.
struct Stages {
  double device_s = 0, link_s = 0, cloud_s = 0;
  double longest_s() const { return std::max({device_s, link_s, cloud_s}); }
  double sum_s() const { return device_s + link_s + cloud_s; }
};

struct Choice {
  HostId server = 0;
  Cut cut;
  Stages stages;
  bool heavy = false;
};

// The cuts between the source and one server.
class Surgery {
 public:
  Surgery(const Problem& problem, HostId server)
      : server_(server), min_cut_(problem.graph, problem.graph.exit_layers(deepest_exit(problem))) {
    const std::span<const LayerId> layers = problem.graph.exit_layers(deepest_exit(problem));
    const PieceTimes device = piece_times(problem, layers, problem.source),
                     cloud = piece_times(problem, layers, server);
    const auto n = static_cast<std::size_t>(problem.graph.size());
    costs_.first.assign(n, 0);
    costs_.second.assign(n, 0);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const auto id = static_cast<std::size_t>(layers[i]);
      // Differences of rounded times may fall below 0.
      costs_.first[id] = std::max(0.0, device.layer_s[i]);
      costs_.second[id] = std::max(0.0, cloud.layer_s[i]);
    }
    costs_.first_used = std::max(0.0, device.run_s);
    cloud_run_s_ = std::max(0.0, cloud.run_s);
    costs_.crossing.assign(n, 0);
  }

  // Takes the present bandwidths; while they stay, so do the cuts.
  void observe(const Problem& problem) {
    const double up = bottleneck_bytes_per_s(problem, problem.source, server_),
                 back = bottleneck_bytes_per_s(problem, server_, problem.source);
    if (up == up_bytes_per_s_ && back == back_bytes_per_s_) return;
    up_bytes_per_s_ = up;
    back_bytes_per_s_ = back;
    const std::span<const LayerId> layers = problem.graph.exit_layers(deepest_exit(problem));
    for (const LayerId id : layers) {
      costs_.crossing[static_cast<std::size_t>(id)] = tensor_bytes(problem.graph, problem.wire, id) / up;
    }
    costs_.input_crossing = tensor_bytes(problem.graph, problem.wire, kInput) / up;
    const double result_bytes =
        problem.wire.result_bytes.value_or(tensor_bytes(problem.graph, problem.wire, exit_layer(problem)));
    result_s_ = result_bytes / back;
    latency_s_ = problem.platform.route(problem.source, server_)->latency_s +
                 problem.platform.route(server_, problem.source)->latency_s;
    light_.reset();
    heavy_.reset();
  }

  // DSL, and what it minimises.
  const Choice& light() {
    if (!light_) light_ = choice(cut_for(1, 1, latency_s_), false);
    return *light_;
  }
  double latency_s() { return light().stages.sum_s() + (light().cut.second.empty() ? 0 : latency_s_); }

  // DSH.
  const Choice& heavy(int grid, int shrink, double epsilon) {
    if (heavy_) return *heavy_;
    heavy_ = choice(light().cut, true);
    const Axes whole{axis(sum(costs_.first) + costs_.first_used, grid),
                     axis(sum(costs_.second) + cloud_run_s_, grid)};
    Axes axes = whole;
    for (double before = std::numeric_limits<double>::infinity();;) {
      const auto [i, j] = best_on(axes);
      const double now = heavy_->stages.longest_s();
      if (now == 0 || !(before - now > epsilon * now)) break;
      before = now;
      axes = {between_neighbours(axes.alpha, i, shrink), between_neighbours(axes.gamma, j, shrink)};
    }
    return *heavy_;
  }

 private:
  struct Axes {
    std::vector<double> alpha, gamma;
  };

  static LayerId exit_layer(const Problem& problem) { return problem.graph.exits().back().layer; }

  static double sum(const std::vector<double>& values) {
    double out = 0;
    for (const double value : values) out += value;
    return out;
  }

  // The cut of least alpha T_e + T_t + gamma T_c + latency.
  Cut cut_for(double alpha, double gamma, double latency_s) {
    CutCosts scaled = costs_;
    for (double& s : scaled.first) s *= alpha;
    for (double& s : scaled.second) s *= gamma;
    scaled.first_used *= alpha;
    scaled.second_used = gamma * cloud_run_s_ + result_s_ + latency_s;
    return min_cut_.least(scaled);
  }

  Choice choice(Cut cut, bool heavy) const {
    Stages stages;
    if (!cut.first.empty()) stages.device_s = costs_.first_used;
    for (const LayerId id : cut.first) stages.device_s += costs_.first[static_cast<std::size_t>(id)];
    for (const LayerId id : cut.crossing) {
      stages.link_s += id == kInput ? costs_.input_crossing : costs_.crossing[static_cast<std::size_t>(id)];
    }
    if (!cut.second.empty()) {
      stages.link_s += result_s_;
      stages.cloud_s = cloud_run_s_;
    }
    for (const LayerId id : cut.second) stages.cloud_s += costs_.second[static_cast<std::size_t>(id)];
    return {server_, std::move(cut), stages, heavy};
  }

  // 0, 1, 2, ... up to `work_s` over the shortest transfer, or fewer points that grow geometrically.
  std::vector<double> axis(double work_s, int most) const {
    double shortest_s = std::numeric_limits<double>::infinity();
    const auto take = [&](double s) {
      if (s > 0) shortest_s = std::min(shortest_s, s);
    };
    for (const double s : costs_.crossing) take(s);
    take(costs_.input_crossing);
    const double end = std::max(1.0, work_s / shortest_s);
    std::vector<double> out{0, 1};
    if (end + 1 <= most) {
      while (out.back() + 1 <= end) out.push_back(out.back() + 1);
    } else {
      const double factor = std::pow(end, 1.0 / (most - 2));
      while (static_cast<int>(out.size()) < most) out.push_back(out.back() * factor);
    }
    return out;
  }

  static std::vector<double> between_neighbours(const std::vector<double>& axis, std::size_t i, int shrink) {
    std::vector<double> out{axis[i]};
    const auto add = [&](double end) {
      for (int k = 1; k <= shrink; ++k) out.push_back(axis[i] + (end - axis[i]) * k / shrink);
    };
    if (i > 0) add(axis[i - 1]);
    if (i + 1 < axis.size()) add(axis[i + 1]);
    std::ranges::sort(out);
    return out;
  }

  // Lowers heavy_ to the best cut of the grid. @returns where that is, or the first best of the grid.
  std::pair<std::size_t, std::size_t> best_on(const Axes& axes) {
    std::map<std::pair<std::size_t, std::size_t>, Cut> cuts;
    std::pair<std::size_t, std::size_t> best{0, 0};
    double least = std::numeric_limits<double>::infinity();
    const auto at = [&](std::size_t i, std::size_t j) -> const Cut& {
      const auto [entry, is_new] = cuts.try_emplace({i, j});
      if (is_new) {
        entry->second = cut_for(axes.alpha[i], axes.gamma[j], 0);
        Choice found = choice(entry->second, true);
        if (found.stages.longest_s() < least) {
          least = found.stages.longest_s();
          best = {i, j};
        }
        if (found.stages.longest_s() < heavy_->stages.longest_s()) heavy_ = std::move(found);
      }
      return entry->second;
    };
    const auto search = [&](const auto& self, std::size_t i0, std::size_t i1, std::size_t j0,
                            std::size_t j1) -> void {
      int alike = 0;
      for (const auto& [x, y] : {std::pair(i0, j0), std::pair(i0, j1), std::pair(i1, j0), std::pair(i1, j1)})
        alike += at(x, y).first == at(i0, j0).first;
      if (alike == 4) return;
      const std::size_t i = (i0 + i1) / 2, j = (j0 + j1) / 2;
      if (i == i0 && j == j0) return;  // no inside
      if (i > i0 && j > j0) self(self, i0, i, j0, j);
      if (j > j0) self(self, i, i1, j0, j);
      if (i > i0) self(self, i0, i, j, j1);
      self(self, i, i1, j, j1);
    };
    search(search, 0, axes.alpha.size() - 1, 0, axes.gamma.size() - 1);
    return best;
  }

  HostId server_;
  MinCut min_cut_;
  CutCosts costs_;  // of alpha = gamma = 1; second_used is the sum of the next three
  double cloud_run_s_ = 0, result_s_ = 0, latency_s_ = 0;
  double up_bytes_per_s_ = 0, back_bytes_per_s_ = 0;
  std::optional<Choice> light_, heavy_;
};

class Dads : public Policy {
 public:
  explicit Dads(const Parameters& parameters)
      : parameters_(parameters), mode_(parameters.string("mode")), rate_per_s_(parameters.number("rate")) {
    if (rate_per_s_ < 0) parameters.fail("rate", "valid: 0 (as observed) or more, a second");
    for (const auto& [name, least] : {std::pair("window", 1), std::pair("grid", 3), std::pair("shrink", 2)}) {
      if (parameters.integer(name) < least) parameters.fail(name, fmt::format("valid: from {}", least));
    }
    if (!(parameters.number("epsilon") >= 0)) parameters.fail("epsilon", "valid: from 0");
  }

  Plan plan(const Problem& problem) override {
    surgeries_.clear();
    for (const HostId server : server_candidates(problem, parameters_, {Tier::kCloud, Tier::kEdge})) {
      surgeries_.emplace_back(problem, server);
    }
    for (Surgery& surgery : surgeries_) surgery.observe(problem);
    now_ = decide(rate_per_s_);
    return plan_of(problem, now_);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    if (observation.kind == Observation::Kind::kArrival) {
      arrivals_s_.push_back(observation.date_s);
      if (static_cast<int>(arrivals_s_.size()) > parameters_.integer("window") + 1) arrivals_s_.pop_front();
      return std::nullopt;
    }
    if (observation.date_s < decided_s_ + parameters_.number("period")) return std::nullopt;
    decided_s_ = observation.date_s;
    for (Surgery& surgery : surgeries_) surgery.observe(problem);
    const double rate = rate_per_s_ > 0 ? rate_per_s_ : observed_rate_per_s(observation.date_s);
    const Choice before = std::exchange(now_, decide(rate));
    if (now_.server == before.server && now_.cut.first == before.cut.first && now_.heavy == before.heavy)
      return std::nullopt;
    return plan_of(problem, now_);
  }

 private:
  // Of the last arrivals; when the next one keeps us waiting, the rate falls.
  double observed_rate_per_s(double now_s) const {
    if (arrivals_s_.size() < 2) return 0;
    const auto gaps = static_cast<double>(arrivals_s_.size() - 1);
    return std::min(gaps / (arrivals_s_.back() - arrivals_s_.front()),
                    (gaps + 1) / (now_s - arrivals_s_.front()));
  }

  Choice decide(double rate_per_s) {
    if (mode_ != "heavy") {
      const Choice& light = std::ranges::min_element(surgeries_, {}, &Surgery::latency_s)->light();
      // Equal but for rounding is in time.
      if (mode_ == "light" || light.stages.longest_s() * rate_per_s <= 1 + 1e-9) return light;
    }
    const auto longest_s = [&](Surgery& surgery) { return heavy(surgery).stages.longest_s(); };
    return heavy(*std::ranges::min_element(surgeries_, {}, longest_s));
  }

  const Choice& heavy(Surgery& surgery) const {
    return surgery.heavy(parameters_.integer("grid"), parameters_.integer("shrink"),
                         parameters_.number("epsilon"));
  }

  static Plan plan_of(const Problem& problem, const Choice& choice) {
    Plan plan;
    plan.exit = deepest_exit(problem);
    if (!choice.cut.first.empty()) plan.pieces.push_back({choice.cut.first, problem.source});
    if (!choice.cut.second.empty()) plan.pieces.push_back({choice.cut.second, choice.server});
    const double longest_s = choice.stages.longest_s();
    plan.decision = {{"partition_point", static_cast<double>(choice.cut.first.size())},
                     {"heavy", choice.heavy ? 1 : 0},
                     {"device_s", choice.stages.device_s},
                     {"link_s", choice.stages.link_s},
                     {"cloud_s", choice.stages.cloud_s},
                     {"sustainable_rate_per_s", longest_s > 0 ? 1 / longest_s : 0}};
    return plan;
  }

  Parameters parameters_;
  std::string mode_;
  double rate_per_s_;
  std::vector<Surgery> surgeries_;
  std::deque<double> arrivals_s_;
  double decided_s_ = -std::numeric_limits<double>::infinity();
  Choice now_;
};

const bool registered = register_policy(
    {.name = "dads",
     .title = "minimum cut of a DAG between device and server, for latency or for the rate",
     .source = "Hu et al., DADS, INFOCOM 2019",
     .about =
         "Cuts the layer graph between the source and a server. Under light load the cut has the least "
         "latency (DSL, exact); when frames arrive faster than its longest stage lasts, the cut has about "
         "the least longest stage of device, link and server (DSH, at most 3 times the optimum). Decided "
         "anew "
         "when bandwidth or load change.",
     .parameters =
         {{.name = "mode",
           .type = "string",
           .standard = "auto",
           .about = "follow the load, or always DSL or DSH",
           .choices = {"auto", "light", "heavy"}},
          {.name = "rate",
           .type = "number",
           .standard = 0,
           .about = "auto: arrivals a second; 0: as observed"},
          {.name = "window",
           .type = "integer",
           .standard = 10,
           .about = "auto: gaps between arrivals that the observed rate is averaged over"},
          {.name = "period", .type = "time", .standard = "0s", .about = "least time between two decisions"},
          {.name = "server",
           .type = "string",
           .standard = "",
           .about = "host of the rest; empty: the best reachable one of tier cloud or edge"},
          {.name = "grid",
           .type = "integer",
           .standard = 20,
           .about = "DSH: most points a side of the first grid"},
          {.name = "shrink",
           .type = "integer",
           .standard = 2,
           .about = "DSH: how much finer the next grid is"},
          {.name = "epsilon",
           .type = "number",
           .standard = 0.001,
           .about = "DSH: least relative gain of a finer grid that asks for another"}},
     .watches_arrivals = true,
     .watches_bandwidth = true},
    make<Dads>);

}  // namespace
}  // namespace cdisim
