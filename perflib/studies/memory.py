"""What a run tells of the memory, held against what geometry predicts: levels, pages, colours, columns, chains.

    chase(run, block)           -> ns per load of every case of a block of chases, with intervals
    levels(run, page_kib)       -> the levels as measured in this run beside those reported
    level_table(run)            the same as a table
    colour_table(run)           latency around the second level: predicted from pages at random places, and measured
    leading_table(run)          rows that a column walk may have: predicted from the sets, and measured
    chain_table(run)            parallel chains: latency over their number, and what was measured
    bandwidth_table(run)        counted and moved bytes per second in each level

Where the run lacks a series, the standard sentence stands in the table's place.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..display.figure import COLOURS, MARKERS, label_ends, picture, plain_ticks
from ..display.table import Table, or_missing
from ..display.text import size_text, text
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
from ..runs.queries import net_times, select, summary
from ..runs.recorder import Block
from ..runs.store import Run
from ..stats import Interval
from .roofline import bandwidth


def chase(run: Run, block: str) -> pd.DataFrame:
    """ns, low_ns and high_ns per load by n, chains, stride and page_kib; `bytes` is the working set in lines."""
    found = summary(run, "memory", kernel="memory_chase", block=block)
    times = found[["ns", "low_ns", "high_ns"]] / CHASE_STEPS
    return found.assign(**times, bytes=found["n"].astype(int) * LINE_BYTES)


def _latency_block(page_kib: int) -> str:
    return f"latency, pages of {page_kib} KiB"


def best_pages(run: Run) -> int:
    """The page size whose latency curve speaks for the caches: huge pages where the run has them."""
    recorded = {name for topic, name in run.blocks if topic == "memory"}
    return HUGE_KIB if _latency_block(HUGE_KIB) in recorded else BASE_KIB


@lru_cache(maxsize=8)  # three figures and tables of a notebook ask
def levels(run: Run, page_kib: int | None = None) -> tuple[MeasuredLevel, ...]:
    """Levels of the run's latency curve on these pages (the largest recorded), matched with those that are reported."""
    if not run.has("memory"):
        raise RunError(f"run {run.id} has no 'memory'")
    block = _latency_block(page_kib or best_pages(run))
    times = select(net_times(run, "memory"), block=block, kernel="memory_chase")
    table = times.pivot_table(index="n", columns="round", values="net_ns").dropna(axis=1) / CHASE_STEPS
    return match_levels(
        find_levels(table.index.to_numpy(float) * LINE_BYTES, table.to_numpy(float)), run.machine.data_caches()
    )


@or_missing
def level_table(run: Run) -> Table:
    """Per level: what the system reports, what this run measured, and how well they agree."""
    rows = []
    for level in levels(run):
        c = level.capacity_bytes
        reported = size_text(level.reported_bytes) if level.reported_bytes else "unknown" if level.name != "memory" else ""
        measured = f"{size_text(c.value)} [{size_text(c.low)}, {size_text(c.high)}]" if c else "not resolved"
        off = f"{100 * (c.value / level.reported_bytes - 1):+.0f}" if c and level.reported_bytes else ""
        figures = (reported, measured if level.name != "memory" else "", off)
        rows.append((level.name, *figures, f"{level.latency_ns:.1f}" if level.latency_ns else "", level.grade))
    return Table(("level", "reported", "measured [95 %]", "error (%)", "ns per load", "grade"), tuple(rows))


def colours(run: Run) -> tuple[pd.DataFrame, Cache]:
    """Latency around the second level on the largest pages, with `model_ns` for pages at random places."""
    caches = run.machine.data_caches()
    if len(caches) < 2 or not caches[1].ways:
        raise RunError(f"run {run.id} does not know the ways of a second level")
    second, found = caches[1], chase(run, _latency_block(best_pages(run)))
    near = found[(found["bytes"] >= second.size_bytes / 8) & (found["bytes"] <= 4 * second.size_bytes)]
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
        off = 100 * (row["model_ns"] / row["ns"] - 1)
        measured = text(Interval(row["ns"], row["low_ns"], row["high_ns"], 0.95), 1)
        share = row["bytes"] / second.size_bytes
        rows.append((f"{share:.2f}", f"{100 * row['share']:.1f}", f"{row['model_ns']:.1f}", measured, f"{off:+.0f}"))
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
    found, first = chase(run, "leading dimension"), _first(run)
    fastest, rows = found["ns"].min(), []
    for leading in LEADING:
        own = found[found["stride"] == 4 * leading].sort_values("n")
        expected = max((int(n) for n in own["n"] if predicted_column(int(n), leading, first) == 0), default=0)
        measured = int(max(own["n"][(own["ns"] < 1.3 * fastest).cummin()], default=0))
        last = own.iloc[-1]
        rows.append((str(leading), str(expected), str(measured), f"{last['ns'] / fastest:.1f}"))
    header = (
        "leading dimension",
        "rows that fit, predicted",
        "rows that fit, measured",
        f"time of {int(last['n'])} rows / fastest",
    )
    return Table(header, tuple(rows))


