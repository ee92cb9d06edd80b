"""macOS and Windows, simulated: missing modules are hidden, and so are /proc and /sys. Neither system ran any of this."""

import json
import os
import subprocess
import sys

import pytest

from perflib.timing.sampling import Sample

PRELUDE = """
import asyncio, builtins, importlib.abc, io, json, os, pathlib, sys, types
import nbclient, nbconvert.exporters, pdoc.doc
import cloudpickle, filelock, matplotlib.figure, numba, numpy as np, pandas, psutil, scipy.stats, threadpoolctl, tqdm, uuid

HIDDEN = {hidden!r}
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
for name in HIDDEN:
    sys.modules.pop(name, None)
for name in ("sched_getaffinity", "sched_setaffinity", *{gone!r}):
    if hasattr(os, name):
        delattr(os, name)
opened = io.open
def open_elsewhere(file, *args, **settings):
    if str(file).startswith(("/proc", "/sys")) and str(file) != "/proc/self/maps":  # which threadpoolctl reads on Linux
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return opened(file, *args, **settings)
io.open = builtins.open = open_elsewhere
status = os.stat
def status_elsewhere(path, *args, **settings):
    if str(path).startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "No such file or directory", str(path))
    return status(path, *args, **settings)
os.stat = status_elsewhere
sys.platform = {platform!r}
psutil.virtual_memory = lambda: types.SimpleNamespace(total=8 << 30)
"""
SYSTEMS = {
    "darwin": PRELUDE.format(hidden=(), gone=(), platform="darwin"),
    "win32": PRELUDE.format(
        hidden=("fcntl", "resource", "pwd", "grp", "termios"),
        gone=("geteuid", "getuid", "O_NOFOLLOW"),
        platform="win32",
    ),
}
MEASURE = """
import perflib
from perflib.kernels import matmul_ikj, matmul_naive
one = perflib.measure(np.sort, np.random.default_rng(0).random(1000), budget_s=0.2)
a = np.ones((32, 32), np.float32)
two = perflib.compare({"naive": matmul_naive, "ikj": matmul_ikj}, a, a, budget_s=0.4)
sample = one.samples[0]
print(json.dumps([one.state, list(one.reasons), sample.cpu_ns, sample.switches, sample.faults, str(two)]))
"""
SWEEP = """
os.environ["PERFLIB_DATA"] = os.getcwd()
import perflib
make = lambda n, rng: rng.random(n)
versions = {"sort": np.sort, "sorted": lambda x: np.array(sorted(x))}
one = perflib.sweep(versions, [100, 1000], make=make, budget_s=0.2, progress=False)
again = perflib.load_run(one.run.path)
cells = [line.split(",") for line in (again.path / "sweep.csv").read_text().splitlines()]
places = [cells[0].index(name) for name in ("cpu_ns", "switches")]
untold = {cells[1][place] == "" for place in places}
print(json.dumps([sorted(untold), str(one), str(one.growth())]))
"""
FACTS = """
import perflib
here = perflib.machine()
run = perflib.load_run()
from perflib.report import build, notebooks
from perflib.studies.summary import judge_all
with __import__("perflib.runs.writer", fromlist=["x"]).measuring_lock():
    pass
print(json.dumps([here.cpu, len(here.caches), here.memory_bytes, here.page_policy, str(here), len(judge_all(run))]))
"""


@pytest.fixture(scope="module", params=SYSTEMS)
def other(request, once):
    """A system, and what one process of it printed of functions, of the machine and of a sweep: loading costs most."""

    def run(folder):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PERFLIB")}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SYSTEMS[request.param] + MEASURE + FACTS + SWEEP],
            cwd=folder,
            env=kept | {"TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (printed := folder / "printed.txt").write_text(done.stdout)
        return printed

    lines = once(request.param, run).read_text().splitlines()
    return request.param, *map(json.loads, lines[-3:])


def test_functions_are_measured_and_compared(other):
    system, (state, reasons, cpu_ns, switches, faults, compared), _, _ = other

    assert state in ("stable", "noisy")
    assert [reason for reason in reasons if "it sleeps" in reason] == []
    unknown = (cpu_ns, switches, faults) == (None, None, None)
    assert unknown == (system == "win32"), "what is not counted is not 0"
    assert "naive" in compared and "ikj" in compared


def test_the_machine_is_described_and_the_reference_run_is_read(other):
    _, _, (cpu, caches, memory_bytes, page_policy, text, claims), _ = other

    assert cpu
    assert (caches, page_policy, claims) == (0, None, 10)
    assert memory_bytes == 8 << 30
    assert "unknown" in text


def test_a_sweep_is_recorded_and_read_again(other):
    system, _, _, (untold, table, growth) = other

    assert untold == [system == "win32"], "what is not counted is left empty"
    assert "sorted" in table and "sorted" in growth


def test_an_unknown_count_is_judged_as_calm_and_stays_unknown():
    unknown = Sample("work", 0, 0, 10, 1000, None, None, 0, None, 0, None)

    calm = unknown.as_calm()

    assert (calm.waited_ns, calm.switches, calm.faults, calm.process_ns) == (0, 0, 0, 1000)
    assert (unknown.waited_ns, unknown.cpu_ns, unknown.switches) == (None, None, None)


def test_a_sample_whose_counts_are_known_stays_as_it_is():
    disturbed = Sample("work", 0, 0, 10, 1000, 400, 2, 0, 3, 0, 900)

    assert disturbed.as_calm() is disturbed
