"""Measurements and comparisons on a simulated clock, exact to the nanosecond; a few on the real one, without its times."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit

from perflib import compare, kernels, measure
from perflib.kernels import WrongResult
from perflib.measure import _duration, _verdict, judge
from perflib.sampling import Case, Sample
from perflib.stats import Interval, median_interval


@njit
def _sum_of_squares(x):
    return (x * x).sum()


@pytest.fixture
def simulated(hand_clock, monkeypatch):
    """Make functions that take a given time on the hand-driven clock; the empty loop takes 10 ns there, the canary 2.

    Nothing is interrupted there, however busy the machine is.
    """
    module = sys.modules["perflib.measure"]
    calm = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_nivcsw=0))
    monkeypatch.setattr("perflib.sampling.resource", calm)
    floors = {scope: Case("floor", scope, hand_clock.arm(10)) for scope in ("call", "kernel")}
    monkeypatch.setattr(module, "FLOORS", floors)
    monkeypatch.setattr(module, "CANARY", Case("canary", "kernel", hand_clock.arm(2)))

    def function(cost_ns):
        def work():
            hand_clock.now_ns += round(cost_ns() if callable(cost_ns) else cost_ns)

        return work

    return function


def noise(seed, middle_ns, spread):
    rng = np.random.default_rng(seed)
    return lambda: middle_ns * math.exp(spread * rng.standard_normal())


def samples(times_ns, compiled=0, switches=0):
    """One sample per time, of one run each."""
    return [Sample("x", i, 0, 1, int(ns), int(ns), switches, compiled) for i, ns in enumerate(times_ns)]


STEADY = 1000 + np.random.default_rng(0).permutation(30)


def judged(times_ns=STEADY, canary_ns=STEADY, net=None, **counts):
    own = samples(times_ns, **counts)
    return judge(own, samples(canary_ns), net or median_interval(times_ns))


def test_gross_floor_and_net_are_all_kept(simulated, hand_clock):
    found = measure(simulated(1000), clock=hand_clock)

    assert (found.gross_ns.value, found.floor_ns.value, found.time_ns.value) == (1000, 10, 990)
    assert found.time_ns.low == found.time_ns.high == 990
    assert (found.state, found.reasons, found.scope, found.label) == ("stable", (), "call", "work")


def test_a_steady_function_gets_thirty_rounds_and_ends_by_its_half_width(simulated, hand_clock):
    found = measure(simulated(1000), clock=hand_clock)

    assert [s.round for s in found.samples] == list(range(30))
    assert found.ended_by == "half-width"
    assert all(s.elapsed_ns >= 1_000_000 for s in found.samples)


def test_a_long_function_gets_six_rounds(simulated, hand_clock):
    found = measure(simulated(10_000_000_000), budget_s=0.5, clock=hand_clock)

    assert len(found.samples) == 6
    assert found.time_ns.coverage > 0.95


def test_rounds_are_added_until_the_interval_is_narrow(simulated, hand_clock):
    found = measure(simulated(noise(0, 2_000_000, 0.03)), budget_s=1000, clock=hand_clock)

    assert found.ended_by == "half-width"
    assert found.gross_ns.half_width <= 0.01
    assert len(found.samples) > 30
    assert len({s.round for s in found.samples}) == len(found.samples)


def test_rounds_end_with_the_budget(simulated, hand_clock):
    found = measure(simulated(noise(0, 2_000_000, 0.5)), budget_s=0.3, clock=hand_clock)

    assert found.ended_by == "budget"
    assert found.state == "noisy"
    assert any("half-width" in reason for reason in found.reasons)


def test_work_over_time_is_a_rate(simulated, hand_clock):
    found = measure(simulated(1010), flops=3000, bytes=500, clock=hand_clock)

    assert found.gflops.value == 3
    assert found.gb_per_s.value == 0.5


def test_without_counted_work_there_is_no_rate(simulated, hand_clock):
    found = measure(simulated(1000), clock=hand_clock)

    assert found.gflops is None
    assert found.gb_per_s is None


def test_a_function_that_costs_nothing_is_invalid_and_has_no_rate(simulated, hand_clock):
    found = measure(simulated(10), flops=1000, clock=hand_clock)

    assert found.state == "invalid"
    assert "not distinguishable from an empty body" in found.reasons[0]
    assert found.gflops is None


def test_a_measurement_is_one_line_with_its_unit_interval_and_state(simulated, hand_clock):
    found = measure(simulated(1_500_010), flops=3_000_000, bytes=6_000_000, clock=hand_clock)

    assert str(found) == repr(found) == "work: 1.5 ms [1.5, 1.5] (call scope, 2 GFLOP/s, 4 GB/s), stable"


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0.5, "0.5 ns"),
        (999, "999 ns"),
        (1000, "1 us"),
        (2_500_000, "2.5 ms"),
        (7e9, "7 s"),
        (9e12, "9000 s"),
        (-3, "-3 ns"),
    ],
)
def test_a_duration_is_shown_in_the_unit_that_suits_it(ns, text):
    assert _duration(Interval(ns, ns, ns, 0.95)).startswith(f"{text} [")


@pytest.mark.parametrize("name", ["floor", "canary"])
def test_a_function_may_be_called_what_a_hidden_one_is(simulated, hand_clock, name):
    work = simulated(1000)
    work.__name__ = name

    found = measure(work, clock=hand_clock)

    assert (found.label, found.time_ns.value, len(found.samples)) == (name, 990, 30)


def test_a_wrong_result_is_wrong_and_not_fast(refused):
    with refused(WrongResult, "wrong: result[1] must be 2", "got 3"):
        measure(wrong, exact=(np.array([1.0, 2.0]), 1e-9))


def wrong():
    return np.array([1.0, 3.0])


def test_a_right_result_is_measured(simulated, hand_clock):
    work = simulated(1000)

    found = measure(lambda: work() or np.ones(2), exact=(np.ones(2), 1e-9), clock=hand_clock)

    assert found.time_ns.value == 990


def test_compiled_functions_are_measured_in_kernel_scope_and_others_in_call_scope():
    x = np.ones(100)

    inner, outer = measure(_sum_of_squares, x, budget_s=0.05), measure(_sum_of_squares, x, scope="call", budget_s=0.05)

    assert (inner.scope, outer.scope) == ("kernel", "call")
    assert inner.compile_s > 0
    assert outer.compile_s == 0
    assert all(s.compiled == 0 for s in (*inner.samples, *outer.samples))


def test_a_public_kernel_is_measured_in_either_scope():
    a = np.ones((8, 8), np.float32)

    found = {scope: measure(kernels.matmul_tiled, a, a.copy(), scope=scope, budget_s=0.05) for scope in ("kernel", "call")}

    assert [m.scope for m in found.values()] == ["kernel", "call"]
    assert measure(kernels.matmul_tiled, a, a.copy(), budget_s=0.05).scope == "call"


def test_the_result_of_a_public_kernel_in_kernel_scope_goes_into_out():
    x, out = np.full((2, 8), 3.0), np.full((2, 8), np.nan)

    measure(kernels.rms_norm_fast, x, np.ones(8), 1e-5, out, scope="kernel", budget_s=0.05)

    assert np.allclose(out, 1)


def test_what_a_function_raises_arrives():
    with pytest.raises(ZeroDivisionError):
        measure(lambda: 1 / 0)


@pytest.mark.parametrize("budget_s", [0, -1, math.nan])
def test_a_budget_must_be_above_zero(refused, budget_s):
    with refused(ValueError, "budget_s must be above 0", f"got {budget_s}"):
        measure(wrong, budget_s=budget_s)


def test_an_unknown_scope_is_refused(refused):
    with refused(ValueError, "scope must be one of kernel, call", "got 'python'"):
        measure(wrong, scope="python")


def test_a_python_function_has_no_kernel_scope(refused):
    with refused(TypeError, "scope 'kernel' needs a function compiled by numba.njit", "got wrong"):
        measure(wrong, scope="kernel")


def test_steady_samples_are_stable():
    assert judged() == ("stable", ())


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({"compiled": 1}, "invalid", "30 compilations during the timed part"),
        ({"net": Interval(1, -1, 3, 0.95)}, "invalid", "not distinguishable from an empty body"),
        ({"net": Interval(1, 0, 1.01, 0.95)}, "invalid", "not distinguishable from an empty body"),
        ({"net": Interval(100, 94, 106, 0.95)}, "noisy", "half-width 6.0 % of the median"),
        ({"times_ns": np.arange(1000, 1030)}, "noisy", "drift over the rounds (tau +1.00)"),
        ({"times_ns": np.arange(1030, 1000, -1)}, "noisy", "drift over the rounds (tau -1.00)"),
        ({"times_ns": 1000 + 10 * np.sin(np.arange(30) / 2)}, "noisy", "neighbouring rounds resemble each other"),
        ({"canary_ns": [1000] * 20 + [1200] * 10}, "noisy", "the canary moved by 20 %"),
        ({"switches": 1}, "noisy", "30 of 30 samples were interrupted"),
    ],
)
def test_a_state_has_its_reason(changes, state, reason):
    found, reasons = judged(**changes)

    assert found == state
    assert any(reason in r for r in reasons)
    assert all("\n" not in r for r in reasons)


@pytest.mark.parametrize("disturbed", [0, 1, 7])
def test_a_few_interruptions_are_no_reason(disturbed):
    own = samples(STEADY[:disturbed], switches=3) + samples(STEADY[disturbed:])

    assert judge(own, samples(STEADY), median_interval(STEADY)) == ("stable", ())


def test_a_canary_that_moves_by_little_is_no_reason():
    assert judged(canary_ns=[1000] * 20 + [1090] * 10) == ("stable", ())


def test_all_reasons_are_given_and_invalid_beats_noisy():
    state, reasons = judged(
        times_ns=np.arange(100, 130), net=Interval(1, -1, 3, 0.95), canary_ns=[10, 20] * 15, compiled=2, switches=1
    )

    assert state == "invalid"
    assert len(reasons) == 7
    assert reasons[0].startswith("60 compilations")


@pytest.mark.parametrize(
    ("low", "high", "bound", "verdict"),
    [
        (0.80, 0.90, 0.02, "faster"),
        (1.10, 1.20, 0.02, "slower"),
        (0.99, 1.01, 0.02, "equivalent"),
        (0.90, 1.10, 0.02, "unresolved"),
        (0.97, 0.99, 0.02, "unresolved"),
        (0.80, 0.90, 0.30, "unresolved"),
        (1.10, 1.20, 0.30, "unresolved"),
        (0.99, 1.01, 0.30, "equivalent"),
        (0.30, 0.40, 0.30, "faster"),
        (1.40, 1.50, 0.30, "slower"),
    ],
)
def test_a_verdict_follows_from_interval_margin_and_bound(low, high, bound, verdict):
    """The bound is the smallest effect of the session: what the baseline shows against itself."""
    assert _verdict(Interval((low * high) ** 0.5, low, high, 0.95), margin=0.02, bound=bound) == verdict


@pytest.mark.parametrize(
    ("ns", "verdict"), [(1100, "slower"), (900, "faster"), (1010, "equivalent"), (990, "equivalent"), (1000, "equivalent")]
)
def test_a_comparison_without_noise_finds_the_exact_ratio(simulated, hand_clock, ns, verdict):
    found = compare({"old": simulated(1000), "new": simulated(ns)}, clock=hand_clock)

    assert found.ratios["new"].value == pytest.approx(ns / 1000, rel=1e-12)
    assert found.verdicts == {"new": verdict}
    assert found.again.value == pytest.approx(1)
    assert (found.baseline, found.bound) == ("old", 0.02)


def test_a_margin_says_what_counts_as_none(simulated, hand_clock):
    functions = {"old": simulated(1000), "new": simulated(1050)}

    assert compare(functions, clock=hand_clock).verdicts["new"] == "slower"
    assert compare(functions, margin=0.1, clock=hand_clock).verdicts["new"] == "equivalent"


def test_what_noise_hides_is_unresolved(simulated, hand_clock):
    functions = {"old": simulated(noise(1, 2e6, 0.3)), "new": simulated(noise(2, 2.04e6, 0.3))}

    found = compare(functions, budget_s=0.3, clock=hand_clock)

    assert found.verdicts["new"] == "unresolved"
    assert found.bound > 0.02
    assert found.bound == pytest.approx(max(-math.log(found.again.low), math.log(found.again.high)))


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

    found = compare(functions, budget_s=0.1, clock=hand_clock)

    assert set(found.verdicts.values()) == {"slower"}
    assert all(r.coverage >= 1 - 0.05 / others for r in found.ratios.values())
    assert list(found.measurements) == list(functions)


def test_a_comparison_prints_every_ratio_with_its_interval_and_verdict(simulated, hand_clock):
    lines = str(compare({"old": simulated(1010), "new": simulated(2010)}, clock=hand_clock)).splitlines()

    assert lines == [
        "old: 1 us [1, 1] (call scope), stable",
        "new: 2 us [2, 2] (call scope), stable",
        "    1.990 [1.990, 1.990] of old: slower (smallest claim 2.0 %)",
    ]


def test_a_kernel_against_itself_is_never_far_off():
    """On the real clock: a factor of two between twins would be a defect of the protocol."""
    x = np.ones(500)

    found = compare({"one": _sum_of_squares, "same": _sum_of_squares}, x, budget_s=0.3)

    assert 0.5 < found.ratios["same"].value < 2
    assert 0.5 < found.again.value < 2
    assert found.measurements["one"].scope == "kernel"


def test_a_hundredfold_is_found_on_any_machine():
    found = compare({"short": lambda: sum(range(100)), "long": lambda: sum(range(10_000))}, budget_s=0.3)

    assert found.ratios["long"].low > 5


def test_one_function_is_no_comparison(refused):
    with refused(ValueError, "functions must be at least 2", "got 1"):
        compare({"one": wrong})


@pytest.mark.parametrize("margin", [0, 1, -0.1, math.nan])
def test_a_margin_must_be_a_share(refused, margin):
    with refused(ValueError, "margin must lie between 0 and 1", f"got {margin}"):
        compare({"one": wrong, "two": wrong}, margin=margin)
