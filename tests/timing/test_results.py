"""What results say of themselves: durations, rates, states with their reasons, one line each."""

import pytest

from perflib.display.text import duration
from perflib.stats import Interval
from perflib.timing.results import Comparison


@pytest.fixture
def comparison(measurement):
    found = {"old": measurement(label="old"), "new": measurement((2010,) * 6, label="new")}
    ratio = {"new": Interval(1.99, 1.98, 2.0, 0.97)}
    return Comparison("old", found, ratio, {"new": "slower"}, Interval(1, 0.99, 1.01, 0.97), 0.02)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0.5, "0.5 ns"),
        (999, "999 ns"),
        (1000, "1 µs"),
        (2_500_000, "2.5 ms"),
        (7e9, "7 s"),
        (9e12, "9000 s"),
        (-3, "-3 ns"),
        (0, "0 ns"),
    ],
)
def test_a_duration_is_shown_in_the_unit_that_suits_it(ns, text):
    assert duration(Interval(ns, ns, ns, 0.95)).startswith(f"{text} [")


def test_the_ends_of_a_duration_are_in_the_unit_of_its_middle():
    assert duration(Interval(1500, 900, 2_000_000, 0.95)) == "1.5 µs [0.9, 2000]"


def test_work_over_time_is_a_rate_and_the_longest_time_the_lowest_rate(measurement):
    found = measurement(flops=3000, bytes=500, time_ns=Interval(1000, 500, 2000, 0.97))

    assert found.gflops == Interval(3, 1.5, 6, 0.97)
    assert found.gb_per_s == Interval(0.5, 0.25, 1, 0.97)


@pytest.mark.parametrize("changes", [{}, {"flops": 10, "bytes": 10, "time_ns": Interval(1, 0, 2, 0.97)}])
def test_without_work_or_without_time_there_is_no_rate(measurement, changes):
    found = measurement(**changes)

    assert found.gflops is None
    assert found.gb_per_s is None


def test_a_measurement_is_one_line_with_its_unit_interval_and_state(measurement):
    found = measurement((1_500_010,) * 6, flops=3_000_000, bytes=6_000_000)

    assert str(found) == repr(found) == "work: 1.5 ms [1.5, 1.5] (call scope, throughput, 2 GFLOP/s, 4 GB/s), stable"


def test_the_reasons_follow_the_state_and_notes_have_lines_of_their_own(measurement):
    found = measurement(mode="cold", state="noisy", reasons=("drift", "page faults"), notes=("not shown to be cold",))

    assert str(found).splitlines() == [
        "work: 1 µs [1, 1] (call scope, cold), noisy: drift; page faults",
        "      not shown to be cold",
    ]


def test_both_scopes_and_what_lies_between_are_shown(measurement):
    call = measurement((3010,) * 6, state="noisy", reasons=("drift",))
    found = measurement(scope="kernel", call=call, dispatch_ns=Interval(2000, 1900, 2100, 0.97))

    assert str(found).splitlines() == [
        "work:            1 µs [1, 1] (kernel scope, throughput), stable",
        "    from Python: 3 µs [3, 3], noisy: drift",
        "    dispatch:    2 µs [1.9, 2.1]",
    ]


def test_the_processes_are_shown_from_the_quickest_to_the_slowest(measurement):
    found = measurement(processes_ns=(1200.0, 990.0, 1010.0))

    assert str(found).splitlines()[1] == "    3 processes: 990 ns to 1.2 µs"


def test_a_comparison_shows_every_ratio_with_its_interval_and_verdict(comparison):
    assert str(comparison) == repr(comparison)
    assert str(comparison).splitlines() == [
        "old: 1 µs [1, 1] (call scope, throughput), stable",
        "new: 2 µs [2, 2] (call scope, throughput), stable",
        "     1.990 [1.980, 2.000] of old: slower (smallest claim 2.0 %)",
    ]
