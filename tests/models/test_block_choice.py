"""Blocks of the packed matrix multiplication and sizes that are powers of two, on runs whose times are known."""

import pytest
from partial_runs import TILE_TIMES
from runs import isolate
from synthetic import HERE, conflicts, packing, record, tiles

from perflib.errors import RunError
from perflib.kernels.gemm.block_sizes import Blocks, rival_blocks
from perflib.models import block_choice as blocks
from perflib.studies import tile_size

MODEL = (96, 1024)
TIMES = {MODEL: 102.0, (48, 1024): 104.0, (192, 512): 100.0}


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)
    monkeypatch.setattr(blocks, "rules", lambda run: {blocks.OURS: MODEL, "BLIS": (480, 384)})
    monkeypatch.setattr(tile_size, "rules", blocks.rules)


def rows(table):
    return {row[0]: row[1:] for row in table.rows}


def test_trusting_the_blocks_costs_their_time_over_the_best():
    found = blocks.block_loss(record(packing(TIMES)))

    assert (found.n, found.model, found.best) == (768, MODEL, (192, 512))
    assert found.loss.value == pytest.approx(1.02, abs=1e-3)


def test_blocks_are_judged_at_the_largest_size_alone():
    smaller = packing({MODEL: 50.0, (48, 1024): 40.0}, n=512)

    assert blocks.block_loss(record(smaller, packing(TIMES))).loss.value == pytest.approx(1.02, abs=1e-3)


def test_a_run_without_the_blocks_of_the_model_says_so():
    with pytest.raises(RunError, match="no packed matrix multiplication with the model's blocks, 96 x 1024"):
        blocks.block_loss(record(packing({(48, 1024): 104.0, (192, 512): 100.0})))


def test_a_power_of_two_is_compared_per_flop():
    tiled48, tiled64, top = blocks.conflicts(record(conflicts(tiled=3.0, top=1.04)))

    assert (tiled48.kernel, tiled48.tile, tiled64.tile, top.kernel, top.tile) == ("matmul_tiled", 48, 64, "matmul", None)
    assert (top.power, top.padded) == (1024, 1040)
    assert [c.loss.value for c in (tiled48, tiled64, top)] == pytest.approx([3.0, 3.0, 1.04], rel=1e-3)


def test_rules_follow_the_machine_of_the_run_and_not_this_one(monkeypatch):
    monkeypatch.undo()
    assert rival_blocks("float32", HERE.data_caches(), (12, 32)) == {
        "formula": Blocks(1212, 160, 256),
        "BLIS": Blocks(480, 384, 256),
        "OpenBLAS": Blocks(444, 448, 256),
    }
    narrow = rival_blocks("float32", HERE.data_caches(), (6, 16))
    assert (narrow["BLIS"][:2], narrow["OpenBLAS"][:2]) == ((144, 256), (318, 320))
    assert list(rival_blocks("float64", HERE.data_caches(), (12, 16))) == ["formula"]


def test_the_block_table_names_who_chooses_and_what_it_costs():
    shown = rows(tile_size.block_table(record(packing(TIMES))))

    assert shown == {
        "our model": ("96", "1024", "1.020 [1.020, 1.020]"),
        "best of all recorded": ("192", "512", "1"),
    }, "BLIS's blocks were not recorded"


def test_the_tile_table_compares_model_best_and_default():
    run = record(*tiles({256: {16: 100.0, 64: 80.0}, 512: TILE_TIMES}))

    shown = rows(tile_size.tile_table(run))

    assert shown["256"] == ("16", "64", "1.25 [1.25, 1.25]", "0.80 [0.80, 0.80]")
    assert shown["512"][:2] == ("16", "32")


def test_the_tile_table_does_without_the_default():
    shown = rows(tile_size.tile_table(record(*tiles({256: {16: 100.0, 32: 80.0}}))))

    assert shown["256"][-1] == "not recorded"
