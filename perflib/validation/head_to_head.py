"""Measure cells side by side in one session, each checked against its oracle first, and give ratios as rows.

A ratio is the median over the rounds of time / time of the same round, with its 95 % interval; above 1 the first side
is faster.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..hardware.limits import CANARY_CYCLES
from ..kernels.buffers import aligned_empty, aligned_random
from ..runs.grid import GridPoint, checked_case
from ..stats import Interval
from ..timer import Clock
from ..timing.placement import drawn_seed
from ..timing.sampling import quiet
from ..timing.session import CANARY_LABEL, Session, take

GAP = 80  # elements between arrays that lie side by side: none starts at another's place within a page of 4 KiB


@dataclass(frozen=True)
class Row:
    """`kernel` is `ratio` times as fast as `peer`, interval from `low` to `high`."""

    what: str
    kernel: str
    peer: str
    n: int | str
    """Size, or M x K x N where the matrices are not square."""
    dtype: str
    threads: int
    ratio: float
    low: float
    high: float


Step = tuple[str, Callable[[], list[Row]]]
"""What is measured next, and how."""


@dataclass(frozen=True)
class HeadToHead:
    """A session of cells that were measured side by side."""

    session: Session
    threads: int = 1

    def speed(self, ours: GridPoint, peer: GridPoint, work: float = 1.0) -> Interval:
        """How many times as fast `ours` is; `work`: what a run of it does over what a run of `peer` does."""
        return self.session.ratio(peer.label, ours.label).scaled(work)

    def share_of(self, cycles: float, ours: GridPoint) -> Interval:
        """`cycles` of the clock over the time of a run; the frequency is that of the reference loop in the same round."""
        return self.session.ratio(CANARY_LABEL, ours.label).scaled(cycles / CANARY_CYCLES)

    def fastest(self, cells: Sequence[GridPoint], work: Callable[[GridPoint], float] = lambda cell: 1.0) -> GridPoint:
        """The cell with the smallest median time for its work."""
        return min(cells, key=lambda cell: self.session.gross(cell.label).value / work(cell))

    def row(
        self, what: str, ours: GridPoint, peer: GridPoint | str, speed: Interval | None = None, n: int | str | None = None
    ) -> Row:
        """`speed`, by default that of the same work, as a line; `peer` may be a limit that no kernel is."""
        speed = speed or self.speed(ours, peer)
        other = peer if isinstance(peer, str) else peer.kernel.name
        size = ours.n if n is None else n
        return Row(what, ours.kernel.name, other, size, ours.dtype, self.threads, speed.value, speed.low, speed.high)


def run_head_to_head(
    cells: Sequence[GridPoint],
    budget_s: float,
    pairs: Sequence[tuple[str, str]] | None = None,
    threads: int = 1,
    seed: int | None = None,
    clock: Clock = time.perf_counter_ns,
) -> HeadToHead:
    """Measure the cells until the ratios of all `pairs` of labels are narrow; by default each cell over the first one.

    Raises WrongResult before anything is timed.
    """
    seed = drawn_seed(seed)
    rng, inputs = np.random.default_rng(seed), {}
    first, *others = (cell.label for cell in cells)
    pairs = pairs or [(label, first) for label in others]
    with quiet(threads):
        cases = [checked_case(cell, inputs, rng) for cell in cells]
    with quiet(threads):  # anew: a library that was loaded only now has threads too
        session = take(cases, budget_s, lambda so_far: [so_far.ratio(*pair) for pair in pairs], seed, clock)
    return HeadToHead(session, threads)


def of_shape(m: int, k: int, n: int) -> Callable[..., tuple]:
    """`make` of a matrix multiplication M x K times K x N."""

    def make(_: int, dtype: str, rng: np.random.Generator) -> tuple:
        return aligned_random((m, k), dtype, rng), aligned_random((k, n), dtype, rng), aligned_empty((m, n), dtype)

    return make


def side_by_side(n: int, dtype: str, rng: np.random.Generator, rows: int) -> tuple:
    """`make` of an RMS norm in one stretch of memory: stores that a load seems to wait for would cost up to a third."""
    x, weight, out = aligned_random((3, n + GAP), dtype, rng)[:, None, :n]
    return x, weight[0], 1e-5, out
