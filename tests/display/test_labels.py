"""Labels move to where they cover nothing, and show with a leader line whose they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labels import covered, words_box
from matplotlib.colors import to_rgb

from perflib.display.figure import bands, curve, label_ends, label_point, level, log_axes, picture
from perflib.display.labels import spread


def drawn(draw):
    return picture(lambda axes: draw(axes) or "Labels.")()


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8), st.floats(0, 10))
def test_places_are_apart_and_stay_where_there_is_room(places, gap):
    places = np.sort(places)

    moved = spread(places, np.full(len(places) - 1, gap), 0, 100)

    assert (np.diff(moved) >= gap - 1e-9).all()
    assert moved[0] >= -1e-9
    assert moved[-1] <= 100 + 1e-9
    if len(places) == 1 or (np.diff(places) >= gap).all():
        assert moved == pytest.approx(places)


def test_places_that_merge_move_as_little_as_they_can():
    assert spread(np.array([50.0, 50.0, 50.0]), np.array([10.0, 10.0]), 0, 100) == pytest.approx([40, 50, 60])
    assert spread(np.array([0.0, 0.0]), np.array([10.0]), 0, 100) == pytest.approx([0, 10])


def merged(axes):
    for number, name in enumerate(("first", "second", "third", "fourth")):
        curve(axes, name, [1, 10, 100], [1 + number, 5, 10 + number / 50], place=number)
    log_axes(axes, [1, 10, 100], "n", "ns")
    label_ends(axes)


def test_labels_of_curves_that_merge_are_apart_with_leaders_in_their_colour():
    figure = drawn(merged).figure

    (axes,) = figure.axes
    ends = {text.get_text(): text for text in axes.texts}
    assert list(covered(figure)) == []
    assert [name for name, _ in sorted(ends.items(), key=lambda end: words_box(end[1]).y0)] == [
        "first",
        "second",
        "third",
        "fourth",
    ]
    assert ends["first"].arrow_patch.get_visible()
    for bars in axes.containers:
        assert np.allclose(to_rgb(ends[bars.get_label()].arrow_patch.get_edgecolor()), to_rgb(bars.lines[0].get_color()))


def test_a_label_beside_its_curve_needs_no_leader():
    def draw(axes):
        curve(axes, "low", [1, 10], [1, 1])
        curve(axes, "high", [1, 10], [50, 50], place=1)
        log_axes(axes, [1, 10], "n", "ns")
        label_ends(axes)

    assert [text.arrow_patch.get_visible() for text in drawn(draw).figure.axes[0].texts] == [False, False]


def test_a_label_whose_curve_ends_among_others_goes_to_the_right_of_all():
    def draw(axes):
        curve(axes, "ends early", [1, 10], [5, 5])
        for place, name in enumerate(("over it", "under it", "through it"), start=1):
            curve(axes, name, [1, 10, 1000], [4.5, 4.8 + place / 10, 5.2 - place / 10], place=place)
        log_axes(axes, [1, 10, 100, 1000], "n", "ns")
        label_ends(axes)

    figure = drawn(draw).figure
    assert list(covered(figure)) == []
    assert next(t for t in figure.axes[0].texts if t.get_text() == "ends early").arrow_patch.get_visible()


def test_a_narrow_drawing_names_its_curves_above():
    (axes,) = drawn(merged).draw_narrow().axes

    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["first", "second", "third", "fourth"]
    assert axes.get_legend().get_window_extent().y0 >= axes.bbox.y1
    assert not axes.texts


def test_labels_of_points_go_around_curves_and_each_other():
    def draw(axes):
        x = np.geomspace(1, 100, 30)
        axes.plot(x, 5 + np.sin(3 * np.log(x)))
        for number in range(6):
            label_point(axes, f"point {number}", (3 + number, 5 + np.sin(3 * np.log(3 + number))), "#0072B2")
        axes.set(xscale="log", ylim=(0, 10))

    assert list(covered(drawn(draw).figure)) == []


def test_the_name_of_a_band_is_as_long_as_the_band():
    def draw(axes):
        curve(axes, "k", [1, 2**20], [1, 2])
        log_axes(axes, [1, 2**20], "n", "ns")
        ends = [(0.55, "narrow, so it has none"), (3.0, "mid, which is cut"), (2.0**16, "wide, which is whole")]
        bands(axes, ends, "memory")

    (axes,) = drawn(draw).figure.axes
    names = [text for text in axes.texts if text.get_gid() == "band"]
    assert [text.get_text() for text in names] == ["", "mid", "wide, which is whole", "memory"]
    assert all(words_box(text).y0 >= axes.bbox.y1 for text in names if text.get_text()), "above the axes"


def test_bands_are_tinted_in_turn_and_end_where_they_are_said_to():
    def draw(axes):
        curve(axes, "k", [1, 1000], [1, 2])
        log_axes(axes, [1, 1000], "n", "ns")
        bands(axes, [(10.0, "a"), (100.0, "b"), (1e9, "beyond")], "never")

    (axes,) = drawn(draw).figure.axes
    patches = [patch for patch in axes.patches if patch.get_gid() == "band"]
    assert [patch.get_x() + patch.get_width() for patch in patches][:2] == pytest.approx([10, 100])
    assert [patch.get_facecolor()[3] > 0 for patch in patches] == [False, True, False]
    assert [text.get_text() for text in axes.texts] == ["a", "b", "beyond"]


def test_a_label_with_nowhere_to_go_is_still_drawn():
    def draw(axes):
        for y in np.linspace(0, 1, 200):
            axes.plot([0, 1], [y, y])
        label_point(axes, "nowhere", (0.5, 0.5), "#000000")
        level(axes, 0.5, "nor here")

    assert {text.get_text() for text in drawn(draw).figure.axes[0].texts} == {"nowhere", "nor here"}
