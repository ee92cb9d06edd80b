"""Live claims: eligible by the reference run, refused when unknown, and FAILS when it is not so."""

import pytest
from runs import isolate
from synthetic import cell, noisy, record

from perflib import load_run
from perflib.errors import RunError
from perflib.studies import summary
from perflib.studies.summary import LIVE, LiveClaim, recorded_ratio, settle
from perflib.timing.race import eligible

LONG = {"kernel": "rms_norm_fast", "scope": "kernel", "n": 8192}
SHORT = {"kernel": "rms_norm_fast", "scope": "kernel", "n": 16}
CALLED = {"kernel": "numpy_rms_norm", "scope": "call", "n": 4096}


@pytest.mark.parametrize("name", LIVE)
def test_every_live_claim_is_eligible_in_the_reference_run(name):
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


def test_the_recorded_ratio_is_that_of_both_arms(tmp_path, monkeypatch, refused):
    isolate(tmp_path, monkeypatch)
    cells = [cell("rms_norm_fast", 64, noisy(8.0), rows=1), cell("rms_norm_fast", 64, noisy(480.0), "call", rows=1)]
    double = [cell("rms_norm_fast", 64, 1.0, dtype="float64"), cell("rms_norm_fast", 64, 1.0, "call", dtype="float64")]
    run = record(("timing", "scopes", [*cells, *double]))

    assert recorded_ratio(run, "call") == pytest.approx(60, rel=0.02)
    with refused(RunError, run.id, "no 'matmul'"):
        recorded_ratio(run, "order")
