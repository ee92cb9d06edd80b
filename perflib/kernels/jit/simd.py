"""Explicit vector code: one vector type and the handful of operations that fast kernels are made of.

LLVM prefers 256-bit code on many 512-bit machines and gives up on loops that it cannot prove safe; vectors that are
declared, as here, get the full width and one instruction each. Usable in compiled functions only:

    lanes(x)                        elements per vector of x's dtype on this machine, a constant
    item_bytes(x)                   bytes per element, likewise
    load(x, i)   store(x, i, v)     x[i : i + lanes] of a contiguous array or a pointer; no alignment needed
    load_first(x, i, count)         the first `count` lanes, zero elsewhere; the others are not touched
    store_first(x, i, v, count)     likewise
    stream(x, i, v)                 store past the caches; x + i must lie on a boundary of the vector's size
    fence()                         after the last `stream`, before anybody else reads
    splat(value, x)                 a vector like those of x with the same number in each lane
    fma(a, b, c)   a + b   a * b    per lane
    total(v)                        sum of the lanes
    prefetch(x, i)                  ask for the line of x[i], to read it soon
    prefetch_far(x, i)              the same for later: into the second level, where it evicts nothing from the first
    pointer(x, i)                   the address of x[i], to be used like x; keeps nothing alive
    address(x)                      the address of x[0] as a number
    in_columns(x)                   whether the array x lies in columns, a constant
    copy_transposed(x, ldx, rows, columns, y, ldy)      lanes x lanes of a matrix, rows of x to columns of y

A dot product, 16 lanes at a time where the machine has 512-bit registers:

    @compiled
    def dot(x, y):
        sum_, step = splat(0, x), lanes(x)
        for i in range(0, x.size, step):
            sum_ = fma(load_first(x, i, x.size - i), load_first(y, i, x.size - i), sum_)
        return total(sum_)

No bounds are checked.
"""

import operator
from collections.abc import Callable
from functools import partial, wraps

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from . import emit
from .vector import INT, Vector, vector_of


def _address(context, builder, kind: types.Type, value: ir.Value, index: ir.Value) -> ir.Value:
    """Of value[index]: by GEP from the data pointer, so that LLVM knows where it points (no integers in between)."""
    data = make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
    return builder.gep(data, [index])


def _is_memory(x: types.Type) -> bool:
    return isinstance(x, types.Array) and x.layout in "CF" or isinstance(x, types.CPointer)


@intrinsic
def lanes(typingctx, x):
    """Elements per vector of x's dtype, a constant."""
    count = Vector(x.dtype).lanes
    return types.intp(x), lambda context, builder, signature, args: context.get_constant(types.intp, count)


@intrinsic
def item_bytes(typingctx, x):
    """Bytes of an element of x, a constant."""
    size = x.dtype.bitwidth // 8
    return types.intp(x), lambda context, builder, signature, args: context.get_constant(types.intp, size)


def _on_memory(define: Callable) -> Callable:
    """An intrinsic on memory x at an index: define(typingctx, x, i, ...) returns its signature, and what it emits.

    That is a function of the builder, the address of x[i], and the values of the arguments after i.
    """

    @intrinsic
    @wraps(define)
    def typing(typingctx, x, *others):
        if not _is_memory(x) or (definition := define(typingctx, x, *others)) is None:
            return None
        signature, code = definition

        def codegen(context, builder, signature, args):
            return code(builder, _address(context, builder, x, *args[:2]), *args[2:])

        return signature, codegen

    return typing


@_on_memory
def pointer(typingctx, x, i):
    """Address of x[i]; the caller keeps x alive."""
    return types.CPointer(x.dtype)(x, types.intp), lambda builder, where: where


@intrinsic
def address(typingctx, x):
    """Address of x[0] as an integer, to compare with others (x.ctypes.data counts references: ten times the price)."""
    if not _is_memory(x):
        return None

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(_address(context, builder, x, args[0], INT(0)), context.get_value_type(types.intp))

    return types.intp(x), codegen


@intrinsic
def in_columns(typingctx, x):
    """Whether x is an array that lies in columns, a constant."""
    answer = isinstance(x, types.Array) and x.layout == "F"
    return types.boolean(x), lambda context, builder, signature, args: context.get_constant(types.boolean, answer)


@_on_memory
def load(typingctx, x, i):
    """x[i : i + lanes] as a vector."""
    return Vector(x.dtype)(x, types.intp), lambda builder, where: emit.load(builder, where, vector_of(x.dtype))


@intrinsic
def load_first(typingctx, x, i, count):
    """x[i : i + min(count, lanes)], zero in the other lanes, whose memory is not touched."""
    if not _is_memory(x):
        return None

    def codegen(context, builder, signature, args):
        vector = vector_of(x.dtype)
        mask = emit.mask(builder, args[2], vector.count)
        return emit.load(builder, _address(context, builder, x, *args[:2]), vector, mask)

    return Vector(x.dtype)(x, types.intp, types.intp), codegen


