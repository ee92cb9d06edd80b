"""Stacks and layouts: NumPy's shapes, every layout of a, b and out, nothing around them touched, nothing copied."""

import itertools
import tracemalloc

import fuzz
import numpy as np
import pytest
from layouts import KINDS, laid_out, products
from numba import config
from reference import agrees
from reference import matmul as exact

from perflib.kernels import matmul
from perflib.kernels.gemm import fast
from perflib.kernels.gemm.microkernel import register_tile
from perflib.kernels.gemm.operands import operands

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
SEVERAL = pytest.mark.skipif(config.NUMBA_NUM_THREADS < 2, reason="Numba has one thread here")


def drawn(rng, *shape, dtype="float32"):
    return rng.standard_normal(shape).astype(dtype)


@every_dtype
def test_every_edge_of_a_tile_in_rows_and_in_columns_agrees_and_stays_within_its_arrays(dtype):
    rng, (mr, nr) = np.random.default_rng(0), register_tile(dtype)
    layouts = list(itertools.product(("rows", "columns"), repeat=3))
    for m, n, k in itertools.product(
        (1, 2, mr - 1, mr, mr + 1, 2 * mr + 1), (1, 3, nr // 2, nr - 1, nr, nr + 1), (0, 1, 7, 17)
    ):
        a, b = drawn(rng, m, k, dtype=dtype), drawn(rng, k, n, dtype=dtype)
        right = exact(a, b)
        for kinds in layouts:
            arrays = (a, b, np.full((m, n), np.nan, dtype))
            views, untouched = zip(*map(laid_out, arrays, [rng] * 3, kinds), strict=True)
            assert matmul(*views) is views[2]
            assert agrees(views[2], *right) and all(check() for check in untouched), (m, n, k, kinds)


@every_dtype
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (150, 130, 1024),  # lines of A a page apart: copied
        (400, 140, 900),  # A in columns that leave L2 beside B: copied
        (40, 300, 700),  # a B in columns that is transposed at once, several panels of k
        (70, 1100, 1000),  # one that is packed
        (20, 1500, 1400),  # few rows and a large B
        (3, 1500, 1400),
        (1, 1500, 1400),
        (1500, 1, 1400),
    ],
)
def test_every_path_takes_every_layout(dtype, m, n, k):
    rng = np.random.default_rng([m, n, k])
    a, b = drawn(rng, m, k, dtype=dtype), drawn(rng, k, n, dtype=dtype)
    a[m // 2], b[:, n // 2] = 1e3 * a[m // 2], 1e-3 * b[:, n // 2]  # so that swapped ones show
    result = a.astype(float) @ b.astype(float)
    bound = (k + 2) * np.finfo(dtype).eps * (abs(a).astype(float) @ abs(b).astype(float))

    for kinds in (
        ("columns", "rows", "rows"),
        ("rows", "columns", "rows"),
        ("rows", "rows", "columns"),
        ("any", "any", "any"),
    ):
        arrays = (a, b, np.full((m, n), np.nan, dtype))
        views, untouched = zip(*map(laid_out, arrays, [rng] * 3, kinds), strict=True)
        matmul(*views)
        assert agrees(views[2], result, bound) and all(check() for check in untouched), kinds


@every_dtype
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4, 5), (3, 5, 6)),
        ((3, 4, 5), (5, 6)),
        ((4, 5), (3, 5, 6)),
        ((2, 1, 4, 5), (3, 5, 6)),
        ((1, 3, 4, 5), (2, 1, 5, 6)),
        ((2, 3, 1, 5), (5, 6)),
        ((2, 3, 2, 2, 4, 5), (2, 2, 5, 6)),
        ((1, 1, 4, 5), (1, 5, 6)),
        ((0, 4, 5), (5, 6)),
        ((4, 5), (0, 5, 6)),
        ((3, 0, 4, 5), (1, 5, 6)),
        ((3, 0, 5), (3, 5, 6)),
        ((3, 4, 5), (3, 5, 0)),
        ((3, 4, 0), (3, 0, 6)),
        ((3, 4, 0), (0, 6)),
        ((3, 0, 0), (3, 0, 0)),
    ],
)
def test_stacks_broadcast_as_in_numpy_also_empty_ones(dtype, a, b):
    rng = np.random.default_rng(1)
    a, b = drawn(rng, *a, dtype=dtype), drawn(rng, *b, dtype=dtype)
    expected = np.matmul(a, b)

    for _ in range(2):  # before and after the code for such arrays is compiled
        out, untouched = laid_out(np.full(expected.shape, np.nan, dtype), rng, "rows")
        assert matmul(a, b, out) is out
        for result in (out, matmul(a, b)):
            assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
            assert agrees(result, *products(a, b))
        assert untouched()


