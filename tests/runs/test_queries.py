"""From samples to tables, on runs whose times are known."""

import numpy as np
import pandas as pd
import pytest
from runs import isolate, start
from synthetic import FLOOR_NS, REPS, cell, limits, matmul, noisy, record

from perflib.display.table import Missing, Table, or_missing
from perflib.display.text import text
from perflib.errors import RunError
from perflib.runs.queries import by_size, copy_gb_per_s, net_times, peak_gflops, ratio, select, summary
from perflib.stats import Interval
from perflib.studies.published import published_figures


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def one(*cells, block="b", **options):
    return record(("timing", block, cells), **options)


def test_the_floor_of_the_same_round_is_taken_off():
    run = one(cell("k", 64, [100, 200]), cell("floor", "", [3, 7], dtype=""), floors=False)

    times = net_times(run, "timing")

    assert times["net_ns"].tolist() == [97, 193]
    assert times["floor_ns"].tolist() == [3, 7]
    assert times["kernel"].tolist() == ["k", "k"]


def test_each_scope_and_each_block_has_its_own_floor():
    floors = {"kernel": 1, "call": 50}
    cells = [cell("floor", "", [ns], scope, dtype="") for scope, ns in floors.items()]
    cells += [cell("k", 64, [100], scope) for scope in floors]
    other = [cell("k", 64, [100]), cell("floor", "", [9], dtype="")]

    times = net_times(record(("timing", "a", cells), ("timing", "b", other), floors=False), "timing")

    assert times["net_ns"].tolist() == [99, 50, 91]


def test_a_round_without_a_floor_takes_the_blocks_median():
    """Each round's floor counts once, however many cases met it."""
    floor = cell("floor", "", [1, 2, 9, None], dtype="")
    cases = [cell("k", 64, [None, 100, 100, 100]), cell("k", 128, [100, None, 100, None])]

    times = net_times(one(*cases, floor, floors=False), "timing")

    assert times["net_ns"].tolist() == [99, 98, 91, 91, 98]
    assert times["floor_ns"].tolist() == [1, 2, 9, 9, 2]


def test_a_block_without_floors_keeps_its_times():
    times = net_times(one(cell("k", 64, [100, 101]), floors=False), "timing")

    assert times["net_ns"].tolist() == [100, 101]
    assert times["floor_ns"].tolist() == [0, 0]


def test_the_canary_is_no_case():
    run = one(cell("k", 64, [100]), cell("canary", "", [5], dtype=""))

    assert set(net_times(run, "timing")["kernel"]) == {"k"}


def test_a_selection_has_the_wanted_values_and_none_is_no_condition():
    times = pd.DataFrame({"n": [1, 2, 2], "tile": [8, 8, 16]})

    assert select(times, n=2, tile=None).index.tolist() == [1, 2]
    assert select(times, n=2, tile=8).index.tolist() == [1]


def test_a_summary_is_the_median_with_its_interval_and_its_count():
    ns = [100, 107, 101, 108, 102, 109, 103, 110, 104, 111, 105, 106]

    row = summary(one(cell("k", 64, ns)), "timing").iloc[0]

    assert (row["ns"], row["low_ns"], row["high_ns"], row["samples"]) == (105.5, 102, 109, 12)


def test_few_samples_are_summarised_by_their_range():
    row = summary(one(cell("k", 64, [100, 300, 101])), "timing").iloc[0]

    assert (row["ns"], row["low_ns"], row["high_ns"]) == (101, 100, 300)


def test_rates_are_counts_over_time():
    """2 n^3 flops and 3 n^2 numbers."""
    run = one(cell("matmul_ikj", 10, 200.0), cell("matmul_ikj", 10, 400.0, dtype="float64"), cell("unknown", 10, 50.0))

    table = summary(run, "timing").set_index(["kernel", "dtype"])

    single, double = table.loc[("matmul_ikj", "float32")], table.loc[("matmul_ikj", "float64")]
    assert (single["gflops"], double["gflops"]) == pytest.approx((10, 5))
    assert (single["gb_per_s"], double["gb_per_s"]) == pytest.approx((6, 6))
    assert np.isnan(table.loc[("unknown", "float32"), "gflops"])


def test_rates_count_the_rows_of_a_batch():
    table = summary(one(cell("rms_norm_fast", 100, 1000.0, rows=5)), "timing")

    assert table["gflops"].tolist() == pytest.approx([4 * 100 * 5 / 1000])


def test_a_low_rate_belongs_to_a_high_time():
    row = summary(one(cell("matmul_ikj", 10, [100 + i for i in range(12)])), "timing").iloc[0]

    assert row["low_gflops"] == pytest.approx(2000 / row["high_ns"])
    assert row["low_gflops"] < row["gflops"] < row["high_gflops"]


