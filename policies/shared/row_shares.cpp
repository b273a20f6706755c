#include "policies/shared/row_shares.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <map>
#include <numeric>
#include <set>

#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "sim/error.h"

namespace cdisim {

namespace {

// Rows are the second dimension of an image.
int rows_of(const Shape& shape) {
  return shape.size() == 3 ? shape[1] : 1;
}

Range rows_read(const LayerGraph& graph, LayerId layer, Range rows, std::size_t input) {
  return input_region(graph, layer, slab(graph.layer(layer).output_shape, 1, rows), input)[1];
}

// Whether the rows of a layer follow from as many, or fewer, rows of each of its inputs.
bool goes_by_rows(const LayerGraph& graph, LayerId id, const std::vector<char>& in_rows) {
  const int rows = rows_of(graph.layer(id).output_shape), middle = rows / 2;
  if (rows < 2) return false;
  const std::vector<LayerId>& inputs = graph.layer(id).inputs;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const int extent = rows_of(graph.tensor_shape(inputs[i]));
    if (extent < 2 || (inputs[i] != kInput && in_rows[static_cast<std::size_t>(inputs[i])] == 0))
      return false;
    if (rows_read(graph, id, {middle, middle + 1}, i).size() == extent) return false;
  }
  return true;
}

// Row for row: no boundary needs a halo.
bool keeps_rows(const LayerGraph& graph, LayerId layer, std::size_t input) {
  const int rows = rows_of(graph.layer(layer).output_shape);
  return rows == rows_of(graph.tensor_shape(graph.layer(layer).inputs[input])) &&
         rows_read(graph, layer, {0, 1}, input) == Range{0, 1} &&
         rows_read(graph, layer, {rows - 1, rows}, input) == Range{rows - 1, rows};
}

}  // namespace

std::vector<LayerId> RowLayers::layers() const {
  std::vector<LayerId> out;
  for (const std::vector<LayerId>& stage : stages) out.insert(out.end(), stage.begin(), stage.end());
  std::ranges::sort(out);
  return out;
}

std::vector<int> every_stage(const RowLayers& rows) {
  std::vector<int> begins(rows.stages.size());
  std::iota(begins.begin(), begins.end(), 0);
  return begins;
}

RowLayers row_layers(const LayerGraph& graph, int exit) {
  RowLayers out;
  const auto n = static_cast<std::size_t>(graph.size());
  std::vector<char> in_rows(n, 0);
  std::vector<std::size_t> stage_of(n, 0);
  for (const LayerId id : graph.exit_layers(exit)) {
    const auto at = static_cast<std::size_t>(id);
    if (!goes_by_rows(graph, id, in_rows)) {
      out.tail.push_back(id);
      continue;
    }
    in_rows[at] = 1;
    const std::vector<LayerId>& inputs = graph.layer(id).inputs;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i] == kInput) continue;
      const Halo needs = widest_halo(graph, id, i);
      const std::size_t after = needs.above > 0 || needs.below > 0 ? 1 : 0;
      stage_of[at] = std::max(stage_of[at], stage_of[static_cast<std::size_t>(inputs[i])] + after);
    }
    if (stage_of[at] >= out.stages.size()) out.stages.resize(stage_of[at] + 1);
    out.stages[stage_of[at]].push_back(id);
  }
  return out;
}

Halo halo(const LayerGraph& graph, LayerId layer, std::size_t input) {
  const int rows = rows_of(graph.layer(layer).output_shape), middle = rows / 2;
  const double boundary = 1.0 * middle * rows_of(graph.tensor_shape(graph.layer(layer).inputs[input])) / rows;
  return {std::max(0.0, boundary - rows_read(graph, layer, {middle, rows}, input).begin),
          std::max(0.0, rows_read(graph, layer, {0, middle}, input).end - boundary)};
}

