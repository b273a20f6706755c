#include "sim/simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "sim/ad_hoc.h"
#include "sim/error.h"
#include "sim/random.h"
#include "sim/stealing.h"
#include "sim/weights.h"

namespace cdisim {

namespace {

// Steps of timers that are no activity of a request.
constexpr std::uint32_t kArrivalStep = 0xffffffff;
constexpr std::uint32_t kObserveStep = 0xfffffffe;
constexpr std::uint32_t kWarmupStep = 0xfffffffd;
constexpr std::uint32_t kHorizonStep = 0xfffffffc;
constexpr std::uint32_t kRestartStep = 0xfffffffb;
constexpr std::uint32_t kSeeStep = 0xfffffffa;
constexpr std::uint32_t kUploadStep = 0xfffffff9;  // the tag's request is a source
constexpr std::uint32_t kAskStep = 0xfffffff8;     // the tag's request is a worker
// After a lost request a client without think time waits this long before it asks again.
constexpr double kRetryAfterLoss_s = 1;

constexpr int kEnd = -1;
constexpr int kFixed = -1;  // an end of a transfer whose host the plan knows

// A plan made ready to run: a DAG of computations and transfers. Of a piece that may be stolen, the wait in
// its owner's queue is an activity too; whoever takes it starts the transfers of what it reads, the last of
// which starts its computation.
struct Activity {
  enum class Kind : std::uint8_t { kCompute, kTransfer, kQueue };
  Kind kind = Kind::kCompute;
  int piece = kSourceEnd;
  int waits_for = 0;            // number of predecessors
  std::vector<int> successors;  // kEnd stands for the request's end
  // computation
  HostId host = 0;
  std::span<const double> seconds;
  bool stealable = false;
  std::vector<std::span<const double>> seconds_of;  // where stealable: of each worker, then of each alone
  bool reserved = false;                            // on the source's share of the host
  std::vector<LayerId> weights;                     // that the host must hold, where it does not hold all
  // transfer
  const Route* route = nullptr;
  HostId from = 0, to = 0;
  double bytes = 0;
  int from_piece = kFixed, to_piece = kFixed;  // whose takers are the ends
  bool deposit = false;                        // its sender does nothing else before it has ended
  int unless_piece = kFixed;                   // nothing is sent to the taker of this one
  // queue
  std::vector<int> alone_successors;  // where it is computed alone
  // What must be there for it not to be computed alone: pieces, and the activities that bring it to others.
  std::vector<std::pair<int, int>> needs;
};

// What a plan is for the requests that stop at one exit.
struct Body {
  int exit = 0;
  double rate_up_to = 1;  // of the requests that stop here or before
  std::optional<double> accuracy;
  bool answers = true;  // the result is computed, and returns
  std::vector<Activity> activities;
  std::vector<int> roots;
  int results = 0;              // edges to kEnd; the request ends when all have arrived
  std::vector<HostId> workers;  // that take pieces
  double poll_s = 0;
};

struct Program {
  Plan plan;
  std::vector<Body> bodies;  // by exit, at least one
  std::vector<std::shared_ptr<Program>> fallbacks;
  // The bodies of requests for which some hosts do not work: (n_hosts) -> bodies, as they occur.
  std::map<std::vector<bool>, std::vector<Body>> without;
};

// Seconds spent along a request's critical path so far.
struct Path {
  double compute_s = 0, transfer_s = 0, queue_s = 0;
};

// One try to serve a request.
struct Running {
  std::shared_ptr<Program> program;
  const Body* body = nullptr;
  std::vector<int> waits_for;  // (n_activities)
  std::vector<Path> path;      // (n_activities) until the activity starts
  struct Taken {
    std::size_t worker = 0;  // index into Body::workers
    bool alone = false;
  };
  std::vector<Taken> taken;  // (n_pieces) where some may be stolen
  std::vector<char> ended;   // (n_activities) likewise
  int results = 0;           // parts of the result that have not arrived
  int under_way = 0;
  bool lost = false;
};

// The weights that a source sends, one upload after another.
struct Uploader {
  std::deque<Upload> queue;
  std::optional<Upload> under_way;
  double bytes = 0;  // of the one under way
};

// A piece whose weights are not there yet.
struct WaitingPiece {
  std::uint64_t attempt;
  int index;  // of its activity
  double since_s;
};

class Simulation {
 public:
  Simulation(const RunSpec& spec, const PolicyFacts& facts, const MakePolicy& make_policy)
      : spec_(spec),
        facts_(facts),
        engine_(*spec.platform, spec.engine,
                {.timer = [this](Tag tag) { on_timer(tag); },
                 .computed = [this](const Completion& c) { guarded([&] { on_computed(c); }); },
                 .transferred = [this](const Completion& c) { guarded([&] { on_transferred(c); }); },
                 .changed = [this](const Change& c) { on_changed(c); }}) {
    for (const Link& link : spec.platform->links()) bandwidth_.push_back(link.bandwidth_bytes_per_s);
    link_on_.assign(bandwidth_.size(), 1);
    host_on_.assign(static_cast<std::size_t>(spec.platform->host_count()), 1);
    for (const auto& [link, trace] : spec.bandwidth_traces) {
      bandwidth_[static_cast<std::size_t>(link)] = trace.at(0);
    }
    if (spec.ad_hoc) {
      ad_hoc_.emplace(*spec.platform, bandwidth_, link_on_, host_on_);
      routed_ = *spec.platform;
      routed_->route_by([this](HostId from, HostId to) { return ad_hoc_->route(from, to); });
    }
    for (const Host& host : spec.platform->hosts()) {
      if (host.battery_j < std::numeric_limits<double>::infinity())
        on_battery_.push_back(static_cast<HostId>(power_state_.size()));
      power_state_.push_back(host.power_state);
      battery_j_.push_back(host.battery_j);
      flight_w_.push_back(host.flight_w);
    }
    queue_log_.resize(host_on_.size());
    uploaders_.resize(spec.sources.size());
    for (std::size_t i = 0; i < spec.sources.size(); ++i) {
      policies_.push_back(make_policy());
      arrivals_s_.push_back(facts.knows_arrivals ? all_arrivals(i) : std::vector<double>());
      failure_draws_.emplace_back(derive_seed(spec.seed, Stream::kFailures, i));
      exit_draws_.emplace_back(derive_seed(spec.seed, Stream::kExits, i));
      arrived_.push_back(0);
      outcomes_.emplace_back();
      dates_.emplace_back(spec.arrivals, static_cast<int>(i), static_cast<int>(spec.sources.size()),
                          spec.seed);
      programs_.push_back(compile(policies_[i]->plan(problem(i)), i));
      uploaders_[i].queue.assign(programs_[i]->plan.uploads.begin(), programs_[i]->plan.uploads.end());
    }
    grant_shares();
  }

