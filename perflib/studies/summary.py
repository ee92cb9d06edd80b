"""The study of notebook 90-summary: claims of the original engine, judged by rules that are the same for every run.

A ratio holds if its whole interval lies on the right side, fails if the whole interval lies on the wrong side, and is
undecided otherwise, as it is where the run lacks the series. Growth is judged by `fit_scaling(...).verdict`, and the rule
that this one replaced is shown beside it. A claim that fails is a result.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy  # loads scipy.stats, half a second, when it is used

from ..display.table import Table, or_missing
from ..display.text import text
from ..errors import LACKS, RunError
from ..kernels.catalog import find
from ..kernels.description import verify
from ..models.access_counts import count_accesses, count_allocations
from ..models.tile_choice import default_losses
from ..runs.compare import require_plausible
from ..runs.queries import interval_of, peak_gflops, ratio, summary
from ..runs.store import Run
from ..scaling.fit import ScalingFit
from ..stats import Interval
from ..timing.case import Case, case
from ..timing.race import race
from .forward_pass import hot_path
from .published import ALONE, PUBLISHED_TILE, RMS_SIZES, matmul_fit, rms_fit
from .rmsnorm import rms_ratio
from .tile_size import MOST_LOSS

HOLDS, FAILS, UNDECIDED = "HOLDS", "FAILS", "UNDECIDED"
FULL = "`make report FULL=1` records every series, with more sizes, rounds and processes"
AGAIN = "`perflib record` again with nothing else running; the value may also lie on its threshold"
OPEN = "no run decides it: the rule leaves shares of the peak from 0.1 to 0.5 open"
REPLACED, FORMER_MARGIN = "2026-11-29", 0.1
"""Until then S1 and S2 held if the interval of one straight line's exponent lay inside 3 ± 0.1 and 1 ± 0.1. That rule could
not decide a curve with a step in it: on every machine recorded, a few sizes made the interval too wide."""


@dataclass(frozen=True)
class Claim:
    """A claim of the original engine and what a run says of it."""

    id: str
    text: str
    rule: str
    verdict: str
    evidence: str
    advice: str = ""
    """What to run next; empty for a claim that is decided."""


@lru_cache(maxsize=4)
def judge_all(run: Run) -> tuple[Claim, ...]:
    """Every claim, in order; one whose series the run lacks is undecided and says so, and all of a run that cannot be."""
    try:
        require_plausible(run, needs_peak=False)
    except RunError as problem:
        return tuple(Claim(*stated, UNDECIDED, f"not believed: {problem}", AGAIN) for *stated, _ in _CLAIMS)
    return tuple(_judge(run, *stated) for stated in _CLAIMS)


def claims_table(run: Run, *ids: str) -> Table:
    """The verdicts and their evidence, of all claims or of those named."""
    claims = (c for c in judge_all(run) if not ids or c.id in ids)
    rows = ((c.id, c.text, c.verdict, f"{c.evidence}. To decide: {c.advice}" if c.advice else c.evidence) for c in claims)
    return Table(("id", "claim", "verdict", "evidence"), tuple(rows))


def rules_table() -> Table:
    """The rule behind each verdict, the same for every machine."""
    return Table(("id", "claim", "rule"), tuple((name, stated, rule) for name, stated, rule, _ in _CLAIMS))


def above(interval: Interval, threshold: float) -> str:
    """HOLDS if the whole interval is above the threshold, FAILS if it is below."""
    return HOLDS if interval.low > threshold else FAILS if interval.high < threshold else UNDECIDED


def _judge(run: Run, name: str, stated: str, rule: str, judge: Callable[[Run], tuple[str, str]]) -> Claim:
    try:
        verdict, evidence = judge(run)
    except LACKS as problem:
        return Claim(name, stated, rule, UNDECIDED, f"not recorded: {problem}", FULL)
    return Claim(name, stated, rule, verdict, evidence, _advice(run, name) if verdict == UNDECIDED else "")


def _advice(run: Run, name: str) -> str:
    """What would decide a claim that the run left open: what its fit says, more rounds, or a quieter machine."""
    if name == "S3":
        return _advice(run, "S1") if _s1(run)[0] == UNDECIDED else OPEN
    if name in _GROWTH and (advice := _GROWTH[name].fit(run).verdict(_GROWTH[name].expected).advice):
        return advice
    return FULL if run.meta["command"] == "quick" else AGAIN


@dataclass(frozen=True)
class _Rule:
    """A claim about growth: its kernel, fit and exponent, for the rule of today and for the one before."""

    kernel: str
    fit: Callable[[Run], ScalingFit]
    expected: int


_GROWTH = {"S1": _Rule("matmul_tiled", matmul_fit, 3), "S2": _Rule("rms_norm_fast", rms_fit, 1)}


def _growth(run: Run, name: str) -> tuple[str, str]:
    """By `verdict`, with the result of the rule until `REPLACED` beside it."""
    fit, expected = _GROWTH[name].fit(run), _GROWTH[name].expected
    verdict = fit.verdict(expected)
    decided = {"consistent": HOLDS, "inconsistent": FAILS, "undecided": UNDECIDED}[verdict]
    former, line = _former(fit, expected)
    return decided, f"{verdict.sentence}. By the rule until {REPLACED}: {former}, one line through all sizes has {line}"


def _former(fit: ScalingFit, expected: float) -> tuple[str, str]:
    """The result of the rule until `REPLACED`, and its evidence: the interval of one line's slope inside +- 0.1."""
    line = _one_line(fit)
    inside = line.inside(expected - FORMER_MARGIN, expected + FORMER_MARGIN)
    return {True: HOLDS, False: FAILS, None: UNDECIDED}[inside], f"slope {text(line)}"


