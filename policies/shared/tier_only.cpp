#include "policies/shared/tier_only.h"

#include "policies/shared/hosts.h"

namespace cdisim {

Plan TierOnly::plan(const Problem& problem) {
  const int exit = chosen_exit(problem, parameters_);
  const std::vector<HostId> hosts = hosts_of_tiers(problem, {tier_});
  const HostId host = parameters_.string("host").empty() ? fastest_host(problem, exit, hosts)
                                                         : named_host(problem, parameters_, "host", hosts);
  return whole_plan(problem, exit, host);
}

std::vector<ParameterFacts> tier_only_parameters() {
  return {{.name = "host",
           .type = "string",
           .standard = "",
           .about = "host of the tier; empty: the one with the least estimated latency"},
          exit_parameter()};
}

}  // namespace cdisim
