"""Prepare one point of a grid: a kernel at a size, with its parameters, checked against its oracle before timing.

    GridPoint(find("matmul_tiled"), 256, values={"tile": 32}).label

Raises `WrongResult` for a wrong kernel, `PointLost` for one that raises.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from ..display.text import on_one_line
from ..errors import Unmeasurable, WrongResult
from ..kernels.description import Kernel, uncounted, verify
from ..timing.case import MODES, Case, case
from ..timing.fresh_arguments import own_copy
from ..timing.placement import Placement
from .fresh import Sets, fresh_case


@dataclass(frozen=True)
class GridPoint:
    """One point of a grid: a kernel at a size, with its parameters, in one scope."""

    kernel: Kernel
    n: int | None
    scope: str = "kernel"
    dtype: str = "float32"
    values: Mapping[str, int] = field(default_factory=dict)
    """Chosen values of the kernel's params and tuning; defaults where missing."""
    mode: str = "throughput"
    """As for `measure`; any other stands behind the kernel's name."""
    threads: int = 1
    """The same for all cells of a block."""
    placement: str = "drawn"
    """As for `measure`: `drawn` in every round, unless the kernel has a place of its own, or `mine`."""
    title: str = ""
    """What messages call it; the values of its columns where it has none."""
    long_ns: float = 0.0
    """Nanoseconds of a run that fills a batch by itself, as seen before: such a point is not calibrated."""
    fresh_ns: float = 0.0
    """Nanoseconds of a run that changes its arguments, as seen before: every run then has arguments of its own."""

    def columns(self) -> dict[str, Any]:
        """The cell's columns in a table of samples."""
        name = self.kernel.name + ("" if self.mode == "throughput" else f" ({self.mode})")
        case = {"kernel": name, "scope": self.scope, "dtype": self.dtype, "threads": self.threads, "n": self.n or ""}
        return case | self.values_of(self.kernel.params) | self.values_of(self.kernel.tuning)

    def values_of(self, defaults: Mapping[str, int]) -> dict[str, int]:
        """The values of these parameters of the kernel, the default where none is chosen."""
        return {name: self.values.get(name, default) for name, default in defaults.items()}

    @property
    def function(self) -> Callable | None:
        """What the scope measures."""
        return self.kernel.compiled if self.scope == "kernel" else self.kernel.call

    @property
    def label(self) -> str:
        """Readable and unique within a block."""
        return self.title or on_one_line(" ".join(str(v) for v in self.columns().values() if v != ""))

    @property
    def is_counted(self) -> bool:
        """Whether anybody counted its work: a function without a description may have none."""
        return self.kernel.flops is not uncounted or self.kernel.bytes is not uncounted

    def work(self) -> dict[str, Any]:
        """Flops and bytes of one run, so that a run has rates for kernels that are not built in."""
        params, size = self.values_of(self.kernel.params), np.dtype(self.dtype or float).itemsize
        flops, size_bytes = self.kernel.flops(self.n, **params), self.kernel.bytes(self.n, size, **params)
        case = {"kernel": self.kernel.name, "dtype": self.dtype, "n": self.n}
        return case | params | {"flops": int(flops), "bytes": int(size_bytes)}


class PointLost(Unmeasurable):
    """A cell whose kernel, input maker or oracle raised; `label` says which."""

    def __init__(self, label: str, problem: Exception) -> None:
        super().__init__(f"{label} is left out, it raised {type(problem).__name__}: {on_one_line(problem) or 'no message'}")
        self.label = label


def guarded_case(cell: GridPoint, inputs: dict[tuple, tuple], rng: np.random.Generator, check: bool = True) -> Case:
    """The checked case; from now on PointLost says whose exception it is."""
    one = _or_lost(cell.label, checked_case, cell, inputs, rng, check)
    prepare = one.prepare and partial(_or_lost, cell.label, one.prepare)
    return replace(one, run=partial(_or_lost, cell.label, one.run), prepare=prepare)


def _or_lost(label: str, function: Callable, *args: Any) -> Any:
    try:
        return function(*args)
    except WrongResult:
        raise
    except Exception as problem:
        raise PointLost(label, problem) from problem


def checked_case(cell: GridPoint, inputs: dict[tuple, tuple], rng: np.random.Generator, check: bool = True) -> Case:
    """The case of a cell, the result of what it measures compared with the oracle once, unless another process did.

    `inputs` keeps arrays and oracles: cells of one size and dtype, whose kernels have the same `make`, share them.
    """
    kernel, params, tuning = cell.kernel, cell.values_of(cell.kernel.params), cell.values_of(cell.kernel.tuning)
    if cell.fresh_ns:
        return _fresh(cell, inputs, rng, check)
    is_drawn = (cell.placement, kernel.placement, cell.mode) == ("drawn", "drawn", MODES[0])
    key = (kernel.make, kernel.exact, kernel.output, is_drawn, cell.n, cell.dtype, tuple(params.items()))
    if key not in inputs:
        args = kernel.make(cell.n, cell.dtype, rng, **params)
        inputs[key] = args, kernel.exact(*args) if kernel.exact and check else None, {}
    elif kernel.prepare:
        kernel.prepare(*inputs[key][0])
    made, exact, shared = inputs[key]
    args = (*made, *tuning.values())
    output = None if kernel.output is None else args[kernel.output]
    given, through = (kernel.unchecked(*args), None) if cell.scope == "kernel" else (args, kernel.native)
    args = given if through is None else through(*given)
    if exact:
        if output is not None and np.issubdtype(output.dtype, np.inexact):
            output.fill(np.nan)  # the buffer is shared: it may hold the right result of another kernel
        result = cell.function(*args)
        verify(cell.label, result if output is None else output, *exact)
    placement, current, inputs_now = None, None, lambda: made
    if is_drawn:  # after the check: what it wrote is in the copies
        placement = shared.get("placement") or shared.setdefault("placement", Placement(made, outputs=[output]))
    if placement:
        current, inputs_now = placement.bind(given, through), placement.bind(made)
    one = case(cell.label, cell.function, args, cell.scope, cell.mode, current=current)
    prepare = (lambda: kernel.prepare(*inputs_now())) if kernel.prepare else None
    return replace(one, prepare=prepare, placement=placement or None)


def _fresh(cell: GridPoint, inputs: dict[tuple, tuple], rng: np.random.Generator, check: bool) -> Case:
    """The case of a cell whose every run has arguments of its own."""
    kernel, params, codes = cell.kernel, cell.values_of(cell.kernel.params), cell.values_of(cell.kernel.tuning).values()
    key = ("sets", kernel.make, cell.n, cell.dtype, tuple(params.items()))
    if key not in inputs:
        inputs[key] = (Sets(lambda: kernel.make(cell.n, cell.dtype, rng, **params)),)
    (drawn,) = inputs[key]
    if kernel.exact and check:
        (args,) = drawn.take(1)
        own = tuple(map(own_copy, args))
        result = cell.function(*kernel.native(*own, *codes))
        verify(cell.label, result if kernel.output is None else own[kernel.output], *kernel.exact(*args))
    arrange = kernel.unchecked if cell.scope == "kernel" else kernel.native
    return fresh_case(cell.label, cell.function, drawn, lambda *args: arrange(*args, *codes), cell.fresh_ns, cell.scope)