def _first(run: Run) -> Cache:
    first = next(iter(run.machine.data_caches()), None)
    if first is None or not first.ways:
        raise RunError(f"run {run.id} does not know the sets of its first level")
    return first


@or_missing
def chain_table(run: Run) -> Table:
    """Little's law: loads in flight = latency x rate; predicted from one chain as its latency over the number of chains."""
    found, rows = chase(run, "chains"), []
    for size, own in found.groupby("bytes"):
        one = own[own["chains"] == 1]["ns"].iloc[0]
        own = own.sort_values("chains")
        in_flight = one / own["ns"]
        half = own[in_flight >= 0.5 * own["chains"].astype(float)]["chains"].max()
        rows.append((size_text(size), f"{one:.1f}", f"{own['ns'].min():.2f}", f"{in_flight.max():.1f}", str(int(half))))
    header = (
        "working set",
        "one chain (ns)",
        "best (ns per load)",
        "loads in flight at best",
        "chains up to which half counts",
    )
    return Table(header, tuple(rows))


@or_missing
def bandwidth_table(
    run: Run, names: Sequence[str] = ("read", "write", "write_nt", "copy", "copy_nt", "triad", "triad_nt")
) -> Table:
    """Counted GB/s in the middle of each level and in memory, and moved GB/s there."""
    found, rows = bandwidth(run), []
    places = [(c.name, c.size_bytes / 2) for c in run.machine.data_caches()[:2]] + [("memory", found["bytes"].max())]
    for name in names:
        own = found[found["kernel"] == f"memory_{name}"]
        near = [own.iloc[(own["bytes"] - size).abs().argmin()] for _, size in places]
        rows.append((name, *(f"{row['gb_per_s']:.1f}" for row in near), f"{near[-1]['moved_gb_per_s']:.1f}"))
    header = ("kernel", *(f"{name} (GB/s counted)" for name, _ in places), "memory (GB/s moved)")
    return Table(header, tuple(rows))


KIB = 1 << 10


def _line(axes: Axes, number: int, label: str, rows, x, y: str = "ns", dashed: bool = False, scale: float = 1.0) -> None:
    """One curve with its intervals, where the rows have them."""
    values = np.asarray(rows[y], float) * scale
    ends = [f"{end}_{y}" for end in ("low", "high")]
    reach = None
    if all(end in rows for end in ends):
        low, high = (np.asarray(rows[end], float) * scale for end in ends)
        reach = np.maximum([values - low, high - values], 0)
    axes.errorbar(
        np.asarray(x, float),
        values,
        reach,
        color=COLOURS[number],
        marker="" if dashed else MARKERS[number],
        linestyle="--" if dashed else "-",
        capsize=2,
        markersize=3.5,
        label=label,
    )


def _sizes(axes: Axes, xlabel: str, ylabel: str, log_y: bool = True) -> None:
    """A logarithmic axis of bytes with ticks at every fourth power of two."""
    axes.set_xscale("log", base=2)
    if log_y:
        axes.set_yscale("log")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    plain_ticks(axes)
    low, high = axes.get_xlim()
    places = [2.0**k for k in range(8, 36, 2) if low <= 2.0**k <= high]
    axes.set_xticks(places, [size_text(p) for p in places])


