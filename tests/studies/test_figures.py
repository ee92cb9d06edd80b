"""Figures of a run whose times are known: pictures with a sentence, or the sentence that it lacks the series."""

import struct

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv, to_hex, to_rgb
from matplotlib.figure import Figure
from pages import contrast
from partial_runs import PARTS, TILE_TIMES
from runs import isolate
from synthetic import PEERS, cell, full, matmul, record, tiles, timing

from perflib.display.figure import LOOKS, OTHERS, Picture, curve, label_ends, level, log_axes, picture, readable
from perflib.display.table import Missing
from perflib.models.time_model import explain, miss_table
from perflib.report.index_page import overview
from perflib.studies import matmul_scaling, tile_size
from perflib.studies import rmsnorm as studies_rmsnorm
from perflib.studies import timing as studies_timing
from perflib.studies.timing import self_ratios

FIGURES = (
    matmul_scaling.matmul_rates,
    matmul_scaling.matmul_times,
    matmul_scaling.local_exponents,
    tile_size.tile_map,
    tile_size.tile_losses,
    tile_size.block_map,
    studies_rmsnorm.rms_times,
    studies_rmsnorm.rms_bandwidth,
    studies_rmsnorm.rms_batch,
    studies_timing.scopes,
    studies_timing.self_comparisons,
)
each_figure = pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f.__name__)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        isolate(tmp_path_factory.mktemp("data"), patch)
        return full()


@pytest.fixture
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def unsaved(monkeypatch):
    """Figures are drawn, and not turned into pixels."""
    monkeypatch.setattr("perflib.display.figure._png", lambda figure: b"")


def drawn_by(value):
    """The module of a function that gives a Picture; None for anything else."""
    is_figure = hasattr(value, "__wrapped__") and "axes" in value.__annotations__
    return value.__module__ if is_figure else None


def test_every_figure_is_tested():
    modules = (matmul_scaling, studies_rmsnorm, tile_size, studies_timing)
    drawn = {name for module in modules for name, value in vars(module).items() if drawn_by(value) == module.__name__}

    assert len(drawn) > 8
    assert drawn == {f.__name__ for f in FIGURES} | {"explained"}, "which has a run of its own"


@each_figure
def test_a_figure_is_a_png_with_its_sentence_and_the_same_each_time(run, figure):
    drawn, again = figure(run), figure(run)

    assert drawn == again
    assert drawn.png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", drawn.png[16:24])
    assert (width, height) == (1520, 880)
    assert drawn.size == (760, 440), "two pixels for one of the page"
    assert 10_000 < len(drawn.png) < 80_000
    assert len(drawn.alt) > 20
    assert drawn.alt.endswith(".")
    assert "\n" not in drawn.alt
    assert "nan" not in drawn.alt
    assert plt.get_fignums() == []


def test_time_explained_is_drawn_with_what_was_left_out(data):
    run = record(matmul(sizes=(16, 24, 32, 40, 48)))

    shown = tile_size.explained(run)

    expected = explain(miss_table(run))
    assert f"sizes left out are predicted within {100 * expected.held_out_error:.1f} %" in shown.alt
    assert isinstance(tile_size.explained(record()), Missing)


def test_the_choices_of_rules_lie_where_their_blocks_are(data, monkeypatch):
    placed = {}
    monkeypatch.setattr("perflib.studies.tile_size.rules", lambda run: {"exact": (96, 256), "between": (192, 512)})
    monkeypatch.setattr(
        "perflib.display.figure._png",
        lambda figure: (
            placed.update({text.get_text(): text.xy for text in figure.axes[0].texts if hasattr(text, "xy")}) or b""
        ),
    )

    tile_size.block_map(full())

    assert placed == {"exact 0.97": pytest.approx((1.5, 1.5)), "between": pytest.approx((2.0, 2.0))}


@each_figure
def test_a_run_without_anything_gives_the_standard_sentence(data, figure):
    shown = figure(record())

    assert isinstance(shown, Missing)
    assert repr(shown).startswith("Not in this run: ")
    assert repr(shown).endswith("`perflib record` measures it.")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_run_gives_pictures_or_sentences_and_no_error(data, unsaved, part):
    run = record(*PARTS[part])

    for figure in FIGURES:
        shown = figure(run)
        assert isinstance(shown, Picture | Missing), figure.__name__
        assert "nan" not in getattr(shown, "alt", ""), figure.__name__


