"""Multiply matrices fast: the register tile of `blocked`, and for each shape the path that suits it.

These rules choose the path, in this order:

    B fits L2                       everything is read where it lies: packing would only cost
    few rows of A                   B is used too seldom to pay for a copy: read in place, a few rows of it at a time
    else                            B is packed; rows of A are copied only where they share their sets in L1

A call is checked inside the compiled function, where a check costs nothing; what that does not take (other layouts and
types, more threads, bad arguments) goes the long way through Python, which copies, or refuses with the reason.

    >>> import numpy as np
    >>> matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[1., 2.],
           [3., 4.]])

Bound: |C - A B| <= (K + 2) eps |A| |B|, elementwise. NaN and infinity propagate. Raises `TypeError` or `ValueError`
naming the argument, the requirement and the value.
"""

import threading

import numpy as np
from numba import config, prange, types

from ..buffers import HUGE_BYTES, HUGE_KIB, mapped
from ..caches import data_caches, reported_caches
from ..checks import matrices
from ..jit.compile import compiled
from ..jit.dispatch import DONE, REFUSED, array_type, check_threads, numba_threads, overlap, plain, prepare
from ..jit.simd import item_bytes, pointer
from .block_sizes import shared_sets
from .blocked import _multiply_in_place, _multiply_packed, default_blocks, items
from .microkernel import tile_columns, tile_rows
from .textbook import _matmul_ikj

LARGE = 2  # beside REFUSED and DONE
B_IN_PLACE = 3  # times L2: as far B streams from the level behind it as fast as it is needed
FEW_ROWS = 128  # of A, or columns of B: what is copied has to be used about so often to pay for it
STEPS_IN_PLACE = 128  # k at a time where few rows meet a large B: its panel stays in L1
STEPS_AT_ONE_USE = 8  # and where B is used once or twice: rows that the prefetchers can follow side by side
PARALLEL_WORK = 64**3  # multiply-adds from which waking a second thread can pay
WAY = 4096  # bytes of a way of L1 on every machine whose L1 is indexed within a page


@compiled(inline="always")
def _in_place(a, b, out, m, k, rows_of_b, n, rows, columns, l2_bytes, l1_ways):
    """Multiply in place if that is best; says what it did. a, b, out: pointers to M x K, K x N, M x N."""
    if rows_of_b != k or rows != m or columns != n or overlap(out, m * n, a, m * k) or overlap(out, m * n, b, k * n):
        return REFUSED
    steps = k
    if k * n * item_bytes(a) > B_IN_PLACE * l2_bytes:
        if m >= FEW_ROWS:
            return LARGE
        steps = STEPS_IN_PLACE if m > tile_rows(a) // 2 else STEPS_AT_ONE_USE
    elif n >= FEW_ROWS and _rows_conflict(k, a, l1_ways):
        return LARGE
    _multiply_in_place(a, k, b, n, out, n, m, n, k, max(steps, 1))
    return DONE


@compiled(inline="always")
def _rows_conflict(lda, a, l1_ways):
    """Whether the MR rows of A that the micro-kernel reads at a time evict each other from L1, B's panel beside them."""
    stride = lda * item_bytes(a)
    return stride >= WAY // 2 and shared_sets(stride, tile_rows(a), WAY) > l1_ways - 2


@compiled(inline="always")
def _pack_and_multiply(a, b, out, m, k, n, work, l1_ways, mc, kc, nc):
    """Multiply with B packed, and A copied where its rows conflict."""
    copy_a = n >= FEW_ROWS and _rows_conflict(k, a, l1_ways)
    _multiply_packed(a, k, b, n, out, n, m, n, k, work, copy_a, mc, kc, nc)


@compiled(nogil=True)
def _matmul_in_place(a, b, out, l2_bytes, l1_ways):
    """(M, K), (K, N) -> (M, N)"""
    a_, b_, out_ = pointer(a, 0), pointer(b, 0), pointer(out, 0)
    (m, k), (rows_of_b, n), (rows, columns) = a.shape, b.shape, out.shape
    return _in_place(a_, b_, out_, m, k, rows_of_b, n, rows, columns, l2_bytes, l1_ways)


@compiled(nogil=True)
def _matmul_packing(a, b, out, work, l1_ways, mc, kc, nc):
    """(M, K), (K, N) -> (M, N)"""
    a_, b_, out_ = pointer(a, 0), pointer(b, 0), pointer(out, 0)
    _pack_and_multiply(a_, b_, out_, a.shape[0], a.shape[1], b.shape[1], pointer(work, 0), l1_ways, mc, kc, nc)


@compiled
def _matmul(a, b, out, work, l2_bytes, l1_ways, mc, kc, nc):
    """(M, K), (K, N) -> (M, N): the whole choice in one function, for whoever calls it from compiled code."""
    a_, b_, out_, work_ = pointer(a, 0), pointer(b, 0), pointer(out, 0), pointer(work, 0)
    (m, k), (rows_of_b, n), (rows, columns) = a.shape, b.shape, out.shape
    if _in_place(a_, b_, out_, m, k, rows_of_b, n, rows, columns, l2_bytes, l1_ways) == LARGE:
        _pack_and_multiply(a_, b_, out_, m, k, n, work_, l1_ways, mc, kc, nc)


