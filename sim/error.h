#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cdisim {

/// The user's input is wrong. `what()` is one line: the place (file, then JSON pointer or line), the value
/// found there and what would be valid. `main` prints it and exits with code 2.
class InputError : public std::runtime_error {
 public:
  /// `place`: for example "experiments/edgent.json: /policies/0/name"; `message`: what is wrong there.
  InputError(std::string_view place, std::string_view message);
  /// The whole text of an InputError, as another process sent it.
  explicit InputError(const std::string& text) : std::runtime_error(text) {}
};

/// Returns "; valid: a, b, c; did you mean \"b\"?" for a value that is none of `valid`. Lists at most twenty
/// choices; the suggestion appears only when one is close (Levenshtein distance at most a third of its
/// length).
std::string valid_choices(std::string_view given, std::span<const std::string> valid);

}  // namespace cdisim
