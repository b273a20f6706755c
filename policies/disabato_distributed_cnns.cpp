// disabato_distributed_cnns: the layers of CNNs on the hosts of a mesh, by an integer programme.
//
// A block is a layer with weights and what follows it up to the next (the paper's layer); longer models are
// joined to `blocks` blocks by least work. Each block of each source's model goes to one host so that the sum
// of the sources' expected latencies is least. With a_ubi = 1 where block b of source u is on host i,
//
//     min  sum_u [ sum_b p_b (sum_i a_ubi c_bi + sum_ik a_uri a_ubk T_ik(K_b)) + sum_e g_e sum_i a_uei
//     T_iu(R_e) ] s.t. sum_i a_ubi = 1,    sum_ub a_ubi <= L,    sum_ub a_ubi m_b <= M_i,    sum_ub a_ubi w_b
//     <= W
//
// c_bi computing b on i; r the block that b reads (the first one reads the input at the source), T the
// transfer of its K_b bytes, R_e the result's of exit e, 0 from a host to itself; g_e the share of requests
// that stop at exit e, p_b the share that gets as far as b (both 1 without exits whose rates the model
// states). m_b weights, to which the largest input and output on the host are added, M_i its memory; w_b
// multiplications. A head that reads what the block after it reads also hands it over where both are on one
// host. Products of two variables become continuous ones: y_rbik with sum_k y_rbik = a_uri and sum_i y_rbik =
// a_ubk, whose relaxation is a shortest path but for L, M and W; Cbc does the rest. Where the blocks are a
// chain and the shortest paths of the sources keep the limits together, they are the optimum and no programme
// is solved.
//
// Predicted is estimate() for a source without others, but for a run's overhead, which is charged where a
// block is not on the host of the block that it reads. The sources' models are the same, each has its own
// weights, and the result returns to the source; the paper may have another sink. Its authors' code charges
// exits with the wrong probabilities and sends the input to the second layer; this does neither. Decides anew
// when a measured bandwidth has changed.
//
//     parameter       | type    | default | meaning
//     ----------------|---------|---------|--------------------------------------------------------------
//     layers_per_host | integer | 0       | L, blocks on one host; 0: any number (the paper's examples: 1)
//     macs_per_host   | number  | 0       | W, multiplications on one host for one request of each; 0: any
//     blocks          | integer | 10      | most blocks of the whole model, from 1
//
//     {"name": "disabato_distributed_cnns", "layers_per_host": 1}
//
// Plan's decision: blocks, hosts (that compute for this source), predicted_latency_s (of this source),
// objective_s (sum over the sources), programme (1: Cbc was asked, 0: shortest paths were enough).
//
// Source: S. Disabato, M. Roveri, C. Alippi, "Distributed Deep Convolutional Neural Networks for the
// Internet-of-Things", IEEE Transactions on Computers 70(8), 2021, doi 10.1109/TC.2021.3062227, arXiv
// 1908.01656; the programme as in github.com/simdis/distributedCNNs.

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "policies/shared/blocks.h"
#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "policies/shared/linear_program.h"
#include "sim/error.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kRounding = 1e-9;  // relative

struct Limits {
  int layers_per_host = 0;  // 0: any
  double macs_per_host = 0;
};

// What one source's placement costs, s.
class Costs {
 public:
  Costs(const Problem& problem, const BlockTree& tree, std::vector<HostId> hosts)
      : problem_(problem), tree_(tree), hosts_(std::move(hosts)) {
    const std::span<const LayerId> all = problem.graph.exit_layers(tree.exit());
    std::vector<LayerId> layers(all.begin(), all.end());
    for (const Block& block : tree.blocks)
      layers.insert(layers.end(), block.layers.begin(), block.layers.end());
    for (const HostId host : hosts_) {
      const PieceTimes times = piece_times(problem, layers, host);
      std::vector<double> sums;
      std::size_t at = all.size();
      for (const Block& block : tree.blocks) {
        double sum = 0;
        for (std::size_t i = 0; i < block.layers.size(); ++i) sum += times.layer_s[at++];
        sums.push_back(sum);
      }
      compute_s_.push_back(std::move(sums));
      run_s_.push_back(times.run_s);
    }
  }

