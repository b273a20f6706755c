"""Figures with matplotlib: each function draws into `ax`, by default that of a new figure, and returns it.

What takes a result wants results.json as a dict, as Result.document is. Where a result holds a sweep, the swept value is
the x axis: the one that `x` names by the last word of its path ("bandwidth"), by default the one with most values. Runs
that differ in other swept values are chosen by `at={"deadline": "500ms"}`; what is left is that of most points, and the
title says which. `policies` are labels, by default all.
"""

import graphlib
import json
import math
import re
from typing import Any, Iterable, Optional, Sequence, Union

#: Colours that colour-blind readers tell apart. Source: Okabe and Ito, Color Universal Design, 2008.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
_MARKERS = "osD^vP<>"
_PARTS = {"compute": COLOURS[0], "transfer": COLOURS[1], "queue": COLOURS[4]}
_STATUS = {"reproduced": COLOURS[2], "deviates": COLOURS[1], "unchecked": COLOURS[7]}

# As sim/units.cpp has them; SI units of the axes' dimensions.
_UNITS = {
    "time": {"s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "m": 60, "min": 60, "h": 3600, "d": 86400},
    "bandwidth": {"bps": 0.125, "kbps": 125, "Mbps": 125e3, "Gbps": 125e6, "Bps": 1, "kBps": 1e3, "MBps": 1e6,
                  "GBps": 1e9, "KiBps": 1024, "MiBps": 1024**2, "GiBps": 1024**3},
    "data": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3,
             "b": 0.125, "kb": 125, "Mb": 125e3},
    "power": {"W": 1, "mW": 1e-3, "kW": 1e3},
    "energy": {"J": 1, "mJ": 1e-3, "kJ": 1e3, "Wh": 3600, "kWh": 3.6e6},
    "frequency": {"Hz": 1, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
}
_AXES = {  # what an axis may show of a dimension, ascending
    "time": {"us": 1e-6, "ms": 1e-3, "s": 1},
    "bandwidth": {"kbit/s": 125, "Mbit/s": 125e3, "Gbit/s": 125e6},
    "data": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9},
    "power": {"mW": 1e-3, "W": 1},
    "energy": {"mJ": 1e-3, "J": 1, "kJ": 1e3},
    "frequency": {"Hz": 1, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
}


def plot_latency(result: dict[str, Any], *, metric: str = "mean", x: Optional[str] = None,
                 at: Optional[dict[str, Any]] = None, policies: Optional[Sequence[str]] = None, ax=None):
    """Latency of the policies.

    Over a sweep: a line per policy of `metric` ("mean", "p50", "p95", "p99", "max"), the mean with its 95 % confidence
    interval where there are repetitions; dashed the deadline, where it is swept or set. Else a bar per policy: its mean
    by computing, transfer and queueing, and a tick at the 95th percentile.
    """
    chosen = _Chosen(result, x, at, policies)
    ax = _axes(ax)
    if chosen.path is None:
        labels = list(chosen.lines)
        runs = [line[0][1]["metrics"] for line in chosen.lines.values()]
        unit, factor = _axis_unit("time", [run["latency_s"]["p95"] for run in runs])
        parts = {part: [_number(run[f"{part}_s"]) / factor for run in runs] for part in _PARTS}
        _stacked(ax, labels, parts, _PARTS)
        ax.scatter(range(len(runs)), [_number(run["latency_s"]["p95"]) / factor for run in runs], marker="_", s=400,
                   color="black", label="95th percentile", zorder=3)
        ax.set_ylabel(f"mean latency ({unit})")
        return _finish(ax, chosen)

    values = chosen.values(lambda run: run["metrics"]["latency_s"][metric])
    unit, factor = _axis_unit("time", [y for line in values.values() for y in line])
    for i, (policy, ys) in enumerate(values.items()):
        spread = [run["metrics"]["latency_s"]["ci95"] if metric == "mean" else None for _, run in chosen.lines[policy]]
        _line(ax, i, chosen, policy, [y / factor for y in ys],
              [(e or 0) / factor for e in spread] if any(spread) else None)
    _draw_deadline(ax, chosen, factor)
    ax.set_ylabel(f"{metric} latency ({unit})")
    return _finish(ax, chosen)


def plot_energy(result: dict[str, Any], *, host: Optional[str] = None, x: Optional[str] = None,
                at: Optional[dict[str, Any]] = None, policies: Optional[Sequence[str]] = None, ax=None):
    """Energy of the policies while it was measured: over a sweep a line per policy, of all hosts or of one; else a bar
    per policy by host."""
    chosen = _Chosen(result, x, at, policies)
    ax = _axes(ax)

    def energy(run: dict[str, Any]) -> float:
        joules = run["metrics"]["energy_j"]
        return joules["total"] if host is None else joules["per_host"].get(host, 0)

    values = chosen.values(energy)
    unit, factor = _axis_unit("energy", [y for line in values.values() for y in line])
    if chosen.path is None and host is None:
        runs = [line[0][1]["metrics"]["energy_j"]["per_host"] for line in chosen.lines.values()]
        hosts = list(dict.fromkeys(name for run in runs for name in run))
        _stacked(ax, list(chosen.lines), {name: [run.get(name, 0) / factor for run in runs] for name in hosts})
    elif chosen.path is None:
        _stacked(ax, list(chosen.lines), {host: [line[0] / factor for line in values.values()]})
    else:
        for i, (policy, ys) in enumerate(values.items()):
            _line(ax, i, chosen, policy, [y / factor for y in ys])
    ax.set_ylabel(f"energy of {host or 'all hosts'} ({unit})")
    return _finish(ax, chosen)


def plot_timeline(source: Any, *, run: int = 0, repetition: int = 0, start_s: float = 0,
                  end_s: float = math.inf, ax=None):
    """What happened when, of one run.

    source: a Chrome trace, as `--trace` writes it (its path or its dict): a row per host and link with what it worked on,
    coloured by request. Or rows of requests, as Result.requests() gives them: a row per request from its arrival to its
    end, as long as it queued, was transferred and computed along its critical path, one after another whatever their
    order was.
    run: number of the run, in a trace of the process; repetition: of the rows. start_s, end_s: what is drawn.
    """
    ax = _axes(ax, (8, 3.2))
    if isinstance(source, list):
        _draw_requests(ax, [row for row in source if row["run"] == run and row["repetition"] == repetition
                            and start_s <= row["arrival_s"] < end_s])
    else:
        if not isinstance(source, dict):
            with open(source, encoding="utf-8") as file:
                source = json.load(file)
        _draw_trace(ax, source["traceEvents"], run, start_s, end_s)
    ax.grid(axis="y", visible=False)
    return ax


def plot_published(result: dict[str, Any], figure: Union[str, Sequence[str], None] = None, *, ax=None):
    """The paper's numbers beside the simulated ones.

    figure: one or several curves of the experiment's "published", by their id: markers are the paper's points, lines the
    simulation's. By default all numbers: the ratio of simulated to published, a row per curve, with the tolerance
    as a grey bar; colours say which are reproduced. Claims in words, and what was not simulated, are left out.
    """
    figures = [f for f in result["figures"] if _is_number(f["published"]) and _is_number(f["simulated"])]
    if figure is None:
        return _draw_ratios(ax, figures)
    ax = _axes(ax)
    names = [figure] if isinstance(figure, str) else list(figure)
    units, metrics = set(), {}
    for i, name in enumerate(names):
        points = [f for f in figures if f["id"].split("@")[0] == name]
        if not points:
            raise ValueError(f"no curve {name!r} of numbers; there are: {', '.join(_curves(figures))}")
        units.update(f["unit"] for f in points)
        metrics.update({_metric_title(f["metric"]): None for f in points})
        xs = _Axis([f["id"].partition("@")[2] for f in points])
        order = sorted(range(len(points)), key=lambda k: xs.numbers[k])
        at = [xs.numbers[k] for k in order]
        colour = COLOURS[i % len(COLOURS)]
        ax.plot(at, [points[k]["simulated"] for k in order], color=colour, label=f"{name}, simulated")
        ax.plot(at, [points[k]["published"] for k in order], color=colour, marker=_MARKERS[i % len(_MARKERS)],
                linestyle="none", markerfacecolor="white", label=f"{name}, published")
        xs.apply(ax, "")
    unit = ", ".join(sorted(units - {""}))
    ax.set_ylabel(", ".join(metrics) + (f" ({unit})" if unit else ""))
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize="small")
    ax.set_title(f"{result['experiment']}: published and simulated", fontsize="medium")
    return ax


