// coedge: rows of every layer on several devices, for the least energy under a deadline.
//
// The devices stand one below the other, the source first, then the platform's other hosts. Device i computes
// the share lambda_i of the rows of every layer that goes by rows; before a layer that reads beyond its own
// rows it fetches those (the halo) from its neighbours. Layers between which nothing is fetched are one stage
// l. One device, the aggregator g, gathers the rows for what follows (the fully connected layers) and returns
// the result. The source sends each device its rows of the input.
//
//     T = sum_l [ max_i (c_li lambda_i + o_li) + X_l(lambda) ] + X_gather(lambda) + t_g + X_result
//     E = sum_i P_i sum_l (c_li lambda_i + o_li) + P_g t_g
//         + sum over transfers of bytes / B (p_tx of the sender + p_rx of the receiver)
//
// min E subject to T <= deadline, sum lambda_i = 1: a linear programme in lambda, each max a variable. c and
// o are the straight line through the times of all rows and of an equal share of them. X is the longest of
// the exchange's transfers: latency of the route + what its fullest link carries for all of them / B (the
// paper has a link for each pair of devices, on which that is bytes / B). P and p are powers above idle: E is
// the paper's dynamic energy, of all devices.
//
// The threshold rule: lambda_i is 0 or at least a threshold, else a device fetches rows from beyond its
// neighbour. The paper's threshold, p rows of the largest padding, holds for rows of the input ("input");
// deeper layers have fewer rows, so here it is that of the layer that asks for most ("layers"). The programme
// is solved without the rule, NP-hard with it; where a device is below the threshold it is solved again with
// the threshold as the least share of all, and for the next round the device with the smallest share leaves.
// Since X and o count for every device that takes part, also where it has hardly any rows, this goes on down
// to one device, and the best of all rounds that keep the rule, and of each device alone, is taken. So it is
// for each host as the aggregator (the source, where nothing is gathered). Where no round keeps the deadline,
// T is minimised instead. Whole rows: shares are rounded layer by layer. Decides anew when a measured
// bandwidth has changed. Memory is not looked at.
//
//     parameter | type    | default  | meaning
//     ----------|---------|----------|--------------------------------------------------------------------
//     devices   | integer | 0        | the source and the next hosts; 0: all
//     shares    | string  | "lp"     | "lp", or all devices' by rule: "equal" or in proportion to "speed"
//     threshold | string  | "layers" | lp: "layers" or "input"
//
//     {"name": "coedge", "threshold": "layers"}
//
// Plan's decision: share_<host> of each device that takes part, devices (how many), aggregator (host number),
// least_share, predicted_latency_s, predicted_energy_j (T, E), in_time (1: T <= deadline).
//
// Source: L. Zeng, X. Chen, Z. Zhou, L. Yang, J. Zhang, "CoEdge: Cooperative DNN Inference with Adaptive
// Workload Partitioning over Heterogeneous Edge Devices", IEEE/ACM ToN 29(2), 2021, doi
// 10.1109/TNET.2020.3042320. Reconstructed from its abstract and reviews; the text was not at hand.

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>

#include "policies/shared/costs.h"
#include "policies/shared/hosts.h"
#include "policies/shared/linear_program.h"
#include "policies/shared/row_shares.h"
#include "sim/error.h"
#include "sim/policy.h"

namespace cdisim {
namespace {

constexpr double kNothing = 1e-6;   // of a share: the solver's tolerance
constexpr double kSame = 1 + 1e-9;  // of energies and latencies

// The rows of a model on some devices: what they cost, and the shares that cost least.
class Cooperation {
 public:
  Cooperation(const Problem& problem, const RowLayers& rows, const std::vector<HostId>& hosts, int exit,
              double least_share)
      : problem_(problem), rows_(rows), hosts_(hosts), exit_(exit), least_share_(least_share) {
    for (const HostId host : hosts) {
      power_w_.push_back(computing_power_w(problem, host));
      tail_s_.push_back(compute_s(rows.tail, host));
      std::vector<Line>& lines = lines_.emplace_back();
      for (const std::vector<LayerId>& stage : rows.stages) lines.push_back(line(stage, host));
    }
  }

