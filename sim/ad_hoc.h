#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "sim/platform.h"

namespace cdisim {

/// Routes over several hops, as an ad-hoc network's routing protocol keeps them: every host forwards, and
/// each route of the platform may be one hop. Of all paths between two hosts the route is the one of least
/// expected transmission time, the sum over its links of
///
///     1 / bandwidth, s per byte
///
/// as last observed (ETT without losses: a packet's size takes no part in the comparison), of equal ones that
/// of fewest hops. Links and hosts that are off are taken only where there is no other path, as few of them
/// as may be: such a transfer fails. A transfer under way keeps its route.
///
/// Source: Draves, Padhye, Zill, "Routing in Multi-Radio, Multi-Hop Wireless Mesh Networks", MobiCom 2004
/// (ETT).
class AdHocRoutes {
 public:
  /// All must outlive it. @param bandwidth  (n_links) byte/s
  /// @param link_on, host_on  (n_links), (n_hosts) 0: off
  AdHocRoutes(const Platform& platform, std::span<const double> bandwidth, std::span<const char> link_on,
              std::span<const char> host_on);

  /// The route as links and hosts are now, or nullptr where no path exists at all. It stays valid.
  const Route* route(HostId from, HostId to);
  /// What it was given has changed.
  void forget() { ++version_; }

 private:
  struct Hop {
    HostId to;
    const Route* route;
  };
  /// Where the paths from one host come from.
  struct Tree {
    std::uint64_t version = 0;
    std::vector<HostId> before;          ///< (n_hosts) the host before on the path; -1: none
    std::vector<const Route*> last_hop;  ///< (n_hosts)
    std::vector<const Route*> routes;    ///< (n_hosts) those that were asked for
  };
  void grow(HostId from, Tree& tree) const;
  const Route* join(HostId from, HostId to, const Tree& tree);

  const Platform& platform_;
  std::span<const double> bandwidth_;
  std::span<const char> link_on_, host_on_;
  std::vector<std::vector<Hop>> hops_;  ///< (n_hosts) by receiver, ascending
  std::vector<Tree> trees_;             ///< (n_hosts)
  std::uint64_t version_ = 1;
  std::map<std::vector<HostId>, Route> joined_;  ///< by path; transfers under way point to them
};

}  // namespace cdisim
