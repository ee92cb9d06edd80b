"""The report: the notebooks executed on a run, as pages that need no network, no script and no server.

    build(run)                  executes every notebook on the run, writes reports/index.html and a page for each
    execute_in_place(paths)     re-executes the committed notebooks on the reference run; a second time changes no byte

    >>> build(load_run("latest"))                                                           # doctest: +SKIP
    PosixPath('reports/index.html')

The pages hold their pictures and their style; the samples lie beside them, so that a shared report can be re-analysed.

Raises `RunError` where the notebooks are not there or a cell fails: its notebook, its cell, its message. A report that was
there before is then untouched, and so is a notebook.
"""

import base64
import html
import json
import os
import re
import shutil
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbconvert import HTMLExporter
from tqdm import tqdm

from .cachemodel import best_tile
from .claims import judge_all
from .plot import overview
from .stats import Interval
from .store import Run, RunError
from .tables import copy_gb_per_s, peak_gflops, text

__all__ = ["build", "execute_in_place"]

CLONE = Path(__file__).parents[1]
NOTEBOOKS = CLONE / "notebooks"
TEMPLATES = Path(__file__).parent / "templates"
TITLE = "How fast are matrix product and RMS norm on this machine?"
TILE_SIZES = (64, 128, 256, 512, 1024)
CELL_LIMIT_S = 300
NUMBER = re.compile(r"[-−+]?\d[^A-Za-z]*(e[+-]?\d+)?( \([^()]*\))?|[-–—]?|nan|NaN")
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python", "pygments_lexer": "ipython3"},
}


@dataclass(frozen=True)
class _Page:
    """A notebook as HTML: `heading` and `body` are markup, all else is text; `toc` has level, id and text."""

    stem: str
    heading: str
    opening: str
    body: str
    toc: tuple[dict[str, Any], ...]

    @property
    def title(self) -> str:
        return _text(self.heading)

    @property
    def name(self) -> str:
        return self.stem.lstrip("0123456789-").replace("-", " ")


def build(run: Run, out: Path | None = None, notebooks: Path = NOTEBOOKS) -> Path:
    """Write the report of a run into `out` (reports/ of the clone unless told) and return its index.

    The folder is replaced as a whole when everything else is done; one that is not a report of perflib is refused.
    """
    out = (out or CLONE / "reports").resolve()
    _require_replaceable(out)
    executed = _execute_all(_notebooks(notebooks), {**os.environ, "PERFLIB_RUN": str(run.path.resolve())})
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".report-", dir=out.parent) as beside:
        fresh = Path(beside) / out.name
        _write_report(fresh, run, executed)
        if out.exists():
            out.rename(Path(beside) / "before")
        fresh.rename(out)
    return out / "index.html"


def execute_in_place(paths: Sequence[Path] = ()) -> None:
    """Execute notebooks (all that are committed unless told) on the reference run and write their outputs into them.

    Nothing is kept that another execution would change: no times, no tags, no widget state, no version of Python.
    """
    paths = [Path(p) for p in paths] or _notebooks(NOTEBOOKS)
    environment = {name: value for name, value in os.environ.items() if name != "PERFLIB_RUN"}
    for path, notebook in _execute_all(paths, environment):
        part = path.with_name(f".{path.name}.part")
        part.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        os.replace(part, path)