// A boundary at c of the tensor's height lies at row round(c * rows) of both, so that one between rows b - 1
// and b of the output can have any of these of the input beside it.
Halo widest_halo(const LayerGraph& graph, LayerId layer, std::size_t input) {
  if (keeps_rows(graph, layer, input)) return {};
  const int out = rows_of(graph.layer(layer).output_shape),
            in = rows_of(graph.tensor_shape(graph.layer(layer).inputs[input]));
  Halo widest;
  for (int b = 1; b < out; ++b) {
    const int first = (in * (2 * b - 1) + out) / (2 * out);                   // round of the least c
    const int last = (in * (2 * b + 1) + out + 2 * out - 1) / (2 * out) - 1;  // and below the largest
    widest.above = std::max(widest.above, 1.0 * last - rows_read(graph, layer, {b, out}, input).begin);
    widest.below = std::max(widest.below, 1.0 * rows_read(graph, layer, {0, b}, input).end - first);
  }
  return widest;
}

double least_share(const LayerGraph& graph, const RowLayers& rows) {
  double least = 0;
  for (const std::vector<LayerId>& stage : rows.stages) {
    for (const LayerId id : stage) {
      const std::vector<LayerId>& inputs = graph.layer(id).inputs;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        if (inputs[i] == kInput) continue;  // the source has all of it
        const Halo needs = widest_halo(graph, id, i);
        least = std::max(least, std::max(needs.above, needs.below) / rows_of(graph.tensor_shape(inputs[i])));
      }
    }
  }
  return least;
}

std::vector<LayerId> read_from_outside(const LayerGraph& graph, std::span<const LayerId> layers) {
  std::set<LayerId> out;
  for (const LayerId id : layers) {
    for (const LayerId input : graph.layer(id).inputs) {
      if (!std::ranges::binary_search(layers, input)) out.insert(input);
    }
  }
  return {out.begin(), out.end()};
}

ParameterFacts devices_parameter() {
  return {
      .name = "devices", .type = "integer", .standard = 0, .about = "the source and the next hosts; 0: all"};
}

int chosen_devices(const Parameters& parameters) {
  const int devices = parameters.integer("devices");
  if (devices < 0) parameters.fail("devices", "valid: 0 (all), 1, 2, ...");
  return devices;
}

std::vector<HostId> row_hosts(const Problem& problem, int most, const std::string& who) {
  std::vector<HostId> out{problem.source};
  for (const HostId host : problem.reachable()) {
    if (most > 0 && static_cast<int>(out.size()) == most) break;
    const auto meets = [&](HostId other) { return linked(problem, host, other); };
    if (host != problem.source && std::ranges::all_of(out, meets)) out.push_back(host);
  }
  if (static_cast<int>(out.size()) < most) {
    throw InputError(
        problem.platform.file(),
        fmt::format("{}: fewer hosts that reach each other than its parameter \"devices\"", who));
  }
  return out;
}

std::vector<double> speed_shares(const Problem& problem, const RowLayers& rows,
                                 std::span<const HostId> hosts) {
  const std::vector<LayerId> layers = rows.layers();
  std::vector<double> shares;
  double sum = 0;
  for (const HostId host : hosts) {
    const double all_s = problem.compute_s(layers, host) * problem.slowdown(host);
    shares.push_back(all_s > 0 ? 1 / all_s : 1);
    sum += shares.back();
  }
  for (double& share : shares) share /= sum;
  return shares;
}

double tail_s(const Problem& problem, const RowLayers& rows, const RowShares& shares, int exit) {
  const LayerGraph& graph = problem.graph;
  std::vector<Transfer> gather;
  const auto send_rows = [&](LayerId tensor, double bytes, HostId to) {
    const int extent = rows_of(graph.tensor_shape(tensor));
    const std::vector<Range> ranges = split(extent, shares.shares);
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      if (ranges[i].size() > 0) gather.push_back({shares.hosts[i], to, bytes * ranges[i].size() / extent});
    }
  };
  if (rows.tail.empty()) {
    send_rows(graph.exits()[static_cast<std::size_t>(exit)].layer, result_bytes(problem, exit),
              problem.source);
    return phase_s(problem, gather);
  }
  for (const LayerId tensor : read_from_outside(graph, rows.tail)) {
    const double bytes = tensor_bytes(graph, problem.wire, tensor);
    if (tensor == kInput) {
      gather.push_back({problem.source, shares.aggregator, bytes});
    } else {
      send_rows(tensor, bytes, shares.aggregator);
    }
  }
  return phase_s(problem, gather) +
         problem.compute_s(rows.tail, shares.aggregator) * problem.slowdown(shares.aggregator) +
         problem.transfer_s(result_bytes(problem, exit), shares.aggregator, problem.source);
}

