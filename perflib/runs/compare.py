"""Compare two runs, of one machine or of two: per kernel and size, with intervals and verdicts.

    print(compare_runs(load_run("latest"), load_run("/media/stick/20261201T120000Z-other-full")))

A ratio is time after / time before. Recordings of several processes carry their own error: a moderated t on the logarithms
of the medians of their processes, the variance of a case shrunk towards that of its topic (Smyth, Stat. Appl. Genet. Mol.
Biol. 3, 2004). A change is claimed where it is among the discoveries of all cases at a rate of 1 % (Benjamini and Hochberg)
and larger than 3 %. Two recordings of schema 1 have one process and one place each; they are compared by their rounds
(`stats.shift_interval`, corrected for the number of cases), and a change of place shows as a change.

On one machine no change is claimed that is smaller than the change of the reference loop, the series `canary`. Of two
machines each time counts in flops of its machine's own peak (in bytes of its copy, where no flops are counted): 1 is
the same share of what a machine can do.

Raises `NothingComparable` where the runs have no case in common or only one of them drew its places, `RunError` where one
of them was damaged or is implausible.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from html import escape

import numpy as np
import pandas as pd

from ..display.html import reach, table
from ..display.table import Table
from ..display.text import on_one_line, quantity
from ..errors import NothingComparable, RunError, SampleError
from ..hardware.facts import hardware_differences, software
from ..kernels.catalog import KERNELS
from ..stats import LEAST_VARIANCE, Interval, discoveries, median, p_of_no_change, prior_of, shift_interval, t_interval
from ..timing.diagnostics import ABOVE_PEAK, verdict
from ..timing.measure import MARGIN
from .cases import Key, cases, label, spread_within, topics
from .queries import CASE, copy_gb_per_s, peak_gflops, process_medians, work
from .repeatability import earlier_recordings, not_repeatable
from .store import Run
from .summaries import require_summary
from .tables import HIDDEN, TABLES

CLAIM = 0.03
"""The smallest change between recordings of several processes that is claimed."""
EQUIVALENT = 0.05
"""Half-length of the range around 1 in which the interval of an equivalent case lies."""
FALSE_DISCOVERIES = 0.01
FEWEST_PROCESSES = 3
"""Of each recording, for a claim without what other cases say of the variance."""
SAMPLE_ABOVE_PEAK = 2.0
"""Times the peak, which no single sample reaches."""
CHANGED = ("faster", "slower")
OTHERS = ("equivalent", "unresolved", "not repeatable", "no limit")
OUTCOMES = (*CHANGED, *OTHERS)
NAMED = 5
"""Cases that a sentence names; the others are counted."""
SLOWER, NOTHING = 3, 4
"""Exit status of the command."""


@dataclass(frozen=True)
class Change:
    """One case in both runs: `ratio` is after / before, None where the samples do not give one with an interval."""

    key: Key
    before_ns: float
    after_ns: float
    ratio: Interval | None
    verdict: str
    p: float | None = None
    """Of no change; None where there is no test."""
    aside: str = ""
    """Why the case takes part in no verdict: `not repeatable` or `no limit`."""

    @property
    def topic(self) -> str:
        """Of the case."""
        return self.key[0]

    @property
    def case(self) -> str:
        """In words, without its topic."""
        return label(self.key)

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`."""
        return self.aside or self.verdict


