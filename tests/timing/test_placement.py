"""Where arrays lie: drawn in every round, shared by its alternatives, and the same arrays in all but their place."""

import contextlib
import ctypes
import gc
import sys
import weakref
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np
import pytest
from numba import njit, typed, typeof

from perflib import compare, kernels, measure
from perflib.kernels.buffers import aligned_empty
from perflib.kernels.description import Kernel
from perflib.kernels.probes.peak import FMA_PEAK_OPS
from perflib.runs.grid import GridPoint, checked_case
from perflib.timing import placement as timing_placement
from perflib.timing.case import Case, case
from perflib.timing.placement import Placement, drawn_seed
from perflib.timing.sampling import plan_batch, rounds

BRIEF = {"budget_s": 0.02}
LARGE = 4 << 20


class Pair(NamedTuple):
    first: np.ndarray
    second: np.ndarray


def numbers(*shape, dtype=np.float64):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def address(array):
    return array.__array_interface__["data"][0]


def noted(queue):
    """What functions put into a queue: perflib restores the sets and lists that they fill, and no queue."""
    return {queue.get() for _ in range(queue.qsize())}


def moved(*args, draws=1, step=64, **more):
    """The arguments after some draws."""
    placement, rng = Placement(args, step, **more), np.random.default_rng(0)
    current = placement.bind(args)
    for _ in range(draws):
        placement.draw(rng)
    return placement, current()


def misaligned(dtype):
    room = np.empty(1024, np.uint8)
    return room[1 : 1 + 20 * np.dtype(dtype).itemsize].view(dtype)


RECORD = np.dtype([("a", "i1"), ("b", "f8"), ("c", "S3")])
ARRAYS = {
    "C": numbers(3, 4),
    "F": np.asfortranarray(numbers(3, 4)),
    "transposed": numbers(3, 4).T,
    "strided": numbers(9, 8)[::2, 1::3],
    "backwards": numbers(20)[::-2],
    "broadcast": np.broadcast_to(numbers(4), (3, 4)),
    "no dimension": np.array(3.0),
    "records": np.zeros(5, RECORD),
    "dates": np.arange(4).astype("M8[s]"),
    "words": np.array(["one", "three"]),
    "not aligned": misaligned(np.float64),
    "wide": np.arange(4, dtype=np.longdouble),
    "read-only": numbers(4),
}
ARRAYS["read-only"].flags.writeable = False


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_is_the_same_in_all_but_its_place(name):
    array = ARRAYS[name]

    _, (copy,) = moved(array)

    assert copy is not array
    assert not np.may_share_memory(copy, array)
    assert (copy.shape, copy.strides, copy.dtype, str(copy.flags)) == (
        array.shape,
        array.strides,
        array.dtype,
        str(array.flags).replace("OWNDATA : True", "OWNDATA : False"),
    )
    assert copy.tobytes() == array.tobytes()
    assert address(copy) % 16 == address(array) % 16 or array.base is not None


@pytest.mark.parametrize("name", ["C", "F", "transposed", "strided", "records", "not aligned", "read-only", "broadcast"])
def test_numba_sees_the_same_type(name):
    _, (copy,) = moved(ARRAYS[name])

    assert typeof(copy) == typeof(ARRAYS[name])


