"""The cost model of a curve for one given work: what is fixed, what is of lower order, what drifts, found by search.

    time(n) = (fixed + work(n) * (1 + lower * n0 / n) * (n / n1)^drift * price(level)) * (1, or a factor at an odd size)

A cost is twice the negative log-likelihood of the log times, plus what each part of the structure costs, so that curves of
different work can be compared. The drift is a price that grows slowly, as it does while caches fill: a little of it is
likely everywhere, and its cost rises with its square.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .levels import FLOOR, LEAST_SIZES, MOST_RISES, evaluate

COSTS = np.array([3.5, 1.0, 4.5, 4.0, 3.0])
"""Of a step, a size on a ramp, an odd size (each plus the negative logarithm of a variance), fixed cost, lower-order work.

Calibrated by simulation: curves without structure show some in less than 2 of 100 (validation/scaling_coverage.py).
"""
PILOTS = np.array([0.012, 0.035])
"""Model errors for which levels and odd sizes are looked for."""
DRIFT = 0.1
"""Usual drift of the price over the whole range of sizes, in logarithms."""
FIXED_GRID = np.array([0.0, -1.0, -0.4, 0.25, 0.45, 0.6, 0.72, 0.82, 0.9, 0.97])
"""Fixed cost as a share of the shortest time."""
LOWER_GRID = np.array([0.0, 0.4, 1.2, 3.0])
"""Lower-order work as a share of the declared one at the smallest size."""
HOPELESS = 60.0
"""Units above the best of other works at which drift and lower-order work will not mend a fit."""
DRIFT_GRID = np.array([-2.5, -1.0, 1.0, 2.5])
"""In units of the usual one."""
NONE = np.zeros(1)
Arranged = Callable[..., tuple[float, float, int]]
Candidate = tuple[float, float, float, float]
"""Fixed cost, lower-order work, drift and the model error for which levels are looked for."""
FIXED, LOWER = 3, 4
"""Places of the costs of a fixed cost and of lower-order work, behind those that `levels` knows."""
LARGEST_GIFT, LARGEST_FIXED = -1.5, 0.995
"""The range in which a fixed cost is searched, as a share of the shortest time."""


@dataclass(frozen=True)
class Data:
    """What a fit knows of a curve: sizes in rising order, median times over the shortest, variances of their logarithms."""

    sizes: np.ndarray
    times: np.ndarray
    variance: np.ndarray

    @property
    def rises(self) -> int:
        """As many as leave three sizes to every level."""
        return max(0, min(MOST_RISES, len(self.sizes) // LEAST_SIZES - 1))

    @property
    def most_odd(self) -> int:
        """A fifth of the sizes."""
        return len(self.sizes) // 5


@dataclass(frozen=True)
class Arrangement:
    """The cost model fitted with one work; times and prices are in units of the shortest time."""

    cost: float
    log_work: np.ndarray
    """At the sizes, less its largest value."""
    offset: float
    """That largest value."""
    fixed: float
    lower: float
    drift: float
    levels: np.ndarray
    """Level of each size, -1 on a ramp."""
    odd: np.ndarray
    prices: np.ndarray
    """Logarithm of each level's price."""
    model_error: float
    residuals: np.ndarray

    @property
    def freedom(self) -> int:
        """Sizes that are neither odd nor on a ramp, less what was fitted to them; at least 1."""
        free = int(((self.levels >= 0) & ~self.odd).sum())
        return max(1, free - len(self.prices) - bool(self.fixed) - bool(self.lower))

    def fitted(self, sizes: np.ndarray) -> np.ndarray:
        """The curve at the sizes, a size on a ramp at its own price, odd factors left out."""
        x = np.log(sizes)
        price = np.array([self.price_at(at, x) for at in x])
        work = np.exp(self.log_work + price) * self.shape(sizes, sizes)
        return np.maximum(self.fixed + work, FLOOR * work)

    def shape(self, n: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """What lower-order work and drift make of the work at n."""
        return (1 + self.lower * sizes[0] / n) * (n / sizes[-1]) ** self.drift

    def price_at(self, at: float, x: np.ndarray) -> float:
        """Logarithm of the price at a logarithm of n: flat in a level, straight between two."""
        ends = [(x[self.levels == k][0], x[self.levels == k][-1]) for k in range(len(self.prices))]
        return float(np.interp(at, np.ravel(ends), np.repeat(self.prices, 2)))


def usable(log_work: np.ndarray) -> bool:
    """Whether the work is finite and spans less than floating-point numbers do."""
    return bool(np.isfinite(log_work).all() and np.ptp(log_work) < 600)


def fit_work(
    data: Data,
    log_work: np.ndarray,
    free: bool = False,
    pilots: np.ndarray = PILOTS,
    refinements: int = 6,
    costs: np.ndarray = COSTS,
    fixed: np.ndarray = FIXED_GRID,
    limit: float = math.inf,
) -> Arrangement:
    """The cheapest arrangement for one work, given by its logarithm at the sizes.

    free: the work is one of many powers that are tried; such a power absorbs lower-order work and drift, so both stay 0.
    fixed: fixed costs to begin with; limit: a cost above which the search is not worth its end.
    """
    offset = float(log_work.max())
    work = np.exp(log_work - offset)
    span, reach = float(np.ptp(log_work)), float(np.ptp(np.log(data.sizes)))
    fixed_grid = fixed if span > 1e-9 else NONE
    lower_grid = LOWER_GRID if not free and span > 1.02 * reach else NONE
    usual = 0.0 if free else DRIFT / reach
    curve = np.array([data.times, data.sizes, work, data.variance])
    size = len(work)
    level, odd = np.empty(size, np.int64), np.empty(size, np.bool_)
    price, residual = np.empty(data.rises + 1), np.empty(size)

    def arranged(constant: float, slower: float, drift: float, pilot: float) -> tuple[float, float, int]:
        parts = data.rises, data.most_odd, costs, level, odd, price, residual
        cost, tau, levels = evaluate(curve, constant, slower, drift, pilot, *parts)
        extra = (costs[FIXED] if constant else 0.0) + (costs[LOWER] if slower else 0.0)
        return cost + extra + ((drift / usual) ** 2 if drift else 0.0), tau, levels

    grids = fixed_grid.tolist(), lower_grid[1:].tolist(), (DRIFT_GRID * usual).tolist() if usual else []
    best = _search(arranged, grids, usual, pilots.tolist(), refinements, limit)
    cost, tau, levels = arranged(*best)
    constant, slower, drift, _ = best
    prices = price[:levels].copy()
    return Arrangement(
        float(cost), log_work - offset, offset, constant, slower, drift, level, odd, prices, float(tau), residual
    )


def _search(
    arranged: Arranged, grids: tuple[list[float], ...], usual: float, pilots: list[float], refinements: int, limit: float
) -> Candidate:
    """The cheapest candidate: fixed cost, lower-order work, drift one by one, then all by smaller and smaller steps."""
    fixed_grid, lower_grid, drift_grid = grids
    costs: dict[Candidate, float] = {}

    def cost_of(candidate: Candidate) -> float:
        if candidate not in costs:
            costs[candidate] = arranged(*candidate)[0]
        return costs[candidate]

    for pilot in pilots:
        best = min([*costs, *((fixed, 0.0, 0.0, pilot) for fixed in fixed_grid)], key=cost_of)
        if cost_of(best) > limit:
            return best
    pilot = best[3]
    ranked = sorted(fixed_grid, key=lambda fixed: min(costs.get((fixed, 0.0, 0.0, one), math.inf) for one in pilots))
    best = min([best, *((fixed, lower, 0.0, pilot) for fixed in ranked[:3] for lower in lower_grid)], key=cost_of)
    starts = dict.fromkeys([best[:2], (0.0, 0.0)])
    best = min([best, *((*start, drift, pilot) for drift in drift_grid for start in starts)], key=cost_of)
    reach = 0.5
    for _ in range(refinements):
        for axis in range(3):
            for sign in (-1, 1):
                best = min([best, *_moved(best, axis, sign * reach, usual, max(lower_grid, default=0.0))], key=cost_of)
        reach /= 1.6
    return best


def _moved(best: Candidate, axis: int, reach: float, usual: float, most_lower: float) -> list[Candidate]:
    """The candidate with one of its parts moved; none where that part is absent or would leave its range."""
    fixed, lower, drift, pilot = best
    if axis == 0 and fixed:
        moved = fixed + reach * max(0.4 * abs(fixed), 1.0 - fixed) * 0.5
        return [(moved, lower, drift, pilot)] if LARGEST_GIFT <= moved <= LARGEST_FIXED and moved * fixed > 0 else []
    if axis == 1 and lower:
        moved = lower * (1 + abs(reach)) ** (1 if reach > 0 else -1)
        return [(fixed, moved, drift, pilot)] if moved <= most_lower else []
    return [(fixed, lower, drift + reach * usual, pilot)] if axis == 2 and usual else []
