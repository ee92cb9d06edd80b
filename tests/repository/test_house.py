"""The house stands as it is drawn: floors, folders, names and size. Each message names the file and the rule.

A module is known by its dotted name; an import counts wherever it stands, in a function and under TYPE_CHECKING too, but
for the names that `perflib/__init__.py` only shows to editors.
"""

import ast
import importlib
import inspect
import io
import tokenize
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
FLOORS = (  # the lowest first; nothing imports what stands after it
    ("errors", "files", "system"),
    ("timer", "stats"),
    ("display",),
    ("section_timer", "performance_stats"),
    ("kernels",),
    ("timing",),
    ("hardware",),
    ("runs",),
    ("models",),
    ("scaling",),
    ("llm",),
    ("studies",),
    ("validation",),
    ("report",),
    ("sweeps",),
    ("fleet",),
    ("explorer", "cli"),
    ("__init__", "__main__"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
MODULES_IN_A_FOLDER = 15
ENTRIES_AT_THE_TOP = 24
FILES_AT_THE_TOP = 14
LOCAL_IMPORTS = 30
LINES_OF_CODE = 22_100
FACES = ("perflib/__init__.py", "perflib/kernels/__init__.py")
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


class House:
    """The sources below `root`/perflib, parsed once; `imports` are the modules that each module imports, with a line."""

    def __init__(self, root):
        self.root = root
        self.files = {dotted(file.relative_to(root)): file for file in sorted(root.glob("perflib/**/*.py"))}
        self.texts = {module: file.read_text(encoding="utf-8") for module, file in self.files.items()}
        self.trees = {module: ast.parse(text) for module, text in self.texts.items()}
        self.imports = {module: dict(self._imports(module)) for module in self.files}

    def path(self, module):
        return self.files[module].relative_to(self.root).as_posix()

    def _imports(self, module):
        for node in statements(self.trees[module], skip_type_checking=module == "perflib"):
            for name in self._names(module, node):
                while name and name not in self.files:  # a name in a module, or another package
                    name = name.rpartition(".")[0]
                if name and name != module:
                    yield name, node.lineno

    def _names(self, module, node):
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if not isinstance(node, ast.ImportFrom):
            return []
        base = node.module or ""
        if node.level:
            depth = node.level - (self.files[module].name == "__init__.py")
            above = module.split(".")[: len(module.split(".")) - depth]
            base = ".".join([*above, base] if base else above)
        return [f"{base}.{alias.name}" for alias in node.names]


def dotted(path):
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def statements(tree, skip_type_checking=False):
    for node in ast.iter_child_nodes(tree):
        if skip_type_checking and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from statements(node, skip_type_checking)


def room(module):
    """The folder or file at the top of perflib that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def floor_problems(house):
    for module, imports in house.imports.items():
        if (own := room(module)) not in FLOOR:
            yield f"{house.path(module)}: {own} stands on no floor"
            continue
        for name, line in imports.items():
            if (other := room(name)) != own and FLOOR.get(other, -1) > FLOOR[own]:
                yield f"{house.path(module)}:{line}: {own} imports only what is drawn above it, not {other} ({name})"


def circle_problems(graph, what):
    """One circle, if there is any: each member imports the next."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as problem:
        yield f"a circle of {what}: {' -> '.join(reversed(problem.args[1]))}"


def module_graph(house):
    return {house.path(module): {house.path(name) for name in imports} for module, imports in house.imports.items()}


def kernel_graph(house):
    """What each folder in kernels/ imports of the others."""
    folders = {m.split(".")[2] for m in house.files if m.startswith("perflib.kernels.") and m.count(".") > 2}
    graph = {f"perflib/kernels/{folder}": set() for folder in sorted(folders)}
    for module, imports in house.imports.items():
        for name in imports:
            pair = [part.split(".")[2] for part in (module, name) if part.startswith("perflib.kernels.")]
            if len(pair) == 2 and set(pair) <= folders and pair[0] != pair[1]:
                graph[f"perflib/kernels/{pair[0]}"].add(f"perflib/kernels/{pair[1]}")
    return graph


def folder_problems(house):
    folders = {file.parent for file in house.files.values()}
    for folder in sorted(folders - {house.root / "perflib" / "studies"}):
        number = sum(file.name != "__init__.py" for file in folder.glob("*.py"))
        if number > MODULES_IN_A_FOLDER:
            yield f"{folder.relative_to(house.root)}: a folder has at most {MODULES_IN_A_FOLDER} modules, not {number}"


def study_problems(house):
    for notebook in sorted((house.root / "notebooks").glob("[0-9][0-9]-*.ipynb")):
        number, _, name = notebook.stem.partition("-")
        study = f"perflib/studies/{name.replace('-', '_')}.py"
        if number != "00" and not (house.root / study).is_file():
            yield f"notebooks/{notebook.name}: a notebook has a study of its name, {study}"


def top_problems(house):
    entries = [entry for entry in (house.root / "perflib").iterdir() if entry.name != "__pycache__"]
    files = [entry for entry in entries if entry.is_file()]
    if len(entries) > ENTRIES_AT_THE_TOP:
        yield f"perflib: at most {ENTRIES_AT_THE_TOP} entries stand at the top, not {len(entries)}"
    if len(files) > FILES_AT_THE_TOP:
        yield f"perflib: at most {FILES_AT_THE_TOP} files stand at the top, not {len(files)}"


def face_problems(house):
    for module, tree in house.trees.items():
        for node in statements(tree):
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets) and house.path(module) not in FACES:
                yield f"{house.path(module)}:{node.lineno}: __all__ stands only in {' and '.join(FACES)}"


def local_imports(house):
    """Path, line and whether a comment stands beside it or above, of each import in a function; cli.py aside."""
    for module in house.files.keys() - {"perflib.cli"}:
        functions = (n for n in ast.walk(house.trees[module]) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
        nodes = {n.lineno: n for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)}
        comments = {t.start[0] for t in tokens(house.texts[module]) if t.type == tokenize.COMMENT}
        for line, node in nodes.items():
            yield house.path(module), line, bool(comments & set(range(line - 1, node.end_lineno + 1)))


def local_import_problems(house):
    imports = sorted(local_imports(house))
    if len(imports) > LOCAL_IMPORTS:
        yield f"perflib: at most {LOCAL_IMPORTS} imports stand in functions, not {len(imports)}"
    for path, line, reason in imports:
        if not reason:
            yield f"{path}:{line}: an import in a function has its reason as a comment, on its line or the one above"


def tokens(text):
    return tokenize.generate_tokens(io.StringIO(text).readline)


def lines_of_code(text):
    """Lines that are neither blank nor comment nor docstring."""
    code = {n for t in tokens(text) if t.type not in NO_CODE for n in range(t.start[0], t.end[0] + 1)}
    strings = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
    code -= {n for s in strings if isinstance(s.value.value, str) for n in range(s.lineno, s.end_lineno + 1)}
    return sum(bool(line.strip()) for number, line in enumerate(text.splitlines(), 1) if number in code)


def size_problems(house):
    lines = sum(map(lines_of_code, house.texts.values()))
    if lines > LINES_OF_CODE:
        yield f"perflib: at most {LINES_OF_CODE} lines of code, not {lines}"


def expect_none(problems):
    """Every problem is shown, a line each."""
    lines = sorted(problems)
    assert not lines, "\n".join(lines)


@pytest.fixture(scope="module")
def house():
    return House(ROOT)


@pytest.mark.parametrize(
    "problems",
    [floor_problems, folder_problems, study_problems, top_problems, face_problems, local_import_problems, size_problems],
    ids=lambda problems: problems.__name__.removesuffix("_problems"),
)
def test_the_house_keeps_its_rules(house, problems):
    expect_none(problems(house))


def test_no_modules_import_each_other_in_a_circle(house):
    expect_none(circle_problems(module_graph(house), "modules"))


def test_the_folders_of_kernels_import_each_other_only_downwards(house):
    expect_none(circle_problems(kernel_graph(house), "folders"))


@pytest.mark.parametrize("name", ["perflib", "perflib.kernels"])
def test_nothing_that_is_exported_has_the_name_of_a_module_beside_it(house, name):
    face, folder = importlib.import_module(name), house.files[name].parent
    beside = {entry.stem for entry in folder.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").is_file()}
    exported = {export for export in face.__all__ if not inspect.ismodule(getattr(face, export))}

    expect_none(f"{house.path(name)}: {export} is exported beside a module of its name" for export in exported & beside)


SOUND = {
    "pyproject.toml": "",
    "notebooks/00-start-here.ipynb": "",
    "notebooks/10-tile-size.ipynb": "",
    "perflib/__init__.py": "if TYPE_CHECKING:\n    from .cli import main\n__all__ = []\n",
    "perflib/cli.py": "def main():\n    from .studies import tile_size\n",
    "perflib/stats.py": '"""One\n\nline."""\n\n# none\nx = """a\n\nb"""\n',
    "perflib/timer.py": "from .stats import x\n",
    "perflib/kernels/__init__.py": "from .jit.vector import fma\n__all__ = []\n",
    "perflib/kernels/jit/__init__.py": "",
    "perflib/kernels/jit/vector.py": "from ...timer import y\n",
    "perflib/kernels/gemm/__init__.py": "",
    "perflib/kernels/gemm/fast.py": "from ..jit import vector\ndef f():\n    import pandas  # half a second\n",
    "perflib/studies/__init__.py": "",
    "perflib/studies/tile_size.py": "import perflib.kernels.gemm.fast\n",
}
BROKEN = {
    "an import upwards": ("perflib/stats.py", "from .kernels.gemm import fast\n", floor_problems, "not kernels"),
    "one in a function": ("perflib/stats.py", "def f():\n    from . import studies\n", floor_problems, "not studies"),
    "the face from below": ("perflib/stats.py", "from perflib import measure\n", floor_problems, "not __init__"),
    "for editors only": ("perflib/stats.py", "if TYPE_CHECKING:\n    from .cli import main\n", floor_problems, "not cli"),
    "a file on no floor": ("perflib/misc.py", "", floor_problems, "misc stands on no floor"),
    "a missing study": ("notebooks/11-rmsnorm.ipynb", "", study_problems, "perflib/studies/rmsnorm.py"),
    "a list of names": ("perflib/timer.py", "__all__: list = []\n", face_problems, "perflib/timer.py:1"),
    "no reason": ("perflib/timer.py", "def f():\n    x = 1\n    import os\n", local_import_problems, "perflib/timer.py:3"),
    "a crowd": ({f"perflib/kernels/m{n}.py": "" for n in range(16)}, None, folder_problems, "15 modules, not 16"),
    "a crowd at the top": ({f"perflib/m{n}.py": "" for n in range(11)}, None, top_problems, "14 files stand at the top"),
    "a lot of code": ("perflib/timer.py", "x = 1\n" * (LINES_OF_CODE + 1), size_problems, f"most {LINES_OF_CODE} lines"),
}


def build(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return House(folder)


def test_a_sound_house_has_no_problem(tmp_path):
    sound = build(tmp_path, SOUND)

    for problems in {problems for *_, problems, _ in BROKEN.values()}:
        assert list(problems(sound)) == []
    for graph in (module_graph, kernel_graph):
        assert list(circle_problems(graph(sound), "parts")) == []


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named_with_its_file(tmp_path, rule):
    file, text, problems, words = BROKEN[rule]
    broken = build(tmp_path, {**SOUND, **(file if text is None else {file: text})})

    (problem,) = problems(broken)
    assert words in problem
    assert problem.startswith("perflib: " if problems is size_problems else file if text is not None else "perflib")


@pytest.mark.parametrize(
    ("file", "text", "graph", "circle"),
    [
        ("stats.py", "from . import timer\n", module_graph, {"stats.py", "timer.py"}),
        ("stats.py", "def f():\n    import perflib.timer\n", module_graph, {"stats.py", "timer.py"}),
        ("kernels/jit/simd.py", "from ..gemm import fast\n", kernel_graph, {"kernels/jit", "kernels/gemm"}),
    ],
)
def test_a_circle_is_named_with_its_members(tmp_path, file, text, graph, circle):
    broken = build(tmp_path, {**SOUND, f"perflib/{file}": text})

    (problem,) = circle_problems(graph(broken), "parts")
    assert set(problem.removeprefix("a circle of parts: ").split(" -> ")) == {f"perflib/{member}" for member in circle}


def test_blanks_comments_and_docstrings_are_no_code():
    assert lines_of_code(SOUND["perflib/stats.py"]) == 2
    assert lines_of_code('class A:\n    """Doc."""\n\n    x: int  # one\n    """Its doc."""\n') == 2
