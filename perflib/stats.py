"""Compute statistics of timing samples, by pure functions without a clock.

    >>> median_interval([10, 11, 12, 13, 14, 15]).value
    12.5

Raises `SampleError` (a `ValueError`) for empty, too short, non-finite or unpaired samples.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import scipy  # loads scipy.stats, half a second, when it is used

from .errors import SampleError

MIN_SAMPLES = 6
"""Fewest samples for which min and max cover the median with 95 %: 1 - 2 / 2^6 = 0.969."""


FEWEST_CASES = 8
"""Cases from which on their variances tell what is usual."""
MOST_FREEDOM = 8.0
"""Degrees of freedom of a prior at most: simulated, more of them make intervals that miss too often."""
LEAST_VARIANCE = 1e-12
"""Of a logarithm: a millionth of a time."""

EXACT = 4000
"""The largest product of both sample counts for which the distribution of U is counted exactly."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval; `coverage` is the attained one, at least the requested one."""

    value: float
    low: float
    high: float
    coverage: float

    @property
    def half_width(self) -> float:
        """Half the interval's length as a share of the value."""
        return (self.high - self.low) / (2 * abs(self.value)) if self.value else float("inf")

    def __format__(self, digits: str) -> str:
        """`f"{interval:.2f}"` is `2.05 [1.98, 2.11]`."""
        return f"{self.value:{digits}} [{self.low:{digits}}, {self.high:{digits}}]" if digits else str(self)

    def scaled(self, factor: float) -> "Interval":
        """The same interval in another unit."""
        low, high = sorted((self.low * factor, self.high * factor))
        return Interval(self.value * factor, low, high, self.coverage)

    def inverse(self, numerator: float = 1.0) -> "Interval":
        """numerator / interval: a time turned into a rate."""
        return Interval(numerator / self.value, numerator / self.high, numerator / self.low, self.coverage)

    def inside(self, low: float, high: float) -> bool | None:
        """True if the whole interval lies in [low, high], False if it misses it, None if neither."""
        if low <= self.low and self.high <= high:
            return True
        return False if self.high < low or self.low > high else None


def median(samples: Sequence[float] | np.ndarray) -> float:
    """Median of at least one finite sample."""
    return float(np.median(_finite(samples, at_least=1)))


