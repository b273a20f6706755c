#include "policies/shared/placement.h"

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/r_c_shortest_paths.hpp>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <unordered_map>

#include "policies/shared/costs.h"
#include "policies/shared/pieces.h"
#include "sim/error.h"

namespace cdisim {

namespace {

constexpr int kMostTensors = 64;
constexpr std::size_t kMostNodes = 20000;  // of a level
constexpr int kNoSide = 2;                 // before the first layer

PlacementCost& operator+=(PlacementCost& a, const PlacementCost& b) {
  a.latency_s += b.latency_s;
  a.energy_j += b.energy_j;
  a.server_s += b.server_s;
  return a;
}

// Where things are after some layers. Bit masks over the slots of the tensors that are still to be read.
struct Situation {
  std::uint64_t on_server = 0;  // computed there
  std::uint64_t received = 0;   // by the last piece, from the other side
  int side = kNoSide;           // of the last piece

  bool operator==(const Situation&) const = default;
};

struct SituationHash {
  std::size_t operator()(const Situation& s) const {
    std::uint64_t h = (s.on_server * 0x9e3779b97f4a7c15U) ^ (s.received * 0xc2b2ae3d27d4eb4fU);
    h += static_cast<std::uint64_t>(s.side);
    return static_cast<std::size_t>(h ^ (h >> 29));
  }
};

// What one layer reads, and what the tensors in the air are after it.
struct Step {
  struct Read {
    std::uint64_t bit = 0;
    std::array<PlacementCost, 2> transfer;  // to the source, to the server
  };
  std::vector<Read> reads;
  std::uint64_t dies = 0, made = 0;         // bits of tensors that nobody reads any more, of the layer's own
  std::array<PlacementCost, 2> layer, run;  // on the source, on the server
};

PlacementCost transfer(const Hop& hop, double bytes) {
  const Estimate cost = hop.cost(bytes);
  return {cost.latency_s, cost.energy_j, 0};
}

std::vector<Step> steps_of(const Problem& problem, int exit, HostId server) {
  const std::span<const LayerId> layers = problem.graph.exit_layers(exit);
  const std::size_t n = layers.size();
  const PieceTimes on_source = piece_times(problem, layers, problem.source);
  const PieceTimes on_server = piece_times(problem, layers, server);
  const Hop up(problem, problem.source, server), down(problem, server, problem.source);
  const double busy_w = computing_power_w(problem);

  // Tensor t is at [t + 1], so that the input is at [0].
  const auto at = [](LayerId tensor) { return static_cast<std::size_t>(tensor + 1); };
  std::vector<std::size_t> last_reader(static_cast<std::size_t>(problem.graph.size()) + 1, n);
  for (std::size_t i = 0; i < n; ++i) {
    for (const LayerId input : problem.graph.layer(layers[i]).inputs) last_reader[at(input)] = i;
  }
  std::vector<std::uint64_t> bit(last_reader.size(), 0);
  std::uint64_t used = 0;
  const auto take_slot = [&](LayerId tensor) {
    if (used == ~std::uint64_t{0}) {
      throw InputError("model \"" + problem.graph.name() + "\"",
                       "more than 64 tensors wait to be read at the same time");
    }
    static_assert(kMostTensors == 64);
    bit[at(tensor)] = ~used & (used + 1);  // the lowest free one
    used |= bit[at(tensor)];
  };
  if (last_reader[at(kInput)] < n) take_slot(kInput);

  std::vector<Step> steps(n);
  for (std::size_t i = 0; i < n; ++i) {
    Step& step = steps[i];
    for (const LayerId input : problem.graph.layer(layers[i]).inputs) {
      const std::uint64_t b = bit[at(input)];
      if (std::ranges::find(step.reads, b, &Step::Read::bit) != step.reads.end()) continue;
      const double bytes = tensor_bytes(problem.graph, problem.wire, input);
      step.reads.push_back({b, {transfer(down, bytes), transfer(up, bytes)}});
      if (last_reader[at(input)] == i) step.dies |= b;
    }
    step.layer = {{{on_source.layer_s[i], on_source.layer_s[i] * busy_w, 0},
                   {on_server.layer_s[i], 0, on_server.layer_s[i]}}};
    step.run = {{{on_source.run_s, on_source.run_s * busy_w, 0}, {on_server.run_s, 0, on_server.run_s}}};
    used &= ~step.dies;
    if (last_reader[at(layers[i])] < n) {
      take_slot(layers[i]);
      step.made = bit[at(layers[i])];
    }
  }
  steps.back().layer[1] += transfer(down, result_bytes(problem, exit));
  return steps;
}

// The arc of a layer on `side`: its cost, and the situation it leads to.
PlacementCost take(const Step& step, int side, Situation& situation) {
  const auto s = static_cast<std::size_t>(side);
  PlacementCost cost = step.layer[s];
  if (situation.side != side) {
    cost += step.run[s];
    situation.side = side;
    situation.received = 0;
  }
  for (const Step::Read& read : step.reads) {
    const bool here = (side == 1) == ((situation.on_server & read.bit) != 0);
    if (here || (situation.received & read.bit) != 0) continue;
    cost += read.transfer[s];
    situation.received |= read.bit;
  }
  situation.on_server &= ~step.dies;
  situation.received &= ~step.dies;
  if (side == 1) situation.on_server |= step.made;
  return cost;
}

}  // namespace

PlacementGraph::PlacementGraph(const Problem& problem, int exit, HostId server, Objective order) {
  const std::vector<Step> steps = steps_of(problem, exit, server);
  layers_ = steps.size();
  nodes_.reserve(4 * layers_ + 2);

  std::vector<Situation> level{Situation{}}, next;
  std::vector<double> reached{0}, reached_next;  // least `order` so far
  std::unordered_map<Situation, int, SituationHash> index;
  std::array<int, 2> whole{0, 0};  // node in the level of the placements on one side
  for (std::size_t i = 0; i < layers_; ++i) {
    const auto begin = static_cast<int>(nodes_.size());
    const int next_begin = begin + static_cast<int>(level.size());
    next.clear();
    reached_next.clear();
    index.clear();
    std::array<int, 2> whole_next{};
    nodes_.resize(static_cast<std::size_t>(next_begin));
    for (std::size_t v = 0; v < level.size(); ++v) {
      Node& node = nodes_[static_cast<std::size_t>(begin) + v];
      for (int side = 0; side < 2; ++side) {
        Situation situation = level[v];
        const PlacementCost cost = take(steps[i], side, situation);
        if (i + 1 == layers_) situation = {};  // the end
        const auto [entry, is_new] = index.try_emplace(situation, static_cast<int>(next.size()));
        const double sum = reached[v] + cost.*order;
        if (is_new) {
          next.push_back(situation);
          reached_next.push_back(sum);
        } else {
          double& known = reached_next[static_cast<std::size_t>(entry->second)];
          known = std::min(known, sum);
        }
        node.arcs[static_cast<std::size_t>(side)] = {next_begin + entry->second, cost};
        if (static_cast<int>(v) == whole[static_cast<std::size_t>(side)])
          whole_next[static_cast<std::size_t>(side)] = entry->second;
      }
    }
    if (next.size() > kMostNodes) {
      std::vector<int> rank(next.size()), place(next.size(), -1);
      std::iota(rank.begin(), rank.end(), 0);
      const auto key = [&](int v) {
        const bool one_side = v == whole_next[0] || v == whole_next[1];
        return one_side ? -std::numeric_limits<double>::infinity()
                        : reached_next[static_cast<std::size_t>(v)];
      };
      std::ranges::stable_sort(rank, {}, key);
      std::vector<Situation> kept;
      std::vector<double> kept_reached;
      for (std::size_t k = 0; k < kMostNodes; ++k) {
        const auto v = static_cast<std::size_t>(rank[k]);
        place[v] = static_cast<int>(k);
        kept.push_back(next[v]);
        kept_reached.push_back(reached_next[v]);
      }
      for (auto node = nodes_.begin() + begin; node != nodes_.end(); ++node) {
        for (Arc& arc : node->arcs) {
          const int k = place[static_cast<std::size_t>(arc.to - next_begin)];
          arc.to = k < 0 ? -1 : next_begin + k;
        }
      }
      for (int& v : whole_next) v = place[static_cast<std::size_t>(v)];
      next = std::move(kept);
      reached_next = std::move(kept_reached);
    }
    level.swap(next);
    reached.swap(reached_next);
    whole = whole_next;
  }
  nodes_.emplace_back();
}

PlacementGraph::Weights PlacementGraph::only(Objective objective) {
  PlacementCost one;
  one.*objective = 1;
  return {one.latency_s, one.energy_j, one.server_s};
}

double PlacementGraph::weigh(const PlacementCost& cost, const Weights& weights) {
  return cost.latency_s * weights[0] + cost.energy_j * weights[1] + cost.server_s * weights[2];
}

std::vector<double> PlacementGraph::to_go(const Weights& weights) const {
  std::vector<double> least(nodes_.size(), std::numeric_limits<double>::infinity());
  least.back() = 0;
  for (std::size_t v = nodes_.size() - 1; v-- > 0;) {
    for (const Arc& arc : nodes_[v].arcs) {
      if (arc.to < 0) continue;
      least[v] = std::min(least[v], weigh(arc.cost, weights) + least[static_cast<std::size_t>(arc.to)]);
    }
  }
  return least;
}

double PlacementGraph::longest(const Weights& weights) const {
  return -to_go({-weights[0], -weights[1], -weights[2]}).front();
}

std::vector<char> PlacementGraph::shortest(const Weights& weights, const std::vector<double>& least) const {
  std::vector<char> on_server;
  on_server.reserve(layers_);
  for (std::size_t v = 0; v + 1 < nodes_.size();) {
    const auto through = [&](std::size_t side) {
      const Arc& arc = nodes_[v].arcs[side];
      return arc.to < 0 ? std::numeric_limits<double>::infinity()
                        : weigh(arc.cost, weights) + least[static_cast<std::size_t>(arc.to)];
    };
    // Of equals no change of side; at the start the source.
    const double source = through(0), server = through(1);
    const std::size_t before = on_server.empty() ? 0 : static_cast<std::size_t>(on_server.back());
    const std::size_t side = source == server ? before : source < server ? 0 : 1;
    on_server.push_back(static_cast<char>(side));
    v = static_cast<std::size_t>(nodes_[v].arcs[side].to);
  }
  return on_server;
}

Placement PlacementGraph::of(std::vector<char> on_server) const {
  Placement out;
  std::size_t v = 0;
  for (const char side : on_server) {
    const Arc& arc = nodes_[v].arcs[static_cast<std::size_t>(side)];
    out.cost += arc.cost;
    v = static_cast<std::size_t>(arc.to);
  }
  out.on_server = std::move(on_server);
  return out;
}

Placement PlacementGraph::best(Objective objective) const {
  const Weights weights = only(objective);
  return of(shortest(weights, to_go(weights)));
}

Placement PlacementGraph::whole(bool on_server) const {
  return of(std::vector<char>(layers_, on_server ? 1 : 0));
}

// ---- constrained shortest path ----

namespace {

constexpr std::size_t kCriteria = 3;
constexpr int kDualSteps = 100, kDualRounds = 20;
using Sums = std::array<double, kCriteria>;

// A path so far. `expected`, a lower bound of what it can come to within the bounds, orders the search: the
// first label that is taken up at the end is the best. Bounded criteria only are summed in `used`: others
// must not tell labels apart.
struct Label {
  double expected = 0, cost = 0;
  Sums used{};

