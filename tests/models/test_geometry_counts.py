"""Counts of cache geometries: the committed ones are those that counting gives, and a file that is not whole is refused."""

import numpy as np
import pytest

from perflib.errors import RunError
from perflib.fleet import simulate
from perflib.models.cache_model import MISS_COSTS, START, TILES
from perflib.models.geometry_counts import FIFTY, SIZES, load_counts


def test_fifty_geometries_are_counted_at_every_size_and_tile():
    frame = load_counts().frame

    assert len(FIFTY) == 50
    assert len(frame) == 50 * len(SIZES) * len(TILES)
    assert not frame.duplicated(["geometry", "kernel", "n", "tile"]).any()
    assert all(cache.sets * cache.ways * 64 == cache.size_bytes for caches in FIFTY.values() for cache in caches)


@pytest.mark.parametrize("n", [96, pytest.param(128, marks=pytest.mark.slow)])
def test_counting_again_gives_the_committed_numbers(n):
    names = list(FIFTY)[::7] if n == 96 else list(FIFTY)
    again = simulate({name: FIFTY[name] for name in names}, sizes=[n]).frame

    committed = load_counts().frame
    here = committed[(committed["n"] == n) & committed["geometry"].isin(names)].reset_index(drop=True)
    assert again.equals(here)


def test_a_cost_is_that_of_misses_and_of_starts():
    row = load_counts().frame.iloc[-1]

    misses = sum(cost * number for cost, number in zip(MISS_COSTS, row["misses"], strict=True)) / row["n"] ** 3
    assert row["cost"] == pytest.approx(1 + misses + START * np.ceil(row["n"] / row["tile"]) / row["n"])


def test_the_best_tile_costs_least_and_the_others_more():
    best = load_counts().best()

    assert (best[["loss_of_64", "loss_of_model"]].min() == 1).all()
    assert (best["loss_of_64"] == 1).eq(best["best"] == 64).all()


def test_a_file_comes_back_as_it_was_saved(tmp_path):
    counts = load_counts()
    counts.save(tmp_path / "misses.csv")

    assert load_counts(tmp_path / "misses.csv").frame.equals(counts.frame)


@pytest.mark.parametrize("text", ["", "geometry,n\na,1\n", "geometry,kernel,n,tile,accesses,misses\nx,k,8,8,1,1 2\n"])
def test_a_file_that_is_not_whole_is_refused(tmp_path, text, refused):
    (tmp_path / "misses.csv").write_text(text)

    with refused(RunError, "misses.csv: cannot be read"):
        load_counts(tmp_path / "misses.csv")
    with refused(RunError, "nowhere.csv: cannot be read"):
        load_counts(tmp_path / "nowhere.csv")
