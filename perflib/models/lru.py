"""Simulate caches: set-associative, least recently used, several levels, a hundred million accesses a second.

Addresses are bytes. A level sees only the misses of the level before, and allocates on stores as on loads. What is
known to hit, an element of the line that was touched just now, is not looked up: counts and contents are the same.
All levels are one array of integers, and the first one's shape numbers beside it: as a record of arrays Numba counted
references at every access, which took a third of the speed.

Raises `GeometryError` for a cache that cannot be, ValueError for no level and for lines that are not a power of two.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numba import njit

from ..kernels.caches import Cache
from ..kernels.jit.compile import cached
from .cache_geometry import geometry

EMPTY = -1
FACTS = 5  # per level, before all tags: misses, sets, ways, first tag, line shift
SOURCES = ("lru.py", "traces.py", "blocked_traces.py")
STAMP = sha256(b"".join(Path(__file__).with_name(name).read_bytes() for name in SOURCES)).hexdigest()


def counted(function: Callable) -> Callable:
    """Compile a trace; an edit of any of these files, which Numba would not see from another one, makes the code stale."""
    return cached(function, STAMP, nogil=True)


def emptied(caches: Sequence[Cache]) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """Levels with nothing in them, nearest first: of the first sets, ways, place of its tags and line shift; then all."""
    if not caches:
        raise ValueError("caches must be at least one level")
    levels, first = [len(caches)], 1 + FACTS * len(caches)
    for shape in map(geometry, caches):
        if shape.line_bytes & (shape.line_bytes - 1):
            raise ValueError(f"caches must have lines of a power of two bytes, got {shape.line_bytes}")
        levels += [0, shape.sets, shape.ways, first, shape.line_bytes.bit_length() - 1]
        first += shape.sets * shape.ways
    memory = np.full(first, EMPTY, np.int64)
    memory[: len(levels)] = levels
    return tuple(levels[2:6]), memory


def misses(memory: np.ndarray) -> np.ndarray:
    """Of each level, a view: to be read, or set to 0."""
    return memory[1 : 1 + FACTS * memory[0] : FACTS]


@njit(inline="always")
def access(address, l1, memory):
    """One load or store; most of them find their line where the last one of the set was."""
    sets, ways, first, shift = l1
    line = address >> shift
    place = line & (sets - 1) if sets & (sets - 1) == 0 else line % sets
    if memory[first + place * ways] != line:
        _search(address, memory)


@counted
def _search(address, memory):
    """Level by level, the lines of a set in the order of their last use."""
    for level in range(1, 1 + FACTS * memory[0], FACTS):
        sets, ways, first, shift = memory[level + 1], memory[level + 2], memory[level + 3], memory[level + 4]
        line = address >> shift
        first += ways * (line & (sets - 1) if sets & (sets - 1) == 0 else line % sets)
        moved = memory[first]
        memory[first] = line
        way = first + 1
        while moved != line and way < first + ways:
            moved, memory[way] = memory[way], moved
            way += 1
        if moved == line:
            return
        memory[level] += 1


@njit
def each(address, count, item, l1, memory):
    """`count` elements one behind the other: the first of every line may miss, the others find it."""
    shift, end = l1[3], address + count * item
    while address < end:
        access(address, l1, memory)
        address = ((address >> shift) + 1) << shift


@njit
def updates(loaded, changed, count, item, l1, memory):
    """Load, and load and store, of one element after the other: two lines in turn, which two ways hold until one ends."""
    ways, line = l1[1], 1 << l1[3]
    j = 0
    while j < count:
        access(loaded + j * item, l1, memory)
        access(changed + j * item, l1, memory)
        nearer = max((loaded + j * item) & (line - 1), (changed + j * item) & (line - 1))
        j += max(1, (line - nearer) // item) if ways > 1 else 1
