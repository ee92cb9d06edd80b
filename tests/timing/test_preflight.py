"""How functions behave before they are timed: what raises, what changes its arguments, what varies."""

import itertools
import math
import random
import sys

import numpy as np
import pytest
from numba import njit

from perflib.errors import Unmeasurable
from perflib.timing.preflight import compiling_s, run_preflight

RECORD = np.dtype([("i", np.int32), ("x", np.float64)])
DTYPES = [np.float64, np.float32, np.complex64, np.int64, np.uint8, np.bool_, "M8[s]", "U3", "S5", RECORD]


def some(dtype, count=8):
    """Different values of any dtype."""
    numbers = np.arange(1, count + 1)
    if np.dtype(dtype).names:
        return np.array([(n, n / 2) for n in numbers], dtype)
    return (numbers % 2 if dtype is np.bool_ else numbers).astype(dtype)


@njit
def _raising(x):
    raise ValueError("negative\nvalue")


def refuses_scrambled(x):
    """A function that checks what it is about to change."""
    if (x < 0).any() or (x > 100).any():
        raise ValueError("x must lie in 0 ... 100")
    x.sort()


@njit
def _compress(parents):
    """Indices that are followed: any others would lead out of the array."""
    for i in range(len(parents)):
        parents[i] = parents[parents[i]]


@njit
def _write(source, out):
    for i in range(len(out)):
        out[i] = source[i]


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (lambda x: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda x: [][1], "IndexError: list index out of range"),
        (_raising, "ValueError: negative"),
        (lambda: None, "TypeError: "),
        (math.sqrt, "TypeError: must be real number, not str"),
        (lambda x: {}[x], "KeyError: 'x'"),
        (lambda x: (_ for _ in ()).throw(KeyError), "KeyError: no message"),
    ],
)
def test_what_a_function_raises_is_told_in_one_line(refused, fn, words):
    kind, _, text = words.partition(": ")
    with refused(Unmeasurable, "work must not raise, got", kind, text):
        run_preflight("work", fn, ("x",))


def test_a_signature_that_numba_cannot_compile_is_told_in_one_line(refused):
    with refused(Unmeasurable, "work must not raise, got TypingError: No implementation of function"):
        run_preflight("work", njit(lambda x: x + "a"), (1,))
    with refused(Unmeasurable, "work must not raise, got TypingError: argument 0: Int value is too large"):
        run_preflight("work", njit(lambda x: x + 1), (1 << 70,))


@pytest.mark.parametrize("fn", [lambda n: np.ones(n), lambda n: bytearray(n)])
def test_a_function_that_needs_more_memory_than_there_is_is_refused(refused, fn):
    with refused(Unmeasurable, "work needs more memory than there is: "):
        run_preflight("work", fn, (1 << 50,))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_who_wants_to_stop_is_not_held_up(stop):
    def work():
        raise stop

    with pytest.raises(stop):
        run_preflight("work", work, ())


def change_first(x):
    x[0] += 1


@pytest.mark.parametrize(
    ("fn", "arg", "kind"),
    [
        (np.ndarray.sort, np.arange(9.0)[::-1].copy(), "ndarray"),
        (np.ndarray.sort, np.arange(9)[::-1].copy(), "ndarray"),
        (np.ndarray.sort, np.arange(9)[::-1].astype(object), "ndarray"),
        (np.ndarray.sort, some(RECORD)[::-1].copy(), "ndarray"),
        (refuses_scrambled, np.arange(90.0)[::-1].copy(), "ndarray"),
        (change_first, np.zeros(3), "ndarray"),
        (change_first, np.asfortranarray(np.zeros((3, 3))), "ndarray"),
        (change_first, np.zeros(9)[::-3], "ndarray"),
        (lambda x: np.add(x, 1, out=x), np.array(1.0), "ndarray"),
        (lambda x: np.abs(x, out=x), np.array([-1.0, 2.0]), "ndarray"),
        (lambda x: np.abs(x, out=x), np.array([-1, 2]), "ndarray"),
        (lambda x: np.clip(x, 0, 3, out=x), np.array([1, 2, 7]), "ndarray"),
        (lambda x: np.logical_not(x, out=x), np.array([True, False]), "ndarray"),
        (list.sort, [3, 1, 2], "list"),
        (lambda x: x.append(1), [], "list"),
        (dict.clear, {1: 2}, "dict"),
        (lambda x: x.update(a=len(x)), {}, "dict"),
        (set.pop, {1, 2, 3}, "set"),
        (lambda x: x.extend(b"1"), bytearray(3), "bytearray"),
    ],
)
def test_an_argument_changed_in_place_is_refused(refused, fn, arg, kind):
    with refused(Unmeasurable, "work must not change its arguments, got argument 0", f"({kind}) changed in place"):
        run_preflight("work", fn, (arg,))


def test_an_argument_that_the_second_call_changes_is_refused(refused):
    calls = itertools.count()

    with refused(Unmeasurable, "got argument 0 (ndarray) changed in place"):
        run_preflight("work", lambda x: change_first(x) if next(calls) == 1 else None, (np.zeros(3),))


def test_the_argument_that_changed_is_named(refused):
    with refused(Unmeasurable, "got argument 1 (list) changed in place"):
        run_preflight("work", lambda a, b, c: b.append(0), ([], [], []))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", [lambda a: a, lambda a: np.repeat(a, 2)[::-2], lambda a: a[:0]])
