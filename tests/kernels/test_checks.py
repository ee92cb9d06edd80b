"""Every argument that a kernel refuses, and the sentence it says."""

import math

import numpy as np
import pytest

from perflib import kernels
from perflib.kernels.checks import positive_integer
from perflib.kernels.probes.stream import copy_loop

MATMULS = (kernels.matmul_naive, kernels.matmul_ikj, kernels.matmul_tiled, kernels.matmul_tiled_vectorised)
TILED = (kernels.matmul_tiled, kernels.matmul_tiled_vectorised)
RMSNORM_VARIANTS = (kernels.rms_norm_standard, kernels.rms_norm_fast)

every_matmul = pytest.mark.parametrize("matmul", MATMULS)
every_norm = pytest.mark.parametrize("norm", RMSNORM_VARIANTS)


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def misaligned(shape):
    """An array that starts one byte off."""
    count = math.prod(shape)
    return np.zeros(4 * count + 1, np.uint8)[1:].view(np.float32).reshape(shape)


def read_only(shape):
    array = ones(*shape)
    array.flags.writeable = False
    return array


@every_matmul
def test_inner_sizes_must_match(refused, matmul):
    with refused(ValueError, "b must have 3 rows", "got shape (4, 5)"):
        matmul(ones(2, 3), ones(4, 5))


@every_matmul
@pytest.mark.parametrize("bad", [[[1.0]], 1.0, None, "a"])
def test_a_factor_must_be_an_array(refused, matmul, bad):
    with refused(TypeError, "a must be a numpy array", f"got {type(bad).__name__}"):
        matmul(bad, ones(1, 1))


@every_matmul
@pytest.mark.parametrize("dtype", ["float16", "int32", "int64", "complex64", "bool", "object", ">f4"])
def test_a_factor_must_be_of_a_supported_dtype(refused, matmul, dtype):
    with refused(TypeError, "a must be float32 or float64", f"got {dtype}"):
        matmul(np.ones((2, 2), dtype), ones(2, 2))


@every_matmul
def test_factors_must_be_of_one_dtype(refused, matmul):
    with refused(TypeError, "b must be float32", "got float64"):
        matmul(ones(2, 2), ones(2, 2, dtype=np.float64))


@every_matmul
@pytest.mark.parametrize("shape", [(), (4,), (2, 2, 2)])
def test_a_factor_must_be_a_matrix(refused, matmul, shape):
    with refused(ValueError, "a must have 2 dimensions", f"got shape {shape}"):
        matmul(ones(*shape), ones(2, 2))
    with refused(ValueError, "b must have 2 dimensions", f"got shape {shape}"):
        matmul(ones(2, 2), ones(*shape))


@every_matmul
@pytest.mark.parametrize("view", [lambda x: x.T, lambda x: x[:, ::2], lambda x: x[::-1], np.asfortranarray])
def test_a_factor_must_be_contiguous(refused, matmul, view):
    strided = view(ones(4, 6))

    with refused(ValueError, "a must be C-contiguous", f"got strides {strided.strides}", "np.ascontiguousarray"):
        matmul(strided, ones(strided.shape[1], 2))
    with refused(ValueError, "b must be C-contiguous", f"got strides {strided.strides}", "np.ascontiguousarray"):
        matmul(ones(2, strided.shape[0]), strided)


@every_matmul
def test_a_factor_must_be_aligned_to_its_items(refused, matmul):
    with refused(ValueError, "b must be aligned to its items", "got address 0x"):
        matmul(ones(2, 2), misaligned((2, 2)))


@every_matmul
@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (1, 2), (0, 0)])
def test_the_result_must_have_the_shape_of_the_product(refused, matmul, shape):
    with refused(ValueError, "out must have shape (2, 2)", f"got {shape}"):
        matmul(ones(2, 3), ones(3, 2), ones(*shape))


@every_matmul
@pytest.mark.parametrize(
    ("out", "kind", "words"),
    [
        (ones(2, 2, dtype=np.float64), TypeError, ("out must be float32", "got float64")),
        (ones(2, 2, dtype=np.int32), TypeError, ("out must be float32 or float64", "got int32")),
        (ones(4), ValueError, ("out must have 2 dimensions", "got shape (4,)")),
        ([[0.0, 0.0]], TypeError, ("out must be a numpy array", "got list")),
        (read_only((2, 2)), ValueError, ("out must be writeable", "read-only")),
        (ones(2, 4)[:, ::2], ValueError, ("out must be C-contiguous", "got strides (16, 8)")),
        (misaligned((2, 2)), ValueError, ("out must be aligned to its items", "got address 0x")),
    ],
)
def test_the_result_must_be_a_fitting_array(refused, matmul, out, kind, words):
    with refused(kind, *words):
        matmul(ones(2, 2), ones(2, 2), out)


@every_matmul
def test_the_result_must_not_overlap_a_factor(refused, matmul):
    a, shared = ones(3, 3), ones(4, 3)

    with refused(ValueError, "out must not overlap a", "share memory"):
        matmul(a, ones(3, 3), a)
    with refused(ValueError, "out must not overlap b", "share memory"):
        matmul(a, shared[:3], shared[1:])


@every_matmul
def test_neighbours_in_one_buffer_do_not_overlap(matmul):
    buffer = ones(6, 3)

    out = matmul(buffer[:3], ones(3, 3), buffer[3:])

    assert (out == 3).all()
    assert (buffer[:3] == 1).all()


