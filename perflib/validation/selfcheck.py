"""Check how far to trust the numbers of this machine, by experiments whose right answer is known.

One function under two names must not be called different, and an inserted slow-down must be found, both with the
budget and the margin that `compare` has by default. An interval must cover as often as it states, a kernel's time must
agree with a method without loop overhead, and the clock must cost little. Takes some minutes, most of them beside busy
neighbours.
"""

import itertools
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numba import njit

from ..display.progress import progress_bar, step
from ..kernels.buffers import aligned_random
from ..kernels.rmsnorm.textbook import _rms_norm_fast
from ..runs.writer import measuring_lock
from ..studies.harnesses import HARNESSES, Refusal, ask, question
from ..system.children import program
from ..timer import Timer
from ..timing.case import FLOORS, Case, case
from ..timing.loops import canary
from ..timing.measure import compare, measure
from ..timing.sampling import calibrate, quiet
from ..timing.session import take
from .interval_coverage import interval_coverage
from .scaling_coverage import scaling_figures
from .scorecard import Score, Scorecard, Target, at_least, at_most

BUSY = """
import threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()  # its input ends with the parent
while True:
    pass
"""
ROUNDS = 101
TIMES = 300, 315  # the inserted slow-down; so many that a call from Python weighs nothing
TARGETS: dict[str, tuple[str, Target]] = {
    "aa_false_positive_rate": ("a kernel and itself called different, idle", at_most(0.03)),
    "aa_false_positive_rate_busy": ("the same beside a busy process per core", at_most(0.05)),
    "power_5_percent": ("inserted slow-down of 5 % found", at_least(0.95)),
    "interval_coverage": ("coverage of 95 % intervals, simulated", Target("0.93 to 0.98", 0.93, 0.98)),
    "scaling_right": ("growth of decidable curves: right", at_least(0.95)),
    "scaling_undecided": ("the same: undecided", at_most(0.04)),
    "scaling_false_accept": ("curves that a false growth is consistent with", at_most(0.01)),
    "scaling_false_reject": ("curves whose growth is called inconsistent", at_most(0.01)),
    "scaling_false_findings": ("steps, odd sizes or fixed costs found where none are", at_most(0.02)),
    "scaling_simple": ("growth behind sharp steps or odd sizes alone: right", at_least(0.98)),
    "scaling_told_apart": ("n separated from n log n, n^2.81 from n^3, over four decades", at_least(0.95)),
    "scaling_coverage": ("coverage of exponents, simulated", at_least(0.93)),
    "scaling_width": ("width of their intervals / that of an oracle", at_most(2)),
    "scaling_steps_found": ("steps of 1.5 times and more found within one size", at_least(0.9)),
    "scaling_cases": ("published curves judged rightly", at_least(1)),
    "scaling_ladders_decided": ("real series over a decade of sizes decided", at_least(0.85)),
    "kernel_scope_error": ("kernel scope against the slope over batch lengths", at_most(0.03)),
    "timer_overhead_ns": ("Timer, start and elapsed (ns)", Target("< 1000", high=math.nextafter(1000, 0))),
    "timer_overhead_ratio": ("the same / two bare readings of the clock", at_most(5)),
    "pyperf_over_perflib": ("time of pyperf's default run / time to ± 1 % here", at_least(10)),
}


