"""The tables of the notebooks, from runs whose times are known."""

import re

import numpy as np
import pytest
from partial_runs import PARTS
from runs import isolate, told
from synthetic import CODEGEN, NUMPY, PEERS, cell, full, matmul, matmul_called, noisy, record

from perflib.display.table import Missing, Table
from perflib.kernels import catalog
from perflib.studies import matmul_scaling, published, rmsnorm, tile_size, timing

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
    "n",
    "kernel",
    "expected",
    "verdict",
    "Theil-Sen",
    "local exponents",
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
    "times the rung before",
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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        isolate(tmp_path_factory.mktemp("data"), patch)
        return full()


@pytest.fixture
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


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
def test_a_run_without_anything_gives_the_standard_sentence(data, table):
    shown = table(record(codegen={}))

    assert isinstance(shown, Missing)
    assert repr(shown).startswith("Not in this run: ")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_run_gives_tables_or_sentences_and_no_error(data, part):
    run = record(*PARTS[part])

    for table in TABLES:
        shown = table(run)
        assert isinstance(shown, Table | Missing), table.__name__


def rows(table):
    return {row[0]: row[1:] for row in table.rows}


def test_the_clock_table_shows_step_and_costs(run):
    shown = rows(timing.clock_table(run))

    assert shown["smallest step of the clock"] == ("40",)
    assert shown["Timer: start and elapsed"] == ("200 [200, 200]",)


def test_the_difference_of_the_scopes_is_dispatch(run):
    kernel, call, difference, factor = rows(timing.scope_table(run))["512"]

    assert float(kernel.split()[0]) == pytest.approx(64, rel=0.02)
    assert float(difference) == pytest.approx(500, rel=0.03)
    assert float(factor) == pytest.approx(564 / 64, rel=0.05)


def test_the_harnesses_stand_in_reading_order_each_with_what_it_reports(run):
    shown = [row[:4] for row in timing.harness_table(run).rows]

    assert shown == [
        ("timeit 3.11.0", "warmed", "call", "best 292"),
        ("timeit 3.11.0", "compiles", "call", "best 581"),
        ("pytest-benchmark 5.3.1", "warmed", "call", "mean 444, median 421"),
        ("perflib 0.1.0", "compiles", "kernel", "median 59.5 [59.0, 60.1]"),
        ("perflib 0.1.0", "compiles", "call", "median 239 [234, 247]"),
    ]


def test_a_harness_tells_how_many_runs_it_took_and_how_long(run):
    warmed, compiles = (row[4:] for row in timing.harness_table(run).rows[:2])

    assert (warmed, compiles) == (("1000", "5", "3.0"), ("1", "5", "3.0"))


def test_a_mean_stands_beside_its_deviation(data):
    both = [
        told("pyperf, warmed", name, harness="pyperf", reported_ps=ps) for name, ps in (("mean", 309_000), ("std", 52_700))
    ]
    table = timing.harness_table(record(("harness", "pyperf, warmed", both)))

    assert table.rows[0][3] == "mean 309 ± 52.7"


def test_rates_stand_beside_their_share_of_the_peak(run):
    shown = rows(matmul_scaling.rate_table(run))

    assert list(shown) == ["matmul_naive", "matmul_tiled", "matmul_tiled_vectorised", "matmul_ikj", "numpy_matmul"]
    assert [float(v) for v in shown["matmul_ikj"]] == pytest.approx([25] * 5, rel=0.03)


def test_rates_of_sizes_that_are_absent_are_missing(data):
    run = full(matmul=[matmul(sizes=(64, 128, 256, 384))])

    assert isinstance(matmul_scaling.rate_table(run), Missing)
    assert len(matmul_scaling.rate_table(run, (64, 384)).header) == 4


def test_each_rung_stands_beside_what_it_gained_over_the_one_below(data):
    fast = {"matmul_register_blocked": 50.0, "matmul_packed": 60.0, "matmul": 90.0}

    shown = rows(matmul_scaling.gain_table(full(matmul=[matmul(fast=fast)])))

    assert list(shown) == [*catalog.TEXTBOOK_VARIANTS, *fast]
    assert shown["matmul_naive"][2] == ""
    gains = [float(shown[name][2].split()[0]) for name in ("matmul_register_blocked", "matmul_packed", "matmul")]
    assert gains == pytest.approx([2, 1.2, 1.5], rel=0.03)
    assert float(shown["matmul"][-1]) == pytest.approx(90, rel=0.03)


