"""Matrix products against the oracle: every shape, every edge of a tile, nothing outside the arrays.

Also run with NUMBA_DISABLE_JIT=1: the same kernels as plain Python, on tiny sizes.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config
from reference import agrees, guarded, matmul

from perflib.kernels.gemm import textbook
from perflib.kernels.jit.compile import FASTMATH

JIT = not config.DISABLE_JIT
LIMIT = 24 if JIT else 9
UNTILED = ("matmul_naive", "matmul_ikj")
TILED = ("matmul_tiled", "matmul_tiled_vectorised")
DTYPES = ("float32", "float64")

every_kernel = pytest.mark.parametrize("name", UNTILED + TILED)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
jit_only = pytest.mark.skipif(not JIT, reason="needs compiled code: the JIT is off")


@pytest.fixture(autouse=True)
def no_warnings_of_plain_python():
    """Compiled code never warns of an overflow or of NaN; NumPy's scalars do, with the JIT off."""
    with np.errstate(all="ignore"):
        yield


def public(name):
    return getattr(textbook, name)


def factors(m, n, k, dtype, seed=0):
    """Numbers of mixed sign and of sizes from 1/256 to 256."""
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(s) * 2.0 ** rng.integers(-8, 9, s) for s in ((m, k), (k, n)))
    return a.astype(dtype), b.astype(dtype)


def unchecked(name, a, b, out, tile):
    """The compiled kernel alone, as the measurements call it."""
    kernel = getattr(textbook, "_" + name)
    if name in TILED:
        kernel(a, b, out, tile)
    else:
        kernel(a, b, out)


sizes = st.integers(0, LIMIT)
tiles = st.integers(1, LIMIT + 6)


@every_kernel
@given(m=sizes, n=sizes, k=sizes, tile=tiles, dtype=st.sampled_from(DTYPES), seed=st.integers(0, 9))
def test_any_shape_and_any_tile_agree_within_the_bound_and_inside_the_arrays(name, m, n, k, tile, dtype, seed):
    a, b = factors(m, n, k, dtype, seed)
    buffers = [guarded(x) for x in (a, b, np.full((m, n), np.nan, dtype))]
    (a_in, _), (b_in, _), (out, _) = buffers

    unchecked(name, a_in, b_in, out, tile)

    assert agrees(out, *matmul(a, b))
    assert all(untouched() for _, untouched in buffers)
    assert np.array_equal(a_in, a)
    assert np.array_equal(b_in, b)


@every_dtype
@pytest.mark.parametrize("name", TILED)
@pytest.mark.parametrize("tile", [1, 2, 3, 4, 8])
def test_every_edge_of_a_tile_and_its_neighbours(name, tile, dtype):
    edges = sorted({1, tile, max(1, tile - 1), tile + 1, 2 * tile - 1, 2 * tile, 2 * tile + 1})
    edges = edges if JIT else edges[:4]

    for m in edges:
        for n in edges:
            for k in edges:
                a, b = factors(m, n, k, dtype)
                assert agrees(public(name)(a, b, tile=tile), *matmul(a, b)), (m, n, k)


@every_dtype
@every_kernel
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (1, 17, 1), (17, 1, 1), (1, 1, 17), (2, 31, 3), (31, 2, 3), (13, 7, 11), (5, 3, 23)]
    + ([(97, 89, 101), (1, 300, 200), (300, 1, 200), (200, 300, 1), (64, 65, 63), (128, 64, 192)] if JIT else []),
)
def test_primes_and_skinny_shapes(name, shape, dtype):
    a, b = factors(*shape, dtype)

    assert agrees(public(name)(a, b), *matmul(a, b))


@every_kernel
@pytest.mark.parametrize("shape", [(0, 0, 0), (0, 3, 2), (3, 0, 2), (0, 0, 2)])
def test_a_product_without_elements_is_empty(name, shape):
    m, n, k = shape

    assert public(name)(np.ones((m, k)), np.ones((k, n))).shape == (m, n)


@every_kernel
def test_a_sum_over_nothing_is_zero(name):
    out = np.full((3, 4), np.nan)

    public(name)(np.ones((3, 0)), np.ones((0, 4)), out)

    assert np.array_equal(out, np.zeros((3, 4)))


@pytest.mark.parametrize("name", TILED)
def test_a_tile_larger_than_the_matrix_is_allowed(name):
    a, b = factors(5, 6, 7, "float64")

    assert agrees(public(name)(a, b, tile=1000), *matmul(a, b))


