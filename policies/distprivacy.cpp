// distprivacy: the maps of each layer on several devices, no more of them on one than privacy allows.
//
// The more of a layer's maps (channels) a device has, the better it can recover the image. A request is
// divided group by group: a layer with what follows it map by map, as ReLU, pooling, batch normalisation do.
// alpha_lip = 1 where host i computes map p of group l, which has C_l maps. A host that computes maps
// receives what these read and it lacks: for a convolution all maps of the group before. c_li is the time of
// a map,
//
//     min  sum_l max_i (sum_k bytes from k to i / rate_ki + sum_p alpha_lip c_li)
//     s.t. sum_i alpha_lip = 1
//          sum_p alpha_lip <= Nf_l = floor(largest_share C_l)     of every host i but the source
//          weights and the largest input and output of i <= its memory,     MACs of i <= macs_per_host
//
// What reads the input runs on the source: the image never leaves it. Nf holds for layers of maps before the
// split point. Others, the fully connected layers, have no limit; layers without maps are not divided.
//
// Heuristic, online: request by request in the order of the sources, group by group. Hosts in the order of
// their speed for the group, of equals first the one that has computed most of what it reads; each gets as
// many maps as Nf, memory and MACs allow until none is left. Later requests find what is left of memories and
// MACs. A request for which the hosts run out is rejected: here its source computes it alone. On random cases
// of three hosts and four groups (tests) the objective is 29 % above the optimum in the mean, 227 % at worst.
// "optimal" solves the integer programme for each request instead (Cbc): some 30 ms for such a case, and no
// end within a minute for LeNet-5 on twenty hosts with limits.
//
// Nf counts computed maps, as in the formulation. A device that computes maps of a convolution nevertheless
// receives all maps of the one before: held_share says how much of a limited layer some device computes or
// receives. counts = "held" limits that too; convolutions then leave the source only behind the split point.
//
// A RECONSTRUCTION from the abstract: what is divided, the heuristic's rules and the split point are ours,
// and Nf for a similarity (SSIM) of the recovered image is not published in what was at hand, so the privacy
// level here is the share. The objective knows neither latencies of routes nor that transfers share links
// (maps that go to many devices leave by one link), and waits for all of a group; in a run a piece starts
// when its own inputs are there. Every reachable host takes part, of any tier, that has routes to all others
// that do. The heuristic decides once; "optimal" anew when a measured bandwidth has changed.
//
//     parameter     | type   | default     | meaning
//     --------------|--------|-------------|-------------------------------------------------------------
//     largest_share | number | 0.5         | most of a layer's maps on a host but the source; 1: no privacy
//     counts        | string | "computed"  | "computed": maps that a host computes; "held": also received
//     split_point   | string | ""          | layer from which on there is no limit; "": all of maps have one
//     macs_per_host | number | 0           | MACs of a host for one request of each source; 0: any number
//     method        | string | "heuristic" | "heuristic" or "optimal"
//
//     {"name": "distprivacy", "largest_share": 0.25}
//
// Plan's decision: participants (hosts that compute), computed_share and held_share (largest of a limited
// layer, of a host but the source), shared_bytes (between hosts), objective_s (the sum above and the result's
// way), predicted_latency_s (estimate), rejected (of all sources' requests).
//
// Source: E. Baccour, A. Erbad, A. Mohamed, M. Hamdi, M. Guizani, "DistPrivacy: Privacy-Aware Distributed
// Deep Neural Networks in IoT Surveillance Systems", IEEE GLOBECOM 2020, arXiv 2010.13234 (abstract).

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>

#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "policies/shared/linear_program.h"
#include "policies/shared/row_shares.h"
#include "sim/error.h"
#include "sim/policy.h"
#include "sim/region.h"

