"""How a time grows with the size: log t = a + p log n, with an interval on p that can be believed.

    >>> fit_scaling([64, 80, 100, 128, 160, 200, 256, 320], [n**3 for n in (64, 80, 100, 128, 160, 200, 256, 320)])
    exponent 3.000 [3.000, 3.000] over 8 sizes, 64 to 320
    >>> fit_scaling([64, 128, 256, 512], [64, 128, 256, 512]).advice(1)
    '4 sizes are too few for a verdict, 8 are needed: add 76, 91, 181, 362'

Raises `SampleError` for fewer than three distinct whole sizes, and for sizes or times that are not above 0 and finite.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import scipy  # loads scipy.stats, half a second, when it is used

from .display.html import table, trail
from .errors import SampleError
from .stats import MIN_SAMPLES, Interval, median_interval

FEWEST_SIZES = 8
"""Fewest sizes for a verdict: a bend takes three or four on either side before it shows."""
MOST_ROUNDS = 1000
"""More rounds than this are no advice, nor is a range over which the sizes grow by more."""
STRONGEST = 0.9  # correlation of neighbouring rounds, at most: some tens of rounds cannot show a stronger one


@dataclass(frozen=True)
class ScalingFit:
    """The exponent p of t ~ n^p; on either side `exponent` reaches as far as the wider of `noise` and `model`."""

    exponent: Interval
    noise: Interval | None
    """From a fit per round: how well the measurement repeats. None where fewer than two rounds have every size."""
    model: Interval
    """From the scatter of the sizes around the line (HC3): how well one exponent describes the curve."""
    sizes: tuple[int, ...]
    times_ns: tuple[float, ...]
    local: tuple[float, ...]
    """Exponent between neighbouring sizes, one fewer than sizes."""
    intercept: float
    rounds: int
    """Rounds that have every size."""
    noise_share: float | None
    """How much of the variance around the line noise explains; the rest stays, however many rounds. None as above."""

    @cached_property
    def theil_sen(self) -> Interval:
        """Median of pairwise slopes: the exponent that a few odd sizes cannot move (Sen, JASA 63, 1968)."""
        confidence = self.model.coverage
        slope, _, low, high = scipy.stats.theilslopes(np.log(self.times_ns), np.log(self.sizes), confidence)
        attained = 1 - 2 / math.factorial(len(self.sizes))  # of the smallest and the largest slope together
        return Interval(float(slope), float(low), float(high), min(confidence, attained))

    def predict_ns(self, n: float) -> float:
        """Time on the fitted line."""
        return float(np.exp(self.intercept) * n**self.exponent.value)

    def verdict(self, expected: float, margin: float = 0.1) -> str:
        """`consistent` if the interval lies in expected +- margin, `inconsistent` if it misses it, else `inconclusive`.

        Also `inconclusive`, whatever the interval, for fewer than eight sizes and where all are powers of two.
        """
        if not margin > 0:
            raise SampleError(f"margin must be above 0, got {margin}")
        if _poor_grid(self.sizes):
            return "inconclusive"
        inside = self.exponent.inside(expected - margin, expected + margin)
        return {True: "consistent", False: "inconsistent", None: "inconclusive"}[inside]

    def advice(self, expected: float, margin: float = 0.1) -> str:
        """What would resolve the verdict, in a line: rounds, sizes, or neither. Empty where it is not `inconclusive`.

        Rounds are estimated from the estimate and the intervals of now, so the number is rough: the noise shrinks with the
        root of the rounds, as does the part `noise_share` of the model's variance.
        """
        if self.verdict(expected, margin) != "inconclusive":
            return ""
        return _poor_grid(self.sizes) or _resolve(self, expected - margin, expected + margin)

    def __repr__(self) -> str:
        return f"exponent {self.exponent:.3f} over {len(self.sizes)} sizes, {self.sizes[0]} to {self.sizes[-1]}"

    def _repr_html_(self) -> str:
        picture = trail(self.sizes, self.times_ns, self.predict_ns, f"median times and the fitted line: {self!r}")
        local = f"{min(self.local):.2f} ... {max(self.local):.2f}"
        row = (f"{self.exponent:.3f}", f"{self.theil_sen:.3f}", local, len(self.sizes), self.rounds, picture)
        return table(("exponent [95 %]", "Theil-Sen", "local exponents", "sizes", "rounds", "time against n"), [row])


def fit_scaling(sizes: Sequence[int], times: Sequence[float] | np.ndarray, confidence: float = 0.95) -> ScalingFit:
    """Fit the exponent by least squares on the logarithms of per-size medians.

    sizes: distinct, above 0, at least three (a verdict needs eight, log-spaced). times: one per size, or rounds x sizes in
    the order taken, with NaN where a size sat a round out. Model interval: Student t on HC3 standard errors (MacKinnon and
    White, J. Econometrics 29, 1985); it takes the scatter of neighbouring sizes for independent. Noise interval: order
    statistics of the exponents of the rounds that have every size, Student t where they are too few for that, widened where
    neighbouring rounds resemble each other. With one time per size, what tilts that whole round goes unseen.
    """
    n, table = _check(sizes, times, confidence)
    order = np.argsort(n)
    n, table = n[order], table[:, order]
    absent = np.isnan(table)
    medians = (np.nanmedian if absent.any() else np.median)(table, axis=0)
    x, y = np.log(n), np.log(medians)
    slope, intercept, residuals = _line(x, y)
    model = _model_interval(x, residuals, slope, confidence)
    slopes, _, scatter = _line(x, np.log(table[~absent.any(axis=1)]))
    noise = _noise_interval(slopes, slope, confidence) if len(slopes) > 1 else None
    return ScalingFit(
        exponent=replace(model, low=min(noise.low, model.low), high=max(noise.high, model.high)) if noise else model,
        noise=noise,
        model=model,
        sizes=tuple(int(v) for v in n),
        times_ns=tuple(float(v) for v in medians),
        local=tuple(float(v) for v in np.diff(y) / np.diff(x)),
        intercept=float(intercept),
        rounds=len(slopes),
        noise_share=_noise_share(scatter) if noise else None,
    )


def _check(sizes: Sequence[int], times: Sequence[float] | np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    n, table = np.asarray(sizes, dtype=np.float64), np.atleast_2d(np.asarray(times, dtype=np.float64))
    if not 0 < confidence < 1:
        raise SampleError(f"confidence must lie between 0 and 1, got {confidence}")
    if n.ndim != 1 or len(np.unique(n)) != len(n) or len(n) < 3:
        raise SampleError(f"sizes must be at least 3 distinct numbers, got {np.unique(n).size} of {n.size}")
    if table.ndim != 2 or table.shape[1] != len(n):
        raise SampleError(f"times must have {len(n)} columns, one per size, got shape {np.shape(times)}")
    wrong = n[~((n > 0) & (n < np.inf))]
    if len(wrong):
        raise SampleError(f"sizes must be above 0 and finite, got {wrong[0]:g}")
    if (n % 1).any():
        raise SampleError(f"sizes must be whole numbers, got {n[n % 1 > 0][0]:g}")
    absent = np.isnan(table)
    if absent.all(axis=0).any() or not (absent | ((table > 0) & (table < np.inf))).all():
        raise SampleError("times must be above 0 and finite, with at least one for every size")
    return n, table


def _line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope, intercept and what is left over, by least squares along the last axis of y."""
    centred = x - x.mean()
    slope = y @ centred / (centred @ centred)
    intercept = y.mean(axis=-1) - slope * x.mean()
    return slope, intercept, y - intercept[..., None] - slope[..., None] * x


