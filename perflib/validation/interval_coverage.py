"""Count how often intervals contain a known truth, with seeded noise and without a clock.

Each simulation draws samples as a machine might give them, hands them to the function that judges real ones, and counts.
The same seed gives the same figures. Raises `SampleError` for too few trials.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy

from ..errors import SampleError
from ..stats import Medians, median_interval, prior_of
from ..timing.diagnostics import drifts
from ..timing.session import HALF_WIDTH, further_rounds

TIMES: Mapping[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, count: 0.03 * rng.standard_normal(count),
    "skewed": lambda rng, count: 0.04 * (rng.exponential(size=count) - np.log(2)),
    "spiky": lambda rng, count: 0.02 * rng.standard_normal(count) + rng.choice([-0.5, 0, 0.5], count, p=[0.05, 0.9, 0.05]),
}
"""Logarithms of times whose median is 0: symmetric, with a tail, and with a tenth of the samples disturbed either way."""
FIRST, MOST = (9, 30), 200
"""Rounds of the first look, as for a long and for a short function, and what the budget allows."""

SHAPES = ((2, 6), (2, 10), (2, 30), (3, 9), (3, 30), (4, 12), (4, 30), (6, 18), (6, 30))
"""Processes and rounds of a recording."""
CASES = 40
EFFECTS = ((0.008, 0.5), (0.012, 0.7), (0.006, 0.3))
"""Standard deviations of the logarithm of a time by process, placement and noise: their median over the cases and how far
they scatter around it, in logarithms."""
SLOW = 0.15, float(np.log(1.3))
"""Share of placements that are slow, and by how much."""


@dataclass(frozen=True)
class IntervalCoverage:
    """Shares of the sessions of `interval_coverage`, from 0 to 1."""

    sessions: int
    overall: float
    """The interval contains the median."""
    by_times: Mapping[str, float]
    drift_flagged: float
    """Of sessions whose times grow by 20 % those in which the drift is a reason against them."""


def interval_coverage(trials: int = 1000, seed: int = 0) -> IntervalCoverage:
    """Run `trials` sessions for each kind of TIMES, each ended as a real one is, and count.

    A session ends when its interval is narrow or its rounds are spent; that choice favours narrow intervals, which is why
    the coverage is simulated and not taken from the formula.
    """
    if trials < len(FIRST):
        raise SampleError(f"trials must be at least {len(FIRST)}, got {trials}")
    rng = np.random.default_rng(seed)
    by_times = {
        name: float(np.mean([_covers(draw(rng, MOST), FIRST[number % len(FIRST)]) for number in range(trials)]))
        for name, draw in TIMES.items()
    }
    ramps = (TIMES["normal"](rng, MOST) + np.linspace(0, 0.2, MOST) for _ in range(trials))
    drift_flagged = float(np.mean([drifts(np.exp(ramp)) is not None for ramp in ramps]))
    return IntervalCoverage(trials * len(TIMES), float(np.mean(list(by_times.values()))), by_times, drift_flagged)


def _covers(logs: np.ndarray, count: int) -> bool:
    while True:
        interval = median_interval(np.exp(logs[:count]), serial=True)
        if interval.half_width <= HALF_WIDTH or count == len(logs):
            return interval.low <= 1 <= interval.high
        count = min(len(logs), count + further_rounds(count))


@dataclass(frozen=True)
class RecordingCoverage:
    """Shares of the cases of `recording_coverage`, from 0 to 1."""

    cases: int
    overall: float
    """The interval contains the median over placements and processes."""
    by_shape: Mapping[tuple[int, int], float]
    """By the number of processes and of rounds."""
    half_width: float
    """Median, as a share of the time."""


def recording_coverage(trials: int = 20, seed: int = 0) -> RecordingCoverage:
    """Take `trials` recordings of a topic for each of SHAPES and count how often an interval covers the true median.

    Every process has an effect of its own on each case, every round one of its placement and noise; their sizes differ from
    case to case (EFFECTS). Of every eighth case a part of the placements is slow, as 4K aliasing makes them.
    """
    if trials < 1:
        raise SampleError(f"trials must be at least 1, got {trials}")
    rng, hits, widths = np.random.default_rng(seed), {}, []
    for processes, rounds in SHAPES:
        found = hits[processes, rounds] = []
        for _ in range(trials):
            drawn = [_recorded(rng, processes, rounds // processes, number % 8 == 0) for number in range(CASES)]
            prior = prior_of(case for case, _ in drawn)
            for case, truth in drawn:
                interval = case.interval(prior)
                found.append(interval.low <= np.exp(truth) <= interval.high)
                widths.append(interval.half_width)
    by_shape = {shape: float(np.mean(found)) for shape, found in hits.items()}
    overall = float(np.mean(list(by_shape.values())))
    return RecordingCoverage(len(widths), overall, by_shape, float(np.median(widths)))


def _recorded(rng: np.random.Generator, processes: int, rounds: int, is_sensitive: bool) -> tuple[Medians, float]:
    """The medians of a case, and the logarithm of its true median."""
    process, place, noise = (rng.lognormal(np.log(middle), spread) for middle, spread in EFFECTS)
    logs = rng.normal(0, process, (processes, 1)) + rng.normal(0, np.hypot(place, noise), (processes, rounds))
    share, cost = SLOW if is_sensitive else (0.0, 0.0)
    logs += cost * (rng.random(logs.shape) < share)
    spread = float(np.sqrt(process**2 + place**2 + noise**2))
    normal = scipy.stats.norm.cdf
    truth = scipy.optimize.brentq(
        lambda x: (1 - share) * normal(x / spread) + share * normal((x - cost) / spread) - 0.5, -1, 1
    )
    return Medians.of(list(np.exp(logs))), truth
