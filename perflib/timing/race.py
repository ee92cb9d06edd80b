"""A claim settled here and now: is one kernel at least so many times faster than another, on this machine?

A sequential test: each round runs slow, fast, fast, slow, keeps the minimum of each, and scores +1 if their ratio is above
the threshold, -1 if below; a lead of 8 decides, 60 rounds without one leave it undecided. The clock is the thread's CPU
time, which other processes do not lengthen. No retry and no tolerance: the outcome is what happened.
"""

import math
import time
from collections.abc import Callable

from ..timer import Clock
from .sampling import calibrate, quiet

LEAD = 8
ROUNDS = 60
SAMPLE_NS = 5_000_000
MIN_RATIO = 4


def eligible(recorded_ratio: float, threshold: float) -> float:
    """The threshold, if the recorded ratio is at least 4 and the threshold at most its square root."""
    if not recorded_ratio >= MIN_RATIO:
        raise ValueError(f"recorded ratio must be at least {MIN_RATIO} for a live claim, got {recorded_ratio:.2f}")
    if not 1 <= threshold <= math.sqrt(recorded_ratio):
        raise ValueError(f"threshold must lie in 1 ... {math.sqrt(recorded_ratio):.2f}, got {threshold}")
    return threshold


def race(
    slow: Callable[[int], object],
    fast: Callable[[int], object],
    threshold: float,
    clock: Clock = time.thread_time_ns,
    sample_ns: int = SAMPLE_NS,
) -> str:
    """Judge time(slow) / time(fast) > threshold. The arms are functions of a number of runs, such as Case.run."""
    with quiet():
        (slow_reps, _), (fast_reps, _) = (calibrate(arm, clock, sample_ns) for arm in (slow, fast))
        lead = 0
        for _ in range(ROUNDS):
            first = _per_run(slow, slow_reps, clock)
            quick = min(_per_run(fast, fast_reps, clock), _per_run(fast, fast_reps, clock))
            ratio = min(first, _per_run(slow, slow_reps, clock)) / quick
            lead += 1 if ratio > threshold else -1
            if abs(lead) == LEAD:
                return "HOLDS" if lead > 0 else "FAILS"
    return "UNDECIDED"


def _per_run(arm: Callable[[int], object], reps: int, clock: Clock) -> float:
    start = clock()
    arm(reps)
    return max(1, clock() - start) / reps
