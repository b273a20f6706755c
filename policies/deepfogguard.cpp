// deepfogguard: a DNN in sections over a hierarchy of hosts that fail, and which hyperconnections skip a
// host.
//
// Each section of the model runs on a host, from the end devices up to the cloud, and reads what the section
// below sends. A skip hyperconnection brings a section the tensor of one further below, too, through a layer
// of its own that changes the shape or weighs the tensor; the section adds up what arrives, and a tensor that
// a failed host does not send counts as zero (the join's absent is "skip" in the layer graph). An inference
// fails when no path of working hosts is left.
//
// The partition is the model's and the experiment's, `sections`. The policy decides which hyperconnections
// there are: all, or at most as many as `hyperconnections` says; then those of the highest availability,
//
//     A = sum over W of p(W) [W gives a result],  p(W) = product of s_h (h in W) or 1 - s_h (h not in W),
//
// W being the hosts that work and s_h the survival of a host; of equal ones those of the fewest bytes, then
// the first. All sets of that size and all W are looked at: 2^n for n hosts that may fail, so with more than
// 16 of them the limit is an error. And it decides where a hyperconnection's layer runs: at the sender, or at
// the receiver where the layer's input is smaller than its output.
//
// While a host is off, plans leave out what surviving() takes from them: new requests, and those that it lost
// and that the experiment's on_failure lets try again, do without it. Where nothing is left that gives a
// result, requests are lost until a host is back.
//
//     parameter        | type    | default | meaning
//     -----------------|---------|---------|-----------------------------------------------------------------
//     sections         | string  | ""      | last layer and host of each section; empty: equal shares of work
//     hyperconnections | integer | -1      | most of them; -1: all, 0: none (vanilla)
//
//     {"name": "deepfogguard", "hyperconnections": 2}
//
// Plan's decision: hyperconnections (how many); with at most 16 hosts that may fail also availability, and
// what a request then sends (bytes), takes (answer_latency_s) and comes to (answer_accuracy, where the model
// says so), the last two of those with a result.
//
// Source: A. Yousefpour, S. Devic, B. Q. Nguyen, A. Kreidieh, A. Liao, A. M. Bayen, J. P. Jue, "Guardians of
// the Deep Fog: Failure-Resilient DNN Inference from Edge to Cloud", AIChallengeIoT 2019, doi
// 10.1145/3363347.3363366, and its code, github.com/anrl-utd/clearShallowAtEase. The choice of few
// hyperconnections is ours: the paper adds them all.

#include <fmt/format.h>

#include <algorithm>

#include "policies/shared/failures.h"
#include "policies/shared/guarded.h"
#include "policies/shared/hosts.h"

namespace cdisim {
namespace {

class DeepFogGuard : public Guarded {
 public:
  explicit DeepFogGuard(const Parameters& parameters) : parameters_(parameters) {
    if (parameters.integer("hyperconnections") < -1)
      parameters.fail("hyperconnections", "valid: from 0, or -1 for all");
  }

 protected:
  Plan design(const Problem& problem) override {
    const int exit = deepest_exit(problem);
    const Sections sections = chosen_sections(problem, exit, parameters_);
    const std::vector<LayerId> all = hyperconnections(problem.graph, exit);
    const auto plan_with = [&](const std::vector<char>& used) {
      std::vector<LayerId> left_out;
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (used[i] == 0) left_out.push_back(all[i]);
      }
      return sections_plan(problem, exit, sections, HyperconnectionHost::kFewestBytes, left_out);
    };
    const int most = parameters_.integer("hyperconnections");
    const std::size_t count = most < 0 ? all.size() : std::min(all.size(), static_cast<std::size_t>(most));
    std::vector<char> used(all.size(), 0);
    std::fill_n(used.begin(), count, 1);
    Plan best = plan_with(used);
    if (count < all.size() && count > 0) {
      if (unreliable_hosts(problem, best).size() > kMostUnreliableHosts) {
        parameters_.fail("hyperconnections",
                         fmt::format("more than {} hosts may fail: valid: -1, 0", kMostUnreliableHosts));
      }
      Outlook ahead = outlook(problem, best);
      while (std::ranges::prev_permutation(used).found) {
        Plan plan = plan_with(used);
        const Outlook other = outlook(problem, plan);
        const double gain = other.availability - ahead.availability;
        if (gain < -1e-12 || (gain <= 1e-12 && other.bytes >= ahead.bytes)) continue;
        best = std::move(plan);
        ahead = other;
      }
    }
    best.decision["hyperconnections"] = static_cast<double>(count);
    return best;
  }

 private:
  Parameters parameters_;
};

const bool registered = register_policy(
    {.name = "deepfogguard",
     .title = "sections over hosts that fail, with skip hyperconnections",
     .source = "A. Yousefpour et al., Guardians of the Deep Fog, AIChallengeIoT 2019",
     .about =
         "Runs each section of the model on the host that the experiment names and decides which of the "
         "model's skip hyperconnections are used, by the probability that a result comes, and where their "
         "layers run. Leaves out what is on hosts that are off.",
     .parameters = {sections_parameter(),
                    {.name = "hyperconnections",
                     .type = "integer",
                     .standard = -1,
                     .about = "most skip hyperconnections; -1: all, 0: none"}},
     .watches_platform = true},
    make<DeepFogGuard>);

}  // namespace
}  // namespace cdisim
