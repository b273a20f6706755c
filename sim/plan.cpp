#include "sim/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "sim/error.h"
#include "sim/units.h"

namespace cdisim {

namespace {

// As in results.json.
std::string region_text(const Region& region) {
  std::vector<std::string> ranges;
  for (const Range& r : region) ranges.push_back(fmt::format("[{}, {}]", r.begin, r.end));
  return fmt::format("[{}]", fmt::join(ranges, ", "));
}

// A piece that computes a layer, or a part of it, or passes it on.
struct Holder {
  int piece = 0;
  const Region* part = nullptr;  // none: whole
  bool relay = false;
};

const Region* part_of(const Piece& piece, LayerId layer) {
  const auto part = piece.parts.find(layer);
  return part == piece.parts.end() ? nullptr : &part->second;
}

// The part of a tensor that a piece relays; none: all of it.
const Region* relayed_part(const Piece& piece, LayerId tensor) {
  return std::ranges::binary_search(piece.layers, tensor) ? nullptr : part_of(piece, tensor);
}

// The holders of each layer, (n_layers), ascending by piece.
using Holders = std::vector<std::vector<Holder>>;

Holders holders_of(const LayerGraph& graph, const Plan& plan) {
  Holders holders(static_cast<std::size_t>(graph.size()));
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    const Piece& piece = plan.pieces[p];
    for (const LayerId layer : piece.layers) {
      holders[static_cast<std::size_t>(layer)].push_back(
          {static_cast<int>(p), piece.parts.empty() ? nullptr : part_of(piece, layer)});
    }
  }
  return holders;
}

// What a piece reads of the input `i` of one of its layers.
Region reads(const LayerGraph& graph, const Piece& piece, LayerId layer, std::size_t i) {
  const Region* part = part_of(piece, layer);
  return part == nullptr ? whole(graph.tensor_shape(graph.layer(layer).inputs[i]))
                         : input_region(graph, layer, *part, i);
}

// Takes what these holders compute, of those that `accept` lets pass, from what is `lacking`; `take(holder,
// elements)` hears of it.
template <class Accept, class Take>
void collect(std::span<const Holder> holders, std::vector<Region>& lacking, const Accept& accept,
             const Take& take) {
  for (const Holder& holder : holders) {
    if (lacking.empty()) return;
    if (!accept(holder)) continue;
    double taken = 0;
    if (holder.part == nullptr) {
      for (const Region& box : lacking) taken += elements(box);
      lacking.clear();
    } else if (std::ranges::any_of(lacking, [&](const Region& box) { return overlap(box, *holder.part); })) {
      for (const Region& box : lacking) taken += elements(intersect(box, *holder.part));
      lacking = subtract(lacking, *holder.part);
    }
    if (taken > 0) take(holder, taken);
  }
}

constexpr auto kAnyHolder = [](const Holder&) { return true; };

bool is_there(std::span<const Holder> holders, const Region& region) {
  if (holders.empty() || holders.front().part == nullptr) return !holders.empty();
  std::vector<Region> lacking{region};
  if (empty(region)) lacking.clear();
  collect(holders, lacking, kAnyHolder, [](const Holder&, double) {});
  return lacking.empty();
}

// Whether a piece computes or relays a tensor.
bool has(const Piece& piece, LayerId tensor) {
  return std::ranges::binary_search(piece.layers, tensor) || std::ranges::count(piece.relays, tensor) > 0;
}

// Drops the parts of layers that the pieces no longer have.
void keep_parts(Plan& plan) {
  const auto keep = [](const Piece& piece, Parts& parts) {
    std::erase_if(parts, [&](const auto& part) { return !has(piece, part.first); });
  };
  for (Piece& piece : plan.pieces) keep(piece, piece.parts);
  if (!plan.stealing) return;
  for (auto& [piece, parts] : plan.stealing->alone) keep(plan.pieces[static_cast<std::size_t>(piece)], parts);
}

// What hosts may come to compute: the pieces of the plan, those that may be stolen on each worker, either
// way.
std::vector<Piece> possible_pieces(const Plan& plan) {
  if (!plan.stealing) return plan.pieces;
  std::vector<Piece> out;
  const Plan alone = alone_plan(plan);
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    const int number = static_cast<int>(p);
    if (!is_stealable(plan, number)) {
      out.push_back(plan.pieces[p]);
      continue;
    }
    for (const HostId worker : plan.stealing->workers) {
      out.push_back(plan.pieces[p]);
      out.back().host = worker;
      if (!plan.stealing->alone.contains(number)) continue;
      out.push_back(alone.pieces[p]);
      out.back().host = worker;
    }
  }
  return out;
}