def test_a_time_below_its_floor_has_no_rate():
    table = summary(one(cell("matmul_ikj", 10, [-0.5, 1.0, 2.0])), "timing")

    assert table["low_ns"].tolist() == [-0.5]
    assert "gflops" not in table


def test_a_summary_of_nothing_says_what_was_wanted(refused):
    run = one(cell("k", 64, [100]))

    with refused(RunError, run.id, "no timing with", "'kernel': 'other'"):
        summary(run, "timing", kernel="other")


def test_sizes_rise_and_rounds_keep_their_gaps():
    run = one(cell("k", 128, [8, 9, None]), cell("k", 64, [1, 2, 3]), cell("other", 32, [5]))

    sizes, times = by_size(run, "timing", "k")

    assert sizes == [64, 128]
    np.testing.assert_array_equal(times, [[1, 8], [2, 9], [3, np.nan]])


def test_sizes_of_an_absent_kernel_are_refused(refused):
    with refused(RunError, "no other in timing"):
        by_size(one(cell("k", 64, [1])), "timing", "other")


def test_a_ratio_pairs_times_of_one_round():
    """Times drift tenfold from round to round; their ratio does not."""
    drift = np.geomspace(1000, 10000, 12)

    found = ratio(one(cell("a", 64, 3 * drift), cell("b", 64, drift)), "timing", {"kernel": "a"}, {"kernel": "b"})

    assert (found.value, found.low, found.high) == pytest.approx((3, 3, 3), rel=1e-4)


def test_a_ratio_pairs_times_of_one_block():
    """The same round numbers in another block are other rounds."""
    slow = [cell("a", 64, [30.0] * 8), cell("b", 64, [10.0] * 8)]
    also = [cell("a", 64, [3000.0] * 8), cell("b", 64, [1000.0] * 8)]
    lonely = [cell("b", 64, [7.0] * 8)]
    run = record(*(("timing", name, cells) for name, cells in (("x", slow), ("y", also), ("z", lonely))))

    found = ratio(run, "timing", {"kernel": "a"}, {"kernel": "b"})

    assert (found.low, found.high) == pytest.approx((3, 3))


def test_a_ratio_of_several_is_wider():
    run = one(cell("a", 64, noisy(100.0, rounds=30)), cell("b", 64, noisy(50.0, rounds=30)))
    pair = {"kernel": "a"}, {"kernel": "b"}

    alone, of_ten = ratio(run, "timing", *pair), ratio(run, "timing", *pair, comparisons=10)

    assert of_ten.low < alone.low
    assert alone.high < of_ten.high


@pytest.mark.parametrize("apart", [[None] * 3 + [10] * 5, [10] * 5])
def test_too_few_shared_rounds_are_refused(refused, apart):
    run = one(cell("a", 64, [10] * 8), cell("b", 64, apart))

    with refused(RunError, "5 rounds of both {'kernel': 'a'} and {'kernel': 'b'} in timing"):
        ratio(run, "timing", {"kernel": "a"}, {"kernel": "b"})


def test_a_case_that_is_two_is_no_pair(refused):
    """Without its size a kernel is several cases: they would be paired crosswise."""
    run = one(cell("a", 64, [10] * 8), cell("a", 128, [80] * 8), cell("b", 64, [5] * 8))

    with refused(RunError, "more than one case of {'kernel': 'a'} in a round of timing"):
        ratio(run, "timing", {"kernel": "a"}, {"kernel": "b"})


def test_the_limits_are_rates_of_their_kernels():
    run = record(*limits(gflops=120.0, gb_per_s=30.0))

    assert peak_gflops(run).value == pytest.approx(120, rel=0.01)
    assert peak_gflops(run, "float64").low < 120 < peak_gflops(run, "float64").high
    assert copy_gb_per_s(run).value == pytest.approx(30, rel=0.01)


def test_limits_that_were_not_recorded_are_refused(refused):
    run = record(matmul(sizes=(64,)))

    for limit in (peak_gflops, copy_gb_per_s):
        with refused(RunError, run.id, "no 'limits'; recorded: matmul"):
            limit(run)


def test_the_published_figures_are_there_wherever_the_data_are(data):
    seed = published_figures()

    assert seed[["kernel", "n", "time_us"]].iloc[-1].tolist() == ["rms_norm_fast", 2048, 8]
    assert (seed["half_step_us"] == 0.5).all()


TABLE = Table(("kernel", "time (ns)"), (("<script>alert(1)</script>", "5"), ("k & l", "1234567890")))


