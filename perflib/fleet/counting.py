"""Count the misses of kernels in the caches of any machines, with all cores of this one or over the workers of a cluster.

    simulate({"small": caches, "large": others}, sizes=[128, 200, 256]).table()

Nothing is timed here, so workers may share a machine and a LocalCluster is right. The simulator runs without Python's
lock, so that threads of this process do as well and need nothing installed.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

from ..display.text import on_one_line
from ..kernels.caches import Cache
from ..kernels.checks import positive_integer
from ..models.cache_model import TILES
from ..models.geometry_counts import Counts, count_cell, counts_of
from ..models.simulator import TRACES


def simulate(
    geometries: Mapping[str, Sequence[Cache]],
    kernels: Iterable[str] = ("matmul_tiled",),
    sizes: Iterable[int] = (128, 200, 256),
    tiles: Iterable[int] = TILES,
    client: Any = None,
) -> Counts:
    """Simulate every kernel at every size with every tile in the caches of every geometry, nearest level first.

    client: a distributed.Client; by default as many threads as this machine has CPUs. Kernels: matrix multiplications of
    `models.simulator`. Raises ValueError for what cannot be simulated, GeometryError for a cache that cannot be.
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
    cells = list(product(caches, kernels, sizes, tiles))
    largest_first = sorted(range(len(cells)), key=lambda place: -cells[place][2])  # the last ones fill the gaps
    jobs = [(*cells[place][1:], caches[cells[place][0]]) for place in largest_first]
    counted = dict(zip(largest_first, _counted(jobs, client), strict=True))
    return counts_of(caches, [(*cell, *counted[place]) for place, cell in enumerate(cells)])


def _counted(jobs: Sequence[tuple], client: Any) -> Sequence[tuple[int, tuple[int, ...]]]:
    """What `count_cell` gives for each job, in their order."""
    if client is not None:
        return client.gather([client.submit(count_cell, *job, pure=False) for job in jobs])
    count_cell(jobs[-1][0], 8, 8, jobs[-1][-1])  # compiles once, before threads would all do
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(lambda job: count_cell(*job), jobs))
