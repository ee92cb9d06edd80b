"""How long a function takes, and which of several is faster: numbers with intervals, a state and reasons.

    `call` scope    what a Python caller pays: dispatch, unboxing, the kernel
    `kernel` scope  the loop runs in compiled code: the kernel alone (functions compiled by numba.njit)

    >>> m = measure(sorted, [3, 1, 2])
    >>> m.scope, m.time_ns.low <= m.time_ns.value <= m.time_ns.high
    ('call', True)

Raises `Unmeasurable` for a function that raises or changes its arguments, `WrongResult` where a check fails, `TypeError` or
`ValueError` for a bad argument, a call that takes longer than a given budget included.
"""

import inspect
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from ..display.text import duration, quantity
from ..errors import CallError, PerflibError, Unmeasurable
from ..kernels.caches import LINE_BYTES
from ..kernels.catalog import find
from ..kernels.checks import positive_integer
from ..kernels.description import verify
from ..kernels.jit.assembly import MachineCode, machine_code
from ..kernels.probes.peak import FMA_PEAK_OPS
from ..stats import Interval, fewest_samples
from ..timer import Clock
from .case import MODES, Case, case, is_compiled, require_known, require_scope
from .diagnostics import Evidence, judge, verdict
from .fresh_arguments import SHORTEST_NS, Pool, fresh_copy
from .placement import NUMPY_STEP, Placement, drawn_seed
from .preflight import (
    LONG_S,
    Preflight,
    accepts,
    agree,
    compiling_s,
    formula_reason,
    innermost,
    look_up_reason,
    run_preflight,
)
from .processes import in_processes
from .results import Comparison, Measurement, combined, difference_as_shown, pooled
from .sampling import BATCH_NS, Sample, busy_libraries, quiet
from .sensitivity import sensitivity
from .session import Session, take

MARGIN = 0.02  # the smallest difference that a comparison calls one
PLACEMENTS = ("drawn", "mine")
SHORT_S = 0.005  # of a call whose time on aligned arrays is measured too
APART = 0.05  # the two are both shown where they differ by more
LOOK_UP_NS = 1_000  # of an `lru_cache`, ten times what it takes: a longer run does more than look up
BUDGET_S = 1.0  # for the rounds, by default
COPY = ", the copy>"  # ends the label of a copy that is measured to be subtracted
CANNOT = "Numba cannot compile it in nopython mode: "
Fresh = Callable[..., Any] | bool | Sequence[int] | None
"""A function of a random generator that returns arguments, True for copies, or the indices of those to copy."""
PEAK_S = 0.3  # seconds for the multiply-add peak


def measure(
    fn: Callable,
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    fresh: Fresh = None,
    in_place: bool = False,
    scope: str | None = None,
    mode: str = "throughput",
    flops: int = 0,
    bytes: int = 0,
    exact: tuple[np.ndarray, np.ndarray] | None = None,
    budget_s: float | None = None,
    threads: int = 1,
    processes: int = 1,
    seed: int | None = None,
    placement: str = PLACEMENTS[0],
    clock: Clock = time.perf_counter_ns,
    **others: Any,
) -> Measurement:
    """Measure one run of `fn(*args, **kwargs)`.

    fresh, in_place: for a function that changes its arguments. fresh: every run has its own, from a function of a random
    generator that returns them, or copies of those given (True, or the indices of those to copy). in_place: a run goes on
    with what the last one left, and what it changes is restored before each batch.
    scope: both for a function compiled by Numba, `kernel` with `.call` beside it; `call` for any other; or the one named.
    mode: `throughput` (same arguments, runs may overlap), `latency` (each run waits for the output of the last), `cold`
    (other arrays in every run). flops, bytes: work of one run, for the rates. exact: (float64 result, elementwise bound)
    that the result must agree with first. budget_s: seconds for the rounds, 1 if not given; at least six are taken. A call
    of a second and more is made seven times in all. processes: repeat in so many fresh processes, where the layout of
    memory is drawn anew, each with this budget. seed: of order and places; None draws one, which the result keeps.
    placement: `drawn` copies the arrays to another place in every round, so the interval is one over places; `mine`
    measures them where they lie. Everything of the caller that can be restored holds afterwards what it held.
    """
    _require_function("measure", fn, others)
    _require(scope, mode, budget_s, threads, placement, fresh, in_place)
    seed = drawn_seed(seed)
    if positive_integer("processes", processes) > 1:
        settings = {"scope": scope, "mode": mode, "flops": flops, "bytes": bytes, "budget_s": budget_s, "threads": threads}
        settings |= {"exact": exact, "seed": seed, "placement": placement}
        settings |= {"kwargs": kwargs, "fresh": fresh, "in_place": in_place}
        return replace(combined(in_processes(measure, processes, fn, args, settings)), seed=seed)
    label = getattr(fn, "__name__", type(fn).__name__)
    how = _Way(mode, budget_s, clock, fresh, in_place, np.random.default_rng(seed))
    with quiet(threads), _restored() as subjects:
        subject = _subject(label, fn, args, kwargs, how)
        subjects.append(subject)
        if exact is not None:
            has_result = subject.is_long or _is_given(fresh) or in_place  # another call would change the arguments
            verify(label, subject.result() if has_result else fn(*args, **dict(kwargs or {})), *exact)
        with quiet(threads):  # the first call may have loaded libraries with threads of their own
            found = _measured(subject, how, scope, threads, placement, {"flops": flops, "bytes": bytes, "seed": seed})
    return found


