// deepslicing: slices of the model, as high as each device is fast, in blocks between which devices
// synchronise.
//
// The devices, the source first, then the platform's other hosts, compute a horizontal slice each. The model
// is cut into blocks of consecutive stages (a stage: layers between which no rows are exchanged). Before a
// block each device fetches what its slice of the block's outputs needs beyond the rows that it has; within
// it nothing is exchanged, so that rows at the slices' edges (halos) are computed twice, the more the longer
// the block. Branches of a block take the union of the rows that they need. One device gathers what follows
// (the fully connected layers): the one that has the result earliest at the source.
//
// Proportional synchronised scheduler (PSS): heights in proportion to the devices' speeds, one over their
// times of all rows, so that they finish a block about together.
//
//     T = sum over blocks [ X_b + max_i t_bi ] + X_gather + t_g + X_result
//
// t_bi the time of device i's slice with its halos, in whole rows; X the longest of the transfers that begin
// together: latency of its route + what its fullest link carries for all of them / B. block 1 synchronises
// after every stage (layer by layer); block 0 takes the cut of least T, by dynamic programming over the end
// of the last block, exact but for one thing: of a tensor that later blocks read as well a device may hold
// rows of its neighbours from an earlier block, which T fetches again. Decides anew when a measured bandwidth
// has changed. Memory is not looked at.
//
//     parameter | type    | default | meaning
//     ----------|---------|---------|---------------------------------------------------------------------
//     devices   | integer | 0       | the source and the next hosts; 0: all
//     shares    | string  | "speed" | heights: in proportion to "speed" (PSS) or "equal"
//     block     | integer | 0       | stages of a block; 0: the best cut
//
//     {"name": "deepslicing", "block": 2}
//
// Plan's decision: share_<host> of each device, stages, blocks, aggregator (host number), predicted_latency_s
// (T).
//
// Source: S. Zhang, S. Zhang, Z. Qian, J. Wu, Y. Jin, S. Lu, "DeepSlicing: Collaborative and Adaptive CNN
// Inference With Low Latency", IEEE TPDS 32(9), 2021, doi 10.1109/TPDS.2021.3058532. Reconstructed from its
// abstract; how the paper chooses its blocks was not at hand.

#include <algorithm>
#include <limits>
#include <optional>

#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "policies/shared/row_shares.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

// Seconds of blocks.
class Blocks {
 public:
  Blocks(const Problem& problem, const RowLayers& rows, const RowShares& shares, int exit)
      : problem_(problem), rows_(rows), shares_(shares) {
    const LayerGraph& graph = problem.graph;
    const int stages = static_cast<int>(rows.stages.size());
    stage_of_.assign(static_cast<std::size_t>(graph.size()), stages);  // the tail's
    for (int s = 0; s < stages; ++s) {
      for (const LayerId id : rows.stages[static_cast<std::size_t>(s)]) stage_of_[index(id)] = s;
    }
    read_until_.assign(static_cast<std::size_t>(graph.size()), 0);
    read_until_[index(graph.exits()[static_cast<std::size_t>(exit)].layer)] = stages;
    for (const LayerId id : graph.exit_layers(exit)) {
      for (const LayerId input : graph.layer(id).inputs) {
        if (input != kInput)
          read_until_[index(input)] = std::max(read_until_[index(input)], stage_of_[index(id)]);
      }
    }
    const std::vector<LayerId> layers = rows.layers();
    for (const HostId host : shares.hosts) run_s_.push_back(piece_times(problem, layers, host).run_s);
  }

