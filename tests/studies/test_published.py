"""What the original engine published, beside runs whose times are known."""

import pytest

from perflib.studies import published


def test_published_times_stand_beside_what_the_same_takes_here(run):
    """953 us published; 2 x 64^3 flops at 2 GFLOP/s take 262 us here."""
    first, *_, last = published.published_table(run).rows

    assert first[:3] == ("matmul_tiled", "64", "953 ± 0.5")
    assert [float(v) for v in first[3:]] == pytest.approx([262, 3.6], rel=0.03)
    assert last[2] == "8 ± 0.5"
