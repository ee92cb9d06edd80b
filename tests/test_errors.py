"""One hierarchy of errors: who catches PerflibError catches everything that perflib raises on its own account."""

import ast
import builtins
from pathlib import Path

import pytest

from perflib import errors
from perflib.errors import PerflibError

OWN = [value for value in vars(errors).values() if isinstance(value, type)]


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_every_error_is_a_perflib_error_that_ipython_shows_as_a_sentence(kind):
    assert issubclass(kind, PerflibError)
    assert kind("no run")._render_traceback_() == [f"{kind.__name__}: no run"]


def test_every_other_exception_is_a_signal_inside_one_module():
    classes = {}
    for file in Path(errors.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            bases = [base.id for base in getattr(node, "bases", []) if isinstance(base, ast.Name)]
            if file.name != "errors.py" and any(is_exception(getattr(builtins, base, None)) for base in bases):
                classes[node.name] = file.name

    assert len(OWN) >= 8
    assert classes == {
        "Refusal": "harnesses.py",
        "StopEarly": "recorder.py",
        "_Refused": "rehearsal.py",
        "_Unfinished": "recorder.py",
    }


def is_exception(value):
    return isinstance(value, type) and issubclass(value, BaseException)


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_what_an_error_shows_of_names_and_values_has_no_terminal_escape_and_one_line(kind):
    problem = kind("/tmp/\x1b[31mr\u200bed\x1b[0m\n\u202efi\U000e0041le: \x07not \ud800re\u00adad")

    assert str(problem) == "/tmp/red file: not read"
    assert problem._render_traceback_() == [f"{kind.__name__}: /tmp/red file: not read"]
