"""Tell from simulated misses which tile suits which caches: a row for each geometry, kernel, size and tile.

    load_counts().best()

`data/geometries/misses.csv` holds the counts of fifty geometries, so that they are read in a moment; counting them again
gives the same numbers on every machine. `perflib.fleet.simulate` counts any others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pandas as pd

from ..display.table import Table
from ..display.text import size_text
from ..errors import RunError
from ..files import GEOMETRIES
from ..kernels.caches import FLOAT32_BYTES, Cache
from .cache_model import MISS_COSTS, START, model_tile
from .simulator import simulate

COLUMNS = ("geometry", "kernel", "n", "tile", "accesses", "misses")
FIRST_LEVELS = tuple(
    (kib << 10, ways)
    for kib, ways in ((16, 4), (24, 6), (32, 2), (32, 4), (32, 8), (48, 12), (64, 2), (64, 4), (64, 8), (128, 8))
)
SECOND_LEVELS = tuple((kib << 10, ways) for kib, ways in ((256, 4), (512, 8), (1024, 8), (1280, 20), (2048, 16)))
SIZES = (96, 128, 192, 200, 256)


def levels(l1: tuple[int, int], l2: tuple[int, int]) -> tuple[Cache, Cache]:
    """Two levels of so many bytes and ways, with lines of 64 bytes."""
    kinds = zip((1, 2), ("Data", "Unified"), (l1, l2), strict=True)
    return tuple(Cache(level, kind, size, 64, ways, size // 64 // ways) for level, kind, (size, ways) in kinds)


def name_of(caches: Sequence[Cache]) -> str:
    """`32 KiB 8-way, 1 MiB 8-way`: sizes and ways, the nearest level first."""
    return ", ".join(f"{size_text(cache.size_bytes)} {cache.ways}-way" for cache in caches)


FIFTY = {name_of(caches): caches for caches in (levels(*pair) for pair in product(FIRST_LEVELS, SECOND_LEVELS))}
"""Geometries of first and second levels as CPUs since 2010 have them, each with each."""


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted: a row for each geometry, kernel, n and tile, in `frame`."""

    geometries: Mapping[str, tuple[Cache, ...]]
    frame: pd.DataFrame
    """`misses` is a tuple, nearest level first; `cost` is in multiply-adds for each of n^3, as in `cache_model`."""

    def best(self) -> pd.DataFrame:
        """The cheapest tile of each geometry, kernel and n, and the model's; what 64 and the model's cost beside it."""
        rows = []
        for (name, kernel, n), group in self.frame.groupby(["geometry", "kernel", "n"], sort=False):
            costs = group.set_index("tile")["cost"] / group["cost"].min()
            model = model_tile(int(n), FLOAT32_BYTES, self.geometries[name], [int(tile) for tile in costs.index])
            losses = (float(costs.get(tile, float("nan"))) for tile in (64, model))
            rows.append((name, kernel, int(n), int(costs.idxmin()), model, *losses))
        columns = ["geometry", "kernel", "n", "best", "model", "loss_of_64", "loss_of_model"]
        return pd.DataFrame(rows, columns=columns)

    def table(self) -> Table:
        """The same as text."""
        rows = ((*map(str, row[:5]), *(f"{loss:.2f}" for loss in row[5:])) for row in self.best().itertuples(index=False))
        header = ("geometry", "kernel", "n", "best tile", "model's tile", "cost of 64 / best", "cost of model's / best")
        return Table(header, tuple(rows))

    def __repr__(self) -> str:
        return repr(self.table())

    def save(self, file: Path) -> None:
        """Write geometry, kernel, n, tile, accesses and misses as CSV, the misses of a level with a space between."""
        misses = [" ".join(map(str, one)) for one in self.frame["misses"]]
        self.frame.assign(misses=misses)[[*COLUMNS]].to_csv(file, index=False, lineterminator="\n")


def count_cell(kernel: str, n: int, tile: int, caches: Sequence[Cache]) -> tuple[int, tuple[int, ...]]:
    """Accesses, and misses of each level, of one multiplication of n x n matrices."""
    counted = simulate(kernel, (n, n, n), caches, tile)
    return counted.accesses, counted.misses


def counts_of(geometries: Mapping[str, tuple[Cache, ...]], rows: Sequence[tuple]) -> Counts:
    """Counts from rows of COLUMNS, with the cost of misses and of the starts of inner loops."""
    frame = pd.DataFrame(rows, columns=[*COLUMNS])
    missed = [sum(cost * number for cost, number in zip(MISS_COSTS, one, strict=False)) for one in frame["misses"]]
    starts = [-(-n // tile) / n for n, tile in zip(frame["n"], frame["tile"], strict=True)]
    return Counts(geometries, frame.assign(cost=1 + pd.Series(missed) / frame["n"] ** 3 + START * pd.Series(starts)))


def load_counts(file: Path = GEOMETRIES) -> Counts:
    """The committed counts of FIFTY geometries; RunError where they are not there or not whole."""
    try:
        frame = pd.read_csv(file)
        if list(frame.columns) != [*COLUMNS] or set(frame["geometry"]) != set(FIFTY):
            raise ValueError(f"must have {', '.join(COLUMNS)} of {len(FIFTY)} geometries")
        misses = [tuple(map(int, text.split())) for text in frame["misses"]]
    except (OSError, ValueError, AttributeError) as problem:
        raise RunError(f"{file}: cannot be read: {problem}") from None
    return counts_of(FIFTY, list(frame.assign(misses=misses).itertuples(index=False, name=None)))
