"""Processes that perflib starts import nothing from the current folder and end with the process that started them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from perflib.files import PACKAGE
from perflib.system.children import bound, program

STEALING = "open('imported', 'w').close()\nraise SystemExit('this is no module of Python')\n"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder with modules that are named like Python's own."""
    for name in ("pickle", "ctypes", "threading", "json", "resource", "queue"):
        (tmp_path / f"{name}.py").write_text(STEALING)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_modules_of_the_current_folder_are_not_imported(elsewhere):
    source = "import pickle, threading, json, queue, perflib.files; print(perflib.files.__name__)"

    done = subprocess.run(program(source), capture_output=True, text=True, check=True)

    assert done.stdout == "perflib.files\n"
    assert not (elsewhere / "imported").exists()


def test_no_other_module_starts_python():
    """A process that is started anywhere else would import what lies in the current folder."""
    starting = [path.name for path in PACKAGE.rglob("*.py") if "sys.executable" in path.read_text()]

    assert starting == ["children.py"]


def test_a_fresh_process_measures_beside_such_modules(elsewhere):
    from perflib.timing.processes import from_fresh_process

    assert list(from_fresh_process(_counted)) == [0, 1, 2]
    assert not (elsewhere / "imported").exists()


def _counted():
    yield from range(3)


STARTER = """
import subprocess, sys, time
from perflib.system.children import bound, program
child = subprocess.Popen({words}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(child.stdout.readline().decode().strip(), flush=True)
time.sleep(600)
"""
ENDLESS = "import os; print(os.getpid(), flush=True)\nwhile True: pass"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child that does not look")
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("words", ["program({!r})", "bound('-c', {!r})"])
def test_an_endless_process_ends_with_the_one_that_started_it(words, by):
    starter = STARTER.format(words=words.format(ENDLESS))
    parent = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(by)
    parent.communicate()

    assert ends(child), "the child goes on without its parent"


def ends(process):
    """Whether it is gone within ten seconds; else it is killed."""
    for _ in range(200):
        if not is_running(process):
            return True
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    return False


def is_running(process):
    try:
        with open(f"/proc/{process}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child that does not look")
def test_a_process_whose_parent_has_ended_before_it_looked_ends_at_once():
    words = program("print('here')")
    words[-1] = words[-1].replace(str(os.getpid()), "1")

    assert subprocess.run(words, capture_output=True, check=False).stdout == b""


def test_words_for_python_run_as_they_are():
    done = subprocess.run(bound("-c", "import sys; print(sys.argv[1:])", "a", "b"), capture_output=True, text=True)

    assert done.stdout == "['a', 'b']\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the children of a process")
def test_busy_neighbours_end_with_a_selfcheck_that_is_terminated():
    source = "from perflib.validation import selfcheck\nwith selfcheck._busy_cores(): print(1, flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    parent.stdout.readline()
    with open(f"/proc/{parent.pid}/task/{parent.pid}/children") as stream:
        neighbours = list(map(int, stream.read().split()))

    parent.terminate()
    parent.wait()

    assert len(neighbours) == os.cpu_count()
    assert [ends(process) for process in neighbours] == [True] * len(neighbours)
    parent.communicate()


def test_a_neighbour_that_can_only_read_its_input_ends_with_it():
    from perflib.validation.selfcheck import BUSY

    neighbour = subprocess.Popen([sys.executable, "-c", f"import os, sys\n{BUSY}"], stdin=subprocess.PIPE)
    neighbour.stdin.close()

    assert neighbour.wait(timeout=30) == 0


def test_what_this_process_becomes_is_isolated_and_finds_perflib(elsewhere):
    source = "from perflib.system.children import become; become('-c', 'import json, perflib.files; print(1)')"

    done = subprocess.run(program(source), capture_output=True, text=True, check=True)

    assert done.stdout == "1\n"
    assert not (elsewhere / "imported").exists()
