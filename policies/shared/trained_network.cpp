#include "policies/shared/trained_network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <utility>

#include "sim/error.h"
#include "sim/resources.h"

namespace cdisim {

namespace {

constexpr double kLargest = 1e30;

std::vector<JsonReader> filled(const JsonReader& array) {
  std::vector<JsonReader> out = array.elements();
  if (out.empty()) array.fail("is empty");
  return out;
}

std::vector<double> read_numbers(const JsonReader& array, std::size_t n, const std::string& of) {
  std::vector<double> out;
  for (const JsonReader& value : array.elements()) out.push_back(value.number(-kLargest, kLargest));
  if (out.size() != n) {
    throw InputError(array.place(),
                     fmt::format("has {} numbers; valid: {}, one for each {}", out.size(), n, of));
  }
  return out;
}

// Of the weights, whose last rows are the actions.
std::string outputs_of(bool last) {
  return last ? "action" : "row of \"weights\"";
}

}  // namespace

TrainedNetwork TrainedNetwork::load(const Parameters& parameters, const std::string& parameter) {
  const std::string name = parameters.string(parameter);
  // A bare name is a bundled network's: beside an experiment it would be another experiment's.
  const bool is_path = name.find('/') != std::string::npos || std::filesystem::path(name).has_extension();
  const std::filesystem::path beside = std::filesystem::path(parameters.file()).parent_path();
  const std::filesystem::path file =
      find_resource(Resource::kTrainedNetwork, name, is_path ? beside : "", parameters.place(parameter));
  const Json json = read_json_file(file);
  return read(JsonReader(json, file.string()));
}

TrainedNetwork TrainedNetwork::read(const JsonReader& reader) {
  TrainedNetwork out;
  out.file_ = reader.file();
  reader.at("schema").integer(1, 1);
  reader.at("name").text();
  reader.at("environment").choice({"EdgeOffload-v0", "TaskStream-v0"});
  out.model_ = reader.at("model").text();
  const JsonReader training = reader.at("training");
  for (const char* key : {"algorithm", "library", "experiment"}) training.at(key).text();
  training.at("seed").integer(0, std::numeric_limits<std::int64_t>::max());
  training.done();
  for (const JsonReader& feature : filled(reader.at("observation")))
    out.features_.push_back(OffloadFeature::read(feature));
  for (const JsonReader& action : filled(reader.at("actions"))) {
    constexpr std::int64_t kMost = 1000000;
    out.actions_.push_back({static_cast<int>(action.at("exit").integer(1, kMost)) - 1,
                            static_cast<int>(action.at("partition_point").integer(1, kMost)) - 1});
    action.done();
  }
  reader.at("output").choice({"action_values", "logits"});
  out.tanh_ = reader.at("activation").choice({"relu", "tanh"}) == 1;

  const std::vector<JsonReader> layers = filled(reader.at("layers"));
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const JsonReader weights = layers[l].at("weights");
    const std::vector<JsonReader> rows = filled(weights);
    const bool last = l + 1 == layers.size();
    if (last && rows.size() != out.actions_.size()) {
      throw InputError(weights.place(), fmt::format("has {} rows; valid: {}, one for each action",
                                                    rows.size(), out.actions_.size()));
    }
    const std::size_t inputs = l == 0 ? out.features_.size() : out.layers_.back().bias.size();
    Layer layer;
    for (const JsonReader& row : rows) {
      layer.weights.push_back(read_numbers(row, inputs, l == 0 ? "feature" : "output of the layer before"));
    }
    layer.bias = read_numbers(layers[l].at("bias"), rows.size(), outputs_of(last));
    layers[l].done();
    out.layers_.push_back(std::move(layer));
  }
  reader.done();
  return out;
}

std::vector<double> TrainedNetwork::outputs(const OffloadObservation& observation) const {
  std::vector<double> x;
  for (const OffloadFeature& feature : features_) x.push_back(feature.scaled(observation));
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    std::vector<double> y = layers_[l].bias;
    for (std::size_t i = 0; i < y.size(); ++i) {
      for (std::size_t j = 0; j < x.size(); ++j) y[i] += layers_[l].weights[i][j] * x[j];
      if (l + 1 < layers_.size()) y[i] = tanh_ ? std::tanh(y[i]) : std::max(y[i], 0.0);
    }
    x = std::move(y);
  }
  return x;
}

int TrainedNetwork::act(const OffloadObservation& observation) const {
  const std::vector<double> values = outputs(observation);
  return static_cast<int>(std::ranges::max_element(values) - values.begin());
}

std::vector<OffloadAction> TrainedNetwork::actions(const Problem& problem, HostId server) const {
  const LayerGraph& graph = problem.graph;
  if (graph.name() != model_) {
    throw InputError(file_ + ": /model",
                     fmt::format("\"{}\": cannot decide for \"{}\" on {}; valid: a network "
                                 "that was trained for that model",
                                 model_, graph.name(), problem.platform.file()));
  }
  std::vector<OffloadAction> out;
  for (std::size_t a = 0; a < actions_.size(); ++a) {
    const auto fail = [&](const char* key, int value, int most) {
      throw InputError(fmt::format("{}: /actions/{}/{}", file_, a, key),
                       fmt::format("{}: valid for \"{}\": 1 to {}", value, graph.name(), most));
    };
    const int exits = static_cast<int>(graph.exits().size());
    if (actions_[a].exit >= exits) fail("exit", actions_[a].exit + 1, exits);
    const int layers = static_cast<int>(graph.exit_layers(actions_[a].exit).size());
    if (actions_[a].layers_on_server > layers)
      fail("partition_point", actions_[a].layers_on_server + 1, layers + 1);
    out.push_back(offload_action(problem, server, actions_[a].exit, actions_[a].layers_on_server));
  }
  return out;
}

}  // namespace cdisim
