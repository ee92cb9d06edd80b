"""The checker is checked first: what it must refuse, and what it must let pass."""

import numpy as np
import pytest
from reference import matmul, rms_norm

from perflib.kernels import KERNELS, Kernel, WrongResult, aligned_empty, find, peers, verify

M, N, K, BLOCK = 9, 11, 7, 4


@pytest.fixture
def product():
    """A result that is right, its float64 oracle and its bound."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((M, K)).astype(np.float32), rng.standard_normal((K, N)).astype(np.float32)
    exact, bound = matmul(a, b)
    return exact.astype(np.float32), exact, bound


def with_value(result, where, value):
    wrong = result.copy()
    wrong[where] = value
    return wrong


def test_a_right_result_passes(product):
    assert verify("product", *product) is None


def test_a_result_on_the_bound_passes():
    verify("edge", np.array([1.5, 0.5]), np.ones(2), np.full(2, 0.5))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: np.zeros_like(c),
        lambda c: np.full_like(c, np.nan),
        lambda c: np.full_like(c, np.inf),
        lambda c: -c,
        lambda c: with_value(c, -1, 0),
        lambda c: with_value(c, np.s_[:, -1], 0),
        lambda c: with_value(c, np.s_[-BLOCK:, -BLOCK:], 0),
        lambda c: with_value(c, (-1, -1), np.nan),
        lambda c: with_value(c, (0, 0), np.inf),
        lambda c: with_value(c, (4, 5), -np.inf),
        lambda c: np.roll(c, 1, axis=0),
        lambda c: np.float32(1.0001) * c,
    ],
    ids=[
        "zeros",
        "NaN",
        "infinite",
        "wrong sign",
        "last row missing",
        "last column missing",
        "last block missing",
        "one NaN",
        "one infinity",
        "one negative infinity",
        "rows shifted",
        "slightly scaled",
    ],
)
def test_a_wrong_result_is_refused(product, spoil, refused):
    result, exact, bound = product

    with refused(WrongResult, "product: result[", "must be", "within its bound", "got"):
        verify("product", spoil(result), exact, bound)


@pytest.mark.parametrize("where", [(0, 0), (4, 5), (M - 1, N - 1)])
@pytest.mark.parametrize("bounds_off", [3, -3])
def test_one_element_a_few_bounds_off_is_refused_by_its_place(product, where, bounds_off, refused):
    result, exact, bound = product
    wrong = with_value(result, where, exact[where] + bounds_off * bound[where])

    with refused(WrongResult, f"result[{where[0]}, {where[1]}]"):
        verify("product", wrong, exact, bound)


def test_a_transposed_square_is_refused(refused):
    rng = np.random.default_rng(1)
    exact, bound = matmul(rng.standard_normal((6, 6)), rng.standard_normal((6, 6)))

    with refused(WrongResult, "result[0, 1]"):
        verify("square", exact.T, exact, bound)


@pytest.mark.parametrize("shape", [(N, M), (M, N - 1), (M - 1, N), (M * N,), (1, M, N), (), (0, N)])
def test_a_result_of_another_shape_is_refused(product, shape, refused):
    """Also one that would broadcast."""
    _, exact, bound = product

    with refused(WrongResult, f"result must have shape {(M, N)}", f"got {shape}"):
        verify("product", np.zeros(shape, np.float32), exact, bound)


def test_a_bound_that_is_no_number_lets_nothing_pass(product, refused):
    result, exact, _ = product

    with refused(WrongResult, "result[0, 0]"):
        verify("product", result, exact, np.nan)


def test_an_oracle_that_is_no_number_lets_nothing_pass(refused):
    with refused(WrongResult, "result[1]", "must be nan"):
        verify("row", np.array([1.0, np.nan]), np.array([1.0, np.nan]), 1.0)


def test_a_result_that_is_a_scalar_is_checked_too(refused):
    verify("dot", np.float32(2), np.float64(2), 1e-6)

    with refused(WrongResult, "dot: result[0] must be 2", "got 3"):
        verify("dot", np.float32(3), np.float64(2), 1e-6)


def test_an_empty_result_is_right():
    verify("nothing", np.empty((0, 3)), np.empty((0, 3)), np.empty((0, 3)))


@pytest.mark.parametrize("shape", [0, 1, 7, (3, 5), (1, 0), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_buffers_start_on_a_cache_line(shape, dtype):
    buffers = [aligned_empty(shape, dtype) for _ in range(8)]

    for buffer in buffers:
        assert buffer.ctypes.data % 64 == 0 or buffer.size == 0
        assert buffer.shape == (shape if isinstance(shape, tuple) else (shape,))
        assert buffer.dtype == dtype
        assert buffer.flags.c_contiguous
        assert buffer.flags.writeable


FOREIGN = {name for name, kernel in KERNELS.items() if kernel.call is peers.perform}  # see test_peers


def check(kernel, callable, args, given):
    """The result, returned or in an output that held NaN, is the oracle's."""
    expected = kernel.exact(*args)
    if kernel.output is not None:
        args[kernel.output][...] = np.nan

    returned = callable(*given)

    verify(kernel.name, returned if kernel.output is None else args[kernel.output], *expected)


