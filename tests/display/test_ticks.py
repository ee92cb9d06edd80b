"""Ticks: 1, 2 and 5 in a decade, one style of number on an axis, no label over another."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure

from perflib.display.ticks import OneTwoFive, PlainNumbers, plain_ticks, size_ticks, thin_out


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([64, 1024, 65536], ["64", "1024", "65536"]),
        ([0.5, 1, 2], ["0.5", "1", "2"]),
        ([0, 500], ["0", "500"]),
        ([256, 65536, 2**18], ["2⁸", "2¹⁶", "2¹⁸"]),
        ([1, 1000, 1e6], ["10⁰", "10³", "10⁶"]),
        ([2e5, 5e5, 1e6], ["2·10⁵", "5·10⁵", "1·10⁶"]),
        ([1e-5, 2e-5], ["1·10⁻⁵", "2·10⁻⁵"]),
    ],
)
def test_an_axis_has_one_style_of_number(values, shown):
    assert PlainNumbers().format_ticks(values) == shown


def test_a_tick_outside_the_view_does_not_change_the_style():
    axes = Figure().subplots()
    axes.set(xscale="log", xlim=(10, 90_000))
    plain_ticks(axes)

    assert axes.xaxis.get_major_formatter().format_ticks([10, 1000, 1e5])[:2] == ["10", "1000"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 60, [1, 2, 5, 10, 20, 50]),
        (1, 1e9, [10.0**k for k in range(10)]),
    ],
)
def test_a_decade_has_ticks_at_one_two_and_five_unless_they_are_many(low, high, ticks):
    places = OneTwoFive().tick_values(low, high)

    assert [p for p in places if low <= p <= high] == pytest.approx(ticks)


def test_a_short_scale_has_even_steps():
    places = OneTwoFive().tick_values(6.1, 9.3)

    assert sum(6.1 <= place <= 9.3 for place in places) >= 3
    assert np.ptp(np.diff(places)) < 1e-9


@pytest.mark.parametrize(
    ("sizes", "most", "places"),
    [
        ([48, 64, 96], 12, [48, 64, 96]),
        ([*(2**k for k in range(6, 11)), 100], 12, [64, 128, 256, 512, 1024]),
        ([2**k for k in range(8, 23)], 12, [2**k for k in range(8, 23, 2)]),
        ([2**k for k in range(8, 23)], 6, [2**k for k in range(10, 23, 3)]),
    ],
)
def test_sizes_that_are_powers_of_two_have_ticks_as_many_as_there_is_room_for(sizes, most, places):
    axes = Figure().subplots()

    size_ticks(axes.xaxis, sizes, most)

    assert axes.get_xticks().tolist() == places


@pytest.mark.parametrize("names", [False, True])
def test_labels_that_would_lie_over_each_other_are_left_out(names):
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.set(xlim=(0, 100))
    axes.set_xticks(range(0, 101, 5), [f"name {n}" for n in range(0, 101, 5)] if names else None)
    figure.draw_without_rendering()

    thin_out(axes.xaxis)
    figure.draw_without_rendering()

    labels = [tick.label1 for tick in axes.xaxis.get_major_ticks()]
    boxes = [label.get_window_extent() for label in labels]
    assert 2 < len(labels) < 21
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(
        label.get_text() == (f"name {label.get_position()[0]:.0f}" if names else f"{label.get_position()[0]:.0f}")
        for label in labels
    )
