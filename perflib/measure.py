"""How long a function takes, and which of several is faster: numbers with intervals, a state and reasons.

    measure(fn, *args)              -> Measurement
    compare({name: fn, ...}, *args) -> Comparison, against the first name

    `call` scope    what a Python caller pays: dispatch, unboxing, the kernel
    `kernel` scope  the loop runs in compiled code: the kernel alone (functions compiled by numba.njit)

    >>> m = measure(sorted, [3, 1, 2])
    >>> m.scope, m.time_ns.low <= m.time_ns.value <= m.time_ns.high
    ('call', True)

Raises what the function raises, `WrongResult` where a check fails, `TypeError` or `ValueError` for a bad argument.
"""

import inspect
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .driver import compilations
from .kernels.catalog import find
from .kernels.description import verify
from .sampling import CANARY, FLOORS, Case, Sample, calibrate, case, plan_rounds, quiet, rounds
from .stats import Interval, drift, fewest_samples, lag1, median_interval, ratio_interval
from .timer import Clock

__all__ = ["Comparison", "Measurement", "compare", "measure"]

HALF_WIDTH = 0.01  # rounds are added until the interval is this narrow, or the budget is spent
NOISY_HALF_WIDTH = 0.05
CANARY_SPREAD = 0.10
FLOOR_LABEL, CANARY_LABEL = "<floor>", "<canary>"  # no function is called so
MARGIN = 0.02  # the smallest difference that a comparison calls one


@dataclass(frozen=True)
class Measurement:
    """Time of one run in nanoseconds: median and 95 % interval, net of the loop's own cost (`floor_ns`)."""

    label: str
    scope: str
    time_ns: Interval
    gross_ns: Interval
    floor_ns: Interval
    samples: tuple[Sample, ...]
    state: str
    """`stable`, `noisy` or `invalid`; the reasons say why it is not stable."""
    reasons: tuple[str, ...]
    ended_by: str
    """What ended the rounds: `half-width` reached, or `budget` spent."""
    compile_s: float
    """Seconds of the first run, if Numba compiled in it; 0 if it did not."""
    flops: int = 0
    bytes: int = 0

    @property
    def gflops(self) -> Interval | None:
        """GFLOP/s (10^9 per second), None without a count of flops."""
        return self.time_ns.inverse(self.flops) if self.flops and self.time_ns.low > 0 else None

    @property
    def gb_per_s(self) -> Interval | None:
        """GB/s (10^9 bytes per second), None without a count of bytes."""
        return self.time_ns.inverse(self.bytes) if self.bytes and self.time_ns.low > 0 else None

    def __str__(self) -> str:
        why = f": {'; '.join(self.reasons)}" if self.reasons else ""
        rates = "".join(
            f", {rate.value:.3g} {unit}" for rate, unit in ((self.gflops, "GFLOP/s"), (self.gb_per_s, "GB/s")) if rate
        )
        return f"{self.label}: {_duration(self.time_ns)} ({self.scope} scope{rates}), {self.state}{why}"

    __repr__ = __str__


@dataclass(frozen=True)
class Comparison:
    """Every alternative against the first: `ratios[name]` is time / time of the baseline, `verdicts[name]` what follows.

    `again` is the hidden comparison of the baseline with itself: no effect smaller than `bound` may be claimed.
    """

    baseline: str
    measurements: Mapping[str, Measurement]
    ratios: Mapping[str, Interval]
    verdicts: Mapping[str, str]
    """`faster`, `slower`, `equivalent` or `unresolved`."""
    again: Interval
    bound: float

    def __str__(self) -> str:
        lines = [str(self.measurements[self.baseline])]
        for name, ratio in self.ratios.items():
            lines.append(
                f"{self.measurements[name]}\n    {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}] "
                f"of {self.baseline}: {self.verdicts[name]} (smallest claim {100 * self.bound:.1f} %)"
            )
        return "\n".join(lines)

    __repr__ = __str__