@pytest.mark.parametrize("name", [name for name in KERNELS if not name.startswith("fma_peak") and name not in FOREIGN])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_described_kernel_agrees_with_its_own_oracle(name, dtype):
    kernel = KERNELS[name]
    args = kernel.make(17, dtype, np.random.default_rng(2), **kernel.params)

    check(kernel, kernel.call, args, (*args, *kernel.tuning.values()))


@pytest.mark.parametrize(
    "name", [name for name, kernel in KERNELS.items() if kernel.compiled and not name.startswith("fma_peak")]
)
def test_the_unchecked_kernel_does_what_the_public_one_does(name):
    kernel = KERNELS[name]
    args = kernel.make(
        17, "float32", np.random.default_rng(3), **kernel.params | dict.fromkeys({"rows"} & kernel.params.keys(), 3)
    )

    check(kernel, kernel.compiled, args, kernel.unchecked(*args, *kernel.tuning.values()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_oracles_of_the_catalogue_are_the_textbooks(dtype):
    rng = np.random.default_rng(4)
    a, b, out = find("matmul_tiled").make(13, dtype, rng)
    x, weight, eps, y = find("rms_norm_fast").make(13, dtype, rng, rows=3)

    for found, expected in (
        (find("matmul_tiled").exact(a, b, out), matmul(a, b)),
        (find("rms_norm_fast").exact(x, weight, eps, y), rms_norm(x, weight, eps)),
    ):
        assert np.allclose(found[0], expected[0], rtol=1e-13, atol=1e-13)
        assert np.allclose(found[1], expected[1], rtol=1e-6)


def test_work_is_counted_by_the_formulas():
    """Useful bytes: inputs once, outputs once."""
    assert find("matmul_naive").flops(10) == 2000
    assert find("matmul_naive").bytes(10, 4) == 1200
    assert find("rms_norm_fast").flops(10, rows=3) == 120
    assert find("rms_norm_fast").bytes(10, 4, rows=3) == (30 + 10 + 30) * 4
    assert find("copy_loop").bytes(10, 8) == 160
    assert find("fma_peak").flops(256) == 512


def test_a_kernel_is_found_by_name_and_by_either_callable():
    described = KERNELS["matmul_tiled"]

    assert find("matmul_tiled") is find(described.call) is find(described.compiled) is described
    assert find(sorted) is None


def test_names_in_the_catalogue_are_those_of_the_descriptions():
    assert all(name == kernel.name for name, kernel in KERNELS.items())


def test_a_kernel_of_ones_own_needs_no_compiled_side():
    own = Kernel("own", sum, make=lambda n, dtype, rng: ([1] * n,), flops=lambda n: n, bytes=lambda n, itemsize: 8 * n)

    assert own.call(*own.make(3, "float64", None)) == 3
    assert own.unchecked(1, 2) == (1, 2)
    assert (own.compiled, own.exact, own.output, own.params, own.tuning) == (None, None, None, {}, {})