def _shade(axes: Axes, run: Run) -> None:
    """Bands of the levels as the system reports them, named at the top."""
    low, high = axes.get_xlim()
    start = low
    for number, cache in enumerate([*run.machine.data_caches(), None]):
        end = min(cache.size_bytes, high) if cache else high
        if end > start:
            axes.axvspan(start, end, color="#0072B2", alpha=(0.02, 0.06, 0.10, 0.14, 0.18)[number], linewidth=0, zorder=0)
            name = f"{cache.name}, {size_text(cache.size_bytes)}" if cache else "memory"
            name = name if end > 1.6 * start else ""
            axes.annotate(
                name,
                (np.sqrt(start * end), 0.985),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="top",
                fontsize=8.5,
                color="#444444",
            )
            start = end
    axes.set_xlim(low, high)


@picture
def latency(axes: Axes, run: Run) -> str:
    """ns per load of a random chase against the working set; dotted lines where capacities were fitted."""
    kinds = [kib for kib in (HUGE_KIB, BASE_KIB) if ("memory", f"latency, pages of {kib} KiB") in run.blocks]
    if not kinds:
        raise RunError(f"run {run.id} has no latency")
    for number, kib in enumerate(kinds):
        found = chase(run, f"latency, pages of {kib} KiB")
        _line(axes, number, f"pages of {size_text(kib * KIB)}", found, found["bytes"])
    _sizes(axes, "working set", "ns per load")
    _shade(axes, run)
    measured = levels(run)
    for level in measured:
        if level.capacity_bytes:
            axes.axvline(level.capacity_bytes.value, color="black", linestyle="--", linewidth=1)
            axes.annotate(
                f"{level.name} measured {size_text(level.capacity_bytes.value)}",
                (level.capacity_bytes.value, 0.03),
                (-3, 0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                rotation=90,
                ha="right",
                va="bottom",
                fontsize=8.5,
            )
    label_ends(axes)
    steps = ", ".join(f"{level.latency_ns:.1f} in {level.name}" for level in measured if level.latency_ns)
    return f"Latency climbs as the working set leaves each level: {steps} (ns per load); dashed are the fitted capacities."


@picture
def page_colours(axes: Axes, run: Run) -> str:
    """Latency around the second level: a step if pages adjoined each other, a slope if they lie at random places."""
    near, second = colours(run)
    _line(axes, 0, "measured", near, near["bytes"])
    _line(axes, 1, "model: pages at random", near, near["bytes"], "model_ns", dashed=True)
    step = near.assign(model_ns=np.where(near["bytes"] <= second.size_bytes, near["ns"].iloc[0], near["ns"].iloc[-1]))
    _line(axes, 5, "model: pages adjoin", step, near["bytes"], "model_ns", dashed=True)
    _sizes(axes, "working set", "ns per load", log_y=False)
    _shade(axes, run)
    label_ends(axes)
    errors = {n: float(np.median(abs(m["model_ns"] / near["ns"] - 1))) for n, m in (("random", near), ("step", step))}
    return (
        f"Around the second level the measured latency rises gradually; the model of pages at random places errs by "
        f"{100 * errors['random']:.0f} % in the median, a step at the capacity by {100 * errors['step']:.0f} %."
    )


@picture
def pages(axes: Axes, run: Run) -> str:
    """One line in every page against as many lines side by side."""
    found = chase(run, "one line per page")
    for number, (stride, label) in enumerate(((PAGE_STRIDE, "one per page"), (LINE_BYTES, "side by side"))):
        own = found[found["stride"] == stride]
        _line(axes, number, label, own, own["n"])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel(f"lines that are chased (each on a page of {BASE_KIB} KiB of its own, or side by side)")
    axes.set_ylabel("ns per load")
    plain_ticks(axes)
    label_ends(axes)
    both = found.pivot_table(index="n", columns="stride", values="ns").dropna()
    excess = both[PAGE_STRIDE] / both[LINE_BYTES]
    first = int(excess.index[(excess > 1.5).argmax()]) if (excess > 1.5).any() else 0
    return (
        f"The same number of lines costs up to {excess.max():.1f} times as much when each lies on a page of its own; "
        + (f"the difference begins at {first} pages, {size_text(first * BASE_KIB * KIB)}." if first else "no edge is seen.")
    )


@picture
def bandwidth_curves(axes: Axes, run: Run) -> str:
    """Counted GB/s against the working set of all arrays."""
    found = bandwidth(run)
    shown = (
        ("read", "read"),
        ("write", "write"),
        ("copy", "copy"),
        ("triad", "triad"),
        ("copy_nt", "copy past the caches"),
    )
    for number, (name, label) in enumerate(shown):
        own = found[found["kernel"] == f"memory_{name}"].sort_values("bytes")
        rows = own.rename(columns={"low_gb_per_s": "low_rate", "high_gb_per_s": "high_rate", "gb_per_s": "rate"})
        _line(axes, number, label, rows, own["bytes"], "rate")
    _sizes(axes, "working set, all arrays together", "GB/s of counted bytes, one core")
    axes.set_yticks([10, 20, 50, 100, 200, 500], ["10", "20", "50", "100", "200", "500"])
    _shade(axes, run)
    label_ends(axes)
    last = found.sort_values("bytes").groupby("kernel")["gb_per_s"].last()
    best = found.groupby("kernel")["gb_per_s"].max()
    return (
        f"Reads reach {best['memory_read']:.0f} GB/s in the first level and {last['memory_read']:.0f} from memory; there a "
        f"copy past the caches moves {last['memory_copy_nt']:.0f}, one through them {last['memory_copy']:.0f}."
    )


@picture
def mountain(axes: Axes, run: Run) -> str:
    """Useful GB/s of a strided read: ridges are levels, slopes are lines of which less and less is used."""
    found = summary(run, "memory", kernel="memory_strided_read")
    table = found.pivot_table(index="n", columns="stride", values="gb_per_s")
    mesh = axes.pcolormesh(table.to_numpy(float), cmap="cividis", edgecolors="white", linewidth=1)
    for (row, column), value in np.ndenumerate(table.to_numpy(float)):
        dark = value < 0.6 * table.to_numpy(float).max()
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{value:.0f}" if value >= 10 else f"{value:.1f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else "black",
        )
    axes.set_xticks(np.arange(len(table.columns)) + 0.5, [8 * int(s) for s in table.columns])
    axes.set_yticks(np.arange(len(table.index)) + 0.5, [size_text(8 * int(n)) for n in table.index])
    axes.grid(visible=False)
    axes.set_xlabel("stride (bytes)")
    axes.set_ylabel("working set")
    axes.figure.colorbar(mesh, label="useful GB/s, one core", ax=axes)
    values = table.to_numpy(float)
    return (
        f"Useful GB/s over stride and working set: from {values.max():.0f} at small strides in the first level down to "
        f"{values.min():.1f} where every element fetches a line from memory of its own."
    )


@picture
def leading(axes: Axes, run: Run) -> str:
    """Walks down columns of matrices of several leading dimensions; dashed: predicted from the sets of the first level."""
    found, first = chase(run, "leading dimension"), _first(run)
    if len(near := [level.latency_ns for level in levels(run) if level.latency_ns][:2]) < 2:
        raise RunError(f"run {run.id} does not show two levels of cache apart")
    (inside, beyond), errors = near, []
    for number, ld in enumerate(LEADING):
        own = found[found["stride"] == 4 * ld].sort_values("n")
        share = np.array([predicted_column(int(n), ld, first) for n in own["n"]])
        model = own.assign(model_ns=inside + share * (beyond - inside))
        errors.append(np.median(abs(model["model_ns"] / own["ns"] - 1)))
        _line(axes, number, str(ld), own, own["n"])
        axes.plot(own["n"].astype(float), model["model_ns"], color=COLOURS[number], linestyle="--", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("rows of the column that is walked again and again (float32)")
    axes.set_ylabel("ns per load")
    plain_ticks(axes)
    axes.set_ylim(0, 1.3 * found["ns"].max())  # a few wide intervals would flatten the curves
    label_ends(axes)
    worst = found[found["n"] == found["n"].max()].set_index("stride")["ns"]
    return (
        f"A column of a matrix of leading dimension 1024 costs {worst[4096] / worst[4160]:.1f} times one of 1040 at "
        f"{int(found['n'].max())} rows; the model of sets (dashed) errs by {100 * np.median(errors):.0f} % in the median."
    )


@picture
def chains(axes: Axes, run: Run) -> str:
    """ns per load against independent chains; dashed: the latency of one chain shared by all of them."""
    found, gains = chase(run, "chains"), {}
    for number, (size, own) in enumerate(found.groupby("bytes")):
        own = own.sort_values("chains")
        _line(axes, number, size_text(size), own, own["chains"])
        one = own["ns"].iloc[0]
        count = own["chains"].astype(float)
        axes.plot(count, one / count, color=COLOURS[number], linestyle="--", linewidth=1)
        gains[size] = float((one / own["ns"]).max())
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("independent chains")
    axes.set_ylabel("ns per load")
    plain_ticks(axes)
    label_ends(axes)
    size = max(gains)
    return (
        f"Independent chains overlap: from memory ({size_text(size)}) up to {gains[size]:.0f} loads are in flight, in the "
        f"first level {gains[min(gains)]:.0f}; dashed lines are the latency of one chain over their number."
    )


LEADING = (512, 513, 528, 1024, 1025, 1040)
PAGE_STRIDE = (BASE_KIB << 10) + LINE_BYTES
"""From page to page and one line on, so that lines fall into all sets."""
STRIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # of float64: 8 fill a line
SHORT = 1e-3  # seconds of budget: every case gets its least number of rounds
MIB = 1 << 20


def memory_blocks(quick: bool, machine: Machine) -> list[Block]:
    """All blocks of the topic `memory`."""
    rounds = 6 if quick else 9
    best = max(page_sizes_kib())
    sizes = sweep_sizes(machine, 4 if quick else 8)
    sizes = [s for s in sizes if s <= 32 * MIB] if quick else sizes
    coarse = {kib: 2 if quick and kib != best else 1 for kib in page_sizes_kib()}
    named = [(f"latency, pages of {kib} KiB", _latency(sizes[::every], kib)) for kib, every in coarse.items()]
    named += [
        ("one line per page", _pages(3 if quick else 8)),
        ("bandwidth", _bandwidth(sizes[4::6] if quick else sizes[::2], best)),
        ("leading dimension", _leading(best)),
        ("chains", _chains(quick, machine, best)),
    ]
    blocks = [Block("memory", name, tuple(cells), SHORT, rounds) for name, cells in named]
    return [*blocks, Block("memory", "mountain", tuple(_mountain(quick, sizes, best)), SHORT, 3)]


def width_block() -> Block:
    """Peaks of plain numbers and of vectors of every width that the registers have."""
    names = [f"fma_peak_{bits or 'scalar'}" for bits in fma_widths()]
    return Block(
        "limits", "widths", tuple(GridPoint(find(k), PEAK_OPS, dtype=d) for d in ("float32", "float64") for k in names), 1
    )


def _chase(links: int, page_kib: int, **values: int) -> GridPoint:
    return GridPoint(find("memory_chase"), links, dtype="int64", values={"page_kib": page_kib, **values})


def _latency(sizes: Sequence[int], page_kib: int) -> list[GridPoint]:
    return [_chase(size // LINE_BYTES, page_kib) for size in sizes]


def _pages(per_octave: int) -> list[GridPoint]:
    counts = sorted({int(2 ** (k / per_octave)) for k in range(3 * per_octave, 14 * per_octave + 1)})
    return [_chase(n, BASE_KIB, stride=stride) for n in counts for stride in (LINE_BYTES, PAGE_STRIDE)]


def _bandwidth(sizes: Sequence[int], page_kib: int) -> list[GridPoint]:
    cells = []
    for size in sizes:
        for name in ("read", "write", "write_nt", "copy", "copy_nt", "triad", "triad_nt"):
            kernel = find(f"memory_{name}")
            n = size // kernel.bytes(1, 1) // 4 // 16 * 16
            values = {"page_kib": page_kib} | ({"streams": 4} if name == "read" else {})
            cells.append(GridPoint(kernel, n, values=values))
    return cells


def _mountain(quick: bool, sizes: Sequence[int], page_kib: int) -> list[GridPoint]:
    strides, chosen = (STRIDES[::2], sizes[8::8]) if quick else (STRIDES, sizes[8::8])
    kernel = find("memory_strided_read")
    values = [(size // 8, {"page_kib": page_kib, "stride": s}) for size in chosen for s in strides]
    return [GridPoint(kernel, n, dtype="float64", values=v) for n, v in values]


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
