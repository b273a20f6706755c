// The command line. The data path is run_command() in commands.cpp:
//   experiment.json -> Experiment -> Platform + LayerGraph + LatencyModel + Policy
//                   -> Policy::plan(Problem) -> Plan -> simulate() in SimGrid -> Trace -> metrics -> report
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <thread>

#include "sim/commands.h"
#include "sim/error.h"
#include "sim/resources.h"

int main(int argc, char** argv) {
  using namespace cdisim;
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));

  CLI::App app{
      "cdisim simulates collaborative DNN inference between cloud, edge, devices and UAVs on SimGrid."};
  app.footer("Example: cdisim experiments/edgent.json --out results");
  app.set_version_flag("--version", "cdisim " + version());
  app.fallthrough(false);
  app.require_subcommand(0, 1);
  const CLI::Validator not_empty(
      [](const std::string& text) { return text.empty() ? std::string("must not be empty") : ""; }, "");

  RunOptions run;
  run.jobs = cores;
  std::uint64_t seed = 0;
  app.add_option("EXPERIMENT", run.experiment, "experiment file, or the name of one");
  app.add_option("--out", run.out, "folder for results.json and requests.csv")->check(not_empty);
  CLI::Option* seed_option = app.add_option("--seed", seed, "seed that replaces the experiment's")
                                 ->check(CLI::NonNegativeNumber)
                                 ->check(CLI::Range(std::uint64_t{0}, static_cast<std::uint64_t>(INT64_MAX)));
  app.add_option("--jobs", run.jobs, "simulations at a time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag("--json", run.json, "print results.json instead of tables");
  app.add_option("--trace", run.trace, "Chrome trace-event file to write, for Perfetto")->check(not_empty);
  app.add_flag("--quiet", run.quiet, "no table, no progress");

  std::vector<std::string> check_paths;
  int check_jobs = cores;
  bool check_json = false, check_quiet = false;
  CLI::App* check = app.add_subcommand("check", "run experiments and compare with their published figures");
  check->add_option("PATHS", check_paths, "experiment files, names or folders")->required();
  check->add_option("--jobs", check_jobs, "simulations at a time")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  check->add_flag("--json", check_json, "print JSON");
  check->add_flag("--quiet", check_quiet, "print the counts only");

  std::string list_kind;
  bool list_json = false;
  CLI::App* list = app.add_subcommand("list", "list policies, models, devices, platforms or experiments");
  list->add_option("KIND", list_kind, "what to list")->required();
  list->add_flag("--json", list_json, "print JSON");

  std::string described;
  CLI::App* describe =
      app.add_subcommand("describe", "tell what is known of a policy, model, device, platform or experiment");
  describe->add_option("NAME", described, "its name")->required();

  std::vector<std::string> validated;
  CLI::App* validate = app.add_subcommand("validate", "check files of any kind");
  validate->add_option("FILES", validated, "experiments, platforms, layer graphs, latency models")
      ->required();

  try {
    app.parse(argc, argv);
    // What stands before a command is for running an experiment; the command would ignore it.
    for (const CLI::App* command : app.get_subcommands()) {
      for (const CLI::Option* option : app.get_options()) {
        if (option->count() > 0) throw CLI::ExtrasError({option->get_name(), "before", command->get_name()});
      }
    }
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    fmt::print(stderr, "cdisim: error: {} (see cdisim --help)\n", e.what());
    return 2;
  }

  try {
    if (*check) return check_command(check_paths, check_jobs, check_json, check_quiet);
    if (*list) return list_command(list_kind, list_json);
    if (*describe) return describe_command(described);
    if (*validate) return validate_command(validated);
    if (run.experiment.empty()) {
      fmt::print(stderr, "cdisim: error: no experiment given (see cdisim --help)\n");
      return 2;
    }
    if (*seed_option) run.seed = seed;
    return run_command(run);
  } catch (const InputError& e) {
    fmt::print(stderr, "cdisim: error: {}\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    fmt::print(stderr, "cdisim: internal error: {}\n", e.what());
    return 1;
  }
}
