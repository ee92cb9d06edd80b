"""Count the misses of kernels in the caches of any machines, over the workers of a cluster.

    simulate({"small": caches, "large": others}, sizes=[128, 200, 256]).table()

Nothing is timed here, so workers may share a machine: without a client it starts a LocalCluster and ends it again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..display.table import Table
from ..display.text import on_one_line
from ..errors import FleetError
from ..kernels.caches import FLOAT32_BYTES, Cache
from ..kernels.checks import positive_integer
from ..models.cache_model import MISS_COSTS, START, TILES, model_tile
from ..models.simulator import TRACES
from ..models.simulator import simulate as count
from .addresses import WITHOUT

COLUMNS = ("geometry", "kernel", "n", "tile", "accesses", "misses", "cost")


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted: a row for each geometry, kernel, n and tile, in `frame`."""

    geometries: Mapping[str, tuple[Cache, ...]]
    frame: pd.DataFrame
    """`misses` is a tuple, nearest level first; `cost` is in multiply-adds for each of n^3, as in `models.cache_model`."""

    def best(self) -> pd.DataFrame:
        """The cheapest tile of each geometry, kernel and n, the model's, and what tile 64 costs beside the cheapest."""
        rows = []
        for (name, kernel, n), group in self.frame.groupby(["geometry", "kernel", "n"], sort=False):
            costs = group.set_index("tile")["cost"]
            model = model_tile(int(n), FLOAT32_BYTES, self.geometries[name], [int(tile) for tile in costs.index])
            loss = float(costs[64] / costs.min()) if 64 in costs.index else float("nan")
            rows.append((name, kernel, int(n), int(costs.idxmin()), model, loss))
        return pd.DataFrame(rows, columns=["geometry", "kernel", "n", "best", "model", "loss_of_64"])

    def table(self) -> Table:
        """The same as text."""
        rows = ((*map(str, row[:5]), f"{row[5]:.2f}") for row in self.best().itertuples(index=False, name=None))
        return Table(("geometry", "kernel", "n", "best tile", "model's tile", "cost of 64 / best"), tuple(rows))

    def __repr__(self) -> str:
        return repr(self.table())


def simulate(
    geometries: Mapping[str, Sequence[Cache]],
    kernels: Iterable[str] = ("matmul_tiled",),
    sizes: Iterable[int] = (128, 200, 256),
    tiles: Iterable[int] = TILES,
    client: Any = None,
) -> Counts:
    """Simulate every kernel at every size with every tile in the caches of every geometry, nearest level first.

    client: a distributed.Client; by default a LocalCluster of as many workers as there are CPUs. Kernels: matrix
    multiplications of `models.simulator`. Raises ValueError for what cannot be simulated, GeometryError for a cache that
    cannot be, FleetError without distributed.
    """
    kernels = list(kernels)
    if unknown := [name for name in kernels if name not in TRACES or not name.startswith("matmul")]:
        known = ", ".join(name for name in TRACES if name.startswith("matmul"))
        raise ValueError(f"kernels must be among {known}; got {on_one_line(unknown[0])!r}")
    caches = {on_one_line(name): tuple(levels) for name, levels in geometries.items()}
    sizes, tiles = [positive_integer("sizes", n) for n in sizes], [positive_integer("tiles", tile) for tile in tiles]
    for argument, several in {"geometries": caches, "kernels": kernels, "sizes": sizes, "tiles": tiles}.items():
        if not several:
            raise ValueError(f"{argument} must have at least one, got none")
    cells = [(g, name, n, tile) for n in sorted(sizes, reverse=True) for g in caches for name in kernels for tile in tiles]
    with _workers(client) as workers:
        jobs = [workers.submit(_count, *cell[1:], caches[cell[0]], pure=False) for cell in cells]  # the largest first
        rows = [(*cell, *counted) for cell, counted in zip(cells, workers.gather(jobs), strict=True)]
    order = {
        cell: place
        for place, cell in enumerate((g, k, n, t) for g in caches for k in kernels for n in sizes for t in tiles)
    }
    return Counts(caches, pd.DataFrame(sorted(rows, key=lambda row: order[row[:4]]), columns=COLUMNS))


def _count(kernel: str, n: int, tile: int, caches: Sequence[Cache]) -> tuple[int, tuple[int, ...], float]:
    """On a worker: accesses, misses, and the cost of misses and of starts of inner loops for each multiply-add."""
    counted = count(kernel, (n, n, n), caches, tile)
    missed = sum(cost * misses for cost, misses in zip(MISS_COSTS, counted.misses, strict=False))
    return counted.accesses, counted.misses, 1 + missed / n**3 + START * -(-n // tile) / n


@contextmanager
def _workers(client: Any) -> Iterator[Any]:
    if client is not None:
        yield client
        return
    try:
        from distributed import Client, LocalCluster  # an extra, which only a fleet needs
    except ImportError:
        raise FleetError(WITHOUT) from None
    settings = {"dashboard_address": None, "scheduler_kwargs": {"dashboard_address": ":0"}}  # another cluster may have 8787
    with LocalCluster(threads_per_worker=1, **settings) as local, Client(local, set_as_default=False) as own:
        yield own
