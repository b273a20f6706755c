// task_stream_inference: exit and partition point of each request of a stream, so that as many as possible
// are answered in time, as accurately as possible.
//
// As in Edgent, layers before partition point p run on the EDGE host, layers from p on on the device (the
// source); p counts from 1: p = 1 is the device alone, p = N + 1 the edge alone. But requests that follow one
// another meet: Edgent's A(i, p) becomes four stages, and each may have to wait for the requests before,
//
//     upload (Input / B), edge (sum_{j < p} ES_j), download (D_{p-1} / B), device (sum_{k >= p} ED_k)
//
// A host is one processor, first come, first served. Transfers begin at once: those that use a link at the
// same time share its bandwidth B equally, in both directions where the routes to the edge host and back have
// a link in common (but fatpipes: there nobody shares). p = 1 has the fourth stage only, p = N + 1 returns
// the result in the third. The policy keeps account of where its own requests are from its own decisions; it
// knows nothing of other sources' requests, and does not use batches or several cores; bandwidths are those
// at the start. A request is worth the accuracy of its exit if it is in time, else nothing. Where the model
// has an exit of unknown accuracy, all count as 1: requests in time.
//
// Decisions that demand no less of each stage than another, and are no more accurate, are left out, and so
// are those that could not be in time even alone (of them only the device alone and the edge alone of least
// work are kept, to give a request up with).
//
// Mode "offline" knows all arrivals and finds the decisions of greatest total worth by dynamic programming
// over the requests. A state at an arrival is when device and edge will be free, how far each transfer has
// got, and the worth so far. When a request arrives it is decided whether it goes to the device alone; if not
// its exit and p are decided when its upload has ended, since nothing depends on them before. A state is
// dropped for another where device and edge are free no later and no more requests are on the way, each no
// further behind, and which has so much more worth that what the requests on the way can still earn does not
// matter. That is exact as long as nobody overtakes at a stage: where only whole exits, on the device or on
// the edge, can be in time, and the way back takes no bytes. Otherwise it is a heuristic (an upload that is
// absent can let another request come to the device before a third); partitions that the edge alone or
// another partition beats but for 1 % of the deadline at each stage are then left out. At most `states`
// states are kept, those of greatest worth; the plan's decision shows whether that was enough. Where link and
// edge host are overloaded they are many. Arrivals that nobody knows (closed loops) are decided as in mode
// "greedy".
//
// Mode "online" does not know them. Before the run it plays `episodes` streams of 100 requests on the stages
// above, every other one periodic, the others Poisson, of mean gap 0.4 to 4 times (in equal ratios) what edge
// and device together can serve, and learns by Q-learning (discount 0.8, rate n^-0.8, exploration from 1 down
// to 0.05; all this is assumed). Its state: the predicted latency of the edge alone in eighths of the
// deadline, the number of requests on the way (0 to 4), whether the device alone would be in time at once,
// after waiting, or not, and the mean gap of the arrivals so far, newer ones weighing more (1/5). Its
// actions: a deepest exit i for the edge, where the request then gets the deepest exit up to i that is
// predicted to be in time, at its fastest p > 1; or the device alone. The reward is the request's worth. In
// the run it takes the best action. With `network` a network that was trained beforehand on TaskStream-v0
// decides instead (see policies/shared/edge_offload.h), which also sees bandwidths change.
//
// Mode "greedy" is Edgent with the queues of the moment: the deepest exit that is predicted to be in time if
// nobody comes after, at its fastest p; where there is none, the fastest exit and p.
//
//     parameter | type    | default   | meaning
//     ----------|---------|-----------|---------------------------------------------------------------------
//     mode      | string  | "offline" | "offline", "online" or "greedy"
//     server    | string  | ""        | edge host; empty: of the reachable ones of tier edge the fastest for
//               |         |           | the whole deepest exit
//     network   | string  | ""        | online: a trained network, as of policy rl; empty: learn at the start
//     episodes  | integer | 1000      | online: streams to learn from, from 1
//     states    | integer | 1000      | offline: most states kept at one date, from 1
//
//     {"name": "task_stream_inference", "mode": "online", "episodes": 300}
//
// Plan's decision, for the latest request: exit (from 1), partition_point (p); mode offline also, for the
// whole stream, predicted_accuracy (mean worth, as accuracy_in_time) and states (the most at one date: below
// the parameter, none was given up).
//
// Source: Song et al., "Adaptive and Collaborative Edge Inference in Task Stream with Latency Constraint",
// IEEE ICC 2021, as the survey describes it: an offline dynamic programming and an online reinforcement
// learning algorithm on top of Edgent that select exit and partition point in a task stream. The paper's
// states, network and rewards were not available; the above is our reading.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "policies/shared/chain.h"
#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "policies/shared/offload_agent.h"
#include "policies/shared/q_learning.h"
#include "sim/policy.h"
#include "sim/random.h"

