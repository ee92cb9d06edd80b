"""Keep the call overhead of a compiled kernel at half a microsecond for its usual arguments.

Unusual arguments go through Python, which converts or refuses them.
"""

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import config, prange, types
from numba.core import cgutils
from numba.extending import intrinsic
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


@intrinsic
def _call_at(typingctx, start, t, args):
    """Call the compiled function that starts at an address, returns nothing and takes an intp and these arguments."""
    kinds = (types.intp, *args.types)

    def codegen(context, builder, signature, values):
        kind = context.call_conv.get_function_type(types.none, kinds)
        place = builder.inttoptr(values[0], kind.as_pointer())
        given = [values[1], *cgutils.unpack_tuple(builder, values[2])]
        status, _ = context.call_conv.call_function(builder, place, types.none, kinds, given)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.none(types.uintp, types.intp, args), codegen


@compiled(parallel=True)
def _shares(start, count, *args):
    for t in prange(count):
        _call_at(start, t, args)


def in_threads(kernel: Callable, count: int, *args: Any) -> None:
    """kernel(t, *args) for each t below `count`, by as many of Numba's threads. The kernel is compiled and returns nothing.

    The dtype of the first argument must say the types of all. The code is found by its address: a parallel loop around the
    kernel itself would hold a copy of it, which took Numba 40 s to compile for a matrix multiplication. One caller at a
    time: not every threading layer takes two.
    """
    with LOCK:
        key = kernel, args[0].dtype
        if key not in STARTS:
            signature = types.intp, *map(numba.typeof, args)
            kernel.compile(signature)
            code = kernel.overloads[signature]
            STARTS[key] = code.library.get_pointer_to_function(code.fndesc.llvm_func_name)
        before = numba.get_num_threads()
        numba.set_num_threads(count)
        try:
            _shares(np.uintp(STARTS[key]), count, *args)
        finally:
            numba.set_num_threads(before)


STARTS: dict[tuple, int] = {}  # by kernel and dtype
