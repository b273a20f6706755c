// goel_pipeline_hdnn: the small DNNs of a hierarchy on several devices, which work on different frames at
// once.
//
// A hierarchical DNN is a tree of small DNNs D: a frame visits the root, then one child a level until a leaf
// answers. A model whose exits state rates that make 1 is such a tree: what a set of exits shares is a DNN,
// R(D) the rates of the exits that need it. A request takes one path, drawn for it by these rates, and
// computes nothing of the others; on its way the device that has run one DNN sends the tensor to the device
// of the next. A model without is a chain: a layer with weights and what follows it up to the next is a DNN,
// at most `blocks` in all (those of least work are joined). Each DNN has one device; with L(D) its time there
// and C the time that a parent's tensor takes to another device,
//
//     a_j = sum of R(D) L(D) over the DNNs of device j,     b = sum of R(child) C over the edges cut
//     T = F / ((F + N - 1) max_j a_j + F b)        frames a second, F frames on N devices
//
// T is largest among all partitions where there are at most 4^10 of them (the paper enumerates up to about 20
// DNNs and 4 devices), else among the contiguous ones: DNNs in topological order, devices in the platform's
// from the source on. Searched depth first with the bound that a_j and b only grow; of equals the first. T
// counts sending as time in which no device computes; the simulation sends while devices compute, so that
// there throughput is about 1 / max_j a_j. Decides anew when a measured bandwidth has changed. The input's
// way to the root and the result's way back count nothing, as in the paper.
//
//     parameter | type    | default      | meaning
//     ----------|---------|--------------|----------------------------------------------------------------
//     devices   | integer | 0            | N, the source and the next ones of tier device; 0: all
//     frames    | integer | 1000         | F
//     blocks    | integer | 10           | most DNNs of a chain, 1 to 20
//     partition | string  | "any"        | "any" or "contiguous"
//
//     {"name": "goel_pipeline_hdnn", "devices": 3}
//
// Plan's decision: dnns, devices (that compute), busiest_s (max a_j), cut_s (b), predicted_throughput_per_s.
//
// Source: A. Goel, C. Tung, X. Hu, G. K. Thiruvathukal, J. C. Davis, Y.-H. Lu, "Efficient Computer Vision on
// Edge Devices with Pipeline-Parallel Hierarchical Neural Networks", ASP-DAC 2022, arXiv 2109.13356, section
// III.

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "policies/shared/blocks.h"
#include "sim/error.h"
#include "sim/policy.h"
#include "sim/random.h"

namespace cdisim {
namespace {

constexpr double kMostPartitions = 1048576;  // 4^10

// The partition of largest T.
class Partition {
 public:
  Partition(const Problem& problem, const BlockTree& tree, const std::vector<HostId>& hosts, int frames,
            bool contiguous)
      : problem_(problem), tree_(tree), hosts_(hosts), frames_(frames) {
    const std::size_t n = tree.blocks.size();
    contiguous_ = contiguous || std::pow(hosts.size(), n) > kMostPartitions;
    for (const Block& block : tree.blocks) {
      double rate = 0;
      for (std::size_t e = 0; e < tree.rates.size(); ++e)
        rate += block.needed_for[e] != 0 ? tree.rates[e] : 0;
      rates_.push_back(rate);
      std::vector<double>& work_s = work_s_.emplace_back();
      for (const HostId host : hosts) {
        work_s.push_back(rate * problem.compute_s(block.layers, host) * problem.slowdown(host));
      }
    }
    Piece whole;
    for (const Block& block : tree.blocks) {
      whole.layers.insert(whole.layers.end(), block.layers.begin(), block.layers.end());
    }
    Plan together;
    together.pieces.push_back(std::move(whole));
    whole_bytes_ = plan_memory_bytes(problem.graph, together).at(0);
    at_.assign(n, 0);
    busy_s_.assign(hosts.size(), 0);
    memory_.assign(hosts.size(), {});
    place(0, 0, 0);
  }

