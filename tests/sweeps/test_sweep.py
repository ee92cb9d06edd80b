"""A grid is refused before anything is recorded, checked before anything is timed, and never measured twice."""

import functools
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit
from runs import isolate

from perflib.errors import RunError, Unmeasurable, WrongResult
from perflib.hardware.facts import machine
from perflib.kernels.catalog import KERNELS, find
from perflib.kernels.description import Kernel
from perflib.runs.grid import GridPoint
from perflib.runs.recorder import Block, StopEarly, record_blocks, sample_block
from perflib.runs.store import list_runs, load_run
from perflib.runs.writer import RunWriter, measuring_lock
from perflib.sweeps.sweep import sweep
from perflib.timing.preflight import run_preflight

SHORT = {"budget_s": 1e-6, "progress": False}


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def twice(x, out):
    np.multiply(x, 2, out=out)


def lazy(x, out):
    """Writes nothing at all."""


def described(name="twice", call=twice, **changes):
    """Doubles n numbers into a buffer."""
    return replace(TWICE, name=name, call=call, **changes)


TWICE = Kernel(
    "twice",
    twice,
    make=lambda n, dtype, rng, **params: (rng.random(n).astype(dtype), np.empty(n, dtype)),
    exact=lambda x, out: (2 * x.astype(np.float64), 0.0),
    output=1,
    flops=lambda n, **params: n,
    bytes=lambda n, itemsize, **params: 2 * n * itemsize,
)


@njit
def _dot(x, y):
    total = x.dtype.type(0)
    for i in range(len(x)):
        total += x[i] * y[i]
    return total


DOT = Kernel(
    "dot",
    _dot,
    compiled=_dot,
    make=lambda n, dtype, rng: (rng.random(n).astype(dtype), rng.random(n).astype(dtype)),
    exact=lambda x, y: (x.astype(float) @ y, (len(x) + 2) * np.finfo(x.dtype).eps * (abs(x) @ abs(y))),
    flops=lambda n: 2 * n,
    bytes=lambda n, itemsize: 2 * n * itemsize,
)


def ours(samples):
    """The samples without floor and canary."""
    return samples[~samples["kernel"].isin(["floor", "canary"])]


def test_a_described_kernel_of_ones_own_is_measured_in_both_scopes():
    for scope in ("kernel", "call"):
        samples = sweep([DOT], [8, 100], scope=scope, **SHORT)

        assert set(samples["kernel"]) == {"dot", "floor", "canary"}
        own = ours(samples)
        assert own["n"].value_counts().to_dict() == {8: 6, 100: 6}
        assert (own["scope"] == scope).all()
        assert (samples["compiled"] == 0).all(), "compiling is no part of a sample"
        assert (own["per_run_ns"] == own["elapsed_ns"] / own["reps"]).all()


def test_the_table_has_one_row_per_sample():
    samples = sweep([described(), described("again")], [4, 8], scope="call", **SHORT)

    cell = ["block", "kernel", "scope", "n"]
    assert not samples.duplicated([*cell, "round"]).any()
    assert samples.groupby(cell, dropna=False).size().eq(6).all()
    assert len(samples) == 6 * (2 * 2 + len(["floor of call", "canary"]))


def test_every_alternative_takes_part_in_every_round():
    samples = sweep([described(), described("again")], [4, 8], scope="call", **SHORT)

    for _, together in samples.groupby("round"):
        assert sorted(together["position"]) == list(range(6))
        assert len(ours(together)[["kernel", "n"]].drop_duplicates()) == 4


def test_fewer_rounds_of_a_slow_size_are_shared_by_its_alternatives():
    cells = [GridPoint(described(name), n, "call") for n in (4, 2_000_000) for name in ("twice", "again")]

    rounds = {}
    for _, rows in sample_block(cells, 0.1, 0, least_rounds=2):
        for row in rows:
            rounds.setdefault((row["kernel"], row.get("n")), []).append(row["round"])

    assert rounds["twice", 4] == rounds["again", 4]
    assert rounds["twice", 2_000_000] == rounds["again", 2_000_000]
    fewer, more = sorted((set(rounds["twice", 4]), set(rounds["twice", 2_000_000])), key=len)
    assert fewer <= more


