"""The figures that the original engine published, and the fits of its two laws: O(n^3) and O(n).

Published times come from another machine; their precision is half a step of the last digit.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D

from ..display.table import Table, or_missing
from ..errors import RunError
from ..files import PUBLISHED
from ..kernels.catalog import find
from ..kernels.gemm.textbook import DEFAULT_TILE
from ..runs.queries import by_size, summary
from ..runs.store import Run
from ..scaling import ScalingFit, fit_scaling

ALONE = {"scope": "kernel", "dtype": "float32", "threads": 1}
PUBLISHED_TILE = {**ALONE, "tile": 64}
RMS = {**ALONE, "block": "float32 scaling"}
RMS_SIZES = (512, 1024, 2048)


def matmul_fit(run: Run, kernel: str = "matmul_tiled") -> ScalingFit:
    """Exponent of a matrix product over the sizes 64 to 512, float32, kernel scope, tile 64 where it has one."""
    wanted = PUBLISHED_TILE if "tile" in find(kernel).tuning else {**PUBLISHED_TILE, "tile": None}
    return _fit(run, "matmul", kernel, 64, 512, {**wanted, "block": "float32 scaling"})


def rms_fit(run: Run, kernel: str = "rms_norm_fast") -> ScalingFit:
    """Exponent of an RMS norm over the sizes 512 to 8192, float32, kernel scope."""
    return _fit(run, "rmsnorm", kernel, 512, 8192, RMS)


def _fit(run: Run, topic: str, kernel: str, least: int, most: int, wanted: dict) -> ScalingFit:
    sizes, times = by_size(run, topic, kernel, **wanted)
    inside = [i for i, n in enumerate(sizes) if least <= n <= most]
    if len(inside) < 8:
        raise RunError(f"{kernel} has {len(inside)} sizes in {least} to {most}, 8 are needed")
    return fit_scaling([sizes[i] for i in inside], times[:, inside])


PUBLISHED_COLOUR = "#E69F00"


def fitted(axes: Axes, fit: ScalingFit, unit: float) -> Line2D:
    """The fitted line over the sizes that it was fitted to, with its slope in the legend."""
    ends = np.array([fit.sizes[0], fit.sizes[-1]])
    label = f"fit: slope {fit.exponent.value:.2f} [{fit.exponent.low:.2f}, {fit.exponent.high:.2f}]"
    times = [fit.predict_ns(n) / unit for n in ends]
    return axes.plot(ends, times, color="black", linestyle="--", linewidth=1, label=label)[0]


def published_points(axes: Axes, seed: pd.DataFrame, unit: float = 1.0) -> ErrorbarContainer:
    """The published times, with half a step of their last digit, in `unit` per microsecond."""
    reach = seed["half_step_us"] * unit
    return axes.errorbar(
        seed["n"],
        seed["time_us"] * unit,
        reach,
        fmt="*",
        markersize=9,
        color=PUBLISHED_COLOUR,
        capsize=3,
        label="published by the seed (another machine)",
    )


@or_missing
def published_table(run: Run) -> Table:
    """Published times with half a step of their last digit, and what the same kernel takes here from Python."""
    rows = []
    for _, seed in published_figures().iterrows():
        topic, tile = ("matmul", DEFAULT_TILE) if seed["kernel"] == "matmul_tiled" else ("rmsnorm", None)
        here = summary(run, topic, kernel=seed["kernel"], n=seed["n"], scope="call", dtype="float32", tile=tile).iloc[0]
        published = f"{seed['time_us']:g} ± {seed['half_step_us']:g}"
        factor = seed["time_us"] * 1e3 / here["ns"]
        rows.append((seed["kernel"], str(seed["n"]), published, f"{here['ns'] / 1e3:.1f}", f"{factor:.1f}"))
    return Table(("kernel", "n", "published (µs)", "here, called from Python (µs)", "published / here"), tuple(rows))


def published_figures() -> pd.DataFrame:
    """The published table: kernel, n, time in microseconds and half a step of its last digit."""
    if not PUBLISHED.is_file():
        raise RunError("the published figures are only in a clone of the repository")
    return pd.read_csv(PUBLISHED)


def published_factor(seed, rows) -> float:
    """Median of published over measured time at the sizes both have."""
    mine = rows.set_index(rows["n"].astype(int))["ns"]
    return float(np.median([t * 1e3 / mine[n] for n, t in zip(seed["n"], seed["time_us"], strict=True) if n in mine]))