@lru_cache
def _quantile(confidence: float, freedom: int) -> float:
    """Student t, two-sided."""
    return float(scipy.stats.t.ppf((1 + confidence) / 2, freedom))


def _model_interval(x: np.ndarray, residuals: np.ndarray, slope: float, confidence: float) -> Interval:
    centred = x - x.mean()
    power = centred @ centred
    free = np.maximum(1 - 1 / len(x) - centred**2 / power, 1e-9)  # 1 - leverage, which is 0 for a size far from all others
    error = np.sqrt(np.sum((centred * residuals / free) ** 2)) / power
    reach = _quantile(confidence, len(x) - 2) * float(error)
    return Interval(float(slope), float(slope) - reach, float(slope) + reach, confidence)


def _noise_interval(slopes: np.ndarray, slope: float, confidence: float) -> Interval:
    """Around the exponents of the rounds, and large enough to contain the one of the medians."""
    try:
        middle = median_interval(slopes, confidence)
    except SampleError:  # too few rounds for order statistics
        centre, count = float(slopes.mean()), len(slopes)
        reach = _quantile(confidence, count - 1) * float(slopes.std(ddof=1)) / math.sqrt(count)
        middle = Interval(centre, centre - reach, centre + reach, confidence)
    stretch = _stretch(slopes)
    low, high = (middle.value + stretch * (end - middle.value) for end in (middle.low, middle.high))
    return Interval(float(slope), min(low, float(slope)), max(high, float(slope)), middle.coverage)