def test_the_order_is_drawn_anew_in_each_round_and_follows_from_the_seed():
    cells = [GridPoint(described(name), n, "call") for n in (4, 8) for name in ("a", "b")]

    def order(seed):
        chosen = sample_block(cells, 1e-6, seed)
        return [[(row["kernel"], row.get("n")) for row in rows] for _, rows in chosen if rows]

    first = order(1)
    assert order(1) == first
    assert order(2) != first
    assert len({tuple(each) for each in first}) > 1


def test_parameters_make_a_grid_with_a_block_for_each_size():
    tiled = described(tuning={"tile": 16}, call=lambda x, out, tile: twice(x, out))

    samples = ours(sweep([tiled], [4, 8], scope="call", tile=[2, 4], **SHORT))

    assert set(samples["block"]) == {"n=4", "n=8"}
    assert samples.groupby(["n", "tile"]).size().to_dict() == {(n, tile): 6 for n in (4, 8) for tile in (2, 4)}


def test_a_parameter_of_any_name_is_a_column():
    samples = ours(sweep([described(params={"heads": 1})], [4], scope="call", heads=[2, 8], **SHORT))

    assert set(samples["heads"]) == {2, 8}


def test_double_precision_is_recorded_as_such():
    assert set(ours(sweep([described()], [4], scope="call", dtype=np.float64, **SHORT))["dtype"]) == {"float64"}


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"kernels": ["matmul_fastest"]}, ValueError, ("kernel must be one of matmul_naive", "got 'matmul_fastest'")),
        ({"kernels": [sorted]}, ValueError, ("kernels must be described, got <built-in function sorted>",)),
        ({"kernels": []}, ValueError, ("kernels must not be empty",)),
        ({"kernels": [TWICE, replace(TWICE, call=lazy)]}, ValueError, ("names of their own, got 'twice' twice",)),
        ({"sizes": []}, ValueError, ("sizes must not be empty",)),
        ({"sizes": [8, 0]}, ValueError, ("sizes must be at least 1, got 0",)),
        ({"sizes": [-1]}, ValueError, ("sizes must be at least 1, got -1",)),
        ({"sizes": [8.0]}, TypeError, ("sizes must be an integer of at least 1, got 8.0",)),
        ({"sizes": [True]}, TypeError, ("sizes must be an integer of at least 1, got True",)),
        ({"tile": [8]}, ValueError, ("parameters of twice must be among none; got 'tile'",)),
        ({"kernels": ["matmul_tiled"], "tile": []}, ValueError, ("tile must not be empty",)),
        ({"kernels": ["matmul_tiled"], "tile": [0]}, ValueError, ("tile must be at least 1, got 0",)),
        ({"kernels": [described(params={"round": 1})]}, ValueError, ("must not be named like a column, got 'round'",)),
        ({"floor_ns": [1]}, ValueError, ("must not be named like a column, got 'floor_ns'",)),
        ({"kernels": [described(params={"net_ns": 1})]}, ValueError, ("must not be named like a column, got 'net_ns'",)),
        ({"scope": "kernel"}, TypeError, ("scope 'kernel' needs a function compiled by numba.njit",)),
        ({"scope": "whole"}, ValueError, ("scope must be one of kernel, call; got 'whole'",)),
        ({"dtype": "float31"}, TypeError, ("float31",)),
        ({"name": "../x"}, ValueError, ("name must be at most 80 letters, digits, - and _", "got '../x'")),
        ({"name": 81 * "x"}, ValueError, ("name must be at most 80 letters",)),
        ({"name": "blocks"}, ValueError, ("name must be", "got 'blocks'")),
        ({"name": "summary"}, ValueError, ("name must be", "got 'summary'")),
        ({"budget_s": 0}, ValueError, ("budget_s must be above 0, got 0",)),
    ],
)
def test_a_bad_grid_is_refused_before_anything_is_recorded(arguments, kind, words, refused):
    with refused(kind, *words):
        sweep(**{"kernels": [TWICE], "sizes": [4], "scope": "call", **SHORT, **arguments})

    assert list_runs() == []


@pytest.mark.parametrize(
    "wrong",
    [
        described(call=lambda x, out: out.fill(0)),
        described(call=lambda x, out: out.fill(np.nan)),
        described(call=lambda x, out: twice(x[:-1], out[:-1])),
        described(exact=lambda x, out: (3 * x.astype(float), 0.0)),
    ],
    ids=["zeros", "nan", "last one missing", "another oracle"],
)
def test_a_wrong_kernel_is_refused_and_nothing_of_it_is_complete(wrong, refused):
    with refused(WrongResult, "twice call float32 1 4: result[", "within its bound"):
        sweep([wrong], [4], scope="call", **SHORT)

    assert [load_run(path).blocks for path in list_runs()] == [{}]


