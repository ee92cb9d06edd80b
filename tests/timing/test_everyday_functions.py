"""Functions of the kinds that people write and measure, each with the outcome that a careful engineer would call right.

WORK does the same in every run. REFUSED changes what it works on, or uses it up. NO_RESULT has not done its work, or only
looks it up. One preflight says so for all ways in.
"""

import array
import asyncio
import bisect
import collections
import contextlib
import csv
import ctypes
import dataclasses
import decimal
import fractions
import functools
import hashlib
import heapq
import io
import itertools
import json
import operator
import os
import queue
import random
import re
import statistics
import struct
import subprocess
import tempfile
import threading
import time
import types
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.sparse
from blamed import blamed
from numba import guvectorize, njit, prange, vectorize
from runs import isolate

from perflib import compare, measure
from perflib.errors import Unmeasurable
from perflib.sweeps.sweep import sweep
from perflib.timing.preflight import run_preflight

pandas = pytest.importorskip("pandas")
rng = np.random.default_rng(0)
values = rng.random(200)
square = rng.random((20, 20))
TEXT = "the quick brown fox " * 20
PATTERN = re.compile(r"\b\w{5}\b")
RECORD = [("a", "f8"), ("b", "i4")]
turned = itertools.cycle([1, 2, 3])
spent = (i for i in range(3))
list(spent)
pool = ThreadPoolExecutor(1)
lock = threading.Lock()
calls = {"count": 0}


def frame():
    return pandas.DataFrame({"a": values[:50], "b": np.arange(50) % 5})


@njit(parallel=True)
def parallel_sum(x):
    total = 0.0
    for i in prange(len(x)):
        total += x[i]
    return total


@vectorize(["float64(float64)"])
def doubled(x):
    return x * 2


@guvectorize(["void(float64[:], float64[:])"], "(n)->()")
def summed(x, out):
    total = 0.0
    for i in range(len(x)):
        total += x[i]
    out[0] = total


@dataclasses.dataclass
class Account:
    total: float = 0.0
    seen: list = dataclasses.field(default_factory=list)

    def add(self, amount):
        self.total += amount

    def note(self, amount):
        self.seen.append(amount)

    @functools.cached_property
    def heavy(self):
        return sum(range(100_000))

    @functools.lru_cache  # noqa: B019
    def cached(self, n):
        return sum(range(n))

    @classmethod
    def several(cls, n):
        return [cls() for _ in range(n)]

    def __hash__(self):
        return 1

    def __call__(self, amount):
        return amount + 1


class Node:
    """Of a list that is linked."""

    __slots__ = ("next", "value")

    def __init__(self, value, following=None):
        self.value, self.next = value, following


def walk(node):
    total = 0
    while node:
        total, node = total + node.value, node.next
    return total


def turn(node):
    before = None
    while node:
        node.next, before, node = before, node, node.next
    return before


def remember(x, seen=[]):  # noqa: B006
    seen.append(x)
    return len(seen)


def memo(n, known={}):  # noqa: B006
    if n not in known:
        known[n] = sum(range(n))
    return known[n]


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def counting():
    counter = collections.Counter()

    def count(words):
        counter.update(words)
        return counter.most_common(1)

    return count


def count_calls():
    calls["count"] += 1


async def answer():
    await asyncio.sleep(0)
    return 1


@contextlib.contextmanager
def opened():
    yield 1


def within():
    with opened() as one:
        return one


def locked():
    with lock:
        return 1


def joined():
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def in_memory_map(values, path):
    mapped = np.memmap(path, "f8", "w+", shape=values.shape)
    mapped[:] = values
    return float(mapped.sum())


def ctypes_buffer():
    return ctypes.create_string_buffer(50)


