"""What is seen of every function at every size before anything is timed: it ends well, in time, with the same result.

    rehearse(points, ordered, limit_s, check)   what can be measured, and sentences on what is left out or differs

A function that raises or takes longer than `limit_s` is not called at larger sizes. One that changes its arguments gets
arguments of its own for every run, and so do the others of that size, for a fair comparison.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..display.text import first_line, quantity
from ..errors import Unmeasurable
from ..runs.grid import GridPoint
from ..timing.fresh_arguments import own_copy
from ..timing.preflight import _fingerprint, _scramble, _span, accepts, agree, run_preflight
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


def rehearse(
    points: Sequence[GridPoint],
    ordered: bool,
    limit_s: float,
    check: Check = True,
    step: Callable[[GridPoint], Any] = lambda point: None,
) -> Rehearsal:
    """Call every function at every point, on arguments of its own.

    ordered: the sizes are numbers, and a function that fails at one is not called at larger ones. step: called before each
    point.
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
                trial = _tried(point, made, limit_s, is_first, runs.setdefault(_curve(point)))
                trials.append(trial)
                runs[_curve(point)] = trial.run
            except _Refused as problem:
                ended[_curve(point) if ordered else (point.label,)] = f"{point.label} is left out: {problem}"
        if not trials:
            continue
        for name, other, size in _differences(trials, check):
            differing.setdefault((name, other), []).append(size)
        notes |= {f"{_name(t.point)}: {note}": None for t in trials for note in t.notes}
        changing |= {_name(t.point): None for t in trials if t.changes}
        apart = any(t.changes for t in trials) or any(isinstance(arg, CONTAINERS) for arg in made)
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
    return point.label.rpartition(" at n = ")[0]


def _shared(point: GridPoint) -> tuple:
    """What points have in common whose functions get the same arguments."""
    return point.threads, point.n, point.dtype, tuple(point.values_of(point.kernel.params).items())


def _curve(point: GridPoint) -> tuple:
    """The curve that a point belongs to."""
    return point.kernel.name, point.scope, point.dtype, point.threads, *sorted(point.values.items())


def _made(point: GridPoint) -> tuple:
    """The arguments at a size."""
    try:
        rng = np.random.default_rng()
        return point.kernel.make(point.n, point.dtype, rng, **point.values_of(point.kernel.params))
    except Exception as problem:  # make raises whatever it does
        raise _Refused(f"make raised {_words(problem)}") from problem


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
    kernel = point.kernel
    args = kernel.native(*map(own_copy, made), *point.values_of(kernel.tuning).values())
    outputs = () if kernel.output is None else (kernel.output,)
    try:
        seen = run_preflight(_name(point), kernel.call, args, outputs, may_change=True)
        if not all(name.startswith("argument") for name in seen.changed):  # only arguments can be new for each run
            seen = run_preflight(_name(point), kernel.call, args, outputs)
    except Unmeasurable as problem:
        cause = problem.__cause__
        raise _Refused(f"it raised {_words(cause)}" if cause else str(problem).partition("; give fresh")[0]) from problem
    if seen.reasons:
        raise _Refused(seen.reasons[0])
    result, content = seen.result
    changed = {int(name.split()[1]): content.get(name) for name in seen.changed if name.startswith("argument")}
    if kernel.output is not None:
        result = args[kernel.output]
    changes = any(not _is_output(point, made, i, after) for i, after in changed.items() if i < len(made))
    outcome, notes = _outcome(result, list(changed.values())), seen.notes
    if seen.varies:
        notes = (*notes, "results differ from call to call: runs may not do the same work")
    if seen.sample and (cores := _cores(seen.sample)) > BUSY * point.threads:
        libraries = busy_libraries(point.threads)
        notes = (*notes, f"{cores:.1f} cores were busy by {libraries} where threads = {point.threads} was declared")
    run = None if seen.run is kernel.call else seen.run
    return _Trial(point, max(1.0, 1e9 * seen.call_s), outcome, changes, seen.varies, notes, run)


def _called(point: GridPoint, made: tuple, run: Callable[..., Any] | None) -> _Trial:
    """One call."""
    kernel = point.kernel
    own = tuple(map(own_copy, made))
    args = kernel.native(*own, *point.values_of(kernel.tuning).values())
    try:
        start = time.perf_counter_ns()
        result = (run or kernel.call)(*args)
        ns = time.perf_counter_ns() - start
    except Exception as problem:  # the function raises whatever it does
        raise _Refused(f"it raised {_words(problem)}") from problem
    changed = [i for i, (one, now) in enumerate(zip(made, own, strict=True)) if _is_changed(one, now)]
    changes = any(i != kernel.output and not _is_output(point, made, i, own[i]) for i in changed)
    result = result if kernel.output is None else own[kernel.output]
    return _Trial(point, max(1.0, ns), _outcome(result, [own[i] for i in changed]), changes, run=run)


def _outcome(result: Any, changed: Sequence[Any]) -> Any:
    """What a call gives: its result, or what it left in its arguments where it returns nothing."""
    if result is not None or not changed:
        return result
    return changed[0] if len(changed) == 1 else tuple(changed)


def _cores(sample: Sample) -> float:
    """Cores that were busy in a call that is long enough to tell."""
    return sample.process_ns / sample.elapsed_ns if sample.elapsed_ns > BATCH_NS else 0.0


def _is_changed(before: Any, after: Any) -> bool:
    return isinstance(before, (np.ndarray, *CONTAINERS)) and _fingerprint(before) != _fingerprint(after)


def _is_output(point: GridPoint, made: tuple, index: int, after: Any) -> bool:
    """Whether a function only writes an argument: on other contents, it leaves the same or what it does not touch."""
    before = made[index]
    if not isinstance(before, np.ndarray) or before.dtype.kind not in "iuf" or not before.size:
        return False
    other = _scramble(before, _span(before))
    args = tuple(other.copy() if i == index else own_copy(arg) for i, arg in enumerate(made))
    try:
        point.kernel.call(*point.kernel.native(*args, *point.values_of(point.kernel.tuning).values()))
    except Exception:  # it reads what it was given
        return False
    return bool(((args[index] == after) | (args[index] == other)).all())


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