@compiled(parallel=True)
def _matmul_threads(a, b, out, works, l1_ways, mc, kc, nc):
    """The same with a slab of whole register tiles per row of `works`: rows of C, or columns where there are more."""
    (m, k), n, threads = a.shape, b.shape[1], works.shape[0]
    by_rows = m >= n
    unit = tile_rows(a) if by_rows else tile_columns(a)
    slab = -(-(m if by_rows else n) // (unit * threads)) * unit
    copy_a = _rows_conflict(k, a, l1_ways)
    for t in prange(threads):
        i, j = (t * slab, 0) if by_rows else (0, t * slab)
        height, width = min(slab, m - i) if by_rows else m, n if by_rows else min(slab, n - j)
        if height > 0 and width > 0:
            a_, b_, out_ = pointer(a, i * k), pointer(b, j), pointer(out, i * n + j)
            work = pointer(works, t * works.shape[1])
            _multiply_packed(a_, k, b_, n, out_, n, height, width, k, work, copy_a, mc, kc, nc)


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, threads: int = 1) -> np.ndarray:
    """A B. a: M x K, b: K x N, both float32 or both float64 and of any layout; out: M x N, C-contiguous, new if None.

    threads: cores to use, at most as many as Numba has. The first call for a dtype compiles for two seconds, or loads the
    code from the cache. Source: Goto and van de Geijn 2008, Low et al. 2016 (see `blocked` and `block_sizes`).
    """
    if out is not None and type(threads) is int and threads == 1:
        try:
            status = _matmul_in_place(a, b, out, *LIMITS)
        except TypeError:  # of a type it is not compiled for
            status = REFUSED
        if status == DONE:
            return out
        if status == LARGE:
            work, *blocks = packing(a, b)
            _matmul_packing(a, b, out, work, LIMITS[1], *blocks)
            return out
    return _any(a, b, out, threads)


def _any(a: object, b: object, out: object, threads: object) -> np.ndarray:
    """The long way: everything checked in Python, inputs of other layouts copied, code compiled where it is not yet."""
    global LIMITS
    threads = check_threads(threads)
    out = matrices(a, b, out, any_layout=True)
    a, b = plain(a), plain(b)
    if config.DISABLE_JIT:
        _matmul_ikj(a, b, out)
        return out
    if a.dtype not in PREPARED:
        kind = array_type(a.dtype, 2)
        prepare(_matmul_in_place, (kind, kind, kind, types.intp, types.intp))
        LIMITS = limits()
        PREPARED.add(a.dtype)
    if threads > 1 and a.size * b.shape[1] >= PARALLEL_WORK:
        work, *blocks = packing(a, b, threads)
        with numba_threads(threads):
            _matmul_threads(a, b, out, work, LIMITS[1], *blocks)
    elif _matmul_in_place(a, b, out, *LIMITS) == LARGE:
        work, *blocks = packing(a, b)
        _matmul_packing(a, b, out, work, LIMITS[1], *blocks)
    return out


def unchecked(a: np.ndarray, b: np.ndarray, out: np.ndarray, threads: int = 1) -> tuple:
    """The arguments of `_matmul` from those of `matmul`."""
    if threads != 1:
        raise ValueError(f"threads must be 1 in kernel scope, got {threads}; use scope='call'")
    work, *blocks = packing(a, b)
    return a, b, out, work, *limits(), *blocks


def limits() -> tuple[int, int]:
    """Bytes of L2 and ways of L1 on this machine, small ones where it does not tell."""
    data = {cache.level: cache for cache in data_caches(reported_caches())}
    return data[2].size_bytes if 2 in data else 256 << 10, (data[1].ways if 1 in data else None) or 8


def packing(a: np.ndarray, b: np.ndarray, threads: int = 1) -> tuple[np.ndarray, int, int, int]:
    """Room to pack into, a row per thread, and MC, KC, NC. The room is kept for the next call of this thread."""
    blocks = default_blocks(a.dtype)
    count = items(a.shape[0], b.shape[1], a.shape[1], a.dtype, *blocks)
    size = threads * count * a.itemsize
    if getattr(ROOM, "buffer", None) is None or ROOM.buffer.nbytes < size:
        ROOM.buffer = None  # first let go of the smaller one
        ROOM.buffer = mapped(-(-size // HUGE_BYTES) * HUGE_BYTES, HUGE_KIB)
    return ROOM.buffer[:size].view(a.dtype).reshape(threads, count), *blocks


ROOM = threading.local()
PREPARED: set[np.dtype] = set()
LIMITS: tuple[int, ...] = ()  # of `limits`; empty until something is compiled
