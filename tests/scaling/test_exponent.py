"""The free exponent has the profile of a likelihood, and an interval from it."""

import numpy as np
import pytest

from perflib.scaling.cost_model import PILOTS, Data
from perflib.scaling.exponent import free_exponent

SIZES = np.geomspace(10, 10_000, 14).round()


def exponent(times, noise, seed=0, confidence=0.95):
    times = times * np.exp(noise * np.random.default_rng(seed).standard_normal(len(SIZES)))
    return free_exponent(Data(SIZES, times / times.min(), np.full(len(SIZES), noise**2)), confidence, PILOTS[:1])


@pytest.mark.parametrize("p", [0.1, 1, 2.37, 4.5])
def test_any_power_is_found(p):
    found = exponent(SIZES**p, 0.01)

    assert found.interval.value == pytest.approx(p, abs=0.02)
    assert found.interval.low <= p <= found.interval.high


def test_the_interval_widens_with_noise_and_confidence():
    quiet, loud, sure = exponent(SIZES, 0.01), exponent(SIZES, 0.05), exponent(SIZES, 0.01, confidence=0.999)
    quiet, loud, sure = (found.interval.high - found.interval.low for found in (quiet, loud, sure))

    assert loud > 1.5 * quiet
    assert sure > 1.3 * quiet


def test_noise_alone_gives_the_width_of_least_squares():
    """Of a straight line with known variance: 2 t sqrt(v / sum (x - mean x)^2), here times what a chosen structure adds."""
    x = np.log(SIZES)
    width = 2 * 2.18 * np.sqrt((0.03**2 + 0.01**2) / ((x - x.mean()) ** 2).sum())

    widths = [exponent(SIZES**2.0, 0.03, seed).interval for seed in range(10)]

    assert np.median([w.high - w.low for w in widths]) == pytest.approx(width, rel=0.35)


def test_the_profile_is_least_at_the_estimate_and_rises_outside_the_interval():
    found = exponent(SIZES**2.0, 0.02)

    costs = dict(found.points)
    assert min(costs, key=costs.get) == found.interval.value
    assert found.cost_outside(found.interval.low - 0.01, found.interval.high + 0.01) > found.best.cost + 3
    assert found.cost_outside(3, 4) == found.best.cost
    assert found.ends[0].cost > found.best.cost < found.ends[1].cost
