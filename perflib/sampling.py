"""Taking samples: every alternative in every round, in random order, in batches long enough for the clock.

    Case                    one alternative: something that can run `reps` times
    case(fn, args, scope)   a Case for a function, in `call` or in `kernel` scope
    calibrate(run)          how many runs make a batch of about a millisecond
    plan_rounds(...)        how many rounds each case gets from a budget: 6 to 30
    rounds(cases, ...)      yields the samples of one round after another
    quiet(threads)          context manager: thread counts set, garbage collection off, both restored

Times are integer nanoseconds per batch, as read; nothing is averaged and nothing is dropped here.
"""

import gc
import itertools
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .driver import canary, compilations, compiled_loop, empty_loop
from .stats import MIN_SAMPLES
from .timer import Clock, clock_step_ns

__all__ = [
    "BATCH_NS",
    "CANARY",
    "FLOORS",
    "SCOPES",
    "Case",
    "Sample",
    "calibrate",
    "case",
    "plan_rounds",
    "quiet",
    "rounds",
]

BATCH_NS = 1_000_000
MAX_ROUNDS = 30
GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 are spread evenly, however many one takes (Weyl)
CLOCK_STEPS = 1000  # a batch is never shorter than this many steps of the clock
SCOPES = ("kernel", "call")


@dataclass(frozen=True)
class Case:
    """One alternative of a comparison: `run(reps)` executes it `reps` times."""

    label: str
    scope: str
    run: Callable[[int], Any]


@dataclass(frozen=True)
class Sample:
    """One timed batch. `position` is its place in the round, `cpu_ns` the thread's CPU time,
    `switches` the involuntary context switches and `compiled` the compilations that fell into it."""

    label: str
    round: int
    position: int
    reps: int
    elapsed_ns: int
    cpu_ns: int
    switches: int
    compiled: int

    @property
    def per_run_ns(self) -> float:
        """Nanoseconds of one run."""
        return self.elapsed_ns / self.reps


def _call_loop(fn: Callable, args: tuple) -> Callable[[int], None]:
    def run(reps: int) -> None:
        for _ in itertools.repeat(None, reps):
            fn(*args)

    return run


def _nothing() -> None:
    """What the floor of `call` scope calls."""


def case(label: str, fn: Callable, args: tuple, scope: str) -> Case:
    """A case that runs `fn(*args)`; `kernel` scope needs a function compiled by Numba.

    Raises ValueError for an unknown scope and TypeError where `kernel` scope has nothing compiled to run.
    """
    if scope not in SCOPES:
        raise ValueError(f"scope must be one of {', '.join(SCOPES)}; got {scope!r}")
    if scope == "call":
        return Case(label, scope, _call_loop(fn, args))
    if not hasattr(fn, "nopython_signatures"):
        raise TypeError(f"scope 'kernel' needs a function compiled by numba.njit, got {label}; use scope='call'")
    return Case(label, scope, lambda reps: compiled_loop(fn, reps, args))


FLOORS = {
    "kernel": Case("floor", "kernel", empty_loop),
    "call": Case("floor", "call", _call_loop(_nothing, ())),
}
"""What the loop itself costs, per scope: an empty body, paired in the same rounds."""

CANARY = Case("canary", "kernel", lambda reps: canary(reps))


def plan_rounds(case_ns: Mapping[str, float], budget_s: float, least: int = MIN_SAMPLES) -> dict[str, int]:
    """Rounds per label: its share of the budget over the time of one sample, at least `least` and at most 30."""
    share_ns = budget_s * 1e9 / len(case_ns)
    return {label: int(min(MAX_ROUNDS, max(least, share_ns / ns))) for label, ns in case_ns.items()}


def calibrate(run: Callable[[int], Any], clock: Clock = time.perf_counter_ns, batch_ns: int | None = None) -> int:
    """Runs per batch: compiles first, grows at most tenfold, must reach the target twice in a row, or once by far."""
    target = batch_ns or max(BATCH_NS, CLOCK_STEPS * clock_step_ns(clock, 1000))
    run(1)
    reps, reached = 1, 0
    while True:
        start = clock()
        run(reps)
        took = max(1, clock() - start)
        reached = reached + 1 if took >= target else 0
        if reached == 2 or (reps == 1 and took >= 1000 * target):
            return reps
        if not reached:
            reps = min(10 * reps, int(reps * target * 1.1 / took) + 1)


def rounds(
    cases: Sequence[Case],
    reps: Mapping[str, int],
    rng: np.random.Generator,
    planned: Mapping[str, int],
    clock: Clock = time.perf_counter_ns,
    first: int = 0,
) -> Iterator[list[Sample]]:
    """Yield the samples of each round: all cases, order drawn anew, batches lengthened by 0 to 20 %.

    `planned` gives rounds per label: a case with fewer sits some out, spread evenly, and takes part only in rounds that
    every case with more takes part in, so that pairs stay pairs. Numbers start at `first`.
    """
    total = max(planned.values())
    spread = np.argsort(np.argsort(np.arange(total) * GOLDEN % 1))
    for number in range(total):
        due = [c for c in cases if spread[number] < planned[c.label]]
        samples = []
        for position, index in enumerate(rng.permutation(len(due))):
            one = due[index]
            jittered = int(reps[one.label] * (1 + rng.uniform(0, 0.2)))
            samples.append(_sample(one, first + number, position, jittered, clock))
        yield samples


def _sample(case: Case, number: int, position: int, reps: int, clock: Clock) -> Sample:
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    with compilations() as seen:
        cpu = time.thread_time_ns()
        start = clock()
        case.run(reps)
        elapsed = clock() - start
        cpu = time.thread_time_ns() - cpu
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
    return Sample(case.label, number, position, reps, elapsed, cpu, switches, seen.compiled)


@contextmanager
def quiet(threads: int = 1) -> Iterator[None]:
    """BLAS and Numba on `threads` threads and no garbage collection, restored on the way out, also after Ctrl-C."""
    import numba
    from threadpoolctl import threadpool_limits

    before, collecting = numba.get_num_threads(), gc.isenabled()
    try:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        gc.disable()
        with threadpool_limits(limits=threads):
            yield
    finally:
        numba.set_num_threads(before)
        if collecting:
            gc.enable()
