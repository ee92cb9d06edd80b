"""Sessions on the hand-driven clock: when they end, what is paired, and what the intervals are of."""

import gc
import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from perflib.stats import Interval
from perflib.timing.case import Case
from perflib.timing.session import GARBAGE, Session, take

WIDE, NARROW = Interval(100, 90, 110, 0.95), Interval(100, 99, 101, 0.95)


@pytest.fixture
def arm(simulated, hand_clock):
    """A case whose run takes a time on the hand-driven clock."""

    def make(label, cost_ns, scope="call"):
        return Case(label, scope, hand_clock.arm(cost_ns))

    return make


@pytest.fixture
def looks(hand_clock):
    """Take a session whose intervals are `found`, one after another; returns it and the rounds seen at each look."""

    def run(cases, budget_s=1000.0, found=(), **settings):
        seen, rest = [], iter(found)

        def intervals(session):
            seen.append(session.rounds)
            return [next(rest, WIDE)]

        return take(cases, budget_s, intervals, clock=hand_clock, **settings), seen

    return run


def noise(seed, middle_ns, spread):
    rng = np.random.default_rng(seed)
    return lambda: middle_ns * math.exp(spread * rng.standard_normal())


def test_what_is_a_part_of_a_run_is_subtracted_from_times_and_ratios(hand_clock, arm):
    copy, one, other = arm("copy", 300), replace(arm("one", 1000), minus="copy"), replace(arm("other", 1700), minus="copy")

    session = take([one, other, copy], 1000, lambda so_far: [NARROW], clock=hand_clock)

    assert (session.net("one").value, session.net("other").value) == pytest.approx((700, 1400))
    assert session.ratio("other", "one").value == pytest.approx(2)
    assert session.net("copy").value == 290, "the loop itself is not a part of the copy"


def test_every_case_its_floors_and_the_canary_are_in_every_round(arm, looks):
    session, _ = looks([arm("a", 1000), arm("b", 2000), arm("k", 500, "kernel")], found=[NARROW])

    rounds = {label: [s.round for s in samples] for label, samples in session.samples.items()}
    assert set(rounds) == {"a", "b", "k", "<call floor>", "<kernel floor>", "<canary>"}
    assert all(numbers == list(range(30)) for numbers in rounds.values())
    assert session.canary is session.samples["<canary>"]


def test_a_session_without_compiled_code_has_no_kernel_floor(arm, looks):
    session, _ = looks([arm("a", 1000)], found=[NARROW])

    assert set(session.samples) == {"a", "<call floor>", "<canary>"}


def test_it_ends_when_the_intervals_are_narrow(arm, looks):
    session, seen = looks([arm("a", 1000)], found=[WIDE, NARROW])

    assert (session.ended_by, session.rounds, seen) == ("half-width", 45, [30, 45])


def test_every_interval_must_be_narrow(arm, hand_clock):
    answers = iter([[NARROW, WIDE], [WIDE, NARROW], [NARROW, NARROW]])

    session = take([arm("a", 1000)], 1000, lambda so_far: next(answers), clock=hand_clock)

    assert (session.ended_by, session.rounds) == ("half-width", 67)


def test_the_intervals_are_looked_at_after_half_as_many_rounds_again(arm, looks):
    _, seen = looks([arm("a", 1000)], found=[WIDE] * 5 + [NARROW])

    assert seen == [30, 45, 67, 100, 150, 225]


@pytest.mark.parametrize(("half_width", "ended_by"), [(0.0099, "half-width"), (0.0101, "budget")])
def test_narrow_is_one_percent(arm, looks, half_width, ended_by):
    interval = Interval(1, 1 - half_width, 1 + half_width, 0.95)

    session, _ = looks([arm("a", 1000)], budget_s=0.2, found=[interval] * 99)

    assert session.ended_by == ended_by


def test_it_ends_when_the_budget_is_spent_also_within_a_look(arm, looks, hand_clock):
    begun = hand_clock.now_ns
    session, seen = looks([arm("a", 1000)], budget_s=0.5)

    assert session.ended_by == "budget"
    assert 0.5 <= (hand_clock.now_ns - begun) / 1e9 < 0.52
    assert session.seconds == pytest.approx((hand_clock.now_ns - begun) / 1e9)
    assert seen[-1] - seen[-2] < seen[-2] // 2


def test_there_are_at_least_six_rounds_however_long_they_last(arm, looks):
    session, seen = looks([arm("a", 10**10)], budget_s=1e-9)

    assert (session.rounds, seen) == (6, [6])
    assert {len(samples) for samples in session.samples.values()} == {6}


def test_more_rounds_can_be_asked_for_at_least(arm, looks):
    session, _ = looks([arm("a", 10**10)], budget_s=1e-9, least=9)

    assert session.rounds == 9


def test_pairs_stay_pairs_where_a_case_gets_fewer_rounds(arm, looks):
    """In every look anew."""
    session, seen = looks([arm("quick", 1000), arm("slow", 2e7), arm("slower", 1e8)], budget_s=2, found=[WIDE] * 9)

    rounds = {label: {s.round for s in session.samples[label]} for label in ("quick", "slow", "slower")}
    assert rounds["slower"] < rounds["slow"] < rounds["quick"]
    assert len(seen) > 1
    assert max(rounds["slower"]) >= seen[-2], "the last look has some of the slowest too"


