#include "policies/shared/joint_placement.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "policies/shared/linear_program.h"
#include "sim/random.h"

namespace cdisim {

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-9;  // relative
constexpr int kMostNodes = 1000;

// What is left of the budgets, in shares of what each host has. `tightened` adds what whole units imply:
// where the shares x of several add up to no more than 1, so do those of Fekete's and Schepers' dual feasible
// functions, x where (k + 1) x is whole, else floor((k + 1) x) / k.
class Left {
 public:
  explicit Left(const JointPlacement& joint, bool tightened = false) : joint_(joint) {
    for (const JointPlacement::Budget& budget : joint.budgets) {
      std::vector<double>& need = need_.emplace_back(budget.need.size(), 0);
      for (std::size_t at = 0; at < need.size(); ++at) {
        const double most = budget.most[at % joint.hosts];
        if (budget.need[at] > 0 && most < kNever) need[at] = budget.need[at] / most;
      }
    }
    for (std::size_t r = 0; tightened && r < joint.budgets.size(); ++r) {
      for (int k = 1; k <= kFunctions; ++k) {
        std::vector<double> rounded = need_[r];
        bool is_tighter = false;
        for (double& x : rounded) {
          const double parts = (k + 1) * x, whole = std::floor(parts + kRounding);
          if (x > 1 || parts - whole < kRounding) continue;
          is_tighter = is_tighter || whole / k > x;
          x = whole / k;
        }
        if (is_tighter) need_.push_back(std::move(rounded));
      }
    }
    left_.assign(need_.size(), std::vector<double>(joint.hosts, 1));
  }

  std::size_t budgets() const { return need_.size(); }

  /// Of a host's budget, by unit and host.
  double need(std::size_t budget, std::size_t unit, std::size_t host) const {
    return need_[budget][unit * joint_.hosts + host];
  }
  double left(std::size_t budget, std::size_t host) const { return left_[budget][host]; }
  bool fits(std::size_t unit, std::size_t host) const {
    for (std::size_t r = 0; r < need_.size(); ++r) {
      if (need(r, unit, host) > left_[r][host] + kRounding) return false;
    }
    return true;
  }
  /// Whether it fits a host that nobody uses.
  bool ever_fits(std::size_t unit, std::size_t host) const {
    for (std::size_t r = 0; r < need_.size(); ++r) {
      if (need(r, unit, host) > 1 + kRounding) return false;
    }
    return true;
  }
  void take(std::size_t unit, std::size_t host, double times = 1) {
    for (std::size_t r = 0; r < need_.size(); ++r) left_[r][host] -= times * need(r, unit, host);
  }
  void give_back(const std::vector<std::size_t>& at) {
    for (std::size_t b = 0; b < at.size(); ++b) take(b, at[b], -1);
  }

 private:
  static constexpr int kFunctions = 4;

  const JointPlacement& joint_;
  std::vector<std::vector<double>> need_;  // by budget, (units, hosts)
  std::vector<std::vector<double>> left_;  // by budget, (hosts)
};

double latency_s(const JointPlacement& joint, std::size_t request, const std::vector<std::size_t>& at) {
  double sum = 0;
  for (std::size_t b = 0; b < at.size(); ++b) {
    sum += joint.place_s(request, b, at[b]) + (b == 0 ? 0 : joint.read_s(b, at[b - 1], at[b]));
  }
  return sum;
}

Placed with_latencies(const JointPlacement& joint, std::vector<std::vector<std::size_t>> hosts) {
  Placed out{.hosts = std::move(hosts), .latency_s = {}};
  for (std::size_t u = 0; u < out.hosts.size(); ++u)
    out.latency_s.push_back(latency_s(joint, u, out.hosts[u]));
  return out;
}

class Optimum {
 public:
  explicit Optimum(const JointPlacement& joint) : joint_(joint), all_(joint, true) {
    price_.assign(all_.budgets(), std::vector<double>(joint.hosts, 0));
  }

