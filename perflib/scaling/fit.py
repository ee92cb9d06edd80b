"""Fit how a time grows with the size: its growth class, levels of price, odd sizes, a fixed cost, and a verdict.

    >>> sizes = [64, 80, 100, 128, 160, 200, 256, 320]
    >>> fit = fit_scaling(sizes, [n**3 for n in sizes])
    >>> fit.verdict(3)
    'consistent'
    >>> fit.verdict(2)
    'inconsistent'

Raises `SampleError` for fewer than three sizes, sizes within a factor of 1.5, and times that are not above 0 and finite.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
import scipy  # loads scipy.stats, half a second, when it is used

from ..display.html import image, table
from ..errors import SampleError
from ..hardware.facts import machine
from ..kernels.caches import Cache
from ..stats import Interval
from . import inputs
from .classes import CLASSES, Expected, Work, counted, power, work_of
from .cost_model import DRIFT, HOPELESS, PILOTS, Arrangement, Data, fit_work, usable
from .exponent import Exponent, free_exponent
from .levels import LEAST_SIZES
from .reasons import explain
from .records import Growth, OddSize, Prediction, Regime, Step, Verdict
from .sentence import left_out
from .verdict import (
    BETTER,
    COUNTED,
    FITS,
    FREE,
    Evidence,
    bounded,
    cost_of,
    expected_growth,
    fit_of,
    is_enough,
    is_flat,
    ranked,
    rival_costs,
)

SMALLEST_SHARE = 1e-9
"""Of a time that is work, where 2ⁿ leaves nothing of it beside a fixed cost."""
EDGE = 4.0
"""Times a cache that the data fill before all of them come from the next level: no cache evicts in strict order."""
HALF = 0.5
"""Of a cache: what data fill at most where all of them surely come from it, though pages and others share its sets."""
EDGE_ERROR = 0.15
"""By how much the time of a size that is leaving a cache may differ from the way between two levels."""
FAR = 3.0
"""Times the range beyond which a prediction is an extrapolation."""


@dataclass(frozen=True, eq=False)
class ScalingFit:
    """A curve taken apart: time(n) = (fixed cost + work(n) * price(level)) * (1, or a factor at an odd size)."""

    sizes: tuple[float, ...]
    times_ns: tuple[float, ...]
    """Medians over the rounds."""
    noise: tuple[float, ...]
    """Relative standard error of each median; 0 where there is one round."""
    rounds: int
    exponent: Interval
    """The p of n^p that fits best, with levels, odd sizes and a fixed cost of its own."""
    fixed_cost: Interval
    """ns; exactly 0 where none shows."""
    model_error: float
    regimes: tuple[Regime, ...]
    odd_sizes: tuple[OddSize, ...]
    bytes: tuple[float, ...] | None
    confidence: float
    declared: bool
    """Whether the caller gave the work."""
    growth: Work
    """The work that prices are per unit of: the declared one, else the class or the power that fits best."""
    arrangement: Arrangement
    rivals: dict[str, Arrangement]
    """The fit of every class."""
    free: Exponent
    data: Data
    unit_ns: float
    caches: tuple[Cache, ...] = ()
    """Of the machine that the times are from; known to the fit where the bytes are."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Where the price rises."""
        return tuple(Step(a.last, b.first, b.price.value / a.price.value) for a, b in pairwise(self.regimes))

    @property
    def local(self) -> tuple[float, ...]:
        """Exponent between neighbouring sizes, one fewer than sizes."""
        return tuple((np.diff(np.log(self.times_ns)) / np.diff(np.log(self.sizes))).tolist())

    @cached_property
    def least_squares(self) -> Interval:
        """Slope of one straight line through all log times, as textbooks do it."""
        line = scipy.stats.linregress(np.log(self.sizes), np.log(self.times_ns))
        reach = float(scipy.stats.t.ppf((1 + self.confidence) / 2, len(self.sizes) - 2) * line.stderr)
        return Interval(float(line.slope), float(line.slope) - reach, float(line.slope) + reach, self.confidence)

    @cached_property
    def theil_sen(self) -> Interval:
        """Median of pairwise slopes: the exponent that a few odd sizes cannot move (Sen, JASA 63, 1968)."""
        slope, _, low, high = scipy.stats.theilslopes(np.log(self.times_ns), np.log(self.sizes), self.confidence)
        attained = 1 - 2 / math.factorial(len(self.sizes))  # of the smallest and the largest slope together
        return Interval(float(slope), float(low), float(high), min(self.confidence, attained))

    def work(self, n: float) -> float:
        """Units of work at n."""
        return float(np.exp(self.growth.log(np.array([float(n)]))[0]))

    def curve(self, n: float) -> float:
        """The fitted time in ns, without the factors of odd sizes."""
        return self.curve_of(self.growth, self.arrangement, n)

    def curve_of(self, growth: Work, fit: Arrangement, n: float) -> float:
        """The time in ns at n with another growth and its fit."""
        log_work = float(growth.log(np.array([float(n)]))[0]) - fit.offset
        price = fit.price_at(float(np.log(n)), np.log(self.data.sizes))
        work = math.exp(min(log_work + price, 700.0)) * float(fit.shape(np.array(n), self.data.sizes))
        return self.unit_ns * max(fit.fixed + work, 0.03 * work)

    def _plausible(self) -> list[tuple[Work, Arrangement]]:
        """What may stand behind the data: the fit, the ends of the exponent's interval, classes that fit as well."""
        low, high = self.exponent.low, self.exponent.high
        fits = [(power(low), self.free.ends[0]), (power(high), self.free.ends[1])]
        least = min(fit.cost for fit in self.rivals.values())
        return fits + [(CLASSES[name], fit) for name, fit in self.rivals.items() if fit.cost <= least + FITS]

    def predict_ns(self, n: float) -> Prediction:
        """The time at n, with the interval over all growths that fit these data."""
        if not 0 < n < math.inf:
            raise SampleError(f"n must be above 0 and finite, got {n:g}")
        value = self.curve(n)
        others = [self.curve_of(growth, fit, n) for growth, fit in self._plausible()]
        spread = math.exp(2 * math.hypot(self.model_error, max(self.noise)))
        far = n > FAR * self.sizes[-1] or n < self.sizes[0] / FAR
        return Prediction(value, min([value, *others]) / spread, max([value, *others]) * spread, far)

    def largest(self, seconds: float = 1.0) -> Prediction:
        """The largest n that takes at most this long, with its interval."""
        if not 0 < seconds < math.inf:
            raise SampleError(f"seconds must be above 0 and finite, got {seconds:g}")
        spread = math.exp(2 * math.hypot(self.model_error, max(self.noise)))
        value = self._inverse(seconds * 1e9, self.growth, self.arrangement)
        ends = [
            self._inverse(seconds * 1e9 * factor, growth, fit)
            for growth, fit in [(self.growth, self.arrangement), *self._plausible()]
            for factor in (1 / spread, spread)
        ]
        far = not self.sizes[0] / FAR <= value <= FAR * self.sizes[-1]
        return Prediction(value, min(ends), max(ends), far)

    def _inverse(self, time_ns: float, growth: Work, fit: Arrangement) -> float:
        """The n at which a curve reaches a time, by halving log n; infinite where it never does."""
        low, high = math.log(self.sizes[0]) - 30, math.log(self.sizes[-1]) + 200
        if self.curve_of(growth, fit, math.exp(high)) < time_ns:
            return math.inf
        for _ in range(60):
            middle = (low + high) / 2
            if self.curve_of(growth, fit, math.exp(middle)) <= time_ns:
                low = middle
            else:
                high = middle
        return math.exp(low)

    @cached_property
    def _evidence(self) -> Evidence:
        level = max(self.regimes, key=lambda regime: regime.last / regime.first)
        return Evidence(self.data, self.rounds, self.rivals, self.free, (level.first, level.last), self)

    def classes(self) -> tuple[Growth, ...]:
        """Every class, the best first."""
        return ranked(self._evidence)

    def verdict(self, expected: Expected | None = None, *, at_most: Expected | None = None) -> Verdict:
        """Whether the time grows as `expected`, or at most as fast as `at_most`: a number, a class name, a function of n.

        Without either: as the work that was declared to `fit_scaling`. That work is known to be done, so a class that
        differs from it by less than a factor of 1.3 over the largest level is no rival. Where its bytes are declared too,
        it is counted, and a rival must describe the times better: levels of price are likely beside it.
        """
        if at_most is not None and expected is not None:
            raise SampleError("verdict takes an expected growth or at_most, not both")
        if at_most is None and expected is None and not self.declared:
            raise SampleError("the expected growth is missing: write verdict(3) or verdict('n log n')")
        limit = expected if at_most is None else at_most
        growth = self.growth if limit is None else work_of(limit)
        is_known = self.declared and growth.name == self.growth.name
        judge = partial(expected_growth, is_known=is_known) if at_most is None else bounded
        verdict = judge(self._evidence, growth)
        if verdict == "consistent" or not (self.bytes and self.caches):
            return verdict
        if is_known:
            verdict = judge(replace(self._evidence, counted=COUNTED), growth)
        for place, within in enumerate(self.within_caches):
            inner = judge(replace(within._evidence, counted=COUNTED), growth)
            is_better = inner == "consistent" or (place, inner, verdict) == (0, "undecided", "inconsistent")
            if is_better and self._may_leave_caches(within, growth, is_known):
                verdict = Verdict(inner, inner.sentence + left_out(self, within), partial(getattr, inner, "advice"))
                if inner == "consistent":
                    break
        return verdict

    def _may_leave_caches(self, within: "ScalingFit", growth: Work, is_known: bool) -> bool:
        """Whether leaving a cache explains the sizes that were left out about as well as any other growth explains all."""
        rest = len(self.sizes) - len(within.sizes)
        explained = cost_of(within._evidence, growth) + rest * (1 + 2 * math.log(EDGE_ERROR))
        rivals = min(rival_costs(replace(self._evidence, counted=COUNTED), growth, is_known).values())
        return explained - BETTER <= min(rivals, self.free.best.cost + FREE)

    @cached_property
    def within_caches(self) -> "tuple[ScalingFit, ...]":
        """Fits without the sizes whose data are leaving a cache, where five sizes over a factor of three remain.

        Over them the price rises from one level to the next, and no growth is seen: a rise that the data end in looks
        like steeper growth. Levels of fewer than three sizes are left out too. Known work is also judged over those whose
        data fill half of a cache at most, and over all whose data fit into one, if one price holds over them.
        """
        fits: dict[tuple[float, ...], ScalingFit] = {}
        for has_edges, kept in _within(self.bytes, self.caches):
            data = Data(self.data.sizes[kept], self.data.times[kept], self.data.variance[kept])
            known = self.growth if self.declared else None
            if not kept.all() and (is_flat(data, self.growth) if has_edges else is_enough(data.sizes, self.growth)):
                fit = _take_apart(data, self.unit_ns, self.rounds, known, self.confidence)
                fits.setdefault(fit.sizes, replace(fit, bytes=tuple(np.array(self.bytes)[kept].tolist())))
            if not known:
                break
        return tuple(fits.values())

    def seen_as(self, growth: Work, arrangement: Arrangement | None) -> "ScalingFit":
        """The same curve with the levels, odd sizes and fixed cost that it has beside another growth; reasons stay.

        arrangement: None where the growth has none, because it spans more than any times do.
        """
        if arrangement is None or arrangement is self.arrangement:
            return replace(self, growth=growth)
        reasons = {one.size: one.reason for one in self.odd_sizes}
        levels = {one.first: one.reason for one in self.regimes}
        regimes = _regimes(self.data, arrangement, self.unit_ns, self.confidence)
        return replace(
            self,
            growth=growth,
            arrangement=arrangement,
            model_error=arrangement.model_error,
            fixed_cost=_fixed_cost(self.data, growth, arrangement, self.unit_ns, self.confidence),
            regimes=tuple(replace(one, reason=levels.get(one.first, "")) for one in regimes),
            odd_sizes=tuple(replace(one, reason=reasons.get(one.size, "")) for one in _odd_sizes(self.data, arrangement)),
        )

    def __repr__(self) -> str:
        return expected_growth(self._evidence, self.growth, is_known=self.declared).sentence

    def _repr_html_(self) -> str:
        from .figure import growth_figure  # half a second of Matplotlib

        row = (*(f"{one:.3f}" for one in (self.exponent, self.least_squares, self.theil_sen)), len(self.sizes), self.rounds)
        header = ("exponent [95 %]", "least squares", "Theil-Sen", "sizes", "rounds")
        return f"<div>{image(growth_figure(self))}{table(header, [row])}</div>"


