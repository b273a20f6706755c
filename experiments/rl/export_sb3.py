#!/usr/bin/env python3
"""Writes a policy that Stable-Baselines3 trained to the small file that cdisim's policy `rl` runs without Python.

    export_sb3.py DQN|PPO MODEL.zip FACTS.json NETWORK.json

FACTS.json says what the model was trained for, as it stands in NETWORK.json (format:
policies/shared/trained_network.h): "name", and what facts() of the environment gives, "environment", "model",
"experiment", "observation" (the features in the order of the environment's vector, with the scaling that made it) and
"actions" (in the order of its numbers).

DQN: the weights of q_net, whose outputs are action values. PPO: those of the policy's hidden layers and of action_net,
whose outputs are logits. Both act greedily, as predict(deterministic=True) does. Fully connected networks with ReLU or
Tanh only; observations that VecNormalize scales are not supported: the file's own scaling takes its place.
"""

import json
import sys

FACTS = ("name", "environment", "model", "experiment", "observation", "actions")


def linear_layers(modules):
    """Weights and biases of Linear layers, and the one activation that stands between them."""
    import torch.nn

    layers, activations = [], set()
    for module in modules:
        if isinstance(module, torch.nn.Linear):
            layers.append({"weights": [[float(x) for x in row] for row in module.weight.tolist()],
                           "bias": [float(x) for x in module.bias.tolist()]})
        elif isinstance(module, (torch.nn.ReLU, torch.nn.Tanh)):
            activations.add("relu" if isinstance(module, torch.nn.ReLU) else "tanh")
        else:
            raise ValueError(f"a layer of kind {type(module).__name__}; valid: Linear, ReLU, Tanh")
    if len(activations) > 1:
        raise ValueError("both ReLU and Tanh; valid: one of them")
    return layers, (activations or {"relu"}).pop()


def export(model, facts):
    """The network file, as a dictionary, of a DQN or PPO `model`. Raises ValueError."""
    import stable_baselines3

    missing = [key for key in FACTS if key not in facts]
    unknown = [key for key in facts if key not in FACTS]
    if missing or unknown:
        raise ValueError(f"facts lack {missing}, and have {unknown} too many; valid: {', '.join(FACTS)}")
    algorithm = type(model).__name__
    if algorithm == "DQN":
        modules = list(model.q_net.q_net)
    elif algorithm == "PPO":
        modules = [*model.policy.mlp_extractor.policy_net, model.policy.action_net]
    else:
        raise ValueError(f"a model of {algorithm}; valid: DQN, PPO")
    layers, activation = linear_layers(modules)
    for what, size in (("observation", len(layers[0]["weights"][0])), ("actions", len(layers[-1]["bias"]))):
        if len(facts[what]) != size:
            raise ValueError(f"{len(facts[what])} {what}; the network has {size}")
    return {
        "schema": 1,
        "name": facts["name"],
        "environment": facts["environment"],
        "model": facts["model"],
        "training": {
            "algorithm": algorithm,
            "seed": model.seed if model.seed is not None else 0,
            "library": f"stable_baselines3 {stable_baselines3.__version__}",
            "experiment": facts["experiment"],
        },
        "observation": facts["observation"],
        "actions": facts["actions"],
        "output": "action_values" if algorithm == "DQN" else "logits",
        "activation": activation,
        "layers": layers,
    }


def text(network):
    """The file's text: one row of weights a line."""
    head = {key: value for key, value in network.items() if key != "layers"}
    layers = []
    for layer in network["layers"]:
        rows = ",\n".join("      " + json.dumps([round(x, 6) for x in row]) for row in layer["weights"])
        bias = json.dumps([round(x, 6) for x in layer["bias"]])
        layers.append(f'    {{"weights": [\n{rows}\n    ], "bias": {bias}}}')
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    return "{\n" + ",\n".join(lines) + ',\n  "layers": [\n' + ",\n".join(layers) + "\n  ]\n}\n"


def main(arguments):
    if len(arguments) != 4 or arguments[0] not in ("DQN", "PPO"):
        sys.exit(__doc__)
    import stable_baselines3

    algorithm, model, facts, output = arguments
    with open(facts, encoding="utf-8") as file:
        facts = json.load(file)
    network = export(getattr(stable_baselines3, algorithm).load(model, device="cpu"), facts)
    with open(output, "w", encoding="utf-8") as file:
        file.write(text(network))


if __name__ == "__main__":
    main(sys.argv[1:])
