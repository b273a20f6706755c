#include "sim/arrivals.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "sim/error.h"

using namespace cdisim;
namespace fs = std::filesystem;

namespace {

// A folder of its own, removed at the end.
struct Folder {
  fs::path path = fs::temp_directory_path() / ("cdisim_arrivals_" + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path / name) << text; }
};

Arrivals read(const Json& json, const fs::path& folder = ".") {
  return read_arrivals(JsonReader(json, "e.json", "/arrivals"), folder);
}

std::string error_of(const Json& json, const fs::path& folder = ".") {
  try {
    read(json, folder);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

// The first dates of a source, at most `count`.
std::vector<double> dates(const Arrivals& arrivals, std::size_t count, int source = 0, int sources = 1,
                          std::uint64_t seed = 1) {
  ArrivalDates from(arrivals, source, sources, seed);
  std::vector<double> out;
  while (out.size() < count) {
    const auto date = from.next();
    if (!date) break;
    out.push_back(*date);
  }
  return out;
}

using Dates = std::vector<double>;

}  // namespace

TEST_CASE("arrivals: periodic") {
  const Arrivals arrivals = read({{"kind", "periodic"}, {"period", "250ms"}});
  CHECK(arrivals.kind == Arrivals::Kind::kPeriodic);
  CHECK_FALSE(arrivals.stagger);
  CHECK(dates(arrivals, 4) == Dates{0, 0.25, 0.5, 0.75});
  CHECK(dates(arrivals, 2, 3, 4) == Dates{0, 0.25});
  // Dates are multiples, not sums: no drift. 0.1 * 1000000 rounds to 1e5; a million sums of 0.1 do not.
  CHECK(dates(read({{"kind", "periodic"}, {"period", "100ms"}}), 1000001).back() == 1e5);
}

TEST_CASE("arrivals: stagger starts source i of n at i / n of a period") {
  const Arrivals arrivals = read({{"kind", "periodic"}, {"period", "1s"}, {"stagger", true}});
  CHECK(dates(arrivals, 3, 0, 4) == Dates{0, 1, 2});
  CHECK(dates(arrivals, 3, 1, 4) == Dates{0.25, 1.25, 2.25});
  CHECK(dates(arrivals, 3, 3, 4) == Dates{0.75, 1.75, 2.75});
  CHECK(dates(read({{"kind", "periodic"}, {"period", "1s"}, {"stagger", false}}), 2, 1, 4) == Dates{0, 1});
}

TEST_CASE("arrivals: Poisson") {
  const Arrivals arrivals = read({{"kind", "poisson"}, {"rate_per_s", 5}});
  constexpr std::size_t kCount = 20000;
  const Dates found = dates(arrivals, kCount);
  // Mean gap 0.2 s; n gaps have a mean of standard deviation 0.2 / sqrt(n) = 0.0014. The gaps' deviation is
  // their mean.
  const double mean = found.back() / kCount;
  CHECK(std::abs(mean - 0.2) < 5 * 0.0014);
  double squares = 0, last = 0;
  for (const double date : found) {
    REQUIRE(date > last);
    squares += (date - last - mean) * (date - last - mean);
    last = date;
  }
  CHECK(std::sqrt(squares / kCount) == doctest::Approx(0.2).epsilon(0.05));

  // The gaps are those of the source's own stream.
  Random random(derive_seed(7, Stream::kArrivals, 2));
  const double first = random.exponential(0.2), second = first + random.exponential(0.2);
  CHECK(dates(arrivals, 2, 2, 3, 7) == Dates{first, second});
  CHECK(dates(arrivals, 10, 0, 2, 7) == dates(arrivals, 10, 0, 5, 7));
  CHECK(dates(arrivals, 10, 0, 2, 7) != dates(arrivals, 10, 1, 2, 7));
  CHECK(dates(arrivals, 10, 0, 2, 7) != dates(arrivals, 10, 0, 2, 8));
}

TEST_CASE("arrivals: closed loop and batch start together") {
  const Arrivals loop = read({{"kind", "closed_loop"}, {"clients", 3}, {"think", "20ms"}});
  CHECK(loop.clients == 3);
  CHECK(loop.think_s == 0.02);
  CHECK(dates(loop, 10) == Dates{0, 0, 0});
  const Arrivals standard = read({{"kind", "closed_loop"}});
  CHECK(standard.clients == 1);
  CHECK(standard.think_s == 0);
  CHECK(dates(standard, 10) == Dates{0});
  CHECK(dates(read({{"kind", "batch"}, {"size", 4}}), 10) == Dates{0, 0, 0, 0});
}

TEST_CASE("arrivals: from a file") {
  const Folder folder;
  folder.write("a.txt", "# seconds\n0\n\n 0.5 \t# half\n0.5\r\n2e1");
  const Arrivals arrivals = read({{"kind", "trace"}, {"file", "a.txt"}}, folder.path);
  CHECK(dates(arrivals, 10) == Dates{0, 0.5, 0.5, 20});
  CHECK(dates(arrivals, 10, 1, 2) == Dates{0, 0.5, 0.5, 20});  // the same for every source

  const auto error = [&](const std::string& text) {
    folder.write("bad.txt", text);
    return error_of({{"kind", "trace"}, {"file", "bad.txt"}}, folder.path);
  };
  const std::string file = (folder.path / "bad.txt").string();
  CHECK(error("0\n2\n1\n") == file + ": line 3: 1 lies before the date above");
  CHECK(error("0\n-1\n") == file + ": line 2: \"-1\" is no date in seconds");
  CHECK(error("1s\n") == file + ": line 1: \"1s\" is no date in seconds");
  CHECK(error("# none\n\n1 2\n") == file + ": line 3: \"1 2\" is no date in seconds");
  CHECK(error("inf\n") == file + ": line 1: \"inf\" is no date in seconds");
  CHECK(error("nan\n") == file + ": line 1: \"nan\" is no date in seconds");
  CHECK(error("# nothing\n") == file + ": holds no arrival");
  const std::string missing = error_of({{"kind", "trace"}, {"file", "none.txt"}}, folder.path);
  CHECK(missing.find("/file: \"none.txt\": no such file") != missing.npos);
}

TEST_CASE("arrivals: bad input is named at its place") {
  const auto starts = [](const Json& json, const std::string& with) {
    const std::string error = error_of(json);
    INFO(error);
    return error.starts_with("e.json: /arrivals" + with);
  };
  CHECK(starts({{"period", "1s"}}, ": \"kind\" is missing"));
  CHECK(starts({{"kind", "periodical"}}, "/kind: \"periodical\" is unknown"));
  CHECK(error_of({{"kind", "periodical"}}).ends_with("did you mean \"periodic\"?"));
  CHECK(starts({{"kind", "periodic"}}, ": \"period\" is missing"));
  CHECK(starts({{"kind", "periodic"}, {"period", "0s"}}, "/period: \"0s\": must be positive"));
  CHECK(starts({{"kind", "periodic"}, {"period", 1}}, "/period: 1: must be a string with a unit"));
  CHECK(starts({{"kind", "periodic"}, {"period", "-1s"}}, "/period"));
  CHECK(
      starts({{"kind", "periodic"}, {"period", "1s"}, {"stagger", 1}}, "/stagger: 1: must be true or false"));
  CHECK(starts({{"kind", "periodic"}, {"period", "1s"}, {"rate_per_s", 1}}, ": unknown key \"rate_per_s\""));
  CHECK(starts({{"kind", "poisson"}}, ": \"rate_per_s\" is missing"));
  CHECK(starts({{"kind", "poisson"}, {"rate_per_s", 0}}, "/rate_per_s: 0: must lie within"));
  CHECK(starts({{"kind", "poisson"}, {"rate_per_s", "5"}}, "/rate_per_s"));
  CHECK(starts({{"kind", "poisson"}, {"rate_per_s", 5}, {"stagger", true}}, ": unknown key \"stagger\""));
  CHECK(starts({{"kind", "closed_loop"}, {"clients", 0}}, "/clients: 0: must lie within"));
  CHECK(starts({{"kind", "closed_loop"}, {"clients", 1.5}}, "/clients: 1.5: must be a whole number"));
  CHECK(starts({{"kind", "closed_loop"}, {"think", 0}}, "/think: 0: must be a string with a unit"));
  CHECK(starts({{"kind", "batch"}}, ": \"size\" is missing"));
  CHECK(starts({{"kind", "batch"}, {"size", 0}}, "/size: 0: must lie within"));
  CHECK(starts({{"kind", "trace"}}, ": \"file\" is missing"));
  CHECK(starts(Json::array(), ": []: must be an object"));
}