  Placed find() {
    free_ = bounds_of();
    // Who finds no way even alone is not asked again.
    for (std::size_t u = 0; u < joint_.requests; ++u) {
      if (free_.least_s[u] < kNever) asking_.push_back(u);
    }
    search(kFirstRounds);
    if (!best_ && !asking_.empty()) {
      away_ = asking_.size() - most_served();
    }
    for (;; ++away_) {
      if (away_ > 0 && away_price_ == 0) {
        for (const std::size_t u : asking_) away_price_ = std::max(away_price_, 2 * free_.least_s[u]);
      }
      if (!closed()) search(kRounds);
      if (closed()) return answer(std::move(*best_));
      if (std::optional<Placed> found = programme()) return std::move(*found);
    }
  }

 private:
  static constexpr int kFirstRounds = 200, kRounds = 3000;
  static constexpr double kSlowest = 1e-3;

  // By request: least sums with the budgets' prices, s.
  struct Bounds {
    std::vector<std::vector<double>> below;  // (units, hosts) that unit and all after it
    std::vector<double> least_s;             // the whole
  };

  double priced_s(std::size_t request, std::size_t unit, std::size_t host) const {
    if (!all_.ever_fits(unit, host)) return kNever;
    double sum = joint_.place_s(request, unit, host);
    for (std::size_t r = 0; r < price_.size(); ++r) sum += price_[r][host] * all_.need(r, unit, host);
    return sum;
  }

