"""Levels that were measured, beside those that are reported: matched, graded, and never invented."""

from dataclasses import replace

import numpy as np
import pytest
from runs import MACHINE, isolate

from perflib.hardware import hierarchy as module
from perflib.hardware import limits
from perflib.hardware.hierarchy import hierarchy, latency_ns, line_bytes, match_levels, sweep_sizes, tlb_edges
from perflib.hardware.levels import Level
from perflib.kernels import buffers
from perflib.kernels.caches import Cache
from perflib.stats import Interval

KIB, MIB = 1 << 10, 1 << 20
CACHES = (Cache(1, "Data", 32 * KIB, 64, 8, 64), Cache(2, "Unified", MIB, 64, 8, 2048), Cache(3, "Unified", 32 * MIB))


def level(latency, capacity=None, grade="gradual"):
    around = capacity and Interval(capacity, 0.9 * capacity, 1.1 * capacity, 0.95)
    return Level(latency, around, 2.0, grade if capacity else "not resolved", "told by hand")


def test_each_edge_goes_to_the_level_that_is_reported_near_it():
    found = match_levels([level(1.4, 34 * KIB, "sharp"), level(4, 0.9 * MIB), level(15, 9 * MIB), level(150)], CACHES)

    assert [(d.name, d.grade) for d in found] == [
        ("L1d", "agrees"),
        ("L2", "agrees"),
        ("L3", "a slice"),
        ("memory", "measured"),
    ]
    assert [d.latency_ns for d in found] == [1.4, 4, 15, 150]
    assert found[2].capacity_bytes.value == 9 * MIB


def test_the_rise_of_a_first_level_is_half_paid_where_half_of_the_sets_have_a_line_too_many():
    """8 ways: 1 + 1 / 16 of the capacity. A slope tells nothing of sets and is left as it is."""
    sharp, gradual = (
        match_levels([level(1.4, 34 * KIB, grade), level(4)], CACHES[:1])[0] for grade in ("sharp", "gradual")
    )

    assert sharp.capacity_bytes.value == pytest.approx(32 * KIB)
    assert gradual.capacity_bytes.value == 34 * KIB


@pytest.mark.parametrize(
    ("capacity", "grade"), [(0.86, "agrees"), (0.84, "not resolved"), (1.14, "agrees"), (1.2, "not resolved")]
)
def test_a_second_level_that_is_off_by_more_than_fifteen_percent_is_not_resolved_and_says_why(capacity, grade):
    found = match_levels([level(1.4, 32 * KIB), level(4, capacity * MIB), level(15, 9 * MIB), level(150)], CACHES)

    assert found[1].grade == grade
    assert "% " in found[1].reason
    assert found[1].capacity_bytes.value == capacity * MIB


def test_a_level_that_the_sweep_does_not_show_is_not_invented():
    found = match_levels([level(1.4, 32 * KIB), level(4, 9 * MIB), level(150)], CACHES)

    assert (found[1].name, found[1].grade, found[1].capacity_bytes) == ("L2", "not resolved", None)
    assert found[2].capacity_bytes.value == 9 * MIB
    assert [d.latency_ns for d in found] == [1.4, 4, None, 150]


def test_several_edges_of_the_last_level_are_one_slice_with_an_interval_around_all():
    found = match_levels([level(1.4, 32 * KIB), level(4, MIB), level(15, 6 * MIB), level(60, 12 * MIB), level(150)], CACHES)

    assert found[2].capacity_bytes.value == 12 * MIB
    assert found[2].capacity_bytes.low == 0.9 * 6 * MIB
    assert found[2].capacity_bytes.high == 1.1 * 12 * MIB


def test_without_a_report_levels_are_numbered():
    found = match_levels([level(1.4, 34 * KIB), level(4, MIB), level(80)], ())

    assert [(d.name, d.reported_bytes, d.grade) for d in found[:2]] == [
        ("level 1", None, "measured"),
        ("level 2", None, "measured"),
    ]
    assert found[1].capacity_bytes.value == MIB


