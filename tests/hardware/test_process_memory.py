"""Resident memory: grows with what is touched, and a peak is one since its mark."""

import math
import sys

import numpy as np
import pytest

from perflib.hardware import process_memory

BYTES = 200 << 20

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@linux
def test_memory_that_is_touched_is_resident_and_is_given_back():
    before = process_memory.resident_bytes()

    held = np.ones(BYTES, np.uint8)
    with_it = process_memory.resident_bytes()
    del held

    assert with_it - before > 0.9 * BYTES
    assert process_memory.resident_bytes() < with_it - 0.9 * BYTES


@linux
def test_a_peak_is_the_most_inside_it_and_not_what_was_before():
    np.ones(2 * BYTES, np.uint8)
    before = process_memory.resident_bytes()

    with process_memory.peak() as most:
        np.ones(BYTES, np.uint8)

    assert 0.9 * BYTES < most.bytes - before < 1.5 * BYTES


def test_where_the_system_does_not_tell_it_is_not_a_number(monkeypatch, tmp_path):
    monkeypatch.setattr(process_memory, "PROCESS", tmp_path / "none")

    with process_memory.peak() as most:
        pass

    assert math.isnan(most.bytes) and math.isnan(process_memory.resident_bytes())
