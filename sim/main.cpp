// The command line. The data path is run_command() in commands.cpp:
//   experiment.json -> Experiment -> Platform + LayerGraph + LatencyModel + Policy
//                   -> Policy::plan(Problem) -> Plan -> simulate() in SimGrid -> Trace -> metrics -> report
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <thread>

#include "sim/commands.h"
#include "sim/error.h"
#include "sim/onnx_import.h"
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

  LatencyOptions latency_options;
  CLI::App* latency = app.add_subcommand("latency", "tell how long a model takes on a device");
  latency->add_option("MODEL", latency_options.model, "model, or a layer graph file");
  latency->add_option("DEVICE", latency_options.device, "device");
  latency->add_option("--processor", latency_options.query.processor,
                      "cpu, gpu or npu; default: the device's usual one");
  latency->add_option("--precision", latency_options.query.precision, "fp32, fp16, int8, ...");
  latency->add_option("--runtime", latency_options.query.runtime, "TensorRT, ncnn-cpu, ...");
  latency->add_option("--threads", latency_options.query.threads, "of a CPU")->check(CLI::Range(1, 4096));
  latency->add_option("--batch", latency_options.batch, "inferences at a time")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  latency->add_flag("--layers", latency_options.layers, "layer by layer");
  latency->add_flag("--all", latency_options.all, "every model (or MODEL) on every device");
  latency->add_flag("--json", latency_options.json, "print JSON");

  ImportOptions import_options;
  CLI::App* import = app.add_subcommand("import", "turn an ONNX file into a layer graph");
  import->add_option("MODEL", import_options.model, "ONNX file")->required()->check(not_empty);
  import->add_option("-o,--out", import_options.out, "file to write; default: the model's name with .json")
      ->check(not_empty);
  import->add_option("--name", import_options.name, "of the layer graph; default: the file's");
  import->add_option("--batch", import_options.batch, "leading dimension of the file; 0: it has none");
  import->add_option("--input-shape", import_options.input_shapes,
                     "NAME=1,3,224,224 of an input without shape");
  import->add_option("--precision", import_options.precision, "of weights and tensors; default: the file's");
  import->add_flag("--json", import_options.json, "print JSON");

  PlatformOptions testbed;
  std::filesystem::path testbed_file;
  CLI::App* platform = app.add_subcommand("platform", "write a platform of any size");
  platform->add_option("--devices", testbed.devices, "hosts that ask")->capture_default_str();
  platform->add_option("--edges", testbed.edges, "edge servers, each with its own access network")
      ->capture_default_str();
  platform->add_option("--clouds,--cloud", testbed.clouds, "cloud servers")->capture_default_str();
  platform->add_option("--uavs", testbed.uavs, "UAVs")->capture_default_str();
  platform->add_option("--access", testbed.access, "network from device to edge: wifi, 4g, 5g, ethernet, ...")
      ->capture_default_str();
  platform->add_option("--backbone", testbed.backbone, "network from edge to cloud")->capture_default_str();
  platform->add_option("--air-to-ground", testbed.air_to_ground, "network from UAV to edge")
      ->capture_default_str();
  platform->add_option("--air", testbed.air, "network from UAV to UAV")->capture_default_str();
  platform->add_option("--device", testbed.device, "type of the devices")->capture_default_str();
  platform->add_option("--edge-device", testbed.edge_device, "type of the edge servers")
      ->capture_default_str();
  platform->add_option("--cloud-device", testbed.cloud_device, "type of the cloud servers")
      ->capture_default_str();
  platform->add_option("--uav-device", testbed.uav_device, "type of the UAVs")->capture_default_str();
  platform->add_option("--name", testbed.name, "name of the platform")->capture_default_str();
  platform->add_option("-o,--out", testbed_file, "file to write; default: standard output")->check(not_empty);

  CalibrateOptions calibration;
  CLI::App* calibrate =
      app.add_subcommand("calibrate", "fit the device profiles to measured latencies and print the errors");
  calibrate->add_option("MEASURED", calibration.measured,
                        "measured latencies (CSV); default: the bundled ones");
  calibrate->add_option("-o,--out", calibration.out, "calibration to write")->check(not_empty);
  calibrate
      ->add_option("--left-out", calibration.left_out,
                   "CSV of measured latencies and what the others predict")
      ->check(not_empty);
  calibrate->add_flag("--fast", calibration.fast, "no cross-validation");
  calibrate->add_flag("--report", calibration.report,
                      "print the errors of the calibration in use, fit nothing");
  calibrate->add_flag("--json", calibration.json, "print JSON");
  calibrate->add_flag("--quiet", calibration.quiet, "no tables, no progress");

  std::vector<std::string> validated;
  CLI::App* validate = app.add_subcommand("validate", "check files of any kind");
  validate->add_option("FILES", validated, "experiments, platforms, layer graphs, latency models")
      ->required();

  CLI::App* serve = app.add_subcommand("serve", "run experiments for another program")->group("");  // hidden

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
    if (*latency) return latency_command(latency_options);
    if (*import) return import_command(import_options);
    if (*platform) return platform_command(testbed, testbed_file);
    if (*calibrate) return calibrate_command(calibration);
    if (*validate) return validate_command(validated);
    if (*serve) return serve_command();
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
