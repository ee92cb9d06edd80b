"""Kernels over a grid of sizes and parameters, all alternatives interleaved, as a tidy table of samples.

    sweep([kernel, ...], sizes, ...)    -> DataFrame, one row per timed sample; recorded, continued if interrupted
    Block                               cells that are measured together; a `Cell` is one point of a grid
    checked_case(cell, inputs, rng)     what runs a cell, after its result agreed with the oracle
    sample_block(cells, ...)            yields the rows of one round after another
    record_blocks(writer, blocks, ...)  blocks into a run, with progress
    per_run_ns(samples)                 the samples with a column of nanoseconds per run

    sweep(["rms_norm_fast"], [512, 1024, 2048])
    sweep(["matmul_tiled"], [256, 512], tile=[16, 32, 64])

Raises ValueError or TypeError for an unknown kernel, scope or parameter and for a size below 1 before anything is recorded,
`WrongResult` for a wrong kernel before anything of it is timed, `RunError` where nothing can be written, `Unmeasurable`
where every kernel raises. One that raises loses only its own cells: a warning and the run's `lost` say which and why.
"""

import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from .cases import CANARY, FLOORS, Case, require_scope
from .cells import CaseLost, Cell, checked_case, guarded_case
from .conduct import Unmeasurable
from .kernels.catalog import KERNELS, find
from .kernels.checks import positive_integer
from .kernels.description import Kernel
from .machine import Machine, machine
from .sampling import Sample, batch_time_ns, calibrate, plan_rounds, quiet, rounds
from .showing import on_one_line
from .stats import MIN_SAMPLES
from .store import COLUMNS, digest
from .writer import RunWriter, measuring_lock

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Block",
    "Cell",
    "checked_case",
    "description",
    "per_run_ns",
    "record_blocks",
    "sample_block",
    "sweep",
    "work_of",
]

HIDDEN = ("floor", "canary")  # what stands beside the kernels in every table


def sample_block(
    cells: Sequence[Cell], budget_s: float, seed: int | Sequence[int] = 0, least_rounds: int = MIN_SAMPLES
) -> Iterator[tuple[float, list[dict[str, Any]]]]:
    """Check every cell against its oracle, then yield (share done, rows) round by round, floor and canary included.

    Cells of one size and dtype work on the same buffers. The layout of the buffers is drawn anew in each block.
    """
    rng = np.random.default_rng(seed)
    inputs: dict[tuple, tuple] = {}
    threads = cells[0].threads
    with quiet(threads):
        cases = {cell.label: guarded_case(cell, inputs, rng) for cell in cells}
    with quiet(threads):  # anew: a library that was loaded only now has threads too
        hidden = [FLOORS[scope] for scope in sorted({c.scope for c in cells})]
        columns = {cell.label: cell.columns() for cell in cells}
        for extra in (*hidden, CANARY):
            label = f"{extra.label} {extra.scope}"
            cases[label] = Case(label, extra.scope, extra.run)
            columns[label] = {"kernel": extra.label, "scope": extra.scope, "dtype": "", "threads": 1}
        taken = {label: _calibrated(c) for label, c in cases.items()}
        sizes = {label: columns[label].get("n") for label in cases}  # all alternatives of a size get the same rounds
        together = {n: sum(ns for label, (_, ns) in taken.items() if sizes[label] == n) for n in sizes.values()}
        by_size = plan_rounds(together, budget_s, least_rounds)
        planned = {label: by_size[n] for label, n in sizes.items()}
        reps = {label: count for label, (count, _) in taken.items()}
        total = max(planned.values())
        for done, batch in enumerate(rounds(list(cases.values()), reps, rng, planned), start=1):
            yield done / total, [columns[s.label] | _sample_columns(s) for s in batch]


def _sample_columns(sample: Sample) -> dict[str, int]:
    return {
        name: getattr(sample, name)
        for name in ("round", "position", "reps", "elapsed_ns", "cpu_ns", "switches", "compiled")
    }


