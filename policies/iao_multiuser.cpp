// iao_multiuser: cuts of all sources and the units of one edge server that each of them gets, jointly.
//
// Every source i cuts the chain of the deepest exit at k_i and gets f_i of the server's beta units, a share
// f_i / beta of it (of each of its cores, where it has several, and of one core at most). With TD, TE the
// times of the layers on the device and on the whole server, D_k the bytes that cross, B_i the bandwidth from
// source i as last observed,
//
//     T_i(k, f) = TD_i(1..k) + D_k / B_i + TE(k+1..N) beta / f + the result's way back,  T_i(N, f) = TD_i
//     minimise the largest T_i over k_i in 0..N and whole f_i >= 0 with sum f_i <= beta.
//
// h_i(f) = min_k T_i(k, f) falls with f. IAO starts from equal units, the rest going to the first sources,
// and exchanges: the slowest source takes `step` units from the one that is fastest without them, while that
// one stays below the largest latency. Where nobody can give, the step is halved, from 1 on it is the end. At
// step 1 the end is optimal: any allocation with a smaller maximum needs as many units of everybody else and
// more of the slowest. The allocation kept is the first with the least maximum.
//
// Each source has a policy object of its own; all see the same and come to the same solution, each returns
// its source's plan. Decides anew when the bandwidth between any source and the server has changed. Sources
// do not slow each other's transfers down in T_i. The first of equal cuts; of several servers the one with
// the least maximum. Memory is not looked at.
//
//     parameter  | type    | default | meaning
//     -----------|---------|---------|-----------------------------------------------------------------------
//     allocation | string  | "iao"   | "iao", "equal" (equal units, each source's best cut) or "edge_only"
//                |         |         | (equal units, all layers on the server)
//     units      | integer | 100     | beta, units of the server, from 1 (edge_only: one for each source)
//     step       | integer | 1       | units that an exchange moves at first, from 1
//     server     | string  | ""      | the server; empty: the best of tier edge
//
//     {"name": "iao_multiuser", "units": 60, "step": 8}
//
// Plan's decision: partition_point (layers on the source), units (of this source), largest_latency_s (of all
// sources, predicted), exchanges.
//
// Source: X. Tang, X. Chen, L. Zeng, S. Yu, L. Chen, "Joint Multi-User DNN Partitioning and Computational
// Resource Allocation for Collaborative Edge Intelligence", arXiv 2007.09072, 2020 (abstract and how others
// describe IAO; the paper itself was not at hand).

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "policies/shared/chain.h"
#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "sim/error.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

// Of one core.
double share_of(int f, int units, const Host& server) {
  return std::min(1.0, static_cast<double>(f) * server.cores / units);
}

// What one source's latency is, by cut and units.
class User {
 public:
  User(const Problem& problem, HostId server, int units) {
    const int exit = deepest_exit(problem);
    for (const Estimate& cost : chain_costs(problem, exit, problem.source, server))
      whole_s_.push_back(cost.latency_s);
    // Of the layers behind each cut.
    const PieceTimes times = piece_times(problem, problem.graph.exit_layers(exit), server);
    server_s_.assign(whole_s_.size(), 0);
    double sum_s = times.run_s;
    for (std::size_t k = times.layer_s.size(); k-- > 0;) server_s_[k] = sum_s += times.layer_s[k];
    for (int f = 0; f <= units; ++f) shares_.push_back(share_of(f, units, problem.platform.host(server)));
  }

  double latency_s(int k, int f) const {
    const auto at = static_cast<std::size_t>(k);
    if (k == last_cut()) return whole_s_[at];
    if (f == 0) return std::numeric_limits<double>::infinity();
    return whole_s_[at] + server_s_[at] * (1 / shares_[static_cast<std::size_t>(f)] - 1);
  }

  int best_cut(int f) const {
    int best = 0;
    for (int k = 1; k <= last_cut(); ++k) {
      if (latency_s(k, f) < latency_s(best, f)) best = k;
    }
    return best;
  }

  double least_s(int f) const { return latency_s(best_cut(f), f); }

 private:
  int last_cut() const { return static_cast<int>(whole_s_.size()) - 1; }

  std::vector<double> shares_;              // (units + 1)
  std::vector<double> whole_s_, server_s_;  // (n_layers + 1) by cut: with the whole server, its part
};

struct Solution {
  HostId server = 0;
  std::vector<int> units, cuts;  // (n_sources)
  double largest_s = std::numeric_limits<double>::infinity();
  int exchanges = 0;
};

class IaoMultiuser : public Policy {
 public:
  explicit IaoMultiuser(const Parameters& parameters)
      : parameters_(parameters),
        allocation_(parameters.string("allocation")),
        units_(parameters.integer("units")),
        step_(parameters.integer("step")) {
    if (units_ < 1) parameters.fail("units", "valid: from 1");
    if (step_ < 1) parameters.fail("step", "valid: from 1");
  }

  Plan plan(const Problem& problem) override {
    sources_ = sources_of(problem);
    if (allocation_ == "edge_only" && units_ < static_cast<int>(sources_.size()))
      parameters_.fail("units", fmt::format("there are {} sources", sources_.size()));
    servers_ = server_candidates(problem, parameters_, {Tier::kEdge});
    for (const HostId source : sources_) {
      const std::vector<HostId> reached = seen_from(problem, source).reachable();
      std::erase_if(servers_, [&](HostId server) {
        return server == source || std::ranges::find(reached, server) == reached.end();
      });
    }
    if (servers_.empty())
      throw InputError(problem.platform.file(),
                       "no server that all sources share has a route from and to each");
    seen_bytes_per_s_ = bandwidths(problem);
    return plan_of(problem, solve(problem));
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& /*observation*/) override {
    std::vector<double> now = bandwidths(problem);
    if (now == seen_bytes_per_s_) return std::nullopt;
    seen_bytes_per_s_ = std::move(now);
    return plan_of(problem, solve(problem));
  }

