// The one file that talks to SimGrid: it builds the platform through SimGrid's API, drives SimGrid's clock
// and turns shared work into SimGrid activities.
#include "sim/engine.h"

#include <fmt/format.h>
#include <simgrid/plugins/energy.h>
#include <xbt/log.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <queue>
#include <simgrid/kernel/Timer.hpp>
#include <simgrid/kernel/resource/NetworkModelIntf.hpp>
#include <simgrid/kernel/routing/NetPoint.hpp>
#include <simgrid/kernel/routing/NetZoneImpl.hpp>
#include <simgrid/s4u.hpp>
#include <simgrid/simix.hpp>
#include <unordered_map>

namespace cdisim {

namespace {

namespace sg4 = simgrid::s4u;
namespace routing = simgrid::kernel::routing;

// SimGrid's payloads are whole numbers. In millionths of a byte the rounding is below 1e-10 of any real
// transfer.
constexpr double kUnitsPerByte = 1e6;
// SimGrid's solver forgets a link once what its unsettled transfers take of it, on a Wi-Fi medium 1 / rate
// each, adds up to less than 1e-5, which it does at any real rate in byte/s: where another link holds one of
// them back it gives up ("The Impossible Did Happen"). So SimGrid sees rates divided by this, in the order of
// 1, and makes up for it by its bandwidth factor. A power of 2: exact.
constexpr double kRateFactor = 0x1p40;
// Of a lane that holds nothing back, byte/s.
constexpr double kUnlimited = 1e18;
// SimGrid skips a transfer's latency, and keeps its CM02 weight, with a latency factor that is tiny but not
// 0.
constexpr double kLatencyAlreadyPaid = 1e-15;
// Changes come after everything else of the same date: what ends as a link goes off has ended.
constexpr std::uint64_t kAfterAllRequests = std::numeric_limits<std::uint64_t>::max();
constexpr int kNone = -1;
constexpr double kForever = std::numeric_limits<double>::infinity();

// Dates within this distance count as equal: the solver and a closed form differ in the last bits. SimGrid
// merges what ends within its own precision, which is set to the same.
constexpr double kPrecision_s = 1e-12;
double tie_tolerance(double date) {
  return std::max(kPrecision_s, 16 * std::numeric_limits<double>::epsilon() * date);
}

struct LinkState {
  sg4::Link* link = nullptr;  // none for a fatpipe, see Carrier::lane
  bool wifi = false;
  bool on = true;
  double bandwidth = 0;
  int users = 0;     // transfers that cross it now
  int sole = kNone;  // the transfer on timers that has the link to itself
  double bytes = 0;
};

// A communication that is about to start: SimGrid asks for its route and latency factor in the order of the
// starts.
struct Start {
  const Route* route = nullptr;
  sg4::Link* lane = nullptr;
  double latency_factor = 1;
};

double simgrid_rate(double bytes_per_s) {
  return bytes_per_s * kUnitsPerByte / kRateFactor;
}

// Answers SimGrid's routing questions from the platform's own sparse table: SimGrid's "Full" keeps n x n
// entries.
class SparseZone : public routing::NetZoneImpl {
 public:
  SparseZone(const std::string& name, const std::vector<LinkState>& links)
      : NetZoneImpl(name), links_(links) {}

  void get_local_route(const routing::NetPoint*, const routing::NetPoint*, routing::Route* into,
                       double* latency) override {
    const Start start = starts_.front();
    starts_.pop_front();
    latency_factor_ = start.latency_factor;
    if (latency != nullptr) *latency += start.route->latency_s;
    std::vector<LinkId> shared;
    for (const LinkId id : start.route->links) {
      const LinkState& state = links_[static_cast<std::size_t>(id)];
      if (state.link != nullptr && !state.wifi) shared.push_back(id);
    }
    const auto air = [&](LinkId id) {
      const LinkState& state = links_[static_cast<std::size_t>(id)];
      if (state.wifi) into->link_list_.push_back(state.link->get_impl());
    };
    // The order means nothing to the model, but see touch_route(): a link of the transfer's own comes first.
    const auto users = [&](LinkId id) { return links_[static_cast<std::size_t>(id)].users; };
    std::stable_sort(shared.begin(), shared.end(), [&](LinkId x, LinkId y) { return users(x) < users(y); });
    // Wi-Fi media keep their places, at the ends: SimGrid takes the rates from there.
    air(start.route->links.front());
    if (start.lane != nullptr) into->link_list_.push_back(start.lane->get_impl());
    for (const LinkId id : shared)
      into->link_list_.push_back(links_[static_cast<std::size_t>(id)].link->get_impl());
    if (start.route->links.size() > 1) air(start.route->links.back());
  }

  void announce(const Start& start) { starts_.push_back(start); }
  // Of the communication whose route was asked for last.
  double latency_factor() const { return latency_factor_; }

