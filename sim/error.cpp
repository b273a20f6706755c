#include "sim/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <numeric>

namespace cdisim {

namespace {

std::size_t levenshtein(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// One line whatever the input holds: control bytes would break the terminal and the promise of one line.
std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  constexpr std::size_t kLongest = 1000;
  if (out.size() > kLongest) out = out.substr(0, kLongest) + "...";
  return out;
}

}  // namespace

InputError::InputError(std::string_view place, std::string_view message)
    : std::runtime_error(one_line(fmt::format("{}: {}", place, message))) {}

std::string valid_choices(std::string_view given, std::span<const std::string> valid) {
  constexpr std::size_t kMostListed = 20;
  std::string out = "; valid: ";
  if (valid.empty()) out += "none";
  for (std::size_t i = 0; i < std::min(valid.size(), kMostListed); ++i) {
    if (i > 0) out += ", ";
    out += valid[i];
  }
  if (valid.size() > kMostListed) out += fmt::format(" and {} more", valid.size() - kMostListed);

  // Case is the commonest slip: it decides only between choices that are equally close.
  const auto distance = [&](const std::string& choice) {
    return std::pair(levenshtein(lower(given), lower(choice)), levenshtein(given, choice));
  };
  const auto close = std::min_element(
      valid.begin(), valid.end(), [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
  if (close != valid.end() && distance(*close).first <= std::max<std::size_t>(1, close->size() / 3)) {
    out += fmt::format("; did you mean \"{}\"?", *close);
  }
  return out;
}

}  // namespace cdisim