def _one_line(fit: ScalingFit) -> Interval:
    """Slope of one straight line through all log times, with the HC3 interval of then (MacKinnon and White, 1985)."""
    x, y = np.log(fit.sizes), np.log(fit.times_ns)
    x -= x.mean()
    power = x @ x
    slope = float(x @ y / power)
    rest = (y - y.mean() - slope * x) / np.maximum(1 - 1 / len(x) - x**2 / power, 1e-9)
    reach = float(scipy.stats.t.ppf(0.975, len(x) - 2) * np.sqrt(np.sum((x * rest) ** 2)) / power)
    return Interval(slope, slope - reach, slope + reach, 0.95)


def growth_sentences(run: Run) -> list[str]:
    """How the kernels of S1 and S2 grow, a sentence each; those that the run lacks are left out."""
    sentences = []
    for rule in _GROWTH.values():
        with suppress(*LACKS):
            sentences.append(f"{rule.kernel} {rule.fit(run).verdict(rule.expected).sentence}")
    return sentences


@or_missing
def replaced_rules(run: Run) -> Table:
    """S1 and S2 by the rule of today and by the one until `REPLACED`, side by side; S3 follows from S1 in both."""
    rows = []
    for name, rule in _GROWTH.items():
        fit = rule.fit(run)
        verdict, (former, line) = fit.verdict(rule.expected), _former(fit, rule.expected)
        rows.append((name, _growth(run, name)[0], verdict.sentence, former, line))
    header = ("id", "verdict", "how it grows", f"by the rule until {REPLACED}", "one line through all sizes [95 %]")
    return Table(header, tuple(rows))


def _s1(run: Run) -> tuple[str, str]:
    return _growth(run, "S1")


def _s2(run: Run) -> tuple[str, str]:
    return _growth(run, "S2")


def _s3(run: Run) -> tuple[str, str]:
    peak = peak_gflops(run)
    row = summary(run, "matmul", kernel="matmul_tiled", n=256, block="float32 scaling", **PUBLISHED_TILE).iloc[0]
    share = Interval(row["gflops"] / peak.value, row["low_gflops"] / peak.high, row["high_gflops"] / peak.low, 0.9)
    grows = _s1(run)[0]
    verdict = HOLDS if share.low >= 0.5 else FAILS if grows == HOLDS and share.high < 0.1 else UNDECIDED
    reach = f"{text(share, 3)} of the peak of {peak.value:.0f} GFLOP/s"
    return verdict, f"S1 {grows}, and at n = 256 the kernel reaches {reach}"