@pytest.mark.parametrize(
    ("a", "b", "out", "words"),
    [
        ((2, 4, 5), (3, 5, 6), None, ("b must be a stack that broadcasts", "(2,)", "(3, 5, 6)")),
        ((2, 3, 4, 5), (2, 5, 6), None, ("b must be a stack that broadcasts", "(2, 3)", "(2, 5, 6)")),
        ((2, 4, 5), (2, 4, 6), None, ("b must have 5 rows", "(2, 4, 6)")),
        ((5,), (5, 6), None, ("a must have 2 dimensions or more", "(5,)")),
        ((4, 5), (5,), None, ("b must have 2 dimensions or more", "(5,)")),
        ((2, 4, 5), (5, 6), (3, 4, 6), ("out must have shape (2, 4, 6)", "(3, 4, 6)")),
        ((2, 4, 5), (5, 6), (4, 6), ("out must have 3 dimensions", "(4, 6)")),
        ((2, 4, 0), (5, 0, 6), (7, 4, 6), ("b must be a stack",)),
        ((2, 4, 0), (2, 0, 6), (7, 4, 6), ("out must have shape (2, 4, 6)",)),
    ],
)
def test_stacks_that_do_not_fit_are_refused(refused, a, b, out, words):
    arrays = [np.ones(shape, np.float32) for shape in (a, b, *([out] if out else []))]
    matmul(*(np.ones((1, 1, 1), np.float32) for _ in range(3)))  # code for stacks is there

    with refused(ValueError, *words):
        matmul(*arrays)


@every_dtype
@pytest.mark.parametrize("kind", KINDS)
def test_an_output_of_any_layout_is_written_and_nothing_beside_it(dtype, kind):
    rng = np.random.default_rng(2)
    for shape in ((37, 45), (3, 17, 20), (2, 3, 9, 5)):
        a, b = drawn(rng, *shape[:-1], 11, dtype=dtype), drawn(rng, 11, shape[-1], dtype=dtype)
        out, untouched = laid_out(np.full(shape, np.nan, dtype), rng, kind)

        assert matmul(a, b, out) is out
        assert agrees(out, *products(a, b)) and untouched()


def test_outputs_that_share_bytes_with_an_input_are_refused_and_interleaved_ones_are_not(refused):
    buffer = np.ones((6, 12), np.float32)
    even, odd, b = buffer[:, ::2], buffer[:, 1::2], np.eye(6, dtype=np.float32)

    assert np.array_equal(matmul(even, b, odd), even)
    for out in (even, even.T, buffer[:, 2:8], buffer[::-1, ::2]):
        with refused(ValueError, "out must not overlap a"):
            matmul(even, b, out)
    with refused(ValueError, "out must not overlap b"):
        matmul(b.copy(), even, buffer[:, 1:7])


def test_products_of_random_shapes_and_layouts_agree():
    """A few of those of `make fuzz`."""
    assert [seed for seed in range(400) if not fuzz.check(seed)] == []


