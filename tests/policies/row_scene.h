#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "policies/shared/row_shares.h"
#include "sim/random.h"
#include "tests/policies/scene.h"

namespace cdisim {

/// Convolutions and pools over an image of so many rows, with residual and parallel branches unless `chain`;
/// mostly an fc behind.
inline Json random_image_graph(Random& random, int image_rows, bool chain) {
  Json layers = Json::array();
  std::string last = "input";
  int channels = 2, rows = image_rows;
  const auto add = [&](Json layer, const std::vector<std::string>& inputs) {
    layer["name"] = fmt::format("l{}", layers.size());
    layer["inputs"] = inputs;
    layers.push_back(layer);
    return layer["name"].get<std::string>();
  };
  const auto conv = [&](const std::string& of, int kernel, int out) {
    const int around = kernel / 2;
    return add({{"kind", "conv"},
                {"kernel", {kernel, kernel}},
                {"padding", {around, around, around, around}},
                {"output", {out, rows, rows}}},
               {of});
  };
  const int n = 2 + random.below(4);
  for (int i = 0; i < n; ++i) {
    switch (random.below(chain ? 3 : 5)) {
      case 0:
        last = add({{"kind", "relu"}}, {conv(last, 1 + 2 * random.below(3), channels = 1 + random.below(4))});
        break;
      case 1:
        if (rows % 2 == 0 && rows >= 2 * image_rows / 4) {
          last = add({{"kind", "max_pool"}, {"kernel", {2, 2}}, {"stride", {2, 2}}}, {last});
          rows /= 2;
          break;
        }
        [[fallthrough]];
      case 2:
        last = add({{"kind", "max_pool"}, {"kernel", {3, 3}}, {"padding", {1, 1, 1, 1}}}, {last});
        break;
      case 3: {
        const std::string first = conv(last, 3, channels);
        last = add({{"kind", "add"}},
                   {last == "input" ? conv(last, 1, channels) : last, conv(first, 3, channels)});
        break;
      }
      default: {
        const std::string wide = conv(conv(last, 1, 2), 5, 2), narrow = conv(last, 1, 1);
        last = add({{"kind", "concat"}}, {wide, narrow});
        channels = 3;
      }
    }
  }
  if (random.below(4) > 0) add({{"kind", "fc"}, {"output", {10}}}, {last});
  return {{"schema", 1},
          {"name", "random"},
          {"source", "test"},
          {"precision", "fp32"},
          {"input", {{"shape", {2, image_rows, image_rows}}}},
          {"layers", layers}};
}

/// Hosts "device", "host_1", ..., each pair with a link of its own each way.
inline std::string random_mesh(Random& random, int hosts) {
  std::string out = R"(<platform version="4.1"><zone id="z" routing="Full">)";
  std::vector<std::string> names;
  for (int i = 0; i < hosts; ++i) {
    names.push_back(i == 0 ? "device" : fmt::format("host_{}", i));
    out += fmt::format(
        R"(<host id="{}" speed="{}f"><prop id="tier" value="device"/><prop id="wattage_per_state" value="1:{}"/>)",
        names.back(), 1e6 * (1 + 9 * random.uniform()), 2 + 8 * random.uniform());
    out += fmt::format(R"(<prop id="joule_per_byte_radio" value="{}:{}"/></host>)", 1e-6 * random.uniform(),
                       1e-6 * random.uniform());
  }
  std::string routes;
  for (const std::string& from : names) {
    for (const std::string& to : names) {
      if (from == to) continue;
      out += fmt::format(R"(<link id="{}_{}" bandwidth="{}Bps" latency="{}s"/>)", from, to,
                         1e4 * (1 + 99 * random.uniform()), 1e-5 + 1e-3 * random.uniform());
      routes += fmt::format(R"(<route src="{0}" dst="{1}" symmetrical="NO"><link_ctn id="{0}_{1}"/></route>)",
                            from, to);
    }
  }
  return out + routes + "</zone></platform>";
}

inline Scene row_scene(Random& random, int hosts, int image_rows, bool chain) {
  return {Platform::parse(random_mesh(random, hosts), "p.xml"),
          LayerGraph::parse(random_image_graph(random, image_rows, chain), "g")};
}

/// What a plan of row_plan() takes when all wait for each other before every block and before the tail, from
/// its pieces and edges alone: seconds, and the joule above idle of all hosts, radios included.
struct InStep {
  double latency_s = 0, energy_j = 0;
};
inline InStep in_step(const Problem& problem, const RowLayers& rows, const std::vector<int>& begins,
                      const Plan& plan) {
  std::vector<std::size_t> step_of;  // by piece: its block, then the tail
  for (const Piece& piece : plan.pieces) {
    std::size_t step = begins.size();
    for (std::size_t b = 0; b < begins.size(); ++b) {
      const auto end = b + 1 < begins.size() ? static_cast<std::size_t>(begins[b + 1]) : rows.stages.size();
      for (auto s = static_cast<std::size_t>(begins[b]); s < end; ++s) {
        if (std::ranges::count(rows.stages[s], piece.layers.front()) > 0) step = b;
      }
    }
    step_of.push_back(step);
  }
  const std::size_t steps = begins.size() + 2;  // the result's way is one
  std::vector<std::vector<Transfer>> transfers(steps);
  std::vector<double> longest_s(steps, 0);
  InStep out;
  const auto host_of = [&](int end) {
    return end == kSourceEnd ? problem.source : plan.pieces[static_cast<std::size_t>(end)].host;
  };
  for (const PlanEdge& edge : plan_edges(problem.graph, problem.wire, plan)) {
    const std::size_t step = edge.to == kSourceEnd ? steps - 1 : step_of[static_cast<std::size_t>(edge.to)];
    const HostId from = host_of(edge.from), to = host_of(edge.to);
    if (from == to) continue;
    transfers[step].push_back({from, to, edge.bytes});
    out.energy_j += edge.bytes * (problem.platform.host(from).radio.tx_j_per_byte +
                                  problem.platform.host(to).radio.rx_j_per_byte);
  }
  for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
    const HostId host = plan.pieces[p].host;
    const double s = problem.compute_s(plan.pieces[p]);
    longest_s[step_of[p]] = std::max(longest_s[step_of[p]], s);
    const PowerState& power = problem.platform.host(host).power_states.front();
    out.energy_j += s * (power.all_cores_w - power.idle_w);
  }
  for (std::size_t step = 0; step < steps; ++step)
    out.latency_s += phase_s(problem, transfers[step]) + longest_s[step];
  return out;
}

}  // namespace cdisim