def _calibrated(case: Case) -> tuple[int, float]:
    """Runs per batch, and roughly the nanoseconds of one batch."""
    reps = calibrate(case.run)
    return reps, batch_time_ns(case, reps)


@dataclass(frozen=True)
class Block:
    """The unit of recording: cells that are measured together or not at all, and the seconds meant for them."""

    topic: str
    name: str
    cells: tuple[Cell, ...]
    budget_s: float
    least_rounds: int = MIN_SAMPLES


def record_blocks(writer: RunWriter, blocks: Sequence[Block], seed: int, progress: bool | Callable = True) -> None:
    """Measure every block that the run does not have yet; progress and time left go to stderr where somebody watches."""
    from tqdm import tqdm

    missing = [b for b in blocks if not writer.has(b.topic, b.name)]
    bar_format = "{percentage:3.0f}%|{bar:20}| {elapsed} < {remaining} {desc}"
    total = sum(b.budget_s for b in missing)
    with tqdm(total=total, disable=None if progress is True else True, bar_format=bar_format, smoothing=0) as bar:
        for number, block in enumerate(missing):
            before = sum(b.budget_s for b in missing[:number])
            bar.set_description_str(f"{block.topic}: {block.name}, compiling and checking")
            block_seed, left = [seed, *f"{block.topic} {block.name}".encode()], block.cells
            while left and not writer.has(block.topic, block.name):
                try:
                    with writer.block(block.topic, block.name, _parameters(blocks, block.topic)) as append:
                        for share, rows in sample_block(left, block.budget_s, block_seed, block.least_rounds):
                            append([{"block": block.name, **row} for row in rows])
                            bar.set_description_str(f"{block.topic}: {block.name}", refresh=False)
                            bar.update(before + share * block.budget_s - bar.n)
                            if callable(progress):
                                progress((before + share * block.budget_s) / total)
                except CaseLost as lost:  # the block is measured again without it
                    left = tuple(cell for cell in left if cell.label != lost.label)
                    writer.lose(block.topic, block.name, lost.label, str(lost))
                    warnings.warn(str(lost), stacklevel=3)


def _parameters(blocks: Sequence[Block], topic: str) -> list[str]:
    """Columns that only this topic's kernels have."""
    named = {name for b in blocks if b.topic == topic for cell in b.cells for name in cell.columns()}
    return sorted(named - COLUMNS.keys())


def sweep(
    kernels: Sequence[str | Kernel | Callable],
    sizes: Sequence[int],
    scope: str = "kernel",
    dtype: str = "float32",
    budget_s: float = 10.0,
    seed: int = 0,
    name: str = "sweep",
    threads: int = 1,
    progress: bool | Callable[[float], None] = True,
    **values: Sequence[int],
) -> "pd.DataFrame":
    """Measure kernels at sizes, and at every combination of parameter values, for example tile=[16, 32, 64].

    Recorded as a run of its own, topic `name`; interrupted, it is continued by the same call. A block, interleaved
    throughout, is the whole grid for a scaling curve, or one size where parameters vary. Each cell gets 6 to 30 rounds.
    Integer columns as described in data/datapackage.json, and `per_run_ns`; `attrs["run"]` is the id for `load_run`.
    progress: shown on a terminal, or a function that is told the share done after each round; it may raise to end.
    """
    if not re.fullmatch(r"[\w-]+", name) or name == "blocks":
        raise ValueError(f"name must be letters, digits, - and _, and not blocks; got {name!r}")
    if not budget_s > 0:
        raise ValueError(f"budget_s must be above 0, got {budget_s}")
    positive_integer("threads", threads)
    cells = _grid(kernels, sizes, scope, np.dtype(dtype).name, values, threads)
    groups = {"all sizes": tuple(cells.values())}
    if any(len(chosen) > 1 for chosen in values.values()):
        groups = {f"n={n}": tuple(c for c in cells.values() if c.n == n) for n in sizes}
    blocks = [Block(name, title, group, budget_s / len(groups)) for title, group in groups.items()]
    sources = {c.kernel.name: _source(c.function) for c in cells.values()}
    settings = {"name": name, "cells": list(cells), "sources": sources, "budget_s": budget_s, "seed": seed}
    with measuring_lock():
        here = machine()
        writer = RunWriter.start("sweep", settings, here)
        record_blocks(writer, blocks, seed, progress)
        if not any(writer.has(name, block.name) for block in blocks):
            raise Unmeasurable("; ".join(lost["reason"] for lost in writer.lost))
        run = writer.finish(work=work_of(blocks), limits=_limits(here))
    samples = per_run_ns(run.samples(name))
    samples.attrs["run"] = run.id
    return samples