  struct Decision {
    std::vector<double> shares;  // (n_hosts) of all
    std::size_t aggregator = 0;
    double latency_s = 0, energy_j = 0;
    bool in_time = false;
  };

  // As a rule gives them.
  Decision given(const std::vector<double>& shares, std::size_t aggregator) const {
    return judge(setup(everybody(hosts_.size()), aggregator), shares);
  }

  Decision best() const {
    std::optional<Decision> best;
    const auto consider = [&](const Decision& d) {
      if (!best || better(d, *best)) best = d;
    };
    for (std::size_t i = 0; i < hosts_.size(); ++i) consider(judge(setup({i}, i), {1}));
    if (rows_.stages.empty()) return *best;
    for (const std::size_t aggregator : aggregators()) {
      for (std::size_t i = 0; i < hosts_.size(); ++i) consider(judge(setup({i}, aggregator), {1}));
      std::vector<std::size_t> devices = everybody(hosts_.size());
      while (devices.size() > 1) {
        const Setup now = setup(devices, aggregator);
        const std::vector<double> shares = *solve(now, 0);
        if (std::ranges::min(shares) >= least_share_ - kNothing) {
          consider(judge(now, shares));
        } else if (const auto raised = solve(now, least_share_)) {
          consider(judge(now, *raised));
        }
        // Who has nothing to do leaves, or else the last of those with the least.
        std::size_t smallest = 0;
        std::vector<std::size_t> stay;
        for (std::size_t k = 0; k < devices.size(); ++k) {
          if (shares[k] <= shares[smallest]) smallest = k;
          if (shares[k] > kNothing) stay.push_back(devices[k]);
        }
        if (stay.size() == devices.size()) stay.erase(stay.begin() + static_cast<std::ptrdiff_t>(smallest));
        devices = stay;
      }
    }
    return *best;
  }

 private:
  struct Line {
    double fixed_s = 0, per_share_s = 0;
  };
  // Bytes from host to host, with those that follow a device's share.
  struct Flow {
    HostId from = 0, to = 0;
    double bytes = 0;
    std::size_t device = 0;  // of the setup
    double per_share_bytes = 0;
  };
  struct Setup {
    std::vector<std::size_t> devices;  // ascending, into hosts_
    std::size_t aggregator = 0;
    std::vector<std::vector<Flow>> phases;  // before each stage; gathering; the result
    std::vector<std::vector<Line>> stages;  // by stage, device
    double tail_s = 0;
  };

  double compute_s(std::span<const LayerId> layers, HostId host) const {
    return problem_.compute_s(layers, host) * problem_.slowdown(host);
  }

  Line line(const std::vector<LayerId>& stage, HostId host) const {
    Line out;
    const double slowdown = problem_.slowdown(host);
    for (const LayerId id : stage) {
      const Shape& shape = problem_.graph.layer(id).output_shape;
      const auto equal = static_cast<int>(shape[1] / std::max<std::size_t>(2, hosts_.size()));
      const int rows = std::max(1, equal);
      const Piece part{{id}, host, {{id, slab(shape, 1, {0, rows})}}};
      const double difference_s = problem_.compute_s({&id, 1}, host) - problem_.compute_s(part);
      out.per_share_s += difference_s * slowdown / (1 - 1.0 * rows / shape[1]);
    }
    out.fixed_s = compute_s(stage, host) - out.per_share_s;
    return out;
  }

  // Bytes of a tensor, and how many rows they are.
  double bytes(LayerId tensor) const { return tensor_bytes(problem_.graph, problem_.wire, tensor); }
  double extent(LayerId tensor) const { return problem_.graph.tensor_shape(tensor)[1]; }

