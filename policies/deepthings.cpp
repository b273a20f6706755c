// deepthings: fused tiles of the first layers, which idle devices steal from each other.
//
// The first layers of a model, up to a tensor T that is all the others read, are cut into tiles: T into
// rows x columns, tile (i, j) from [H i / rows] to [H (i + 1) / rows] - 1 and likewise in width. A tile is
// one task: it computes all that its part of T needs of those layers, halos included, from its part of the
// input (fused tile partitioning). The gateway gathers T and computes the other layers.
//
//     scheduling   who computes a tile
//     sharing      (FTP-WSH) the source sends the input to the gateway, which hands tiles to idle devices
//     stealing     (FTP-WST) the source puts its tiles into its own queue and works on them; a device with
//                  nothing to do takes the first of another's queue, owners by turns, and asks again after
//                  `poll` where there is none
//     reuse        (FTP-WST-S) as stealing; tiles with even i + j come first, compute their halos, and leave
//                  at the gateway what their neighbours read of them. The others compute nothing that those
//                  have computed, fetch it from the gateway unless their own device has it, and only where
//                  some of it is not there yet compute their halos themselves
//
// Layers are counted as in the paper: convolutions and pools. T is the last tensor after at most
// `fused_layers` of them that is an image of at least rows x columns and all that the others read; a model
// without, or one that reads several sensors, is computed by the source. Devices are the hosts of tier
// device that the source and the gateway reach, the source first where it is one.
//
//     parameter    | type    | default    | meaning
//     -------------|---------|------------|-------------------------------------------------------------
//     scheduling   | string  | "reuse"    | "sharing", "stealing" or "reuse"
//     rows         | integer | 5          | of tiles, 1 to 64
//     columns      | integer | 5          | of tiles, 1 to 64
//     fused_layers | integer | 16         | most convolutions and pools that are tiled, 1 to 1000
//     devices      | integer | 0          | the source and the next ones; 0: all
//     gateway      | string  | ""         | a host; "": the first of tier edge, else cloud, else the source
//     poll         | time    | "100ms"    | how long a device that found nothing to steal waits
//
//     {"name": "deepthings", "scheduling": "stealing", "rows": 3, "columns": 3}
//
// Plan's decision: tiles, fused_layers (counted as above), devices, work_ratio (operations of all tiles, with
// their halos, over those of the layers).
//
// Source: Z. Zhao, K. Mirzazad Barijough, A. Gerstlauer, "DeepThings: Distributed Adaptive Deep Learning
// Inference on Resource-Constrained IoT Edge Clusters", IEEE TCAD 37(11), 2018, sections III and IV; `poll`
// from the authors' code (github.com/zoranzhao/DeepThings).

#include <algorithm>

#include "policies/shared/hosts.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

const std::vector<std::string> kSchedulings{"sharing", "stealing", "reuse"};

class DeepThings : public Policy {
 public:
  explicit DeepThings(const Parameters& p)
      : p_(p),
        scheduling_(p.string("scheduling")),
        rows_(grid(p, "rows")),
        columns_(grid(p, "columns")),
        fused_layers_(p.integer("fused_layers")),
        devices_(p.integer("devices")),
        poll_s_(p.number("poll")) {
    if (fused_layers_ < 1 || fused_layers_ > 1000) p.fail("fused_layers", "must be between 1 and 1000");
    if (devices_ < 0) p.fail("devices", "must not be negative");
  }

  Plan plan(const Problem& problem) override {
    const int exit = deepest_exit(problem);
    const HostId gateway = gateway_of(problem);
    const std::vector<LayerId> fused = fused_prefix(problem.graph);
    const std::vector<HostId> workers = workers_of(problem, gateway);
    if (fused.empty() || workers.empty() || !problem.wire.sensors.empty())
      return whole_plan(problem, exit, problem.source);

    Plan plan;
    plan.exit = exit;
    const bool sharing = scheduling_ == "sharing", reuse = scheduling_ == "reuse";
    if (sharing) {
      plan.pieces.push_back({{}, gateway});
      plan.pieces.back().relays = {kInput};
    }
    const int first = static_cast<int>(plan.pieces.size());
    Stealing& stealing = plan.stealing.emplace();
    stealing.workers = workers;
    // The gateway knows who is idle.
    stealing.poll_s = sharing ? 0 : poll_s_;
    if (reuse) stealing.store = gateway;

    const std::vector<Piece> tiles = make_tiles(problem.graph, fused, sharing ? gateway : problem.source);
    for (const bool late : {false, true}) {
      for (int i = 0; i < rows_; ++i) {
        for (int j = 0; j < columns_; ++j) {
          const bool odd = reuse && (i + j) % 2 != 0;
          if (odd != late) continue;
          const int number = static_cast<int>(plan.pieces.size());
          stealing.pieces.push_back(number);
          plan.pieces.push_back(tiles[index(i, j)]);
          if (!odd) continue;
          shrink(plan.pieces.back(), tiles, i, j);
          stealing.alone[number] = tiles[index(i, j)].parts;
        }
      }
    }
    double tile_flop = 0, layer_flop = 0;
    for (const LayerId id : fused) layer_flop += problem.graph.costs(id).work_flop;
    for (std::size_t p = static_cast<std::size_t>(first); p < plan.pieces.size(); ++p) {
      for (const auto& [id, part] : plan.pieces[p].parts)
        tile_flop += part_costs(problem.graph, id, part).work_flop;
    }

    Piece rest{{}, gateway};
    const auto all = problem.graph.exit_layers(exit);
    rest.layers.assign(all.begin() + static_cast<std::ptrdiff_t>(fused.size()), all.end());
    if (rest.layers.empty()) rest.relays = {fused.back()};
    plan.pieces.push_back(std::move(rest));
    plan.decision = {{"tiles", rows_ * columns_},
                     {"fused_layers", counted(problem.graph, fused)},
                     {"devices", static_cast<double>(workers.size())},
                     {"work_ratio", layer_flop > 0 ? tile_flop / layer_flop : 1}};
    return plan;
  }

