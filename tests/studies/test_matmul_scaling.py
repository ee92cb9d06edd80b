"""The study of matrix multiplication, from runs whose times are known."""

import pytest
from synthetic import CODEGEN, NUMPY, PEERS, full, matmul, matmul_called
from tables import rows

from perflib.display.table import Missing
from perflib.kernels import catalog
from perflib.studies import matmul_scaling


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

    assert shown["matmul_tiled"][0] == "n³"
    assert shown["rms_norm_fast"][0] == "n"
    assert {row[1] for row in shown.values()} == {"consistent"}
    assert "n³" in shown["matmul_tiled"][2]
