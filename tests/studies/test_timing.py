"""The study of timing, from runs whose times are known."""

import pytest
from runs import told
from synthetic import record
from tables import rows

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
