"""A curve is taken apart into growth, levels, odd sizes and fixed cost, each planted here and each found with its value."""

import math

import numpy as np
import pandas as pd
import pytest

from perflib import fit_scaling
from perflib.errors import SampleError

SIZES = np.array([64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512])


def noisy(times, seed=0, rounds=9, noise=0.01):
    """Rounds x sizes around exact times."""
    return np.asarray(times) * np.exp(noise * np.random.default_rng(seed).standard_normal((rounds, len(times))))


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 2.81, 3])
def test_an_exact_power_is_recovered(p):
    fit = fit_scaling(SIZES, 7.0 * SIZES.astype(float) ** p)

    assert fit.exponent.value == pytest.approx(p, abs=0.01)
    assert fit.exponent.low <= p <= fit.exponent.high
    assert fit.local == pytest.approx([p] * 12, abs=1e-9)
    assert [fit.least_squares.value, fit.theil_sen.value] == pytest.approx([p, p], abs=1e-9)
    assert (fit.steps, fit.odd_sizes, fit.fixed_cost.value) == ((), (), 0)
    assert fit.curve(200) == pytest.approx(7.0 * 200**p, rel=1e-6)


def test_the_curve_of_the_reference_run_grows_as_the_cube_with_two_odd_sizes():
    """ps per flop of matmul_tiled, tile 64: the rows of 256 and 512 share cache sets."""
    price = np.array([439, 453, 438, 440, 457, 441, 445, 444, 718, 442, 459, 442, 1214])

    fit = fit_scaling(SIZES, noisy(2e-3 * price * SIZES.astype(float) ** 3))

    assert fit.verdict(3) == "consistent"
    assert fit.verdict(2) == fit.verdict("n² log n") == "inconsistent"
    assert [odd.size for odd in fit.odd_sizes] == [256, 512]
    assert [odd.factor for odd in fit.odd_sizes] == pytest.approx([718 / 445, 1214 / 445], rel=0.05)
    assert fit.steps == ()
    assert "n = 256 and 512 take 1.6 and 2.7 times as long" in fit.verdict(3).sentence


def test_a_step_is_found_where_it_is_with_its_factor():
    sizes = np.geomspace(1e3, 1e6, 14).round()
    times = noisy(2 * sizes * np.where(sizes > 3e4, 2.5, 1))

    fit = fit_scaling(sizes, times)

    (step,) = fit.steps
    assert (step.last, step.first) == (sizes[sizes <= 3e4][-1], sizes[sizes > 3e4][0])
    assert step.factor == pytest.approx(2.5, rel=0.03)
    assert [regime.price.value for regime in fit.regimes] == pytest.approx([2, 5], rel=0.03)
    assert all(regime.price.low <= price <= regime.price.high for regime, price in zip(fit.regimes, (2, 5), strict=True))
    assert all(regime.exponent.low <= 1 <= regime.exponent.high for regime in fit.regimes)
    assert fit.verdict("n") == "consistent"
    assert fit.least_squares.value > 1.1


def test_a_gradual_step_has_its_sizes_between_two_levels():
    sizes = np.geomspace(1e3, 1e6, 16).round()
    price = np.array([1.0] * 6 + [1.5, 2.2] + [3.0] * 8)

    fit = fit_scaling(sizes, noisy(sizes * price))

    (step,) = fit.steps
    assert (step.last, step.first) == (sizes[5], sizes[8])
    assert fit.odd_sizes == ()
    assert fit.verdict(1) == "consistent"


@pytest.mark.parametrize("fixed", [-30, 400, 4000])
def test_a_fixed_cost_is_found_with_its_interval(fixed):
    sizes = np.geomspace(50, 20_000, 14).round()

    fit = fit_scaling(sizes, noisy(fixed + sizes))

    assert fit.fixed_cost.low <= fixed <= fit.fixed_cost.high
    assert fit.fixed_cost.value == pytest.approx(fixed, rel=0.3)
    assert fit.verdict("n") == "consistent"


def test_the_curve_of_a_power_between_the_classes_goes_through_the_times():
    sizes = np.geomspace(1e3, 1e7, 14).round()

    fit = fit_scaling(sizes, 7 * sizes**2.4137)

    assert fit.growth.name == "n^2.41"
    assert [fit.curve(n) for n in sizes] == pytest.approx(7 * sizes**2.4137, rel=0.02)


def test_a_price_is_per_unit_of_the_declared_work():
    fit = fit_scaling(SIZES, noisy(3.0 * SIZES**3), work=lambda n: 2 * n**3)

    (regime,) = fit.regimes
    assert regime.price.value == pytest.approx(1.5, rel=0.02)
    assert fit.work(100) == pytest.approx(2e6)
    assert fit.verdict() == "consistent"