namespace cdisim {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-9;  // relative

std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

// Layers that are divided together.
struct Group {
  std::vector<LayerId> layers;  // ascending; others read the last one's output
  bool of_maps = false;         // may be divided
  bool limited = false;         // by privacy
  int maps = 1;                 // 1 where it is not divided
  std::optional<HostId> only;   // where the input is
  std::vector<int> inputs;      // groups that its first layer reads, by input; -1: the model's input
  bool continues = false;       // reads nothing but the group before, which nobody else reads
  double weight_bytes = 0;      // all of them
};

bool reads_map_by_map(const LayerGraph& graph, LayerId id) {
  const Shape &in = graph.input_shape(id), &out = graph.layer(id).output_shape;
  if (in.size() != 3 || out.size() != 3 || in[0] != out[0]) return false;
  return std::ranges::all_of(std::array{0, out[0] / 2, out[0] - 1}, [&](int map) {
    const Range one{map, map + 1};
    return input_region(graph, id, slab(out, 0, one), 0)[0] == one;
  });
}

std::vector<Group> groups_of(const Problem& problem, LayerId unlimited_from) {
  const LayerGraph& graph = problem.graph;
  std::vector<Group> groups;
  std::vector<int> group_of(at(graph.size()), -1);
  for (const LayerId id : graph.exit_layers(deepest_exit(problem))) {
    const Layer& layer = graph.layer(id);
    const bool of_maps = layer.output_shape.size() == 3, unlimited = id >= unlimited_from;
    const LayerId first = layer.inputs.front();
    const bool continues = layer.inputs.size() == 1 && first != kInput && graph.consumers(first).size() == 1;
    const auto joins = [&](const Group& group) {
      if (of_maps != group.of_maps) return false;
      if (!of_maps) return layer.weight_bytes == 0 || group.weight_bytes == 0;
      return unlimited == (group.layers.front() >= unlimited_from) && reads_map_by_map(graph, id);
    };
    if (!continues || !joins(groups[at(group_of[at(first)])])) {
      Group group;
      group.of_maps = of_maps;
      group.limited = of_maps && !unlimited;
      group.maps = of_maps ? layer.output_shape[0] : 1;
      for (const LayerId input : layer.inputs) {
        group.inputs.push_back(input == kInput ? -1 : group_of[at(input)]);
        if (input == kInput) group.only = problem.source;
      }
      const auto sensor = problem.wire.sensors.find(id);
      if (sensor != problem.wire.sensors.end()) group.only = sensor->second;
      group.continues = continues && group_of[at(first)] == static_cast<int>(groups.size()) - 1;
      groups.push_back(std::move(group));
      group_of[at(id)] = static_cast<int>(groups.size()) - 1;
    } else {
      group_of[at(id)] = group_of[at(first)];
    }
    Group& group = groups[at(group_of[at(id)])];
    group.layers.push_back(id);
    group.weight_bytes += layer.weight_bytes;
  }
  return groups;
}

// The source and the reachable hosts that have routes to and from all others taken, ascending.
std::vector<HostId> participants_of(const Problem& problem) {
  std::vector<HostId> out = row_hosts(problem, 0, "distprivacy");
  std::ranges::sort(out);
  return out;
}

struct Rules {
  double largest_share = 1;
  bool counts_received = false;
};

// What maps take of a host, and what earlier requests have left of it.
struct Resources {
  double weight_bytes = 0, work_bytes = 0, macs = 0;
};
struct Left {
  double memory_bytes = kNever, macs = kNever;
};

struct Share {
  HostId host = 0;
  Range maps;
};

// One request.
class Distribution {
 public:
  Distribution(const Problem& problem, const std::vector<Group>& groups, Rules rules,
               const std::vector<Left>& left)
      : problem_(problem),
        groups_(groups),
        rules_(rules),
        left_(left),
        hosts_(participants_of(problem)),
        seconds_(groups.size(), std::vector<double>(left.size(), 0)) {
    clear();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      for (const HostId host : hosts_) {
        const PieceTimes times = piece_times(problem, groups[g].layers, host);
        seconds_[g][at(host)] = std::accumulate(times.layer_s.begin(), times.layer_s.end(), 0.0);
      }
    }
  }