def _measured(
    subject: "_Subject", how: "_Way", scope: str | None, threads: int, placement: str, work: Mapping[str, int]
) -> Measurement:
    """A subject in each of its scopes; one scope where a call is long, because the dispatch is nothing beside it."""
    both = ("kernel",) if subject.is_long else ("kernel", "call")
    scopes = (scope,) if scope is not None else both if subject.compiled else ("call",)
    places = _placement([subject], placement, how)
    pool = _pool([subject], placement, how)
    cases = _cases(subject, scopes, how, optional=scope is None, placement=places, pool=pool)
    hidden = _aligned(subject, cases[0], places, how)
    main_case, *other_cases = [c for c in cases if not c.label.endswith(COPY)]
    measured = [main_case, *other_cases]
    known, given = {}, []
    if subject.is_long and subject.preflight.sample:
        known = {main_case.label: 1e9 * subject.preflight.call_s}
        given = [replace(subject.preflight.sample, label=main_case.label)]

    def intervals(so_far: Session) -> list[Interval]:
        return [so_far.net(c.label) if c.minus else so_far.gross(c.label) for c in measured]

    session = take([*cases, *hidden], how.seconds, intervals, work["seed"], how.clock, long_ns=known, first=given)
    main, *others = (_summary(c, session, subject, threads, work, how) for c in measured)
    main = replace(main, code=_code(subject))
    for one in hidden:
        aligned = session.net(one.label)
        if aligned.value > 0 and not 1 / (1 + APART) <= main.time_ns.value / aligned.value <= 1 + APART:
            main = replace(main, aligned_ns=aligned)
    if not others:
        return main
    paired = session.difference(other_cases[0].label, main_case.label)
    return replace(main, call=others[0], dispatch_ns=difference_as_shown(others[0].time_ns, main.time_ns, paired))


