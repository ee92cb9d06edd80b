"""Describe a kernel so that perflib can measure it: callables, inputs, counts of work, and the check of its result.

    Kernel              the description; whatever perflib measures about its own kernels, it measures about yours
    aligned_empty       a buffer on a 64-byte boundary
    aligned_random      the same, filled with normally distributed numbers
    verify              refuses a wrong result

A dot product, described so that sweep, scaling and rates work for it:

    dot = Kernel(
        name="dot", call=my_dot, compiled=my_dot, make=lambda n, dtype, rng: (rng.random(n).astype(dtype),) * 2,
        flops=lambda n: 2 * n, bytes=lambda n, itemsize: 2 * n * itemsize,
        exact=lambda x, y: (x.astype(float) @ y, (len(x) + 2) * np.finfo(x.dtype).eps * (abs(x) @ abs(y))),
    )

Raises `WrongResult` where a kernel does not compute what it should, NaN included.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import WrongResult


def uncounted(*_: Any, **__: Any) -> int:
    """Stands for work without a count."""
    return 0


@dataclass(frozen=True)
class Kernel:
    """One measurable kernel.

    `make(n, dtype, rng, **params)` returns the positional arguments of `call` (public, checked); followed by the tuning
    parameters they are also, through `unchecked`, those of `compiled` (machine code). `flops(n, **params)` and
    `bytes(n, itemsize, **params)` count the work; bytes are the useful ones: each input read once, each output written
    once, no temporaries, no write-allocate traffic (as STREAM counts). `exact(*args)` returns the float64 result and
    the elementwise error bound; None for something without a result, such as a clock.
    """

    name: str
    call: Callable[..., Any]
    make: Callable[..., tuple]
    flops: Callable[..., int]
    bytes: Callable[..., int]
    compiled: Callable[..., Any] | None = None
    exact: Callable[..., tuple[np.ndarray, np.ndarray | float]] | None = None
    output: int | None = None
    """Index of the output among the arguments; None if the result is returned."""
    params: Mapping[str, int] = field(default_factory=dict)
    """Parameters of the problem besides n, with defaults, for example {"rows": 1}."""
    tuning: Mapping[str, int] = field(default_factory=dict)
    """Parameters that change the speed and not the result, with defaults, for example {"tile": 64}."""
    prepare: Callable[..., Any] | None = None
    """Called with the arguments of `call` before every batch, untimed: brings them into the state that `make` left and into
    the caches, where arguments share memory or a batch would otherwise begin with what others left there."""
    moved: Callable[..., int] | None = None
    """Bytes that move where nothing is cached, lines that are fetched only to be written included; as `bytes` if None."""
    unchecked: Callable[..., tuple] = lambda *args: args
    """Arguments of `compiled` from those of `call`, where they differ in shape."""
    native: Callable[..., tuple] = lambda *args: args
    """Arguments of `call` from what `make` returns, where a library has types of its own; not a part of the time."""
    placement: str = "drawn"
    """`drawn`: its arrays lie in another place in every round; `own`: they stay, because their layout is measured."""


def verify(name: str, result: np.ndarray, exact: np.ndarray, bound: np.ndarray | float) -> None:
    """Refuse a result unless |result - exact| <= bound everywhere; the comparison is positive, so NaN fails."""
    result = np.asarray(result)
    if result.shape != np.shape(exact):
        raise WrongResult(f"{name}: result must have shape {np.shape(exact)}, got {result.shape}")
    with np.errstate(invalid="ignore"):
        right = np.abs(result.astype(np.float64) - exact) <= bound
    if not right.all():
        where = tuple(int(i) for i in np.argwhere(~np.atleast_1d(right))[0])
        got, want = np.atleast_1d(result)[where], np.atleast_1d(exact)[where]
        raise WrongResult(
            f"{name}: result[{', '.join(map(str, where))}] must be {want:.9g} within its bound, got {got:.9g}"
        )
