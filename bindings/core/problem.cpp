// What a policy sees, and the simulations of other processes that ask for its plans.

#include "bindings/core/problem.h"

#include <algorithm>
#include <limits>

#include "sim/error.h"
#include "sim/experiment.h"

namespace cdisim::python {

namespace {

constexpr double kForever = std::numeric_limits<double>::infinity();

OwnedProblem make_problem(std::shared_ptr<LayerGraph> graph, std::shared_ptr<Platform> platform,
                          std::shared_ptr<LatencyModel> latency_model, HostId source, double deadline_s,
                          std::optional<std::vector<double>> bandwidth_bytes_per_s, std::uint64_t seed,
                          WireFormat wire, std::vector<BandwidthTrace> history) {
  OwnedProblem out{.graph = std::move(graph),
                   .platform = std::move(platform),
                   .latency_model = std::move(latency_model),
                   .wire = std::move(wire),
                   .source = source,
                   .deadline_s = deadline_s,
                   .now = {},
                   .history = std::move(history),
                   .sources = {source},
                   .survival = {},
                   .future = {}};
  out.host(source);
  out.now.seed = seed;
  if (bandwidth_bytes_per_s) {
    if (bandwidth_bytes_per_s->size() != static_cast<std::size_t>(out.platform->link_count()))
      throw InputError("bandwidth_bytes_per_s", "gives " + std::to_string(bandwidth_bytes_per_s->size()) +
                                                    " numbers for " +
                                                    std::to_string(out.platform->link_count()) + " links");
    out.now.bandwidth_bytes_per_s = std::move(*bandwidth_bytes_per_s);
  } else {
    for (const Link& link : out.platform->links())
      out.now.bandwidth_bytes_per_s.push_back(link.bandwidth_bytes_per_s);
  }
  return out;
}

// Policies that exist only while an object of this class does.
class Registered {
 public:
  explicit Registered(const Json& facts) {
    try {
      for (const JsonReader& entry : JsonReader(facts, "policy").elements()) {
        PolicyFacts read = read_policy_facts(entry);
        names_.push_back(read.name);
        register_policy(std::move(read), nullptr);
      }
    } catch (...) {
      remove();
      throw;
    }
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;
  ~Registered() { remove(); }
  bool has(const Json& name) const {
    return std::ranges::any_of(names_, [&](const std::string& known) { return name == known; });
  }

 private:
  void remove() {
    for (const std::string& name : names_) unregister_policy(name);
  }
  std::vector<std::string> names_;
};

// The present state of one simulation, as far as its policies may see it.
class Simulation {
 public:
  explicit Simulation(std::shared_ptr<RunSetup> setup)
      : setup_(std::move(setup)), policy_(setup_->facts->name) {
    const RunSpec& spec = setup_->spec;
    for (const HostId source : spec.sources) {
      auto problem = std::make_shared<OwnedProblem>();
      problem->graph = setup_->graph;
      problem->platform = std::shared_ptr<const Platform>(setup_, &setup_->platform);
      problem->latency_model = setup_->estimator;
      problem->wire = spec.estimator_wire;
      problem->source = source;
      for (const Link& link : setup_->platform.links())  // until the simulation says what they are
        problem->now.bandwidth_bytes_per_s.push_back(link.bandwidth_bytes_per_s);
      problem->deadline_s = spec.deadline_s;
      problem->history = spec.history;
      problem->sources = spec.sources;
      problem->survival = spec.survival;
      if (setup_->facts->knows_mobility) {
        const auto radio = std::span(spec.bandwidth_traces).last(spec.radio_traces);
        problem->future.assign(radio.begin(), radio.end());
      }
      problems_.push_back(std::move(problem));
    }
    for (const ParameterFacts& parameter : setup_->facts->parameters) {
      const py::str name(parameter.name);
      if (parameter.type == "string") {
        parameters_[name] = setup_->parameters->string(parameter.name);
      } else if (parameter.type == "integer") {
        parameters_[name] = setup_->parameters->integer(parameter.name);
      } else {
        parameters_[name] = setup_->parameters->number(parameter.name);
      }
    }
  }

  const std::string& policy() const { return policy_; }
  const py::dict& parameters() const { return parameters_; }

  const std::vector<std::shared_ptr<OwnedProblem>>& problems() const { return problems_; }

