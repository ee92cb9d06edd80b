"""What measuring returns: numbers with intervals, the samples behind them, a state and reasons.

Both are plain records; `measure` makes them. They show themselves as aligned text, and in a notebook as a table whose
pictures are the samples in the order taken, and the ratios on a common axis.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..display.html import Drawn, reach, strip, table
from ..display.text import change, duration, on_one_line, quantity
from ..kernels.jit.assembly import MachineCode
from ..stats import Interval, median, t_interval
from .sampling import Sample
from .sensitivity import Sensitivity, together

FEW = 4  # processes from which on their medians have an interval of their own
SPREAD = 0.02  # medians that differ by more than this, and by more than their own intervals, are worth a reason


@dataclass(frozen=True)
class Measurement:
    """Time of one run in nanoseconds: median and 95 % interval, net of the loop's own cost (`floor_ns`)."""

    label: str
    scope: str
    mode: str
    """`throughput`, `latency` or `cold`."""
    time_ns: Interval
    gross_ns: Interval
    floor_ns: Interval
    samples: tuple[Sample, ...]
    state: str
    """`stable`, `noisy` or `invalid`; the reasons say why it is not stable."""
    reasons: tuple[str, ...]
    ended_by: str
    """What ended the rounds: `half-width` reached, or `budget` spent."""
    seconds: float
    """How long the rounds took."""
    seed: int
    """Of the order within the rounds and of the places of the arrays."""
    compile_s: float = 0.0
    """Seconds of the first run, if Numba compiled in it; 0 if it did not."""
    flops: int = 0
    bytes: int = 0
    notes: tuple[str, ...] = ()
    """What a reader should know, though nothing went wrong."""
    call: "Measurement | None" = None
    """The same function called from Python in the same rounds, where both scopes were measured."""
    dispatch_ns: Interval | None = None
    """What the call adds to the kernel: the difference of the two times as shown; the interval is paired by round."""
    processes_ns: tuple[float, ...] = field(default=(), repr=False)
    """Median of each process, where several measured."""
    sensitivity: Sensitivity | None = None
    """How the time depends on where the arrays lie; None where they were not placed in every round."""
    aligned_ns: Interval | None = None
    """The time with every array on a 64-byte boundary, where it differs from that of the places that NumPy gives."""

    code: MachineCode | None = None
    """What the compiler made of its loops; None for a function that Numba does not compile."""

    @property
    def gflops(self) -> Interval | None:
        """GFLOP/s (10^9 per second), None without a count of flops."""
        return self.time_ns.inverse(self.flops) if self.flops and self.time_ns.low > 0 else None

    @property
    def gb_per_s(self) -> Interval | None:
        """GB/s (10^9 bytes per second), None without a count of bytes."""
        return self.time_ns.inverse(self.bytes) if self.bytes and self.time_ns.low > 0 else None

    @property
    def meaning(self) -> str:
        """What the interval is of."""
        return _meaning([self])

    def __str__(self) -> str:
        return _pad([*self._lines(), ("", self.meaning)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        caption = "; ".join((self.meaning, *self._places(), *self._code(), *self.notes))
        return table(("what", "time [95 %]", "rate", "state", "samples"), self._cells(), caption)

    def _lines(self) -> list[tuple[str, str]]:
        """Head and text of each line; a note has no head."""
        where = ", ".join((f"{self.scope} scope", self.mode, *self._rates()))
        lines = [(f"{self.label}:", f"{duration(self.time_ns)} ({where}), {_state(self)}")]
        if self.call and self.dispatch_ns:
            call = f"{duration(self.call.time_ns)}, {_state(self.call)}"
            lines += [("    from Python:", call), ("    dispatch:", duration(self.dispatch_ns))]
        if self.processes_ns:
            lines.append((f"    {len(self.processes_ns)} processes:", self._spread()))
        return [*lines, *(("", line) for line in (*self._places(), *self._code(), *self.notes))]

    def _code(self) -> list[str]:
        return [str(self.code)] if self.code else []

    def _places(self) -> list[str]:
        """What the places of the arrays change, where they change much."""
        aligned = [f"with every array on a 64-byte boundary: {duration(self.aligned_ns)}"] if self.aligned_ns else []
        return aligned + ([str(self.sensitivity)] if self.sensitivity and self.sensitivity.slow else [])

    def _cells(self) -> list[tuple[str, ...]]:
        """Rows of the table in a notebook."""
        what = f"{self.label} ({self.scope}{' scope' if self.mode == 'throughput' else f', {self.mode}'})"
        rows = [(what, duration(self.time_ns), ", ".join(self._rates()), _state(self), self._strip())]
        if self.call and self.dispatch_ns:
            rows += [*self.call._cells(), ("dispatch, the difference", duration(self.dispatch_ns), "", "", "")]
        if self.processes_ns:
            rows.append((f"{len(self.processes_ns)} processes", self._spread(), "", "", ""))
        return rows

    def _rates(self) -> list[str]:
        rates = ((self.gflops, "GFLOP/s"), (self.gb_per_s, "GB/s"))
        return [f"{rate.value:.3g} {unit}" for rate, unit in rates if rate]

    def _spread(self) -> str:
        return f"{quantity(min(self.processes_ns))} to {quantity(max(self.processes_ns))}"

    def _strip(self) -> Drawn:
        interval = f"the interval of their median, {duration(self.gross_ns)}"
        what = f"{len(self.samples)} samples in the order taken, over {interval}"
        return strip([s.per_run_ns for s in self.samples], self.gross_ns, what)


@dataclass(frozen=True)
class Comparison:
    """Every alternative against the first: `ratios[name]` is time / time of the baseline, `verdicts[name]` what follows.

    `again` is the hidden comparison of the baseline with itself: no effect smaller than `bound` may be claimed. It is None
    where a call of the baseline takes a second and more, because it doubles the calls.
    """

    baseline: str
    measurements: Mapping[str, Measurement]
    ratios: Mapping[str, Interval]
    verdicts: Mapping[str, str]
    """`faster`, `slower`, `equivalent` or `unresolved`; `unresolved` too where a measurement is invalid."""
    again: Interval | None
    bound: float
    notes: tuple[str, ...] = ()
    """What a reader should know: alternatives whose results differ."""

    def __str__(self) -> str:
        lines = self.measurements[self.baseline]._lines()
        for name in self.ratios:
            verdict = f"{self.verdicts[name]} (smallest claim {change(self.bound, 1)})"
            ratio = f"{self._ratio(name)} of {self.baseline}{self._pairs(name)}"
            lines += [*self.measurements[name]._lines(), ("", f"{ratio}: {verdict}")]
        return _pad([*lines, *(("", note) for note in self.notes), ("", self.meaning)])

    @property
    def meaning(self) -> str:
        """What the intervals are of."""
        return _meaning(list(self.measurements.values()))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        bounds = [e for r in (*self.ratios.values(), self.again) if r for e in (r.low, r.high)]
        ends = min(0.95, *bounds), max(1.05, *bounds)
        rows = []
        for name, one in self.measurements.items():
            ratio = self.ratios.get(name, self.again)
            itself = f"with itself {self.again:.3f}: " if self.again else ""
            verdict = self.verdicts.get(name, f"{itself}smallest claim {change(self.bound, 1)}")
            factor = self._ratio(name) + self._pairs(name) if name in self.ratios else "1"
            what = f"time of {name} / time of {self.baseline}, from {ends[0]:.3g} to {ends[1]:.3g}"
            picture = reach(ratio, ends, what) if ratio else ""
            rows.append((name, duration(one.time_ns), factor, verdict, _state(one), picture))
        scope = self.measurements[self.baseline].scope
        header = (f"{scope} scope", "time [95 %]", f"of {self.baseline}", "verdict", "state", "ratio, 1 dashed")
        places = [f"{name}, {line}" for name, m in self.measurements.items() for line in m._places()]
        return table(header, rows, "; ".join((self.meaning, *places, *self.notes)))

    def _pairs(self, name: str) -> str:
        """A word on a ratio that is not the quotient of the times beside it."""
        one, base = (_as_shown(self.measurements[n].time_ns.value) for n in (name, self.baseline))
        is_quotient = base and f"{one / base:.3f}" == f"{self.ratios[name].value:.3f}"
        return "" if is_quotient else " (median of paired ratios)"

    def _ratio(self, name: str) -> str:
        return f"{self.ratios[name]:.3f}"


def _pad(lines: Sequence[tuple[str, str]]) -> str:
    """Texts under each other, right of the longest head."""
    heads = [on_one_line(head) if head[:1] != " " else "    " + on_one_line(head) for head, _ in lines]
    width = max(map(len, heads))
    return "\n".join(f"{head:<{width}} {on_one_line(text)}".rstrip() for head, (_, text) in zip(heads, lines, strict=True))


def _state(one: Measurement) -> str:
    return f"{one.state}: {'; '.join(one.reasons)}" if one.reasons else one.state


def combined(each: Sequence[Measurement]) -> Measurement:
    """One measurement of many: the median process, all samples, every reason, and how far the processes lie apart."""
    medians = tuple(m.time_ns.value for m in each)
    reasons = _merged(each)
    spread = max(medians) / max(min(medians), 1e-9) - 1
    if spread > max(SPREAD, *(2 * m.time_ns.half_width for m in each)):
        reasons.append(f"processes differ by {change(spread)}: layout of memory")
    states = {m.state for m in each} | ({"noisy"} if reasons else set())
    starts = [sum(1 + m.samples[-1].round for m in each[:i]) for i in range(len(each))]
    samples = [replace(s, round=s.round + start) for m, start in zip(each, starts, strict=True) for s in m.samples]
    times = {name: pooled([getattr(m, name) for m in each]) for name in ("time_ns", "gross_ns", "floor_ns")}
    call = combined([m.call for m in each]) if each[0].call else None
    paired = pooled([m.dispatch_ns for m in each]) if each[0].dispatch_ns else None
    return replace(
        each[0],
        **times,
        samples=tuple(samples),
        ended_by="budget" if any(m.ended_by == "budget" for m in each) else each[0].ended_by,
        state=next(state for state in ("invalid", "noisy", "stable") if state in states),
        reasons=tuple(reasons),
        seconds=sum(m.seconds for m in each),
        call=call,
        dispatch_ns=difference_as_shown(call.time_ns, times["time_ns"], paired) if call and paired else None,
        processes_ns=medians,
        sensitivity=together([m.sensitivity for m in each if m.sensitivity]),
        aligned_ns=pooled([m.aligned_ns for m in each]) if all(m.aligned_ns for m in each) else None,
    )


def _merged(each: Sequence[Measurement]) -> list[str]:
    """Every reason once; one that counts samples counts those of all processes."""
    kinds: dict[str, list[str]] = {}
    for reason in (reason for m in each for reason in m.reasons):
        kinds.setdefault(re.sub(r"[\d.]+", "", reason), []).append(reason)
    count, samples = re.compile(r"\bin (\d+) of \d+ samples"), sum(len(m.samples) for m in each)
    hits = ((alike, sum(int(found[1]) for reason in alike for found in count.finditer(reason))) for alike in kinds.values())
    return [count.sub(f"in {number} of {samples} samples", alike[0], count=1) for alike, number in hits]


def difference_as_shown(call: Interval, kernel: Interval, paired: Interval) -> Interval:
    """Call less kernel as they are shown, with the paired interval, widened to hold it."""
    value = _as_shown(call.value) - _as_shown(kernel.value)
    return Interval(value, min(value, paired.low), max(value, paired.high), paired.coverage)


def _as_shown(ns: float) -> float:
    return float(f"{ns:.4g}")


def _meaning(each: Sequence[Measurement]) -> str:
    """What the intervals of one or more measurements are of, and of how many samples."""
    counts = sorted({len(m.samples) for m in each})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    places = max(len({s.placement for s in m.samples}) * any(s.placement for s in m.samples) for m in each)
    processes = len(each[0].processes_ns) or 1
    what = " over placements" if places > 1 else ""
    many = f"{' and' if what else ' over'} {processes} processes" if processes > 1 else ", one process"
    return f"95 % for the median{what}{many}, {number} samples"


def pooled(intervals: Sequence[Interval], comparisons: int = 1) -> Interval:
    """Of processes: a t interval over the logarithms of their medians; all of their intervals where they are few.

    The error rate is divided by `comparisons`.
    """
    middles = [i.value for i in intervals]
    if len(middles) >= FEW and min(middles) > 0:
        logs = np.log(middles)
        return t_interval(float(logs.mean()), float(logs.var(ddof=1)) / len(logs), len(logs) - 1, 1 - 0.05 / comparisons)
    low, high = min(i.low for i in intervals), max(i.high for i in intervals)
    return Interval(median(middles), low, high, min(i.coverage for i in intervals))