// What nobody computes of what a piece (kSourceEnd: the result) reads.
struct Missing {
  int piece = kSourceEnd;
  LayerId layer = 0;
  LayerId input = 0;
  Region region;
};

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
std::vector<std::vector<int>> exit_gates(const LayerGraph& graph, const Plan& plan, const Holders& holders,
                                         const std::map<std::pair<int, int>, double>& edges) {
  const std::size_t n = plan.pieces.size();
  std::vector<std::vector<int>> gates(n), givers(n);
  if (plan.exit_rates.empty()) return gates;
  for (const auto& [ends, bytes] : edges) {
    const auto& [to, from] = ends;
    if (from != kSourceEnd) givers[static_cast<std::size_t>(to)].push_back(from);
  }
  for (int e = 0; e < plan.exit; ++e) {
    if (!in_use(graph, plan, e)) continue;
    const LayerId exit = graph.exits()[static_cast<std::size_t>(e)].layer;
    // The pieces that compute the exit, and whatever they wait for.
    std::vector<bool> before(n, false);
    std::vector<int> open;
    for (const Holder& holder : holders[static_cast<std::size_t>(exit)]) open.push_back(holder.piece);
    while (!open.empty()) {
      const auto at = static_cast<std::size_t>(open.back());
      open.pop_back();
      if (before[at]) continue;
      before[at] = true;
      open.insert(open.end(), givers[at].begin(), givers[at].end());
    }
    const std::vector<LayerId> needed = plan_layers(graph, plan, e);
    for (std::size_t p = 0; p < n; ++p) {
      const bool behind = std::ranges::any_of(
          plan.pieces[p].layers, [&](LayerId id) { return !std::ranges::binary_search(needed, id); });
      if (!behind || before[p]) continue;
      for (const Holder& holder : holders[static_cast<std::size_t>(exit)]) gates[p].push_back(holder.piece);
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

// The edges of a plan before their transforms; what nobody computes is not sent, and listed in `missing`.
std::vector<PlanEdge> connect(const LayerGraph& graph, const WireFormat& wire, const Plan& plan,
                              std::vector<Missing>* missing = nullptr) {
  const Holders holders = holders_of(graph, plan);
  const Holder source{kSourceEnd};
  const auto held = [&](LayerId tensor) -> std::span<const Holder> {
    if (tensor == kInput) return {&source, 1};
    return holders[static_cast<std::size_t>(tensor)];
  };
  const auto share_of = [](double bytes, double part, double all) {
    return part == all ? bytes : bytes * part / all;
  };
  const auto bytes_of = [&](LayerId tensor, double part) {
    return share_of(tensor_bytes(graph, wire, tensor), part, shape_elements(graph.tensor_shape(tensor)));
  };
  std::map<std::pair<int, int>, double> bytes;  // by (to, from)
  // Relays first, behind those of parts whoever computes the rest.
  std::map<LayerId, std::vector<Holder>> relays;
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    for (const LayerId tensor : plan.pieces[p].relays)
      relays[tensor].push_back({static_cast<int>(p), relayed_part(plan.pieces[p], tensor), true});
  }
  for (auto& [tensor, givers] : relays) {
    if (givers.front().part == nullptr) continue;
    const std::span<const Holder> others = held(tensor);
    givers.insert(givers.end(), others.begin(), others.end());
  }
  // Whoever gives a tensor to `piece`, if that does not compute it.
  const auto given = [&](LayerId tensor, int piece) -> std::span<const Holder> {
    const auto relay = relays.find(tensor);
    const auto by_itself = [&](const Holder& giver) { return giver.piece == piece; };
    if (relay == relays.end() || std::ranges::any_of(relay->second, by_itself)) return held(tensor);
    return relay->second;
  };
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    const Piece& piece = plan.pieces[p];
    const int to = static_cast<int>(p);
    // Own first, then those of its host, then the others.
    const auto distance = [&](const Holder& holder) {
      if (holder.piece == to) return 0;
      const bool near = holder.piece != kSourceEnd && !holder.relay &&
                        plan.pieces[static_cast<std::size_t>(holder.piece)].host == piece.host;
      return near ? 1 : 2;
    };
    std::map<LayerId, std::vector<Region>> received;  // what several layers of a piece read travels once
    for (const LayerId tensor : piece.relays) {
      const Region* part = relayed_part(piece, tensor);
      std::vector<Region> lacking{part == nullptr ? whole(graph.tensor_shape(tensor)) : *part};
      received[tensor] = lacking;
      collect(held(tensor), lacking, kAnyHolder, [&](const Holder& holder, double taken) {
        if (holder.piece != to) bytes[{to, holder.piece}] += bytes_of(tensor, taken);
      });
      if (!lacking.empty() && missing != nullptr) missing->push_back({to, tensor, tensor, lacking.front()});
    }
    for (const LayerId layer : piece.layers) {
      const std::vector<LayerId>& inputs = graph.layer(layer).inputs;
      const auto there = [&](std::size_t i) {
        return is_there(held(inputs[i]), reads(graph, piece, layer, i));
      };
      // A layer that switches between its inputs reads the first that is there.
      const bool switches = graph.layer(layer).absent == Absent::kSwitch;
      std::size_t only = 0;
      while (switches && only < inputs.size() && !there(only)) ++only;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const LayerId input = inputs[i];
        if ((switches && i != only) || (input == kInput && wire.sensors.contains(layer))) continue;
        const std::span<const Holder> from = given(input, to);
        if (from.empty() && graph.layer(layer).absent == Absent::kSkip) continue;
        std::vector<Region>& known = received[input];
        const bool relayed = from.data() != held(input).data();
        if (!relayed && piece.parts.empty() && from.size() == 1 && from.front().part == nullptr) {
          // The usual case, quickly: all of it from the only piece that computes it.
          if (from.front().piece == to || !known.empty()) continue;
          known.push_back(whole(graph.tensor_shape(input)));
          bytes[{to, from.front().piece}] += bytes_of(input, elements(known.front()));
          continue;
        }
        const Region region = reads(graph, piece, layer, i);
        std::vector<Region> lacking{region};
        if (empty(region)) lacking.clear();
        for (const Region& box : known) lacking = subtract(lacking, box);
        if (relayed) {
          collect(
              held(input), lacking, [&](const Holder& holder) { return holder.piece == to; },
              [](const Holder&, double) {});
        }
        std::vector<Region> wanted;
        std::map<int, double> sent;  // elements by piece
        for (int d = 0; d < 3; ++d) {
          collect(
              from, lacking, [&](const Holder& holder) { return distance(holder) == d; },
              [&](const Holder& holder, double part) { sent[holder.piece] += part; });
          if (d == 0) wanted = lacking;
        }
        if (!lacking.empty() || from.empty()) {
          if (missing != nullptr)
            missing->push_back({to, layer, input, lacking.empty() ? region : lacking.front()});
          continue;
        }
        sent.erase(to);
        for (const auto& [holder, part] : sent) bytes[{to, holder}] += bytes_of(input, part);
        known.insert(known.end(), wanted.begin(), wanted.end());
      }
    }
  }

  std::vector<PlanEdge> edges;
  const std::vector<std::vector<int>> gates = exit_gates(graph, plan, holders, bytes);
  for (const auto& [ends, b] : bytes) {
    edges.push_back({ends.second, ends.first, b, {}, gates[static_cast<std::size_t>(ends.first)]});
  }
  const LayerId last = graph.exits()[static_cast<std::size_t>(plan.exit)].layer;
  const double result_bytes = wire.result_bytes.value_or(tensor_bytes(graph, wire, last));
  std::vector<Region> lacking{whole(graph.tensor_shape(last))};
  std::vector<PlanEdge> results;
  collect(given(last, kSourceEnd), lacking, kAnyHolder, [&](const Holder& holder, double part) {
    const double b = share_of(result_bytes, part, graph.output_elements(last));
    results.push_back({holder.piece, kSourceEnd, b, {}, {}});
  });
  if (lacking.empty()) {
    edges.insert(edges.end(), results.begin(), results.end());
  } else if (missing != nullptr) {
    missing->push_back({kSourceEnd, last, last, lacking.front()});
  }
  return edges;
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
    const auto left = [&](LayerId id) { return id != kInput && !std::ranges::binary_search(needed, id); };
    std::erase_if(piece.layers, left);
    std::erase_if(piece.relays, left);
  }
  keep_parts(out);
  return out;
}

