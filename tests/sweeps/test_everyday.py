"""Functions of anybody over sizes in one call: nobody's arguments, names or results get in the way of another."""

import functools
import time
from collections import deque
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from in_turn import is_outside, ratio_in_turn
from numba import njit
from runs import isolate

import perflib
from perflib.errors import Interrupted, Unmeasurable, WrongResult
from perflib.runs.store import list_runs, load_run
from perflib.sweeps import rehearsal
from perflib.sweeps.sweep import sweep

SHORT = {"budget_s": 1e-6, "progress": False}


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    return isolate(tmp_path, monkeypatch)


def numbers(n, rng):
    return rng.random(n)


def double(x):
    return 2 * x


def add(x):
    return x + x


def log():
    """A list that functions may write, which no preflight takes for their data."""
    return SimpleNamespace(all=[])


def points(s, function):
    return {point.n: point for point in s.points if point.function == function}


def test_the_everyday_task_takes_one_call():
    s = sweep({"double": double, "add": add}, [10, 100, 1000], make=numbers, **SHORT)

    assert list(points(s, "double")) == [10, 100, 1000]
    assert all(point.time_ns.low <= point.time_ns.value <= point.time_ns.high for point in s.points)
    assert all(point.speed_up is None for point in points(s, "double").values())
    assert all(point.speed_up.low <= point.speed_up.high for point in points(s, "add").values())
    assert {point.scope for point in s.points} == {"call"}
    assert s.run.id in [path.name for path in list_runs()]


def test_it_is_exported_with_its_result():
    assert perflib.sweep is sweep
    assert isinstance(sweep([double], [8], make=numbers, **SHORT), perflib.Sweep)


def test_a_list_gets_the_names_of_its_functions_and_lambdas_those_of_the_dictionary():
    assert set(sweep([double, add], [8], make=numbers, **SHORT).names.values()) == {"double", "add"}
    both = {"one": lambda x: x + 1, "other": lambda x: 1 + x}
    assert list(sweep(both, [8], make=numbers, **SHORT).curves) == ["one", "other"]


def test_two_functions_of_one_name_are_asked_for_a_dictionary(refused):
    with refused(ValueError, "names of their own, got '<lambda>' twice; name them in a dictionary"):
        sweep([lambda x: x, lambda x: x + 0], [8], make=numbers, **SHORT)


@pytest.mark.parametrize("name", ["matmul", "floor", "canary", "rms_norm"])
def test_a_name_that_perflib_uses_itself_is_welcome_and_not_taken_for_its_own(name):
    s = sweep({name: double, "add": add}, [8, 16], make=numbers, **SHORT)

    assert list(s.curves) == [name, "add"]
    assert set(s.frame["kernel"]) >= {name, "add"}
    assert set(s.run.samples("sweep")["kernel"]) == {f"{name}()", "add", "floor", "canary"}


def test_what_numba_compiled_is_measured_without_the_call_and_anything_else_with_it():
    compiled = njit(add)

    s = sweep({"numpy": add, "numba": compiled}, [8], make=numbers, **SHORT)

    assert [point.scope for point in s.points] == ["call", "kernel"]


@pytest.mark.parametrize(
    "make",
    [
        lambda n: np.ones(n),
        lambda n: (np.ones(n),),
        lambda n, rng: rng.random(n),
        lambda n, dtype, rng: rng.random(n).astype(dtype),
        lambda n, dtype: np.ones(n, dtype),
        lambda n, generator: generator.random(n),
        np.ones,
        np.random.default_rng(0).random,
    ],
    ids=["n", "a tuple", "n, rng", "n, dtype, rng", "n, dtype", "another name", "of NumPy", "a method"],
)
def test_make_takes_what_it_needs_and_returns_one_argument_or_a_tuple(make):
    seen = log()

    sweep({"f": lambda x: seen.all.append(x.shape) or x.sum()}, [5], make=make, **SHORT)

    assert set(seen.all) == {(5,)}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (3, "make must be a function of n, got 3"),
        (lambda n, a, b, c: n, "make must take (n), (n, rng) or (n, dtype, rng), got n, a, b, c"),
    ],
)
def test_a_make_that_cannot_be_one_is_refused(make, words, refused):
    with refused(TypeError, words):
        sweep({"f": double}, [5], make=make, **SHORT)