@dataclass(frozen=True)
class RunComparison:
    """Every case that both runs have, and what may be claimed of it."""

    before: str
    after: str
    same_machine: bool
    bound: float
    """The smallest change that is claimed."""
    changes: tuple[Change, ...]
    """In the order recorded."""
    missing: int
    """Cases that only one of the runs has."""
    remark: str = ""
    """What such recordings cannot tell."""
    notes: tuple[str, ...] = ()
    """Sentences on cases that take part in no verdict, and on what else differs."""
    not_repeatable: tuple[str, ...] = ()
    """Topic and name of the cases that are not repeatable here by earlier recordings, the worst first."""

    def counts(self) -> dict[str, int]:
        """How many cases became faster, slower, stayed equivalent, are unresolved or aside."""
        outcomes = Counter(c.outcome for c in self.changes)
        return {outcome: outcomes[outcome] for outcome in OUTCOMES}

    @property
    def status(self) -> int:
        """Exit status: 0 no regression, 3 slower beyond doubt, 4 nothing comparable."""
        counts = self.counts()
        if counts["slower"]:
            return SLOWER
        return NOTHING if counts["not repeatable"] + counts["no limit"] == len(self.changes) else 0

    @property
    def changed(self) -> list[Change]:
        """Cases that became faster or slower, the largest change first."""
        return sorted((c for c in self.changes if c.outcome in CHANGED), key=lambda c: -abs(np.log(c.ratio.value)))

    def table(self) -> Table:
        """A row for each case that changed, the largest change first."""
        of_what = "after / before" if self.same_machine else "after / before, of each machine's limit"
        times = ((c, quantity(c.before_ns), quantity(c.after_ns)) for c in self.changed)
        rows = tuple((c.topic, c.case, *ns, f"{c.ratio:.3f}", c.verdict) for c, *ns in times)
        return Table(("topic", "case", "before", "after", of_what, "verdict"), rows)

    def rest(self) -> Table:
        """How many cases of each topic did not change, by what may be said of them."""
        counts = Counter((c.topic, c.outcome) for c in self.changes if c.outcome not in CHANGED)
        rows = ((topic, *(str(counts[topic, name]) for name in OTHERS)) for topic in dict.fromkeys(t for t, _ in counts))
        return Table(("not changed", *OTHERS), tuple(rows))

    @property
    def headline(self) -> str:
        """The answer in a sentence."""
        counts = self.counts()
        changes, others = (", ".join(f"{counts[n]} {n}" for n in names if counts[n]) for names in (CHANGED, OTHERS))
        nothing = "no change beyond doubt" if counts["unresolved"] and self.before != self.after else "nothing changed"
        where = "one machine" if self.same_machine else "two machines, each against its own limits"
        return (
            f"{on_one_line(self.after)} against {on_one_line(self.before)}, {where}, {len(self.changes)} cases: "
            f"{changes or nothing} ({others or 'nothing else'}); smallest claim {100 * self.bound:.1f} %, "
            f"{self.missing} cases in one run only. {self.remark}".strip()
        )

    def to_dict(self) -> dict:
        """Plain data: the headline and its figures, every case with its ratio, interval, verdict and p-value."""
        cases = [{"topic": c.topic, "case": c.case, **asdict(c)} for c in self.changes]
        facts = asdict(self) | {"cases": [{name: value for name, value in c.items() if name != "key"} for c in cases]}
        del facts["changes"]
        return {"headline": self.headline, "status": self.status, "counts": self.counts()} | facts

    def __str__(self) -> str:
        tables = [repr(part) for part in (self.table(), self.rest()) if part.rows]
        return "\n\n".join(["\n".join([self.headline, *self.notes]), *tables])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        sentences = "".join(f"<p>{escape(on_one_line(sentence))}</p>" for sentence in (self.headline, *self.notes))
        changed, rest = self.changed, self.rest()
        ends = min([0.95, *(c.ratio.low for c in changed)]), max([1.05, *(c.ratio.high for c in changed)])
        pictures = [reach(c.ratio, ends, f"{c.case}: {c.ratio:.2f}") for c in changed]
        rows = [(*row, picture) for row, picture in zip(self.table().rows, pictures, strict=True)]
        changes = table((*self.table().header, "ratio, 1 dashed"), rows) if rows else ""
        return sentences + changes + (table(rest.header, rest.rows) if rest.rows else "")


def compare_runs(before: Run, after: Run) -> RunComparison:
    """Compare two runs case by case; both are checked first, and neither is changed."""
    if before.draws_placements != after.draws_placements:
        old, new = (after, before) if before.draws_placements else (before, after)
        raise NothingComparable(
            f"run {old.id} has one process and one place of its arrays, run {new.id} draws both anew: a change between "
            "them could be one of place; record the older code again: perflib record"
        )
    for run in (before, after):
        require_plausible(run)
    first, second = cases(before), cases(after)
    common = [key for key in first if key in second]
    if not common:
        raise NothingComparable(f"runs {before.id} and {after.id} have no case in common")
    same = not hardware_differences(before.machine, after.machine)
    scales = {key: Interval(1, 1, 1, 1) if same else _scale(before, after, key) for key in common}
    scales = {key: scale for key, scale in scales.items() if scale}
    restless = not_repeatable(earlier_recordings(before, after), common)
    bound = max(CLAIM if before.draws_placements else MARGIN, _canary_shift(before, after) if same else 0.0)
    judge = _by_processes if before.draws_placements else _by_rounds
    answers, remark = judge({key: (first[key], second[key]) for key in scales if key not in restless}, scales, bound)
    changes = []
    for key in common:
        ratio, answer, p = answers.get(key, (None, "unresolved", None))
        aside = "not repeatable" if key in restless else "" if key in scales else "no limit"
        times = (median(run[key]["net_ns"]) for run in (first, second))
        changes.append(Change(key, *times, ratio, answer, p, aside))
    names = tuple(f"{topic} {label((topic, case))}" for topic, case in restless)
    notes = tuple(note for note in (_restless_sentence(names), _context_sentence(before, after)) if note)
    missing = len(first.keys() ^ second.keys())
    return RunComparison(before.id, after.id, same, bound, tuple(changes), missing, remark, notes, names)