  // Whether the hosts suffice.
  bool by_heuristic() {
    clear();
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      std::vector<std::tuple<double, int, HostId>> order;
      for (const HostId host : hosts_) order.emplace_back(seconds_[g][at(host)], -own_maps(g, host), host);
      std::ranges::sort(order);
      int next = 0;
      for (const auto& [seconds, own, host] : order) {
        const int n = most(g, host, next);
        if (n > 0) take(g, {host, {next, next + n}});
        next += n;
      }
      if (next < groups_[g].maps) return false;
    }
    return true;
  }

  // Whether each group reads all of the one before and nothing else.
  bool is_dense_chain() const {
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (groups_[g].inputs != std::vector<int>{static_cast<int>(g) - 1}) return false;
      if (g > 0 && reads(g, 0, {0, 1}).size() != problem_.graph.input_shape(groups_[g].layers.front())[0])
        return false;
    }
    return true;
  }

  bool by_programme();

  Plan plan() const {
    Plan plan;
    plan.exit = deepest_exit(problem_);
    std::vector<std::size_t> stage;
    std::vector<double> work_s;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const Group& group = groups_[g];
      const auto alone_on = [&](HostId host, std::size_t other) {
        return shares_[other].size() == 1 && shares_[other].front().host == host;
      };
      for (const Share& share : shares_[g]) {
        const double seconds = seconds_[g][at(share.host)] * share.maps.size() / group.maps;
        // Nobody else waits for what one host hands on to itself.
        if (group.continues && alone_on(share.host, g) && alone_on(share.host, g - 1)) {
          std::vector<LayerId>& before = plan.pieces.back().layers;
          before.insert(before.end(), group.layers.begin(), group.layers.end());
          work_s.back() += seconds;
          continue;
        }
        Piece piece{group.layers, share.host};
        if (share.maps.size() < group.maps) {
          for (const LayerId id : group.layers) piece.parts[id] = part(g, id, share.maps);
        }
        plan.pieces.push_back(std::move(piece));
        stage.push_back(g);
        work_s.push_back(seconds);
      }
    }
    describe(plan, stage, work_s);
    return plan;
  }

  // Takes what this request needs from what hosts have left.
  void reserve(std::vector<Left>& left) const {
    for (const HostId host : hosts_) {
      left[at(host)].memory_bytes -= used_[at(host)].weight_bytes + used_[at(host)].work_bytes;
      left[at(host)].macs -= used_[at(host)].macs;
    }
  }

 private:
  void clear() {
    shares_.assign(groups_.size(), {});
    used_.assign(left_.size(), {});
    held_.clear();
  }

  Region part(std::size_t g, LayerId id, Range maps) const {
    const Shape& shape = problem_.graph.layer(id).output_shape;
    return groups_[g].of_maps ? slab(shape, 0, maps) : whole(shape);
  }

  // The maps that `maps` of a group read of its i-th input, a group of maps.
  Range reads(std::size_t g, std::size_t i, Range maps) const {
    const LayerId first = groups_[g].layers.front();
    return input_region(problem_.graph, first, part(g, first, maps), i)[0];
  }

  int limit(std::size_t g, HostId host) const {
    const Group& group = groups_[g];
    if (group.only && *group.only != host) return 0;
    if (!group.limited || host == problem_.source || group.only) return group.maps;
    return most_maps(group);
  }
  int most_maps(const Group& group) const {
    return static_cast<int>(std::floor(rules_.largest_share * group.maps * (1 + kRounding)));
  }

  Resources needs(std::size_t g, Range maps) const {
    Resources out;
    for (const LayerId id : groups_[g].layers) {
      const LayerCosts costs = maps.size() == groups_[g].maps
                                   ? problem_.graph.costs(id)
                                   : part_costs(problem_.graph, id, part(g, id, maps));
      out.weight_bytes += costs.weight_bytes + costs.state_bytes;
      out.work_bytes = std::max(out.work_bytes, costs.input_bytes + costs.output_bytes);
      out.macs += problem_.graph.layer(id).macs * maps.size() / groups_[g].maps;
    }
    return out;
  }

  // Maps that a host has, as ranges that do not overlap.
  static void add(std::vector<Region>& boxes, Range more) {
    std::vector<Region> lacking{{more}};
    for (const Region& box : boxes) lacking = subtract(lacking, box);
    boxes.insert(boxes.end(), lacking.begin(), lacking.end());
  }
  static double count(const std::vector<Region>& boxes) {
    double sum = 0;
    for (const Region& box : boxes) sum += elements(box);
    return sum;
  }

  template <class Visit>  // visit(producing group, range)
  void for_each_read(std::size_t g, Range maps, const Visit& visit) const {
    for (std::size_t i = 0; i < groups_[g].inputs.size(); ++i) {
      const int from = groups_[g].inputs[i];
      if (from >= 0 && groups_[at(from)].of_maps) visit(at(from), reads(g, i, maps));
    }
  }

  bool fits(std::size_t g, HostId host, Range maps) const {
    const Resources more = needs(g, maps), &used = used_[at(host)];
    const double bytes = used.weight_bytes + more.weight_bytes + std::max(used.work_bytes, more.work_bytes);
    if (bytes > left_[at(host)].memory_bytes) return false;
    if (used.macs + more.macs > left_[at(host)].macs * (1 + kRounding)) return false;
    if (!rules_.counts_received || host == problem_.source) return true;
    std::map<std::size_t, std::vector<Region>> then;
    for_each_read(g, maps, [&](std::size_t from, Range range) {
      const auto known = held_.find({from, host});
      if (known != held_.end()) then.try_emplace(from, known->second);
      add(then[from], range);
    });
    return std::ranges::all_of(then, [&](const auto& of_group) {
      const auto& [from, boxes] = of_group;
      return !groups_[from].limited || count(boxes) <= most_maps(groups_[from]);
    });
  }

  // How many maps of a group from `next` on a host may take.
  int most(std::size_t g, HostId host, int next) const {
    int none = std::min(limit(g, host), groups_[g].maps - next) + 1, some = 0;
    while (none - some > 1) {
      const int n = std::midpoint(some, none);
      (fits(g, host, {next, next + n}) ? some : none) = n;
    }
    return some;
  }

  int own_maps(std::size_t g, HostId host) const {
    int sum = 0;
    for (const int from : groups_[g].inputs) {
      if (from < 0) continue;
      for (const Share& share : shares_[at(from)]) sum += share.host == host ? share.maps.size() : 0;
    }
    return sum;
  }

  void take(std::size_t g, const Share& share) {
    const Resources more = needs(g, share.maps);
    Resources& used = used_[at(share.host)];
    used.weight_bytes += more.weight_bytes;
    used.work_bytes = std::max(used.work_bytes, more.work_bytes);
    used.macs += more.macs;
    shares_[g].push_back(share);
    add(held_[{g, share.host}], share.maps);
    for_each_read(g, share.maps, [&](std::size_t from, Range range) {
      add(held_[{from, share.host}], range);
    });
  }

  // The plan's decision; `stage` and `work_s` are its pieces' groups and seconds.
  void describe(Plan& plan, const std::vector<std::size_t>& stage, const std::vector<double>& work_s) const {
    const auto host_of = [&](int end) {
      return end == kSourceEnd ? problem_.source : plan.pieces[at(end)].host;
    };
    std::vector<double> piece_s = work_s;
    double shared_bytes = 0, objective_s = 0;
    for (const PlanEdge& edge : plan_edges(problem_.graph, problem_.wire, plan)) {
      const HostId from = host_of(edge.from), to = host_of(edge.to);
      if (from == to) continue;
      shared_bytes += edge.bytes;
      (edge.to == kSourceEnd ? objective_s : piece_s[at(edge.to)]) +=
          edge.bytes / bottleneck_bytes_per_s(problem_, from, to);
    }
    std::map<std::size_t, double> stage_s;
    std::set<HostId> hosts;
    for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
      stage_s[stage[p]] = std::max(stage_s[stage[p]], piece_s[p]);
      hosts.insert(plan.pieces[p].host);
    }
    for (const auto& [g, seconds] : stage_s) objective_s += seconds;
    double computed = 0, held = 0;
    for (const auto& [where, boxes] : held_) {
      const auto& [g, host] = where;
      if (host == problem_.source || !groups_[g].limited) continue;
      held = std::max(held, count(boxes) / groups_[g].maps);
      for (const Share& share : shares_[g]) {
        if (share.host == host) computed = std::max(computed, 1.0 * share.maps.size() / groups_[g].maps);
      }
    }
    plan.decision = {{"participants", static_cast<double>(hosts.size())},
                     {"computed_share", computed},
                     {"held_share", held},
                     {"shared_bytes", shared_bytes},
                     {"objective_s", objective_s},
                     {"predicted_latency_s", estimate(problem_, plan).latency_s}};
  }

  const Problem& problem_;
  const std::vector<Group>& groups_;
  Rules rules_;
  const std::vector<Left>& left_;
  std::vector<HostId> hosts_;
  std::vector<std::vector<double>> seconds_;  // by group, host: all maps
  std::vector<std::vector<Share>> shares_;    // by group
  std::vector<Resources> used_;               // by host
  // What a host computes and receives of a group's maps.
  std::map<std::pair<std::size_t, HostId>, std::vector<Region>> held_;
};

