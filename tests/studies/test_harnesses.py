"""Other harnesses: what they print is understood, a slow first call misleads them, and what they report is kept whole."""

import json
import sys
from dataclasses import replace

import pytest
from runs import isolate, start, tell, told

from perflib.errors import RunError
from perflib.runs.store import load_run
from perflib.runs.tables import TABLES
from perflib.studies import harnesses as program
from perflib.studies.harnesses import HARNESSES, Harness, Question, Refusal, Reported, ask, plan, question, record_harnesses

SLOW_ONCE = """
import sys, time
def f(x):
    if not hasattr(sys, "slept"):
        sys.slept = time.sleep(0.3)
"""
PYPERF = {
    "version": "1.0",
    "metadata": {"name": "timeit", "unit": "second"},
    "benchmarks": [
        {
            "runs": [
                {"metadata": {"calibrate_loops": 1024}, "warmups": [[1, 4e-6], [1024, 3e-7]]},
                {"metadata": {"loops": 1024}, "warmups": [[1024, 3e-7]], "values": [2.9e-7, 3.1e-7]},
                {"metadata": {"loops": 1024}, "warmups": [[1024, 3e-7]], "values": [2.8e-7, 3.2e-7]},
            ]
        }
    ],
}
PYTEST = {"benchmarks": [{"stats": {"min": 5.31e-7, "mean": 1.3824e-6, "median": 6.11e-7, "rounds": 5, "iterations": 1}}]}


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def saying(code, name="parrot", package=None):
    """A harness that runs this code and is understood as timeit is."""
    return Harness(name, package, lambda asked, folder: ["-c", code], HARNESSES["timeit"].read)


@pytest.fixture
def asked(monkeypatch):
    """Plan these harnesses, and no others, both ways."""

    def choose(*harnesses):
        planned = [(harness, first_call, 1) for harness in harnesses for first_call in ("warmed", "compiles")]
        monkeypatch.setattr(program, "plan", lambda quick: planned)

    return choose


BEST = "1000 loops, best of 5: 292 nsec per loop"
ANSWER = f"print({BEST!r})"


@pytest.mark.parametrize(
    ("name", "text", "reported"),
    [
        ("timeit", BEST, Reported({"best": 292_000}, 1000, 5)),
        ("timeit", "1 loop, best of 5: 10.2 usec per loop\n:0: UserWarning", Reported({"best": 10_200_000}, 1, 5)),
        ("timeit", "2 loops, best of 3: 1e+03 msec per loop", Reported({"best": 10**12}, 2, 3)),
        ("timeit", "1 loop, best of 5: 1.5 sec per loop", Reported({"best": 1_500 * 10**9}, 1, 5)),
        (
            "%timeit",
            "294 ns ± 6.3 ns per loop (mean ± std. dev. of 7 runs, 10,000 loops each)\n[2.94e-07, 6.3e-09, 10000, 7]\n",
            Reported({"mean": 294_000, "std": 6_300}, 10_000, 7),
        ),
        ("pytest-benchmark", json.dumps(PYTEST), Reported({"mean": 1_382_400, "median": 611_000}, 1, 5)),
        ("pyperf", json.dumps(PYPERF), Reported({"mean": 300_000, "std": 18_257}, 1024, 4)),
        (
            "perflib",
            '["call", 239.0, 234.1, 246.9, 4592, 90]\n',
            Reported({"median": 239_000, "low": 234_100, "high": 246_900}, 4592, 90, "call"),
        ),
    ],
)
def test_what_a_harness_says_is_read_in_picoseconds(name, text, reported):
    assert HARNESSES[name].read(text) == [reported]


@pytest.mark.parametrize("name", ["timeit", "%timeit", "pytest-benchmark"])
def test_a_slow_first_call_leaves_one_run_per_sample(name):
    """Which is what Numba's compilation does to them: each sizes its loop on that call."""
    (reported,) = ask(HARNESSES[name], Question(SLOW_ONCE, "f", "1")).reported

    assert reported.loops == 1
    assert reported.samples >= 5
    assert all(value >= 0 for value in reported.statistics_ps.values())


