"""The verdict of every claim on runs whose times are known: the rules of the table, word by word."""

from itertools import cycle, islice

import pytest
from runs import isolate, start
from synthetic import CODE, ROUNDS, cell, clock, full, limits, matmul, noisy, record, rmsnorm, tiles, timing

from perflib import load_run
from perflib.errors import RunError
from perflib.models.access_counts import Accesses
from perflib.stats import Interval
from perflib.studies import summary
from perflib.studies.published import matmul_fit, rms_fit
from perflib.studies.rmsnorm import rms_ratio
from perflib.studies.summary import (
    LIVE,
    LiveClaim,
    above,
    claims_table,
    growth_sentences,
    judge_all,
    recorded_ratio,
    replaced_rules,
    settle,
)
from perflib.timing.race import eligible

LONG = {"kernel": "rms_norm_fast", "scope": "kernel", "n": 8192}
SHORT = {"kernel": "rms_norm_fast", "scope": "kernel", "n": 16}
CALLED = {"kernel": "numpy_rms_norm", "scope": "call", "n": 4096}
IDS = [f"S{i}" for i in range(1, 11)]


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def verdict(name, *blocks, **options):
    return next(c for c in judge_all(record(*blocks, **options)) if c.id == name).verdict


def in_turn(*values):
    """Rounds that take these values by turns: their interval reaches from the least to the greatest."""
    return list(islice(cycle(values), ROUNDS))


def power(p):
    return lambda n: n**p


def odd(p):
    """A power, and one or two sizes of ten that take twice as long: one straight line does not describe it."""
    return lambda n: n**p * (2.0 if n in (128, 256, 2048) else 1)


def ratio_of_tiles(*factors, n=256):
    """Tile 64 takes `factors` times as long as the better of two others, by rounds."""
    return {n: {16: in_turn(2000.0), 32: in_turn(1000.0), 64: [1000 * f for f in in_turn(*factors)]}}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1.2, 1.4, "HOLDS"), (0.9, 1.05, "FAILS"), (1.05, 1.2, "UNDECIDED"), (1.1, 1.2, "UNDECIDED"), (1, 1.1, "UNDECIDED")],
)
def test_above_needs_the_whole_interval(low, high, expected):
    assert above(Interval((low + high) / 2, low, high, 0.95), 1.1) == expected


@pytest.mark.parametrize(
    ("law", "expected"), [(power(3), "HOLDS"), (power(2.8), "FAILS"), (power(3.2), "FAILS"), (odd(3), "HOLDS")]
)
def test_s1_asks_for_an_exponent_of_three(law, expected):
    assert verdict("S1", matmul(law=law)) == expected


@pytest.mark.parametrize(("law", "expected"), [(power(1), "HOLDS"), (power(1.3), "FAILS"), (odd(1), "HOLDS")])
def test_s2_asks_for_an_exponent_of_one(law, expected):
    assert verdict("S2", rmsnorm(law=law)) == expected


def test_the_rule_that_was_replaced_stands_beside_the_one_of_today():
    run = record(matmul(law=odd(3)), rmsnorm(law=odd(1)))

    shown = replaced_rules(run)

    assert [(row[0], row[1], row[3]) for row in shown.rows] == [("S1", "HOLDS", "UNDECIDED"), ("S2", "HOLDS", "UNDECIDED")]
    evidence = judge_all(run)[0].evidence
    assert evidence.startswith("grows as n³")
    assert "By the rule until 2026-11-29: UNDECIDED, one line through all sizes has slope " in evidence


@pytest.mark.parametrize(("p", "former"), [(3, "HOLDS"), (2.5, "FAILS")])
def test_the_former_rule_is_the_interval_of_one_line_within_a_tenth(p, former):
    assert replaced_rules(record(matmul(law=power(p)), rmsnorm())).rows[0][3] == former


