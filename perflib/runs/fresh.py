"""Runs of a sweep that each work on arguments of their own: sets that all functions of a size draw in one order."""

import itertools
from collections.abc import Callable
from typing import Any

from ..timing.case import Case
from ..timing.fresh_arguments import ATOMS, SHORTEST_NS, Pool, size_of

POOL_BYTES = 256 << 10  # that are kept: then the first ones come again
MOST_SETS = 250


class Sets:
    """Sets of arguments drawn one after another from `draw`, shared by all functions of a size."""

    def __init__(self, draw: Callable[[], tuple]) -> None:
        self._draw, self._drawn = draw, [draw()]
        size = sum(getattr(arg, "nbytes", size_of(arg)) for arg in self._drawn[0])
        self.fitting = max(2, min(MOST_SETS, POOL_BYTES // max(1, size)))  # that are kept

    def take(self, count: int) -> list[tuple]:
        """The first so many."""
        self._drawn += [self._draw() for _ in range(count - len(self._drawn))]
        return self._drawn[:count]


def fresh_case(
    label: str, fn: Callable[..., Any], drawn: Sets, arrange: Callable[..., tuple], run_ns: float, scope: str
) -> Case:
    """A case whose every run has a set of its own; run_ns: how long a run takes, roughly."""
    places = itertools.cycle(range(drawn.fitting))

    def draw() -> tuple:
        return arrange(*drawn.take(next(places) + 1)[-1])

    args = draw()
    own = tuple(place for place, arg in enumerate(args) if not isinstance(arg, ATOMS))
    sets = [arrange(*one) for one in drawn.take(drawn.fitting)]
    loose = tuple(place for place in own if len({getattr(one[place], "shape", None) for one in sets}) > 1)
    pool = Pool(args, own, max(run_ns, SHORTEST_NS), draw, loose=loose)  # so short a run is never copied in its time
    return pool.cases(label, fn, scope)[0]