def compare(
    functions: Mapping[str, Callable] | Sequence[Callable],
    *args: Any,
    kwargs: Mapping[str, Any] | None = None,
    fresh: Fresh = None,
    in_place: bool = False,
    check: bool | Callable[[Any, Any], Any] = True,
    scope: str | None = None,
    mode: str = "throughput",
    margin: float = MARGIN,
    budget_s: float | None = None,
    threads: int = 1,
    processes: int = 1,
    seed: int | None = None,
    placement: str = PLACEMENTS[0],
    clock: Clock = time.perf_counter_ns,
    **others: Any,
) -> Comparison:
    """Compare functions on the same arguments, interleaved in one run, against the first of them.

    functions: by name, or a list of them, named as they are. check: warn where a result differs from that of the first,
    floats by tolerance; or a function of two results that says whether they agree. kwargs, fresh and in_place: as for
    `measure`; all functions of a round have arguments of the same contents.
    scope: `kernel` if all are compiled by Numba, else `call`, or the one named. margin: a difference up to this share
    counts as none. The error rate of the intervals is divided by the number of comparisons. A hidden pair (the baseline
    under two labels) measures what this session can tell apart; it is left out where a call of the baseline takes a second
    and more, and a note says so. processes, seed and placement: as for `measure`; all
    functions of a round find the arrays in the same places, and pairs are of one process.
    """
    functions = _by_name(functions, others)
    if len(functions) < 2:
        raise ValueError(f"functions must be at least 2, got {len(functions)}")
    if not 0 < margin < 1:
        raise ValueError(f"margin must lie between 0 and 1, got {margin}")
    _require(scope, mode, budget_s, threads, placement, fresh, in_place)
    seed = drawn_seed(seed)
    if positive_integer("processes", processes) > 1:
        settings = {"scope": scope, "mode": mode, "margin": margin, "budget_s": budget_s, "threads": threads}
        settings |= {"seed": seed, "placement": placement}
        settings |= {"kwargs": kwargs, "fresh": fresh, "in_place": in_place, "check": check}
        return _combined(in_processes(compare, processes, functions, args, settings), margin, seed)
    baseline, *alternatives = functions
    again = f"<{baseline} again>"
    how = _Way(mode, budget_s, clock, fresh, in_place, np.random.default_rng(seed))
    with quiet(threads), _restored() as rehearsed:
        for name, fn in functions.items():
            how.rng = np.random.default_rng(seed)  # the same arguments for everybody
            rehearsed.append(_subject(name, fn, args, kwargs, how))
        subjects = {subject.label: subject for subject in rehearsed}
        notes = _differences(rehearsed, check)
        with quiet(threads):
            places, pool = _placement(rehearsed, placement, how), _pool(rehearsed, placement, how)
            has_kernels = all(s.compiled for s in rehearsed) and (pool is None or pool.is_compilable)
            scope = scope or ("kernel" if has_kernels else "call")
            each = {n: _cases(s, (scope,), how, placement=places, pool=pool) for n, s in subjects.items()}
            first = {n: replace(some[0], label=n) for n, some in each.items()}
            copy, *_ = [some[1:] for some in each.values()]
            first = {n: replace(c, minus=copy[0].label if copy else "") for n, c in first.items()}
            hidden = replace(first[baseline], label=again)
            if pool and hidden.prepare:
                hidden = replace(hidden, prepare=partial(hidden.prepare, label=again))

            is_paired = not subjects[baseline].is_long
            if not is_paired:
                notes += (f"{baseline} is not compared with itself: its calls are long, and this would double them",)

            def ratios(session: Session) -> dict[str, Interval]:
                pair = (baseline, again) if is_paired else (baseline,)
                over = {n: session.ratio(n, *pair, comparisons=len(alternatives)) for n in alternatives}
                return over | ({again: session.ratio(again, baseline)} if is_paired else {})

            least = fewest_samples(len(alternatives))
            known = {n: 1e9 * s.preflight.call_s for n, s in subjects.items() if s.is_long}
            cases = [*first.values(), *([hidden] if is_paired else []), *copy]
            given = _first_samples(rehearsed) if not copy else []
            session = take(cases, how.seconds, lambda so_far: ratios(so_far).values(), seed, clock, least, known, given)
            summaries = {n: _summary(first[n], session, s, threads, {"seed": seed}, how) for n, s in subjects.items()}
            measurements = {n: replace(m, code=_code(subjects[n])) for n, m in summaries.items()}
    over = ratios(session)
    return _comparison(measurements, over, over.pop(again, None), margin, notes)


def _combined(each: Sequence[Comparison], margin: float, seed: int) -> Comparison:
    """One comparison of many: pairs are of one process, and the ratios of the processes are put together."""
    measurements = {n: replace(combined([c.measurements[n] for c in each]), seed=seed) for n in each[0].measurements}
    over = {name: pooled([c.ratios[name] for c in each], len(each[0].ratios)) for name in each[0].ratios}
    pairs = [c.again for c in each if c.again]
    return _comparison(measurements, over, pooled(pairs) if pairs else None, margin, each[0].notes)


def _first_samples(subjects: Sequence["_Subject"]) -> list[Sample]:
    """The second calls of the preflight as a round; none where a call is short, because a round has one of everything."""
    samples = [s.preflight.sample and replace(s.preflight.sample, label=s.label) for s in subjects if s.is_long]
    return [sample for sample in samples if sample] if len(samples) == len(subjects) else []


def _comparison(
    measurements: Mapping[str, Measurement],
    over: Mapping[str, Interval],
    same: Interval | None,
    margin: float,
    notes: tuple[str, ...] = (),
) -> Comparison:
    """The verdicts; `same` is the ratio of the first, the baseline, and itself, where that was measured."""
    baseline, *others = measurements
    bound = max(margin, float(np.expm1(abs(np.log([same.low, same.high]))).max())) if same else margin
    doubtful = {n for n in others if "invalid" in (measurements[n].state, measurements[baseline].state)}
    verdicts = {n: "unresolved" if n in doubtful else verdict(ratio, margin, bound) for n, ratio in over.items()}
    return Comparison(baseline, measurements, over, verdicts, same, bound, notes)


