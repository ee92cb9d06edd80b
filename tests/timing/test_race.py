"""Races on a clock driven by hand: who wins is known, and nothing waits."""

import gc
import math

import numba
import numpy as np
import pytest

from perflib import race
from perflib.timing.race import eligible

SAMPLE_NS = 1000


@pytest.fixture
def contest(hand_clock):
    """Race arms whose nanoseconds per run are `cost(round, time)`, time 0 or 1; returns the outcome and who ran."""

    def run(slow, fast, threshold=3):
        calls = ""

        def raced():
            """Slow is calibrated, then fast, then the race begins with slow."""
            _, met, rest = calls.partition("fs")
            return met[1:] + rest

        def arm(name, cost):
            def timed(reps):
                nonlocal calls
                calls += name
                mine = max(0, raced().count(name) - 1)
                hand_clock.now_ns += round(reps * cost(mine // 2, mine % 2))

            return timed

        return race(arm("s", slow), arm("f", fast), threshold, hand_clock, SAMPLE_NS), raced()

    return run


def always(ns):
    return lambda number, time: ns


def first_spiked(ns):
    """The first of two times is disturbed in every round."""
    return lambda number, time: 50 * ns if time == 0 else ns


def test_a_ratio_above_the_threshold_holds_after_eight_rounds(contest):
    outcome, taken = contest(always(40), always(10))

    assert outcome == "HOLDS"
    assert taken == 8 * "sffs"


def test_a_ratio_below_the_threshold_fails_after_eight_rounds(contest):
    outcome, taken = contest(always(20), always(10))

    assert outcome == "FAILS"
    assert len(taken) == 8 * 4


def test_a_ratio_at_the_threshold_is_not_above_it(contest):
    assert contest(always(30), always(10))[0] == "FAILS"


def test_rounds_that_disagree_leave_it_undecided_after_sixty(contest):
    outcome, taken = contest(lambda number, time: 40 if number % 2 else 20, always(10))

    assert outcome == "UNDECIDED"
    assert len(taken) == 60 * 4


def test_a_lead_of_eight_decides_and_not_eight_rounds(contest):
    """Seven won, then all lost: the lead falls from 7 to -8 in fifteen rounds."""
    outcome, taken = contest(lambda number, time: 40 if number < 7 else 20, always(10))

    assert outcome == "FAILS"
    assert len(taken) == (7 + 15) * 4


@pytest.mark.parametrize(
    ("slow", "fast", "outcome"),
    [
        (first_spiked(20), always(10), "FAILS"),
        (always(40), first_spiked(10), "HOLDS"),
        (first_spiked(40), first_spiked(10), "HOLDS"),
    ],
)
def test_a_disturbed_time_in_every_round_changes_nothing(contest, slow, fast, outcome):
    assert contest(slow, fast)[0] == outcome


def test_arms_of_very_different_speed_are_compared_per_run(contest):
    """Batches are as long as the clock needs, whatever one run takes."""
    assert contest(always(5000), always(2))[0] == "HOLDS"
    assert contest(always(2), always(5000), threshold=1)[0] == "FAILS"


def test_arms_that_take_no_time_end(contest):
    """Faster than the clock can see, and yet a race of finite length."""
    assert contest(always(0.001), always(0.001), threshold=2)[0] == "FAILS"


def test_a_large_recorded_ratio_makes_a_claim_eligible():
    assert eligible(9, 3) == 3
    assert eligible(4, 2) == 2
    assert eligible(100, 1) == 1


@pytest.mark.parametrize("ratio", [3.9, 1, -5, math.nan])
def test_a_recorded_ratio_below_four_is_refused(refused, ratio):
    with refused(ValueError, "recorded ratio must be at least 4", f"got {ratio:.2f}"):
        eligible(ratio, 1)


@pytest.mark.parametrize("threshold", [3.1, 9, 0.9, -1, math.nan])
def test_a_threshold_above_the_square_root_or_below_one_is_refused(refused, threshold):
    with refused(ValueError, "threshold must lie in 1 ... 3.00", f"got {threshold}"):
        eligible(9, threshold)


@pytest.mark.parametrize(("ratio", "outcome"), [(4.5, "HOLDS"), (2.0, "FAILS")])
def test_noise_does_not_turn_an_outcome_around(contest, ratio, outcome):
    """A true ratio half above or below the threshold, noise of a fifth: no wrong outcome in a hundred races."""
    rng = np.random.default_rng(0)

    def noisy(ns):
        return lambda number, time: ns * math.exp(0.2 * rng.standard_normal())

    assert {contest(noisy(1e6 * ratio), noisy(1e6))[0] for _ in range(100)} == {outcome}


def test_a_hundredfold_of_real_work_is_told_apart_on_any_machine():
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
