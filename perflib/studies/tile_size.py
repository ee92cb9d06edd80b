"""The study of notebook 03-tile-size: which tile and which blocks are fast, what a model chooses, and why."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from ..display.figure import LOOKS, curve, label_ends, level, log_axes, name_above, picture, share_map
from ..display.table import Table, or_missing
from ..display.text import text
from ..errors import RunError
from ..kernels.caches import FLOAT32_BYTES, reported_caches
from ..kernels.catalog import find
from ..kernels.gemm.block_sizes import Blocks, rival_blocks
from ..kernels.gemm.blocked import default_blocks
from ..kernels.gemm.textbook import DEFAULT_TILE
from ..models.block_choice import CONFLICTS, against_best, block_times, conflicts, rules
from ..models.cache_model import TILES, tile_limit
from ..models.tile_choice import best_tile, default_losses, model_losses, tile_times
from ..models.time_model import explain, held_out, miss_table
from ..runs.grid import GridPoint
from ..runs.queries import topic_prior
from ..runs.recorder import Block
from ..runs.store import Run
from .drawing import error_bars

MODEL_COLOUR = "#D55E00"
HALO = [withStroke(linewidth=3, foreground="white")]
LOW = 0.2  # of the height of a cell: where its number stands if a mark may lie in the middle
MARKS = "oDs^"
MOST_LOSS = 1.05  # time of tile 64 over that of the best tile, from which on claim S5 fails


def tile_blocks(quick: bool) -> list[Block]:
    sizes = (64, 96, 128, 192, 256, 320, 384, 448, 512, 513, 528, 768, 1024, 1040)
    tiled, tiles, blocks = find("matmul_tiled"), TILES, []
    if quick:
        sizes, tiles = (64, 128, 256, 384, 512), (16, 32, 64, 96)
    for n in sizes:
        fitting = tuple(GridPoint(tiled, n, values={"tile": t}) for t in tiles if t <= n)
        budget_s = max(0.4, 1e-7 * n**3 * len(fitting) / 11)
        blocks.append(Block("tiles", f"n={n}", fitting, budget_s, least_rounds=9))  # for a tile against all others
    return blocks


def packing_block(quick: bool) -> Block:
    """The packed matmul over MC x KC, among them the blocks of our model and those of other rules."""
    n, packed, float32 = 768 if quick else 1536, find("matmul_packed"), np.dtype("float32")
    ours, rivals = default_blocks(float32), rival_blocks(float32, reported_caches())
    mcs, kcs = (24, 48, 96, 192, 384, 768), (64, 128, 256, 512, 768, 1024, 1536)
    pairs = product(mcs[::2], kcs[::2]) if quick else product(mcs, kcs)
    blocks = dict.fromkeys([ours, *rivals.values(), *(Blocks(mc, kc, ours.nc) for mc, kc in pairs)])
    return Block("packing", f"n={n}", tuple(GridPoint(packed, n, values=b._asdict()) for b in blocks), 1 if quick else 30)


def conflict_block(quick: bool) -> Block:
    """Two sizes that hardly differ, one a power of two: tiles and the fastest variant, in the same rounds."""
    sizes = (512, 528) if quick else (1024, 1040)
    tiled, top = (find(name) for name in CONFLICTS)
    cells = [GridPoint(tiled, n, values={"tile": t}, placement="mine") for n in sizes for t in (48, 64)]
    cells += [GridPoint(top, n, placement="mine") for n in sizes]
    return Block("conflicts", "leading dimension", tuple(cells), 1, least_rounds=9)


@or_missing
def tile_table(run: Run) -> Table:
    """At each size: the model's tile, the best recorded one, and what tile 64 costs against it."""
    rows = []
    for n, choice in model_losses(run).items():
        cost = "1 (it is the best)" if choice.model == choice.best else text(choice.loss)
        default = best_tile(n, run=run).default_loss
        rows.append((str(n), str(choice.model), str(choice.best), cost, text(default) if default else "not recorded"))
    header = ("n", "model's tile", "best recorded tile", "time of the model's tile / best", "time of tile 64 / best")
    return Table(header, tuple(rows))


