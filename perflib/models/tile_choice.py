"""Choose a tile by the model of the caches, and compare it with the times of a run.

Raises ValueError for a size below 1, `RunError` for a run that does not exist.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import RunError, SampleError
from ..hardware.facts import machine
from ..kernels.checks import positive_integer
from ..kernels.gemm.textbook import DEFAULT_TILE
from ..runs.queries import paired, select, topic_prior
from ..runs.store import Run
from ..runs.sweep import per_run_ns
from ..stats import Interval, Prior
from .cache_model import TILES, model_tile, tile_limit


@dataclass(frozen=True)
class BestTile:
    """The model's tile for matmul_tiled at leading dimension n, and the evidence of a run."""

    n: int
    model: int
    reason: str
    recorded_n: int | None = None
    """The recorded size nearest to n that the evidence is from; None without evidence."""
    measured: int | None = None
    default_loss: Interval | None = None
    """Time at the default tile of 64 / time at the best one."""

    def __str__(self) -> str:
        text = f"n = {self.n}: the model says tile {self.model} ({self.reason})"
        if self.measured is None:
            return text + "; no recorded tiles to compare with"
        text += f"; measured best at n = {self.recorded_n}: tile {self.measured}"
        if (loss := self.default_loss) is None:
            return text
        return f"{text}, and tile {DEFAULT_TILE} takes {loss:.2f} times as long"

    __repr__ = __str__


def tile_times(run: Run, n: int) -> pd.DataFrame:
    """Nanoseconds per run of matmul_tiled, float32, kernel scope: a row per round, a column per tile recorded at n."""
    samples = per_run_ns(run.samples("tiles"))
    here = select(samples, kernel="matmul_tiled", dtype="float32", scope="kernel", threads=1, n=n)
    times = here.pivot_table(index=["block", "process", "round"], columns="tile", values="per_run_ns").dropna()
    if times.empty:
        raise RunError(f"run {run.id} has no round with all tiles of n = {n}")
    return times.rename(columns=int)


def worst_ratio(times: pd.DataFrame, tile: int, prior: Prior | None = None) -> Interval:
    """Time at `tile` / time at the best tile, the interval corrected for having looked at every tile.

    prior: what the topic says of the variance between processes.
    """
    if not (others := [t for t in times.columns if t != tile]):
        raise SampleError(f"times must be of more tiles than {tile} alone")
    ratios = [paired(times[tile], times[t], prior, len(others)) for t in others]
    worst = max(ratios, key=lambda r: r.value)
    return Interval(worst.value, max(r.low for r in ratios), max(r.high for r in ratios), worst.coverage)


def default_losses(run: Run) -> dict[int, Interval]:
    """Time at the default tile of 64 / time at the best other one, at every size where the run has both."""
    by_size = {n: times for n, times in _times_by_size(run) if DEFAULT_TILE in times}
    losses = {n: worst_ratio(times, DEFAULT_TILE, topic_prior(run, "tiles")) for n, times in by_size.items()}
    if not losses:
        raise RunError(f"run {run.id} has no size with tile {DEFAULT_TILE} and another one")
    return losses


@dataclass(frozen=True)
class ModelLoss:
    """What trusting the model costs at one size, among the tiles that were recorded there."""

    model: int
    best: int
    loss: Interval
    """Time at the model's tile / time at the best other one: below 1 where the model's is the best."""


def model_losses(run: Run, dtype: str = "float32") -> dict[int, ModelLoss]:
    """The model's choice among the recorded tiles against the best of them, at every size with two tiles or more."""
    caches, itemsize = run.machine.data_caches(), np.dtype(dtype).itemsize
    if not caches:
        raise RunError(f"run {run.id} does not say what caches its machine has")
    losses = {}
    for n, times in _times_by_size(run):
        tile = model_tile(n, itemsize, caches, [int(t) for t in times.columns])
        losses[n] = ModelLoss(tile, int(times.median().idxmin()), worst_ratio(times, tile, topic_prior(run, "tiles")))
    if not losses:
        raise RunError(f"run {run.id} has no size with two tiles")
    return losses


def _sizes(run: Run) -> list[int]:
    return sorted({int(v) for v in run.samples("tiles")["n"].dropna()})


def _times_by_size(run: Run) -> Iterator[tuple[int, pd.DataFrame]]:
    """Sizes at which the run has more than one tile, and their times."""
    times = ((n, tile_times(run, n)) for n in _sizes(run))
    return ((n, by_tile) for n, by_tile in times if len(by_tile.columns) > 1)


def best_tile(n: int, dtype: str = "float32", run: Run | None = None) -> BestTile:
    """The model's tile for matmul_tiled on the machine of the run, or on this one if no run is given."""
    positive_integer("n", n)
    here = run.machine if run else machine()
    caches, itemsize = here.data_caches(), np.dtype(dtype).itemsize
    if not caches:
        model, reason = min(DEFAULT_TILE, n), "the default: this system does not report its caches"
    else:
        model, limit = model_tile(n, itemsize, caches), tile_limit(n, itemsize, caches[0])
        reason = f"cheapest of {len(TILES)}; {limit} rows of {limit} fit into {caches[0].name} without evicting each other"
    if run is None or not run.has("tiles") or dtype != "float32":
        return BestTile(n, model, reason)
    nearest = min(_sizes(run), key=lambda size: abs(np.log(size / n)))
    times = tile_times(run, nearest)
    has_rivals = DEFAULT_TILE in times and len(times.columns) > 1
    loss = worst_ratio(times, DEFAULT_TILE, topic_prior(run, "tiles")) if has_rivals else None
    return BestTile(n, model, reason, nearest, int(times.median().idxmin()), loss)
