"""What the models are worth on a run whose times are known, and what stays open."""

import pytest
from runs import isolate
from synthetic import HERE, conflicts, matmul, packing, record, tiles

from perflib import cli
from perflib.models.time_model import explain, miss_table
from perflib.validation import model_check

SIZES = (16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 64)
FASTER = {16: 10000, 32: 11000}
GOOD = {128: {16: 10400, 32: 10000}, 256: FASTER, 384: FASTER, 512: {16: 10900, 32: 10000}}
"""Trusting the model, which says 16, costs 4 %, nothing, nothing and 9 %."""


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)
    monkeypatch.setattr("perflib.models.tile_choice.model_tile", lambda n, itemsize, caches, fitting: 16)


def judged(*blocks):
    return {
        figure.what.removeprefix("time "): figure
        for figure in model_check.judge_models(record(*blocks, machine=HERE)).figures
    }


def test_time_lost_by_the_models_tile_is_judged_by_its_median_and_its_worst():
    found = judged(*tiles(GOOD))

    median, worst = found["lost by the model's tile, median"], found["lost by the model's tile, worst"]
    assert (median.value, median.target, median.met) == ("2.0 % (4 sizes)", "<= 5 %", True)
    assert (worst.value, worst.target, worst.met) == ("9.0 % (n = 512)", "<= 15 %", True)


def test_a_tile_that_costs_too_much_is_missed_and_so_is_the_command(capsys):
    run = record(*tiles(GOOD | {513: {16: 12000, 32: 10000}, 528: {16: 10700, 32: 10000}}), machine=HERE)

    assert model_check.judge_models(run).missed == [
        "time lost by the model's tile, median",
        "time lost by the model's tile, worst",
    ]
    assert cli.run(["model", str(run.path)]) == 1
    printed = capsys.readouterr().out
    assert run.id in printed and "20.0 % (n = 513)" in printed and "missed" in printed


def test_time_explained_is_judged_from_twelve_sizes_on():
    whole, few = judged(matmul(sizes=SIZES)), judged(matmul(sizes=SIZES[1:]))

    assert [whole[f"of the variants by flops, loops and misses, {figure}"].met for figure in ("R^2", "held-out error")] == [
        True,
        True,
    ]
    fit = few["of the variants by flops, loops and misses, R^2"]
    assert (fit.met, "11 sizes of 12 at least" in fit.value) == (None, True)


def test_the_error_shown_is_that_of_the_explanation():
    run = record(matmul(sizes=SIZES), machine=HERE)

    expected = explain(miss_table(run))

    shown = next(f for f in model_check.judge_models(run).figures if f.what.endswith("held-out error")).value
    assert shown == f"{100 * expected.held_out_error:.1f} % ({100 * expected.without_misses:.1f} % without misses)"


def test_blocks_and_powers_of_two_are_judged(monkeypatch):
    monkeypatch.setattr("perflib.models.block_choice.rules", lambda run: {"our model": (96, 1024)})

    found = judged(packing({(96, 1024): 104.0, (48, 1024): 100.0}), conflicts(tiled=1.2, top=1.04))

    blocks = found["lost by the model's blocks"]
    assert (blocks.value, blocks.target, blocks.met) == (
        "4.0 % (n = 768, MC x KC: 96 x 1024, best 48 x 1024)",
        "<= 3 %",
        False,
    )
    assert found["per flop at a power of two / beside it, matmul_tiled, tile 64"].met is False
    assert found["per flop at a power of two / beside it, matmul"].met is True


def test_other_sizes_than_those_of_the_bar_stay_open():
    found = judged(conflicts(sizes=(512, 528)))

    assert found["per flop at a power of two / beside it, matmul_tiled, tile 48"].met is None


def test_what_a_run_lacks_stays_open_and_is_no_failure(capsys):
    run = record(matmul(sizes=SIZES), machine=HERE)

    found = model_check.judge_models(run).figures[0]

    assert (found.what, found.met) == ("time lost by the model's tile", None)
    assert "'tiles'" in found.value
    assert cli.run(["model", str(run.path)]) == 0
    assert "open" in capsys.readouterr().out
