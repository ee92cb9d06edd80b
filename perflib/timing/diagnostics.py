"""What a set of samples is worth: a state with all reasons for it, and the verdict on a ratio.

Pure functions without a clock; all thresholds stand here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..display.text import change
from ..stats import Interval, drift, lag1
from .sampling import Sample

HALF_WIDTH = 0.05  # a wider interval is noisy
DRIFT_P, DRIFT_TAU = 0.001, 0.3
LAG1 = 0.5
CANARY_SPREAD = 0.10  # from the 10th to the 90th percentile; an idle guest stays below 0.09 in 9 of 10 comparisons
OFTEN = 0.10  # share of samples; of an idle guest's 1 % are interrupted, with two busy neighbours 10 to 50 %
LOST = 0.02  # share of the time; a long sample is always interrupted, for below 1 %; two busy neighbours take 7 to 50 %
WAITED = 0.05  # share of the time, interrupted samples left out; of an idle guest's below 1 %
SUSPENDED_NS = 50_000_000  # beyond the usual wait and the turns of others
TURN_NS = 20_000_000  # for each interruption: a scheduler lets others run for 3 to 12 ms at a time
GARBAGE = 10_000  # objects; the session itself leaves some hundred
ABOVE_PEAK = 1.1  # times the measured peak: the peak itself is known to some percent only


@dataclass(frozen=True)
class Evidence:
    """What a measurement is judged by."""

    own: Sequence[Sample]
    canary: Sequence[Sample]
    net: Interval
    """Nanoseconds of one run without the loop."""
    floor: Interval
    """Loop overhead in nanoseconds."""
    scope: str = "call"
    threads: int = 1
    """Cores that the function may use."""
    garbage: int = 0
    """Objects in cycles that the collector found between the rounds."""
    flops: int = 0
    peak_gflops: float = float("inf")
    varies: bool = False
    """Whether two calls with the same arguments returned different results."""
    wrong: Sequence[str] = ()
    """Reasons of the preflight: why it is not the time of the work."""
    is_asynchronous: bool = False
    """Whether other threads of the process do the work while this one waits for its result."""
    libraries: str = ""
    """Whose threads they are where more cores were busy than declared."""
    overflowed: bool = False
    """Whether a chain of runs ended in NaN or infinity."""


def judge(evidence: Evidence) -> tuple[str, tuple[str, ...]]:
    """State and every reason for it, the grave ones first."""
    invalid, noisy = list(_invalid(evidence)), [*disturbances(evidence), *_unsteady(evidence)]
    return ("invalid" if invalid else "noisy" if noisy else "stable"), (*invalid, *noisy)


def verdict(ratio: Interval, margin: float, bound: float) -> str:
    """`faster` or `slower` beyond `bound`, `equivalent` within the margin, else `unresolved`; a ratio of times."""
    if ratio.high < 1 / (1 + bound):
        return "faster"
    if ratio.low > 1 + bound:
        return "slower"
    return "equivalent" if ratio.inside(1 / (1 + margin), 1 + margin) else "unresolved"


def drifts(times: Sequence[float] | np.ndarray) -> str | None:
    """The reason against times that move in one direction, None for all others."""
    tau, p = drift(times)
    return f"drift over the rounds (tau {tau:+.2f})" if p < DRIFT_P and abs(tau) > DRIFT_TAU else None


def _invalid(e: Evidence) -> Iterator[str]:
    """What makes a number wrong."""
    yield from e.wrong
    if compilations := sum(s.compiled for s in e.own):
        yield f"{compilations} compilations during the timed part"
    if e.net.low <= (e.floor.high if e.scope == "kernel" else 0):
        yield "not distinguishable from an empty body: the work may have been eliminated"
    elif (rate := e.flops / e.net.value) > ABOVE_PEAK * e.peak_gflops:
        yield f"{rate:.3g} GFLOP/s is above the measured peak of {e.peak_gflops:.3g}: work was eliminated or miscounted"
    if e.overflowed:
        yield "the chain of runs ended in NaN or infinity: other values may take another time"


def disturbances(e: Evidence) -> Iterator[str]:
    """What else happened on the machine or in the process."""
    count, e = len(e.own), replace(e, own=[s.as_calm() for s in e.own])
    if e.is_asynchronous:
        e = replace(e, own=[replace(s, cpu_ns=max(s.cpu_ns, min(s.process_ns, s.elapsed_ns))) for s in e.own])
    times = (np.array([getattr(s, name) for s in e.own]) for name in ("waited_ns", "cpu_ns", "switches"))
    if pauses := [s for s, is_one in zip(e.own, suspended(*times), strict=True) if is_one]:
        yield f"suspended in {len(pauses)} of {count} samples, for up to {max(s.waited_ns for s in pauses) / 1e6:.0f} ms"
    interruptions = [s for s in e.own if s.switches and s not in pauses]
    share = _share_waited(interruptions, e.own)
    if len(interruptions) > OFTEN * count and share > LOST:
        yield f"other work took the core in {len(interruptions)} of {count} samples, {100 * share:.0f} % of the time"
    share = _share_waited([s for s in e.own if not s.switches and s not in pauses], e.own)
    if share > WAITED:
        yield f"waited {100 * share:.0f} % of the time without being interrupted: it sleeps, or waits for others"
    if collections := sum(s.collections > 0 for s in e.own):
        yield f"garbage was collected in {collections} of {count} samples"
    if e.garbage > GARBAGE:
        yield f"garbage in cycles was left: {e.garbage} objects were collected between the rounds, not in the time"
    if (faults := sum(s.faults > 0 for s in e.own)) > count / 4:
        yield f"page faults in {faults} of {count} samples"
    cores = float(np.median([s.process_ns / max(1, s.elapsed_ns) for s in e.own]))
    if cores > 1.2 * e.threads:
        whose = f" by {e.libraries}" if e.libraries else ""
        yield f"{cores:.1f} cores were busy{whose} where threads = {e.threads} was declared"
    low, middle, high = np.percentile([s.per_run_ns for s in e.canary], [10, 50, 90])
    if (spread := (high - low) / middle) > CANARY_SPREAD:
        yield f"the reference loop moved by {change(spread)}: clock frequency or stolen time"


def suspended(waited_ns: np.ndarray, cpu_ns: np.ndarray, switches: np.ndarray) -> np.ndarray:
    """Whether the process was suspended inside each sample of a case: it waited long, and longer than it usually does."""
    usual = float(np.median(waited_ns))  # a function may wait by itself
    return waited_ns > np.maximum(cpu_ns, usual + SUSPENDED_NS + TURN_NS * switches)


def _share_waited(some: Sequence[Sample], every: Sequence[Sample]) -> float:
    """Time in which some samples waited, of the time of all."""
    return sum(s.waited_ns for s in some) / max(1, sum(s.elapsed_ns for s in every))


def _unsteady(e: Evidence) -> Iterator[str]:
    """What the times themselves show."""
    times = [s.per_run_ns for s in e.own]
    if e.net.half_width > HALF_WIDTH:
        half = e.net.half_width
        yield f"half-width {f'{100 * half:.1f} % of' if half <= 1 else f'{half:.3g} times'} the median"
    if reason := drifts(times):
        yield reason
    if (r := lag1(times)) > LAG1:
        yield f"neighbouring rounds resemble each other (lag-1 {r:.2f})"
    if e.varies:
        yield "results differ from call to call: runs may not do the same work"
