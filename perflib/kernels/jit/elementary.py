"""Functions on whole registers, for compiled code: what softmax and SwiGLU need besides sums and products.

    exp(v)              e^x per lane, relative error below 3e-7; 0 below -87.3, saturates at 2.4e38; NaN stays NaN
    divide(a, b)        a / b per lane
    larger(a, b)        the larger of two, the second where one is NaN
    largest(v)          the largest lane

Source of the polynomial: Cephes, expf (Moshier): e^x = 2^n e^r with n the integer next to x / ln 2.
"""

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from .vector import INT, Vector, emit_fma, vector_of

LOWEST, HIGHEST = -87.33, 88.37  # e^x is a normal number in between
LOG2_E, LN2_HIGH, LN2_LOW = 1.44269504, 0.693359375, -2.12194440e-4
POLYNOMIAL = 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1
INTEGER = 1.5 * 2.0**23  # added to a small integer, its last bits are the integer
BIAS, MANTISSA_BITS = 127, 23


@intrinsic
def exp(typingctx, v):
    """e^x per lane; float32."""
    if not isinstance(v, Vector) or v.element.bitwidth != 32:
        return None
    return v(v), lambda context, builder, signature, args: _exp(builder, args[0])


def _exp(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    vector, whole = x.type, ir.VectorType(INT, x.type.count)

    def every(number: float) -> ir.Constant:
        return ir.Constant(vector, [number] * vector.count)

    def integers(number: int) -> ir.Constant:
        return ir.Constant(whole, [number] * vector.count)

    tiny = builder.fcmp_ordered("<", x, every(LOWEST))
    t = builder.select(tiny, every(LOWEST), x)
    t = builder.select(builder.fcmp_ordered(">", t, every(HIGHEST)), every(HIGHEST), t)
    rint = ir.FunctionType(vector, [vector])
    rint = cgutils.get_or_insert_function(builder.module, rint, f"llvm.rint.v{vector.count}f32")
    n = builder.call(rint, [builder.fmul(t, every(LOG2_E))])
    r = emit_fma(builder, n, every(-LN2_LOW), emit_fma(builder, n, every(-LN2_HIGH), t))
    p = every(POLYNOMIAL[0])
    for coefficient in POLYNOMIAL[1:]:
        p = emit_fma(builder, p, r, every(coefficient))
    p = builder.fadd(emit_fma(builder, builder.fmul(r, r), p, r), every(1.0))
    bits = builder.bitcast(builder.fadd(n, every(INTEGER)), whole)
    power = builder.bitcast(builder.shl(builder.add(bits, integers(BIAS)), integers(MANTISSA_BITS)), vector)
    return builder.select(tiny, every(0.0), builder.fmul(p, power))


@intrinsic
def divide(typingctx, a, b):
    """a / b per lane."""
    if not isinstance(a, Vector) or a != b:
        return None
    return a(a, b), lambda context, builder, signature, args: builder.fdiv(*args)


@intrinsic
def larger(typingctx, a, b):
    """The larger of two per lane."""
    if not isinstance(a, Vector) or a != b:
        return None

    def codegen(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return a(a, b), codegen


@intrinsic
def largest(typingctx, v):
    """The largest lane."""
    if not isinstance(v, Vector):
        return None

    def codegen(context, builder, signature, args):
        found = builder.extract_element(args[0], INT(0))
        for lane in range(1, vector_of(v.element).count):
            other = builder.extract_element(args[0], INT(lane))
            found = builder.select(builder.fcmp_ordered(">", other, found), other, found)
        return found

    return v.element(v), codegen
