"""What the caches should do, predicted from their geometry and held against what was measured.

    tile_limit(n, itemsize, cache)  largest square tile that a cache holds without its rows evicting each other
    tile_times(run, n)              measured times by tile at one size, paired by round
    default_losses(run)             what a tile of 64 costs against the best one, by size
    best_tile(n)                    -> BestTile: the model's tile here, and what the run says of it

Raises ValueError for a size below 1, `RunError` where a run is asked that does not exist.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .kernels.checks import positive_integer
from .kernels.ladder import DEFAULT_TILE
from .machine import Cache, machine
from .stats import Interval, SampleError, ratio_interval
from .store import Run, RunError
from .sweep import per_run_ns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BestTile", "best_tile", "default_losses", "tile_limit", "tile_times", "worst_ratio"]


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
        return f"{text}, and tile {DEFAULT_TILE} takes {loss.value:.2f} [{loss.low:.2f}, {loss.high:.2f}] times as long"


def tile_limit(n: int, itemsize: int, cache: Cache) -> int:
    """Largest T such that T rows of T items at a stride of n items leave one way of every set free.

    The tile of B is what the tiled product reuses; the free way is for the rows of A and C that stream by. Source: the
    self-interference of Lam, Rothberg and Wolf, ASPLOS 1991, counted set by set. Without a known number of ways the
    cache counts as fully associative.
    """
    positive_integer("n", n)
    ways = cache.ways or cache.size_bytes // (cache.line_bytes or 64)
    line = cache.line_bytes or 64
    sets = max(1, cache.size_bytes // (line * ways))
    limit = 1
    for tile in range(2, int(np.sqrt(cache.size_bytes / itemsize)) + 1):
        first = np.arange(tile) * n * itemsize // line
        last = (np.arange(tile) * n + tile - 1) * itemsize // line
        lines = np.unique(np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]))
        if np.bincount(lines % sets).max() > max(1, ways - 1):
            break
        limit = tile
    return limit


def tile_times(run: Run, n: int) -> "pd.DataFrame":
    """Nanoseconds per run of matmul_tiled, float32, kernel scope: a row per round, a column per tile recorded at n."""
    samples = per_run_ns(run.samples("tiles"))
    case = {"kernel": "matmul_tiled", "dtype": "float32", "scope": "kernel", "threads": 1, "n": n}
    here = samples[(samples[list(case)] == list(case.values())).all(axis=1)]
    times = here.pivot_table(index=["block", "round"], columns="tile", values="per_run_ns").dropna()
    if times.empty:
        raise RunError(f"run {run.id} has no round with all tiles of n = {n}")
    return times.rename(columns=int)


def worst_ratio(times: "pd.DataFrame", tile: int) -> Interval:
    """Time at `tile` / time at the best tile, the interval corrected for having looked at every tile."""
    others = [t for t in times.columns if t != tile]
    if not others:
        raise SampleError(f"times must be of more tiles than {tile} alone")
    ratios = [ratio_interval(times[tile], times[t], comparisons=len(others)) for t in others]
    worst = max(ratios, key=lambda r: r.value)
    return Interval(worst.value, max(r.low for r in ratios), max(r.high for r in ratios), worst.coverage)


def default_losses(run: Run) -> dict[int, Interval]:
    """Time at the default tile of 64 / time at the best other one, at every size where the run has both."""
    losses = {}
    for n in sorted({int(v) for v in run.samples("tiles")["n"].dropna()}):
        times = tile_times(run, n)
        if DEFAULT_TILE in times and len(times.columns) > 1:
            losses[n] = worst_ratio(times, DEFAULT_TILE)
    if not losses:
        raise RunError(f"run {run.id} has no size with tile {DEFAULT_TILE} and another one")
    return losses


def best_tile(n: int, dtype: str = "float32", run: Run | None = None) -> BestTile:
    """The model's tile for matmul_tiled on the machine of the run, or on this one if no run is given."""
    positive_integer("n", n)
    here = run.machine if run else machine()
    first = next((c for c in here.data_caches()), None)
    if first is None:
        model, reason = DEFAULT_TILE, "the default: this system does not report its caches"
    else:
        limit = tile_limit(n, np.dtype(dtype).itemsize, first)
        model, reason = min(limit, n), f"{limit} rows of {limit} fit into {first.name} without evicting each other"
    if run is None or not run.has("tiles") or dtype != "float32":
        return BestTile(n, model, reason)
    sizes = sorted({int(v) for v in run.samples("tiles")["n"].dropna()})
    nearest = min(sizes, key=lambda size: abs(np.log(size / n)))
    times = tile_times(run, nearest)
    loss = worst_ratio(times, DEFAULT_TILE) if DEFAULT_TILE in times and len(times.columns) > 1 else None
    return BestTile(n, model, reason, nearest, int(times.median().idxmin()), loss)
