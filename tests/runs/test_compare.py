"""Two runs compared: what was put in comes out, with the same verdicts as everywhere; a foreign folder is checked first."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from runs import isolate
from synthetic import HERE, cell, limits, noisy, record

from perflib import cli
from perflib.errors import RunError
from perflib.files import CLONE
from perflib.runs.compare import compare_runs, require_plausible
from perflib.runs.integrity import digest
from perflib.runs.store import TABLES, load_run

SIZES = (64, 128, 256)
HOSTILE = "<script>alert('x')</script>\n\"quoted\""
ELSEWHERE = replace(HERE, cpu=HOSTILE)


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def product(slower=1.0, gflops=100.0, canary=2.0, machine=HERE, kernel="matmul_ikj", noise=0.003, seed=0):
    """A product at half the peak, slower by a factor at 128 only, with a canary of its own."""
    ns = {n: 2 * n**3 / (gflops / 2) * (slower if n == 128 else 1) for n in SIZES}
    cells = [cell(kernel, n, noisy(t, noise, seed=seed)) for n, t in ns.items()]
    cells.append(cell("canary", "", [canary] * 12))
    return record(*limits(gflops), ("matmul", "all sizes", cells), machine=machine)


def verdicts(found):
    return [c.verdict for c in found.changes]


def test_a_planted_change_is_found_where_it_was_planted():
    found = compare_runs(product(), product(slower=1.3, seed=1))

    assert verdicts(found) == ["equivalent", "slower", "equivalent"]
    assert found.changes[1].ratio.low < 1.3 < found.changes[1].ratio.high
    assert found.counts() == {"faster": 0, "slower": 1, "equivalent": 2, "unresolved": 0}
    assert verdicts(compare_runs(product(slower=1.3, seed=1), product())) == ["equivalent", "faster", "equivalent"]


def test_nothing_smaller_than_the_canary_moved_is_claimed():
    found = compare_runs(product(canary=2.0), product(slower=1.1, canary=2.6, seed=1))

    assert found.same_machine
    assert found.bound == pytest.approx(0.2, abs=0.02), "2.6 and 2, each with a nanosecond of the loop"
    assert verdicts(found)[1] == "unresolved"


def test_another_machine_is_held_against_its_own_peak():
    """Twice the peak and half the time is the same share of what it can do; at 128 it gets less of it."""
    found = compare_runs(product(), product(slower=1.5, gflops=200.0, machine=ELSEWHERE, seed=1))

    assert not found.same_machine
    assert verdicts(found)[1] == "slower"
    assert found.changes[0].after_ns == pytest.approx(found.changes[0].before_ns / 2, rel=0.05)
    assert found.changes[0].ratio.low < 1 < found.changes[0].ratio.high
    assert "two machines, each against its own limits" in str(found)


def test_an_interval_that_the_samples_cannot_give_is_unresolved():
    def short(ns):
        return record(("matmul", "all sizes", [cell("matmul_ikj", n, [ns * n] * 3) for n in SIZES]))

    found = compare_runs(short(10.0), short(20.0))

    assert verdicts(found) == ["unresolved"] * 3
    assert "too few samples" in str(found)


def test_cases_of_one_run_only_are_counted():
    def of(*kernels):
        return record(("matmul", "all sizes", [cell(k, 64, noisy(1000.0)) for k in kernels]))

    found = compare_runs(of("a", "b"), of("b", "c", "d"))

    assert ([c.case for c in found.changes], found.missing) == (["b, kernel, float32, n 64"], 3)


def test_runs_without_a_common_case_are_refused(refused):
    first, second = (record(("matmul", "all sizes", [cell(k, 64, noisy(1000.0))])) for k in "ab")

    with refused(RunError, "have no case in common"):
        compare_runs(first, second)


def test_names_are_text_in_the_comparison():
    found = compare_runs(product(kernel=HOSTILE), product(kernel=HOSTILE, machine=ELSEWHERE, seed=1))

    assert "<script>" not in found._repr_html_()
    assert "&lt;script&gt;" in found._repr_html_()
    assert len(str(found).splitlines()) == 1 + 2 + len(SIZES)


def sealed(folder, **changes):
    """run.json changed and the checksums set right again: what only a look at the values can see."""
    meta = json.loads((folder / "run.json").read_text()) | changes
    (folder / "run.json").write_text(json.dumps(meta))
    lines = [line.split("  ", 1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines()]
    sums = "".join(f"{digest((folder / name).read_bytes())}  {name}\n" for name in lines)
    (folder / "SHA256SUMS").write_text(sums)
    return folder


def test_a_rate_above_the_peak_of_its_own_machine_is_refused(refused):
    run = record(*limits(100.0), ("matmul", "all sizes", [cell("matmul_ikj", 128, noisy(2 * 128**3 / 150))]))

    with refused(RunError, "matmul.csv: matmul_ikj at n = 128 reaches 15", "GFLOP/s, above the 11"):
        require_plausible(run)


@pytest.mark.parametrize("limit", [{"value": 0, "low": 0, "high": 0}, {"value": 1, "low": -1, "high": 2}, 7, {}])
def test_a_limit_that_cannot_be_is_refused(limit, refused):
    folder = sealed(product().path, limits={"peak_gflops_float32": limit})

    with refused(RunError, "limits: peak_gflops_float32 must be above 0 and finite"):
        require_plausible(load_run(folder))


def spoilt(how, folder):
    if how == "schema":
        (folder / "run.json").write_text('{"schema": 9}')
    elif how == "missing":
        (folder / "matmul.csv").unlink()
    elif how == "checksum":
        (folder / "matmul.csv").write_text((folder / "matmul.csv").read_text().replace("1", "2"))
    elif how == "link":
        outside = folder.parent / "outside.csv"
        shutil.move(folder / "matmul.csv", outside)
        (folder / "matmul.csv").symlink_to(outside)
    elif how == "listed":
        (folder / "SHA256SUMS").write_text((folder / "SHA256SUMS").read_text() + f"{'0' * 64}  ../outside.csv\n")
    return folder


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("schema", "run.json: schema must be 1 or 2, got 9"),
        ("missing", "matmul.csv: missing"),
        ("checksum", "matmul.csv: checksum differs from SHA256SUMS"),
        ("link", "matmul.csv: must lie in the folder of its run, got a link out of it"),
        ("listed", "SHA256SUMS: must list files of its folder, got '../outside.csv'"),
    ],
)
def test_a_folder_from_elsewhere_is_refused_where_it_is_not_what_was_written(tmp_path, how, words, capsys):
    here, there = product(), product(seed=1)
    copied = shutil.copytree(there.path, tmp_path / "stick" / there.id)

    assert cli.run(["compare", here.id, str(copied)]) == 0
    assert "equivalent" in capsys.readouterr().out
    assert cli.run(["compare", here.id, str(spoilt(how, copied))]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("perflib: ")
    assert words in told.err
    assert len(told.err.splitlines()) == 1


def test_a_run_compared_with_itself_has_no_change():
    run = product()
    found = compare_runs(run, run)

    assert set(verdicts(found)) == {"equivalent"}
    assert np.allclose([c.ratio.value for c in found.changes], 1)


def test_a_run_recorded_before_reads_in_every_topic_and_equals_itself():
    """The committed run: 1989 cases, of which too few samples leave most without an interval for so many comparisons."""
    run = load_run(CLONE / "data" / "reference" / "20261126T124110Z-amd-epyc-full")

    for topic, blocks in Counter(topic for topic, _ in run.blocks).items():
        table = run.table(topic) if topic in TABLES else run.samples(topic)
        assert table["block"].nunique() == blocks
    comparison = compare_runs(run, run)

    assert len(comparison.table().rows) == 1989
    assert {change.ratio.value for change in comparison.changes if change.ratio} == {1}
    assert all(change.before_ns == change.after_ns for change in comparison.changes)
    assert comparison.counts() == {"faster": 0, "slower": 0, "equivalent": 36, "unresolved": 1953}