namespace cdisim {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr int kUndecided = -1;
constexpr double kNearly = 0.01;

// An exit and a partition point, and what they ask of the stages (s, transfers without latency at the full
// bandwidth).
struct Action {
  int exit = 0;
  int layers_on_edge = 0;  // p - 1
  bool whole = false;      // all of them
  double edge_s = 0, download_s = 0, device_s = 0;
  double accuracy = 0;

  bool uploads() const { return layers_on_edge > 0; }
};

struct Channel {
  double latency_s = 0;
  bool shared = false;
  double bytes_per_s = 0;
};

enum class At { kUplinkLatency, kUplink, kEdge, kDownlinkLatency, kDownlink };

// A request between its arrival and the device, or its end.
struct Moving {
  int request = 0;
  int action = kUndecided;
  At at = At::kUplinkLatency;
  double date_s = 0;  // end of a latency or of the edge's work
  double left_s = 0;  // of a transfer, at the full bandwidth
};

struct State {
  double now_s = 0;
  double edge_free_s = 0, device_free_s = 0;
  std::vector<Moving> moving;  // by request
};

// What of the platform and the model does not change in a run.
class Stages {
 public:
  Stages(const Problem& problem, HostId server);

  const std::vector<Action>& actions() const { return actions_; }
  const Action& action(int index) const { return actions_[static_cast<std::size_t>(index)]; }
  double deadline_s() const { return deadline_s_; }
  double upload_s() const { return upload_s_; }
  bool in_time(double arrival_s, double end_s) const { return end_s - arrival_s <= deadline_s_; }

  /// A request arrives now, and stays on the device or begins its upload. `settled(request, action, end_s)`
  /// is called as soon as a request's end is certain.
  template <class Settled>
  void to_device(State& state, int request, int action, const Settled& settled) const {
    state.device_free_s = std::max(state.device_free_s, state.now_s) + this->action(action).device_s;
    settled(request, action, state.device_free_s);
  }
  void to_edge(State& state, int request, int action) const {
    state.moving.push_back({request, action, At::kUplinkLatency, state.now_s + up_.latency_s, upload_s_});
  }
  template <class Settled>
  void send(State& state, int request, int action, const Settled& settled) const {
    if (this->action(action).uploads()) {
      to_edge(state, request, action);
    } else {
      to_device(state, request, action, settled);
    }
  }

  /// Lets time pass. Stops where the upload of an undecided request ends, and returns its place.
  template <class Settled>
  std::optional<std::size_t> run(State& state, double until_s, const Settled& settled) const {
    for (;;) {
      const double up = share(state, At::kUplink, up_), down = share(state, At::kDownlink, down_);
      std::optional<std::size_t> next;
      double date_s = until_s;
      for (std::size_t i = 0; i < state.moving.size(); ++i) {
        const Moving& m = state.moving[i];
        const double rate = m.at == At::kUplink ? up : down;
        const double end_s =
            m.at == At::kUplink || m.at == At::kDownlink ? state.now_s + m.left_s / rate : m.date_s;
        if (end_s < date_s || (!next && end_s <= date_s)) {
          date_s = end_s;
          next = i;
        }
      }
      for (Moving& m : state.moving) {
        if (m.at == At::kUplink) m.left_s = std::max(0.0, m.left_s - (date_s - state.now_s) * up);
        if (m.at == At::kDownlink) m.left_s = std::max(0.0, m.left_s - (date_s - state.now_s) * down);
      }
      state.now_s = date_s;
      if (!next) return std::nullopt;
      Moving& m = state.moving[*next];
      switch (m.at) {
        case At::kUplinkLatency:
          m.at = At::kUplink;
          break;
        case At::kUplink:
          m.left_s = 0;
          if (m.action == kUndecided) return next;
          enter_edge(state, *next, m.action, settled);
          break;
        case At::kEdge:
          m.at = At::kDownlinkLatency;
          m.date_s = state.now_s + down_.latency_s;
          break;
        case At::kDownlinkLatency:
          m.at = At::kDownlink;
          m.left_s = action(m.action).download_s;
          break;
        case At::kDownlink: {
          const Moving done = m;
          erase(state, *next);
          if (action(done.action).whole) {
            settled(done.request, done.action, state.now_s);
          } else {
            to_device(state, done.request, done.action, settled);
          }
          break;
        }
      }
    }
  }