  Bounds bounds_of() const {
    const std::size_t n = joint_.hosts;
    Bounds out;
    std::vector<double> read(joint_.units * n * n);
    for (std::size_t b = 1; b < joint_.units; ++b) {
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t k = 0; k < n; ++k) read[(b * n + i) * n + k] = joint_.read_s(b, i, k);
      }
    }
    for (std::size_t u = 0; u < joint_.requests; ++u) {
      std::vector<double>& below = out.below.emplace_back(joint_.units * n, kNever);
      for (std::size_t b = joint_.units; b-- > 0;) {
        for (std::size_t i = 0; i < n; ++i) {
          double rest = b + 1 == joint_.units ? 0 : kNever;
          for (std::size_t k = 0; k < n && b + 1 < joint_.units; ++k)
            rest = std::min(rest, read[((b + 1) * n + i) * n + k] + below[(b + 1) * n + k]);
          below[b * n + i] = priced_s(u, b, i) + rest;
        }
      }
      out.least_s.push_back(*std::ranges::min_element(below.begin(), below.begin() + at(n)));
    }
    return out;
  }

  static std::ptrdiff_t at(std::size_t i) { return static_cast<std::ptrdiff_t>(i); }

  // The path of least `below` from unit to unit, through hosts that have room. Takes it.
  std::vector<std::size_t> path(const std::vector<double>& below, Left& left, bool always) const {
    std::vector<std::size_t> out;
    for (std::size_t b = 0; b < joint_.units; ++b) {
      double least = kNever;
      std::size_t best = 0;
      for (std::size_t k = 0; k < joint_.hosts; ++k) {
        const double sum = below[b * joint_.hosts + k] + (b == 0 ? 0 : joint_.read_s(b, out.back(), k));
        if (sum >= least || (!always && !left.fits(b, k))) continue;
        least = sum;
        best = k;
      }
      if (least == kNever) {
        left.give_back(out);
        return {};
      }
      left.take(b, best);
      out.push_back(best);
    }
    return out;
  }

  // One after another within the budgets; nothing where more are left over than may be.
  void try_in_order(const Bounds& bounds, const std::vector<std::size_t>& order) {
    Left left(all_);
    std::vector<std::vector<std::size_t>> hosts(joint_.requests);
    std::size_t served = 0;
    for (const std::size_t u : order) {
      if (served + away_ == asking_.size()) break;
      hosts[u] = path(bounds.below[u], left, false);
      if (!hosts[u].empty()) ++served;
    }
    if (served + away_ < asking_.size()) return;
    // Each once more, where the others are what they are.
    const std::vector<std::vector<double>>& free = free_.below;
    double sum = 0;
    for (const std::size_t u : order) {
      if (hosts[u].empty()) continue;
      left.give_back(hosts[u]);
      std::vector<std::size_t> again = path(free[u], left, false);
      if (again.empty() || latency_s(joint_, u, again) >= latency_s(joint_, u, hosts[u])) {
        left.give_back(again);
        for (std::size_t b = 0; b < joint_.units; ++b) left.take(b, hosts[u][b]);
      } else {
        hosts[u] = std::move(again);
      }
      sum += latency_s(joint_, u, hosts[u]);
    }
    if (sum >= most_s_) return;
    most_s_ = sum;
    best_ = std::move(hosts);
  }

  bool closed() const { return best_ && most_s_ - least_s_ <= kRounding * most_s_; }

  // Subgradients from the prices as they are; keeps the best bounds and their prices.
  void search(int rounds) {
    double pace = 1;
    int idle = 0;
    auto best_price = price_;
    double best_away = away_price_;
    least_s_ = -kNever;
    for (int round = 0; round < rounds && !closed(); ++round) {
      const Bounds bounds = bounds_of();
      Left left(all_);
      double bound = -away_price_ * static_cast<double>(away_);
      for (const std::vector<double>& prices : price_)
        bound -= std::accumulate(prices.begin(), prices.end(), 0.0);
      double over = -static_cast<double>(away_);
      for (const std::size_t u : asking_) {
        const bool away = away_ > 0 && bounds.least_s[u] > away_price_;
        bound += away ? away_price_ : bounds.least_s[u];
        if (away) {
          ++over;
        } else {
          path(bounds.below[u], left, true);
        }
      }
      if (round % 5 == 0) {
        std::vector<std::size_t> order = asking_;
        std::ranges::stable_sort(order, {}, [&](std::size_t u) { return bounds.least_s[u]; });
        try_in_order(bounds, order);
        try_in_order(bounds, asking_);
        std::ranges::reverse(order);
        if (away_ == 0) try_in_order(bounds, order);
      }
      if (bound > least_s_ + 1e-6 * std::abs(least_s_)) {
        idle = 0;
      } else if (++idle == 20) {
        idle = 0;
        pace /= 2;
        if (pace < kSlowest) break;
      }
      if (bound > least_s_) {
        least_s_ = bound;
        best_price = price_;
        best_away = away_price_;
      }
      double norm = away_ > 0 ? over * over : 0;
      for (std::size_t r = 0; r < price_.size(); ++r) {
        for (std::size_t i = 0; i < joint_.hosts; ++i) {
          const double g = -left.left(r, i);
          if (g > 0 || price_[r][i] > 0) norm += g * g;
        }
      }
      if (norm == 0) break;
      const double target = best_ ? most_s_ : bound + 0.1 * std::abs(bound);
      const double step = pace * std::max(target - bound, 1e-12) / norm;
      for (std::size_t r = 0; r < price_.size(); ++r) {
        for (std::size_t i = 0; i < joint_.hosts; ++i)
          price_[r][i] = std::max(0.0, price_[r][i] - step * left.left(r, i));
      }
      if (away_ > 0) away_price_ = std::max(0.0, away_price_ + step * over);
    }
    price_ = std::move(best_price);
    away_price_ = best_away;
  }

  // No more can be: the most requests whose units the budgets hold, wherever links lead.
  std::size_t most_served() const {
    LinearProgram program;
    const int served = program.add({-1, 0, static_cast<double>(asking_.size()), true});
    std::vector<std::vector<LinearProgram::Row>> rows(all_.budgets(),
                                                      std::vector<LinearProgram::Row>(joint_.hosts));
    for (std::size_t b = 0; b < joint_.units; ++b) {
      LinearProgram::Row all{{{served, -1}}, 0, 0};
      for (std::size_t i = 0; i < joint_.hosts; ++i) {
        if (!all_.ever_fits(b, i)) continue;
        const int count = program.add({0, 0, static_cast<double>(asking_.size()), true});
        all.terms.emplace_back(count, 1);
        for (std::size_t r = 0; r < rows.size(); ++r)
          rows[r][i].terms.emplace_back(count, all_.need(r, b, i));
      }
      program.rows.push_back(std::move(all));
    }
    for (std::vector<LinearProgram::Row>& of_budget : rows) {
      for (LinearProgram::Row& row : of_budget) {
        row.upper = 1;
        if (!row.terms.empty()) program.rows.push_back(std::move(row));
      }
    }
    return static_cast<std::size_t>(std::lround(-minimise(program).objective));
  }

  Placed answer(std::vector<std::vector<std::size_t>> hosts) const {
    Placed out = with_latencies(joint_, std::move(hosts));
    out.programme = programme_;
    out.proven = proven_;
    return out;
  }

  // Nothing where so few cannot be turned away, or none was found before the search stopped.
  std::optional<Placed> programme() {
    const Bounds bounds = bounds_of();
    const std::size_t n = joint_.hosts;
    const double enough = most_s_ * (1 + kRounding);
    LinearProgram program;
    program.cutoff = most_s_ * (1 - kRounding);
    program.most_nodes = kMostNodes;
    std::vector<std::vector<LinearProgram::Row>> used(all_.budgets(), std::vector<LinearProgram::Row>(n));
    std::vector<std::vector<int>> placed(joint_.requests);  // (units, hosts), -1: cannot be
    LinearProgram::Row away_row;
    away_row.upper = static_cast<double>(away_);
    for (const std::size_t u : asking_) {
      const double own = away_ > 0 ? std::min(bounds.least_s[u], away_price_) : bounds.least_s[u];
      const auto too_much = [&](double sum) { return sum == kNever || least_s_ - own + sum > enough; };
      int away = -1;
      if (away_ > 0 && !too_much(away_price_)) {
        away = program.add({0, 0, 1, true});
        away_row.terms.emplace_back(away, 1);
      }
      std::vector<double> above(n, 0);  // without that unit
      std::vector<int>& here = placed[u];
      here.assign(joint_.units * n, -1);
      for (std::size_t b = 0; b < joint_.units; ++b) {
        const std::vector<double> before = above;
        for (std::size_t k = 0; k < n && b > 0; ++k) {
          above[k] = kNever;
          for (std::size_t i = 0; i < n; ++i)
            above[k] = std::min(above[k], before[i] + priced_s(u, b - 1, i) + joint_.read_s(b, i, k));
        }
        LinearProgram::Row once;
        once.lower = once.upper = 1;
        if (away >= 0) once.terms.emplace_back(away, 1);
        std::vector<LinearProgram::Row> out(n), in(n);
        for (std::size_t k = 0; k < n; ++k) {
          out[k].lower = out[k].upper = in[k].lower = in[k].upper = 0;
          if (b > 0 && here[(b - 1) * n + k] >= 0) out[k].terms.emplace_back(here[(b - 1) * n + k], -1);
          if (too_much(above[k] + bounds.below[u][b * n + k])) continue;
          const int a = program.add({joint_.place_s(u, b, k), 0, 1, true});
          here[b * n + k] = a;
          once.terms.emplace_back(a, 1);
          in[k].terms.emplace_back(a, -1);
          for (std::size_t r = 0; r < used.size(); ++r) {
            if (all_.need(r, b, k) > 0) used[r][k].terms.emplace_back(a, all_.need(r, b, k));
          }
        }
        program.rows.push_back(std::move(once));
        if (b == 0) continue;
        for (std::size_t i = 0; i < n; ++i) {
          for (std::size_t k = 0; k < n; ++k) {
            if (here[(b - 1) * n + i] < 0 || here[b * n + k] < 0) continue;
            const double read = joint_.read_s(b, i, k);
            if (too_much(before[i] + priced_s(u, b - 1, i) + read + bounds.below[u][b * n + k])) continue;
            const int y = program.add({read, 0, 1, false});
            out[i].terms.emplace_back(y, 1);
            in[k].terms.emplace_back(y, 1);
          }
        }
        for (std::vector<LinearProgram::Row>* rows : {&out, &in}) {
          for (LinearProgram::Row& row : *rows) {
            if (!row.terms.empty()) program.rows.push_back(std::move(row));
          }
        }
      }
    }
    if (!away_row.terms.empty()) program.rows.push_back(std::move(away_row));
    for (std::vector<LinearProgram::Row>& of_budget : used) {
      for (LinearProgram::Row& row : of_budget) {
        double all = 0;
        for (const auto& [variable, share] : row.terms) all += share;
        row.upper = 1;
        if (all > 1) program.rows.push_back(std::move(row));
      }
    }
    const LinearSolution solution = minimise(program);
    programme_ = true;
    if (solution.status == LinearSolution::Status::kStopped) proven_ = false;
    std::vector<std::vector<std::size_t>> hosts(joint_.requests);
    if (solution.values.empty()) {
      if (!best_) return std::nullopt;
      hosts = *best_;  // nothing is better
    }
    for (const std::size_t u : asking_) {
      for (std::size_t at = 0; at < placed[u].size() && !solution.values.empty(); ++at) {
        const int a = placed[u][at];
        if (a >= 0 && solution.values[static_cast<std::size_t>(a)] > 0.5) hosts[u].push_back(at % n);
      }
    }
    return answer(std::move(hosts));
  }

  const JointPlacement& joint_;
  const Left all_;
  std::vector<std::size_t> asking_;
  std::size_t away_ = 0;                    // of those, that are turned away
  std::vector<std::vector<double>> price_;  // by budget, (hosts): s for all of it
  double away_price_ = 0;
  Bounds free_;  // without prices
  double least_s_ = -kNever, most_s_ = kNever;
  std::optional<std::vector<std::vector<std::size_t>>> best_;  // of sum most_s_
  bool programme_ = false;                                     // was asked, also for fewer turned away
  bool proven_ = true;                                         // no search was stopped
};

}  // namespace

