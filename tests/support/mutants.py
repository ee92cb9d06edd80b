"""Mutate the package at random, by a seed, one place at a time, and list the mutants that no test notices.

    python tests/support/mutants.py [--count 200] [--seed 24] [--first 0]

A mutant has another comparison, operator, constant, condition, order of arguments or return. In a copy of the tree run the
tests that belong to its module: that of its name and those that import it, and if all are green the whole folder of tests.
It is caught where a test turns red that is green without it, or where tests find no end in LIMIT_S that they find without.

Left out are types, arguments in ANY_ORDER, checks of the program itself (strict=True, frozen=True) and constants of pure
layout: values of the keywords, keys and names in DRAWN where something is drawn, and what stands at the top of the modules
in DRAWINGS. equivalent_mutants.toml names mutants that compute the same, with the reason; they count neither as caught nor
as survivors. Exit status 1 if more than 5 % survive.
"""

import argparse
import ast
import random
import re
import resource
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parent))
from changed import CHECKS, changed_folders, relevant_tests  # noqa: E402  found on the path above
from tree_copies import OUT_OF_TIME, ROOT, copy_to, holds_compiled, run_tests  # noqa: E402

MOST_PERCENT = 5
LIMIT_S = 600  # for the tests of a mutant, most of which take seconds
MOST_BYTES = 8 << 30  # of a process: a loop without an end fills the memory otherwise
DRAWN = {
    "alpha",
    "color",
    "colour",
    "dpi",
    "edge",
    "figsize",
    "fontsize",
    "gap",
    "height",
    "linewidth",
    "margin",
    "markersize",
}
DRAWN |= {"pad", "rotation", "width", "zorder"}
DRAWING_FOLDERS = ("display", "report", "studies")
DRAWINGS = {f"display/{name}.py" for name in ("figure", "html", "labels", "svg")} | {
    "scaling/figure.py",
    "sweeps/figure.py",
}
KINDS = ("comparison", "operator", "constant", "condition", "arguments", "return")
OTHER = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
ANY_ORDER = {"max", "min", "maximum", "minimum", "array_equal", "and_", "or_", "xor", "add", "mul"}  # LLVM's the last five
CHECKS_OF_CODE = {"strict", "frozen"}
TYPES = {"annotation", "returns"}
NEVER_RUN = ("TYPE_CHECKING", "__name__ == '__main__'")  # in a test


class Mutant(NamedTuple):
    """One change: `text` in the place of the bytes from `start` to `end` of a file; before and after are its first line."""

    file: str
    line: int
    kind: str
    before: str
    after: str
    start: int
    end: int
    text: str

    def applied(self, source: str) -> str:
        whole = source.encode()
        return (whole[: self.start] + self.text.encode() + whole[self.end :]).decode()


def mutants_of(file: str, source: str) -> Iterator[Mutant]:
    """Every mutant of one module, in the order of its places."""
    lines = source.encode().splitlines(keepends=True)
    starts = list(accumulate(map(len, lines), initial=0))
    for kind, old, new in _changes(ast.parse(source), file, None, is_drawn=False):
        first, last = lines[old.lineno - 1], lines[old.end_lineno - 1]
        start, end = starts[old.lineno - 1] + old.col_offset, starts[old.end_lineno - 1] + old.end_col_offset
        changed = first[: old.col_offset] + new.encode() + last[old.end_col_offset :]
        before, after = (line.decode().partition("\n")[0].strip() for line in (first, changed))
        yield Mutant(file, old.lineno, kind, before, after, start, end, new)


def drawn(root: Path, count: int, seed: int) -> list[Mutant]:
    """`count` mutants of the package, equally many of each kind; a larger count begins with the same ones."""
    files = sorted(file.relative_to(root).as_posix() for file in (root / "perflib").rglob("*.py"))
    kinds: dict[str, list[Mutant]] = {kind: [] for kind in KINDS}
    for file in files:
        for mutant in mutants_of(file, (root / file).read_text(encoding="utf-8")):
            kinds[mutant.kind].append(mutant)
    rng = random.Random(seed)
    for mutants in kinds.values():
        rng.shuffle(mutants)
    return [mutant for turn in zip(*kinds.values(), strict=False) for mutant in turn][:count]


