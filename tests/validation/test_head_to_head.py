"""Contests: everything checked first, all in the same rounds, and ratios that are above 1 where the first side wins."""

from functools import partial

import numpy as np
import pytest

from perflib.kernels import Kernel, WrongResult, find
from perflib.runs.grid import GridPoint
from perflib.validation import head_to_head as program
from perflib.validation.head_to_head import Row, of_shape, run_head_to_head, side_by_side


@pytest.fixture
def fight(hand_clock):
    """A contest on the hand-driven clock."""
    return partial(run_head_to_head, budget_s=0.1, clock=hand_clock)


@pytest.fixture
def cell(simulated):
    """A cell that takes so many nanoseconds."""

    def make(name, cost_ns, n=64, **changes):
        work = {"make": lambda n, dtype, rng: (n,), "flops": lambda n: n, "bytes": lambda n, itemsize: n}
        return GridPoint(Kernel(name, simulated(cost_ns, name), **work, **changes), n, "call")

    return make


def about(value):
    return pytest.approx(value, rel=1e-3)


def test_who_takes_half_the_time_is_twice_as_fast(fight, cell):
    ours, peer = cell("ours", 1000), cell("peer", 2000)

    found = fight([ours, peer])

    speed = found.speed(ours, peer)
    assert (speed.low, speed.value, speed.high) == (about(2), about(2), about(2))
    assert found.speed(ours, peer, work=0.25).value == about(0.5), "a quarter of the work in half the time"


def test_the_fastest_is_who_does_most_of_its_work_in_a_nanosecond(fight, cell):
    cells = [cell("slow", 3000, 64), cell("quick", 2000, 64), cell("large", 4000, 256)]

    found = fight(cells)

    assert found.fastest(cells).kernel.name == "quick"
    assert found.fastest(cells, lambda cell: cell.n).kernel.name == "large"


def test_cycles_are_counted_by_the_canary_of_the_same_round(fight, cell):
    """Its step takes 2 ns and six cycles, so a nanosecond is three."""
    ours = cell("ours", 1000)

    found = fight([ours, cell("peer", 1000)])

    assert found.share_of(300, ours).value == about(0.1)


def test_a_row_says_who_met_whom_where(fight, cell):
    ours, peer = cell("ours", 1000), cell("peer", 2000)
    found = fight([ours, peer], threads=2)

    row = found.row("what", ours, peer, found.speed(ours, peer))
    limit = found.row("what", ours, "a limit", found.speed(ours, peer), "3x4x5")

    assert row == Row("what", "ours", "peer", 64, "float32", 2, about(2), about(2), about(2))
    assert (limit.peer, limit.n) == ("a limit", "3x4x5")


def test_rounds_go_on_until_every_pair_that_counts_is_narrow(monkeypatch, fight, cell):
    asked = []

    def take(cases, budget_s, intervals, *_):
        class Narrow:
            @staticmethod
            def ratio(over, under):
                asked.append((over.split()[0], under.split()[0]))

        intervals(Narrow)

    monkeypatch.setattr(program, "take", take)
    cells = [cell(name, 1000) for name in ("a", "b", "c")]

    fight(cells)
    fight(cells, pairs=[(cells[2].label, cells[1].label)])

    assert asked == [("b", "a"), ("c", "a"), ("c", "b")]


def test_a_wrong_result_is_refused_before_anything_is_timed(monkeypatch, refused):
    monkeypatch.setattr(program, "take", lambda *_: pytest.fail("timed"))
    wrong = Kernel(**{**vars(find("numpy_matmul")), "name": "wrong", "call": lambda a, b, out: out.fill(1)})

    with refused(WrongResult, "wrong", "within its bound"):
        run_head_to_head([GridPoint(find("numpy_matmul"), 8, "call"), GridPoint(wrong, 8, "call")], 0.1)


def test_matrices_of_any_shape_start_on_a_cache_line():
    arrays = of_shape(3, 5, 7)(0, "float64", np.random.default_rng(0))

    assert [a.shape for a in arrays] == [(3, 5), (5, 7), (3, 7)]
    assert all(a.ctypes.data % 64 == 0 and a.dtype == np.float64 for a in arrays)


@pytest.mark.parametrize("n", [512, 1024, 2048])
def test_arrays_that_lie_side_by_side_start_at_different_places_of_a_page(n):
    x, weight, eps, out = side_by_side(n, "float32", np.random.default_rng(0), rows=1)

    assert (x.shape, weight.shape, out.shape, eps) == ((1, n), (n,), (1, n), 1e-5)
    places = {a.ctypes.data % 4096 for a in (x, weight, out)}
    assert len(places) == 3
    assert all(place % 64 == 0 for place in places)
    assert all(a.flags.c_contiguous for a in (x, weight, out))
