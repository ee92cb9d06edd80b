"""Record where the time of a pass goes: nested sections, their overhead, and a check against the whole.

    PerformanceStats()                      empty; sections of any names fill it, or add()
    PerformanceStats(forward_pass_ms=10.0, attention_ms=4.0, ...)   one pass with known times
    PerformanceStats(components=("load", "solve", "solve/pivot"))   these parts and no others; `pivot` is a part of `solve`

    stats = PerformanceStats()
    with stats.section("forward_pass"):
        with stats.section("attention"):
            with stats.section("qkv"):
                ...
    stats.attention_qkv_ms
    stats.print("first token")

Raises `ValueError` for an unknown component, a negative time or a section where it has no place, and `SampleError` where
there is no pass to average, tabulate or print.
"""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TextIO

from .display.html import bar, table
from .display.text import on_one_line
from .errors import SampleError
from .section_timer import RESIDUAL, WHOLE, Pass, Stopwatch, field_of, outline, parent_of, section_cost_ns
from .stats import MIN_SAMPLES, median, median_interval
from .timer import Clock

if TYPE_CHECKING:
    import pandas as pd


COMPONENTS = ("embedding", "attention", "ffn", "projection")
OVERHEAD_LIMIT_PERCENT = 5.0
NAMES = {"ffn": "FFN", "qkv": "QKV", "rope": "RoPE"}  # as print shows them; other names get a capital


