"""The benchmark: cdisim beside the best plain SimGrid program and SimPy, on one job (`make bench`).

    python3 tests/bench/bench.py --cdisim build/cdisim --bare build/tests/bench/bare_simgrid

The job: every device computes 0.100 s, sends 100 kB over its private 10 Mbit/s, 5 ms link, the edge computes 0.010 s on
one of max(16, N/50) cores (first come, first served) and sends 1 kB back; one request per device and second, device i
starts at i/N s. Closed form: 0.1 + 0.005 + 100000*8/10e6 + 0.01 + 0.005 + 1000*8/10e6 = 0.2008 s. The variant "shared"
puts one more link on every route, 1 ms, of which the offered load is 80 %; SimPy shares no bandwidth and sits it out.

The programs run in turns; a time is that of the whole process, from start to exit, and the median of its rounds. Exit
status 1 if a program fails or a latency is wrong, with --check also if a target is missed.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent

INPUT_BYTES, RESULT_BYTES = 100_000, 1_000
SHARED_LATENCY_S, SHARED_LOAD = 0.001, 0.8
LATENCY_S = 0.1 + 0.005 + INPUT_BYTES * 8 / 10e6 + 0.01 + 0.005 + RESULT_BYTES * 8 / 10e6
TOLERANCE_S = 1e-6
PROCESS_LIMIT_S = 600

TARGET_BARE = {"private": 3.0, "shared": 0.9}  # requests/s of cdisim over those of plain SimGrid, at least
TARGET_SIMPY = 1.0  # more than
TARGET_PEAK_MIB = 1024  # less than
TARGET_START_S = 0.050  # less than


class BenchError(Exception):
    """A program failed or could not be understood."""


def requests_per_device(devices, variant):
    """As many that plain SimGrid takes about one to three seconds; at least 2 each, at least 5,000 in all."""
    if variant == "private":
        total = 200_000 if devices <= 1_000 else 60_000
    else:
        total = 50_000 if devices <= 100 else 20_000
    return max(2, -(-total // devices))


# ---- what cdisim reads ----


def write_platform(path, devices, variant):
    """SimGrid XML: N devices, each behind its link, around one edge."""
    edge_cores = max(16, devices // 50)
    shared_ctn, shared_link = "", ""
    if variant == "shared":
        bytes_per_s = (INPUT_BYTES + RESULT_BYTES) * devices / SHARED_LOAD
        shared_link = (f'    <link id="shared" bandwidth="{bytes_per_s:.0f}Bps"'
                       f' latency="{SHARED_LATENCY_S * 1e3:g}ms"/>\n')
        shared_ctn = '<link_ctn id="shared"/>'
    with open(path, "w", encoding="utf-8") as out:
        out.write('<?xml version="1.0"?>\n'
                  '<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">\n'
                  '<platform version="4.1">\n'
                  '  <zone id="bench" routing="Full">\n')
        for i in range(devices):
            out.write(f'    <host id="device-{i}" speed="1Gf"><prop id="tier" value="device"/>'
                      '<prop id="device_type" value="bench_device"/></host>\n')
        out.write(f'    <host id="edge" speed="1Gf" core="{edge_cores}"><prop id="tier" value="edge"/>'
                  '<prop id="device_type" value="bench_edge"/></host>\n')
        out.write(shared_link)
        for i in range(devices):
            out.write(f'    <link id="link-{i}" bandwidth="10Mbps" latency="5ms"/>\n')
        for i in range(devices):
            out.write(f'    <route src="device-{i}" dst="edge" symmetrical="YES">'
                      f'<link_ctn id="link-{i}"/>{shared_ctn}</route>\n')
        out.write("  </zone>\n</platform>\n")


def write_experiment(folder, devices, requests, variant):
    """Writes the experiment and the files it names into `folder`; returns the path of the experiment."""
    write_platform(folder / "platform.xml", devices, variant)
    documents = {
        # 25000 elements of 4 B are the 100 kB that travel up, 250 the 1 kB that come down.
        "model.json": {
            "schema": 1, "name": "bench", "source": "benchmark job", "precision": "fp32",
            "input": {"shape": [INPUT_BYTES // 4]},
            "layers": [
                {"name": "device_part", "kind": "relu", "inputs": ["input"], "output": [INPUT_BYTES // 4]},
                {"name": "edge_part", "kind": "fc", "inputs": ["device_part"], "output": [RESULT_BYTES // 4]},
            ],
        },
        "latency.json": {
            "schema": 1, "name": "bench",
            "devices": {
                "bench_device": {"kind": "profile", "unit": "s", "source": "benchmark job",
                                 "layers": {"device_part": 0.1, "edge_part": 1.0}},
                "bench_edge": {"kind": "profile", "unit": "s", "source": "benchmark job",
                               "layers": {"device_part": 0.01, "edge_part": 0.01}},
            },
        },
        "bench.json": {
            "schema": 1, "name": "bench", "title": "benchmark job",
            "platform": "platform.xml", "model": "model.json", "latency_model": "latency.json",
            "wire": {"input_bytes": 0, "result_bytes": RESULT_BYTES},
            "sources": "tier:device",
            "arrivals": {"kind": "periodic", "period": "1s", "stagger": True},
            "requests": requests,
            "policies": [{"name": "neurosurgeon", "partition_point": 1}],
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return folder / "bench.json"


# ---- running the programs ----


def run(command, folder):
    """Runs a command in `folder`; returns (its standard output, seconds from start to exit, peak memory in MiB)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        try:
            process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        except OSError as error:
            raise BenchError(f"{command[0]}: {error.strerror}") from error
        limit = threading.Timer(PROCESS_LIMIT_S, os.kill, (process.pid, 9))
        limit.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        limit.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            message = err.read().decode(errors="replace").strip()
            raise BenchError(f"{' '.join(map(str, command))}\n  ended with status {process.returncode}:"
                             f" {message[-2000:]}")
        return out.read().decode(), wall_s, usage.ru_maxrss / 1024


