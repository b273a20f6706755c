#include "sim/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "sim/error.h"
#include "sim/units.h"

namespace cdisim {

namespace {

// The piece that computes each layer, or kSourceEnd - 1 for layers that nobody computes.
constexpr int kNobody = kSourceEnd - 1;

std::vector<int> piece_of_layer(const LayerGraph& graph, const Plan& plan) {
  std::vector<int> piece_of(static_cast<std::size_t>(graph.size()), kNobody);
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    for (const LayerId layer : plan.pieces[p].layers)
      piece_of[static_cast<std::size_t>(layer)] = static_cast<int>(p);
  }
  return piece_of;
}

}  // namespace

double tensor_bytes(const LayerGraph& graph, const WireFormat& wire, LayerId layer) {
  return wire.bytes_per_element ? graph.output_elements(layer) * *wire.bytes_per_element
                                : graph.layer(layer).output_bytes;
}

std::vector<PlanEdge> plan_edges(const LayerGraph& graph, const WireFormat& wire, const Plan& plan) {
  const std::vector<int> piece_of = piece_of_layer(graph, plan);
  std::map<std::pair<int, int>, double> bytes;  // by (to, from)
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    std::set<LayerId> received;  // a tensor that several layers of a piece read travels once
    for (const LayerId layer : plan.pieces[p].layers) {
      for (const LayerId input : graph.layer(layer).inputs) {
        const int from = input == kInput ? kSourceEnd : piece_of[static_cast<std::size_t>(input)];
        if (from == static_cast<int>(p) || !received.insert(input).second) continue;
        bytes[{static_cast<int>(p), from}] += input == kInput ? wire.input_bytes.value_or(graph.input_bytes())
                                                              : tensor_bytes(graph, wire, input);
      }
    }
  }

  std::vector<PlanEdge> edges;
  for (const auto& [ends, b] : bytes) edges.push_back({ends.second, ends.first, b, {}});
  const LayerId last = graph.exits()[static_cast<std::size_t>(plan.exit)].layer;
  edges.push_back({piece_of[static_cast<std::size_t>(last)],
                   kSourceEnd,
                   wire.result_bytes.value_or(tensor_bytes(graph, wire, last)),
                   {}});
  for (PlanEdge& edge : edges) {
    for (const EdgeTransform& t : plan.transforms) {
      if (t.from != edge.from || t.to != edge.to) continue;
      edge.transform = t.transform;
      edge.bytes *= t.transform.ratio;
    }
  }
  return edges;
}

std::map<HostId, double> plan_memory_bytes(const LayerGraph& graph, const Plan& plan) {
  std::map<HostId, double> weights, activations;
  for (const Piece& piece : plan.pieces) {
    for (const LayerId id : piece.layers) {
      const Layer& layer = graph.layer(id);
      weights[piece.host] += layer.weight_bytes;
      double moved = layer.output_bytes;
      for (const LayerId input : layer.inputs) {
        moved += input == kInput ? graph.input_bytes() : graph.layer(input).output_bytes;
      }
      activations[piece.host] = std::max(activations[piece.host], moved);
    }
  }
  for (const auto& [host, bytes] : activations) weights[host] += bytes;
  return weights;
}

void check_plan(const LayerGraph& graph, const Platform& platform, HostId source, const WireFormat& wire,
                const Plan& plan, const std::string& who) {
  const auto refuse = [&](const std::string& why) { throw InputError(who, "the plan cannot run: " + why); };
  if (plan.exit < 0 || plan.exit >= static_cast<int>(graph.exits().size())) {
    refuse(fmt::format("exit {} of {}", plan.exit, graph.exits().size()));
  }
  std::vector<int> times(static_cast<std::size_t>(graph.size()), 0);
  for (const Piece& piece : plan.pieces) {
    if (piece.host < 0 || piece.host >= platform.host_count())
      refuse(fmt::format("host number {}", piece.host));
    if (piece.layers.empty()) refuse("a piece has no layers");
    if (!std::is_sorted(piece.layers.begin(), piece.layers.end()))
      refuse("the layers of a piece are out of order");
    for (const LayerId layer : piece.layers) {
      if (layer < 0 || layer >= graph.size()) refuse(fmt::format("layer number {}", layer));
      ++times[static_cast<std::size_t>(layer)];
    }
  }
  std::vector<int> wanted(static_cast<std::size_t>(graph.size()), 0);
  for (const LayerId layer : graph.exit_layers(plan.exit)) wanted[static_cast<std::size_t>(layer)] = 1;
  for (LayerId layer = 0; layer < graph.size(); ++layer) {
    const auto i = static_cast<std::size_t>(layer);
    if (times[i] != wanted[i]) {
      refuse(fmt::format("layer \"{}\" is computed {} times, not {}", graph.layer(layer).name, times[i],
                         wanted[i]));
    }
  }

  // Pieces form a DAG when they can be removed one by one, each after all that it receives from.
  const std::vector<PlanEdge> edges = plan_edges(graph, wire, plan);
  std::vector<bool> done(plan.pieces.size(), false);
  for (std::size_t removed = 0; removed < plan.pieces.size();) {
    const std::size_t before = removed;
    for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
      if (done[p]) continue;
      const bool ready = std::all_of(edges.begin(), edges.end(), [&](const PlanEdge& e) {
        return e.to != static_cast<int>(p) || e.from == kSourceEnd || done[static_cast<std::size_t>(e.from)];
      });
      if (ready) {
        done[p] = true;
        ++removed;
      }
    }
    if (removed == before) refuse("its pieces wait for each other in a circle");
  }

  const auto host_of = [&](int end) {
    return end == kSourceEnd ? source : plan.pieces[static_cast<std::size_t>(end)].host;
  };
  for (const PlanEdge& edge : edges) {
    const HostId from = host_of(edge.from), to = host_of(edge.to);
    if (from != to && platform.route(from, to) == nullptr) {
      refuse(fmt::format("{} has no route from \"{}\" to \"{}\"", platform.file(), platform.host(from).name,
                         platform.host(to).name));
    }
  }
  std::set<std::pair<int, int>> transformed;
  for (const EdgeTransform& t : plan.transforms) {
    const auto on_edge = [&](const PlanEdge& e) { return e.from == t.from && e.to == t.to; };
    if (std::none_of(edges.begin(), edges.end(), on_edge)) {
      refuse(fmt::format("a transform stands on the edge {} -> {}, which does not exist", t.from, t.to));
    }
    if (!transformed.emplace(t.from, t.to).second) {
      refuse(fmt::format("two transforms stand on the edge {} -> {}", t.from, t.to));
    }
    const auto& [ratio, encode_flop, decode_flop] = t.transform;
    const bool finite = std::isfinite(ratio) && std::isfinite(encode_flop) && std::isfinite(decode_flop);
    if (!finite || ratio <= 0 || encode_flop < 0 || decode_flop < 0) {
      refuse("a transform has a ratio or work that is not positive");
    }
  }
  for (const auto& [host, bytes] : plan_memory_bytes(graph, plan)) {
    const auto& memory = platform.host(host).memory_bytes;
    if (memory && bytes > *memory) {
      refuse(fmt::format("\"{}\" would hold {} of its {}", platform.host(host).name,
                         format_quantity(bytes, Dimension::kData),
                         format_quantity(*memory, Dimension::kData)));
    }
  }
}

}  // namespace cdisim
