"""Cached machine code: used again as long as every kernel source is what it was."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import perflib

PROGRAM = """
from perflib.kernels.probes import peak
import numpy as np
out = peak.fma_peak(np.full(1, 0.5), 3, np.empty(1))
stats = peak._fma_peak_steps.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), out[0] > 0)
"""


def test_code_comes_from_the_cache_until_a_source_it_was_made_of_changes(tmp_path):
    shutil.copytree(Path(perflib.__file__).parent, tmp_path / "perflib", ignore=shutil.ignore_patterns("__pycache__"))

    alone = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def compiled_and_loaded():
        return subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=alone, capture_output=True, text=True, check=True
        ).stdout.split()

    assert compiled_and_loaded() == ["0", "1", "True"]
    assert compiled_and_loaded() == ["1", "0", "True"]
    with (tmp_path / "perflib" / "kernels" / "jit" / "vector.py").open("a") as source:
        source.write("# an edit of what the kernel calls\n")
    assert compiled_and_loaded() == ["0", "1", "True"]


HALF = """
import sys
import numpy as np
from perflib.kernels.jit.compile import compiled
@compiled
def half(x):
    return x[0] / 2
for dtype in sys.argv[1:]:
    print(half(np.full(1, 3, dtype)))
print(sum(half.stats.cache_hits.values()), "from the cache")
"""


@pytest.fixture
def halves(tmp_path):
    """Runs `half` for each dtype in a process of its own, with a folder of compiled code; returns what it printed."""
    (tmp_path / "half.py").write_text(HALF)

    def run(cache, *dtypes):
        cached = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / cache)}
        done = subprocess.run(
            [sys.executable, tmp_path / "half.py", *dtypes], env=cached, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    return run


def test_code_of_another_signature_under_the_name_of_this_one_is_not_called(tmp_path, halves):
    for dtype in ("float32", "float64"):
        halves(dtype, dtype)
    single, double = (next((tmp_path / dtype).rglob("half*.nbc")) for dtype in ("float32", "float64"))
    shutil.copy(single, double)
    assert halves("float64", "float64") == ["1.5", "0 from the cache"]


def test_two_processes_that_compile_at_once_leave_the_code_of_both(tmp_path, halves):
    for dtype in ("float32", "float64"):
        halves(dtype, dtype)
    shutil.copytree(tmp_path / "float32", tmp_path / "both")
    shutil.copytree(tmp_path / "float64", tmp_path / "both", dirs_exist_ok=True)  # the last to write
    assert halves("both", "float32", "float64") == ["1.5", "1.5", "2 from the cache"]


@pytest.mark.parametrize("home", ["/dev/null", None], ids=["a home that is no folder", "no home"])
def test_without_a_folder_for_compiled_code_it_goes_to_a_temporary_one_and_a_line_says_so(tmp_path, home):
    copy, temporary, here = tmp_path / "perflib", tmp_path / "temporary", tmp_path / "here"
    shutil.copytree(Path(perflib.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in {source.parent for source in copy.rglob("*.py")}:
        (folder / "__pycache__").touch()  # a file where Numba would make its folder
    temporary.mkdir(), here.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "HOME", "PERFLIB_DATA")}
    nowhere = {"XDG_CACHE_HOME": "/dev/null", "TMPDIR": str(temporary)} | ({"HOME": home} if home else {})
    alone = {**kept, **nowhere, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}

    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=here, env=alone, capture_output=True, text=True)

    assert done.stdout.split() == ["0", "1", "True"], done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("perflib: no folder for compiled code can be written")
    assert list(temporary.iterdir()) == [], "the folder ends with its process"
    assert list(here.iterdir()) == []


CALLER = """
import sys
import numpy as np
from numba import prange
from perflib.kernels.jit.compile import compiled
@compiled(parallel=True)
def fill(x):
    for i in prange(len(x)):
        x[i] = i
@compiled
def fill_and_add(x):
    fill(x)
    return x.sum()
x = np.empty(4)
print(fill(x) if sys.argv[1] == "fill" else fill_and_add(x))
"""


def test_code_around_parallel_code_from_the_cache_runs_in_the_next_process(tmp_path):
    (tmp_path / "caller.py").write_text(CALLER)
    cached = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run(name):
        words = [sys.executable, tmp_path / "caller.py", name]
        return subprocess.run(words, env=cached, capture_output=True, text=True, check=True).stdout.split()

    assert run("fill") == ["None"]
    assert run("fill_and_add") == ["6.0"], "compiled here, around what the process before left"
    assert run("fill_and_add") == ["6.0"], "all of it from the cache"