// The integer programme. Variables: n maps of a group on a host, z whether there are any, r what receiving
// takes there, t the group's time.
bool Distribution::by_programme() {
  // Seconds in shares of a time of their size, for the solver's tolerances.
  double unit_s = 0;
  for (const std::vector<double>& of_group : seconds_) unit_s += of_group[at(problem_.source)];
  const auto map_bytes = [&](std::size_t g) {
    return tensor_bytes(problem_.graph, problem_.wire, groups_[g].layers.back()) / groups_[g].maps;
  };
  const auto per_byte = [&](HostId from, HostId to) {
    return 1 / bottleneck_bytes_per_s(problem_, from, to) / unit_s;
  };
  struct Here {
    int n = 0, z = 0;
  };
  LinearProgram program;
  std::vector<std::map<HostId, Here>> here(groups_.size());
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const Group& group = groups_[g];
    const bool last = g + 1 == groups_.size();
    const double result = last ? result_bytes(problem_, deepest_exit(problem_)) / group.maps : 0;
    const int t = program.add({.cost = 1});
    LinearProgram::Row all;
    all.lower = all.upper = group.maps;
    for (const HostId host : hosts_) {
      int limit = this->limit(g, host);
      if (g > 0 && rules_.counts_received && host != problem_.source && groups_[g - 1].limited &&
          most_maps(groups_[g - 1]) < groups_[g - 1].maps)
        limit = 0;
      if (limit == 0) continue;
      const double back = host == problem_.source ? 0 : result * per_byte(host, problem_.source);
      const int n = program.add({back, 0, static_cast<double>(limit), true});
      const int z = program.add({0, 0, 1, true});
      here[g][host] = {n, z};
      all.terms.emplace_back(n, 1);
      program.rows.push_back({{{n, 1}, {z, -limit}}, -kNever, 0});
      LinearProgram::Row time{{{t, 1}, {n, -seconds_[g][at(host)] / group.maps / unit_s}}, 0, kNever};
      if (g > 0) {
        const int r = program.add({});
        time.terms.emplace_back(r, -1);
        LinearProgram::Row receive{{{r, 1}}, 0, kNever};
        double most = 0;
        for (const auto& [from, before] : here[g - 1]) {
          if (from == host) continue;
          const double one = map_bytes(g - 1) * per_byte(from, host);
          receive.terms.emplace_back(before.n, -one);
          most = std::max(most, one * groups_[g - 1].maps);
        }
        receive.terms.emplace_back(z, -most);
        receive.lower = -most;
        program.rows.push_back(std::move(receive));
      }
      program.rows.push_back(std::move(time));
    }
    program.rows.push_back(std::move(all));
  }
  for (const HostId host : hosts_) {
    // All that the host could be given: limits in shares of it.
    Resources all;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (!here[g].contains(host)) continue;
      const Resources needs = this->needs(g, {0, groups_[g].maps});
      all.weight_bytes += needs.weight_bytes;
      all.work_bytes = std::max(all.work_bytes, needs.work_bytes);
      all.macs += needs.macs;
    }
    const double all_bytes = all.weight_bytes + all.work_bytes;
    LinearProgram::Row macs, weights;
    macs.upper = left_[at(host)].macs / all.macs;
    weights.upper = left_[at(host)].memory_bytes / all_bytes;
    const bool few_macs = macs.upper < 1, little_memory = weights.upper < 1;
    std::vector<LinearProgram::Row> work;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const auto place = here[g].find(host);
      if (place == here[g].end()) continue;
      const auto [n, z] = place->second;
      const int maps = groups_[g].maps;
      const Resources needs = this->needs(g, {0, maps});
      macs.terms.emplace_back(n, needs.macs / maps / all.macs);
      weights.terms.emplace_back(n, needs.weight_bytes / maps / all_bytes);
      for (const LayerId id : groups_[g].layers) {
        // Input and output: so much in any case and so much a map.
        const auto bytes = [&](int some) {
          const LayerCosts costs = part_costs(problem_.graph, id, part(g, id, {0, some}));
          return (costs.input_bytes + costs.output_bytes) / all_bytes;
        };
        const double a_map = maps > 1 ? (bytes(maps) - bytes(1)) / (maps - 1) : 0;
        work.push_back({{{n, a_map}, {z, bytes(1) - a_map}}});
      }
    }
    if (few_macs) program.rows.push_back(macs);
    if (!little_memory) continue;
    for (LinearProgram::Row& row : work) {
      row.terms.insert(row.terms.end(), weights.terms.begin(), weights.terms.end());
      row.upper = weights.upper;
      program.rows.push_back(std::move(row));
    }
  }
  const LinearSolution solution = minimise(program);
  if (solution.status != LinearSolution::Status::kOptimal) return false;
  clear();
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    int next = 0;
    for (const auto& [host, variables] : here[g]) {
      const int n = static_cast<int>(solution.values[at(variables.n)]);
      if (n > 0) take(g, {host, {next, next + n}});
      next += n;
    }
  }
  return true;
}

