#include "sim/simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "sim/error.h"

namespace cdisim {

namespace {

// Steps of timers that are no activity of a request.
constexpr std::uint32_t kArrivalStep = 0xffffffff;
constexpr std::uint32_t kObserveStep = 0xfffffffe;
constexpr std::uint32_t kWarmupStep = 0xfffffffd;
constexpr std::uint32_t kHorizonStep = 0xfffffffc;
// After a lost request a client without think time waits this long before it asks again.
constexpr double kRetryAfterLoss_s = 1;

// A plan made ready to run: a DAG of computations and transfers.
struct Activity {
  bool is_transfer = false;
  int piece = kSourceEnd;
  int waits_for = 0;            // number of predecessors
  std::vector<int> successors;  // kEnd stands for the request's end
  // computation
  HostId host = 0;
  std::span<const double> seconds;
  // transfer
  const Route* route = nullptr;
  HostId from = 0, to = 0;
  double bytes = 0;
};
constexpr int kEnd = -1;

struct Program {
  Plan plan;
  std::vector<Activity> activities;
  std::vector<int> roots;
};

// Seconds spent along a request's critical path so far.
struct Path {
  double compute_s = 0, transfer_s = 0, queue_s = 0;
};

struct Running {
  std::shared_ptr<const Program> program;
  std::vector<int> waits_for;  // (n_activities)
  std::vector<Path> path;      // (n_activities) until the activity starts
  int under_way = 0;
  bool lost = false;
};

class Simulation {
 public:
  Simulation(const RunSpec& spec, const PolicyFacts& facts, const MakePolicy& make_policy)
      : spec_(spec),
        facts_(facts),
        engine_(*spec.platform, spec.engine,
                {.timer = [this](Tag tag) { on_timer(tag); },
                 .computed = [this](const Completion& c) { on_computed(c); },
                 .transferred = [this](const Completion& c) { on_transferred(c); },
                 .changed = [this](const Change& c) { on_changed(c); }}) {
    for (const Link& link : spec.platform->links()) bandwidth_.push_back(link.bandwidth_bytes_per_s);
    link_on_.assign(bandwidth_.size(), 1);
    host_on_.assign(static_cast<std::size_t>(spec.platform->host_count()), 1);
    for (const auto& [link, trace] : spec.bandwidth_traces) {
      bandwidth_[static_cast<std::size_t>(link)] = trace.at(0);
    }
    for (std::size_t i = 0; i < spec.sources.size(); ++i) {
      policies_.push_back(make_policy());
      dates_.emplace_back(spec.arrivals, static_cast<int>(i), static_cast<int>(spec.sources.size()),
                          spec.seed);
      programs_.push_back(compile(policies_[i]->plan(problem(i)), i));
    }
  }

  Trace run() {
    for (const Change& change : spec_.changes) engine_.apply_at(change);
    for (std::size_t i = 0; i < spec_.bandwidth_traces.size(); ++i) announce_trace_step(i, 0);
    if (spec_.warmup_s > 0) engine_.at(spec_.warmup_s, {0, kWarmupStep});
    if (spec_.horizon_s)
      engine_.at(*spec_.horizon_s, {std::numeric_limits<std::uint64_t>::max(), kHorizonStep});
    if (facts_.watches_bandwidth) engine_.at(0, {0, kObserveStep});
    for (std::size_t i = 0; i < spec_.sources.size(); ++i) {
      // Clients and batches all start now; of other arrivals one is announced at a time.
      const bool at_once =
          spec_.arrivals.kind == Arrivals::Kind::kClosedLoop || spec_.arrivals.kind == Arrivals::Kind::kBatch;
      while (announce_arrival(i) && at_once) {
      }
    }
    engine_.run();
    if (failure_) std::rethrow_exception(failure_);

    if (engine_.now() < spec_.warmup_s) engine_.reset_meters();  // nothing was measured
    trace_.measured_from_s = std::min(spec_.warmup_s, engine_.now());
    trace_.end_s = engine_.now();
    for (HostId host = 0; host < spec_.platform->host_count(); ++host)
      trace_.hosts.push_back(engine_.meter(host));
    for (LinkId link = 0; link < spec_.platform->link_count(); ++link)
      trace_.link_bytes.push_back(engine_.link_bytes(link));
    for (const auto& program : programs_) trace_.plans.push_back(program->plan);
    return std::move(trace_);
  }

