"""Multiply packed weights by one vector or by many: the hot path of a decoder.

    matvec(weight, x, out=None, threads=1)      x K or M x K, out N or M x N: y = W x for each row of x
    _linear(data, x, out, add, threads)         the compiled kernel: out (+)= x W^T

One vector: every weight is read once and used once, so the memory sets the pace. Four streams of panels are read side by
side, each without a break, eight sums in flight (streams that broke off at every panel cost Q8_0 a fifth); Q8_0 is widen
in registers: int8 to float32, a multiply-add, and the scale once in 32. Many vectors: the panels are a matrix
multiplication's packed B already, twelve rows of x at a time share what is loaded of it; Q8_0 panels are widened once
into a buffer that stays in the cache. Threads share the panels out. `gemm`, which takes weights as K x N and packs them
at each call or reads them in place, took 0.94 to 1.25 times as long on a decoder's layers at 128 rows, 0.95 to 3.2
times at 16.

Contract: weight is `panels.Panels`; x, out float32, C-contiguous. Sums run over K in order, in float32: the error is at
most (K + 2) eps |W| |x| elementwise, besides what quantising lost.

Raises TypeError or ValueError naming the argument, the requirement and the value.
"""

import numpy as np
from numba import prange, types
from numba.extending import overload

from ..checks import array_of, positive_integer
from ..jit.compile import compiled
from ..jit.simd import lanes, pointer
from .panels import BLOCK_BYTES, PANEL, Panels
from .tile import FULL_ROWS, Q8_PANELS, TILE_VECTORS, VECTOR_PANELS, WIDE, tile, tile_q8_0, widen


@compiled
def _one_f32(data, x, out, first, last, add):
    """(panels, K, 32), (1, K) -> (1, N), panels first to last"""
    k, n, one, size = data.shape[1], out.shape[1], pointer(x, 0), data.shape[1] * PANEL
    apart = (last - first) // VECTOR_PANELS  # each stream runs through its own panels without a break
    for p in range(first, first + apart):
        panel, place = pointer(data, p * size), pointer(out, p * PANEL)
        tile(one, 1, panel, apart * size, place, apart * PANEL, 0, k, n - p * PANEL, add, 1, VECTOR_PANELS, WIDE)
    for p in range(first + apart * VECTOR_PANELS, last):
        tile(one, 1, pointer(data, p * size), 0, pointer(out, p * PANEL), 0, 0, k, n - p * PANEL, add, 1, 1, WIDE)


@compiled
def _one_q8_0(data, x, out, first, last, add):
    """(panels, blocks, BLOCK_BYTES), (1, K) -> (1, N), panels first to last"""
    k, n, one, size = x.shape[1], out.shape[1], pointer(x, 0), data.shape[1] * BLOCK_BYTES
    apart = (last - first) // Q8_PANELS
    for p in range(first, first + apart):
        panel, place = pointer(data, p * size), pointer(out, p * PANEL)
        tile_q8_0(one, panel, apart * size, place, apart * PANEL, k, n - p * PANEL, add, Q8_PANELS, WIDE)
    for p in range(first + apart * Q8_PANELS, last):
        tile_q8_0(one, pointer(data, p * size), 0, pointer(out, p * PANEL), 0, k, n - p * PANEL, add, 1, WIDE)


@compiled
def _interleave(x, m, k, packed):
    """(m, k) -> (k, FULL_ROWS) for each FULL_ROWS rows: what a tile reads of x lies in one stretch"""
    for r in range(m):
        group, place = packed[r // FULL_ROWS], r % FULL_ROWS
        for i in range(k):
            group[i, place] = x[r, i]


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
def _many_f32(data, x, out, first, last, add):
    """(panels, K, 32), (M, K) -> (M, N), panels first to last"""
    m, k = x.shape
    packed = np.empty((-(-m // FULL_ROWS), k, FULL_ROWS), np.float32)
    _interleave(x, m, k, packed)
    for p in range(first, last):
        _tiles(packed, m, k, pointer(data, p * data.shape[1] * PANEL), out, p * PANEL, add)


@compiled
def _many_q8_0(data, x, out, first, last, add):
    """(panels, blocks, BLOCK_BYTES), (M, K) -> (M, N), panels first to last"""
    m, k = x.shape
    blocks, packed = data.shape[1], np.empty((-(-m // FULL_ROWS), k, FULL_ROWS), np.float32)
    _interleave(x, m, k, packed)
    panel = np.empty((blocks, PANEL, PANEL), np.float32)
    for p in range(first, last):
        for block in range(blocks):
            widen(pointer(data, (p * blocks + block) * BLOCK_BYTES), pointer(panel, block * PANEL * PANEL))
        _tiles(packed, m, k, pointer(panel, 0), out, p * PANEL, add)


def _share(data, x, out, first, last, add):
    raise NotImplementedError("compiled code only")


@overload(_share)
def _share_by_kind(data, x, out, first, last, add):
    """Panels first to last, by the kind of the weights, which the compiler knows."""
    one, many = (_one_f32, _many_f32) if data.dtype == types.float32 else (_one_q8_0, _many_q8_0)

    def share(data, x, out, first, last, add):
        if x.shape[0] == 1:
            one(data, x, out, first, last, add)
        else:
            many(data, x, out, first, last, add)

    return share


@compiled(parallel=True)
def _linear_in_parallel(data, x, out, add, threads):
    panels = data.shape[0]
    for t in prange(threads):
        _share(data, x, out, t * panels // threads, (t + 1) * panels // threads, add)


@compiled
def _linear(data, x, out, add, threads):
    """packed weights, (M, K) -> (M, N)"""
    if threads == 1:
        _share(data, x, out, np.intp(0), data.shape[0], add)  # no literal: it would be compiled for that type again
    else:
        _linear_in_parallel(data, x, out, add, threads)


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