 private:
  static int grid(const Parameters& p, const std::string& name) {
    if (p.integer(name) < 1 || p.integer(name) > 64) p.fail(name, "must be between 1 and 64");
    return p.integer(name);
  }

  std::size_t index(int i, int j) const { return static_cast<std::size_t>(i * columns_ + j); }

  HostId gateway_of(const Problem& problem) const {
    if (!p_.string("gateway").empty()) return named_host(problem, p_, "gateway", problem.reachable());
    for (const Tier tier : {Tier::kEdge, Tier::kCloud}) {
      for (const HostId host : problem.reachable(tier)) return host;
    }
    return problem.source;
  }

  // The source first, then those after it, and from the beginning again.
  std::vector<HostId> workers_of(const Problem& problem, HostId gateway) const {
    std::vector<HostId> hosts = problem.reachable(Tier::kDevice);
    std::erase_if(hosts, [&](HostId host) { return !linked(problem, host, gateway); });
    const auto source = std::ranges::find(hosts, problem.source);
    if (source != hosts.end()) std::ranges::rotate(hosts, source);
    if (devices_ > 0 && hosts.size() > static_cast<std::size_t>(devices_))
      hosts.resize(static_cast<std::size_t>(devices_));
    return hosts;
  }

  static int counted(const LayerGraph& graph, const std::vector<LayerId>& layers) {
    return static_cast<int>(
        std::ranges::count_if(layers, [&](LayerId id) { return has_windows(graph.layer(id).kind); }));
  }

  // The layers to be tiled, as many as may be; none where there is no such tensor.
  std::vector<LayerId> fused_prefix(const LayerGraph& graph) const {
    const auto all = graph.exit_layers(static_cast<int>(graph.exits().size()) - 1);
    std::size_t best = 0;
    int n = 0;
    for (std::size_t k = 0; k < all.size(); ++k) {
      n += has_windows(graph.layer(all[k]).kind);
      if (n > fused_layers_) break;
      const Shape& shape = graph.layer(all[k]).output_shape;
      if (n > 0 && shape.size() == 3 && shape[1] >= rows_ && shape[2] >= columns_ && only_link(graph, all, k))
        best = k + 1;
    }
    return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(best)};
  }

  // Whether the layers behind the first k + 1 read nothing of what comes before them but the k-th.
  static bool only_link(const LayerGraph& graph, std::span<const LayerId> all, std::size_t k) {
    for (std::size_t later = k + 1; later < all.size(); ++later) {
      for (const LayerId input : graph.layer(all[later]).inputs) {
        if (input < all[k]) return false;
      }
    }
    return true;
  }

  std::vector<Piece> make_tiles(const LayerGraph& graph, const std::vector<LayerId>& fused,
                                HostId owner) const {
    const Shape& shape = graph.layer(fused.back()).output_shape;
    std::vector<Piece> tiles;
    for (int i = 0; i < rows_; ++i) {
      for (int j = 0; j < columns_; ++j) {
        const auto cut = [](int extent, int at, int n) {
          return Range{extent * at / n, extent * (at + 1) / n};
        };
        const Region tile{{0, shape[0]}, cut(shape[1], i, rows_), cut(shape[2], j, columns_)};
        tiles.push_back(fused_piece(graph, fused, {{fused.back(), tile}}, owner));
      }
    }
    return tiles;
  }

  // Takes from a tile what its four neighbours compute.
  void shrink(Piece& piece, const std::vector<Piece>& tiles, int i, int j) const {
    Parts left;
    for (auto& [layer, part] : piece.parts) {
      Region own = part;
      for (std::size_t d = 1; d < std::min<std::size_t>(3, own.size()); ++d) {
        const int di = d == 1 ? 1 : 0, dj = 1 - di;
        if (i >= di && j >= dj)
          own[d].begin = std::max(own[d].begin, tiles[index(i - di, j - dj)].parts.at(layer)[d].end);
        if (i + di < rows_ && j + dj < columns_)
          own[d].end = std::min(own[d].end, tiles[index(i + di, j + dj)].parts.at(layer)[d].begin);
      }
      if (!empty(own)) left[layer] = own;
    }
    piece.parts = std::move(left);
    piece.layers.clear();
    for (const auto& [layer, part] : piece.parts) piece.layers.push_back(layer);
  }

  const Parameters p_;
  const std::string scheduling_;
  const int rows_, columns_, fused_layers_, devices_;
  const double poll_s_;
};

const bool registered = register_policy(
    {.name = "deepthings",
     .title = "Fused tiles that idle devices steal from each other",
     .source = "Zhao, Mirzazad Barijough, Gerstlauer, IEEE TCAD 2018",
     .about =
         "Cuts the output of the first layers into a grid of tiles, each computed with its halos as one task "
         "by whichever device is idle, and reuses what overlaps between neighbours.",
     .parameters = {{"scheduling", "string", "reuse", "who computes a tile", kSchedulings},
                    {"rows", "integer", 5, "of tiles"},
                    {"columns", "integer", 5, "of tiles"},
                    {"fused_layers", "integer", 16, "most convolutions and pools that are tiled"},
                    {"devices", "integer", 0, "the source and the next ones; 0: all"},
                    {"gateway", "string", "", "gathers the tiles; \"\": the first of tier edge, else cloud"},
                    {"poll", "time", "100ms", "how long a device that found nothing to steal waits"}}},
    make<DeepThings>);

}  // namespace
}  // namespace cdisim
