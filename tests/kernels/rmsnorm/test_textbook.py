"""RMS norms against the oracle: rows and batches, special values, nothing outside the arrays.

Also run with NUMBA_DISABLE_JIT=1: the same kernels as plain Python, on tiny sizes.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config
from reference import agrees, guarded, rms_norm

from perflib.kernels.jit.compile import FASTMATH
from perflib.kernels.rmsnorm import textbook

JIT = not config.DISABLE_JIT
LIMIT = 70 if JIT else 24
NAMES = ("rms_norm_standard", "rms_norm_fast")
DTYPES = ("float32", "float64")
EPS = 1e-5

every_kernel = pytest.mark.parametrize("name", NAMES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
jit_only = pytest.mark.skipif(not JIT, reason="needs compiled code: the JIT is off")


@pytest.fixture(autouse=True)
def no_warnings_of_plain_python():
    """Compiled code never warns of an overflow or of NaN; NumPy's scalars do, with the JIT off."""
    with np.errstate(all="ignore"):
        yield


def public(name):
    return getattr(textbook, name)


def row(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@every_kernel
@given(
    rows=st.integers(0, 5),
    n=st.integers(0, LIMIT),
    eps=st.sampled_from([0.0, 1e-12, EPS, 0.5]),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 9),
)
def test_any_batch_agrees_within_the_bound_and_inside_the_arrays(name, rows, n, eps, scale, dtype, seed):
    x, weight = row((rows, n), dtype, seed) * np.dtype(dtype).type(scale), row(n, dtype, seed + 100)
    buffers = [guarded(v) for v in (x, weight, np.full((rows, n), np.nan, dtype))]
    (x_in, _), (weight_in, _), (out, _) = buffers

    getattr(textbook, "_" + name)(x_in, weight_in, eps, out)

    assert agrees(out, *rms_norm(x, weight, eps))
    assert all(untouched() for _, untouched in buffers)
    assert np.array_equal(x_in, x)
    assert np.array_equal(weight_in, weight)


@every_dtype
@every_kernel
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33] + ([127, 512, 1024, 2048, 4099] if JIT else []))
def test_every_length_around_a_vector(name, n, dtype):
    x, weight = row(n, dtype), row(n, dtype, 1)

    assert agrees(public(name)(x, weight), *rms_norm(x, weight, EPS))


@every_kernel
def test_a_known_row(name):
    """3 and 4 have a mean square of 12.5; with eps of 0.5 the root is that of 13."""
    result = public(name)(np.array([3.0, 4.0]), np.array([1.0, 2.0]), eps=0.5)

    assert np.allclose(result, [3 / np.sqrt(13), 8 / np.sqrt(13)], rtol=1e-15)


@every_kernel
def test_eps_is_added_to_the_mean_and_not_to_the_root(name):
    x = np.full(4, 1e-3)

    assert np.allclose(public(name)(x, np.ones(4), eps=1e-6), 1e-3 / np.sqrt(2e-6), rtol=1e-14)


@every_kernel
def test_the_default_eps_is_the_hundred_thousandth(name):
    x, weight = row(9, "float64") * 1e-3, row(9, "float64", 1)

    assert np.array_equal(public(name)(x, weight), public(name)(x, weight, eps=1e-5))
    assert not np.allclose(public(name)(x, weight), public(name)(x, weight, eps=0))


@every_dtype
@every_kernel
def test_rows_do_not_know_of_each_other(name, dtype):
    x, weight = row((4, 13), dtype), row(13, dtype, 1)

    batch = public(name)(x, weight)

    for one, expected in zip(x, batch, strict=True):
        assert np.array_equal(public(name)(one, weight), expected)


@every_dtype
@every_kernel
@pytest.mark.parametrize("shape", [(5,), (1, 5), (3, 5), (0, 5), (0,), (3, 0)])
def test_the_result_looks_like_x(name, shape, dtype):
    result = public(name)(np.ones(shape, dtype), np.ones(shape[-1], dtype))

    assert result.shape == shape
    assert result.dtype == dtype


@every_kernel
@pytest.mark.parametrize("shape", [(5,), (2, 5)])
def test_a_given_result_is_overwritten_and_returned(name, shape):
    x, weight = row(shape, "float32"), row(5, "float32", 1)
    out = np.full(shape, np.nan, np.float32)

    returned = public(name)(x, weight, EPS, out)

    assert returned is out
    assert agrees(out, *rms_norm(x, weight, EPS))


@every_dtype
@every_kernel
def test_zero_rows_give_zeros(name, dtype):
    x = np.zeros((2, 9), dtype)
    x[1] = 1

    result = public(name)(x, np.ones(9, dtype))

    assert np.array_equal(result[0], np.zeros(9))
    assert (result[1] > 0.99).all()


@every_dtype
@every_kernel
def test_nan_fills_its_row_and_no_other(name, dtype):
    x = row((3, 20), dtype)
    x[1, 7] = np.nan

    result = public(name)(x, np.ones(20, dtype))

    assert np.isnan(result[1]).all()
    assert np.isfinite(result[[0, 2]]).all()


@every_dtype
@every_kernel
def test_infinity_is_nan_where_it_stands_and_zero_beside_it(name, dtype):
    x = row((2, 20), dtype)
    x[0, 7] = np.inf

    result = public(name)(x, np.ones(20, dtype))

    assert np.isnan(result[0, 7])
    assert np.array_equal(np.delete(result[0], 7), np.zeros(19))
    assert np.isfinite(result[1]).all()


@every_dtype
@every_kernel
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_weight_that_is_no_number_spoils_its_column(name, dtype, bad):
    weight = np.ones(20, dtype)
    weight[7] = bad

    result = public(name)(row((2, 20), dtype), weight)

    assert not np.isfinite(result[:, 7]).any()
    assert np.isfinite(np.delete(result, 7, axis=1)).all()


@every_dtype
@every_kernel
def test_denormals_are_not_flushed(name, dtype):
    """Their squares vanish beside eps; what remains is x / sqrt(eps)."""
    x = np.arange(1, 10) * np.finfo(dtype).smallest_subnormal

    result = public(name)(x.astype(dtype), np.ones(9, dtype), eps=0.25)

    assert np.array_equal(result, (2 * x).astype(dtype))
    assert (result > 0).all()


@every_kernel
def test_float32_holds_until_the_sum_of_squares_overflows(name):
    """The documented limit: sums are accumulated in the dtype of x."""
    x, weight = np.full(8, 1e18, np.float32), np.ones(8, np.float32)

    assert agrees(public(name)(x, weight), *rms_norm(x, weight, EPS))
    assert np.array_equal(public(name)(x * 100, weight), np.zeros(8))


@every_kernel
def test_float64_squares_what_float32_cannot(name):
    x, weight = np.full(8, 1e30), np.ones(8)

    assert agrees(public(name)(x, weight), *rms_norm(x, weight, EPS))


@every_dtype
@every_kernel
def test_scaling_x_changes_nothing_without_eps(name, dtype):
    x, weight = row(16, dtype), row(16, dtype, 1)

    assert np.array_equal(public(name)(4 * x, weight, eps=0), public(name)(x, weight, eps=0))


@jit_only
@every_kernel
def test_kernels_are_compiled_without_licence_to_drop_nan(name):
    kernel = getattr(textbook, "_" + name)

    assert kernel.targetoptions["fastmath"] == FASTMATH
    assert not {"nnan", "ninf", "fast"} & FASTMATH
    assert kernel.targetoptions["error_model"] == "numpy"
