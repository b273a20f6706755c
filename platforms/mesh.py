#!/usr/bin/env python3
"""Writes the meshes of IoT units that the experiments of disabato_distributed_cnns run on.

    python3 platforms/mesh.py           writes every file
    python3 platforms/mesh.py --check   writes nothing; exits 1 when a file differs from its definition here

Units and cameras stand where a seeded generator puts them in a square; two of them hear each other within a
distance, and a route takes a path of the fewest hops. A unit passes a tensor on when it has all of it: d hops take d
times as long as one. The link "hops_d" holds a route of d hops to that rate, alone on it or not; what shares a hop
also shares its link.
"""

import random
import sys
from collections import deque
from pathlib import Path

HERE = Path(__file__).resolve().parent
RATE_BPS = 9241600  # byte/s: the paper's 72.2 Mbit/s in its own units, 9241.6 kB/s
# 10^6 multiplications a second, memory in KiB: samples.py of the paper's authors.
UNITS = {"orangepi_zero": (480, 131072), "beaglebone_ai": (300, 524288), "raspberry_pi_3b_plus": (560, 524288),
         "stm32h7": (40, 512)}


def mesh(name, title, units, cameras, mix, half_width, distance, seed):
    rng = random.Random(seed)
    place = lambda: (rng.uniform(-half_width, half_width), rng.uniform(-half_width, half_width))
    types = rng.choices(list(mix), weights=mix.values(), k=units)
    hosts = [f"camera_{i}" for i in range(cameras)] + [f"unit_{i}" for i in range(units)]
    places = [place() for _ in hosts]
    near = lambda a, b: (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 < distance**2
    hears = [[j for j in range(len(hosts)) if j != i and near(places[i], places[j])] for i in range(len(hosts))]

    paths = {}  # from, to: hosts on the way, both ends included; of the shortest the first that is found
    for start in range(len(hosts)):
        before, queue = {start: None}, deque([start])
        while queue:
            here = queue.popleft()
            # Cameras pass nothing on.
            for there in hears[here] if here == start or here >= cameras else []:
                if there not in before:
                    before[there] = here
                    queue.append(there)
        for end in range(start + 1, len(hosts)):
            if end not in before:
                sys.exit(f"{name}: {hosts[start]} does not reach {hosts[end]}; take another seed")
            path, here = [], end
            while here is not None:
                path.append(here)
                here = before[here]
            paths[start, end] = path[::-1]
    longest = max(len(path) for path in paths.values()) - 1

    out = ['<?xml version="1.0"?>', '<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">',
           f"<!-- {title}",
           f"     Written by platforms/mesh.py: {units} units and {cameras} camera(s) at random places of a square of",
           f"     {2 * half_width} by {2 * half_width}, links up to a distance of {distance} (seed {seed}; the paper's own"
           " places are not published).",
           "     Source: S. Disabato, M. Roveri, C. Alippi, Distributed Deep Convolutional Neural Networks for the",
           "     Internet-of-Things, IEEE Transactions on Computers 70(8), 2021, and github.com/simdis/distributedCNNs:",
           "     kinds of units, their memory and multiplications a second (speed: twice as many flop), and 72.2 Mbit/s.",
           "     Cameras compute nothing: no model fits in 1 B. No powers are given.",
           "     A route of d hops has the rate of one over d (link hops_d, which nobody else slows down): units store and",
           "     forward. What shares a hop shares its link. -->",
           '<platform version="4.1">', f'  <zone id="{name}" routing="Full">']
    for i, host in enumerate(hosts):
        kind = None if i < cameras else types[i - cameras]
        speed, memory = (1, "1B") if kind is None else (UNITS[kind][0], f"{UNITS[kind][1]}KiB")
        tier, device = ("device", "") if kind is None else ("edge", f'<prop id="device_type" value="{kind}"/>')
        out.append(f'    <host id="{host}" speed="{2 * speed}Mf" core="1"><prop id="tier" value="{tier}"/>{device}'
                   f'<prop id="memory" value="{memory}"/></host>')
    for hops in range(1, longest + 1):
        out.append(f'    <link id="hops_{hops}" bandwidth="{RATE_BPS / hops:.9g}Bps" latency="0s"'
                   ' sharing_policy="FATPIPE"/>')
    for i, others in enumerate(hears):
        out += [f'    <link id="hop_{i}_{j}" bandwidth="{RATE_BPS}Bps" latency="0s"/>' for j in others if j > i]
    for (start, end), path in paths.items():
        links = "".join(f'<link_ctn id="hop_{min(a, b)}_{max(a, b)}"/>' for a, b in zip(path, path[1:]))
        out.append(f'    <route src="{hosts[start]}" dst="{hosts[end]}"><link_ctn id="hops_{len(path) - 1}"/>'
                   f'{links}</route>')
    return "\n".join(out + ["  </zone>", "</platform>", ""])


TITLE = "The mesh of Disabato et al.'s example"
FILES = {
    "disabato_mesh": (f"{TITLE} of one source and one CNN.", 50, 1,
                      {"orangepi_zero": 0.45, "beaglebone_ai": 0.45, "raspberry_pi_3b_plus": 0.1}, 5, 3, 1),
    "disabato_mesh_exits": (f"{TITLE} of early exits, with fewer units.", 20, 1,
                            {"stm32h7": 0.5, "raspberry_pi_3b_plus": 0.5}, 5, 3, 1),
    "disabato_mesh_sources": (f"{TITLE} of several sources, with fewer units.", 12, 2,
                              {"orangepi_zero": 0.45, "beaglebone_ai": 0.45, "raspberry_pi_3b_plus": 0.1}, 8, 7.5, 2),
}


def main(arguments):
    if arguments not in ([], ["--check"]):
        sys.exit(f"usage: {sys.argv[0]} [--check]")
    differing = []
    for name, definition in FILES.items():
        path, text = HERE / f"{name}.xml", mesh(name, *definition)
        if arguments:
            if not path.exists() or path.read_text() != text:
                differing.append(name)
        else:
            path.write_text(text)
    if differing:
        sys.exit("differ from their definition: " + ", ".join(differing))


main(sys.argv[1:])