std::size_t Placed::turned_away() const {
  return static_cast<std::size_t>(std::ranges::count_if(hosts, [](const auto& at) { return at.empty(); }));
}

double Placed::sum_s() const {
  return std::accumulate(latency_s.begin(), latency_s.end(), 0.0);
}

Placed best_placement(const JointPlacement& joint) {
  thread_local std::optional<std::pair<JointPlacement, Placed>> last;
  if (!last || !(last->first == joint)) last.emplace(joint, Optimum(joint).find());
  return last->second;
}

Placed placement_in_order(const JointPlacement& joint, NextHost next) {
  Left left(joint);
  std::vector<std::vector<std::size_t>> hosts(joint.requests);
  for (std::size_t u = 0; u < joint.requests; ++u) {
    Random random(u + 1);  // whoever computes it
    std::vector<std::size_t>& at = hosts[u];
    std::size_t holder = joint.home[u];
    for (std::size_t b = 0; b < joint.units; ++b) {
      const auto seconds = [&](std::size_t k) {
        return joint.place_s(u, b, k) + (b == 0 ? 0 : joint.read_s(b, holder, k));
      };
      const auto possible = [&](std::size_t k) { return left.fits(b, k) && seconds(k) < kNever; };
      if (next == NextHost::kRandom || !possible(holder)) {
        std::vector<std::size_t> candidates;
        for (std::size_t k = 0; k < joint.hosts; ++k) {
          if (possible(k)) candidates.push_back(k);
        }
        if (candidates.empty()) {
          left.give_back(at);
          at.clear();
          break;
        }
        const auto cost = [&](std::size_t k) {
          if (next == NextHost::kNearest) return joint.s_per_byte[holder * joint.hosts + k];
          return next == NextHost::kRoomiest ? -left.left(0, k) * joint.budgets.front().most[k] : seconds(k);
        };
        holder = next == NextHost::kRandom
                     ? candidates[static_cast<std::size_t>(random.below(static_cast<int>(candidates.size())))]
                     : *std::ranges::min_element(candidates, {}, cost);
      }
      left.take(b, holder);
      at.push_back(holder);
    }
  }
  return with_latencies(joint, std::move(hosts));
}

