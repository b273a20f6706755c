#include "policies/shared/min_cut.h"

#include <algorithm>
#include <boost/graph/boykov_kolmogorov_max_flow.hpp>
#include <boost/graph/compressed_sparse_row_graph.hpp>
#include <boost/range/iterator_range.hpp>
#include <cassert>
#include <limits>
#include <numeric>

namespace cdisim {

namespace {

using FlowGraph = boost::compressed_sparse_row_graph<boost::directedS>;
using Edge = FlowGraph::edge_descriptor;

constexpr double kInfinite = std::numeric_limits<double>::infinity();

constexpr std::size_t kSource = 0, kSink = 1;
constexpr std::size_t kFirstUsed = 2, kSecondUsed = 3;  // on their side as soon as one layer is
constexpr std::size_t kLayers = 4;                      // vertices of layers from here on

// The arcs of a network, each followed by its reverse.
struct Arcs {
  std::vector<std::pair<std::size_t, std::size_t>> ends;
  std::vector<double> capacity;

  std::size_t connect(std::size_t from, std::size_t to, double there, double back) {
    ends.insert(ends.end(), {{from, to}, {to, from}});
    capacity.insert(capacity.end(), {there, back});
    return ends.size() - 2;
  }
};

}  // namespace

struct MinCut::Network {
  const LayerGraph& graph;
  std::vector<LayerId> layers;
  FlowGraph flow;
  // By edge of the flow graph.
  std::vector<double> capacity, bounded, residual;  // bounded: more than all that is finite for infinite
  std::vector<Edge> reverse;
  // By vertex.
  std::vector<Edge> predecessor;
  std::vector<boost::default_color_type> color;
  std::vector<long> distance;
  // Edges whose capacities are costs.
  std::vector<std::size_t> to_first, to_second;  // (n_layers), cut when the layer is there
  std::size_t first_used = 0, second_used = 0;
  // A tensor that some of the layers read; one from outside is made on the first side.
  struct Tensor {
    LayerId maker = kInput;
    std::size_t edge = 0;
  };
  std::vector<Tensor> tensors;

  Network(const LayerGraph& g, std::span<const LayerId> ids) : graph(g), layers(ids.begin(), ids.end()) {
    std::vector<std::size_t> vertex_of(static_cast<std::size_t>(graph.size()) + 1, kSource);  // by id + 1
    std::size_t vertices = kLayers;
    for (const LayerId id : layers) vertex_of[static_cast<std::size_t>(id + 1)] = vertices++;

    std::vector<LayerId> makers = layers;  // and whatever else these layers read
    std::vector<char> outside(vertex_of.size(), 0);
    for (const LayerId id : layers) {
      for (const LayerId input : graph.layer(id).inputs) {
        const auto i = static_cast<std::size_t>(input + 1);
        if (vertex_of[i] != kSource || outside[i] != 0) continue;
        outside[i] = 1;
        makers.push_back(input);
      }
    }
    std::ranges::sort(makers);

    Arcs arcs;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::size_t v = kLayers + i;
      to_second.push_back(arcs.connect(kSource, v, 0, 0));
      to_first.push_back(arcs.connect(v, kSink, 0, 0));
      arcs.connect(v, kFirstUsed, kInfinite, 0);
      arcs.connect(kSecondUsed, v, kInfinite, 0);
    }
    first_used = arcs.connect(kFirstUsed, kSink, 0, 0);
    second_used = arcs.connect(kSource, kSecondUsed, 0, 0);
    for (const LayerId maker : makers) {
      std::vector<std::size_t> readers;
      for (const LayerId reader : graph.consumers(maker)) {
        const std::size_t v = vertex_of[static_cast<std::size_t>(reader + 1)];
        if (v != kSource) readers.push_back(v);
      }
      if (readers.empty()) continue;
      const std::size_t from = vertex_of[static_cast<std::size_t>(maker + 1)];
      const double back = from == kSource ? 0 : kInfinite;
      if (readers.size() == 1) {
        tensors.push_back({maker, arcs.connect(from, readers[0], 0, back)});
        continue;
      }
      const std::size_t tensor = vertices++;
      tensors.push_back({maker, arcs.connect(from, tensor, 0, 0)});
      for (const std::size_t reader : readers) {
        arcs.connect(tensor, reader, kInfinite, 0);
        if (back > 0) arcs.connect(reader, from, back, 0);
      }
    }
    build(arcs, vertices);
  }

