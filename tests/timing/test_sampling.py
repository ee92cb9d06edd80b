"""Batches, rounds and quiet, on clocks that are driven by hand."""

import gc
import hashlib
import sys
import threading
from collections import Counter, defaultdict
from itertools import count
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from threadpoolctl import threadpool_info, threadpool_limits

from perflib.timing.case import Case
from perflib.timing.sampling import BATCH_NS, Sample, calibrate, plan_batch, plan_rounds, quiet, rounds


def stopwatch_runs(run, seen):
    """The same function, noting how many runs it was asked for."""

    def noting(reps):
        seen.append(reps)
        run(reps)

    return noting


def silent(label):
    return Case(label, "call", lambda reps: None)


@pytest.mark.parametrize("cost_ns", [1, 3, 10, 999, 12_345, 999_999, 1_000_000, 5_000_000])
def test_a_batch_reaches_a_millisecond_and_hardly_more(hand_clock, cost_ns):
    (reps, _), (long, _) = (calibrate(hand_clock.arm(cost_ns), hand_clock, batch_ns) for batch_ns in (BATCH_NS, 7_000_000))

    assert reps * cost_ns >= 1_000_000
    assert reps == 1 or reps * cost_ns <= 1.2 * 1_000_000 + cost_ns
    assert 7_000_000 <= long * cost_ns <= 1.2 * 7_000_000 + cost_ns


def test_a_coarse_clock_makes_the_batch_longer(hand_clock):
    """Readings step by 10 us here: a thousand steps are 10 ms."""
    hand_clock.tick_ns = 10_000

    reps, _ = calibrate(hand_clock.arm(1000), hand_clock)

    assert reps * 1000 >= 9_900_000


def test_the_run_that_compiles_does_not_size_the_batch(hand_clock):
    seen = []
    costs = iter([500_000_000])

    reps, _ = calibrate(stopwatch_runs(hand_clock.arm(lambda: next(costs, 1000)), seen), hand_clock)

    assert seen[0] == 1
    assert reps * 1000 >= 1_000_000


def test_a_batch_grows_at_most_tenfold(hand_clock):
    seen = []

    calibrate(stopwatch_runs(hand_clock.arm(1), seen), hand_clock)

    assert all(later <= 10 * earlier for earlier, later in zip(seen[1:], seen[2:], strict=False))


def test_the_target_must_be_reached_twice_in_a_row(hand_clock):
    """One long batch among short ones is a disturbance, not a measure."""
    seen = []
    costs = iter([1, 2_000_000, 1])

    reps, _ = calibrate(stopwatch_runs(hand_clock.arm(lambda: next(costs, 1000)), seen), hand_clock)

    assert reps * 1000 >= 1_000_000
    assert seen[-1] == seen[-2] == reps


def test_a_run_of_seconds_is_not_taken_a_third_time(hand_clock):
    seen = []

    reps, _ = calibrate(stopwatch_runs(hand_clock.arm(2_000_000_000), seen), hand_clock)

    assert seen == [1, 1]
    assert reps == 1


def test_an_arm_that_takes_no_time_at_first_is_calibrated(hand_clock):
    costs = iter([0, 0, 0])

    reps, _ = calibrate(hand_clock.arm(lambda: next(costs, 50)), hand_clock)

    assert reps * 50 >= 1_000_000


@pytest.mark.parametrize(
    ("case_ns", "budget_s", "expected"),
    [
        ({"a": 1e6}, 0.01, {"a": 10}),
        ({"a": 1e6}, 10, {"a": 30}),
        ({"a": 1e9}, 1, {"a": 6}),
        ({"a": 1e6, "b": 1e6}, 0.04, {"a": 20, "b": 20}),
        ({"a": 1e6, "b": 1e7}, 0.2, {"a": 30, "b": 10}),
    ],
)
def test_rounds_are_the_share_of_the_budget_from_six_to_thirty(case_ns, budget_s, expected):
    assert plan_rounds(case_ns, budget_s) == expected
    assert plan_rounds(case_ns, budget_s, least=9) == {label: max(9, count) for label, count in expected.items()}


