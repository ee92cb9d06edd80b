"""The best cost model of a curve for one given work: which sizes share a price, which stick out, what is fixed.

    time(n) = (fixed + work(n) * price(level)) * (1, or a factor at an odd size)

Fixed cost and lower-order work are searched on a grid that closes in; levels and odd sizes follow from a dynamic programme
for each candidate (the Potts functional: Boysen et al., Ann. Statist. 37, 2009), compiled because a fit asks some thousand
times. A cost is twice the negative log-likelihood of log times, plus what each part of the structure costs.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..kernels.jit.compile import compiled

TAUS = np.array([0.01, 0.014, 0.02, 0.028, 0.04, 0.056, 0.08, 0.113, 0.16])
"""Model error, relative: sizes differ by some percent for reasons that nobody lists."""
USUAL_TAU = 0.02
PILOTS = (0.012, 0.035)
"""Model errors for which levels and odd sizes are looked for."""
STEP, RAMP, ODD, FIXED, LOWER = 7.0, 1.0, 3.0, 4.0, 3.0
"""What a step, a size on a ramp, an odd size, a fixed cost and lower-order work cost; the first three beside log variance."""
COSTS = np.array([STEP, RAMP, ODD, FIXED, LOWER, 1.0])
PURE = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
"""The likelihood alone."""
LEAST_RISE, MOST_RISE, LEAST_ODD = math.log(1.1), math.log(5.0), math.log(1.15)
MOST_RISES, LEAST_SIZES = 3, 3
MOST_CHEAPER = 0.8  # of the smallest work, at most: what a negative fixed cost takes off
FLOOR = 0.03  # share of a time that is work, at least: below it the time says nothing about a price
FIXED_GRID = np.array([0.0, -1.0, -0.4, 0.25, 0.45, 0.6, 0.72, 0.82, 0.9, 0.95])
"""Fixed cost as a share of the shortest time."""
LOWER_GRID = np.array([0.0, 0.4, 1.2, 3.0])
"""Lower-order work as a share of the declared one at the smallest size."""


@compiled
def _segments(z, weight, share, odd_cost, most_odd, cost, mean, count):
    """Cost, price and number of odd sizes of every run a..b as one level: the slowest few may be odd."""
    n = len(z)
    top = np.empty(most_odd + 1, np.int64)
    for a in range(n):
        s0 = s1 = s2 = 0.0
        filled = 0
        for b in range(a, n):
            s0 += weight[b]
            s1 += weight[b] * z[b]
            s2 += weight[b] * z[b] * z[b]
            place = min(filled, most_odd)
            while place > 0 and z[top[place - 1]] < z[b]:
                top[place] = top[place - 1]
                place -= 1
            top[place] = b
            filled = min(filled + 1, most_odd)
            mean[a, b] = s1 / s0
            cost[a, b] = s2 - s1 * s1 / s0
            count[a, b] = 0
            r0, r1, r2, extra = s0, s1, s2, 0.0
            for k in range(min(filled, b - a - 1)):
                i = top[k]
                r0 -= weight[i]
                r1 -= weight[i] * z[i]
                r2 -= weight[i] * z[i] * z[i]
                extra += odd_cost[i]
                centre = r1 / r0
                if share[i] * (z[i] - centre) < LEAST_ODD:
                    break
                total = r2 - r1 * r1 / r0 + extra
                if total < cost[a, b]:
                    cost[a, b] = total
                    mean[a, b] = centre
                    count[a, b] = k + 1


@compiled
def _between(z, weight, odd_cost, ramp_cost, first, last, low, high):
    """Cost of the sizes on a ramp, whose price may lie anywhere between the two levels."""
    total = 0.0
    for i in range(first, last + 1):
        off = min(max(z[i], low), high) - z[i]
        total += min(weight[i] * off * off + ramp_cost[i], odd_cost[i] if off < 0 else np.inf)
    return total


@compiled
def _levels(z, weight, share, odd_cost, ramp_cost, step_cost, most_odd, rises, level, odd):
    """Fill level (of a size on a ramp: -1) and odd with the cheapest arrangement; returns the number of levels."""
    n = len(z)
    cost, mean = np.empty((n, n)), np.empty((n, n))
    count = np.zeros((n, n), np.int64)
    _segments(z, weight, share, odd_cost, most_odd, cost, mean, count)
    best = np.full((rises + 1, n, n), np.inf)  # of the sizes up to b, with the last level a..b
    start, end = np.zeros((rises + 1, n, n), np.int64), np.zeros((rises + 1, n, n), np.int64)
    best[0, 0] = cost[0]
    bound = cost[0, n - 1]
    for m in range(1, rises + 1):
        for a in range(LEAST_SIZES, n - LEAST_SIZES + 1):
            for gap in range(3):
                e = a - 1 - gap
                for a0 in range(e - LEAST_SIZES + 2):
                    base = best[m - 1, a0, e] + step_cost
                    if base >= bound:
                        continue
                    low = mean[a0, e]
                    for b in range(a + LEAST_SIZES - 1, n):
                        total = base + cost[a, b]
                        rise = mean[a, b] - low
                        if total >= best[m, a, b] or rise <= LEAST_RISE or rise > MOST_RISE:
                            continue
                        if gap:
                            total += _between(z, weight, odd_cost, ramp_cost, e + 1, a - 1, low, mean[a, b])
                        if total < best[m, a, b]:
                            best[m, a, b] = total
                            start[m, a, b], end[m, a, b] = a0, e
            bound = min(bound, best[m, a, n - 1])
    m, a = 0, 0
    for rise in range(rises + 1):
        for first in range(n):
            if best[rise, first, n - 1] < best[m, a, n - 1]:
                m, a = rise, first
    levels, b = m + 1, n - 1
    level[:] = -1
    odd[:] = False
    while True:
        level[a : b + 1] = m
        for _ in range(count[a, b]):
            worst = -1
            for i in range(a, b + 1):
                if not odd[i] and (worst < 0 or z[i] > z[worst]):
                    worst = i
            odd[worst] = True
        if m == 0:
            return levels
        a0, e = start[m, a, b], end[m, a, b]
        for i in range(e + 1, a):
            over = z[i] - mean[a, b]
            odd[i] = over > 0 and weight[i] * over * over + ramp_cost[i] > odd_cost[i]
        m, a, b = m - 1, a0, e


@compiled
def _settle(logt, w, variance, fixed, level, odd, levels, price, residual):
    """Prices of the given levels by Fisher scoring on log times, and what is left over at every size."""
    n = len(logt)
    for iteration in range(6):
        for k in range(levels):
            top = bottom = 0.0
            for i in range(n):
                if level[i] == k and not odd[i]:
                    work = w[i] * math.exp(price[k])
                    curve = max(fixed + work, FLOOR * work)
                    share = work / curve
                    top += share * (logt[i] - math.log(curve)) / variance[i]
                    bottom += share * share / variance[i]
            price[k] += min(max(top / bottom, -0.7), 0.7)
    below = 0
    for i in range(n):
        if level[i] >= 0:
            below = level[i]
            low = high = price[level[i]]
        else:
            low, high = price[below], max(price[below], price[below + 1])
        work_low, work_high = w[i] * math.exp(low), w[i] * math.exp(high)
        least = math.log(max(fixed + work_low, FLOOR * work_low))
        most = math.log(max(fixed + work_high, FLOOR * work_high))
        residual[i] = logt[i] - min(max(logt[i], least), most)


@compiled
def _cost(residual, noise, tau, level, odd, levels, costs):
    """Twice the negative log-likelihood with this model error, and what the structure costs."""
    total, middle = 0.0, 0.0
    for i in range(len(residual)):
        variance = noise[i] + tau * tau
        logv = math.log(variance)
        middle += logv / len(residual)
        if odd[i]:
            total += logv + costs[2] - costs[5] * logv
        else:
            total += logv + residual[i] ** 2 / variance
            if level[i] < 0:
                total += costs[1] - costs[5] * logv
    return total + (levels - 1) * (costs[0] - costs[5] * middle) + math.log(tau / USUAL_TAU) ** 2


@compiled
def arrange(t, w, noise, pilot, fixed, rises, most_odd, costs, level, odd, price, residual):
    """The cheapest arrangement for one work and one fixed cost: (cost, model error, levels); fills the last four.

    t: times over their shortest; w: work; noise: variance of log t; pilot: the model error while levels are looked for.
    """
    n = len(t)
    logt, z, weight, share = np.log(t), np.empty(n), np.empty(n), np.empty(n)
    variance = noise + pilot * pilot
    logv = costs[5] * np.log(variance)
    odd_cost, ramp_cost, step_cost = costs[2] - logv, costs[1] - logv, costs[0] - logv.mean()
    levels = 0
    for attempt in range(2 if fixed > 0.4 else 1):
        for i in range(n):
            if attempt == 0 or level[i] < 0 or odd[i]:
                share[i] = max(1 - fixed / t[i], FLOOR)
                z[i] = math.log(t[i] * share[i] / w[i])
            else:  # around the curve of the first attempt
                work = w[i] * math.exp(price[level[i]])
                share[i] = work / max(fixed + work, FLOOR * work)
                z[i] = price[level[i]] + residual[i] / share[i]
            weight[i] = share[i] * share[i] / variance[i]
        strictness = 1.0
        while True:
            levels = _levels(z, weight, share, odd_cost * strictness, ramp_cost, step_cost, most_odd, rises, level, odd)
            if odd.sum() <= most_odd:
                break
            strictness *= 2
        for k in range(levels):
            top = bottom = 0.0
            for i in range(n):
                if level[i] == k and not odd[i]:
                    top += weight[i] * z[i]
                    bottom += weight[i]
            price[k] = top / bottom
        _settle(logt, w, variance, fixed, level, odd, levels, price, residual)
    cost, tau = np.inf, TAUS[0]
    if fixed < -MOST_CHEAPER * w[0] * math.exp(price[0]):
        return cost, tau, levels
    for candidate in TAUS:
        value = _cost(residual, noise, candidate, level, odd, levels, costs)
        if value < cost:
            cost, tau = value, candidate
    return cost, tau, levels


@compiled
def _try(t, n, w, noise, x, pilot, rises, most_odd, costs, level, odd, price, residual):
    """`arrange` at x = (fixed, lower), with the costs of both."""
    work = w * (1 + x[1] * n[0] / n) if x[1] else w
    cost, tau, levels = arrange(t, work, noise, pilot, x[0], rises, most_odd, costs, level, odd, price, residual)
    return cost + (costs[3] if x[0] else 0.0) + (costs[4] if x[1] else 0.0)


@compiled
def search(t, n, w, noise, rises, most_odd, costs, fixed_grid, lower_grid, pilots, refinements, best):
    """Fill best with (cost, fixed, lower, pilot) of the cheapest candidate."""
    size = len(t)
    level, odd = np.empty(size, np.int64), np.empty(size, np.bool_)
    price, residual = np.empty(rises + 1), np.empty(size)
    best[0] = np.inf
    x = np.zeros(2)
    values = np.full(len(fixed_grid), np.inf)
    for pilot in pilots:
        for j in range(len(fixed_grid)):
            x[0], x[1] = fixed_grid[j], 0.0
            value = _try(t, n, w, noise, x, pilot, rises, most_odd, costs, level, odd, price, residual)
            values[j] = min(values[j], value)
            if value < best[0]:
                best[0], best[1], best[2], best[3] = value, x[0], x[1], pilot
    if len(lower_grid) > 1:
        order = np.argsort(values)
        for j in order[:3]:
            for lower in lower_grid[1:]:
                x[0], x[1] = fixed_grid[j], lower
                value = _try(t, n, w, noise, x, best[3], rises, most_odd, costs, level, odd, price, residual)
                if value < best[0]:
                    best[0], best[1], best[2] = value, x[0], x[1]
    step, ratio = 0.08, 1.5
    for _ in range(refinements):
        for axis in range(2):
            if axis == 0 and len(fixed_grid) == 1 or axis == 1 and best[2] == 0:
                continue
            for sign in (-1, 1):
                x[0], x[1] = best[1], best[2]
                if axis == 0:
                    if x[0] == 0:
                        continue
                    x[0] = (
                        1 - (1 - x[0]) * (1 + sign * step * (4 if x[0] < 0.5 else 2.5))
                        if x[0] > 0
                        else x[0] * (1 + sign * 4 * step)
                    )
                    if not (-1.5 <= x[0] <= 0.97) or x[0] * best[1] <= 0:
                        continue
                else:
                    x[1] = x[1] * (ratio if sign > 0 else 1 / ratio)
                    if x[1] > 3.0:
                        continue
                value = _try(t, n, w, noise, x, best[3], rises, most_odd, costs, level, odd, price, residual)
                if value < best[0]:
                    best[0], best[1], best[2] = value, x[0], x[1]
        step, ratio = step / 1.6, 1 + (ratio - 1) / 1.6


@compiled
def settle(t, n, w, noise, level, odd, fixed_grid, lower_grid, costs, refinements):
    """The cost of one given arrangement, its fixed cost and lower-order work searched: (cost, fixed, lower)."""
    size = len(t)
    levels = level.max() + 1
    price, residual = np.zeros(levels), np.empty(size)
    logt = np.log(t)
    variance = noise + 0.02**2
    best = np.array([np.inf, 0.0, 0.0])
    x = np.zeros(2)
    step, ratio = 0.08, 1.5
    for round in range(refinements + 1):
        moves = len(fixed_grid) * len(lower_grid) if round == 0 else 8
        centre = best.copy()
        for move in range(moves):
            if round == 0:
                x[0], x[1] = fixed_grid[move % len(fixed_grid)], lower_grid[move // len(fixed_grid)]
            else:
                i, j = move % 3 - 1, move // 3 - 1
                if centre[1] != 0 and len(fixed_grid) > 1:
                    x[0] = centre[1] + i * step * max(1 - centre[1], 0.1) * 2
                else:
                    x[0] = centre[1]
                x[1] = centre[2] * ratio**j
                if not (-1.5 <= x[0] <= 0.97):
                    continue
            work = w * (1 + x[1] * n[0] / n)
            for k in range(levels):
                total = 0.0
                count = 0
                for i in range(size):
                    if level[i] == k and not odd[i]:
                        total += math.log(t[i] * max(1 - x[0] / t[i], FLOOR) / work[i])
                        count += 1
                price[k] = total / count
            _settle(logt, work, variance, x[0], level, odd, levels, price, residual)
            for tau in TAUS:
                value = _cost(residual, noise, tau, level, odd, levels, costs)
                if value < best[0]:
                    best[0], best[1], best[2] = value, x[0], x[1]
        step, ratio = step / 1.5, 1 + (ratio - 1) / 1.5
    return best


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
        work = np.exp(self.log_work + price) * (1 + self.lower * sizes[0] / sizes)
        return np.maximum(self.fixed + work, FLOOR * work)

    def price_at(self, at: float, x: np.ndarray) -> float:
        """Logarithm of the price at a logarithm of n: flat in a level, straight between two."""
        ends = [(x[self.levels == k][0], x[self.levels == k][-1]) for k in range(len(self.prices))]
        return float(np.interp(at, np.ravel(ends), np.repeat(self.prices, 2)))


def usable(log_work: np.ndarray) -> bool:
    """Whether the work is finite and spans less than floating-point numbers do."""
    return bool(np.isfinite(log_work).all() and np.ptp(log_work) < 600)


def fit_work(
    data: Data, log_work: np.ndarray, with_lower: bool, pilots: np.ndarray = np.array(PILOTS), refinements: int = 6
) -> Arrangement:
    """The cheapest arrangement for one work, given by its logarithm at the sizes."""
    offset = float(log_work.max())
    work = np.exp(log_work - offset)
    grows = np.ptp(log_work) > 1e-9
    fixed_grid = FIXED_GRID if grows else np.zeros(1)
    slope = float(np.ptp(log_work) / np.ptp(np.log(data.sizes)))
    lower_grid = LOWER_GRID if with_lower and slope > 1.02 else np.zeros(1)
    best = np.zeros(4)
    shape = (data.times, data.sizes, work, data.variance, data.rises, data.most_odd, COSTS)
    search(*shape, fixed_grid, lower_grid, pilots, refinements, best)
    cost, fixed, lower, pilot = best.tolist()
    size = len(work)
    level, odd = np.empty(size, np.int64), np.empty(size, np.bool_)
    price, residual = np.empty(MOST_RISES + 1), np.empty(size)
    total = work * (1 + lower * data.sizes[0] / data.sizes)
    _, tau, levels = arrange(
        data.times, total, data.variance, pilot, fixed, data.rises, data.most_odd, COSTS, level, odd, price, residual
    )
    return Arrangement(
        cost, log_work - offset, offset, fixed, lower, level, odd, price[:levels].copy(), float(tau), residual
    )