def _stretch(slopes: np.ndarray) -> float:
    """How much wider an interval is where neighbouring rounds resemble each other: sqrt((1 + r) / (1 - r)), never below 1.

    Source: n (1 - r) / (1 + r) effective samples (Bayley and Hammersley, J. R. Stat. Soc. Suppl. 8, 1946). The lag-1
    autocorrelation r is freed of the bias -1 / n that it has for independent rounds. Below six rounds none shows.
    """
    centred = slopes - slopes.mean()
    power = float(centred @ centred)
    if len(slopes) < MIN_SAMPLES or not power:
        return 1.0
    correlation = float(centred[1:] @ centred[:-1]) / power
    r = min(max(correlation + 1 / len(slopes), 0.0), STRONGEST)
    return math.sqrt((1 + r) / (1 - r))


def _noise_share(scatter: np.ndarray) -> float:
    """Variance that noise gives the median over rounds, over the variance that those medians have between sizes; at most 1.

    scatter: rounds x sizes, what each round's own line leaves over, so that what a round has in common is gone. Noise is
    1.4826 median absolute deviations; the variance of a median is pi / 2 times that of a mean (both for a normal).
    """
    count, sizes = scatter.shape
    middles = np.median(scatter, axis=0)
    sigma = 1.4826 * np.median(np.abs(scatter - middles)) * math.sqrt(count / (count - 1))
    variance = float(middles @ middles) / sizes
    return min(1.0, math.pi / 2 * float(sigma) ** 2 / count / variance) if variance else 1.0


def _poor_grid(sizes: tuple[int, ...]) -> str:
    """Why these sizes allow no verdict, and what to add; empty if they allow one."""
    if (missing := FEWEST_SIZES - len(sizes)) > 0:
        why = f"{len(sizes)} sizes are too few for a verdict, {FEWEST_SIZES} are needed"
    elif all(n & (n - 1) == 0 for n in sizes):
        why, missing = "all sizes are powers of two, where addresses collide in the caches", len(sizes) // 2
    else:
        return ""
    return f"{why}: add {', '.join(map(str, _more_sizes(sizes, missing)))}"


