// hadidi_collab_robots: a stream of frames over a group of robots, as a pipeline of tasks.
//
// The source records; the other robots, the next ones of tier device, compute (the source alone where there
// are none). They count as alike: times are the first helper's, its route stands for all. A task is a run of
// consecutive layers. Its time for a frame, with C computing and T the message of each tensor that it reads,
//
//     t = (C + sum T) / copies,    T = d / bandwidth + latency    (the paper's fit: 0.0002 s/kB d + 0.002 s)
//
// The assignment for n helpers, greedily:
//
//  1. Layers are packed into tasks as long as a robot's memory holds them and each reads what is in the task
//     (another stream begins a task of its own); a layer that alone does not fit is a task, marked.
//  2. While tasks outnumber helpers, the two neighbours with least memory together are merged.
//  3. While helpers are left or a task is marked, one task is replaced by a variant: data parallel, one copy
//     more, frames going round; or model parallel, a fully connected layer in one part more by its outputs.
//     Layers without weights in front of it are computed with each part, element-wise ones behind it by part;
//     whatever else the task has becomes a task before it and one behind it, the latter joining the parts. Of
//     all variants that there are helpers for, the one with the lowest max t, then with the lowest sum of t,
//     however many robots it takes; none if neither falls. Marked tasks come first, and are only split.
//
// A task is copied or in parts, not both. The paper's merged tasks may exceed the memory, and load their
// weights anew for each frame; here that is an error, as is a marked task that remains. Its robots drop
// frames when a buffer is full; here they queue. Decides anew, for the robots that are there, when a robot
// or link goes on or off and when a measured bandwidth has changed; where those do not hold the model, the
// assignment stays as it was.
//
//     parameter        | type    | default | meaning
//     -----------------|---------|---------|------------------------------------------------------------
//     robots           | integer | 0       | the source and the next ones of tier device; 0: all
//     tasks            | string  | ""      | last layer of each task ("pool5 fc6"); empty: step 1
//     max_weight_bytes | number  | 0       | weights that a robot's runtime holds, B; 0: its memory's
//
//     {"name": "hadidi_collab_robots", "robots": 8, "max_weight_bytes": 314.6e6}
//
// Plan's decision: tasks, robots (that compute), copies and parts (most of a task), busiest_s (max t),
// predicted_throughput_per_s (1 / busiest_s).
//
// Source: R. Hadidi, J. Cao, M. Woodward, M. S. Ryoo, H. Kim, "Distributed Perception by Collaborative
// Robots", IEEE Robotics and Automation Letters 3(4), 2018, doi 10.1109/LRA.2018.2856261; the assignments in
// github.com/parallel-ml.

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <sstream>
#include <utility>

#include "policies/shared/chain.h"
#include "policies/shared/hosts.h"
#include "policies/shared/row_shares.h"
#include "sim/error.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

// A run of layers on one robot, on `copies` of them, or in `parts` by the outputs of its fully connected
// layer.
struct Task {
  std::vector<LayerId> layers;
  int copies = 1;
  int parts = 1;
  int robots() const { return copies * parts; }
};
using Tasks = std::vector<Task>;

int robots_of(const Tasks& tasks) {
  return std::accumulate(tasks.begin(), tasks.end(), 0, [](int n, const Task& t) { return n + t.robots(); });
}

class Assignment {
 public:
  Assignment(const Problem& problem, const std::vector<HostId>& helpers, double max_weight_bytes)
      : problem_(problem), helper_(helpers.front()), max_weight_bytes_(max_weight_bytes) {
    for (const HostId host : helpers) {
      if (const auto& memory = problem.platform.host(host).memory_bytes) memory_ = std::min(memory_, *memory);
    }
  }

  // Step 1.
  Tasks pack(std::span<const LayerId> layers) const {
    Tasks tasks;
    for (const LayerId id : layers) {
      if (!tasks.empty() && belongs(tasks.back(), id)) {
        tasks.back().layers.push_back(id);
      } else {
        tasks.push_back({{id}});
      }
    }
    // Nothing is gained by a task without weights: it goes with the next one.
    for (std::size_t i = 0; i + 1 < tasks.size();) {
      if (std::ranges::any_of(tasks[i].layers, [&](LayerId id) { return weighs(id); })) {
        ++i;
        continue;
      }
      merge(tasks, i);
    }
    return tasks;
  }

