"""The compiled loop: every run counts, nothing is merged, moved out or deleted."""

import time

import numpy as np
import pytest
from numba import njit

from perflib.driver import canary, compilations, compiled_loop, empty_loop


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


@pytest.mark.parametrize("args", [(), (1,), (1.5, 2), (True, 1j)])
def test_a_kernel_of_numbers_or_of_nothing_can_be_run(args):
    kernel = njit(lambda *args: args) if args else _nothing

    compiled_loop(kernel, 3, args)

    assert len(kernel.signatures) == 1


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
