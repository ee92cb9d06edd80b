"""Does a function do the same work in every run? Called a few times before anything is timed.

Raises `Unmeasurable`, one line, for a function that raises, that needs more memory than there is, or that changes an
argument which is not its output: then each run works on what the last one left.
"""

import pickle
import time
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..display.text import first_line
from ..errors import Unmeasurable
from ..timer import Clock
from .loops import compilations

CONTAINERS = (np.ndarray, list, dict, set, bytearray)


@dataclass(frozen=True)
class Preflight:
    """How a function behaved."""

    call_s: float
    """Seconds of its second call."""
    compile_s: float
    """Seconds of its first call, if Numba compiled in it; 0 if it did not."""
    varies: bool
    """Whether two calls with the same arguments returned different results."""


def run_preflight(
    label: str, fn: Callable, args: tuple, outputs: Collection[int] = (), clock: Clock = time.perf_counter_ns
) -> Preflight:
    """Call twice and look at arguments and results.

    An argument that changed is an output if what was written to it does not depend on what it held before, which a third
    call on a scrambled copy shows. outputs: indices of those that are known to be.
    """
    containers = {i: arg for i, arg in enumerate(args) if i not in outputs and isinstance(arg, CONTAINERS)}
    before = {i: (_fingerprint(arg), _span(arg)) for i, arg in containers.items()}
    result, compile_s = compiling_s(partial(_call, label, fn, args), clock)
    first, after = _fingerprint(result), {i: _fingerprint(arg) for i, arg in containers.items()}
    start = clock()
    result = _call(label, fn, args)
    call_s = (clock() - start) / 1e9
    for i, arg in containers.items():
        content, span = before[i]
        steady = _fingerprint(arg) == after[i]
        if not (steady and (content == after[i] or _is_output(label, fn, args, i, span))):
            raise Unmeasurable(
                f"{label} must not change its arguments, got argument {i} ({type(arg).__name__}) changed in place: "
                "each run would work on what the last one left"
            )
    return Preflight(call_s, compile_s, varies=_fingerprint(result) != first)


def compiling_s(run: Callable[[], Any], clock: Clock = time.perf_counter_ns) -> tuple[Any, float]:
    """What `run` returns, and its seconds if Numba compiled in it; 0 if it did not."""
    with compilations() as count:
        start = clock()
        result = run()
        elapsed = clock() - start
    return result, elapsed / 1e9 if count.compiled else 0.0


def _call(label: str, fn: Callable, args: tuple) -> Any:
    try:
        return fn(*args)
    except MemoryError as problem:
        raise Unmeasurable(f"{label} needs more memory than there is: {first_line(problem)}") from problem
    except Exception as problem:
        raise Unmeasurable(f"{label} must not raise, got {type(problem).__name__}: {first_line(problem)}") from problem


def _span(array: Any) -> tuple[int, int]:
    """Smallest and largest value of an array of integers."""
    is_whole = isinstance(array, np.ndarray) and array.dtype.kind in "biu" and array.size
    return (int(array.min()), int(array.max())) if is_whole else (0, 0)


def _is_output(label: str, fn: Callable, args: tuple, index: int, span: tuple[int, int]) -> bool:
    """Whether a scrambled copy of argument `index` comes out of a call the same, but for what the call leaves alone."""
    array = args[index]
    if not isinstance(array, np.ndarray) or array.dtype.hasobject:
        return False
    copy = _scramble(array, span)
    right, scrambled = _bytes_of(array), _bytes_of(copy)
    try:
        with np.errstate(all="ignore"):
            _call(label, fn, (*args[:index], copy, *args[index + 1 :]))
    except Unmeasurable:
        return False
    content = _bytes_of(copy)
    is_right, is_scrambled = (content == right).all(axis=1), (content == scrambled).all(axis=1)
    if copy.dtype.kind == "b":  # of two values every one is right or the scrambled one
        return bool(is_right.all())
    return bool((is_right | is_scrambled).all())


def _bytes_of(array: np.ndarray) -> np.ndarray:
    """A copy, one row of bytes for each element."""
    return np.array(array, order="C").reshape(-1, 1).view(np.uint8)


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


def _fingerprint(value: Any) -> int | None:
    """A fingerprint of what a value holds; None for what cannot be looked into."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    if isinstance(value, tuple):  # a list may hold itself: pickle knows
        return hash((type(value), *map(_fingerprint, value)))
    try:
        return zlib.crc32(pickle.dumps(value))
    except Exception:  # pickle raises whatever the object does
        return None
