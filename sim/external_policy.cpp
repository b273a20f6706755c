#include "sim/external_policy.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "sim/error.h"

namespace cdisim {

namespace {

// Calls `f` with the name of each member and a pointer to it.
template <class F>
void for_each_member(F f) {
  f("seed", &ProblemState::seed);
  f("bandwidth_bytes_per_s", &ProblemState::bandwidth_bytes_per_s);
  f("loaded", &ProblemState::loaded);
  f("power_state", &ProblemState::power_state);
  f("arrivals_s", &ProblemState::arrivals_s);
  f("battery_j", &ProblemState::battery_j);
  f("flight_w", &ProblemState::flight_w);
  f("date_s", &ProblemState::date_s);
  f("queue_length", &ProblemState::queue_length);
  f("host_on", &ProblemState::host_on);
  f("link_on", &ProblemState::link_on);
  f("outcomes", &ProblemState::outcomes);
}

template <class T>
auto copy(std::span<const T> from) {
  return std::vector<T>(from.begin(), from.end());
}

class ExternalPolicy : public Policy {
 public:
  ExternalPolicy(ExternalPolicies& owner, int source) : owner_(owner), source_(source) {}

  Plan plan(const Problem& problem) override {
    std::optional<Plan> plan = ask(problem, nullptr);
    if (!plan) throw std::runtime_error("no first plan");
    return std::move(*plan);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    return ask(problem, &observation);
  }

 private:
  std::optional<Plan> ask(const Problem& problem, const Observation* observation) {
    constexpr std::array kKinds{"arrival", "bandwidth", "platform", "load", "weights"};
    ProblemState now = state_of(problem, observation);
    const char* kind = observation == nullptr ? "plan" : kKinds[static_cast<std::size_t>(observation->kind)];
    const Json question{{"source", source_}, {"kind", kind}, {"changes", changes(now, last_)}};
    last_ = std::move(now);
    return owner_.ask(question);
  }