  // What the devices need before a stage.
  std::vector<Flow> exchange(const std::vector<LayerId>& stage,
                             const std::vector<std::size_t>& devices) const {
    std::map<LayerId, Halo> needs;  // by tensor
    for (const LayerId id : stage) {
      const std::vector<LayerId>& inputs = problem_.graph.layer(id).inputs;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        if (std::ranges::binary_search(stage, inputs[i])) continue;
        const Halo one = halo(problem_.graph, id, i);
        Halo& all = needs[inputs[i]];
        all = {std::max(all.above, one.above), std::max(all.below, one.below)};
      }
    }
    std::vector<Flow> flows;
    for (const auto& [tensor, need] : needs) {
      const double row_bytes = bytes(tensor) / extent(tensor);
      for (std::size_t k = 0; k < devices.size(); ++k) {
        const HostId host = hosts_[devices[k]];
        const bool first = k == 0, last = k + 1 == devices.size();
        if (tensor == kInput) {
          const double rows = (first ? 0 : need.above) + (last ? 0 : need.below);
          flows.push_back({problem_.source, host, rows * row_bytes, k, bytes(tensor)});
          continue;
        }
        if (!first && need.above > 0)
          flows.push_back({hosts_[devices[k - 1]], host, need.above * row_bytes, k, 0});
        if (!last && need.below > 0)
          flows.push_back({hosts_[devices[k + 1]], host, need.below * row_bytes, k, 0});
      }
    }
    std::erase_if(flows, [](const Flow& flow) { return flow.from == flow.to; });
    return flows;
  }

  Setup setup(const std::vector<std::size_t>& devices, std::size_t aggregator) const {
    Setup out{devices, aggregator, {}, {}, 0};
    const HostId last = hosts_[aggregator];
    const bool alone = devices.size() == 1;
    std::vector<LayerId> tail = rows_.tail;
    if (alone) {
      // One piece, and the tail with it where it is the aggregator's.
      std::vector<LayerId> all = rows_.layers();
      if (devices.front() == aggregator) {
        const auto ids = problem_.graph.exit_layers(exit_);
        all.assign(ids.begin(), ids.end());
        tail.clear();
      }
      const HostId host = hosts_[devices.front()];
      const std::vector<LayerId> read = read_from_outside(problem_.graph, all);
      std::vector<Flow> input;
      if (!read.empty() && host != problem_.source) input.push_back({problem_.source, host, bytes(kInput)});
      out.phases.push_back(input);
      out.stages.push_back({{compute_s(all, host), 0}});
      if (tail.empty()) {
        std::vector<Flow> result;
        if (host != problem_.source) result.push_back({host, problem_.source, result_bytes(problem_, exit_)});
        out.phases.push_back(result);
        return out;
      }
    } else {
      for (std::size_t s = 0; s < rows_.stages.size(); ++s) {
        out.phases.push_back(exchange(rows_.stages[s], devices));
        std::vector<Line>& lines = out.stages.emplace_back();
        for (const std::size_t device : devices) lines.push_back(lines_[device][s]);
      }
    }
    std::vector<Flow>& gather = out.phases.emplace_back();
    const auto send_rows = [&](double all_bytes, HostId to) {
      for (std::size_t k = 0; k < devices.size(); ++k) {
        if (hosts_[devices[k]] != to) gather.push_back({hosts_[devices[k]], to, 0, k, all_bytes});
      }
    };
    if (tail.empty()) {
      send_rows(result_bytes(problem_, exit_), problem_.source);
      return out;
    }
    for (const LayerId tensor : read_from_outside(problem_.graph, tail)) {
      if (tensor != kInput) {
        send_rows(bytes(tensor), last);
      } else if (last != problem_.source) {
        gather.push_back({problem_.source, last, bytes(kInput)});
      }
    }
    out.tail_s = tail_s_[aggregator];
    if (last != problem_.source)
      out.phases.push_back({{last, problem_.source, result_bytes(problem_, exit_)}});
    return out;
  }

  // What a byte that follows a share costs the radios of both ends.
  double joule_per_byte(const Flow& flow) const {
    const Radio& sender = problem_.platform.host(flow.from).radio;
    const Radio& receiver = problem_.platform.host(flow.to).radio;
    return (sender.tx_w - sender.idle_w + receiver.rx_w - receiver.idle_w) /
               bottleneck_bytes_per_s(problem_, flow.from, flow.to) +
           sender.tx_j_per_byte + receiver.rx_j_per_byte;
  }

