#include "sim/onnx_import.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <system_error>
#include <utility>

#include "sim/error.h"
#include "sim/json_reader.h"
#include "sim/layer_graph.h"
#include "sim/report.h"

extern char** environ;  // NOLINT: POSIX

namespace cdisim {

namespace fs = std::filesystem;

namespace {

// Beside the program: in the folder that it is installed to, or the source tree that it is built in.
fs::path find_importer() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path folder = program.parent_path();
  const std::array candidates{folder / "../share/cdisim/python/cdisim/onnx_import.py",
                              folder / "../onnx_import.py",  // in the Python package
                              folder / "../bindings/cdisim/onnx_import.py",
                              folder / "../../bindings/cdisim/onnx_import.py",
                              fs::path(CDISIM_DATA_DIR) / "python/cdisim/onnx_import.py"};
  for (const fs::path& candidate : candidates) {
    if (fs::is_regular_file(candidate, error)) return candidate.lexically_normal();
  }
  throw InputError("cdisim import", fmt::format("onnx_import.py is missing; looked for {}",
                                                candidates[0].lexically_normal().string()));
}

struct Finished {
  int code = 0;      ///< exit code; 128 + signal where one ended it
  std::string text;  ///< its standard output
};

[[noreturn]] void fail(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), what);
}

// Runs a program without a shell. Its standard output comes back; standard error is ours. Output above the
// limit ends it.
Finished run(const std::vector<std::string>& words) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) fail(errno, "pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    throw InputError("cdisim import", fmt::format("cannot run \"{}\": {} (CDISIM_PYTHON names the Python "
                                                  "interpreter)",
                                                  words[0], std::generic_category().message(error)));
  }

  Finished finished;
  std::array<char, 1 << 16> buffer{};
  while (finished.text.size() <= kLargestInputFile) {
    const ssize_t count = read(ends[0], buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    finished.text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) fail(errno, "waitpid");
  }
  finished.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return finished;
}

Json summary_of(const LayerGraph& graph, const fs::path& out) {
  std::map<std::string, int> moved;
  const Json json = graph.to_json();
  for (const Json& layer : json.at("layers")) {
    if (layer["kind"] == "data_movement") ++moved[layer["operator"].get<std::string>()];
  }
  return {{"file", out.string()},     {"name", graph.name()},
          {"source", graph.source()}, {"precision", graph.precision()},
          {"layers", graph.size()},   {"parameters", graph.parameters()},
          {"macs", graph.macs()},     {"weight_bytes", graph.weight_bytes()},
          {"data_movement", moved}};
}

// "4.089 G", "13.44 k".
std::string count_text(double count) {
  for (const auto& [unit, name] : {std::pair{1e9, " G"}, std::pair{1e6, " M"}, std::pair{1e3, " k"}}) {
    if (count >= unit) return fmt::format("{:.4g}{}", count / unit, name);
  }
  return fmt::format("{:.4g} ", count);
}

std::string summary_text(const Json& summary) {
  std::string moved;
  for (const auto& [name, count] : summary["data_movement"].items()) {
    moved += fmt::format("{}{} ({})", moved.empty() ? "" : ", ", name, count.get<int>());
  }
  return fmt::format(
      "{}: {}\n{} layers, {:.0f} parameters ({}B in {}), {} multiply-adds for one input\n"
      "data movement: {}\nwritten to {}\n",
      summary["name"].get<std::string>(), summary["source"].get<std::string>(), summary["layers"].get<int>(),
      summary["parameters"].get<double>(), count_text(summary["weight_bytes"].get<double>()),
      summary["precision"].get<std::string>(), count_text(summary["macs"].get<double>()),
      moved.empty() ? "none" : moved, summary["file"].get<std::string>());
}

}  // namespace

int import_command(const ImportOptions& options) {
  const char* named = std::getenv("CDISIM_PYTHON");
  std::vector<std::string> words{named && *named ? named : "python3", find_importer().string()};
  if (!options.name.empty()) words.push_back("--name=" + options.name);
  if (!options.precision.empty()) words.push_back("--precision=" + options.precision);
  if (options.batch) words.push_back(fmt::format("--batch={}", *options.batch));
  for (const std::string& shape : options.input_shapes) words.push_back("--input-shape=" + shape);
  words.insert(words.end(), {"--", options.model.string()});

  const Finished finished = run(words);
  if (finished.text.size() > kLargestInputFile) {
    throw InputError(options.model.string(),
                     fmt::format("gives more than {} MiB of JSON", kLargestInputFile >> 20));
  }
  if (finished.code != 0) {
    // The program has said why, unless something ended it or it could not start.
    if (finished.code > 2) {
      fmt::print(stderr, "cdisim: error: {}: {} ended with exit code {}\n", options.model.string(), words[0],
                 finished.code);
    }
    return finished.code == 2 ? 2 : 1;
  }
  const LayerGraph graph =
      LayerGraph::parse(parse_json(finished.text, options.model.string()), options.model.string());
  const fs::path out = options.out.empty() ? fs::path(options.model.stem()) += ".json" : options.out;
  write_file(out, graph.text());

  const Json summary = summary_of(graph, out);
  const std::string text = options.json ? summary.dump(2) + "\n" : summary_text(summary);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    fail(errno, "standard output");
  }
  return 0;
}

}  // namespace cdisim