SharedHosts shared_hosts(const Problem& problem, int most_units, const HostLimits& limits,
                         const LinkRates& rates, std::span<const char> host_on) {
  SharedHosts out{block_chain(problem, most_units), sources_of(problem), {}, {}};
  const auto is_on = [&](HostId id) { return host_on[static_cast<std::size_t>(id)] != 0; };
  Problem seen = problem;
  std::set<HostId> hosts;
  for (const HostId source : out.sources) {
    seen.source = source;
    for (const HostId host : seen.reachable()) hosts.insert(host);
  }
  out.hosts.assign(hosts.begin(), hosts.end());

  JointPlacement& joint = out.joint;
  const std::vector<Block>& units = out.chain.blocks;
  joint.requests = out.sources.size();
  joint.units = units.size();
  joint.hosts = out.hosts.size();
  const std::size_t n = joint.hosts;
  for (const Block& unit : units) joint.bytes.push_back(unit.bytes);

  joint.delay_s.assign(n * n, 0);
  joint.s_per_byte.assign(n * n, 0);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < n; ++k) {
      const Route* route = i == k ? nullptr : problem.platform.route(out.hosts[i], out.hosts[k]);
      double &delay_s = joint.delay_s[i * n + k], &s_per_byte = joint.s_per_byte[i * n + k];
      if (i == k) continue;
      delay_s = route == nullptr ? kNever : route->latency_s;
      for (const std::vector<double>& at_date : rates) {
        const double rate = route == nullptr ? kNever : route->bytes_per_s(at_date);
        if (rate <= kOutOfRange_bytes_per_s) delay_s = kNever;
        s_per_byte += 1 / std::max(rate, kOutOfRange_bytes_per_s) / static_cast<double>(rates.size());
      }
    }
  }

  // Computing: hosts of a kind take the same time.
  const auto kind = [&](HostId id) {
    const Host& host = problem.platform.host(id);
    return std::tuple(host.device_type, host.profile, host.power_states.front().speed_flop_per_s,
                      problem.slowdown(id), host.cores);
  };
  std::map<decltype(kind(0)), PieceTimes> times;
  const std::span<const LayerId> all = problem.graph.exit_layers(out.chain.exit());
  joint.compute_s.assign(units.size() * n, 0);
  JointPlacement::Budget memory{std::vector<double>(units.size() * n), {}};
  JointPlacement::Budget macs = memory, energy = memory;
  std::vector<double> weight_bytes, unit_macs;
  for (const Block& unit : units) {
    weight_bytes.push_back(0);
    unit_macs.push_back(0);
    for (const LayerId id : unit.layers) {
      weight_bytes.back() += problem.graph.layer(id).weight_bytes + problem.graph.layer(id).state_bytes;
      unit_macs.back() += problem.graph.layer(id).macs;
    }
  }
  const Plan whole = whole_plan(problem.graph, out.chain.exit(), 0);
  const double work_bytes = plan_memory_bytes(problem.graph, whole).at(0) -
                            std::accumulate(weight_bytes.begin(), weight_bytes.end(), 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    const HostId id = out.hosts[i];
    const auto [found, is_new] = times.try_emplace(kind(id));
    if (is_new) found->second = piece_times(problem, all, id);
    const PieceTimes& of_host = found->second;
    joint.run_s.push_back(of_host.run_s);
    const double watt = computing_power_w(problem, id);
    const Host& host = problem.platform.host(id);
    memory.most.push_back(std::max(0.0, host.memory_bytes.value_or(kNever) - work_bytes));
    macs.most.push_back(limits.macs > 0 ? limits.macs : kNever);
    const double left_j =
        problem.battery_j.empty() ? host.battery_j : problem.battery_j[static_cast<std::size_t>(id)];
    energy.most.push_back(std::min(limits.energy_j > 0 ? limits.energy_j : kNever, left_j));
    std::size_t at = 0;  // units are in the order of the layers
    for (std::size_t b = 0; b < units.size(); ++b) {
      double sum = 0;
      for (std::size_t l = 0; l < units[b].layers.size(); ++l) sum += of_host.layer_s[at++];
      joint.compute_s[b * n + i] = is_on(id) ? sum : kNever;
      memory.need[b * n + i] = weight_bytes[b];
      macs.need[b * n + i] = unit_macs[b];
      energy.need[b * n + i] = watt * sum;
    }
  }
  joint.budgets = {std::move(memory), std::move(macs), std::move(energy)};

  const double input = input_bytes(problem), result = result_bytes(problem, out.chain.exit());
  for (const HostId source : out.sources) {
    const auto home =
        static_cast<std::size_t>(std::ranges::lower_bound(out.hosts, source) - out.hosts.begin());
    joint.home.push_back(home);
    for (std::size_t i = 0; i < n; ++i) {
      const auto transfer_s = [&](double bytes, std::size_t from, std::size_t to) {
        return from == to ? 0 : joint.delay_s[from * n + to] + bytes * joint.s_per_byte[from * n + to];
      };
      joint.input_s.push_back(is_on(source) ? joint.run_s[i] + transfer_s(input, home, i) : kNever);
      joint.result_s.push_back(transfer_s(result, i, home));
    }
  }
  return out;
}

