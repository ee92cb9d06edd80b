"""Check that the next recording of the same code gives the same numbers, by counting one recording against another.

Every case counts in both directions: the median of one recording against the interval of the other. A right interval of
95 % for the median over placements and processes misses the median of an equally large second recording in 6 to 20 % of the
cases, because that median errs too. A wider interval would be wrong. The score of an interval adds its length and forty
times the distance by which it misses: Gneiting and Raftery, J. Am. Stat. Assoc. 102 (2007), section 6.2, on logarithms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..display.progress import progress_bar, step
from ..display.table import Table
from ..errors import NothingComparable
from ..runs.cases import Key, cases
from ..runs.compare import RunComparison, compare_runs
from ..runs.queries import topic_prior
from ..runs.store import Run
from ..runs.summaries import interval_of_case
from ..stats import Interval
from ..studies.recording_plan import record
from .interval_coverage import recording_coverage
from .scorecard import Score, Scorecard, Target, at_most

MOVED = 0.05
SCORE_BEFORE = 0.99
"""Mean score of two quick recordings of schema 1, one process and one place each: `selfcheck --between --runs` on them."""
TARGETS: dict[str, tuple[str, Target]] = {
    "simulated_coverage": ("coverage of the true median, simulated", Target("0.93 to 0.98", 0.93, 0.98)),
    "median_outside_interval": ("the other recording's median outside the interval", Target("0.06 to 0.2", 0.06, 0.20)),
    "half_width_median": ("half-width of the intervals, median", at_most(0.025)),
    "half_width_p90": ("half-width of the intervals, 90th percentile", at_most(0.12)),
    "interval_score_ratio": ("mean score of the intervals / that of one process and place", at_most(0.5)),
    "median_moved_5_percent": ("medians that moved by more than 5 %, repeatable cases", at_most(0.06)),
    "false_claims": ("cases called faster or slower", at_most(0.005)),
    "unresolved": ("cases left unresolved", at_most(0.30)),
    "not_repeatable": ("cases not repeatable here, by earlier recordings", at_most(0.10)),
}
ONLY_FULL = ("unresolved",)
"""Promised of full recordings alone."""
COLUMNS = ("median_outside_interval", "median_moved_5_percent", "half_width_median", "false_claims", "unresolved")


@dataclass(frozen=True)
class Between(Scorecard):
    """What was counted. Shares of the cases and half-widths are shares of 1."""

    figures: dict[str, Any]
    topics: Mapping[str, dict[str, Any]]
    """The same figures for the cases of each topic."""
    comparison: RunComparison
    is_full: bool

    def scores(self) -> tuple[Score, ...]:
        """Of the figures that were counted."""
        judged = [key for key in TARGETS if key in self.figures and (self.is_full or key not in ONLY_FULL)]
        return tuple(
            target.score(what, self.figures[key], f"{self.figures[key]:.4g}")
            for key, (what, target) in ((key, TARGETS[key]) for key in judged)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a program that reads on."""
        return self.figures | {"topics": self.topics}

    def __str__(self) -> str:
        rows = [(topic, str(f["cases"]), *(f"{f[name]:.3f}" for name in COLUMNS)) for topic, f in self.topics.items()]
        by_topic = Table(("topic", "cases", *(name.replace("_", " ") for name in COLUMNS)), tuple(rows))
        return "\n\n".join([self.comparison.headline, repr(self.table()), repr(by_topic)])


def between(quick: bool = False, runs: Sequence[Run] = (), progress: bool = True) -> Between:
    """Judge two runs, by default two recordings that are made now: some minutes if quick, else an hour.

    Raises NothingComparable where the two are not recordings of the same cases, RunError where another measurement runs.
    """
    pair = runs or [record(quick, progress=progress) for _ in range(2)]
    with progress_bar(1, progress) as bar, step(bar, "coverage of intervals, simulated"):
        coverage = recording_coverage().overall
    card = judge_pair(*pair)
    return replace(card, figures=card.figures | {"simulated_coverage": coverage})


def judge_pair(before: Run, after: Run) -> Between:
    """Count what two recordings of the same code say of each other."""
    if before.path.resolve() == after.path.resolve():
        raise NothingComparable(f"two recordings must be compared, got {before.id} twice")
    comparison = compare_runs(before, after)
    outcomes: dict[Key, str] = {change.key: change.outcome for change in comparison.changes}
    intervals = [case_intervals(run) for run in (before, after)]
    known = [key for key in outcomes if all(key in one for one in intervals)]
    pairs = {key: tuple(one[key] for one in intervals) for key in known}
    by_topic = {}
    for topic in dict.fromkeys(key[0] for key in outcomes):
        inside = {key: outcome for key, outcome in outcomes.items() if key[0] == topic}
        by_topic[topic] = _count(inside, pairs)
    figures = {"recordings": [before.id, after.id], **_count(outcomes, pairs)}
    return Between(figures, by_topic, comparison, {before.meta["command"], after.meta["command"]} == {"full"})


def case_intervals(run: Run) -> dict[Key, Interval]:
    """Of every case that has one, above 0."""
    found = {key: interval_of_case(samples, topic_prior(run, key[0])) for key, samples in cases(run).items()}
    return {key: interval for key, interval in found.items() if interval and interval.low > 0}


def _count(outcomes: Mapping[Key, str], pairs: Mapping[Key, tuple[Interval, Interval]]) -> dict[str, Any]:
    """The figures of some cases; NaN where there are none."""
    counts = list(outcomes.values())
    both = [pairs[key] for key in outcomes if key in pairs]
    steady = [pairs[key] for key, outcome in outcomes.items() if key in pairs and outcome != "not repeatable"]
    directed = [pair for first, second in both for pair in ((first, second), (second, first))]
    widths = [interval.half_width for pair in both for interval in pair]
    scores = [_score(interval, other.value) for interval, other in directed]

    def share(hits: Sequence[bool]) -> float:
        return float(np.mean(hits)) if len(hits) else float("nan")

    return {
        "cases": len(counts),
        "median_outside_interval": share([not i.low <= other.value <= i.high for i, other in directed]),
        "median_moved_5_percent": share([abs(np.log(b.value / a.value)) > np.log1p(MOVED) for a, b in steady]),
        "half_width_median": float(np.median(widths)) if widths else float("nan"),
        "half_width_p90": float(np.quantile(widths, 0.9)) if widths else float("nan"),
        "interval_score_ratio": share(scores) / SCORE_BEFORE,
        "false_claims": share([one in ("faster", "slower") for one in counts]),
        **{
            name: share([one == name.replace("_", " ") for one in counts])
            for name in ("unresolved", "equivalent", "not_repeatable")
        },
    }


def _score(interval: Interval, truth: float) -> float:
    low, high, value = np.log([interval.low, interval.high, truth])
    return float(high - low + 40 * (max(0.0, low - value) + max(0.0, value - high)))
