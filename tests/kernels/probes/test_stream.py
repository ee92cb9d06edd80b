"""Reads, writes and copies that the bandwidth figures rest on: all of it, once, and nothing beside it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import guarded

from perflib.kernels import KERNELS, aligned_empty, find
from perflib.kernels.probes import stream as memory
from perflib.kernels.probes.stream import copy_loop, read_lines

SIZES = (0, 1, 3, 15, 16, 17, 127, 128, 129, 1000)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@every_dtype
@pytest.mark.parametrize("streams", memory.STREAMS)
def test_every_element_is_read_once_whatever_the_streams(dtype, streams):
    for n in SIZES:
        x, _ = guarded(np.random.default_rng(n).integers(-9, 9, n).astype(dtype))

        assert memory.read(x, streams) == x.sum()


@every_dtype
@pytest.mark.parametrize("suffix", ["", "_nt"])
def test_all_of_the_output_is_written_and_nothing_beside_it(dtype, suffix):
    for n in SIZES:
        (b, b_untouched), (c, c_untouched) = (guarded(np.arange(n).astype(dtype) + shift) for shift in (0, 9))
        block = aligned_empty(n + 64, dtype)
        out = block[:n]
        for call, args, expected in (
            (getattr(memory, f"write{suffix}"), (2.5,), np.full(n, 2.5)),
            (getattr(memory, f"copy{suffix}"), (b,), b),
            (getattr(memory, f"triad{suffix}"), (b, c), b + 3 * c),
        ):
            block[...] = -1

            returned = call(*args, out)

            assert returned is out
            assert np.array_equal(out, expected)
            assert (block[n:] == -1).all()
        assert b_untouched()
        assert c_untouched()


@given(n=st.integers(0, 300), stride=st.integers(1, 40))
def test_every_stride_th_element_is_read(n, stride):
    x = np.arange(n, dtype=np.float64)

    assert memory.strided_read(x, stride) == x[::stride].sum()


@pytest.mark.parametrize(
    ("call", "args", "words"),
    [
        (memory.read, (np.zeros(8), 3), ("streams must be one of 1, 2, 4, 8", "got 3")),
        (memory.strided_read, (np.zeros(8), 0), ("stride must be at least 1", "got 0")),
        (memory.copy, (np.zeros(8), np.zeros(9)), ("out must have length 8", "got 9")),
        (memory.triad, (np.zeros(8), np.zeros(7), np.zeros(8)), ("c must have length 8", "got 7")),
        (memory.copy_nt, (np.zeros(8), aligned_empty(9, "float64")[1:]), ("out must start on a boundary of 64 bytes",)),
        (memory.write, (1.0, np.broadcast_to(np.zeros(()), 8)), ("out must be C-contiguous",)),
    ],
)
def test_arguments_that_do_not_fit_are_refused(refused, call, args, words):
    with refused(ValueError, *words):
        call(*args)


def test_counted_bytes_are_those_of_stream_and_moved_ones_have_the_write_allocate():
    counted = {name: KERNELS[name].bytes(10, 4) for name in KERNELS if name.startswith("memory_") and KERNELS[name].moved}
    moved = {name: KERNELS[name].moved(10, 4) for name in counted}

    assert (counted["memory_read"], counted["memory_copy"], counted["memory_triad"]) == (40, 80, 120)
    assert (moved["memory_read"], moved["memory_copy"], moved["memory_triad"]) == (40, 120, 160)
    assert [name for name in counted if name.endswith("_nt") and counted[name] != moved[name]] == []
    assert find("memory_strided_read").bytes(10, 8, stride=4) == 24


@pytest.mark.parametrize("name", [name for name in KERNELS if name.startswith("memory_")])
def test_what_others_left_in_the_arena_is_replaced_before_a_batch(name):
    kernel = KERNELS[name]
    args = kernel.make(500, "float32", np.random.default_rng(0), **kernel.params)
    expected = kernel.exact(*args)[0]
    other = find("memory_triad").make(3000, "float32", np.random.default_rng(0), page_kib=kernel.params["page_kib"])
    other[2][...] = 1e30

    kernel.prepare(*args)

    assert np.array_equal(kernel.exact(*args)[0], expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(n=st.integers(0, 200))
def test_a_copy_is_equal_and_stays_inside(dtype, n):
    (x, x_untouched), (out, out_untouched) = guarded(np.arange(n, dtype=dtype)), guarded(np.full(n, np.nan, dtype))

    returned = copy_loop(x, out)

    assert returned is out
    assert np.array_equal(out, np.arange(n))
    assert x_untouched()
    assert out_untouched()


def test_a_copy_keeps_every_bit():
    x = np.array([np.nan, -np.inf, -0.0, 5e-324])

    assert copy_loop(x, np.empty(4)).tobytes() == x.tobytes()


@given(n=st.integers(0, 1000))
def test_one_byte_of_every_line_is_read(n):
    memory = np.arange(n).astype(np.uint8)

    assert read_lines(memory) == sum(i % 256 for i in range(0, n, 64))


def test_lines_are_read_from_bytes(refused):
    with refused(TypeError, "memory must be uint8, got float32"):
        read_lines(np.zeros(64, np.float32))