def measure(
    fn: Callable,
    *args: Any,
    scope: str | None = None,
    flops: int = 0,
    bytes: int = 0,
    exact: tuple[np.ndarray, np.ndarray] | None = None,
    budget_s: float = 1.0,
    threads: int = 1,
    seed: int = 0,
    clock: Clock = time.perf_counter_ns,
) -> Measurement:
    """Measure one run of `fn(*args)`.

    scope: `kernel` for a function compiled by Numba and `call` for any other, unless told. flops, bytes: work of one run,
    for the rates. exact: (float64 result, elementwise bound) that the result must agree with first. budget_s: seconds for
    the rounds; at least six are taken however long they last.
    """
    label = getattr(fn, "__name__", type(fn).__name__)
    if exact is not None:
        verify(label, fn(*args), *exact)
    return _measure({label: fn}, args, scope, {"flops": flops, "bytes": bytes}, budget_s, threads, seed, clock)[label]


def compare(
    functions: Mapping[str, Callable],
    *args: Any,
    scope: str | None = None,
    margin: float = MARGIN,
    budget_s: float = 1.0,
    threads: int = 1,
    seed: int = 0,
    clock: Clock = time.perf_counter_ns,
) -> Comparison:
    """Compare functions on the same arguments, interleaved in one run, against the first of them.

    margin: a difference up to this share counts as none. The error rate of the intervals is divided by the number of
    comparisons. A hidden pair (the baseline under two labels) measures what this session can tell apart.
    """
    if len(functions) < 2:
        raise ValueError(f"functions must be at least 2, got {len(functions)}")
    if not 0 < margin < 1:
        raise ValueError(f"margin must lie between 0 and 1, got {margin}")
    baseline, *others = functions
    again = f"{baseline} (again)"
    scope = scope or ("kernel" if all(_compiled(fn) is not None for fn in functions.values()) else "call")
    twins = {**functions, again: functions[baseline]}
    found = _measure(twins, args, scope, {}, budget_s, threads, seed, clock, len(others))
    self_ratio = _ratio(found[again], found[baseline], 1)
    bound = max(margin, abs(np.log([self_ratio.low, self_ratio.high])).max())
    ratios = {name: _ratio(found[name], found[baseline], len(others)) for name in others}
    return Comparison(
        baseline=baseline,
        measurements={name: found[name] for name in functions},
        ratios=ratios,
        verdicts={name: _verdict(ratio, margin, float(bound)) for name, ratio in ratios.items()},
        again=self_ratio,
        bound=float(bound),
    )


def _verdict(ratio: Interval, margin: float, bound: float) -> str:
    if ratio.high < 1 / (1 + bound):
        return "faster"
    if ratio.low > 1 + bound:
        return "slower"
    return "equivalent" if ratio.inside(1 / (1 + margin), 1 + margin) else "unresolved"


def _ratio(over: Measurement, under: Measurement, comparisons: int) -> Interval:
    times = [{s.round: s.per_run_ns for s in m.samples} for m in (over, under)]
    shared = sorted(times[0].keys() & times[1].keys())
    return ratio_interval([times[0][r] for r in shared], [times[1][r] for r in shared], comparisons=comparisons)


def _compiled(fn: Callable) -> Callable | None:
    """The machine code behind a function: its own, or that of a described kernel's public wrapper."""
    if hasattr(fn, "nopython_signatures"):
        return fn
    described = find(fn)
    return described.compiled if described else None


def _case(label: str, fn: Callable, args: tuple, scope: str | None) -> Case:
    compiled = _compiled(fn)
    if scope is None:
        scope = "kernel" if fn is compiled else "call"
    if scope != "kernel" or compiled is None or fn is compiled:
        return case(label, fn, args, scope)
    bound = inspect.signature(fn).bind(*args)
    bound.apply_defaults()
    if "out" in bound.arguments and bound.arguments["out"] is None:
        bound.arguments["out"] = fn(*args)
    return case(label, compiled, find(fn).unchecked(*bound.args), scope)