def test_libraries_are_drawn_where_the_run_has_them(data, monkeypatch):
    drawn = []
    monkeypatch.setattr(matmul_scaling, "curve", lambda axes, name, *values: drawn.append(name))

    matmul_scaling.matmul_rates(full(matmul=[matmul()]))
    without = drawn.copy()
    matmul_scaling.matmul_rates(full(matmul=[matmul(libraries=PEERS)]))

    assert drawn == [*without, *without, "mkl_matmul", "torch_matmul"]


def test_the_scale_on_the_right_is_the_share_of_the_peak(run, monkeypatch):
    scales = []
    monkeypatch.setattr(
        "perflib.display.figure._png",
        lambda figure: (figure.draw_without_rendering(), scales.extend(figure.axes[0].child_axes)),
    )

    matmul_scaling.matmul_rates(run)

    (scale,) = scales
    bottom, top = scale.get_ylim()
    assert scale.get_ylabel() == "% of the peak"
    assert (bottom, top) == pytest.approx(scale._parent.get_ylim(), rel=0.05), "the peak is 100 GFLOP/s"


def test_the_sentences_say_what_is_in_the_run(data, unsaved):
    twins = [cell(name, 512, ns, rows=1) for name, ns in (("rms_norm_fast", 64.0), ("rms_norm_fast (again)", 66.0))]
    again = [("timing", "a-a 00", twins)]
    run = full(tiles=tiles({256: TILE_TIMES, 512: {**TILE_TIMES, 64: 1600.0}}), timing=timing(pairs=0) + again)

    said = {figure.__name__: figure(run).alt for figure in FIGURES}

    assert "ikj at 25" in said["matmul_rates"]
    assert "a peak of 100" in said["matmul_rates"]
    assert "slope 3.0" in said["matmul_times"]
    assert "tile 64 falls to 0.50 at n = 512" in said["tile_map"]
    assert "between 0.69 and 1 of the best speed" in said["block_map"]
    assert "goes up to 2.00 at n = 512, and 0 of 2 sizes" in said["tile_losses"]
    assert "slope 1.0" in said["rms_times"]
    assert "where a copy reaches 20" in said["rms_bandwidth"]
    assert "64 times the kernel at n = 64 and 1.1 times at n = 32768" in said["scopes"]
    assert "1 times: 1 of the 95 % intervals miss 1; all medians lie within 3.0 %" in said["self_comparisons"]


def test_a_kernel_is_compared_with_itself_once_per_block(run):
    found = self_ratios(run)

    assert len(found) == 3
    assert all(r.value == pytest.approx(1, abs=0.02) for r in found)


def test_the_overview_leads_from_figures_to_notebooks(run, data, unsaved):
    stems = [stem for drawn, stem in overview(run)]

    assert stems == ["02-matmul-scaling", "03-tile-size", "04-rmsnorm"]
    assert [stem for _, stem in overview(record(*PARTS["tiles of few rounds"], *tiles({128: TILE_TIMES})))] == []
    assert overview(record()) == []


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
        ([2**k for k in range(8, 23, 2)], ["256", "1024", "4096", "16384", "65536", "2¹⁸", "2²⁰", "2²²"]),
        ([2**k for k in range(8, 23)], ["256", "1024", "4096", "16384", "65536", "2¹⁸", "2²⁰", "2²²"]),
        ([1e5, 2e5, 1e6], ["10⁵", "200000", "10⁶"]),
    ],
)
def test_sizes_are_written_as_people_do_and_do_not_crowd(sizes, shown):
    axes = Figure().subplots()
    log_axes(axes, sizes, "n", "ns")

    assert [axes.xaxis.get_major_formatter()(tick) for tick in sorted(axes.get_xticks())] == shown


def test_labels_of_ends_keep_apart():
    """Two curves that end in the same point have labels a line apart, whichever comes first."""
    places = {}

    @picture
    def drawn(axes, run):
        for name in ("matmul_naive", "matmul_ikj", "matmul_tiled"):
            curve(axes, name, [1, 2], [3, 4 if name != "matmul_tiled" else 9])
        label_ends(axes)
        axes.figure.canvas.draw()
        places.update({text.get_text(): text.get_window_extent().y0 for text in axes.texts})
        return "Labels."

    drawn(None)

    assert abs(places["naive"] - places["ikj"]) > 10
    assert max(places, key=places.get) == LOOKS["matmul_tiled"][0]


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


def test_a_figure_that_fails_leaves_nothing_behind():
    @picture
    def broken(axes, run):
        axes.plot([1, 2])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken(None)

    assert plt.get_fignums() == []
    assert plt.rcParams["axes.grid"] is False
