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
from touched import touched

from perflib.errors import GeometryError
from perflib.hardware.facts import machine
from perflib.kernels.caches import Cache
from perflib.kernels.gemm.blocked import default_blocks
from perflib.kernels.gemm.fast import LARGE, _matmul_in_place, limits, packing
from perflib.kernels.gemm.microkernel import register_tile
from perflib.kernels.jit.vector import vector_lanes
from perflib.kernels.rmsnorm.fast import stream_bytes
from perflib.models.blocked_traces import Choices, Way, choices, for_few_rows, way
from perflib.models.lru import access, counted, emptied
from perflib.models.lru import misses as misses_of
from perflib.models.simulator import TRACES, Misses, simulate

SOURCE = Path(__file__).parent / "cachegrind" / "kernels.c"
SMALL = Cache(1, "Data", 8192, 64, 8)
SECOND = Cache(2, "Unified", 16384, 64, 8)
TINY = Cache(1, "Data", 256, 64, 2)  # two sets of two lines


@counted
def access_all(addresses, l1, memory):
    for address in addresses:
        access(address, l1, memory)


def replay(addresses, caches):
    """Accesses and misses of these byte addresses, in this order, the caches empty before."""
    l1, memory = emptied(caches)
    access_all(np.asarray(addresses, np.int64), l1, memory)
    return Misses(len(addresses), tuple(misses_of(memory).tolist()))


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
@given(some.lists(some.integers(0, 1023), max_size=300), some.integers(1, 3), some.integers(1, 5))
def test_any_trace_misses_as_queues_say(addresses, ways, sets):
    caches = [Cache(1, "Data", 64 * ways * sets, 64, ways), Cache(2, "Unified", 2048, 64, 4)]

    assert replay(addresses, caches).misses == slow(addresses, caches)


SMALL_CHOICES = Choices(16, 4, 8, 4, 8, 7, 16, 256, 2, 4096)
"""Blocks so small that a product of some dozen rows has several of each, and ends of each."""


@pytest.mark.parametrize("ways", [1, 2, 8])
@pytest.mark.parametrize("name", list(TRACES))
@pytest.mark.parametrize("sizes", [(23, 33, 17), (13, 20, 40), (130, 36, 9), (2, 33, 17)])
def test_a_kernels_trace_is_that_of_its_loops(name, sizes, ways):
    """Also where a set is one line, which every other access evicts."""
    taken = sizes if name.startswith("matmul") else sizes[:2]
    caches = [Cache(1, "Data", 64 * 8 * ways, 64, ways), SECOND]
    accesses = touched(name, taken, SMALL_CHOICES, way(sizes, 4, SMALL_CHOICES))

    found = simulate(name, taken, caches, chosen=SMALL_CHOICES)

    streamed = name == "rms_norm" and taken == (130, 36)  # its stores are accesses that touch no cache
    assert found == Misses(len(accesses) + 130 * 36 * streamed, slow(addresses_of(name, taken, accesses), caches))


