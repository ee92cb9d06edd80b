"""What is counted over a cluster is what is counted here."""

import sys

import pytest

from perflib.errors import GeometryError
from perflib.fleet import simulate
from perflib.kernels.caches import Cache
from perflib.models.simulator import simulate as count

SMALL = (Cache(1, "Data", 4096, 64, 4), Cache(2, "Unified", 32768, 64, 8))
LARGE = (Cache(1, "Data", 65536, 64, 8), Cache(2, "Unified", 1 << 20, 64, 16))


class Here:
    """A client that calls at once."""

    def submit(self, function, *args, pure):
        assert pure is False
        return function(*args)

    def gather(self, jobs):
        return list(jobs)


def test_every_cell_is_counted_once_and_in_order():
    found = simulate({"small": SMALL, "large": LARGE}, ["matmul_tiled"], [24, 32], [8, 16], client=Here())

    cells = found.frame[["geometry", "n", "tile"]].itertuples(index=False, name=None)
    assert list(cells) == [(g, n, t) for g in ("small", "large") for n in (24, 32) for t in (8, 16)]
    for row in found.frame.itertuples():
        expected = count("matmul_tiled", (row.n,) * 3, {"small": SMALL, "large": LARGE}[row.geometry], row.tile)
        assert (row.accesses, row.misses) == (expected.accesses, expected.misses)


def test_the_best_tile_is_the_cheapest_and_stands_beside_the_models():
    best = simulate({"small": SMALL}, sizes=[64], tiles=[4, 16, 64], client=Here()).best()

    (row,) = best.itertuples()
    costs = simulate({"small": SMALL}, sizes=[64], tiles=[4, 16, 64], client=Here()).frame.set_index("tile")["cost"]
    assert row.best == costs.idxmin() != 64, "a tile of 64 x 64 fills four times the first level"
    assert row.loss_of_64 == pytest.approx(costs[64] / costs.min())
    assert row.model in (4, 16, 64)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"kernels": ["rms_norm"]}, "kernels must be among"),
        ({"kernels": []}, "kernels must have at least one"),
        ({"sizes": [0]}, "sizes must be at least 1"),
        ({"tiles": []}, "tiles must have at least one"),
    ],
)
def test_what_cannot_be_simulated_is_refused_before_anything_starts(wrong, words, refused):
    with refused(ValueError, words):
        simulate({"small": SMALL}, **wrong)
    with refused(ValueError, "geometries must have at least one"):
        simulate({})


def test_a_cache_that_cannot_be_is_refused():
    with pytest.raises(GeometryError):
        simulate({"odd": (Cache(1, "Data", 1000, 64, 3),)}, sizes=[8], tiles=[4], client=Here())


def test_without_a_client_threads_count_and_nothing_must_be_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)

    found = simulate({"small": SMALL}, sizes=[8, 24], tiles=[4, 8])

    assert found.frame.equals(simulate({"small": SMALL}, sizes=[8, 24], tiles=[4, 8], client=Here()).frame)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_local_cluster_counts_the_same():
    distributed = pytest.importorskip("distributed")

    settings = {"dashboard_address": None, "scheduler_kwargs": {"dashboard_address": ":0"}}
    with distributed.LocalCluster(2, threads_per_worker=1, **settings) as local, distributed.Client(local) as client:
        over = simulate({"small": SMALL}, sizes=[24], tiles=[8, 16], client=client)
    here = simulate({"small": SMALL}, sizes=[24], tiles=[8, 16], client=Here())

    assert over.frame.equals(here.frame)