def read_cdisim(text):
    """(completed requests, mean latency in s, largest latency in s) of results JSON."""
    metrics = json.loads(text)["runs"][0]["metrics"]
    return metrics["requests"]["completed"], metrics["latency_s"]["mean"], metrics["latency_s"]["max"]


def read_line(text):
    """The same of the line that bare_simgrid and simpy_job.py print."""
    line = json.loads(text)
    return line["requests"], line["mean_latency_s"], line["max_latency_s"]


class Program:
    """One program on one size and variant: its command, and what its rounds gave."""

    def __init__(self, name, command, read):
        self.name, self.command, self.read = name, command, read
        self.wall_s, self.peak_mib, self.result = [], [], None

    def round(self, folder):
        text, wall_s, peak_mib = run(self.command, folder)
        try:
            self.result = self.read(text)
        except (ValueError, LookupError, TypeError) as error:
            raise BenchError(f"{self.name}: its output is not understood ({error!r}): {text[:500]}") from error
        self.wall_s.append(wall_s)
        self.peak_mib.append(peak_mib)

    def summary(self, requests):
        median_s = statistics.median(self.wall_s)
        return {"wall_s": self.wall_s, "median_wall_s": median_s, "requests_per_s": requests / median_s,
                "peak_mib": max(self.peak_mib), "mean_latency_s": self.result[1], "max_latency_s": self.result[2]}


def cdisim_command(options, experiment):
    return [options.cdisim, experiment.name, "--json", "--quiet", "--jobs", "1"]


