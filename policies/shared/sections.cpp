#include "policies/shared/sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <string>

#include "policies/shared/hosts.h"
#include "sim/error.h"

namespace cdisim {

namespace {

// Whether `from` is `to` or one of its ancestors; `from` may be kInput.
bool reaches(const LayerGraph& graph, LayerId from, LayerId to) {
  std::vector<bool> reached(static_cast<std::size_t>(to) + 2, false);
  reached[static_cast<std::size_t>(from + 1)] = true;
  for (LayerId id = std::max(from + 1, 0); id <= to; ++id) {
    reached[static_cast<std::size_t>(id + 1)] = std::ranges::any_of(
        graph.layer(id).inputs, [&](LayerId input) { return reached[static_cast<std::size_t>(input + 1)]; });
  }
  return reached.back();
}

Sections equal_shares(const Problem& problem, int exit) {
  std::vector<HostId> hosts{problem.source};
  const std::vector<HostId> others = servers_of_tiers(problem);
  for (const Tier tier : {Tier::kEdge, Tier::kCloud}) {
    std::vector<HostId> of_tier = others;
    std::erase_if(of_tier, [&](HostId host) {
      return problem.platform.host(host).tier != tier ||
             problem.platform.route(hosts.back(), host) == nullptr;
    });
    if (!of_tier.empty()) hosts.push_back(fastest_host(problem, exit, of_tier));
  }
  const std::span<const LayerId> layers = problem.graph.exit_layers(exit);
  double work = 0, done = 0;
  for (const LayerId id : layers) work += problem.graph.layer(id).work_flop;
  Sections out;
  const auto n = static_cast<double>(hosts.size());
  for (const LayerId id : layers) {
    done += problem.graph.layer(id).work_flop;
    const auto next = out.sections.size();
    if (next + 1 < hosts.size() && done >= work * static_cast<double>(next + 1) / n)
      out.sections.push_back({id, hosts[next]});
  }
  if (out.sections.empty() || out.sections.back().end != layers.back())
    out.sections.push_back({layers.back(), hosts.back()});
  return out;
}

}  // namespace

ParameterFacts sections_parameter() {
  return {.name = "sections",
          .type = "string",
          .standard = "",
          .about =
              "last layer and host of each section, \"relu_1@edge prob@cloud\"; empty: equal shares of "
              "the work for the source, an edge and a cloud host"};
}

Sections chosen_sections(const Problem& problem, int exit, const Parameters& parameters) {
  if (parameters.string("sections").empty()) return equal_shares(problem, exit);
  const std::span<const LayerId> layers = problem.graph.exit_layers(exit);
  std::vector<std::string> names;
  for (const LayerId id : layers) names.push_back(problem.graph.layer(id).name);
  const auto fail = [&](const std::string& why) { parameters.fail("sections", why); };
  Sections out;
  std::istringstream words(parameters.string("sections"));
  for (std::string word; words >> word;) {
    const auto at = word.find('@');
    if (at == std::string::npos) fail(fmt::format("\"{}\" is no layer@host", word));
    const std::string name = word.substr(0, at), host_name = word.substr(at + 1);
    const auto layer = std::ranges::find(names, name);
    if (layer == names.end())
      fail(fmt::format("\"{}\" is no layer of \"{}\"{}", name, problem.graph.name(),
                       valid_choices(name, names)));
    const HostId host = problem.platform.find_host(host_name);
    if (host < 0) {
      fail(fmt::format("\"{}\" is no host of {}{}", host_name, problem.platform.file(),
                       valid_choices(host_name, problem.platform.host_names())));
    }
    const LayerId end = layers[static_cast<std::size_t>(layer - names.begin())];
    if (!out.sections.empty() && end <= out.sections.back().end)
      fail(fmt::format("\"{}\" does not come after the layer before it", name));
    out.sections.push_back({end, host});
  }
  if (out.sections.empty() || out.sections.back().end != layers.back())
    fail(fmt::format("the last section must end with \"{}\"", names.back()));
  return out;
}

std::vector<LayerId> hyperconnections(const LayerGraph& graph, int exit) {
  std::vector<LayerId> out;
  for (const LayerId id : graph.exit_layers(exit)) {
    const std::span<const LayerId> readers = graph.consumers(id);
    if (readers.size() != 1 || graph.layer(id).inputs.size() != 1) continue;
    const LayerId join = readers.front(), tensor = graph.layer(id).inputs.front();
    if (graph.layer(join).absent == Absent::kRefuse) continue;
    const bool another_way = std::ranges::any_of(graph.layer(join).inputs, [&](LayerId input) {
      return input != id && input != kInput && reaches(graph, tensor, input);
    });
    // Of two ways the hyperconnection is the one that goes nowhere else: what comes first is the normal one.
    if (another_way && graph.layer(join).inputs.front() != id) out.push_back(id);
  }
  return out;
}

Plan sections_plan(const Problem& problem, int exit, const Sections& sections, HyperconnectionHost where,
                   const std::vector<LayerId>& left_out) {
  const LayerGraph& graph = problem.graph;
  const auto section_of = [&](LayerId id) {
    return std::ranges::lower_bound(sections.sections, id, {}, &Sections::Section::end) -
           sections.sections.begin();
  };
  // One that begins and ends in the same section is a part of it like any other.
  std::vector<LayerId> skips = hyperconnections(graph, exit);
  std::erase_if(skips, [&](LayerId id) {
    const LayerId tensor = graph.layer(id).inputs.front();
    return tensor != kInput && section_of(tensor) == section_of(graph.consumers(id).front());
  });
  std::map<LayerId, HostId> host_of;
  Plan plan;
  plan.exit = exit;
  // By section and host: sections follow one another, so their pieces do, too.
  std::map<std::pair<std::ptrdiff_t, HostId>, std::size_t> piece_of;
  for (const LayerId id : graph.exit_layers(exit)) {
    const std::ptrdiff_t section = section_of(id);
    const auto sensor = problem.wire.sensors.find(id);
    const HostId host = sensor == problem.wire.sensors.end()
                            ? sections.sections[static_cast<std::size_t>(section)].host
                            : sensor->second;
    host_of[id] = host;
    if (std::ranges::binary_search(skips, id) || std::ranges::binary_search(left_out, id)) continue;
    const auto [piece, is_new] = piece_of.try_emplace({section, host}, plan.pieces.size());
    if (is_new) plan.pieces.push_back({{}, host});
    plan.pieces[piece->second].layers.push_back(id);
  }
  for (const LayerId id : skips) {
    if (std::ranges::binary_search(left_out, id)) continue;
    const LayerId tensor = graph.layer(id).inputs.front();
    const double before = tensor_bytes(graph, problem.wire, tensor);
    const bool at_receiver =
        where == HyperconnectionHost::kFewestBytes && before < tensor_bytes(graph, problem.wire, id);
    const HostId sender = tensor == kInput ? problem.source : host_of.at(tensor);
    plan.pieces.push_back({{id}, at_receiver ? host_of.at(graph.consumers(id).front()) : sender});
  }
  return plan;
}

}  // namespace cdisim
