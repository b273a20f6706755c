#pragma once

#include <filesystem>
#include <string>

#include "sim/json_reader.h"
#include "sim/report.h"

namespace cdisim {

/// Writes to standard output and flushes, so that a full disk does not look like success. @throws
/// std::system_error.
void print(const std::string& text);
void print(const Json& json);

/// @throws InputError where `path` cannot be written; writes nothing.
void require_writable(const std::filesystem::path& path);

/// Wraps prose to the terminal, each line behind `indent`; ends with a line end.
std::string wrapped(const std::string& text, const std::string& indent, std::size_t width = kTerminalWidth);

}  // namespace cdisim
