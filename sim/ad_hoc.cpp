#include "sim/ad_hoc.h"

#include <algorithm>
#include <compare>
#include <functional>
#include <queue>
#include <utility>

namespace cdisim {

namespace {

std::size_t at(int id) {
  return static_cast<std::size_t>(id);
}

struct Cost {
  int broken = 0;  // links and hosts that are off
  double s_per_byte = 0;
  int hops = 0;
  auto operator<=>(const Cost&) const = default;
};

}  // namespace

AdHocRoutes::AdHocRoutes(const Platform& platform, std::span<const double> bandwidth,
                         std::span<const char> link_on, std::span<const char> host_on)
    : platform_(platform),
      bandwidth_(bandwidth),
      link_on_(link_on),
      host_on_(host_on),
      hops_(host_on.size()),
      trees_(host_on.size()) {
  for (HostId from = 0; from < platform.host_count(); ++from) {
    for (HostId to = 0; to < platform.host_count(); ++to) {
      const Route* route = platform.route(from, to);
      if (from != to && route != nullptr) hops_[at(from)].push_back({to, route});
    }
  }
}

const Route* AdHocRoutes::route(HostId from, HostId to) {
  if (from == to) return platform_.route(from, to);
  Tree& tree = trees_[at(from)];
  if (tree.version != version_) grow(from, tree);
  if (tree.before[at(to)] < 0) return nullptr;
  const Route*& route = tree.routes[at(to)];
  if (route == nullptr) route = join(from, to, tree);
  return route;
}

// Dijkstra.
void AdHocRoutes::grow(HostId from, Tree& tree) const {
  tree.version = version_;
  tree.before.assign(hops_.size(), -1);
  tree.last_hop.assign(hops_.size(), nullptr);
  tree.routes.assign(hops_.size(), nullptr);
  std::vector<Cost> costs(hops_.size());
  std::vector<bool> done(hops_.size(), false);
  using Reached = std::pair<Cost, HostId>;
  std::priority_queue<Reached, std::vector<Reached>, std::greater<>> open;
  open.emplace(Cost{}, from);
  while (!open.empty()) {
    const auto [cost, here] = open.top();
    open.pop();
    if (done[at(here)]) continue;
    done[at(here)] = true;
    for (const Hop& hop : hops_[at(here)]) {
      if (done[at(hop.to)]) continue;
      Cost there = cost;
      ++there.hops;
      if (host_on_[at(hop.to)] == 0) ++there.broken;
      for (const LinkId link : hop.route->links) {
        if (link_on_[at(link)] == 0) ++there.broken;
        there.s_per_byte += 1 / bandwidth_[at(link)];
      }
      if (tree.before[at(hop.to)] >= 0 && costs[at(hop.to)] <= there) continue;
      costs[at(hop.to)] = there;
      tree.before[at(hop.to)] = here;
      tree.last_hop[at(hop.to)] = hop.route;
      open.emplace(there, hop.to);
    }
  }
}

const Route* AdHocRoutes::join(HostId from, HostId to, const Tree& tree) {
  if (tree.before[at(to)] == from) return tree.last_hop[at(to)];
  std::vector<HostId> path;
  for (HostId host = to; host != from; host = tree.before[at(host)]) path.push_back(host);
  path.push_back(from);
  std::ranges::reverse(path);
  const auto [joined, is_new] = joined_.try_emplace(path);
  Route& route = joined->second;
  if (!is_new) return &route;
  std::vector<LinkId> links;
  for (std::size_t i = 1; i < path.size(); ++i) {
    const Route& hop = *tree.last_hop[at(path[i])];
    links.insert(links.end(), hop.links.begin(), hop.links.end());
  }
  route = platform_.make_route(from, to, std::move(links));
  route.relays.assign(path.begin() + 1, path.end() - 1);
  return &route;
}

}  // namespace cdisim
