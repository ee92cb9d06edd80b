"""The study of timing, from runs whose times are known."""

import numpy as np
import pytest
from runs import told
from synthetic import record
from tables import rows

from perflib.runs.grid import checked_case
from perflib.studies import timing
from perflib.studies.timing import self_ratios


def test_a_kernel_is_compared_with_itself_once_per_block(run):
    found = self_ratios(run)

    assert len(found) == 3
    assert all(r.value == pytest.approx(1, abs=0.02) for r in found)


def test_the_clock_table_shows_step_and_costs(run):
    shown = rows(timing.clock_table(run))

    assert shown["smallest step of the clock"] == ("40",)
    assert shown["Timer: start and elapsed"] == ("200 [200, 200]",)


def test_the_difference_of_the_scopes_is_dispatch(run):
    kernel, call, difference, factor = rows(timing.scope_table(run))["512"]

    assert float(kernel.split()[0]) == pytest.approx(64, rel=0.02)
    assert float(difference) == pytest.approx(500, rel=0.03)
    assert float(factor) == pytest.approx(564 / 64, rel=0.05)


def test_the_harnesses_stand_in_reading_order_each_with_what_it_reports(run):
    shown = [row[:4] for row in timing.harness_table(run).rows]

    assert shown == [
        ("timeit 3.11.0", "warmed", "call", "best 292"),
        ("timeit 3.11.0", "compiles", "call", "best 581"),
        ("pytest-benchmark 5.3.1", "warmed", "call", "mean 444, median 421"),
        ("perflib 0.1.0", "compiles", "kernel", "median 59.5 [59.0, 60.1]"),
        ("perflib 0.1.0", "compiles", "call", "median 239 [234, 247]"),
    ]


def test_a_harness_tells_how_many_runs_it_took_and_how_long(run):
    warmed, compiles = (row[4:] for row in timing.harness_table(run).rows[:2])

    assert (warmed, compiles) == (("1000", "5", "3.0"), ("1", "5", "3.0"))


def test_a_mean_stands_beside_its_deviation(data):
    both = [
        told("pyperf, warmed", name, harness="pyperf", reported_ps=ps) for name, ps in (("mean", 309_000), ("std", 52_700))
    ]
    table = timing.harness_table(record(("harness", "pyperf, warmed", both)))

    assert table.rows[0][3] == "mean 309 ± 52.7"


def test_places_are_told_apart_by_line_boundaries_and_by_what_lies_close_behind(run):
    shown = [row[1:] for row in timing.place_table(run).rows]

    assert [int(places) for places, _, _ in shown] == [3, 1, 3, 1]
    aligned, behind, off, both = (float(median) for _, median, _ in shown)
    assert aligned == pytest.approx(141, abs=4)
    assert behind == pytest.approx(213, abs=5)
    assert off == pytest.approx(171, abs=4)
    assert both == pytest.approx(258, abs=5)


def test_the_figure_of_places_names_both_spans(run):
    assert timing.places(run).alt.startswith("The same kernel in 4 places off line boundaries takes from 17")
    assert "in 4 on line boundaries from 14" in timing.places(run).alt


def test_the_places_are_the_same_in_every_recording_and_their_results_are_checked():
    block = timing.places_block()
    places = [tuple(cell.values.values()) for cell in block.cells]

    assert len(set(places)) == 100
    assert [tuple(cell.values.values()) for cell in timing.places_block().cells] == places
    assert all(at % 16 == 0 for place in places for at in place)
    assert sum(all(at % 64 == 0 for at in place) for place in places) in range(50, 55)
    inputs = {}
    for cell in block.cells[::25]:
        made = checked_case(cell, inputs, np.random.default_rng(0))
        assert made.placement is None, "the place is the question: it is not drawn"
    arrays = [arguments for arguments, *_ in inputs.values()]
    for cell, (x, weight, _, out) in zip(block.cells[::25], arrays, strict=True):
        assert [array.ctypes.data % 4096 for array in (x, weight, out)] == list(cell.values.values())
