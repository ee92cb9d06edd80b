"""Products of packed weights against the oracle: leftover rows and columns, float32 and Q8_0, threads, bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import agrees, guarded

from perflib.kernels.decoder.layers import swiglu
from perflib.kernels.decoder.linear import _linear, matvec
from perflib.kernels.decoder.panels import PANEL, pack, pack_q8_0, quantise
from perflib.llm.decoder import widen

EPS = np.finfo(np.float32).eps


def drawn(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def product(weight, x):
    """x W^T in float64, and (K + 2) eps |x| |W^T|."""
    w, x = weight.astype(np.float64), x.astype(np.float64)
    return x @ w.T, (w.shape[1] + 2) * EPS * (abs(x) @ abs(w).T) + 1e-30


def packed(weight, kind):
    """The weight, packed, and what it stands for."""
    if kind == "F32":
        return pack(weight), weight
    return pack_q8_0(*quantise(weight)), widen(quantise(weight))


@settings(max_examples=60)
@given(
    m=st.integers(1, 29),
    n=st.integers(1, 300),
    k=st.integers(1, 70),
    kind=st.sampled_from(["F32", "Q8_0"]),
    add=st.booleans(),
    threads=st.sampled_from([1, 1, 2]),
)
def test_any_product_agrees_within_the_bound_and_inside_the_arrays(m, n, k, kind, add, threads):
    weight, x, before = drawn((n, k)), drawn((m, k), 1), drawn((m, n), 2)
    panels, meant = packed(weight, kind)
    (x_in, x_kept), (out, kept) = guarded(x), guarded(before)

    _linear(panels.data, x_in, out, add, threads)

    exact, bound = product(meant, x)
    exact, bound = (exact + before, bound + 2 * EPS * abs(before)) if add else (exact, bound)
    assert agrees(out, exact, bound)
    assert x_kept()
    assert kept()


def test_quants_are_the_nearest_and_scales_those_of_the_largest():
    weight = np.zeros((1, 64), np.float32)
    weight[0, :4] = 127, -127, 63.4, 0.6

    scales, quants = quantise(weight)

    assert scales.tolist() == [[1, 0]]
    assert quants[0, :5].tolist() == [127, -127, 63, 1, 0]


@pytest.mark.parametrize("scale", [6e-8, 3e-5, 1.0, -0.5, 60000.0])
def test_scales_of_every_size_are_widened_exactly(scale):
    scales = np.full((3, 1), scale, np.float16)
    quants = np.arange(-16, 80, dtype=np.int8).reshape(3, 32)

    result = matvec(pack_q8_0(scales, quants), np.eye(32, dtype=np.float32))

    assert np.array_equal(result, (quants * scales.astype(np.float32)).T)


def test_nan_in_one_vector_stays_there():
    x = drawn((14, 40))
    x[3, 7] = np.nan

    result = matvec(pack(drawn((50, 40))), x)

    assert np.isnan(result[3]).all()
    assert np.isfinite(np.delete(result, 3, axis=0)).all()


def test_a_vector_gives_a_vector_and_a_given_result_is_overwritten():
    weight, x, out = drawn((33, 9)), drawn(9), np.full(33, np.nan, np.float32)

    returned = matvec(pack(weight), x, out)

    assert returned is out
    assert agrees(out, *(part[0] for part in product(weight, x[None])))


def test_packed_weights_begin_on_a_cache_line_and_are_kept_once():
    panels = pack(drawn((64, 33)))

    assert panels.data.ctypes.data % 64 == 0
    assert panels.nbytes == 64 * 33 * 4
    assert panels.data.shape == (2, 33, PANEL)


@pytest.mark.parametrize("f", [1, 15, 16, 17, 64, 83])
def test_swiglu_is_x_sigmoid_x_times_y(f):
    both = drawn((3, 2 * f)) * 10
    both[0, 0], both[1, 0] = -200, 200
    x, y = both[:, :f].astype(np.float64), both[:, f:].astype(np.float64)
    exact = x / (1 + np.exp(-x)) * y

    assert agrees(swiglu(both), exact, 1e-6 * abs(exact) + 1e-30)


@pytest.mark.parametrize(
    ("x", "out", "kind", "words"),
    [
        (np.zeros(8), None, TypeError, ("x", "float32", "float64")),
        (np.zeros(7, np.float32), None, ValueError, ("x", "rows of 8", "(7,)")),
        (np.zeros((8, 2), np.float32).T, None, ValueError, ("x", "C-contiguous", "strides")),
        (np.zeros(8, np.float32), np.zeros(5, np.float32), ValueError, ("out", "rows of 6", "(5,)")),
        (np.zeros((2, 8), np.float32), np.zeros(6, np.float32), ValueError, ("out", "(2, 6)", "(6,)")),
    ],
)
def test_bad_vectors_are_refused(refused, x, out, kind, words):
    with refused(kind, *words):
        matvec(pack(drawn((6, 8))), x, out)


def test_what_is_not_packed_is_refused(refused):
    with refused(TypeError, "weight", "packed", "ndarray"):
        matvec(drawn((6, 8)), drawn(8))


def test_a_scale_without_a_value_is_refused(refused):
    with refused(ValueError, "scales", "finite"):
        pack_q8_0(np.full((1, 1), np.inf, np.float16), np.zeros((1, 32), np.int8))
