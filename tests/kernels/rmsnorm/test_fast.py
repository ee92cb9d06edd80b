"""The fast RMS norm: right for every length, scale and layout, within its arrays, and refused where it cannot be right."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config
from reference import agrees, guarded
from reference import rms_norm as exact

from perflib.kernels import aligned_empty, rms_norm
from perflib.kernels.rmsnorm import fast

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
THREADS = [1, 2] if config.NUMBA_NUM_THREADS > 1 else [1]


def rows(shape, dtype="float32", scale=1.0, seed=0):
    rng = np.random.default_rng([seed, *np.atleast_1d(shape)])
    return (rng.standard_normal(shape) * scale).astype(dtype)


@every_dtype
@pytest.mark.parametrize("threads", THREADS)
def test_every_length_agrees_with_the_oracle_and_stays_within_its_arrays(dtype, threads):
    for n in (*range(140), 255, 256, 1000, 2048):
        (x, x_kept), (weight, weight_kept) = guarded(rows((3, n), dtype)), guarded(rows(n, dtype))
        out, kept = guarded(np.full((3, n), np.nan, dtype))
        assert rms_norm(x, weight, 1e-5, out, threads=threads) is out
        assert agrees(out, *exact(x, weight, 1e-5)) and kept() and x_kept() and weight_kept(), n


@every_dtype
@pytest.mark.parametrize("shape", [(0,), (1,), (17,), (200,), (0, 5), (5, 0), (1, 33), (7, 64)])
def test_one_row_or_many_in_or_out_of_a_new_array(dtype, shape):
    x, weight = rows(shape, dtype), rows(shape[-1], dtype)

    result = rms_norm(x, weight)

    assert result.shape == shape and result.dtype == dtype
    assert agrees(result, *exact(x, weight, 1e-5))


@every_dtype
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("n", [1, 15, 16, 31, 64, 70, 1000])
def test_the_residual_is_added_and_kept(dtype, threads, n):
    x, weight = rows((4, n), dtype), rows(n, dtype)
    (residual, kept), before = guarded(rows((4, n), dtype, seed=1)), rows((4, n), dtype, seed=1)
    out, out_kept = guarded(np.full((4, n), np.nan, dtype))

    rms_norm(x, weight, 1e-5, out, residual, threads)

    assert np.array_equal(residual, x + before)
    assert agrees(out, *exact(x + before, weight, 1e-5))
    assert kept() and out_kept()


@every_dtype
@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e-22, 1e-19, 1e18, 1e19, 1e30, 3e37])
@pytest.mark.parametrize("eps", [0.0, 1e-5, 1e-44, 1e30])
def test_squares_that_leave_the_range_do_not_matter(dtype, scale, eps):
    x, weight = rows((3, 70), dtype, scale), rows(70, dtype)
    x[1] = rows(70, dtype)  # a row that is as usual between two that are not

    assert agrees(rms_norm(x, weight, eps), *exact(x, weight, eps))


@given(st.lists(st.floats(-(2.0**64), 2.0**64, width=32), min_size=1, max_size=80), st.sampled_from([1e-5, 1e-12]))
def test_any_row_agrees(values, eps):
    x = np.array(values, np.float32)

    assert agrees(rms_norm(x, np.ones_like(x), eps), *exact(x, np.ones_like(x), eps))


@every_dtype
def test_zeros_give_zeros_and_what_is_no_number_stays_in_its_row(dtype):
    x = np.ones((5, 20), dtype)
    x[1], x[2, 3], x[3, 4] = 0, np.nan, -np.inf

    for eps in (0.0, 1e-5):
        result = rms_norm(x, np.ones(20, dtype), eps)
        assert np.isfinite(result[[0, 4]]).all() and not result[1].any()
        assert np.isnan(result[2]).all()
        assert np.isnan(result[3, 4]) and not np.delete(result[3], 4).any()


@every_dtype
@pytest.mark.parametrize("n", [64, 70])
def test_streaming_stores_write_the_same(dtype, n):
    x, weight, out, residual = (aligned_empty((9, n), dtype) for _ in range(4))
    x[...], weight, residual[...] = rows((9, n), dtype), rows(n, dtype), rows((9, n), dtype, seed=1)
    usual, summed = rms_norm(x, weight), rms_norm(x, weight, residual=residual.copy())

    out.fill(np.nan)
    fast._rms_norm(x, weight, 1e-5, out, 0)
    assert np.array_equal(out, usual)
    out.fill(np.nan)
    fast._rms_norm_residual(x, weight, 1e-5, out, residual, 0)
    assert np.array_equal(out, summed)


def test_an_output_off_the_boundary_of_a_vector_is_not_streamed():
    buffer = aligned_empty(9 * 64 + 1, np.float32)
    x, weight = rows((9, 64)), rows(64)
    usual = rms_norm(x, weight)
    out = buffer[1:].reshape(9, 64)

    fast._rms_norm(x, weight, 1e-5, out, 0)  # a streaming store would fault

    assert np.array_equal(out, usual)


def test_layouts_are_copied_and_numbers_of_any_kind_taken():
    x, weight = rows((6, 50)), rows(50)
    right = exact(x, weight, 0.5)
    locked = x.copy()
    locked.flags.writeable = False

    for other in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], locked):
        assert agrees(rms_norm(other, weight, 0.5), *right)
    for eps in (np.float32(0.5), np.float64(0.5)):
        assert agrees(rms_norm(x, weight, eps), *right)
    assert agrees(rms_norm(x, weight[::-1][::-1], 0.5), *right)
    assert agrees(rms_norm(x, weight, 1), *exact(x, weight, 1))


ROWS = np.ones((2, 8), np.float32)
ROW = np.ones(8, np.float32)


@pytest.mark.parametrize(
    ("kind", "words", "arguments"),
    [
        (TypeError, ("x must be a numpy array", "list"), {"x": [1.0]}),
        (TypeError, ("x must be float32 or float64", "object"), {"x": ROWS.astype(object)}),
        (ValueError, ("x must have 1 or 2 dimensions", "(2, 2, 8)"), {"x": np.ones((2, 2, 8), np.float32)}),
        (ValueError, ("weight must have length 8", "got 7"), {"weight": ROW[:7]}),
        (TypeError, ("weight must be float32", "float64"), {"weight": ROW.astype(float)}),
        (ValueError, ("eps must be finite and at least 0", "got -1"), {"eps": -1.0}),
        (ValueError, ("eps must be finite and at least 0", "nan"), {"eps": np.nan}),
        (TypeError, ("eps must be a real number", "'1'"), {"eps": "1"}),
        (ValueError, ("out must have shape (2, 8)", "(3, 8)"), {"out": np.ones((3, 8), np.float32)}),
        (ValueError, ("out must not overlap x",), {"out": ROWS}),
        (ValueError, ("out must be C-contiguous",), {"out": np.ones((2, 8), np.float32)[::-1]}),
        (ValueError, ("residual must have shape (2, 8)", "(3, 8)"), {"residual": np.ones((3, 8), np.float32)}),
        (TypeError, ("residual must be float32", "float64"), {"residual": np.ones((2, 8))}),
        (ValueError, ("residual must not overlap x",), {"residual": ROWS}),
        (ValueError, ("threads must be at least 1", "got -2"), {"threads": -2}),
        (ValueError, ("threads must be at most", "got 4096"), {"threads": 4096}),
    ],
)
def test_bad_arguments_are_refused_in_a_line(refused, kind, words, arguments):
    usual = {"x": ROWS, "weight": ROW, "eps": 1e-5, "out": np.empty((2, 8), np.float32)}
    rms_norm(**usual)

    with refused(kind, *words):
        rms_norm(**(usual | arguments))


def test_an_output_that_is_the_residual_is_refused(refused):
    shared = np.ones((2, 8), np.float32)

    with refused(ValueError, "out must not overlap residual"):
        rms_norm(ROWS, ROW, 1e-5, shared, shared)


FUSED_FIRST = """
import numpy as np
from perflib.kernels import rms_norm
x, weight = np.ones((2, 8), np.float32), np.ones(8, np.float32)
rms_norm(x, weight, residual=np.ones((2, 8), np.float32))
try:
    rms_norm(x, weight, 0.0, np.empty((4, 8), np.float32)[::2])
except ValueError as refusal:
    print(refusal)
"""


def test_a_bad_output_is_refused_after_a_first_call_with_a_residual():
    """That call leaves the code without a residual open to every type: it must not be tried yet."""
    done = subprocess.run([sys.executable, "-c", FUSED_FIRST], capture_output=True, text=True, check=False)

    assert done.stdout.startswith("out must be C-contiguous") and done.stderr == ""


FLOAT64_AFTER_FLOAT32 = """
import numpy as np
from perflib.kernels import find
for dtype in ("float32", "float64"):
    for name in ("rms_norm", "matmul", "matmul_packed"):
        kernel = find(name)
        args = kernel.make(16, dtype, np.random.default_rng(0), **kernel.params)
        if dtype == "float32":
            kernel.call(*args)
        kernel.compiled(*kernel.unchecked(*args, *kernel.tuning.values()))
"""


def test_the_compiled_kernel_takes_a_type_that_was_not_called_before():
    """In a process of its own: the order of types in a recording is drawn."""
    subprocess.run([sys.executable, "-c", FLOAT64_AFTER_FLOAT32], check=True)
