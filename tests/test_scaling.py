"""Exponents recovered from times that are known to follow one."""

import math

import numpy as np
import pytest

from perflib import fit_scaling
from perflib.stats import SampleError

SIZES = np.array([64, 80, 100, 128, 160, 200, 256, 320, 400, 512])


def noisy(law, seed=0, rounds=15, sizes=SIZES, noise=0.03):
    """Rounds x sizes of times after a law, with multiplicative noise."""
    rng = np.random.default_rng(seed)
    return 5 * law(sizes.astype(float)) * np.exp(noise * rng.standard_normal((rounds, len(sizes))))


def power(p):
    return lambda n: n**p


@pytest.mark.parametrize("p", [-1, 0.5, 1, 2, 2.81, 3])
def test_an_exact_power_is_recovered_exactly(p):
    fit = fit_scaling(SIZES, 7.0 * SIZES.astype(float) ** p)

    assert fit.exponent.value == pytest.approx(p, abs=1e-9)
    assert fit.theil_sen.value == pytest.approx(p, abs=1e-9)
    assert fit.local == pytest.approx([p] * 9, abs=1e-9)
    assert fit.predict_ns(1000) == pytest.approx(7.0 * 1000**p, rel=1e-6)


@pytest.mark.parametrize("p", [1, 2, 2.81, 3])
@pytest.mark.parametrize("seed", range(5))
def test_an_exponent_is_recovered_from_noise(p, seed):
    fit = fit_scaling(SIZES, noisy(power(p), seed))

    assert fit.verdict(p) == "consistent"
    assert abs(fit.exponent.value - p) < 0.03


@pytest.mark.parametrize("seed", range(5))
def test_strassens_exponent_is_told_from_three(seed):
    fit = fit_scaling(SIZES, noisy(power(2.81), seed))

    assert fit.verdict(3) == "inconsistent"
    assert fit.verdict(2.81, margin=0.05) == "consistent"


def test_the_interval_covers_the_exponent_as_often_as_it_says():
    fits = [fit_scaling(SIZES, noisy(power(2), seed, rounds=7)) for seed in range(300)]

    assert np.mean([f.exponent.low <= 2 <= f.exponent.high for f in fits]) > 0.93


def test_n_log_n_shows_in_the_local_exponents():
    """The slope of log(n log n) is 1 + 1 / log n: above one and falling."""
    middles = np.sqrt(SIZES[1:] * SIZES[:-1].astype(float))

    fit = fit_scaling(SIZES, noisy(lambda n: n * np.log(n), noise=0.0005))

    assert fit.local == pytest.approx(1 + 1 / np.log(middles), abs=0.01)
    assert 1 + 1 / math.log(512) < fit.exponent.value < 1 + 1 / math.log(64)


def test_a_bend_widens_the_model_interval_and_not_the_noise():
    """Two regimes, each measured perfectly: a single exponent describes neither, and must say so."""
    bent = np.where(SIZES < 200, SIZES**2.0, SIZES**3.0 / 200)

    fit = fit_scaling(SIZES, noisy(lambda n: bent, noise=0.001))

    assert fit.model.high - fit.model.low > 10 * (fit.noise.high - fit.noise.low)
    assert (fit.exponent.low, fit.exponent.high) == (fit.model.low, fit.model.high)
    assert fit.verdict(2.5, margin=0.1) == "inconclusive"


def test_noise_that_the_medians_hide_still_counts():
    """Each round has its own exponent; the medians lie on one line."""
    tilt = np.linspace(-0.2, 0.2, 15)[:, None]

    fit = fit_scaling(SIZES, SIZES ** (2 + tilt))

    assert (fit.exponent.low, fit.exponent.high) == (fit.noise.low, fit.noise.high)
    assert fit.noise.low < 1.9
    assert fit.noise.high > 2.1


def test_one_time_per_size_has_no_noise_interval():
    fit = fit_scaling(SIZES, SIZES**2)

    assert fit.noise is None
    assert fit.exponent == fit.model


def test_a_few_rounds_use_their_whole_range():
    fit = fit_scaling(SIZES, np.stack([SIZES**1.9, SIZES**2.0, SIZES**2.2]))

    assert (fit.noise.low, fit.noise.high) == pytest.approx((1.9, 2.2))
    assert fit.noise.coverage == 0.75


def test_an_odd_size_does_not_move_theil_sen():
    times = 3.0 * SIZES**2
    times[-1] *= 4

    fit = fit_scaling(SIZES, times)

    assert fit.theil_sen.value == pytest.approx(2, abs=0.1)
    assert fit.exponent.value > 2.2
    assert fit.model.low < 2


def test_a_size_may_sit_rounds_out():
    table = noisy(power(3))
    table[4:, -1] = np.nan
    table[0, 0] = np.nan

    fit = fit_scaling(SIZES, table)

    assert fit.verdict(3) == "consistent"
    assert fit.times_ns[-1] == np.median(table[:4, -1])
    assert fit.noise is not None


def test_no_round_with_all_sizes_leaves_the_model_interval():
    table = noisy(power(3), rounds=10)
    table[np.arange(10), np.arange(10)] = np.nan

    fit = fit_scaling(SIZES, table)

    assert fit.noise is None
    assert fit.verdict(3) == "consistent"


def test_the_order_of_the_sizes_does_not_matter():
    table = noisy(power(2))
    shuffled = np.random.default_rng(1).permutation(len(SIZES))

    there, again = fit_scaling(SIZES, table), fit_scaling(SIZES[shuffled], table[:, shuffled])

    assert there == again
    assert again.sizes == tuple(SIZES)


@pytest.mark.parametrize(
    ("expected", "verdict"), [(2, "consistent"), (2.5, "inconsistent"), (2.1, "inconclusive"), (1.9, "inconclusive")]
)
def test_a_verdict_has_three_ways(expected, verdict):
    fit = fit_scaling(SIZES, noisy(power(2), noise=0.2, rounds=15, seed=3))

    assert fit.exponent.low < 2 < fit.exponent.high
    assert fit.verdict(expected, margin=0.1) == verdict


def test_the_representation_is_one_line_with_the_interval():
    assert repr(fit_scaling(SIZES, SIZES**3)) == "exponent 3.000 [3.000, 3.000] over 10 sizes, 64 to 512"


@pytest.mark.parametrize("sizes", [[], [64], [64, 128], [64, 64, 128, 128]])
def test_fewer_than_three_distinct_sizes_are_refused(refused, sizes):
    with refused(SampleError, "sizes must be at least 3 distinct numbers", "got"):
        fit_scaling(sizes, [float(n) for n in sizes])


@pytest.mark.parametrize("bad", [0, -64, math.nan, math.inf])
def test_sizes_below_one_are_refused(refused, bad):
    with refused(SampleError, "sizes must be above 0", f"got {bad}"):
        fit_scaling([bad, 128, 256], [1, 2, 3])


@pytest.mark.parametrize("bad", [0, -1, math.inf])
def test_times_must_be_above_zero(refused, bad):
    with refused(SampleError, "times must be above 0"):
        fit_scaling([64, 128, 256], [1, bad, 3])


def test_a_size_without_any_time_is_refused(refused):
    with refused(SampleError, "times must be above 0", "at least one for every size"):
        fit_scaling([64, 128, 256], [[1, math.nan, 3], [1, math.nan, 3]])


@pytest.mark.parametrize("times", [[1, 2], [[1, 2, 3, 4]], [], np.ones((2, 2, 3))])
def test_every_size_needs_its_column_of_times(refused, times):
    with refused(SampleError, "times must have 3 columns", "got shape"):
        fit_scaling([64, 128, 256], times)
