// dina: several users share several fog nodes; each request is cut into tiles for a few of them.
//
// DINA-O, who helps whom. Every user (source) offers `pieces` pieces of its inference to the fog nodes, the
// hosts of tier edge that it reaches. With C_h the time that host h takes for the whole model, D the bytes of
// input and result, B_uh the bandwidth between user u and h, and n_h the pieces that h serves (it computes
// one after another, so each waits for the others), the utility of h for a piece of u, and what u comes to
// when its pieces, in proportion to their utilities, finish together:
//
//     utility(u, h) = 1 / (n_h C_h + D / B_uh),     1 / C_u for the user's own device
//     delay(u)      = 1 / (sum of its pieces' utilities and the device's)
//
// First, deferred acceptance: pieces propose to nodes by C_h + D / B_uh, nodes keep the cheapest up to their
// quota. Then swaps: two pieces change places, or one takes a free place or returns to its device, as long as
// that lowers the total delay of all users; no swap that helps is left at the end (two-sided exchange
// stability). All users see the same, so each computes the same matching and takes its own part of it.
//
// DINA-P, who computes how much. The leading layers, up to a cut c, run in fused tiles of rows on the device
// and the user's nodes, in shares proportional to their utilities for these layers (what a tile reads beyond
// its rows is computed twice); the rest runs on one of them. Taken is the cut, the number of hosts (by
// falling utility) and the host of the rest for which this ends first:
//
//     max over tiles (input / B + n_h C_h(tile) + output / B to the rest) + n_r C_r(rest) + result / B
//
// where inputs that cross the same link share it. All on one host, and all layers up to c on one and the rest
// on another, are among the choices. A cut lies where a single image crosses. Decided anew whenever a
// measured bandwidth has changed. The queue at a fog node is that of the plans made here, not observed;
// memory is not looked at.
//
//     parameter | type    | default    | meaning
//     ----------|---------|------------|-----------------------------------------------------------
//     pieces    | integer | 3          | pieces that each user offers
//     quota     | integer | 0          | pieces that a fog node takes; 0: an equal share, rounded up
//     matching  | string  | "exchange" | "exchange"; "deferred": without the swaps; "greedy": each piece
//               |         |            | goes where it is cheapest beside the user's own; "random"
//
//     {"name": "dina", "pieces": 2, "matching": "exchange"}
//
// Plan's decision: cut, the number of layers in tiles; tiles; helpers, the fog nodes that the user got;
// swaps; delay_s, what delay(u) sums up to over the users (uncoordinated: as this user believes).
//
// Source: T. Mohammed, C. Joe-Wong, R. Babbar, M. Di Francesco, "Distributed Inference Acceleration with
// Adaptive DNN Partitioning and Offloading", INFOCOM 2020, doi 10.1109/INFOCOM41043.2020.9155237 (the paper
// itself was not at hand: mechanisms as its abstract and two re-implementations state them; the equations are
// ours).

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "policies/shared/matching.h"
#include "sim/policy.h"
#include "sim/random.h"

namespace cdisim {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kShortest_s = 1e-12;  // keeps utilities finite

// A host that works for a user, and how many pieces it has to share its time between.
struct Helper {
  HostId host = 0;
  int pieces = 1;  ///< of this user and others
  int own = 1;     ///< of this user
};

class Dina : public Policy {
 public:
  explicit Dina(const Parameters& parameters)
      : pieces_(parameters.integer("pieces")),
        quota_(parameters.integer("quota")),
        matching_(parameters.string("matching")) {
    if (pieces_ < 1 || pieces_ > 100) parameters.fail("pieces", "valid: 1 to 100");
    if (quota_ < 0) parameters.fail("quota", "valid: 0 (an equal share), 1, ...");
  }

  Plan plan(const Problem& problem) override {
    seen_.assign(problem.bandwidth_bytes_per_s.begin(), problem.bandwidth_bytes_per_s.end());
    int swaps = 0;
    double delay_s = 0;
    const std::vector<Helper> helpers = match(problem, swaps, delay_s);
    Plan best = tile(problem, helpers);
    best.decision["helpers"] = static_cast<double>(helpers.size() - 1);
    best.decision["swaps"] = swaps;
    best.decision["delay_s"] = delay_s;
    return best;
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& /*observation*/) override {
    if (std::ranges::equal(problem.bandwidth_bytes_per_s, seen_)) return std::nullopt;
    return plan(problem);
  }