def belonging_tests(root: Path, file: str) -> tuple[list[str], list[str]]:
    """The tests that belong to a module, that of its name first, and then the folder with the rest."""
    name = file.removeprefix("perflib/").removesuffix(".py")
    own = re.sub(r"([^/]+)$", r"test_\1.py", f"tests/{name}")
    top = sorted(path.relative_to(root).as_posix() for path in root.glob("tests/test_*.py"))
    folder = [folder for folder in changed_folders(root, [file]) if folder != CHECKS] or top
    return sorted(relevant_tests(root, [file]), key=lambda test: test != own), folder


def equivalents() -> list[dict[str, str]]:
    """What equivalent_mutants.toml sets aside: name, file, before, after, reason."""
    return tomllib.loads(Path(__file__).with_name("equivalent_mutants.toml").read_text(encoding="utf-8"))["mutant"]


def _changes(node: ast.AST, file: str, outer: ast.AST | None, *, is_drawn: bool) -> Iterator[tuple[str, ast.AST, str]]:
    """What is changed below a node: the kind, the node that is replaced, and the text in its place.

    In an f-string the whole string is replaced, because Python 3.11 knows no places inside of it.
    """
    for field, child, put in _children(node):
        is_guard = isinstance(node, ast.keyword) and node.arg in CHECKS_OF_CODE
        if is_guard or field in TYPES or (isinstance(child, ast.If) and ast.unparse(child.test) in NEVER_RUN):
            continue
        shown = is_drawn or _is_layout(node, child, file)
        for kind, new in _alternatives(node, field, child):
            if kind == "constant" and shown:
                continue
            put(new)
            try:
                yield kind, outer or child, _written(outer or new)
            except ValueError:  # an f-string that Python 3.11 cannot write
                pass
            finally:
                put(child)
        inside = outer or (child if isinstance(child, ast.JoinedStr) else None)
        yield from _changes(child, file, inside, is_drawn=shown)


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST, Callable[[ast.AST], None]]]:
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield field, value, partial(setattr, node, field)
        elif isinstance(value, list):
            for number, child in enumerate(value):
                if isinstance(child, ast.AST):
                    yield field, child, partial(value.__setitem__, number)