def plot_graph(graph: Any, *, names: Optional[bool] = None, ax=None):
    """A layer graph from top to bottom: layers coloured by their kind, exits with a thick rim.

    graph: a LayerGraphBuilder or LayerGraph, or its JSON as a dict. names: whether layers have their names beside them,
    by default up to 40 ranks.
    """
    from matplotlib.collections import LineCollection

    document = graph if isinstance(graph, dict) else graph.to_json()
    layers = document["layers"]
    exits = {e["layer"] for e in document.get("exits", [])} or {layers[-1]["name"]}
    place = _places(layers)
    ranks = 1 + max(rank for rank, _ in place.values())
    left, right = min(x for _, x in place.values()), max(x for _, x in place.values())
    if names is None:
        names = ranks <= 40
    if ax is None:
        ax = _axes(None, (min(14, max(4, 1.6 * (1 + right - left))), min(16, max(3, (0.32 if names else 0.14) * ranks))))
    kinds = list(dict.fromkeys(layer["kind"] for layer in layers))
    colours = {kind: _kind_colour(i) for i, kind in enumerate(kinds)}
    edges = []
    for layer in layers:
        rank, x = place[layer["name"]]
        for name in layer["inputs"]:
            from_rank, from_x = place[name]
            # What skips ranks passes beside those in between.
            between = [(from_x + 0.3, from_rank + 0.5), (x + 0.3, rank - 0.5)] if rank - from_rank > 1 else []
            edges.append([(from_x, from_rank), *between, (x, rank)])
    ax.add_collection(LineCollection(edges, colors="#999999", linewidths=0.8, zorder=1))
    size = max(8, min(70, 3000 / ranks))
    for kind in kinds:
        of_kind = [layer["name"] for layer in layers if layer["kind"] == kind]
        ax.scatter([place[n][1] for n in of_kind], [place[n][0] for n in of_kind], s=size, color=colours[kind],
                   edgecolor=["black" if n in exits else "white" for n in of_kind],
                   linewidth=[1.5 if n in exits else 0.5 for n in of_kind], label=kind, zorder=2)
    ax.scatter([place["input"][1]], [place["input"][0]], s=size, color="white", edgecolor="black", marker="s", zorder=2)
    if names:
        for name, (rank, x) in place.items():
            text = f"input {document['input']['shape']}" if name == "input" else name
            ax.annotate(text, (x, rank), (7, 0), textcoords="offset points", va="center", fontsize="x-small")
    ax.set_ylim(ranks - 0.5, -0.5)
    ax.set_xlim(left - 0.8, right + (1.3 if names else 0.8))
    ax.axis("off")
    ax.legend(frameon=False, fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
    ax.set_title(f"{document['name']}: {len(layers)} layers", fontsize="medium")
    return ax


# ---- which runs ----


class _Chosen:
    """The runs that a figure shows: {policy: [(x value, run)]}."""

    def __init__(self, result: dict[str, Any], x: Optional[str], at: Optional[dict[str, Any]],
                 policies: Optional[Sequence[str]]):
        self.experiment = result["experiment"]
        runs = [run for run in result["runs"] if "metrics" in run]
        if policies is not None:
            known = list(dict.fromkeys(run["policy"] for run in runs))
            for policy in policies:
                if policy not in known:
                    raise ValueError(f"no runs of policy {policy!r}; there are: {', '.join(known)}")
            runs = [run for run in runs if run["policy"] in policies]
        paths = list(dict.fromkeys(path for run in runs for path in run["point"]))
        for word, value in (at or {}).items():
            path = _path(word, paths)
            runs = [run for run in runs if run["point"].get(path) == value]
        if not runs:
            raise ValueError("no run succeeded" if not at and policies is None else f"no runs at {at}")

        def others(run, path):
            return json.dumps({p: v for p, v in run["point"].items() if p != path}, sort_keys=True)

        self.path: Optional[str] = None
        best: list[dict[str, Any]] = runs
        most = 0
        for path in [_path(x, paths)] if x is not None else paths:
            for group in dict.fromkeys(others(run, path) for run in runs):
                of_group = [run for run in runs if others(run, path) == group]
                points = len({json.dumps(run["point"].get(path)) for run in of_group})
                if points > most:
                    most, best, self.path = points, of_group, path
        if most < 2 and x is None:
            self.path = None
        self.fixed = {p: v for p, v in best[0]["point"].items() if p != self.path}
        self.varied = {p for p in self.fixed if len({json.dumps(run["point"].get(p)) for run in result["runs"]}) > 1}
        self._xs: Optional[_Axis] = None
        if self.path is not None:
            self._xs = _Axis(list({json.dumps(run["point"].get(self.path)): run["point"].get(self.path)
                                   for run in best}.values()))
        self.lines: dict[str, list[tuple[Any, dict[str, Any]]]] = {}
        for run in best:
            self.lines.setdefault(run["policy"], []).append((run["point"].get(self.path), run))
        if self._xs is not None:
            for line in self.lines.values():
                line.sort(key=lambda entry: self._xs.number(entry[0]))

    def values(self, of) -> dict[str, list[float]]:
        return {policy: [_number(of(run)) for _, run in line] for policy, line in self.lines.items()}

    def xs(self, policy: str) -> list[float]:
        return [self._xs.number(value) for value, _ in self.lines[policy]]

    @property
    def axis(self) -> "Optional[_Axis]":
        return self._xs

    def title(self) -> str:
        fixed = ", ".join(f"{_title(path)} {value}" for path, value in self.fixed.items() if path in self.varied)
        return self.experiment + (f" at {fixed}" if fixed else "")


class _Axis:
    """Values of a sweep on an axis: numbers, quantities of one dimension, or words."""

    def __init__(self, values: list[Any]):
        self._values = values
        self.unit = ""
        self._factor = 1.0
        self.dimension = ""
        self.words: Optional[list[str]] = None
        parsed = [_parse(value) for value in values]
        dimensions = {dimension for _, dimension in parsed}
        if any(number is None for number, _ in parsed) or len(dimensions) != 1:
            counts = [len(value) if isinstance(value, list) else None for value in values]
            if None not in counts and len(set(counts)) == len(counts):
                self.numbers = [float(count) for count in counts]  # type: ignore[arg-type]
                self.unit = "count"
                return
            self.words = [", ".join(map(str, v)) if isinstance(v, list) else str(v) for v in values]
            self.numbers = [float(i) for i in range(len(values))]
            return
        self.dimension = dimensions.pop()
        numbers = [number for number, _ in parsed if number is not None]
        if self.dimension:
            self.unit, self._factor = _axis_unit(self.dimension, numbers)
        self.numbers = [number / self._factor for number in numbers]

    def number(self, value: Any) -> float:
        return self.numbers[self._values.index(value)]

    def seconds(self, number: float) -> float:
        return number * self._factor

    def apply(self, ax, path: str) -> None:
        """Scale, ticks and label of the x axis."""
        name = _title(path)
        if self.unit == "count":
            ax.set_xlabel(f"number of {name}")
            ax.set_xticks(self.numbers)
        elif self.words is not None:
            ax.set_xticks(self.numbers, self.words, rotation=30 if max(map(len, self.words)) > 8 else 0,
                          ha="right" if max(map(len, self.words)) > 8 else "center")
            ax.set_xlabel(name)
        else:
            if min(self.numbers) > 0 and max(self.numbers) / min(self.numbers) >= 20:
                from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

                ax.set_xscale("log")
                ax.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
                ax.xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))
                ax.xaxis.set_minor_formatter(NullFormatter())
            name = name or {"bandwidth": "bandwidth", "time": "time"}.get(self.dimension, "")
            ax.set_xlabel(f"{name} ({self.unit})" if self.unit else name)