  bool found() const { return !best_.empty(); }
  std::vector<HostId> hosts() const {
    std::vector<HostId> out;
    for (const std::size_t at : best_) out.push_back(hosts_[at]);
    return out;
  }
  double busiest_s() const { return best_busiest_s_; }
  double cut_s() const { return best_cut_s_; }
  double throughput_per_s() const { return frames_ / best_s_; }

 private:
  // Seconds of all frames.
  double total_s(double busiest_s, double cut_s) const {
    return (frames_ + static_cast<double>(hosts_.size()) - 1) * busiest_s + frames_ * cut_s;
  }

  bool fits(std::size_t host) const {
    const auto& memory = problem_.platform.host(hosts_[host]).memory_bytes;
    if (!memory || whole_bytes_ <= *memory) return true;
    Plan plan;
    Piece piece{{}, hosts_[host]};
    for (const std::size_t b : memory_[host]) {
      piece.layers.insert(piece.layers.end(), tree_.blocks[b].layers.begin(), tree_.blocks[b].layers.end());
    }
    plan.pieces.push_back(std::move(piece));
    return plan_memory_bytes(problem_.graph, plan).at(hosts_[host]) <= *memory;
  }

  void place(std::size_t block, double busiest_s, double cut_s) {
    if (total_s(busiest_s, cut_s) >= best_s_) return;
    if (block == at_.size()) {
      best_s_ = total_s(busiest_s, cut_s);
      best_busiest_s_ = busiest_s;
      best_cut_s_ = cut_s;
      best_ = at_;
      return;
    }
    const std::size_t before = block == 0 ? 0 : at_[block - 1];
    const std::size_t begin = contiguous_ ? before : 0;
    const std::size_t end = contiguous_ && block > 0 ? std::min(before + 2, hosts_.size()) : hosts_.size();
    const int reads = tree_.blocks[block].reads;
    for (std::size_t host = begin; host < end; ++host) {
      double cut = cut_s;
      if (reads >= 0) {
        const HostId from = hosts_[at_[static_cast<std::size_t>(reads)]];
        if (from != hosts_[host] && problem_.platform.route(from, hosts_[host]) == nullptr) continue;
        cut += rates_[block] * problem_.transfer_s(tree_.blocks[block].bytes, from, hosts_[host]);
      }
      memory_[host].push_back(block);
      if (fits(host)) {
        at_[block] = host;
        const double was = busy_s_[host];
        busy_s_[host] += work_s_[block][host];
        place(block + 1, std::max(busiest_s, busy_s_[host]), cut);
        busy_s_[host] = was;
      }
      memory_[host].pop_back();
    }
  }

  const Problem& problem_;
  const BlockTree& tree_;
  const std::vector<HostId>& hosts_;
  double frames_;
  bool contiguous_ = false;
  double whole_bytes_ = 0;                        // of the whole model on one host
  std::vector<double> rates_;                     // by block
  std::vector<std::vector<double>> work_s_;       // by block, host: R L
  std::vector<std::size_t> at_;                   // host of each block so far
  std::vector<double> busy_s_;                    // by host
  std::vector<std::vector<std::size_t>> memory_;  // by host: its blocks
  std::vector<std::size_t> best_;
  double best_s_ = std::numeric_limits<double>::infinity(), best_busiest_s_ = 0, best_cut_s_ = 0;
};

class GoelPipelineHdnn : public Policy {
 public:
  explicit GoelPipelineHdnn(const Parameters& parameters)
      : devices_(parameters.integer("devices")),
        frames_(parameters.integer("frames")),
        blocks_(parameters.integer("blocks")),
        contiguous_(parameters.string("partition") == "contiguous") {
    if (devices_ < 0) parameters.fail("devices", "valid: 0 (all), 1, 2, ...");
    if (frames_ < 1) parameters.fail("frames", "valid: from 1");
    if (blocks_ < 1 || blocks_ > 20) parameters.fail("blocks", "valid: 1 to 20");
  }

