"""Three verdicts, each where it belongs, with a sentence and with advice where something is missing."""

import re

import numpy as np
import pytest

from perflib import fit_scaling
from perflib.errors import SampleError
from perflib.kernels.caches import Cache
from perflib.scaling.classes import power
from perflib.scaling.cost_model import Data
from perflib.scaling.verdict import FEWEST, is_flat

CACHES = tuple(Cache(level + 1, "Data", size << 10) for level, size in enumerate((32, 1024, 32768)))
SIZES = np.geomspace(16, 16_000, 16).round()


def noisy(times, seed=0, rounds=9, noise=0.02):
    """Rounds x sizes around exact times."""
    return np.asarray(times) * np.exp(noise * np.random.default_rng(seed).standard_normal((rounds, len(times))))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("1", lambda n: n**0),
        ("log n", np.log),
        ("√n", np.sqrt),
        ("n", lambda n: n),
        ("n log n", lambda n: n * np.log(n)),
        ("n^1.5", lambda n: n**1.5),
        ("n²", lambda n: n**2),
        ("n^2.81", lambda n: n**2.81),
        ("n³", lambda n: n**3),
    ],
)
def test_every_class_is_told_from_every_other(name, work, seed):
    fit = fit_scaling(SIZES, noisy(100 * work(SIZES), seed))

    assert fit.verdict(name) == "consistent"
    assert not [other.name for other in fit.classes() if other.name != name and fit.verdict(other.name) == "consistent"]


@pytest.mark.parametrize("seed", range(5))
def test_lower_order_work_does_not_speak_against_a_class(seed):
    times = SIZES**3 * (1 + 0.75 * SIZES[0] / SIZES)

    assert fit_scaling(SIZES, noisy(times, seed)).verdict(3) == "consistent"


def test_a_power_between_the_classes_is_none_of_them():
    fit = fit_scaling(SIZES, noisy(SIZES**2.4))

    assert fit.verdict(2.4) == "consistent"
    assert fit.verdict(2) == fit.verdict(3) == fit.verdict("n² log n") == "inconsistent"
    assert "n^2.4" in fit.verdict(2).sentence


def test_a_number_that_differs_by_little_over_the_sizes_is_consistent_too():
    fit = fit_scaling(SIZES, noisy(SIZES**3))

    assert fit.verdict(3.01) == "consistent"
    assert fit.verdict(3.3) == "inconsistent"


def test_a_function_is_judged_as_its_class_is():
    fit = fit_scaling(SIZES, noisy(SIZES * np.log(SIZES)))

    assert fit.verdict(lambda n: n * np.log(n) + n / 10) == "consistent"
    assert fit.verdict(lambda n: n**2) == "inconsistent"


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [(1, "inconsistent"), (1.9, "inconsistent"), (2, "consistent"), (3, "consistent"), ("2^n", "consistent")],
)
def test_an_upper_bound_minds_faster_growth_alone(bound, verdict):
    fit = fit_scaling(SIZES, noisy(SIZES**2))

    assert fit.verdict(at_most=bound) == verdict


@pytest.mark.parametrize(
    ("sizes", "advice"),
    [
        ([100, 200, 400, 800], "measure 24 sizes or more between 100 and 2400 instead of 4 up to 800, and take 6 rounds"),
        ([100, 150, 200, 225, 250, 275], "measure 24 sizes or more between 100 and 1000 instead of 6 up to 275"),
        (np.linspace(100, 290, 14), "measure 14 sizes or more between 100 and 2900 instead of 14 up to 290"),
    ],
)
def test_too_few_sizes_are_never_consistent_and_are_told_what_to_add(sizes, advice):
    sizes = np.array(sizes, dtype=float)

    verdict = fit_scaling(sizes, sizes**2).verdict(2)

    assert verdict == "undecided"
    assert advice in verdict.advice


