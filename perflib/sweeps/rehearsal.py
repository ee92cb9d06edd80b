"""What is seen of every function at every size before anything is timed: it ends well, in time, with the same result.

    rehearse(points, ordered, limit_s, check)   what can be measured, and sentences on what is left out or differs

A function that raises or takes longer than `limit_s` is not called at larger sizes. One that changes its arguments gets
arguments of its own for every run, and so do the others of that size, for a fair comparison.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..display.text import first_line, quantity
from ..errors import Unmeasurable
from ..runs.grid import GridPoint
from ..timing.case import is_compiled
from ..timing.effects.outputs import only_written
from ..timing.fresh_arguments import State, own_copy
from ..timing.preflight import accepts, agree, run_preflight
from ..timing.sampling import BATCH_NS, BY_FAR, Sample, busy_libraries, quiet

LONG_NS = 1e9  # from here on each call counts, and none is spent on calibration
SHORT_NS = BY_FAR * BATCH_NS  # a second call costs nothing that anybody notices
BUSY = 1.2  # cores for each that was declared
CONTAINERS = (list, dict, set, bytearray)
Check = bool | Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Rehearsal:
    """The points that can be measured, and what a reader should know."""

    points: tuple[GridPoint, ...]
    ended: tuple[str, ...]
    """A sentence for each curve that ends early."""
    differing: tuple[str, ...]
    """A sentence for each function whose results are not those of the first."""
    notes: tuple[str, ...]
    """What else a reader should know."""


@dataclass(frozen=True)
class _Trial:
    """One call: how long it took, what came of it, and whether it changed its arguments."""

    point: GridPoint
    ns: float
    outcome: Any
    changes: bool
    varies: bool = False
    notes: tuple[str, ...] = ()
    run: Callable[..., Any] | None = None
    """The function, with what makes its result be there where it is asynchronous."""


class _Refused(Exception):
    """A function or its arguments that cannot be measured at a size, in words."""

    def __init__(self, words: str, has_raised: bool = False) -> None:
        super().__init__(words)
        self.has_raised = has_raised


def rehearse(
    points: Sequence[GridPoint],
    ordered: bool,
    limit_s: float,
    check: Check = True,
    step: Callable[[GridPoint], Any] = lambda point: None,
    described: bool = False,
) -> Rehearsal:
    """Call every function at every point, on arguments of its own.

    ordered: the sizes are numbers, and a function that fails at one is not called at larger ones. step: called before each
    point. described: the recording names what raises, and an oracle judges results.
    """
    ended: dict[tuple, str] = {}
    differing: dict[tuple[str, str], list[str]] = {}
    measurable: list[GridPoint] = []
    runs: dict[tuple, Callable[..., Any] | None] = {}
    notes: dict[str, None] = {}
    changing: dict[str, None] = {}
    groups: dict[tuple, list[GridPoint]] = {}
    for point in points:
        groups.setdefault(_shared(point), []).append(point)
    for group in groups.values():
        trials: list[_Trial] = []
        made: tuple | None = None
        for point in (p for p in group if not (ordered and _curve(p) in ended)):
            step(point)
            try:
                made = _made(point) if made is None else made
                is_first = _curve(point) not in runs
                trial = _tried(point, made, limit_s, is_first, runs.get(_curve(point)))
                trials.append(trial)
                runs[_curve(point)] = trial.run
            except _Refused as problem:
                if described and problem.has_raised:
                    measurable.append(point)
                else:
                    ended[_curve(point) if ordered else (point.label,)] = f"{point.label} is left out: {problem}"
        if not trials:
            continue
        for name, other, size in _differences(trials, check):
            differing.setdefault((name, other), []).append(size)
        notes |= {f"{_name(t.point)}: {note}": None for t in trials for note in t.notes}
        changing |= {_name(t.point): None for t in trials if t.changes}
        apart = any(t.changes for t in trials) or (not described and any(isinstance(arg, CONTAINERS) for arg in made))
        in_code = all(isinstance(arg, np.ndarray | np.generic | int | float | complex) for arg in made)
        measurable += [_planned(trial, apart, in_code) for trial in trials]
    sentences = [
        f"{other} and {name} return different results at n = {', '.join(at)}" for (name, other), at in differing.items()
    ]
    more = (*_why_apart(measurable, list(changing)), *notes)
    return Rehearsal(tuple(measurable), tuple(ended.values()), tuple(sentences), more)


def _why_apart(points: Sequence[GridPoint], changing: Sequence[str]) -> Iterator[str]:
    """The sentence on runs that each work on arguments of their own."""
    if not any(point.fresh_ns for point in points):
        return
    verb = "changes" if len(changing) == 1 else "change"
    reason = f", because {' and '.join(changing)} {verb} them" if changing else ""
    called = any(p.fresh_ns and p.kernel.compiled and p.scope == "call" for p in points)
    also = "; so compiled functions are called from Python" if called else ""
    yield f"every run works on arguments of its own, drawn by make{reason}{also}"


def _name(point: GridPoint) -> str:
    """The name that the user gave."""
    return point.label.rpartition(" at n = ")[0] or point.kernel.name


def _shared(point: GridPoint) -> tuple:
    """What points have in common whose functions get the same arguments."""
    return point.kernel.make, point.threads, point.n, point.dtype, tuple(point.values_of(point.kernel.params).items())


def _curve(point: GridPoint) -> tuple:
    """The curve that a point belongs to."""
    return point.kernel.name, point.scope, point.dtype, point.threads, *sorted(point.values.items())


def _made(point: GridPoint) -> tuple:
    """The arguments at a size."""
    try:
        rng = np.random.default_rng()
        return point.kernel.make(point.n, point.dtype, rng, **point.values_of(point.kernel.params))
    except Exception as problem:  # make raises whatever it does
        raise _Refused(f"make raised {_words(problem)}", has_raised=True) from problem


def _tried(point: GridPoint, made: tuple, limit_s: float, is_first: bool, run: Callable[..., Any] | None) -> _Trial:
    """Calls on copies: a preflight for the first size of a curve, then one, or two where it is short."""
    with quiet(point.threads):
        trial = _rehearsed(point, made) if is_first else _called(point, made, run)
        if not is_first and trial.ns < min(SHORT_NS, LONG_NS):
            trial = replace(trial, ns=min(trial.ns, _called(point, made, run).ns))
    if trial.ns > limit_s * 1e9:
        raise _Refused(f"a call takes {quantity(trial.ns)}, limit_s is {limit_s:g}")
    return trial


def _rehearsed(point: GridPoint, made: tuple) -> _Trial:
    """What the preflight says of a function, which calls it at least twice."""
    kernel, name, args = point.kernel, _name(point), _own(point, made)
    outputs = () if kernel.output is None else (kernel.output,)
    settings = {"may_load": is_compiled(kernel.call) or kernel.compiled is not None}
    try:
        seen = run_preflight(name, kernel.call, args, outputs, may_change=True, **settings)
        if not all(what.startswith("argument") for what in seen.changed):  # only arguments can be new for each run
            seen = run_preflight(name, kernel.call, args, outputs, **settings)
    except Unmeasurable as problem:
        cause = problem.__cause__
        words = f"it raised {_words(cause)}" if cause else str(problem).partition("; ")[0]
        raise _Refused(words, has_raised=cause is not None) from problem
    if seen.reasons:
        raise _Refused(seen.reasons[0])
    result, content = seen.result
    if kernel.output is not None:
        result = args[kernel.output]
    changed = [content.get(what) for what in seen.changed if what.startswith("argument")]
    outcome, notes = _outcome(result, changed), seen.notes
    if seen.varies:
        notes = (*notes, "results differ from call to call: runs may not do the same work")
    if seen.sample and (cores := _cores(seen.sample)) > BUSY * point.threads:
        libraries = busy_libraries(point.threads)
        notes = (*notes, f"{cores:.1f} cores were busy by {libraries} where threads = {point.threads} was declared")
    run = None if seen.run is kernel.call else seen.run
    changes = bool(changed) and kernel.prepare is None
    if changes and all(isinstance(content, np.ndarray) for content in changed):
        changes = _called(point, made, run).changes  # some are outputs
    return _Trial(point, max(1.0, 1e9 * seen.call_s), outcome, changes, seen.varies, notes, run)


def _called(point: GridPoint, made: tuple, run: Callable[..., Any] | None) -> _Trial:
    """One call, and another one where it changed arrays: are they only written?"""
    kernel, args = point.kernel, _own(point, made)
    call = partial(run or kernel.call, *args)
    state = State(_nothing, tuple(None if i == kernel.output else arg for i, arg in enumerate(args)))
    try:
        start = time.perf_counter_ns()
        result = call()
        ns = time.perf_counter_ns() - start
    except Exception as problem:  # the function raises whatever it does
        raise _Refused(f"it raised {_words(problem)}", has_raised=True) from problem
    changed = [name for name in state.changes() if name.startswith("argument")]
    left = [own_copy(args[int(name.split()[1])]) for name in changed]
    outcome = _outcome(result if kernel.output is None else args[kernel.output], left)
    arrays, changes = state.changed_arrays(), bool(changed) and kernel.prepare is None
    if changes and {name for name, *_ in arrays} == set(changed):
        changes = set(only_written(call, arrays)) != set(changed)
    return _Trial(point, max(1.0, ns), outcome, changes, run=run)


def _own(point: GridPoint, made: tuple) -> tuple:
    """Arguments of the function that no other one works on."""
    return point.kernel.native(*map(own_copy, made), *point.values_of(point.kernel.tuning).values())


def _nothing() -> None:
    """Reaches nothing."""


def _outcome(result: Any, changed: Sequence[Any]) -> Any:
    """What a call gives: its result, or what it left in its arguments where it returns nothing."""
    if result is not None or not changed:
        return result
    return changed[0] if len(changed) == 1 else tuple(changed)


def _cores(sample: Sample) -> float:
    """Cores that were busy in a call that is long enough to tell."""
    return sample.as_calm().process_ns / sample.elapsed_ns if sample.elapsed_ns > BATCH_NS else 0.0


def _differences(trials: Sequence[_Trial], check: Check) -> Iterator[tuple[str, str, str]]:
    """Names and size of each function whose outcome is not that of the first with the same values of keywords."""
    firsts: dict[tuple, _Trial] = {}
    for one in trials if check is not False else ():
        first = firsts.setdefault(tuple(one.point.values.items()), one)
        if first is one or one.varies or first.varies:
            continue
        same = agree(one.outcome, first.outcome) if check is True else accepts(check, one.outcome, first.outcome)
        if not same:
            where = one.point.label.rpartition(" at n = ")[2]
            yield _name(one.point), _name(first.point), f"({where})" if "," in where else where


def _planned(trial: _Trial, apart: bool, in_code: bool) -> GridPoint:
    """The point with what its trial showed. in_code: compiled code can go from arguments to arguments."""
    point = trial.point
    if trial.run:
        point = replace(point, kernel=replace(point.kernel, call=trial.run))
    if apart:
        return replace(point, scope=point.scope if in_code else "call", fresh_ns=trial.ns)
    return replace(point, long_ns=trial.ns if trial.ns >= LONG_NS else 0.0)


def _words(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {first_line(problem)}"