@or_missing
def conflict_table(run: Run) -> Table:
    """Time per flop at a power of two over that at a padded size, for tiles and for the fastest variant."""
    rows = [(c.kernel, str(c.tile or "none"), str(c.power), str(c.padded), text(c.loss)) for c in conflicts(run)]
    header = ("kernel", "tile", "n, a power of two", "n, padded", "time per flop, power of two / padded")
    return Table(header, tuple(rows))


@or_missing
def block_table(run: Run) -> Table:
    """MC and KC of each rule, and the time they take against the best of all other recorded blocks."""
    (n, times), prior = block_times(run), topic_prior(run, "packing")
    best = tuple(int(b) for b in times.median().idxmin())
    choices = [(name, blocks) for name, blocks in rules(run).items() if blocks in times]
    rows = [(name, *map(str, blocks), text(against_best(times, blocks, prior), 3)) for name, blocks in choices]
    rows.append(("best of all recorded", *map(str, best), "1"))
    return Table(("who chooses", "MC (rows)", "KC (steps)", f"time / time of the best others, n = {n}"), tuple(rows))


@picture
def tile_map(axes: Axes, run: Run) -> str:
    """Speed of each tile as a fraction of the best one at its size; the model's tile is framed, limits are lines."""
    sizes = sorted({int(n) for n in run.samples("tiles")["n"].dropna()})
    medians = {n: tile_times(run, n).median() for n in sizes}
    tiles = sorted({t for m in medians.values() for t in m.index})
    if DEFAULT_TILE not in tiles:
        raise RunError(f"run {run.id} has no tile {DEFAULT_TILE}")
    share = np.array([[medians[n].min() / medians[n].get(t, np.nan) for n in sizes] for t in tiles])
    share_map(axes, share, sizes, tiles, "speed / speed of the best tile at this n")
    for n, choice in model_losses(run).items():
        _frame(axes, sizes.index(n), tiles.index(choice.model), 0.06, edgecolor=MODEL_COLOUR, linewidth=2)
    _limits(axes, run, sizes, tiles)
    axes.set(xlabel="n, the leading dimension (float32)", ylabel="tile")
    default = share[tiles.index(DEFAULT_TILE)]
    worst = int(np.nanargmin(default))
    return (
        f"Heat map of tile against n as a fraction of the best tile: tile 64 falls to {np.nanmin(default):.2f} at "
        f"n = {sizes[worst]}; frames mark the model's choice, lines the tiles that the first cache holds."
    )


def _frame(axes: Axes, column: int, row: int, inset: float, **look: object) -> None:
    """A frame around a cell of a map."""
    size = 1 - 2 * inset
    axes.add_patch(Rectangle((column + inset, row + inset), size, size, fill=False, **look))


def _limits(axes: Axes, run: Run, sizes: Sequence[int], tiles: Sequence[int]) -> None:
    """The largest tiles that fill the first cache: one of three matrices, one, and one whose rows share sets at this n."""
    first = run.machine.data_caches()[0]
    whole = np.sqrt(first.size_bytes / FLOAT32_BYTES)
    lines = (
        (f"one tile fills {first.name}", [whole] * len(sizes), ":"),
        ("three tiles fill it", [whole / np.sqrt(3)] * len(sizes), "--"),
        ("rows of a tile evict each other above", [tile_limit(n, FLOAT32_BYTES, first) for n in sizes], "-"),
    )
    for label, limits, style in lines:
        look = {"label": label, "color": "black", "linestyle": style, "path_effects": HALO}
        axes.stairs(np.searchsorted(tiles, limits, side="right"), np.arange(len(sizes) + 1), baseline=None, **look)
    name_above(axes, columns=3)


def _places(values: Sequence[float], steps: Sequence[float]) -> np.ndarray:
    """Where values lie on an axis whose cells are these steps, between the middles by their logarithms."""
    return np.interp(np.log(values), np.log(steps), np.arange(len(steps)) + 0.5)