@given(planned=st.lists(st.integers(1, 30), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_every_case_gets_its_rounds_and_pairs_stay_pairs(planned, seed):
    """The rounds of a case with fewer of them are among those of every case with more."""
    plan = {str(i): count for i, count in enumerate(planned)}
    taken = defaultdict(set)

    for samples in rounds([silent(label) for label in plan], dict.fromkeys(plan, 1), np.random.default_rng(seed), plan):
        for sample in samples:
            taken[sample.label].add(sample.round)

    assert {label: len(found) for label, found in taken.items()} == plan
    fewest_first = sorted(taken.values(), key=len)
    assert all(few <= many for few, many in zip(fewest_first, fewest_first[1:], strict=False))
    assert set.union(*fewest_first) == set(range(max(planned)))


def test_a_case_with_fewer_rounds_is_spread_over_all_of_them():
    plan = {"many": 30, "few": 6}

    batches = list(rounds([silent("many"), silent("few")], dict.fromkeys(plan, 1), np.random.default_rng(0), plan))

    numbers = [i for i, batch in enumerate(batches) if len(batch) == 2]
    assert max(np.diff([-1, *numbers, 30])) <= 10


def drawn(seed):
    plan = {"a": 30, "b": 30, "c": 30}
    batches = rounds([silent(x) for x in plan], dict.fromkeys(plan, 1000), np.random.default_rng(seed), plan, first=40)
    return list(batches)


def test_the_order_within_a_round_is_drawn_anew():
    orders = Counter("".join(s.label for s in batch) for batch in drawn(0))

    assert len(orders) == 6
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert all([s.position for s in batch] == [0, 1, 2] for batch in drawn(0))
    assert [batch[0].round for batch in drawn(0)] == list(range(40, 70)), "as they are told to go on"


def test_batches_are_longer_by_up_to_a_fifth():
    reps = [s.reps for batch in drawn(0) for s in batch]

    assert 1000 <= min(reps) < 1050
    assert 1150 < max(reps) <= 1200
    assert len(set(reps)) > 50


def test_the_same_seed_draws_the_same():
    def outline(batches):
        return [[(s.label, s.round, s.position, s.reps) for s in batch] for batch in batches]

    assert outline(drawn(1)) == outline(drawn(1))
    assert outline(drawn(1)) != outline(drawn(2))


def test_a_sample_is_the_time_of_its_batch_and_of_nothing_else(hand_clock):
    """The clock moves between batches too; that is nobody's time."""
    costs = {"slow": 500, "fast": 3}
    cases = [Case(label, "call", hand_clock.arm(ns)) for label, ns in costs.items()]
    samples = []

    for batch in rounds(cases, {"slow": 10, "fast": 1000}, np.random.default_rng(0), {"slow": 9, "fast": 9}, hand_clock):
        hand_clock.now_ns += 10**9
        samples += batch

    assert len(samples) == 18
    assert all(s.elapsed_ns == s.reps * costs[s.label] for s in samples)
    assert {s.per_run_ns for s in samples if s.label == "slow"} == {500}


def test_what_prepares_a_batch_comes_before_each_and_is_in_the_plan_but_not_in_the_sample(hand_clock):
    done = []

    def prepare():
        done.append(hand_clock.now_ns)
        hand_clock.now_ns += 5000

    one = Case("prepared", "call", hand_clock.arm(100), prepare=prepare)

    reps, planned = plan_batch(one, hand_clock)
    taken = [
        s for batch in rounds([one], {"prepared": 10}, np.random.default_rng(0), {"prepared": 3}, hand_clock) for s in batch
    ]

    assert planned == 100 * reps + 5000
    assert len(done) == 4
    assert [s.elapsed_ns for s in taken] == [100 * s.reps for s in taken]


def test_a_compilation_during_a_batch_is_counted_in_its_sample():
    fresh = njit(lambda x: x + 1)
    compiling = Case("fresh", "call", lambda reps: fresh(1))

    first, second = (b[0] for b in rounds([compiling], {"fresh": 1}, np.random.default_rng(0), {"fresh": 2}))

    assert first.compiled >= 1
    assert second.compiled == 0


def test_what_happened_in_a_batch_stands_in_its_sample(monkeypatch):
    """Counters that jump by a step of their own at each reading."""

    def usage(who):
        return SimpleNamespace(ru_nivcsw=next(switches), ru_minflt=next(minor), ru_majflt=next(major))

    switches, minor, major, thread, process, collected = (count(0, step) for step in (3, 5, 7, 11, 13, 17))
    clocks = SimpleNamespace(thread_time_ns=lambda: next(thread), process_time_ns=lambda: next(process))
    monkeypatch.setattr("perflib.timing.sampling.resource", SimpleNamespace(RUSAGE_SELF=0, getrusage=usage))
    monkeypatch.setattr("perflib.timing.sampling.time", clocks)
    monkeypatch.setattr("perflib.timing.sampling._collections", lambda: next(collected))

    (found,) = next(rounds([silent("x")], {"x": 1}, np.random.default_rng(0), {"x": 1}))

    assert (found.switches, found.faults, found.cpu_ns, found.process_ns, found.collections) == (3, 12, 11, 13, 17)


def test_a_run_of_the_collector_is_counted_in_its_sample():
    once = {"collects": 1, "idle": 1}
    cases = [Case("collects", "call", lambda reps: gc.collect()), silent("idle")]

    found = {s.label: s for s in next(rounds(cases, once, np.random.default_rng(0), once))}

    assert found["collects"].collections == 1
    assert found["idle"].collections == 0


def test_the_work_of_other_threads_is_in_the_time_of_the_process():
    def hashed():
        hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)

    def run(reps):
        thread = threading.Thread(target=hashed)
        thread.start()
        thread.join()

    (found,) = next(rounds([Case("x", "call", run)], {"x": 1}, np.random.default_rng(0), {"x": 1}))

    assert found.process_ns > 5 * found.cpu_ns
    assert found.waited_ns > found.cpu_ns


@pytest.mark.parametrize(("elapsed_ns", "cpu_ns", "waited_ns"), [(100, 60, 40), (100, 100, 0), (100, 101, 0)])
def test_a_sample_tells_time_per_run_and_time_in_which_it_did_not_run(elapsed_ns, cpu_ns, waited_ns):
    found = Sample("x", 0, 0, reps=8, elapsed_ns=elapsed_ns, cpu_ns=cpu_ns, switches=0, compiled=0)

    assert (found.per_run_ns, found.waited_ns) == (12.5, waited_ns)


@pytest.mark.parametrize("cost_ns", [7, 1000, 2_000_000_000])
def test_the_time_of_a_batch_is_planned_without_another_batch(hand_clock, cost_ns):
    seen = []

    reps, planned = plan_batch(Case("x", "call", stopwatch_runs(hand_clock.arm(cost_ns), seen)), hand_clock)

    assert planned == cost_ns * reps
    assert hand_clock.now_ns == cost_ns * sum(seen)
    assert seen[-1] == reps


def state():
    threads = numba.get_num_threads()  # starts them, a pool more
    return gc.isenabled(), threads, sorted((pool["user_api"], pool["num_threads"]) for pool in threadpool_info())


@pytest.fixture
def two_threads():
    """Of BLAS, so that there are some to take away."""
    with threadpool_limits(limits=2, user_api="blas"):
        yield


def test_quiet_sets_threads_and_stops_the_collector(two_threads):
    with quiet(1):
        collecting, threads, blas = state()

    assert (collecting, threads, {count for _, count in blas}) == (False, 1, {1})


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_quiet_restores_everything_however_it_ends(two_threads, error):
    before = state()

    try:
        with quiet(1):
            if error:
                raise error
    except (ValueError, KeyboardInterrupt, SystemExit) as caught:
        assert type(caught) is error

    assert state() == before


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_quiet_sets_the_threads_of_pytorch_if_it_is_loaded(monkeypatch, error):
    threads = [4]
    library = SimpleNamespace(get_num_threads=lambda: threads[-1], set_num_threads=threads.append)
    monkeypatch.setitem(sys.modules, "torch", library)

    try:
        with quiet(2):
            assert threads == [4, 2]
            if error:
                raise error
    except KeyboardInterrupt:
        pass

    assert threads == [4, 2, 4]


def test_quiet_leaves_a_stopped_collector_stopped():
    gc.disable()
    try:
        with quiet():
            pass

        assert not gc.isenabled()
    finally:
        gc.enable()


def test_quiet_within_quiet_restores_step_by_step(two_threads):
    before = state()

    with quiet(1):
        outer = state()
        with quiet(1):
            pass
        assert state() == outer

    assert state() == before


def test_more_threads_than_there_are_is_all_of_them():
    with quiet(10_000):
        assert numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS
