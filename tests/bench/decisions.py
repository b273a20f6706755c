"""What Python costs (`make bench`): decisions of a Python policy a second, and a run of one request.

    PYTHONPATH=build/python CDISIM_PROGRAM=build/cdisim /usr/bin/python3 tests/bench/decisions.py [--edgent RUNS]

Exit status 1 where there are fewer than 5,000 decisions a second, or a run costs more than 10 ms. --edgent also runs
the Edgent experiment so many times and prints what memory, processes and file descriptors they left behind.
"""

import argparse
import os
import statistics
import sys
import time

import cdisim
from cdisim import server

DECISIONS_PER_S, RUN_S = 5000, 0.010
JOB = {"schema": 1, "name": "decisions", "title": "decisions", "platform": "pi3_lan_desktop", "model": "lenet",
       "latency_model": "roofline", "arrivals": {"kind": "periodic", "period": "1s"}, "horizon_s": 20000,
       "policies": [{"name": "edge_only"}]}


def first_edge(problem):
    return cdisim.chain_plan(problem.graph, 0, 0, problem.source, problem.reachable("edge")[0])


class Watching:
    """Decides at each arrival, by the bandwidth and the queue."""

    watches_arrivals = True

    def plan(self, problem):
        self.edge = problem.reachable("edge")[0]
        return first_edge(problem)

    def replan(self, problem, observation):
        busy = observation.queue_length(self.edge) > 3 or problem.bandwidth_bytes_per_s[0] < 1e3
        return cdisim.chain_plan(problem.graph, 0, 0, problem.source, problem.source if busy else self.edge)


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def held(pid):
    with open(f"/proc/{pid}/status") as status:
        kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return f"{kilobytes / 1024:.1f} MB, {len(os.listdir(f'/proc/{pid}/fd'))} files, " \
               f"{len(children.read().split())} children"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--edgent", type=int, default=0, metavar="RUNS")
    options = parser.parse_args()

    cdisim.run(JOB, requests=False)
    simulation = min(seconds(lambda: cdisim.run(JOB, policy="edge_only", requests=False)) for _ in range(3))
    asked = min(seconds(lambda: cdisim.run(JOB, policy=Watching, requests=False)) for _ in range(3))
    rate = JOB["horizon_s"] / (asked - simulation)
    print(f"decisions of a Python policy: {rate:,.0f} a second (at least {DECISIONS_PER_S:,})")

    # With one request next to nothing is simulated: this is what asking the server costs.
    short = {**JOB, "horizon_s": 1}
    run_s = statistics.median(seconds(lambda: cdisim.run(short)) for _ in range(50))
    print(f"a run with one request: {run_s * 1e3:.1f} ms (at most {RUN_S * 1e3:.0f} ms)")

    if options.edgent:
        for done in range(options.edgent):
            if done in (20, options.edgent // 2):
                print(f"after {done} runs: caller {held(os.getpid())}; server {held(server.server_pid())}", flush=True)
            cdisim.run("edgent")
        print(f"after {options.edgent} runs: caller {held(os.getpid())}; server {held(server.server_pid())}")
    return 0 if rate >= DECISIONS_PER_S and run_s <= RUN_S else 1


if __name__ == "__main__":
    sys.exit(main())
