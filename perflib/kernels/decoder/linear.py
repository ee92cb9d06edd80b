"""Multiply packed weights by one vector or by many: the hot path of a decoder.

    matvec(weight, x, out=None, threads=1)              x K or M x K, out N or M x N: y = W x for each row of x
    _linear(data, x, out, add, threads)                 the compiled kernel: out (+)= x W^T
    _linear_part(data, x, out, column, add, threads)    the same for the columns of out from `column` on

One vector: every weight is read once and used once, so the memory sets the pace. Some streams of panels are read side by
side, each without a break, eight sums in flight (streams that broke off at every panel cost Q8_0 a fifth). Many vectors:
the panels are a matrix multiplication's packed B already, twelve rows of x at a time share what is loaded of it; blocks are
widened panel by panel into a buffer that stays in the cache. `block_tile` says how blocks are multiplied. Threads share
the panels out. `gemm`, which takes weights as K x N and packs them at each call or reads them in place, took 0.94 to 1.25
times as long on a decoder's layers at 128 rows, 0.95 to 3.2 times at 16.

Contract: weight is `panels.Panels`; x, out float32, C-contiguous. A part's last panel may reach beyond its rows, where it
gives zeros: parts of one `out` are multiplied from left to right. The error is at most (K + 2) eps |W| |x| elementwise,
besides what quantising lost; one vector times blocks is off by up to 2^-22 of the largest |x| of 32, times |w|, more.

Raises TypeError or ValueError naming the argument, the requirement and the value.
"""

import numpy as np
from numba import prange, types
from numba.extending import overload

from ..checks import array_of, positive_integer
from ..jit.compile import compiled
from ..jit.simd import lanes, pointer
from .block_tile import BLOCK_PANELS, ROUNDED, round_block, tile_blocks, widen
from .blocks import BLOCK, PANEL
from .panels import Panels
from .tile import FULL_ROWS, TILE_VECTORS, VECTOR_PANELS, WIDE, tile


@compiled
def _one_f32(data, x, out, column, first, last, add):
    """(panels, K, 32), (1, K) -> (1, N), panels first to last"""
    k, n, one, size = data.shape[1], out.shape[1] - column, pointer(x, 0), data.shape[1] * PANEL
    apart = (last - first) // VECTOR_PANELS  # each stream runs through its own panels without a break
    for p in range(first, first + apart):
        panel, place = pointer(data, p * size), pointer(out, column + p * PANEL)
        tile(one, 1, panel, apart * size, place, apart * PANEL, 0, k, n - p * PANEL, add, 1, VECTOR_PANELS, WIDE)
    for p in range(first + apart * VECTOR_PANELS, last):
        tile(one, 1, pointer(data, p * size), 0, pointer(out, column + p * PANEL), 0, 0, k, n - p * PANEL, add, 1, 1, WIDE)


@compiled
def _one_blocks(data, rounded, out, column, first, last, add):
    """(panels, super-blocks), (blocks, ROUNDED) -> (1, N), panels first to last"""
    k, n, one = data.shape[1], out.shape[1] - column, pointer(rounded, 0)
    apart = (last - first) // BLOCK_PANELS
    for p in range(first, first + apart):
        panel, place = pointer(data, p * k), pointer(out, column + p * PANEL)
        tile_blocks(one, panel, apart * k, place, apart * PANEL, k, n - p * PANEL, add, BLOCK_PANELS, WIDE)
    for p in range(first + apart * BLOCK_PANELS, last):
        tile_blocks(one, pointer(data, p * k), 0, pointer(out, column + p * PANEL), 0, k, n - p * PANEL, add, 1, WIDE)


