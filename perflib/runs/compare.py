"""What changed between two runs, of one machine or of two: per kernel and size, with intervals and verdicts.

    compare_runs(before, after)     -> RunComparison; shows itself as a table
    require_plausible(run)          refuses a run whose values cannot be

    print(compare_runs(load_run("latest"), load_run("/media/stick/20261201T120000Z-other-full")))

A ratio is time after / time before, from samples that were not taken together (`stats.shift_interval`), corrected for the
number of cases. On one machine nothing smaller than the canary moved is claimed. Of two machines each time counts in flops
of its machine's own peak (in bytes of its copy, where no flops are counted): 1 is the same share of what a machine can do.

Raises `RunError` where the runs have no case in common, or one of them was damaged or is implausible.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..display.html import reach, table
from ..display.table import Table
from ..display.text import on_one_line
from ..errors import RunError, SampleError
from ..stats import Interval, median, shift_interval
from ..timing.diagnostics import ROOF, verdict
from ..timing.measure import MARGIN
from .queries import CASE, copy_gb_per_s, net_times, parameters, peak_gflops, summary, work
from .store import TABLES, Run

ASIDE = {"clock", "limits", *TABLES}


@dataclass(frozen=True)
class Change:
    """One case in both runs: `ratio` is after / before, None where the samples are too few for so many comparisons."""

    topic: str
    case: str
    before_ns: float
    after_ns: float
    ratio: Interval | None
    verdict: str


@dataclass(frozen=True)
class RunComparison:
    """Every case that both runs have, and what may be claimed of it."""

    before: str
    after: str
    same_machine: bool
    bound: float
    """The smallest change that is claimed."""
    changes: tuple[Change, ...]
    missing: int
    """Cases that only one of the runs has."""

    def counts(self) -> dict[str, int]:
        """How many cases became faster, slower, stayed equivalent or are unresolved."""
        return {v: sum(c.verdict == v for c in self.changes) for v in ("faster", "slower", "equivalent", "unresolved")}

    def table(self) -> Table:
        """A row per case, in the order recorded."""
        ratios = [f"{c.ratio:.3f}" if c.ratio else "too few samples" for c in self.changes]
        cases = [(c.topic, c.case, f"{c.before_ns:.4g}", f"{c.after_ns:.4g}") for c in self.changes]
        rows = tuple((*case, ratio, c.verdict) for case, ratio, c in zip(cases, ratios, self.changes, strict=True))
        of_what = "after / before" if self.same_machine else "after / before, of each machine's limit"
        return Table(("topic", "case", "before (ns)", "after (ns)", of_what, "verdict"), rows)

    @property
    def headline(self) -> str:
        """The answer in a sentence."""
        counts = ", ".join(f"{number} {name}" for name, number in self.counts().items())
        where = "one machine" if self.same_machine else "two machines, each against its own limits"
        return (
            f"{on_one_line(self.after)} against {on_one_line(self.before)}, {where}: {counts}; smallest claim "
            f"{100 * self.bound:.1f} %, {self.missing} cases in one run only"
        )

    def __str__(self) -> str:
        return f"{self.headline}\n{self.table()!r}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        ratios = [c.ratio for c in self.changes if c.ratio]
        ends = min([0.95, *(r.low for r in ratios)]), max([1.05, *(r.high for r in ratios)])
        pictures = [reach(c.ratio, ends, f"{c.case}: {c.ratio:.2f}") if c.ratio else "" for c in self.changes]
        text = self.table()
        rows = [(*row, picture) for row, picture in zip(text.rows, pictures, strict=True)]
        return table((*text.header, "ratio, 1 dashed"), rows, self.headline)


def compare_runs(before: Run, after: Run) -> RunComparison:
    """Compare two runs case by case; both are checked first, and neither is changed."""
    for run in (before, after):
        require_plausible(run)
    first, second = (dict(_cases(run)) for run in (before, after))
    common = [key for key in first if key in second]
    if not common:
        raise RunError(f"runs {before.id} and {after.id} have no case in common")
    same = before.machine.to_dict() == after.machine.to_dict()
    bound = max(MARGIN, _canary_shift(before, after)) if same else MARGIN
    changes = []
    for topic, key in common:
        old, new = first[topic, key], second[topic, key]
        scale = Interval(1, 1, 1, 1) if same else _limits_ratio(before, after, key)
        ratio = _ratio(new, old, scale, len(common))
        answer = verdict(ratio, MARGIN, bound) if ratio else "unresolved"
        changes.append(Change(topic, _label(key), median(old), median(new), ratio, answer))
    return RunComparison(before.id, after.id, same, bound, tuple(changes), missing=len(first.keys() ^ second.keys()))


def require_plausible(run: Run) -> None:
    """Read every table of a run and refuse what cannot be: no machine, limits of nothing, rates above its own peak."""
    caches = run.machine.caches  # raises where there is no machine
    for name, limit in run.meta.get("limits", {}).items():
        if not isinstance(limit, dict) or not all(0 < limit.get(end, 0) < np.inf for end in ("value", "low", "high")):
            raise RunError(f"{run.path / 'run.json'}: limits: {name} must be above 0 and finite, got {limit!r}")
    if any(cache.size_bytes < 1 for cache in caches):
        raise RunError(f"{run.path / 'run.json'}: machine: caches must have a size of at least 1")
    try:
        peaks = {dtype: ROOF * peak_gflops(run, dtype).high for dtype in ("float32", "float64")}
    except RunError:
        peaks = {}
    for topic in _topics(run):
        threads = int(run.samples(topic)["threads"].max())
        for row in summary(run, topic).to_dict("records"):
            ceiling = threads * peaks.get(row["dtype"], np.inf)
            if row.get("gflops", 0) > ceiling:
                rate = f"{on_one_line(row['kernel'])} at n = {row['n']} reaches {row['gflops']:.3g} GFLOP/s"
                raise RunError(f"{run.path / topic}.csv: {rate}, above the {ceiling:.3g} of this run's machine")


def _topics(run: Run) -> list[str]:
    return [topic for topic in dict.fromkeys(t for t, _ in run.blocks) if topic not in ASIDE]


def _cases(run: Run) -> Iterator[tuple[tuple[str, tuple], np.ndarray]]:
    """Net times of every case in the order taken, by topic and columns."""
    for topic in _topics(run):
        times = net_times(run, topic)
        columns = [*CASE, "threads", *parameters(times)]
        for key, rows in times.groupby(columns, dropna=False, sort=False):
            values = ((name, value) for name, value in zip(columns, key, strict=True) if pd.notna(value) and value != "")
            yield (topic, tuple(values)), rows["net_ns"].to_numpy()


def _label(key: tuple[tuple[str, object], ...]) -> str:
    words = [str(v) if isinstance(v, str) else f"{name} {v}" for name, v in key if (name, v) != ("threads", 1)]
    return on_one_line(", ".join(words))


def _ratio(new: np.ndarray, old: np.ndarray, scale: Interval, comparisons: int) -> Interval | None:
    try:
        shift = shift_interval(new, old, comparisons=comparisons)
    except SampleError:
        return None
    return Interval(shift.value * scale.value, shift.low * scale.low, shift.high * scale.high, shift.coverage)


def _canary_shift(before: Run, after: Run) -> float:
    """How far a fixed chain of integer steps, which runs in every round, is from its time in the other run."""
    medians = []
    for run in (before, after):
        rows = pd.concat([run.samples(topic) for topic in _topics(run)])
        rows = rows[rows["kernel"] == "canary"]
        if rows.empty:
            return 0.0
        medians.append(median((rows["elapsed_ns"] / rows["reps"]).to_numpy()))
    return float(np.expm1(abs(np.log(medians[1] / medians[0]))))


def _limits_ratio(before: Run, after: Run, key: tuple[tuple[str, object], ...]) -> Interval:
    """Limit after / limit before: the peak of the type, or the copy for a kernel that counts no flops."""
    case = {**dict.fromkeys(CASE), **dict(key)}
    amounts = work(before, case)
    by_copy = amounts is not None and not amounts[0]
    old, new = (copy_gb_per_s(run) if by_copy else peak_gflops(run, case["dtype"] or "float32") for run in (before, after))
    return Interval(new.value / old.value, new.low / old.high, new.high / old.low, min(old.coverage, new.coverage))