  /// The upload at `place` of state.moving has ended.
  template <class Settled>
  void enter_edge(State& state, std::size_t place, int action, const Settled& settled) const {
    Moving& m = state.moving[place];
    const Action& a = this->action(action);
    state.edge_free_s = std::max(state.edge_free_s, state.now_s) + a.edge_s;
    if (a.whole && a.download_s == 0) {
      const int request = m.request;
      erase(state, place);
      settled(request, action, state.edge_free_s + down_.latency_s);
      return;
    }
    m.action = action;
    m.at = At::kEdge;
    m.date_s = state.edge_free_s;
  }

  /// (n_actions) when a request that arrives now would end if nobody came after.
  std::vector<double> ends(const State& state) const;

 private:
  double share(const State& state, At at, const Channel& channel) const {
    if (!channel.shared) return 1;
    const auto flows = std::ranges::count_if(state.moving, [&](const Moving& m) {
      return m.at == at || (one_link_ && (m.at == At::kUplink || m.at == At::kDownlink));
    });
    return 1 / static_cast<double>(std::max<std::ptrdiff_t>(flows, 1));
  }
  static void erase(State& state, std::size_t place) {
    state.moving.erase(state.moving.begin() + static_cast<std::ptrdiff_t>(place));
  }
  void add_exit(const Problem& problem, int exit, HostId server, bool accuracies_known);
  void keep_useful();

