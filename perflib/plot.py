"""The figures: each from a run, each with a sentence that says what is to be seen.

    matmul_rates, matmul_times, local_exponents     the ladder against size
    rms_times, rms_bandwidth, rms_batch             RMS norm against size, working set and batch
    scopes, self_comparisons                        what a call costs, how often A/A is wrong
    overview(run)                                   the main figures of the report and the notebook each leads to

Where the run lacks a series, the standard sentence stands in the figure's place.
"""

import numpy as np
from matplotlib.axes import Axes

from .claims import matmul_fit, rms_fit, self_ratios
from .drawing import (
    LOOKS,
    Picture,
    cache_lines,
    curve,
    fitted,
    label_ends,
    level,
    log_axes,
    picture,
    plain_ticks,
    seed_points,
    shares,
)
from .measure import MARGIN
from .plot_tiles import tile_map
from .record import LADDER, NORMS, PRODUCTS, TEXTBOOK
from .store import Run, RunError
from .tables import copy_gb_per_s, peak_gflops, seed_figures, summary

__all__ = [
    "Picture",
    "local_exponents",
    "matmul_rates",
    "matmul_times",
    "overview",
    "rms_bandwidth",
    "rms_batch",
    "rms_times",
    "scopes",
    "self_comparisons",
]


@picture
def matmul_rates(axes: Axes, run: Run) -> str:
    """GFLOP/s of each rung against n, with the measured peak and the sizes at which three matrices fill a cache."""
    table = summary(run, "matmul", dtype="float32")
    recorded = {*TEXTBOOK, "numpy_matmul", *table["kernel"]}
    best = {}
    for name in (name for name in (*LADDER, *PRODUCTS) if name in recorded):
        rows = _scaling_rows(table, name, "call" if name in PRODUCTS else "kernel")
        best[name] = rows["gflops"].max()
        curve(axes, name, rows["n"], rows["gflops"], rows["low_gflops"], rows["high_gflops"])
    peak = peak_gflops(run)
    level(axes, peak.value, f"multiply-add peak {peak.value:.0f}")
    log_axes(axes, table["n"].unique(), "n (matrices n × n, float32)", "GFLOP/s, one core")
    shares(axes, peak.value, "% of the peak")
    cache_lines(axes, run.machine.data_caches(), lambda size: np.sqrt(size / 12), "3 n² fill", at=0.42)
    label_ends(axes)
    top = max(best, key=best.get)
    return (
        f"GFLOP/s against n: the naive product peaks at {best['matmul_naive']:.1f}, the seed's tiles at "
        f"{best['matmul_tiled']:.1f}, ikj at {best['matmul_ikj']:.1f}, and {LOOKS[top][0]} leads with {best[top]:.0f} "
        f"of a peak of {peak.value:.0f}."
    )


def _scaling_rows(table, name: str, scope: str):
    """The rows of one kernel, one per n; RunError where there are none."""
    rows = table[(table["kernel"] == name) & (table["scope"] == scope)]
    if rows.empty:
        raise RunError(f"the run has no {name} in {scope} scope")
    return rows.drop_duplicates("n", keep="first")


@picture
def matmul_times(axes: Axes, run: Run) -> str:
    """Time of the seed's kernel against n, the fitted line, and what the seed published."""
    fit = matmul_fit(run)
    rows = _scaling_rows(summary(run, "matmul", kernel="matmul_tiled", dtype="float32"), "matmul_tiled", "kernel")
    curve(axes, "matmul_tiled", rows["n"], rows["ns"] / 1e3, rows["low_ns"] / 1e3, rows["high_ns"] / 1e3, line="")
    fitted(axes, fit, 1e3)
    seed = seed_figures()
    seed = seed[seed["kernel"] == "matmul_tiled"]
    seed_points(axes, seed)
    log_axes(axes, rows["n"], "n (matrices n × n, float32, tile 64)", "time of one product (µs)")
    cache_lines(axes, run.machine.data_caches(), lambda size: np.sqrt(size / 12), "3 n² fill")
    axes.legend(loc="upper left")
    return (
        f"Time of matmul_tiled against n with the fitted line of slope {fit.exponent.value:.2f}, and the seed's published "
        f"times at 64, 128 and 256, which lie {_seed_factor(seed, rows):.1f} times as high."
    )


