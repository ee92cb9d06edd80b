"""What a sweep found: a table of times and speed-ups with intervals, a figure, sentences on the growth, the samples.

    s                                table: n, median and interval of each function, speed-up with interval, state
    s.plot()                         time against n with intervals, and the speed-ups
    s.growth(), s.growth("n log n")  one sentence per curve; judged against a class, an exponent or a function of n
    s.points                         every number of the table: time_ns, speed_up, state, reasons
    s.frame, s.run                   the tidy samples; the recorded run
    s.save(path), s.to_html(path)

Columns and methods of the samples work on the sweep too, `s["kernel"]` or `s.groupby("n")`, for programs that took a table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ..display.figure import Picture
from ..display.html import table as html_table
from ..display.table import Missing, Table
from ..display.text import aligned, duration, on_one_line
from ..errors import SampleError
from ..files import replace_text
from ..report.own_page import write_page
from ..runs.queries import middle, net_times, paired, topic_prior, work
from ..runs.store import Run
from ..runs.sweep import per_run_ns
from ..scaling.classes import Expected
from ..scaling.fit import ScalingFit, fit_scaling
from ..scaling.reasons import explain
from ..stats import MIN_SAMPLES, Interval, fewest_samples, median_interval
from ..timing.diagnostics import Evidence, judge
from ..timing.sampling import Sample
from .axes import Axis, Label
from .figure import draw_sweep

BLOCK = ["block", "process", "round"]


@dataclass(frozen=True)
class Point:
    """One function at one size."""

    function: str
    n: Label
    setting: Mapping[str, Any]
    """Values of the other axes that have several."""
    scope: str
    time_ns: Interval
    """Median of a run, the loop's own cost taken off."""
    speed_up: Interval | None
    """Time of the first function / time of this one, median of paired ratios; None for the first itself."""
    state: str
    reasons: tuple[str, ...]
    samples: int

    @property
    def curve(self) -> str:
        """Name of the curve that it belongs to: the function, and the setting where there are several."""
        return ", ".join([self.function, *(f"{name}={value}" for name, value in self.setting.items())])


