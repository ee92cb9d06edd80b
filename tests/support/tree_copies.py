"""Copies of the tree in which a bug is inserted and tests run, while the tree itself stays as it is."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "reports", "__pycache__", ".*cache", ".hypothesis", "*.egg-info")
OUT_OF_TIME = -signal.SIGKILL


def run(tree: Path, *words: str, fresh: bool = False, limit_s: float | None = None) -> subprocess.CompletedProcess:
    """Python in a copy that shadows the installed package, with the copy's cache of compiled code or a fresh one.

    After limit_s, and in the end, every process of it is killed.
    """
    with tempfile.TemporaryDirectory() as empty:
        cache = empty if fresh else f"{tree}-compiled"
        environment = {**os.environ, "PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": cache, "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("PERFLIB_RUN", None)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, *words]
        with subprocess.Popen(command, cwd=tree, env=environment, start_new_session=True, **pipes) as process:
            try:
                output = process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output = process.communicate()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return subprocess.CompletedProcess(command, process.returncode, *output)


def run_tests(tree: Path, *tests: str, fresh: bool = False, limit_s: float | None = None) -> subprocess.CompletedProcess:
    """pytest in a copy, up to the first test that is red."""
    return run(tree, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests, fresh=fresh, limit_s=limit_s)


def holds_compiled(file: Path, text: str) -> bool:
    """Whether a change of this file needs a fresh cache: cached callers of what it compiles would not see the change."""
    return "kernels" in file.parts or "njit" in text or "@compiled" in text


def copy_to(tree: Path) -> Path:
    """A copy of the tree, sure to be the one that is imported there."""
    shutil.copytree(ROOT, tree, ignore=lambda folder, names: LEFT_OUT(folder, names) | _recorded_runs(folder))
    imported = run(tree, "-c", "import perflib; print(perflib.__file__)").stdout
    if not imported.startswith(str(tree)):
        sys.exit(f"the copy must shadow the installed perflib, got {imported.strip()}")
    return tree


def _recorded_runs(folder: str) -> set[str]:
    """What was recorded here is no part of a copy; perflib/runs and tests/runs are."""
    return {"runs"} if Path(folder) == ROOT / "data" else set()
