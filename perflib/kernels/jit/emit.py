"""Emit LLVM instructions on vectors, one function each, for the authors of intrinsics.

`simd`, `elementary` and the micro-kernels build all their vector operations from these.
"""

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils

from .vector import BYTE, INT, has_vnni, pair_product, vector_bytes

NATIVE_MASKS = 32
"""Bytes of the shortest vectors that have masked loads and stores, those of AVX2."""


def constant(vector: ir.VectorType, number: float) -> ir.Constant:
    """`number` in every lane."""
    return ir.Constant(vector, [number] * vector.count)


def call(builder: ir.IRBuilder, name: str, result: ir.Type, *args: ir.Value, fastmath: tuple = ()) -> ir.Value:
    """Call an LLVM intrinsic by its full name."""
    kind = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args, fastmath=fastmath)


def _suffix(vector: ir.VectorType) -> str:
    """v16f32 and the like: how LLVM's intrinsics name their vectors."""
    return f"v{vector.count}f{32 if vector.element == ir.FloatType() else 64}"


def fma(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a b + c, fused where the machine can, else a product and a sum."""
    return call(builder, f"llvm.fmuladd.{_suffix(a.type)}", a.type, a, b, c)


def splat(builder: ir.IRBuilder, value: ir.Value, vector: ir.VectorType) -> ir.Value:
    """`value` in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, value, INT(0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(INT, vector.count), None))


def load(builder: ir.IRBuilder, address: ir.Value, vector: ir.VectorType, mask: ir.Value | None = None) -> ir.Value:
    """Lanes from `address`, aligned to their elements; with a mask only those that it names, zero elsewhere."""
    where = builder.bitcast(address, vector.as_pointer())
    if mask is None:
        return builder.load(where, align=lane_bytes(vector))
    name, align = f"llvm.masked.load.{_suffix(vector)}.p0", INT(lane_bytes(vector))
    if vector_bytes() < NATIVE_MASKS:
        return _call_apart(builder, name, vector, (where, mask), lambda p, m: (p, align, m, ir.Constant(vector, None)))
    return call(builder, name, vector, where, align, mask, ir.Constant(vector, None))


def store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value, mask: ir.Value | None = None) -> None:
    """The inverse of `load`."""
    where = builder.bitcast(address, value.type.as_pointer())
    if mask is None:
        builder.store(value, where, align=lane_bytes(value.type))
    else:
        name, align = f"llvm.masked.store.{_suffix(value.type)}.p0", INT(lane_bytes(value.type))
        if vector_bytes() < NATIVE_MASKS:
            _call_apart(builder, name, ir.VoidType(), (value, where, mask), lambda v, p, m: (v, p, align, m))
        else:
            call(builder, name, ir.VoidType(), value, where, align, mask)


def _call_apart(builder: ir.IRBuilder, name: str, result: ir.Type, args: tuple, order: Callable[..., tuple]) -> ir.Value:
    """Call an LLVM intrinsic inside a function of its own, where it is many instructions: a branch for each lane.

    `order` makes the intrinsic's arguments of `args`. Inlined at every edge of every tile, they compile for half a minute.
    """
    module, own = builder.module, f"perflib.{name}"
    if own not in module.globals:
        function = ir.Function(module, ir.FunctionType(result, [a.type for a in args]), own)
        function.linkage = "internal"
        function.attributes.add("noinline")
        inner = ir.IRBuilder(function.append_basic_block("entry"))
        answer = call(inner, name, result, *order(*function.args))
        inner.ret_void() if isinstance(result, ir.VoidType) else inner.ret(answer)
    return builder.call(module.globals[own], args)


def mask(builder: ir.IRBuilder, count: ir.Value, lanes: int) -> ir.Value:
    """The mask of the first `count` lanes; none where count <= 0, all where count >= lanes."""
    numbers, most = ir.VectorType(INT, lanes), count.type(lanes)
    few = builder.select(builder.icmp_signed("<", count, most), count, most)  # 32 bits hold it: one compare, not two
    few = splat(builder, builder.trunc(few, INT), numbers)
    return builder.icmp_signed("<", ir.Constant(numbers, list(range(lanes))), few)


def prefetch(builder: ir.IRBuilder, address: ir.Value, write: bool = False, locality: int = 3) -> None:
    """Ask for the line of `address`; locality 3 is for every cache level, 0 for data used once."""
    where = builder.bitcast(address, BYTE.as_pointer())
    call(builder, "llvm.prefetch.p0", ir.VoidType(), where, INT(int(write)), INT(locality), INT(1))


def total(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Sum of the lanes, in pairs."""
    scalar, name = value.type.element, f"llvm.vector.reduce.fadd.{_suffix(value.type)}"
    return call(builder, name, scalar, ir.Constant(scalar, -0.0), value, fastmath=("reassoc",))


def transposed(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """The columns of a square of as many vectors as each has lanes: halves change places, then quarters, down to lanes."""
    count = len(rows)
    lanes, step = range(count), count // 2
    while step:
        lower = [lane if lane & step == 0 else count + lane - step for lane in lanes]
        upper = [lane + step if lane & step == 0 else count + lane for lane in lanes]
        for i in (i for i in lanes if i & step == 0):
            pair = rows[i], rows[i + step]
            for place, order in ((i, lower), (i + step, upper)):
                rows[place] = builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(INT, count), order))
        step //= 2
    return rows


def lane_bytes(vector: ir.VectorType) -> int:
    """Bytes of one lane."""
    return 4 if vector.element in (ir.FloatType(), INT) else 8


def add_dot4(builder: ir.IRBuilder, unsigned: ir.Value, signed: ir.Value, sum_: ir.Value) -> ir.Value:
    """sum_ + the products of four unsigned and four signed bytes in each 32-bit lane: one instruction of VNNI."""
    whole = sum_.type
    if has_vnni():
        return call(builder, "llvm.x86.avx512.vpdpbusd.512", whole, sum_, unsigned, signed)
    halves = ir.VectorType(ir.IntType(16), 2 * whole.count)
    eight = constant(halves, 8)
    unsigned, signed = builder.bitcast(unsigned, halves), builder.bitcast(signed, halves)
    even = builder.and_(unsigned, constant(halves, 0xFF)), builder.ashr(builder.shl(signed, eight), eight)
    odd = builder.lshr(unsigned, eight), builder.ashr(signed, eight)
    for factors in (even, odd):
        sum_ = builder.add(_products_of_halves(builder, whole, *factors), sum_)
    return sum_


def _products_of_halves(builder: ir.IRBuilder, whole: ir.VectorType, a: ir.Value, b: ir.Value) -> ir.Value:
    """16-bit numbers multiplied, each two neighbours added."""
    if name := pair_product():
        return call(builder, name, whole, a, b)
    a, b = builder.bitcast(a, whole), builder.bitcast(b, whole)
    sixteen = constant(whole, 16)
    high = builder.mul(builder.ashr(a, sixteen), builder.ashr(b, sixteen))
    a, b = (builder.ashr(builder.shl(v, sixteen), sixteen) for v in (a, b))
    return builder.add(builder.mul(a, b), high)
