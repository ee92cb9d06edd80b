"""Say why a step or an odd size is there, where a model of the caches or of the kernel supports it, and nothing elsewhere.

    explain(fit)                            what the times alone show: a first size that holds a warm-up
    explain(fit, caches)                    and the level of each step, by the bytes that the fit knows
    explain(fit, caches, Layout(...))       and rows that share sets, remainders of a tile, sizes where the kernel changes

A step belongs to a cache if the data filled it between the two sizes: at most `FULL` times its capacity before the step,
at least `PART` of it after. Each cache explains one step. Useful bytes are less than what a kernel touches, so `PART` is
below one. A slice of a shared cache that is smaller than the system reports explains nothing here.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

from ..kernels.caches import Cache
from ..models.cache_model import crowded_rows

FULL, PART = 1.25, 0.5
CROWDED = 0.5  # of the lines of a walk share sets with more of them than ways: from here on it is a reason
SHARE_OF_FACTOR = 0.7  # of what an odd size takes longer, that a remainder must explain

Fit = TypeVar("Fit", bound=Any)
"""A `ScalingFit`, which imports this module."""


@dataclass(frozen=True)
class Layout:
    """How a kernel walks through its data, as far as it is known."""

    row_bytes: Callable[[float], float] | None = None
    """Distance in bytes between the rows of a matrix, of n."""
    rows: Callable[[float], float] = lambda n: n
    """Rows that a walk goes down and comes back to, of n."""
    width_bytes: int = 1
    """Bytes of each row that it touches."""
    tiles: tuple[int, ...] = ()
    """Elements that a step takes at a time: a vector, the sides of a register tile."""
    masked: bool = False
    """Whether the last step of a row is a whole one, part of it unused; else the rest goes one by one."""
    changes: tuple[tuple[float, str], ...] = ()
    """Sizes from which the kernel takes another way, and which."""


def explain(fit: Fit, caches: Iterable[Cache] = (), layout: Layout = Layout()) -> Fit:
    """The same fit with a reason for each step and each odd size that has one."""
    caches = tuple(caches)
    levels = _levels(fit, caches)
    regimes = [fit.regimes[0]] if fit.regimes else []
    for number, (before, after) in enumerate(pairwise(fit.regimes)):
        words = _change(before, after, layout) or levels.get(number, "")
        regimes.append(replace(after, reason=words))
    odd = tuple(replace(one, reason=_odd_reason(fit, one, caches, layout)) for one in fit.odd_sizes)
    return replace(fit, regimes=tuple(regimes), odd_sizes=odd)


def _levels(fit: Any, caches: Sequence[Cache]) -> dict[int, str]:
    """By number of the step: where the data lie after it. The nearest pairs of step and cache first, each used once."""
    if fit.bytes is None:
        return {}
    filled = dict(zip(fit.sizes, fit.bytes, strict=True))
    names = [*(f"L{cache.level}" for cache in caches[1:]), "memory"]
    pairs = []
    for step, (before, after) in enumerate(pairwise(fit.regimes)):
        least, most = filled[before.last], filled[after.first]
        for place, cache in enumerate(caches):
            if least <= FULL * cache.size_bytes and most >= PART * cache.size_bytes:
                pairs.append((abs(math.log(cache.size_bytes / math.sqrt(least * most))), step, place))
    reasons: dict[int, str] = {}
    for _, step, place in sorted(pairs):
        if step not in reasons and names[place] not in reasons.values():
            reasons[step] = names[place]
    return reasons


def _change(before: Any, after: Any, layout: Layout) -> str:
    """What the kernel does from a size on that lies in this step."""
    return next((words for n, words in layout.changes if before.last < n <= after.first), "")


def _odd_reason(fit: Any, one: Any, caches: Sequence[Cache], layout: Layout) -> str:
    place = fit.sizes.index(one.size)
    odd = {other.size for other in fit.odd_sizes}
    below = [n for n in fit.sizes[:place] if n not in odd][-1:]
    above = [n for n in fit.sizes[place + 1 :] if n not in odd][:1]
    neighbours = [*below, *above]
    if place == 0 and fit.times_ns[0] > fit.times_ns[1]:
        return "the first size holds a warm-up"
    return _shared_sets(one, neighbours, caches, layout) or _remainder(one, neighbours, layout)


def _shared_sets(one: Any, neighbours: Sequence[float], caches: Sequence[Cache], layout: Layout) -> str:
    """The nearest cache in which the rows crowd at this size, and at most half as much at the sizes beside it."""
    if layout.row_bytes is None:
        return ""

    def crowded(n: float, cache: Cache) -> float:
        return crowded_rows(round(layout.row_bytes(n)), max(1, round(layout.rows(n))), cache, layout.width_bytes)

    for cache in caches[:2]:
        here = crowded(one.size, cache)
        if here >= CROWDED and max((crowded(n, cache) for n in neighbours), default=0.0) <= here / 2:
            return f"rows share sets of L{cache.level}"
    return ""


def _remainder(one: Any, neighbours: Sequence[float], layout: Layout) -> str:
    """A tile that does not divide this size, where its rest costs as much as the size takes longer."""
    needed = 1 + SHARE_OF_FACTOR * (one.factor - 1)
    for tile in layout.tiles:
        usual = max((_steps(n, tile, layout.masked) for n in neighbours), default=1.0)
        if one.size % tile and _steps(one.size, tile, layout.masked) / usual >= needed:
            return f"no multiple of {tile}"
    return ""


def _steps(n: float, tile: int, masked: bool) -> float:
    """Steps of a loop over n by tiles, over n / tile: the rest goes in one step, or one by one."""
    return (math.ceil(n / tile) if masked else n // tile + n % tile) * tile / n
