"""A figure read back: its description and the title of each point say what is drawn, whatever was meant."""

import numpy as np
import pytest

from perflib.display.figure import bands, cell_map, curve, level, log_axes, picture, share_map
from perflib.display.marks import describe, levels, marks, written
from perflib.display.text import size_text


def drawn(draw):
    return picture(lambda axes: draw(axes) or "A sentence.")().figure


def rates(axes):
    curve(axes, "matmul_ikj", np.array([64, 128]), np.array([20.0, 25.0]), np.array([19.0, 24.0]), np.array([21.0, 26.0]))
    curve(axes, "mine", np.array([64, 128]), np.array([1.0, 2.0]))
    log_axes(axes, [64, 128], "n (float32)", "GFLOP/s")
    level(axes, 100, "peak 100")


def test_a_point_says_its_curve_its_place_its_value_and_its_interval():
    titles = [title for one in marks(drawn(rates)) for title in one.titles]

    assert titles == [
        "ikj: n = 64, GFLOP/s = 20 [19, 21]",
        "ikj: n = 128, GFLOP/s = 25 [24, 26]",
        "mine: n = 64, GFLOP/s = 1",
        "mine: n = 128, GFLOP/s = 2",
    ]


def test_the_description_has_axes_scales_curves_and_levels():
    words = describe(drawn(rates))

    assert "Across: n (float32), logarithmic, " in words
    assert "Up: GFLOP/s, logarithmic, " in words
    assert "Curves: ikj from 64, 20 to 128, 25; mine from 64, 1 to 128, 2." in words
    assert words.endswith("Levels: peak 100.")


def test_a_linear_axis_and_another_unit_are_described_as_they_are_drawn():
    def draw(axes):
        rates(axes)
        axes.set(yscale="linear", ylabel="MFLOP/s")

    assert "Up: MFLOP/s, linear, " in describe(drawn(draw))


def test_bytes_are_written_with_their_unit():
    def draw(axes):
        rates(axes)
        axes.fmt_xdata = size_text

    titles = [title for one in marks(drawn(draw)) for title in one.titles]
    assert "mine: n = 0.0625 KiB, GFLOP/s = 1" in titles


def test_a_cell_says_its_row_its_column_and_its_value():
    def draw(axes):
        share_map(axes, np.array([[0.5, 1.0], [np.nan, 0.25]]), (64, 128), (8, 16), "share")
        axes.set(xlabel="n", ylabel="tile")

    (cells,) = marks(drawn(draw))
    assert cells.titles == ("n 64, tile 8: 0.5 share", "n 128, tile 8: 1 share", "", "n 128, tile 16: 0.25 share")
    assert "Cells: 3, the first is n 64, tile 8: 0.5 share, the last n 128, tile 16: 0.25 share." in describe(drawn(draw))


def test_a_bar_says_its_part_and_its_column():
    def draw(axes):
        axes.bar(0, 30, label="FFN")
        axes.bar(1, 40, label="FFN")
        axes.set_xticks([0, 1], ["prompt\n128", "token\n16"])
        axes.set(ylabel="%")

    assert [t for one in marks(drawn(draw)) for t in one.titles] == ["FFN, prompt 128: 30 %", "FFN, token 16: 40 %"]


def test_a_hollow_point_over_another_has_its_title():
    def draw(axes):
        rates(axes)
        axes.plot([128], [2.0], "o", markerfacecolor="white")

    assert [t for one in marks(drawn(draw)) for t in one.titles][-1] == "mine: n = 128, GFLOP/s = 2"


def test_bands_are_no_levels():
    def draw(axes):
        rates(axes)
        bands(axes, [(100.0, "L1d, 32 KiB")], "memory")

    axes = drawn(draw).axes[0]
    assert [line.get_label() for line in levels(axes) if not line.get_label().startswith("_")] == ["peak 100"]


@pytest.mark.parametrize(("value", "words"), [(64.0, "64"), (0.123456, "0.1235"), (1e12, "1e+12")])
def test_numbers_have_four_digits_that_count(value, words):
    axes = drawn(lambda axes: axes.plot([1, 2]) and None).axes[0]

    assert written(axes, axes.yaxis, value) == words


def test_a_map_of_any_values_has_the_text_that_it_is_given():
    figure = drawn(lambda axes: cell_map(axes, np.array([[3.0]]), [1], [2], "GB/s", (0, 4), "{:.1f} wide".format, str))

    assert [text.get_text() for text in figure.axes[0].texts] == ["3.0 wide"]
