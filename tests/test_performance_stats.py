"""Component statistics, on passes whose times are known to the nanosecond."""

import copy
import io
import math
import pickle

import pytest

from perflib import PerformanceStats
from perflib.errors import SampleError

WORKED_EXAMPLE = """\
Performance Stats: Test
Forward pass: 10.000 ms
- Embedding:  0.500 ms (5.0%)
- Attention:  4.000 ms (40.0%)
- FFN:        5.000 ms (50.0%)
- Projection: 0.500 ms (5.0%)
"""


def seed_example(**other_ms):
    times = {"forward_pass_ms": 10, "embedding_ms": 0.5, "attention_ms": 4, "ffn_ms": 5, "projection_ms": 0.5}
    return PerformanceStats(**(times | other_ms))


def driven(hand_clock, *passes, components=("load", "solve")):
    """Statistics of passes, each a list of (component or None for the rest, nanoseconds)."""
    stats = PerformanceStats(components, clock=hand_clock)
    for parts in passes:
        with stats.section("forward_pass"):
            for name, ns in parts:
                if name is None:
                    hand_clock.now_ns += ns
                else:
                    with stats.section(name):
                        hand_clock.now_ns += ns
    return stats


def test_the_worked_example_prints_exactly(capsys):
    seed_example().print("Test")

    assert capsys.readouterr().out == WORKED_EXAMPLE


def test_what_the_parts_leave_unexplained_is_a_line_of_its_own(capsys):
    seed_example(ffn_ms=4).print("Test")

    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "- Unexplained: 1.000 ms (10.0%)"
    assert "- FFN:         4.000 ms (40.0%)\n" in printed


def test_parts_that_overlap_leave_a_negative_rest(capsys):
    stats = seed_example(ffn_ms=6)

    stats.print("Test")

    assert stats.residual_ms() == -1
    assert capsys.readouterr().out.endswith("- Unexplained: -1.000 ms (-10.0%)\n")


def test_a_rest_too_small_to_show_is_not_printed(capsys):
    seed_example(forward_pass_ms=10.0004).print("Test")

    assert "Unexplained" not in capsys.readouterr().out


def test_several_passes_print_their_mean(capsys):
    stats = seed_example()
    stats.add(seed_example(forward_pass_ms=20, attention_ms=14))

    stats.print("both")

    printed = capsys.readouterr().out
    assert printed.startswith("Performance Stats: both (mean of 2 passes)\nForward pass: 15.000 ms\n")
    assert "- Attention:  9.000 ms (60.0%)\n" in printed


def test_print_writes_to_a_given_file(capsys):
    target = io.StringIO()

    seed_example().print("Test", file=target)

    assert target.getvalue() == WORKED_EXAMPLE
    assert capsys.readouterr().out == ""


def test_every_field_of_the_seed_is_there():
    stats = seed_example()

    fields = ("forward_pass_ms", "embedding_ms", "attention_ms", "ffn_ms", "projection_ms", "count")
    assert [getattr(stats, f) for f in fields] == [10, 0.5, 4, 5, 0.5, 1]


def test_new_statistics_are_empty():
    stats = PerformanceStats()

    assert (stats.count, stats.forward_pass_ms, stats.attention_ms) == (0, 0, 0)
    assert repr(stats) == stats._repr_html_()


def test_add_sums_passes_and_leaves_the_sample_alone():
    total, sample = seed_example(), seed_example(ffn_ms=6)

    total.add(sample)
    total.add(sample)

    assert (total.count, total.forward_pass_ms, total.ffn_ms) == (3, 30, 17)
    assert (sample.count, sample.ffn_ms) == (1, 6)


def test_adding_statistics_to_themselves_doubles_them():
    stats = seed_example()

    stats.add(stats)

    assert (stats.count, stats.ffn_ms) == (2, 10)


def test_the_average_is_a_pass_of_mean_times():
    stats = seed_example()
    stats.add(seed_example(forward_pass_ms=20, ffn_ms=15))

    mean = stats.average()

    assert (mean.count, mean.forward_pass_ms, mean.ffn_ms, mean.attention_ms) == (1, 15, 10, 4)


def test_the_average_of_one_pass_is_that_pass():
    assert seed_example().average().ffn_ms == 5


