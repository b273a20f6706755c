#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/latency_model.h"
#include "sim/layer_graph.h"
#include "sim/platform.h"
#include "sim/region.h"

namespace cdisim {

/// How tensors go on the wire when no transform is applied: a property of the runtime (its serialisation),
/// not of the policy. Unset values follow from the graph: shape times precision.
struct WireFormat {
  std::optional<double> input_bytes = {};        ///< the model's input
  std::optional<double> bytes_per_element = {};  ///< of every other tensor
  std::optional<double> result_bytes = {};       ///< what returns to the source
  /// Layers that read the model's input from a sensor on this host, and can only be computed there: several
  /// cameras that feed one inference. Nothing travels to them.
  std::map<LayerId, HostId> sensors = {};
};

/// Bytes on the wire of a tensor, kInput among them, on its way to a layer, before any transform.
double tensor_bytes(const LayerGraph& graph, const WireFormat& wire, LayerId tensor);

/// What happens to a tensor between two hosts (compression): bytes on the wire = bytes * ratio.
struct Transform {
  double ratio = 1;        ///< (0, 1] for a compression, above 1 for an expansion
  double encode_flop = 0;  ///< on the sending host, before the transfer
  double decode_flop = 0;  ///< on the receiving host, after it

  bool operator==(const Transform&) const = default;
};

/// Layers that one host computes in one go, once all their inputs have arrived and their weights lie there.
/// Model partition: whole layers. Data partition: of layers in `parts` only a part of the output; then
/// several pieces compute such a layer, each a part of its own, and where parts overlap (fused tiles), each
/// computes the overlap.
struct Piece {
  std::vector<LayerId> layers;  ///< ascending
  HostId host = 0;
  Parts parts = {};  ///< of some of the layers; a layer that is not here is computed whole
  /// Of one of the host's cores, (0, 1], that is granted to this source: its pieces there take time / share
  /// and wait for no others; the same for all pieces of a plan on one host. None: the piece waits in the
  /// host's queue with everybody's.
  std::optional<double> share = {};
  /// Tensors (kInput: the model's input) that the piece passes on: it receives each whole from whoever
  /// computes it, which takes the host no time, and all others read it from here. A piece may do nothing
  /// else (no layers): a point where parts are gathered. Of a tensor in `parts` that the piece does not
  /// compute it passes on only that part, to those whose host does not compute it: halos that go by way of a
  /// host.
  std::vector<LayerId> relays = {};

  bool operator==(const Piece&) const = default;
};

/// Work stealing: pieces that nobody is to compute from the start. Once its inputs are there (or may be
/// fetched), such a piece joins the queue of its `host`, the owner, behind those that joined before it, then
/// by its number. A worker with an idle core takes the first piece of its own queue, else that of another
/// owner, these by turns; it fetches the inputs, computes, leaves at the store what others read, and seeks
/// again while the rest of what it gave is on its way.
struct Stealing {
  std::vector<int> pieces;      ///< ascending
  std::vector<HostId> workers;  ///< the owner computes none unless it is among them
  /// A worker that found nothing asks others again after this time (at first at date 0, before anything has
  /// arrived); 0: whenever there is something.
  double poll_s = 0;
  /// The host where these pieces leave what others of them read, and fetch it unless they computed it
  /// themselves; none: it stays with whoever computed it.
  std::optional<HostId> store = {};
  /// What some of these pieces compute instead, without what they read of the others, where not all of that
  /// is there when they are taken: at least all of their own parts. These pieces join the queue without
  /// waiting for the others.
  std::map<int, Parts> alone = {};

  bool operator==(const Stealing&) const = default;
};

/// Weights that go from the source to a host that lacks them.
struct Upload {
  std::vector<LayerId> layers;  ///< ascending
  HostId host = 0;

  bool operator==(const Upload&) const = default;
};

/// Ends of an edge that are not pieces.
inline constexpr int kSourceEnd = -1;  ///< the source host, where the input is and the result returns

/// A transform on the tensors that go from one piece (or the source) to another (or back to the source).
struct EdgeTransform {
  int from = kSourceEnd;
  int to = kSourceEnd;
  Transform transform;

