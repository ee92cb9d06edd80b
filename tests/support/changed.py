"""The tests of what changed since the merge base with origin/main, as arguments for pytest, one a line.

    python tests/support/changed.py
    python tests/support/changed.py --folders       the folders of tests whose slow tests CI runs

Without origin/main: since the commit before the last. Uncommitted and untracked files count. A module has the test of its
name, in the folder of the same name, and every test that imports it directly; a helper of the tests has those that import
it, a test file itself. Faults, notebooks and data have the checks of the repository.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

CHECKED_FOLDERS = ("tests/faults", "notebooks", "data")
CHECKS = "tests/repository"


def changed_files(root: Path) -> set[str]:
    """Paths that differ from the base, those that are gone included."""
    differing = _git(root, "diff", "--name-only", "--no-renames", "-z", base(root))
    return {*differing, *_git(root, "ls-files", "--others", "--exclude-standard", "-z")}


def base(root: Path) -> str:
    """The commit that changes count from."""
    since_main = _git(root, "merge-base", "HEAD", "origin/main")
    return (since_main or _git(root, "rev-parse", "--verify", "--quiet", "HEAD~1") or ["HEAD"])[0]


def relevant_tests(root: Path, changed: Iterable[str]) -> list[str]:
    """The test files and folders of changed paths, sorted; only those that exist."""
    paths = {PurePosixPath(name) for name in changed}
    sources = {path for path in paths if path.suffix == ".py" and path.parts[0] in ("perflib", "tests")}
    tests = {str(path) for path in sources if path.parts[0] == "tests" and path.name.startswith("test_")}
    tests |= {str(PurePosixPath("tests", *path.parts[1:-1], f"test_{path.name}")) for path in sources}
    tests |= set(_importers(root, {_dotted(path) for path in sources}))
    if any(path.is_relative_to(folder) for path in paths for folder in CHECKED_FOLDERS):
        tests.add(CHECKS)
    return sorted(name for name in tests if (root / name).exists())


def changed_folders(root: Path, changed: Iterable[str]) -> list[str]:
    """The folders of tests for changed paths: that of the same name, and the checks of the repository, which use all."""
    paths = [PurePosixPath(name) for name in changed]
    folders = {f"tests/{path.parts[1]}" for path in paths if len(path.parts) > 2 and path.parts[0] in ("perflib", "tests")}
    if any(path.parts[0] in ("perflib", "tests", "notebooks", "data", "Makefile", "pyproject.toml") for path in paths):
        folders.add(CHECKS)
    return sorted(name for name in folders if (root / name).is_dir())


def _git(root: Path, *words: str) -> list[str]:
    """What git prints, one entry a line or as -z separates them; nothing where it refuses."""
    run = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    return [] if run.returncode else [entry for entry in run.stdout.replace("\0", "\n").split("\n") if entry]


def _dotted(source: PurePosixPath) -> str:
    """The name that a test imports it by: what lies in tests/support is on its path."""
    return ".".join(source.with_suffix("").parts).removeprefix("tests.").removeprefix("support.")


def _importers(root: Path, modules: set[str]) -> Iterator[str]:
    """Test files that import one of the modules by its own name."""
    for file in sorted((root / "tests").rglob("test_*.py")):
        if modules & set(_imports(ast.parse(file.read_text(encoding="utf-8")))):
            yield str(file.relative_to(root).as_posix())


def _imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names that may be modules: `from a import b` is a and a.b, `import a` is a and a.__init__.

    So a change of `perflib/__init__.py` has the tests of the package's face, not all that import a name from it.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from (alias.name, f"{alias.name}.__init__")
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def main() -> int:
    """Print the arguments; a sentence on stderr if there are none."""
    root = Path(_git(Path.cwd(), "rev-parse", "--show-toplevel")[0])
    chosen = changed_folders if sys.argv[1:] == ["--folders"] else relevant_tests
    if tests := chosen(root, changed_files(root)):
        print("\n".join(tests))
    else:
        print("nothing changed that has a test", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