@compiled
def _interleave(x, m, k, packed):
    """(m, k) -> (k, FULL_ROWS) for each FULL_ROWS rows: what a tile reads of x lies in one stretch"""
    for r in range(m):
        group, place = packed[r // FULL_ROWS], r % FULL_ROWS
        for i in range(k):
            group[i, place] = x[r, i]


@compiled
def _round(data, x, rounded):
    """(1, K) -> (blocks, ROUNDED)"""
    k, rest = x.shape[1], np.zeros(BLOCK, np.float32)
    for b in range(rounded.shape[0]):
        source = pointer(x, b * BLOCK)
        if (b + 1) * BLOCK > k:
            rest[: k - b * BLOCK] = x[0, b * BLOCK :]
            source = pointer(rest, 0)
        round_block(source, pointer(data, 0), pointer(rounded, b * ROUNDED))


@compiled
def _tiles(packed, m, k, panel, out, column, add):
    """(blocks, K, FULL_ROWS), k x 32 at panel -> (m, N), columns from `column` on"""
    n, size, step = out.shape[1], packed.shape[1] * FULL_ROWS, TILE_VECTORS * lanes(out)
    for j in range(0, PANEL, step):
        b, count, r = pointer(panel, j), n - column - j, 0
        while r < m:
            a, c = pointer(packed, r // FULL_ROWS * size + r % FULL_ROWS), pointer(out, r * n + column + j)
            if m - r >= FULL_ROWS:
                tile(a, FULL_ROWS, b, 0, c, 0, n, k, count, add, FULL_ROWS, 1, TILE_VECTORS)
                r += FULL_ROWS
            elif m - r >= 4:
                tile(a, FULL_ROWS, b, 0, c, 0, n, k, count, add, 4, 1, TILE_VECTORS)
                r += 4
            elif m - r >= 2:
                tile(a, FULL_ROWS, b, 0, c, 0, n, k, count, add, 2, 1, TILE_VECTORS)
                r += 2
            else:
                tile(a, FULL_ROWS, b, 0, c, 0, n, k, count, add, 1, 1, TILE_VECTORS)
                r += 1


@compiled
def _many_f32(data, packed, out, column, first, last, add):
    """(panels, K, 32), (groups, K, FULL_ROWS) -> (M, N), panels first to last"""
    m, k = out.shape[0], data.shape[1]
    for p in range(first, last):
        _tiles(packed, m, k, pointer(data, p * k * PANEL), out, column + p * PANEL, add)


@compiled
def _many_blocks(data, packed, out, column, first, last, add):
    """(panels, super-blocks), (groups, K, FULL_ROWS) -> (M, N), panels first to last"""
    m, k = out.shape[0], packed.shape[1]
    blocks = -(-k // BLOCK)
    each, panel = blocks // data.shape[1], np.empty((blocks, BLOCK, PANEL), np.float32)
    for p in range(first, last):
        for b in range(blocks):
            widen(pointer(data, p * data.shape[1] + b // each), b % each, pointer(panel, b * BLOCK * PANEL))
        _tiles(packed, m, k, pointer(panel, 0), out, column + p * PANEL, add)


def _prepare(data, x):
    raise NotImplementedError("compiled code only")


@overload(_prepare)
def _prepare_by_kind(data, x):
    """x as a multiplication takes it, once for all threads: many rows interleaved, one row rounded for blocks."""
    quantised = data.dtype != types.float32

    def prepare(data, x):
        m, k = x.shape
        blocks = -(-k // BLOCK) if quantised and m == 1 else 0
        packed = np.empty((-(-m // FULL_ROWS) if m > 1 else 0, k, FULL_ROWS), np.float32)
        rounded = np.empty((blocks, ROUNDED), np.int32)
        if m > 1:
            _interleave(x, m, k, packed)
        elif quantised:
            _round(data, x, rounded)
        return packed, rounded

    return prepare


def _share(data, x, ready, out, column, first, last, add):
    raise NotImplementedError("compiled code only")


@overload(_share)
def _share_by_kind(data, x, ready, out, column, first, last, add):
    """Panels first to last, by the kind of the weights, which the compiler knows."""
    if data.dtype == types.float32:

        def share(data, x, ready, out, column, first, last, add):
            if x.shape[0] == 1:
                _one_f32(data, x, out, column, first, last, add)
            else:
                _many_f32(data, ready[0], out, column, first, last, add)

    else:

        def share(data, x, ready, out, column, first, last, add):
            if x.shape[0] == 1:
                _one_blocks(data, ready[1], out, column, first, last, add)
            else:
                _many_blocks(data, ready[0], out, column, first, last, add)

    return share


@compiled(parallel=True)
def _linear_in_parallel(data, x, ready, out, column, add, threads):
    panels = data.shape[0]
    for t in prange(threads):
        _share(data, x, ready, out, column, t * panels // threads, (t + 1) * panels // threads, add)


@compiled
def _linear_part(data, x, out, column, add, threads):
    """packed weights, (M, K) -> (M, N), columns from `column` on"""
    ready = _prepare(data, x)
    if threads == 1:  # no literals: they would be types of their own, compiled again
        _share(data, x, ready, out, column, np.intp(0), data.shape[0], add)
    else:
        _linear_in_parallel(data, x, ready, out, column, add, threads)


@compiled
def _linear(data, x, out, add, threads):
    """packed weights, (M, K) -> (M, N)"""
    _linear_part(data, x, out, np.intp(0), add, threads)


def matvec(weight: Panels, x: np.ndarray, out: np.ndarray | None = None, threads: int = 1) -> np.ndarray:
    """y = W x for x of K elements, or for each row of x. out: N, or M x N, new if None."""
    if not isinstance(weight, Panels):
        raise TypeError(f"weight must be packed, got {type(weight).__name__}; use kernels.pack")
    x = _vectors("x", x, weight.columns)
    shape = (*x.shape[:-1], weight.rows)
    if out is None:
        out = np.empty(shape, np.float32)
    elif _vectors("out", out, weight.rows).shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    elif not out.flags.writeable or np.may_share_memory(out, x):
        raise ValueError("out must be writeable and must not overlap x, got an array that is not or does")
    _linear(weight.data, np.atleast_2d(x), np.atleast_2d(out), False, positive_integer("threads", threads))
    return out


def _vectors(name: str, value: np.ndarray, length: int) -> np.ndarray:
    array_of(np.float32, name, value)
    if value.ndim not in (1, 2) or value.shape[-1] != length or not value.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous rows of {length}, got shape {value.shape}, strides {value.strides}")
    return value