 private:
  static Problem seen_from(const Problem& problem, HostId source) {
    Problem out = problem;
    out.source = source;
    return out;
  }

  std::vector<double> bandwidths(const Problem& problem) const {
    std::vector<double> out;
    for (const HostId source : sources_) {
      for (const double b : server_bandwidths(seen_from(problem, source), servers_)) out.push_back(b);
    }
    return out;
  }

  Solution solve(const Problem& problem) const {
    Solution best;
    for (const HostId server : servers_) {
      std::vector<User> users;
      for (const HostId source : sources_) users.emplace_back(seen_from(problem, source), server, units_);
      Solution found = allocate(users);
      found.server = server;
      if (best.cuts.empty() || found.largest_s < best.largest_s) best = std::move(found);
    }
    return best;
  }

  Solution allocate(const std::vector<User>& users) const {
    const int n = static_cast<int>(users.size());
    Solution out;
    for (int i = 0; i < n; ++i) out.units.push_back(units_ / n + (i < units_ % n ? 1 : 0));
    if (allocation_ == "iao") exchange(users, out);
    out.largest_s = 0;
    for (std::size_t i = 0; i < users.size(); ++i) {
      out.cuts.push_back(allocation_ == "edge_only" ? 0 : users[i].best_cut(out.units[i]));
      out.largest_s = std::max(out.largest_s, users[i].latency_s(out.cuts[i], out.units[i]));
    }
    return out;
  }

  void exchange(const std::vector<User>& users, Solution& solution) const {
    std::vector<std::vector<double>> least_s(users.size());  // by user and units
    for (std::size_t i = 0; i < users.size(); ++i) {
      for (int f = 0; f <= units_; ++f) least_s[i].push_back(users[i].least_s(f));
    }
    std::vector<int> units = solution.units;
    const auto latency_s = [&](std::size_t i, int taken) {
      return least_s[i][static_cast<std::size_t>(units[i] - taken)];
    };
    int exchanges = 0;
    for (int step = step_; step >= 1;) {
      std::size_t slowest = 0, giver = users.size();
      for (std::size_t i = 1; i < users.size(); ++i) {
        if (latency_s(i, 0) > latency_s(slowest, 0)) slowest = i;
      }
      const double largest_s = latency_s(slowest, 0);
      if (largest_s < solution.largest_s) {
        solution.largest_s = largest_s;
        solution.units = units;
        solution.exchanges = exchanges;
      }
      for (std::size_t i = 0; i < users.size(); ++i) {
        if (i == slowest || units[i] < step || !(latency_s(i, step) < largest_s)) continue;
        if (giver == users.size() || latency_s(i, step) < latency_s(giver, step)) giver = i;
      }
      if (giver == users.size()) {
        step /= 2;
        continue;
      }
      units[giver] -= step;
      units[slowest] += step;
      ++exchanges;
    }
  }

  Plan plan_of(const Problem& problem, const Solution& solution) const {
    const auto i = static_cast<std::size_t>(std::ranges::find(sources_, problem.source) - sources_.begin());
    Plan plan =
        chain_plan(problem.graph, deepest_exit(problem), solution.cuts[i], problem.source, solution.server);
    for (Piece& piece : plan.pieces) {
      if (piece.host == solution.server)
        piece.share = share_of(solution.units[i], units_, problem.platform.host(solution.server));
    }
    plan.decision = {{"partition_point", solution.cuts[i]},
                     {"units", solution.units[i]},
                     {"largest_latency_s", solution.largest_s},
                     {"exchanges", solution.exchanges}};
    return plan;
  }

  Parameters parameters_;
  std::string allocation_;
  int units_, step_;
  std::vector<HostId> sources_, servers_;
  std::vector<double> seen_bytes_per_s_;
};

const bool registered = register_policy(
    {.name = "iao_multiuser",
     .title = "cuts and shares of one edge server for all sources, least largest latency",
     .source = "Tang et al., arXiv 2007.09072, 2020",
     .about =
         "Cuts every source's chain and divides the units of an edge server among the sources so that the "
         "slowest one is as fast as can be: units are exchanged until nobody can help the slowest any more, "
         "which is optimal when the exchanges end with single units. Decided anew when a bandwidth changes.",
     .parameters = {{.name = "allocation",
                     .type = "string",
                     .standard = "iao",
                     .about =
                         "IAO, or equal units with each source's best cut or with all layers on the server",
                     .choices = {"iao", "equal", "edge_only"}},
                    {.name = "units", .type = "integer", .standard = 100, .about = "units of the server"},
                    {.name = "step",
                     .type = "integer",
                     .standard = 1,
                     .about = "units that an exchange moves at first; halved down to 1"},
                    {.name = "server",
                     .type = "string",
                     .standard = "",
                     .about = "the server; empty: the best reachable one of tier edge"}},
     .watches_bandwidth = true},
    make<IaoMultiuser>);

}  // namespace
}  // namespace cdisim
