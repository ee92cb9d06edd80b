"""What a vector register of this machine is, for Python and for LLVM.

    vector_bytes()              width of a register, 0 where there is none worth using
    vector_lanes(dtype)         elements per register, at least 1
    vector_registers()          how many there are
    Vector                      Numba's type of a full register of float32 or float64
    vector_of, emit_...         the same for whoever writes an intrinsic: LLVM's type, one function per instruction

Widths follow NUMBA_CPU_NAME and NUMBA_CPU_FEATURES where these are set, as all of Numba does.
"""

from functools import cache

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.core.datamodel import PrimitiveModel
from numba.extending import register_model

INT = ir.IntType(32)
BYTE = ir.IntType(8)


@cache  # LLVM takes a millisecond to tell; Numba reads its settings once
def _features() -> dict[str, bool]:
    features = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
    return {name[1:]: name[0] == "+" for name in features.split(",") if name}


def vector_bytes() -> int:
    """64, 32 or 16: what one register of this machine holds; 0 where kernels should use plain loops."""
    features = _features()
    if features.get("avx512f"):
        return 64
    if features.get("avx2") and features.get("fma"):
        return 32
    return 16 if features.get("sse2") or features.get("neon") else 0


def vector_registers() -> int:
    """Architectural vector registers: 32 with AVX-512 and on AArch64, else 16."""
    features = _features()
    return 32 if features.get("avx512f") or features.get("neon") else 16


def vector_lanes(dtype: np.dtype | type | str) -> int:
    """Elements of `dtype` in one vector register of this machine, 1 where it has none."""
    return max(1, vector_bytes() // np.dtype(dtype).itemsize)


class Vector(types.Type):
    """As many elements of one floating-point type as a register holds."""

    def __init__(self, element: types.Float) -> None:
        self.element, self.lanes = element, max(1, vector_bytes() * 8 // element.bitwidth)
        super().__init__(f"Vector({element}, {self.lanes})")


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager, fe_type) -> None:
        super().__init__(manager, fe_type, vector_of(fe_type.element))


def vector_of(element: types.Float) -> ir.VectorType:
    """The LLVM type of a full vector of Numba's float32 or float64."""
    scalar = ir.FloatType() if element == types.float32 else ir.DoubleType()
    return ir.VectorType(scalar, Vector(element).lanes)


def constant(vector: ir.VectorType, number: float) -> ir.Constant:
    """`number` in every lane."""
    return ir.Constant(vector, [number] * vector.count)


def emit_call(builder: ir.IRBuilder, name: str, result: ir.Type, *args: ir.Value, fastmath: tuple = ()) -> ir.Value:
    """Call an LLVM intrinsic by its full name."""
    kind = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args, fastmath=fastmath)


def _suffix(vector: ir.VectorType) -> str:
    """v16f32 and the like: how LLVM's intrinsics name their vectors."""
    return f"v{vector.count}f{32 if vector.element == ir.FloatType() else 64}"


def emit_fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a b + c, fused where the machine can, else a product and a sum."""
    return emit_call(builder, f"llvm.fmuladd.{_suffix(a.type)}", a.type, a, b, c)


def emit_splat(builder: ir.IRBuilder, value: ir.Value, vector: ir.VectorType) -> ir.Value:
    """`value` in every lane."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, INT(0))
    return builder.shuffle_vector(
        one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(INT, vector.count), None)
    )


def emit_load(builder: ir.IRBuilder, address: ir.Value, vector: ir.VectorType, mask: ir.Value | None = None) -> ir.Value:
    """Lanes from `address`, aligned to their elements; with a mask only those that it names, zero elsewhere."""
    where = builder.bitcast(address, vector.as_pointer())
    if mask is None:
        return builder.load(where, align=lane_bytes(vector))
    name = f"llvm.masked.load.{_suffix(vector)}.p0"
    return emit_call(builder, name, vector, where, INT(lane_bytes(vector)), mask, ir.Constant(vector, None))


def emit_store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value, mask: ir.Value | None = None) -> None:
    """The inverse of `emit_load`."""
    where = builder.bitcast(address, value.type.as_pointer())
    if mask is None:
        builder.store(value, where, align=lane_bytes(value.type))
    else:
        name = f"llvm.masked.store.{_suffix(value.type)}.p0"
        emit_call(builder, name, ir.VoidType(), value, where, INT(lane_bytes(value.type)), mask)


def emit_mask(builder: ir.IRBuilder, count: ir.Value, lanes: int) -> ir.Value:
    """The mask of the first `count` lanes; none where count <= 0, all where count >= lanes."""
    numbers, most = ir.VectorType(INT, lanes), count.type(lanes)
    few = builder.select(builder.icmp_signed("<", count, most), count, most)  # 32 bits hold it: one compare, not two
    return builder.icmp_signed(
        "<", ir.Constant(numbers, list(range(lanes))), emit_splat(builder, builder.trunc(few, INT), numbers)
    )


def emit_prefetch(builder: ir.IRBuilder, address: ir.Value, write: bool = False, locality: int = 3) -> None:
    """Ask for the line of `address`; locality 3 is for every cache level, 0 for data used once."""
    where = builder.bitcast(address, BYTE.as_pointer())
    emit_call(builder, "llvm.prefetch.p0", ir.VoidType(), where, INT(int(write)), INT(locality), INT(1))


def emit_sum(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Sum of the lanes, in pairs."""
    scalar, name = value.type.element, f"llvm.vector.reduce.fadd.{_suffix(value.type)}"
    return emit_call(builder, name, scalar, ir.Constant(scalar, -0.0), value, fastmath=("reassoc",))


def lane_bytes(vector: ir.VectorType) -> int:
    """Bytes of one lane."""
    return 4 if vector.element == ir.FloatType() else 8
