"""Two ways to measure one thing, in turn in one process, until the interval of their ratio decides.

Other work on the machine makes the interval wider and not the verdict wrong: both ways share each stretch of time, and only
an interval that lies wholly outside the bound is a difference.
"""

from perflib.stats import MIN_SAMPLES, Interval, ratio_interval

MOST = 20


def ratio_in_turn(one, other, bound, most=MOST) -> Interval:
    """Median of one() / other() with its interval, after 6 to `most` pairs.

    It ends where the interval lies within 1 - bound ... 1 + bound, or wholly outside twice: one of thirty comparisons on a
    machine whose clock frequency moves is outside once. one, other: nanoseconds of a run.
    """
    ratio = _ratio(one, other, bound, most)
    return _ratio(one, other, bound, most) if is_outside(ratio, bound) else ratio


def _ratio(one, other, bound, most) -> Interval:
    pairs = []
    while True:
        pairs.append((one(), other()) if len(pairs) % 2 else (other(), one())[::-1])
        if len(pairs) >= MIN_SAMPLES:
            ratio = ratio_interval(*zip(*pairs, strict=True))
            is_inside = ratio.low >= 1 - bound and ratio.high <= 1 + bound
            if is_inside or is_outside(ratio, bound) or len(pairs) == most:
                return ratio


def is_outside(ratio: Interval, bound: float) -> bool:
    """Whether the whole interval lies further from 1 than `bound`."""
    return ratio.high < 1 - bound or ratio.low > 1 + bound
