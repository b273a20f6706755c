// device_only: the source computes everything itself.
//
// Decides nothing: all layers of one exit run on the host where requests arrive, and nothing is sent. The
// baseline "on device" of collaborative inference.
//
//     parameter | type    | default | meaning
//     ----------|---------|---------|---------------------------------------------------------------
//     exit      | integer | 0       | exit at which inference stops, counted from 1; 0: the deepest
//
//     {"name": "device_only", "exit": 1}
//
// Source: a baseline, of no paper in particular.

#include "policies/shared/hosts.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

class DeviceOnly : public Policy {
 public:
  explicit DeviceOnly(const Parameters& parameters) : parameters_(parameters) {}

  Plan plan(const Problem& problem) override {
    return whole_plan(problem.graph, chosen_exit(problem, parameters_), problem.source);
  }

 private:
  Parameters parameters_;
};

const bool registered =
    register_policy({.name = "device_only",
                     .title = "everything on the source",
                     .source = "baseline",
                     .about = "All layers of one exit run on the host where requests arrive; "
                              "nothing is sent.",
                     .parameters = {exit_parameter()}},
                    make<DeviceOnly>);

}  // namespace
}  // namespace cdisim