 private:
  // ---- plans ----

  Problem problem(std::size_t source) const {
    return {.graph = *spec_.graph,
            .platform = *spec_.platform,
            .latency_model = *spec_.estimator,
            .wire = spec_.estimator_wire,
            .source = spec_.sources[source],
            .deadline_s = spec_.deadline_s,
            .bandwidth_bytes_per_s = bandwidth_,
            .history = spec_.history,
            .seed = derive_seed(spec_.seed, Stream::kPolicy, source)};
  }

  // Seconds by batch size; equal work on a host shares one vector, which is how the engine knows a batch.
  std::span<const double> piece_seconds(HostId host, const std::vector<LayerId>& layers) {
    std::vector<double>& seconds = seconds_[{host, layers}];
    if (seconds.empty()) {
      const Host& h = spec_.platform->host(host);
      const int largest = h.discipline == Discipline::kBatch ? h.max_batch : 1;
      for (int n = 1; n <= largest; ++n)
        seconds.push_back(spec_.latency_model->piece_s(*spec_.graph, layers, h, n));
    }
    return seconds;
  }

  std::span<const double> coding_seconds(HostId host, double flop) {
    std::vector<double>& seconds = coding_seconds_[{host, flop}];
    if (seconds.empty()) {
      const Host& h = spec_.platform->host(host);
      const int largest = h.discipline == Discipline::kBatch ? h.max_batch : 1;
      for (int n = 1; n <= largest; ++n) seconds.push_back(n * flop / h.power_states[0].speed_flop_per_s);
    }
    return seconds;
  }

  std::shared_ptr<const Program> compile(Plan plan, std::size_t source) {
    const HostId home = spec_.sources[source];
    check_plan(*spec_.graph, *spec_.platform, home, spec_.wire, plan, fmt::format("policy {}", facts_.name));
    auto program = std::make_shared<Program>();
    std::vector<Activity>& activities = program->activities;
    for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
      Activity piece;
      piece.piece = static_cast<int>(p);
      piece.host = plan.pieces[p].host;
      piece.seconds = piece_seconds(piece.host, plan.pieces[p].layers);
      activities.push_back(std::move(piece));
    }
    // An edge becomes encode -> transfer -> decode, or nothing where both ends are on one host.
    for (const PlanEdge& edge : plan_edges(*spec_.graph, spec_.wire, plan)) {
      const HostId from =
          edge.from == kSourceEnd ? home : plan.pieces[static_cast<std::size_t>(edge.from)].host;
      const HostId to = edge.to == kSourceEnd ? home : plan.pieces[static_cast<std::size_t>(edge.to)].host;
      int last = edge.from;
      const auto append = [&](Activity activity) {
        const int index = static_cast<int>(activities.size());
        activities.push_back(std::move(activity));
        link(activities, last, index);
        last = index;
      };
      const auto coding = [&](HostId host, double flop) {
        Activity activity;
        activity.host = host;
        activity.seconds = coding_seconds(host, flop);
        if (flop > 0) append(std::move(activity));
      };
      if (from != to) {
        coding(from, edge.transform.encode_flop);
        Activity transfer;
        transfer.is_transfer = true;
        transfer.route = spec_.platform->route(from, to);
        transfer.from = from;
        transfer.to = to;
        transfer.bytes = edge.bytes;
        append(std::move(transfer));
        coding(to, edge.transform.decode_flop);
      }
      if (edge.to == kSourceEnd) {
        activities[static_cast<std::size_t>(last)].successors.push_back(kEnd);
      } else if (last != kSourceEnd) {
        link(activities, last, edge.to);
      }
    }
    for (std::size_t i = 0; i < activities.size(); ++i) {
      if (activities[i].waits_for == 0) program->roots.push_back(static_cast<int>(i));
    }
    program->plan = std::move(plan);
    return program;
  }

  static void link(std::vector<Activity>& activities, int from, int to) {
    if (from == kSourceEnd) return;
    activities[static_cast<std::size_t>(from)].successors.push_back(to);
    ++activities[static_cast<std::size_t>(to)].waits_for;
  }

  void observe(std::size_t source, Observation::Kind kind) {
    const Observation observation{
        kind, engine_.now(), [this](HostId host) { return engine_.queue_length(host); }, host_on_, link_on_};
    std::optional<Plan> plan = policies_[source]->replan(problem(source), observation);
    if (!plan) return;
    programs_[source] = compile(std::move(*plan), source);
    ++trace_.replans;
  }

