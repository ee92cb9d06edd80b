"""Code that other machines have instructions for, and this one may not run elsewhere."""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from perflib.kernels.jit import emit

WHOLE, HALVES = ir.VectorType(ir.IntType(32), 4), ir.VectorType(ir.IntType(16), 8)


@intrinsic
def _sums(context, a, b, out):
    """Addresses of eight 16-bit numbers, eight more and four sums."""

    def generate(context, builder, signature, args):
        factors = [builder.load(builder.inttoptr(at, HALVES.as_pointer()), align=2) for at in args[:2]]
        sums = emit._products_of_halves(builder, WHOLE, *factors)
        builder.store(sums, builder.inttoptr(args[2], WHOLE.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def test_pairs_of_products_are_added_where_no_instruction_does_it(monkeypatch):
    monkeypatch.setattr(emit, "pair_product", lambda: None)
    a, b = np.random.default_rng(0).integers(-(2**15) + 1, 2**15, (2, 8), np.int16)
    out = np.zeros(4, np.int32)

    njit(lambda a, b, out: _sums(a, b, out))(a.ctypes.data, b.ctypes.data, out.ctypes.data)

    products = a.astype(np.int64) * b
    assert out.tolist() == (products[::2] + products[1::2]).tolist()
