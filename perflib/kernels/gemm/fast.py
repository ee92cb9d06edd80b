"""Multiply matrices fast: the register tile of `blocked`, and for each shape the path that suits it.

These rules choose the path, in this order:

    B fits L2                       everything is read where it lies: packing would only cost
    B in columns, that fit L2       a panel of B is transposed at a time, into L1, and used at once
    very few rows of A              B is used too seldom to pay for a copy: read in place, a few rows of it at a time
    else                            B is packed, in blocks of L2 for few rows; A is copied where it shares its sets in L1

An A in columns costs nothing: the micro-kernel takes elements of it one by one. A^T B and A B^T need no copies, and an
`out` in columns is (B^T A^T)^T. Stacks of matrices are a loop in compiled code.

A call is checked inside the compiled function, where a check costs nothing; what that does not take (other layouts and
types, more threads, bad arguments) goes the long way through Python (see `operands`), or is refused with the reason.

    >>> import numpy as np
    >>> matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 2.],
           [3., 4.]])

Bound: |C - A B| <= (K + 2) eps |A| |B|, elementwise. NaN and infinity propagate. Raises `TypeError` or `ValueError`
naming the argument, the requirement and the value.
"""

import threading
from functools import cache

import numpy as np
from numba import config, typeof, types

from ..buffers import HUGE_BYTES, HUGE_KIB, mapped
from ..caches import data_caches, reported_caches
from ..checks import products
from ..jit.compile import compiled
from ..jit.dispatch import DONE, REFUSED, check_threads, in_threads, overlap, prepare, writeable
from ..jit.simd import in_columns, item_bytes, pointer
from .block_sizes import few_rows_blocks, rows_conflict, shared_sets
from .blocked import ONE, _multiply_in_place, _multiply_packed, default_blocks, items
from .microkernel import PANEL_STEPS, panel_room, register_tile, tile_columns, tile_rows
from .operands import operands
from .textbook import _matmul_ikj

LARGE = 2  # beside REFUSED and DONE
B_IN_PLACE = 3  # times L2: as far B streams from the level behind it as fast as it is needed
FEW_ROWS = 128  # of A, or columns of B: what is copied has to be used about so often to pay for it
ROWS_FOR_L3 = 768  # of A, from which a block of B pays that goes through L3
STEPS_AT_ONE_USE = 8  # of k at a time where B is used once or twice: rows that the prefetchers can follow side by side
GROUP_BYTES = 16 << 10  # of small matrices whose register tiles are taken one after the other: they stay in L1
PARALLEL_WORK = 64**3  # multiply-adds from which waking a second thread can pay
WAY = 4096  # bytes of a way of L1 on every machine whose L1 is indexed within a page


