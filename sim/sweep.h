#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/experiment.h"
#include "sim/json_reader.h"

namespace cdisim {

struct SweepOptions {
  int jobs = 1;                                            ///< children at a time
  bool requests = false;                                   ///< collect the rows of requests.csv
  bool chrome_trace = false;                               ///< collect trace events
  std::function<void(int done, int total)> progress = {};  ///< called when a repetition has ended
  /// Called in the child, before it builds anything.
  std::function<void(std::size_t run, int repetition)> started = {};
};

/// What a run could not deliver.
struct RunFailure {
  std::size_t run = 0;
  bool input_error = false;  ///< the user's input, not the program
  std::string message;
};

struct SweepResults {
  Json runs =
      Json::array();  ///< as in results.json; a failed run has "error" in place of "plan" and "metrics"
  std::vector<RunFailure> failures;
  std::string requests_csv;
  Json trace_events = Json::array();
};

/// Runs all runs and repetitions of an experiment, each in a forked child (SimGrid has one engine a process),
/// `jobs` at a time. A child that fails or dies costs its run only. Results come in the order of the runs,
/// whatever `jobs` is.
SweepResults run_sweep(const Experiment& experiment, const SweepOptions& options);

/// Runs `work` in a forked child and returns its result.
/// @throws InputError that the child threw; std::runtime_error naming signal or exit status and the last line
/// on its standard error when it died.
Json run_in_child(const std::function<Json()>& work);

}  // namespace cdisim
