"""Arguments that no cache holds: many copies of the arrays, visited in random order, and the proof that they were cold.

Everything in `args` that is not an array stays as it is. Raises ValueError where there is no array, MemoryError where the
pool would take more than half of the free memory.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from ..kernels.buffers import aligned_empty
from ..kernels.caches import LINE_BYTES, data_caches, first_match, reported_caches
from ..kernels.probes.stream import _read_lines
from ..stats import Interval, ratio_interval
from ..timer import Timer
from .loops import call_each, entry_point, rotating_loop

LEAST_POOL, LARGEST_POOL = 64 << 20, 1 << 30
OBJECTS = 256  # bytes that Python keeps for the arrays of a set: they pass through the cache as well
COLD = 1.5  # reading the next set takes at least so many times as long as reading one again
PAIRS = 11


@dataclass(frozen=True)
class Pool:
    """Copies of a set of arguments, one after another in memory."""

    args: tuple
    memory: np.ndarray
    """One row of bytes for each set; the first holds the arrays of `args`."""
    starts: tuple[int, ...]
    """Where in its row the first element of each array lies, in bytes."""
    order: np.ndarray
    """The sets in the order of visits."""
    slowdown: Interval
    """Time of reading the next set / of reading the same one again."""

    @property
    def is_cold(self) -> bool:
        """Whether a set has left the caches when its turn comes again, by the evidence."""
        return self.slowdown.low > COLD

    def __str__(self) -> str:
        s = self.slowdown
        return (
            f"{'' if self.is_cold else 'not '}shown to be cold: reading the next of {len(self.order)} sets "
            f"({self.memory.nbytes >> 20} MiB) takes {s.value:.1f} [{s.low:.1f}, {s.high:.1f}] times as long as one again"
        )

    def runner(self, fn: Callable, scope: str) -> Callable[[int], None]:
        """Runs of `fn`, each on the next set; a batch goes on where the last one ended."""
        if scope == "call":
            count = -(-self.memory.nbytes // (self.memory.shape[1] + OBJECTS))
            sets = itertools.cycle([self._set(number) for number in self.order[: max(2, count)]])
            return lambda reps: call_each(fn, itertools.islice(sets, reps))
        offsets, position = self.order * self.memory.shape[1], 0
        loop = entry_point(rotating_loop, fn, 1, self.args, offsets, position, ())

        def run(reps: int) -> None:
            nonlocal position
            position = loop(fn, reps, self.args, offsets, position, ())

        return run

    def _set(self, number: int) -> tuple:
        row, starts = self.memory[number], iter(self.starts)
        return tuple(np.ndarray(a.shape, a.dtype, row, next(starts), a.strides) if _is_data(a) else a for a in self.args)


def cold_pool(args: tuple) -> Pool:
    """A pool of twice the last-level cache, and at least 64 MiB; two sets where one alone is larger."""
    arrays = [a for a in args if _is_data(a)]
    if not sum(a.nbytes for a in arrays):
        raise ValueError("mode 'cold' needs an array that is not empty among the arguments, got none")
    extents = [_extent(a) for a in arrays]
    *rooms, set_bytes = itertools.accumulate((-(-extent // LINE_BYTES) * LINE_BYTES for _, extent in extents), initial=0)
    count = max(2, -(-_pool_bytes() // set_bytes))
    free = _available_bytes()
    if free is not None and count * set_bytes > free // 2:
        raise MemoryError(f"mode 'cold' must find {count * set_bytes >> 19} MiB free, got {free >> 20}")
    memory = aligned_empty((count, set_bytes), np.uint8)
    order = np.random.default_rng(0).permutation(count)
    starts = tuple(room + before for room, (before, _) in zip(rooms, extents, strict=True))
    pool = Pool(args, memory, starts, order, _slowdown(memory, order))
    first = pool._set(0)
    for copy, arg in zip(first, args, strict=True):
        if _is_data(arg):
            copy[...] = arg
    memory[1:] = memory[0]
    return replace(pool, args=first)


@cache
def _pool_bytes() -> int:
    largest = max((cache.size_bytes for cache in data_caches(reported_caches())), default=0)
    return min(max(2 * largest, LEAST_POOL), LARGEST_POOL)


def _available_bytes() -> int | None:
    """Memory that can be had without swapping, where the system tells."""
    kib = first_match(Path("/proc/meminfo"), r"MemAvailable:\s+(\d+)")
    return int(kib) << 10 if kib else None


def _is_data(value: object) -> bool:
    """Whether it is an array whose bytes may be copied: one of Python objects stays what it is."""
    return isinstance(value, np.ndarray) and not value.dtype.hasobject


def _extent(array: np.ndarray) -> tuple[int, int]:
    """Bytes from the lowest one to the first element, and from the lowest to the highest, whatever the strides."""
    if not array.size:
        return 0, 0
    low, high = np.lib.array_utils.byte_bounds(array)
    return array.__array_interface__["data"][0] - low, high - low


def twin(array: np.ndarray) -> np.ndarray:
    """A copy with the same strides in memory of its own."""
    before, extent = _extent(array)
    copy = np.ndarray(array.shape, array.dtype, aligned_empty(extent, np.uint8), before, array.strides)
    copy[...] = array
    return copy


def _slowdown(memory: np.ndarray, order: np.ndarray) -> Interval:
    """Time of reading the next sets / the first one again and again, in pairs; the rest of the pool is read in between."""
    memory[...] = 0  # else the system maps one page of zeros for all of it
    offsets, again = order * memory.shape[1], np.zeros(1, np.int64)
    reps = max(1, len(order) // PAIRS)
    times: dict[bool, list[int]] = {True: [], False: []}
    position = 0
    for _ in range(PAIRS + 1):
        for is_next in (True, False):
            rotating_loop(_read_lines, 1, (memory[0],), again, 0)
            timer = Timer()
            end = rotating_loop(_read_lines, reps, (memory[0],), offsets if is_next else again, position if is_next else 0)
            times[is_next].append(max(1, timer.elapsed_ns()))
            position = end if is_next else position
    return ratio_interval(times[True][1:], times[False][1:])  # the first pair compiles
