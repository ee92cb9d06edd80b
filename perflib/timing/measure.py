"""How long a function takes, and which of several is faster: numbers with intervals, a state and reasons.

    `call` scope    what a Python caller pays: dispatch, unboxing, the kernel
    `kernel` scope  the loop runs in compiled code: the kernel alone (functions compiled by numba.njit)

    >>> m = measure(sorted, [3, 1, 2])
    >>> m.scope, m.time_ns.low <= m.time_ns.value <= m.time_ns.high
    ('call', True)

Raises `Unmeasurable` for a function that raises or changes its arguments, `WrongResult` where a check fails, `TypeError` or
`ValueError` for a bad argument, a call that takes longer than the budget included.
"""

import inspect
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from ..display.text import first_line
from ..kernels.caches import LINE_BYTES
from ..kernels.catalog import find
from ..kernels.checks import positive_integer
from ..kernels.description import verify
from ..kernels.probes.peak import FMA_PEAK_OPS
from ..stats import Interval, fewest_samples
from ..timer import Clock
from .case import MODES, Case, case, is_compiled, require_known
from .diagnostics import Evidence, judge, verdict
from .placement import NUMPY_STEP, Placement, drawn_seed
from .preflight import Preflight, compiling_s, run_preflight
from .processes import in_processes
from .results import Comparison, Measurement, combined, difference_as_shown, pooled
from .sampling import quiet
from .sensitivity import sensitivity
from .session import Session, take

MARGIN = 0.02  # the smallest difference that a comparison calls one
PLACEMENTS = ("drawn", "mine")
SHORT_S = 0.005  # of a call whose time on aligned arrays is measured too
APART = 0.05  # the two are both shown where they differ by more
PEAK_S = 0.3  # seconds for the multiply-add peak


def measure(
    fn: Callable,
    *args: Any,
    scope: str | None = None,
    mode: str = "throughput",
    flops: int = 0,
    bytes: int = 0,
    exact: tuple[np.ndarray, np.ndarray] | None = None,
    budget_s: float = 1.0,
    threads: int = 1,
    processes: int = 1,
    seed: int | None = None,
    placement: str = PLACEMENTS[0],
    clock: Clock = time.perf_counter_ns,
) -> Measurement:
    """Measure one run of `fn(*args)`.

    scope: both for a function compiled by Numba, `kernel` with `.call` beside it; `call` for any other; or the one named.
    mode: `throughput` (same arguments, runs may overlap), `latency` (each run waits for the output of the last), `cold`
    (other arrays in every run). flops, bytes: work of one run, for the rates. exact: (float64 result, elementwise bound)
    that the result must agree with first. budget_s: seconds for the rounds; at least six are taken. processes: repeat in
    so many fresh processes, where the layout of memory is drawn anew, each with this budget. seed: of order and places;
    None draws one, which the result keeps. placement: `drawn` copies the arrays to another place in every round, so the
    interval is one over places; `mine` measures them where they lie.
    """
    _require(scope, mode, budget_s, threads, placement)
    seed = drawn_seed(seed)
    if positive_integer("processes", processes) > 1:
        settings = {"scope": scope, "mode": mode, "flops": flops, "bytes": bytes, "budget_s": budget_s, "threads": threads}
        settings |= {"exact": exact, "seed": seed, "placement": placement}
        return replace(combined(in_processes(measure, processes, fn, args, settings)), seed=seed)
    label = getattr(fn, "__name__", type(fn).__name__)
    with quiet(threads):
        subject = _subject(label, fn, args, budget_s, clock, mode)
        if exact is not None:
            verify(label, fn(*args), *exact)
        scopes = (scope,) if scope is not None else ("kernel", "call") if subject.compiled else ("call",)
        places = _placement([subject], placement)
        cases = _cases(subject, scopes, clock, optional=scope is None, placement=places)
        hidden = _aligned(subject, cases[0], places)
        session = take([*cases, *hidden], budget_s, lambda so_far: [so_far.gross(c.label) for c in cases], seed, clock)
        work = {"flops": flops, "bytes": bytes, "seed": seed}
        main, *others = (_summary(c, session, subject, threads, work, budget_s, clock) for c in cases)
    for one in hidden:
        aligned = session.net(one.label)
        if aligned.value > 0 and not 1 / (1 + APART) <= main.time_ns.value / aligned.value <= 1 + APART:
            main = replace(main, aligned_ns=aligned)
    if not others:
        return main
    paired = session.difference(cases[1].label, cases[0].label)
    return replace(main, call=others[0], dispatch_ns=difference_as_shown(others[0].time_ns, main.time_ns, paired))