 private:
  const std::vector<LinkState>& links_;
  std::deque<Start> starts_;
  double latency_factor_ = 1;
};

enum class EventKind : std::uint8_t {
  kTimer,
  kComputed,
  kTransferred,
  kCarried,
  kChange,
  kBatchDeadline,
  kDataPhase,
  kTouch,
  kBattery
};

struct Event {
  double date;
  Tag tag;
  EventKind kind;
  int index;                 // job, transfer, carrier, change or host
  std::uint32_t generation;  // an event of an older generation of its slot is void
};

struct LaterThan {
  bool operator()(const Event& a, const Event& b) const {
    if (a.date != b.date) return a.date > b.date;
    if (a.tag.request != b.tag.request) return a.tag.request > b.tag.request;
    return a.tag.step > b.tag.step;
  }
};

// One computation of a request. In a batch the timer or activity of the first job stands for all of them.
struct Job {
  Tag tag;
  HostId host = kNone;
  int user = kNone;  // whose share of the processor it runs on
  std::span<const double> seconds;
  double queued_s = 0, started_s = 0;
  double left_s = 0;  // work left at `since`, seconds in power state 0 on a whole core
  double since = 0;
  std::vector<int> batch;  // the other jobs of a batch that this one leads
  int carrier = kNone;
  std::uint32_t generation = 0;
  bool running = false;
};

struct Transfer {
  Tag tag;
  const Route* route = nullptr;
  HostId from = kNone, to = kNone;
  double bytes = 0;
  double started_s = 0;
  double latency_end = 0;  // date at which data begin to flow
  double left_bytes = 0;   // at `since`
  double since = 0;
  double rate = 0;  // byte/s
  int carrier = kNone;
  std::uint32_t generation = 0;
  bool active = false;
  bool data_phase = false;  // radios of its ends are on
};

// An actor that turns one job or transfer at a time into a SimGrid activity.
struct Carrier {
  sg4::ActorPtr actor;
  bool busy = false;
  bool is_transfer = false;
  int index = kNone;
  std::uint32_t generation = 0;
  // transfer
  sg4::Host* from = nullptr;
  sg4::Host* to = nullptr;
  std::uint64_t units = 0;
  Start start;
  // What the fatpipes of a route allow, as a link that only this carrier uses. SimGrid's own FATPIPE policy
  // holds a transfer of long latency back where one of short latency fills the pipe.
  sg4::Link* lane = nullptr;
  // computation
  double flop = 0;
  double bound_flop_per_s = 0;  // 0: none
  sg4::ActivityPtr activity;
  bool failed = false;
};

// A share of a processor that one user has to itself: a queue of its own, first come, first served.
struct Reservation {
  double share = 0;  // of a core
  std::deque<int> queue;
  int running = kNone;
};

struct HostState {
  sg4::Host* host = nullptr;
  bool on = true;
  int power_state = 0;
  double flight_w = 0;
  int busy_cores = 0;
  std::deque<int> queue;                    // waiting jobs
  std::vector<int> running;                 // jobs on cores, or sharing them
  std::map<int, Reservation> reservations;  // by user
  bool deadline_armed = false;              // batch: a kBatchDeadline is under way
  // meters
  HostMeter meter;
  double metered_to = 0;
  int sending = 0, receiving = 0;  // transfers in their data phase
  double looks_s = kForever;       // a kBattery event looks at the battery then, or earlier than needed
  std::uint32_t looks = 0;         // its generation
};

}  // namespace

struct Engine::Impl {
  const Platform& platform;
  EngineOptions options;
  Handlers handlers;

  std::unique_ptr<sg4::Engine> simgrid;
  SparseZone* zone = nullptr;   // SimGrid owns it
  SparseZone* lanes = nullptr;  // a zone apart, never sealed, as lanes are made when carriers need them
  sg4::Host* carrier_host = nullptr;
  std::vector<HostState> hosts;
  std::vector<LinkState> links;
  std::vector<Job> jobs;
  std::vector<int> free_jobs;
  std::vector<Transfer> transfers;
  std::vector<int> free_transfers;
  std::deque<Carrier> carriers;
  std::vector<int> free_carriers;
  std::vector<Change> changes;  // slots of announced changes
  std::vector<int> free_changes;

  std::priority_queue<Event, std::vector<Event>, LaterThan> events;
  std::vector<Event> tied;
  simgrid::kernel::timer::Timer* timer = nullptr;
  double timer_date = std::numeric_limits<double>::infinity();
  double now = 0;
  bool handling = false;
  bool stopped = false;
  sg4::ActorPtr dispatcher;
  bool dispatch_wanted = false;
  bool dispatching = false;
  bool finished = false;

  Impl(const Platform& p, const EngineOptions& o, Handlers h)
      : platform(p), options(o), handlers(std::move(h)) {
    build();
  }

  // ---- SimGrid platform ----

  void build() {
    xbt_log_control_set("root.threshold:critical");
    if (options.host_energy) sg_host_energy_plugin_init();
    const bool cm02 = options.network == NetworkModel::kCm02;
    // SimGrid reads its settings from an argument vector, which must outlive the engine.
    static std::vector<std::string> arguments;
    arguments = {
        "cdisim",
        std::string("--cfg=network/model:") + (cm02 ? "CM02" : "LV08"),
        fmt::format("--cfg=network/bandwidth-factor:{}", cm02 ? kRateFactor : 0.97 * kRateFactor),
        fmt::format("--cfg=network/weight-S:{}", cm02 ? 0 : simgrid_rate(20537)),
        "--cfg=network/crosstraffic:0",
        "--cfg=network/TCP-gamma:0",
        "--cfg=surf/precision:1e-12",
        "--cfg=contexts/stack-size:128",
#ifdef CDISIM_SANITIZE
        "--cfg=contexts/factory:thread",
#endif
    };
    static std::vector<char*> argv;
    argv.clear();
    for (std::string& argument : arguments) argv.push_back(argument.data());
    static int argc;
    argc = static_cast<int>(argv.size());
    argv.push_back(nullptr);
    simgrid = std::make_unique<sg4::Engine>(&argc, argv.data());

    zone = new SparseZone("platform", links);
    std::vector<const sg4::Link*> media;  // Wi-Fi
    for (const Link& link : platform.links()) {
      sg4::Link* made = nullptr;
      const bool wifi = link.sharing == Sharing::kWifi;
      if (link.sharing == Sharing::kShared) made = make_link(zone, link.name, link.bandwidth_bytes_per_s);
      if (wifi) media.push_back(made = make_wifi_link(link));
      links.push_back({.link = made, .wifi = wifi, .bandwidth = link.bandwidth_bytes_per_s});
    }
    for (HostId id = 0; id < platform.host_count(); ++id) {
      const Host& host = platform.host(id);
      std::vector<double> speeds;
      std::string watts;
      for (const PowerState& state : host.power_states) {
        speeds.push_back(state.speed_flop_per_s);
        watts += (watts.empty() ? "" : ",") + std::to_string(state.idle_w) + ":" +
                 std::to_string(state.epsilon_w) + ":" + std::to_string(state.all_cores_w);
      }
      sg4::Host* made = zone->get_iface()->create_host(host.name, speeds);
      made->set_core_count(host.cores);
      if (options.host_energy) {
        made->set_property("wattage_per_state", watts);
        made->set_property("wattage_off", std::to_string(host.off_w));
      }
      made->seal();
      if (host.power_state != 0) made->set_pstate(static_cast<unsigned long>(host.power_state));
      hosts.emplace_back();
      for (const sg4::Link* air : media) air->set_host_wifi_rate(made, host.wifi_rate);
      hosts.back().host = made;
      hosts.back().power_state = host.power_state;
      hosts.back().flight_w = host.flight_w;
      hosts.back().meter.battery_j = host.battery_j;
    }
    carrier_host = zone->get_iface()->create_host("cdisim carriers", 1.0);
    if (options.host_energy) carrier_host->set_property("wattage_per_state", "0:0:0");
    carrier_host->seal();
    zone->seal();
    lanes = new SparseZone("lanes", links);
    lanes->set_network_model(zone->get_network_model());
    if (options.network == NetworkModel::kCm02) {
      zone->get_iface()->get_network_model()->set_lat_factor_cb(
          [this](double, const sg4::Host*, const sg4::Host*, const std::vector<sg4::Link*>&,
                 const std::unordered_set<sg4::NetZone*>&) { return zone->latency_factor(); });
    }
    for (HostId id = 0; id < platform.host_count(); ++id) watch_battery(id);
  }

