// SimGrid allows one engine per process and ends the process on bad input: each file is compared in a child.

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <simgrid/s4u.hpp>
#include <string>
#include <vector>

#include "sim/platform.h"

using namespace cdisim;
namespace fs = std::filesystem;
namespace sg4 = simgrid::s4u;

namespace {

bool near(double a, double b) {
  return std::abs(a - b) <= 1e-12 * std::abs(b);
}

// What SimGrid makes of the file that differs from `platform`; empty where all agrees.
std::string difference(const Platform& platform) {
  std::string program = "test", silent = "--log=root.thresh:critical";
  char* arguments[] = {program.data(), silent.data(), nullptr};
  int count = 2;
  sg4::Engine engine(&count, arguments);
  engine.load_platform(platform.file());

  if (engine.get_host_count() != platform.hosts().size()) return "number of hosts";
  for (const Host& host : platform.hosts()) {
    const sg4::Host* theirs = engine.host_by_name_or_null(host.name);
    if (!theirs) return "host " + host.name;
    if (theirs->get_core_count() != host.cores) return "cores of " + host.name;
    if (theirs->get_pstate_count() != host.power_states.size()) return "pstates of " + host.name;
    if (theirs->get_pstate() != static_cast<unsigned long>(host.power_state)) return "pstate of " + host.name;
    for (std::size_t i = 0; i < host.power_states.size(); ++i) {
      if (!near(theirs->get_pstate_speed(i), host.power_states[i].speed_flop_per_s))
        return "speed of " + host.name;
    }
  }
  for (const Link& link : platform.links()) {
    const sg4::Link* theirs = engine.link_by_name_or_null(link.name);
    if (!theirs) return "link " + link.name;
    if (!near(theirs->get_bandwidth(), link.bandwidth_bytes_per_s)) return "bandwidth of " + link.name;
    if (!near(theirs->get_latency(), link.latency_s)) return "latency of " + link.name;
    const bool fatpipe = theirs->get_sharing_policy() == sg4::Link::SharingPolicy::FATPIPE;
    if (fatpipe != (link.sharing == Sharing::kFatpipe)) return "sharing of " + link.name;
  }
  for (HostId from = 0; from < platform.host_count(); ++from) {
    for (HostId to = 0; to < platform.host_count(); ++to) {
      const Route* route = platform.route(from, to);
      if (from == to || !route) continue;  // SimGrid has no way to ask whether there is a route
      const std::string name = platform.host(from).name + " -> " + platform.host(to).name;
      std::vector<sg4::Link*> links;
      double latency_s = 0;
      engine.host_by_name(platform.host(from).name)
          ->route_to(engine.host_by_name(platform.host(to).name), links, &latency_s);
      if (links.size() != route->links.size()) return "length of " + name;
      for (std::size_t i = 0; i < links.size(); ++i) {
        if (links[i]->get_name() != platform.link(route->links[i]).name) return "links of " + name;
      }
      if (!near(latency_s, route->latency_s)) return "latency of " + name;
    }
  }
  return "";
}

}  // namespace

TEST_CASE("platform: SimGrid reads every bundled file as we do") {
  const fs::path source = CDISIM_SOURCE_DIR;
  int files = 0;
  for (const fs::path& folder : {source / "platforms", source / "tests/fixtures"}) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".xml") continue;
      ++files;
      const Platform platform = Platform::load(entry.path());
      std::fflush(nullptr);
      const pid_t child = fork();
      REQUIRE(child >= 0);
      if (child == 0) {
        const std::string what = difference(platform);
        if (!what.empty()) std::fprintf(stderr, "%s: %s\n", platform.file().c_str(), what.c_str());
        _exit(what.empty() ? 0 : 1);
      }
      int status = 0;
      REQUIRE(waitpid(child, &status, 0) == child);
      INFO(entry.path().string());
      CHECK(WIFEXITED(status));
      CHECK(WEXITSTATUS(status) == 0);
    }
  }
  CHECK(files >= 4);  // the bundled platforms and two fixtures
}
