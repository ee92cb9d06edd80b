"""Functions that people write, each with the outcome that a careful engineer would call right.

Nothing here asks how fast this machine is: ratios to a loop of the test over the same work, states, reasons and contents.
"""

import array
import contextlib
import ctypes
import functools
import io
import itertools
import os
import pickle
import random
import subprocess
import sys
import threading
import time
from collections import OrderedDict, defaultdict, deque
from concurrent.futures import Future
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from blamed import blamed
from in_turn import is_outside, ratio_in_turn
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from numba import njit
from traitlets.config import Config

from perflib import Measurement, compare, described, measure
from perflib.errors import CallError, Unmeasurable
from perflib.kernels.caches import Cache
from perflib.stats import fewest_samples
from perflib.timing.fresh_arguments import COPIES, Pool, State
from perflib.timing.preflight import agree, formula_reason, run_preflight
from perflib.timing.sampling import POOLS, busy_libraries

BRIEF = {"budget_s": 0.03}
BOTH_WAYS = ("fresh=make or fresh=True", "in_place=True")
numbers = np.arange(50.0)[::-1].copy()
words = ["b", "a", "c"]
letters = {"a", "b", "c"}
memo = {}
scratch = np.zeros(50)


def draw(rng):
    return rng.random(300)


@njit
def sort_compiled(x):
    x.sort()


@njit
def add_product(c, a, b):
    for i in range(c.shape[0]):
        for k in range(a.shape[1]):
            for j in range(c.shape[1]):
                c[i, j] += a[i, k] * b[k, j]


@njit
def triangle(n):
    total = 0
    for i in range(n):
        total += i
    return total


@njit
def first_multiple(n):
    for i in range(1, n):
        if i % 7 == 0:
            return i
    return 0


def count_up(n):
    yield from range(n)


async def asynchronous():
    yield 1


@contextlib.contextmanager
def opened():
    yield 1


async def answer():
    return 1


@functools.cache
def squares(n):
    return sum(i * i for i in range(n))


def remembered(n):
    if n not in memo:
        memo[n] = sum(range(n))
    return memo[n]


class Stack:
    def __init__(self):
        self.items, self.calls = list(range(9)), 0

    def push(self):
        self.items.append(1)

    def count(self):
        self.calls += 1
        return len(self.items)

    def replace(self):
        self.items = self.items[::-1]


class Columns(np.ndarray):
    @staticmethod
    def of(array):
        return array.view(Columns)

    def max(self, *args, **kwargs):
        raise TypeError("not as an array does")


class LazyFrame:
    def collect(self):
        return [1]


class Graph:
    def __dask_graph__(self):
        return {}

    def compute(self):
        return [1]


class Promise:
    """Like an array of JAX."""

    waits = itertools.count()

    def block_until_ready(self):
        next(Promise.waits)


def closure_of(x):
    return lambda: x.sort()


def fingerprint(*values):
    return [v.tobytes() if isinstance(v, np.ndarray) else repr(v) for v in values]


def loop_ns(fn, make, clock=time.perf_counter_ns):
    """Nanoseconds of a call, each on arguments that were never seen; the shortest of some loops."""
    best = []
    for _ in range(15):
        sets = make()
        start = clock()
        for args in sets:
            fn(*args)
        best.append((clock() - start) / len(sets))
    return min(best)


# what changes


@pytest.mark.parametrize(
    ("fn", "args", "name"),
    [
        (np.ndarray.sort, (numbers,), "argument 0 (ndarray)"),
        (list.sort, (words,), "argument 0 (list)"),
        (lambda d: d.update(z=len(d)), ({"a": 1},), "argument 0 (dict)"),
        (lambda q: q.rotate(1), (deque([1, 2, 3]),), "argument 0 (deque)"),
        (lambda rows: rows[0].append(1), ([[1], [2]],), "argument 0 (list)"),
        (lambda x: x[0].sort(), ((numbers, 1),), "argument 0 (ndarray)"),
        (lambda: numbers.sort(), (), "global numbers (ndarray)"),
        (lambda: words.append("d"), (), "global words (list)"),
        (closure_of(numbers), (), "x of its closure (ndarray)"),
        (functools.partial(np.ndarray.sort, numbers), (), "its bound argument (ndarray)"),
        (Stack().push, (), "self (list)"),
        (Stack().replace, (), "self (list)"),
        (numbers.sort, (), "self (ndarray)"),
        (lambda: sort_compiled(numbers), (), "global numbers (ndarray)"),
        (sort_compiled, (numbers,), "argument 0 (ndarray)"),
    ],
)
def test_what_a_function_changes_is_named_with_both_ways_to_measure_it_and_restored(refused, fn, args, name):
    before = fingerprint(numbers, words, *args)

    with refused(Unmeasurable, "must not change", f"got {name} changed in place", *BOTH_WAYS):
        measure(fn, *args)

    assert fingerprint(numbers, words, *args) == before


def test_subclasses_of_arrays_are_watched_with_what_belongs_to_them(refused):
    masked = np.ma.array([3.0, 1.0, 2.0], mask=[False, True, False])

    with refused(Unmeasurable, "got argument 0 (ndarray) changed in place"):
        measure(lambda x: x.sort(), masked)
    with refused(Unmeasurable, "got argument 0 (ndarray) changed in place"):
        measure(lambda x: x.sort(), Columns.of(np.arange(9)[::-1].copy()))

    assert masked.data.tolist() == [3, 1, 2]
    assert masked.mask.tolist() == [False, True, False]


