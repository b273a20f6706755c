#pragma once

#include "sim/policy.h"

namespace cdisim {

/// edge_only and cloud_only: all layers of an exit on one host of a tier.
class TierOnly : public Policy {
 public:
  TierOnly(Tier tier, const Parameters& parameters) : tier_(tier), parameters_(parameters) {}
  Plan plan(const Problem& problem) override;

 private:
  Tier tier_;
  Parameters parameters_;
};

/// `host` and `exit`.
std::vector<ParameterFacts> tier_only_parameters();

}  // namespace cdisim
