#include "sim/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace cdisim {

void append_chrome_trace(Json& events, const Trace& trace, const Platform& platform, int run,
                         const std::string& title) {
  constexpr double kMicroseconds = 1e6;
  static constexpr const char* kNames[] = {"compute", "transfer", "wait"};
  events.push_back({{"ph", "M"}, {"pid", run}, {"name", "process_name"}, {"args", {{"name", title}}}});

  // What a resource did: hosts first, each with its queue, then links.
  using Resource = std::pair<int, bool>;  // host, or host_count() + link; queue
  std::map<Resource, std::vector<const Interval*>> by_resource;
  for (const Interval& i : trace.intervals) {
    const bool link = i.kind == Interval::Kind::kTransfer;
    by_resource[{(link ? platform.host_count() : 0) + i.resource, i.kind == Interval::Kind::kWait}].push_back(
        &i);
  }
  int row = 0;
  for (auto& [resource, intervals] : by_resource) {
    const auto& [number, queue] = resource;
    std::string name = number < platform.host_count()
                           ? "host " + platform.host(number).name
                           : "link " + platform.link(number - platform.host_count()).name;
    if (queue) name += " queue";
    std::ranges::stable_sort(intervals, {}, &Interval::start_s);
    // Slices of one row must not overlap: what a shared resource does at once goes into further rows.
    std::vector<double> row_ends;
    for (const Interval* interval : intervals) {
      const auto free = std::ranges::find_if(row_ends, [&](double end) { return end <= interval->start_s; });
      const auto lane = static_cast<int>(free - row_ends.begin());
      if (free == row_ends.end()) {
        row_ends.push_back(0);
        const std::string row_name = lane == 0 ? name : fmt::format("{} #{}", name, lane + 1);
        events.push_back({{"ph", "M"},
                          {"pid", run},
                          {"tid", row + lane},
                          {"name", "thread_name"},
                          {"args", {{"name", row_name}}}});
        events.push_back({{"ph", "M"},
                          {"pid", run},
                          {"tid", row + lane},
                          {"name", "thread_sort_index"},
                          {"args", {{"sort_index", row + lane}}}});
      }
      row_ends[static_cast<std::size_t>(lane)] = interval->end_s;
      const std::string what = interval->request == kNoRequest ? "weights"
                               : interval->piece == kSourceEnd
                                   ? fmt::format("request {}", interval->request)
                                   : fmt::format("request {} piece {}", interval->request, interval->piece);
      events.push_back({{"ph", "X"},
                        {"pid", run},
                        {"tid", row + lane},
                        {"name", what},
                        {"cat", kNames[static_cast<int>(interval->kind)]},
                        {"ts", interval->start_s * kMicroseconds},
                        {"dur", (interval->end_s - interval->start_s) * kMicroseconds},
                        {"args", {{"request", interval->request}}}});
    }
    row += static_cast<int>(row_ends.size());
  }
}

}  // namespace cdisim
