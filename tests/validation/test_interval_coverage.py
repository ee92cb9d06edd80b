"""Seeded simulations: the same figures each time, and those that the package promises."""

import numpy as np
import pytest

from perflib.errors import SampleError
from perflib.validation import interval_coverage as validation_interval_coverage
from perflib.validation.interval_coverage import SHAPES, TIMES, interval_coverage, recording_coverage


@pytest.fixture(scope="module")
def intervals():
    return interval_coverage(trials=1000, seed=0)


def test_an_interval_covers_as_often_as_it_says_although_it_chose_when_to_stop(intervals):
    assert list(intervals.by_times) == list(TIMES)
    assert 0.93 <= intervals.overall <= 0.98
    assert all(0.93 <= share <= 0.98 for share in intervals.by_times.values())


def test_a_drift_is_flagged(intervals):
    assert intervals.drift_flagged == 1


def test_a_recording_of_few_processes_covers_the_median_over_placements_and_processes():
    coverage = recording_coverage(trials=20, seed=0)

    assert coverage.cases == 20 * 40 * len(SHAPES)
    assert 0.93 <= coverage.overall <= 0.98
    assert all(0.92 <= share <= 0.985 for share in coverage.by_shape.values())  # of 800 cases each: 1.5 points of noise
    assert coverage.half_width < 0.025


def test_a_recording_elsewhere_is_not_covered(monkeypatch):
    recorded = validation_interval_coverage._recorded

    def elsewhere(*settings):
        medians, truth = recorded(*settings)
        return medians, truth + 0.2

    monkeypatch.setattr(validation_interval_coverage, "_recorded", elsewhere)

    assert recording_coverage(trials=1).overall < 0.05


def test_times_elsewhere_are_not_covered(monkeypatch):
    monkeypatch.setattr(
        validation_interval_coverage, "TIMES", {"normal": lambda rng, count: 0.1 + 0.01 * rng.standard_normal(count)}
    )

    assert interval_coverage(trials=50).overall == 0


def test_every_kind_of_times_has_the_median_that_is_to_be_covered():
    rng = np.random.default_rng(0)

    assert all(abs(np.median(draw(rng, 10**6))) < 2e-4 for draw in TIMES.values())


def test_one_session_is_no_simulation(refused):
    with refused(SampleError, "trials must be at least 2", "got 1"):
        interval_coverage(trials=1)
