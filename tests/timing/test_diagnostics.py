"""Every reason for a state, alone and together, on both sides of its threshold; no clock."""

import numpy as np
import pytest

from perflib.stats import Interval, median_interval
from perflib.timing.diagnostics import Evidence, judge, verdict

STEADY = 1000 + np.random.default_rng(0).permutation(30)
FLOOR = Interval(10, 9, 11, 0.95)


@pytest.fixture
def judged(sample):
    """State and reasons for thirty steady samples, the first `disturbed` of them with `changes`; cpu: share of the time."""

    def run(times_ns=STEADY, canary_ns=STEADY, disturbed=0, changes=None, **evidence):
        def told(ns):
            return {k: v for k, v in changes.items() if k != "cpu"} | {"cpu_ns": round(changes.get("cpu", 1) * ns)}

        own = [sample(ns, i, **(told(ns) if i < disturbed else {})) for i, ns in enumerate(times_ns)]
        canary = [sample(ns, i) for i, ns in enumerate(canary_ns)]
        return judge(Evidence(own, canary, **{"net": median_interval(times_ns), "floor": FLOOR, **evidence}))

    return run


def test_steady_samples_are_stable(judged):
    assert judged() == ("stable", ())


@pytest.mark.parametrize(
    ("disturbed", "changes", "reason"),
    [
        (1, {"compiled": 2}, "2 compilations during the timed part"),
        (30, {"compiled": 1}, "30 compilations during the timed part"),
    ],
)
def test_a_compilation_makes_it_invalid(judged, disturbed, changes, reason):
    assert judged(disturbed=disturbed, changes=changes) == ("invalid", (reason,))


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        ({"net": Interval(1, 0, 1.01, 0.95)}, "not distinguishable from an empty body"),
        ({"net": Interval(12, 11, 13, 0.95), "scope": "kernel"}, "not distinguishable from an empty body"),
        ({"flops": 100_000, "peak_gflops": 89}, "98.6 GFLOP/s is above the measured peak of 89"),
        ({"overflowed": True}, "the chain of runs ended in NaN or infinity"),
    ],
)
def test_a_wrong_number_is_invalid(judged, evidence, reason):
    state, reasons = judged(**evidence)

    assert state == "invalid"
    assert reasons[0].startswith(reason)


@pytest.mark.parametrize(
    "evidence",
    [
        {"net": Interval(1, 0.97, 1.03, 0.95)},
        {"net": Interval(12, 11.5, 12.5, 0.95), "scope": "kernel"},
        {"flops": 100_000, "peak_gflops": 90},
        {"flops": 100_000},
        {"net": Interval(100, 95, 105, 0.95)},
        {"garbage": 10_000},
    ],
    ids=["a call above nothing", "a kernel above a floor", "just below the roof", "no roof", "half-width", "garbage"],
)
def test_just_on_the_other_side_of_a_threshold_there_is_no_reason(judged, evidence):
    assert judged(**evidence) == ("stable", ())


@pytest.mark.parametrize(
    ("disturbed", "changes", "reason"),
    [
        (4, {"cpu": 0.8, "switches": 1}, "other work took the core in 4 of 30 samples, 3 % of the time"),
        (30, {"cpu": 0.94}, "waited 6 % of the time without being interrupted"),
        (1, {"collections": 1}, "garbage was collected in 1 of 30 samples"),
        (8, {"faults": 3}, "page faults in 8 of 30 samples"),
        (30, {"process_ns": 1300}, "1.3 cores were busy where threads = 1 was declared"),
    ],
)
def test_a_disturbance_is_noise_with_its_reason(judged, disturbed, changes, reason):
    state, reasons = judged(disturbed=disturbed, changes=changes)

    assert state == "noisy"
    assert len(reasons) == 1
    assert reasons[0].startswith(reason)


@pytest.mark.parametrize(
    ("disturbed", "changes"),
    [
        (3, {"cpu": 0, "switches": 1}),
        (30, {"cpu": 0.985, "switches": 1}),
        (1, {"cpu": 0}),
        (30, {"cpu": 0.96}),
        (7, {"faults": 3}),
        (30, {"process_ns": 1190}),
    ],
    ids=["three interrupted", "interrupted, nothing lost", "one wait", "hardly waiting", "seven faulted", "1.19 cores"],
)
def test_a_few_disturbances_are_no_reason(judged, disturbed, changes):
    assert judged(disturbed=disturbed, changes=changes) == ("stable", ())


def test_a_sample_is_counted_once(judged):
    """Suspended, and interrupted as well: it is among the suspended ones alone."""
    _, reasons = judged([2 * 10**8] * 4 + [10**6] * 26, disturbed=4, changes={"cpu": 0, "switches": 1})

    assert [r.partition(",")[0] for r in reasons if " of 30 samples" in r] == ["suspended in 4 of 30 samples"]


def test_more_threads_may_keep_more_cores_busy(judged):
    assert judged(disturbed=30, changes={"process_ns": 2000}, threads=2) == ("stable", ())


def test_a_function_that_sleeps_was_not_suspended(judged):
    """It waits as long in every sample."""
    state, reasons = judged(100_000_000 + STEADY, disturbed=30, changes={"cpu": 0})

    assert state == "noisy"
    assert reasons == ("waited 100 % of the time without being interrupted: it sleeps, or waits for others",)