 private:
  // ---- DINA-O ----

  // The device first, then the fog nodes of this user's pieces, ascending.
  std::vector<Helper> match(const Problem& problem, int& swaps, double& delay_s) const {
    const std::vector<HostId> users = sources_of(problem);
    std::set<HostId> reached;
    for (const HostId user : users) {
      for (const HostId fog : servers_of_tiers(of(problem, user), {Tier::kEdge})) reached.insert(fog);
    }
    const std::vector<HostId> fogs(reached.begin(), reached.end());

    const int exit = deepest_exit(problem);
    const auto layers = problem.graph.exit_layers(exit);
    const double bytes = input_bytes(problem) + result_bytes(problem, exit);
    const auto compute_s = [&](HostId host) {
      return problem.compute_s(layers, host) * problem.slowdown(host);
    };
    std::vector<double> device_s, fog_s;
    for (const HostId user : users) device_s.push_back(compute_s(user));
    for (const HostId fog : fogs) fog_s.push_back(compute_s(fog));
    std::vector<std::vector<double>> transfer_s;  // by user and fog node
    for (const HostId user : users) {
      std::vector<double>& row = transfer_s.emplace_back();
      for (const HostId fog : fogs) row.push_back(problem.transfer_s(bytes, user, fog));
    }
    const auto n = users.size() * static_cast<std::size_t>(pieces_);
    const auto user_of = [&](std::size_t piece) { return piece / static_cast<std::size_t>(pieces_); };
    std::vector<std::vector<double>> costs;
    for (std::size_t piece = 0; piece < n; ++piece) {
      std::vector<double>& row = costs.emplace_back();
      for (std::size_t f = 0; f < fogs.size(); ++f) row.push_back(fog_s[f] + transfer_s[user_of(piece)][f]);
    }
    const int share = quota_ > 0 ? quota_ : static_cast<int>((n + fogs.size() - 1) / fogs.size());
    const std::vector<int> quotas(fogs.size(), share);
    const auto total_s = [&](const Matching& matching) {
      std::vector<int> load(fogs.size(), 0);
      for (const int place : matching) {
        if (place != kUnmatched) ++load[static_cast<std::size_t>(place)];
      }
      double total = 0;
      for (std::size_t u = 0; u < users.size(); ++u) {
        double utility = 1 / std::max(device_s[u], kShortest_s);
        for (std::size_t piece = 0; piece < n; ++piece) {
          if (user_of(piece) != u || matching[piece] == kUnmatched) continue;
          const auto f = static_cast<std::size_t>(matching[piece]);
          utility += 1 / std::max(load[f] * fog_s[f] + transfer_s[u][f], kShortest_s);
        }
        total += 1 / utility;
      }
      return total;
    };

    Matching matching(n, kUnmatched);
    // Those who do not coordinate know of their own pieces alone.
    const bool coordinated = matching_ == "exchange" || matching_ == "deferred";
    if (coordinated) {
      matching = deferred_acceptance(costs, costs, quotas);
      if (matching_ == "exchange") swaps = exchange(matching, quotas, total_s);
    } else {
      // Every user draws from a seed of its own, whoever computes it.
      for (std::size_t u = 0; u < users.size(); ++u) {
        if (users[u] != problem.source) continue;
        Random random(problem.seed);
        std::vector<int> load(fogs.size(), 0);
        for (std::size_t piece = u * static_cast<std::size_t>(pieces_); user_of(piece) == u && piece < n;
             ++piece) {
          std::vector<double> own;
          for (std::size_t f = 0; f < fogs.size(); ++f)
            own.push_back((load[f] + 1) * fog_s[f] + transfer_s[u][f]);
          const auto cheapest = std::ranges::min_element(own) - own.begin();
          matching[piece] = matching_ == "random" ? random.below(static_cast<int>(fogs.size()))
                                                  : static_cast<int>(cheapest);
          ++load[static_cast<std::size_t>(matching[piece])];
        }
      }
    }

    delay_s = total_s(matching);
    std::vector<Helper> helpers{{problem.source, 1, 1}};
    for (std::size_t f = 0; f < fogs.size(); ++f) {
      Helper helper{fogs[f], 0, 0};
      for (std::size_t piece = 0; piece < n; ++piece) {
        if (matching[piece] != static_cast<int>(f)) continue;
        ++helper.pieces;
        helper.own += users[user_of(piece)] == problem.source;
      }
      if (helper.own > 0) helpers.push_back(helper);
    }
    return helpers;
  }

