"""Copy notebooks for a user: all of them to read, or 08-your-kernel for a kernel of the user's own.

The copy of 08-your-kernel is `my-notebooks/name.ipynb` without outputs, in a clone beside `notebooks/`, else in the current
folder. It measures what the original reads from a run.

Raises `ReportError` for a name that is no name of a file, for a file that is there already and where it cannot write.
"""

import re
from pathlib import Path

import nbformat

from ..errors import ReportError
from ..files import HOME, NOTEBOOKS, replace_text
from ..runs.tables import NO_TOPICS
from .notebooks import find_notebooks

TEMPLATE = NOTEBOOKS / "08-your-kernel.ipynb"
MINE = HOME / "my-notebooks"  # ignored by git; no test, report or `perflib execute` looks there
MEASURED = """sizes = [64, 96, 128, 192, 256, 320, 384, 512, 768, 1024]
by_size = perflib.sweep([kernel], sizes, name="{name}").run
by_tile = perflib.sweep([kernel], [256, 1024], tile=[1, 4, 16, 64, 256], name="{name}-tiles").run"""
OPENING = """# How fast is my kernel?

A stencil, described in a few lines and then swept, drawn and judged like the built-in kernels of perflib. Replace the three
cells that define it, check it and describe it by your own, and run all. You will see

- how its time grows with n, and which parameter is best,
- what limits it on this machine,
- a page `{name}.html` beside this notebook, to hand on.

Run All takes about half a minute, nearly all of it for measuring. Without parameters, delete what names `by_tile`."""
TEXT = """## Measuring

The kernel is swept over sizes and over tiles; each sweep is recorded as a run, and continued if it is interrupted."""


def copy_template(name: str, folder: Path | None = None) -> Path:
    """Copy the template into a folder, by default my-notebooks/, which is created where it is missing.

    The name of letters, digits, - and _ names the notebook's sweeps and its page too.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or name in NO_TOPICS:
        raise ReportError(
            f"name must be letters, digits, - and _, begin with one of the first two, not {' or '.join(NO_TOPICS)}; "
            f"got {name!r}"
        )
    path = (folder or MINE) / f"{name}.ipynb"
    try:
        notebook = nbformat.reads(TEMPLATE.read_text(encoding="utf-8"), as_version=4)
    except OSError as problem:
        raise ReportError(f"the template is not installed: {TEMPLATE}: {problem.strerror}") from None
    for cell in notebook.cells:
        cell.source = _adapt(cell, name)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    try:
        if folder is None:
            MINE.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(nbformat.writes(notebook) + "\n")
    except FileExistsError:
        raise ReportError(f"{path} is there already; choose another name") from None
    except OSError as problem:
        raise ReportError(f"cannot write {path}: {problem.strerror}") from None
    return path


def copy_notebooks(folder: Path | None = None) -> Path:
    """Copy perflib's notebooks into a folder, by default perflib-notebooks/ in the current one; return the folder.

    A file of the name of a notebook stays as it is.
    """
    folder = (folder or Path("perflib-notebooks")).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for notebook in find_notebooks(NOTEBOOKS):
            if not (folder / notebook.name).exists():
                replace_text(folder / notebook.name, notebook.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ReportError(f"cannot write {folder}: {problem.strerror or problem}") from None
    return folder


def _adapt(cell: nbformat.NotebookNode, name: str) -> str:
    """The source of a cell as it stands in the copy."""
    if cell.id == "opening":
        return OPENING.format(name=name)
    if cell.id == "run":
        return cell.source.replace("\n\nrun = perflib.load_run()", "")
    if cell.id == "measured":
        return MEASURED.format(name=name)
    if cell.id == "prediction":
        return cell.source.partition("## Measuring")[0] + TEXT
    if cell.id in ("kernel", "inputs-and-oracle", "description"):
        return cell.source
    return cell.source.replace("08-your-kernel", name).replace('"stencil', f'"{name}').replace("the stencil", name)
