// ionn: which layers to upload first to a server that has none of them, while queries already run.
//
// Layers that every path from the input to the exit passes end a block; the layers between two of them belong
// to the block of the second, so that one tensor leads from block to block. A block runs on the source or on
// the server. A shortest path through the blocks chooses, with an upload that counts K^n of itself:
//
//     source to source    C_b                                        C_b, S_b times of the block on source
//     and source to server    in_b / B + S_b + K^n W_b / B               server, in_b its input, out_b its
//     output server to server    S_b + K^n W_b / B                          (of the last: the result), W_b
//     the weights server to source    out_(b-1) / B + C_b, after the last alone  that the server lacks, byte;
//     B bandwidth
//                         out_b / B                                  as last observed
//
// A transfer of tensors takes the route's latency besides, and a piece what a run costs before its first
// layer. Passes n = 0, 1, ... go on while K^n >= `floor`; the blocks that a pass has on the server and no
// earlier one had are the next partition. Partitions are uploaded one after another, and queries run on the
// server what has arrived. Blocks that no pass chose stay on the source. At n = 0 the query pays for its
// uploads, so only what is worth most a byte is uploaded first. Objective "energy" weighs the same paths by
// what the source draws: its idle power all the time, computing and radio above it.
//
// Mode "all_at_once" is the paper's baseline: everything is one partition, and what runs on the server then
// is the path with free uploads. Where the server holds everything at the start, both are the optimum.
//
// Decides anew when a partition has arrived (the partitions stay as they are) and when the bandwidth has
// changed (the rest is partitioned anew). Queries and uploads share the link, which the paths do not know.
// Equal paths stay on the source. Of several servers the one of the least path with free uploads. Memory is
// not looked at.
//
//     parameter | type    | default       | meaning
//     ----------|---------|---------------|------------------------------------------------------------------
//     K         | number  | 0.5           | what an upload counts less with each pass, within (0, 1)
//     floor     | number  | 0.01          | passes go on while K^n is no less, within (0, 1]
//     mode      | string  | "incremental" | "incremental" or "all_at_once", how weights are uploaded
//     objective | string  | "latency"     | "latency" or "energy", what the paths minimise
//     server    | string  | ""            | host of the rest; empty: the best of tier cloud or edge
//
//     {"name": "ionn", "K": 0.1}
//
// Plan's decision: partitions, arrived (how many of them), server_layers (of a query now), and of each
// partition i = 1, 2, ... partition_i_layers and partition_i_bytes (of weights).
//
// Source: H.-J. Jeong, H.-J. Lee, C. H. Shin, S.-M. Moon, "IONN: Incremental Offloading of Neural Network
// Computations from Mobile Devices to Edge Servers", SoCC 2018, doi 10.1145/3267809.3267828, Section 3; the
// energy graph as in the authors' code (github.com/jinevening/IONN-client).

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "policies/shared/placement.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

struct Block {
  std::size_t begin = 0, end = 0;  // of the exit's layers
  double source = 0, server = 0;   // costs of computing
  double upload = 0;               // cost of the weights that the server lacks
  double in_up = 0, out_back = 0;  // costs of its tensors' transfers
};

// What can be uploaded to one server, in terms of the objective: s or J.
class BlockChain {
 public:
  BlockChain(const Problem& problem, HostId server, bool energy) {
    const int exit = deepest_exit(problem);
    const std::span<const LayerId> layers = problem.graph.exit_layers(exit);
    const PowerState& power = problem.state(problem.source);
    const double idle_w = power.idle_w + problem.platform.host(problem.source).radio.idle_w;
    const auto weigh = [&](const Estimate& cost) {
      return energy ? idle_w * cost.latency_s + cost.energy_j : cost.latency_s;
    };
    const auto source_cost = [&](double s) { return weigh({s, s * computing_power_w(problem)}); };
    const PieceTimes on_source = piece_times(problem, layers, problem.source),
                     on_server = piece_times(problem, layers, server);
    source_run_ = source_cost(on_source.run_s);
    server_run_ = weigh({on_server.run_s, 0});

    const Hop up(problem, problem.source, server), back(problem, server, problem.source);
    double in_bytes = input_bytes(problem);
    for (const std::size_t end : block_ends(problem.graph, layers)) {
      Block block;
      block.begin = blocks_.empty() ? 0 : blocks_.back().end;
      block.end = end;
      double weight_bytes = 0;
      for (std::size_t i = block.begin; i < end; ++i) {
        block.source += source_cost(on_source.layer_s[i]);
        block.server += weigh({on_server.layer_s[i], 0});
        if (!problem.holds(server, layers[i])) weight_bytes += problem.graph.layer(layers[i]).weight_bytes;
      }
      block.upload = weigh(up.cost(weight_bytes)) - weigh(up.cost(0));
      block.in_up = weigh(up.cost(in_bytes));
      in_bytes = tensor_bytes(problem.graph, problem.wire, layers[end - 1]);
      block.out_back = weigh(back.cost(end == layers.size() ? result_bytes(problem, exit) : in_bytes));
      blocks_.push_back(block);
    }
  }

