"""What results say of themselves: durations, rates, states with their reasons, one line each."""

from dataclasses import replace

import pytest

from perflib.display.text import duration
from perflib.stats import Interval
from perflib.timing.results import Comparison, difference_as_shown
from perflib.timing.sensitivity import Sensitivity


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


def test_a_measurement_is_a_line_with_its_unit_interval_and_state_and_one_on_what_the_interval_is_of(measurement):
    found = measurement((1_500_010,) * 6, flops=3_000_000, bytes=6_000_000)

    assert str(found) == repr(found)
    assert str(found).splitlines() == [
        "work: 1.5 ms [1.5, 1.5] (call scope, throughput, 2 GFLOP/s, 4 GB/s), stable",
        "      95 % for the median, one process, 6 samples",
    ]


def test_the_reasons_follow_the_state_and_notes_have_lines_of_their_own(measurement):
    found = measurement(mode="cold", state="noisy", reasons=("drift", "page faults"), notes=("not shown to be cold",))

    assert str(found).splitlines() == [
        "work: 1 µs [1, 1] (call scope, cold), noisy: drift; page faults",
        "      not shown to be cold",
        "      95 % for the median, one process, 6 samples",
    ]


def test_both_scopes_and_what_lies_between_are_shown(measurement):
    call = measurement((3010,) * 6, state="noisy", reasons=("drift",))
    found = measurement(scope="kernel", call=call, dispatch_ns=Interval(2000, 1900, 2100, 0.97))

    assert str(found).splitlines() == [
        "work:            1 µs [1, 1] (kernel scope, throughput), stable",
        "    from Python: 3 µs [3, 3], noisy: drift",
        "    dispatch:    2 µs [1.9, 2.1]",
        "                 95 % for the median, one process, 6 samples",
    ]


@pytest.mark.parametrize(("call_ns", "kernel_ns", "shown"), [(530.26, 62.149, 468.15), (2134.4, 60.98, 2073.02)])
def test_the_call_overhead_is_the_difference_of_the_times_that_are_shown(call_ns, kernel_ns, shown):
    times = (Interval(ns, ns, ns, 0.95) for ns in (call_ns, kernel_ns))

    found = difference_as_shown(*times, Interval(480, 475, 490, 0.96))

    assert found.value == pytest.approx(shown, abs=1e-9)
    assert (found.low, found.high, found.coverage) == (min(475, found.value), max(490, found.value), 0.96)


@pytest.mark.parametrize(
    ("placements", "processes_ns", "words"),
    [
        ((0,) * 6, (), "95 % for the median, one process, 6 samples"),
        ((1,) * 6, (), "95 % for the median, one process, 6 samples"),
        ((1, 2, 3, 4, 5, 6), (), "95 % for the median over placements, one process, 6 samples"),
        ((1, 2, 3, 1, 2, 3), (1.0, 2.0), "95 % for the median over placements and 2 processes, 6 samples"),
        ((0,) * 6, (1.0, 2.0), "95 % for the median over 2 processes, 6 samples"),
    ],
)
def test_it_is_said_what_the_interval_is_of(measurement, sample, placements, processes_ns, words):
    samples = tuple(sample(1000, i, placement=number) for i, number in enumerate(placements))

    found = measurement(samples=samples, processes_ns=processes_ns)

    assert str(found).endswith(words)
    assert words in found._repr_html_()


def test_slow_placements_and_aligned_arrays_have_lines_of_their_own(measurement):
    slow = Sensitivity(30, 7, Interval(7 / 30, 0.0993, 0.4228, 0.95), 2.1, "4K aliasing of arguments 0 and 2")
    none = Sensitivity(30, 0, Interval(0, 0, 0.1, 0.95), 1.0)

    found = measurement(sensitivity=slow, aligned_ns=Interval(141, 140, 142, 0.95))
    shown = [
        "7 of 30 placements [10, 42 %] cost more than 1.2 times the median, the worst 2.1 times: "
        "4K aliasing of arguments 0 and 2",
        "with every array on a 64-byte boundary: 141 ns [140, 142]",
    ]
    comparison = Comparison(
        "old", {"old": found, "new": found}, {"new": Interval(1, 1, 1, 0.95)}, {"new": ""}, Interval(1, 1, 1, 0.95), 0.02
    )

    for result in (found, comparison):
        assert all(line in str(result) and line in result._repr_html_() for line in shown)
    assert "placements" not in str(measurement(sensitivity=none))


def test_the_processes_are_shown_from_the_quickest_to_the_slowest(measurement):
    found = measurement(processes_ns=(1200.0, 990.0, 1010.0))

    assert str(found).splitlines()[1] == "    3 processes: 990 ns to 1.2 µs"


def test_a_comparison_shows_every_ratio_with_its_interval_and_verdict(comparison):
    assert str(comparison) == repr(comparison)
    assert str(comparison).splitlines() == [
        "old: 1 µs [1, 1] (call scope, throughput), stable",
        "new: 2 µs [2, 2] (call scope, throughput), stable",
        "     1.990 [1.980, 2.000] of old (median of paired ratios): slower (smallest claim 2.0 %)",
        "     95 % for the median, one process, 6 samples",
    ]


def test_a_ratio_that_is_the_quotient_of_the_times_needs_no_word(comparison):
    exact = replace(comparison, ratios={"new": Interval(2.0004, 1.98, 2.1, 0.97)}, bound=3.2)

    assert "2.000 [1.980, 2.100] of old: slower (smallest claim a factor of 4.2)" in str(exact)
    assert "paired" not in exact._repr_html_()
    assert "1.990 [1.980, 2.000] (median of paired ratios)" in comparison._repr_html_()
