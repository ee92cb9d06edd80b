"""Taking samples: every alternative in every round, in random order, in batches long enough for the clock.

Times are integer nanoseconds per batch, as read; nothing is averaged and nothing is dropped here.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from ..stats import MIN_SAMPLES
from ..timer import Clock, clock_step_ns
from .case import Case
from .loops import compilations

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

BATCH_NS = 1_000_000
MAX_ROUNDS = 30
GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 are spread evenly, however many one takes (Weyl)
BY_FAR = 20  # times the target: no interruption makes a short run look that long
POOLS = {"jaxlib": "XLA", "polars": "Polars", "pyarrow": "Arrow", "numexpr": "NumExpr"}  # threadpoolctl knows none of them
CLOCK_STEPS = 1000  # a batch is never shorter than this many steps of the clock


@dataclass(frozen=True)
class Sample:
    """One timed batch, and what happened meanwhile; a count or a time that the system does not tell is None."""

    label: str
    round: int
    position: int
    """Place in the round."""
    reps: int
    elapsed_ns: int
    cpu_ns: int | None
    """CPU time of this thread."""
    switches: int | None
    """Involuntary context switches."""
    compiled: int
    """Compilations by Numba."""
    faults: int | None = 0
    """Page faults, minor and major."""
    collections: int = 0
    """Runs of the garbage collector."""
    process_ns: int | None = 0
    """CPU time of all threads."""
    placement: int = 0
    """Number of the draw of places that it was taken in, from 1 in this process; 0: its arrays were not placed."""

    @property
    def per_run_ns(self) -> float:
        """Nanoseconds of one run."""
        return self.elapsed_ns / self.reps

    @property
    def waited_ns(self) -> int | None:
        """Time in which this thread did not run."""
        return None if self.cpu_ns is None else max(0, self.elapsed_ns - self.cpu_ns)

    def as_calm(self) -> "Sample":
        """For those who judge: what is not known becomes what an undisturbed sample shows, else this sample."""
        if None not in (self.cpu_ns, self.switches, self.faults, self.process_ns):
            return self
        busy = {name: self.elapsed_ns for name in ("cpu_ns", "process_ns") if getattr(self, name) is None}
        return replace(self, **busy, **{name: 0 for name in ("switches", "faults") if getattr(self, name) is None})


def plan_rounds(case_ns: Mapping[str, float], budget_s: float, least: int = MIN_SAMPLES) -> dict[str, int]:
    """Rounds per label: its share of the budget over the time of one sample, at least `least` and at most 30."""
    share_ns = budget_s * 1e9 / len(case_ns)
    return {label: int(min(MAX_ROUNDS, max(least, share_ns / ns))) for label, ns in case_ns.items()}


def calibrate(
    run: Callable[[int], Any],
    clock: Clock = time.perf_counter_ns,
    batch_ns: int = BATCH_NS,
    most: int = 0,
    prepare: Callable[[], Any] | None = None,
) -> tuple[int, int]:
    """Runs per batch and the nanoseconds of the last one.

    The first run compiles. A batch grows at most tenfold and must reach the target twice in a row, or once by far.
    most: runs of a batch, 0 for any number. prepare: called before each batch.
    """
    target = max(batch_ns, CLOCK_STEPS * clock_step_ns(clock, 1000))
    prepare = prepare or (lambda: None)
    prepare()
    run(1)
    reps, hits = 1, 0
    while True:
        prepare()
        start = clock()
        run(reps)
        elapsed = max(1, clock() - start)
        hits = hits + 1 if elapsed >= target else 0
        if hits == 2 or (reps == 1 and elapsed >= BY_FAR * target):
            return reps, elapsed
        if reps == most:
            return reps, elapsed
        if not hits:
            reps = min(10 * reps, int(reps * target * 1.1 / elapsed) + 1)
            reps = min(reps, most or reps)


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

    Each placement of the cases of a round is drawn once, before the first of them, so that alternatives share it.
    """
    total = max(planned.values())
    spread = np.argsort(np.argsort(np.arange(total) * GOLDEN % 1))
    for number in range(total):
        due = [c for c in cases if spread[number] < planned[c.label]]
        for placement in {id(c.placement): c.placement for c in due if c.placement}.values():
            placement.begin_round(first + number, rng, clock)
        samples = []
        for position, index in enumerate(rng.permutation(len(due))):
            one = due[index]
            count = int(reps[one.label] * (1 + rng.uniform(0, 0.2)))
            count = min(count, one.most or count)
            samples.append(take_sample(one, first + number, position, count, clock))
        yield samples