def _quick_median(values: np.ndarray) -> float:
    """The same of finite numbers: NumPy's own takes ten times as long for some tens of them."""
    ordered, half = np.sort(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def median_interval(samples: Sequence[float] | np.ndarray, confidence: float = 0.95, serial: bool = False) -> Interval:
    """Median with the order-statistic interval: no assumption on the distribution but independence.

    Source: P(X(j) <= median <= X(n+1-j)) = 1 - 2 P(Binomial(n, 1/2) < j); David and Nagaraja, Order
    Statistics, 3rd ed., section 7.1. `j` is the largest that keeps the confidence. Needs six samples for 95 %.
    `serial`: the samples stand in the order of time and may resemble their neighbours; the ranks move apart by the root
    of `persistence`, at most to the smallest and the largest sample.
    """
    if not 0 < confidence < 1:
        raise SampleError(f"confidence must lie between 0 and 1, got {confidence}")
    values = _finite(samples, at_least=1)
    rank, coverage = _order_rank(len(values), confidence)
    if serial:
        middle = len(values) / 2
        rank = max(0, math.floor(middle - (middle - rank) * math.sqrt(persistence(values))))
    values = np.sort(values)
    return Interval(float(np.median(values)), float(values[rank]), float(values[-1 - rank]), coverage)


def ratio_interval(
    over: Sequence[float] | np.ndarray,
    under: Sequence[float] | np.ndarray,
    confidence: float = 0.95,
    comparisons: int = 1,
    serial: bool = False,
) -> Interval:
    """Median of `over[i] / under[i]` with its interval; pairs are samples of one round.

    Works on logarithms, so that a ratio and its inverse agree. `comparisons` divides the error
    rate (Bonferroni), for the case that several ratios are judged together. `serial` as for `median_interval`.
    """
    if comparisons < 1:
        raise SampleError(f"comparisons must be at least 1, got {comparisons}")
    top, bottom = _finite(over, at_least=1), _finite(under, at_least=1)
    if len(top) != len(bottom):
        raise SampleError(f"paired samples must have equal length, got {len(top)} and {len(bottom)}")
    if top.min() <= 0 or bottom.min() <= 0:
        raise SampleError("samples of a ratio must be above 0")
    logs = median_interval(np.log(top) - np.log(bottom), 1 - (1 - confidence) / comparisons, serial)
    return Interval(*(float(np.exp(x)) for x in (logs.value, logs.low, logs.high)), logs.coverage)


def shift_interval(
    over: Sequence[float] | np.ndarray, under: Sequence[float] | np.ndarray, confidence: float = 0.95, comparisons: int = 1
) -> Interval:
    """Ratio of two series that were not taken together: by how much one is longer than the other, and its interval.

    Median of all `over[i] / under[j]`, and the order statistics of them that keep the confidence under the exact
    distribution of Mann and Whitney's U: Hodges and Lehmann, Ann. Math. Stat. 34 (1963), section 3. Both series stand in
    the order of time; the ranks move apart by the root of the larger `persistence`. `comparisons` divides the error rate.
    """
    top, bottom = _finite(over, at_least=1), _finite(under, at_least=1)
    if top.min() <= 0 or bottom.min() <= 0:
        raise SampleError("samples of a ratio must be above 0")
    shifts = np.sort(np.subtract.outer(np.log(top), np.log(bottom)).ravel())
    missed = 2 * _mann_whitney(len(top), len(bottom))
    usable = np.flatnonzero(missed[: len(shifts) // 2] <= (1 - confidence) / comparisons)
    if not len(usable):
        raise SampleError(f"samples must be more than {len(top)} and {len(bottom)} for {comparisons} comparisons")
    middle = len(shifts) / 2
    stretch = math.sqrt(max(persistence(top), persistence(bottom)))
    rank = max(0, math.floor(middle - (middle - usable[-1]) * stretch))
    ends = (float(np.exp(x)) for x in (np.median(shifts), shifts[rank], shifts[-1 - rank]))
    return Interval(*ends, float(1 - missed[usable[-1]]))


@lru_cache(maxsize=256)
def _mann_whitney(n: int, m: int) -> np.ndarray:
    """P(U <= u) for u = 0, 1, ...: the Gaussian binomial coefficient in whole numbers; large samples by the normal."""
    if n * m > EXACT:
        return scipy.stats.norm.cdf((np.arange(n * m + 1) + 0.5 - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12))
    ways = [1] + [0] * (n * m)
    for i in range(1, n + 1):
        for u in range(n * m, m + i - 1, -1):
            ways[u] -= ways[u - m - i]
        for u in range(i, n * m + 1):
            ways[u] += ways[u - i]
    total = math.comb(n + m, n)
    return np.array([float(Fraction(w, total)) for w in accumulate(ways)])


def fewest_samples(comparisons: int = 1, confidence: float = 0.95) -> int:
    """Samples from which on `ratio_interval` has an interval: six for one comparison, seven for two."""
    return math.ceil(math.log2(2 * comparisons / (1 - confidence)))


def persistence(samples: Sequence[float] | np.ndarray) -> float:
    """Variance of the median of a series over that of independent samples; at least 1, which a flat series has.

    1 + 2 sum of w(k) r(k), r(k) the autocorrelation at lag k of the signs about the median (only they decide where the
    median lies), w(k) = 1 - k / (L + 1), L = ceil(sqrt(n)): Newey and West, Econometrica 55 (1987).
    """
    values = _finite(samples, at_least=1)
    signs = np.sign(values - np.median(values))
    signs -= signs.mean()
    power = float(signs @ signs)
    if power == 0:
        return 1.0
    last = math.ceil(math.sqrt(len(signs)))
    lags = range(1, min(last + 1, len(signs)))
    return max(1.0, 1 + 2 * sum((1 - k / (last + 1)) * float(signs[k:] @ signs[:-k]) for k in lags) / power)


@dataclass(frozen=True)
class Prior:
    """What the variances of many cases say of one: log s0^2 = `level` + `slope` log x, with the weight of `freedom` values.

    x: a number above 0 of each case that its variance grows with.
    """

    level: float
    slope: float
    freedom: float

    def shrink(self, variance: float, freedom: float, x: float = 1.0) -> tuple[float, float]:
        """The variance of one case shrunk towards s0^2, (d0 s0^2 + d s^2) / (d0 + d), and its degrees of freedom d0 + d."""
        prior = math.exp(self.level + self.slope * math.log(max(x, LEAST_VARIANCE)))
        total = self.freedom + freedom
        return (self.freedom * prior + freedom * variance) / total, total

    def of_ratio(self) -> "Prior":
        """For the ratio of two independent cases: both its variance and its x are twice those of one."""
        return Prior(self.level + (1 - self.slope) * math.log(2), self.slope, self.freedom)


def variance_prior(
    variances: Sequence[float] | np.ndarray, freedom: Sequence[float] | np.ndarray, x: Sequence[float] | np.ndarray = ()
) -> Prior:
    """The prior from variances with so many degrees of freedom each, by the moments of log s^2.

    Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004), section 6.2, with a line in log x as in Law et al., Genome Biol. 15
    (2014). Raises SampleError for fewer than eight cases.
    """
    values, half = np.asarray(variances, float), np.asarray(freedom, float) / 2
    if len(values) < FEWEST_CASES:
        raise SampleError(f"cases must be at least {FEWEST_CASES} to learn their variance from, got {len(values)}")
    logs = np.log(np.maximum(values, max(1e-4 * float(np.median(values)), LEAST_VARIANCE)))  # 0: the clock could not tell
    logs += np.log(half) - scipy.special.digamma(half)
    design = np.ones((len(values), 1))
    if len(x) and np.ptp(x) > 0:
        design = np.stack([design[:, 0], np.log(np.maximum(x, LEAST_VARIANCE))], axis=1)
    line = np.linalg.lstsq(design, logs, rcond=None)[0]
    left = logs - design @ line
    beyond = float(left @ left) / max(1, len(left) - len(line)) - float(scipy.special.polygamma(1, half).mean())
    d0 = min(MOST_FREEDOM, 2 * _inverse_trigamma(beyond)) if beyond > 0 else MOST_FREEDOM
    level = float(line[0] + scipy.special.digamma(d0 / 2) - math.log(d0 / 2))
    return Prior(level, float(line[1]) if len(line) > 1 else 0.0, d0)


def _inverse_trigamma(value: float) -> float:
    """x with trigamma(x) = value, which falls from infinity to 0."""
    return float(scipy.optimize.brentq(lambda x: scipy.special.polygamma(1, x) - value, 1e-4, 1e8))


def t_interval(mean: float, variance: float, freedom: float, confidence: float = 0.95) -> Interval:
    """exp of a mean of logarithms and of the ends of Student's interval around it; `variance` is that of the mean."""
    reach = float(scipy.special.stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(variance)
    return Interval(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach), confidence)


def p_of_no_change(mean: float, variance: float, freedom: float) -> float:
    """Two-sided p-value of Student's test that a mean of logarithms is 0; `variance` is that of the mean."""
    return 2 * float(scipy.special.stdtr(freedom, -abs(mean) / math.sqrt(variance)))


@dataclass(frozen=True)
class Medians:
    """The median time of one case in each process that measured it."""

    logs: np.ndarray
    """Logarithms, one for each process."""
    scatter: float
    """Variance of such a logarithm as far as the rounds explain it: pi / 2 times that of a round, over their number."""

    @classmethod
    def of(cls, times: Sequence[np.ndarray]) -> "Medians | None":
        """From the times in each process; None where a median is not above 0, so that it has no logarithm."""
        middles = np.array([_quick_median(each) for each in times])
        if middles.min() <= 0:
            return None
        spreads = [1.4826 * _quick_median(abs(each / middle - 1)) for each, middle in zip(times, middles, strict=True)]
        scatter = np.mean([math.pi / 2 * s**2 / len(each) for s, each in zip(spreads, times, strict=True)])
        return cls(np.log(middles), float(scatter))

    @property
    def variance(self) -> float:
        """Between the processes; needs two."""
        return float(np.var(self.logs, ddof=1))

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the variance."""
        return len(self.logs) - 1

    def interval(self, prior: Prior | None, confidence: float = 0.95) -> Interval:
        """For the median over placements and processes: Student's, around the mean, the variance shrunk to the prior."""
        variance, freedom = self.variance, self.freedom
        if prior:
            variance, freedom = prior.shrink(variance, freedom, self.scatter)
        return t_interval(float(self.logs.mean()), variance / len(self.logs), freedom, confidence)


def prior_of(spreads: Iterable[Any]) -> Prior | None:
    """The prior from the `variance`, `freedom` and `scatter` of cases; None for fewer than eight that have a freedom."""
    several = [spread for spread in spreads if spread and spread.freedom]
    if len(several) < FEWEST_CASES:
        return None
    return variance_prior(*zip(*((s.variance, s.freedom, s.scatter) for s in several), strict=True))


def discoveries(p_values: Sequence[float] | np.ndarray, rate: float) -> np.ndarray:
    """Which hypotheses are refuted so that at most the share `rate` of those is wrong.

    Benjamini and Hochberg, J. R. Stat. Soc. B 57 (1995): the k smallest p-values, k the largest with p(k) <= rate k / m.
    """
    values = np.asarray(p_values, float)
    ranks = scipy.stats.rankdata(values, method="max")
    passing = values[values <= rate * ranks / len(values)]
    return values <= (passing.max() if len(passing) else -1.0)


def drift(samples: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Kendall's tau against the order in time, and its p-value: (0, 1) for a flat series."""
    values = _finite(samples, at_least=MIN_SAMPLES)
    if np.ptp(values) == 0:
        return 0.0, 1.0
    result = scipy.stats.kendalltau(np.arange(len(values)), values)
    return float(result.statistic), float(result.pvalue)


def lag1(samples: Sequence[float] | np.ndarray) -> float:
    """Autocorrelation at lag one of the ranks (so that one outlier does not decide); 0 for a flat series."""
    ranks = scipy.stats.rankdata(_finite(samples, at_least=MIN_SAMPLES))
    centred = ranks - ranks.mean()
    power = float(centred @ centred)
    return float(centred[1:] @ centred[:-1]) / power if power else 0.0


@lru_cache(maxsize=1024)  # every round of a measurement asks
def _order_rank(count: int, confidence: float) -> tuple[int, float]:
    """Rank (from 0) of the interval's lower end, and the coverage attained."""
    missed = 2 * scipy.stats.binom.cdf(np.arange(count // 2), count, 0.5)  # missed[j]: ranks j and count-1-j as ends
    usable = np.flatnonzero(missed <= 1 - confidence)
    if not len(usable):
        raise SampleError(f"samples must be more than {count} for an interval of {confidence:.4g}")
    return int(usable[-1]), float(1 - missed[usable[-1]])


def _finite(samples: Sequence[float] | np.ndarray, at_least: int) -> np.ndarray:
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1:
        raise SampleError(f"samples must be one-dimensional, got shape {values.shape}")
    if len(values) < at_least:
        raise SampleError(f"samples must be at least {at_least}, got {len(values)}")
    if not np.isfinite(values).all():
        raise SampleError("samples must be finite, got NaN or infinity")
    return values