def test_a_make_that_returns_a_generator_or_raises_says_so(refused):
    with refused(Unmeasurable, "f at n = 5 is left out: make raised TypeError: make must return arguments that last"):
        sweep({"f": sum}, [5], make=lambda n: (i for i in range(n)), **SHORT)


def test_without_make_a_function_must_be_described(refused):
    with refused(ValueError, "kernels must be described, got", "pass make=lambda n: ..."):
        sweep({"f": double}, [5], **SHORT)


@pytest.mark.parametrize(
    ("sizes", "kind", "words"),
    [
        ([], ValueError, "sizes must not be empty"),
        ([4, 0], ValueError, "sizes must be above 0 and finite, got 0"),
        ([float("nan")], ValueError, "sizes must be above 0 and finite, got nan"),
        ([True], TypeError, "sizes must be positive numbers, strings or tuples; got True"),
        ([None], TypeError, "sizes must be positive numbers, strings or tuples; got None"),
        ("abc", TypeError, "sizes must be a list, got the string 'abc'; write ['abc']"),
        (5, TypeError, "sizes must be a list, got 5; write [5]"),
    ],
)
def test_what_is_no_size_is_refused_before_anything_is_called(sizes, kind, words, refused):
    with refused(kind, words):
        sweep({"f": double}, sizes, make=lambda n: pytest.fail("called"), **SHORT)


@pytest.mark.parametrize(
    "sizes",
    [
        np.array([4, 8]),
        [np.int32(8), np.int64(4)],
        np.array([4.0, 8.0]),
        [4, 8, 4],
        range(4, 9, 4),
        (n for n in (4, 8)),
    ],
    ids=["array", "scalars", "whole floats", "twice", "range", "generator"],
)
def test_sizes_of_any_kind_of_number_reach_make_as_integers_in_rising_order(sizes):
    s = sweep({"f": double}, sizes, make=lambda n: np.ones(n), **SHORT)

    assert [point.n for point in s.points] == [4, 8]
    assert all(type(point.n) is int for point in s.points)


def test_sizes_that_are_no_integers_come_back_as_they_are():
    s = sweep({"f": double}, [0.5, 2.5], make=lambda share: np.ones(int(10 * share)), **SHORT)

    assert [point.n for point in s.points] == [0.5, 2.5]
    assert set(s.frame["n"].dropna()) == {0.5, 2.5}


def test_names_and_tuples_label_inputs():
    inputs = {"short": [1], (3, 2): [1, 2]}

    s = sweep({"f": len, "g": lambda x: len(x)}, ["short", (3, 2)], make=lambda name: inputs[name], **SHORT)

    assert [point.n for point in s.points] == ["short", "short", (3, 2), (3, 2)]
    assert "no growth: sizes are names" in str(s.growth())
    assert s.run.meta["settings"]["axes"] == {"n": ["short", "(3, 2)"]}


def test_the_values_of_a_keyword_go_to_the_functions_that_have_it():
    s = sweep({"sort": np.sort}, [64], make=numbers, kind=["quicksort", "stable"], **SHORT)

    assert list(s.curves) == ["sort, kind=quicksort", "sort, kind=stable"]
    assert set(s.frame["kind"].dropna()) == {"quicksort", "stable"}


def test_the_values_of_a_keyword_reach_compiled_code_and_keep_its_scope():
    seen = log()

    def scaled(x, factor=1, offset=0.0):
        return x * factor + offset

    compiled = njit(scaled)

    def check(one, other):
        seen.all.append(float(one[0]))
        return True

    s = sweep({"f": scaled, "g": compiled}, [8], make=lambda n: np.ones(n), factor=[2, 3], check=check, **SHORT)

    assert {point.scope for point in s.points if point.function == "g"} == {"kernel"}
    assert {point.setting["factor"] for point in s.points} == {2, 3}
    assert sorted(set(seen.all)) == [2.0, 3.0]


def test_the_values_of_a_keyword_only_parameter_and_booleans_are_axes():
    s = sweep({"f": sorted}, [8], make=lambda n, rng: list(rng.random(n)), reverse=[False, True], **SHORT)

    assert [point.setting for point in s.points] == [{"reverse": False}, {"reverse": True}]


