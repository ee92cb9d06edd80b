"""A row for each case stands beside the samples and says the same as they do, or is refused."""

import numpy as np
import pytest
from runs import in_order, isolate, row, start, write
from synthetic import cell, full, limits, noisy, packing, record

from perflib.errors import RunError
from perflib.runs.cases import cases
from perflib.runs.integrity import digest
from perflib.runs.store import load_run
from perflib.runs.summaries import read_summary, require_summary, summaries, summary_of
from perflib.runs.tables import SUMMARY_COLUMNS
from perflib.validation.between import case_intervals


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def matmul(n=64, **columns):
    return "matmul", "all", [cell("matmul_ikj", n, noisy(2.0 * n**3, 0.003), **columns)]


def edit(run, old, new):
    """One text of the summary replaced, and the checksum with it."""
    file, sums = run.path / "summary.csv", run.path / "SHA256SUMS"
    before = file.read_bytes()
    assert before.count(old.encode()) >= 1
    after = before.replace(old.encode(), new.encode(), 1)
    file.write_bytes(after)
    sums.write_text(sums.read_text().replace(digest(before), digest(after)))


def test_a_summary_has_every_case_of_the_samples_and_its_interval():
    run = full()

    stored, intervals = read_summary(run.path), case_intervals(run)

    assert {key for key in stored if key[0] != "limits"} == set(intervals)
    for key, interval in intervals.items():
        ends = (stored[key].time_ns.value, stored[key].time_ns.low, stored[key].time_ns.high)
        assert ends == pytest.approx((interval.value, interval.low, interval.high), abs=0.0006), "half a picosecond"
        assert stored[key].samples == len(cases(run)[key]["net_ns"])


def test_what_is_read_is_what_the_samples_say_parameters_and_limits_included():
    run = record(*limits(), matmul(), packing({(24, 64): 1e2, (96, 256): 2e2}), processes=4)

    read, computed = read_summary(run.path), {case.key: case for case in summaries(run)}

    assert list(read) == list(computed)
    assert {case.processes for case in read.values()} == {4}
    for key, case in read.items():
        assert (case.state, case.samples, case.flops, case.bytes) == (
            computed[key].state,
            computed[key].samples,
            computed[key].flops,
            computed[key].bytes,
        )
    assert [dict(key[1])["mc"] for key in read if key[0] == "packing"] == [24, 96]
    (product,) = [case for key, case in read.items() if key[0] == "matmul"]
    assert product.flops == 2 * 64**3
    assert product.kernel == "matmul_ikj"
    assert [case.kernel for key, case in read.items() if key[0] == "limits"][0] == "fma_peak"


def test_a_run_of_before_is_summarised_from_its_samples():
    run = record(matmul(), processes=4)
    stored = summary_of(run)
    sums = run.path / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(True) if "summary" not in line))
    (run.path / "summary.csv").unlink()

    computed = summary_of(load_run(run.path))

    assert computed.keys() == stored.keys()


def test_states_say_what_disturbed_a_case():
    writer = start()
    with writer.block("tiles", "all") as append:
        for number in range(12):
            changes = {"process": number % 4 + 1, "round": number}
            disturbed = {
                "calm": {},
                "wide": {"elapsed_ns": 1000 + 400 * (number % 4)},
                "pushed": {"switches": 1},
                "compiled": {"compiled": int(number == 3)},
                "suspended": {"reps": 100_000, "elapsed_ns": 10**8 + 10**8 * (number == 3), "cpu_ns": 10**8 - number},
            }
            append(in_order([row("all", number, kernel=name, **changes | what) for name, what in disturbed.items()]))

    states = {case.kernel: case.state for case in read_summary(writer.finish().path).values()}

    assert states == {"calm": "stable", "wide": "noisy", "pushed": "noisy", "compiled": "invalid", "suspended": "noisy"}


