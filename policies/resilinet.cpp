// resilinet: a DNN in sections over a hierarchy of hosts that fail, with hyperconnections used on failure
// only.
//
// As deepfogguard, but the model's joins switch (absent "switch" in the layer graph): a section reads what
// the section below sends and, where the host below has failed, only then what comes over the skip
// hyperconnection. In training the sections fail at random (failout), so that the model has learnt to do
// with either; that shows in the model's accuracies, not here. ResiliNet+, which always adds both, is a model
// whose joins skip.
//
// The partition is the model's and the experiment's, `sections`. A hyperconnection's layer runs at the
// sender, always: where it ran at the receiver, its input would have to travel with every request. What it
// costs to compute is therefore paid always, what it sends only after a failure: in bytes, and as a detour
// where the route is longer.
//
// While a host is off, plans leave out what surviving() takes from them: new requests, and those that it lost
// and that the experiment's on_failure lets try again, do without it. Where nothing is left that gives a
// result, requests are lost until a host is back.
//
//     parameter        | type    | default | meaning
//     -----------------|---------|---------|-----------------------------------------------------------------
//     sections         | string  | ""      | last layer and host of each section; empty: equal shares of work
//
//     {"name": "resilinet"}
//
// Plan's decision: hyperconnections (how many the model has); with at most 16 hosts that may fail also
// availability, and what a request then sends (bytes), takes (answer_latency_s) and comes to
// (answer_accuracy, where the model says so), the last two of those with a result.
//
// Source: A. Yousefpour, B. Q. Nguyen, S. Devic, G. Wang, A. Kreidieh, H. Lobel, A. M. Bayen, J. P. Jue,
// "ResiliNet: Failure-Resilient Inference in Distributed Neural Networks", arXiv 2002.07386, 2020, known from
// its code, github.com/ashkan-software/clearShallowAtEase.

#include "policies/shared/guarded.h"
#include "policies/shared/hosts.h"

namespace cdisim {
namespace {

class ResiliNet : public Guarded {
 public:
  explicit ResiliNet(const Parameters& parameters) : parameters_(parameters) {}

 protected:
  Plan design(const Problem& problem) override {
    const int exit = deepest_exit(problem);
    Plan plan = sections_plan(problem, exit, chosen_sections(problem, exit, parameters_),
                              HyperconnectionHost::kSender);
    plan.decision["hyperconnections"] = static_cast<double>(hyperconnections(problem.graph, exit).size());
    return plan;
  }

 private:
  Parameters parameters_;
};

const bool registered = register_policy(
    {.name = "resilinet",
     .title = "sections over hosts that fail, with hyperconnections used on failure only",
     .source = "A. Yousefpour et al., ResiliNet, arXiv 2002.07386, 2020",
     .about = "Runs each section of the model on the host that the experiment names and the layers of the "
              "model's skip hyperconnections at their senders, so that they send nothing unless a host has "
              "failed. Leaves out what is on hosts that are off.",
     .parameters = {sections_parameter()},
     .watches_platform = true},
    make<ResiliNet>);

}  // namespace
}  // namespace cdisim