def _notebooks(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.ipynb"))
    if not found:
        raise RunError(f"no notebooks in {folder}; a report is built from a clone of the repository")
    return found


def _require_replaceable(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    index = out / "index.html"
    if not index.is_file() or 'name="generator" content="perflib"' not in index.read_text(errors="replace")[:2000]:
        raise RunError(f"{out} is not a report of perflib; remove it or name another folder")


def _execute_all(paths: Sequence[Path], environment: Mapping[str, str]) -> list[tuple[Path, nbformat.NotebookNode]]:
    """All notebooks executed, in memory: none of them counts before the last is done."""
    clean = [(path, _read_clean(path)) for path in paths]
    cells = sum(len(notebook.cells) for _, notebook in clean)
    with tqdm(total=cells, unit="cell", file=sys.stderr, disable=None, leave=False) as bar:
        for path, notebook in clean:
            bar.set_description(path.stem)
            _execute(path, notebook, environment, bar)
    return clean


def _read_clean(path: Path) -> nbformat.NotebookNode:
    """The notebook without outputs and without anything that an editor leaves behind; cells keep their ids."""
    try:
        notebook = nbformat.from_dict(json.loads(path.read_text(encoding="utf-8")))
        notebook.nbformat, notebook.nbformat_minor, notebook.metadata = 4, 5, nbformat.from_dict(METADATA)
        for number, cell in enumerate(notebook.cells):
            cell.setdefault("id", f"cell-{number:02}")
            cell.source = "".join(cell.source)
            cell.metadata = nbformat.NotebookNode()
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.validate(notebook)
    except (OSError, ValueError, AttributeError, nbformat.ValidationError) as problem:
        raise RunError(f"{path.name}: cannot be read as a notebook: {_first_line(problem)}") from None
    return notebook


def _execute(path: Path, notebook: nbformat.NotebookNode, environment: Mapping[str, str], bar: tqdm) -> None:
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_LIMIT_S,
        shutdown_kernel="immediate",
        extra_arguments=["--log-level=ERROR"],  # not even a word about its transport
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent.resolve())}},
    )
    count = 0
    try:
        with client.setup_kernel(env=dict(environment)):
            for index, cell in enumerate(notebook.cells):
                count += cell.cell_type == "code" and bool(cell.source.strip())
                client.execute_cell(cell, index)
                bar.update()
    except CellExecutionError as problem:
        raise RunError(f"{path.name}, cell [{count}]: {problem.ename}: {_first_line(problem.evalue)}") from None
    except (CellTimeoutError, KeyError, RuntimeError) as problem:  # no such kernel; one that dies or never answers
        raise RunError(f"{path.name}, cell [{count}]: {_first_line(problem)}") from None


def _first_line(message: object) -> str:
    return str(message).strip().partition("\n")[0]


def _write_report(folder: Path, run: Run, executed: Iterable[tuple[Path, nbformat.NotebookNode]]) -> None:
    exporter = _exporter()
    pages = [_page(exporter, path.stem, notebook) for path, notebook in executed]
    templates = exporter.environment.overlay(autoescape=True)
    frame = {"run": run, "recorded": run.meta["finished"] or run.meta["started"], "pages": pages}
    (data := folder / "data" / run.id).mkdir(parents=True)
    for file in sorted(f for f in run.path.iterdir() if f.suffix in (".csv", ".json") or f.name == "SHA256SUMS"):
        shutil.copyfile(file, data / file.name)
    for before, page, after in zip([None, *pages[:-1]], pages, [*pages[1:], None], strict=True):
        around = {"title": page.title, "previous": before, "next": after}
        written = templates.get_template("page.html.j2").render(**frame, **around, **vars(page))
        (folder / f"{page.stem}.html").write_text(written, encoding="utf-8")
    written = templates.get_template("index.html.j2").render(**frame, **_index(run, pages, data))
    (folder / "index.html").write_text(written, encoding="utf-8")


def _exporter() -> HTMLExporter:
    """nbconvert with the template of this package and none of its own pages."""
    exporter = HTMLExporter(
        template_name="base",
        template_file="notebook.html.j2",
        extra_template_paths=[str(TEMPLATES)],
        exclude_anchor_links=True,
    )
    exporter.register_filter("png_size", _png_size)
    exporter.register_filter("aligned", _aligned)
    return exporter