def measure(options, devices, variant, simpy, folder):
    """Runs the programs in turns on one size and variant; returns the cell of the table."""
    per_device = requests_per_device(devices, variant)
    requests = devices * per_device
    experiment = write_experiment(folder, devices, requests, variant)
    programs = [Program("cdisim", cdisim_command(options, experiment), read_cdisim),
                Program("bare", [options.bare, str(devices), str(per_device), variant], read_line)]
    if simpy and variant == "private":
        programs.append(Program("simpy", [simpy, str(HERE / "simpy_job.py"), str(devices), str(per_device)], read_line))
    for turn in range(options.runs):
        for program in programs:
            progress(f"{devices} devices, {variant}: round {turn + 1} of {options.runs}, {program.name}")
            program.round(folder)

    cell = {"devices": devices, "variant": variant, "requests": requests}
    for program in programs:
        cell[program.name] = program.summary(requests)
    cell["cdisim_over_bare"] = cell["cdisim"]["requests_per_s"] / cell["bare"]["requests_per_s"]
    if "simpy" in cell:
        cell["cdisim_over_simpy"] = cell["cdisim"]["requests_per_s"] / cell["simpy"]["requests_per_s"]

    # The private variant has a closed form; in the shared one plain SimGrid says what is right.
    expected_s = LATENCY_S if variant == "private" else cell["bare"]["mean_latency_s"]
    cell["errors"] = []
    for program in programs:
        completed, mean_s, _ = program.result
        where = f"{program.name}, {devices} devices, {variant}"
        if completed != requests:
            cell["errors"].append(f"{where}: {completed} requests completed, not {requests}")
        if mean_s is None or not abs(mean_s - expected_s) <= TOLERANCE_S:
            cell["errors"].append(f"{where}: the mean latency is {mean_s} s, not {expected_s:.9g} s")
    cell["missed"] = missed_targets(cell)
    return cell


def missed_targets(cell):
    where = f"{cell['devices']} devices, {cell['variant']}"
    missed = []
    target = TARGET_BARE[cell["variant"]]
    if cell["cdisim_over_bare"] < target:
        missed.append(f"{where}: {cell['cdisim_over_bare']:.2f} times plain SimGrid, not {target:g}")
    if cell.get("cdisim_over_simpy", float("inf")) <= TARGET_SIMPY:
        missed.append(f"{where}: {cell['cdisim_over_simpy']:.2f} times SimPy, not more than {TARGET_SIMPY:g}")
    if cell["cdisim"]["peak_mib"] >= TARGET_PEAK_MIB:
        missed.append(f"{where}: {cell['cdisim']['peak_mib']:.0f} MiB, not less than {TARGET_PEAK_MIB}")
    return missed


def measure_start(options, folder):
    """How long cdisim takes for one request of 10 devices: its start."""
    experiment = write_experiment(folder, 10, 1, "private")
    program = Program("cdisim", cdisim_command(options, experiment), read_cdisim)
    for turn in range(2 * options.runs + 1):
        progress(f"start time: {turn + 1} of {2 * options.runs + 1}")
        program.round(folder)
    return {"wall_s": program.wall_s, "median_wall_s": statistics.median(program.wall_s)}


# ---- what people read ----


def progress(message):
    """One line that overwrites itself on a terminal; in a pipe or a log, a line each."""
    if sys.stderr.isatty():
        print(f"\r\033[K{message}", end="", file=sys.stderr, flush=True)
    else:
        print(message, file=sys.stderr, flush=True)