@dataclass
class _Way:
    """How something is measured."""

    mode: str
    budget_s: float | None
    clock: Clock
    fresh: Fresh
    in_place: bool
    rng: np.random.Generator

    @property
    def seconds(self) -> float:
        return BUDGET_S if self.budget_s is None else self.budget_s


@dataclass(frozen=True)
class _Subject:
    """A function that behaves, with what each scope needs."""

    label: str
    fn: Callable
    args: tuple
    """All values, those passed by keyword at the end."""
    names: tuple[str, ...]
    """Of the values that are passed by keyword."""
    compiled: Callable | None
    """The machine code behind the function: its own, or that of a described kernel's public wrapper."""
    compiled_args: tuple
    output: int | None
    mode: str
    preflight: Preflight
    own: tuple[int, ...]
    """Indices of the arguments that every run has for itself."""
    draw: Callable[[], tuple] | None
    """Returns other values of all arguments."""
    draw_ns: float
    notes: tuple[str, ...]

    @property
    def is_long(self) -> bool:
        return self.preflight.call_s >= LONG_S and self.mode == MODES[0]

    def result(self) -> Any:
        return self.preflight.result[0]


def _require_function(way: str, fn: Any, others: Mapping[str, Any]) -> None:
    """Refuse what is no function, and keywords of the function among those of perflib, with the call that is right."""
    if isinstance(fn, str):
        raise CallError(f"{way} takes a function, got the text {fn!r}: {way}(lambda: {fn}), or %{way} {fn} in a notebook")
    if isinstance(fn, (Mapping, list, tuple)) and way == "measure" and len(fn) and all(map(callable, _values(fn))):
        raise CallError(f"measure takes one function, got {len(fn)}: compare([f, g], x)")
    if not callable(fn):
        got = "None" if fn is None else f"a {type(fn).__name__}"
        raise CallError(f"{way} takes a function and its arguments, got {got}: {way}(f, x) and not {way}(f(x))")
    if others:
        words = ", ".join(f"{name!r}: {value!r}" for name, value in others.items())
        raise CallError(f"{way} has no keyword {next(iter(others))}: keywords of f go into kwargs={{{words}}}")


def _values(functions: Mapping[str, Any] | Sequence[Any]) -> Sequence[Any]:
    return list(functions.values()) if isinstance(functions, Mapping) else functions


def _by_name(functions: Any, others: Mapping[str, Any]) -> dict[str, Callable]:
    """The functions by name; those of a list are called what they are called, twice the same with a number."""
    if callable(functions) or not isinstance(functions, (Mapping, list, tuple)):
        got = getattr(functions, "__name__", type(functions).__name__)
        raise CallError(f"compare takes functions by name or in a list, got {got}: compare([f, g], x)")
    for fn in _values(functions):
        _require_function("compare", fn, others)
    if isinstance(functions, Mapping):
        return dict(functions)
    count: Counter[str] = Counter()
    named = {}
    for fn in functions:
        name = getattr(fn, "__name__", type(fn).__name__)
        count[name] += 1
        named[name if count[name] == 1 else f"{name} {count[name]}"] = fn
    return named


def _require(
    scope: str | None, mode: str, budget_s: float | None, threads: int, placement: str, fresh: Fresh, in_place: bool
) -> None:
    """Refuse settings before anything is called: a call may take minutes."""
    if placement not in PLACEMENTS:
        raise ValueError(f"placement must be one of {', '.join(PLACEMENTS)}; got {placement!r}")
    require_known("call" if scope is None else scope, mode)
    positive_integer("threads", threads)
    if budget_s is not None and not budget_s > 0:
        raise ValueError(f"budget_s must be above 0, got {budget_s}")
    if _is_given(fresh) and in_place:
        raise ValueError("fresh and in_place exclude each other, got both")
    if (_is_given(fresh) or in_place) and mode != MODES[0]:
        raise ValueError(f"fresh and in_place need mode {MODES[0]!r}, got {mode!r}")


def _is_given(fresh: Fresh) -> bool:
    return fresh is not None and fresh is not False


@contextmanager
def _restored() -> Iterator[list[_Subject]]:
    """Whatever happens to them, the arguments of these subjects hold afterwards what they held."""
    subjects: list[_Subject] = []
    try:
        yield subjects
    finally:
        for subject in subjects:
            if subject.preflight.state:
                subject.preflight.state.restore()


