"""Comparisons on the hand-driven clock: exact ratios, the hidden pair, verdicts; two on the real one."""

import math

import numpy as np
import pytest
from numba import jit, njit

from perflib import compare, kernels
from perflib.stats import Interval
from perflib.timing import measure

pytestmark = pytest.mark.filterwarnings("ignore:.*does not compute what")  # most functions here are no alternatives


@njit
def _sum_of_squares(x):
    return (x * x).sum()


@njit
def _nothing(x):
    return 0.0


def total(x):
    return x.sum()


def noise(seed, middle_ns, spread):
    rng = np.random.default_rng(seed)
    return lambda: middle_ns * math.exp(spread * rng.standard_normal())


@pytest.mark.parametrize(
    ("ns", "verdict"), [(1100, "slower"), (900, "faster"), (1010, "equivalent"), (990, "equivalent"), (1000, "equivalent")]
)
def test_a_comparison_without_noise_finds_the_exact_ratio(simulated, hand_clock, ns, verdict):
    found = compare({"old": simulated(1000), "new": simulated(ns)}, clock=hand_clock, seed=5)

    assert found.ratios["new"].value == pytest.approx(ns / 1000, rel=1e-12)
    assert found.verdicts == {"new": verdict}
    assert found.again.value == pytest.approx(1)
    assert (found.baseline, found.bound) == ("old", 0.02)
    assert [m.seed for m in found.measurements.values()] == [5, 5]


def test_a_margin_says_what_counts_as_none(simulated, hand_clock):
    functions = {"old": simulated(1000), "new": simulated(1050)}

    assert compare(functions, clock=hand_clock).verdicts["new"] == "slower"
    assert compare(functions, margin=0.1, clock=hand_clock).verdicts["new"] == "equivalent"


def test_what_noise_hides_is_unresolved(simulated, hand_clock):
    """No effect smaller than what the baseline shows against itself may be claimed."""
    functions = {"old": simulated(noise(1, 2e6, 0.3)), "new": simulated(noise(2, 2.04e6, 0.3))}

    found = compare(functions, budget_s=0.3, clock=hand_clock)

    assert found.verdicts["new"] == "unresolved"
    assert found.bound == pytest.approx(max(1 / found.again.low, found.again.high) - 1)
    assert found.bound > 0.02


def test_between_the_margin_and_what_the_baseline_shows_against_itself_nothing_is_claimed(measurement):
    pair, both = Interval(1.0, 0.9, 1.1, 0.95), {"old": measurement(), "new": measurement()}

    def verdict(low, high):
        over = {"new": Interval((low + high) / 2, low, high, 0.95)}
        return measure._comparison(both, over, pair, 0.02).verdicts["new"]

    assert [verdict(*ends) for ends in ((1.05, 1.08), (0.92, 0.95), (0.95, 1.05))] == 3 * ["unresolved"]
    assert [verdict(*ends) for ends in ((1.12, 1.2), (0.8, 0.89), (0.99, 1.01))] == ["slower", "faster", "equivalent"]


def test_rounds_are_added_until_every_ratio_is_narrow(simulated, hand_clock):
    functions = {name: simulated(noise(seed, 2e6, 0.03)) for seed, name in enumerate("abc")}

    found = compare(functions, budget_s=1000, clock=hand_clock)

    assert {m.ended_by for m in found.measurements.values()} == {"half-width"}
    assert all(r.half_width <= 0.01 for r in (found.again, *found.ratios.values()))
    assert len(found.measurements["a"].samples) > 30


def test_slow_and_quick_functions_are_compared_in_shared_rounds(simulated, hand_clock):
    """The slow one gets fewer rounds from the budget, and every one of them has its pair."""
    found = compare({"quick": simulated(1000), "slow": simulated(45_000_000)}, budget_s=1, clock=hand_clock)

    rounds = {name: {s.round for s in m.samples} for name, m in found.measurements.items()}
    assert 6 <= len(rounds["slow"]) < len(rounds["quick"])
    assert rounds["slow"] < rounds["quick"]
    assert found.verdicts == {"slow": "slower"}


