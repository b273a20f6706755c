#pragma once

#include <vector>

#include "sim/policy.h"

namespace cdisim {

/// A model in sections, one after another in the order of its layers, each on a host.
struct Sections {
  struct Section {
    LayerId end = 0;  ///< the last layer
    HostId host = 0;
  };
  std::vector<Section> sections;  ///< ascending by end; the last one ends with the exit
};

/// The parameter "sections": "relu_1@edge relu_2@fog prob@cloud" names the last layer of each section and the
/// host that runs it. Empty: equal shares of the work for the source, the fastest host of tier edge and the
/// fastest of tier cloud that has a route from there, as far as there are any.
ParameterFacts sections_parameter();
/// @throws InputError where the parameter names what there is not, or there is no other host.
Sections chosen_sections(const Problem& problem, int exit, const Parameters& parameters);

/// The skip hyperconnections of an exit: layers that nothing reads but one join, which does without some of
/// its inputs, and whose own input reaches that join another way, too. Ascending.
std::vector<LayerId> hyperconnections(const LayerGraph& graph, int exit);

/// Where a hyperconnection's own layer (that changes the shape, or weighs) runs.
enum class HyperconnectionHost {
  kSender,      ///< nothing travels that the join does not take
  kFewestBytes  ///< at the sender, unless the layer's input is smaller than its output
};

/// Each section on its host, layers that read a sensor where it is; hyperconnections from one section to
/// another, but those that are left out, in pieces of their own, so that nothing waits for them. `left_out`:
/// ascending.
Plan sections_plan(const Problem& problem, int exit, const Sections& sections, HyperconnectionHost where,
                   const std::vector<LayerId>& left_out = {});

}  // namespace cdisim