  Channel up_, down_;
  bool one_link_ = false;  // that both directions share
  double upload_s_ = 0;
  double deadline_s_ = 0;
  std::vector<Action> actions_;
};

Channel channel(const Problem& problem, HostId from, HostId to) {
  const Route& route = *problem.platform.route(from, to);
  const bool shared = std::ranges::any_of(
      route.links, [&](LinkId link) { return problem.platform.link(link).sharing != Sharing::kFatpipe; });
  return {route.latency_s, shared, bottleneck_bytes_per_s(problem, from, to)};
}

Stages::Stages(const Problem& problem, HostId server)
    : up_(channel(problem, problem.source, server)),
      down_(channel(problem, server, problem.source)),
      upload_s_(input_bytes(problem) / up_.bytes_per_s),
      deadline_s_(problem.deadline_s) {
  const std::vector<LinkId>& back = problem.platform.route(server, problem.source)->links;
  for (const LinkId link : problem.platform.route(problem.source, server)->links) {
    const bool both = std::ranges::find(back, link) != back.end();
    one_link_ = one_link_ || (both && problem.platform.link(link).sharing != Sharing::kFatpipe);
  }
  const bool accuracies_known =
      std::ranges::all_of(problem.graph.exits(), [](const Exit& exit) { return exit.accuracy.has_value(); });
  for (int exit = 0; exit <= deepest_exit(problem); ++exit) add_exit(problem, exit, server, accuracies_known);
  keep_useful();
}

void Stages::add_exit(const Problem& problem, int exit, HostId server, bool accuracies_known) {
  const std::span<const LayerId> layers = problem.graph.exit_layers(exit);
  const int n = static_cast<int>(layers.size());
  const PieceTimes on_edge = piece_times(problem, layers, server),
                   on_device = piece_times(problem, layers, problem.source);
  const std::vector<double> crossing = crossing_bytes(problem, exit);
  double edge_s = on_edge.run_s, device_s = on_device.run_s;
  for (const double layer_s : on_device.layer_s) device_s += layer_s;
  for (int k = 0; k <= n; ++k) {
    const auto at = static_cast<std::size_t>(k);
    if (k > 0) {
      edge_s += on_edge.layer_s[at - 1];
      device_s -= on_device.layer_s[at - 1];
    }
    Action action{.exit = exit, .layers_on_edge = k, .whole = k == n};
    if (k > 0) {
      action.edge_s = edge_s;
      action.download_s = (k == n ? result_bytes(problem, exit) : crossing[at]) / down_.bytes_per_s;
    }
    if (k < n) action.device_s = device_s;
    action.accuracy = accuracies_known ? *problem.graph.exits()[static_cast<std::size_t>(exit)].accuracy : 1;
    actions_.push_back(action);
  }
}

void Stages::keep_useful() {
  const auto alone_s = [&](const Action& a) {
    if (!a.uploads()) return a.device_s;
    return up_.latency_s + upload_s_ + a.edge_s + down_.latency_s + a.download_s + a.device_s;
  };
  const auto dominates = [](const Action& a, const Action& b) {
    return a.uploads() == b.uploads() && a.edge_s <= b.edge_s && a.download_s <= b.download_s &&
           a.device_s <= b.device_s && a.accuracy >= b.accuracy;
  };
  std::vector<Action> kept;
  const auto keep = [&](const Action& a) {
    if (std::ranges::any_of(kept, [&](const Action& other) { return dominates(other, a); })) return;
    std::erase_if(kept, [&](const Action& other) { return dominates(a, other); });
    kept.push_back(a);
  };
  for (const Action& a : actions_) {
    if (alone_s(a) <= deadline_s_) keep(a);
  }
  for (const bool uploads : {false, true}) {
    const Action* least = nullptr;
    for (const Action& a : actions_) {
      if (a.uploads() != uploads || (uploads && !a.whole)) continue;
      if (least == nullptr || alone_s(a) < alone_s(*least)) least = &a;
    }
    keep(*least);
  }
  std::ranges::sort(kept, {}, [](const Action& a) { return std::pair(a.exit, a.layers_on_edge); });
  actions_ = std::move(kept);
}

std::vector<double> Stages::ends(const State& state) const {
  std::vector<double> out(actions_.size(), kNever);
  const auto ignore = [](int, int, double) {};
  constexpr int kThis = std::numeric_limits<int>::max();
  State uploaded = state;
  to_edge(uploaded, kThis, kUndecided);
  const std::size_t place = *run(uploaded, kNever, ignore);
  for (std::size_t a = 0; a < actions_.size(); ++a) {
    const auto note = [&](int request, int, double end_s) {
      if (request == kThis) out[a] = end_s;
    };
    State later = uploaded;
    if (actions_[a].uploads()) {
      enter_edge(later, place, static_cast<int>(a), note);
      if (out[a] == kNever) run(later, kNever, note);
    } else {
      later.now_s = state.now_s;
      later.device_free_s = state.device_free_s;
      to_device(later, kThis, static_cast<int>(a), note);
    }
  }
  return out;
}

// Of the actions that `allowed` admits, the one of the most accurate exit that is in time, the first to end;
// where none is in time, the first to end.
template <class Allowed>
int myopic(const Stages& stages, double arrival_s, const std::vector<double>& ends, const Allowed& allowed) {
  int best = kUndecided;
  double best_worth = 0;
  for (std::size_t a = 0; a < ends.size(); ++a) {
    const Action& action = stages.actions()[a];
    if (!allowed(action)) continue;
    const double worth = stages.in_time(arrival_s, ends[a]) ? action.accuracy : 0;
    if (best == kUndecided || worth > best_worth ||
        (worth == best_worth && ends[a] < ends[static_cast<std::size_t>(best)])) {
      best = static_cast<int>(a);
      best_worth = worth;
    }
  }
  return best;
}

// ---- offline ----

class Offline {
 private:
  struct Choice {
    int request = 0, action = 0;
    int before = -1;  // in choices_
  };
  struct Label {
    State state;
    double worth = 0;
    int last = -1;          // in choices_
    std::size_t place = 0;  // of the upload that has just ended, see Stages::run()
    // Of undominated().
    double edge_from_s = 0, device_from_s = 0;
    std::vector<double> at_most;  // (n_moving)
  };

  auto settled(Label& label) const {
    return [this, &label](int request, int action, double end_s) {
      if (stages_.in_time(arrivals_s_[static_cast<std::size_t>(request)], end_s))
        label.worth += stages_.action(action).accuracy;
    };
  }

