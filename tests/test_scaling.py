"""Exponents recovered from times that are known to follow one."""

import math
import re

import numpy as np
import pytest

from perflib import fit_scaling
from perflib.errors import SampleError

SIZES = np.array([64, 80, 100, 128, 160, 200, 256, 320, 400, 512])


def noisy(law, seed=0, rounds=15, sizes=SIZES, noise=0.03):
    """Rounds x sizes of times after a law, with multiplicative noise."""
    rng = np.random.default_rng(seed)
    return 5 * law(sizes.astype(float)) * np.exp(noise * rng.standard_normal((rounds, len(sizes))))


def line(p, *rounds):
    """Rounds x sizes of exact times, each round with an exponent of its own."""
    return SIZES ** (p + np.array(rounds))[:, None]


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
def test_n_log_n_is_not_taken_for_n(seed):
    fit = fit_scaling(SIZES, noisy(lambda n: n * np.log(n), seed, rounds=9))

    assert fit.verdict(1) == fit.verdict(1, margin=0.05) == "inconsistent"


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
    fit = fit_scaling(SIZES, line(2, *np.linspace(-0.2, 0.2, 15)))

    assert (fit.exponent.low, fit.exponent.high) == (fit.noise.low, fit.noise.high)
    assert fit.noise.low < 1.9
    assert fit.noise.high > 2.1


def test_the_model_interval_is_student_t_on_hc3():
    logs = np.log(noisy(power(2), rounds=1)[0])
    design = np.stack([np.ones(10), np.log(SIZES)], axis=1)
    solve = np.linalg.pinv(design)
    left, leverage = logs - design @ solve @ logs, np.diag(design @ solve)
    error = np.sqrt((solve**2 @ (left / (1 - leverage)) ** 2)[1])

    fit = fit_scaling(SIZES, np.exp(logs))

    assert fit.noise is None
    assert fit.exponent == fit.model
    assert fit.model.high - fit.exponent.value == pytest.approx(2.306004 * error, rel=1e-6)
    assert fit.model.low + fit.model.high == pytest.approx(2 * fit.exponent.value)


def test_a_few_rounds_have_an_interval_from_student_t():
    fit = fit_scaling(SIZES, line(2, -0.1, 0, 0.2))

    assert (fit.noise.low, fit.noise.high) == pytest.approx((2.03333 - 0.37946, 2.03333 + 0.37946), abs=1e-5)
    assert fit.noise.coverage == 0.95


def test_each_side_reaches_as_far_as_the_wider_interval():
    """Rounds that only ever lean upwards, and sizes off the line by turns."""
    lean = line(2, *[0, 0.3] * 7, 0)

    fit = fit_scaling(SIZES, lean * np.tile([0.9, 1.1], 5))

    assert fit.exponent.low == fit.model.low < fit.noise.low
    assert fit.exponent.high == fit.noise.high > fit.model.high


def test_rounds_that_resemble_their_neighbours_are_worth_fewer():
    tilts = np.random.default_rng(0).normal(0, 0.05, 20)
    fits = [fit_scaling(SIZES, line(2, *order)) for order in (tilts, sorted(tilts))]

    mixed, creeping = (f.noise.high - f.noise.low for f in fits)

    assert creeping > 1.5 * mixed


def test_a_size_that_misses_the_slow_rounds_stays_inside_the_interval():
    """The medians are biased, the rounds with every size are not."""
    table = noisy(power(2), noise=0.01, rounds=30)
    table[9:] *= 1.5
    table[9:, -1] = np.nan

    fit = fit_scaling(SIZES, table)

    assert fit.rounds == 9
    assert fit.exponent.value < 1.95
    assert fit.exponent.low < 2 < fit.exponent.high


def test_a_size_far_from_all_others_leaves_finite_ends():
    fit = fit_scaling([10**9, 10**9 + 1, 10**15], [1.0, 1.1, 1e6])

    assert np.isfinite([fit.model.low, fit.model.high]).all()


@pytest.mark.parametrize(("count", "coverage"), [(3, 1 - 2 / 6), (4, 1 - 2 / 24), (5, 0.95)])
def test_theil_sen_claims_no_more_than_its_sizes_allow(count, coverage):
    fit = fit_scaling(SIZES[:count], SIZES[:count] ** 2)

    assert fit.theil_sen.coverage == coverage


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
    assert bool(fit.advice(expected, margin=0.1)) == (verdict == "inconclusive")


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ((64, 128, 256, 512), "4 sizes are too few for a verdict, 8 are needed"),
        ((64, 80, 100, 120, 140, 160, 180), "7 sizes are too few"),
        ((64, 256, 1024), "3 sizes are too few"),
        ((1, 2, 3), "3 sizes are too few"),
        (tuple(2**k for k in range(4, 13)), "all sizes are powers of two"),
    ],
)
def test_sizes_that_allow_no_verdict_are_told_what_to_add(sizes, why):
    advice = fit_scaling(sizes, [n**3 for n in sizes]).advice(3)
    added = [int(n) for n in re.search(r": add ([\d, ]+)$", advice)[1].split(",")]

    completed = sorted({*sizes, *added})

    assert fit_scaling(sizes, [n**3 for n in sizes]).verdict(3) == "inconclusive"
    assert advice.startswith(why)
    assert all(n & (n - 1) for n in added)
    assert fit_scaling(completed, [n**3 for n in completed]).verdict(3) == "consistent"


