"""Growth that ends on the way out of a cache: judged where the data lie in one level, with the bytes that are known."""

import numpy as np
import pytest

from perflib import fit_scaling
from perflib.kernels.caches import Cache

CACHES = (Cache(1, "Data", 32 << 10), Cache(2, "Unified", 1 << 20))
SIZES = np.array([512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096, 6144, 8192])


def filled(n):
    return 12 * n


def leaving(rng, power=1.0, rounds=30):
    """A price that rises from 32 KiB on to 2.4 times at four times that, as from L1 to L2, and 25 units fixed."""
    beyond = np.clip(np.log(filled(SIZES) / (32 << 10)) / np.log(4), 0, 1)
    times = 25 + 0.058 * SIZES**power * 2.4**beyond
    return times * np.exp(0.01 * rng.standard_normal((rounds, len(SIZES))))


def fit(times, bytes=filled, caches=CACHES, **declared):
    return fit_scaling(SIZES, times, bytes=bytes, caches=caches, **declared)


@pytest.mark.parametrize("seed", range(5))
def test_a_rise_that_the_data_end_in_is_no_steeper_growth_where_the_bytes_are_known(seed):
    times = leaving(np.random.default_rng(seed))

    verdict = fit(times, work=1).verdict(1)

    assert fit(times, bytes=None, work=1).verdict(1) != "consistent"
    assert verdict == "consistent"
    assert "judged without n = 3072 to 8192, whose data leave a cache" in verdict.sentence


@pytest.mark.parametrize("seed", range(5))
def test_steeper_growth_stays_steeper_growth(seed):
    times = leaving(np.random.default_rng(seed), power=1.5)

    assert fit(times, work=1).verdict(1) == "inconsistent"


def test_a_bound_is_judged_in_the_same_way():
    times = leaving(np.random.default_rng(0))

    assert fit(times, bytes=None).verdict(at_most=1) == "inconsistent"
    assert fit(times).verdict(at_most=1) != "inconsistent"


STENCIL = np.array([64, 96, 128, 192, 256, 320, 384, 512, 768, 1024])
STENCIL_PRICES = np.array([1, 1.05, 1.024, 1.041, 1.031, 1.077, 1.113, 1.149, 1.602, 2.333])
"""Time per point of a stencil on two fields of float32: 64 x 64 points are about to leave L1, 320 x 320 are still in L2."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("power", "verdict"), [(2.0, "consistent"), (3.0, "inconsistent")])
def test_sizes_that_fit_into_one_cache_decide_where_no_level_has_enough(power, verdict, seed):
    times = 0.2 * STENCIL**power * STENCIL_PRICES * np.exp(0.01 * np.random.default_rng(seed).standard_normal((10, 10)))

    found = fit_scaling(STENCIL, times, work=2, bytes=lambda n: 8 * (n + 1) ** 2, caches=CACHES).verdict()

    assert found == verdict
    assert ("judged without n = 384 to 1024" in found.sentence) == (verdict == "consistent")


ELEMENTS = np.array(
    [64, 128, 256, 512, 640, 768, 1024, 1280, 1536, 2048, 3072, 4096, 6144, 8192, *(16384 << k for k in range(9))]
)
STANDARD, FAST = 1e-3 * np.array(
    [
        [1945, 1788, 973, 643, 647, 555, 532, 563, 649, 653, 769, 858]
        + [830, 808, 790, 787, 1223, 2282, 3347, 4613, 4888, 5308, 5796],
        [523, 385, 304, 271, 232, 233, 243, 235, 216, 267, 327, 334]
        + [346, 352, 349, 364, 464, 1074, 1626, 2029, 2533, 2570, 2564],
    ]
)
"""Time per element of two norms of float64, whose price rises from 0.75 MiB to 24 MiB on a guest with 2 MiB of L2."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prices", [STANDARD, FAST])
def test_a_long_way_from_one_level_to_the_next_decides_nothing(prices, seed):
    times = ELEMENTS * prices * np.exp(0.01 * np.random.default_rng(seed).standard_normal((12, len(ELEMENTS))))
    caches = (Cache(1, "Data", 48 << 10), Cache(2, "Unified", 2 << 20), Cache(3, "Unified", 300 << 20))

    found = fit_scaling(ELEMENTS, times, work="n", bytes=lambda n: 24 * n, caches=caches).verdict()

    assert found == "consistent"
    assert found.sentence.startswith("grows as n") and "64 to 32768" in found.sentence


MATMUL = np.array([64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512])
MATMUL_PRICES = np.array([1, 1.157, 1.18, 1.21, 1.354, 1.37, 1.482, 1.527, 1.654, 1.694, 1.763, 1.813, 4.408])
"""Time per multiplication of matmul_naive in the reference run."""


def test_a_price_that_rises_inside_a_cache_is_not_explained_by_leaving_it():
    whole = fit_scaling(MATMUL, MATMUL**3 * MATMUL_PRICES, work=3, bytes=lambda n: 12 * n**2, caches=CACHES)

    assert whole.verdict() == "inconsistent"
    assert whole.within_caches == ()


@pytest.mark.parametrize(
    ("caches", "bytes", "judged"),
    [
        (CACHES, filled, SIZES[:7]),
        (CACHES, lambda n: 24 * n, None),  # five sizes within a factor of 2.5
        (CACHES, lambda n: n, None),  # all in L1
        ((), filled, None),
        (CACHES[1:], lambda n: 12 * 128 * n, None),  # two levels, none with five sizes
    ],
)
def test_sizes_are_left_out_where_enough_remain(caches, bytes, judged):
    within = fit(leaving(np.random.default_rng(0)), bytes, caches).within_caches

    assert [one.sizes for one in within] == ([] if judged is None else [tuple(judged)])


def test_known_work_has_no_rival_that_hardly_differs():
    """n and n log n differ by a factor of 1.22 over 512 to 2048."""
    times = leaving(np.random.default_rng(1))[:, :7]

    assert fit_scaling(SIZES[:7], times).verdict("n") == "undecided"
    assert fit_scaling(SIZES[:7], times, work="n").verdict("n") == "consistent"


@pytest.mark.parametrize("power", [1.2, 1.3])
def test_a_clean_power_is_not_explained_by_leaving_a_cache(power):
    """Every size lies on it within a percent: nothing is left to explain."""
    times = SIZES**power * np.exp(0.01 * np.random.default_rng(0).standard_normal((15, len(SIZES))))

    assert fit(times, work=1).verdict(1) == fit(times, bytes=None, work=1).verdict(1) != "consistent"
