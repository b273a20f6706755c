#pragma once

#include <fmt/format.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "policies/shared/min_cut.h"
#include "sim/random.h"
#include "tests/policies/scene.h"

namespace cdisim {

// Convolutions, joins and element-wise layers over random earlier tensors; an early exit on a random one.
inline Json random_graph(Random& random, bool chain) {
  const int n = 1 + random.below(12);
  std::vector<std::string> names{"input"};
  std::vector<int> channels{1 + random.below(4)};
  std::vector<int> readers{0};
  Json layers = Json::array();
  const auto add = [&](Json layer, const std::vector<int>& inputs, int out_channels) {
    layer["name"] = fmt::format("l{}", names.size());
    layer["inputs"] = Json::array();
    for (const int input : inputs) {
      layer["inputs"].push_back(names[static_cast<std::size_t>(input)]);
      ++readers[static_cast<std::size_t>(input)];
    }
    layers.push_back(layer);
    names.push_back(layer["name"]);
    channels.push_back(out_channels);
    readers.push_back(0);
  };
  for (int i = 0; i < n; ++i) {
    const int last = static_cast<int>(names.size()) - 1;
    const int a = chain ? last : random.below(last + 1), b = chain ? last : random.below(last + 1);
    const int in = channels[static_cast<std::size_t>(a)];
    switch (random.below(a == b ? 3 : 4)) {
      case 0: {
        const int out = 1 + random.below(6);
        add({{"kind", "conv"}, {"kernel", {3, 3}}, {"padding", {1, 1, 1, 1}}, {"output", {out, 4, 4}}}, {a},
            out);
        break;
      }
      case 1:
        add({{"kind", "relu"}}, {a}, in);
        break;
      case 2:
        add({{"kind", "max_pool"}, {"kernel", {3, 3}}, {"padding", {1, 1, 1, 1}}}, {a}, in);
        break;
      default:
        add({{"kind", "concat"}}, {a, b}, in + channels[static_cast<std::size_t>(b)]);
    }
  }
  // What nobody reads is gathered; the heads are exits.
  std::vector<int> loose;
  int gathered = 0;
  for (std::size_t i = 1; i < names.size(); ++i) {
    if (readers[i] > 0) continue;
    loose.push_back(static_cast<int>(i));
    gathered += channels[i];
  }
  const int early = random.below(static_cast<int>(names.size()));
  if (loose.size() > 1) add({{"kind", "concat"}}, loose, gathered);
  const int top = loose.size() > 1 ? static_cast<int>(names.size()) - 1 : loose.front();
  add({{"kind", "fc"}, {"output", {10}}}, {early}, 0);
  add({{"kind", "fc"}, {"output", {10}}}, {top}, 0);
  const std::string early_exit = names[names.size() - 2], full_exit = names.back();
  return {{"schema", 1},
          {"name", "random"},
          {"source", "test"},
          {"precision", random.below(2) == 0 ? "fp32" : "int8"},
          {"input", {{"shape", {channels[0], 4, 4}}}},
          {"layers", layers},
          {"exits", {{{"name", "early"}, {"layer", early_exit}}, {{"name", "full"}, {"layer", full_exit}}}}};
}

inline std::string random_platform(Random& random) {
  std::string out = R"(<platform version="4.1"><zone id="z" routing="Full">)";
  for (const char* name : {"device", "edge", "cloud"}) {
    const double speed = 1e6 * (1 + 999 * random.uniform());
    out += fmt::format(R"(<host id="{}" speed="{}f,{}f" pstate="{}" core="{}"><prop id="tier" value="{}"/>)",
                       name, speed, speed * (0.2 + random.uniform()), random.below(2), 1 + random.below(4),
                       name);
    out += fmt::format(R"(<prop id="price_per_hour" value="{}"/>)", name[0] - 'a');  // 3, 4 and 2 USD
    if (random.below(4) > 0) out += fmt::format(R"(<prop id="device_type" value="t{}"/>)", random.below(3));
    out += fmt::format(R"(<prop id="wattage_per_state" value="1:1.5:{0},1:1.2:{0}"/>)",
                       2 + 8 * random.uniform());
    out += fmt::format(
        R"(<prop id="wattage_radio" value="{}:{}:{}"/><prop id="joule_per_byte_radio" value="{}:{}"/></host>)",
        random.uniform(), 1 + random.uniform(), 1 + random.uniform(), 1e-5 * random.uniform(),
        1e-5 * random.uniform());
  }
  for (const char* name : {"de", "ed", "dc", "cd", "ec", "ce"}) {
    const double bytes_per_s = 1e3 * (1 + 999 * random.uniform());
    out += fmt::format(
        R"(<link id="{}" bandwidth="{}Bps" latency="{}s"><prop id="price_per_gb" value="{}"/></link>)", name,
        bytes_per_s, 1e-4 + 0.05 * random.uniform(), 10 * (name[0] - 'b'));
  }
  const auto route = [&](const char* from, const char* to, const char* links) {
    out += fmt::format(R"(<route src="{}" dst="{}" symmetrical="NO">{}</route>)", from, to, links);
  };
  route("device", "edge", R"(<link_ctn id="de"/>)");
  route("edge", "device", R"(<link_ctn id="ed"/>)");
  route("device", "cloud", R"(<link_ctn id="de"/><link_ctn id="dc"/>)");
  route("cloud", "device", R"(<link_ctn id="cd"/><link_ctn id="ed"/>)");
  route("edge", "cloud", R"(<link_ctn id="ec"/>)");
  route("cloud", "edge", R"(<link_ctn id="ce"/>)");
  return out + "</zone></platform>";
}

// One device type of each kind; two of them pay before their first layer.
inline Json random_model(Random& random) {
  const auto terms = [&] {
    Json out;
    for (const char* kind : {"conv", "relu", "max_pool", "concat", "fc"}) {
      out[kind] = {{"constant", random.uniform()},
                   {"input_elements", 0.01 * random.uniform()},
                   {"filter_elements", 0.01}};
    }
    return out;
  };
  const Json run = {{"constant", 1000 * random.uniform()}, {"per_weight_byte", 0.01 * random.uniform()}};
  const auto sourced = [](double value) { return Json{{"value", value}, {"source", "test"}}; };
  return {{"schema", 1},
          {"name", "random"},
          {"devices",
           {{"t0",
             {{"kind", "regression"}, {"source", "test"}, {"unit", "ms"}, {"run", run}, {"terms", terms()}}},
            {"t1",
             {{"kind", "profile"},
              {"source", "test"},
              {"unit", "ms"},
              {"run", run},
              {"layers", {{"l1", 7.5}, {"l3", 0}}},
              {"otherwise", {{"unit", "us"}, {"terms", terms()}}}}},
            {"t2",
             {{"kind", "roofline"},
              {"source", "test"},
              {"efficiency", {{"other", sourced(0.1 + 0.9 * random.uniform())}}},
              {"memory_bandwidth_bytes_per_s", sourced(1e7)},
              {"layer_overhead_s", sourced(1e-3 * random.uniform())}}}}}};
}

/// A device, an edge and a cloud host, their links with other bandwidths than the platform's.
inline Scene random_scene(Random& random, bool chain) {
  Scene s{Platform::parse(random_platform(random), "p.xml"),
          LayerGraph::parse(random_graph(random, chain), "g"),
          LatencyModel::parse(random_model(random), "l")};
  if (random.below(2) == 0) s.wire.input_bytes = 5000 * random.uniform();
  if (random.below(2) == 0) s.wire.bytes_per_element = 8 * random.uniform();
  if (random.below(2) == 0) s.wire.result_bytes = random.below(100);
  s.problem();
  for (double& bandwidth : s.bandwidth_bytes_per_s) bandwidth *= 0.5 + random.uniform();
  return s;
}

/// The cut whose second side is the layers that `second` marks (by LayerId).
inline Cut cut_of(const LayerGraph& graph, std::span<const LayerId> layers, const std::vector<char>& second) {
  Cut cut;
  std::vector<char> crosses(static_cast<std::size_t>(graph.size()) + 1, 0);
  for (const LayerId id : layers) {
    const bool on_second = second[static_cast<std::size_t>(id)] != 0;
    (on_second ? cut.second : cut.first).push_back(id);
    if (!on_second) continue;
    for (const LayerId input : graph.layer(id).inputs) {
      if (input == kInput || second[static_cast<std::size_t>(input)] == 0)
        crosses[static_cast<std::size_t>(input + 1)] = 1;
    }
  }
  for (LayerId id = kInput; id < graph.size(); ++id) {
    if (crosses[static_cast<std::size_t>(id + 1)] != 0) cut.crossing.push_back(id);
  }
  return cut;
}

/// Every cut of these layers in which nothing returns from the second side to the first.
inline void for_each_cut(const LayerGraph& graph, std::span<const LayerId> layers,
                         const std::function<void(const Cut&)>& visit) {
  std::vector<char> second(static_cast<std::size_t>(graph.size()), 0);
  const auto place = [&](const auto& self, std::size_t i) -> void {
    if (i == layers.size()) {
      visit(cut_of(graph, layers, second));
      return;
    }
    char& here = second[static_cast<std::size_t>(layers[i])];
    here = 1;
    self(self, i + 1);
    here = 0;
    for (const LayerId input : graph.layer(layers[i]).inputs) {
      if (input != kInput && second[static_cast<std::size_t>(input)] != 0) return;
    }
    self(self, i + 1);
  };
  place(place, 0);
}

}  // namespace cdisim