@pytest.mark.parametrize("name", TILED)
def test_the_default_tile_is_the_seeds(name):
    a, b = factors(5, 6, 7, "float32")

    assert textbook.DEFAULT_TILE == 64
    assert np.array_equal(public(name)(a, b), public(name)(a, b, tile=64))


@every_dtype
@every_kernel
def test_the_result_is_of_the_inputs_dtype_and_new(name, dtype):
    a, b = factors(2, 3, 4, dtype)

    result = public(name)(a, b)

    assert result.dtype == dtype
    assert result.flags.c_contiguous
    assert not any(np.shares_memory(result, x) for x in (a, b))


@every_kernel
def test_a_given_result_is_overwritten_and_returned(name):
    a, b = factors(3, 3, 3, "float32")
    out = np.full((3, 3), np.nan, np.float32)

    returned = public(name)(a, b, out)

    assert returned is out
    assert agrees(out, *matmul(a, b))


@every_kernel
def test_the_same_product_twice_is_the_same(name):
    """Nothing is left over from the call before."""
    a, b = factors(4, 5, 6, "float32")
    out = np.empty((4, 5), np.float32)

    first = public(name)(a, b, out).copy()

    assert np.array_equal(public(name)(a, b, out), first)


@every_dtype
@every_kernel
def test_nan_reaches_its_row_and_nothing_else(name, dtype):
    a, b = factors(5, 4, 6, dtype)
    a[2, 3] = np.nan

    result = public(name)(a, b)

    assert np.isnan(result[2]).all()
    assert np.isfinite(np.delete(result, 2, axis=0)).all()


@every_dtype
@every_kernel
def test_infinity_propagates_as_arithmetic_says(name, dtype):
    """inf times a number is inf, times 0 NaN; inf minus inf is NaN."""
    a, b = np.ones((3, 4), dtype), np.ones((4, 3), dtype)
    a[0, 1] = np.inf
    b[1, 2] = 0
    a[1, :2] = np.inf, -np.inf
    b[3, 0] = -np.inf

    result = public(name)(a, b)

    with np.errstate(all="ignore"):
        expected, _ = matmul(a, b)
    assert np.array_equal(result, expected.astype(dtype), equal_nan=True)


@every_dtype
@every_kernel
def test_denormals_are_not_flushed(name, dtype):
    """One times the smallest number there is, is that number."""
    smallest = np.finfo(dtype).smallest_subnormal
    a = np.eye(3, dtype=dtype)
    b = np.arange(1, 10).reshape(3, 3).astype(dtype) * smallest

    assert np.array_equal(public(name)(a, b), b)
    assert (b > 0).all()


@every_dtype
@every_kernel
def test_products_that_underflow_stay_within_the_bound(name, dtype):
    a, b = factors(6, 5, 7, dtype)
    a *= np.finfo(dtype).smallest_normal

    assert agrees(public(name)(a, b), *matmul(a, b))


@every_kernel
def test_large_products_in_float32_are_kept(name):
    """1e19 squared is 1e38: just below the largest float32."""
    a, b = np.full((2, 3), 1e19, np.float32), np.full((3, 2), 1e19, np.float32)

    assert agrees(public(name)(a, b), *matmul(a, b))


@every_dtype
@every_kernel
def test_cancellation_stays_within_the_bound(name, dtype):
    """The sum is a millionth of its terms; the bound is relative to the terms."""
    rng = np.random.default_rng(1)
    half = rng.standard_normal((4, 5))
    a = np.hstack([half, -half * (1 + 1e-6)]).astype(dtype)
    b = np.vstack([np.ones((5, 3)), np.ones((5, 3))]).astype(dtype)

    assert agrees(public(name)(a, b), *matmul(a, b))


@every_kernel
def test_integers_are_multiplied_exactly(name):
    rng = np.random.default_rng(2)
    a, b = rng.integers(-99, 100, (5, 8)), rng.integers(-99, 100, (8, 4))

    assert np.array_equal(public(name)(a.astype(np.float32), b.astype(np.float32)), a @ b)


@jit_only
@every_kernel
def test_kernels_are_compiled_without_licence_to_drop_nan(name):
    kernel = getattr(textbook, "_" + name)

    assert kernel.targetoptions["fastmath"] == FASTMATH
    assert not {"nnan", "ninf", "fast"} & FASTMATH
    assert kernel.targetoptions["error_model"] == "numpy"