  // Step 2. @returns whether the tasks are no more than the helpers.
  bool merge_down(Tasks& tasks, int helpers) const {
    while (static_cast<int>(tasks.size()) > helpers) {
      std::optional<std::size_t> best;
      double least = std::numeric_limits<double>::infinity();
      for (std::size_t i = 0; i + 1 < tasks.size(); ++i) {
        Tasks two{tasks[i], tasks[i + 1]};
        merge(two, 0);
        const double bytes = memory_bytes(two.front());
        if (!fits(two.front()) || bytes >= least) continue;
        least = bytes;
        best = i;
      }
      if (!best) return false;
      merge(tasks, *best);
    }
    return true;
  }

  // Step 3. @returns whether all tasks fit.
  bool spread(Tasks& tasks, int helpers) const {
    for (;;) {
      const bool marked = std::ranges::any_of(tasks, [&](const Task& task) { return !fits(task); });
      std::optional<Tasks> best;
      std::pair<double, double> lowest = time_s(tasks);
      if (marked) lowest = {std::numeric_limits<double>::infinity(), 0};
      for (std::size_t i = 0; i < tasks.size(); ++i) {
        if (marked && fits(tasks[i])) continue;
        for (Tasks& variant : variants(tasks[i])) {
          if (marked && variant.front().copies > 1) continue;
          Tasks all(tasks.begin(), tasks.begin() + static_cast<std::ptrdiff_t>(i));
          all.insert(all.end(), variant.begin(), variant.end());
          all.insert(all.end(), tasks.begin() + static_cast<std::ptrdiff_t>(i) + 1, tasks.end());
          if (robots_of(all) > helpers) continue;
          const std::pair<double, double> time = time_s(all);
          if (time >= lowest) continue;
          lowest = time;
          best = std::move(all);
        }
      }
      if (!best) return !marked;
      tasks = std::move(*best);
    }
  }

  // max t and the sum of t, s.
  std::pair<double, double> time_s(const Tasks& tasks) const {
    std::pair<double, double> out{0, 0};
    for (const Task& task : tasks) {
      const double t = task_s(task);
      out.first = std::max(out.first, t);
      out.second += t;
    }
    return out;
  }

  // What each part of a task computes, on this host.
  std::vector<Piece> pieces(const Task& task, HostId host) const {
    if (task.parts == 1) return {{task.layers, host}};
    const LayerId last = task.layers.back();
    const Shape& shape = problem_.graph.tensor_shape(last);
    const std::vector<double> equal(static_cast<std::size_t>(task.parts), 1);
    std::vector<Piece> out;
    for (const Range& range : split(shape.back(), equal)) {
      out.push_back(
          fused_piece(problem_.graph, task.layers, {{last, slab(shape, shape.size() - 1, range)}}, host));
    }
    return out;
  }

 private:
  bool weighs(LayerId id) const { return problem_.graph.layer(id).weight_bytes > 0; }

  bool belongs(const Task& task, LayerId id) const {
    for (const LayerId input : problem_.graph.layer(id).inputs) {
      if (!std::ranges::binary_search(task.layers, input)) return false;
    }
    if (!weighs(id)) return true;
    Task more = task;
    more.layers.push_back(id);
    return fits(more);
  }