  static sg4::Link* make_link(SparseZone* where, const std::string& name, double bytes_per_s) {
    sg4::Link* link = where->get_iface()->create_link(name, simgrid_rate(bytes_per_s));
    link->seal();
    return link;
  }

  // SimGrid makes them in zones of their own only.
  sg4::Link* make_wifi_link(const Link& of) const {
    std::vector<double> rates;
    for (const double rate : of.rates_bytes_per_s) rates.push_back(simgrid_rate(rate));
    sg4::NetZone* air = sg4::create_wifi_zone("zone of " + of.name);
    air->get_impl()->set_network_model(zone->get_network_model());
    sg4::Link* link = air->create_link(of.name, rates);
    link->seal();
    return link;
  }

  // ---- events ----

  void push(double date, Tag tag, EventKind kind, int index, std::uint32_t generation) {
    events.push({date, tag, kind, index, generation});
    if (!handling) arm();
  }

  // Keeps one SimGrid timer at the next event.
  void arm() {
    if (events.empty()) return;
    const double date = events.top().date;
    if (timer != nullptr) {
      if (timer_date <= date) return;
      timer->remove();
    }
    timer_date = date;
    timer = simgrid::kernel::timer::Timer::set(std::max(date, sg4::Engine::get_clock()), [this] {
      timer = nullptr;
      timer_date = std::numeric_limits<double>::infinity();
      // What SimGrid ended at this same date is still on its way back through its carriers.
      if (free_carriers.size() == carriers.size()) {
        handle_due();
      } else {
        wake_dispatcher();
      }
    });
  }

  // Handles all events that are due, ties in the order of their tags. Runs on the maestro's stack.
  void handle_due() {
    const double clock = sg4::Engine::get_clock();
    handling = true;
    while (!events.empty() && !stopped && events.top().date <= clock) {
      const double head = events.top().date;
      tied.clear();
      while (!events.empty() && events.top().date <= head + tie_tolerance(head)) {
        tied.push_back(events.top());
        events.pop();
      }
      if (tied.size() > 1) {
        std::stable_sort(tied.begin(), tied.end(), [](const Event& a, const Event& b) {
          return a.tag.request != b.tag.request ? a.tag.request < b.tag.request : a.tag.step < b.tag.step;
        });
      }
      for (std::size_t i = 0; i < tied.size() && !stopped; ++i) handle(Event(tied[i]));
    }
    handling = false;
    const bool idle = events.empty() && free_carriers.size() == carriers.size();
    if (stopped || idle) {
      finish();
    } else {
      arm();
    }
  }

  // ---- dispatcher: an actor that handles events once all carriers of this date have reported ----

  void wake_dispatcher() {
    dispatch_wanted = true;
    if (dispatcher == nullptr) {
      dispatcher = sg4::Actor::create("dispatcher", carrier_host, [this] { dispatch(); });
    } else if (dispatcher->is_suspended()) {
      dispatcher->resume();
    }
  }

  void dispatch() {
    while (!finished) {
      while (!dispatch_wanted) sg4::this_actor::suspend();
      dispatch_wanted = false;
      sg4::this_actor::yield();  // the carriers that woke at this date run first
      dispatching = true;
      simgrid::kernel::actor::simcall_answered([this] { handle_due(); });
      dispatching = false;
    }
  }

  // Whether the event still means something: re-timed and ended slots leave void events behind.
  bool is_current(const Event& event) const {
    switch (event.kind) {
      case EventKind::kComputed:
        return jobs[at(event.index)].generation == event.generation;
      case EventKind::kTransferred:
      case EventKind::kDataPhase:
      case EventKind::kTouch:
        return transfers[at(event.index)].generation == event.generation;
      case EventKind::kBattery:
        return hosts[at(event.index)].looks == event.generation;
      default:
        return true;
    }
  }

  void handle(const Event& event) {
    if (!is_current(event)) return;
    now = std::max(now, event.date);
    switch (event.kind) {
      case EventKind::kTimer:
        handlers.timer(event.tag);
        break;
      case EventKind::kComputed:
        end_job(event.index, event.date, false);
        break;
      case EventKind::kTransferred:
        end_transfer(event.index, event.date, false);
        break;
      case EventKind::kCarried:
        end_carried(event.index, event.date);
        break;
      case EventKind::kChange:
        free_changes.push_back(event.index);
        apply(Change(changes[at(event.index)]));
        break;
      case EventKind::kBatchDeadline:
        hosts[at(event.index)].deadline_armed = false;
        start_waiting(event.index);
        break;
      case EventKind::kDataPhase:
        radio_on(transfers[at(event.index)]);
        break;
      case EventKind::kTouch:
        touch_route(transfers[at(event.index)]);
        break;
      case EventKind::kBattery:
        look_at_battery(event.index);
        break;
    }
  }

