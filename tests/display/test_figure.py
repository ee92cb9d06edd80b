"""Pictures carry their sentence; labels, ticks and colours can be read."""

import struct

import matplotlib.pyplot as plt
import numpy as np
import pytest
from labels import covered, words_box
from matplotlib.colors import rgb_to_hsv, to_hex, to_rgb
from matplotlib.figure import Figure
from pages import contrast

from perflib.display.figure import (
    LOOKS,
    OTHERS,
    Picture,
    cache_bands,
    curve,
    label_ends,
    level,
    log_axes,
    picture,
    readable,
)
from perflib.kernels.caches import Cache


def test_a_picture_shows_itself_with_its_sentence():
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 600, 400)

    shown, described = Picture(png, "What is to be seen.")._repr_mimebundle_(include=None)

    assert shown == {"image/png": png, "text/plain": "What is to be seen."}
    assert described == {"image/png": {"alt": "What is to be seen.", "width": 300, "height": 200}}


@pytest.mark.parametrize("label", ["costs $5", "$\\bad{$", "a_b^c", "<b>&amp;</b>", "100 %"])
def test_labels_are_shown_as_they_are(monkeypatch, label):
    monkeypatch.setitem(LOOKS, "k", (label, "#000000", "o"))

    @picture
    def drawn(axes, run):
        curve(axes, "k", [1, 2], [3, 4])
        log_axes(axes, [1, 2], label, label)
        level(axes, 3.5, label)
        label_ends(axes)
        axes.legend()
        shown.extend(text.get_text() for text in axes.texts)
        return "Labels."

    shown = []

    assert drawn(None).png.startswith(b"\x89PNG")
    assert shown == [label, label]


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ([48, 64, 96], ["48", "64", "96"]),
        ([*(2**k for k in range(6, 11)), 100], ["64", "128", "256", "512", "1024"]),
        ([2**k for k in range(8, 23, 2)], ["2⁸", "2¹⁰", "2¹²", "2¹⁴", "2¹⁶", "2¹⁸", "2²⁰", "2²²"]),
        ([2**k for k in range(8, 23)], ["2⁸", "2¹⁰", "2¹²", "2¹⁴", "2¹⁶", "2¹⁸", "2²⁰", "2²²"]),
        ([1e5, 2e5, 1e6], ["1·10⁵", "2·10⁵", "1·10⁶"]),
    ],
)
def test_sizes_are_written_as_people_do_and_do_not_crowd(sizes, shown):
    axes = Figure().subplots()
    log_axes(axes, sizes, "n", "ns")

    assert axes.xaxis.get_major_formatter().format_ticks(sorted(axes.get_xticks())) == shown


def test_labels_of_ends_keep_apart():
    """Two curves that end in the same point have labels a line apart, whichever comes first."""

    @picture
    def drawn(axes, run):
        for name in ("matmul_naive", "matmul_ikj", "matmul_tiled"):
            curve(axes, name, [1, 2], [3, 4 if name != "matmul_tiled" else 9])
        label_ends(axes)
        return "Labels."

    places = {text.get_text(): words_box(text).y0 for text in drawn(None).figure.axes[0].texts}
    assert abs(places["naive"] - places["ikj"]) > 10
    assert max(places, key=places.get) == LOOKS["matmul_tiled"][0]


def test_the_label_of_a_level_moves_off_a_curve_and_that_of_a_cache_stands_above():
    @picture
    def drawn(axes, run):
        curve(axes, "matmul", [1, 2, 64], [10.8, 10.8, 1])
        curve(axes, "matmul_ikj", [1, 6, 7, 64], [1, 1, 2, 2])
        log_axes(axes, [1, 64], "n", "ns")
        level(axes, 10, "the peak")
        cache_bands(axes, [Cache(1, "Data", 8)], float, "fit")
        return "Labels."

    assert list(covered(drawn(None).figure)) == []


def test_the_check_of_labels_sees_a_label_over_a_curve_and_over_another():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="rising")
    axes.text(0.5, 0.5, "on it")
    axes.text(0.2, 0.8, "first")
    axes.text(0.22, 0.81, "second")

    assert list(covered(figure)) == ["'first' over 'second'", "'on it' over line 0 (rising)"]


@pytest.mark.parametrize("colour", sorted({look[1] for look in LOOKS.values()} | {colour for colour, _ in OTHERS}))
def test_a_label_can_be_read_on_white_in_the_hue_of_its_curve(colour):
    found = to_hex(readable(colour))

    assert contrast(found, "#ffffff") >= 4.5
    assert contrast(found, "#ffffff") < 4.8 or found == colour.lower()
    assert np.allclose(*(rgb_to_hsv(to_rgb(c))[:2] for c in (found, colour)), atol=0.02)


def test_the_labels_of_curves_are_readable():
    found = {}

    @picture
    def drawn(axes, run):
        curve(axes, "torch_matmul", [1, 2], [3, 4])
        label_ends(axes)
        found.update({text.get_text(): to_hex(text.get_color()) for text in axes.texts})
        return "Labels."

    drawn(None)

    assert contrast(found["PyTorch (call)"], "#ffffff") >= 4.5


def test_a_picture_is_saved_as_pixels_or_as_lines(tmp_path, refused):
    drawn = picture(lambda axes: axes.plot([1, 2]) and "A line.")()

    assert drawn.save(tmp_path / "a.png").read_bytes() == drawn.png
    first, second = (drawn.save(tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second
    assert b"<svg" in first
    with refused(ValueError, "path must end in .png or .svg, got"):
        drawn.save(tmp_path / "a.gif")


def test_a_figure_that_fails_leaves_nothing_behind():
    @picture
    def broken(axes, run):
        axes.plot([1, 2])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken(None)

    assert plt.get_fignums() == []
    assert plt.rcParams["axes.grid"] is False
