"""The compiled loops: every run counts, nothing is merged, moved out or deleted, and nothing is left behind."""

import sys
import time

import numpy as np
import pytest
from numba import njit
from numba.core.runtime import _nrt_python, rtsys
from numba.typed import List

from perflib.timing.loops import (
    alternating_loop,
    canary,
    chained_loop,
    compilations,
    compiled_loop,
    empty_loop,
    rotating_loop,
)


@njit
def _increment(counter):
    counter[0] += 1


@njit
def _add(counter, amount):
    counter[0] += amount


@njit
def _nine_roots(x):
    """Pure, of numbers only, without a loop or an error: nothing but the driver's guards makes it stay where it is."""
    x = np.sqrt(np.sqrt(np.sqrt(x + 1.0) + 2.0) + 3.0)
    x = np.sqrt(np.sqrt(np.sqrt(x + 4.0) + 5.0) + 6.0)
    return np.sqrt(np.sqrt(np.sqrt(x + 7.0) + 8.0) + 9.0)


@njit
def _norm(x):
    return np.sqrt((x * x).sum())


@njit
def _nothing():
    return None


@njit
def _same(value):
    return value


@njit
def _second(array, value):
    return value


@njit
def _twice_less_one(x, one):
    return x + x - one


@njit
def _successor(x, out):
    out[0] = x[0] + 1


@njit
def _note(row, log, amount):
    log.append(row[0])
    row[1] += amount


@njit
def _fill(array, value):
    """Whatever its layout."""
    for index in np.ndindex(array.shape):
        array[index] = value


def cpu_ns(work):
    """Least of five: a ratio of these is asserted only where it is off by a factor of many."""
    work()
    times = []
    for _ in range(5):
        start = time.thread_time_ns()
        work()
        times.append(time.thread_time_ns() - start)
    return max(1, min(times))


@pytest.mark.parametrize("reps", [0, 1, 2, 7, 1000])
def test_a_kernel_runs_exactly_as_often_as_told(reps):
    counter = np.zeros(1, np.int64)

    compiled_loop(_increment, reps, (counter,))

    assert counter[0] == reps


def test_arguments_of_any_kind_arrive():
    counter = np.zeros(2)

    compiled_loop(_add, 4, (counter, 2.5))

    assert list(counter) == [10, 0]


def _long_kernel():
    """Code that no loop is linked with, of an array: its first element and what it holds twice over, as a new array."""
    sums = "".join(f"    s += np.sqrt(x[{i}] * x[{i}]) * x.sum()\n" for i in range(60))
    scope = {"np": np}
    exec(f"def long(x):\n    s = 0.0\n{sums}    if s < 0:\n        raise ValueError('below 0')\n    return x + x", scope)
    return njit(scope["long"])


def test_long_code_is_called_where_it_lies_with_its_results_and_errors():
    kernel, x = _long_kernel(), np.ones(60)
    compiled_loop(kernel, 3, (x,))
    signature = tuple(map(compiled_loop.typeof_pyval, (kernel, 3, (x,))))
    assert "sqrt" in kernel.inspect_llvm(kernel.signatures[0])
    assert "sqrt" not in compiled_loop.inspect_llvm(signature)
    assert list(chained_loop(kernel, 3, x, ())) == [8.0] * 60
    references = sys.getrefcount(x)
    compiled_loop(kernel, 1000, (x,))
    assert sys.getrefcount(x) == references
    with pytest.raises(ValueError, match="below 0"):
        compiled_loop(kernel, 3, (np.array([1.0] * 30 + [-2.0] * 30),))


@pytest.mark.parametrize("args", [(), (1,), (1.5, 2), (True, 1j)])
def test_a_kernel_of_numbers_or_of_nothing_can_be_run(args):
    kernel = njit(lambda *args: args) if args else _nothing

    compiled_loop(kernel, 3, args)

    assert len(kernel.signatures) == 1


@pytest.mark.parametrize("value", [7, 2.5, True, 1j, None, "text", (1, 2.5, None, "x"), np.arange(3.0)], ids=repr)
def test_any_value_can_be_passed_and_returned_without_keeping_it(value):
    loops = [
        lambda: compiled_loop(_same, 1000, (value,)),
        lambda: rotating_loop(_second, 1000, (np.zeros(2), value), np.zeros(1, np.int64), 0),
    ]
    for loop in loops:
        loop()
        references = sys.getrefcount(value)

        loop()

        assert abs(sys.getrefcount(value) - references) < 100, "one for each run"


@pytest.fixture
def left():
    """A function that says how many more arrays were allocated than freed by compiled code since the test began."""

    def balance():
        stats = rtsys.get_allocation_stats()
        return stats.alloc - stats.free

    _nrt_python.memsys_enable_stats()
    begun = balance()
    yield lambda: balance() - begun
    _nrt_python.memsys_disable_stats()