  static std::size_t at(int index) {
    return static_cast<std::size_t>(index);
  }

  // ---- carriers: one actor each, reused, as many as there are shared activities at once ----

  int take_carrier() {
    if (free_carriers.empty()) {
      carriers.emplace_back();
      const int index = static_cast<int>(carriers.size()) - 1;
      carriers.back().actor =
          sg4::Actor::create("carrier", carrier_host, [this, index] { carry(carriers[at(index)], index); });
      carriers.back().busy = true;
      return index;
    }
    const int index = free_carriers.back();
    free_carriers.pop_back();
    carriers[at(index)].busy = true;
    return index;
  }

  void carry(Carrier& carrier, int index) {
    for (;;) {
      while (!carrier.busy) sg4::this_actor::suspend();
      carrier.failed = false;
      try {
        if (!is_current(carrier)) {
          carrier.failed = true;  // its host or link went off before it could start
        } else if (carrier.is_transfer) {
          sg4::CommPtr comm = sg4::Comm::sendto_init(carrier.from, carrier.to);
          comm->set_payload_size(carrier.units);
          zone->announce(carrier.start);
          carrier.activity = comm;
          comm->start();
          comm->wait();
        } else {
          sg4::ExecPtr exec = sg4::this_actor::exec_init(carrier.flop);
          exec->set_host(carrier.from);
          if (carrier.bound_flop_per_s > 0) exec->set_bound(carrier.bound_flop_per_s);
          carrier.activity = exec;
          exec->start();
          exec->wait();
        }
      } catch (const simgrid::Exception&) {
        carrier.failed = true;
      }
      carrier.activity = nullptr;
      carrier.busy = false;
      const Tag tag = carrier.is_transfer ? transfers[at(carrier.index)].tag : jobs[at(carrier.index)].tag;
      events.push({sg4::Engine::get_clock(), tag, EventKind::kCarried, index, carrier.generation});
      wake_dispatcher();
    }
  }

  bool is_current(const Carrier& carrier) const {
    return carrier.is_transfer ? transfers[at(carrier.index)].generation == carrier.generation
                               : jobs[at(carrier.index)].generation == carrier.generation;
  }

  void launch(int index) {
    if (carriers[at(index)].actor->is_suspended()) carriers[at(index)].actor->resume();
  }

  void end_carried(int index, double date) {
    Carrier& carrier = carriers[at(index)];
    free_carriers.push_back(index);
    if (!is_current(carrier)) return;
    if (carrier.is_transfer) {
      end_transfer(carrier.index, date, carrier.failed);
    } else {
      end_job(carrier.index, date, carrier.failed);
    }
  }

  void cancel_carrier(int& index) {
    if (index == kNone) return;
    Carrier& carrier = carriers[at(index)];
    if (carrier.activity != nullptr) carrier.activity->cancel();
    index = kNone;
  }

  // ---- processors ----

  double relative_speed(HostId host) const {
    const Host& h = platform.host(host);
    return h.power_states[at(hosts[at(host)].power_state)].speed_flop_per_s /
           h.power_states[0].speed_flop_per_s;
  }

  // Seconds in power state 0 that a running job does in a second.
  double rate(const Job& job) const {
    const double speed = relative_speed(job.host);
    return job.user == kNone ? speed : speed * hosts[at(job.host)].reservations.at(job.user).share;
  }

  int new_job() {
    if (free_jobs.empty()) {
      jobs.emplace_back();
      return static_cast<int>(jobs.size()) - 1;
    }
    const int index = free_jobs.back();
    free_jobs.pop_back();
    return index;
  }

  void compute(HostId host, std::span<const double> seconds, Tag tag, int user) {
    const int index = new_job();
    Job& job = jobs[at(index)];
    job.tag = tag;
    job.host = host;
    job.user = user;
    job.seconds = seconds;
    job.queued_s = job.started_s = now;
    job.running = false;
    job.batch.clear();
    job.carrier = kNone;
    HostState& state = hosts[at(host)];
    if (!state.on) {
      ++job.generation;
      push(now, tag, EventKind::kComputed, index, job.generation);  // fails when handled: the host is off
      return;
    }
    (user == kNone ? state.queue : state.reservations.at(user).queue).push_back(index);
    start_waiting(host);
  }

  // Gives a user's share of the processor to its next job.
  void start_reserved(HostId host) {
    for (auto& [user, reservation] : hosts[at(host)].reservations) {
      if (reservation.running != kNone || reservation.queue.empty()) continue;
      const int index = reservation.queue.front();
      reservation.queue.pop_front();
      start(index);
    }
  }

  // Gives free cores to waiting jobs.
  void start_waiting(HostId host) {
    HostState& state = hosts[at(host)];
    const Host& h = platform.host(host);
    if (state.on) start_reserved(host);
    while (state.on && !state.queue.empty()) {
      if (h.discipline == Discipline::kShared) {
        const int index = state.queue.front();
        state.queue.pop_front();
        start(index);
        continue;
      }
      if (state.busy_cores >= h.cores) return;
      if (h.discipline == Discipline::kBatch && !gather_batch(host)) return;
      const int index = state.queue.front();
      state.queue.pop_front();
      start(index);
    }
  }

