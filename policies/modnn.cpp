// modnn: every layer in strips on several devices, which a group owner hands out and gathers layer by layer.
//
// Map: the group owner sends each worker the part of a layer's input that its part of the output reads, halo
// included. Reduce: all parts return to the owner, which holds the whole output before the next layer begins.
// A layer is a convolution, a pool or a fully connected layer, with what works on its output in place (relu,
// batch_norm, lrn).
// With t_w the time that worker w takes for all layers that are distributed, it gets of each
//
//     share_w = (1 / t_w) / sum over the workers of 1 / t
//
//     images                strips across the longer edge (rows of a square image): biased
//                           one-dimensional partition, BODP; of the baseline the cells of a grid, as square
//                           as the number of workers allows, rows and columns by the same shares
//     fully connected layer output neurons with their weights: a weight partition
//
// What cannot be divided, and all after `layers` layers, is computed by the owner. The paper's clustering of
// sparse weight matrices (MSCC, FGCP) needs the weights; here they are dense. Besides map-reduce, two ways of
// moving less, as numbers of re-implementations want them: "halo" leaves the parts where they are, and a
// worker reads only what it lacks, from its neighbours; "halo_by_owner" the same by way of the owner, as
// DeepThings' baseline. Both give a fully connected layer all of its input. Decides once.
//
//     parameter   | type    | default      | meaning
//     ------------|---------|--------------|--------------------------------------------------------------
//     workers     | integer | 0            | that compute: the owner, the source, then others; 0: all
//     owner       | string  | ""           | the group owner's host; "": the source
//     owner_works | string  | "yes"        | "yes" or "no": whether it is one of the workers
//     layers      | integer | 0            | how many of the layers that divide, from the first; 0: all
//     partition   | string  | "strips"     | "strips" or "grid", of images
//     shares      | string  | "speed"      | "speed" or "equal"
//     exchange    | string  | "map_reduce" | "map_reduce", "halo" or "halo_by_owner"
//     exit        | integer | 0            | exit that answers, from 1; 0: the deepest
//
//     {"name": "modnn", "workers": 4}
//
// Plan's decision: workers, layers (that are divided), moved_bytes (between hosts, for one request).
//
// Source: J. Mao, X. Chen, K. W. Nixon, C. Krieger, Y. Chen, "MoDNN: Local Distributed Mobile Computing
// System for Deep Neural Network", DATE 2017, doi 10.23919/DATE.2017.7927211; the baseline: Z. Zhao, K.
// Mirzazad Barijough, A. Gerstlauer, "DeepThings", IEEE TCAD 37(11), 2018, section V.

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "sim/error.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

// Layers that are computed together, of one shape if they divide.
struct Unit {
  std::vector<LayerId> layers;          // ascending
  std::optional<std::size_t> features;  // weight partition: the dimension of the output neurons
  bool image = false;                   // may be cut into strips
  bool divides() const { return image || features; }
};

// A layer that works in place goes with the one before it where it is the only reader.
std::vector<Unit> units_of(const Problem& problem, int exit) {
  const LayerGraph& graph = problem.graph;
  std::vector<Unit> units;
  std::vector<std::size_t> unit_of(static_cast<std::size_t>(graph.size()), 0);
  for (const LayerId id : graph.exit_layers(exit)) {
    const Layer& layer = graph.layer(id);
    const LayerId input = layer.inputs.front();
    std::size_t& unit = unit_of[static_cast<std::size_t>(id)];
    const bool in_place = is_elementwise(layer) || layer.kind == LayerKind::kLrn;
    if (in_place && input != kInput && graph.consumers(input).size() == 1 &&
        graph.layer(input).output_shape == layer.output_shape) {
      unit = unit_of[static_cast<std::size_t>(input)];
    } else {
      unit = units.size();
      Unit& next = units.emplace_back();
      const Shape& shape = layer.output_shape;
      if (problem.wire.sensors.contains(id)) continue;
      if (layer.kind == LayerKind::kFc) next.features = weight_dimension(graph, id);
      next.image = has_windows(layer.kind) && std::max(shape[1], shape[2]) > 1;
    }
  }
  for (const LayerId id : graph.exit_layers(exit))
    units[unit_of[static_cast<std::size_t>(id)]].layers.push_back(id);
  return units;
}

