"""What figures show, read back from the figure objects: axes, scales, curves, levels, names, colours and sizes."""

from xml.etree import ElementTree

import numpy as np
import pytest
from colour_vision import VISIONS, difference
from figures import FIGURES, both, drawn_by, texts
from matplotlib.colors import to_hex, to_rgb
from partial_runs import PARTS
from synthetic import SIZES, record

from perflib.display.colours import DARK_GROUND, WHITE, contrast, in_the_dark
from perflib.display.figure import Picture
from perflib.display.marks import data_lines, levels, marks, name_of
from perflib.display.table import Missing
from perflib.studies import (
    forward_pass,
    grid_figures,
    machines,
    matmul_scaling,
    memory,
    rmsnorm,
    roofline,
    tile_size,
    timing,
)
from perflib.studies.published import published_figures

each_figure = pytest.mark.parametrize("name", sorted(FIGURES))
APART = 12  # between two colours: far more than a step that is just seen, which is 2.3
SMALLEST_PX = 11
CELL = "cell"


def named(axes):
    """x and y of each curve that has a name."""
    lines = [line for line in data_lines(axes) if name_of(line, axes) and len(line.get_xydata())]
    return {name_of(line, axes): np.asarray(line.get_xydata(), float).T for line in lines}


def level_of(axes):
    """Value of each level that has a name."""
    return {name_of(line, axes): line.get_ydata()[0] for line in levels(axes) if name_of(line, axes)}


def boundaries(axes):
    """Where the bands end, but for the last."""
    return [patch.get_x() + patch.get_width() for patch in axes.patches if patch.get_gid() == "band"][:-1]


def scales(axes):
    return axes.get_xscale(), axes.get_xlabel(), axes.get_yscale(), axes.get_ylabel()


def test_rates_are_in_gflops_against_n_with_the_peak_and_the_caches(run):
    axes = matmul_scaling.matmul_rates(run).figure.axes[0]

    shown = named(axes)
    assert scales(axes) == ("log", "n (matrices n × n, float32)", "log", "GFLOP/s, one core")
    libraries = {"NumPy (call)", "MKL (call)", "PyTorch (call)"}
    assert set(shown) == {"naive", "tiled 64, as published", "tiled 64, vectorised", "ikj", *libraries}
    for name, rate in (("naive", 2), ("tiled 64, vectorised", 20), ("ikj", 25), ("NumPy (call)", 60)):
        assert shown[name][0] == pytest.approx(SIZES)
        assert shown[name][1] == pytest.approx(rate, rel=0.05), name
    assert level_of(axes) == {"multiply-add peak 100": pytest.approx(100, rel=0.03)}
    assert boundaries(axes) == pytest.approx([np.sqrt((32 << 10) / 12), np.sqrt((1 << 20) / 12)])


def test_times_are_in_the_unit_of_their_axis_and_published_ones_beside_them(run):
    axes = matmul_scaling.matmul_times(run).figure.axes[0]

    shown, published = named(axes), published_figures("matmul_tiled")
    assert scales(axes)[0::2] == ("log", "log")
    assert axes.get_ylabel() == "time of one multiplication (µs)"
    assert shown["tiled 64, as published"][1] == pytest.approx([n**3 / 1e3 for n in SIZES], rel=0.05)
    assert shown["as published (another machine)"].tolist() == published[["n", "time_us"]].to_numpy(float).T.tolist()


def test_norms_are_in_nanoseconds_and_published_ones_too(run):
    axes = rmsnorm.rms_times(run).figure.axes[0]

    shown, published = named(axes), published_figures("rms_norm_fast")
    assert scales(axes) == ("log", "n (one row, float32)", "log", "time of one row (ns)")
    assert shown["fast"][1] == pytest.approx(shown["fast"][0] / 8, rel=0.05)
    assert shown["standard"][1] == pytest.approx(2 * shown["fast"][1], rel=0.05)
    assert shown["as published (another machine)"][1].tolist() == (1000 * published["time_us"]).tolist()


