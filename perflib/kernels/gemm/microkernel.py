"""The micro-kernel: MR x NR elements of C stay in registers while k steps of A and B stream past.

One step takes NV vectors of a row of B and, for each of MR rows, one element of A that is copied into every lane:

                 b[p, 0 : NR]                 MR x NV multiply-adds for MR + NV loads: the more of C in registers, the
    a[i, p]  ->  c[i, 0 : NR] += a b          fewer loads for each. 512-bit: 12 x 2 of 32 registers, 256-bit: 6 x 2 of 16,
                                              128-bit with 32 registers: 8 x 3, SSE2: 4 x 2, unknown: 4 x 1.

    micro_kernel(a, lda, step, b, ldb, c, ldc, rows, columns, k, accumulate, *several)      C = A B, or C += A B
    tile_rows(x), tile_columns(x)           MR and NR for x's dtype, constants in compiled code
    panel_room(x)                           a pointer to room for a panel of B, PANEL_STEPS x NR
    register_tile(dtype)                    (MR, NR) in Python

a, b and c are pointers, lda, ldb and ldc elements from one row to the next, step those from one column of A to the next: an
A in columns is read where it lies, with lda = 1. 1 <= rows <= MR and 1 <= columns <= NR. At the edges of a matrix both may
be less: there is one kernel for each number of rows and vectors, whose last vector is masked.

several: how many such multiplications, and elements from one to the next of A, B and C: (1, 0, 0, 0) for one. A call takes
about as long as a multiplication of 8 x 8, and several need only one call.

Each kernel is an LLVM function of its own that is never inlined, so the loops around it do not compete for its registers
(inlined, it fell from 115 to 80 GFLOP/s as soon as the loop above needed one pointer more).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, product

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..caches import LINE_BYTES
from ..jit import emit
from ..jit.vector import vector_bytes, vector_lanes, vector_of, vector_registers

INDEX = ir.IntType(64)
PANEL_STEPS = 128  # of k in a panel of B that is copied to be used at once: it stays in L1


def _shape() -> tuple[int, int]:
    """MR rows and NV vectors: MR NV sums, NV of B and one of A fit the registers."""
    if not vector_bytes():
        return 4, 1
    if vector_registers() < 32:
        return (6 if vector_bytes() == 32 else 4), 2  # SSE2 multiplies and adds in turn: four rows compile faster
    return (12, 2) if vector_bytes() == 64 else (8, 3)


def register_tile(dtype: np.dtype | type | str) -> tuple[int, int]:
    """(MR, NR): rows and columns of C that the micro-kernel holds on this machine."""
    rows, vectors = _shape()
    return rows, vectors * vector_lanes(dtype)


@intrinsic
def tile_rows(typingctx, x):
    """MR, a constant."""
    return types.intp(x), lambda context, builder, signature, args: INDEX(_shape()[0])


@intrinsic
def tile_columns(typingctx, x):
    """NR for x's dtype, a constant."""
    return types.intp(x), lambda context, builder, signature, args: INDEX(_shape()[1] * vector_of(x.dtype).count)


@intrinsic
def panel_room(typingctx, x):
    """Room for PANEL_STEPS rows of NR elements on the stack of the caller, on a boundary of a cache line."""

    def codegen(context, builder, signature, args):
        vector = vector_of(x.dtype)
        place = cgutils.alloca_once(builder, vector.element, size=PANEL_STEPS * _shape()[1] * vector.count)
        place.align = LINE_BYTES
        return place

    return types.CPointer(x.dtype)(x), codegen


@intrinsic
def micro_kernel(typingctx, a, lda, step, b, ldb, c, ldc, rows, columns, k, accumulate, count, next_a, next_b, next_c):
    """rows x columns of C = A B over k, or of C += A B; all pointers to one dtype."""
    most_rows, most_vectors = _shape()

    def codegen(context, builder, signature, args):
        vector = vector_of(a.dtype)
        rows_ = args[7]
        columns_, common = args[8], [*args[:7], *args[8:]]
        all_rows = builder.icmp_signed("==", rows_, INDEX(most_rows))
        all_columns = builder.icmp_signed("==", columns_, INDEX(most_vectors * vector.count))
        with builder.if_else(builder.and_(all_rows, all_columns), likely=True) as (inside, edge):
            with inside:
                builder.call(_kernel(builder.module, vector, most_rows, most_vectors, masked=False), common)
            with edge:
                vectors = builder.sdiv(builder.add(columns_, INDEX(vector.count - 1)), INDEX(vector.count))
                whole = builder.icmp_signed("==", builder.mul(vectors, INDEX(vector.count)), columns_)
                number = builder.add(builder.mul(rows_, INDEX(most_vectors + 1)), vectors)
                number = builder.add(builder.mul(number, INDEX(2)), builder.zext(whole, INDEX))
                end = builder.append_basic_block("edge.done")
                choice = builder.switch(number, end)
                for r, v, w in product(range(1, most_rows + 1), range(1, most_vectors + 1), (0, 1)):
                    block = builder.append_basic_block(f"edge.{r}x{v}.{w}")
                    choice.add_case(INDEX(2 * (r * (most_vectors + 1) + v) + w), block)
                    with builder.goto_block(block):
                        masked = not w or vector_bytes() == 64  # there a mask costs nothing
                        builder.call(_kernel(builder.module, vector, r, v, masked), common)
                        builder.branch(end)
                builder.position_at_end(end)

    place, size = types.CPointer(a.dtype), types.intp
    return types.void(place, *[size] * 2, place, size, place, *[size] * 4, types.boolean, *[size] * 4), codegen