class PerformanceStats:
    """Times of a pass and its parts over any number of passes.

    Without `components` a section of any name becomes a part of the section around it when it is first entered; the four
    of a decoder are there from the start. With them there are those parts and no others, in the order of a walk through
    the tree: `attention/qkv` is a part of `attention`. `count`
    is the number of passes; `forward_pass_ms`, `attention_ms` and `attention_qkv_ms` are totals over them, in
    milliseconds. Times are kept as integer nanoseconds. With `enabled=False` sections cost next to nothing and count
    nothing. Sections are for one thread at a time.
    """

    def __init__(
        self,
        components: Sequence[str] | None = None,
        clock: Clock = time.perf_counter_ns,
        *,
        enabled: bool = True,
        **times_ms: float,
    ) -> None:
        self._clock, self._is_growing = clock, components is None
        self._watch = watch = Stopwatch(outline(COMPONENTS if components is None else components), clock, self._is_growing)
        self._sections = watch.sections if enabled else dict.fromkeys(watch.sections, nullcontext())
        if times_ms:
            zeros = dict.fromkeys(watch.places, 0)
            watch.passes.append(Pass(zeros | self._nanoseconds(times_ms), zeros))

    @property
    def components(self) -> tuple[str, ...]:
        """The parts; where any may come, those that have a time, and those of a decoder until there are others."""
        paths = tuple(self._watch.places)[1:]
        if self._is_growing and len(paths) > len(COMPONENTS):
            used = {name for p in self._watch.passes for name, ns in p.ns.items() if ns or p.entries[name]}
            paths = tuple(path for path in paths if any(f"{name}/".startswith(f"{path}/") for name in used))
        return outline(paths)

    def _below(self, path: str) -> list[str]:
        """A part and the parts in it."""
        return [one for one in self._watch.places if path in (WHOLE, one) or one.startswith(f"{path}/")]

    @property
    def count(self) -> int:
        """Number of passes."""
        return len(self._watch.passes)

    @property
    def passes(self) -> tuple[dict[str, int], ...]:
        """Nanoseconds of every pass by part, the whole first."""
        return tuple({name: one.ns.get(name, 0) for name in (WHOLE, *self.components)} for one in self._watch.passes)

    def __getattr__(self, field: str) -> float:
        watch = self.__dict__.get("_watch")
        name = next((one for one in watch.places if field_of(one) == field), None) if watch else None
        if name is None:
            raise AttributeError(f"{type(self).__name__} has no field {field!r}")
        return self._total(name) / 1e6

    def add(self, sample: "PerformanceStats") -> None:
        """Take over the passes of `sample`, which must have the same components where either of them declares its own."""
        if not (self._is_growing and sample._is_growing) and sample.components != self.components:
            raise ValueError(f"sample must have the components {self.components}, got {sample.components}")
        for path in [path for path in sample._watch.places if path not in self._watch.places]:
            self._watch.add(path)
        self._watch.passes.extend(list(sample._watch.passes))  # a list: `sample` may be self

    def average(self) -> "PerformanceStats":
        """The mean pass, as statistics of one pass. Raises SampleError if there is none."""
        self._require_passes("average")
        mean = PerformanceStats(None if self._is_growing else self.components, self._clock)
        for path in [path for path in self._watch.places if path not in mean._watch.places]:
            mean._watch.add(path)
        ns = {n: round(self._total(n) / self.count) for n in self._watch.places}
        mean._watch.passes.append(Pass(ns, {n: self.entries(n) / self.count for n in ns}))
        return mean

    def section(self, name: str) -> AbstractContextManager[None]:
        """Time a part: `forward_pass` opens a pass and counts it when it ends well; the parts run inside it.

        A part of a part is called by its own name inside its parent. What runs several times in one pass adds up. A pass
        that raises is not counted. The section may be kept and entered again.
        """
        try:
            return self._sections[name]
        except KeyError:
            if not self._is_growing:
                raise ValueError(f"component must be one of {', '.join(self._sections)}; got {name!r}") from None
            if self._sections is not self._watch.sections:  # switched off
                return self._sections[WHOLE]
            return self._watch.begin(name)

    def entries(self, component: str = WHOLE) -> float:
        """How often the section of a component was entered, over all passes; 0 for times that were given."""
        self._require_name(component)
        return sum(p.entries.get(component, 0) for p in self._watch.passes)

    def section_overhead_ns(self) -> float:
        """What entering and leaving one section costs on this clock: measured once per clock and process, warm."""
        return _overhead_ns(self._clock)

    def residual_ms(self, component: str = WHOLE) -> float:
        """What the parts leave unexplained of the whole (or of a component), over all passes; negative if they overlap."""
        self._require_name(component)
        return sum(self._residual_ns(component)) / 1e6

    def print(self, label: str, file: TextIO | None = None) -> None:
        """Print mean times and shares of the whole, then what the parts leave unexplained, where there is any.

        From six passes on also medians with their 95 % intervals. No share where the clock costs more than 5 % of a part.
        """
        self._require_passes("print")
        spread = "; median with its 95 % interval" if self.count >= MIN_SAMPLES else ""
        over = f" (mean of {self.count} passes{spread})" if self.count > 1 else ""
        lines = _lines([row for row in self._rows() if row.is_shown])
        print("\n".join([f"Performance Stats: {label}{over}", *lines]), file=file or sys.stdout)

    def to_frame(self) -> "pd.DataFrame":
        """One row per part, the whole first and what is unexplained of it last: mean, median and its 95 % interval, share.

        `count` is entries per pass; `overhead_percent` what they and the entries of the parts inside cost, of the time;
        above 5 % there is no share. The interval is NaN for fewer than six passes, which have none.
        """
        import pandas as pd  # local: half a second to load

        self._require_passes("to_frame")
        return pd.DataFrame(list(self._rows())).set_index("component")

    def _repr_html_(self) -> str:
        if not self.count:
            return repr(self)
        rows = [row.cells for row in self._rows() if row.is_shown]
        header = ("component", "count per pass", "mean (ms)", "median (ms) [95 %]", "share (%)", "clock (%)", "share")
        return table(header, rows, f"{self.count} {'pass' if self.count == 1 else 'passes'}")

    def __repr__(self) -> str:
        head = f"PerformanceStats(count={self.count}, components={self.components})"
        return "\n".join([on_one_line(head), *_lines([r for r in self._rows() if r.is_shown])]) if self.count else head

    def _rows(self, name: str = WHOLE, components: Sequence[str] = ()) -> Iterator["_Row"]:
        """A section, its parts, and what they leave unexplained of it."""
        components = components or self.components
        ns, whole = [p.ns.get(name, 0) for p in self._watch.passes], self._total(WHOLE)
        parts = [part for part in components if parent_of(part) == name]
        yield _row(name, ns, whole, self.entries(name) / self.count, self._overhead_percent(name))
        for part in parts:
            yield from self._rows(part, components)
        if name == WHOLE or parts:
            path = RESIDUAL if name == WHOLE else f"{name}/{RESIDUAL}"
            yield _row(path, self._residual_ns(name), whole, 0, math.nan)

    def _residual_ns(self, name: str) -> list[int]:
        parts = [part for part in self._watch.places if part != WHOLE and parent_of(part) == name]
        return [p.ns.get(name, 0) - sum(p.ns.get(part, 0) for part in parts) for p in self._watch.passes]

    def _overhead_percent(self, name: str) -> float:
        """What all the entries inside a section, its own included, cost in percent of its time."""
        entries = sum(self.entries(n) for n in self._below(name))
        if not entries:
            return 0.0  # without measuring: the times were given
        cost, spent = entries * self.section_overhead_ns(), self._total(name)
        return 100 * cost / spent if spent else math.inf if cost else 0.0

    def _total(self, name: str) -> int:
        return sum(p.ns.get(name, 0) for p in self._watch.passes)

    def _nanoseconds(self, times_ms: dict[str, float]) -> dict[str, int]:
        ns, fields = {}, {field_of(name): name for name in self._watch.places}
        for field, ms in times_ms.items():
            if not field.endswith("_ms"):
                raise ValueError(f"times must be named <component>_ms, got {field!r}")
            if field not in fields:
                known = ", ".join(f.removesuffix("_ms") for f in fields)
                raise ValueError(f"component must be one of {known}; got {field.removesuffix('_ms')!r}")
            if not (ms >= 0 and math.isfinite(ms)):
                raise ValueError(f"{field} must be finite and at least 0, got {ms}")
            ns[fields[field]] = round(ms * 1e6)
        return ns

    def _require_name(self, name: str) -> None:
        if name not in self._watch.places:
            raise ValueError(f"component must be one of {', '.join(self._watch.places)}; got {name!r}")

    def _require_passes(self, what: str) -> None:
        if not self._watch.passes:
            raise SampleError(f"{what} needs at least 1 pass, got none")