def test_the_values_of_a_keyword_go_to_make_where_it_has_it():
    seen = log()

    s = sweep(
        {"f": lambda x: seen.all.append(x.shape) or x.sum()},
        [4],
        make=lambda n, rng, rows: rng.random((rows, n)),
        rows=[1, 3],
        **SHORT,
    )

    assert set(seen.all) == {(1, 4), (3, 4)}
    assert [point.setting["rows"] for point in s.points] == [1, 3]


def test_a_keyword_that_nobody_has_is_refused(refused):
    with refused(ValueError, "depth must be a parameter of make or of double, which takes x"):
        sweep([double], [8], make=numbers, depth=[1, 2], **SHORT)
    with refused(TypeError, "depth must be a list of the values to sweep, got 3; write [3]"):
        sweep([double], [8], make=numbers, depth=3, **SHORT)


def test_types_and_threads_are_axes():
    make = lambda n, dtype, rng: rng.random(n).astype(dtype)  # noqa: E731

    s = sweep([double], [8, 16], dtype=["float32", np.float64], threads=[1, 2], make=make, **SHORT)

    settings = [tuple(point.setting.values()) for point in s.points if point.n == 8]
    assert sorted(settings) == [(1, "float32"), (1, "float64"), (2, "float32"), (2, "float64")]


def test_several_types_need_a_make_that_knows_them(refused):
    with refused(ValueError, "make must take dtype where several are swept"):
        sweep([double], [8], dtype=["float32", "float64"], make=numbers, **SHORT)


def test_no_function_sees_what_another_one_left():
    seen = log()

    def spoil(x):
        x.clear()

    def look(x):
        seen.all.append(list(x))
        return len(x)

    sweep({"spoil": spoil, "look": look}, [3], make=lambda n: list(range(n)), check=False, budget_s=0.01, progress=False)

    assert {len(values) for values in seen.all} == {3}


@pytest.mark.parametrize("container", [np.array, list, lambda x: dict.fromkeys(x, 0)], ids=["array", "list", "dictionary"])
def test_every_run_of_a_function_that_changes_its_argument_works_on_what_make_drew(container):
    states = log()

    def spoil(x):
        states.all.append(list(x))
        if isinstance(x, dict):
            x["more"] = 1
        else:
            x[0] += 2.0

    sweep({"spoil": spoil}, [2], make=lambda n: container([5.0, 6.0]), budget_s=0.01, progress=False)

    assert all(len(state) == 2 and state[0] != 7.0 for state in states.all)


def test_runs_that_change_their_arguments_are_drawn_each_by_itself():
    seen = log()

    def sort(x):
        seen.all.append(x[0])
        x.sort()

    sweep({"sort": sort}, [64], make=numbers, budget_s=0.01, progress=False)

    assert len(set(seen.all)) > 5


def test_the_neighbour_of_a_function_that_changes_its_arguments_works_on_other_inputs_too():
    seen = log()

    def look(x):
        seen.all.append(x[0])
        return np.sort(x)

    sweep({"sort": lambda x: x.sort(), "look": look}, [64], make=numbers, budget_s=0.01, progress=False)

    assert len(set(seen.all)) > 5


@njit
def insertion_sort(x):
    for i in range(1, len(x)):
        value, j = x[i], i
        while j > 0 and x[j - 1] > value:
            x[j] = x[j - 1]
            j -= 1
        x[j] = value


@njit
def insertion_sorted(x):
    copy = x.copy()
    insertion_sort(copy)
    return copy


def test_compiled_code_that_changes_its_argument_never_works_on_what_it_left():
    """Sorting 400 numbers that are sorted takes a hundredth of the time."""
    s = sweep({"sort": insertion_sort, "sorted": insertion_sorted}, [400], make=numbers, budget_s=0.2, progress=False)

    assert {point.scope for point in s.points} == {"kernel"}
    assert 0.5 < points(s, "sorted")[400].speed_up.value < 2


def test_compiled_code_on_arguments_that_only_python_copies_is_called_from_python_and_says_so():
    s = sweep({"sort": njit(lambda x, y: x.sort())}, [64], make=lambda n, rng: (rng.random(n), "name"), **SHORT)

    assert {point.scope for point in s.points} == {"call"}
    (note,) = s.notes
    assert note.endswith("because sort changes them; so compiled functions are called from Python")


