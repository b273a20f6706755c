#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "sim/error.h"
#include "sim/policy.h"
#include "sim/simulation.h"

namespace cdisim {

inline const std::string kRoot = CDISIM_SOURCE_DIR;

/// What a Problem refers to, to be changed at will. Hosts without a device type need no latency model file.
struct Scene {
  Platform platform;
  LayerGraph graph;
  LatencyModel model = {};
  WireFormat wire = {};
  std::string source = "device";
  double deadline_s = std::numeric_limits<double>::infinity();
  std::vector<BandwidthTrace> history = {};
  std::uint64_t seed = 1;
  std::vector<double> bandwidth_bytes_per_s = {};  ///< (n_links); empty: the platform's

  HostId host(const std::string& name) const { return platform.find_host(name); }
  Problem problem() {
    if (bandwidth_bytes_per_s.empty()) {
      for (const Link& link : platform.links()) bandwidth_bytes_per_s.push_back(link.bandwidth_bytes_per_s);
    }
    return {graph, platform, model, wire, host(source), deadline_s, bandwidth_bytes_per_s, history, seed};
  }
};

/// What a simulation of the scene needs, but for its arrivals. The scene must outlive it.
inline RunSpec spec_of(const Scene& s) {
  RunSpec spec;
  spec.platform = &s.platform;
  spec.graph = &s.graph;
  spec.latency_model = spec.estimator = &s.model;
  spec.wire = spec.estimator_wire = s.wire;
  spec.sources = {s.host(s.source)};
  spec.deadline_s = s.deadline_s;
  return spec;
}

/// One plan, which must outlive it, for every request.
class FixedPlan : public Policy {
 public:
  explicit FixedPlan(const Plan& plan) : plan_(plan) {}
  Plan plan(const Problem& /*problem*/) override { return plan_; }

 private:
  const Plan& plan_;
};
inline Trace simulate_plan(const RunSpec& spec, const Plan& plan) {
  PolicyFacts facts;
  facts.name = "fixed";
  return simulate(spec, facts, [&] { return std::make_unique<FixedPlan>(plan); });
}

/// The layers "camera_1" to "camera_6" read the sensors of the hosts of those names.
inline void add_cameras(Scene& s) {
  for (int i = 1; i <= 6; ++i) {
    const std::string name = "camera_" + std::to_string(i);
    s.wire.sensors[s.graph.find(name)] = s.host(name);
  }
}

/// Of all policies on all platforms with all models one in so many, so that each policy meets every platform
/// and, over the platforms, every model: by the numbers of the three.
inline bool is_drawn(std::size_t policy, std::size_t platform, std::size_t graph) {
#ifdef CDISIM_SANITIZE
  constexpr std::size_t kOneIn = 30;
#else
  constexpr std::size_t kOneIn = 6;
#endif
  return (policy + platform + graph) % kOneIn == 0;
}

/// Whether each host has the memory for all of the model.
inline bool every_host_holds(const Platform& platform, const LayerGraph& graph) {
  const int exit = static_cast<int>(graph.exits().size()) - 1;
  for (HostId id = 0; id < platform.host_count(); ++id) {
    const auto ids = graph.exit_layers(exit);
    Plan plan;
    plan.pieces = {{{ids.begin(), ids.end()}, id}};
    plan.exit = exit;
    const auto& memory = platform.host(id).memory_bytes;
    if (memory && plan_memory_bytes(graph, plan).at(id) > *memory) return false;
  }
  return true;
}

inline Scene scene(const std::string& platform, const std::string& graph) {
  return {Platform::load(kRoot + "/" + platform), LayerGraph::load(kRoot + "/" + graph)};
}

/// chain3 between the pencil platform's device and server.
inline Scene pencil_scene() {
  return scene("tests/fixtures/pencil.xml", "tests/fixtures/chain3.json");
}

inline std::unique_ptr<Policy> policy_of(const std::string& name, const Json& parameters = Json::object()) {
  const PolicyFacts& facts = policy_facts(name, "test");
  return make_policy(facts, Parameters(facts, JsonReader(parameters, "p.json")));
}

/// The plan of a fresh policy, checked.
inline Plan plan_of(Scene& scene, const std::string& name, const Json& parameters = Json::object()) {
  const Problem problem = scene.problem();
  Plan plan = policy_of(name, parameters)->plan(problem);
  check_plan(scene.graph, scene.platform, problem.source, scene.wire, plan, name);
  return plan;
}

/// The message of the InputError that `function` throws.
template <class Function>
std::string input_error(const Function& function) {
  try {
    function();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace cdisim