HostId fastest_aggregator(const Problem& problem, const RowLayers& rows, RowShares shares, int exit) {
  if (rows.tail.empty()) return problem.source;
  const auto after_s = [&](HostId host) {
    shares.aggregator = host;
    return tail_s(problem, rows, shares, exit);
  };
  return *std::ranges::min_element(shares.hosts, {}, after_s);
}

Plan row_plan(const LayerGraph& graph, int exit, const RowLayers& rows, std::span<const int> begins,
              const RowShares& shares) {
  Plan plan;
  plan.exit = exit;
  const auto has_all = std::ranges::find_if(shares.shares, [&](double share) {
    return share == std::accumulate(shares.shares.begin(), shares.shares.end(), 0.0);
  });
  if (!rows.stages.empty() && has_all != shares.shares.end()) {
    const HostId host = shares.hosts[static_cast<std::size_t>(has_all - shares.shares.begin())];
    if (host == shares.aggregator || rows.tail.empty()) return whole_plan(graph, exit, host);
    plan.pieces.push_back({rows.layers(), host});
  } else if (!rows.stages.empty()) {
    assert(!begins.empty() && begins.front() == 0);
    const std::span<const LayerId> all = graph.exit_layers(exit);
    for (std::size_t b = 0; b < begins.size(); ++b) {
      const auto end = b + 1 < begins.size() ? static_cast<std::size_t>(begins[b + 1]) : rows.stages.size();
      std::vector<LayerId> block;
      for (auto s = static_cast<std::size_t>(begins[b]); s < end; ++s)
        block.insert(block.end(), rows.stages[s].begin(), rows.stages[s].end());
      std::ranges::sort(block);
      // What others read of the block: the rest of the model, or the source.
      std::vector<LayerId> others;
      std::ranges::set_difference(all, block, std::back_inserter(others));
      std::vector<LayerId> outputs = read_from_outside(graph, others);
      outputs.push_back(graph.exits()[static_cast<std::size_t>(exit)].layer);
      std::erase_if(outputs, [&](LayerId id) { return !std::ranges::binary_search(block, id); });
      for (std::size_t i = 0; i < shares.hosts.size(); ++i) {
        Parts wanted;
        for (const LayerId id : outputs) {
          const Shape& shape = graph.layer(id).output_shape;
          wanted[id] = slab(shape, 1, split(shape[1], shares.shares)[i]);
        }
        Piece piece = fused_piece(graph, block, wanted, shares.hosts[i]);
        if (!piece.layers.empty()) plan.pieces.push_back(std::move(piece));
      }
    }
  }
  if (!rows.tail.empty()) plan.pieces.push_back({rows.tail, shares.aggregator});
  return plan;
}

double phase_s(const Problem& problem, std::span<const Transfer> transfers) {
  std::map<LinkId, double> carried;
  for (const Transfer& t : transfers) {
    for (const auto& [link, weight] : links_between(problem, t.from, t.to)) carried[link] += t.bytes * weight;
  }
  double longest_s = 0;
  for (const Transfer& t : transfers) {
    for (const auto& [link, weight] : links_between(problem, t.from, t.to)) {
      longest_s = std::max(
          longest_s, problem.platform.route(t.from, t.to)->latency_s +
                         carried.at(link) / problem.bandwidth_bytes_per_s[static_cast<std::size_t>(link)]);
    }
  }
  return longest_s;
}

}  // namespace cdisim