  // Moves the jobs that may go with the first one behind it. Returns false while the batch may still wait.
  bool gather_batch(HostId host) {
    HostState& state = hosts[at(host)];
    const Host& h = platform.host(host);
    Job& leader = jobs[at(state.queue.front())];
    std::vector<int> same;
    for (const int index : state.queue) {
      if (index != state.queue.front() && jobs[at(index)].seconds.data() == leader.seconds.data())
        same.push_back(index);
      if (static_cast<int>(same.size()) + 1 >= h.max_batch) break;
    }
    const double deadline = leader.queued_s + h.max_wait_s;
    if (static_cast<int>(same.size()) + 1 < h.max_batch && now + tie_tolerance(now) < deadline) {
      if (!state.deadline_armed) {
        state.deadline_armed = true;
        push(deadline, leader.tag, EventKind::kBatchDeadline, host, 0);
      }
      return false;
    }
    std::erase_if(state.queue,
                  [&](int index) { return std::find(same.begin(), same.end(), index) != same.end(); });
    leader.batch = std::move(same);
    return true;
  }

  void start(int index) {
    Job& job = jobs[at(index)];
    HostState& state = hosts[at(job.host)];
    const Host& host = platform.host(job.host);
    meter(job.host);
    job.running = true;
    job.started_s = job.since = now;
    job.left_s = job.seconds[job.batch.size()];
    for (const int other : job.batch) jobs[at(other)].started_s = now;
    state.running.push_back(index);
    if (job.user == kNone) {
      ++state.busy_cores;
    } else {
      state.reservations.at(job.user).running = index;
    }
    watch_battery(job.host);
    ++job.generation;
    if (options.full_solver || (host.discipline == Discipline::kShared && job.user == kNone)) {
      compute_through_solver(index);
    } else {
      push(now + job.left_s / rate(job), job.tag, EventKind::kComputed, index, job.generation);
    }
  }

  // What is left of a job becomes a SimGrid execution.
  void compute_through_solver(int index) {
    Job& job = jobs[at(index)];
    const double speed_flop_per_s = platform.host(job.host).power_states[0].speed_flop_per_s;
    job.carrier = take_carrier();
    Carrier& carrier = carriers[at(job.carrier)];
    carrier.is_transfer = false;
    carrier.index = index;
    carrier.generation = job.generation;
    carrier.from = hosts[at(job.host)].host;
    carrier.flop = job.left_s * speed_flop_per_s;
    carrier.bound_flop_per_s = job.user == kNone ? 0 : rate(job) * speed_flop_per_s;
    launch(job.carrier);
  }

  // `before`: the rate until now.
  void retime_job(int index, double before) {
    Job& job = jobs[at(index)];
    job.left_s = std::max(0.0, job.left_s - (now - job.since) * before);
    job.since = now;
    ++job.generation;
    if (job.carrier == kNone) {
      push(now + job.left_s / rate(job), job.tag, EventKind::kComputed, index, job.generation);
    } else {
      cancel_carrier(job.carrier);
      compute_through_solver(index);
    }
  }

  void reserve(HostId host, int user, double share) {
    meter(host);
    Reservation& reservation = hosts[at(host)].reservations[user];
    if (reservation.share == share) return;
    const double before = reservation.running == kNone ? 0 : rate(jobs[at(reservation.running)]);
    reservation.share = share;
    watch_battery(host);
    if (reservation.running != kNone) retime_job(reservation.running, before);
  }

  void end_job(int index, double date, bool failed) {
    Job& job = jobs[at(index)];
    const HostId host = job.host;
    HostState& state = hosts[at(host)];
    std::vector<int> batch = std::move(job.batch);
    if (job.running) {
      meter(host);
      if (job.user == kNone) {
        --state.busy_cores;
      } else {
        state.reservations.at(job.user).running = kNone;
      }
      watch_battery(host);
      std::erase(state.running, index);
    } else {
      failed = true;
    }
    complete_job(index, date, failed);
    for (const int other : batch) {
      ++jobs[at(other)].generation;
      complete_job(other, date, failed);
    }
    start_waiting(host);
  }

  void complete_job(int index, double date, bool failed) {
    Job& job = jobs[at(index)];
    const Completion completion{job.tag, failed, job.queued_s, job.started_s, date};
    job.running = false;
    job.carrier = kNone;
    ++job.generation;
    free_jobs.push_back(index);
    handlers.computed(completion);
  }

  void set_power_state(HostId host, int power_state) {
    HostState& state = hosts[at(host)];
    meter(host);
    std::vector<double> before;
    for (const int index : state.running) before.push_back(rate(jobs[at(index)]));
    state.power_state = power_state;
    watch_battery(host);
    state.host->set_pstate(static_cast<unsigned long>(power_state));
    for (std::size_t i = 0; i < before.size(); ++i) {
      const Job& job = jobs[at(state.running[i])];
      // SimGrid re-times its own, but for those that it was given a bound for.
      if (job.carrier == kNone || job.user != kNone) retime_job(state.running[i], before[i]);
    }
  }

  void set_host_state(HostId host, bool on) {
    HostState& state = hosts[at(host)];
    if (state.on == on) return;
    meter(host);
    state.on = on;
    if (on) {
      state.host->turn_on();
      watch_battery(host);
      return;
    }
    // Everything on the host and everything to or from it fails now, in the order of the requests.
    std::vector<int> lost(state.queue.begin(), state.queue.end());
    for (auto& [user, reservation] : state.reservations) {
      lost.insert(lost.end(), reservation.queue.begin(), reservation.queue.end());
      reservation.queue.clear();
      reservation.running = kNone;
    }
    for (const int index : lost) jobs[at(index)].started_s = now;  // they only waited
    for (const int index : state.running) {
      lost.push_back(index);
      lost.insert(lost.end(), jobs[at(index)].batch.begin(), jobs[at(index)].batch.end());
      jobs[at(index)].batch.clear();
      ++jobs[at(index)].generation;
      cancel_carrier(jobs[at(index)].carrier);
    }
    state.queue.clear();
    state.running.clear();
    state.busy_cores = 0;
    for (const int index : lost) {
      Job& job = jobs[at(index)];
      job.running = false;
      ++job.generation;
      push(now, job.tag, EventKind::kComputed, index, job.generation);
    }
    fail_transfers([&](const Transfer& t) {
      return t.from == host || t.to == host || std::ranges::count(t.route->relays, host) > 0;
    });
    state.host->turn_off();
    watch_battery(host);
  }