  Trace run() {
    for (const Change& change : spec_.changes) engine_.apply_at(change);
    for (std::size_t i = 0; i < spec_.bandwidth_traces.size(); ++i) announce_trace_step(i, 0);
    if (spec_.warmup_s > 0) engine_.at(spec_.warmup_s, {0, kWarmupStep});
    if (spec_.horizon_s)
      engine_.at(*spec_.horizon_s, {std::numeric_limits<std::uint64_t>::max(), kHorizonStep});
    if (facts_.watches_bandwidth) engine_.at(0, {0, kObserveStep});
    for (std::size_t i = 0; i < spec_.sources.size(); ++i) {
      if (!uploaders_[i].queue.empty()) engine_.at(0, {i, kUploadStep});
    }
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
    for (const auto& [host, at_start] : spec_.weights_at_start)
      trace_.weight_memory_bytes[host] = weights_.peak_bytes(host);
    trace_.evictions = weights_.evictions();
    return std::move(trace_);
  }

 private:
  // With the routes of now.
  const Platform& platform() const { return routed_ ? *routed_ : *spec_.platform; }

  // ---- plans ----

  Problem problem(std::size_t source) {
    for (const HostId id : on_battery_)
      battery_j_[static_cast<std::size_t>(id)] = engine_.meter(id).battery_j;
    return {.graph = *spec_.graph,
            .platform = platform(),
            .latency_model = *spec_.estimator,
            .wire = spec_.estimator_wire,
            .source = spec_.sources[source],
            .deadline_s = spec_.deadline_s,
            .bandwidth_bytes_per_s = bandwidth_,
            .history = spec_.history,
            .seed = derive_seed(spec_.seed, Stream::kPolicy, source),
            .loaded = weights_.loaded(),
            .power_state = power_state_,
            .sources = spec_.sources,
            .arrivals_s = arrivals_s_[source],
            .battery_j = battery_j_,
            .survival = spec_.survival,
            .flight_w = flight_w_,
            .future = std::span(spec_.bandwidth_traces).last(facts_.knows_mobility ? spec_.radio_traces : 0)};
  }

  // All dates at which requests of a source will arrive; none of a closed loop, whose dates follow from its
  // results.
  std::vector<double> all_arrivals(std::size_t source) const {
    std::vector<double> dates;
    if (spec_.arrivals.kind == Arrivals::Kind::kClosedLoop) return dates;
    ArrivalDates all(spec_.arrivals, static_cast<int>(source), static_cast<int>(spec_.sources.size()),
                     spec_.seed);
    while (!spec_.requests || static_cast<std::int64_t>(dates.size()) < *spec_.requests) {
      const std::optional<double> date = all.next();
      if (!date || (spec_.horizon_s && *date >= *spec_.horizon_s)) break;
      dates.push_back(*date);
    }
    return dates;
  }

  // Seconds by batch size; equal work on a host shares one vector, which is how the engine knows a batch.
  std::span<const double> piece_seconds(const Piece& piece) { return piece_seconds(piece, piece.host); }