@pytest.mark.parametrize(
    ("ms", "cpu", "switches", "suspended"),
    [(51, 0, 0, True), (50, 0, 0, False), (140, 0, 4, True), (140, 0, 5, False), (140, 0.5, 0, False), (140, 0.4, 0, True)],
)
def test_a_wait_is_a_suspension_where_the_scheduler_does_not_explain_it(judged, ms, cpu, switches, suspended):
    _, reasons = judged([ms * 10**6, *STEADY[1:]], disturbed=1, changes={"cpu": cpu, "switches": switches})

    expected = [f"suspended in 1 of 30 samples, for up to {(1 - cpu) * ms:.0f} ms"] if suspended else []
    assert [r for r in reasons if r.startswith("suspended")] == expected
    assert any(r.startswith("waited") for r in reasons) is (not suspended and not switches)


def test_garbage_that_was_left_is_noise(judged):
    state, reasons = judged(garbage=10_001)

    assert state == "noisy"
    assert reasons[0].startswith("garbage in cycles was left: 10001 objects")


@pytest.mark.parametrize(
    ("canary_ns", "moved"),
    [([1000] * 20 + [1090] * 10, False), ([1000] * 20 + [1120] * 10, True), ([1000] * 28 + [9000] * 2, False)],
)
def test_a_canary_that_moves_is_noise(judged, canary_ns, moved):
    state, reasons = judged(canary_ns=canary_ns)

    assert state == ("noisy" if moved else "stable")
    assert [r.partition(":")[0] for r in reasons] == (["the reference loop moved by 12 %"] if moved else [])


@pytest.mark.parametrize(
    ("evidence", "reasons"),
    [
        ({"net": Interval(100, 94, 106, 0.95)}, ["half-width 6.0 % of the median"]),
        ({"net": Interval(100, 50, 850, 0.95)}, ["half-width 4 times the median"]),
        ({"canary_ns": [1000] * 20 + [50_830] * 10}, ["the reference loop moved by a factor of 50.8: clock"]),
        ({"times_ns": np.arange(1000, 1030)}, ["drift over the rounds (tau +1.00)", "neighbouring rounds"]),
        ({"times_ns": np.arange(1030, 1000, -1)}, ["drift over the rounds (tau -1.00)", "neighbouring rounds"]),
        ({"times_ns": 1000 + 10 * np.sin(np.arange(30) / 2)}, ["neighbouring rounds resemble each other (lag-1 0.8"]),
        ({"varies": True}, ["results differ from call to call"]),
    ],
)
def test_unsteady_times_are_noise_with_their_reasons(judged, evidence, reasons):
    state, found = judged(**evidence)

    assert state == "noisy"
    assert all(f.startswith(r) for f, r in zip(found, reasons, strict=True))


def test_all_reasons_are_given_the_grave_ones_first_and_invalid_beats_noisy(sample):
    changes = {"compiled": 2, "collections": 1, "faults": 1, "process_ns": 10**10}
    times = 10**6 * np.arange(100, 130)
    own = [sample(ns, i, cpu_ns=ns // 2, switches=i % 2, **changes) for i, ns in enumerate(times)]
    own.append(sample(400 * 10**6, 30, cpu_ns=0))
    canary = [sample(ns) for ns in [10, 20] * 15]
    evidence = {"net": Interval(1, -1, 3, 0.95), "overflowed": True, "varies": True, "garbage": 10**6}

    state, reasons = judge(Evidence(own, canary, floor=FLOOR, **evidence))

    assert state == "invalid"
    words = ["compilations", "empty body", "NaN or infinity", "suspended", "other work", "waited", "garbage was"]
    words += [
        "garbage in",
        "page faults",
        "cores were busy",
        "reference loop",
        "half-width",
        "drift",
        "neighbouring",
        "results",
    ]
    assert all(word in reason and "\n" not in reason for word, reason in zip(words, reasons, strict=True))


@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_a_thread_that_waits_for_others_of_its_process_was_not_interrupted(sample, is_asynchronous):
    own = [sample(10**7, i, cpu_ns=10**5, process_ns=10**7, switches=1) for i in range(30)]
    evidence = {"net": Interval(10**7, 10**7 - 1, 10**7 + 1, 0.95), "is_asynchronous": is_asynchronous}

    _, reasons = judge(Evidence(own, [sample(10)] * 30, floor=FLOOR, **evidence))

    assert any("other work took the core" in r for r in reasons) is not is_asynchronous


def test_an_eliminated_body_has_no_rate_to_be_judged(judged):
    _, reasons = judged(net=Interval(1, -1, 3, 0.95), flops=10**9, peak_gflops=1)

    assert not any("roof" in r for r in reasons)


@pytest.mark.parametrize(
    ("low", "high", "bound", "expected"),
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
def test_a_verdict_follows_from_interval_margin_and_bound(low, high, bound, expected):
    """The bound is the smallest effect of the session: what the baseline shows against itself."""
    assert verdict(Interval((low * high) ** 0.5, low, high, 0.95), margin=0.02, bound=bound) == expected
