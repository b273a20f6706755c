#include "sim/trace.h"

#include <fmt/format.h>

#include <set>

namespace cdisim {

void append_chrome_trace(Json& events, const Trace& trace, const Platform& platform, int run,
                         const std::string& title) {
  constexpr double kMicroseconds = 1e6;
  events.push_back({{"ph", "M"}, {"pid", run}, {"name", "process_name"}, {"args", {{"name", title}}}});
  // Hosts first, then links, each under its own row number.
  const auto row = [&](const Interval& i) {
    return i.kind == Interval::Kind::kTransfer ? platform.host_count() + i.resource : i.resource;
  };
  std::set<int> rows;
  for (const Interval& interval : trace.intervals) rows.insert(row(interval));
  for (const int r : rows) {
    const std::string name = r < platform.host_count()
                                 ? "host " + platform.host(r).name
                                 : "link " + platform.link(r - platform.host_count()).name;
    events.push_back(
        {{"ph", "M"}, {"pid", run}, {"tid", r}, {"name", "thread_name"}, {"args", {{"name", name}}}});
    events.push_back({{"ph", "M"},
                      {"pid", run},
                      {"tid", r},
                      {"name", "thread_sort_index"},
                      {"args", {{"sort_index", r}}}});
  }
  // Waits overlap what the host computes meanwhile, and shared resources serve several at once: asynchronous
  // slices.
  static constexpr const char* kNames[] = {"compute", "transfer", "wait"};
  int id = 0;
  for (const Interval& interval : trace.intervals) {
    const char* kind = kNames[static_cast<int>(interval.kind)];
    const std::string name = interval.piece == kSourceEnd
                                 ? fmt::format("request {}", interval.request)
                                 : fmt::format("request {} piece {}", interval.request, interval.piece);
    Json slice = {{"name", name},
                  {"cat", kind},
                  {"pid", run},
                  {"tid", row(interval)},
                  {"ts", interval.start_s * kMicroseconds},
                  {"args", {{"request", interval.request}, {"kind", kind}}}};
    if (interval.kind == Interval::Kind::kCompute) {
      slice["ph"] = "X";
      slice["dur"] = (interval.end_s - interval.start_s) * kMicroseconds;
      events.push_back(std::move(slice));
      continue;
    }
    slice["id"] = fmt::format("{}.{}", run, id++);
    slice["ph"] = "b";
    events.push_back(slice);
    slice["ph"] = "e";
    slice["ts"] = interval.end_s * kMicroseconds;
    events.push_back(std::move(slice));
  }
}

}  // namespace cdisim