  bool operator==(const EdgeTransform&) const = default;
};

/// The decision for one request: who computes what, and where inference stops. The edges between pieces and
/// their bytes follow from the graph. Nothing of a particular system lives here.
struct Plan {
  /// None: the plan's requests are turned away. Each is lost at once as if a failure had lost it, so that it
  /// may be tried again later.
  std::vector<Piece> pieces;
  int exit = 0;  ///< index into LayerGraph::exits()
  /// (exit + 1) share of the requests that stop at each exit, summing to 1, drawn for each request; empty:
  /// all at `exit`. An earlier exit of rate 0 is not in use, unless the plan computes it: then all requests
  /// pass it. What lies behind an exit in use waits, computing and sending alike, until the exit has let the
  /// request pass.
  std::vector<double> exit_rates;
  /// (exit + 1) top-1 accuracy of those that stop at each exit, where it depends on the rates; empty: the
  /// exits' own.
  std::vector<double> exit_accuracies;
  std::vector<EdgeTransform> transforms;
  std::optional<Stealing> stealing = {};
  /// Sent one after another, in this order, while requests run; what has already arrived, or is on its way,
  /// is left out. A piece whose layers lack weights waits; they are sent before what else is still to go.
  std::vector<Upload> uploads;
  /// The decision in the paper's own variables, for the report: {"partition_point": 13}.
  std::map<std::string, double> decision;
  /// What becomes of a request that this plan lost because a host or link failed: it starts again, at its
  /// source, under the first of these whose hosts are on. Fallbacks have none of their own.
  std::vector<Plan> fallbacks;

  bool operator==(const Plan&) const = default;
};

/// The layers that a plan computes for a request that stops at `exit`: those of this exit and of all earlier
/// ones in use, ascending.
std::vector<LayerId> plan_layers(const LayerGraph& graph, const Plan& plan, int exit);

/// The plan of a request that stops at `exit`: its pieces without the layers that this request does not need,
/// some of them empty.
Plan stopped_at(const LayerGraph& graph, const Plan& plan, int exit);

/// The plan without what the failure of some hosts takes from it: the pieces of those hosts, and the layers
/// that cannot run without them (see Absent). `works`: (n_hosts).
Plan surviving(const LayerGraph& graph, const Plan& plan, const std::vector<bool>& works);

/// The piece of fused tiles that gives `outputs` of some of `layers`: see fuse().
Piece fused_piece(const LayerGraph& graph, std::span<const LayerId> layers, const Parts& outputs,
                  HostId host);

/// Whether a piece is one of those that may be stolen.
bool is_stealable(const Plan& plan, int piece);

/// The plan in which the pieces that may compute alone do so, whoever takes them.
Plan alone_plan(const Plan& plan);

/// Whether each layer is computed, of one in parts all that the plan's pieces and exit read of it:
/// (n_layers).
std::vector<bool> computed_layers(const LayerGraph& graph, const Plan& plan);

/// A tensor, or several, on the way between two pieces of a plan.
struct PlanEdge {
  int from = kSourceEnd;
  int to = kSourceEnd;
  double bytes = 0;  ///< on the wire, where the two ends are on different hosts
  Transform transform;
  std::vector<int> after;  ///< pieces with exits that must have let the request pass before anything is sent
};

/// The edges of a plan: each tensor that crosses from one piece to another once per receiving piece, the
/// input from the source, the result back to it (unless nobody computes it). A whole layer reads its inputs
/// whole, a part what input_region() says. What is relayed comes from the relay, unless the piece computes it
/// itself. What a piece does not compute itself comes from pieces of the same
/// host where those have it, else from the one that stands first; bytes are in proportion to elements.
/// Ascending by (to, from), the result last, from each piece that computes some of it.
std::vector<PlanEdge> plan_edges(const LayerGraph& graph, const WireFormat& wire, const Plan& plan);

/// Bytes that a piece that may be stolen leaves at the store: all that it has of what others of these pieces
/// read beyond what they compute themselves, for each of them, for nobody knows yet who else will have it.
double deposit_bytes(const LayerGraph& graph, const WireFormat& wire, const Plan& plan, int piece);

/// Proves that a plan can run: the exit exists; its layers are computed exactly once, those in parts as far
/// as somebody reads them, and no others are (what only joins read that do without some of their inputs, and
/// have others, may be left out; a plan without pieces computes nothing); the pieces form a DAG; hosts have
/// routes where tensors must travel; weights and the largest input and output fit each host's memory;
/// sensors' layers are where the sensors are; each tensor is relayed once at most, or in parts; transforms
/// stand on edges that exist; uploads have a route; shares are within (0, 1]; whoever may take a piece can
/// fetch what it reads and send what it gives.
/// @throws InputError that names the policy (`who`) and what does not hold.
void check_plan(const LayerGraph& graph, const Platform& platform, HostId source, const WireFormat& wire,
                const Plan& plan, const std::string& who);

/// Bytes that a plan keeps on each host: weights and state of its pieces, each once, plus the largest input +
/// output of their layers; of layers in parts those of the parts. What takes its only input element by
/// element, and alone (activations, normalisation at inference), writes over it. Workers are ready for any
/// piece that they may take.
std::map<HostId, double> plan_memory_bytes(const LayerGraph& graph, const Plan& plan);
/// The weights among them.
std::map<HostId, double> plan_weight_bytes(const LayerGraph& graph, const Plan& plan);

}  // namespace cdisim
