"""What a run says of the blocks that the model chooses for `matmul_packed`, and of sizes that are powers of two.

Raises `RunError` where the run has no such series.
"""

from dataclasses import dataclass

import pandas as pd

from ..errors import RunError
from ..kernels.caches import FLOAT32_BYTES
from ..kernels.gemm.block_sizes import rival_blocks
from ..runs.queries import paired, ratio, select, topic_prior
from ..runs.store import Run
from ..runs.sweep import per_run_ns
from ..stats import Interval, Prior
from .blocked_traces import choices

CONFLICTS = ("matmul_tiled", "matmul")  # where a leading dimension that is a power of two hurts, and where it must not
OURS = "our model"


@dataclass(frozen=True)
class BlockLoss:
    """What trusting the model's blocks costs among those recorded at n. Blocks: (MC, KC)."""

    n: int
    model: tuple[int, int]
    best: tuple[int, int]
    loss: Interval
    """Time at the model's blocks / time at the best others: below 1 where the model's are the best."""


@dataclass(frozen=True)
class Conflict:
    """One kernel at two sizes that hardly differ. `tile` is None for a kernel without."""

    kernel: str
    tile: int | None
    power: int
    padded: int
    loss: Interval
    """Time per flop at the power of two / time per flop at the padded size."""


def block_times(run: Run) -> tuple[int, pd.DataFrame]:
    """n, and nanoseconds per run of matmul_packed, float32, kernel scope: a row per round, a column per (MC, KC)."""
    samples = per_run_ns(run.samples("packing"))
    here = select(samples, kernel="matmul_packed", dtype="float32", scope="kernel", threads=1)
    if here.empty:
        raise RunError(f"run {run.id} has no blocks of the packed matrix multiplication")
    n = int(here["n"].max())
    return n, select(here, n=n).pivot_table(index=["process", "round"], columns=["mc", "kc"], values="per_run_ns").dropna()


def rules(run: Run) -> dict[str, tuple[int, int]]:
    """(MC, KC) by who chooses them, for the caches and vectors of the run's machine."""
    caches = run.machine.data_caches()
    if not caches:
        raise RunError(f"run {run.id} does not say what caches its machine has")
    ours = choices(caches, FLOAT32_BYTES, run.machine.isa)
    rivals = rival_blocks("float32", caches, (ours.mr, ours.nr))
    return {OURS: (ours.mc, ours.kc)} | {name: (mc, kc) for name, (mc, kc, _) in rivals.items()}


def block_loss(run: Run) -> BlockLoss:
    """The model's blocks against the best of those recorded."""
    n, times = block_times(run)
    if (model := rules(run)[OURS]) not in times:
        raise RunError(f"run {run.id} has no packed matrix multiplication with the model's blocks, {model[0]} x {model[1]}")
    best = times.median().idxmin()
    return BlockLoss(n, model, (int(best[0]), int(best[1])), against_best(times, model, topic_prior(run, "packing")))


def against_best(times: pd.DataFrame, blocks: tuple[int, int], prior: Prior | None = None) -> Interval:
    """Time at these blocks / time at the best others: picked from the same rounds, they are no worse than they look."""
    best = times.drop(columns=[blocks]).median().idxmin()
    return paired(times[blocks], times[best], prior)


def conflicts(run: Run) -> list[Conflict]:
    """Compare a power of two with the padded size, paired by round: `matmul_tiled` by tile, then `matmul`."""
    losses = []
    for kernel in CONFLICTS:
        samples = select(run.samples("conflicts"), kernel=kernel)
        power, padded = (int(n) for n in sorted(samples["n"].unique()))
        for tile in sorted(samples["tile"].dropna().unique()) or [None]:
            case = {"kernel": kernel, "scope": "kernel", "tile": tile}
            loss = ratio(run, "conflicts", case | {"n": power}, case | {"n": padded}).scaled((padded / power) ** 3)
            losses.append(Conflict(kernel, None if tile is None else int(tile), power, padded, loss))
    return losses