  const std::vector<Block>& blocks() const { return blocks_; }

  struct Path {
    double cost = 0;
    std::vector<char> on_server;  // (n_blocks)
  };
  // `share`: of itself that an upload counts.
  Path shortest(double share) const {
    // Where block b runs; the input is on the source, ahead of any piece of it.
    Path source, server{std::numeric_limits<double>::infinity(), {}};
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      const Block& block = blocks_[b];
      const double returned = b == 0 ? source_run_ : server.cost + blocks_[b - 1].out_back + source_run_;
      const double here = b == 0 ? source_run_ : source.cost;
      const double sent = source.cost + block.in_up + server_run_;
      Path next_source = b > 0 && returned < here ? server : source;
      next_source.cost = std::min(here, returned) + block.source;
      next_source.on_server.push_back(0);
      Path next_server = server.cost < sent ? server : source;
      next_server.cost = std::min(server.cost, sent) + block.server + share * block.upload;
      next_server.on_server.push_back(1);
      source = std::move(next_source);
      server = std::move(next_server);
    }
    server.cost += blocks_.back().out_back;
    return server.cost < source.cost ? server : source;
  }

 private:
  // Ends of the blocks: behind each layer that no tensor passes by. On a topological order of the layers that
  // the exit needs, these are those on every path to it.
  static std::vector<std::size_t> block_ends(const LayerGraph& graph, std::span<const LayerId> layers) {
    std::vector<std::size_t> ends;
    // (n_layers + 1) the last reader of the input and of each layer.
    std::vector<std::size_t> last_reader(layers.size() + 1, 0);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      for (const LayerId input : graph.layer(layers[i]).inputs) {
        const auto producer =
            input == kInput ? 0 : std::ranges::lower_bound(layers, input) - layers.begin() + 1;
        last_reader[static_cast<std::size_t>(producer)] = i;
      }
    }
    std::size_t reach = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      reach = std::max(reach, last_reader[i]);
      if (reach <= i) ends.push_back(i + 1);
    }
    return ends;
  }

  std::vector<Block> blocks_;
  double source_run_ = 0, server_run_ = 0;
};

// A partition, and where the layers of a query run once it is there.
struct Stage {
  std::vector<LayerId> layers;
  std::vector<char> on_server;  // (n_layers of the exit)
};

class Ionn : public Policy {
 public:
  explicit Ionn(const Parameters& parameters)
      : parameters_(parameters),
        k_(parameters.number("K")),
        floor_(parameters.number("floor")),
        energy_(parameters.string("objective") == "energy") {
    if (!(k_ > 0 && k_ < 1)) parameters.fail("K", "valid: above 0, below 1");
    if (!(floor_ > 0 && floor_ <= 1)) parameters.fail("floor", "valid: above 0, up to 1");
  }

  Plan plan(const Problem& problem) override {
    servers_ = server_candidates(problem, parameters_, {Tier::kCloud, Tier::kEdge});
    seen_bytes_per_s_ = server_bandwidths(problem, servers_);
    partition(problem);
    return plan_now(problem);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& /*observation*/) override {
    std::vector<double> now = server_bandwidths(problem, servers_);
    if (now != seen_bytes_per_s_) {
      seen_bytes_per_s_ = std::move(now);
      partition(problem);
      return plan_now(problem);
    }
    if (arrived(problem) == arrived_) return std::nullopt;
    return plan_now(problem);
  }

