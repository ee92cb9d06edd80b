"""Live: what spoils a measurement is told by its own reason, and never passes as a clean number.

Nothing here depends on how fast or how busy the machine is; what must be long is long by tens of milliseconds.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
from numba import njit

from perflib import measure

UNSTEADY = """
import sys
import numpy as np
from perflib import measure

rng = np.random.default_rng(0)

def work():
    total = 0
    for i in range(int(rng.integers(250_000, 500_000))):
        total += i
"""

SUSPENDED = (
    UNSTEADY
    + """
import json
measure(work, budget_s=0.2)
print("ready", flush=True)
found = measure(work, budget_s=1.8)
print(json.dumps([found.state, found.reasons]))
"""
)

INTERRUPTED = (
    UNSTEADY
    + """
import gc, itertools, json, os
import numba, scipy.stats
from threadpoolctl import threadpool_info

def state():
    blas = [[pool["user_api"], pool["num_threads"]] for pool in threadpool_info()]
    return [gc.isenabled(), numba.get_num_threads(), sorted(blas), sorted(getattr(os, "sched_getaffinity", list)(0))]

calls = itertools.count()

def work_and_tell():
    if next(calls) == 20:
        print("ready", flush=True)
    work()

numba.get_num_threads()  # starts them
before = state()
try:
    measure(work_and_tell, budget_s=60)
except KeyboardInterrupt:
    print(json.dumps([before, state()]))
"""
)


@contextmanager
def started(code, *more):
    """A process of Python, ended with the block; its last line, read after it said that it is ready."""
    process = subprocess.Popen([sys.executable, "-c", code, *more], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def busy():
    """As many neighbours as there are cores, each with enough to do for one."""
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
    time.sleep(0.3)
    yield
    for neighbour in neighbours:
        neighbour.kill()
        neighbour.wait()


def collects():
    gc.collect(0)


def leaves_cycles():
    for _ in range(100):
        cycle = []
        cycle.append(cycle)


def compiles():
    return njit(lambda x: x + 1)(1)


def takes_long():
    total = 0
    for i in range(400_000):
        total += i
    return total


@njit
def _constant(x):
    return 1


@njit
def _dead(x):
    total = 0.0
    for i in range(x.size):
        total += x[i]
    return x.size


@pytest.mark.parametrize(
    ("fn", "args", "state", "reason"),
    [
        (compiles, (), "invalid", "compilations during the timed part"),
        (collects, (), "noisy", "garbage was collected in"),
        (leaves_cycles, (), "noisy", "garbage in cycles was left"),
        (time.sleep, (0.01,), "noisy", "without being interrupted: it sleeps, or waits for others"),
        (np.ones, (4_300_000,), "noisy", "page faults in"),
        (lambda: np.random.default_rng().random(), (), "noisy", "results differ from call to call"),
    ],
)
def test_a_function_that_does_more_than_its_work_is_told_by_its_own_reason(fn, args, state, reason):
    found = measure(fn, *args, budget_s=1.0)

    assert found.state in (state, "invalid")
    assert any(reason in r for r in found.reasons)


@pytest.mark.parametrize("kernel", [_constant, _dead])
def test_a_body_that_was_eliminated_is_invalid(kernel):
    found = measure(kernel, np.ones(100), scope="kernel", budget_s=0.1)

    assert found.state == "invalid"
    assert "not distinguishable from an empty body: the work may have been eliminated" in found.reasons


def test_busy_neighbours_are_told(busy):
    found = measure(takes_long, budget_s=1.0)

    assert found.state != "stable"
    assert any("other work took the core in" in reason for reason in found.reasons)


def test_a_suspended_process_is_told():
    """Stopped from outside again and again for 0.3 s; a sample takes some 20 ms."""
    with started(SUSPENDED) as process:
        assert process.stdout.readline() == "ready\n"
        while process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.15)
        state, reasons = json.loads(process.stdout.readline())

    assert state != "stable"
    assert any(reason.startswith("suspended in") for reason in reasons)


def test_ctrl_c_in_the_middle_leaves_threads_collector_and_cores_as_they_were():
    with started(INTERRUPTED) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        before, after = json.loads(process.stdout.readline())

        assert process.wait() == 0

    assert after == before
    assert before[0] is True