def _path(word: str, paths: list[str]) -> str:
    """The path whose last word, or which as a whole, is that."""
    found = [path for path in paths if path == word or path.rsplit("/", 1)[-1] == word]
    if len(found) != 1:
        raise ValueError(f"{word!r} names {len(found)} of the swept values: {', '.join(paths) or 'there are none'}")
    return found[0]


def _title(path: str) -> str:
    """"/links/lan/bandwidth" as "lan bandwidth"."""
    words = path.strip("/").split("/")
    return " ".join(words[1:] if words[0] in ("links", "hosts") else words).replace("_", " ")


def _metric_title(pointer: str) -> str:
    """"/metrics/latency_s/mean" as "mean latency", "/plan/decision/predicted_latency_s" as "predicted latency"."""
    words = [word for word in pointer.strip("/").split("/") if word not in ("metrics", "plan", "decision", "per_host")]
    return " ".join(re.sub(r"(_per)?_(s|j|bytes|usd)$", "", word).replace("_", " ") for word in reversed(words))


def _parse(value: Any) -> tuple[Optional[float], str]:
    """A number and "", or a quantity in SI units and its dimension."""
    if _is_number(value):
        return float(value), ""
    match = re.fullmatch(r"([0-9.eE+-]*[0-9.]) ?([A-Za-z]*)", value) if isinstance(value, str) else None
    if match:
        try:
            number = float(match[1])
        except ValueError:
            return None, ""
        if not match[2]:
            return number, ""
        for dimension, units in _UNITS.items():
            if match[2] in units:
                return number * units[match[2]], dimension
    return None, ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _axis_unit(dimension: str, values: Iterable[Optional[float]]) -> tuple[str, float]:
    """The largest unit in which the largest value is at least 1."""
    largest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0)
    chosen, *others = _AXES[dimension].items()
    for unit in others:
        if largest >= unit[1]:
            chosen = unit
    return chosen


