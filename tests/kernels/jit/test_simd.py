"""Explicit vector code: each operation does what it says, and touches nothing else."""

import numpy as np
import pytest
from numba import njit
from reference import guarded

from perflib.hardware.facts import machine
from perflib.kernels import aligned_empty
from perflib.kernels.jit import simd
from perflib.kernels.jit.vector import vector_lanes

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@every_dtype
def test_a_vector_fills_a_register(dtype):
    lanes = vector_lanes(dtype)

    assert lanes * np.dtype(dtype).itemsize in (16, 32, 64)
    assert lanes == vector_lanes(np.dtype(dtype))


def test_a_register_holds_twice_as_many_floats_as_doubles():
    assert vector_lanes("float32") == 2 * vector_lanes("float64")


@njit
def _ends(x, y, out):
    """x * y + 2 by whole vectors, the rest by its first lanes only."""
    i, two = 0, simd.splat(2, x)
    while i + simd.lanes(x) <= x.size:
        simd.prefetch(x, i + 64)
        simd.store(out, i, simd.fma(simd.load(x, i), simd.load(y, i), two))
        i += simd.lanes(x)
    left = x.size - i
    simd.store_first(out, i, simd.load_first(x, i, left) * simd.load_first(y, i, left) + two, left)


@njit
def _sums(x, count):
    """Sum of the first `count` elements seen through a pointer to x[1], at most a vector of them."""
    return simd.total(simd.load_first(simd.pointer(x, 1), 0, count))


@njit
def _streamed(x, out):
    for i in range(0, x.size, simd.lanes(x)):
        simd.stream(out, i, simd.load(x, i))
    simd.fence()


@every_dtype
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 100])
def test_vectors_and_their_first_lanes_touch_what_they_should_and_nothing_else(dtype, n):
    rng = np.random.default_rng(n)
    x, x_untouched = guarded(rng.integers(-9, 9, n).astype(dtype))
    y, y_untouched = guarded(rng.integers(-9, 9, n).astype(dtype))
    out, out_untouched = guarded(np.full(n, np.nan, dtype))

    _ends(x, y, out)

    assert np.array_equal(out, x * y + 2)
    assert x_untouched() and y_untouched() and out_untouched()


@every_dtype
@pytest.mark.parametrize("count", [-(2**40), -1, 0, 1, 2, 5, 16, 2**31, 2**40])
def test_a_count_beyond_the_lanes_is_all_of_them_and_one_below_zero_none(dtype, count):
    x = np.arange(1, 40, dtype=dtype)

    assert _sums(x, count) == x[1 : 1 + max(0, min(count, vector_lanes(dtype)))].sum()


@every_dtype
def test_what_was_streamed_is_there_after_the_fence(dtype):
    x, out = aligned_empty(64, dtype), aligned_empty(64, dtype)
    x[:] = np.arange(64)

    _streamed(x, out)

    assert np.array_equal(out, x)


@pytest.mark.skipif("avx512f" not in machine().isa, reason="streaming is looked up by its x86 names")
def test_streaming_goes_past_the_caches():
    fresh = njit(_streamed.py_func)
    fresh(np.ones(16, np.float32), aligned_empty(16, np.float32))

    assert "vmovntps\t%zmm" in fresh.inspect_asm(fresh.nopython_signatures[0].args)