  static void merge(Tasks& tasks, std::size_t i) {
    std::vector<LayerId>& into = tasks[i].layers;
    into.insert(into.end(), tasks[i + 1].layers.begin(), tasks[i + 1].layers.end());
    tasks.erase(tasks.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }

  // Of the part that needs most.
  double memory_bytes(const Task& task) const { return most(task, plan_memory_bytes); }
  double most(const Task& task,
              std::map<HostId, double> (*bytes)(const LayerGraph& graph, const Plan& plan)) const {
    double out = 0;
    for (Piece& piece : pieces(task, helper_)) {
      Plan plan;
      plan.pieces.push_back(std::move(piece));
      out = std::max(out, bytes(problem_.graph, plan).at(helper_));
    }
    return out;
  }

  bool fits(const Task& task) const {
    return memory_bytes(task) <= memory_ &&
           (max_weight_bytes_ == 0 || most(task, plan_weight_bytes) <= max_weight_bytes_);
  }

  double task_s(const Task& task) const {
    double compute_s = 0;
    for (const Piece& piece : pieces(task, helper_)) {
      compute_s = std::max(compute_s, problem_.compute_s(piece) * problem_.slowdown(helper_));
    }
    double receive_s = 0;
    for (const LayerId id : read_from_outside(problem_.graph, task.layers)) {
      receive_s +=
          problem_.transfer_s(tensor_bytes(problem_.graph, problem_.wire, id), problem_.source, helper_);
    }
    return (compute_s + receive_s) / task.copies;
  }

  // What may stand in place of a task, each more robots.
  std::vector<Tasks> variants(const Task& task) const {
    std::vector<Tasks> out;
    if (task.parts == 1) {
      out.push_back({task});
      ++out.back().front().copies;
    }
    if (task.copies > 1) return out;
    if (task.parts > 1) {
      if (task.parts < problem_.graph.tensor_shape(task.layers.back()).back()) {
        out.push_back({task});
        ++out.back().front().parts;
      }
      return out;
    }
    for (std::size_t i = 0; i < task.layers.size(); ++i) {
      const Layer& layer = problem_.graph.layer(task.layers[i]);
      if (layer.kind == LayerKind::kFc && layer.output_shape.back() > 1) out.push_back(in_parts(task, i));
    }
    return out;
  }

  // The fc layer at `fc` in two parts, what else the task has before and behind it.
  Tasks in_parts(const Task& task, std::size_t fc) const {
    const std::vector<LayerId>& layers = task.layers;
    std::size_t first = fc;
    while (first > 0 && !weighs(layers[first - 1])) --first;
    // Begins where least crosses: whatever is computed with each part must be for the part alone.
    const std::vector<double> crossing = crossings(problem_, layers).bytes;
    std::size_t begin = fc;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = first; i <= fc; ++i) {
      const std::span<const LayerId> with_parts = std::span(layers).subspan(i, fc - i + 1);
      const bool for_parts = std::ranges::all_of(with_parts.first(fc - i), [&](LayerId id) {
        const auto readers = problem_.graph.consumers(id);
        return !readers.empty() && std::ranges::all_of(readers, [&](LayerId reader) {
          return std::ranges::binary_search(with_parts, reader);
        });
      });
      if (!for_parts || crossing[i] > least) continue;
      least = crossing[i];
      begin = i;
    }
    std::size_t end = fc + 1;
    while (end < layers.size() && is_elementwise(problem_.graph.layer(layers[end])) &&
           problem_.graph.layer(layers[end]).inputs.front() == layers[end - 1]) {
      ++end;
    }
    const auto at = [&](std::size_t i) { return layers.begin() + static_cast<std::ptrdiff_t>(i); };
    Tasks out;
    if (begin > 0) out.push_back({{at(0), at(begin)}});
    out.push_back({{at(begin), at(end)}, 1, 2});
    if (end < layers.size()) out.push_back({{at(end), layers.end()}});
    return out;
  }

  const Problem& problem_;
  HostId helper_;
  double max_weight_bytes_;
  double memory_ = std::numeric_limits<double>::infinity();  // of the robot that has least
};

class HadidiCollabRobots : public Policy {
 public:
  explicit HadidiCollabRobots(const Parameters& parameters)
      : parameters_(parameters), robots_(parameters.integer("robots")) {
    if (robots_ < 0) parameters.fail("robots", "valid: 0 (all), 1, 2, ...");
    if (!(parameters.number("max_weight_bytes") >= 0)) {
      parameters.fail("max_weight_bytes", "valid: 0 (what the memory holds) or more");
    }
  }

  Plan plan(const Problem& problem) override {
    const std::vector<HostId> robots = robots_there(problem, {});
    if (!decide(problem, robots)) {
      throw InputError(problem.platform.file(),
                       fmt::format("hadidi_collab_robots: the memories of {} robots do not hold the model "
                                   "unless weights are loaded for each frame",
                                   robots.size()));
    }
    return next();
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    if (observation.kind == Observation::Kind::kArrival) {
      return plans_.size() == 1 ? std::nullopt : std::optional(next());
    }
    if (observation.kind == Observation::Kind::kPlatform) {
      const std::vector<HostId> there = robots_there(problem, observation);
      if (there == there_) return std::nullopt;
      return decide(problem, there) ? std::optional(next()) : std::nullopt;
    }
    if (std::ranges::equal(seen_, problem.bandwidth_bytes_per_s)) return std::nullopt;
    return decide(problem, std::vector<HostId>(there_)) ? std::optional(next()) : std::nullopt;
  }

 private:
  // The source and the next robots that are on and have routes to all of these.
  std::vector<HostId> robots_there(const Problem& problem, const Observation& observation) const {
    std::vector<HostId> out{problem.source};
    for (const HostId host : problem.reachable(Tier::kDevice)) {
      if (robots_ > 0 && static_cast<int>(out.size()) == robots_) break;
      const bool meets_all =
          std::ranges::all_of(out, [&](HostId other) { return linked(problem, host, other); });
      if (host != problem.source && meets_all && is_reachable(problem, observation, host))
        out.push_back(host);
    }
    return out;
  }

