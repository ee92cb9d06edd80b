"""Find the steps in a series of recordings: where its level changed, and which steps such a series could not show.

    scan(logs, errors).steps

A series has the logarithm of one median for each recording, in the order of time, and the standard error that the
recording gives it. Recordings differ by more than these errors, so the rest of the spread comes from the series itself.

The scan compares both sides of every split by Student's t and takes the largest, then goes on with each side. Three kinds
of alternatives share the 1 % of false alarms: splits with eight recordings on each side, splits with three to seven on
one, and a stretch between two steps back and forth (Olshen et al., Biostatistics 5, 2004). The distribution of each
largest t under no change is simulated for the length of the series, and bounded by Bonferroni's inequality in its tail.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

import numpy as np
import scipy  # loads scipy.stats, half a second, when it is used

from ..errors import SampleError
from ..stats import LEAST_VARIANCE, Interval, t_interval

FALSE_ALARMS = 0.01
"""Of a series without a change."""
POWER = 0.95
SIDE = 8
"""Recordings on each side of a step from which on it must be found."""
LEAST = 3
"""Recordings of a level: fewer are no level but outliers."""
SHARES = {"split": 0.7, "edge": 0.2, "stretch": 0.1}
"""Of the false alarms, by kind of alternative."""
SIMULATIONS = 20_000
CHUNK = 500
LIKELY = 7.35
"""How far the likelihood ratio of a place of a step may lie below the best one's: Hansen, Econometrica 68 (2000), 95 %."""


@dataclass(frozen=True)
class Step:
    """A change of level. Places count recordings from 0; the new level begins with the recording at `place`."""

    place: int
    earliest: int
    latest: int
    """Where it may have begun, with 95 % confidence."""
    ratio: Interval
    """Time after / time before."""
    p: float
    """Of so large a step somewhere in a series without any."""


@dataclass(frozen=True)
class Scan:
    """What a series shows."""

    steps: tuple[Step, ...]
    spread: float
    """Standard deviation between recordings of one level, a share of the time."""
    detectable: float
    """The smallest step, a share of the time, that would be found in 95 % with eight recordings on each side."""


def scan(logs: Sequence[float], errors: Sequence[float]) -> Scan:
    """The steps of a series, in order. Raises SampleError for values that are not finite or errors below 0."""
    values, errors = np.asarray(logs, float), np.asarray(errors, float)
    if values.shape != errors.shape or values.ndim != 1:
        raise SampleError(f"logs and errors must be two series of one length, got {values.shape} and {errors.shape}")
    if not (np.isfinite(values).all() and np.isfinite(errors).all() and (errors >= 0).all()):
        raise SampleError("logs must be finite, errors finite and at least 0")
    weights = _weights(values, errors)
    places = sorted(_places(values, weights, 0, len(values)))
    ends = [0, *(place for place, *_ in places), len(values)]
    levels = [np.arange(a, b) for a, b in zip(ends, ends[1:], strict=False)]
    means = [np.average(values[i], weights=weights[i]) for i in levels if len(i)]
    squares = sum(float(weights[i] @ (values[i] - mean) ** 2) for i, mean in zip(levels, means, strict=False))
    freedom = len(values) - len(levels)
    variance = max(squares / freedom, LEAST_VARIANCE) if freedom > 0 else math.inf
    steps = []
    for number, (place, earliest, latest, p) in enumerate(places):
        error = variance * sum(1 / weights[levels[number + side]].sum() for side in (0, 1))
        ratio = t_interval(float(means[number + 1] - means[number]), error, freedom)
        steps.append(Step(place, earliest, latest, ratio, p))
    return Scan(tuple(steps), math.sqrt(variance), _detectable(len(values), math.sqrt(variance)))