class DistPrivacy : public Policy {
 public:
  explicit DistPrivacy(const Parameters& parameters)
      : parameters_(parameters),
        rules_{parameters.number("largest_share"), parameters.string("counts") == "held"},
        macs_per_host_(parameters.number("macs_per_host")),
        optimal_(parameters.string("method") == "optimal") {
    if (!(rules_.largest_share > 0 && rules_.largest_share <= 1))
      parameters.fail("largest_share", "valid: above 0, up to 1");
    if (!(macs_per_host_ >= 0)) parameters.fail("macs_per_host", "valid: 0 (any) or more");
  }

  Plan plan(const Problem& problem) override {
    seen_.assign(problem.bandwidth_bytes_per_s.begin(), problem.bandwidth_bytes_per_s.end());
    std::vector<Left> left(at(problem.platform.host_count()));
    for (HostId host = 0; host < problem.platform.host_count(); ++host) {
      left[at(host)].memory_bytes = problem.platform.host(host).memory_bytes.value_or(kNever);
      if (macs_per_host_ > 0) left[at(host)].macs = macs_per_host_;
    }
    std::optional<Plan> mine;
    int rejected = 0;
    for (const HostId source : sources_of(problem)) {
      Problem own = problem;
      own.source = source;
      const std::vector<Group> groups = groups_of(own, unlimited_from(problem.graph));
      Distribution distribution(own, groups, rules_, left);
      if (optimal_ && !distribution.is_dense_chain()) {
        parameters_.fail("method", "the programme is for chains whose layers read all of the one before");
      }
      const bool served = optimal_ ? distribution.by_programme() : distribution.by_heuristic();
      rejected += served ? 0 : 1;
      if (served && source == problem.source) mine = distribution.plan();
      if (served) distribution.reserve(left);
    }
    Plan plan = mine ? std::move(*mine) : alone(problem);
    plan.decision["rejected"] = rejected;
    return plan;
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& /*observation*/) override {
    if (!optimal_ || std::ranges::equal(seen_, problem.bandwidth_bytes_per_s)) return std::nullopt;
    return plan(problem);
  }

