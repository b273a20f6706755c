// pso_ga_cost_driven: every layer on any device, edge or cloud host, for the least money within a deadline.
//
// Places the layers of the deepest exit on all hosts that the source reaches, itself included, so that
//
//     cost = sum over hosts of  price per s * s in which it computes
//          + sum over links of  price per byte * bytes that cross it
//
// is least among the placements whose latency is at most the experiment's deadline. The input starts at the
// source and the result returns to it. Layers that work in place (relu, batch_norm, dropout, ...) go with the
// layer before them, as in the paper's tables of layers. Latency and cost are those of estimate() for the
// pieces that a placement makes: the layers that a host can compute without waiting for another host in
// between are one piece; a tensor for another host either ends its piece or not, whichever is better. Between
// two placements
//
//     both in time:       the cheaper one is better
//     one in time:        it is better
//     none in time:       the one of less latency is better
//
// `search` says how the placement is found; a placement is a vector of hosts, one for each layer:
//
//     pso_ga  the paper's: particle swarm whose updates are mutation and crossover with the particle's and
//     the
//             swarm's best, and whose mutation adapts to the distance from the latter
//             (policies/shared/swarm.h)
//     ga      genetic algorithm, of the same population and iterations
//     pso     particle swarm over real positions, of the same population and iterations
//     greedy  layer by layer the cheapest host on which it ends by its share of the deadline, the one on
//     which
//             it ends first where there is none; the share is the date in heft's schedule, times deadline
//             over heft's latency
//     heft    heterogeneous earliest finish time: by upward rank, each on the host on which it ends first;
//             for latency alone. Its latency is what deadlines are multiples of
//
// Where one host alone is the cheapest for every layer and in time, there is nothing to search. The first
// population is random in the authors' code for the paper's successor (start "random"). By default ("seeded")
// it also has the placements of heft and greedy, and for each host that of all layers on it: with a hundred
// layers and tensors that cost more than computing, random placements alone lead to plans that are dear, or
// late.
//
// The paper's full text was not at hand. From its abstract and that code: the problem, the operators,
// population and iterations. Reconstructed: how placements compare, w_max, w_min, c1 and c2 and what they do
// over the iterations, and the baselines ga, pso and greedy. Left out: the order of layers as part of a
// particle; here a host takes first what is ready first. Each source plans as if the platform were its own:
// it does not see what others have planned. Plans once; changes of the network are not looked at, nor is
// memory.
//
//     parameter  | type    | default  | meaning
//     -----------|---------|----------|------------------------------------------------------------------
//     search     | string  | "pso_ga" | "pso_ga", "ga", "pso", "greedy" or "heft", see above
//     start      | string  | "seeded" | pso_ga, ga, pso: first population "seeded" or "random", see above
//     population | integer | 100      | particles, or members of a generation, from 2
//     iterations | integer | 1000     | at most, from 0
//     w_max      | number  | 0.9      | pso_ga: probability of a mutation far from the swarm's best, 0 to 1
//     w_min      | number  | 0.4      | pso_ga: the same at the swarm's best, 0 to 1
//     c1_first   | number  | 0.9      | pso_ga: probability of a crossover with the particle's best, at first
//     c1_last    | number  | 0.2      | pso_ga: the same at last
//     c2_first   | number  | 0.4      | pso_ga: probability of a crossover with the swarm's best, at first
//     c2_last    | number  | 0.9      | pso_ga: the same at last
//
//     {"name": "pso_ga_cost_driven", "search": "pso_ga", "population": 50, "iterations": 200}
//
// Plan's decision: predicted_cost_usd, predicted_latency_s, in_time (1 or 0), hosts (that compute),
// device_share (of the layers, on hosts of tier device), iterations (that were run).
//
// Source: B. Lin, Y. Huang, J. Zhang, J. Hu, X. Chen, J. Li, "Cost-Driven Off-Loading for DNN-Based
// Applications Over Cloud, Edge, and End Devices", IEEE TII 16(8), 2020, doi 10.1109/TII.2019.2961237. heft:
// H. Topcuoglu, S. Hariri, M.-Y. Wu, IEEE TPDS 13(3), 2002, without insertion.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "policies/shared/hosts.h"
#include "policies/shared/schedule.h"
#include "policies/shared/swarm.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