@lru_cache(maxsize=32)
def _overhead_ns(clock: Clock) -> float:
    stats = PerformanceStats(("empty",), clock)
    with stats.section(WHOLE):
        return section_cost_ns(stats.section, clock)


@dataclass(frozen=True)
class _Row:
    """A line of the table: a section, or what the parts of one leave unexplained of it (its overhead is NaN)."""

    component: str
    count: float
    mean_ms: float
    median_ms: float
    low_ms: float
    high_ms: float
    share_percent: float
    overhead_percent: float

    @property
    def is_shown(self) -> bool:
        """Is it more than a rest that three decimals do not show?"""
        return self.component.rpartition("/")[2] != RESIDUAL or abs(self.mean_ms) >= 0.0005

    @property
    def head(self) -> str:
        *above, name = self.component.split("/")
        title = on_one_line(NAMES.get(name, name.replace("_", " ").capitalize()))
        return f"{title}:" if name == WHOLE else f"{'  ' * len(above)}- {title}:"

    @property
    def cells(self) -> tuple[str, ...]:
        """As in a notebook; what is withheld or does not exist is a dash."""
        middle = f"{self.median_ms:.3f}"
        if not math.isnan(self.low_ms):
            middle += f" [{self.low_ms:.3f}, {self.high_ms:.3f}]"
        shares = ("–" if math.isnan(x) else f"{x:.1f}" for x in (self.share_percent, self.overhead_percent))
        picture = bar(self.share_percent / 100, f"{on_one_line(self.component)}: {on_one_line(self.note) or 'the whole'}")
        return (self.component, f"{self.count:g}", f"{self.mean_ms:.3f}", middle, *shares, picture)

    @property
    def note(self) -> str:
        """The share, or why there is none."""
        if self.overhead_percent > OVERHEAD_LIMIT_PERCENT:
            part = f"{self.overhead_percent:.0f} %" if self.overhead_percent < 100 else "all"
            cost = f"the clock costs {part} of it"
            return f" ({cost})" if self.component == WHOLE else f" (share withheld: {cost})"
        return "" if self.component == WHOLE else f" ({self.share_percent:.1f}%)"


def _row(name: str, ns: list[int], whole_ns: int, count: float, overhead: float) -> _Row:
    ms = [value / 1e6 for value in ns]
    interval = median_interval(ms) if len(ms) >= MIN_SAMPLES else None
    low, high = (interval.low, interval.high) if interval else (math.nan, math.nan)
    share = 100 * sum(ns) / whole_ns if whole_ns and not overhead > OVERHEAD_LIMIT_PERCENT else math.nan
    return _Row(name, count, sum(ns) / len(ns) / 1e6, median(ms), low, high, share, overhead)


def _lines(rows: list[_Row]) -> list[str]:
    """Heads padded so that the times align; where there are intervals, all digits align."""
    if math.isnan(rows[0].low_ms):
        width = max((len(row.head) for row in rows[1:]), default=0)
        heads = [rows[0].head, *(f"{row.head:<{width}}" for row in rows[1:])]
        return [f"{head} {row.mean_ms:.3f} ms{row.note}" for head, row in zip(heads, rows, strict=True)]
    width = max(len(row.head) for row in rows)
    digits = max(len(f"{x:.3f}") for row in rows for x in (row.mean_ms, row.low_ms, row.high_ms))
    times = f"{{:{digits}.3f}} ms, median {{:{digits}.3f}} [{{:{digits}.3f}}, {{:{digits}.3f}}]"
    return [
        f"{row.head:<{width}} {times.format(row.mean_ms, row.median_ms, row.low_ms, row.high_ms)}{row.note}" for row in rows
    ]
