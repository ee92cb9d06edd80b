"""The copy that the bandwidth figures rest on, and the walk that tells cold data from warm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import guarded

from perflib.kernels.memory import copy_loop, read_lines


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
