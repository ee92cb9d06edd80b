"""Multiply blocks of quants by one vector in whole numbers, which are exact, and widen them to float32 for many vectors.

    round_block(x, b, rounded)
        32 of x as whole numbers times a power of two, for blocks like those at b
    tile_blocks(x, b, next_panel, c, next_place, count_k, count, add, NP, NV)
        c (+)= x B for one row that is rounded, quants unpacked in registers; NP panels of NV registers side by side
    widen(b, j, out)
        block j as float32: 32 columns of 32 rows

One instruction multiplies four neighbours of 8 bits in every lane of 32 and adds them (VNNI's vpdpbusd, quants unsigned, x
signed; `emit.add_dot4` has what other machines do), and no quant becomes a float on the way. x has three planes of 8 bits
per block of 32 columns, 22 bits in all, and for Q8_0, which has the time, four, 29 bits: about what float32 has. Sums of
two planes stay below 2^31. Two planes would be too few: logits of 15M differ by 1.2e-4 of the largest.

A rounded block of x is 38 numbers of 32 bits: plane after plane the eight quads of its columns, then its scale and its sum
as float32, then sums of its halves in the upper and in the lower two planes, which count where a quant but 0 stands for 0.
Pointers, NP and NV as in `tile`; b points to records of `blocks.panel_dtype`, whose type names the kind.
"""

from functools import partial, reduce
from itertools import product

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..jit import emit
from ..jit.vector import BYTE, INT, has_f16c, vector_of, vector_registers
from .blocks import BLOCK, FORMATS, HALVES, NIBBLES, PANEL, SCALES_6K, WORDS, Format
from .tile import WIDE, _loop, _places, _put, _zeros

QUADS, PLANES = BLOCK // 4, {3: 2.0**-8, 4: 2.0**-15}
"""How many planes x may have, with what 1 in those after the second stands for."""
SCALE, TOTAL, SUMS, ROUNDED = (4 * QUADS + i for i in (0, 1, 2, 6))
"""Places in a rounded block, and how many it has."""
BLOCK_PANELS = 2
"""NP of a multiplication with one vector."""
WIDE_INT, FLOAT = ir.IntType(64), ir.FloatType()
SIGN, EXPONENT, FRACTION_BITS, NAN = 1 << 31, 0x7F800000, 23, 0x7FC00000
LEAST = 15 << FRACTION_BITS
"""Exponent of 2^-112, as the bits of a float32: what is smaller becomes 0."""
ROUNDER = 1.5 * 2.0**FRACTION_BITS
"""Added to a small number, its last bits are the integer next to it."""
BITS = 14
"""Of the largest magnitude of a block in the upper two planes: with two more, the highest plane could be 128."""


def _format(kind: types.Type) -> tuple[str, Format]:
    """Of the records that a pointer leads to."""
    name = next(iter(kind.dtype.fields))
    return name, FORMATS[name]


def _words(builder: ir.IRBuilder, start: ir.Value, place: int | ir.Value) -> ir.Value:
    """Four bytes of each row."""
    whole = ir.VectorType(INT, vector_of(types.float32).count)
    where = builder.gep(start, [place if isinstance(place, ir.Value) else WIDE_INT(place)])
    return builder.load(builder.bitcast(where, whole.as_pointer()), align=4)


def _masked(builder: ir.IRBuilder, words: ir.Value, right: int, mask: int) -> ir.Value:
    """Some bits of every byte, moved."""
    shift = builder.lshr if right > 0 else builder.shl
    moved = shift(words, emit.constant(words.type, abs(right))) if right else words
    return builder.and_(moved, emit.constant(words.type, 0x01010101 * mask))


def _whole_bytes(builder, start, step, v) -> dict[int, ir.Value]:
    return {0: _words(builder, start, builder.add(builder.mul(step, WIDE_INT(WORDS)), WIDE_INT(v)))}


