"""Levels, odd sizes and ramps for one work and one fixed cost, by a dynamic programme over where levels begin and end.

    log time(i) = log(fixed + work(i) * price(level)) + error       the sizes of a level share a price

Steps are found as by the Potts functional (Boysen et al., Ann. Statist. 37, 2009), with at most three rises and at least
three sizes per level. Compiled, because a fit asks for a thousand arrangements. Written for logarithms of the price,
z = log((t - fixed) / work), whose variance is that of log t over the square of the share of the time that is work. All that
is compiled stands in this file: Numba's cache does not see an edited callee in another one.
"""

import math

import numpy as np

from ..kernels.jit.compile import compiled

TAUS = np.array([0.01, 0.014, 0.02, 0.028, 0.04, 0.056, 0.08, 0.113, 0.16])
"""Model errors: sizes differ by some percent for reasons outside the model."""
USUAL_TAU = 0.02
LEAST_RISE, MOST_RISE, LEAST_ODD = math.log(1.1), math.log(5.0), math.log(1.15)
MOST_RISES, LEAST_SIZES = 3, 3
MOST_CHEAPER = 0.8  # of the smallest work, at most: what a negative fixed cost takes off
MOST_FIXED, LEAST_GROWTH = 0.92, 0.5
"""A fixed cost is at most this share of the shortest time, or the work ends as at least this share of it: else every
growth would fit a constant."""
FLOOR = 0.03  # share of a time that is work, at least: below it the time says nothing about a price
STEP, RAMP, ODD = range(3)
"""Places of the costs of a step, a size on a ramp and an odd size."""


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
def _rest(cost, odd_cost, ramp_cost, step_cost):
    """Least cost of the sizes from i on as levels that may rise or fall: what any arrangement of them costs at least."""
    n = len(cost)
    level, after = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
    after[n] = 0.0
    for i in range(n - LEAST_SIZES, -1, -1):
        for b in range(i + LEAST_SIZES - 1, n):
            level[i] = min(level[i], cost[i, b] + after[b + 1])
        after[i] = step_cost + level[i]
        on_ramp = 0.0
        for gap in range(1, min(3, n - i)):
            on_ramp += min(ramp_cost[i + gap - 1], odd_cost[i + gap - 1])
            after[i] = min(after[i], step_cost + on_ramp + level[i + gap])
    return level, after


@compiled
def _levels(z, weight, share, odd_cost, ramp_cost, step_cost, most_odd, rises, level, odd):
    """Fill level (of a size on a ramp: -1) and odd with the cheapest arrangement; returns the number of levels."""
    n = len(z)
    cost, mean = np.empty((n, n)), np.empty((n, n))
    count = np.empty((n, n), np.int64)
    _segments(z, weight, share, odd_cost, most_odd, cost, mean, count)
    best = np.full((rises + 1, n, n), np.inf)  # of the sizes up to b, with the last level a..b
    start, end = np.empty((rises + 1, n, n), np.int64), np.empty((rises + 1, n, n), np.int64)
    for b in range(n):
        best[0, 0, b] = cost[0, b]
    bound = cost[0, n - 1]
    level_rest, rest = _rest(cost, odd_cost, ramp_cost, step_cost)
    for m in range(1, rises + 1):
        for a in range(LEAST_SIZES, n - LEAST_SIZES + 1):
            for gap in range(3):
                e = a - 1 - gap
                for a0 in range(e - LEAST_SIZES + 2):
                    base = best[m - 1, a0, e] + step_cost
                    if base + level_rest[a] >= bound:
                        continue
                    low = mean[a0, e]
                    for b in range(a + LEAST_SIZES - 1, n):
                        total = base + cost[a, b]
                        rise = mean[a, b] - low
                        if total >= best[m, a, b] or total + rest[b + 1] >= bound or rise <= LEAST_RISE or rise > MOST_RISE:
                            continue
                        if gap:
                            total += _between(z, weight, odd_cost, ramp_cost, e + 1, a - 1, low, mean[a, b])
                        if total < best[m, a, b]:
                            best[m, a, b] = total
                            start[m, a, b], end[m, a, b] = a0, e
                            if b == n - 1 and total < bound:
                                bound = total + 1e-9
    m, a = 0, 0
    for rise in range(rises + 1):
        for first in range(n):
            if best[rise, first, n - 1] < best[m, a, n - 1]:
                m, a = rise, first
    levels, b = m + 1, n - 1
    for i in range(n):
        level[i], odd[i] = -1, False
    while True:
        for i in range(a, b + 1):
            level[i] = m
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
    for _ in range(6):
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
def _unlikely(tau):
    """What a model error costs that is not the usual one: a large one more than a small one."""
    distance = math.log(tau / USUAL_TAU)
    return distance * distance * (2.0 if distance > 0 else 1.0)