class Modnn : public Policy {
 public:
  explicit Modnn(const Parameters& parameters)
      : parameters_(parameters),
        workers_(parameters.integer("workers")),
        layers_(parameters.integer("layers")),
        owner_works_(parameters.string("owner_works") == "yes"),
        grid_(parameters.string("partition") == "grid"),
        equal_(parameters.string("shares") == "equal"),
        exchange_(parameters.string("exchange")) {
    if (workers_ < 0) parameters.fail("workers", "valid: 0 (all), 1, 2, ...");
    if (layers_ < 0) parameters.fail("layers", "valid: 0 (all), 1, 2, ...");
  }

  Plan plan(const Problem& problem) override {
    const LayerGraph& graph = problem.graph;
    const int exit = chosen_exit(problem, parameters_);
    const HostId owner = parameters_.string("owner").empty()
                             ? problem.source
                             : named_host(problem, parameters_, "owner", problem.reachable());
    const std::vector<HostId> workers = workers_around(problem, owner);
    std::vector<Unit> units = units_of(problem, exit);
    const int divided = keep_leading(units);
    const std::vector<double> shares = shares_of(problem, units, workers);

    Plan plan;
    plan.exit = exit;
    const auto relay = [&](LayerId tensor) {
      plan.pieces.push_back({{}, owner});
      plan.pieces.back().relays = {tensor};
    };
    const auto reads_input = [&](const Unit& unit) {
      const LayerId first = unit.layers.front();
      return std::ranges::count(graph.layer(first).inputs, kInput) > 0 &&
             !problem.wire.sensors.contains(first);
    };
    if (owner != problem.source && std::ranges::any_of(units, reads_input)) relay(kInput);
    std::map<LayerId, std::vector<Region>> halos;  // go by way of the owner; the parts by worker
    for (const Unit& unit : units) {
      if (!unit.divides() || workers.size() == 1) {
        const auto sensor = problem.wire.sensors.find(unit.layers.front());
        if (sensor != problem.wire.sensors.end()) {
          add_whole(plan, unit, sensor->second);
          if (exchange_ != "halo") relay(unit.layers.back());
        } else {
          add_whole(plan, unit, unit.divides() ? workers.front() : owner);
        }
        continue;
      }
      const std::vector<Region> parts = parts_of(graph, unit, shares);
      const LayerId first = unit.layers.front(), input = graph.layer(first).inputs.front();
      const auto computed = halos.find(input);
      for (std::size_t w = 0; w < workers.size() && computed != halos.end(); ++w) {
        const Region reads = input_region(graph, first, parts[w], 0);
        for (const Region& lacks : subtract(reads, computed->second[w])) {
          relay(input);
          plan.pieces.back().parts[input] = lacks;
        }
      }
      for (std::size_t w = 0; w < workers.size(); ++w) {
        if (empty(parts[w])) continue;
        plan.pieces.push_back({unit.layers, workers[w]});
        for (const LayerId id : unit.layers) plan.pieces.back().parts[id] = parts[w];
      }
      const LayerId output = unit.layers.back();
      const bool whole_wanted = std::ranges::any_of(graph.consumers(output), [&](LayerId reader) {
        return graph.layer(reader).kind == LayerKind::kFc;
      });
      if (exchange_ == "map_reduce" || (exchange_ == "halo_by_owner" && whole_wanted)) {
        relay(output);
      } else if (exchange_ == "halo_by_owner") {
        halos[output] = parts;
      }
    }
    // The result comes from the owner.
    if (owner != problem.source && units.back().divides() && plan.pieces.back().relays.empty())
      relay(units.back().layers.back());

    plan.decision = {{"workers", static_cast<double>(workers.size())},
                     {"layers", divided},
                     {"moved_bytes", bytes_between_hosts(problem, plan)}};
    return plan;
  }

 private:
  std::vector<HostId> workers_around(const Problem& problem, HostId owner) const {
    std::vector<HostId> out, others = problem.reachable(Tier::kDevice);
    if (owner_works_) out.push_back(owner);
    std::ranges::stable_partition(others, [&](HostId host) { return host == problem.source; });
    for (const HostId host : others) {
      if (host == owner || !linked(problem, host, owner)) continue;
      const bool near = std::ranges::all_of(out, [&](HostId other) { return linked(problem, host, other); });
      if (near || exchange_ != "halo") out.push_back(host);
    }
    if (out.empty() || static_cast<int>(out.size()) < workers_) {
      throw InputError(problem.platform.file(),
                       fmt::format("modnn: {} devices can work for the group owner \"{}\", not {}",
                                   out.size(), problem.platform.host(owner).name, std::max(workers_, 1)));
    }
    if (workers_ > 0) out.resize(static_cast<std::size_t>(workers_));
    return out;
  }

