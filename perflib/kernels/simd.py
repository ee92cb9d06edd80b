"""Explicit vector code: what the host's registers hold, and how many multiply-adds they do at most.

    vector_lanes(dtype)     elements per vector register of this machine
    fma_peak(out)           a register-only multiply-add loop: its rate is the machine's peak, per dtype

LLVM prefers 256-bit code on many 512-bit machines; vectors that are declared, as here, get the full width.
"""

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from .compile import compiled

__all__ = ["FMA_BLOCK", "fma_peak", "vector_lanes"]

FMA_BLOCK = 256
"""Multiply-adds come in multiples of this: 16 lanes x 16 chains is the largest step of the loop."""


def _features() -> dict[str, bool]:
    if config.CPU_FEATURES is not None:
        return {f[1:]: f[0] == "+" for f in config.CPU_FEATURES.split(",") if f}
    return dict(binding.get_host_cpu_features())


def _vector_bytes() -> int:
    features = _features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx") else 16


def _chains() -> int:
    """Independent sums: at least FMA latency times units (4 x 2 on x86), as many as the registers hold."""
    features = _features()
    return 16 if features.get("avx512f") or features.get("neon") else 8


def vector_lanes(dtype: np.dtype | type | str) -> int:
    """Elements of `dtype` in one vector register of this machine."""
    return _vector_bytes() // np.dtype(dtype).itemsize


@intrinsic
def _fma_chains(typingctx, factor, steps):
    """Mean over all lanes of v = v * factor + factor, `steps` times on independent vectors; stays in registers."""
    scalar = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}[factor]
    lanes, chains = _vector_bytes() * 8 // factor.bitwidth, _chains()
    vector = ir.VectorType(scalar, lanes)

    def codegen(context, builder, signature, args):
        factor_value, steps_value = args
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{lanes}f{factor.bitwidth}"
        )
        lane = ir.Constant(ir.IntType(32), 0)
        zero = ir.Constant(vector, [0.0] * lanes)
        one = builder.insert_element(zero, factor_value, lane)
        factors = builder.shuffle_vector(one, zero, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))
        sums = [cgutils.alloca_once_value(builder, ir.Constant(vector, [float(c)] * lanes)) for c in range(chains)]
        with cgutils.for_range(builder, steps_value):
            for chain in sums:
                builder.store(builder.call(fma, [builder.load(chain), factors, factors]), chain)
        total = ir.Constant(scalar, 0.0)
        for chain in sums:
            value = builder.load(chain)
            for i in range(lanes):
                total = builder.fadd(total, builder.extract_element(value, ir.Constant(ir.IntType(32), i)))
        return builder.fmul(total, ir.Constant(scalar, 1.0 / (lanes * chains)))

    return factor(factor, steps), codegen


@compiled
def _fma_peak_steps(half, steps, out):
    out[0] = _fma_chains(half[0], steps)


def fma_peak(half: np.ndarray, steps: int, out: np.ndarray) -> np.ndarray:
    """Run `steps` rounds of independent multiply-adds v = v / 2 + 1 / 2, which converge to 1; out[0] is their mean.

    half: [0.5] in the dtype to test, out: one element. One step is vector_lanes(dtype) times 8 or 16 chains.
    """
    _fma_peak_steps(half, steps, out)
    return out


def fma_steps(multiply_adds: int, dtype: np.dtype | type | str) -> int:
    """Steps of `fma_peak` that make this many multiply-adds, a multiple of FMA_BLOCK."""
    if multiply_adds % FMA_BLOCK:
        raise ValueError(f"multiply_adds must be a multiple of {FMA_BLOCK}, got {multiply_adds}")
    return multiply_adds // (vector_lanes(dtype) * _chains())