def test_exponents_of_every_rung_in_the_run_are_fitted(data):
    fast = {"matmul_register_blocked": 50.0, "matmul_packed": 60.0, "matmul": 90.0}

    shown = rows(matmul_scaling.fit_table(full(matmul=[matmul(fast=fast)])))

    assert list(shown)[: len(catalog.MATMUL_VARIANTS)] == list(catalog.MATMUL_VARIANTS)


def test_a_run_of_the_textbooks_rungs_alone_has_their_gains(run):
    assert list(rows(matmul_scaling.gain_table(run))) == list(catalog.TEXTBOOK_VARIANTS)


def test_every_rung_says_what_it_adds():
    assert list(matmul_scaling.ADDS) == list(catalog.MATMUL_VARIANTS)


def test_a_loop_is_shown_as_it_was_counted(run):
    shown = rows(matmul_scaling.loop_table(run))

    assert list(shown) == list(matmul_scaling.LOOPS)
    assert shown["matmul_register_blocked"] == ("48", "28", "0", "512", "1.71")


def test_loops_that_were_not_counted_are_missing(data):
    without = {name: found for name, found in CODEGEN.items() if "ikj" not in name}

    shown = matmul_scaling.loop_table(full(codegen=without))

    assert isinstance(shown, Missing)
    assert "no counts of the inner loop of matmul_ikj" in repr(shown)


def test_libraries_stand_beside_the_top_of_the_ladder(run, data):
    """25 GFLOP/s against 60 of NumPy, the best of three."""
    shown = rows(matmul_scaling.library_table(run))

    assert list(shown) == ["64", "128", "256"]
    for top, numpy, mkl, torch, gain in shown.values():
        assert [float(v) for v in (top, numpy, mkl, torch)] == pytest.approx([25, 60, 50, 40], rel=0.03)
        assert float(gain.split()[0]) == pytest.approx(25 / 60, rel=0.03)


def test_rates_of_libraries_are_shown_where_a_run_has_them(data):
    shown = rows(matmul_scaling.rate_table(full(matmul=[matmul(libraries=PEERS)])))

    assert list(shown)[-3:] == ["numpy_matmul", "mkl_matmul", "torch_matmul"]


def test_a_run_without_libraries_but_numpy_says_how_to_get_them(data):
    shown = matmul_scaling.library_table(full(matmul=[matmul(), matmul_called(NUMPY)]))

    assert isinstance(shown, Missing)
    assert "has no library but NumPy, which takes --peers" in repr(shown)


def test_exponents_stand_beside_what_is_expected(run):
    shown = rows(matmul_scaling.fit_table(run))

    assert shown["matmul_tiled"][0] == "3"
    assert shown["rms_norm_fast"][0] == "1"
    assert {row[-1] for row in shown.values()} == {"consistent"}


def test_published_times_stand_beside_what_the_same_takes_here(run):
    """953 us published; 2 x 64^3 flops at 2 GFLOP/s take 262 us here."""
    first, *_, last = published.published_table(run).rows

    assert first[:3] == ("matmul_tiled", "64", "953 ± 0.5")
    assert [float(v) for v in first[3:]] == pytest.approx([262, 3.6], rel=0.03)
    assert last[2] == "8 ± 0.5"


def test_standard_and_fast_stand_beside_their_paired_ratio(run):
    standard, fast, ratio = rows(rmsnorm.rms_table(run))["1024"]

    assert float(standard.split()[0]) == pytest.approx(256, rel=0.02)
    assert float(fast.split()[0]) == pytest.approx(128, rel=0.02)
    assert ratio == "2.00 [2.00, 2.00]"


def test_the_pass_table_is_counted():
    shown = rmsnorm.pass_table()

    assert rows(shown) == {"rms_norm_standard": ("5", "3", "4", "2"), "rms_norm_fast": ("3", "1", "2", "0")}
    assert shown == rmsnorm.pass_table(64)


def test_a_name_with_markup_is_shown_as_it_is(data):
    cells = [cell("<b>x</b> $k$", n, noisy(100.0 * n)) for n in (64, 128)]
    names = np.unique([c["kernel"] for c, _ in cells])

    html = Table(("kernel",), ((str(names[0]),),))._repr_html_()

    assert "&lt;b&gt;x&lt;/b&gt; $k$" in html
