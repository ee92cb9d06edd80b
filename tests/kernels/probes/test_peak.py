"""The multiply-add peak: right, of the full width, and never out of its registers."""

import re

import numpy as np
import pytest
from numba import njit

from perflib.hardware.facts import machine
from perflib.kernels.jit.assembly import count_instructions
from perflib.kernels.jit.vector import vector_lanes, vector_registers
from perflib.kernels.probes import peak

every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
needs_fma = pytest.mark.skipif(
    not {"fma", "neon"} & set(machine().isa), reason="this CPU has no fused multiply-add instructions"
)


def peak_args(dtype, steps):
    return np.full(1, 0.5, dtype), steps, np.full(1, np.nan, dtype)


@every_dtype
def test_the_mean_of_the_chains_converges_to_one(dtype):
    args = peak_args(dtype, 100)

    result = peak.fma_peak(*args)

    assert result is args[2]
    assert abs(result[0] - 1) < 1e-6


@every_dtype
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_every_chain_takes_every_step(dtype, steps):
    """v = v / 2 + 1 / 2 halves the distance of chain c, which starts at c, to 1; only lane 0 of a chain counts if fewer."""
    chains = vector_registers() // 2

    result = peak.fma_peak(*peak_args(dtype, steps))

    distance = sum(c - 1 for c in range(chains)) / chains
    assert result[0] == pytest.approx(1 + distance / 2**steps, rel=1e-6)


@every_dtype
def test_steps_times_lanes_times_chains_are_the_multiply_adds(dtype):
    steps = peak.fma_steps(10 * peak.FMA_BLOCK, dtype)

    assert steps * vector_lanes(dtype) * vector_registers() // 2 == 10 * peak.FMA_BLOCK


@pytest.mark.parametrize("bad", [1, peak.FMA_BLOCK - 1, peak.FMA_BLOCK + 1])
def test_multiply_adds_come_in_blocks(refused, bad):
    with refused(ValueError, f"multiply_adds must be a multiple of {peak.FMA_BLOCK}", f"got {bad}"):
        peak.fma_steps(bad, "float32")


@needs_fma
@every_dtype
def test_the_peak_loop_is_packed_multiply_adds_of_the_full_width(dtype):
    counts = count_instructions(peak._fma_peak_steps, *peak_args(dtype, 3))

    assert counts["packed_fma"] >= vector_registers() // 2
    assert counts["scalar_fma"] == counts["gathers"] == 0
    assert counts["vector_bits"] == 8 * vector_lanes(dtype) * np.dtype(dtype).itemsize


@needs_fma
@every_dtype
def test_the_peak_loop_stays_in_registers(dtype):
    """Between the first and the last multiply-add no vector goes through the stack; numbers that count turns may."""
    fresh = njit(error_model="numpy")(peak._fma_peak_steps.py_func)
    fresh(*peak_args(dtype, 3))

    lines = fresh.inspect_asm(fresh.nopython_signatures[0].args).splitlines()

    loop = [i for i, line in enumerate(lines) if re.search(r"\bvfn?madd\d+p[sd]|\bfmla\s+v", line)]
    assert len(loop) >= vector_registers() // 2
    vectors = [line for line in lines[loop[0] : loop[-1] + 1] if re.search(r"%[xyz]mm|\b[qv]\d", line)]
    assert len(vectors) >= len(loop)
    assert not [line for line in vectors if re.search(r"\([^)]*%r[sb]p|\[sp", line)]
