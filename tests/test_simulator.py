"""Misses against traces counted by hand, against a plain simulator, and against cachegrind on the same loops in C."""

import re
import shutil
import subprocess
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from perflib.geometry import GeometryError
from perflib.machine import Cache
from perflib.simulator import TRACES, Misses, replay, simulate

FLAGS = ("-Os", "-fno-ivopts", "-fno-tree-loop-distribute-patterns", "-no-pie")  # fewest accesses to the stack
SOURCE = Path(__file__).parent / "cachegrind" / "kernels.c"
IN_C = list(
    enumerate(
        ("matmul_naive", "matmul_tiled", "matmul_tiled_vectorised", "matmul_ikj", "rms_norm_standard", "rms_norm_fast"), 1
    )
)
SMALL = Cache(1, "Data", 8192, 64, 8)
SECOND = Cache(2, "Unified", 16384, 64, 8)
TINY = Cache(1, "Data", 256, 64, 2)  # two sets of two lines


@pytest.mark.parametrize(
    ("lines", "misses"),
    [
        ([0, 0, 0], 1),
        ([0, 2, 0, 2], 2),  # one set, two ways
        ([0, 2, 4, 0, 2, 4], 6),  # a cycle that is a line too long misses all the time
        ([0, 2, 0, 4, 0, 2], 4),  # 2 is the one used least recently when 4 comes
        ([0, 1, 2, 3, 0, 1, 2, 3], 4),  # both sets
    ],
)
def test_a_trace_counted_by_hand(lines, misses):
    assert replay([64 * line + 3 for line in lines], [TINY]) == Misses(len(lines), (misses,))


def test_a_level_is_asked_for_what_the_one_before_it_misses():
    """0 2 4 cycle through one set of two in the first level; the second holds all three."""
    found = replay([0, 128, 256] * 4, [TINY, Cache(2, "Unified", 1024, 64, 4)])

    assert found == Misses(12, (12, 3))


def test_sets_need_not_be_a_power_of_two():
    three = Cache(1, "Data", 192, 64, 1)

    assert replay([0, 192, 0, 64, 128, 64, 128], [three]).misses == (5,)