def _measure(
    functions: Mapping[str, Callable],
    args: tuple,
    scope: str | None,
    work: Mapping[str, int],
    budget_s: float,
    threads: int,
    seed: int,
    clock: Clock,
    comparisons: int = 1,
) -> dict[str, Measurement]:
    """The protocol: compile, calibrate, then all alternatives in every round until narrow enough or out of budget."""
    if not budget_s > 0:
        raise ValueError(f"budget_s must be above 0, got {budget_s}")
    cases = [_case(label, fn, args, scope) for label, fn in functions.items()]
    hidden = [replace(FLOORS[cases[0].scope], label=FLOOR_LABEL), replace(CANARY, label=CANARY_LABEL)]
    rng = np.random.default_rng(seed)
    samples: dict[str, list[Sample]] = defaultdict(list)
    with quiet(threads):
        compile_s = {c.label: _first_run_s(c, clock) for c in cases}
        reps = {c.label: calibrate(c.run, clock) for c in (*cases, *hidden)}
        batch_ns = {c.label: _batch_ns(c, reps[c.label], clock) for c in (*cases, *hidden)}
        planned = plan_rounds(batch_ns, budget_s, least=fewest_samples(comparisons))
        end = clock() + budget_s * 1e9
        while True:
            for batch in rounds((*cases, *hidden), reps, rng, planned, clock, first=_next_round(samples)):
                for sample in batch:
                    samples[sample.label].append(sample)
            narrow = all(_gross(samples[label]).half_width <= HALF_WIDTH for label in functions)
            if narrow or clock() >= end:
                break
    ended_by = "half-width" if narrow else "budget"
    return {c.label: _summary(c, samples, ended_by, compile_s[c.label], work) for c in cases}


def _summary(
    case: Case, samples: Mapping[str, list[Sample]], ended_by: str, compile_s: float, work: Mapping[str, int]
) -> Measurement:
    own, floor, canary = (samples[label] for label in (case.label, FLOOR_LABEL, CANARY_LABEL))
    floor_by_round = {s.round: s.per_run_ns for s in floor}
    net = median_interval([s.per_run_ns - floor_by_round[s.round] for s in own if s.round in floor_by_round])
    state, reasons = judge(own, canary, net)
    return Measurement(
        case.label, case.scope, net, _gross(own), _gross(floor), tuple(own), state, reasons, ended_by, compile_s, **work
    )


def judge(own: Sequence[Sample], canary: Sequence[Sample], net: Interval) -> tuple[str, tuple[str, ...]]:
    """State of a measurement and all reasons for it: `invalid` beats `noisy` beats `stable`."""
    times = [s.per_run_ns for s in own]
    invalid, noisy = [], []
    if compiled := sum(s.compiled for s in own):
        invalid.append(f"{compiled} compilations during the timed part")
    if net.low <= 0:
        invalid.append("not distinguishable from an empty body: the work may have been eliminated")
    if net.half_width > NOISY_HALF_WIDTH:
        noisy.append(f"half-width {100 * net.half_width:.1f} % of the median")
    tau, p = drift(times)
    if p < 0.001 and abs(tau) > 0.3:
        noisy.append(f"drift over the rounds (tau {tau:+.2f})")
    if (r := lag1(times)) > 0.5:
        noisy.append(f"neighbouring rounds resemble each other (lag-1 {r:.2f})")
    low, middle, high = np.percentile([s.per_run_ns for s in canary], [10, 50, 90])
    if (high - low) / middle > CANARY_SPREAD:
        noisy.append(f"the canary moved by {100 * (high - low) / middle:.0f} %: clock frequency or stolen time")
    disturbed = sum(s.switches > 0 for s in own)
    if disturbed > len(own) / 4:
        noisy.append(f"{disturbed} of {len(own)} samples were interrupted")
    return ("invalid" if invalid else "noisy" if noisy else "stable"), (*invalid, *noisy)


def _first_run_s(case: Case, clock: Clock) -> float:
    with compilations() as seen:
        start = clock()
        case.run(1)
        took = clock() - start
    return took / 1e9 if seen.compiled else 0.0


def _batch_ns(case: Case, reps: int, clock: Clock) -> int:
    start = clock()
    case.run(reps)
    return max(1, clock() - start)


def _next_round(samples: Mapping[str, list[Sample]]) -> int:
    return 1 + max((s.round for taken in samples.values() for s in taken), default=-1)


def _gross(samples: Sequence[Sample]) -> Interval:
    return median_interval([s.per_run_ns for s in samples])


def _duration(time_ns: Interval) -> str:
    units = (("ns", 1.0), ("us", 1e3), ("ms", 1e6))
    unit, factor = next((u for u in units if abs(time_ns.value) < 1000 * u[1]), ("s", 1e9))
    return f"{time_ns.value / factor:.4g} {unit} [{time_ns.low / factor:.4g}, {time_ns.high / factor:.4g}]"
