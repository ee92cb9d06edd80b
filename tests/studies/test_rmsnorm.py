"""The study of the RMS norms, from runs whose times are known."""

import pytest
from tables import rows

from perflib.studies import rmsnorm


def test_standard_and_fast_stand_beside_their_paired_ratio(run):
    standard, fast, ratio = rows(rmsnorm.rms_table(run))["1024"]

    assert float(standard.split()[0]) == pytest.approx(256, rel=0.02)
    assert float(fast.split()[0]) == pytest.approx(128, rel=0.02)
    assert ratio == "2.00 [2.00, 2.00]"


def test_the_pass_table_is_counted():
    shown = rmsnorm.pass_table()

    assert rows(shown) == {"rms_norm_standard": ("5", "3", "4", "2"), "rms_norm_fast": ("3", "1", "2", "0")}
    assert shown == rmsnorm.pass_table(64)