# ---- drawing ----


def _axes(ax, size: tuple[float, float] = (6, 3.8)):
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=size, layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def _finish(ax, chosen: _Chosen):
    if chosen.axis is not None:
        chosen.axis.apply(ax, chosen.path or "")
    ax.set_ylim(bottom=0)
    ax.set_title(chosen.title(), fontsize="medium")
    beside = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if chosen.axis is None else {}
    ax.legend(frameon=False, fontsize="small", **beside)
    return ax


def _line(ax, i: int, chosen: "_Chosen", label: str, ys: list[float], spread: Optional[list[float]] = None) -> None:
    joined = chosen.axis is not None and chosen.axis.words is None  # between words there is nothing
    ax.errorbar(chosen.xs(label), ys, spread, linestyle="-" if joined else "none", color=COLOURS[i % len(COLOURS)],
                marker=_MARKERS[i % len(_MARKERS)], markersize=4, linewidth=1.4, capsize=2, label=label)


def _stacked(ax, labels: list[str], parts: dict[str, list[float]], colours: Optional[dict[str, str]] = None) -> None:
    bottom = [0.0] * len(labels)
    for i, (part, heights) in enumerate(parts.items()):
        colour = colours[part] if colours else COLOURS[i % len(COLOURS)]
        ax.bar(range(len(labels)), heights, 0.6, bottom, color=colour, label=part)
        bottom = [b + (0 if math.isnan(h) else h) for b, h in zip(bottom, heights)]
    long = max(map(len, labels)) > 10
    ax.set_xticks(range(len(labels)), labels, rotation=30 if long else 0, ha="right" if long else "center")
    ax.grid(axis="x", visible=False)


