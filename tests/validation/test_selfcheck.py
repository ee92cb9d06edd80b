"""The experiments of the self-check find what they look for: each gets an answer that is right and one that is wrong."""

import os
import signal
import subprocess
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from perflib import Timer, cli
from perflib.kernels import rms_norm_fast
from perflib.studies.harnesses import Refusal
from perflib.timing.case import Case
from perflib.validation import selfcheck
from perflib.validation.selfcheck import TARGETS, Selfcheck

SCALING = {
    "scaling_right": 0.95,
    "scaling_undecided": 0.04,
    "scaling_false_accept": 0.01,
    "scaling_false_reject": 0.01,
    "scaling_false_findings": 0.02,
    "scaling_simple": 0.98,
    "scaling_told_apart": 0.95,
    "scaling_coverage": 0.93,
    "scaling_width": 2.0,
    "scaling_steps_found": 0.9,
    "scaling_cases": 1.0,
    "scaling_ladders_decided": 0.85,
}
ASKED = {  # what the JSON file must hold, whatever else it holds
    "aa_false_positive_rate",
    "aa_false_positive_rate_busy",
    "aa_comparisons",
    "power_5_percent",
    "interval_coverage",
    *SCALING,
    "kernel_scope_error",
    "timer_overhead_ns",
    "timer_overhead_ratio",
    "seconds_to_1_percent",
}
GOOD = {
    "aa_false_positive_rate": 0.03,
    "aa_false_positive_rate_busy": 0.05,
    "power_5_percent": 0.95,
    "interval_coverage": 0.95,
    **SCALING,
    "kernel_scope_error": 0.03,
    "timer_overhead_ns": 999.0,
    "timer_overhead_ratio": 5.0,
    "pyperf_over_perflib": 10.0,
}
FIGURES = {**GOOD, "aa_comparisons": 200, "power_trials": 40, "seconds_to_1_percent": 0.4, "kernel_ns": 57.0}


@pytest.fixture
def answers(monkeypatch):
    """Every experiment replaced by one with a known answer; what was asked, in order."""
    asked = []

    @contextmanager
    def busy():
        asked.append("busy")
        yield
        asked.append("idle")

    def trial(kind, hits):
        return lambda number: asked.append((kind, number)) or number in hits

    monkeypatch.setattr(selfcheck, "measuring_lock", lambda: contextmanager(lambda: iter([None]))())
    monkeypatch.setattr(selfcheck, "_busy_cores", busy)
    monkeypatch.setattr(selfcheck, "_false_positive", trial("same", {0, 3}))
    monkeypatch.setattr(selfcheck, "_find_slow_down", trial("planted", {0, 1, 2, 3, 4, 5}))
    monkeypatch.setattr(selfcheck, "_kernel_scope", lambda: {"kernel_scope_error": 0.01, "kernel_ns": 57.0})
    monkeypatch.setattr(selfcheck, "_timer", lambda: {"timer_overhead_ns": 300.0, "timer_overhead_ratio": 4.0})
    monkeypatch.setattr(selfcheck, "_against_pyperf", lambda quick: {"seconds_to_1_percent": 0.4})
    covered = SimpleNamespace(overall=0.95)
    monkeypatch.setattr(selfcheck, "interval_coverage", lambda trials: asked.append(trials) or covered)
    monkeypatch.setattr(selfcheck, "scaling_figures", lambda curves, step: asked.append(curves) or SCALING)
    return asked


@pytest.mark.parametrize(
    ("quick", "pairs", "planted", "simulated"), [(True, 24, 8, [300, 40]), (False, 200, 40, [2000, 2000])]
)
def test_every_figure_that_was_asked_for_is_there_from_as_many_trials(answers, quick, pairs, planted, simulated):
    found = selfcheck.selfcheck(quick, progress=False)

    same = [("same", i) for i in range(pairs)]
    assert answers == [*same, *(("planted", i) for i in range(planted)), "busy", *same, "idle", *simulated]
    assert found.figures.keys() >= ASKED
    assert found.figures["aa_comparisons"] == pairs
    for key in ("aa_false_positive_rate", "aa_false_positive_rate_busy"):
        assert found.figures[key] == 2 / pairs
    assert found.figures["power_5_percent"] == 6 / planted
    assert ("quick: too few trials" in str(found)) == quick