  // Of a phase's transfers that follow no share: a radio is on until the last of its own has ended, and those
  // that share a link end together.
  double fixed_radio_j(const std::vector<Flow>& phase) const {
    std::map<LinkId, double> carried;
    for (const Flow& flow : phase) {
      for (const auto& [link, weight] : links_between(problem_, flow.from, flow.to))
        carried[link] += flow.bytes * weight;
    }
    std::map<HostId, double> sends_s, receives_s;
    double joule = 0;
    for (const Flow& flow : phase) {
      const Radio& sender = problem_.platform.host(flow.from).radio;
      const Radio& receiver = problem_.platform.host(flow.to).radio;
      joule += flow.bytes * (sender.tx_j_per_byte + receiver.rx_j_per_byte);
      double longest_s = 0;
      for (const auto& [link, weight] : links_between(problem_, flow.from, flow.to)) {
        longest_s = std::max(
            longest_s, carried.at(link) / problem_.bandwidth_bytes_per_s[static_cast<std::size_t>(link)]);
      }
      if (flow.bytes == 0) continue;
      sends_s[flow.from] = std::max(sends_s[flow.from], longest_s);
      receives_s[flow.to] = std::max(receives_s[flow.to], longest_s);
    }
    for (const auto& [host, s] : sends_s) {
      const Radio& radio = problem_.platform.host(host).radio;
      joule += s * (radio.tx_w - radio.idle_w);
    }
    for (const auto& [host, s] : receives_s) {
      const Radio& radio = problem_.platform.host(host).radio;
      joule += s * (radio.rx_w - radio.idle_w);
    }
    return joule;
  }

  // T and E. `shares`: of the setup's devices.
  Decision judge(const Setup& setup, const std::vector<double>& shares) const {
    Decision out{std::vector<double>(hosts_.size(), 0), setup.aggregator, setup.tail_s,
                 setup.tail_s * power_w_[setup.aggregator]};
    for (std::size_t k = 0; k < shares.size(); ++k) out.shares[setup.devices[k]] = shares[k];
    for (const std::vector<Line>& stage : setup.stages) {
      double longest_s = 0;
      for (std::size_t k = 0; k < shares.size(); ++k) {
        const double s = stage[k].fixed_s + stage[k].per_share_s * shares[k];
        longest_s = std::max(longest_s, s);
        out.energy_j += s * power_w_[setup.devices[k]];
      }
      out.latency_s += longest_s;
    }
    for (const std::vector<Flow>& phase : setup.phases) {
      std::vector<Transfer> transfers;
      out.energy_j += fixed_radio_j(phase);
      for (const Flow& flow : phase) {
        const double following = flow.per_share_bytes * shares[flow.device];
        transfers.push_back({flow.from, flow.to, flow.bytes + following});
        out.energy_j += following * joule_per_byte(flow);
      }
      out.latency_s += phase_s(problem_, transfers);
    }
    out.in_time = out.latency_s <= problem_.deadline_s * kSame;
    return out;
  }

  // In time, then by energy, then by latency; of those that are late by latency.
  static bool better(const Decision& a, const Decision& b) {
    if (a.in_time != b.in_time) return a.in_time;
    if (a.in_time && a.energy_j * kSame < b.energy_j) return true;
    if (a.in_time && b.energy_j * kSame < a.energy_j) return false;
    return a.latency_s * kSame < b.latency_s;
  }

  // Nobody gathers what is not read.
  std::vector<std::size_t> aggregators() const { return everybody(rows_.tail.empty() ? 1 : hosts_.size()); }
  static std::vector<std::size_t> everybody(std::size_t n) {
    std::vector<std::size_t> out(n);
    std::iota(out.begin(), out.end(), std::size_t{0});
    return out;
  }