def test_sections_add_up_to_the_nanosecond(hand_clock):
    stats = driven(hand_clock, [("load", 3), (None, 2), ("solve", 5), ("load", 7)])

    assert stats.count == 1
    assert (stats.load_ms, stats.solve_ms, stats.forward_pass_ms) == (10e-6, 5e-6, 17e-6)
    assert stats.residual_ms() == 2e-6


def test_parts_and_rest_close_against_the_whole(hand_clock):
    passes = [[("load", 10 * i), ("solve", i), (None, 3)] for i in range(1, 8)]

    frame = driven(hand_clock, *passes).to_frame()

    parts = frame.drop(index="forward_pass")
    assert parts["mean_ms"].sum() == pytest.approx(frame.loc["forward_pass", "mean_ms"], rel=1e-12)
    assert parts["share_percent"].sum() == pytest.approx(100, rel=1e-12)
    assert list(frame.index) == ["forward_pass", "load", "solve", "unexplained"]


def test_a_frame_shows_the_spread_and_not_only_the_mean(hand_clock):
    passes = [[("load", ns)] for ns in (1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000, 60_000_000)]

    row = driven(hand_clock, *passes).to_frame().loc["load"]

    assert (row["mean_ms"], row["median_ms"], row["low_ms"], row["high_ms"]) == (12.5, 3.5, 1, 60)


def test_fewer_than_six_passes_have_no_interval(hand_clock):
    frame = driven(hand_clock, *([[("load", 5)]] * 5)).to_frame()

    assert math.isnan(frame.loc["load", "low_ms"])
    assert math.isnan(frame.loc["load", "high_ms"])
    assert frame.loc["load", "median_ms"] == 5e-6


def test_a_pass_that_raises_is_not_counted(hand_clock):
    stats = driven(hand_clock, [("load", 5)])

    with pytest.raises(KeyError), stats.section("forward_pass"), stats.section("load"):
        raise KeyError("stop")

    assert (stats.count, stats.load_ms) == (1, 5e-6)
    with stats.section("forward_pass"):
        pass
    assert stats.count == 2


def test_a_part_outside_a_pass_is_refused(refused):
    with refused(ValueError, "'ffn'", "inside section('forward_pass')"), PerformanceStats().section("ffn"):
        pass


def test_a_pass_inside_a_pass_is_refused(refused):
    stats = PerformanceStats()

    nested = stats.section("forward_pass")
    with stats.section("forward_pass"), refused(ValueError, "'forward_pass'", "not be nested"), nested:
        pass

    assert stats.count == 1


def test_any_set_of_component_names_is_allowed(capsys):
    stats = PerformanceStats(components=("load", "solve_fast"), forward_pass_ms=4, load_ms=1, solve_fast_ms=3)

    stats.print("own")

    assert capsys.readouterr().out.splitlines()[2:] == ["- Load:       1.000 ms (25.0%)", "- Solve fast: 3.000 ms (75.0%)"]


def test_a_pass_without_parts_is_unexplained_as_a_whole(capsys):
    PerformanceStats(components=(), forward_pass_ms=2).print("bare")

    assert capsys.readouterr().out.splitlines()[1:] == ["Forward pass: 2.000 ms", "- Unexplained: 2.000 ms (100.0%)"]


def test_html_escapes_names():
    stats = PerformanceStats(components=("<b>",), forward_pass_ms=1, **{"<b>_ms": 1})

    assert "&lt;b&gt;" in stats._repr_html_()


def test_statistics_survive_copy_and_pickle():
    stats = seed_example()

    assert copy.deepcopy(stats).ffn_ms == 5
    assert pickle.loads(pickle.dumps(stats)).ffn_ms == 5


def test_an_unknown_field_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'solve_ms'"):
        _ = PerformanceStats().solve_ms


@pytest.mark.parametrize("what", ["average", "to_frame", "print"])
def test_nothing_has_no_average_no_table_and_no_print(refused, what):
    arguments = ("label",) if what == "print" else ()

    with refused(SampleError, f"{what} needs at least 1 pass", "got none"):
        getattr(PerformanceStats(), what)(*arguments)


def test_an_unknown_component_is_refused(refused):
    with refused(ValueError, "component must be one of forward_pass, embedding", "got 'norm'"):
        PerformanceStats(norm_ms=1)


@pytest.mark.parametrize("field", ["ffn", "ffn_us"])
def test_a_time_that_does_not_name_its_unit_is_refused(refused, field):
    with refused(ValueError, "times must be named <component>_ms", f"got {field!r}"):
        PerformanceStats(**{field: 1})


