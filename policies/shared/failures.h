#pragma once

#include <optional>
#include <vector>

#include "sim/policy.h"

namespace cdisim {

/// The plan without what the failure of some hosts takes from it (see surviving()), its empty pieces removed.
/// Nothing where an exit that requests take is no longer computed. `works`: (n_hosts).
std::optional<Plan> plan_without(const LayerGraph& graph, const Plan& plan, const std::vector<bool>& works);

/// The hosts' states as a policy observed them, (n_hosts).
std::vector<bool> hosts_on(const Problem& problem, const Observation& observation);

/// What one request comes to on an otherwise idle platform whose hosts work by chance, without a second try.
///
///     availability = sum over W of p(W) [W gives a result],  p(W) = product of s_h (h in W) or 1 - s_h (not)
///     accuracy     = sum over W of p(W) a(W) [W gives a result] / availability, and so latency_s
///     bytes        = sum over W of p(W) bytes(W)
///
/// W being the hosts that work and s Problem::survival. A request without a result sends nothing.
struct Outlook {
  double availability = 1;
  std::optional<double> accuracy;  ///< of those with a result; none where one of these patterns has none
  double latency_s = 0;            ///< of those with a result, by estimate(); 0 without any
  double bytes = 0;                ///< between hosts, each transfer once
};

/// Exact, over all 2^n patterns of the n hosts of the plan that may fail.
/// Precondition: n <= kMostUnreliableHosts; the plan has no exit rates.
Outlook outlook(const Problem& problem, const Plan& plan);
inline constexpr int kMostUnreliableHosts = 16;
/// The hosts of the plan that work by chance, ascending.
std::vector<HostId> unreliable_hosts(const Problem& problem, const Plan& plan);

}  // namespace cdisim
