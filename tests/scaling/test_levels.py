"""The dynamic programme finds the arrangement that trying all of them finds, and no other than is allowed."""

from itertools import combinations

import numpy as np
import pytest

from perflib.scaling.cost_model import COSTS
from perflib.scaling.levels import LEAST_RISE, MOST_RISE, _levels, arrange

VARIANCE = 0.02**2


def arranged(z, most_odd=0, rises=3, step_cost=12.0, odd_cost=12.0, ramp_cost=9.0):
    """Level and odd of every size."""
    n = len(z)
    level, odd = np.empty(n, np.int64), np.empty(n, np.bool_)
    weight, share = np.full(n, 1 / VARIANCE), np.ones(n)
    _levels(z, weight, share, np.full(n, odd_cost), np.full(n, ramp_cost), step_cost, most_odd, rises, level, odd)
    return level, odd


def exhaustive(z, rises, step_cost=12.0):
    """The cheapest cuts into levels, every one tried: neither ramps nor odd sizes."""
    best, cuts = np.inf, ()
    for count in range(rises + 1):
        for places in combinations(range(1, len(z)), count):
            parts = np.split(z, places)
            steps = np.diff([part.mean() for part in parts])
            if min(map(len, parts)) < 3 or not all((steps > LEAST_RISE) & (steps <= MOST_RISE)):
                continue
            cost = sum(((part - part.mean()) ** 2).sum() for part in parts) / VARIANCE + count * step_cost
            if cost < best:
                best, cuts = cost, places
    return list(cuts)


@pytest.mark.parametrize("seed", range(20))
def test_levels_are_those_of_trying_every_cut(seed):
    rng = np.random.default_rng(seed)
    rises = int(rng.integers(0, 4))
    z = np.repeat(np.cumsum(rng.uniform(0.05, 0.6, rises + 1)), 4) + 0.03 * rng.standard_normal(4 * (rises + 1))

    level, _ = arranged(z, rises=min(3, len(z) // 3 - 1), ramp_cost=1e9, odd_cost=1e9)

    assert np.flatnonzero(np.diff(level)).tolist() == [place - 1 for place in exhaustive(z, min(3, len(z) // 3 - 1))]


def test_a_price_that_falls_is_no_step():
    z = np.array([0.5] * 5 + [0.0] * 5)

    assert arranged(z)[0].max() == 0


@pytest.mark.parametrize(("rise", "levels"), [(0.08, 1), (0.2, 2), (1.5, 2)])
def test_a_rise_is_at_least_a_tenth(rise, levels):
    z = np.array([0.0] * 6 + [rise] * 6)

    assert arranged(z, step_cost=0.5)[0].max() + 1 == levels


def test_a_ramp_is_of_sizes_between_two_prices():
    z = np.array([0.0] * 4 + [0.3, 0.6] + [0.9] * 4)

    level, odd = arranged(z, most_odd=2)

    assert level.tolist() == [0] * 4 + [-1, -1] + [1] * 4
    assert not odd.any()


def test_an_odd_size_is_slower_and_there_are_few():
    z = np.zeros(15)
    z[[2, 7, 11]] = 0.7, 1.0, 0.5

    assert np.flatnonzero(arranged(z, most_odd=3)[1]).tolist() == [2, 7, 11]
    assert arranged(z, most_odd=2)[1].sum() <= 2


def test_a_size_that_is_faster_is_not_odd():
    z = np.zeros(15)
    z[7] = -0.7

    assert not arranged(z, most_odd=3)[1][7]


def test_a_rise_is_at_most_five_times():
    z = np.array([0.0] * 6 + [1.8] * 6)

    level, _ = arranged(z, step_cost=0.5)

    means = [z[level == k].mean() for k in range(level.max() + 1)]
    assert np.diff(means).max() <= MOST_RISE


def test_two_sizes_are_no_level():
    z = np.array([0.0] * 8 + [0.7] * 2)

    assert np.bincount(arranged(z, odd_cost=1e9, ramp_cost=1e9)[0]).min() >= 3


def test_a_size_that_differs_by_little_is_not_odd():
    z = np.zeros(15)
    z[7] = 0.12

    assert not arranged(z, most_odd=3, odd_cost=1.0)[1].any()


def test_an_arrangement_recovers_prices_above_a_fixed_cost():
    w = np.geomspace(1, 300, 12)
    t = 0.8 + 0.2 * w * np.repeat([1.0, 2.0], 6)
    level, odd, price, residual = np.empty(12, np.int64), np.empty(12, np.bool_), np.empty(4), np.empty(12)

    cost, tau, levels = arrange(t, w, np.zeros(12), 0.02, 0.8, 3, 2, COSTS, level, odd, price, residual)

    assert levels == 2
    assert level.tolist() == [0] * 6 + [1] * 6
    np.testing.assert_allclose(np.exp(price[:2]), [0.2, 0.4], rtol=1e-4)
    np.testing.assert_allclose(residual, 0, atol=1e-4)
    assert tau == 0.01


def test_a_fixed_cost_that_leaves_no_growth_is_worth_nothing():
    w = np.geomspace(1, 3, 12)
    level, odd, price, residual = np.empty(12, np.int64), np.empty(12, np.bool_), np.empty(4), np.empty(12)

    cost, _, _ = arrange(0.97 + 0.03 * w, w, np.zeros(12), 0.02, 0.97, 3, 2, COSTS, level, odd, price, residual)

    assert cost == np.inf
