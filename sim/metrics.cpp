#include "sim/metrics.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>

namespace cdisim {

namespace {

Json pack(const std::vector<double>& values) {
  std::vector<std::uint8_t> bytes(values.size() * sizeof(double));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return Json::binary(std::move(bytes));
}

void unpack(const Json& packed, std::vector<double>& into) {
  const auto& bytes = packed.get_binary();
  const std::size_t n = into.size();
  into.resize(n + bytes.size() / sizeof(double));
  if (!bytes.empty()) std::memcpy(into.data() + n, bytes.data(), bytes.size());
}

// Nearest rank on sorted values.
double percentile(const std::vector<double>& sorted, double p) {
  const auto rank = static_cast<std::size_t>(std::ceil(p / 100 * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

// Summed in extended precision: the mean of equal values is that value.
double mean(const std::vector<double>& values) {
  long double sum = 0;
  for (const double v : values) sum += v;
  return static_cast<double>(sum / static_cast<long double>(values.size()));
}

// Half-width of the 95 % confidence interval of the mean, t * s / sqrt(n).
Json ci95(const std::vector<double>& values) {
  const std::size_t n = values.size();
  if (n < 2) return nullptr;
  const double m = mean(values);
  double squares = 0;
  for (const double v : values) squares += (v - m) * (v - m);
  const double deviation = std::sqrt(squares / static_cast<double>(n - 1));
  const boost::math::students_t t(static_cast<double>(n - 1));
  return boost::math::quantile(t, 0.975) * deviation / std::sqrt(static_cast<double>(n));
}

Json mean_or_null(const std::vector<double>& values) {
  return values.empty() ? Json(nullptr) : Json(mean(values));
}

// Mean over the repetitions of summary[key], a number or an object of numbers.
double mean_of(const std::vector<Json>& summaries, const char* key) {
  double sum = 0;
  for (const Json& s : summaries) sum += s[key].get<double>();
  return sum / static_cast<double>(summaries.size());
}

Json mean_by_name(const std::vector<Json>& summaries, const char* key) {
  std::map<std::string, double> sums;
  for (const Json& s : summaries) {
    for (const auto& [name, value] : s[key].items()) sums[name] += value.get<double>();
  }
  Json out = Json::object();
  for (const auto& [name, sum] : sums) out[name] = sum / static_cast<double>(summaries.size());
  return out;
}

// Of what happened in some repetitions only, the mean over those.
Json mean_where_known(const std::vector<Json>& summaries, const char* key) {
  std::map<std::string, std::vector<double>> values;
  for (const Json& s : summaries) {
    for (const auto& [name, value] : s[key].items()) values[name].push_back(value.get<double>());
  }
  Json out = Json::object();
  for (const auto& [name, of_name] : values) out[name] = mean(of_name);
  return out;
}

double total(const Json& by_name) {
  double sum = 0;
  for (const auto& [name, value] : by_name.items()) sum += value.get<double>();
  return sum;
}

}  // namespace

Json summarise(const RunSpec& spec, const Trace& trace) {
  const Platform& platform = *spec.platform;
  std::array<std::int64_t, 3> counts{};
  std::vector<double> latencies;
  double compute_s = 0, transfer_s = 0, queue_s = 0, accuracy = 0;
  double accuracy_in_time = 0;
  std::int64_t missed = 0, failures = 0, answers = 0;  // answers: what counts in the accuracy
  bool accuracy_known = true;
  Json exits = Json::object();  // completed requests by exit
  std::vector<std::int64_t> phase_completed(spec.phases_s.size());
  std::vector<double> phase_latency_s(spec.phases_s.size());
  for (const RequestRecord& r : trace.requests) {
    if (r.arrival_s < spec.warmup_s) continue;
    ++counts[static_cast<std::size_t>(r.state)];
    failures += r.failures;
    if (r.state == RequestState::kLost && spec.guess_accuracy) {
      ++answers;
      accuracy += *spec.guess_accuracy;
    }
    if (r.state != RequestState::kCompleted) continue;
    ++answers;
    Json& stopped = exits[spec.graph->exits()[static_cast<std::size_t>(r.exit)].name];
    stopped = stopped.is_null() ? 1 : stopped.get<std::int64_t>() + 1;
    latencies.push_back(r.end_s - r.arrival_s);
    const auto phase = std::ranges::upper_bound(spec.phases_s, r.arrival_s) - spec.phases_s.begin() - 1;
    if (phase >= 0) {
      ++phase_completed[static_cast<std::size_t>(phase)];
      phase_latency_s[static_cast<std::size_t>(phase)] += latencies.back();
    }
    compute_s += r.compute_s;
    transfer_s += r.transfer_s;
    queue_s += r.queue_s;
    const bool late = latencies.back() > spec.deadline_s;
    if (late) ++missed;
    accuracy_known = accuracy_known && r.accuracy.has_value();
    accuracy += r.accuracy.value_or(0);
    if (!late) accuracy_in_time += r.accuracy.value_or(0);
  }

  Json energy = Json::object(), radio = Json::object(), busy = Json::object(), bytes = Json::object(),
       memory = Json::object();
  Json flight = Json::object(), battery = Json::object(), emptied = Json::object();
  double cost_usd = 0;
  for (HostId id = 0; id < platform.host_count(); ++id) {
    const Host& host = platform.host(id);
    const HostMeter& meter = trace.hosts[static_cast<std::size_t>(id)];
    const double total_j = meter.energy_j + meter.radio_energy_j + meter.flight_energy_j;
    if (total_j != 0) energy[host.name] = total_j;
    if (meter.radio_energy_j != 0) radio[host.name] = meter.radio_energy_j;
    if (meter.busy_s != 0) busy[host.name] = meter.busy_s;
    if (meter.flight_energy_j != 0) flight[host.name] = meter.flight_energy_j;
    if (std::isfinite(meter.battery_j)) battery[host.name] = meter.battery_j;
    if (std::isfinite(meter.emptied_s)) emptied[host.name] = meter.emptied_s;
    cost_usd += meter.busy_s * host.price_usd_per_s;
  }
  for (LinkId id = 0; id < platform.link_count(); ++id) {
    const double crossed = trace.link_bytes[static_cast<std::size_t>(id)];
    if (crossed != 0) bytes[platform.link(id).name] = crossed;
    cost_usd += crossed * platform.link(id).price_usd_per_byte;
  }
  // Sources that use the same host share the model's weights there: the largest plan counts.
  std::map<HostId, double> held;
  for (const Plan& plan : trace.plans) {
    for (const auto& [host, b] : plan_memory_bytes(*spec.graph, plan)) held[host] = std::max(held[host], b);
    for (const Plan& fallback : plan.fallbacks) {
      for (const auto& [host, b] : plan_memory_bytes(*spec.graph, fallback))
        held[host] = std::max(held[host], b);
    }
  }
  for (const auto& [host, b] : trace.weight_memory_bytes) held[host] = b;
  for (const auto& [host, b] : held) memory[platform.host(host).name] = b;

  return {{"in_flight", counts[static_cast<std::size_t>(RequestState::kInFlight)]},
          {"completed", counts[static_cast<std::size_t>(RequestState::kCompleted)]},
          {"lost", counts[static_cast<std::size_t>(RequestState::kLost)]},
          {"missed", missed},
          {"failures", failures},
          {"exits", exits},
          {"latencies", pack(latencies)},
          {"compute_s", compute_s},
          {"transfer_s", transfer_s},
          {"queue_s", queue_s},
          {"accuracy", accuracy_known ? Json(accuracy) : Json(nullptr)},
          {"accuracy_in_time", accuracy_in_time},
          {"answers", answers},
          {"measured_s", trace.end_s - trace.measured_from_s},
          {"energy_j", energy},
          {"radio_j", radio},
          {"busy_s", busy},
          {"flight_j", flight},
          {"battery_j", battery},
          {"emptied_s", emptied},
          {"bytes", bytes},
          {"memory_bytes", memory},
          {"cost_usd", cost_usd},
          {"uploads", trace.uploads},
          {"upload_bytes", trace.upload_bytes},
          {"evictions", trace.evictions},
          {"last_upload_s", trace.last_upload_s ? Json(*trace.last_upload_s) : Json(nullptr)},
          {"phases_s", spec.phases_s},
          {"phase_completed", phase_completed},
          {"phase_latency_s", phase_latency_s},
          {"replans", trace.replans}};
}

namespace {

// The phases of a run, over all repetitions.
Json phases(const std::vector<Json>& summaries) {
  Json out = Json::array();
  for (std::size_t i = 0; i < summaries.front()["phases_s"].size(); ++i) {
    std::int64_t completed = 0;
    double latency_s = 0;
    for (const Json& s : summaries) {
      completed += s["phase_completed"][i].get<std::int64_t>();
      latency_s += s["phase_latency_s"][i].get<double>();
    }
    out.push_back(
        {{"from_s", summaries.front()["phases_s"][i]},
         {"completed", completed},
         {"latency_s", completed == 0 ? Json(nullptr) : Json(latency_s / static_cast<double>(completed))}});
  }
  return out;
}

// What every run has.
Json common_metrics(const std::vector<Json>& summaries) {
  std::int64_t completed = 0, lost = 0, in_flight = 0, missed = 0, failures = 0, answers = 0;
  std::map<std::string, std::int64_t> stopped;
  std::vector<double> latencies, means, throughputs, compute_s, transfer_s, queue_s, last_uploads;
  double accuracy = 0, accuracy_in_time = 0;
  bool accuracy_known = true;
  for (const Json& s : summaries) {
    if (!s["last_upload_s"].is_null()) last_uploads.push_back(s["last_upload_s"].get<double>());
    const auto n = s["completed"].get<std::int64_t>();
    completed += n;
    lost += s["lost"].get<std::int64_t>();
    in_flight += s["in_flight"].get<std::int64_t>();
    missed += s["missed"].get<std::int64_t>();
    failures += s["failures"].get<std::int64_t>();
    for (const auto& [exit, count] : s["exits"].items()) stopped[exit] += count.get<std::int64_t>();
    std::vector<double> own;
    unpack(s["latencies"], own);
    if (n > 0) {
      means.push_back(mean(own));
      compute_s.push_back(s["compute_s"].get<double>() / static_cast<double>(n));
      transfer_s.push_back(s["transfer_s"].get<double>() / static_cast<double>(n));
      queue_s.push_back(s["queue_s"].get<double>() / static_cast<double>(n));
    }
    latencies.insert(latencies.end(), own.begin(), own.end());
    const double measured_s = s["measured_s"].get<double>();
    if (measured_s > 0) throughputs.push_back(static_cast<double>(n) / measured_s);
    accuracy_known = accuracy_known && !s["accuracy"].is_null();
    if (accuracy_known) accuracy += s["accuracy"].get<double>();
    accuracy_in_time += s["accuracy_in_time"].get<double>();
    answers += s["answers"].get<std::int64_t>();
  }
  std::sort(latencies.begin(), latencies.end());
  const auto per_request = [&](double sum) {
    return completed == 0 ? Json(nullptr) : Json(sum / static_cast<double>(completed));
  };
  const auto share = [&](double sum, std::int64_t of) {
    return accuracy_known && of > 0 ? Json(sum / static_cast<double>(of)) : Json(nullptr);
  };
  const auto rank = [&](double p) { return completed == 0 ? Json(nullptr) : Json(percentile(latencies, p)); };
  const Json energy = mean_by_name(summaries, "energy_j");
  const Json bytes = mean_by_name(summaries, "bytes");
  Json exits = Json::object();
  for (const auto& [exit, count] : stopped) exits[exit] = per_request(static_cast<double>(count));
  return {{"requests",
           {{"arrived", completed + lost + in_flight},
            {"completed", completed},
            {"lost", lost},
            {"in_flight", in_flight}}},
          {"failures", failures},
          {"exits", exits},
          {"latency_s",
           {{"mean", mean_or_null(means)},
            {"ci95", ci95(means)},
            {"p50", rank(50)},
            {"p95", rank(95)},
            {"p99", rank(99)},
            {"max", rank(100)}}},
          {"compute_s", mean_or_null(compute_s)},
          {"transfer_s", mean_or_null(transfer_s)},
          {"queue_s", mean_or_null(queue_s)},
          {"throughput_per_s", mean_or_null(throughputs)},
          {"deadline_miss_ratio", per_request(static_cast<double>(missed))},
          {"accuracy", share(accuracy, answers)},
          {"accuracy_in_time", share(accuracy_in_time, completed + lost)},
          {"energy_j",
           {{"total", total(energy)}, {"per_host", energy}, {"radio", mean_by_name(summaries, "radio_j")}}},
          {"busy_s", {{"per_host", mean_by_name(summaries, "busy_s")}}},
          {"bytes", {{"total", total(bytes)}, {"per_link", bytes}}},
          {"memory_bytes", {{"per_host", mean_by_name(summaries, "memory_bytes")}}},
          {"cost_usd", mean_of(summaries, "cost_usd")},
          {"weights",
           {{"uploads", mean_of(summaries, "uploads")},
            {"bytes", mean_of(summaries, "upload_bytes")},
            {"evictions", mean_of(summaries, "evictions")},
            {"complete_s", mean_or_null(last_uploads)}}},
          {"phases", phases(summaries)},
          {"replans", mean_of(summaries, "replans")}};
}

}  // namespace

Json aggregate(const std::vector<Json>& summaries) {
  Json out = common_metrics(summaries);
  if (const Json flight = mean_by_name(summaries, "flight_j"); !flight.empty())
    out["energy_j"]["flight"] = flight;
  if (const Json left = mean_by_name(summaries, "battery_j"); !left.empty()) {
    out["battery_j"] = {{"per_host", left}};
    out["emptied_s"] = {{"per_host", mean_where_known(summaries, "emptied_s")}};
  }
  return out;
}

}  // namespace cdisim