  const std::vector<HostId>& hosts() const { return hosts_; }

  // The share of requests that gets as far as a block.
  double share(std::size_t block) const {
    const auto from = tree_.rates.begin() + tree_.first_exit(static_cast<int>(block));
    return std::accumulate(from, tree_.rates.end(), 0.0);
  }

  // Of a block on a host, without what it reads from other blocks: computing, the input, results.
  double place_s(std::size_t block, std::size_t host) const {
    const HostId id = hosts_[host];
    double sum = compute_s_[host][block];
    if (tree_.blocks[block].reads < 0) {
      sum += run_s_[host] + transfer_s(tree_.blocks[block].bytes, problem_.source, id);
    }
    sum *= share(block);
    for (std::size_t exit = 0; exit < tree_.rates.size(); ++exit) {
      if (tree_.rates[exit] > 0 && tree_.last[exit] == static_cast<int>(block)) {
        sum += tree_.rates[exit] * transfer_s(tree_.result_bytes[exit], id, problem_.source);
      }
    }
    return sum;
  }

  // That a block on host `to` reads from the block before it on host `from`; infinite without a route.
  double read_s(std::size_t block, std::size_t from, std::size_t to) const {
    if (from == to) return 0;
    return share(block) * (transfer_s(tree_.blocks[block].bytes, hosts_[from], hosts_[to]) + run_s_[to]);
  }

 private:
  double transfer_s(double bytes, HostId from, HostId to) const {
    if (from == to) return 0;
    return problem_.platform.route(from, to) == nullptr ? kNever : problem_.transfer_s(bytes, from, to);
  }

  Problem problem_;
  const BlockTree& tree_;
  std::vector<HostId> hosts_;
  std::vector<std::vector<double>> compute_s_;  // by host, block
  std::vector<double> run_s_;                   // by host
};

// Weights, the rest that a block needs while it computes, multiplications.
struct Needs {
  double weight_bytes = 0, work_bytes = 0, macs = 0;
};

std::vector<Needs> needs_of(const LayerGraph& graph, const BlockTree& tree) {
  std::vector<Needs> out;
  for (const Block& block : tree.blocks) {
    Needs needs;
    for (const LayerId id : block.layers) {
      needs.weight_bytes += graph.layer(id).weight_bytes + graph.layer(id).state_bytes;
      needs.macs += graph.layer(id).macs;
    }
    Plan alone;
    alone.pieces.push_back({block.layers, 0});
    needs.work_bytes = plan_memory_bytes(graph, alone).at(0) - needs.weight_bytes;
    out.push_back(needs);
  }
  return out;
}

// The joint decision for all sources.
struct Decision {
  std::vector<std::vector<HostId>> hosts;  // by source, block
  std::vector<double> latency_s;           // by source
  bool programme = false;
};

class Placing {
 public:
  Placing(const Problem& problem, const BlockTree& tree, const std::vector<HostId>& sources, Limits limits)
      : problem_(problem), tree_(tree), limits_(limits), needs_(needs_of(problem.graph, tree)) {
    for (const HostId source : sources) {
      Problem own = problem;
      own.source = source;
      costs_.emplace_back(own, tree, own.reachable());
    }
  }

  std::optional<Decision> best() {
    for (const Costs& costs : costs_) bounds_.push_back(bounds_of(costs));
    for (const Bounds& bounds : bounds_) least_s_ += bounds.least_s;
    if (least_s_ == kNever) return std::nullopt;
    std::optional<Decision> quick = one_by_one();
    if (quick) {
      most_s_ = std::accumulate(quick->latency_s.begin(), quick->latency_s.end(), 0.0);
      if (most_s_ <= least_s_ * (1 + kRounding)) return quick;
    }
    return programme();
  }

