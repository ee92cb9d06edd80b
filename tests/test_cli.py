"""The command line as a user runs it: results on stdout, one line on stderr where something is wrong, exit status."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from runs import isolate, start, write

from perflib import cli
from perflib.errors import WrongResult
from perflib.files import SCALING_CASES


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def perflib(*words):
    """Exit status, stdout and stderr of `python -m perflib ...`."""
    done = subprocess.run([sys.executable, "-m", "perflib", *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def measured(monkeypatch):
    """What is measured of a machine takes half a minute; here it is told."""
    rate = {"value": 5.0, "low": 4.0, "high": 6.0, "coverage": 0.95}
    told = {f"peak_256_gflops_{dtype}": rate for dtype in ("float32", "float64")} | {"copy_gb_per_s": rate}
    one = {"name": "L1d", "reported_bytes": 32768, "capacity_bytes": {**rate, "value": 33000.0}, "latency_ns": 1.4}
    level = {**one, "read_gb_per_s": rate, "grade": "agrees", "reason": "1 % above"}
    found = {
        "levels": [level],
        "line_bytes": 64,
        "tlb_bytes": [294912.0],
        "page_kib": 2048,
        "notes": ["huge pages are refused"],
    }
    seen = []
    for name, content in (("limits", told), ("hierarchy", found)):
        measured = (name, content, True)
        monkeypatch.setattr(f"perflib.hardware.{name}._measure", lambda *_, m=measured: seen.append(m[0]) or m[1:])
    return seen


def test_machine_prints_facts_levels_and_limits(measured, capsys):
    assert cli.run(["machine"]) == 0

    printed = capsys.readouterr()
    assert printed.err == ""
    for word in ("CPU", "packages", "peak_256_gflops_float32", "5.0 [4.0, 6.0] GFLOP/s", "copy_gb_per_s", "GB/s"):
        assert word in printed.out
    for words in (
        "L1d         32 KiB  32.2 KiB",
        "agrees: 1 % above",
        "64 bytes",
        "288 KiB on pages of",
        "huge pages are refused",
    ):
        assert words in printed.out


def test_machine_is_measured_once_and_anew_when_asked(measured, capsys):
    for words in (["machine"], ["machine"], ["machine", "--fresh"]):
        assert cli.run(words) == 0

    assert measured == ["hierarchy", "limits"] * 2


def test_machine_as_json_is_read_by_a_program(measured, capsys):
    assert cli.run(["machine", "--json"]) == 0

    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert printed.err == ""
    assert facts["logical_cpus"] == os.cpu_count()
    assert facts["hierarchy"]["levels"][0]["capacity_bytes"]["value"] == 33000
    for name in ("peak_gflops_float32", "peak_gflops_float64", "copy_gb_per_s"):
        limit = facts["limits"][name]
        assert 0 < limit["low"] <= limit["value"] <= limit["high"]


def test_runs_lists_what_is_recorded_and_what_is_damaged(data, capsys):
    complete, unfinished, damaged = start("full"), start("quick"), start("sweep")
    for run in (complete, unfinished):
        write(run, "tiles", "n=64")
    complete.finish()
    (damaged.path / "run.json").write_text('{"schema": 7}')

    assert cli.run(["runs"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{complete.path.name}  runs  complete  3 samples  Test(R) Chip 9000",
        f"{unfinished.path.name}  runs  unfinished  3 samples  Test(R) Chip 9000",
        f"{damaged.path.name}  runs  damaged: {damaged.path / 'run.json'}: schema must be 1 or 2, got 7",
    ]


def test_runs_of_nothing_say_how_to_record_one():
    assert perflib("runs") == (0, "nothing is recorded; record a run: perflib record --quick\n", "")


def test_no_command_is_help(capsys):
    assert cli.run([]) == 0

    printed = capsys.readouterr().out
    assert printed.startswith("usage: perflib")
    assert "    record " in printed


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], (False, False, False, 1, 0.0)),
        (["--quick"], (True, False, False, 1, 0.0)),
        (["--peers"], (False, True, False, 1, 0.0)),
        (["--wait"], (False, False, True, 1, 0.0)),
        (["--repeat", "3", "--every", "30"], (False, False, False, 3, 30.0)),
    ],
)
def test_record_is_told_what_the_words_say(monkeypatch, capsys, words, asked):
    monkeypatch.setattr("perflib.studies.recording_plan.record", lambda **asked: SimpleNamespace(path=(*asked.values(),)))

    assert cli.run(["record", *words]) == 0

    assert capsys.readouterr().out == f"{asked}\n"


def test_every_alone_is_refused_before_anything_is_recorded(capsys):
    assert cli.run(["record", "--every", "5"]) == 1
    assert capsys.readouterr().err == "perflib: --every must stand with --repeat K, K of at least 2\n"


@pytest.mark.parametrize(
    "words", [["--repeat", "0"], ["--repeat", "2", "--every", "-1"], ["--repeat", "2", "--every", "nan"]]
)
def test_sessions_that_cannot_be_are_one_line(words, capsys):
    assert cli.run(["record", *words]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("perflib: --repeat must be at least 1 and --every at least 0, got ")
    assert printed.err.count("\n") == 1


def test_an_unknown_run_is_one_line_and_status_1():
    assert perflib("report", "nowhere") == (1, "", "perflib: no run 'nowhere'; recorded: none\n")


def test_a_report_of_nothing_says_what_to_record():
    assert perflib("report") == (1, "", "perflib: no recorded run yet; record one: perflib record --quick\n")


def test_a_report_is_of_the_run_that_perflib_run_names(monkeypatch, capsys):
    monkeypatch.setenv("PERFLIB_RUN", "nowhere")

    assert cli.run(["report"]) == 1
    assert capsys.readouterr().err == "perflib: PERFLIB_RUN: no run 'nowhere'; recorded: none\n"


@pytest.mark.parametrize(("words", "built"), [((), "build"), (("--single-file",), "build_single")])
def test_a_report_is_a_folder_or_one_file(words, built, monkeypatch, capsys):
    run = start()
    write(run, "tiles", "n=64")
    run.finish()
    for name in ("build", "build_single"):
        monkeypatch.setattr(f"perflib.report.build.{name}", lambda run, name=name: f"{name} {run.id}")

    assert cli.run(["report", *words]) == 0
    assert capsys.readouterr().out == f"{built} {run.path.name}\n"


@pytest.mark.parametrize("words", [("fly",), ("runs", "--json"), ("record", "quick"), ("machine", "--yaml")])
def test_wrong_usage_is_status_2(words, capsys):
    with pytest.raises(SystemExit) as left:
        cli.run(words)

    assert left.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "usage: perflib" in printed.err


def test_every_command_says_what_it_does():
    status, out, _ = perflib("--help")

    assert status == 0
    for command in ("machine", "record", "report", "execute", "runs"):
        assert f"    {command} " in out


@pytest.mark.parametrize("problem", [WrongResult("k: wrong"), OSError("k: wrong")])
def test_a_problem_of_any_command_is_one_line(problem, monkeypatch, capsys):
    def fail(args):
        raise problem

    monkeypatch.setattr(cli, "_runs", fail)

    assert cli.run(["runs"]) == 1
    assert capsys.readouterr().err == "perflib: k: wrong\n"


def test_ctrl_c_in_a_command_says_how_to_repeat_it(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_report", interrupted)

    assert cli.run(["report", "a run"]) == 130
    assert capsys.readouterr().err == "interrupted; continue with: perflib report 'a run'\n"


def test_a_data_folder_that_cannot_be_written_is_one_line(data):
    (data / "runs").write_text("a file where the folder should be")

    status, out, errors = perflib("record", "--quick")

    assert (status, out) == (1, "")
    assert errors.startswith(f"perflib: cannot write {data / 'runs'}")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("moment", range(5))
def test_ctrl_c_while_perflib_loads_or_compiles_is_one_line(moment):
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "perflib", "record", "--quick"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.endswith("perflib.system.startup\n"):  # before it there is only Python itself
            break
    time.sleep(random.Random(moment).uniform(0, 0.4) * moment)
    process.send_signal(signal.SIGINT)

    _, errors = process.communicate()

    said = [line for line in errors.splitlines() if not line.startswith(("import time:", "one core", "recording into"))]
    assert (process.returncode, said) == (130, ["interrupted; continue with: perflib record --quick"])


def test_importing_perflib_leaves_ctrl_c_alone():
    script = "import signal, perflib; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"

    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(os.name == "nt", reason="there is no sh")
def test_tests_of_ctrl_c_are_green_in_the_background_where_a_shell_ignores_it():
    test = f"{__file__}::{test_importing_perflib_leaves_ctrl_c_alone.__name__}"
    pytest_words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]

    done = subprocess.run(["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *pytest_words], capture_output=True, text=True)

    assert "1 passed" in done.stdout


def growth_file(tmp_path, **laws):
    """A CSV with a curve for each law, and its name."""
    sizes = (64, 80, 100, 128, 160, 200, 256, 320, 400, 512, 640, 800)
    lines = [f"{name},{n},{law(n)}" for name, law in laws.items() for n in sizes]
    (tmp_path / "times.csv").write_text("\n".join(["kernel,size,time_us", *lines]))
    return str(tmp_path / "times.csv")


def test_growth_prints_a_sentence_for_each_curve(tmp_path, capsys):
    file = growth_file(tmp_path, line=lambda n: n, square=lambda n: n * n)

    assert cli.run(["growth", file]) == 0

    one, two = capsys.readouterr().out.splitlines()
    assert one.startswith("line: ")
    assert two.startswith("square: ")
    assert "2.00" in two


@pytest.mark.parametrize(
    ("words", "status", "start"),
    [
        (["--expect", "2"], 0, "k: consistent: "),
        (["--expect", "n^2"], 0, "k: consistent: "),
        (["--expect", "n"], 1, "k: inconsistent: "),
        (["--expect", "n log n"], 1, "k: inconsistent: "),
        (["--at-most", "n^3"], 0, "k: consistent: "),
        (["--at-most", "n"], 1, "k: inconsistent: "),
    ],
)
def test_growth_is_held_against_a_class(tmp_path, capsys, words, status, start):
    assert cli.run(["growth", growth_file(tmp_path, k=lambda n: 3 * n * n), *words]) == status

    assert capsys.readouterr().out.startswith(start)


def test_growth_says_a_sentence_on_every_published_case_or_refuses_it(capsys):
    cases = {case["id"]: case for case in json.loads((SCALING_CASES / "cases.json").read_text())}

    assert cli.run(["growth", str(SCALING_CASES / "cases.json")]) == 1

    printed = capsys.readouterr()
    said = dict(line.split(": ", 1) for line in printed.out.splitlines())
    refused = dict(line.removeprefix("perflib: ").split(": ", 1) for line in printed.err.splitlines())
    assert {**said, **refused}.keys() == cases.keys()
    assert {name for name, case in cases.items() if case.get("refuse")} <= refused.keys()
    assert all(
        re.match(r"(grows as|may grow as|stays the same|fits no class|follows no growth)\b", words)
        for words in said.values()
    )


def test_growth_that_is_undecided_says_what_would_decide(tmp_path, capsys):
    (tmp_path / "few.csv").write_text("size,time\n100,1\n150,1.5\n200,2\n")

    assert cli.run(["growth", str(tmp_path / "few.csv"), "--expect", "n log n"]) == 0

    verdict, advice = capsys.readouterr().out.splitlines()
    assert verdict.startswith("size: undecided: ")
    assert advice.startswith("    to decide: ")


def test_growth_refuses_a_curve_in_one_line_and_shows_the_others(tmp_path, capsys):
    file = growth_file(tmp_path, bad=lambda n: -1 if n == 100 else n, good=lambda n: n)

    assert cli.run(["growth", file]) == 1

    printed = capsys.readouterr()
    assert printed.err.startswith("perflib: bad: times must be above 0")
    assert printed.err.count("\n") == 1
    assert printed.out.startswith("good: ")


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--expect", "n!"], "'n!' is no growth class"), (["--unit", "hours"], "unit is 'hours'; give one of ns, us, ms, s")],
)
def test_growth_refuses_a_wrong_word_once(tmp_path, capsys, words, told):
    assert cli.run(["growth", growth_file(tmp_path, a=lambda n: n, b=lambda n: n), *words]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"perflib: {told}")
    assert printed.err.count("\n") == 1


def test_growth_of_a_file_that_is_not_there_is_one_line(tmp_path, capsys):
    assert cli.run(["growth", str(tmp_path / "none.csv")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_growth_writes_a_page_with_every_figure(tmp_path, capsys):
    page = tmp_path / "page.html"

    file = growth_file(tmp_path, line=lambda n: n, square=lambda n: n * n)
    assert cli.run(["growth", file, "--expect", "n", "--html", str(page)]) == 1

    text = page.read_text()
    assert text.count('src="data:image/png;base64,') >= 2
    assert "<h2>line</h2>" in text
    assert "consistent: " in text
