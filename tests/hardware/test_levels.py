"""Edges of latency curves whose levels are known: steps and slopes with noise, and curves that have no level."""

import numpy as np
import pytest

from perflib.errors import SampleError
from perflib.hardware.levels import find_levels

KIB = 1024
SIZES = np.unique((2 * KIB * 2 ** (np.arange(8 * 13 + 1) / 8)) // 64 * 64)  # to 16 MiB, 8 per octave
GEOMETRIES = [
    (16, 256),
    (24, 256),
    (32, 256),
    (32, 512),
    (32, 1024),
    (48, 1280),
    (48, 2048),
    (64, 512),
    (64, 1024),
    (128, 4096),
]


def share(kind, octaves):
    """Of the loads that miss, at so many octaves above the capacity."""
    if kind == "step":
        return (octaves > 1e-9).astype(float)
    return np.clip(0.5 + octaves, 0, 1) if kind == "ramp" else 1 / (1 + np.exp(-octaves / 0.15))


def curve(capacities, latencies=(2.35, 6, 33), kind="step", rounds=3, noise=0.05, seed=0):
    """Noisy ns per load, SIZES x rounds."""
    steps = zip(capacities, np.diff(latencies), strict=True)
    smooth = latencies[0] + sum(rise * share(kind, np.log2(SIZES / capacity)) for capacity, rise in steps)
    return smooth[:, None] * np.random.default_rng(seed).lognormal(0, noise, (len(SIZES), rounds))


@pytest.mark.parametrize("kind", ["step", "ramp", "sigmoid"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_both_levels_of_ten_geometries_are_found_within_a_tenth_and_none_besides(geometry, kind):
    capacities = [KIB * size for size in geometry]

    first, second, last = find_levels(SIZES, curve(capacities, kind=kind))

    assert [first.capacity_bytes.value, second.capacity_bytes.value] == pytest.approx(capacities, rel=0.1)
    assert [first.latency_ns, second.latency_ns, last.latency_ns] == pytest.approx([2.35, 6, 33], rel=0.1)
    assert {first.grade, second.grade} == {"sharp" if kind == "step" else "gradual"}
    assert not last.resolved


@pytest.mark.parametrize("power", [0, 0.1, 0.2, 1])
@pytest.mark.parametrize("seed", range(2))
def test_no_level_is_invented_where_there_is_none(power, seed):
    smooth = 2 * (SIZES / SIZES[0]) ** power

    levels = find_levels(SIZES, smooth * np.random.default_rng(seed).lognormal(0, 0.05, len(SIZES)))

    assert [level.resolved for level in levels] == [False]


def test_an_edge_at_the_end_of_the_sweep_is_not_resolved():
    inside, outside = (find_levels(SIZES, curve([32 * KIB, size], rounds=1)) for size in (8 << 20, 15 << 20))

    assert [level.resolved for level in inside] == [True, True, False]
    assert inside[-1].reason == "the sweep ends before this level does, at 16777216 bytes"
    assert [level.resolved for level in outside] == [True, False]
    assert (outside[-1].grade, outside[-1].reason.split(" at ")[0]) == (
        "not resolved",
        "the latency still rises where the sweep ends,",
    )


def test_a_translation_buffer_is_no_level_unless_asked_for():
    slow = curve([32 * KIB, 300 * KIB], (2.35, 6.0, 7.0), noise=0.01)

    assert [level.resolved for level in find_levels(SIZES, slow)] == [True, False]
    asked = find_levels(SIZES, slow, least_jump=1.1)
    assert [level.resolved for level in asked] == [True, True, False]
    assert asked[1].capacity_bytes.value == pytest.approx(300 * KIB, rel=0.05)


def test_the_interval_covers_what_the_grid_and_the_rounds_leave_open():
    first, *_ = find_levels(SIZES, curve([48 * KIB, 2048 * KIB], rounds=1))
    nine, *_ = find_levels(SIZES, curve([48 * KIB, 2048 * KIB], kind="ramp", rounds=9))

    below, above = SIZES[SIZES <= 48 * KIB].max(), SIZES[SIZES > 48 * KIB].min()
    assert (first.capacity_bytes.low, first.capacity_bytes.high, first.capacity_bytes.coverage) == (below, above, 0)
    assert nine.capacity_bytes.low <= 48 * KIB <= nine.capacity_bytes.high
    assert nine.capacity_bytes.coverage >= 0.95
    assert 1.5 < nine.width < 2  # a ramp over one octave, 80 % of it


def test_a_single_disturbed_size_is_no_level():
    flat = curve([32 * KIB], (2.0, 6.0), rounds=1, noise=0.01)
    flat[70] *= 5

    assert [level.resolved for level in find_levels(SIZES, flat)] == [True, False]


@pytest.mark.parametrize(
    ("sizes", "ns", "words"),
    [
        (SIZES[:7], np.ones(7), ("sizes_bytes", "at least 8", "(7,)")),
        (SIZES[::-1], np.ones(len(SIZES)), ("sizes_bytes", "increase")),
        (SIZES, np.ones(3), ("ns", f"{len(SIZES)} sizes", "(3,)")),
        (SIZES, np.zeros(len(SIZES)), ("ns", "above 0")),
        (SIZES, np.full(len(SIZES), np.nan), ("ns", "finite")),
        (SIZES, np.ones((len(SIZES), 0)), ("ns", "(105, 0)")),
    ],
)
def test_what_is_no_curve_is_refused(refused, sizes, ns, words):
    with refused(SampleError, *words):
        find_levels(sizes, ns)


def test_a_jump_that_is_none_is_refused(refused):
    with refused(SampleError, "least_jump", "above 1", "1.0"):
        find_levels(SIZES, np.ones(len(SIZES)), least_jump=1.0)