@picture
def local_exponents(axes: Axes, run: Run) -> str:
    """Exponent between neighbouring sizes: where the curve bends, and at which cache."""
    lowest, highest = {}, {}
    for name in ("matmul_naive", "matmul_tiled", "matmul_ikj"):
        fit = matmul_fit(run, name)
        middles = np.sqrt(np.array(fit.sizes[1:]) * np.array(fit.sizes[:-1]))
        curve(axes, name, middles, np.array(fit.local))
        lowest[name], highest[name] = min(fit.local), max(fit.local)
    axes.axhline(3, color="black", linestyle="--", linewidth=1)
    log_axes(axes, fit.sizes, "n between two neighbouring sizes", "local exponent of n")
    axes.set_yscale("linear")
    cache_lines(axes, run.machine.data_caches(), lambda size: np.sqrt(size / 12), "3 n² fill", at=0.75)
    label_ends(axes)
    name = max(highest, key=highest.get)
    return (
        f"Local exponents scatter around 3, from {min(lowest.values()):.1f} to {max(highest.values()):.1f}; the largest "
        f"belongs to {LOOKS[name][0]}."
    )


@picture
def rms_times(axes: Axes, run: Run) -> str:
    """Time of each RMS norm against n, the fitted line of the fast one, and the seed's whole microseconds."""
    table = summary(run, "rmsnorm", dtype="float32", rows=1)
    table = table[table["n"] <= 8192]
    for name in _norms(table):
        rows = _scaling_rows(table, name, "kernel" if name in NORMS else "call")
        curve(axes, name, rows["n"], rows["ns"], rows["low_ns"], rows["high_ns"])
    fit = rms_fit(run)
    line = fitted(axes, fit, 1)
    seed = seed_figures()
    seed = seed[seed["kernel"] == "rms_norm_fast"]
    stars = seed_points(axes, seed, 1e3)
    log_axes(axes, table["n"].unique(), "n (one row, float32)", "time of one row (ns)")
    axes.legend(handles=[line, stars], loc="lower right")
    label_ends(axes)
    fast = _scaling_rows(table, "rms_norm_fast", "kernel")
    return (
        f"RMS-norm time against n: the fast kernel follows a line of slope {fit.exponent.value:.2f}; the seed's published "
        f"microseconds lie {_seed_factor(seed, fast):.0f} times as high."
    )


@picture
def rms_bandwidth(axes: Axes, run: Run) -> str:
    """Useful GB/s of each RMS norm against the bytes of one row, with cache sizes and the copy bandwidth."""
    table = summary(run, "rmsnorm", dtype="float32", rows=1)
    copy = _against_bytes(axes, run, table, 12 * table["n"], "x, weight and out together (KiB)")
    fast = _scaling_rows(table, "rms_norm_fast", "kernel")["gb_per_s"]
    return (
        f"RMS-norm bandwidth against working set: the fast kernel reaches {fast.max():.0f} GB/s inside the caches and "
        f"{fast.iloc[-1]:.0f} GB/s at the largest row, where a copy reaches {copy:.0f}."
    )


@picture
def rms_batch(axes: Axes, run: Run) -> str:
    """Useful GB/s of the compiled RMS norms over a batch of rows of 2048, against the bytes that go in and out."""
    table = summary(run, "rmsnorm", block="float32 batch")
    copy = _against_bytes(axes, run, table, 4 * table["n"] * (2 * table["rows"] + 1), "rows in, out, and weights (KiB)")
    last = table[table["rows"] == table["rows"].max()].set_index("kernel")["gb_per_s"]
    ends = ", ".join(f"{LOOKS[name][0]} {last[name]:.0f}" for name in _norms(table))
    return f"RMS norm over a batch: at the largest one the GB/s are {ends}; the best copy of the run makes {copy:.0f}."


