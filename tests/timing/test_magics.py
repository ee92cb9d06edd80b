"""The magics as a notebook uses them: statements, set-up, comparisons, names that stay apart, errors of one line."""

import re

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from perflib import Comparison, Measurement
from perflib.kernels import matmul_ikj, matmul_naive

pytestmark = pytest.mark.filterwarnings("ignore:.*does not compute what")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """IPython without history, with perflib loaded by its own name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        found = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
        found.run_line_magic("load_ext", "perflib")
        yield found


@pytest.fixture
def shell(session):
    session.user_ns.update(a=np.ones((8, 8), np.float32), matmul_naive=matmul_naive, matmul_ikj=matmul_ikj, np=np, n=50)
    before = set(session.user_ns)
    yield session
    for name in set(session.user_ns) - before:
        del session.user_ns[name]


@pytest.fixture
def told(shell, capsys):
    """What a cell leaves on the screen where it fails."""

    def run(cell):
        outcome = shell.run_cell(cell)
        assert not outcome.success
        printed = capsys.readouterr()
        return printed.out + printed.err

    return run


def value(shell, cell):
    outcome = shell.run_cell(cell)
    outcome.raise_error()
    return outcome.result


def test_a_line_measures_its_statement_as_a_function_of_its_own(shell):
    found = value(shell, "%measure -b 0.01 sum(range(n))")

    assert isinstance(found, Measurement)
    assert (found.label, found.scope, found.call) == ("sum(range(n))", "call", None)


def test_a_call_of_a_compiled_kernel_is_measured_in_both_scopes(shell):
    found = value(shell, "%measure -b 0.01 matmul_naive(a, a)")

    assert (found.label, found.scope, found.call.scope) == ("matmul_naive", "kernel", "call")
    assert found.dispatch_ns is not None


@pytest.mark.parametrize("statement", ["matmul_naive(a + a, a)", "matmul_naive(a, b=a)", "len([matmul_naive(a, a)])"])
def test_arguments_that_cost_something_are_part_of_what_is_measured(shell, statement):
    assert value(shell, f"%measure -b 0.01 {statement}").scope == "call"


def test_the_result_is_an_object_that_can_be_kept(shell):
    shell.run_cell("kept = %measure -b 0.01 sum(range(n))").raise_error()

    assert isinstance(shell.user_ns["kept"], Measurement)


def test_a_cell_is_measured_as_a_whole_and_leaves_no_name_behind(shell):
    before = {**shell.user_ns}

    found = value(shell, "%%measure -b 0.01\ntotal = 0\nfor i in range(n):\n    total += i\n")

    assert found.label.startswith("total = 0 for i in range(n)")
    assert {"total", "i", "statement"}.isdisjoint(shell.user_ns)
    assert shell.user_ns["n"] == before["n"]


def test_the_first_line_of_a_cell_is_set_up_once_and_not_timed(shell):
    shell.user_ns["made"] = []

    value(shell, "%%measure -b 0.01 made.append(1); width = 7\nsum(range(width))")

    assert shell.user_ns["made"] == [1]
    assert "width" not in shell.user_ns


def test_a_comparison_takes_one_statement_for_each_alternative_with_its_name(shell):
    found = value(shell, "%%measure -c -b 0.01\nslow: matmul_naive(a, a)\nfast: matmul_ikj(a, a)\n")

    assert isinstance(found, Comparison)
    assert (found.baseline, list(found.ratios)) == ("slow", ["fast"])
    assert {m.scope for m in found.measurements.values()} == {"kernel"}, "the same arguments: machine code is compared"


def test_statements_without_a_name_are_called_what_they_say(shell):
    found = value(shell, "%measure -c -b 0.01 sum(range(n)); max(range(n))")

    assert list(found.measurements) == ["sum(range(n))", "max(range(n))"]


def test_alternatives_with_other_arguments_are_compared_as_python_runs_them(shell):
    found = value(shell, "%%measure -c -b 0.01 b = a.copy()\nmatmul_naive(a, a)\nmatmul_naive(a, b)\n")

    assert {m.scope for m in found.measurements.values()} == {"call"}


def test_budget_threads_scope_and_mode_are_those_of_measure(shell):
    found = value(shell, "%measure -b 0.01 -t 2 --scope kernel --mode cold matmul_naive(a, a)")

    assert (found.scope, found.mode, found.call) == ("kernel", "cold", None)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%measure", "there must be a statement to measure, got none"),
        ("%measure missing(1)", "NameError: name 'missing' is not defined"),
        ("%measure 1 / 0", "1 / 0 must not raise, got ZeroDivisionError: division by zero"),
        ("%measure 1 +", "SyntaxError: invalid syntax"),
        ("%measure -b soon sum(range(n))", "-b must be a number, got 'soon'"),
        ("%measure -b 0 sum(range(n))", "budget_s must be above 0, got 0.0"),
        ("%measure -t 0 sum(range(n))", "threads must be at least 1, got 0"),
        ("%measure --scope whole sum(range(n))", "scope must be one of kernel, call; got 'whole'"),
        ("%measure --scope kernel sum(range(n))", "needs a function compiled by numba.njit"),
        ("%measure -c sum(range(n))", "-c needs at least 2 statements, got 1"),
        ("%measure -c sum(range(n)); sum(range(n))", "statements must have names of their own"),
        ("%measure -x sum(range(n))", "option -x not recognized"),
        ("%%measure import nowhere_7f3a\nsum(range(n))", "No module named 'nowhere_7f3a'"),
        ("%measure matmul_naive(a, n)", "b must be a numpy array, got int"),
    ],
)
def test_what_cannot_be_measured_is_one_line(told, cell, words):
    shown = re.sub(r"\x1b\[[\d;]*m", "", told(cell)).strip()

    assert words in shown
    assert shown.startswith("UsageError: ")
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize("statement", ["matmul_ikj(a, a)", "a + a", "[a for _ in (1, 2)]"])
def test_arrays_are_placed_unless_they_are_to_stay(shell, statement):
    drawn, mine = (shell.run_line_magic("measure", f"-b 0.02 {how} {statement}") for how in ("", "--placement mine"))

    assert max(s.placement for s in drawn.samples) > 1
    assert {s.placement for s in mine.samples} == {0}
    assert drawn.label == mine.label


@pytest.mark.parametrize("statement", ["a[0] = 1", "[0 for a in (1, 2)]", "(lambda a: a)(1)", "n + 1"])
def test_arrays_that_a_statement_changes_or_does_not_read_stay(shell, statement):
    found = shell.run_line_magic("measure", f"-b 0.02 {statement}")

    assert {s.placement for s in found.samples} == {0}


def test_alternatives_find_the_arrays_in_the_same_place(shell):
    found = shell.run_cell_magic("measure", "-c -b 0.02", "sum: a.sum()\ntwice: a + a + n")

    places = [{s.round: s.placement for s in m.samples} for m in found.measurements.values()]
    assert max(places[0].values()) > 1
    assert all(places[0][number] == place for number, place in places[1].items() if number in places[0])


def test_what_changes_an_array_is_compared_where_it_lies(shell):
    found = shell.run_cell_magic("measure", "-c -b 0.02", "sum: a.sum()\nfill: a.partition(3)")

    assert list(found.measurements) == ["sum", "fill"]
