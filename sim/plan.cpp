#include "sim/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
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

// Whether requests are asked at this exit, or stop there.
bool in_use(const LayerGraph& graph, const Plan& plan, int exit) {
  if (exit == plan.exit) return true;
  if (plan.exit_rates.empty()) return false;
  if (plan.exit_rates[static_cast<std::size_t>(exit)] > 0) return true;
  const LayerId layer = graph.exits()[static_cast<std::size_t>(exit)].layer;
  return std::ranges::any_of(plan.pieces, [&](const Piece& piece) {
    return std::ranges::find(piece.layers, layer) != piece.layers.end();
  });
}

// For each piece the pieces whose exits must let a request pass before this one may start: those of the exits
// that lie before some layer of it, unless the exit itself needs this piece.
std::vector<std::vector<int>> exit_gates(const LayerGraph& graph, const Plan& plan,
                                         const std::vector<int>& piece_of,
                                         const std::map<std::pair<int, int>, double>& edges) {
  const std::size_t n = plan.pieces.size();
  std::vector<std::vector<int>> gates(n);
  if (plan.exit_rates.empty()) return gates;
  // reaches[p]: the pieces that need what p computes.
  std::vector<std::vector<bool>> reaches(n, std::vector<bool>(n, false));
  for (std::size_t p = 0; p < n; ++p) {
    std::vector<int> open{static_cast<int>(p)};
    while (!open.empty()) {
      const int at = open.back();
      open.pop_back();
      for (const auto& [ends, bytes] : edges) {
        const auto& [to, from] = ends;
        if (from != at || reaches[p][static_cast<std::size_t>(to)]) continue;
        reaches[p][static_cast<std::size_t>(to)] = true;
        open.push_back(to);
      }
    }
  }
  for (int e = 0; e < plan.exit; ++e) {
    if (!in_use(graph, plan, e)) continue;
    const int gate = piece_of[static_cast<std::size_t>(graph.exits()[static_cast<std::size_t>(e)].layer)];
    if (gate == kNobody) continue;
    const std::vector<LayerId> before = plan_layers(graph, plan, e);
    for (std::size_t p = 0; p < n; ++p) {
      const bool behind = std::ranges::any_of(
          plan.pieces[p].layers, [&](LayerId id) { return !std::ranges::binary_search(before, id); });
      if (behind && static_cast<int>(p) != gate && !reaches[p][static_cast<std::size_t>(gate)])
        gates[p].push_back(gate);
    }
  }
  return gates;
}

// How often each layer must be computed where it is computed `times` times: once, if an exit in use or a
// layer that is computed needs it; 0 or once, if only joins read it that do without it; else not at all.
std::vector<int> wanted_times(const LayerGraph& graph, const Plan& plan, const std::vector<int>& times) {
  std::vector<int> wanted(times.size(), 0);
  const auto of = [](auto& values, LayerId id) -> auto& {
    return values[static_cast<std::size_t>(id)];
  };
  for (const LayerId id : plan_layers(graph, plan, plan.exit)) of(wanted, id) = of(times, id) > 0 ? 1 : 0;
  for (int exit = 0; exit <= plan.exit; ++exit) {
    if (in_use(graph, plan, exit)) of(wanted, graph.exits()[static_cast<std::size_t>(exit)].layer) = 1;
  }
  for (LayerId id = graph.size() - 1; id >= 0; --id) {
    if (of(wanted, id) == 0) continue;
    const Layer& layer = graph.layer(id);
    const auto there = [&](LayerId input) { return input == kInput || of(times, input) > 0; };
    if (layer.absent != Absent::kRefuse && std::ranges::any_of(layer.inputs, there)) continue;
    for (const LayerId input : layer.inputs) {
      if (input != kInput) of(wanted, input) = 1;
    }
  }
  return wanted;
}

}  // namespace

std::vector<LayerId> plan_layers(const LayerGraph& graph, const Plan& plan, int exit) {
  std::set<LayerId> layers;
  for (int e = 0; e <= exit; ++e) {
    if (e != exit && !in_use(graph, plan, e)) continue;
    const auto ids = graph.exit_layers(e);
    layers.insert(ids.begin(), ids.end());
  }
  return {layers.begin(), layers.end()};
}

Plan stopped_at(const LayerGraph& graph, const Plan& plan, int exit) {
  Plan out = plan;
  out.exit = exit;
  if (!out.exit_rates.empty()) out.exit_rates.resize(static_cast<std::size_t>(exit) + 1);
  if (!out.exit_accuracies.empty()) out.exit_accuracies.resize(static_cast<std::size_t>(exit) + 1);
  const std::vector<LayerId> needed = plan_layers(graph, plan, exit);
  for (Piece& piece : out.pieces) {
    std::erase_if(piece.layers, [&](LayerId id) { return !std::ranges::binary_search(needed, id); });
  }
  return out;
}

double tensor_bytes(const LayerGraph& graph, const WireFormat& wire, LayerId layer) {
  return wire.bytes_per_element ? graph.output_elements(layer) * *wire.bytes_per_element
                                : graph.layer(layer).output_bytes;
}

std::vector<bool> computed_layers(const LayerGraph& graph, const Plan& plan) {
  std::vector<bool> computed(static_cast<std::size_t>(graph.size()), false);
  for (const Piece& piece : plan.pieces) {
    for (const LayerId id : piece.layers) computed[static_cast<std::size_t>(id)] = true;
  }
  return computed;
}

