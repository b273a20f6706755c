#include "sim/measured_latency.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sim/error.h"
#include "tests/support.h"

using namespace cdisim;

namespace {

const std::string kHeader =
    "device,processor,threads,precision,runtime,model,batch,latency_ms,confidence,source,note\n";
const std::string kRow = "pi,cpu,4,fp32,ncnn,vgg16,1,1500,high,the paper,\n";

std::vector<MeasuredLatency> load(const std::string& text) {
  const TempFolder folder;
  folder.write("m.csv", text);
  return load_measured_latencies(folder / "m.csv");
}

// What is wrong, behind the name of the file.
std::string error_of(const std::string& text) {
  const TempFolder folder;
  folder.write("m.csv", text);
  const std::string file = (folder / "m.csv").string();
  try {
    load_measured_latencies(file);
  } catch (const InputError& error) {
    const std::string what = error.what();
    CHECK(what.starts_with(file + ": "));
    return what.substr(std::min(what.size(), file.size() + 2));
  }
  return "no error";
}

// A row with one cell replaced.
std::string row_with(std::size_t column, const std::string& cell) {
  std::vector<std::string> cells{"pi", "cpu",  "4",    "fp32",      "ncnn", "vgg16",
                                 "1",  "1500", "high", "the paper", ""};
  cells[column] = cell;
  std::string out;
  for (const std::string& c : cells) out += c + ",";
  out.back() = '\n';
  return out;
}

}  // namespace

TEST_CASE("measured latency: a row as it is written") {
  const auto rows = load(kHeader + kRow + "card,gpu,,fp16,TensorRT 8,resnet50,64,0.25,medium,b,\"n\"\n" +
                         "stick,npu,,int8,TFLite,lenet,1,1e-3,low,c,why\n");
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].device == "pi");
  CHECK(rows[0].processor == "cpu");
  CHECK(rows[0].threads == 4);
  CHECK(rows[0].precision == "fp32");
  CHECK(rows[0].runtime == "ncnn");
  CHECK(rows[0].model == "vgg16");
  CHECK(rows[0].batch == 1);
  CHECK(rows[0].latency_s == doctest::Approx(1.5).epsilon(1e-12));  // 1500 ms
  CHECK(rows[0].confidence == Confidence::kHigh);
  CHECK(rows[0].source == "the paper");
  CHECK(rows[0].note == "");
  CHECK(rows[0].line == 2);
  CHECK(rows[1].threads == 0);
  CHECK(rows[1].processor == "gpu");
  CHECK(rows[1].batch == 64);
  CHECK(rows[1].latency_s == doctest::Approx(0.25e-3).epsilon(1e-12));
  CHECK(rows[1].confidence == Confidence::kMedium);
  CHECK(rows[1].note == "n");
  CHECK(rows[2].processor == "npu");
  CHECK(rows[2].latency_s == doctest::Approx(1e-6).epsilon(1e-12));
  CHECK(rows[2].confidence == Confidence::kLow);
  CHECK(rows[2].line == 4);
}

TEST_CASE("measured latency: cells in quotes hold commas, quotes and line ends") {
  const auto rows = load(kHeader + R"("pi",cpu,4,fp32,"ncnn, ""plain""",vgg16,1,"1500",high,"a, b
and c","""")" + "\n" + kRow);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].device == "pi");
  CHECK(rows[0].runtime == "ncnn, \"plain\"");
  CHECK(rows[0].latency_s == doctest::Approx(1.5).epsilon(1e-12));
  CHECK(rows[0].source == "a, b\nand c");
  CHECK(rows[0].note == "\"");
  CHECK(rows[0].line == 2);
  CHECK(rows[1].line == 4);  // the source of the first spans two lines
  // An empty cell in quotes is empty.
  CHECK(load(kHeader + "pi,cpu,\"\",fp32,ncnn,vgg16,1,1500,high,s,\"\"\n").at(0).threads == 0);
  CHECK(error_of(kHeader + row_with(9, "\"\"")) == "line 2, source: \"\": must not be empty");
}

TEST_CASE("measured latency: line ends of DOS, empty lines, no last line end") {
  std::string dos = kHeader + kRow + kRow;
  for (std::size_t at = 0; (at = dos.find('\n', at)) != std::string::npos; at += 2) dos.insert(at, "\r");
  CHECK(load(dos).size() == 2);
  CHECK(load(dos)[1].note == "");
  CHECK(load(dos)[1].line == 3);
  const auto rows = load("\n" + kHeader + "\n\n" + kRow + "\r\n" + kRow + "\n");
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].line == 5);
  CHECK(rows[1].line == 7);
  CHECK(load(kHeader + kRow.substr(0, kRow.size() - 1)).size() == 1);
  CHECK(load(kHeader).empty());
}

