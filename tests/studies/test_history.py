"""The history of a machine: its recordings in order, each case a series, each step with its commits and versions."""

import json
from dataclasses import replace

import numpy as np
import pytest
from runs import isolate, start
from synthetic import HERE, cell, limits, noisy, record

from perflib import cli
from perflib.errors import RunError
from perflib.runs import writer
from perflib.runs.integrity import digest
from perflib.runs.store import list_runs, load_run
from perflib.studies import history as study
from perflib.studies.history import history

ELSEWHERE = replace(HERE, cpu="Other <b>chip</b>")


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "machine", lambda: HERE)
    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def recorded(monkeypatch):
    """Recordings in order: one kernel that becomes slower by a factor from a place on, one that does not."""

    def make(count, place=None, factor=1.2, machine=HERE, later=None, spread=0.01, first=0):
        rng = np.random.default_rng(count)
        for number in range(first, first + count):
            code = {"digest": f"{number:016}", "commit": f"{number:02}" + 38 * "c", "clean": number != 3}
            monkeypatch.setattr(writer, "_code", lambda code=code: code)
            slower = factor if place is not None and number >= place else 1.0
            between = np.exp(spread * rng.standard_normal(2))
            times = {"matmul_ikj": 1e5 * slower * between[0], "matmul": 1e4 * between[1]}
            cells = [cell(name, 64, noisy(ns, 0.003, seed=number)) for name, ns in times.items()]
            here = later if later and number >= place else machine
            path = record(("matmul", "all", cells), machine=here, processes=4).path
            dated(path, number)

    return make


def dated(path, number):
    """A day of its own for each recording."""
    file, sums = path / "run.json", path / "SHA256SUMS"
    before = file.read_bytes()
    meta = json.loads(before) | {"started": f"2026-01-{number + 1:02}T00:00:00Z"}
    file.write_text(json.dumps(meta))
    sums.write_text(sums.read_text().replace(digest(before), digest(file.read_bytes())))


def test_a_step_comes_with_its_commits_and_the_versions_that_changed(recorded):
    newer = replace(HERE, packages={"numpy": "2.1"}, python="3.12.0")
    recorded(20, place=10, later=newer)

    found = history()

    verdicts = {dict(series.key[1])["kernel"]: series.verdict for series in found.series}
    assert verdicts == {"matmul_ikj": "changed", "matmul": "steady"}
    (row,) = found.table().rows
    assert row[0] == "matmul"
    assert "matmul_ikj" in row[1]
    (changed,) = found.changed
    assert changed.scan.steps[0].ratio.low < 1.2 < changed.scan.steps[0].ratio.high
    assert row[3] == "2026-01-11T00:00:00Z"
    assert row[5] == f"09{14 * 'c'}..10{14 * 'c'}"
    assert "numpy 2.0 -> 2.1" in row[6]
    assert "Python 3.11.0 -> 3.12.0" in row[6]
    assert "1 of 2 series have a step, 1 are steady, 0 undecided" in found.headline


def test_few_recordings_or_a_large_spread_leave_a_series_undecided(recorded):
    recorded(10)
    assert {series.reason for series in history().series} == {"10 recordings, 16 are needed"}

    recorded(10, spread=0.06, first=10)
    for series in history().series:
        assert series.verdict == "undecided"
        assert series.reason.startswith("recordings differ by ")
        assert "to be found" in series.reason


def test_one_recording_is_a_history_that_decides_nothing(recorded):
    recorded(1)

    found = history(["matmul"])

    assert [series.verdict for series in found.series] == ["undecided"]
    assert "1 recordings" in str(found)
    assert found.figure().png


def test_only_the_kernels_that_are_named_are_shown(recorded):
    recorded(3)

    found = history(["matmul"])

    assert [dict(series.key[1])["kernel"] for series in found.series] == ["matmul"]
    assert "16 are needed" in str(found)
    assert "series of" not in str(found)
    assert "series of" in str(history())


def test_a_kernel_that_no_recording_has_is_refused_with_those_that_are_there(recorded, refused):
    recorded(2)

    with refused(RunError, "no recording of this machine has kernel 'matmull'", "recorded: matmul, matmul_ikj"):
        history(["matmull"])


def test_nothing_recorded_says_what_to_do(refused):
    with refused(RunError, "no finished recording", "perflib record"):
        history()


