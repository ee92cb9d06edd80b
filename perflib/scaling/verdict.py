"""The verdict: a growth against its rivals, each with its best arrangement of levels, odd sizes, fixed cost and drift.

`consistent`     it fits, and no rival that differs from it over the largest level fits as well
`inconsistent`   a rival is better by ten units of twice the log-likelihood
`undecided`      both fit, or nothing does; the sentence names the rival, the advice what would decide
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import SampleError
from .advice import ROUNDS, advise
from .classes import CLASSES, Work, power
from .cost_model import Arrangement, Data, fit_work, usable
from .exponent import Exponent
from .levels import LEAST_SIZES
from .records import Growth, Verdict
from .sentence import grows_as, grows_unlike, hidden, may_grow_as, may_reach, range_text, rises_all_the_way

BETTER = 10.0
"""Units of twice the log-likelihood by which a rival must be better for `inconsistent`."""
CLEAR = 5.0
"""Units by which a growth must be better than every rival for `consistent`."""
CLOSER = 10.0
"""The same for a rival with the smaller model error: the data prefer it, the cost of its structure speaks against it."""
FITS = 4.0
"""Units above the best up to which a growth fits as well."""
FREE = 4.0
"""What the free exponent costs: a parameter that no class has."""
RARE = {"n^1.5": 3.0, "n² log n": 6.0, "n^2.81": 1.5, "2ⁿ": 4.0}
"""What a class costs that few programs grow as: fixed costs, lower-order work and caches look like it."""
STRANGE = 35.0
"""Units by which a power between the classes must be better for `inconsistent`: a curve that bends looks like one."""
BETWEEN = 20.0
"""Units by which such a power must be better to stand beside a class."""
APART = 1.3
"""Factor over the largest level by which a rival must differ from a growth that is no class."""
ROUGH = 0.05
"""Model error above which fewer than eight sizes decide nothing."""
POOR = 0.12
"""Model error above which no work describes the curve."""
MANY = 8
"""Sizes below which a rough curve decides nothing, and no trend in its prices is believed."""
AMPLE, DECADE = 10, 10.0
"""Sizes, and the factor that they span, below which a rival must be better by twice as much."""
LAST = 3
"""Sizes at the end on which alone no rejection may rest: as many as a level has at least."""
FEWEST, LEAST_SPAN, LARGE_SPAN = 5, 3.0, 100.0
"""Sizes, and the factor that they span, below which a growth is never called consistent, unless its work spans the last."""
COUNTED = 10.0
"""What a steeper rival of counted work costs: the work is certain, and its price rises where its bytes leave a cache."""
STAYS = 0.25
"""Share of the usual rise below which a price stays."""
GROWN = 1.5
"""Factor by which times must grow to say how counted work does, beside a fixed cost."""
SURE = 3.0
"""Standard errors by which a bend in the times must differ from none."""


@dataclass(frozen=True)
class Evidence:
    """What a verdict is reached from; `shown` is the `ScalingFit` that a sentence describes."""

    data: Data
    rounds: int
    rivals: Mapping[str, Arrangement]
    free: Exponent
    level: tuple[float, float]
    """Ends of the level that spans the largest factor."""
    shown: Any
    counted: float = 0.0
    """What a steeper rival of known work costs more."""

    @property
    def power(self) -> str:
        """The free exponent as a name."""
        return power(round(self.free.interval.value, 2)).name


def fit_of(data: Data, growth: Work, rivals: Mapping[str, Arrangement]) -> Arrangement:
    """The fit of a growth: of a class as it is, of any other work now."""
    if growth.name in rivals:
        return rivals[growth.name]
    log_work = growth.log(data.sizes)
    if not usable(log_work):
        raise SampleError(f"{growth.name} spans too many powers of ten over {data.sizes[0]:g} to {data.sizes[-1]:g}")
    return fit_work(data, log_work)


def cost_of(evidence: Evidence, growth: Work) -> float:
    """Of a growth; infinite where it spans more than floating-point numbers, which no times do."""
    if not usable(growth.log(evidence.data.sizes)):
        return math.inf
    return fit_of(evidence.data, growth, evidence.rivals).cost


def rival_costs(evidence: Evidence, growth: Work, is_known: bool = False) -> dict[str, float]:
    """Of every class that rivals a growth."""
    counted, sizes = evidence.counted if is_known else 0.0, evidence.data.sizes
    return {
        name: fit.cost + RARE.get(name, 0.0) + (counted if CLASSES[name].span(sizes) > growth.span(sizes) else 0.0)
        for name, fit in evidence.rivals.items()
        if _is_rival(evidence, growth, CLASSES[name], is_known)
    }


def expected_growth(evidence: Evidence, growth: Work, is_known: bool = False) -> Verdict:
    """Whether the time grows as expected; is_known: as the work that is known to be done."""
    sizes, own = evidence.data.sizes, cost_of(evidence, growth)
    shown = evidence.shown.seen_as(growth, fit_of(evidence.data, growth, evidence.rivals) if own < math.inf else None)
    costs = rival_costs(evidence, growth, is_known)
    rival = min(costs, key=lambda name: costs[name])
    free = evidence.free.cost_outside(*_told_apart(evidence, growth)) + FREE
    if error := _nothing_fits(evidence):
        return Verdict(
            "undecided", f"follows no growth: neighbouring sizes differ by {100 * error:.0f} %", partial(_more, evidence)
        )
    if is_known and shown.bytes and _is_hidden(evidence.data, growth):
        return Verdict("undecided", hidden(shown), partial(_further, sizes))
    if is_known and is_flat(evidence.data, growth):
        return Verdict("consistent", grows_as(shown))
    margin = BETTER if len(sizes) >= AMPLE and sizes[-1] >= DECADE * sizes[0] else 2 * BETTER
    within = growth.exponent is not None and evidence.free.interval.inside(growth.exponent, growth.exponent) is None
    if not within and (costs[rival] < own - margin or free < own - STRANGE):
        better = CLASSES[rival] if costs[rival] <= free else power(evidence.free.interval.value)
        name = rival if costs[rival] <= free else evidence.power
        is_steeper = better.span(sizes) > growth.span(sizes)
        if not _stands_without_last(evidence, growth, better, is_steeper):
            return Verdict(
                "undecided", f"{may_grow_as(shown, name)}; the last {LAST} sizes alone decide", partial(_beyond, sizes)
            )
        if not is_steeper and (free < costs[rival] or rival in RARE) and _still_rises(evidence):
            return Verdict("undecided", may_reach(shown), partial(_further, sizes))
        return Verdict("inconsistent", grows_unlike(shown, name, is_steeper))
    if free < own - BETTER and own < math.inf and _rises_all_the_way(evidence, growth):
        return Verdict("inconsistent", rises_all_the_way(shown, *_prices(evidence, growth)))
    if len(sizes) < MANY and shown.model_error > ROUGH:
        rough = f"{len(sizes)} sizes that differ by {100 * shown.model_error:.0f} % are too few to say"
        return Verdict("undecided", f"may grow as {growth.name}: {rough}", _telling(evidence, growth, rival))
    if not is_enough(sizes, growth):
        few = f"may grow as {growth.name}: {len(sizes)} sizes from {range_text(shown)} are too few to tell it from {rival}"
        return Verdict("undecided", few, _telling(evidence, growth, rival))
    is_closer = {name: evidence.rivals[name].model_error < shown.model_error for name in costs}
    ahead = {name: costs[name] - own - RARE.get(growth.name, 0.0) for name in sorted(costs, key=lambda name: costs[name])}
    if same := [name for name, units in ahead.items() if units < (CLOSER if is_closer[name] else CLEAR)]:
        return Verdict("undecided", may_grow_as(shown, " or ".join(same)), _telling(evidence, growth, same[0]))
    rises = power(evidence.free.interval.value).span(sizes) > growth.span(sizes)
    if free < own - BETWEEN - (evidence.counted if is_known and rises else 0.0):
        return Verdict("undecided", may_grow_as(shown, evidence.power), _telling(evidence, growth))
    return Verdict("consistent", grows_as(shown))


def _prices(evidence: Evidence, growth: Work) -> tuple[np.ndarray, np.ndarray]:
    """Sizes that are not odd beside a free exponent, and what a unit of work costs there in units of the shortest time."""
    data, regular = evidence.data, ~evidence.free.best.odd
    return data.sizes[regular], (data.times / np.exp(growth.log(data.sizes)))[regular]


def is_flat(data: Data, growth: Work) -> bool:
    """Whether the price per unit of work stays within a factor of 1.3 over all sizes, and the sizes are enough.

    Or over the last ones, from a decade on, where a unit costs more at all the sizes before: a fixed cost is part of it.
    """
    if not is_enough(data.sizes, growth):
        return False
    prices = data.times / np.exp(growth.log(data.sizes))
    first = next(k for k in range(len(prices)) if prices[k:].max() < APART * prices[k:].min())
    sizes, rest = data.sizes[first:], prices[first:]
    is_wide = len(sizes) >= MANY and sizes[-1] >= DECADE * sizes[0]
    return first == 0 or bool(is_wide and prices[:first].min() > np.median(rest))


def is_enough(sizes: np.ndarray, growth: Work) -> bool:
    """Whether so many sizes over such a range, of themselves or of their work, may be called consistent with a growth."""
    if len(sizes) < FEWEST:
        return False
    return bool(sizes[-1] >= LEAST_SPAN * sizes[0] or growth.span(sizes) > math.log(LARGE_SPAN))


def _is_hidden(data: Data, growth: Work) -> bool:
    """Whether the work grows and the times hardly do: a fixed cost leaves too little of them to say how."""
    hardly = math.log(GROWN)
    return abs(math.log(data.times[-1] / data.times[0])) < hardly <= growth.span(data.sizes)


def _rises_all_the_way(evidence: Evidence, growth: Work) -> bool:
    """Whether a unit costs more at the end of any three neighbours, and much more at the last size: no level is seen."""
    sizes, prices = _prices(evidence, growth)
    if len(sizes) < MANY or prices[-1] < APART * prices[0]:
        return False
    x, y = np.log(sizes), np.log(prices)
    step = LEAST_SIZES - 1
    slopes = (y[step:] - y[:-step]) / (x[step:] - x[:-step])
    return bool(slopes.min() > STAYS * (y[-1] - y[0]) / (x[-1] - x[0]))


def _still_rises(evidence: Evidence) -> bool:
    """Whether the exponent rises with the sizes by clearly more than chance: a parabola through the log times tells."""
    used = ~evidence.free.best.odd
    x, y = np.log(evidence.data.sizes[used]), np.log(evidence.data.times[used])
    if len(x) < MANY:
        return False
    (bend, *_), covariance = np.polyfit(x - x.mean(), y, 2, cov=True)
    return bool(bend > SURE * math.sqrt(covariance[0, 0]))


def _stands_without_last(evidence: Evidence, growth: Work, rival: Work, is_steeper: bool) -> bool:
    """Whether the rival is better without the last sizes too, where they may lie in a level that ends beyond them."""
    data = evidence.data
    if len(data.sizes) < MANY:
        return True
    levels = evidence.rivals.get(rival.name, evidence.free.best).levels
    is_one_level = levels[-LAST - 1] == levels[-1]
    if (is_one_level and not is_steeper) or not usable(growth.log(data.sizes)):
        return True
    shorter = Data(data.sizes[:-LAST], data.times[:-LAST], data.variance[:-LAST])
    costs = [fit_work(shorter, work.log(shorter.sizes)).cost for work in (growth, rival)]
    return costs[1] < costs[0] - (0.0 if is_one_level else BETTER)


def _beyond(sizes: np.ndarray) -> str:
    last = sizes[-1]
    return f"add three sizes or more between {last:g} and {4 * last:g}: a level of price may begin below {last:g}"


def bounded(evidence: Evidence, growth: Work) -> Verdict:
    """An upper bound holds where nothing faster fits as well, and fails where only faster growth fits."""
    sizes = evidence.data.sizes
    limit = growth.span(sizes) + 1e-9
    faster = {
        name: fit.cost + RARE.get(name, 0.0) for name, fit in evidence.rivals.items() if CLASSES[name].span(sizes) > limit
    }
    slower = [fit.cost for name, fit in evidence.rivals.items() if name not in faster]
    within = min([*slower, cost_of(evidence, growth)])
    beyond = min(faster.values(), default=math.inf)
    if error := _nothing_fits(evidence):
        return Verdict(
            "undecided", f"follows no growth: neighbouring sizes differ by {100 * error:.0f} %", partial(_more, evidence)
        )
    if beyond < within - BETTER:
        return Verdict("inconsistent", f"{evidence.shown!r}; that is more than {growth.name}")
    if beyond < within + CLEAR:
        rival = min(faster, key=lambda name: faster[name])
        return Verdict(
            "undecided", f"{evidence.shown!r}; {growth.name} and {rival} fit as well", _telling(evidence, growth, rival)
        )
    return Verdict("consistent", f"{evidence.shown!r}; that is at most {growth.name}")


def ranked(evidence: Evidence) -> tuple[Growth, ...]:
    """Classes by how well they fit."""
    costs = {name: fit.cost + RARE.get(name, 0.0) for name, fit in evidence.rivals.items()}
    order = sorted(costs, key=lambda name: costs[name])
    least = min(costs[order[0]], evidence.free.best.cost + FREE)
    distance = {name: costs[name] - least for name in order}
    same = [name for name in order if distance[name] <= CLEAR]
    return tuple(
        Growth(
            name,
            distance[name] <= BETTER,
            distance[name],
            tuple(other for other in same if other != name) if name in same else (),
        )
        for name in order
    )


def _nothing_fits(evidence: Evidence) -> float:
    """The model error of the best fit where it is poor, else 0."""
    best = min(evidence.rivals.values(), key=lambda fit: fit.cost)
    error = min(best.model_error, evidence.free.best.model_error)
    return error if error > POOR else 0.0


def _is_rival(evidence: Evidence, growth: Work, rival: Work, is_known: bool) -> bool:
    """A class rivals every other class; known work, or any that is no class, only if it differs over the largest level."""
    if growth.name in CLASSES and not is_known:
        return rival.name != growth.name
    ends = _largest_level(evidence, evidence.rivals[rival.name])
    return abs(rival.span(ends) - growth.span(ends)) > math.log(APART)


def _largest_level(evidence: Evidence, rival: Arrangement) -> np.ndarray:
    """Ends of the largest level, seen with the growth or with its rival: with the wrong one, levels come in pieces."""
    sizes = evidence.data.sizes
    levels = [sizes[rival.levels == k][[0, -1]] for k in range(len(rival.prices))]
    return max([np.array(evidence.level), *levels], key=lambda ends: ends[1] / ends[0])


def _told_apart(evidence: Evidence, growth: Work) -> tuple[float, float]:
    """Exponents that do not differ from the declared growth over the largest level: from, to."""
    ends = _largest_level(evidence, evidence.free.best)
    reach = float(np.ptp(np.log(ends)))
    slope = growth.span(ends) / reach
    return slope - math.log(APART) / reach, slope + math.log(APART) / reach


def _further(sizes: np.ndarray) -> str:
    return f"add sizes between {sizes[-1]:g} and {10 * sizes[-1]:g}"


def _telling(evidence: Evidence, growth: Work, rival: str | None = None) -> Callable[[], str]:
    """Finds sizes that tell a growth from a class, or from the free exponent."""
    power_of_n = power(evidence.free.interval.value)
    other = (CLASSES[rival], evidence.rivals[rival]) if rival else (power_of_n, evidence.free.best)
    own = growth, fit_of(evidence.data, growth, evidence.rivals)
    pair = [(work, fit, partial(evidence.shown.curve_of, work, fit)) for work, fit in (own, other)]
    return partial(advise, evidence.data, evidence.rounds, (pair[0], pair[1]))


def _more(evidence: Evidence) -> str:
    """What may quiet a curve that no growth describes."""
    sizes, advice = evidence.data.sizes, []
    first, last = sizes[0], sizes[-1]
    if len(sizes) < 12:
        advice.append(f"measure 12 sizes or more between {first:g} and {max(last, 10 * first):g} instead of {len(sizes)}")
    elif last < 10 * first:
        advice.append(f"spread the sizes up to {10 * first:g}")
    if evidence.rounds < ROUNDS:
        advice.append(f"take {ROUNDS} rounds or more instead of {evidence.rounds}")
    return ", and ".join(advice) or f"add sizes above {last:g}, or twice as many between {first:g} and {last:g}"