def test_memory_that_the_sweep_did_not_reach_has_no_latency():
    found = match_levels([level(1.4, 32 * KIB), level(4, MIB), level(15)], CACHES)

    assert [(d.grade, d.latency_ns) for d in found[2:]] == [("not resolved", 15), ("not resolved", None)]


@pytest.mark.parametrize(("last", "top"), [(None, 64), (8, 64), (40, 80), (260, 128)])
def test_a_sweep_goes_from_four_kibibytes_to_twice_the_last_level_within_limits(last, top):
    caches = () if last is None else (Cache(3, "Unified", last * MIB),)

    sizes = sweep_sizes(replace(MACHINE, caches=caches))

    assert sizes[0] == 4096
    assert top * MIB / 1.1 < sizes[-1] <= top * MIB
    assert max(np.diff(np.log2(sizes))) < 0.14
    assert not any(size % 64 for size in sizes)


def test_a_chase_gives_a_row_per_size_and_a_column_per_round():
    found = latency_ns([4096, 8192, 65536], buffers.BASE_KIB, repeats=3)

    assert found.shape == (3, 3)
    assert (found > 0).all()


def test_the_line_is_the_distance_at_which_a_neighbour_is_another_line(monkeypatch):
    """Loads that are told: one line of 128 bytes brings what lies within it."""

    def told(memory, cursors):
        here = int(cursors[0][0])
        return 4000 if memory[here] // 16 == here // 16 else 9000

    monkeypatch.setattr(module, "_time_chase", told)

    assert line_bytes() == 128


def test_a_machine_that_tells_no_line_has_none(monkeypatch):
    monkeypatch.setattr(module, "_time_chase", lambda memory, cursors: 1000)

    assert line_bytes() is None


def curve(*edges):
    """Latency by bytes: twice as much beyond each edge."""
    return lambda sizes, page_kib, stride=64: np.array([[2.0 ** sum(s > e for e in edges)] * 7 for s in sizes])


def test_edges_of_pages_are_told_from_those_of_lines(monkeypatch):
    lines, pages = curve(512 * 64), curve(72 * 64, 512 * 64)
    monkeypatch.setattr(
        module, "latency_ns", lambda sizes, page_kib, stride: (lines if stride == 64 else pages)(sizes, page_kib)
    )

    (reach,) = tlb_edges()

    assert reach == pytest.approx(72 * (buffers.BASE_KIB << 10), rel=0.1)


def test_a_hierarchy_is_measured_once_and_shown_with_what_is_missing(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)
    told = []
    monkeypatch.setattr(module, "page_sizes_kib", lambda: (4,))
    monkeypatch.setattr(module, "latency_ns", lambda sizes, page_kib: curve(32 * KIB, MIB)(sizes, page_kib))
    monkeypatch.setattr(module, "line_bytes", lambda: None)
    monkeypatch.setattr(module, "tlb_edges", tuple)
    monkeypatch.setattr(module, "_with_bandwidth", lambda levels, page_kib, largest: levels)
    here = replace(MACHINE, caches=CACHES)

    found = hierarchy(here, progress=told.append)

    shown = str(found)
    assert hierarchy(here, progress=told.append) == found
    assert len(told) == 3
    assert [d.grade for d in found.levels] == ["agrees", "agrees", "not resolved", "not resolved"]
    for words in ("line       not resolved", "TLB reach  not resolved", "huge pages are refused by this system"):
        assert words in shown


def test_every_level_is_read_at_half_of_its_size(monkeypatch):
    seen = {}
    real = limits.limit_case

    def noting(name, kernel, n, *more):
        seen[name] = n
        return real(name, kernel, n, *more)

    monkeypatch.setattr(limits, "limit_case", noting)
    monkeypatch.setattr(module, "READING_S", 0.02)

    found = module._with_bandwidth(match_levels([level(1, 32 * KIB), level(9)], CACHES[:1]), buffers.BASE_KIB, MIB)

    assert seen == {"L1d": 4 * KIB, "memory": MIB // 4}
    assert all(d.read_gb_per_s.low > 0 for d in found)
