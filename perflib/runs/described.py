"""Describe a kernel of yours in three lines, like the built-in ones, so that all of perflib measures it.

    @described(make=lambda n, dtype, rng: (np.ones(n, dtype),), flops=lambda n: n, bytes=lambda n, itemsize: n * itemsize)
    @numba.njit
    def total(x):
        return x.sum()

    sweep([total], [1000, 2000, 4000])

The description is a `perflib.kernels.Kernel`; its docstring says what each part is. Running the cell again replaces it.
Raises `TypeError` and `ValueError` where a description cannot be one, `WrongResult` for a wrong kernel.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..display.table import Table
from ..kernels.catalog import KERNELS, find, register
from ..kernels.description import Kernel
from ..timing.case import is_compiled
from ..timing.race import race
from .grid import GridPoint, checked_case
from .tables import HIDDEN

AnyKernel = str | Kernel | Callable
"""A name, a description, or a function that was described."""


def described(
    *,
    make: Callable[..., tuple],
    flops: Callable[..., int],
    bytes: Callable[..., int],
    exact: Callable[..., tuple] | None = None,
    output: int | None = None,
    name: str | None = None,
    params: Mapping[str, int] | None = None,
    tuning: Mapping[str, int] | None = None,
) -> Callable[[Callable], Callable]:
    """Describe the decorated function and return it as it is; one compiled by Numba has both scopes.

    make(n, dtype, rng, **params) gives its arguments, flops(n, **params) and bytes(n, itemsize, **params) its useful work.
    exact(*arguments) gives the float64 result and the elementwise bound on the error. output: index of the argument that
    takes the result, None if it is returned. params: parameters of the problem with their defaults; tuning: those that
    change only the speed, which the function takes after its arguments.
    """

    def describe(fn: Callable) -> Callable:
        if not callable(fn):
            raise TypeError(f"described must decorate a function, got {type(fn).__name__}")
        kernel = name or fn.__name__
        if kernel in KERNELS or kernel in HIDDEN:
            raise ValueError(f"name must not be that of a built-in kernel, got {kernel!r}")
        machine_code = fn if is_compiled(fn) else None
        register(Kernel(kernel, fn, make, flops, bytes, machine_code, exact, output, params or {}, tuning or {}))
        return fn

    for argument, value in {"make": make, "flops": flops, "bytes": bytes}.items():
        if not callable(value):
            raise TypeError(f"{argument} must be a function, got {type(value).__name__}")
    return describe


def description(kernel: AnyKernel) -> Kernel:
    """Of a name, a function or itself; ValueError where there is none."""
    if isinstance(kernel, Kernel):
        return kernel
    if (entry := find(kernel)) is None:
        raise ValueError(f"kernels must be described, got {kernel!r}; describe it with perflib.described")
    return entry


def counts_table(kernel: AnyKernel, sizes: Sequence[int], dtype: str = "float32") -> Table:
    """Flops, useful bytes and their ratio at each size, after the result there was compared with the oracle."""
    kernel = description(kernel)
    rows, rng = [], np.random.default_rng(0)
    for n in sizes:
        cell = GridPoint(kernel, n, "kernel" if kernel.compiled else "call", dtype)
        checked_case(cell, {}, rng)
        flops, useful_bytes = (cell.work()[count] for count in ("flops", "bytes"))
        intensity = f"{flops / useful_bytes:.3g}" if useful_bytes else ""
        rows.append((str(n), str(flops), str(useful_bytes), intensity, "within its bound" if kernel.exact else "no oracle"))
    return Table(("n", "flops", "useful bytes", "flops per byte", "result"), tuple(rows))


def race_settings(kernel: AnyKernel, n: int, slow: Mapping[str, int], fast: Mapping[str, int], threshold: float) -> str:
    """Race one setting of parameters against another, float32: HOLDS, FAILS or UNDECIDED, with the claim behind it."""
    kernel, rng, inputs = description(kernel), np.random.default_rng(0), {}
    scope = "kernel" if kernel.compiled else "call"
    arms = [checked_case(GridPoint(kernel, n, scope, values=values), inputs, rng).run for values in (slow, fast)]
    words = [", ".join(f"{name} {value}" for name, value in values.items()) for values in (slow, fast)]
    claim = f"at n = {n}, {kernel.name} with {words[0]} takes at least {threshold:g} times as long as with {words[1]}"
    return f"{race(*arms, threshold)}: {claim}"
