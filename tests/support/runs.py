"""Small runs written by hand, in a folder of the test's own."""

import tempfile
from collections import Counter

from perflib.hardware.facts import Machine
from perflib.kernels.caches import Cache
from perflib.runs import writer
from perflib.runs.tables import TABLES
from perflib.runs.writer import RunWriter
from perflib.stats import Interval

MACHINE = Machine(
    cpu="Test(R) Chip 9000",
    target="generic",
    isa=("avx2",),
    logical_cpus=2,
    caches=(Cache(1, "Data", 32768),),
    memory_bytes=1 << 30,
    page_policy=None,
    os="Linux 6 x86_64",
    python="3.11.0",
    packages={"numpy": "2.0"},
    clock="hand",
)


def isolate(folder, monkeypatch):
    """Data and lock in `folder`, and code that does not change while others edit it; returns `folder`.

    The copy bandwidth, which takes fifteen seconds in each process, is measured by tests/hardware/test_facts.py.
    """
    monkeypatch.setenv("PERFLIB_DATA", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr("perflib.runs.sweep.copy_gb_per_s", lambda machine: Interval(20.0, 19.5, 20.5, 0.95))
    monkeypatch.setattr(writer, "_code", lambda: {"digest": "0", "commit": None, "clean": None})
    return folder


def start(command="quick", settings=None, machine=MACHINE):
    return RunWriter.start(command, settings or {"seed": 0}, machine)


def row(block, number, **changes):
    """One sample; `changes` replace or add columns."""
    cell = {"kernel": "k", "scope": "kernel", "dtype": "float32", "threads": 1, "n": 64, "process": 0, "placement": 0}
    sample = {"round": number, "position": 0, "reps": 10, "elapsed_ns": 1000 + number, "cpu_ns": 900, "switches": 0}
    return {"block": block, **cell, **sample, "compiled": 0, **changes}


def in_order(rows):
    """The rows by their rounds, their positions counted, as a recorder writes them."""
    rows, positions = sorted(rows, key=lambda one: one["round"]), Counter()
    for one in rows:
        one["position"] = positions[one["round"]]
        positions[one["round"]] += 1
    return rows


def write(run, topic, block, rows=3, marker=True, **changes):
    """Append a block of some rows; without its marker it stays unfinished."""
    try:
        with run.block(topic, block) as append:
            for number in range(rows):
                append([row(block, number, **changes)])
            if not marker:
                raise InterruptedError
    except InterruptedError:
        pass


def told(block="timeit, warmed", statistic="best", **changes):
    """One row of the table `harness`."""
    asked = {"harness": "timeit", "version": "3.11.0", "first_call": "warmed", "scope": "call", "statistic": statistic}
    return {"block": block, **asked, "reported_ps": 292_000, "loops": 1000, "samples": 5, "wall_ms": 2974, **changes}


def tell(run, *rows):
    """Append one block of the table `harness`."""
    with run.block("harness", rows[0]["block"], columns=TABLES["harness"]) as append:
        append(rows)