@dataclass(frozen=True, eq=False)
class Sweep:
    """Functions over sizes. It shows itself as a table; the module's docstring lists what else it gives."""

    run: Run
    topic: str
    names: Mapping[str, str]
    """The functions, by their name in the run."""
    axes: Mapping[str, Axis] = field(repr=False)
    notes: tuple[str, ...] = ()
    """What is left out, and results that differ."""

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per sample; the kernels `floor` (loop overhead) and `canary` (reference loop) are among them."""
        samples = per_run_ns(self.run.samples(self.topic)).replace({"kernel": dict(self.names)})
        for one in self.axes.values():
            if one.is_coded and one.name in samples:
                decoded = [one.value(int(code)) if pd.notna(code) else None for code in samples[one.name]]
                samples[one.name] = pd.Series(decoded, index=samples.index, dtype=object)
        samples.attrs["run"] = self.run.id
        return samples

    def __getitem__(self, key: Any) -> Any:
        return self.frame[key]

    def __len__(self) -> int:
        return len(self.frame)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.frame, name)

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every function at every size, in the order of the table."""
        times, samples = net_times(self.run, self.topic), self.run.samples(self.topic)
        settings = [name for name, one in self.axes.items() if name != "n" and len(one.values) > 1 and name in times]
        first = next((name for name in self.names if (times["kernel"] == name).any()), None)
        prior, points = topic_prior(self.run, self.topic), []
        for _, together in times[times["kernel"].isin(list(self.names))].groupby([*settings, "n"], dropna=False):
            base = together[together["kernel"] == first]
            others = together["kernel"].nunique() - 1
            for name in self.names:
                rows = together[together["kernel"] == name]
                if rows.empty:
                    continue
                time = middle(rows.set_index("process")["net_ns"], prior)
                ratio = None
                if name != first and not base.empty:
                    pair = [one.set_index(BLOCK)["net_ns"] for one in (base, rows)]
                    shared = pair[0].index.intersection(pair[1].index)
                    if len(shared) >= fewest_samples(others) and all((one[shared] > 0).all() for one in pair):
                        ratio = paired(pair[0][shared], pair[1][shared], prior, others)
                state, reasons = judge(_evidence(rows, samples, time))
                row = rows.iloc[0]
                setting = {key: self._value(key, row[key]) for key in settings}
                what = self.names[name], self._value("n", row["n"]), setting, str(row["scope"])
                points.append(Point(*what, time, ratio, state, reasons, len(rows)))
        return tuple(points)

    def _value(self, name: str, code: Any) -> Any:
        """The value of an axis that stands in the run as this code."""
        if name not in self.axes or isinstance(code, str):
            return code
        return self.axes[name].value(int(code))

    @cached_property
    def curves(self) -> dict[str, list[Point]]:
        """The points by curve, in the order of the functions."""
        order = list(self.names.values())
        curves: dict[str, list[Point]] = {}
        for point in sorted(self.points, key=lambda point: order.index(point.function)):
            curves.setdefault(point.curve, []).append(point)
        return curves

    def fit(self, curve: str) -> ScalingFit:
        """How a curve grows with n; invalid points are left out. Raises SampleError where the points do not allow a fit."""
        if curve not in self.curves:
            raise SampleError(f"curve must be one of {', '.join(self.curves)}; got {curve!r}")
        return self._fits[curve]

    @cached_property
    def _fits(self) -> "_Fits":
        return _Fits(self)

    def growth(self, expected: Expected | None = None) -> Table | Missing:
        """A sentence on every curve; with `expected`, a class, an exponent or a function of n, the verdict on it."""
        rows = []
        for curve in self.curves:
            try:
                fit = self.fit(curve)
                if expected is None:
                    rows.append((curve, repr(fit)))
                else:
                    verdict = fit.verdict(expected)
                    rows.append((curve, str(verdict), verdict.sentence, verdict.advice))
            except SampleError as problem:
                rows.append((curve, f"no growth: {problem}") if expected is None else (curve, "", f"{problem}", ""))
        header = ("function", "time") if expected is None else ("function", "verdict", "time", "what would decide it")
        return Table(header, tuple(rows))

    def plot(self) -> Picture:
        """Time against n with intervals; below it, where there are several functions, how much faster each is."""
        growths = {}
        for curve in self.curves:
            try:
                growths[curve] = self.fit(curve)
            except SampleError:
                continue
        return draw_sweep(self.curves, growths, next(iter(self.names.values())), self.axes["n"].is_numeric)

    def save(self, path: str | Path) -> Path:
        """Write the samples (.csv), the figure (.png, .svg) or the page (.html)."""
        path = Path(path)
        if path.suffix == ".html":
            return self.to_html(path)
        if path.suffix in (".png", ".svg"):
            return self.plot().save(path)
        if path.suffix != ".csv":
            raise ValueError(f"path must end in .csv, .png, .svg or .html; got {str(path)!r}")
        words = self.frame.select_dtypes(exclude="number")
        words = words.map(lambda value: on_one_line(value) if isinstance(value, str) else value)
        replace_text(path, self.frame.assign(**words).to_csv(index=False))
        return path

    def to_html(self, path: str | Path, title: str = "") -> Path:
        """Write one page that needs nothing else: machine, table, figure, growth."""
        heading = title or f"{', '.join(self.names.values())} against n"
        return write_page(path, heading, self, self.plot(), "# How it grows", self.growth(), self.run.machine)

    def __repr__(self) -> str:
        header, *rows = self._cells()
        return "\n".join([aligned([header, *rows]), *self._sentences()])

    def _repr_html_(self) -> str:
        header, *rows = self._cells()
        return html_table(header, rows, ". ".join(self._sentences()))

    def _cells(self) -> Iterator[tuple[str, ...]]:
        """The header and a row for each size and setting."""
        functions = list(dict.fromkeys(point.function for point in self.points))
        settings = list(self.points[0].setting)
        speed_ups = [f"speed-up of {name}" for name in functions[1:]]
        yield ("n", *settings, *functions, *speed_ups, "state")
        rows: dict[tuple, dict[str, Point]] = {}
        for point in self.points:
            rows.setdefault((point.n, *point.setting.values()), {})[point.function] = point
        for key, row in rows.items():
            times = (duration(row[name].time_ns) if name in row else "" for name in functions)
            ratios = (f"{row[name].speed_up:.3g}" if name in row and row[name].speed_up else "" for name in functions[1:])
            states = {point.state for point in row.values()}
            words = [f"{p.function} {p.state}" for p in row.values() if p.state != "stable"]
            yield (*map(str, key), *times, *ratios, ", ".join(words) if len(states) > 1 else states.pop())

    def _sentences(self) -> Iterator[str]:
        """What the intervals are, what is unsteady and why, what is left out."""
        counts = sorted({point.samples for point in self.points})
        number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        ratio = (
            f"; speed-up: time of {self.points[0].function} / time, median of paired ratios" if len(self.names) > 1 else ""
        )
        yield f"median [95 %] of {number} samples{ratio}"
        for curve, points in self.curves.items():
            for state in ("invalid", "noisy"):
                if unsteady := [point for point in points if point.state == state]:
                    sizes = ", ".join(str(point.n) for point in unsteady)
                    yield f"{curve} is {state} at {sizes}: {unsteady[0].reasons[0]}"
        yield from self.notes
        yield from (lost["reason"] for lost in self.run.meta.get("lost", ()))


