"""What a run says of the model's tile, and of the seed's."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from runs import MACHINE, in_order, isolate, row, start

from perflib import best_tile, load_run
from perflib.errors import RunError, SampleError
from perflib.kernels.caches import Cache
from perflib.models.cache_model import model_tile
from perflib.models.tile_choice import model_losses, tile_times, worst_ratio

CACHE = Cache(1, "Data", 48 << 10, line_bytes=64, ways=12, sets=64)  # 64 sets: a stride of 4 KiB meets the same set
HERE = replace(MACHINE, caches=(Cache(1, "Instruction", 1 << 20, 64, 2), CACHE))


@pytest.fixture
def tiled(tmp_path, monkeypatch):
    """A run of tiles from {n: {tile: tenths of a millisecond per round}}."""
    isolate(tmp_path, monkeypatch)

    def record(sizes, machine=HERE, **changes):
        run = start(machine=machine)
        for n, tiles in sizes.items():
            with run.block("tiles", f"n={n}") as append:
                cells = [(t, i, ns) for t, times in tiles.items() for i, ns in enumerate(times) if ns]
                known = {"kernel": "matmul_tiled", "n": n, "reps": 1, **changes}
                append(in_order([row(f"n={n}", i, tile=t, elapsed_ns=100_000 * ns, **known) for t, i, ns in cells]))
        return run.finish()

    return record


@pytest.fixture
def here(monkeypatch):
    """Let this machine be another one."""

    def pretend(machine):
        monkeypatch.setattr(sys.modules["perflib.models.tile_choice"], "machine", lambda: machine)

    return pretend


def test_the_worst_ratio_is_against_the_best_tile():
    times = pd.DataFrame({32: [10.0] * 12, 64: [12.0] * 12, 96: [24.0] * 12})

    assert worst_ratio(times, 64).value == pytest.approx(1.2)
    assert worst_ratio(times, 96).value == pytest.approx(2.4)
    assert worst_ratio(times, 32).value == pytest.approx(10 / 12)


def test_the_worst_ratio_is_wider_for_every_tile_looked_at():
    noise = np.random.default_rng(0).lognormal(0, 0.1, (12, 12))
    times = pd.DataFrame(100 * noise, columns=range(1, 13))

    two, all_of_them = worst_ratio(times[[1, 2]], 1), worst_ratio(times, 1)

    assert 0.95 <= two.coverage < all_of_them.coverage
    assert all_of_them.low <= all_of_them.value <= all_of_them.high
    assert all_of_them.high > two.high


def test_a_tile_alone_has_no_ratio(refused):
    with refused(SampleError, "more tiles than 64"):
        worst_ratio(pd.DataFrame({64: [1.0] * 12}), 64)


def test_tiles_are_paired_by_round(tiled):
    run = tiled({128: {32: [100, 110, 120], 64: [200, None, 240]}, 256: {32: [1]}})

    times = tile_times(run, 128)

    assert list(times.columns) == [32, 64]
    assert (times / 100_000).to_numpy().tolist() == [[100, 200], [120, 240]]


@pytest.mark.parametrize("changes", [{"dtype": "float64"}, {"scope": "call"}, {"kernel": "matmul_tiled_vectorised"}])
def test_only_the_seeds_kernel_counts(tiled, refused, changes):
    run = tiled({128: {32: [100] * 9, 64: [200] * 9}}, **changes)

    with refused(RunError, run.id, "n = 128"):
        tile_times(run, 128)


def test_tiles_that_never_met_in_a_round_are_refused(tiled, refused):
    with refused(RunError, "no round with all tiles of n = 128"):
        tile_times(tiled({128: {32: [100, None], 64: [None, 200]}}), 128)


def test_without_a_run_the_model_speaks_for_this_machine(here):
    here(HERE)

    best = best_tile(1024)

    assert (best.model, best.measured, best.default_loss) == (12, None, None)
    assert str(best) == (
        "n = 1024: the model says tile 12 (cheapest of 10; 11 rows of 11 fit into L1d without evicting each other); "
        "no recorded tiles to compare with"
    )


def test_the_best_tile_shows_itself_as_its_sentence(here):
    assert repr(best_tile(256)) == str(best_tile(256))


def test_a_tile_is_never_larger_than_the_matrix(here):
    here(HERE)

    assert best_tile(5).model == 5
    assert best_tile(1).model == 1
    assert best_tile(1040).model == 96


def test_without_known_caches_the_default_is_given_with_its_reason(here):
    here(MACHINE)
    known = best_tile(1024)
    here(replace(MACHINE, caches=()))
    unknown = best_tile(1024)

    assert known.model == 64
    assert unknown.model == 64
    assert "the default: this system does not report its caches" in str(unknown)


def test_a_run_brings_its_machine_and_its_evidence(tiled, here):
    here(MACHINE)
    run = tiled({256: {32: [100] * 9, 64: [130] * 9}, 1024: {32: [9] * 9, 64: [6] * 9}})

    best = best_tile(300, run=run)

    assert (best.model, best.recorded_n, best.measured) == (model_tile(300, 4, [CACHE]), 256, 32)
    assert best.default_loss.value == pytest.approx(1.3)
    assert str(best).endswith("; measured best at n = 256: tile 32, and tile 64 takes 1.30 [1.30, 1.30] times as long")
    assert best_tile(600, run=run).recorded_n == 1024  # nearest by ratio: 600 / 256 is above 1024 / 600


@pytest.mark.parametrize("tiles", [{32: [100] * 9, 96: [90] * 9}, {64: [100] * 9}])
def test_a_run_without_the_default_or_without_others_shows_no_loss(tiled, tiles):
    best = best_tile(256, run=tiled({256: tiles}))

    assert best.default_loss is None
    assert str(best).endswith(f"measured best at n = 256: tile {max(tiles)}")


def test_tiles_recorded_in_float32_say_nothing_of_float64(tiled):
    best = best_tile(512, "float64", run=tiled({512: {32: [100] * 9, 64: [130] * 9}}))

    assert (best.model, best.measured) == (12, None)


def test_a_run_without_tiles_leaves_the_model(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)

    best = best_tile(1024, run=start(machine=HERE).finish())

    assert (best.model, best.measured) == (12, None)


def test_trusting_the_model_costs_what_its_tile_takes_against_the_best(tiled):
    run = tiled({1024: {8: [110] * 9, 12: [105] * 9, 32: [100] * 9}, 64: {32: [9] * 9}, 128: {16: [9] * 9, 32: [8] * 9}})

    found = model_losses(run)

    assert list(found) == [128, 1024]
    assert (found[1024].model, found[1024].best) == (12, 32)
    assert found[1024].loss.value == pytest.approx(1.05)
    assert found[128].loss.value == pytest.approx(8 / 9)  # the best there is: below 1


def test_a_run_that_cannot_tell_what_trusting_the_model_costs_is_refused(tiled, refused):
    with refused(RunError, "two tiles"):
        model_losses(tiled({64: {32: [9] * 9}}))
    with refused(RunError, "what caches"):
        model_losses(tiled({64: {32: [9] * 9, 64: [9] * 9}}, machine=replace(MACHINE, caches=())))


def test_trusting_the_model_on_the_reference_run_costs_at_most_what_is_promised():
    losses = [max(1.0, found.loss.value) for found in model_losses(load_run()).values()]

    assert len(losses) >= 8
    assert np.median(losses) <= 1.05
    assert max(losses) <= 1.15