def test_five_sizes_may_be_enough():
    sizes = np.array([8192, 16384, 32768, 65536, 131072])

    assert len(sizes) == FEWEST
    assert fit_scaling(sizes, [12.502, 24.96, 50.372, 99.035, 202.137]).verdict(1) == "consistent"


def test_an_open_verdict_names_the_rival():
    sizes = np.geomspace(1000, 6000, 7)

    verdict = fit_scaling(sizes, noisy(sizes, noise=0.05, rounds=3)).verdict("n")

    assert verdict == "undecided"
    assert "n log n" in verdict.sentence
    assert "6 rounds or more instead of 3" in verdict.advice


@pytest.mark.parametrize(
    ("count", "first", "last", "rounds", "advice"),
    [
        (8, 10, 20, 9, "measure 12 sizes or more between 10 and 100 instead of 8"),
        (8, 10, 1000, 9, "measure 12 sizes or more between 10 and 1000 instead of 8"),
        (12, 10, 99, 9, "spread the sizes up to 100"),
        (12, 10, 100, 9, "add sizes above 100, or twice as many between 10 and 100"),
        (12, 10, 99, 5, "spread the sizes up to 100, and take 6 rounds or more instead of 5"),
        (12, 10, 100, 6, "add sizes above 100, or twice as many between 10 and 100"),
    ],
)
def test_a_curve_that_no_growth_describes_wants_what_it_lacks(count, first, last, rounds, advice):
    sizes = np.geomspace(first, last, count)
    jumps = np.exp(0.6 * np.sin(1.7 * np.arange(count)))

    verdict = fit_scaling(sizes, noisy(1000 * sizes * jumps, rounds=rounds)).verdict(1)

    assert "follows no growth" in verdict.sentence
    assert verdict.advice == advice


def test_a_rival_that_fits_closer_must_be_worse_by_more_than_its_structure_costs():
    """ladder-046: n^2.81 describes it within the smaller model error, n³ with fewer parts."""
    sizes = [8, 10, 12, 16, 20, 24, 32, 40, 48, 56, 64]
    us = [133.83, 229.69, 351.17, 799.12, 1660, 2212, 5548.7, 11963, 19916, 30737, 44797]

    fit = fit_scaling(sizes, 1000 * np.array(us))

    assert fit.verdict("n³") == "undecided"
    assert "or n^2.81:" in fit.verdict("n³").sentence
    assert fit.verdict("n") == "inconsistent"


def test_what_no_growth_describes_is_undecided():
    rng = np.random.default_rng(1)
    times = SIZES * np.exp(0.4 * rng.standard_normal(len(SIZES)))

    verdict = fit_scaling(SIZES, times).verdict(1)

    assert verdict == "undecided"
    assert "follows no growth: neighbouring sizes differ by " in verdict.sentence


def test_three_sizes_are_judged_too():
    assert fit_scaling([10, 100, 1000], [10, 1e4, 1e9]).verdict("n") in ("undecided", "inconsistent")


@pytest.mark.parametrize("seed", range(4))
def test_who_follows_the_advice_gets_a_verdict(seed):
    """n log n with a fixed cost; the advice names as many sizes and as wide a range as tell it from n."""

    def times(sizes):
        return noisy(400 + sizes * np.log(sizes), seed, 9, 0.02)

    few = np.geomspace(40, 160, 6)
    verdict = fit_scaling(few, times(few)).verdict("n log n")
    count, first, last = map(float, re.findall(r"[0-9.]+", verdict.advice)[:3])
    sizes = np.geomspace(first, last, int(count))

    assert verdict == "undecided"
    assert fit_scaling(sizes, times(sizes)).verdict("n log n") == "consistent"


def test_where_no_sizes_would_decide_the_advice_says_so():
    sizes = np.geomspace(100, 400, 6)

    verdict = fit_scaling(sizes, noisy(sizes, noise=0.2)).verdict("n log n")

    assert verdict == "undecided"
    assert "stay alike even over 24 sizes up to 4000: count operations instead of time" in verdict.advice


