"""Measure all cases in every round, with the loop overhead of each scope and a reference loop, until intervals are narrow.

A session ends when every interval that the caller watches is narrow, or when the budget is spent; it records which.
"""

import gc
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..stats import MIN_SAMPLES, Interval, median, median_interval, ratio_interval
from ..timer import Clock
from .case import CANARY, FLOORS, Case
from .placement import drawn_seed
from .sampling import BATCH_NS, Sample, plan_batch, plan_rounds, rounds, take_sample

HALF_WIDTH = 0.01  # of the value: narrow enough
GROWTH = 1.5  # the intervals are looked at after half as many rounds again: few looks keep their coverage
GARBAGE = 10_000  # objects that wait for the collector before it runs, between two rounds
CANARY_LABEL = "<canary>"
"""Label of the reference loop; no function has it."""


@dataclass
class Session:
    """Samples by label, and how the session went."""

    scopes: Mapping[str, str]
    """Scope of each label, which decides the loop overhead that is subtracted."""
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    rounds: int = 0
    seconds: float = 0.0
    """Calibration and rounds, compilation excluded."""
    ended_by: str = "budget"
    """`half-width` reached, or `budget` spent."""
    garbage: int = 0
    """Objects in cycles that the collector found between the rounds."""
    minus: Mapping[str, str] = field(default_factory=dict)
    """Label of what is subtracted from the time of a label."""

    @property
    def canary(self) -> Sequence[Sample]:
        """Samples of the reference loop."""
        return self.samples[CANARY_LABEL]

    def gross(self, label: str) -> Interval:
        """Median time of a run in nanoseconds, the loop included."""
        return _median(s.per_run_ns for s in self.samples[label])

    def floor(self, scope: str) -> Interval:
        """Median loop overhead: time of a turn of the loop when it runs nothing."""
        return self.gross(_floor_label(scope))

    def net(self, label: str) -> Interval:
        """Median time of a run less the loop overhead of its round, or less the case that `minus` names."""
        return _median(self._net_by_round(label).values())

    def difference(self, over: str, under: str) -> Interval:
        """Median over the rounds of net time less net time."""
        above, below = self._net_by_round(over), self._net_by_round(under)
        return _median(above[r] - below[r] for r in sorted(above.keys() & below.keys()))

    def ratio(self, over: str, *under: str, comparisons: int = 1) -> Interval:
        """Median over the rounds of time / time, or / geometric mean of the times of several that are the same.

        The error rate is divided by `comparisons`. Time in which other work had the core counts for neither.
        """
        above, *below = (self._own_time(label) for label in (over, *under))
        pairs = sorted(set(above).intersection(*below))
        means = [math.prod(times[r] for times in below) ** (1 / len(below)) for r in pairs]
        return ratio_interval([above[r] for r in pairs], means, comparisons=comparisons, serial=True)

    def _own_time(self, label: str) -> dict[int, float]:
        times = _own_time(self.samples[label])
        if label not in self.minus:
            return times
        part = _own_time(self.samples[self.minus[label]])
        return {number: max(1e-3, ns - part[number]) for number, ns in times.items() if number in part}

    def _net_by_round(self, label: str) -> dict[int, float]:
        part = self.minus.get(label) or _floor_label(self.scopes[label])
        floor = {s.round: s.per_run_ns for s in self.samples[part]}
        return {s.round: s.per_run_ns - floor[s.round] for s in self.samples[label] if s.round in floor}


def take(
    cases: Sequence[Case],
    budget_s: float,
    intervals: Callable[[Session], Iterable[Interval]],
    seed: int | None = None,
    clock: Clock = time.perf_counter_ns,
    least: int = MIN_SAMPLES,
    long_ns: Mapping[str, float] | None = None,
    first: Sequence[Sample] = (),
) -> Session:
    """Sample until all `intervals` are narrow; at least `least` rounds, however long they last.

    long_ns: time of a run, by label, where one is enough for a batch: it needs no calibration. first: samples of the round
    before the first one, which then has one of everything but the other cases.
    The order within a round, the length of each batch and where the arrays lie are drawn from `seed`, which None draws too.
    """
    session = Session({c.label: c.scope for c in cases}, minus={c.label: c.minus for c in cases if c.minus})
    floors = [replace(FLOORS[scope], label=_floor_label(scope)) for scope in dict.fromkeys(session.scopes.values())]
    everything = (*cases, *floors, replace(CANARY, label=CANARY_LABEL))
    start = clock()
    batches = {label: (1, int(ns)) for label, ns in (long_ns or {}).items()}
    batches |= {c.label: plan_batch(c, clock) for c in cases if c.label not in batches}
    batches |= {c.label: plan_batch(c, clock, BATCH_NS // 4) for c in everything if c.label not in batches}
    reps = {label: count for label, (count, _) in batches.items()}
    counts = plan_rounds({label: ns for label, (_, ns) in batches.items()}, budget_s, least)
    rng = np.random.default_rng(drawn_seed(seed))
    gc.collect()  # garbage of the compiler is not counted later
    end = clock() + budget_s * 1e9
    if first:
        beside = [take_sample(c, 0, place, reps[c.label], clock) for place, c in enumerate(everything[len(cases) :])]
        for sample in (*first, *beside):
            session.samples[sample.label].append(sample)
            counts[sample.label] = max(1, counts[sample.label] - 1)
        session.rounds = 1
    while True:
        for batch in rounds(everything, reps, rng, counts, clock, session.rounds):
            for sample in batch:
                session.samples[sample.label].append(sample)
            if gc.get_count()[0] > GARBAGE:
                session.garbage += gc.collect(1)  # what is new: all objects would take 50 ms and more
            if clock() >= end and all(len(session.samples[label]) >= least for label in counts):
                break
        session.rounds = 1 + batch[0].round
        session.seconds = (clock() - start) / 1e9
        if all(interval.half_width <= HALF_WIDTH for interval in intervals(session)):
            session.ended_by = "half-width"
            return session
        if clock() >= end:
            return session
        counts = {label: further_rounds(len(session.samples[label])) for label in counts}


def further_rounds(count: int) -> int:
    """Rounds until the intervals are looked at again."""
    return max(1, int((GROWTH - 1) * count))


def _floor_label(scope: str) -> str:
    return f"<{scope} floor>"


def _own_time(samples: Sequence[Sample]) -> dict[int, float]:
    """Nanoseconds of a run by round; off an interrupted sample goes what it waited longer than those that were not."""
    samples = [s.as_calm() for s in samples]
    waits = [s.waited_ns / s.reps for s in samples if not s.switches] or [min(s.waited_ns / s.reps for s in samples)]
    usual = median(waits)
    lost = {s.round: max(0.0, s.waited_ns / s.reps - usual) if s.switches else 0.0 for s in samples}
    return {s.round: s.per_run_ns - lost[s.round] for s in samples}


def _median(times: Iterable[float]) -> Interval:
    return median_interval(list(times), serial=True)
