"""Cases: something that can run `reps` times, made from a function, its arguments, a scope and a mode.

    scope   `kernel`: the loop runs in compiled code; `call`: it runs in Python and pays for every call
    mode    `throughput`: the same arguments in every run, and runs may overlap; `latency`: the output of a run is an input
            of the next, which waits for it; `cold`: another set of arrays in every run

Raises ValueError for an unknown scope or mode and for arguments that a mode cannot use, TypeError where `kernel` scope has
nothing compiled to run.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import typeof

from .cold_cache import cold_pool, twin
from .loops import alternating_loop, call_each, call_each_with, canary, chained_loop, compiled_loop, empty_loop, entry_point
from .placement import Placement

SCOPES = ("kernel", "call")
MODES = ("throughput", "latency", "cold")


@dataclass(frozen=True)
class Case:
    """One alternative of a comparison: `run(reps)` executes it `reps` times. `notes`: what a reader should know of it."""

    label: str
    scope: str
    run: Callable[[int], Any]
    notes: tuple[str, ...] = ()
    compile_s: float = 0.0
    """Seconds that Numba spent on it, if it was compiled for this."""
    prepare: Callable[[], Any] | None = None
    """Called before every batch, untimed."""
    placement: Placement | None = None
    """Where its arrays lie, drawn anew in every round; None: they stay where they are."""
    most: int = 0
    """Runs of a batch at most; 0: as many as it takes."""
    minus: str = ""
    """Label of a case whose time is a part of this one and subtracted."""


def is_compiled(fn: Any) -> bool:
    """Whether Numba compiles it: only such a function has a `kernel` scope."""
    return hasattr(fn, "nopython_signatures")


def require_known(scope: str, mode: str) -> None:
    """Refuse a scope or a mode that does not exist."""
    for name, value, allowed in (("scope", scope, SCOPES), ("mode", mode, MODES)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def require_scope(label: str, fn: Callable | None, scope: str, mode: str = MODES[0]) -> None:
    """Refuse a scope or a mode that does not exist, and a scope that the function does not have."""
    require_known(scope, mode)
    if scope == "kernel" and not is_compiled(fn):
        raise TypeError(f"scope 'kernel' needs a function compiled by numba.njit, got {label}; use scope='call'")


def case(
    label: str,
    fn: Callable,
    args: tuple,
    scope: str,
    mode: str = "throughput",
    output: int | None = None,
    current: Callable[[], tuple] | None = None,
    names: tuple[str, ...] = (),
) -> Case:
    """A case that runs `fn(*args)`. output: index of the argument that takes the result, None if it is returned.

    current: returns the arguments in their present place, in throughput mode; the other modes have arrays of their own.
    names: of the last arguments, which are passed by keyword.
    """
    require_scope(label, fn, scope, mode)
    if names and mode != MODES[0]:
        fn, names = by_keyword(fn, names), ()
    if mode == "cold":
        pool = cold_pool(args)
        return Case(label, scope, pool.runner(fn, scope), (str(pool),))
    if mode == "latency":
        run = _chain(label, fn, args, scope) if output is None else _alternate(label, fn, args, scope, output)
        return Case(label, scope, run)
    current = current or (lambda: args)
    if scope == "kernel":
        loop = entry_point(compiled_loop, fn, 1, args)
        return Case(label, scope, lambda reps: loop(fn, reps, current()))
    if names:
        return Case(label, scope, lambda reps: call_each_with(fn, itertools.repeat(named(current(), names), reps)))
    return Case(label, scope, lambda reps: call_each(fn, itertools.repeat(current(), reps)))


def named(args: tuple, names: tuple[str, ...]) -> tuple[tuple, dict[str, Any]]:
    """The arguments as Python passes them: those by position, those by keyword."""
    count = len(args) - len(names)
    return args[:count], dict(zip(names, args[count:], strict=True))


def by_keyword(fn: Callable, names: tuple[str, ...]) -> Callable:
    """The function of all arguments by position."""

    def run(*args: Any) -> Any:
        positional, keywords = named(args, names)
        return fn(*positional, **keywords)

    return run


def _alternate(label: str, fn: Callable, args: tuple, scope: str, output: int) -> Callable[[int], Any]:
    """Input and output change places after each run."""
    first, last = args[0], args[output]
    if typeof(first) != typeof(last) or first.shape != last.shape:
        raise ValueError(f"mode 'latency' needs an output like the first argument, {typeof(first)}, got {typeof(last)}")
    first, last = twin(first), twin(last)  # the caller's own keep what they hold
    there, back = (
        tuple({0: a, output: b}.get(i, arg) for i, arg in enumerate(args)) for a, b in ((first, last), (last, first))
    )

    loop = entry_point(alternating_loop, fn, 1, there, back) if scope == "kernel" else None

    def run(reps: int) -> tuple:
        if loop:
            loop(fn, reps, there, back)
        else:
            call_each(fn, itertools.islice(itertools.cycle((there, back)), reps))
        return first, last

    return run


def _chain(label: str, fn: Callable, args: tuple, scope: str) -> Callable[[int], Any]:
    """The result is the first argument of the next run."""
    if not args:
        raise ValueError(f"mode 'latency' needs a first argument that takes the result, got none for {label}")
    result = fn(*args)
    if not _can_follow(args[0], result, scope):
        kinds = " and ".join(_kind(value, scope) for value in (args[0], result))
        raise ValueError(f"mode 'latency' needs a result that can be the first argument, got {kinds}")
    if scope == "kernel":
        loop = entry_point(chained_loop, fn, 1, args[0], args[1:])
        return lambda reps: loop(fn, reps, args[0], args[1:])

    def run(reps: int) -> Any:
        value, rest = args[0], args[1:]
        for _ in itertools.repeat(None, reps):
            value = fn(value, *rest)
        return value

    return run


def _can_follow(first: Any, result: Any, scope: str) -> bool:
    """Whether the next run does the same work on the result; compiled code asks for the very type."""
    shapes = [(v.shape, v.dtype) if isinstance(v, np.ndarray) else () for v in (first, result)]
    return result is not None and shapes[0] == shapes[1] and (scope == "call" or typeof(first) == typeof(result))


def _kind(value: Any, scope: str) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return str(typeof(value)) if scope == "kernel" else type(value).__name__


def _pass(runs: Iterable[tuple]) -> None:
    for _ in runs:
        pass


FLOORS = {
    "kernel": Case("floor", "kernel", empty_loop),
    "call": Case("floor", "call", lambda reps: _pass(itertools.repeat((), reps))),
}
"""What the loop itself costs, per scope: it runs nothing, paired in the same rounds."""

CANARY = Case("canary", "kernel", lambda reps: canary(reps))
