#pragma once

#include <vector>

#include "sim/json_reader.h"
#include "sim/simulation.h"
#include "sim/trace.h"

namespace cdisim {

/// What one repetition contributes to its run's metrics, in a form that crosses a pipe: counts, sums and the
/// latencies. Only requests that arrived after the warm-up count; energy, bytes and money are those spent
/// after it.
Json summarise(const RunSpec& spec, const Trace& trace);

/// The metrics of a run from the summaries of its repetitions, as they stand in results.json:
/// requests {arrived, completed, lost, in_flight}, arrived being the sum of the others, over all repetitions;
/// failures: how often a failing host or link lost one, or its plan turned it away; exits: share of the
/// completed requests that stopped at each; latency_s {mean, ci95, p50, p95, p99, max}: mean of the
/// repetitions' means with the half-width of its 95 % confidence interval (Student's t over repetitions; null
/// below two), percentiles over all completed requests (nearest rank); compute_s, transfer_s, queue_s: parts
/// of the mean latency along the critical path (they add up to it); throughput_per_s: completed requests over
/// the measured time; deadline_miss_ratio over completed requests; accuracy: mean over completed requests of
/// their exits' accuracy, and over lost ones of a guess's where the experiment states one; accuracy_in_time:
/// mean over completed and lost requests, where what is lost or misses its deadline counts 0; weights
/// {uploads, bytes, evictions, complete_s}: uploads that arrived, layers that were evicted, arrival of the
/// last upload; phases: for each date of the experiment's "phases" {from_s, completed, latency_s}, of the
/// requests that arrived from it to the next; energy_j {total, per_host, radio}, busy_s {per_host} (with at
/// least one busy core), bytes {total, per_link}, memory_bytes {per_host}, cost_usd: means over repetitions.
/// null where nothing completed or nobody published an accuracy. Where hosts fly also energy_j {flight}, by
/// host and part of the others. Where hosts run on batteries also battery_j {per_host}, the charge left at
/// the end, and emptied_s {per_host}, the date at which one went empty: means over the repetitions in which
/// it did.
Json aggregate(const std::vector<Json>& summaries);

}  // namespace cdisim