@compiled
def _in_place(a, lda, step, b, ldb, b_in_columns, out, ldc, m, n, k, several, l2_bytes, l1_ways):
    """Multiply without blocks if that is best; says what it did. a, b, out: pointers to M x K, K x N, M x N.

    several: how many such multiplications, and elements from one to the next of a, b and out.
    """
    steps, near = k, l2_bytes // 4 if b_in_columns else B_IN_PLACE * l2_bytes
    if k * n * item_bytes(a) > near:
        if b_in_columns or m > tile_rows(a) // 2:
            return LARGE
        steps = STEPS_AT_ONE_USE
    else:
        beyond = step != 1 and m * k * item_bytes(a) > l2_bytes // 2
        if n >= FEW_ROWS and (beyond or _lines_conflict(a, lda, step, m, l1_ways)):
            return LARGE  # to copy A
        if m > tile_rows(a) and not b_in_columns and rows_conflict(ldb, k, tile_columns(a), item_bytes(a), l2_bytes):
            return LARGE  # to pack B
    count, next_a, next_b, next_out = several
    if b_in_columns:
        nr, room = tile_columns(a), panel_room(a)
        for i in range(count):
            a_, b_, out_ = pointer(a, i * next_a), pointer(b, i * next_b), pointer(out, i * next_out)
            _multiply_packed(a_, lda, step, b_, ldb, True, out_, ldc, m, n, k, room, False, m, PANEL_STEPS, nr)
        return DONE
    group = max(1, GROUP_BYTES // ((m * k + k * n + m * n) * item_bytes(a) + 1))
    for i in range(0, count, group):
        a_, b_, out_ = pointer(a, i * next_a), pointer(b, i * next_b), pointer(out, i * next_out)
        some = min(group, count - i), next_a, next_b, next_out
        _multiply_in_place(a_, lda, step, b_, ldb, out_, ldc, m, n, k, max(steps, 1), some)
    return DONE


@compiled(inline="always")
def _lines_conflict(a, lda, step, m, l1_ways):
    """Whether the lines of A that the micro-kernel reads side by side evict each other from L1, B's panel beside them."""
    stride = max(abs(lda), abs(step)) * item_bytes(a)
    return stride >= WAY // 2 and shared_sets(stride, min(m, tile_rows(a)), WAY) > l1_ways - 2


@compiled
def _multiply(a, lda, step, b, ldb, b_in_columns, out, ldc, m, n, k, several, work, l2_bytes, l1_ways, mc, kc, nc):
    """Multiply in place, or with B packed, and A copied where its lines conflict."""
    if _in_place(a, lda, step, b, ldb, b_in_columns, out, ldc, m, n, k, several, l2_bytes, l1_ways) == DONE:
        return
    copy_a = n >= FEW_ROWS and (step != 1 or _lines_conflict(a, lda, step, m, l1_ways))
    count, next_a, next_b, next_out = several
    for i in range(count):
        a_, b_, out_ = pointer(a, i * next_a), pointer(b, i * next_b), pointer(out, i * next_out)
        _multiply_packed(a_, lda, step, b_, ldb, b_in_columns, out_, ldc, m, n, k, work, copy_a, mc, kc, nc)


@compiled(nogil=True)
def _matmul_in_place(a, b, out, l2_bytes, l1_ways):
    """(M, K), (K, N) -> (M, N), a and b in rows or in columns; or stacks in rows of S such matrices."""
    (m, k), (rows_of_b, n), (rows, columns) = a.shape[-2:], b.shape[-2:], out.shape[-2:]
    a_, b_, out_ = pointer(a, 0), pointer(b, 0), pointer(out, 0)
    count = out.size // max(m * n, 1)
    fits = rows_of_b == k and rows == m and columns == n and a.size == count * m * k and b.size == count * k * n
    if not fits or k == 0 and a.ndim > 2:
        return REFUSED
    if overlap(out_, out.size, a_, a.size) or overlap(out_, out.size, b_, b.size):
        return REFUSED
    (lda, step), ldb = (1, m) if in_columns(a) else (k, 1), k if in_columns(b) else n
    several = count, m * k, k * n, m * n
    return _in_place(a_, lda, step, b_, ldb, in_columns(b), out_, n, m, n, k, several, l2_bytes, l1_ways)


@compiled
def _matmul(a, b, out, work, l2_bytes, l1_ways, mc, kc, nc):
    """(M, K), (K, N) -> (M, N): the whole choice in one function, for whoever calls it from compiled code."""
    a_, b_, out_, work_ = pointer(a, 0), pointer(b, 0), pointer(out, 0), pointer(work, 0)
    (m, k), n = a.shape, b.shape[1]
    _multiply(a_, k, 1, b_, n, False, out_, n, m, n, k, ONE, work_, l2_bytes, l1_ways, mc, kc, nc)


@compiled(nogil=True)
def _matmul_share(t, a, b, out, layout, stack, works, l2_bytes, l1_ways, mc, kc, nc):
    """Any layout and any stack that `operands` describes, as far as it is for thread t; each has a row of `works`.

    Threads share the stack, or the only product in slabs of whole register tiles: rows of C, or its columns if more.
    """
    m, n, k, lda, step = layout[0], layout[1], layout[2], layout[3], layout[4]
    ldb, b_in_columns, ldc = layout[5], layout[6] != 0, layout[7]
    threads, count, by_rows = works.shape[0], stack[:, 0].prod(), m >= n
    first, last, i, j, height, width = 0, count, 0, 0, m, n
    if count > 1:
        share = -(-count // threads)
        first, last = t * share, min(count, (t + 1) * share)
    elif by_rows:
        slab = -(-m // (tile_rows(a) * threads)) * tile_rows(a)
        i, height = t * slab, min(slab, m - t * slab)
    else:
        slab = -(-n // (tile_columns(a) * threads)) * tile_columns(a)
        j, width = t * slab, min(slab, n - t * slab)
    if height <= 0 or width <= 0:
        return
    work, index, inner = pointer(works, t * works.shape[1]), first, len(stack) - 1
    a_, b_, out_ = pointer(a, i * lda), pointer(b, j * ldb if b_in_columns else j), pointer(out, i * ldc + j)
    while index < last:
        rest, x, y, z = index, a_, b_, out_
        for d in range(inner, -1, -1):
            place = rest % stack[d, 0]
            rest //= stack[d, 0]
            x, y = pointer(x, place * stack[d, 1]), pointer(y, place * stack[d, 2])
            z = pointer(z, place * stack[d, 3])
        some = min(last - index, stack[inner, 0] - index % stack[inner, 0])
        several = some, stack[inner, 1], stack[inner, 2], stack[inner, 3]
        _multiply(
            x, lda, step, y, ldb, b_in_columns, z, ldc, height, width, k, several, work, l2_bytes, l1_ways, mc, kc, nc
        )
        index += some


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, threads: int = 1) -> np.ndarray:
    """A B, or that of all pairs in two stacks. a: ... x M x K, b: ... x K x N, any layout, both float32 or float64.

    Stacks broadcast as in NumPy. out: ... x M x N, of any layout, overlaps neither input; new if None. threads: cores to
    use, at most as many as Numba has. The first call for a dtype and a kind of layout compiles for seconds, or loads the
    code from the cache. Source: Goto and van de Geijn 2008, Low et al. 2016 (see `blocked` and `block_sizes`).
    """
    if out is not None and type(threads) is int and threads == 1:
        try:
            status = _matmul_in_place(a, b, out, *LIMITS)
        except TypeError:  # of a type it is not compiled for
            status = REFUSED
        if status == DONE:
            return out
    return _any(a, b, out, threads)


def _any(a: object, b: object, out: object, threads: object) -> np.ndarray:
    """The long way: everything checked in Python, code compiled where it is not yet."""
    threads = check_threads(threads)
    out = products(a, b, out)
    if config.DISABLE_JIT:
        a, b = (np.broadcast_to(x, out.shape[:-2] + x.shape[-2:]) for x in (a, b))
        for index in np.ndindex(out.shape[:-2]):
            _matmul_ikj(a[index], b[index], out[index])
    elif not a.size or not b.size:
        out.fill(0)
    elif out.size:
        arrays = writeable(a), writeable(b), writeable(out)
        if threads > 1 or not _compiled_for(*arrays) or _matmul_in_place(*arrays, *limits()) != DONE:
            _strided(*arrays, threads)
    return out


def _compiled_for(*arrays: np.ndarray) -> bool:
    """Whether `_matmul_in_place` takes them: matrices in rows or in columns and an output in rows, or stacks in rows."""
    global LIMITS
    kinds = tuple(map(typeof, arrays))
    if kinds not in PREPARED:
        layouts, ranks = "".join(kind.layout for kind in kinds), {kind.ndim for kind in kinds}
        if not all(kind.aligned for kind in kinds) or (layouts, ranks) not in IN_PLACE:
            return False
        prepare(_matmul_in_place, (*kinds, types.intp, types.intp))
        PREPARED.add(kinds)
        LIMITS = limits()
    return True


def _strided(a: np.ndarray, b: np.ndarray, out: np.ndarray, threads: int) -> None:
    """Multiply what `operands` describes; an output that is contiguous in no direction gets a copy of the result."""
    arranged = operands(a, b, out)
    if arranged is None:
        result = np.empty(out.shape, out.dtype)
        _strided(a, b, result, threads)
        np.copyto(out, result)
        return
    m, n, k, *_ = map(int, arranged.layout)
    threads = threads if m * n * k * int(arranged.stack[:, 0].prod()) >= PARALLEL_WORK else 1
    works, *blocks = packing(m, n, k, out.dtype, threads)
    if threads == 1:
        _matmul_share(0, *arranged, works, *limits(), *blocks)
    else:
        in_threads(_matmul_share, threads, *arranged, works, *limits(), *blocks)


def unchecked(a: np.ndarray, b: np.ndarray, out: np.ndarray, threads: int = 1) -> tuple:
    """The arguments of `_matmul` from those of `matmul`."""
    if threads != 1:
        raise ValueError(f"threads must be 1 in kernel scope, got {threads}; use scope='call'")
    work, *blocks = packing(a.shape[0], b.shape[1], a.shape[1], a.dtype)
    return a, b, out, work, *limits(), *blocks


@cache
def limits() -> tuple[int, int]:
    """Bytes of L2 and ways of L1 on this machine, small ones where it does not tell."""
    data = {cache.level: cache for cache in data_caches(reported_caches())}
    return data[2].size_bytes if 2 in data else 256 << 10, (data[1].ways if 1 in data else None) or 8


def packing(m: int, n: int, k: int, dtype: np.dtype, threads: int = 1) -> tuple[np.ndarray, int, int, int]:
    """Room to pack into, a row per thread, and MC, KC, NC. The room is kept for the next call of this thread."""
    blocks = default_blocks(dtype)
    if m < ROWS_FOR_L3:
        blocks = few_rows_blocks(m, blocks, register_tile(dtype)[1], dtype.itemsize, limits()[0])
    count = items(m, n, k, dtype, *blocks)
    size = threads * count * dtype.itemsize
    if getattr(ROOM, "buffer", None) is None or ROOM.buffer.nbytes < size:
        ROOM.buffer = None  # first let go of the smaller one
        ROOM.buffer = mapped(-(-size // HUGE_BYTES) * HUGE_BYTES, HUGE_KIB)
    return ROOM.buffer[:size].view(dtype).reshape(threads, count), *blocks


ROOM = threading.local()
PREPARED: set[tuple] = set()
LIMITS: tuple[int, ...] = ()  # of `limits`; empty until `_matmul_in_place` is compiled and closed to other types
IN_PLACE = (("CCC", {2}), ("FCC", {2}), ("CFC", {2}), ("FFC", {2}), ("CCC", {3}))  # layouts and ranks of a, b and out
