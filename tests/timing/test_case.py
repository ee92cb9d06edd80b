"""Cases run as often as told, in the scope and the mode that was asked for."""

import itertools
import time

import numpy as np
import pytest
from numba import njit

from perflib import kernels
from perflib.timing import case as timing_case
from perflib.timing.case import CANARY, FLOORS, case, is_compiled


@njit
def _double(x):
    return 2 * x


@njit
def _add_one(x, out):
    for i in range(len(x)):
        out[i] = x[i] + 1


def add_one(x, out):
    np.add(x, 1, out=out)


@njit
def _longer(x):
    return x + 0.5


@pytest.fixture(autouse=True)
def small_pools(monkeypatch):
    monkeypatch.setattr("perflib.timing.cold_cache._pool_bytes", lambda: 4096)


@pytest.mark.parametrize("reps", [0, 1, 100])
def test_call_scope_calls_as_often_as_told(reps):
    seen = []

    case("list", seen.append, (3,), "call").run(reps)

    assert seen == [3] * reps


def test_kernel_scope_runs_compiled_code():
    kernel = case("double", _double, (21,), "kernel")

    kernel.run(10)

    assert (kernel.label, kernel.scope, kernel.notes) == ("double", "kernel", ())
    assert len(_double.signatures) == 1


def test_only_what_numba_compiles_is_compiled():
    found = {fn: is_compiled(fn) for fn in (_double, sorted, np.add, add_one, kernels.matmul_naive)}

    assert [fn for fn, compiled in found.items() if compiled] == [_double]


@pytest.mark.parametrize("scope", ["kernel", "call"])
@pytest.mark.parametrize(("reps", "result"), [(1, 42), (2, 84), (5, 672)])
def test_in_latency_mode_the_result_is_the_next_argument(scope, reps, result):
    assert case("double", _double, (21,), scope, "latency").run(reps) == result


@pytest.mark.parametrize("fn", [_add_one, add_one])
@pytest.mark.parametrize("scope", ["kernel", "call"])
@pytest.mark.parametrize("reps", [1, 2, 7])
def test_in_latency_mode_input_and_output_change_places(fn, scope, reps):
    """On twins: the arrays of the caller keep what they hold."""
    x, out = np.arange(3.0), np.full(3, -1.0)
    one = case("add", _add_one if scope == "kernel" else fn, (x, out), scope, "latency", output=1)

    left = one.run(reps)

    assert np.array_equal(left[reps % 2], np.arange(3.0) + reps)
    assert (list(x), list(out)) == ([0, 1, 2], [-1, -1, -1])


def test_in_latency_mode_the_layout_stays():
    x, out = np.zeros((8, 6)).T[::-1, ::2], np.zeros((8, 6)).T[::-1, ::2]

    left = case("add", add_one, (x, out), "call", "latency", output=1).run(1)

    assert [a.strides for a in left] == [x.strides] * 2


@pytest.mark.parametrize("scope", ["kernel", "call"])
def test_in_cold_mode_every_run_writes_to_another_array(scope):
    x, out = np.arange(8.0), np.zeros(8)
    addresses = []

    def stopwatch_runs(x, out):
        addresses.append((x.ctypes.data, out.ctypes.data))

    one = case("add", _add_one if scope == "kernel" else stopwatch_runs, (x, out), scope, "cold")
    one.run(20)
    one.run(20)

    assert not out.any()
    assert one.notes[0].endswith("as long as one again")
    if scope == "call":
        assert len(set(addresses[:10])) == 10
        assert all(there != again for there, again in itertools.pairwise(addresses))


@pytest.mark.parametrize(
    ("fn", "got"),
    [
        (lambda x: x[1:], "got float64 of shape (2,) and float64 of shape (1,)"),
        (np.sum, "got float64 of shape (2,) and float64"),
        (np.float32, "got float64 of shape (2,) and float32 of shape (2,)"),
        (np.ndarray.sort, "got float64 of shape (2,) and None"),
    ],
)
def test_latency_needs_a_result_that_can_be_the_argument(refused, fn, got):
    with refused(ValueError, "mode 'latency' needs a result that can be the first argument", got):
        case("add", fn, (np.zeros(2),), "call", "latency")


def test_latency_in_compiled_code_needs_a_result_of_the_very_type(refused):
    with refused(ValueError, "mode 'latency' needs a result", "got int64 and float64"):
        case("longer", _longer, (1,), "kernel", "latency")

    assert case("longer", _longer, (1,), "call", "latency").run(3) == 2.5


def test_latency_needs_an_argument(refused):
    with refused(ValueError, "mode 'latency' needs a first argument that takes the result, got none for time"):
        case("time", time.time, (), "call", "latency")


@pytest.mark.parametrize("out", [np.zeros(2, np.float32), np.zeros(3), np.zeros((2, 1)), np.zeros(4)[::2]])
def test_latency_needs_an_output_like_the_input(refused, out):
    with refused(ValueError, "mode 'latency' needs an output like the first argument", "array(float64, 1d, C), got"):
        case("add", _add_one, (np.zeros(2), out), "kernel", "latency", output=1)


def test_cold_needs_an_array(refused):
    with refused(ValueError, "mode 'cold' needs an array that is not empty", "got none"):
        case("double", _double, (1,), "kernel", "cold")


def test_an_unknown_scope_is_refused(refused):
    with refused(ValueError, "scope must be one of kernel, call", "got 'loop'"):
        case("double", _double, (1,), "loop")


def test_an_unknown_mode_is_refused(refused):
    with refused(ValueError, "mode must be one of throughput, latency, cold", "got 'warm'"):
        case("double", _double, (1,), "call", "warm")


def test_kernel_scope_needs_something_compiled(refused):
    with refused(TypeError, "scope 'kernel' needs a function compiled by numba.njit", "got sorted", "scope='call'"):
        case("sorted", sorted, ([1],), "kernel")


@pytest.mark.parametrize("hidden", [*FLOORS.values(), CANARY], ids=lambda c: f"{c.label} {c.scope}")
def test_floors_and_canary_run_as_often_as_told(hidden):
    hidden.run(1)
    start = time.thread_time_ns()
    hidden.run(100)
    few = time.thread_time_ns() - start
    start = time.thread_time_ns()
    hidden.run(5_000_000)

    assert time.thread_time_ns() - start > 10 * few


def test_every_scope_has_its_floor():
    assert {scope: floor.scope for scope, floor in FLOORS.items()} == {scope: scope for scope in timing_case.SCOPES}
