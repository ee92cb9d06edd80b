"""Races on simulated clocks: the outcome follows from the ratio, and noise does not turn it around."""

import gc
import math
import sys

import numba
import numpy as np
import pytest

from perflib import race
from perflib.race import LEAD, ROUNDS, eligible


@pytest.fixture
def without_calibration(monkeypatch):
    """Every arm runs once per batch, so that the calls of a race can be counted."""
    monkeypatch.setattr(sys.modules["perflib.race"], "calibrate", lambda *_: 1)


def counted(run, seen, name):
    def noting(reps):
        seen.append(name)
        run(reps)

    return noting


@pytest.mark.parametrize(
    ("ratio", "threshold", "outcome"),
    [(4.0, 2.0, "HOLDS"), (2.01, 2.0, "HOLDS"), (1.99, 2.0, "FAILS"), (2.0, 2.0, "FAILS"), (0.2, 1.0, "FAILS")],
)
def test_without_noise_the_ratio_decides(hand_clock, ratio, threshold, outcome):
    slow, fast = hand_clock.arm(1000 * ratio), hand_clock.arm(1000)

    assert race(slow, fast, threshold, clock=hand_clock) == outcome


def test_a_clear_race_takes_eight_rounds_of_a_b_b_a(hand_clock, without_calibration):
    seen = []
    slow, fast = hand_clock.arm(5000), hand_clock.arm(1000)

    race(counted(slow, seen, "A"), counted(fast, seen, "B"), 2, clock=hand_clock)

    assert "".join(seen) == "ABBA" * LEAD


def test_a_race_without_a_lead_ends_undecided(hand_clock, without_calibration):
    """The slow arm is three times as slow in every other round."""
    calls = []

    def slow(reps):
        calls.append(reps)
        hand_clock.now_ns += 3000 if (len(calls) - 1) // 2 % 2 else 1000

    assert race(slow, hand_clock.arm(1000), 2, clock=hand_clock) == "UNDECIDED"
    assert len(calls) == 2 * ROUNDS


def test_one_interrupted_sample_in_a_round_does_not_count(hand_clock, without_calibration):
    """The minimum of two: each arm is held up once per round, by a hundredfold."""
    calls = []

    def held_up(cost_ns):
        def run(reps):
            calls.append(reps)
            hand_clock.now_ns += cost_ns * (100 if len(calls) % 4 in (1, 2) else 1)

        return run

    assert race(held_up(3000), held_up(1000), 2, clock=hand_clock) == "HOLDS"
    assert len(calls) == 4 * LEAD


@pytest.mark.parametrize(("ratio", "outcome"), [(3.0, "HOLDS"), (2 / 1.5, "FAILS")])
def test_noise_does_not_turn_an_outcome_around(hand_clock, without_calibration, ratio, outcome):
    """A true ratio half above or below the threshold, noise of a fifth: no wrong outcome in a hundred races."""
    rng = np.random.default_rng(0)

    def noisy(cost_ns):
        return hand_clock.arm(lambda: cost_ns * math.exp(0.2 * rng.standard_normal()))

    found = {race(noisy(1e6 * ratio), noisy(1e6), 2, clock=hand_clock) for _ in range(100)}

    assert found == {outcome}


def test_a_sample_lasts_at_least_as_long_as_asked(hand_clock):
    longest = []

    def arm(reps):
        longest.append(100 * reps)
        hand_clock.now_ns += 100 * reps

    race(arm, hand_clock.arm(10), 2, clock=hand_clock)

    assert min(longest[-2 * LEAD :]) >= 5_000_000


def test_a_real_race_of_the_same_work_at_different_length_is_decided():
    """A hundredfold of the same loop: told apart on any machine, however busy."""

    def loop(length):
        def run(reps):
            for _ in range(reps):
                sum(range(length))

        return run

    assert race(loop(20_000), loop(200), 2, sample_ns=200_000) == "HOLDS"
    assert race(loop(200), loop(20_000), 2, sample_ns=200_000) == "FAILS"


def test_an_interrupted_race_leaves_nothing_behind(hand_clock):
    before = gc.isenabled(), numba.get_num_threads()

    def interrupted(reps):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        race(interrupted, hand_clock.arm(1), 2, clock=hand_clock)

    assert (gc.isenabled(), numba.get_num_threads()) == before


@pytest.mark.parametrize(("recorded", "threshold"), [(4, 2), (4, 1), (100, 10), (16.0, 3.5)])
def test_a_claim_with_room_is_eligible(recorded, threshold):
    assert eligible(recorded, threshold) == threshold


@pytest.mark.parametrize("recorded", [3.9, 1, 0, -5, math.nan])
def test_a_recorded_ratio_below_four_is_too_tight(refused, recorded):
    with refused(ValueError, "recorded ratio must be at least 4", f"got {recorded:.2f}"):
        eligible(recorded, 1)


@pytest.mark.parametrize(("recorded", "threshold"), [(4, 2.01), (16, 4.5), (9, 0.9), (9, math.nan)])
def test_a_threshold_above_the_square_root_is_too_tight(refused, recorded, threshold):
    with refused(ValueError, f"threshold must lie in 1 ... {math.sqrt(recorded):.2f}", f"got {threshold}"):
        eligible(recorded, threshold)