def test_an_object_that_can_be_called_is_watched(refused):
    class Layer:
        def __init__(self):
            self.weights, self.options = np.ones(3), {}

        def __call__(self, x):
            self.weights += x

        def step(self):
            self.weights -= 1

    layer = Layer()

    for fn, args in ((layer, (1.0,)), (layer.step, ())):
        with refused(Unmeasurable, "got self (ndarray) changed in place"):
            measure(fn, *args)
    assert layer.weights.tolist() == [1, 1, 1]


def test_a_property_that_is_computed_once_is_a_reason_and_is_computed_again_afterwards():
    class Table:
        @functools.cached_property
        def total(self):
            return sum(range(50_000))

    table = Table()

    found = measure(lambda: table.total, **BRIEF)

    assert any("filled table of its closure.total" in reason for reason in found.reasons)
    assert vars(table) == {}


def test_a_result_that_lies_in_an_output_does_not_vary():
    assert not run_preflight("work", lambda o: np.cumsum(numbers, out=o), (np.empty(50),)).varies


def test_a_frame_and_the_attributes_of_an_argument_are_watched(refused):
    pandas = pytest.importorskip("pandas")
    frame, stack = pandas.DataFrame({"a": [3, 1, 2]}), Stack()

    def turn(df):
        df["a"] = df["a"].to_numpy()[::-1].copy()

    with refused(Unmeasurable, "got argument 0 (DataFrame) changed in place"):
        measure(turn, frame)
    with refused(Unmeasurable, "got argument 0 (list) changed in place"):
        measure(Stack.push, stack)
    found = measure(turn, frame, fresh=True, **BRIEF)

    assert list(frame["a"]) == [3, 1, 2]
    assert stack.items == list(range(9))
    assert not blamed(found)


@dataclass
class Parts:
    items: list
    count: int = 0
    total: complex = 0j


class Slots:
    __slots__ = ("items",)

    def __init__(self):
        self.items = [1]

    def push(self):
        self.items.append(2)


class PrivateSlot:
    __slots__ = "__items"  # one name, kept as _PrivateSlot__items

    def __init__(self):
        self.__items = [1]

    def push(self):
        self.__items.append(2)


class WeakSlots:
    __slots__ = ("__weakref__", "empty", "items")

    def __init__(self):
        self.items = [1]


class Registry:
    known = []

    @classmethod
    def register(cls):
        cls.known.append(1)

    def enter(self):
        self.known.append(1)


def add_one(buffer):
    buffer[0] += 1


@pytest.mark.parametrize(
    ("fn", "args", "name"),
    [
        (lambda parts: parts.items.append(1), (Parts([1]),), "argument 0 (list)"),
        (Slots().push, (), "self (list)"),
        (lambda slots: slots.items.append(1), (Slots(),), "argument 0 (list)"),
        (PrivateSlot().push, (), "self (list)"),
        (lambda slots: slots.items.append(1), (WeakSlots(),), "argument 0 (list)"),
        (Registry.register, (), "self (list)"),
        (Registry().enter, (), "self (list)"),
        (lambda rows: rows[0].append(1), (np.array([[1], None], dtype=object),), "argument 0 (list)"),
        (add_one, (memoryview(bytearray(b"ab")),), "argument 0 (ndarray)"),
        (add_one, ((ctypes.c_double * 3)(),), "argument 0 (ndarray)"),
        (array.array.reverse, (array.array("d", [1, 2, 3]),), "argument 0 (array)"),
        (lambda d: d.move_to_end(next(iter(d))), (OrderedDict.fromkeys("abc"),), "argument 0 (OrderedDict)"),
        (lambda d: d[len(d)], (defaultdict(list),), "argument 0 (defaultdict)"),
        (lambda: letters.pop(), (), "global letters (set)"),
    ],
)
def test_what_hides_in_objects_classes_and_memory_is_watched(refused, fn, args, name):
    def contents():
        plain = [bytes(arg) if isinstance(arg, (memoryview, ctypes.Array)) else pickle.dumps(arg) for arg in args]
        return [*plain, sorted(letters), list(Registry.known)]

    before = contents()
    with refused(Unmeasurable, f"got {name} changed in place"):
        measure(fn, *args)

    assert contents() == before


def test_counters_and_random_numbers_are_no_change_and_go_back():
    parts, rng, other = Parts([]), np.random.default_rng(5), random.Random(5)
    calls = 0

    def work(x):
        nonlocal calls
        calls += 1
        parts.count += 1
        parts.total += 1j
        return x.random() + other.random() + np.random.rand() + random.random()  # noqa: NPY002

    hidden = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    before = rng.bit_generator.state, other.getstate()
    found = measure(work, rng, **BRIEF)

    assert not blamed(found)
    assert (calls, parts.count, parts.total) == (0, 0, 0)
    assert (rng.bit_generator.state, other.getstate()) == before
    assert (random.getstate(), np.random.get_state()[1].tolist()) == hidden  # noqa: NPY002


