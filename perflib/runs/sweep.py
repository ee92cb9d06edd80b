"""Record a grid of kernels, sizes and parameters as a separate run, for `perflib.sweep`.

    run = record_grid("mine", [Block("mine", "all sizes", cells, budget_s=10)], {"seed": 0})

An interrupted recording is continued by the same call. Raises `RunError` where nothing can be written, `Unmeasurable` where
nothing is left, `Interrupted` after Ctrl-C, with what is kept and how to go on.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pandas as pd

from ..display.progress import progress_bar, step
from ..errors import Interrupted, Unmeasurable
from ..hardware.facts import Machine, machine
from ..hardware.limits import copy_gb_per_s
from ..kernels.catalog import KERNELS
from ..stats import MIN_SAMPLES, Interval
from ..timing.measure import peak_gflops
from .recorder import Block, StopEarly, record_blocks
from .store import Run
from .writer import RunWriter, measuring_lock


def record_grid(
    topic: str,
    blocks: Sequence[Block],
    settings: Mapping[str, Any],
    seed: int | None = None,
    progress: bool | Callable[[float], None] = True,
    processes: int = 1,
    wait: bool | float = False,
) -> Run:
    """Measure the blocks of one topic, then the limits of this machine where the work of a case is counted.

    wait: for the end of another measurement on this machine, instead of an error.
    """
    with measuring_lock(wait):
        here = machine()
        writer = RunWriter.start("sweep", dict(settings), here)
        try:
            with suppress(StopEarly):
                record_blocks(writer, blocks, seed, progress, processes, keep=True)
        except KeyboardInterrupt:
            kept = sum(writer.has(topic, block.name) for block in blocks)
            what = f"what has {MIN_SAMPLES} rounds is kept" if kept else f"nothing has {MIN_SAMPLES} rounds yet"
            raise Interrupted(f"interrupted, {what}; run this cell again to go on") from None
        if not any(writer.has(topic, block.name) for block in blocks):
            reasons = "; ".join(lost["reason"] for lost in writer.lost)
            raise Unmeasurable(reasons or f"ended before anything had {MIN_SAMPLES} rounds; start it again to continue")
        is_counted = any(cell.is_counted for block in blocks for cell in block.cells)
        limits = _limits(here, progress is True) if is_counted else {}
        return writer.finish(work=work_of(blocks), limits={name: asdict(limit) for name, limit in limits.items()})


def _limits(here: Machine, shown: bool) -> dict[str, Interval]:
    """The limits that rates are compared with, measured with progress shown: the first call takes long."""
    limits = {}
    with progress_bar(3, shown, leave=False) as bar:
        for dtype in ("float32", "float64"):
            with step(bar, f"multiply-add peak, {dtype}"):
                limits[f"peak_gflops_{dtype}"] = peak_gflops(dtype)
        with step(bar, "copy bandwidth"):
            limits["copy_gb_per_s"] = copy_gb_per_s(here)
    return limits


def work_of(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Flops and bytes of every case whose kernel is not built in."""
    cells = {cell.label: cell for b in blocks for cell in b.cells if KERNELS.get(cell.kernel.name) is not cell.kernel}
    work = (cell.work() for cell in cells.values() if cell.n is not None and cell.is_counted)
    return list({str(w): w for w in work}.values())


def per_run_ns(samples: pd.DataFrame) -> pd.DataFrame:
    """The samples with `per_run_ns`: elapsed time over runs, gross of the loop's own cost."""
    return samples.assign(per_run_ns=samples["elapsed_ns"] / samples["reps"])