def test_bandwidth_is_against_bytes_with_the_copy_and_the_caches(run):
    axes = rmsnorm.rms_bandwidth(run).figure.axes[0]

    (n, rate), size = named(axes)["fast"], 12
    assert n[0] == 64 * size
    assert rate == pytest.approx(12 * 8, rel=0.4), "12 bytes for each of n, n / 8 ns"
    assert level_of(axes) == {"copy bandwidth of memory 20": pytest.approx(20, rel=0.03)}
    assert boundaries(axes) == [32 << 10, 1 << 20]


def test_a_map_has_tiles_up_and_sizes_across_and_the_share_of_each(run):
    axes = tile_size.tile_map(run).figure.axes[0]

    (cells,) = [one for one in marks(axes.figure) if len(one.titles) == 9]
    values = dict(zip(cells.titles, cells.artist.get_array().ravel().tolist(), strict=True))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("n, the leading dimension (float32)", "tile")
    for tile, factor in ((16, 1.1), (32, 1.0), (64, 1.2)):
        for n in (128, 256, 512):
            title = next(title for title in values if f"{n}, tile {tile}: " in title)
            assert values[title] == pytest.approx(1 / factor, rel=1e-3)
            assert f": {1 / factor:.4g}" in title


def test_losses_have_the_level_that_judges_the_claim(run):
    axes = tile_size.tile_losses(run).figure.axes[0]

    assert level_of(axes) == {f"claim S5: below {tile_size.MOST_LOSS}": tile_size.MOST_LOSS}
    (line,) = (line for line in data_lines(axes) if len(line.get_xydata()) == 3)
    assert line.get_ydata() == pytest.approx([1.2] * 3, rel=1e-3)


def test_both_scopes_are_where_their_names_say(run):
    axes = timing.scopes(run).figure.axes[0]

    shown = named(axes)
    assert scales(axes)[0::2] == ("log", "log")
    assert shown["kernel scope"][1] == pytest.approx(shown["kernel scope"][0] / 8, rel=0.05)
    assert shown["call scope"][1] == pytest.approx(500 + shown["call scope"][0] / 8, rel=0.05)


def test_a_name_stands_beside_the_curve_that_has_it(run):
    figure = matmul_scaling.matmul_rates(run).figure
    axes = figure.axes[0]

    ends = {text.get_text(): text for text in axes.texts if text.get_gid() == "end"}
    shown = {name_of(line, axes): line for line in data_lines(axes)}
    assert set(ends) == set(named(axes))
    for name, text in ends.items():
        assert text.xy == pytest.approx(tuple(shown[name].get_xydata()[-1])), name
        assert np.allclose(to_rgb(text.arrow_patch.get_edgecolor()), to_rgb(shown[name].get_color())), name


def test_the_description_is_what_is_drawn(run):
    picture = matmul_scaling.matmul_rates(run)

    assert picture.description.startswith(picture.alt)
    assert "Across: n (matrices n × n, float32), logarithmic" in picture.description
    assert "Up: GFLOP/s, one core, logarithmic" in picture.description
    assert "ikj from 32, 2" in picture.description
    assert "Levels: multiply-add peak 100." in picture.description


def test_points_and_their_intervals_are_read_back(run):
    (title,) = (t for one in marks(matmul_scaling.matmul_rates(run).figure) for t in one.titles if "ikj: n = 512," in t)

    value, low, high = map(
        float, title.partition("GFLOP/s, one core = ")[2].replace("[", "").replace("]", "").replace(",", "").split()
    )
    assert low < value < high
    assert value == pytest.approx(25, rel=0.05)


@each_figure
def test_every_curve_is_named_at_both_widths(pictures, name):
    """Beside it or in a legend; the parts of a growth are explained by its title."""
    for width, figure in both(pictures(name)).items():
        words = " | ".join(text.get_text() for text in texts(figure))
        curves = {name_of(line, axes) for axes in figure.axes for line in data_lines(axes)} - {"", "fit", "measured"}
        assert [curve for curve in curves if curve not in words] == [], width


@each_figure
def test_text_stands_out_in_both_themes(pictures, name):
    for width, figure in both(pictures(name)).items():
        for text in texts(figure):
            colour = to_hex(text.get_color())
            if text.get_gid() == CELL:
                continue  # on its cell, below
            assert contrast(colour, WHITE) >= 4.5, (width, text.get_text())
            assert contrast(in_the_dark(colour), DARK_GROUND) >= 4.5, (width, text.get_text())


