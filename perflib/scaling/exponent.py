"""The free exponent: the least cost over all p of work n^p, and the interval that its rise around the minimum gives."""

import math
from dataclasses import dataclass

import numpy as np
import scipy  # loads scipy.stats, half a second, when it is used

from ..stats import Interval
from .cost_model import FIXED_GRID, Arrangement, Data, fit_work

LEAST, MOST, COARSE = -1.0, 8.0, 0.2
FINEST = 0.005
COARSE_FIXED = FIXED_GRID[[0, 2, 4, 6, 8, 9]]
WIDER = 1.25
"""The structure is chosen by the data that the interval is taken from; simulated, so much covers as promised."""


@dataclass(frozen=True)
class Exponent:
    """The best power, its interval, and the arrangements at the estimate and at both ends."""

    interval: Interval
    best: Arrangement
    ends: tuple[Arrangement, Arrangement]
    points: tuple[tuple[float, float], ...]
    """(p, cost), p rising: the profile."""

    def cost_outside(self, low: float, high: float) -> float:
        """The least cost of an exponent that lies outside [low, high]."""
        costs = [cost for p, cost in self.points if not low <= p <= high]
        return min(costs, default=math.inf)


def free_exponent(data: Data, confidence: float, pilots: np.ndarray) -> Exponent:
    """Search p on a coarse grid around the local exponents, then close in, then walk outwards to both ends."""
    x, y = np.log(data.sizes), np.log(data.times)
    slopes = (y[:, None] - y)[np.triu_indices(len(x), 1)] / (x[:, None] - x)[np.triu_indices(len(x), 1)]
    middle = float(np.clip(np.median(slopes), LEAST, MOST))  # 2ⁿ is steeper than any power that is tried
    low, high = max(LEAST, middle - 1.2), min(MOST, middle + 1.3)
    fits: dict[float, Arrangement] = {}

    for p in np.arange(math.floor(low / COARSE), math.ceil(high / COARSE) + 1).tolist():
        fits[round(p * COARSE, 4)] = fit_work(data, p * COARSE * x, True, pilots, 1, fixed=COARSE_FIXED)

    def cost(p: float) -> float:
        p = round(p, 4)
        if p not in fits:
            start = min(fits.values(), key=lambda fit: fit.cost).fixed
            fixed = np.array([0.0, *COARSE_FIXED[1::2], start]) if start else COARSE_FIXED
            fits[p] = fit_work(data, p * x, True, pilots, 4, fixed=fixed)
        return fits[p].cost

    step = COARSE / 2
    while step > FINEST:
        best = min(fits, key=lambda p: fits[p].cost)
        for p in (best - step, best + step):
            cost(p)
        step /= 2
    best = min(fits, key=lambda p: fits[p].cost)
    limit = fits[best].cost + _rise(fits[best], len(x), confidence)
    ends = [_end(cost, best, sign, limit) for sign in (-1, 1)]
    inside = [p for p, fit in fits.items() if fit.cost <= limit]
    bounds = min(*inside, *ends), max(*inside, *ends)
    nearest = [min(fits, key=lambda p, end=end: abs(p - end)) for end in bounds]
    points = tuple((p, fits[p].cost) for p in sorted(fits))
    return Exponent(Interval(best, *bounds, confidence), fits[best], (fits[nearest[0]], fits[nearest[1]]), points)


def _rise(fit: Arrangement, size: int, confidence: float) -> float:
    """By how much the cost rises from the estimate to the end of the interval.

    Student's t for the degrees of freedom that the structure leaves, on the scale of a likelihood whose variance is
    estimated: n log(1 + t^2 / freedom).
    """
    freedom = max(2, fit.freedom - 1)
    t = float(scipy.stats.t.ppf((1 + confidence) / 2, freedom))
    return WIDER * size * math.log1p(t * t / freedom)


def _end(cost, best: float, sign: int, limit: float) -> float:
    """Where the profile crosses the limit on one side: steps that double, then halving."""
    inner, step = best, FINEST
    while cost(best + sign * step) < limit and step < 2:
        inner, step = best + sign * step, 2 * step
    outer = best + sign * step
    for _ in range(4):
        middle = (inner + outer) / 2
        if cost(middle) < limit:
            inner = middle
        else:
            outer = middle
    return outer