@compiled
def _cost(residual, noise, tau, level, odd, levels, costs):
    """Twice the negative log-likelihood with this model error, and what the structure costs."""
    total, middle = 0.0, 0.0
    for i in range(len(residual)):
        variance = noise[i] + tau * tau
        logv = math.log(variance)
        middle += logv / len(residual)
        if odd[i]:
            total += logv + costs[ODD] - logv
        else:
            total += logv + residual[i] ** 2 / variance
            if level[i] < 0:
                total += costs[RAMP] - logv
    return total + (levels - 1) * (costs[STEP] - middle) + _unlikely(tau)


@compiled
def arrange(t, w, noise, pilot, fixed, rises, most_odd, costs, level, odd, price, residual):
    """The cheapest arrangement for one work and one fixed cost: (cost, model error, levels); fills the last four.

    t: times over their shortest; w: work; noise: variance of log t; pilot: the model error while levels are looked for.
    """
    n = len(t)
    logt, z, weight, share = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    variance, odd_cost, ramp_cost, step_cost = np.empty(n), np.empty(n), np.empty(n), costs[STEP]
    for i in range(n):
        logt[i], variance[i] = math.log(t[i]), noise[i] + pilot * pilot
        logv = math.log(variance[i])
        odd_cost[i], ramp_cost[i] = costs[ODD] - logv, costs[RAMP] - logv
        step_cost -= logv / n
    levels = 0
    for attempt in range(2 if fixed > 0.5 else 1):
        for i in range(n):
            if attempt == 0 or level[i] < 0 or odd[i]:
                share[i] = max(1 - fixed / t[i], FLOOR)
                z[i] = math.log(t[i] * share[i] / w[i])
            else:  # around the curve of the first attempt
                work = w[i] * math.exp(price[level[i]])
                share[i] = work / max(fixed + work, FLOOR * work)
                z[i] = price[level[i]] + residual[i] / share[i]
            weight[i] = share[i] * share[i] / variance[i]
        while True:
            levels = _levels(z, weight, share, odd_cost, ramp_cost, step_cost, most_odd, rises, level, odd)
            count = 0
            for i in range(n):
                count += odd[i]
            if count <= most_odd:
                break
            for i in range(n):
                odd_cost[i] *= 1.4
        for i in range(n):
            odd_cost[i] = costs[ODD] - math.log(variance[i])
        for k in range(levels):
            top = bottom = 0.0
            for i in range(n):
                if level[i] == k and not odd[i]:
                    top += weight[i] * z[i]
                    bottom += weight[i]
            price[k] = top / bottom
        _settle(logt, w, variance, fixed, level, odd, levels, price, residual)
    cost, tau = np.inf, TAUS[0]
    last = w[-1] * math.exp(price[levels - 1])
    if fixed < -MOST_CHEAPER * w[0] * math.exp(price[0]) or fixed > MOST_FIXED and last < LEAST_GROWTH * fixed:
        return cost, tau, levels
    for candidate in TAUS:
        value = _cost(residual, noise, candidate, level, odd, levels, costs)
        if value < cost:
            cost, tau = value, candidate
    return cost, tau, levels


@compiled
def evaluate(curve, fixed, lower, drift, pilot, rises, most_odd, costs, level, odd, price, residual):
    """`arrange` with lower-order work and drift, less their costs; curve: times, sizes, work and noise, a row each."""
    t, n, w, noise = curve[0], curve[1], curve[2].copy(), curve[3]
    if lower or drift:
        for i in range(len(n)):
            w[i] *= (1 + lower * n[0] / n[i]) * (n[i] / n[-1]) ** drift
    return arrange(t, w, noise, pilot, fixed, rises, most_odd, costs, level, odd, price, residual)