@picture
def tile_losses(axes: Axes, run: Run) -> str:
    """What a tile of 64 costs against the best one, per size, with intervals."""
    sizes, losses = zip(*default_losses(run).items(), strict=True)
    medians, places = np.array([loss.value for loss in losses]), np.arange(len(sizes))
    axes.errorbar(places, medians, error_bars(losses), fmt="s", color=LOOKS["matmul_tiled"][1])
    level(axes, MOST_LOSS, f"claim S5: below {MOST_LOSS}")
    axes.set_xticks(places, sizes)
    axes.set(xlabel="n, the leading dimension (float32)", ylabel="time at tile 64 / time at the best tile")
    worst = int(medians.argmax())
    return (
        f"Tile 64 against the best tile at each n: the loss goes up to {medians[worst]:.2f} at n = {sizes[worst]}, and "
        f"{int(sum(loss.high < MOST_LOSS for loss in losses))} of {len(sizes)} sizes stay surely below {MOST_LOSS}."
    )


@picture
def block_map(axes: Axes, run: Run) -> str:
    """Speed of the packed matmul over MC and KC as a fraction of the best, and the choices of four rules."""
    n, times = block_times(run)
    shares = times.median().min() / times.median()
    grid = shares.unstack("kc").sort_index().dropna(thresh=3).dropna(axis="columns", thresh=3)
    if grid.empty:
        raise RunError(f"run {run.id} has fewer than three blocks of the packed matrix multiplication in a row or column")
    cells, least = grid.to_numpy(), np.floor(10 * np.nanmin(grid)) / 10
    share_map(axes, cells, list(grid.columns), list(grid.index), "speed / speed of the best blocks", least, LOW)
    row, column = np.unravel_index(np.nanargmax(cells), cells.shape)
    _frame(axes, column, row, 0.04, edgecolor="black", linewidth=2.5)
    marks, look = [], {"color": MODEL_COLOUR, "linestyle": "", "markersize": 8, "markeredgecolor": "white", "zorder": 3}
    for (name, (mc, kc)), marker in zip(rules(run).items(), MARKS, strict=False):
        place = _places([kc], list(grid.columns))[0], _places([mc], list(grid.index))[0]
        label = name + (f" {shares[mc, kc]:.2f}" if (mc, kc) in shares else "")
        marks += axes.plot(*place, marker=marker, label=label, **look)
    name_above(axes, marks)
    axes.set(xlabel="KC, steps of k in a block", ylabel=f"MC, rows of A in a block (n = {n}, float32)")
    return (
        f"Heat map of MC against KC: blocks keep between {np.nanmin(cells):.2f} and 1 of the best speed; a frame "
        f"marks the best on the grid, and the rules come to {', '.join(mark.get_label() for mark in marks)}."
    )


@picture
def explained(axes: Axes, run: Run) -> str:
    """Measured points, and dashed the time that a line through all other sizes predicts from what the loops do."""
    table = miss_table(run)
    fit, predicted = explain(table), held_out(table)
    for name, rows in table.assign(predicted=predicted).sort_values("n").groupby("kernel", sort=False):
        curve(axes, name, rows["n"], rows["ns"] / rows["flops"], line="")
        axes.plot(rows["n"], rows["predicted"] / rows["flops"], color=LOOKS[name][1], linestyle="--", linewidth=1)
    log_axes(axes, table["n"].unique(), "n (matrices n × n, float32)", "time per flop (ns); dashed: predicted")
    label_ends(axes)
    return (
        f"Time per flop of {table['kernel'].nunique()} variants over {fit.sizes} sizes: flops, loops and simulated misses "
        f"explain {100 * fit.r_squared:.0f} % of its logarithm's variance, and sizes left out are predicted within "
        f"{100 * fit.held_out_error:.1f} % on average, {100 * fit.without_misses:.1f} % without misses."
    )