  static Problem of(const Problem& problem, HostId user) {
    Problem out = problem;
    out.source = user;
    return out;
  }

  // ---- DINA-P ----

  // Numbers of leading layers behind which a single image goes on, and nothing else; 0 too.
  static std::vector<std::size_t> cuts(const LayerGraph& graph, std::span<const LayerId> layers) {
    std::vector<std::size_t> out{0};
    for (std::size_t k = 1; k < layers.size(); ++k) {
      const LayerId last = layers[k - 1];
      bool clean = graph.layer(last).output_shape.size() == 3;
      for (std::size_t i = k; clean && i < layers.size(); ++i) {
        for (const LayerId input : graph.layer(layers[i]).inputs) clean = clean && input >= last;
      }
      if (clean) out.push_back(k);
    }
    return out;
  }

  // A helper's pieces run one after another; of those that it serves, this user's come together.
  static double waiting(const Helper& helper) { return 1.0 * helper.pieces / helper.own; }

  // Seconds of the first k layers on a host, for each k, and of those from k on; other users' pieces
  // included.
  struct Sides {
    std::vector<double> first_s, rest_s;  // (n_layers + 1)
  };
  static Sides sides(const Problem& problem, std::span<const LayerId> layers, const Helper& helper) {
    const PieceTimes times = piece_times(problem, layers, helper.host);
    Sides out{std::vector<double>(layers.size() + 1, 0), std::vector<double>(layers.size() + 1, 0)};
    double all_s = 0;
    for (const double s : times.layer_s) all_s += s;
    double first_s = 0;
    for (std::size_t k = 0; k <= layers.size(); ++k) {
      if (k > 0) out.first_s[k] = (times.run_s + (first_s += times.layer_s[k - 1])) * waiting(helper);
      if (k < layers.size()) out.rest_s[k] = (times.run_s + all_s - first_s) * waiting(helper);
    }
    return out;
  }

  Plan tile(const Problem& problem, const std::vector<Helper>& helpers) const {
    const LayerGraph& graph = problem.graph;
    const int exit = deepest_exit(problem);
    const auto layers = graph.exit_layers(exit);
    std::vector<Sides> times;
    for (const Helper& helper : helpers) times.push_back(sides(problem, layers, helper));
    Plan best;
    double least_s = kNever;
    // Tries every host for the rest of a plan, its last piece, whose tiles take so long.
    const auto place_rest = [&](Plan& plan, std::size_t k, const std::vector<double>& tile_s) {
      const std::vector<PlanEdge> edges = plan_edges(graph, problem.wire, plan);
      for (std::size_t r = 0; r < helpers.size(); ++r) {
        plan.pieces.back().host = helpers[r].host;
        const double ends_s = finish_s(problem, plan, edges, tile_s, times[r].rest_s[k]);
        if (!(ends_s < least_s)) continue;
        least_s = ends_s;
        best = plan;
        best.decision = {{"cut", static_cast<double>(k)}, {"tiles", static_cast<double>(tile_s.size())}};
      }
    };
    for (const std::size_t k : cuts(graph, layers)) {
      const auto head = layers.first(k), rest = layers.subspan(k);
      Plan plan;
      plan.exit = exit;
      const Piece rest_piece{{rest.begin(), rest.end()}, problem.source};
      if (k == 0) {
        plan.pieces = {rest_piece};
        place_rest(plan, k, {});
        continue;
      }
      std::vector<std::pair<double, std::size_t>> order;  // by falling utility for these layers
      for (std::size_t h = 0; h < helpers.size(); ++h) {
        const double up_s = problem.transfer_s(input_bytes(problem), problem.source, helpers[h].host);
        order.emplace_back(-1 / std::max(times[h].first_s[k] + up_s, kShortest_s), h);
      }
      std::ranges::sort(order);
      const Shape& shape = graph.layer(head.back()).output_shape;
      for (std::size_t n = 1; n <= order.size(); ++n) {
        std::vector<double> shares, tile_s;
        for (std::size_t i = 0; i < n; ++i) shares.push_back(-order[i].first);
        const std::vector<Range> rows = split(shape[1], shares);
        plan.pieces.clear();
        for (std::size_t i = 0; i < n; ++i) {
          if (rows[i].size() == 0) continue;
          const std::size_t h = order[i].second;
          const HostId host = helpers[h].host;
          if (n == 1) {
            plan.pieces.push_back({{head.begin(), head.end()}, host});
            tile_s.push_back(times[h].first_s[k]);
            continue;
          }
          plan.pieces.push_back(fused_piece(graph, head, {{head.back(), slab(shape, 1, rows[i])}}, host));
          tile_s.push_back(problem.compute_s(plan.pieces.back()) * problem.slowdown(host) *
                           waiting(helpers[h]));
        }
        plan.pieces.push_back(rest_piece);
        place_rest(plan, k, tile_s);
      }
    }
    return best;
  }

