"""Every figure and table of a study, from runs whose times are known: its sentence and units, or what is missing."""

import re
import struct

import matplotlib.pyplot as plt
import pytest
from figures import drawn_by
from partial_runs import PARTS, TILE_TIMES
from synthetic import cell, full, record, tiles
from synthetic import timing as timing_blocks

from perflib.display.table import Missing, Table
from perflib.report.index_page import overview
from perflib.studies import matmul_scaling, published, rmsnorm, tile_size, timing

FIGURES = (
    matmul_scaling.matmul_rates,
    matmul_scaling.matmul_times,
    tile_size.tile_map,
    tile_size.tile_losses,
    tile_size.block_map,
    rmsnorm.rms_times,
    rmsnorm.rms_bandwidth,
    rmsnorm.rms_batch,
    timing.scopes,
    timing.self_comparisons,
    timing.places,
)
each_figure = pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f.__name__)
MODULES = (matmul_scaling, published, rmsnorm, tile_size, timing)
TABLES = [
    value
    for module in MODULES
    for name, value in vars(module).items()
    if name.endswith("_table") and value.__module__ == module.__name__ and name not in ("pass_table", "claims_table")
]
assert len(TABLES) >= 14
each_table = pytest.mark.parametrize("table", TABLES, ids=lambda t: t.__name__)
WITHOUT_UNIT = {
    "standard / rms_norm_fast",
    "standard / rms_norm",
    "what",
    "where the arrays lie (addresses modulo 4096)",
    "places",
    "n",
    "kernel",
    "expected",
    "verdict",
    "Theil-Sen",
    "how it grows",
    "least squares",
    "what would decide it",
    "exponent [95 %]",
    "call / kernel",
    "cold / warm",
    "reading a byte of each line, cold / warm",
    "published / here",
    "standard / fast",
    "model's tile",
    "best recorded tile",
    "time of the model's tile / best",
    "time of tile 64 / best",
    "time of the best library / matmul_ikj",
    "what it adds",
    "times the variant before",
    "packed multiply-adds",
    "reads",
    "spills",
    "multiply-adds per read",
    "harness",
    "first call",
    "scope",
    "runs per sample",
    "samples",
    "tile",
    "n, a power of two",
    "n, padded",
    "time per flop, power of two / padded",
    "who chooses",
    "MC (rows)",
    "KC (steps)",
    "time / time of the best others, n = 768",
}
UNIT = re.compile(r"\((ns|µs|s|%|GFLOP/s|GB/s|KiB|bit)\)|^ns \[")


def test_every_figure_is_tested():
    modules = (matmul_scaling, rmsnorm, tile_size, timing)
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


@each_figure
def test_a_run_without_anything_gives_the_standard_sentence(data, figure):
    shown = figure(record())

    assert isinstance(shown, Missing)
    assert repr(shown).startswith("Not in this run: ")
    assert repr(shown).endswith("`perflib record` measures it.")


def test_the_sentences_say_what_is_in_the_run(data, unsaved):
    twins = [cell(name, 512, ns, rows=1) for name, ns in (("rms_norm_fast", 64.0), ("rms_norm_fast (again)", 66.0))]
    again = [("timing", "a-a 00", twins)]
    run = full(tiles=tiles({256: TILE_TIMES, 512: {**TILE_TIMES, 64: 1600.0}}), timing=timing_blocks(pairs=0) + again)

    said = {figure.__name__: figure(run).alt for figure in FIGURES}

    assert "ikj at 25" in said["matmul_rates"]
    assert "a peak of 100" in said["matmul_rates"]
    assert "exponent 3.0" in said["matmul_times"]
    assert "tile 64 falls to 0.50 at n = 512" in said["tile_map"]
    assert "between 0.69 and 1 of the best speed" in said["block_map"]
    assert "goes up to 2.00 at n = 512, and 0 of 2 sizes" in said["tile_losses"]
    assert "exponent 1.0" in said["rms_times"]
    assert "where a copy reaches 20" in said["rms_bandwidth"]
    assert "64 times the kernel at n = 64 and 1.1 times at n = 32768" in said["scopes"]
    assert "1 times: 1 of the 95 % intervals miss 1; all medians lie within 3.0 %" in said["self_comparisons"]


def test_the_overview_leads_from_figures_to_notebooks(run, data, unsaved):
    stems = [stem for _, _, stem in overview(run)]

    assert stems == ["02-matmul-scaling", "02-matmul-scaling", "03-tile-size"]
    assert overview(record(*PARTS["tiles of few rounds"], *tiles({128: TILE_TIMES}))) == []
    assert overview(record()) == []


@each_table
def test_a_table_has_its_units_in_the_header(run, table):
    shown = table(run)

    assert isinstance(shown, Table)
    assert [h for h in shown.header if h not in WITHOUT_UNIT and not UNIT.search(h)] == []
    assert shown.rows
    assert {len(row) for row in shown.rows} == {len(shown.header)}
    assert "nan" not in repr(shown)
    assert "<table" in shown._repr_html_()


@each_table
def test_a_table_of_a_run_without_anything_gives_the_standard_sentence(data, table):
    shown = table(record(codegen={}))

    assert isinstance(shown, Missing)
    assert repr(shown).startswith("Not in this run: ")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_run_gives_tables_or_sentences_and_no_error(data, part):
    run = record(*PARTS[part])

    for table in TABLES:
        shown = table(run)
        assert isinstance(shown, Table | Missing), table.__name__
