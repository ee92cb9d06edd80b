"""Is an array that a function changes only an output? Then runs may share it: none of them reads what the last one left.

only_written(lambda: fn(x, out), [("argument 1", out, before)])     # ["argument 1"]
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def only_written(call: Callable[[], Any], arrays: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> list[str]:
    """Names of the arrays whose elements come out of a call the same, whatever they held before, or stay unchanged.

    arrays: name, array and what it held before; each holds now what a call left, and afterwards what another one leaves.
    """
    if any(array.dtype.hasobject or not array.flags.writeable for _, array, _ in arrays):
        return []
    arrays = [(name, *pair) for name, array, before in arrays for pair in zip(_fields(array), _fields(before), strict=True)]
    right = [_bytes_of(array) for _, array, _ in arrays]
    scrambled = []
    for _, array, before in arrays:
        array[...] = _scramble(array, _span(before))
        scrambled.append(_bytes_of(array))
    try:
        with np.errstate(all="ignore"):
            call()
    except Exception:  # it reads what it was given, and raises whatever it does
        return []
    wrong = set()
    for (name, array, _), good, other in zip(arrays, right, scrambled, strict=True):
        content = _bytes_of(array)
        is_right, is_scrambled = (content == good).all(axis=1), (content == other).all(axis=1)
        if array.dtype.kind == "b":  # of two values every one is right or the scrambled one
            is_scrambled = is_right
        if not (is_right | is_scrambled).all():
            wrong.add(name)
    return [name for name in dict.fromkeys(name for name, *_ in arrays) if name not in wrong]


def _fields(array: np.ndarray) -> list[np.ndarray]:
    """The array, or those of its fields: a function may write some of them."""
    names = array.dtype.names or ()
    return [part for name in names for part in _fields(array[name])] if names else [array]


def _bytes_of(array: np.ndarray) -> np.ndarray:
    """A copy, one row of bytes for each element."""
    return np.array(array, order="C").reshape(-1, 1).view(np.uint8)


def _span(array: np.ndarray) -> tuple[int, int]:
    """Smallest and largest value of an array of integers."""
    is_whole = array.dtype.kind in "biu" and array.size
    return (int(array.min()), int(array.max())) if is_whole else (0, 0)


def _scramble(array: np.ndarray, span: tuple[int, int]) -> np.ndarray:
    """Other values in an array like this: of both signs, and out of order, for who sorts, clips or takes the magnitude.

    Integers stay between the values that were seen: where they are indices, compiled code would leave its arrays.
    """
    copy, rng = array.copy(order="K"), np.random.default_rng(0)
    if not copy.size:
        return copy
    if copy.dtype.kind in "biu":
        low, high = min(span[0], _span(array)[0]), max(span[1], _span(array)[1])
        copy[...] = rng.integers(low, high, copy.shape, copy.dtype, endpoint=True)
    elif copy.dtype.kind in "fc":
        high = 2 * float(np.max(abs(copy), initial=1, where=np.isfinite(copy)))
        low = -high
        copy[...] = rng.uniform(low, high, copy.shape)
    else:
        copy[...] = copy.reshape(-1)[::-1].reshape(copy.shape)
        copy.ravel(order="K").view(np.uint8)[...] ^= 0x15  # a view, for the copy has no gaps
        return copy
    copy.flat[0], copy.flat[-1] = high, low
    return copy