def test_growth_needs_three_sizes_inside_its_range():
    sizes, rows = (16, 32, 48, 64, 512, 600, 1024), (64, 128, 512, 8192, 16384, 65536)

    one, two = judge_all(record(matmul(sizes=sizes), rmsnorm(sizes=rows)))[:2]

    assert (one.verdict, two.verdict) == ("UNDECIDED", "UNDECIDED")
    assert one.evidence.startswith("not recorded: ")
    assert two.evidence.startswith("not recorded: ")


def test_the_sentences_of_growth_are_those_that_the_run_has():
    assert growth_sentences(record()) == []
    (sentence,) = growth_sentences(record(matmul()))
    assert sentence.startswith("matmul_tiled grows as n³")


def test_exponents_are_those_of_the_sizes_in_range():
    """Outside it grows otherwise, and does not count."""

    def bent(n):
        return n**3 * (1 if 64 <= n <= 512 else 2)

    sizes = (16, 32, 64, 80, 96, 128, 160, 200, 256, 320, 400, 512, 1024)

    fit = matmul_fit(record(matmul(law=bent, sizes=sizes)))

    assert (fit.sizes[0], fit.sizes[-1]) == (64, 512)
    assert fit.exponent.value == pytest.approx(3, abs=0.02)


def test_every_rung_and_norm_has_its_fit():
    run = full()

    for kernel in ("matmul_naive", "matmul_ikj", "matmul_tiled_vectorised"):
        assert matmul_fit(run, kernel).verdict(3) == "consistent"
    assert rms_fit(run, "rms_norm_standard").verdict(1) == "consistent"


@pytest.mark.parametrize(
    ("gflops", "law", "expected"),
    [
        (5.0, power(3), "FAILS"),  # grows as expected, and a twentieth of the peak
        (60.0, power(3), "HOLDS"),
        (60.0, power(2.5), "HOLDS"),  # what reaches half of the peak is efficient, however it grows
        (30.0, power(3), "UNDECIDED"),
        (5.0, power(2.5), "UNDECIDED"),  # slow, but it did not grow as expected
        (10.0, power(3), "UNDECIDED"),  # at the limit
        (50.0, power(3), "UNDECIDED"),
    ],
)
def test_s3_asks_for_half_of_the_peak_and_fails_below_a_tenth(gflops, law, expected):
    assert verdict("S3", matmul(tiled=gflops, law=law), *limits(gflops=100)) == expected


def test_s3_is_judged_at_256():
    """Fast elsewhere, slow there: an odd size, beside which it grows as expected."""

    def law(n):
        return n**3 * (1 if n == 256 else 0.6)

    assert verdict("S3", matmul(tiled=8.0, law=law), *limits(gflops=100)) == "FAILS"
    assert verdict("S3", matmul(tiled=60.0, law=law), *limits(gflops=100)) == "HOLDS"


@pytest.mark.parametrize(("naive", "expected"), [(1.5, "HOLDS"), (2.1, "FAILS"), (2 / 1.1, "UNDECIDED")])
def test_s4_asks_for_a_tenth_gained_by_tiles(naive, expected):
    assert verdict("S4", matmul(naive=naive, tiled=2.0)) == expected


def test_s4_is_judged_at_the_largest_common_size():
    """Half as fast at 512, twice as fast at 1024; the tiles alone go further."""
    large = matmul(naive=1.0, tiled=2.0, sizes=(1024,), block="float32 large")
    alone = ("matmul", "alone", [cell("matmul_tiled", 2048, noisy(1e9), tile=64)])

    found = judge_all(record(matmul(naive=4.0, tiled=2.0), large, alone))[3]

    assert found.verdict == "HOLDS"
    assert "at n = 1024" in found.evidence


