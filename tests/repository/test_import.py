"""What `import perflib` does not do, and the examples that its docstrings promise."""

import ast
import doctest
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import perflib

WATCHED_IMPORT = """
import json, os, sys, threading, warnings
from numba.core import event
warnings.simplefilter("error")
before = dict(os.environ)
with event.install_recorder("numba:compile") as recorder:
    import perflib
print(json.dumps({
    "heavy": sorted({"pandas", "matplotlib", "scipy.stats", "IPython", "nbformat", "tqdm"} & sys.modules.keys()),
    "compiled": len(recorder.buffer),
    "changed": sorted(set(before.items()) ^ set(os.environ.items())),
    "threads": threading.active_count(),
}))
"""


@pytest.fixture(scope="module")
def stopwatch_runs():
    """What a fresh interpreter says of the import; nothing else may be printed."""
    done = subprocess.run([sys.executable, "-c", WATCHED_IMPORT], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_import_brings_no_heavy_package(stopwatch_runs):
    """Numba imports the bare `scipy` to see whether it is there; its subpackages are the heavy part."""
    assert stopwatch_runs["heavy"] == []


def test_the_import_compiles_nothing(stopwatch_runs):
    assert stopwatch_runs["compiled"] == 0


def test_the_import_changes_no_environment_variable_and_starts_no_thread(stopwatch_runs):
    assert stopwatch_runs["changed"] == []
    assert stopwatch_runs["threads"] == 1


def test_the_import_writes_nothing(tmp_path):
    """Neither into the working directory nor into a home."""
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}

    subprocess.run([sys.executable, "-c", "import perflib"], cwd=tmp_path, env=environment, check=True)

    assert list(tmp_path.iterdir()) == []


def test_every_public_name_is_there_once():
    assert len(set(perflib.__all__)) == len(perflib.__all__)
    assert all(hasattr(perflib, name) for name in perflib.__all__)
    assert perflib.fleet.__name__ == "perflib.fleet"


KERNEL_EXAMPLES = ["kernels.gemm.textbook", "kernels.rmsnorm.textbook", "kernels.probes.chase"]


@pytest.mark.parametrize(
    "name", ["timer", "stats", "display.text", "display.html", "scaling.fit", "timing.measure", *KERNEL_EXAMPLES]
)
def test_the_examples_of_a_module_are_true(name):
    module = importlib.import_module(f"perflib.{name}")

    result = doctest.testmod(module)

    assert result.failed == 0
    assert result.attempted > 0


def test_names_that_editors_see_are_those_that_are_loaded():
    tree = ast.parse(Path(perflib.__file__).read_text())
    shown = next(node for node in tree.body if isinstance(node, ast.If))

    homes = {alias.name: node.module for node in shown.body for alias in node.names}
    assert homes == {**perflib._HOME_OF, "kernels": None}


def test_a_name_that_is_not_there_is_pythons_own_error():
    with pytest.raises(AttributeError, match="module 'perflib' has no attribute 'claims'"):
        perflib.claims  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match="perflib.store"):
        importlib.import_module("perflib.store")


def test_the_program_explains_itself_without_numba():
    words = ["-X", "importtime", "-m", "perflib", "--help"]

    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)

    assert "numba" not in done.stderr
    assert "selfcheck" in done.stdout


@pytest.mark.parametrize("name", ["Timer", "PerflibError"])
def test_a_light_name_comes_without_numba(name):
    program = f"from perflib import {name}; import sys; print('numba' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
