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

from .markup import TEMPLATES

NUMBER = re.compile(r"[-−+]?\d[^A-Za-z]*(e[+-]?\d+)?( \([^()]*\))?|[-–—]?|nan|NaN")


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
        link["href"] = re.sub(r"^([\w-]+)\.ipynb(?=#|$)", r"\1.html", link["href"])
    for block in tree(class_="scroll"):
        _align(block)
    heading = tree.h1.extract().decode_contents(formatter=AS_READ) if tree.h1 else escape(stem)
    opening = re.match(r"(?s)(.*[.?!])?", tree.p.get_text().strip() if tree.p else "")[0]  # whole sentences
    toc = contents(tree)
    return Page(stem, heading, opening, to_markup(tree), toc, stem.lstrip("0123456789-").replace("-", " "))


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


def _align(block: Tag) -> None:
    """Take the style sheet of pandas away, mark verdicts, and give columns of numbers the class `num`."""
    for style in block("style"):
        style.decompose()
    for cell in block("td", string=["HOLDS", "FAILS", "UNDECIDED"]):
        cell["class"] = f"verdict {cell.string}"
    rows = [row(["th", "td"]) for row in block("tr")]
    if len({len(row) for row in rows}) != 1 or len(rows) < 2:  # no table, or one with joined cells
        return
    for column in zip(*rows, strict=True):
        if all(NUMBER.fullmatch(cell.get_text().strip()) for cell in column[1:]):
            for cell in column:
                cell["class"] = "num"


def _png_size(png: str) -> tuple[int, int]:
    """Width and height in pixels, from the header that every PNG opens with."""
    return struct.unpack(">II", base64.b64decode(png[:44])[16:24])


def plain(markup: str) -> str:
    """Markup as text."""
    return Markup(markup).striptags()