std::size_t own_request(const Problem& problem, const SharedHosts& shared) {
  return static_cast<std::size_t>(std::ranges::find(shared.sources, problem.source) - shared.sources.begin());
}

Plan plan_of(const Problem& problem, const SharedHosts& shared, const Placed& placed) {
  const std::size_t mine = own_request(problem, shared);
  std::vector<HostId> hosts;
  for (const std::size_t at : placed.hosts[mine]) hosts.push_back(shared.hosts[at]);
  Plan plan;
  plan.exit = shared.chain.exit();
  if (!hosts.empty()) plan = block_plan(shared.chain, hosts);
  plan.decision = {{"units", static_cast<double>(shared.joint.units)},
                   {"hosts", static_cast<double>(std::set<HostId>(hosts.begin(), hosts.end()).size())},
                   {"served", hosts.empty() ? 0 : 1},
                   {"turned_away", static_cast<double>(placed.turned_away())},
                   {"predicted_latency_s", placed.latency_s[mine]},
                   {"objective_s", placed.sum_s()}};
  return plan;
}

std::vector<double> observed_rates(const Problem& problem, const Observation& observation) {
  std::vector<double> out(problem.bandwidth_bytes_per_s.begin(), problem.bandwidth_bytes_per_s.end());
  for (std::size_t link = 0; link < observation.link_on.size(); ++link) {
    if (observation.link_on[link] == 0) out[link] = 0;
  }
  return out;
}

