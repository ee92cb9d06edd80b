"""Predict from their geometry what the caches do, before any measurement.

Raises ValueError for a size or tile below 1, `GeometryError` for a cache that cannot be.
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import scipy  # loads scipy.stats, half a second, when it is used

from ..kernels.caches import Cache
from ..kernels.checks import positive_integer
from .cache_geometry import Geometry, geometry

TILES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
START = 4.0
"""An inner loop's start and end in multiply-adds: a mispredicted exit of some 16 cycles / 4 cycles of the chain of sums."""
MISS_COSTS = (3.5, 12.5)
"""Of a miss in L1 and in L2, in multiply-adds: 14 and 50 cycles / 4, nothing of it hidden. A machine that hides more of it
has its best tile at a larger one than the model's, and loses the starts of a few loops."""


def tile_limit(n: int, itemsize: int, cache: Cache) -> int:
    """Largest T such that T rows of T items at a stride of n items leave one way of every set free.

    The tile of B is what `matmul_tiled` reuses; the free way is for the rows of A and C that stream by. Source: the
    self-interference of Lam, Rothberg and Wolf, ASPLOS 1991, counted set by set. Without a known number of ways the
    cache counts as fully associative.
    """
    positive_integer("n", n)
    shape = geometry(cache)
    largest, most = int(np.sqrt(cache.size_bytes / itemsize)), max(1, shape.ways - 1)

    def is_too_large(tile: int) -> bool:  # so is every larger one, whose lines are these and more
        return _lines_by_set(n, tile, tile, itemsize, shape).max() > most

    return 1 + bisect_left(range(2, largest + 1), True, key=is_too_large)


def _lines_by_set(n: int, rows: int, width: int, itemsize: int, shape: Geometry) -> np.ndarray:
    """Lines that a block of rows x width items at a stride of n items has in each set."""
    first = np.arange(rows) * n * itemsize // shape.line_bytes
    last = (np.arange(rows) * n + width - 1) * itemsize // shape.line_bytes
    first[1:] = np.maximum(first[1:], last[:-1] + 1)  # a line that two rows share is one
    counts = last - first + 1
    lines = np.arange(counts.sum()) + np.repeat(last + 1 - counts.cumsum(), counts)
    return np.bincount(lines % shape.sets, minlength=shape.sets)


def crowded_rows(row_bytes: int, rows: int, cache: Cache, width_bytes: int = 1, page_bytes: int = 4096) -> float:
    """Share of the lines of a walk down `rows` rows that meet more lines in their set than it has ways.

    row_bytes: from one row to the next; width_bytes: of each row that are touched. A walk that comes back finds none of
    these lines (reuse in a cycle defeats least-recently-used). A cache of several colours takes each page in a colour by
    chance, as in `colour_misses`.
    """
    positive_integer("row_bytes", row_bytes)
    positive_integer("rows", rows)
    shape = geometry(cache)
    colours = max(1, shape.sets * shape.line_bytes // page_bytes)
    by_place = _lines_by_set(row_bytes, rows, width_bytes, 1, Geometry(shape.sets // colours, shape.ways, shape.line_bytes))
    if colours == 1:
        return _crowded_share(by_place, shape.ways)
    missing = scipy.stats.binom.sf(shape.ways - 1, np.maximum(by_place - 1, 0), 1 / colours)
    return float(by_place @ missing / by_place.sum())


def tile_misses(n: int, tile: int, itemsize: int, cache: Cache) -> float:
    """Misses per multiply-add of matmul_tiled in one level, its inner loop walking down `tile` rows of B.

    A column of the tile comes back at the next j: where more of its lines meet in a set than the set has ways, all of these
    miss, for reuse in a cycle defeats least-recently-used. The lines of the whole tile come back at the next i, one for
    line / item columns; those that exceed the ways, one left free where rows of A and C pass, miss then. The rest misses
    once per tile.
    """
    positive_integer("n", n)
    positive_integer("tile", tile)
    shape = geometry(cache)
    items = min(tile, max(1, shape.line_bytes // itemsize))
    column = _crowded_share(_lines_by_set(n, tile, 1, itemsize, shape), shape.ways)
    whole = _lines_by_set(n, tile, tile, itemsize, shape)
    passing = min(1.0, 2 * tile / items / shape.sets)  # a row of A and one of C, wherever they lie
    block = (1 - passing) * _crowded_share(whole, shape.ways) + passing * _crowded_share(whole, max(1, shape.ways - 1))
    return column + (1 - column) * (block + (1 - block) / tile) / items


def _crowded_share(by_set: np.ndarray, ways: int) -> float:
    """Share of the lines that are in sets with more of them than `ways`."""
    return float(by_set[by_set > ways].sum() / by_set.sum())


def tile_cost(n: int, tile: int, itemsize: int, caches: Sequence[Cache]) -> float:
    """Time per multiply-add of matmul_tiled: 1, the starts of its inner loop, and misses in the first two levels."""
    starts = -(-n // tile) / n  # edges included: a last, shorter tile starts as often as a whole one
    misses = [tile_misses(n, min(tile, n), itemsize, cache) for cache in caches[: len(MISS_COSTS)]]
    return 1 + START * starts + sum(cost * share for cost, share in zip(MISS_COSTS, misses, strict=False))


def model_tile(n: int, itemsize: int, caches: Sequence[Cache], tiles: Sequence[int] = TILES) -> int:
    """The cheapest tile by `tile_cost` of those up to n, the smaller of two that cost the same; n if all are larger."""
    positive_integer("n", n)
    fitting = [tile for tile in sorted(tiles) if tile <= n] or [n]
    return min(fitting, key=lambda tile: round(tile_cost(n, tile, itemsize, caches), 9))


def colour_misses(size_bytes: int, cache: Cache, page_bytes: int = 4096) -> float:
    """Share of the loads of a random cycle over `size_bytes` that miss where each page has a colour by chance.

    A colour is the sets that one page covers: sets line / page of them, with room for `ways` pages each. Pages of a colour
    are then binomial, and those of a colour with more pages than ways all miss (least-recently-used, reuse in a cycle).
    Source: Kessler and Hill, Page placement algorithms for large real-indexed caches, TOCS 1992.
    """
    pages = positive_integer("size_bytes", size_bytes) // positive_integer("page_bytes", page_bytes)
    shape = geometry(cache)
    colours = max(1, shape.sets * shape.line_bytes // page_bytes)
    if pages == 0:
        return 0.0
    # a page misses with `ways` others or more of its colour
    return float(scipy.stats.binom.sf(shape.ways - 1, pages - 1, 1 / colours))