 private:
  double memory_bytes(HostId host) const {
    return problem_.platform.host(host).memory_bytes.value_or(kNever);
  }
  double most_macs() const { return limits_.macs_per_host > 0 ? limits_.macs_per_host : kNever; }
  bool fits(std::size_t block, HostId host) const {
    return needs_[block].weight_bytes + needs_[block].work_bytes <= memory_bytes(host) &&
           needs_[block].macs <= most_macs();
  }

  // Least sums of a source that has all hosts for itself, s.
  struct Bounds {
    std::vector<std::vector<double>> below;    // by block, its host: the block and all that follow from it
    std::vector<std::vector<double>> outside;  // by block, host of the one it reads: everything else
    double least_s = kNever;                   // of the whole
  };

  double read_at_least_s(const Costs& costs, std::size_t block, std::size_t from, std::size_t to) const {
    return handed_over(block) ? 0 : costs.read_s(block, from, to);
  }

  Bounds bounds_of(const Costs& costs) const {
    const std::size_t blocks = tree_.blocks.size(), n = costs.hosts().size();
    const auto reads = [&](std::size_t b) { return static_cast<std::size_t>(tree_.blocks[b].reads); };
    std::vector<std::vector<double>> place(blocks, std::vector<double>(n, kNever));
    for (std::size_t b = 0; b < blocks; ++b) {
      for (std::size_t i = 0; i < n; ++i) {
        if (fits(b, costs.hosts()[i])) place[b][i] = costs.place_s(b, i);
      }
    }
    Bounds out{place, {}, kNever};
    // With what a block on host i is read from host i on: the block and all that follow.
    std::vector<std::vector<double>> branch(blocks, std::vector<double>(n, kNever));
    for (std::size_t b = blocks; b-- > 1;) {
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t k = 0; k < n; ++k) {
          branch[b][i] = std::min(branch[b][i], read_at_least_s(costs, b, i, k) + out.below[b][k]);
        }
        out.below[reads(b)][i] += branch[b][i];
      }
    }
    out.outside.assign(blocks, std::vector<double>(n, 0));
    std::vector<std::vector<double>> above(blocks, std::vector<double>(n, 0));  // without what follows
    for (std::size_t b = 1; b < blocks; ++b) {
      for (std::size_t i = 0; i < n; ++i) {
        double& sum = out.outside[b][i];
        sum = above[reads(b)][i] + place[reads(b)][i];
        for (std::size_t c = 1; c < blocks; ++c) {
          if (c != b && reads(c) == reads(b)) sum += branch[c][i];
        }
      }
      for (std::size_t k = 0; k < n; ++k) {
        above[b][k] = kNever;
        for (std::size_t i = 0; i < n; ++i) {
          above[b][k] = std::min(above[b][k], out.outside[b][i] + read_at_least_s(costs, b, i, k));
        }
      }
    }
    out.least_s = *std::ranges::min_element(out.below.front());
    return out;
  }

  // Block after block the host that promises least, of those that keep the limits.
  std::optional<Decision> one_by_one() const {
    struct Used {
      int count = 0;
      double weight_bytes = 0, work_bytes = 0, macs = 0;
    };
    std::vector<Used> used(static_cast<std::size_t>(problem_.platform.host_count()));
    Decision out;
    for (std::size_t u = 0; u < costs_.size(); ++u) {
      const Costs& costs = costs_[u];
      std::vector<std::size_t> at;
      std::vector<HostId> chosen;
      for (std::size_t b = 0; b < tree_.blocks.size(); ++b) {
        const Needs& needs = needs_[b];
        double least = kNever;
        std::size_t best = 0;
        Used best_use;
        for (std::size_t k = 0; k < costs.hosts().size(); ++k) {
          const HostId host = costs.hosts()[k];
          Used use = used[static_cast<std::size_t>(host)];
          ++use.count;
          use.weight_bytes += needs.weight_bytes;
          use.work_bytes = std::max(use.work_bytes, needs.work_bytes);
          use.macs += needs.macs;
          if (limits_.layers_per_host > 0 && use.count > limits_.layers_per_host) continue;
          if (use.weight_bytes + use.work_bytes > memory_bytes(host) || use.macs > most_macs()) continue;
          const double promised = bounds_[u].below[b][k] + (b == 0 ? 0 : reading_s(costs, at, b, k));
          if (promised >= least) continue;
          least = promised;
          best = k;
          best_use = use;
        }
        if (least == kNever) return std::nullopt;
        at.push_back(best);
        chosen.push_back(costs.hosts()[best]);
        used[static_cast<std::size_t>(chosen.back())] = best_use;
      }
      out.latency_s.push_back(latency_s(costs, at));
      out.hosts.push_back(std::move(chosen));
    }
    return out;
  }

  // Whether no optimum costs as much as this one source's bound would have it.
  bool too_much(std::size_t source, double bound_s) const {
    return bound_s == kNever || least_s_ - bounds_[source].least_s + bound_s > most_s_ * (1 + kRounding);
  }

  std::optional<Decision> programme() const {
    LinearProgram program;
    const auto hosts = static_cast<std::size_t>(problem_.platform.host_count());
    struct Here {
      int variable = 0;
      std::size_t block = 0;
    };
    std::vector<std::vector<Here>> on_host(hosts);
    std::vector<std::vector<std::vector<int>>> placed;  // by source, block, host of Costs; -1: does not fit
    for (std::size_t u = 0; u < costs_.size(); ++u) {
      const Costs& costs = costs_[u];
      placed.push_back(add_source(program, u));
      for (std::size_t b = 0; b < tree_.blocks.size(); ++b) {
        for (std::size_t i = 0; i < costs.hosts().size(); ++i) {
          const int a = placed.back()[b][i];
          if (a >= 0) on_host[static_cast<std::size_t>(costs.hosts()[i])].push_back({a, b});
        }
      }
    }
    for (std::size_t host = 0; host < hosts; ++host) {
      LinearProgram::Row count, macs, weights;
      double all_bytes = 0, all_macs = 0;
      for (const Here& here : on_host[host]) {
        const Needs& needs = needs_[here.block];
        count.terms.emplace_back(here.variable, 1);
        macs.terms.emplace_back(here.variable, needs.macs / most_macs());
        weights.terms.emplace_back(here.variable, needs.weight_bytes);
        all_bytes += needs.weight_bytes + needs.work_bytes;
        all_macs += needs.macs;
      }
      count.upper = limits_.layers_per_host;
      macs.upper = 1;
      if (limits_.layers_per_host > 0 &&
          count.terms.size() > static_cast<std::size_t>(limits_.layers_per_host))
        program.rows.push_back(count);
      if (all_macs > most_macs()) program.rows.push_back(macs);
      const double memory = memory_bytes(static_cast<HostId>(host));
      if (all_bytes <= memory) continue;
      // In shares of the memory, with the largest work of a block that is there.
      for (auto& [variable, coefficient] : weights.terms) coefficient /= memory;
      weights.upper = 1;
      for (const Here& here : on_host[host]) {
        LinearProgram::Row row = weights;
        row.terms.emplace_back(here.variable, needs_[here.block].work_bytes / memory);
        program.rows.push_back(std::move(row));
      }
    }
    const LinearSolution solution = minimise(program);
    if (solution.status != LinearSolution::Status::kOptimal) return std::nullopt;

    Decision out;
    out.programme = true;
    for (std::size_t u = 0; u < costs_.size(); ++u) {
      std::vector<std::size_t> at;
      std::vector<HostId> chosen;
      for (const std::vector<int>& of_block : placed[u]) {
        const auto here = std::ranges::find_if(
            of_block, [&](int a) { return a >= 0 && solution.values[static_cast<std::size_t>(a)] > 0.5; });
        at.push_back(static_cast<std::size_t>(here - of_block.begin()));
        chosen.push_back(costs_[u].hosts()[at.back()]);
      }
      out.latency_s.push_back(latency_s(costs_[u], at));
      out.hosts.push_back(std::move(chosen));
    }
    return out;
  }

  // Whether a block finds what it reads where the block before it is, if that is its host.
  bool handed_over(std::size_t block) const {
    return block > 0 && tree_.blocks[block].reads >= 0 &&
           tree_.blocks[block].reads == tree_.blocks[block - 1].reads;
  }

  // What a block on `host` reads, the blocks before it being `at` their hosts.
  double reading_s(const Costs& costs, const std::vector<std::size_t>& at, std::size_t block,
                   std::size_t host) const {
    if (handed_over(block) && host == at[block - 1]) return 0;
    return costs.read_s(block, at[static_cast<std::size_t>(tree_.blocks[block].reads)], host);
  }

  double latency_s(const Costs& costs, const std::vector<std::size_t>& at) const {
    double sum = 0;
    for (std::size_t b = 0; b < at.size(); ++b) {
      sum += costs.place_s(b, at[b]);
      if (b > 0) sum += reading_s(costs, at, b, at[b]);
    }
    return sum;
  }

  std::vector<std::vector<int>> add_source(LinearProgram& program, std::size_t source) const {
    const Costs& costs = costs_[source];
    const Bounds& bounds = bounds_[source];
    const std::size_t n = costs.hosts().size();
    std::vector<std::vector<int>> placed;
    for (std::size_t b = 0; b < tree_.blocks.size(); ++b) {
      std::vector<int>& here = placed.emplace_back(n, -1);
      LinearProgram::Row once;
      once.lower = once.upper = 1;
      for (std::size_t i = 0; i < n; ++i) {
        if (b == 0 && too_much(source, bounds.below[0][i])) continue;
        if (b > 0 && too_much(source, least_at(costs, bounds, b, i))) continue;
        here[i] = program.add({costs.place_s(b, i), 0, 1, true});
        once.terms.emplace_back(here[i], 1);
      }
      program.rows.push_back(std::move(once));
      if (tree_.blocks[b].reads < 0) continue;
      const std::vector<int>& read = placed[static_cast<std::size_t>(tree_.blocks[b].reads)];
      // out: of the block that is read, in: of this one, free: what the block before has here.
      std::vector<LinearProgram::Row> out(n), in(n), free(n);
      for (std::size_t i = 0; i < n; ++i) {
        out[i].lower = out[i].upper = in[i].lower = in[i].upper = 0;
        free[i].upper = 0;
        if (read[i] >= 0) out[i].terms.emplace_back(read[i], -1);
        if (here[i] >= 0) in[i].terms.emplace_back(here[i], -1);
        if (handed_over(b) && placed[b - 1][i] >= 0) free[i].terms.emplace_back(placed[b - 1][i], -1);
      }
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t k = 0; k < n; ++k) {
          if (read[i] < 0 || here[k] < 0) continue;
          const auto add = [&](double cost) {
            const int y = program.add({cost, 0, 1, false});
            out[i].terms.emplace_back(y, 1);
            in[k].terms.emplace_back(y, 1);
            return y;
          };
          const double rest_s = bounds.outside[b][i] + bounds.below[b][k], cost = costs.read_s(b, i, k);
          if (!too_much(source, rest_s + cost)) add(cost);
          if (i != k && handed_over(b) && placed[b - 1][k] >= 0 && !too_much(source, rest_s))
            free[k].terms.emplace_back(add(0), 1);
        }
      }
      for (std::vector<LinearProgram::Row>* rows : {&out, &in, &free}) {
        for (LinearProgram::Row& row : *rows) {
          if (!row.terms.empty()) program.rows.push_back(std::move(row));
        }
      }
    }
    return placed;
  }

  // Of all placements with a block, not the first, on a host.
  double least_at(const Costs& costs, const Bounds& bounds, std::size_t block, std::size_t host) const {
    double least = kNever;
    for (std::size_t i = 0; i < costs.hosts().size(); ++i) {
      least = std::min(least, bounds.outside[block][i] + read_at_least_s(costs, block, i, host));
    }
    return least + bounds.below[block][host];
  }

  const Problem& problem_;
  const BlockTree& tree_;
  Limits limits_;
  std::vector<Needs> needs_;
  std::vector<Costs> costs_;    // by source
  std::vector<Bounds> bounds_;  // by source
  double least_s_ = 0;          // no sum of the sources is below
  double most_s_ = kNever;      // the optimum is not above
};