std::vector<char> observed_hosts(const Problem& problem, const Observation& observation) {
  if (observation.host_on.empty())
    return std::vector<char>(static_cast<std::size_t>(problem.platform.host_count()), 1);
  return {observation.host_on.begin(), observation.host_on.end()};
}

std::vector<ParameterFacts> shared_hosts_parameters(int most_units) {
  return {
      {.name = "units",
       .type = "integer",
       .standard = most_units,
       .about = "most units of the model, from 1"},
      {.name = "macs_per_host",
       .type = "number",
       .standard = 0,
       .about = "most multiplications on one host for one request of each source; 0: any"},
      {.name = "energy_per_host",
       .type = "number",
       .standard = 0,
       .about = "most energy above idle, J, that one host computes with for one request of each source; 0: "
                "as much as its battery holds"}};
}

HostLimits host_limits(const Parameters& parameters) {
  for (const char* name : {"macs_per_host", "energy_per_host"}) {
    if (!(parameters.number(name) >= 0)) parameters.fail(name, "valid: 0 (any) or more");
  }
  return {parameters.number("macs_per_host"), parameters.number("energy_per_host")};
}

int most_units(const Parameters& parameters) {
  if (parameters.integer("units") < 1) parameters.fail("units", "valid: from 1");
  return parameters.integer("units");
}

}  // namespace cdisim
