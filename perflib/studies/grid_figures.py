"""Draw figures and tables of any topic of any run, a user's sweep included; no function here knows a kernel by name.

Each kernel is drawn at its fastest parameters: figures and tables take a run and the name of a topic.

    s = sweep([my_kernel], sizes, name="mine")
    times(s.run, "mine")

Rates come from the counts in the run, so they need no description of the kernel. Where the run lacks a series,
the standard sentence stands in the figure's place; `scaling` raises `RunError` or `SampleError`, and ValueError
where one of several values of a parameter must be chosen.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..display.figure import Picture, curve, label_ends, level, log_axes, picture, plain_ticks, share_map
from ..display.table import Table, or_missing
from ..display.text import quantity, text, unit_of
from ..errors import RunError
from ..runs.queries import by_size, copy_gb_per_s, interval_of, net_times, parameters, peak_gflops, select, summary, work
from ..runs.store import Run
from ..scaling.classes import work_of
from ..scaling.figure import growth_figure
from ..scaling.fit import ScalingFit, fit_scaling
from ..scaling.reasons import explain
from ..stats import Interval
from .layouts import layout_of

Growth = float | str | Callable[[Any], Any]
"""An exponent, a class such as "n log n", or a function of n."""
VERDICT_COLUMNS = ("verdict", "how it grows", "exponent [95 %]", "least squares", "Theil-Sen", "what would decide it")


@picture
def times(axes: Axes, run: Run, topic: str) -> str:
    """Time of one run against n."""
    sentences, series = [], list(_series(run, topic))
    unit, factor = _unit(series)
    for place, (name, rows) in enumerate(series):
        curve(axes, name, rows["n"], *(rows[end] / factor for end in ("ns", "low_ns", "high_ns")), place=place)
        first, last = rows.iloc[0], rows.iloc[-1]
        sentences.append(f"{name} from {quantity(first['ns'])} at {first['n']} to {quantity(last['ns'])} at {last['n']}")
    log_axes(axes, summary(run, topic)["n"].dropna(), "n", f"time of one run ({unit})")
    label_ends(axes)
    return f"Time against n: {'; '.join(sentences)}."


@picture
def rates(axes: Axes, run: Run, topic: str) -> str:
    """What a kernel achieves per second against n, with the limit of the machine."""
    series = list(_counted(run, topic))
    column, unit, limit, what = _rate(run, series)
    sentences = []
    for place, (name, rows) in enumerate(series):
        curve(axes, name, rows["n"], rows[column], rows[f"low_{column}"], rows[f"high_{column}"], place=place)
        best = rows.loc[rows[column].idxmax()]
        sentences.append(f"{name} reaches {best[column]:.3g} {unit} at n = {best['n']}")
    if limit:
        level(axes, limit.value, f"{what} {limit.value:.3g}")
    log_axes(axes, pd.concat([rows["n"] for _, rows in series]), "n", f"{unit}, one core")
    label_ends(axes)
    return f"{unit} against n: {'; '.join(sentences)}{f', below a {what} of {limit.value:.3g}' if limit else ''}."


@picture
def heat_map(axes: Axes, run: Run, topic: str, parameter: str) -> str:
    """Speed of every recorded value of a parameter, as a share of the best one at that n."""
    table = _with_parameter(run, topic, parameter)
    ns = table.pivot_table(index=parameter, columns="n", values="ns", aggfunc="min")
    share = (ns.min() / ns).to_numpy(dtype=float)
    values, sizes = [int(v) for v in ns.index], [int(n) for n in ns.columns]
    share_map(axes, share, sizes, values, f"speed / speed of the best {parameter} at this n")
    axes.set(xlabel="n", ylabel=parameter)
    row, column = np.unravel_index(np.nanargmin(share), share.shape)
    best = {n: values[int(np.nanargmax(share[:, i]))] for i, n in enumerate(sizes)}
    return (
        f"Heat map of {parameter} against n: the best {parameter} is {', '.join(f'{v} at {n}' for n, v in best.items())}; "
        f"{parameter} {values[row]} reaches {share[row, column]:.2f} of the best speed at n = {sizes[column]}."
    )


@picture
def roofline(axes: Axes, run: Run, topic: str) -> str:
    """Rate against arithmetic intensity: what limits each kernel."""
    peak, copy = peak_gflops(run), copy_gb_per_s(run)
    ridge, sentences, intensities = peak.value / copy.value, [], [peak.value / copy.value]
    for place, (name, rows) in enumerate(_counted(run, topic)):
        rows = rows[(rows["flops"] > 0) & (rows["bytes"] > 0)]
        if rows.empty:
            continue
        intensity = rows["flops"] / rows["bytes"]
        curve(axes, name, intensity, rows["gflops"], rows["low_gflops"], rows["high_gflops"], line="", place=place)
        intensities += [intensity.min(), intensity.max()]
        roof = np.minimum(peak.value, intensity * copy.value)
        share = (rows["gflops"] / roof).iloc[-1]
        limit = "copy bandwidth" if intensity.iloc[-1] < ridge else "multiply-add peak"
        at = f"{name} at {intensity.iloc[-1]:.3g} flops per byte"
        sentences.append(f"{at} gets {share:.2f} of what the {limit} allows")

    if not sentences:
        raise RunError(f"run {run.id} counts no flops in {topic}")
    ends = np.array([min(intensities) / 2, ridge, max(intensities) * 2])
    axes.plot(ends, np.minimum(peak.value, ends * copy.value), color="black", linestyle="--", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set(yscale="log", xlabel="useful flops per byte", ylabel="GFLOP/s, one core")
    plain_ticks(axes)
    label_ends(axes)
    return f"Roofline of a peak of {peak.value:.3g} GFLOP/s and a copy of {copy.value:.3g} GB/s: {'; '.join(sentences)}."


@or_missing
def grid_table(run: Run, topic: str) -> Table:
    """Each kernel at each n, at its fastest parameters: time, rate, and the share of the machine's limit."""
    rows, series = [], list(_series(run, topic))
    column, unit, limit, what = _rate(run, series)
    time_unit, factor = _unit(series)
    own = [p for p in ("tile", "rows", *parameters(net_times(run, topic))) if any(r[p].notna().any() for _, r in series)]
    for name, points in series:
        for _, row in points.iterrows():
            ns = interval_of(row).scaled(1 / factor)
            time = text(ns, max(0, 3 - math.floor(math.log10(abs(ns.value) or 1))))  # four digits that count
            rate = f"{row[column]:.3g}" if column in row and np.isfinite(row[column]) else ""
            share = f"{100 * row[column] / limit.value:.3g}" if rate and limit else ""
            rows.append((name, str(row["n"]), *(str(row[p]) if pd.notna(row[p]) else "" for p in own), time, rate, share))
    several = summary(run, topic).groupby(["kernel", "n"])[own].nunique().max() > 1
    names = (f"best {p}" if several[p] else p for p in own)
    header = ("kernel", "n", *names, f"time ({time_unit}) [95 %]", unit, f"share of the {what} (%)")
    return Table(header, tuple(rows))