Piece fused_piece(const LayerGraph& graph, std::span<const LayerId> layers, const Parts& outputs,
                  HostId host) {
  Piece piece{{}, host, fuse(graph, layers, outputs)};
  for (const auto& [layer, part] : piece.parts) piece.layers.push_back(layer);
  return piece;
}

bool is_stealable(const Plan& plan, int piece) {
  return plan.stealing && std::ranges::binary_search(plan.stealing->pieces, piece);
}

Plan alone_plan(const Plan& plan) {
  Plan out = plan;
  if (!out.stealing) return out;
  for (const auto& [number, parts] : out.stealing->alone) {
    Piece& piece = out.pieces[static_cast<std::size_t>(number)];
    piece.parts = parts;
    piece.layers.clear();
    for (const auto& [layer, part] : parts) piece.layers.push_back(layer);
  }
  return out;
}

double tensor_bytes(const LayerGraph& graph, const WireFormat& wire, LayerId tensor) {
  if (tensor == kInput) return wire.input_bytes.value_or(graph.input_bytes());
  return wire.bytes_per_element ? graph.output_elements(tensor) * *wire.bytes_per_element
                                : graph.layer(tensor).output_bytes;
}

std::vector<bool> computed_layers(const LayerGraph& graph, const Plan& plan) {
  std::vector<bool> computed(static_cast<std::size_t>(graph.size()), false);
  for (const Piece& piece : plan.pieces) {
    for (const LayerId id : piece.layers) computed[static_cast<std::size_t>(id)] = true;
  }
  if (std::ranges::all_of(plan.pieces, [](const Piece& piece) { return piece.parts.empty(); }))
    return computed;
  std::vector<Missing> missing;
  connect(graph, {}, plan, &missing);
  for (const Missing& m : missing) computed[static_cast<std::size_t>(m.input)] = false;
  return computed;
}