def _subject(label: str, fn: Callable, args: tuple, kwargs: Mapping[str, Any] | None, how: _Way) -> _Subject:
    """Rehearse the function and find its machine code."""
    settings = dict(kwargs or {})
    if settings and is_compiled(fn):
        args, settings = _all_by_position(label, fn, args, settings), {}
    description = find(fn)
    output = description.output if description else None
    draw, draw_ns = None, 0.0
    if callable(how.fresh):
        draw = partial(_drawn, how.fresh, how.rng)
        start = how.clock()
        args = draw()
        draw_ns = how.clock() - start
    values = (*args, *settings.values())
    again = None
    if _is_given(how.fresh):
        values, again = _rehearsal(label, values, how, draw, tuple(settings.values()))
    count = len(values) - len(settings)
    given = dict(zip(settings, values[count:], strict=True))
    known = () if output is None else (output,)
    second = (lambda: again[:count]) if again is not None else None
    loads = is_compiled(fn) or bool(description and description.compiled)
    preflight = run_preflight(label, fn, values[:count], known, how.clock, given, how.in_place, second, loads)
    notes = list(preflight.notes)
    if preflight.call_s > how.seconds:
        if how.budget_s is not None:
            least = f"{fewest_samples() * preflight.call_s:.2g} for six calls of {label}"
            raise ValueError(
                f"budget_s must be at least {least}, which takes {preflight.call_s:.2g} s a call; got {how.budget_s}"
            )
        notes.append(
            f"a call takes {quantity(1e9 * preflight.call_s)}: six of them took longer than the usual {BUDGET_S:g} s"
        )
    own = _own(values, how, preflight, again)
    if draw:
        _require_new(label, values, again, preflight)
    elif _is_given(how.fresh):
        values = (*args, *settings.values())
    compiled, compiled_args = (fn, values) if is_compiled(fn) else (description and description.compiled, values)
    if compiled is not None and compiled is not fn:
        if _is_given(how.fresh) or how.in_place:
            compiled = None
        else:
            bound = inspect.signature(fn).bind(*args, **settings)
            bound.apply_defaults()
            if "out" in bound.arguments and bound.arguments["out"] is None:
                bound.arguments["out"] = preflight.result[0]
            compiled_args = description.unchecked(*bound.args)
    names, all_notes = tuple(settings), tuple(notes)
    new = draw and (lambda: (*draw(), *settings.values()))
    return _Subject(
        label, fn, values, names, compiled, compiled_args, output, how.mode, preflight, own, new, draw_ns, all_notes
    )


def _all_by_position(label: str, fn: Any, args: tuple, kwargs: dict[str, Any]) -> tuple:
    """Compiled code takes its arguments by position."""
    try:
        bound = inspect.signature(fn.py_func).bind(*args, **kwargs)
    except TypeError as problem:
        raise Unmeasurable(f"{label} must not raise, got TypeError: {problem}") from problem
    bound.apply_defaults()
    return bound.args


def _drawn(make: Callable, rng: np.random.Generator) -> tuple:
    """What `make` returns, as a tuple of arguments."""
    try:
        takes = len(inspect.signature(make).parameters)
    except (TypeError, ValueError):
        takes = 1
    try:
        args = make(rng) if takes else make()
    except Exception as problem:
        reason = f"{type(problem).__name__}: {innermost(problem)}"
        raise Unmeasurable(f"fresh must be a function of a random generator, it raised {reason}") from problem
    if isinstance(args, Iterator):
        raise Unmeasurable(f"fresh must return the arguments, got a {type(args).__name__}: return a tuple of them")
    return args if isinstance(args, tuple) else (args,)


def _rehearsal(
    label: str, values: tuple, how: _Way, draw: Callable[[], tuple] | None, settings: tuple
) -> tuple[tuple, tuple]:
    """Arguments for the first and the second call of the preflight."""
    if draw:
        return values, (*draw(), *settings)
    try:
        chosen = range(len(values)) if how.fresh is True else [range(len(values))[i] for i in how.fresh]
    except (TypeError, IndexError):
        raise ValueError(
            f"fresh must be a function of a random generator, True, or indices below {len(values)}; got {how.fresh!r}"
        ) from None
    try:
        first, second = (tuple(fresh_copy(v) if i in chosen else v for i, v in enumerate(values)) for _ in range(2))
    except Exception as problem:
        raise Unmeasurable(
            f"{label} needs arguments that can be copied for fresh={how.fresh!r}, got {innermost(problem)}; give fresh=make"
        ) from problem
    return first, second


