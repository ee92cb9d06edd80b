"""The search finds fixed cost, lower-order work and drift, each where it was planted."""

import numpy as np
import pytest

from perflib.scaling.cost_model import COSTS, Arrangement, Data, fit_work, usable

SIZES = np.geomspace(10, 10_000, 16).round()


def data(times, noise=0.0, seed=0):
    """Median times over their shortest, their noise known."""
    times = times * np.exp(noise * np.random.default_rng(seed).standard_normal(len(SIZES)))
    return Data(SIZES, times / times.min(), np.full(len(SIZES), noise**2))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_fixed_cost_is_a_share_of_the_shortest_time(share):
    times = share + (1 - share) * SIZES / SIZES[0]

    fit = fit_work(data(times, 0.005), np.log(SIZES))

    assert fit.fixed == pytest.approx(share, abs=0.05)
    assert np.exp(fit.prices[0] - fit.offset) * SIZES[0] == pytest.approx(1 - share, abs=0.05)


@pytest.mark.parametrize(
    ("levels", "odd", "fixed", "lower", "freedom"),
    [
        ([0, 0, 0, 0, 0, 0], 0, 0.0, 0.0, 5),
        ([0, 0, 0, 0, 0, 0], 0, 0.1, 0.2, 3),
        ([0, 0, 0, -1, 1, 1], 1, 0.0, 0.0, 2),
        ([0, 0, -1, -1, 1, 1], 0, 0.1, 0.0, 1),
        ([0, 0, -1, -1, 1, 1], 1, 0.1, 0.2, 1),
    ],
)
def test_its_freedom_is_what_is_left_of_the_sizes_on_levels_and_at_least_one(levels, odd, fixed, lower, freedom):
    shape = {
        "cost": 0.0,
        "log_work": np.arange(6.0),
        "offset": 0.0,
        "drift": 0.0,
        "model_error": 0.0,
        "residuals": np.zeros(6),
    }
    is_odd = np.arange(6) < odd

    fit = Arrangement(
        fixed=fixed, lower=lower, levels=np.array(levels), odd=is_odd, prices=np.zeros(max(levels) + 1), **shape
    )

    assert fit.freedom == freedom


def test_lower_order_work_is_a_share_of_the_smallest():
    times = SIZES**2 * (1 + 0.75 * SIZES[0] / SIZES)

    fit = fit_work(data(times, 0.005), 2 * np.log(SIZES))

    assert fit.lower + fit.fixed == pytest.approx(0.75, abs=0.35)
    np.testing.assert_allclose(np.log(fit.fitted(SIZES) / (times / times.min())), 0, atol=0.03)


@pytest.mark.parametrize("drift", [-0.04, 0.04])
def test_a_price_may_drift_a_little(drift):
    fit = fit_work(data(SIZES ** (2 + drift), 0.002), 2 * np.log(SIZES))

    assert fit.drift == pytest.approx(drift, abs=0.01)
    assert fit.cost > fit_work(data(SIZES**2.0, 0.002), 2 * np.log(SIZES)).cost + 3


def test_a_free_power_neither_drifts_nor_has_lower_order_work():
    fit = fit_work(data(SIZES**2 + 3 * SIZES), 1.9 * np.log(SIZES), free=True)

    assert (fit.lower, fit.drift) == (0, 0)


def test_exact_work_costs_less_than_any_other():
    own = fit_work(data(SIZES**1.5), 1.5 * np.log(SIZES))

    assert own.model_error == 0.01
    assert own.cost + 20 < min(fit_work(data(SIZES**1.5), p * np.log(SIZES)).cost for p in (1, 2))


def test_a_limit_ends_a_search_that_is_not_worth_it():
    hopeless = fit_work(data(SIZES**3 * 1.0), np.log(SIZES), limit=0)

    assert hopeless.cost > 0
    assert (hopeless.lower, hopeless.drift) == (0, 0)


def test_the_price_between_two_levels_is_straight_on_the_logarithms():
    times = SIZES * np.repeat([1.0, 4.0], 8)

    fit = fit_work(data(times), np.log(SIZES))

    x = np.log(SIZES)
    low, high = fit.price_at(x[0], x), fit.price_at(x[-1], x)
    assert high - low == pytest.approx(np.log(4), abs=0.01)
    assert fit.price_at((x[7] + x[8]) / 2, x) == pytest.approx((low + high) / 2)
    assert fit.price_at(x[0] - 3, x) == low


def test_structure_is_not_free():
    times = SIZES * np.repeat([1.0, 2.0], 8)
    free = fit_work(data(times), np.log(SIZES), costs=np.zeros(5))

    assert fit_work(data(times), np.log(SIZES)).cost == pytest.approx(free.cost + COSTS[0], abs=0.5)


def test_work_beyond_floating_point_is_not_usable():
    assert usable(np.array([0.0, 500.0]))
    assert not usable(np.array([0.0, 700.0]))
    assert not usable(np.array([0.0, np.nan]))
