#pragma once

#include <string>
#include <vector>

#include "policies/shared/edge_offload.h"
#include "sim/json_reader.h"
#include "sim/policy.h"

namespace cdisim {

/// A fully connected network that was trained on EdgeOffload-v0 or TaskStream-v0 (see edge_offload.h), and
/// what it was trained for, read from a file:
///
///     {"schema": 1, "name": ..., "environment": "EdgeOffload-v0", "model": "branchy_alexnet",
///      "training": {"algorithm": "DQN", "seed": 1, "library": "stable_baselines3 2.7.0", "experiment": ...},
///      "observation": [{"feature": "uplink_bandwidth", "scale": "log", "low": "50kbps", "high": "2Mbps"}],
///      "actions": [{"exit": 1, "partition_point": 1}, {"exit": 5, "partition_point": 23}],
///      "output": "action_values", "activation": "relu",
///      "layers": [{"weights": [[0.5], [-1]], "bias": [0, 1]}, ...]}
///
/// Layer l computes y = W x + b, `weights` (n_out, n_in) and `bias` (n_out); the activation, "relu" or
/// "tanh", stands between layers. Inputs are the observation's features, in their order; outputs are one a
/// number for each action, the value of taking it (DQN) or the logit of its probability (PPO). The network
/// acts greedily: the first action of the greatest.
class TrainedNetwork {
 public:
  /// `parameter` gives experiments/rl/NAME.json, or a path from the experiment's or the current folder.
  /// @throws InputError naming file, JSON pointer and what is valid; at the parameter where there is no such
  /// file.
  static TrainedNetwork load(const Parameters& parameters, const std::string& parameter);
  static TrainedNetwork read(const JsonReader& reader);

  /// (n_actions)
  std::vector<double> outputs(const OffloadObservation& observation) const;
  /// Index of the action.
  int act(const OffloadObservation& observation) const;

  /// What the actions are for a problem. @throws InputError unless the network was trained for its model.
  std::vector<OffloadAction> actions(const Problem& problem, HostId server) const;

 private:
  struct Action {
    int exit = 0;
    int layers_on_server = 0;
  };
  struct Layer {
    std::vector<std::vector<double>> weights;  // (n_out, n_in)
    std::vector<double> bias;                  // (n_out)
  };

  std::string file_;
  std::string model_;
  std::vector<OffloadFeature> features_;
  std::vector<Action> actions_;
  bool tanh_ = false;
  std::vector<Layer> layers_;
};

}  // namespace cdisim
