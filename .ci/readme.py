"""Rewrites the generated parts of README.md from the program's own output (`make readme`).

    .ci/readme.py CDISIM            rewrites README.md
    .ci/readme.py CDISIM --check    exit status 1 when it is not what the program prints
    .ci/readme.py --bench FILE      puts a benchmark's table in, as `make bench` printed it
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def replace(text, name, body):
    pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"README.md has no part \"{name}\"")
    return pattern.sub(lambda m: m.group(1) + body.strip("\n") + "\n" + m.group(2), text)


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def first_table(output):
    """The title and the head of the first table of a report, as a code block."""
    lines = output.split("\nfigure ")[0].rstrip().splitlines()
    shown = 4 + 14  # title, blank, head, rule, and one sweep
    return "\n".join("    " + line if line else "" for line in lines[:shown] + ["..."])


def indented(text):
    return "\n".join("    " + line if line else "" for line in text.rstrip().splitlines())


def systems_table(figures):
    counts = collections.defaultdict(collections.Counter)
    for figure in figures:
        counts[figure["system"]][figure["status"]] += 1
    rows = ["| system | reproduced | deviating | unchecked |", "|---|---|---|---|"]
    for system, count in sorted(counts.items()):
        rows.append(f"| {system} | {count['reproduced']} | {count['deviates']} | {count['unchecked']} |")
    return "\n".join(rows)


def deviating_table(figures):
    def shown(value):
        return f"{value:.4g}" if isinstance(value, (int, float)) else str(value)

    rows = ["| figure | published | simulated | reason |", "|---|---|---|---|"]
    for figure in figures:
        if figure["status"] == "deviates":
            unit = f" {figure['unit']}" if figure["unit"] else ""
            rows.append(f"| {figure['system']} {figure['id']} | {shown(figure['published'])}{unit} | "
                        f"{shown(figure['simulated'])}{unit} | {figure['reason']} |")
    return "\n".join(rows)


def main(arguments):
    old = README.read_text(encoding="utf-8")
    if arguments[:1] == ["--bench"]:
        table = pathlib.Path(arguments[1]).read_text(encoding="utf-8")
        new = replace(old, "bench", "\n".join("    " + line for line in table.rstrip().splitlines()))
    else:
        cdisim = str(pathlib.Path(arguments[0]).resolve())
        figures = json.loads(run(cdisim, "check", "experiments/", "--json"))["figures"]
        new = replace(old, "run", first_table(run(cdisim, "experiments/edgent.json")))
        new = replace(new, "systems", systems_table(figures))
        new = replace(new, "deviating", deviating_table(figures))
        new = replace(new, "latency", indented(run(cdisim, "latency", "resnet50", "jetson_tx2", "--batch", "1")))
        new = replace(new, "calibration", indented(run(cdisim, "calibrate", "--report").split("\ndevice,")[0]))
    if "--check" in arguments:
        if new != old:
            sys.exit("README.md is not what the program prints: run `make readme` and commit the result")
    else:
        README.write_text(new, encoding="utf-8")


main(sys.argv[1:])