@pytest.mark.parametrize("stream", [io.StringIO("1\n2\n"), io.BytesIO(b"1\n2\n")])
def test_a_file_in_memory_holds_what_it_held_and_is_read_from_there(refused, stream):
    before = stream.getvalue()

    for work in (lambda: stream.read(), lambda: stream.write(before)):
        with refused(Unmeasurable, f"uses up stream of its closure ({type(stream).__name__})"):
            measure(work)
    found = measure(lambda: (stream.seek(0), stream.read())[1], **BRIEF)

    assert not any("changed" in reason for reason in found.reasons)
    assert (stream.tell(), stream.getvalue()) == (0, before)


def test_an_iterator_that_nobody_can_look_into_is_used_up_where_results_differ(refused):
    with refused(Unmeasurable, "list uses up argument 0 (map), which cannot be restored"):
        measure(list, map(str, range(3)))
    assert measure(lambda lines: sum(range(99)), map(str, words), **BRIEF).notes


def test_what_is_no_argument_can_be_made_one(refused):
    with refused(Unmeasurable, "got global words (list) changed in place", "pass it as an argument and give fresh=make"):
        measure(lambda: words.append(1))


def test_a_nonlocal_name_that_is_bound_anew_is_a_change(refused):
    values = [3, 1, 2]

    def rotate():
        nonlocal values
        values = values[1:] + values[:1]

    with refused(Unmeasurable, "got values of its closure (list) changed in place"):
        measure(rotate)
    assert values == [3, 1, 2]


@pytest.mark.parametrize(
    "fn",
    [
        Stack().count,
        lambda: np.add(numbers, 1, out=scratch),
        lambda: dict.fromkeys(words),
        lambda: numbers.sum(),
        lambda x=numbers: x + 1,
    ],
)
def test_counters_scratch_arrays_and_what_is_only_read_are_no_change(fn):
    before = fingerprint(numbers, words, scratch)

    found = measure(fn, **BRIEF)

    assert not blamed(found)
    assert fingerprint(numbers, words, scratch) == before


def test_an_output_that_is_an_argument_holds_what_it_held():
    out = np.full(50, 7.0)

    found = measure(np.add, numbers, numbers, out, **BRIEF)

    assert not blamed(found)
    assert (out == 7).all()


@pytest.mark.parametrize("how", [{"fresh": True}, {"in_place": True}])
@pytest.mark.parametrize("value", [numbers, list(numbers), deque(numbers)], ids=["array", "list", "deque"])
def test_whatever_a_function_changes_is_restored(how, value):
    def rotate(x):
        first = x[0]
        for i in range(len(x) - 1):
            x[i] = x[i + 1]
        x[-1] = first

    before = fingerprint(value)
    measure(rotate, value, **how, **BRIEF)

    assert fingerprint(value) == before


def test_a_change_at_a_later_call_is_told():
    calls = itertools.count()

    def late():
        if next(calls) > 5:
            words.append("x")

    found = measure(late, **BRIEF)

    assert found.state == "invalid"
    assert any("global words changed during the timed part" in reason for reason in found.reasons)
    assert words == ["b", "a", "c"]


def test_a_function_that_raises_at_a_later_call_is_told_in_one_line(refused):
    calls = itertools.count()

    def fifth():
        if next(calls) == 4:
            raise OSError("gone")

    with refused(Unmeasurable, "fifth must not raise, got OSError: gone, at a later call"):
        measure(fifth)


def test_a_file_that_is_closed_and_a_generator_that_is_used_up_are_named(refused, tmp_path):
    (tmp_path / "x").write_text("1\n2\n")

    def read(file):
        with file:
            return file.read()

    with refused(Unmeasurable, "at its second call: it uses up argument 0", "fresh=make"):
        measure(read, (tmp_path / "x").open())
    with refused(Unmeasurable, "sum uses up argument 0 (generator), which cannot be restored", "fresh=make"):
        measure(sum, (i for i in range(10)))


def test_threads_that_go_on_are_a_reason():
    stop = threading.Event()

    found = measure(lambda: threading.Thread(target=stop.wait, daemon=True).start(), budget_s=0.2)
    stop.set()

    assert found.state == "invalid"
    assert any("threads or processes that go on after it returned" in reason for reason in found.reasons)


def test_processes_that_go_on_are_a_reason():
    class Kept:
        children = []

    def start():
        Kept.children.append(subprocess.Popen(["sleep", "60"]))

    reasons = run_preflight("start", start, ()).reasons
    for child in Kept.children:
        child.terminate()
        child.wait()

    assert reasons == ("it starts threads or processes that go on after it returned: their work is not in its time",)
    assert run_preflight("run", lambda: subprocess.run(["true"], check=True).returncode, ()).reasons == ()


# arguments of its own


@pytest.mark.parametrize("fresh", [draw, lambda rng: (rng.random(300),), True, [0], (-1,)])
@pytest.mark.parametrize("fn", [np.ndarray.sort, sort_compiled])
def test_every_run_has_its_own_arguments(fn, fresh):
    args = () if callable(fresh) else (numbers,)

    found = measure(fn, *args, fresh=fresh, **BRIEF)

    assert any("every run has its own arguments: " in note for note in found.notes)
    assert (COPIES in found.notes) is not callable(fresh)
    assert (found.call is None) is (fn is np.ndarray.sort)


