#pragma once

#include <optional>
#include <vector>

#include "policies/shared/sections.h"
#include "sim/policy.h"

namespace cdisim {

/// deepfogguard and resilinet: a static partition that does without the hosts that are off.
class Guarded : public Policy {
 public:
  Plan plan(const Problem& problem) override;
  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override;

 protected:
  /// The plan while all hosts are on; its decision may hold what the policy decided.
  virtual Plan design(const Problem& problem) = 0;

 private:
  std::optional<Plan> whole_;
  std::vector<bool> planned_for_;  // (n_hosts) that were on
};

}  // namespace cdisim
