// What every registered policy owes to everybody.

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "tests/policies/scene.h"

using namespace cdisim;

namespace {

std::vector<std::string> files(const std::string& folder, const std::string& extension) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot + "/" + folder)) {
    if (entry.path().extension() == extension) out.push_back(folder + "/" + entry.path().filename().string());
  }
  std::ranges::sort(out);
  return out;
}

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<LayerGraph> graphs() {
  std::vector<LayerGraph> out;
  for (const std::string& file : files("workloads", ".json"))
    out.push_back(LayerGraph::load(kRoot + "/" + file));
  for (const char* name : {"chain3", "diamond"}) {
    out.push_back(LayerGraph::load(kRoot + "/tests/fixtures/" + name + ".json"));
  }
  return out;
}

// Latencies and bandwidths of a host's routes to others.
std::vector<double> route_kinds(const Platform& platform, HostId host) {
  std::vector<double> out;
  for (const HostId other : platform.neighbours(host)) {
    const Route& route = *platform.route(host, other);
    out.insert(out.end(), {route.latency_s, platform.bottleneck_bytes_per_s(route)});
  }
  return out;
}

}  // namespace

TEST_CASE("policies: at least the six first ones are registered, with complete facts") {
  std::vector<std::string> names;
  for (const PolicyFacts* facts : registered_policies()) {
    CAPTURE(facts->name);
    names.push_back(facts->name);
    CHECK(!facts->title.empty());
    CHECK(!facts->source.empty());
    CHECK(!facts->about.empty());
    for (const ParameterFacts& parameter : facts->parameters) CHECK(!parameter.about.empty());
    // The name is the key: the policy's file carries it and opens with its manual page.
    const std::string page = read_text_file(kRoot + "/policies/" + facts->name + ".cpp");
    CHECK(page.starts_with("// " + facts->name + ": "));
    for (const ParameterFacts& parameter : facts->parameters) {
      CAPTURE(parameter.name);
      CHECK(page.find("//     " + parameter.name + " ") < page.find("#include"));
    }
    CHECK(page.find("{\"name\": \"" + facts->name + "\"") < page.find("#include"));
    CHECK(page.find("// Source: ") < page.find("#include"));
  }
  for (const char* name : {"cloud_only", "device_only", "edge_only", "edgent", "neurosurgeon", "random"}) {
    CHECK(std::ranges::count(names, name) == 1);
  }
}

TEST_CASE("policies: the sample of each manual page is valid") {
  for (const PolicyFacts* facts : registered_policies()) {
    CAPTURE(facts->name);
    const std::string page = read_text_file(kRoot + "/policies/" + facts->name + ".cpp");
    const auto begin = page.find("{\"name\": \"" + facts->name + "\"");
    const Json sample = parse_json(page.substr(begin, page.find('\n', begin) - begin), "sample");
    make_policy(*facts, Parameters(*facts, JsonReader(sample, "sample")));
  }
}

TEST_CASE("policies: defaults construct, plans pass check_plan, same seed same plan") {
  const LatencyModel model = LatencyModel::roofline(kRoot + "/platforms/hardware.json");
  const std::vector<LayerGraph> all_graphs = graphs();
  const std::vector<std::string> platforms =
      files("platforms", ".xml") +
      std::vector<std::string>{"tests/fixtures/pencil.xml", "tests/fixtures/star.xml"};
  std::size_t policy = 0;
  for (const PolicyFacts* facts : registered_policies()) {
    CAPTURE(facts->name);
    ++policy;
    int plans = 0;
    std::size_t platform = 0;
    for (const std::string& file : platforms) {
      CAPTURE(file);
      ++platform;
      Scene s{Platform::load(kRoot + "/" + file), all_graphs.front(), model};
      for (std::size_t g = 0; g < all_graphs.size(); ++g) {
        const LayerGraph& graph = all_graphs[g];
        CAPTURE(graph.name());
        // Until the first plan all: what a policy can plan for may be rare.
        if (plans > 0 && !is_drawn(policy, platform, g)) continue;
        if (!every_host_holds(s.platform, graph)) continue;  // a policy need not know that
        s.graph = graph;
        std::set<std::pair<std::string, std::vector<double>>> kinds;
        for (const Host& host : s.platform.hosts()) {
          if (host.tier != Tier::kDevice) continue;
          // One device of a kind, with routes of a kind, stands for all of them.
          const std::vector<double> routes = route_kinds(s.platform, s.platform.find_host(host.name));
          if (!kinds.emplace(host.device_type + " " + host.profile, routes).second) continue;
          CAPTURE(host.name);
          s.source = host.name;
          s.seed = 7;
          Plan plan;
          try {
            plan = policy_of(facts->name)->plan(s.problem());
          } catch (const InputError& error) {
            // A platform may lack what the policy needs; the message then says which and what.
            CHECK(std::string(error.what()).find(s.platform.file()) != std::string::npos);
            continue;
          }
          CHECK_NOTHROW(check_plan(s.graph, s.platform, s.host(s.source), s.wire, plan, facts->name));
          CHECK(!plan.pieces.empty());  // one source alone is not turned away
          CHECK(plan == policy_of(facts->name)->plan(s.problem()));
          ++plans;
        }
      }
    }
    CHECK(plans > 0);
  }
}

TEST_CASE("policies: an unknown parameter is an error that lists the parameters") {
  for (const PolicyFacts* facts : registered_policies()) {
    CAPTURE(facts->name);
    const std::string error = input_error([&] { policy_of(facts->name, {{"no_such_parameter", 1}}); });
    CHECK(error.find("no_such_parameter") != std::string::npos);
    for (const ParameterFacts& parameter : facts->parameters)
      CHECK(error.find(parameter.name) != std::string::npos);
  }
}

TEST_CASE("policies: a parameter of the wrong type, or none of the choices, is an error at its place") {
  for (const PolicyFacts* facts : registered_policies()) {
    for (const ParameterFacts& parameter : facts->parameters) {
      CAPTURE(facts->name);
      CAPTURE(parameter.name);
      const std::string place = "p.json: /" + parameter.name;
      CHECK(input_error([&] {
              policy_of(facts->name, {{parameter.name, Json::array()}});
            }).starts_with(place));
      if (parameter.choices.empty()) continue;
      const std::string error = input_error([&] { policy_of(facts->name, {{parameter.name, "?"}}); });
      CHECK(error.starts_with(place));
      for (const std::string& choice : parameter.choices) CHECK(error.find(choice) != std::string::npos);
    }
  }
}

TEST_CASE("policies: an unknown name lists the policies") {
  const std::string error = input_error([] { policy_facts("edgend", "e.json: /policies/0/name"); });
  CHECK(error.starts_with("e.json: /policies/0/name: \"edgend\" is no policy"));
  CHECK(error.ends_with("did you mean \"edgent\"?"));
}
