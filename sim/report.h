#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sim/experiment.h"
#include "sim/json_reader.h"
#include "sim/sweep.h"

namespace cdisim {

/// Widest line that reports print.
inline constexpr std::size_t kTerminalWidth = 100;

/// A cell of a CSV file (RFC 4180), in quotes where it needs them.
std::string csv_cell(const std::string& text);

/// A table of text with aligned columns; numbers (cells that start with a digit or sign) to the right.
/// Columns that do not fit kTerminalWidth together are shortened, the widest first.
std::string format_table(const std::vector<std::string>& head,
                         const std::vector<std::vector<std::string>>& rows);

/// results.json.
Json results_json(const Experiment& experiment, const SweepResults& results);

/// What the terminal shows of a results.json: the runs (points down, policies across where that fits), then
/// the published figures beside the simulated ones, then one line of counts.
std::string report_text(const std::string& title, const Json& results);

/// The table of published figures alone, and its line of counts.
std::string figures_text(const Json& figures);
std::string figures_summary(const Json& figures);

/// Which run failed and why, in one line.
std::string failure_text(const Experiment& experiment, const RunFailure& failure);

/// Writes a file as a whole or not at all. @throws InputError when the folder cannot be written.
void write_file(const std::filesystem::path& path, const std::string& text);

/// A progress bar on standard error, only when that is a terminal.
class ProgressBar {
 public:
  ProgressBar(std::string title, bool quiet);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void update(int done, int total);

 private:
  std::string title_;
  bool shown_;
};

}  // namespace cdisim
