"""Cached machine code: used again as long as every kernel source is what it was."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

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
"""


def test_code_of_another_signature_under_the_name_of_this_one_is_not_called(tmp_path):
    (tmp_path / "half.py").write_text(HALF)

    def halves(cache, *dtypes):
        cached = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / cache)}
        done = subprocess.run(
            [sys.executable, tmp_path / "half.py", *dtypes], env=cached, capture_output=True, text=True, check=True
        )
        return done.stdout.split(), next((tmp_path / cache).rglob("half*.1.nbc"))

    _, single = halves("one process", "float32")
    expected, double = halves("another at the same time", "float64")
    shutil.copy(single, double)  # both gave their code the number 1, and the first was the last to write
    assert halves("another at the same time", "float64")[0] == expected == ["1.5"]


def test_without_a_folder_for_compiled_code_it_goes_to_a_temporary_one_and_a_line_says_so(tmp_path):
    copy, temporary = tmp_path / "perflib", tmp_path / "temporary"
    shutil.copytree(Path(perflib.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in {source.parent for source in copy.rglob("*.py")}:
        (folder / "__pycache__").touch()  # a file where Numba would make its folder
    temporary.mkdir()
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME"), "/dev/null") | {"TMPDIR": str(temporary)}
    alone = {**os.environ, **nowhere, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    alone.pop("NUMBA_CACHE_DIR", None)

    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=alone, capture_output=True, text=True)

    assert done.stdout.split() == ["0", "1", "True"], done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("perflib: no folder can be written to keep compiled code")
    assert list(temporary.iterdir()) == [], "the folder ends with its process"
