"""Two recordings of one code, counted against each other: figures whose answer is known."""

import json

import numpy as np
import pytest
from runs import isolate
from synthetic import cell, record

from perflib.cli import run as command
from perflib.errors import NothingComparable
from perflib.runs.store import load_run
from perflib.validation import between as between_module
from perflib.validation.between import TARGETS, between, case_intervals, judge_pair

KEYS = [
    "recordings",
    "cases",
    "median_outside_interval",
    "median_moved_5_percent",
    "half_width_median",
    "half_width_p90",
    "interval_score_ratio",
    "false_claims",
    "unresolved",
    "equivalent",
    "not_repeatable",
]


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def recorded(seed, factor=1.0, processes=4, cases=60, between=0.01, topics=("rmsnorm", "tiles")):
    """A recording with effects of every process and round; times of all cases are `factor` times 1000 ns in the median."""
    rng, blocks = np.random.default_rng(seed), []
    for topic in topics:
        logs = rng.normal(0, between, (cases, processes)).repeat(5, axis=1) + rng.normal(0, 0.005, (cases, 5 * processes))
        columns = {"tile": 16} if topic == "tiles" else {"rows": 1}
        blocks.append((topic, "b", [cell("k", 64 + i, 1000 * factor * np.exp(logs[i]), **columns) for i in range(cases)]))
    return record(*blocks, processes=processes)


def test_a_second_recording_of_the_same_code_is_as_far_away_as_the_interval_says():
    card = judge_pair(recorded(0), recorded(1))

    assert card.figures["cases"] == 120
    assert 0.08 <= card.figures["median_outside_interval"] <= 0.20  # Student's of each, the other's error on top: 0.15
    assert card.figures["median_moved_5_percent"] == 0
    assert 0.007 < card.figures["half_width_median"] < 0.02
    assert card.figures["false_claims"] == 0
    assert card.figures["interval_score_ratio"] < 0.1
    assert card.figures["equivalent"] + card.figures["unresolved"] == 1


def test_every_key_stands_there_for_all_cases_and_for_each_topic():
    card = judge_pair(recorded(0), recorded(1))
    facts = card.to_dict()

    assert set(KEYS) <= facts.keys()
    assert set(facts["topics"]) == {"rmsnorm", "tiles"}
    assert all(set(KEYS[1:]) <= figures.keys() for figures in facts["topics"].values())
    assert facts["cases"] == sum(figures["cases"] for figures in facts["topics"].values())


def test_a_recording_that_moved_is_outside_moved_and_claimed():
    card = judge_pair(recorded(0), recorded(1, factor=1.2))

    assert card.figures["median_outside_interval"] == 1
    assert card.figures["median_moved_5_percent"] == 1
    assert card.figures["false_claims"] > 0.9
    assert card.figures["interval_score_ratio"] > 1
    assert {TARGETS["false_claims"][0], TARGETS["median_moved_5_percent"][0]} <= set(card.missed)


def test_both_directions_count():
    narrow, wide = recorded(0, between=0.001, factor=1.02), recorded(1, between=0.02)
    share = judge_pair(narrow, wide).figures["median_outside_interval"]

    assert share == judge_pair(wide, narrow).figures["median_outside_interval"]
    assert 0.4 < share < 0.8  # outside of nearly all narrow ones, inside of most wide ones


def test_unresolved_cases_are_promised_of_full_recordings_only():
    card = judge_pair(recorded(0), recorded(1))

    assert not card.is_full
    assert TARGETS["unresolved"][0] not in [score.what for score in card.scores()]


def test_the_intervals_are_those_that_are_shown(monkeypatch):
    from perflib.runs.queries import summary

    run = recorded(0)
    shown = summary(run, "tiles").set_index("n")
    for (topic, case), interval in case_intervals(run).items():
        if topic == "tiles":
            row = shown.loc[dict(case)["n"]]
            assert (interval.low, interval.value, interval.high) == pytest.approx(
                (row["low_ns"], row["ns"], row["high_ns"])
            )


def test_the_same_recording_twice_is_refused(refused):
    run = recorded(0)
    with refused(NothingComparable, "two recordings must be compared", run.id):
        judge_pair(run, run)


def test_two_recordings_are_made_where_none_are_given(monkeypatch):
    seeds = iter((0, 1))
    monkeypatch.setattr(between_module, "record", lambda quick, progress: recorded(next(seeds)))

    card = between(quick=True, progress=False)

    assert len(set(card.figures["recordings"])) == 2
    assert 0.93 <= card.figures["simulated_coverage"] <= 0.98


def test_the_command_counts_two_runs_and_writes_the_figures(tmp_path, capsys):
    first, second = recorded(0), recorded(1)
    file = tmp_path / "between.json"

    status = command(["selfcheck", "--between", "--runs", first.id, second.id, "--json", str(file)])

    facts = json.loads(file.read_text())
    assert facts["recordings"] == [first.id, second.id]
    card = judge_pair(load_run(first.id), load_run(second.id))
    assert status == (1 if card.missed else 0)
    assert "rmsnorm" in capsys.readouterr().out


def test_runs_without_between_are_refused(capsys):
    assert command(["selfcheck", "--runs", "a", "b"]) == 1
    assert "--runs must stand with --between" in capsys.readouterr().err