def _against_bytes(axes: Axes, run: Run, table, moved, label: str) -> float:
    """GB/s of every norm of a table against the bytes in `moved`; the best copy, which is returned, as a line."""
    table = table.assign(kib=moved / 1024)
    for name in _norms(table):
        rows = table[(table["kernel"] == name) & (table["scope"] == ("kernel" if name in NORMS else "call"))]
        rows = rows.drop_duplicates("kib").sort_values("kib")
        curve(axes, name, rows["kib"], rows["gb_per_s"], rows["low_gb_per_s"], rows["high_gb_per_s"])
    copy = copy_gb_per_s(run).value
    level(axes, copy, f"best copy from memory {copy:.0f}", at=0.3)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("GB/s of useful bytes, one core")
    plain_ticks(axes)
    cache_lines(axes, run.machine.data_caches(), lambda size: size / 1024, "fill")
    label_ends(axes)
    return copy


def _norms(table) -> list[str]:
    """The RMS norms of a run, ours first."""
    found = set(table["kernel"])
    return [name for name in (*NORMS, "numpy_rms_norm", "torch_rms_norm") if name in found]


@picture
def scopes(axes: Axes, run: Run) -> str:
    """The same kernel in both scopes: what a Python call adds."""
    table = summary(run, "timing", kernel="rms_norm_fast")
    kernel, call = (_scaling_rows(table, "rms_norm_fast", scope) for scope in ("kernel", "call"))
    for rows, label, look in ((kernel, "kernel scope", "#0072B2"), (call, "call scope", "#D55E00")):
        reach = [rows["ns"] - rows["low_ns"], rows["high_ns"] - rows["ns"]]
        axes.errorbar(rows["n"], rows["ns"], reach, color=look, marker="s", capsize=3, label=label)
    log_axes(axes, kernel["n"], "n (one row, float32)", "time of one run of rms_norm_fast (ns)")
    label_ends(axes)
    factors = (call["ns"].to_numpy() / kernel["ns"].to_numpy()).round(1)
    return (
        f"The same RMS norm in both scopes: a call from Python takes {factors[0]:.0f} times the kernel at "
        f"n = {kernel['n'].iloc[0]} and {factors[-1]:.1f} times at n = {kernel['n'].iloc[-1]}."
    )


@picture
def self_comparisons(axes: Axes, run: Run) -> str:
    """Ratio of a kernel with itself, block by block: what this machine calls different although it is the same."""
    found = self_ratios(run)
    places = np.arange(len(found))
    middle = np.array([r.value for r in found])
    reach = [[r.value - r.low for r in found], [r.high - r.value for r in found]]
    wrong = np.array([not r.low <= 1 <= r.high for r in found])
    for chosen, colour, label in ((~wrong, "#0072B2", "covers 1"), (wrong, "#D55E00", "misses 1")):
        if chosen.any():
            axes.errorbar(
                places[chosen], middle[chosen], np.array(reach)[:, chosen], fmt="o", color=colour, capsize=2, label=label
            )
    axes.axhspan(1 / (1 + MARGIN), 1 + MARGIN, color="#DDDDDD", label=f"margin of compare: {100 * MARGIN:.0f} %", zorder=0)
    axes.axhline(1, color="black", linestyle="--", linewidth=1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("comparison, from the start of the recording to its end")
    axes.set_ylabel("time of a kernel / time of the same kernel")
    axes.legend()
    beyond = sum(r.inside(1 / (1 + MARGIN), 1 + MARGIN) is False for r in found)
    return (
        f"A kernel compared with itself {len(found)} times: {int(wrong.sum())} of the 95 % intervals miss 1; all medians "
        f"lie within {100 * abs(middle - 1).max():.1f} % of it, {beyond} intervals wholly beyond the margin."
    )


def overview(run: Run) -> list[tuple[Picture, str]]:
    """The main figures, and the stem of the notebook that tells more about each."""
    figures = ((matmul_rates, "02-matmul-scaling"), (tile_map, "03-tile-size"), (rms_bandwidth, "04-rmsnorm"))
    drawn = [(draw(run), stem) for draw, stem in figures]
    return [(found, stem) for found, stem in drawn if isinstance(found, Picture)]


def _seed_factor(seed, rows) -> float:
    """Median of published over measured time at the sizes both have."""
    mine = rows.set_index(rows["n"].astype(int))["ns"]
    return float(np.median([t * 1e3 / mine[n] for n, t in zip(seed["n"], seed["time_us"], strict=True) if n in mine]))