def beyond(size):
    """Cubes, half as much again from a size on, as where a cache ends."""
    return SIZES**3.0 * np.where(size <= SIZES, 1.5, 1)


NARROW = np.arange(500, 580, 10)
ODD = SIZES**3.0 * np.where(SIZES == 256, 1.5, 1)
EXACT = noisy(power(0), rounds=9, noise=1e-5)
LEANING = line(2, *np.random.default_rng(0).normal(0, 0.2, 9))
BEND = "more rounds do not help, one exponent does not describe the curve: local exponent"


@pytest.mark.parametrize(
    ("expected", "sizes", "times", "advice"),
    [
        (2, SIZES, EXACT * LEANING, r"noise dominates: take about \d+ rounds instead of 9"),
        (2, NARROW, noisy(power(2), sizes=NARROW), r".*spread the sizes over a factor of [\d.]+ instead of 1.14"),
        (2, SIZES, noisy(power(2.1), rounds=30), r"to tell 2\.\d+ from 2.1 takes more than 1000 rounds: choose .* margin"),
        (2, SIZES, noisy(power(2), rounds=1, noise=0.2), "without rounds noise cannot be told .*: .* at least 6 rounds"),
        (3, SIZES, EXACT * beyond(80), f"{BEND} 4.82 between 64 and 80; add sizes between and below"),
        (3.3, SIZES, EXACT * beyond(256), f"{BEND} 4.64 between 200 and 256; fit the sizes on either side apart, or .*"),
        (3, SIZES, EXACT * beyond(512), f"{BEND} 4.64 between 400 and 512; add sizes between and above"),
        (3, SIZES, EXACT * ODD, f"{BEND}s from 1.18 between 256 and 320 to 4.64 between 200 and 256; fit such sizes .*"),
    ],
    ids=["rounds that tilt", "narrow", "on the edge", "one round", "first step", "in the middle", "last step", "odd size"],
)
def test_an_open_verdict_says_what_would_close_it(expected, sizes, times, advice):
    fit = fit_scaling(sizes, times)

    assert fit.verdict(expected) == "inconclusive"
    assert re.fullmatch(advice, fit.advice(expected))


def test_the_representation_is_one_line_with_the_interval():
    assert repr(fit_scaling(SIZES, SIZES**3)) == "exponent 3.000 [3.000, 3.000] over 10 sizes, 64 to 512"


@pytest.mark.parametrize(
    ("sizes", "times", "words"),
    [
        *[(n, [1] * len(n), ("sizes must be at least 3 distinct numbers", "got")) for n in ([], [64, 128], [64, 64, 128])],
        *[([bad, 128, 256], [1, 2, 3], ("sizes must be above 0", f"got {bad}")) for bad in (0, -64, math.nan, math.inf)],
        ([0.5, 1, 2], [1, 2, 3], ("sizes must be whole numbers", "got 0.5")),
        *[([64, 128, 256], [1, bad, 3], ("times must be above 0",)) for bad in (0, -1, math.inf)],
        ([64, 128, 256], [[1, math.nan, 3], [1, math.nan, 3]], ("times must be above 0", "at least one for every size")),
        *[([64, 128, 256], t, ("times must have 3 columns", "got shape")) for t in ([1, 2], [], np.ones((2, 2, 3)))],
    ],
)
def test_what_no_line_can_be_fitted_to_is_refused(refused, sizes, times, words):
    with refused(SampleError, *words):
        fit_scaling(sizes, times)


@pytest.mark.parametrize("bad", [0, 1, 95])
def test_confidence_lies_between_zero_and_one(refused, bad):
    with refused(SampleError, "confidence must lie between 0 and 1", f"got {bad}"):
        fit_scaling(SIZES, SIZES**2, bad)


@pytest.mark.parametrize("bad", [0, -0.1, math.nan])
def test_a_margin_is_above_zero(refused, bad):
    with refused(SampleError, "margin must be above 0", f"got {bad}"):
        fit_scaling(SIZES, SIZES**2).advice(2, margin=bad)
