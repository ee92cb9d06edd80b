"""Multiply matrices with a tile of C in registers: two variants, from which `fast` is built.

Contract as in `textbook`: A is M x K, B is K x N, C is M x N, C-contiguous, float32 or float64.

    matmul_register_blocked     MR x NR elements of C in registers, A and B read where they are: each load now feeds several
                                multiply-adds instead of one. Ends where B leaves the caches or its rows share their sets
    matmul_packed               blocks of A and panels of B are copied first, into the order in which they are read: no
                                conflicts, few pages, whole cache lines, whatever the matrices look like

        for jc in steps of NC           B: KC x NC, packed into panels of NR columns        (L3)
            for pc in steps of KC
                for ic in steps of MC   A: MC x KC, rows copied to an odd distance          (L2)
                    for jr in steps of NR           one panel of B, KC x NR                 (L1, L2)
                        for ir in steps of MR       micro-kernel: MR x NR of C              (registers)

The five loops around the micro-kernel are those of Goto and van de Geijn, Anatomy of high-performance matrix
multiplication, TOMS 34(3), 2008, with the names of BLIS; rows and columns are swapped, because here C lies in rows. A is
not transposed into micro-panels: a row of it is read one element at a time wherever it lies, so copied rows serve as well.
"""

from functools import cache

import numpy as np

from ..buffers import aligned_empty
from ..caches import reported_caches
from ..checks import matrices, positive_integer
from ..jit.compile import compiled
from ..jit.simd import copy_transposed, lanes, load, load_first, pointer, store
from ..jit.vector import vector_lanes
from .block_sizes import Blocks, chosen_blocks
from .microkernel import micro_kernel, register_tile, tile_columns, tile_rows

ONE = 1, 0, 0, 0  # multiplication: how many, and from one to the next of A, B and C


