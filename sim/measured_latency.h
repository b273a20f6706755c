#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace cdisim {

enum class Confidence { kHigh, kMedium, kLow };

/// One measured latency of a whole network. Source: the row's own.
struct MeasuredLatency {
  std::string device;     ///< key of the device catalogue
  std::string processor;  ///< "cpu", "gpu", "npu"
  int threads = 0;        ///< 0: as many as the runtime takes
  std::string precision;  ///< "fp32", "fp16", ...
  std::string runtime;
  std::string model;  ///< name of a layer graph
  int batch = 1;
  double latency_s = 0;  ///< of the whole batch
  Confidence confidence = Confidence::kHigh;
  std::string source, note;
  int line = 0;  ///< in its file
};

/// Reads comma-separated values (RFC 4180) with the header
/// device,processor,threads,precision,runtime,model,batch,latency_ms,confidence,source,note.
/// @throws InputError naming file, line and column: another header, a missing or a mistaken cell, a row
/// without a source.
std::vector<MeasuredLatency> load_measured_latencies(const std::filesystem::path& path);

}  // namespace cdisim