 private:
  LayerId unlimited_from(const LayerGraph& graph) const {
    const std::string name = parameters_.string("split_point");
    if (name.empty()) return graph.size();
    const LayerId id = graph.find(name);
    if (id < 0) parameters_.fail("split_point", "no layer of \"" + graph.name() + "\"");
    return id;
  }

  static Plan alone(const Problem& problem) {
    Plan plan = whole_plan(problem, deepest_exit(problem), problem.source);
    for (const auto& [host, bytes] : plan_memory_bytes(problem.graph, plan)) {
      if (bytes > problem.platform.host(host).memory_bytes.value_or(kNever)) {
        throw InputError(problem.platform.file(), "distprivacy: the hosts run out, and \"" +
                                                      problem.platform.host(host).name +
                                                      "\" cannot compute the model alone");
      }
    }
    return plan;
  }

  Parameters parameters_;
  Rules rules_;
  double macs_per_host_;
  bool optimal_;
  std::vector<double> seen_;  // bandwidths
};

const bool registered = register_policy(
    {.name = "distprivacy",
     .title = "feature maps over devices, few of a layer on each, for privacy",
     .source = "Baccour et al., GLOBECOM 2020",
     .about = "Divides each layer of maps between devices, none of which but the source may have more than a "
              "share "
              "of them, so that nobody can recover the image; under limits of memory and multiplications. A "
              "reconstruction of the online heuristic, or the optimum by an integer programme.",
     .parameters = {{.name = "largest_share",
                     .type = "number",
                     .standard = 0.5,
                     .about = "most of a layer's maps on one host but the source, above 0; 1: no privacy"},
                    {.name = "counts",
                     .type = "string",
                     .standard = "computed",
                     .about = "which maps the limit counts: those that a host computes, or receives too",
                     .choices = {"computed", "held"}},
                    {.name = "split_point",
                     .type = "string",
                     .standard = "",
                     .about = "layer from which on there is no limit; empty: all of maps have one"},
                    {.name = "macs_per_host",
                     .type = "number",
                     .standard = 0,
                     .about = "most multiplications on one host for one request of each source; 0: any"},
                    {.name = "method",
                     .type = "string",
                     .standard = "heuristic",
                     .about = "the online heuristic, or the integer programme, for small cases",
                     .choices = {"heuristic", "optimal"}}},
     .watches_bandwidth = true},
    make<DistPrivacy>);

}  // namespace
}  // namespace cdisim
