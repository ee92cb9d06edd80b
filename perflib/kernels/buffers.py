"""Allocate memory on pages of a known size: anonymous, aligned to 2 MiB, every page present.

    x = arena(64 << 20, 2048).view(np.float32)

NumPy requests huge pages from 4 MiB up, so a sweep over sizes would change its pages half way. Here the caller decides.
Raises ValueError for a size below 1 byte and for pages that this system does not give.
"""

import mmap
import re
from contextlib import suppress
from functools import cache
from weakref import WeakValueDictionary

import numpy as np

from .caches import LINE_BYTES
from .checks import positive_integer

CHUNK_BYTES = 32 << 20
BASE_KIB = mmap.PAGESIZE >> 10
HUGE_KIB = 2048
HUGE_BYTES = HUGE_KIB << 10
_shared: "WeakValueDictionary[tuple[int, int], np.ndarray]" = WeakValueDictionary()


def arena(size_bytes: int, page_kib: int = BASE_KIB) -> np.ndarray:
    """The first `size_bytes` of the arena on such pages. What others left in it stands there: fill it before use."""
    positive_integer("size_bytes", size_bytes)
    if page_kib not in page_sizes_kib():
        raise ValueError(f"page_kib must be one of {', '.join(map(str, page_sizes_kib()))} here, got {page_kib}")
    whole = max(HUGE_BYTES, 1 << (size_bytes - 1).bit_length())
    memory = _shared.get((whole, page_kib))
    if memory is None:
        memory = _shared[whole, page_kib] = mapped(whole, page_kib)
    return memory[:size_bytes]


@cache
def page_sizes_kib() -> tuple[int, ...]:
    """Base pages, and huge ones if the system has just given one: a policy may say yes and memory may be scattered."""
    share = huge_share(mapped(2 * HUGE_BYTES, HUGE_KIB))
    return (BASE_KIB, HUGE_KIB) if share == 1 else (BASE_KIB,)


def huge_share(memory: np.ndarray) -> float | None:
    """Share of the bytes that the kernel reports on transparent huge pages, in the mappings that hold the array."""
    start = memory.ctypes.data
    try:
        with open("/proc/self/smaps") as lines:
            mappings = re.findall(r"(?ms)^([0-9a-f]+)-([0-9a-f]+) .*?^AnonHugePages:\s+(\d+) kB", lines.read())
    except OSError:
        return None
    for low, high, kib in mappings:
        if int(low, 16) <= start < int(high, 16):
            return min(1.0, (int(kib) << 10) / memory.nbytes)
    return None


def mapped(size_bytes: int, page_kib: int) -> np.ndarray:
    """A new mapping. Huge pages are advice to the system; `page_sizes_kib` finds out whether it follows."""
    memory = aligned_room(size_bytes, "MADV_HUGEPAGE" if page_kib == HUGE_KIB else "MADV_NOHUGEPAGE")
    memory.fill(0)
    return memory


def aligned_room(size_bytes: int, advice: str | None) -> np.ndarray:
    """Private memory (shared memory gets small pages) from a boundary of 2 MiB on; the system may follow the advice."""
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}  # not on Windows
    room = mmap.mmap(-1, size_bytes + HUGE_BYTES, **private)
    start = -np.frombuffer(room, np.uint8).ctypes.data % HUGE_BYTES
    if advice is not None and hasattr(mmap, advice):
        with suppress(OSError):  # a kernel without transparent huge pages: base pages are all it gives
            room.madvise(getattr(mmap, advice), start, size_bytes - size_bytes % mmap.PAGESIZE)
    return np.frombuffer(room, np.uint8, size_bytes, start)


def _bytes(shape: int | tuple[int, ...], dtype: np.dtype | type | str) -> int:
    return int(np.prod(shape)) * np.dtype(dtype).itemsize


def aligned_empty(shape: int | tuple[int, ...], dtype: np.dtype | type | str) -> np.ndarray:
    """Uninitialised C-contiguous array that starts on a 64-byte boundary (np.empty promises 16)."""
    size = _bytes(shape, dtype)
    raw = np.empty(size + LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    return raw[start : start + size].view(dtype).reshape(shape)


def aligned_random(shape: int | tuple[int, ...], dtype: np.dtype | type | str, rng: np.random.Generator) -> np.ndarray:
    """Numbers of mean 0 and variance 1 that start on a 64-byte boundary."""
    array = aligned_empty(shape, dtype)
    array[...] = rng.standard_normal(shape)
    return array


def huge_empty(shape: tuple[int, ...], dtype: np.dtype | type | str) -> np.ndarray:
    """Zeros from a boundary of 2 MiB on; if there are as many, on pages of that size where the system has them."""
    size = _bytes(shape, dtype)
    memory = aligned_room(size, "MADV_HUGEPAGE" if size >= HUGE_BYTES else None)
    return memory.view(dtype).reshape(shape)


class Arena:
    """Memory for many weights, one after the other on shared huge pages: alone, each would end on small ones."""

    def __init__(self) -> None:
        self._rest = np.empty(0, np.uint8)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype | type | str) -> np.ndarray:
        """Like `huge_empty`, from a boundary of 64 bytes on."""
        size = _bytes(shape, dtype)
        room = -(-size // LINE_BYTES) * LINE_BYTES
        if room > self._rest.size:
            self._rest = huge_empty((max(room, CHUNK_BYTES),), np.uint8)
        memory, self._rest = self._rest[:size], self._rest[room:]
        return memory.view(dtype).reshape(shape)
