"""How a time grows with the size: log t = a + p log n, with an interval on p that can be believed.

    fit_scaling(sizes, times)   -> ScalingFit: exponent, interval, local exponents, verdict(expected)

    >>> fit_scaling([64, 80, 100, 128, 160, 200, 256, 320], [n**3 for n in (64, 80, 100, 128, 160, 200, 256, 320)])
    exponent 3.000 [3.000, 3.000] over 8 sizes, 64 to 320

Raises `SampleError` for fewer than three distinct sizes and for sizes or times that are not above 0 and finite.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .stats import Interval, SampleError, median_interval

__all__ = ["ScalingFit", "fit_scaling"]


@dataclass(frozen=True)
class ScalingFit:
    """The exponent p of t ~ n^p. `exponent` carries the wider of `noise` and `model`."""

    exponent: Interval
    noise: Interval | None
    """From a fit per round: how well the measurement repeats. None for one time per size."""
    model: Interval
    """From the scatter of the sizes around the line (HC3): how well one exponent describes the curve."""
    theil_sen: Interval
    """Median of pairwise slopes: the exponent that a few odd sizes cannot move."""
    sizes: tuple[int, ...]
    times_ns: tuple[float, ...]
    local: tuple[float, ...]
    """Exponent between neighbouring sizes, one fewer than sizes."""
    intercept: float

    def predict_ns(self, n: float) -> float:
        """Time on the fitted line."""
        return float(np.exp(self.intercept) * n**self.exponent.value)

    def verdict(self, expected: float, margin: float = 0.1) -> str:
        """`consistent` if the interval lies in expected +- margin, `inconsistent` if it misses it, else `inconclusive`."""
        inside = self.exponent.inside(expected - margin, expected + margin)
        return {True: "consistent", False: "inconsistent", None: "inconclusive"}[inside]

    def __repr__(self) -> str:
        p = self.exponent
        return (
            f"exponent {p.value:.3f} [{p.low:.3f}, {p.high:.3f}] "
            f"over {len(self.sizes)} sizes, {self.sizes[0]} to {self.sizes[-1]}"
        )


def fit_scaling(sizes: Sequence[int], times: Sequence[float] | np.ndarray, confidence: float = 0.95) -> ScalingFit:
    """Fit the exponent by least squares on the logarithms of per-size medians.

    sizes: distinct, above 0, at least three (eight log-spaced ones are needed for a verdict worth having). times: one per
    size, or rounds x sizes with NaN where a size sat a round out. Model interval: Student t on HC3 standard errors
    (MacKinnon and White, J. Econometrics 29, 1985). Noise interval: order statistics of the per-round exponents.
    """
    n, table = _checked(sizes, times)
    order = np.argsort(n)
    n, table = n[order], table[:, order]
    medians = np.nanmedian(table, axis=0)
    x, y = np.log(n), np.log(medians)
    slope, intercept = np.polyfit(x, y, 1)
    model = _model_interval(x, y, slope, intercept, confidence)
    noise = _noise_interval(x, table, slope, confidence)
    widest = max((i for i in (noise, model) if i is not None), key=lambda i: i.high - i.low)
    return ScalingFit(
        exponent=widest,
        noise=noise,
        model=model,
        theil_sen=_theil_sen(x, y, confidence),
        sizes=tuple(int(v) for v in n),
        times_ns=tuple(float(v) for v in medians),
        local=tuple(float(v) for v in np.diff(y) / np.diff(x)),
        intercept=float(intercept),
    )


def _checked(sizes: Sequence[int], times: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, table = np.asarray(sizes, dtype=np.float64), np.atleast_2d(np.asarray(times, dtype=np.float64))
    if n.ndim != 1 or len(np.unique(n)) != len(n) or len(n) < 3:
        raise SampleError(f"sizes must be at least 3 distinct numbers, got {np.unique(n).size} of {n.size}")
    if table.ndim != 2 or table.shape[1] != len(n):
        raise SampleError(f"times must have {len(n)} columns, one per size, got shape {np.shape(times)}")
    wrong = n[~((n > 0) & (n < np.inf))]
    if len(wrong):
        raise SampleError(f"sizes must be above 0 and finite, got {wrong[0]:g}")
    taken = table[~np.isnan(table)]
    if np.isnan(table).all(axis=0).any() or not ((taken > 0) & (taken < np.inf)).all():
        raise SampleError("times must be above 0 and finite, with at least one for every size")
    return n, table


def _model_interval(x: np.ndarray, y: np.ndarray, slope: float, intercept: float, confidence: float) -> Interval:
    from scipy.stats import t

    design = np.column_stack([np.ones_like(x), x])
    bread = np.linalg.inv(design.T @ design)
    leverage = np.einsum("ij,jk,ik->i", design, bread, design)
    weighted = design * ((y - intercept - slope * x) / (1 - leverage))[:, None]
    error = np.sqrt((bread @ weighted.T @ weighted @ bread)[1, 1])
    reach = float(t.ppf((1 + confidence) / 2, len(x) - 2) * error)
    return Interval(float(slope), float(slope) - reach, float(slope) + reach, confidence)


def _noise_interval(x: np.ndarray, table: np.ndarray, slope: float, confidence: float) -> Interval | None:
    full = np.log(table[~np.isnan(table).any(axis=1)])
    if len(full) < 2:
        return None
    slopes = np.polyfit(x, full.T, 1)[0]
    try:
        found = median_interval(slopes, confidence)
    except SampleError:  # too few rounds for order statistics: their whole range
        found = Interval(float(slope), float(slopes.min()), float(slopes.max()), 1 - 2 * 0.5 ** len(slopes))
    return Interval(float(slope), min(found.low, float(slope)), max(found.high, float(slope)), found.coverage)


def _theil_sen(x: np.ndarray, y: np.ndarray, confidence: float) -> Interval:
    from scipy.stats import theilslopes

    slope, _, low, high = theilslopes(y, x, confidence)
    return Interval(float(slope), float(low), float(high), confidence)
