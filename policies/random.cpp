// random: a uniformly random partition of the deepest exit.
//
// Draws one of the other hosts that the source can reach, then the partition point k, 0 to the number of
// layers, each equally likely: the first k layers run on the source, the rest on the host drawn. Drawn once
// per source, from its seed. A baseline that any informed policy should beat.
//
// It has no parameters.
//
//     {"name": "random"}
//
// Source: a baseline, of no paper in particular.

#include "sim/random.h"

#include "policies/shared/hosts.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

class RandomPartition : public Policy {
 public:
  explicit RandomPartition(const Parameters& /*parameters*/) {}

  Plan plan(const Problem& problem) override {
    const int exit = deepest_exit(problem);
    const std::vector<HostId> servers = servers_of_tiers(problem);
    Random random(problem.seed);
    const HostId server = servers[static_cast<std::size_t>(random.below(static_cast<int>(servers.size())))];
    const int k = random.below(static_cast<int>(problem.graph.exit_layers(exit).size()) + 1);
    Plan plan = chain_plan(problem.graph, exit, k, problem.source, server);
    plan.decision["partition_point"] = k;
    return plan;
  }
};

const bool registered =
    register_policy({.name = "random",
                     .title = "a random partition point and a random server",
                     .source = "baseline",
                     .about = "The first k layers of the deepest exit run on the source, the rest "
                              "on another host; both drawn uniformly.",
                     .parameters = {}},
                    make<RandomPartition>);

}  // namespace
}  // namespace cdisim