def _kernel(module: ir.Module, vector: ir.VectorType, rows: int, vectors: int, masked: bool) -> ir.Function:
    """The function for so many rows and vectors, written into the module on first use."""
    name = f"micro_kernel_{vector.element}_{rows}x{vectors}{'_masked' if masked else ''}"
    if name in module.globals:
        return module.globals[name]
    place = vector.element.as_pointer()
    kind = ir.FunctionType(
        ir.VoidType(), [place, INDEX, INDEX, place, INDEX, place, *[INDEX] * 3, ir.IntType(1), *[INDEX] * 4]
    )
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    a, lda, step, b, ldb, c, ldc, columns, k, accumulate, count, *nexts = function.args
    mask = emit.mask(builder, builder.sub(columns, INDEX((vectors - 1) * vector.count)), vector.count) if masked else None
    masks = [None] * (vectors - 1) + [mask]
    starts = [cgutils.alloca_once_value(builder, start) for start in (a, b, c)]
    with _loop(builder, count):
        a, b, c = map(builder.load, starts)
        _product(builder, vector, rows, masks, a, lda, step, b, ldb, c, ldc, k, accumulate)
        for place, start, distance in zip(starts, (a, b, c), nexts, strict=True):
            builder.store(builder.gep(start, [distance]), place)
    builder.ret_void()
    return function


def _product(builder, vector, rows, masks, a, lda, step, b, ldb, c, ldc, k, accumulate) -> None:
    """One multiplication, summed in registers and then stored."""
    places = [_element(builder, c, ldc, i, v * vector.count) for i in range(rows) for v in range(len(masks))]
    for place in places:
        emit.prefetch(builder, place, locality=2)  # C arrives in L2 meanwhile; in L1 its rows can evict each other
    sums = chain.from_iterable(_accumulate(builder, vector, rows, masks, a, lda, step, b, ldb, k))
    elements = list(zip(places, sums, masks * rows, strict=True))
    with builder.if_then(accumulate):
        for place, sum_, lanes in elements:
            before = emit.load(builder, place, vector, lanes)
            builder.store(builder.fadd(before, builder.load(sum_)), sum_)
    for place, sum_, lanes in elements:
        emit.store(builder, builder.load(sum_), place, lanes)


def _element(builder: ir.IRBuilder, base: ir.Value, stride: ir.Value, row: int, column: int) -> ir.Value:
    """Address of element (row, column)."""
    return builder.gep(base, [builder.add(builder.mul(stride, INDEX(row)), INDEX(column))])


def _accumulate(builder, vector, rows, masks, a, lda, step, b, ldb, k) -> list[list[ir.Value]]:
    """Sums over k; they are variables here and registers once LLVM has seen that no code takes their address."""
    zero = ir.Constant(vector, None)
    sums = [[cgutils.alloca_once_value(builder, zero) for _ in masks] for _ in range(rows)]
    # a pointer for every three rows of A: itself, lda and 2 lda further on are one addressing mode each
    groups = [_element(builder, a, lda, first, 0) for first in range(0, rows, 3)]
    places = [cgutils.alloca_once_value(builder, _opaque(builder, place)) for place in (*groups, b)]
    with _loop(builder, k):
        *a_rows, b_row = [builder.load(place) for place in places]
        line = [
            emit.load(builder, builder.gep(b_row, [INDEX(v * vector.count)]), vector, lanes)
            for v, lanes in enumerate(masks)
        ]
        for i, row in enumerate(sums):
            copies = emit.splat(builder, builder.load(_element(builder, a_rows[i // 3], lda, i % 3, 0)), vector)
            for sum_, b_lanes in zip(row, line, strict=True):
                builder.store(emit.fma(builder, copies, b_lanes, builder.load(sum_)), sum_)
        for place, row in zip(places, (*a_rows, b_row), strict=True):
            builder.store(builder.gep(row, [ldb if row is b_row else step]), place)
    return sums


@contextmanager
def _loop(builder: ir.IRBuilder, count: ir.Value) -> Iterator[None]:
    """`count` times, never unrolled: loads of the next steps would move up and take more registers than there are."""
    rest = cgutils.alloca_once_value(builder, count)
    body, end = builder.append_basic_block("step"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", count, INDEX(0)), body, end)
    builder.position_at_end(body)
    yield
    now = builder.sub(builder.load(rest), INDEX(1))
    builder.store(now, rest)
    again = builder.cbranch(builder.icmp_signed(">", now, INDEX(0)), body, end)
    module = builder.module
    disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    again.set_metadata("llvm.loop", module.add_metadata([disable]))
    builder.position_at_end(end)


def _opaque(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """`value`, of which LLVM forgets how it came about: else it computes every row's address anew from the first one."""
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], side_effect=False)
