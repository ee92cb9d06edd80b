"""The study of notebook 05-memory: latency and bandwidth against the working set, and what geometry predicts of them.

Levels, pages, columns of matrices and chains are measured by chases; each is compared with a model that knows only the
sizes and ways of the caches. Where the run lacks a series, the standard sentence stands in the place of a table or figure.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..display.figure import COLOURS, MARKERS, cell_map, is_narrow, label_ends, picture
from ..display.table import Table, or_missing
from ..display.text import size_text
from ..errors import RunError
from ..hardware.facts import Machine
from ..hardware.hierarchy import MeasuredLevel, match_levels, sweep_sizes
from ..hardware.levels import find_levels
from ..hardware.limits import PEAK_OPS, fma_widths
from ..kernels.buffers import BASE_KIB, HUGE_KIB, page_sizes_kib
from ..kernels.caches import LINE_BYTES, Cache
from ..kernels.catalog import find
from ..kernels.memory_catalog import CHASE_STEPS
from ..models.cache_model import colour_misses
from ..runs.grid import GridPoint
from ..runs.queries import net_times, ns_text, select, summary
from ..runs.recorder import Block
from ..runs.store import Run
from .drawing import byte_scales, log_scales
from .roofline import bandwidth

KIB, MIB = 1 << 10, 1 << 20
LEADING = (512, 513, 528, 1024, 1025, 1040)
PAGE_STRIDE = (BASE_KIB << 10) + LINE_BYTES
"""From page to page and one line on, so that lines fall into all sets."""
STRIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # of float64: 8 fill a line
SHORT = 1e-3  # seconds of budget: every case gets its least number of rounds
STREAMS = ("read", "write", "write_nt", "copy", "copy_nt", "triad", "triad_nt")


def memory_blocks(quick: bool, machine: Machine) -> list[Block]:
    """All blocks of the topic `memory`."""
    rounds = 6 if quick else 9
    best = max(page_sizes_kib())
    sizes = [s for s in sweep_sizes(machine, 4 if quick else 8) if not quick or s <= 32 * MIB]
    coarse = {kib: 2 if quick and kib != best else 1 for kib in page_sizes_kib()}
    cells = {
        **{_latency_block(kib): [_chase(s // LINE_BYTES, kib) for s in sizes[::every]] for kib, every in coarse.items()},
        "one line per page": _pages(3 if quick else 8),
        "bandwidth": _bandwidth(sizes[4::6] if quick else sizes[::2], best),
        "leading dimension": _leading(best),
        "chains": _chains(quick, machine, best),
        "mountain": _mountain(STRIDES[::2] if quick else STRIDES, sizes[8::8], best),
    }
    return [Block("memory", name, tuple(c), SHORT, 3 if name == "mountain" else rounds) for name, c in cells.items()]


def width_block() -> Block:
    """Peaks of plain numbers and of vectors of every width that the registers have."""
    kernels = [find(f"fma_peak_{bits or 'scalar'}") for bits in fma_widths()]
    cells = [GridPoint(kernel, PEAK_OPS, dtype=dtype) for dtype in ("float32", "float64") for kernel in kernels]
    return Block("limits", "widths", tuple(cells), 1)


def _latency_block(page_kib: int) -> str:
    return f"latency, pages of {page_kib} KiB"


def _chase(links: int, page_kib: int, **values: int) -> GridPoint:
    return GridPoint(find("memory_chase"), links, dtype="int64", values={"page_kib": page_kib, **values})


def _pages(per_octave: int) -> list[GridPoint]:
    counts = sorted({int(2 ** (k / per_octave)) for k in range(3 * per_octave, 14 * per_octave + 1)})
    return [_chase(n, BASE_KIB, stride=stride) for n in counts for stride in (LINE_BYTES, PAGE_STRIDE)]


def _bandwidth(sizes: Sequence[int], page_kib: int) -> list[GridPoint]:
    pages = {"page_kib": page_kib}
    kernels = [(find(f"memory_{name}"), pages | ({"streams": 4} if name == "read" else {})) for name in STREAMS]
    return [GridPoint(k, size // k.bytes(1, 1) // 4 // 16 * 16, values=v) for size in sizes for k, v in kernels]


def _mountain(strides: Sequence[int], sizes: Sequence[int], page_kib: int) -> list[GridPoint]:
    kernel, values = find("memory_strided_read"), [{"page_kib": page_kib, "stride": stride} for stride in strides]
    return [GridPoint(kernel, size // 8, dtype="float64", values=v) for size in sizes for v in values]


def _leading(page_kib: int) -> list[GridPoint]:
    """Down a column: so many rows, one line of each."""
    rows = (4, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128)
    return [_chase(n, page_kib, stride=4 * leading) for leading in LEADING for n in rows]


def _chains(quick: bool, machine: Machine, page_kib: int) -> list[GridPoint]:
    """Independent chains in the middle of each level as reported, and in memory."""
    counts = (1, 4, 16) if quick else (1, 2, 4, 8, 16, 32)
    reported = [c.size_bytes for c in machine.data_caches()][:2] or [32 << 10, MIB]
    sizes = [*(size // 2 for size in reported), 4 * MIB, (16 if quick else 64) * MIB]
    return [_chase(size // LINE_BYTES, page_kib, chains=k) for size in dict.fromkeys(sizes) for k in counts]


def chase(run: Run, block: str) -> pd.DataFrame:
    """ns, low_ns and high_ns per load by n, chains, stride and page_kib; `bytes` is the working set in lines."""
    cases = summary(run, "memory", kernel="memory_chase", block=block)
    times = cases[["ns", "low_ns", "high_ns"]] / CHASE_STEPS
    return cases.assign(**times, bytes=cases["n"].astype(int) * LINE_BYTES)


def best_pages(run: Run) -> int:
    """The page size whose latency curve speaks for the caches: huge pages where the run has them."""
    return HUGE_KIB if ("memory", _latency_block(HUGE_KIB)) in run.blocks else BASE_KIB


def latency_curve(run: Run) -> pd.DataFrame:
    """As `chase`, on the pages that speak for the caches."""
    return chase(run, _latency_block(best_pages(run)))


@lru_cache(maxsize=8)  # three figures and tables of a notebook ask
def levels(run: Run, page_kib: int | None = None) -> tuple[MeasuredLevel, ...]:
    """Levels of the run's latency curve on these pages (the largest recorded), matched with those that are reported."""
    if not run.has("memory"):
        raise RunError(f"run {run.id} has no 'memory'")
    times = select(net_times(run, "memory"), block=_latency_block(page_kib or best_pages(run)), kernel="memory_chase")
    table = times.pivot_table(index="n", columns="round", values="net_ns").dropna(axis=1) / CHASE_STEPS
    measured = find_levels(table.index.to_numpy(float) * LINE_BYTES, table.to_numpy(float))
    return match_levels(measured, run.machine.data_caches())


