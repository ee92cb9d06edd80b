"""Two runs compared: what was put in comes out, with the same verdicts as everywhere; a foreign folder is checked first."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from runs import isolate, row
from synthetic import HERE, REPS, cell, limits, noisy, record

from perflib import cli
from perflib.errors import NothingComparable, RunError
from perflib.files import CLONE
from perflib.runs import compare
from perflib.runs.cases import cases, label
from perflib.runs.compare import OUTCOMES, compare_runs, require_plausible
from perflib.runs.integrity import digest
from perflib.runs.repeatability import earlier_recordings, not_repeatable
from perflib.runs.store import Run, list_runs, load_run
from perflib.runs.tables import COLUMNS, TABLES
from perflib.stats import Interval

SIZES = (64, 128, 256)
HOSTILE = "<script>alert('x')</script>\n\"quoted\""
ELSEWHERE = replace(HERE, cpu=HOSTILE)
(REFERENCE,) = (CLONE / "data" / "reference").iterdir()


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def product(
    slower=1.0, gflops=100.0, canary=2.0, machine=HERE, kernel="matmul_ikj", noise=0.003, seed=0, processes=4, schema=2
):
    """A product at half the peak, slower by a factor at 128 only, with a canary of its own."""
    ns = {n: 2 * n**3 / (gflops / 2) * (slower if n == 128 else 1) for n in SIZES}
    cells = [cell(kernel, n, noisy(t, noise, seed=seed)) for n, t in ns.items()]
    cells.append(cell("canary", "", [canary] * 12))
    run = record(*limits(gflops), ("matmul", "all sizes", cells), machine=machine, processes=processes)
    return run if schema == 2 else load_run(sealed(run.path, schema=schema))


def verdicts(found):
    return [c.verdict for c in found.changes]


def counted(**counts):
    """Counts of a comparison, those not named are 0."""
    return {outcome: counts.get(outcome.replace(" ", "_"), 0) for outcome in OUTCOMES}


@pytest.mark.parametrize("schema", [1, 2])
def test_a_planted_change_is_found_where_it_was_planted(schema):
    found = compare_runs(product(schema=schema), product(slower=1.3, seed=1, schema=schema))

    assert verdicts(found) == ["equivalent", "slower", "equivalent"]
    assert found.changes[1].ratio.low < 1.3 < found.changes[1].ratio.high
    assert found.counts() == counted(slower=1, equivalent=2)
    opposite = compare_runs(product(slower=1.3, seed=1, schema=schema), product(schema=schema))
    assert verdicts(opposite) == ["equivalent", "faster", "equivalent"]


@pytest.mark.parametrize("schema", [1, 2])
def test_nothing_smaller_than_the_canary_moved_is_claimed(schema):
    found = compare_runs(product(canary=2.0, schema=schema), product(slower=1.1, canary=2.6, seed=1, schema=schema))

    assert found.same_machine
    assert found.bound == pytest.approx(0.2, abs=0.02), "2.6 and 2, each with a nanosecond of the loop"
    assert verdicts(found)[1] == "unresolved"


def test_a_change_below_three_percent_is_no_change_between_recordings():
    found = compare_runs(product(), product(slower=1.025, seed=1))

    assert found.bound == 0.03
    assert found.changes[1].p < 0.001
    assert verdicts(found) == ["equivalent"] * 3


@pytest.mark.parametrize("schema", [1, 2])
def test_another_machine_is_held_against_its_own_peak(schema):
    """Twice the peak and half the time is the same share of what it can do; at 128 it gets less of it."""
    there = product(slower=1.5, gflops=200.0, machine=ELSEWHERE, seed=1, schema=schema)
    found = compare_runs(product(schema=schema), there)

    assert not found.same_machine
    assert verdicts(found)[1] == "slower"
    assert found.changes[0].after_ns == pytest.approx(found.changes[0].before_ns / 2, rel=0.05)
    assert found.changes[0].ratio.low < 1 < found.changes[0].ratio.high
    assert "two machines, each against its own limits" in str(found)
    assert "hardware (cpu)" in str(found)


def test_a_case_without_a_limit_costs_a_row_and_no_more():
    """Weights of type Q8_0 have no peak; those cases are counted, the others judged."""

    def run(gflops, machine, seed):
        cells = [cell("matmul_ikj", n, noisy(2 * n**3 / gflops, 0.003, seed=seed)) for n in SIZES]
        weights = [cell("forward", n, noisy(1e6, seed=seed), dtype="Q8_0") for n in (1, 2)]
        blocks = (("matmul", "all sizes", cells), ("forward", "weights", weights))
        return record(*limits(2 * gflops), *blocks, machine=machine, processes=4)

    found = compare_runs(run(50.0, HERE, 0), run(100.0, ELSEWHERE, 1))

    assert [(c.verdict, c.aside) for c in found.changes if c.topic == "forward"] == [("unresolved", "no limit")] * 2
    assert all(c.ratio for c in found.changes if c.topic == "matmul")
    assert found.counts()["no limit"] == 2
    assert ("forward", "0", "0", "0", "2") in found.rest().rows
    assert found.status == 0


def test_the_limits_are_read_once_for_all_cases(monkeypatch):
    """Each reading summarises a topic: 44 s for two complete runs when every case had its own."""
    dtypes = []
    monkeypatch.setattr(compare, "require_plausible", lambda run: None)
    monkeypatch.setattr(compare, "peak_gflops", lambda run, dtype: dtypes.append(dtype) or Interval(1, 1, 1, 0.95))
    compare_runs(product(), product(machine=ELSEWHERE, seed=1))

    assert dtypes == ["float32"] * 2


def test_two_machines_without_limits_have_nothing_comparable():
    def run(machine, seed):
        cells = [cell("a", n, noisy(10.0 * n, seed=seed)) for n in SIZES]
        return record(("timing", "all", cells), machine=machine, processes=4)

    found = compare_runs(run(HERE, 0), run(ELSEWHERE, 1))

    assert found.counts() == counted(no_limit=3)
    assert found.status == 4
    assert compare_runs(run(HERE, 0), run(HERE, 1)).status == 0


def test_versions_and_dates_make_no_other_machine_and_are_listed():
    later = replace(HERE, packages={"numpy": "2.1"}, os="Linux 7 x86_64", memory_bytes=HERE.memory_bytes - (3 << 20))
    found = compare_runs(product(), product(machine=later, seed=1))

    assert found.same_machine
    sentence = next(note for note in found.notes if note.startswith("Different: "))
    assert "numpy 2.0 -> 2.1" in sentence
    assert "system Linux 6 x86_64 -> Linux 7 x86_64" in sentence
    assert "hardware" not in sentence


def test_an_interval_that_the_samples_cannot_give_is_unresolved():
    def short(ns):
        run = record(("matmul", "all sizes", [cell("k", n, [ns * n] * 3) for n in SIZES]))
        return load_run(sealed(run.path, schema=1))

    found = compare_runs(short(10.0), short(20.0))

    assert verdicts(found) == ["unresolved"] * 3
    assert {c.ratio for c in found.changes} == {None}


def test_an_old_recording_is_not_compared_with_a_new_one(refused, capsys):
    old, new = product(schema=1), product(seed=1)

    for pair in ((old, new), (new, old)):
        words = f"run {old.id} has one process and one place of its arrays", "record the older code again: perflib record"
        with refused(NothingComparable, *words):
            compare_runs(*pair)
    assert cli.run(["compare", old.id, new.id]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_two_old_recordings_say_that_a_change_of_place_shows():
    assert "changes of place show as changes" in compare_runs(product(schema=1), product(seed=1, schema=1)).headline
    assert "changes of place" not in str(compare_runs(product(), product(seed=1)))


def test_two_processes_claim_nothing_without_a_topic_to_borrow_from():
    found = compare_runs(product(processes=2), product(slower=1.3, processes=2, seed=1))

    assert verdicts(found) == ["unresolved"] * 3
    assert found.changes[1].ratio.value == pytest.approx(1.3, rel=0.02)
    assert "3 cases have two processes each or one: too few for a claim of their own" in found.headline


def test_two_processes_borrow_the_variance_of_their_topic():
    def run(slower, seed):
        ns = {n: 10.0 * n * (slower if n == 100 else 1) for n in range(96, 112)}
        cells = [cell("a", n, noisy(t, 0.003, seed=seed)) for n, t in ns.items()]
        return record(("timing", "all sizes", cells), processes=2)

    found = compare_runs(run(1.0, 0), run(1.3, 1))

    assert [c.case for c in found.changed] == ["a, kernel, float32, n 100"]
    assert found.counts() == counted(slower=1, equivalent=15)


def test_a_case_of_one_process_borrows_the_variance_of_its_topic_or_has_no_interval():
    def run(others, seed):
        cells = [cell("a", n, noisy(10.0 * n, 0.003, seed=seed)) for n in range(96, 96 + others)]
        alone = [cell("alone", 64, noisy(640.0, 0.003, seed=seed), process=1)]
        return record(("timing", "all sizes", [*cells, *alone]), processes=4)

    many, few = (compare_runs(run(others, 0), run(others, 1)).changes[-1] for others in (12, 3))

    assert (many.verdict, many.ratio is None) == ("equivalent", False)
    assert (few.verdict, few.ratio) == ("unresolved", None)


def test_cases_of_one_run_only_are_counted():
    def of(*kernels):
        return record(("matmul", "all sizes", [cell(k, 64, noisy(1000.0)) for k in kernels]))

    found = compare_runs(of("a", "b"), of("b", "c", "d"))

    assert ([c.case for c in found.changes], found.missing) == (["b, kernel, float32, n 64"], 3)


def test_runs_without_a_common_case_are_refused(refused):
    first, second = (record(("matmul", "all sizes", [cell(k, 64, noisy(1000.0))])) for k in "ab")

    with refused(NothingComparable, "have no case in common"):
        compare_runs(first, second)
    assert cli.run(["compare", first.id, second.id]) == 4


def test_names_are_text_in_the_comparison(tmp_path):
    found = compare_runs(product(kernel=HOSTILE), product(slower=2.0, kernel=HOSTILE, machine=ELSEWHERE, seed=1))

    assert "<script>" not in found._repr_html_()
    assert "&lt;script&gt;" in found._repr_html_()
    assert [line for line in str(found).splitlines() if line.startswith("matmul") and "slower" in line]
    assert 'quoted"' not in [line.strip() for line in str(found).splitlines()]


def test_the_output_is_what_changed_largest_first_and_counts_of_the_rest():
    def run(factors, seed):
        cells = [cell("a", n, noisy(10.0 * n * factors.get(n, 1), 0.003, seed=seed)) for n in range(96, 112)]
        return record(("timing", "all sizes", cells), processes=4)

    found = compare_runs(run({}, 0), run({98: 1.2, 99: 0.5, 110: 1.4}, 1))
    lines = str(found).splitlines()

    assert "16 cases: 1 faster, 2 slower (13 equivalent)" in lines[0]
    assert [c.case.rpartition(" ")[2] for c in found.changed] == ["99", "110", "98"]
    assert [row[1].rpartition(" ")[2] for row in found.table().rows] == ["99", "110", "98"]
    assert found.rest().rows == (("timing", "13", "0", "0", "0"),)
    assert len(lines) < 16
    assert found._repr_html_().count("<svg") == 3


def test_the_exit_status_tells_a_regression_from_none(capsys):
    same, better, worse = product(seed=1), product(slower=0.7, seed=2), product(slower=1.3, seed=3)
    before = product().id

    assert [cli.run(["compare", before, run.id]) for run in (same, better, worse)] == [0, 0, 3]


def test_json_holds_every_case_and_html_is_one_page(tmp_path, capsys):
    files = tmp_path / "found.json", tmp_path / "found.html"
    words = ["--json", str(files[0]), "--html", str(files[1])]
    assert cli.run(["compare", product().id, product(slower=1.3, seed=1).id, *words]) == 3

    facts, page = json.loads(files[0].read_text()), files[1].read_text()
    assert (facts["status"], facts["counts"]) == (3, counted(slower=1, equivalent=2))
    assert [(c["topic"], c["verdict"]) for c in facts["cases"]] == [
        ("matmul", verdict) for verdict in ("equivalent", "slower", "equivalent")
    ]
    slower = facts["cases"][1]
    assert slower["ratio"]["low"] < 1.3 < slower["ratio"]["high"]
    assert slower["p"] < 0.001 < facts["cases"][0]["p"]
    assert page.startswith("<!DOCTYPE html>")
    assert facts["headline"] in page
    assert "<script" not in page


# Recordings in memory: what is drawn anew in each process and each round, hundreds of times.

ROUNDS_EACH, KERNELS, CASES_EACH = 4, ("a", "b", "c", "d"), 15


def simulated(rng, times, spreads, processes=4, slower=()):
    """A recording of the topics in `times`; each process and each place of the arrays has an effect of its own."""
    run = Run(Path(f"simulated-{rng.integers(1 << 60)}"), {"schema": 2, "code": {}, "command": "full", "finished": "x"})
    vars(run).update(machine=HERE, blocks={(topic, "b"): 1 for topic in times}, _cached={})
    for topic, of_topic in times.items():
        count, rounds = len(of_topic), processes * ROUNDS_EACH
        process = np.repeat(np.arange(processes), ROUNDS_EACH)
        effects = rng.normal(0, 1, (count, processes)) * spreads[topic][:, None]
        places = rng.normal(0, 0.01, (count, rounds)) + 0.3 * (rng.random((count, rounds)) < 0.05)
        names = [KERNELS[i // CASES_EACH] for i in range(count)]
        factors = np.array([1.1 if (topic, name) in slower else 1.0 for name in names])
        ns = (of_topic * factors)[:, None] * np.exp(effects[:, process] + places + rng.normal(0, 0.005, places.shape))
        columns = {name: np.repeat(value, count * rounds) for name, value in row("b", 0).items()}
        columns |= {"kernel": np.repeat(names, rounds), "n": np.repeat(np.arange(count) + 1, rounds), "reps": REPS}
        columns |= {"process": np.tile(process + 1, count), "round": np.tile(np.arange(rounds), count)}
        empty = pd.array([pd.NA] * (count * rounds), dtype="Int64")
        columns |= {"tile": empty, "rows": empty, "elapsed_ns": np.round(ns.ravel() * REPS).astype(int)}
        run._cached[topic, *COLUMNS] = pd.DataFrame(columns)
    return run


def pair(seed, processes=4, slower=()):
    """Two recordings of the same code, but for what is planted in the second."""
    rng = np.random.default_rng(seed)
    count = len(KERNELS) * CASES_EACH
    times = {topic: np.exp(rng.uniform(4, 12, count)) for topic in ("timing", "memory")}
    spreads = {topic: 0.012 * np.exp(rng.normal(0, 0.5, count)) for topic in times}
    return [simulated(rng, times, spreads, processes, planted) for planted in ((), slower)]


@pytest.mark.parametrize("processes", [2, 4])
def test_the_same_code_twice_gives_next_to_no_claims(processes):
    counts = Counter()
    for seed in range(40):
        counts += Counter(compare_runs(*pair([1, seed], processes)).counts())

    assert counts.total() == 40 * 2 * len(KERNELS) * CASES_EACH
    assert counts["faster"] + counts["slower"] <= 0.005 * counts.total()
    assert counts["unresolved"] <= 0.3 * counts.total() or processes == 2


def test_a_slow_down_of_ten_percent_in_one_kernel_is_found():
    found, others = [], []
    for seed in range(10):
        changed = compare_runs(*pair([2, seed], slower={("timing", "b")})).changed
        planted = [c for c in changed if c.topic == "timing" and c.case.startswith("b,")]
        found.append(sum(c.verdict == "slower" for c in planted) / CASES_EACH)
        others.append(len(changed) - len(planted))

    assert np.mean(found) >= 0.85
    assert np.mean(others) <= 0.5
    assert sorted(others)[-2] <= 1


# Not repeatable here


def dated(run, second, **changes):
    """The run as if recorded in this second of a minute that is long past."""
    started, finished = (f"2026-01-01T00:00:{at:02}Z" for at in (second, second + 1))
    return load_run(sealed(run.path, started=started, finished=finished, **changes))


def restless(seed, moving=("c",), topic="memory", machine=HERE, size=1.0):
    """Twenty cases of each of two kernels, the moving ones by 15 % from process to process."""
    rng, cells = np.random.default_rng(seed), []
    for kernel in ("a", "c"):
        for n in range(512, 532):
            effects = np.repeat(np.exp(rng.normal(0, 0.15 if kernel in moving and n < 514 else 0.003, 4)), 3)
            cells.append(cell(kernel, round(n * size), 1000.0 * effects * np.exp(rng.normal(0, 0.003, 12)), rows=1))
    return record((topic, "all", cells), machine=machine, processes=4)


def test_a_case_that_earlier_recordings_show_moving_takes_part_in_no_verdict(tmp_path):
    earlier, before, after = (dated(restless(seed), second) for seed, second in ((0, 1), (1, 3), (2, 5)))
    found = compare_runs(before, after)

    assert [run.id for run in earlier_recordings(before, after)] == [earlier.id]
    assert {c.case for c in found.changes if c.outcome == "not repeatable"} == {
        f"c, kernel, float32, n {n}, rows 1" for n in (512, 513)
    }
    assert found.counts() == counted(not_repeatable=2, equivalent=38)
    assert all(c.ratio is None and c.p is None for c in found.changes if c.outcome == "not repeatable")
    assert sorted(found.not_repeatable) == [f"memory c, kernel, float32, n {n}, rows 1" for n in (512, 513)]
    assert "Not repeatable here, by earlier recordings, 2 cases: memory c, kernel" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["not_repeatable"] == [*found.not_repeatable]


def test_nothing_is_marked_by_the_two_recordings_themselves_or_by_later_ones():
    before, after, _ = (dated(restless(seed), second) for seed, second in ((0, 1), (1, 3), (2, 5)))

    assert earlier_recordings(before, after) == []
    assert compare_runs(before, after).not_repeatable == ()


@pytest.mark.parametrize("changes", [{"schema": 1}, {"finished": None}, {"elsewhere": True}])
def test_an_earlier_run_that_is_old_unfinished_or_of_another_machine_marks_nothing(changes):
    machine = ELSEWHERE if changes.pop("elsewhere", False) else HERE
    dated_first = dated(restless(0, machine=machine), 1)
    if changes:
        sealed(dated_first.path, command="other", **changes)  # another command: no start continues it
    before, after = (dated(restless(seed), second) for seed, second in ((1, 3), (2, 5)))

    assert earlier_recordings(before, after) == []


@pytest.mark.parametrize("topic", ["matmul", "tiles", "packing", "conflicts", "stencil", "rmsnorm"])
def test_products_stencils_and_norms_in_the_second_level_are_never_marked(topic):
    run = restless(0, topic=topic)

    assert not_repeatable([run], cases(run)) == []


def test_a_norm_beyond_the_second_level_may_be_marked():
    run = restless(0, topic="rmsnorm", size=1000)

    assert sorted(label(key) for key in not_repeatable([run], cases(run))) == [
        f"c, kernel, float32, n {n}, rows 1" for n in (512_000, 513_000)
    ]


def test_at_most_a_tenth_is_marked_the_worst_first():
    cells = [
        cell(
            "a",
            n,
            np.repeat(1000.0 * np.exp(0.02 * 1.1 ** (n - 10) * np.array([-1, 1, -1, 1])), 3) * noisy(1.0, 0.002, seed=n),
        )
        for n in range(10, 40)
    ]
    run = record(("memory", "all", cells), processes=4)

    assert [dict(key[1])["n"] for key in not_repeatable([run], cases(run))] == [39, 38, 37]


def test_a_change_of_the_code_is_no_unrest():
    """Two recordings of two versions: each repeats, and the second is 30 % slower."""
    first, second = (
        record(("memory", "all", [cell("a", n, noisy(ns * n, 0.003, seed=n)) for n in range(96, 116)]), processes=4)
        for ns in (10.0, 13.0)
    )
    second = load_run(sealed(second.path, code={"digest": "1", "commit": None, "clean": None}))

    assert not_repeatable([first, second], cases(first)) == []
    assert len(not_repeatable([first, load_run(sealed(second.path, code=first.meta["code"]))], cases(first))) == 2


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


@pytest.mark.parametrize(
    "limit", [{"value": 0, "low": 0, "high": 0}, {"value": 1, "low": -1, "high": 2, "coverage": 1}, 7, {}, {"value": 1e300}]
)
def test_a_limit_that_cannot_be_is_refused(limit, refused):
    folder = sealed(product().path, limits={"peak_gflops_float32": limit})

    with refused(RunError, "run.json: limits.peak_gflops_float32"):
        load_run(folder)


def test_a_rate_that_no_machine_reaches_is_refused_without_limits_too(refused):
    words = "matmul.csv: row 6: matmul_ikj at n = 128 does 2.", "e+06 operations", "more than any machine"

    with refused(RunError, *words):
        record(("matmul", "all sizes", [cell("matmul_ikj", 128, [1e5, 1e5, 1, 1e5])]))
    with refused(RunError, *words):
        load_run(list_runs()[-1]).samples("matmul")


def test_flops_without_a_peak_to_hold_them_against_are_refused(refused):
    run = record(("matmul", "all sizes", [cell("matmul_ikj", 128, noisy(2 * 128**3 / 50))]))

    with refused(RunError, "matmul_ikj at n = 128 counts flops, and the run has no peak of float32"):
        require_plausible(run)


def test_one_row_does_not_switch_the_limits_off(refused):
    run = record(*limits(100.0), ("matmul", "all sizes", [cell("matmul_ikj", 128, noisy(2 * 128**3 / 150))]))
    for name, change in {
        "limits.csv": lambda lines: lines[:-1],
        "matmul.csv": lambda lines: [*lines[:-1], lines[-1].replace(",float32,1,", ",float32,2,")],
    }.items():
        copied = Path(shutil.copytree(run.path, run.path.with_name(f"{run.id}-{name}")))
        lines = (copied / name).read_text().splitlines(keepends=True)
        kernel_last = sorted(lines[1:], key=lambda line: "matmul_ikj" in line)
        (copied / name).write_text("".join(change([lines[0], *(kernel_last if name == "matmul.csv" else lines[1:])])))

        with refused(RunError, f"{name}: "):
            require_plausible(load_run(sealed(copied)))


def test_the_ends_of_a_limit_lie_on_either_side_of_it(refused):
    run = record(("matmul", "all sizes", [cell("matmul_ikj", 128, noisy(2 * 128**3 / 50))]))
    limit = {"value": 100.0, "low": 101.0, "high": 102.0, "coverage": 0.95}

    with refused(RunError, "run.json: limits.peak_gflops_float32 must rise from low to high"):
        load_run(sealed(run.path, limits={"peak_gflops_float32": limit}))


def test_code_that_is_no_object_is_refused(refused):
    with refused(RunError, "run.json: code must be object, got 'a1'"):
        load_run(sealed(product().path, code="a1"))


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
        ("link", "matmul.csv: must be a regular file in the folder of its run, got a link"),
        ("listed", "must list a file of its folder, got '../outside.csv'"),
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


def before_processes(run, folder):
    """The rows of the first process of a run, as schema 1 had them: without process and placement."""
    folder.mkdir()
    for file in run.path.glob("*.csv"):
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        if "process" in table:
            table = table[table["process"].isin(["0", "1"])]
        table.drop(columns=["process", "placement"], errors="ignore").to_csv(folder / file.name, index=False)
    meta = json.loads((run.path / "run.json").read_text())
    meta.pop("processes")
    (folder / "run.json").write_text(json.dumps(meta | {"schema": 1}))
    names = [line.split("  ", 1)[1] for line in (run.path / "SHA256SUMS").read_text().splitlines()]
    (folder / "SHA256SUMS").write_text("".join(f"{digest((folder / name).read_bytes())}  {name}\n" for name in names))
    return load_run(folder)


def test_a_run_recorded_before_reads_in_every_topic_and_equals_itself(tmp_path, refused):
    new = load_run(REFERENCE)
    run = before_processes(new, tmp_path / "20260101T000000Z-before")

    assert not run.draws_placements
    for topic, blocks in Counter(topic for topic, _ in run.blocks).items():
        table = run.table(topic) if topic in TABLES else run.samples(topic)
        assert table["block"].nunique() == blocks
        if topic not in TABLES:
            assert set(table["process"]) == set(table["placement"]) == {0}
    comparison = compare_runs(run, run)

    assert len(comparison.changes) == len(cases(run)) > 1900
    assert {change.ratio.value for change in comparison.changes if change.ratio} == {1}
    assert all(change.before_ns == change.after_ns for change in comparison.changes)
    assert not comparison.changed
    assert "cases: nothing changed" in comparison.headline
    assert len(str(comparison).splitlines()) < 20
    with refused(NothingComparable, "has one process and one place"):
        compare_runs(run, new)


def test_the_committed_run_equals_itself():
    comparison = compare_runs(load_run(REFERENCE), load_run(REFERENCE))

    assert len(comparison.changes) > 1900
    assert not comparison.changed
    assert "cases: nothing changed" in comparison.headline
    assert comparison.status == 0