def _aligned(markup: str) -> str:
    """A table as pandas writes it, without its style sheet; columns of numbers get the class `num`."""
    markup = re.sub(r"(?s)<style.*?</style>\s*", "", markup)
    markup = re.sub(r"<td>(HOLDS|FAILS|UNDECIDED)</td>", r'<td class="verdict \1">\1</td>', markup)
    rows = [re.findall(r"(?s)<t[hd].*?</t[hd]>", row) for row in re.findall(r"(?s)<tr.*?</tr>", markup)]
    if len({len(row) for row in rows}) != 1 or len(rows) < 2:  # no table, or one with joined cells
        return markup
    numeric = [all(NUMBER.fullmatch(_text(cell)) for cell in column[1:]) for column in zip(*rows, strict=True)]
    marks = iter([number for _ in rows for number in numeric])
    return re.sub(r"<t[hd](?=[ >])", lambda cell: cell[0] + ' class="num"' * next(marks), markup)


def _page(exporter: HTMLExporter, stem: str, notebook: nbformat.NotebookNode) -> _Page:
    body, _ = exporter.from_notebook_node(notebook)
    body = re.sub(r'href="([\w-]+)\.ipynb(?=["#])', r'href="\1.html', body)
    found = re.search(r"(?s)<h1>(.*?)</h1>", body)
    if found:
        body = body.replace(found[0], "", 1)
    first = re.search(r"(?s)<p>(.*?)</p>", body)
    opening = re.match(r"(?s)(.*[.?!])?", _text(first[1]) if first else "")[0]  # whole sentences
    body, toc = _with_anchors(body)
    return _Page(stem, found[1] if found else html.escape(stem), opening, body, toc)


def _with_anchors(body: str) -> tuple[str, tuple[dict[str, Any], ...]]:
    """Give every heading the id that JupyterLab gives it (the second of a name gets a number); collect the contents."""
    toc, used = [], Counter({"main": 1})

    def anchor(heading: re.Match) -> str:
        level, name = heading[1], re.sub(r"\s+", "-", _text(heading[2]))
        used[name] += 1
        name += f"-{used[name]}" if used[name] > 1 else ""
        toc.append({"level": int(level), "id": name, "text": _text(heading[2])})
        return f'<h{level} id="{html.escape(name)}">{heading[2]}</h{level}>'

    body = re.sub(r"(?s)<h([2-6])>(.*?)</h\1>", anchor, body)
    return body, tuple(entry for entry in toc if entry["level"] <= 3)


def _index(run: Run, pages: Sequence[_Page], data: Path) -> dict[str, Any]:
    """What the first page shows."""
    claims = judge_all(run)
    by_stem = {page.stem: page for page in pages}
    return {
        "title": TITLE,
        "counts": Counter(claim.verdict for claim in claims),
        "claims": claims,
        "as_text": text,
        "facts": [*_machine(run), *_limits(run)],
        "tiles": [best_tile(n, run=run) for n in TILE_SIZES],
        "figures": [_figure(picture, by_stem[stem]) for picture, stem in overview(run) if stem in by_stem],
        "files": [(file.name, file.stat().st_size) for file in sorted(data.iterdir())],
    }


def _machine(run: Run) -> list[tuple[str, str]]:
    """The machine's own lines, as names and values."""
    return [tuple(line.split(maxsplit=1)) for line in str(run.machine).splitlines()]


def _limits(run: Run) -> list[tuple[str, str]]:
    return [
        ("peak", _limit(lambda: peak_gflops(run, "float32"), "GFLOP/s multiply-add, float32, one core")),
        ("copy", _limit(lambda: copy_gb_per_s(run), "GB/s read and written in memory, one core")),
    ]


def _limit(measured: Callable[[], Interval], unit: str) -> str:
    try:
        return f"{text(measured(), 1)} {unit}"
    except RunError:
        return "not recorded"


def _figure(picture: Any, page: _Page) -> dict[str, Any]:
    png = base64.b64encode(picture.png).decode()
    width, height = _png_size(png)
    return {"png": png, "alt": picture.alt, "width": width, "height": height, "page": page}


def _png_size(png: str) -> tuple[int, int]:
    """Width and height in pixels, from the header that every PNG opens with."""
    return struct.unpack(">II", base64.b64decode(png[:44])[16:24])


def _text(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", markup)).strip()
