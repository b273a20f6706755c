"""cdisim.run(), against the program: python3 -m unittest with the package on the path."""

import contextlib
import copy
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import cdisim
from cdisim import server

try:
    import pandas
except ImportError:
    pandas = None

ROOT = pathlib.Path(__file__).resolve().parents[2]
EDGENT = json.loads((ROOT / "experiments" / "edgent.json").read_text(encoding="utf-8"))


def one_point(**keys):
    """The Edgent experiment without its sweeps: one run a policy."""
    document = copy.deepcopy(EDGENT)
    for key in ("sweeps", "published"):
        del document[key]
    document.update({"links": {"lan": {"bandwidth": "1Mbps"}}, **keys})
    return document


def endless(**keys):
    """A run that takes hours: one policy, a request each millisecond for 10^8 s."""
    document = one_point(arrivals={"kind": "periodic", "period": "1ms"}, horizon_s=1e8, **keys)
    document.pop("requests", None)
    document["policies"] = [{"name": "device_only"}]
    return document


def children(pid):
    """Process ids of a process's children and theirs."""
    found = []
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found += [int(child), *children(int(child))]
    return found


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def idle_server():
    """Process id of the server, of whose runs none is left: one is gone only soon after its answer."""
    cdisim.run(one_point())
    pid = server.server_pid()
    assert wait_until(lambda: not children(pid))
    return pid


class RunTest(unittest.TestCase):
    def test_bundled_experiment_by_name_and_path(self):
        by_name = cdisim.run("edgent", jobs=1)
        by_path = cdisim.run(ROOT / "experiments" / "edgent.json", requests=False)
        self.assertEqual(by_name.document, by_path.document)
        self.assertEqual(by_name.find("edgent", bandwidth="1500kbps")["plan"]["decision"]["partition_point"], 17)
        self.assertTrue(by_name.figures)
        with self.assertRaisesRegex(ValueError, "requests=True"):
            by_path.requests()

    def test_is_what_the_program_prints(self):
        printed = subprocess.run([cdisim.program.program(), "edgent", "--json", "--seed", "3"], capture_output=True,
                                 check=True, text=True).stdout
        self.assertEqual(cdisim.run("edgent", seed=3).document, json.loads(printed))

    def test_dict(self):
        result = cdisim.run(one_point())
        # 14,500 B at 1 Mbit/s and 14.7 ms on the desktop: 0.116 + 0.0147 s.
        self.assertAlmostEqual(result.find("edge_only")["metrics"]["latency_s"]["mean"], 0.1307, places=9)
        with self.assertRaisesRegex(ValueError, "there are 5 runs"):
            result.metrics

    def test_policy_replaces_those_of_the_experiment(self):
        result = cdisim.run("edgent", policy="edge_only")
        self.assertEqual({run["policy"] for run in result.runs}, {"edge_only"})
        by_policy = {figure["id"]: figure["policy"] for figure in EDGENT["published"] if "policy" in figure}
        kept = {figure["id"].split("@")[0] for figure in result.figures}
        self.assertEqual({by_policy[name] for name in kept & by_policy.keys()}, {"edge_only"})
        # A label of the experiment stands for its entry, parameters included; a name for the policy as it is.
        both = cdisim.run(one_point(), policy=["edgent", "dads", {"name": "edgent", "label": "least", "search": "argmin"}])
        self.assertEqual([run["policy"] for run in both.runs], ["edgent", "dads", "least"])
        self.assertEqual(both.find("edgent")["params"], cdisim.run(one_point()).find("edgent")["params"])
        self.assertAlmostEqual(cdisim.run(one_point(), policy="edge_only").metrics["latency_s"]["mean"], 0.1307, places=9)

    def test_requests(self):
        rows = cdisim.run(one_point(), policy="edge_only").requests()
        self.assertEqual(rows[0]["policy"], "edge_only")
        self.assertEqual((rows[0]["state"], rows[0]["request"]), ("completed", 0))
        self.assertAlmostEqual(rows[0]["latency_s"], 0.1307, places=9)

    @unittest.skipUnless(pandas, "pandas is missing")
    def test_pandas(self):
        result = cdisim.run("edgent")
        runs = result.to_pandas()
        self.assertEqual(len(runs), len(result.runs))
        row = runs[(runs.policy == "edgent") & (runs.bandwidth == "1500kbps")].iloc[0]
        self.assertEqual(row["decision.partition_point"], 17)
        self.assertEqual(row["latency_s.mean"],
                         result.find("edgent", bandwidth="1500kbps")["metrics"]["latency_s"]["mean"])
        self.assertEqual(len(result.to_pandas("figures")), len(result.figures))
        self.assertEqual(len(result.to_pandas("requests")), len(result.requests()))
        with self.assertRaisesRegex(ValueError, "none of"):
            result.to_pandas("run")

    def test_progress(self):
        seen = []
        cdisim.run(one_point(), progress=lambda done, total: seen.append((done, total)))
        self.assertEqual(seen, [(i, 5) for i in range(1, 6)])
        line = io.StringIO()
        with contextlib.redirect_stderr(line):
            cdisim.run(one_point(), progress=True)
        self.assertTrue(line.getvalue().endswith("5/5\n"))