def _s4(run: Run) -> tuple[str, str]:
    naive, tiled = {"kernel": "matmul_naive", **ALONE}, {"kernel": "matmul_tiled", **PUBLISHED_TILE}
    common = set(summary(run, "matmul", **naive)["n"]) & set(summary(run, "matmul", **tiled)["n"])
    if not common:
        raise RunError("no size of both matmul_naive and matmul_tiled")
    n = max(common)
    gain = ratio(run, "matmul", {**naive, "n": n}, {**tiled, "n": n})
    return above(gain, 1.1), f"naive / tiled 64 at n = {n}: {text(gain)}"


def _s5(run: Run) -> tuple[str, str]:
    losses = default_losses(run)
    verdicts = [above(loss, MOST_LOSS) for loss in losses.values()]
    verdict = FAILS if HOLDS in verdicts else HOLDS if set(verdicts) == {FAILS} else UNDECIDED
    worst = max(losses, key=lambda n: losses[n].value)
    sizes = f"{verdicts.count(HOLDS)} of {len(losses)} sizes"
    return verdict, f"tile 64 / best tile is above {MOST_LOSS} at {sizes}; worst {text(losses[worst])} at n = {worst}"


def _s6(run: Run) -> tuple[str, str]:
    counts = run.meta.get("codegen", {})
    if "matmul_tiled" not in counts:
        raise RunError("no code was counted")
    free, strict = counts["matmul_tiled"], counts["matmul_tiled, strict"]
    verdict = HOLDS if free["packed_fma"] else FAILS
    return verdict, (
        f"{free['packed_fma']} packed multiply-adds, fed by {free['gathers']} gathers, where sums may be reordered; "
        f"{strict['packed_fma']} where they may not"
    )


def _s7(run: Run) -> tuple[str, str]:
    ratios = {n: rms_ratio(run, n) for n in RMS_SIZES}
    verdicts = [above(r, 1.6) for r in ratios.values()]
    verdict = FAILS if FAILS in verdicts else HOLDS if set(verdicts) == {HOLDS} else UNDECIDED
    return verdict, "standard / fast: " + ", ".join(f"{text(r)} at {n}" for n, r in ratios.items())


def _s8(run: Run) -> tuple[str, str]:
    counts = {}
    for name in ("rms_norm_standard", "rms_norm_fast"):
        kernel = find(name)
        args = kernel.make(256, "float32", np.random.default_rng(0), rows=1)
        counts[name] = count_accesses(kernel.compiled, args).passes, round(count_allocations(kernel.compiled, args))
    (passes, arrays), (fast_passes, fast_arrays) = counts.values()
    verdict = HOLDS if counts == {"rms_norm_standard": (4, 2), "rms_norm_fast": (2, 0)} else FAILS
    accesses = f"{fast_passes} passes instead of {passes}"
    return verdict, f"counted: {accesses} and {fast_arrays} temporary arrays instead of {arrays}"


def _s9(run: Run) -> tuple[str, str]:
    step = int(run.samples("clock")["elapsed_ns"].min())
    row = summary(run, "timing", kernel="timer_start_and_elapsed").iloc[0]
    cost = interval_of(row)
    verdict = FAILS if step >= 100 or cost.low > 1000 else HOLDS if cost.high < 1000 else UNDECIDED
    return verdict, f"smallest step {step} ns; start and elapsed together {text(cost, 0)} ns"


