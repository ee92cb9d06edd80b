"""The unit of recording: cells whose rounds are interleaved, recorded together or not at all, unless it is ended early.

A cell that raises is left out, its block measured again without it: a warning and the run's `lost` say which and why.
Raises `WrongResult` for a wrong kernel before anything of it is timed, `RunError` where nothing can be written.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..display.progress import progress_bar
from ..stats import MIN_SAMPLES
from ..timing.case import CANARY, FLOORS, Case
from ..timing.sampling import batch_time_ns, calibrate, plan_rounds, quiet, rounds
from .grid import GridPoint, PointLost, guarded_case
from .store import COLUMNS
from .writer import RunWriter

TIMES = ("round", "position", "reps", "elapsed_ns", "cpu_ns", "switches", "compiled")  # of a sample, as recorded


def sample_block(
    cells: Sequence[GridPoint], budget_s: float, seed: int | Sequence[int] = 0, least_rounds: int = MIN_SAMPLES
) -> Iterator[tuple[float, list[dict[str, Any]]]]:
    """Check every cell against its oracle, then yield (share done, rows) round by round, floor and canary included.

    No rows come with each step before the first round, so that a caller who wants to end need not wait for all of them.
    Cells of one size and dtype work on the same buffers. The layout of the buffers is drawn anew in each block.
    """
    rng, threads = np.random.default_rng(seed), cells[0].threads
    cases, reps, batch_ns, inputs = {}, {}, {}, {}
    with quiet(threads):
        for cell in cells:
            cases[cell.label] = guarded_case(cell, inputs, rng)
            yield 0.0, []
    with quiet(threads):  # anew: a library that was loaded only now has threads too
        hidden = [FLOORS[scope] for scope in sorted({c.scope for c in cells})]
        columns = {cell.label: cell.columns() for cell in cells}
        for extra in (*hidden, CANARY):
            label = f"{extra.label} {extra.scope}"
            cases[label] = Case(label, extra.scope, extra.run)
            columns[label] = {"kernel": extra.label, "scope": extra.scope, "dtype": "", "threads": 1}
        for label, one in cases.items():
            reps[label] = calibrate(one.run)
            batch_ns[label] = batch_time_ns(one, reps[label])
            yield 0.0, []
        sizes = {label: columns[label].get("n") for label in cases}  # all alternatives of a size get the same rounds
        together = {n: sum(ns for label, ns in batch_ns.items() if sizes[label] == n) for n in sizes.values()}
        by_size = plan_rounds(together, budget_s, least_rounds)
        counts = {label: by_size[n] for label, n in sizes.items()}
        total = max(counts.values())
        for number, batch in enumerate(rounds(list(cases.values()), reps, rng, counts), start=1):
            yield number / total, [columns[s.label] | {name: getattr(s, name) for name in TIMES} for s in batch]


class StopEarly(Exception):
    """For `progress` to raise: the block is closed with the cells that have at least six rounds, the others are lost."""


@dataclass(frozen=True)
class Block:
    """The unit of recording: cells that are measured together or not at all, and the seconds meant for them."""

    topic: str
    name: str
    cells: tuple[GridPoint, ...]
    budget_s: float
    least_rounds: int = MIN_SAMPLES


def record_blocks(writer: RunWriter, blocks: Sequence[Block], seed: int, progress: bool | Callable = True) -> None:
    """Measure every block that the run does not have yet; progress and time left go to stderr where somebody watches."""
    missing = [b for b in blocks if not writer.has(b.topic, b.name)]
    total = sum(b.budget_s for b in missing)
    with progress_bar(total, progress is True) as bar:
        for number, block in enumerate(missing):
            before = sum(b.budget_s for b in missing[:number])
            bar.set_description_str(f"{block.topic}: {block.name}, compiling and checking")

            def advance(share: float, block: Block = block, before: float = before) -> None:
                if share:
                    bar.set_description_str(f"{block.topic}: {block.name}", refresh=False)
                bar.update(before + share * block.budget_s - bar.n)
                if callable(progress):
                    progress((before + share * block.budget_s) / total)

            try:
                _record(writer, block, seed, _parameters(blocks, block.topic), advance)
            except StopEarly as ended:
                if any(writer.has(b.topic, b.name) for b in blocks):  # else the run may be continued as a whole
                    for unfinished, cells in [(block, ended.args[0]), *((b, b.cells) for b in missing[number + 1 :])]:
                        for cell in cells:
                            reason = f"{cell.label} is left out, ended before it had {MIN_SAMPLES} rounds"
                            writer.lose(unfinished.topic, unfinished.name, cell.label, reason)
                raise


def _record(writer: RunWriter, block: Block, seed: int, parameters: list[str], advance: Callable[[float], None]) -> None:
    """One block, measured again without a cell that raises; of one that is ended, the cells with rounds enough."""
    block_seed, cells = [seed, *f"{block.topic} {block.name}".encode()], block.cells
    while cells:
        samples = []
        try:
            with writer.block(block.topic, block.name, parameters) as append:
                for share, rows in sample_block(cells, block.budget_s, block_seed, block.least_rounds):
                    append(lines := [{"block": block.name, **row} for row in rows])
                    samples += lines
                    advance(share)
            return
        except PointLost as lost:
            cells = tuple(cell for cell in cells if cell.label != lost.label)
            writer.lose(block.topic, block.name, lost.label, str(lost))
            warnings.warn(str(lost), stacklevel=4)
        except StopEarly:
            raise StopEarly(_keep(writer, block, cells, parameters, samples)) from None


def _keep(
    writer: RunWriter, block: Block, cells: Sequence[GridPoint], parameters: list[str], samples: list[dict]
) -> list[GridPoint]:
    """Close a block that was ended early with the cells that have rounds enough for an interval; return the others."""
    names = sorted({name for cell in cells for name in cell.columns()})

    def point(columns: Mapping[str, Any]) -> tuple:
        return tuple(columns.get(name, "") for name in names)

    counts = Counter(map(point, samples))
    short = {point(cell.columns()): cell for cell in cells if counts[point(cell.columns())] < MIN_SAMPLES}
    writer.cut_unfinished()
    if len(short) < len(cells):
        with writer.block(block.topic, block.name, parameters) as append:
            append(row for row in samples if point(row) not in short)
    return list(short.values())


def _parameters(blocks: Sequence[Block], topic: str) -> list[str]:
    """Columns that only this topic's kernels have."""
    columns = {name for b in blocks if b.topic == topic for cell in b.cells for name in cell.columns()}
    return sorted(columns - COLUMNS.keys())