@pytest.mark.parametrize("ms", [-1, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(refused, ms):
    with refused(ValueError, "ffn_ms must be finite and at least 0", f"got {ms}"):
        PerformanceStats(ffn_ms=ms)


def test_statistics_of_other_components_cannot_be_added(refused):
    with refused(ValueError, "sample must have the components", "got ('load',)"):
        PerformanceStats().add(PerformanceStats(("load",)))


def test_known_times_of_nested_parts_are_given_by_their_fields():
    stats = PerformanceStats(("attention", "attention/qkv"), forward_pass_ms=10, attention_ms=4, attention_qkv_ms=3)

    assert (stats.attention_qkv_ms, stats.residual_ms("attention"), stats.residual_ms()) == (3, 1, 6)


def test_known_times_have_no_overhead_and_do_not_read_the_clock():
    frame = PerformanceStats(clock=None, forward_pass_ms=10, ffn_ms=1e-6).to_frame()

    assert (frame.loc["ffn", "count"], frame.loc["ffn", "overhead_percent"]) == (0, 0)
    assert frame.loc["ffn", "share_percent"] == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("components", "words"),
    [
        (("a", "a"), ["components must be distinct", "got a_ms twice from ('a', 'a')"]),
        (("a", "forward_pass"), ["none of them 'forward_pass'", "got forward_pass_ms twice"]),
        (("a", "a/b", "a_b"), ["components must be distinct", "got a_b_ms twice from ('a', 'a/b', 'a_b')"]),
        (("forward", "forward/pass"), ["none of them 'forward_pass'", "got forward_pass_ms twice"]),
        (("attention/qkv",), ["'attention/qkv' must come with its parent 'attention'", "got ('attention/qkv',)"]),
        (("a", "a/"), ["component must not be empty", "got 'a/'"]),
        (("a", "a/unexplained"), ["'unexplained'", "got 'a/unexplained'"]),
        (("residual",), ["'residual'", "got 'residual'"]),
        ("ffn", ["components must be several names", "got the one string 'ffn'"]),
    ],
)
def test_components_that_are_no_tree_are_refused(components, words, refused):
    with refused(ValueError, *words):
        PerformanceStats(components)


@pytest.mark.parametrize("method", ["entries", "residual_ms"])
def test_a_question_about_an_unknown_component_is_refused(method, refused):
    with refused(ValueError, "component must be one of forward_pass, embedding", "got 'norm'"):
        getattr(PerformanceStats(), method)("norm")


def grown(hand_clock, *passes, **settings):
    """Statistics of passes, each a list of (names from outside in, nanoseconds), without a word on what parts there are."""
    stats = PerformanceStats(clock=hand_clock, **settings)
    for steps in passes:
        with stats.section("forward_pass"):
            for names, ns in steps:
                enter(stats, hand_clock, names.split("/"), ns)
    return stats


def enter(stats, clock, names, ns):
    if names:
        with stats.section(names[0]):
            enter(stats, clock, names[1:], ns)
    else:
        clock.now_ns += ns


def test_sections_of_any_name_are_parts_of_the_section_around_them(hand_clock, capsys):
    stats = grown(hand_clock, [("load", 1_000_000), ("solve/pivot", 2_000_000), ("solve/swap", 3_000_000)])

    stats.print("own")

    assert stats.components == ("load", "solve", "solve/pivot", "solve/swap")
    assert (stats.load_ms, stats.solve_ms, stats.solve_pivot_ms, stats.forward_pass_ms) == (1, 5, 2, 6)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Forward pass: 6.000 ms",
        "- Load:    1.000 ms (16.7%)",
        "- Solve:   5.000 ms (83.3%)",
        "  - Pivot: 2.000 ms (33.3%)",
        "  - Swap:  3.000 ms (50.0%)",
    ]


def test_a_name_in_several_places_is_a_part_of_each(hand_clock):
    stats = grown(hand_clock, [("a/norm", 1), ("b/norm", 2), ("norm", 4), ("a/a/norm", 8)])

    assert stats.components == ("a", "a/norm", "a/a", "a/a/norm", "b", "b/norm", "norm")
    assert [round(getattr(stats, f"{name}_ms") * 1e6) for name in ("a_norm", "b_norm", "norm", "a_a_norm")] == [1, 2, 4, 8]
    assert (stats.entries("a"), stats.residual_ms()) == (2, 0)