def _own(values: tuple, how: _Way, preflight: Preflight, again: tuple | None) -> tuple[int, ...]:
    """Indices of the arguments that every run has for itself: those named, those drawn, or those that change."""
    if not _is_given(how.fresh) or again is None:
        return ()
    if how.fresh is True:
        changed = tuple(i for i in range(len(values)) if f"argument {i}" in preflight.changed)
        return changed or tuple(i for i, value in enumerate(values) if value is not again[i])
    if callable(how.fresh):
        return tuple(i for i, value in enumerate(values) if value is not again[i])
    return tuple(range(len(values))[i] for i in how.fresh)


def _require_new(label: str, values: tuple, again: tuple | None, preflight: Preflight) -> None:
    """Refuse a `make` that returns again what the function has changed."""
    for i, value in enumerate(values):
        if again is not None and value is again[i] and f"argument {i}" in preflight.changed:
            kind = type(value).__name__
            raise Unmeasurable(
                f"fresh must return new arguments each time, got the same {kind} again, which {label} changed"
            )


def _differences(subjects: Sequence[_Subject], check: bool | Callable[[Any, Any], Any]) -> tuple[str, ...]:
    """One sentence for each function whose result is not that of the first, which are also warnings."""
    first, *others = subjects
    if check is False or first.preflight.varies or first.preflight.reasons:
        return ()
    notes = []
    for other in others:
        if other.preflight.varies or other.preflight.reasons:
            continue
        if callable(check):
            same = accepts(check, first.result(), other.result())
        else:
            one, two = first.preflight.result[1], other.preflight.result[1]
            written = (agree(one[name], two[name]) for name in one.keys() & two.keys())
            same = agree(first.result(), other.result()) and all(written)
        if not same:
            notes.append(f"{other.label} does not compute what {first.label} does: their results differ")
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=3)
    return tuple(notes)


def _placement(subjects: Sequence[_Subject], placement: str, how: _Way) -> Placement | None:
    """Where the arrays of all subjects lie; None where they stay, as the caller chose or the mode needs."""
    descriptions = [find(subject.fn) for subject in subjects]
    stays = any(d and d.placement == "own" for d in descriptions)
    if placement != PLACEMENTS[0] or stays or subjects[0].mode != MODES[0] or _is_given(how.fresh):
        return None
    step = LINE_BYTES if all(descriptions) else NUMPY_STEP
    args = subjects[0].args
    if how.in_place:  # containers are restored where they are
        return Placement(tuple(arg if isinstance(arg, np.ndarray) else None for arg in args), step)
    parts = [part for subject in subjects for part in (subject.args, subject.compiled_args)]
    outputs = {subject.output for subject in subjects}
    known = [part[i] for part in parts for i in outputs if i is not None and i < len(part)] if len(outputs) == 1 else []
    written = set.intersection(*(set(subject.preflight.written) for subject in subjects))
    return Placement(args, step, parts, [*known, *(arg for i, arg in enumerate(args) if f"argument {i}" in written)])


def _pool(subjects: Sequence[_Subject], placement: str, how: _Way) -> Pool | None:
    """The arguments that every run has for itself; None where runs share them."""
    if not _is_given(how.fresh):
        return None
    first, fastest = subjects[0], min(subject.preflight.call_s for subject in subjects)
    own = tuple(sorted({i for subject in subjects for i in subject.own}))
    step = NUMPY_STEP if placement == PLACEMENTS[0] else 0
    make = partial(Pool, first.args, own, draw=first.draw, draw_ns=first.draw_ns, budget_s=how.seconds, step=step)
    pool = make(1e9 * fastest)
    if 1e9 * fastest > BATCH_NS:
        return pool
    run_ns = min(_trial_ns(pool, subject, how.clock) for subject in subjects)
    return make(run_ns) if pool.count * run_ns < SHORTEST_NS else pool


def _trial_ns(pool: Pool, subject: _Subject, clock: Clock) -> float:
    """Nanoseconds of a run on the sets of a pool: the calls of the preflight were cold, and went through Python."""
    in_code = subject.compiled and pool.is_compilable
    fn, scope = (subject.compiled, "kernel") if in_code else (subject.preflight.run, "call")
    try:
        one, *_ = pool.cases("<trial>", fn, scope, () if in_code else subject.names)
    except NumbaError:  # reported when the case is made
        return 1e9 * subject.preflight.call_s
    times = []
    for _ in range(3):
        one.prepare()
        start = clock()
        _guarded(subject.label, one.run)(pool.count)
        times.append((clock() - start) / pool.count)
    return max(1.0, min(times))