  std::span<const double> piece_seconds(const Piece& piece, HostId host) {
    std::vector<double>& seconds = seconds_[{host, piece.layers, piece.parts}];
    if (seconds.empty()) {
      const Host& h = spec_.platform->host(host);
      const int largest = h.discipline == Discipline::kBatch ? h.max_batch : 1;
      for (int n = 1; n <= largest; ++n)
        seconds.push_back(spec_.latency_model->piece_s(*spec_.graph, piece.layers, h, n, piece.parts));
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

  std::shared_ptr<Program> compile(Plan plan, std::size_t source) {
    const HostId home = spec_.sources[source];
    check_plan(*spec_.graph, platform(), home, spec_.wire, plan, fmt::format("policy {}", facts_.name));
    auto program = std::make_shared<Program>();
    set_memory_aside(plan);
    check_weights(plan, home);
    for (const Piece& piece : plan.pieces) any_shares_ = any_shares_ || piece.share.has_value();
    program->bodies = bodies(plan, home, std::vector<bool>(host_on_.size(), true));
    for (Plan& fallback : plan.fallbacks) program->fallbacks.push_back(compile(fallback, source));
    program->plan = std::move(plan);
    return program;
  }

  // Where weights come and go, what else a plan needs of the memory stays free.
  void set_memory_aside(const Plan& plan) {
    if (spec_.weights_at_start.empty()) return;
    std::map<HostId, double> bytes = plan_memory_bytes(*spec_.graph, plan);
    for (const auto& [host, weights] : plan_weight_bytes(*spec_.graph, plan)) bytes[host] -= weights;
    for (const auto& [host, aside] : bytes) {
      if (weights_.tracks(host)) weights_.set_aside(host, aside);
    }
  }

  // What waits for weights must not wait forever: they have a way and room.
  void check_weights(const Plan& plan, HostId home) const {
    const auto check = [&](HostId host, std::span<const LayerId> layers) {
      if (!weights_.tracks(host)) return;
      const std::string& name = spec_.platform->host(host).name;
      const std::string who = fmt::format("policy {}", facts_.name);
      if (platform().route(home, host) == nullptr)
        throw InputError(who, fmt::format("the weights that \"{}\" lacks have no route from \"{}\"", name,
                                          spec_.platform->host(home).name));
      if (!weights_.has_room(host, layers))
        throw InputError(who, fmt::format("\"{}\" has no room for weights that it is sent", name));
    };
    for (const Piece& piece : plan.pieces) check(piece.host, piece.layers);
    for (const Upload& upload : plan.uploads) check(upload.host, upload.layers);
    for (const HostId worker : plan.stealing ? plan.stealing->workers : std::vector<HostId>()) {
      if (weights_.tracks(worker))
        throw InputError(fmt::format("policy {}", facts_.name),
                         fmt::format("\"{}\" takes pieces and does not start with all weights",
                                     spec_.platform->host(worker).name));
    }
  }

  // By exit; `works`: (n_hosts).
  std::vector<Body> bodies(const Plan& plan, HostId home, const std::vector<bool>& works) {
    std::vector<Body> out;
    double rate = 0;
    for (int exit = 0; exit <= plan.exit; ++exit) {
      const double own =
          plan.exit_rates.empty() ? exit == plan.exit : plan.exit_rates[static_cast<std::size_t>(exit)];
      if (own == 0) continue;
      rate += own;
      out.push_back(body(surviving(*spec_.graph, stopped_at(*spec_.graph, plan, exit), works), home));
      out.back().rate_up_to = rate;
    }
    out.back().rate_up_to = 1;  // whatever rounding left
    return out;
  }

  Body body(const Plan& plan, HostId home) {
    Body out;
    out.exit = plan.exit;
    const Exit& exit = spec_.graph->exits()[static_cast<std::size_t>(plan.exit)];
    const std::vector<bool> computed = computed_layers(*spec_.graph, plan);
    out.answers = computed[static_cast<std::size_t>(exit.layer)];
    out.accuracy = plan.exit_accuracies.empty() ? exit.accuracy_with(computed) : plan.exit_accuracies.back();
    std::vector<Activity>& activities = out.activities;
    for (std::size_t p = 0; p < plan.pieces.size(); ++p) {
      Activity piece;
      piece.piece = static_cast<int>(p);
      piece.host = plan.pieces[p].host;
      if (!plan.pieces[p].layers.empty() && !is_stealable(plan, static_cast<int>(p)))
        piece.seconds = piece_seconds(plan.pieces[p]);
      piece.reserved = plan.pieces[p].share.has_value();
      if (weights_.tracks(piece.host)) piece.weights = plan.pieces[p].layers;
      activities.push_back(std::move(piece));
    }
    Stolen stolen{out, plan, home};
    if (plan.stealing) add_queues(stolen);
    // An edge becomes encode -> transfer -> decode, or nothing where both ends are on one host.
    for (const PlanEdge& edge : plan_edges(*spec_.graph, spec_.wire, plan)) {
      if (stolen.queue_of.contains(edge.to)) {
        add_stolen_input(stolen, edge);
        continue;
      }
      const bool by_taker = stolen.queue_of.contains(edge.from);
      const HostId from =
          edge.from == kSourceEnd ? home : plan.pieces[static_cast<std::size_t>(edge.from)].host;
      const HostId to = edge.to == kSourceEnd ? home : plan.pieces[static_cast<std::size_t>(edge.to)].host;
      int last = edge.from;
      bool gated = false;
      // What comes first on an edge waits for the exits before it.
      const auto open_gates = [&](int index) {
        for (const int gate : edge.after) {
          if (!gated && gate != edge.from) link(activities, gate, index);
        }
        gated = true;
      };
      const auto append = [&](Activity activity) {
        const int index = static_cast<int>(activities.size());
        activities.push_back(std::move(activity));
        link(activities, last, index);
        open_gates(index);
        last = index;
      };
      const auto coding = [&](HostId host, double flop) {
        Activity activity;
        activity.host = host;
        activity.seconds = coding_seconds(host, flop);
        if (flop > 0) append(std::move(activity));
      };
      if (from != to || by_taker) {
        coding(from, edge.transform.encode_flop);
        Activity transfer;
        transfer.kind = Activity::Kind::kTransfer;
        transfer.piece = edge.to == kSourceEnd || by_taker ? edge.from : edge.to;
        if (by_taker) {
          transfer.from_piece = edge.from;
        } else {
          transfer.route = platform().route(from, to);
          transfer.from = from;
        }
        transfer.to = to;
        transfer.bytes = edge.bytes;
        append(std::move(transfer));
        coding(to, edge.transform.decode_flop);
      }
      if (edge.to == kSourceEnd) {
        activities[static_cast<std::size_t>(last)].successors.push_back(kEnd);
        ++out.results;
        continue;
      }
      link(activities, last, edge.to);
      open_gates(edge.to);
    }
    for (std::size_t i = 0; i < activities.size(); ++i) {
      const bool idle =
          i < plan.pieces.size() && plan.pieces[i].layers.empty() && plan.pieces[i].relays.empty();
      if (activities[i].waits_for == 0 && !idle) out.roots.push_back(static_cast<int>(i));
    }
    return out;
  }

  // A body in the making whose pieces may be stolen.
  struct Stolen {
    Body& body;
    const Plan& plan;
    HostId home;
    std::map<int, int> queue_of = {};    // piece -> activity
    std::map<int, int> deposit_of = {};  // piece -> the transfer of what others read of it
  };

  void add_queues(Stolen& stolen) {
    const Stealing& stealing = *stolen.plan.stealing;
    const Plan alone = alone_plan(stolen.plan);
    stolen.body.workers = stealing.workers;
    stolen.body.poll_s = stealing.poll_s;
    std::vector<Activity>& activities = stolen.body.activities;
    for (const int p : stealing.pieces) {
      const auto i = static_cast<std::size_t>(p);
      if (stolen.plan.pieces[i].layers.empty()) continue;
      activities[i].stealable = true;
      activities[i].waits_for = 1;  // until it is taken
      for (const HostId worker : stealing.workers)
        activities[i].seconds_of.push_back(piece_seconds(stolen.plan.pieces[i], worker));
      for (const HostId worker : stealing.workers) {
        if (stealing.alone.contains(p))
          activities[i].seconds_of.push_back(piece_seconds(alone.pieces[i], worker));
      }
      Activity queue;
      queue.kind = Activity::Kind::kQueue;
      queue.piece = p;
      queue.host = stolen.plan.pieces[i].host;
      stolen.queue_of[p] = static_cast<int>(activities.size());
      activities.push_back(std::move(queue));
    }
    if (stealing.alone.empty()) return;
    for (const PlanEdge& edge : plan_edges(*spec_.graph, spec_.wire, alone)) {
      if (!stealing.alone.contains(edge.to)) continue;
      const int fetch = add_fetch(stolen, edge);
      const int queue = stolen.queue_of.at(edge.to);
      activities[static_cast<std::size_t>(queue)].alone_successors.push_back(fetch);
    }
  }

  // What a piece that may be stolen reads, once somebody has taken it. @returns the activity.
  int add_fetch(Stolen& stolen, const PlanEdge& edge) {
    std::vector<Activity>& activities = stolen.body.activities;
    Activity fetch;
    fetch.kind = Activity::Kind::kTransfer;
    fetch.piece = fetch.to_piece = edge.to;
    fetch.bytes = edge.bytes;
    fetch.waits_for = 1;  // for the taker
    fetch.successors = {edge.to};
    if (!stolen.queue_of.contains(edge.from)) {
      fetch.from = edge.from == kSourceEnd ? stolen.home
                                           : stolen.plan.pieces[static_cast<std::size_t>(edge.from)].host;
    } else if (stolen.plan.stealing->store) {
      fetch.from = *stolen.plan.stealing->store;
      fetch.unless_piece = edge.from;
    } else {
      fetch.from_piece = edge.from;
    }
    activities.push_back(std::move(fetch));
    return static_cast<int>(activities.size()) - 1;
  }

  // The transfer, to the store, of what others read of a piece.
  int deposit(Stolen& stolen, int piece) {
    const auto [found, is_new] = stolen.deposit_of.try_emplace(piece, 0);
    if (is_new) {
      Activity transfer;
      transfer.kind = Activity::Kind::kTransfer;
      transfer.piece = transfer.from_piece = piece;
      transfer.deposit = true;
      transfer.to = *stolen.plan.stealing->store;
      transfer.bytes = deposit_bytes(*spec_.graph, spec_.wire, stolen.plan, piece);
      found->second = static_cast<int>(stolen.body.activities.size());
      stolen.body.activities.push_back(std::move(transfer));
      link(stolen.body.activities, piece, found->second);
    }
    return found->second;
  }

  // What the wait in the queue waits for, and what follows it.
  void add_stolen_input(Stolen& stolen, const PlanEdge& edge) {
    std::vector<Activity>& activities = stolen.body.activities;
    const Stealing& stealing = *stolen.plan.stealing;
    const int queue = stolen.queue_of.at(edge.to);
    const int fetch = add_fetch(stolen, edge);
    activities[static_cast<std::size_t>(queue)].successors.push_back(fetch);
    for (const int gate : edge.after) {
      if (gate != edge.from) link(activities, gate, queue);
    }
    const bool by_taker = stolen.queue_of.contains(edge.from);
    const int there = by_taker && stealing.store ? deposit(stolen, edge.from) : edge.from;
    if (by_taker && stealing.alone.contains(edge.to)) {
      activities[static_cast<std::size_t>(queue)].needs.emplace_back(edge.from, there);
    } else {
      link(activities, there, queue);
    }
  }

  static void link(std::vector<Activity>& activities, int from, int to) {
    if (from == kSourceEnd) return;
    activities[static_cast<std::size_t>(from)].successors.push_back(to);
    ++activities[static_cast<std::size_t>(to)].waits_for;
  }

  void observe(std::size_t source, Observation::Kind kind) {
    const std::vector<Outcome> outcomes = std::exchange(outcomes_[source], {});
    const Observation observation{
        kind,     engine_.now(), [this](HostId host) { return seen_queue_length(host); },
        host_on_, link_on_,      outcomes};
    std::optional<Plan> plan = policies_[source]->replan(problem(source), observation);
    if (!plan) return;
    programs_[source] = compile(std::move(*plan), source);
    ++trace_.replans;
    uploaders_[source].queue.assign(programs_[source]->plan.uploads.begin(),
                                    programs_[source]->plan.uploads.end());
    upload_next(source);
  }

  // ---- shares of processors ----

  // What the plans of all sources grant must be there: called when all of them have decided.
  void grant_shares() {
    if (!any_shares_) return;
    std::map<HostId, std::map<int, double>> granted;  // by host and source
    std::set<HostId> queued;                          // hosts with pieces in the common queue
    for (std::size_t i = 0; i < programs_.size(); ++i) {
      const auto take = [&](const Plan& plan) {
        for (const Piece& piece : plan.pieces) {
          if (piece.share) {
            double& share = granted[piece.host][static_cast<int>(i)];
            share = std::max(share, *piece.share);
          } else {
            queued.insert(piece.host);
          }
        }
      };
      take(programs_[i]->plan);
      for (const auto& fallback : programs_[i]->fallbacks) take(fallback->plan);
    }
    for (const auto& [host, shares] : granted) {
      const Host& h = spec_.platform->host(host);
      double sum = 0;
      for (const auto& [source, share] : shares) sum += share;
      const std::string who = fmt::format("policy {}", facts_.name);
      if (sum > h.cores + 1e-9)
        throw InputError(who,
                         fmt::format("its plans grant {} of the {} cores of \"{}\"", sum, h.cores, h.name));
      if (queued.contains(host))
        throw InputError(who, fmt::format("its plans use \"{}\" with and without shares", h.name));
      for (const auto& [source, share] : shares) engine_.reserve(host, source, share);
    }
  }

  // ---- weights ----

  void upload_next(std::size_t source) {
    Uploader& uploader = uploaders_[source];
    while (!uploader.under_way && !uploader.queue.empty()) {
      Upload next = std::move(uploader.queue.front());
      uploader.queue.pop_front();
      next.layers = weights_.missing(next.host, next.layers);
      std::erase_if(next.layers, [&](LayerId id) { return coming_.contains({next.host, id}); });
      if (next.layers.empty()) continue;
      const HostId home = spec_.sources[source];
      double bytes = 0;
      for (const LayerId id : next.layers) {
        bytes += spec_.graph->layer(id).weight_bytes;
        coming_.insert({next.host, id});
      }
      engine_.transfer(*platform().route(home, next.host), home, next.host, bytes, {source, kUploadStep});
      uploader.bytes = bytes;
      uploader.under_way = std::move(next);
    }
  }

  void on_uploaded(const Completion& c) {
    Uploader& uploader = uploaders_[c.tag.request];
    Upload done = std::move(*uploader.under_way);
    uploader.under_way.reset();
    if (spec_.record_intervals) {
      for (const LinkId id : c.route->links)
        trace_.intervals.push_back(
            {Interval::Kind::kTransfer, id, kNoRequest, kSourceEnd, c.started_s, c.ended_s});
    }
    if (c.failed) {
      // Again once something is on again, see on_changed().
      forget_coming(done);
      uploader.queue.push_front(std::move(done));
      return;
    }
    ++trace_.uploads;
    trace_.upload_bytes += uploader.bytes;
    trace_.last_upload_s = engine_.now();
    landing_.push_back(std::move(done));
    land();
    upload_next(c.tag.request);
  }

  void forget_coming(const Upload& upload) {
    for (const LayerId id : upload.layers) coming_.erase({upload.host, id});
  }

  // What has arrived is loaded, where need be once computations have made room; pieces that waited for it
  // start before the next may evict it.
  void land() {
    for (std::size_t i = 0; i < landing_.size();) {
      if (!weights_.load(landing_[i].host, landing_[i].layers)) {
        ++i;
        continue;
      }
      const Upload loaded = std::move(landing_[i]);
      landing_.erase(landing_.begin() + static_cast<std::ptrdiff_t>(i));
      forget_coming(loaded);
      start_waiting(loaded.host);
      if (facts_.watches_weights) observe_all(Observation::Kind::kWeights);
      i = 0;
    }
  }

  void start_waiting(HostId host) {
    std::vector<WaitingPiece> ready;
    std::erase_if(waiting_, [&](const WaitingPiece& piece) {
      const Activity& activity =
          running_of(piece.attempt).body->activities[static_cast<std::size_t>(piece.index)];
      const bool starts = activity.host == host && weights_.missing(host, activity.weights).empty();
      if (starts) ready.push_back(piece);
      return starts;
    });
    for (const WaitingPiece& piece : ready) {
      Running& running = running_of(piece.attempt);
      if (running.lost) {
        end_waiting(piece);
        continue;
      }
      running.path[static_cast<std::size_t>(piece.index)].queue_s += engine_.now() - piece.since_s;
      --running.under_way;
      start(piece.attempt, running, piece.index);
    }
  }

  // Demands what a piece lacks and lets it wait; @returns false where it lacks nothing.
  bool wait_for_weights(std::uint64_t attempt, const Activity& activity, int index) {
    std::vector<LayerId> missing = weights_.missing(activity.host, activity.weights);
    if (missing.empty()) return false;
    waiting_.push_back({attempt, index, engine_.now()});
    const auto source = static_cast<std::size_t>(trace_.requests[attempts_[attempt].request].source);
    uploaders_[source].queue.push_front({std::move(missing), activity.host});
    upload_next(source);
    return true;
  }

  // A host that goes off loses what it has loaded, and the pieces that wait there are lost.
  void lose_weights(HostId host) {
    weights_.clear(host);
    std::erase_if(landing_, [&](const Upload& upload) {
      if (upload.host == host) forget_coming(upload);
      return upload.host == host;
    });
    std::vector<WaitingPiece> lost;
    std::erase_if(waiting_, [&](const WaitingPiece& piece) {
      const bool here =
          running_of(piece.attempt).body->activities[static_cast<std::size_t>(piece.index)].host == host;
      if (here) lost.push_back(piece);
      return here;
    });
    for (const WaitingPiece& piece : lost) end_waiting(piece);
  }

  // A piece that waits for weights ends without having begun.
  void end_waiting(const WaitingPiece& piece) {
    Running& running = running_of(piece.attempt);
    running.path[static_cast<std::size_t>(piece.index)].queue_s += engine_.now() - piece.since_s;
    const Tag tag{piece.attempt, static_cast<std::uint32_t>(piece.index)};
    end_activity({tag, true, piece.since_s, piece.since_s, engine_.now()}, running,
                 running.body->activities[static_cast<std::size_t>(piece.index)]);
  }

  // Queue lengths are logged only where they are seen with delay.
  void log_queue(HostId host) {
    if (spec_.observe_delay_s == 0) return;
    auto& log = queue_log_[static_cast<std::size_t>(host)];
    log.emplace_back(engine_.now(), engine_.queue_length(host));
    while (log.size() > 1 && log[1].first <= engine_.now() - spec_.observe_delay_s) log.pop_front();
  }

  int seen_queue_length(HostId host) const {
    if (spec_.observe_delay_s == 0) return engine_.queue_length(host);
    int length = 0;
    for (const auto& [date, logged] : queue_log_[static_cast<std::size_t>(host)]) {
      if (date <= engine_.now() - spec_.observe_delay_s) length = logged;
    }
    return length;
  }

  void observe_all(Observation::Kind kind) {
    for (std::size_t source = 0; source < policies_.size(); ++source) observe(source, kind);
    grant_shares();
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
    if (facts_.watches_arrivals) {
      observe(source, Observation::Kind::kArrival);
      grant_shares();
    }
    const std::uint64_t request = trace_.requests.size();
    trace_.requests.push_back({.source = static_cast<int>(source), .arrival_s = engine_.now()});
    exit_draw_.push_back(exit_draws_[source].uniform());
    number_.push_back(arrived_[source]++);
    try_request(request, programs_[source], {});
  }

  // `path`: what the request has been through already.
  void try_request(std::uint64_t request, const std::shared_ptr<Program>& program, const Path& path) {
    const Body& body = body_of(request, *program);
    trace_.requests[request].exit = body.exit;
    trace_.requests[request].accuracy = body.accuracy;
    if (!body.answers) return recover(request, *program, path);
    int slot = static_cast<int>(running_.size());
    if (free_slots_.empty()) {
      running_.emplace_back();
    } else {
      slot = free_slots_.back();
      free_slots_.pop_back();
    }
    const std::uint64_t attempt = attempts_.size();
    attempts_.push_back({request, slot});
    Running& running = running_[static_cast<std::size_t>(slot)];
    running.program = program;
    running.body = &body;
    const std::vector<Activity>& activities = body.activities;
    running.lost = false;
    running.under_way = 0;
    running.results = body.results;
    running.waits_for.resize(activities.size());
    for (std::size_t i = 0; i < activities.size(); ++i) running.waits_for[i] = activities[i].waits_for;
    running.path.assign(activities.size(), path);
    if (!body.workers.empty()) {
      running.taken.assign(program->plan.pieces.size(), {});
      running.ended.assign(activities.size(), 0);
    }
    for (const int root : running.body->roots) start(attempt, running, root);
  }

  // Draws which hosts work for this try; where the request stops was drawn when it arrived.
  const Body& body_of(std::uint64_t request, Program& program) {
    const auto source = static_cast<std::size_t>(trace_.requests[request].source);
    const std::vector<Body>* by_exit = &program.bodies;
    if (!spec_.survival.empty()) {
      std::vector<bool> works;
      for (const double p : spec_.survival) works.push_back(p >= 1 || failure_draws_[source].uniform() < p);
      if (std::ranges::count(works, false) > 0) {
        const auto [found, is_new] = program.without.try_emplace(works);
        if (is_new) found->second = bodies(program.plan, spec_.sources[source], works);
        by_exit = &found->second;
      }
    }
    return *std::ranges::find_if(*by_exit,
                                 [&](const Body& body) { return exit_draw_[request] < body.rate_up_to; });
  }

  Running& running_of(std::uint64_t attempt) {
    return running_[static_cast<std::size_t>(attempts_[attempt].slot)];
  }

  // ---- who computes what may be stolen ----

  static HostId taker(const Running& running, int piece) {
    return running.body->workers[running.taken[static_cast<std::size_t>(piece)].worker];
  }

  static HostId host_of(const Running& running, const Activity& activity) {
    return activity.stealable ? taker(running, activity.piece) : activity.host;
  }

  // None: nothing needs to travel.
  const Route* route_of(const Running& running, const Activity& activity, HostId& from, HostId& to) const {
    from = activity.from_piece == kFixed ? activity.from : taker(running, activity.from_piece);
    to = activity.to_piece == kFixed ? activity.to : taker(running, activity.to_piece);
    if (from == to) return nullptr;
    if (activity.unless_piece != kFixed && taker(running, activity.unless_piece) == to) return nullptr;
    if (activity.route != nullptr && !ad_hoc_) return activity.route;
    return platform().route(from, to);
  }

  void join_queue(std::uint64_t attempt, const Running& running, int index) {
    const Activity& activity = running.body->activities[static_cast<std::size_t>(index)];
    steal_queues_.push(activity.host, {attempt, index, engine_.now()});
    for (const HostId worker : running.body->workers) {
      poll_s_[worker] = running.body->poll_s;
      if (worker == activity.host) {
        seek(worker);
      } else if (is_idle(worker)) {
        ask_later(worker);
      }
    }
  }

  bool is_idle(HostId host) {
    return engine_.host_on(host) &&
           engine_.queue_length(host) + fetching_[host] < spec_.platform->host(host).cores;
  }

  // At the next of the dates at which a worker that found nothing asks.
  void ask_later(HostId worker) {
    if (!will_ask_.insert(worker).second) return;
    const double poll_s = poll_s_[worker], last = asked_s_[worker];
    double date = engine_.now();
    if (poll_s > 0) date = std::max(date, last + std::max(1.0, std::ceil((date - last) / poll_s)) * poll_s);
    engine_.at(date, {static_cast<std::uint64_t>(worker), kAskStep});
  }

  void seek(HostId worker) {
    if (!poll_s_.contains(worker)) return;  // takes nothing
    while (is_idle(worker)) {
      const auto task = steal_queues_.take(worker, [&](const StealQueues::Task& t) {
        return std::ranges::count(running_of(t.attempt).body->workers, worker) > 0;
      });
      asked_s_[worker] = engine_.now();
      if (!task) return;
      take(worker, *task);
    }
  }

  void take(HostId worker, const StealQueues::Task& task) {
    Running& running = running_of(task.attempt);
    const Activity& queue = running.body->activities[static_cast<std::size_t>(task.index)];
    if (spec_.record_intervals && engine_.now() > task.since_s) {
      trace_.intervals.push_back({Interval::Kind::kWait, queue.host, attempts_[task.attempt].request,
                                  queue.piece, task.since_s, engine_.now()});
    }
    if (!running.lost) {
      Running::Taken& taken = running.taken[static_cast<std::size_t>(queue.piece)];
      const auto& workers = running.body->workers;
      taken.worker = static_cast<std::size_t>(std::ranges::find(workers, worker) - workers.begin());
      taken.alone = !std::ranges::all_of(queue.needs, [&](const auto& need) {
        const auto ended = [&](int index) { return running.ended[static_cast<std::size_t>(index)] != 0; };
        return ended(need.second) || (ended(need.first) && taker(running, need.first) == worker);
      });
      ++fetching_[worker];
      Path path = running.path[static_cast<std::size_t>(task.index)];
      path.queue_s += engine_.now() - task.since_s;
      const std::vector<int>& fetches = taken.alone ? queue.alone_successors : queue.successors;
      running.path[static_cast<std::size_t>(queue.piece)] = path;
      running.waits_for[static_cast<std::size_t>(queue.piece)] = static_cast<int>(fetches.size());
      for (const int fetch : fetches) {
        running.path[static_cast<std::size_t>(fetch)] = path;
        start(task.attempt, running, fetch);
      }
      if (fetches.empty()) start(task.attempt, running, queue.piece);
    }
    --running.under_way;
    free_if_done(task.attempt, running);
  }

  // A worker has no more to do with a piece that it has taken.
  void leave(HostId worker) {
    --fetching_[worker];
    seek(worker);
  }

  void start(std::uint64_t attempt, Running& running, int index) {
    const Activity& activity = running.body->activities[static_cast<std::size_t>(index)];
    const Tag tag{attempt, static_cast<std::uint32_t>(index)};
    ++running.under_way;
    if (activity.kind == Activity::Kind::kQueue) {
      join_queue(attempt, running, index);
    } else if (activity.kind == Activity::Kind::kTransfer) {
      HostId from = 0, to = 0;
      if (activity.deposit) ++fetching_[taker(running, activity.from_piece)];
      if (const Route* route = route_of(running, activity, from, to)) {
        engine_.transfer(*route, from, to, activity.bytes, tag);
      } else {
        engine_.at(engine_.now(), tag);
      }
    } else if (activity.stealable) {
      const Running::Taken& taken = running.taken[static_cast<std::size_t>(activity.piece)];
      const std::size_t alone = taken.alone ? running.body->workers.size() : 0;
      const HostId host = taker(running, activity.piece);
      --fetching_[host];
      engine_.compute(host, activity.seconds_of[taken.worker + alone], tag);
      log_queue(host);
    } else if (activity.seconds.empty()) {
      engine_.at(engine_.now(), tag);  // a relay
    } else {
      if (!activity.weights.empty()) {
        if (engine_.host_on(activity.host) && wait_for_weights(attempt, activity, index)) return;
        weights_.use(activity.host, activity.weights);
      }
      if (activity.reserved) {
        const int source = trace_.requests[attempts_[attempt].request].source;
        engine_.compute_reserved(activity.host, activity.seconds, tag, source);
      } else {
        engine_.compute(activity.host, activity.seconds, tag);
      }
      log_queue(activity.host);
    }
  }

  void on_computed(const Completion& c) {
    Running& running = running_of(c.tag.request);
    const Activity& activity = running.body->activities[c.tag.step];
    Path& path = running.path[c.tag.step];
    const HostId host = host_of(running, activity);
    log_queue(host);
    if (!activity.weights.empty()) weights_.release(activity.host, activity.weights);
    path.queue_s += c.started_s - c.queued_s;
    path.compute_s += c.ended_s - c.started_s;
    if (spec_.record_intervals) {
      const std::uint64_t request = attempts_[c.tag.request].request;
      if (c.started_s > c.queued_s) {
        trace_.intervals.push_back(
            {Interval::Kind::kWait, host, request, activity.piece, c.queued_s, c.started_s});
      }
      trace_.intervals.push_back(
          {Interval::Kind::kCompute, host, request, activity.piece, c.started_s, c.ended_s});
    }
    end_activity(c, running, activity);
    if (!landing_.empty()) land();
    seek(host);
  }

  void on_transferred(const Completion& c) {
    if (c.tag.step == kUploadStep) return on_uploaded(c);
    Running& running = running_of(c.tag.request);
    const Activity& activity = running.body->activities[c.tag.step];
    running.path[c.tag.step].transfer_s += c.ended_s - c.started_s;
    if (spec_.record_intervals) {
      const std::uint64_t request = attempts_[c.tag.request].request;
      for (const LinkId id : c.route->links) {
        trace_.intervals.push_back(
            {Interval::Kind::kTransfer, id, request, activity.piece, c.started_s, c.ended_s});
      }
    }
    end_activity(c, running, activity);
  }

  void end_activity(const Completion& c, Running& running, const Activity& activity) {
    --running.under_way;
    if (!running.ended.empty()) running.ended[c.tag.step] = 1;
    const std::uint64_t request = attempts_[c.tag.request].request;
    const Path path = running.path[c.tag.step];
    if (c.failed && !running.lost) {
      running.lost = true;
      recover(request, *running.program, path);
    }
    if (!running.lost) {
      for (const int next : activity.successors) {
        if (next == kEnd) {
          if (--running.results == 0) end_request(request, RequestState::kCompleted, path);
        } else if (--running.waits_for[static_cast<std::size_t>(next)] == 0) {
          running.path[static_cast<std::size_t>(next)] = path;  // the last to arrive decides
          start(c.tag.request, running, next);
        }
      }
    }
    // A worker that has left its deposit, or that waits for nothing more of a lost request, seeks again:
    // last, for what it then takes may end what this belongs to.
    std::optional<HostId> leaves;
    if (activity.deposit) leaves = taker(running, activity.from_piece);
    if (running.lost && activity.to_piece != kFixed &&
        --running.waits_for[static_cast<std::size_t>(activity.to_piece)] == 0) {
      leaves = taker(running, activity.to_piece);
    }
    // What else a lost request has under way still comes back here.
    free_if_done(c.tag.request, running);
    if (leaves) leave(*leaves);
  }

  void free_if_done(std::uint64_t attempt, Running& running) {
    if (running.under_way > 0) return;
    running.program = nullptr;
    running.taken.clear();
    running.ended.clear();
    free_slots_.push_back(attempts_[attempt].slot);
  }

  // A request was lost under `program`: a fallback at once, else another try later, else it is lost for good.
  // By a timer, even where it is now: what else changes at this date must have changed.
  void recover(std::uint64_t request, const Program& program, const Path& path) {
    ++trace_.requests[request].failures;
    if (program.fallbacks.empty()) return try_later(request, path);
    restarts_[request] = {program.fallbacks, path};
    engine_.at(engine_.now(), {request, kRestartStep});
  }

  void try_later(std::uint64_t request, Path path) {
    if (retries_[request] == spec_.retries) return end_request(request, RequestState::kLost, path);
    ++retries_[request];
    path.queue_s += spec_.retry_wait_s;
    restarts_[request] = {{}, path};
    engine_.at(engine_.now() + spec_.retry_wait_s, {request, kRestartStep});
  }

  void restart(std::uint64_t request) {
    const Restart restart = std::move(restarts_.extract(request).mapped());
    if (restart.fallbacks.empty()) {
      return try_request(request, programs_[static_cast<std::size_t>(trace_.requests[request].source)],
                         restart.path);
    }
    for (const auto& fallback : restart.fallbacks) {
      const bool usable = std::ranges::all_of(
          fallback->plan.pieces, [this](const Piece& piece) { return engine_.host_on(piece.host); });
      if (usable) return try_request(request, fallback, restart.path);
    }
    try_later(request, restart.path);
  }

  void end_request(std::uint64_t request, RequestState state, const Path& path) {
    RequestRecord& record = trace_.requests[request];
    record.state = state;
    record.end_s = engine_.now();
    record.compute_s = path.compute_s;
    record.transfer_s = path.transfer_s;
    record.queue_s = path.queue_s;
    ++ended_;
    if (facts_.watches_arrivals) {
      outcomes_[static_cast<std::size_t>(record.source)].push_back(
          {number_[request], state == RequestState::kLost ? std::numeric_limits<double>::infinity()
                                                          : record.end_s - record.arrival_s});
    }
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
        case kRestartStep:
          restart(tag.request);
          break;
        case kUploadStep:
          upload_next(tag.request);
          break;
        case kAskStep:
          will_ask_.erase(static_cast<HostId>(tag.request));
          seek(static_cast<HostId>(tag.request));
          break;
        case kSeeStep: {
          const Change change = unseen_.front();
          unseen_.pop_front();
          see(change);
          break;
        }
        default: {  // what takes no time: a transfer from a host to itself, a relay
          Running& running = running_of(tag.request);
          const double now = engine_.now();
          const Activity& activity = running.body->activities[tag.step];
          const bool off = activity.kind == Activity::Kind::kCompute && !engine_.host_on(activity.host);
          end_activity({tag, off, now, now, now}, running, activity);
        }
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
      if (change.kind == Change::Kind::kBandwidth && change.trace >= 0) {
        const auto index = static_cast<std::size_t>(change.trace);
        announce_trace_step(index, spec_.bandwidth_traces[index].second.next_change(engine_.now()));
      }
      const bool state = change.kind == Change::Kind::kHostState || change.kind == Change::Kind::kLinkState;
      if (change.kind == Change::Kind::kHostState && change.value == 0 && weights_.tracks(change.target))
        lose_weights(change.target);
      for (std::size_t i = 0; state && change.value != 0 && i < uploaders_.size(); ++i) upload_next(i);
      if (change.kind == Change::Kind::kHostState && change.value != 0 && poll_s_.contains(change.target))
        ask_later(change.target);
      if (spec_.observe_delay_s == 0) return see(change);
      unseen_.push_back(change);
      engine_.at(engine_.now() + spec_.observe_delay_s, {0, kSeeStep});
    });
  }