def _alternatives(parent: ast.AST, field: str, child: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The other nodes that may stand where the child does."""

    def other(**fields: object) -> ast.AST:
        return ast.copy_location(type(child)(**{**dict(ast.iter_fields(child)), **fields}), child)

    if field in ("test", "ifs"):
        yield "condition", ast.UnaryOp(ast.Not(), child)
    if isinstance(parent, ast.Return) and isinstance(child, ast.Tuple) and len(child.elts) > 1:
        one, two, *rest = child.elts
        if ast.dump(one) != ast.dump(two):
            yield "return", other(elts=[two, one, *rest])
    elif isinstance(parent, ast.Return) and not (isinstance(child, ast.Constant) and child.value is None):
        yield "return", ast.Constant(None)
    match child:
        case ast.Compare():
            for place, op in enumerate(child.ops):
                yield "comparison", other(ops=[*child.ops[:place], OTHER[type(op)](), *child.ops[place + 1 :]])
        case ast.BinOp() | ast.AugAssign() | ast.BoolOp():
            if type(child.op) in OTHER:
                yield "operator", other(op=OTHER[type(child.op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield "operator", child.operand
        case ast.Constant(value=bool()):
            yield "constant", ast.Constant(not child.value)
        case ast.Constant(value=int()):
            yield "constant", ast.Constant(child.value + 1)
        case ast.Constant(value=float()):
            yield "constant", ast.Constant(child.value * 1.25 or 1.0)
        case ast.Call() if ast.unparse(child.func).rpartition(".")[2] not in ANY_ORDER:
            for place, (one, two) in enumerate(zip(child.args, child.args[1:], strict=False)):
                if ast.dump(one) != ast.dump(two) and not any(isinstance(arg, ast.Starred) for arg in (one, two)):
                    yield "arguments", other(args=[*child.args[:place], two, one, *child.args[place + 2 :]])


def _written(node: ast.AST) -> str:
    bare = (ast.Constant, ast.Call, ast.JoinedStr, ast.stmt, ast.Name, ast.Attribute)
    return ast.unparse(node) if isinstance(node, bare) else f"({ast.unparse(node)})"


def _is_layout(node: ast.AST, child: ast.AST, file: str) -> bool:
    """Whether constants below the child are margins, colours and sizes of drawings."""
    module = file.removeprefix("perflib/")
    if isinstance(node, ast.Module):
        return module in DRAWINGS and isinstance(child, ast.Assign | ast.AnnAssign)
    names = []
    if isinstance(node, ast.keyword):
        names = [node.arg or ""]
    elif isinstance(node, ast.Assign) and child is node.value:
        names = [ast.unparse(target) for target in node.targets]
    elif isinstance(node, ast.Dict) and child in node.values:
        key = node.keys[node.values.index(child)]
        names = [str(key.value)] if isinstance(key, ast.Constant) else []
    words = {word for name in names for word in re.split(r"[^a-z]+", name.lower())}
    return bool(words & DRAWN) and (module.startswith(DRAWING_FOLDERS) or module in DRAWINGS)


def judge(tree: Path, mutant: Mutant) -> str:
    """What the tests say of a mutant: caught, with the test; SURVIVED; or why that is not known."""
    file = tree / mutant.file
    sound = file.read_text(encoding="utf-8")
    fresh = holds_compiled(file, sound)
    for tests in belonging_tests(tree, mutant.file):
        if not tests:
            continue
        file.write_text(mutant.applied(sound), encoding="utf-8")
        try:
            done = run_tests(tree, "-m", "not slow", *tests, fresh=fresh, limit_s=LIMIT_S)
        finally:
            file.write_text(sound, encoding="utf-8")
        if done.returncode not in (0, 5):  # 5: all of them are slow
            red = re.search(r"(?m)^(?:FAILED|ERROR) (.+?)(?: - |$)", done.stdout)
            again = run_tests(tree, *([red[1]] if red else tests), fresh=fresh, limit_s=LIMIT_S)
            why = red[1] if red else "no end" if done.returncode == OUT_OF_TIME else f"pytest ended with {done.returncode}"
            return f"caught by {why}" if again.returncode == 0 else f"UNKNOWN: without it too: {why}"
    return "SURVIVED"


def main() -> int:
    """Judge the drawn mutants and list what survives."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=24)
    parser.add_argument("--first", type=int, default=0, help="mutants of the seed to leave out, which were judged before")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    aside = {(one["file"], one["before"], one["after"]): one["name"] for one in equivalents()}
    chosen = drawn(ROOT, args.first + args.count, args.seed)[args.first :]
    judged = survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_to(Path(folder).resolve() / "tree")
        for number, mutant in enumerate(chosen, start=args.first):
            name = aside.get((mutant.file, mutant.before, mutant.after))
            outcome = f"set aside: {name}" if name else judge(tree, mutant)
            judged += not name
            survivors += outcome[0].isupper()
            print(f"{number} {mutant.file}:{mutant.line} {mutant.kind}: {outcome}", flush=True)
            if not outcome.startswith("caught"):
                print(f"    {mutant.before}\n    {mutant.after}", flush=True)
    percent = 100 * survivors / max(judged, 1)
    print(f"{survivors} of {judged} survived or are unknown: {percent:.0f} %; {len(chosen) - judged} set aside")
    return 1 if percent > MOST_PERCENT else 0


if __name__ == "__main__":
    sys.exit(main())
