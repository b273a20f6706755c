#include "policies/shared/schedule.h"

#include <algorithm>
#include <cassert>
#include <functional>
#include <limits>

#include "policies/shared/costs.h"

namespace cdisim {

namespace {

constexpr double kForever = std::numeric_limits<double>::infinity();

bool in_place(LayerKind kind) {
  switch (kind) {
    case LayerKind::kRelu:
    case LayerKind::kBatchNorm:
    case LayerKind::kAffine:
    case LayerKind::kDropout:
    case LayerKind::kSoftmax:
    case LayerKind::kElementwise:
    case LayerKind::kFlatten:
    case LayerKind::kReshape:
      return true;
    default:
      return false;
  }
}

// The units that each unit's first layer reads, each once.
std::vector<std::vector<int>> unit_inputs(const LayerGraph& graph,
                                          const std::vector<std::vector<LayerId>>& units) {
  std::vector<int> unit_of(static_cast<std::size_t>(graph.size()), -1);
  for (std::size_t u = 0; u < units.size(); ++u) {
    for (const LayerId layer : units[u]) unit_of[static_cast<std::size_t>(layer)] = static_cast<int>(u);
  }
  std::vector<std::vector<int>> out(units.size());
  for (std::size_t u = 0; u < units.size(); ++u) {
    for (const LayerId input : graph.layer(units[u].front()).inputs) {
      if (input == kInput) continue;
      const int unit = unit_of[static_cast<std::size_t>(input)];
      if (std::ranges::find(out[u], unit) == out[u].end()) out[u].push_back(unit);
    }
  }
  return out;
}

}  // namespace

std::vector<std::vector<LayerId>> fused_layers(const LayerGraph& graph, std::span<const LayerId> layers) {
  std::vector<int> readers(static_cast<std::size_t>(graph.size()), 0);
  for (const LayerId layer : layers) {
    for (const LayerId input : graph.layer(layer).inputs) {
      if (input != kInput) ++readers[static_cast<std::size_t>(input)];
    }
  }
  std::vector<std::vector<LayerId>> units;
  std::vector<std::size_t> unit_of(static_cast<std::size_t>(graph.size()), 0);
  for (const LayerId id : layers) {
    const Layer& layer = graph.layer(id);
    const LayerId input = layer.inputs.front();
    if (in_place(layer.kind) && layer.inputs.size() == 1 && input != kInput &&
        readers[static_cast<std::size_t>(input)] == 1) {
      unit_of[static_cast<std::size_t>(id)] = unit_of[static_cast<std::size_t>(input)];
    } else {
      unit_of[static_cast<std::size_t>(id)] = units.size();
      units.emplace_back();
    }
    units[unit_of[static_cast<std::size_t>(id)]].push_back(id);
  }
  return units;
}

Schedule::Schedule(const Problem& problem, int exit, std::vector<HostId> hosts,
                   std::vector<std::vector<LayerId>> units)
    : graph_(&problem.graph),
      exit_(exit),
      hosts_(std::move(hosts)),
      source_(static_cast<int>(std::ranges::find(hosts_, problem.source) - hosts_.begin())),
      units_(std::move(units)),
      tensors_(units_.size()),
      readers_(units_.size() + 1),
      bytes_(units_.size() + 1),
      unit_s_(units_.size() * hosts_.size(), 0),
      links_(hosts_.size() * hosts_.size()),
      grouper_(unit_inputs(problem.graph, units_), static_cast<int>(hosts_.size())),
      free_at_(hosts_.size()) {
  assert(at(source_) < hosts_.size());
  const int n = this->units();
  const std::vector<std::vector<int>> inputs = unit_inputs(*graph_, units_);
  for (int u = 0; u < n; ++u) {
    const Layer& first = graph_->layer(units_[at(u)].front());
    // A layer that switches between its inputs reads the first (see Absent).
    const bool only = first.absent == Absent::kSwitch;
    if (std::ranges::find(first.inputs, kInput) != first.inputs.end() && !(only && first.inputs[0] != kInput))
      tensors_[at(u)].push_back(n);
    for (const int input : inputs[at(u)]) {
      if (only && std::ranges::find(units_[at(input)], first.inputs[0]) == units_[at(input)].end()) continue;
      tensors_[at(u)].push_back(input);
    }
    for (const int tensor : tensors_[at(u)]) readers_[at(tensor)].push_back(u);
    bytes_[at(u)] =
        u == n - 1 ? result_bytes(problem, exit) : tensor_bytes(*graph_, problem.wire, units_[at(u)].back());
  }
  bytes_[at(n)] = input_bytes(problem);

  const std::span<const LayerId> layers = graph_->exit_layers(exit);
  std::vector<std::size_t> unit_of(static_cast<std::size_t>(graph_->size()), 0);
  for (std::size_t u = 0; u < units_.size(); ++u) {
    for (const LayerId layer : units_[u]) unit_of[at(layer)] = u;
  }
  for (std::size_t h = 0; h < hosts_.size(); ++h) {
    const PieceTimes times = piece_times(problem, layers, hosts_[h]);
    for (std::size_t i = 0; i < layers.size(); ++i)
      unit_s_[unit_of[at(layers[i])] * hosts_.size() + h] += times.layer_s[i];
    run_s_.push_back(times.run_s);
    usd_per_s_.push_back(problem.platform.host(hosts_[h]).price_usd_per_s);
    for (std::size_t to = 0; to < hosts_.size(); ++to) {
      if (h == to) continue;
      Link& link = links_[h * hosts_.size() + to];
      link.latency_s = problem.transfer_s(0, hosts_[h], hosts_[to]);
      if (link.latency_s == kForever) continue;
      link.s_per_byte = problem.transfer_s(1, hosts_[h], hosts_[to]) - link.latency_s;
      link.usd_per_byte = problem.platform.price_usd_per_byte(*problem.platform.route(hosts_[h], hosts_[to]));
    }
  }
}

void Schedule::send(int from, int to, double bytes) {
  Node& receiver = nodes_[at(to)];
  for (int e = receiver.first_in; e >= 0; e = edges_[at(e)].next_in) {
    if (edges_[at(e)].from != from) continue;
    edges_[at(e)].bytes += bytes;
    return;
  }
  const auto edge = static_cast<int>(edges_.size());
  edges_.push_back({from, to, bytes, receiver.first_in, nodes_[at(from)].first_out});
  receiver.first_in = edge;
  ++receiver.waits_for;
  nodes_[at(from)].first_out = edge;
}

// A tensor travels once to each piece that reads it; all that goes from one piece to another goes together.
void Schedule::make_edges(int pieces) {
  const std::span<const int> piece_of = grouper_.piece_of();
  edges_.clear();
  for (int tensor = 0; tensor <= units(); ++tensor) {
    const int from = tensor == units() ? pieces : piece_of[at(tensor)];
    const std::span<const int> readers = readers_[at(tensor)];
    for (std::size_t i = 0; i < readers.size(); ++i) {
      const int to = piece_of[at(readers[i])];
      const auto same = [&](int earlier) { return piece_of[at(earlier)] == to; };
      if (to != from && std::none_of(readers.begin(), readers.begin() + static_cast<std::ptrdiff_t>(i), same))
        send(from, to, bytes_[at(tensor)]);
    }
  }
}

Schedule::Cost Schedule::cost(std::span<const int> placement, Grouping grouping) {
  const int pieces = grouper_.group(placement, grouping);
  const std::span<const int> piece_of = grouper_.piece_of();
  nodes_.assign(at(pieces) + 1, {});
  nodes_.back().host = source_;
  for (int u = 0; u < units(); ++u) {
    Node& node = nodes_[at(piece_of[at(u)])];
    const int host = placement[at(u)];
    if (node.compute_s == 0) node.compute_s = run_s_[at(host)];
    node.host = host;
    node.compute_s += unit_s(u, host);
  }
  make_edges(pieces);

  // List scheduling, as estimate() does: the piece that is ready first runs first, the first of equals.
  Cost out;
  std::ranges::fill(free_at_, 0);
  ready_.clear();
  const auto release = [&](int sender, double end_s) {
    for (int e = nodes_[at(sender)].first_out; e >= 0; e = edges_[at(e)].next_out) {
      const Edge& edge = edges_[at(e)];
      Node& to = nodes_[at(edge.to)];
      const int from_host = nodes_[at(sender)].host;
      to.ready_s = std::max(to.ready_s, end_s + transfer_s(edge.bytes, from_host, to.host));
      out.cost_usd += transfer_usd(edge.bytes, from_host, to.host);
      if (--to.waits_for > 0) continue;
      ready_.emplace_back(to.ready_s, edge.to);
      std::ranges::push_heap(ready_, std::greater<>());
    }
  };
  double end_s = 0;
  const int last = piece_of[at(units() - 1)], last_host = placement[at(units() - 1)];
  release(pieces, 0);
  while (!ready_.empty()) {
    std::ranges::pop_heap(ready_, std::greater<>());
    const int piece = ready_.back().second;
    ready_.pop_back();
    const Node& node = nodes_[at(piece)];
    double& free_s = free_at_[at(node.host)];
    free_s = std::max(free_s, node.ready_s) + node.compute_s;
    out.cost_usd += node.compute_s * usd_per_s_[at(node.host)];
    if (piece == last) end_s = free_s;
    release(piece, free_s);
  }
  out.latency_s = end_s + transfer_s(bytes_[at(units() - 1)], last_host, source_);
  out.cost_usd += transfer_usd(bytes_[at(units() - 1)], last_host, source_);
  if (out.latency_s == kForever) out.cost_usd = kForever;
  return out;
}

Plan Schedule::plan(std::span<const int> placement, Grouping grouping) {
  Plan plan;
  plan.exit = exit_;
  plan.pieces.resize(at(grouper_.group(placement, grouping)));
  for (std::size_t u = 0; u < units_.size(); ++u) {
    Piece& piece = plan.pieces[at(grouper_.piece_of()[u])];
    piece.host = hosts_[at(placement[u])];
    piece.layers.insert(piece.layers.end(), units_[u].begin(), units_[u].end());
  }
  for (Piece& piece : plan.pieces) std::ranges::sort(piece.layers);
  return plan;
}

}  // namespace cdisim
