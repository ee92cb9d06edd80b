"""Keep the call overhead of a compiled kernel at half a microsecond for its usual arguments.

Unusual arguments go through Python, which converts or refuses them.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numba
import numpy as np
from numba import config, types
from numpy.lib.array_utils import byte_bounds

from ..checks import positive_integer
from .compile import compiled
from .simd import address, pointer

REFUSED, DONE = 0, 1  # what a kernel returns that looks at its arguments itself
LOCK = threading.RLock()


def array_type(dtype: np.dtype, rank: int) -> types.Array:
    """Numba's type of C-contiguous, aligned, writeable arrays."""
    return types.Array(numba.from_dtype(np.dtype(dtype)), rank, "C")


def prepare(dispatcher: Callable, *signatures: tuple) -> None:
    """Compile (or load from the cache) these signatures beside those that there are, and close the door behind them."""
    with LOCK:
        dispatcher.disable_compile(False)
        try:
            for signature in signatures:
                dispatcher.compile(signature)
        finally:
            if dispatcher.signatures:
                dispatcher.disable_compile()


def plain(x: np.ndarray) -> np.ndarray:
    """x as the compiled code takes it: itself, a view of it where it is read-only, or else a copy. For inputs only."""
    if not (x.flags.c_contiguous and x.flags.aligned and x.size):
        return np.array(x, order="C", subok=False)
    return writeable(x)


def writeable(x: np.ndarray) -> np.ndarray:
    """x, or a view of it that only NumPy takes for writeable. x is not empty and stays alive with the caller."""
    if x.flags.writeable and type(x) is np.ndarray:
        return x
    low, high = byte_bounds(x)
    memory = (ctypes.c_char * (high - low)).from_address(low)
    return np.ndarray(x.shape, x.dtype, memory, x.ctypes.data - low, x.strides)


def check_threads(threads: object) -> int:
    """`threads` as an integer from 1 to what Numba was started with."""
    threads = positive_integer("threads", threads)
    if threads > config.NUMBA_NUM_THREADS:
        raise ValueError(f"threads must be at most {config.NUMBA_NUM_THREADS}, as many as Numba has, got {threads}")
    return threads


@compiled(inline="always")
def overlap(x, size, y, other_size):
    """Whether `size` elements from pointer x and others from y share addresses."""
    item = address(pointer(x, 1)) - address(x)
    return address(x) < address(y) + other_size * item and address(y) < address(x) + size * item and size * other_size > 0


@contextmanager
def numba_threads(count: int) -> Iterator[None]:
    """Numba's prange uses `count` threads meanwhile. One caller at a time: not every threading layer takes two."""
    with LOCK:
        before = numba.get_num_threads()
        numba.set_num_threads(count)
        try:
            yield
        finally:
            numba.set_num_threads(before)
