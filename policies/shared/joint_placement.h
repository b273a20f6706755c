#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "policies/shared/blocks.h"
#include "sim/policy.h"

namespace cdisim {

/// Requests for one model, a chain of units, of which each unit goes to one host. What the hosts do for all
/// of them together keeps budgets. Infinite seconds: it cannot be.
struct JointPlacement {
  /// Something of which every host has so much: memory, multiplications, energy.
  struct Budget {
    std::vector<double> need;  ///< (units, hosts) that a unit of one request takes, from 0
    std::vector<double> most;  ///< (hosts), infinite: any
    bool operator==(const Budget&) const = default;
  };

  std::size_t requests = 0, units = 0, hosts = 0;
  std::vector<double> compute_s;   ///< (units, hosts)
  std::vector<double> run_s;       ///< (hosts) where a unit reads from another host
  std::vector<double> bytes;       ///< (units) that each reads
  std::vector<double> delay_s;     ///< (hosts, hosts) of the routes
  std::vector<double> s_per_byte;  ///< (hosts, hosts), finite
  std::vector<double> input_s;     ///< (requests, hosts) until the first unit has its input
  std::vector<double> result_s;    ///< (requests, hosts) from the last unit back to the source
  std::vector<std::size_t> home;   ///< (requests) the host that asks
  std::vector<Budget> budgets;
  bool operator==(const JointPlacement&) const = default;

  /// Of a unit on a host, what it reads from another host not included.
  double place_s(std::size_t request, std::size_t unit, std::size_t host) const {
    return compute_s[unit * hosts + host] + (unit == 0 ? input_s[request * hosts + host] : 0) +
           (unit + 1 == units ? result_s[request * hosts + host] : 0);
  }
  /// That a unit on host `to` reads what the one before has computed on host `from`.
  double read_s(std::size_t unit, std::size_t from, std::size_t to) const {
    if (from == to) return 0;
    return delay_s[from * hosts + to] + bytes[unit] * s_per_byte[from * hosts + to] + run_s[to];
  }
};

struct Placed {
  std::vector<std::vector<std::size_t>> hosts;  ///< by request, (units); empty: turned away
  std::vector<double> latency_s;                ///< by request; 0: turned away
  bool programme = false;                       ///< best_placement() asked Cbc
  bool proven = true;                           ///< and nothing is better

  std::size_t turned_away() const;
  double sum_s() const;
};

/// As few requests as possible turned away, then the least sum of latencies; exact (budgets and sums to
/// 1e-6), unless Cbc's search tree has more than 1000 nodes: then the best that was found.
///
/// Lagrange multipliers of the budgets, by subgradients, leave a shortest path for each request, whose sums
/// are a lower bound; paths taken one after another within what is left of the budgets are an upper one.
/// Where the two meet, that is the optimum. Else what no solution between them can use is left out, and Cbc
/// looks for a better one: a_ubi = 1 where unit b of request u is on host i, flows y_ubik from host to host
/// with sum_k y_ubik = a_u(b-1)i and sum_i y_ubik = a_ubk.
///
/// The answer to the last question is kept: all sources of a run ask the same.
Placed best_placement(const JointPlacement& joint);

/// How placement_in_order() goes on where the host of the unit before has no room for the next one.
enum class NextHost {
  kFastest,   ///< least transfer and computing
  kNearest,   ///< the fastest link
  kRoomiest,  ///< the most of the first budget left
  /// Any, drawn for every unit, whether or not there is room where the one before is. Draws are the same
  /// whatever the seed, so that all sources' policies agree.
  kRandom
};

/// Request after request, unit after unit on the host of the one before (of the first: the source) while the
/// budgets last, else on the next host. A request for a unit of which no host is left is turned away, and
/// what it has taken is free again. The lowest index where several tie.
Placed placement_in_order(const JointPlacement& joint, NextHost next);

/// Limits for one request of every source; 0: any.
struct HostLimits {
  double macs = 0;
  double energy_j = 0;  ///< for computing, above the idle power
};

/// What several sources ask of hosts that they share.
struct SharedHosts {
  BlockTree chain;              ///< a unit is a block
  std::vector<HostId> sources;  ///< in the order of their requests
  std::vector<HostId> hosts;    ///< that at least one of them can use
  JointPlacement joint;
};

/// What the links give: (n_links), byte/s, at one date; of several dates transfer times are averaged. A link
/// that is out of range at one of them (kOutOfRange_bytes_per_s or less) is not used.
using LinkRates = std::vector<std::vector<double>>;

/// The problem of all sources: of every request each unit takes memory for its weights, beside which a host
/// keeps room for the largest input and output of a layer, multiplications, and energy, of which a host
/// spends no more than its battery holds.
/// @param host_on  (n_hosts); what is off neither asks nor computes
SharedHosts shared_hosts(const Problem& problem, int most_units, const HostLimits& limits,
                         const LinkRates& rates, std::span<const char> host_on);

/// Which request is that of problem.source.
std::size_t own_request(const Problem& problem, const SharedHosts& shared);

/// The part of problem.source. Its decision: units, hosts (that compute for this source), served (1: yes, 0:
/// turned away), turned_away (of all sources), predicted_latency_s (of this source) and objective_s (sum over
/// the sources that are served).
Plan plan_of(const Problem& problem, const SharedHosts& shared, const Placed& placed);

/// The rates as last observed, 0 for links that are off, and (n_hosts) which hosts are on: all, where nothing
/// was observed.
std::vector<double> observed_rates(const Problem& problem, const Observation& observation);
std::vector<char> observed_hosts(const Problem& problem, const Observation& observation);

/// The parameters "units", "macs_per_host" and "energy_per_host".
std::vector<ParameterFacts> shared_hosts_parameters(int most_units);
/// @throws InputError for a number below 0.
HostLimits host_limits(const Parameters& parameters);
/// @throws InputError for a number below 1.
int most_units(const Parameters& parameters);

}  // namespace cdisim