def test_an_argument_that_is_only_written_is_an_output_and_shared():
    def doubled(x, out):
        np.multiply(x, 2, out=out)

    s = sweep({"f": doubled}, [64], make=lambda n, rng: (rng.random(n), np.zeros(n)), **SHORT)

    assert (s.frame.loc[s.frame["kernel"] == "f", "placement"] > 0).all()


def test_an_argument_that_is_added_into_is_no_output():
    def added(x, out):
        out += x

    s = sweep({"f": added}, [64], make=lambda n, rng: (rng.random(n), np.zeros(n)), **SHORT)

    assert (s.frame.loc[s.frame["kernel"] == "f", "placement"] == 0).all()


def test_a_function_that_changes_its_argument_is_compared_by_what_it_leaves():
    with pytest.warns(UserWarning, match=r"sorted and reversed return different results at n = 8, 16"):
        s = sweep(
            {"sorted": np.sort, "in place": lambda x: x.sort(), "reversed": lambda x: np.sort(x)[::-1]},
            [8, 16],
            make=numbers,
            **SHORT,
        )

    own, differing = s.notes
    assert own == "every run works on arguments of its own, drawn by make, because in place changes them"
    assert differing == "sorted and reversed return different results at n = 8, 16"
    assert own in repr(s)
    assert differing in s._repr_html_()


def test_results_are_compared_at_every_size_on_arguments_of_their_own():
    with pytest.warns(UserWarning, match="f and g return different results at n = 200"):
        sweep({"f": np.sum, "g": lambda x: x[:100].sum()}, [50, 100, 200], make=numbers, **SHORT)


def test_the_comparison_is_switched_off_or_replaced(recwarn):
    wrong = {"f": double, "g": lambda x: 3 * x}

    sweep(wrong, [8], make=numbers, check=False, **SHORT)
    sweep(wrong, [8], make=numbers, check=lambda one, other: one.shape == other.shape, **SHORT)
    sweep({"f": double, "g": add}, [8], make=numbers, check=np.testing.assert_allclose, **SHORT)
    assert not recwarn

    with pytest.warns(UserWarning, match="different"):
        sweep(wrong, [8], make=numbers, check=np.testing.assert_allclose, **SHORT)


def test_a_function_that_raises_ends_its_curve_there_and_the_rest_goes_on():
    calls = log()

    def picky(x):
        calls.all.append(len(x))
        if len(x) >= 8:
            raise MemoryError("no room")
        return 2 * x

    s = sweep({"double": double, "picky": picky}, [16, 4, 8], make=numbers, **SHORT)

    assert set(calls.all) == {4, 8}
    assert calls.all.count(8) == 1
    assert list(points(s, "picky")) == [4]
    assert list(points(s, "double")) == [4, 8, 16]
    assert s.notes == ("picky at n = 8 is left out: it raised MemoryError: no room",)


def test_a_function_that_raises_for_a_named_input_loses_only_that():
    def picky(x):
        if len(x) == 2:
            raise RuntimeError("odd")
        return len(x)

    s = sweep({"picky": picky}, ["a", "bb", "ccc"], make=lambda name: name, **SHORT)

    assert list(points(s, "picky")) == ["a", "ccc"]


def test_a_function_that_takes_longer_than_the_limit_ends_its_curve(monkeypatch):
    slow = {4: 0.1, 8: 3.0, 16: 20.0}
    calls = log()

    def timed(point, made, *run):
        calls.all.append((point.kernel.name, len(made[0])))
        return rehearsal._Trial(point, slow[len(made[0])] * 1e9 if point.kernel.name == "slow" else 1e3, 0, False)

    monkeypatch.setattr(rehearsal, "_called", timed)
    monkeypatch.setattr(rehearsal, "_rehearsed", timed)

    s = sweep({"double": double, "slow": add}, [4, 8, 16], make=numbers, limit_s=2, **SHORT)

    assert calls.all.count(("slow", 16)) == 0
    assert list(points(s, "slow")) == [4]
    assert s.notes == ("slow at n = 8 is left out: a call takes 3 s, limit_s is 2",)