class MistakeTest(unittest.TestCase):
    def test_a_file_that_is_no_text(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "latin.json"
            path.write_bytes(b'{"schema": 1, "name": "caf\xe9"}')
            with self.assertRaisesRegex(cdisim.InputError, "latin.json"):
                cdisim.run(path)
            self.assertTrue(cdisim.run(one_point(), policy="edge_only").metrics)  # the server goes on

    def test_mistakes_are_input_errors(self):
        with self.assertRaisesRegex(cdisim.InputError, 'did you mean "edgent"'):
            cdisim.run("edgnt")
        with self.assertRaisesRegex(cdisim.InputError, "experiment.*unknown key"):
            cdisim.run(one_point(deadlin="1s"))
        with self.assertRaisesRegex(cdisim.InputError, 'is no policy.*did you mean "edgent"'):
            cdisim.run("edgent", policy="edgnt")
        for options in ({"seed": -1}, {"seed": 1.5}, {"jobs": 0}, {"jobs": "two"}):
            with self.assertRaisesRegex(cdisim.InputError, "is no whole number"):
                cdisim.run("edgent", **options)
        with self.assertRaises(KeyError):
            cdisim.run("edgent").find("edgent")

    def test_text_is_the_program_s(self):
        for experiment in ("edgnt", ROOT / "experiments" / "missing.json", ROOT / "README.md"):
            said = subprocess.run([cdisim.program.program(), str(experiment)], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(said.returncode, 2)
            with self.assertRaises(cdisim.InputError) as caught:
                cdisim.run(experiment)
            self.assertEqual(f"cdisim: error: {caught.exception}\n", said.stderr)

    def test_a_dict_finds_files_from_the_current_folder(self):
        with self.assertRaisesRegex(cdisim.InputError, "no such file"):
            cdisim.run(one_point(platform="mine/pi3_lan_desktop.xml"))
        here = os.getcwd()
        try:
            os.chdir(ROOT / "platforms")
            cdisim.run(one_point(platform="./" + EDGENT["platform"] + ".xml"), policy="edge_only")
        finally:
            os.chdir(here)


class ProcessTest(unittest.TestCase):
    def test_runs_in_another_process_and_leaves_none(self):
        before = set(os.listdir("/proc/self/fd"))
        cdisim.run(one_point())
        pid = server.server_pid()
        # The server alone: the run's child is gone soon after its answer.
        self.assertTrue(wait_until(lambda: children(os.getpid()) == [pid]))
        fds = set(os.listdir("/proc/self/fd"))
        cdisim.run(one_point())
        self.assertEqual(server.server_pid(), pid)
        self.assertEqual(set(os.listdir("/proc/self/fd")), fds)
        self.assertLessEqual(len(fds - before), 1)  # the server's socket

    def test_many_runs_leak_nothing(self):
        def held(pid):
            return len(os.listdir(f"/proc/{pid}/fd")), memory(pid)

        def memory(pid):  # resident, kB
            status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            return int(status.split("VmRSS:")[1].split()[0])

        document = one_point()
        for _ in range(20):
            cdisim.run(document)
        pids = (os.getpid(), server.server_pid())
        alone = lambda: children(os.getpid()) == [pids[1]]
        self.assertTrue(wait_until(alone))
        before = [held(pid) for pid in pids]
        for _ in range(60):
            cdisim.run(document)
        self.assertTrue(wait_until(alone))
        for (fds, kilobytes), pid in zip(before, pids):
            self.assertEqual(len(os.listdir(f"/proc/{pid}/fd")), fds)
            if "CDISIM_SANITIZE" not in os.environ:  # AddressSanitizer keeps what was freed for a while
                self.assertLess(memory(pid) - kilobytes, 1024)

    def test_interrupt_ends_the_run(self):
        pid = idle_server()

        def interrupt():
            wait_until(lambda: len(children(pid)) == 2)  # the run and its simulation
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with self.assertRaises(KeyboardInterrupt):
            cdisim.run(endless())
        thread.join()
        self.assertTrue(wait_until(lambda: not children(pid)))
        cdisim.run(one_point())
        self.assertEqual(server.server_pid(), pid)

    def test_a_crash_is_an_error_that_names_the_signal(self):
        pid = idle_server()
        for which, text in ((0, "the run died of signal 9"), (1, "the simulation died of signal 9")):
            def crash():
                wait_until(lambda: len(children(pid)) == 2)
                os.kill(children(pid)[which], signal.SIGKILL)

            thread = threading.Thread(target=crash)
            thread.start()
            with self.assertRaisesRegex(cdisim.SimulationError, text):
                cdisim.run(endless())
            thread.join()
            self.assertTrue(wait_until(lambda: not children(pid)))

    def test_a_server_that_died_is_replaced(self):
        pid = idle_server()
        # Once the run simulates: before, it would be given to the next server.
        threading.Thread(target=lambda: (wait_until(lambda: len(children(pid)) == 2),
                                         os.kill(pid, signal.SIGKILL))).start()
        with self.assertRaisesRegex(cdisim.SimulationError, "has ended"):
            cdisim.run(endless())
        cdisim.run(one_point())
        self.assertNotEqual(server.server_pid(), pid)

    def test_several_threads(self):
        results = [None] * 4

        def work(i):
            results[i] = cdisim.run(one_point(), seed=i)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(results))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([result.document["seed"] for result in results], [0, 1, 2, 3])

    def test_ends_with_its_caller(self):
        code = ("import cdisim, json, os, sys, threading\n"
                "from cdisim import server\n"
                "cdisim.run('edgent', policy='edge_only')\n"
                "threading.Thread(target=cdisim.run, args=(json.load(sys.stdin),), daemon=True).start()\n"
                "print(server.server_pid(), flush=True)\n"
                "import time; time.sleep(1000)\n")
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as caller:
            caller.stdin.write(json.dumps(endless()))
            caller.stdin.close()
            pid = int(caller.stdout.readline())
            self.assertTrue(wait_until(lambda: len(children(pid)) == 2))
            both = children(pid)
            caller.kill()
            caller.wait()
            caller.stdout.close()
        self.assertTrue(wait_until(lambda: not any(os.path.exists(f"/proc/{p}") for p in [pid, *both])))

    def test_a_fork_of_the_caller_has_a_server_of_its_own(self):
        cdisim.run(one_point())
        pid = os.fork()
        if pid == 0:
            status = 1
            with contextlib.suppress(BaseException):
                cdisim.run(one_point())
                status = 0
            server.stop()
            os._exit(status)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        cdisim.run(one_point())


if __name__ == "__main__":
    unittest.main()