class _Fits(dict):
    """The fit of each curve, made at its first use."""

    def __init__(self, sweep: Sweep) -> None:
        super().__init__()
        self._sweep = sweep

    def __missing__(self, curve: str) -> ScalingFit:
        self[curve] = _fit(self._sweep, self._sweep.curves[curve])
        return self[curve]


def _fit(sweep: Sweep, points: list[Point]) -> ScalingFit:
    if not sweep.axes["n"].is_numeric:
        raise SampleError("sizes are names, and a time grows with numbers only")
    valid = [point for point in points if point.state != "invalid"]
    times, size = net_times(sweep.run, sweep.topic), sweep.axes["n"]
    recorded = next(name for name, given in sweep.names.items() if given == points[0].function)
    rows = times[(times["kernel"] == recorded) & times["n"].isin([size.code(point.n) for point in valid])]
    for name, value in points[0].setting.items():
        rows = rows[rows[name] == (value if name == "dtype" else sweep.axes[name].code(value))]
    by_round = rows.pivot_table(index=BLOCK, columns="n", values="net_ns", aggfunc="median")
    sizes = [size.value(int(code)) for code in by_round.columns]
    counts = [work(sweep.run, {**rows.iloc[0], "n": code}) for code in by_round.columns]
    moved = [count[1] for count in counts if count and count[1]]
    fit = fit_scaling(sizes, by_round.to_numpy(dtype=float), bytes=moved if len(moved) == len(sizes) else None)
    return explain(fit, sweep.run.machine.data_caches())


def _evidence(rows: pd.DataFrame, samples: pd.DataFrame, time: Interval) -> Evidence:
    """What a point is judged by, of what a run keeps of a sample."""
    block = samples[samples["block"].isin(rows["block"].unique())]
    scope = str(rows["scope"].iloc[0])
    floor = block[(block["kernel"] == "floor") & (block["scope"] == scope)]
    per_run = (floor["elapsed_ns"] / floor["reps"]).to_numpy()
    return Evidence(
        _samples(rows),
        _samples(block[block["kernel"] == "canary"]),
        net=time,
        floor=median_interval(per_run) if len(per_run) >= MIN_SAMPLES else Interval(0.0, 0.0, 0.0, 0.95),
        scope=scope,
        threads=int(rows["threads"].iloc[0]),
    )


def _samples(rows: pd.DataFrame) -> list[Sample]:
    columns = ("kernel", "round", "position", "reps", "elapsed_ns", "cpu_ns", "switches", "compiled")
    fields = rows[list(columns)].astype(object).where(rows[list(columns)].notna(), None)
    return [Sample(*row) for row in fields.itertuples(index=False, name=None)]