WORK = {
    "pandas apply": (lambda d: d.apply(lambda row: row.a * 2, axis=1), lambda: (frame(),)),
    "pandas groupby": (lambda d: d.groupby("b").a.mean(), lambda: (frame(),)),
    "solve": (scipy.linalg.solve, lambda: (square, values[:20])),
    "minimize": (lambda: scipy.optimize.minimize(lambda v: (v**2).sum(), [1.0, 2.0]).x, tuple),
    "sparse product": (lambda m: m @ np.ones(20), lambda: (scipy.sparse.csr_array(square * (square > 0.8)),)),
    "regex": (PATTERN.findall, lambda: (TEXT,)),
    "regex of the module": (lambda text: re.sub("o", "0", text), lambda: (TEXT,)),
    "string builder": (lambda n: "".join([str(i) for i in range(n)]), lambda: (50,)),
    "prange": (parallel_sum, lambda: (values,)),
    "vectorize of Numba": (doubled, lambda: (values,)),
    "guvectorize": (summed, lambda: (values,)),
    "np.vectorize": (np.vectorize(lambda v: v + 1 if v > 0.5 else v), lambda: (values,)),
    "frompyfunc": (np.frompyfunc(lambda v: v + 1, 1, 1), lambda: (values,)),
    "ufunc into out": (lambda a, out: np.multiply(a, 2, out=out), lambda: (values, np.empty(200))),
    "reduce of a ufunc": (np.add.reduce, lambda: (values,)),
    "field that is only written": (lambda r: r["a"].__setitem__(slice(None), 1.5), lambda: (np.zeros(9, RECORD),)),
    "masked mean": (lambda m: m.mean(), lambda: (np.ma.masked_less(values, 0.5),)),
    "memory map": (lambda v, p: in_memory_map(v, p), lambda: (values, os.path.join(tempfile.mkdtemp(), "map"))),
    "memoryview": (sum, lambda: (memoryview(b"abc" * 9),)),
    "context manager": (within, tuple),
    "recursion": (fibonacci, lambda: (9,)),
    "method that counts": (lambda: Account().add(1.0), tuple),
    "classmethod": (Account.several, lambda: (5,)),
    "object that is called": (Account(), lambda: (1.0,)),
    "linked list": (walk, lambda: (Node(1, Node(2)),)),
    "array.array": (sum, lambda: (array.array("d", range(9)),)),
    "random numbers": (random.random, tuple),
    "random numbers of NumPy": (lambda: np.random.rand(9), tuple),  # noqa: NPY002
    "cycle": (lambda: next(turned), tuple),
    "decimals": (lambda: decimal.Decimal(1) / 7, tuple),
    "local context of decimals": (lambda: decimal.localcontext().__enter__().prec, tuple),
    "fractions": (lambda: sum(fractions.Fraction(1, i) for i in range(1, 9)), tuple),
    "thread that is joined": (joined, tuple),
    "pool with its result": (lambda: pool.submit(sum, [1]).result(), tuple),
    "asyncio to its end": (lambda: asyncio.run(answer()), tuple),
    "subprocess": (lambda: subprocess.run(["true"], check=True).returncode, tuple),
    "sleep": (lambda: time.sleep(0.001), tuple),
    "getvalue": (lambda stream: stream.getvalue(), lambda: (io.StringIO("x"),)),
    "json": (json.dumps, lambda: ({"a": [1, 2, 3]},)),
    "hash": (lambda data: hashlib.sha256(data).hexdigest(), lambda: (b"x" * 100,)),
    "pack into": (lambda b: struct.pack_into("d", b, 0, 1.5), lambda: (np.zeros(16, np.uint8),)),
    "strlen of C": (ctypes.CDLL(None).strlen, lambda: (b"hello",)),
    "lock": (locked, tuple),
    "queue put and get": (lambda q: (q.put(1), q.get())[1], lambda: (queue.Queue(),)),
    "uuid": (uuid.uuid4, tuple),
    "partial": (functools.partial(np.sort, axis=-1), lambda: (values,)),
    "attrgetter": (operator.attrgetter("real"), lambda: (1 + 2j,)),
    "median of Python": (statistics.median, lambda: ([3, 1, 2],)),
    "csv": (lambda: csv.writer(io.StringIO()).writerow([1, 2]), tuple),
    "view": (lambda a: a[::-1], lambda: (values,)),
    "read a file": (lambda p: p.read_text(), lambda: (Path(__file__),)),
    "temporary file": (lambda: tempfile.TemporaryFile().close(), tuple),
    "objects": (lambda a: a.sum(), lambda: (np.array([1, 2.5], object),)),
    "dates": (lambda a: a + np.timedelta64(1, "D"), lambda: (np.arange("2020", "2021", dtype="M8[D]"),)),
    "sets": (operator.and_, lambda: ({1, 2, 3}, {2, 3})),
    "heap that is one": (heapq.heapify, lambda: (list(range(9)),)),
}
REFUSED = {
    "pandas in place": (
        lambda d: d.insert(len(d.columns), len(d.columns), 1),
        lambda: (frame(),),
        "argument 0 (DataFrame)",
    ),
    "factors in place": (
        lambda a: scipy.linalg.lu_factor(a, overwrite_a=True),
        lambda: (square.copy(order="F"),),
        "argument 0 (ndarray)",
    ),
    "heappop": (heapq.heappop, lambda: (list(range(9)),), "argument 0 (list)"),
    "insort": (lambda a: bisect.insort(a, 3), lambda: (list(range(9)),), "argument 0 (list)"),
    "ufunc.at": (lambda a: np.add.at(a, [0, 1, 1], 1), lambda: (values.copy(),), "argument 0 (ndarray)"),
    "field that is added to": (lambda r: r["a"].__iadd__(1), lambda: (np.zeros(9, RECORD),), "argument 0 (ndarray)"),
    "masked in place": (lambda m: m.__iadd__(1), lambda: (np.ma.masked_less(values, 0.5),), "argument 0 (ndarray)"),
    "bytearray": (bytearray.reverse, lambda: (bytearray(b"abc"),), "argument 0 (bytearray)"),
    "buffer of C": (lambda b: b.__setitem__(0, bytes([(b[0][0] + 1) % 256])), lambda: (ctypes_buffer(),), "argument 0"),
    "method that appends": (Account().note, lambda: (1.0,), "self (list)"),
    "default that grows": (remember, lambda: (1,), "a default of its arguments (list)"),
    "Counter in a closure": (counting(), lambda: (["a"],), "counter of its closure (Counter)"),
    "Counter": (lambda c: c.update(["a"]), lambda: (collections.Counter(),), "argument 0 (Counter)"),
    "deque that is full": (lambda d: d.append(len(d) + d[-1]), lambda: (collections.deque([1], 1),), "argument 0 (deque)"),
    "array.array": (lambda a: a.append(1.0), lambda: (array.array("d"),), "argument 0 (array)"),
    "shuffle": (random.shuffle, lambda: (list(range(50)),), "argument 0 (list)"),
    "shuffle of NumPy": (np.random.default_rng(0).shuffle, lambda: (values.copy(),), "argument 0 (ndarray)"),
    "list linked anew": (turn, lambda: (Node(1, Node(2)),), "argument 0 (Node)"),
    "UserDict": (lambda d: d.__setitem__(len(d), 2), lambda: (collections.UserDict(),), "argument 0 (dict)"),
    "ChainMap": (lambda d: d.__setitem__(len(d), 2), lambda: (collections.ChainMap({}),), "argument 0 (dict)"),
    "queue": (lambda q: q.put(1), lambda: (queue.Queue(),), "argument 0 (deque)"),
    "global counter": (count_calls, tuple, "global calls (dict)"),
    "iterator": (sum, lambda: (iter([1, 2, 3]),), "argument 0 (list_iterator)"),
    "zip": (list, lambda: (zip([1, 2], [3, 4], strict=True),), "argument 0 (zip)"),
    "stream that is written": (lambda s: s.write("x"), lambda: (io.StringIO(),), "argument 0 (StringIO)"),
}
NO_RESULT = {
    "rows of a frame": (lambda d: d.iterrows(), lambda: (frame(),), "it returns a generator"),
    "finditer": (PATTERN.finditer, lambda: (TEXT,), "it returns an iterator"),
    "enumerate": (enumerate, lambda: ([1],), "it returns an iterator (enumerate)"),
    "product": (lambda: itertools.product("ab", "cd"), tuple, "it returns an iterator (product)"),
    "context manager": (opened, tuple, "it returns a context manager"),
    "cached method": (Account().cached, lambda: (5000,), "cached answers from its cache"),
    "cached property": (lambda a: a.heavy, lambda: (Account(),), "the first one filled argument 0.heavy"),
    "memo in a default": (memo, lambda: (100_000,), "the first one filled a default of its arguments"),
    "coroutine": (answer, tuple, "it returns a coroutine"),
    "pool without its result": (lambda: pool.submit(sum, [1]), tuple, "it returns a Future"),
    "thread that goes on": (
        lambda: threading.Timer(0.3, int).start(),
        tuple,
        "go on after it returned",
    ),
    "generator that is used up": (sum, lambda: (spent,), "argument 0 is a generator that was used up before"),
}