def _more_sizes(sizes: tuple[int, ...], count: int) -> list[int]:
    """Near the middles of the widest gaps on the logarithmic axis, or above the largest; never a power of two."""
    grid: list[int] = sorted(sizes)
    for _ in range(count):
        gaps = [(b / a, a, _off_power(round(math.sqrt(a * b))), b) for a, b in pairwise(grid)]
        middles = [(width, middle) for width, a, middle, b in gaps if a < middle < b]
        grid = sorted([*grid, max(middles)[1] if middles else _off_power(grid[-1] * 3 // 2)])
    return sorted(set(grid) - set(sizes))


def _off_power(n: int) -> int:
    return n if n & (n - 1) else n + max(1, n // 8)


def _resolve(fit: ScalingFit, low: float, high: float) -> str:
    """The line of `advice` for sizes that allow a verdict."""
    if fit.noise is None:
        return f"without rounds noise cannot be told from a bend: measure every size in at least {MIN_SAMPLES} rounds"
    stays = 1 - fit.noise_share if fit.noise_share < 0.4 else 0.0  # as chance makes it in one fit of twenty
    rounds, wider = _rounds_needed(fit, stays, low, high), _wider(fit, low, high)
    if rounds <= MOST_ROUNDS:
        return f"noise dominates: take about {rounds:.0f} rounds instead of {fit.rounds}{wider and ', or ' + wider}"
    if stays and (bend := _bend(fit, low, high)):
        return f"more rounds do not help, one exponent does not describe the curve: {bend}"
    if wider:
        return f"more rounds do not help: {wider}"
    edge = min(low, high, key=lambda e: abs(e - fit.exponent.value))
    return f"to tell {fit.exponent.value:.3f} from {edge:.6g} takes more than {MOST_ROUNDS} rounds: choose another margin"


def _excess(interval: Interval, low: float, high: float) -> float:
    """How many times too far the interval reaches from its value to be inside the band or outside; at most 1 if it is."""
    value, down, up = interval.value, interval.value - interval.low, interval.high - interval.value
    to_low, to_high = (max(abs(value - edge), 1e-9) for edge in (low, high))
    if low <= value <= high:
        return max(down / to_low, up / to_high)
    return down / to_high if value > high else up / to_low


def _rounds_needed(fit: ScalingFit, stays: float, low: float, high: float) -> float:
    """Rounds after which both intervals decide, if the estimate stays; stays: the part of the model's variance."""
    for_noise, excess = (_excess(i, low, high) ** 2 for i in (fit.noise, fit.model))
    room = 1 - stays * excess
    for_model = (1 - stays) * excess / room if room > 0 else math.inf
    return max(MIN_SAMPLES, fit.rounds + 1, np.ceil(fit.rounds * max(for_noise, for_model)))


def _wider(fit: ScalingFit, low: float, high: float) -> str:
    """The range over which as many sizes would do: the error falls with the length of log n. Not where rounds tilt."""
    noise, model = (_excess(i, low, high) for i in (fit.noise, fit.model))
    now = fit.sizes[-1] / fit.sizes[0]
    length = max(noise, model) * math.log(now)
    if model < noise / 2 or length > math.log(MOST_ROUNDS):
        return ""
    return f"spread the sizes over a factor of {math.exp(length):.3g} instead of {now:.3g}"


def _bend(fit: ScalingFit, low: float, high: float) -> str:
    """Between which sizes the curve leaves the band furthest, on one side of it or on both; empty if nowhere."""
    local = np.array(fit.local)
    beyond = (local - np.clip(local, low, high)) * np.diff(np.log(fit.sizes))
    flattest, steepest, worst = (int(np.argmax(b)) for b in (-beyond, beyond, abs(beyond)))
    between = [f"{exponent:.2f} between {a} and {b}" for exponent, (a, b) in zip(local, pairwise(fit.sizes), strict=True)]
    if not beyond[worst]:
        return ""
    if min(-beyond[flattest], beyond[steepest]) > abs(beyond[worst]) / 2:
        return f"local exponents from {between[flattest]} to {between[steepest]}; fit such sizes apart, or add sizes there"
    if 2 <= worst <= len(local) - 3:
        return f"local exponent {between[worst]}; fit the sizes on either side apart, or add sizes between"
    return f"local exponent {between[worst]}; add sizes between and {'below' if worst < 2 else 'above'}"
