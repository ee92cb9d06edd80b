"""Make a page of an executed notebook: no scripts, a description for each figure, folded code, an anchor for each heading.

nbconvert makes the markup; the functions here add to its tree what readers of a page need.
"""

import base64
import re
import struct
from collections import Counter
from collections.abc import ItemsView
from dataclasses import dataclass
from typing import Any

import nbformat
from bs4 import BeautifulSoup, Tag
from bs4.dammit import EntitySubstitution
from bs4.formatter import HTMLFormatter
from markupsafe import Markup, escape
from nbconvert import HTMLExporter

from ..display.table import MISSING
from .markup import TEMPLATES

ENTRANCE = "00-start-here"
"""The notebook without a page: what it shows stands on the first page of a report."""
RECORD = "<code>make report FULL=1</code>, for other libraries <code>perflib record --peers</code>"
NOTEBOOK_ONLY = re.compile(r"\s*As a notebook[^.]*\.")
NUMBER = re.compile(r"[-−+]?\d[^A-Za-z]*(e[+-]?\d+)?( \([^()]*\))?|[-–—]?|nan|NaN")
PHONE, BETWEEN = 44, 2
"""Letters that a phone has room for in a row of a table, and the space between two columns in letters."""
PROSE = 60
"""Letters of a cell from which on it is prose, whose table a phone stacks too."""


@dataclass(frozen=True)
class Page:
    """A notebook as HTML: `heading` and `body` are markup, all else is text; `toc` has level, id and text."""

    stem: str
    heading: str
    opening: str
    body: str
    toc: tuple[dict[str, Any], ...]
    name: str
    """What the navigation calls it."""

    @property
    def title(self) -> str:
        return plain(self.heading)


class _AsRead(HTMLFormatter):
    """HTML with its attributes in the order read; only what markup could be made of is escaped."""

    def attributes(self, tag: Tag) -> ItemsView:
        return tag.attrs.items()


AS_READ = _AsRead(EntitySubstitution.substitute_xml, void_element_close_prefix="")


def page(exporter: HTMLExporter, stem: str, notebook: nbformat.NotebookNode) -> Page:
    """Convert an executed notebook to a page that is called `stem`."""
    tree = parse(exporter.from_notebook_node(notebook)[0])
    for link in tree("a", href=True):
        if link["href"] == f"{ENTRANCE}.ipynb" and link.string == ENTRANCE:
            link.string = "the first page"
        link["href"] = _page_of(link["href"])
    for text in tree.find_all(string=NOTEBOOK_ONLY):
        text.replace_with(NOTEBOOK_ONLY.sub("", text))
    for paragraph in tree("p", string=re.compile(r"^\s*$")):
        paragraph.decompose()
    gather_missing(tree)
    for block in tree(class_="scroll"):
        align(block)
    heading = tree.h1.extract().decode_contents(formatter=AS_READ) if tree.h1 else escape(stem)
    opening = re.match(r"(?s)(.*[.?!])?", tree.p.get_text().strip() if tree.p else "")[0]  # whole sentences
    toc = contents(tree)
    return Page(stem, heading, opening, to_markup(tree), toc, stem.lstrip("0123456789-").replace("-", " "))


def _page_of(link: str) -> str:
    """A link to a notebook as a link to its page."""
    if link == f"{ENTRANCE}.ipynb":
        return "index.html"
    return re.sub(r"^([\w-]+)\.ipynb(?=#|$)", r"\1.html", link)


def gather_missing(tree: BeautifulSoup) -> None:
    """Say in a word where the run lacks something, and once at the end what records it."""
    boxes = [box for box in tree("pre", class_="out") if box.get_text().strip().startswith(MISSING)]
    for box in boxes:
        box.replace_with(parse('<p class="lacks"><a href="#lacks">Not in this run</a></p>'))
    if boxes:
        places = "one place" if len(boxes) == 1 else f"{len(boxes)} places"
        words = f"This run lacks the series for {places} of this page. A full recording has them: {RECORD}."
        tree.append(parse(f'<p class="lacks" id="lacks">{words}</p>'))


def parse(markup: str) -> BeautifulSoup:
    """Take markup apart."""
    return BeautifulSoup(markup, "html.parser")


def to_markup(tree: BeautifulSoup) -> str:
    """Write markup that was taken apart."""
    return tree.decode(formatter=AS_READ)


def contents(tree: BeautifulSoup) -> tuple[dict[str, Any], ...]:
    """Give every heading the id that JupyterLab gives it unless it has one, and return the upper levels.

    The second of a name gets a number.
    """
    toc, counts = [], Counter({"main": 1})
    for heading in tree(["h2", "h3", "h4", "h5", "h6"]):
        text = heading.get_text().strip()
        name = heading.get("id") or "-".join(text.split())
        counts[name] += 1
        name += f"-{counts[name]}" if counts[name] > 1 else ""
        heading["id"] = name
        toc.append({"level": int(heading.name[1]), "id": name, "text": text})
    return tuple(entry for entry in toc if entry["level"] <= 3)


def exporter() -> HTMLExporter:
    """nbconvert with the template of this package and none of its own pages."""
    template = {"template_name": "base", "template_file": "notebook.html.j2", "extra_template_paths": [str(TEMPLATES)]}
    exporter = HTMLExporter(**template, exclude_anchor_links=True)
    exporter.register_filter("png_size", _png_size)
    return exporter


def align(block: Tag) -> None:
    """Take the style sheet of pandas away, mark verdicts, columns of numbers, and tables that a phone stacks."""
    for style in block("style"):
        style.decompose()
    for cell in (cell for cell in block("th") if not cell.get_text().strip()):
        cell.name = "td"  # above an index of pandas: a header without words heads nothing
    for cell in block("td", string=["HOLDS", "FAILS", "UNDECIDED"]):
        cell["class"] = f"verdict {cell.string}"
    rows = [row(["th", "td"]) for row in block("tr")]
    if len({len(row) for row in rows}) != 1 or len(rows) < 2:  # no table, or one with joined cells
        return
    letters = 0
    for column in zip(*rows, strict=True):
        words = [cell.get_text().strip() for cell in column]
        is_number = all(NUMBER.fullmatch(word) for word in words[1:])
        letters += BETWEEN + max(len(part) for word in words for part in ([word] if is_number else word.split() or [""]))
        for cell in column if is_number else ():
            cell["class"] = "num"
    if letters > PHONE or any(len(cell.get_text()) > PROSE for row in rows[1:] for cell in row):
        block.table["class"] = "stacked"
        for row in rows[1:]:
            for header, cell in zip(rows[0][1:], row[1:], strict=True):
                cell["data-label"] = header.get_text().strip()


def _png_size(png: str) -> tuple[int, int]:
    """Width and height in pixels, from the header that every PNG opens with."""
    return struct.unpack(">II", base64.b64decode(png[:44])[16:24])


def plain(markup: str) -> str:
    """Markup as text."""
    return Markup(markup).striptags()