def addresses_of(name, sizes, accesses, itemsize=4):
    """Bytes, each array at the start of a page, one behind the other."""
    m, n, k = sizes if name.startswith("matmul") else (*sizes, 1)
    elements = [m * k, k * n, m * n] if name.startswith("matmul") else [m * n, n, m * n, n]
    pages = np.cumsum([1, *(-(-count * itemsize // 4096) for count in elements)])
    return [int(4096 * pages[array] + itemsize * index) for array, index in accesses]


def test_the_fast_product_is_traced_as_it_is_taken():
    """Packed where it has rows enough for a B beyond L2; few rows go a few steps at a time; rows that meet are copied."""
    wide = Choices(64, 12, 32, 16, 96, 1024, 1024, 1 << 20, 8, 1 << 24)

    assert way((256, 256, 256), 4, wide) == Way(False, 256, False, few_rows=True)
    assert way((1024, 1040, 1040), 4, wide) == Way(True, 8, False)
    assert way((1024, 1024, 1024), 4, wide) == Way(True, 8, True)
    assert way((256, 128, 1024), 4, wide) == Way(True, 1024, True, few_rows=True)
    assert way((256, 64, 1024), 4, wide) == Way(False, 1024, False, few_rows=True)
    assert way((100, 2048, 2048), 4, wide) == Way(True, 8, True, few_rows=True)
    assert way((3, 2048, 2048), 4, wide) == Way(False, 8, False, few_rows=True)
    assert way((64, 1024, 512), 4, wide) == Way(True, 512, False, few_rows=True), "rows of B share sets of the second level"
    assert not way((64, 1000, 512), 4, wide).packed and not way((12, 1024, 512), 4, wide).packed
    for m, kc, nc in ((16, 64, 1024), (100, 96, 672), (500, 256, 256)):  # a quarter of the second level
        few = for_few_rows(m, wide, 4)
        assert (few.mc, few.kc, few.nc) == (96, kc, nc)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "n", "k"), [(8, 8, 8), (130, 64, 90), (130, 130, 130), (130, 64, 1024), (130, 130, 1024)])
def test_the_way_of_the_trace_is_the_way_of_the_product(dtype, m, n, k):
    """What the compiled function says that it did, with a second level of 16 KiB."""
    here = choices([SMALL, SECOND], np.dtype(dtype).itemsize, machine().isa)._replace(l1_ways=8)
    a, b = np.zeros((m, k), dtype), np.zeros((k, n), dtype)

    done = _matmul_in_place(a, b, np.empty((m, n), dtype), here.l2_bytes, here.l1_ways)

    assert (done == LARGE) == way((m, n, k), np.dtype(dtype).itemsize, here).packed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_kernels_choose_here_is_what_is_traced_here(dtype):
    here = choices(machine().data_caches() or [SMALL, SECOND], np.dtype(dtype).itemsize, machine().isa)

    assert (here.mr, here.nr, here.lanes) == (*register_tile(dtype), vector_lanes(dtype))
    if machine().data_caches():
        assert (here.mc, here.kc, here.nc) == default_blocks(np.dtype(dtype))
        assert (here.l2_bytes, here.l1_ways) == limits()
        few = for_few_rows(4, here, np.dtype(dtype).itemsize)
        assert (few.mc, few.kc, few.nc) == packing(4, 5000, 5000, np.dtype(dtype))[1:]
        assert here.stream_bytes == stream_bytes()


@pytest.mark.parametrize(
    ("name", "per_element", "lines"), [("rms_norm_fast", 4, 48), ("rms_norm_standard", 8, 80), ("rms_norm", 4, 48)]
)
def test_a_norm_that_fits_misses_once_per_line_and_never_again(name, per_element, lines):
    large = [Cache(1, "Data", 1 << 20, 64, 16)]

    assert simulate(name, (1, 256), large) == Misses(256 * per_element, (lines,))
    assert simulate(name, (1, 256), large, warm=True) == Misses(256 * per_element, (0,))


BLOCKED = Choices(20, 12, 32, 16, 24, 20, 32, SECOND.size_bytes, SMALL.ways, 1 << 24)
IN_C = [
    ("matmul_naive", (48, 48, 48)),
    ("matmul_tiled", (48, 48, 48)),
    ("matmul_tiled_vectorised", (48, 48, 48)),
    ("matmul_ikj", (48, 48, 48)),
    ("rms_norm_standard", (48, 48)),
    ("rms_norm_fast", (48, 48)),
    ("matmul_register_blocked", (48, 48, 48)),
    ("matmul_packed", (48, 48, 48)),
    ("matmul", (48, 48, 48)),
    ("matmul", (130, 130, 100)),
    ("rms_norm", (48, 140)),
]
C_KNOWS = ("tile", "mr", "nr", "lanes", "mc", "kc", "nc")
NUMBERS = {name: number for number, name in enumerate(dict(IN_C), 1)}


@pytest.fixture(scope="module")
def misses_in_c(tmp_path_factory):
    """Data misses of both levels by cachegrind, of a run that finds the caches as another has left them."""
    if missing := [tool for tool in ("gcc", "valgrind") if shutil.which(tool) is None]:
        pytest.skip(f"cachegrind on C programs needs {' and '.join(missing)}, which this system does not have")
    folder = tmp_path_factory.mktemp("cachegrind")

    def compiled(runs, values):
        program = folder / f"kernel{values['KERNEL']}x{values['M']}x{runs}"
        words = ["-O2", "-no-pie", "-fno-tree-vectorize", "-fno-tree-loop-distribute-patterns"]
        words += [f"-D{name}={value}" for name, value in (values | {"RUNS": runs}).items()]
        subprocess.run(["gcc", *words, "-o", program, SOURCE], check=True)
        return program

    def count(program, padding):
        levels = ["--I1=32768,8,64", "--D1=8192,8,64", "--LL=16384,8,64"]
        command = ["valgrind", "--tool=cachegrind", "--cache-sim=yes", "--cachegrind-out-file=/dev/null", *levels]
        alone = {"cwd": folder, "env": {"PADDING": "x" * padding}}  # both lie on the stack and move it
        told = subprocess.run([*command, f"./{program.name}"], capture_output=True, text=True, check=False, **alone).stderr
        return np.array(
            [int(re.search(rf"{name} +misses: +([0-9,]+)", told)[1].replace(",", "")) for name in ("D1", "LLd")]
        )

    def fewest(**values):
        """Of three places of the stack, whose lines compete with the arrays in some sets."""
        once, twice = compiled(1, values), compiled(2, values)
        return np.min([count(twice, padding) - count(once, padding) for padding in (0, 350, 700)], axis=0)

    return fewest


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sizes"), IN_C)
def test_cachegrind_counts_the_same_misses_within_two_percent(misses_in_c, name, sizes):
    """The fast product in place and, where B is larger than three times the second level, packed."""
    taken = way(sizes, 4, BLOCKED) if name == "matmul" else Way(name == "matmul_packed", 0, True)
    number = NUMBERS["matmul_packed" if taken.packed else "matmul_register_blocked"] if name == "matmul" else NUMBERS[name]
    chosen = {field.upper(): value for field, value in BLOCKED._asdict().items() if field in C_KNOWS}

    found = simulate(name, sizes, [SMALL, SECOND], warm=True, chosen=BLOCKED)

    expected = misses_in_c(KERNEL=number, COPY=int(taken.copy_a), **dict(zip("MNK", (*sizes, 1), strict=False)), **chosen)
    assert list(found.misses) == pytest.approx(expected.tolist(), rel=0.02)


def test_every_trace_is_checked_against_cachegrind():
    assert set(NUMBERS) == set(TRACES)


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
