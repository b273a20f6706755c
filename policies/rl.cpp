// rl: exit and partition point of each request, by a network that was trained beforehand.
//
// Runs a fully connected network without Python. When a request arrives, the network sees an observation
// (bandwidth of the route to the server, deadline, queues of device and server, time since the bandwidth
// changed, time between requests, backlogs of earlier decisions: those of them that its file names, scaled as
// it says) and gives each of its actions a number: the value of taking it (DQN) or the logit of its
// probability (PPO). The first action of the greatest number is taken: an exit and a partition point p as in
// Edgent, layers before p on the EDGE host, layers from p on on the device (the source); p = 1 is the device
// alone.
//
// What an agent sees and may do, and its reward, are those of the environments EdgeOffload-v0 and
// TaskStream-v0, defined in policies/shared/edge_offload.h; the file's format is in
// policies/shared/trained_network.h. experiments/rl/train.py trains networks with Stable-Baselines3 and
// writes their files: boomerang_dqn, boomerang_ppo, task_stream_dqn, task_stream_ppo. A network is for one
// model only, which it names, and is an error elsewhere.
//
//     parameter | type   | default         | meaning
//     ----------|--------|-----------------|-----------------------------------------------------------
//     network   | string | "boomerang_dqn" | experiments/rl/NAME.json, or a path from the experiment's or
//               |        |                 | the current folder
//     server    | string | ""              | edge host; empty: of the reachable ones of tier edge the fastest
//               |        |                 | for the whole deepest exit
//
//     {"name": "rl", "network": "boomerang_ppo"}
//
// Plan's decision, for the latest request: exit (from 1), partition_point (p).
//
// Source: V. Mnih et al., "Human-level control through deep reinforcement learning", Nature 518, 2015 (DQN);
// J. Schulman et al., "Proximal Policy Optimization Algorithms", arXiv 1707.06347, 2017 (PPO).

#include "policies/shared/hosts.h"
#include "policies/shared/offload_agent.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

class TrainedPolicy : public Policy {
 public:
  explicit TrainedPolicy(const Parameters& parameters)
      : parameters_(parameters), agent_(TrainedNetwork::load(parameters, "network")) {}

  Plan plan(const Problem& problem) override {
    return agent_.plan(problem, fastest_host(problem, deepest_exit(problem),
                                             server_candidates(problem, parameters_, {Tier::kEdge})));
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    return agent_.replan(problem, observation);
  }

 private:
  Parameters parameters_;
  OffloadAgent agent_;
};

const bool registered =
    register_policy({.name = "rl",
                     .title = "exit and partition point by a trained network",
                     .source = "Mnih et al., DQN, Nature 2015; Schulman et al., PPO, 2017",
                     .about = "For each request a fully connected network, trained beforehand and read from "
                              "a file, sees bandwidth, "
                              "deadline and queues and picks the exit and the partition point between an "
                              "edge host and the source.",
                     .parameters = {{.name = "network",
                                     .type = "string",
                                     .standard = "boomerang_dqn",
                                     .about = "experiments/rl/NAME.json, or a path to a file"},
                                    {.name = "server",
                                     .type = "string",
                                     .standard = "",
                                     .about = "edge host; empty: the fastest reachable one of tier edge"}},
                     .watches_arrivals = true},
                    make<TrainedPolicy>);

}  // namespace
}  // namespace cdisim
