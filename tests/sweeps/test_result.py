"""A sweep shows what its run holds: written by hand here, so that every number is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from runs import in_order, isolate, row, start

from perflib.display.figure import Picture
from perflib.display.table import Missing
from perflib.errors import SampleError
from perflib.sweeps import figure
from perflib.sweeps.axes import axis, size_axis
from perflib.sweeps.result import Sweep

SIZES = [16, 32, 64, 128, 256, 512, 1024, 2048]
FLOOR = 100  # ns per run of the loop around nothing


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def recorded(times, rounds=12, axes=None, names=None, canary=lambda number: 1000, **more):
    """The sweep of a run: `times` maps a name in the run to its nanoseconds at n."""
    run = start("sweep")
    axes = axes or {"n": size_axis(SIZES)}
    noise = 1 + 0.01 * np.random.default_rng(0).standard_normal((rounds, 1000))
    with run.block("sweep", "all sizes", [name for name in axes if name not in ("n", "threads", "dtype")]) as append:
        for number in range(rounds):
            own = {"scope": "call", "cpu_ns": 0, "reps": 10, "dtype": "", "process": 1}
            hidden = [("floor", 10 * FLOOR), ("canary", canary(number))]
            lines = [row("all sizes", number, **own | {"kernel": k, "n": "", "elapsed_ns": ns}) for k, ns in hidden]
            place = 0
            for name, ns in times.items():
                for n in axes["n"].codes:
                    elapsed = int(10 * (ns(n) + FLOOR) * noise[number, place])
                    line = own | {"kernel": name, "n": n, "elapsed_ns": elapsed, "cpu_ns": elapsed, "placement": 1, **more}
                    lines.append(row("all sizes", number, **line))
                    place += 1
            append(in_order(lines))
    return Sweep(run.finish(), "sweep", names or {name: name for name in times}, axes)


@pytest.fixture
def two(data):
    return recorded({"slow": lambda n: 1000 * n, "fast": lambda n: 500 * n})


def test_times_are_net_of_the_loop_and_speed_ups_are_of_the_first(two):
    for point in two.points:
        expected = {"slow": 1000, "fast": 500}[point.function] * point.n
        assert point.time_ns.value == pytest.approx(expected, rel=0.02)
        assert point.state == "stable"
    assert all(point.speed_up is None for point in two.curves["slow"])
    assert all(point.speed_up.low < 2 < point.speed_up.high for point in two.curves["fast"])


def test_the_table_has_a_row_for_each_size(two):
    header, *rows = repr(two).splitlines()

    assert header.split("  ")[0] == "n"
    assert "speed-up of fast" in header
    assert [line.split()[0] for line in rows[: len(SIZES)]] == list(map(str, SIZES))
    assert rows[-1] == "median [95 %] of 12 samples; speed-up: time of slow / time, median of paired ratios"
    assert two._repr_html_().count("<tr>") == len(SIZES) + 1


def test_the_samples_work_on_the_sweep_as_on_a_table(two):
    assert set(two["kernel"]) == {"slow", "fast", "floor", "canary"}
    assert len(two) == len(two.frame) == 12 * (2 + 2 * len(SIZES))
    assert two.groupby("kernel").size()["slow"] == 12 * len(SIZES)
    assert two.attrs["run"] == two.run.id
    with pytest.raises(AttributeError):
        _ = two.no_such_thing
    with pytest.raises(AttributeError):
        _ = two._ipython_display_


def test_growth_is_a_sentence_for_each_function_and_a_verdict_where_one_is_expected(two):
    said = two.growth()
    judged = two.growth("n")

    assert [row[0] for row in said.rows] == ["slow", "fast"]
    assert all(row[1].startswith("grows as n:") for row in said.rows)
    assert [row[1] for row in judged.rows] == ["consistent", "consistent"]
    assert [row[1] for row in two.growth(2).rows] == ["inconsistent", "inconsistent"]
    assert "grows as n" in repr(said)


def test_a_curve_that_is_not_there_has_no_fit(two, refused):
    with refused(SampleError, "curve must be one of slow, fast; got 'slower'"):
        two.fit("slower")


def test_few_sizes_have_no_growth_and_still_a_figure(data):
    s = recorded({"f": lambda n: 10 * n}, axes={"n": size_axis([8, 64])})

    assert "no growth: sizes must be at least 3 distinct numbers, got 2" in repr(s.growth())
    assert isinstance(s.plot(), Picture)


def test_a_point_that_is_not_stable_says_so_and_is_hollow(data, monkeypatch):
    hollow = []
    monkeypatch.setattr(
        figure, "_hollow", lambda points, odd: hollow.extend(p.state for p in points) or [True] * len(points)
    )
    s = recorded({"f": lambda n: 1000 * n}, canary=lambda number: 1000 + 100 * (number % 4))

    assert {point.state for point in s.points} == {"noisy"}
    assert "f is noisy at 16, 32, 64, 128, 256, 512, 1024, 2048: the reference loop moved by" in repr(s)
    s.plot()
    assert set(hollow) == {"noisy"}


def test_noisy_invalid_and_odd_points_are_hollow(two):
    points = two.curves["slow"]
    unsteady = [replace(point, state=state) for point, state in zip(points, ["noisy", "invalid"], strict=False)]

    assert figure._hollow(unsteady, set()) == [True, True]
    assert figure._hollow(points, set()) == [False] * len(SIZES)
    assert figure._hollow(points, {32}) == [n == 32 for n in SIZES]


def test_what_compiled_in_the_time_is_invalid_and_no_part_of_the_growth(data):
    s = recorded({"f": lambda n: 10 * n}, compiled=1)

    assert {point.state for point in s.points} == {"invalid"}
    assert "compilations during the timed part" in s.points[0].reasons[0]
    assert "no growth" in repr(s.growth())


def test_a_function_that_takes_no_time_is_invalid_and_the_figure_says_why_it_is_empty(data):
    s = recorded({"f": lambda n: -10})

    assert {point.state for point in s.points} == {"invalid"}
    assert isinstance(s.plot(), Missing)
    assert "no point took longer than the loop overhead" in repr(s.plot())


def test_codes_come_back_as_the_values_they_stand_for(data):
    axes = {"n": size_axis(["a", "b", (1, 2)])}

    s = recorded({"f()": lambda n: 100 * n}, axes=axes, names={"f()": "f"})

    assert [point.n for point in s.points] == ["a", "b", (1, 2)]
    assert set(s.frame["n"].dropna()) == {"a", "b", (1, 2)}
    assert set(s.frame["kernel"]) == {"f", "floor", "canary"}
    assert "(1, 2)" in repr(s)
    assert isinstance(s.plot(), Picture)


def test_the_values_of_other_axes_stand_in_the_table_and_have_curves_of_their_own(data):
    axes = {"n": size_axis([8, 16, 32]), "kind": axis("kind", ["quick", "stable"])}
    s = recorded({"f": lambda n: 100 * n}, axes=axes, kind=2)

    assert list(s.curves) == ["f, kind=stable"]
    assert s.points[0].setting == {"kind": "stable"}
    assert repr(s).splitlines()[0].split() == ["n", "kind", "f", "state"]


def test_it_is_saved_as_samples_figure_and_page(two, tmp_path, refused):
    for name, begin in {
        "a.csv": b"block,kernel",
        "a.png": b"\x89PNG",
        "a.svg": b"<?xml",
        "a.html": b"<!doctype html>",
    }.items():
        assert two.save(tmp_path / name).read_bytes()[: len(begin)].lower() == begin.lower(), name
    page = (tmp_path / "a.html").read_text()
    assert "speed-up of fast" in page
    assert "grows as n" in page
    with refused(ValueError, "path must end in .csv, .png, .svg or .html; got"):
        two.save(tmp_path / "a.xlsx")


def test_words_of_a_saved_table_have_no_control_characters(two, tmp_path):
    names = {kernel: f"\x1b[31m{name}\u202e\x07" for kernel, name in two.names.items()}
    saved = Sweep(two.run, two.topic, names, two.axes).save(tmp_path / "a.csv")

    assert (
        pd.read_csv(saved)["kernel"].drop_duplicates().tolist()
        == pd.read_csv(two.save(saved))["kernel"].drop_duplicates().tolist()
    )


def test_the_figure_says_what_is_to_be_seen(two):
    alt = two.plot().alt

    assert alt.startswith("Time against n: slow from 16")
    assert "fast is " in alt and "times as fast as slow" in alt


def test_left_out_points_and_notes_stand_below_the_table(data):
    s = recorded({"f": lambda n: 10 * n})
    noted = Sweep(s.run, s.topic, s.names, s.axes, ("g at n = 8 is left out: it raised KeyError: 'x'",))

    assert repr(noted).splitlines()[-1] == "g at n = 8 is left out: it raised KeyError: 'x'"


def test_an_integer_that_a_table_cannot_hold_has_a_code():
    assert axis("key", [10**15, 7]).codes == (10**15, 7)
    assert axis("key", [10**16, 7]).codes == (1, 2)