def plan_batch(case: Case, clock: Clock = time.perf_counter_ns, batch_ns: int = BATCH_NS) -> tuple[int, int]:
    """Runs per batch, and the nanoseconds of a batch with what prepares it and warms it up."""
    reps, elapsed = calibrate(case.run, clock, batch_ns, case.most, case.prepare if case.most else None)
    elapsed += elapsed * _warm_up_runs(case, reps) // reps
    if case.prepare:
        start = clock()
        case.prepare()
        elapsed += clock() - start
    return reps, elapsed


def _make_ready(case: Case, reps: int) -> None:
    """What a batch needs before its time begins: contents that others wrote, and after a draw arguments and warm caches.

    A run that fills a batch by itself is not warmed up: it would take twice as long.
    """
    placement = case.placement
    if placement:
        placement.restore()
    if case.prepare:
        case.prepare()
    if placement and placement.is_new_to(case.label):
        case.run(_warm_up_runs(case, reps))


def _warm_up_runs(case: Case, reps: int) -> int:
    return int(case.placement is not None and reps > 1 and not case.prepare)


def take_sample(case: Case, number: int, position: int, reps: int, clock: Clock = time.perf_counter_ns) -> Sample:
    """One batch of `reps` runs, in the place that was drawn last."""
    _make_ready(case, reps)
    before, collections = _events(), _collections()
    with compilations() as count:
        before_ns = _cpu_times()
        start = clock()
        case.run(reps)
        elapsed = clock() - start
        cpu, process = map(_since, before_ns, _cpu_times())
    switches, faults = map(_since, before, _events())
    events = (switches, count.compiled, faults, _collections() - collections)
    if case.placement:
        case.placement.record_run(case.label, elapsed)
    place = case.placement.number if case.placement else 0
    return Sample(case.label, number, position, reps, elapsed, cpu, *events, process, place)


def _cpu_times() -> tuple[int | None, int | None]:
    """CPU time of this thread and of the process; None on Windows, where both clocks tick 64 times a second."""
    return (None, None) if sys.platform == "win32" else (time.thread_time_ns(), time.process_time_ns())


def _events() -> tuple[int | None, int | None]:
    """Involuntary context switches and page faults of this process until now; None where the system counts none."""
    if resource is None:
        return None, None
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nivcsw, usage.ru_minflt + usage.ru_majflt


def _since(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else now - before


def _collections() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


def busy_libraries(threads: int) -> str:
    """Names of the loaded libraries whose pools are larger than declared; where none is, who else can have threads."""
    pools = [pool for pool in threadpool_info() if pool["num_threads"] > threads]
    names = [pool.get("internal_api") or pool["user_api"] for pool in pools]
    unseen = [name for module, name in POOLS.items() if module in sys.modules]
    return ", ".join(dict.fromkeys(names)) or " or of ".join(["threads of its own", *unseen])


@contextmanager
def quiet(threads: int = 1) -> Iterator[None]:
    """BLAS, PyTorch and Numba on `threads` threads, no garbage collection; restored on the way out, also after Ctrl-C."""
    before, collecting = numba.get_num_threads(), gc.isenabled()
    torch = sys.modules.get("torch")  # who has not loaded it has no threads of it
    torch_before = torch.get_num_threads() if torch else None
    try:
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        gc.disable()
        with threadpool_limits(limits=threads):
            if torch:
                torch.set_num_threads(threads)
            yield
    finally:
        if torch:
            torch.set_num_threads(torch_before)
        numba.set_num_threads(before)
        if collecting:
            gc.enable()
