"""Experiments made in Python, saved to the files that the program reads."""

import json
import pathlib
import tempfile
from typing import Any, Optional, Sequence

from cdisim import files
from cdisim.errors import InputError
from cdisim.graph import LayerGraphBuilder
from cdisim.platform import PlatformBuilder

_NAMED = ("platform", "model", "latency_model")


class Experiment(dict):
    """An experiment: a dict with the keys of its file.

        experiment = cdisim.Experiment.load("edgent")
        experiment["deadline"] = "500ms"
        experiment.run().to_pandas()

        experiment = cdisim.Experiment(name="mine", platform="edge_device", model="alexnet", requests=1)
        experiment.add_policy("neurosurgeon")
        experiment.add_sweep({"/deadline": ["100ms", "1s"]})

    Its "platform" and "model" may be a PlatformBuilder and a LayerGraphBuilder, or names and paths as in the file.
    Relative paths count from the folder of the file that it was loaded from, else from the current one.
    """

    def __init__(self, document: Optional[dict[str, Any]] = None, **keys: Any):
        """The keys of `document`, and further ones; "schema", "latency_model", "arrivals" (one client that waits for
        each result) and "policies" (none) have default values."""
        super().__init__(schema=1, latency_model="roofline", arrivals={"kind": "closed_loop", "clients": 1},
                         policies=[])
        self.update(document or {}, **keys)
        self.folder = pathlib.Path()  #: that relative paths count from

    @classmethod
    def load(cls, name: files.Path) -> "Experiment":
        """That of a file, or a bundled one. Raises InputError where there is none."""
        path = files.find("experiment", name)
        experiment = cls.__new__(cls)
        dict.__init__(experiment, files.read_json(path))
        experiment.folder = path.resolve().parent
        return experiment

    def add_policy(self, name: str, *, label: Optional[str] = None, **parameters: Any) -> None:
        """A policy by its name, with its parameters as in the file: search="argmin"."""
        entry = {"name": name, **({"label": label} if label else {}), **parameters}
        self.setdefault("policies", []).append(entry)

    def add_sweep(self, vary: dict[str, Sequence[Any]], *, set: Optional[dict[str, Any]] = None,
                  policies: Optional[Sequence[str]] = None) -> None:
        """Runs at each combination of the values; keys are JSON pointers, {"/links/lan/bandwidth": ["1Mbps"]}.

        set: what is the same at all of them. policies: labels, by default of all.
        """
        sweep: dict[str, Any] = {"vary": {path: list(values) for path, values in vary.items()}}
        if set is not None:
            sweep["set"] = set
        if policies is not None:
            sweep["policies"] = list(policies)
        self.setdefault("sweeps", []).append(sweep)

    def save(self, path: files.Path) -> None:
        """Writes the file, and beside it those of a platform and a model made in Python."""
        path = pathlib.Path(path)
        path.write_text(json.dumps(self._with_files(path, relative=True), indent=2, ensure_ascii=False) + "\n",
                        encoding="utf-8")

    def check(self) -> None:
        """Raises InputError with what the program says where the experiment is wrong."""
        self._in_a_file(files.check)

    def run(self, **options: Any):
        """See cdisim.run()."""
        import cdisim

        return self._in_a_file(lambda path: cdisim.run(path, **options))

    def _with_files(self, own: pathlib.Path, relative: bool) -> dict[str, Any]:
        """The document, in which names stand for what has been made in Python and is now beside its own file."""
        document = dict(self)
        for key in ("platform", "model"):
            built = self.get(key)
            if isinstance(built, (PlatformBuilder, LayerGraphBuilder)):
                extension = files.KINDS[key][1]
                path = own.parent / f"{built.name}{extension}"
                if path == own:
                    path = own.parent / f"{built.name}_{key}{extension}"
                built.save(path)
                document[key] = path.name if relative else str(path)
        return document

    def _in_a_file(self, use):
        """Calls use(path of a file that holds the experiment), which finds all files that it names."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            try:
                return use(self.write_in(folder))
            except InputError as error:
                raise InputError(str(error).replace(f"{folder}/", "")) from None

    def write_in(self, folder: pathlib.Path) -> pathlib.Path:
        """Writes a file into the folder that finds all files that it names where they are, and returns its path."""
        path = folder / f"{self.get('name', 'experiment')}.json"
        document = _absolute(self._with_files(path, relative=False), self.folder.resolve())
        path.write_text(json.dumps(document), encoding="utf-8")
        return path


def _absolute(value: Any, folder: pathlib.Path, key: str = "") -> Any:
    """The same with absolute paths in place of what leads from the folder to files."""
    if isinstance(value, dict):
        return {name: _absolute(entry, folder, name.rsplit("/", 1)[-1]) for name, entry in value.items()}
    if isinstance(value, list):
        return [_absolute(entry, folder, key) for entry in value]
    if isinstance(value, str):
        places = []
        if key in _NAMED and not pathlib.PurePath(value).suffix:
            kind, extension = files.KINDS[key]
            places = [root / sub / f"{value}{extension}" for root in (folder, folder.parent) for sub in ("", kind)]
        elif key in _NAMED or key in ("file", "history", "trace"):
            places = [folder / value]
        for place in places:
            if place.is_file():
                return str(place)
    return value
