"""A line through flops and misses: exact where time is such a line, honest where it is not."""

import numpy as np
import pandas as pd
import pytest
from runs import isolate
from synthetic import HERE, matmul, record

from perflib.misses import explain, miss_table
from perflib.stats import SampleError
from perflib.store import RunError

SIZES = (32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)


def table(noise=0.0, misses=True, sizes=SIZES):
    rng, rows = np.random.default_rng(0), []
    for kernel, ns_per_flop in (("slow", 0.5), ("fast", 0.05)):
        for n in sizes:
            l1, l2 = rng.integers(0, n**3 // 4), rng.integers(0, n**3 // 64)
            ns = ns_per_flop * 2 * n**3 + (0.8 * l1 + 4 * l2 if misses else 0)
            rows.append((kernel, n, ns * rng.lognormal(0, noise), 2 * n**3, l1, l2))
    return pd.DataFrame(rows, columns=["kernel", "n", "ns", "flops", "l1_misses", "l2_misses"])


def test_costs_are_recovered_where_time_is_their_sum():
    found = explain(table())

    assert found.ns_per_miss == pytest.approx((0.8, 4))
    assert (found.r_squared, found.held_out_error, found.sizes) == (pytest.approx(1), pytest.approx(0, abs=1e-9), 12)


def test_misses_that_cost_nothing_are_given_no_cost():
    assert explain(table(misses=False)).ns_per_miss == pytest.approx((0, 0), abs=1e-9)


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


def test_a_run_without_products_is_refused(tmp_path, monkeypatch, refused):
    isolate(tmp_path, monkeypatch)

    with refused(RunError, "no products"):
        miss_table(record(matmul(sizes=(64,)), machine=HERE), largest=32)