def fit_scaling(
    sizes: Any,
    times: Any = None,
    work: Expected | Sequence[float] | np.ndarray | None = None,
    bytes: Callable[[float], float] | Sequence[float] | np.ndarray | None = None,
    confidence: float = 0.95,
    caches: Iterable[Cache] | None = None,
) -> ScalingFit:
    """Fit a curve of times: growth, levels of price, odd sizes, a fixed cost.

    sizes, times: lists, or times as rounds x sizes with NaN for a size not measured in a round; a DataFrame of sizes and
    times, one column each; a sweep, with its topic as times. Times in ns. work: a class name, a power, a function of n, or
    counts per size; without it the class or power that fits best. bytes: working set per size, or a function of n. caches:
    those of the machine that the times are from, of this one where none are given; used where the bytes are known.
    """
    if not 0 < confidence < 1:
        raise SampleError(f"confidence must lie between 0 and 1, got {confidence}")
    n, times_table = inputs.read(sizes, times)
    given = sizes if isinstance(sizes, (list, tuple, np.ndarray)) else n
    medians = np.nanmedian(times_table, axis=0)
    noise = inputs.noise_of(times_table)
    unit = float(medians.min())
    data = Data(n, medians / unit, noise**2)
    inputs.check_shape(data)
    rounds = int((~np.isnan(times_table)).sum(axis=0).min())
    growth = None if work is None else _declared(work, given, n)
    fit = _take_apart(data, unit, rounds, growth, confidence)
    if bytes is not None:
        caches = tuple(machine().data_caches() if caches is None else caches)
        fit = replace(fit, bytes=_working_sets(bytes, given, n), caches=caches)
    return explain(fit)