def test_figures_on_their_bars_are_met():
    found = Selfcheck(FIGURES, quick=False)

    assert found.missed == []
    assert GOOD.keys() == TARGETS.keys()
    assert [row[3] for row in found.table().rows] == ["met"] * len(TARGETS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("aa_false_positive_rate", 0.035),
        ("aa_false_positive_rate_busy", 0.055),
        ("power_5_percent", 0.925),
        ("interval_coverage", 0.925),
        ("interval_coverage", 0.985),
        ("scaling_right", 0.945),
        ("scaling_undecided", 0.041),
        ("scaling_false_accept", 0.011),
        ("scaling_false_reject", 0.011),
        ("scaling_false_findings", 0.021),
        ("scaling_simple", 0.975),
        ("scaling_told_apart", 0.945),
        ("scaling_coverage", 0.925),
        ("scaling_width", 2.01),
        ("scaling_steps_found", 0.89),
        ("scaling_cases", 0.99),
        ("scaling_ladders_decided", 0.84),
        ("kernel_scope_error", 0.031),
        ("timer_overhead_ns", 1000.0),
        ("timer_overhead_ratio", 5.1),
        ("pyperf_over_perflib", 9.9),
        ("kernel_scope_error", float("nan")),
    ],
)
def test_a_figure_beyond_its_bar_is_missed(key, value):
    found = Selfcheck({**FIGURES, key: value}, quick=False)

    assert found.missed == [TARGETS[key][0]]
    assert [row[3] for row in found.table().rows].count("missed") == 1


def test_where_there_is_no_pyperf_it_is_said():
    without = {key: value for key, value in FIGURES.items() if key != "pyperf_over_perflib"}

    assert "not compared with pyperf" in str(Selfcheck(without, quick=False))
    assert "not compared with pyperf" not in str(Selfcheck(FIGURES, quick=False))


@pytest.mark.parametrize(
    ("verdict", "different", "found"),
    [("faster", True, False), ("slower", True, True), ("equivalent", False, False), ("unresolved", False, False)],
)
def test_trials_are_comparisons_with_the_defaults_and_no_seed(monkeypatch, verdict, different, found):
    asked = []

    def compare(functions, *args):
        asked.append(list(functions.values()))
        return SimpleNamespace(verdicts=dict.fromkeys(list(functions)[1:], verdict))

    monkeypatch.setattr(selfcheck, "compare", compare)

    assert [selfcheck._false_positive(i) for i in (0, 4)] == [different] * 2
    assert [selfcheck._find_slow_down(i) for i in (0, 4)] == [found] * 2
    assert [len(set(map(id, functions))) for functions in asked] == [1, 1, 2, 2]


def test_what_is_planted_is_the_same_five_percent_more_often(monkeypatch):
    _, arrays = selfcheck._kinds()[0]
    done = []
    monkeypatch.setattr(selfcheck, "_kinds", lambda: [(lambda *args: done.append(args), arrays)] * 3)

    def compare(functions, *args):
        for function in functions.values():
            function(*args)
        return SimpleNamespace(verdicts={"second": "slower"})

    monkeypatch.setattr(selfcheck, "compare", compare)

    assert selfcheck._find_slow_down(0)
    (*given, first), (*again, second) = done
    assert all(x is y is z for x, y, z in zip(given, again, arrays, strict=True))
    assert second / first == 1.05


@pytest.mark.parametrize(("number", "expected"), [(1, rms_norm_fast), (2, lambda x, weight: x)], ids=["norm", "copy"])
def test_the_work_is_done_on_all_rows(number, expected):
    work, (x, weight, out) = selfcheck._kinds()[number]
    out[...] = np.nan

    work(x, weight, out, 1)

    assert np.allclose(out, expected(x, weight))


