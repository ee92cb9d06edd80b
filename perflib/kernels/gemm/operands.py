"""Describe arrays of any rank and layout to compiled code by pointer and strides; copy only where no stride is one element.

    layout      M, N, K; from one row of A to the next, from one column of A to the next; from one row of B to the next, or
                from one column where B lies in columns (the next number is then 1); from one row of C to the next
    stack       a line for each dimension of the stack: how many, and from one to the next of A, B and C

Strides count elements. C lies in rows: an `out` in columns is (B^T A^T)^T. Where all of a stack's A meet the same B and lie
one behind the other, they are one A of more rows. Dimensions of a stack that are one stretch become one dimension.
"""

from typing import NamedTuple

import numpy as np

from ..jit.dispatch import writeable


class Operands(NamedTuple):
    """The first elements of A, B and C as arrays, and where the others are."""

    a: np.ndarray
    b: np.ndarray
    out: np.ndarray
    layout: np.ndarray
    stack: np.ndarray


def operands(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> Operands | None:
    """None where neither the rows nor the columns of `out` are contiguous. No array may be empty."""
    if not _contiguous(out, -1):
        a, b, out = (x.swapaxes(-1, -2) for x in (b, a, out))
    if not (_contiguous(out, -1) and out.flags.aligned):
        return None
    a, b = _with_contiguous_lines(a), _with_contiguous_lines(b)
    (m, k), n = a.shape[-2:], b.shape[-1]
    (lda, step), (ldb, across), ldc = _strides(a), _strides(b), out.strides[-2] // out.itemsize
    in_columns = not _contiguous(b, -1)
    stack = _merged(a, b, out)
    while len(stack) and stack[-1][2] == 0 and (m == 1 and step == 1 or stack[-1][1::2] == [m * lda, m * ldc]):
        count, stride, _, stride_out = stack.pop()
        lda, ldc, m = (stride, stride_out, count) if m == 1 else (lda, ldc, m * count)
    layout = np.array([m, n, k, lda, step, across if in_columns else ldb, in_columns, ldc])
    return Operands(*map(_first, (a, b, out)), layout, np.array(stack or [[1, 0, 0, 0]]))


def _contiguous(x: np.ndarray, axis: int) -> bool:
    """Whether elements along an axis are neighbours."""
    return x.shape[axis] == 1 or x.strides[axis] == x.itemsize


def _with_contiguous_lines(x: np.ndarray) -> np.ndarray:
    """x, copied unless its rows or its columns are contiguous and its elements aligned."""
    return x if x.flags.aligned and (_contiguous(x, -1) or _contiguous(x, -2)) else np.array(x, order="C", subok=False)


def _strides(x: np.ndarray) -> tuple[int, int]:
    """Elements from one row to the next and from one column to the next, one of the two is 1."""
    row, column = (stride // x.itemsize for stride in x.strides[-2:])
    return (row, 1) if _contiguous(x, -1) else (1, column)


def _merged(*arrays: np.ndarray) -> list[list[int]]:
    """The lines of `stack`, last dimension last; the last array has every dimension, others are repeated along some."""
    lines: list[list[int]] = []
    for axis in range(-arrays[-1].ndim, -2):
        count = arrays[-1].shape[axis]
        repeated = (x.ndim < -axis or x.shape[axis] == 1 for x in arrays)
        strides = [0 if same else x.strides[axis] // x.itemsize for x, same in zip(arrays, repeated, strict=True)]
        if lines and lines[-1][1:] == [stride * count for stride in strides]:
            count *= lines.pop()[0]
        if count > 1:
            lines.append([count, *strides])
    return lines


def _first(x: np.ndarray) -> np.ndarray:
    """The first element, as compiled code takes arrays."""
    return writeable(x[(0,) * (x.ndim - 1)][:1])