def test_no_run_sees_what_another_one_left():
    bad = itertools.count()

    def work(x, box):
        if x[0] != 5 or box != [1, 2]:
            next(bad)
        x[0] = 0
        box.append(x)

    measure(work, np.array([5.0, 1.0]), [1, 2], fresh=True, **BRIEF)

    assert next(bad) == 0


def test_no_alternative_sees_what_another_one_left():
    seen = itertools.count()

    def sort(x):
        if (np.diff(x) >= 0).all():
            next(seen)
        x.sort()

    def look(x):
        if (np.diff(x) >= 0).all():
            next(seen)
        return x.sort()

    compare([sort, look, sort_compiled], fresh=draw, **BRIEF)
    compare([sort, look], numbers, fresh=True, **BRIEF)
    compare([list.sort, lambda x: (x == sorted(x) and next(seen), x.sort())[1]], list(numbers), fresh=True, **BRIEF)

    assert next(seen) == 0


@pytest.mark.parametrize(
    ("set_bytes", "shared", "count"),
    [(48 << 10, 0, 1), (24 << 10, 0, 2), (24 << 10, 24 << 10, 1), ((48 << 10) + 64, 0, 15)],
)
def test_a_pool_lies_in_the_smallest_cache_that_holds_a_set_and_leaves_it_a_quarter(monkeypatch, set_bytes, shared, count):
    caches = (Cache(1, "Data", 64 << 10), Cache(2, "Unified", 1 << 20))
    monkeypatch.setattr("perflib.timing.fresh_arguments.reported_caches", lambda: caches)

    assert Pool._sets_that_fit(SimpleNamespace(set_bytes=set_bytes), shared, call_ns=1000, draw_ns=0, budget_s=1) == count


def test_a_run_that_is_shorter_than_the_clock_can_tell_copies_in_the_run_and_subtracts_it(monkeypatch):
    monkeypatch.setattr("perflib.timing.fresh_arguments.SHORTEST_NS", 1e12)
    monkeypatch.setattr("perflib.timing.fresh_arguments.NEXT_CACHE", 1e12)
    monkeypatch.setattr("perflib.timing.fresh_arguments.SMALL_SET", 0)

    found = measure(sort_compiled, numbers, fresh=True, **BRIEF)

    assert any("the time of the copy is subtracted" in note for note in found.notes)
    assert found.gross_ns.value > found.time_ns.value > 0
    assert (numbers == np.arange(50.0)[::-1]).all()


def test_alternatives_with_the_copy_in_their_runs_are_compared_without_it(monkeypatch):
    monkeypatch.setattr("perflib.timing.fresh_arguments.SHORTEST_NS", 1e12)
    monkeypatch.setattr("perflib.timing.fresh_arguments.NEXT_CACHE", 1e12)
    monkeypatch.setattr("perflib.timing.fresh_arguments.SMALL_SET", 0)

    found = compare([sort_compiled, sort_compiled], numbers, fresh=True, **BRIEF)

    assert all(m.gross_ns.value > m.floor_ns.value for m in found.measurements.values())
    assert set(found.ratios) == {"sort_compiled 2"}


@pytest.mark.parametrize("way", [{"fresh": draw}, {"fresh": True}, {"in_place": True}])
def test_fresh_processes_take_the_same_ways(way):
    args = () if callable(way.get("fresh")) else (numbers,)

    found = measure(np.ndarray.sort, *args, **way, processes=2, **BRIEF)

    assert len(found.processes_ns) == 2
    assert found.notes


@pytest.mark.parametrize(
    ("fresh", "words"),
    [
        (count_up, "fresh must return the arguments, got a generator"),
        (lambda rng: numbers, "fresh must return new arguments each time, got the same ndarray again"),
        (lambda rng: 1 / 0, "fresh must be a function of a random generator, it raised ZeroDivisionError"),
    ],
)
def test_a_make_that_returns_the_same_or_nothing_to_work_on_is_refused(refused, fresh, words):
    with refused(Unmeasurable, words):
        measure(np.ndarray.sort, fresh=fresh)


def test_arguments_that_every_draw_shares_are_no_part_of_the_pool():
    shared = np.ones(1000)

    found = measure(lambda y, x: (y.sort(), x.sum()), fresh=lambda rng: (rng.random(10), shared), **BRIEF)

    (pool,) = [note for note in found.notes if "sets" in note]
    assert float(pool.partition("(")[2].partition(" KiB")[0]) < 24, "without the 8 KB of the shared ones"
    assert (shared == 1).all()


def test_numbers_that_are_drawn_leave_compiled_code_its_loop():
    scaled = njit(lambda x, factor: (x * factor).sum())

    found = measure(scaled, fresh=lambda rng: (rng.random(300), rng.random()), **BRIEF)

    assert (found.scope, found.call.scope) == ("kernel", "call")


@njit
def length(x, box):
    return x[0]


def test_compiled_functions_of_objects_are_compared_from_python():
    found = compare([length, length], fresh=lambda rng: (rng.random(9), (rng.random(3),)), **BRIEF)

    assert {m.scope for m in found.measurements.values()} == {"call"}


