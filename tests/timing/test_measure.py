"""Measurements on the hand-driven clock, exact to the nanosecond; some on the real one, without its times."""

import itertools
import math
import sys

import numpy as np
import pytest
from numba import jit, njit

from perflib import compare, kernels, measure
from perflib.errors import Unmeasurable
from perflib.kernels import WrongResult
from perflib.stats import Interval

BRIEF = {"budget_s": 0.02}


@njit
def _sum_of_squares(x):
    return (x * x).sum()


@njit
def _square(x):
    return x * x


@jit(forceobj=True)
def _in_object_mode(x):
    return len([*x])


def noise(seed, middle_ns, spread):
    rng = np.random.default_rng(seed)
    return lambda: middle_ns * math.exp(spread * rng.standard_normal())


@pytest.fixture
def roof(monkeypatch):
    """Set the machine's peak in GFLOP/s instead of measuring it."""
    return lambda gflops: monkeypatch.setattr(
        sys.modules["perflib.timing.measure"], "peak_gflops", lambda: Interval(gflops, gflops, gflops, 0.95)
    )


@pytest.fixture
def never():
    """A function that must not be called."""

    def never_called(*args):
        raise AssertionError("called before it was refused")

    return never_called


def test_gross_floor_and_net_are_all_kept(simulated, hand_clock):
    found = measure(simulated(1000), clock=hand_clock, seed=7)

    assert (found.gross_ns.value, found.floor_ns.value, found.time_ns.value) == (1000, 10, 990)
    assert found.time_ns.low == found.time_ns.high == 990
    assert (found.state, found.reasons, found.scope, found.label) == ("stable", (), "call", "work")
    assert (found.mode, found.seed, found.compile_s, found.call, found.processes_ns) == ("throughput", 7, 0, None, ())


def test_a_steady_function_gets_thirty_rounds_and_ends_by_its_half_width(simulated, hand_clock):
    found = measure(simulated(1000), clock=hand_clock)

    assert [s.round for s in found.samples] == list(range(30))
    assert found.ended_by == "half-width"
    assert all(s.elapsed_ns >= 1_000_000 for s in found.samples)


@pytest.mark.parametrize("budget_s", [10, 11, 50])
def test_a_call_somewhat_below_the_budget_gets_six_rounds(simulated, hand_clock, budget_s):
    found = measure(simulated(10_000_000_000), budget_s=budget_s, clock=hand_clock)

    assert len(found.samples) == 6
    assert found.time_ns.coverage > 0.95


def test_a_call_longer_than_the_budget_is_refused_with_the_budget_it_needs(simulated, hand_clock, refused):
    with refused(ValueError, "budget_s must be at least 60 for six calls of work, which takes 10 s a call; got 9.9"):
        measure(simulated(10_000_000_000), budget_s=9.9, clock=hand_clock)


def test_rounds_are_added_until_the_interval_is_narrow(simulated, hand_clock):
    found = measure(simulated(noise(0, 2_000_000, 0.03)), budget_s=1000, clock=hand_clock)

    assert found.ended_by == "half-width"
    assert found.gross_ns.half_width <= 0.01
    assert len(found.samples) > 30
    assert len({s.round for s in found.samples}) == len(found.samples)


def test_rounds_end_with_the_budget(simulated, hand_clock):
    found = measure(simulated(noise(0, 2_000_000, 0.5)), budget_s=0.3, clock=hand_clock)

    assert (found.ended_by, found.state) == ("budget", "noisy")
    assert any("half-width" in reason for reason in found.reasons)


def test_work_over_time_is_a_rate(simulated, hand_clock, roof):
    roof(3)
    found = measure(simulated(1010), flops=3000, bytes=500, clock=hand_clock)

    assert (found.gflops.value, found.gb_per_s.value, found.state) == (3, 0.5, "stable")


@pytest.mark.parametrize(("threads", "state"), [(1, "invalid"), (2, "stable")])
def test_a_rate_above_the_roof_of_the_cores_is_invalid(simulated, hand_clock, roof, threads, state):
    roof(2)
    found = measure(simulated(1010), flops=3000, threads=threads, clock=hand_clock)

    assert found.state == state
    assert [r.partition(" is above")[0] for r in found.reasons] == (["3 GFLOP/s"] if state == "invalid" else [])


def test_a_function_that_costs_nothing_is_invalid(simulated, hand_clock):
    found = measure(simulated(10), clock=hand_clock)

    assert found.state == "invalid"
    assert "not distinguishable from an empty body" in found.reasons[0]


@pytest.mark.parametrize("name", ["floor", "canary", "<lambda>"])
def test_a_function_may_be_called_what_a_hidden_one_is(simulated, hand_clock, name):
    found = measure(simulated(1000, name), clock=hand_clock)

    assert (found.label, found.time_ns.value, len(found.samples)) == (name, 990, 30)


def test_results_that_vary_are_noted(simulated, hand_clock):
    work, results = simulated(1000), itertools.count()

    found = measure(lambda: work() or next(results), clock=hand_clock)

    assert (found.state, found.reasons) == ("noisy", ("results differ from call to call: runs may not do the same work",))


@pytest.mark.parametrize("kind", ["first", "every"])
def test_a_compilation_in_the_time_is_invalid_and_one_before_is_not(simulated, hand_clock, kind):
    work = simulated(1_000_000_000)
    fresh = njit(lambda x: x + 1)

    def compiles():
        work()
        fresh(1) if kind == "first" else njit(lambda x: x + 1)(1)

    found = measure(compiles, budget_s=2, clock=hand_clock)

    assert found.compile_s == 1
    assert found.state == ("stable" if kind == "first" else "invalid")