def test_a_summary_changed_after_it_was_recorded_is_refused(refused):
    run = record(matmul())
    file = run.path / "summary.csv"
    file.write_text(file.read_text().replace("matmul_ikj", "matmul_ikl"))

    with refused(RunError, "summary.csv: checksum differs"):
        read_summary(run.path)
    with refused(RunError, "summary.csv: checksum differs"):
        load_run(run.path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("median_ps", "median_ns", ("row 1", "must be topic,kernel")),
        (",stable", ",splendid", ("row 2", "state must match stable|noisy|invalid", "got 'splendid'")),
        ("float32,64", "float32,-64", ("row 2", "n must be an integer of at least 1, got '-64'")),
        ("float32,64", "float32,٦٤", ("row 2", "n must be an integer")),
        ("float32,64,,,1,,", "float32,64,,,1,mc=x,", ("row 2", "parameters must match", "got 'mc=x'")),
        (",stable,", ",stable,,", ("row 2", "must have 17 fields, got 18")),
    ],
)
def test_a_row_that_cannot_be_is_named(refused, old, new, words):
    run = record(matmul(), processes=4)
    edit(run, old, new)

    with refused(RunError, *words):
        read_summary(run.path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda case: {"kernel": "elsewhere"}, "row 2: is of no case in matmul.csv"),
        (lambda case: {"samples": case.samples + 1}, "row 2: has another number of samples or processes than its case"),
        (lambda case: {"processes": 5}, "row 2: has another number of samples or processes than its case"),
        (
            lambda case: dict.fromkeys(("low_ps", "median_ps", "high_ps"), 1),
            "row 2: median_ps lies outside of the samples",
        ),
    ],
)
def test_a_summary_of_other_samples_is_refused(change, words, refused):
    run = record(matmul(), processes=4)
    (case,) = read_summary(run.path).values()
    require_summary(run)
    header, line = (run.path / "summary.csv").read_text().splitlines()
    fields = dict(zip(header.split(","), line.split(","), strict=True)) | change(case)
    edit(run, line, ",".join(map(str, fields.values())))

    with refused(RunError, "summary.csv: ", words):
        require_summary(load_run(run.path))


@pytest.mark.parametrize(("times", "words"), [(0, "of matmul.csv has no row"), (2, "a case stands there twice")])
def test_a_summary_has_each_case_once(times, words, refused):
    run = record(matmul(), processes=4)
    last = (run.path / "summary.csv").read_text().splitlines()[-1] + "\n"
    edit(run, last, times * last)

    with refused(RunError, "summary.csv: ", words):
        require_summary(load_run(run.path))


def test_a_summary_that_is_torn_is_refused(refused):
    run = record(matmul(), processes=4)
    last = (run.path / "summary.csv").read_text().splitlines()[-1]
    edit(run, f"{last}\n", last[:-1])

    with refused(RunError, "summary.csv: row 2: torn, its end of line is missing"):
        read_summary(run.path)


def test_an_interval_whose_ends_do_not_rise_is_refused(refused):
    run = record(matmul(), processes=4)
    (case,) = read_summary(run.path).values()
    edit(run, f",{round(case.time_ns.low * 1000)},", f",{round(case.time_ns.high * 2000)},")

    with refused(RunError, "row 2", "must rise"):
        read_summary(run.path)


def test_a_folder_without_a_summary_is_named(refused):
    run = start()
    write(run, "tiles", "n=64")

    with refused(RunError, "summary.csv: cannot be read"):
        read_summary(run.path)


def test_the_columns_are_those_of_the_schema():
    run = record(matmul())

    assert (run.path / "summary.csv").read_text().splitlines()[0] == ",".join(SUMMARY_COLUMNS)


def test_sessions_and_not_their_processes_are_what_an_interval_rests_on():
    """Two sessions that differ by 20 %, each of two processes that agree: the interval must hold both."""
    writer = start()
    for process in (1, 2, 3, 4):
        writer.note_process(process, 7, session=1 + (process > 2))
        with writer.block("tiles", "all", process=process) as append:
            for number in range(6):
                ns = (1000 if process < 3 else 1200) + number
                append([row("all", 6 * process + number, process=process, placement=number + 1, reps=1, elapsed_ns=ns)])
    run = writer.finish()

    (case,) = read_summary(run.path).values()

    assert run.sessions == {1: 1, 2: 1, 3: 2, 4: 2}
    assert set(run.samples("tiles")["process"]) == {1, 2}
    assert case.processes == 2
    assert case.time_ns.low < 1000 < 1200 < case.time_ns.high
    assert np.isclose(case.time_ns.value, np.sqrt(1002.5 * 1202.5))