def require_plausible(run: Run, needs_peak: bool = True) -> None:
    """Read every table of a run and refuse what cannot be: rates above its own peak, or without a peak if it needs one."""
    for topic in dict.fromkeys(topic for topic, _ in run.blocks):
        if topic in TABLES:
            run.table(topic)
            continue
        samples = run.samples(topic)
        if topic == "limits":
            continue
        for number, row, (flops, _) in run.fastest(samples[~samples["kernel"].isin(HIDDEN)]):
            what = f"{run.path / topic}.csv: row {number + 2}: {row['kernel']} at n = {row['n']}"
            ceiling = SAMPLE_ABOVE_PEAK * _ceiling(run, row, what, needs_peak) if flops else np.inf
            if (rate := flops * row["reps"] / row["elapsed_ns"]) > ceiling:
                raise RunError(f"{what} reaches {rate:.3g} GFLOP/s, above the {ceiling:.3g} of this run's machine")
    for (topic, case), samples in cases(run).items():
        row = {**dict.fromkeys(CASE), **dict(case)}
        if not (flops := (work(run, row) or (0,))[0]) or (ns := float(np.median(samples["net_ns"]))) <= 0:
            continue
        what = f"{run.path / topic}.csv: {row['kernel']} at n = {row['n']}"
        if (rate := flops / ns) > (ceiling := ABOVE_PEAK * _ceiling(run, row, what, needs_peak)):
            raise RunError(f"{what} reaches {rate:.3g} GFLOP/s, above the {ceiling:.3g} of this run's machine")
    require_summary(run)


def _ceiling(run: Run, case: Mapping[str, object], what: str, needs_peak: bool) -> float:
    """GFLOP/s of the cores of a case; infinite for a type without a peak, and a library with units of its own.

    An unfinished run may not have measured its peak yet.
    """
    kernel = KERNELS.get(case["kernel"])
    has_units = kernel is not None and not kernel.compiled and re.search("arm|aarch", run.machine.os.lower())
    if case["dtype"] not in ("float32", "float64") or has_units:
        return np.inf
    if (peak := _peak(run, case["dtype"])) is None:
        if needs_peak and run.finished:
            raise RunError(f"{what} counts flops, and the run has no peak of {case['dtype']} to hold them against")
        return np.inf
    return min(case["threads"], run.machine.logical_cpus) * peak.high


@lru_cache(maxsize=64)
def _peak(run: Run, dtype: str) -> Interval | None:
    with suppress(RunError):
        return peak_gflops(run, dtype)
    return None


Pairs = Mapping[Key, tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]
Answers = dict[Key, tuple[Interval | None, str, float | None]]


def _by_rounds(pairs: Pairs, scales: Mapping[Key, Interval], bound: float) -> tuple[Answers, str]:
    """Ratio, verdict and no p-value of each case by the rounds of one process each, and what that means."""
    answers = {}
    for key, (old, new) in pairs.items():
        try:
            shift = shift_interval(new["net_ns"], old["net_ns"], comparisons=len(pairs))
        except SampleError:
            continue  # too few rounds for so many comparisons
        scale = scales[key]
        ratio = Interval(shift.value * scale.value, shift.low * scale.low, shift.high * scale.high, shift.coverage)
        answers[key] = ratio, verdict(ratio, MARGIN, bound), None
    return answers, "Each recording has one process and one place of its arrays: changes of place show as changes."


