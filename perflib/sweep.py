"""Kernels over a grid of sizes and parameters, all alternatives interleaved, as a tidy table of samples.

    sweep([kernel, ...], sizes, ...)    -> DataFrame, one row per timed sample
    Cell                                one point of a grid
    sample_block(cells, ...)            yields the rows of one round after another
    per_run_ns(samples)                 the samples with a column of nanoseconds per run

    >>> table = sweep(["rms_norm_fast"], [512, 1024], budget_s=0.1)
    >>> sorted(table["n"].unique())
    [512, 1024]

Raises ValueError for an unknown kernel, scope or parameter and for a size below 1, `WrongResult` for a wrong kernel.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from .kernels.catalog import find
from .kernels.description import Kernel, verify
from .sampling import CANARY, FLOORS, Case, Sample, calibrate, case, plan_rounds, quiet, rounds
from .stats import MIN_SAMPLES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cell", "per_run_ns", "sample_block", "sweep"]


@dataclass(frozen=True)
class Cell:
    """One point of a grid: a kernel at a size, with its parameters, in one scope."""

    kernel: Kernel
    n: int | None
    scope: str = "kernel"
    dtype: str = "float32"
    values: Mapping[str, int] = field(default_factory=dict)
    """Chosen values of the kernel's params and tuning; defaults where missing."""

    def columns(self) -> dict[str, Any]:
        """The cell's columns in a table of samples."""
        named = {"kernel": self.kernel.name, "scope": self.scope, "dtype": self.dtype, "threads": 1, "n": self.n or ""}
        return named | self._chosen(self.kernel.params) | self._chosen(self.kernel.tuning)

    def _chosen(self, defaults: Mapping[str, int]) -> dict[str, int]:
        return {name: self.values.get(name, default) for name, default in defaults.items()}

    @property
    def label(self) -> str:
        """Readable and unique within a block."""
        return " ".join(str(v) for v in self.columns().values() if v != "")


def sample_block(
    cells: Sequence[Cell], budget_s: float, seed: int = 0, least_rounds: int = MIN_SAMPLES
) -> Iterator[tuple[float, list[dict[str, Any]]]]:
    """Check every cell against its oracle, then yield (share done, rows) round by round, floor and canary included.

    Cells of one size and dtype work on the same buffers. The layout of the buffers is drawn anew in each block.
    """
    rng = np.random.default_rng(seed)
    inputs: dict[tuple, tuple] = {}
    with quiet():
        cases = {c.label: c for c in (_checked_case(cell, inputs, rng) for cell in cells)}
        hidden = [FLOORS[scope] for scope in sorted({c.scope for c in cells})]
        columns = {cell.label: cell.columns() for cell in cells}
        for extra in (*hidden, CANARY):
            label = f"{extra.label} {extra.scope}"
            cases[label] = Case(label, extra.scope, extra.run)
            columns[label] = {"kernel": extra.label, "scope": extra.scope, "dtype": "", "threads": 1}
        taken = {label: _calibrated(c) for label, c in cases.items()}
        planned = plan_rounds({label: ns for label, (_, ns) in taken.items()}, budget_s, least_rounds)
        reps = {label: count for label, (count, _) in taken.items()}
        total = max(planned.values())
        for done, batch in enumerate(rounds(list(cases.values()), reps, rng, planned), start=1):
            yield done / total, [columns[s.label] | _sample_columns(s) for s in batch]


def _sample_columns(sample: Sample) -> dict[str, int]:
    return {
        name: getattr(sample, name)
        for name in ("round", "position", "reps", "elapsed_ns", "cpu_ns", "switches", "compiled")
    }


def _checked_case(cell: Cell, inputs: dict[tuple, tuple], rng: np.random.Generator) -> Case:
    """The case of a cell, its result compared with the oracle once."""
    kernel, params, tuning = cell.kernel, cell._chosen(cell.kernel.params), cell._chosen(cell.kernel.tuning)
    key = (kernel.make, kernel.exact, cell.n, cell.dtype, tuple(params.items()))
    if key not in inputs:
        args = kernel.make(cell.n, cell.dtype, rng, **params)
        inputs[key] = args, kernel.exact(*args) if kernel.exact else None
    args, exact = inputs[key]
    args = (*args, *tuning.values())
    if exact:
        result = kernel.call(*args)
        verify(cell.label, result if kernel.output is None else args[kernel.output], *exact)
    if cell.scope == "kernel":
        return case(cell.label, kernel.compiled, kernel.unchecked(*args), "kernel")
    return case(cell.label, kernel.call, args, cell.scope)


def _calibrated(case: Case) -> tuple[int, float]:
    """Runs per batch, and roughly the nanoseconds of one batch."""
    from .timer import Timer

    reps = calibrate(case.run)
    timer = Timer()
    case.run(reps)
    return reps, max(1, timer.elapsed_ns())


def sweep(
    kernels: Sequence[str | Kernel | Callable],
    sizes: Sequence[int],
    scope: str = "kernel",
    dtype: str = "float32",
    budget_s: float = 10.0,
    seed: int = 0,
    progress: bool = True,
    **values: Sequence[int],
) -> "pd.DataFrame":
    """Measure kernels at sizes, and at every combination of parameter values, for example tile=[16, 32, 64].

    Everything is interleaved in one block of at least six rounds; a longer budget gives up to thirty. Progress goes to
    stderr where somebody watches. Integer columns in nanoseconds; see data/datapackage.json for all of them.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    described = [k if isinstance(k, Kernel) else _found(k) for k in kernels]
    for n in sizes:
        if n < 1:
            raise ValueError(f"sizes must be at least 1, got {n}")
    grid = [dict(zip(values, combination, strict=True)) for combination in product(*values.values())]
    cells = {}
    for kernel, n, chosen in product(described, sizes, grid):
        if unknown := chosen.keys() - kernel.params.keys() - kernel.tuning.keys():
            raise ValueError(
                f"{kernel.name} must have the parameter {sorted(unknown)[0]!r}; it has "
                f"{', '.join((*kernel.params, *kernel.tuning)) or 'none'}"
            )
        cell = Cell(kernel, int(n), scope, dtype, chosen)
        cells[cell.label] = cell
    rows, bar = [], tqdm(total=100, unit="%", disable=None if progress else True)
    with bar:
        for share, batch in sample_block(list(cells.values()), budget_s, seed):
            rows.extend(batch)
            bar.update(round(100 * share) - bar.n)
    return per_run_ns(pd.DataFrame(rows))


def _found(kernel: str | Callable) -> Kernel:
    found = find(kernel)
    if found is None:
        raise ValueError(f"kernels must be described, got {kernel!r}; describe it with perflib.kernels.Kernel")
    return found


def per_run_ns(samples: "pd.DataFrame") -> "pd.DataFrame":
    """The samples with `per_run_ns`: elapsed time over runs, gross of the loop's own cost."""
    return samples.assign(per_run_ns=samples["elapsed_ns"] / samples["reps"])