Plan surviving(const LayerGraph& graph, const Plan& plan, const std::vector<bool>& works) {
  Plan out = plan;
  const auto fails = [&](HostId host) { return !works[static_cast<std::size_t>(host)]; };
  if (out.stealing) std::erase_if(out.stealing->workers, fails);
  for (std::size_t p = 0; p < out.pieces.size(); ++p) {
    const bool nobody = is_stealable(out, static_cast<int>(p)) && out.stealing->workers.empty();
    if (!fails(out.pieces[p].host) && !nobody) continue;
    out.pieces[p].layers.clear();
    out.pieces[p].relays.clear();
  }
  // Layers follow their inputs: what is left of those is known.
  Holders holders = holders_of(graph, out);
  for (LayerId id = 0; id < graph.size(); ++id) {
    const Layer& layer = graph.layer(id);
    const auto lacks = [&](const Holder& holder) {
      const Piece& piece = out.pieces[static_cast<std::size_t>(holder.piece)];
      std::size_t there = 0;
      for (std::size_t i = 0; i < layer.inputs.size(); ++i) {
        const LayerId input = layer.inputs[i];
        there +=
            input == kInput || is_there(holders[static_cast<std::size_t>(input)], reads(graph, piece, id, i));
      }
      return layer.absent == Absent::kRefuse ? there < layer.inputs.size() : there == 0;
    };
    std::erase_if(holders[static_cast<std::size_t>(id)], lacks);
  }
  for (Piece& piece : out.pieces) piece.layers.clear();
  for (LayerId id = 0; id < graph.size(); ++id) {
    for (const Holder& holder : holders[static_cast<std::size_t>(id)])
      out.pieces[static_cast<std::size_t>(holder.piece)].layers.push_back(id);
  }
  keep_parts(out);
  return out;
}