def _take_apart(data: Data, unit: float, rounds: int, declared: Work | None, confidence: float) -> ScalingFit:
    n, rivals = data.sizes, _rivals(data)
    best = min(rivals, key=lambda name: rivals[name].cost)
    free = free_exponent(data, confidence, PILOTS[[np.argmin(abs(PILOTS - rivals[best].model_error))]])
    growth, fit = CLASSES[best], rivals[best]
    if declared:
        growth, fit = declared, fit_of(data, declared, rivals)
    elif free.best.cost + FREE < fit.cost - BETTER:
        growth, fit = power(free.interval.value), free.best
    return ScalingFit(
        sizes=tuple(int(v) if v == int(v) else float(v) for v in n.tolist()),
        times_ns=tuple((unit * data.times).tolist()),
        noise=tuple(np.sqrt(data.variance).tolist()),
        rounds=rounds,
        exponent=free.interval,
        fixed_cost=_fixed_cost(data, growth, fit, unit, confidence),
        model_error=fit.model_error,
        regimes=_regimes(data, fit, unit, confidence),
        odd_sizes=_odd_sizes(data, fit),
        bytes=None,
        confidence=confidence,
        declared=declared is not None,
        growth=growth,
        arrangement=fit,
        rivals=rivals,
        free=free,
        data=data,
        unit_ns=unit,
    )