def test_an_array_whose_old_content_does_not_matter_is_an_output(dtype, layout):
    source, out = layout(some(dtype)), layout(some(dtype)[::-1].copy())

    before = out.copy()

    conduct = run_preflight("work", lambda source, out: np.copyto(out, source), (source, out))

    assert not conduct.varies
    assert conduct.written == (("argument 1",) if out.size else ())
    assert np.array_equal(out, before)


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (np.matmul, (np.eye(3), np.eye(3), np.zeros((3, 3)))),
        (np.matmul, (np.eye(3), np.eye(3), np.zeros((3, 3)).T)),
        (lambda x, out: np.sum(x, out=out), (np.arange(9.0), np.array(0.0))),
        (lambda x, out: out.__setitem__(slice(1, -1), x), (np.arange(1.0, 9), np.zeros(10))),
        (lambda x, out: np.greater(x, 3, out=out), (np.arange(9), np.zeros(9, bool))),
        (_write, (np.arange(9), np.zeros(9, np.int64))),
        (_write, (np.arange(9.0), np.zeros(9))),
    ],
    ids=["product", "into a transpose", "no dimension", "inner part", "mask", "compiled int", "compiled float"],
)
def test_an_out_argument_is_recognised(fn, args):
    before = [a.copy() for a in args]

    conduct = run_preflight("work", fn, args)

    assert conduct.written == (f"argument {len(args) - 1}",)
    assert all(np.array_equal(arg, given) for arg, given in zip(args, before, strict=True)), "they hold what they held"


def test_indices_that_are_changed_in_place_lead_compiled_code_nowhere_else(refused):
    """They are tried with values between those that were seen."""
    parents = np.array([0, 0, 1, 2, 3, 4, 5, 6])

    with refused(Unmeasurable, "work must not change its arguments"):
        run_preflight("work", _compress, (parents,))


@pytest.mark.parametrize(("dtype", "seen"), [(np.int64, (-1, 9)), (np.uint8, (0, 9)), (np.bool_, (0, 1))])
def test_indices_stay_between_those_that_were_seen(refused, dtype, seen):
    array = np.sort(some(dtype))[::-1].copy()
    array[0], array[-1] = seen[1], seen[0]

    class Seen:
        ends = set()  # a class is left alone

    def sort(x):
        Seen.ends |= {int(x.min()), int(x.max())}
        x.sort()

    with refused(Unmeasurable, "work must not change its arguments"):
        run_preflight("work", sort, (array,))

    assert Seen.ends == set(seen)


def test_a_known_output_may_hold_what_it_likes():
    total = np.zeros(1)

    run_preflight("work", lambda x, out: np.add(out, x, out=out), (1.0, total), outputs=(1,))

    assert total[0] == 2, "two calls and no third one"


@pytest.mark.parametrize("arg", [np.zeros(3), np.zeros((0, 3)), np.array(None), [1, [2]], {1: []}, "x", None, sys])
def test_an_argument_that_stays_is_no_matter(arg):
    calls = itertools.count()

    assert not run_preflight("work", lambda x: (next(calls), None)[1], (arg,)).varies
    assert next(calls) in (2, 4), "four where other work made the first one long"


def test_a_large_array_is_watched_to_its_last_element(refused):
    large = np.zeros(10_000_000, np.float32)

    with refused(Unmeasurable, "argument 0"):
        run_preflight("work", lambda x: x.__setitem__(-1, x[-1] + 1), (large,))


def cyclic():
    loop = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("fn", "varies"),
    [
        (lambda: random.random(), True),
        (lambda: np.random.default_rng().random(5), True),
        (lambda: (1, [random.random()]), True),
        (lambda: {"x": random.random()}, True),
        (lambda: np.array([random.random(), None], object), True),
        (lambda: np.zeros(0), False),
        (lambda: (np.ones(3), "x", None, float("nan")), False),
        (lambda: [1.5, {2: 3}, {4}], False),
        (lambda: np.array([None, "x"]), False),
        (lambda: np.zeros(2, [("o", object), ("x", int)]), False),
        (lambda: lambda: 0, False),
        (lambda: (i for i in range(3)), False),
        (cyclic, False),
    ],
)
def test_results_that_differ_from_call_to_call_are_noticed(fn, varies):
    assert run_preflight("work", fn, ()).varies is varies


def test_layout_and_owner_make_no_difference_to_a_result():
    results = itertools.cycle([np.ones((3, 4)), np.ones((4, 3)).T])

    assert not run_preflight("work", lambda: next(results), ()).varies


def test_the_second_call_tells_how_long_one_takes(hand_clock):
    costs = iter([7_000_000_000, 2_000_000_000])

    conduct = run_preflight("work", hand_clock.arm(lambda: next(costs)), (1,), clock=hand_clock)

    assert (conduct.call_s, conduct.compile_s) == (2, 0)


def test_a_first_call_that_compiles_is_told_apart(hand_clock):
    hand_clock.tick_ns = 500_000_000
    fresh = njit(lambda x: x + 1)

    first, second = (run_preflight("work", fresh, (1,), clock=hand_clock) for _ in range(2))

    assert (first.compile_s, second.compile_s) == (0.5, 0)
    assert (first.call_s, second.call_s) == (0.5, 0.5)


@pytest.mark.parametrize(("argument", "seconds"), [(1, 0), (1.5, 3)])
def test_only_a_run_that_compiles_has_compiling_seconds(hand_clock, argument, seconds):
    known = njit(lambda x: x + 1)
    known(1)
    hand_clock.tick_ns = 3_000_000_000

    assert compiling_s(lambda: known(argument), hand_clock) == (argument + 1, seconds)
