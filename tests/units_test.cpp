#include "sim/units.h"

#include <doctest/doctest.h>

#include <string>

#include "sim/error.h"

using namespace cdisim;

TEST_CASE("units: what people write becomes SI") {
  struct Good {
    std::string text;
    Dimension dimension;
    double value;
  };
  const Good table[] = {
      {"8Mbps", Dimension::kBandwidth, 1e6},      // 8e6 bit/s / 8
      {"8MBps", Dimension::kBandwidth, 8e6},      // a capital B is a byte
      {"500kbps", Dimension::kBandwidth, 62500},  // 5e5 / 8
      {"1KiBps", Dimension::kBandwidth, 1024},    // binary prefix
      {"10ms", Dimension::kTime, 0.01},           //
      {"10 ms", Dimension::kTime, 0.01},          // one space is allowed
      {"2m", Dimension::kTime, 120},              // SimGrid's m is a minute
      {"1d", Dimension::kTime, 86400},            //
      {"1GiB", Dimension::kData, 1073741824},     // 2^30
      {"1GB", Dimension::kData, 1e9},             //
      {"8Mb", Dimension::kData, 1e6},             // 8e6 bit
      {"38.4Gf", Dimension::kSpeed, 38.4e9},      //
      {"1e3f", Dimension::kSpeed, 1000},          //
      {"2.5W", Dimension::kPower, 2.5},           //
      {"300mW", Dimension::kPower, 0.3},          //
      {"1kWh", Dimension::kEnergy, 3.6e6},        // 1000 W x 3600 s
      {"2.4GHz", Dimension::kFrequency, 2.4e9},
      {"0s", Dimension::kTime, 0},  //
  };
  for (const Good& good : table) {
    INFO(good.text);
    CHECK(parse_quantity(good.text, good.dimension, "here") == doctest::Approx(good.value).epsilon(1e-15));
  }
}

TEST_CASE("units: mistakes name place, value and valid units") {
  struct Bad {
    std::string text;
    Dimension dimension;
    std::string fragment;
  };
  const Bad table[] = {
      {"8", Dimension::kBandwidth, "here: \"8\" has no unit; valid: bps, kbps"},
      {"8mbps", Dimension::kBandwidth, "unknown unit \"mbps\""},
      {"8ms", Dimension::kBandwidth, "unknown unit \"ms\""},
      {"8Gflops", Dimension::kSpeed, "unknown unit \"Gflops\""},
      {"8MBp", Dimension::kBandwidth, "did you mean \"MBps\"?"},
      {"-8Mbps", Dimension::kBandwidth, "\"-8Mbps\" must be finite and not negative"},
      {"nans", Dimension::kTime, "must be finite"},
      {"inf s", Dimension::kTime, "must be finite"},
      {"1e999s", Dimension::kTime, "is no number"},
      {"", Dimension::kTime, "is no number"},
      {"s", Dimension::kTime, "is no number"},
      {" 1s", Dimension::kTime, "is no number"},
      {"1s ", Dimension::kTime, "unknown unit \"s \""},
      {"1,5s", Dimension::kTime, "unknown unit \",5s\""},
  };
  for (const Bad& bad : table) {
    INFO(bad.text);
    std::string message = "no error";
    try {
      parse_quantity(bad.text, bad.dimension, "here");
    } catch (const InputError& e) {
      message = e.what();
    }
    INFO(message);
    CHECK(message.find(bad.fragment) != message.npos);
  }
}

TEST_CASE("units: numbers print with the prefix that keeps them between 1 and 1000") {
  CHECK(format_quantity(6.25e4, Dimension::kBandwidth) == "500kbps");  // 62500 x 8 = 5e5 bit/s
  CHECK(format_quantity(1e6, Dimension::kBandwidth) == "8Mbps");
  CHECK(format_quantity(0.01, Dimension::kTime) == "10ms");
  CHECK(format_quantity(2.11, Dimension::kTime) == "2.11s");
  CHECK(format_quantity(3600, Dimension::kTime) == "3600s");  // seconds are the largest unit printed
  CHECK(format_quantity(38.4e9, Dimension::kSpeed) == "38.4Gf");
  CHECK(format_quantity(1e9, Dimension::kData) == "1GB");
  CHECK(format_quantity(0.3, Dimension::kPower) == "300mW");
  CHECK(format_quantity(3.1, Dimension::kEnergy) == "3.1J");
  CHECK(parse_quantity(format_quantity(0, Dimension::kBandwidth), Dimension::kBandwidth, "") == 0);
}
