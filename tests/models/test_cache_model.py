"""Tiles that a cache holds, counted by hand and line by line; what they cost; pages of chance colours."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as some

from perflib.kernels.caches import Cache
from perflib.models.cache_model import colour_misses, crowded_rows, model_tile, tile_cost, tile_limit, tile_misses

CACHE = Cache(1, "Data", 48 << 10, line_bytes=64, ways=12, sets=64)  # 64 sets: a stride of 4 KiB meets the same set
SECOND = Cache(2, "Unified", 2 << 20, line_bytes=64, ways=16, sets=2048)


@pytest.mark.parametrize(
    ("n", "limit"),
    [
        (1024, 11),  # every row begins in the same set: one way each, one of twelve stays free
        (512, 22),  # rows alternate between two sets
        (256, 44),  # among four: each set takes every fourth row, 11 of 44
        (1040, 80),  # one line further each row: 80 rows of 5 lines put at most 10 in a set, 81 of 6 lines put 12
    ],
)
def test_a_tile_counted_by_hand(n, limit):
    assert tile_limit(n, 4, CACHE) == limit


def test_elements_twice_as_long_meet_twice_as_often():
    assert tile_limit(512, 8, CACHE) == tile_limit(1024, 4, CACHE) == 11


def test_unknown_ways_count_as_fully_associative():
    """32 KiB are 512 lines, one stays free: 85 rows of 6 lines are 510, 86 would be 516."""
    assert tile_limit(1024, 4, Cache(1, "Data", 32 << 10)) == 85


def test_a_direct_mapped_cache_has_no_way_to_leave_free():
    """64 sets of one line: a row of a tile in each of them; at a stride of all sets, a single one."""
    direct = Cache(1, "Data", 4096, line_bytes=64, ways=1)

    assert tile_limit(1024, 4, direct) == 1
    assert tile_limit(1040, 4, direct) == 16


def test_the_smallest_leading_dimension_is_limited_by_capacity_alone():
    assert tile_limit(1, 4, CACHE) == 110  # 110 x 110 x 4 bytes are below 48 KiB


@given(n=some.integers(40, 2000), itemsize=some.sampled_from([4, 8]), ways=some.integers(1, 6))
def test_a_tile_counted_line_by_line(n, itemsize, ways):
    small = Cache(1, "Data", 16 * 64 * ways, line_bytes=64, ways=ways)

    assert tile_limit(n, itemsize, small) == reference.tile_limit(n, itemsize, small.size_bytes, 64, ways)


@given(n=some.integers(1, 3000), sets=some.sampled_from([8, 16, 64]))
def test_more_ways_hold_no_smaller_tile(n, sets):
    limits = [tile_limit(n, 4, Cache(1, "Data", sets * 64 * ways, 64, ways)) for ways in (1, 2, 4, 8)]

    assert limits == sorted(limits)


@pytest.mark.parametrize("n", [0, -1])
def test_a_size_below_one_is_refused(refused, n):
    with refused(ValueError, "n must be", f"{n}"):
        tile_limit(n, 4, CACHE)
    with refused(ValueError, "n must be", f"{n}"):
        model_tile(n, 4, [CACHE])


@pytest.mark.parametrize(
    ("n", "tile", "misses"),
    [
        (1024, 8, (1 / 8) / 8),  # 8 rows of half a line: all stay, and come once per tile
        (1024, 12, (2 / 64 + 62 / 64 / 12) / 12),  # 12 just fit into 12 ways: all are gone where A or C passes
        (1024, 13, 1),  # 13 lines of a column in 12 ways: every one is gone when it is needed again
        (512, 26, 1),  # two sets with 13 lines each
        (1040, 64, (1 / 64) / 16),
    ],
)
def test_misses_of_a_tile_by_hand(n, tile, misses):
    assert tile_misses(n, tile, 4, CACHE) == pytest.approx(misses)


def test_a_tile_costs_its_multiply_add_the_starts_of_its_loops_and_its_misses():
    assert tile_cost(1040, 64, 4, []) == 1 + 4 * 17 / 1040  # 16 whole tiles and one of 16 columns
    near, far = tile_misses(1040, 64, 4, CACHE), tile_misses(1040, 64, 4, SECOND)
    assert tile_cost(1040, 64, 4, [CACHE, SECOND, SECOND]) == pytest.approx(1 + 4 * 17 / 1040 + 3.5 * near + 12.5 * far)


@pytest.mark.parametrize(
    ("caches", "n", "tile"),
    [
        ([CACHE, SECOND], 1024, 12),
        ([CACHE, SECOND], 512, 24),
        ([CACHE, SECOND], 1040, 96),
        ([Cache(1, "Data", 32 << 10, 64, 8), Cache(2, "Unified", 1 << 20, 64, 8)], 1024, 8),
        ([], 1024, 192),  # without caches nothing speaks against the longest loops
        ([CACHE], 5, 5),
        ([CACHE], 1, 1),
        ([], 96, 48),  # two starts per row like 64: the smaller of equals
    ],
)
def test_the_cheapest_tile(caches, n, tile):
    found = model_tile(n, 4, caches) if n != 96 else model_tile(n, 4, caches, (32, 48, 64))

    assert found == tile


def test_pages_of_chance_colours_miss_as_published():
    """2 MiB 16-way, 4 KiB pages: 32 colours."""
    shares = [100 * colour_misses(int(mib * 2**20), SECOND) for mib in (1, 1.25, 1.5, 1.75, 2, 2.5)]

    assert shares == pytest.approx([0.7, 4.5, 15, 33, 53, 85], rel=0.02)


def test_pages_of_chance_colours_miss_as_simulated():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 32, (2000, 448))  # 1.75 MiB in 4 KiB pages
    crowds = np.apply_along_axis(np.bincount, 1, colours, minlength=32)

    simulated = (crowds * (crowds > 16)).sum() / colours.size
    assert colour_misses(448 * 4096, SECOND) == pytest.approx(simulated, rel=0.02)


def test_a_single_colour_is_a_step_and_nothing_misses_nowhere():
    """Pages of 2 MiB cover all sets: 8 of them in 8 ways."""
    cache = Cache(2, "Unified", 16 << 20, 64, 8)

    assert [colour_misses(size << 20, cache, 2 << 20) for size in (1, 16, 18)] == [0, 0, 1]


@pytest.mark.parametrize(("row_bytes", "rows", "share"), [(1024, 64, 1), (1280, 64, 0), (512, 64, 0), (512, 65, 9 / 65)])
def test_rows_that_crowd_counted_by_hand(row_bytes, rows, share):
    """64 sets of eight ways: rows of 1 KiB fall into four of them, of 512 bytes into eight, of 1280 into sixteen."""
    assert crowded_rows(row_bytes, rows, Cache(1, "Data", 32 << 10, 64, 8)) == pytest.approx(share)


def test_rows_on_pages_of_chance_colours_crowd_as_simulated():
    """512 rows of 2 KiB, two on a page, 32 colours of eight ways."""
    rng, shares = np.random.default_rng(0), []
    for _ in range(200):
        colour = rng.integers(0, 32, 256)
        lines = np.array([colour[row // 2] * 64 + row % 2 * 32 for row in range(512)])
        by_set = np.bincount(lines, minlength=2048)
        shares.append((by_set[lines] > 8).mean())

    assert crowded_rows(2048, 512, Cache(2, "Unified", 1 << 20, 64, 8)) == pytest.approx(np.mean(shares), abs=0.02)


@pytest.mark.parametrize(("row_bytes", "rows"), [(0, 8), (8, 0), (1.5, 8)])
def test_rows_that_cannot_be_are_refused(refused, row_bytes, rows):
    with refused(ValueError if row_bytes != 1.5 else TypeError, "must be"):
        crowded_rows(row_bytes, rows, Cache(1, "Data", 32 << 10, 64, 8))