  // ---- transfers ----

  int new_transfer() {
    if (free_transfers.empty()) {
      transfers.emplace_back();
      return static_cast<int>(transfers.size()) - 1;
    }
    const int index = free_transfers.back();
    free_transfers.pop_back();
    return index;
  }

  bool shares(LinkId id) const {
    return platform.link(id).sharing != Sharing::kFatpipe;
  }

  bool crosses_wifi(const Route& route) const {
    return links[at(route.links.front())].wifi || links[at(route.links.back())].wifi;
  }

  // What the fatpipes of a route allow.
  double lane_rate(const Route& route) const {
    double rate = kUnlimited;
    for (const LinkId id : route.links) {
      if (!shares(id)) rate = std::min(rate, links[at(id)].bandwidth);
    }
    return rate;
  }

  double timer_rate(const Route& route) const {
    double rate = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < route.links.size(); ++i)
      rate = std::min(rate,
                      links[at(route.links[i])].bandwidth / (route.weights.empty() ? 1 : route.weights[i]));
    return rate;
  }

  void transfer(const Route& route, HostId from, HostId to, double bytes, Tag tag) {
    const int index = new_transfer();
    bool alone = !options.full_solver && options.network == NetworkModel::kCm02;
    bool passable = hosts[at(from)].on && hosts[at(to)].on;
    for (const HostId relay : route.relays) passable = passable && hosts[at(relay)].on;
    for (const LinkId id : route.links) {
      passable = passable && links[at(id)].on;
      if (!shares(id)) continue;
      if (links[at(id)].users > 0) alone = false;
      if (links[at(id)].sole != kNone) move_to_solver(links[at(id)].sole);
    }
    Transfer& t = transfers[at(index)];
    t.tag = tag;
    t.route = &route;
    t.from = from;
    t.to = to;
    t.bytes = t.left_bytes = bytes;
    t.started_s = now;
    t.latency_end = t.since = now + route.latency_s;
    t.carrier = kNone;
    t.data_phase = false;
    t.active = passable;
    ++t.generation;
    if (!passable) {
      push(now, tag, EventKind::kTransferred, index, t.generation);  // fails when handled: it is not active
      return;
    }
    for (const LinkId id : route.links) {
      ++links[at(id)].users;
      if (alone && shares(id)) links[at(id)].sole = index;
    }
    if (has_radio(t)) {
      push(t.latency_end, tag, EventKind::kDataPhase, index, t.generation);
    }
    if (alone) {
      t.rate = timer_rate(route);
      push(t.latency_end + bytes / t.rate, tag, EventKind::kTransferred, index, t.generation);
    } else {
      send_through_solver(index);
    }
  }