Plan surviving(const LayerGraph& graph, const Plan& plan, const std::vector<bool>& works) {
  Plan out = plan;
  for (Piece& piece : out.pieces) {
    if (!works[static_cast<std::size_t>(piece.host)]) piece.layers.clear();
  }
  std::vector<bool> computed = computed_layers(graph, out);
  const auto there = [&](LayerId id) { return id == kInput || computed[static_cast<std::size_t>(id)]; };
  for (LayerId id = 0; id < graph.size(); ++id) {
    if (!there(id)) continue;
    const Layer& layer = graph.layer(id);
    computed[static_cast<std::size_t>(id)] = layer.absent == Absent::kRefuse
                                                 ? std::ranges::all_of(layer.inputs, there)
                                                 : std::ranges::any_of(layer.inputs, there);
  }
  for (Piece& piece : out.pieces) std::erase_if(piece.layers, [&](LayerId id) { return !there(id); });
  return out;
}

std::vector<PlanEdge> plan_edges(const LayerGraph& graph, const WireFormat& wire, const Plan& plan) {
  const std::vector<int> piece_of = piece_of_layer(graph, plan);
  std::map<std::pair<int, int>, double> bytes;  // by (to, from)
  // What a layer that switches between its inputs reads: the first that is there.
  const auto switched = [&](LayerId layer) {
    return *std::ranges::find_if(graph.layer(layer).inputs, [&](LayerId input) {
      return input == kInput || piece_of[static_cast<std::size_t>(input)] != kNobody;
    });
  };
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    std::set<LayerId> received;  // a tensor that several layers of a piece read travels once
    for (const LayerId layer : plan.pieces[p].layers) {
      for (const LayerId input : graph.layer(layer).inputs) {
        const int from = input == kInput ? kSourceEnd : piece_of[static_cast<std::size_t>(input)];
        if (from == kNobody || (input == kInput && wire.sensors.contains(layer))) continue;
        const bool only = graph.layer(layer).absent == Absent::kSwitch;
        if (only && switched(layer) != input) continue;
        if (from == static_cast<int>(p) || !received.insert(input).second) continue;
        bytes[{static_cast<int>(p), from}] += input == kInput ? wire.input_bytes.value_or(graph.input_bytes())
                                                              : tensor_bytes(graph, wire, input);
      }
    }
  }

  std::vector<PlanEdge> edges;
  const std::vector<std::vector<int>> gates = exit_gates(graph, plan, piece_of, bytes);
  for (const auto& [ends, b] : bytes) {
    edges.push_back({ends.second, ends.first, b, {}, gates[static_cast<std::size_t>(ends.first)]});
  }
  const LayerId last = graph.exits()[static_cast<std::size_t>(plan.exit)].layer;
  if (piece_of[static_cast<std::size_t>(last)] == kNobody) return edges;
  edges.push_back({piece_of[static_cast<std::size_t>(last)],
                   kSourceEnd,
                   wire.result_bytes.value_or(tensor_bytes(graph, wire, last)),
                   {},
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
      weights[piece.host] += layer.weight_bytes + layer.state_bytes;
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
  if (!plan.exit_rates.empty()) {
    const bool shares =
        std::ranges::all_of(plan.exit_rates, [](double rate) { return rate >= 0 && rate <= 1; });
    const double sum = std::accumulate(plan.exit_rates.begin(), plan.exit_rates.end(), 0.0);
    if (plan.exit_rates.size() != static_cast<std::size_t>(plan.exit) + 1 || !shares ||
        std::abs(sum - 1) > 1e-9) {
      refuse(fmt::format("its exit rates are not {} shares that sum to 1", plan.exit + 1));
    }
  }
  const bool shares = std::ranges::all_of(plan.exit_accuracies, [](double a) { return a >= 0 && a <= 1; });
  if (!shares || (!plan.exit_accuracies.empty() &&
                  plan.exit_accuracies.size() != static_cast<std::size_t>(plan.exit) + 1)) {
    refuse(fmt::format("its exit accuracies are not {} shares", plan.exit + 1));
  }
  const std::vector<int> wanted = wanted_times(graph, plan, times);
  for (LayerId layer = 0; layer < graph.size(); ++layer) {
    const auto i = static_cast<std::size_t>(layer);
    if (times[i] != wanted[i]) {
      refuse(fmt::format("layer \"{}\" is computed {} times, not {}", graph.layer(layer).name, times[i],
                         wanted[i]));
    }
  }

  for (const Piece& piece : plan.pieces) {
    for (const LayerId layer : piece.layers) {
      const auto sensor = wire.sensors.find(layer);
      if (sensor == wire.sensors.end() || sensor->second == piece.host) continue;
      refuse(fmt::format("layer \"{}\" reads a sensor of \"{}\" and cannot run on \"{}\"",
                         graph.layer(layer).name, platform.host(sensor->second).name,
                         platform.host(piece.host).name));
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
  const auto check_routes = [&](const std::vector<PlanEdge>& needed) {
    for (const PlanEdge& edge : needed) {
      const HostId from = host_of(edge.from), to = host_of(edge.to);
      if (from != to && platform.route(from, to) == nullptr) {
        refuse(fmt::format("{} has no route from \"{}\" to \"{}\"", platform.file(), platform.host(from).name,
                           platform.host(to).name));
      }
    }
  };
  check_routes(edges);
  for (int e = 0; e < plan.exit && !plan.exit_rates.empty(); ++e) {
    if (plan.exit_rates[static_cast<std::size_t>(e)] > 0)
      check_routes(plan_edges(graph, wire, stopped_at(graph, plan, e)));
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
  for (const Plan& fallback : plan.fallbacks) {
    if (!fallback.fallbacks.empty()) refuse("a fallback has fallbacks of its own");
    check_plan(graph, platform, source, wire, fallback, who + ", fallback");
  }
}

}  // namespace cdisim
