"""The report: the notebooks executed on a run, as pages that need no network, no script and no server.

    build(run)          executes every notebook on the run, writes reports/index.html and a page for each

    >>> build(load_run("latest"))                                                           # doctest: +SKIP
    PosixPath('reports/index.html')

The pages hold their pictures and their style; the samples lie beside them, so that a shared report can be re-analysed.

Raises `RunError` where the notebooks are not there or a cell fails: its notebook, its cell, its message. A report that was
there before is then untouched.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import nbformat

from .execution import NOTEBOOKS, execute_all, find_notebooks
from .front import front
from .page import exporter, page
from .store import Run, RunError

__all__ = ["build"]

REPORTS = Path(__file__).parents[1] / "reports"


def build(run: Run, out: Path | None = None, notebooks: Path = NOTEBOOKS) -> Path:
    """Write the report of a run into `out` (reports/ of the clone unless told) and return its index.

    The folder is replaced as a whole when everything else is done; one that is not a report of perflib is refused.
    """
    out = (out or REPORTS).resolve()
    _require_replaceable(out)
    executed = execute_all(find_notebooks(notebooks), {**os.environ, "PERFLIB_RUN": str(run.path.resolve())})
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".report-", dir=out.parent) as beside:
        fresh = Path(beside) / out.name
        _write_report(fresh, run, executed)
        if out.exists():
            out.rename(Path(beside) / "before")
        fresh.rename(out)
    return out / "index.html"


def _require_replaceable(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    index = out / "index.html"
    if not index.is_file() or 'name="generator" content="perflib"' not in index.read_text(errors="replace")[:2000]:
        raise RunError(f"{out} is not a report of perflib; remove it or name another folder")


def _write_report(folder: Path, run: Run, executed: Iterable[tuple[Path, nbformat.NotebookNode]]) -> None:
    convert = exporter()
    pages = [page(convert, path.stem, notebook) for path, notebook in executed]
    templates = convert.environment.overlay(autoescape=True)
    frame = {"run": run, "recorded": run.meta["finished"] or run.meta["started"], "pages": pages}
    (data := folder / "data" / run.id).mkdir(parents=True)
    for file in sorted(f for f in run.path.iterdir() if f.suffix in (".csv", ".json") or f.name == "SHA256SUMS"):
        shutil.copyfile(file, data / file.name)
    for before, shown, after in zip([None, *pages[:-1]], pages, [*pages[1:], None], strict=True):
        around = {"title": shown.title, "previous": before, "next": after}
        written = templates.get_template("page.html.j2").render(**frame, **around, **vars(shown))
        (folder / f"{shown.stem}.html").write_text(written, encoding="utf-8")
    written = templates.get_template("index.html.j2").render(**frame, **front(run, pages, data))
    (folder / "index.html").write_text(written, encoding="utf-8")
