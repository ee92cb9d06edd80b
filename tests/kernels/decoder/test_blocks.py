"""Products of weights that stay in a file's blocks, against what the public package reads in the same bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quants import EPS, SIZES, drawn_rows, meant, product
from reference import agrees, guarded

from perflib.kernels.decoder.blocks import FORMATS, Blocks
from perflib.kernels.decoder.linear import _linear, _linear_part, matvec
from perflib.kernels.decoder.panels import pack, pack_together
from perflib.llm.decoder import widen

pytest.importorskip("gguf", reason="needs the package gguf")

every_kind = pytest.mark.parametrize("kind", FORMATS)


def vectors(m, k, seed=1):
    """Blocks of sizes that differ, with some large numbers among small ones."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((m, k)) * np.exp(3 * rng.standard_normal((m, 1)) + rng.standard_normal(k))).astype(
        np.float32
    )


@settings(max_examples=80)
@given(
    kind=st.sampled_from(list(FORMATS)),
    m=st.sampled_from([1, 1, 1, 2, 3, 4, 7, 12, 13, 29]),
    n=st.integers(1, 150),
    count=st.integers(1, 5),
    add=st.booleans(),
    threads=st.sampled_from([1, 1, 2]),
    seed=st.integers(0, 1 << 16),
)
def test_any_product_agrees_within_the_bound_and_inside_the_arrays(kind, m, n, count, add, threads, seed):
    k = count * SIZES[kind][0]
    data, x, before = drawn_rows(kind, n, k, seed), vectors(m, k, seed), vectors(m, n, 2)
    (x_in, x_kept), (out, kept) = guarded(x), guarded(before)

    _linear(pack(Blocks(kind, k, data)).data, x_in, out, add, threads)

    exact, bound = product(kind, data, x)
    exact, bound = (exact + before, bound + 2 * EPS * abs(before)) if add else (exact, bound)
    assert agrees(out, exact, bound)
    assert x_kept()
    assert kept()


@every_kind
@pytest.mark.parametrize("m", [1, 13])
def test_a_product_is_as_near_to_the_oracle_as_float32(kind, m):
    """As layers are: 768 inputs, numbers of one size."""
    data, x = drawn_rows(kind, 100, 768), np.random.default_rng(1).standard_normal((m, 768)).astype(np.float32)

    result = matvec(pack(Blocks(kind, 768, data)), x)

    exact = x.astype(np.float64) @ meant(kind, data).astype(np.float64).T
    assert abs(result - exact).max() <= 1e-6 * abs(exact).max()


@every_kind
def test_blocks_are_widened_to_what_the_package_reads(kind):
    data = drawn_rows(kind, 45, 512, size=3.0)

    assert np.array_equal(widen(Blocks(kind, 512, data)), meant(kind, data))


@every_kind
@pytest.mark.parametrize("half", [6e-8, -3e-5, 60000.0])
def test_float16_of_every_size_is_widened_exactly(kind, half):
    data = drawn_rows(kind, 3, 256).reshape(3, -1, FORMATS[kind].bytes)
    for place in FORMATS[kind].halves:
        data[:, :, place : place + 2] = np.float16([half]).view(np.uint8)
    data = data.reshape(3, -1)

    assert np.array_equal(widen(Blocks(kind, 256, data)), meant(kind, data))


@every_kind
def test_panels_have_as_many_bytes_as_the_file(kind):
    data = drawn_rows(kind, 96, 512)

    panels = pack(Blocks(kind, 512, data))

    assert (panels.kind, panels.nbytes, panels.rows, panels.columns) == (kind, data.nbytes, 96, 512)


@every_kind
def test_weights_of_one_kind_lie_one_after_the_other(kind):
    parts = [drawn_rows(kind, rows, 256, seed) for seed, rows in enumerate([45, 3, 70])]
    x = vectors(2, 256)

    together = pack_together([Blocks(kind, 256, part) for part in parts])

    assert together.rows == 118
    assert np.array_equal(matvec(together, x), np.hstack([matvec(pack(Blocks(kind, 256, part)), x) for part in parts]))


def test_large_weights_are_packed_by_threads_as_by_one():
    """Several megabytes, whose threads meet within a panel."""
    data = drawn_rows("Q4_K", 2011, 4096)

    panels = pack(Blocks("Q4_K", 4096, data))

    rows = np.concatenate([pack(Blocks("Q4_K", 4096, part)).data[: len(part) // 32] for part in np.split(data[:1984], 31)])
    assert np.array_equal(panels.data[:62], rows.reshape(62, 16))
    assert agrees(matvec(panels, x := vectors(1, 4096)), *product("Q4_K", data, x))


@pytest.mark.parametrize("m", [1, 3])
def test_a_part_fills_its_columns_and_those_after_it_follow(m):
    kinds, x = ("Q4_K", "Q6_K", "Q8_0"), vectors(m, 512)
    parts = [(kind, drawn_rows(kind, rows, 512)) for kind, rows in zip(kinds, (50, 17, 33), strict=True)]
    out, kept = guarded(np.full((m, 100), np.nan, np.float32))

    column = 0
    for kind, data in parts:
        _linear_part(pack(Blocks(kind, 512, data)).data, x, out, column, False, 1)
        column += len(data)

    exact, bound = (np.hstack(both) for both in zip(*(product(*part, x) for part in parts), strict=True))
    assert agrees(out, exact, bound)
    assert kept()


@every_kind
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_in_one_vector_stays_there(kind, value):
    x = vectors(14, 512)
    x[3, 300] = value
    panels = pack(Blocks(kind, 512, drawn_rows(kind, 50, 512)))

    result = matvec(panels, x)

    assert not np.isfinite(result[3]).any()
    assert np.isfinite(np.delete(result, 3, axis=0)).all()
    assert not np.isfinite(matvec(panels, x[3])).any()


@every_kind
@pytest.mark.parametrize("exponent", [-60, -20, 20, 60])
def test_a_vector_of_another_size_gives_the_same_digits(kind, exponent):
    panels, x = pack(Blocks(kind, 256, drawn_rows(kind, 40, 256))), vectors(2, 256)

    assert np.array_equal(matvec(panels, x * np.float32(2.0**exponent)), matvec(panels, x) * np.float32(2.0**exponent))


@pytest.mark.parametrize(
    ("kind", "columns", "shape", "dtype", "error", "words"),
    [
        ("Q5_0", 32, (2, 22), np.uint8, ValueError, ("kind", "Q4_0, Q4_1, Q8_0, Q4_K, Q6_K", "'Q5_0'")),
        ("Q4_0", 64, (2, 18), np.uint8, ValueError, ("data", "rows of 36 bytes, 64 columns of Q4_0", "(2, 18)")),
        ("Q4_K", 256, (144,), np.uint8, ValueError, ("data", "rows of 144 bytes", "(144,)")),
        ("Q4_0", 32, (2, 18), np.int8, TypeError, ("data", "uint8", "int8")),
    ],
)
def test_bytes_that_are_no_blocks_are_refused(refused, kind, columns, shape, dtype, error, words):
    with refused(error, *words):
        Blocks(kind, columns, np.zeros(shape, dtype))
