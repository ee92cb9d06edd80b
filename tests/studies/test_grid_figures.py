"""Figures of any topic, on runs whose times are known: what the sentences say is what was put in."""

from xml.etree import ElementTree

import pytest
from runs import isolate
from synthetic import cell, limits, noisy, record

from perflib.display.figure import Picture
from perflib.display.table import Missing
from perflib.errors import RunError
from perflib.studies import grid_figures

SIZES = (64, 80, 100, 128, 160, 200, 256, 320)
HOSTILE = "<script>alert('x')</script>\n\"quoted\" $x$"


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def power(kernel, exponent, at_64=1000.0, **columns):
    return [cell(kernel, n, noisy(at_64 * (n / 64) ** exponent, 0.001), **columns) for n in SIZES]


def test_times_and_rates_are_drawn_for_every_kernel_of_a_topic():
    run = record(*limits(1000.0), ("mine", "all sizes", [*power("matmul_naive", 3), *power("matmul_ikj", 3, 500.0)]))

    drawn = grid_figures.times(run, "mine")
    assert isinstance(drawn, Picture)
    assert "matmul_naive from 1 µs at 64" in drawn.alt
    assert "matmul_ikj from 500" in drawn.alt
    assert "matmul_naive reaches" in (rates := grid_figures.rates(run, "mine").alt)
    assert "below a peak of " in rates


@pytest.mark.parametrize("ns", [0.0, -0.4])
def test_a_kernel_of_which_the_floor_leaves_nothing_is_shown_all_the_same(ns):
    run = record(("mine", "all sizes", [cell("k", 64, [ns] * 8), cell("k", 128, [2.0] * 8)]))

    assert [row[2].partition(" ")[0] for row in grid_figures.grid_table(run, "mine").rows] == [
        f"{ns:.{3 + (ns != 0)}f}",
        "2.000",
    ]
    assert "from " in grid_figures.times(run, "mine").alt


def test_a_parameter_is_the_best_one_only_where_there_was_a_choice():
    one, two = [cell("k", 64, [100] * 8, tile=8)], [cell("k", 64, [90] * 8, tile=16)]

    headers = [grid_figures.grid_table(record(("mine", "all sizes", rows)), "mine").header for rows in (one, one + two)]

    assert [header[2] for header in headers] == ["tile", "best tile"]


def test_a_table_has_one_unit_and_four_digits_that_count():
    rows = [cell("k", 2**power, [ns] * 8) for power, ns in ((8, 195.54), (14, 11_214.0), (22, 31_595_047.0))]

    told = grid_figures.grid_table(record(("mine", "all sizes", rows)), "mine")

    assert told.header[2] == "time (µs) [95 %]"
    assert [row[2].partition(" ")[0] for row in told.rows] == ["0.1955", "11.21", "31595"]


@pytest.mark.parametrize(("exponent", "verdict"), [(3, "consistent"), (2.5, "inconsistent")])
def test_growth_is_judged_by_the_rule_of_fit_scaling(exponent, verdict):
    told = grid_figures.growth_table(record(("mine", "all sizes", power("k", exponent))), "mine", 3)

    assert told.rows[0][:3] == ("k", "n³", verdict)


def test_growth_is_held_against_the_counted_work_by_itself():
    """Flops where there are any, else bytes; a count that is no power of n is a function."""
    run = record(("mine", "all sizes", [*power("matmul_ikj", 3), *power("copy_loop", 2)]))
    told = grid_figures.growth_table(run, "mine")

    assert [row[:3] for row in told.rows] == [("matmul_ikj", "n³", "consistent"), ("copy_loop", "n", "inconsistent")]
    assert isinstance(grid_figures.growth_table(record(("mine", "all sizes", power("k", 3))), "mine"), Missing)


def test_counts_that_are_no_power_are_a_function_between_the_sizes():
    counts = [(2 * n + 3 * n * n, 0) for n in SIZES]

    growth = grid_figures._growth_of(SIZES, counts)

    assert [growth(n) for n in SIZES] == pytest.approx([flops for flops, _ in counts])
    assert counts[0][0] < growth(70) < counts[1][0]
    assert grid_figures.growth_text(growth) == "as counted"


def test_the_figure_of_a_growth_has_the_sentence_of_its_verdict():
    run = record(("mine", "all sizes", power("matmul_ikj", 3)))

    drawn = grid_figures.growth(run, "mine")

    assert isinstance(drawn, Picture)
    assert "matmul_ikj grows as n³" in drawn.alt
    assert [picture.alt for picture in grid_figures.growths(run, "mine")] == [drawn.alt]


def test_a_figure_of_one_kernel_is_asked_for_its_name_where_there_are_two(refused):
    run = record(("mine", "all sizes", [*power("matmul_ikj", 3), *power("matmul_naive", 3)]))

    with refused(ValueError, "kernel must be chosen, mine has matmul_ikj, matmul_naive"):
        grid_figures.growth(run, "mine")
    assert len(grid_figures.growths(run, "mine")) == 2


def test_an_odd_size_of_a_tiled_product_has_its_reason():
    """Rows of 256 floats share sets of the first cache of the run's machine, those of 320 do not."""
    slow = [cell("matmul_tiled", n, noisy(n**3 * (2.0 if n == 256 else 1.0), 0.001), tile=64) for n in SIZES]

    fit = grid_figures.scaling(record(("mine", "all sizes", slow)), "mine", "matmul_tiled")

    assert [(one.size, one.reason) for one in fit.odd_sizes] == [(256, "rows share sets of L1")]