  // Latency and bytes that are left become a SimGrid communication.
  void send_through_solver(int index) {
    Transfer& t = transfers[at(index)];
    t.carrier = take_carrier();
    Carrier& carrier = carriers[at(t.carrier)];
    carrier.is_transfer = true;
    carrier.index = index;
    carrier.generation = t.generation;
    carrier.from = hosts[at(t.from)].host;
    carrier.to = hosts[at(t.to)].host;
    carrier.units =
        std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::llround(t.left_bytes * kUnitsPerByte)));
    const double left_latency_s = t.latency_end - now;
    carrier.start.route = t.route;
    carrier.start.latency_factor =
        t.route->latency_s == 0 ? 1 : std::max(kLatencyAlreadyPaid, left_latency_s / t.route->latency_s);
    carrier.start.lane = nullptr;
    const double allowed = lane_rate(*t.route);
    if (allowed < kUnlimited || (crosses_wifi(*t.route) && t.route->links.size() > 1)) {
      if (carrier.lane == nullptr)
        carrier.lane = make_link(lanes, "lane " + std::to_string(t.carrier), allowed);
      carrier.lane->set_bandwidth(simgrid_rate(allowed));
      carrier.start.lane = carrier.lane;
    }
    launch(t.carrier);
    if (t.route->links.size() > 1 && t.route->latency_s > 0) {
      push(std::max(now, t.latency_end), t.tag, EventKind::kTouch, index, t.generation);
    }
  }

  // SimGrid 3.32's lazy solver forgets links: when a transfer's latency has passed it follows the transfer's
  // first link only, and not even that where the link already changed at this instant, so that the transfer
  // exceeds the others. Setting their bandwidth anew makes the solver look. A first link that nobody else
  // uses cannot have changed. Wi-Fi media come first and take no bandwidth: there the lane does it.
  void touch_route(const Transfer& t) {
    if (crosses_wifi(*t.route)) {
      carriers[at(t.carrier)].lane->set_bandwidth(simgrid_rate(lane_rate(*t.route)));
      return;
    }
    bool own_link = carriers[at(t.carrier)].start.lane != nullptr;
    for (const LinkId id : t.route->links) own_link = own_link || (shares(id) && links[at(id)].users == 1);
    if (own_link) return;
    for (const LinkId id : t.route->links)
      links[at(id)].link->set_bandwidth(simgrid_rate(links[at(id)].bandwidth));
  }

  void flow_until_now(Transfer& t) {
    if (now <= t.since) return;
    t.left_bytes = std::max(0.0, t.left_bytes - t.rate * (now - t.since));
    t.since = now;
  }

  void move_to_solver(int index) {
    Transfer& t = transfers[at(index)];
    flow_until_now(t);
    for (const LinkId id : t.route->links) {
      if (links[at(id)].sole == index) links[at(id)].sole = kNone;
    }
    // The timer that was set is void; a data phase still to come is announced anew.
    ++t.generation;
    if (!t.data_phase && has_radio(t)) {
      push(std::max(now, t.latency_end), t.tag, EventKind::kDataPhase, index, t.generation);
    }
    send_through_solver(index);
  }

  static bool crosses(const Transfer& t, LinkId id) {
    return std::find(t.route->links.begin(), t.route->links.end(), id) != t.route->links.end();
  }

  void leave_links(int index) {
    const Transfer& t = transfers[at(index)];
    for (const LinkId id : t.route->links) {
      --links[at(id)].users;
      if (links[at(id)].sole == index) links[at(id)].sole = kNone;
    }
  }

  void end_transfer(int index, double date, bool failed) {
    Transfer& t = transfers[at(index)];
    failed = failed || !t.active;
    if (t.active) {
      leave_links(index);
      if (!failed && !t.data_phase) radio_on(t);
      radio_off(t);
      t.active = false;
    }
    if (!failed) {
      for (const LinkId id : t.route->links) links[at(id)].bytes += t.bytes;
      for_radios(t, [&](HostId host, int sends, int receives) {
        const Radio& radio = platform.host(host).radio;
        draw_radio(host, t.bytes * (sends * radio.tx_j_per_byte + receives * radio.rx_j_per_byte));
      });
    }
    const Completion completion{t.tag, failed, t.started_s, t.started_s, date, t.route};
    ++t.generation;
    t.carrier = kNone;
    free_transfers.push_back(index);
    handlers.transferred(completion);
  }

  template <class Predicate>
  void fail_transfers(Predicate concerned) {
    for (int index = 0; index < static_cast<int>(transfers.size()); ++index) {
      Transfer& t = transfers[at(index)];
      if (!t.active || !concerned(t)) continue;
      leave_links(index);
      radio_off(t);
      t.active = false;
      ++t.generation;
      cancel_carrier(t.carrier);
      push(now, t.tag, EventKind::kTransferred, index, t.generation);
    }
  }

  void set_bandwidth(LinkId id, double bytes_per_s) {
    LinkState& link = links[at(id)];
    link.bandwidth = bytes_per_s;
    if (shares(id)) {
      link.link->set_bandwidth(simgrid_rate(bytes_per_s));
      if (link.sole != kNone) retime(link.sole);
      return;
    }
    for (int index = 0; index < static_cast<int>(transfers.size()); ++index) {
      const Transfer& t = transfers[at(index)];
      if (!t.active || !crosses(t, id)) continue;
      if (t.carrier == kNone) {
        retime(index);
      } else {
        carriers[at(t.carrier)].lane->set_bandwidth(simgrid_rate(lane_rate(*t.route)));
      }
    }
  }

  void retime(int index) {
    Transfer& t = transfers[at(index)];
    flow_until_now(t);
    t.rate = timer_rate(*t.route);
    ++t.generation;
    if (!t.data_phase && has_radio(t)) {
      push(std::max(now, t.latency_end), t.tag, EventKind::kDataPhase, index, t.generation);
    }
    push(std::max(now, t.since) + t.left_bytes / t.rate, t.tag, EventKind::kTransferred, index, t.generation);
  }

  void set_link_state(LinkId id, bool on) {
    LinkState& link = links[at(id)];
    if (link.on == on) return;
    link.on = on;
    if (!on) fail_transfers([&](const Transfer& t) { return crosses(t, id); });
  }

  // ---- changes ----

  void announce(const Change& change) {
    int index = static_cast<int>(changes.size());
    if (free_changes.empty()) {
      changes.push_back(change);
    } else {
      index = free_changes.back();
      free_changes.pop_back();
      changes[at(index)] = change;
    }
    push(std::max(change.date_s, now), tag_of(change.kind, change.target), EventKind::kChange, index, 0);
  }

  // Of the changes of one date, links and hosts come in their own order.
  static Tag tag_of(Change::Kind kind, int target) {
    return {kAfterAllRequests, static_cast<std::uint32_t>(kind) << 28 | static_cast<std::uint32_t>(target)};
  }

  void apply(const Change& change) {
    if (change.kind == Change::Kind::kHostState && is_empty(change.target)) return;
    switch (change.kind) {
      case Change::Kind::kBandwidth:
        set_bandwidth(change.target, change.value);
        break;
      case Change::Kind::kLinkState:
        set_link_state(change.target, change.value != 0);
        break;
      case Change::Kind::kHostState:
        set_host_state(change.target, change.value != 0);
        break;
      case Change::Kind::kPowerState:
        set_power_state(change.target, static_cast<int>(change.value));
        break;
      case Change::Kind::kFlightPower:
        meter(change.target);
        hosts[at(change.target)].flight_w = change.value;
        watch_battery(change.target);
        break;
    }
    handlers.changed(change);
  }

  // ---- meters ----

  void meter(HostId id) {
    HostState& state = hosts[at(id)];
    const double span = now - state.metered_to;
    if (span <= 0) return;
    const Power power = power_of(id);
    state.meter.energy_j += power.processor_w * span;
    if (!state.running.empty()) state.meter.busy_s += span;
    state.meter.radio_energy_j += power.radio_w * span;
    state.meter.flight_energy_j += power.flight_w * span;
    if (has_battery(id))
      state.meter.battery_j = std::max(0.0, state.meter.battery_j - power.total_w() * span);
    state.metered_to = now;
  }

  struct Power {
    double processor_w = 0, radio_w = 0, flight_w = 0;
    double total_w() const { return processor_w + radio_w + flight_w; }
  };

  // What a host draws now.
  Power power_of(HostId id) const {
    const HostState& state = hosts[at(id)];
    const Host& host = platform.host(id);
    if (is_empty(id)) return {};
    if (!state.on) return {.processor_w = host.off_w};
    const PowerState& power = host.power_states[at(state.power_state)];
    double cores = state.busy_cores;
    for (const auto& [user, reservation] : state.reservations) {
      if (reservation.running != kNone) cores += reservation.share;
    }
    const double load = std::min(1.0, cores / host.cores);
    const bool silent = state.sending == 0 && state.receiving == 0;
    return {.processor_w =
                load == 0 ? power.idle_w : power.epsilon_w + load * (power.all_cores_w - power.epsilon_w),
            .radio_w = silent ? host.radio.idle_w
                              : (state.sending > 0 ? host.radio.tx_w : 0) +
                                    (state.receiving > 0 ? host.radio.rx_w : 0),
            .flight_w = state.flight_w};
  }

  // Of a battery that cannot give all of it, what it has left.
  void draw_radio(HostId id, double joule) {
    if (joule == 0) return;
    HostMeter& meters = hosts[at(id)].meter;
    if (has_battery(id)) {
      meter(id);
      joule = std::min(joule, meters.battery_j);
      meters.battery_j -= joule;
    }
    meters.radio_energy_j += joule;
    watch_battery(id);
  }

  // ---- batteries ----

  bool has_battery(HostId id) const {
    return hosts[at(id)].meter.battery_j != kForever;
  }
  bool is_empty(HostId id) const {
    return hosts[at(id)].meter.emptied_s != kForever;
  }

  double empties_s(HostId id) const {
    const double left_j = hosts[at(id)].meter.battery_j;
    return left_j == 0 ? now : now + left_j / power_of(id).total_w();
  }

  // After every change of what a host draws. An event that comes too early looks again, so that a power that
  // goes up and down leaves no trail of events.
  void watch_battery(HostId id) {
    HostState& state = hosts[at(id)];
    if (!has_battery(id) || is_empty(id)) return;
    const double date = empties_s(id);
    if (date >= state.looks_s) return;
    state.looks_s = date;
    push(date, tag_of(Change::Kind::kHostState, id), EventKind::kBattery, id, ++state.looks);
  }

  void look_at_battery(HostId id) {
    HostState& state = hosts[at(id)];
    state.looks_s = kForever;
    meter(id);
    if (empties_s(id) > now + tie_tolerance(now)) return watch_battery(id);
    state.meter.battery_j = 0;
    state.meter.emptied_s = now;
    const bool was_on = state.on;
    set_host_state(id, false);
    if (was_on) handlers.changed({now, Change::Kind::kHostState, id, 0});
  }

  // The hosts whose radios a transfer takes: (host, sends, receives).
  template <class Visit>
  void for_radios(const Transfer& t, Visit visit) const {
    visit(t.from, 1, 0);
    for (const HostId relay : t.route->relays) visit(relay, 1, 1);
    visit(t.to, 0, 1);
  }

  bool has_radio(const Transfer& t) const {
    bool any = false;
    for_radios(t, [&](HostId host, int, int) { any = any || platform.host(host).has_radio; });
    return any;
  }

  void radio_on(Transfer& t) {
    switch_radios(t, true);
  }
  void radio_off(Transfer& t) {
    switch_radios(t, false);
  }
  void switch_radios(Transfer& t, bool on) {
    if (t.data_phase == on) return;
    t.data_phase = on;
    const int sign = on ? 1 : -1;
    for_radios(t, [&](HostId host, int sends, int receives) {
      meter(host);
      hosts[at(host)].sending += sign * sends;
      hosts[at(host)].receiving += sign * receives;
      watch_battery(host);
    });
  }

  // ---- end ----

  // SimGrid's loop ends once there is no timer and no actor.
  void finish() {
    events = {};
    if (timer != nullptr) {
      timer->remove();
      timer = nullptr;
    }
    for (Carrier& carrier : carriers) carrier.actor->kill();
    finished = true;
    if (dispatcher != nullptr && !dispatching) dispatcher->kill();
  }
};