def table(cells):
    """The table, at most 100 columns wide."""
    head = (f"{'devices':>8} {'variant':8} {'requests':>9} {'cdisim/s':>11} {'SimGrid/s':>10} {'SimPy/s':>9}"
            f" {'x SimGrid':>14} {'x SimPy':>11} {'MiB':>10}")
    lines = [head, "-" * len(head)]
    for cell in cells:
        against_bare = f"{cell['cdisim_over_bare']:.2f} (>={TARGET_BARE[cell['variant']]:g})"
        simpy_per_s, against_simpy = "-", "-"
        if "simpy" in cell:
            simpy_per_s = f"{cell['simpy']['requests_per_s']:,.0f}"
            against_simpy = f"{cell['cdisim_over_simpy']:.1f} (>{TARGET_SIMPY:g})"
        memory = f"{cell['cdisim']['peak_mib']:.0f} / {cell['bare']['peak_mib']:.0f}"
        lines.append(f"{cell['devices']:>8,} {cell['variant']:8} {cell['requests']:>9,}"
                     f" {cell['cdisim']['requests_per_s']:>11,.0f} {cell['bare']['requests_per_s']:>10,.0f}"
                     f" {simpy_per_s:>9} {against_bare:>14} {against_simpy:>11} {memory:>10}")
    lines.append("/s: requests by the whole process, start to exit, median; MiB: peak memory of cdisim / SimGrid")
    return "\n".join(lines)


def find_simpy(python):
    """The interpreter to run SimPy with, or None with a word about it."""
    candidates = [python] if python else ["/usr/bin/python3", sys.executable]
    for candidate in candidates:
        try:
            if subprocess.run([candidate, "-c", "import simpy"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0:
                return candidate
        except OSError:
            pass
    print("bench: SimPy is not installed (Debian: python3-simpy3); its column stays empty", file=sys.stderr)
    return None


def parse_arguments():
    parser = argparse.ArgumentParser(description="cdisim beside plain SimGrid and SimPy on one job")
    parser.add_argument("--cdisim", required=True, type=os.path.abspath, metavar="PROGRAM")
    parser.add_argument("--bare", required=True, type=os.path.abspath, metavar="PROGRAM", help="bare_simgrid")
    parser.add_argument("--sizes", default="10,100,1000,10000", help="numbers of devices (default: %(default)s)")
    parser.add_argument("--variants", default="private,shared", help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--python", help="interpreter that has SimPy (default: the system's, else this one)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    parser.add_argument("--check", action="store_true", help="exit status 1 also where a target is missed")
    options = parser.parse_args()
    try:
        options.sizes = [int(size) for size in options.sizes.split(",")]
    except ValueError:
        parser.error(f"--sizes: {options.sizes!r} is not a list such as 10,100")
    options.variants = options.variants.split(",")
    for variant in options.variants:
        if variant not in TARGET_BARE:
            parser.error(f"--variants: {variant!r} is neither private nor shared")
    if options.runs < 1 or min(options.sizes) < 1:
        parser.error("--runs and --sizes are at least 1")
    return options


def main():
    options = parse_arguments()
    simpy = find_simpy(options.python)
    with tempfile.TemporaryDirectory(prefix="cdisim-bench-") as name:
        folder = pathlib.Path(name)
        try:
            start = measure_start(options, folder)
            cells = [measure(options, devices, variant, simpy, folder)
                     for variant in options.variants for devices in options.sizes]
        except BenchError as error:
            progress("")
            print(f"bench: {error}", file=sys.stderr)
            return 1
    if sys.stderr.isatty():
        progress("")

    missed = [line for cell in cells for line in cell["missed"]]
    if start["median_wall_s"] >= TARGET_START_S:
        missed.append(f"start: {start['median_wall_s'] * 1e3:.1f} ms, not less than {TARGET_START_S * 1e3:g}")
    errors = [line for cell in cells for line in cell["errors"]]
    print(table(cells))
    print(f"start of cdisim (one request, 10 devices): {start['median_wall_s'] * 1e3:.1f} ms"
          f" (< {TARGET_START_S * 1e3:g}); memory: < {TARGET_PEAK_MIB} MiB")
    for line in missed:
        print(f"target missed: {line}")
    for line in errors:
        print(f"wrong: {line}")
    if options.json:
        document = {"schema": 1, "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
                    "runs": options.runs, "start": start, "cells": cells, "missed": missed, "errors": errors}
        pathlib.Path(options.json).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if errors or (options.check and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