def test_a_fit_between_two_sizes_leaves_the_others_out():
    fit = grid_figures.scaling(record(("mine", "all sizes", power("k", 2))), "mine", "k", between=(80, 256))

    assert (fit.sizes[0], fit.sizes[-1]) == (80, 256)


def test_an_exponent_is_asked_for_one_value_of_each_parameter(refused):
    rows = [*power("k", 2, tile=8), *power("k", 1, tile=16)]
    run = record(("mine", "all sizes", rows))

    assert grid_figures.scaling(run, "mine", "k", tile=8).exponent.value == pytest.approx(2, abs=0.01)
    with refused(ValueError, "tile must be chosen, mine has k with 8, 16"):
        grid_figures.scaling(run, "mine", "k")
    with refused(RunError, "has no 'other'"):
        grid_figures.scaling(run, "other", "k")


def test_a_map_says_the_best_value_at_each_size_and_what_the_worst_reaches():
    times = {(64, 8): 100, (64, 16): 200, (128, 8): 800, (128, 16): 400}
    run = record(("mine", "n", [cell("k", n, ns, tile=tile) for (n, tile), ns in times.items()]))

    told = grid_figures.heat_map(run, "mine", "tile").alt

    assert "the best tile is 8 at 64, 16 at 128" in told
    assert "reaches 0.50 of the best speed" in told


def test_a_table_takes_the_fastest_parameters_at_each_size():
    times = {(64, 8): 100, (64, 16): 200, (128, 8): 800, (128, 16): 400}
    run = record(("mine", "n", [cell("k", n, ns, tile=tile) for (n, tile), ns in times.items()]))

    assert [row[:3] for row in grid_figures.grid_table(run, "mine").rows] == [("k", "64", "8"), ("k", "128", "16")]


def test_below_the_ridge_the_copy_is_the_roof_and_above_it_the_peak():
    """Peak 100, copy 20: the ridge is at 5 flops per byte. A norm does 4 n for 12 n bytes, a product 2 n^3 for 12 n^2."""
    low = [cell("rms_norm_fast", n, noisy(4 * n / 5, 0.001), rows=1) for n in SIZES]
    high = [cell("matmul_ikj", n, noisy(2 * n**3 / 50, 0.001)) for n in SIZES]
    told = grid_figures.roofline(record(*limits(), ("mine", "n", [*low, *high])), "mine").alt

    assert "rms_norm_fast at 0.333 flops per byte gets 0.75 of what the copy bandwidth allows" in told
    assert "matmul_ikj at 53.3 flops per byte gets 0.50 of what the multiply-add peak allows" in told


def test_a_kernel_whose_work_nobody_counted_has_times_and_no_rates():
    run = record(*limits(), ("mine", "n", power("unknown", 1)))

    assert isinstance(grid_figures.times(run, "mine"), Picture)
    assert isinstance(grid_figures.rates(run, "mine"), Missing)
    assert isinstance(grid_figures.roofline(run, "mine"), Missing)


NAMES = {
    "script": HOSTILE,
    "long": "name " * 40,
    "one long word": "x" * 200,
    "right to left": "\u202eשלום עולם",
    "terminal": "\x1b[31mred\x1b[0m",
    "underscore": "_private",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("draw", ["times", "rates", "heat_map", "roofline", "growth"])
def test_every_figure_takes_every_name(monkeypatch, draw, name):
    """A user calls kernels and parameters as they like; `rms_norm_fast` is there too, because its work is counted."""
    hostile = power(NAMES[name], 1)
    if draw in ("rates", "roofline"):
        hostile = [*hostile, *power("rms_norm_fast", 1, rows=1)]
    if draw == "heat_map":
        hostile = [*power(NAMES[name], 1, tile=8), *power(NAMES[name], 1.1, tile=16)]
    more = {"heat_map": {"parameter": "tile"}, "growth": {"kernel": NAMES[name], "expected": 1}}.get(draw, {})

    drawn = getattr(grid_figures, draw)(record(*limits(), ("mine", "n", hostile)), "mine", **more)

    assert isinstance(drawn, Picture)
    for drawing in drawn.drawings:
        elements = {element.tag for element in ElementTree.fromstring(drawing).iter()}
        assert elements <= {"svg", "style", "g", "defs", "path", "use", "text", "title", "clipPath", "rect", "image"}
        assert not set(drawing) & {"\x1b", "\u202e"}
    if draw == "times" and name == "underscore":
        assert "_private" in drawn.description


@pytest.mark.parametrize("draw", ["times", "growth"])
def test_one_size_gives_a_figure_or_a_sentence(draw):
    drawn = getattr(grid_figures, draw)(record(("mine", "n", [cell("k", 64, 100.0)])), "mine")

    assert isinstance(drawn, Picture | Missing)
    assert not isinstance(drawn, Picture) or len(drawn.drawings) == 2


def test_a_name_is_text_in_figures_and_tables(monkeypatch):
    run = record(*limits(), ("mine", "n", power(HOSTILE, 1)))

    drawn, table = grid_figures.times(run, "mine"), grid_figures.grid_table(run, "mine")

    assert "<script>alert('x')</script> \"quoted\" $x$ from" in drawn.alt
    assert len(repr(table).splitlines()) == 2 + len(SIZES)
    assert "<script>" not in table._repr_html_()
    assert set(run.samples("mine")["kernel"]) == {HOSTILE, "floor"}
