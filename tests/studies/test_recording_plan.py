"""A recording may be killed at any moment and ends with the blocks of an undisturbed one, each measured once."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta

import pandas as pd
import pytest
from runs import MACHINE, isolate, tell, told

from perflib.errors import RunError
from perflib.kernels.catalog import find
from perflib.models.tile_choice import worst_ratio
from perflib.runs import writer
from perflib.runs.grid import GridPoint
from perflib.runs.recorder import Block
from perflib.runs.store import list_runs, load_run
from perflib.runs.tables import read_blocks
from perflib.runs.writer import measuring_lock
from perflib.studies import matmul_scaling
from perflib.studies import recording_plan as program
from perflib.studies.recording_plan import plan, record
from perflib.studies.timing import AGAIN

TINY_RECORDING = """
import sys
sys.argv[:] = ["perflib", "record", "--quick"]
from perflib.__main__ import main
from perflib.kernels.catalog import find
from perflib.runs import writer
from perflib.runs.grid import GridPoint
from perflib.runs.recorder import Block
from perflib.studies import recording_plan

cells = [tuple(GridPoint(find(name), n, "call") for name in ("rms_norm_fast", "numpy_rms_norm")) for n in range(8, 28)]
recording_plan.plan = lambda quick, machine, peers: [Block(f"topic{i % 2}", f"n={i}", c, 1e-6) for i, c in enumerate(cells)]
recording_plan.count_code = dict
recording_plan.record_harnesses = recording_plan.record_forward = lambda *_: None
writer._code = lambda: {"digest": "0", "commit": None, "clean": None}
sys.exit(main())
"""
ROW = ["block", "kernel", "scope", "dtype", "n", "tile", "rows", "round"]


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def tiny(monkeypatch):
    """A plan of one block, so that `record` itself takes a moment."""
    cells = (GridPoint(find("numpy_rms_norm"), 8, "call"),)
    monkeypatch.setattr(program, "plan", lambda quick, machine, peers: [Block("rmsnorm", "n=8", cells, 1e-6)])
    monkeypatch.setattr(program, "count_code", dict)
    monkeypatch.setattr(program, "record_harnesses", lambda *_: None)
    monkeypatch.setattr(program, "record_forward", lambda *_: None)


def start_tiny(folder):
    """A recording in a process of its own, which has just begun to measure."""
    environment = {**os.environ, "PERFLIB_DATA": str(folder), "TMPDIR": str(folder)}
    words = [sys.executable, "-c", TINY_RECORDING]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("recording into"):
            break
    return process


def ended(process):
    """Exit status and what stood on stderr."""
    _, errors = process.communicate()
    return process.returncode, errors


def stopped(folder, blocks, pause_s, by):
    """A recording that got a signal some moment after it had completed so many blocks."""
    process = start_tiny(folder)
    while process.poll() is None and len(only_run(folder).blocks) < blocks:
        time.sleep(0.001)
    time.sleep(pause_s)
    process.send_signal(by)
    return ended(process)


def only_run(folder):
    (path,) = (folder / "runs").iterdir()
    return load_run(path)


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Blocks of a recording that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert ended(start_tiny(folder)) == (0, "")
    return set(only_run(folder).blocks)


@pytest.mark.slow
def test_a_recording_killed_at_random_moments_ends_like_an_undisturbed_one(data, planned):
    rng = random.Random(0)

    for blocks in sorted(rng.sample(range(len(planned) - 2), 5)):
        assert stopped(data, blocks, rng.uniform(0, 0.03), signal.SIGKILL) == (-signal.SIGKILL, "")
    assert ended(start_tiny(data)) == (0, "")

    run = only_run(data)
    assert run.finished
    assert set(run.blocks) == planned
    for topic in {topic for topic, _ in planned}:
        assert not run.samples(topic).duplicated(ROW).any()


@pytest.mark.slow
def test_ctrl_c_says_how_to_continue_and_loses_nothing(data, planned):
    rng = random.Random(1)

    kept = set()
    for blocks in sorted(rng.sample(range(len(planned) - 2), 3)):
        said = stopped(data, blocks, rng.uniform(0, 0.03), signal.SIGINT)
        assert said == (130, "interrupted; continue with: perflib record --quick\n")
        run = only_run(data)
        assert set(run.blocks) >= kept
        kept = set(run.blocks)

    assert ended(start_tiny(data)) == (0, "")
    assert set(only_run(data).blocks) == planned


@pytest.mark.parametrize("quick", [True, False])
def test_every_block_has_a_name_of_its_own_and_every_cell_a_label(quick):
    blocks = plan(quick, MACHINE)

    assert max(Counter((block.topic, block.name) for block in blocks).values()) == 1
    for block in blocks:
        assert len({cell.label for cell in block.cells}) == len(block.cells)


def series(quick, peers=()):
    return {(b.topic, c.kernel.name, c.scope, c.dtype) for b in plan(quick, MACHINE, peers) for c in b.cells}


def test_a_quick_run_has_every_series_of_a_full_one():
    assert series(quick=True) == series(quick=False)


@pytest.mark.parametrize("quick", [True, False])
def test_peers_are_recorded_wherever_numpy_is(quick):
    added = series(quick, ("mkl", "torch")) - series(quick)

    products = {(t, k, s, d) for t, k, s, d in series(quick) if k == "numpy_matmul"}
    norms = {(t, k, s, d) for t, k, s, d in series(quick) if k == "numpy_rms_norm"}
    expected = {(t, f"{name}_matmul", s, d) for t, _, s, d in products for name in ("mkl", "torch")}
    assert added == expected | {(t, "torch_rms_norm", s, d) for t, _, s, d in norms}


def test_a_run_with_peers_names_them_and_their_versions(tiny, monkeypatch, capsys):
    monkeypatch.setattr(program, "installed", lambda: {"numpy": "2.4", "mkl": "2026.2"})

    run = record(quick=True, peers=True)

    assert run.meta["settings"] == {"seed": None, "peers": {"mkl": "2026.2"}}
    assert "not installed, recorded without: PyTorch" in capsys.readouterr().err.splitlines()
    assert record(quick=True, progress=False).meta["settings"] == {"seed": None, "peers": {}}


def test_peers_that_are_not_there_are_refused_before_anything_is_recorded(tiny, monkeypatch, refused):
    monkeypatch.setattr(program, "installed", lambda: {"numpy": "2.4"})

    with refused(RunError, "peers must be installed", "pip install 'perflib[peers]'"):
        record(quick=True, peers=True)
    assert list_runs() == []


def test_a_quick_run_is_a_coarser_grid():
    def cells(quick, topic):
        return sum(len(block.cells) for block in plan(quick, MACHINE) if block.topic == topic)

    for topic in ("matmul", "tiles", "rmsnorm"):
        assert cells(True, topic) < cells(False, topic)


def test_the_sizes_of_the_claims_are_in_every_run():
    for quick in (True, False):
        sizes = {}
        for block in plan(quick, MACHINE):
            for cell in block.cells:
                sizes.setdefault((block.topic, cell.kernel.name), set()).add(cell.n)
        matmul = {n for n in sizes["matmul", "matmul_tiled"] if 64 <= n <= 512}
        assert len(matmul) >= 8
        assert {64, 128, 256} <= matmul
        assert any(n & (n - 1) for n in matmul), "not all are powers of two"
        for kernel in ("rms_norm_standard", "rms_norm_fast"):
            vectors = sizes["rmsnorm", kernel]
            assert {512, 1024, 2048} <= vectors
            assert len([n for n in vectors if 512 <= n <= 8192]) >= 8


def test_the_blocks_of_the_packed_product_are_in_the_run():
    cells = [cell for block in plan(True, MACHINE) if block.name == "float32 scaling" for cell in block.cells]
    packed = [cell.columns() for cell in cells if cell.kernel.name == "matmul_packed"]

    assert packed
    assert all(min(columns[name] for name in ("mc", "kc", "nc")) > 1 for columns in packed)


@pytest.mark.parametrize("quick", [True, False])
def test_every_tile_can_be_told_from_all_others_at_its_size(quick):
    """As the claim about tile 64 asks: an interval corrected for as many comparisons needs more than six rounds."""
    for block in plan(quick, MACHINE):
        if block.topic in ("tiles", "stencil-tiles") and len(block.cells) > 1:
            tiles = [cell.columns()["tile"] for cell in block.cells]
            assert worst_ratio(pd.DataFrame({tile: [1.0] * block.least_rounds for tile in tiles}), tiles[0]).value == 1


def test_a_kernel_is_compared_with_itself():
    twins = [block for block in plan(True, MACHINE) if block.name.startswith("a-a")]

    assert len(twins) >= 20
    for block in twins:
        one, other = block.cells
        assert other.kernel.name == one.kernel.name + AGAIN
        assert other.kernel.compiled is one.kernel.compiled


def test_a_recording_ends_with_its_plan_the_steps_of_the_clock_and_the_machine(tiny):
    run = record(quick=True, progress=False)

    assert run.finished
    assert run.meta["command"] == "quick"
    assert set(run.blocks) == {("rmsnorm", "n=8"), ("clock", "steps")}
    steps = run.samples("clock")
    assert steps["round"].tolist() == list(range(30))
    assert steps["reps"].eq(1).all()
    assert run.machine.logical_cpus == os.cpu_count()


@pytest.mark.parametrize("quick", [True, False])
def test_other_harnesses_are_asked_last(tiny, monkeypatch, quick):
    def answer(writer, *asked):
        assert asked == (quick, False)
        assert writer.has("rmsnorm", "n=8")
        assert writer.has("clock", "steps")
        tell(writer, told())

    monkeypatch.setattr(program, "record_harnesses", answer)

    assert record(quick=quick, progress=False).table("harness")["reported_ps"].tolist() == [292_000]


def test_a_finished_recording_is_followed_by_a_new_one(tiny):
    first = record(quick=True, progress=False)

    assert record(quick=True, progress=False).path != first.path


def test_recording_tells_where_and_whether_it_continues(tiny, monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(program, "count_code", interrupted)
        with pytest.raises(KeyboardInterrupt):
            record(quick=True)
    path = record(quick=True).path

    lines = capsys.readouterr().err.splitlines()
    first = r"one core reaches \d+ \[\d+, \d+\] GFLOP/s in float32"
    assert sum(bool(re.fullmatch(first, line)) for line in lines) == 2
    assert [line for line in lines if not re.fullmatch(first, line)] == [
        f"recording into {path}",
        f"continuing run {path.name}",
        f"recording into {path}",
    ]


def test_a_second_recording_is_refused(tiny, refused):
    with measuring_lock(), refused(RunError, f"another measurement runs on this machine (process {os.getpid()})"):
        record(quick=True)

    assert list_runs() == []


def test_the_instructions_of_every_rung_are_counted():
    counts = matmul_scaling.count_code()

    assert {f"{name}, inner loop" for name in matmul_scaling.LOOPS} <= counts.keys()

    assert {"matmul_naive", "matmul_tiled", "matmul_tiled, strict", "matmul_ikj", "rms_norm_fast"} <= counts.keys()
    assert all(isinstance(n, int) for kernel in counts.values() for n in kernel.values())


class Clock(datetime):
    """A wall clock that stands until a test moves it."""

    shift = timedelta()

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + cls.shift


@pytest.fixture
def pauses(tiny, monkeypatch):
    """What happens while a recording sleeps: minutes pass, then the function that a test appends is called.

    Sessions are of one process, this one: fresh ones take seconds to begin.
    """
    monkeypatch.setitem(program.PROCESSES, "quick", 1)
    hooks = []

    def sleep(seconds):
        Clock.shift += timedelta(minutes=10)
        for hook in hooks[:1]:
            hooks.remove(hook)
            hook()

    monkeypatch.setattr(Clock, "shift", timedelta())
    monkeypatch.setattr(program, "datetime", Clock)
    monkeypatch.setattr(program.time, "sleep", sleep)
    return hooks


def test_a_run_holds_its_sessions(pauses):
    run = record(quick=True, progress=False, repeat=2, every_min=25)

    assert Clock.shift == timedelta(minutes=30), "three naps of ten minutes"
    assert run.finished
    assert run.meta["settings"]["sessions"] == 2
    assert run.sessions == {1: 1, 2: 2}
    assert set(run.samples("rmsnorm")["process"]) == {1, 2}
    assert len({one["entropy"] for one in run.meta["processes"]}) == 2


def test_others_may_measure_between_two_sessions(pauses):
    held = []

    def measure():
        with measuring_lock():
            held.append(True)

    pauses.append(measure)
    record(quick=True, progress=False, repeat=2, every_min=5)

    assert held == [True]


def test_a_session_is_not_measured_twice_where_the_next_was_interrupted(pauses, monkeypatch):
    def interrupt(*words):
        if words[-1] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(program, "record_forward", interrupt)
        with pytest.raises(KeyboardInterrupt):
            record(quick=True, progress=False, repeat=3)
    (path,) = list_runs()
    before = read_blocks(path)

    run = record(quick=True, progress=False, repeat=3)

    assert run.path == path
    assert {number for topic, _, number in before if topic == "rmsnorm"} == {1, 2}
    assert [one["process"] for one in run.meta["processes"]] == [1, 2, 3]


def test_code_that_changes_between_sessions_ends_the_recording(pauses, monkeypatch, refused):
    pauses.append(lambda: monkeypatch.setattr(writer, "_code", lambda: {"digest": "1", "commit": None, "clean": None}))

    with refused(RunError, "cannot go on: code.digest changed since its first session", "perflib record"):
        record(quick=True, progress=False, repeat=2, every_min=5)


def test_a_run_that_another_process_finished_meanwhile_is_the_result(pauses):
    others = []
    pauses.append(lambda: others.append(record(quick=True, progress=False, repeat=2, every_min=5)))

    run = record(quick=True, progress=False, repeat=2, every_min=5)

    assert [run.path] == [other.path for other in others] == list_runs()
    assert len(run.meta["processes"]) == 2


@pytest.mark.parametrize("wrong", [{"repeat": 0}, {"every_min": -1.0}, {"every_min": float("nan")}])
def test_sessions_that_cannot_be_are_refused_before_anything_is_recorded(wrong, refused):
    with refused(ValueError, next(iter(wrong)), "got"):
        record(quick=True, **wrong)
    assert list_runs() == []
