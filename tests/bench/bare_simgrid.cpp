// The benchmark job as a plain SimGrid program, written for speed: what cdisim is measured against.
//
//   bare_simgrid DEVICES REQUESTS_PER_DEVICE private|shared
//
// Every device computes 0.100 s, sends 100 kB over its private 10 Mbit/s, 5 ms link, the edge computes 0.010
// s on one of max(16, DEVICES/50) cores, first come, first served, and sends 1 kB back: 0.2008 s in all. One
// request per device and second; device i starts at i/DEVICES s. "shared" puts one more link on every route,
// 1 ms, of which the offered load is 80 %. Prints one JSON line; exit status 1 if a latency of the private
// variant is off by more than 1e-6 s.
//
// What makes it fast: one actor per device that lives as long as the device, 64 KiB stacks, a star zone (no
// n x n routing table), a semaphore as queue of the edge, and one host per core of it, so that two
// computations never meet in the solver. Two actors and two mailboxes per device instead of Comm::sendto are
// slower, but for a few per cent at 10,000 devices.

#include <sys/resource.h>
#include <xbt/log.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <simgrid/s4u.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace {

namespace sg4 = simgrid::s4u;

constexpr double kSpeedFlopPerS = 1e9;
constexpr double kDeviceWorkFlop = 0.100 * kSpeedFlopPerS;
constexpr double kEdgeWorkFlop = 0.010 * kSpeedFlopPerS;
constexpr std::uint64_t kInputBytes = 100'000;
constexpr std::uint64_t kResultBytes = 1'000;
constexpr double kLinkBytesPerS = 10e6 / 8;
constexpr double kLinkLatencyS = 0.005;
constexpr double kSharedLatencyS = 0.001;
constexpr double kSharedLoad = 0.8;
constexpr double kPrivateLatencyS = 0.2008;

struct Job {
  int devices = 0;
  int requests_per_device = 0;
  bool shared = false;
};

struct Site {
  std::vector<sg4::Host*> devices;
  sg4::Host* edge = nullptr;               // where the transfers end
  std::vector<sg4::Host*> idle_cores;      // of the edge, taken and given back by the actors
  sg4::SemaphorePtr free_cores = nullptr;  // counts them, and queues first come, first served
};

struct Latencies {
  double sum_s = 0;
  double min_s = HUGE_VAL;
  double max_s = 0;
};

Site build_site(const Job& job) {
  auto* zone = sg4::create_star_zone("site");
  Site site;
  const sg4::Link* shared = nullptr;
  if (job.shared) {
    const double offered_bytes_per_s = double(kInputBytes + kResultBytes) * job.devices;
    shared =
        zone->create_link("shared", offered_bytes_per_s / kSharedLoad)->set_latency(kSharedLatencyS)->seal();
  }
  for (int i = 0; i < job.devices; ++i) {
    const std::string id = std::to_string(i);
    auto* host = zone->create_host("device-" + id, kSpeedFlopPerS)->seal();
    const auto* link = zone->create_link("link-" + id, kLinkBytesPerS)->set_latency(kLinkLatencyS)->seal();
    std::vector<sg4::LinkInRoute> links{sg4::LinkInRoute(link)};
    if (shared) links.emplace_back(shared);
    // Two one-way routes, both with the private link first, instead of a symmetrical one: SimGrid 3.32's lazy
    // solver follows a starting flow from its first link only; where that is the shared one, and marked as
    // modified at this instant already, the flow escapes its private link's bound (1 kB in 4, not 800 us).
    zone->add_route(host->get_netpoint(), nullptr, nullptr, nullptr, links, false);
    zone->add_route(nullptr, host->get_netpoint(), nullptr, nullptr, links, false);
    site.devices.push_back(host);
  }
  // No route of their own: a star zone then connects them without a link.
  site.edge = zone->create_host("edge", kSpeedFlopPerS)->seal();
  const int cores = std::max(16, job.devices / 50);
  for (int i = 0; i < cores; ++i)
    site.idle_cores.push_back(zone->create_host("edge-core-" + std::to_string(i), kSpeedFlopPerS)->seal());
  zone->seal();
  site.free_cores = sg4::Semaphore::create(unsigned(cores));
  return site;
}