def _within(filled: Sequence[float] | None, caches: Sequence[Cache]) -> Iterator[tuple[bool, np.ndarray]]:
    """Sizes whose data lie in one level, three of them in it; of these those that fill half of a cache, the largest first;
    then all that fit into a cache, with its edges.
    """
    if filled is None or not caches:
        return
    times_filled = np.array(filled) / np.array([[cache.size_bytes] for cache in caches])
    leaving = ((times_filled > 1) & (times_filled < EDGE)).any(axis=0)
    level = (times_filled >= EDGE).sum(axis=0)
    counts = np.bincount(level[~leaving], minlength=len(caches) + 1)
    apart = ~leaving & (counts[level] >= LEAST_SIZES)
    fitting = sorted((row for row in times_filled if (row > 1).any()), key=lambda row: np.sum(row <= 1), reverse=True)
    yield False, apart
    yield from ((False, apart & (row <= HALF)) for row in fitting)
    yield from ((True, row <= 1) for row in fitting)


def _rivals(data: Data) -> dict[str, Arrangement]:
    """The fit of every class, those first that grow about as the times do: what is far from the best is not searched on."""
    logs = {name: growth.log(data.sizes) for name, growth in CLASSES.items()}
    growth = float(np.log(data.times[-1] / data.times[0]))
    fits: dict[str, Arrangement] = {}
    for name in sorted(filter(lambda name: usable(logs[name]), logs), key=lambda name: abs(np.ptp(logs[name]) - growth)):
        limit = min((fit.cost for fit in fits.values()), default=math.inf) + HOPELESS
        fits[name] = fit_work(data, logs[name], limit=limit)
    return {name: fits[name] for name in logs if name in fits}


