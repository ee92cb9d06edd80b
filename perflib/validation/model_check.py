"""Compare the models of the caches with a run: time lost by trusting them, time explained by them, beside the targets.

A figure whose series the run lacks, or has too little of, stays open and says why.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import LACKS
from ..models.block_choice import block_loss, conflicts
from ..models.tile_choice import model_losses
from ..models.time_model import explain, miss_table
from ..runs.store import Run
from .scorecard import Score, Scorecard, Target, at_least, at_most

FEWEST_SIZES = 12  # below it says little that a size was left out


@dataclass(frozen=True)
class Trust(Scorecard):
    """All figures of a run."""

    unmeasured = "open"
    run_id: str
    figures: tuple[Score, ...]

    def scores(self) -> tuple[Score, ...]:
        """In the order of `JUDGES`."""
        return self.figures

    def __str__(self) -> str:
        return f"Models of the caches, run {self.run_id}\n\n{self.table()!r}"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def judge_models(run: Run) -> Trust:
    """Judge the models on a run, in the order of `JUDGES`."""
    return Trust(run.id, tuple(figure for what, judge in JUDGES.items() for figure in _judge(run, what, judge)))


def _judge(run: Run, what: str, judge: Callable[[Run], list[Score]]) -> list[Score]:
    """Its figures, or an open one where the run cannot tell."""
    try:
        return judge(run)
    except LACKS as problem:
        return [Score(what, str(problem), "", None)]


def lost(what: str, ratio: float, most: float, among: str) -> Score:
    """Time at the model's choice / time at the best one, of which at most `most` may be lost."""
    return Target(f"<= {100 * (most - 1):.0f} %", high=most).score(what, ratio, f"{100 * (ratio - 1):.1f} % ({among})")


TILE = "time lost by the model's tile"


def _tiles(run: Run) -> list[Score]:
    """Where the model's tile is the best, nothing is lost, and nothing gained either."""
    losses = {n: max(1.0, tile.loss.value) for n, tile in model_losses(run).items()}
    worst = max(losses, key=losses.get)
    median = lost(f"{TILE}, median", float(np.median(list(losses.values()))), 1.05, f"{len(losses)} sizes")
    return [median, lost(f"{TILE}, worst", losses[worst], 1.15, f"n = {worst}")]


TIME = "time of the variants by flops, loops and misses"


def _explain_time(run: Run) -> list[Score]:
    """Of every variant, over at least `FEWEST_SIZES` sizes; beside it what the same line says without misses."""
    fit = explain(miss_table(run))
    enough = fit.sizes >= FEWEST_SIZES
    sizes = f"{fit.sizes} sizes" + ("" if enough else f" of {FEWEST_SIZES} at least")
    r_squared, error = (fit.r_squared, fit.held_out_error) if enough else (None, None)
    errors = f"{100 * fit.held_out_error:.1f} % ({100 * fit.without_misses:.1f} % without misses)"
    return [
        at_least(0.9, ">= {:g}").score(f"{TIME}, R^2", r_squared, f"{fit.r_squared:.3f} ({sizes})"),
        Target("<= 20 %", high=0.2).score(f"{TIME}, held-out error", error, errors),
    ]


BLOCKS = "time lost by the model's blocks"


def _blocks(run: Run) -> list[Score]:
    choice = block_loss(run)
    model, best = (f"{mc} x {kc}" for mc, kc in (choice.model, choice.best))
    return [lost(BLOCKS, max(choice.loss.value, 1.0), 1.03, f"n = {choice.n}, MC x KC: {model}, best {best}")]


POWER = "time per flop at a power of two / beside it"


def _conflicts(run: Run) -> list[Score]:
    """Conflicts slow the tiles and not `matmul`; the targets are for 1024 against 1040."""
    figures = []
    for pair in conflicts(run):
        name = pair.kernel if pair.tile is None else f"{pair.kernel}, tile {pair.tile}"
        target = at_most(1.05, "<= {:g}") if pair.tile is None else at_least(1.3, ">= {:g}")
        value = pair.loss.value if pair.power == 1024 else None
        figures.append(target.score(f"{POWER}, {name}", value, f"{pair.loss:.2f} ({pair.power} / {pair.padded})"))
    return figures


JUDGES: dict[str, Callable[[Run], list[Score]]] = {TILE: _tiles, BLOCKS: _blocks, POWER: _conflicts, TIME: _explain_time}
"""By what stands there where the run lacks what it takes."""
