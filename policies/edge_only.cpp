// edge_only: one host of tier edge computes everything.
//
// Sends the input to one edge host, which runs all layers of one exit and returns the result. Without `host`
// it is the reachable edge host with the least estimated latency (route, bandwidths as last observed,
// computing), the first in the platform's order where several tie. The baseline "on edge" of collaborative
// inference.
//
//     parameter | type    | default | meaning
//     ----------|---------|---------|---------------------------------------------------------------
//     host      | string  | ""      | host of tier edge; empty: the fastest one
//     exit      | integer | 0       | exit at which inference stops, counted from 1; 0: the deepest
//
//     {"name": "edge_only", "exit": 1}
//
// Source: a baseline, of no paper in particular.

#include "policies/shared/tier_only.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

class EdgeOnly : public TierOnly {
 public:
  explicit EdgeOnly(const Parameters& parameters) : TierOnly(Tier::kEdge, parameters) {}
};

const bool registered =
    register_policy({.name = "edge_only",
                     .title = "everything on one edge host",
                     .source = "baseline",
                     .about = "The input goes to one reachable host of tier edge, which runs all "
                              "layers of one exit and returns the result.",
                     .parameters = tier_only_parameters()},
                    make<EdgeOnly>);

}  // namespace
}  // namespace cdisim
