#include "sim/sweep.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <system_error>

#include "sim/error.h"
#include "sim/metrics.h"
#include "sim/report.h"

namespace cdisim {

namespace {

// A forked process that computes one JSON value, sent back over a pipe as CBOR.
class Child {
 public:
  explicit Child(const std::function<Json()>& work) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    errors_ = std::tmpfile();
    if (errors_ == nullptr) throw std::system_error(errno, std::generic_category(), "temporary file");
    std::fflush(nullptr);
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);
      close(ends[0]);
      dup2(fileno(errors_), STDERR_FILENO);  // what SimGrid says when it aborts belongs into one error line
      _exit(serve(work, ends[1]));
    }
    close(ends[1]);
    pipe_ = ends[0];
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pipe_ >= 0) close(pipe_);
    if (errors_ != nullptr) std::fclose(errors_);
    if (!reaped_) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }

  int pipe() const { return pipe_; }

  // Reads what has come; returns false at the end of the pipe.
  bool read_some() {
    char buffer[1 << 16];
    const ssize_t n = read(pipe_, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) return true;
    if (n <= 0) return false;
    received_.append(buffer, static_cast<std::size_t>(n));
    return true;
  }

  // The value, after the end of the pipe.
  Json result() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    reaped_ = true;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      const std::string how = WIFSIGNALED(status) ? fmt::format("died of signal {} ({})", WTERMSIG(status),
                                                                strsignal(WTERMSIG(status)))
                                                  : fmt::format("exited with status {}", WEXITSTATUS(status));
      const std::string last = last_error_line();
      throw std::runtime_error(fmt::format("the simulation {}{}{}", how, last.empty() ? "" : ": ", last));
    }
    Json answer = Json::from_cbor(received_);
    if (answer.contains("input_error")) throw InputError(answer["input_error"].get<std::string>());
    if (answer.contains("error")) throw std::runtime_error(answer["error"].get<std::string>());
    return std::move(answer["value"]);
  }

 private:
  static int serve(const std::function<Json()>& work, int pipe) {
    Json answer;
    try {
      answer["value"] = work();
    } catch (const InputError& e) {
      answer = {{"input_error", e.what()}};
    } catch (const std::exception& e) {
      answer = {{"error", e.what()}};
    }
    const std::vector<std::uint8_t> bytes = Json::to_cbor(answer);
    for (std::size_t sent = 0; sent < bytes.size();) {
      const ssize_t n = write(pipe, bytes.data() + sent, bytes.size() - sent);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return 1;
      sent += static_cast<std::size_t>(n);
    }
    return 0;
  }

  std::string last_error_line() {
    std::rewind(errors_);
    std::string last;
    char line[1024];
    while (std::fgets(line, sizeof line, errors_) != nullptr) {
      std::string text(line);
      while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
      if (!text.empty()) last = text;
    }
    return last;
  }

  pid_t pid_ = -1;
  int pipe_ = -1;
  std::FILE* errors_ = nullptr;
  std::string received_;
  bool reaped_ = false;
};

constexpr const char* kStateNames[] = {"in_flight", "completed", "lost"};

std::string requests_rows(std::size_t run, const std::string& policy, int repetition, const RunSpec& spec,
                          const Trace& trace) {
  std::string rows;
  for (std::size_t i = 0; i < trace.requests.size(); ++i) {
    const RequestRecord& r = trace.requests[i];
    const std::string& source = spec.platform->host(spec.sources[static_cast<std::size_t>(r.source)]).name;
    const auto when = [&](double value) {
      return r.state == RequestState::kInFlight ? std::string() : fmt::format("{}", value);
    };
    rows += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{}\n", run, csv_cell(policy), repetition, i,
                        csv_cell(source), r.arrival_s, when(r.end_s), when(r.end_s - r.arrival_s),
                        kStateNames[static_cast<int>(r.state)], r.exit + 1, when(r.compute_s),
                        when(r.transfer_s), when(r.queue_s));
  }
  return rows;
}

// The plan as in results.json.
Json plan_json(const RunSpec& spec, const Plan& plan) {
  Json pieces = Json::array();
  for (const Piece& piece : plan.pieces) {
    Json layers = Json::array();
    for (const LayerId layer : piece.layers) layers.push_back(spec.graph->layer(layer).name);
    pieces.push_back({{"host", spec.platform->host(piece.host).name}, {"layers", layers}});
    for (const auto& [layer, part] : piece.parts) {
      Json& ranges = pieces.back()["parts"][spec.graph->layer(layer).name];
      for (const Range& range : part) ranges.push_back({range.begin, range.end});
    }
    if (piece.share) pieces.back()["share"] = *piece.share;
    for (const LayerId tensor : piece.relays)
      pieces.back()["relays"].push_back(tensor == kInput ? "input" : spec.graph->layer(tensor).name);
  }
  Json transforms = Json::array();
  for (const EdgeTransform& t : plan.transforms) {
    transforms.push_back({{"from", t.from},
                          {"to", t.to},
                          {"ratio", t.transform.ratio},
                          {"encode_flop", t.transform.encode_flop},
                          {"decode_flop", t.transform.decode_flop}});
  }
  Json out = {{"exit", plan.exit + 1}, {"pieces", pieces}, {"decision", plan.decision}};
  if (!transforms.empty()) out["transforms"] = transforms;
  if (!plan.exit_rates.empty()) out["exit_rates"] = plan.exit_rates;
  if (!plan.exit_accuracies.empty()) out["exit_accuracies"] = plan.exit_accuracies;
  for (const Upload& upload : plan.uploads) {
    Json layers = Json::array();
    for (const LayerId layer : upload.layers) layers.push_back(spec.graph->layer(layer).name);
    out["uploads"].push_back({{"host", spec.platform->host(upload.host).name}, {"layers", layers}});
  }
  if (plan.stealing) {
    Json workers = Json::array();
    for (const HostId worker : plan.stealing->workers) workers.push_back(spec.platform->host(worker).name);
    out["stealing"] = {
        {"pieces", plan.stealing->pieces}, {"workers", workers}, {"poll_s", plan.stealing->poll_s}};
    if (plan.stealing->store) out["stealing"]["store"] = spec.platform->host(*plan.stealing->store).name;
    for (const auto& [piece, parts] : plan.stealing->alone) out["stealing"]["alone"].push_back(piece);
  }
  for (const Plan& fallback : plan.fallbacks) out["fallbacks"].push_back(plan_json(spec, fallback));
  return out;
}

