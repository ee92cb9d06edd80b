"""The figures that the original engine published, and the fits of its two laws: O(n^3) and O(n).

Published times come from another machine; their precision is half a step of the last digit.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D

from ..display.figure import Picture
from ..display.table import Table, or_missing
from ..errors import RunError, SampleError
from ..files import PUBLISHED
from ..kernels.catalog import find
from ..kernels.gemm.textbook import DEFAULT_TILE
from ..runs.queries import select, summary
from ..runs.store import Run
from ..scaling.figure import growth_figure
from ..scaling.fit import ScalingFit
from .grid_figures import scaling

ALONE = {"scope": "kernel", "dtype": "float32", "threads": 1}
PUBLISHED_TILE = {**ALONE, "tile": 64}
RMS = {**ALONE, "block": "float32 scaling"}
MATMUL_RANGE, RMS_RANGE = (64, 512), (512, 8192)
"""Sizes from and to over which S1 and S2 are judged."""
RMS_SIZES = (512, 1024, 2048)
PUBLISHED_COLOUR = "#B87F00"


def matmul_fit(run: Run, kernel: str = "matmul_tiled", dtype: str = "float32") -> ScalingFit:
    """How a matrix multiplication grows over the sizes 64 to 512, kernel scope, tile 64 where it has one."""
    tile = PUBLISHED_TILE["tile"] if "tile" in find(kernel).tuning else None
    conditions = {**ALONE, "dtype": dtype, "tile": tile, "block": f"{dtype} scaling"}
    return _scaling(run, "matmul", kernel, MATMUL_RANGE, **conditions)


def rms_fit(run: Run, kernel: str = "rms_norm_fast", dtype: str = "float32") -> ScalingFit:
    """How an RMS norm grows over the sizes 512 to 8192, kernel scope."""
    return _scaling(run, "rmsnorm", kernel, RMS_RANGE, **{**RMS, "dtype": dtype, "block": f"{dtype} scaling"})


def _scaling(run: Run, topic: str, *args: Any, **wanted: object) -> ScalingFit:
    """As `scaling`; SampleError for a run that varies a parameter which no recording varies."""
    try:
        return scaling(run, topic, *args, **wanted)
    except ValueError as problem:
        raise SampleError(f"run {run.id}: {problem}") from None


def growth_picture(run: Run, fit: ScalingFit, kernel: str, expected: float) -> Picture:
    """The figure of a fit, with the verdict's sentence as its title and the caches of the run's machine."""
    return growth_figure(fit, run.machine.data_caches(), f"{kernel} {fit.verdict(expected).sentence}")


def fitted(axes: Axes, fit: ScalingFit, unit: float) -> Line2D:
    """The fitted curve without its odd sizes, from the first size to the last."""
    times = [fit.curve(n) / unit for n in fit.sizes]
    label = f"fit: exponent {fit.exponent.value:.2f} [{fit.exponent.low:.2f}, {fit.exponent.high:.2f}]"
    return axes.plot(fit.sizes, times, color="black", linestyle="--", linewidth=1, label=label)[0]


def published_points(axes: Axes, published: pd.DataFrame, unit: float = 1.0) -> ErrorbarContainer:
    """The published times, with half a step of their last digit, in `unit` per microsecond."""
    look = {"fmt": "*", "markersize": 9, "color": PUBLISHED_COLOUR}
    times, half_steps = published["time_us"] * unit, published["half_step_us"] * unit
    return axes.errorbar(published["n"], times, half_steps, **look, label="as published (another machine)")


@or_missing
def published_table(run: Run) -> Table:
    """Published times with half a step of their last digit, and what the same kernel takes here from Python."""
    rows = []
    for kernel, n, time_us, half_step_us in published_figures()[["kernel", "n", "time_us", "half_step_us"]].to_numpy():
        topic, tile = ("matmul", DEFAULT_TILE) if kernel == "matmul_tiled" else ("rmsnorm", None)
        here = summary(run, topic, kernel=kernel, n=n, scope="call", dtype="float32", tile=tile).iloc[0]["ns"] / 1e3
        rows.append((kernel, str(n), f"{time_us:g} ± {half_step_us:g}", f"{here:.1f}", f"{time_us / here:.1f}"))
    return Table(("kernel", "n", "published (µs)", "here, called from Python (µs)", "published / here"), tuple(rows))


def published_figures(kernel: str | None = None) -> pd.DataFrame:
    """The published table, or one kernel's rows: kernel, n, time in microseconds and half a step of its last digit."""
    if not PUBLISHED.is_file():
        raise RunError("the published figures are only in a clone of the repository")
    return select(pd.read_csv(PUBLISHED), kernel=kernel)


def published_factor(published: pd.DataFrame, rows: pd.DataFrame) -> float:
    """Median of published over measured time at the sizes both have."""
    here_us = rows.set_index(rows["n"].astype(int))["ns"] / 1e3
    return float((published.set_index("n")["time_us"] / here_us).median())