  // (index of the source, its problem, the observation or None)
  py::tuple question(const py::bytes& message) {
    const Json question = Json::from_cbor(std::string_view(message));
    const auto source = question.at("source").get<std::size_t>();
    const std::shared_ptr<OwnedProblem>& problem = problems_.at(source);
    apply(question.at("changes"), problem->now);
    const auto kind = question.at("kind").get<std::string>();
    py::object observation = py::none();
    if (kind != "plan") observation = py::cast(OwnedObservation{kind, problem});
    return py::make_tuple(source, problem, observation);
  }

 private:
  std::shared_ptr<RunSetup> setup_;
  std::string policy_;
  std::vector<std::shared_ptr<OwnedProblem>> problems_;
  py::dict parameters_;
};

// An experiment with the runs of Python's policies alone.
class AskingExperiment {
 public:
  AskingExperiment(const Json& given, const Json& policies, const Json& vary,
                   std::optional<std::uint64_t> seed, Json facts)
      : facts_(std::move(facts)) {
    auto [path, document] = find_experiment(given, policies, vary);
    const Registered registered(facts_);
    Json ours = Json::array();
    for (const Json& entry : document.at("policies")) {
      if (registered.has(entry.at("name"))) ours.push_back(entry);
    }
    replace_policies(document, ours);
    experiment_ = std::make_unique<Experiment>(Experiment::parse(std::move(document), path, seed));
  }

  std::unique_ptr<Simulation> simulation(const std::string& announced) const {
    const Json json = parse_json(announced, "simulation");
    const Registered registered(facts_);
    for (const Run& run : experiment_->runs()) {
      if (run.policy != json.at("policy") || run.point != json.at("point")) continue;
      return std::make_unique<Simulation>(experiment_->setup(run, json.at("repetition").get<int>()));
    }
    throw std::logic_error("no such run: " + announced);
  }

