"""What `import perflib` does not do, and the examples that its docstrings promise."""

import doctest
import importlib
import json
import os
import subprocess
import sys

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
def watched():
    """What a fresh interpreter says of the import; nothing else may be printed."""
    done = subprocess.run([sys.executable, "-c", WATCHED_IMPORT], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_import_brings_no_heavy_package(watched):
    """Numba imports the bare `scipy` to see whether it is there; its subpackages are the heavy part."""
    assert watched["heavy"] == []


def test_the_import_compiles_nothing(watched):
    assert watched["compiled"] == 0


def test_the_import_changes_no_environment_variable_and_starts_no_thread(watched):
    assert watched["changed"] == []
    assert watched["threads"] == 1


def test_the_import_writes_nothing(tmp_path):
    """Neither into the working directory nor into a home."""
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}

    subprocess.run([sys.executable, "-c", "import perflib"], cwd=tmp_path, env=environment, check=True)

    assert list(tmp_path.iterdir()) == []


def test_every_public_name_is_there_once():
    assert len(set(perflib.__all__)) == len(perflib.__all__)
    assert all(hasattr(perflib, name) for name in perflib.__all__)


KERNEL_EXAMPLES = ["kernels.gemm.textbook", "kernels.rmsnorm.textbook", "kernels.probes.chase"]


@pytest.mark.parametrize(
    "name", ["timer", "stats", "display.text", "display.html", "scaling", "timing.measure", *KERNEL_EXAMPLES]
)
def test_the_examples_of_a_module_are_true(name):
    module = importlib.import_module(f"perflib.{name}")

    result = doctest.testmod(module)

    assert result.failed == 0
    assert result.attempted > 0