@every_dtype
def test_numbers_that_are_none_and_huge_ones_and_denormals_go_where_they_belong(dtype):
    rng, tiny = np.random.default_rng(3), np.finfo(dtype).smallest_subnormal
    a, b = drawn(rng, 5, 30, 20, dtype=dtype), drawn(rng, 5, 20, 50, dtype=dtype)
    a[1, 3, 4], b[2, 7, 40], a[3, 9, 9] = np.nan, np.inf, -np.inf
    a[4], b[4] = np.eye(30, 20) * tiny, 1
    with np.errstate(invalid="ignore"):
        expected = a.astype(float) @ b.astype(float)

    for kinds in itertools.product(("rows", "columns"), repeat=3):
        arrays = (a, b, np.zeros(expected.shape, dtype))
        left, right, out = (laid_out(x, rng, kind)[0] for x, kind in zip(arrays, kinds, strict=True))
        matmul(left, right, out)
        for special in (np.isnan, np.isposinf, np.isneginf):
            assert np.array_equal(special(out), special(expected)), kinds
        assert np.array_equal(out[4], expected[4].astype(dtype))
        assert np.array_equal(matmul(left[4], right[4]), out[4])


@every_dtype
@pytest.mark.parametrize("kinds", [("columns", "rows", "rows"), ("rows", "columns", "rows"), ("rows", "rows", "columns")])
def test_a_matrix_in_columns_and_a_part_of_rows_are_not_copied(dtype, kinds):
    """The room to pack into is no array of NumPy, whose memory tracemalloc counts."""
    rng = np.random.default_rng(4)
    for n in (64, 400):
        arrays = drawn(rng, n, n, dtype=dtype), drawn(rng, n, n, dtype=dtype), np.empty((n, n), dtype)
        for part in ("", "part of "):
            views = [laid_out(x, rng, part + kind)[0] for x, kind in zip(arrays, kinds, strict=True)]
            matmul(*views)
            tracemalloc.start()
            matmul(*views)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < arrays[0].nbytes // 2


def test_stacks_in_rows_and_matrices_in_columns_take_the_short_way(monkeypatch):
    a, b, out = np.ones((7, 8, 9), np.float32), np.ones((7, 9, 10), np.float32), np.empty((7, 8, 10), np.float32)
    calls = [(a, b, out), *((x, y, out[0]) for x in (a[0], a[0].T.copy().T) for y in (b[0], b[0].T.copy().T))]
    for arguments in calls:
        matmul(*arguments)
    monkeypatch.setattr(fast, "_any", lambda *_: pytest.fail("the long way"))

    for arguments in calls:
        arguments[2].fill(0)
        assert np.array_equal(matmul(*arguments), np.full(arguments[2].shape, 9))


def test_rows_of_a_stack_that_meet_one_matrix_are_one_matrix():
    a, b, out = np.ones((6, 5, 4, 3)), np.ones((3, 7)), np.empty((6, 5, 4, 7))

    assert operands(a, b, out).layout[0] == 6 * 5 * 4
    assert operands(a[:, :, :1], b, out[:, :, :1]).layout[0] == 30
    assert operands(a[:, ::2], b, out[:, ::2][:, :3]).stack.tolist() == [[6, 60, 0, 140], [3, 24, 0, 56]]
    assert operands(a, np.ones((6, 5, 3, 7)), out).stack.tolist() == [[30, 12, 21, 28]]


@SEVERAL
@every_dtype
@pytest.mark.parametrize("stack", [(), (2,), (7,), (3, 5)])
def test_threads_share_a_stack_and_take_every_layout(dtype, stack):
    rng = np.random.default_rng(5)
    a, b = drawn(rng, *stack, 71, 66, dtype=dtype), drawn(rng, *stack, 66, 90, dtype=dtype)
    for kinds in itertools.product(("rows", "columns"), repeat=3):
        arrays = (a, b, np.full((*stack, 71, 90), np.nan, dtype))
        views, untouched = zip(*map(laid_out, arrays, [rng] * 3, kinds), strict=True)
        matmul(*views, threads=2)
        assert agrees(views[2], *products(a, b)) and all(check() for check in untouched), kinds


def test_read_only_inputs_of_any_layout_are_read_where_they_lie():
    rng = np.random.default_rng(6)
    for kind in KINDS:
        a, b = (laid_out(drawn(rng, 3, 9, 9), rng, kind)[0] for _ in "ab")
        for x in (a, b):
            x.flags.writeable = False
        assert agrees(matmul(a, b), *products(a, b)) and agrees(matmul(a[0], b[0]), *exact(a[0], b[0]))