 private:
  Json facts_;
  std::unique_ptr<Experiment> experiment_;
};

py::bytes cbor(const Json& json) {
  const std::vector<std::uint8_t> bytes = Json::to_cbor(json);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void add_problem(py::module_& module) {
  Class<OwnedProblem, std::shared_ptr<OwnedProblem>> problem(module, "Problem");
  (*problem).def(py::init(&make_problem), py::arg("graph"), py::arg("platform"), py::arg("latency_model"),
                 py::arg("source"), py::kw_only(), py::arg("deadline_s") = kForever,
                 py::arg("bandwidth_bytes_per_s") = py::none(), py::arg("seed") = 1,
                 py::arg("wire") = WireFormat(), py::arg("history") = std::vector<BandwidthTrace>());
  const auto state = [&](const char* name, auto member) {
    problem.property(name, [member](const OwnedProblem& self) { return frozen(self.now.*member); });
  };
  problem
      .property("graph",
                [](const OwnedProblem& self) { return std::const_pointer_cast<LayerGraph>(self.graph); })
      .property("platform",
                [](const OwnedProblem& self) { return std::const_pointer_cast<Platform>(self.platform); })
      .property(
          "latency_model",
          [](const OwnedProblem& self) { return std::const_pointer_cast<LatencyModel>(self.latency_model); })
      .field("wire", &OwnedProblem::wire)
      .field("source", &OwnedProblem::source)
      .field("deadline_s", &OwnedProblem::deadline_s)
      .field("history", &OwnedProblem::history)
      .field("sources", &OwnedProblem::sources)
      .field("survival", &OwnedProblem::survival)
      .field("future", &OwnedProblem::future);
  state("bandwidth_bytes_per_s", &ProblemState::bandwidth_bytes_per_s);
  state("seed", &ProblemState::seed);
  state("loaded", &ProblemState::loaded);
  state("power_state", &ProblemState::power_state);
  state("arrivals_s", &ProblemState::arrivals_s);
  state("battery_j", &ProblemState::battery_j);
  state("flight_w", &ProblemState::flight_w);
  problem
      .function(
          "reachable",
          [](const OwnedProblem& self, const std::optional<std::string>& tier) {
            return tier ? self.view().reachable(tier_of(*tier, "tier")) : self.view().reachable();
          },
          py::arg("tier") = py::none())
      .function(
          "compute_s",
          [](const OwnedProblem& self, const std::vector<LayerId>& layers, HostId host) {
            for (const LayerId layer : layers) at(*self.graph, layer);
            return self.view().compute_s(layers, self.host(host));
          },
          py::arg("layers"), py::arg("host"))
      .function(
          "compute_s",
          [](const OwnedProblem& self, const Piece& piece) {
            for (const LayerId layer : piece.layers) at(*self.graph, layer);
            self.host(piece.host);
            return self.view().compute_s(piece);
          },
          py::arg("piece"))
      .function(
          "holds",
          [](const OwnedProblem& self, HostId host, LayerId layer) {
            return self.view().holds(self.host(host), at(*self.graph, layer));
          },
          py::arg("host"), py::arg("layer"))
      .function(
          "state", [](const OwnedProblem& self, HostId host) { return self.view().state(self.host(host)); },
          py::arg("host"))
      .function(
          "slowdown",
          [](const OwnedProblem& self, HostId host) { return self.view().slowdown(self.host(host)); },
          py::arg("host"))
      .function(
          "flight_power_w",
          [](const OwnedProblem& self, HostId host) { return self.view().flight_power_w(self.host(host)); },
          py::arg("host"))
      .function(
          "transfer_s",
          [](const OwnedProblem& self, double bytes, HostId from, HostId to) {
            return self.view().transfer_s(bytes, self.host(from), self.host(to));
          },
          py::arg("bytes"), py::arg("from_host"), py::arg("to"));

  Class<Estimate>(module, "Estimate")
      .field("latency_s", &Estimate::latency_s)
      .field("energy_j", &Estimate::energy_j)
      .field("cost_usd", &Estimate::cost_usd);
  module.def(
      "estimate",
      [](const OwnedProblem& self, const Plan& plan) {
        check_plan(*self.graph, *self.platform, self.source, self.wire, plan, "estimate");
        return estimate(self.view(), plan);
      },
      doc("estimate"), py::arg("problem"), py::arg("plan"));

  Class<OwnedObservation>(module, "Observation")
      .field("kind", &OwnedObservation::kind)
      .property("date_s", [](const OwnedObservation& self) { return self.problem->now.date_s; })
      .function(
          "queue_length",
          [](const OwnedObservation& self, HostId host) {
            return self.problem->now.queue_length.at(static_cast<std::size_t>(self.problem->host(host)));
          },
          py::arg("host"))
      .property("host_on",
                [](const OwnedObservation& self) {
                  const std::vector<char>& on = self.problem->now.host_on;
                  return frozen(std::vector<bool>(on.begin(), on.end()));
                })
      .property("link_on",
                [](const OwnedObservation& self) {
                  const std::vector<char>& on = self.problem->now.link_on;
                  return frozen(std::vector<bool>(on.begin(), on.end()));
                })
      .property("outcomes", [](const OwnedObservation& self) { return frozen(self.problem->now.outcomes); });

  // ---- for cdisim.decisions ----
  py::class_<Simulation>(module, "Simulation",
                         "A simulation in another process, as far as its policies see it.")
      .def_property_readonly("policy", &Simulation::policy, "Name of its policy.")
      .def_property_readonly("parameters", &Simulation::parameters, "Those of the policy, in SI units.")
      .def_property_readonly("problems", &Simulation::problems,
                             "By source, with the platform's bandwidths until the first question.")
      .def("question", &Simulation::question,
           "(index of the source, Problem, Observation or None) of a message that asks for a plan.",
           py::arg("message"));
  py::class_<AskingExperiment>(module, "AskingExperiment",
                               "An experiment with the runs of Python's policies alone.")
      .def(py::init([](const std::string& given, const std::string& policies, const std::string& vary,
                       std::optional<std::uint64_t> seed, const std::string& facts) {
             return AskingExperiment(parse_json(given, "experiment"), parse_json(policies, "policy"),
                                     parse_json(vary, "vary"), seed, parse_json(facts, "policy"));
           }),
           py::arg("experiment"), py::arg("policies"), py::arg("vary"), py::arg("seed"), py::arg("facts"))
      .def("simulation", &AskingExperiment::simulation, "The simulation that another process announced.",
           py::arg("announced"));
  module.def(
      "plan_answer",
      [](const std::optional<Plan>& plan) { return cbor(plan ? plan_to_json(*plan) : Json()); },
      "The message that answers a question with a plan, or None.", py::arg("plan"));
  module.def(
      "error_answer",
      [](const std::string& text) {
        return cbor({{"input_error", text}});
      },
      "The message that answers a question with an InputError.", py::arg("text"));
}

}  // namespace cdisim::python
