"""The verdict: the declared growth against its rivals, each with its best arrangement, in a sentence to be checked by eye."""

import math

import numpy as np

from ..errors import SampleError
from .classes import CLASSES, Expected, Work, power, work_of
from .fit import APART, BETTER, CLEAR, FEWEST, FITS, FREE, LEAST_SPAN, POOR, Growth, ScalingFit, Verdict, _fit_of, seen_as
from .sentence import grows_as, grows_unlike, may_grow_as, range_text


def judge(fit: ScalingFit, expected: Expected | None, at_most: Expected | None) -> Verdict:
    """Against one growth, or against an upper bound."""
    if at_most is not None:
        if expected is not None:
            raise SampleError("verdict takes an expected growth or at_most, not both")
        return _bounded(fit, work_of(at_most))
    if expected is None and not fit.declared:
        raise SampleError("the expected growth is missing: verdict(3), verdict('n log n') or fit_scaling(..., work=...)")
    return _expected(fit, fit.growth if expected is None else work_of(expected))


def _expected(fit: ScalingFit, growth: Work) -> Verdict:
    own = _fit_of(fit.data, growth, fit.rivals)
    costs = {name: rival.cost for name, rival in fit.rivals.items() if _differs(fit, growth, CLASSES[name])}
    free = fit.free.cost_outside(*_exempt(fit, growth)) + FREE
    rival = min(costs, key=lambda name: costs[name]) if costs else ""
    best = costs[rival] if rival else math.inf
    if min(fit.rivals.values(), key=lambda rival: rival.cost).model_error > POOR < fit.free.best.model_error:
        return Verdict("undecided", f"follows no growth: neighbouring sizes differ by {own.model_error:.0%}", _more(fit))
    margin = BETTER * (1 if len(fit.sizes) >= FEWEST else 2)
    if best < own.cost - margin or free < own.cost - 3 * margin:
        name = rival if best <= free else power(round(fit.exponent.value, 2)).name
        steeper = _ratio(fit, CLASSES[rival] if best <= free else power(fit.exponent.value), growth) > 0
        return Verdict("inconsistent", grows_unlike(fit, growth.name, name, steeper))
    if len(fit.sizes) < FEWEST or fit.sizes[-1] < LEAST_SPAN * fit.sizes[0]:
        few = f"may grow as {growth.name}: {len(fit.sizes)} sizes from {range_text(fit)} are too few to tell"
        return Verdict("undecided", few, _more(fit))
    if best < own.cost + CLEAR:
        return Verdict("undecided", may_grow_as(fit, (growth.name, rival)), _more(fit))
    if free < own.cost - FITS:
        name = power(round(fit.exponent.value, 2)).name
        return Verdict("undecided", may_grow_as(fit, (growth.name, name)), _more(fit))
    return Verdict("consistent", grows_as(seen_as(fit, growth, own)))


def _bounded(fit: ScalingFit, growth: Work) -> Verdict:
    """An upper bound holds where every growth that fits is no faster, and fails where only faster ones fit."""
    slower, faster = math.inf, math.inf
    for name, rival in fit.rivals.items():
        if _ratio(fit, CLASSES[name], growth) <= 1e-9:
            slower = min(slower, rival.cost)
        else:
            faster = min(faster, rival.cost)
    slower = min(slower, _fit_of(fit.data, growth, fit.rivals).cost)
    if faster < slower - BETTER:
        return Verdict("inconsistent", f"{describe(fit)}; that is more than {growth.name}")
    if faster < slower + CLEAR:
        return Verdict("undecided", f"{describe(fit)}; at most {growth.name} and more than that fit as well", _more(fit))
    return Verdict("consistent", f"{describe(fit)}; that is at most {growth.name}")


def _largest_level(fit: ScalingFit) -> np.ndarray:
    """Ends of the level that spans the largest factor."""
    spans = [(regime.last / regime.first, regime.first, regime.last) for regime in fit.regimes]
    return np.array(max(spans)[1:])


def _ratio(fit: ScalingFit, one: Work, other: Work) -> float:
    """Logarithm of how much more one work grows than the other over all sizes."""
    ends = np.array([fit.sizes[0], fit.sizes[-1]], dtype=float)
    return float(np.diff(one.log(ends))[0] - np.diff(other.log(ends))[0])


def _differs(fit: ScalingFit, growth: Work, rival: Work) -> bool:
    """Named classes always rival each other; another work is rivalled by those that differ over the largest level."""
    if growth.name in CLASSES:
        return rival.name != growth.name
    ends = _largest_level(fit)
    return abs(float(np.diff(rival.log(ends))[0] - np.diff(growth.log(ends))[0])) > math.log(APART)


def _exempt(fit: ScalingFit, growth: Work) -> tuple[float, float]:
    """Exponents that do not differ from the declared growth over the largest level."""
    ends = _largest_level(fit)
    reach = float(np.diff(np.log(ends))[0])
    slope = float(np.diff(growth.log(ends))[0]) / reach
    return slope - math.log(APART) / reach, slope + math.log(APART) / reach


def _more(fit: ScalingFit) -> str:
    """Which sizes or how many rounds would decide."""
    first, last = fit.sizes[0], fit.sizes[-1]
    advice = []
    if len(fit.sizes) < 8:
        advice.append(f"add sizes: {len(fit.sizes)} are few, 12 between {first:g} and {last:g} show levels")
    if last < 10 * first:
        advice.append(f"spread them: up to {10 * first:g}")
    if fit.rounds < 6:
        advice.append(f"take at least 6 rounds instead of {fit.rounds}")
    return "; ".join(advice) or f"add sizes above {last:g}, or twice as many between {first:g} and {last:g}"


def ranked(fit: ScalingFit) -> tuple[Growth, ...]:
    """Classes by how well they fit."""
    order = sorted(fit.rivals, key=lambda name: fit.rivals[name].cost)
    least = min(fit.rivals[order[0]].cost, fit.free.best.cost + FREE)
    costs = {name: fit.rivals[name].cost - least for name in order}
    return tuple(
        Growth(
            name,
            costs[name] <= BETTER,
            costs[name],
            tuple(other for other in order if other != name and max(costs[name], costs[other]) <= CLEAR),
        )
        for name in order
    )


def describe(fit: ScalingFit) -> str:
    """The curve in a sentence, held against its declared work, else against the growth that fits best."""
    return _expected(fit, fit.growth).sentence