 public:
  /// `most_states`: at one date.
  Offline(const Stages& stages, std::span<const double> arrivals_s, int most_states)
      : stages_(stages), arrivals_s_(arrivals_s), most_states_(static_cast<std::size_t>(most_states)) {
    const int n = static_cast<int>(stages.actions().size());
    for (int a = 0; a < n; ++a) {
      const Action& action = stages.action(a);
      if (!action.uploads()) on_device_.push_back(a);
      if (action.whole) on_edge_.push_back(a);
    }
    for (int a = 0; a < n; ++a) {
      if (stages.action(a).uploads() && !stages.action(a).whole && !is_nearly_known(a)) on_edge_.push_back(a);
    }
    for (const int a : on_edge_) least_edge_s_ = std::min(least_edge_s_, stages.action(a).edge_s);
    for (const std::vector<int>* actions : {&on_edge_, &on_device_}) {
      for (const int a : *actions) {
        if (!stages.action(a).whole) least_device_s_ = std::min(least_device_s_, stages.action(a).device_s);
      }
    }
  }

  struct Result {
    std::vector<int> actions;  // (n_requests)
    double worth = 0;          // in all
    std::size_t states = 1;    // most at one date
  };

  Result solve() {
    Result result;
    std::vector<Label> labels(1);
    for (int n = 0; n < static_cast<int>(arrivals_s_.size()); ++n) {
      std::vector<Label> next;
      for (Label& label : labels) pass(std::move(label), arrivals_s_[static_cast<std::size_t>(n)], next);
      labels = undominated(std::move(next));
      next.clear();
      for (const Label& label : labels) {
        next.push_back(label);
        stages_.to_edge(next.back().state, n, kUndecided);
        for (const int action : on_device_) {
          next.push_back(label);
          choose(next.back(), n, action);
          stages_.to_device(next.back().state, n, action, settled(next.back()));
        }
      }
      labels = std::move(next);
    }
    std::vector<Label> ended;
    for (Label& label : labels) pass(std::move(label), kNever, ended);
    const Label& best = *std::ranges::max_element(ended, {}, &Label::worth);
    result.worth = best.worth;
    result.states = kept_;
    result.actions.resize(arrivals_s_.size());
    for (int at = best.last; at >= 0; at = choices_[static_cast<std::size_t>(at)].before) {
      const Choice& choice = choices_[static_cast<std::size_t>(at)];
      result.actions[static_cast<std::size_t>(choice.request)] = choice.action;
    }
    return result;
  }

 private:
  void choose(Label& label, int request, int action) {
    choices_.push_back({request, action, label.last});
    label.last = static_cast<int>(choices_.size()) - 1;
  }

  // Whether some decision for the edge demands as little but for kNearly.
  bool is_nearly_known(int action) const {
    const Action& a = stages_.action(action);
    const double slack_s = kNearly * stages_.deadline_s();
    return std::ranges::any_of(on_edge_, [&](int other) {
      const Action& b = stages_.action(other);
      return b.accuracy >= a.accuracy && b.edge_s <= a.edge_s + slack_s &&
             b.download_s <= a.download_s + slack_s && b.device_s <= a.device_s + slack_s;
    });
  }

  // Until a date, with every decision that falls due.
  void pass(Label label, double until_s, std::vector<Label>& out) {
    std::vector<Label> labels;
    labels.push_back(std::move(label));
    while (!labels.empty()) {
      std::vector<Label> stopped;
      for (Label& one : labels) {
        const std::optional<std::size_t> place = stages_.run(one.state, until_s, settled(one));
        one.place = place.value_or(0);
        (place ? stopped : out).push_back(std::move(one));
      }
      labels.clear();
      for (const Label& one : undominated(std::move(stopped))) {
        const int request = one.state.moving[one.place].request;
        for (const int action : on_edge_) {
          labels.push_back(one);
          choose(labels.back(), request, action);
          stages_.enter_edge(labels.back().state, one.place, action, settled(labels.back()));
        }
      }
    }
  }

  // When a host is free: from now on, and never where that is too late for everybody.
  double free_from(double free_s, double least_s, double now_s) const {
    return stages_.in_time(arrivals_s_.back(), free_s + least_s) ? std::max(free_s, now_s) : kNever;
  }