Engine::Engine(const Platform& platform, const EngineOptions& options, Handlers handlers)
    : impl_(std::make_unique<Impl>(platform, options, std::move(handlers))) {}
Engine::~Engine() = default;

double Engine::now() const {
  return impl_->now;
}

void Engine::at(double date_s, Tag tag) {
  impl_->push(std::max(date_s, impl_->now), tag, EventKind::kTimer, 0, 0);
}

void Engine::apply_at(const Change& change) {
  impl_->announce(change);
}

void Engine::compute(HostId host, std::span<const double> seconds, Tag tag) {
  impl_->compute(host, seconds, tag, kNone);
}

void Engine::reserve(HostId host, int user, double share) {
  impl_->reserve(host, user, share);
}

void Engine::compute_reserved(HostId host, std::span<const double> seconds, Tag tag, int user) {
  impl_->compute(host, seconds, tag, user);
}

void Engine::transfer(const Route& route, HostId from, HostId to, double bytes, Tag tag) {
  impl_->transfer(route, from, to, bytes, tag);
}

double Engine::bandwidth_bytes_per_s(LinkId link) const {
  return impl_->links[Impl::at(link)].bandwidth;
}
bool Engine::link_on(LinkId link) const {
  return impl_->links[Impl::at(link)].on;
}
bool Engine::host_on(HostId host) const {
  return impl_->hosts[Impl::at(host)].on;
}

int Engine::queue_length(HostId host) const {
  const HostState& state = impl_->hosts[Impl::at(host)];
  std::size_t n = state.queue.size() + state.running.size();
  for (const int index : state.running) n += impl_->jobs[Impl::at(index)].batch.size();
  for (const auto& [user, reservation] : state.reservations) n += reservation.queue.size();
  return static_cast<int>(n);
}

const HostMeter& Engine::meter(HostId host) {
  impl_->meter(host);
  return impl_->hosts[Impl::at(host)].meter;
}

double Engine::link_bytes(LinkId link) const {
  return impl_->links[Impl::at(link)].bytes;
}

void Engine::reset_meters() {
  for (HostId id = 0; id < impl_->platform.host_count(); ++id) {
    impl_->meter(id);
    HostMeter& meter = impl_->hosts[Impl::at(id)].meter;
    meter = {.battery_j = meter.battery_j, .emptied_s = meter.emptied_s};
  }
  for (LinkState& link : impl_->links) link.bytes = 0;
}

double Engine::plugin_energy_j(HostId host) const {
  return sg_host_get_consumed_energy(impl_->hosts[Impl::at(host)].host);
}

void Engine::run() {
  impl_->simgrid->run();
}

void Engine::stop() {
  impl_->stopped = true;
}

}  // namespace cdisim
