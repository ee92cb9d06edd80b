"""Trace the loops of the fast kernels, in the shape that they take on a given machine.

A trace has the arguments of those in `traces` and follows `kernels.gemm` and `kernels.rmsnorm.fast`: a vector counts as
its elements, a masked one as those that it loads or stores; sums of the register tile have no address; what is packed is
loaded, stored, and loaded from its buffer
again. A prefetch is no access and brings nothing; a streaming store is one, and passes by the caches. The buffer begins at
a page, behind the other arrays.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ..kernels.caches import Cache
from ..kernels.gemm.block_sizes import Blocks, chosen_blocks, few_rows_blocks, rows_conflict, shared_sets
from ..kernels.gemm.fast import B_IN_PLACE, FEW_ROWS, ROWS_FOR_L3, STEPS_AT_ONE_USE, WAY
from ..kernels.gemm.textbook import DEFAULT_TILE
from ..kernels.rmsnorm.fast import PAGE
from .lru import access, counted, each


class Choices(NamedTuple):
    """What kernels choose, or receive, on a machine."""

    tile: int
    """Of the tiled variants."""
    mr: int
    nr: int
    lanes: int
    """Elements per vector."""
    mc: int
    kc: int
    nc: int
    l2_bytes: int
    l1_ways: int
    stream_bytes: int
    """An output above this size is written past the caches."""


class Way(NamedTuple):
    """The path that `matmul` takes for a shape."""

    packed: bool
    steps: int
    """Of k at a time, where it is taken in place."""
    copy_a: bool
    few_rows: bool = False
    """Whether the blocks of B are those for few rows."""


def choices(caches: Sequence[Cache], itemsize: int, isa: Sequence[str], tile: int = DEFAULT_TILE) -> Choices:
    """For such caches, nearest first, and instructions as `Machine.isa` names them."""
    wide = "avx512f" in isa
    lanes = max(1, (64 if wide else 32 if "avx2" in isa and "fma" in isa else 16) // itemsize)
    mr, vectors = (12, 2) if wide else (8, 3) if "neon" in isa else (6, 2)
    blocks = chosen_blocks(f"f{itemsize}", caches, (mr, vectors * lanes))
    sizes = [cache.size_bytes for cache in caches]
    l2_bytes, largest = sizes[1] if len(sizes) > 1 else 256 << 10, max(sizes, default=16 << 20)
    return Choices(tile, mr, vectors * lanes, lanes, *blocks, l2_bytes, (caches and caches[0].ways) or 8, largest // 2)


def way(sizes: tuple[int, int, int], itemsize: int, choices: Choices) -> Way:
    """What `gemm` decides: B in place if it is near or seldom used, else packed; A copied where its rows meet in sets."""
    m, n, k = sizes
    stride = k * itemsize
    meet = stride >= WAY // 2 and shared_sets(stride, min(m, choices.mr), WAY) > choices.l1_ways - 2
    copy_a = bool(n >= FEW_ROWS and meet)
    if k * n * itemsize <= B_IN_PLACE * choices.l2_bytes:
        packed = copy_a or m > choices.mr and rows_conflict(n, k, choices.nr, itemsize, choices.l2_bytes)
        return Way(bool(packed), k, copy_a, m < ROWS_FOR_L3)
    return Way(m > choices.mr // 2, STEPS_AT_ONE_USE, copy_a, m < ROWS_FOR_L3)


def for_few_rows(m: int, choices: Choices, itemsize: int) -> Choices:
    """The same with the blocks for a few rows of A, m."""
    blocks = few_rows_blocks(m, Blocks(choices.mc, choices.kc, choices.nc), choices.nr, itemsize, choices.l2_bytes)
    return choices._replace(**blocks._asdict())


def room(sizes: tuple[int, int, int], choices: Choices) -> int:
    """Elements of a packed block of B and of copied rows of A."""
    m, n, k = sizes
    steps, columns = min(choices.kc, k), -(-min(choices.nc, n) // choices.nr) * choices.nr
    return steps * columns + min(choices.mc, m) * _row_distance(steps, choices.lanes)


@counted
def _row_distance(steps, lanes):
    """Elements from one copied row to the next: a vector more than the row."""
    return -(-steps // lanes) * lanes + lanes


@counted
def _tile(a, lda, b, ldb, c, ldc, rows, columns, k, accumulate, item, l1, memory):
    """The micro-kernel: a step takes a row of B and an element of each row of A; then C, as it was and as it is."""
    for p in range(k):
        each(b + p * ldb * item, columns, item, l1, memory)
        for i in range(rows):
            access(a + (i * lda + p) * item, l1, memory)
    for _ in range(1 + accumulate):
        for i in range(rows):
            each(c + i * ldc * item, columns, item, l1, memory)
    return k * (rows + columns) + rows * columns * (1 + accumulate)


@counted
def _panels(a, lda, b, ldb, panel, c, ldc, m, n, k, accumulate, choices, item, l1, memory):
    """Register tiles down each panel of B, the last but one sharing its rows with a last one of few."""
    accesses = 0
    for jr in range(0, n, choices.nr):
        b_panel, columns = b + jr // choices.nr * panel * item, min(choices.nr, n - jr)
        ir = 0
        while ir < m:
            rest = m - ir
            rows = (rest + 1) // 2 if choices.mr < rest < choices.mr + choices.mr // 2 else min(choices.mr, rest)
            a_rows, tile = a + ir * lda * item, c + (ir * ldc + jr) * item
            accesses += _tile(a_rows, lda, b_panel, ldb, tile, ldc, rows, columns, k, accumulate, item, l1, memory)
            ir += rows
    return accesses


@counted
def _in_place(sizes, choices, item, bases, l1, memory, steps):
    """Nothing copied, `steps` of k at a time."""
    m, n, k = sizes
    accesses = 0
    for pc in range(0, k, steps):
        a, b, height = bases[0] + pc * item, bases[1] + pc * n * item, min(steps, k - pc)
        accesses += _panels(a, k, b, n, choices.nr, bases[2], n, m, n, height, int(pc > 0), choices, item, l1, memory)
    return accesses


@counted
def _pack_b(b, ldb, k, n, panels, choices, item, l1, memory):
    """Vector by vector into panels of NR columns; those beyond n are not loaded, and stored as zeros."""
    nr, step = choices.nr, choices.lanes
    accesses = 0
    for jr in range(0, n, nr):
        for p in range(k):
            for j in range(0, nr, step):
                width = max(0, min(step, n - jr - j))
                each(b + (p * ldb + jr + j) * item, width, item, l1, memory)
                each(panels + (jr * k + p * nr + j) * item, step, item, l1, memory)
                accesses += width + step
    return accesses


@counted
def _copy_rows(a, lda, m, k, rows, ld, choices, item, l1, memory):
    """Vector by vector; the last one of a row is stored whole."""
    step = choices.lanes
    accesses = 0
    for i in range(m):
        for p in range(0, k, step):
            width = min(step, k - p)
            each(a + (i * lda + p) * item, width, item, l1, memory)
            each(rows + (i * ld + p) * item, step, item, l1, memory)
            accesses += width + step
    return accesses


@counted
def _pack_and_multiply(sizes, choices, item, bases, l1, memory, copy_a):
    """The loops around the packing, B into panels and, on request, rows of A to a distance that shares no sets."""
    m, n, k = sizes
    mc, kc, nc, nr = choices.mc, choices.kc, choices.nc, choices.nr
    panels = bases[3]
    copied = panels + min(kc, k) * (-(-min(nc, n) // nr) * nr) * item
    accesses = 0
    for jc in range(0, n, nc):
        columns = min(nc, n - jc)
        for pc in range(0, k, kc):
            steps, more = min(kc, k - pc), int(pc > 0)
            ld = _row_distance(steps, choices.lanes)
            accesses += _pack_b(bases[1] + (pc * n + jc) * item, n, steps, columns, panels, choices, item, l1, memory)
            for ic in range(0, m, mc):
                height, rows, lda = min(mc, m - ic), bases[0] + (ic * k + pc) * item, k
                if copy_a:
                    accesses += _copy_rows(rows, k, height, steps, copied, ld, choices, item, l1, memory)
                    rows, lda = copied, ld
                c = bases[2] + (ic * n + jc) * item
                accesses += _panels(
                    rows, lda, panels, nr, nr * steps, c, n, height, columns, steps, more, choices, item, l1, memory
                )
    return accesses


def matmul_register_blocked(sizes, choices, item, bases, l1, memory):
    """Register tiles over all of k, everything read where it lies."""
    return _in_place(sizes, choices, item, bases, l1, memory, sizes[2])


def matmul_packed(sizes, choices, item, bases, l1, memory):
    """Both packed, in blocks of MC, KC, NC."""
    return _pack_and_multiply(sizes, choices, item, bases, l1, memory, True)


def matmul(sizes, choices, item, bases, l1, memory):
    """The path that `matmul` takes."""
    packed, steps, copy_a, few_rows = way(sizes, item, choices)
    if packed:
        choices = for_few_rows(sizes[0], choices, item) if few_rows else choices
        return _pack_and_multiply(sizes, choices, item, bases, l1, memory, copy_a)
    return _in_place(sizes, choices, item, bases, l1, memory, steps)


@counted
def rms_norm(sizes, choices, item, bases, l1, memory):
    """Two passes over each row, in the second four vectors at a time, up or down; a large output passes by the caches."""
    rows, n, _ = sizes
    x, weight, out = bases[0], bases[1], bases[2]
    streaming = rows * n * item > choices.stream_bytes and n % choices.lanes == 0
    for r in range(rows):
        row = r * n * item
        each(x + row, n, item, l1, memory)
        if streaming:
            for j in range(0, n, choices.lanes):
                each(x + row + j * item, choices.lanes, item, l1, memory)
                each(weight + j * item, choices.lanes, item, l1, memory)
        else:
            _scale(x + row, weight, out + row, n, choices, item, l1, memory)
    return 4 * rows * n


@counted
def _lag(out, x):
    """Bytes by which x lags behind out within a page, 1 ... 4096."""
    return (out - x - 1) % PAGE + 1


@counted
def _scale(x, weight, out, n, choices, item, l1, memory):
    """Four vectors of x and weight, then four of out, from the end where loads going up would come to stores just made."""
    step = choices.lanes
    four, whole = 4 * step, n // (4 * step) * (4 * step)
    up = min(_lag(out, x), _lag(out, weight)) >= min(_lag(x, out), _lag(weight, out))
    for block in range(0, whole, four):
        first = block if up else whole - four - block
        for j in range(first, first + four, step):
            each(x + j * item, step, item, l1, memory)
            each(weight + j * item, step, item, l1, memory)
        each(out + first * item, four, item, l1, memory)
    for j in range(whole, n, step):
        for array in (x, weight, out):
            each(array + j * item, min(step, n - j), item, l1, memory)
