#pragma once

#include <string>
#include <vector>

#include "sim/json_reader.h"

namespace cdisim {

/// Which run, and which value of it.
struct Selector {
  std::string policy;  ///< label of the experiment's policy
  Json point;          ///< sweep values that the run must have; others do not matter
  std::string metric;  ///< JSON pointer into a run of results.json: "/metrics/latency_s/mean", "/plan/exit"
};

/// One number or claim of a paper beside what the simulation must show.
struct PublishedFigure {
  enum class Compare {
    kRelative,  ///< |simulated - published| <= tolerance * |published|
    kEqual,
    kRange,    ///< published is [low, high], widened by the tolerance
    kAtLeast,  ///< simulated >= published - tolerance * |published|
    kOrder,    ///< simulated < the simulated value of `than`
  };
  std::string id;
  Selector select;
  Selector than;        ///< order only
  Selector divided_by;  ///< what the simulated value is a multiple of (a baseline); no policy: 1
  Compare compare = Compare::kRelative;
  Json published;      ///< number, [low, high], or the claim in words (order), in `unit`
  std::string unit;    ///< "ms", "s", "J", ...; empty for a count or ratio
  double unit_si = 1;  ///< SI units in one `unit`
  double tolerance = 0;
  std::string source;
  std::string unchecked;  ///< reason, where the figure is only shown
  std::string deviates;   ///< reason, where it is known not to be reproduced
};

/// Reads an experiment's `published` array. An entry is one figure ("value") or a curve ("over": a sweep's
/// JSON pointer, "values": {sweep value: published}), which becomes one figure a point. "divided_by" {policy,
/// metric, point}: the figure is a ratio, as the speed-ups of papers are; unless it fixes that sweep value, a
/// curve's points are those of both runs. @throws InputError.
std::vector<PublishedFigure> read_published(const JsonReader& reader);

/// Sets every figure beside the runs of results.json: an array of {"system", "experiment", "id", "metric",
/// "compare", "published", "simulated", "unit", "relative_error", "tolerance", "status", "expected",
/// "reason", "source"}. `expected` is the status recorded in the experiment.
Json compare_published(const std::vector<PublishedFigure>& figures, const Json& runs,
                       const std::string& system, const std::string& experiment);

/// The runs that a selector names. The loader wants exactly one.
std::vector<std::size_t> matching_runs(const Selector& selector, const Json& runs);

}  // namespace cdisim