def _by_processes(pairs: Pairs, scales: Mapping[Key, Interval], bound: float) -> tuple[Answers, str]:
    """Ratio, verdict and p-value of each case by a moderated t on process medians, and what could not be claimed."""
    medians = {key: both for key, samples in pairs.items() if all(both := [process_medians(one) for one in samples])}
    spreads = {key: spread_within(both) for key, both in medians.items()}
    priors = {topic: prior_of(s for key, s in spreads.items() if key[0] == topic) for topic in {key[0] for key in spreads}}
    ratios, p_values, few = {}, {}, 0
    for key, (old, new) in medians.items():
        prior, spread, scale = priors[key[0]], spreads[key], scales[key]
        is_enough = prior is not None or min(len(old.logs), len(new.logs)) >= FEWEST_PROCESSES
        few += not is_enough
        if not (prior or spread.freedom):
            continue
        variance, freedom = spread.variance, float(spread.freedom)
        if prior:
            variance, freedom = prior.shrink(variance, freedom, spread.scatter)
        of_limits = (np.log(scale.high / scale.low) / (2 * 1.96)) ** 2
        error = max(variance, LEAST_VARIANCE) * (1 / len(old.logs) + 1 / len(new.logs)) + of_limits
        mean = float(new.logs.mean() - old.logs.mean() + np.log(scale.value))
        ratios[key] = t_interval(mean, error, freedom)
        if is_enough:
            p_values[key] = p_of_no_change(mean, error, freedom)
    claims = dict(zip(p_values, discoveries([*p_values.values()], FALSE_DISCOVERIES), strict=True))
    verdicts = {
        key: _verdict(ratio, claims[key], bound) if key in claims else "unresolved" for key, ratio in ratios.items()
    }
    remark = f"{few} cases have two processes each or one: too few for a claim of their own, and no topic to borrow from."
    return {key: (ratio, verdicts[key], p_values.get(key)) for key, ratio in ratios.items()}, remark if few else ""


def _verdict(ratio: Interval, is_discovery: bool, bound: float) -> str:
    if is_discovery and abs(np.log(ratio.value)) > np.log1p(bound):
        return "slower" if ratio.value > 1 else "faster"
    return "equivalent" if ratio.inside(1 / (1 + EQUIVALENT), 1 + EQUIVALENT) else "unresolved"


def _canary_shift(before: Run, after: Run) -> float:
    """How far the time of the reference loop, which runs in every round, differs between the runs."""
    medians = []
    for run in (before, after):
        rows = pd.concat([run.samples(topic) for topic in topics(run)])
        rows = rows[rows["kernel"] == "canary"]
        if rows.empty:
            return 0.0
        medians.append(median((rows["elapsed_ns"] / rows["reps"]).to_numpy()))
    return float(np.expm1(abs(np.log(medians[1] / medians[0]))))


def _scale(before: Run, after: Run, key: Key) -> Interval | None:
    """Limit after / limit before of a case: the peak of its type, or the copy for a kernel that counts no flops."""
    case = {**dict.fromkeys(CASE), **dict(key[1])}
    amounts = work(before, case)
    return _limits_ratio(before, after, None if amounts is not None and not amounts[0] else case["dtype"] or "float32")


@lru_cache(maxsize=64)
def _limits_ratio(before: Run, after: Run, dtype: str | None) -> Interval | None:
    """Ratio of the peaks of a type, or of the copies; None where a run has none, as for weights of type Q8_0."""
    try:
        old, new = (peak_gflops(run, dtype) if dtype else copy_gb_per_s(run) for run in (before, after))
    except RunError:
        return None
    return Interval(new.value / old.value, new.low / old.high, new.high / old.low, min(old.coverage, new.coverage))


def _restless_sentence(names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"Not repeatable here, by earlier recordings, {len(names)} cases: {'; '.join(names[:NAMED])}{more}."


def _context_sentence(before: Run, after: Run) -> str:
    """What else differs, hardware by name and the rest by its values."""
    hardware = hardware_differences(before.machine, after.machine)
    then, now = map(_context, (before, after))
    others = [f"{name} {then.get(name)} -> {now.get(name)}" for name in then | now if then.get(name) != now.get(name)]
    parts = [*([f"hardware ({', '.join(hardware)})"] if hardware else []), *others]
    return on_one_line(f"Different: {'; '.join(parts)}.") if parts else ""


def _context(run: Run) -> dict[str, str]:
    facts = {"recorded": run.meta.get("started"), "command": run.meta["command"]} | run.meta["code"]
    return {name: str(facts[name]) for name in ("recorded", "command", "commit") if facts.get(name)} | software(run.machine)
