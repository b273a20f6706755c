#include "policies/shared/guarded.h"

#include "policies/shared/failures.h"

namespace cdisim {

namespace {

// With what can be said of a plan beforehand.
Plan foretold(const Problem& problem, Plan plan) {
  if (unreliable_hosts(problem, plan).size() <= kMostUnreliableHosts) {
    const Outlook ahead = outlook(problem, plan);
    plan.decision["availability"] = ahead.availability;
    plan.decision["bytes"] = ahead.bytes;
    plan.decision["answer_latency_s"] = ahead.latency_s;
    if (ahead.accuracy) plan.decision["answer_accuracy"] = *ahead.accuracy;
  }
  return plan;
}

}  // namespace

Plan Guarded::plan(const Problem& problem) {
  whole_ = design(problem);
  planned_for_.assign(static_cast<std::size_t>(problem.platform.host_count()), true);
  return foretold(problem, *whole_);
}

std::optional<Plan> Guarded::replan(const Problem& problem, const Observation& observation) {
  std::vector<bool> works = hosts_on(problem, observation);
  if (works == planned_for_) return std::nullopt;
  planned_for_ = std::move(works);
  // Where no path is left, requests are lost until a host returns.
  std::optional<Plan> left = plan_without(problem.graph, *whole_, planned_for_);
  return foretold(problem, left ? std::move(*left) : *whole_);
}

}  // namespace cdisim