def cases(table):
    return [pytest.param(*case, id=name) for name, case in table.items()]


@pytest.mark.parametrize(("fn", "make"), cases(WORK))
def test_what_does_the_same_work_in_every_run_is_measured(fn, make):
    behaviour = run_preflight("work", fn, make())

    assert behaviour.reasons == ()
    assert behaviour.changed == ()


@pytest.mark.parametrize(("fn", "make", "what"), cases(REFUSED))
def test_what_would_work_on_what_the_last_run_left_is_refused_by_name(refused, fn, make, what):
    verb = "uses up" if "iterator" in what or "zip" in what or "IO" in what else "got"

    with refused(Unmeasurable, f"{verb} {what}"):
        run_preflight("work", fn, make())


@pytest.mark.parametrize(("fn", "make", "words"), cases(NO_RESULT))
def test_what_is_no_work_is_a_reason(fn, make, words):
    behaviour = run_preflight("work", fn, make())

    assert any(words in reason for reason in behaviour.reasons), behaviour.reasons


# the ways in agree


@pytest.mark.parametrize("name", ["heappop", "field that is added to", "list linked anew", "Counter"])
def test_own_arguments_are_right_for_what_changes_its_argument(tmp_path, monkeypatch, refused, name):
    fn, make, what = REFUSED[name]
    isolate(tmp_path, monkeypatch)

    with refused(Unmeasurable, f"got {what}"):
        compare([fn, fn], *make())
    found = measure(fn, fresh=lambda rng: make(), budget_s=0.03)
    s = sweep({"f": fn}, [4], make=lambda n: make(), budget_s=1e-6, progress=False)

    assert not blamed(found)
    assert s.notes[0] == "every run works on arguments of its own, drawn by make, because f changes them"