  double arrival_s(const Moving& m) const { return arrivals_s_[static_cast<std::size_t>(m.request)]; }

  // What a request on the way may still be worth.
  double at_most(const State& state, const Moving& m) const {
    if (m.action != kUndecided) return stages_.action(m.action).accuracy;
    double edge_s = m.at == At::kUplinkLatency ? m.date_s + stages_.upload_s() : state.now_s + m.left_s;
    edge_s = std::max(edge_s, state.edge_free_s);
    double most = 0;
    for (const int a : on_edge_) {
      const Action& action = stages_.action(a);
      const double end_s = edge_s + action.edge_s + action.download_s + action.device_s;
      if (stages_.in_time(arrival_s(m), end_s)) most = std::max(most, action.accuracy);
    }
    return most;
  }

  // Whether label `a` need fear nothing from `b`: requests on the way are compared from the newest on, each
  // of a's with one of b's that is not ahead of it.
  bool dominates(const Label& a, const Label& b) const {
    double ahead = a.worth - b.worth;
    const double now_s = a.state.now_s;
    if (ahead < 0 || now_s != b.state.now_s || a.state.moving.size() > b.state.moving.size() ||
        a.edge_from_s > b.edge_from_s || a.device_from_s > b.device_from_s) {
      return false;
    }
    auto x = a.state.moving.rbegin();
    for (auto y = b.state.moving.rbegin(); y != b.state.moving.rend() && ahead >= 0; ++y) {
      const double most = b.at_most[static_cast<std::size_t>(y.base() - b.state.moving.begin() - 1)];
      if (x == a.state.moving.rend()) {
        ahead -= most;
        continue;
      }
      const bool decided = y->action != kUndecided;
      if (x->at != y->at || x->left_s > y->left_s || (x->action != kUndecided) != decided ||
          (x->at == At::kEdge ? x->date_s > y->date_s
                              : x->at != At::kUplink && x->at != At::kDownlink && x->date_s != y->date_s)) {
        return false;
      }
      double loss = arrival_s(*x) < arrival_s(*y) ? most : 0;
      if (decided) {
        const Action &of_x = stages_.action(x->action), &of_y = stages_.action(y->action);
        if (of_x.download_s > of_y.download_s || of_x.device_s > of_y.device_s) return false;
        loss = std::max(loss, most - of_x.accuracy);
      }
      ahead -= loss;
      ++x;
    }
    return ahead >= 0;
  }

  std::vector<Label> undominated(std::vector<Label> labels) {
    for (Label& label : labels) {
      const State& state = label.state;
      label.edge_from_s = free_from(state.edge_free_s, least_edge_s_, state.now_s);
      label.device_from_s = free_from(state.device_free_s, least_device_s_, state.now_s);
      label.at_most.clear();
      for (const Moving& m : state.moving) label.at_most.push_back(at_most(state, m));
    }
    std::ranges::stable_sort(labels, std::ranges::greater(), &Label::worth);
    std::vector<Label> kept;
    for (Label& label : labels) {
      if (kept.size() == most_states_) break;
      const bool dropped =
          std::ranges::any_of(kept, [&](const Label& other) { return dominates(other, label); });
      if (!dropped) kept.push_back(std::move(label));
    }
    kept_ = std::max(kept_, kept.size());
    return kept;
  }

  const Stages& stages_;
  std::span<const double> arrivals_s_;
  std::vector<int> on_edge_, on_device_;
  std::size_t most_states_, kept_ = 0;  // allowed, and the most there were
  double least_edge_s_ = kNever, least_device_s_ = kNever;
  std::vector<Choice> choices_;
};

// ---- online ----

// What the learner sees and may do.
class Learner {
 public:
  Learner(const Stages& stages, std::uint64_t seed, int episodes) : stages_(stages), q_(table(seed)) {
    Random random(seed);
    const double least_gap_s = 0.4 * capacity_gap_s_, ratio = 10;
    for (int e = 0; e < episodes; ++e) {
      const double mean_s = least_gap_s * std::pow(ratio, random.uniform());
      const double exploration = std::max(0.05, 1 - 1.5 * e / episodes);
      play(random, mean_s, e % 2 == 0, exploration);
    }
  }