def compare(
    functions: Mapping[str, Callable],
    *args: Any,
    scope: str | None = None,
    mode: str = "throughput",
    margin: float = MARGIN,
    budget_s: float = 1.0,
    threads: int = 1,
    processes: int = 1,
    seed: int | None = None,
    placement: str = PLACEMENTS[0],
    clock: Clock = time.perf_counter_ns,
) -> Comparison:
    """Compare functions on the same arguments, interleaved in one run, against the first of them.

    scope: `kernel` if all are compiled by Numba, else `call`, or the one named. margin: a difference up to this share
    counts as none. The error rate of the intervals is divided by the number of comparisons. A hidden pair (the baseline
    under two labels) measures what this session can tell apart. processes, seed and placement: as for `measure`; all
    functions of a round find the arrays in the same places, and pairs are of one process.
    """
    if len(functions) < 2:
        raise ValueError(f"functions must be at least 2, got {len(functions)}")
    if not 0 < margin < 1:
        raise ValueError(f"margin must lie between 0 and 1, got {margin}")
    _require(scope, mode, budget_s, threads, placement)
    seed = drawn_seed(seed)
    if positive_integer("processes", processes) > 1:
        settings = {"scope": scope, "mode": mode, "margin": margin, "budget_s": budget_s, "threads": threads}
        settings |= {"seed": seed, "placement": placement}
        return _combined(in_processes(compare, processes, functions, args, settings), margin, seed)
    baseline, *others = functions
    again = f"<{baseline} again>"
    with quiet(threads):
        subjects = {name: _subject(name, fn, args, budget_s, clock, mode) for name, fn in functions.items()}
        scope = scope or ("kernel" if all(s.compiled for s in subjects.values()) else "call")
        places = _placement(list(subjects.values()), placement)
        cases = {name: _cases(subject, (scope,), clock, placement=places)[0] for name, subject in subjects.items()}
        cases[again] = replace(cases[baseline], label=again)

        def ratios(session: Session) -> dict[str, Interval]:
            over = {name: session.ratio(name, baseline, again, comparisons=len(others)) for name in others}
            return over | {again: session.ratio(again, baseline)}

        least = fewest_samples(len(others))
        session = take(list(cases.values()), budget_s, lambda so_far: ratios(so_far).values(), seed, clock, least)
        how = {"seed": seed}, budget_s, clock
        measurements = {n: _summary(cases[n], session, subject, threads, *how) for n, subject in subjects.items()}
    over = ratios(session)
    return _comparison(measurements, over, over.pop(again), margin)


def _combined(each: Sequence[Comparison], margin: float, seed: int) -> Comparison:
    """One comparison of many: pairs are of one process, and the ratios of the processes are put together."""
    measurements = {n: replace(combined([c.measurements[n] for c in each]), seed=seed) for n in each[0].measurements}
    over = {name: pooled([c.ratios[name] for c in each], len(each[0].ratios)) for name in each[0].ratios}
    return _comparison(measurements, over, pooled([c.again for c in each]), margin)


def _comparison(
    measurements: Mapping[str, Measurement], over: Mapping[str, Interval], same: Interval, margin: float
) -> Comparison:
    """The verdicts; `same` is the ratio of the first, the baseline, and itself."""
    baseline, *others = measurements
    bound = max(margin, float(np.expm1(abs(np.log([same.low, same.high]))).max()))
    doubtful = {n for n in others if "invalid" in (measurements[n].state, measurements[baseline].state)}
    verdicts = {n: "unresolved" if n in doubtful else verdict(ratio, margin, bound) for n, ratio in over.items()}
    return Comparison(baseline, measurements, over, verdicts, same, bound)


@dataclass(frozen=True)
class _Subject:
    """A function that behaves, with what each scope needs."""

    label: str
    fn: Callable
    args: tuple
    compiled: Callable | None
    """The machine code behind the function: its own, or that of a described kernel's public wrapper."""
    compiled_args: tuple
    output: int | None
    mode: str
    preflight: Preflight


def _require(scope: str | None, mode: str, budget_s: float, threads: int, placement: str) -> None:
    """Refuse settings before anything is called: a call may take minutes."""
    if placement not in PLACEMENTS:
        raise ValueError(f"placement must be one of {', '.join(PLACEMENTS)}; got {placement!r}")
    require_known("call" if scope is None else scope, mode)
    positive_integer("threads", threads)
    if not budget_s > 0:
        raise ValueError(f"budget_s must be above 0, got {budget_s}")


def _subject(label: str, fn: Callable, args: tuple, budget_s: float, clock: Clock, mode: str) -> _Subject:
    """Rehearse the function and find its machine code."""
    description = find(fn)
    output = description.output if description else None
    preflight = run_preflight(label, fn, args, () if output is None else (output,), clock)
    if preflight.call_s > budget_s:
        least = f"{fewest_samples() * preflight.call_s:.2g} for six calls of {label}"
        raise ValueError(f"budget_s must be at least {least}, which takes {preflight.call_s:.2g} s a call; got {budget_s}")
    compiled, compiled_args = (fn, args) if is_compiled(fn) else (description and description.compiled, args)
    if compiled is not None and compiled is not fn:
        bound = inspect.signature(fn).bind(*args)
        bound.apply_defaults()
        if "out" in bound.arguments and bound.arguments["out"] is None:
            bound.arguments["out"] = fn(*args)
        compiled_args = description.unchecked(*bound.args)
    return _Subject(label, fn, args, compiled, compiled_args, output, mode, preflight)