@each_figure
def test_numbers_stand_out_from_their_cells(pictures, name):
    for figure in both(pictures(name)).values():
        for axes in figure.axes:
            for text in (text for text in axes.texts if text.get_gid() == CELL):
                assert contrast(text.get_color(), ground(axes, text)) >= 4.5, text.get_text()


def ground(axes, text):
    """The colour of the cell or bar under a text."""
    x, y = text.get_position()
    for mesh in (one for one in axes.collections if one.get_gid() == CELL):
        return mesh.to_rgba(mesh.get_array()[int(y), int(x)])[:3]
    (bar,) = (bar for bar in axes.patches if bar.get_gid() == CELL and bar.get_bbox().contains(x, y))
    return bar.get_facecolor()[:3]


@each_figure
def test_curves_and_bars_stand_out_in_both_themes(pictures, name):
    for figure in both(pictures(name)).values():
        for axes in figure.axes:
            for line in (line for line in axes.lines if line.get_linestyle() != "None" or line.get_marker() != "None"):
                for ground, colour in (
                    (WHITE, to_hex(line.get_color())),
                    (DARK_GROUND, in_the_dark(to_hex(line.get_color()))),
                ):
                    alpha = line.get_alpha() or 1
                    mixed = tuple(alpha * np.array(to_rgb(colour)) + (1 - alpha) * np.array(to_rgb(ground)))
                    assert contrast(mixed, ground) >= 3, (name_of(line, axes), ground)
            for bar in (patch for patch in axes.patches if patch.get_gid() == CELL):
                assert min(contrast(to_hex(bar.get_facecolor()), one) for one in (WHITE, DARK_GROUND)) >= 3


@each_figure
def test_no_text_of_a_narrow_page_is_smaller_than_eleven_pixels(pictures, name):
    figure = pictures(name).draw_narrow()

    assert figure.get_figwidth() * 100 <= 358, "what a page of 390 pixels leaves"
    assert [(t.get_text(), t.get_fontsize()) for t in texts(figure) if t.get_fontsize() * 100 / 72 < SMALLEST_PX] == []


@each_figure
def test_curves_are_told_apart_by_every_reader_and_in_grey(pictures, name):
    for axes in pictures(name).figure.axes:
        lines = [line for line in data_lines(axes) if name_of(line, axes)]
        for number, line in enumerate(lines):
            for other in lines[:number]:
                if (line.get_marker(), line.get_linestyle()) == (other.get_marker(), other.get_linestyle()):
                    for vision in VISIONS:
                        pair = name_of(line, axes), name_of(other, axes)
                        assert difference(line.get_color(), other.get_color(), vision) >= APART, (*pair, vision)


def test_the_check_of_colours_sees_red_and_green_that_some_readers_take_for_one():
    assert difference("#d62728", "#2ca02c", "normal") > 60
    assert difference("#a52714", "#5b6b00", "deuteranopia") < difference("#a52714", "#5b6b00", "normal") / 2
    assert difference("#808080", "#808080", "grey") == 0
    assert difference("#000000", "#ffffff", "grey") == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_run_gives_drawings_or_a_sentence_and_no_error(data, unsaved, part):
    run = record(*PARTS[part])

    for name, draw in FIGURES.items():
        shown = draw(run)
        assert isinstance(shown, Picture | Missing), name
        if isinstance(shown, Picture):
            assert all(ElementTree.fromstring(drawing).get("aria-label") for drawing in shown.drawings), name
            assert "nan" not in shown.description, name


def test_every_figure_of_a_study_is_looked_at():
    modules = (forward_pass, grid_figures, machines, matmul_scaling, memory, rmsnorm, roofline, tile_size, timing)
    drawing = {name for module in modules for name, value in vars(module).items() if drawn_by(value) == module.__name__}

    looked_at = {getattr(draw, "func", draw).__name__ for draw in FIGURES.values()}
    assert drawing - looked_at == {"heat_map", "roofline"}, "which the pages of a user have, tests/sweeps looks at them"
