"""Where the cdisim program is."""

import os
import pathlib
import shutil

PACKAGE = pathlib.Path(__file__).resolve().parent


def program() -> str:
    """Path of the program: the one that CDISIM_PROGRAM names, else that of the installed package, else the one built
    in the source tree, else `cdisim` on the PATH.

    Raises FileNotFoundError where there is none.
    """
    named = os.environ.get("CDISIM_PROGRAM")
    if named:
        return os.path.abspath(named)
    for place in (PACKAGE / "bin" / "cdisim", PACKAGE.parents[1] / "build" / "cdisim"):
        if place.is_file():
            return str(place)
    found = shutil.which("cdisim")
    if found:
        return found
    raise FileNotFoundError("no cdisim program: set CDISIM_PROGRAM, or build it with `make`")


def main() -> None:
    """The command `cdisim` of the installed package: becomes the program."""
    import sys

    path = program()
    os.execv(path, [path, *sys.argv[1:]])
