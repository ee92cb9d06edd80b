"""`%measure` and `%%measure`: the habit of %timeit, with intervals, both scopes, a state and its reasons.

    %load_ext perflib
    %measure rms_norm_fast(x, weight)           both scopes where it is compiled; `m = %measure ...` keeps the object
    %measure -b 3 x @ y                         three seconds instead of one
    %measure -c np.dot(x, y); x @ y             compared against the first

    %%measure import math; y = math.pi          what stands behind the options is set-up and not timed
    total = 0
    for i in range(1000): total += i * y

    %%measure -c
    naive: matmul_naive(a, b)                   one statement for each alternative, `name: expression` gives it a name
    ikj: matmul_ikj(a, b)

Options: -c compare, -b SECONDS, -t THREADS, --scope call|kernel, --mode throughput|latency|cold, --placement drawn|mine,
and for statements that change what they work on --fresh (every run works on copies of it) or --in-place (a run goes on with
what the last one left). A statement sees the names of the notebook and those of the set-up, and leaves none behind. A call
of a compiled function on plain names or numbers is measured as `measure(function, *arguments)`; anything else runs as a
function of its own, in `call` scope.

Raises `UsageError`, which a notebook shows as one line.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from ..display.text import on_one_line
from ..errors import Unmeasurable, WrongResult
from ..kernels.catalog import find
from .case import MODES, is_compiled
from .fresh_arguments import CONTAINERS
from .measure import compare, measure
from .results import Comparison, Measurement


def load(shell: InteractiveShell) -> None:
    """What `%load_ext perflib` does."""
    shell.register_magics(MeasureMagics)


@dataclass(frozen=True)
class _Statement:
    """One statement of a cell: how it is called and what it runs."""

    label: str
    fn: Callable
    args: tuple = ()


@magics_class
class MeasureMagics(Magics):
    """The magic as a line and as a cell."""

    @no_var_expand
    @line_cell_magic
    def measure(self, line: str, cell: str | None = None) -> Measurement | Comparison:
        """Measure a statement, or with -c compare several; see perflib.timing.magics."""
        how = {"posix": False, "strict": False, "preserve_non_opts": True}
        options, rest = self.parse_options(line, "cb:t:", "scope=", "mode=", "placement=", "fresh", "in-place", **how)
        names = dict(self.shell.user_ns)
        try:
            settings = _settings(options)
            if cell is not None:
                exec(compile(self.shell.transform_cell(rest), "<set-up>", "exec"), names)
            body = self.shell.transform_cell(rest if cell is None else cell)
            return (_compare if "c" in options else _measure)(body, names, settings)
        except Exception as problem:  # a set-up raises whatever it does
            raise UsageError(_line(problem)) from None


def _measure(body: str, names: dict[str, Any], settings: Mapping[str, Any]) -> Measurement:
    tree = _parse(body)
    if len(tree) == 1 and (call := _as_call(tree[0], names)):
        return measure(call.fn, *call.args, **settings)
    if arrays := _arrays(tree, names, settings):
        with suppress(*([] if "fresh" in settings else [Unmeasurable])):  # it changes them: as Python runs it, then
            return measure(_function(tree, body, names, arrays=arrays).fn, *(names[a] for a in arrays), **settings)
    return measure(_function(tree, body, names).fn, **settings)


def _compare(body: str, names: dict[str, Any], settings: Mapping[str, Any]) -> Comparison:
    tree = _parse(body)
    if len(tree) < 2:
        raise ValueError(f"-c needs at least 2 statements, got {len(tree)}")
    statements = [_label(node) for node in tree]
    labels = [label for label, _ in statements]
    if len(set(labels)) < len(labels):
        raise ValueError(f"statements must have names of their own (`name: expression`), got {labels}")
    calls = [_as_call(node, names, label) for label, node in statements]
    if all(calls) and len({tuple(map(id, one.args)) for one in calls}) == 1:
        return compare({one.label: one.fn for one in calls}, *calls[0].args, **settings)
    nodes = [node for _, node in statements]

    def functions(arrays: Sequence[str]) -> dict[str, Callable]:
        each = (_function([node], ast.unparse(node), names, label, arrays) for label, node in statements)
        return {one.label: one.fn for one in each}

    if arrays := _arrays(nodes, names, settings):
        with suppress(*([] if "fresh" in settings else [Unmeasurable])):
            return compare(functions(arrays), *(names[a] for a in arrays), **settings)
    return compare(functions(()), **settings)


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `measure` and `compare` from the options."""
    settings = {name: options[name] for name in ("scope", "mode", "placement") if name in options}
    settings |= {name.replace("-", "_"): True for name in ("fresh", "in-place") if name in options}
    for option, name, kind in (("b", "budget_s", float), ("t", "threads", int)):
        if option in options:
            try:
                settings[name] = kind(options[option])
            except ValueError:
                raise ValueError(f"-{option} must be a number, got {options[option]!r}") from None
    return settings


