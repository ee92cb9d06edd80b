"""What limits each kernel: measured ceilings of arithmetic and of every level, and kernels as points below them.

    ceilings(run)           -> Ceilings: GFLOP/s by width of the vector, GB/s by level
    points(run)             -> Point, ...: GFLOP/s reached, and flops per byte moved between registers and each level
    bound(ceilings, point)  -> the lowest roof over a point, and its name
    roofline_table(run)     the same as a table

Intensities are counted from the loops: per multiply-add the naive product loads an element of each matrix; i k j loads one
of B and one of C and stores one of C. What goes beyond the first level is simulated for the caches of the run's machine: a
line for each miss, of a product that finds the caches empty. Where the ways are not known it is the formula: in tiles of T
by T an element from beyond the first level serves T multiply-adds, T / 4 flops per byte; a product as a whole moves its
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

from ..display.figure import COLOURS, MARKERS, picture, plain_ticks, readable
from ..display.table import Table, or_missing
from ..errors import RunError
from ..hardware.facts import Machine
from ..kernels.caches import FLOAT32_BYTES, LINE_BYTES, Cache
from ..kernels.catalog import find
from ..models.blocked_traces import Choices, choices
from ..models.simulator import TRACES, simulate
from ..runs.queries import summary
from ..runs.store import Run

CORE = "registers"
FIRST = {  # flops per byte between registers and the first level, float32
    "matmul_naive": 2 / (2 * FLOAT32_BYTES),
    "matmul_tiled": 2 / (2 * FLOAT32_BYTES),
    "matmul_tiled_vectorised": 2 / (3 * FLOAT32_BYTES),
    "matmul_ikj": 2 / (3 * FLOAT32_BYTES),
    "rms_norm_standard": 4 / (8 * FLOAT32_BYTES),
    "rms_norm_fast": 4 / (4 * FLOAT32_BYTES),
    "rms_norm": 4 / (4 * FLOAT32_BYTES),
}
"""Loads and stores per element of the innermost loops: the norms are counted in notebook 04."""
BEYOND = {"matmul_naive": 2, "matmul_ikj": 2, "matmul_tiled": 64, "matmul_tiled_vectorised": 64}
"""Flops per element from beyond the first level: an element of B for each multiply-add, or for each row of a tile of 64.
The register tiles, which are not here, take B a panel at a time: each of its elements serves the rows of a tile."""


@dataclass(frozen=True)
class Ceilings:
    """Measured roofs of one core."""

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


def ceilings(run: Run) -> Ceilings:
    """Peaks by width, and the best rate of counted bytes that a read, copy or triad reached in the middle of each level."""
    peaks = summary(run, "limits", dtype="float32")
    peaks = peaks[peaks["kernel"].str.startswith("fma_peak_")].set_index("kernel")["gflops"]
    if peaks.empty:
        raise RunError(f"run {run.id} has no peaks by width")
    by_width = {k.removeprefix("fma_peak_"): float(v) for k, v in peaks.items()}
    rates = bandwidth(run)
    places = {c.name: c.size_bytes / 2 for c in run.machine.data_caches()[:2]}
    if len(run.machine.data_caches()) > 2:
        places[run.machine.data_caches()[2].name] = 2.0 * run.machine.data_caches()[1].size_bytes
    places["memory"] = float(rates["bytes"].max())
    near = {name: rates[np.abs(np.log(rates["bytes"] / size)) < np.log(1.5)] for name, size in places.items()}
    if empty := [name for name, rows in near.items() if rows.empty]:
        raise RunError(f"run {run.id} has no bandwidth in {empty[0]}")
    best = {name: float(rows["gb_per_s"].max()) for name, rows in near.items()}
    order = sorted(by_width, key=lambda w: 0 if w == "scalar" else int(w))
    named = {w if w == "scalar" else f"{w}-bit": by_width[w] for w in order}
    return Ceilings(named, best)


def points(run: Run, n: int = 512) -> list[Point]:
    """Every product at size n and every norm at its largest vector, float32, kernel scope."""
    found = []
    products = summary(run, "matmul", dtype="float32", n=n, block="float32 scaling")
    levels = product_levels(run.machine, list(products["kernel"]), n)
    for _, row in products.iterrows():
        found.append(Point(row["kernel"], n, float(row["gflops"]), levels[row["kernel"]]))
    norms = summary(run, "rmsnorm", dtype="float32", scope="kernel", block="float32 scaling")
    for name, own in norms.groupby("kernel"):
        row = own.sort_values("n").iloc[-1]
        first, whole = FIRST.get(name, 4 / (3 * FLOAT32_BYTES)), 4 / (3 * FLOAT32_BYTES)
        beyond = {"L1d": first, "L2": whole, "L3": whole, "memory": whole}
        found.append(Point(name, int(row["n"]), float(row["gflops"]), beyond))
    return found


def product_levels(machine: Machine, kernels: Sequence[str], n: int) -> dict[str, Mapping[str, float]]:
    """Flops per byte by level of products of n x n matrices, float32, by kernel."""
    caches, isa = machine.data_caches()[:3], machine.isa
    traces = {kernel: kernel if kernel in TRACES else "matmul_packed" for kernel in kernels}
    if not caches or not all(cache.ways for cache in caches):
        return {kernel: _by_formula(trace, n, choices(caches, FLOAT32_BYTES, isa)) for kernel, trace in traces.items()}
    distinct = sorted(set(traces.values()))
    with ThreadPoolExecutor() as pool:  # simulations run side by side
        simulated = dict(zip(distinct, pool.map(lambda trace: _simulated(trace, n, caches, isa), distinct), strict=True))
    return {kernel: simulated[trace] for kernel, trace in traces.items()}


def _by_formula(trace: str, n: int, chosen: Choices) -> dict[str, float]:
    beyond = BEYOND.get(trace, 2 * chosen.mr) / FLOAT32_BYTES
    first = FIRST.get(trace, register_tile(chosen.mr, chosen.nr))
    return {"L1d": first, "L2": beyond, "L3": beyond, "memory": n / 6}


@lru_cache
def _simulated(trace: str, n: int, caches: tuple[Cache, ...], isa: tuple[str, ...]) -> dict[str, float]:
    """Elements loaded and stored, and lines that each level asked for."""
    found = simulate(trace, (n,) * 3, caches, chosen=choices(caches, FLOAT32_BYTES, isa))
    lines = [misses * (cache.line_bytes or LINE_BYTES) for misses, cache in zip(found.misses, caches, strict=True)]
    beyond = [*(cache.name for cache in caches[1:]), "memory"]
    moved = {"L1d": FLOAT32_BYTES * found.accesses} | dict(zip(beyond, lines, strict=True))
    return {level: 2 * n**3 / count for level, count in moved.items()}


def bound(roofs: Ceilings, point: Point) -> tuple[float, str]:
    """GFLOP/s of the lowest roof over the point, and the name of what it is made of."""
    over = {level: point.intensity[level] * rate for level, rate in roofs.gb_per_s.items() if level in point.intensity}
    over[CORE] = max(roofs.gflops.values())
    lowest = min(over, key=over.get)
    return over[lowest], lowest


@or_missing
def roofline_table(run: Run) -> Table:
    """Per kernel: flops per byte in two levels and in memory, the lowest roof, what was reached, and the share."""
    roofs, rows = ceilings(run), []
    for point in points(run):
        roof, name = bound(roofs, point)
        first, second, memory = (point.intensity.get(level, np.nan) for level in ("L1d", "L2", "memory"))
        share = f"{100 * point.gflops / roof:.0f}"
        cells = (
            point.kernel,
            str(point.n),
            f"{first:.2f}",
            f"{second:.2f}",
            f"{memory:.2f}",
            f"{roof:.1f} ({name})",
            f"{point.gflops:.1f}",
            share,
        )
        rows.append(cells)
    header = (
        "kernel",
        "n",
        "flop/byte in L1",
        "in L2",
        "in memory",
        "predicted GFLOP/s (by)",
        "measured GFLOP/s",
        "share (%)",
    )
    return Table(header, tuple(rows))


def roof(roofs: Ceilings, level: str, intensity: np.ndarray) -> np.ndarray:
    """The roof of one level over intensities: its bandwidth, up to the arithmetic peak."""
    return np.minimum(intensity * roofs.gb_per_s[level], max(roofs.gflops.values()))


@picture
def roofs(axes: Axes, run: Run) -> str:
    """GFLOP/s against flops per byte: filled where a kernel stands in its first level, hollow where in memory."""
    over, found = ceilings(run), sorted(points(run), key=lambda point: point.gflops)
    intensity = np.logspace(-3.6, 7.2, 200, base=2)
    for number, (level, rate) in enumerate(over.gb_per_s.items()):
        axes.plot(intensity, roof(over, level, intensity), color=COLOURS[number], linewidth=1.6)
        place = intensity[0] * 1.15 * 1.9**number
        axes.annotate(
            f"{level} {rate:.0f} GB/s",
            (place, place * rate),
            (0, 4),
            textcoords="offset points",
            fontsize=8.5,
            color=COLOURS[number],
            rotation=44,
            rotation_mode="anchor",
        )
    for names, peak in _merged(over.gflops):
        axes.axhline(peak, color="black", linestyle="--", linewidth=0.8)
        place = (intensity[0], peak)
        axes.annotate(f"{names} {peak:.0f}", place, (2, 3), textcoords="offset points", fontsize=8.5)
    lowest = -np.inf
    for number, point in enumerate(found):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        ends = [point.intensity["L1d"], point.intensity["memory"]]
        axes.plot(ends, [point.gflops] * 2, color=colour, linewidth=0.8, alpha=0.6)
        axes.plot(ends[:1], [point.gflops], marker, color=colour)
        axes.plot(ends[1:], [point.gflops], marker, color=colour, markerfacecolor="white")
        lowest = max(np.log(point.gflops), lowest + 0.22)  # names that would meet are moved apart
        place = (ends[1] * 1.3, np.exp(lowest))
        axes.annotate(point.kernel, place, va="center", fontsize=8.5, color=readable(colour))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("flops per byte: filled in the first level, hollow in memory")
    axes.set_ylabel("GFLOP/s, one core, float32")
    plain_ticks(axes)
    shares = {point.kernel: point.gflops / bound(over, point)[0] for point in found}
    best = max(shares, key=shares.get)
    return (
        f"Kernels below the measured roofs of one core: {best} comes closest to its own lowest roof, at "
        f"{100 * shares[best]:.0f} % of it; the naive product reaches {100 * shares['matmul_naive']:.0f} %."
    )


def _merged(peaks: dict[str, float]) -> list[tuple[str, float]]:
    """Widths whose peaks are within a twentieth of each other under one name."""
    found: list[tuple[str, float]] = []
    for name, peak in peaks.items():
        if found and abs(peak / found[-1][1] - 1) < 0.05:
            found[-1] = (f"{found[-1][0]}, {name}", max(peak, found[-1][1]))
        else:
            found.append((name, peak))
    return found


def bandwidth(run: Run) -> pd.DataFrame:
    """GB/s of every kernel and working set, of counted bytes and of moved ones; `bytes` is that of all arrays."""
    found = summary(run, "memory", block="bandwidth")
    kernels = [find(name) for name in found["kernel"]]
    sizes = [k.bytes(int(n), 4) for k, n in zip(kernels, found["n"], strict=True)]
    moved = [k.moved(int(n), 4) for k, n in zip(kernels, found["n"], strict=True)]
    return found.assign(bytes=sizes, moved_gb_per_s=np.array(moved) / found["ns"])
