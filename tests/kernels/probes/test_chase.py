"""The pointer chase: one cycle through all places, walked step by step, and nothing else touched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perflib.kernels.probes.chase import Cycle, chase, link, relink


def walked(memory, start, steps):
    """Positions that follow `start`, by the obvious loop."""
    found = []
    for _ in range(steps):
        start = int(memory[start])
        found.append(start)
    return found


@given(links=st.integers(1, 200), stride=st.sampled_from([8, 24, 64, 2052]))
def test_the_cycle_visits_every_place_once(links, stride):
    memory = np.full(200 * 2052 // 8, -1, np.int64)
    cycle = link(memory, links, stride)

    visited = walked(memory, 0, links)

    assert sorted(visited) == [i * stride // 8 for i in range(links)]
    assert visited[-1] == 0
    assert (memory != -1).sum() == links
    assert cycle.cursors[0] == 0


def test_the_order_of_the_places_is_not_that_of_memory():
    memory = np.zeros(8000, np.int64)
    link(memory, 1000)

    steps = np.diff(walked(memory, 0, 1000))

    assert len(set(steps.tolist())) > 500


@pytest.mark.parametrize("chains", [1, 2, 3, 4, 8])
def test_chains_walk_on_from_evenly_spaced_places(chains):
    memory = np.zeros(8 * 24, np.int64)
    cycle = link(memory, 24, chains=chains)
    order = [0, *walked(memory, 0, 23)]
    starts = [24 * c // chains for c in range(chains)]

    assert [int(c[0]) for c in cycle.cursors] == [order[s] for s in starts]
    for turn in (5, 10):  # the second run goes on where the first one ended
        expected = [order[(s + turn) % 24] for s in starts]
        assert chase(cycle, 5 * chains) == sum(expected)
        assert [int(c[0]) for c in cycle.cursors] == expected


def test_a_cycle_is_restored_where_others_wrote():
    memory = np.zeros(800, np.int64)
    cycle = link(memory, 100, chains=2)
    before, starts = memory.copy(), [int(c[0]) for c in cycle.cursors]
    chase(cycle, 6)
    memory[:] = 7

    relink(cycle)

    assert np.array_equal(memory[::8], before[::8])
    assert [int(c[0]) for c in cycle.cursors] == starts


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"links": 0}, ("links must be at least 1", "got 0")),
        ({"stride": 4}, ("stride must be at least 8 bytes", "got 4")),
        ({"chains": 9}, ("chains must be at most 8", "got 9")),
        ({"memory": np.zeros(56, np.int64)}, ("memory must have at least 57 elements", "got 56")),
    ],
)
def test_a_cycle_that_cannot_be_is_refused(refused, changes, words):
    with refused(ValueError, *words):
        link(**{"memory": np.zeros(64, np.int64), "links": 8, **changes})


@pytest.mark.parametrize("memory", [np.zeros(64), np.zeros((8, 8), np.int64), np.zeros(128, np.int64)[::2], [0] * 64])
def test_memory_that_holds_no_positions_is_refused(refused, memory):
    with refused(TypeError, "memory must be a contiguous vector of int64, got "):
        link(memory, 8)


@pytest.mark.parametrize("wrong", [-1, 64])
def test_links_and_cursors_that_lead_out_of_memory_are_not_followed(refused, wrong):
    good = link(np.zeros(64, np.int64), 8)
    bad = Cycle(np.full(64, wrong), good.cursors, 8, 64)

    with refused(ValueError, "memory must hold positions from 0 to 63"):
        chase(bad, 8)
    good.cursors[0][0] = wrong
    with refused(ValueError, "cursors must hold positions from 0 to 63"):
        chase(good, 8)


def test_steps_are_shared_evenly(refused):
    with refused(ValueError, "steps must be a multiple of 3, the number of chains, got 8"):
        chase(link(np.zeros(64, np.int64), 8, chains=3), 8)
