"""Why a step or an odd size is there: named where a model supports it, empty where none does."""

from dataclasses import dataclass, replace

import pytest
from runs import MACHINE

from perflib.kernels.caches import Cache
from perflib.scaling.fit import OddSize, Regime
from perflib.scaling.reasons import Layout, explain
from perflib.stats import Interval
from perflib.studies.layouts import layout_of

NOTHING = Layout()
CACHES = (Cache(1, "Data", 32 << 10, 64, 8, 64), Cache(2, "Unified", 1 << 20, 64, 8, 2048))
HERE = replace(MACHINE, caches=CACHES, isa=("avx2", "fma", "avx512f"))
SIZES = (64, 96, 128, 160, 192, 256, 320, 384, 512, 640)


@dataclass(frozen=True)
class Curve:
    """What `explain` reads of a fit."""

    sizes: tuple
    times_ns: tuple
    bytes: tuple | None
    regimes: tuple
    odd_sizes: tuple = ()


def regime(first, last, price):
    return Regime(first, last, Interval(price, price, price, 0.95), None, "")


def steps(*ends, sizes=SIZES, filled=lambda n: 12 * n * n):
    """A curve whose levels end at these sizes; each costs twice the one before."""
    firsts = [sizes[0], *(sizes[sizes.index(end) + 1] for end in ends)]
    levels = [regime(first, last, 2.0**k) for k, (first, last) in enumerate(zip(firsts, [*ends, sizes[-1]], strict=True))]
    return Curve(sizes, tuple(float(n) for n in sizes), filled and tuple(filled(n) for n in sizes), tuple(levels))


def odd(size, factor=1.6, sizes=SIZES, times=None, others=()):
    curve = steps(sizes=sizes)
    times = times or tuple(float(n) ** 3 for n in sizes)
    return replace(curve, times_ns=times, odd_sizes=tuple(OddSize(n, factor, "") for n in (size, *others)))


def reason(curve, layout=NOTHING, caches=CACHES):
    return explain(curve, caches, layout).odd_sizes[0].reason


def levels(curve, caches=CACHES, layout=NOTHING):
    return [one.reason for one in explain(curve, caches, layout).regimes]


def test_a_step_where_the_data_leave_a_cache_names_where_they_are_then():
    """12 n² bytes fill 32 KiB at n = 52 and 1 MiB at n = 296."""
    assert levels(steps(256)) == ["", "memory"]
    assert levels(steps(256), (*CACHES, Cache(3, "Unified", 1 << 30))) == ["", "L3"]


def test_each_of_two_steps_has_its_own_cache():
    sizes = (16, 24, 32, 48, 64, 128, 256, 320, 512, 640)

    assert levels(steps(48, 256, sizes=sizes)) == ["", "L2", "memory"]


def test_a_cache_explains_one_step_the_nearest():
    assert levels(steps(192, 256)) == ["", "", "memory"]


@pytest.mark.parametrize("end", [96, 128, 512])
def test_a_step_far_from_every_capacity_has_no_reason(end):
    assert levels(steps(end)) == ["", ""]


def test_without_bytes_or_caches_no_step_has_a_reason():
    assert levels(steps(256, filled=None)) == ["", ""]
    assert levels(steps(256), caches=()) == ["", ""]


def test_a_step_where_the_kernel_takes_another_way_says_which():
    layout = Layout(changes=((500, "B is packed"), (2000, "never reached")))

    assert levels(steps(384), layout=layout) == ["", "B is packed"]
    assert levels(steps(320), caches=(), layout=layout) == ["", ""]


@pytest.mark.parametrize("size", [256, 512])
def test_columns_of_a_tile_share_sets_at_large_powers_of_two(size):
    """64 rows of 1 KiB fall into four sets of 64, with eight ways each."""
    layout = layout_of("matmul_tiled", 4, HERE)

    assert reason(odd(size), layout) == "rows share sets of L1"


@pytest.mark.parametrize("size", [96, 128, 160, 320, 384])
def test_columns_of_a_tile_that_have_their_sets_are_no_reason(size):
    assert reason(odd(size), layout_of("matmul_tiled", 4, HERE)) == ""


def test_a_smaller_tile_has_its_sets():
    assert reason(odd(256), layout_of("matmul_tiled", 4, HERE, tile=32)) == ""


def test_a_column_of_512_rows_fills_the_colours_of_the_second_cache():
    """256 pages in 32 colours of eight ways; at 448 and 640 the rows begin at more places of a page."""
    sizes = (320, 384, 448, 512, 640)

    assert reason(odd(512, sizes=sizes), layout_of("matmul_naive", 4, HERE)) == "rows share sets of L2"
    assert reason(odd(448, sizes=sizes), layout_of("matmul_naive", 4, HERE)) == ""


def test_rows_that_share_sets_at_every_size_explain_none():
    sizes = (256, 512, 1024, 2048, 4096)

    assert reason(odd(1024, sizes=sizes), layout_of("matmul_tiled", 4, HERE)) == ""


def test_an_odd_neighbour_is_no_neighbour():
    sizes = (192, 256, 512, 640)

    assert reason(odd(512, sizes=sizes, others=(256,)), layout_of("matmul_tiled", 4, HERE)) == "rows share sets of L1"
    assert reason(odd(512, sizes=sizes), layout_of("matmul_tiled", 4, HERE)) == ""


@pytest.mark.parametrize(
    ("size", "factor", "masked", "words"),
    [
        (104, 1.5, False, "no multiple of 16"),
        (104, 3.0, False, ""),  # eight elements one by one do not cost so much
        (24, 1.4, True, "no multiple of 16"),
        (104, 1.5, True, ""),  # a masked step of seven costs a fifteenth
        (112, 1.5, False, ""),
    ],
)
def test_a_remainder_is_a_reason_where_it_costs_as_much(size, factor, masked, words):
    sizes = (16, 24, 32, 64, 96, 104, 112, 128)

    assert reason(odd(size, factor, sizes), Layout(tiles=(16,), masked=masked)) == words


def test_a_first_size_slower_than_the_second_holds_a_warm_up():
    times = (9e9, *(float(n) ** 3 for n in SIZES[1:]))

    assert reason(odd(64, 30.0, times=times)) == "the first size holds a warm-up"


def test_a_first_size_that_is_odd_and_faster_than_the_second_has_no_reason():
    assert reason(odd(64, 1.4)) == ""


def test_nothing_else_of_the_fit_changes():
    curve = odd(256)

    same = replace(explain(curve, CACHES, layout_of("matmul_tiled", 4, HERE)), odd_sizes=curve.odd_sizes)
    assert same == curve


def test_the_kernels_say_what_they_do():
    assert layout_of("matmul", 4, HERE).changes == ((pytest.approx((3 * 2**20 / 4) ** 0.5), "B is packed"),)
    assert layout_of("matmul_packed", 8, HERE).tiles == (8,)
    assert layout_of("somebody's", 4, HERE) == Layout()