  void observe_all(Observation::Kind kind) {
    for (std::size_t source = 0; source < policies_.size(); ++source) observe(source, kind);
  }

  // ---- requests ----

  bool announce_arrival(std::size_t source) {
    const std::optional<double> date = dates_[source].next();
    if (!date || (spec_.horizon_s && *date >= *spec_.horizon_s)) return false;
    return announce_arrival(source, *date);
  }

  bool announce_arrival(std::size_t source, double date) {
    if (spec_.requests && announced_ >= *spec_.requests) return false;
    ++announced_;
    engine_.at(date, {source, kArrivalStep});
    return true;
  }

  void arrive(std::size_t source) {
    if (spec_.arrivals.kind != Arrivals::Kind::kClosedLoop && spec_.arrivals.kind != Arrivals::Kind::kBatch) {
      announce_arrival(source);
    }
    if (facts_.watches_arrivals) observe(source, Observation::Kind::kArrival);
    const std::uint64_t request = trace_.requests.size();
    const std::shared_ptr<const Program>& program = programs_[source];
    trace_.requests.push_back(
        {.source = static_cast<int>(source), .exit = program->plan.exit, .arrival_s = engine_.now()});

    int slot = static_cast<int>(running_.size());
    if (free_slots_.empty()) {
      running_.emplace_back();
    } else {
      slot = free_slots_.back();
      free_slots_.pop_back();
    }
    slot_of_.push_back(slot);
    Running& running = running_[static_cast<std::size_t>(slot)];
    running.program = program;
    running.lost = false;
    running.under_way = 0;
    running.waits_for.resize(program->activities.size());
    for (std::size_t i = 0; i < program->activities.size(); ++i)
      running.waits_for[i] = program->activities[i].waits_for;
    running.path.assign(program->activities.size(), {});
    for (const int root : program->roots) start(request, running, root);
  }

  void start(std::uint64_t request, Running& running, int index) {
    const Activity& activity = running.program->activities[static_cast<std::size_t>(index)];
    const Tag tag{request, static_cast<std::uint32_t>(index)};
    ++running.under_way;
    if (activity.is_transfer) {
      engine_.transfer(*activity.route, activity.from, activity.to, activity.bytes, tag);
    } else {
      engine_.compute(activity.host, activity.seconds, tag);
    }
  }

  void on_computed(const Completion& c) {
    Running& running = running_[static_cast<std::size_t>(slot_of_[c.tag.request])];
    const Activity& activity = running.program->activities[c.tag.step];
    Path& path = running.path[c.tag.step];
    path.queue_s += c.started_s - c.queued_s;
    path.compute_s += c.ended_s - c.started_s;
    if (spec_.record_intervals) {
      if (c.started_s > c.queued_s) {
        trace_.intervals.push_back(
            {Interval::Kind::kWait, activity.host, c.tag.request, activity.piece, c.queued_s, c.started_s});
      }
      trace_.intervals.push_back(
          {Interval::Kind::kCompute, activity.host, c.tag.request, activity.piece, c.started_s, c.ended_s});
    }
    end_activity(c, running, activity);
  }

  void on_transferred(const Completion& c) {
    Running& running = running_[static_cast<std::size_t>(slot_of_[c.tag.request])];
    const Activity& activity = running.program->activities[c.tag.step];
    running.path[c.tag.step].transfer_s += c.ended_s - c.started_s;
    if (spec_.record_intervals) {
      for (const LinkId id : activity.route->links) {
        trace_.intervals.push_back(
            {Interval::Kind::kTransfer, id, c.tag.request, activity.piece, c.started_s, c.ended_s});
      }
    }
    end_activity(c, running, activity);
  }

  void end_activity(const Completion& c, Running& running, const Activity& activity) {
    --running.under_way;
    const Path path = running.path[c.tag.step];
    if (c.failed && !running.lost) {
      running.lost = true;
      end_request(c.tag.request, RequestState::kLost, path);
    }
    if (!running.lost) {
      for (const int next : activity.successors) {
        if (next == kEnd) {
          end_request(c.tag.request, RequestState::kCompleted, path);
        } else if (--running.waits_for[static_cast<std::size_t>(next)] == 0) {
          running.path[static_cast<std::size_t>(next)] = path;  // the last to arrive decides
          start(c.tag.request, running, next);
        }
      }
    }
    // What else a lost request has under way still comes back here.
    if (running.under_way == 0) {
      running.program = nullptr;
      free_slots_.push_back(slot_of_[c.tag.request]);
    }
  }