def test_s4_takes_tile_64_and_no_other():
    """Another tile reaches a larger size; without tile 64 there is no common size at all."""
    other = [("matmul", "other", [cell(k, 1024, 1e6, tile=t) for k, t in (("matmul_naive", ""), ("matmul_tiled", 32))])]

    assert verdict("S4", matmul(naive=1.0, tiled=2.0), *other) == "HOLDS"
    found = judge_all(record(*other))[3]
    assert (found.verdict, found.evidence[:13]) == ("UNDECIDED", "not recorded:")
    lonely = [("matmul", "x", [cell("matmul_naive", 64, 1e6), cell("matmul_tiled", 128, 1e6, tile=64)])]
    assert judge_all(record(*lonely))[3].evidence == "not recorded: no size of both matmul_naive and matmul_tiled"


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (ratio_of_tiles(1.0), "HOLDS"),
        (ratio_of_tiles(0.8), "HOLDS"),  # 64 is the best one
        (ratio_of_tiles(1.2), "FAILS"),
        (ratio_of_tiles(1.0, 1.1), "UNDECIDED"),
        (ratio_of_tiles(1.0) | ratio_of_tiles(1.2, n=512), "FAILS"),  # one size is enough
        (ratio_of_tiles(1.0) | ratio_of_tiles(1.0, 1.1, n=512), "UNDECIDED"),
        (ratio_of_tiles(1.2) | ratio_of_tiles(1.0, 1.1, n=512), "FAILS"),
        (ratio_of_tiles(1.0) | {32: {16: [100.0] * 12, 32: [50.0] * 12}}, "HOLDS"),  # no tile of 64 at 32
        ({64: {64: [100.0] * 12}}, "UNDECIDED"),  # nothing to compare it with
    ],
)
def test_s5_asks_for_the_best_tile_at_every_size(sizes, expected):
    assert verdict("S5", *tiles(sizes)) == expected


@pytest.mark.parametrize(("packed", "expected"), [(5, "HOLDS"), (0, "FAILS")])
def test_s6_asks_for_packed_multiply_adds(packed, expected):
    codegen = {"matmul_tiled": {**CODE, "packed_fma": packed}, "matmul_tiled, strict": CODE}

    assert verdict("S6", codegen=codegen) == expected


def test_s6_without_counted_code_is_undecided():
    found = judge_all(record(codegen={}))[5]

    assert (found.verdict, found.evidence) == ("UNDECIDED", "not recorded: no code was counted")


@pytest.mark.parametrize(
    ("standard", "expected"), [(2.0, "HOLDS"), (1.4, "FAILS"), (in_turn(1.4, 1.8), "UNDECIDED"), (0.5, "FAILS")]
)
def test_s7_asks_for_more_than_1_6(standard, expected):
    assert verdict("S7", rmsnorm(standard=standard)) == expected


@pytest.mark.parametrize(
    ("slow_at", "factors", "expected"),
    [(n, in_turn(1.4), "FAILS") for n in (512, 1024, 2048)]
    + [(n, in_turn(1.4, 1.8), "UNDECIDED") for n in (512, 1024, 2048)]
    + [(4096, in_turn(1.4), "HOLDS")],
)
def test_s7_asks_at_each_of_the_three_sizes(slow_at, factors, expected):
    topic, block, cells = rmsnorm(standard=2.0)
    chosen = {"kernel": "rms_norm_standard", "n": slow_at}
    odd = [
        (c, [t * f / 2 for t, f in zip(times, factors, strict=True)]) for c, times in cells if chosen.items() <= c.items()
    ]
    others = [(c, times) for c, times in cells if not chosen.items() <= c.items()]

    found = judge_all(record((topic, block, others + odd)))[6]

    assert found.verdict == expected
    assert all(f"at {n}" in found.evidence for n in (512, 1024, 2048))


def test_s7_does_not_look_at_calls_or_batches():
    calls = rmsnorm(standard=1.0, sizes=(512, 1024, 2048), block="float32 called", scope="call")
    batch = rmsnorm(standard=1.0, sizes=(2048,), block="float32 batch", rows=4)
    run = record(rmsnorm(standard=2.0), calls, batch)

    assert judge_all(run)[6].verdict == "HOLDS"
    assert rms_ratio(run, 2048).value == pytest.approx(2, rel=1e-3)


