"""Whether two results are the same for whoever compares versions of a function: floats within a tolerance of their type.

>>> alike([1.0, 2.0], np.array([1.0, 2.0 + 1e-12]))
True
>>> alike(np.float32(1.0), 1.001)
False
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def alike(one: Any, other: Any) -> bool:
    """Compare two results by value; a list of numbers may equal an array, what cannot be compared counts as the same.

    The tolerance is the root of the machine epsilon of the coarser type, of the largest magnitude in `other`: sums in
    another order pass, another formula does not.
    """
    if one is other:
        return True
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    first, second = _numbers(one), _numbers(other)
    if first is not None and second is not None:
        return _close(first, second)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    try:
        return bool(one == other)
    except Exception:  # an object that compares to no truth value
        return True


def _numbers(value: Any) -> np.ndarray | None:
    """The value as an array of numbers; None where it is none."""
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        array = np.asarray(value)
    except Exception:  # ragged lists, and what objects raise
        return None
    return array if array.dtype.kind in "biufc" else None


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape:
        return False
    floats = [array.dtype for array in (one, other) if array.dtype.kind in "fc"]
    if not floats:
        return bool((one == other).all())
    tolerance = math.sqrt(max(np.finfo(dtype).eps for dtype in floats))
    finite = np.abs(other[np.isfinite(other)])
    scale = float(finite.max(initial=0))
    with np.errstate(all="ignore"):
        return bool(np.isclose(one, other, rtol=tolerance, atol=tolerance * scale, equal_nan=True).all())
