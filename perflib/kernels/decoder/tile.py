"""Multiply panels by micro-kernels whose sums stay in registers while weights stream by. For compiled code, unchecked.

    tile(a, step, b, next_panel, c, next_place, ldc, k, count, add, MR, NP, NV)
        C[r, j] (+)= sum over i < k of A[i, r] B[i, j], MR rows, NP panels of NV registers each side by side

a, b, c are pointers (see `simd.pointer`). A lies as BLIS packs it: the MR rows of column i side by side at a +
i step. step, ldc, next_panel and next_place (of its columns in C) are distances in elements. `count` is how many columns
of C exist from here on: the others are computed and not stored. MR, NP and NV are literal integers.

The shape of a tile hides the latency of multiply-adds (four cycles and one or two a cycle: eight sums at least) and stays
within the registers: 12 rows x 2 registers of 512 bit for many vectors, 4 panels x 2 registers for one vector.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import emit
from ..jit.vector import vector_bytes, vector_lanes, vector_of, vector_registers
from .blocks import PANEL

WIDE = -(-PANEL // vector_lanes("float32"))
"""Registers across a panel."""
TILE_VECTORS = min(2, WIDE)
"""NV where W multiplies many vectors."""
FULL_ROWS = 12 if vector_registers() == 32 else 6 if vector_bytes() == 32 else 4
"""MR where W multiplies many vectors: 24 sums of 32 registers, 12 of 16; 8 where no multiply-add is known."""
VECTOR_PANELS = min(4, max(1, vector_registers() // (2 * WIDE)))
"""NP of a multiplication with one vector."""


@intrinsic(prefer_literal=True)
def tile(typingctx, a, step, b, next_panel, c, next_place, ldc, k, count, add, rows, panels, vectors):
    """C (+)= A B on one tile; see the module."""
    if not all(isinstance(v, types.IntegerLiteral) for v in (rows, panels, vectors)):
        return None
    mr, places = rows.literal_value, _places(panels.literal_value, vectors.literal_value)

    def codegen(context, builder, signature, args):
        a, step, b, next_panel, c, next_place, ldc, k, count, add = args[:10]
        vector = vector_of(types.float32)
        sums = [_zeros(builder, len(places)) for _ in range(mr)]
        b_places = [_place(builder, b, next_panel, place) for place in places]
        with _loop(builder, k) as i:
            column, down = builder.gep(a, [builder.mul(i, step)]), builder.mul(i, k.type(PANEL))
            line = [emit.load(builder, builder.gep(start, [down]), vector) for start in b_places]
            for r, row in enumerate(sums):
                factor = emit.splat(builder, builder.load(builder.gep(column, [k.type(r)])), vector)
                for sum_, value in zip(row, line, strict=True):
                    builder.store(emit.fma(builder, factor, value, builder.load(sum_)), sum_)
        for r, row in enumerate(sums):
            _put(builder, builder.gep(c, [builder.mul(ldc, ldc.type(r))]), row, places, next_place, count, add)

    number, flag = types.intp, types.boolean
    return types.void(a, number, b, number, c, number, number, number, number, flag, rows, panels, vectors), codegen


@contextmanager
def _loop(builder: ir.IRBuilder, count: ir.Value) -> Iterator[ir.Value]:
    """A counting loop that LLVM leaves as it is: unrolled, it loads too far ahead and runs out of registers."""
    before, body, after = builder.block, builder.append_basic_block("turn"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", count, count.type(0)), body, after)
    builder.position_at_end(body)
    index = builder.phi(count.type)
    index.add_incoming(count.type(0), before)
    yield index
    following = builder.add(index, count.type(1))
    index.add_incoming(following, builder.block)
    back = builder.cbranch(builder.icmp_signed("<", following, count), body, after)
    back.set_metadata("llvm.loop", _not_unrolled(builder.module))
    builder.position_at_end(after)


def _not_unrolled(module: ir.Module) -> ir.MDValue:
    """LLVM's name of a loop begins with itself, so that no two are the same."""
    disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    name = ir.MDValue(module, [disable, disable], name=str(len(module.metadata)))
    name.operands = [name, disable]
    return name


def _places(panels: int, vectors: int) -> list[tuple[int, int]]:
    """Panel and register of each sum in the order of the loads: panels take turns, which a Zen 4 reads 5 to 10 % faster."""
    return [(p, v) for v in range(vectors) for p in range(panels)]


def _zeros(builder: ir.IRBuilder, count: int) -> list[ir.Value]:
    """Sums: variables that LLVM turns into registers."""
    return [cgutils.alloca_once_value(builder, ir.Constant(vector_of(types.float32), None)) for _ in range(count)]


def _place(builder: ir.IRBuilder, b: ir.Value, next_panel: ir.Value, place: tuple[int, int]) -> ir.Value:
    p, v = place
    across = next_panel.type(v * vector_of(types.float32).count)
    return builder.gep(b, [builder.add(builder.mul(next_panel, next_panel.type(p)), across)])


def _put(builder, c, sums, places, next_place, count, add) -> None:
    """Sums into C, as many as exist; `add`: onto what is there."""
    lanes = vector_of(types.float32).count
    for (p, v), sum_ in zip(places, sums, strict=True):
        across = builder.add(builder.mul(next_place, count.type(p)), count.type(v * lanes))
        where, mask = builder.gep(c, [across]), emit.mask(builder, builder.sub(count, across), lanes)
        with builder.if_then(add):
            there = emit.load(builder, where, vector_of(types.float32), mask)
            builder.store(builder.fadd(builder.load(sum_), there), sum_)
        emit.store(builder, builder.load(sum_), where, mask)
