"""Batches, rounds and quiet, on clocks that are driven by hand."""

import gc
import time
from collections import Counter, defaultdict

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from threadpoolctl import threadpool_info

from perflib.sampling import CANARY, FLOORS, Case, Sample, calibrate, case, plan_rounds, quiet, rounds


@njit
def _double(x):
    return 2 * x


def watched(run, seen):
    """The same function, noting how many runs it was asked for."""

    def noting(reps):
        seen.append(reps)
        run(reps)

    return noting


def silent(label):
    return Case(label, "call", lambda reps: None)


@pytest.mark.parametrize("cost_ns", [1, 3, 10, 999, 12_345, 999_999, 1_000_000, 5_000_000])
def test_a_batch_reaches_a_millisecond_and_hardly_more(hand_clock, cost_ns):
    reps = calibrate(hand_clock.arm(cost_ns), hand_clock)

    assert reps * cost_ns >= 1_000_000
    assert reps == 1 or reps * cost_ns <= 1.2 * 1_000_000 + cost_ns


def test_a_batch_of_a_given_length(hand_clock):
    reps = calibrate(hand_clock.arm(100), hand_clock, batch_ns=5_000_000)

    assert 5_000_000 <= 100 * reps <= 6_000_000


def test_a_coarse_clock_makes_the_batch_longer(hand_clock):
    """Readings step by 10 us here: a thousand steps are 10 ms."""
    hand_clock.tick_ns = 10_000

    reps = calibrate(hand_clock.arm(1000), hand_clock)

    assert reps * 1000 >= 9_900_000


def test_the_run_that_compiles_does_not_size_the_batch(hand_clock):
    seen = []
    costs = iter([500_000_000])

    reps = calibrate(watched(hand_clock.arm(lambda: next(costs, 1000)), seen), hand_clock)

    assert seen[0] == 1
    assert reps * 1000 >= 1_000_000


def test_a_batch_grows_at_most_tenfold(hand_clock):
    seen = []

    calibrate(watched(hand_clock.arm(1), seen), hand_clock)

    assert all(later <= 10 * earlier for earlier, later in zip(seen[1:], seen[2:], strict=False))


def test_the_target_must_be_reached_twice_in_a_row(hand_clock):
    """One long batch among short ones is a disturbance, not a measure."""
    seen = []
    costs = iter([1, 2_000_000, 1])

    reps = calibrate(watched(hand_clock.arm(lambda: next(costs, 1000)), seen), hand_clock)

    assert reps * 1000 >= 1_000_000
    assert seen[-1] == seen[-2] == reps


def test_a_run_of_seconds_is_not_taken_a_third_time(hand_clock):
    seen = []

    reps = calibrate(watched(hand_clock.arm(2_000_000_000), seen), hand_clock)

    assert seen == [1, 1]
    assert reps == 1


def test_an_arm_that_takes_no_time_at_first_is_calibrated(hand_clock):
    costs = iter([0, 0, 0])

    assert calibrate(hand_clock.arm(lambda: next(costs, 50)), hand_clock) * 50 >= 1_000_000


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


def test_more_rounds_can_be_asked_for_at_least():
    assert plan_rounds({"a": 1e9}, 1, least=9) == {"a": 9}


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


def drawn(seed, first=0):
    plan = {"a": 30, "b": 30, "c": 30}
    batches = rounds([silent(x) for x in plan], dict.fromkeys(plan, 1000), np.random.default_rng(seed), plan, first=first)
    return list(batches)


def test_the_order_within_a_round_is_drawn_anew():
    orders = Counter("".join(s.label for s in batch) for batch in drawn(0))

    assert len(orders) == 6
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert all([s.position for s in batch] == [0, 1, 2] for batch in drawn(0))


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


def test_the_numbers_of_further_rounds_go_on():
    assert [batch[0].round for batch in drawn(0, first=40)] == list(range(40, 70))


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


def test_a_compilation_during_a_batch_is_counted_in_its_sample():
    fresh = njit(lambda x: x + 1)
    compiling = Case("fresh", "call", lambda reps: fresh(1))

    first, second = (b[0] for b in rounds([compiling], {"fresh": 1}, np.random.default_rng(0), {"fresh": 2}))

    assert first.compiled >= 1
    assert second.compiled == 0


def test_a_sample_knows_the_cpu_time_of_its_thread():
    """A pause is time on the wall and none of the processor's; busy work is both."""
    busy = Case("busy", "call", lambda reps: sum(range(200_000)))

    (sample,) = next(rounds([busy], {"busy": 1}, np.random.default_rng(0), {"busy": 1}))

    assert sample.cpu_ns > 0
    assert sample.switches >= 0


def test_time_per_run_is_that_of_the_batch_over_its_runs():
    assert Sample("x", 0, 0, reps=8, elapsed_ns=100, cpu_ns=0, switches=0, compiled=0).per_run_ns == 12.5


@pytest.mark.parametrize("reps", [0, 1, 100])
def test_call_scope_calls_as_often_as_told(reps):
    seen = []

    case("list", seen.append, (3,), "call").run(reps)

    assert seen == [3] * reps


def test_kernel_scope_runs_compiled_code():
    kernel = case("double", _double, (21,), "kernel")

    kernel.run(10)

    assert (kernel.label, kernel.scope) == ("double", "kernel")
    assert len(_double.signatures) == 1


def test_an_unknown_scope_is_refused(refused):
    with refused(ValueError, "scope must be one of kernel, call", "got 'loop'"):
        case("double", _double, (1,), "loop")


def test_kernel_scope_needs_something_compiled(refused):
    with refused(TypeError, "scope 'kernel' needs a function compiled by numba.njit", "got sorted", "scope='call'"):
        case("sorted", sorted, ([1],), "kernel")


@pytest.mark.parametrize("hidden", [*FLOORS.values(), CANARY], ids=lambda c: f"{c.label} {c.scope}")
def test_floors_and_canary_run_as_often_as_told(hidden):
    hidden.run(1)
    start = time.thread_time_ns()
    hidden.run(100)
    few = time.thread_time_ns() - start
    start = time.thread_time_ns()
    hidden.run(5_000_000)

    assert time.thread_time_ns() - start > 10 * few


def state():
    blas = sorted((pool["user_api"], pool["num_threads"]) for pool in threadpool_info())
    return gc.isenabled(), numba.get_num_threads(), blas


def test_quiet_sets_threads_and_stops_the_collector():
    with quiet(1):
        collecting, threads, blas = state()

    assert not collecting
    assert threads == 1
    assert all(count == 1 for _, count in blas)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_quiet_restores_everything_however_it_ends(error):
    before = state()

    try:
        with quiet(1):
            if error:
                raise error
    except (ValueError, KeyboardInterrupt, SystemExit) as caught:
        assert type(caught) is error

    assert state() == before


def test_quiet_leaves_a_stopped_collector_stopped():
    gc.disable()
    try:
        with quiet():
            pass

        assert not gc.isenabled()
    finally:
        gc.enable()


def test_quiet_within_quiet_restores_step_by_step():
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