def _limits(here: Machine) -> dict[str, dict[str, float]]:
    """What one core can do at most, as run.json keeps it."""
    limits = {f"peak_gflops_{dtype}": here.peak_gflops(dtype) for dtype in ("float32", "float64")}
    return {name: asdict(limit) for name, limit in (limits | {"copy_gb_per_s": here.copy_gb_per_s()}).items()}


def work_of(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Flops and bytes of every case whose kernel is not built in."""
    cells = {cell.label: cell for b in blocks for cell in b.cells if KERNELS.get(cell.kernel.name) is not cell.kernel}
    work = (cell.work() for cell in cells.values() if cell.n is not None)
    return list({str(w): w for w in work}.values())


def _grid(
    kernels: Sequence[str | Kernel | Callable],
    sizes: Sequence[int],
    scope: str,
    dtype: str,
    values: Mapping[str, Sequence[int]],
    threads: int,
) -> dict[str, Cell]:
    """The cells by label, refused unless all of them can be measured and told apart."""
    for name, chosen in {"kernels": kernels, "sizes": sizes, **values}.items():
        if not len(chosen):
            raise ValueError(f"{name} must not be empty")
    described = {}
    for kernel in map(description, kernels):
        if kernel.name in HIDDEN or described.setdefault(on_one_line(kernel.name), kernel) is not kernel:
            taken = "which is taken" if kernel.name in HIDDEN else "twice"
            raise ValueError(f"kernels must have names of their own, got {kernel.name!r} {taken}")
        parameters = {*kernel.params, *kernel.tuning}
        if unknown := values.keys() - parameters:
            known = ", ".join(sorted(parameters)) or "none"
            raise ValueError(f"parameters of {kernel.name} must be among {known}; got {min(unknown)!r}")
        if taken := parameters & COLUMNS.keys() - {"tile", "rows"}:
            raise ValueError(f"parameters of {kernel.name} must not be named like a column, got {min(taken)!r}")
    sizes = [positive_integer("sizes", n) for n in sizes]
    checked = [[positive_integer(name, value) for value in chosen] for name, chosen in values.items()]
    cells = {}
    for kernel, n, *chosen in product(described.values(), sizes, *checked):
        cell = Cell(kernel, n, scope, dtype, dict(zip(values, chosen, strict=True)), threads=threads)
        require_scope(cell.label, cell.function, scope)
        cells[cell.label] = cell
    return cells


def description(kernel: str | Kernel | Callable) -> Kernel:
    """Of a name, a function or itself; ValueError where there is none."""
    found = kernel if isinstance(kernel, Kernel) else find(kernel)
    if found is None:
        raise ValueError(f"kernels must be described, got {kernel!r}; describe it with perflib.described")
    return found


def _source(function: Callable) -> str | None:
    """A digest of a function's source: an interrupted sweep is not continued with another kernel of the same name."""
    try:
        return digest(inspect.getsource(getattr(function, "py_func", function)).encode())[:16]
    except (OSError, TypeError):  # built in
        return None


def per_run_ns(samples: "pd.DataFrame") -> "pd.DataFrame":
    """The samples with `per_run_ns`: elapsed time over runs, gross of the loop's own cost."""
    return samples.assign(per_run_ns=samples["elapsed_ns"] / samples["reps"])