def _draw_deadline(ax, chosen: _Chosen, factor: float) -> None:
    style = {"color": "#555555", "linestyle": "--", "linewidth": 1, "label": "deadline", "zorder": 1}
    if chosen.path == "/deadline" and chosen.axis is not None and chosen.axis.dimension == "time":
        xs = sorted(chosen.axis.numbers)
        ax.plot(xs, [chosen.axis.seconds(x) / factor for x in xs], **style)
    else:
        deadline, dimension = _parse(chosen.fixed.get("/deadline"))
        if deadline is not None and dimension == "time":
            ax.axhline(deadline / factor, **style)


def _draw_requests(ax, rows: list[dict[str, Any]]) -> None:
    ended = [(i, row) for i, row in enumerate(rows) if row["latency_s"] is not None]
    failed = [(i, row) for i, row in enumerate(rows) if row["latency_s"] is None]
    unit, factor = _axis_unit("time", [row["end_s"] for _, row in ended] or [1])
    for part, colour in _PARTS.items():
        before = list(_PARTS)[::-1]  # queueing, transfer, computing from the left
        spans = []
        for _, row in ended:
            left = row["arrival_s"] + sum(row[f"{p}_s"] or 0 for p in before[:before.index(part)])
            spans.append((left / factor, (row[f"{part}_s"] or 0) / factor))
        ax.barh([i for i, _ in ended], [w for _, w in spans], 0.7, [left for left, _ in spans],
                color=colour, label=part)
    if failed:
        ax.scatter([row["arrival_s"] / factor for _, row in failed], [i for i, _ in failed], marker="x", color="black",
                   label="without a result", zorder=3)
    if len(rows) <= 25:
        ax.set_yticks(range(len(rows)), [f"{row['source']} #{row['request']}" for row in rows], fontsize="x-small")
    ax.invert_yaxis()
    ax.set_xlabel(f"time ({unit})")
    ax.set_ylabel("request")
    ax.set_title(rows[0]["policy"] if rows else "no requests", fontsize="medium")
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))


