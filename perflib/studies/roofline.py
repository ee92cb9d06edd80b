"""The study of notebook 06-roofline: measured ceilings of arithmetic and of every level, and kernels as points below them.

Intensities are counted from the loops: per multiply-add the naive matmul loads an element of each matrix; i k j loads one
of B and one of C and stores one of C. What goes beyond the first level is simulated for the caches of the run's machine: a
line for each miss, of a matmul that finds the caches empty. Where the ways are not known it is the formula: in tiles of T
by T an element from beyond the first level serves T multiply-adds, T / 4 flops per byte; a matmul as a whole moves its
three matrices once, n / 6. Libraries, whose loops are not known here, count as `matmul_packed`. Source: Williams, Waterman
and Patterson, Roofline, CACM 2009; by level: Ilic, Pratas and Sousa, Cache-aware roofline model, IEEE CAL 2014.

Raises `RunError` where the run lacks a ceiling.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..display.figure import COLOURS, MARKERS, is_narrow, label_point, level, name_above, picture
from ..display.table import Table, or_missing
from ..display.text import shortened
from ..errors import RunError
from ..hardware.facts import Machine
from ..kernels.caches import FLOAT32_BYTES, LINE_BYTES, Cache
from ..kernels.catalog import KERNELS
from ..models.blocked_traces import Choices, choices
from ..models.simulator import TRACES, simulate
from ..runs.queries import summary
from ..runs.store import Run
from .drawing import log_scales

CORE = "registers"
STYLES = ("-", "--", "-.", ":")
FIRST = {  # flops per byte between registers and the first level, float32
    **dict.fromkeys(("matmul_naive", "matmul_tiled"), 2 / (2 * FLOAT32_BYTES)),
    **dict.fromkeys(("matmul_tiled_vectorised", "matmul_ikj"), 2 / (3 * FLOAT32_BYTES)),
    "rms_norm_standard": 4 / (8 * FLOAT32_BYTES),
    **dict.fromkeys(("rms_norm_fast", "rms_norm"), 4 / (4 * FLOAT32_BYTES)),
}
"""Loads and stores per element of the innermost loops: the norms are counted in notebook 04."""
BEYOND = {"matmul_naive": 2, "matmul_ikj": 2, "matmul_tiled": 64, "matmul_tiled_vectorised": 64}
"""Flops per element from beyond the first level: an element of B for each multiply-add, or for each row of a tile of 64.
The register tiles, which are not here, take B a panel at a time: each of its elements serves the rows of a tile."""


@dataclass(frozen=True)
class Ceilings:
    """Measured ceilings of one core."""

    gflops: Mapping[str, float]
    """By width: scalar, 128-bit, 256-bit, 512-bit."""
    gb_per_s: Mapping[str, float]
    """By level, nearest first, memory last."""


@dataclass(frozen=True)
class Point:
    """One kernel at one size."""

    kernel: str
    n: int
    gflops: float
    intensity: Mapping[str, float]
    """Flops per byte, by level."""


def register_tile(mr: int, nr: int, itemsize: int = FLOAT32_BYTES) -> float:
    """Flops per byte of a register tile: mr nr multiply-adds for mr + nr elements; 4.36 for 12 x 32 in float32."""
    return 2 * mr * nr / ((mr + nr) * itemsize)


def bandwidth(run: Run) -> pd.DataFrame:
    """GB/s of every kernel and working set, of counted bytes and of moved ones; `bytes` is that of all arrays."""
    rates = summary(run, "memory", block="bandwidth")
    kernels = {name: KERNELS.get(name) for name in rates["kernel"]}
    if unknown := [name for name, kernel in kernels.items() if kernel is None]:
        raise RunError(f"run {run.id} has bandwidths of {unknown[0]}, whose bytes are not known here")
    cases = [(kernels[name], int(n)) for name, n in zip(rates["kernel"], rates["n"], strict=True)]
    moved = [k.moved(n, 4) for k, n in cases]
    return rates.assign(bytes=[k.bytes(n, 4) for k, n in cases], moved_gb_per_s=np.array(moved) / rates["ns"])


def ceilings(run: Run) -> Ceilings:
    """Peaks by width, and the best rate of counted bytes that a read, copy or triad reached in the middle of each level."""
    peaks = summary(run, "limits", dtype="float32")
    peaks = peaks[peaks["kernel"].str.fullmatch(r"fma_peak_(scalar|\d+)")].set_index("kernel")["gflops"]
    if peaks.empty:
        raise RunError(f"run {run.id} has no peaks by width")
    by_width = {k.removeprefix("fma_peak_"): float(v) for k, v in peaks.items()}
    rates, caches = bandwidth(run), run.machine.data_caches()
    places = {c.name: c.size_bytes / 2 for c in caches[:2]}
    if len(caches) > 2:
        places[caches[2].name] = 2.0 * caches[1].size_bytes
    places["memory"] = float(rates["bytes"].max())
    near = {name: rates[np.abs(np.log(rates["bytes"] / size)) < np.log(1.5)] for name, size in places.items()}
    if empty := [name for name, rows in near.items() if rows.empty]:
        raise RunError(f"run {run.id} has no bandwidth in {empty[0]}")
    best = {name: float(rows["gb_per_s"].max()) for name, rows in near.items()}
    widths = sorted(by_width, key=lambda w: 0 if w == "scalar" else int(w))
    return Ceilings({w if w == "scalar" else f"{w}-bit": by_width[w] for w in widths}, best)


def points(run: Run, n: int = 512) -> list[Point]:
    """Every matmul at size n and every norm at its largest vector, float32, kernel scope."""
    matmuls = summary(run, "matmul", dtype="float32", n=n, block="float32 scaling").set_index("kernel")["gflops"]
    levels = product_levels(run.machine, list(matmuls.index), n)
    matmul_points = [Point(name, n, float(gflops), levels[name]) for name, gflops in matmuls.items()]
    norms = summary(run, "rmsnorm", dtype="float32", scope="kernel", block="float32 scaling").sort_values("n")
    whole = 4 / (3 * FLOAT32_BYTES)
    beyond = dict.fromkeys(("L2", "L3", "memory"), whole)
    return matmul_points + [
        Point(name, int(row["n"]), float(row["gflops"]), {"L1d": FIRST.get(name, whole)} | beyond)
        for name, row in norms.groupby("kernel").last().iterrows()
    ]


def product_levels(machine: Machine, kernels: Sequence[str], n: int) -> dict[str, Mapping[str, float]]:
    """Flops per byte by level of multiplications of n x n matrices, float32, by kernel."""
    caches, isa = machine.data_caches()[:3], machine.isa
    traces = {kernel: kernel if kernel in TRACES else "matmul_packed" for kernel in kernels}
    if not caches or not all(cache.ways for cache in caches):
        return {kernel: _by_formula(trace, n, choices(caches, FLOAT32_BYTES, isa)) for kernel, trace in traces.items()}
    distinct = sorted(set(traces.values()))
    with ThreadPoolExecutor() as pool:  # simulations run side by side
        simulated = dict(zip(distinct, pool.map(lambda trace: _simulate(trace, n, caches, isa), distinct), strict=True))
    return {kernel: simulated[trace] for kernel, trace in traces.items()}


def _by_formula(trace: str, n: int, blocks: Choices) -> dict[str, float]:
    beyond = BEYOND.get(trace, 2 * blocks.mr) / FLOAT32_BYTES
    first = FIRST.get(trace, register_tile(blocks.mr, blocks.nr))
    return {"L1d": first, "L2": beyond, "L3": beyond, "memory": n / 6}


@lru_cache
def _simulate(trace: str, n: int, caches: tuple[Cache, ...], isa: tuple[str, ...]) -> dict[str, float]:
    """Elements loaded and stored, and lines that each level requested."""
    counts = simulate(trace, (n,) * 3, caches, chosen=choices(caches, FLOAT32_BYTES, isa))
    lines = [misses * (cache.line_bytes or LINE_BYTES) for misses, cache in zip(counts.misses, caches, strict=True)]
    beyond = [*(cache.name for cache in caches[1:]), "memory"]
    moved = {"L1d": FLOAT32_BYTES * counts.accesses} | dict(zip(beyond, lines, strict=True))
    return {level: 2 * n**3 / count for level, count in moved.items()}


def bound(limits: Ceilings, point: Point) -> tuple[float, str]:
    """GFLOP/s of the lowest ceiling over the point, and the name of what it is made of."""
    over = {level: point.intensity[level] * rate for level, rate in limits.gb_per_s.items() if level in point.intensity}
    over[CORE] = max(limits.gflops.values())
    lowest = min(over, key=over.get)
    return over[lowest], lowest


@or_missing
def roofline_table(run: Run) -> Table:
    """Per kernel: flops per byte in two levels and in memory, the lowest ceiling, what was reached, and the share."""
    limits, rows = ceilings(run), []
    for point in points(run):
        ceiling, name = bound(limits, point)
        intensity = (f"{point.intensity.get(level, np.nan):.2f}" for level in ("L1d", "L2", "memory"))
        rates = f"{ceiling:.1f} ({name})", f"{point.gflops:.1f}", f"{100 * point.gflops / ceiling:.0f}"
        rows.append((point.kernel, str(point.n), *intensity, *rates))
    intensity = "flop/byte in L1", "in L2", "in memory"
    return Table(("kernel", "n", *intensity, "predicted GFLOP/s (by)", "measured GFLOP/s", "share (%)"), tuple(rows))


@picture
def roofs(axes: Axes, run: Run) -> str:
    """GFLOP/s against flops per byte: filled where a kernel stands in its first level, hollow where in memory."""
    limits, kernels = ceilings(run), sorted(points(run), key=lambda point: point.gflops)
    ends = [value for point in kernels for value in point.intensity.values()]
    intensity = np.geomspace(min(ends) / 1.5, max(ends), 200)
    lines = []
    for number, (name, rate) in enumerate(limits.gb_per_s.items()):
        look = {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number % len(STYLES)], "linewidth": 1.6}
        roof = np.minimum(intensity * rate, max(limits.gflops.values()))
        lines += axes.plot(intensity, roof, **look, label=f"{name} {rate:.0f} GB/s")
    log_scales(axes, "flops per byte: filled in the first level, hollow in memory", "GFLOP/s, one core, float32")
    for names, peak in _merge(limits.gflops):
        level(axes, peak, f"{names} {peak:.0f}")
    for number, point in enumerate(kernels):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        ends = [point.intensity["L1d"], point.intensity["memory"]]
        axes.plot(ends, [point.gflops] * 2, color=colour, linewidth=0.8)
        axes.plot(ends[:1], [point.gflops], marker, color=colour, label=point.kernel)
        axes.plot(ends[1:], [point.gflops], marker, color=colour, markerfacecolor="white")
        if not is_narrow(axes):
            label_point(axes, shortened(point.kernel), (ends[1], point.gflops), colour, "end")
    name_above(axes, () if is_narrow(axes) else lines)
    shares = {point.kernel: point.gflops / bound(limits, point)[0] for point in kernels}
    best = max(shares, key=shares.get)
    return (
        f"Kernels below the measured ceilings of one core: {best} comes closest to its lowest ceiling, at "
        f"{100 * shares[best]:.0f} % of it; matmul_naive reaches {100 * shares['matmul_naive']:.0f} %."
    )


def _merge(peaks: Mapping[str, float]) -> list[tuple[str, float]]:
    """Widths whose peaks are within a twentieth of each other under one name."""
    groups: list[tuple[str, float]] = []
    for name, peak in peaks.items():
        if groups and abs(peak / groups[-1][1] - 1) < 0.05:
            groups[-1] = (f"{groups[-1][0]}, {name}", max(peak, groups[-1][1]))
        else:
            groups.append((name, peak))
    return groups