  // The shares of all that take part, each at least `least`; none where there are too many of them.
  std::optional<std::vector<double>> solve(const Setup& setup, double least) const {
    if (least * static_cast<double>(setup.devices.size()) > 1) return std::nullopt;
    LinearSolution solution = minimise(programme(setup, least, true));
    if (solution.status != LinearSolution::Status::kOptimal)
      solution = minimise(programme(setup, least, false));
    std::vector<double> shares(solution.values.begin(),
                               solution.values.begin() + static_cast<std::ptrdiff_t>(setup.devices.size()));
    for (double& share : shares) share = std::clamp(share, 0.0, 1.0);
    return shares;
  }

  // Of least energy within the deadline, or of least latency.
  LinearProgram programme(const Setup& setup, double least, bool energy) const {
    LinearProgram program;
    const std::size_t n = setup.devices.size();
    std::vector<double> joule(n, 0);
    for (std::size_t k = 0; k < n; ++k) {
      for (const std::vector<Line>& stage : setup.stages)
        joule[k] += stage[k].per_share_s * power_w_[setup.devices[k]];
    }
    for (const std::vector<Flow>& phase : setup.phases) {
      for (const Flow& flow : phase) joule[flow.device] += flow.per_share_bytes * joule_per_byte(flow);
    }
    LinearProgram::Row all, time;
    for (std::size_t k = 0; k < n; ++k) {
      const int share = program.add({energy ? joule[k] : 0, least, 1});
      all.terms.emplace_back(share, 1);
    }
    all.lower = all.upper = 1;
    program.rows.push_back(all);
    if (energy && std::isinf(problem_.deadline_s)) return program;

    time.upper = energy ? problem_.deadline_s - setup.tail_s : LinearProgram::kInfinity;
    const auto longest = [&] {
      const int variable = program.add({energy ? 0.0 : 1.0, 0});
      time.terms.emplace_back(variable, 1);
      return variable;
    };
    for (const std::vector<Line>& stage : setup.stages) {
      const int variable = longest();
      for (std::size_t k = 0; k < n; ++k) {
        program.rows.push_back(
            {{{variable, 1}, {static_cast<int>(k), -stage[k].per_share_s}}, stage[k].fixed_s});
      }
    }
    for (const std::vector<Flow>& phase : setup.phases) {
      std::map<LinkId, LinearProgram::Row> rows;
      std::map<LinkId, double> latency_s, seconds;
      for (const Flow& flow : phase) {
        for (const auto& [link, weight] : links_between(problem_, flow.from, flow.to)) {
          const double bandwidth = problem_.bandwidth_bytes_per_s[static_cast<std::size_t>(link)];
          latency_s[link] = std::max(latency_s[link], problem_.platform.route(flow.from, flow.to)->latency_s);
          seconds[link] += flow.bytes * weight / bandwidth;
          rows[link].terms.emplace_back(static_cast<int>(flow.device),
                                        -flow.per_share_bytes * weight / bandwidth);
        }
      }
      if (rows.empty()) continue;
      const int variable = longest();
      for (auto& [link, row] : rows) {
        row.terms.emplace_back(variable, 1);
        row.lower = latency_s[link] + seconds[link];
        program.rows.push_back(std::move(row));
      }
    }
    program.rows.push_back(std::move(time));
    return program;
  }

  const Problem& problem_;
  const RowLayers& rows_;
  const std::vector<HostId>& hosts_;
  int exit_;
  double least_share_;
  std::vector<double> power_w_, tail_s_;  // by host
  std::vector<std::vector<Line>> lines_;  // by host, stage
};

class CoEdge : public Policy {
 public:
  explicit CoEdge(const Parameters& parameters)
      : devices_(chosen_devices(parameters)),
        shares_(parameters.string("shares")),
        threshold_(parameters.string("threshold")) {}

  Plan plan(const Problem& problem) override {
    exit_ = deepest_exit(problem);
    rows_ = row_layers(problem.graph, exit_);
    hosts_ = row_hosts(problem, devices_, "coedge");
    least_share_ = threshold_ == "layers" ? least_share(problem.graph, rows_) : input_threshold(problem);
    decide(problem);
    return plan_of(problem);
  }