  // @returns false, and keeps the plans, where the robots' memories do not hold the model.
  bool decide(const Problem& problem, const std::vector<HostId>& robots) {
    there_ = robots;
    seen_.assign(problem.bandwidth_bytes_per_s.begin(), problem.bandwidth_bytes_per_s.end());
    const std::vector<HostId> helpers(robots.size() > 1 ? robots.begin() + 1 : robots.begin(), robots.end());
    const auto n = static_cast<int>(helpers.size());
    const Assignment assignment(problem, helpers, parameters_.number("max_weight_bytes"));
    const int exit = deepest_exit(problem);
    Tasks tasks = given_tasks(problem, exit);
    if (tasks.empty()) tasks = assignment.pack(problem.graph.exit_layers(exit));
    if (!assignment.merge_down(tasks, n) || !assignment.spread(tasks, n)) return false;
    int copies = 1, parts = 1, period = 1;
    for (const Task& task : tasks) {
      copies = std::max(copies, task.copies);
      parts = std::max(parts, task.parts);
      period = std::lcm(period, task.copies);
    }
    const double busiest_s = assignment.time_s(tasks).first;
    plans_.clear();
    frame_ = 0;
    for (int frame = 0; frame < period; ++frame) {
      Plan& plan = plans_.emplace_back();
      plan.exit = exit;
      plan.decision = {{"tasks", static_cast<double>(tasks.size())},
                       {"robots", robots_of(tasks)},
                       {"copies", copies},
                       {"parts", parts},
                       {"busiest_s", busiest_s},
                       {"predicted_throughput_per_s", 1 / busiest_s}};
      std::size_t robot = 0;
      for (const Task& task : tasks) {
        std::vector<Piece> pieces = assignment.pieces(task, helpers[robot]);
        for (std::size_t part = 0; part < pieces.size(); ++part) {
          pieces[part].host = helpers[robot + part + static_cast<std::size_t>(frame % task.copies)];
          plan.pieces.push_back(std::move(pieces[part]));
        }
        robot += static_cast<std::size_t>(task.robots());
      }
    }
    return true;
  }

  Tasks given_tasks(const Problem& problem, int exit) const {
    Tasks out;
    const std::span<const LayerId> layers = problem.graph.exit_layers(exit);
    auto begin = layers.begin();
    std::istringstream words(parameters_.string("tasks"));
    for (std::string name; words >> name;) {
      const auto end = std::ranges::find(begin, layers.end(), problem.graph.find(name));
      if (end == layers.end()) {
        parameters_.fail("tasks", fmt::format("\"{}\" is no layer of \"{}\" behind those before it", name,
                                              problem.graph.name()));
      }
      out.push_back({{begin, end + 1}});
      begin = end + 1;
    }
    if (!out.empty() && begin != layers.end()) out.push_back({{begin, layers.end()}});
    return out;
  }

  Plan next() { return plans_[frame_++ % plans_.size()]; }

  Parameters parameters_;
  int robots_;
  std::vector<double> seen_;   // bandwidths
  std::vector<HostId> there_;  // the source and its helpers
  std::vector<Plan> plans_;    // of the frames, by turns
  std::size_t frame_ = 0;
};

const bool registered = register_policy(
    {.name = "hadidi_collab_robots",
     .title = "frames through a pipeline of robots, tasks copied or split",
     .source = "Hadidi et al., IEEE RA-L 2018",
     .about =
         "Packs consecutive layers into tasks that fit a robot's memory and gives each a robot; while robots "
         "are left, copies a task (frames by turns) or splits a fully connected layer by its outputs, "
         "whichever makes the slowest task fastest.",
     .parameters = {{.name = "robots",
                     .type = "integer",
                     .standard = 0,
                     .about = "the source and the next ones of tier device; 0: all"},
                    {.name = "tasks",
                     .type = "string",
                     .standard = "",
                     .about = "last layer of each task, \"pool5 fc6\"; empty: as the memory holds them"},
                    {.name = "max_weight_bytes",
                     .type = "number",
                     .standard = 0,
                     .about = "weights that a robot's runtime holds, B; 0: what its memory holds"}},
     .watches_arrivals = true,
     .watches_bandwidth = true,
     .watches_platform = true},
    make<HadidiCollabRobots>);

}  // namespace
}  // namespace cdisim
