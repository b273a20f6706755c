#pragma once

#include <compare>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "sim/layer_graph.h"

namespace cdisim {

/// Indices begin .. end - 1 of one dimension.
struct Range {
  int begin = 0;
  int end = 0;
  int size() const { return end - begin; }
  friend auto operator<=>(const Range&, const Range&) = default;
};

/// A box of a tensor: one range per dimension of its shape, [channels, rows, columns] of an image.
using Region = std::vector<Range>;

/// The layers of a piece that compute only a part of their output.
using Parts = std::map<LayerId, Region>;

// ---- algebra: both regions are of one tensor ----

Region whole(const Shape& shape);
bool empty(const Region& region);
double elements(const Region& region);
bool contains(const Region& outer, const Region& inner);
bool overlap(const Region& a, const Region& b);
Region intersect(const Region& a, const Region& b);  ///< may be empty
Region hull(const Region& a, const Region& b);  ///< the smallest box around both; of an empty one, the other
/// What is in `a` and not in `b`, as boxes that do not overlap.
std::vector<Region> subtract(const Region& a, const Region& b);
/// The same for each of `boxes`.
std::vector<Region> subtract(const std::vector<Region>& boxes, const Region& b);
/// Whether every element of `region` is in one of `boxes`.
bool covers(std::span<const Region> boxes, const Region& region);

// ---- cutting ----

/// Consecutive ranges of 0 .. extent in proportion to `shares`, each end rounded to the nearest index,
/// half an index up; a small share may get none. @pre shares are not negative, their sum is positive.
std::vector<Range> split(int extent, std::span<const double> shares);
/// All of a tensor but for one dimension.
Region slab(const Shape& shape, std::size_t dimension, Range range);
/// Up to n slabs of rows that are equal but for one row: the second dimension of an image, else the first.
std::vector<Region> split_rows(const Shape& shape, int n);

// ---- what parts of layers need ----

/// What a layer must read of its `input`-th input to compute `output` of its output: the smallest box around
/// it, within the tensor (padding is not read). Where the graph does not say what a layer reads
/// (data_movement, softmax, reductions that drop dimensions, recurrent layers) it is all of it. Empty where
/// `output` is, and where nothing is read.
Region input_region(const LayerGraph& graph, LayerId layer, const Region& output, std::size_t input);

/// What a part of a layer takes. Work follows the share of the outputs; that of layers which compute over all
/// that they read (reduce, softmax, layer_norm, recurrent layers), the share of the inputs. Weights follow
/// the share of the output channels or features that own them.
LayerCosts part_costs(const LayerGraph& graph, LayerId layer, const Region& output);

/// The dimension of a layer's output along which its weights and state divide; none where each part needs
/// all of them.
std::optional<std::size_t> weight_dimension(const LayerGraph& graph, LayerId layer);

/// Fused tiles: the parts of `layers` that one piece must compute to give `outputs`, the parts of some of
/// them that are wanted outside, when it receives nothing from within. Overlaps between tiles (halos) are
/// computed by each. The layers that such a piece has are those of the result: the others are not needed.
/// @pre layers are ascending.
Parts fuse(const LayerGraph& graph, std::span<const LayerId> layers, const Parts& outputs);

}  // namespace cdisim
