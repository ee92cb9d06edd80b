"""Misses that a kernel's loops cause, counted: its addresses, one after another, through caches that are simulated.

    simulate(name, shape, caches, ...)  -> Misses: accesses, and misses per level, of a kernel of the ladder or an RMS norm
    replay(addresses, caches)           -> Misses of a list of byte addresses
    TRACES                              the kernels whose loops are known here

An access is one scalar load or store of an array's element, as the loops of the source make them: sums and scales stay in
registers, a vector of 16 counts as 16 accesses (15 of them hit), temporaries of the standard norm are arrays. Caches are
set-associative, replace the least recently used line, allocate on stores, and a level is asked only for what the one before
it misses. They begin empty; arrays are contiguous, one behind the other, each at the start of a page.

    >>> from perflib.machine import Cache
    >>> simulate("matmul_naive", (4, 4, 4), [Cache(1, "Data", 1024, 64, 4)])
    Misses(accesses=144, misses=(3,))

Raises `GeometryError` for a cache that cannot be, ValueError for a kernel without a trace or a size below 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from .geometry import geometry
from .kernels.checks import positive_integer
from .machine import Cache

__all__ = ["TRACES", "Misses", "replay", "simulate"]

PAGE = 4096
EMPTY = -1

_counted = njit(cache=True)


@dataclass(frozen=True)
class Misses:
    """What a trace did: accesses, and misses of each level, nearest first."""

    accesses: int
    misses: tuple[int, ...]


@njit(inline="always")
def _access(address, tags, shapes, counts):
    """One load or store; most of them find their line where the last one of the set was."""
    sets, ways, _, shift = shapes[0]
    line = address >> shift
    place = line & (sets - 1) if sets & (sets - 1) == 0 else line % sets
    if tags[place * ways] != line:
        _search(address, tags, shapes, counts)


@_counted
def _search(address, tags, shapes, counts):
    """Level by level, the lines of a set in the order of their last use. A shape: sets, ways, first tag, line shift."""
    for level in range(len(shapes)):
        sets, ways, first, shift = shapes[level]
        line = address >> shift
        first += ways * (line & (sets - 1) if sets & (sets - 1) == 0 else line % sets)
        moved = tags[first]
        tags[first] = line
        way = first + 1
        while moved != line and way < first + ways:
            moved, tags[way] = tags[way], moved
            way += 1
        if moved == line:
            return
        counts[level] += 1


@_counted
def _replay(addresses, tags, shapes, counts):
    for address in addresses:
        _access(address, tags, shapes, counts)


@njit(inline="always")
def _each(size, item, out, tags, shapes, counts):
    for i in range(size):
        _access(out + i * item, tags, shapes, counts)


@njit(inline="always")
def _update(loaded, changed, tags, shapes, counts):
    _access(loaded, tags, shapes, counts)
    _access(changed, tags, shapes, counts)
    _access(changed, tags, shapes, counts)


@_counted
def _matmul_naive(shape, tile, item, bases, tags, shapes, counts):
    m, n, k = shape
    a, b, out = bases[0], bases[1], bases[2]
    for i in range(m):
        for j in range(n):
            for p in range(k):
                _access(a + (i * k + p) * item, tags, shapes, counts)
                _access(b + (p * n + j) * item, tags, shapes, counts)
            _access(out + (i * n + j) * item, tags, shapes, counts)


@_counted
def _matmul_ikj(shape, tile, item, bases, tags, shapes, counts):
    m, n, k = shape
    a, b, out = bases[0], bases[1], bases[2]
    for i in range(m):
        _each(n, item, out + i * n * item, tags, shapes, counts)
        for p in range(k):
            _access(a + (i * k + p) * item, tags, shapes, counts)
            for j in range(n):
                _update(b + (p * n + j) * item, out + (i * n + j) * item, tags, shapes, counts)


@_counted
def _matmul_tiled(shape, tile, item, bases, tags, shapes, counts):
    m, n, k = shape
    a, b, out = bases[0], bases[1], bases[2]
    _each(m * n, item, out, tags, shapes, counts)
    for ii in range(0, m, tile):
        for jj in range(0, n, tile):
            for pp in range(0, k, tile):
                for i in range(ii, min(ii + tile, m)):
                    for j in range(jj, min(jj + tile, n)):
                        for p in range(pp, min(pp + tile, k)):
                            _access(a + (i * k + p) * item, tags, shapes, counts)
                            _access(b + (p * n + j) * item, tags, shapes, counts)
                        _access(out + (i * n + j) * item, tags, shapes, counts)
                        _access(out + (i * n + j) * item, tags, shapes, counts)


@_counted
def _matmul_tiled_vectorised(shape, tile, item, bases, tags, shapes, counts):
    m, n, k = shape
    a, b, out = bases[0], bases[1], bases[2]
    _each(m * n, item, out, tags, shapes, counts)
    for ii in range(0, m, tile):
        for jj in range(0, n, tile):
            for pp in range(0, k, tile):
                for i in range(ii, min(ii + tile, m)):
                    for p in range(pp, min(pp + tile, k)):
                        _access(a + (i * k + p) * item, tags, shapes, counts)
                        for j in range(jj, min(jj + tile, n)):
                            _update(b + (p * n + j) * item, out + (i * n + j) * item, tags, shapes, counts)


@_counted
def _rms_norm_standard(shape, tile, item, bases, tags, shapes, counts):
    rows, n, _ = shape
    x, weight, out, squares, normalised = bases[0], bases[1], bases[2], bases[3], bases[4]
    for r in range(rows):
        row = r * n * item
        for j in range(n):
            _access(x + row + j * item, tags, shapes, counts)
            _access(squares + j * item, tags, shapes, counts)
        _each(n, item, squares, tags, shapes, counts)
        for j in range(n):
            _access(x + row + j * item, tags, shapes, counts)
            _access(normalised + j * item, tags, shapes, counts)
        for j in range(n):
            _access(normalised + j * item, tags, shapes, counts)
            _access(weight + j * item, tags, shapes, counts)
            _access(out + row + j * item, tags, shapes, counts)


@_counted
def _rms_norm_fast(shape, tile, item, bases, tags, shapes, counts):
    rows, n, _ = shape
    x, weight, out = bases[0], bases[1], bases[2]
    for r in range(rows):
        row = r * n * item
        _each(n, item, x + row, tags, shapes, counts)
        for j in range(n):
            _access(x + row + j * item, tags, shapes, counts)
            _access(weight + j * item, tags, shapes, counts)
            _access(out + row + j * item, tags, shapes, counts)


TRACES = {
    "matmul_naive": (_matmul_naive, lambda m, n, k, tile: m * n * (2 * k + 1)),
    "matmul_tiled": (_matmul_tiled, lambda m, n, k, tile: m * n * (1 + 2 * k + 2 * -(-k // tile))),
    "matmul_tiled_vectorised": (_matmul_tiled_vectorised, lambda m, n, k, tile: m * (n + 3 * n * k + k * -(-n // tile))),
    "matmul_ikj": (_matmul_ikj, lambda m, n, k, tile: m * (n + k + 3 * n * k)),
    "rms_norm_standard": (_rms_norm_standard, lambda rows, n, _, tile: 8 * rows * n),
    "rms_norm_fast": (_rms_norm_fast, lambda rows, n, _, tile: 4 * rows * n),
}
"""By name: the trace, and how many accesses it has."""


def simulate(
    name: str, shape: tuple[int, ...], caches: Sequence[Cache], tile: int = 64, itemsize: int = 4, runs: int = 1
) -> Misses:
    """Accesses and misses of `runs` runs of a kernel, the caches empty before the first.

    shape: M, N, K of a product, rows and n of a norm. caches: nearest first. runs = 2 less runs = 1 is a run that finds the
    caches as the one before has left them.
    """
    if name not in TRACES:
        raise ValueError(f"name must be one of {', '.join(TRACES)}, got {name!r}")
    sizes = [positive_integer("shape", size) for size in shape]
    matmul = name.startswith("matmul")
    if len(sizes) != (3 if matmul else 2):
        raise ValueError(f"shape must be {'M, N, K' if matmul else 'rows, n'}, got {shape}")
    m, n, k = sizes if matmul else (*sizes, 1)
    elements = (m * k, k * n, m * n) if matmul else (m * n, n, m * n, n, n)
    pages = [-(-count * itemsize // PAGE) for count in elements]
    bases = PAGE * (1 + np.concatenate([[0], np.cumsum(pages)[:-1]])).astype(np.int64)
    state, (trace, accesses) = _state(caches), TRACES[name]
    tile = positive_integer("tile", tile)
    for _ in range(positive_integer("runs", runs)):
        trace((m, n, k), tile, itemsize, bases, *state)
    return Misses(runs * accesses(m, n, k, tile), _told(state))


def replay(addresses: Sequence[int] | np.ndarray, caches: Sequence[Cache]) -> Misses:
    """Accesses and misses of these byte addresses, in this order, the caches empty before."""
    state = _state(caches)
    _replay(np.asarray(addresses, np.int64), *state)
    return Misses(len(addresses), _told(state))


def _state(caches: Sequence[Cache]) -> tuple[np.ndarray, tuple, np.ndarray]:
    """Tags of all levels, their shapes, and the counts, all at the beginning."""
    if not caches:
        raise ValueError("caches must be at least one level")
    levels, first = [], 0
    for shape in map(geometry, caches):
        if shape.line_bytes & (shape.line_bytes - 1):
            raise ValueError(f"caches must have lines of a power of two bytes, got {shape.line_bytes}")
        levels.append((shape.sets, shape.ways, first, shape.line_bytes.bit_length() - 1))
        first += shape.sets * shape.ways
    return np.full(first, EMPTY, np.int64), tuple(levels), np.zeros(len(levels), np.int64)


def _told(state: tuple[np.ndarray, tuple, np.ndarray]) -> tuple[int, ...]:
    return tuple(int(count) for count in state[2])