@pytest.mark.parametrize("others", [2, 5, 20])
def test_several_slow_functions_get_rounds_enough_for_their_intervals(simulated, hand_clock, others):
    """Six samples have no interval once the error rate is divided by two."""
    functions = {"base": simulated(5e9)} | {f"other {i}": simulated(6e9) for i in range(others)}

    found = compare(functions, budget_s=7, clock=hand_clock)

    assert set(found.verdicts.values()) == {"slower"}
    assert all(r.coverage >= 1 - 0.05 / others for r in found.ratios.values())
    assert list(found.measurements) == list(functions)


@pytest.mark.parametrize(("old_ns", "new_ns"), [(10, 1000), (1000, 10)])
def test_an_invalid_measurement_leaves_it_unresolved_on_either_side(simulated, hand_clock, old_ns, new_ns):
    """Work that was eliminated is not faster."""
    functions = {"old": simulated(old_ns), "new": simulated(new_ns), "third": simulated(1000)}

    found = compare(functions, clock=hand_clock)

    assert found.verdicts["new"] == "unresolved"
    assert found.verdicts["third"] == ("equivalent" if old_ns == 1000 else "unresolved")
    assert "invalid" in {m.state for m in found.measurements.values()}


def test_a_call_longer_than_the_budget_is_refused_by_its_name(simulated, hand_clock, refused):
    with refused(ValueError, "budget_s must be at least", "six calls of slow", "got 1"):
        compare({"quick": simulated(1000), "slow": simulated(5e9)}, budget_s=1, clock=hand_clock)


@pytest.mark.parametrize(
    ("functions", "scope"),
    [
        ({"one": _sum_of_squares, "two": total}, "call"),
        ({"one": _sum_of_squares, "two": jit(lambda x: x.sum() * 2)}, "kernel"),
    ],
)
def test_compiled_functions_are_compared_in_kernel_scope_if_all_are(functions, scope):
    found = compare(functions, np.ones(100), budget_s=0.02)

    assert {m.scope for m in found.measurements.values()} == {scope}


def test_public_kernels_are_compared_by_their_machine_code():
    a = np.ones((8, 8), np.float32)

    found = compare({"a": kernels.matmul_naive, "b": kernels.matmul_ikj}, a, a.copy(), budget_s=0.02)

    assert [m.scope for m in found.measurements.values()] == ["kernel", "kernel"]


@pytest.mark.parametrize("mode", ["latency", "cold"])
def test_a_mode_is_the_same_for_all(monkeypatch, mode):
    monkeypatch.setattr("perflib.timing.cold_cache._pool_bytes", lambda: 1 << 16)
    functions = {"copy": np.copy, "negative": np.negative}

    found = compare(functions, np.ones(100), mode=mode, budget_s=0.02)

    assert {m.mode for m in found.measurements.values()} == {mode}


def test_an_eliminated_body_is_not_faster_on_the_real_clock():
    found = compare({"work": _sum_of_squares, "nothing": _nothing}, np.ones(100), budget_s=0.1)

    assert found.measurements["nothing"].state == "invalid"
    assert found.verdicts == {"nothing": "unresolved"}


def test_a_kernel_against_itself_is_never_far_off():
    """On the real clock: a factor of two between twins would be a defect of the protocol."""
    found = compare({"one": _sum_of_squares, "same": _sum_of_squares}, np.ones(500), budget_s=0.3)

    assert 0.5 < found.ratios["same"].value < 2
    assert 0.5 < found.again.value < 2
    assert found.measurements["one"].scope == "kernel"


def test_a_hundredfold_is_found_on_any_machine():
    found = compare({"short": lambda: sum(range(100)), "long": lambda: sum(range(10_000))}, budget_s=0.3)

    assert found.ratios["long"].low > 5


def test_one_function_is_no_comparison(refused):
    with refused(ValueError, "functions must be at least 2", "got 1"):
        compare({"one": total})


@pytest.mark.parametrize("margin", [0, 1, -0.1, math.nan])
def test_a_margin_must_be_a_share(refused, margin):
    with refused(ValueError, "margin must lie between 0 and 1", f"got {margin}"):
        compare({"one": total, "two": total}, margin=margin)