def test_the_first_call_of_a_function_may_load_or_compile_for_longer_than_the_limit():
    slow = SimpleNamespace(first=True)

    def loads(x):
        if slow.first:
            slow.first = False
            time.sleep(0.3)
        return x.sum()

    assert list(points(sweep({"f": loads}, [4], make=numbers, limit_s=0.2, **SHORT), "f")) == [4]


def test_a_call_of_a_second_and_more_is_made_seven_times(monkeypatch):
    monkeypatch.setattr(rehearsal, "LONG_NS", 1.0)
    calls = log()

    sweep({"f": lambda x: calls.all.append(len(x)) or x.sum()}, [4, 8], make=numbers, **SHORT)

    assert calls.all.count(8) == 7
    assert calls.all.count(4) == 8, "the first call of a function may load or compile"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: (2 * value for value in x), "it returns a generator, and nothing of its body ran"),
        (lambda x: map(abs, x), "it returns an iterator (map), which has not done its work yet"),
    ],
    ids=["generator", "iterator"],
)
def test_a_result_that_is_not_the_work_is_refused(function, words, refused):
    with refused(Unmeasurable, f"f at n = 4 is left out: {words}"):
        sweep({"f": function}, [4, 8], make=numbers, **SHORT)


def test_a_function_that_changes_what_it_closes_over_is_refused(refused):
    left = [1.0]

    def grows(x):
        left.append(x[0])
        return sum(left)

    with refused(Unmeasurable, "f at n = 4 is left out: f must not change what it works on, got left of its"):
        sweep({"f": grows}, [4], make=numbers, **SHORT)


def test_a_cache_that_answers_later_calls_is_refused(refused):
    with refused(Unmeasurable, "f at n = 4 is left out:", "cache"):
        sweep({"f": functools.lru_cache(lambda x: sum(x))}, [4], make=lambda n: tuple(range(n)), **SHORT)


def test_an_asynchronous_result_is_waited_for():
    waits = SimpleNamespace(count=0)

    class Later:
        def block_until_ready(self):
            waits.count += 1

    s = sweep({"f": lambda x: Later()}, [4, 8], make=numbers, **SHORT)

    assert waits.count >= 12
    assert s.notes == ("f: each run waits for its result: block_until_ready is a part of the time",)


def test_results_that_differ_from_call_to_call_are_noted_and_not_compared(recwarn):
    rng = np.random.default_rng(0)

    s = sweep({"f": lambda x: rng.random(), "g": lambda x: 0.5}, [4], make=numbers, **SHORT)

    assert not recwarn
    assert s.notes == ("f: results differ from call to call: runs may not do the same work",)


def test_an_oracle_is_held_against_a_function_that_changes_its_argument(refused):
    def exact(x):
        return np.sort(x), 0.0

    wrong = {"f": lambda x: x.__setitem__(slice(None), np.sort(x)[::-1])}
    with refused(WrongResult, "f at n = 8: result[0]"):
        sweep(wrong, [8], make=numbers, exact=exact, output=0, check=False, **SHORT)


def test_counts_of_work_give_rates_and_none_gives_none():
    counted = sweep([double], [8, 16], make=numbers, flops=lambda n: n, bytes=lambda n, itemsize: 2 * n * itemsize, **SHORT)
    plain = sweep([double], [8, 16], make=numbers, **SHORT)

    assert [(one["n"], one["flops"], one["bytes"]) for one in counted.run.meta["work"]] == [(8, 8, 128), (16, 16, 256)]
    assert counted.run.meta["limits"]
    assert plain.run.meta["work"] == []
    assert plain.run.meta["limits"] == {}


class Stop:
    """A function that is interrupted at one of its calls."""

    def __init__(self, at):
        self.at, self.calls = at, 0

    def __call__(self, x):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return x.sum()