std::vector<PlanEdge> plan_edges(const LayerGraph& graph, const WireFormat& wire, const Plan& plan) {
  std::vector<PlanEdge> edges = connect(graph, wire, plan);
  for (PlanEdge& edge : edges) {
    for (const EdgeTransform& t : plan.transforms) {
      if (t.from != edge.from || t.to != edge.to) continue;
      edge.transform = t.transform;
      edge.bytes *= t.transform.ratio;
    }
  }
  return edges;
}

double deposit_bytes(const LayerGraph& graph, const WireFormat& wire, const Plan& plan, int piece) {
  const Piece& giver = plan.pieces[static_cast<std::size_t>(piece)];
  double bytes = 0;
  for (const int reader : plan.stealing->pieces) {
    if (reader == piece) continue;
    const Piece& to = plan.pieces[static_cast<std::size_t>(reader)];
    std::map<LayerId, std::vector<Region>> counted;
    for (const LayerId layer : to.layers) {
      for (std::size_t i = 0; i < graph.layer(layer).inputs.size(); ++i) {
        const LayerId input = graph.layer(layer).inputs[i];
        if (!std::ranges::binary_search(giver.layers, input)) continue;
        const Region all = whole(graph.tensor_shape(input));
        const auto of = [&](const Piece& p) {
          return part_of(p, input) == nullptr ? all : *part_of(p, input);
        };
        const Region wanted = reads(graph, to, layer, i);
        if (empty(wanted) || !overlap(wanted, of(giver))) continue;
        std::vector<Region> given{intersect(wanted, of(giver))};
        if (std::ranges::binary_search(to.layers, input)) given = subtract(given, of(to));
        for (const Region& box : counted[input]) given = subtract(given, box);
        const double whole_bytes = tensor_bytes(graph, wire, input);
        for (const Region& box : given) bytes += whole_bytes * elements(box) / elements(all);
        counted[input].insert(counted[input].end(), given.begin(), given.end());
      }
    }
  }
  return bytes;
}

namespace {

// Weights or state that a plan's pieces hold on each host, each once.
std::map<HostId, double> held_bytes(const LayerGraph& graph, const Plan& plan, double Layer::*bytes) {
  std::map<HostId, double> held;
  std::map<std::pair<HostId, LayerId>, std::vector<Range>> in_parts;
  for (const Piece& piece : possible_pieces(plan)) {
    for (const LayerId id : piece.layers) {
      const Region* part = piece.parts.empty() ? nullptr : part_of(piece, id);
      if (part == nullptr && !plan.stealing) {  // nobody else computes it
        held[piece.host] += graph.layer(id).*bytes;
        continue;
      }
      const auto dimension = weight_dimension(graph, id);
      if (!dimension) {
        in_parts[{piece.host, id}].push_back({0, 1});
      } else {
        const Range all{0, graph.layer(id).output_shape[*dimension]};
        in_parts[{piece.host, id}].push_back(part == nullptr ? all : (*part)[*dimension]);
      }
    }
  }
  for (auto& [where, ranges] : in_parts) {
    const auto& [host, id] = where;
    std::ranges::sort(ranges);
    int covered = 0, up_to = 0;
    for (const Range& range : ranges) {
      covered += std::max(0, range.end - std::max(range.begin, up_to));
      up_to = std::max(up_to, range.end);
    }
    const auto dimension = weight_dimension(graph, id);
    const double extent = dimension ? graph.layer(id).output_shape[*dimension] : 1;
    held[host] += graph.layer(id).*bytes * covered / extent;
  }
  return held;
}

// Whether a layer may write over its input: it takes element by element what nobody else reads.
bool works_in_place(const LayerGraph& graph, LayerId id) {
  const Layer& layer = graph.layer(id);
  return is_elementwise(layer) && layer.inputs[0] != kInput && graph.consumers(layer.inputs[0]).size() == 1;
}

}  // namespace