def test_a_kernel_that_writes_nothing_does_not_pass_on_the_result_of_another(refused):
    with refused(WrongResult, "lazy", "got nan"):
        sweep([TWICE, described("lazy", lazy)], [4], scope="call", **SHORT)


def test_what_is_timed_is_what_is_checked(refused):
    @njit
    def thrice(x, out):
        for i in range(len(x)):
            out[i] = 3 * x[i]

    with refused(WrongResult, "twice kernel"):
        sweep([described(compiled=thrice)], [4], **SHORT)


def test_an_interrupted_sweep_is_continued_by_the_same_call_and_measures_nothing_twice():
    made = []

    def make(n, dtype, rng):
        made.append(n)
        if made == [4, 8, 12, 4, 8]:  # all sizes are tried before the first sample
            raise KeyboardInterrupt
        return TWICE.make(n, dtype, rng)

    grid = {"kernels": [described(make=make, call=lambda x, out, tile: twice(x, out), tuning={"tile": 1})]}
    grid |= {"sizes": [4, 8, 12], "scope": "call", "tile": [1, 2]}

    with pytest.raises(KeyboardInterrupt):
        sweep(**grid, **SHORT)
    interrupted = load_run(list_runs()[0])
    first = interrupted.samples("sweep")
    samples = sweep(**grid, **SHORT)

    assert made[5:] == [4, 8, 12, 8, 12]
    assert len(list_runs()) == 1
    assert samples[samples["block"] == "n=4"][list(first.columns)].equals(first)
    assert list(samples["block"].unique()) == ["n=4", "n=8", "n=12"]


def test_a_changed_kernel_does_not_continue_the_sweep_of_the_old_one():
    made = []

    def interrupted(n, dtype, rng):
        made.append(n)
        if len(made) == 2:  # the first one is tried before anything is recorded
            raise KeyboardInterrupt
        return TWICE.make(n, dtype, rng)

    with pytest.raises(KeyboardInterrupt):
        sweep([described(make=interrupted)], [4], scope="call", **SHORT)
    sweep([described(call=lambda x, out: np.add(x, x, out=out))], [4], scope="call", **SHORT)

    assert len(list_runs()) == 2


def test_a_finished_block_is_not_measured_again():
    calls = []

    def counted(x, out):
        calls.append(len(x))
        twice(x, out)

    blocks = [Block("t", str(n), (GridPoint(described(call=counted), n, "call"),), 1e-6) for n in (4, 8)]
    writer = RunWriter.start("quick", {}, machine())
    record_blocks(writer, blocks[:1], seed=0, progress=False)
    calls.clear()

    record_blocks(writer, blocks, seed=0, progress=False)

    assert set(calls) == {8}


def test_only_one_measurement_runs_at_a_time(refused):
    with measuring_lock(), refused(RunError, "another measurement runs on this machine"):
        sweep([TWICE], [4], scope="call", **SHORT)


def test_progress_is_silent_where_nobody_watches(capfd):
    sweep([TWICE], [4], scope="call", budget_s=1e-6)

    assert capfd.readouterr() == ("", "")


def test_built_in_kernels_are_named():
    samples = sweep(["rms_norm_fast", find("rms_norm_standard")], [16], **SHORT)

    assert set(ours(samples)["kernel"]) == {"rms_norm_fast", "rms_norm_standard"}
    assert set(ours(samples)["rows"]) == {1}


def test_a_kernel_that_raises_loses_only_its_own_case():
    def picky(x, out):
        if len(x) == 8:
            raise MemoryError("no room for <8>\nor more")
        twice(x, out)

    with pytest.warns(
        UserWarning, match="picky call float32 1 8 is left out, it raised MemoryError: no room for <8> or more"
    ):
        samples = sweep([described("picky", picky), described()], [4, 8, 12], scope="call", **SHORT)

    assert set(ours(samples)[["kernel", "n"]].itertuples(index=False, name=None)) == {
        *(("twice", n) for n in (4, 8, 12)),
        *(("picky", n) for n in (4, 12)),
    }
    assert load_run(samples.attrs["run"]).meta["lost"][0]["case"] == "picky call float32 1 8"


