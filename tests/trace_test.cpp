#include "sim/trace.h"

#include <doctest/doctest.h>

#include <string>

using namespace cdisim;

namespace {

Platform pencil() {
  return Platform::load(std::string(CDISIM_SOURCE_DIR) + "/tests/fixtures/pencil.xml");
}

constexpr HostId kDevice = 0, kServer = 1;
constexpr LinkId kNet = 0;

}  // namespace

TEST_CASE("trace: Chrome events of a run") {
  // Request 4: 0.5 s on the device, 1 s over the link (for piece 1), 0.25 s of waiting and 0.5 s on the
  // server.
  Trace trace;
  trace.intervals = {{Interval::Kind::kCompute, kDevice, 4, 0, 0, 0.5},
                     {Interval::Kind::kTransfer, kNet, 4, kSourceEnd, 0.5, 1.5},
                     {Interval::Kind::kWait, kServer, 4, 1, 1.5, 1.75},
                     {Interval::Kind::kCompute, kServer, 4, 1, 1.75, 2.25}};
  Json events = Json::array({"what was there"});
  append_chrome_trace(events, trace, pencil(), 7, "edgent #0");
  // Rows: device 0, server 1, its queue 2, link 3. Times in microseconds.
  const Json expected = Json::parse(R"([
    "what was there",
    {"ph": "M", "pid": 7, "name": "process_name", "args": {"name": "edgent #0"}},
    {"ph": "M", "pid": 7, "tid": 0, "name": "thread_name", "args": {"name": "host device"}},
    {"ph": "M", "pid": 7, "tid": 0, "name": "thread_sort_index", "args": {"sort_index": 0}},
    {"ph": "X", "name": "request 4 piece 0", "cat": "compute", "pid": 7, "tid": 0, "ts": 0.0, "dur": 5e5,
     "args": {"request": 4}},
    {"ph": "M", "pid": 7, "tid": 1, "name": "thread_name", "args": {"name": "host server"}},
    {"ph": "M", "pid": 7, "tid": 1, "name": "thread_sort_index", "args": {"sort_index": 1}},
    {"ph": "X", "name": "request 4 piece 1", "cat": "compute", "pid": 7, "tid": 1, "ts": 1.75e6, "dur": 5e5,
     "args": {"request": 4}},
    {"ph": "M", "pid": 7, "tid": 2, "name": "thread_name", "args": {"name": "host server queue"}},
    {"ph": "M", "pid": 7, "tid": 2, "name": "thread_sort_index", "args": {"sort_index": 2}},
    {"ph": "X", "name": "request 4 piece 1", "cat": "wait", "pid": 7, "tid": 2, "ts": 1.5e6, "dur": 2.5e5,
     "args": {"request": 4}},
    {"ph": "M", "pid": 7, "tid": 3, "name": "thread_name", "args": {"name": "link net"}},
    {"ph": "M", "pid": 7, "tid": 3, "name": "thread_sort_index", "args": {"sort_index": 3}},
    {"ph": "X", "name": "request 4", "cat": "transfer", "pid": 7, "tid": 3, "ts": 5e5, "dur": 1e6,
     "args": {"request": 4}}
  ])");
  REQUIRE(events.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(events[i] == expected[i]);
}

TEST_CASE("trace: only what did something gets a row") {
  Trace trace;
  Json events = Json::array();
  append_chrome_trace(events, trace, pencil(), 0, "nothing");
  CHECK(events.size() == 1);  // the process's name

  trace.intervals = {{Interval::Kind::kTransfer, kNet, 0, kSourceEnd, 0, 1}};
  append_chrome_trace(events, trace, pencil(), 1, "a transfer");
  REQUIRE(events.size() == 1 + 1 + 2 + 1);
  CHECK(events[2]["args"]["name"] == "link net");
}

TEST_CASE("trace: what a resource does at once goes into further rows") {
  // Three transfers on one link: the second overlaps the first, the third fits behind the first.
  Trace trace;
  trace.intervals = {{Interval::Kind::kTransfer, kNet, 0, kSourceEnd, 0, 1},
                     {Interval::Kind::kTransfer, kNet, 1, kSourceEnd, 0.5, 2},
                     {Interval::Kind::kTransfer, kNet, 2, kSourceEnd, 1, 3}};
  Json events = Json::array();
  append_chrome_trace(events, trace, pencil(), 0, "shared");
  std::vector<int> rows;
  std::vector<std::string> names;
  for (const Json& event : events) {
    if (event["ph"] == "X") rows.push_back(event["tid"].get<int>());
    if (event["name"] == "thread_name") names.push_back(event["args"]["name"].get<std::string>());
  }
  CHECK(rows == std::vector<int>{0, 1, 0});
  CHECK(names == std::vector<std::string>{"link net", "link net #2"});
}
