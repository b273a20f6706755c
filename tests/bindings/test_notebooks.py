"""The notebooks run from top to bottom, and are kept without outputs: test_notebooks.py [FILE...].

Their cells are executed as plain Python, which needs no Jupyter: notebooks use no magics.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import cdisim

NOTEBOOKS = sorted((pathlib.Path(__file__).resolve().parents[2] / "bindings" / "notebooks").glob("*.ipynb"))

try:
    import matplotlib
    import pandas
except ImportError as error:
    matplotlib, missing = None, error


def code(path):
    """The cells of a notebook."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "code"]


def execute(path):
    """Runs a notebook as a program, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        script = pathlib.Path(folder) / f"{path.stem}.py"
        script.write_text("\n".join(f"# cell {i}\n{cell}" for i, cell in enumerate(code(path))), encoding="utf-8")
        return subprocess.run([sys.executable, script.name], cwd=folder, capture_output=True, text=True,
                              env={**os.environ, "MPLBACKEND": "Agg"}, check=False)


class NotebookTest(unittest.TestCase):
    def test_clean(self):
        self.assertTrue(NOTEBOOKS)
        for path in NOTEBOOKS:
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                self.assertEqual((cell.get("outputs", []), cell.get("execution_count")), ([], None), path.name)

    def test_every_cell(self):
        if matplotlib is None:
            self.skipTest(f"notebooks need python3-matplotlib and python3-pandas: {missing}")
        for path in NOTEBOOKS:
            with self.subTest(path.name):
                if any("stable_baselines3" in cell for cell in code(path)):
                    continue  # test_training.py runs it, which has the packages
                if any("@cdisim.policy" in cell for cell in code(path)) and not hasattr(cdisim, "Plan"):
                    self.skipTest(f"{path.name}: the module cdisim._core is not built")
                done = execute(path)
                self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
