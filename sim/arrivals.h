#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "sim/json_reader.h"
#include "sim/random.h"

namespace cdisim {

/// When requests arrive at a source.
struct Arrivals {
  enum class Kind {
    kPeriodic,    ///< every `period_s`
    kPoisson,     ///< exponential gaps of mean `period_s`
    kClosedLoop,  ///< `clients` at a time; each waits `think_s` after its result, then asks again
    kBatch,       ///< `size` at date 0
    kTrace,       ///< at `dates_s`
  };
  Kind kind = Kind::kClosedLoop;
  double period_s = 1;
  bool stagger = false;  ///< periodic: source i of n starts at i / n of a period instead of 0
  int clients = 1;
  double think_s = 0;
  int size = 1;
  std::vector<double> dates_s;  ///< ascending
};

/// The `arrivals` value of an experiment: {"kind": "periodic", "period": "1s", "stagger": true}, {"kind":
/// "poisson", "rate_per_s": 5}, {"kind": "closed_loop", "clients": 1, "think": "0s"}, {"kind": "batch",
/// "size": 10} or {"kind": "trace", "file": "arrivals.txt"} (one date in seconds a line, ascending, `#`
/// starts a comment; beside `folder`). @throws InputError.
Arrivals read_arrivals(const JsonReader& reader, const std::filesystem::path& folder);

/// The dates of one source's open-loop arrivals, one after another. A closed loop's follow from its results.
class ArrivalDates {
 public:
  ArrivalDates(const Arrivals& arrivals, int source, int sources, std::uint64_t seed);
  /// The next date, or none when there are no more.
  std::optional<double> next();

 private:
  const Arrivals* arrivals_;
  Random random_;
  double last_s_;
  std::size_t given_ = 0;
};

}  // namespace cdisim