  /// An arrival, `gap_s` after the one before.
  void arrived(double gap_s) { mean_gap_s_ += kWeight * (gap_s - mean_gap_s_); }
  int act(const State& state) const {
    const std::vector<double> ends = stages_.ends(state);
    return action_of(q_.best(situation(state, ends)), state.now_s, ends);
  }

 private:
  static constexpr int kEighths = 9, kOnTheWay = 5, kDevice = 3, kGaps = 4;
  static constexpr double kWeight = 0.2;

  QLearning table(std::uint64_t seed) {
    double device_s = kNever, edge_s = kNever;
    for (const Action& a : stages_.actions()) {
      if (!a.uploads()) {
        if (a.device_s < device_s) shortest_on_device_ = static_cast<int>(&a - stages_.actions().data());
        device_s = std::min(device_s, a.device_s);
        continue;
      }
      if (a.edge_s < edge_s) shortest_on_edge_ = static_cast<int>(&a - stages_.actions().data());
      edge_s = std::min(edge_s, a.edge_s);
      if (limits_.empty() || limits_.back() != a.exit) limits_.push_back(a.exit);
    }
    const double per_s =
        1 / std::max(stages_.upload_s(), edge_s) + (device_s <= stages_.deadline_s() ? 1 / device_s : 0);
    capacity_gap_s_ = mean_gap_s_ = 1 / per_s;
    return {kEighths * kOnTheWay * kDevice * kGaps,
            static_cast<int>(limits_.size()) + 1,
            {.discount = 0.8, .decay = 0.8},
            seed};
  }

  int situation(const State& state, const std::vector<double>& ends) const {
    const double edge_s = ends[static_cast<std::size_t>(shortest_on_edge_)] - state.now_s;
    const double device_s = ends[static_cast<std::size_t>(shortest_on_device_)] - state.now_s;
    const int eighths = static_cast<int>(std::min(8 * edge_s / stages_.deadline_s(), kEighths - 1.0));
    const int on_the_way = std::min(static_cast<int>(state.moving.size()), kOnTheWay - 1);
    const int device = device_s > stages_.deadline_s() ? 2 : state.device_free_s > state.now_s ? 1 : 0;
    const double load = mean_gap_s_ / capacity_gap_s_;
    const int gap = load < 0.7 ? 0 : load < 1 ? 1 : load < 1.5 ? 2 : 3;
    return ((eighths * kOnTheWay + on_the_way) * kDevice + device) * kGaps + gap;
  }

  // The last one is the device.
  int action_of(int choice, double now_s, const std::vector<double>& ends) const {
    const auto limit = static_cast<std::size_t>(choice);
    return myopic(stages_, now_s, ends, [&](const Action& a) {
      return limit == limits_.size() ? !a.uploads() : a.uploads() && a.exit <= limits_[limit];
    });
  }

  void play(Random& random, double mean_s, bool periodic, double exploration) {
    constexpr int kRequests = 100;
    State state;
    std::vector<int> situations, choices;
    std::vector<double> arrivals_s, worth(kRequests, 0);
    const auto settled = [&](int request, int action, double end_s) {
      const auto r = static_cast<std::size_t>(request);
      if (stages_.in_time(arrivals_s[r], end_s)) worth[r] = stages_.action(action).accuracy;
    };
    mean_gap_s_ = mean_s;
    for (int n = 0; n < kRequests; ++n) {
      if (n > 0) {
        const double gap_s = periodic ? mean_s : random.exponential(mean_s);
        arrived(gap_s);
        stages_.run(state, state.now_s + gap_s, settled);
      }
      arrivals_s.push_back(state.now_s);
      const std::vector<double> ends = stages_.ends(state);
      situations.push_back(situation(state, ends));
      choices.push_back(q_.explore(situations.back(), exploration));
      stages_.send(state, n, action_of(choices.back(), state.now_s, ends), settled);
    }
    stages_.run(state, kNever, settled);
    for (std::size_t n = kRequests; n-- > 0;) {
      q_.update(situations[n], choices[n], worth[n], n + 1 < kRequests ? situations[n + 1] : QLearning::kEnd);
    }
    mean_gap_s_ = capacity_gap_s_;
  }

