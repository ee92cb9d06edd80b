"""Compute exp, division and maximum on whole registers, which softmax and SwiGLU need; for compiled code only.

Source of the polynomial: Cephes, expf (Moshier): e^x = 2^n e^r with n the integer next to x / ln 2.
"""

from functools import partial

from llvmlite import ir
from numba.extending import intrinsic

from . import emit
from .simd import lanewise
from .vector import INT, Vector

LOWEST, HIGHEST = -87.33, 88.37  # e^x is a normal number in between
LOG2_E, LN2_HIGH, LN2_LOW = 1.44269504, 0.693359375, -2.12194440e-4
POLYNOMIAL = 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1
INTEGER = 1.5 * 2.0**23  # added to a small integer, its last bits are the integer
BIAS, MANTISSA_BITS = 127, 23


@lanewise
def exp(builder, x):
    """e^x per lane; float32."""
    vector, whole = x.type, ir.VectorType(INT, x.type.count)
    if vector.element != ir.FloatType():
        raise TypeError(f"exp must have float32, got {vector.element}")
    every, integers = partial(emit.constant, vector), partial(emit.constant, whole)
    tiny = builder.fcmp_ordered("<", x, every(LOWEST))
    t = builder.select(tiny, every(LOWEST), x)
    t = builder.select(builder.fcmp_ordered(">", t, every(HIGHEST)), every(HIGHEST), t)
    n = emit.call(builder, f"llvm.rint.v{vector.count}f32", vector, builder.fmul(t, every(LOG2_E)))
    r = emit.fma(builder, n, every(-LN2_LOW), emit.fma(builder, n, every(-LN2_HIGH), t))
    p = every(POLYNOMIAL[0])
    for coefficient in POLYNOMIAL[1:]:
        p = emit.fma(builder, p, r, every(coefficient))
    p = builder.fadd(emit.fma(builder, builder.fmul(r, r), p, r), every(1.0))
    bits = builder.bitcast(builder.fadd(n, every(INTEGER)), whole)
    power = builder.bitcast(builder.shl(builder.add(bits, integers(BIAS)), integers(MANTISSA_BITS)), vector)
    return builder.select(tiny, every(0.0), builder.fmul(p, power))


@lanewise
def divide(builder, a, b):
    """a / b per lane."""
    return builder.fdiv(a, b)


@lanewise
def larger(builder, a, b):
    """The larger of two per lane."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@intrinsic
def largest(typingctx, v):
    """The largest lane."""
    if not isinstance(v, Vector):
        return None

    def codegen(context, builder, signature, args):
        most = builder.extract_element(args[0], INT(0))
        for lane in range(1, v.lanes):
            other = builder.extract_element(args[0], INT(lane))
            most = builder.select(builder.fcmp_ordered(">", other, most), other, most)
        return most

    return v.element(v), codegen