@or_missing
def growth(run: Run, topic: str, kernel: str | None = None, expected: Growth | None = None, **wanted: object) -> Picture:
    """Time per unit of work against n, with levels, steps and odd sizes; the title is the verdict's sentence.

    kernel: not needed where the topic has one. expected: as for `growth_table`.
    """
    if kernel is None:
        kernel, *others = dict.fromkeys(select(net_times(run, topic), **wanted)["kernel"])
        if others:
            raise ValueError(f"kernel must be chosen, {topic} has {', '.join([kernel, *others])}")
    fit = scaling(run, topic, kernel, **wanted)
    verdict = fit.verdict(counted_growth(run, topic, kernel, **wanted) if expected is None else expected)
    return growth_figure(fit, run.machine.data_caches(), f"{kernel} {verdict.sentence}")


def growths(run: Run, topic: str) -> list[Picture]:
    """The growth of each kernel of a topic that has one curve: not where one of several parameter values must be chosen."""
    pictures = []
    for kernel in dict.fromkeys(net_times(run, topic)["kernel"]):
        with suppress(ValueError):
            pictures.append(growth(run, topic, kernel))
    return [picture for picture in pictures if isinstance(picture, Picture)]


@or_missing
def growth_table(run: Run, topic: str, expected: Growth | None = None, **wanted: object) -> Table:
    """How every kernel of a topic grows: the verdict, its sentence, and what would decide where it is undecided.

    expected: an exponent, a class such as "n log n" or a function of n; by default the work that the run counted. Beside it
    the exponents of one straight line: least squares, and Theil-Sen, which odd sizes do not move.
    """
    rows = []
    for kernel in dict.fromkeys(select(net_times(run, topic), **wanted)["kernel"]):
        fit = scaling(run, topic, kernel, **wanted)
        growth = counted_growth(run, topic, kernel, **wanted) if expected is None else expected
        rows.append((kernel, growth_text(growth), *verdict_cells(fit, growth)))
    return Table(("kernel", "expected", *VERDICT_COLUMNS), tuple(rows))


def growth_text(expected: Growth) -> str:
    """As a person writes it: `n³`, or `as counted` for a function."""
    return "as counted" if callable(expected) else work_of(expected).name


def verdict_cells(fit: ScalingFit, expected: Growth) -> tuple[str, ...]:
    """The cells below `VERDICT_COLUMNS`."""
    verdict = fit.verdict(expected)
    line = (text(fit.least_squares), f"{fit.theil_sen.value:.2f}")
    return str(verdict), verdict.sentence, text(fit.exponent), *line, verdict.advice