def test_neighbours_compute_on_every_core_and_are_gone_afterwards(monkeypatch):
    started = []

    def start(*args, start=subprocess.Popen, **settings):
        started.append(start(*args, **settings))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt), selfcheck._busy_cores():
        assert [process.poll() for process in started] == [None] * os.cpu_count()
        raise KeyboardInterrupt

    assert [process.returncode for process in started] == [-signal.SIGKILL] * os.cpu_count()


@pytest.mark.parametrize(("floor_ns", "error"), [(0, 0.0), (10, 10 / 57)])
def test_a_floor_that_takes_too_much_shows_against_the_slope(hand_clock, monkeypatch, floor_ns, error):
    """A kernel of 57 ns, 1000 ns more for each batch; a floor that is as long as 10 ns of each run."""

    def batches(run_ns):
        def run(reps):
            hand_clock.now_ns += 1000 + run_ns * reps

        return run

    monkeypatch.setattr(selfcheck, "Timer", partial(Timer, hand_clock))
    monkeypatch.setattr(selfcheck, "calibrate", lambda run: (17_000, 1_000_000))
    monkeypatch.setattr(selfcheck, "case", lambda *args: Case("kernel", "kernel", batches(57)))
    monkeypatch.setattr(selfcheck, "FLOORS", {"kernel": Case("floor", "kernel", batches(floor_ns))})

    found = selfcheck._kernel_scope()

    assert found["kernel_scope_error"] == pytest.approx(error, abs=1e-3)
    assert found["kernel_ns"] == pytest.approx(57 - floor_ns, rel=1e-3)


def test_a_timer_costs_more_than_two_readings():
    found = selfcheck._timer()

    assert found["timer_overhead_ratio"] > 1
    assert found["timer_overhead_ns"] > 0


def test_pyperf_is_asked_when_there_is_time_and_pyperf(monkeypatch):
    pyperf = SimpleNamespace(version=lambda: "2.10.0")
    monkeypatch.setattr(selfcheck, "measure", lambda *args, **settings: SimpleNamespace(seconds=0.5))
    monkeypatch.setattr(selfcheck, "HARNESSES", {"pyperf": pyperf})
    monkeypatch.setattr(selfcheck, "ask", lambda harness, question: SimpleNamespace(wall_ms=28_000))
    ours = {"seconds_to_1_percent": 0.5}

    assert selfcheck._against_pyperf(quick=True) == ours
    assert selfcheck._against_pyperf(quick=False) == ours | {"pyperf_seconds": 28.0, "pyperf_over_perflib": 56.0}

    def refuse(harness, question):
        raise Refusal("pyperf failed")

    monkeypatch.setattr(selfcheck, "ask", refuse)
    assert selfcheck._against_pyperf(quick=False) == ours
    pyperf.version = lambda: None
    assert selfcheck._against_pyperf(quick=False) == ours


@pytest.mark.parametrize(("rate", "status"), [(0.0, 0), (0.1, 1)])
def test_the_command_prints_writes_and_ends_with_what_was_found(monkeypatch, tmp_path, capsys, rate, status):
    found = Selfcheck({**FIGURES, "aa_false_positive_rate": rate}, quick=True)
    monkeypatch.setattr(selfcheck, "selfcheck", lambda quick: found if quick else None)

    assert cli.run(["selfcheck", "--quick", "--json", str(tmp_path / "found.json")]) == status

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"{found}\n", "")
    assert '"aa_comparisons": 200' in (tmp_path / "found.json").read_text()


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(selfcheck, "selfcheck", lambda quick: pytest.fail("measured"))

    assert cli.run(["selfcheck", "--json", str(tmp_path / "nowhere" / "found.json")]) == 1

    assert capsys.readouterr().err.startswith("perflib: [Errno 2] No such file or directory:")