def test_an_interruption_keeps_what_has_six_rounds_and_the_same_call_goes_on(monkeypatch):
    monkeypatch.setattr("perflib.runs.recorder.plan_rounds", lambda sizes, *_: {n: 6 if n != 9 else 30 for n in sizes})
    monkeypatch.setattr("perflib.runs.recorder.plan_batch", lambda case: (1, 1000))
    stop = Stop(0)
    calls = {"kernels": {"f": stop}, "sizes": [4, 9], "make": numbers, **SHORT}

    def progress(share):
        if share > 0.9:
            stop.at = stop.calls + 1

    with pytest.raises(Interrupted, match="what has 6 rounds is kept; run this cell again to go on") as caught:
        sweep(**calls | {"progress": progress})
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value._render_traceback_() == [f"Interrupted: {caught.value}"]
    (path,) = list_runs()
    kept = load_run(path).samples("sweep")
    stop.at = 0
    s = sweep(**calls)

    assert [path] == list_runs()
    assert set(kept.loc[kept["kernel"] == "f", "n"]) == {9} or set(kept.loc[kept["kernel"] == "f", "n"]) == {4, 9}
    assert s.run.finished
    assert [point.n for point in s.points] == [4, 9]


def test_what_an_interruption_cut_off_is_measured_as_a_block_of_its_own(monkeypatch):
    monkeypatch.setattr("perflib.runs.recorder.plan_rounds", lambda sizes, *_: {n: 6 if n == 4 else 30 for n in sizes})
    shares = []

    def interrupt(share):
        shares.append(share)
        if share >= 0.5:
            raise KeyboardInterrupt

    grid = {"kernels": {"f": double, "g": add}, "sizes": [4, 9], "make": numbers, "budget_s": 1e-6}
    with pytest.raises(Interrupted):
        sweep(**grid, progress=interrupt)
    interrupted = load_run(list_runs()[0])
    first = interrupted.samples("sweep")
    s = sweep(**grid, progress=False)

    assert not interrupted.finished
    assert set(first["block"]) == {"all sizes"}
    assert set(first["n"].dropna()) == {9}
    assert set(s.frame.loc[s.frame["n"] == 4, "block"]) == {"all sizes, continued"}
    assert s.frame.loc[s.frame["n"] == 9, "block"].eq("all sizes").all()
    assert all(point.samples >= 6 for point in s.points)


def test_an_interruption_before_the_first_sample_says_so(refused):
    with pytest.raises(Interrupted, match="interrupted before the first sample; run this cell again"):
        sweep({"f": Stop(1)}, [4], make=numbers, **SHORT)

    assert list_runs() == []


def test_the_steps_before_the_first_sample_have_names(monkeypatch):
    named = []

    class Bar:
        def __init__(self, *args, **settings):
            self.n = 0

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda *_: None  # noqa: E731
        set_description_str = lambda self, text, refresh=True: named.append(text)  # noqa: E731
        update = lambda self, by: None  # noqa: E731

    monkeypatch.setattr("perflib.sweeps.sweep.progress_bar", Bar)
    sweep({"double": double}, [4, 8], make=numbers, **SHORT)

    assert named == ["checking double at n = 4", "checking double at n = 8"]


def test_an_argument_that_is_changed_and_returned_is_no_result_that_differs():
    s = sweep({"f": lambda x, y: np.add(y, x, out=y)}, [8], make=lambda n, rng: (rng.random(n), rng.random(n)), **SHORT)

    assert s.notes == ("every run works on arguments of its own, drawn by make, because f changes them",)


def test_beside_each_other_functions_take_as_long_as_alone():
    """A sort in place beside one of a copy: each within 5 % of its time in a sweep of its own."""
    versions = {"sorted": sorted, "in place": lambda x: x.sort()}

    def time_ns(name, functions):
        s = sweep(functions, [1000], make=lambda n, rng: list(rng.random(n)), budget_s=0.1, progress=False)
        return points(s, name)[1000].time_ns.value

    for name, function in versions.items():
        ratio = ratio_in_turn(partial(time_ns, name, versions), partial(time_ns, name, {name: function}), 0.05)

        assert not is_outside(ratio, 0.05), f"{name}: {ratio:.3f}"


@pytest.mark.parametrize("container", [np.array, list, deque], ids=["array", "list", "deque"])
def test_a_function_that_changes_its_argument_only_at_larger_sizes_gets_its_own_there(container):
    states = log()

    def spoil(x):
        states.all.append(x[0])
        if len(x) > 4:
            x[0] -= 6.0

    s = sweep({"spoil": spoil}, [4, 8], make=lambda n: container([5.0] * n), budget_s=0.01, progress=False)

    assert -1.0 not in states.all
    assert s.notes == ("every run works on arguments of its own, drawn by make, because spoil changes them",)