// True if a device's messages cross the intended links and nothing else, both ways.
bool routes_are_right(const Job& job, const Site& site) {
  const std::size_t links = job.shared ? 2 : 1;
  const double latency_s = kLinkLatencyS + (job.shared ? kSharedLatencyS : 0);
  for (const auto* device : {site.devices.front(), site.devices.back()}) {
    for (const bool up : {true, false}) {
      std::vector<sg4::Link*> route;
      double route_latency_s = 0;
      if (up)
        device->route_to(site.edge, route, &route_latency_s);
      else
        site.edge->route_to(device, route, &route_latency_s);
      if (route.size() != links || std::abs(route_latency_s - latency_s) > 1e-12) return false;
    }
  }
  return true;
}

// One device: its requests one after the other, each when due or as soon as the one before has ended.
void serve_requests(const Job& job, Site& site, int index, Latencies& latencies) {
  auto* const device = site.devices[std::size_t(index)];
  const double start_s = double(index) / job.devices;
  for (int k = 0; k < job.requests_per_device; ++k) {
    const double due_s = start_s + k;
    if (due_s > sg4::Engine::get_clock()) sg4::this_actor::sleep_until(due_s);

    sg4::this_actor::execute(kDeviceWorkFlop);
    sg4::Comm::sendto(device, site.edge, kInputBytes);

    site.free_cores->acquire();
    auto* const core = site.idle_cores.back();
    site.idle_cores.pop_back();
    sg4::this_actor::exec_init(kEdgeWorkFlop)->set_host(core)->wait();
    site.idle_cores.push_back(core);
    site.free_cores->release();

    sg4::Comm::sendto(site.edge, device, kResultBytes);

    const double latency_s = sg4::Engine::get_clock() - due_s;
    latencies.sum_s += latency_s;
    latencies.min_s = std::min(latencies.min_s, latency_s);
    latencies.max_s = std::max(latencies.max_s, latency_s);
  }
}

double peak_rss_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_maxrss) / 1024;
}

int usage_error() {
  std::fputs("usage: bare_simgrid DEVICES REQUESTS_PER_DEVICE private|shared\n", stderr);
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  xbt_log_control_set("root.thresh:error");
  sg4::Engine engine(&argc, argv);
  if (argc != 4) return usage_error();
  const std::string_view variant = argv[3];
  const Job job{std::atoi(argv[1]), std::atoi(argv[2]), variant == "shared"};
  if (job.devices < 1 || job.requests_per_device < 1 || (variant != "private" && variant != "shared"))
    return usage_error();

  sg4::Engine::set_config("network/model:CM02");
  sg4::Engine::set_config("network/crosstraffic:0");
  sg4::Engine::set_config("network/TCP-gamma:0");
  sg4::Engine::set_config("contexts/stack-size:64");  // KiB

  Site site = build_site(job);
  if (!routes_are_right(job, site)) {
    std::fputs("bare_simgrid: the star zone does not give the intended routes\n", stderr);
    return 1;
  }
  Latencies latencies;
  for (int i = 0; i < job.devices; ++i)
    sg4::Actor::create("device", site.devices[std::size_t(i)],
                       [&job, &site, i, &latencies] { serve_requests(job, site, i, latencies); });

  const auto start = std::chrono::steady_clock::now();
  engine.run();
  const double wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const double requests = double(job.devices) * job.requests_per_device;
  std::printf(
      "{\"requests\": %.0f, \"mean_latency_s\": %.12g, \"max_latency_s\": %.12g, "
      "\"wall_s\": %.6f, \"peak_rss_mb\": %.1f}\n",
      requests, latencies.sum_s / requests, latencies.max_s, wall_s, peak_rss_mb());
  const double worst_s =
      std::max(std::abs(latencies.min_s - kPrivateLatencyS), std::abs(latencies.max_s - kPrivateLatencyS));
  if (!job.shared && worst_s > 1e-6) {
    std::fprintf(stderr, "bare_simgrid: a latency differs from %g s by %g s\n", kPrivateLatencyS, worst_s);
    return 1;
  }
  return 0;
}