def test_the_parts_of_a_decoder_may_run_anywhere_and_show_once_they_did(hand_clock):
    stats = grown(hand_clock, [("layer/attention", 3), ("ffn", 5)])

    assert stats.components == ("ffn", "layer", "layer/attention")
    assert (stats.embedding_ms, stats.attention_ms, stats.layer_attention_ms) == (0, 0, 3e-6)
    assert list(stats.to_frame().index) == [
        "forward_pass",
        "ffn",
        "layer",
        "layer/attention",
        "layer/unexplained",
        "unexplained",
    ]


def test_a_part_that_came_later_took_nothing_before(hand_clock):
    stats = grown(hand_clock, [("load", 1)], [("load", 2), ("solve", 5)], [("load", 3)])

    assert stats.passes[0] == {"forward_pass": 1, "load": 1, "solve": 0}
    assert (stats.count, stats.load_ms, stats.solve_ms, stats.entries("solve")) == (3, 6e-6, 5e-6, 1)
    assert stats.average().solve_ms == pytest.approx(5e-6 / 3, abs=1e-6)


def test_a_section_that_is_kept_runs_where_it_is_entered(hand_clock):
    stats = PerformanceStats(clock=hand_clock)
    step = stats.section("step")

    with stats.section("forward_pass"), stats.section("inner"):
        for _ in range(2):
            with step:
                hand_clock.now_ns += 3

    assert (stats.inner_step_ms, stats.entries("inner/step")) == (6e-6, 2)


def test_statistics_of_other_sections_are_added_to_what_takes_any(hand_clock):
    total = grown(hand_clock, [("load", 1)])

    total.add(grown(hand_clock, [("solve/pivot", 2)]))
    total.add(grown(hand_clock, [("load", 4)]))

    assert (total.count, total.load_ms, total.solve_pivot_ms) == (3, 5e-6, 2e-6)
    assert (total.average().count, total.average().solve_ms) == (1, pytest.approx(1e-6, abs=1e-6))


def test_a_failure_in_any_section_leaves_the_next_pass_its_places(hand_clock):
    stats = grown(hand_clock)

    with pytest.raises(KeyError), stats.section("forward_pass"), stats.section("a"), stats.section("b"), stats.section("a"):
        raise KeyError("stop")
    with stats.section("forward_pass"):
        enter(stats, hand_clock, ["a", "b"], 7)

    assert (stats.count, stats.a_b_ms) == (1, 7e-6)


def test_statistics_of_any_sections_survive_copy_and_pickle(hand_clock):
    stats = copy.deepcopy(pickle.loads(pickle.dumps(grown(hand_clock, [("a/b", 3), ("b", 4)]))))

    with stats.section("forward_pass"), stats.section("c"), stats.section("b"):
        stats._clock.now_ns += 5

    assert (stats.a_b_ms, stats.b_ms, stats.c_b_ms, stats.count) == (3e-6, 4e-6, 5e-6, 2)


def test_any_section_that_is_switched_off_costs_no_reading(hand_clock):
    stats = PerformanceStats(clock=None, enabled=False)

    with stats.section("forward_pass"), stats.section("load"):
        pass

    assert stats.count == 0


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["load"], ["'load' must run inside section('forward_pass')", "got it outside"]),
        (["forward_pass", "a/b"], ["section must be called by its own name inside its parent", "got 'a/b'"]),
        (["forward_pass", ""], ["component must not be empty", "got ''"]),
        (["forward_pass", "unexplained"], ["component must not be", "got 'unexplained'"]),
        (["forward_pass", "a", "forward_pass"], ["'forward_pass' must not be nested", "inside section('a')"]),
        (["forward_pass", 3], ["section must be called by its own name", "got 3"]),
    ],
)
def test_a_section_of_no_name_or_outside_a_pass_is_refused(hand_clock, names, words, refused):
    with refused(ValueError, *words):
        enter(PerformanceStats(clock=hand_clock), hand_clock, names, 1)


def test_two_parts_of_one_field_are_refused(hand_clock, refused):
    stats = grown(hand_clock, [("a/b", 1)])

    with refused(ValueError, "components must be distinct", "got a_b_ms twice"), stats.section("forward_pass"):
        stats.section("a_b")