def _placement(subjects: Sequence[_Subject], placement: str) -> Placement | None:
    """Where the arrays of all subjects lie; None where they stay, because somebody wants it or the mode has its own."""
    descriptions = [find(subject.fn) for subject in subjects]
    stays = any(d and d.placement == "own" for d in descriptions)
    if placement != PLACEMENTS[0] or stays or subjects[0].mode != MODES[0]:
        return None
    step = LINE_BYTES if all(descriptions) else NUMPY_STEP
    parts = [part for subject in subjects for part in (subject.args, subject.compiled_args)]
    outputs = {subject.output for subject in subjects}
    known = [part[i] for part in parts for i in outputs if i is not None and i < len(part)] if len(outputs) == 1 else []
    return Placement(subjects[0].args, step, parts, known)


def _aligned(subject: _Subject, main: Case, places: Placement | None) -> list[Case]:
    """The same on 64-byte boundaries, where the arrays lie as NumPy gives them and a call is short."""
    if not places or places.step == LINE_BYTES or not places.is_alignable or subject.preflight.call_s > SHORT_S:
        return []
    aligned = Placement(subject.args, LINE_BYTES, [subject.compiled_args])
    (one, *_) = _cases(subject, (main.scope,), lambda: 0, placement=aligned)
    return [replace(one, label=f"<{subject.label}, aligned>")]


def _cases(
    subject: _Subject, scopes: Sequence[str], clock: Clock, optional: bool = False, placement: Placement | None = None
) -> list[Case]:
    """A case per scope, each compiled; `optional`: `call` alone, with a note, where the kernel does not compile."""
    cases: list[Case] = []
    notes: tuple[str, ...] = ()
    stays = placement.notes if placement is not None else ()
    for scope in scopes:
        in_code = scope == "kernel" and subject.compiled
        fn, args = (subject.compiled, subject.compiled_args) if in_code else (subject.fn, subject.args)
        output = subject.output if subject.output is not None and subject.output < len(args) else None
        current = placement.bind(args) if placement else None
        build = partial(case, subject.label, fn, args, scope, subject.mode, output, current)
        try:
            one, compile_s = compiling_s(build, clock)
        except NumbaError as problem:
            reason = f"no kernel scope: Numba cannot compile it in nopython mode: {_first_line(problem)}"
            if not optional:
                raise TypeError(f"{subject.label} has {reason}; use scope='call'") from None
            notes = (reason,)
            continue
        label = subject.label if not cases else f"<{subject.label}, {scope}>"
        compile_s += subject.preflight.compile_s
        one = replace(one, label=label, compile_s=compile_s, notes=(*one.notes, *stays, *notes))
        cases.append(replace(one, placement=placement or None))
    return cases


def _first_line(problem: NumbaError) -> str:
    """What the innermost frame of Numba's message says."""
    innermost = str(problem).split("Failed in nopython mode pipeline (step: nopython frontend)")[-1]
    return re.sub(r" at 0x\w+", "", first_line(innermost))


def _summary(
    case: Case, session: Session, subject: _Subject, threads: int, work: Mapping[str, int], budget_s: float, clock: Clock
) -> Measurement:
    own = tuple(session.samples[case.label])
    flops = work.get("flops", 0)
    evidence = Evidence(
        own,
        session.canary,
        net=session.net(case.label),
        floor=session.floor(case.scope),
        scope=case.scope,
        threads=threads,
        garbage=session.garbage,
        flops=flops,
        peak_gflops=peak_gflops().high * threads if flops else np.inf,
        varies=subject.preflight.varies,
        overflowed=subject.mode == "latency" and _overflows(case.run(own[-1].reps)),
    )
    state, reasons = judge(evidence)
    return Measurement(
        label=subject.label,
        scope=case.scope,
        mode=subject.mode,
        time_ns=evidence.net,
        gross_ns=session.gross(case.label),
        floor_ns=evidence.floor,
        samples=own,
        state=state,
        reasons=reasons,
        ended_by=session.ended_by,
        seconds=session.seconds,
        compile_s=case.compile_s,
        notes=case.notes,
        sensitivity=sensitivity(case, own, budget_s, clock),
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


def _overflows(result: Any) -> bool:
    """Whether a number or an array in what a chain of runs left is not finite."""
    values = result if isinstance(result, tuple) else (result,)
    numbers = [np.asarray(v) for v in values if isinstance(v, (float, complex, np.generic, np.ndarray))]
    return any(not np.isfinite(v).all() for v in numbers if v.dtype.kind in "fc")
