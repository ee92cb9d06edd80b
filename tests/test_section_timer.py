"""Sections that nest: what they count, how they close, where they are refused, and what they cost."""

import io
import itertools
import math

import pytest
from hand_clock import HandClock
from hypothesis import given
from hypothesis import strategies as st

from perflib import PerformanceStats
from perflib.errors import SampleError

DECODER = ("embedding", "attention", "attention/qkv", "attention/rope", "ffn")


def run_pass(stats, clock, steps):
    """One pass of (names from outside in, nanoseconds); () is time that belongs to no part."""
    with stats.section("forward_pass"):
        for names, ns in steps:
            enter(stats, clock, names, ns)


def enter(stats, clock, names, ns):
    if not names:
        clock.now_ns += ns
        return
    with stats.section(names[0]):
        enter(stats, clock, names[1:], ns)


def timed(clock, *passes, components=DECODER):
    stats = PerformanceStats(components, clock=clock)
    for steps in passes:
        run_pass(stats, clock, steps)
    return stats


def printed(stats):
    target = io.StringIO()
    stats.print("decode", file=target)
    return target.getvalue().splitlines()


ATTENTION = [(("attention",), 3_000), (("attention", "qkv"), 20_000), (("attention", "rope"), 7_000)]
STEPS = [(("embedding",), 10_000), *ATTENTION, (("ffn",), 50_000), ((), 10_000)]


def test_nested_parts_have_fields_of_their_own(hand_clock):
    stats = timed(hand_clock, STEPS)

    assert (stats.attention_ms, stats.attention_qkv_ms, stats.attention_rope_ms) == (0.03, 0.02, 0.007)
    assert (stats.residual_ms(), stats.residual_ms("attention"), stats.forward_pass_ms) == (0.01, 0.003, 0.1)


def test_a_section_counts_its_entries(hand_clock):
    stats = timed(hand_clock, [*ATTENTION, *ATTENTION], ATTENTION)

    assert [stats.entries(name) for name in ("forward_pass", "attention", "attention/qkv", "ffn")] == [2, 9, 3, 0]
    assert stats.entries() == 2
    assert stats.to_frame().loc["attention", "count"] == 4.5


def test_entries_are_added_and_averaged(hand_clock):
    stats = timed(hand_clock, ATTENTION)

    stats.add(timed(hand_clock, [*ATTENTION, *ATTENTION]))

    mean = stats.average()
    assert (stats.entries("attention"), mean.entries("attention"), mean.attention_ms) == (9, 4.5, 0.045)
    assert (mean.count, mean.entries()) == (1, 1)


def test_the_order_is_the_tree_whatever_the_order_of_declaration(hand_clock):
    stats = timed(hand_clock, STEPS, components=("attention/qkv", "embedding", "attention", "ffn", "attention/rope"))

    rows = ["forward_pass", "embedding", "attention", "attention/qkv", "attention/rope", "attention/unexplained", "ffn"]
    assert list(stats.to_frame().index) == [*rows, "unexplained"]
    assert stats.components == DECODER


places = st.sampled_from([(), ("embedding",), ("attention",), ("attention", "qkv"), ("attention", "rope"), ("ffn",)])


@given(st.lists(st.lists(st.tuples(places, st.integers(0, 10**12))), min_size=1, max_size=7))
def test_every_level_closes_to_the_nanosecond(passes):
    stats = timed(HandClock(), *passes)

    def ns(*names):
        return [round(getattr(stats, f"{name}_ms") * 1e6) for name in names]

    assert ns("forward_pass") == [sum(ns("embedding", "attention", "ffn")) + round(stats.residual_ms() * 1e6)]
    assert ns("attention") == [sum(ns("attention_qkv", "attention_rope")) + round(stats.residual_ms("attention") * 1e6)]
    assert ns("attention_qkv") == [sum(ns for steps in passes for place, ns in steps if place[-1:] == ("qkv",))]


