"""The files that the program reads: where they are, and what it says of them."""

import difflib
import json
import os
import pathlib
import subprocess
import tempfile
from typing import Any, Union

from cdisim.errors import InputError
from cdisim.program import program

Path = Union[str, "os.PathLike[str]"]

KINDS = {"experiment": ("experiments", ".json"), "platform": ("platforms", ".xml"), "model": ("workloads", ".json"),
         "latency_model": ("platforms/latency", ".json")}


def find(kind: str, name: Path) -> pathlib.Path:
    """The file that a path names, or the bundled "experiment", "platform" or "model" of that name, where the program
    would find it too. Raises InputError where there is none."""
    path = pathlib.Path(name)
    if len(path.parts) > 1 or path.suffix:
        if path.is_file():
            return path
        raise InputError(f'"{path}": no such file')
    folder, extension = KINDS[kind]
    names = []
    for root in _roots():
        for place in (root, root / folder):
            if (place / f"{name}{extension}").is_file():
                return place / f"{name}{extension}"
        names += [entry.stem for entry in (root / folder).glob(f"*{extension}")]
    close = difflib.get_close_matches(str(name), names, 1)
    raise InputError(f'"{name}" is no {kind}' + (f'; did you mean "{close[0]}"?' if close else ""))


def check(path: Path) -> None:
    """Raises InputError with what the program says where a file is wrong."""
    done = subprocess.run([program(), "validate", os.fspath(path)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InputError(done.stderr.strip().replace("cdisim: error: ", ""))


def check_text(text: str, name: str) -> None:
    """The same of a text that would stand in a file of that name."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / name
        path.write_text(text, encoding="utf-8")
        try:
            check(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from None


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Raises InputError with what the program says where it is no JSON object."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError
    except ValueError:
        check(path)
        raise
    return document


def _roots() -> list[pathlib.Path]:
    roots = [pathlib.Path(part) for part in os.environ.get("CDISIM_PATH", "").split(":") if part]
    try:
        beside = pathlib.Path(program()).resolve().parent
    except FileNotFoundError:
        return roots
    return roots + [beside.parent / "share" / "cdisim", beside.parent, beside.parent.parent]
