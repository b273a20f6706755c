#include "policies/shared/failures.h"

#include <set>

#include "policies/shared/costs.h"

namespace cdisim {

namespace {

std::set<HostId> hosts_of(const Plan& plan) {
  std::set<HostId> out;
  for (const Piece& piece : plan.pieces) out.insert(piece.host);
  return out;
}

double survival(const Problem& problem, HostId host) {
  return problem.survival.empty() ? 1 : problem.survival[static_cast<std::size_t>(host)];
}

}  // namespace

std::optional<Plan> plan_without(const LayerGraph& graph, const Plan& plan, const std::vector<bool>& works) {
  Plan out = surviving(graph, plan, works);
  const std::vector<bool> computed = computed_layers(graph, out);
  for (int exit = 0; exit <= out.exit; ++exit) {
    const bool taken =
        out.exit_rates.empty() ? exit == out.exit : out.exit_rates[static_cast<std::size_t>(exit)] > 0;
    const LayerId layer = graph.exits()[static_cast<std::size_t>(exit)].layer;
    if (taken && !computed[static_cast<std::size_t>(layer)]) return std::nullopt;
  }
  std::erase_if(out.pieces, [](const Piece& piece) { return piece.layers.empty(); });
  return out;
}

std::vector<bool> hosts_on(const Problem& problem, const Observation& observation) {
  std::vector<bool> works;
  for (HostId host = 0; host < problem.platform.host_count(); ++host)
    works.push_back(observation.host_on[static_cast<std::size_t>(host)] != 0);
  return works;
}

std::vector<HostId> unreliable_hosts(const Problem& problem, const Plan& plan) {
  std::vector<HostId> out;
  for (const HostId host : hosts_of(plan)) {
    if (survival(problem, host) < 1) out.push_back(host);
  }
  return out;
}

Outlook outlook(const Problem& problem, const Plan& plan) {
  const Exit& exit = problem.graph.exits()[static_cast<std::size_t>(plan.exit)];
  const std::vector<HostId> unreliable = unreliable_hosts(problem, plan);
  Outlook out;
  out.availability = 0;
  double accuracy = 0;
  bool accuracy_known = true;
  for (unsigned failed = 0; failed < 1U << unreliable.size(); ++failed) {
    std::vector<bool> works(static_cast<std::size_t>(problem.platform.host_count()), true);
    double p = 1;
    for (std::size_t i = 0; i < unreliable.size(); ++i) {
      const bool fails = (failed >> i & 1U) != 0;
      works[static_cast<std::size_t>(unreliable[i])] = !fails;
      p *= fails ? 1 - survival(problem, unreliable[i]) : survival(problem, unreliable[i]);
    }
    if (p == 0) continue;
    const std::optional<Plan> left = plan_without(problem.graph, plan, works);
    if (!left) continue;
    out.availability += p;
    out.bytes += p * bytes_between_hosts(problem, *left);
    out.latency_s += p * estimate(problem, *left).latency_s;
    const std::optional<double> known = exit.accuracy_with(computed_layers(problem.graph, *left));
    accuracy_known = accuracy_known && known.has_value();
    accuracy += p * known.value_or(0);
  }
  if (out.availability == 0) return out;
  out.latency_s /= out.availability;
  if (accuracy_known) out.accuracy = accuracy / out.availability;
  return out;
}

}  // namespace cdisim
