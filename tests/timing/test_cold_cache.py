"""Pools of arguments: every set holds what was given, has its turn, and lies where no other does. No times here."""

from dataclasses import replace

import numpy as np
import pytest
from numba import njit

from perflib.kernels.caches import Cache
from perflib.stats import Interval
from perflib.timing import cold_cache
from perflib.timing.cold_cache import cold_pool, twin


@njit
def _count(array, log):
    log[0] += 1
    for index in np.ndindex(array.shape):
        array[index] += 1


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A pool of some dozen sets."""
    monkeypatch.setattr(cold_cache, "_pool_bytes", lambda: 4096)


def layouts():
    whole = np.arange(24.0).reshape(4, 6)
    return {
        "C": whole,
        "F": np.asfortranarray(whole),
        "strided": whole[::2, 1:],
        "backwards": whole[::-1, ::-2],
        "no dimension": np.array(3.0),
        "bool": whole > 5,
        "records": np.array([(1, 2.5), (3, 4.5)], dtype=[("i", np.int8), ("x", np.float64)]),
    }


@pytest.mark.parametrize("array", layouts().values(), ids=layouts())
def test_every_set_holds_the_arguments_in_their_layout(array):
    pool = cold_pool((array, "text", np.ones(3, np.int8)))

    for number in range(len(pool.memory)):
        copy, text, ones = pool._set(number)
        assert (copy.shape, copy.dtype, copy.strides) == (array.shape, array.dtype, array.strides)
        assert np.array_equal(copy, array)
        assert text == "text"
        assert list(ones) == [1, 1, 1]
        assert all(np.shares_memory(copy, row) == (i == number) for i, row in enumerate(pool.memory))


def test_arrays_start_on_lines_of_their_own():
    pool = cold_pool((np.ones(3), np.ones(9), np.ones(1, np.int8)))

    addresses = [a.ctypes.data for number in range(3) for a in pool._set(number)]

    assert all(address % 64 == 0 for address in addresses)
    assert list(np.diff(sorted(addresses))) == [64, 128, 64, 64, 128, 64, 64, 128]


def test_the_arguments_themselves_are_left_alone():
    x = np.zeros(8)
    pool = cold_pool((x,))

    pool.runner(lambda copy: copy.fill(7), "call")(100)

    assert not x.any()
    assert not any(np.shares_memory(x, row) for row in pool.memory)


def test_in_compiled_code_every_set_has_its_turn_before_one_comes_again():
    """Batches go on where the last one ended."""
    pool = cold_pool((np.zeros((2, 3)), np.zeros(1, np.int64)))
    loop = pool.runner(_count, "kernel")
    sets = len(pool.order)

    for reps in (5, 1, sets - 6):
        loop(reps)
    once = [pool._set(number)[0].copy() for number in range(sets)]
    loop(5)

    twice = [number for number in range(sets) if pool._set(number)[1][0] == 2]
    assert sets == 4096 // 128
    assert all((a == 1).all() for a in once)
    assert twice == sorted(pool.order[:5])


def test_from_python_every_set_has_its_turn_before_one_comes_again():
    pool = cold_pool((np.zeros(512),))
    seen = []
    run = pool.runner(lambda a: seen.append(a.ctypes.data), "call")

    run(1)
    run(1)
    run(3)

    assert len(pool.order) == 2
    rows = [pool.memory[number].ctypes.data for number in pool.order]
    assert seen == [rows[i % 2] for i in range(5)]


def test_from_python_the_objects_around_the_data_count_as_well():
    """A set of one line has 256 bytes of headers: a fifth of the sets fills the cache."""
    pool = cold_pool((np.zeros(8),))
    seen = []

    pool.runner(lambda a: seen.append(a.ctypes.data), "call")(100)

    assert len(pool.order) == 64
    assert len(set(seen)) == 13
    assert seen[:50] == seen[13:63]


def test_sets_are_visited_in_random_order():
    order = cold_pool((np.zeros(8),)).order

    assert sorted(order) == list(range(64))
    assert abs(np.corrcoef(order, range(64))[0, 1]) < 0.5


def test_a_set_larger_than_the_pool_has_two_copies():
    assert len(cold_pool((np.zeros(10_000),)).order) == 2


@pytest.mark.parametrize(
    "array", [np.zeros((0, 3)), np.zeros((0, 3))[:, ::2], np.array([None, 1])], ids=["empty", "strided", "objects"]
)
def test_an_array_without_plain_data_may_stand_beside_one_with(array):
    pool = cold_pool((array, np.ones(2)))

    assert [list(pool._set(number)[1]) for number in range(3)] == [[1, 1]] * 3
    assert np.array_equal(pool._set(1)[0], array)


@pytest.mark.parametrize("args", [(), (1, "x", [2.0]), (np.zeros(0),), (np.array([None]),)])
def test_without_data_nothing_can_be_cold(refused, args):
    with refused(ValueError, "mode 'cold' needs an array that is not empty among the arguments", "got none"):
        cold_pool(args)


@pytest.mark.parametrize(("free_kib", "fits"), [(8, True), (7, False)])
def test_a_pool_takes_at_most_half_of_the_free_memory(monkeypatch, refused, free_kib, fits):
    monkeypatch.setattr(cold_cache, "_available_bytes", lambda: free_kib << 10)

    if fits:
        assert cold_pool((np.zeros(8),)).memory.nbytes == 4096
    else:
        with refused(MemoryError, "mode 'cold' must find 0 MiB free, got 0"):
            cold_pool((np.zeros(8),))


def test_the_memory_that_is_missing_is_told_in_mib(monkeypatch, refused):
    monkeypatch.setattr(cold_cache, "_pool_bytes", lambda: 64 << 20)
    monkeypatch.setattr(cold_cache, "_available_bytes", lambda: 100 << 20)

    with refused(MemoryError, "mode 'cold' must find 128 MiB free, got 100"):
        cold_pool((np.zeros(8),))


def test_where_the_system_tells_nothing_a_pool_is_built(monkeypatch):
    monkeypatch.setattr(cold_cache, "_available_bytes", lambda: None)

    assert len(cold_pool((np.zeros(8),)).order) == 64


@pytest.mark.parametrize(
    ("slowdown", "is_cold", "words"),
    [
        (
            Interval(7.9, 7.6, 8.2, 0.95),
            True,
            "shown to be cold: reading the next of 64 sets (0 MiB) takes 7.9 [7.6, 8.2] times",
        ),
        (Interval(1.6, 1.51, 1.7, 0.95), True, "shown to be cold"),
        (Interval(1.6, 1.49, 1.7, 0.95), False, "not shown to be cold: reading the next of 64 sets"),
        (Interval(1.0, 0.9, 1.1, 0.95), False, "not shown to be cold"),
    ],
)
def test_a_pool_is_cold_by_the_evidence_or_says_that_it_is_not(slowdown, is_cold, words):
    pool = replace(cold_pool((np.zeros(8),)), slowdown=slowdown)

    assert pool.is_cold is is_cold
    assert str(pool).startswith(words)


@pytest.mark.parametrize(("mib", "pool_mib"), [((), 64), ((1, 16), 64), ((1, 32), 64), ((2, 40), 80), ((1, 2048), 1024)])
def test_the_pool_is_twice_the_last_cache_within_limits(monkeypatch, mib, pool_mib):
    monkeypatch.undo()
    caches = tuple(Cache(i, "Unified", size << 20) for i, size in enumerate(mib, start=2))
    monkeypatch.setattr(cold_cache, "reported_caches", lambda: caches)

    assert cold_cache._pool_bytes.__wrapped__() == pool_mib << 20


@pytest.mark.parametrize("array", layouts().values(), ids=layouts())
def test_a_twin_is_equal_and_elsewhere(array):
    copy = twin(array)

    assert np.array_equal(copy, array)
    assert (copy.dtype, copy.strides) == (array.dtype, array.strides)
    assert not np.shares_memory(copy, array)