def test_a_table_is_aligned_in_a_terminal():
    lines = repr(Table(("n", "time (ns)"), (("64", "5"), ("1024", "12345678901")))).splitlines()

    assert lines == ["n     time (ns)", "----  -----------", "64    5", "1024  12345678901"]


def test_a_table_without_rows_shows_its_header():
    assert repr(Table(("n", "time (ns)"), ())).splitlines() == ["n  time (ns)", "-  ---------"]


def test_a_table_is_escaped_in_a_notebook():
    html = TABLE._repr_html_()

    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "k &amp; l" in html
    assert "time (ns)" in html


def test_a_missing_series_becomes_the_standard_sentence():
    @or_missing
    def build(run, kernel):
        """What it builds."""
        return summary(run, "timing", kernel=kernel)

    run = start().finish()
    shown = build(run, kernel="k")

    assert isinstance(shown, Missing)
    assert repr(shown) == (
        f"Not in this run: run {run.id} has no 'timing'; recorded: nothing. `perflib record` measures it."
    )
    assert (build.__name__, build.__doc__) == ("build", "What it builds.")


def test_too_few_samples_become_the_standard_sentence_too():
    run = one(cell("a", 64, [10] * 8), cell("b", 64, [5] * 8))

    shown = or_missing(lambda run: ratio(run, "timing", {"kernel": "a"}, {"kernel": "b"}, comparisons=100))(run)

    assert repr(shown).startswith("Not in this run: samples must be more than 8")


def test_an_error_of_another_kind_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        or_missing(lambda run: 1 / 0)(None)


def test_an_interval_is_written_with_its_ends():
    assert text(Interval(2.0499, 1.98, 2.111, 0.95)) == "2.05 [1.98, 2.11]"
    assert text(Interval(200.4, 199, 201, 0.95), 0) == "200 [199, 201]"


def test_times_of_a_synthetic_run_are_what_was_chosen():
    """The helper itself: the loop's cost is on the clock and not in the net times."""
    run = one(cell("k", 64, 12.5))

    assert run.samples("timing")["elapsed_ns"].iloc[0] == (12.5 + FLOOR_NS["kernel"]) * REPS
    assert net_times(run, "timing")["net_ns"].tolist() == [12.5] * 12


def restless(processes, rounds, cases=12, between=0.05, within=0.001):
    """Cases of 1000 ns each, all of a process off by a factor of its own and case; and their rounds."""
    rng = np.random.default_rng(3)
    effects = rng.normal(0, between, (cases, processes)).repeat(rounds // processes, axis=1)
    times = 1000 * np.exp(effects + rng.normal(0, within, effects.shape))
    return [cell("k", 64 + i, times[i]) for i in range(cases)]


def test_the_interval_of_a_case_is_as_wide_as_its_processes_differ():
    cells = restless(4, 20)
    alone = summary(one(*cells), "timing")
    shared = summary(one(*cells, processes=4), "timing")

    assert set(alone["processes"]) == {1}
    assert set(shared["processes"]) == {4}
    assert set(shared["samples"]) == {20}
    half = (shared["high_ns"] - shared["low_ns"]) / 2 / shared["ns"]
    assert half.median() == pytest.approx(2.1 * 0.05 / 2, rel=0.3)  # Student's, of four processes and what the others say
    covered = (shared["low_ns"] <= 1000) & (shared["high_ns"] >= 1000)
    assert covered.sum() >= 11


def test_few_cases_take_the_interval_of_their_own_processes():
    (row,) = summary(one(*restless(4, 20, cases=1), processes=4), "timing").to_dict("records")

    logs = np.log([row["low_ns"], row["ns"], row["high_ns"]])
    assert logs[1] - logs[0] == pytest.approx(logs[2] - logs[1])
    assert 0.02 < logs[2] - logs[1] < 0.2


def test_a_ratio_is_as_uncertain_as_the_processes_differ():
    over, under = restless(4, 20, cases=2)
    run = one(over, under, *restless(4, 20)[2:], processes=4)

    found = ratio(run, "timing", {"n": 64}, {"n": 65})

    times = [np.array(times).reshape(4, 5) for _, times in (over, under)]
    medians = np.median(times[0] / times[1], axis=1)
    assert found.value == pytest.approx(np.exp(np.log(medians).mean()), rel=1e-3)
    assert found.high / found.low > 1.1


def test_more_comparisons_make_the_ratio_of_recorded_processes_wider():
    cells = restless(4, 20)
    run = one(*cells, processes=4)
    one_of, one_of_ten = (ratio(run, "timing", {"n": 64}, {"n": 65}, comparisons=count) for count in (1, 10))

    assert one_of_ten.high / one_of_ten.low > one_of.high / one_of.low