  ExternalPolicies& owner_;
  int source_;
  ProblemState last_;
};

Json parts_to_json(const Parts& parts) {
  Json out = Json::array();
  for (const auto& [layer, part] : parts) {
    Json ranges = Json::array();
    for (const Range& range : part) ranges.push_back({range.begin, range.end});
    out.push_back({layer, ranges});
  }
  return out;
}

Parts parts_from_json(const Json& json) {
  Parts out;
  for (const Json& entry : json) {
    Region& region = out[entry[0].get<LayerId>()];
    for (const Json& range : entry[1]) region.push_back({range[0].get<int>(), range[1].get<int>()});
  }
  return out;
}

}  // namespace

ProblemState state_of(const Problem& problem, const Observation* observation) {
  ProblemState out;
  out.seed = problem.seed;
  out.bandwidth_bytes_per_s = copy(problem.bandwidth_bytes_per_s);
  out.loaded = copy(problem.loaded);
  out.power_state = copy(problem.power_state);
  out.arrivals_s = copy(problem.arrivals_s);
  out.battery_j = copy(problem.battery_j);
  out.flight_w = copy(problem.flight_w);
  if (observation == nullptr) return out;
  out.date_s = observation->date_s;
  for (HostId host = 0; host < problem.platform.host_count(); ++host)
    out.queue_length.push_back(observation->queue_length(host));
  out.host_on = copy(observation->host_on);
  out.link_on = copy(observation->link_on);
  for (const Outcome& outcome : observation->outcomes)
    out.outcomes.emplace_back(outcome.request, outcome.latency_s);
  return out;
}

Json changes(const ProblemState& now, const ProblemState& last) {
  Json out = Json::object();
  for_each_member([&](const char* name, auto member) {
    if (now.*member != last.*member) out[name] = now.*member;
  });
  return out;
}

void apply(const Json& changes, ProblemState& last) {
  for_each_member([&](const char* name, auto member) {
    if (const auto found = changes.find(name); found != changes.end()) found->get_to(last.*member);
  });
}

Json plan_to_json(const Plan& plan) {
  Json out = {{"exit", plan.exit},
              {"exit_rates", plan.exit_rates},
              {"exit_accuracies", plan.exit_accuracies},
              {"decision", plan.decision}};
  for (const Piece& piece : plan.pieces) {
    Json& entry = out["pieces"].emplace_back(Json{{"layers", piece.layers}, {"host", piece.host}});
    if (!piece.parts.empty()) entry["parts"] = parts_to_json(piece.parts);
    if (piece.share) entry["share"] = *piece.share;
    if (!piece.relays.empty()) entry["relays"] = piece.relays;
  }
  for (const EdgeTransform& t : plan.transforms)
    out["transforms"].push_back(
        {t.from, t.to, t.transform.ratio, t.transform.encode_flop, t.transform.decode_flop});
  for (const Upload& upload : plan.uploads) out["uploads"].push_back({upload.layers, upload.host});
  if (plan.stealing) {
    Json& stealing = out["stealing"] = {{"pieces", plan.stealing->pieces},
                                        {"workers", plan.stealing->workers},
                                        {"poll_s", plan.stealing->poll_s}};
    if (plan.stealing->store) stealing["store"] = *plan.stealing->store;
    for (const auto& [piece, parts] : plan.stealing->alone)
      stealing["alone"].push_back({piece, parts_to_json(parts)});
  }
  for (const Plan& fallback : plan.fallbacks) out["fallbacks"].push_back(plan_to_json(fallback));
  return out;
}

Plan plan_from_json(const Json& json) {
  const auto each = [](const Json& object, const char* key, auto f) {
    if (const auto found = object.find(key); found != object.end()) {
      for (const Json& entry : *found) f(entry);
    }
  };
  Plan out;
  json.at("exit").get_to(out.exit);
  json.at("exit_rates").get_to(out.exit_rates);
  json.at("exit_accuracies").get_to(out.exit_accuracies);
  json.at("decision").get_to(out.decision);
  each(json, "pieces", [&](const Json& entry) {
    Piece& piece = out.pieces.emplace_back(
        Piece{entry.at("layers").get<std::vector<LayerId>>(), entry.at("host").get<HostId>()});
    if (entry.contains("parts")) piece.parts = parts_from_json(entry["parts"]);
    if (entry.contains("share")) piece.share = entry["share"].get<double>();
    if (entry.contains("relays")) piece.relays = entry["relays"].get<std::vector<LayerId>>();
  });
  each(json, "transforms", [&](const Json& entry) {
    out.transforms.push_back({entry[0].get<int>(),
                              entry[1].get<int>(),
                              {entry[2].get<double>(), entry[3].get<double>(), entry[4].get<double>()}});
  });
  each(json, "uploads", [&](const Json& entry) {
    out.uploads.push_back({entry[0].get<std::vector<LayerId>>(), entry[1].get<HostId>()});
  });
  if (const auto stealing = json.find("stealing"); stealing != json.end()) {
    out.stealing = Stealing{.pieces = stealing->at("pieces").get<std::vector<int>>(),
                            .workers = stealing->at("workers").get<std::vector<HostId>>(),
                            .poll_s = stealing->at("poll_s").get<double>()};
    if (stealing->contains("store")) out.stealing->store = stealing->at("store").get<HostId>();
    each(*stealing, "alone",
         [&](const Json& entry) { out.stealing->alone[entry[0].get<int>()] = parts_from_json(entry[1]); });
  }
  each(json, "fallbacks", [&](const Json& entry) { out.fallbacks.push_back(plan_from_json(entry)); });
  return out;
}

PolicyFacts read_policy_facts(const JsonReader& reader) {
  PolicyFacts out;
  out.name = reader.at("name").text();
  const auto text = [](const JsonReader& from, const char* key, std::string& into) {
    if (const auto value = from.find(key)) into = value->string();
  };
  text(reader, "title", out.title);
  text(reader, "source", out.source);
  text(reader, "about", out.about);
  if (const auto parameters = reader.find("parameters")) {
    for (const JsonReader& entry : parameters->elements()) {
      ParameterFacts& parameter = out.parameters.emplace_back();
      parameter.name = entry.at("name").text();
      const std::vector<std::string> types{"string", "number", "integer", "time", "power", "bandwidth"};
      parameter.type = types[entry.at("type").choice(types)];
      parameter.standard = entry.at("standard").json();
      text(entry, "about", parameter.about);
      if (const auto choices = entry.find("choices")) {
        for (const JsonReader& choice : choices->elements()) parameter.choices.push_back(choice.string());
      }
      entry.done();
    }
  }
  for (const auto& [key, flag] :
       {std::pair{"watches_arrivals", &out.watches_arrivals},
        std::pair{"watches_bandwidth", &out.watches_bandwidth},
        std::pair{"watches_platform", &out.watches_platform}, std::pair{"watches_load", &out.watches_load},
        std::pair{"watches_weights", &out.watches_weights}, std::pair{"knows_arrivals", &out.knows_arrivals},
        std::pair{"knows_mobility", &out.knows_mobility}}) {
    if (const auto value = reader.find(key)) *flag = value->boolean();
  }
  reader.done();
  for (const PolicyFacts* known : registered_policies()) {
    if (known->name == out.name) reader.at("name").fail("cdisim has a policy of this name");
  }
  return out;
}

void ExternalPolicies::start(Json simulation) {
  simulation_ = std::move(simulation);
}

std::unique_ptr<Policy> ExternalPolicies::make() {
  if (!connection_) {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
      throw std::system_error(errno, std::generic_category(), "socketpair");
    connection_.emplace(ends[0]);
    send_fds(desk_.fd(), "c", {ends[1]});
    close(ends[1]);
    connection_->send(simulation_.dump());
  }
  return std::make_unique<ExternalPolicy>(*this, sources_++);
}

std::optional<Plan> ExternalPolicies::ask(const Json& question) {
  const std::vector<std::uint8_t> bytes = Json::to_cbor(question);
  connection_->send(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  const std::optional<std::string> text = connection_->receive();
  if (!text) throw std::runtime_error("the program that has the policy is gone");
  const Json answer = Json::from_cbor(*text);
  if (answer.is_null()) return std::nullopt;
  if (answer.contains("input_error")) throw InputError(answer["input_error"].get<std::string>());
  return plan_from_json(answer);
}

}  // namespace cdisim