def _aligned(subject: _Subject, main: Case, places: Placement | None, how: _Way) -> list[Case]:
    """The same on 64-byte boundaries, where the arrays lie as NumPy gives them and a call is short."""
    if how.in_place or subject.preflight.call_s > SHORT_S:
        return []
    if not places or places.step == LINE_BYTES or not places.is_alignable:
        return []
    aligned = Placement(subject.args, LINE_BYTES, [subject.compiled_args])
    (one, *_) = _cases(subject, (main.scope,), replace(how, clock=lambda: 0), placement=aligned)
    return [replace(one, label=f"<{subject.label}, aligned>")]


def _cases(
    subject: _Subject,
    scopes: Sequence[str],
    how: _Way,
    optional: bool = False,
    placement: Placement | None = None,
    pool: Pool | None = None,
) -> list[Case]:
    """A case per scope, each compiled; `optional`: `call` alone, with a note, where the kernel does not compile."""
    cases: list[Case] = []
    notes: tuple[str, ...] = subject.notes
    stays = placement.notes if placement is not None else ()
    for scope in scopes:
        label = subject.label if not cases else f"<{subject.label}, {scope}>"
        try:
            some, compile_s = compiling_s(partial(_build, label, subject, scope, placement, pool), how.clock)
        except (NumbaError, _NoKernel) as problem:
            reason = f"no kernel scope: {problem if isinstance(problem, _NoKernel) else CANNOT + innermost(problem)}"
            if not optional:
                raise TypeError(f"{subject.label} has {reason}; use scope='call'") from None
            notes = (*notes, reason)
            continue
        compile_s += subject.preflight.compile_s
        one = replace(some[0], compile_s=compile_s, notes=(*some[0].notes, *stays, *notes))
        one = replace(one, placement=one.placement or placement or None, run=_guarded(subject.label, one.run))
        if how.in_place:
            one = _in_place(one, subject, placement, how.clock)
        cases += [one, *some[1:]]
    return cases


class _NoKernel(PerflibError):
    """Why compiled code cannot run in a loop here."""


def _build(label: str, subject: _Subject, scope: str, placement: Placement | None, pool: Pool | None) -> list[Case]:
    """The case of one scope, and what is subtracted from it."""
    in_code = scope == "kernel" and subject.compiled
    fn, args = (subject.compiled, subject.compiled_args) if in_code else (subject.preflight.run, subject.args)
    names = () if in_code else subject.names
    if pool:
        if in_code and not pool.is_compilable:
            raise _NoKernel("compiled code gets arrays of its own for every run, and nothing else")
        require_scope(subject.label, fn if in_code else subject.fn, scope)
        return pool.cases(label, fn, scope, names)
    output = subject.output if subject.output is not None and subject.output < len(args) else None
    current = placement.bind(args) if placement else None
    return [case(label, fn, args, scope, subject.mode, output, current, names)]


def _guarded(label: str, run: Callable[[int], Any]) -> Callable[[int], Any]:
    """Whatever a later call raises is one line, like what the first one raises."""

    def guarded(reps: int) -> Any:
        try:
            return run(reps)
        except PerflibError:
            raise
        except Exception as problem:
            reason = f"{type(problem).__name__}: {innermost(problem)}"
            raise Unmeasurable(f"{label} must not raise, got {reason}, at a later call") from problem

    return guarded


def _in_place(one: Case, subject: _Subject, placement: Placement | None, clock: Clock) -> Case:
    """Restored before each batch, which ends before a number overflows or gets so small that it takes longer."""
    state, changed = subject.preflight.state, set(subject.preflight.changed)
    args = placement.bind(subject.args) if placement else lambda: subject.args
    placed = {f"argument {i}" for i, arg in enumerate(subject.args) if placement and isinstance(arg, np.ndarray)}
    elsewhere = [state.value(name) for name in changed - placed]

    def prepare() -> None:
        if placement:
            placement.restore_all()
        state.restore(changed - placed)

    def bad() -> int:
        return sum(map(_count_bad, (*args(), *elsewhere)))

    prepare()
    usual, runs = bad(), 1
    while True:
        prepare()
        start = clock()
        try:
            with np.errstate(all="ignore"):
                one.run(runs)
        except Unmeasurable:  # it took the last one out of what it was given
            if runs == 1:
                raise
            runs //= 2
            break
        elapsed = clock() - start
        if bad() > usual:
            runs //= 2
            break
        if elapsed > 2 * BATCH_NS or runs > BATCH_NS:
            break
        runs *= 2
    if not runs:
        raise Unmeasurable(f"one run of {subject.label} in place overflows or ends in numbers too small; give fresh=make")
    prepare()
    what = f"runs go on with what the last one left, restored before each batch of at most {runs}"
    return replace(one, prepare=prepare, most=runs, notes=(*one.notes, what))


