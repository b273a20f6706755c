"""Sweeps: an experiment at every point of a grid, by any executor, resumable.

    grid = {"/links/lan/bandwidth": ["1Mbps", "2Mbps", "4Mbps"], "/deadline": ["100ms", "1s"]}
    cdisim.sweep("edgent", grid, out="sweep.jsonl").to_pandas()

On a cluster, where every node has cdisim installed, by Dask distributed (here under Slurm, by dask_jobqueue):

    cluster = dask_jobqueue.SLURMCluster(cores=16, processes=16, memory="32GB", walltime="02:00:00")
    cluster.scale(jobs=8)
    with distributed.Client(cluster) as client:
        cdisim.sweep("edgent", grid, executor=client.get_executor(), out="sweep.jsonl")

A job that was cut off goes on where it stopped: the same call runs what `out` does not have yet.
"""

import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import os
import pathlib
from typing import Any, Iterator, Mapping, Optional, Sequence, Union

from cdisim import files
from cdisim.errors import InputError, SimulationError
from cdisim.policy import python_policy
from cdisim.result import Result, columns
from cdisim.run import Experiment, run, show_progress

Point = dict[str, Any]
Grid = Union[Mapping[str, Sequence[Any]], Sequence[Mapping[str, Any]]]


class Sweep:
    """What the points of a sweep gave, in the grid's order.

    points: list of {"point", "result": Result}, or "error" in place of the result.
    """

    def __init__(self, points: list[dict[str, Any]]):
        self.points = points

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.points)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The points that failed, each {"point", "error"}."""
        return [entry for entry in self.points if "error" in entry]

    def to_pandas(self):
        """A pandas.DataFrame of the runs of all points, as Result.to_pandas(); a failed point has a row of its own."""
        import pandas

        frames = []
        for entry in self.points:
            if "result" in entry:
                frames.append(entry["result"].to_pandas())
            else:
                names = columns(entry["point"])
                point = {names[path]: value for path, value in entry["point"].items()}
                frames.append(pandas.DataFrame([{**point, "error": entry["error"]}]))
        return pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame()


def sweep(experiment: Experiment, grid: Grid, *, executor: Optional[concurrent.futures.Executor] = None,
          out: Union[str, "os.PathLike[str]", None] = None, policy=None, seed: Optional[int] = None,
          progress: bool = True) -> Sweep:
    """Runs an experiment at every point of a grid and returns the Sweep.

    experiment: as of cdisim.run(). Its own sweeps and published figures are left out.
    grid: {JSON pointer of a value of the experiment: values}, of which every combination is a point, or a list of
        points {JSON pointer: value}.
    executor: any of concurrent.futures, also those of other libraries (Dask distributed's Client.get_executor()). Each
        point is one task, whose simulations run in processes of their own. By default as many tasks at a time as this
        machine has cores; the caller is not forked. What is given to executors of other processes must be picklable.
    out: a file of JSON lines, to which each point is added as it ends. Points that it already has are not run again;
        those that failed are.
    policy, seed: as of cdisim.run().
    progress: shows on standard error how many points are done. Ctrl-C starts no more points; those under way end first.
    Raises InputError where the experiment's name, grid or `out` are wrong. A point that fails costs that point only;
    what else a Python policy raises ends the sweep.
    """
    points = _points(grid)
    journal = _Journal(out, _identity(experiment, policy, seed)) if out is not None else None
    done = dict(journal.done) if journal else {}
    missing = [point for point in points if _key(point) not in done]
    with contextlib.ExitStack() as stack:
        if journal:
            stack.callback(journal.close)
        if executor is None:
            executor = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
            stack.callback(executor.shutdown, cancel_futures=True)
        futures: dict[concurrent.futures.Future, Point] = {}
        stack.callback(lambda: [future.cancel() for future in futures])  # of those that have ended nothing is left
        for point in missing:
            futures[executor.submit(run_point, experiment, point, policy, seed)] = point
        ended = len(points) - len(missing)
        if progress:
            show_progress(ended, len(points), " points")
        for future in concurrent.futures.as_completed(futures):
            entry = {"point": futures[future], **future.result()}
            if journal:
                journal.add(entry)
            done[_key(entry["point"])] = entry
            ended += 1
            if progress:
                show_progress(ended, len(points), " points")
    return Sweep([_with_result(done[_key(point)]) for point in points])


def run_point(experiment: Experiment, point: Point, policy, seed: Optional[int]) -> dict[str, Any]:
    """One task: {"document": that of the Result} or {"error": text}."""
    try:
        result = run(experiment, vary={path: [value] for path, value in point.items()}, policy=policy, seed=seed,
                     jobs=1, requests=False)
    except (InputError, SimulationError) as error:
        return {"error": str(error)}
    return {"document": result.document}


class _Journal:
    """The file of a sweep: a line that says which sweep it is, then a line for each point that has ended."""

    def __init__(self, path: Union[str, "os.PathLike[str]"], identity: str):
        self.done: dict[str, dict[str, Any]] = {}
        place = pathlib.Path(path)
        lines = place.read_bytes().splitlines(keepends=True) if place.exists() else []
        whole = 0  # bytes of lines that were written to their end
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                if number == 1 and not _line({"sweep": identity}).startswith(line):
                    raise InputError(f"{place}:1: no line of a sweep")
                break  # the writer was stopped in the middle of it
            try:
                entry = json.loads(line)
                if number == 1 and entry["sweep"] != identity:
                    raise InputError(f"{place}: the file of another sweep: its experiment, policies or seed differ")
                if number > 1 and "document" in entry:
                    self.done[_key(entry["point"])] = entry
            except (ValueError, KeyError, TypeError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{place}:{number}: no line of a sweep") from None
            whole += len(line)
        self._file = open(place, "r+b" if lines else "wb")
        self._file.truncate(whole)
        self._file.seek(whole)
        if whole == 0:
            self.add({"sweep": identity})

    def add(self, entry: dict[str, Any]) -> None:
        self._file.write(_line(entry))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _points(grid: Grid) -> list[Point]:
    if isinstance(grid, Mapping):
        for path, values in grid.items():
            if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence) or not values:
                raise InputError(f"grid: {path!r} needs a list of values, not {values!r}")
        points = [dict(zip(grid, values)) for values in itertools.product(*grid.values())]
    else:
        points = [dict(point) for point in grid]
    if len({_key(point) for point in points}) < len(points):
        raise InputError("grid: a point stands twice in it")
    return points


def _key(point: Mapping[str, Any]) -> str:
    return json.dumps(point, sort_keys=True)


def _identity(experiment: Experiment, policy, seed: Optional[int]) -> str:
    """Names what a sweep runs: another text where the experiment's file, its policies' facts or the seed differ. Files
    that the experiment names, and the code of Python policies, do not count."""
    if isinstance(experiment, dict):
        text = json.dumps(experiment, sort_keys=True, default=lambda built: built.text())
    else:
        text = os.fspath(experiment) + files.find("experiment", experiment).read_text(encoding="utf-8")
    policies = [one if one is None or isinstance(one, (str, dict)) else python_policy(one).facts()
                for one in (policy if isinstance(policy, list) else [policy])]
    return hashlib.sha256(json.dumps([text, policies, seed]).encode()).hexdigest()


def _with_result(entry: dict[str, Any]) -> dict[str, Any]:
    if "error" in entry:
        return {"point": entry["point"], "error": entry["error"]}
    return {"point": entry["point"], "result": Result(entry["document"])}
