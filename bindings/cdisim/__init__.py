"""cdisim from Python: experiments run in the cdisim program, in a process of its own, never in the caller's.

    import cdisim
    result = cdisim.run("edgent")
    result.runs[0]["metrics"]["latency_s"]["mean"]

The program is the one that CDISIM_PROGRAM names, else `cdisim` on the PATH, else the one built in the source tree.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

__all__ = ["InputError", "Result", "run"]


class InputError(ValueError):
    """The experiment, or a file that it names, is wrong; the text says where and what would be valid."""


class Result:
    """What an experiment gave, as in results.json.

    runs: list of {"policy", "params", "point", "plan", "metrics"}, or "error" in place of the last two.
    figures: list of the published figures beside the simulated ones.
    """

    def __init__(self, document):
        self.document = document
        self.runs = document["runs"]
        self.figures = document["figures"]

    def find(self, policy, **point):
        """The one run of a policy at a point; keys are the last words of sweep paths, `deadline="500ms"`.

        Raises KeyError when no run or several match.
        """
        def matches(entry):
            values = {path.rsplit("/", 1)[-1]: value for path, value in entry["point"].items()}
            return entry["policy"] == policy and all(values.get(key) == value for key, value in point.items())

        found = [entry for entry in self.runs if matches(entry)]
        if len(found) != 1:
            raise KeyError(f"{len(found)} runs of policy {policy!r} at {point}")
        return found[0]


def _program():
    named = os.environ.get("CDISIM_PROGRAM") or shutil.which("cdisim")
    if named:
        return named
    built = pathlib.Path(__file__).resolve().parents[2] / "build" / "cdisim"
    if built.exists():
        return str(built)
    raise FileNotFoundError("no cdisim program: set CDISIM_PROGRAM, or build it with `make`")


def run(experiment, *, seed=None, jobs=None):
    """Runs an experiment and returns its Result.

    experiment: path or name of an experiment file, or a dict with the same keys; files that a dict names are found
        where cdisim finds them by name.
    seed: replaces the experiment's, a whole number of at least 0.
    jobs: simulations at a time, by default one a core.
    Raises InputError for mistakes of the user, RuntimeError when the program fails otherwise.
    """
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(experiment, dict):
            path = pathlib.Path(folder) / "experiment.json"
            path.write_text(json.dumps(experiment), encoding="utf-8")
            experiment = path
        command = [_program(), str(experiment), "--json"]
        if seed is not None:
            command += ["--seed", str(seed)]
        if jobs is not None:
            command += ["--jobs", str(jobs)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    message = done.stderr.strip().removeprefix("cdisim: error: ")
    if done.returncode == 2 and not done.stdout:
        raise InputError(message)
    if not done.stdout:
        raise RuntimeError(message or f"cdisim ended with status {done.returncode}")
    return Result(json.loads(done.stdout))
