#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sim/units.h"

namespace cdisim {

using Json = nlohmann::json;

/// Largest input file that is read, bytes. Real inputs are a few MB; a mistaken file is refused at once.
inline constexpr std::uintmax_t kLargestInputFile = 64u << 20;

/// Returns the bytes of a regular file. @throws InputError: missing, not a file, empty, larger than the
/// limit.
std::string read_text_file(const std::filesystem::path& path);

/// Parses a JSON file. @throws InputError naming line and column: syntax, duplicate keys, nesting deeper than
/// 64.
Json read_json_file(const std::filesystem::path& path);

/// Parses JSON text; `name` stands for the file in errors.
Json parse_json(std::string_view text, const std::string& name);

/// A JSON value that knows where it stands, so that every error names file, JSON pointer and value. Reading
/// is strict: wrong types throw, and `done()` throws on the keys that nobody read.
///
///     JsonReader experiment(json, "experiments/edgent.json");
///     const std::string model = experiment.at("model").string();
///     const double deadline_s = experiment.at("deadline").quantity(Dimension::kTime);
///     experiment.done();
class JsonReader {
 public:
  JsonReader(const Json& value, std::string file, std::string pointer = "");

  const Json& json() const { return *value_; }
  /// "file: /pointer", as it stands in errors.
  std::string place() const;
  const std::string& file() const { return file_; }
  const std::string& pointer() const { return pointer_; }

  bool has(const std::string& key) const;
  /// The member `key`. @throws InputError when this is no object or has no such member.
  JsonReader at(const std::string& key) const;
  /// The member `key` if there is one.
  std::optional<JsonReader> find(const std::string& key) const;
  /// The elements of an array. @throws InputError when it is none.
  std::vector<JsonReader> elements() const;
  /// The members of an object, in the file's (alphabetical) order; all count as read.
  std::vector<std::pair<std::string, JsonReader>> members() const;

  std::string string() const;
  /// A string that is not empty.
  std::string text() const;
  bool boolean() const;
  /// A finite number within [low, high].
  double number(double low, double high) const;
  std::int64_t integer(std::int64_t low, std::int64_t high) const;
  /// "8Mbps", "10ms", ...: a string with a unit, see parse_quantity().
  double quantity(Dimension dimension) const;
  /// One of `choices`; the result is its index.
  std::size_t choice(const std::vector<std::string>& choices) const;

  /// @throws InputError with this place: `message` says what is wrong with the value and what would be valid.
  [[noreturn]] void fail(const std::string& message) const;
  /// @throws InputError naming the first key of this object that was never read, and the keys that were.
  void done() const;

 private:
  const Json* value_;
  std::string file_;
  std::string pointer_;
  mutable std::set<std::string> asked_;  ///< keys that the reader of this object knows
};

}  // namespace cdisim
