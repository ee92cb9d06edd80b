"""Does `fit_scaling` decide, and rightly? Curves of known growth with seeded structure, errors and noise; no clock."""

from dataclasses import dataclass

import numpy as np

from ..scaling.classes import CLASSES as GROWTHS

CLASSES = ("1", "log n", "√n", "n", "n log n", "n^1.5", "n²", "n^2.81", "n³")


@dataclass(frozen=True)
class Curve:
    name: str
    sizes: np.ndarray
    times: np.ndarray
    fixed: float
    lower: float
    level: np.ndarray
    """Of each size; -1 on a ramp."""
    prices: np.ndarray
    odd: np.ndarray
    model_error: float
    noise: float


def draw(rng, kind="all", name=None):
    name = name or str(rng.choice(CLASSES))
    fixed = lower = 0.0
    steps = odds = 0
    model_error = rng.uniform(0, 0.05)
    if kind == "simple":
        count, decades = 12, 1.5
    elif kind == "pair":
        count, decades = 20, 4.0
    else:
        count, decades = int(rng.integers(8, 26)), rng.uniform(1, 4)
    smallest = 10 ** rng.uniform(0.7, 2)
    sizes = np.geomspace(smallest, smallest * 10**decades, count)
    snapped = rng.random(count) < rng.uniform(0, 1)
    sizes = np.where(snapped, 2 ** np.round(np.log2(sizes)), sizes)
    sizes = np.unique(np.round(sizes))
    count = len(sizes)
    if kind == "all":
        fixed = rng.uniform(0, 0.9) if rng.random() < 0.6 else 0.0
        lower = rng.uniform(0, 0.75) if rng.random() < 0.5 and name in ("n^1.5", "n²", "n^2.81", "n³", "n log n") else 0.0
        steps = int(rng.integers(0, 4))
        odds = int(rng.uniform(0, 0.2) * count + 0.5)
    elif kind == "simple":
        if rng.random() < 0.5:
            steps = int(rng.integers(1, 4))
        else:
            odds = int(rng.integers(1, max(2, int(0.2 * count) + 1)))
    odds = min(odds, int(0.2 * count))
    if name == "1":
        fixed = 0.0
    ramp = 2 if kind == "all" and rng.random() < 0.5 else 0
    while steps and 3 * (steps + 1) + ramp * steps > count:
        if ramp:
            ramp = 0
        else:
            steps -= 1
    # lengths of levels
    spare = count - 3 * (steps + 1) - ramp * steps
    cuts = np.sort(rng.integers(0, spare + 1, steps))
    lengths = 3 + np.diff([0, *cuts, spare])
    level = []
    factors = rng.uniform(1.2, 4, steps)
    prices = []
    p = 1.0
    for k in range(steps + 1):
        level += [k] * lengths[k]
        prices += [p] * lengths[k]
        if k < steps:
            q = p * factors[k]
            for j in range(ramp):
                level.append(-1)
                prices.append(p * (q / p) ** ((j + 1) / (ramp + 1)))
            p = q
    level, prices = np.array(level), np.array(prices)
    f = np.ones(count)
    odd = rng.choice(count, odds, replace=False)
    f[odd] = rng.uniform(1.3, 3, odds)
    w = np.exp(GROWTHS[name].log(sizes) - GROWTHS[name].log(sizes)[0])
    work = w * (1 + lower * sizes[0] / sizes) * prices
    c = fixed / (1 - fixed) * work[0]
    noise, rounds = rng.uniform(0.01, 0.05), int(rng.integers(9, 31))
    logs = np.log((c + work) * f) + model_error * rng.standard_normal(count)
    times = 1000 * np.exp(logs + noise * rng.standard_normal((rounds, count)))
    return Curve(name, sizes, times, fixed, lower, level, prices, f > 1, model_error, noise)
