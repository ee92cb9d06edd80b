"""Recordings whose rounds several fresh processes share."""

import json
from collections import Counter
from dataclasses import replace

import numba
import numpy as np
import pytest
from runs import isolate, start

from perflib.kernels.catalog import find
from perflib.kernels.description import Kernel
from perflib.runs import recorder
from perflib.runs.grid import GridPoint
from perflib.runs.recorder import Block, compile_ahead, measure_part, record_blocks, sample_block
from perflib.runs.store import load_run
from perflib.timing.loops import compilations
from perflib.timing.sampling import MAX_ROUNDS

NORMS = tuple(GridPoint(find(name), 8, "call") for name in ("rms_norm_fast", "numpy_rms_norm"))
BLOCK = Block("norms", "n=8", NORMS, 1e-6)


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Two blocks, the second undivided, of three processes."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(tmp_path_factory.mktemp("shared"), patch)
        writer = start()
        whole = Block("norms", "whole", NORMS, 1e-6, divided=False)
        record_blocks(writer, [BLOCK, whole], None, progress=False, processes=3)
        return writer.finish()


def described(body):
    function = numba.njit(body)
    make, flops, moved = lambda n, dtype, rng: (np.zeros(n, dtype),) * 2, lambda n: n, lambda n, itemsize: n * itemsize
    return Kernel("own", function, make, flops, moved, compiled=function)


def of(run, block):
    samples = run.samples("norms")
    return samples[(samples["block"] == block) & ~samples["kernel"].isin(["floor", "canary"])]


def test_every_process_takes_three_rounds_at_least_and_a_round_has_one_number(shared):
    rounds = of(shared, "n=8").groupby("process")["round"].unique()

    assert sorted(rounds.index) == [1, 2, 3]
    assert all(len(numbers) == 3 for numbers in rounds)
    assert len({n for numbers in rounds for n in numbers}) == 9
    assert all(set(numbers) <= set(range((p - 1) * MAX_ROUNDS, p * MAX_ROUNDS)) for p, numbers in rounds.items())


def test_an_undivided_block_is_of_one_process_which_is_not_always_the_first(shared):
    whole = of(shared, "whole")

    assert set(whole["process"]) == {2}
    assert set(Counter(whole["kernel"]).values()) == {6}


def test_everything_random_in_a_process_follows_from_a_number_of_its_own(shared):
    noted = shared.meta["processes"]

    assert [one["process"] for one in noted] == [1, 2, 3]
    assert len({one["entropy"] for one in noted}) == 3


def test_two_recordings_draw_other_numbers(tmp_path, monkeypatch):
    entropies = []
    for folder in ("first", "second"):
        isolate(tmp_path / folder, monkeypatch)
        writer = start()
        record_blocks(writer, [BLOCK], None, progress=False)
        entropies.append(writer.finish().meta["processes"][0]["entropy"])

    assert entropies[0] != entropies[1]


def test_a_seed_repeats_the_order_in_every_process():
    orders = []
    for _ in range(2):
        writer = start()
        record_blocks(writer, [BLOCK], 7, progress=False, processes=2)
        samples = of(writer.finish(), "n=8")
        orders.append([tuple(row) for row in samples[["process", "round", "position", "kernel"]].to_numpy()])

    assert orders[0] == orders[1]


def test_what_the_first_process_found_is_handed_over(monkeypatch):
    checked = []
    monkeypatch.setattr(
        recorder, "guarded_case", lambda *a, check, f=recorder.guarded_case: checked.append(check) or f(*a, check=check)
    )
    monkeypatch.setattr(recorder, "plan_batch", lambda one: pytest.fail("calibrated again"))
    plan = dict.fromkeys([cell.label for cell in NORMS] + ["floor call", "canary kernel"], (5, 4))

    rows = [row for _, batch in sample_block(NORMS, 1e-6, 0, processes=2, plan=plan, first_round=30) for row in batch]

    assert checked == [False, False]
    assert Counter(row["round"] for row in rows) == dict.fromkeys((30, 31, 32, 33), 4)
    assert all(5 <= row["reps"] <= 6 for row in rows)


def test_what_was_compiled_ahead_is_not_compiled_again_at_any_size():
    kernel = described(lambda x, out: None)
    cells = tuple(GridPoint(kernel, n, dtype=dtype) for dtype in ("float32", "float64") for n in (64, 16, 32))

    with compilations() as ahead:
        steps = list(compile_ahead([Block("own", "a", cells[:2], 1e-6), Block("own", "b", cells[2:], 1e-6)]))
    with compilations() as later:
        for cell in cells:
            list(sample_block([cell], 1e-6, 0))

    assert len(steps) == 2
    assert ahead.compiled > 0
    assert later.compiled == 0


@pytest.mark.parametrize(("begin", "order"), [(0.0, "abcd"), (0.5, "cdab"), (0.75, "dabc")])
def test_processes_begin_to_compile_with_different_kernels(begin, order):
    """So that each finds in the cache what the others have compiled."""
    called = []
    plain = replace(described(lambda x, out: None), compiled=None)
    kernels = [replace(plain, name=name, call=lambda x, out, name=name: called.append(name)) for name in "abcd"]
    block = Block("own", "a", tuple(GridPoint(kernel, 16, "call") for kernel in kernels), 1e-6)

    list(compile_ahead([block], begin))

    assert "".join(dict.fromkeys(called)) == order


def test_a_kernel_that_raises_ahead_is_left_to_its_measurement():
    def broken(x, out):
        raise ValueError("only now")

    assert list(compile_ahead([Block("own", "a", (GridPoint(described(broken), 16),), 1e-6)])) == [None]


def test_a_plan_says_how_often_each_case_is_run_and_in_how_many_rounds():
    part = recorder.Part((BLOCK,), 1, 2, 0, {}, {})

    *_, (kind, plan, _) = measure_part(part)

    assert kind == "closed"
    assert set(plan) == {*(cell.label for cell in NORMS), "floor call", "canary kernel"}
    assert all(reps >= 1 and rounds == 3 for reps, rounds in plan.values())


def test_a_cell_that_was_lost_in_the_first_process_is_left_out_by_the_others():
    writer = start()
    writer.lose(*BLOCK.key, NORMS[1].label, "it raised")

    record_blocks(writer, [BLOCK], None, progress=False, processes=2)

    assert set(of(writer.finish(), "n=8")["kernel"]) == {"rms_norm_fast"}


def test_a_recording_that_was_cut_between_processes_goes_on_where_it_ended():
    writer = start()
    record_blocks(writer, [BLOCK], None, progress=lambda share: None, processes=1)
    before = (writer.path / "norms.csv").read_text()
    assert writer.has(*BLOCK.key, 1)
    assert not writer.has(*BLOCK.key, 2)

    record_blocks(writer, [BLOCK], None, progress=False, processes=2)

    assert (writer.path / "norms.csv").read_text().startswith(before)
    assert set(of(load_run(writer.path), "n=8")["process"]) == {1, 2}
    assert [one["process"] for one in json.loads((writer.path / "run.json").read_text())["processes"]] == [1, 2]


def test_progress_reaches_its_end_once_over_all_processes():
    shares = []
    writer = start()

    record_blocks(writer, [BLOCK, Block("norms", "n=8 again", NORMS, 2e-6)], None, progress=shares.append, processes=2)

    assert shares == sorted(shares)
    assert np.isclose(shares[-1], 1)
