#include "sim/measured_latency.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "sim/error.h"
#include "sim/json_reader.h"

namespace cdisim {

namespace {

constexpr const char* kHeader =
    "device,processor,threads,precision,runtime,model,batch,latency_ms,confidence,source,note";
enum Column {
  kDevice,
  kProcessor,
  kThreads,
  kPrecision,
  kRuntime,
  kModel,
  kBatch,
  kLatency,
  kSure,
  kSource,
  kNote,
  kColumns
};

struct Record {
  int line = 0;
  std::vector<std::string> cells;
};

// Records of RFC 4180: cells in quotes may hold commas, line ends and doubled quotes.
std::vector<Record> read_records(const std::string& text, const std::string& file) {
  std::vector<Record> records;
  Record record{1, {""}};
  bool quoted = false, closed = false;  // inside of quotes; just behind them
  int line = 1;
  const auto fail = [&](int at, const char* what) {
    throw InputError(fmt::format("{}: line {}", file, at), what);
  };
  const auto finish = [&] {
    const bool blank = record.cells.size() == 1 && record.cells[0].empty();
    if (!blank) records.push_back(std::move(record));
    record = {line, {""}};
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        record.cells.back() += c;
      } else if (next == '"') {
        record.cells.back() += text[++i];
      } else {
        quoted = false;
        closed = true;
      }
    } else if (c == ',') {
      record.cells.emplace_back();
      closed = false;
    } else if (c == '\n') {
      finish();
      closed = false;
    } else if (c == '\r' && next == '\n') {
      continue;  // its line feed ends the record
    } else if (closed) {
      fail(line, "something follows a closing quote; a quote inside a cell is written twice");
    } else if (c == '"' && record.cells.back().empty()) {
      quoted = true;
    } else {
      record.cells.back() += c;
    }
  }
  if (quoted) fail(record.line, "a quote is never closed");
  finish();
  return records;
}

class RecordReader {
 public:
  RecordReader(const Record& record, const std::string& file) : record_(record), file_(file) {
    if (record.cells.size() != kColumns) {
      throw InputError(fmt::format("{}: line {}", file, record.line),
                       fmt::format("has {} cells; there are {} columns: {}", record.cells.size(),
                                   static_cast<int>(kColumns), kHeader));
    }
  }

  const std::string& text(Column column, const char* name) const {
    if (cell(column).empty()) fail(column, name, "must not be empty");
    return cell(column);
  }

  double number(Column column, const char* name, double low, double high) const {
    const std::string& given = cell(column);
    double value = 0;
    const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), value);
    if (error != std::errc() || end != given.data() + given.size() || !(value >= low && value <= high)) {
      fail(column, name, fmt::format("must be a number within [{}, {}]", low, high));
    }
    return value;
  }

  int integer(Column column, const char* name, int low, int high) const {
    const double value = number(column, name, low, high);
    if (value != std::floor(value)) fail(column, name, "must be a whole number");
    return static_cast<int>(value);
  }

  std::size_t choice(Column column, const char* name, const std::vector<std::string>& choices) const {
    const auto found = std::ranges::find(choices, cell(column));
    if (found == choices.end()) fail(column, name, "is unknown" + valid_choices(cell(column), choices));
    return static_cast<std::size_t>(found - choices.begin());
  }

  const std::string& cell(Column column) const { return record_.cells[column]; }

 private:
  const Record& record_;
  const std::string& file_;

  [[noreturn]] void fail(Column column, const char* name, const std::string& message) const {
    throw InputError(fmt::format("{}: line {}, {}", file_, record_.line, name),
                     fmt::format("\"{}\": {}", cell(column), message));
  }
};

}  // namespace

std::vector<MeasuredLatency> load_measured_latencies(const std::filesystem::path& path) {
  const std::string file = path.string();
  const std::vector<Record> records = read_records(read_text_file(path), file);
  std::string header;
  if (!records.empty()) {
    for (const std::string& cell : records[0].cells) header += (header.empty() ? "" : ",") + cell;
  }
  if (header != kHeader) throw InputError(file + ": line 1", fmt::format("the header must be {}", kHeader));

  static const std::vector<std::string> processors{"cpu", "gpu", "npu"};
  static const std::vector<std::string> confidences{"high", "medium", "low"};
  std::vector<MeasuredLatency> rows;
  for (std::size_t i = 1; i < records.size(); ++i) {
    const RecordReader reader(records[i], file);
    MeasuredLatency row;
    row.device = reader.text(kDevice, "device");
    row.processor = processors[reader.choice(kProcessor, "processor", processors)];
    if (!reader.cell(kThreads).empty()) row.threads = reader.integer(kThreads, "threads", 1, 4096);
    row.precision = reader.text(kPrecision, "precision");
    row.runtime = reader.text(kRuntime, "runtime");
    row.model = reader.text(kModel, "model");
    row.batch = reader.integer(kBatch, "batch", 1, 1'000'000);
    row.latency_s = reader.number(kLatency, "latency_ms", 1e-6, 1e9) / 1000;
    row.confidence = static_cast<Confidence>(reader.choice(kSure, "confidence", confidences));
    row.source = reader.text(kSource, "source");
    row.note = reader.cell(kNote);
    row.line = records[i].line;
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace cdisim
