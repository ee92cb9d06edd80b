"""Say in one sentence how a time grows: what a reader can check on the figure, in the order in which it is seen there."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ..display.text import quantity
from .classes import CLASSES

MOST_ODD = 4  # more of them are counted, not listed


def grows_as(fit: Any) -> str:
    """Growth that is accepted: `grows as n³: exponent 3.00 [2.99, 3.02] over 64 to 512`, and the parts of the curve."""
    growth = "stays the same" if fit.growth.name == "1" else f"grows as {fit.growth.name}"
    if not fit.declared and fit.growth.name not in CLASSES:
        growth = f"fits no class, the nearest power is {fit.growth.name}"
    return f"{growth}: {_exponent(fit)}{_parts(fit)}"


def grows_unlike(fit: Any, better: str, is_steeper: bool) -> str:
    """Growth that is rejected."""
    word = "steeper" if is_steeper else "slower"
    return f"grows {word} than {fit.growth.name}: {_exponent(fit)}, {better} fits better"


def rises_all_the_way(fit: Any, sizes: Sequence[float], prices: Sequence[float]) -> str:
    """Growth that is rejected because no level shows: prices at the sizes that are not odd, in any unit."""
    growth, ends = fit.growth.name, f"{size_text(sizes[0])} to {size_text(sizes[-1])}"
    rise = f"a unit of work takes {prices[-1] / prices[0]:.2g} times as long at the end, without a level where it stays"
    return f"grows steeper than {growth} over {ends}: {rise}, exponent {fit.exponent:.2f}"


def may_reach(fit: Any) -> str:
    """Growth that work of lower order may hide at these sizes."""
    exponent = f"exponent {fit.exponent:.2f} over {range_text(fit)}"
    return f"grows slower than {fit.growth.name} so far: {exponent}, and it still rises"


def hidden(fit: Any) -> str:
    """Growth that a fixed cost hides."""
    rise = fit.times_ns[-1] / fit.times_ns[0]
    hides = f"a fixed cost hides whether the rest grows as {fit.growth.name}"
    return f"takes {rise:.3g} times as long over {range_text(fit)}: {hides}"


def may_grow_as(fit: Any, other: str) -> str:
    """Growth that these times cannot tell."""
    return f"may grow as {fit.growth.name} or {other}: {_exponent(fit)}{_parts(fit)}"


def left_out(whole: Any, judged: Any) -> str:
    """`; judged without n = 3072 to 8192, whose data leave a cache`"""
    sizes = [n for n in whole.sizes if n not in judged.sizes]
    names = f"n = {size_text(sizes[0])}" + (f" to {size_text(sizes[-1])}" if len(sizes) > 1 else "")
    is_one_run = whole.sizes.index(sizes[-1]) - whole.sizes.index(sizes[0]) == len(sizes) - 1
    return f"; judged without {names if is_one_run else f'{len(sizes)} sizes'}, whose data leave a cache"


def price_text(ns: float) -> str:
    """A price with three digits; picoseconds below a tenth of a nanosecond."""
    return f"{1000 * ns:.3g} ps" if abs(ns) < 0.1 else quantity(float(f"{ns:.3g}"))


def range_text(fit: Any) -> str:
    """`64 to 512`"""
    return f"{size_text(fit.sizes[0])} to {size_text(fit.sizes[-1])}"


def size_text(n: float) -> str:
    """`1048576` and not `1.04858e+06`."""
    return f"{n:.0f}" if n == round(n) else f"{n:g}"


def _exponent(fit: Any) -> str:
    """The free exponent, as one that describes the curve worse where the growth has another."""
    p = fit.growth.exponent
    if p is None or fit.exponent.low - 0.005 <= p <= fit.exponent.high + 0.005:
        return f"exponent {fit.exponent:.2f} over {range_text(fit)}"
    return f"over {range_text(fit)} (a power alone: {fit.exponent:.2f})"


def _parts(fit: Any) -> str:
    fixed = f"; {price_text(fit.fixed_cost.value)} fixed" if fit.fixed_cost.value else ""
    return _levels(fit) + _odd(fit.odd_sizes) + fixed


def _levels(fit: Any) -> str:
    """`; 70 ps per n up to 2048, 145 ps from 6144 (L2)`; empty for one level."""
    first, *others = fit.regimes
    if not others:
        return ""
    words = [f"{price_text(first.price.value)} per {fit.growth.name} up to {size_text(first.last)}"]
    for level in others:
        reason = f" ({level.reason})" if level.reason else ""
        words.append(f"{price_text(level.price.value)} from {size_text(level.first)}{reason}")
    return f"; {', '.join(words)}"


def _odd(sizes: Sequence[Any]) -> str:
    """`; n = 256 and 512 take 1.6 and 2.8 times as long (rows share sets of L1)`, a clause for each reason."""
    if len(sizes) > MOST_ODD:
        low, high = (f(one.factor for one in sizes) for f in (min, max))
        return f"; {len(sizes)} sizes take {low:.2g} to {high:.2g} times as long"
    clauses = []
    by_reason = sorted(sizes, key=lambda one: one.reason)
    for reason, group in groupby(by_reason, key=lambda one: one.reason):
        members = list(group)
        names, factors = (
            _listed([size_text(one.size) for one in members]),
            _listed([f"{one.factor:.2g}" for one in members]),
        )
        verb = "takes" if len(members) == 1 else "take"
        clauses.append(f"; n = {names} {verb} {factors} times as long" + (f" ({reason})" if reason else ""))
    return "".join(clauses)


def _listed(words: Sequence[str]) -> str:
    """`1, 2 and 3`"""
    *rest, last = words
    return f"{', '.join(rest)} and {last}" if rest else last