def test_counts_per_size_are_a_work_of_their_own():
    counts = 5.0 * SIZES**2 + 300 * SIZES

    fit = fit_scaling(list(SIZES), noisy(counts), work=list(counts))

    assert fit.verdict() == "consistent"
    assert fit.regimes[0].price.value == pytest.approx(1, rel=0.02)
    assert fit.work(200) == pytest.approx(5 * 200**2 + 300 * 200, rel=0.01)


def test_a_working_set_per_size_or_a_function_is_kept():
    times = noisy(SIZES**2)

    assert fit_scaling(SIZES, times, bytes=lambda n: 8 * n).bytes == pytest.approx(tuple(8 * SIZES))
    assert fit_scaling(SIZES, times, bytes=8 * SIZES).bytes == pytest.approx(tuple(8 * SIZES))
    assert fit_scaling(SIZES, times).bytes is None


def test_a_prediction_widens_and_says_where_it_extrapolates():
    fit = fit_scaling(SIZES, noisy(3.0 * SIZES**3))

    near, far = fit.predict_ns(300), fit.predict_ns(5000)
    assert near == pytest.approx(3.0 * 300**3, rel=0.03)
    assert near.low <= 3.0 * 300**3 <= near.high
    assert far.low <= 3.0 * 5000**3 <= far.high
    assert far.high / far.low > near.high / near.low
    assert (near.extrapolated, far.extrapolated) == (False, True)
    assert fit.predict_ns(3 * 512).extrapolated is False


def test_the_largest_size_within_a_time_is_the_inverse_of_the_curve():
    fit = fit_scaling(SIZES, noisy(3.0 * SIZES**3))

    largest = fit.largest(seconds=3.0 * 700**3 / 1e9)

    assert largest == pytest.approx(700, rel=0.02)
    assert largest.low <= 700 <= largest.high
    assert not largest.extrapolated
    assert fit.largest(seconds=100).extrapolated
    assert fit.curve(largest) == pytest.approx(3.0 * 700**3, rel=1e-6)


def test_noise_and_rounds_are_those_of_the_table():
    table = noisy(SIZES**2, rounds=30, noise=0.05)
    table[5:, 3] = np.nan

    fit = fit_scaling(SIZES, table)

    assert fit.rounds == 5
    assert np.median(fit.noise) == pytest.approx(0.05 * math.sqrt(math.pi / 2 / 30), rel=0.2)
    assert fit.noise[3] > 1.5 * np.median(fit.noise)
    assert fit_scaling(SIZES, SIZES**2).noise == (0.0,) * len(SIZES)


def test_neither_order_nor_form_of_the_input_matters():
    table = noisy(SIZES**2)
    order = np.random.default_rng(0).permutation(len(SIZES))
    frame = pd.DataFrame({"size": np.tile(SIZES, 9), "time": table.ravel()})

    fits = [
        fit_scaling(SIZES, table),
        fit_scaling(SIZES[order], table[:, order]),
        fit_scaling(frame),
        fit_scaling(np.tile(SIZES, 9), table.ravel()),
    ]

    assert len({(fit.exponent, fit.times_ns, fit.rounds) for fit in fits}) == 1


def test_the_unit_of_the_times_changes_prices_alone():
    table = noisy(1e3 + SIZES**2)

    ns, us = fit_scaling(SIZES, table), fit_scaling(SIZES, table / 1e3)

    assert us.exponent.value == pytest.approx(ns.exponent.value, abs=0.006)
    assert us.fixed_cost.value == pytest.approx(ns.fixed_cost.value / 1e3, rel=1e-3)
    assert us.regimes[0].price.value == pytest.approx(ns.regimes[0].price.value / 1e3, rel=1e-3)


def test_theil_sen_claims_no_more_than_its_sizes_allow():
    assert fit_scaling([64, 128, 256], [64, 128, 256]).theil_sen.coverage == pytest.approx(2 / 3)


def test_the_summary_names_growth_sizes_and_parts():
    sizes = np.geomspace(50, 20_000, 14).round()

    assert repr(fit_scaling(SIZES, SIZES**3)).startswith("grows as n³: exponent 3.00 [")
    assert repr(fit_scaling(SIZES, SIZES**3)).endswith("over 64 to 512")
    assert " µs fixed" in repr(fit_scaling(sizes, noisy(4000 + sizes)))


@pytest.mark.parametrize("bad", [0, 1, 95])
def test_confidence_lies_between_zero_and_one(refused, bad):
    with refused(SampleError, "confidence must lie between 0 and 1", f"got {bad}"):
        fit_scaling(SIZES, SIZES**2, confidence=bad)


@pytest.mark.parametrize("bad", [0, -1, math.inf, math.nan])
def test_a_prediction_is_for_a_positive_number(refused, bad):
    fit = fit_scaling(SIZES, SIZES**2)

    with refused(SampleError, "n must be above 0 and finite"):
        fit.predict_ns(bad)
    with refused(SampleError, "seconds must be above 0 and finite"):
        fit.largest(bad)
