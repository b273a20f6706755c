// The problems of reinforcement learning that policies/shared/edge_offload.h defines, for
// cdisim.environments.

#include "policies/shared/edge_offload.h"

#include <algorithm>

#include "bindings/core/problem.h"
#include "policies/shared/hosts.h"
#include "sim/error.h"

namespace cdisim::python {

namespace {

// What an agent sees of one run, and what its actions are.
class EdgeOffload {
 public:
  EdgeOffload(const OwnedProblem& problem, const std::optional<std::string>& server, const Json& observation)
      : server_(choose(problem.view(), server)), actions_(offload_actions(problem.view(), server_)) {
    for (const JsonReader& feature : JsonReader(observation, "observation").elements())
      features_.push_back(OffloadFeature::read(feature));
  }

  HostId server() const { return server_; }
  const std::vector<OffloadAction>& actions() const { return actions_; }
  const OffloadAction& action(int index) const {
    return actions_[checked(index, static_cast<int>(actions_.size()))];
  }

  // (n_features)
  py::tuple observe(const OwnedProblem& owned, const OwnedObservation* observed) {
    const Problem problem = owned.view();
    OffloadObservation seen;
    if (observed == nullptr) {
      seen = watcher_.start(problem, server_);
    } else {
      const ProblemState& now = observed->problem->now;
      seen = watcher_.observe(
          problem, server_,
          {.kind = Observation::Kind::kArrival,
           .date_s = now.date_s,
           .queue_length = [&](HostId host) { return now.queue_length[static_cast<std::size_t>(host)]; },
           .host_on = now.host_on,
           .link_on = now.link_on});
    }
    py::tuple out(features_.size());
    for (std::size_t i = 0; i < features_.size(); ++i) out[i] = features_[i].scaled(seen);
    return out;
  }

  void decided(int index) { watcher_.decided(action(index)); }

  Plan plan(const OwnedProblem& problem, int index) const {
    return offload_plan(problem.view(), server_, action(index).exit, action(index).layers_on_server);
  }

 private:
  static HostId choose(const Problem& problem, const std::optional<std::string>& name) {
    std::vector<HostId> servers = servers_of_tiers(problem, {Tier::kEdge});
    if (name) {
      std::erase_if(servers, [&](HostId host) { return problem.platform.host(host).name != *name; });
      if (servers.empty()) throw InputError("server", "\"" + *name + "\" is no reachable host of tier edge");
    }
    return fastest_host(problem, deepest_exit(problem), servers);
  }

  HostId server_;
  std::vector<OffloadAction> actions_;
  std::vector<OffloadFeature> features_;
  OffloadWatcher watcher_;
};

}  // namespace

void add_edge_offload(py::module_& module) {
  Class<OffloadAction>(module, "OffloadAction")
      .field("exit", &OffloadAction::exit)
      .field("layers_on_server", &OffloadAction::layers_on_server)
      .field("accuracy", &OffloadAction::accuracy)
      .field("fixed_s", &OffloadAction::fixed_s)
      .field("bytes", &OffloadAction::bytes)
      .field("server_s", &OffloadAction::server_s)
      .field("device_s", &OffloadAction::device_s)
      .function("latency_s", &OffloadAction::latency_s, py::arg("bytes_per_s"));
  py::class_<EdgeOffload>(module, "EdgeOffload", "What an agent sees of one run, and what its actions are.")
      .def(py::init([](const OwnedProblem& problem, const std::optional<std::string>& server,
                       const py::object& observation) {
             return std::make_unique<EdgeOffload>(problem, server, to_json(observation));
           }),
           py::arg("problem"), py::arg("server"), py::arg("observation"))
      .def_property_readonly("server", &EdgeOffload::server, "The edge host.")
      .def_property_readonly(
          "actions", [](const EdgeOffload& self) { return frozen(self.actions()); }, doc("offload_actions"))
      .def("observe", &EdgeOffload::observe, "The features' values, 0 to 1.", py::arg("problem"),
           py::arg("observation"))
      .def("decided", &EdgeOffload::decided, doc("OffloadWatcher::decided"), py::arg("action"))
      .def("plan", &EdgeOffload::plan, doc("offload_plan"), py::arg("problem"), py::arg("action"));
  module.def("offload_reward", &offload_reward, doc("offload_reward"), py::arg("action"),
             py::arg("latency_s"), py::arg("deadline_s"), py::arg("bonus"));
  module.def(
      "offload_bonus", [](const std::vector<OffloadAction>& actions) { return offload_bonus(actions); },
      doc("offload_bonus"), py::arg("actions"));
  module.def("stream_reward", &stream_reward, doc("stream_reward"), py::arg("action"), py::arg("latency_s"),
             py::arg("deadline_s"));
}

}  // namespace cdisim::python
