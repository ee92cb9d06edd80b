"""Statistics on small exact samples, and on synthetic ones with fixed seeds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import kendall_tau, order_coverage
from scipy.stats import norm, t, ttest_ind

from perflib import stats
from perflib.errors import SampleError
from perflib.stats import (
    FEWEST_CASES,
    MOST_FREEDOM,
    Interval,
    Prior,
    discoveries,
    drift,
    fewest_samples,
    lag1,
    median,
    median_interval,
    p_of_no_change,
    persistence,
    ratio_interval,
    shift_interval,
    t_interval,
    variance_prior,
)

TRIALS = 1000


def normal(rng, count):
    return 100 + 3 * rng.standard_normal(count)


def lognormal(rng, count):
    return 100 * np.exp(0.5 * rng.standard_normal(count))


def spiky(rng, count):
    """Half a narrow peak on each side of 100, and one sample in ten that something interrupted."""
    return 100 + rng.choice([-1, 1], count) * np.where(rng.random(count) < 0.1, 90, 1) * rng.random(count)


def resembling(rng, count, rho=0.5):
    """AR(1): each sample is `rho` of the one before, and noise."""
    values = rng.standard_normal(count + 50)
    for i in range(1, count + 50):
        values[i] += rho * values[i - 1]
    return 100 + values[50:]


def covered(draw, count, **how):
    """Share of the intervals of fixed series that contain the true median, 100."""
    rng = np.random.default_rng(count)
    found = [median_interval(draw(rng, count), **how) for _ in range(TRIALS)]
    return np.mean([i.low <= 100 <= i.high for i in found])


@pytest.mark.parametrize(("samples", "expected"), [([3], 3), ([4, 1], 2.5), ([9, 1, 5], 5), ([1, 1, 1, 100], 1)])
def test_the_median_is_the_middle(samples, expected):
    assert median(samples) == expected


@pytest.mark.parametrize(("count", "rank"), [(6, 0), (8, 0), (9, 1), (15, 3), (30, 9), (100, 39)])
def test_the_interval_ends_at_the_ranks_of_the_published_table(count, rank):
    """Ranks of the 95 % interval as in David and Nagaraja; coverage by counting coin tosses. In any order."""
    interval = median_interval(np.random.default_rng(1).permutation(count))

    assert (interval.value, interval.low, interval.high) == ((count - 1) / 2, rank, count - 1 - rank)
    assert interval.coverage == pytest.approx(order_coverage(count, rank), rel=1e-12)


@given(st.integers(6, 60), st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_the_interval_is_the_narrowest_that_keeps_its_confidence(count, confidence):
    interval = median_interval(np.arange(count), confidence)

    rank = int(interval.low)
    assert interval.coverage >= confidence
    assert order_coverage(count, rank) >= confidence - 1e-12
    assert rank + 1 > (count - 1) / 2 or order_coverage(count, rank + 1) < confidence


@pytest.mark.parametrize("draw", [normal, lognormal, spiky])
@pytest.mark.parametrize("count", [9, 15, 30, 100])
def test_intervals_of_independent_samples_cover_the_median_as_often_as_they_say(draw, count):
    plain, serial = covered(draw, count), covered(draw, count, serial=True)

    assert abs(plain - median_interval(range(count)).coverage) < 0.025
    assert 0.93 <= plain <= serial <= 0.98


@pytest.mark.parametrize("count", [30, 200])
def test_serial_intervals_of_samples_that_resemble_their_neighbours_cover_where_plain_ones_do_not(count):
    assert covered(resembling, count) < 0.83
    assert covered(resembling, count, serial=True) >= 0.85


@pytest.mark.parametrize("count", [6, 9, 15])
def test_the_serial_interval_of_a_few_sorted_samples_is_their_range(count):
    interval = median_interval(np.arange(count), serial=True)

    assert (interval.low, interval.high) == (0, count - 1)


@pytest.mark.parametrize(("samples", "expected"), [([5] * 9, 1), ([1, 2] * 10, 1), ([1, 1, 2, 2] * 3, 1), (range(6), 1.5)])
def test_persistence_is_at_least_one_and_more_where_neighbours_stay_on_one_side(samples, expected):
    """Six sorted samples: signs - - - + + +, weights 3/4, 1/2, 1/4 on autocorrelations 1/2, 0, -1/2."""
    assert persistence(samples) == pytest.approx(expected)
    assert persistence([-x for x in samples]) == pytest.approx(expected)


def test_serial_intervals_of_ratios_are_wider_too():
    waves = np.exp(0.1 * np.sin(np.arange(60) / 5))

    plain, serial = (ratio_interval(waves, [1] * 60, serial=serial) for serial in (False, True))

    assert serial.low < plain.low < plain.high < serial.high


def test_a_ratio_is_the_median_of_pairs():
    """Every pair doubles, although the machine slowed down tenfold in the middle."""
    under = [10, 11, 12, 100, 110, 120]

    assert ratio_interval([2 * u for u in under], under).value == pytest.approx(2, rel=1e-12)
    assert ratio_interval([2 * u for u in under], under).half_width == pytest.approx(0, abs=1e-12)


def test_a_ratio_keeps_its_pairs_together():
    """Sorted on their own the samples would never differ eightfold in both directions."""
    interval = ratio_interval([1, 1, 1, 8, 8, 8], [8, 1, 1, 1, 1, 8])

    assert (interval.value, interval.low, interval.high) == pytest.approx((1, 1 / 8, 8))


def test_a_ratio_and_its_inverse_agree():
    rng = np.random.default_rng(2)
    over, under = lognormal(rng, 30), lognormal(rng, 30)

    there, back = ratio_interval(over, under), ratio_interval(under, over)

    assert (1 / back.value, 1 / back.high, 1 / back.low) == pytest.approx((there.value, there.low, there.high))


def test_more_comparisons_make_every_interval_wider():
    rng = np.random.default_rng(3)
    over, under = normal(rng, 30), normal(rng, 30)

    one, ten = ratio_interval(over, under), ratio_interval(over, under, comparisons=10)

    assert ten.low < one.low < one.value == ten.value < one.high < ten.high
    assert ten.coverage >= 0.995


@pytest.mark.parametrize("comparisons", [1, 2, 3, 4, 10, 100])
def test_the_fewest_samples_have_an_interval_and_one_fewer_have_none(comparisons):
    count = fewest_samples(comparisons)

    ratio_interval([1] * count, [1] * count, comparisons=comparisons)

    with pytest.raises(SampleError):
        ratio_interval([1] * (count - 1), [1] * (count - 1), comparisons=comparisons)


@pytest.mark.parametrize(("comparisons", "most"), [(1, 0.06), (5, 0.012)])
def test_identical_alternatives_are_rarely_told_apart(comparisons, most):
    rng = np.random.default_rng(4)

    found = [ratio_interval(spiky(rng, 30), spiky(rng, 30), comparisons=comparisons) for _ in range(TRIALS)]

    assert np.mean([not i.low <= 1 <= i.high for i in found]) <= most


def test_a_planted_five_percent_is_found():
    rng = np.random.default_rng(5)

    found = [ratio_interval(1.05 * normal(rng, 30), normal(rng, 30)) for _ in range(TRIALS)]

    assert np.mean([i.low > 1 for i in found]) > 0.9


def test_drift_is_kendalls_tau():
    values = np.random.default_rng(6).random(12)

    assert drift(values)[0] == pytest.approx(kendall_tau(values), rel=1e-12)
    assert drift(range(10, 0, -1))[0] == pytest.approx(-1)


def test_a_flat_series_does_not_drift():
    assert drift([5] * 10) == (0, 1)
    assert lag1([5] * 10) == 0


def test_a_trend_is_seen_in_noise_and_noise_is_not_a_trend():
    rng = np.random.default_rng(7)
    trend = np.linspace(0, 12, 30)

    with_trend = [drift(normal(rng, 30) + trend) for _ in range(200)]
    without = [drift(normal(rng, 30)) for _ in range(200)]

    assert np.mean([tau > 0.3 and p < 0.001 for tau, p in with_trend]) > 0.8
    assert np.mean([p < 0.001 for _, p in without]) < 0.01


def test_lag_one_tells_slow_waves_from_noise():
    rng = np.random.default_rng(8)
    waves = [np.sin(np.arange(30) / 3) + 0.2 * rng.standard_normal(30) for _ in range(100)]

    assert min(lag1(w) for w in waves) > 0.5
    assert lag1([1, 2] * 10) < -0.9
    assert max(lag1(normal(rng, 30)) for _ in range(100)) < 0.6
    assert abs(np.mean([lag1(normal(rng, 30)) for _ in range(300)])) < 0.1


def test_one_outlier_does_not_make_neighbours_resemble():
    values = np.random.default_rng(9).random(30)
    spiked = values.copy()
    spiked[values.argmax()] = 1e9

    assert lag1(spiked) == lag1(values)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [(Interval(10, 9, 12, 0.95), 0.15), (Interval(-10, -12, -9, 0.95), 0.15), (Interval(0, -1, 1, 0.95), math.inf)],
)
def test_the_half_width_is_a_share_of_the_value(interval, expected):
    assert interval.half_width == pytest.approx(expected)


def test_a_scaled_interval_keeps_its_order_and_the_longest_time_becomes_the_lowest_rate():
    assert Interval(2, 1, 4, 0.9).scaled(-2) == Interval(-4, -8, -2, 0.9)
    assert Interval(2, 1, 4, 0.9).inverse(8) == Interval(4, 2, 8, 0.9)


WITHIN = [(1, 4), (0, 5)]
BEYOND = [(4.1, 5), (0, 0.9)]
ACROSS = [(1.5, 5), (0, 3), (2, 3), (4, 5)]


@pytest.mark.parametrize(("expected", "ranges"), [(True, WITHIN), (False, BEYOND), (None, ACROSS)])
def test_inside_is_true_false_or_neither(expected, ranges):
    assert [Interval(2, 1, 4, 0.95).inside(*ends) for ends in ranges] == [expected] * len(ranges)


@pytest.mark.parametrize("what", [median, median_interval, drift, lag1])
def test_nothing_has_no_statistics(refused, what):
    with refused(SampleError, "samples must be at least", "got 0"):
        what([])


@pytest.mark.parametrize("what", [median, median_interval, drift, lag1])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_samples_must_be_finite(refused, what, bad):
    with refused(SampleError, "samples must be finite", "NaN or infinity"):
        what([1, 2, 3, 4, 5, 6, bad])


def test_samples_must_be_one_dimensional(refused):
    with refused(SampleError, "samples must be one-dimensional", "(2, 3)"):
        median(np.ones((2, 3)))


@pytest.mark.parametrize("count", range(1, 6))
def test_fewer_than_six_samples_have_no_interval(refused, count):
    with refused(SampleError, f"samples must be more than {count}", "0.95"):
        median_interval(range(count))


@pytest.mark.parametrize("what", [drift, lag1])
def test_fewer_than_six_samples_show_no_trend(refused, what):
    with refused(SampleError, "samples must be at least 6", "got 5"):
        what(range(5))


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95, math.nan])
def test_confidence_must_be_a_probability(refused, confidence):
    with refused(SampleError, "confidence must lie between 0 and 1", f"got {confidence}"):
        median_interval(range(10), confidence)


@pytest.mark.parametrize(
    ("over", "settings", "words"),
    [
        ([1] * 7, {}, "paired samples must have equal length, got 7 and 6"),
        ([1] * 6, {"comparisons": 0}, "comparisons must be at least 1, got 0"),
        ([1] * 6, {"comparisons": -1}, "comparisons must be at least 1, got -1"),
    ],
)
def test_a_ratio_is_of_pairs_and_compared_at_least_once(refused, over, settings, words):
    with refused(SampleError, words):
        ratio_interval(over, [1] * 6, **settings)


@pytest.mark.parametrize("bad", [0, -1])
@pytest.mark.parametrize("side", [0, 1])
def test_samples_of_a_ratio_must_be_above_zero(refused, side, bad):
    pair = [[1.0] * 6, [1.0] * 6]
    pair[side][3] = bad

    with refused(SampleError, "samples of a ratio must be above 0"):
        ratio_interval(*pair)


def test_the_ratio_of_two_series_that_were_not_taken_together_covers_the_truth():
    """1000 pairs of lognormal series, 12 and 9 long: at least 95 % of the intervals cover their ratio."""
    rng = np.random.default_rng(0)
    found = [shift_interval(1.2 * rng.lognormal(0, 0.1, 12), rng.lognormal(0, 0.1, 9)) for _ in range(1000)]

    assert sum(i.low <= 1.2 <= i.high for i in found) >= 940
    assert np.median([i.value for i in found]) == pytest.approx(1.2, rel=0.01)


def test_the_ranks_of_a_shift_are_those_of_the_tables_of_mann_and_whitney():
    """n = m = 6: P(U <= 5) = 19 / 924 and P(U <= 6) = 30 / 924, two-sided 0.041 and 0.065."""
    found = shift_interval(np.exp(np.arange(6.0)), np.exp(np.arange(6.0) / 10))

    shifts = sorted(i - j / 10 for i in range(6) for j in range(6))
    assert found.coverage == pytest.approx(1 - 2 * 19 / 924)
    assert (np.log(found.low), np.log(found.high)) <= (shifts[5], shifts[-6] + 1e-9)


def test_large_series_take_the_normal_distribution_and_agree_with_the_exact_one():
    exact = stats._mann_whitney(60, 60)
    approximate = norm.cdf((np.arange(len(exact)) + 0.5 - 1800) / math.sqrt(3600 * 121 / 12))

    assert abs(exact - approximate).max() < 1e-3
    assert shift_interval(np.ones(100), np.ones(100)).value == 1


def test_too_few_samples_for_so_many_comparisons_have_no_shift(refused):
    assert shift_interval(np.ones(6), np.ones(6), comparisons=20).value == 1
    with refused(SampleError, "samples must be more than 3 and 3 for 20 comparisons"):
        shift_interval(np.ones(3), np.ones(3), comparisons=20)


def drawn_variances(rng, count, freedom, prior_freedom, prior_variances):
    """Variances as Smyth's model draws them: true ones around the prior's, sample ones around those."""
    true = prior_freedom * prior_variances / rng.chisquare(prior_freedom, count)
    return true * rng.chisquare(freedom, count) / freedom


@pytest.mark.parametrize("freedom", [2, 6])
def test_a_prior_is_learned_from_many_variances(freedom):
    rng = np.random.default_rng(freedom)
    prior = variance_prior(drawn_variances(rng, 20_000, freedom, 5.0, 0.01**2), np.full(20_000, freedom))

    assert prior.freedom == pytest.approx(5.0, rel=0.15)
    assert math.exp(prior.level) == pytest.approx(0.01**2, rel=0.05)
    assert prior.slope == 0


def test_a_prior_follows_the_number_that_the_variances_grow_with():
    rng = np.random.default_rng(0)
    x = np.exp(rng.uniform(-12, -4, 20_000))
    prior = variance_prior(drawn_variances(rng, len(x), 3, 8.0, 2 * x**0.7), np.full(len(x), 3), x)

    assert prior.slope == pytest.approx(0.7, abs=0.02)
    assert prior.freedom == pytest.approx(8.0, rel=0.2)
    assert prior.shrink(0.0, 0, math.exp(-8))[0] == pytest.approx(2 * math.exp(-8) ** 0.7, rel=0.1)


def test_cases_that_all_have_the_same_variance_make_a_firm_prior():
    rng = np.random.default_rng(1)
    prior = variance_prior(rng.chisquare(3, 2000) / 3, np.full(2000, 3))

    assert prior.freedom == MOST_FREEDOM
    assert variance_prior([0.5] * 9, [3] * 9).freedom == MOST_FREEDOM


def test_a_variance_of_zero_does_not_decide_the_prior():
    rng = np.random.default_rng(2)
    values = drawn_variances(rng, 200, 3, 6.0, 1e-4)

    assert math.exp(variance_prior([*values, 0.0], np.full(201, 3)).level) == pytest.approx(1e-4, rel=0.4)


def test_a_prior_needs_eight_cases(refused):
    assert variance_prior(range(1, FEWEST_CASES + 1), [3] * FEWEST_CASES)
    with refused(SampleError, "cases must be at least 8", "got 7"):
        variance_prior(range(1, FEWEST_CASES), [3] * (FEWEST_CASES - 1))


def test_a_variance_shrinks_towards_the_prior_by_their_degrees_of_freedom():
    prior = Prior(level=math.log(4.0), slope=0.0, freedom=6.0)

    assert prior.shrink(1.0, 2) == pytest.approx(((6 * 4 + 2 * 1) / 8, 8))
    assert Prior(math.log(4.0), 0.5, 6.0).shrink(1.0, 2, x=9.0) == pytest.approx(((6 * 12 + 2 * 1) / 8, 8))


def test_an_interval_of_student_is_that_of_the_table():
    """t of 5 degrees of freedom: 2.571 for 95 %, 4.032 for 99 %."""
    found = t_interval(math.log(2.0), 0.01**2, 5)

    assert (found.value, found.coverage) == (pytest.approx(2.0), 0.95)
    assert math.log(found.high / 2) / 0.01 == pytest.approx(2.571, abs=0.001)
    assert math.log(found.low / 2) / 0.01 == pytest.approx(-2.571, abs=0.001)
    assert math.log(t_interval(0.0, 0.01**2, 5, 0.99).high) / 0.01 == pytest.approx(4.032, abs=0.001)


def test_the_p_value_is_students_and_agrees_with_the_interval():
    rng = np.random.default_rng(3)
    one, other = rng.normal(0, 1, 4), rng.normal(1, 1, 3)
    variance = (3 * np.var(one, ddof=1) + 2 * np.var(other, ddof=1)) / 5 * (1 / 4 + 1 / 3)

    assert p_of_no_change(other.mean() - one.mean(), variance, 5) == pytest.approx(ttest_ind(one, other).pvalue)
    edge = float(t.ppf(0.975, 7)) * 0.1
    assert p_of_no_change(edge, 0.01, 7) == pytest.approx(0.05)
    assert t_interval(edge, 0.01, 7).low == pytest.approx(1.0)


def test_discoveries_are_those_of_benjamini_and_hochberg():
    """Their example, 15 comparisons of two treatments (1995, section 4.1): four at 5 %, where Bonferroni finds three."""
    values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    values += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    shuffled = np.random.default_rng(4).permutation(15)

    assert discoveries(values, 0.05).tolist() == [True] * 4 + [False] * 11
    assert discoveries(np.array(values)[shuffled], 0.05).tolist() == (shuffled < 4).tolist()


def test_a_larger_p_value_may_carry_smaller_ones_that_fail_by_themselves():
    assert discoveries([0.03, 0.04, 0.04], 0.05).tolist() == [True] * 3
    assert discoveries([0.03, 0.9, 0.9], 0.05).tolist() == [False] * 3


def test_nothing_is_discovered_in_noise_at_the_rate_that_is_promised():
    rng = np.random.default_rng(5)
    families = [discoveries(rng.random(100), 0.05).any() for _ in range(TRIALS)]

    assert np.mean(families) == pytest.approx(0.05, abs=0.02)
