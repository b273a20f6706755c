#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>

#include "tests/policies/scene.h"

namespace cdisim {

/// UAVs "uav_0", ... with a link of 2 ms between any two.
/// @param host       (number) its attributes and properties
/// @param bytes_per_s  (numbers) of the link between two, the smaller number first
inline std::string swarm_xml(int n, const std::function<std::string(int)>& host,
                             const std::function<double(int, int)>& bytes_per_s) {
  std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">)", routes;
  for (int i = 0; i < n; ++i) xml += fmt::format(R"(<host id="uav_{}" {}</host>)", i, host(i));
  for (int i = 0; i < n; ++i) {
    for (int k = i + 1; k < n; ++k) {
      xml += fmt::format(R"(<link id="l{}_{}" bandwidth="{}Bps" latency="2ms"/>)", i, k, bytes_per_s(i, k));
      routes += fmt::format(R"(<route src="uav_{0}" dst="uav_{1}"><link_ctn id="l{0}_{1}"/></route>)", i, k);
    }
  }
  return xml + routes + "</zone></platform>";
}

inline std::string swarm_host(double speed_flop_per_s, double memory_bytes, double busy_w = 2) {
  return fmt::format(R"(speed="{}f"><prop id="tier" value="uav"/><prop id="memory" value="{}B"/>)"
                     R"(<prop id="wattage_per_state" value="1:{}"/>)",
                     speed_flop_per_s, static_cast<long>(memory_bytes), busy_w);
}

/// Three stages: 9,633,792 multiplications and 196,864 B of weights, 3,612,672 and 295,424, 32,768 and
/// 132,096. Input 602,112 B, then 50,176, 512 and 1,024; no layer has more input and output than the first.
inline Scene swarm_scene(const std::string& xml) {
  Scene s{Platform::parse(xml, "swarm.xml"), LayerGraph::load(kRoot + "/workloads/goel_caltech256.json")};
  s.source = "uav_0";
  return s;
}
inline constexpr double kStageWork_bytes = 602112 + 50176;

}  // namespace cdisim
