"""Versions of a function over sizes, in one call: measured, compared, drawn.

    s = sweep({"numpy": f, "numba": g}, [10, 100, 1000], make=lambda n, rng: (rng.random(n), rng.random(n)))
    s, s.plot(), s.growth(), s.growth("n log n"), s.frame, s.run

    sweep(["matmul_tiled"], [256, 512], tile=[16, 32, 64])      described kernels bring their arguments and their counts

Raises ValueError or TypeError for what can be no sweep before anything is recorded, `WrongResult` for a wrong kernel before
anything of it is timed, `RunError` where nothing can be written, `Unmeasurable` where nothing is left, `Interrupted` after
Ctrl-C, with what is kept.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import product
from typing import Any

import numpy as np

from ..display.progress import progress_bar
from ..display.text import on_one_line
from ..errors import Interrupted, Unmeasurable
from ..kernels.catalog import KERNELS
from ..kernels.checks import positive_integer
from ..kernels.description import Kernel
from ..runs.described import description
from ..runs.grid import GridPoint
from ..runs.integrity import TOPIC, digest
from ..runs.recorder import Block, StopEarly
from ..runs.sweep import record_grid
from ..runs.tables import COLUMNS, NO_TOPICS
from ..stats import fewest_samples
from ..timing.case import require_scope
from ..timing.fresh_arguments import State
from .axes import Axis, Label, axis, size_axis
from .rehearsal import Check, Rehearsal, rehearse
from .result import Sweep
from .subjects import Function, inputs, is_described, named, recorded, require_keywords, subject, takes, takes_dtype


def sweep(
    kernels: Mapping[str, Function] | Sequence[Function],
    sizes: Iterable[Label],
    scope: str | None = None,
    dtype: str | Sequence[str] = "float32",
    budget_s: float = 10.0,
    seed: int | None = None,
    name: str = "sweep",
    threads: int | Sequence[int] = 1,
    processes: int = 1,
    progress: bool | Callable[[float], None] = True,
    *,
    make: Callable[..., Any] | None = None,
    check: Check = True,
    limit_s: float = 10.0,
    wait: bool | float = False,
    flops: Callable[..., Any] | float | None = None,
    bytes: Callable[..., Any] | float | None = None,
    exact: Callable[..., tuple] | None = None,
    output: int | None = None,
    **values: Sequence[Any],
) -> Sweep:
    """Measure functions at sizes, interleaved, each with 6 to 30 rounds; arrays lie in another place in every round.

    kernels: functions by name, or a list of them, or described kernels. sizes: positive numbers, or strings and tuples as
    names of inputs. make: (n), (n, rng) or (n, dtype, rng) to one argument or a tuple of them; described kernels have
    theirs, and get their own in every run where they change them. scope: `kernel` for what Numba compiled, else `call`,
    unless named. Further keywords are axes: each value of
    `tile=[16, 32]` goes to the make or the functions that have such a parameter; threads and dtype may be lists too.
    check: results of all versions are compared at every size, floats within a tolerance of their type, and a difference is
    a warning; a function of two results decides instead, False compares nothing. limit_s: a function that raises or takes
    longer for a call is not called at larger sizes. flops, bytes: work of a run, numbers or functions of n, for the rates.
    exact, output: as for `described`.

    budget_s: seconds for the rounds. seed: of places and order, fresh entropy if None. processes: so many fresh ones share
    the rounds; intervals from one, which is this one, know nothing of others. Recorded as a run, topic `name`; interrupted,
    what has six rounds is kept, and the same call goes on. progress: a bar on a terminal or in a notebook, or a function
    that gets the share done after each step; `recorder.StopEarly` from it ends. wait: for the end of another measurement on
    this machine, which else is an error.
    """
    if not TOPIC.fullmatch(name) or name in NO_TOPICS:
        words = f"at most 80 letters, digits, - and _, and not {' or '.join(NO_TOPICS)}"
        raise ValueError(f"name must be {words}; got {name!r}")
    for argument, amount in {"budget_s": budget_s, "limit_s": limit_s}.items():
        if not amount > 0:
            raise ValueError(f"{argument} must be above 0, got {amount}")
    positive_integer("processes", processes)
    functions = named(kernels)
    axes = axes_of(functions, sizes, dtype, threads, values, make)
    counted = {"flops": flops, "bytes": bytes, "exact": exact, "output": output}
    described, plain = _points(functions, axes, scope, make, counted)
    cells = list(dict.fromkeys(point.label for point in (*described, *plain)))
    settings = {"name": name, "cells": cells, "sources": _sources((*described, *plain), make), "budget_s": budget_s}
    settings |= {"seed": seed, "processes": processes}
    settings |= {"axes": {one.name: list(map(str, one.values)) for one in axes.values() if one.is_coded}}
    own = [point for point in described if KERNELS.get(point.kernel.name) is not point.kernel]
    with _restored((*own, *plain)):
        seen = _rehearsed(own, plain, axes, limit_s, check, progress)
        for sentence in seen.differing:
            warnings.warn(sentence, stacklevel=2)
        planned = {point.label: point for point in (*described, *seen.points)}
        left_out = {point.label for point in (*own, *plain)} - {point.label for point in seen.points}
        points = [point for label, point in planned.items() if label not in left_out]
        if not points:
            raise Unmeasurable("; ".join(seen.ended))
        run = record_grid(name, _blocks(name, points, axes, budget_s), settings, seed, progress, processes, wait)
    names = {recorded(given, function): given for given, function in functions.items()}
    return Sweep(run, name, names, axes, (*seen.notes, *seen.ended, *seen.differing))


@contextmanager
def _restored(points: Sequence[GridPoint]) -> Iterator[None]:
    """What functions reach beside their arguments holds afterwards what it held."""
    states = [State(function) for function in {id(point.kernel.call): point.kernel.call for point in points}.values()]
    try:
        yield
    finally:
        for state in states:
            state.restore()


def axes_of(
    functions: Mapping[str, Function],
    sizes: Iterable[Label],
    dtype: str | Sequence[str],
    threads: int | Sequence[int],
    values: Mapping[str, Sequence[Any]],
    make: Callable[..., Any] | None,
) -> dict[str, Axis]:
    """The axes by name, in the order of a table; described kernels take whole numbers only."""
    if any(is_described(function, make) for function in functions.values()):
        sizes = [positive_integer("sizes", n) for n in sizes]
        values = {key: [positive_integer(key, value) for value in several] for key, several in values.items()}
    several = threads if isinstance(threads, Iterable) else [threads]
    types = dtype if isinstance(dtype, Sequence) and not isinstance(dtype, str) else [dtype]
    axes = {"n": size_axis(sizes), "threads": axis("threads", [positive_integer("threads", count) for count in several])}
    axes["dtype"] = axis("dtype", [np.dtype(one).name for one in types])
    for key, alternatives in values.items():
        if _is_column(key):
            raise ValueError(f"parameters must not be named like a column, got {key!r}")
        if isinstance(alternatives, str) or not isinstance(alternatives, Iterable):
            raise TypeError(f"{key} must be a list of the values to sweep, got {alternatives!r}; write [{alternatives!r}]")
        axes[key] = axis(key, alternatives)
    return axes


def _is_column(name: str) -> bool:
    """Whether a parameter cannot have a column of its own in a table of samples; net_ns and floor_ns are computed."""
    return name in COLUMNS.keys() - {"tile", "rows"} or name.endswith("_ns")


def _points(
    functions: Mapping[str, Function],
    axes: Mapping[str, Axis],
    scope: str | None,
    make: Callable[..., Any] | None,
    counted: Mapping[str, Any],
) -> tuple[list[GridPoint], list[GridPoint]]:
    """The points of described kernels and those of functions, all functions of a size side by side."""
    if not takes_dtype(make, axes) and len(axes["dtype"].values) > 1 and make is not None:
        raise ValueError("make must take dtype where several are swept; write make=lambda n, dtype, rng: ...")
    described: list[GridPoint] = []
    plain: list[GridPoint] = []
    made = inputs(make, axes)
    variants = [
        (name, is_described(function, make), *variant)
        for name, function in functions.items()
        for variant in _variants(name, function, axes, make, made, counted)
    ]
    for threads, n, dtype in product(axes["threads"].values, axes["n"].codes, axes["dtype"].values):
        for name, is_known, kernel, codes in variants:
            own_scope = scope or ("kernel" if kernel.compiled else "call")
            if is_known:
                described.append(GridPoint(kernel, n, own_scope, dtype, codes, threads=threads))
            else:
                dtype = dtype if takes_dtype(make, axes) else ""
                title = _title(name, axes, {**codes, "n": n, "threads": threads}, dtype)
                plain.append(GridPoint(kernel, n, own_scope, dtype, codes, threads=threads, title=title))
            point = (described if is_known else plain)[-1]
            require_scope(point.label, point.function, own_scope)
    return described, plain


def _variants(
    name: str,
    function: Function,
    axes: Mapping[str, Axis],
    make: Callable[..., Any] | None,
    made: Callable[..., tuple],
    counted: Mapping[str, Any],
) -> Iterator[tuple[Kernel, dict[str, int]]]:
    """A function with every combination of the values of its keywords, as kernels with the codes of the values."""
    keys = [key for key in axes if key not in ("n", "threads", "dtype")]
    combinations = [dict(zip(keys, codes, strict=True)) for codes in product(*(axes[key].codes for key in keys))]
    if is_described(function, make):
        kernel = description(function)
        if unknown := set(keys) - {*kernel.params, *kernel.tuning}:
            known = ", ".join(sorted({*kernel.params, *kernel.tuning})) or "none"
            raise ValueError(f"parameters of {kernel.name} must be among {known}; got {min(unknown)!r}")
        if columns := list(filter(_is_column, (*kernel.params, *kernel.tuning))):
            raise ValueError(f"parameters of {kernel.name} must not be named like a column, got {columns[0]!r}")
        own = kernel if kernel.name == recorded(name, function) else replace(kernel, name=recorded(name, function))
        yield from ((own, codes) for codes in combinations)
        return
    for_make = [key for key in keys if key in takes(make)]
    for codes in combinations:
        keywords = {key: (code, axes[key].value(code)) for key, code in codes.items() if key not in for_make}
        require_keywords(name, function, keywords)
        params = {key: codes[key] for key in for_make}
        yield subject(recorded(name, function), function, made, params, keywords, sizes=axes["n"], **counted), codes


def _title(name: str, axes: Mapping[str, Axis], codes: Mapping[str, int], dtype: str) -> str:
    """What messages call a point: `f at n = 8, tile = 16`."""
    chosen = {key: axes[key].value(code) for key, code in codes.items() if key == "n" or len(axes[key].values) > 1}
    chosen = {"n": chosen.pop("n"), **chosen} | ({"dtype": dtype} if len(axes["dtype"].values) > 1 else {})
    return on_one_line(f"{name} at {', '.join(f'{key} = {value}' for key, value in chosen.items())}")


def _blocks(name: str, points: Sequence[GridPoint], axes: Mapping[str, Axis], budget_s: float) -> list[Block]:
    """The whole grid as one block for a scaling curve, one block for each size where anything else varies."""
    apart = any(len(one.values) > 1 for one in axes.values() if one.name not in ("n", "threads"))
    groups: dict[str, list[GridPoint]] = {}
    for point in points:
        title = f"n={axes['n'].value(point.n)}" if apart else "all sizes"
        many = f", threads={point.threads}" if len(axes["threads"].values) > 1 else ""
        groups.setdefault(title + many, []).append(point)
    least = fewest_samples(max(1, len({point.kernel.name for point in points}) - 1))  # of each ratio beside the others
    return [Block(name, title, tuple(group), budget_s / len(groups), least) for title, group in groups.items()]


def _rehearsed(
    described: Sequence[GridPoint],
    plain: Sequence[GridPoint],
    axes: Mapping[str, Axis],
    limit_s: float,
    check: Check,
    progress: bool | Callable[[float], None],
) -> Rehearsal:
    """What is seen of the functions before the first sample, under a bar that names each step."""
    try:
        with progress_bar(len(described) + len(plain), progress is True, leave=False) as bar:

            def step(point: GridPoint) -> None:
                bar.set_description_str(f"checking {point.label}")
                bar.update(1)
                if callable(progress):
                    progress(0.0)

            known = rehearse(described, False, math.inf, False, step, described=True)
            seen = rehearse(plain, axes["n"].is_numeric, limit_s, check, step)
            return Rehearsal(*(getattr(known, one.name) + getattr(seen, one.name) for one in fields(Rehearsal)))
    except StopEarly:
        raise Unmeasurable("ended before the first sample; start it again to begin anew") from None
    except KeyboardInterrupt:
        raise Interrupted("interrupted before the first sample; run this cell again to begin anew") from None


def _sources(points: Sequence[GridPoint], make: Callable[..., Any] | None) -> dict[str, str | None]:
    """Digests of sources: an interrupted sweep is not continued with another function of the same name."""
    functions = {point.kernel.name: point.function for point in points}
    return {name: _source(function) for name, function in functions.items()} | ({"make": _source(make)} if make else {})


def _source(function: Any) -> str | None:
    function = getattr(function, "func", function)  # of a partial
    try:
        return digest(inspect.getsource(getattr(function, "py_func", function)).encode())[:16]
    except (OSError, TypeError):  # built in
        return None
