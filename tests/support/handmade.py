"""Notebooks and a run made by hand, with labels that try to be markup, and the report of them."""

import base64
import hashlib
import json
import struct
import zlib

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from perflib.display.figure import Picture
from perflib.report import index_page
from perflib.report.build import build, build_single
from perflib.runs.store import Run
from perflib.studies.summary import Claim

RUN_ID = "20260101T000000Z-made by <b>hand"
HOSTILE = "<script>alert(1)</script>\"'&<b>"
ALT = "A black square, which stands for a figure <of> \"rates\" & 'times'."
CACHE = {"level": 1, "kind": "Data", "size_bytes": 32768, "line_bytes": 64, "ways": 8, "sets": 64, "sharing": 1}
MACHINE = {
    "cpu": f"{HOSTILE}\non a second line",
    "target": "generic",
    "isa": ["avx2"],
    "logical_cpus": 2,
    "caches": [CACHE],
    "memory_bytes": 2**33,
    "page_policy": None,
    "os": "Linux",
    "python": "3.11.0",
    "packages": {"numpy": "2.0"},
    "clock": "a clock",
}
META = {
    "schema": 1,
    "started": "2026-01-01T00:00:00Z",
    "finished": "2026-01-01T00:01:00Z",
    "command": "quick",
    "settings": {"seed": 0},
    "machine": MACHINE,
    "code": {"digest": "0123456789abcdef", "commit": None, "clean": None},
}
SHOW = f"""from IPython.display import display
png = "{{png}}"
display({{{{"image/png": png, "text/plain": {ALT!r}}}}}, raw=True, metadata={{{{"image/png": {{{{"alt": {ALT!r}}}}}}}}})"""


def square(width=8, height=6):
    """A black PNG, made by hand."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(width)) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def write(folder, stem, *cells):
    """A notebook: text that opens with # is markdown, the rest is code."""
    made = [new_markdown_cell(c) if c.startswith("#") else new_code_cell(c) for c in cells]
    folder.mkdir(exist_ok=True)
    path = folder / f"{stem}.ipynb"
    nbformat.write(new_notebook(cells=made), path)
    return path


def show():
    """Source of a cell that displays a picture as perflib does."""
    return SHOW.format(png=base64.b64encode(square()).decode())


def digests(folder):
    return {f.relative_to(folder): hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.rglob("*") if f.is_file()}


def run(folder):
    """A run without samples on a machine with a hostile name."""
    path = folder / RUN_ID
    path.mkdir()
    (path / "run.json").write_text(json.dumps(META))
    (path / "matmul.csv").write_text("block,kernel\n")
    (path / "SHA256SUMS").write_text("")
    return Run(path, META)


def findings(patch):
    """Verdicts and figures that need no samples, in the place of those of the run."""
    verdicts = ("HOLDS", "FAILS", "UNDECIDED", "FAILS")
    claims = [
        Claim(f"S{i}", f"claim {HOSTILE}", f"rule {HOSTILE}", v, f"because {HOSTILE}") for i, v in enumerate(verdicts)
    ]
    picture = Picture(square(8, 6), ALT)
    patch.setattr(index_page, "judge_all", lambda run: claims)
    patch.setattr(index_page, "overview", lambda run: [("A < b", picture, "01-first"), ("c", picture, "99-not-there")])


def report(folder):
    """The folder of a report on two notebooks that try everything, and of the same report as one file, `single.html`."""
    columns = {"kernel": [HOSTILE, "b"], "rate, GFLOP/s": ["1.5 [1.4, 1.6]", "22"]}
    write(
        folder / "notebooks",
        "01-first",
        "# Is *this* a < b?\n\nIt opens with `a` question. You will see\n\n- [the other](02-second.ipynb#Twice)",
        "## Twice",
        f"import os, pathlib\nprint({HOSTILE!r})\nprint(pathlib.Path.cwd().name, os.environ['PERFLIB_RUN'])",
        "### Figure & table",
        show(),
        f"import pandas as pd\npd.DataFrame({columns!r})",
        "import sys\nprint('\\x1b[31mcareful\\x1b[0m', file=sys.stderr)",
        "## Twice",
        f"{HOSTILE!r}",
    )
    write(folder / "notebooks", "02-second", "# What else?\n\nNothing.", "## Twice", "1 + 1")
    with pytest.MonkeyPatch.context() as patch:
        findings(patch)
        recorded, notebooks = run(folder), folder / "notebooks"
        build_single(recorded, folder / "single.html", notebooks)
        return build(recorded, folder / "reports", notebooks).parent
