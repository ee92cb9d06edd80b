"""Measure the multiply-add peak of one core by a loop that stays in registers."""

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import emit
from ..jit.compile import compiled
from ..jit.vector import INT, vector_bytes, vector_of, vector_registers

FMA_BLOCK = 256
FMA_PEAK_OPS = 4096 * FMA_BLOCK  # some ten microseconds: far above the cost of the loop around it
"""Multiply-adds come in multiples of this: 16 lanes x 16 chains is the largest step of the loop."""


def _chains() -> int:
    """Independent sums: at least FMA latency times units (4 x 2 on x86), as many as the registers hold."""
    return vector_registers() // 2


def _lanes(itemsize: int, bits: int | None) -> int:
    """Elements of a vector of so many bits, one for a plain number; of a full register for None."""
    return max(1, (8 * vector_bytes() if bits is None else bits) // (8 * itemsize))


@intrinsic(prefer_literal=True)
def _fma_chains(typingctx, factor, steps, bits):
    """Mean over all lanes of v = v * factor + factor, `steps` times on independent vectors; stays in registers."""
    width = None if bits == types.none else bits.literal_value
    vector, chains = ir.VectorType(vector_of(factor).element, _lanes(factor.bitwidth // 8, width)), _chains()

    def codegen(context, builder, signature, args):
        factors = emit.splat(builder, args[0], vector)
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, [float(c)] * vector.count)) for c in range(chains)]
        with cgutils.for_range(builder, args[1]):
            for chain in sums:
                builder.store(emit.fma(builder, builder.load(chain), factors, factors), chain)
        total_ = ir.Constant(vector.element, 0.0)
        for chain in sums:
            value = builder.load(chain)
            for i in range(vector.count):
                total_ = builder.fadd(total_, builder.extract_element(value, INT(i)))
        return builder.fmul(total_, ir.Constant(vector.element, 1.0 / (vector.count * chains)))

    return factor(factor, steps, bits), codegen


def _peak_loop(bits: int | None) -> Callable:
    """Compile the loop for vectors of so many bits: of a full register for None, plain numbers for 0."""

    @compiled
    def fma_peak_steps(half, steps, out):
        out[0] = _fma_chains(half[0], steps, bits)

    return fma_peak_steps


_fma_peak_steps = _peak_loop(None)
WIDTHS = {bits: _peak_loop(bits) for bits in (0, 128, 256, 512)}
"""A width that the registers do not have is made of several; only those up to vector_bytes() say something."""


def fma_peak(half: np.ndarray, steps: int, out: np.ndarray) -> np.ndarray:
    """Run `steps` rounds of independent multiply-adds v = v / 2 + 1 / 2, which converge to 1; out[0] is their mean.

    half: [0.5] in the dtype to test, out: one element. One step is vector_lanes(dtype) times 8 or 16 chains.
    """
    _fma_peak_steps(half, steps, out)
    return out


def fma_steps(multiply_adds: int, dtype: np.dtype | type | str, bits: int | None = None) -> int:
    """Steps of the loop that make this many multiply-adds, a multiple of FMA_BLOCK; a full register's if bits is None."""
    if multiply_adds % FMA_BLOCK:
        raise ValueError(f"multiply_adds must be a multiple of {FMA_BLOCK}, got {multiply_adds}")
    return multiply_adds // (_lanes(np.dtype(dtype).itemsize, bits) * _chains())
