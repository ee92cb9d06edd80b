"""Slow placements on the hand-driven clock: found where they are, not where a clock is noisy, and with their cause."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from perflib.kernels.caches import Cache
from perflib.stats import median_interval
from perflib.timing import sensitivity as timing_sensitivity
from perflib.timing.case import Case
from perflib.timing.placement import Placement
from perflib.timing.sampling import rounds
from perflib.timing.sensitivity import Sensitivity, sensitivity, share_interval, together

ROUNDS, REPS = 30, 10


@pytest.fixture
def kernel(simulated, hand_clock):
    """A case whose cost is a function of where two arrays lie, as offsets within a page."""
    simulated(1)
    args = np.zeros(512), np.zeros(512)

    def make(cost_ns, step=64):
        placement = Placement(args, step)
        current = placement.bind(args)

        def run(reps):
            places = [a.__array_interface__["data"][0] % 4096 for a in current()]
            hand_clock.now_ns += round(reps * cost_ns(*places))

        return Case("kernel", "call", run, placement=placement)

    return make


@pytest.fixture
def recorded(hand_clock):
    """Thirty rounds of a case."""

    def run(case, seed, count=ROUNDS):
        rng = np.random.default_rng(seed)
        batches = rounds([case], {"kernel": REPS}, rng, {"kernel": count}, hand_clock)
        return [sample for batch in batches for sample in batch]

    return run


def heavy(seed):
    """Times with a spread of 12 %, of which every tenth takes up to twice as long: 13 % are 1.2 times the median."""
    rng = np.random.default_rng(seed)
    return lambda: math.exp(0.12 * rng.standard_normal()) * (1 + rng.random() if rng.random() < 0.1 else 1)


def aliased(x, y):
    """4K aliasing: y within 512 bytes behind x, one of eight placements."""
    return 10_000 if (y - x) % 4096 < 512 else 4000


def test_slow_placements_are_counted_with_their_share_the_worst_and_the_cause(kernel, recorded, hand_clock):
    case = kernel(aliased)
    samples = recorded(case, seed=4, count=60)

    found = sensitivity(case, samples, clock=hand_clock)

    slow = sum(s.per_run_ns == 10_000 for s in samples)
    assert (found.placements, found.slow, found.worst) == (60, slow, 2.5)
    assert 4 <= slow <= 12
    assert found.share == share_interval(slow, 60)
    assert found.cause == "4K aliasing of arguments 0 and 1"
    assert str(found).endswith("cost more than 1.2 times the median, the worst 2.5 times: 4K aliasing of arguments 0 and 1")


def test_a_placement_that_is_slow_once_is_not_counted(kernel, recorded, hand_clock):
    costs = iter([4000, 4000, 9000] * 3)
    case = kernel(lambda x, y: next(costs, 4000))
    samples = recorded(case, seed=0)

    found = sensitivity(case, samples, clock=hand_clock)

    assert max(s.per_run_ns for s in samples) > 4800
    assert (found.slow, found.worst, found.cause) == (0, 1, None)
    assert found.share.low == 0


def test_a_machine_that_slows_down_makes_no_placement_slow(kernel, recorded, hand_clock):
    """One sample was long, and from the end of the rounds on all of it takes twice as long."""
    state = SimpleNamespace(factor=1)
    case = kernel(lambda x, y: state.factor * 4000)
    samples = recorded(case, seed=0)
    samples[3] = replace(samples[3], elapsed_ns=2 * samples[3].elapsed_ns)
    state.factor = 2

    found = sensitivity(case, samples, clock=hand_clock)

    assert (found.slow, found.worst) == (0, 1)


def test_samples_and_visits_that_were_interrupted_prove_nothing(kernel, recorded, hand_clock, monkeypatch):
    case = kernel(lambda x, y: 4000)
    samples = recorded(case, seed=0)
    samples[3], samples[5] = replace(samples[3], elapsed_ns=10**6, switches=1), replace(samples[5], elapsed_ns=10**6)
    visits = iter([10**6, 10**6, None] * 99)
    take = timing_sensitivity.take_sample

    def interrupted(*args):
        longer = next(visits)
        sample = take(*args)
        return replace(sample, elapsed_ns=longer, switches=1) if longer else sample

    monkeypatch.setattr(timing_sensitivity, "take_sample", interrupted)

    found = sensitivity(case, samples, clock=hand_clock)

    assert (found.placements, found.slow) == (29, 0)


def test_without_draws_in_every_round_there_is_no_answer(kernel, recorded, hand_clock, monkeypatch):
    case = kernel(aliased)
    samples = recorded(case, seed=0)

    assert sensitivity(case, samples[:5], clock=hand_clock) is None
    assert sensitivity(case, samples, limit_s=1e-9, clock=hand_clock) is None
    assert sensitivity(Case("plain", "call", case.run), samples, clock=hand_clock) is None
    monkeypatch.setattr(Placement, "period", 5)
    assert sensitivity(case, samples, clock=hand_clock) is None


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(0, 30, 0, 0.1157), (7, 30, 0.0993, 0.4228), (30, 30, 0.8843, 1), (1, 2, 0.0126, 0.9874)],
)
def test_the_interval_of_a_share_is_the_exact_binomial_one(hits, count, low, high):
    found = share_interval(hits, count)

    assert (found.value, found.low, found.high) == pytest.approx((hits / count, low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("places", "cause"), [([16, 32] * 4 + [0] * 12, "lines split by argument 0"), ([0] * 8 + [16] * 12, None)]
)
def test_lines_that_are_split_are_a_cause_and_others_are_none(places, cause):
    where = SimpleNamespace(addresses=lambda number: {"0": (places[number], 64)})

    assert timing_sensitivity._cause(SimpleNamespace(placement=where), range(8), range(8, 20)) == cause


def test_sets_that_lines_share_are_a_cause(monkeypatch):
    """Two arrays of a page in a first cache of two pages and two ways: their lines share sets wherever they begin."""
    monkeypatch.setattr(timing_sensitivity, "reported_caches", lambda: (Cache(1, "Data", 8192, 64, 2, 64),))

    assert timing_sensitivity._beyond_the_ways({"0": (0, 4096), "1": (4096, 4096)}) == 0
    assert timing_sensitivity._beyond_the_ways({"0": (64, 64), "1": (4160, 64), "2": (8256, 64)}) == 1
    assert timing_sensitivity._beyond_the_ways({"0": (0, 20_000)}) == 0, "too large to be in it at all"


def test_a_cause_that_others_share_is_not_named(kernel, recorded, hand_clock):
    """Slow at random places, by a sum of both offsets."""
    case = kernel(lambda x, y: 10_000 if (7 * x + 5 * y) // 64 % 10 == 0 else 4000)

    found = sensitivity(case, recorded(case, 1, 60), clock=hand_clock)

    assert found.slow > 0
    assert found.cause is None


def test_processes_are_put_together():
    one = Sensitivity(30, 3, share_interval(3, 30), 1.5, None)
    two = Sensitivity(20, 2, share_interval(2, 20), 2.5, "4K aliasing of arguments 0 and 1")

    found = together([one, two])

    assert (found.placements, found.slow, found.worst, found.cause) == (50, 5, 2.5, two.cause)
    assert found.share == share_interval(5, 50)
    assert together([]) is None


def test_an_interval_over_placements_covers_the_true_median(kernel, recorded):
    """1,000 recordings of a kernel whose time depends on the distance of its arrays, and on noise of 3 %."""
    rng = np.random.default_rng(1)

    def cost_ns(x, y):
        return 4000 * (1 + 0.5 * math.exp(-((y - x) % 4096) / 1000)) * math.exp(0.03 * rng.standard_normal())

    case, hits = kernel(cost_ns), 0
    distances = 64 * np.arange(64)
    means = 1 + 0.5 * np.exp(-distances / 1000)
    true_ns = float(np.median(4000 * means[rng.integers(0, 64, 10**6)] * np.exp(0.03 * rng.standard_normal(10**6))))

    for number in range(1000):
        interval = median_interval([s.per_run_ns for s in recorded(case, number)], serial=True)
        hits += interval.low <= true_ns <= interval.high

    assert 930 <= hits <= 980


def test_noise_is_hardly_ever_called_sensitivity(kernel, recorded, hand_clock):
    noise = heavy(2)
    case, wrong = kernel(lambda x, y: 4000 * noise()), 0

    for number in range(1000):
        wrong += sensitivity(case, recorded(case, number), clock=hand_clock).slow > 0

    assert wrong <= 20


def test_sensitivity_is_found_beneath_noise_and_named(kernel, recorded, hand_clock):
    noise = heavy(3)
    case = kernel(lambda x, y: aliased(x, y) * noise())

    found = [sensitivity(case, recorded(case, number, 60), clock=hand_clock) for number in range(100)]

    assert sum(f.slow > 0 for f in found) >= 98
    assert sum(f.cause == "4K aliasing of arguments 0 and 1" for f in found) >= 80
    assert {f.cause for f in found} <= {None, "4K aliasing of arguments 0 and 1"}