def test_a_generator_can_be_the_argument_of_every_run():
    found = measure(sum, fresh=lambda rng: ((i for i in range(100)),), **BRIEF)

    assert found.state != "invalid"


@pytest.mark.parametrize("bad", [[3], "x", 1.5])
def test_indices_of_arguments_that_do_not_exist_are_refused(refused, bad):
    with refused(ValueError, "fresh must be a function of a random generator, True, or indices below 1"):
        measure(np.ndarray.sort, numbers, fresh=bad)


def test_fresh_and_in_place_exclude_each_other_and_other_modes(refused):
    with refused(ValueError, "fresh and in_place exclude each other"):
        measure(np.ndarray.sort, numbers, fresh=True, in_place=True)
    with refused(ValueError, "fresh and in_place need mode 'throughput', got 'cold'"):
        measure(np.ndarray.sort, numbers, fresh=True, mode="cold")


@pytest.mark.parametrize(("call_ns", "is_copied"), [(2_500, False), (300, True)])
def test_a_run_that_the_next_cache_hardly_delays_is_not_timed_with_a_copy(call_ns, is_copied):
    """A copy before a sort of 1,000 hides behind the last one: subtracted, it made the sort 8 to 13 % too fast."""
    pool = Pool((np.ones(1000),), (0,), call_ns)

    assert (pool.is_copied("call"), pool.is_copied("kernel")) == (is_copied, is_copied)


@njit
def sort_rows(rows):
    for i in range(len(rows)):
        rows[i].sort()


def sorting_ns(fn, size, scope, clock):
    """Nanoseconds of a sort in a loop of the test over numbers that it has never seen; the median of some loops."""
    rng, times = np.random.default_rng(), []
    for _ in range(30 if size < 10_000 else 3):
        rows = rng.random((20 if size < 10_000 else 10, size))
        each = list(rows)
        start = clock()
        if scope == "kernel":
            sort_rows(rows)
        else:
            for row in each:
                fn(row)
        times.append((clock() - start) / len(rows))
    return np.median(times)


@pytest.mark.parametrize(("fn", "scope"), [(np.ndarray.sort, "call"), (sort_compiled, "call"), (sort_compiled, "kernel")])
@pytest.mark.parametrize(
    ("size", "clock"),
    [(1000, time.perf_counter_ns), (100_000, time.thread_time_ns)],  # reading the second one takes microseconds
    ids=["short", "long"],
)
def test_a_sort_in_place_takes_as_long_as_in_a_loop_over_different_numbers(fn, scope, size, clock):
    def measured_ns():
        return measure(fn, fresh=lambda rng: rng.random(size), scope=scope, budget_s=0.2, clock=clock).time_ns.value

    sorting_ns(sort_compiled, 9, scope, clock)  # compiles

    ratio = ratio_in_turn(measured_ns, lambda: sorting_ns(fn, size, scope, clock), 0.05)

    assert not is_outside(ratio, 0.05), f"{ratio:.3f}"


# in place


def test_runs_in_place_go_on_and_end_before_a_number_overflows():
    found = measure(lambda x: np.multiply(x, 1e10, out=x), np.ones(9), in_place=True, **BRIEF)

    assert max(s.reps for s in found.samples) <= 30
    assert any("restored before each batch of at most" in note for note in found.notes)


def test_runs_in_place_end_before_there_is_nothing_left_to_take():
    full = dict.fromkeys(range(100))

    found = measure(lambda d: d.popitem(), full, in_place=True, **BRIEF)

    assert max(s.reps for s in found.samples) <= 100
    assert list(full) == list(range(100))


def test_a_pool_for_short_runs_fills_a_batch():
    found = measure(lambda d: d.popitem(), dict.fromkeys(range(9)), fresh=True, **BRIEF)

    assert min(s.reps for s in found.samples) > 30


def test_a_method_of_python_that_belongs_to_no_module_is_measured():
    assert measure("".join, ["a", "b"], **BRIEF).code is None


@pytest.mark.parametrize(("start", "factor"), [(1e300, 1e300), (1e-300, 1e-10)])
def test_a_run_that_overflows_at_once_is_refused(refused, start, factor):
    x = np.full(9, start)

    with (
        refused(Unmeasurable, "overflows or ends in numbers too small; give fresh=make"),
        np.errstate(all="ignore"),
    ):
        measure(lambda x: np.multiply(x, factor, out=x), x, in_place=True)
    assert (x == start).all()


def test_an_update_in_place_takes_as_long_as_one_whose_output_is_described(monkeypatch):
    monkeypatch.setattr("perflib.kernels.catalog._registered", {})
    work = {"make": lambda n, dtype, rng: tuple(rng.random((3, n, n))), "flops": lambda n: 2 * n**3}
    outputs = described(**work, bytes=lambda n, itemsize: 3 * n * n * itemsize, output=0)(njit(add_product.py_func))
    a, b, c = np.random.default_rng(0).random((3, 40, 40))
    settings = {"scope": "kernel", "placement": "mine", "budget_s": 0.1, "clock": time.thread_time_ns}

    def in_place_ns():
        before = fingerprint(a, b, c)
        found = measure(add_product, c, a, b, in_place=True, **settings)
        assert fingerprint(a, b, c) == before
        return found.time_ns.value

    ratio = ratio_in_turn(in_place_ns, lambda: measure(outputs, c, a, b, **settings).time_ns.value, 0.02)

    assert not is_outside(ratio, 0.02), f"{ratio:.3f}"