def slow(addresses, caches):
    """Misses per level, each set a queue."""
    found = [0] * len(caches)
    sets = [[deque(maxlen=c.ways) for _ in range(c.size_bytes // c.line_bytes // c.ways)] for c in caches]
    for address in addresses:
        for level, cache in enumerate(caches):
            line = address // cache.line_bytes
            queue = sets[level][line % len(sets[level])]
            hit = line in queue
            if hit:
                queue.remove(line)
            queue.append(line)
            if hit:
                break
            found[level] += 1
    return tuple(found)


@settings(max_examples=50)
@given(some.lists(some.integers(0, 4095), max_size=300), some.integers(1, 3), some.integers(1, 5))
def test_any_trace_misses_as_queues_say(addresses, ways, sets):
    caches = [Cache(1, "Data", 64 * ways * sets, 64, ways), Cache(2, "Unified", 2048, 64, 4)]

    assert replay(addresses, caches).misses == slow(addresses, caches)


def touched(name, m, n, k, tile):
    """Elements that the loops of a product touch, in order: (array, index)."""
    for i in range(m) if name == "matmul_naive" else ():
        for j in range(n):
            for p in range(k):
                yield from ((0, i * k + p), (1, p * n + j))
            yield 2, i * n + j
    if name == "matmul_tiled":
        yield from ((2, i) for i in range(m * n))
        blocks = ((x, y, z) for x in range(0, m, tile) for y in range(0, n, tile) for z in range(0, k, tile))
        for ii, jj, pp in blocks:
            for i in range(ii, min(ii + tile, m)):
                for j in range(jj, min(jj + tile, n)):
                    for p in range(pp, min(pp + tile, k)):
                        yield from ((0, i * k + p), (1, p * n + j))
                    yield from ((2, i * n + j), (2, i * n + j))


@pytest.mark.parametrize("name", ["matmul_naive", "matmul_tiled"])
def test_a_products_trace_is_that_of_its_loops(name):
    m, n, k, tile = 5, 33, 40, 16
    addresses = [4096 * (1 + [0, 1, 3][array]) + 4 * i for array, i in touched(name, m, n, k, tile)]

    found = simulate(name, (m, n, k), [TINY, SMALL], tile)

    assert found == Misses(len(addresses), slow(addresses, [TINY, SMALL]))


@pytest.mark.parametrize(("name", "per_element", "lines"), [("rms_norm_fast", 4, 3 * 16), ("rms_norm_standard", 8, 5 * 16)])
def test_a_norm_that_fits_misses_once_per_line_and_never_again(name, per_element, lines):
    large = [Cache(1, "Data", 1 << 20, 64, 16)]

    assert simulate(name, (1, 256), large) == Misses(256 * per_element, (lines,))
    assert simulate(name, (1, 256), large, runs=2) == Misses(2 * 256 * per_element, (lines,))


@pytest.fixture(scope="module")
def misses_in_c(tmp_path_factory):
    """Data misses of both levels by cachegrind, of a run that finds the caches as another has left them."""
    if missing := [tool for tool in ("gcc", "valgrind") if shutil.which(tool) is None]:
        pytest.skip(f"cachegrind on C programs needs {' and '.join(missing)}, which this system does not have")
    folder = tmp_path_factory.mktemp("cachegrind")

    def count(number, runs, padding):
        program = folder / f"kernel{number}x{runs}"
        words = [
            "-O2",
            "-no-pie",
            "-fno-tree-vectorize",
            "-fno-tree-loop-distribute-patterns",
            "-DN=48",
            "-DTILE=20",
            f"-DKERNEL={number}",
            f"-DRUNS={runs}",
        ]
        subprocess.run(["gcc", *words, "-o", program, SOURCE], check=True)
        levels = ["--I1=32768,8,64", "--D1=8192,8,64", "--LL=16384,8,64"]
        command = [
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=yes",
            "--cachegrind-out-file=/dev/null",
            *levels,
            f"./{program.name}",
        ]
        alone = {"cwd": folder, "env": {"PADDING": "x" * padding}}  # both lie on the stack and move it
        told = subprocess.run(command, capture_output=True, text=True, check=False, **alone).stderr
        return np.array(
            [int(re.search(rf"{name} +misses: +([0-9,]+)", told)[1].replace(",", "")) for name in ("D1", "LLd")]
        )

    def fewest(number):
        """Of three places of the stack, whose lines compete with the arrays in some sets."""
        return np.min([count(number, 2, padding) - count(number, 1, padding) for padding in (0, 350, 700)], axis=0)

    return fewest


@pytest.mark.parametrize(("number", "name"), IN_C)
def test_cachegrind_counts_the_same_misses_within_two_percent(misses_in_c, number, name):
    shape = (48, 48, 48) if name.startswith("matmul") else (48, 48)

    once, twice = (simulate(name, shape, [SMALL, SECOND], tile=20, runs=runs).misses for runs in (1, 2))
    assert np.subtract(twice, once).tolist() == pytest.approx(misses_in_c(number).tolist(), rel=0.02)


def test_every_trace_is_checked_against_cachegrind():
    assert {name for _, name in IN_C} == set(TRACES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("numpy_matmul", (4, 4, 4), [TINY]), ("name", "matmul_naive", "'numpy_matmul'")),
        (("matmul_naive", (4, 4), [TINY]), ("shape", "M, N, K", "(4, 4)")),
        (("rms_norm_fast", (4, 4, 4), [TINY]), ("shape", "rows, n")),
        (("matmul_naive", (4, 0, 4), [TINY]), ("shape", "at least 1", "0")),
        (("matmul_naive", (4, 4, 4), []), ("caches", "at least one")),
        (("matmul_naive", (4, 4, 4), [Cache(1, "Data", 4800, 48, 1)]), ("caches", "power of two", "48")),
    ],
)
def test_what_cannot_be_simulated_is_refused(refused, arguments, words):
    with refused(ValueError, *words):
        simulate(*arguments)


def test_a_cache_that_cannot_be_is_refused(refused):
    with refused(GeometryError, "L1d", "ways", "0"):
        simulate("matmul_naive", (4, 4, 4), [Cache(1, "Data", 1024, 64, 0)])
