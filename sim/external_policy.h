#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/connection.h"
#include "sim/json_reader.h"
#include "sim/policy.h"

namespace cdisim {

// ---- policies that another process has: a Python program that runs experiments ----
//
// The program asks for a plan with what of the Problem and the Observation has changed since it last asked
// for this source; the rest follows from the experiment, which the other process has too.

/// What of a Problem and an Observation changes while a run goes on: their members of the same names.
struct ProblemState {
  std::uint64_t seed = 1;
  std::vector<double> bandwidth_bytes_per_s;
  std::vector<std::vector<bool>> loaded;
  std::vector<int> power_state;
  std::vector<double> arrivals_s;
  std::vector<double> battery_j;
  std::vector<double> flight_w;
  double date_s = 0;
  std::vector<int> queue_length;  ///< (n_hosts)
  std::vector<char> host_on, link_on;
  std::vector<std::pair<int, double>> outcomes;  ///< (request, latency_s)
};
ProblemState state_of(const Problem& problem, const Observation* observation);

/// The members of `now` that differ from `last`, by name; apply() changes `last` into `now`.
Json changes(const ProblemState& now, const ProblemState& last);
void apply(const Json& changes, ProblemState& last);

/// All of a plan, layers and hosts by number.
Json plan_to_json(const Plan& plan);
Plan plan_from_json(const Json& json);

/// {"name", "title", "source", "about", "parameters": [{"name", "type", "standard", "about", "choices"}],
/// "watches_bandwidth": true, ...}: all but the name may be left out.
/// @throws InputError for unknown keys, a name that a policy of this program has, an unknown type.
PolicyFacts read_policy_facts(const JsonReader& reader);

/// Removes what register_policy() added.
void unregister_policy(const std::string& name);

/// The way to the process that has the policies. Each simulation's process asks over a connection of its own.
class ExternalPolicies {
 public:
  /// `desk`: a socket that keeps messages apart, where new connections are handed in. Owned.
  explicit ExternalPolicies(int desk) : desk_(desk) {}

  /// Says which simulation the process is about to run.
  void start(Json simulation);
  /// A policy for the next source.
  std::unique_ptr<Policy> make();

  /// The answer to {"source": index, "kind": "plan" or an observation's, "changes"}; none: the plan is kept.
  /// @throws InputError that the policy threw.
  std::optional<Plan> ask(const Json& question);

 private:
  Connection desk_;
  Json simulation_;
  std::optional<Connection> connection_;
  int sources_ = 0;
};

}  // namespace cdisim