using HostIndices = std::vector<int>;  // (units) index of each unit's host

std::size_t at(int i) {
  return static_cast<std::size_t>(i);
}

// Units placed one after another: a host takes them in that order, and every tensor travels to every host
// once.
class Timeline {
 public:
  explicit Timeline(const Schedule& schedule)
      : schedule_(schedule),
        host_of_(at(schedule.units()) + 1, schedule.source()),
        end_s_(at(schedule.units()) + 1, 0),
        free_at_(at(schedule.hosts()), 0),
        received_(end_s_.size() * free_at_.size(), 0) {}

  // When a unit would end on a host; of the last one, when its result is back.
  double end_s(int unit, int host) const {
    double ready_s = free_at_[at(host)];
    for (const int tensor : schedule_.tensors(unit)) {
      ready_s = std::max(ready_s, end_s_[at(tensor)] + schedule_.transfer_s(schedule_.bytes(tensor),
                                                                            host_of_[at(tensor)], host));
    }
    return ready_s + schedule_.unit_s(unit, host) + (is_last(unit) ? return_s(host) : 0);
  }

  // What it would add to the cost.
  double usd(int unit, int host) const {
    double sum = schedule_.unit_s(unit, host) * schedule_.usd_per_s(host);
    for (const int tensor : schedule_.tensors(unit)) {
      if (received_[slot(tensor, host)] == 0)
        sum += schedule_.transfer_usd(schedule_.bytes(tensor), host_of_[at(tensor)], host);
    }
    if (is_last(unit)) sum += schedule_.transfer_usd(schedule_.bytes(unit), host, schedule_.source());
    return sum;
  }

  void place(int unit, int host) {
    end_s_[at(unit)] = end_s(unit, host);
    host_of_[at(unit)] = host;
    free_at_[at(host)] = end_s_[at(unit)];
    for (const int tensor : schedule_.tensors(unit)) received_[slot(tensor, host)] = 1;
  }

  double end_s(int unit) const { return end_s_[at(unit)]; }
  HostIndices placement() const { return {host_of_.begin(), host_of_.end() - 1}; }

 private:
  bool is_last(int unit) const { return unit == schedule_.units() - 1; }
  double return_s(int host) const {
    return schedule_.transfer_s(schedule_.bytes(schedule_.units() - 1), host, schedule_.source());
  }
  std::size_t slot(int tensor, int host) const { return at(tensor) * free_at_.size() + at(host); }

  const Schedule& schedule_;
  HostIndices host_of_;          // of each unit, and of the input
  std::vector<double> end_s_;    // the same
  std::vector<double> free_at_;  // of each host
  std::vector<char> received_;
};

Timeline heft(const Schedule& schedule) {
  const int hosts = schedule.hosts();
  const auto mean_transfer_s = [&](double bytes) {
    double sum = 0;
    int pairs = 0;
    for (int a = 0; a < hosts; ++a) {
      for (int b = 0; b < hosts; ++b) {
        const double s = schedule.transfer_s(bytes, a, b);
        if (a == b || std::isinf(s)) continue;
        sum += s;
        ++pairs;
      }
    }
    return pairs > 0 ? sum / pairs : 0;
  };
  std::vector<double> rank(at(schedule.units()), 0);
  for (int u = schedule.units() - 1; u >= 0; --u) {
    double compute_s = 0, behind_s = 0;
    for (int h = 0; h < hosts; ++h) compute_s += schedule.unit_s(u, h) / hosts;
    for (const int reader : schedule.readers(u)) behind_s = std::max(behind_s, rank[at(reader)]);
    rank[at(u)] =
        compute_s + (schedule.readers(u).empty() ? 0 : mean_transfer_s(schedule.bytes(u)) + behind_s);
  }
  std::vector<int> order(rank.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](int a, int b) { return rank[at(a)] > rank[at(b)]; });

  Timeline timeline(schedule);
  for (const int u : order) {
    int best = schedule.source();
    for (int h = 0; h < hosts; ++h) {
      if (timeline.end_s(u, h) < timeline.end_s(u, best)) best = h;
    }
    timeline.place(u, best);
  }
  return timeline;
}