@pytest.mark.parametrize("matmul", TILED)
@pytest.mark.parametrize("bad", [0, -1, -64, np.int32(0)])
def test_a_tile_below_one_is_refused(refused, matmul, bad):
    with refused(ValueError, "tile must be at least 1", f"got {bad}"):
        matmul(ones(2, 2), ones(2, 2), tile=bad)


@pytest.mark.parametrize("matmul", TILED)
@pytest.mark.parametrize("bad", [2.0, True, False, np.True_, "8", None, 1j, np.eye(2), [1, 2]])
def test_a_tile_that_is_no_integer_is_refused(refused, matmul, bad):
    with refused(TypeError, "tile must be an integer of at least 1", "got "):
        matmul(ones(2, 2), ones(2, 2), tile=bad)


@pytest.mark.parametrize("value", [1, 64, np.int32(7), np.uint8(200), 2**40])
def test_every_kind_of_integer_is_one(value):
    found = positive_integer("n", value)

    assert found == value
    assert type(found) is int


@every_norm
@pytest.mark.parametrize("length", [0, 1, 2, 4])
def test_weights_must_be_as_many_as_a_row_has_elements(refused, norm, length):
    with refused(ValueError, "weight must have length 3", f"got {length}"):
        norm(ones(2, 3), ones(length))


@every_norm
@pytest.mark.parametrize("shape", [(), (1, 1, 3)])
def test_x_must_be_a_row_or_rows(refused, norm, shape):
    with refused(ValueError, "x must have 1 or 2 dimensions", f"got shape {shape}"):
        norm(ones(*shape), ones(3))


@every_norm
@pytest.mark.parametrize("shape", [(), (1, 3), (3, 1)])
def test_weights_must_be_one_row(refused, norm, shape):
    with refused(ValueError, "weight must have 1 dimensions", f"got shape {shape}"):
        norm(ones(3), ones(*shape))


@every_norm
def test_x_and_weight_must_be_arrays_of_one_dtype(refused, norm):
    with refused(TypeError, "x must be a numpy array", "got list"):
        norm([1.0, 2.0], ones(2))
    with refused(TypeError, "x must be float32 or float64", "got int64"):
        norm(ones(2, dtype=np.int64), ones(2))
    with refused(TypeError, "weight must be a numpy array", "got tuple"):
        norm(ones(2), (1.0, 1.0))
    with refused(TypeError, "weight must be float32", "got float64"):
        norm(ones(2), ones(2, dtype=np.float64))


@every_norm
def test_x_and_weight_must_be_contiguous(refused, norm):
    with refused(ValueError, "x must be C-contiguous", "got strides (8,)"):
        norm(ones(6)[::2], ones(3))
    with refused(ValueError, "x must be C-contiguous", "got strides"):
        norm(ones(3, 2).T, ones(3))
    with refused(ValueError, "weight must be C-contiguous", "got strides (-4,)"):
        norm(ones(3), ones(3)[::-1])


@every_norm
@pytest.mark.parametrize("eps", [-1e-5, -1, math.nan, math.inf, -math.inf, np.float32("nan")])
def test_eps_must_be_finite_and_not_negative(refused, norm, eps):
    with refused(ValueError, "eps must be finite and at least 0", f"got {eps}"):
        norm(ones(3), ones(3), eps=eps)


@every_norm
@pytest.mark.parametrize("eps", [True, np.True_, "1e-5", None, 1j, np.full((2, 2), 1e-5)])
def test_eps_must_be_a_number(refused, norm, eps):
    with refused(TypeError, "eps must be a real number", "got "):
        norm(ones(3), ones(3), eps=eps)


@every_norm
@pytest.mark.parametrize("eps", [0, 1, 0.5, np.float32(0.5), np.int64(1)])
def test_eps_may_be_any_real_number(norm, eps):
    assert np.isfinite(norm(ones(3), ones(3), eps=eps)).all()


@every_norm
@pytest.mark.parametrize(
    ("out", "kind", "words"),
    [
        (ones(2), ValueError, ("out must have shape (3,)", "got (2,)")),
        (ones(1, 3), ValueError, ("out must have 1 dimensions", "got shape (1, 3)")),
        (ones(3, dtype=np.float64), TypeError, ("out must be float32", "got float64")),
        (read_only((3,)), ValueError, ("out must be writeable", "read-only")),
        (ones(6)[::2], ValueError, ("out must be C-contiguous", "got strides (8,)")),
        ([0.0] * 3, TypeError, ("out must be a numpy array", "got list")),
    ],
)
def test_the_normalised_row_must_be_a_fitting_array(refused, norm, out, kind, words):
    with refused(kind, *words):
        norm(ones(3), ones(3), out=out)


@every_norm
def test_the_normalised_row_must_not_overlap_an_input(refused, norm):
    x, weight = ones(3), ones(3)

    with refused(ValueError, "out must not overlap x", "share memory"):
        norm(x, weight, out=x)
    with refused(ValueError, "out must not overlap weight", "share memory"):
        norm(x, weight, out=weight)


def test_a_copy_must_have_the_shape_of_its_source(refused):
    with refused(ValueError, "out must have shape (3,)", "got (2,)"):
        copy_loop(ones(3), ones(2))


def test_an_unknown_kernel_name_is_refused_with_the_known_ones(refused):
    with refused(ValueError, "kernel must be one of matmul_naive, matmul_ikj", "rms_norm_fast", "got 'matmull'"):
        kernels.find("matmull")


def test_what_is_nobodys_has_no_description():
    assert kernels.find(len) is None
    assert kernels.find(None) is None
