#include "sim/json_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "sim/error.h"

namespace cdisim {

namespace fs = std::filesystem;

namespace {

constexpr int kDeepestNesting = 64;

// Line and column of a byte offset, both from 1.
std::string line_and_column(std::string_view text, std::size_t byte) {
  byte = std::min(byte, text.size());
  const auto head = text.substr(0, byte);
  const auto line = 1 + std::count(head.begin(), head.end(), '\n');
  const auto newline = head.rfind('\n');
  return fmt::format("line {}, column {}", line, newline == head.npos ? byte : byte - newline - 1);
}

// Builds the document and refuses what nlohmann/json would swallow: duplicate keys and bottomless nesting.
class StrictParser {
 public:
  explicit StrictParser(const std::string& name) : name_(name) {}

  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDeepestNesting) {
      throw InputError(name_, fmt::format("nested deeper than {} levels", kDeepestNesting));
    }
    if (event == Json::parse_event_t::object_start) {
      keys_.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys_.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto key = parsed.get<std::string>();
      if (!keys_.back().insert(key).second)
        throw InputError(name_, fmt::format("key \"{}\" stands twice in one object", key));
    }
    return true;
  }

 private:
  const std::string& name_;
  std::vector<std::set<std::string>> keys_;
};

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  constexpr std::size_t kLongest = 60;
  return text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
}

std::string escaped(const std::string& key) {
  std::string out;
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string read_text_file(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) throw InputError(path.string(), "no such file");
  if (!fs::is_regular_file(status)) throw InputError(path.string(), "not a file");
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) throw InputError(path.string(), error.message());
  if (size == 0) throw InputError(path.string(), "the file is empty");
  if (size > kLargestInputFile) {
    throw InputError(path.string(), fmt::format("{} MB is more than the {} MB that are read", size / 1000000,
                                                kLargestInputFile / 1000000));
  }
  std::ifstream in(path, std::ios::binary);
  std::string text(size, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(size)))
    throw InputError(path.string(), "cannot be read");
  return text;
}

Json parse_json(std::string_view text, const std::string& name) {
  try {
    return Json::parse(text.begin(), text.end(), StrictParser(name));
  } catch (const Json::parse_error& e) {
    const std::string_view what = e.what();
    const auto detail = what.find(": ");
    throw InputError(name, fmt::format("{}: not JSON ({})", line_and_column(text, e.byte),
                                       detail == what.npos ? what : what.substr(detail + 2)));
  } catch (const Json::exception& e) {
    const std::string_view what = e.what();
    const auto detail = what.find("] ");  // "[json.exception.out_of_range.406] number overflow ..."
    throw InputError(name,
                     fmt::format("not JSON ({})", detail == what.npos ? what : what.substr(detail + 2)));
  }
}

Json read_json_file(const fs::path& path) {
  return parse_json(read_text_file(path), path.string());
}

JsonReader::JsonReader(const Json& value, std::string file, std::string pointer)
    : value_(&value), file_(std::move(file)), pointer_(std::move(pointer)) {}

std::string JsonReader::place() const {
  return pointer_.empty() ? file_ : fmt::format("{}: {}", file_, pointer_);
}

void JsonReader::fail(const std::string& message) const {
  throw InputError(place(), fmt::format("{}: {}", shown(*value_), message));
}

bool JsonReader::has(const std::string& key) const {
  if (!value_->is_object()) fail("must be an object");
  asked_.insert(key);
  return value_->contains(key);
}

JsonReader JsonReader::at(const std::string& key) const {
  if (!has(key)) throw InputError(place(), fmt::format("\"{}\" is missing", key));
  return JsonReader((*value_)[key], file_, pointer_ + "/" + escaped(key));
}

std::optional<JsonReader> JsonReader::find(const std::string& key) const {
  if (!has(key)) return std::nullopt;
  return at(key);
}

std::vector<JsonReader> JsonReader::elements() const {
  if (!value_->is_array()) fail("must be an array");
  std::vector<JsonReader> out;
  for (std::size_t i = 0; i < value_->size(); ++i) {
    out.emplace_back((*value_)[i], file_, fmt::format("{}/{}", pointer_, i));
  }
  return out;
}

std::vector<std::pair<std::string, JsonReader>> JsonReader::members() const {
  if (!value_->is_object()) fail("must be an object");
  std::vector<std::pair<std::string, JsonReader>> out;
  for (const auto& [key, value] : value_->items()) {
    asked_.insert(key);
    out.emplace_back(key, JsonReader(value, file_, pointer_ + "/" + escaped(key)));
  }
  return out;
}

std::string JsonReader::string() const {
  if (!value_->is_string()) fail("must be a string");
  const auto& text = value_->get_ref<const std::string&>();
  // They would break a table and the one line of an error.
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(text.begin(), text.end(), control)) fail("must not hold control characters");
  return text;
}

std::string JsonReader::text() const {
  if (string().empty()) fail("must not be empty");
  return string();
}

bool JsonReader::boolean() const {
  if (!value_->is_boolean()) fail("must be true or false");
  return value_->get<bool>();
}

double JsonReader::number(double low, double high) const {
  if (!value_->is_number()) fail("must be a number");
  const double x = value_->get<double>();
  if (!std::isfinite(x) || x < low || x > high) fail(fmt::format("must lie within [{}, {}]", low, high));
  return x;
}

std::int64_t JsonReader::integer(std::int64_t low, std::int64_t high) const {
  const bool fits =
      value_->is_number_integer() &&
      !(value_->is_number_unsigned() && value_->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX));
  if (!fits) fail("must be a whole number");
  const auto x = value_->get<std::int64_t>();
  if (x < low || x > high) fail(fmt::format("must lie within [{}, {}]", low, high));
  return x;
}

double JsonReader::quantity(Dimension dimension) const {
  if (!value_->is_string())
    fail(fmt::format("must be a string with a unit, for example \"{}\"", format_quantity(10, dimension)));
  return parse_quantity(value_->get_ref<const std::string&>(), dimension, place());
}

std::size_t JsonReader::choice(const std::vector<std::string>& choices) const {
  const std::string given = string();
  const auto found = std::find(choices.begin(), choices.end(), given);
  if (found == choices.end())
    throw InputError(place(), fmt::format("\"{}\" is unknown{}", given, valid_choices(given, choices)));
  return static_cast<std::size_t>(found - choices.begin());
}

void JsonReader::done() const {
  if (!value_->is_object()) fail("must be an object");
  const std::vector<std::string> known(asked_.begin(), asked_.end());
  for (const auto& [key, unused] : value_->items()) {
    if (!asked_.contains(key)) {
      throw InputError(place(), fmt::format("unknown key \"{}\"{}", key, valid_choices(key, known)));
    }
  }
}

}  // namespace cdisim