HostIndices greedy(const Schedule& schedule, double deadline_s) {
  const Timeline fastest = heft(schedule);
  const double factor = deadline_s / fastest.end_s(schedule.units() - 1);
  Timeline timeline(schedule);
  for (int u = 0; u < schedule.units(); ++u) {
    const double due_s = std::isinf(deadline_s) ? deadline_s : fastest.end_s(u) * factor;
    const auto fitness = [&](int host) {
      const double end_s = timeline.end_s(u, host);
      return Fitness{end_s <= due_s && !std::isinf(end_s) ? 0 : end_s, timeline.usd(u, host)};
    };
    int best = schedule.source();
    for (int h = 0; h < schedule.hosts(); ++h) {
      if (fitness(h) < fitness(best)) best = h;
    }
    timeline.place(u, best);
  }
  return timeline.placement();
}

class PsoGaCostDriven : public Policy {
 public:
  explicit PsoGaCostDriven(const Parameters& parameters)
      : parameters_(parameters),
        search_(parameters.string("search")),
        seeded_(parameters.string("start") == "seeded") {
    if (parameters.integer("population") < 2) parameters.fail("population", "valid: from 2");
    if (parameters.integer("iterations") < 0) parameters.fail("iterations", "valid: from 0");
    for (const char* name : {"w_max", "w_min", "c1_first", "c1_last", "c2_first", "c2_last"}) {
      const double value = parameters.number(name);
      if (!(value >= 0 && value <= 1)) parameters.fail(name, "valid: 0 to 1");
    }
  }

  Plan plan(const Problem& problem) override {
    const int exit = deepest_exit(problem);
    Schedule schedule(problem, exit, problem.reachable(),
                      fused_layers(problem.graph, problem.graph.exit_layers(exit)));
    Found found = find(schedule, problem);
    if (std::isinf(found.fitness.violation))  // some route is missing
      found.genes.assign(at(schedule.units()), schedule.source());
    const Outcome outcome = judge(schedule, found.genes, problem.deadline_s);

    Plan plan = schedule.plan(found.genes, outcome.grouping);
    double on_devices = 0, layers = 0;
    std::set<HostId> hosts;
    for (const Piece& piece : plan.pieces) {
      const auto n = static_cast<double>(piece.layers.size());
      layers += n;
      if (problem.platform.host(piece.host).tier == Tier::kDevice) on_devices += n;
      hosts.insert(piece.host);
    }
    plan.decision = {{"predicted_cost_usd", outcome.cost.cost_usd},
                     {"predicted_latency_s", outcome.cost.latency_s},
                     {"in_time", outcome.fitness.violation == 0 ? 1 : 0},
                     {"hosts", static_cast<double>(hosts.size())},
                     {"device_share", on_devices / layers},
                     {"iterations", found.iterations}};
    return plan;
  }

 private:
  struct Outcome {
    Fitness fitness;
    Schedule::Cost cost;
    Grouping grouping = Grouping::kEager;
  };

  static Fitness fitness(const Schedule::Cost& cost, double deadline_s) {
    if (std::isinf(cost.latency_s)) return {cost.latency_s, cost.cost_usd};
    return {std::max(0.0, cost.latency_s - deadline_s), cost.cost_usd};
  }

  // A placement in the better of two groupings.
  static Outcome judge(Schedule& schedule, std::span<const int> placement, double deadline_s) {
    Outcome out;
    out.cost = schedule.cost(placement, Grouping::kEager);
    out.fitness = fitness(out.cost, deadline_s);
    const Schedule::Cost cost = schedule.cost(placement, Grouping::kFew);
    if (fitness(cost, deadline_s) < out.fitness) out = {fitness(cost, deadline_s), cost, Grouping::kFew};
    return out;
  }

