"""Kernels over a grid of sizes and parameters, all alternatives interleaved, as a tidy table of samples.

    sweep(["rms_norm_fast"], [512, 1024, 2048])
    sweep(["matmul_tiled"], [256, 512], tile=[16, 32, 64])

Raises ValueError or TypeError for an unknown kernel, scope or parameter and for a size below 1 before anything is recorded,
`WrongResult` for a wrong kernel before anything of it is timed, `RunError` where nothing can be written, `Unmeasurable`
where nothing is left. A kernel that raises loses only its own cells: a warning and the run's `lost` say which and why.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from ..display.text import on_one_line
from ..errors import Unmeasurable
from ..hardware.facts import machine
from ..hardware.limits import copy_gb_per_s
from ..kernels.catalog import KERNELS, find
from ..kernels.checks import positive_integer
from ..kernels.description import Kernel
from ..stats import MIN_SAMPLES
from ..timing.case import require_scope
from ..timing.measure import peak_gflops
from .grid import GridPoint
from .integrity import digest
from .recorder import Block, StopEarly, record_blocks
from .store import COLUMNS
from .writer import RunWriter, measuring_lock

HIDDEN = ("floor", "canary")  # what stands beside the kernels in every table
AnyKernel = str | Kernel | Callable
"""A name, a description, or a function that was described."""


def sweep(
    kernels: Sequence[AnyKernel],
    sizes: Sequence[int],
    scope: str = "kernel",
    dtype: str = "float32",
    budget_s: float = 10.0,
    seed: int | None = None,
    name: str = "sweep",
    threads: int = 1,
    processes: int = 1,
    progress: bool | Callable[[float], None] = True,
    **values: Sequence[int],
) -> pd.DataFrame:
    """Measure kernels at sizes, and at every combination of parameter values, for example tile=[16, 32, 64].

    Recorded as a run of its own, topic `name`; interrupted, it is continued by the same call. A block, interleaved
    throughout, is the whole grid for a scaling curve, or one size where parameters vary. Each cell gets 6 to 30 rounds,
    each with its arrays in another place; seed: of places and order, fresh entropy if None. processes: so many fresh ones
    share the rounds; intervals from one, which is this one, know nothing of others.
    Integer columns as described in data/datapackage.json, and `per_run_ns`; `attrs["run"]` is the id for `load_run`.
    progress: shown on a terminal, or a function told the share done after each step; `recorder.StopEarly` from it ends.
    """
    if not re.fullmatch(r"[\w-]+", name) or name == "blocks":
        raise ValueError(f"name must be letters, digits, - and _, and not blocks; got {name!r}")
    if not budget_s > 0:
        raise ValueError(f"budget_s must be above 0, got {budget_s}")
    positive_integer("threads", threads)
    positive_integer("processes", processes)
    cells = _grid(kernels, sizes, scope, np.dtype(dtype).name, threads, **values)
    groups = {"all sizes": tuple(cells.values())}
    if any(len(settings) > 1 for settings in values.values()):
        groups = {f"n={n}": tuple(c for c in cells.values() if c.n == n) for n in sizes}
    blocks = [Block(name, title, group, budget_s / len(groups)) for title, group in groups.items()]
    sources = {c.kernel.name: _source(c.function) for c in cells.values()}
    settings = {"name": name, "cells": list(cells), "sources": sources, "budget_s": budget_s, "seed": seed}
    settings |= {"processes": processes}
    with measuring_lock():
        here = machine()
        writer = RunWriter.start("sweep", settings, here)
        with suppress(StopEarly):
            record_blocks(writer, blocks, seed, progress, processes)
        if not any(writer.has(name, block.name) for block in blocks):
            reasons = "; ".join(lost["reason"] for lost in writer.lost)
            raise Unmeasurable(reasons or f"ended before anything had {MIN_SAMPLES} rounds; start it again to continue")
        limits = {f"peak_gflops_{dtype}": peak_gflops(dtype) for dtype in ("float32", "float64")}
        limits["copy_gb_per_s"] = copy_gb_per_s(here)
        run = writer.finish(work=work_of(blocks), limits={name: asdict(limit) for name, limit in limits.items()})
    samples = per_run_ns(run.samples(name))
    samples.attrs["run"] = run.id
    return samples


def work_of(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Flops and bytes of every case whose kernel is not built in."""
    cells = {cell.label: cell for b in blocks for cell in b.cells if KERNELS.get(cell.kernel.name) is not cell.kernel}
    work = (cell.work() for cell in cells.values() if cell.n is not None)
    return list({str(w): w for w in work}.values())


def _grid(
    kernels: Sequence[AnyKernel], sizes: Sequence[int], scope: str, dtype: str, threads: int, **values: Sequence[int]
) -> dict[str, GridPoint]:
    """The cells by label, refused unless all of them can be measured and told apart."""
    for name, alternatives in {"kernels": kernels, "sizes": sizes, **values}.items():
        if not len(alternatives):
            raise ValueError(f"{name} must not be empty")
    by_name = {}
    for kernel in map(description, kernels):
        if kernel.name in HIDDEN or by_name.setdefault(on_one_line(kernel.name), kernel) is not kernel:
            reason = "which is taken" if kernel.name in HIDDEN else "twice"
            raise ValueError(f"kernels must have names of their own, got {kernel.name!r} {reason}")
        parameters = {*kernel.params, *kernel.tuning}
        if unknown := values.keys() - parameters:
            names = ", ".join(sorted(parameters)) or "none"
            raise ValueError(f"parameters of {kernel.name} must be among {names}; got {min(unknown)!r}")
        if columns := parameters & COLUMNS.keys() - {"tile", "rows"}:
            raise ValueError(f"parameters of {kernel.name} must not be named like a column, got {min(columns)!r}")
    sizes = [positive_integer("sizes", n) for n in sizes]
    settings = [[positive_integer(name, value) for value in alternatives] for name, alternatives in values.items()]
    cells = {}
    for kernel, n, *setting in product(by_name.values(), sizes, *settings):
        cell = GridPoint(kernel, n, scope, dtype, dict(zip(values, setting, strict=True)), threads=threads)
        require_scope(cell.label, cell.function, scope)
        cells[cell.label] = cell
    return cells


def description(kernel: AnyKernel) -> Kernel:
    """Of a name, a function or itself; ValueError where there is none."""
    if isinstance(kernel, Kernel):
        return kernel
    if (entry := find(kernel)) is None:
        raise ValueError(f"kernels must be described, got {kernel!r}; describe it with perflib.described")
    return entry


def _source(function: Callable) -> str | None:
    """A digest of a function's source: an interrupted sweep is not continued with another kernel of the same name."""
    try:
        return digest(inspect.getsource(getattr(function, "py_func", function)).encode())[:16]
    except (OSError, TypeError):  # built in
        return None


def per_run_ns(samples: pd.DataFrame) -> pd.DataFrame:
    """The samples with `per_run_ns`: elapsed time over runs, gross of the loop's own cost."""
    return samples.assign(per_run_ns=samples["elapsed_ns"] / samples["reps"])