std::map<HostId, double> plan_weight_bytes(const LayerGraph& graph, const Plan& plan) {
  return held_bytes(graph, plan, &Layer::weight_bytes);
}

std::map<HostId, double> plan_memory_bytes(const LayerGraph& graph, const Plan& plan) {
  std::map<HostId, double> out = plan_weight_bytes(graph, plan), activations;
  for (const Piece& piece : possible_pieces(plan)) {
    for (const LayerId id : piece.layers) {
      const Region* part = piece.parts.empty() ? nullptr : part_of(piece, id);
      const LayerCosts costs = part == nullptr ? graph.costs(id) : part_costs(graph, id, *part);
      double& largest = activations[piece.host];
      largest = std::max(largest, works_in_place(graph, id) ? std::max(costs.input_bytes, costs.output_bytes)
                                                            : costs.input_bytes + costs.output_bytes);
    }
    for (const LayerId tensor : piece.relays) {
      double& largest = activations[piece.host];
      const Region* part = relayed_part(piece, tensor);
      const double share = part == nullptr ? 1 : elements(*part) / shape_elements(graph.tensor_shape(tensor));
      largest = std::max(largest, graph.tensor_bytes(tensor) * share);
    }
  }
  for (const auto& [host, bytes] : held_bytes(graph, plan, &Layer::state_bytes)) out[host] += bytes;
  for (const auto& [host, bytes] : activations) out[host] += bytes;
  return out;
}

namespace {

// What is wrong with how pieces may be stolen; empty: nothing.
std::string stealing_fault(const LayerGraph& graph, const Platform& platform, const Plan& plan) {
  const Stealing& stealing = *plan.stealing;
  const auto n = static_cast<int>(plan.pieces.size());
  const auto strange = [&](HostId host) { return host < 0 || host >= platform.host_count(); };
  if (stealing.pieces.empty() || !std::ranges::is_sorted(stealing.pieces) ||
      std::ranges::adjacent_find(stealing.pieces) != stealing.pieces.end() || stealing.pieces.front() < 0 ||
      stealing.pieces.back() >= n) {
    return "the pieces that may be stolen are none, or out of order";
  }
  if (stealing.workers.empty()) return "nobody takes the pieces that may be stolen";
  for (const HostId worker : stealing.workers) {
    if (strange(worker) || std::ranges::count(stealing.workers, worker) > 1)
      return fmt::format("worker host number {}", worker);
  }
  if (stealing.store && strange(*stealing.store)) return fmt::format("store host number {}", *stealing.store);
  if (!std::isfinite(stealing.poll_s) || stealing.poll_s < 0) return "its workers ask after no proper time";
  for (const int piece : stealing.pieces) {
    if (plan.pieces[static_cast<std::size_t>(piece)].share)
      return fmt::format("piece {} may be stolen and has a share", piece);
  }
  for (const EdgeTransform& t : plan.transforms) {
    if (is_stealable(plan, t.from) || is_stealable(plan, t.to))
      return fmt::format("the edge {} -> {} of a piece that may be stolen has a transform", t.from, t.to);
  }
  for (const auto& [piece, parts] : stealing.alone) {
    if (!is_stealable(plan, piece)) return fmt::format("piece {} may compute alone but not be stolen", piece);
    for (const LayerId layer : plan.pieces[static_cast<std::size_t>(piece)].layers) {
      const Region* part = part_of(plan.pieces[static_cast<std::size_t>(piece)], layer);
      const auto own = parts.find(layer);
      const bool covered =
          own != parts.end() && layer >= 0 && layer < graph.size() &&
          own->second.size() == graph.layer(layer).output_shape.size() &&
          contains(own->second, part == nullptr ? whole(graph.layer(layer).output_shape) : *part);
      if (!covered)
        return fmt::format("piece {} alone computes less of layer number {} than otherwise", piece, layer);
    }
  }
  return "";
}

}  // namespace

