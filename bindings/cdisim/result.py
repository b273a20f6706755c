"""What an experiment gave."""

import csv
import io
from typing import Any, Iterable, Optional

_INTEGERS = ("run", "repetition", "request", "exit")
_TEXTS = ("policy", "source", "state")


class Result:
    """What an experiment gave: the document of results.json and the rows of requests.csv.

    document: results.json as a dict.
    runs: list of {"policy", "params", "point", "plan", "metrics"}; a failed one has "error" in place of plan and metrics,
        and no params where its first repetition failed.
    figures: list of the published figures beside the simulated ones.
    """

    def __init__(self, document: dict[str, Any], requests_csv: Optional[str] = None):
        self.document = document
        self.runs: list[dict[str, Any]] = document["runs"]
        self.figures: list[dict[str, Any]] = document["figures"]
        self._requests_csv = requests_csv

    def __repr__(self) -> str:
        return f"<cdisim.Result of {self.document['experiment']}: {len(self.runs)} runs, {len(self.figures)} figures>"

    def _repr_html_(self) -> str:
        return self.to_pandas()._repr_html_()

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the only run. Raises ValueError where there are several."""
        if len(self.runs) != 1:
            raise ValueError(f"there are {len(self.runs)} runs: take .runs, .find() or .to_pandas()")
        return self.runs[0]["metrics"]

    def find(self, policy: str, **point: Any) -> dict[str, Any]:
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

    def requests(self) -> list[dict[str, Any]]:
        """The requests of all runs, in the columns of requests.csv: times in seconds, None where one has not ended.

        Raises ValueError where the run did not record them.
        """
        if self._requests_csv is None:
            raise ValueError("the requests were not recorded: run with requests=True")
        rows: list[dict[str, Any]] = []
        for text in csv.DictReader(io.StringIO(self._requests_csv)):
            row: dict[str, Any] = {}
            for name, cell in text.items():
                if name in _TEXTS:
                    row[name] = cell
                elif cell == "":
                    row[name] = None
                else:
                    row[name] = int(cell) if name in _INTEGERS else float(cell)
            rows.append(row)
        return rows

    def to_pandas(self, what: str = "runs"):
        """A pandas.DataFrame of the "runs", "figures" or "requests".

        runs: a row a run with its policy, its point (a column for each last word of a sweep path, the whole path where
        two end alike) and its metrics, parameters and decision by dotted names: "latency_s.mean", "params.exit".
        """
        import pandas

        if what == "requests":
            return pandas.DataFrame(self.requests())
        if what == "figures":
            return pandas.DataFrame([_flat(figure) for figure in self.figures])
        if what != "runs":
            raise ValueError(f'"{what}" is none of "runs", "figures", "requests"')
        names = columns({path for entry in self.runs for path in entry["point"]})
        rows = []
        for entry in self.runs:
            row = {"policy": entry["policy"]}
            row.update({names[path]: value for path, value in entry["point"].items()})
            row.update(_flat(entry.get("metrics", {})))
            row.update(_flat(entry.get("params", {}), "params."))
            row.update(_flat(entry.get("plan", {}).get("decision", {}), "decision."))
            if "error" in entry:
                row["error"] = entry["error"]
            rows.append(row)
        return pandas.DataFrame(rows)

    def plot_latency(self, **options: Any):
        """See cdisim.plot.plot_latency()."""
        from cdisim import plot

        return plot.plot_latency(self.document, **options)

    def plot_energy(self, **options: Any):
        """See cdisim.plot.plot_energy()."""
        from cdisim import plot

        return plot.plot_energy(self.document, **options)

    def plot_timeline(self, run: int = 0, **options: Any):
        """Of the requests of one run; see cdisim.plot.plot_timeline(), which draws Chrome traces too."""
        from cdisim import plot

        return plot.plot_timeline(self.requests(), run=run, **options)

    def plot_published(self, figure=None, **options: Any):
        """See cdisim.plot.plot_published()."""
        from cdisim import plot

        return plot.plot_published(self.document, figure, **options)


def columns(paths: Iterable[str]) -> dict[str, str]:
    """For each sweep path its last word, the whole path where two end alike."""
    paths = list(paths)
    last = [path.rsplit("/", 1)[-1] for path in paths]
    return {path: path if last.count(word) > 1 else word for path, word in zip(paths, last)}


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    out = {}
    for key, entry in value.items():
        if isinstance(entry, dict):
            out.update(_flat(entry, f"{prefix}{key}."))
        else:
            out[prefix + key] = entry
    return out