 private:
  void partition(const Problem& problem) {
    std::optional<BlockChain> chain;
    double least = std::numeric_limits<double>::infinity();
    for (const HostId server : servers_) {
      BlockChain candidate(problem, server, energy_);
      const double cost = candidate.shortest(0).cost;
      if (chain && cost >= least) continue;
      least = cost;
      server_ = server;
      chain = std::move(candidate);
    }
    const std::span<const LayerId> layers = problem.graph.exit_layers(deepest_exit(problem));
    const std::vector<Block>& blocks = chain->blocks();
    stages_.clear();
    if (parameters_.string("mode") == "all_at_once") {
      stages_.push_back({{layers.begin(), layers.end()}, by_layer(blocks, chain->shortest(0).on_server)});
      return;
    }
    std::vector<char> chosen(blocks.size(), 0);
    // 0.1 * 0.1 is to be no less than 0.01.
    for (double share = 1; share >= floor_ * (1 - 1e-9); share *= k_) {
      const std::vector<char> now = chain->shortest(share).on_server;
      Stage next;
      for (std::size_t b = 0; b < blocks.size(); ++b) {
        if (now[b] == 0 || chosen[b] != 0) continue;
        chosen[b] = 1;
        next.layers.insert(next.layers.end(), layers.begin() + static_cast<std::ptrdiff_t>(blocks[b].begin),
                           layers.begin() + static_cast<std::ptrdiff_t>(blocks[b].end));
      }
      if (next.layers.empty()) continue;
      next.on_server = by_layer(blocks, chosen);
      stages_.push_back(std::move(next));
    }
  }

  static std::vector<char> by_layer(const std::vector<Block>& blocks, const std::vector<char>& on_server) {
    std::vector<char> out;
    for (std::size_t b = 0; b < blocks.size(); ++b) out.resize(blocks[b].end, on_server[b]);
    return out;
  }

  // How many partitions the server holds, in their order.
  std::size_t arrived(const Problem& problem) const {
    const auto held = [&](const Stage& stage) {
      return std::ranges::all_of(stage.layers, [&](LayerId id) { return problem.holds(server_, id); });
    };
    return static_cast<std::size_t>(std::ranges::find_if_not(stages_, held) - stages_.begin());
  }

  Plan plan_now(const Problem& problem) {
    arrived_ = arrived(problem);
    const int exit = deepest_exit(problem);
    const std::vector<char> on_server = arrived_ > 0
                                            ? stages_[arrived_ - 1].on_server
                                            : std::vector<char>(problem.graph.exit_layers(exit).size(), 0);
    Plan plan = placement_plan(problem, exit, server_, on_server);
    plan.decision = {{"partitions", static_cast<double>(stages_.size())},
                     {"arrived", static_cast<double>(arrived_)},
                     {"server_layers", static_cast<double>(std::ranges::count(on_server, 1))}};
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      const std::vector<LayerId>& layers = stages_[i].layers;
      double bytes = 0;
      for (const LayerId id : layers) bytes += problem.graph.layer(id).weight_bytes;
      plan.decision[fmt::format("partition_{}_layers", i + 1)] = static_cast<double>(layers.size());
      plan.decision[fmt::format("partition_{}_bytes", i + 1)] = bytes;
      if (i >= arrived_) plan.uploads.push_back({layers, server_});
    }
    return plan;
  }

  Parameters parameters_;
  double k_, floor_;
  bool energy_;
  std::vector<HostId> servers_;
  std::vector<double> seen_bytes_per_s_;
  HostId server_ = 0;
  std::vector<Stage> stages_;
  std::size_t arrived_ = 0;
};

const bool registered = register_policy(
    {.name = "ionn",
     .title = "uploads a model partition by partition while queries run",
     .source = "Jeong et al., IONN, SoCC 2018",
     .about =
         "Decides in which order the layers' weights are uploaded to a server that has none: shortest paths "
         "through source and server, with uploads that count less and less, give one partition after "
         "another. "
         "Queries run on the server what has arrived. Decided anew when the bandwidth changes.",
     .parameters =
         {{.name = "K",
           .type = "number",
           .standard = 0.5,
           .about = "what an upload counts less with each pass, above 0, below 1"},
          {.name = "floor", .type = "number", .standard = 0.01, .about = "passes go on while K^n is no less"},
          {.name = "mode",
           .type = "string",
           .standard = "incremental",
           .about = "how weights are uploaded; all_at_once: the whole model in one go",
           .choices = {"incremental", "all_at_once"}},
          {.name = "objective",
           .type = "string",
           .standard = "latency",
           .about = "what the paths minimise",
           .choices = {"latency", "energy"}},
          {.name = "server",
           .type = "string",
           .standard = "",
           .about = "host of the rest; empty: the best reachable one of tier cloud or edge"}},
     .watches_bandwidth = true,
     .watches_weights = true},
    make<Ionn>);

}  // namespace
}  // namespace cdisim
