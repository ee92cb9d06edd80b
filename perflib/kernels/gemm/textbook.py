"""Multiply matrices, C = A B: the first four variants, from the textbook loop on. Read on in `blocked`, then `fast`.

Contract of every variant: A is M x K, B is K x N, C is M x N, all C-contiguous, all float32 or all float64; C is
overwritten and overlaps neither input. Work: 2 M N K flops. An underscore marks the compiled, unchecked kernel.

    matmul_naive            i j k: three loops, one sum; walks down the columns of B, a new cache line per step
    matmul_tiled            as published by the original engine: three tile loops around i j k, partial sums; B is reused
                            within a tile, but its inner loop still walks down columns
    matmul_tiled_vectorised the same tiles with the inner loop along rows: consecutive lanes, packed multiply-adds
    matmul_ikj              no tiles, only the loop order i k j: rows of B and C stream through
    matmul_register_blocked (in `blocked`) a tile of C in registers: one load feeds several multiply-adds
    matmul_packed           (in `blocked`) what is read is copied first, into the order in which it is read
    matmul                  (in `fast`) the way that suits each shape

What each gained over the one before, paired, is a table of notebook 02 for the committed run and of every report.

    >>> import numpy as np
    >>> matmul_tiled(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]), tile=1)
    array([[1., 2.],
           [3., 4.]])

Each raises `TypeError` or `ValueError` naming the argument, the requirement and the value.
"""

import numpy as np

from ..checks import matrices, positive_integer
from ..jit.compile import compiled

DEFAULT_TILE = 64  # as published by the original engine: 64 x 64 float32 is 16 KiB


@compiled
def _matmul_naive(a, b, out):
    """(M, K), (K, N) -> (M, N)"""
    m, k = a.shape
    n = b.shape[1]
    for i in range(m):
        for j in range(n):
            total = out.dtype.type(0)
            for p in range(k):
                total += a[i, p] * b[p, j]
            out[i, j] = total


@compiled
def _matmul_ikj(a, b, out):
    """(M, K), (K, N) -> (M, N)"""
    m, k = a.shape
    n = b.shape[1]
    for i in range(m):
        row = out[i]
        for j in range(n):
            row[j] = 0
        for p in range(k):
            x = a[i, p]
            b_row = b[p]  # row views: with b[p, j] the check for negative indices stays, and the loop scalar
            for j in range(n):
                row[j] += x * b_row[j]


@compiled
def _matmul_tiled(a, b, out, tile):
    """(M, K), (K, N) -> (M, N); tile >= 1, edges by min"""
    m, k = a.shape
    n = b.shape[1]
    for i in range(m):
        for j in range(n):
            out[i, j] = 0
    for ii in range(0, m, tile):
        for jj in range(0, n, tile):
            for pp in range(0, k, tile):
                for i in range(ii, min(ii + tile, m)):
                    for j in range(jj, min(jj + tile, n)):
                        total = out.dtype.type(0)
                        for p in range(pp, min(pp + tile, k)):
                            total += a[i, p] * b[p, j]
                        out[i, j] += total


@compiled
def _matmul_tiled_vectorised(a, b, out, tile):
    """(M, K), (K, N) -> (M, N); tile >= 1, edges by min"""
    m, k = a.shape
    n = b.shape[1]
    for i in range(m):
        for j in range(n):
            out[i, j] = 0
    for ii in range(0, m, tile):
        for jj in range(0, n, tile):
            width = min(tile, n - jj)
            for pp in range(0, k, tile):
                for i in range(ii, min(ii + tile, m)):
                    row = out[i, jj : jj + width]
                    for p in range(pp, min(pp + tile, k)):
                        x = a[i, p]
                        b_row = b[p, jj : jj + width]
                        for j in range(width):
                            row[j] += x * b_row[j]


def matmul_naive(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """A B by the textbook's three loops. a: M x K, b: K x N, out: M x N, new if None."""
    out = matrices(a, b, out)
    _matmul_naive(a, b, out)
    return out


def matmul_ikj(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """A B row by row, untiled. a: M x K, b: K x N, out: M x N, new if None."""
    out = matrices(a, b, out)
    _matmul_ikj(a, b, out)
    return out


def matmul_tiled(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, tile: int = DEFAULT_TILE) -> np.ndarray:
    """A B in square tiles of `tile` elements, as published. a: M x K, b: K x N, out: M x N, new if None.

    A tile larger than the matrix is allowed: it is then `matmul_naive`. Source: Lam, Rothberg, Wolf,
    The cache performance and optimizations of blocked algorithms, ASPLOS 1991.
    """
    tile = positive_integer("tile", tile)
    out = matrices(a, b, out)
    _matmul_tiled(a, b, out, tile)
    return out


def matmul_tiled_vectorised(
    a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, tile: int = DEFAULT_TILE
) -> np.ndarray:
    """A B in the same tiles with the inner loop along rows. a: M x K, b: K x N, out: M x N, new if None."""
    tile = positive_integer("tile", tile)
    out = matrices(a, b, out)
    _matmul_tiled_vectorised(a, b, out, tile)
    return out
