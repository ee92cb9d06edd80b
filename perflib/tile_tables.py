"""The tables of tiles and blocks that notebook 03 shows.

    tile_table(run)         model's tile, best tile and the seed's tile at each size
    conflict_table(run)     sizes that are powers of two against padded ones
    block_table(run)        the blocks of the packed product by who chooses them, against the best

Where the run lacks a series, the standard sentence stands in the table's place.
"""

from .packing import against_best, block_times, conflicts, rules
from .store import Run
from .tables import Table, or_missing, text
from .tiling import best_tile, model_losses

__all__ = ["block_table", "conflict_table", "tile_table"]


@or_missing
def tile_table(run: Run) -> Table:
    """At each size: the model's tile, the best recorded one, and what the seed's 64 costs against it."""
    rows = []
    for n, found in model_losses(run).items():
        cost = "1 (it is the best)" if found.model == found.best else text(found.loss)
        default = best_tile(n, run=run).default_loss
        rows.append((str(n), str(found.model), str(found.best), cost, text(default) if default else "not recorded"))
    header = ("n", "model's tile", "best recorded tile", "time of the model's tile / best", "time of tile 64 / best")
    return Table(header, tuple(rows))


@or_missing
def conflict_table(run: Run) -> Table:
    """Time per flop at a power of two over that at a padded size, for tiles and for the top of the ladder."""
    rows = [(c.kernel, str(c.tile or "none"), str(c.power), str(c.padded), text(c.loss)) for c in conflicts(run)]
    header = ("kernel", "tile", "n, a power of two", "n, padded", "time per flop, power of two / padded")
    return Table(header, tuple(rows))


@or_missing
def block_table(run: Run) -> Table:
    """MC and KC of each rule, and the time they take against the best of all other recorded blocks."""
    n, times = block_times(run)
    best = tuple(int(b) for b in times.median().idxmin())
    chosen = {name: blocks for name, blocks in rules(run).items() if blocks in times}
    rows = [(name, *map(str, blocks), text(against_best(times, blocks), 3)) for name, blocks in chosen.items()]
    rows.append(("best of all recorded", *map(str, best), "1"))
    return Table(("who chooses", "MC (rows)", "KC (steps)", f"time / time of the best others, n = {n}"), tuple(rows))