def _nibbles(builder, start, step, v) -> dict[int, ir.Value]:
    words = _words(builder, start, builder.add(builder.mul(step, WIDE_INT(WORDS)), WIDE_INT(v)))
    return {number: _masked(builder, words, shift, 0xF) for number, shift in ((0, 0), (4, 4))}


def _six_bits(builder, start, step, v) -> dict[int, ir.Value]:
    start = builder.gep(start, [WIDE_INT(SCALES_6K)])
    high = _words(builder, start, builder.add(builder.mul(step, WIDE_INT(WORDS)), WIDE_INT(NIBBLES + v)))
    quads = {}
    for u in range(2):
        low = _nibbles(builder, start, builder.add(builder.mul(step, WIDE_INT(2)), WIDE_INT(u)), v)
        for number, nibble in low.items():
            quads[u + number] = builder.or_(nibble, _masked(builder, high, 4 * u + number // 2 - 4, 0x30))
    return quads


UNPACK = {"Q8_0": _whole_bytes, "Q4_0": _nibbles, "Q4_1": _nibbles, "Q4_K": _nibbles, "Q6_K": _six_bits}
"""The quads of a step by number, to which the step adds STRIDE times itself: 4 unsigned quants of each row, 4 v on."""
STEPS = {"Q8_0": 8, "Q4_0": 4, "Q4_1": 4, "Q4_K": 4, "Q6_K": 2}
STRIDE = {"Q8_0": 1, "Q4_0": 1, "Q4_1": 1, "Q4_K": 1, "Q6_K": 2}


def _narrow(builder: ir.IRBuilder, where: ir.Value, item: ir.IntType, count: int) -> ir.Value:
    """`count` integers."""
    return builder.load(builder.bitcast(where, ir.VectorType(item, count).as_pointer()), align=item.width // 8)


def _small(builder: ir.IRBuilder, start: ir.Value, place: int | ir.Value, signed: bool = False) -> ir.Value:
    """One byte of each row, as 32 bits."""
    whole = ir.VectorType(INT, vector_of(types.float32).count)
    where = builder.gep(start, [place if isinstance(place, ir.Value) else WIDE_INT(place)])
    return (builder.sext if signed else builder.zext)(_narrow(builder, where, BYTE, whole.count), whole)


def _half_floats(builder: ir.IRBuilder, start: ir.Value, place: int) -> ir.Value:
    """Finite float16 as float32; without F16C the exponent is shifted into place, and 2^112 mends its bias."""
    vector = vector_of(types.float32)
    if has_f16c():
        halves, where = ir.VectorType(ir.HalfType(), vector.count), builder.gep(start, [WIDE_INT(place)])
        return builder.fpext(builder.load(builder.bitcast(where, halves.as_pointer()), align=2), vector)
    whole = ir.VectorType(INT, vector.count)
    every = partial(emit.constant, whole)
    bits = builder.zext(_narrow(builder, builder.gep(start, [WIDE_INT(place)]), ir.IntType(16), vector.count), whole)
    size = builder.bitcast(builder.shl(builder.and_(bits, every(0x7FFF)), every(13)), vector)
    size = builder.fmul(size, emit.constant(vector, 2.0**112))
    sign = builder.shl(builder.and_(bits, every(0x8000)), every(16))
    return builder.bitcast(builder.or_(builder.bitcast(size, whole), sign), vector)


def _scales(name, builder, head, block, j, lane) -> tuple[list[ir.Value], ir.Value | None]:
    """Scales of the parts of block j for a register of rows from `lane` on, and what is added to every weight, or None."""
    vector = vector_of(types.float32)
    at = partial(_half_floats, builder, head)
    d = at(2 * lane)
    if name == "Q6_K":
        parts = [_small(builder, block, i * PANEL + lane, signed=True) for i in range(2)]
        return [builder.fmul(d, builder.sitofp(s, vector)) for s in parts], None
    if name == "Q4_1":
        return [d], at(HALVES + 2 * lane)
    if name != "Q4_K":
        return [d], None
    m = at(HALVES + 2 * lane)
    first = builder.gep(head, [WIDE_INT(2 * HALVES + lane)])
    low = _small(builder, first, builder.mul(j, WIDE_INT(PANEL)))
    high = _small(
        builder, first, builder.add(builder.mul(builder.lshr(j, WIDE_INT(1)), WIDE_INT(PANEL)), WIDE_INT(8 * PANEL))
    )
    shift = builder.shl(builder.trunc(builder.and_(j, WIDE_INT(1)), INT), INT(2))
    high = builder.lshr(high, emit.splat(builder, shift, high.type))
    every = partial(emit.constant, low.type)
    s = builder.or_(builder.and_(low, every(15)), builder.shl(builder.and_(high, every(3)), every(4)))
    t = builder.or_(builder.lshr(low, every(4)), builder.shl(builder.and_(high, every(12)), every(2)))
    minus = builder.fmul(builder.fneg(m), builder.uitofp(t, vector))
    return [builder.fmul(d, builder.uitofp(s, vector))], minus


def _literals(*values: types.Type) -> bool:
    return all(isinstance(v, types.IntegerLiteral) for v in values)


@intrinsic(prefer_literal=True)
def tile_blocks(typingctx, x, b, next_panel, c, next_place, count_k, count, add, panels, vectors):
    """c (+)= x B over `count_k` super-blocks; see the module."""
    if not _literals(panels, vectors):
        return None
    places, (name, format_) = sorted(_places(panels.literal_value, vectors.literal_value)), _format(b)

    def codegen(context, builder, signature, args):
        x, b, next_panel, c, next_place, count_k, count, add = args[:8]
        vector, sums = vector_of(types.float32), _zeros(builder, len(places))
        starts = [builder.gep(b, [builder.mul(next_panel, next_panel.type(p))]) for p, _ in places]
        starts = [builder.bitcast(start, BYTE.as_pointer()) for start in starts]
        some = WIDE * max(1, vector_registers() // (2 * format_.planes * format_.parts * WIDE))
        with cgutils.for_range(builder, count_k) as outer, cgutils.for_range(builder, WIDE_INT(format_.blocks)) as inner:
            down = builder.mul(outer.index, WIDE_INT(PANEL * format_.bytes))
            number = builder.add(builder.mul(outer.index, WIDE_INT(format_.blocks)), inner.index)
            rounded = builder.gep(x, [builder.mul(number, WIDE_INT(ROUNDED))])
            heads = [builder.gep(start, [down]) for start in starts]
            rows = list(zip(sums, heads, (4 * v * vector.count for _, v in places), strict=True))
            for first in range(0, len(rows), some):
                _dot_block(builder, name, rounded, inner.index, rows[first : first + some])
        _put(builder, c, sums, places, next_place, count, add)

    number = types.intp
    return types.void(x, b, number, c, number, number, number, types.boolean, panels, vectors), codegen


def _dot_block(builder, name, rounded, j, rows) -> None:
    """Add the products of a rounded block and block j for registers of rows: (sum, super-block, bytes to the words)."""
    format_, vector = FORMATS[name], vector_of(types.float32)
    planes, within = range(format_.planes), builder.mul(j, WIDE_INT(format_.block))
    within = builder.add(within, WIDE_INT(format_.head))
    blocks = [builder.gep(head, [within]) for _, head, _ in rows]
    exact = {}
    for row, part, plane in product(range(len(rows)), range(format_.parts), planes):
        start = _start_of_sum(builder, format_, rounded, part, plane)
        exact[row, part, plane] = cgutils.alloca_once_value(builder, start)
    with _loop(builder, WIDE_INT(STEPS[name])) as step:
        quads = [UNPACK[name](builder, block, step, v) for block, (_, _, v) in zip(blocks, rows, strict=True)]
        here = builder.gep(rounded, [builder.mul(step, WIDE_INT(STRIDE[name]))])
        for quad, plane in product(quads[0], planes):
            factor = _splat_at(builder, here, quad + plane * QUADS)
            for row, theirs in enumerate(quads):
                sum_ = exact[row, quad // 4 % format_.parts, plane]
                builder.store(emit.add_dot4(builder, theirs[quad], factor, builder.load(sum_)), sum_)
    scale, total = (builder.bitcast(_splat_at(builder, rounded, i), vector) for i in (SCALE, TOTAL))
    for row, ((sum_, head, v), block) in enumerate(zip(rows, blocks, strict=True)):
        parts, least = _scales(name, builder, head, block, j, v // 4)
        for part, ours in enumerate(parts):
            both = _sum_of_planes(builder, [builder.load(exact[row, part, plane]) for plane in planes])
            builder.store(emit.fma(builder, both, builder.fmul(ours, scale), builder.load(sum_)), sum_)
        if least is not None:
            builder.store(emit.fma(builder, least, total, builder.load(sum_)), sum_)


def _start_of_sum(builder, format_: Format, rounded: ir.Value, part: int, plane: int) -> ir.Value:
    """What the quant that stands for 0 gives too much, in the last plane of each pair of planes; else 0."""
    whole = ir.VectorType(INT, vector_of(types.float32).count)
    if not format_.zero or plane not in (1, format_.planes - 1):
        return ir.Constant(whole, None)
    halves = range(2) if format_.parts == 1 else (part,)
    places = (builder.gep(rounded, [WIDE_INT(SUMS + plane // 2 * 2 + half)]) for half in halves)
    sum_ = reduce(builder.add, map(builder.load, places))
    return emit.splat(builder, builder.mul(sum_, INT(-format_.zero)), whole)


def _splat_at(builder: ir.IRBuilder, start: ir.Value, place: int) -> ir.Value:
    """One number of a rounded block in every lane."""
    whole = ir.VectorType(INT, vector_of(types.float32).count)
    return emit.splat(builder, builder.load(builder.gep(start, [WIDE_INT(place)])), whole)


def _sum_of_planes(builder: ir.IRBuilder, planes: list[ir.Value]) -> ir.Value:
    """The planes as one float32: pairs of them are whole numbers still."""
    vector = vector_of(types.float32)
    eight = emit.constant(planes[0].type, 8)
    pairs = (planes[:2], planes[2:])
    numbers = (builder.add(builder.shl(pair[0], eight), pair[1]) if pair[1:] else pair[0] for pair in pairs)
    upper, lower = (builder.sitofp(number, vector) for number in numbers)
    return emit.fma(builder, lower, emit.constant(vector, PLANES[len(planes)]), upper)


@intrinsic
def widen(typingctx, b, j, out):
    """Block j as float32 at `out`, 32 columns of 32 rows."""

    def codegen(context, builder, signature, args):
        name, format_ = _format(b)
        head = builder.bitcast(args[0], BYTE.as_pointer())
        within = builder.add(builder.mul(args[1], WIDE_INT(format_.block)), WIDE_INT(format_.head))
        block = builder.gep(head, [within])
        vector = vector_of(types.float32)
        for v in range(WIDE):
            parts, least = _scales(name, builder, head, block, args[1], v * vector.count)
            with _loop(builder, WIDE_INT(STEPS[name])) as step:
                for quad, words in UNPACK[name](builder, block, step, 4 * v * vector.count).items():
                    first = builder.add(builder.mul(step, WIDE_INT(STRIDE[name])), WIDE_INT(quad))
                    for byte in range(4):
                        quants = builder.lshr(words, emit.constant(words.type, 8 * byte))
                        quants = builder.and_(quants, emit.constant(words.type, 0xFF))
                        quants = builder.sub(quants, emit.constant(words.type, format_.zero))
                        weight = builder.fmul(builder.sitofp(quants, vector), parts[quad // 4 % len(parts)])
                        weight = weight if least is None else builder.fadd(weight, least)
                        place = builder.mul(first, WIDE_INT(4 * PANEL))
                        place = builder.add(place, WIDE_INT(byte * PANEL + v * vector.count))
                        emit.store(builder, weight, builder.gep(args[2], [place]))

    return types.void(b, types.intp, out), codegen


@intrinsic
def round_block(typingctx, x, b, rounded):
    """32 of x as a rounded block; its scale is NaN where one is not finite."""

    def codegen(context, builder, signature, args):
        (x, _, rounded), planes = args, _format(b)[1].planes
        vector, whole, bytes_ = (ir.VectorType(item, BLOCK) for item in (FLOAT, INT, BYTE))

        def put(place, value):
            where = builder.gep(rounded, [WIDE_INT(place)])
            builder.store(value, builder.bitcast(where, value.type.as_pointer()), align=4)

        value = builder.load(builder.bitcast(x, vector.as_pointer()), align=4)
        scale, inverse = _power_of_two(builder, builder.bitcast(value, whole))
        rest, total = builder.fmul(value, emit.splat(builder, inverse, vector)), ir.Constant(FLOAT, 0.0)
        for pair, unit in enumerate((1.0, PLANES[planes])):
            numbers = _nearest(builder, rest)
            if 2 * pair + 1 == planes:
                most = emit.constant(whole, 127)
                numbers = builder.select(builder.icmp_signed("<", numbers, most), numbers, most)
                put(2 * pair * QUADS, builder.trunc(numbers, bytes_))
            else:
                low = builder.trunc(numbers, bytes_)
                high = builder.ashr(builder.sub(numbers, builder.sext(low, whole)), emit.constant(whole, 8))
                put(2 * pair * QUADS, builder.trunc(high, bytes_))
                put((2 * pair + 1) * QUADS, low)
            for half in range(2):
                order = ir.Constant(ir.VectorType(INT, BLOCK // 2), list(range(half * BLOCK // 2, (half + 1) * BLOCK // 2)))
                ours = builder.shuffle_vector(numbers, numbers, order)
                sum_ = emit.call(builder, f"llvm.vector.reduce.add.v{BLOCK // 2}i32", INT, ours)
                put(SUMS + 2 * pair + half, sum_)
                total = builder.fadd(total, builder.fmul(builder.sitofp(sum_, FLOAT), ir.Constant(FLOAT, unit)))
            rest = builder.fsub(rest, builder.sitofp(numbers, vector))
            rest = builder.fmul(rest, emit.constant(vector, 1 / PLANES[planes]))
        put(SCALE, scale)
        put(TOTAL, builder.fmul(total, scale))

    return types.void(x, b, rounded), codegen


def _power_of_two(builder: ir.IRBuilder, bits: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The scale that brings the largest magnitude to BITS bits, NaN where one is not finite, and its inverse."""
    size = builder.and_(bits, emit.constant(bits.type, SIGN - 1))
    most = emit.call(builder, f"llvm.vector.reduce.smax.v{BLOCK}i32", INT, size)
    exponent = builder.and_(most, INT(EXPONENT))
    tiny = builder.icmp_signed("<", exponent, INT(LEAST))
    scale = builder.select(tiny, INT(0), builder.sub(exponent, INT((BITS - 1) << FRACTION_BITS)))
    scale = builder.select(builder.icmp_signed("==", exponent, INT(EXPONENT)), INT(NAN), scale)
    inverse = builder.add(builder.sub(INT(254 << FRACTION_BITS), exponent), INT((BITS - 1) << FRACTION_BITS))
    inverse = builder.select(tiny, INT(0), inverse)
    return builder.bitcast(scale, FLOAT), builder.bitcast(inverse, FLOAT)


def _nearest(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The integers next to numbers below 2^22; any where a number is NaN."""
    whole = ir.VectorType(INT, value.type.count)
    rounder = emit.constant(value.type, ROUNDER)
    return builder.sub(builder.bitcast(builder.fadd(value, rounder), whole), builder.bitcast(rounder, whole))