def test_numbers_of_rounds_go_on_from_look_to_look(arm, looks):
    session, _ = looks([arm("a", 1000)], found=[WIDE, WIDE, NARROW])

    assert [s.round for s in session.samples["a"]] == list(range(67))


def test_the_seed_decides_order_and_length_of_the_batches(arm, looks):
    def outline(seed):
        session, _ = looks([arm("a", 1000), arm("b", 1000)], found=[NARROW], seed=seed)
        return [(s.round, s.position, s.reps) for s in session.samples["a"]]

    assert outline(1) == outline(1)
    assert outline(1) != outline(2)


def test_gross_floor_and_net_are_all_kept(arm, looks):
    session, _ = looks([arm("a", 1000), arm("k", 700, "kernel")], found=[NARROW])

    assert [session.gross(label).value for label in ("a", "k")] == [1000, 700]
    assert [session.floor(scope).value for scope in ("call", "kernel")] == [10, 10]
    assert [session.net(label).value for label in ("a", "k")] == [990, 690]
    assert session.difference("a", "k").value == 300
    assert session.ratio("a", "k").value == pytest.approx(10 / 7)


def filled(sample, **times):
    """A session of these times per round; None: the case sat it out."""
    found = defaultdict(list)
    for label, series in times.items():
        name = f"<{label} floor>" if label in ("call", "kernel") else label
        found[name] = [sample(ns, number) for number, ns in enumerate(series) if ns is not None]
    return Session(dict.fromkeys(times, "call"), found)


def test_the_floor_of_the_same_round_is_taken_off(sample):
    session = filled(sample, a=[100, 200, 300, 400, 500, 600], call=[0, 100, 200, 300, 400, 500])

    assert (session.net("a").low, session.net("a").high) == (100, 100)
    assert session.gross("a").value == 350


def test_a_difference_is_paired_by_round(sample):
    session = filled(sample, a=range(101, 700, 100), b=range(100, 700, 100), call=[5] * 6)

    difference = session.difference("a", "b")

    assert (difference.value, difference.low, difference.high) == (1, 1, 1)


def test_rounds_that_one_sat_out_make_no_pair(sample):
    a = [None, 200, 200, 200, 200, 200, 200]
    b = [1000, 100, 100, 100, 100, 100, 100]

    session = filled(sample, a=a, b=b, call=[10] * 7)

    assert session.ratio("a", "b").low == pytest.approx(2)
    assert session.difference("a", "b").low == 100


def test_time_that_other_work_took_is_not_in_a_ratio(sample):
    """Interrupted in half of the rounds, for as long again; b waits for itself half of its time, in every round."""
    a = [sample(200, i, cpu_ns=100, switches=1) if i % 2 else sample(100, i) for i in range(20)]
    b = [sample(100, i, cpu_ns=50, switches=i % 2) for i in range(20)]

    found = Session({"a": "call", "b": "call"}, {"a": a, "b": b}).ratio("a", "b")

    assert (found.low, found.value, found.high) == pytest.approx((1, 1, 1))


def test_a_case_that_was_interrupted_in_every_round_waits_as_long_as_its_shortest(sample):
    slept = [sample(100 + 10 * i, i, cpu_ns=60, switches=1) for i in range(8)]
    steady = [sample(100, i) for i in range(8)]

    assert Session({}, {"a": slept, "b": steady}).ratio("a", "b").value == pytest.approx(1)


def test_a_ratio_of_several_is_corrected_for_their_number(sample):
    rng = np.random.default_rng(0)
    session = filled(sample, a=rng.integers(900, 1100, 30), b=rng.integers(900, 1100, 30))

    one, ten = session.ratio("a", "b"), session.ratio("a", "b", comparisons=10)

    assert ten.low < one.low < one.high < ten.high


@pytest.mark.parametrize("ask", [lambda s: s.gross("a"), lambda s: s.net("a"), lambda s: s.ratio("a", "b")])
def test_neighbours_that_resemble_each_other_widen_the_interval(sample, ask):
    """Slow waves and the same times in random order."""
    waves = 1000 + np.round(100 * np.sin(np.arange(100) / 5)).astype(int)
    shuffled = np.random.default_rng(0).permutation(waves)

    slow, quick = (ask(filled(sample, a=series, b=[1000] * 100, call=[1] * 100)) for series in (waves, shuffled))

    assert slow.high - slow.low > 1.5 * (quick.high - quick.low)


@pytest.mark.parametrize("per_round", [0, GARBAGE // 2, 2 * GARBAGE])
def test_garbage_in_cycles_is_collected_between_the_rounds_and_counted(simulated, hand_clock, looks, per_round):
    """Not in the time of a sample, and only where much of it waits."""
    wait = hand_clock.arm(10**6)

    def run(reps):
        wait(1)
        for _ in range(per_round if reps else 0):
            cycle = []
            cycle.append(cycle)

    gc.disable()
    try:
        session, _ = looks([Case("leaves", "call", run)], budget_s=1e-9)
    finally:
        gc.enable()

    assert all(s.collections == 0 for samples in session.samples.values() for s in samples)
    assert (session.garbage >= 2 * GARBAGE) is (per_round > 0)


def test_noise_takes_more_rounds_until_it_is_narrow(arm, hand_clock):
    session = take([arm("a", noise(0, 2e6, 0.03))], 1000, lambda so_far: [so_far.gross("a")], clock=hand_clock)

    assert session.ended_by == "half-width"
    assert session.gross("a").half_width <= 0.01
    assert len(session.samples["a"]) > 30
