#include "sim/report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "sim/error.h"
#include "sim/resources.h"
#include "sim/units.h"

namespace cdisim {

namespace fs = std::filesystem;

namespace {

// Columns that a UTF-8 text takes on a terminal (no wide characters are printed here).
std::size_t columns(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string fit(const std::string& text, std::size_t width) {
  if (columns(text) <= width) return text;
  std::string out;
  for (const char c : text) {
    if ((c & 0xc0) != 0x80 && columns(out) + 1 >= width) break;
    out += c;
  }
  return out + "~";
}

bool is_number(const std::string& cell) {
  return !cell.empty() &&
         (std::isdigit(static_cast<unsigned char>(cell[0])) != 0 || cell[0] == '-' || cell[0] == '+');
}

std::string seconds(const Json& value) {
  return value.is_number() ? format_quantity(value.get<double>(), Dimension::kTime) : "-";
}

std::string number(const Json& value, const char* format = "{:.4g}") {
  return value.is_number()   ? fmt::format(fmt::runtime(format), value.get<double>())
         : value.is_string() ? value.get<std::string>()
         : value.is_null()   ? "-"
                             : value.dump();
}

std::string percent(const Json& value) {
  return value.is_number() ? fmt::format("{:.1f}%", 100 * value.get<double>()) : "-";
}

// "/links/lan/bandwidth" -> "lan bandwidth", "/deadline" -> "deadline".
std::string short_path(const std::string& path) {
  const auto last = path.rfind('/');
  if (last == 0) return path.substr(1);
  const auto before = path.rfind('/', last - 1);
  return path.substr(before + 1, last - before - 1) + " " + path.substr(last + 1);
}

std::string shown_value(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string latency_cell(const Json& run) {
  if (run.contains("error")) return "failed";
  const Json& metrics = run["metrics"];
  std::string cell;
  const Json& decision = run["plan"]["decision"];
  if (decision.contains("partition_point"))
    cell = fmt::format("{}/{} ", run["plan"]["exit"].get<int>(), decision["partition_point"].get<double>());
  cell += seconds(metrics["latency_s"]["mean"]);
  const Json& missed = metrics["deadline_miss_ratio"];
  if (missed.is_number() && missed.get<double>() > 0) cell += "!";
  return cell;
}

// Points down, policies across.
std::string runs_across(const Json& runs, const std::vector<std::string>& policies,
                        const std::vector<std::string>& axes) {
  std::vector<std::string> head;
  for (const std::string& axis : axes) head.push_back(short_path(axis));
  head.insert(head.end(), policies.begin(), policies.end());
  std::vector<std::vector<std::string>> rows;
  std::vector<Json> points;
  for (const Json& run : runs) {
    const auto known = std::find(points.begin(), points.end(), run["point"]);
    const auto row = static_cast<std::size_t>(known - points.begin());
    if (known == points.end()) {
      points.push_back(run["point"]);
      rows.emplace_back();
      for (const std::string& axis : axes)
        rows.back().push_back(run["point"].contains(axis) ? shown_value(run["point"][axis]) : "");
      rows.back().resize(head.size());
    }
    const auto policy = std::find(policies.begin(), policies.end(), run["policy"].get<std::string>());
    rows[row][axes.size() + static_cast<std::size_t>(policy - policies.begin())] = latency_cell(run);
  }
  return format_table(head, rows) +
         "mean latency; e/p: exit and partition point of the plan; !: requests missed the deadline\n";
}

// What a table takes where no column is cut below a width that still reads well.
std::size_t least_width(const std::vector<std::string>& head,
                        const std::vector<std::vector<std::string>>& rows) {
  constexpr std::size_t kGap = 2, kReadable = 9;
  std::size_t sum = 0;
  for (std::size_t c = 0; c < head.size(); ++c) {
    std::size_t width = columns(head[c]);
    for (const auto& row : rows) width = std::max(width, columns(row[c]));
    sum += std::min(width, kReadable) + kGap;
  }
  return sum - kGap;
}

// One run a line, with more of its metrics.
std::string runs_down(const Json& runs, const std::vector<std::string>& axes) {
  std::vector<std::string> head{"policy"};
  for (const std::string& axis : axes) head.push_back(short_path(axis));
  for (const char* name : {"exit", "latency", "ci95", "p95", "compute", "transfer", "queue", "missed", "lost",
                           "accuracy", "energy", "USD"})
    head.emplace_back(name);
  std::vector<std::vector<std::string>> rows;
  for (const Json& run : runs) {
    std::vector<std::string> row{run["policy"].get<std::string>()};
    for (const std::string& axis : axes)
      row.push_back(run["point"].contains(axis) ? shown_value(run["point"][axis]) : "");
    if (run.contains("error")) {
      row.push_back("failed");
    } else {
      const Json& m = run["metrics"];
      row.push_back(run["plan"]["exit"].dump());
      for (const char* key : {"mean", "ci95", "p95"}) row.push_back(seconds(m["latency_s"][key]));
      for (const char* key : {"compute_s", "transfer_s", "queue_s"}) row.push_back(seconds(m[key]));
      row.push_back(percent(m["deadline_miss_ratio"]));
      row.push_back(m["requests"]["lost"].dump());
      row.push_back(percent(m["accuracy"]));
      row.push_back(format_quantity(m["energy_j"]["total"].get<double>(), Dimension::kEnergy));
      row.push_back(number(m["cost_usd"], "{:.3g}"));
    }
    row.resize(head.size());
    rows.push_back(std::move(row));
  }
  const auto drop = [&](std::size_t c) {
    head.erase(head.begin() + static_cast<std::ptrdiff_t>(c));
    for (auto& row : rows) row.erase(row.begin() + static_cast<std::ptrdiff_t>(c));
  };
  // A column that says nothing (no cost, no repetitions, ...) is left out.
  for (std::size_t c = head.size(); c-- > 1;) {
    static const std::set<std::string> nothing{"", "-", "0", "0ns", "0mJ", "0.0%"};
    if (!std::all_of(rows.begin(), rows.end(), [&](const auto& row) { return nothing.contains(row[c]); }))
      continue;
    drop(c);
  }
  // Of what cannot stand side by side the details go first.
  std::string left_out;
  for (const char* name : {"ci95", "compute", "transfer", "queue", "p95", "USD", "exit", "lost", "missed"}) {
    if (least_width(head, rows) <= kTerminalWidth) break;
    const auto column = std::find(head.begin(), head.end(), name);
    if (column == head.end()) continue;
    left_out += (left_out.empty() ? "" : ", ") + *column;
    drop(static_cast<std::size_t>(column - head.begin()));
  }
  const std::string table = format_table(head, rows);
  return left_out.empty() ? table : table + fmt::format("not shown: {} (see --json, --out)\n", left_out);
}

std::string in_unit(const Json& value, const std::string& unit) {
  if (value.is_array()) return fmt::format("{}..{}{}", number(value[0]), number(value[1]), unit);
  return value.is_number() ? number(value) + unit : number(value);
}

}  // namespace

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"") == text.npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string format_table(const std::vector<std::string>& head,
                         const std::vector<std::vector<std::string>>& rows) {
  constexpr std::size_t kGap = 2, kNarrowest = 6;
  std::vector<std::size_t> widths;
  std::vector<bool> right;
  for (std::size_t c = 0; c < head.size(); ++c) {
    std::size_t width = columns(head[c]);
    std::size_t numbers = 0, filled = 0;
    for (const auto& row : rows) {
      width = std::max(width, columns(row[c]));
      if (row[c].empty() || row[c] == "-") continue;
      ++filled;
      numbers += is_number(row[c]) ? 1 : 0;
    }
    widths.push_back(width);
    right.push_back(filled > 0 && 2 * numbers > filled);
  }
  const auto total = [&] {
    std::size_t sum = kGap * (widths.size() - 1);
    for (const std::size_t w : widths) sum += w;
    return sum;
  };
  while (total() > kTerminalWidth) {
    const auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= kNarrowest) break;
    --*widest;
  }
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const std::string cell = fit(cells[c], widths[c]);
      const std::string blanks(widths[c] - columns(cell), ' ');
      if (c > 0) text += std::string(kGap, ' ');
      text += right[c] ? blanks + cell : cell + blanks;
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    out += text + "\n";
  };
  line(head);
  std::vector<std::string> rule;
  for (const std::size_t w : widths) rule.emplace_back(w, '-');
  line(rule);
  for (const auto& row : rows) line(row);
  return out;
}

std::string failure_text(const Experiment& experiment, const RunFailure& failure) {
  const Run& run = experiment.runs()[failure.run];
  return fmt::format("{}: policy {} at {}: {}", experiment.name(), run.policy, run.point.dump(),
                     failure.message);
}

Json results_json(const Experiment& experiment, const SweepResults& results) {
  return {{"schema", 1},
          {"experiment", experiment.name()},
          {"version", version()},
          {"seed", experiment.seed()},
          {"runs", results.runs},
          {"figures",
           compare_published(experiment.published(), results.runs, experiment.system(), experiment.name())}};
}

std::string figures_text(const Json& figures) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& f : figures) {
    const std::string unit = f["unit"].get<std::string>();
    const bool order = f["compare"] == "order";
    std::string simulated = in_unit(f["simulated"], unit);
    if (order && f["than"].is_number()) simulated += fmt::format(" vs {}", in_unit(f["than"], unit));
    std::string status = f["status"].get<std::string>();
    if (f["status"] != f["expected"]) status += " (!)";
    const std::string id = f["id"].get<std::string>();
    const std::size_t at = std::min(id.find('@'), id.size());  // a point of a curve is "curve@value"
    rows.push_back(
        {id.substr(0, at), at < id.size() ? id.substr(at + 1) : "", in_unit(f["published"], unit), simulated,
         f["relative_error"].is_number() ? fmt::format("{:+.1f}%", 100 * f["relative_error"].get<double>())
                                         : "-",
         status});
  }
  return format_table({"figure", "at", "published", "simulated", "error", "status"}, rows);
}

std::string figures_summary(const Json& figures) {
  std::map<std::string, int> counts;
  int surprises = 0;
  for (const Json& f : figures) {
    ++counts[f["status"].get<std::string>()];
    if (f["status"] != f["expected"]) ++surprises;
  }
  std::string out =
      fmt::format("{} of {} checked figures reproduced, {} deviate, {} unchecked\n", counts["reproduced"],
                  counts["reproduced"] + counts["deviates"], counts["deviates"], counts["unchecked"]);
  if (surprises > 0)
    out += fmt::format("{} left the status recorded in the experiment file, marked (!)\n", surprises);
  return out;
}

std::string report_text(const std::string& title, const Json& results) {
  const Json& runs = results["runs"];
  std::vector<std::string> policies;
  std::vector<std::string> axes;
  std::size_t points = 0;
  std::set<Json> seen;
  for (const Json& run : runs) {
    const std::string policy = run["policy"].get<std::string>();
    if (std::find(policies.begin(), policies.end(), policy) == policies.end()) policies.push_back(policy);
    if (seen.insert(run["point"]).second) ++points;
    for (const auto& [path, value] : run["point"].items()) {
      if (std::find(axes.begin(), axes.end(), path) == axes.end()) axes.push_back(path);
    }
  }
  std::string out = title + "\n\n";
  constexpr std::size_t kMostAcross = 5;
  out += points > 1 && policies.size() > 1 && policies.size() <= kMostAcross
             ? runs_across(runs, policies, axes)
             : runs_down(runs, axes);
  if (!results["figures"].empty())
    out += "\n" + figures_text(results["figures"]) + figures_summary(results["figures"]);
  return out;
}

void write_file(const fs::path& path, const std::string& text) {
  std::error_code error;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), error);
  const fs::path draft = path.string() + fmt::format(".{}.tmp", getpid());
  {
    std::ofstream out(draft, std::ios::binary);
    out << text;
    out.flush();
    if (!out) {
      fs::remove(draft, error);
      throw InputError(path.string(), "cannot be written");
    }
  }
  fs::rename(draft, path, error);
  if (error) {
    const std::string why = error.message();
    fs::remove(draft, error);
    throw InputError(path.string(), "cannot be written: " + why);
  }
}

ProgressBar::ProgressBar(std::string title, bool quiet)
    : title_(std::move(title)), shown_(!quiet && isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void ProgressBar::update(int done, int total) {
  if (!shown_) return;
  constexpr int kWidth = 40;
  const int filled = total == 0 ? kWidth : kWidth * done / total;
  fmt::print(stderr, "\r{} [{}{}] {}/{}\033[K", title_, std::string(static_cast<std::size_t>(filled), '#'),
             std::string(static_cast<std::size_t>(kWidth - filled), ' '), done, total);
  std::fflush(stderr);
}

}  // namespace cdisim
