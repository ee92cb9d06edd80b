"""The figure of the roofs.

roofs(run)      kernels of a run below the measured ceilings of its machine
"""

import numpy as np
from matplotlib.axes import Axes

from .drawing import picture, plain_ticks, readable
from .plot_memory import COLOURS, MARKERS
from .roofline import bound, ceilings, points, roof
from .store import Run

__all__ = ["roofs"]


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