# what is no result


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (lambda: count_up(9), "returns a generator, and nothing of its body ran; measure lambda: list(f(...))"),
        (lambda: map(str, words), "returns an iterator (map)"),
        (lambda: zip(words, words, strict=True), "returns an iterator (zip)"),
        (asynchronous, "returns an asynchronous generator, and nothing of its body ran"),
        (opened, "returns a context manager, and nothing of its body ran"),
        (answer, "returns a coroutine"),
        (Future, "returns a Future"),
        (LazyFrame, "the result is a plan (LazyFrame) and not its data; measure lambda: f(...).collect()"),
        (Graph, "the result is a plan (Graph) and not its data; measure lambda: f(...).compute()"),
        (lambda: pd.Series([1.0, 2.0]).groupby([0, 1]), "the result is a plan (SeriesGroupBy) and not its data"),
        (lambda: pd.Series([1.0, 2.0]).rolling(2), "measure lambda: f(...).mean(), or what you ask of the groups"),
        (lambda: squares(1000), "squares answers from its cache (cache_info().hits rose): measure squares.__wrapped__"),
        (functools.partial(squares, 1000), "squares answers from its cache"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_result_that_is_not_the_work_is_invalid_and_says_what_to_write(fn, words):
    found = measure(fn, **BRIEF)

    assert found.state == "invalid"
    assert any(words in reason for reason in found.reasons), found.reasons


def test_a_cached_function_is_invalid_and_what_it_wraps_is_not():
    assert any("squares answers from its cache" in reason for reason in measure(squares, 500, **BRIEF).reasons)
    assert measure(squares.__wrapped__, 500, **BRIEF).state != "invalid"


def test_a_memo_that_the_first_call_fills_is_a_reason():
    memo.clear()

    found = measure(remembered, 30_000, **BRIEF)

    assert found.state == "invalid"
    assert any("the first one filled global memo: later calls are answered from a cache" in r for r in found.reasons)
    assert memo == {}


def slow_once(clock):
    costs = itertools.chain([9_000_000], itertools.repeat(20_000))
    return lambda x: clock.arm(next(costs))(1)


def test_only_the_first_call_slow_is_a_note(hand_clock):
    conduct = run_preflight("work", slow_once(hand_clock), (1,), clock=hand_clock)

    assert conduct.reasons == ()
    assert conduct.notes == ("its first call took 9 ms, the second 20 µs",)


@pytest.mark.parametrize(("first_ns", "reasons"), [(9_000_000, 1), (60_000, 0)], ids=["a cache", "cold code"])
def test_slow_with_other_values_again_is_a_reason_unless_it_may_be_cold_code(hand_clock, first_ns, reasons):
    class Known:
        values = set()  # nobody sees it

    def work(x):
        hand_clock.arm(first_ns // 450 if x in Known.values else first_ns)(1)
        Known.values.add(x)

    conduct = run_preflight("work", work, (1,), clock=hand_clock)

    assert len(conduct.reasons) == reasons
    assert all("and so it was with other values: later calls are answered from a cache" in r for r in conduct.reasons)


def test_an_asynchronous_result_is_waited_for_in_the_time():
    Promise.waits = itertools.count()

    found = measure(lambda: {"loss": Promise()}, **BRIEF)

    assert any("block_until_ready is a part of the time" in note for note in found.notes)
    assert next(Promise.waits) >= sum(s.reps for s in found.samples)


def test_a_jax_product_is_waited_for():
    jax = pytest.importorskip("jax", reason="JAX is not installed: pip install 'perflib[jax]'")
    x = jax.numpy.ones((1024, 1024))

    def measured_ns():
        found = measure(lambda a: a @ a, x, threads=os.cpu_count() or 1, budget_s=0.3)
        return min(s.per_run_ns for s in found.samples)

    ratio = ratio_in_turn(measured_ns, lambda: loop_ns(lambda: (x @ x).block_until_ready(), lambda: [()] * 10), 0.05)

    assert not is_outside(ratio, 0.05), f"{ratio:.3f}"


def test_cores_beyond_those_declared_are_told_with_whose_they_are():
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core")

    def both():
        other = threading.Thread(target=lambda: np.sin(np.ones(2_000_000)))
        other.start()
        np.sin(np.ones(2_000_000))
        other.join()

    found = measure(both, budget_s=0.3)

    told = [r for r in found.reasons if "cores were busy" in r]
    assert not told or "cores were busy by threads of its own" in told[0]


@pytest.mark.parametrize(("count", "names"), [(2, "openblas"), (1, "threads of its own or of XLA")])
def test_a_library_whose_threads_nothing_counts_is_not_blamed_alone(monkeypatch, count, names):
    for module in POOLS:
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "jaxlib", object())
    pools = [{"internal_api": "openblas", "user_api": "blas", "num_threads": count}]
    monkeypatch.setattr("perflib.timing.sampling.threadpool_info", lambda: pools)

    assert busy_libraries(1) == names


@pytest.mark.parametrize(("n", "time_ns", "is_one"), [(10_000, 1.6, True), (10_000, 3000.0, False), (100, 1.6, False)])
def test_a_loop_that_takes_fewer_cycles_than_turns_was_a_formula(n, time_ns, is_one):
    reason = formula_reason(triangle, (n,), time_ns, 1)

    assert bool(reason) is is_one
    assert formula_reason(first_multiple, (n,), time_ns, 1) is None, "a loop with a way out"


def test_a_loop_that_became_a_formula_is_invalid_in_the_kernel():
    found = measure(triangle, 1_000_000, **BRIEF)

    assert found.state == "invalid"
    assert any("1000000 turns of its loop in" in reason for reason in found.reasons)
    assert not any("formula" in reason for reason in measure(first_multiple, 1_000_000, **BRIEF).reasons)


# results of alternatives


def test_alternatives_whose_results_differ_are_a_warning_and_a_note():
    functions = {"plus": lambda x: x + 1, "times": lambda x: x * 0}

    with pytest.warns(UserWarning, match="times does not compute what plus does"):
        found = compare(functions, numbers, **BRIEF)
    assert "times does not compute what plus does: their results differ" in str(found)
    assert "their results differ" in found._repr_html_()


@pytest.mark.parametrize("check", [False, lambda a, b: True, lambda a, b: np.testing.assert_equal(a.shape, b.shape)])
def test_the_check_can_be_switched_off_and_replaced(check):
    assert compare([lambda x: x + 1, lambda x: x * 0], numbers, check=check, **BRIEF).notes == ()


@pytest.mark.parametrize("check", [lambda a, b: False, lambda a, b: np.testing.assert_allclose(a, b + 1)])
def test_a_check_of_the_user_decides(check):
    with pytest.warns(UserWarning, match="does not compute"):
        compare([lambda x: x + 1, lambda x: x + 1], numbers, check=check, **BRIEF)


def test_what_alternatives_write_is_compared_as_well():
    with pytest.warns(UserWarning, match="does not compute"):
        compare([np.ndarray.sort, lambda x: x.fill(0)], numbers, fresh=True, **BRIEF)
    assert compare([np.ndarray.sort, sort_compiled], numbers, fresh=True, scope="call", **BRIEF).notes == ()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1.0, 1.0 + 1e-12, True),
        (np.float32(1), np.float32(1.0001), True),
        (1.0, 1.001, False),
        (np.ones(3), [1, 1, 1], True),
        (np.ones(3), np.ones(4), False),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1.0, np.nan]), np.array([1.0, 2.0]), False),
        (np.array([1e9, 0.0]), np.array([1e9, 1e-3]), True),
        ({"a": 1.0}, {"a": 1.0}, True),
        ({"a": 1.0}, {"b": 1.0}, False),
        ((1, [2.0]), (1, [3.0]), False),
        ("x", "y", False),
        (None, None, True),
        (None, 1, False),
        (object(), object(), True),
        ([[1], [2, 3]], [[1], [2, 4]], False),
        ({1, 2}, {2, 1}, True),
        (3, 4, False),
    ],
)
def test_results_agree_within_the_precision_of_their_kind(one, other, same):
    assert agree(one, other) is same