def _count_bad(value: Any) -> int:
    """Elements that are not finite, or denormal."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fc":
        return 0
    size = np.abs(value)
    return int(np.sum(~np.isfinite(size) | ((size > 0) & (size < np.finfo(value.dtype).tiny))))


def _summary(
    case: Case, session: Session, subject: _Subject, threads: int, work: Mapping[str, int], how: _Way
) -> Measurement:
    own = tuple(session.samples[case.label])
    flops, net = work.get("flops", 0), session.net(case.label)
    wrong, preflight = [*subject.preflight.reasons], subject.preflight
    if case.scope == "kernel" and (reason := formula_reason(subject.compiled, subject.compiled_args, net.value, threads)):
        wrong.append(reason)
    wrong += [look_up_reason(name) for name, count in preflight.look_ups if net.value <= LOOK_UP_NS * count]
    if preflight.state and not case.most and not case.minus:
        late = [n for n in preflight.state.changes() if n not in (*preflight.written, *preflight.changed)]
        wrong += [f"{name} changed during the timed part: runs may not do the same work" for name in late]
    busy = float(np.median([s.as_calm().process_ns / max(1, s.elapsed_ns) for s in own])) > threads
    evidence = Evidence(
        own,
        session.canary,
        net=net,
        floor=session.floor(case.scope),
        scope=case.scope,
        threads=threads,
        garbage=session.garbage,
        flops=flops,
        peak_gflops=peak_gflops().high * threads if flops else np.inf,
        varies=preflight.varies,
        wrong=wrong,
        is_asynchronous=preflight.run is not None and preflight.run is not subject.fn,
        libraries=busy_libraries(threads) if busy else "",
        overflowed=subject.mode == "latency" and _overflows(case.run(own[-1].reps)),
    )
    state, reasons = judge(evidence)
    notes = case.notes
    if case.minus:
        notes = (*notes, f"the copy takes {duration(session.gross(case.minus))}")
    return Measurement(
        label=subject.label,
        scope=case.scope,
        mode=subject.mode,
        time_ns=evidence.net,
        gross_ns=session.gross(case.label),
        floor_ns=session.gross(case.minus) if case.minus else evidence.floor,
        samples=own,
        state=state,
        reasons=reasons,
        ended_by=session.ended_by,
        seconds=session.seconds,
        compile_s=case.compile_s,
        notes=notes,
        sensitivity=None if case.most or case.minus else sensitivity(case, own, how.seconds, how.clock),
        **work,
    )


@cache
def peak_gflops(dtype: str = "float32") -> Interval:
    """Measure the multiply-add peak of one core, GFLOP/s, once per process; no rate of useful work lies above it."""
    kernel = find("fma_peak")
    args = kernel.make(FMA_PEAK_OPS, dtype, np.random.default_rng(0))
    with quiet():
        peak = case(kernel.name, kernel.compiled, args, "kernel")
        session = take([peak], PEAK_S, lambda so_far: [so_far.gross(peak.label)])
    return session.net(peak.label).inverse(kernel.flops(FMA_PEAK_OPS))


def _code(subject: _Subject) -> MachineCode | None:
    """What became of a user's compiled function; perflib's own come from Numba's cache, which cannot be read."""
    is_own = (getattr(subject.fn, "__module__", "") or "").startswith(__name__.partition(".")[0] + ".")
    return machine_code(subject.fn, subject.args) if is_compiled(subject.fn) and not is_own else None


def _overflows(result: Any) -> bool:
    """Whether a number or an array in what a chain of runs left is not finite."""
    values = result if isinstance(result, tuple) else (result,)
    numbers = [np.asarray(v) for v in values if isinstance(v, (float, complex, np.generic, np.ndarray))]
    return any(not np.isfinite(v).all() for v in numbers if v.dtype.kind in "fc")