  bool operator==(const Label&) const = default;
  auto operator<=>(const Label&) const = default;
};

using SearchGraph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, boost::no_property,
                                          boost::property<boost::edge_index_t, int>>;
using SearchEdge = boost::graph_traits<SearchGraph>::edge_descriptor;

struct SearchArc {
  double cost = 0;
  Sums uses{};
};

// What the search asks of an arc: the label behind it, and whether it may still lead to the best path.
struct Extend {
  std::vector<SearchArc> arcs;
  std::vector<double> cost_to_go;  // (n_nodes) least cost to the end
  std::array<std::vector<double>, kCriteria>
      to_go;  // (n_nodes) least use to the end, empty where not bounded
  Sums limits{};
  // Cost and uses, weighed by multipliers: with the uses at their limits a lower bound of the cost.
  Sums multipliers{};
  std::vector<double> weighed_to_go;  // (n_nodes)
  double at_limits = 0;               // the limits, weighed
  double at_most = 0;                 // cost of the best path known

  bool operator()(const SearchGraph& graph, Label& next, const Label& label, SearchEdge edge) const {
    const SearchArc& arc = arcs[static_cast<std::size_t>(boost::get(boost::edge_index, graph, edge))];
    const auto to = boost::target(edge, graph);
    next.cost = label.cost + arc.cost;
    double weighed = next.cost + weighed_to_go[to] - at_limits;
    for (std::size_t c = 0; c < kCriteria; ++c) {
      next.used[c] = label.used[c] + arc.uses[c];
      if (!to_go[c].empty() && next.used[c] + to_go[c][to] > limits[c]) return false;
      weighed += multipliers[c] * next.used[c];
    }
    next.expected = std::max(next.cost + cost_to_go[to], weighed);
    if (next.expected > at_most) return false;
    if (boost::out_degree(to, graph) == 0) {
      // Boost returns the first label at the end that none dominates: there the cost alone must decide.
      next.expected = next.cost;
      next.used = {};
    }
    return true;
  }
};

struct Dominates {
  bool operator()(const Label& a, const Label& b) const {
    for (std::size_t c = 0; c < kCriteria; ++c) {
      if (a.used[c] > b.used[c]) return false;
    }
    return a.cost <= b.cost;
  }
};

double slack(double value) {
  return 1e-12 * std::abs(value);
}

}  // namespace

std::optional<Placement> PlacementGraph::best(Objective objective, const PlacementBounds& bounds) const {
  constexpr std::array<Objective, kCriteria> criteria{&PlacementCost::latency_s, &PlacementCost::energy_j,
                                                      &PlacementCost::server_s};
  const Weights cost_alone = only(objective);
  Extend extend;
  extend.limits = {bounds.latency_s, bounds.energy_j, bounds.server_s};
  for (double& limit : extend.limits) limit += slack(limit);
  const auto bounded = [&](std::size_t c) { return !std::isinf(extend.limits[c]); };
  const auto kept = [&](const PlacementCost& cost) {
    for (std::size_t c = 0; c < kCriteria; ++c) {
      if (cost.*criteria[c] > extend.limits[c]) return false;
    }
    return true;
  };
  for (std::size_t c = 0; c < kCriteria; ++c) {
    if (!bounded(c)) continue;
    extend.to_go[c] = to_go(only(criteria[c]));
    if (extend.to_go[c].front() > extend.limits[c]) return std::nullopt;
  }

  // The multipliers that give the largest lower bound of the cost: one after another, until that stays.
  std::optional<Placement> known;  // the best that was met and keeps the bounds
  double upper = longest(cost_alone), lower = -std::numeric_limits<double>::infinity();
  Sums multipliers{};
  const auto weighed = [&] {
    Weights weights = cost_alone;
    double at_limits = 0;
    for (std::size_t c = 0; c < kCriteria; ++c) {
      weights[c] += multipliers[c];
      if (multipliers[c] > 0) at_limits += multipliers[c] * extend.limits[c];
    }
    std::vector<double> least = to_go(weights);
    Placement placement = of(shortest(weights, least));
    const double dual = least.front() - at_limits;
    if (kept(placement.cost) && (!known || placement.cost.*objective < (*known).cost.*objective)) {
      upper = std::min(upper, placement.cost.*objective);
      known = placement;
    }
    if (dual > lower) {
      lower = dual;
      extend.multipliers = multipliers;
      extend.weighed_to_go = std::move(least);
      extend.at_limits = at_limits;
    }
    return placement.cost;
  };
  // Of one criterion, the others given: the slope between the best placements within and beyond its limit.
  const auto improve = [&](std::size_t c) {
    multipliers[c] = 0;
    Weights others = cost_alone;
    for (std::size_t o = 0; o < kCriteria; ++o) others[o] += multipliers[o];
    PlacementCost beyond = weighed();
    if (beyond.*criteria[c] <= extend.limits[c]) return;
    PlacementCost within = of(shortest(only(criteria[c]), extend.to_go[c])).cost;
    for (int step = 0; step < kDualSteps; ++step) {
      const double saved = beyond.*criteria[c] - within.*criteria[c];
      multipliers[c] = std::max(0.0, (weigh(within, others) - weigh(beyond, others)) / saved);
      const PlacementCost met = weighed();
      const auto sum = [&](const PlacementCost& cost) {
        return weigh(cost, others) + multipliers[c] * cost.*criteria[c];
      };
      if (sum(met) >= sum(beyond) - slack(sum(beyond))) return;
      (met.*criteria[c] <= extend.limits[c] ? within : beyond) = met;
    }
  };
  for (int round = 0; round < kDualRounds; ++round) {
    const double before = lower;
    for (std::size_t c = 0; c < kCriteria; ++c) {
      if (bounded(c)) improve(c);
    }
    if (round == 0 && std::isinf(lower)) weighed();  // no bound at all
    if (lower > upper + slack(upper)) return known;  // nothing keeps the bounds, or nothing is better
    if (known && lower >= upper - slack(upper)) return known;
    if (lower - before <= 1e-3 * std::abs(lower)) break;
  }
  extend.at_most = upper + slack(upper);

  extend.cost_to_go = to_go(cost_alone);
  SearchGraph graph(nodes_.size());
  std::vector<char> side_of;
  for (std::size_t v = 0; v + 1 < nodes_.size(); ++v) {
    for (std::size_t side = 0; side < 2; ++side) {
      const Arc& arc = nodes_[v].arcs[side];
      if (arc.to < 0 || std::isinf(extend.cost_to_go[static_cast<std::size_t>(arc.to)])) continue;
      boost::add_edge(v, static_cast<std::size_t>(arc.to), static_cast<int>(extend.arcs.size()), graph);
      SearchArc& search = extend.arcs.emplace_back();
      search.cost = arc.cost.*objective;
      for (std::size_t c = 0; c < kCriteria; ++c) {
        if (bounded(c)) search.uses[c] = arc.cost.*criteria[c];
      }
      side_of.push_back(static_cast<char>(side));
    }
  }
  std::vector<SearchEdge> path;
  Label found;
  boost::r_c_shortest_paths(graph, boost::get(boost::vertex_index, graph),
                            boost::get(boost::edge_index, graph), 0, nodes_.size() - 1, path, found,
                            Label{extend.cost_to_go.front(), 0, {}}, extend, Dominates{});
  if (path.empty()) return known;
  std::vector<char> on_server;
  for (auto edge = path.rbegin(); edge != path.rend(); ++edge) {
    on_server.push_back(side_of[static_cast<std::size_t>(boost::get(boost::edge_index, graph, *edge))]);
  }
  return of(std::move(on_server));
}

Plan placement_plan(const Problem& problem, int exit, HostId server, std::span<const char> on_server) {
  const std::span<const LayerId> layers = problem.graph.exit_layers(exit);
  std::vector<HostId> hosts;
  for (const char there : on_server) hosts.push_back(there != 0 ? server : problem.source);
  Plan plan;
  plan.exit = exit;
  plan.pieces = pieces_of(problem.graph, layers, hosts, Grouping::kRuns);
  return plan;
}

}  // namespace cdisim
