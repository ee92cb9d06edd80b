"""A line through flops and misses: exact where time is such a line, honest where it is not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from runs import isolate
from synthetic import HERE, matmul, record

from perflib.errors import RunError, SampleError
from perflib.models.time_model import explain, miss_table

SIZES = (32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)


PER_MISS = {"L1, down columns": 0.8, "L1, along rows": 0.2, "L2": 4.0}


def table(noise=0.0, per_miss=PER_MISS, sizes=SIZES):
    """Times that are such a sum, of two kernels: one goes down columns, one along rows."""
    rng, rows = np.random.default_rng(0), []
    for kernel, per_flop, per_start, l1_cost in (("matmul_tiled", 0.5, 0, 0), ("matmul_ikj", 0.05, 3, 1)):
        for n in sizes:
            l1, l2 = rng.integers(0, n**3 // 4), rng.integers(0, n**3 // 64)
            ns = per_flop * 2 * n**3 + per_start * n**2 + list(per_miss.values())[l1_cost] * l1 + per_miss["L2"] * l2
            rows.append((kernel, n, ns * rng.lognormal(0, noise), 2 * n**3, n**2, l1, l2))
    return pd.DataFrame(rows, columns=["kernel", "n", "ns", "flops", "starts", "l1_misses", "l2_misses"])


def test_costs_are_recovered_where_time_is_their_sum():
    found = explain(table())

    assert found.ns_per_miss == pytest.approx(PER_MISS)
    assert found.ns_per_start == pytest.approx({"matmul_tiled": 0, "matmul_ikj": 3}, abs=1e-9)
    assert (found.r_squared, found.held_out_error, found.sizes) == (pytest.approx(1), pytest.approx(0, abs=1e-9), 12)
    assert found.without_misses > 0.05


def test_misses_that_cost_nothing_are_given_no_cost_and_explain_nothing():
    found = explain(table(per_miss=dict.fromkeys(PER_MISS, 0.0)))

    assert found.ns_per_miss == pytest.approx(dict.fromkeys(PER_MISS, 0.0), abs=1e-9)
    assert found.without_misses == pytest.approx(0, abs=1e-9)


def test_a_size_is_predicted_from_the_others_alone():
    """Only at one size are there misses in L2, and they take half of the time: nothing else can tell what they cost."""
    alone = table(per_miss=dict.fromkeys(PER_MISS, 0.0))
    alone["l2_misses"] = np.where(alone["n"] == 96, alone["ns"].round(), 0)
    alone["ns"] += alone["l2_misses"]

    found = explain(alone)

    assert found.ns_per_miss["L2"] == pytest.approx(1)
    assert found.held_out_error == pytest.approx(0.5 / 12, rel=1e-3)


def test_noise_is_what_is_not_explained():
    found = explain(table(noise=0.1))

    assert 0.9 < found.r_squared < 1
    assert 0.02 < found.held_out_error < 0.2


def test_a_size_that_does_not_follow_the_others_is_in_the_error():
    odd = table()
    odd.loc[odd["n"] == 64, "ns"] *= 50

    assert explain(odd).held_out_error > 0.05


def test_too_few_sizes_are_refused(refused):
    with refused(SampleError, "at least 4 sizes", "3"):
        explain(table(sizes=SIZES[:3]))


def test_a_run_gives_times_beside_simulated_misses(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)

    found = miss_table(record(matmul(sizes=(16, 32, 64)), machine=HERE), largest=32)

    assert set(found["n"]) == {16, 32}
    naive = found[found["kernel"] == "matmul_naive"].set_index("n")
    assert naive["flops"].tolist() == [2 * 16**3, 2 * 32**3]
    assert naive["l1_misses"].tolist() == [0, 0]  # all of it fits, and was there from the run before
    assert naive["starts"].tolist() == [16**2, 32**2]


def test_every_rung_of_the_ladder_has_its_row(tmp_path, monkeypatch):
    """Starts by hand, for the tile of AVX-512: 12 rows, 32 columns."""
    isolate(tmp_path, monkeypatch)
    fast = dict.fromkeys(("matmul_register_blocked", "matmul_packed", "matmul"), 100.0)
    run = record(matmul(sizes=(32, 80), fast=fast), machine=replace(HERE, isa=("avx512f",)))

    found = miss_table(run)

    at80 = found[found["n"] == 80].set_index("kernel")["starts"].to_dict()
    assert at80 == {
        "matmul_naive": 80 * 80,
        "matmul_ikj": 80 * 80,
        "matmul_tiled": 2 * 80 * 80,
        "matmul_tiled_vectorised": 2 * 80 * 80,
        **dict.fromkeys(fast, 7 * 3),
    }


def test_a_run_without_products_is_refused(tmp_path, monkeypatch, refused):
    isolate(tmp_path, monkeypatch)

    with refused(RunError, "no matrix multiplication"):
        miss_table(record(matmul(sizes=(64,)), machine=HERE), largest=32)


def test_a_machine_that_does_not_tell_its_ways_is_not_simulated(tmp_path, monkeypatch, refused):
    isolate(tmp_path, monkeypatch)
    silent = replace(HERE, caches=tuple(replace(cache, ways=None) for cache in HERE.caches))

    with refused(RunError, "how many ways"):
        miss_table(record(matmul(sizes=(32,)), machine=silent))