def wrong():
    return np.array([1.0, 3.0])


def test_a_wrong_result_is_wrong_and_not_fast(refused):
    with refused(WrongResult, "wrong: result[1] must be 2", "got 3"):
        measure(wrong, exact=(np.array([1.0, 2.0]), 1e-9))


def test_a_right_result_is_measured(simulated, hand_clock):
    work = simulated(1000)

    found = measure(lambda: work() or np.ones(2), exact=(np.ones(2), 1e-9), clock=hand_clock)

    assert found.time_ns.value == 990


def test_a_compiled_function_is_measured_in_both_scopes_with_the_dispatch_between_them():
    found = measure(njit(lambda x: (x * x).sum()), np.ones(100), **BRIEF)

    assert (found.scope, found.call.scope, found.call.label) == ("kernel", "call", found.label)
    assert found.compile_s > found.call.compile_s > 0, "the loop around it is compiled as well"
    assert all(s.compiled == 0 for s in (*found.samples, *found.call.samples))
    assert found.dispatch_ns.low <= found.dispatch_ns.value <= found.dispatch_ns.high
    assert {s.round for s in found.samples} == {s.round for s in found.call.samples}


@pytest.mark.parametrize("scope", ["kernel", "call"])
def test_one_scope_can_be_named(scope):
    found = measure(_sum_of_squares, np.ones(100), scope=scope, **BRIEF)

    assert (found.scope, found.call, found.dispatch_ns) == (scope, None, None)


def test_a_described_public_kernel_has_both_scopes():
    a = np.ones((8, 8), np.float32)

    found = measure(kernels.matmul_tiled, a, a.copy(), **BRIEF)
    other = measure(kernels.find("numpy_matmul").call, a, a.copy(), **BRIEF)

    assert (found.scope, found.call.scope, found.notes) == ("kernel", "call", ())
    assert (other.scope, other.call) == ("call", None)


def test_the_result_of_a_public_kernel_goes_into_out():
    x, out = np.full((2, 8), 3.0), np.full((2, 8), np.nan)

    measure(kernels.rms_norm_fast, x, np.ones(8), 1e-5, out, scope="kernel", **BRIEF)

    assert np.allclose(out, 1)


def test_what_numba_cannot_compile_is_measured_from_python_and_says_so(refused):
    found = measure(_in_object_mode, [1, 2], **BRIEF)

    assert (found.scope, found.call) == ("call", None)
    assert found.notes[0].startswith("no kernel scope: Numba cannot compile it in nopython mode: ")
    assert "\n" not in found.notes[0]
    with refused(TypeError, "_in_object_mode has no kernel scope", "use scope='call'"):
        measure(_in_object_mode, [1, 2], scope="kernel", **BRIEF)


@pytest.mark.parametrize(
    ("first", "state"),
    [(np.ones(4), "valid"), (np.full(4, 2.0), "invalid"), (1, "valid"), (2.0, "invalid"), (1 + 0j, "valid")],
)
def test_a_chain_that_runs_away_is_invalid(first, state):
    with np.errstate(over="ignore"):
        found = measure(_square, first, mode="latency", **BRIEF)

    runs_away = [any("the chain of runs ended in NaN or infinity" in r for r in m.reasons) for m in (found, found.call)]
    assert runs_away == [state == "invalid"] * 2
    assert found.mode == found.call.mode == "latency"


def test_in_latency_mode_the_arrays_of_the_caller_stay():
    x, out = np.full((2, 8), 3.0), np.zeros((2, 8))

    found = measure(kernels.rms_norm_fast, x, np.ones(8), 1e-5, out, mode="latency", **BRIEF)

    assert (x == 3).all()
    assert not any("NaN" in r for r in found.reasons)


def test_cold_says_how_cold_it_was(monkeypatch):
    monkeypatch.setattr("perflib.timing.cold_cache._pool_bytes", lambda: 1 << 16)

    found = measure(_sum_of_squares, np.ones(8), mode="cold", **BRIEF)

    assert found.mode == "cold"
    assert all("shown to be cold: reading the next of 1024 sets" in m.notes[0] for m in (found, found.call))


def test_what_a_function_raises_is_one_line(refused):
    with refused(Unmeasurable, "<lambda> must not raise, got ZeroDivisionError: division by zero"):
        measure(lambda: 1 / 0)


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"budget_s": 0}, ValueError, "budget_s must be above 0, got 0"),
        ({"budget_s": math.nan}, ValueError, "budget_s must be above 0, got nan"),
        ({"scope": "python"}, ValueError, "scope must be one of kernel, call; got 'python'"),
        ({"scope": ""}, ValueError, "scope must be one of kernel, call; got ''"),
        ({"mode": "warm"}, ValueError, "mode must be one of throughput, latency, cold; got 'warm'"),
        ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
        ({"threads": 1.5}, TypeError, "threads must be an integer of at least 1, got 1.5"),
    ],
)
def test_settings_are_refused_before_anything_is_called(never, refused, settings, kind, words):
    with refused(kind, words):
        measure(never, **settings)
    with refused(kind, words):
        compare({"one": never, "two": never}, **settings)


@pytest.mark.parametrize("processes", [0, -1])
def test_there_is_at_least_one_process(never, refused, processes):
    with refused(ValueError, "processes must be at least 1", f"got {processes}"):
        measure(never, processes=processes)


def test_a_python_function_has_no_kernel_scope(refused):
    with refused(TypeError, "scope 'kernel' needs a function compiled by numba.njit", "got wrong"):
        measure(wrong, scope="kernel")