def _declared(work: Any, sizes: Any, n: np.ndarray) -> Work:
    if isinstance(work, (list, tuple, np.ndarray)):
        return counted(np.asarray(sizes, dtype=float), np.asarray(work, dtype=float))
    return work_of(work)


def _working_sets(bytes: Any, sizes: Any, n: np.ndarray) -> tuple[float, ...] | None:
    if bytes is None:
        return None
    work = work_of(bytes) if callable(bytes) else counted(np.asarray(sizes, dtype=float), np.asarray(bytes, dtype=float))
    return tuple(np.exp(work.log(n)).tolist())


def _fixed_cost(data: Data, growth: Work, fit: Arrangement, unit: float, confidence: float) -> Interval:
    """The fixed cost with the interval of a linearised fit, prices and drift beside it; 0 where the model has none."""
    if not fit.fixed:
        return Interval(0.0, 0.0, 0.0, confidence)
    curve = fit.fitted(data.sizes)
    used = (fit.levels >= 0) & ~fit.odd
    share, x = (curve - fit.fixed) / curve, np.log(data.sizes)
    columns = [share * (fit.levels == k) for k in range(len(fit.prices))] + [share * x, 1 / curve]
    weight = 1 / np.sqrt(data.variance + fit.model_error**2)
    design = (np.array(columns) * weight).T[used]
    information = design.T @ design
    information[-2, -2] += (np.ptp(x) / DRIFT) ** 2
    error = math.sqrt(max(np.linalg.pinv(information)[-1, -1], 0.0))
    reach = float(scipy.stats.t.ppf((1 + confidence) / 2, fit.freedom)) * error
    return Interval(fit.fixed * unit, (fit.fixed - reach) * unit, (fit.fixed + reach) * unit, confidence)


def _regimes(data: Data, fit: Arrangement, unit: float, confidence: float) -> tuple[Regime, ...]:
    regimes = []
    curve = fit.fitted(data.sizes)
    share = np.maximum((curve - fit.fixed) / curve, SMALLEST_SHARE)
    variance = data.variance + fit.model_error**2
    t = float(scipy.stats.t.ppf((1 + confidence) / 2, fit.freedom))
    for k, price in enumerate(fit.prices):
        inside = fit.levels == k
        used = inside & ~fit.odd
        first, last = data.sizes[inside][[0, -1]].tolist()
        error = t / math.sqrt(float((share**2 / variance)[used].sum()))
        tilt = float(np.log(fit.shape(data.sizes[used], data.sizes)).mean())  # what lower-order work and drift make of it
        value = math.exp(price + tilt - fit.offset) * unit
        interval = Interval(value, value * math.exp(-error), value * math.exp(error), confidence)
        regimes.append(Regime(first, last, interval, _inside(data, fit, used, share, variance, t, confidence)))
    return tuple(regimes)


def _inside(
    data: Data, fit: Arrangement, used: np.ndarray, share: np.ndarray, variance: np.ndarray, t: float, confidence: float
) -> Interval | None:
    """Exponent of the work inside a regime: what is left over, tilted, beside the growth that was fitted."""
    if used.sum() < 3:
        return None
    x = np.log(data.sizes[used])
    y = (fit.log_work + np.log(fit.shape(data.sizes, data.sizes)))[used] + (fit.residuals / share)[used]
    weight = (share**2 / variance)[used]
    centred = x - np.average(x, weights=weight)
    power_of_x = float(weight @ centred**2)
    slope, reach = float(weight @ (centred * y)) / power_of_x, t / math.sqrt(power_of_x)
    return Interval(slope, slope - reach, slope + reach, confidence)


def _odd_sizes(data: Data, fit: Arrangement) -> tuple[OddSize, ...]:
    return tuple(
        OddSize(size, float(np.exp(residual)))
        for size, residual in zip(data.sizes[fit.odd].tolist(), fit.residuals[fit.odd], strict=True)
    )