def test_other_machines_unfinished_and_damaged_runs_are_left_out_and_counted(recorded):
    recorded(3)
    recorded(3, machine=ELSEWHERE, first=5)
    start("full")
    damaged, torn, _ = list_runs()[:3]
    (damaged / "summary.csv").write_text("changed")
    (torn / "run.json").write_text("{")

    found = history()

    assert len(found.recordings) == 1
    assert any("summary.csv: checksum differs" in note for note in found.notes)
    others = f"3 of Other <b>chip</b> (generic), {HERE.logical_cpus} cores, 1 GiB; --machine NAME shows them."
    assert f"Recordings of other machines: {others}" in found.notes
    assert any("1 run is left out, unfinished." in note for note in found.notes)
    assert any(note.startswith("Left out: ") and "cannot be read" in note for note in found.notes)


def test_without_a_recording_of_this_machine_the_newest_says_which(recorded):
    recorded(2, machine=ELSEWHERE)

    found = history()

    assert found.machine.cpu == ELSEWHERE.cpu
    assert "Other <b>chip</b>" not in found._repr_html_()
    assert "Other &lt;b&gt;chip" in found._repr_html_()


def test_a_machine_is_chosen_by_a_part_of_its_name(recorded, refused, capsys):
    recorded(3)
    recorded(2, machine=ELSEWHERE, first=5)
    recorded(1, machine=replace(ELSEWHERE, logical_cpus=96), first=8)
    recorded(1, machine=replace(ELSEWHERE, target="znver4", isa=("avx512f",), logical_cpus=96), first=9)

    assert len(history().recordings) == 3
    assert len(history(cpu="other").recordings) == 1, "the newest one so called"
    assert len(history(cpu=f"chip</b> (generic), {HERE.logical_cpus} c").recordings) == 2
    assert history(cpu="(generic), 96").machine.target == "generic", "another processor that is sold by one name"
    with refused(
        RunError, "no recording is of a machine 'Intel'; recorded: Test(R) Chip 9000 (generic), ", "(znver4), 96 cores"
    ):
        history(cpu="Intel")
    assert cli.run(["history", "matmul", "--machine", "Test(R)"]) == 0
    assert capsys.readouterr().out.startswith("3 recordings of Test(R) Chip 9000")


def test_a_folder_of_runs_has_a_history(recorded, data, tmp_path, capsys):
    recorded(2)
    (data / "runs").rename(tmp_path / "kept")

    assert cli.run(["history", "matmul", "--folder", str(tmp_path / "kept")]) == 0
    assert capsys.readouterr().out.startswith("2 recordings of ")
    assert cli.run(["history", "--folder", str(tmp_path / "nowhere")]) == 1
    assert "no finished recording" in capsys.readouterr().err


def test_the_reference_run_has_a_history_on_any_machine(monkeypatch):
    monkeypatch.delenv("PERFLIB_DATA")
    reference = load_run()

    found = history(["matmul_tiled"], [reference.path])

    assert found.machine == reference.machine
    assert len(found.series) > 10
    assert all(series.reason == "1 recordings, 16 are needed" for series in found.series)


def test_runs_of_before_are_read_from_their_samples(recorded):
    recorded(2)
    for path in list_runs():
        sums = path / "SHA256SUMS"
        sums.write_text("".join(line for line in sums.read_text().splitlines(True) if "summary" not in line))
        (path / "summary.csv").unlink()

    assert [len(series.times) for series in history().series] == [2, 2]


def test_the_order_is_that_of_the_starts_and_not_of_the_folders(recorded):
    recorded(3)
    for number, path in enumerate(list_runs()):
        dated(path, 9 - number)

    assert [one.started[:10] for one in history().recordings] == ["2026-01-08", "2026-01-09", "2026-01-10"]


def test_limits_are_a_series_too():
    record(*limits(), processes=4)

    assert {series.key[0] for series in history().series} == {"limits"}


def test_the_command_prints_and_writes_a_page(recorded, tmp_path, capsys):
    recorded(20, place=10)
    page = tmp_path / "history.html"

    assert cli.run(["history", "matmul_ikj", "--html", str(page)]) == 0

    printed = capsys.readouterr().out
    assert printed.startswith("20 recordings of Test(R) Chip 9000")
    assert "changed" in printed
    text = page.read_text()
    assert "data:image/png" in text or "<svg" in text
    assert "1 of 1 series have a step" in text


def test_the_command_refuses_an_unknown_kernel_in_one_line(recorded, capsys):
    recorded(1)

    assert cli.run(["history", "nothing\nhere"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_figure_marks_each_step_with_its_ratio(recorded):
    recorded(20, place=10)

    figure = history().figure()

    assert "1 steps marked" in figure.alt
    words = [text.get_text() for axes in figure.figure.axes for text in axes.texts]
    assert any(word.startswith("+") and word.endswith("%") for word in words)


def test_a_commit_says_where_files_differed_from_it(recorded):
    recorded(5)

    assert [one.commit.endswith(" + changes") for one in history().recordings] == [False, False, False, True, False]
