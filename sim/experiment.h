#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/json_reader.h"
#include "sim/published.h"
#include "sim/simulation.h"

namespace cdisim {

/// One policy at one point of one sweep.
struct Run {
  std::string policy;  ///< the entry's label, or its name
  std::size_t policy_index = 0;
  Json point;  ///< {JSON pointer into the experiment: value}
};

/// Everything that one run needs, owned: `spec` points into the other members.
struct RunSetup {
  Platform platform;
  std::shared_ptr<const LayerGraph> graph;
  std::shared_ptr<const LatencyModel> latency_model, estimator;
  const PolicyFacts* facts = nullptr;
  std::unique_ptr<Parameters> parameters;
  RunSpec spec;

  MakePolicy make_policy() const;
};

/// What a researcher writes: platform, model, latency models, arrivals, policies, sweeps and the published
/// figures to compare with. README.md documents every key.
class Experiment {
 public:
  /// Loads the file and validates all of it: every point of every sweep is built once, every policy's
  /// parameters are checked, every published figure must name one run. `seed` replaces the experiment's.
  /// @throws InputError with file, JSON pointer, value and valid choices.
  static Experiment load(const std::filesystem::path& path, std::optional<std::uint64_t> seed);
  /// The same of what a file holds: `path` names it in errors, and in its folder relative names are looked
  /// up.
  static Experiment parse(Json document, const std::filesystem::path& path,
                          std::optional<std::uint64_t> seed);

  const std::string& name() const { return name_; }
  const std::string& title() const { return title_; }
  const std::string& system() const { return system_; }
  std::uint64_t seed() const { return seed_; }
  int repetitions() const { return repetitions_; }
  const std::vector<Run>& runs() const { return runs_; }
  const std::vector<PublishedFigure>& published() const { return published_; }

  /// Builds what a repetition of a run needs; its seed is seed() + repetition. @throws InputError as load().
  std::unique_ptr<RunSetup> setup(const Run& run, int repetition = 0) const;

 private:
  std::filesystem::path path_;
  Json document_;
  std::string name_, title_, system_;
  std::uint64_t seed_ = 1;
  int repetitions_ = 1;
  std::vector<Run> runs_;
  std::vector<PublishedFigure> published_;
  // Files are read once, whatever number of points names them.
  struct Cache;
  std::shared_ptr<Cache> cache_;

  std::unique_ptr<RunSetup> read(const Json& document, const Run& run, std::uint64_t seed) const;
  void read_sweeps(const JsonReader& top);
};

/// Gives the document of an experiment other policies: the entries of an array as in "policies", or labels of
/// entries that it has. Sweeps for some policies keep those of them that are still there, and get the new
/// ones; a figure whose policies are not all there goes.
void replace_policies(Json& document, const Json& policies);

/// Path and document of the experiment that `given` names (a file or the name of one), or is; then
/// "experiment" stands for its path. `policies` replace its own unless null. `vary` (the "vary" of one sweep)
/// stands in place of its sweeps and published figures unless null.
std::pair<std::filesystem::path, Json> find_experiment(const Json& given, const Json& policies,
                                                       const Json& vary);

}  // namespace cdisim
