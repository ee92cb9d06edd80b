"""Count the loads, stores and passes of a kernel, which are the same on every machine.

A pass is one walk of the innermost index from the start of a row to its end.
"""

import types
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba.core.runtime import _nrt_python, rtsys

from ..timing.loops import compiled_loop


@dataclass
class Accesses:
    """Array elements read and written, and passes over a row; temporaries included."""

    reads: int = 0
    writes: int = 0
    passes: int = 0
    temporaries: int = 0
    _last: int = -1

    def at(self, index: object) -> None:
        """Note an access: an index that falls back begins a new pass."""
        innermost = index[-1] if isinstance(index, tuple) else index
        if self.passes == 0 or innermost < self._last:
            self.passes += 1
        self._last = innermost


class _CountingArray:
    """An array whose element accesses are counted."""

    def __init__(self, array: np.ndarray, accesses: Accesses) -> None:
        self._array, self._accesses = array, accesses
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, index: object) -> object:
        self._accesses.at(index)
        self._accesses.reads += 1
        return self._array[index]

    def __setitem__(self, index: object, value: object) -> None:
        self._accesses.at(index)
        self._accesses.writes += 1
        self._array[index] = value


class _CountingNumpy:
    """NumPy as the uncompiled kernel sees it: what it allocates is counted as well."""

    def __init__(self, accesses: Accesses) -> None:
        self._accesses = accesses

    def __getattr__(self, name: str) -> object:
        return getattr(np, name)

    def empty(self, shape: int, dtype: object) -> _CountingArray:
        """np.empty, counted."""
        self._accesses.temporaries += 1
        return _CountingArray(np.empty(shape, dtype), self._accesses)


def count_accesses(kernel: Callable, args: tuple) -> Accesses:
    """Run the Python source of a compiled kernel once on counting arrays. Meant for small sizes and element loops."""
    source = getattr(kernel, "py_func", kernel)
    accesses = Accesses()
    function = types.FunctionType(source.__code__, {**source.__globals__, "np": _CountingNumpy(accesses)})
    function(*(_CountingArray(a, accesses) if isinstance(a, np.ndarray) else a for a in args))
    return accesses


def count_allocations(kernel: Callable, args: tuple) -> float:
    """Arrays that one run of a compiled kernel allocates, by Numba's runtime statistics, over ten runs."""

    def allocate(reps: int) -> int:
        before = rtsys.get_allocation_stats().alloc
        compiled_loop(kernel, reps, args)
        return rtsys.get_allocation_stats().alloc - before

    compiled_loop(kernel, 1, args)
    _nrt_python.memsys_enable_stats()
    try:
        return (allocate(11) - allocate(1)) / 10  # what the arguments cost falls out
    finally:
        _nrt_python.memsys_disable_stats()
