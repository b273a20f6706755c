"""The benchmark job with SimPy: python3 simpy_job.py DEVICES REQUESTS_PER_DEVICE

Every device computes 0.100 s, sends 100 kB over its private 10 Mbit/s, 5 ms link, the edge computes 0.010 s on one of
max(16, DEVICES/50) cores (first come, first served) and sends 1 kB back: 0.2008 s in all. Only the private variant:
SimPy has no notion of flows that share a bandwidth, so the shared one would be a solver of our own. Prints one JSON
line; exit status 1 if a latency is off by more than 1e-6 s.
"""

import json
import resource
import sys
import time

import simpy

COMPUTE_S, EDGE_S = 0.100, 0.010
LINK_LATENCY_S, BYTE_S = 0.005, 8 / 10e6
INPUT_BYTES, RESULT_BYTES = 100_000, 1_000
LATENCY_S = COMPUTE_S + EDGE_S + 2 * LINK_LATENCY_S + (INPUT_BYTES + RESULT_BYTES) * BYTE_S


def device(env, start_s, requests, processor, link, edge, latencies):
    """One device: a process that serves its requests one after the other."""
    for k in range(requests):
        due = start_s + k
        if due > env.now:
            yield env.timeout(due - env.now)
        with processor.request() as turn:
            yield turn
            yield env.timeout(COMPUTE_S)
        with link.request() as turn:
            yield turn
            yield env.timeout(LINK_LATENCY_S + INPUT_BYTES * BYTE_S)
        with edge.request() as turn:
            yield turn
            yield env.timeout(EDGE_S)
        with link.request() as turn:
            yield turn
            yield env.timeout(LINK_LATENCY_S + RESULT_BYTES * BYTE_S)
        latencies.append(env.now - due)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: simpy_job.py DEVICES REQUESTS_PER_DEVICE")
    devices, requests = int(sys.argv[1]), int(sys.argv[2])
    env = simpy.Environment()
    edge = simpy.Resource(env, max(16, devices // 50))
    latencies = []
    for i in range(devices):
        processor, link = simpy.Resource(env, 1), simpy.Resource(env, 1)
        env.process(device(env, i / devices, requests, processor, link, edge, latencies))
    start = time.perf_counter()
    env.run()
    wall_s = time.perf_counter() - start
    print(json.dumps({
        "requests": len(latencies),
        "mean_latency_s": sum(latencies) / len(latencies),
        "max_latency_s": max(latencies),
        "wall_s": wall_s,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))
    if any(abs(latency - LATENCY_S) > 1e-6 for latency in latencies):
        sys.exit(f"simpy_job: a latency differs from {LATENCY_S} s by more than 1e-6 s")


if __name__ == "__main__":
    main()