TEST_CASE("measured latency: what a file cannot be") {
  const std::string other = "line 1: the header must be " + kHeader.substr(0, kHeader.size() - 1);
  CHECK(error_of(kRow) == other);
  CHECK(error_of("\n\n") == other);
  CHECK(error_of("device,processor\n" + kRow) == other);
  CHECK(error_of("model" + kHeader.substr(6) + kRow) == other);
  CHECK(error_of("Device" + kHeader.substr(6) + kRow) == other);
  CHECK(error_of("") == "the file is empty");
  CHECK(error_of(kHeader + kRow + "pi,cpu,4\n")
            .starts_with("line 3: has 3 cells; there are 11 columns: device,processor,"));
  CHECK(error_of(kHeader + kRow.substr(0, kRow.size() - 1) + ",more\n").starts_with("line 2: has 12 cells"));
  CHECK(error_of(kHeader + " \n").starts_with("line 2: has 1 cells"));
  CHECK(error_of(kHeader + kRow + "\n\"pi,cpu\n" + kRow) == "line 4: a quote is never closed");
}

TEST_CASE("measured latency: a cell that is wrong is named by line and column") {
  struct Bad {
    std::size_t column;
    const char *cell, *begin;
  };
  for (const Bad& bad : std::vector<Bad>{
           {0, "", "line 3, device: \"\": must not be empty"},
           {1, "", "line 3, processor: \"\": is unknown; valid: cpu, gpu, npu"},
           {1, "gpuu",
            "line 3, processor: \"gpuu\": is unknown; valid: cpu, gpu, npu; did you mean \"gpu\"?"},
           {1, "CPU", "line 3, processor: \"CPU\": is unknown"},
           {2, "0", "line 3, threads: \"0\": must be a number within [1, 4096]"},
           {2, "-1", "line 3, threads: \"-1\": "},
           {2, "4097", "line 3, threads: \"4097\": "},
           {2, "1.5", "line 3, threads: \"1.5\": must be a whole number"},
           {2, "all", "line 3, threads: \"all\": "},
           {3, "", "line 3, precision: \"\": must not be empty"},
           {4, "", "line 3, runtime: \"\": must not be empty"},
           {5, "", "line 3, model: \"\": must not be empty"},
           {6, "", "line 3, batch: \"\": "},
           {6, "0", "line 3, batch: \"0\": "},
           {6, "0.5", "line 3, batch: \"0.5\": "},
           {6, "2.5", "line 3, batch: \"2.5\": must be a whole number"},
           {6, "1e9", "line 3, batch: \"1e9\": "},
           {7, "", "line 3, latency_ms: \"\": must be a number within "},
           {7, "0", "line 3, latency_ms: \"0\": "},
           {7, "-3", "line 3, latency_ms: \"-3\": "},
           {7, "nan", "line 3, latency_ms: \"nan\": "},
           {7, "inf", "line 3, latency_ms: \"inf\": "},
           {7, "1e10", "line 3, latency_ms: \"1e10\": "},
           {7, "1e999", "line 3, latency_ms: \"1e999\": "},
           {7, "12ms", "line 3, latency_ms: \"12ms\": "},
           {7, " 12", "line 3, latency_ms: \" 12\": "},
           {7, "\"1,5\"", "line 3, latency_ms: \"1,5\": "},
           {8, "", "line 3, confidence: \"\": is unknown; valid: high, medium, low"},
           {8, "hihg", "line 3, confidence: \"hihg\": is unknown"},
           {9, "", "line 3, source: \"\": must not be empty"}}) {
    const std::string error = error_of(kHeader + kRow + row_with(bad.column, bad.cell));
    INFO(std::string(bad.begin), " / ", error);
    CHECK(error.starts_with(bad.begin));
  }
}

TEST_CASE("measured latency: bytes that are no text") {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  CHECK(error_of(bytes) != "no error");
  CHECK(error_of(kHeader + bytes) != "no error");
  CHECK(error_of(std::string(1000, '"')) != "no error");
  CHECK(error_of(std::string(100'000, ',')) != "no error");
}

TEST_CASE("measured latency: the bundled table is read and every row has a source") {
  const auto rows = load_measured_latencies(kSources / "platforms/measured_latency.csv");
  CHECK(rows.size() > 800);
  for (const MeasuredLatency& row : rows) {
    INFO(row.line);
    CHECK(row.latency_s > 0);
    CHECK(row.source.size() >= 3);
  }
}
