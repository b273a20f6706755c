#include "sim/arrivals.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <sstream>

#include "sim/error.h"

namespace cdisim {

namespace {

std::vector<double> read_dates(const std::filesystem::path& path) {
  std::istringstream lines(read_text_file(path));
  std::vector<double> dates;
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    line = line.substr(0, line.find('#'));
    const auto first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos) continue;
    line = line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
    double date = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), date);
    const std::string place = fmt::format("{}: line {}", path.string(), number);
    if (error != std::errc{} || end != line.data() + line.size() || !std::isfinite(date) || date < 0) {
      throw InputError(place, fmt::format("\"{}\" is no date in seconds", line));
    }
    if (!dates.empty() && date < dates.back())
      throw InputError(place, fmt::format("{} lies before the date above", line));
    dates.push_back(date);
  }
  if (dates.empty()) throw InputError(path.string(), "holds no arrival");
  return dates;
}

}  // namespace

Arrivals read_arrivals(const JsonReader& reader, const std::filesystem::path& folder) {
  Arrivals out;
  const std::size_t kind = reader.at("kind").choice({"periodic", "poisson", "closed_loop", "batch", "trace"});
  out.kind = static_cast<Arrivals::Kind>(kind);
  switch (out.kind) {
    case Arrivals::Kind::kPeriodic:
      out.period_s = reader.at("period").quantity(Dimension::kTime);
      if (out.period_s == 0) reader.at("period").fail("must be positive");
      if (const auto stagger = reader.find("stagger")) out.stagger = stagger->boolean();
      break;
    case Arrivals::Kind::kPoisson:
      out.period_s = 1 / reader.at("rate_per_s").number(1e-9, 1e9);
      break;
    case Arrivals::Kind::kClosedLoop:
      if (const auto clients = reader.find("clients"))
        out.clients = static_cast<int>(clients->integer(1, 1000000));
      if (const auto think = reader.find("think")) out.think_s = think->quantity(Dimension::kTime);
      break;
    case Arrivals::Kind::kBatch:
      out.size = static_cast<int>(reader.at("size").integer(1, 10000000));
      break;
    case Arrivals::Kind::kTrace:
      if (!std::filesystem::exists(folder / reader.at("file").string()))
        reader.at("file").fail("no such file");
      out.dates_s = read_dates(folder / reader.at("file").string());
      break;
  }
  reader.done();
  return out;
}

ArrivalDates::ArrivalDates(const Arrivals& arrivals, int source, int sources, std::uint64_t seed)
    : arrivals_(&arrivals),
      random_(derive_seed(seed, Stream::kArrivals, static_cast<std::uint64_t>(source))),
      last_s_(arrivals.stagger ? arrivals.period_s * source / sources : 0) {}

std::optional<double> ArrivalDates::next() {
  const std::size_t n = given_++;
  switch (arrivals_->kind) {
    case Arrivals::Kind::kPeriodic:
      return last_s_ + static_cast<double>(n) * arrivals_->period_s;
    case Arrivals::Kind::kPoisson:
      last_s_ += random_.exponential(arrivals_->period_s);
      return last_s_;
    case Arrivals::Kind::kClosedLoop:
      if (n < static_cast<std::size_t>(arrivals_->clients)) return 0;
      return std::nullopt;
    case Arrivals::Kind::kBatch:
      if (n < static_cast<std::size_t>(arrivals_->size)) return 0;
      return std::nullopt;
    case Arrivals::Kind::kTrace:
      if (n < arrivals_->dates_s.size()) return arrivals_->dates_s[n];
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace cdisim
