"""What may be handed in, and what is refused with the size at which it went wrong."""

import math

import numpy as np
import pandas as pd
import pytest
from runs import isolate
from synthetic import cell, record

from perflib import fit_scaling
from perflib.errors import SampleError
from perflib.scaling.inputs import noise_of, read

SIZES = [64, 128, 256]


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("sizes", "times", "words"),
    [
        *[(n, [1] * len(n), ("sizes must be at least 3 distinct numbers", "got")) for n in ([], [64, 128], [64, 64, 128])],
        *[([bad, 128, 256], [1, 2, 3], ("sizes must be above 0", f"got {bad}")) for bad in (0, -64, math.nan, math.inf)],
        ([100, 110, 140], [1, 2, 3], ("a factor of 1.4", "at least 1.5")),
        *[(SIZES, [1, bad, 3], ("times must be above 0 and finite", f"got {bad} at n = 128")) for bad in (0, -1, math.inf)],
        (SIZES, [[1, math.nan, 3], [1, math.nan, 3]], ("size 128 has no time", "every round of it is NaN")),
        *[(SIZES, t, ("times must have 3 columns", "got shape")) for t in ([1, 2], [], np.ones((2, 2, 3)))],
        (SIZES, None, ("times are missing",)),
        (SIZES, [7, 7, 7], ("every time is 7 ns",)),
        ([64, 128, 256, 512], [1, 1, 2, 3], ("times of 1 ns are at the clock's resolution",)),
        (pd.DataFrame({"n": [1], "words": [2]}), None, ("columns size and time are missing", "n, words")),
    ],
)
def test_what_no_curve_can_be_fitted_to_is_refused(refused, sizes, times, words):
    with refused(SampleError, *words):
        fit_scaling(sizes, times)


def test_times_that_depend_on_more_than_n_are_refused_with_suspects(refused):
    sizes = [1018, 2246, 11146, 11182, 11200, 11202, 16384]
    times = [1387, 6771, 169774, 171242, 337, 62048, 201]

    with refused(SampleError, "no function of n alone", "11182, 11200 and 11202", "prime factors"):
        fit_scaling(sizes, times)


def test_odd_sizes_alone_are_no_reason_to_refuse():
    sizes = np.arange(1, 16) * 100
    factor = np.ones(15)
    factor[[3, 5, 7]] = 3

    assert fit_scaling(sizes, 50 * factor).verdict("1") == "consistent"


def test_equal_sizes_are_rounds_of_one():
    n, table = read([256, 64, 128, 64, 64], [9.0, 1.0, 5.0, 2.0, 3.0])

    assert n.tolist() == [64, 128, 256]
    np.testing.assert_array_equal(table, [[1, 5, 9], [2, math.nan, math.nan], [3, math.nan, math.nan]])


def test_sizes_may_be_any_positive_numbers():
    sizes = np.geomspace(0.01, 3, 12)

    assert fit_scaling(sizes, 1e6 * sizes**2).verdict(2) == "consistent"


def test_ten_thousand_sizes_are_thinned():
    sizes = np.arange(1, 10_001)

    fit = fit_scaling(sizes, 5.0 * sizes)

    assert len(fit.sizes) <= 48
    assert (fit.sizes[0], fit.sizes[-1]) == (1, 10_000)
    assert fit.verdict(1) == "consistent"


def test_elapsed_time_is_divided_by_repetitions():
    frame = pd.DataFrame({"n": [1, 2, 4, 8], "elapsed_ns": [100, 200, 400, 800], "reps": [10, 10, 10, 10]})

    assert read(frame, None)[1].tolist() == [[10, 20, 40, 80]]


def test_a_run_with_one_kernel_is_read_by_its_topic(refused):
    rows = [cell("k", n, [100.0 * n] * 8) for n in (64, 128, 256, 512, 1024)]
    run = record(("mine", "all sizes", rows))

    fit = fit_scaling(run, "mine")

    assert fit.sizes == (64, 128, 256, 512, 1024)
    assert fit.verdict(1) == "consistent"


def test_a_run_with_two_kernels_asks_for_one(refused):
    rows = [cell(kernel, n, [100.0 * n] * 8) for n in (64, 128, 256) for kernel in ("k", "other")]

    with refused(SampleError, "mine has the kernels", "use by_size"):
        fit_scaling(record(("mine", "all sizes", rows)), "mine")


def test_noise_of_few_rounds_leans_on_what_the_sizes_share():
    rng = np.random.default_rng(0)
    table = np.exp(0.05 * rng.standard_normal((3, 200)))

    noise = noise_of(table)

    assert noise.mean() == pytest.approx(0.05 * math.sqrt(math.pi / 2 / 3), rel=0.1)
    assert noise.std() < 0.3 * noise.mean()


def test_what_a_round_has_in_common_is_no_noise():
    rng = np.random.default_rng(0)
    quiet = 0.01 * rng.standard_normal((20, 12))
    drift = np.cumsum(0.05 * rng.standard_normal((20, 1)), axis=0)

    assert noise_of(np.exp(quiet + drift)).mean() == pytest.approx(0.01 * math.sqrt(math.pi / 2 / 20), rel=0.15)


def test_a_round_that_timed_no_size_is_left_out():
    """As where some of the sizes of a recording are chosen: its other blocks have rounds too."""
    times = [[1, 5, 9], [math.nan] * 3, [2, 6, 10]]

    _, table = read([64, 128, 256], times)

    np.testing.assert_array_equal(table, [[1, 5, 9], [2, 6, 10]])
    assert fit_scaling([64, 128, 256], times).rounds == 2