def _draw_trace(ax, events: list[dict[str, Any]], run: int, start_s: float, end_s: float) -> None:
    of_run = [event for event in events if event["pid"] == run]
    if not of_run:
        raise ValueError(f"no run {run} in the trace")
    names = {e["tid"]: e["args"]["name"] for e in of_run if e["ph"] == "M" and e["name"] == "thread_name"}
    sort = {e["tid"]: e["args"]["sort_index"] for e in of_run if e["ph"] == "M" and e["name"] == "thread_sort_index"}
    spans = [e for e in of_run if e["ph"] == "X" and e["ts"] < end_s * 1e6 and e["ts"] + e["dur"] > start_s * 1e6]
    used = [tid for tid in sorted(names, key=lambda tid: sort.get(tid, tid)) if any(e["tid"] == tid for e in spans)]
    unit, factor = _axis_unit("time", [(e["ts"] + e["dur"]) * 1e-6 for e in spans])
    requests = sorted({e["args"].get("request", 0) for e in spans})
    for i, request in enumerate(requests):
        mine = [e for e in spans if e["args"].get("request", 0) == request]
        ax.barh([used.index(e["tid"]) for e in mine], [e["dur"] * 1e-6 / factor for e in mine], 0.7,
                [e["ts"] * 1e-6 / factor for e in mine], color=COLOURS[i % len(COLOURS)], edgecolor="white",
                linewidth=0.3, label=f"request {request}")
    ax.set_yticks(range(len(used)), [names[tid] for tid in used], fontsize="small")
    ax.invert_yaxis()
    ax.set_xlabel(f"time ({unit})")
    ax.set_title(next((e["args"]["name"] for e in of_run if e["name"] == "process_name"), ""), fontsize="medium")
    if len(requests) <= len(COLOURS):
        ax.legend(frameon=False, fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))


def _curves(figures: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(f["id"].split("@")[0] for f in figures))


def _draw_ratios(ax, figures: list[dict[str, Any]]):
    figures = [f for f in figures if f["published"] > 0 and f["simulated"] > 0]
    if not figures:
        raise ValueError("the result has no published numbers beside simulated ones")
    rows = _curves(figures)
    ax = _axes(ax, (6.5, max(2, 0.24 * len(rows) + 1)))
    for status, colour in _STATUS.items():
        mine = [f for f in figures if f["status"] == status]
        if mine:
            ax.scatter([f["simulated"] / f["published"] for f in mine], [rows.index(f["id"].split("@")[0]) for f in mine],
                       s=22, color=colour, alpha=0.8, label=status, zorder=3)
    for i, row in enumerate(rows):
        tolerance = max(f["tolerance"] for f in figures if f["id"].split("@")[0] == row)
        if tolerance > 0:
            ax.barh(i, 2 * tolerance, 0.7, 1 - tolerance, color="#DDDDDD", zorder=1)
    ax.axvline(1, color="black", linewidth=0.8, zorder=2)
    ax.use_sticky_edges = False
    ratios = [f["simulated"] / f["published"] for f in figures]
    if max(ratios) / min(ratios) > 5:
        ax.set_xscale("log")
    ax.set_yticks(range(len(rows)), rows, fontsize="x-small")
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel("simulated / published")
    ax.set_title(f"{figures[0]['experiment']}: {len(figures)} published numbers", fontsize="medium")
    ax.legend(frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1.06), ncol=3)
    return ax


def _kind_colour(i: int):
    from matplotlib import colormaps

    return COLOURS[i] if i < len(COLOURS) else colormaps["tab20"](i % 20)


def _places(layers: list[dict[str, Any]]) -> dict[str, tuple[int, float]]:
    """Rank and horizontal place of each layer: as deep as its longest path, below its inputs as far as there is room."""
    reads = {layer["name"]: layer["inputs"] for layer in layers}
    rank = {"input": 0}
    for name in graphlib.TopologicalSorter(reads).static_order():
        if name != "input":
            rank[name] = 1 + max(rank[i] for i in reads[name])
    rows: dict[int, list[str]] = {}
    for name, level in rank.items():
        rows.setdefault(level, []).append(name)
    x = {"input": 0.0}
    for level in range(1, len(rows)):
        wanted = {name: sum(x[i] for i in reads[name]) / len(reads[name]) for name in rows[level]}
        row = sorted(wanted, key=lambda name: wanted[name])
        for i, name in enumerate(row):
            x[name] = wanted[name] if i == 0 else max(wanted[name], x[row[i - 1]] + 1)
        shift = sum(wanted[name] - x[name] for name in row) / len(row)
        for name in row:
            x[name] += shift
    return {name: (rank[name], x[name]) for name in rank}
