#pragma once

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "policies/shared/failures.h"
#include "policies/shared/sections.h"
#include "sim/experiment.h"
#include "sim/random.h"
#include "sim/simulation.h"
#include "sim/sweep.h"
#include "tests/policies/scene.h"
#include "tests/support.h"

namespace cdisim {

inline const std::string kHealthSections = "e_relu_1@edge f2_relu_2@fog_2 f1_relu_3@fog_1 prob@cloud";
inline const std::string kCameraSections =
    "e1_relu_1@edge_1 e2_relu_1@edge_2 e3_relu_1@edge_3 e4_relu_1@edge_4 f3_relu_1@fog_3 f4_relu_2@fog_4 "
    "f2_relu_2@fog_2 f1_relu_2@fog_1 prob@cloud";

inline Scene health_scene(const std::string& model) {
  Scene s = scene("platforms/fog_chain.xml", "workloads/" + model + ".json");
  s.source = "iot";
  s.wire.result_bytes = 0;
  return s;
}

/// Asked for by the cloud; the cameras are sensors.
inline Scene camera_scene(const std::string& model) {
  Scene s = scene("platforms/fog_cameras.xml", "workloads/" + model + ".json");
  s.source = "cloud";
  s.wire.result_bytes = 0;
  add_cameras(s);
  return s;
}

/// (n_hosts), 1 where nothing is said.
inline std::vector<double> survival_of(const Scene& s, const std::map<std::string, double>& by_host) {
  std::vector<double> out(static_cast<std::size_t>(s.platform.host_count()), 1);
  for (const auto& [host, p] : by_host) out[static_cast<std::size_t>(s.host(host))] = p;
  return out;
}

/// The setting of the logs, or their low one.
inline std::vector<double> camera_survival(const Scene& s, bool low = false) {
  const std::vector<double> p =
      low ? std::vector<double>{0.8, 0.8, 0.75, 0.7, 0.65, 0.65, 0.6, 0.6}
          : std::vector<double>{0.999, 0.998, 0.995, 0.99, 0.985, 0.985, 0.98, 0.97};
  std::map<std::string, double> by_host;
  for (std::size_t i = 0; i < 4; ++i) {
    by_host[fmt::format("fog_{}", i + 1)] = p[i];
    by_host[fmt::format("edge_{}", i + 1)] = p[i + 4];
  }
  return survival_of(s, by_host);
}

inline Problem guarded_problem(Scene& s, const std::vector<double>& survival) {
  s.problem();  // fills in the bandwidths
  return {.graph = s.graph,
          .platform = s.platform,
          .latency_model = s.model,
          .wire = s.wire,
          .source = s.host(s.source),
          .deadline_s = s.deadline_s,
          .bandwidth_bytes_per_s = s.bandwidth_bytes_per_s,
          .history = s.history,
          .seed = s.seed,
          .survival = survival};
}

// ---- random chains of sections ----

/// 3 to 6 hosts in a row, any two joined; a section of one fc on each but the first, and over each of the
/// sections but the last a hyperconnection, or none.
inline Scene random_chain(Random& random) {
  const int n = 3 + random.below(4);
  std::string xml = R"(<platform version="4.1"><zone id="z" routing="Full">)";
  for (int i = 0; i < n; ++i) {
    xml += fmt::format(R"(<host id="h{}" speed="1Gf"><prop id="tier" value="{}"/></host>)", i,
                       i == 0       ? "device"
                       : i + 1 == n ? "cloud"
                                    : "edge");
  }
  for (int i = 0; i < n; ++i) {
    for (int j = i + 1; j < n; ++j)
      xml += fmt::format(R"(<link id="l{}_{}" bandwidth="1MBps" latency="1ms"/>)", i, j);
  }
  for (int i = 0; i < n; ++i) {
    for (int j = i + 1; j < n; ++j)
      xml += fmt::format(R"(<route src="h{0}" dst="h{1}"><link_ctn id="l{0}_{1}"/></route>)", i, j);
  }
  Json layers = Json::array();
  const auto add = [&](const std::string& name, const char* kind, std::vector<std::string> inputs,
                       Json more) {
    more["name"] = name;
    more["kind"] = kind;
    more["inputs"] = std::move(inputs);
    layers.push_back(more);
    return name;
  };
  std::vector<std::string> below{"input"};
  for (int i = 1; i < n; ++i) {
    std::string tensor = below.back();
    if (i >= 2 && random.below(4) > 0) {
      const std::string skip =
          add(fmt::format("skip_{}", i), "elementwise", {below[below.size() - 2]}, {{"function", "scale"}});
      tensor = add(fmt::format("join_{}", i), "add", {tensor, skip}, {{"absent", "skip"}});
    }
    below.push_back(add(fmt::format("fc_{}", i), "fc", {tensor}, {{"output", {8}}}));
  }
  const Json graph = {{"schema", 1},         {"name", "chain"},           {"source", "test"},
                      {"precision", "fp32"}, {"input", {{"shape", {8}}}}, {"layers", layers}};
  Scene s{Platform::parse(xml + "</zone></platform>", "p.xml"), LayerGraph::parse(graph, "g")};
  s.source = "h0";
  return s;
}

inline std::string chain_sections(const Scene& s) {
  std::string out;
  for (HostId host = 1; host < s.platform.host_count(); ++host) out += fmt::format("fc_{0}@h{0} ", host);
  return out;
}

/// Of the chain with some of its hyperconnections, from all patterns of failures.
inline double chain_availability(const Scene& s, const std::vector<double>& survival,
                                 const std::set<std::string>& present) {
  const int n = s.platform.host_count();
  double availability = 0;
  for (unsigned failed = 0; failed < 1U << n; ++failed) {
    double p = 1;
    std::vector<bool> gives(static_cast<std::size_t>(n), true);
    for (int i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const bool works = (failed >> i & 1U) == 0;
      p *= works ? survival[at] : 1 - survival[at];
      if (i == 0) continue;
      // A hyperconnection of section i starts from what section i - 2 gives.
      const bool fed =
          gives[at - 1] || (i >= 2 && gives[at - 2] && present.contains(fmt::format("skip_{}", i)));
      gives[at] = works && fed;
    }
    if (gives.back()) availability += p;
  }
  return availability;
}

// ---- simulated requests ----

struct Mean {
  double mean = 0, error = 0;  ///< standard error of the mean
  /// Within 3.3 standard errors: one true value in a thousand is outside.
  bool holds(double value) const { return std::abs(value - mean) <= 3.3 * error + 1e-9 * std::abs(value); }
};

struct Sample {
  double arrived = 0, bytes = 0;
  Mean answered, latency_s, accuracy;
};

/// Requests far apart, under one plan, that draw which hosts work.
inline Sample simulated(const Scene& s, const Plan& plan, const std::vector<double>& survival, int requests) {
  RunSpec spec = spec_of(s);
  spec.arrivals.kind = Arrivals::Kind::kPeriodic;
  spec.arrivals.period_s = 1;
  spec.requests = requests;
  spec.survival = survival;
  const Json json = run_in_child([&]() -> Json {
    const Trace trace = simulate_plan(spec, plan);
    std::vector<double> answered, latency_s, accuracy;
    for (const RequestRecord& request : trace.requests) {
      if (request.state == RequestState::kInFlight) continue;
      answered.push_back(request.state == RequestState::kCompleted);
      if (request.state != RequestState::kCompleted) continue;
      latency_s.push_back(request.end_s - request.arrival_s);
      accuracy.push_back(request.accuracy.value_or(0));
    }
    double bytes = 0;
    for (const double crossed : trace.link_bytes) bytes += crossed;
    return {answered, latency_s, accuracy, bytes};
  });
  const auto mean = [](const Json& values) {
    Mean out;
    const auto n = static_cast<double>(values.size());
    for (const Json& value : values) out.mean += value.get<double>() / n;
    for (const Json& value : values) out.error += std::pow(value.get<double>() - out.mean, 2);
    out.error = std::sqrt(out.error / (n - 1) / n);
    return out;
  };
  return {static_cast<double>(json[0].size()), json[3].get<double>(), mean(json[0]), mean(json[1]),
          mean(json[2])};
}

/// Standard deviation of what one request sends, over all patterns of failures.
inline double bytes_deviation(Scene& s, const Plan& plan, const std::vector<double>& survival) {
  const double mean = outlook(guarded_problem(s, survival), plan).bytes;
  const std::vector<HostId> hosts = unreliable_hosts(guarded_problem(s, survival), plan);
  double variance = 0;
  for (unsigned failed = 0; failed < 1U << hosts.size(); ++failed) {
    double p = 1;
    std::vector<double> fixed(survival.size(), 1);
    for (std::size_t i = 0; i < hosts.size(); ++i) {
      const auto host = static_cast<std::size_t>(hosts[i]);
      const bool fails = (failed >> i & 1U) != 0;
      p *= fails ? 1 - survival[host] : survival[host];
      fixed[host] = fails ? 0 : 1;
    }
    variance += p * std::pow(outlook(guarded_problem(s, fixed), plan).bytes - mean, 2);
  }
  return std::sqrt(variance);
}

/// The entry in results.json of one run of the health network on its chain, a request every 10 ms; `more`
/// adds keys.
inline Json run_experiment(const std::string& model, const std::string& policy, const Json& more) {
  Json experiment = {{"schema", 1},
                     {"name", "test"},
                     {"title", "test"},
                     {"platform", kRoot + "/platforms/fog_chain.xml"},
                     {"model", kRoot + "/workloads/" + model + ".json"},
                     // The hosts are known by their speed: any model will do.
                     {"latency_model", kRoot + "/platforms/latency/edgent_execution.json"},
                     {"wire", {{"result_bytes", 0}}},
                     {"sources", "iot"},
                     {"arrivals", {{"kind", "periodic"}, {"period", "10ms"}}},
                     {"policies", Json::array({{{"name", policy}, {"sections", kHealthSections}}})}};
  experiment.update(more);
  const TempFolder folder;
  folder.write("test.json", experiment.dump());
  const SweepResults results = run_sweep(Experiment::load(folder / "test.json", std::nullopt), {});
  REQUIRE(results.failures.empty());
  return results.runs.at(0);
}

}  // namespace cdisim
