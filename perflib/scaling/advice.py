"""Which sizes would tell a growth from its rival: plans tried on curves as either of the two would give them.

A plan is so many sizes, spread evenly over the powers of ten up to a last one. Curves at its sizes are drawn from the
growth as it was fitted, and from the rival, with the noise and the model error of the times at hand. The plan decides where
nearly all of them are clearly better explained by the growth that they were drawn from.
"""

from collections.abc import Callable, Iterator

import numpy as np

from .classes import Work
from .cost_model import Arrangement, Data, fit_work, usable

CLEARLY = 10.0
"""Units of twice the log-likelihood by which the right growth must be better."""
DRAWS, RIGHT = 5, 4
"""Curves drawn from each growth, and of how many the right growth must be better."""
FEW, MOST = 12, 30
"""Sizes of a plan, at least and, where there are not more already, at most."""
ROUNDS = 6
"""Of a plan, at least."""
Candidate = tuple[Work, Arrangement, Callable[[float], float]]
"""A growth, its fit and its curve: the time at n."""


def advise(data: Data, rounds: int, pair: tuple[Candidate, Candidate]) -> str:
    """The smallest plan that tells the two growths apart, in words; where none does, what was tried."""
    first, last, count = data.sizes[0], data.sizes[-1], len(data.sizes)
    variance = float(np.median(data.variance)) * min(1.0, rounds / ROUNDS)
    more_rounds = f", and take {ROUNDS} rounds or more instead of {rounds}" if rounds < ROUNDS else ""
    for number, end in _plans(data.sizes):
        sizes = np.unique(np.geomspace(first, end, number).round(0 if first >= 1 else 9))
        if all(_is_told(sizes, variance, *order) for order in (pair, pair[::-1])):
            instead = f"instead of {count} up to {last:g}{more_rounds}"
            return f"measure {number} sizes or more between {first:g} and {end:g} {instead}"
    names = " and ".join(work.name for work, _, _ in pair)
    return f"{names} stay alike even over {number} sizes up to {end:g}: count operations instead of time"


def _plans(sizes: np.ndarray) -> Iterator[tuple[int, float]]:
    """Number of sizes and the last one; what costs less time comes first."""
    first, last, count = float(sizes[0]), float(sizes[-1]), len(sizes)
    fewest, most = max(FEW, count), max(count, min(MOST, 2 * max(FEW, count)))
    for end in dict.fromkeys((max(last, 10 * first), max(3 * last, 10 * first), max(10 * last, 10 * first))):
        for number in dict.fromkeys((fewest, most)):
            if (number, end) != (count, last):
                yield number, end


def _is_told(sizes: np.ndarray, variance: float, truth: Candidate, other: Candidate) -> bool:
    """Whether nearly all curves drawn from the first growth are better explained by it than by the other."""
    logs = [work.log(sizes) for work, _, _ in (truth, other)]
    if not all(map(usable, logs)):
        return True  # so far apart that one of them is more than any time
    _, fit, curve = truth
    rng, told = np.random.default_rng(0), 0
    exact = np.log([curve(n) for n in sizes.tolist()])
    for draw in range(DRAWS):
        times = np.exp(exact + np.sqrt(variance + fit.model_error**2) * rng.standard_normal(len(sizes)))
        drawn = Data(sizes, times / times.min(), np.full(len(sizes), variance))
        own, rival = (fit_work(drawn, log).cost for log in logs)
        told += bool(own + CLEARLY < rival)
        if told + DRAWS - draw - 1 < RIGHT:
            return False
    return True