def _parse(body: str) -> list[ast.stmt]:
    tree = ast.parse(body).body
    if not tree:
        raise ValueError("there must be a statement to measure, got none")
    return tree


def _label(node: ast.stmt) -> tuple[str, ast.stmt]:
    """`name: expression` is an annotation to Python, and a name with its statement to us."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is None:
        return node.target.id, ast.copy_location(ast.Expr(node.annotation), node)
    return ast.unparse(node), node


def _as_call(node: ast.stmt, names: dict[str, Any], label: str = "") -> _Statement | None:
    """The function and its arguments, where there is machine code and the arguments cost nothing to get."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or call.keywords or not all(map(_is_plain, (call.func, *call.args))):
        return None
    fn, *args = (eval(ast.unparse(part), names) for part in (call.func, *call.args))
    description = find(fn) if callable(fn) else None
    return _Statement(label, fn, tuple(args)) if is_compiled(fn) or (description and description.compiled) else None


def _is_plain(node: ast.expr) -> bool:
    """A name, a number, or an attribute of a name."""
    return isinstance(node, (ast.Name, ast.Constant)) or (isinstance(node, ast.Attribute) and _is_plain(node.value))


def _arrays(tree: Sequence[ast.stmt], names: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Names of the arrays that expressions read: as arguments they are placed. Of containers too, where runs get copies."""
    kinds = CONTAINERS if "fresh" in settings else (np.ndarray,)
    if settings.get("mode", MODES[0]) != MODES[0] or not all(isinstance(node, ast.Expr) for node in tree):
        return []
    nodes = [node for statement in tree for node in ast.walk(statement)]
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    bound |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    return sorted({n.id for n in nodes if isinstance(n, ast.Name) and type(names.get(n.id)) in kinds} - bound)


def _function(
    tree: list[ast.stmt], source: str, names: dict[str, Any], label: str = "", arrays: Sequence[str] = ()
) -> _Statement:
    """The statements as a function of these arrays, which returns the value of the last one if that has any."""
    *first, last = tree
    if isinstance(last, ast.Expr):
        last = ast.copy_location(ast.Return(last.value), last)
    label = label or " ".join(source.split())
    module = ast.parse("def statement(): pass")
    module.body[0].body, module.body[0].args.args = [*first, last], [ast.arg(name) for name in arrays]
    exec(compile(ast.fix_missing_locations(module), "<measured>", "exec"), names)
    fn = names.pop("statement")
    fn.__name__ = label
    return _Statement(label, fn)


def _line(problem: Exception) -> str:
    """What an exception says, on one line, with its kind where the words alone are none."""
    words = on_one_line(problem) or "no message"
    ours = isinstance(problem, (Unmeasurable, WrongResult, ValueError, TypeError))
    return words if ours else f"{type(problem).__name__}: {words}"
