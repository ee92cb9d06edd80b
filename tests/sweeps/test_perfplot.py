"""What perfplot is shown with, in fewer lines: results compared, intervals, and the fastest one where it is clear."""

import functools
import operator

import numpy as np
import pytest
from runs import isolate

from perflib.sweeps.sweep import sweep

BRIEF = {"budget_s": 0.5, "progress": False}


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def random(n, rng):
    return rng.random(n)


def fraction(n, rng):
    return list(rng.random(n))


def words(n):
    return [str(i) for i in range(n)]


def add_up(parts):
    text = ""
    for part in parts:
        text = part + text  # in front: behind it CPython extends the text where it is
    return text


STACKING_LINES, SORTING_LINES = 14, 10  # of the same call of perfplot.show, as its README lays it out
STACKING_HERE = """
versions = {
    "c_": lambda a: np.c_[a, a],
    "stack": lambda a: np.stack([a, a]).T,
    "vstack": lambda a: np.vstack([a, a]).T,
    "column_stack": lambda a: np.column_stack([a, a]),
    "concat": lambda a: np.concatenate([a[:, None], a[:, None]], axis=1),
}
s = sweep(versions, [2**k for k in range(0, 13, 4)], make=lambda n, rng: rng.random(n), **BRIEF)
"""
SORTING_HERE = """
kinds = ["quicksort", "mergesort", "heapsort"]
s = sweep({"sort": np.sort}, [16, 256, 4096], make=lambda n, rng: rng.random(n), kind=kinds, **BRIEF)
"""


def ran(program):
    """What `s` is after this program."""
    names = {"np": np, "sweep": sweep, "BRIEF": BRIEF}
    exec(compile(program, "<perfplot>", "exec"), names)
    return names["s"]


def lines(program):
    return [line for line in program.splitlines() if line]


def fastest(s, n):
    """Name of the function that all others are surely slower than at a size; None where intervals overlap."""
    points = sorted((point for point in s.points if point.n == n), key=lambda point: point.time_ns.value)
    return points[0].curve if all(points[0].time_ns.high < other.time_ns.low for other in points[1:]) else None


def check(s, curves, sizes):
    """A time with an interval for every curve at every size, a speed-up of all but the first, a sentence for each."""
    assert list(s.curves) == curves
    assert sorted({point.n for point in s.points}) == sizes
    assert all(point.time_ns.low <= point.time_ns.value <= point.time_ns.high for point in s.points)
    assert len(s.points) == len(curves) * len(sizes)
    assert all(curve in str(s.growth()) for curve in curves)
    assert s.plot().png[:4] == b"\x89PNG"


def test_stacking_arrays_takes_fewer_lines_and_is_compared(recwarn):
    s = ran(STACKING_HERE)

    assert len(lines(STACKING_HERE)) < STACKING_LINES
    check(s, ["c_", "stack", "vstack", "column_stack", "concat"], [1, 16, 256, 4096])
    assert not [one for one in recwarn if "different results" in str(one.message)]
    slow = {point.n: point for point in s.points if point.function == "c_"}
    quick = {point.n: point for point in s.points if point.function == "concat"}
    assert all(quick[n].time_ns.high < slow[n].time_ns.low for n in (1, 16)), "c_ works in Python"
    assert all(quick[n].speed_up.low > 1 for n in (1, 16))


def test_kinds_of_sorting_are_an_axis(recwarn):
    s = ran(SORTING_HERE)

    assert len(lines(SORTING_HERE)) < SORTING_LINES / 4
    check(s, [f"sort, kind={kind}" for kind in ("quicksort", "mergesort", "heapsort")], [16, 256, 4096])
    assert not [one for one in recwarn if "different results" in str(one.message)]


def test_sorting_a_list_here_and_in_numpy():
    versions = {"sorted": sorted, "in place": lambda x: x.sort(), "numpy": lambda x: np.sort(np.asarray(x))}

    s = sweep(versions, [100, 10_000], make=fraction, **BRIEF)

    check(s, list(versions), [100, 10_000])
    assert s.notes == ("every run works on arguments of its own, drawn by make, because in place changes them",)


def test_joining_strings():
    versions = {
        "join": "".join,
        "in front": lambda x: add_up(x[::-1]),
        "reduce": lambda x: functools.reduce(operator.add, x),
    }

    s = sweep(versions, [10, 100, 10_000], make=words, **BRIEF)

    check(s, list(versions), [10, 100, 10_000])
    assert fastest(s, 10_000) == "join"
    assert all(point.speed_up.high < 1 for point in s.points if point.n == 10_000 and point.function == "in front")


def test_versions_that_do_not_compute_the_same_are_named_where_perfplot_needs_to_be_told():
    with pytest.warns(UserWarning, match="stack and transposed return different results at n = 3, 9"):
        s = sweep(
            {"stack": lambda a: np.stack([a, a]).T, "transposed": lambda a: np.stack([a, a])}, [3, 9], make=random, **BRIEF
        )

    assert "different results" in str(s)
