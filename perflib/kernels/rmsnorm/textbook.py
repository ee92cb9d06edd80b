"""RMS norm: y = x * weight / sqrt(mean(x^2) + eps), for one row or every row of a batch.

Contract: x is n or rows x n, weight has n elements, out is shaped like x; C-contiguous, all float32 or all float64.
Sums are accumulated in the dtype of x, as published: float32 rows overflow where the sum of squares passes 3.4e38.
An underscore marks the compiled, unchecked kernel; it takes rows x n.

    rms_norm_standard   four loops and two temporaries: square, sum, normalise, weigh
    rms_norm_fast       two loops and no temporary: sum of squares, then scale and weigh together

    >>> import numpy as np
    >>> rms_norm_fast(np.array([3.0, 4.0]), np.ones(2), eps=0.5)
    array([0.83205029, 1.10940039])

Source: Zhang and Sennrich, Root Mean Square Layer Normalization, NeurIPS 2019, equation 4; eps inside the root as
published by the original engine. Each raises `TypeError` or `ValueError` naming the argument, the requirement and the
value.
"""

import numpy as np

from ..checks import rows
from ..jit.compile import compiled


@compiled
def _rms_norm_standard(x, weight, eps, out):
    """(rows, n), (n,) -> (rows, n)"""
    n = x.shape[1]
    for r in range(x.shape[0]):
        squares = np.empty(n, x.dtype)
        for j in range(n):
            value = x[r, j]
            squares[j] = value * value
        total = x.dtype.type(0)
        for j in range(n):
            total += squares[j]
        scale = x.dtype.type(1 / np.sqrt(total / n + eps))
        normalised = np.empty(n, x.dtype)
        for j in range(n):
            normalised[j] = x[r, j] * scale
        for j in range(n):
            out[r, j] = normalised[j] * weight[j]


@compiled
def _rms_norm_fast(x, weight, eps, out):
    """(rows, n), (n,) -> (rows, n)"""
    n = x.shape[1]
    for r in range(x.shape[0]):
        total = x.dtype.type(0)
        for j in range(n):
            value = x[r, j]
            total += value * value
        scale = x.dtype.type(1 / np.sqrt(total / n + eps))
        for j in range(n):
            out[r, j] = x[r, j] * scale * weight[j]


def rms_norm_standard(x: np.ndarray, weight: np.ndarray, eps: float = 1e-5, out: np.ndarray | None = None) -> np.ndarray:
    """RMS norm in four loops. x: n or rows x n, weight: n, eps >= 0, out: like x, new if None."""
    x, out_rows, out = rows(x, weight, eps, out)
    _rms_norm_standard(x, weight, float(eps), out_rows)
    return out


def rms_norm_fast(x: np.ndarray, weight: np.ndarray, eps: float = 1e-5, out: np.ndarray | None = None) -> np.ndarray:
    """RMS norm in two loops. x: n or rows x n, weight: n, eps >= 0, out: like x, new if None."""
    x, out_rows, out = rows(x, weight, eps, out)
    _rms_norm_fast(x, weight, float(eps), out_rows)
    return out
