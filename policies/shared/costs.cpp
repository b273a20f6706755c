#include "policies/shared/costs.h"

#include "policies/shared/hosts.h"

namespace cdisim {

// Two layers tell the constant, without knowledge of the kind of latency model: f(a) + f(b) - f(a, b).
PieceTimes piece_times(const Problem& problem, std::span<const LayerId> layers, HostId id) {
  const double slowdown = problem.slowdown(id);
  PieceTimes times;
  times.layer_s.reserve(layers.size());
  for (const LayerId& layer : layers) times.layer_s.push_back(problem.compute_s({&layer, 1}, id) * slowdown);
  if (layers.size() > 1) {
    times.run_s = times.layer_s[0] + times.layer_s[1] - problem.compute_s(layers.first(2), id) * slowdown;
    for (double& layer_s : times.layer_s) layer_s -= times.run_s;
  }
  return times;
}

Hop::Hop(const Problem& problem, HostId from, HostId to) {
  if (from == to) return;
  const Route& route = *problem.platform.route(from, to);
  latency_s_ = route.latency_s;
  usd_per_byte_ = problem.platform.price_usd_per_byte(route);
  bandwidth_bytes_per_s_ = bottleneck_bytes_per_s(problem, from, to);
  local_ = false;
  const Radio& radio = problem.platform.host(problem.source).radio;
  if (from == problem.source) {
    power_w_ = radio.tx_w - radio.idle_w;
    j_per_byte_ = radio.tx_j_per_byte;
  } else if (to == problem.source) {
    power_w_ = radio.rx_w - radio.idle_w;
    j_per_byte_ = radio.rx_j_per_byte;
  }
}

Estimate Hop::cost(double bytes) const {
  if (local_) return {};
  const double data_s = bytes / bandwidth_bytes_per_s_;
  return {latency_s_ + data_s, data_s * power_w_ + bytes * j_per_byte_, bytes * usd_per_byte_};
}

double computing_power_w(const Problem& problem, HostId host) {
  const PowerState& power = problem.state(host);
  return power.epsilon_w + (power.all_cores_w - power.epsilon_w) / problem.platform.host(host).cores -
         power.idle_w;
}

double computing_power_w(const Problem& problem) {
  return computing_power_w(problem, problem.source);
}

double input_bytes(const Problem& problem) {
  return tensor_bytes(problem.graph, problem.wire, kInput);
}

double result_bytes(const Problem& problem, int exit) {
  return problem.wire.result_bytes.value_or(
      tensor_bytes(problem.graph, problem.wire, problem.graph.exits()[static_cast<std::size_t>(exit)].layer));
}

double bytes_between_hosts(const Problem& problem, const Plan& plan) {
  const auto host_of = [&](int end) {
    return end == kSourceEnd ? problem.source : plan.pieces[static_cast<std::size_t>(end)].host;
  };
  double bytes = 0;
  for (const PlanEdge& edge : plan_edges(problem.graph, problem.wire, plan)) {
    if (host_of(edge.from) != host_of(edge.to)) bytes += edge.bytes;
  }
  return bytes;
}

}  // namespace cdisim