@pytest.mark.parametrize("name", ["method that appends", "default that grows", "Counter in a closure", "global counter"])
def test_own_arguments_do_not_help_where_something_else_changes(tmp_path, monkeypatch, refused, name):
    fn, make, what = REFUSED[name]
    isolate(tmp_path, monkeypatch)

    for call in (lambda: measure(fn, fresh=lambda rng: make()), lambda: compare([fn, fn], fresh=lambda rng: make())):
        with refused(Unmeasurable, "must not change what it works on", f"got {what}"):
            call()
    with refused(Unmeasurable, f"f at n = 4 is left out: f must not change what it works on, got {what}"):
        sweep({"f": fn}, [4], make=lambda n: make(), budget_s=1e-6, progress=False)


@pytest.mark.parametrize("name", ["finditer", "cached method", "memo in a default", "generator that is used up"])
def test_no_work_is_no_work_however_it_is_measured(tmp_path, monkeypatch, refused, name):
    fn, make, words = NO_RESULT[name]
    isolate(tmp_path, monkeypatch)

    found = compare([fn, fn], *make(), budget_s=0.03)
    with refused(Unmeasurable, "f at n = 4 is left out:", words):
        sweep({"f": fn}, [4], make=lambda n: make(), budget_s=1e-6, progress=False)

    assert all(any(words in reason for reason in one.reasons) for one in found.measurements.values())
    assert set(found.verdicts.values()) == {"unresolved"}


def test_counters_that_nobody_reads_are_no_obstacle_and_go_back():
    account, box = Account(), types.SimpleNamespace(n=0)

    for fn in (lambda: account.add(1.0), lambda: setattr(account, "total", account.total + 1)):
        assert run_preflight("work", fn, ()).changed == ()
    assert run_preflight("work", lambda b: setattr(b, "n", b.n + 1), (box,)).changed == ()

    assert (account.total, box.n) == (0.0, 0)