  // When the result of tiles, if any, and the rest, the last piece, has returned.
  static double finish_s(const Problem& problem, const Plan& plan, const std::vector<PlanEdge>& edges,
                         const std::vector<double>& tile_s, double rest_s) {
    const auto host_of = [&](int end) {
      return end == kSourceEnd ? problem.source : plan.pieces[static_cast<std::size_t>(end)].host;
    };
    // What crosses a link together shares it: the inputs, then what the tiles give.
    std::array<std::map<LinkId, double>, 2> crossing;
    const auto stage = [](const PlanEdge& edge) { return edge.from == kSourceEnd ? 0U : 1U; };
    for (const PlanEdge& edge : edges) {
      if (edge.to == kSourceEnd || host_of(edge.from) == host_of(edge.to)) continue;
      const Route* route = problem.platform.route(host_of(edge.from), host_of(edge.to));
      if (route == nullptr) return kNever;
      for (const LinkId link : route->links) crossing[stage(edge)][link] += edge.bytes;
    }
    const auto transfer_s = [&](const PlanEdge& edge) {
      const HostId from = host_of(edge.from), to = host_of(edge.to);
      if (from == to || edge.to == kSourceEnd) return problem.transfer_s(edge.bytes, from, to);
      const Route* route = problem.platform.route(from, to);
      double longest_s = 0;
      for (const LinkId link : route->links) {
        longest_s = std::max(longest_s, crossing[stage(edge)].at(link) /
                                            problem.bandwidth_bytes_per_s[static_cast<std::size_t>(link)]);
      }
      return route->latency_s + longest_s;
    };
    // Edges come by receiver, the result last.
    const auto rest = static_cast<int>(tile_s.size());
    std::vector<double> ready_s(plan.pieces.size(), 0);
    double end_s = kNever;
    for (const PlanEdge& edge : edges) {
      const double sent_s = edge.from == kSourceEnd ? 0
                            : edge.from == rest     ? ready_s.back() + rest_s
                                                    : ready_s[static_cast<std::size_t>(edge.from)] +
                                                      tile_s[static_cast<std::size_t>(edge.from)];
      const double arrives_s = sent_s + transfer_s(edge);
      if (edge.to == kSourceEnd) {
        end_s = arrives_s;
      } else {
        double& ready = ready_s[static_cast<std::size_t>(edge.to)];
        ready = std::max(ready, arrives_s);
      }
    }
    return end_s;
  }

  int pieces_, quota_;
  std::string matching_;
  std::vector<double> seen_;
};

const bool registered = register_policy(
    {.name = "dina",
     .title = "fused tiles for fog nodes that users are matched with",
     .source = "Mohammed et al., DINA, INFOCOM 2020",
     .about =
         "Pieces of all users are matched with fog nodes by deferred acceptance and then by swaps, until no "
         "swap "
         "lowers the total delay. Each user's leading layers then run in fused tiles of rows on its device "
         "and "
         "nodes, in proportion to their utilities; the rest on one of them. Decided anew when a bandwidth "
         "changes.",
     .parameters =
         {{.name = "pieces", .type = "integer", .standard = 3, .about = "pieces that each user offers"},
          {.name = "quota",
           .type = "integer",
           .standard = 0,
           .about = "pieces that a fog node takes; 0: an equal share, rounded up"},
          {.name = "matching",
           .type = "string",
           .standard = "exchange",
           .about = "exchange: deferred acceptance, then swaps; deferred: without the swaps; greedy: each "
                    "piece where it is cheapest beside the user's own; random",
           .choices = {"exchange", "deferred", "greedy", "random"}}},
     .watches_bandwidth = true},
    make<Dina>);

}  // namespace
}  // namespace cdisim