  void end_request(std::uint64_t request, RequestState state, const Path& path) {
    RequestRecord& record = trace_.requests[request];
    record.state = state;
    record.end_s = engine_.now();
    record.compute_s = path.compute_s;
    record.transfer_s = path.transfer_s;
    record.queue_s = path.queue_s;
    ++ended_;
    if (spec_.arrivals.kind == Arrivals::Kind::kClosedLoop) {
      double wait_s = spec_.arrivals.think_s;
      if (state == RequestState::kLost && wait_s == 0) wait_s = kRetryAfterLoss_s;
      if (wait_s == 0 && record.end_s == record.arrival_s && !spec_.requests) {
        throw InputError("arrivals",
                         "a closed loop whose requests take no time never ends: state a think time or a "
                         "number of requests");
      }
      const double next = engine_.now() + wait_s;
      if (!spec_.horizon_s || next < *spec_.horizon_s)
        announce_arrival(static_cast<std::size_t>(record.source), next);
    }
    if (spec_.requests && ended_ == *spec_.requests) engine_.stop();
    // Without a horizon a run ends with the last request that its arrivals hold.
    if (!spec_.horizon_s && ended_ == announced_) engine_.stop();
  }

  // ---- call-backs: an exception must not cross SimGrid's stack ----

  template <class F>
  void guarded(F&& f) {
    try {
      f();
    } catch (...) {
      if (!failure_) failure_ = std::current_exception();
      engine_.stop();
    }
  }

  void on_timer(Tag tag) {
    guarded([&] {
      switch (tag.step) {
        case kArrivalStep:
          arrive(static_cast<std::size_t>(tag.request));
          break;
        case kObserveStep:
          observe_all(Observation::Kind::kBandwidth);
          engine_.at(engine_.now() + spec_.observe_every_s, {0, kObserveStep});
          break;
        case kWarmupStep:
          engine_.reset_meters();
          break;
        case kHorizonStep:
          engine_.stop();
          break;
      }
    });
  }

  void announce_trace_step(std::size_t index, double date) {
    if (date == std::numeric_limits<double>::infinity()) return;
    const auto& [link, trace] = spec_.bandwidth_traces[index];
    engine_.apply_at({date, Change::Kind::kBandwidth, link, trace.at(date), static_cast<int>(index)});
  }

  void on_changed(const Change& change) {
    guarded([&] {
      const auto target = static_cast<std::size_t>(change.target);
      if (change.kind == Change::Kind::kBandwidth) {
        bandwidth_[target] = change.value;
        if (change.trace >= 0) {
          const auto index = static_cast<std::size_t>(change.trace);
          announce_trace_step(index, spec_.bandwidth_traces[index].second.next_change(engine_.now()));
        }
        return;
      }
      if (change.kind == Change::Kind::kLinkState) link_on_[target] = change.value != 0;
      if (change.kind == Change::Kind::kHostState) host_on_[target] = change.value != 0;
      if (facts_.watches_platform) observe_all(Observation::Kind::kPlatform);
    });
  }

  const RunSpec& spec_;
  const PolicyFacts& facts_;
  Engine engine_;
  std::vector<double> bandwidth_;  // as now
  std::vector<char> link_on_, host_on_;
  std::vector<std::unique_ptr<Policy>> policies_;         // (n_sources)
  std::vector<ArrivalDates> dates_;                       // (n_sources)
  std::vector<std::shared_ptr<const Program>> programs_;  // (n_sources)
  std::map<std::pair<HostId, std::vector<LayerId>>, std::vector<double>> seconds_;
  std::map<std::pair<HostId, double>, std::vector<double>> coding_seconds_;
  std::vector<Running> running_;
  std::vector<int> free_slots_;
  std::vector<int> slot_of_;  // by request
  std::int64_t announced_ = 0, ended_ = 0;
  Trace trace_;
  std::exception_ptr failure_;
};

}  // namespace

Trace simulate(const RunSpec& spec, const PolicyFacts& facts, const MakePolicy& make_policy) {
  return Simulation(spec, facts, make_policy).run();
}

}  // namespace cdisim