def test_pyperf_is_asked_and_understood():
    """With one process of the twenty that it takes by default."""
    usual = HARNESSES["pyperf"]
    few = replace(usual, words=lambda *where: [*usual.words(*where), "-p1", "-n2", "-w0", "-l1"])

    (reported,) = ask(few, Question("x = [3, 1, 2]\n", "sorted", "x")).reported

    assert (reported.loops, reported.samples) == (1, 2)
    assert reported.statistics_ps["mean"] > 0


def test_perflib_answers_in_both_scopes_and_is_not_misled_by_the_first_call():
    compiled = "from numba import njit\n@njit\ndef f(x):\n    return x + 1\n"

    kernel, call = ask(HARNESSES["perflib"], Question(compiled, "f", "1")).reported

    assert (kernel.scope, call.scope) == ("kernel", "call")
    for reported in (kernel, call):
        assert reported.loops > 1
        figures = reported.statistics_ps
        assert figures["low"] <= figures["median"] <= figures["high"]


def test_numba_finds_its_compiled_code_only_if_it_may(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "usual")
    code = "import os; print('1 loop, best of 5:', 1 + ('usual' == os.environ['NUMBA_CACHE_DIR']), 'sec per loop')"

    fresh, usual = (ask(saying(code), Question("", "f", "1"), fresh=fresh).reported for fresh in (True, False))

    assert (fresh[0].statistics_ps["best"], usual[0].statistics_ps["best"]) == (10**12, 2 * 10**12)


def test_a_harness_keeps_its_defaults_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")

    (reported,) = ask(HARNESSES["pytest-benchmark"], Question(SLOW_ONCE, "f", "1")).reported

    assert reported.samples >= 5


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit('no clock here')", "parrot failed: no clock here"),
        ("raise SystemExit(3)", "parrot failed: no word"),
        ("print('something else')", "parrot said what cannot be read: something else"),
        ("print()", "parrot said what cannot be read: no word"),
        ("import time; time.sleep(60)", "parrot did not end within 0.5 s"),
    ],
)
def test_a_harness_that_fails_is_refused_in_one_line(monkeypatch, refused, code, words):
    monkeypatch.setattr(program, "LIMIT_S", 60 if "sleep" not in code else 0.5)

    with refused(Refusal, words):
        ask(saying(code), Question("", "f", "1"))


def test_a_full_run_asks_all_and_a_quick_one_some_of_them_and_not_pyperf():
    full, quick = ([(harness.name, first_call) for harness, first_call, _ in plan(quick)] for quick in (False, True))

    assert {name for name, _ in full} == set(HARNESSES)
    assert len(set(full)) == len(full)
    assert set(quick) < set(full)
    assert {("timeit", "warmed"), ("timeit", "compiles"), ("perflib", "compiles")} <= set(quick)
    assert "pyperf" not in {name for name, _ in quick}


def test_the_kernel_is_called_in_the_setup_only_where_it_is_warmed():
    warmed, compiles = (question(first_call) for first_call in ("warmed", "compiles"))

    assert warmed.setup == f"{compiles.setup}{compiles.statement}\n"
    assert warmed.statement == compiles.statement == "kernel(x, weight, 1e-5, out)"


def test_every_harness_is_given_buffers_on_cache_lines():
    given = {}
    exec(question("compiles").setup, given)

    for name in ("x", "weight", "out"):
        assert given[name].ctypes.data % 64 == 0
        assert given[name].size == 512