  Found find(Schedule& schedule, const Problem& problem) const {
    const auto of = [&](HostIndices placement) {
      const Fitness found = judge(schedule, placement, problem.deadline_s).fitness;
      return Found{std::move(placement), found, 0};
    };
    if (search_ == "heft") return of(heft(schedule).placement());
    if (search_ == "greedy") return of(greedy(schedule, problem.deadline_s));

    GeneSearch search;
    search.choices.assign(at(schedule.units()), schedule.hosts());
    search.fitness = [&](std::span<const int> placement) {
      return judge(schedule, placement, problem.deadline_s).fitness;
    };
    search.population = parameters_.integer("population");
    search.iterations = parameters_.integer("iterations");
    search.floor = {0, least_usd(schedule) * (1 + 1e-12)};
    search.seed = problem.seed;
    for (int h = 0; h < schedule.hosts(); ++h) {
      Found whole = of(HostIndices(at(schedule.units()), h));
      if (whole.fitness <= search.floor) return whole;
      if (seeded_) search.first.push_back(std::move(whole.genes));
    }
    if (seeded_) {
      search.first.push_back(heft(schedule).placement());
      search.first.push_back(greedy(schedule, problem.deadline_s));
    }
    if (search_ == "ga") return genetic(search);
    if (search_ == "pso") return pso(search);
    return pso_ga(search, {parameters_.number("w_max"),
                           parameters_.number("w_min"),
                           {parameters_.number("c1_first"), parameters_.number("c1_last")},
                           {parameters_.number("c2_first"), parameters_.number("c2_last")}});
  }

  // No placement costs less than each unit on the host where it is cheapest, nothing being sent.
  static double least_usd(const Schedule& schedule) {
    double sum = 0;
    for (int u = 0; u < schedule.units(); ++u) {
      double least = std::numeric_limits<double>::infinity();
      for (int h = 0; h < schedule.hosts(); ++h)
        least = std::min(least, schedule.unit_s(u, h) * schedule.usd_per_s(h));
      sum += least;
    }
    return sum;
  }

  Parameters parameters_;
  std::string search_;
  bool seeded_;
};

const bool registered = register_policy(
    {.name = "pso_ga_cost_driven",
     .title = "each layer on any host, for the least money within a deadline",
     .source = "Lin et al., Cost-Driven Off-Loading, IEEE TII 2020",
     .about =
         "Places each layer of the deepest exit on the source or on any host that it reaches, so that the "
         "price "
         "of computing and of bytes is least within the deadline, by a particle swarm whose updates are "
         "mutation and crossover; also its baselines: genetic algorithm, plain particle swarm, greedy, HEFT.",
     .parameters =
         {{.name = "search",
           .type = "string",
           .standard = "pso_ga",
           .about = "how the placement is found",
           .choices = {"pso_ga", "ga", "pso", "greedy", "heft"}},
          {.name = "start",
           .type = "string",
           .standard = "seeded",
           .about = "pso_ga, ga, pso: first population random, or with heft's, greedy's and all layers "
                    "on one host, each",
           .choices = {"seeded", "random"}},
          {.name = "population",
           .type = "integer",
           .standard = 100,
           .about = "particles, or members of a generation"},
          {.name = "iterations", .type = "integer", .standard = 1000, .about = "at most"},
          {.name = "w_max",
           .type = "number",
           .standard = 0.9,
           .about = "pso_ga: probability of a mutation far from the swarm's best"},
          {.name = "w_min",
           .type = "number",
           .standard = 0.4,
           .about = "pso_ga: the same at the swarm's best"},
          {.name = "c1_first",
           .type = "number",
           .standard = 0.9,
           .about = "pso_ga: probability of a crossover with the particle's best, at first"},
          {.name = "c1_last", .type = "number", .standard = 0.2, .about = "pso_ga: the same at last"},
          {.name = "c2_first",
           .type = "number",
           .standard = 0.4,
           .about = "pso_ga: probability of a crossover with the swarm's best, at first"},
          {.name = "c2_last", .type = "number", .standard = 0.9, .about = "pso_ga: the same at last"}}},
    make<PsoGaCostDriven>);

}  // namespace
}  // namespace cdisim