  // The flow graph keeps its edges by their tails, those of one tail in the order of the arcs.
  void build(const Arcs& arcs, std::size_t vertices) {
    const std::size_t n = arcs.ends.size();
    std::vector<std::size_t> next(vertices + 1, 0), order(n), place(n);
    for (const auto& [tail, head] : arcs.ends) ++next[tail + 1];
    std::partial_sum(next.begin(), next.end(), next.begin());
    for (std::size_t arc = 0; arc < n; ++arc) {
      place[arc] = next[arcs.ends[arc].first]++;
      order[place[arc]] = arc;
    }
    std::vector<std::pair<std::size_t, std::size_t>> sorted;
    sorted.reserve(n);
    for (const std::size_t arc : order) sorted.push_back(arcs.ends[arc]);
    flow = FlowGraph(boost::edges_are_sorted, sorted.begin(), sorted.end(), vertices, n);
    capacity.reserve(n);
    reverse.reserve(n);
    for (const std::size_t arc : order) {
      const std::size_t opposite = arc ^ 1;
      capacity.push_back(arcs.capacity[arc]);
      reverse.emplace_back(arcs.ends[opposite].first, place[opposite]);
    }
    bounded.resize(n);
    residual.resize(n);
    predecessor.resize(vertices);
    color.resize(vertices);
    distance.resize(vertices);
    for (std::vector<std::size_t>* edges : {&to_first, &to_second}) {
      for (std::size_t& edge : *edges) edge = place[edge];
    }
    first_used = place[first_used];
    second_used = place[second_used];
    for (Tensor& tensor : tensors) tensor.edge = place[tensor.edge];
  }

  // Leaves what the maximum flow does not use in `residual`.
  void saturate() {
    const double all = std::accumulate(capacity.begin(), capacity.end(), 1.0,
                                       [](double sum, double c) { return c < kInfinite ? sum + c : sum; });
    std::ranges::transform(capacity, bounded.begin(), [&](double c) { return std::min(c, 2 * all); });
    const auto of_edge = [&](auto& values) {
      return boost::make_iterator_property_map(values.begin(), get(boost::edge_index, flow));
    };
    const auto of_vertex = [&](auto& values) {
      return boost::make_iterator_property_map(values.begin(), get(boost::vertex_index, flow));
    };
    boykov_kolmogorov_max_flow(flow, of_edge(bounded), of_edge(residual), of_edge(reverse),
                               of_vertex(predecessor), of_vertex(color), of_vertex(distance),
                               get(boost::vertex_index, flow), kSource, kSink);
  }

  // What the source still reaches, by vertex: the smallest first side.
  std::vector<char> reached() const {
    std::vector<char> out(num_vertices(flow), 0);
    std::vector<std::size_t> open{kSource};
    out[kSource] = 1;
    while (!open.empty()) {
      const std::size_t v = open.back();
      open.pop_back();
      for (const Edge e : boost::make_iterator_range(out_edges(v, flow))) {
        const double rounding = capacity[e.idx] < kInfinite ? 1e-12 * capacity[e.idx] : 0;
        const std::size_t to = target(e, flow);
        if (residual[e.idx] <= rounding || out[to] != 0) continue;
        out[to] = 1;
        open.push_back(to);
      }
    }
    return out;
  }
};

MinCut::MinCut(const LayerGraph& graph, std::span<const LayerId> layers)
    : network_(std::make_unique<Network>(graph, layers)) {}

MinCut::MinCut(MinCut&&) noexcept = default;
MinCut& MinCut::operator=(MinCut&&) noexcept = default;
MinCut::~MinCut() = default;

Cut MinCut::least(const CutCosts& costs) {
  Network& n = *network_;
  assert(costs.first.size() == static_cast<std::size_t>(n.graph.size()));
  for (std::size_t i = 0; i < n.layers.size(); ++i) {
    const auto id = static_cast<std::size_t>(n.layers[i]);
    n.capacity[n.to_first[i]] = costs.first[id];
    n.capacity[n.to_second[i]] = costs.second[id];
  }
  n.capacity[n.first_used] = costs.first_used;
  n.capacity[n.second_used] = costs.second_used;
  for (const Network::Tensor& tensor : n.tensors) {
    n.capacity[tensor.edge] = tensor.maker == kInput ? costs.input_crossing
                                                     : costs.crossing[static_cast<std::size_t>(tensor.maker)];
  }
  n.saturate();
  const std::vector<char> reached = n.reached();

  Cut cut;
  std::vector<char> on_second(static_cast<std::size_t>(n.graph.size()) + 1, 0);  // by id + 1
  for (std::size_t i = 0; i < n.layers.size(); ++i) {
    const bool second = reached[kLayers + i] == 0;
    (second ? cut.second : cut.first).push_back(n.layers[i]);
    on_second[static_cast<std::size_t>(n.layers[i] + 1)] = second;
  }
  for (const Network::Tensor& tensor : n.tensors) {
    const bool crosses = on_second[static_cast<std::size_t>(tensor.maker + 1)] == 0 &&
                         std::ranges::any_of(n.graph.consumers(tensor.maker), [&](LayerId reader) {
                           return on_second[static_cast<std::size_t>(reader + 1)] != 0;
                         });
    if (crosses) cut.crossing.push_back(tensor.maker);
  }
  return cut;
}

double MinCut::cost(const CutCosts& costs, const Cut& cut) {
  double sum = (cut.first.empty() ? 0 : costs.first_used) + (cut.second.empty() ? 0 : costs.second_used);
  for (const LayerId id : cut.first) sum += costs.first[static_cast<std::size_t>(id)];
  for (const LayerId id : cut.second) sum += costs.second[static_cast<std::size_t>(id)];
  for (const LayerId id : cut.crossing) {
    sum += id == kInput ? costs.input_crossing : costs.crossing[static_cast<std::size_t>(id)];
  }
  return sum;
}

}  // namespace cdisim