def test_what_is_recorded_reads_back(asked):
    asked(saying(ANSWER))
    run = start()

    record_harnesses(run, quick=True, progress=False)

    table = run.finish().table("harness")
    assert list(table.columns) == list(TABLES["harness"])
    assert table["block"].tolist() == ["parrot, warmed", "parrot, compiles"]
    assert table["first_call"].tolist() == ["warmed", "compiles"]
    assert table["version"].tolist() == 2 * [sys.version.split()[0]]
    assert table[["reported_ps", "loops", "samples"]].to_numpy().tolist() == 2 * [[292_000, 1000, 5]]
    assert table["wall_ms"].dtype == "int64"


def test_a_harness_that_is_not_installed_is_absent(asked, capsys):
    asked(saying("raise SystemExit('asked')", "another", "no-such-package-of-perflib"), saying(ANSWER))
    run = start()

    record_harnesses(run, quick=True)

    assert set(run.finish().table("harness")["harness"]) == {"parrot"}
    assert capsys.readouterr() == ("", "")


def test_a_harness_that_fails_is_absent_and_says_why(asked, capsys):
    asked(saying("raise SystemExit('no clock here')", "broken"), saying(ANSWER))
    run = start()

    record_harnesses(run, quick=True)

    assert set(run.finish().table("harness")["harness"]) == {"parrot"}
    assert capsys.readouterr().err.splitlines() == 2 * ["broken failed: no clock here; recorded without it"]


def test_an_interrupted_recording_asks_only_what_it_does_not_have(asked):
    asked(saying(ANSWER))
    tell(start(), told("parrot, warmed", reported_ps=1))
    run = start()

    record_harnesses(run, quick=True, progress=False)

    assert run.finish().table("harness")["reported_ps"].tolist() == [1, 292_000]


def test_the_table_is_cut_and_continued_like_samples():
    run = start()
    tell(run, told())
    file = run.path / "harness.csv"
    whole = file.read_bytes()
    following = whole + whole.splitlines(keepends=True)[-1].replace(b"warmed", b"compiles")

    for cut in range(len(whole), len(following)):
        file.write_bytes(following[:cut])
        again = start()
        assert file.read_bytes() == whole, f"cut at byte {cut}"
    tell(again, told("timeit, compiles"))
    assert again.finish().table("harness")["block"].tolist() == ["timeit, warmed", "timeit, compiles"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",292000,", ",fast,", "row 2: reported_ps must be an integer of at least 0, got 'fast'"),
        (",1000,5,", ",0,5,", "row 2: loops must be an integer of at least 1, got '0'"),
        (",5,2974\n", ",5,0\n", "row 2: wall_ms must be an integer of at least 1, got '0'"),
        (",5,2974\n", ",5\n", "row 2: must have 10 fields, got 9"),
        (",5,2974\n", ",5,2974", "row 2: torn"),
        ("reported_ps", "reported_ns", "row 1: column 'reported_ps' missing"),
        ('"timeit, warmed",', "timeit,", "block 'timeit, warmed' must have 1 rows, got 0"),
    ],
)
def test_a_damaged_table_is_refused_with_file_row_and_reason(refused, old, new, words):
    run = start()
    tell(run, told())
    file = run.path / "harness.csv"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))

    with refused(RunError, str(file), words):
        load_run(run.path).table("harness")


def test_a_changed_table_of_a_finished_run_is_refused(refused):
    run = start()
    tell(run, told())
    path = run.finish().path
    file = path / "harness.csv"
    file.write_text(file.read_text().replace("292000", "192000"))

    with refused(RunError, "harness.csv: checksum differs"):
        load_run(path)


def test_a_table_is_not_read_as_samples_nor_samples_as_a_table(refused):
    run = start()
    tell(run, told())
    run = run.finish()
    assert len(run.table("harness")) == 1

    with refused(RunError, "harness.csv: row 1: column 'kernel' missing"):
        run.samples("harness")
    with refused(ValueError, "topic must be one of harness; got 'tiles'"):
        run.table("tiles")


def test_a_run_without_the_table_says_what_it_has(refused):
    with refused(RunError, "has no 'harness'; recorded: nothing"):
        start().finish().table("harness")