def test_s8_holds_by_counting_alone():
    found = judge_all(start().finish())[7]

    assert found.verdict == "HOLDS"
    assert found.evidence == "counted: 2 passes instead of 4 and 0 temporary arrays instead of 2"


def test_s8_fails_where_another_number_is_counted(monkeypatch):
    monkeypatch.setattr(summary, "count_accesses", lambda kernel, args: Accesses(passes=3))
    monkeypatch.setattr(summary, "count_allocations", lambda kernel, args: 0)

    assert judge_all(start().finish())[7].verdict == "FAILS"


@pytest.mark.parametrize(
    ("step_ns", "timer_ns", "expected"),
    [
        (40, 200.0, "HOLDS"),
        (99, 200.0, "HOLDS"),
        (100, 200.0, "FAILS"),  # not below
        (40, 1500.0, "FAILS"),
        (1000, in_turn(900.0, 1100.0), "FAILS"),
        (40, in_turn(900.0, 1100.0), "UNDECIDED"),
    ],
)
def test_s9_asks_for_a_fine_clock_and_a_cheap_timer(step_ns, timer_ns, expected):
    assert verdict("S9", clock(step_ns), *timing(timer_ns)) == expected


def test_a_run_that_is_faster_than_its_machine_decides_no_claim():
    judged = judge_all(full(limits=limits(1.0)))

    assert {claim.verdict for claim in judged} == {"UNDECIDED"}
    assert all("not believed: " in claim.evidence and "of this run's machine" in claim.evidence for claim in judged)


def test_only_float32_in_kernel_scope_on_one_thread_counts():
    """The same kernels, slower in another dtype or scope in the same block, and with another number of threads."""
    topic, block, cells = matmul(naive=1.0, tiled=5.0)
    norm_topic, _, norms = rmsnorm(standard=2.0)

    def odd(**changes):
        return [
            ({**c, **changes}, [4 * c["n"] ** 0.25 * t for t in times])
            for c, times in cells + norms
            if c["scope"] == "kernel"
        ]

    others, twos = odd(dtype="float64") + odd(scope="call"), odd(threads=2)
    pure = record((topic, block, cells), (norm_topic, block, norms), *limits(100.0))
    mixed = record(
        *((topic, block, cells + others), (norm_topic, block, norms + others)),
        *((topic, "two threads", twos), (norm_topic, "two threads", twos)),
        *limits(100.0),
    )

    assert [c.verdict for c in judge_all(mixed)] == [c.verdict for c in judge_all(pure)]


@pytest.mark.parametrize("name", [name for name in IDS if name != "S8"])
def test_a_run_without_the_series_leaves_a_claim_undecided(name):
    run = start().finish()

    found = next(c for c in judge_all(run) if c.id == name)

    assert found.verdict == "UNDECIDED"
    assert found.evidence.startswith("not recorded: ")


def test_too_few_rounds_leave_a_claim_undecided():
    few = [(c, times[:5]) for c, times in rmsnorm()[2]]

    found = judge_all(record(("rmsnorm", "float32 scaling", few)))[6]

    assert (found.verdict, found.evidence[:14]) == ("UNDECIDED", "not recorded: ")


def test_every_claim_is_judged_in_order_with_its_rule_and_evidence():
    judged = judge_all(full())

    assert [c.id for c in judged] == IDS
    assert all(c.verdict in ("HOLDS", "FAILS", "UNDECIDED") and c.rule and c.evidence for c in judged)
    assert [c.id for c in judged if c.evidence.startswith("not recorded")] == ["S10"]  # passes: see test_forward


def test_the_table_shows_every_verdict():
    run = full()

    table = claims_table(run)

    assert table.header == ("id", "claim", "verdict", "evidence")
    assert [(r[0], r[2]) for r in table.rows] == [(c.id, c.verdict) for c in judge_all(run)]