def test_one_pass_prints_nested_parts_indented(hand_clock):
    assert printed(timed(hand_clock, STEPS)) == [
        "Performance Stats: decode",
        "Forward pass: 0.100 ms",
        "- Embedding:     0.010 ms (10.0%)",
        "- Attention:     0.030 ms (30.0%)",
        "  - QKV:         0.020 ms (20.0%)",
        "  - RoPE:        0.007 ms (7.0%)",
        "  - Unexplained: 0.003 ms (3.0%)",
        "- FFN:           0.050 ms (50.0%)",
        "- Unexplained:   0.010 ms (10.0%)",
    ]


def test_six_passes_print_medians_with_intervals(hand_clock):
    passes = [[(("attention", "qkv"), ms * 1_000_000), ((), 1_000_000)] for ms in (1, 2, 3, 4, 5, 99)]

    assert printed(timed(hand_clock, *passes, components=("attention", "attention/qkv"))) == [
        "Performance Stats: decode (mean of 6 passes; median with its 95 % interval)",
        "Forward pass:   20.000 ms, median   4.500 [  2.000, 100.000]",
        "- Attention:    19.000 ms, median   3.500 [  1.000,  99.000] (95.0%)",
        "  - QKV:        19.000 ms, median   3.500 [  1.000,  99.000] (95.0%)",
        "- Unexplained:   1.000 ms, median   1.000 [  1.000,   1.000] (5.0%)",
    ]


def test_a_section_may_be_kept_and_a_name_may_stand_in_several_places(hand_clock):
    stats = PerformanceStats(("attention", "attention/norm", "ffn", "ffn/norm"), clock=hand_clock)
    norm = stats.section("norm")

    with stats.section("forward_pass"):
        for parent, ns in (("attention", 3), ("ffn", 5), ("ffn", 5)):
            with stats.section(parent), norm:
                hand_clock.now_ns += ns

    assert (stats.attention_norm_ms, stats.ffn_norm_ms, stats.entries("ffn/norm")) == (3e-6, 10e-6, 2)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["attention"], ["'attention' must run inside section('forward_pass')", "got it outside"]),
        (["forward_pass", "qkv"], ["'qkv' must run inside section('attention')", "inside section('forward_pass')"]),
        (["forward_pass", "ffn", "qkv"], ["'qkv' must run inside section('attention')", "inside section('ffn')"]),
        (["forward_pass", "ffn", "ffn"], ["'ffn' must run inside section('forward_pass')", "inside section('ffn')"]),
        (["forward_pass", "attention", "qkv", "rope"], ["'rope' must run", "inside section('attention/qkv')"]),
        (["forward_pass", "ffn", "forward_pass"], ["'forward_pass' must not be nested", "inside section('ffn')"]),
        (["forward_pass", "attention/qkv"], ["component must be one of forward_pass, embedding, attention, qkv", "got"]),
    ],
)
def test_a_section_out_of_place_is_refused_and_its_pass_not_counted(hand_clock, names, words, refused):
    stats = timed(hand_clock)

    with refused(ValueError, *words):
        enter(stats, hand_clock, names, 5)

    run_pass(stats, hand_clock, STEPS)
    assert (stats.count, stats.attention_ms, stats.ffn_ms) == (1, 0.03, 0.05)


def test_a_section_left_before_one_inside_it_is_refused(hand_clock, refused):
    stats = timed(hand_clock)

    words = ("'attention' must be the innermost one when it is left", "got 'attention/qkv'")
    with refused(ValueError, *words), stats.section("forward_pass"), stats.section("attention"):
        stats.section("qkv").__enter__()

    assert stats.count == 0


def test_a_pass_left_before_a_section_inside_it_is_refused(hand_clock, refused):
    stats = timed(hand_clock)

    with refused(ValueError, "'forward_pass' must be the innermost one", "got 'ffn'"), stats.section("forward_pass"):
        stats.section("ffn").__enter__()

    run_pass(stats, hand_clock, STEPS)
    assert stats.count == 1


def test_a_section_left_without_being_entered_is_refused(hand_clock, refused):
    with refused(ValueError, "'ffn' must be the innermost one when it is left", "got 'none'"):
        timed(hand_clock).section("ffn").__exit__(KeyError, None, None)