def _weights(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Inverse variances, their mean 1: of a recording and between recordings, which their first differences show."""
    if len(values) < 2:
        return np.ones(len(values))
    known = errors[1:] ** 2 + errors[:-1] ** 2
    beyond = np.average(np.diff(values) ** 2 - known, weights=(known + np.median(known) + LEAST_VARIANCE) ** -2.0)
    weights = 1 / (max(float(beyond) / 2, LEAST_VARIANCE) + errors**2)
    return weights / weights.mean()


def _places(values: np.ndarray, weights: np.ndarray, first: int, last: int) -> Iterator[tuple[int, int, int, float]]:
    """Place, range of places and p-value of every step between two recordings."""
    if last - first < 2 * LEAST:
        return
    squares = {name: table[0] for name, table in _statistics(values[None, first:last], weights[first:last]).items()}
    chances = {name: _p_value(name, last - first, float(table.max())) for name, table in squares.items()}
    kind, p = min(chances.items(), key=itemgetter(1))
    if p > FALSE_ALARMS:
        return
    if kind == "stretch":
        starts, stops = _stretches(last - first)
        best = int(squares[kind].argmax())
        ends = int(starts[best]), int(stops[best])
        same_end = {int(k): t for k, e, t in zip(starts, stops, squares[kind], strict=True) if e == ends[1]}
        same_start = {int(k): t for k, s, t in zip(stops, starts, squares[kind], strict=True) if s == ends[0]}
        found = [(ends[0], same_end), (ends[1], same_start)]
    else:
        splits = {
            k: t
            for name in ("split", "edge")
            for k, t in zip(_splits(name, last - first), squares.get(name, ()), strict=True)
        }
        found = [(int(max(splits, key=splits.get)), splits)]
    bounds = [first, *(first + place for place, _ in found), last]
    for place, others in found:
        likely = _likely(others, last - first)
        yield first + place, first + min(likely), first + max(likely), p
    for a, b in zip(bounds, bounds[1:], strict=False):
        yield from _places(values, weights, a, b)


def _likely(squares: dict[int, float], count: int) -> list[int]:
    """Places whose residual squares exceed the smallest by no more than chance; t squared gives them."""
    freedom = count - 2
    residuals = {place: 1 / (1 + square / freedom) for place, square in squares.items()}
    least = min(residuals.values())
    return [int(place) for place, value in residuals.items() if freedom * (value / least - 1) <= LIKELY]


def _splits(kind: str, count: int) -> np.ndarray:
    """Places of splits of so many recordings: with SIDE of them on each side, or fewer on one."""
    places = np.arange(LEAST, count - LEAST + 1)
    is_far = (places >= SIDE) & (places <= count - SIDE)
    return places[is_far if kind == "split" else ~is_far]


@lru_cache(maxsize=32)
def _stretches(count: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last end of every stretch inside: it and what lies before and after it have LEAST recordings."""
    starts, stops = np.triu_indices(count + 1, LEAST)
    inside = (starts >= LEAST) & (stops <= count - LEAST)
    return starts[inside], stops[inside]


def _statistics(values: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """t squared of every alternative of each kind that the length has, for rows of series."""
    count = values.shape[1]
    total = weights.sum()
    centred = values - (values @ weights / total)[:, None]
    whole = (centred**2) @ weights
    sums, mass = np.cumsum(centred * weights, axis=1), np.cumsum(weights)
    sums, mass = np.insert(sums, 0, 0, axis=1), np.insert(mass, 0, 0.0)

    def squares(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        part = mass[stops] - mass[starts]
        explained = (sums[:, stops] - sums[:, starts]) ** 2 * (total / (part * (total - part)))
        left = np.maximum(whole[:, None] - explained, count * LEAST_VARIANCE)
        return (count - 2) * explained / left

    kinds = {name: (places := _splits(name, count), np.full(len(places), count)) for name in ("split", "edge")}
    kinds["stretch"] = _stretches(count)
    return {name: squares(*ends) for name, ends in kinds.items() if len(ends[0])}


@lru_cache(maxsize=64)
def _largest(count: int) -> dict[str, np.ndarray]:
    """Largest t squared of each kind in simulated series of so many recordings without a change, in rising order."""
    rng, found = np.random.default_rng(count), {}
    for _ in range(SIMULATIONS // CHUNK):
        for name, table in _statistics(rng.standard_normal((CHUNK, count)), np.ones(count)).items():
            found.setdefault(name, []).append(table.max(axis=1))
    return {name: np.sort(np.concatenate(parts)) for name, parts in found.items()}


def _p_value(kind: str, count: int, square: float) -> float:
    """Of a largest t squared of a kind, over the kind's share of the false alarms."""
    simulated = _largest(count)[kind]
    above = len(simulated) - int(np.searchsorted(simulated, square))
    number = len(_stretches(count)[0]) if kind == "stretch" else len(_splits(kind, count))
    bound = number * 2 * float(scipy.special.stdtr(count - 2, -math.sqrt(square)))
    return min((above + 1) / (len(simulated) + 1), bound) / SHARES[kind]


def _detectable(count: int, spread: float) -> float:
    """By the normal approximation to Student's noncentral distribution; infinite for fewer than eight on each side."""
    if count < 2 * SIDE or not math.isfinite(spread):
        return math.inf
    freedom = count - 2
    critical = math.sqrt(float(np.quantile(_largest(count)["split"], 1 - FALSE_ALARMS * SHARES["split"])))
    reach = float(scipy.stats.norm.ppf(POWER)) * math.sqrt(1 + critical**2 / (2 * freedom))
    centre = critical * (1 - 1 / (4 * freedom)) + reach
    return math.expm1(centre * spread * math.sqrt(1 / SIDE + 1 / (count - SIDE)))