@compiled(inline="always")
def _multiply_panels(a, lda, step, b, ldb, panel, c, ldc, m, n, k, accumulate, several):
    """C (+)= A B by register tiles: a, b, c are pointers; panel j of B starts at b + j panel, its rows are ldb apart.

    several: as the micro-kernel takes it, (1, 0, 0, 0) for one multiplication.
    """
    mr, nr, first = tile_rows(a), tile_columns(a), 0
    if m <= mr and n >= 2 * nr and several[0] == 1:  # one row of tiles takes one call
        first = n // nr * nr
        micro_kernel(a, lda, step, b, ldb, c, ldc, m, nr, k, accumulate, n // nr, 0, panel, nr)
    for jr in range(first, n, nr):
        b_panel, columns = pointer(b, jr // nr * panel), min(nr, n - jr)
        ir = 0
        while ir < m:
            rest = m - ir
            # a last tile of few rows has too few sums to keep the units busy: it shares the rows of the one before
            rows = (rest + 1) // 2 if mr < rest < mr + mr // 2 else min(mr, rest)
            tile = pointer(c, ir * ldc + jr)
            micro_kernel(pointer(a, ir * lda), lda, step, b_panel, ldb, tile, ldc, rows, columns, k, accumulate, *several)
            ir += rows


@compiled(inline="always")
def _multiply_in_place(a, lda, step, b, ldb, c, ldc, m, n, k, kc, several):
    """C = A B, nothing copied, kc steps of k at a time; several: as the micro-kernel takes it."""
    for pc in range(0, max(k, 1), kc):  # once where k is 0: sums of nothing are written too
        a_, b_, steps, panel = pointer(a, pc * step), pointer(b, pc * ldb), min(kc, k - pc), tile_columns(a)
        _multiply_panels(a_, lda, step, b_, ldb, panel, c, ldc, m, n, steps, pc > 0, several)


@compiled(inline="always")
def _pack_b(b, ldb, in_columns, k, n, panels):
    """k x n of B into panels of NR columns, row after row; columns beyond n become zeros.

    ldb: elements from one row of B to the next, or from one column where B lies in columns.
    """
    step, nr = lanes(b), tile_columns(b)
    for jr in range(0, n, nr):
        panel = pointer(panels, jr * k)
        if in_columns:
            for p in range(0, k, step):
                for j in range(0, nr, step):
                    columns = pointer(b, (jr + j) * ldb + p)
                    copy_transposed(columns, ldb, n - jr - j, k - p, pointer(panel, p * nr + j), nr)
        else:
            for p in range(k):
                for j in range(0, nr, step):
                    rest = n - jr - j
                    row = load(b, p * ldb + jr + j) if rest >= step else load_first(b, p * ldb + jr + j, rest)
                    store(panel, p * nr + j, row)


@compiled(inline="always")
def _copy_rows(a, lda, m, k, rows, ld):
    """m x k of A to rows that are ld apart."""
    step = lanes(a)
    for i in range(m):
        for p in range(0, k, step):
            row = load(a, i * lda + p) if p + step <= k else load_first(a, i * lda + p, k - p)
            store(rows, i * ld + p, row)


@compiled(inline="always")
def _multiply_packed(a, lda, step, b, ldb, in_columns, c, ldc, m, n, k, work, copy_a, mc, kc, nc):
    """C = A B through packed panels of B and, on request, copied rows or columns of A; work: `items` elements."""
    nr, by_rows = tile_columns(a), step == 1
    panels = pointer(work, 0)
    lines = pointer(work, min(kc, k) * (-(-min(nc, n) // nr) * nr))
    for jc in range(0, n, nc):
        columns = min(nc, n - jc)
        for pc in range(0, max(k, 1), kc):
            steps = min(kc, k - pc)
            _pack_b(pointer(b, pc + jc * ldb if in_columns else pc * ldb + jc), ldb, in_columns, steps, columns, panels)
            for ic in range(0, m, mc):
                height, source, down, along = min(mc, m - ic), pointer(a, ic * lda + pc * step), lda, step
                if copy_a and by_rows:
                    down = _apart(a, steps)
                    _copy_rows(source, lda, height, steps, lines, down)
                    source = lines
                elif copy_a:
                    along = _apart(a, height)
                    _copy_rows(source, step, steps, height, lines, along)
                    source = lines
                tile = pointer(c, ic * ldc + jc)
                _multiply_panels(
                    source, down, along, panels, nr, nr * steps, tile, ldc, height, columns, steps, pc > 0, ONE
                )


@compiled(inline="always")
def _apart(x, length):
    """Elements from one copied line to the next: a vector more than it has, so that lines do not share their sets."""
    return -(-length // lanes(x)) * lanes(x) + lanes(x)


@compiled
def _matmul_register_blocked(a, b, out):
    """(M, K), (K, N) -> (M, N)"""
    m, k, n = a.shape[0], a.shape[1], b.shape[1]
    _multiply_in_place(pointer(a, 0), k, 1, pointer(b, 0), n, pointer(out, 0), n, m, n, k, max(k, 1), ONE)


@compiled
def _matmul_packed(a, b, out, work, mc, kc, nc):
    """(M, K), (K, N) -> (M, N)"""
    a_, b_, out_, work_ = pointer(a, 0), pointer(b, 0), pointer(out, 0), pointer(work, 0)
    m, k, n = a.shape[0], a.shape[1], b.shape[1]
    _multiply_packed(a_, k, 1, b_, n, False, out_, n, m, n, k, work_, True, mc, kc, nc)


def items(m: int, n: int, k: int, dtype: np.dtype, mc: int, kc: int, nc: int) -> int:
    """Elements that a packed block of B and copied rows or columns of A take."""
    nr, step = register_tile(dtype)[1], vector_lanes(dtype)
    height, steps, columns = min(mc, m), min(kc, k), -(-min(nc, n) // nr) * nr
    return steps * columns + height * steps + 2 * step * max(height, steps)


@cache
def default_blocks(dtype: np.dtype) -> Blocks:
    """The blocks for the caches of this machine."""
    return chosen_blocks(dtype, reported_caches())


def matmul_register_blocked(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """A B by register tiles, everything read in place. a: M x K, b: K x N, out: M x N, new if None."""
    out = matrices(a, b, out)
    _matmul_register_blocked(a, b, out)
    return out


def matmul_packed(
    a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, mc: int = 0, kc: int = 0, nc: int = 0
) -> np.ndarray:
    """A B by packed blocks. a: M x K, b: K x N, out: M x N, new if None; mc, kc, nc: the blocks, the model's where 0."""
    out = matrices(a, b, out)
    _matmul_packed(*unchecked(a, b, out, mc, kc, nc))
    return out


def unchecked(a: np.ndarray, b: np.ndarray, out: np.ndarray, *blocks: int) -> tuple:
    """The arguments of `_matmul_packed` from those of `matmul_packed`: with room to pack into, every block a number."""
    rows = zip(Blocks._fields, blocks, default_blocks(a.dtype), strict=True)
    blocks = [positive_integer(name, block or default) for name, block, default in rows]
    return a, b, out, aligned_empty(items(a.shape[0], b.shape[1], a.shape[1], a.dtype, *blocks), a.dtype), *blocks