def test_a_decided_verdict_needs_no_advice():
    assert fit_scaling(SIZES, noisy(SIZES**2)).verdict(2).advice == ""


def test_classes_are_ranked_and_say_which_are_the_same():
    sizes = np.geomspace(1000, 6000, 7)
    clear, open_ = (
        fit_scaling(SIZES, noisy(SIZES)).classes(),
        fit_scaling(sizes, noisy(sizes, noise=0.05, rounds=3)).classes(),
    )

    assert clear[0].name == "n"
    assert (clear[0].fits, clear[0].same_as) == (True, ())
    assert not any(growth.fits for growth in clear[1:])
    assert [growth.distance for growth in clear] == sorted(growth.distance for growth in clear)
    assert {growth.name: growth.same_as for growth in open_}["n"] == ("n log n",)
    assert repr(clear[0]).startswith("n: fits (")
    assert "does not fit" in repr(clear[-1])


def test_a_verdict_needs_one_question(refused):
    fit = fit_scaling(SIZES, SIZES)

    with refused(SampleError, "the expected growth is missing"):
        fit.verdict()
    with refused(SampleError, "not both"):
        fit.verdict(2, at_most=3)


def test_a_level_that_begins_with_the_last_sizes_rejects_nothing():
    """rms_norm_fast of the reference run, ps per element: the last three sizes are on their way to L2's price."""
    sizes = np.array([512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096, 6144, 8192])
    price = np.array([108.0, 97.1, 91.5, 82.3, 77.1, 74.5, 70.4, 71.5, 112.1, 127.3, 138.6])

    verdict = fit_scaling(sizes, noisy(sizes * price / 1000, rounds=30)).verdict("n")

    assert verdict != "inconsistent"
    assert "add three sizes or more between 8192 and 32768" in verdict.advice or verdict == "consistent"


@pytest.mark.parametrize("dip", [0.0, 0.02])
@pytest.mark.parametrize("seed", range(3))
def test_a_price_that_rises_all_the_way_is_steeper_growth(seed, dip):
    """One size that takes a little longer than the next one is no level."""
    sizes = np.round(np.geomspace(64, 512, 13))
    drift = np.cumsum(np.random.default_rng(seed).uniform(0.02, 0.09, 13))
    drift[8] = drift[9] + dip if dip else drift[8]

    verdict = fit_scaling(sizes, noisy(sizes**3 * np.exp(drift), seed, 30, 0.005)).verdict(3)

    assert verdict == "inconsistent"
    assert "n³" in verdict.sentence


def test_known_work_of_one_price_is_consistent_whatever_else_fits():
    """Times of a sort of n lists (ladder-060): n² fits them too, whose prices per n² differ by more than 1.3."""
    sizes = np.array([32, 48, 64, 96, 128, 192, 256])
    times = 1e6 * np.array([5.0372, 10.767, 22.423, 49.559, 101.6, 223.83, 449.45])

    assert fit_scaling(sizes, times).verdict("n² log n") == "undecided"
    assert fit_scaling(sizes, times, work="n² log n").verdict() == "consistent"


