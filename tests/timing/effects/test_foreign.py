"""Containers of Numba and connections to databases: what a function changes in them is named, and put back if it can be."""

import sqlite3
from types import SimpleNamespace

import numpy as np
import pytest
from blamed import blamed
from numba import float64, int64, njit, typed
from numba.experimental import jitclass
from runs import isolate

from perflib import compare, measure
from perflib.errors import Unmeasurable
from perflib.sweeps.sweep import sweep
from perflib.timing.fresh_arguments import State, own_copy
from perflib.timing.preflight import run_preflight

BRIEF = {"budget_s": 0.03}
SHORT = {"budget_s": 1e-6, "progress": False}


@jitclass([("total", float64), ("counts", int64[:])])
class Counter:
    def __init__(self):
        self.total = 0.0
        self.counts = np.zeros(3, np.int64)

    def add(self, x):
        self.total += x
        self.counts[0] += 1


@njit
def append(values):
    values.append(values[0])


@njit
def grow(table):
    table[len(table)] = 1.0


@njit
def count(counter):
    counter.add(1.0)


@njit
def double_first(rows):
    rows[0][0] *= 2


def numbers():
    return typed.List([3.0, 1.0, 2.0])


def rows():
    return typed.List([np.ones(3), np.zeros(2)])


def table():
    filled = typed.Dict()
    filled[0] = 5.0
    return filled


def held(value):
    if isinstance(value, typed.Dict):
        return dict(value)
    if isinstance(value, typed.List):
        return [part.tolist() if isinstance(part, np.ndarray) else part for part in value]
    return value.total, value.counts.tolist()


@pytest.mark.parametrize(
    ("fn", "make", "kind"),
    [
        (append, numbers, "List"),
        (append.py_func, numbers, "List"),
        (lambda values: values.sort(), numbers, "List"),
        (grow, table, "Dict"),
        (grow.py_func, table, "Dict"),
        (double_first, rows, "ndarray"),
        (count, Counter, "Counter"),
        (lambda counter: counter.add(1.0), Counter, "Counter"),
    ],
)
def test_what_a_function_changes_in_an_object_of_numba_is_named_and_put_back(refused, fn, make, kind):
    value = make()
    before = held(value)

    with refused(Unmeasurable, f"must not change its arguments, got argument 0 ({kind}) changed in place"):
        measure(fn, value)
    assert held(value) == before
    measure(fn, value, in_place=True, **BRIEF)

    assert held(value) == before


@pytest.mark.parametrize(("fn", "make"), [(append, numbers), (grow, table), (double_first, rows)])
def test_every_run_has_an_object_of_numba_of_its_own(fn, make):
    value = make()
    before = held(value)

    found = measure(fn, value, fresh=True, **BRIEF)
    beside = measure(fn, fresh=lambda rng: (make(),), **BRIEF)

    assert held(value) == before
    for one in (found, beside):
        assert any("every run has its own arguments" in note for note in one.notes)


def test_no_run_sees_what_another_one_put_into_a_typed_list():
    seen = SimpleNamespace(all=[])

    def look(values):
        seen.all.append(len(values))
        values.append(1.0)

    compare([look, append.py_func], numbers(), fresh=True, check=False, **BRIEF)

    assert set(seen.all) == {3}


@pytest.mark.parametrize(("fn", "make"), [(sum, numbers), (len, table), (lambda c: c.total, Counter), (len, typed.List)])
def test_an_object_of_numba_that_is_only_read_is_no_obstacle(fn, make):
    assert not blamed(measure(fn, make(), **BRIEF))


def test_a_copy_of_a_typed_container_shares_nothing():
    for make in (numbers, rows, table):
        value = make()
        copy = own_copy(value)

        assert held(copy) == held(value)
        assert type(copy) is type(value)
    copied = own_copy(rows_ := rows())
    copied[0][0] = 9
    assert rows_[0][0] == 1


def test_a_sweep_gives_every_run_a_typed_list_of_its_own(tmp_path, monkeypatch):
    isolate(tmp_path, monkeypatch)

    s = sweep({"append": append}, [4], make=lambda n: typed.List(range(n)), **SHORT)

    assert any("because append changes them" in note for note in s.notes)


# databases


@pytest.fixture(params=["memory", "disk"])
def connection(request, tmp_path):
    made = sqlite3.connect(":memory:" if request.param == "memory" else tmp_path / "base.sqlite")
    made.execute("create table t (x)")
    made.execute("insert into t values (1)")
    made.commit()
    yield made
    made.close()


def insert(connection):
    connection.execute("insert into t values (2)")


def insert_for_good(connection):
    with connection:
        insert(connection)


def rows_of(connection):
    return connection.execute("select count(*) from t").fetchone()[0]


@pytest.mark.parametrize("fn", [insert, insert_for_good])
def test_a_database_that_every_call_fills_is_refused_and_put_back_where_that_is_possible(refused, connection, fn):
    in_memory = not connection.execute("pragma database_list").fetchone()[2]

    with refused(Unmeasurable, "got argument 0 (Connection) changed in place", "fresh=make", "in_place=True"):
        measure(fn, connection)
    with refused(Unmeasurable, "got connection of its closure (Connection) changed in place"):
        measure(lambda: fn(connection))
    behaviour = run_preflight("work", fn, (connection,), may_change=True)

    is_named = "argument 0 cannot be restored: it holds what the calls left" in behaviour.notes
    assert is_named is not in_memory
    assert (rows_of(connection) == 1) is in_memory


def test_a_database_that_is_only_read_is_no_obstacle(connection):
    found = measure(rows_of, connection, **BRIEF)

    assert not blamed(found)
    assert not any("restored" in note for note in found.notes)


def test_a_transaction_that_somebody_began_goes_on():
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (x)")
    insert(connection)

    measure(rows_of, connection, **BRIEF)
    state = State(rows_of, (connection,))
    insert(connection)

    assert state.changes() == ["argument 0"]
    assert state.restore() == ["argument 0"]
    assert connection.in_transaction


def test_a_connection_that_is_closed_is_left_as_it_is(connection):
    connection.close()

    assert State(rows_of, (connection,)).changes() == []