  // Of the blocks that end before stage `end`, by their first stage.
  std::vector<double> ending_at(int end) const {
    std::vector<double> longest_s(static_cast<std::size_t>(end), 0);
    std::vector<std::vector<Transfer>> transfers(longest_s.size());
    for (std::size_t i = 0; i < shares_.hosts.size(); ++i) {
      const HostId host = shares_.hosts[i];
      Parts wanted;
      double layers_s = 0;
      for (int begin = end - 1; begin >= 0; --begin) {
        const std::vector<LayerId>& stage = rows_.stages[static_cast<std::size_t>(begin)];
        for (auto id = stage.rbegin(); id != stage.rend(); ++id) layers_s += add(wanted, *id, end, i);
        const auto at = static_cast<std::size_t>(begin);
        if (layers_s > 0)
          longest_s[at] = std::max(longest_s[at], run_s_[i] + layers_s * problem_.slowdown(host));
        for (const auto& [tensor, part] : wanted) {
          if (tensor == kInput || stage_of_[index(tensor)] < begin) fetch(transfers[at], tensor, part, i);
        }
      }
    }
    for (std::size_t begin = 0; begin < longest_s.size(); ++begin)
      longest_s[begin] += phase_s(problem_, transfers[begin]);
    return longest_s;
  }

 private:
  static std::size_t index(LayerId id) { return static_cast<std::size_t>(id); }

  std::vector<Range> heights(LayerId tensor) const {
    return split(problem_.graph.tensor_shape(tensor)[1], shares_.shares);
  }

  // The part of a layer that a device computes in a block, and what that reads. Seconds in power state 0.
  double add(Parts& wanted, LayerId id, int end, std::size_t device) const {
    Region part = whole(problem_.graph.layer(id).output_shape);
    part[1] = {};
    if (const auto inside = wanted.find(id); inside != wanted.end()) part = inside->second;
    if (read_until_[index(id)] >= end) {
      part = hull(part, slab(problem_.graph.layer(id).output_shape, 1, heights(id)[device]));
    }
    if (empty(part)) return 0;
    wanted[id] = part;
    const std::vector<LayerId>& inputs = problem_.graph.layer(id).inputs;
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      const Region needed = input_region(problem_.graph, id, part, k);
      const auto [known, is_new] = wanted.try_emplace(inputs[k], needed);
      if (!is_new) known->second = hull(known->second, needed);
    }
    const HostId host = shares_.hosts[device];
    return problem_.compute_s({{id}, host, {{id, part}}}) - run_s_[device] / problem_.slowdown(host);
  }

  void fetch(std::vector<Transfer>& transfers, LayerId tensor, const Region& part, std::size_t device) const {
    const double bytes = tensor_bytes(problem_.graph, problem_.wire, tensor);
    const double all = shape_elements(problem_.graph.tensor_shape(tensor));
    const auto from = [&](HostId host, const Region& rows) {
      if (!empty(rows)) transfers.push_back({host, shares_.hosts[device], bytes * elements(rows) / all});
    };
    if (tensor == kInput) {
      from(problem_.source, part);
      return;
    }
    const std::vector<Range> owned = heights(tensor);
    for (std::size_t j = 0; j < owned.size(); ++j) {
      if (j == device) continue;
      from(shares_.hosts[j], intersect(part, slab(problem_.graph.tensor_shape(tensor), 1, owned[j])));
    }
  }

  const Problem& problem_;
  const RowLayers& rows_;
  const RowShares& shares_;
  std::vector<int> stage_of_;    // by layer; of the tail their number
  std::vector<int> read_until_;  // by layer: the last stage that reads it
  std::vector<double> run_s_;    // by device: before the first layer
};

class DeepSlicing : public Policy {
 public:
  explicit DeepSlicing(const Parameters& parameters)
      : devices_(chosen_devices(parameters)),
        equal_(parameters.string("shares") == "equal"),
        block_(parameters.integer("block")) {
    if (block_ < 0) parameters.fail("block", "valid: 0 (the best cut), 1, 2, ...");
  }

  Plan plan(const Problem& problem) override {
    exit_ = deepest_exit(problem);
    rows_ = row_layers(problem.graph, exit_);
    decide(problem);
    return plan_of(problem);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& /*observation*/) override {
    if (std::ranges::equal(seen_, problem.bandwidth_bytes_per_s)) return std::nullopt;
    const std::vector<int> before = begins_;
    const RowShares shares = shares_;
    decide(problem);
    if (begins_ == before && shares_.aggregator == shares.aggregator && shares_.shares == shares.shares)
      return std::nullopt;
    return plan_of(problem);
  }

