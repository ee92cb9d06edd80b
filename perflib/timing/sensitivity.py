"""Does a kernel's time depend on where its arrays lie? The share of slow places, the worst one, and a common cause.

A place is slow if it costs more than 1.2 times the median, in the round that drew it and at every later visit. One visit
proves nothing: most samples that long were disturbed.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import scipy  # loads scipy.stats, half a second, when it is used

from ..kernels.caches import LINE_BYTES, data_caches, reported_caches
from ..stats import MIN_SAMPLES, Interval, median
from ..timer import Clock
from .case import Case
from .placement import PAGE
from .sampling import Sample, take_sample

SLOW = 1.2  # times the median
VISITS = 3, 10  # at least and at most
BY_CHANCE = 0.01  # places of a measurement that may look slow at all visits though they are not
ATTEMPTS = 3  # at one visit, until nothing interrupts
CLEAR = 2 / 3  # of the slow places have what is called the cause, and at most a third of the others
P_CAUSE = 0.05
NEAR = 256, 512, 1024  # bytes from one array to another modulo 4096, where the second waits for the first


@dataclass(frozen=True)
class Sensitivity:
    """How much the place of the arrays matters."""

    placements: int
    """Draws that were measured without an interruption."""
    slow: int
    """Of them, those that cost more than 1.2 times the median at every visit."""
    share: Interval
    """slow / placements; Clopper and Pearson, Biometrika 26 (1934)."""
    worst: float
    """Time of the worst slow placement over the median; 1 where none is slow."""
    cause: str | None = None
    """What the slow ones have in common and the others have not."""

    def __str__(self) -> str:
        share = f"{self.slow} of {self.placements} placements [{100 * self.share.low:.0f}, {100 * self.share.high:.0f} %]"
        worst = f", the worst {self.worst:.2g} times" if self.slow else ""
        return f"{share} cost more than {SLOW} times the median{worst}{f': {self.cause}' if self.cause else ''}"


def sensitivity(
    case: Case, samples: Sequence[Sample], limit_s: float = math.inf, clock: Clock = time.perf_counter_ns
) -> Sensitivity | None:
    """Visit the placements that looked slow again; None where not every round drew one, or visits would exceed limit_s."""
    if not case.placement or case.placement.period > 1:
        return None
    times = {s.placement: s.per_run_ns for s in samples if s.placement and not s.switches}
    if len(times) < MIN_SAMPLES:
        return None
    middle = median(list(times.values()))
    suspects = [number for number, ns in times.items() if ns > SLOW * middle]
    usual = min(times, key=lambda number: abs(times[number] - middle))
    visits = _visits(len(suspects), len(times))
    reps = int(median([s.reps for s in samples]))
    if visits * (len(suspects) + 1) * reps * middle > limit_s * 1e9:
        return None
    again: dict[int, list[float]] = {number: [] for number in (*suspects, usual)}
    for _ in range(visits if suspects else 0):
        for number in [usual, *suspects]:  # the usual one beside them: a machine that has slowed down slows all
            again[number].append(_visit(case, number, reps, clock))
        suspects = [number for number in suspects if again[number][-1] > SLOW * middle]
    bar = SLOW * (median(again[usual]) if again[usual] else middle)
    slow = {number: median(again[number]) for number in suspects if median(again[number]) > bar}
    return Sensitivity(
        len(times),
        len(slow),
        share_interval(len(slow), len(times)),
        max(slow.values(), default=middle) / middle,
        _cause(case, slow.keys(), times.keys() - slow.keys()) if slow else None,
    )


def together(each: Sequence[Sensitivity]) -> Sensitivity | None:
    """One of many processes; the cause is that of the process with the most slow placements."""
    if not each:
        return None
    count, slow = sum(s.placements for s in each), sum(s.slow for s in each)
    cause = max(each, key=lambda s: (s.cause is not None, s.slow)).cause
    return Sensitivity(count, slow, share_interval(slow, count), max(s.worst for s in each), cause)


def share_interval(hits: int, count: int, confidence: float = 0.95) -> Interval:
    """Share of hits with the exact binomial interval."""
    beta, tail = scipy.stats.beta.ppf, (1 - confidence) / 2
    low = float(beta(tail, hits, count - hits + 1)) if hits else 0.0
    high = float(beta(1 - tail, hits + 1, count - hits)) if hits < count else 1.0
    return Interval(hits / count, low, high, confidence)


def _visits(suspects: int, count: int) -> int:
    """So many that noise alone makes hardly any placement look slow at all of them."""
    rate = (suspects + 1) / (count + 2)
    enough = math.log(max(1, suspects) / BY_CHANCE) / -math.log(rate)
    return min(max(math.ceil(enough), VISITS[0]), VISITS[1])


def _visit(case: Case, number: int, reps: int, clock: Clock) -> float:
    """Nanoseconds of a run in that placement; the shortest where each attempt was interrupted."""
    best = math.inf
    for _ in range(ATTEMPTS):
        case.placement.revisit(number)
        sample = take_sample(case, 0, 0, reps, clock)
        best = min(best, sample.per_run_ns)
        if not sample.switches:
            return sample.per_run_ns
    return best


def _cause(case: Case, slow: Sequence[int], others: Sequence[int]) -> str | None:
    """The one property of addresses that separates slow from other placements most clearly, if any does."""
    traits = list(_traits([case.placement.addresses(number) for number in (*slow, *others)]))
    best = 1.0, ""
    for name, values in traits:
        hits, misses = sum(values[: len(slow)]), sum(values[len(slow) :])
        if hits >= CLEAR * len(slow) and misses <= (1 - CLEAR) * len(others):
            table = [[hits, len(slow) - hits], [misses, len(others) - misses]]
            best = min(best, (scipy.stats.fisher_exact(table, "greater").pvalue * len(traits), name))
    return best[1] if best[0] < P_CAUSE else None


Addresses = Mapping[str, tuple[int, int]]


def _traits(places: Sequence[Addresses]) -> Iterator[tuple[str, list[bool]]]:
    """Names of properties, and which placements have them."""
    for first, second in permutations(places[0], 2):
        distances = [(place[second][0] - place[first][0]) % PAGE for place in places]
        for near in NEAR:
            yield f"4K aliasing of arguments {min(first, second)} and {max(first, second)}", [d < near for d in distances]
    excess = [_beyond_the_ways(place) for place in places]
    yield "lines that share sets of the first cache beyond its ways", [e > np.median(excess) for e in excess]
    for name in places[0]:
        yield f"lines split by argument {name}", [place[name][0] % LINE_BYTES > 0 for place in places]


def _beyond_the_ways(place: Addresses) -> int:
    """Lines that find no room in their set of the first cache, were all of the arrays to be in it at once."""
    first = next(iter(data_caches(reported_caches())), None)
    if not first or not first.ways or sum(size for _, size in place.values()) > 2 * first.size_bytes:
        return 0
    sets = first.size_bytes // first.ways // LINE_BYTES
    ends = [(low // LINE_BYTES, (low + size - 1) // LINE_BYTES + 1) for low, size in place.values()]
    lines = np.concatenate([np.arange(*pair) for pair in ends])
    return int(np.maximum(np.bincount(lines % sets, minlength=sets) - first.ways, 0).sum())
