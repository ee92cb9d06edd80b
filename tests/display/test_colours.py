"""Colours: what can be read on white can be read in the dark, in the same hue."""

import colorsys
import re

import pages
import pytest
from matplotlib.colors import to_rgb

from perflib.display.colours import DARK_GROUND, WHITE, contrast, in_the_dark, ink, readable
from perflib.display.figure import COLOURS, LINE, LOOKS, OTHERS
from perflib.report.markup import TEMPLATES

PALETTE = sorted({*COLOURS, LINE, *(look[1] for look in LOOKS.values()), *(colour for colour, _ in OTHERS)})
TINTS = [f"#{red:02x}{green:02x}{blue:02x}" for red in (0, 90, 200) for green in (30, 128) for blue in (0, 160, 255)]


@pytest.mark.parametrize("colour", PALETTE)
def test_a_curve_stands_out_from_white_and_from_the_dark_ground(colour):
    assert contrast(colour, WHITE) >= 3
    assert contrast(in_the_dark(colour), DARK_GROUND) >= 3


@pytest.mark.parametrize("colour", [*PALETTE, *TINTS])
def test_in_the_dark_a_colour_has_the_contrast_that_it_had_with_white_and_its_hue(colour):
    dark = in_the_dark(colour)

    assert contrast(dark, DARK_GROUND) >= min(contrast(colour, WHITE), 14) - 0.1
    if max(to_rgb(colour)) - min(to_rgb(colour)) > 0.2:
        turn = abs(colorsys.rgb_to_hsv(*to_rgb(dark))[0] - colorsys.rgb_to_hsv(*to_rgb(colour))[0])
        assert min(turn, 1 - turn) < 0.03


def test_white_becomes_the_ground_of_the_page_and_black_its_text():
    style = (TEMPLATES / "style.css").read_text()
    dark = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", style.split("prefers-color-scheme: dark", 1)[1]))

    assert in_the_dark(WHITE) == DARK_GROUND == dark["ground"]
    assert contrast(in_the_dark("#000000"), DARK_GROUND) >= 12


@pytest.mark.parametrize("colour", [*PALETTE, *TINTS, "#777777", WHITE, "#000000"])
def test_ink_can_be_read_on_every_ground(colour):
    assert pages.contrast(ink(colour), colour) >= 4.5


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", WHITE) == pytest.approx(21)
    assert contrast("#777777", WHITE) == pytest.approx(pages.contrast("#777777", "#ffffff"))
    assert contrast(readable("#ffff00"), WHITE) >= 4.5