@or_missing
def level_table(run: Run) -> Table:
    """Per level: what the system reports, what this run measured, and how well they agree."""
    rows = []
    for level in levels(run):
        c, unlimited = level.capacity_bytes, level.name == "memory"
        reported = size_text(level.reported_bytes) if level.reported_bytes else "" if unlimited else "unknown"
        measured = f"{size_text(c.value)} [{size_text(c.low)}, {size_text(c.high)}]" if c else "not resolved"
        error = f"{100 * (c.value / level.reported_bytes - 1):+.0f}" if c and level.reported_bytes else ""
        latency = f"{level.latency_ns:.1f}" if level.latency_ns else ""
        rows.append((level.name, reported, "" if unlimited else measured, error, latency, level.grade))
    return Table(("level", "reported", "measured [95 %]", "error (%)", "ns per load", "grade"), tuple(rows))


def colours(run: Run) -> tuple[pd.DataFrame, Cache]:
    """Latency around the second level on the largest pages, with `model_ns` for pages at random places."""
    caches = run.machine.data_caches()
    if len(caches) < 2 or not caches[1].ways:
        raise RunError(f"run {run.id} does not know the ways of a second level")
    second, cases = caches[1], chase(run, _latency_block(best_pages(run)))
    near = cases[cases["bytes"].between(second.size_bytes / 8, 4 * second.size_bytes)]
    inside, beyond = near["ns"].iloc[0], near["ns"].iloc[-1]
    share = np.array([colour_misses(int(b), second) for b in near["bytes"]])
    return near.assign(share=share, model_ns=inside + share * (beyond - inside)), second


