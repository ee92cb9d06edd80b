"""Seeded simulations: the same figures each time, and those that the package promises."""

import re

import numpy as np
import pytest

from perflib import fit_scaling, scaling
from perflib.errors import SampleError
from perflib.validation import interval_coverage as validation_interval_coverage
from perflib.validation.interval_coverage import (
    LAWS,
    NOISES,
    SHAPES,
    TIMES,
    exponent_coverage,
    interval_coverage,
    recording_coverage,
)


@pytest.fixture(scope="module")
def coverage():
    return exponent_coverage(trials=200, seed=0)


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


def test_the_exponent_is_covered_as_often_as_promised(coverage):
    assert coverage.fits == 1000
    assert coverage.overall >= 0.93
    assert all(share >= 0.93 for share in coverage.by_law.values())
    assert all(share >= 0.93 for share in coverage.by_noise.values())


def test_strassens_exponent_is_told_from_three(coverage):
    assert coverage.told_apart >= 0.93


def test_every_law_and_every_noise_is_counted(coverage):
    assert list(coverage.by_law) == ["n", "n log n", "n^2", "n^2.81", "n^3"]
    assert list(coverage.by_noise) == list(NOISES)


def test_the_shares_belong_together(coverage):
    assert coverage.overall == pytest.approx(np.mean(list(coverage.by_law.values())))
    assert coverage.overall == pytest.approx(np.mean(list(coverage.by_noise.values())))


def test_a_seed_gives_the_same_figures_and_another_seed_other_trials(monkeypatch):
    drawn = []
    fit = scaling.fit_scaling
    monkeypatch.setattr(
        validation_interval_coverage, "fit_scaling", lambda sizes, times: drawn.append(times.sum()) or fit(sizes, times)
    )

    again = [exponent_coverage(4, seed) for seed in (7, 7, 8)]

    assert again[0] == again[1]
    assert drawn[:20] == drawn[20:40] != drawn[40:]


@pytest.mark.parametrize(("shift", "covered"), [(0.0, 1.0), (0.5, 0.0)])
def test_an_interval_elsewhere_counts_as_a_miss(monkeypatch, shift, covered):
    """Exact times have an interval at the exponent; times of a law half a power steeper have it elsewhere."""
    fit = scaling.fit_scaling
    monkeypatch.setattr(
        validation_interval_coverage,
        "NOISES",
        {"none": lambda rng, rounds, sizes: 1e-9 * rng.standard_normal((rounds, sizes))},
    )
    monkeypatch.setattr(validation_interval_coverage, "fit_scaling", lambda sizes, times: fit(sizes, times * sizes**shift))

    assert exponent_coverage(2).overall == covered


def test_wide_intervals_cover_and_tell_nothing_apart(monkeypatch):
    monkeypatch.setattr(validation_interval_coverage, "NOISE", 1.0)

    found = exponent_coverage(4)

    assert found.overall > 0.9
    assert found.told_apart < 0.5


@pytest.mark.parametrize("kind", NOISES)
def test_every_noise_has_its_standard_deviation_and_no_bias(kind):
    rng = np.random.default_rng(0)

    drawn = np.concatenate([NOISES[kind](rng, 6, 10) for _ in range(2000)])

    assert np.abs(drawn.mean()) < 0.003
    assert (drawn - drawn.mean(axis=1, keepdims=True)).std() == pytest.approx(0.03, rel=0.06)


def test_correlated_rounds_resemble_their_neighbours():
    series = NOISES["correlated"](np.random.default_rng(0), 2000, 10)

    assert np.mean(series[1:] * series[:-1]) / series.var() == pytest.approx(0.5, abs=0.03)


def test_the_exponent_of_a_power_is_the_power():
    rng = np.random.default_rng(0)

    exponents = {law: validation_interval_coverage._trial(rng, law, "independent")[1] for law in LAWS}

    assert exponents == pytest.approx({"n": 1, "n log n": 1.17, "n^2": 2, "n^2.81": 2.81, "n^3": 3}, abs=0.03)


def test_twice_the_rounds_that_a_fit_advises_decide_and_half_of_them_do_not():
    sizes, rng = np.geomspace(64, 512, 10).round(), np.random.default_rng(0)
    advised, decided = [], {0.5: [], 2: []}

    def squares(rounds):
        return fit_scaling(sizes, sizes**2 * np.exp(0.3 * rng.standard_normal((rounds, 10))))

    for _ in range(40):
        found = re.match(r"noise dominates: take about (\d+) rounds instead of 9", squares(9).advice(2))
        advised += [int(found[1])] if found and int(found[1]) < 400 else []
    for rounds in advised:
        for factor, verdicts in decided.items():
            verdicts.append(squares(int(factor * rounds)).verdict(2) == "consistent")

    assert len(advised) > 20
    assert np.mean(decided[0.5]) < 0.5
    assert np.mean(decided[2]) > 0.8


def test_the_representation_is_one_line_with_the_shares(coverage):
    assert repr(coverage).startswith(f"{coverage.overall:.3f} of 1000 intervals cover (n ")
    assert repr(coverage).endswith(f"n^2.81 told from n^3 in {coverage.told_apart:.3f}")


@pytest.mark.parametrize("trials", [0, 3, -1])
def test_too_few_trials_are_refused(refused, trials):
    with refused(SampleError, "trials must be at least 4", f"got {trials}"):
        exponent_coverage(trials)
