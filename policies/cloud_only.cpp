// cloud_only: one host of tier cloud computes everything.
//
// Sends the input to one cloud host, which runs all layers of one exit and returns the result. Without `host`
// it is the reachable cloud host with the least estimated latency (route, bandwidths as last observed,
// computing), the first in the platform's order where several tie. The baseline "cloud only" of collaborative
// inference.
//
//     parameter | type    | default | meaning
//     ----------|---------|---------|---------------------------------------------------------------
//     host      | string  | ""      | host of tier cloud; empty: the fastest one
//     exit      | integer | 0       | exit at which inference stops, counted from 1; 0: the deepest
//
//     {"name": "cloud_only", "exit": 1}
//
// Source: a baseline, of no paper in particular.

#include "policies/shared/tier_only.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

class CloudOnly : public TierOnly {
 public:
  explicit CloudOnly(const Parameters& parameters) : TierOnly(Tier::kCloud, parameters) {}
};

const bool registered =
    register_policy({.name = "cloud_only",
                     .title = "everything on one cloud host",
                     .source = "baseline",
                     .about = "The input goes to one reachable host of tier cloud, which runs all "
                              "layers of one exit and returns the result.",
                     .parameters = tier_only_parameters()},
                    make<CloudOnly>);

}  // namespace
}  // namespace cdisim
