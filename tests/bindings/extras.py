"""Virtual environments with what tests of optional extras need from PyPI."""

import json
import os
import pathlib
import subprocess
import sys

BUILD = pathlib.Path(os.environ.get("CDISIM_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))


def go_on_with(what, *packages, without_cuda=False):
    """Runs this program again in a virtual environment, `what` in the build folder, that has the packages besides those
    of this Python. Where PyPI is out of reach, or would bring several GB of CUDA against `without_cuda`, it ends as
    skipped."""
    python = BUILD / what / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    install = ["install", "--quiet", "--timeout", "20", "--retries", "1"]
    if sys.prefix == str(BUILD / what):
        _skip(f"{what} lacks what was installed")
    done = BUILD / what / "installed"
    if not done.exists():
        _call(what, [sys.executable, "-m", "venv", "--clear", "--system-site-packages", BUILD / what])
        if without_cuda:
            report = json.loads(_call(what, [*pip, *install, "--dry-run", "--report", "-", *packages]))
            names = {entry["metadata"]["name"] for entry in report["install"]}
            if any(name.startswith(("nvidia", "cuda")) for name in names):
                _skip(f"{what}: PyTorch comes with CUDA here; install {' '.join(packages)} yourself to test with them")
        _call(what, [*pip, *install, *packages])
        done.touch()
    os.execv(python, [str(python), *sys.argv])


def _call(what, command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines()
        _skip(f"{what}: {said[-1] if said else 'failed'}")
    return result.stdout


def _skip(why):
    print(f"OK (skipped=all): {pathlib.Path(sys.argv[0]).stem}: {why}")
    sys.exit(0)