class DisabatoDistributedCnns : public Policy {
 public:
  explicit DisabatoDistributedCnns(const Parameters& parameters)
      : blocks_(parameters.integer("blocks")),
        limits_{parameters.integer("layers_per_host"), parameters.number("macs_per_host")} {
    if (blocks_ < 1) parameters.fail("blocks", "valid: from 1");
    if (limits_.layers_per_host < 0) parameters.fail("layers_per_host", "valid: 0 (any number), 1, 2, ...");
    if (!(limits_.macs_per_host >= 0)) parameters.fail("macs_per_host", "valid: 0 (any) or more");
  }

  Plan plan(const Problem& problem) override {
    seen_.assign(problem.bandwidth_bytes_per_s.begin(), problem.bandwidth_bytes_per_s.end());
    return decide(problem);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& /*observation*/) override {
    if (std::ranges::equal(seen_, problem.bandwidth_bytes_per_s)) return std::nullopt;
    seen_.assign(problem.bandwidth_bytes_per_s.begin(), problem.bandwidth_bytes_per_s.end());
    const std::vector<HostId> before = now_;
    Plan plan = decide(problem);
    if (now_ == before) return std::nullopt;
    return plan;
  }

 private:
  Plan decide(const Problem& problem) {
    const BlockTree tree = block_tree(problem, blocks_);
    const std::vector<HostId> sources = sources_of(problem);
    const auto mine = static_cast<std::size_t>(std::ranges::find(sources, problem.source) - sources.begin());
    const std::optional<Decision> best = Placing(problem, tree, sources, limits_).best();
    if (!best) {
      throw InputError(problem.platform.file(),
                       "disabato_distributed_cnns: no placement keeps the hosts' limits");
    }
    now_ = best->hosts[mine];
    Plan plan = block_plan(tree, now_);
    plan.decision = {{"blocks", static_cast<double>(tree.blocks.size())},
                     {"hosts", static_cast<double>(std::set<HostId>(now_.begin(), now_.end()).size())},
                     {"predicted_latency_s", best->latency_s[mine]},
                     {"objective_s", std::accumulate(best->latency_s.begin(), best->latency_s.end(), 0.0)},
                     {"programme", best->programme ? 1 : 0}};
    return plan;
  }

  int blocks_;
  Limits limits_;
  std::vector<double> seen_;  // bandwidths
  std::vector<HostId> now_;   // by block
};

const bool registered = register_policy(
    {.name = "disabato_distributed_cnns",
     .title = "layers of CNNs on the hosts of a mesh, by an integer programme",
     .source = "Disabato et al., IEEE TC 2021",
     .about =
         "Places each layer of each source's model on a host so that the sum of the expected latencies is "
         "least, early exits included, under limits of memory, multiplications and layers per host. Exact: "
         "an integer programme over all sources.",
     .parameters = {{.name = "layers_per_host",
                     .type = "integer",
                     .standard = 0,
                     .about = "most blocks on one host; 0: any number"},
                    {.name = "macs_per_host",
                     .type = "number",
                     .standard = 0,
                     .about = "most multiplications on one host; 0: any number"},
                    {.name = "blocks",
                     .type = "integer",
                     .standard = 10,
                     .about = "most blocks of the whole model, from 1"}},
     .watches_bandwidth = true},
    make<DisabatoDistributedCnns>);

}  // namespace
}  // namespace cdisim
