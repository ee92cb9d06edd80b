"""Counting: loops small enough to count by hand."""

import numpy as np
import pytest
from numba import njit

from perflib.kernels.catalog import find
from perflib.models.access_counts import count_accesses, count_allocations

N = 10


def copy(x, out):
    for i in range(x.shape[0]):
        out[i] = x[i]


def scale_in_place_twice(x):
    for _ in range(2):
        for i in range(x.shape[0]):
            x[i] = 2 * x[i]


def two_temporaries(x, out):
    first = np.empty(x.shape[0], x.dtype)
    for i in range(x.shape[0]):
        first[i] = x[i]
    second = np.empty(x.shape[0], x.dtype)
    for i in range(x.shape[0]):
        second[i] = np.sqrt(first[i])
    for i in range(x.shape[0]):
        out[i] = second[i]


def rows(x, out):
    for r in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[r, j] = x[r, j]


def nothing(x):
    pass


def ones(*shape):
    return np.ones(shape)


@pytest.mark.parametrize(
    ("loop", "args", "reads", "writes", "passes", "temporaries"),
    [
        (nothing, (ones(N),), 0, 0, 0, 0),
        (copy, (ones(N), ones(N)), N, N, 1, 0),
        (scale_in_place_twice, (ones(N),), 2 * N, 2 * N, 2, 0),
        (two_temporaries, (ones(N), ones(N)), 3 * N, 3 * N, 3, 2),
        (rows, (ones(3, N), ones(3, N)), 3 * N, 3 * N, 3, 0),
    ],
)
def test_accesses_are_counted_by_hand(loop, args, reads, writes, passes, temporaries):
    seen = count_accesses(loop, args)

    assert (seen.reads, seen.writes, seen.passes, seen.temporaries) == (reads, writes, passes, temporaries)


def test_a_counted_kernel_computes_what_it_computes():
    x, out = np.arange(1.0, N), np.zeros(N - 1)

    count_accesses(two_temporaries, (x, out))

    np.testing.assert_array_equal(out, np.sqrt(x))
    np.testing.assert_array_equal(x, np.arange(1.0, N))


def test_a_compiled_kernel_is_counted_in_its_source():
    assert count_accesses(njit(scale_in_place_twice), (ones(N),)) == count_accesses(scale_in_place_twice, (ones(N),))


@pytest.mark.parametrize("n", [8, 256])
def test_the_norms_read_and_write_what_their_loops_say(n):
    """Standard: x twice, squares, normalised and weight; fast: x twice and weight."""
    counts = {}
    for name in ("rms_norm_standard", "rms_norm_fast"):
        kernel = find(name)
        seen = count_accesses(kernel.compiled, kernel.make(n, "float32", np.random.default_rng(0), rows=1))
        counts[name] = seen.reads / n, seen.writes / n, seen.passes, seen.temporaries

    assert counts == {"rms_norm_standard": (5, 3, 4, 2), "rms_norm_fast": (3, 1, 2, 0)}


def test_a_product_reads_two_numbers_per_step():
    kernel = find("matmul_naive")

    seen = count_accesses(kernel.compiled, kernel.make(6, "float64", np.random.default_rng(0)))

    assert (seen.reads, seen.writes) == (2 * 6**3, 6**2)


@njit
def allocates_none(x):
    x[0] = 1


@njit
def allocates_one(x):
    y = np.empty(x.size)
    y[0] = x[0]
    x[0] = y[0]


@njit
def allocates_three(x):
    for _ in range(3):
        y = np.empty(x.size)
        y[0] = x[0]
        x[0] = y[0]


@pytest.mark.parametrize(("kernel", "arrays"), [(allocates_none, 0), (allocates_one, 1), (allocates_three, 3)])
def test_allocations_of_one_run_are_counted(kernel, arrays):
    assert count_allocations(kernel, (ones(N),)) == arrays


def test_statistics_of_allocations_are_off_afterwards():
    from numba.core.runtime import _nrt_python

    count_allocations(allocates_one, (ones(N),))

    assert not _nrt_python.memsys_stats_enabled()
