"""Steps of a series are found as promised: few where there is none, nearly all that are large enough."""

import math

import numpy as np
import pytest

from perflib.errors import SampleError
from perflib.studies import steps
from perflib.studies.steps import LEAST, SIDE, scan

RUNS = 30


def series(rng, count=RUNS, spread=0.02, levels=()):
    """Logarithms of medians; levels: (place, factor) from which on the time is that many times the first one's."""
    logs = spread * rng.standard_normal(count)
    for place, factor in levels:
        logs[place:] += math.log(factor)
    return logs


def scans(number, seed, **settings):
    rng = np.random.default_rng(seed)
    return [scan(series(rng, **settings), np.zeros(settings.get("count", RUNS))) for _ in range(number)]


@pytest.mark.parametrize("spread", [0.001, 0.02, 0.5])
def test_a_series_without_a_change_shows_a_step_in_one_percent(spread):
    alarms = sum(bool(one.steps) for one in scans(2000, 1, spread=spread))

    assert 5 <= alarms <= 34, "20 are expected, 34 are three standard deviations more"


@pytest.mark.parametrize("place", [8, 15, 22])
@pytest.mark.parametrize("factor", [1.05, 1 / 1.05])
def test_a_step_of_five_percent_is_found_in_95_percent(place, factor):
    results = scans(400, place, levels=[(place, factor)])

    hits = [one.steps[0] for one in results if one.steps]
    assert len(hits) >= 0.95 * len(results)
    assert np.mean([(hit.ratio.value > 1) == (factor > 1) for hit in hits]) > 0.97
    assert np.mean([abs(hit.place - place) <= 2 for hit in hits]) > 0.9
    assert np.mean([hit.earliest <= place <= hit.latest for hit in hits]) > 0.93
    assert np.mean([hit.ratio.low <= factor <= hit.ratio.high for hit in hits]) > 0.85


def test_eight_recordings_on_each_side_are_enough():
    hits = sum(bool(one.steps) for one in scans(600, 5, count=2 * SIDE, levels=[(SIDE, 1.05)]))

    assert hits >= 0.93 * 600, "95 % are expected"


def test_a_step_and_its_end_are_two_steps():
    results = scans(100, 2, levels=[(10, 1.1), (20, 1 / 1.1)])

    both = [one.steps for one in results if len(one.steps) == 2]
    assert len(both) > 90
    assert np.median([first.place for first, _ in both]) == 10
    assert np.median([second.place for _, second in both]) == 20
    assert all(first.ratio.value > 1 > second.ratio.value for first, second in both)


def test_two_steps_up_are_both_found():
    results = scans(50, 3, spread=0.01, levels=[(10, 1.1), (20, 1.1)])

    assert sum([step.place for step in one.steps] == [10, 20] for one in results) > 35


def test_one_recording_that_is_far_off_is_no_step():
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(100):
        logs = series(rng)
        logs[rng.integers(RUNS)] += 0.5
        alarms += bool(scan(logs, np.zeros(RUNS)).steps)

    assert alarms <= 2


def test_a_recording_that_knows_little_counts_little():
    """Ten quick recordings that err by 8 % stand before twenty that err by 0.5 %: their mean is no level."""
    rng = np.random.default_rng(6)
    errors = np.array([0.08] * 10 + [0.005] * 20)
    known = [scan(errors * rng.standard_normal(RUNS), errors) for _ in range(300)]

    assert sum(bool(one.steps) for one in known) <= 9
    one = scan(np.array([0.0] * 15 + [0.03] * 15) + 0.001 * rng.standard_normal(RUNS), np.full(RUNS, 0.002))
    assert [step.place for step in one.steps] == [15]


@pytest.mark.parametrize("count", range(8))
def test_short_series_have_no_step_and_no_promise(count):
    rng = np.random.default_rng(count)
    one = scan(series(rng, count), np.zeros(count))

    assert one.steps == () or count >= 2 * LEAST
    assert one.detectable == math.inf


def test_a_flat_series_has_no_step_and_could_show_any():
    one = scan(np.full(20, 1.5), np.zeros(20))

    assert one.steps == ()
    assert one.detectable < 1e-4


def test_a_jump_without_noise_is_a_step():
    one = scan([0.0] * 10 + [1.0] * 10, [0.0] * 20)

    assert [(step.place, step.earliest, step.latest) for step in one.steps] == [(10, 10, 10)]
    assert one.steps[0].ratio.value == pytest.approx(math.e)


@pytest.mark.parametrize("count", [16, 20, 30, 60])
def test_what_a_series_is_said_to_show_is_what_it_shows(count):
    """A step of the size that is called detectable at a spread is found in about 95 %, with eight recordings behind it."""
    size = steps._detectable(count, 0.02)
    hits = sum(bool(one.steps) for one in scans(400, 8, count=count, levels=[(count - SIDE, 1 + size)]))

    assert hits >= 0.92 * 400


def test_spread_and_the_smallest_step_grow_together():
    quiet, loud = (scans(20, 9, spread=spread) for spread in (0.005, 0.05))

    assert np.median([one.spread for one in quiet]) == pytest.approx(0.005, rel=0.2)
    assert np.median([one.detectable for one in quiet]) < 0.05 < np.median([one.detectable for one in loud])


@pytest.mark.parametrize(
    ("logs", "errors"), [([0.0, math.nan], [0.0, 0.0]), ([0.0], [-1.0]), ([0.0, 1.0], [0.0]), ([[0.0]], [[0.0]])]
)
def test_what_is_no_series_is_refused(logs, errors, refused):
    with refused(SampleError, "logs"):
        scan(logs, errors)


def test_the_kinds_share_all_false_alarms():
    assert sum(steps.SHARES.values()) == pytest.approx(1)