  // Only the first `layers` of those that divide do so. @returns how many.
  int keep_leading(std::vector<Unit>& units) const {
    int divided = 0;
    for (Unit& unit : units) {
      if (!unit.divides()) continue;
      if (layers_ > 0 && divided == layers_) {
        unit.image = false;
        unit.features = std::nullopt;
      } else {
        ++divided;
      }
    }
    return divided;
  }

  std::vector<double> shares_of(const Problem& problem, const std::vector<Unit>& units,
                                const std::vector<HostId>& workers) const {
    std::vector<double> shares(workers.size(), 1);
    if (equal_) return shares;
    std::vector<LayerId> layers;
    for (const Unit& unit : units) {
      if (unit.divides()) layers.insert(layers.end(), unit.layers.begin(), unit.layers.end());
    }
    std::ranges::sort(layers);
    for (std::size_t w = 0; w < workers.size(); ++w) {
      const double time_s = problem.compute_s(layers, workers[w]) * problem.slowdown(workers[w]);
      if (time_s > 0) shares[w] = 1 / time_s;
    }
    return shares;
  }

  // One for each worker, some of them empty.
  std::vector<Region> parts_of(const LayerGraph& graph, const Unit& unit,
                               const std::vector<double>& shares) const {
    const Shape& shape = graph.layer(unit.layers.front()).output_shape;
    std::vector<Region> out;
    if (!grid_ || unit.features) {
      const std::size_t dimension = unit.features.value_or(shape.size() == 3 && shape[2] > shape[1] ? 2 : 1);
      for (const Range range : split(shape[dimension], shares)) out.push_back(slab(shape, dimension, range));
      return out;
    }
    std::size_t rows = 1;
    for (std::size_t r = 2; r * r <= shares.size(); ++r) rows = shares.size() % r == 0 ? r : rows;
    const std::size_t columns = shares.size() / rows;
    std::vector<double> row_shares(rows, 0);
    for (std::size_t w = 0; w < shares.size(); ++w) row_shares[w / columns] += shares[w];
    const std::vector<Range> heights = split(shape[1], row_shares);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::span<const double> row{shares.data() + r * columns, columns};
      for (const Range width : split(shape[2], row)) {
        out.push_back(slab(shape, 1, heights[r]));
        out.back()[2] = width;
      }
    }
    return out;
  }

  static void add_whole(Plan& plan, const Unit& unit, HostId host) {
    const bool joins = !plan.pieces.empty() && plan.pieces.back().host == host &&
                       plan.pieces.back().parts.empty() && plan.pieces.back().relays.empty();
    if (!joins) plan.pieces.push_back({{}, host});
    std::vector<LayerId>& layers = plan.pieces.back().layers;
    layers.insert(layers.end(), unit.layers.begin(), unit.layers.end());
    std::ranges::sort(layers);
  }

  Parameters parameters_;
  int workers_, layers_;
  bool owner_works_, grid_, equal_;
  std::string exchange_;
};

const bool registered = register_policy(
    {.name = "modnn",
     .title = "layers in strips by device speed, gathered after each",
     .source = "Mao et al., DATE 2017",
     .about =
         "Cuts every convolution and pool into strips, and every fully connected layer into output "
         "neurons, in proportion to the speeds of the workers. A group owner hands out what each needs of a "
         "layer's input and gathers all of its output before the next layer.",
     .parameters = {{.name = "workers",
                     .type = "integer",
                     .standard = 0,
                     .about = "that compute: the owner, the source, then others of tier device; 0: all"},
                    {.name = "owner",
                     .type = "string",
                     .standard = "",
                     .about = "the group owner's host; \"\": the source"},
                    {.name = "owner_works",
                     .type = "string",
                     .standard = "yes",
                     .about = "whether the owner is one of the workers",
                     .choices = {"yes", "no"}},
                    {.name = "layers",
                     .type = "integer",
                     .standard = 0,
                     .about = "how many of the layers that divide, from the first; 0: all"},
                    {.name = "partition",
                     .type = "string",
                     .standard = "strips",
                     .about = "of images",
                     .choices = {"strips", "grid"}},
                    {.name = "shares",
                     .type = "string",
                     .standard = "speed",
                     .about = "of the workers",
                     .choices = {"speed", "equal"}},
                    {.name = "exchange",
                     .type = "string",
                     .standard = "map_reduce",
                     .about = "how outputs become inputs",
                     .choices = {"map_reduce", "halo", "halo_by_owner"}},
                    exit_parameter()}},
    make<Modnn>);

}  // namespace
}  // namespace cdisim