@_on_memory
def store(typingctx, x, i, v):
    """x[i : i + lanes] = v"""
    if not isinstance(v, Vector):
        return None
    return types.void(x, types.intp, v), lambda builder, where, value: emit.store(builder, value, where)


@intrinsic
def store_first(typingctx, x, i, v, count):
    """x[i : i + min(count, lanes)] = v; other memory is not touched."""
    if not _is_memory(x) or not isinstance(v, Vector):
        return None

    def codegen(context, builder, signature, args):
        mask = emit.mask(builder, args[3], v.lanes)
        emit.store(builder, args[2], _address(context, builder, x, *args[:2]), mask)

    return types.void(x, types.intp, v, types.intp), codegen


@_on_memory
def stream(typingctx, x, i, v):
    """x[i : i + lanes] = v past the caches; the address must be a multiple of the vector's size."""
    if not isinstance(v, Vector):
        return None

    def code(builder, where, value):
        where = builder.bitcast(where, value.type.as_pointer())
        instruction = builder.store(value, where, align=emit.lane_bytes(value.type) * v.lanes)
        instruction.set_metadata("nontemporal", builder.module.add_metadata([INT(1)]))

    return types.void(x, types.intp, v), code


@_on_memory
def prefetch(typingctx, x, i):
    """Ask for the cache line of x[i]; never faults."""
    return types.void(x, types.intp), emit.prefetch


@_on_memory
def prefetch_far(typingctx, x, i):
    """Ask for the cache line of x[i] to come into the second level; never faults."""
    return types.void(x, types.intp), partial(emit.prefetch, locality=2)


@intrinsic
def fence(typingctx):
    """Order what was streamed before everything that follows."""

    def codegen(context, builder, signature, args):
        builder.fence("seq_cst")

    return types.void(), codegen


@intrinsic
def splat(typingctx, value, x):
    """`value`, converted to x's dtype, in every lane."""

    def codegen(context, builder, signature, args):
        element = context.cast(builder, args[0], value, x.dtype)
        return emit.splat(builder, element, vector_of(x.dtype))

    return Vector(x.dtype)(value, x), codegen


def lanewise(code: Callable) -> Callable:
    """An intrinsic on vectors of one type, lane by lane, from code(builder, ...), which gets their values."""

    @intrinsic
    @wraps(code)
    def typing(typingctx, v, *others):
        if not isinstance(v, Vector) or any(other != v for other in others):
            return None
        return v(v, *others), lambda context, builder, signature, args: code(builder, *args)

    return typing


@lanewise
def fma(builder, a, b, c):
    """a b + c per lane."""
    return emit.fma(builder, a, b, c)


def _overload_operator(operation: Callable, code: Callable) -> None:
    perform = lanewise(code)

    @overload(operation)
    def on_vectors(a, b):
        return (lambda a, b: perform(a, b)) if isinstance(a, Vector) and a == b else None


_overload_operator(operator.add, lambda builder, a, b: builder.fadd(a, b))
_overload_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b))


@intrinsic
def total(typingctx, v):
    """Sum of the lanes, in pairs."""
    if not isinstance(v, Vector):
        return None
    return v.element(v), lambda context, builder, signature, args: emit.total(builder, *args)


@intrinsic
def copy_transposed(typingctx, x, ldx, rows, columns, y, ldy):
    """y[j, 0 : lanes] = x[0 : lanes, j] for j < min(columns, lanes); zero for rows of x from `rows` on, left untouched.

    x and y are pointers, ldx and ldy elements from one row to the next.
    """

    def codegen(context, builder, signature, args):
        source, ldx, rows, columns, target, ldy = args
        vector = vector_of(x.dtype)
        count, index = vector.count, ldx.type

        def copy(height=None, width=None):
            masks = [None] * count
            if height is not None:
                lanes, none = emit.mask(builder, width, count), ir.Constant(ir.VectorType(ir.IntType(1), count), None)
                masks = [builder.select(builder.icmp_signed(">", height, index(i)), lanes, none) for i in range(count)]
            places = (builder.gep(source, [builder.mul(ldx, index(i))]) for i in range(count))
            lines = [emit.load(builder, place, vector, mask) for place, mask in zip(places, masks, strict=True)]
            for j, line in enumerate(emit.transposed(builder, lines)):
                place = builder.gep(target, [builder.mul(ldy, index(j))])
                if width is None:
                    emit.store(builder, line, place)
                else:
                    with builder.if_then(builder.icmp_signed(">", width, index(j))):
                        emit.store(builder, line, place)

        whole = builder.and_(*(builder.icmp_signed(">=", size, index(count)) for size in (rows, columns)))
        with builder.if_else(whole, likely=True) as (inside, edge):
            with inside:
                copy()
            with edge:
                copy(rows, columns)

    size = types.intp
    return types.void(types.CPointer(x.dtype), size, size, size, types.CPointer(x.dtype), size), codegen