def scaling(
    run: Run, topic: str, kernel: str, between: tuple[float, float] = (0, math.inf), **wanted: object
) -> ScalingFit:
    """How a kernel's time grows with n; `wanted` chooses where a topic has several scopes, types or parameter values.

    between: sizes from and to. Steps and odd sizes have a reason where the run's caches and the counted bytes support one.
    """
    samples = select(net_times(run, topic), kernel=kernel, **wanted)
    for name in ("scope", "dtype", "tile", "rows", *parameters(samples)):
        if len(values := samples[name].dropna().unique()) > 1:
            raise ValueError(f"{name} must be chosen, {topic} has {kernel} with {', '.join(map(str, values))}")
    sizes, times = by_size(run, topic, kernel, **wanted)
    inside = [place for place, n in enumerate(sizes) if between[0] <= n <= between[1]]
    case, sizes = samples.iloc[0], [sizes[place] for place in inside]
    counts = _counts(run, case, sizes)
    moved = [count[1] for count in counts if count[1]]
    known = moved if len(moved) == len(sizes) else None
    fit = fit_scaling(
        sizes, times[:, inside], work=_growth_of(sizes, counts), bytes=known, caches=run.machine.data_caches()
    )
    tile = {} if pd.isna(case["tile"]) else {"tile": int(case["tile"])}
    layout = layout_of(kernel, np.dtype(case["dtype"]).itemsize, run.machine, **tile)
    return explain(fit, fit.caches, layout)


def counted_growth(run: Run, topic: str, kernel: str, **wanted: object) -> Growth:
    """How the counted work grows, as an exponent where it is a power of n; RunError where nothing is counted."""
    sizes, _ = by_size(run, topic, kernel, **wanted)
    case = select(net_times(run, topic), kernel=kernel, **wanted).iloc[0]
    growth = _growth_of(sizes, _counts(run, case, sizes))
    if growth is None:
        raise RunError(f"run {run.id} counts no work of {kernel} in {topic}")
    return growth


def _counts(run: Run, case: pd.Series, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Flops and bytes at each size; empty where they are not counted."""
    counts = [work(run, {**case, "n": n}) for n in sizes]
    return [] if None in counts else [count for count in counts if count]


def _growth_of(sizes: Sequence[int], counts: Sequence[tuple[int, int]]) -> Growth | None:
    """An exponent, or a function that is a power law from size to size: of flops, or of bytes where there are none."""
    amounts = np.array([flops or moved for flops, moved in counts], float)
    if len(amounts) < 2 or not (amounts > 0).all():
        return None
    x, y = np.log(sizes), np.log(amounts)
    slopes = np.diff(y) / np.diff(x)
    if np.ptp(slopes) < 1e-6:
        return round(float(slopes[0]), 6)
    return lambda n: np.exp(np.interp(np.log(n), x, y))


def _series(run: Run, topic: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """A name and its rows in rising n, the fastest where there are several at one n."""
    table = summary(run, topic)
    table = table[table["n"].notna()]
    kinds = ["kernel", "scope", "dtype"]
    several = [True, *(len(table[kind].unique()) > 1 for kind in kinds[1:])]
    for key, rows in table.groupby(kinds, sort=False):
        fastest = rows.sort_values("ns", kind="stable").drop_duplicates("n").sort_values("n")
        yield ", ".join(compress(key, several)), fastest.astype({"n": int})


def _unit(series: list[tuple[str, pd.DataFrame]]) -> tuple[str, float]:
    """The unit in the middle of all times, and its nanoseconds."""
    ns = pd.concat([rows["ns"] for _, rows in series]).clip(lower=1)  # net of loop overhead, nothing may be left
    return unit_of(math.sqrt(ns.min() * ns.max()))


def _counted(run: Run, topic: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The series whose work is counted; RunError where there is none."""
    series = [(name, rows[rows["gflops"].notna()]) for name, rows in _series(run, topic) if "gflops" in rows]
    if not any(len(rows) for _, rows in series):
        raise RunError(f"run {run.id} counts no work in {topic}")
    return ((name, rows) for name, rows in series if len(rows))


def _rate(run: Run, series: list[tuple[str, pd.DataFrame]]) -> tuple[str, str, Interval | None, str]:
    """Column, unit, limit and its name: flops where any are counted, else bytes."""
    flops = any("flops" in rows and (rows["flops"] > 0).any() for _, rows in series)
    try:
        limit = peak_gflops(run) if flops else copy_gb_per_s(run)
    except RunError:
        limit = None
    return ("gflops", "GFLOP/s", limit, "peak") if flops else ("gb_per_s", "GB/s", limit, "copy bandwidth")


def _with_parameter(run: Run, topic: str, parameter: str) -> pd.DataFrame:
    table = summary(run, topic)
    if parameter not in table or len(table[parameter].dropna().unique()) < 2:
        raise RunError(f"run {run.id} has fewer than two values of {parameter!r} in {topic}")
    table = table[table[parameter].notna() & table["n"].notna()]
    if len(table["kernel"].unique()) > 1:
        raise RunError(f"{topic} has several kernels with {parameter!r}: sweep one at a time for a map")
    return table
