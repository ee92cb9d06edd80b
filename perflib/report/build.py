"""Build the report: the notebooks executed on a run, as pages that need no network, no script and no server.

    >>> build(load_run("latest"))                                                           # doctest: +SKIP
    PosixPath('reports/index.html')

The first page opens with the results. Then follow a guide for slow kernels, the notebooks, a glossary and the reference
of the public names. Pages hold their pictures and their style; the samples are attached, so that a shared report can be
re-analysed.

Raises `ReportError` where the notebooks are not there or a cell fails: its notebook, its cell, its message. A report that
was there before is then untouched.
"""

import base64
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..display.figure import ON_PAGES
from ..errors import ReportError
from ..files import NOTEBOOKS, REPORTS, replace_text
from ..runs.integrity import FILE, read_file
from ..runs.store import Run
from ..studies.machines import Fleet
from .api_page import api_page
from .fleet_page import fleet_page
from .glossary_page import finish, glossary_page
from .guide_page import guide_page
from .index_page import first_page
from .markup import is_own, render
from .notebooks import execute_all, find_notebooks
from .page import ENTRANCE, Page, exporter, page
from .single_file import join_pages

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date of a zip: the same samples give the same bytes
BENCH = "bench"  # where `make bench` writes; not of the report


def build(run: Run, out: Path | None = None, notebooks: Path = NOTEBOOKS, fleet: Fleet | None = None) -> Path:
    """Write the report of a run into `out` (by default reports/ of the clone) and return its index.

    The folder is replaced as a whole, but for its folder `bench`, when everything else is done; one that is not a report
    of perflib is refused. fleet: machines that get a page of their own.
    """
    out = (out or REPORTS).resolve()
    _require_replaceable(out)
    pages = _pages(run, notebooks, fleet)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".report-", dir=out.parent) as beside:
        fresh = Path(beside) / out.name
        _write_report(fresh, run, pages)
        if (out / BENCH).is_dir():
            shutil.copytree(out / BENCH, fresh / BENCH)
        if out.exists():
            out.rename(Path(beside) / "before")
        fresh.rename(out)
    return out / "index.html"


def build_single(run: Run, file: Path | None = None, notebooks: Path = NOTEBOOKS, fleet: Fleet | None = None) -> Path:
    """Write the report of a run as one HTML file (by default <run-id>.html here) and return its path."""
    file = (file or Path(f"{run.id}.html")).resolve()
    pages, archive = _pages(run, notebooks, fleet), _zip_samples(run)
    link = "data:application/zip;base64," + base64.b64encode(archive).decode()
    samples = {"name": f"{run.id}.zip", "link": link, "size": len(archive)}
    all_pages = join_pages([finish(page) for page in (first_page(run, pages, samples), *pages)])
    replace_text(file, _render("single.html.j2", run, all_pages, all_pages[0], lambda page: f"#{page.stem}"))
    return file


def _require_replaceable(out: Path) -> None:
    if not out.exists() or (out.is_dir() and {path.name for path in out.iterdir()} <= {BENCH}):
        return
    index = out / "index.html"
    if not index.is_file() or not is_own(index):
        raise ReportError(f"{out} is not a report of perflib; remove it or name another folder")


def _pages(run: Run, notebooks: Path, fleet: Fleet | None) -> list[Page]:
    """Every page but the first: the guide, the fleet, the notebooks, the glossary, the reference."""
    paths = [path for path in find_notebooks(notebooks) if path.stem != ENTRANCE]
    environment = {**os.environ, "PERFLIB_RUN": str(run.path.resolve()), ON_PAGES: "page"}
    results = execute_all(paths, environment)
    convert = exporter()
    pages = [page(convert, path.stem, notebook) for path, notebook in results]
    guide = guide_page(run, {page.stem: page for page in pages})
    return [guide, *([fleet_page(fleet)] if fleet else []), *pages, glossary_page(), api_page()]


def _zip_samples(run: Run) -> bytes:
    """The files of a run in a folder of its name, as a zip that is the same each time."""
    with zipfile.ZipFile(content := io.BytesIO(), "w") as archive:
        for file in sorted(f for f in run.path.iterdir() if FILE.fullmatch(f.name)):
            archive.writestr(zipfile.ZipInfo(f"{run.id}/{file.name}", EPOCH), read_file(file), zipfile.ZIP_DEFLATED, 9)
    return content.getvalue()


def _write_report(folder: Path, run: Run, pages: Sequence[Page]) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / f"{run.id}.zip").write_bytes(archive := _zip_samples(run))
    samples = {"name": f"{run.id}.zip", "link": f"data/{quote(run.id)}.zip", "size": len(archive)}
    all_pages = [finish(page) for page in (first_page(run, pages, samples), *pages)]
    for before, current, after in zip([None, *all_pages[:-1]], all_pages, [*all_pages[1:], None], strict=True):
        around = {"previous": before, "next": after} if before else {}
        html = _render("page.html.j2", run, all_pages, current, lambda page: f"{page.stem}.html", **around)
        (folder / f"{current.stem}.html").write_text(html, encoding="utf-8")


def _render(template: str, run: Run, pages: Sequence[Page], page: Page, link: Callable[[Page], str], **more: Any) -> str:
    time = run.meta["finished"] or run.meta["started"]
    frame = {"run": run, "recorded": time, "pages": pages, "link": link, "title": page.title}
    frame |= {"wide": page is pages[0], "version": version("perflib")}
    return render(template, **frame, **vars(page), **more)