  std::optional<Plan> replan(const Problem& problem, const Observation& /*observation*/) override {
    if (std::ranges::equal(seen_, problem.bandwidth_bytes_per_s)) return std::nullopt;
    const Cooperation::Decision before = now_;
    decide(problem);
    if (now_.shares == before.shares && now_.aggregator == before.aggregator) return std::nullopt;
    return plan_of(problem);
  }

 private:
  // As many rows of the input as the largest halo has.
  double input_threshold(const Problem& problem) const {
    double rows = 0;
    for (const LayerId id : rows_.layers()) {
      const std::size_t inputs = problem.graph.layer(id).inputs.size();
      for (std::size_t i = 0; i < inputs; ++i) {
        const Halo needs = halo(problem.graph, id, i);
        rows = std::max({rows, needs.above, needs.below});
      }
    }
    return rows_.stages.empty() ? 0 : rows / problem.graph.input_shape()[1];
  }

  void decide(const Problem& problem) {
    seen_.assign(problem.bandwidth_bytes_per_s.begin(), problem.bandwidth_bytes_per_s.end());
    const Cooperation cooperation(problem, rows_, hosts_, exit_, least_share_);
    if (shares_ == "lp") {
      const auto draws = [&](HostId host) { return computing_power_w(problem, host) > 0; };
      if (std::ranges::none_of(hosts_, draws))
        throw InputError(problem.platform.file(), "coedge: no host states what it draws while it computes");
      now_ = cooperation.best();
      return;
    }
    RowShares by_rule{hosts_, std::vector<double>(hosts_.size(), 1.0 / static_cast<double>(hosts_.size())),
                      problem.source};
    if (shares_ == "speed") by_rule.shares = speed_shares(problem, rows_, hosts_);
    by_rule.aggregator = fastest_aggregator(problem, rows_, by_rule, exit_);
    now_ = cooperation.given(
        by_rule.shares,
        static_cast<std::size_t>(std::ranges::find(hosts_, by_rule.aggregator) - hosts_.begin()));
  }

  Plan plan_of(const Problem& problem) const {
    const HostId aggregator = hosts_[now_.aggregator];
    Plan plan = row_plan(problem.graph, exit_, rows_, every_stage(rows_), {hosts_, now_.shares, aggregator});
    double devices = 0;
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      if (now_.shares[i] <= 0) continue;
      plan.decision["share_" + problem.platform.host(hosts_[i]).name] = now_.shares[i];
      ++devices;
    }
    plan.decision["devices"] = devices;
    plan.decision["aggregator"] = aggregator;
    plan.decision["least_share"] = least_share_;
    plan.decision["predicted_latency_s"] = now_.latency_s;
    plan.decision["predicted_energy_j"] = now_.energy_j;
    plan.decision["in_time"] = now_.in_time ? 1 : 0;
    return plan;
  }

  int devices_;
  std::string shares_, threshold_;
  int exit_ = 0;
  RowLayers rows_;
  std::vector<HostId> hosts_;
  double least_share_ = 0;
  std::vector<double> seen_;  // bandwidths
  Cooperation::Decision now_;
};

const bool registered = register_policy(
    {.name = "coedge",
     .title = "rows of every layer by a linear programme, least energy",
     .source = "Zeng et al., CoEdge, IEEE/ACM ToN 2021",
     .about =
         "Gives each device a share of the rows of every layer, by a linear programme for the least energy "
         "of all devices under the deadline; a device takes part with at least the rows that its neighbours "
         "need of it. Fully connected layers run on one of them. Decided anew when a bandwidth changes.",
     .parameters = {devices_parameter(),
                    {.name = "shares",
                     .type = "string",
                     .standard = "lp",
                     .about = "lp: by the programme; equal; speed: in proportion to the devices' speeds",
                     .choices = {"lp", "equal", "speed"}},
                    {.name = "threshold",
                     .type = "string",
                     .standard = "layers",
                     .about = "least share of a device: layers: no layer needs rows from beyond a neighbour; "
                              "input: as many rows of the input as the largest halo has",
                     .choices = {"layers", "input"}}},
     .watches_bandwidth = true},
    make<CoEdge>);

}  // namespace
}  // namespace cdisim