Json repetition(const Experiment& experiment, std::size_t index, int number, const SweepOptions& options) {
  if (options.started) options.started(index, number);
  const Run& run = experiment.runs()[index];
  const std::unique_ptr<RunSetup> setup = experiment.setup(run, number);
  setup->spec.record_intervals = options.chrome_trace;
  const Trace trace = simulate(setup->spec, *setup->facts, setup->make_policy());
  Json out = {{"summary", summarise(setup->spec, trace)},
              {"plan", plan_json(setup->spec, trace.plans.front())},
              {"params", setup->parameters->json()}};
  if (options.requests) out["requests"] = requests_rows(index, run.policy, number, setup->spec, trace);
  if (options.chrome_trace) {
    Json events = Json::array();
    std::string title = fmt::format("{} {}", experiment.name(), run.policy);
    for (const auto& [path, value] : run.point.items())
      title += fmt::format(" {}={}", path, value.is_string() ? value.get<std::string>() : value.dump());
    if (experiment.repetitions() > 1) title += fmt::format(" #{}", number);
    const int process = static_cast<int>(index) * experiment.repetitions() + number;
    append_chrome_trace(events, trace, *setup->spec.platform, process, title);
    out["trace"] = std::move(events);
  }
  return out;
}

}  // namespace

Json run_in_child(const std::function<Json()>& work) {
  Child child(work);
  while (child.read_some()) {
  }
  return child.result();
}

SweepResults run_sweep(const Experiment& experiment, const SweepOptions& options) {
  const auto repetitions = static_cast<std::size_t>(experiment.repetitions());
  const std::size_t total = experiment.runs().size() * repetitions;
  std::vector<Json> answers(total);
  std::vector<std::optional<RunFailure>> failed(total);

  std::vector<std::pair<std::size_t, std::unique_ptr<Child>>> children;
  std::size_t next = 0, done = 0;
  while (done < total) {
    while (next < total && children.size() < static_cast<std::size_t>(options.jobs)) {
      const std::size_t task = next++;
      children.emplace_back(task, std::make_unique<Child>([&experiment, &options, task, repetitions] {
                              return repetition(experiment, task / repetitions,
                                                static_cast<int>(task % repetitions), options);
                            }));
    }
    std::vector<pollfd> waiting;
    for (const auto& [task, child] : children) waiting.push_back({child->pipe(), POLLIN, 0});
    if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR)
      throw std::system_error(errno, std::generic_category(), "poll");
    for (std::size_t i = waiting.size(); i-- > 0;) {
      if (waiting[i].revents == 0 || children[i].second->read_some()) continue;
      const std::size_t task = children[i].first;
      try {
        answers[task] = children[i].second->result();
      } catch (const InputError& e) {
        failed[task] = RunFailure{task / repetitions, true, e.what()};
      } catch (const std::exception& e) {
        failed[task] = RunFailure{task / repetitions, false, e.what()};
      }
      children.erase(children.begin() + static_cast<std::ptrdiff_t>(i));
      ++done;
      if (options.progress) options.progress(static_cast<int>(done), static_cast<int>(total));
    }
  }

  SweepResults out;
  if (options.requests) {
    out.requests_csv =
        "run,policy,repetition,request,source,arrival_s,end_s,latency_s,state,exit,compute_s,transfer_s,"
        "queue_s\n";
  }
  for (std::size_t index = 0; index < experiment.runs().size(); ++index) {
    const Run& run = experiment.runs()[index];
    Json entry = {{"policy", run.policy}, {"point", run.point}};
    std::vector<Json> summaries;
    const RunFailure* failure = nullptr;
    for (std::size_t r = 0; r < repetitions; ++r) {
      const std::size_t task = index * repetitions + r;
      if (failed[task]) {
        if (failure == nullptr) failure = &*failed[task];
        continue;
      }
      Json& answer = answers[task];
      summaries.push_back(std::move(answer["summary"]));
      if (r == 0) {
        entry["params"] = answer["params"];
        entry["plan"] = answer["plan"];
      }
      if (options.requests) out.requests_csv += answer["requests"].get_ref<const std::string&>();
      if (options.chrome_trace) {
        for (Json& event : answer["trace"]) out.trace_events.push_back(std::move(event));
      }
    }
    if (failure != nullptr) {
      entry.erase("plan");
      entry["error"] = failure->message;
      out.failures.push_back(*failure);
    } else {
      entry["metrics"] = aggregate(summaries);
    }
    out.runs.push_back(std::move(entry));
  }
  return out;
}

}  // namespace cdisim