  const Stages& stages_;
  std::vector<int> limits_;  // exits that the edge may stop at
  int shortest_on_device_ = 0, shortest_on_edge_ = 0;
  double capacity_gap_s_ = 0, mean_gap_s_ = 0;
  QLearning q_;
};

class TaskStreamInference : public Policy {
 public:
  explicit TaskStreamInference(const Parameters& parameters) : parameters_(parameters) {
    if (parameters.integer("episodes") < 1) parameters.fail("episodes", "valid: from 1");
    if (parameters.integer("states") < 1) parameters.fail("states", "valid: from 1");
    if (parameters.string("mode") == "online" && !parameters.string("network").empty())
      agent_.emplace(TrainedNetwork::load(parameters, "network"));
  }

  Plan plan(const Problem& problem) override {
    const std::vector<HostId> servers = server_candidates(problem, parameters_, {Tier::kEdge});
    server_ = fastest_host(problem, deepest_exit(problem), servers);
    if (agent_) return agent_->plan(problem, server_);
    stages_.emplace(problem, server_);
    const std::string mode = parameters_.string("mode");
    if (mode == "offline" && !problem.arrivals_s.empty())
      offline_ = Offline(*stages_, problem.arrivals_s, parameters_.integer("states")).solve();
    if (mode == "online") learner_.emplace(*stages_, problem.seed, parameters_.integer("episodes"));
    action_ = decide(0);
    return current(problem);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& observation) override {
    if (agent_) return agent_->replan(problem, observation);
    const auto ignore = [](int, int, double) {};
    if (learner_ && arrived_ > 0) learner_->arrived(observation.date_s - state_.now_s);
    stages_->run(state_, observation.date_s, ignore);
    const int before = std::exchange(action_, decide(arrived_));
    stages_->send(state_, arrived_++, action_, ignore);
    if (action_ == before) return std::nullopt;
    return current(problem);
  }

 private:
  int decide(int request) const {
    if (offline_ && static_cast<std::size_t>(request) < offline_->actions.size())
      return offline_->actions[static_cast<std::size_t>(request)];
    if (learner_) return learner_->act(state_);
    return myopic(*stages_, state_.now_s, stages_->ends(state_), [](const Action&) { return true; });
  }

  Plan current(const Problem& problem) const {
    const Action& action = stages_->action(action_);
    Plan plan = chain_plan(problem.graph, action.exit, action.layers_on_edge, server_, problem.source);
    plan.decision = {{"exit", action.exit + 1}, {"partition_point", action.layers_on_edge + 1}};
    if (offline_) {
      plan.decision["predicted_accuracy"] = offline_->worth / static_cast<double>(offline_->actions.size());
      plan.decision["states"] = static_cast<double>(offline_->states);
    }
    return plan;
  }

  Parameters parameters_;
  HostId server_ = 0;
  std::optional<Stages> stages_;
  std::optional<Offline::Result> offline_;
  std::optional<Learner> learner_;
  std::optional<OffloadAgent> agent_;
  State state_;
  int arrived_ = 0;
  int action_ = 0;
};

const bool registered = register_policy(
    {.name = "task_stream_inference",
     .title = "exit and partition point of each request of a stream",
     .source = "Song et al., Adaptive and Collaborative Edge Inference in Task Stream, ICC 2021",
     .about =
         "Requests that follow one another meet at link, edge host and device. For each it decides exit and "
         "partition point so that the sum of the accuracies of those in time is greatest: by dynamic "
         "programming where the arrivals are known, by Q-learning where they are not, or greedily.",
     .parameters = {{.name = "mode",
                     .type = "string",
                     .standard = "offline",
                     .about = "dynamic programming with the arrivals known, Q-learning, or greedy",
                     .choices = {"offline", "online", "greedy"}},
                    {.name = "server",
                     .type = "string",
                     .standard = "",
                     .about = "edge host; empty: the fastest reachable one of tier edge"},
                    {.name = "network",
                     .type = "string",
                     .standard = "",
                     .about = "online: trained network as of policy rl; empty: learn at the start"},
                    {.name = "episodes",
                     .type = "integer",
                     .standard = 1000,
                     .about = "online: streams to learn from before the run"},
                    {.name = "states",
                     .type = "integer",
                     .standard = 1000,
                     .about = "offline: most states kept at one date"}},
     .watches_arrivals = true,
     .knows_arrivals = true},
    make<TaskStreamInference>);

}  // namespace
}  // namespace cdisim
