#include "policies/shared/pieces.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace cdisim {

Grouper::Grouper(std::vector<std::vector<int>> inputs, int hosts)
    : inputs_(std::move(inputs)),
      piece_of_(inputs_.size()),
      stage_(inputs_.size()),
      leaves_(inputs_.size()),
      last_piece_(static_cast<std::size_t>(hosts)),
      pieces_(static_cast<std::size_t>(hosts) * inputs_.size()) {}

int Grouper::group(std::span<const int> hosts, Grouping grouping) {
  assert(hosts.size() == inputs_.size());
  switch (grouping) {
    case Grouping::kRuns:
      return runs(hosts);
    case Grouping::kFew:
      return few(hosts);
    default:
      return eager(hosts);
  }
}

int Grouper::runs(std::span<const int> hosts) {
  int pieces = 0;
  for (std::size_t v = 0; v < hosts.size(); ++v) {
    if (v == 0 || hosts[v] != hosts[v - 1]) ++pieces;
    piece_of_[v] = pieces - 1;
  }
  return pieces;
}

// No tensor goes to a piece with a smaller number, hence no circle.
int Grouper::few(std::span<const int> hosts) {
  std::ranges::fill(last_piece_, -1);
  int pieces = 0;
  for (std::size_t v = 0; v < hosts.size(); ++v) {
    int& piece = last_piece_[static_cast<std::size_t>(hosts[v])];
    const auto is_later = [&](int u) { return piece_of_[static_cast<std::size_t>(u)] > piece; };
    if (piece < 0 || std::ranges::any_of(inputs_[v], is_later)) piece = pieces++;
    piece_of_[v] = piece;
  }
  return pieces;
}

// No tensor goes to another piece of the same stage or to an earlier one, hence no circle.
int Grouper::eager(std::span<const int> hosts) {
  const std::size_t n = hosts.size();
  std::ranges::fill(leaves_, 0);
  for (std::size_t v = 0; v < n; ++v) {
    for (const int u : inputs_[v]) {
      if (hosts[static_cast<std::size_t>(u)] != hosts[v]) leaves_[static_cast<std::size_t>(u)] = 1;
    }
  }
  ++date_;
  int pieces = 0;
  for (std::size_t v = 0; v < n; ++v) {
    int stage = 0;
    for (const int input : inputs_[v]) {
      const auto u = static_cast<std::size_t>(input);
      stage = std::max(stage, stage_[u] + leaves_[u]);
    }
    stage_[v] = stage;
    Entry& entry = pieces_[static_cast<std::size_t>(hosts[v]) * n + static_cast<std::size_t>(stage)];
    if (entry.date != date_) entry = {pieces++, date_};
    piece_of_[v] = entry.piece;
  }
  return pieces;
}

std::vector<std::vector<int>> read_positions(const LayerGraph& graph, std::span<const LayerId> layers) {
  std::vector<std::vector<int>> out(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    for (const LayerId input : graph.layer(layers[i]).inputs) {
      if (input == kInput) continue;
      const auto position = static_cast<int>(std::ranges::lower_bound(layers, input) - layers.begin());
      if (std::ranges::find(out[i], position) == out[i].end()) out[i].push_back(position);
    }
  }
  return out;
}

std::vector<Piece> pieces_of(const LayerGraph& graph, std::span<const LayerId> layers,
                             std::span<const HostId> hosts, Grouping grouping) {
  assert(hosts.size() == layers.size());
  Grouper grouper(read_positions(graph, layers), *std::ranges::max_element(hosts) + 1);
  std::vector<Piece> pieces(static_cast<std::size_t>(grouper.group(hosts, grouping)));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Piece& piece = pieces[static_cast<std::size_t>(grouper.piece_of()[i])];
    piece.host = hosts[i];
    piece.layers.push_back(layers[i]);
  }
  return pieces;
}

}  // namespace cdisim