void check_plan(const LayerGraph& graph, const Platform& platform, HostId source, const WireFormat& wire,
                const Plan& plan, const std::string& who) {
  const auto refuse = [&](const std::string& why) { throw InputError(who, "the plan cannot run: " + why); };
  if (plan.exit < 0 || plan.exit >= static_cast<int>(graph.exits().size())) {
    refuse(fmt::format("exit {} of {}", plan.exit, graph.exits().size()));
  }
  std::vector<int> times(static_cast<std::size_t>(graph.size()), 0);
  std::vector<bool> in_parts(times.size(), true);  // by every piece that has it
  std::map<LayerId, bool> relayed;                 // in parts?
  for (const Piece& piece : plan.pieces) {
    if (piece.host < 0 || piece.host >= platform.host_count())
      refuse(fmt::format("host number {}", piece.host));
    if (piece.layers.empty() && piece.relays.empty()) refuse("a piece has no layers");
    for (const LayerId tensor : piece.relays) {
      if (tensor != kInput && (tensor < 0 || tensor >= graph.size()))
        refuse(fmt::format("a relay of layer number {}", tensor));
      const bool partly = relayed_part(piece, tensor) != nullptr;
      const auto [at, fresh] = relayed.try_emplace(tensor, partly);
      if (!fresh && !(partly && at->second)) refuse("a tensor is relayed twice");
    }
    if (!std::is_sorted(piece.layers.begin(), piece.layers.end()))
      refuse("the layers of a piece are out of order");
    for (const LayerId layer : piece.layers) {
      if (layer < 0 || layer >= graph.size()) refuse(fmt::format("layer number {}", layer));
      ++times[static_cast<std::size_t>(layer)];
      if (part_of(piece, layer) == nullptr) in_parts[static_cast<std::size_t>(layer)] = false;
    }
    if (std::ranges::adjacent_find(piece.layers) != piece.layers.end() && !piece.parts.empty())
      refuse("a piece has a layer twice");
    for (const auto& [layer, part] : piece.parts) {
      if (layer == kInput || !has(piece, layer))
        refuse(fmt::format("a piece has a part of layer number {}, which it does not compute", layer));
      const Region all = whole(graph.layer(layer).output_shape);
      if (part.size() != all.size() || empty(part) || !contains(all, part)) {
        refuse(fmt::format("the part {} of layer \"{}\" is no box within {}", region_text(part),
                           graph.layer(layer).name, region_text(all)));
      }
    }
  }
  std::map<HostId, std::optional<double>> granted;
  for (const Piece& piece : plan.pieces) {
    if (piece.share && !(*piece.share > 0 && *piece.share <= 1))
      refuse(fmt::format("a share of {} of \"{}\"", *piece.share, platform.host(piece.host).name));
    if (granted.try_emplace(piece.host, piece.share).first->second != piece.share)
      refuse(fmt::format("its pieces on \"{}\" have different shares", platform.host(piece.host).name));
  }
  for (const Upload& upload : plan.uploads) {
    if (upload.host < 0 || upload.host >= platform.host_count() || upload.host == source)
      refuse(fmt::format("an upload to host number {}", upload.host));
    if (platform.route(source, upload.host) == nullptr)
      refuse(fmt::format("an upload to \"{}\" has no route", platform.host(upload.host).name));
    const bool known =
        std::ranges::all_of(upload.layers, [&](LayerId id) { return id >= 0 && id < graph.size(); });
    if (!known || !std::ranges::is_sorted(upload.layers))
      refuse("the layers of an upload are none, or out of order");
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
  for (LayerId layer = 0; layer < graph.size() && !plan.pieces.empty(); ++layer) {
    const auto i = static_cast<std::size_t>(layer);
    if (in_parts[i]) times[i] = std::min(times[i], 1);
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

  // Parts must give all that anybody reads.
  const auto connected = [&](const Plan& stopped) {
    std::vector<Missing> missing;
    std::vector<PlanEdge> connections = connect(graph, wire, stopped, &missing);
    if (missing.empty() || plan.pieces.empty()) return connections;
    const Missing& m = missing.front();
    const std::string reader = m.piece == kSourceEnd ? "the source wants"
                                                     : fmt::format("layer \"{}\" of piece {} reads",
                                                                   graph.layer(m.layer).name, m.piece);
    refuse(fmt::format("{} {} of \"{}\", which no piece computes", reader, region_text(m.region),
                       graph.layer(m.input).name));
    return connections;
  };

  // Pieces form a DAG when they can be removed one by one, each after all that it receives from.
  const std::vector<PlanEdge> edges = connected(plan);
  std::vector<std::vector<int>> receivers(plan.pieces.size());
  std::vector<int> waits_for(plan.pieces.size(), 0);
  for (const PlanEdge& edge : edges) {
    if (edge.from == kSourceEnd || edge.to == kSourceEnd) continue;
    receivers[static_cast<std::size_t>(edge.from)].push_back(edge.to);
    ++waits_for[static_cast<std::size_t>(edge.to)];
  }
  std::vector<std::size_t> removed;
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    if (waits_for[p] == 0) removed.push_back(p);
  }
  for (std::size_t next = 0; next < removed.size(); ++next) {
    for (const int to : receivers[removed[next]]) {
      if (--waits_for[static_cast<std::size_t>(to)] == 0) removed.push_back(static_cast<std::size_t>(to));
    }
  }
  if (removed.size() < plan.pieces.size()) refuse("its pieces wait for each other in a circle");

  const auto host_of = [&](int end) {
    return end == kSourceEnd ? source : plan.pieces[static_cast<std::size_t>(end)].host;
  };
  if (plan.stealing) {
    if (const std::string why = stealing_fault(graph, platform, plan); !why.empty()) refuse(why);
    if (!plan.stealing->alone.empty()) {
      Plan alone = alone_plan(plan);
      alone.stealing->alone.clear();
      alone.fallbacks.clear();
      check_plan(graph, platform, source, wire, alone, who + ", alone");
      for (const PlanEdge& edge : plan_edges(graph, wire, alone)) {
        if (plan.stealing->alone.contains(edge.to) && is_stealable(plan, edge.from))
          refuse(fmt::format("piece {} alone reads from piece {}", edge.to, edge.from));
      }
    }
  }
  const auto check_route = [&](HostId from, HostId to) {
    if (from == to || platform.route(from, to) != nullptr) return;
    refuse(fmt::format("{} has no route from \"{}\" to \"{}\"", platform.file(), platform.host(from).name,
                       platform.host(to).name));
  };
  const auto check_routes = [&](const std::vector<PlanEdge>& needed) {
    for (const PlanEdge& edge : needed) {
      if (!plan.stealing) {
        check_route(host_of(edge.from), host_of(edge.to));
        continue;
      }
      const bool steals_from = is_stealable(plan, edge.from), steals_to = is_stealable(plan, edge.to);
      std::vector<HostId> from{host_of(edge.from)}, to{host_of(edge.to)};
      if (steals_from) from = plan.stealing->workers;
      if (steals_to) to = plan.stealing->workers;
      const bool stored = steals_from && steals_to && plan.stealing->store;
      for (const HostId a : from) {
        for (const HostId b : to) {
          check_route(a, stored ? *plan.stealing->store : b);
          if (stored) check_route(*plan.stealing->store, b);
        }
      }
    }
  };
  check_routes(edges);
  for (int e = 0; e < plan.exit && !plan.exit_rates.empty(); ++e) {
    if (plan.exit_rates[static_cast<std::size_t>(e)] > 0) check_routes(connected(stopped_at(graph, plan, e)));
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
    if (!fallback.uploads.empty()) refuse("a fallback has uploads");
    check_plan(graph, platform, source, wire, fallback, who + ", fallback");
  }
}

}  // namespace cdisim