  // What policies know of a change.
  void see(const Change& change) {
    if (ad_hoc_) ad_hoc_->forget();
    const auto target = static_cast<std::size_t>(change.target);
    switch (change.kind) {
      case Change::Kind::kBandwidth:
        bandwidth_[target] = change.value;
        break;
      case Change::Kind::kPowerState:
        power_state_[target] = static_cast<int>(change.value);
        if (facts_.watches_load) observe_all(Observation::Kind::kLoad);
        break;
      case Change::Kind::kFlightPower:
        flight_w_[target] = change.value;
        break;
      case Change::Kind::kLinkState:
        link_on_[target] = change.value != 0;
        if (facts_.watches_platform) observe_all(Observation::Kind::kPlatform);
        break;
      case Change::Kind::kHostState:
        host_on_[target] = change.value != 0;
        if (facts_.watches_platform) observe_all(Observation::Kind::kPlatform);
        break;
    }
  }

  const RunSpec& spec_;
  const PolicyFacts& facts_;
  Engine engine_;
  // As policies see them.
  std::vector<double> bandwidth_;
  std::vector<char> link_on_, host_on_;
  std::vector<int> power_state_;
  std::vector<double> flight_w_;
  std::optional<AdHocRoutes> ad_hoc_;
  std::optional<Platform> routed_;  // the platform with these routes
  std::vector<HostId> on_battery_;  // hosts with a battery
  std::vector<double> battery_j_;   // (n_hosts) when a policy was last asked
  std::deque<Change> unseen_;
  std::vector<std::deque<std::pair<double, int>>> queue_log_;  // (n_hosts) of (date, length)
  std::vector<std::vector<double>> arrivals_s_;                // (n_sources), where the policy knows them
  std::vector<std::unique_ptr<Policy>> policies_;              // (n_sources)
  std::vector<ArrivalDates> dates_;                            // (n_sources)
  std::vector<std::shared_ptr<Program>> programs_;             // (n_sources)
  std::map<std::tuple<HostId, std::vector<LayerId>, Parts>, std::vector<double>> seconds_;
  std::map<std::pair<HostId, double>, std::vector<double>> coding_seconds_;
  bool any_shares_ = false;  // some plan grants some
  WeightStore weights_{*spec_.graph, *spec_.platform, spec_.weights_at_start};
  std::vector<Uploader> uploaders_;              // (n_sources)
  std::set<std::pair<HostId, LayerId>> coming_;  // on their way, or landing
  std::deque<Upload> landing_;                   // arrived, but there is no room yet
  std::vector<WaitingPiece> waiting_;            // for weights
  StealQueues steal_queues_;
  std::map<HostId, double> poll_s_, asked_s_;  // of those that ever were workers
  std::map<HostId, int> fetching_;             // pieces for which they now receive or send
  std::set<HostId> will_ask_;
  std::vector<Running> running_;
  std::vector<int> free_slots_;
  struct Attempt {
    std::uint64_t request;
    int slot;  // in running_
  };
  std::vector<Attempt> attempts_;  // an activity's tag names its attempt
  struct Restart {
    std::vector<std::shared_ptr<Program>> fallbacks;  // none: the source's plan of then
    Path path;
  };
  std::map<std::uint64_t, Restart> restarts_;       // by request, those that wait
  std::map<std::uint64_t, int> retries_;            // by request, those that were lost
  std::vector<Random> exit_draws_, failure_draws_;  // (n_sources)
  std::vector<double> exit_draw_;                   // by request, [0, 1)
  std::vector<int> number_;                         // by request, of its source's
  std::vector<int> arrived_;                        // by source
  std::vector<std::vector<Outcome>> outcomes_;      // by source, not observed yet
  std::int64_t announced_ = 0, ended_ = 0;
  Trace trace_;
  std::exception_ptr failure_;
};

}  // namespace

Trace simulate(const RunSpec& spec, const PolicyFacts& facts, const MakePolicy& make_policy) {
  return Simulation(spec, facts, make_policy).run();
}

}  // namespace cdisim
