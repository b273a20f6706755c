// A fork server: runs experiments for a program that cannot run SimGrid itself and should not be forked, such
// as a Python interpreter.
//
// The program starts `cdisim serve` with one end of a socket as standard input. For each run it sends two
// file descriptors: one end of the run's own socket and of the socket on which simulations announce
// themselves that ask for decisions (see external_policy.h). A forked child reads the run from its socket:
//
//     {"experiment": path or name, or the experiment itself,
//      "folder": current folder, "path": CDISIM_PATH, "seed": 1, "jobs": 2, "requests": true,
//      "progress": true, "policies": entries that replace the experiment's,
//      "vary": values that replace its sweeps,
//      "external": facts of the policies that the program has}
//
// and answers {"progress": [done, total]} as often as there is some, then one of {"results": results.json,
// "requests": requests.csv} and {"error": text, "input": whether the input is wrong}. Where a child dies, the
// server answers in its place. A program that closes a run's socket ends the run; one that ends, ends all.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <list>
#include <system_error>
#include <thread>

#include "sim/catalogue.h"
#include "sim/commands.h"
#include "sim/connection.h"
#include "sim/error.h"
#include "sim/experiment.h"
#include "sim/external_policy.h"
#include "sim/latency_model.h"
#include "sim/report.h"
#include "sim/resources.h"
#include "sim/sweep.h"

namespace cdisim {

namespace fs = std::filesystem;

namespace {

struct ServedRun {
  pid_t pid = -1;
  Connection connection;
};

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

Json answer_to(const Json& request, const Connection& connection, int desk) {
  fs::current_path(request.at("folder").get<std::string>());
  if (request.contains("path")) {
    setenv("CDISIM_PATH", request["path"].get<std::string>().c_str(), 1);
  } else {
    unsetenv("CDISIM_PATH");
  }
  ExternalPolicies external(desk);
  for (const JsonReader& facts : JsonReader(request.at("external"), "policy").elements()) {
    register_policy(read_policy_facts(facts), [&external](const Parameters&) { return external.make(); });
  }
  std::optional<std::uint64_t> seed;
  if (request.contains("seed")) seed = request["seed"].get<std::uint64_t>();
  auto [path, document] = find_experiment(request.at("experiment"), request.value("policies", Json()),
                                          request.value("vary", Json()));
  const Experiment experiment = Experiment::parse(std::move(document), path, seed);
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  SweepOptions options{.jobs = request.value("jobs", cores), .requests = request.value("requests", false)};
  if (request.value("progress", false)) {
    options.progress = [&](int done, int total) {
      connection.send(Json{{"progress", {done, total}}}.dump());
    };
  }
  options.started = [&](std::size_t run, int repetition) {
    external.start({{"policy", experiment.runs()[run].policy},
                    {"point", experiment.runs()[run].point},
                    {"repetition", repetition}});
  };
  const SweepResults results = run_sweep(experiment, options);
  // Nothing to report but the errors.
  if (std::all_of(results.runs.begin(), results.runs.end(),
                  [](const Json& run) { return run.contains("error"); })) {
    std::string text;
    bool input = true;
    for (const RunFailure& failure : results.failures) {
      text += (text.empty() ? "" : "\n") + failure_text(experiment, failure);
      input = input && failure.input_error;
    }
    return {{"error", text}, {"input", input}};
  }
  return {{"results", results_json(experiment, results)}, {"requests", results.requests_csv}};
}

// The child's whole life.
int run_child(Connection connection, int desk) noexcept {  // what escapes must not unwind the server
  const std::optional<std::string> text = connection.receive();
  if (!text) return 0;
  Json answer;
  try {
    answer = answer_to(parse_json(*text, "request"), connection, desk);
  } catch (const InputError& e) {
    answer = {{"error", e.what()}, {"input", true}};
  } catch (const std::exception& e) {
    answer = {{"error", e.what()}, {"input", false}};
  }
  connection.send(answer.dump(-1, ' ', false, Json::error_handler_t::replace));
  return 0;
}

class Server {
 public:
  Server() {
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, &usual_);
    signals_ = signalfd(-1, &children, SFD_CLOEXEC);
    if (signals_ < 0) fail("signalfd");
  }

  ~Server() {
    for (const ServedRun& run : runs_) kill(-run.pid, SIGKILL);
    close(signals_);
  }

  void serve() {
    for (;;) {
      std::vector<pollfd> waiting{{STDIN_FILENO, POLLIN, 0}, {signals_, POLLIN, 0}};
      for (const ServedRun& run : runs_) waiting.push_back({run.connection.fd(), 0, 0});
      if (poll(waiting.data(), waiting.size(), -1) < 0) {
        if (errno == EINTR) continue;
        fail("poll");
      }
      std::size_t i = 2;
      for (const ServedRun& run : runs_) {
        if (waiting[i++].revents != 0) kill(-run.pid, SIGKILL);
      }
      if (waiting[1].revents != 0) reap();
      if (waiting[0].revents != 0) {
        const std::vector<int> fds = receive_fds(STDIN_FILENO);
        if (fds.size() != 2) return;
        start(fds[0], fds[1]);
      }
    }
  }

 private:
  void start(int run_fd, int desk) {
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
      setpgid(0, 0);
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);
      sigprocmask(SIG_SETMASK, &usual_, nullptr);
      const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
      dup2(null, STDIN_FILENO);
      close(null);
      close(signals_);
      for (const ServedRun& run : runs_) close(run.connection.fd());
      _exit(run_child(Connection(run_fd), desk));
    }
    setpgid(pid, pid);  // both, so that neither needs to wait for the other
    close(desk);
    runs_.push_back({pid, Connection(run_fd)});
  }

  void reap() {
    signalfd_siginfo info;
    if (read(signals_, &info, sizeof info) < 0) fail("signalfd");
    int status = 0;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
      const auto run = std::ranges::find(runs_, pid, &ServedRun::pid);
      if (run == runs_.end()) continue;
      if (WIFSIGNALED(status)) {
        const int signal = WTERMSIG(status);
        const Json answer{{"error", fmt::format("the run died of signal {} ({})", signal, strsignal(signal))},
                          {"input", false}};
        run->connection.send(answer.dump());
      }
      runs_.erase(run);
    }
  }

  sigset_t usual_{};
  int signals_ = -1;
  std::list<ServedRun> runs_;
};

}  // namespace

int serve_command() {
  try {
    LatencyModel::roofline(hardware_file());  // which no run then needs to read
  } catch (const InputError&) {
    // Runs that need it say so.
  }
  Server().serve();
  return 0;
}

}  // namespace cdisim