def test_an_error_in_a_rule_is_not_taken_for_a_missing_series(monkeypatch):
    def broken(run):
        raise KeyError("a mistake")

    monkeypatch.setattr(summary, "_CLAIMS", (("S1", "claim", "rule", broken),))

    with pytest.raises(KeyError):
        judge_all(start().finish())


def test_a_fit_of_an_absent_kernel_is_refused(refused):
    with refused(RunError, "no matmul_ikj in matmul"):
        matmul_fit(record(("matmul", "float32 scaling", [cell("matmul_naive", 64, 100.0)])), "matmul_ikj")


@pytest.mark.parametrize("name", LIVE)
def test_every_live_claim_is_eligible_in_the_reference_run(monkeypatch, name):
    monkeypatch.delenv("PERFLIB_DATA")
    threshold = LIVE[name].threshold

    assert eligible(recorded_ratio(load_run(), name), threshold) == threshold


@pytest.mark.parametrize("name", LIVE)
def test_every_live_claim_says_its_threshold(name):
    claim = LIVE[name]

    assert f"at least {claim.threshold} times" in claim.text
    assert str(claim.slow["n"]) in claim.text


@pytest.mark.parametrize(
    ("slow", "fast", "outcome"), [(LONG, SHORT, "HOLDS"), (SHORT, LONG, "FAILS"), (CALLED, SHORT, "HOLDS")]
)
def test_a_claim_is_settled_by_what_its_arms_take(monkeypatch, slow, fast, outcome):
    """Five hundred times the work either way: far from the threshold on any machine."""
    monkeypatch.setitem(LIVE, "tiny", LiveClaim("the long one takes longer", "rmsnorm", slow, fast, 2))

    assert settle("tiny") == f"{outcome}: the long one takes longer"


def test_a_wrong_kernel_is_not_raced(monkeypatch):
    """It is checked before: a fast wrong answer proves nothing."""

    def wrong(name, result, exact, bound):
        raise ValueError(f"{name}: wrong")

    monkeypatch.setattr(summary, "verify", wrong)

    with pytest.raises(ValueError, match="wrong"):
        settle("order")


@pytest.mark.parametrize("ask", [settle, lambda name: recorded_ratio(None, name)])
def test_an_unknown_name_is_refused(refused, ask):
    with refused(ValueError, "live claim must be one of call, order, expression; got 'fastest'"):
        ask("fastest")


def test_the_recorded_ratio_is_that_of_both_arms(refused):
    cells = [cell("rms_norm_fast", 64, noisy(8.0), rows=1), cell("rms_norm_fast", 64, noisy(480.0), "call", rows=1)]
    double = [cell("rms_norm_fast", 64, 1.0, dtype="float64"), cell("rms_norm_fast", 64, 1.0, "call", dtype="float64")]
    run = record(("timing", "scopes", [*cells, *double]))

    assert recorded_ratio(run, "call") == pytest.approx(60, rel=0.02)
    with refused(RunError, run.id, "no 'matmul'"):
        recorded_ratio(run, "order")


def test_an_undecided_claim_has_advice_and_a_decided_one_has_none():
    judged = judge_all(record(matmul(naive=2 / 1.1, tiled=2.0), *limits()))

    assert all(bool(claim.advice) == (claim.verdict == "UNDECIDED") for claim in judged)
    assert [c.advice for c in judged if c.id == "S4"] == [summary.FULL]
    assert claims_table(start().finish()).rows[8][3].endswith(f". To decide: {summary.FULL}")


def test_a_full_run_is_not_sent_to_record_what_it_has():
    run = record(matmul(naive=2 / 1.1, tiled=2.0))
    run.meta["command"] = "full"

    assert judge_all(run)[3].advice == summary.AGAIN


def test_s3_says_where_its_rule_leaves_a_share_open():
    assert judge_all(record(matmul(tiled=30.0), *limits(gflops=100)))[2].advice == summary.OPEN