@pytest.mark.parametrize("reading", range(6))
def test_an_interrupt_at_any_reading_of_the_clock_leaves_nothing_open(hand_clock, reading):
    readings = itertools.count()

    def interrupted():
        if next(readings) == reading:
            raise KeyboardInterrupt
        return hand_clock()

    stats = PerformanceStats(DECODER, clock=interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_pass(stats, hand_clock, [(("attention", "qkv"), 5)])

    run_pass(stats, hand_clock, [(("attention", "qkv"), 7)])
    assert (stats.count, stats.attention_qkv_ms, stats.attention_ms, stats.forward_pass_ms) == (1, 7e-6, 7e-6, 7e-6)


def test_a_failure_that_the_pass_survives_leaves_its_time(hand_clock):
    stats = timed(hand_clock)

    with stats.section("forward_pass"):
        with pytest.raises(KeyError), stats.section("attention"), stats.section("qkv"):
            hand_clock.now_ns += 5
            raise KeyError("stop")
        enter(stats, hand_clock, ("ffn",), 2)

    assert (stats.count, stats.attention_qkv_ms, stats.ffn_ms) == (1, 5e-6, 2e-6)


def test_the_overhead_of_a_section_is_two_readings_of_the_clock(hand_clock):
    hand_clock.tick_ns = 7

    assert timed(hand_clock).section_overhead_ns() == 14


def test_the_overhead_is_measured_once_per_clock(hand_clock):
    hand_clock.tick_ns = 1
    timed(hand_clock).section_overhead_ns()
    before = hand_clock.now_ns

    timed(hand_clock).section_overhead_ns()

    assert hand_clock.now_ns == before


def test_a_real_section_costs_something():
    assert 0 < PerformanceStats().section_overhead_ns() < 1e6


@pytest.mark.parametrize(("ns", "withheld"), [(40, False), (39, True)])
def test_a_share_is_withheld_where_the_clock_costs_more_than_five_percent(hand_clock, ns, withheld):
    hand_clock.tick_ns = 1
    stats = timed(hand_clock, [(("ffn",), ns - 1), ((), 100_000)])  # its last reading takes one

    row = stats.to_frame().loc["ffn"]

    assert row["overhead_percent"] == 100 * 2 / ns
    assert math.isnan(row["share_percent"]) == withheld
    assert (
        any("FFN" in line and "(share withheld: the clock costs 5 % of it)" in line for line in printed(stats)) == withheld
    )


def test_the_clock_also_costs_what_the_sections_inside_cost(hand_clock):
    hand_clock.tick_ns = 10
    stats = timed(hand_clock, [*[(("attention", "rope"), 0)] * 10, (("ffn",), 990)])

    frame = stats.to_frame()

    assert frame.loc["attention", "overhead_percent"] == 100 * 20 * 20 / (10 * 30)
    assert frame.loc["forward_pass", "overhead_percent"] == 100 * 22 * 20 / (10 * 40 + 1010 + 10)
    assert math.isnan(frame.loc["unexplained", "overhead_percent"])
    assert printed(stats)[1] == "Forward pass: 0.001 ms (the clock costs 31 % of it)"


def test_a_section_shorter_than_the_clock_sees_is_all_clock():
    costly = itertools.chain([0, 0, 0, 100], itertools.count(200, 5))

    stats = PerformanceStats(("load",), clock=lambda: next(costly))
    with stats.section("forward_pass"), stats.section("load"):
        pass

    assert printed(stats)[2] == "- Load: 0.000 ms (share withheld: the clock costs all of it)"


def test_a_table_in_a_notebook_shows_what_is_withheld(hand_clock):
    hand_clock.tick_ns = 1

    html = timed(hand_clock, [(("attention", "qkv"), 0), ((), 1000)])._repr_html_()

    assert "<td>attention/qkv</td><td>1</td><td>0.000</td><td>0.000</td><td>–</td>" in html


def test_sections_that_are_switched_off_never_read_the_clock(refused):
    stats = PerformanceStats(DECODER, clock=None, enabled=False)

    with stats.section("forward_pass"), stats.section("attention"), stats.section("qkv"):
        pass

    assert (stats.count, stats.forward_pass_ms, stats.entries("attention/qkv")) == (0, 0, 0)
    with refused(ValueError, "component must be one of", "got 'norm'"):
        stats.section("norm")
    with refused(SampleError, "print needs at least 1 pass"):
        stats.print("off")