@or_missing
def colour_table(run: Run) -> Table:
    """Working set over capacity: expected misses, predicted and measured latency, error."""
    near, second = colours(run)
    rows = []
    for factor in (0.5, 0.75, 1.0, 1.25, 1.5, 2.0):
        row = near.iloc[(near["bytes"] / second.size_bytes - factor).abs().argmin()]
        model = f"{row['bytes'] / second.size_bytes:.2f}", f"{100 * row['share']:.1f}", f"{row['model_ns']:.1f}"
        rows.append((*model, ns_text(row, 1), f"{100 * (row['model_ns'] / row['ns'] - 1):+.0f}"))
    header = ("working set / capacity", "predicted misses (%)", "predicted (ns)", "measured (ns)", "error (%)")
    return Table(header, tuple(rows))


def predicted_column(rows: int, leading: int, cache: Cache) -> float:
    """Share of the loads of a walk down a column of float32 that miss: those in sets with more lines than ways.

    Least-recently-used replacement and reuse in a cycle: a set that is full is no use at all.
    """
    line, ways = cache.line_bytes or LINE_BYTES, cache.ways or 1
    sets = max(1, cache.size_bytes // (line * ways))
    places = np.unique(np.arange(rows) * leading * 4 // line)
    crowd = np.bincount(places % sets, minlength=sets)
    return float(crowd[crowd > ways].sum() / places.size)


@or_missing
def leading_table(run: Run) -> Table:
    """Per leading dimension: most rows without misses as predicted, and as measured (within 1.3 times the fastest walk)."""
    walks, first = chase(run, "leading dimension"), _first(run)
    fastest, rows = walks["ns"].min(), []
    for leading in LEADING:
        walk = walks[walks["stride"] == 4 * leading].sort_values("n")
        expected = max((int(n) for n in walk["n"] if predicted_column(int(n), leading, first) == 0), default=0)
        measured = int(max(walk["n"][(walk["ns"] < 1.3 * fastest).cummin()], default=0))
        last = walk.iloc[-1]
        rows.append((str(leading), str(expected), str(measured), f"{last['ns'] / fastest:.1f}"))
    fit = "rows that fit, predicted", "rows that fit, measured"
    return Table(("leading dimension", *fit, f"time of {int(last['n'])} rows / fastest"), tuple(rows))


def _first(run: Run) -> Cache:
    first = next(iter(run.machine.data_caches()), None)
    if first is None or not first.ways:
        raise RunError(f"run {run.id} does not know the sets of its first level")
    return first


@or_missing
def chain_table(run: Run) -> Table:
    """Little's law: loads in flight = latency x rate; predicted from one chain as its latency over the number of chains."""
    rows = []
    for size, cases in chase(run, "chains").groupby("bytes"):
        times = cases.set_index(cases["chains"].astype(int))["ns"].sort_index()
        in_flight = times[1] / times
        half = times.index[in_flight >= 0.5 * times.index].max()
        rows.append((size_text(size), f"{times[1]:.1f}", f"{times.min():.2f}", f"{in_flight.max():.1f}", str(half)))
    in_flight = "loads in flight at best", "chains up to which half counts"
    return Table(("working set", "one chain (ns)", "best (ns per load)", *in_flight), tuple(rows))


@or_missing
def bandwidth_table(run: Run, names: Sequence[str] = STREAMS) -> Table:
    """Counted GB/s in the middle of each level and in memory, and moved GB/s there."""
    rates, rows = bandwidth(run), []
    places = {c.name: c.size_bytes / 2 for c in run.machine.data_caches()[:2]} | {"memory": rates["bytes"].max()}
    for name in names:
        cases = rates[rates["kernel"] == f"memory_{name}"]
        near = [cases.iloc[(cases["bytes"] - size).abs().argmin()] for size in places.values()]
        rows.append((name, *(f"{row['gb_per_s']:.1f}" for row in near), f"{near[-1]['moved_gb_per_s']:.1f}"))
    return Table(("kernel", *(f"{name} (GB/s counted)" for name in places), "memory (GB/s moved)"), tuple(rows))


def _line(axes: Axes, number: int, label: str, rows, x: str, y: str = "ns", dashed: bool = False) -> None:
    """One curve with its intervals, where the rows have them."""
    values, ends = rows[y].to_numpy(float), [f"low_{y}", f"high_{y}"]
    reach = None
    if set(ends) <= set(rows):
        low, high = (rows[end].to_numpy(float) for end in ends)
        reach = np.maximum([values - low, high - values], 0)
    look = {"marker": "", "linestyle": "--"} if dashed else {"marker": MARKERS[number], "linestyle": "-"}
    look |= {"color": COLOURS[number], "markersize": 3.5}
    axes.errorbar(rows[x].to_numpy(float), values, reach, label=label, **look)


def _dashes(axes: Axes, number: int, x, y) -> None:
    """What a model predicts of a curve, in its colour."""
    axes.plot(x.astype(float), y, color=COLOURS[number], linestyle="--", linewidth=1)


@picture
def latency(axes: Axes, run: Run) -> str:
    """ns per load of a random chase against the working set; dotted lines where capacities were fitted."""
    kinds = [kib for kib in (HUGE_KIB, BASE_KIB) if ("memory", _latency_block(kib)) in run.blocks]
    if not kinds:
        raise RunError(f"run {run.id} has no latency")
    for number, kib in enumerate(kinds):
        _line(axes, number, f"pages of {size_text(kib * KIB)}", chase(run, _latency_block(kib)), "bytes")
    byte_scales(axes, run.machine, "working set", "ns per load")
    look = {"xycoords": ("data", "axes fraction"), "rotation": 90, "ha": "right", "va": "bottom"}
    for level in levels(run):
        if level.capacity_bytes:
            size = level.capacity_bytes.value
            words = f"{level.name} measured {size_text(size)}"
            axes.axvline(size, color="black", linestyle="--", linewidth=1, label=words)
            if not is_narrow(axes):  # where the legend names them
                axes.annotate(f"{words} ", (size, 0.03), fontsize=8.5, gid="up", **look)
    label_ends(axes)
    steps = ", ".join(f"{level.latency_ns:.1f} in {level.name}" for level in levels(run) if level.latency_ns)
    return f"Latency climbs as the working set leaves each level: {steps} (ns per load); dashed are the fitted capacities."


@picture
def page_colours(axes: Axes, run: Run) -> str:
    """Latency around the second level: a step if pages adjoined each other, a slope if they lie at random places."""
    near, second = colours(run)
    _line(axes, 0, "measured", near, "bytes")
    _line(axes, 1, "model: pages at random", near, "bytes", "model_ns", dashed=True)
    step = near.assign(model_ns=np.where(near["bytes"] <= second.size_bytes, near["ns"].iloc[0], near["ns"].iloc[-1]))
    _line(axes, 5, "model: pages adjoin", step, "bytes", "model_ns", dashed=True)
    byte_scales(axes, run.machine, "working set", "ns per load", log_y=False)
    label_ends(axes)
    at_random, at_step = (100 * np.median(abs(model["model_ns"] / near["ns"] - 1)) for model in (near, step))
    return (
        f"Around the second level the measured latency rises gradually; the model of pages at random places errs by "
        f"{at_random:.0f} % in the median, a step at the capacity by {at_step:.0f} %."
    )


@picture
def pages(axes: Axes, run: Run) -> str:
    """One line in every page against as many lines side by side."""
    cases = chase(run, "one line per page")
    for number, (stride, label) in enumerate(((PAGE_STRIDE, "one per page"), (LINE_BYTES, "side by side"))):
        _line(axes, number, label, cases[cases["stride"] == stride], "n")
    xlabel = f"lines that are chased (each on a page of {BASE_KIB} KiB of its own, or side by side)"
    log_scales(axes, xlabel, "ns per load")
    label_ends(axes)
    times = cases.pivot_table(index="n", columns="stride", values="ns").dropna()
    excess = times[PAGE_STRIDE] / times[LINE_BYTES]
    first = int(excess.index[(excess > 1.5).argmax()]) if (excess > 1.5).any() else 0
    return (
        f"The same number of lines costs up to {excess.max():.1f} times as much when each lies on a page of its own; "
        + (f"the difference begins at {first} pages, {size_text(first * BASE_KIB * KIB)}." if first else "no edge is seen.")
    )


@picture
def bandwidth_curves(axes: Axes, run: Run) -> str:
    """Counted GB/s against the working set of all arrays."""
    rates = bandwidth(run).sort_values("bytes")
    for number, name in enumerate(("read", "write", "copy", "triad", "copy_nt")):
        label = name.replace("_nt", " past the caches")
        _line(axes, number, label, rates[rates["kernel"] == f"memory_{name}"], "bytes", "gb_per_s")
    byte_scales(axes, run.machine, "working set, all arrays together", "GB/s of counted bytes, one core")
    label_ends(axes)
    by_kernel = rates.groupby("kernel")["gb_per_s"]
    last = by_kernel.last()
    return (
        f"Reads reach {by_kernel.max()['memory_read']:.0f} GB/s in the first level and {last['memory_read']:.0f} from "
        f"memory; there a copy past the caches moves {last['memory_copy_nt']:.0f}, one through them "
        f"{last['memory_copy']:.0f}."
    )


@picture
def mountain(axes: Axes, run: Run) -> str:
    """Useful GB/s of a strided read: ridges are levels, slopes are lines of which less and less is used."""
    table = summary(run, "memory", kernel="memory_strided_read").pivot_table(index="n", columns="stride", values="gb_per_s")
    values = table.to_numpy(float)
    strides, sizes = [8 * int(s) for s in table.columns], [size_text(8 * int(n)) for n in table.index]
    label, ends = "useful GB/s, one core", (0.0, float(np.nanmax(values)))
    cell_map(axes, values, strides, sizes, label, ends, lambda v: f"{v:.{int(v < 10)}f}", "{:.0f}".format)
    axes.set(xlabel="stride (bytes)", ylabel="working set")
    return (
        f"Useful GB/s over stride and working set: from {values.max():.0f} at small strides in the first level down to "
        f"{values.min():.1f} where every element fetches a line from memory of its own."
    )


@picture
def leading(axes: Axes, run: Run) -> str:
    """Walks down columns of matrices of several leading dimensions; dashed: predicted from the sets of the first level."""
    walks, first = chase(run, "leading dimension"), _first(run)
    near = [level.latency_ns for level in levels(run) if level.latency_ns][:2]
    if len(near) < 2:
        raise RunError(f"run {run.id} does not show two levels of cache apart")
    (inside, beyond), errors = near, []
    for number, ld in enumerate(LEADING):
        walk = walks[walks["stride"] == 4 * ld].sort_values("n")
        share = np.array([predicted_column(int(n), ld, first) for n in walk["n"]])
        model_ns = inside + share * (beyond - inside)
        errors.append(np.median(abs(model_ns / walk["ns"] - 1)))
        _line(axes, number, str(ld), walk, "n")
        _dashes(axes, number, walk["n"], model_ns)
    log_scales(axes, "rows of the column that is walked again and again (float32)", "ns per load", log_y=False)
    axes.set_ylim(0, 1.3 * walks["ns"].max())  # a few wide intervals would flatten the curves
    label_ends(axes)
    longest = int(walks["n"].max())
    worst = walks[walks["n"] == longest].set_index("stride")["ns"]
    return (
        f"A column of a matrix of leading dimension 1024 costs {worst[4096] / worst[4160]:.1f} times one of 1040 at "
        f"{longest} rows; the model of sets (dashed) errs by {100 * np.median(errors):.0f} % in the median."
    )


@picture
def chains(axes: Axes, run: Run) -> str:
    """ns per load against independent chains; dashed: the latency of one chain shared by all of them."""
    gains = {}
    for number, (size, cases) in enumerate(chase(run, "chains").groupby("bytes")):
        cases = cases.sort_values("chains")
        _line(axes, number, size_text(size), cases, "chains")
        one = cases["ns"].iloc[0]
        _dashes(axes, number, cases["chains"], one / cases["chains"].astype(float))
        gains[size] = float((one / cases["ns"]).max())
    log_scales(axes, "independent chains", "ns per load")
    label_ends(axes)
    size = max(gains)
    return (
        f"Independent chains overlap: from memory ({size_text(size)}) up to {gains[size]:.0f} loads are in flight, in the "
        f"first level {gains[min(gains)]:.0f}; dashed lines are the latency of one chain over their number."
    )
