"""The figures of the memory: each from a run, with levels shaded and named, models dashed, intervals drawn.

latency             ns per load against the working set, on huge and on base pages
page_colours        the same around the second level, with two models of where pages lie
pages               one line per page: where translation no longer reaches
bandwidth_curves    GB/s of reads and copies against the working set
mountain            GB/s over stride and working set
leading             walks down a column, predicted from the sets
chains              parallel chains against Little's law
"""

import numpy as np
from matplotlib.axes import Axes

from .drawing import label_ends, picture, plain_ticks
from .kernels.arena import BASE_KIB, HUGE_KIB
from .kernels.caches import LINE_BYTES
from .memory_plan import LEADING, PAGE_STRIDE
from .memory_tables import _first, bandwidth, chase, colours, levels, predicted_column
from .showing import size_text
from .store import Run, RunError
from .tables import summary

__all__ = ["COLOURS", "MARKERS", "bandwidth_curves", "chains", "latency", "leading", "mountain", "page_colours", "pages"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#555555")
MARKERS = "os^Dv*"
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