  Plan plan(const Problem& problem) override {
    tree_ = block_tree(problem, blocks_);
    draws_ = Random(problem.seed);
    decide(problem);
    return paths_.back();
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    if (observation.kind == Observation::Kind::kArrival) {
      if (tree_.rates.back() == 1) return std::nullopt;
      double left = draws_->uniform();
      std::size_t exit = 0;
      while (exit + 1 < tree_.rates.size() && left >= tree_.rates[exit]) left -= tree_.rates[exit++];
      return paths_[exit];
    }
    if (std::ranges::equal(seen_, problem.bandwidth_bytes_per_s)) return std::nullopt;
    const std::vector<HostId> before = hosts_;
    decide(problem);
    if (hosts_ == before) return std::nullopt;
    return paths_.back();
  }

 private:
  void decide(const Problem& problem) {
    seen_.assign(problem.bandwidth_bytes_per_s.begin(), problem.bandwidth_bytes_per_s.end());
    std::vector<HostId> devices{problem.source};
    for (const HostId host : problem.reachable(Tier::kDevice)) {
      if (host != problem.source) devices.push_back(host);
    }
    if (devices_ > static_cast<int>(devices.size())) {
      throw InputError(problem.platform.file(),
                       "goel_pipeline_hdnn: fewer devices than its parameter \"devices\"");
    }
    if (devices_ > 0) devices.resize(static_cast<std::size_t>(devices_));
    const Partition partition(problem, tree_, devices, frames_, contiguous_);
    if (!partition.found()) {
      throw InputError(problem.platform.file(),
                       "goel_pipeline_hdnn: the devices' memories do not hold the model");
    }
    hosts_ = partition.hosts();
    paths_.clear();
    for (std::size_t exit = 0; exit < tree_.rates.size(); ++exit) {
      Plan& plan = paths_.emplace_back();
      plan.exit = static_cast<int>(exit);
      for (std::size_t b = 0; b < hosts_.size(); ++b) {
        const Block& block = tree_.blocks[b];
        if (block.needed_for[exit] == 0) continue;
        if (plan.pieces.empty() || plan.pieces.back().host != hosts_[b])
          plan.pieces.push_back({{}, hosts_[b]});
        std::vector<LayerId>& layers = plan.pieces.back().layers;
        layers.insert(layers.end(), block.layers.begin(), block.layers.end());
      }
      plan.decision = {
          {"dnns", static_cast<double>(hosts_.size())},
          {"devices", static_cast<double>(std::set<HostId>(hosts_.begin(), hosts_.end()).size())},
          {"busiest_s", partition.busiest_s()},
          {"cut_s", partition.cut_s()},
          {"predicted_throughput_per_s", partition.throughput_per_s()}};
    }
  }

  int devices_, frames_, blocks_;
  bool contiguous_;
  BlockTree tree_;
  std::optional<Random> draws_;  // of the paths
  std::vector<double> seen_;     // bandwidths
  std::vector<HostId> hosts_;    // by block
  std::vector<Plan> paths_;      // by exit
};

const bool registered = register_policy(
    {.name = "goel_pipeline_hdnn",
     .title = "a hierarchy of small DNNs as a pipeline over devices",
     .source = "Goel et al., ASP-DAC 2022",
     .about =
         "Puts the small DNNs of a hierarchical DNN on several devices so that the throughput of a stream of "
         "frames, estimated from the busiest device and what the devices send each other, is largest. A "
         "request takes one path of the hierarchy, drawn by the exits' rates.",
     .parameters =
         {{.name = "devices",
           .type = "integer",
           .standard = 0,
           .about = "the source and the next ones of tier device; 0: all"},
          {.name = "frames", .type = "integer", .standard = 1000, .about = "of the stream"},
          {.name = "blocks", .type = "integer", .standard = 10, .about = "most DNNs of a chain, 1 to 20"},
          {.name = "partition",
           .type = "string",
           .standard = "any",
           .about = "which partitions compete",
           .choices = {"any", "contiguous"}}},
     .watches_arrivals = true,
     .watches_bandwidth = true},
    make<GoelPipelineHdnn>);

}  // namespace
}  // namespace cdisim