_CLAIMS = (
    (
        "S1",
        "Matmul time grows eightfold per doubling of n: O(n³)",
        "fit_scaling of matmul_tiled, tile 64, over 64 to 512 is consistent with n³",
        _s1,
    ),
    (
        "S2",
        "RMS-norm time grows twofold per doubling: O(n)",
        "fit_scaling of rms_norm_fast over 512 to 8192 is consistent with n",
        _s2,
    ),
    (
        "S3",
        "Growing as expected shows an efficient implementation",
        "fails if S1 holds while the kernel stays below 0.1 of the peak at n = 256; holds if it reaches 0.5",
        _s3,
    ),
    (
        "S4",
        "Tiling makes large matrices faster through cache hits",
        "naive / tiled 64 at the largest common size above 1.1",
        _s4,
    ),
    ("S5", "64 is the right tile for modern CPUs", f"tile 64 / best tile below {MOST_LOSS} at every size recorded", _s5),
    (
        "S6",
        "The original engine's inner loop is easy to vectorise",
        "the code generated for it contains packed multiply-adds",
        _s6,
    ),
    (
        "S7",
        "The fast RMS norm is about twice as fast as the standard one",
        "standard / fast above 1.6 at 512, 1024 and 2048",
        _s7,
    ),
    ("S8", "It needs two passes instead of four and no temporary instead of two", "counted", _s8),
    (
        "S9",
        "The timer resolves nanoseconds and costs less than one microsecond",
        "smallest step below 100 ns, start and elapsed together below 1000 ns",
        _s9,
    ),
    (
        "S10",
        "In a forward pass attention and FFN are the hot path: 40 % and 50 %",
        "both within 10 points, for prompt and generation, 110M shape at context 128",
        hot_path,
    ),
)


@dataclass(frozen=True)
class LiveClaim:
    """`slow` takes at least `threshold` times as long as `fast`: each is a kernel, a scope and a size."""

    text: str
    topic: str
    slow: Mapping[str, Any]
    fast: Mapping[str, Any]
    threshold: float


LIVE = {
    "call": LiveClaim(
        "an RMS norm of 64 numbers takes at least 4 times as long when it is called from Python",
        "timing",
        {"kernel": "rms_norm_fast", "scope": "call", "n": 64},
        {"kernel": "rms_norm_fast", "scope": "kernel", "n": 64},
        4,
    ),
    "order": LiveClaim(
        "matmul_naive of 256 takes at least 2.5 times as long as matmul_ikj",
        "matmul",
        {"kernel": "matmul_naive", "scope": "kernel", "n": 256},
        {"kernel": "matmul_ikj", "scope": "kernel", "n": 256},
        2.5,
    ),
    "expression": LiveClaim(
        "RMS norm of 512 as a NumPy expression takes at least 5 times as long as the compiled loop",
        "rmsnorm",
        {"kernel": "numpy_rms_norm", "scope": "call", "n": 512},
        {"kernel": "rms_norm_fast", "scope": "kernel", "n": 512},
        5,
    ),
}


def settle(name: str) -> str:
    """Race a live claim on this machine and say what came out, with the claim behind it."""
    claim = _claim(name)
    return f"{race(_arm(claim.slow).run, _arm(claim.fast).run, claim.threshold)}: {claim.text}"


def recorded_ratio(run: Run, name: str) -> float:
    """Recorded time of the slow arm over that of the fast one, float32."""
    claim = _claim(name)
    return ratio(run, claim.topic, *({**arm, "dtype": "float32"} for arm in (claim.slow, claim.fast))).value


def _claim(name: str) -> LiveClaim:
    if name not in LIVE:
        raise ValueError(f"live claim must be one of {', '.join(LIVE)}; got {name!r}")
    return LIVE[name]


def _arm(arm: Mapping[str, Any]) -> Case:
    kernel = find(arm["kernel"])
    args = kernel.make(arm["n"], "float32", np.random.default_rng(0), **kernel.params)
    kernel.call(*args)
    verify(kernel.name, args[kernel.output], *kernel.exact(*args))
    if arm["scope"] == "kernel":
        return case(kernel.name, kernel.compiled, kernel.unchecked(*args), "kernel")
    return case(kernel.name, kernel.call, args, "call")