# calling


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: measure(sum(words and [1])),
            ("measure takes a function", "got a int", "measure(f, x) and not measure(f(x))"),
        ),
        (lambda: measure(None), ("measure takes a function", "got None")),
        (lambda: measure("sum(x)"), ("got the text 'sum(x)'", "measure(lambda: sum(x))", "%measure sum(x)")),
        (lambda: measure([sorted, sum], words), ("measure takes one function, got 2: compare([f, g], x)",)),
        (lambda: measure(np.sum, numbers, axis=0), ("measure has no keyword axis", "kwargs={'axis': 0}")),
        (lambda: compare(sorted, list, words), ("got sorted: compare([f, g], x)",)),
        (lambda: compare({"a": sorted, "b": 1}, words), ("compare takes a function", "got a int")),
    ],
)
def test_a_call_that_cannot_be_is_refused_with_the_right_one(refused, call, words):
    with refused(CallError, *words):
        call()


def test_a_refused_call_is_a_type_error_of_one_line_in_a_notebook():
    assert issubclass(CallError, TypeError)
    assert CallError("x")._render_traceback_() == ["CallError: x"]


def test_keywords_reach_the_function():
    shapes = set()

    class Seen:
        values = shapes

    def total(x, axis=None):
        Seen.values.add(axis)
        return x.sum(axis=axis)

    found = measure(total, np.ones((3, 4)), kwargs={"axis": 0}, **BRIEF)
    compare([total, lambda x, axis: x.sum(axis)], np.ones((3, 4)), kwargs={"axis": 0}, **BRIEF)

    assert shapes == {0}
    assert max(s.placement for s in found.samples) > 1


def test_keywords_of_a_compiled_function_reach_its_kernel():
    found = measure(njit(lambda x, y=1.0, z=2.0: (x * y + z).sum()), np.ones(9), kwargs={"z": 5.0}, **BRIEF)

    assert (found.scope, found.call.scope) == ("kernel", "call")


