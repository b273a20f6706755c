#include "sim/experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <set>

#include "sim/error.h"
#include "sim/mobility.h"
#include "sim/radio.h"
#include "sim/resources.h"

namespace cdisim {

namespace fs = std::filesystem;

struct Experiment::Cache {
  std::map<fs::path, std::shared_ptr<const Platform>> platforms;
  std::map<fs::path, std::shared_ptr<const LayerGraph>> graphs;
  std::map<fs::path, std::shared_ptr<const LatencyModel>> latency_models;
};

namespace {

// Keys that one run has no use for; a sweep may not touch them either.
const std::set<std::string> kNotOfARun{"schema", "name",        "title",    "system", "citation", "about",
                                       "seed",   "repetitions", "policies", "sweeps", "published"};
constexpr std::int64_t kMostRuns = 100000;

WireFormat read_wire(const JsonReader& reader) {
  WireFormat wire;
  const auto bytes = [&](const char* key, std::optional<double>& into) {
    if (const auto value = reader.find(key)) into = value->number(0, 1e15);
  };
  bytes("input_bytes", wire.input_bytes);
  bytes("bytes_per_element", wire.bytes_per_element);
  bytes("result_bytes", wire.result_bytes);
  reader.done();
  return wire;
}

std::vector<HostId> read_sources(const std::optional<JsonReader>& reader, const Platform& platform,
                                 const JsonReader& top) {
  std::vector<HostId> out;
  const auto of_tier = [&](Tier tier) {
    for (HostId id = 0; id < platform.host_count(); ++id) {
      if (platform.host(id).tier == tier) out.push_back(id);
    }
  };
  const auto by_name = [&](const JsonReader& name) {
    const HostId id = platform.find_host(name.string());
    if (id < 0)
      throw InputError(name.place(), fmt::format("\"{}\" is no host of {}{}", name.string(), platform.file(),
                                                 valid_choices(name.string(), platform.host_names())));
    if (std::find(out.begin(), out.end(), id) != out.end()) name.fail("stands twice");
    out.push_back(id);
  };
  if (!reader) {
    of_tier(Tier::kDevice);
    if (out.empty())
      throw InputError(top.place(),
                       fmt::format("{} has no host of tier device: name the \"sources\"", platform.file()));
  } else if (reader->json().is_array()) {
    for (const JsonReader& name : reader->elements()) by_name(name);
  } else if (reader->string().starts_with("tier:")) {
    of_tier(tier_of(reader->string().substr(5), reader->place()));
  } else {
    by_name(*reader);
  }
  if (out.empty()) reader->fail("names no host");
  return out;
}

std::vector<LinkId> read_link(const JsonReader& at, const std::string& name, const Platform& platform) {
  const std::vector<LinkId> ids = platform.find_links(name);
  if (ids.empty())
    throw InputError(at.place(), fmt::format("\"{}\" is no link of {}{}", name, platform.file(),
                                             valid_choices(name, platform.link_names())));
  return ids;
}

HostId read_host(const JsonReader& at, const std::string& name, const Platform& platform) {
  const HostId id = platform.find_host(name);
  if (id < 0)
    throw InputError(at.place(), fmt::format("\"{}\" is no host of {}{}", name, platform.file(),
                                             valid_choices(name, platform.host_names())));
  return id;
}

// {layer: host}: which sensor each layer reads that reads the model's input.
std::map<LayerId, HostId> read_sensors(const JsonReader& reader, const LayerGraph& graph,
                                       const Platform& platform) {
  std::map<LayerId, HostId> sensors;
  std::vector<std::string> names;
  for (const LayerId id : graph.consumers(kInput)) names.push_back(graph.layer(id).name);
  for (const auto& [name, host] : reader.members()) {
    if (std::ranges::find(names, name) == names.end()) {
      throw InputError(host.place(), fmt::format("\"{}\" is no layer of \"{}\" that reads the input{}", name,
                                                 graph.name(), valid_choices(name, names)));
    }
    sensors[graph.find(name)] = read_host(host, host.string(), platform);
  }
  return sensors;
}

double read_bandwidth(const JsonReader& reader) {
  const double bandwidth = reader.quantity(Dimension::kBandwidth);
  if (bandwidth == 0) reader.fail("must be positive; to cut a link use \"changes\"");
  return bandwidth;
}

RadioTrace read_radio_trace(const JsonReader& reader, const Platform& platform, const Mobility& mobility,
                            const UavModels& models) {
  const auto motion = [&](const char* key) -> const Motion& {
    const JsonReader name = reader.at(key);
    const auto found = mobility.motions.find(read_host(name, name.string(), platform));
    if (found == mobility.motions.end()) name.fail("\"mobility\" does not say where this host is");
    return found->second;
  };
  const Motion &from = motion("from"), &to = motion("to");
  return radio_trace(read_radio(reader, models), from, to, mobility.step_s, mobility.length_s);
}

void read_links(const JsonReader& reader, Platform& platform, RunSpec& spec, const fs::path& folder,
                std::uint64_t seed, const Mobility& mobility, const UavModels& models) {
  std::vector<std::pair<LinkId, BandwidthTrace>> radio_traces;
  for (const auto& [name, link] : reader.members()) {
    const std::vector<LinkId> ids = read_link(link, name, platform);
    const auto check_free = [&](const JsonReader& trace) {
      for (const LinkId id : ids) {
        const auto is_of = [&](const auto& known) { return known.first == id; };
        if (std::ranges::any_of(spec.bandwidth_traces, is_of) || std::ranges::any_of(radio_traces, is_of))
          trace.fail("the link has a trace already");
      }
    };
    if (const auto bandwidth = link.find("bandwidth")) {
      for (const LinkId id : ids) platform.set_bandwidth(id, read_bandwidth(*bandwidth));
    }
    for (const char* key : {"bandwidth_trace", "radio"}) {
      if (platform.link(ids.front()).sharing == Sharing::kWifi && link.has(key))
        link.at(key).fail("a Wi-Fi link's rates do not change in the course of a run");
    }
    if (const auto latency = link.find("latency")) {
      for (const LinkId id : ids)
        platform.set_latency(id, latency->quantity(Dimension::kTime), latency->place());
    }
    if (const auto trace = link.find("bandwidth_trace")) {
      const BandwidthTrace read = read_bandwidth_trace(
          *trace, folder,
          derive_seed(seed, Stream::kBandwidthTrace, static_cast<std::uint64_t>(ids.front())));
      check_free(*trace);
      for (const LinkId id : ids) spec.bandwidth_traces.emplace_back(id, read);
    }
    if (const auto radio = link.find("radio")) {
      const RadioTrace read = read_radio_trace(*radio, platform, mobility, models);
      check_free(*radio);
      for (const LinkId id : ids) {
        radio_traces.emplace_back(id, read.bandwidth);
        for (const auto& [date_s, on] : read.states)
          spec.changes.push_back({date_s, Change::Kind::kLinkState, id, on ? 1.0 : 0.0});
      }
    }
    link.done();
  }
  spec.radio_traces = radio_traces.size();
  std::ranges::move(radio_traces, std::back_inserter(spec.bandwidth_traces));
}

// What AdHocRoutes cannot join.
void check_ad_hoc(const JsonReader& reader, const Platform& platform) {
  const auto links = platform.links();
  for (const Link& link : links) {
    if (link.sharing == Sharing::kWifi)
      reader.fail(
          fmt::format("\"{}\" is a Wi-Fi link, which SimGrid has at the ends of routes only", link.name));
  }
  const auto has_latency = [](const Link& link) { return link.latency_s > 0; };
  if (std::ranges::any_of(links, has_latency) && !std::ranges::all_of(links, has_latency))
    reader.fail("needs links all with latency or all without: SimGrid's CM02 cannot mix them");
}

// The power of hosts that fly follows their speed.
void add_flight(const Mobility& mobility, Platform& platform, RunSpec& spec) {
  for (const auto& [id, wing] : mobility.wings) {
    const Motion& motion = mobility.motions.at(id);
    platform.edit_host(id).flight_w = wing.power_w(motion.speed_m_per_s(0));
    for (double date_s = motion.next_speed_change(0); date_s <= mobility.length_s;
         date_s = motion.next_speed_change(date_s)) {
      spec.changes.push_back(
          {date_s, Change::Kind::kFlightPower, id, wing.power_w(motion.speed_m_per_s(date_s))});
    }
  }
}

// Others take a share of a host's processor: what is left is a power state of its own, slower at the same
// power.
int add_load(Host& host, double load) {
  PowerState state = host.power_states[static_cast<std::size_t>(host.power_state)];
  state.speed_flop_per_s *= 1 - load;
  host.power_states.push_back(state);
  return static_cast<int>(host.power_states.size()) - 1;
}

double read_share(const JsonReader& reader) {
  const double load = reader.number(0, 1);
  if (load == 1) reader.fail("leaves nothing of the processor; valid: 0 up to, but not, 1");
  return load;
}

void read_load(const JsonReader& reader, HostId id, Host& host, RunSpec& spec) {
  if (!reader.json().is_array()) {
    host.power_state = add_load(host, read_share(reader));
    return;
  }
  for (const JsonReader& step : reader.elements()) {
    const int state = add_load(host, read_share(step.at("load")));
    spec.changes.push_back({step.at("at").quantity(Dimension::kTime), Change::Kind::kPowerState, id,
                            static_cast<double>(state)});
    step.done();
  }
}

// "all", "none" or the names of the layers whose weights a host holds at the start.
void read_weights(const JsonReader& reader, HostId id, const Host& host, const LayerGraph& graph,
                  RunSpec& spec) {
  std::vector<LayerId> layers;
  if (reader.json().is_array()) {
    std::vector<std::string> names;
    for (const Layer& layer : graph.layers()) names.push_back(layer.name);
    for (const JsonReader& name : reader.elements())
      layers.push_back(static_cast<LayerId>(name.choice(names)));
  } else if (reader.choice({"all", "none"}) == 0) {
    return;
  }
  if (std::ranges::find(spec.sources, id) != spec.sources.end())
    reader.fail("is a source, which holds all weights: uploads come from it");
  double bytes = 0;
  for (const LayerId layer : layers) bytes += graph.layer(layer).weight_bytes;
  if (host.memory_bytes && bytes > *host.memory_bytes)
    reader.fail(fmt::format("takes {} of {}", format_quantity(bytes, Dimension::kData),
                            format_quantity(*host.memory_bytes, Dimension::kData)));
  spec.weights_at_start[id] = std::move(layers);
}

void read_hosts(const JsonReader& reader, const LayerGraph& graph, Platform& platform, RunSpec& spec) {
  for (const auto& [name, entry] : reader.members()) {
    const HostId id = read_host(entry, name, platform);
    Host& host = platform.edit_host(id);
    if (const auto discipline = entry.find("discipline")) {
      host.discipline = static_cast<Discipline>(discipline->choice({"fifo", "batch", "shared"}));
    }
    if (const auto batch = entry.find("max_batch"))
      host.max_batch = static_cast<int>(batch->integer(1, 100000));
    if (const auto wait = entry.find("max_wait")) host.max_wait_s = wait->quantity(Dimension::kTime);
    if (const auto state = entry.find("power_state")) {
      host.power_state =
          static_cast<int>(state->integer(0, static_cast<std::int64_t>(host.power_states.size()) - 1));
    }
    if (const auto load = entry.find("load")) read_load(*load, id, host, spec);
    if (const auto survival = entry.find("survival")) {
      spec.survival.resize(static_cast<std::size_t>(platform.host_count()), 1);
      spec.survival[static_cast<std::size_t>(id)] = survival->number(0, 1);
    }
    if (const auto memory = entry.find("memory")) host.memory_bytes = memory->quantity(Dimension::kData);
    if (const auto weights = entry.find("weights")) read_weights(*weights, id, host, graph, spec);
    if (const auto battery = entry.find("battery")) {
      host.battery_j = battery->quantity(Dimension::kEnergy);
      if (host.battery_j == 0) battery->fail("must be positive");
    }
    entry.done();
  }
}

void read_changes(const JsonReader& reader, const Platform& platform, RunSpec& spec) {
  for (const JsonReader& entry : reader.elements()) {
    const double date_s = entry.at("at").quantity(Dimension::kTime);
    if (entry.has("link") == entry.has("host")) entry.fail("names either a \"link\" or a \"host\"");
    if (const auto name = entry.find("link")) {
      if (entry.has("state") == entry.has("bandwidth"))
        entry.fail("gives either a \"state\" or a \"bandwidth\"");
      for (const LinkId id : read_link(*name, name->string(), platform)) {
        if (const auto state = entry.find("state")) {
          spec.changes.push_back(
              {date_s, Change::Kind::kLinkState, id, static_cast<double>(state->choice({"off", "on"}))});
        } else {
          if (platform.link(id).sharing == Sharing::kWifi)
            entry.at("bandwidth").fail("a Wi-Fi link's rates do not change in the course of a run");
          spec.changes.push_back(
              {date_s, Change::Kind::kBandwidth, id, read_bandwidth(entry.at("bandwidth"))});
        }
      }
    } else {
      const HostId id = read_host(entry.at("host"), entry.at("host").string(), platform);
      if (entry.has("state") == entry.has("power_state"))
        entry.fail("gives either a \"state\" or a \"power_state\"");
      if (const auto state = entry.find("state")) {
        spec.changes.push_back(
            {date_s, Change::Kind::kHostState, id, static_cast<double>(state->choice({"off", "on"}))});
      } else {
        const auto last = static_cast<std::int64_t>(platform.host(id).power_states.size()) - 1;
        spec.changes.push_back({date_s, Change::Kind::kPowerState, id,
                                static_cast<double>(entry.at("power_state").integer(0, last))});
      }
    }
    entry.done();
  }
}

// All combinations of a sweep's values, the first varied slowest.
std::vector<Json> grid(const std::vector<std::pair<std::string, std::vector<Json>>>& axes,
                       const Json& fixed) {
  std::vector<Json> points{fixed};
  for (const auto& [path, values] : axes) {
    std::vector<Json> longer;
    for (const Json& point : points) {
      for (const Json& value : values) {
        longer.push_back(point);
        longer.back()[path] = value;
      }
    }
    points = std::move(longer);
  }
  return points;
}

void check_sweep_path(const JsonReader& at, const std::string& path) {
  const auto end = path.find('/', 1);
  const std::string key = path.empty() ? "" : path.substr(1, end == path.npos ? path.npos : end - 1);
  bool valid = !path.empty() && path.front() == '/' && !key.empty() && !kNotOfARun.contains(key);
  try {
    if (valid) Json::json_pointer{path};
  } catch (const Json::exception&) {
    valid = false;
  }
  if (!valid) {
    throw InputError(at.place(), fmt::format("\"{}\" cannot be swept: give the JSON pointer of a value of a "
                                             "run, such as \"/links/lan/bandwidth\" or \"/deadline\"",
                                             path));
  }
}

}  // namespace

MakePolicy RunSetup::make_policy() const {
  return [this] { return cdisim::make_policy(*facts, *parameters); };
}

Experiment Experiment::load(const fs::path& path, std::optional<std::uint64_t> seed) {
  return parse(read_json_file(path), path, seed);
}

Experiment Experiment::parse(Json document, const fs::path& path, std::optional<std::uint64_t> seed) {
  Experiment out;
  out.path_ = path;
  out.document_ = std::move(document);
  out.cache_ = std::make_shared<Cache>();
  const JsonReader top(out.document_, path.string());
  if (!top.json().is_object()) top.fail("an experiment is an object");
  top.at("schema").integer(1, 1);
  out.name_ = top.at("name").string();
  out.title_ = top.at("title").string();
  out.system_ = top.has("system") ? top.at("system").string() : out.name_;
  for (const char* key : {"citation", "about"}) {
    if (const auto text = top.find(key)) text->string();
  }
  const auto largest = static_cast<std::int64_t>(std::numeric_limits<std::int64_t>::max());
  if (const auto value = top.find("seed")) out.seed_ = static_cast<std::uint64_t>(value->integer(0, largest));
  if (seed) out.seed_ = *seed;
  if (const auto value = top.find("repetitions"))
    out.repetitions_ = static_cast<int>(value->integer(1, 10000));
  out.read_sweeps(top);

  // Every run is built once, so that no mistake shows up half-way through a sweep.
  for (const Run& run : out.runs_) out.setup(run);

  if (const auto published = top.find("published")) {
    out.published_ = read_published(*published);
    Json runs = Json::array();
    for (const Run& run : out.runs_) runs.push_back({{"policy", run.policy}, {"point", run.point}});
    for (const PublishedFigure& figure : out.published_) {
      if (!figure.unchecked.empty()) continue;
      for (const Selector* selector : {&figure.select, &figure.than, &figure.divided_by}) {
        if (selector->policy.empty()) continue;
        const std::size_t n = matching_runs(*selector, runs).size();
        if (n == 1) continue;
        throw InputError(published->place(),
                         fmt::format("figure \"{}\" names {} runs instead of one: policy \"{}\" at {}",
                                     figure.id, n, selector->policy, selector->point.dump()));
      }
    }
  }
  return out;
}

void Experiment::read_sweeps(const JsonReader& top) {
  std::vector<std::string> labels;
  for (const JsonReader& entry : top.at("policies").elements()) {
    const std::string label = entry.has("label") ? entry.at("label").string() : entry.at("name").string();
    if (std::find(labels.begin(), labels.end(), label) != labels.end())
      entry.fail(fmt::format("two policies are labelled \"{}\": give one a \"label\" of its own", label));
    labels.push_back(label);
  }
  if (labels.empty()) top.at("policies").fail("names no policy");

  const auto add = [&](const std::vector<Json>& points, const std::vector<std::size_t>& policies) {
    for (const Json& point : points) {
      for (const std::size_t p : policies) {
        const bool known = std::any_of(runs_.begin(), runs_.end(),
                                       [&](const Run& r) { return r.policy_index == p && r.point == point; });
        if (!known) runs_.push_back({labels[p], p, point});
      }
    }
  };
  std::vector<std::size_t> all(labels.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;

  const auto sweeps = top.find("sweeps");
  if (!sweeps) {
    add({Json::object()}, all);
    return;
  }
  if (sweeps->elements().empty()) sweeps->fail("holds no sweep");
  for (const JsonReader& sweep : sweeps->elements()) {
    std::vector<std::pair<std::string, std::vector<Json>>> axes;
    std::int64_t points = 1;
    for (const auto& [path, values] : sweep.at("vary").members()) {
      check_sweep_path(values, path);
      std::vector<Json> list;
      for (const JsonReader& value : values.elements()) list.push_back(value.json());
      if (list.empty()) values.fail("has no value");
      points *= static_cast<std::int64_t>(list.size());
      if (points > kMostRuns) values.fail(fmt::format("makes more than {} points", kMostRuns));
      axes.emplace_back(path, std::move(list));
    }
    if (axes.empty() && !sweep.has("set")) sweep.at("vary").fail("varies nothing");
    Json fixed = Json::object();
    if (const auto set = sweep.find("set")) {
      for (const auto& [path, value] : set->members()) {
        check_sweep_path(value, path);
        fixed[path] = value.json();
      }
    }
    std::vector<std::size_t> policies = all;
    if (const auto named = sweep.find("policies")) {
      policies.clear();
      for (const JsonReader& name : named->elements()) policies.push_back(name.choice(labels));
      if (policies.empty()) named->fail("names no policy");
    }
    sweep.done();
    add(grid(axes, fixed), policies);
  }
}

void replace_policies(Json& document, const Json& policies) {
  if (!document.is_object() || !policies.is_array()) return;  // parse() says so
  const auto label_of = [](const Json& entry) -> Json {
    if (!entry.is_object()) return entry;
    return entry.contains("label") ? entry["label"] : entry.value("name", Json());
  };
  Json entries = Json::array();
  for (const Json& policy : policies) {
    Json entry = policy.is_string() ? Json{{"name", policy}} : policy;
    for (const Json& known : document.value("policies", Json::array())) {
      if (policy.is_string() && label_of(known) == policy) entry = known;
    }
    entries.push_back(std::move(entry));
  }
  std::set<Json> labels, added;
  for (const Json& entry : entries) labels.insert(label_of(entry));
  added = labels;
  for (const Json& known : document.value("policies", Json::array())) added.erase(label_of(known));
  document["policies"] = std::move(entries);

  if (const auto sweeps = document.find("sweeps"); sweeps != document.end() && sweeps->is_array()) {
    for (Json& sweep : *sweeps) {
      if (!sweep.is_object() || !sweep.contains("policies") || !sweep["policies"].is_array()) continue;
      std::erase_if(sweep["policies"].get_ref<Json::array_t&>(),
                    [&](const Json& label) { return !labels.contains(label); });
      for (const Json& label : added) sweep["policies"].push_back(label);
    }
    std::erase_if(sweeps->get_ref<Json::array_t&>(), [](const Json& sweep) {
      return sweep.is_object() && sweep.contains("policies") && sweep["policies"].empty();
    });
    if (sweeps->empty()) document.erase("sweeps");
  }
  if (const auto published = document.find("published");
      published != document.end() && published->is_array()) {
    std::erase_if(published->get_ref<Json::array_t&>(), [&](const Json& figure) {
      const auto gone = [&](const Json& selector) {
        return selector.is_object() && selector.contains("policy") && !labels.contains(selector["policy"]);
      };
      if (!figure.is_object()) return false;
      return gone(figure) || gone(figure.value("than", Json())) || gone(figure.value("divided_by", Json()));
    });
  }
}

std::pair<fs::path, Json> find_experiment(const Json& given, const Json& policies, const Json& vary) {
  fs::path path = "experiment";
  Json document = given;
  if (given.is_string()) {
    path = find_resource(Resource::kExperiment, given.get<std::string>(), "", "experiment");
    document = read_json_file(path);
  }
  if (!vary.is_null() && document.is_object()) {
    document.erase("published");
    document.erase("sweeps");
    if (!vary.empty()) document["sweeps"] = {{{"vary", vary}}};
  }
  if (!policies.is_null()) replace_policies(document, policies);
  return {std::move(path), std::move(document)};
}

std::unique_ptr<RunSetup> Experiment::setup(const Run& run, int repetition) const {
  const std::uint64_t seed = seed_ + static_cast<std::uint64_t>(repetition);
  if (run.point.empty()) return read(document_, run, seed);
  Json document = document_;
  for (const auto& [path, value] : run.point.items()) {
    try {
      const Json::json_pointer pointer(path);
      // An element of an array must exist: assigning behind the end would fill the gap with nulls.
      for (Json::json_pointer p = pointer; !p.empty(); p = p.parent_pointer()) {
        const Json::json_pointer parent = p.parent_pointer();
        if (document.contains(parent) && document[parent].is_array()) document.at(p);
      }
      document[pointer] = value;
    } catch (const Json::exception&) {
      throw InputError(
          path_.string() + ": /sweeps",
          fmt::format("\"{}\" leads into a value that is no object, or behind the end of an array", path));
    }
  }
  return read(document, run, seed);
}

std::unique_ptr<RunSetup> Experiment::read(const Json& document, const Run& run, std::uint64_t seed) const {
  const JsonReader top(document, path_.string());
  const fs::path folder = path_.parent_path();
  for (const std::string& key : kNotOfARun) top.has(key);
  auto out = std::make_unique<RunSetup>();
  RunSpec& spec = out->spec;
  spec.seed = seed;

  const auto cached = [&](auto& cache, Resource kind, const JsonReader& name, auto load) {
    std::vector<std::string> built_in;
    if (kind == Resource::kLatencyModel) built_in.emplace_back("roofline");
    const fs::path file = find_resource(kind, name.string(), folder, name.place(), built_in);
    auto& entry = cache[file];
    if (entry == nullptr) entry = load(file);
    return entry;
  };
  const auto latency_model = [&](const JsonReader& name) -> std::shared_ptr<const LatencyModel> {
    if (name.string() == "roofline") {
      const fs::path file = find_resource(Resource::kHardware, "hardware", folder, name.place());
      auto& entry = cache_->latency_models[file];
      if (entry == nullptr) entry = std::make_shared<LatencyModel>(LatencyModel::roofline(file));
      return entry;
    }
    return cached(cache_->latency_models, Resource::kLatencyModel, name,
                  [](const fs::path& f) { return std::make_shared<LatencyModel>(LatencyModel::load(f)); });
  };

  out->platform = *cached(cache_->platforms, Resource::kPlatform, top.at("platform"),
                          [](const fs::path& f) { return std::make_shared<Platform>(Platform::load(f)); });
  out->graph = cached(cache_->graphs, Resource::kModel, top.at("model"),
                      [](const fs::path& f) { return std::make_shared<LayerGraph>(LayerGraph::load(f)); });
  out->latency_model = latency_model(top.at("latency_model"));
  if (const auto wire = top.find("wire")) spec.wire = read_wire(*wire);
  out->estimator = out->latency_model;
  spec.estimator_wire = spec.wire;
  if (const auto estimator = top.find("estimator")) {
    if (const auto name = estimator->find("latency_model")) out->estimator = latency_model(*name);
    if (const auto wire = estimator->find("wire")) spec.estimator_wire = read_wire(*wire);
    estimator->done();
  }
  spec.sources = read_sources(top.find("sources"), out->platform, top);
  if (const auto sensors = top.find("sensors")) {
    spec.wire.sensors = read_sensors(*sensors, *out->graph, out->platform);
    spec.estimator_wire.sensors = spec.wire.sensors;
  }
  spec.deadline_s = std::numeric_limits<double>::infinity();
  if (const auto deadline = top.find("deadline")) spec.deadline_s = deadline->quantity(Dimension::kTime);
  if (const auto arrivals = top.find("arrivals")) spec.arrivals = read_arrivals(*arrivals, folder);

  if (const auto warmup = top.find("warmup_s")) spec.warmup_s = warmup->number(0, 1e9);
  if (const auto horizon = top.find("horizon_s")) {
    spec.horizon_s = horizon->number(1e-9, 1e9);
    if (*spec.horizon_s <= spec.warmup_s) horizon->fail("must lie after warmup_s");
  }
  if (const auto phases = top.find("phases")) {
    for (const JsonReader& date : phases->elements()) {
      spec.phases_s.push_back(date.quantity(Dimension::kTime));
      if (!std::ranges::is_sorted(spec.phases_s)) date.fail("lies before the phase ahead of it");
    }
  }
  if (const auto requests = top.find("requests")) spec.requests = requests->integer(1, 1000000000);
  const bool ends = spec.horizon_s || spec.requests || spec.arrivals.kind == Arrivals::Kind::kBatch ||
                    spec.arrivals.kind == Arrivals::Kind::kTrace;
  if (!ends)
    throw InputError(top.place(), "states neither \"requests\" nor \"horizon_s\": the run would never end");

  if (const auto network = top.find("network")) {
    spec.engine.network = static_cast<NetworkModel>(network->choice({"CM02", "LV08"}));
  }
  if (const auto full = top.find("full_solver")) spec.engine.full_solver = full->boolean();
  if (const auto every = top.find("observe_every")) {
    spec.observe_every_s = every->quantity(Dimension::kTime);
    if (spec.observe_every_s == 0) every->fail("must be positive");
  }
  if (const auto delay = top.find("observe_delay")) spec.observe_delay_s = delay->quantity(Dimension::kTime);
  if (const auto failure = top.find("on_failure")) {
    if (const auto retries = failure->find("retries"))
      spec.retries = static_cast<int>(retries->integer(0, 1'000'000));
    if (const auto wait = failure->find("wait")) spec.retry_wait_s = wait->quantity(Dimension::kTime);
    if (const auto guess = failure->find("guess_accuracy")) spec.guess_accuracy = guess->number(0, 1);
    failure->done();
  }
  UavModels models;
  Mobility mobility;
  if (const auto moves = top.find("mobility")) {
    models = load_uav_models(find_resource(Resource::kUavModels, "uav_models", folder, moves->place()));
    mobility = read_mobility(*moves, out->platform, models, spec.horizon_s, folder, seed);
    add_flight(mobility, out->platform, spec);
  }
  if (const auto links = top.find("links"))
    read_links(*links, out->platform, spec, folder, seed, mobility, models);
  if (const auto routing = top.find("routing")) {
    spec.ad_hoc = routing->choice({"platform", "ad_hoc"}) == 1;
    if (spec.ad_hoc) check_ad_hoc(*routing, out->platform);
  }
  if (const auto hosts = top.find("hosts")) read_hosts(*hosts, *out->graph, out->platform, spec);
  if (const auto changes = top.find("changes")) read_changes(*changes, out->platform, spec);
  if (const auto history = top.find("history")) {
    // The same for all repetitions: records of another day.
    std::uint64_t i = 0;
    for (const JsonReader& trace : history->elements())
      spec.history.push_back(read_bandwidth_trace(trace, folder, derive_seed(seed_, Stream::kHistory, i++)));
  }
  top.done();

  const JsonReader entry = top.at("policies").elements()[run.policy_index];
  Json parameters = entry.json();
  parameters.erase("label");
  out->facts = &policy_facts(entry.at("name").string(), entry.at("name").place());
  out->parameters =
      std::make_unique<Parameters>(*out->facts, JsonReader(parameters, entry.file(), entry.pointer()));

  spec.platform = &out->platform;
  spec.graph = out->graph.get();
  spec.latency_model = out->latency_model.get();
  spec.estimator = out->estimator.get();
  return out;
}

}  // namespace cdisim