@pytest.mark.parametrize("step", [16, 64])
def test_offsets_are_all_multiples_of_the_step_in_sixteen_pages(step):
    placement, rng, places = Placement((x := numbers(8),), step), np.random.default_rng(0), set()
    pages = set()
    current = placement.bind((x,))

    for _ in range(4000):
        placement.draw(rng)
        places.add(address(current()[0]) % 4096 - address(x) % 16)
        pages.add(address(current()[0]) // 4096)

    assert places == set(range(0, 4096, step))
    assert (len(pages), max(pages) - min(pages)) == (16, 15)


def test_what_is_not_aligned_stays_so():
    x = misaligned(np.float32)

    places = {address(moved(x, draws=n, step=64)[1][0]) % 64 for n in range(1, 9)}

    assert places == {address(x) % 16}


def test_views_of_one_array_move_as_one_block():
    base = numbers(100)
    left, right, flat = base[:50], base[50:], base.reshape(10, 10)

    placement, found = moved(left, right, flat, left)

    assert [address(a) - address(found[0]) for a in found] == [0, 400, 0, 0]
    assert found[0] is found[3], "an alias is one object"
    found[0][3] = -1
    assert found[2][0, 3] == -1
    assert base[3] == 3


def test_views_that_do_not_overlap_keep_their_distance():
    base = numbers(100)

    distances = {address(b) - address(a) for a, b in (moved(base[:9], base[80:], draws=n)[1] for n in range(1, 5))}

    assert distances == {640}


def test_overlapping_memory_of_two_owners_moves_as_one_block():
    room = (ctypes.c_ubyte * 800).from_buffer(bytearray(800))
    one, two = np.frombuffer(room, np.uint8, 500), np.frombuffer(memoryview(room)[100:], np.uint8)

    _, (first, second) = moved(one, two)

    assert address(second) - address(first) == 100


def test_arrays_that_share_nothing_move_apart():
    x, y = numbers(10), numbers(10)
    distances = set()

    for n in range(1, 30):
        _, (one, two) = moved(x, y, draws=n)
        distances.add(address(two) - address(one))

    assert len(distances) > 15


def test_tuples_are_made_anew_and_stay_what_they_are():
    x, y = numbers(3), numbers(4)

    _, (pair, plain, other) = moved(Pair(x, y), (x, (y, 3)), (1, "two"))

    assert type(pair) is Pair
    assert pair.first is plain[0]
    assert plain[1][0] is pair.second is not y
    assert (plain[1][1], other) == (3, (1, "two"))


def test_an_empty_array_is_itself():
    empty = np.empty((0, 5))

    placement, (found,) = moved(empty)

    assert found is empty
    assert (not placement, placement.notes) == (True, ())


class Strange:
    pass


class Subclass(np.ndarray):
    pass


def memory_map(folder):
    return np.memmap(folder / "numbers", np.float64, "w+", shape=8)


STAYS = {
    "an array of objects": (lambda folder: np.array([1, "two"], object), "it is an array of objects"),
    "strings of any length": (lambda folder: np.array(["one"], np.dtypes.StringDType()), "it is an array of objects"),
    "a subclass": (lambda folder: numbers(3).view(Subclass), "it is a Subclass"),
    "a masked array": (lambda folder: np.ma.array([1.0, 2]), "it is a MaskedArray"),
    "a memory map": (memory_map, "it is a memmap"),
    "a view of a memory map": (lambda folder: np.asarray(memory_map(folder))[2:], "it is a memory map"),
    "an array in a list": (lambda folder: [np.ones(3)], "it is a list that is large or holds more than plain data"),
    "a typed list": (lambda folder: typed.List([np.ones(3)]), "it is a List"),
    "an object": (lambda folder: Strange(), "it is a Strange"),
    "a list of objects": (lambda folder: [Strange()], "it is a list that is large or holds more than plain data"),
    "a long list": (lambda folder: list(range(10**6)), "it is a list that is large or holds more than plain data"),
}


@pytest.mark.parametrize("name", STAYS)
def test_what_cannot_be_placed_stays_and_is_named(tmp_path, name):
    make, reason = STAYS[name]
    value, x = make(tmp_path), numbers(3)

    placement, (one, (two, copy)) = moved(value, (value, x))

    assert one is two is value
    assert copy is not x
    assert placement.notes == (f"argument 0 stays where it lies: {reason}",)


def test_the_note_is_in_the_result():
    found = measure(np.sum, numbers(3).view(Subclass), **BRIEF)

    assert found.notes == ("argument 0 stays where it lies: it is a Subclass",)
    assert {s.placement for s in found.samples} == {0}
    assert found.sensitivity is None


def test_an_array_larger_than_half_of_the_free_memory_stays(monkeypatch):
    monkeypatch.setattr(timing_placement, "_available_bytes", lambda: 2000)
    small, large = numbers(10), numbers(126)

    placement, (one, two) = moved(small, large)

    assert one is not small
    assert two is large
    assert placement.notes == ("argument 1 stays where it lies: it is larger than half of the free memory",)


def test_containers_get_objects_of_their_own_in_every_draw_and_what_they_share_stays_shared():
    shared = [1, 2.5]
    args = ([shared, "x"], {"a": shared, 3: None}, {1, 2}, bytearray(b"ab"))
    placement, rng = Placement(args), np.random.default_rng(0)
    current = placement.bind(args)

    draws = [placement.draw(rng) or current() for _ in range(2)]

    assert draws[0] == draws[1] == args
    assert len({id(part) for found in (*draws, args) for part in found}) == 12
    assert all(found[0][0] is found[1]["a"] for found in draws)
    assert placement.notes == ()


def test_a_list_that_holds_itself_is_copied():
    loop = [1]
    loop.append(loop)

    _, (copy,) = moved(loop)

    assert copy is not loop
    assert copy[1] is copy


def test_a_reference_that_a_function_keeps_holds_what_it_held():
    """Its memory is not written to by later draws."""
    x, kept = numbers(4096), []
    placement, rng = Placement((x,), 16), np.random.default_rng(0)
    current = placement.bind((x,))

    for number in range(20):
        placement.draw(rng)
        kept.append(current()[0][number:])  # a view keeps it too

    assert all((view == x[number:]).all() for number, view in enumerate(kept))
    assert len({address(view) // 4096 for view in kept}) > 10


def test_memory_is_used_again_where_nobody_keeps_it():
    x = numbers(64)
    placement, rng, pages = Placement((x,), 16), np.random.default_rng(0), set()
    current = placement.bind((x,))

    for _ in range(20):
        placement.draw(rng)
        pages.add(address(current()[0]) // 4096)

    assert 10 < max(pages) - min(pages) < 16


def test_memory_goes_with_its_placement():
    x = numbers(64)
    placement, (copy,) = moved(x)
    memory = weakref.ref(placement._memory[timing_placement.BASE_KIB])

    del placement
    assert memory() is not None
    assert (copy == x).all()
    del copy
    assert memory() is None


@pytest.mark.parametrize(("size", "kib"), [(LARGE - 8, 4), (LARGE, 2048)])
def test_pages_are_huge_from_four_mebibytes_as_numpy_asks_for_them(monkeypatch, size, kib):
    asked = []
    monkeypatch.setattr(
        timing_placement, "mapped", lambda size, page_kib: asked.append(page_kib) or np.zeros(size, np.uint8)
    )

    moved(np.empty(size, np.uint8))

    assert set(asked) == {kib}


def test_a_draw_comes_back_by_its_number():
    x, y = numbers(8), numbers(9)
    placement, rng = Placement((x, y)), np.random.default_rng(0)
    current = placement.bind((x, y))
    places = []
    for _ in range(5):
        placement.draw(rng)
        places.append([address(a) % 4096 for a in current()])

    for number in (3, 1, 5):
        placement.revisit(number)
        assert [address(a) % 4096 for a in current()] == places[number - 1]
        assert placement.number == number
        addresses = placement.addresses(number)
        assert [addresses[name][0] % 4096 for name in "01"] == places[number - 1]


def placed_case(label, clock, args, placement, cost_ns=1000, writes=()):
    """A case on the hand-driven clock; `seen` are the arguments of each batch, `runs` how many it was asked for."""
    current, seen, runs = placement.bind(args), [], []

    def run(reps):
        runs.append(reps)
        arrays = current()
        seen.append([np.array(a) for a in arrays if isinstance(a, np.ndarray)])
        for i in writes if reps else ():
            arrays[i][...] = -1
        clock.now_ns += round(reps * (cost_ns(*arrays) if callable(cost_ns) else cost_ns))

    return Case(label, "call", run, placement=placement), seen, runs


def sampled(cases, clock, planned=12, reps=1000, seed=0, first=0):
    plan = {c.label: planned for c in cases}
    batches = rounds(cases, dict.fromkeys(plan, reps), np.random.default_rng(seed), plan, clock, first)
    return [sample for batch in batches for sample in batch]


def test_every_round_has_a_draw_of_its_own_that_all_alternatives_share(hand_clock):
    x = numbers(8)
    placement = Placement((x,))
    cases = [placed_case(name, hand_clock, (x,), placement)[0] for name in "abc"]

    samples = sampled(cases, hand_clock)

    assert {(s.round + 1, s.placement) for s in samples} == {(n, n) for n in range(1, 13)}
    assert len(placement._offsets) == 12


def test_a_case_without_a_placement_is_in_draw_0(hand_clock):
    samples = sampled([Case("plain", "call", hand_clock.arm(1))], hand_clock)

    assert {s.placement for s in samples} == {0}


def test_the_seed_decides_the_places(hand_clock):
    def offsets(seed):
        placement = Placement((x := numbers(8),))
        sampled([placed_case("a", hand_clock, (x,), placement)[0]], hand_clock, seed=seed)
        return np.array(placement._offsets).tolist()

    assert offsets(1) == offsets(1) != offsets(2)


def test_without_a_seed_one_is_drawn_and_kept(simulated, hand_clock):
    work = simulated(1000)

    first, second = (measure(work, numbers(8), clock=hand_clock) for _ in range(2))
    again = measure(work, numbers(8), clock=hand_clock, seed=first.seed)
    both = compare({"a": work, "b": work}, numbers(8), clock=hand_clock)

    assert first.seed != second.seed
    assert 0 <= first.seed < 1 << 63
    assert [s.reps for s in again.samples] == [s.reps for s in first.samples]
    assert len({m.seed for m in both.measurements.values()}) == 1
    assert drawn_seed(0) == 0


def test_contents_that_an_alternative_writes_are_restored_for_the_next(hand_clock):
    x, y = numbers(8), numbers(9)
    placement = Placement((x, y))
    writer, _, _ = placed_case("writes", hand_clock, (x, y), placement, writes=(0,))
    reader, seen, _ = placed_case("reads", hand_clock, (x, y), placement)
    again, seen_again, _ = placed_case("again", hand_clock, (x, y), placement)

    sampled([writer, reader, again], hand_clock)

    assert all((first == x).all() and (second == y).all() for first, second in (*seen, *seen_again))
    assert (x == numbers(8)).all(), "nothing is written to the caller's own"


def test_they_are_restored_too_where_the_place_stays(hand_clock, monkeypatch):
    monkeypatch.setattr(Placement, "period", 5)
    x = numbers(8)
    placement = Placement((x,))
    writer, _, _ = placed_case("writes", hand_clock, (x,), placement, writes=(0,))
    reader, seen, _ = placed_case("reads", hand_clock, (x,), placement)

    samples = sampled([writer, reader], hand_clock)

    assert {s.placement for s in samples} == {1, 2, 3}
    assert all((first == x).all() for (first,) in seen)


def test_an_output_that_everybody_writes_is_not_restored(hand_clock):
    x, out = numbers(8), np.zeros(8)
    placement = Placement((x, out), outputs=[out])
    writer, _, _ = placed_case("writes", hand_clock, (x, out), placement, writes=(1,))
    other, seen, _ = placed_case("other", hand_clock, (x, out), placement, writes=(1,))

    sampled([writer, other], hand_clock, planned=30)

    assert any((second == -1).all() for _, second in seen)


@pytest.mark.parametrize(("cost_ns", "reps", "expected"), [(30_000_000, 1, {0}), (600_000, 2, {1})])
def test_one_run_warms_up_after_a_draw_unless_a_run_fills_the_batch(hand_clock, cost_ns, reps, expected):
    x = numbers(8)
    one, _, runs = placed_case("a", hand_clock, (x,), Placement((x,)), cost_ns)
    planned = plan_batch(one, hand_clock)
    runs.clear()

    samples = sampled([one], hand_clock, reps=reps)

    assert set(runs[::2]) == expected
    assert [s.elapsed_ns for s in samples] == [cost_ns * s.reps for s in samples], "not in the time"
    assert planned == (reps, cost_ns * (reps + max(expected))), "but in the plan"


@pytest.mark.parametrize(
    ("size", "last_level", "cost_ns", "draws"),
    [
        (1 << 10, 1 << 20, 0, 12),
        (1 << 10, 1 << 20, 90_000, 12),
        (1 << 10, 1 << 20, 200_000, 3),
        (LARGE, 8 << 20, 0, 3),
        (LARGE, LARGE - 1, 0, 1),
        (LARGE, LARGE - 1, 10**9, 1),
    ],
    ids=["each round", "cheap", "a tenth of a batch", "from 4 MiB", "beyond the caches", "beyond the caches and expensive"],
)
def test_large_arrays_are_drawn_seldom(hand_clock, monkeypatch, size, last_level, cost_ns, draws):
    monkeypatch.setattr(timing_placement, "last_level_bytes", lambda: last_level)
    x = np.zeros(size, np.uint8)
    placement = Placement((x,))
    place = placement.revisit
    monkeypatch.setattr(
        placement, "revisit", lambda number: place(number) or setattr(hand_clock, "now_ns", hand_clock.now_ns + cost_ns)
    )

    one, _, _ = placed_case("a", hand_clock, (x,), placement)
    samples = [s for first in (0, 6) for s in sampled([one], hand_clock, 6, first=first)]

    assert max(s.placement for s in samples) == draws
    assert len({s.round for s in samples if s.placement == 1}) == {12: 1, 3: 5 if size == LARGE else 5, 1: 12}[draws]


@pytest.mark.parametrize("mode", ["latency", "cold"])
def test_modes_that_have_arrays_of_their_own_are_not_placed(monkeypatch, mode):
    monkeypatch.setattr("perflib.timing.cold_cache._pool_bytes", lambda: 1 << 16)

    found = measure(np.negative, numbers(8), mode=mode, **BRIEF)

    assert {s.placement for s in found.samples} == {0}


def test_mine_measures_the_arrays_where_they_lie(refused, monkeypatch):
    monkeypatch.setattr("perflib.timing.preflight.LEAST_PROBED_NS", 1e12)  # a slow first call is repeated with other values
    seen = SimpleQueue()

    def work(x):
        seen.put(address(x))

    found = measure(work, x := numbers(8), placement="mine", **BRIEF)
    both = compare({"a": work, "b": work}, x, placement="mine", **BRIEF)

    assert noted(seen) == {address(x)}
    assert {s.placement for m in (found, *both.measurements.values()) for s in m.samples} == {0}
    for function in (lambda **how: measure(work, x, **how), lambda **how: compare({"a": work, "b": work}, x, **how)):
        with refused(ValueError, "placement must be one of drawn, mine; got 'here'"):
            function(placement="here")


def test_arrays_of_a_user_lie_as_numpy_gives_them(simulated, hand_clock):
    x, seen = numbers(8), SimpleQueue()

    def work(x):
        seen.put(address(x) % 64)
        hand_clock.now_ns += 1000

    simulated(1)
    measure(work, x, seed=0, clock=hand_clock)

    assert noted(seen) == {address(x) % 16 + step for step in (0, 16, 32, 48)} | {address(x) % 64}


def test_those_of_a_described_kernel_lie_on_lines(monkeypatch):
    args, steps = (np.ones((1, 64)), np.ones(64)), []

    class Noting(Placement):
        def __init__(self, args, step, *more):
            steps.append(step)
            super().__init__(args, step, *more)

    monkeypatch.setattr(sys.modules["perflib.timing.measure"], "Placement", Noting)
    measure(kernels.rms_norm_fast, *args, **BRIEF)
    compare({"a": kernels.rms_norm_fast, "b": kernels.rms_norm_standard}, *args, **BRIEF)
    compare({"a": kernels.rms_norm_fast, "mine": lambda x, w: x}, *args, check=False, **BRIEF)
    measure(lambda x, w: x, *args, **BRIEF)

    assert steps == [64, 64, 16, 16, 64], "the last one: the same arrays, aligned"


@pytest.mark.parametrize(("split_ns", "is_shown"), [(1040, False), (1100, True)])
def test_where_aligned_arrays_take_another_time_both_are_shown(simulated, hand_clock, split_ns, is_shown):
    """Three of four places of NumPy's split lines."""
    x = numbers(8)

    def work(x):
        hand_clock.now_ns += 1000 if address(x) % 64 < 16 else split_ns

    simulated(1)
    found = measure(work, x, clock=hand_clock)

    assert found.gross_ns.value == pytest.approx(split_ns, rel=0.01)
    assert (found.aligned_ns is not None) is is_shown
    if is_shown:
        assert "with every array on a 64-byte boundary: 990 ns" in str(found)


@pytest.mark.parametrize(("split_ns", "is_shown"), [(6_000_000, False), (600_000, True)])
def test_a_long_call_is_not_measured_twice(simulated, hand_clock, split_ns, is_shown):
    x = aligned_empty(10, np.float64)[2:]

    def work(x):
        hand_clock.now_ns += split_ns if address(x) % 64 else split_ns // 2

    simulated(1)
    found = measure(work, x, clock=hand_clock)

    assert (found.aligned_ns is not None) is is_shown


def test_both_scopes_and_all_alternatives_find_the_arrays_in_the_same_place():
    queues = {name: SimpleQueue() for name in "ab"}
    x = numbers(8)

    def note(queue):
        return lambda x: queue.put(address(x))

    compare({name: note(queue) for name, queue in queues.items()}, x, **BRIEF)
    places = {name: noted(queue) for name, queue in queues.items()}

    assert places["a"] == places["b"]
    assert len(places["a"]) > 1


def test_compiled_code_is_compiled_once_for_all_places():
    kernel = njit(lambda x, y: x[0] + y[-1])

    found = measure(kernel, numbers(8)[::2], numbers(3), **BRIEF)

    assert all(s.compiled == 0 for s in (*found.samples, *found.call.samples))
    assert max(s.placement for s in found.samples) > 1


@pytest.mark.parametrize("fn", [lambda x: x, lambda x: x[1:]])
def test_a_function_that_returns_its_argument_or_a_view_of_it_is_measured(fn):
    found = measure(fn, numbers(8), **BRIEF)

    assert max(s.placement for s in found.samples) > 1


def test_a_function_that_keeps_its_last_argument_as_indices_stays_right():
    """A foreign reference into memory of the arena holds what it held."""
    kept = {}

    def work(indices):
        last = kept.setdefault("last", indices)
        assert last.max() == 7
        kept["last"] = indices

    assert measure(work, np.arange(8), **BRIEF).samples


class Interrupt(Exception):
    pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupt])
def test_an_interrupted_placement_leaves_nothing_and_changes_nothing(monkeypatch, error):
    x, out = numbers(8), np.zeros(8)
    before, placements = (x.tobytes(), out.tobytes()), []
    place = Placement._place

    def interrupted(self, offsets):
        place(self, offsets)
        placements.append(weakref.ref(self))
        if self.number == 3:
            raise error

    monkeypatch.setattr(Placement, "_place", interrupted)
    with contextlib.suppress(error):
        measure(np.add, x, x, **BRIEF)
    gc.collect()

    assert (x.tobytes(), out.tobytes()) == before
    assert placements
    assert all(placement() is None for placement in placements)


def cell(name, n=32, **more):
    return GridPoint(kernels.find(name), n, **more)


def test_cells_of_one_size_share_a_placement():
    inputs, rng = {}, np.random.default_rng(0)

    cases = [checked_case(c, inputs, rng) for c in (cell("matmul_ikj"), cell("matmul_naive"), cell("matmul_ikj", 48))]

    assert cases[0].placement is cases[1].placement is not cases[2].placement
    assert cases[0].placement.step == 64


@pytest.mark.parametrize("name", ["fma_peak", "memory_copy", "memory_read", "memory_chase"])
def test_kernels_whose_layout_is_what_is_measured_keep_their_own(name):
    dtype = "int64" if name == "memory_chase" else "float32"

    assert checked_case(cell(name, FMA_PEAK_OPS, dtype=dtype), {}, np.random.default_rng(0)).placement is None


def test_a_cell_may_keep_its_place_too():
    from perflib.studies.tile_size import conflict_block

    inputs, rng = {}, np.random.default_rng(0)

    assert checked_case(cell("matmul_ikj", placement="mine"), inputs, rng).placement is None
    assert checked_case(cell("matmul_ikj"), inputs, rng).placement is not None
    assert {c.placement for c in conflict_block(quick=True).cells} == {"mine"}


def test_what_a_library_gets_is_made_of_the_arrays_in_their_present_place(hand_clock):
    seen = []
    library = Kernel(
        "library",
        call=lambda place: seen.append(place),
        make=lambda n, dtype, rng: (np.ones(n, dtype),),
        flops=lambda n: n,
        bytes=lambda n, itemsize: n,
        native=lambda x: (address(x),),
    )

    one = checked_case(GridPoint(library, 8, "call"), {}, np.random.default_rng(0))
    sampled([one], hand_clock, reps=1)

    assert len({place % 4096 for place in seen}) > 5


def test_what_prepares_a_kernel_works_on_the_placed_arrays(hand_clock):
    """And there is no run between it and the batch."""
    x = np.zeros(8, np.float32)
    seen = []

    def step(x):
        seen.append(float(x[0]))
        x += 1

    restored = Kernel(
        "restored",
        call=step,
        make=lambda n, dtype, rng: (x,),
        flops=lambda n: n,
        bytes=lambda n, itemsize: n,
        prepare=lambda x: x.fill(0),
    )

    one = checked_case(GridPoint(restored, 8, "call"), {}, np.random.default_rng(0))
    sampled([one], hand_clock, reps=1)

    assert seen == [0.0] * 12
    assert (x == 0).all()


def test_a_case_takes_its_arguments_from_the_placement_in_both_scopes():
    x, out = numbers(8), np.zeros(8)

    @njit
    def copy(x, out):
        out[:] = x

    for scope in ("kernel", "call"):
        placement = Placement((x, out))
        one = case("copy", copy, (x, out), scope, current=placement.bind((x, out)))
        one.run(3)
        assert (out == 0).all()
        assert (placement.bind((x, out))()[1] == x).all()