def test_one_that_raises_in_the_middle_of_the_rounds_leaves_no_half_of_itself(data):
    def tired(x, out):
        if any(file.stat().st_size > 500 for file in data.glob("runs/*/sweep.csv")):  # rows of it are there
            raise RuntimeError("enough")
        twice(x, out)

    with pytest.warns(UserWarning, match="tired call float32 1 4 is left out, it raised RuntimeError: enough"):
        samples = sweep([described("tired", tired), described()], [4], scope="call", budget_s=0.5, progress=False)

    assert set(ours(samples)["kernel"]) == {"twice"}
    assert not samples.duplicated(["kernel", "scope", "round"]).any()


def test_a_sweep_of_which_nothing_is_left_says_why(refused):
    def broken(x, out):
        raise KeyError("x")

    with refused(Unmeasurable, "broken call float32 1 4 is left out, it raised KeyError: 'x'"), pytest.warns(UserWarning):
        sweep([described("broken", broken)], [4], scope="call", **SHORT)


def ending(after):
    """A `progress` that ends the sweep after so many rounds."""
    told = []

    def progress(share):
        told.append(share)
        if sum(map(bool, told)) == after:
            raise StopEarly

    return progress


def test_one_that_is_ended_early_keeps_the_only_block_as_a_finished_run():
    samples = sweep([described()], [4, 8], scope="call", budget_s=5, progress=ending(7))

    assert sorted(ours(samples).groupby("n").size()) == [7, 7]
    assert load_run(samples.attrs["run"]).finished
    assert "lost" not in load_run(samples.attrs["run"]).meta


def test_one_that_is_ended_early_drops_the_sizes_that_have_less_than_six_rounds(monkeypatch):
    monkeypatch.setattr("perflib.runs.recorder.plan_rounds", lambda sizes, *_: {n: 6 if n == 9 else 30 for n in sizes})

    samples = sweep([described()], [4, 9], scope="call", progress=ending(12))

    assert set(ours(samples)["n"]) == {4}
    (lost,) = load_run(samples.attrs["run"]).meta["lost"]
    assert lost["reason"] == "twice call float32 1 9 is left out, ended before it had 6 rounds"


def test_one_that_is_ended_in_its_second_block_keeps_the_first():
    tunable = described(call=lambda x, out, tile: twice(x, out), tuning={"tile": 1})

    samples = sweep([tunable], [4, 8, 16], scope="call", tile=[1, 2], budget_s=1e-6, progress=ending(8))

    assert set(ours(samples)["n"]) == {4}
    lost = {entry["case"] for entry in load_run(samples.attrs["run"]).meta["lost"]}
    assert lost == {f"twice call float32 1 {n} {tile}" for n in (8, 16) for tile in (1, 2)}


def test_one_that_is_ended_with_nothing_to_keep_says_so_and_is_continued_by_the_same_call(refused):
    with refused(Unmeasurable, "ended before anything had 6 rounds; start it again to continue"):
        sweep([described()], [4], scope="call", progress=ending(5), budget_s=1e-6)

    sweep([described()], [4], scope="call", **SHORT)

    assert [load_run(path).meta.get("lost") for path in list_runs()] == [None]


@pytest.mark.slow
def test_two_sweeps_at_once_do_not_mix_their_runs(tmp_path):
    """Two processes that try again until the other is done: each run holds its own kernel only."""
    program = """
import sys, time
import perflib
from perflib.runs.store import RunError
own = perflib.kernels.find("numpy_rms_norm")
name = sys.argv[1]
from dataclasses import replace
from types import SimpleNamespace
for _ in range(600):
    try:
        print(perflib.sweep([replace(own, name=name)], [8], scope="call", budget_s=0.3, progress=False).attrs["run"])
        break
    except RunError as problem:
        assert "another measurement runs on this machine" in str(problem)
        time.sleep(0.05)
"""
    both = [subprocess.Popen([sys.executable, "-c", program, name], stdout=subprocess.PIPE, text=True) for name in "ab"]
    found = [load_run(process.communicate()[0].strip()) for process in both]

    assert [set(ours(run.samples("sweep"))["kernel"]) for run in found] == [{"a"}, {"b"}]
    assert len(list_runs()) == 2


def test_the_threads_of_a_sweep_are_declared_in_every_row():
    assert set(ours(sweep([TWICE], [4], scope="call", threads=2, **SHORT))["threads"]) == {2}


@pytest.mark.parametrize("name", ["floor", "canary"])
def test_a_kernel_named_like_what_stands_beside_it_is_refused(name, refused):
    with refused(ValueError, f"names of their own, got '{name}' which is taken"):
        sweep([described(name)], [4], scope="call", **SHORT)