PRODUCT = np.array(
    [16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 513, 640, 768, 1024, 1536, 2048]
)
LIBRARY, OURS = np.array(
    [
        [310.6, 104.8, 50.8, 23.1, 17.2, 14.6, 13.2, 12.9, 12.4, 12.3, 13.2, 12.9]
        + [12.8, 13.1, 14.8, 15.2, 14.5, 15.1, 14.2, 13.5, 12.9, 12.5, 12.5],
        [30.4, 23.9, 15.9, 15.1, 15.2, 15.0, 13.8, 14.6, 14.2, 13.2, 13.0, 12.9]
        + [12.9, 13.0, 13.9, 15.3, 15.0, 15.6, 15.2, 15.1, 14.9, 14.0, 13.5],
    ]
)
"""Time per n³ of two multiplications: n^2.81 with levels of price that rise as n^0.19 describes them as well."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prices", [LIBRARY, OURS])
def test_known_work_of_one_price_over_a_decade_is_consistent_beside_a_fixed_cost(prices, seed):
    times = noisy(PRODUCT**3 * prices, seed, 12, 0.01)

    assert fit_scaling(PRODUCT, times).verdict(3) != "inconsistent"
    assert fit_scaling(PRODUCT, times, work=3).verdict() == "consistent"
    assert fit_scaling(PRODUCT, times * PRODUCT**0.5, work=3).verdict() != "consistent"
    assert fit_scaling(PRODUCT, times / PRODUCT**0.5, work=3).verdict() != "consistent"


@pytest.mark.parametrize(("sizes", "dear"), [(PRODUCT[-10:], 1.0), (PRODUCT, 0.25)])
def test_one_price_over_the_last_sizes_says_nothing_over_less_than_a_decade_or_where_the_first_cost_less(sizes, dear):
    prices = np.concatenate([[2 * dear, 2 * dear], np.ones(len(sizes) - 2)])
    data = Data(sizes, sizes**3.0 * prices, np.full(len(sizes), 1e-4))

    assert not is_flat(data, power(3.0))
    assert is_flat(Data(PRODUCT, PRODUCT**3.0 * np.where(PRODUCT < 32, 2.0, 1.0), np.full(23, 1e-4)), power(3.0))


NORM = np.array([64, 128, 256, 512, 640, 768, 1024, 1280, 6144, 8192, 16384, 32768, 262144, 524288, 1048576])
NORM_PRICES = np.array(
    [0.69, 0.394, 0.26, 0.185, 0.175, 0.166, 0.16, 0.156, 0.29, 0.287, 0.288, 0.301, 0.427, 0.504, 0.928]
)
"""Time per element of a norm of float64 in the reference run, where its data are not leaving a cache."""


@pytest.mark.parametrize("seed", range(3))
def test_counted_work_stands_beside_a_growth_that_describes_the_times_as_well(seed):
    times = noisy(300 * NORM * NORM_PRICES, seed, 30, 0.003)
    counted = {"work": "n", "bytes": lambda n: 24 * n, "caches": CACHES}

    assert fit_scaling(NORM, times, work="n").verdict() == "undecided"
    assert fit_scaling(NORM, times, **counted).verdict() == "consistent"
    assert fit_scaling(NORM, times * NORM**0.5, **counted).verdict() == "inconsistent"


def test_a_fixed_cost_may_hide_how_counted_work_grows():
    sizes = np.array([512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096, 6144, 8192])
    times = noisy(10_000 + 0.3 * sizes, 0, 30, 0.01)

    verdict = fit_scaling(sizes, times, work="n", bytes=lambda n: 12 * n, caches=CACHES).verdict()

    assert verdict == "undecided"
    assert "takes 1.22 times as long over 512 to 8192: a fixed cost hides" in verdict.sentence
    assert verdict.advice == "add sizes between 8192 and 81920"
    assert fit_scaling(sizes, noisy(sizes**0), work="1", bytes=lambda n: 12 * n, caches=CACHES).verdict() == "consistent"


def test_work_of_lower_order_that_hides_a_growth_leaves_it_undecided():
    sizes = np.array([50, 70, 100, 140, 200, 280, 400, 560, 800])
    verdict = fit_scaling(sizes, noisy(sizes**3.0 + 1000 * sizes**2.0)).verdict(3)

    assert verdict == "undecided"
    assert "so far" in verdict.sentence
    assert "800 and 8000" in verdict.advice
    assert fit_scaling(sizes, noisy(sizes**2.0)).verdict(3) == "inconsistent"


def test_doubling_work_is_told_over_few_sizes():
    sizes = np.arange(10, 22)
    fit = fit_scaling(sizes, noisy(2.0**sizes))

    assert fit.verdict("2ⁿ") == "consistent"
    assert fit.verdict(3) == "inconsistent"