 private:
  void decide(const Problem& problem) {
    seen_.assign(problem.bandwidth_bytes_per_s.begin(), problem.bandwidth_bytes_per_s.end());
    shares_.hosts = row_hosts(problem, devices_, "deepslicing");
    shares_.shares =
        equal_ ? std::vector<double>(shares_.hosts.size(), 1.0 / static_cast<double>(shares_.hosts.size()))
               : speed_shares(problem, rows_, shares_.hosts);
    shares_.aggregator = fastest_aggregator(problem, rows_, shares_, exit_);

    // least_s[e]: of the stages before e, whose last block begins at from[e].
    const Blocks blocks(problem, rows_, shares_, exit_);
    const int stages = static_cast<int>(rows_.stages.size());
    std::vector<double> least_s(rows_.stages.size() + 1, std::numeric_limits<double>::infinity());
    std::vector<int> from(least_s.size(), 0);
    least_s[0] = 0;
    for (int end = 1; end <= stages; ++end) {
      if (block_ > 0 && end % block_ != 0 && end != stages) continue;
      const std::vector<double> block_s = blocks.ending_at(end);
      for (int begin = 0; begin < end; ++begin) {
        if (block_ > 0 && (begin % block_ != 0 || end - begin > block_)) continue;
        const auto e = static_cast<std::size_t>(end), b = static_cast<std::size_t>(begin);
        if (least_s[b] + block_s[b] < least_s[e]) {
          least_s[e] = least_s[b] + block_s[b];
          from[e] = begin;
        }
      }
    }
    begins_.clear();
    for (int end = stages; end > 0; end = begins_.back())
      begins_.push_back(from[static_cast<std::size_t>(end)]);
    std::ranges::reverse(begins_);
    predicted_s_ = least_s.back() + tail_s(problem, rows_, shares_, exit_);
  }

  Plan plan_of(const Problem& problem) const {
    Plan plan = row_plan(problem.graph, exit_, rows_, begins_, shares_);
    for (std::size_t i = 0; i < shares_.hosts.size(); ++i)
      plan.decision["share_" + problem.platform.host(shares_.hosts[i]).name] = shares_.shares[i];
    plan.decision["stages"] = static_cast<double>(rows_.stages.size());
    plan.decision["blocks"] = static_cast<double>(begins_.size());
    plan.decision["aggregator"] = shares_.aggregator;
    plan.decision["predicted_latency_s"] = predicted_s_;
    return plan;
  }

  int devices_;
  bool equal_;
  int block_;
  int exit_ = 0;
  RowLayers rows_;
  RowShares shares_;
  std::vector<int> begins_;  // first stage of each block
  double predicted_s_ = 0;
  std::vector<double> seen_;  // bandwidths
};

const bool registered = register_policy(
    {.name = "deepslicing",
     .title = "slices of blocks of layers, as high as devices are fast",
     .source = "Zhang et al., DeepSlicing, IEEE TPDS 2021",
     .about =
         "Cuts the model into blocks and each block into horizontal slices, as high as the devices are fast. "
         "Within a block slices compute their halos, between blocks devices exchange rows: long blocks "
         "synchronise less and compute more. Decided anew when a bandwidth changes.",
     .parameters = {devices_parameter(),
                    {.name = "shares",
                     .type = "string",
                     .standard = "speed",
                     .about = "heights of the slices: in proportion to the devices' speed, or equal",
                     .choices = {"speed", "equal"}},
                    {.name = "block",
                     .type = "integer",
                     .standard = 0,
                     .about = "stages of a block; 0: the cut of least latency"}},
     .watches_bandwidth = true},
    make<DeepSlicing>);

}  // namespace
}  // namespace cdisim