def test_a_name_is_text_in_the_table_that_is_recorded():
    name = "<script>alert('x')</script>,\n\"quoted\""

    samples = sweep([described(name)], [4], scope="call", **SHORT)

    assert set(ours(samples)["kernel"]) == {name}


def seen():
    """A list that functions may write, which no preflight takes for their data."""
    return SimpleNamespace(all=[])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, out: (2 * value for value in x), "it returns a generator, and nothing of its body ran"),
        (lambda x, out: map(abs, x), "it returns an iterator (map), which has not done its work yet"),
    ],
)
def test_a_described_kernel_whose_result_is_not_the_work_is_left_out_and_named(call, words, refused):
    with refused(Unmeasurable, "lazy call float32 1 4 is left out: ", words):
        sweep([described("lazy", call, output=None, exact=None)], [4], scope="call", **SHORT)

    samples = sweep([described("lazy", call, output=None, exact=None), TWICE], [4], scope="call", **SHORT)

    assert set(ours(samples)["kernel"]) == {"twice"}
    assert any(words in note for note in samples.notes)


def test_a_described_kernel_with_a_cache_is_left_out_and_named(refused):
    total = described("total", functools.lru_cache(sum), make=lambda n, dtype, rng: (tuple(range(n)),))

    with refused(Unmeasurable, "total call float32 1 9 is left out: sum answers from its cache"):
        sweep([replace(total, output=None, exact=None)], [9], scope="call", **SHORT)


def test_a_described_kernel_that_changes_its_input_gets_its_own_in_every_run():
    states = seen()

    def spoil(x, out):
        states.all.append(x[0] < -1e-3)
        out[:] = 2 * x
        x[0] -= 2

    s = sweep([described("spoil", spoil), TWICE], [4, 8], scope="call", budget_s=0.01, progress=False)

    assert not any(states.all)
    assert s.notes == ("every run works on arguments of its own, drawn by make, because spoil changes them",)
    assert set(ours(s.frame)[["kernel", "n"]].itertuples(index=False, name=None)) == {
        (name, n) for name in ("spoil", "twice") for n in (4, 8)
    }


@njit
def _sort(x):
    x.sort()


def test_a_described_compiled_kernel_that_changes_its_input_does_so_in_the_kernel():
    sort = Kernel("sort", _sort, DOT.make, DOT.flops, DOT.bytes, compiled=_sort)
    one = replace(sort, make=lambda n, dtype, rng: (rng.random(n).astype(dtype),))

    s = sweep([one], [100], **SHORT)

    assert {point.scope for point in s.points} == {"kernel"}
    assert s.notes == ("every run works on arguments of its own, drawn by make, because sort changes them",)


def test_a_described_kernel_that_prepares_its_buffers_itself_keeps_them():
    prepared = seen()

    def prepare(x, out):
        prepared.all.append(1)
        x[:] = 1

    def spoil(x, out):
        out[:] = 2 * x
        x[:] = 0

    make = lambda n, dtype, rng: (np.ones(n, dtype), np.empty(n, dtype))  # noqa: E731
    s = sweep([described("spoil", spoil, prepare=prepare, make=make)], [4], scope="call", **SHORT)

    assert s.notes == ()
    assert prepared.all


def test_what_a_function_reaches_holds_what_it_held(monkeypatch):
    monkeypatch.setenv("PERFLIB_TESTED", "before")
    calls = 0

    def work(x, out):
        nonlocal calls
        calls += 1
        os.environ["PERFLIB_TESTED"] = "by the function"
        twice(x, out)

    sweep([described("work", work)], [4], scope="call", **SHORT)

    assert (calls, os.environ["PERFLIB_TESTED"]) == (0, "before")


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_every_built_in_kernel_does_its_work_in_every_run(name):
    kernel = KERNELS[name]
    if name.partition("_")[0] in ("mkl", "torch"):
        pytest.importorskip(name.partition("_")[0])
    args = kernel.make(256, "float32", np.random.default_rng(0), **kernel.params)
    outputs = () if kernel.output is None else (kernel.output,)

    behaviour = run_preflight(
        name, kernel.call, kernel.native(*args, *kernel.tuning.values()), outputs, may_change=True, may_load=True
    )

    assert behaviour.reasons == ()
    assert behaviour.changed == () or kernel.prepare