@dataclass(frozen=True)
class Selfcheck(Scorecard):
    """What was found. Rates and coverages are shares of 1."""

    figures: dict[str, Any]
    quick: bool

    def scores(self) -> tuple[Score, ...]:
        """Of the figures that were measured."""
        figures = ((*TARGETS[key], self.figures[key]) for key in TARGETS if key in self.figures)
        return tuple(target.score(what, value, f"{value:.4g}") for what, target, value in figures)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a program that reads on."""
        return self.figures

    def __str__(self) -> str:
        f = self.figures
        trials = f"{f['aa_comparisons']} comparisons idle and as many busy, {f['power_trials']} with an inserted slow-down"
        notes = [f"{trials}; {f['seconds_to_1_percent']:.2g} s to ± 1 % of a kernel of {f['kernel_ns']:.0f} ns"]
        if self.quick:
            notes.append("quick: too few trials for rates of some percent; leave --quick out for 200 and 40")
        if "pyperf_over_perflib" not in f:
            notes.append("not compared with pyperf: it takes half a minute, and the extra `harnesses`")
        return "\n".join((repr(self.table()), *notes))


def selfcheck(quick: bool = False, progress: bool = True) -> Selfcheck:
    """Run every experiment; raises RunError where another measurement runs."""
    pairs, slow_downs = (24, 8) if quick else (200, 40)
    figures: dict[str, Any] = {"aa_comparisons": pairs, "power_trials": slow_downs}
    curves = 40 if quick else 2000
    with measuring_lock(), progress_bar(2 * pairs + slow_downs + curves + 4, progress) as bar:

        def share(what: str, trial: Callable[[int], bool], count: int) -> float:
            hits = 0
            for number in range(count):
                with step(bar, what):
                    hits += trial(number)
            return hits / count

        figures["aa_false_positive_rate"] = share("a function and itself", _false_positive, pairs)
        figures["power_5_percent"] = share("5 % inserted", _find_slow_down, slow_downs)
        with _busy_cores():
            figures["aa_false_positive_rate_busy"] = share("a function and itself, cores busy", _false_positive, pairs)
        for what, experiment in (
            ("kernel scope", _kernel_scope),
            ("timer", _timer),
            ("coverage of intervals", lambda: {"interval_coverage": interval_coverage(300 if quick else 2000).overall}),
            ("time to 1 %", lambda: _against_pyperf(quick)),
        ):
            with step(bar, what):
                figures |= experiment()
        figures |= scaling_figures(curves, partial(step, bar, "growth of drawn curves"))
    return Selfcheck(figures, quick)


@njit
def _chain(x, weight, out, times):
    """A chain of dependent integer operations."""
    return canary(1000 * times)


@njit
def _norm(x, weight, out, times):
    """RMS norms, in L1."""
    for _ in range(times):
        _rms_norm_fast(x, weight, 1e-5, out)


@njit
def _copy(x, weight, out, times):
    """Copies, in L2."""
    for _ in range(times):
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                out[i, j] = x[i, j]


def _random(*shape: int) -> np.ndarray:
    return aligned_random(shape, np.float32, np.random.default_rng(0))


@cache
def _kinds() -> list[tuple[Callable, tuple]]:
    """Three kinds of work, to be done a number of times, and their arrays."""
    widths = {_chain: 1, _norm: 64, _copy: 2048}
    return [(work, (_random(20, n), _random(n), _random(20, n))) for work, n in widths.items()]


def _find_slow_down(number: int) -> bool:
    """Whether `compare` finds that the same takes longer where it is done 5 % more often.

    Both are calls of one machine code: compiled twice, it would differ by some percent by where it lies in memory.
    """
    work, arrays = _kinds()[number % 3]
    first, second = (partial(_repeat, work, times) for times in TIMES)
    return compare({"first": first, "second": second}, *arrays).verdicts["second"] == "slower"


def _repeat(work: Callable, times: int, *arrays: np.ndarray) -> None:
    work(*arrays, times)


def _false_positive(number: int) -> bool:
    """Whether `compare` tells a compiled function from itself."""
    work, arrays = _kinds()[number % 3]
    return compare({"first": work, "same": work}, *arrays, 1).verdicts["same"] in ("faster", "slower")


@contextmanager
def _busy_cores() -> Iterator[None]:
    """A process per core that does nothing but compute."""
    neighbours = [subprocess.Popen(program(BUSY), stdin=subprocess.PIPE) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.communicate()


def _norm_args() -> tuple:
    """512 numbers each, in one stretch of memory: addresses that differ by multiples of 4 KiB would hinder each other."""
    x, weight, out = _random(3, 528)[:, None, :512]
    return x, weight[0], 1e-5, out


def _kernel_scope() -> dict[str, float]:
    """A kernel of some sixty nanoseconds: net batches of a millisecond against the slope over batch lengths.

    The slope needs no loop overhead: what each batch costs once is in its intercept. Both are of the same
    machine code, because the same loop compiled again lands elsewhere in memory and differs by up to a tenth.
    """
    kernel = case("kernel", _rms_norm_fast, _norm_args(), "kernel").run
    with quiet():
        usual, _ = calibrate(kernel)
        lengths = usual // 8 * np.arange(1, 9, 2)
        arms = [partial(kernel, n) for n in (*lengths.tolist(), usual)] + [partial(FLOORS["kernel"].run, usual)]
        rng, elapsed_ns = np.random.default_rng(0), np.empty((ROUNDS, len(arms)))
        for times in elapsed_ns:
            for which in rng.permutation(len(arms)):
                timer = Timer()
                arms[which]()
                times[which] = timer.elapsed_ns()
    # the lower quartile: beside busy neighbours half of the batches are interrupted
    *several, gross, floor = np.quantile(elapsed_ns, 0.25, axis=0)
    net, slope = float(gross - floor) / usual, float(np.polyfit(lengths, several, 1)[0])
    return {"kernel_scope_error": abs(net / slope - 1), "kernel_ns": net}


def _timer() -> dict[str, float]:
    """A Timer, started and read, beside two bare readings of the clock, both called from Python's own loop."""
    clock = time.perf_counter_ns

    def timer(reps: int) -> None:
        for _ in itertools.repeat(None, reps):
            Timer.start_timer().elapsed_ns()

    def bare(reps: int) -> None:
        for _ in itertools.repeat(None, reps):
            clock()
            clock()

    with quiet():
        cases = [Case("timer", "call", timer), Case("bare", "call", bare)]
        session = take(cases, 1.0, lambda so_far: [so_far.ratio("timer", "bare")])
    cost = session.net("timer").value
    return {"timer_overhead_ns": cost, "timer_overhead_ratio": cost / session.net("bare").value}


def _against_pyperf(quick: bool) -> dict[str, float]:
    """Seconds until the interval of the kernel is 1 % wide on either side, and how often pyperf's default run is longer."""
    ours = measure(_rms_norm_fast, *_norm_args(), scope="kernel", budget_s=20)
    figures = {"seconds_to_1_percent": ours.seconds}
    if quick or not HARNESSES["pyperf"].version():
        return figures
    try:
        figures["pyperf_seconds"] = ask(HARNESSES["pyperf"], question("warmed")).wall_ms / 1e3
    except Refusal:
        return figures
    return figures | {"pyperf_over_perflib": figures["pyperf_seconds"] / ours.seconds}
