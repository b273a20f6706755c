#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "sim/error.h"
#include "sim/json_reader.h"

namespace cdisim {

namespace fs = std::filesystem;

inline const fs::path kSources = CDISIM_SOURCE_DIR;
inline const fs::path kFixtures = kSources / "tests" / "fixtures";

inline std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

inline std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// What an InputError says; "no error" where none is thrown.
template <std::invocable Function>
std::string error_of(const Function& function) {
  try {
    function();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

/// A folder of the test's own, removed with all it holds.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "cdisim_test_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::generic_category(), name);
    path_ = name;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }

  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
  }

 private:
  fs::path path_;
};

/// What a command did.
struct Finished {
  int code = -1;  ///< exit status; 128 + the signal that ended it
  std::string out, err;
  double wall_s = 0;
};

/// The real program, running: started in `folder` with stdout and stderr in files, killed after a minute.
class Running {
 public:
  /// `output`: where stdout goes instead of a file of its own. `cdisim_path`: CDISIM_PATH, empty for none.
  explicit Running(const std::vector<std::string>& arguments, const fs::path& folder = kSources,
                   const std::string& cdisim_path = "", const std::string& output = "")
      : begun_(std::chrono::steady_clock::now()) {
    const std::string out = output.empty() ? (streams_ / "out").string() : output;
    const std::string err = (streams_ / "err").string(), where = folder.string(), program = CDISIM_BINARY;
    std::vector<char*> argv{const_cast<char*>(program.c_str())};
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ > 0) return;
    const int out_file = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err_file = open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const bool ready =
        dup2(out_file, STDOUT_FILENO) >= 0 && dup2(err_file, STDERR_FILENO) >= 0 && chdir(where.c_str()) == 0;
    if (cdisim_path.empty()) {
      unsetenv("CDISIM_PATH");
    } else {
      setenv("CDISIM_PATH", cdisim_path.c_str(), 1);
    }
#ifdef CDISIM_SANITIZE
    constexpr unsigned kLongest_s = 240;
#else
    constexpr unsigned kLongest_s = 120;
#endif
    alarm(kLongest_s);  // survives exec
    if (ready) execv(program.c_str(), argv.data());
    _exit(127);
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  pid_t pid() const {
    return pid_;
  }

  Finished wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    Finished done;
    done.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
    done.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    done.out = slurp(streams_ / "out");
    done.err = slurp(streams_ / "err");
    return done;
  }

 private:
  TempFolder streams_;
  std::chrono::steady_clock::time_point begun_;
  pid_t pid_ = 0;
};

inline Finished run_cdisim(const std::vector<std::string>& arguments, const fs::path& folder = kSources,
                           const std::string& cdisim_path = "") {
  return Running(arguments, folder, cdisim_path).wait();
}

/// A JSON file with each value of `patch`, the text of {JSON pointer: value}, put in its place; null removes.
inline std::string patched(const fs::path& file, const std::string& patch) {
  Json document = read_json_file(file);
  const Json changes = parse_json(patch, "patch");
  for (const auto& [pointer, value] : changes.items()) {
    const Json::json_pointer at(pointer);
    if (value.is_null()) {
      document[at.parent_pointer()].erase(at.back());
    } else {
      document[at] = value;
    }
  }
  return document.dump(1) + "\n";
}

/// The fixture experiment and what it refers to, as e.json in a folder of their own.
inline void write_pencil_run(const TempFolder& folder, const std::string& patch = "{}") {
  for (const char* name : {"pencil.xml", "chain3.json"}) folder.write(name, slurp(kFixtures / name));
  folder.write("e.json", patched(kFixtures / "pencil_run.json", patch));
}

}  // namespace cdisim