def test_a_list_of_functions_takes_their_names():
    found = compare([sorted, lambda x: x, lambda x: x], words, check=False, **BRIEF)

    assert list(found.measurements) == ["sorted", "<lambda>", "<lambda> 2"]


@pytest.mark.parametrize(("seconds", "calls"), [(1.0, 7), (10.0, 7), (0.9, 10)])
def test_from_a_second_on_every_call_counts(simulated, hand_clock, seconds, calls):
    work, count = simulated(seconds * 1e9), itertools.count()

    found = measure(lambda: (next(count), work())[1], clock=hand_clock)

    assert next(count) == calls
    assert len(found.samples) == 6
    assert found.time_ns.value == pytest.approx(seconds * 1e9, rel=1e-6)
    assert any("six of them took longer" in note for note in found.notes) is (seconds > 1)


@pytest.mark.parametrize("seconds", [1.0, 10.0])
@pytest.mark.parametrize("count", [2, 3])
def test_from_a_second_on_a_comparison_leaves_its_pair_out_and_says_so(simulated, hand_clock, seconds, count):
    calls = {name: itertools.count() for name in "abc"[:count]}
    works = {name: simulated((1 + 0.5 * place) * seconds * 1e9) for place, name in enumerate(calls)}
    functions = {name: lambda called=calls[name], work=works[name]: (next(called), work())[1] for name in calls}

    found = compare(functions, clock=hand_clock)

    assert {next(called) for called in calls.values()} == {1 + fewest_samples(count - 1)}
    assert found.again is None
    assert found.notes == ("a is not compared with itself: its calls are long, and this would double them",)
    assert found.ratios["b"].value == pytest.approx(1.5, rel=1e-6)
    assert found.verdicts["b"] == "slower"
    assert "a is not compared with itself" in str(found)
    assert "with itself 1" not in found._repr_html_()


@pytest.mark.parametrize(("old", "new"), [(2.0, 0.5), (0.5, 2.0)])
def test_beside_a_short_call_a_long_one_is_called_twice_before_its_rounds(simulated, hand_clock, old, new):
    works, calls = {"old": simulated(old * 1e9), "new": simulated(new * 1e9)}, itertools.count()
    long = "old" if old > new else "new"

    def counted():
        next(calls)
        return works[long]()

    found = compare({**works, long: counted}, clock=hand_clock)

    assert next(calls) == 8
    assert (found.again is None) is (old > new)
    assert found.ratios["new"].value == pytest.approx(new / old, rel=1e-6)


def test_a_long_one_that_changes_its_argument_is_called_eight_times(simulated, hand_clock):
    work, count = simulated(2_000_000_000), itertools.count()

    def change(x):
        next(count)
        work()
        x += 1

    measure(change, np.ones(3), in_place=True, clock=hand_clock)
    measure(change, np.ones(3), fresh=True, clock=hand_clock)

    assert next(count) <= 16


@pytest.mark.parametrize("fn", [lambda x: x + 1, np.sort, lambda x: None])
def test_the_preflight_of_a_short_function_costs_at_most_five_calls(fn):
    count = itertools.count()

    run_preflight("work", lambda x: (next(count), fn(x))[1], (numbers,))

    assert next(count) <= 5


# statements


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        session = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
        session.run_line_magic("load_ext", "perflib")
        session.user_ns.update(numbers=numbers.copy(), words=list(words), fib=squares)
        yield session


@pytest.mark.parametrize("statement", ["numbers.sort()", "words.append('x')", "numbers.__iadd__(1)"])
@pytest.mark.parametrize("how", ["", "--fresh ", "--in-place "])
def test_a_statement_that_changes_a_name_needs_a_way_to_be_measured(shell, refused, statement, how):
    before = fingerprint(shell.user_ns["numbers"], shell.user_ns["words"])

    if how:
        assert isinstance(shell.run_line_magic("measure", f"-b 0.02 {how}{statement}"), Measurement)
    else:
        with refused(UsageError, "must not change what it works on, got global", *BOTH_WAYS):
            shell.run_line_magic("measure", statement)

    assert fingerprint(shell.user_ns["numbers"], shell.user_ns["words"]) == before


def test_a_statement_that_only_looks_up_is_invalid(shell):
    assert shell.run_line_magic("measure", "-b 0.02 fib(300)").state == "invalid"


# the state behind it


def test_a_state_puts_back_what_changed_and_says_what_it_cannot():
    inner, x = [1], np.arange(3)
    box = {"inner": inner, "x": x}
    stream = (i for i in range(3))
    state = State(lambda: None, (box, stream))

    inner.append(2)
    x[:] = 0
    box["new"] = next(stream)

    assert state.changes() == ["argument 0", "argument 1"]
    assert state.restore() == ["argument 1"]
    assert box == {"inner": inner, "x": x}
    assert inner == [1]
    assert (x == np.arange(3)).all()


def test_the_machine_code_of_a_users_function_stands_in_the_result():
    found = measure(add_product, np.ones((8, 8)), np.ones((8, 8)), np.ones((8, 8)), in_place=True, **BRIEF)

    assert found.code.loops > 0
    assert str(found.code) in str(found)
    assert str(found.code) in found._repr_html_()
    assert found.call.code is None
    assert measure(sorted, words, **BRIEF).code is None