def test_arrays_that_a_kernel_returns_are_freed(left):
    x = np.ones(4)
    twice = njit(lambda x: (2 * x, x))

    compiled_loop(twice, 10, (x,))
    rotating_loop(twice, 10, (x,), np.zeros(1, np.int64), 0)
    alternating_loop(twice, 10, (x,), (x,))
    chained_loop(njit(lambda x: x + 1), 10, x, ())

    assert left() == 0
    assert sys.getrefcount(x) == 2


@pytest.mark.parametrize(("reps", "first", "last"), [(0, 5, 0), (1, 5, 6), (2, 7, 6), (5, 9, 10)])
def test_input_and_output_change_places_in_an_alternating_loop(reps, first, last):
    x, out = np.array([5]), np.array([0])

    alternating_loop(_successor, reps, (x, out), (out, x))

    assert (x[0], out[0]) == (first, last)


@pytest.mark.parametrize("first", [3, np.float32(3), 3.0, np.array([3.0, 4.0])], ids=["int", "float32", "float", "array"])
@pytest.mark.parametrize("reps", [0, 1, 5])
def test_each_result_is_the_next_argument_of_a_chained_loop(first, reps):
    one, expected = type(first)(1) if np.isscalar(first) else 1.0, first
    for _ in range(reps):
        expected = expected * 2 - 1

    result = chained_loop(_twice_less_one, reps, first, (one,))

    assert np.array_equal(result, expected)
    assert np.array_equal(first, 3) or list(first) == [3, 4]


def test_a_chain_of_numbers_is_not_foreseen():
    """To a compiler that could, a million roots of one are one."""
    assert cpu_ns(lambda: chained_loop(_nine_roots, 200_000, 3.0, ())) > 8 * cpu_ns(lambda: empty_loop(200_000))


@pytest.mark.parametrize(("start", "reps"), [(0, 0), (0, 3), (0, 4), (2, 1), (3, 9)])
def test_a_rotating_loop_visits_the_sets_in_order_and_says_where_to_go_on(start, reps):
    rows = np.array([[i, 0] for i in range(4)])
    order = np.array([2, 0, 3, 1])
    log = List([-1])

    position = rotating_loop(_note, reps, (rows[0], log, 5), order * rows.strides[0], start)

    visits = [order[(start + i) % 4] for i in range(reps)]
    assert list(log)[1:] == visits
    assert position == (start + reps) % 4
    assert list(rows[:, 1]) == [5 * visits.count(i) for i in range(4)]


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a.T,
        lambda a: a[::2, 1:],
        lambda a: a[::-1, ::-2],
        lambda a: a[1:2, 2].reshape(()),
    ],
    ids=["C", "F", "strided", "backwards", "no dimension"],
)
def test_only_the_set_whose_turn_it_is_is_written_whatever_its_layout(view):
    sets = np.zeros((3, 4, 6), np.float32)
    expected = sets.copy()
    view(expected[1])[...] = 7

    rotating_loop(_fill, 1, (view(sets[0]), np.float32(7)), np.arange(3) * sets.strides[0], 1)

    assert np.array_equal(sets, expected)


def test_an_empty_body_is_not_deleted():
    """Ten million rounds of nothing take longer than a thousand: without the barrier both take none."""
    assert cpu_ns(lambda: empty_loop(10_000_000)) > 20 * cpu_ns(lambda: empty_loop(1000))


def test_pure_work_on_numbers_is_done_in_every_run():
    """Nine dependent roots cost far more than an empty body, unless they were deleted or moved out of the loop."""
    assert cpu_ns(lambda: compiled_loop(_nine_roots, 200_000, (3.0,))) > 8 * cpu_ns(lambda: empty_loop(200_000))


def test_pure_work_on_an_array_is_done_in_every_run():
    x = np.ones(1000)

    assert cpu_ns(lambda: compiled_loop(_norm, 20_000, (x,))) > 20 * cpu_ns(lambda: empty_loop(20_000))


def test_the_canary_is_marsaglias_generator():
    """Against Python's integers, cut to 64 bits."""
    state = 88172645463325252
    for _ in range(10):
        state ^= state << 13 & (1 << 64) - 1
        state ^= state >> 7
        state ^= state << 17 & (1 << 64) - 1

    assert int(canary(10)) == state


def test_the_canary_takes_time_in_proportion():
    assert cpu_ns(lambda: canary(1_000_000)) > 50 * cpu_ns(lambda: canary(1000))


def test_a_compilation_is_counted():
    fresh = njit(lambda x: x + 1)

    with compilations() as seen:
        fresh(1)
        first = seen.compiled
        fresh(2)

    assert first >= 1
    assert seen.compiled == first


def test_another_signature_is_another_compilation():
    fresh = njit(lambda x: x + 1)
    fresh(1)

    with compilations() as seen:
        fresh(1.5)

    assert seen.compiled >= 1


def test_nothing_is_counted_after_the_with_block():
    with compilations() as seen:
        pass

    njit(lambda x: x - 1)(1)

    assert seen.compiled == 0


def test_counting_ends_when_the_block_raises():
    with pytest.raises(KeyError), compilations() as seen:
        raise KeyError("stop")

    njit(lambda x: x - 2)(1)

    assert seen.compiled == 0
