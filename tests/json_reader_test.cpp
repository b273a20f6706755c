#include "sim/json_reader.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <string>

#include "sim/error.h"

using namespace cdisim;
namespace fs = std::filesystem;

namespace {

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const InputError& e) {
    return e.what();
  }
  return "no error";
}

void check_contains(const std::string& message, const std::string& fragment) {
  INFO(message);
  CHECK(message.find(fragment) != message.npos);
}

}  // namespace

TEST_CASE("json_reader: values come out as they stand") {
  const Json json = parse_json(R"({"a": [1, 2.5], "b": {"c": "10ms", "d": true}, "e": "edge"})", "f.json");
  const JsonReader reader(json, "f.json");
  const auto a = reader.at("a").elements();
  CHECK(a[0].integer(0, 10) == 1);
  CHECK(a[1].number(0, 10) == 2.5);
  CHECK(a[1].place() == "f.json: /a/1");
  const JsonReader b = reader.at("b");
  CHECK(b.at("c").quantity(Dimension::kTime) == doctest::Approx(0.01).epsilon(1e-15));
  CHECK(b.at("d").boolean());
  CHECK_FALSE(b.find("x").has_value());
  b.done();
  CHECK(reader.at("e").choice({"device", "edge"}) == 1);
  reader.done();
}

TEST_CASE("json_reader: mistakes name file, pointer and value") {
  const Json json = parse_json(
      R"({"n": -1, "half": 0.5, "s": "x", "big": 18446744073709551615, "o": {"a/b": 1, "t~": 2}, "list": [], "z": null})",
      "f.json");
  const JsonReader reader(json, "f.json");
  struct Bad {
    std::function<void()> action;
    const char* fragment;
  };
  const Bad table[] = {
      {[&] { reader.at("missing"); }, "f.json: \"missing\" is missing"},
      {[&] { reader.at("n").number(0, 1); }, "f.json: /n: -1: must lie within [0, 1]"},
      {[&] { reader.at("half").integer(0, 1); }, "/half: 0.5: must be a whole number"},
      {[&] { reader.at("big").integer(0, 1); }, "must be a whole number"},
      {[&] { reader.at("s").number(0, 1); }, "/s: \"x\": must be a number"},
      {[&] { reader.at("s").boolean(); }, "must be true or false"},
      {[&] { reader.at("s").elements(); }, "must be an array"},
      {[&] { reader.at("s").members(); }, "must be an object"},
      {[&] { reader.at("s").at("x"); }, "must be an object"},
      {[&] { reader.at("n").string(); }, "must be a string"},
      {[&] { reader.at("n").quantity(Dimension::kTime); },
       "must be a string with a unit, for example \"10s\""},
      {[&] {
         reader.at("s").choice({"edge", "cloud"});
       },
       "/s: \"x\" is unknown; valid: edge, cloud"},
      {[&] { reader.at("o").at("a/b").string(); }, "/o/a~1b"},
      {[&] { reader.at("o").at("t~").string(); }, "/o/t~0"},
      {[&] { reader.at("z").number(0, 1); }, "/z: null: must be a number"},
  };
  for (const Bad& bad : table) check_contains(error_of(bad.action), bad.fragment);
}

TEST_CASE("json_reader: keys that nobody read are errors") {
  const Json json = parse_json(R"({"latency": 1, "latnecy": 2})", "f.json");
  const JsonReader reader(json, "f.json");
  reader.at("latency");
  check_contains(error_of([&] { reader.done(); }),
                 "f.json: unknown key \"latnecy\"; valid: latency; did you mean \"latency\"?");
}

TEST_CASE("json_reader: text that is no strict JSON") {
  struct Bad {
    std::string text;
    const char* fragment;
  };
  const Bad table[] = {
      {"{\n  \"a\": 1,\n}", "f.json: line 3, column 1: not JSON"},
      {"{\"a\": 1, \"a\": 2}", "key \"a\" stands twice"},
      {"{\"a\": {\"b\": 1}, \"c\": {\"b\": 1, \"b\": 1}}", "key \"b\" stands twice"},
      {std::string(100000, '['), "nested deeper than 64 levels"},
      {"", "not JSON"},
      {"{} x", "not JSON"},
      {std::string("\x7f"
                   "ELF\0\x01",
                   6),
       "not JSON"},
      {"{\"a\": \"\xff\"}", "not JSON"},
      {"{\"a\": 1e999}", "not JSON"},
  };
  for (const Bad& bad : table)
    check_contains(error_of([&] { parse_json(bad.text, "f.json"); }), bad.fragment);
  // Control bytes of a key come out escaped: an error is one line.
  const std::string message = error_of([] { parse_json("{\"a\\nb\": 1, \"a\\nb\": 1}", "f.json"); });
  check_contains(message, "a\\x0ab");
}

TEST_CASE("json_reader: files that are none, empty or far too large") {
  const fs::path folder = fs::temp_directory_path() / ("cdisim_json_reader_" + std::to_string(getpid()));
  fs::create_directories(folder);
  check_contains(error_of([&] { read_text_file(folder / "none.json"); }), "no such file");
  check_contains(error_of([&] { read_text_file(folder); }), "not a file");
  std::ofstream(folder / "empty.json").close();
  check_contains(error_of([&] { read_text_file(folder / "empty.json"); }), "the file is empty");
  std::ofstream(folder / "large.json") << "[]";
  fs::resize_file(folder / "large.json", kLargestInputFile + 1);  // sparse: takes no room on disk
  check_contains(error_of([&] { read_json_file(folder / "large.json"); }),
                 "is more than the 67 MB that are read");
  fs::remove_all(folder);
}
