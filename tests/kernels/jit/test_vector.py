"""Registers of processors that the tests do not run on: what an architecture has is given, listed or not."""

import pytest

from perflib.kernels.gemm import microkernel
from perflib.kernels.jit import vector
from perflib.kernels.jit.vector import vector_bytes, vector_lanes, vector_registers


@pytest.fixture
def processor(monkeypatch):
    """`processor(machine, features)`: what Python and LLVM say of a processor."""

    def describe(machine, features):
        monkeypatch.setattr(vector.platform, "machine", lambda: machine)
        monkeypatch.setattr(vector.config, "CPU_FEATURES", features)
        vector._features.cache_clear()

    yield describe
    vector._features.cache_clear()


@pytest.mark.parametrize("spelling", ["aarch64", "arm64", "ARM64"])
@pytest.mark.parametrize("features", ["", "+neon,+fp-armv8", "+sve"])
def test_a_64_bit_arm_has_neon_listed_or_not(processor, spelling, features):
    processor(spelling, features)

    assert (vector_bytes(), vector_registers(), vector_lanes("float32")) == (16, 32, 4)
    assert microkernel.register_tile("float32") == (8, 12)


@pytest.mark.parametrize("spelling", ["x86_64", "AMD64"])
def test_an_x86_64_has_sse2_listed_or_not(processor, spelling):
    processor(spelling, "")

    assert (vector_bytes(), vector_registers()) == (16, 16)


def test_features_that_a_user_takes_away_are_not_used(processor):
    processor("aarch64", "-neon")

    assert (vector_bytes(), vector_registers()) == (0, 16)


def test_unknown_registers_give_small_tiles_of_short_vectors(processor):
    """Single numbers across a panel of 32 compile for minutes."""
    processor("riscv64", "")

    assert (vector_bytes(), vector_lanes("float32"), vector_lanes("float64")) == (0, 4, 2)
    assert microkernel.register_tile("float32") == (4, 4)
