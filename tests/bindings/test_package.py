"""`pip install .` in a fresh virtual environment: what it installs works from anywhere.

CDISIM_BUILD names the build folder that gets the environment, venv-package, and builds in wheel (default: build/ of the
source tree). Skipped where PyPI cannot be reached. With ccache, most objects are those of the ordinary build.
"""

import json
import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CDISIM_BUILD", ROOT / "build"))
VENV = BUILD / "venv-package"
# The compiler by the name that the ordinary build has for it, as ccache tells them apart by name.
ENVIRONMENT = {**{key: value for key, value in os.environ.items()
                  if key not in ("PYTHONPATH", "CDISIM_PROGRAM", "CDISIM_PATH")}, "CC": "cc", "CXX": "c++"}


def call(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, env=ENVIRONMENT, cwd="/",
                          check=False)


def install():
    """Raises SkipTest where PyPI is out of reach."""
    made = call(sys.executable, "-m", "venv", "--clear", VENV)
    if made.returncode != 0:
        raise RuntimeError(made.stdout + made.stderr)
    pip = (VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check")
    if call(*pip, "download", "--quiet", "--no-deps", "--retries", "1", "--dest", VENV, "scikit-build-core").returncode:
        raise unittest.SkipTest("PyPI is out of reach: the wheel was not built")
    done = call(*pip, "install", "--quiet", "--config-settings", f"build-dir={BUILD / 'wheel'}", f"{ROOT}[notebooks]")
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        install()

    def test_python(self):
        code = ("import cdisim, json, pathlib\n"
                "def first_edge(problem):\n"
                "    return cdisim.chain_plan(problem.graph, 0, 0, problem.source, [*problem.reachable('edge'), problem.source][0])\n"
                "result = cdisim.run('edgent', policy=['edge_only', first_edge])\n"
                "print(json.dumps([cdisim.__file__, str(cdisim.find_resource('platform', 'pi3_lan_desktop')),\n"
                "                  len(result.figures), cdisim.check_policy(first_edge)]))\n")
        done = call(VENV / "bin" / "python", "-c", code)
        self.assertEqual(done.returncode, 0, done.stderr)
        module, platform, figures, plans = json.loads(done.stdout)
        package = pathlib.Path(module).parent
        self.assertTrue(package.is_relative_to(VENV))
        self.assertEqual(pathlib.Path(platform).parent, package / "share" / "cdisim" / "platforms")
        self.assertGreater(figures, 0)
        self.assertGreater(plans, 0)
        for name in ("py.typed", "_core.pyi"):
            self.assertTrue((package / name).is_file(), name)

    def test_the_first_notebook(self):
        notebook = json.loads((ROOT / "bindings" / "notebooks" / "1_first_tour.ipynb").read_text(encoding="utf-8"))
        cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        done = call(VENV / "bin" / "python", "-c", "import matplotlib\nmatplotlib.use('Agg')\n" + "\n".join(cells))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_nothing_refers_to_the_checkout(self):
        """So that it may be deleted."""
        said = call(VENV / "bin" / "python", "-c", "import cdisim; print(cdisim.__file__)").stdout.strip()
        files = [path for path in pathlib.Path(said).parent.rglob("*") if path.is_file()]
        self.assertGreater(len(files), 100)  # platforms, workloads and experiments are among them
        for path in files:
            content = path.read_bytes().replace(str(VENV).encode(), b"")
            self.assertFalse(str(ROOT).encode() in content, path)

    def test_command(self):
        done = call(VENV / "bin" / "cdisim", "list", "experiments", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        listed = json.loads(done.stdout)
        self.assertTrue(listed)
        for experiment in listed:
            self.assertTrue(pathlib.Path(experiment["file"]).is_relative_to(VENV))


if __name__ == "__main__":
    unittest.main()
